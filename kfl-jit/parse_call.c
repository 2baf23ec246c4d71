/* parse_call.c - calls: their arguments are known now, and so is the value of most. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "eval.h"
#include "near.h"
#include "parse.h"

static bool parse_arguments(struct parser *parser, struct ast *call, bool known);
static bool fill_argument(struct parser *parser, const struct ast *node,
                          struct ast_argument *argument);
static bool is_constant(const struct ast *node);
static bool known_call(struct parser *parser, const struct token *name, bool has_subject,
                       enum kfl_helper *ret_helper);
static struct ast *finish_call(struct parser *parser, const struct token *name, struct ast *call);
static struct ast *record_call(struct parser *parser, const struct token *name, struct ast *call);
static bool redact_call(struct parser *parser, struct ast *call);
static bool whole_number(const struct ast_argument *argument, int64_t *ret_n);
static void limit_call(struct parser *parser, struct ast *call);
static void unit_call(struct parser *parser, struct ast *call);

const struct kfl_helper_info kfl_helper_info[KFL_HELPER_COUNT] = {
#define KFL_HELPER(id, name, subject, fewest, most, help) \
    [KFL_HELPER_##id] = {name, subject, fewest, most, help},
#include "helpers.def"
#undef KFL_HELPER
};

static const int64_t seconds_of[KFL_HELPER_COUNT] = {
    [KFL_HELPER_SECONDS] = 1,         [KFL_HELPER_MINUTES] = 60,
    [KFL_HELPER_HOURS] = 3600,        [KFL_HELPER_DAYS] = 86400,
    [KFL_HELPER_WEEKS] = 7 * 86400,   [KFL_HELPER_MONTHS] = 30 * 86400,
    [KFL_HELPER_YEARS] = 365 * 86400,
};

struct ast *parse_call(struct parser *parser, const struct token *name, struct ast *subject)
{
    struct ast *call = parse_node(parser, AST_CALL, name);
    enum kfl_helper helper = KFL_HELPER_NOW;
    const struct kfl_helper_info *info;
    bool known = known_call(parser, name, subject != NULL, &helper);

    if (call == NULL || !parse_arguments(parser, call, known))
        return NULL;
    call->offset = subject != NULL ? subject->offset : call->offset;
    call->end = parse_last_end(parser);
    call->call.helper = helper;
    call->call.subject = subject;
    if (!known)
        return call;
    info = &kfl_helper_info[helper];
    if (call->call.n_arguments < info->fewest || call->call.n_arguments > info->most) {
        parse_error(parser, name->offset, "%s() takes %s argument%s, not %u", info->name,
                    info->fewest == 0           ? "no"
                    : info->most > info->fewest ? "1 or more"
                                                : "1",
                    info->fewest == 1 && info->most == 1 ? "" : "s", call->call.n_arguments);
        return call;
    }
    return finish_call(parser, name, call);
}

/* Of an unknown call they are only stepped over. */
static bool parse_arguments(struct parser *parser, struct ast *call, bool known)
{
    struct cell {
        struct ast_argument argument;
        struct cell *next;
    } *first = NULL, **last = &first;
    struct ast_argument *argument;
    uint32_t n = 0;

    if (!parse_take(parser, '('))
        return false;
    while (!parse_sees(parser, 0, ")")) {
        struct cell *cell = parse_alloc(parser, sizeof(*cell));
        const struct ast *node;

        if (cell == NULL || (n > 0 && !parse_take(parser, ',')))
            return false;
        *cell = (struct cell){.argument.offset = parse_peek(parser)->offset};
        if (parse_peek(parser)->kind == TOKEN_NAME && parse_sees(parser, 1, ":")) {
            cell->argument.label = true;
            parse_next(parser);
            parse_next(parser);
        }
        node = parse_nested(parser);
        if (node == NULL || (known && !fill_argument(parser, node, &cell->argument)))
            return false;
        *last = cell;
        last = &cell->next;
        n++;
    }
    parse_next(parser);
    argument = parse_alloc(parser, n * sizeof(*argument) + 1);
    if (argument == NULL)
        return false;
    call->call.n_arguments = n;
    call->call.argument = argument;
    for (; first != NULL; first = first->next)
        *argument++ = first->argument;
    return true;
}

