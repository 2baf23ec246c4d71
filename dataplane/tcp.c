#include "tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lookback.h"
#include "pool.h"

enum { FIN = 0x01, SYN = 0x02, RST = 0x04, ACK = 0x10 };

/* An acknowledgement may be captured before the data that it acknowledges: a hole is given up when
 * so many packets of the stream have come since, or so much time has gone by. */
enum { ACKED_PACKETS = 16 };
#define ACKED_NS UINT64_C(500000000)

/* A run of bytes that came early. */
struct segment {
    struct segment *next;
    uint64_t ts_ns;
    uint64_t position; /* of the packet in the lookback; LOOKBACK_NONE */
    uint32_t offset;   /* ... of the run in its payload */
    uint32_t seq, size;
    uint8_t *copy; /* without a position; null: the capture has not got them */
};

struct direction {
    struct segment *first, *last; /* by sequence number, disjoint */
    uint32_t n, bytes;
    uint32_t acked_packets; /* since the other side acknowledged what waits; 0: it has not */
    uint64_t acked_ns;
};

struct tcp_reassembly {
    struct direction direction[2]; /* by endpoint */
};

struct tcp_context {
    struct tcp_config config;
    struct pool *pool;
    uint32_t n_streams, n_segments;
};

/* One segment on its way in. */
struct incoming {
    struct stream *stream;
    const struct packet *packet;
    uint64_t position;
    unsigned sender;
    uint32_t seq;
    uint32_t size;    /* on the wire */
    uint32_t present; /* in the capture */
};

static void take(struct tcp_context *context, const struct incoming *in);
static bool insert(struct tcp_context *context, const struct incoming *in);
static void deliver(struct tcp_context *context, const struct incoming *in);
static void drain(struct tcp_context *context, struct stream *stream, unsigned sender);
static void give_up_hole(struct tcp_context *context, struct stream *stream, unsigned sender);
static void acknowledged(struct tcp_context *context, struct stream *stream, unsigned sender,
                         bool has_ack, uint32_t ack, uint64_t ts_ns);

int tcp_context_create(const struct tcp_config *config, struct tcp_context **ret_context)
{
    struct tcp_context *context = calloc(1, sizeof(*context));
    uint64_t size = config->copy_size +
                    config->segments_max * (uint64_t)pool_object_size(sizeof(struct segment)) +
                    config->streams_max * (uint64_t)pool_object_size(sizeof(struct tcp_reassembly));
    int err;

    if (!context)
        return -ENOMEM;
    context->config = *config;
    err = pool_create(size + size / 8, false, &context->pool);
    if (err) {
        free(context);
        return err;
    }
    *ret_context = context;
    return 0;
}

void tcp_context_free(struct tcp_context *context)
{
    if (!context)
        return;
    pool_free(context->pool);
    free(context);
}

static uint32_t be32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void count(struct tcp_context *context, enum counter which)
{
    if (context->config.counters)
        counter_add(context->config.counters, which, 1);
}

