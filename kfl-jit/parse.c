/* parse.c - tokens to the tree (section 3 of the specification). */
#include "parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct ast *parse_tokens(struct parser *parser);
static bool take_operator(struct parser *parser, enum ast_level level, enum ast_op *ret_op);
static struct ast *parse_unary(struct parser *parser);
static struct ast *parse_operand(struct parser *parser);
static struct ast *parse_literal(struct parser *parser);
static struct ast *parse_regex(struct parser *parser);
static struct ast *parse_name(struct parser *parser);
static struct ast *parse_steps(struct parser *parser, struct path_builder *builder);
static bool parse_step(struct parser *parser, struct path_builder *builder,
                       const struct token **ret_call);
static bool parse_bracket(struct parser *parser, struct path_builder *builder);
static bool add_step(struct parser *parser, struct path_builder *builder, enum ast_step_type type,
                     const struct token *token);
static struct ast *expand_macro(struct parser *parser, const struct token *name);
static struct ast *as_field(struct parser *parser, struct ast *operand);
static void unexpected(struct parser *parser, const char *more);
static const char *instead_of(struct parser *parser);
static bool is_word(const struct token *token, const char *word);
static bool is_folded(const struct token *token, const char *word);

static const struct macro {
    const char *name, *expression;
    bool field;
} macros[] = {
#define KFL_MACRO(name, expression, field) {name, expression, field},
#include "macros.def"
#undef KFL_MACRO
};

int ast_parse(struct kfl_statement *statement, struct kfl_messages *messages)
{
    struct parser parser = {.statement = statement,
                            .messages = messages,
                            .text = statement->text,
                            .size = (uint32_t)statement->size};
    struct ast *root;

    if (statement->size > KFL_STATEMENT_SIZE_MAX) {
        kfl_message_add(messages, statement->text, statement->size, 0, 0,
                        "this statement has %zu bytes; at most %d are allowed", statement->size,
                        KFL_STATEMENT_SIZE_MAX);
        return -EINVAL;
    }
    root = parse_tokens(&parser);
    statement->root = root;
    if (parser.no_memory)
        return -ENOMEM;
    return root == NULL || parser.failed ? -EINVAL : 0;
}

struct ast *parse_chain(struct parser *parser, enum ast_level level)
{
    struct cell {
        struct ast *node;
        struct cell *next;
        enum ast_op op; /* before the node */
    } first = {0}, *last = &first;
    enum ast_level next = level + 1;
    const struct token *begin = parse_peek(parser);
    struct ast *chain, **operand;
    uint32_t n = 1;
    uint8_t *ops;
    enum ast_op op;

    first.node = level == AST_ORDER ? parse_unary(parser) : parse_chain(parser, next);
    if (first.node == NULL)
        return NULL;
    while (take_operator(parser, level, &op)) {
        struct cell *cell = parse_alloc(parser, sizeof(*cell));

        if (cell == NULL)
            return NULL;
        *cell = (struct cell){.op = op};
        cell->node = level == AST_ORDER ? parse_unary(parser) : parse_chain(parser, next);
        if (cell->node == NULL)
            return NULL;
        last = last->next = cell;
        n++;
    }
    if (n == 1)
        return first.node;
    chain = parse_node(parser, AST_CHAIN, begin);
    operand = parse_alloc(parser, n * sizeof(struct ast *));
    ops = parse_alloc(parser, n);
    if (chain == NULL || operand == NULL || ops == NULL)
        return NULL;
    chain->chain.level = level;
    chain->chain.n = n;
    chain->chain.operand = (const struct ast *const *)operand;
    chain->chain.op = ops;
    n = 0;
    for (const struct cell *cell = &first; cell != NULL; cell = cell->next, n++) {
        operand[n] = level == AST_LOGIC ? cell->node : as_field(parser, cell->node);
        if (operand[n] == NULL)
            return NULL;
        if (n > 0)
            ops[n - 1] = (uint8_t)cell->op;
    }
    return chain;
}

struct ast *parse_nested(struct parser *parser)
{
    struct ast *node;

