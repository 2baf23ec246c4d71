/* classifier.c - bursts in, verdicts kept, packets where they belong. What is asked of the plan
 * and when is in verdict.c. */
#include "classifier_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "interface.h"
#include "pcapng_block.h"
#include "pushdown.h"

enum {
    SWEEP = 64,                 /* streams a tick looks at for requests that wait too long */
    STREAMS_OF_FINISH = 64,     /* that a turn ends at the end of all */
    TCP_STREAM_SEGMENTS = 1024, /* waiting in one direction */
    TCP_STREAM_BYTES = 4 << 20,
    FRAGMENT_DATAGRAMS = 512,
    PACKETS_AHEAD = 2,  /* whose bytes are asked for ... */
    BYTES_AHEAD = 2048, /* ... if they are not more */
};

static int create_parts(struct classifier *classifier);
static void take_plan(struct classifier *classifier, uint64_t now_ns);
static unsigned sift(struct classifier *classifier, struct packet *burst, unsigned n,
                     struct packet **ret_wanted);
static inline void prefetch_bytes(const struct packet *packet);
static void one_packet(struct classifier *classifier, struct packet *packet, uint32_t hint);
static void no_room(struct classifier *classifier, const struct packet *packet);
static void discard(struct classifier *classifier, const struct stream *stream,
                    const struct packet *packet);
static void keep(struct classifier *classifier, struct stream *stream, const struct packet *packet);
static bool record(struct classifier *classifier, const struct stream *stream,
                   const struct packet *packet, uint64_t slots);
static void dissect(struct classifier *classifier, struct stream *stream,
                    const struct packet *packet, uint64_t position);
static void dissect_whole(struct classifier *classifier, struct stream *stream,
                          const struct packet *packet, uint64_t position);
static void tcp_data(void *context, struct stream *stream, enum kfl_side side, const uint8_t *data,
                     size_t size, uint64_t ts_ns);
static void tcp_gap(void *context, struct stream *stream, enum kfl_side side, uint64_t size);

int classifier_create(const struct classifier_config *config, struct classifier **ret_classifier)
{
    struct classifier *classifier = aligned_alloc(64, (sizeof(*classifier) + 63) & ~63UL);
    int err;

    if (!classifier)
        return -ENOMEM;
    memset(classifier, 0, sizeof(*classifier));
    classifier->config = *config;
    err = create_parts(classifier);
    if (err) {
        classifier_free(classifier);
        return err;
    }
    past_init(&classifier->past, classifier->lookback, config->recorder, &classifier->counters);
    config->recorder->streams = classifier->streams;
    *ret_classifier = classifier;
    return 0;
}

void classifier_free(struct classifier *classifier)
{
    if (!classifier)
        return;
    waiting_free(classifier->waiting);
    fragment_assembler_free(classifier->fragments);
    l7_context_free(classifier->l7);
    tcp_context_free(classifier->tcp);
    stream_table_free(classifier->streams);
    lookback_free(classifier->lookback);
    free(classifier);
}

void classifier_publish(struct classifier *classifier, const struct plan_publication *publication)
{
    atomic_store_explicit(&classifier->published, publication, memory_order_release);
}

uint32_t classifier_epoch(const struct classifier *classifier)
{
    return atomic_load_explicit(&classifier->epoch, memory_order_acquire);
}

uint64_t classifier_slot_first(const struct classifier *classifier, unsigned slot)
{
    return atomic_load_explicit(&classifier->slot_first[slot], memory_order_relaxed);
}

void classifier_burst(struct classifier *classifier, struct packet *burst, unsigned n)
{
    struct packet *wanted[PACKET_BURST];
    uint32_t hint[PACKET_BURST];

    if (!n)
        return;
    take_plan(classifier, burst[0].ts_ns);
    classifier->n_discarded = 0;
    for (unsigned at = 0; at < n; at += PACKET_BURST) {
        unsigned n_piece = n - at < PACKET_BURST ? n - at : PACKET_BURST;
        unsigned n_wanted = sift(classifier, burst + at, n_piece, wanted);
        enum stream_depth depth = classifier->depth;

        for (unsigned i = 0; i < n_wanted; i++)
            hint[i] = stream_prefetch(classifier->streams, wanted[i], depth);
        classifier->depth = STREAM_COUNTS;
        classifier->follows = n_wanted;
        for (unsigned i = 0; i < n_wanted; i++) {
            if (depth >= STREAM_VERDICT && i + PACKETS_AHEAD < n_wanted)
                prefetch_bytes(wanted[i + PACKETS_AHEAD]);
            one_packet(classifier, wanted[i], hint[i]);
        }
    }
    counter_add(&classifier->counters, COUNTER_discarded, classifier->n_discarded);
}

