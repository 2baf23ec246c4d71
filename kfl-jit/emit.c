#include "emit.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "insn.h"

/* Registers: the step just made, the frame, operands, temporaries, results, the mask of the set of
 * protocols that roots are for. */
enum {
    LAST = 0,
    FRAME = 1,
    LEFT = 2,
    RIGHT = 3,
    T4 = 4,
    T5 = 5,
    MAY_TRUE_SET = 6,
    MAY_FALSE_SET = 7,
    MASK = 8
};

struct emitter {
    const struct code *code;
    const struct packet_test *tests;
    uint32_t n_atoms;
    struct insns to;
    uint32_t *uses;  /* by cell */
    bool *made;      /* by atom: its cell is filled by the program already */
    uint32_t protos; /* whose mask is in MASK; 0: none */
};

static bool is_given(const struct code_root *root);
static void begin(struct emitter *emitter);
static void step(struct emitter *emitter, uint32_t i);
static void operand(struct emitter *emitter, uint8_t to, uint32_t cell);
static void test(struct emitter *emitter, uint8_t to, const struct packet_test *test);
static void roots_of(struct emitter *emitter, uint32_t cell, uint8_t from);
static void count_uses(struct emitter *emitter);
static uint32_t offset_of(uint32_t cell);

int emit_program(const struct code *code, const struct packet_test *tests, uint32_t n_atoms,
                 struct jit_program **ret_program)
{
    uint32_t n_cells = code->first_cell + code->n_steps;
    struct emitter emitter = {.code = code, .tests = tests, .n_atoms = n_atoms};

    if (offset_of(n_cells) > INT16_MAX)
        return -E2BIG;
    emitter.uses = calloc(n_cells + 1u, sizeof *emitter.uses);
    emitter.made = calloc(n_atoms + 1u, sizeof *emitter.made);
    if (!emitter.uses || !emitter.made)
        emitter.to.error = -ENOMEM;
    else
        count_uses(&emitter);
    begin(&emitter);
    for (uint32_t i = 0; i < code->n_steps && !emitter.to.error; i++)
        step(&emitter, i);
    for (uint32_t i = 0; i < code->n_roots && !emitter.to.error; i++) {
        uint32_t same = 0;

        while (code->root[same].cell != code->root[i].cell || is_given(&code->root[same]))
            if (same++ == i)
                break;
        if (code->root[i].cell >= code->first_cell || same < i || is_given(&code->root[i]))
            continue;
        operand(&emitter, LEFT, code->root[i].cell);
        insns_alu_x(&emitter.to, OP_MOV, LAST, LEFT);
        roots_of(&emitter, code->root[i].cell, LAST);
    }
    insns_put(&emitter.to, STX_DW, FRAME, MAY_TRUE_SET, offsetof(struct frame, may_true), 0);
    insns_put(&emitter.to, STX_DW, FRAME, MAY_FALSE_SET, offsetof(struct frame, may_false), 0);
    insns_alu_k(&emitter.to, OP_MOV, LAST, 0);
    insns_put(&emitter.to, EXIT, 0, 0, 0, 0);
    if (!emitter.to.error)
        emitter.to.error = jit_load(emitter.to.insn, emitter.to.n, offset_of(n_cells), ret_program);
    insns_done(&emitter.to);
    free(emitter.uses);
    free(emitter.made);
    return emitter.to.error;
}

/* A root that is the same whatever comes. */
static bool is_given(const struct code_root *root)
{
    return root->cell < CODE_CELL_ATOMS && root->protos == UINT32_MAX;
}

/* The results begin with the roots that are given. */
static void begin(struct emitter *emitter)
{
    uint64_t may_true = 0, may_false = 0;

    for (uint32_t i = 0; i < emitter->code->n_roots; i++) {
        const struct code_root *root = &emitter->code->root[i];

        if (!is_given(root))
            continue;
        may_true |= (uint64_t)(cell_of_may[root->cell] & 1) << root->slot;
        may_false |= (uint64_t)(~cell_of_may[root->cell] >> 1 & 1) << root->slot;
    }
    insns_load_64(&emitter->to, MAY_TRUE_SET, may_true);
    insns_load_64(&emitter->to, MAY_FALSE_SET, may_false);
}