    if (++parser->depth > KFL_NESTING_MAX) {
        parse_error(parser, parse_peek(parser)->offset, "nested too deeply: %d levels at most",
                    KFL_NESTING_MAX);
        return NULL;
    }
    node = parse_chain(parser, AST_LOGIC);
    parser->depth--;
    return node;
}

const struct token *parse_peek(const struct parser *parser)
{
    return &parser->tokens[parser->at];
}

const struct token *parse_next(struct parser *parser)
{
    const struct token *token = &parser->tokens[parser->at];

    if (parser->at + 1 < parser->n)
        parser->at++;
    return token;
}

bool parse_sees(const struct parser *parser, uint32_t ahead, const char *ops)
{
    uint32_t at = parser->at + ahead;
    const struct token *token = &parser->tokens[at < parser->n ? at : parser->n - 1];

    return token->kind == TOKEN_OP && token->op != 0 && strchr(ops, token->op) != NULL;
}

bool parse_take(struct parser *parser, char op)
{
    char ops[2] = {op}, more[16];

    if (!parse_sees(parser, 0, ops)) {
        snprintf(more, sizeof(more), ", expected %c", op);
        unexpected(parser, more);
        return false;
    }
    parse_next(parser);
    return true;
}

void *parse_alloc(struct parser *parser, size_t size)
{
    void *memory = kfl_arena_alloc(parser->statement->arena, size);

    if (memory == NULL)
        parser->no_memory = true;
    return memory;
}

struct ast *parse_node(struct parser *parser, enum ast_kind kind, const struct token *first)
{
    struct ast *node = parse_alloc(parser, sizeof(*node));

    if (node == NULL)
        return NULL;
    memset(node, 0, sizeof(*node));
    node->kind = kind;
    node->offset = parser->macro != NULL ? parser->macro->offset : first->offset;
    node->end = parse_last_end(parser);
    return node;
}

bool parse_path_end(struct parser *parser, struct path_builder *builder)
{
    struct ast *node = builder->node;
    struct ast_path *path = node->kind == AST_SELECT ? &node->select : &node->decode.path;
    struct ast_step *step = parse_alloc(parser, builder->n * sizeof(*step) + 1);

    if (step == NULL)
        return false;
    path->n = builder->n;
    path->step = step;
    for (const struct step_cell *cell = builder->first; cell != NULL; cell = cell->next)
        *step++ = cell->step;
    node->end = parse_last_end(parser);
    return true;
}

void parse_error(struct parser *parser, uint32_t offset, const char *format, ...)
{
    char text[sizeof(((struct kfl_message *)0)->text)];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    parser->failed = true;
    kfl_message_add(parser->messages, parser->text, parser->size, offset, 0, "%s", text);
}

uint32_t parse_last_end(const struct parser *parser)
{
    if (parser->macro != NULL)
        return parser->macro->end;
    return parser->at > 0 ? parser->tokens[parser->at - 1].end : 0;
}

static struct ast *parse_tokens(struct parser *parser)
{
    struct token *tokens;
    struct ast *node;
    int result = lex(parser->statement->arena, parser->text, parser->size, parser->messages,
                     &tokens, &parser->n);

    if (result < 0) {
        parser->no_memory = result == -ENOMEM;
        return NULL;
    }
    parser->tokens = tokens;
    if (tokens[0].kind == TOKEN_END) {
        node = parse_node(parser, AST_LITERAL, tokens);
        if (node != NULL)
            node->literal.value = (struct kfl_value){.type = KFL_BOOL, .boolean = true};
        return node;
    }
    node = parse_chain(parser, AST_LOGIC);
    if (node != NULL && parse_peek(parser)->kind != TOKEN_END) {
        unexpected(parser, "");
        return NULL;
    }
    return node;
}