static bool fill_argument(struct parser *parser, const struct ast *node,
                          struct ast_argument *argument)
{
    char *buffer = parse_alloc(parser, VALUE_TEXT_MAX);
    struct kfl_slice text;

    if (buffer == NULL)
        return false;
    if (!is_constant(node)) {
        parse_error(parser, node->offset,
                    "an argument must be made of literals: no field, call, macro or r\"...\"");
    } else if (!eval_constant(node, parser->statement->arena, &argument->value)) {
        parser->no_memory = true;
        return false;
    }
    text = value_text(&argument->value, buffer);
    argument->text = text.text;
    argument->size = (uint32_t)text.size;
    return true;
}

static bool is_constant(const struct ast *node)
{
    switch (node->kind) {
    case AST_LITERAL:
        return node->literal.value.type != KFL_REGEX && node->literal.pattern == NULL;
    case AST_UNARY:
        return is_constant(node->unary.operand);
    case AST_GROUP:
        return node->group.macro == NULL && !node->group.record && is_constant(node->group.inner);
    case AST_CHAIN:
        for (uint32_t i = 0; i < node->chain.n; i++)
            if (!is_constant(node->chain.operand[i]))
                return false;
        return true;
    default:
        return false;
    }
}

/* Is there such a helper, and is it right that a subject stands before it? */
static bool known_call(struct parser *parser, const struct token *name, bool has_subject,
                       enum kfl_helper *ret_helper)
{
    struct near near = near_begin(name->text.text, name->text.size);
    int size = (int)(name->text.size < 60 ? name->text.size : 60);

    for (unsigned i = 0; i < KFL_HELPER_COUNT; i++) {
        const struct kfl_helper_info *info = &kfl_helper_info[i];

        if (!slice_equal(name->text, (struct kfl_slice){info->name, strlen(info->name)})) {
            near_try(&near, info->name);
            continue;
        }
        *ret_helper = i;
        if (info->subject == has_subject)
            return true;
        if (info->subject)
            parse_error(parser, name->offset, "%s() needs a field before it: field.%s()",
                        info->name, info->name);
        else
            parse_error(parser, name->offset, "%s() takes no field before it: it stands alone",
                        info->name);
        return false;
    }
    if (name->text.size == 3 && strncasecmp(name->text.text, "not", 3) == 0)
        parse_error(parser, name->offset, "there is no `not`; write !(x)");
    else if (near.best != NULL)
        parse_error(parser, name->offset, "there is no helper %.*s(); did you mean %s?", size,
                    name->text.text, near.best);
    else
        parse_error(parser, name->offset, "there is no helper %.*s()", size, name->text.text);
    return false;
}

/* What the call amounts to; its arguments are right in number. */
static struct ast *finish_call(struct parser *parser, const struct token *name, struct ast *call)
{
    struct kfl_value *value = &call->call.value;
    int64_t ms;

    switch (call->call.helper) {
    case KFL_HELPER_JSON:
    case KFL_HELPER_XML: {
        const struct ast *subject = call->call.subject;

        call->kind = AST_DECODE;
        call->decode.document = call->call.helper == KFL_HELPER_JSON ? AST_JSON : AST_XML;
        call->decode.subject = subject;
        call->decode.path = (struct ast_path){0};
        break;
    }
    case KFL_HELPER_RECORD:
        return record_call(parser, name, call);
    case KFL_HELPER_REDACT:
        *value = (struct kfl_value){.type = KFL_BOOL, .boolean = true};
        return redact_call(parser, call) ? call : NULL;
    case KFL_HELPER_LIMIT:
        limit_call(parser, call);
        break;
    case KFL_HELPER_DATETIME:
        if (datetime_read(call->call.argument[0].text, call->call.argument[0].size, &ms))
            *value = (struct kfl_value){.type = KFL_INT, .integer = ms};
        else
            *value = (struct kfl_value){.type = KFL_BOOL, .boolean = false};
        break;
    case KFL_HELPER_NOW:
        *value = (struct kfl_value){.type = KFL_INT, .integer = parser->statement->now_ms};
        break;
    case KFL_HELPER_STARTS_WITH:
    case KFL_HELPER_ENDS_WITH:
    case KFL_HELPER_CONTAINS:
        break;
    default:
        unit_call(parser, call);
    }
    return call;
}

