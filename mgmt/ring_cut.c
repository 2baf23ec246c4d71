#include "ring_cut.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../kfl-jit/ensure.h"
#include "../writer/segment_source.h"

enum {
    FOLDER_SIZE = 1024,
    STREAMS_MAX = 1 << 24,
    BURST_CHUNKS = 20, /* what one step can fill at most */
    PAUSE_NS = 20 * 1000 * 1000,
    TABLE_FIRST = 1 << 12,
};
static const uint64_t l7_bytes = 64 << 20, waiting_bytes = 16 << 20;

/* A stream that has packets in the window. */
struct chosen {
    uint64_t number;
    uint64_t copied; /* the place up to which its packets are taken */
    bool used, matched;
};

struct ring_cut {
    struct ring_cut_config config;
    char folder[FOLDER_SIZE];
    pthread_t thread;
    struct segment_source *judge_source, *copier_source;
    struct pipeline *judge, *copier;
    struct kfl_statement *everything;
    struct recorder verdicts;        /* of the judge */
    struct recorder packet_recorder; /* of the copier: packets alone */
    bool looking;                    /* the first walk: which streams are in the window */
    struct chosen *table;
    uint64_t table_mask, n_chosen;
    bool more;      /* since the last copy: a match, or packets of a stream that has matched */
    uint64_t begin; /* ... and from which place on */
    atomic_bool stop;
    atomic_bool leave; /* at once: what is not taken yet is given up */
    atomic_bool done;
    _Atomic int error;
    _Atomic uint64_t held_from_ns, streams, packets;
    _Atomic unsigned lost_segments;
};

static void *run(void *context);
static int open_sources(struct ring_cut *cut);
static int open_pipeline(struct ring_cut *cut, struct segment_source *source,
                         const struct kfl_statement *statement, bool whole,
                         struct recorder *recorder, struct pipeline **ret_pipeline);
static bool wanted_by_judge(void *context, const struct chunk_stream *stream, uint64_t place);
static bool wanted_by_copier(void *context, const struct chunk_stream *stream, uint64_t place);
static bool is_of_the_past(const struct ring_cut *cut, uint64_t number);
static bool step(struct ring_cut *cut, struct pipeline *pipeline);
static void judge_all(struct ring_cut *cut);
static void copy(struct ring_cut *cut, uint64_t until);
static void match(struct ring_cut *cut, uint64_t number);
static struct chosen *find(struct ring_cut *cut, uint64_t number);
static struct chosen *add(struct ring_cut *cut, uint64_t number);
static void stop_source(struct segment_source *source);
static void pause_a_little(void);

/* ---- the judge's recorder: verdicts alone ---- */

static uint8_t *op_reserve(struct recorder *recorder, unsigned slot, uint32_t size,
                           uint16_t interface)
{
    return NULL; /* it wants no packets */
}

static void op_commit(struct recorder *recorder, unsigned slot, const struct stream *stream,
                      uint64_t ts_ns, uint32_t origlen, uint16_t interface)
{
}

static struct ring_cut *cut_of(struct recorder *verdicts)
{
    return (struct ring_cut *)((char *)verdicts - offsetof(struct ring_cut, verdicts));
}

/* The entry goes into the job's list; redact() is the judge's plan's to know. */
static void op_entry(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     const struct kfl_entry *entry)
{
    struct ring_cut *cut = cut_of(recorder);
    struct recorder *chunks = cut->config.recorder;
    const struct kfl_plan *plan = chunks->plan;

    match(cut, stream->number);
    chunks->plan = recorder->plan;
    chunks->ops->entry(chunks, slots, stream, entry);
    chunks->plan = plan;
}

static void op_matched(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                       uint32_t missing, uint64_t ts_ns)
{
    match(cut_of(recorder), stream->number);
}

static void op_ended(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     const struct kfl_stream *view)
{
    if (slots)
        match(cut_of(recorder), stream->number);
}

static void op_released(struct recorder *recorder, uint64_t slots, uint64_t now_ns)
{
}

static void op_flush(struct recorder *recorder, uint64_t now_ns, bool all)
{
}

static const struct recorder_ops verdict_ops = {
    .reserve = op_reserve,
    .commit = op_commit,
    .entry = op_entry,
    .matched = op_matched,
    .ended = op_ended,
    .released = op_released,
    .flush = op_flush,
};

/* ---- the copier's: to the chunks, but for entries, which are the judge's ---- */