static bool take_operator(struct parser *parser, enum ast_level level, enum ast_op *ret_op)
{
    const struct token *token = parse_peek(parser);

    if (level == AST_LOGIC) {
        if (!is_word(token, "and") && !is_word(token, "or"))
            return false;
        *ret_op = token->text.size == 3 ? AST_AND : AST_OR;
    } else if (level == AST_EQUALITY) {
        if (!parse_sees(parser, 0, "=!") || !parse_sees(parser, 1, "="))
            return false;
        *ret_op = token->op == '=' ? AST_EQ : AST_NE;
        parse_next(parser);
    } else {
        bool equal = parse_sees(parser, 1, "=");

        if (!parse_sees(parser, 0, "<>"))
            return false;
        *ret_op = token->op == '<' ? (equal ? AST_LE : AST_LT) : equal ? AST_GE : AST_GT;
        if (equal)
            parse_next(parser);
    }
    parse_next(parser);
    return true;
}

static struct ast *parse_unary(struct parser *parser)
{
    const struct token *token = parse_peek(parser);
    const struct ast *operand;
    struct ast *node;

    if (!parse_sees(parser, 0, "!-"))
        return parse_operand(parser);
    parse_next(parser);
    if (++parser->depth > KFL_NESTING_MAX) {
        parse_error(parser, parse_peek(parser)->offset, "nested too deeply: %d levels at most",
                    KFL_NESTING_MAX);
        return NULL;
    }
    operand = parse_unary(parser);
    if (operand == NULL)
        return NULL;
    parser->depth--;
    node = parse_node(parser, AST_UNARY, token);
    if (node == NULL)
        return NULL;
    node->unary.op = token->op;
    node->unary.operand = operand;
    return node;
}

static struct ast *parse_operand(struct parser *parser)
{
    const struct token *token = parse_peek(parser);
    struct ast *node;
    const struct ast *inner;

    switch (token->kind) {
    case TOKEN_INT:
    case TOKEN_FLOAT:
    case TOKEN_STRING:
        return parse_literal(parser);
    case TOKEN_REGEX:
        return parse_regex(parser);
    case TOKEN_NAME:
        if (is_word(token, "true") || is_word(token, "false") || is_word(token, "nil"))
            return parse_literal(parser);
        return parse_name(parser);
    default:
        break;
    }
    if (!parse_sees(parser, 0, "(")) {
        unexpected(parser, "");
        return NULL;
    }
    parse_next(parser);
    inner = parse_nested(parser);
    if (inner == NULL || !parse_take(parser, ')'))
        return NULL;
    node = parse_node(parser, AST_GROUP, token);
    if (node != NULL)
        node->group.inner = inner;
    return node;
}

static struct ast *parse_literal(struct parser *parser)
{
    const struct token *token = parse_next(parser);
    struct ast *node = parse_node(parser, AST_LITERAL, token);
    struct kfl_value *value;

    if (node == NULL)
        return NULL;
    value = &node->literal.value;
    switch (token->kind) {
    case TOKEN_INT:
        value->type = KFL_INT;
        value->integer = token->integer;
        break;
    case TOKEN_FLOAT:
        value->type = KFL_FLOAT;
        value->number = token->number;
        break;
    case TOKEN_STRING:
        value->type = KFL_STRING;
        value->text = token->text.text;
        value->size = (uint32_t)token->text.size;
        break;
    default:
        value->type = is_word(token, "nil") ? KFL_NULL : KFL_BOOL;
        value->boolean = is_word(token, "true");
    }
    return node;
}

static struct ast *parse_regex(struct parser *parser)
{
    const struct token *token = parse_next(parser);
    struct ast *node = parse_node(parser, AST_LITERAL, token);
    struct ast_regex *regex = parse_alloc(parser, sizeof(*regex));
    char error[160];

    if (node == NULL || regex == NULL)
        return NULL;
    regex->regex = kfl_regex_create(token->text.text, token->text.size, error, sizeof(error));
    if (regex->regex == NULL) { /* reported; the rest is looked at for more */
        parse_error(parser, token->offset, "the pattern %.*s is wrong: %s",
                    (int)(token->text.size < 60 ? token->text.size : 60), token->text.text, error);
        return node;
    }
    regex->next = parser->statement->regexes;
    parser->statement->regexes = regex;
    node->literal.value = (struct kfl_value){.type = KFL_REGEX, .regex = regex->regex};
    node->literal.pattern = token->text.text;
    node->literal.pattern_size = (uint32_t)token->text.size;
    return node;
}

