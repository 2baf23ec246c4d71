/* pipeline.c - how a pipeline is put together, gets its plans, and what it tells. */
#include "pipeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "pipeline_private.h"
#include "pushdown.h"

enum {
    RING_SLOTS = 4096,
    RING_SLOTS_MIN = 256, /* a file waits for room for a burst and what fragments held back */
    FRAGMENT_DATAGRAMS = 1024,
};

static int create_units(struct pipeline *pipeline);
static int create_rx(struct pipeline *pipeline);
static int create_workers(struct pipeline *pipeline);
static void publication_free(struct publication_node *node);
static void *array(size_t n, size_t size);

int pipeline_create(const struct pipeline_config *config, struct pipeline **ret_pipeline)
{
    struct pipeline *pipeline;
    int err;

    ensure(config->n_sources <= PIPELINE_SOURCE_MAX && config->n_rx <= PIPELINE_RX_MAX);
    ensure(config->n_classifiers && config->n_classifiers <= PIPELINE_CLASSIFIER_MAX);
    ensure(config->n_rx || config->n_classifiers == 1);
    pipeline = calloc(1, sizeof(*pipeline));
    if (!pipeline)
        return -ENOMEM;
    pipeline->config = *config;
    if (!config->ring_slots)
        pipeline->config.ring_slots = RING_SLOTS;
    if (pipeline->config.ring_slots < RING_SLOTS_MIN)
        pipeline->config.ring_slots = RING_SLOTS_MIN;
    pipeline->n_rx = config->n_rx ? config->n_rx : 1;
    err = create_units(pipeline);
    if (!err)
        err = pushdown_create(config->sources, config->n_sources, config->n_classifiers,
                              config->learns_dns, &pipeline->pushdown);
    if (!err)
        err = create_rx(pipeline);
    if (!err)
        err = create_workers(pipeline);
    if (err) {
        pipeline_free(pipeline);
        return err;
    }
    *ret_pipeline = pipeline;
    return 0;
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    ensure(!pipeline->n_threads);
    for (unsigned i = 0; pipeline->workers && i < pipeline->config.n_classifiers; i++)
        classifier_free(pipeline->workers[i].classifier);
    for (unsigned i = 0; pipeline->rx && i < pipeline->n_rx; i++) {
        for (unsigned k = 0; pipeline->rx[i].lanes && k < pipeline->config.n_classifiers; k++) {
            ring_done(&pipeline->rx[i].lanes[k].forward);
            ring_done(&pipeline->rx[i].lanes[k].back);
        }
        free(pipeline->rx[i].lanes);
        free(pipeline->rx[i].units);
    }
    for (unsigned i = 0; pipeline->units && i < pipeline->n_units; i++)
        fragment_table_free(pipeline->units[i].fragments);
    while (pipeline->newest) {
        struct publication_node *node = pipeline->newest;

        pipeline->newest = node->older;
        publication_free(node);
    }
    pushdown_free(pipeline->pushdown);
    free(pipeline->workers);
    free(pipeline->rx);
    free(pipeline->units);
    free(pipeline);
}

void pipeline_set_fresh(struct pipeline *pipeline, uint64_t slots)
{
    pipeline->fresh = slots;
}

int pipeline_publish(struct pipeline *pipeline, struct kfl_plan *plan, uint64_t changed)
{
    struct publication_node *node = calloc(1, sizeof(*node));

    if (!node)
        return -ENOMEM;
    node->plan = plan;
    node->older = pipeline->newest;
    if (node->older)
        node->publication = node->older->publication;
    node->publication.plan = plan;
    node->publication.epoch++;
    node->publication.fresh = pipeline->fresh;
    node->publication.admitted = pipeline->admitted;
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++) {
        if (!(changed >> slot & 1))
            continue;
        node->publication.slot_epoch[slot] = node->publication.epoch;
        /* Where a job begins: no classifier has the one before it any more. */
        if (kfl_plan_jobs(plan) >> slot & 1)
            atomic_store_explicit(&pipeline->admitted[slot], 0, memory_order_relaxed);
    }
    pipeline->newest = node;
    node->publication.gate = NULL;
    if (pipeline->pushdown) {
        pushdown_widen(pipeline->pushdown, plan, changed, node->publication.epoch);
        if (!pushdown_gate(pipeline->pushdown, &node->gate)) /* else everything goes on */
            node->publication.gate = node->gate;
    }
    for (unsigned i = 0; i < pipeline->config.n_classifiers; i++)
        classifier_publish(pipeline->workers[i].classifier, &node->publication);
    return 0;
}