static struct recorder *chunks_of(struct recorder *recorder)
{
    struct ring_cut *cut =
        (struct ring_cut *)((char *)recorder - offsetof(struct ring_cut, packet_recorder));

    return cut->config.recorder;
}

static uint8_t *copy_reserve(struct recorder *recorder, unsigned slot, uint32_t size,
                             uint16_t interface)
{
    struct recorder *chunks = chunks_of(recorder);

    return chunks->ops->reserve(chunks, slot, size, interface);
}

static void copy_commit(struct recorder *recorder, unsigned slot, const struct stream *stream,
                        uint64_t ts_ns, uint32_t origlen, uint16_t interface)
{
    struct recorder *chunks = chunks_of(recorder);

    chunks->streams = recorder->streams;
    chunks->ops->commit(chunks, slot, stream, ts_ns, origlen, interface);
}

static void copy_entry(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                       const struct kfl_entry *entry)
{
}

static void copy_matched(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                         uint32_t missing, uint64_t ts_ns)
{
    struct recorder *chunks = chunks_of(recorder);

    chunks->ops->matched(chunks, slots, stream, missing, ts_ns);
}

static void copy_ended(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                       const struct kfl_stream *view)
{
    struct recorder *chunks = chunks_of(recorder);

    chunks->ops->ended(chunks, slots, stream, view);
}

static const struct recorder_ops copy_ops = {
    .reserve = copy_reserve,
    .commit = copy_commit,
    .entry = copy_entry,
    .matched = copy_matched,
    .ended = copy_ended,
    .released = op_released,
    .flush = op_flush, /* copy() does it */
};

/* ---- */

int ring_cut_start(const struct ring_cut_config *config, struct ring_cut **ret_cut)
{
    struct ring_cut *cut = calloc(1, sizeof(*cut));
    int err;

    if (!cut)
        return -ENOMEM;
    cut->config = *config;
    snprintf(cut->folder, sizeof(cut->folder), "%s", config->folder);
    cut->config.folder = cut->folder;
    cut->verdicts = (struct recorder){.ops = &verdict_ops};
    cut->packet_recorder = (struct recorder){.ops = &copy_ops, .wants_packets = true};
    atomic_store_explicit(&cut->held_from_ns, UINT64_MAX, memory_order_relaxed);
    cut->table_mask = TABLE_FIRST - 1;
    cut->table = calloc(TABLE_FIRST, sizeof(cut->table[0]));
    err = cut->table ? kfl_statement_create("", 0, 0, &cut->everything, NULL) : -ENOMEM;
    if (!err)
        err = -pthread_create(&cut->thread, NULL, run, cut);
    if (err) {
        kfl_statement_free(cut->everything);
        free(cut->table);
        free(cut);
        return err;
    }
    *ret_cut = cut;
    return 0;
}

void ring_cut_stop(struct ring_cut *cut)
{
    atomic_store_explicit(&cut->stop, true, memory_order_release);
}

void ring_cut_look(const struct ring_cut *cut, struct ring_cut_report *ret_report)
{
    *ret_report = (struct ring_cut_report){
        .done = atomic_load_explicit(&cut->done, memory_order_acquire),
        .error = atomic_load_explicit(&cut->error, memory_order_relaxed),
        .held_from_ns = atomic_load_explicit(&cut->held_from_ns, memory_order_relaxed),
        .streams = atomic_load_explicit(&cut->streams, memory_order_relaxed),
        .packets = atomic_load_explicit(&cut->packets, memory_order_relaxed),
        .lost_segments = atomic_load_explicit(&cut->lost_segments, memory_order_relaxed),
    };
}

void ring_cut_free(struct ring_cut *cut)
{
    if (!cut)
        return;
    atomic_store_explicit(&cut->leave, true, memory_order_release);
    pthread_join(cut->thread, NULL);
    kfl_statement_free(cut->everything);
    free(cut->table);
    free(cut);
}

