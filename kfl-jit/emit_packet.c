/* emit_packet.c - code that packet facts alone decide: nothing is unknown, so an outcome is one
 * bit, and the facts are read where they are, in the stream.
 *
 * An outcome is the sign of a register, set when it is false: comparisons leave it there, `and` is
 * an OR, `or` an AND. What is needed again later waits on the stack. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "insn.h"

/* Registers: the result, the stream, the step just made, its other operand, temporaries. */
enum { RESULT = 0, STREAM = 1, LAST = 2, OTHER = 3, T4 = 4, T5 = 5, STACK = 10 };

enum { L4_OTHER_BIT = 4 };
_Static_assert(KFL_L4_OTHER == 1 << L4_OTHER_BIT, "the last one of enum kfl_l4");

struct emitter {
    const struct code *code;
    const struct packet_test *tests;
    struct insns to;
    uint32_t *uses; /* by cell: still to come */
    int8_t *slot;   /* by cell: where on the stack it waits; -1: nowhere */
    uint64_t used;  /* slots of the stack, 8 bytes each: all that eBPF has */
    bool begun;     /* RESULT has a value */
};

static bool is_decided(const struct code *code, const struct packet_test *tests, uint32_t n_atoms);
static void count_uses(struct emitter *emitter);
static void step(struct emitter *emitter, uint32_t i);
static void operand(struct emitter *emitter, uint8_t to, uint32_t cell);
static void keep(struct emitter *emitter, uint32_t cell, uint8_t from);
static void test_ranges(struct insns *to, uint8_t dst, const struct packet_test *test);
static void test_address(struct insns *to, uint8_t dst, const struct packet_test *test);
static void load_number(struct insns *to, uint8_t dst, const struct packet_test *test);
static void roots_of(struct emitter *emitter, uint32_t cell, uint8_t from);

int emit_packet_program(const struct code *code, const struct packet_test *tests, uint32_t n_atoms,
                        struct jit_program **ret_program)
{
    uint32_t n_cells = code->first_cell + code->n_steps;
    struct emitter emitter = {.code = code, .tests = tests};
    uint64_t out = 0;
    int result;

    if (!is_decided(code, tests, n_atoms))
        return -ENOTSUP;
    emitter.uses = calloc(n_cells + 1u, sizeof *emitter.uses);
    emitter.slot = malloc(n_cells + 1u);
    if (!emitter.uses || !emitter.slot) {
        emitter.to.error = -ENOMEM;
    } else {
        memset(emitter.slot, -1, n_cells + 1u);
        count_uses(&emitter);
    }
    for (uint32_t i = 0; i < code->n_roots; i++)
        if (code->root[i].cell < CODE_CELL_ATOMS && !(cell_of_may[code->root[i].cell] & 1))
            out |= UINT64_C(1) << code->root[i].slot;
    if (out) {
        insns_load_64(&emitter.to, RESULT, out);
        emitter.begun = true;
    }
    for (uint32_t i = 0; i < code->n_steps && !emitter.to.error; i++)
        step(&emitter, i);
    for (uint32_t i = 0; i < code->n_roots && !emitter.to.error; i++) {
        uint32_t cell = code->root[i].cell;

        if (cell < CODE_CELL_ATOMS || cell >= code->first_cell || !emitter.uses[cell])
            continue;
        operand(&emitter, LAST, cell);
        roots_of(&emitter, cell, LAST);
        emitter.uses[cell] = 0;
    }
    if (!emitter.begun)
        insns_alu_k(&emitter.to, OP_MOV, RESULT, 0);
    insns_put(&emitter.to, EXIT, 0, 0, 0, 0);
    result = emitter.to.error;
    if (!result)
        result = jit_load(emitter.to.insn, emitter.to.n, sizeof(struct kfl_stream), ret_program);
    if (result == -E2BIG)
        result = -ENOTSUP;
    insns_done(&emitter.to);
    free(emitter.uses);
    free(emitter.slot);
    return result;
}

/* Only atoms that packet facts decide, and the same roots for all protocols. */
static bool is_decided(const struct code *code, const struct packet_test *tests, uint32_t n_atoms)
{
    for (uint32_t i = 0; i < n_atoms; i++)
        if (code_reads(code, i) && !tests[i].kind)
            return false;
    for (uint32_t i = 0; i < code->n_steps; i++)
        if (code->step[i].a < CODE_CELL_ATOMS || code->step[i].b < CODE_CELL_ATOMS)
            return false;
    for (uint32_t i = 0; i < code->n_roots; i++) {
        uint32_t cell = code->root[i].cell;
        uint8_t outcome = cell < CODE_CELL_ATOMS ? cell_of_may[cell] & CELL_TRUE : CELL_TRUE;

        if (code->root[i].protos != UINT32_MAX || (outcome && outcome != CELL_TRUE))
            return false;
    }
    return true;
}