uint64_t pipeline_admitted(const struct pipeline *pipeline, unsigned slot)
{
    return atomic_load_explicit(&pipeline->admitted[slot], memory_order_relaxed);
}

unsigned pipeline_reclaim(struct pipeline *pipeline)
{
    uint32_t epoch = UINT32_MAX;
    struct publication_node *node = pipeline->newest;
    unsigned n_left = 0;

    for (unsigned i = 0; i < pipeline->config.n_classifiers; i++) {
        uint32_t at = classifier_epoch(pipeline->workers[i].classifier);

        if (atomic_load_explicit(&pipeline->workers[i].done, memory_order_acquire))
            continue; /* it asks no plan any more */
        epoch = at < epoch ? at : epoch;
    }
    while (node && node->older) {
        if (node->older->publication.epoch < epoch) {
            struct publication_node *gone = node->older;

            node->older = gone->older;
            publication_free(gone);
        } else {
            n_left++;
            node = node->older;
        }
    }
    if (pipeline->pushdown && !n_left)
        pushdown_narrow(pipeline->pushdown);
    return n_left;
}

void pipeline_push_down(struct pipeline *pipeline)
{
    if (pipeline->pushdown)
        pushdown_step(pipeline->pushdown);
}

int pipeline_start(struct pipeline *pipeline)
{
    return pipeline_threads_start(pipeline);
}

void pipeline_stop(struct pipeline *pipeline)
{
    for (unsigned i = 0; i < pipeline->config.n_sources; i++)
        source_base(pipeline->config.sources[i])->ops->stop(pipeline->config.sources[i]);
}

bool pipeline_done(const struct pipeline *pipeline)
{
    for (unsigned i = 0; i < pipeline->config.n_classifiers; i++)
        if (!atomic_load_explicit(&pipeline->workers[i].done, memory_order_acquire))
            return false;
    return true;
}

void pipeline_wait(struct pipeline *pipeline)
{
    pipeline_threads_join(pipeline);
}

unsigned pipeline_step(struct pipeline *pipeline)
{
    unsigned n_done = 0;

    if (!pipeline->config.n_rx)
        n_done = pipeline_combined_step(pipeline);
    for (unsigned i = 0; i < pipeline->config.n_rx; i++)
        n_done += pipeline_rx_step(&pipeline->rx[i]);
    for (unsigned i = 0; pipeline->config.n_rx && i < pipeline->config.n_classifiers; i++)
        n_done += pipeline_worker_step(&pipeline->workers[i]);
    if (pipeline->config.writer_step)
        n_done += pipeline_writer_step(pipeline);
    return n_done;
}

void pipeline_run(struct pipeline *pipeline)
{
    while (!pipeline_done(pipeline))
        pipeline_step(pipeline);
    while (pipeline_step(pipeline))
        ; /* packets on their way back, chunks on their way out */
}

struct pipeline_sum pipeline_sum(struct pipeline *pipeline)
{
    struct pipeline_sum sum = {0};
    uint64_t value[COUNTER_COUNT], kernel = 0;