/* A macro, `now`, a call, or a selector with the calls on it. */
static struct ast *parse_name(struct parser *parser)
{
    const struct token *name = parse_next(parser);
    struct path_builder builder = {0};
    struct ast *node;

    if (!parse_sees(parser, 0, ".[(")) {
        if (parser->macro == NULL) {
            node = expand_macro(parser, name);
            if (node != NULL || parser->no_memory)
                return node;
        }
        if (is_word(name, "now")) {
            node = parse_node(parser, AST_CALL, name);
            if (node == NULL)
                return NULL;
            node->call.helper = KFL_HELPER_NOW;
            node->call.bare = true;
            node->call.value =
                (struct kfl_value){.type = KFL_INT, .integer = parser->statement->now_ms};
            return node;
        }
    }
    if (parse_sees(parser, 0, "(")) {
        node = parse_call(parser, name, NULL);
        if (node != NULL && parse_sees(parser, 0, ".[")) {
            parse_error(parser, parse_peek(parser)->offset, "nothing can follow %.*s(...)",
                        (int)name->text.size, name->text.text);
            return NULL;
        }
        return node;
    }
    builder.node = parse_node(parser, AST_SELECT, name);
    if (builder.node == NULL || !add_step(parser, &builder, AST_KEY, name))
        return NULL;
    return parse_steps(parser, &builder);
}

/* The steps behind the beginning of a selector; json() and xml() begin a new one. */
static struct ast *parse_steps(struct parser *parser, struct path_builder *builder)
{
    while (parse_sees(parser, 0, ".[")) {
        const struct token *call = NULL;
        struct ast *node;

        if (!parse_step(parser, builder, &call))
            return NULL;
        if (call == NULL)
            continue;
        /* The builder's node ends before the dot of the call. */
        if (!parse_path_end(parser, builder))
            return NULL;
        node = parse_call(parser, call, builder->node);
        if (node == NULL)
            return NULL;
        if (node->kind == AST_DECODE) {
            *builder = (struct path_builder){.node = node};
            continue;
        }
        if (parse_sees(parser, 0, ".[")) {
            parse_error(parser, parse_peek(parser)->offset, "nothing can follow %.*s(...)",
                        (int)call->text.size, call->text.text);
            return NULL;
        }
        return node;
    }
    return parse_path_end(parser, builder) ? builder->node : NULL;
}

/* One step; or the name of a call, which the parser is behind then. */
static bool parse_step(struct parser *parser, struct path_builder *builder,
                       const struct token **ret_call)
{
    enum ast_step_type type = AST_KEY;

    if (parse_sees(parser, 0, "["))
        return parse_bracket(parser, builder);
    parse_next(parser);
    if (parse_sees(parser, 0, "*"))
        return add_step(parser, builder, AST_ALL, parse_next(parser));
    if (parse_sees(parser, 0, ".")) {
        parse_next(parser);
        type = AST_DEEP;
    }
    if (parse_peek(parser)->kind != TOKEN_NAME) {
        unexpected(parser, ", expected a name");
        return false;
    }
    if (type == AST_KEY && parse_sees(parser, 1, "(")) {
        *ret_call = parse_next(parser);
        return true;
    }
    return add_step(parser, builder, type, parse_next(parser));
}

static bool parse_bracket(struct parser *parser, struct path_builder *builder)
{
    const struct token *token;
    enum ast_step_type type = AST_ALL;

    parse_next(parser);
    token = parse_peek(parser);
    if (token->kind == TOKEN_STRING)
        type = AST_KEY;
    else if (token->kind == TOKEN_INT)
        type = AST_INDEX;
    else if (!parse_sees(parser, 0, "*")) {
        unexpected(parser, " in [ ], expected a number, a text or *");
        return false;
    }
    parse_next(parser);
    return add_step(parser, builder, type, token) && parse_take(parser, ']');
}

