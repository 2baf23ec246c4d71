/* eval.c - the naive twin: the tree, node by node (sections 5, 7, 8 of the specification). */
#include "eval.h"

#include <string.h>

static bool eval_node(struct evaluation *evaluation, const struct ast *node,
                      struct kfl_value *ret_value);
static bool eval_select(struct evaluation *evaluation, const struct ast *node,
                        struct kfl_value *ret_value);
static bool eval_test(struct evaluation *evaluation, const struct ast *node);
static bool eval_unary(struct evaluation *evaluation, const struct ast *node,
                       struct kfl_value *ret_value);
static bool eval_logic(struct evaluation *evaluation, const struct ast *node,
                       struct kfl_value *ret_value);
static bool eval_comparison(struct evaluation *evaluation, const struct ast *node,
                            struct kfl_value *ret_value);
static struct kfl_value boolean(bool value);

bool kfl_statement_eval(const struct kfl_statement *statement, struct kfl_value *record,
                        struct kfl_arena *arena, bool *ret_changed, bool *ret_exhausted)
{
    struct evaluation evaluation = {.record = record, .arena = arena};
    struct kfl_value value;
    bool held = eval_node(&evaluation, statement->root, &value) && value_truth(&value);

    if (ret_changed != NULL)
        *ret_changed = evaluation.changed;
    if (ret_exhausted != NULL)
        *ret_exhausted = evaluation.exhausted;
    return held && !evaluation.exhausted;
}

bool eval_expression(struct evaluation *evaluation, const struct ast *node,
                     struct kfl_value *ret_value)
{
    return eval_node(evaluation, node, ret_value);
}

bool eval_constant(const struct ast *node, struct kfl_arena *arena, struct kfl_value *ret_value)
{
    struct evaluation evaluation = {.arena = arena};

    return eval_node(&evaluation, node, ret_value) && !evaluation.exhausted;
}

void *eval_alloc(struct evaluation *evaluation, size_t size)
{
    void *memory = kfl_arena_alloc(evaluation->arena, size);

    if (memory == NULL)
        evaluation->exhausted = true;
    return memory;
}

/* false: a path was missing (or the evaluation is exhausted); the expression around it ends. */
static bool eval_node(struct evaluation *evaluation, const struct ast *node,
                      struct kfl_value *ret_value)
{
    if (evaluation->exhausted)
        return false;
    switch (node->kind) {
    case AST_LITERAL:
        *ret_value = node->literal.value;
        return true;
    case AST_SELECT:
    case AST_DECODE:
        return eval_select(evaluation, node, ret_value);
    case AST_CALL:
        if (node->call.subject != NULL) {
            *ret_value = boolean(eval_test(evaluation, node));
            return true;
        }
        for (uint32_t i = 0; node->call.redact != NULL && i < node->call.n_arguments; i++)
            redact_eval(evaluation, &node->call.redact[i]);
        *ret_value = node->call.value;
        return true;
    case AST_UNARY:
        return eval_unary(evaluation, node, ret_value);
    case AST_GROUP:
        if (!eval_node(evaluation, node->group.inner, ret_value))
            *ret_value = boolean(false);
        return true;
    case AST_CHAIN:
        break;
    }
    return node->chain.level == AST_LOGIC ? eval_logic(evaluation, node, ret_value)
                                          : eval_comparison(evaluation, node, ret_value);
}

static bool eval_select(struct evaluation *evaluation, const struct ast *node,
                        struct kfl_value *ret_value)
{
    struct value_list list = {0};
    struct kfl_value *copy;

    select_node(evaluation, node, &list);
    if (evaluation->exhausted)
        return false;
    if (list.n == 0) {
        *ret_value = boolean(false);
        return node->kind == AST_DECODE;
    }
    if (list.n == 1) {
        *ret_value = *list.item[0];
        return true;
    }
    copy = eval_alloc(evaluation, list.n * sizeof(*copy));
    if (copy == NULL)
        return false;
    for (uint32_t i = 0; i < list.n; i++) {
        copy[i] = *list.item[i];
        copy[i].next = i + 1 < list.n ? &copy[i + 1] : NULL;
    }
    *ret_value = (struct kfl_value){
        .type = KFL_ARRAY, .size = list.n, .first = copy, .last = &copy[list.n - 1]};
    return true;
}

/* startsWith, endsWith, contains: true for some value, or some element of the one array. */
static bool eval_test(struct evaluation *evaluation, const struct ast *node)
{
    const struct ast_argument *argument = &node->call.argument[0];
    struct kfl_slice part = {argument->text, argument->size};
    struct value_list list = {0};
    const struct kfl_value *element = NULL;

    select_node(evaluation, node->call.subject, &list);
    if (list.n == 1 && list.item[0]->type == KFL_ARRAY) {
        element = list.item[0]->first;
        list.n = 0;
    }
    for (uint32_t i = 0; i < list.n || element != NULL; i++) {
        const struct kfl_value *value = element != NULL ? element : list.item[i];
        char buffer[VALUE_TEXT_MAX];
        struct kfl_slice text = value_text(value, buffer);

        if (node->call.helper == KFL_HELPER_STARTS_WITH ? slice_starts_with(text, part)
            : node->call.helper == KFL_HELPER_ENDS_WITH ? slice_ends_with(text, part)
                                                        : slice_contains(text, part))
            return true;
        element = element != NULL ? element->next : NULL;
    }
    return false;
}

static bool eval_unary(struct evaluation *evaluation, const struct ast *node,
                       struct kfl_value *ret_value)
{
    struct kfl_value value;

    if (!eval_node(evaluation, node->unary.operand, &value))
        return false;
    if (node->unary.op == '!') {
        if (value.type == KFL_BOOL)
            value.boolean = !value.boolean;
    } else if (value.type == KFL_INT && value.integer == INT64_MIN) {
        value = (struct kfl_value){.type = KFL_FLOAT, .number = 0x1p63};
    } else if (value.type == KFL_INT) {
        value.integer = -value.integer;
    } else if (value.type == KFL_FLOAT) {
        value.number = -value.number;
    }
    *ret_value = value;
    return true;
}

static bool eval_logic(struct evaluation *evaluation, const struct ast *node,
                       struct kfl_value *ret_value)
{
    uint32_t last = node->chain.n - 1;
    struct kfl_value value;

    for (uint32_t i = 0; i <= last; i++) {
        bool held;

        if (!eval_node(evaluation, node->chain.operand[i], &value))
            return false;
        held = value_truth(&value);
        if (i == last || held == (node->chain.op[i] == AST_OR)) { /* decided */
            *ret_value = boolean(held);
            break;
        }
    }
    return true;
}

/* All operands from left to right, then the operators from right to left. */
static bool eval_comparison(struct evaluation *evaluation, const struct ast *node,
                            struct kfl_value *ret_value)
{
    uint32_t n = node->chain.n;
    struct kfl_value two[2], *value = n == 2 ? two : eval_alloc(evaluation, n * sizeof(*value));

    if (value == NULL)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!eval_node(evaluation, node->chain.operand[i], &value[i]))
            return false;
    for (uint32_t i = n - 1; i > 0; i--) {
        enum ast_op op = node->chain.op[i - 1];
        const struct kfl_value *left = &value[i - 1], *right = &value[i];
        bool held = node->chain.level == AST_ORDER ? value_ordered(op, left, right)
                                                   : value_equal(left, right) == (op == AST_EQ);

        value[i - 1] = boolean(held);
    }
    *ret_value = value[0];
    return true;
}

static struct kfl_value boolean(bool value)
{
    return (struct kfl_value){.type = KFL_BOOL, .boolean = value};
}
