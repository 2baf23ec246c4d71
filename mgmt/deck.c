#include "deck.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../dataplane/pipeline.h"
#include "../kfl-jit/ensure.h"
#include "../writer/chunk_recorder.h"
#include "../writer/writer.h"
#include "deck_ring.h"
#include "log.h"
#include "numbers.h"
#include "recording.h"
#include "stats.h"
#include "units.h"

enum slot_state { SLOT_FREE, SLOT_IN_USE, SLOT_LEAVING, SLOT_CLOSING };

enum { STREAMS_MIN = 1024, WAITING_SHARE = 8, CORES_MAX = 2 * CONF_LIST_MAX + 1 };

static const uint64_t stop_ns_max = 60 * NS_PER_S;    /* a disk that answers no more */
static const uint64_t gather_ns_max = 30 * NS_PER_MS; /* full chunks wait for others, of `flush` */

/* What its job takes out of the ring. */
enum past_state { PAST_NONE, PAST_WANTED, PAST_RUNNING };

struct slot {
    enum slot_state state;
    struct job *job;
    bool saturated;
    bool failed; /* told */
    enum past_state past;
};

struct deck {
    char store[JOB_PATH_SIZE];
    struct deck_events events;
    bool whole_entries;
    struct source *sources[CONF_SOURCES_MAX];
    unsigned n_sources;
    struct writer *writer;
    struct recorder *recorders[PIPELINE_CLASSIFIER_MAX];
    unsigned n_classifiers;
    struct pipeline *pipeline;
    bool started, stopped;
    struct slot slots[KFL_SLOT_MAX];
    struct numbers *numbers;
    struct deck_ring ring;
    struct stream_config streams; /* as the live classifiers have it */
    struct kfl_statement *never;  /* matches nothing: for jobs that have reached their limit */
};

static int open_sources(struct deck *deck, const struct conf *conf, char *reterr_text);
static int open_writer(struct deck *deck, const struct conf *conf, char *reterr_text);
static int open_pipeline(struct deck *deck, const struct conf *conf, struct names_board *names,
                         char *reterr_text);
static int count_threads(const struct conf *conf, unsigned *ret_rx, unsigned *ret_classifiers,
                         char *reterr_text);
static int publish(struct deck *deck, uint64_t changed, char *reterr_text);
static void cuts_step(struct deck *deck);
static void begin_cut(struct deck *deck, struct slot *slot);
static void detach_those_left(struct deck *deck);
static void take_events(struct deck *deck);
static uint64_t next_number(const struct deck *deck);
static unsigned turn_writer(void *context);
static void wait_for_writes(void *context, uint64_t timeout_ns);
static uint64_t now_ns(clockid_t clock);

static int job_begin(void *context, struct job *job, char reterr_text[static JOB_ERROR_SIZE]);
static void job_end(void *context, struct job *job);
static void job_saturate(void *context, struct job *job);
static int job_release_space(void *context, struct job *job, uint64_t bytes);
static void count_job(void *context, const struct job *job, struct job_counts *ret_counts);

const struct job_ops deck_job_ops = {.begin = job_begin,
                                     .end = job_end,
                                     .counts = count_job,
                                     .saturate = job_saturate,
                                     .release = job_release_space};

const char deck_no_ring[] = "there is no ring to take the past from: set storage.ring_size in the "
                            "configuration and restart; from then on it is kept";

int deck_open(const struct conf *conf, const char *store, struct names_board *names,
              const struct deck_events *events, struct deck **ret_deck,
              char reterr_text[static DECK_ERROR_SIZE])
{
    struct deck *deck = calloc(1, sizeof(*deck));
    int err;

    if (!deck)
        return -ENOMEM;
    snprintf(deck->store, sizeof(deck->store), "%s", store);
    deck->events = *events;
    deck->whole_entries = !strcmp(conf->entries, "whole");
    err = kfl_statement_create("false", 5, 0, &deck->never, NULL);
    ensure(!err);
    err = numbers_open(store, &deck->numbers, reterr_text, DECK_ERROR_SIZE);
    if (!err)
        err = deck_ring_init(&deck->ring, conf, store, reterr_text, DECK_ERROR_SIZE);
    if (!err)
        err = open_sources(deck, conf, reterr_text);
    if (!err)
        err = open_writer(deck, conf, reterr_text);
    if (!err)
        err = open_pipeline(deck, conf, names, reterr_text);
    if (!err)
        err = publish(deck, deck->ring.on ? UINT64_C(1) << DECK_RING_SLOT : 0, reterr_text);
    if (err) {
        deck_close(deck);
        return err;
    }
    *ret_deck = deck;
    return 0;
}

