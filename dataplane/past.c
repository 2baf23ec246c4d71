#include "past.h"

#include "../kfl-jit/ensure.h"
#include "pcapng_block.h"

/* Records handled at once: of a move on the match, of a move in a step, of all moves in a step.
 * The last is well below a millisecond, and far more than a step's burst can add. */
enum { PIECE_AT_ONCE = 64, PIECE_OF_STEP = 256, PIECES_OF_STEP = 1024 };

static bool move_piece(struct past *past, struct past_move *move, unsigned budget, uint64_t now_ns,
                       unsigned *n_done);
static bool walk_back(struct past *past, struct past_move *move, unsigned budget, unsigned *n_done);
static bool hand_on(struct past *past, struct past_move *move, unsigned budget, uint64_t now_ns,
                    unsigned *n_done);
static void give(struct past *past, struct past_move *move, struct lookback_record *record,
                 uint64_t now_ns);
static void begin(struct past *past, struct past_move *move);
static void end(struct past *past, struct past_move *move);
static struct past_move *move_of(struct past *past, const struct stream *stream);
static void count(struct past *past, struct stream *stream, enum counter which, uint32_t n);

void past_init(struct past *past, struct lookback *lookback, struct recorder *recorder,
               struct counters *counters)
{
    past->lookback = lookback;
    past->recorder = recorder;
    past->counters = counters;
    past->n_moves = 0;
    atomic_init(&past->held, 0);
}