    for (unsigned i = 0; i < pipeline->n_units; i++)
        sum.in_flight +=
            atomic_load_explicit(&pipeline->units[i].fragments_held, memory_order_relaxed);
    for (unsigned i = 0; i < pipeline->config.n_rx; i++)
        for (unsigned k = 0; k < pipeline->config.n_classifiers; k++)
            sum.in_flight += ring_fill(&pipeline->rx[i].lanes[k].forward);
    for (unsigned i = 0; i < pipeline->config.n_classifiers; i++)
        sum.held += classifier_held(pipeline->workers[i].classifier);
    pipeline_counters(pipeline, value);
    for (unsigned i = 0; i < pipeline->config.n_sources; i++) {
        struct source_stats stats;

        source_base(pipeline->config.sources[i])->ops->stats(pipeline->config.sources[i], &stats);
        kernel += stats.discarded_kernel;
    }
    sum.rx = value[COUNTER_rx] + kernel;
    sum.dropped =
        value[COUNTER_drop_ring] + value[COUNTER_drop_no_chunk] + value[COUNTER_lookback_evicted];
    sum.discarded = value[COUNTER_discarded] + kernel;
    sum.recorded = value[COUNTER_recorded];
    sum.difference =
        (int64_t)(sum.rx - sum.dropped - sum.discarded - sum.recorded - sum.held - sum.in_flight);
    return sum;
}

void pipeline_counters(const struct pipeline *pipeline, uint64_t ret_value[static COUNTER_COUNT])
{
    memset(ret_value, 0, COUNTER_COUNT * sizeof(ret_value[0]));
    for (unsigned which = 0; which < COUNTER_COUNT; which++) {
        for (unsigned i = 0; i < pipeline->n_rx; i++)
            ret_value[which] += counter_get(&pipeline->rx[i].counters, which);
        for (unsigned i = 0; i < pipeline->config.n_classifiers; i++) {
            const struct worker *worker = &pipeline->workers[i];

            ret_value[which] += counter_get(&worker->counters, which) +
                                counter_get(classifier_counters(worker->classifier), which);
        }
    }
}

void pipeline_dissection(const struct pipeline *pipeline, enum kfl_proto proto,
                         struct pipeline_dissection *ret_dissection)
{
    struct pipeline_dissection sum = {0};

    for (unsigned i = 0; i < pipeline->config.n_classifiers; i++) {
        const struct l7_counters *counters =
            classifier_l7_counters(pipeline->workers[i].classifier);

        sum.entries += atomic_load_explicit(&counters->entries[proto], memory_order_relaxed);
        sum.bytes += atomic_load_explicit(&counters->bytes[proto], memory_order_relaxed);
        sum.errors += atomic_load_explicit(&counters->errors[proto], memory_order_relaxed);
    }
    *ret_dissection = sum;
}

void pipeline_source_stats(const struct pipeline *pipeline, unsigned source,
                           struct pipeline_source_stats *ret_stats)
{
    struct source *from = pipeline->config.sources[source];

    *ret_stats = (struct pipeline_source_stats){.ended = true};
    source_base(from)->ops->stats(from, &ret_stats->device);
    for (unsigned i = 0; i < pipeline->n_units; i++) {
        const struct unit *unit = &pipeline->units[i];
        int error;

        if (unit->source_index != source)
            continue;
        ret_stats->rx += atomic_load_explicit(&unit->rx, memory_order_relaxed);
        ret_stats->rx_bytes += atomic_load_explicit(&unit->rx_bytes, memory_order_relaxed);
        ret_stats->ended &= atomic_load_explicit(&unit->ended, memory_order_acquire);
        error = atomic_load_explicit(&unit->error, memory_order_relaxed);
        if (error)
            ret_stats->error = error;
    }
}

unsigned pipeline_n_rx(const struct pipeline *pipeline)
{
    return pipeline->n_rx;
}

unsigned pipeline_n_classifiers(const struct pipeline *pipeline)
{
    return pipeline->config.n_classifiers;
}

const struct counters *pipeline_rx_counters(const struct pipeline *pipeline, unsigned rx)
{
    return &pipeline->rx[rx].counters;
}

uint64_t pipeline_ring_fill(const struct pipeline *pipeline, unsigned classifier,
                            uint64_t *ret_size)
{
    uint64_t fill = 0;

    *ret_size = 0;
    for (unsigned i = 0; i < pipeline->config.n_rx; i++) {
        struct ring *ring = &pipeline->rx[i].lanes[classifier].forward;

        fill += ring_fill(ring);
        *ret_size += (uint64_t)ring->mask + 1;
    }
    return fill;
}

