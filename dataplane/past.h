/* past.h - how a stream's packets get from the lookback to the jobs that matched it.
 *
 *      match --> back:    walk the list from the newest record to the oldest that is still there,
 *                         leaving `next` in each; what is missing before it is told (head_missing)
 *            --> forward: hand on each record, oldest first, until the newest is reached: the
 *                         stream has caught up, its packets go to the jobs directly from then on
 *
 * Both walks go in bounded pieces, a few a step. A stream whose past is on the move goes on
 * appending to the lookback, so order holds; a piece that is about to be overwritten is moved
 * first, so nothing that was there at the match is lost.
 *
 * It also keeps the account of what is held: stream->n_held packets are in the lookback (or were
 * overwritten there) and not yet counted as recorded, discarded or evicted.
 *
 * Thread: the classifier that owns it. */
#ifndef DATAPLANE_PAST_H
#define DATAPLANE_PAST_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "lookback.h"
#include "packet.h"
#include "recorder.h"
#include "stream.h"

enum { PAST_MOVES_MAX = 1024 };

struct past_move {
    struct stream *stream;
    uint64_t slots;  /* jobs it goes to */
    uint64_t at;     /* the record that is handled next */
    uint64_t newest; /* the last record of this walk */
    uint64_t floor;  /* back: the walk ends at this record, which was handed on already */
    uint32_t found;  /* records found walking back */
    uint64_t total;  /* packets the stream had at the match */
    uint64_t ts_ns;  /* of the packet that made it */
    bool forward;
};

struct past {
    struct lookback *lookback; /* null: nothing is kept, packets are only counted */
    struct recorder *recorder;
    struct counters *counters;
    _Atomic uint64_t held;       /* packets, of all streams; any thread reads */
    unsigned n_moves, next_move; /* whose turn it is */
    struct past_move move[PAST_MOVES_MAX];
};

void past_init(struct past *past, struct lookback *lookback, struct recorder *recorder,
               struct counters *counters);

/* Keeps the packet. counted: the sum has it already, it is kept for a job that is still open.
 * -> its position, or LOOKBACK_NONE. */
uint64_t past_append(struct past *past, struct stream *stream, const struct packet *packet,
                     bool counted);
/* Before a packet is appended: completes the moves it would overwrite something of. */
void past_rescue(struct past *past, uint32_t caplen, uint64_t now_ns);
/* The stream matched these jobs by its packet of ts_ns: their recorder is told, what the stream
 * held goes to them. later: the stream's packets that are counted in it but were not appended (the
 * one at hand: 1). */
void past_match(struct past *past, struct stream *stream, uint64_t slots, uint64_t ts_ns,
                uint32_t later, uint64_t now_ns);
/* No job wants what the stream held. Not while it is on the move. */
void past_discard(struct past *past, struct stream *stream);
/* A piece of each move in turn, bounded for all together. -> records handled. */
unsigned past_step(struct past *past, uint64_t now_ns);
/* Moves all that the stream holds, now. */
void past_finish(struct past *past, struct stream *stream, uint64_t now_ns);

/* The jobs that get the stream's packets from the lookback for now. */
uint64_t past_slots(struct past *past, const struct stream *stream);

static inline bool past_moving(const struct stream *stream)
{
    return stream->flags & STREAM_MOVING;
}

#endif
