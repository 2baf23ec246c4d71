#include "lower.h"

#include <string.h>

#include "ensure.h"

struct lowering {
    struct atoms *atoms;
    struct program *program;
    const struct kfl_statement *statement;
};

static uint32_t truth(struct lowering *lowering, const struct ast *tree);
static uint32_t truth_of_unary(struct lowering *lowering, const struct ast *tree);
static uint32_t truth_of_chain(struct lowering *lowering, const struct ast *tree);
static uint32_t compare(struct lowering *lowering, const struct ast *left, enum ast_op op,
                        const struct ast *right, const struct ast *whole);
static uint32_t subject_of(struct lowering *lowering, const struct ast *tree);
static uint32_t test(struct lowering *lowering, uint32_t subject, enum atom_op op,
                     const struct kfl_value *constant, struct kfl_slice pattern);
static uint32_t general(struct lowering *lowering, const struct ast *tree);
static bool constant_of(const struct ast *tree, struct kfl_value *ret_value,
                        struct kfl_slice *ret_pattern);
static bool is_bool(const struct ast *tree);

uint32_t lower_statement(struct atoms *atoms, struct program *program,
                         const struct kfl_statement *statement)
{
    struct lowering lowering = {atoms, program, statement};

    return program_group(program, truth(&lowering, statement->root));
}

bool lower_always_absent(const struct ast *tree, enum kfl_proto proto)
{
    switch (tree->kind) {
    case AST_SELECT:
        for (unsigned field = 1; field < KFL_FIELD_COUNT; field++)
            if (path_reads(&tree->select, proto, field))
                return false;
        return true;
    case AST_UNARY:
        return lower_always_absent(tree->unary.operand, proto);
    case AST_CHAIN:
        if (tree->chain.level == AST_LOGIC)
            return lower_always_absent(tree->chain.operand[0], proto);
        for (uint32_t i = 0; i < tree->chain.n; i++)
            if (lower_always_absent(tree->chain.operand[i], proto))
                return true;
        return false;
    default:
        return false;
    }
}

void lower_reads(const struct ast *tree, enum kfl_proto proto,
                 void (*reads)(void *context, enum kfl_field field), void *context)
{
    switch (tree->kind) {
    case AST_SELECT:
        for (unsigned field = 1; field < KFL_FIELD_COUNT; field++)
            if (path_reads(&tree->select, proto, field))
                reads(context, field);
        break;
    case AST_DECODE:
        lower_reads(tree->decode.subject, proto, reads, context);
        break;
    case AST_CALL:
        if (tree->call.subject)
            lower_reads(tree->call.subject, proto, reads, context);
        break;
    case AST_UNARY:
        lower_reads(tree->unary.operand, proto, reads, context);
        break;
    case AST_GROUP:
        lower_reads(tree->group.inner, proto, reads, context);
        break;
    case AST_CHAIN:
        for (uint32_t i = 0; i < tree->chain.n; i++)
            lower_reads(tree->chain.operand[i], proto, reads, context);
        break;
    case AST_LITERAL:
        break;
    }
}

/* The node of truth(value of the tree). */
static uint32_t truth(struct lowering *lowering, const struct ast *tree)
{
    struct kfl_value value;
    struct kfl_slice none = {"", 0};
    uint32_t subject;

    if (constant_of(tree, &value, &none))
        return program_const(lowering->program, value_truth(&value) ? MAY_TRUE : MAY_FALSE);
    switch (tree->kind) {
    case AST_SELECT:
        subject = subject_of(lowering, tree);
        if (subject == SUBJECT_NONE)
            return general(lowering, tree);
        return test(lowering, subject, ATOM_TRUTH, NULL, none);
    case AST_CALL:
        subject = subject_of(lowering, tree->call.subject);
        if (subject == SUBJECT_NONE)
            return general(lowering, tree);
        return test(lowering, subject,
                    tree->call.helper == KFL_HELPER_STARTS_WITH ? ATOM_STARTS_WITH
                    : tree->call.helper == KFL_HELPER_ENDS_WITH ? ATOM_ENDS_WITH
                                                                : ATOM_CONTAINS,
                    &tree->call.argument[0].value, none);
    case AST_UNARY:
        return truth_of_unary(lowering, tree);
    case AST_GROUP:
        return program_group(lowering->program, truth(lowering, tree->group.inner));
    case AST_CHAIN:
        return truth_of_chain(lowering, tree);
    default:
        return general(lowering, tree);
    }
}