static void *run(void *context)
{
    struct ring_cut *cut = context;
    struct recorder *recorder = cut->config.recorder;
    int err = open_sources(cut);

    if (!err)
        err = open_pipeline(cut, cut->judge_source, cut->config.statement, true, &cut->verdicts,
                            &cut->judge);
    if (!err)
        err = open_pipeline(cut, cut->copier_source, cut->everything, false, &cut->packet_recorder,
                            &cut->copier);
    if (!err)
        judge_all(cut);
    atomic_store_explicit(&cut->error, err, memory_order_relaxed);
    recorder->ops->released(recorder, UINT64_C(1) << cut->config.slot, 0);
    pipeline_free(cut->judge);
    pipeline_free(cut->copier);
    if (cut->judge_source)
        source_close(segment_source_base(cut->judge_source));
    if (cut->copier_source)
        source_close(segment_source_base(cut->copier_source));
    recorder->plan = NULL;
    atomic_store_explicit(&cut->done, true, memory_order_release);
    return NULL;
}

static int open_sources(struct ring_cut *cut)
{
    struct segment_source_config config = {
        .folder = cut->folder, .recording = RING_NAME, .wanted = wanted_by_judge, .context = cut};
    int err = segment_source_open(&config, 0, &cut->judge_source);

    config.wanted = wanted_by_copier;
    return err ? err : segment_source_open(&config, 0, &cut->copier_source);
}

static int open_pipeline(struct ring_cut *cut, struct segment_source *source,
                         const struct kfl_statement *statement, bool whole,
                         struct recorder *recorder, struct pipeline **ret_pipeline)
{
    struct source *base = segment_source_base(source);
    const struct kfl_plan_job job = {.slot = cut->config.slot, .statement = statement};
    struct pipeline_config config = {
        .sources = &base,
        .n_sources = 1,
        .n_classifiers = 1,
        .recorders = &recorder,
        .classifier = {.streams = cut->config.streams,
                       .l7 = {.memory = l7_bytes, .unbounded = true},
                       .waiting_memory = waiting_bytes},
    };
    struct stream_config *streams = &config.classifier.streams;
    struct kfl_messages messages = {0};
    struct kfl_plan *plan;
    unsigned culprit;
    int err;

    if (getrandom(&config.hash_seed, sizeof(config.hash_seed), 0) < 0)
        return -errno;
    streams->max = STREAMS_MAX;
    streams->grow = true;
    streams->recorded = true;
    streams->names = (struct stream_name_source){segment_source_name, source};
    if (!whole)
        config.classifier.lookback_size = 1 << 20; /* nothing gets there: all matches at once */
    if (!whole) /* it only tells streams apart, and their numbers do that */
        streams->timeout_ns_tcp = streams->timeout_ns_tcp_open = streams->timeout_ns_udp =
            streams->timeout_ns_icmp = streams->timeout_ns_other = 0;
    err = pipeline_create(&config, ret_pipeline);
    if (!err)
        err = kfl_plan_create(&job, 1, 1, whole, &plan, &culprit, &messages);
    return err ? err : pipeline_publish(*ret_pipeline, plan, kfl_plan_jobs(plan));
}

/* ---- the run ---- */

static void judge_all(struct ring_cut *cut)
{
    struct packet packets[1];
    struct source *source = segment_source_base(cut->judge_source);

    atomic_store_explicit(&cut->held_from_ns, segment_source_oldest_ns(cut->judge_source),
                          memory_order_relaxed);
    /* Which streams: asked of the indexes alone, nothing is wanted yet. */
    cut->looking = true;
    do {
        if (source_base(source)->ops->rx(source, 0, packets, 1) == 0 &&
            !segment_source_idle(cut->judge_source))
            pause_a_little();
    } while (!segment_source_idle(cut->judge_source));
    cut->looking = false;
    segment_source_rewind(cut->judge_source, 0, UINT64_MAX);
    for (;;) {
        bool stop = atomic_load_explicit(&cut->stop, memory_order_acquire);
        bool work = step(cut, cut->judge);

        if (atomic_load_explicit(&cut->leave, memory_order_acquire)) {
            stop_source(cut->judge_source);
            break;
        }
        if (work && !segment_source_idle(cut->judge_source))
            continue;
        if (segment_source_idle(cut->judge_source)) {
            if (cut->more)
                copy(cut, segment_source_place(cut->judge_source));
            if (stop || !cut->config.follow)
                break;
        }
        pause_a_little();
    }
    /* Streams end here: what was not answered yet is asked about now. */
    segment_source_finish(cut->judge_source);
    while (!pipeline_done(cut->judge))
        step(cut, cut->judge);
    if (atomic_load_explicit(&cut->leave, memory_order_acquire))
        stop_source(cut->copier_source);
    else
        copy(cut, segment_source_place(cut->judge_source));
    segment_source_finish(cut->copier_source);
    while (!pipeline_done(cut->copier))
        step(cut, cut->copier);
    cut->config.recorder->ops->flush(cut->config.recorder, 0, true);
    atomic_store_explicit(&cut->lost_segments, segment_source_lost_segments(cut->copier_source),
                          memory_order_relaxed);
}