static void count_uses(struct emitter *emitter)
{
    const struct code *code = emitter->code;

    for (uint32_t i = 0; i < code->n_steps; i++) {
        emitter->uses[code->step[i].a]++;
        if (code->step[i].op <= CODE_OR_ABSENT)
            emitter->uses[code->step[i].b]++;
    }
    /* Roots on a step are made with it; those on one atom together, at the end. */
    for (uint32_t i = 0; i < code->n_roots; i++) {
        uint32_t cell = code->root[i].cell, same = 0;

        while (code->root[same].cell != cell)
            same++;
        if (same == i && cell >= CODE_CELL_ATOMS && cell < code->first_cell)
            emitter->uses[cell]++;
    }
}

/* Leaves its outcome in LAST. */
static void step(struct emitter *emitter, uint32_t i)
{
    const struct code *code = emitter->code;
    const struct code_step *now = &code->step[i];
    const struct code_step *next = i + 1 < code->n_steps ? &code->step[i + 1] : NULL;
    uint32_t cell = code->first_cell + i, before = i ? cell - 1 : UINT32_MAX;
    uint32_t right = now->b, left = now->a;
    bool two = now->op <= CODE_OR_ABSENT;

    if (two && left == before) { /* both orders mean the same here */
        left = right;
        right = before;
    }
    if (!two)
        right = left;
    if (right != before || emitter->slot[right] >= 0)
        operand(emitter, LAST, right);
    if (two)
        operand(emitter, OTHER, left);
    if (!two)
        insns_alu_k(&emitter->to, OP_XOR, LAST, -1);
    else
        insns_alu_x(&emitter->to, now->op == CODE_AND ? OP_OR : OP_AND, LAST, OTHER);
    if (emitter->uses[cell] != 1 || !next || (next->a != cell && next->b != cell))
        keep(emitter, cell, LAST);
    roots_of(emitter, cell, LAST);
}

/* The outcome of a cell in a register. What packet facts decide is made where it is needed. */
static void operand(struct emitter *emitter, uint8_t to, uint32_t cell)
{
    struct insns *insns = &emitter->to;
    int8_t slot = emitter->slot[cell];

    emitter->uses[cell]--;
    if (slot >= 0) {
        insns_put(insns, LDX_DW, to, STACK, (uint32_t)(-8 * (slot + 1)), 0);
        if (!emitter->uses[cell]) {
            emitter->used &= ~(UINT64_C(1) << slot);
            emitter->slot[cell] = -1;
        }
        return;
    }
    if (cell < emitter->code->first_cell) {
        const struct packet_test *test = &emitter->tests[cell - CODE_CELL_ATOMS];

        if (test->kind == PACKET_TEST_ADDRESS)
            test_address(insns, to, test);
        else
            test_ranges(insns, to, test);
        keep(emitter, cell, to);
    }
}

/* Puts it on the stack if it is needed again. */
static void keep(struct emitter *emitter, uint32_t cell, uint8_t from)
{
    unsigned slot;

    if (!emitter->uses[cell])
        return;
    if (!~emitter->used) {
        emitter->to.error = -ENOTSUP;
        return;
    }
    slot = (unsigned)__builtin_ctzll(~emitter->used);
    emitter->used |= UINT64_C(1) << slot;
    emitter->slot[cell] = (int8_t)slot;
    insns_put(&emitter->to, STX_DW, STACK, from, (uint32_t)(-8 * ((int)slot + 1)), 0);
}

static void test_ranges(struct insns *to, uint8_t dst, const struct packet_test *test)
{
    if (!test->n)
        insns_alu_k(to, OP_MOV, dst, -1);
    for (unsigned i = 0; i < test->n; i++) {
        int32_t low = (int32_t)test->range[i].low, high = (int32_t)test->range[i].high;
        uint8_t outside = i ? T4 : dst;

        load_number(to, outside, test);
        if (low == high) {
            if (low)
                insns_alu_k(to, OP_XOR, outside, low);
            insns_put(to, ALU64_K | OP_NEG, outside, 0, 0, 0);
        } else {
            insns_alu_k(to, OP_MOV, T5, high);
            insns_alu_x(to, OP_SUB, T5, outside);
            insns_alu_k(to, OP_SUB, outside, low);
            insns_alu_x(to, OP_OR, outside, T5);
        }
        if (i)
            insns_alu_x(to, OP_AND, dst, T4);
    }
}

