/* classifier.h - the step in the middle: stream, verdict, and then one of three.
 *
 *      packet --gate--> no job can want it, by addresses, ports and layer 4: counted (gate.h)
 *             --stream--> all jobs out:     counted, nothing copied, nothing parsed
 *                         some job open:    one copy into the lookback; dissect; ask the plan
 *                         some job matched: one copy into that job's chunk (recorder.h)
 *      on the first match the stream's packets move from the lookback to the job, oldest first,
 *      in bounded pieces a step; until that has caught up the stream goes on into the lookback.
 *
 * Every packet ends as exactly one of: discarded, recorded, lookback_evicted; or is still held
 * (lookback of an open stream). A packet that several jobs record counts once.
 *
 * Thread: one. A classifier shares nothing but its input ring, the published plan and counters. */
#ifndef DATAPLANE_CLASSIFIER_H
#define DATAPLANE_CLASSIFIER_H

#include "../kfl-jit/plan.h"
#include "counters.h"
#include "dns_names.h"
#include "gate.h"
#include "l7.h"
#include "lookback.h"
#include "packet.h"
#include "recorder.h"
#include "stream.h"

/* A plan in force. Published by pointer; the epoch only grows. */
struct plan_publication {
    const struct kfl_plan *plan;
    const struct gate *gate; /* packets that it does not want go no further; null: all go on */
    uint32_t epoch;
    uint32_t slot_epoch[KFL_SLOT_MAX]; /* when this slot got its present job */
    uint64_t fresh; /* slots whose jobs are not asked about streams that began before */
    /* By slot: entries that have asked a job's limit(n) for room, of all classifiers together.
     * Null: no job has one. */
    _Atomic uint64_t *admitted;
};

struct classifier_config {
    unsigned number; /* of this classifier */
    unsigned n_classifiers;
    uint64_t hash_seed;           /* as decode()'s */
    uint64_t number_base;         /* streams are numbered from here on */
    struct stream_config streams; /* sink, counters and numbering are the classifier's */
    struct l7_config l7;
    enum lookback_kind lookback_kind;
    uint64_t lookback_size; /* 0: none; packets of open streams are counted but not kept */
    uint64_t lookback_ttl_ns;
    bool resident;           /* memory of streams and lookback is taken before the first packet */
    uint64_t waiting_memory; /* bytes for entries that wait for their stream's end */
    struct recorder *recorder;
    struct dns_names *learn; /* names out of DNS answers go here; or null */
    struct ring *out; /* heavy streams that no job wants are told here (pushdown.h); or null */
};

struct classifier;

int classifier_create(const struct classifier_config *config, struct classifier **ret_classifier);
void classifier_free(struct classifier *classifier);

/* mgmt's thread: puts a plan in force. The classifier moves to it at its next step;
 * classifier_epoch() says when it has: then the one before may be freed. */
void classifier_publish(struct classifier *classifier, const struct plan_publication *publication);
uint32_t classifier_epoch(const struct classifier *classifier);
/* Any thread, once it has moved: of the job in this slot are streams with this number and more;
 * those before had begun already. */
uint64_t classifier_slot_first(const struct classifier *classifier, unsigned slot);

/* Decoded packets that will come in a burst: the sooner it is told, the less it waits for memory.
 */
void classifier_prefetch(const struct classifier *classifier, const struct packet *burst,
                         unsigned n);
/* The packets of a burst, decoded, in order of arrival. The bytes are not needed after the call
 * (but by a lookback of references): the caller releases them. */
void classifier_burst(struct classifier *classifier, struct packet *burst, unsigned n);
/* What is due by time: timers, moves out of the lookback, flush. -> work done (0: idle). */
unsigned classifier_tick(struct classifier *classifier, uint64_t now_ns);
/* The end, in turns: every stream ends (L7_END_STOP), everything held is settled and handed on, as
 * there is room. -> true: this was the last. */
bool classifier_finish(struct classifier *classifier, uint64_t now_ns);

/* Is there room for what comes next? A burst that can wait is given when there is. */
bool classifier_ready(const struct classifier *classifier);

const struct counters *classifier_counters(const struct classifier *classifier);
const struct l7_counters *classifier_l7_counters(const struct classifier *classifier);
uint64_t classifier_held(const struct classifier *classifier);             /* packets, any thread */
uint64_t classifier_streams_max(const struct classifier *classifier);      /* room for */
uint64_t classifier_streams_open(const struct classifier *classifier);     /* any thread */
uint64_t classifier_lookback_span_ns(const struct classifier *classifier); /* any thread */

#endif