/* (record == name) */
static struct ast *record_call(struct parser *parser, const struct token *name, struct ast *call)
{
    static const uint8_t equal[1] = {AST_EQ};
    struct path_builder builder = {.node = parse_node(parser, AST_SELECT, name)};
    struct ast *group = parse_node(parser, AST_GROUP, name);
    struct ast *chain = parse_node(parser, AST_CHAIN, name);
    struct ast *literal = parse_node(parser, AST_LITERAL, name);
    const struct ast **operand = parse_alloc(parser, 2 * sizeof(struct ast *));
    struct step_cell step = {.step = {.type = AST_KEY,
                                      .name = kfl_helper_info[KFL_HELPER_RECORD].name,
                                      .size = 6,
                                      .offset = name->offset}};

    if (builder.node == NULL || group == NULL || chain == NULL || literal == NULL ||
        operand == NULL)
        return NULL;
    builder.first = builder.last = &step;
    builder.n = 1;
    if (!parse_path_end(parser, &builder))
        return NULL;
    literal->literal.value = call->call.argument[0].value;
    operand[0] = builder.node;
    operand[1] = literal;
    chain->chain.level = AST_EQUALITY;
    chain->chain.n = 2;
    chain->chain.operand = operand;
    chain->chain.op = equal;
    group->group.inner = chain;
    group->group.record = true;
    return group;
}

static bool redact_call(struct parser *parser, struct ast *call)
{
    uint32_t n = call->call.n_arguments;
    struct ast_redact *redact = parse_alloc(parser, n * sizeof(*redact));

    if (redact == NULL)
        return false;
    memset(redact, 0, n * sizeof(*redact));
    call->call.redact = redact;
    for (uint32_t i = 0; i < n; i++) {
        const struct ast_argument *argument = &call->call.argument[i];

        if (!redact_path_parse(parser, argument->text, argument->size, &redact[i])) {
            if (parser->no_memory)
                return false;
            parse_error(parser, argument->offset, "redact(): the path %.*s cannot be read",
                        (int)(argument->size < 60 ? argument->size : 60), argument->text);
        }
    }
    return true;
}

/* num(v) without its fraction; false if that does not fit 64 bits. */
static bool whole_number(const struct ast_argument *argument, int64_t *ret_n)
{
    struct kfl_number number = value_number(&argument->value);

    if (number.is_float && !(number.number >= -0x1p63 && number.number < 0x1p63))
        return false;
    *ret_n = number.is_float ? (int64_t)number.number : number.integer;
    return true;
}

static void limit_call(struct parser *parser, struct ast *call)
{
    const struct ast_argument *argument = &call->call.argument[0];
    int64_t n = 0;

    call->call.value = (struct kfl_value){.type = KFL_BOOL, .boolean = true};
    if (!whole_number(argument, &n))
        parse_error(parser, argument->offset, "limit(): this number is out of range");
    else if (n < 0)
        parse_error(parser, argument->offset, "limit() cannot be negative");
    else if (parser->statement->limit == 0)
        parser->statement->limit = n;
}

static void unit_call(struct parser *parser, struct ast *call)
{
    const struct ast_argument *argument = &call->call.argument[0];
    int64_t n = 0, span, sum;

    if (!whole_number(argument, &n) ||
        __builtin_mul_overflow(n, seconds_of[call->call.helper] * 1000, &span) ||
        __builtin_add_overflow(parser->statement->now_ms, span, &sum)) {
        parse_error(parser, argument->offset, "%s(): this time is out of range",
                    kfl_helper_info[call->call.helper].name);
        return;
    }
    call->call.value = (struct kfl_value){.type = KFL_INT, .integer = sum};
}