void classifier_prefetch(const struct classifier *classifier, const struct packet *burst,
                         unsigned n)
{
    for (unsigned i = 0; i < n && classifier->follows; i++)
        stream_prefetch_index(classifier->streams, &burst[i]);
}

unsigned classifier_tick(struct classifier *classifier, uint64_t now_ns)
{
    struct recorder *recorder = classifier->config.recorder;
    unsigned n_done;

    take_plan(classifier, now_ns);
    if (now_ns > classifier->now_ns)
        classifier->now_ns = now_ns;
    n_done = stream_table_tick(classifier->streams, now_ns);
    l7_ask_requests(classifier->l7, now_ns);
    if (classifier_ready(classifier))
        n_done += past_step(&classifier->past, now_ns);
    if (classifier->config.l7.response_timeout_ns && l7_context_n_pending(classifier->l7))
        for (unsigned i = 0; i < SWEEP; i++) {
            struct stream *stream = stream_table_walk(classifier->streams, &classifier->sweep);

            if (!stream)
                break;
            if (stream->extra->l7)
                l7_timeout(classifier->l7, stream, now_ns);
        }
    if (classifier->lookback)
        atomic_store_explicit(&classifier->span_ns, lookback_span_ns(classifier->lookback),
                              memory_order_relaxed);
    recorder->ops->flush(recorder, now_ns, false);
    return n_done;
}

bool classifier_finish(struct classifier *classifier, uint64_t now_ns)
{
    struct recorder *recorder = classifier->config.recorder;

    take_plan(classifier, now_ns);
    if (now_ns > classifier->now_ns)
        classifier->now_ns = now_ns;
    if (!classifier_ready(classifier) || past_step(&classifier->past, now_ns) ||
        !stream_table_finish(classifier->streams, STREAMS_OF_FINISH))
        return false;
    recorder->ops->flush(recorder, now_ns, true);
    return true;
}

bool classifier_ready(const struct classifier *classifier)
{
    const struct recorder *recorder = classifier->config.recorder;

    return !recorder->ops->ready || recorder->ops->ready(recorder);
}

const struct counters *classifier_counters(const struct classifier *classifier)
{
    return &classifier->counters;
}

const struct l7_counters *classifier_l7_counters(const struct classifier *classifier)
{
    return l7_context_counters(classifier->l7);
}

uint64_t classifier_held(const struct classifier *classifier)
{
    return atomic_load_explicit(&classifier->past.held, memory_order_relaxed);
}

uint64_t classifier_streams_max(const struct classifier *classifier)
{
    return stream_table_max(classifier->streams);
}

uint64_t classifier_streams_open(const struct classifier *classifier)
{
    return stream_table_n(classifier->streams);
}

uint64_t classifier_lookback_span_ns(const struct classifier *classifier)
{
    return atomic_load_explicit(&classifier->span_ns, memory_order_relaxed);
}

static int create_parts(struct classifier *classifier)
{
    const struct classifier_config *config = &classifier->config;
    struct stream_config streams = config->streams;
    struct l7_config l7 = config->l7;
    const struct l7_sink l7_sink = {verdict_entry, verdict_protocol, classifier};
    struct tcp_config tcp = {
        .streams_max = config->streams.max < 65536 ? config->streams.max : 65536,
        .segments_max = config->l7.unbounded ? 1 << 20 : 1 << 17,
        .stream_segments_max = TCP_STREAM_SEGMENTS,
        .stream_bytes_max = TCP_STREAM_BYTES,
        .copy_size = config->lookback_size ? 16 << 20 : 256 << 20,
        .sink = {tcp_data, tcp_gap, classifier},
        .counters = &classifier->counters,
    };
    int err = 0;

    streams.number_first = config->number_base + config->number;
    streams.number_step = config->n_classifiers;
    streams.sink = (struct stream_sink){verdict_ended, classifier};
    streams.counters = &classifier->counters;
    streams.resident = config->resident;
    if (config->lookback_size)
        err = lookback_create(config->lookback_kind, config->lookback_size, config->lookback_ttl_ns,
                              config->resident, &classifier->lookback);
    if (err)
        return err;
    tcp.lookback = classifier->lookback;
    err = stream_table_create(&streams, &classifier->streams);
    if (!err)
        err = tcp_context_create(&tcp, &classifier->tcp);
    l7.streams = classifier->streams;
    if (!err)
        err = l7_context_create(&l7, &l7_sink, &classifier->l7);
    if (!err)
        err = fragment_assembler_create(FRAGMENT_DATAGRAMS, config->hash_seed,
                                        &classifier->counters, &classifier->fragments);
    if (!err)
        err = waiting_create(config->waiting_memory, config->l7.unbounded, &classifier->counters,
                             &classifier->waiting);
    return err;
}