int deck_start(struct deck *deck, char reterr_text[static DECK_ERROR_SIZE])
{
    int err = pipeline_start(deck->pipeline);

    if (err)
        snprintf(reterr_text, DECK_ERROR_SIZE, "the threads cannot be started: %s", strerror(-err));
    else
        deck->started = true;
    return err;
}

void deck_stop(struct deck *deck)
{
    uint64_t until_ns = now_ns(CLOCK_MONOTONIC) + stop_ns_max;
    bool waiting = true;

    if (!deck->started || deck->stopped)
        return;
    deck->stopped = true; /* from here on ended slots are not told */
    deck_ring_stop(&deck->ring);
    pipeline_stop(deck->pipeline);
    pipeline_wait(deck->pipeline);
    for (unsigned i = 0; i < KFL_SLOT_MAX; i++)
        if (deck->slots[i].state == SLOT_IN_USE || deck->slots[i].state == SLOT_LEAVING) {
            deck->slots[i].state = SLOT_CLOSING;
            writer_detach(deck->writer, i);
        }
    while (waiting && now_ns(CLOCK_MONOTONIC) < until_ns) {
        if (!turn_writer(deck))
            writer_wait(deck->writer, 10 * NS_PER_MS);
        take_events(deck);
        waiting = false;
        for (unsigned i = 0; i < KFL_SLOT_MAX; i++)
            waiting |= deck->slots[i].state == SLOT_CLOSING;
    }
}

void deck_close(struct deck *deck)
{
    if (!deck)
        return;
    numbers_close(deck->numbers, deck->pipeline ? next_number(deck) : 0);
    if (deck->pipeline)
        pipeline_free(deck->pipeline);
    for (unsigned i = 0; i < deck->n_classifiers; i++)
        if (deck->recorders[i])
            chunk_recorder_free(deck->recorders[i]);
    deck_ring_done(&deck->ring);
    if (deck->writer)
        writer_free(deck->writer);
    for (unsigned i = 0; i < deck->n_sources; i++)
        source_close(deck->sources[i]);
    kfl_statement_free(deck->never);
    free(deck);
}

void deck_step(struct deck *deck)
{
    cuts_step(deck);
    detach_those_left(deck);
    pipeline_push_down(deck->pipeline);
    take_events(deck);
    numbers_step(deck->numbers, next_number(deck));
}

void deck_stats(struct deck *deck, struct doc *rows)
{
    stats_rows(deck->pipeline, deck->sources, deck->n_sources, rows);
}

const char *deck_stalled(struct deck *deck)
{
    return pipeline_stalled(deck->pipeline);
}

void deck_writer_latency(const struct deck *deck, struct writer_latency *ret_latency)
{
    writer_latency(deck->writer, ret_latency);
}

bool deck_has_ring(const struct deck *deck)
{
    return deck->ring.on;
}

bool deck_done(const struct deck *deck)
{
    return pipeline_done(deck->pipeline);
}

/* ---- jobs ---- */

static int job_begin(void *context, struct job *job, char reterr_text[static JOB_ERROR_SIZE])
{
    struct deck *deck = context;
    char folder[JOB_PATH_SIZE], error[DECK_ERROR_SIZE] = "";
    struct writer_job config = {
        .name = job->spec.name,
        .folder = folder,
        .statement = job->spec.kfl,
        .quota = job->spec.quota,
        .rotate = !strcmp(job->spec.on_quota, "rotate"),
        .snaplen = (uint32_t)job->spec.snaplen,
        .cutoff = job->spec.cutoff,
    };
    unsigned i = 0;
    uint32_t run;
    int err;

    while (i < KFL_SLOT_MAX && deck->slots[i].state != SLOT_FREE)
        i++;
    if (i == KFL_SLOT_MAX) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%d jobs record already: stop one of them",
                 KFL_SLOT_MAX);
        return -EBUSY;
    }
    if (*job->spec.until && !deck->ring.on) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s", deck_no_ring);
        return -EINVAL;
    }
    if (!deck->ring.on)
        job->past.from_ns = 0;
    recording_path(deck->store, job->spec.name, folder);
    config.slot = i;
    err = writer_attach(deck->writer, &config, &run, error);
    if (err) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s", error);
        return err;
    }
    deck->slots[i] = (struct slot){
        .state = SLOT_IN_USE, .job = job, .past = job->past.from_ns ? PAST_WANTED : PAST_NONE};
    err = publish(deck, UINT64_C(1) << i, error);
    if (err) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s", error);
        deck->slots[i].job = NULL; /* nobody is told when it has closed */
        deck->slots[i].state = SLOT_CLOSING;
        writer_detach(deck->writer, i);
        return -EINVAL;
    }
    job->slot = (int)i;
    return 0;
}

