/* classifier_private.h - what classifier.c (packets) and verdict.c (questions) share. For these
 * only. */
#ifndef DATAPLANE_CLASSIFIER_PRIVATE_H
#define DATAPLANE_CLASSIFIER_PRIVATE_H

#include "classifier.h"
#include "fragment.h"
#include "past.h"
#include "tcp.h"
#include "waiting.h"

struct classifier {
    struct counters counters;
    struct classifier_config config;
    _Atomic(const struct plan_publication *) published;
    const struct plan_publication *plan;       /* in force here; null before the first */
    _Atomic uint32_t epoch;                    /* of `plan`; tells mgmt */
    uint64_t jobs;                             /* slots of `plan` */
    uint64_t limited;                          /* ... whose limit(n) counts */
    _Atomic uint64_t slot_first[KFL_SLOT_MAX]; /* stream number when the slot got its job */
    uint64_t now_ns;                           /* newest packet or tick */
    uint32_t later;          /* 1 while the packet at hand is counted in its stream
                                but not recorded nor appended */
    uint32_t n_discarded;    /* of the burst */
    bool follows;            /* ... the stream of some packet of it was looked for */
    enum stream_depth depth; /* ... and what of it was looked at */
    uint32_t sweep;          /* place in the stream table */
    struct stream_table *streams;
    struct tcp_context *tcp;
    struct l7_context *l7;
    struct fragment_assembler *fragments;
    struct lookback *lookback;
    struct waiting *waiting;
    struct stream *ending; /* the stream that is over: its E facts are final */
    struct stream spare;   /* stands for streams that found no room */
    _Atomic uint64_t span_ns;
    struct past past;
};

/* A stream begins: what its first packet decides. */
void verdict_begin(struct classifier *classifier, struct stream *stream);
/* The stream was last asked about by an older plan. */
void verdict_refresh(struct classifier *classifier, struct stream *stream);
/* Asks about the stream as it is now known. ended: its counts are final. */
void verdict_stream(struct classifier *classifier, struct stream *stream, bool ended);

/* Sinks of l7 and of the stream table; context: the classifier. */
void verdict_entry(void *context, struct stream *stream, struct kfl_entry *entry);
void verdict_protocol(void *context, struct stream *stream);
void verdict_ended(void *context, struct stream *stream, enum stream_end why);

/* Its client has become known since it was last asked about? */
static inline bool verdict_turned(const struct stream *stream)
{
    return (stream->flags & (STREAM_ORIENTED | STREAM_ASKED_ORIENTED)) == STREAM_ORIENTED;
}

/* Was its verdict made by an older plan? Then verdict_refresh() comes first. */
static inline bool verdict_is_old(const struct classifier *classifier, const struct stream *stream)
{
    return classifier->plan && stream->plan_epoch != classifier->plan->epoch;
}

#endif