static void test_address(struct insns *to, uint8_t dst, const struct packet_test *test)
{
    unsigned side = (test->offset - offsetof(struct packet_facts, addr)) / 16;
    uint32_t offset = (uint32_t)offsetof(struct kfl_stream, end) +
                      side * (uint32_t)sizeof(struct kfl_endpoint) +
                      (uint32_t)offsetof(struct kfl_endpoint, addr);

    if (test->ip_version == 4) { /* its addresses differ in the last four bytes only */
        insns_put(to, LDX_W, dst, STREAM, offset + 12, 0);
        insns_put(to, ALU32_K | OP_XOR, dst, 0, 0, (int32_t)(test->value[1] >> 32));
        if (test->mask[1] != UINT64_MAX)
            insns_put(to, ALU32_K | OP_AND, dst, 0, 0, (int32_t)(test->mask[1] >> 32));
    } else {
        insns_put(to, LDX_DW, dst, STREAM, offset, 0);
        insns_load_64(to, T5, test->value[0]);
        insns_alu_x(to, OP_XOR, dst, T5);
        insns_put(to, LDX_DW, T4, STREAM, offset + 8, 0);
        insns_load_64(to, T5, test->value[1]);
        insns_alu_x(to, OP_XOR, T4, T5);
        insns_alu_x(to, OP_OR, dst, T4);
        insns_not_zero(to, dst, T4);
    }
    insns_put(to, LDX_B, T4, STREAM, offsetof(struct kfl_stream, ip_version), 0);
    insns_alu_k(to, OP_XOR, T4, test->ip_version);
    insns_alu_x(to, OP_OR, dst, T4);
    insns_put(to, ALU64_K | OP_NEG, dst, 0, 0, 0);
}

/* Is it the same for a port 0 and for none? Then the port alone, which is 0 without, will do. */
static bool port_is_enough(const struct packet_test *test)
{
    bool zero = false, none = false;

    for (unsigned i = 0; i < test->n; i++) {
        zero |= test->range[i].low == 0;
        none |= test->range[i].high == PACKET_NO_PORT;
    }
    return zero == none;
}

/* As packet_facts() fills it in. Touches T5. */
static void load_number(struct insns *to, uint8_t dst, const struct packet_test *test)
{
    uint32_t end = offsetof(struct kfl_stream, end) + offsetof(struct kfl_endpoint, port);

    switch (test->offset) {
    case offsetof(struct packet_facts, port):
    case offsetof(struct packet_facts, port) + 4:
        if (test->offset != offsetof(struct packet_facts, port))
            end += (uint32_t)sizeof(struct kfl_endpoint);
        insns_put(to, LDX_H, dst, STREAM, end, 0);
        if (port_is_enough(test))
            return;
        insns_put(to, LDX_B, T5, STREAM, offsetof(struct kfl_stream, has_ports), 0);
        insns_alu_k(to, OP_XOR, T5, 1);
        insns_alu_k(to, OP_LSH, T5, 16);
        insns_alu_x(to, OP_OR, dst, T5);
        return;
    case offsetof(struct packet_facts, vlan):
        insns_put(to, LDX_H, dst, STREAM, offsetof(struct kfl_stream, vlan), 0);
        return;
    case offsetof(struct packet_facts, vlan) + 4:
        insns_put(to, LDX_H, dst, STREAM, offsetof(struct kfl_stream, vlan) + 2, 0);
        return;
    case offsetof(struct packet_facts, ip_version):
        insns_put(to, LDX_B, dst, STREAM, offsetof(struct kfl_stream, ip_version), 0);
        return;
    case offsetof(struct packet_facts, tunnel):
        insns_put(to, LDX_B, dst, STREAM, offsetof(struct kfl_stream, tunnel), 0);
        return;
    default: /* layer4, where all but KFL_L4_OTHER count for themselves */
        insns_put(to, LDX_B, dst, STREAM, offsetof(struct kfl_stream, l4), 0);
        insns_put(to, LDX_B, T5, STREAM, offsetof(struct kfl_stream, ip_protocol), 0);
        insns_alu_k(to, OP_ADD, T5, 32 - KFL_L4_OTHER);
        insns_alu_k(to, OP_LSH, T5, 8);
        insns_alu_x(to, OP_OR, T5, dst); /* [what OTHER adds] [layer 4] */
        insns_alu_k(to, OP_RSH, dst, L4_OTHER_BIT);
        insns_put(to, ALU64_K | OP_NEG, dst, 0, 0, 0);
        insns_alu_k(to, OP_LSH, dst, 8);
        insns_alu_k(to, OP_OR, dst, 0xff);
        insns_alu_x(to, OP_AND, T5, dst); /* ... for OTHER alone */
        insns_alu_x(to, OP_MOV, dst, T5);
        insns_alu_k(to, OP_RSH, dst, 8);
        insns_alu_k(to, OP_AND, T5, 0xff);
        insns_alu_x(to, OP_ADD, dst, T5);
        return;
    }
}

/* A bit for each slot whose root this cell is: it is out. */
static void roots_of(struct emitter *emitter, uint32_t cell, uint8_t from)
{
    struct insns *to = &emitter->to;

    for (uint32_t i = 0; i < emitter->code->n_roots; i++) {
        const struct code_root *root = &emitter->code->root[i];

        if (root->cell != cell)
            continue;
        insns_alu_x(to, OP_MOV, OTHER, from);
        insns_alu_k(to, OP_RSH, OTHER, 63);
        if (root->slot)
            insns_alu_k(to, OP_LSH, OTHER, root->slot);
        insns_alu_x(to, emitter->begun ? OP_OR : OP_MOV, RESULT, OTHER);
        emitter->begun = true;
    }
}