static void job_end(void *context, struct job *job)
{
    struct deck *deck = context;
    char error[DECK_ERROR_SIZE];

    ensure(job->slot >= 0 && deck->slots[job->slot].state == SLOT_IN_USE);
    deck->slots[job->slot].state = SLOT_LEAVING;
    if (!deck->stopped)
        ensure(!publish(deck, UINT64_C(1) << job->slot, error)); /* fewer statements than before */
}

static void job_saturate(void *context, struct job *job)
{
    struct deck *deck = context;
    char error[DECK_ERROR_SIZE];

    deck->slots[job->slot].saturated = true;
    ensure(!publish(deck, 0, error)); /* not changed: what has matched stays matched */
}

static int job_release_space(void *context, struct job *job, uint64_t bytes)
{
    return writer_release(((struct deck *)context)->writer, (unsigned)job->slot, bytes);
}

static void count_job(void *context, const struct job *job, struct job_counts *ret_counts)
{
    struct deck *deck = context;
    struct writer_counters counters;
    uint64_t *value = ret_counts->value;

    memset(ret_counts, 0, sizeof(*ret_counts));
    if (job->slot < 0)
        return;
    writer_counters(deck->writer, (unsigned)job->slot, &counters);
    ret_counts->admitted = pipeline_admitted(deck->pipeline, (unsigned)job->slot);
    value[JOB_COUNT_streams] = counters.streams;
    value[JOB_COUNT_packets] = counters.packets;
    value[JOB_COUNT_bytes] = counters.packet_bytes;
    value[JOB_COUNT_entries] = counters.entries;
    value[JOB_COUNT_written] = counters.written;
    value[JOB_COUNT_segments] = counters.segments;
    value[JOB_COUNT_stored] = counters.bytes;
    value[JOB_COUNT_head_missing] = counters.head_missing;
    value[JOB_COUNT_drop_no_chunk] = counters.drop_no_chunk;
    value[JOB_COUNT_drop_failed] = counters.drop_failed;
    value[JOB_COUNT_drop_quota] = counters.drop_quota;
    value[JOB_COUNT_entries_lost] = counters.entries_lost;
    value[JOB_COUNT_cut] = counters.cut;
    value[JOB_COUNT_rotated] = counters.rotated;
    ret_counts->first_ns = counters.first_ns;
    ret_counts->last_ns = counters.last_ns;
}

/* ---- the plan ---- */

static int publish(struct deck *deck, uint64_t changed, char *reterr_text)
{
    struct kfl_plan_job jobs[KFL_SLOT_MAX];
    struct kfl_messages *messages = calloc(1, sizeof(*messages));
    struct kfl_plan *plan;
    unsigned n = 0, culprit = 0;
    uint64_t fresh = 0;
    int err;

    ensure(messages);
    for (unsigned i = 0; i < KFL_SLOT_MAX; i++) {
        const struct slot *slot = &deck->slots[i];

        if (slot->state != SLOT_IN_USE || (slot->job && *slot->job->spec.until))
            continue; /* a cut has nothing to do with what is live */
        if (slot->job && slot->job->past.from_ns)
            fresh |= UINT64_C(1) << i;
        jobs[n++] = (struct kfl_plan_job){.slot = i,
                                          .statement = slot->saturated ? deck->never
                                                       : slot->job     ? slot->job->statement
                                                                       : deck->ring.statement};
    }
    pipeline_set_fresh(deck->pipeline, fresh);
    err = kfl_plan_create(jobs, n, deck->n_classifiers, deck->whole_entries && n, &plan, &culprit,
                          messages);
    if (err) {
        char text[512] = "";

        if (messages->n)
            kfl_message_format(&messages->message[0], text, sizeof(text));
        snprintf(reterr_text, DECK_ERROR_SIZE, "the statement cannot be compiled: %s",
                 *text ? text : strerror(-err));
    } else {
        err = pipeline_publish(deck->pipeline, plan, changed);
        if (err) {
            kfl_plan_free(plan);
            snprintf(reterr_text, DECK_ERROR_SIZE, "the plan cannot be published: %s",
                     strerror(-err));
        }
    }
    free(messages);
    return err;
}