/* How far a is behind b in the circle of sequence numbers. */
static inline int32_t distance(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

void tcp_segment(struct tcp_context *context, struct stream *stream, const struct packet *packet,
                 uint64_t position)
{
    const uint8_t *tcp = packet->data + packet->l4;
    struct incoming in = {stream, packet, position, packet->sender};
    uint32_t known = (uint32_t)STREAM_SEQ_0 << packet->sender;
    uint32_t begun = (uint32_t)STREAM_BEGUN_0 << packet->sender;

    if (packet->payload < packet->l4 + 20)
        return;
    in.seq = be32(tcp + 4) + (tcp[13] & SYN ? 1 : 0); /* data may come with the SYN (RFC 7413) */
    in.size = packet->payload_origsize;
    in.present = packet->payload_size < in.size ? packet->payload_size : in.size;
    if (!(stream->flags & known) || (tcp[13] & SYN && !(stream->flags & begun))) {
        stream->flags |= known | (tcp[13] & SYN ? begun : 0);
        stream->extra->next_seq[in.sender] = in.seq;
    }
    if (in.size && !(tcp[13] & RST))
        take(context, &in);
    if (stream->extra->reassembly)
        acknowledged(context, stream, in.sender, tcp[13] & ACK, be32(tcp + 8), packet->ts_ns);
}

void tcp_end(struct tcp_context *context, struct stream *stream)
{
    while (stream->extra->reassembly) { /* what came first goes first; the last run frees it */
        struct direction *side = stream->extra->reassembly->direction;
        unsigned sender =
            !side[0].first || (side[1].first && side[1].first->ts_ns < side[0].first->ts_ns);

        give_up_hole(context, stream, sender);
    }
}

void tcp_drop(struct tcp_context *context, struct stream *stream)
{
    struct tcp_reassembly *reassembly = stream->extra->reassembly;

    if (!reassembly)
        return;
    stream->extra->reassembly = NULL;
    for (int i = 0; i < 2; i++)
        for (struct segment *s = reassembly->direction[i].first, *next; s; s = next) {
            next = s->next;
            pool_give(context->pool, s->copy);
            pool_give(context->pool, s);
            context->n_segments--;
        }
    pool_give(context->pool, reassembly);
    context->n_streams--;
}

/* Where does it belong: is it known, next, or early? */
static void take(struct tcp_context *context, const struct incoming *in)
{
    struct stream *stream = in->stream;
    int32_t ahead = distance(in->seq, stream->extra->next_seq[in->sender]);
    uint32_t begun = (uint32_t)STREAM_BEGUN_0 << in->sender;
    bool fits;

    /* The packet that came first was not the first one (nor is this a keep-alive's byte). */
    if (ahead < 0 && in->size > 1 && !(stream->flags & begun)) {
        stream->extra->next_seq[in->sender] = in->seq;
        ahead = 0;
    }
    stream->flags |= begun;
    if (ahead < 0 && ahead + (int64_t)in->size <= 0) {
        count(context, COUNTER_tcp_retransmitted);
        return;
    }
    if (ahead < 0)
        count(context, COUNTER_tcp_overlapping);
    if (ahead <= 0) {
        deliver(context, in);
        drain(context, stream, in->sender);
        return;
    }
    count(context, COUNTER_tcp_out_of_order);
    while (!(fits = insert(context, in)) && stream->extra->reassembly &&
           stream->extra->reassembly->direction[in->sender].first) {
        give_up_hole(context, stream, in->sender);
        if (distance(in->seq, stream->extra->next_seq[in->sender]) <= 0)
            break;
    }
    if (fits)
        return;
    ahead = distance(in->seq, stream->extra->next_seq[in->sender]);
    if (ahead > 0) { /* no room at all: the hole before it is given up at once */
        count(context, COUNTER_tcp_gaps);
        stream->extra->next_seq[in->sender] = in->seq;
        context->config.sink.gap(context->config.sink.context, stream,
                                 stream_side(stream, in->sender), (uint32_t)ahead);
    }
    if (distance(in->seq, stream->extra->next_seq[in->sender]) + (int64_t)in->size > 0) {
        deliver(context, in);
        drain(context, stream, in->sender);
    }
}

/* Its bytes from next_seq on, which lies in it, straight from the frame. */
static void deliver(struct tcp_context *context, const struct incoming *in)
{
    struct stream *stream = in->stream;
    const struct tcp_sink *sink = &context->config.sink;
    uint32_t known = stream->extra->next_seq[in->sender] - in->seq;
    uint32_t present = in->present > known ? in->present - known : 0;
    uint32_t missing = in->size - known - present;

    stream->extra->next_seq[in->sender] = in->seq + in->size;
    if (present)
        sink->data(sink->context, stream, stream_side(stream, in->sender),
                   in->packet->data + in->packet->payload + known, present, in->packet->ts_ns);
    if (missing) {
        count(context, COUNTER_tcp_gaps);
        sink->gap(sink->context, stream, stream_side(stream, in->sender), missing);
    }
}

static bool reassembly_begin(struct tcp_context *context, struct stream *stream)
{
    struct tcp_reassembly *reassembly;

    if (stream->extra->reassembly)
        return true;
    if (context->n_streams >= context->config.streams_max)
        return false;
    reassembly = pool_take(context->pool, sizeof(*reassembly));
    if (!reassembly)
        return false;
    memset(reassembly, 0, sizeof(*reassembly));
    stream->extra->reassembly = reassembly;
    context->n_streams++;
    return true;
}

static void reassembly_end_if_empty(struct tcp_context *context, struct stream *stream)
{
    struct tcp_reassembly *reassembly = stream->extra->reassembly;

    if (reassembly && !reassembly->direction[0].first && !reassembly->direction[1].first)
        tcp_drop(context, stream);
}

/* A run [seq, seq + size) of the incoming segment, behind `after` (null: as the first). */
static bool insert_run(struct tcp_context *context, const struct incoming *in,
                       struct direction *direction, struct segment *after, uint32_t seq,
                       uint32_t size, struct segment **ret_run)
{
    const struct tcp_config *config = &context->config;
    uint32_t offset = seq - in->seq;
    bool there = offset < in->present;
    struct segment *run;

    if (context->n_segments >= config->segments_max ||
        direction->n >= config->stream_segments_max ||
        (direction->n && direction->bytes + size > config->stream_bytes_max))
        return false;
    run = pool_take(context->pool, sizeof(*run));
    if (!run)
        return false;
    *run = (struct segment){.ts_ns = in->packet->ts_ns,
                            .position = there ? in->position : LOOKBACK_NONE,
                            .offset = offset,
                            .seq = seq,
                            .size = size};
    if (there && in->position == LOOKBACK_NONE) {
        run->copy = pool_take(context->pool, size);
        if (!run->copy) {
            pool_give(context->pool, run);
            return false;
        }
        memcpy(run->copy, in->packet->data + in->packet->payload + offset, size);
    }
    run->next = after ? after->next : direction->first;
    *(after ? &after->next : &direction->first) = run;
    if (!run->next)
        direction->last = run;
    direction->n++;
    direction->bytes += size;
    context->n_segments++;
    *ret_run = run;
    return true;
}

/* The parts of [seq, end) that nobody waits for yet. */
static bool insert_between(struct tcp_context *context, const struct incoming *in,
                           struct direction *direction, uint32_t seq, uint32_t end, bool *overlap)
{
    struct segment *before = NULL, *at = direction->first;

    if (at && distance(seq, direction->last->seq + direction->last->size) >= 0) {
        before = direction->last; /* the usual place */
        at = NULL;
    }
    while (distance(seq, end) < 0) {
        uint32_t stop = end;

        if (at && distance(seq, at->seq + at->size) >= 0) {
            before = at;
            at = at->next;
            continue;
        }
        if (at && distance(at->seq, seq) <= 0) {
            *overlap = true;
            seq = at->seq + at->size;
            continue;
        }
        if (at && distance(at->seq, end) < 0)
            stop = at->seq;
        if (!insert_run(context, in, direction, before, seq, stop - seq, &before))
            return false;
        seq = stop;
    }
    return true;
}

/* -> false: no room for all of it. */
static bool insert(struct tcp_context *context, const struct incoming *in)
{
    struct direction *direction;
    bool overlap = false, fits;

    if (!reassembly_begin(context, in->stream))
        return false;
    direction = &in->stream->extra->reassembly->direction[in->sender];
    fits = insert_between(context, in, direction, in->seq, in->seq + in->present, &overlap);
    if (fits && in->present < in->size)
        fits = insert_between(context, in, direction, in->seq + in->present, in->seq + in->size,
                              &overlap);
    if (overlap)
        count(context, COUNTER_tcp_overlapping);
    reassembly_end_if_empty(context, in->stream);
    return fits;
}

/* The first run that waits, out of the list. */
static struct segment *pop(struct tcp_context *context, struct direction *direction)
{
    struct segment *run = direction->first;

    direction->first = run->next;
    if (!run->next)
        direction->last = NULL;
    direction->n--;
    direction->bytes -= run->size;
    context->n_segments--;
    return run;
}

/* What a run holds from `known` on; null: nobody has it any more. */
static const uint8_t *run_bytes(const struct tcp_context *context, const struct segment *run,
                                uint32_t known)
{
    const struct lookback_record *record;

    if (run->copy)
        return run->copy + known;
    if (run->position == LOOKBACK_NONE || !context->config.lookback)
        return NULL;
    record = lookback_get(context->config.lookback, run->position);
    if (!record || run->offset + run->size > record->payload_size)
        return NULL;
    return record->data + record->payload + run->offset + known;
}

/* Runs that have become next are given. The sink may drop the stream's reassembly meanwhile. */
static void drain(struct tcp_context *context, struct stream *stream, unsigned sender)
{
    const struct tcp_sink *sink = &context->config.sink;

    while (stream->extra->reassembly) {
        struct direction *direction = &stream->extra->reassembly->direction[sender];
        struct segment *run = direction->first;
        uint32_t known;

        if (!run || distance(run->seq, stream->extra->next_seq[sender]) > 0)
            break;
        run = pop(context, direction);
        direction->acked_packets = 0;
        known = stream->extra->next_seq[sender] - run->seq;
        if (known < run->size) {
            const uint8_t *bytes = run_bytes(context, run, known);
            enum kfl_side side = stream_side(stream, sender);

            stream->extra->next_seq[sender] = run->seq + run->size;
            if (bytes) {
                sink->data(sink->context, stream, side, bytes, run->size - known, run->ts_ns);
            } else {
                count(context, COUNTER_tcp_gaps);
                sink->gap(sink->context, stream, side, run->size - known);
            }
        }
        pool_give(context->pool, run->copy);
        pool_give(context->pool, run);
    }
    reassembly_end_if_empty(context, stream);
}

static void give_up_hole(struct tcp_context *context, struct stream *stream, unsigned sender)
{
    const struct tcp_sink *sink = &context->config.sink;
    struct segment *first = stream->extra->reassembly->direction[sender].first;
    uint32_t size = first->seq - stream->extra->next_seq[sender];

    stream->extra->next_seq[sender] = first->seq;
    if (size) {
        count(context, COUNTER_tcp_gaps);
        sink->gap(sink->context, stream, stream_side(stream, sender), size);
    }
    drain(context, stream, sender);
}

/* The other side has all that `ack` says: what is missing before it, the capture has lost. */
static void acknowledged(struct tcp_context *context, struct stream *stream, unsigned sender,
                         bool has_ack, uint32_t ack, uint64_t ts_ns)
{
    for (unsigned i = 0; i < 2; i++) {
        struct direction *direction;

        if (!stream->extra->reassembly)
            return;
        direction = &stream->extra->reassembly->direction[i];
        if (!direction->first)
            continue;
        if (direction->acked_packets)
            direction->acked_packets++;
        else if (has_ack && i != sender && distance(ack, direction->first->seq) > 0) {
            direction->acked_packets = 1;
            direction->acked_ns = ts_ns;
        }
        if (direction->acked_packets > ACKED_PACKETS ||
            (direction->acked_packets && ts_ns > direction->acked_ns + ACKED_NS))
            give_up_hole(context, stream, i);
    }
}
