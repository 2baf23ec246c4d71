/* job.c - statements in jobs (section 14 of the specification): what they may not say, what they
 * hide, and when they can no longer hold. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "eval.h"

struct walk {
    const struct kfl_statement *statement;
    struct kfl_messages *messages;
    const struct ast_redact *redact[256]; /* seen so far, in the order of evaluation */
    unsigned n_redacts;
    bool stored; /* it is asked about stored entries: record() may be */
    bool failed;
};

static int check(struct walk walk);
static void walk_node(struct walk *walk, const struct ast *node);
static void walk_read(struct walk *walk, const struct ast *node);
static void refuse(struct walk *walk, uint32_t offset, const char *what);
static unsigned parts_of(const struct ast *node, const struct ast_path **part,
                         enum ast_document *document, unsigned n);
static bool reads_redacted(const struct ast_redact *redact, const struct ast *node);
static bool overlap(const struct ast_path *a, const struct ast_path *b, bool *ret_same);
static bool has_key(const struct ast_path *path, uint32_t from, const struct ast_step *deep);
static bool step_fits(const struct ast_step *a, const struct ast_step *b);
static void redact_node(struct evaluation *evaluation, const struct ast *node, bool *ret_any);
static int64_t last_of(const struct ast *node);
static int64_t last_of_order(enum ast_op op, const struct ast *left, const struct ast *right);
static bool is_timestamp(const struct ast *node);
static bool constant_ms(const struct ast *node, int64_t *ret_ms);

int kfl_statement_check_job(const struct kfl_statement *statement, struct kfl_messages *messages)
{
    return check((struct walk){.statement = statement, .messages = messages});
}

int kfl_statement_check_stored(const struct kfl_statement *statement, struct kfl_messages *messages)
{
    return check((struct walk){.statement = statement, .messages = messages, .stored = true});
}

bool kfl_statement_redacts(const struct kfl_statement *statement)
{
    bool any = false;

    redact_node(NULL, statement->root, &any);
    return any;
}

bool kfl_statement_redact(const struct kfl_statement *statement, struct kfl_value *record,
                          struct kfl_arena *arena)
{
    struct evaluation evaluation = {.record = record, .arena = arena};
    bool any;

    redact_node(&evaluation, statement->root, &any);
    return !evaluation.exhausted;
}

int64_t kfl_statement_last_ms(const struct kfl_statement *statement)
{
    return last_of(statement->root);
}

static int check(struct walk walk)
{
    if (walk.messages != NULL)
        walk.messages->n = walk.messages->more = 0;
    walk_node(&walk, walk.statement->root);
    return walk.failed ? -EINVAL : 0;
}

/* In the order of evaluation. */
static void walk_node(struct walk *walk, const struct ast *node)
{
    const unsigned most = sizeof(walk->redact) / sizeof(walk->redact[0]);

    switch (node->kind) {
    case AST_LITERAL:
        break;
    case AST_SELECT:
    case AST_DECODE:
        walk_read(walk, node);
        break;
    case AST_CALL:
        if (node->call.subject != NULL)
            walk_read(walk, node->call.subject);
        for (uint32_t i = 0; node->call.redact != NULL && i < node->call.n_arguments; i++) {
            if (walk->n_redacts == most)
                refuse(walk, node->offset, "a job can hide 256 paths at most");
            else
                walk->redact[walk->n_redacts++] = &node->call.redact[i];
        }
        break;
    case AST_UNARY:
        walk_node(walk, node->unary.operand);
        break;
    case AST_GROUP:
        if (node->group.record && !walk->stored)
            refuse(walk, node->offset,
                   "record() asks about stored entries: a job cannot, `recording view` can");
        else
            walk_node(walk, node->group.inner);
        break;
    case AST_CHAIN:
        for (uint32_t i = 0; i < node->chain.n; i++)
            walk_node(walk, node->chain.operand[i]);
        break;
    }
}

static void walk_read(struct walk *walk, const struct ast *node)
{
    for (unsigned i = 0; i < walk->n_redacts; i++)
        if (reads_redacted(walk->redact[i], node)) {
            refuse(
                walk, node->offset,
                "redact() before this hides what it reads: in a job put it in front of redact()");
            return;
        }
}

static void refuse(struct walk *walk, uint32_t offset, const char *what)
{
    walk->failed = true;
    kfl_message_add(walk->messages, walk->statement->text, walk->statement->size, offset, 0, "%s",
                    what);
}

/* A selector as paths, each in the document that the one before leads to. -> how many there are,
 * of which the first n are filled in. */
static unsigned parts_of(const struct ast *node, const struct ast_path **part,
                         enum ast_document *document, unsigned n)
{
    unsigned at;

    if (node->kind == AST_SELECT) {
        part[0] = &node->select;
        document[0] = AST_NO_DOCUMENT;
        return 1;
    }
    at = parts_of(node->decode.subject, part, document, n);
    if (at < n) {
        part[at] = &node->decode.path;
        document[at] = node->decode.document;
    }
    return at + 1;
}

