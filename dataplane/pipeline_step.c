/* pipeline_step.c - the loops' bodies: receive, classify, write. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "decode.h"
#include "pipeline_private.h"

static unsigned receive(struct rx *rx, struct unit *unit, unsigned *ret_in,
                        struct packet **ret_burst);
static void decode_pieces(struct rx *rx, unsigned n);
static void unit_end(struct unit *unit, int error);
static bool rx_all_ended(const struct rx *rx);
static unsigned rx_room(struct rx *rx);
static void distribute(struct rx *rx, struct unit *unit, struct packet *burst, unsigned n);
static unsigned take_back(struct rx *rx);
static void give_back(struct rx *rx, const struct packet *packets, unsigned n);
static bool may_classify(const struct worker *worker);
static unsigned classify_lane(struct worker *worker, struct lane *lane);
static void release(struct unit *unit, const struct packet *packets, unsigned n);
static struct unit *next_unit(struct rx *rx);
static bool worker_drained(const struct worker *worker);
static uint64_t now(const struct worker *worker);
static unsigned finish_or_tick(struct worker *worker, bool drained);
static unsigned counted(struct counters *counters, unsigned n_done);

unsigned pipeline_rx_step(void *role)
{
    struct rx *rx = role;
    struct packet *burst;
    struct unit *unit;
    unsigned n_done = take_back(rx), n, n_in;

    unit = next_unit(rx);
    if (unit && (source_base(unit->source)->ops->live ||
                 rx_room(rx) > sizeof(rx->out) / sizeof(rx->out[0]))) {
        n = receive(rx, unit, &n_in, &burst);
        distribute(rx, unit, burst, n);
        n_done += n_in;
    }
    if (!unit && rx_all_ended(rx))
        atomic_store_explicit(&rx->ended, true, memory_order_release);
    return counted(&rx->counters, n_done);
}

unsigned pipeline_worker_step(void *role)
{
    struct worker *worker = role;
    struct pipeline *pipeline = worker->pipeline;
    unsigned n_done = 0;

    if (atomic_load_explicit(&worker->done, memory_order_relaxed))
        return 0;
    for (unsigned i = 0; i < pipeline->n_rx && may_classify(worker); i++)
        n_done += classify_lane(worker, &pipeline->rx[i].lanes[worker->number]);
    n_done += finish_or_tick(worker, !n_done && worker_drained(worker));
    return counted(&worker->counters, n_done);
}

unsigned pipeline_combined_step(void *role)
{
    struct pipeline *pipeline = role;
    struct worker *worker = &pipeline->workers[0];
    struct rx *rx = &pipeline->rx[0];
    struct unit *unit = next_unit(rx);
    struct packet *burst;
    unsigned n_done = 0, n;

    if (atomic_load_explicit(&worker->done, memory_order_relaxed))
        return 0;
    if (unit && may_classify(worker)) {
        n = receive(rx, unit, &n_done, &burst);
        if (n) {
            classifier_burst(worker->classifier, burst, n);
            worker->now_ns = burst[n - 1].ts_ns;
            release(unit, burst, n);
        }
    }
    n_done += finish_or_tick(worker, !unit && rx_all_ended(rx));
    return counted(&rx->counters, n_done);
}

unsigned pipeline_writer_step(void *role)
{
    struct pipeline *pipeline = role;

    return pipeline->config.writer_step(pipeline->config.writer_context);
}

/* One burst, decoded. *ret_in: packets taken from the source. -> packets to classify (fragments may
 * wait, or come that have waited); they lie in rx->in or rx->out. */
static unsigned receive(struct rx *rx, struct unit *unit, unsigned *ret_in,
                        struct packet **ret_burst)
{
    const struct source_ops *ops = source_base(unit->source)->ops;
    int n = ops->rx(unit->source, unit->queue, rx->in, PACKET_BURST);
    uint64_t bytes = 0, now_ns = 0;
    bool end = n < 0;
    unsigned n_out, held;

