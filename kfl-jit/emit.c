#include "emit.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* eBPF, as much of it as is needed. */
enum {
    OP_ADD = 0x00,
    OP_SUB = 0x10,
    OP_OR = 0x40,
    OP_AND = 0x50,
    OP_LSH = 0x60,
    OP_RSH = 0x70,
    OP_NEG = 0x80,
    OP_XOR = 0xa0,
    OP_MOV = 0xb0,
    OP_ARSH = 0xc0,
    ALU64_K = 0x07,
    ALU64_X = 0x0f,
    LDX_W = 0x61,
    LDX_B = 0x71,
    LDX_DW = 0x79,
    STX_B = 0x73,
    STX_DW = 0x7b,
    LD_IMM64 = 0x18,
    EXIT = 0x95,
};

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

enum { INSN_MAX = 1 << 17 };

struct emitter {
    const struct code *code;
    const struct packet_test *tests;
    uint32_t n_atoms;
    struct jit_insn *insn;
    uint32_t n, capacity;
    uint32_t *uses;  /* by cell */
    bool *made;      /* by atom: its cell is filled by the program already */
    uint32_t protos; /* whose mask is in MASK; 0: none */
    int error;
};

static bool is_given(const struct code_root *root);
static void begin(struct emitter *emitter);
static void step(struct emitter *emitter, uint32_t i);
static void operand(struct emitter *emitter, uint8_t to, uint32_t cell);
static void test(struct emitter *emitter, uint8_t to, const struct packet_test *test);
static void not_zero(struct emitter *emitter, uint8_t to);
static void roots_of(struct emitter *emitter, uint32_t cell, uint8_t from);
static void count_uses(struct emitter *emitter);
static void put(struct emitter *emitter, uint8_t code, uint8_t dst, uint8_t src, uint32_t off,
                int32_t imm);
static void alu_k(struct emitter *emitter, uint8_t op, uint8_t dst, int32_t imm);
static void alu_x(struct emitter *emitter, uint8_t op, uint8_t dst, uint8_t src);
static void load_64(struct emitter *emitter, uint8_t dst, uint64_t value);
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
        emitter.error = -ENOMEM;
    else
        count_uses(&emitter);
    begin(&emitter);
    for (uint32_t i = 0; i < code->n_steps && !emitter.error; i++)
        step(&emitter, i);
    for (uint32_t i = 0; i < code->n_roots && !emitter.error; i++) {
        uint32_t same = 0;

        while (code->root[same].cell != code->root[i].cell || is_given(&code->root[same]))
            if (same++ == i)
                break;
        if (code->root[i].cell >= code->first_cell || same < i || is_given(&code->root[i]))
            continue;
        operand(&emitter, LEFT, code->root[i].cell);
        alu_x(&emitter, OP_MOV, LAST, LEFT);
        roots_of(&emitter, code->root[i].cell, LAST);
    }
    put(&emitter, STX_DW, FRAME, MAY_TRUE_SET, offsetof(struct frame, may_true), 0);
    put(&emitter, STX_DW, FRAME, MAY_FALSE_SET, offsetof(struct frame, may_false), 0);
    alu_k(&emitter, OP_MOV, LAST, 0);
    put(&emitter, EXIT, 0, 0, 0, 0);
    if (!emitter.error)
        emitter.error = jit_load(emitter.insn, emitter.n, offset_of(n_cells), ret_program);
    free(emitter.insn);
    free(emitter.uses);
    free(emitter.made);
    return emitter.error;
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
    load_64(emitter, MAY_TRUE_SET, may_true);
    load_64(emitter, MAY_FALSE_SET, may_false);
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
        alu_x(emitter, OP_AND, LAST, LEFT);
        break;
    case CODE_OR:
        alu_x(emitter, OP_OR, LAST, LEFT);
        break;
    case CODE_OR_ABSENT:
        alu_x(emitter, OP_MOV, RIGHT, LEFT);
        alu_k(emitter, OP_RSH, RIGHT, 2);
        alu_x(emitter, OP_MOV, T4, RIGHT);
        alu_k(emitter, OP_OR, T4, 2);
        alu_x(emitter, OP_AND, LAST, T4);
        alu_x(emitter, OP_OR, LAST, LEFT);
        alu_k(emitter, OP_AND, RIGHT, 2);
        alu_k(emitter, OP_XOR, RIGHT, 0xff);
        alu_x(emitter, OP_AND, LAST, RIGHT);
        break;
    case CODE_NOT:
        alu_x(emitter, OP_MOV, LEFT, LAST);
        alu_k(emitter, OP_RSH, LEFT, 1);
        alu_k(emitter, OP_AND, LEFT, 1);
        alu_k(emitter, OP_LSH, LAST, 1);
        alu_k(emitter, OP_AND, LAST, 2);
        alu_x(emitter, OP_OR, LAST, LEFT);
        alu_k(emitter, OP_XOR, LAST, 3);
        break;
    case CODE_NOT_ATOM:
        alu_x(emitter, OP_MOV, LEFT, LAST);
        alu_k(emitter, OP_RSH, LEFT, 2);
        alu_k(emitter, OP_AND, LEFT, 1);
        alu_x(emitter, OP_MOV, RIGHT, LAST);
        alu_k(emitter, OP_LSH, RIGHT, 2);
        alu_k(emitter, OP_AND, RIGHT, 4);
        alu_x(emitter, OP_OR, LEFT, RIGHT);
        alu_x(emitter, OP_MOV, RIGHT, LAST);
        alu_k(emitter, OP_AND, RIGHT, 13);
        alu_k(emitter, OP_XOR, RIGHT, 4);
        alu_k(emitter, OP_SUB, RIGHT, 1);
        alu_k(emitter, OP_RSH, RIGHT, 63);
        alu_k(emitter, OP_LSH, RIGHT, 1);
        alu_k(emitter, OP_AND, LAST, 8);
        alu_x(emitter, OP_OR, LAST, LEFT);
        alu_x(emitter, OP_OR, LAST, RIGHT);
        break;
    }
    if (emitter->uses[cell] > (next && (next->a == cell || next->b == cell)) ||
        (next && next->a == cell && next->op == CODE_OR_ABSENT) ||
        (next && next->a == cell && next->b == cell))
        put(emitter, STX_B, FRAME, LAST, offset_of(cell), 0);
    roots_of(emitter, cell, LAST);
}