static uint32_t truth_of_unary(struct lowering *lowering, const struct ast *tree)
{
    const struct ast *operand = tree->unary.operand;
    struct kfl_slice none = {"", 0};
    uint32_t subject;

    if (is_bool(operand)) {
        uint32_t inner = truth(lowering, operand);

        return tree->unary.op == '!' ? program_not(lowering->program, inner) : inner;
    }
    while (operand->kind == AST_GROUP && tree->unary.op == '!')
        operand = operand->group.inner;
    subject = subject_of(lowering, operand);
    if (subject == SUBJECT_NONE)
        return general(lowering, tree);
    return test(lowering, subject,
                tree->unary.op == '-'            ? ATOM_NEGATIVE
                : operand == tree->unary.operand ? ATOM_NOT
                                                 : ATOM_NOT_GROUP,
                NULL, none);
}

static uint32_t truth_of_chain(struct lowering *lowering, const struct ast *tree)
{
    uint32_t node;

    if (tree->chain.level != AST_LOGIC) {
        if (tree->chain.n > 2)
            return general(lowering, tree);
        return compare(lowering, tree->chain.operand[0], tree->chain.op[0], tree->chain.operand[1],
                       tree);
    }
    node = truth(lowering, tree->chain.operand[tree->chain.n - 1]);
    for (uint32_t i = tree->chain.n - 1; i-- > 0;) {
        uint32_t left = truth(lowering, tree->chain.operand[i]);

        node = tree->chain.op[i] == AST_AND ? program_and(lowering->program, left, node)
                                            : program_or(lowering->program, left, node);
    }
    return node;
}

static uint32_t compare(struct lowering *lowering, const struct ast *left, enum ast_op op,
                        const struct ast *right, const struct ast *whole)
{
    static const uint8_t turned[] = {[AST_EQ] = AST_EQ, [AST_NE] = AST_NE, [AST_LT] = AST_GT,
                                     [AST_LE] = AST_GE, [AST_GT] = AST_LT, [AST_GE] = AST_LE};
    static const uint8_t atom_op[] = {
        [AST_EQ] = ATOM_EQUAL,      [AST_NE] = ATOM_EQUAL,   [AST_LT] = ATOM_LESS,
        [AST_LE] = ATOM_LESS_EQUAL, [AST_GT] = ATOM_GREATER, [AST_GE] = ATOM_GREATER_EQUAL};
    struct kfl_value constant, other;
    struct kfl_slice pattern = {"", 0}, unused = {"", 0};
    uint32_t node, subject;
    bool equality = op == AST_EQ || op == AST_NE;

    if (!constant_of(right, &constant, &pattern)) {
        if (!constant_of(left, &constant, &pattern))
            return general(lowering, whole);
        right = left;
        left = whole->chain.operand[1];
        op = turned[op];
    } else if (constant_of(left, &other, &unused)) {
        bool holds = equality ? value_equal(&other, &constant) == (op == AST_EQ)
                              : value_ordered(op, &other, &constant);

        return program_const(lowering->program, holds ? MAY_TRUE : MAY_FALSE);
    }
    subject = subject_of(lowering, left);
    if (subject != SUBJECT_NONE) {
        bool regex = constant.type == KFL_REGEX && equality;

        if (constant.type == KFL_REGEX && !equality)
            constant = (struct kfl_value){.type = KFL_INT};
        node = test(lowering, subject, regex ? ATOM_REGEX : atom_op[op], &constant, pattern);
        return op == AST_NE ? program_not(lowering->program, node) : node;
    }
    if (is_bool(left) && equality && constant.type != KFL_REGEX) {
        char buffer[VALUE_TEXT_MAX];
        struct kfl_slice text = value_text(&constant, buffer);
        bool is_true = slice_equal(text, (struct kfl_slice){"true", 4});

        if (is_true || slice_equal(text, (struct kfl_slice){"false", 5})) {
            node = truth(lowering, left);
            return is_true == (op == AST_EQ) ? node : program_not(lowering->program, node);
        }
    }
    return general(lowering, whole);
}

