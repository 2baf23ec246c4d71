/* check.c - warnings from the shape of a statement. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lex.h"
#include "show.h"

enum { PART_SIZE = 100 }; /* of a statement that is quoted in a message */

static void check_node(struct check *check, const struct ast *node, bool as_truth);
static void check_logic(struct check *check, const struct ast *node);
static void check_chain(struct check *check, const struct ast *node);
static void check_unary(struct check *check, const struct ast *node);
static void check_call(struct check *check, const struct ast *node);
static void check_limit(struct check *check, const struct ast *node);
static void check_unit(struct check *check, const struct ast *node);
static void check_exclusion(struct check *check, const struct ast *node);
static void check_object(struct check *check, const struct ast *node);
static void check_escapes(struct check *check);
static int constant_truth(const struct ast *node);
static bool has_limit(const struct ast *node);
static uint32_t types_of(const struct ast *node);
static uint32_t protos_at(const struct check *check, const struct ast *node);
static const char *part(const struct ast *node, char buffer[static PART_SIZE]);

void check_warnings(const struct kfl_statement *statement, struct kfl_messages *messages)
{
    struct check check = {.statement = statement, .messages = messages, .protos = CHECK_ALL_PROTOS};

    check_node(&check, statement->root, true);
    check_escapes(&check);
}

void check_say(struct check *check, uint32_t offset, unsigned warning, const char *format, ...)
{
    char text[sizeof(check->messages->message[0].text)];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    kfl_message_add(check->messages, check->statement->text, check->statement->size, offset,
                    warning, "%s", text);
}

bool check_can_miss(const struct ast *node)
{
    struct check_path path;

    switch (node->kind) {
    case AST_SELECT:
        check_resolve(&node->select, &path);
        return path.can_miss;
    case AST_UNARY:
        return check_can_miss(node->unary.operand);
    case AST_CHAIN:
        for (uint32_t i = 0; i < node->chain.n; i++)
            if (check_can_miss(node->chain.operand[i]))
                return true;
        return false;
    default:
        return false;
    }
}

/* as_truth: the truth of the node is what counts, not its value. */
static void check_node(struct check *check, const struct ast *node, bool as_truth)
{
    if (check->messages->more)
        return; /* nothing more can be said */
    if (as_truth)
        check_object(check, node);
    switch (node->kind) {
    case AST_LITERAL:
        break;
    case AST_SELECT:
        check_path_warnings(check, node);
        break;
    case AST_DECODE:
        check_node(check, node->decode.subject, false);
        break;
    case AST_CALL:
        check_call(check, node);
        break;
    case AST_UNARY:
        check_unary(check, node);
        break;
    case AST_GROUP:
        if (node->group.macro == NULL && !node->group.record)
            check_node(check, node->group.inner, as_truth);
        break;
    case AST_CHAIN:
        if (node->chain.level == AST_LOGIC)
            check_logic(check, node);
        else
            check_chain(check, node);
        break;
    }
}

static void check_logic(struct check *check, const struct ast *node)
{
    uint32_t before = check->protos;
    bool mixed = false;
    char text[PART_SIZE], rest[PART_SIZE];

    for (uint32_t i = 0; i + 1 < node->chain.n; i++) {
        const struct ast *operand = node->chain.operand[i];
        bool is_or = node->chain.op[i] == AST_OR;
        int truth = constant_truth(operand);

        mixed |= node->chain.op[i] != node->chain.op[0];
        if (is_or && check_can_miss(operand))
            check_say(check, operand->offset, 2,
                      "where a field of %s is missing, all up to the nearest parentheses is false: "
                      "put it in parentheses",
                      part(operand, text));
        if (truth == is_or)
            check_say(check, node->chain.operand[i + 1]->offset, 16,
                      "%s is never evaluated: %s before it decides",
                      part(node->chain.operand[i + 1], rest), part(operand, text));
        if (is_or && (has_limit(operand) || has_limit(node->chain.operand[i + 1])))
            check_say(check, operand->offset, 17,
                      "limit() is true and counts wherever it stands, also beside `or`");
    }
    if (mixed)
        check_say(check, node->offset, 1,
                  "`and` and `or` have one precedence and group to the right: %s",
                  part(node, text));
    check_exclusion(check, node);
    check->protos = protos_at(check, node);
    for (uint32_t i = 0; i < node->chain.n; i++)
        check_node(check, node->chain.operand[i], true);
    check->protos = before;
}