/* Cuts out of the ring: begun when a lane is free and the seam is known, which is when all
 * classifiers have moved to the plan with the job; looked after; ended with their job. */
static void cuts_step(struct deck *deck)
{
    bool moved = !pipeline_reclaim(deck->pipeline);

    for (unsigned i = 0; i < KFL_SLOT_MAX; i++) {
        struct slot *slot = &deck->slots[i];
        struct cut_lane *lane;

        if (slot->past == PAST_WANTED && slot->state != SLOT_IN_USE)
            slot->past = PAST_NONE;
        if (slot->past == PAST_WANTED && (moved || *slot->job->spec.until))
            begin_cut(deck, slot);
        if (slot->past != PAST_RUNNING)
            continue;
        lane = deck_ring_lane_of(&deck->ring, slot->job);
        if (slot->state == SLOT_LEAVING)
            ring_cut_stop(lane->cut);
        if (!deck_ring_look(lane))
            continue;
        slot->past = PAST_NONE;
        if (*slot->job->spec.until && slot->state == SLOT_IN_USE)
            deck->events.past_taken(deck->events.context, slot->job);
    }
}

static void begin_cut(struct deck *deck, struct slot *slot)
{
    struct ring_cut_config config = {.follow = slot->job->past.to_ns == UINT64_MAX,
                                     .number_base = numbers_first(deck->numbers),
                                     .streams = deck->streams};
    struct cut_lane *lane = deck_ring_lane(&deck->ring);

    if (!lane)
        return;
    config.n_classifiers = config.follow ? deck->n_classifiers : 0;
    for (unsigned i = 0; i < config.n_classifiers; i++)
        config.seam[i] = classifier_slot_first(pipeline_classifier(deck->pipeline, i),
                                               (unsigned)slot->job->slot);
    if (!deck_ring_cut(&deck->ring, lane, slot->job, &config, deck->writer, deck->n_classifiers))
        slot->past = PAST_RUNNING;
}

/* Slots whose last packets the classifiers have handed on. When the sources have ended they have
 * handed on everything. */
static void detach_those_left(struct deck *deck)
{
    if (pipeline_reclaim(deck->pipeline) && !pipeline_done(deck->pipeline))
        return;
    for (unsigned i = 0; i < KFL_SLOT_MAX; i++)
        if (deck->slots[i].state == SLOT_LEAVING && deck->slots[i].past != PAST_RUNNING &&
            writer_detach(deck->writer, i) != -EAGAIN)
            deck->slots[i].state = SLOT_CLOSING;
}

static void take_events(struct deck *deck)
{
    struct writer_event event;

    while (writer_poll(deck->writer, &event)) {
        struct slot *slot = &deck->slots[event.slot];
        struct job *job = slot->job;

        if (event.type == WRITER_EVENT_DETACHED) {
            slot->state = SLOT_FREE;
            slot->job = NULL;
            if (job && !deck->stopped && event.error && !slot->failed)
                deck->events.failed(deck->events.context, job, event.text);
            if (job && !deck->stopped)
                deck->events.ended(deck->events.context, job);
        } else if (event.type == WRITER_EVENT_FAILED && event.slot == DECK_RING_SLOT &&
                   deck->ring.on) {
            log_error("the ring has failed, and keeps nothing more until a restart: %s",
                      event.text);
        } else if (job && slot->state == SLOT_IN_USE && !deck->stopped) {
            slot->failed |= event.type == WRITER_EVENT_FAILED;
            if (event.type == WRITER_EVENT_FAILED)
                deck->events.failed(deck->events.context, job, event.text);
            else if (event.type == WRITER_EVENT_QUOTA)
                deck->events.quota(deck->events.context, job);
        }
    }
}

/* ---- opening ---- */