    if (end) {
        unit_end(unit, n == -ENODATA ? 0 : n);
        n = 0;
    }
    *ret_in = (unsigned)n;
    *ret_burst = rx->in;
    held = fragment_held(unit->fragments);
    if (!n && !held)
        return 0;
    decode_pieces(rx, (unsigned)n);
    for (int i = 0; i < n; i++)
        bytes += rx->in[i].origlen;
    counter_add(&rx->counters, COUNTER_rx, (uint64_t)n);
    counter_add(&rx->counters, COUNTER_rx_bytes, bytes);
    atomic_store_explicit(&unit->rx, atomic_load_explicit(&unit->rx, memory_order_relaxed) + n,
                          memory_order_relaxed);
    atomic_store_explicit(&unit->rx_bytes,
                          atomic_load_explicit(&unit->rx_bytes, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
    if (!held && !fragment_any(rx->in, (unsigned)n))
        return (unsigned)n;
    *ret_burst = rx->out;
    if (n)
        now_ns = rx->in[n - 1].ts_ns;
    else if (ops->live)
        now_ns = now(&rx->pipeline->workers[0]);
    n_out = fragment_burst(unit->fragments, rx->in, (unsigned)n, rx->out, now_ns, end);
    atomic_store_explicit(&unit->fragments_held, fragment_held(unit->fragments),
                          memory_order_relaxed);
    return n_out;
}

/* In pieces, so that while one is decoded the next one's headers are on their way, and the places
 * of the streams of the one before. */
static void decode_pieces(struct rx *rx, unsigned n)
{
    enum { PIECE = 8 };

    for (unsigned at = 0; at < n; at += PIECE) {
        struct packet *piece = rx->in + at;
        unsigned n_piece = n - at < PIECE ? n - at : PIECE;

        for (unsigned i = at + PIECE; i < n && i < at + 2 * PIECE; i++)
            __builtin_prefetch(rx->in[i].data);
        decode_burst(piece, n_piece, rx->pipeline->config.hash_seed);
        if (!rx->pipeline->config.n_rx)
            classifier_prefetch(rx->pipeline->workers[0].classifier, piece, n_piece);
    }
}

static void unit_end(struct unit *unit, int error)
{
    atomic_store_explicit(&unit->error, error, memory_order_relaxed);
    atomic_store_explicit(&unit->ended, true, memory_order_release);
}

static bool rx_all_ended(const struct rx *rx)
{
    for (unsigned i = 0; i < rx->n_units; i++)
        if (!atomic_load_explicit(&rx->units[i]->ended, memory_order_relaxed))
            return false;
    return true;
}

/* The queue whose turn it is, or null. */
static struct unit *next_unit(struct rx *rx)
{
    for (unsigned i = 0; i < rx->n_units; i++) {
        struct unit *unit = rx->units[rx->next_unit];

        if (atomic_load_explicit(&unit->ended, memory_order_relaxed) ||
            !rx->pipeline->config.one_by_one)
            rx->next_unit = rx->next_unit + 1 < rx->n_units ? rx->next_unit + 1 : 0;
        if (!atomic_load_explicit(&unit->ended, memory_order_relaxed))
            return unit;
    }
    return NULL;
}

/* Packets that fit into every ring. */
static unsigned rx_room(struct rx *rx)
{
    unsigned room = UINT32_MAX;

    for (unsigned i = 0; i < rx->pipeline->config.n_classifiers; i++) {
        uint32_t first;
        uint32_t n = ring_reserve(&rx->lanes[i].forward, rx->lanes[i].forward.mask + 1, &first);

        room = n < room ? n : room;
    }
    return room;
}

/* Both directions of a stream have the same hash, so they meet in the same classifier. */
static void distribute(struct rx *rx, struct unit *unit, struct packet *burst, unsigned n)
{
    unsigned n_classifiers = rx->pipeline->config.n_classifiers;
    unsigned n_pushed[PIPELINE_CLASSIFIER_MAX] = {0};

    for (unsigned i = 0; i < n; i++) {
        struct packet *packet = &burst[i];
        unsigned to = (unsigned)((uint64_t)packet->hash * n_classifiers >> 32);
        struct ring *ring = &rx->lanes[to].forward;
        uint32_t first;

        if (ring_reserve(ring, n_pushed[to] + 1, &first) > n_pushed[to]) {
            memcpy(ring_at(ring, first + n_pushed[to]), packet, sizeof(*packet));
            n_pushed[to]++;
        } else {
            counter_add(&rx->counters, COUNTER_drop_ring, 1);
            release(unit, packet, 1);
        }
    }
    for (unsigned i = 0; i < n_classifiers; i++)
        if (n_pushed[i]) {
            ring_push(&rx->lanes[i].forward, n_pushed[i]);
            pipeline_wake(&rx->pipeline->workers[i]);
        }
}

/* Packets that classifiers are through with. */
static unsigned take_back(struct rx *rx)
{
    unsigned n_done = 0;

    for (unsigned i = 0; i < rx->pipeline->config.n_classifiers; i++) {
        struct ring *ring = &rx->lanes[i].back;
        uint32_t first, n = ring_peek(ring, PACKET_BURST, &first);

        for (uint32_t k = 0; k < n; k++)
            memcpy(&rx->in[k], ring_at(ring, first + k), sizeof(struct returned));
        if (!n)
            continue;
        ring_pop(ring, n);
        give_back(rx, rx->in, n);
        n_done += n;
    }
    return n_done;
}

static void give_back(struct rx *rx, const struct packet *packets, unsigned n)
{
    for (unsigned i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && packets[i + run].source == packets[i].source &&
                      packets[i + run].queue == packets[i].queue;)
            run++;
        for (unsigned u = 0; u < rx->n_units; u++)
            if (source_base(rx->units[u]->source)->number == packets[i].source &&
                rx->units[u]->queue == packets[i].queue) {
                release(rx->units[u], packets + i, run);
                break;
            }
    }
}

static void release(struct unit *unit, const struct packet *packets, unsigned n)
{
    source_base(unit->source)->ops->release(unit->source, unit->queue, packets, n);
}

/* Files wait while the disk is behind, what is live never does. */
static bool may_classify(const struct worker *worker)
{
    return worker->pipeline->live || classifier_ready(worker->classifier);
}

/* A burst out of one ring, classified where it lies. */
static unsigned classify_lane(struct worker *worker, struct lane *lane)
{
    uint32_t first, back, n = ring_peek(&lane->forward, PACKET_BURST, &first);
    uint32_t to_end = lane->forward.mask + 1 - (first & lane->forward.mask);
    uint32_t room = ring_reserve(&lane->back, PACKET_BURST, &back);
    struct packet *burst = ring_at(&lane->forward, first);

    n = n < to_end ? n : to_end;
    n = n < room ? n : room;
    if (!n)
        return 0;
    classifier_prefetch(worker->classifier, burst, n);
    classifier_burst(worker->classifier, burst, n);
    worker->now_ns = burst[n - 1].ts_ns;
    for (uint32_t i = 0; i < n; i++)
        memcpy(ring_at(&lane->back, back + i), &burst[i], sizeof(struct returned));
    ring_push(&lane->back, n);
    ring_pop(&lane->forward, n);
    return n;
}

/* Will no packet come any more? */
static bool worker_drained(const struct worker *worker)
{
    const struct pipeline *pipeline = worker->pipeline;

    for (unsigned i = 0; i < pipeline->n_rx; i++)
        if (!atomic_load_explicit(&pipeline->rx[i].ended, memory_order_acquire) ||
            ring_fill(&pipeline->rx[i].lanes[worker->number].forward))
            return false;
    return true;
}

static unsigned finish_or_tick(struct worker *worker, bool drained)
{
    if (!drained)
        return classifier_tick(worker->classifier, now(worker));
    if (classifier_finish(worker->classifier, now(worker)))
        atomic_store_explicit(&worker->done, true, memory_order_release);
    return 1;
}

static uint64_t now(const struct worker *worker)
{
    struct timespec time;

    if (!worker->pipeline->live)
        return worker->now_ns;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static unsigned counted(struct counters *counters, unsigned n_done)
{
    counter_add(counters, COUNTER_steps, 1);
    if (!n_done)
        counter_add(counters, COUNTER_steps_idle, 1);
    return n_done;
}