/* The packets of streams that have matched, up to where the judge is. */
static void copy(struct ring_cut *cut, uint64_t until)
{
    struct recorder *recorder = cut->config.recorder;
    uint64_t value[COUNTER_COUNT];

    segment_source_rewind(cut->copier_source, cut->begin, until);
    do {
        if (!step(cut, cut->copier))
            pause_a_little();
    } while (!segment_source_idle(cut->copier_source));
    for (uint64_t i = 0; i <= cut->table_mask; i++)
        if (cut->table[i].matched)
            cut->table[i].copied = until;
    cut->more = false;
    cut->begin = until;
    recorder->ops->flush(recorder, 0, true);
    pipeline_counters(cut->copier, value);
    atomic_store_explicit(&cut->packets, value[COUNTER_rx], memory_order_relaxed);
}

/* The writer is waited for: what comes from a disk is never dropped. */
static bool step(struct ring_cut *cut, struct pipeline *pipeline)
{
    unsigned n, free_now = chunk_free(cut->config.pool, cut->config.classifier, &n);

    if (free_now < n / 2 && free_now < BURST_CHUNKS) {
        cut->config.recorder->ops->flush(cut->config.recorder, 0, true);
        pause_a_little();
        return true;
    }
    return pipeline_step(pipeline) > 0;
}

static bool wanted_by_judge(void *context, const struct chunk_stream *stream, uint64_t place)
{
    struct ring_cut *cut = context;
    struct chosen *chosen = find(cut, stream->number);

    if (!chosen && is_of_the_past(cut, stream->number) && stream->last_ns >= cut->config.from_ns &&
        stream->first_ns <= cut->config.to_ns)
        chosen = add(cut, stream->number);
    if (cut->looking)
        return false;
    if (chosen && chosen->matched)
        cut->more = true;
    return chosen;
}

static bool wanted_by_copier(void *context, const struct chunk_stream *stream, uint64_t place)
{
    const struct chosen *chosen = find(context, stream->number);

    return chosen && chosen->matched && place >= chosen->copied;
}

static bool is_of_the_past(const struct ring_cut *cut, uint64_t number)
{
    const struct ring_cut_config *config = &cut->config;

    return !config->n_classifiers || number < config->number_base ||
           number < config->seam[(number - config->number_base) % config->n_classifiers];
}

static void match(struct ring_cut *cut, uint64_t number)
{
    struct chosen *chosen = find(cut, number);

    if (!chosen || chosen->matched)
        return;
    chosen->matched = true;
    cut->more = true;
    cut->begin = 0; /* its first packets may be anywhere: the index knows */
    atomic_store_explicit(&cut->streams,
                          atomic_load_explicit(&cut->streams, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* ---- the table ---- */

static struct chosen *place_of(struct ring_cut *cut, uint64_t number)
{
    uint64_t at = (number * UINT64_C(0x9e3779b97f4a7c15) >> 20) & cut->table_mask;

    while (cut->table[at].used && cut->table[at].number != number)
        at = (at + 1) & cut->table_mask;
    return &cut->table[at];
}

static struct chosen *find(struct ring_cut *cut, uint64_t number)
{
    struct chosen *chosen = place_of(cut, number);

    return chosen->used ? chosen : NULL;
}

static struct chosen *add(struct ring_cut *cut, uint64_t number)
{
    struct chosen *chosen;

    if (2 * cut->n_chosen > cut->table_mask) {
        struct chosen *old = cut->table;
        uint64_t n_old = cut->table_mask + 1;

        cut->table = calloc(2 * n_old, sizeof(cut->table[0]));
        ensure(cut->table);
        cut->table_mask = 2 * n_old - 1;
        for (uint64_t i = 0; i < n_old; i++)
            if (old[i].used)
                *place_of(cut, old[i].number) = old[i];
        free(old);
    }
    chosen = place_of(cut, number);
    *chosen = (struct chosen){.number = number, .used = true};
    cut->n_chosen++;
    return chosen;
}

static void stop_source(struct segment_source *source)
{
    struct source *base = segment_source_base(source);

    source_base(base)->ops->stop(base);
}

static void pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};

    nanosleep(&pause, NULL);
}