/* A cell's value in a register. What packet facts decide is made where it is first needed. */
static void operand(struct emitter *emitter, uint8_t to, uint32_t cell)
{
    uint32_t atom = cell - CODE_CELL_ATOMS;

    if (cell < CODE_CELL_ATOMS) {
        alu_k(emitter, OP_MOV, to, cell_of_may[cell]);
        return;
    }
    if (cell < emitter->code->first_cell && emitter->tests[atom].kind && !emitter->made[atom]) {
        test(emitter, to, &emitter->tests[atom]);
        emitter->made[atom] = emitter->uses[cell] > 1;
        if (emitter->made[atom])
            put(emitter, STX_B, FRAME, to, offset_of(cell), 0);
        return;
    }
    put(emitter, LDX_B, to, FRAME, offset_of(cell), 0);
}

/* CELL_TRUE or CELL_FALSE, which is one more. Touches T4 and T5. */
static void test(struct emitter *emitter, uint8_t to, const struct packet_test *test)
{
    uint32_t base = offsetof(struct frame, facts);

    if (test->kind == PACKET_TEST_ADDRESS) {
        put(emitter, LDX_W, to, FRAME, base + offsetof(struct packet_facts, ip_version), 0);
        alu_k(emitter, OP_XOR, to, test->ip_version);
        for (unsigned i = 0; i < 2; i++) {
            put(emitter, LDX_DW, T4, FRAME, base + test->offset + 8 * i, 0);
            load_64(emitter, T5, test->value[i]);
            alu_x(emitter, OP_XOR, T4, T5);
            if (test->mask[i] != UINT64_MAX) {
                load_64(emitter, T5, test->mask[i]);
                alu_x(emitter, OP_AND, T4, T5);
            }
            alu_x(emitter, OP_OR, to, T4);
        }
        not_zero(emitter, to);
        alu_k(emitter, OP_ADD, to, CELL_TRUE);
        return;
    }
    if (!test->n)
        alu_k(emitter, OP_MOV, to, 1);
    for (unsigned i = 0; i < test->n; i++) {
        int32_t low = (int32_t)test->range[i].low, high = (int32_t)test->range[i].high;
        uint8_t outside = i ? T4 : to;

        put(emitter, LDX_W, outside, FRAME, base + test->offset, 0);
        if (low == high) {
            alu_k(emitter, OP_XOR, outside, low);
            put(emitter, ALU64_K | OP_NEG, outside, 0, 0, 0);
        } else {
            alu_k(emitter, OP_MOV, T5, high);
            alu_x(emitter, OP_SUB, T5, outside);
            alu_k(emitter, OP_SUB, outside, low);
            alu_x(emitter, OP_OR, outside, T5);
        }
        if (i)
            alu_x(emitter, OP_AND, to, T4);
    }
    if (test->n)
        alu_k(emitter, OP_RSH, to, 63); /* the sign: outside of all ranges */
    alu_k(emitter, OP_ADD, to, CELL_TRUE);
}