uint64_t past_append(struct past *past, struct stream *stream, const struct packet *packet,
                     bool counted)
{
    uint64_t position = LOOKBACK_NONE;

    if (past->lookback) {
        position = lookback_append(past->lookback, packet, counted, stream->extra->lookback_last);
        if (position != LOOKBACK_NONE)
            stream->extra->lookback_last = position;
    }
    if (!counted) {
        stream->extra->n_held++;
        atomic_store_explicit(&past->held,
                              atomic_load_explicit(&past->held, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    }
    return position;
}

void past_match(struct past *past, struct stream *stream, uint64_t slots, uint64_t ts_ns,
                uint32_t later, uint64_t now_ns)
{
    struct past_move *move;
    unsigned n_done = 0;

    if (past_moving(stream)) { /* a second match while the first one's move is under way */
        move = move_of(past, stream);
        if (!move->forward && move->floor == LOOKBACK_NONE) {
            move->slots |= slots;
            return;
        }
        past_finish(past, stream, now_ns);
    }
    if (!past->recorder->wants_packets) {
        past->recorder->ops->matched(past->recorder, slots, stream, 0, ts_ns);
        count(past, stream, COUNTER_recorded, stream->extra->n_held);
        return;
    }
    if (past->n_moves == PAST_MOVES_MAX)
        past_finish(past, past->move[0].stream, now_ns);
    move = &past->move[past->n_moves++];
    *move = (struct past_move){
        .stream = stream,
        .slots = slots,
        .at = stream->extra->lookback_last,
        .newest = stream->extra->lookback_last,
        .floor = LOOKBACK_NONE,
        .total = (uint64_t)stream->packets[0] + stream->packets[1] - later,
        .ts_ns = ts_ns,
    };
    stream->flags |= STREAM_MOVING;
    move_piece(past, move, PIECE_AT_ONCE, now_ns, &n_done);
}

void past_discard(struct past *past, struct stream *stream)
{
    ensure(!past_moving(stream));
    if (stream->extra == stream_no_extra)
        return;
    count(past, stream, COUNTER_discarded, stream->extra->n_held);
    stream->extra->lookback_last = LOOKBACK_NONE;
}

unsigned past_step(struct past *past, uint64_t now_ns)
{
    unsigned n_done = 0;

    for (unsigned left = past->n_moves; left && n_done < PIECES_OF_STEP; left--) {
        if (past->next_move >= past->n_moves)
            past->next_move = 0;
        if (!move_piece(past, &past->move[past->next_move], PIECE_OF_STEP, now_ns, &n_done))
            past->next_move++; /* else another one has taken its place */
    }
    return n_done;
}

void past_finish(struct past *past, struct stream *stream, uint64_t now_ns)
{
    unsigned n_done = 0;

    if (past_moving(stream))
        move_piece(past, move_of(past, stream), UINT32_MAX, now_ns, &n_done);
}

void past_rescue(struct past *past, uint32_t caplen, uint64_t now_ns)
{
    for (unsigned i = 0; i < past->n_moves;) {
        struct past_move *move = &past->move[i];
        unsigned n_done = 0;

        if (move->at == LOOKBACK_NONE || lookback_keeps(past->lookback, move->at, caplen) ||
            !move_piece(past, move, UINT32_MAX, now_ns, &n_done))
            i++;
    }
}

uint64_t past_slots(struct past *past, const struct stream *stream)
{
    return past_moving(stream) ? move_of(past, stream)->slots : 0;
}

/* -> true: it is complete and gone. */
static bool move_piece(struct past *past, struct past_move *move, unsigned budget, uint64_t now_ns,
                       unsigned *n_done)
{
    struct stream *stream = move->stream;
    unsigned limit = budget == UINT32_MAX ? budget : *n_done + budget;

    while (*n_done < limit) {
        if (!move->forward && !walk_back(past, move, limit, n_done))
            return false;
        if (!hand_on(past, move, limit, now_ns, n_done))
            return false;
        if (stream->extra->lookback_last == move->newest) {
            end(past, move);
            return true;
        }
        move->floor = move->newest; /* the stream has appended since: once more, from there */
        move->at = move->newest = stream->extra->lookback_last;
        move->forward = false;
    }
    return false;
}

/* From the newest record back to the oldest that is there. -> done; `at` is the oldest. */
static bool walk_back(struct past *past, struct past_move *move, unsigned limit, unsigned *n_done)
{
    struct lookback_record *record = lookback_get(past->lookback, move->at);
    struct lookback_record *before;

    if (record && move->floor == LOOKBACK_NONE && !move->found)
        move->found = 1;
    while (record) {
        if (record->prev == move->floor)
            break;
        before = lookback_get(past->lookback, record->prev);
        if (!before || (move->floor == LOOKBACK_NONE && lookback_expired(past->lookback, before)))
            break;
        if (*n_done >= limit)
            return false;
        ++*n_done;
        before->next = move->at;
        move->at = record->prev;
        move->found++;
        record = before;
    }
    move->forward = true;
    if (!record)
        move->at = LOOKBACK_NONE;
    if (move->floor == LOOKBACK_NONE)
        begin(past, move);
    return true;
}

/* Tells the jobs that the stream begins, and what of it is missing. */
static void begin(struct past *past, struct past_move *move)
{
    uint64_t missing = move->total > move->found ? move->total - move->found : 0;

    past->recorder->ops->matched(past->recorder, move->slots, move->stream,
                                 missing > UINT32_MAX ? UINT32_MAX : (uint32_t)missing,
                                 move->ts_ns);
}

/* From the oldest record forward to the newest of this walk. -> done. */
static bool hand_on(struct past *past, struct past_move *move, unsigned limit, uint64_t now_ns,
                    unsigned *n_done)
{
    while (move->at != LOOKBACK_NONE) {
        struct lookback_record *record;

        if (*n_done >= limit)
            return false;
        ++*n_done;
        record = lookback_get(past->lookback, move->at);
        ensure(record); /* past_rescue() sees to it */
        give(past, move, record, now_ns);
        if (move->at == move->newest)
            break;
        move->at = record->next;
    }
    return true;
}

static void give(struct past *past, struct past_move *move, struct lookback_record *record,
                 uint64_t now_ns)
{
    struct stream *stream = move->stream;
    struct pcapng_packet packet = {
        .data = record->data,
        .ts_ns = record->ts_ns,
        .caplen = record->caplen,
        .origlen = record->origlen,
        .interface = record->interface,
    };
    bool taken = recorder_packet(past->recorder, move->slots, stream,
                                 record->flags & LOOKBACK_SENDER ? 1 : 0, &packet);

    if (!(record->flags & LOOKBACK_COUNTED) && stream->extra->n_held) {
        record->flags |= LOOKBACK_COUNTED;
        count(past, stream, taken ? COUNTER_recorded : COUNTER_drop_no_chunk, 1);
    }
}

/* All is handed on: what is still held was overwritten. */
static void end(struct past *past, struct past_move *move)
{
    struct stream *stream = move->stream;

    count(past, stream, COUNTER_lookback_evicted, stream->extra->n_held);
    stream->flags &= (uint32_t)~STREAM_MOVING;
    *move = past->move[--past->n_moves];
}

static struct past_move *move_of(struct past *past, const struct stream *stream)
{
    unsigned i = 0;

    while (past->move[i].stream != stream)
        ensure(++i < past->n_moves); /* a stream that moves has a move */
    return &past->move[i];
}

/* n of the packets that the stream holds are settled. */
static void count(struct past *past, struct stream *stream, enum counter which, uint32_t n)
{
    if (!n)
        return;
    stream->extra->n_held -= n;
    counter_add(past->counters, which, n);
    atomic_store_explicit(&past->held, atomic_load_explicit(&past->held, memory_order_relaxed) - n,
                          memory_order_relaxed);
}
