/* plan.h - all active statements compiled together: one immutable object.
 *
 * A statement sits in a slot (0..63); sets of jobs are 64 bit sets of slots. The plan is asked
 *   - about a stream, from its first packet on: which jobs want it whatever its entries are, and
 *     which can no longer want it (no entry it can still have makes the statement true);
 *   - about an entry, when its request and when its response is complete.
 * Answers are three-valued: matched, out, or neither (not known yet). A settled answer never
 * changes as more becomes known.
 *
 *      first packet       kfl_plan_stream()     P and C facts, the rest unknown
 *      protocol found     kfl_plan_stream()     fewer protocols possible
 *      request complete   kfl_plan_entry()      entry->response_open = true
 *      response complete  kfl_plan_entry()      only E facts may be unknown
 *      stream ended       kfl_plan_stream(), and kfl_plan_entry() for the entries that waited
 *
 * Life: created and freed by mgmt (allocates); asked by workers (allocates nothing, each worker
 * has its scratch inside the plan by its number). Published by pointer; freed when every worker
 * has moved on. */
#ifndef KFL_PLAN_H
#define KFL_PLAN_H

#include "fact.h"
#include "kfl.h"

enum { KFL_SLOT_MAX = 64, KFL_WORKER_MAX = 64 };

struct kfl_plan;

struct kfl_plan_job {
    unsigned slot;                         /* 0..63, unique */
    const struct kfl_statement *statement; /* stays the caller's and must outlive the plan */
    bool stored;                           /* it is asked of a recording: record() is no error */
};

/* -> 0, -EINVAL with the message in messages (slot of the culprit in *ret_slot), -ENOMEM.
 * demand_all: dissectors shall extract everything (entries are printed or stored whole). */
int kfl_plan_create(const struct kfl_plan_job *jobs, unsigned n_jobs, unsigned n_workers,
                    bool demand_all, struct kfl_plan **ret_plan, unsigned *ret_slot,
                    struct kfl_messages *messages);
void kfl_plan_free(struct kfl_plan *plan);

/* How the boolean part and the packet tests are run: the same answers, for tests and benches. */
enum kfl_plan_mode { KFL_PLAN_NATIVE, KFL_PLAN_INTERPRETED, KFL_PLAN_TREE };
/* Before any worker asks. A part that is too large for native code is run as a tree in any mode. */
void kfl_plan_set_mode(struct kfl_plan *plan, enum kfl_plan_mode mode);
/* Is all of it native code in mode KFL_PLAN_NATIVE? */
bool kfl_plan_is_native(const struct kfl_plan *plan);

uint64_t kfl_plan_jobs(const struct kfl_plan *plan);                   /* set of slots in use */
const struct kfl_demand *kfl_plan_demand(const struct kfl_plan *plan); /* what dissectors extract */

struct kfl_verdict {
    uint64_t matched;
    uint64_t out;
};

/* Which of the jobs in `ask` want this stream whatever comes (matched), and which cannot want it
 * any more through entries that are still to come (out). */
struct kfl_verdict kfl_plan_stream(const struct kfl_plan *plan, unsigned worker,
                                   const struct kfl_stream *stream, uint64_t ask);

/* Which of the jobs in `ask` this entry matches; out: this entry never will (others may). What
 * is in neither waits for the response or for the stream's end. */
struct kfl_verdict kfl_plan_entry(const struct kfl_plan *plan, unsigned worker,
                                  const struct kfl_entry *entry, uint64_t ask);

/* The jobs that need entries dissected at all to be decided for a stream of which entries of
 * `protos` may come; 0: L2-L4 is enough. */
uint64_t kfl_plan_needs_entries(const struct kfl_plan *plan, uint32_t protos, uint64_t ask);
/* ... for a stream of which but its layer 4 is known; asked for each entry. */
uint64_t kfl_plan_needs_entries_of(const struct kfl_plan *plan, enum kfl_l4 l4, uint64_t ask);

/* The slots whose statements say limit(n), and the n of one. Counting is the caller's. */
uint64_t kfl_plan_limited(const struct kfl_plan *plan);
uint64_t kfl_plan_limit(const struct kfl_plan *plan, unsigned slot);

/* The slots whose statements hide something (redact()) of an entry before it leaves as JSON, text
 * or preview. */
uint64_t kfl_plan_redacts(const struct kfl_plan *plan);
/* Hides in the entry what the statement of a slot hides. false: the arena is full, the entry must
 * not leave. Any thread, with an arena of its own. */
bool kfl_plan_redact(const struct kfl_plan *plan, unsigned slot, struct kfl_value *entry,
                     struct kfl_arena *arena);

/* What `kfl explain` prints about it: text, malloc'ed. */
char *kfl_plan_explain(const struct kfl_plan *plan);
/* ... with --stages: tokens and trees of its statements, its programs and their machine code. */
char *kfl_plan_explain_stages(const struct kfl_plan *plan);

#endif