const struct classifier *pipeline_classifier(const struct pipeline *pipeline, unsigned number)
{
    return pipeline->workers[number].classifier;
}

static int create_units(struct pipeline *pipeline)
{
    const struct pipeline_config *config = &pipeline->config;
    unsigned n = 0;

    for (unsigned i = 0; i < config->n_sources; i++) {
        pipeline->live |= source_base(config->sources[i])->ops->live;
        n += source_base(config->sources[i])->n_queues;
    }
    pipeline->units = array(n, sizeof(*pipeline->units));
    if (!pipeline->units)
        return -ENOMEM;
    for (unsigned i = 0; i < config->n_sources; i++)
        for (unsigned queue = 0; queue < source_base(config->sources[i])->n_queues; queue++) {
            struct unit *unit = &pipeline->units[pipeline->n_units++];

            unit->source = config->sources[i];
            unit->source_index = i;
            unit->queue = queue;
        }
    return 0;
}

static int create_rx(struct pipeline *pipeline)
{
    const struct pipeline_config *config = &pipeline->config;

    pipeline->rx = array(pipeline->n_rx, sizeof(*pipeline->rx));
    if (!pipeline->rx)
        return -ENOMEM;
    for (unsigned i = 0; i < pipeline->n_rx; i++) {
        struct rx *rx = &pipeline->rx[i];

        rx->pipeline = pipeline;
        rx->number = i;
        rx->units = array(pipeline->n_units, sizeof(rx->units[0]));
        if (!rx->units)
            return -ENOMEM;
        for (unsigned u = config->one_by_one ? 0 : i; u < pipeline->n_units;
             u += config->one_by_one ? 1 : pipeline->n_rx) {
            struct unit *unit = &pipeline->units[u];
            int err = 0;

            if (config->one_by_one && i)
                break; /* in order: all of them by the first */
            err = fragment_table_create(FRAGMENT_DATAGRAMS, config->hash_seed, &rx->counters,
                                        &unit->fragments);
            if (err)
                return err;
            rx->units[rx->n_units++] = unit;
        }
        if (!config->n_rx)
            continue;
        rx->lanes = array(config->n_classifiers, sizeof(rx->lanes[0]));
        if (!rx->lanes)
            return -ENOMEM;
        for (unsigned k = 0; k < config->n_classifiers; k++) {
            int err = ring_init(&rx->lanes[k].forward, config->ring_slots, sizeof(struct packet));

            if (!err)
                err = ring_init(&rx->lanes[k].back, config->ring_slots, sizeof(struct returned));
            if (err)
                return err;
        }
    }
    return 0;
}

static int create_workers(struct pipeline *pipeline)
{
    const struct pipeline_config *config = &pipeline->config;
    const struct stream_config *streams = &config->classifier.streams;
    bool distinguish = streams->distinguish_vlan || streams->distinguish_tunnel;

    pipeline->workers = array(config->n_classifiers, sizeof(*pipeline->workers));
    if (!pipeline->workers)
        return -ENOMEM;
    for (unsigned i = 0; i < config->n_classifiers; i++) {
        struct classifier_config classifier = config->classifier;
        int err;

        classifier.number = i;
        classifier.n_classifiers = config->n_classifiers;
        classifier.hash_seed = config->hash_seed;
        classifier.recorder = config->recorders[i];
        if (pipeline->pushdown && !distinguish)
            classifier.out = pushdown_ring(pipeline->pushdown, i);
        pipeline->workers[i].pipeline = pipeline;
        pipeline->workers[i].number = i;
        err = classifier_create(&classifier, &pipeline->workers[i].classifier);
        if (err)
            return err;
    }
    return 0;
}

static void publication_free(struct publication_node *node)
{
    kfl_plan_free(node->plan);
    gate_free(node->gate);
    free(node);
}

/* Cleared, on a cache line of its own; n may be 0. */
static void *array(size_t n, size_t size)
{
    size_t bytes = ((n ? n : 1) * size + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, bytes);

    if (memory)
        memset(memory, 0, bytes);
    return memory;
}
