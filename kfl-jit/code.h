/* code.h - a part of the graph as a straight line of steps over a frame: what is run.
 *
 * A frame is a run of cells, one byte each:
 *
 *     [constants 0..7] [atoms, by number] [one for each step]
 *
 * Whoever asks fills the atoms' cells, then runs the code: each step combines two earlier cells.
 * A cell says of a set of outcomes (program.h) what and, or need, so that each is one operation:
 *
 *     bit 0  may be true             and:  l & r
 *     bit 1  is true for certain     or:   l | r
 *     bit 2  may be false            an or whose left side may be absent looks at bits 2 and 3
 *     bit 3  may be absent           group: nothing to do, bits 0 and 1 take absent for false
 *
 * Of a step only bits 0 and 1 count. Roots say which cell is the result of which slot; for a whole
 * stream a slot has several roots, each for a set of protocols, and its result is what the roots
 * of those protocols may be together that the stream's entries can still have.
 *
 * Constant once made; frames belong to workers. */
#ifndef KFL_CODE_H
#define KFL_CODE_H

#include "jit.h"
#include "plan.h"
#include "program.h"

enum { CODE_CELL_ATOMS = MAY_ALL + 1 };

enum cell { CELL_TRUE = 3, CELL_FALSE = 4, CELL_ABSENT = 8, CELL_BOTH = 5, CELL_ALL = 13 };

extern const uint8_t cell_of_may[MAY_ALL + 1];

enum code_op {
    CODE_AND,       /* l & r */
    CODE_OR,        /* l | r; the left side is never absent */
    CODE_OR_ABSENT, /* the left side may be absent, then the result is not true */
    CODE_NOT,       /* of what is never absent */
    CODE_NOT_ATOM,  /* of what may be; all bits of the result count */
};

struct code_step {
    uint32_t op;   /* enum code_op */
    uint32_t a, b; /* cells */
};

struct code_root {
    uint32_t protos; /* set of protocols it is for */
    uint32_t cell;
    uint8_t slot;
};

struct code {
    struct code_step *step;
    struct code_root *root; /* by slot */
    uint32_t n_steps, n_roots;
    uint32_t first_cell;             /* of the steps */
    uint64_t slots;                  /* that have roots */
    uint64_t *atom_used;             /* bit set: atoms it reads */
    struct jit_program *packet;      /* as eBPF over a stream (emit.h); null: not of that kind */
    jit_function *packet_native;     /* ... as machine code; null: none */
    struct jit_program *program;     /* the same as eBPF (emit.h); null: too large */
    unsigned reads;                  /* packet facts the program reads (packet_test.h) */
    jit_function *native;            /* ... as machine code; null: none */
};

/* nodes[i] is the root of slots[i] for protos[i]; ordered by slot.
 * -> 0 or -ENOMEM */
int code_make(const struct program *program, uint32_t n_atoms, const uint32_t *nodes,
              const uint8_t *slots, const uint32_t *protos, uint32_t n, struct code *ret_code);
void code_done(struct code *code);

/* Runs it over a frame whose atoms are filled. */
struct kfl_verdict code_run(const struct code *code, uint8_t *cell, uint32_t protos);

static inline bool code_reads(const struct code *code, uint32_t atom)
{
    return code->atom_used[atom / 64] >> atom % 64 & 1;
}

static inline uint8_t code_step_run(uint32_t op, uint8_t l, uint8_t r)
{
    switch ((enum code_op)op) {
    case CODE_AND:
        return l & r;
    case CODE_OR:
        return l | r;
    case CODE_OR_ABSENT:
        return (uint8_t)((l | (r & (2 | l >> 2))) & ~(l >> 2 & 2));
    case CODE_NOT:
        return (uint8_t)(((l >> 1 & 1) | (l << 1 & 2)) ^ 3);
    case CODE_NOT_ATOM:
        break;
    }
    return (uint8_t)((l >> 2 & 1) | (l << 2 & 4) | (l & 8) | ((l & 13) == 4) << 1);
}

#endif
