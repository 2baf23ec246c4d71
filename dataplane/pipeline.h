/* pipeline.h - the roles put together: who runs which step, on which core, over which rings.
 *
 *      source/queue --> rx step --ring--> classifier step --> recorder --> (chunks) --> writer step
 *                          ^                   |
 *                          +---return ring-----+   released packets go back to their RX thread
 *
 * With n_rx 0 there is no ring: one thread receives and classifies (small boxes, reading files).
 * A thread is a loop around a step, and a step can be turned by hand: pipeline_step() turns each
 * role once, pipeline_run() does so until finite sources have ended and all is settled.
 *
 * Idle threads spin a little, then sleep (adaptive), or never sleep (busy): after packets until
 * some hundred more are likely to be there, 4 ms at most; then in poll() on their sources'
 * descriptors. A full ring costs a live source the packet (drop_ring); a file waits.
 *
 * Life: create -> publish a plan -> start, or run by hand -> stop, wait -> free. All calls come
 * from one thread (mgmt's), pipeline_sum() and counters from any. Sources and recorders stay the
 * caller's and must outlive it. */
#ifndef DATAPLANE_PIPELINE_H
#define DATAPLANE_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "classifier.h"
#include "counters.h"
#include "source.h"

enum { PIPELINE_CLASSIFIER_MAX = KFL_WORKER_MAX, PIPELINE_RX_MAX = 64, PIPELINE_SOURCE_MAX = 4096 };

struct pipeline_config {
    struct source *const *sources;
    unsigned n_sources;
    bool one_by_one; /* the next source begins when the one before has ended: files */
    unsigned n_rx;   /* 0: the classifier (only one then) receives itself */
    unsigned n_classifiers;
    bool busy;           /* never sleep */
    uint32_t ring_slots; /* packets from one RX to one classifier; 0: 4096 */
    const int *cores;    /* to pin rx, then classifiers, then the writer to; -1: not. May be null */
    unsigned n_cores;
    uint64_t hash_seed;
    bool learns_dns; /* DNS is wanted whatever the jobs want */
    struct classifier_config
        classifier;                    /* number, n_classifiers, hash_seed, recorder are set here */
    struct recorder *const *recorders; /* one for each classifier */
    unsigned (*writer_step)(void *context); /* -> work done; null: there is no writer */
    /* Sleeps until a write is done or there is something to write, at most this long; null: the
     * clock alone wakes the writer. */
    void (*writer_wait)(void *context, uint64_t timeout_ns);
    void *writer_context;
};

struct pipeline;

int pipeline_create(const struct pipeline_config *config, struct pipeline **ret_pipeline);
void pipeline_free(struct pipeline *pipeline);

/* Puts a plan in force; it is the pipeline's from then on. changed: slots that have another job
 * than before (or had none). -> 0 or -ENOMEM. */
int pipeline_publish(struct pipeline *pipeline, struct kfl_plan *plan, uint64_t changed);
/* Entries that have asked the limit(n) of the job in this slot: n and more when it is full. */
uint64_t pipeline_admitted(const struct pipeline *pipeline, unsigned slot);
/* From the next publication on: slots whose jobs take only streams that begin with them. */
void pipeline_set_fresh(struct pipeline *pipeline, uint64_t slots);
/* Frees plans that every classifier has left. -> how many older ones are still in use: when 0,
 * their statements may go. */
unsigned pipeline_reclaim(struct pipeline *pipeline);

/* Tells the sources which heavy streams are out (pushdown.h). Some ten times a second, a bounded
 * piece. */
void pipeline_push_down(struct pipeline *pipeline);

int pipeline_start(struct pipeline *pipeline); /* threads. -> 0 or -errno */
void pipeline_stop(struct pipeline *pipeline); /* asks the sources to end; what was received is
                                                  still classified, recorded and settled */
bool pipeline_done(const struct pipeline *pipeline); /* all sources ended, all settled */
void pipeline_wait(struct pipeline *pipeline);       /* until done, then joins the threads */

/* The name of a thread that has not turned since the last call, or null: all have, or have ended.
 * Threads turn at least every 30 ms; ask a good while apart. Called by mgmt's thread. */
const char *pipeline_stalled(struct pipeline *pipeline);

unsigned pipeline_step(struct pipeline *pipeline); /* -> work done */
void pipeline_run(struct pipeline *pipeline);

/* What must hold: rx = dropped + discarded + recorded + held + in_flight. */
struct pipeline_sum {
    uint64_t rx;      /* and what the sources discarded (discarded_kernel), also below */
    uint64_t dropped; /* drop_ring, drop_no_chunk, lookback_evicted */
    uint64_t discarded;
    uint64_t recorded;
    uint64_t held;      /* in the lookback, of open streams */
    uint64_t in_flight; /* in rings, and fragments that wait for their first */
    int64_t difference; /* 0, but for what moves while we look */
};
struct pipeline_sum pipeline_sum(struct pipeline *pipeline);

/* All workers' counters added up. */
void pipeline_counters(const struct pipeline *pipeline, uint64_t ret_value[static COUNTER_COUNT]);

struct pipeline_dissection { /* of one protocol, all classifiers together */
    uint64_t entries, bytes, errors;
};
void pipeline_dissection(const struct pipeline *pipeline, enum kfl_proto proto,
                         struct pipeline_dissection *ret_dissection);

struct pipeline_source_stats {
    struct source_stats device;
    uint64_t rx; /* packets taken from it */
    uint64_t rx_bytes;
    int error; /* 0, or why it ended before its end: -errno */
    bool ended;
};
void pipeline_source_stats(const struct pipeline *pipeline, unsigned source,
                           struct pipeline_source_stats *ret_stats);

unsigned pipeline_n_rx(const struct pipeline *pipeline); /* workers that receive, 1 or more */
unsigned pipeline_n_classifiers(const struct pipeline *pipeline);
const struct counters *pipeline_rx_counters(const struct pipeline *pipeline, unsigned rx);
/* Packets that wait in the rings to a classifier, and for how many there is room; 0: no rings. */
uint64_t pipeline_ring_fill(const struct pipeline *pipeline, unsigned classifier,
                            uint64_t *ret_size);
const struct classifier *pipeline_classifier(const struct pipeline *pipeline, unsigned number);

#endif