/* The subject that a selector is, if atoms can look at it. */
static uint32_t subject_of(struct lowering *lowering, const struct ast *tree)
{
    return tree->kind == AST_SELECT ? atoms_subject(lowering->atoms, &tree->select) : SUBJECT_NONE;
}

static uint32_t test(struct lowering *lowering, uint32_t subject, enum atom_op op,
                     const struct kfl_value *constant, struct kfl_slice pattern)
{
    uint32_t atom = atoms_atom(lowering->atoms, subject, op, constant, pattern);

    if (lowering->atoms->no_memory)
        return MAY_ALL;
    return program_atom(lowering->program, atom, MAY_BOTH | lowering->atoms->atom[atom].absent);
}

static uint32_t general(struct lowering *lowering, const struct ast *tree)
{
    uint32_t atom = atoms_general(lowering->atoms, lowering->statement, tree);

    if (lowering->atoms->no_memory)
        return MAY_ALL;
    return program_atom(lowering->program, atom, MAY_BOTH | lowering->atoms->atom[atom].absent);
}

/* Its value, when it is the same for every entry. */
static bool constant_of(const struct ast *tree, struct kfl_value *ret_value,
                        struct kfl_slice *ret_pattern)
{
    switch (tree->kind) {
    case AST_LITERAL:
        *ret_value = tree->literal.value;
        *ret_pattern = (struct kfl_slice){tree->literal.pattern, tree->literal.pattern_size};
        return true;
    case AST_CALL:
        if (tree->call.subject)
            return false;
        *ret_value = tree->call.value;
        return true;
    case AST_GROUP:
        return constant_of(tree->group.inner, ret_value, ret_pattern);
    case AST_UNARY:
        if (!constant_of(tree->unary.operand, ret_value, ret_pattern))
            return false;
        if (tree->unary.op == '!' && ret_value->type == KFL_BOOL) {
            ret_value->boolean = !ret_value->boolean;
        } else if (tree->unary.op == '-' && ret_value->type == KFL_FLOAT) {
            ret_value->number = -ret_value->number;
        } else if (tree->unary.op == '-' && ret_value->type == KFL_INT) {
            if (ret_value->integer == INT64_MIN)
                *ret_value = (struct kfl_value){.type = KFL_FLOAT, .number = 0x1p63};
            else
                ret_value->integer = -ret_value->integer;
        }
        return true;
    default:
        return false;
    }
}

/* Is its value always a bool (or absent)? */
static bool is_bool(const struct ast *tree)
{
    struct kfl_value value;
    struct kfl_slice pattern;

    if (constant_of(tree, &value, &pattern))
        return value.type == KFL_BOOL;
    switch (tree->kind) {
    case AST_CALL:
    case AST_CHAIN:
        return true;
    case AST_GROUP:
        return is_bool(tree->group.inner);
    case AST_UNARY:
        return is_bool(tree->unary.operand);
    case AST_SELECT:
        for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
            struct path_place place = path_resolve(&tree->select, proto);

            if (place.kind != PATH_ROW || kfl_field_info[place.field].type != KFL_TYPE_BOOL)
                return false;
        }
        return true;
    default:
        return false;
    }
}
