/* emit.h - code (code.h) as eBPF: one straight line without branches, over a frame.
 *
 * The result is two sets of slots: those that may be true, and those that may be not true. */
#ifndef KFL_EMIT_H
#define KFL_EMIT_H

#include "code.h"
#include "jit.h"
#include "packet_test.h"

/* What a program runs over; cells follow. */
struct frame {
    uint64_t may_true, may_false; /* results */
    struct packet_facts facts;
    uint32_t protos;
    uint32_t unused;
    uint8_t cell[];
};

/* tests: by atom; those that are not PACKET_TEST_NONE are made in the program, the others' cells
 * are filled before. -> 0, -ENOMEM, -E2BIG too large for eBPF, -EINVAL refused. */
int emit_program(const struct code *code, const struct packet_test *tests, uint32_t n_atoms,
                 struct jit_program **ret_program);

/* Code that packet facts decide alone, over a struct kfl_stream: -> the set of slots that are out;
 * the others match. -ENOTSUP: it is not such code, or too large for that; else as above. */
int emit_packet_program(const struct code *code, const struct packet_test *tests, uint32_t n_atoms,
                        struct jit_program **ret_program);

static inline struct kfl_verdict emit_verdict(const struct frame *frame, uint64_t slots)
{
    return (struct kfl_verdict){frame->may_true & ~frame->may_false, slots & ~frame->may_true};
}

#endif