/* Moves to the plan that was published last. Streams follow at their next packet. Pasts that are on
 * the move go where the old plan sent them: they are moved in pieces first, so that no step takes
 * longer than others, and a piece is more than a burst can add: it comes to an end. */
static void take_plan(struct classifier *classifier, uint64_t now_ns)
{
    const struct plan_publication *next =
        atomic_load_explicit(&classifier->published, memory_order_acquire);
    struct recorder *recorder = classifier->config.recorder;
    uint64_t released;

    if (next == classifier->plan || !next)
        return;
    if (classifier->past.n_moves)
        past_step(&classifier->past, now_ns);
    if (classifier->past.n_moves)
        return;
    released = classifier->jobs & ~kfl_plan_jobs(next->plan);
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++) {
        if (!classifier->plan || next->slot_epoch[slot] > classifier->plan->epoch) {
            released |= classifier->plan ? UINT64_C(1) << slot : 0;
            atomic_store_explicit(&classifier->slot_first[slot],
                                  stream_table_next_number(classifier->streams),
                                  memory_order_relaxed);
        }
    }
    l7_context_plan(classifier->l7, next->plan);
    classifier->plan = next;
    recorder->plan = next->plan;
    classifier->jobs = kfl_plan_jobs(next->plan);
    classifier->limited = next->admitted ? kfl_plan_limited(next->plan) : 0;
    if (released)
        recorder->ops->released(recorder, released, now_ns);
    atomic_store_explicit(&classifier->epoch, next->epoch, memory_order_release);
}

/* Which packets of a burst some job may want. */
static unsigned sift(struct classifier *classifier, struct packet *burst, unsigned n,
                     struct packet **ret_wanted)
{
    const struct gate *gate = classifier->plan ? classifier->plan->gate : NULL;
    unsigned n_wanted = 0;

    for (unsigned i = 0; i < n; i++) {
        if (gate && !gate_wants(gate, &burst[i]))
            continue;
        ret_wanted[n_wanted++] = &burst[i];
    }
    if (n_wanted < n) {
        classifier->n_discarded += n - n_wanted;
        counter_add(&classifier->counters, COUNTER_unwanted, n - n_wanted);
    }
    return n_wanted;
}

/* What is behind the headers, when it will be copied. How a long copy goes on the hardware sees. */
static inline void prefetch_bytes(const struct packet *packet)
{
    uint32_t end = packet->caplen <= BYTES_AHEAD ? packet->caplen : 0;

    for (uint32_t at = 64; at < end; at += 64)
        __builtin_prefetch(packet->data + at);
}

static void one_packet(struct classifier *classifier, struct packet *packet, uint32_t hint)
{
    struct stream *stream;
    bool new;

    if (packet->ts_ns > classifier->now_ns)
        classifier->now_ns = packet->ts_ns;
    if (__builtin_expect(packet->flags & (PACKET_MALFORMED | PACKET_NO_IP), 0)) {
        if (packet->flags & PACKET_MALFORMED)
            counter_add(&classifier->counters, COUNTER_malformed, 1);
        if (packet->flags & PACKET_NO_IP) {
            counter_add(&classifier->counters, COUNTER_not_ip, 1);
            classifier->n_discarded++;
            return;
        }
    }
    if (classifier->config.learn)
        dns_names_learn(classifier->config.learn, classifier->config.number, packet);
    stream = stream_find_or_add(classifier->streams, packet, hint, &new);
    if (!stream) {
        no_room(classifier, packet);
        return;
    }
    classifier->later = 1;
    if (new)
        verdict_begin(classifier, stream);
    else if (verdict_is_old(classifier, stream))
        verdict_refresh(classifier, stream);
    else if (stream->flags & STREAM_WANTED && stream->open && verdict_turned(stream))
        verdict_stream(classifier, stream, false);
    if (stream->flags & STREAM_WANTED && stream->open | stream->matched) {
        keep(classifier, stream, packet);
    } else {
        stream->flags &= (uint32_t)~STREAM_WANTED;
        discard(classifier, stream, packet);
    }
    classifier->later = 0;
}

/* The table is full: the packet is asked about alone, by what its headers say. */
static void no_room(struct classifier *classifier, const struct packet *packet)
{
    struct stream *stream = &classifier->spare;
    struct kfl_stream view;
    uint64_t slots = 0;

    if (classifier->plan) {
        stream_view_packet(classifier->streams, packet, stream, &view);
        slots = kfl_plan_stream(classifier->plan->plan, classifier->config.number, &view,
                                classifier->jobs)
                    .matched;
    }
    if (!slots)
        classifier->n_discarded++;
    else if (record(classifier, stream, packet, slots))
        counter_add(&classifier->counters, COUNTER_recorded, 1);
    else
        counter_add(&classifier->counters, COUNTER_drop_no_chunk, 1);
}