static bool add_step(struct parser *parser, struct path_builder *builder, enum ast_step_type type,
                     const struct token *token)
{
    struct step_cell *cell = parse_alloc(parser, sizeof(*cell));

    if (cell == NULL)
        return false;
    *cell = (struct step_cell){.step = {.type = type, .offset = token->offset}};
    if (parser->macro != NULL)
        cell->step.offset = parser->macro->offset;
    if (type == AST_INDEX) {
        cell->step.index = token->integer;
    } else if (type != AST_ALL) {
        cell->step.name = token->text.text;
        cell->step.size = (uint32_t)token->text.size;
    }
    if (builder->last == NULL)
        builder->first = cell;
    else
        builder->last->next = cell;
    builder->last = cell;
    builder->n++;
    return true;
}

/* Null when the name is none. */
static struct ast *expand_macro(struct parser *parser, const struct token *name)
{
    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
        struct parser inside = {.statement = parser->statement,
                                .text = macros[i].expression,
                                .size = (uint32_t)strlen(macros[i].expression),
                                .macro = name};
        struct ast *node;

        if (!is_word(name, macros[i].name))
            continue;
        node = parse_node(parser, AST_GROUP, name);
        if (node == NULL)
            return NULL;
        node->group.inner = parse_tokens(&inside);
        node->group.macro = macros[i].name;
        parser->no_memory |= inside.no_memory;
        return node->group.inner == NULL ? NULL : node;
    }
    return NULL;
}

/* `tls` and `error` as operands of a comparison are the fields. */
static struct ast *as_field(struct parser *parser, struct ast *operand)
{
    struct ast *node;
    struct ast_step *step;
    bool field = false;

    if (operand->kind != AST_GROUP || operand->group.macro == NULL)
        return operand;
    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
        field |= macros[i].field && operand->group.macro == macros[i].name;
    if (!field)
        return operand;
    node = parse_alloc(parser, sizeof(*node));
    step = parse_alloc(parser, sizeof(*step));
    if (node == NULL || step == NULL)
        return NULL;
    *step = (struct ast_step){.type = AST_KEY,
                              .name = operand->group.macro,
                              .size = (uint32_t)strlen(operand->group.macro),
                              .offset = operand->offset};
    *node = (struct ast){.kind = AST_SELECT,
                         .offset = operand->offset,
                         .end = operand->end,
                         .select = {.n = 1, .step = step}};
    return node;
}

static void unexpected(struct parser *parser, const char *more)
{
    const struct token *token = parse_peek(parser);
    const char *hint = instead_of(parser);
    uint32_t size = token->end - token->offset;

    if (token->kind == TOKEN_END)
        parse_error(parser, token->offset, "unexpected end of the statement%s", more);
    else
        parse_error(parser, token->offset, "unexpected %.*s%s%s", (int)(size < 40 ? size : 40),
                    parser->text + token->offset, more, hint);
}

static const char *instead_of(struct parser *parser)
{
    const struct token *token = parse_peek(parser);
    const struct token *before = parser->at > 0 ? token - 1 : NULL;

    if (before != NULL && is_folded(before, "not"))
        return "; there is no `not`; write !(x)";
    if (token->op == '=')
        return "; did you mean ==?";
    if (token->op == '&' || is_folded(token, "and"))
        return "; did you mean and?";
    if (token->op == '|' || is_folded(token, "or"))
        return "; did you mean or?";
    if (is_folded(token, "not"))
        return "; there is no `not`; write !(x)";
    return "";
}

static bool is_word(const struct token *token, const char *word)
{
    return token->kind == TOKEN_NAME && token->text.size == strlen(word) &&
           memcmp(token->text.text, word, token->text.size) == 0;
}

static bool is_folded(const struct token *token, const char *word)
{
    return token->kind == TOKEN_NAME && token->text.size == strlen(word) &&
           strncasecmp(token->text.text, word, token->text.size) == 0;
}