static void check_chain(struct check *check, const struct ast *node)
{
    char text[PART_SIZE];

    if (node->chain.n > 2)
        check_say(check, node->offset, 11,
                  "a chain of comparisons groups to the right: %s; write two, with `and`",
                  part(node, text));
    for (uint32_t i = 0; i < node->chain.n; i++) {
        const struct ast *left = node->chain.operand[i], *right;

        check_node(check, left, false);
        if (i + 1 == node->chain.n)
            break;
        right = node->chain.operand[i + 1];
        if (node->chain.n == 2)
            check_comparison(check, node->chain.op[i], left, right);
        if (node->chain.op[i] == AST_NE && (check_can_miss(left) || check_can_miss(right)) &&
            !(right->kind == AST_LITERAL && right->literal.value.type == KFL_NULL))
            check_say(check, node->offset, 3,
                      "this is false, too, when %s is missing: write !(... == ...)",
                      part(check_can_miss(left) ? left : right, text));
    }
}

static void check_unary(struct check *check, const struct ast *node)
{
    const struct ast *operand = node->unary.operand;
    uint32_t types = types_of(operand);
    char text[PART_SIZE];
    bool idle = types != 0;

    if (node->unary.op == '!') {
        if (check_can_miss(operand) && operand->kind == AST_SELECT)
            check_say(check, node->offset, 3, "this is false, too, when %s is missing: write !(%s)",
                      part(operand, text), text);
        if (has_limit(operand))
            check_say(check, node->offset, 17,
                      "limit() is true: `!` makes this false, and the "
                      "limit counts all the same");
        idle &= (types & CHECK_TYPE(BOOL)) == 0;
    } else {
        idle &= (types & (CHECK_TYPE(INT) | CHECK_TYPE(FLOAT))) == 0;
    }
    if (idle)
        check_say(check, node->offset, 8,
                  "`%c` does nothing to %s, which is no %s: compare instead", node->unary.op,
                  part(operand, text), node->unary.op == '!' ? "bool" : "number");
    check_node(check, operand, false);
}

static void check_call(struct check *check, const struct ast *node)
{
    for (uint32_t i = 0; i < node->call.n_arguments; i++)
        if (node->call.argument[i].label)
            check_say(check, node->call.argument[i].offset, 21,
                      "a label in front of an argument means nothing");
    if (node->call.subject != NULL)
        check_node(check, node->call.subject, false);
    switch (node->call.helper) {
    case KFL_HELPER_LIMIT:
        check_limit(check, node);
        break;
    case KFL_HELPER_DATETIME:
        if (node->call.value.type == KFL_BOOL)
            check_say(check, node->offset, 18,
                      "this date cannot be read, so it is false: write M/D/YYYY, h:mm:ss.mmm PM "
                      "(UTC)");
        break;
    case KFL_HELPER_SECONDS:
    case KFL_HELPER_MINUTES:
    case KFL_HELPER_HOURS:
    case KFL_HELPER_DAYS:
    case KFL_HELPER_WEEKS:
    case KFL_HELPER_MONTHS:
    case KFL_HELPER_YEARS:
        check_unit(check, node);
        break;
    default:
        break;
    }
}

static void check_limit(struct check *check, const struct ast *node)
{
    long long counts = (long long)check->statement->limit;
    struct kfl_number n = value_number(&node->call.argument[0].value);

    if (number_compare(n, (struct kfl_number){.integer = 1}) < 0)
        check_say(check, node->offset, 17, "limit(0) is no limit");
    else if (check->limit != NULL)
        check_say(check, node->offset, 17, "the first limit counts: %lld", counts);
    else
        check->limit = node;
}

static void check_unit(struct check *check, const struct ast *node)
{
    const struct ast_argument *argument = &node->call.argument[0];
    double number;

    if (argument->value.type == KFL_INT || argument->value.type == KFL_FLOAT ||
        (argument->value.type == KFL_STRING &&
         number_spelled(argument->text, argument->size, &number)))
        return;
    check_say(check, argument->offset, 18, "%.*s is no number and counts as 0: this is now",
              (int)(argument->size < 40 ? argument->size : 40), argument->text);
}