/* 1 if the register is not 0. Touches T5. */
static void not_zero(struct emitter *emitter, uint8_t to)
{
    alu_x(emitter, OP_MOV, T5, to);
    put(emitter, ALU64_K | OP_NEG, T5, 0, 0, 0);
    alu_x(emitter, OP_OR, to, T5);
    alu_k(emitter, OP_RSH, to, 63);
}

/* The result of each slot whose root this cell is. */
static void roots_of(struct emitter *emitter, uint32_t cell, uint8_t from)
{
    for (uint32_t i = 0; i < emitter->code->n_roots; i++) {
        const struct code_root *root = &emitter->code->root[i];

        if (root->cell != cell || is_given(root))
            continue;
        alu_x(emitter, OP_MOV, LEFT, from);
        alu_k(emitter, OP_AND, LEFT, 1);
        alu_x(emitter, OP_MOV, RIGHT, from);
        alu_k(emitter, OP_RSH, RIGHT, 1);
        alu_k(emitter, OP_AND, RIGHT, 1);
        alu_k(emitter, OP_XOR, RIGHT, 1);
        if (root->protos != UINT32_MAX) {
            if (emitter->protos != root->protos) {
                put(emitter, LDX_W, MASK, FRAME, offsetof(struct frame, protos), 0);
                alu_k(emitter, OP_AND, MASK, (int32_t)root->protos);
                alu_x(emitter, OP_MOV, T4, MASK);
                put(emitter, ALU64_K | OP_NEG, T4, 0, 0, 0);
                alu_x(emitter, OP_OR, MASK, T4);
                alu_k(emitter, OP_ARSH, MASK, 63);
                emitter->protos = root->protos;
            }
            alu_x(emitter, OP_AND, LEFT, MASK);
            alu_x(emitter, OP_AND, RIGHT, MASK);
        }
        if (root->slot) {
            alu_k(emitter, OP_LSH, LEFT, root->slot);
            alu_k(emitter, OP_LSH, RIGHT, root->slot);
        }
        alu_x(emitter, OP_OR, MAY_TRUE_SET, LEFT);
        alu_x(emitter, OP_OR, MAY_FALSE_SET, RIGHT);
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

static void put(struct emitter *emitter, uint8_t code, uint8_t dst, uint8_t src, uint32_t off,
                int32_t imm)
{
    if (emitter->n == emitter->capacity) {
        uint32_t capacity = emitter->capacity ? emitter->capacity * 2 : 256;
        struct jit_insn *bigger = reallocarray(emitter->insn, capacity, sizeof *bigger);

        if (!bigger || capacity > INSN_MAX) {
            emitter->insn = bigger ? bigger : emitter->insn;
            emitter->error = bigger ? -E2BIG : -ENOMEM;
            emitter->n = 0;
            return;
        }
        emitter->insn = bigger;
        emitter->capacity = capacity;
    }
    emitter->insn[emitter->n++] = (struct jit_insn){
        .code = code, .registers = (uint8_t)(dst | src << 4), .off = (int16_t)off, .imm = imm};
}

static void alu_k(struct emitter *emitter, uint8_t op, uint8_t dst, int32_t imm)
{
    put(emitter, ALU64_K | op, dst, 0, 0, imm);
}

static void alu_x(struct emitter *emitter, uint8_t op, uint8_t dst, uint8_t src)
{
    put(emitter, ALU64_X | op, dst, src, 0, 0);
}

static void load_64(struct emitter *emitter, uint8_t dst, uint64_t value)
{
    put(emitter, LD_IMM64, dst, 0, 0, (int32_t)(uint32_t)value);
    put(emitter, 0, 0, 0, 0, (int32_t)(uint32_t)(value >> 32));
}

static uint32_t offset_of(uint32_t cell)
{
    return (uint32_t)offsetof(struct frame, cell) + cell;
}
