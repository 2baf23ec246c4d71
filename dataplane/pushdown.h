/* pushdown.h - packets that no job wants stay where they are: in the kernel, in the device. Those
 * that are handed out all the same go no further than a gate (gate.h).
 *
 *      a plan is published:   its condition and the one before are in force     widen
 *      the old plan is left:  only the new one                                  narrow
 *      a stream is out:       its packets are not wanted whatever they are      out
 *
 * The condition is wide (kfl-jit/pushdown.h), and it is widened before the new plan is asked and
 * narrowed after the old one is, so no job loses a packet. What it keeps from us is counted by the
 * source (discarded_kernel) and is part of the sum. What was discarded there is not known of a
 * stream: a job that begins later sees it from then on, without its beginning.
 *
 * Streams that are out for all jobs are told by the classifiers through rings, one stream in
 * PUSHDOWN_EVERY of its packets, and handed to the sources by mgmt's thread: only heavy streams
 * come so far, and no worker makes a system call for one.
 *
 * Thread: mgmt's; pushdown_tell() is the classifier's whose ring it is. */
#ifndef DATAPLANE_PUSHDOWN_H
#define DATAPLANE_PUSHDOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "../kfl-jit/plan.h"
#include "../kfl-jit/pushdown.h"
#include "gate.h"
#include "packet.h"
#include "ring.h"
#include "source.h"

enum { PUSHDOWN_EVERY = 32 }; /* packets, a power of two */

/* What a source is told. */
struct pushdown_condition {
    struct kfl_pushdown wanted;
    uint32_t epoch; /* of the plan */
    bool anybody;   /* there is a job: what cannot be told must pass */
    bool dns;       /* DNS passes: names are learned from it */
};

/* A stream that is out for all jobs of a plan. */
struct pushdown_stream {
    struct stream_key key;
    uint64_t ts_ns;      /* of its packet that tells so */
    uint64_t timeout_ns; /* idle for so long it is over; 0: never */
    uint32_t epoch;
};

struct pushdown;

/* Null in *ret_pushdown: of no source it is wanted. -> 0 or -ENOMEM */
int pushdown_create(struct source *const *sources, unsigned n_sources, unsigned n_classifiers,
                    bool dns, struct pushdown **ret_pushdown);
void pushdown_free(struct pushdown *pushdown);

/* Before a plan is published. changed: slots that have another job than before. */
void pushdown_widen(struct pushdown *pushdown, const struct kfl_plan *plan, uint64_t changed,
                    uint32_t epoch);
/* The plans before it are left. */
void pushdown_narrow(struct pushdown *pushdown);
/* Hands streams that are out to the sources; a bounded piece. */
void pushdown_step(struct pushdown *pushdown);

/* What was widened by last, for the classifiers. Null: everything goes on, or it is not wanted of
 * all sources. -> 0 or -ENOMEM */
int pushdown_gate(const struct pushdown *pushdown, struct gate **ret_gate);

/* Where this classifier tells its streams; null: no source takes them. */
struct ring *pushdown_ring(struct pushdown *pushdown, unsigned classifier);
/* A ring that is full loses it: the stream is told again. */
void pushdown_tell(struct ring *ring, const struct pushdown_stream *stream);

#endif