/* Leaves its result in LAST, and in its cell unless the next step alone needs it. */
static void step(struct emitter *emitter, uint32_t i)
{
    const struct code *code = emitter->code;
    uint32_t cell = code->first_cell + i, last = i ? cell - 1 : UINT32_MAX;
    struct code_step now = code->step[i];
    const struct code_step *next = i + 1 < code->n_steps ? &code->step[i + 1] : NULL;

    if (now.a == last && (now.op == CODE_AND || now.op == CODE_OR)) {
        now.a = now.b;
        now.b = last;
    }
    /* The right side, or the only one, in LAST; the left one in LEFT. */
    if (now.b != last)
        operand(emitter, LAST, now.b);
    if (now.op <= CODE_OR_ABSENT)
        operand(emitter, LEFT, now.a);
    switch ((enum code_op)now.op) {
    case CODE_AND:
        insns_alu_x(&emitter->to, OP_AND, LAST, LEFT);
        break;
    case CODE_OR:
        insns_alu_x(&emitter->to, OP_OR, LAST, LEFT);
        break;
    case CODE_OR_ABSENT:
        insns_alu_x(&emitter->to, OP_MOV, RIGHT, LEFT);
        insns_alu_k(&emitter->to, OP_RSH, RIGHT, 2);
        insns_alu_x(&emitter->to, OP_MOV, T4, RIGHT);
        insns_alu_k(&emitter->to, OP_OR, T4, 2);
        insns_alu_x(&emitter->to, OP_AND, LAST, T4);
        insns_alu_x(&emitter->to, OP_OR, LAST, LEFT);
        insns_alu_k(&emitter->to, OP_AND, RIGHT, 2);
        insns_alu_k(&emitter->to, OP_XOR, RIGHT, 0xff);
        insns_alu_x(&emitter->to, OP_AND, LAST, RIGHT);
        break;
    case CODE_NOT:
        insns_alu_x(&emitter->to, OP_MOV, LEFT, LAST);
        insns_alu_k(&emitter->to, OP_RSH, LEFT, 1);
        insns_alu_k(&emitter->to, OP_AND, LEFT, 1);
        insns_alu_k(&emitter->to, OP_LSH, LAST, 1);
        insns_alu_k(&emitter->to, OP_AND, LAST, 2);
        insns_alu_x(&emitter->to, OP_OR, LAST, LEFT);
        insns_alu_k(&emitter->to, OP_XOR, LAST, 3);
        break;
    case CODE_NOT_ATOM:
        insns_alu_x(&emitter->to, OP_MOV, LEFT, LAST);
        insns_alu_k(&emitter->to, OP_RSH, LEFT, 2);
        insns_alu_k(&emitter->to, OP_AND, LEFT, 1);
        insns_alu_x(&emitter->to, OP_MOV, RIGHT, LAST);
        insns_alu_k(&emitter->to, OP_LSH, RIGHT, 2);
        insns_alu_k(&emitter->to, OP_AND, RIGHT, 4);
        insns_alu_x(&emitter->to, OP_OR, LEFT, RIGHT);
        insns_alu_x(&emitter->to, OP_MOV, RIGHT, LAST);
        insns_alu_k(&emitter->to, OP_AND, RIGHT, 13);
        insns_alu_k(&emitter->to, OP_XOR, RIGHT, 4);
        insns_alu_k(&emitter->to, OP_SUB, RIGHT, 1);
        insns_alu_k(&emitter->to, OP_RSH, RIGHT, 63);
        insns_alu_k(&emitter->to, OP_LSH, RIGHT, 1);
        insns_alu_k(&emitter->to, OP_AND, LAST, 8);
        insns_alu_x(&emitter->to, OP_OR, LAST, LEFT);
        insns_alu_x(&emitter->to, OP_OR, LAST, RIGHT);
        break;
    }
    if (emitter->uses[cell] > (next && (next->a == cell || next->b == cell)) ||
        (next && next->a == cell && next->op == CODE_OR_ABSENT) ||
        (next && next->a == cell && next->b == cell))
        insns_put(&emitter->to, STX_B, FRAME, LAST, offset_of(cell), 0);
    roots_of(emitter, cell, LAST);
}

/* A cell's value in a register. What packet facts decide is made where it is first needed. */
static void operand(struct emitter *emitter, uint8_t to, uint32_t cell)
{
    uint32_t atom = cell - CODE_CELL_ATOMS;

    if (cell < CODE_CELL_ATOMS) {
        insns_alu_k(&emitter->to, OP_MOV, to, cell_of_may[cell]);
        return;
    }
    if (cell < emitter->code->first_cell && emitter->tests[atom].kind && !emitter->made[atom]) {
        test(emitter, to, &emitter->tests[atom]);
        emitter->made[atom] = emitter->uses[cell] > 1;
        if (emitter->made[atom])
            insns_put(&emitter->to, STX_B, FRAME, to, offset_of(cell), 0);
        return;
    }
    insns_put(&emitter->to, LDX_B, to, FRAME, offset_of(cell), 0);
}