/* Could a value that the selector leads to be another one once the path is hidden? */
static bool reads_redacted(const struct ast_redact *redact, const struct ast *node)
{
    enum { PARTS_MAX = 16 };
    const struct ast_path *part[PARTS_MAX];
    enum ast_document document[PARTS_MAX];
    unsigned n = parts_of(node, part, document, PARTS_MAX);

    for (unsigned i = 0; i < redact->n && i < n && i < PARTS_MAX; i++) {
        bool same;

        if (redact->part[i].document != document[i])
            return true;
        if (!overlap(&redact->part[i].path, part[i], &same))
            return false;
        if (!same)
            return true;
    }
    return true;
}

/* Can both lead to one value, or one into the other? same: to one value. */
static bool overlap(const struct ast_path *a, const struct ast_path *b, bool *ret_same)
{
    uint32_t i = 0;

    *ret_same = false;
    for (; i < a->n && i < b->n; i++) {
        if (a->step[i].type == AST_DEEP)
            return has_key(b, i, &a->step[i]);
        if (b->step[i].type == AST_DEEP)
            return has_key(a, i, &b->step[i]);
        if (!step_fits(&a->step[i], &b->step[i]))
            return false;
    }
    *ret_same = i == a->n && i == b->n;
    return true;
}

static bool has_key(const struct ast_path *path, uint32_t from, const struct ast_step *deep)
{
    for (uint32_t i = from; i < path->n; i++) {
        const struct ast_step *step = &path->step[i];

        if (step->type == AST_ALL || (step->type != AST_INDEX && step->size == deep->size &&
                                      memcmp(step->name, deep->name, step->size) == 0))
            return true;
    }
    return false;
}

static bool step_fits(const struct ast_step *a, const struct ast_step *b)
{
    if (a->type == AST_ALL || b->type == AST_ALL)
        return true;
    if (a->type != b->type)
        return false;
    if (a->type == AST_INDEX)
        return a->index == b->index || a->index < 0 || b->index < 0;
    return a->size == b->size && memcmp(a->name, b->name, a->size) == 0;
}

/* Applies every redact(), whether it would be evaluated or not; without an evaluation only looks
 * for one. */
static void redact_node(struct evaluation *evaluation, const struct ast *node, bool *ret_any)
{
    switch (node->kind) {
    case AST_CALL:
        if (node->call.redact == NULL)
            break;
        *ret_any = true;
        for (uint32_t i = 0; evaluation != NULL && i < node->call.n_arguments; i++)
            redact_eval(evaluation, &node->call.redact[i]);
        break;
    case AST_UNARY:
        redact_node(evaluation, node->unary.operand, ret_any);
        break;
    case AST_GROUP:
        redact_node(evaluation, node->group.inner, ret_any);
        break;
    case AST_CHAIN:
        for (uint32_t i = 0; i < node->chain.n; i++)
            redact_node(evaluation, node->chain.operand[i], ret_any);
        break;
    default:
        break;
    }
}

/* The greatest timestamp of an entry for which the node can be true. */
static int64_t last_of(const struct ast *node)
{
    const struct ast *const *operand = node->chain.operand;
    int64_t last;

    if (node->kind == AST_GROUP)
        return last_of(node->group.inner);
    if (node->kind != AST_CHAIN)
        return INT64_MAX;
    if (node->chain.level != AST_LOGIC)
        return node->chain.n == 2 ? last_of_order(node->chain.op[0], operand[0], operand[1])
                                  : INT64_MAX;
    last = last_of(operand[node->chain.n - 1]);
    for (uint32_t i = node->chain.n - 1; i-- > 0;) {
        int64_t own = last_of(operand[i]);

        if (node->chain.op[i] == AST_AND ? own < last : own > last)
            last = own;
    }
    return last;
}

static int64_t last_of_order(enum ast_op op, const struct ast *left, const struct ast *right)
{
    int64_t ms;

    if (is_timestamp(left) && constant_ms(right, &ms) &&
        (op == AST_LT || op == AST_LE || op == AST_EQ))
        return op == AST_LT && ms > INT64_MIN ? ms - 1 : ms;
    if (is_timestamp(right) && constant_ms(left, &ms) &&
        (op == AST_GT || op == AST_GE || op == AST_EQ))
        return op == AST_GT && ms > INT64_MIN ? ms - 1 : ms;
    return INT64_MAX;
}

static bool is_timestamp(const struct ast *node)
{
    const char *path = kfl_field_info[KFL_FIELD_TIMESTAMP].path;

    return node->kind == AST_SELECT && node->select.n == 1 &&
           node->select.step->size == strlen(path) &&
           memcmp(node->select.step->name, path, node->select.step->size) == 0;
}

static bool constant_ms(const struct ast *node, int64_t *ret_ms)
{
    const struct kfl_value *value = node->kind == AST_LITERAL ? &node->literal.value
                                    : node->kind == AST_CALL && node->call.subject == NULL
                                        ? &node->call.value
                                        : NULL;
    struct kfl_number number;

    if (value == NULL || value->type == KFL_REGEX)
        return false;
    number = value_number(value);
    if (number.is_float && !(fabs(number.number) < 0x1p62))
        return false;
    *ret_ms = number.is_float ? (int64_t)ceil(number.number) : number.integer;
    return true;
}