/* From the right, as the chain groups: what is left of the entries after each `and`. */
static void check_exclusion(struct check *check, const struct ast *node)
{
    uint32_t n = node->chain.n, rest = check_protos(node->chain.operand[n - 1]);
    char left[PART_SIZE], right[PART_SIZE];

    for (uint32_t i = n - 1; i-- > 0;) {
        uint32_t own = check_protos(node->chain.operand[i]);

        if (node->chain.op[i] == AST_OR) {
            rest |= own;
            continue;
        }
        if (own != 0 && rest != 0 && (own & rest) == 0)
            check_say(check, node->chain.operand[i + 1]->offset, 6,
                      "no entry has both: %s excludes %s", part(node->chain.operand[i], left),
                      part(node->chain.operand[i + 1], right));
        rest &= own;
    }
}

static void check_object(struct check *check, const struct ast *node)
{
    uint32_t types = types_of(node);
    char text[PART_SIZE];

    if (types != 0 && (types & ~CHECK_OBJECTS) == 0)
        check_say(check, node->offset, 9, "an object is false: write %s != nil", part(node, text));
}

static void check_escapes(struct check *check)
{
    const struct kfl_statement *statement = check->statement;
    struct kfl_arena *arena = kfl_arena_create((statement->size + 2) * sizeof(struct token));
    struct token *tokens;
    uint32_t n;

    if (arena != NULL && lex(arena, statement->text, statement->size, NULL, &tokens, &n) == 0)
        for (uint32_t i = 0; i < n; i++)
            if (tokens[i].kind == TOKEN_STRING && tokens[i].quote != '`' &&
                memchr(tokens[i].text.text, '\\', tokens[i].text.size) != NULL)
                check_say(check, tokens[i].offset, 14,
                          "escapes are not decoded: the text is %.*s as written",
                          (int)(tokens[i].text.size < 80 ? tokens[i].text.size : 80),
                          tokens[i].text.text);
    kfl_arena_free(arena);
}

/* 0 or 1 when it is always that; else -1. */
static int constant_truth(const struct ast *node)
{
    int truth;

    switch (node->kind) {
    case AST_LITERAL:
        return value_truth(&node->literal.value);
    case AST_CALL:
        return node->call.subject != NULL ? -1 : value_truth(&node->call.value);
    case AST_GROUP:
        return constant_truth(node->group.inner);
    case AST_UNARY:
        truth = constant_truth(node->unary.operand);
        return node->unary.op != '!' || truth < 0 || node->unary.operand->kind != AST_LITERAL ||
                       node->unary.operand->literal.value.type != KFL_BOOL
                   ? -1
                   : !truth;
    default:
        return -1;
    }
}

static bool has_limit(const struct ast *node)
{
    switch (node->kind) {
    case AST_CALL:
        return node->call.helper == KFL_HELPER_LIMIT;
    case AST_UNARY:
        return has_limit(node->unary.operand);
    case AST_GROUP:
        return has_limit(node->group.inner);
    default:
        return false;
    }
}

/* Set of types that a selector or a literal can have; 0: cannot be said. */
static uint32_t types_of(const struct ast *node)
{
    struct check_path path;

    if (node->kind == AST_LITERAL)
        switch (node->literal.value.type) {
        case KFL_BOOL:
            return CHECK_TYPE(BOOL);
        case KFL_INT:
            return CHECK_TYPE(INT);
        case KFL_FLOAT:
            return CHECK_TYPE(FLOAT);
        case KFL_STRING:
            return CHECK_TYPE(STRING);
        default:
            return 0;
        }
    if (node->kind != AST_SELECT)
        return 0;
    check_resolve(&node->select, &path);
    return path.types;
}

/* Whose entries matter to the operands of this chain: with `and` alone, those of all of them. */
static uint32_t protos_at(const struct check *check, const struct ast *node)
{
    uint32_t protos = check->protos;

    for (uint32_t i = 0; i < node->chain.n; i++) {
        if (i > 0 && node->chain.op[i - 1] == AST_OR)
            return check->protos;
        protos &= check_protos(node->chain.operand[i]);
    }
    return protos;
}

/* The part of the statement with its grouping, shortened. */
static const char *part(const struct ast *node, char buffer[static PART_SIZE])
{
    char *shown = show_node(node);
    size_t size = shown == NULL ? 0 : strlen(shown);

    if (size < PART_SIZE) {
        memcpy(buffer, shown == NULL ? "" : shown, size + 1);
    } else {
        size = PART_SIZE - 4;
        while (size > 0 && ((uint8_t)shown[size] & 0xc0) == 0x80)
            size--; /* not inside a character */
        memcpy(buffer, shown, size);
        memcpy(buffer + size, "...", 4);
    }
    free(shown);
    return buffer;
}