static int open_sources(struct deck *deck, const struct conf *conf, char *reterr_text)
{
    for (unsigned i = 0; i < conf->n_sources; i++) {
        const struct conf_source *from = &conf->sources[i];
        struct source_config config = {
            .type = from->type,
            .interface = from->interface,
            .device = from->device,
            .eal = from->eal,
            .queues = (unsigned)from->queues,
            .snaplen = (uint32_t)from->snaplen,
            .promiscuous = from->promiscuous,
            .generic = from->generic,
            .copy = from->copy,
            .pass = from->pass,
            .pushdown = from->pushdown,
            .busy = !strcmp(conf->poll, "busy"),
            .frames = (uint32_t)from->frames,
        };
        char error[SOURCE_ERROR_SIZE] = "";
        int err = source_open(&config, (uint16_t)i, &deck->sources[i], error);

        if (err) {
            snprintf(reterr_text, DECK_ERROR_SIZE, "sources[%u] (%s %s): %s", i, from->type,
                     *from->device ? from->device : from->interface,
                     *error ? error : strerror(-err));
            return err;
        }
        if (*source_base(deck->sources[i])->note)
            log_info("sources[%u] (%s): %s", i, source_base(deck->sources[i])->name,
                     source_base(deck->sources[i])->note);
        deck->n_sources++;
    }
    return 0;
}

static int open_writer(struct deck *deck, const struct conf *conf, char *reterr_text)
{
    struct writer_config config = {
        .chunk_size = (uint32_t)conf->chunk_size,
        .chunk_memory = conf->chunk_memory,
        .segment_size = conf->segment_size,
        .segment_age_ns = conf->segment_age,
        .sync = WRITER_SYNC_INTERVAL,
        .gather_ns = conf->flush / 2 < gather_ns_max ? conf->flush / 2 : gather_ns_max,
        .application = "tapedeck " TAPEDECK_VERSION,
        .keylog = *conf->keylog ? conf->keylog : NULL,
    };
    char error[WRITER_ERROR_SIZE] = "";
    unsigned n_rx;
    int err = count_threads(conf, &n_rx, &deck->n_classifiers, reterr_text);

    if (err)
        return err;
    if (!strcmp(conf->sync, "close"))
        config.sync = WRITER_SYNC_CLOSE;
    else if (!strcmp(conf->sync, "chunk"))
        config.sync = WRITER_SYNC_CHUNK;
    config.n_classifiers = deck->n_classifiers + (deck->ring.on ? DECK_CUTS : 0);
    err = writer_create(&config, &deck->writer, error);
    for (unsigned i = 0; !err && i < deck->n_classifiers; i++)
        err = chunk_recorder_create(writer_pool(deck->writer), i, conf->flush - config.gather_ns,
                                    &deck->recorders[i]);
    if (err)
        snprintf(reterr_text, DECK_ERROR_SIZE, "%s", *error ? error : strerror(-err));
    if (!err) {
        err = deck_ring_attach(&deck->ring, conf, deck->writer, deck->n_classifiers, reterr_text,
                               DECK_ERROR_SIZE);
        deck->slots[DECK_RING_SLOT].state = deck->ring.on && !err ? SLOT_IN_USE : SLOT_FREE;
    }
    return err;
}