/* A packet that nobody wants. Of a stream with many of them the source is told now and then. */
static void discard(struct classifier *classifier, const struct stream *stream,
                    const struct packet *packet)
{
    uint32_t n = stream->packets[0] + stream->packets[1];

    classifier->n_discarded++;
    if (n & (PUSHDOWN_EVERY - 1) || !classifier->config.out || !classifier->plan ||
        stream->tcp >= STREAM_TCP_FIN_CLIENT)
        return;
    pushdown_tell(classifier->config.out,
                  &(struct pushdown_stream){
                      .key = packet->key,
                      .ts_ns = packet->ts_ns,
                      .timeout_ns = stream_timeout_ns(classifier->streams, stream),
                      .epoch = classifier->plan->epoch,
                  });
}

/* A packet that somebody wants, or may want. It is dissected before it is stored: all these stores
 * are on their way to memory for long, and what a dissector writes and reads back would wait behind
 * them. */
static void keep(struct classifier *classifier, struct stream *stream, const struct packet *packet)
{
    struct past *past = &classifier->past;
    uint64_t position = LOOKBACK_NONE, direct;

    if (stream->extra->l7 && !(stream->flags & STREAM_L7_DONE)) {
        if (classifier->lookback && (stream->open || past_moving(stream)))
            position = lookback_next(classifier->lookback, packet->caplen);
        dissect(classifier, stream, packet, position);
    }
    if (past->n_moves)
        past_rescue(past, packet->caplen, packet->ts_ns);
    direct = stream->matched & ~past_slots(past, stream);
    if (direct)
        counter_add(&classifier->counters,
                    record(classifier, stream, packet, direct) ? COUNTER_recorded
                                                               : COUNTER_drop_no_chunk,
                    1);
    /* Reassembly may have been told where the packet will be: there it has to be. */
    if (stream->open || past_moving(stream) || (position != LOOKBACK_NONE && stream->extra->l7)) {
        uint64_t at;

        stream_extend(classifier->streams, stream);
        at = past_append(past, stream, packet, direct != 0);
        ensure(at == position || position == LOOKBACK_NONE);
    } else if (!direct) { /* it was the last one that somebody waited for */
        classifier->n_discarded++;
    }
    classifier->later = 0;
    if (classifier->depth < STREAM_EXTRA)
        classifier->depth = stream->extra == stream_no_extra ? STREAM_VERDICT : STREAM_EXTRA;
}

/* -> some job has it. */
static bool record(struct classifier *classifier, const struct stream *stream,
                   const struct packet *packet, uint64_t slots)
{
    struct pcapng_packet block = {
        .data = packet->data,
        .ts_ns = packet->ts_ns,
        .caplen = packet->caplen,
        .origlen = packet->origlen,
        .interface = packet->interface,
    };

    return recorder_packet(classifier->config.recorder, slots, stream, packet->sender, &block);
}

static void dissect(struct classifier *classifier, struct stream *stream,
                    const struct packet *packet, uint64_t position)
{
    if (__builtin_expect(packet->flags & PACKET_FRAGMENT, 0)) {
        packet = fragment_assemble(classifier->fragments, packet);
        position = LOOKBACK_NONE;
        if (!packet)
            return;
    }
    dissect_whole(classifier, stream, packet, position);
    if (stream->open && verdict_turned(stream))
        verdict_stream(classifier, stream, false);
}

static void dissect_whole(struct classifier *classifier, struct stream *stream,
                          const struct packet *packet, uint64_t position)
{
    enum kfl_side side = stream_side(stream, packet->sender);
    uint32_t from = packet->payload, size = packet->payload_size;

    if (stream->l4 == KFL_L4_TCP) {
        tcp_segment(classifier->tcp, stream, packet, position);
        return;
    }
    if (stream->l4 == KFL_L4_SCTP) { /* from its common header on */
        size += from - packet->l4;
        from = packet->l4;
    }
    if (size)
        l7_datagram(classifier->l7, stream, side, packet->data + from, size, packet->ts_ns);
}

static void tcp_data(void *context, struct stream *stream, enum kfl_side side, const uint8_t *data,
                     size_t size, uint64_t ts_ns)
{
    struct classifier *classifier = context;

    if (stream->extra->l7)
        l7_data(classifier->l7, stream, side, data, size, ts_ns);
}

static void tcp_gap(void *context, struct stream *stream, enum kfl_side side, uint64_t size)
{
    struct classifier *classifier = context;

    if (stream->extra->l7)
        l7_gap(classifier->l7, stream, side, size);
}