/* CELL_TRUE or CELL_FALSE, which is one more. Touches T4 and T5. */
static void test(struct emitter *emitter, uint8_t to, const struct packet_test *test)
{
    uint32_t base = offsetof(struct frame, facts);

    if (test->kind == PACKET_TEST_ADDRESS) {
        insns_put(&emitter->to, LDX_W, to, FRAME, base + offsetof(struct packet_facts, ip_version),
                  0);
        insns_alu_k(&emitter->to, OP_XOR, to, test->ip_version);
        for (unsigned i = 0; i < 2; i++) {
            insns_put(&emitter->to, LDX_DW, T4, FRAME, base + test->offset + 8 * i, 0);
            insns_load_64(&emitter->to, T5, test->value[i]);
            insns_alu_x(&emitter->to, OP_XOR, T4, T5);
            if (test->mask[i] != UINT64_MAX) {
                insns_load_64(&emitter->to, T5, test->mask[i]);
                insns_alu_x(&emitter->to, OP_AND, T4, T5);
            }
            insns_alu_x(&emitter->to, OP_OR, to, T4);
        }
        insns_not_zero(&emitter->to, to, T5);
        insns_alu_k(&emitter->to, OP_ADD, to, CELL_TRUE);
        return;
    }
    if (!test->n)
        insns_alu_k(&emitter->to, OP_MOV, to, 1);
    for (unsigned i = 0; i < test->n; i++) {
        int32_t low = (int32_t)test->range[i].low, high = (int32_t)test->range[i].high;
        uint8_t outside = i ? T4 : to;

        insns_put(&emitter->to, LDX_W, outside, FRAME, base + test->offset, 0);
        if (low == high) {
            insns_alu_k(&emitter->to, OP_XOR, outside, low);
            insns_put(&emitter->to, ALU64_K | OP_NEG, outside, 0, 0, 0);
        } else {
            insns_alu_k(&emitter->to, OP_MOV, T5, high);
            insns_alu_x(&emitter->to, OP_SUB, T5, outside);
            insns_alu_k(&emitter->to, OP_SUB, outside, low);
            insns_alu_x(&emitter->to, OP_OR, outside, T5);
        }
        if (i)
            insns_alu_x(&emitter->to, OP_AND, to, T4);
    }
    if (test->n)
        insns_alu_k(&emitter->to, OP_RSH, to, 63); /* the sign: outside of all ranges */
    insns_alu_k(&emitter->to, OP_ADD, to, CELL_TRUE);
}

/* The result of each slot whose root this cell is. */
static void roots_of(struct emitter *emitter, uint32_t cell, uint8_t from)
{
    for (uint32_t i = 0; i < emitter->code->n_roots; i++) {
        const struct code_root *root = &emitter->code->root[i];

        if (root->cell != cell || is_given(root))
            continue;
        insns_alu_x(&emitter->to, OP_MOV, LEFT, from);
        insns_alu_k(&emitter->to, OP_AND, LEFT, 1);
        insns_alu_x(&emitter->to, OP_MOV, RIGHT, from);
        insns_alu_k(&emitter->to, OP_RSH, RIGHT, 1);
        insns_alu_k(&emitter->to, OP_AND, RIGHT, 1);
        insns_alu_k(&emitter->to, OP_XOR, RIGHT, 1);
        if (root->protos != UINT32_MAX) {
            if (emitter->protos != root->protos) {
                insns_put(&emitter->to, LDX_W, MASK, FRAME, offsetof(struct frame, protos), 0);
                insns_alu_k(&emitter->to, OP_AND, MASK, (int32_t)root->protos);
                insns_alu_x(&emitter->to, OP_MOV, T4, MASK);
                insns_put(&emitter->to, ALU64_K | OP_NEG, T4, 0, 0, 0);
                insns_alu_x(&emitter->to, OP_OR, MASK, T4);
                insns_alu_k(&emitter->to, OP_ARSH, MASK, 63);
                emitter->protos = root->protos;
            }
            insns_alu_x(&emitter->to, OP_AND, LEFT, MASK);
            insns_alu_x(&emitter->to, OP_AND, RIGHT, MASK);
        }
        if (root->slot) {
            insns_alu_k(&emitter->to, OP_LSH, LEFT, root->slot);
            insns_alu_k(&emitter->to, OP_LSH, RIGHT, root->slot);
        }
        insns_alu_x(&emitter->to, OP_OR, MAY_TRUE_SET, LEFT);
        insns_alu_x(&emitter->to, OP_OR, MAY_FALSE_SET, RIGHT);
    }
}

static void count_uses(struct emitter *emitter)
{
    const struct code *code = emitter->code;

    for (uint32_t i = 0; i < code->n_steps; i++) {
        emitter->uses[code->step[i].a]++;
        if (code->step[i].b != code->step[i].a)
            emitter->uses[code->step[i].b]++;
    }
    for (uint32_t i = 0; i < code->n_roots; i++)
        if (code->root[i].cell < code->first_cell)
            emitter->uses[code->root[i].cell]++;
}

static uint32_t offset_of(uint32_t cell)
{
    return (uint32_t)offsetof(struct frame, cell) + cell;
}