static int open_pipeline(struct deck *deck, const struct conf *conf, struct names_board *names,
                         char *reterr_text)
{
    struct pipeline_config config = {
        .sources = deck->sources,
        .n_sources = deck->n_sources,
        .n_classifiers = deck->n_classifiers,
        .busy = !strcmp(conf->poll, "busy"),
        .ring_slots = (uint32_t)conf->ring,
        .recorders = deck->recorders,
        .writer_step = turn_writer,
        .writer_wait = wait_for_writes,
        .writer_context = deck,
    };
    struct stream_config *streams = &config.classifier.streams;
    uint64_t streams_max = (uint64_t)conf->streams_max / deck->n_classifiers;
    int cores[CORES_MAX];
    unsigned n_cores = 0;
    int err = count_threads(conf, &config.n_rx, &config.n_classifiers, reterr_text);

    if (err)
        return err;
    for (unsigned i = 0; i < config.n_rx; i++)
        cores[n_cores++] = i < conf->rx.n ? conf->rx.cpu[i] : -1;
    for (unsigned i = 0; i < config.n_classifiers; i++)
        cores[n_cores++] = i < conf->classifiers.n ? conf->classifiers.cpu[i] : -1;
    cores[n_cores++] = conf->writers.cpu[0];
    config.cores = cores;
    config.n_cores = n_cores;
    if (getrandom(&config.hash_seed, sizeof(config.hash_seed), 0) != sizeof(config.hash_seed))
        return -errno;
    streams->max = (uint32_t)(streams_max < STREAMS_MIN ? STREAMS_MIN : streams_max);
    streams->timeout_ns_tcp = conf->timeout_tcp;
    streams->timeout_ns_tcp_open = conf->timeout_tcp_open;
    streams->timeout_ns_tcp_closed = conf->timeout_tcp_closed;
    streams->timeout_ns_udp = conf->timeout_udp;
    streams->timeout_ns_icmp = conf->timeout_icmp;
    streams->timeout_ns_other = conf->timeout_other;
    for (unsigned i = 0; i < conf->distinguish.n; i++) {
        streams->distinguish_vlan |= !strcmp(conf->distinguish.text[i], "vlan");
        streams->distinguish_tunnel |= !strcmp(conf->distinguish.text[i], "tunnel");
    }
    if (names) {
        streams->names.lookup = names_lookup;
        streams->names.context = names;
        config.classifier.learn = names_board_learned(names);
        config.learns_dns = config.classifier.learn != NULL;
    }
    config.classifier.number_base = numbers_first(deck->numbers);
    deck->streams = *streams;
    config.classifier.l7.memory = conf->l7_memory;
    config.classifier.l7.response_timeout_ns = conf->response_timeout;
    config.classifier.l7.text_max = (uint32_t)conf->text_max;
    config.classifier.lookback_size = conf->lookback_size;
    config.classifier.lookback_ttl_ns = conf->lookback_ttl;
    config.classifier.resident = true;
    config.classifier.waiting_memory = conf->l7_memory / WAITING_SHARE;
    err = pipeline_create(&config, &deck->pipeline);
    if (err)
        snprintf(reterr_text, DECK_ERROR_SIZE,
                 "the pipeline's memory cannot be had (%s): lower lookback.size, streams.max or "
                 "streams.memory",
                 strerror(-err));
    return err;
}

/* One CPU: one thread does both. Else what the CPUs allow after RX and writer. */
static int count_threads(const struct conf *conf, unsigned *ret_rx, unsigned *ret_classifiers,
                         char *reterr_text)
{
    cpu_set_t set;
    unsigned n_cpus = 1;
    unsigned n_rx = conf->rx.n, n_classifiers = conf->classifiers.n;

    if (!sched_getaffinity(0, sizeof(set), &set))
        n_cpus = (unsigned)CPU_COUNT(&set);
    if (n_cpus == 1 && n_classifiers == 0)
        n_rx = 0;
    if (!n_classifiers)
        n_classifiers = n_rx && n_cpus > n_rx + 2 ? n_cpus - n_rx - 1 : 1;
    if (n_classifiers > CONF_LIST_MAX)
        n_classifiers = CONF_LIST_MAX;
    if (!n_rx && n_classifiers > 1) {
        snprintf(reterr_text, DECK_ERROR_SIZE,
                 "cores.rx = 0 with cores.classifiers = %u: without an RX thread there is one "
                 "classifier that receives itself",
                 n_classifiers);
        return -EINVAL;
    }
    *ret_rx = n_rx;
    *ret_classifiers = n_classifiers;
    return 0;
}

/* No stream has this number yet, nor a greater one. */
static uint64_t next_number(const struct deck *deck)
{
    uint64_t most = 0;

    for (unsigned i = 0; i < deck->n_classifiers; i++) {
        const struct classifier *classifier = pipeline_classifier(deck->pipeline, i);
        uint64_t n = counter_get(classifier_counters(classifier), COUNTER_streams);

        most = n > most ? n : most;
    }
    return numbers_first(deck->numbers) + most * deck->n_classifiers;
}

static unsigned turn_writer(void *context)
{
    struct deck *deck = context;

    return writer_step(deck->writer, now_ns(CLOCK_REALTIME));
}

static void wait_for_writes(void *context, uint64_t timeout_ns)
{
    writer_wait(((struct deck *)context)->writer, timeout_ns);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}
