/* pipeline_thread.c - threads around steps: pinned, named, asleep when there is nothing to do. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#include "pipeline_private.h"

enum {
    SPINS = 200,          /* idle turns before sleeping at all, when there was much to do */
    SPINS_MIN = 4,        /* ... and when there was hardly anything, or to receive */
    GATHER = 512,         /* packets that should come while it sleeps after packets ... */
    GATHER_US_MIN = 100,  /* ... which is so long at least, */
    GATHER_US_MAX = 4000, /* ... and at most: rings have room for what comes if the rate leaps */
    SLEEP_US_MIN = 50,    /* the first sleep; each next one is longer ... */
    SLEEP_US_MAX = 1000,  /* ... up to this: the NIC's queue holds what comes meanwhile */
    WRITER_MS = 30,       /* the writer, when nobody wakes it */
    POLL_MS = 10,         /* asleep until woken: timers and flushes have to be looked after */
    N_POLL = SOURCE_QUEUE_MAX * 4,
};

static void *run(void *argument);
static bool finished(const struct thread *thread);
static bool receives(const struct thread *thread);
static void idle(struct thread *thread, unsigned n_idle);
static void wait_for_writes(const struct pipeline_config *config);
static bool wait_for_packets(const struct rx *rx, unsigned gather_us);
static unsigned gather_for(unsigned us, unsigned n_packets);
static void wait_for_wake(struct worker *worker);
static void spawn(struct pipeline *pipeline, const char *name, unsigned number,
                  unsigned (*step)(void *), void *role);

int pipeline_threads_start(struct pipeline *pipeline)
{
    unsigned n_roles = pipeline->n_rx + pipeline->config.n_classifiers + 1;

    pipeline->threads =
        aligned_alloc(_Alignof(struct thread), n_roles * sizeof(*pipeline->threads));
    if (!pipeline->threads)
        return -ENOMEM;
    for (unsigned i = 0; i < pipeline->config.n_rx; i++)
        spawn(pipeline, "td-rx", i, pipeline_rx_step, &pipeline->rx[i]);
    if (!pipeline->config.n_rx)
        spawn(pipeline, "td-rxcls", 0, pipeline_combined_step, pipeline);
    else
        for (unsigned i = 0; i < pipeline->config.n_classifiers; i++)
            spawn(pipeline, "td-cls", i, pipeline_worker_step, &pipeline->workers[i]);
    if (pipeline->config.writer_step)
        spawn(pipeline, "td-writer", 0, pipeline_writer_step, pipeline);
    for (unsigned i = 0; i < pipeline->n_threads; i++) {
        struct thread *thread = &pipeline->threads[i];
        int err = pthread_create(&thread->id, NULL, run, thread);

        if (err) {
            pipeline_stop(pipeline);
            pipeline_threads_join(pipeline);
            return -err;
        }
        thread->started = true;
    }
    return 0;
}

void pipeline_threads_join(struct pipeline *pipeline)
{
    bool writer = pipeline->config.writer_step && pipeline->n_threads;
    unsigned n = pipeline->n_threads - (writer ? 1 : 0);

    for (unsigned i = 0; i < n; i++)
        if (pipeline->threads[i].started)
            pthread_join(pipeline->threads[i].id, NULL);
    atomic_store_explicit(&pipeline->writer_end, true, memory_order_release);
    if (writer && pipeline->threads[n].started)
        pthread_join(pipeline->threads[n].id, NULL);
    free(pipeline->threads);
    pipeline->threads = NULL;
    pipeline->n_threads = 0;
}

const char *pipeline_stalled(struct pipeline *pipeline)
{
    const char *stalled = NULL;

    for (unsigned i = 0; i < pipeline->n_threads; i++) {
        struct thread *thread = &pipeline->threads[i];
        uint64_t turns = atomic_load_explicit(&thread->turns, memory_order_relaxed);

        if (turns == thread->turns_seen &&
            !atomic_load_explicit(&thread->has_ended, memory_order_relaxed))
            stalled = thread->name;
        thread->turns_seen = turns;
    }
    return stalled;
}

/* The exchange and that of wait_for_wake() come one after the other: either it finds the sleeper,
 * or the sleeper finds what was pushed. */
void pipeline_wake(struct worker *worker)
{
    if (atomic_exchange_explicit(&worker->asleep, 0, memory_order_acq_rel))
        syscall(SYS_futex, &worker->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void spawn(struct pipeline *pipeline, const char *name, unsigned number,
                  unsigned (*step)(void *), void *role)
{
    const struct pipeline_config *config = &pipeline->config;
    unsigned place = pipeline->n_threads++;
    struct thread *thread = &pipeline->threads[place];

    *thread = (struct thread){
        .step = step,
        .role = role,
        .pipeline = pipeline,
        .turns_seen = UINT64_MAX, /* not asked about yet: it may not have come to its first turn */
        .core = config->cores && place < config->n_cores ? config->cores[place] : -1,
    };
    snprintf(thread->name, sizeof(thread->name), "%s%u", name, number % 1000);
}

static void *run(void *argument)
{
    struct thread *thread = argument;
    bool busy = thread->pipeline->config.busy && thread->step != pipeline_writer_step;
    unsigned spins_max = receives(thread) ? SPINS_MIN : SPINS;
    unsigned n_idle = 0, spins = SPINS_MIN, n_done;

    pthread_setname_np(pthread_self(), thread->name);
    if (thread->core >= 0) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((size_t)thread->core, &set);
        pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    for (;;) {
        bool last = finished(thread); /* asked first: then this turn finds nothing left behind */

        atomic_store_explicit(&thread->turns, thread->turns + 1, memory_order_relaxed);
        n_done = thread->step(thread->role);
        if (n_done) {
            thread->n_done += n_done;
            spins = n_idle > spins ? SPINS_MIN : spins;
            spins = n_done < spins_max - spins ? spins + n_done : spins_max;
            n_idle = 0;
            continue;
        }
        if (last) {
            atomic_store_explicit(&thread->has_ended, true, memory_order_relaxed);
            return NULL;
        }
        if (!busy && ++n_idle > spins)
            idle(thread, n_idle - spins);
        else
            __builtin_ia32_pause();
    }
}

static bool finished(const struct thread *thread)
{
    const struct pipeline *pipeline = thread->pipeline;

    if (thread->step == pipeline_writer_step)
        return atomic_load_explicit(&pipeline->writer_end, memory_order_acquire);
    if (thread->step != pipeline_rx_step)
        return pipeline->config.n_rx
                   ? atomic_load_explicit(&((struct worker *)thread->role)->done,
                                          memory_order_acquire)
                   : atomic_load_explicit(&pipeline->workers[0].done, memory_order_acquire);
    for (unsigned i = 0; i < pipeline->config.n_classifiers; i++) /* all packets are back */
        if (!atomic_load_explicit(&pipeline->workers[i].done, memory_order_acquire))
            return false;
    return true;
}

static bool receives(const struct thread *thread)
{
    return thread->step == pipeline_rx_step || thread->step == pipeline_combined_step;
}

static void idle(struct thread *thread, unsigned n_idle)
{
    const struct rx *rx =
        thread->step == pipeline_combined_step ? &thread->pipeline->rx[0] : thread->role;
    unsigned us = SLEEP_US_MIN * n_idle;
    struct timespec time = {.tv_nsec = (us < SLEEP_US_MAX ? us : SLEEP_US_MAX) * 1000L};

    if (thread->step == pipeline_worker_step) {
        wait_for_wake(thread->role);
        return;
    }
    if (thread->step == pipeline_writer_step) {
        wait_for_writes(&thread->pipeline->config);
        return;
    }
    if (n_idle == 1)
        thread->gather_us = gather_for(thread->gather_us, thread->n_done);
    thread->n_done = 0;
    if (!wait_for_packets(rx, n_idle == 1 ? thread->gather_us : 0))
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void wait_for_writes(const struct pipeline_config *config)
{
    const struct timespec time = {.tv_nsec = WRITER_MS * 1000000L};

    if (config->writer_wait)
        config->writer_wait(config->writer_context, (uint64_t)time.tv_nsec);
    else
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* Sleeps until a source has something. What costs is waking up: after packets it first sleeps a
 * little (gather_us; 0: not), so that more of them come in. -> false: the sources have no
 * descriptors, or packets are on their way back, which need looking after soon. */
static bool wait_for_packets(const struct rx *rx, unsigned gather_us)
{
    const struct timespec gather = {.tv_nsec = gather_us * 1000L};
    struct pollfd fds[N_POLL];
    unsigned n = 0;

    for (unsigned i = 0; rx->lanes && i < rx->pipeline->config.n_classifiers; i++)
        if (ring_fill(&rx->lanes[i].forward) || ring_fill(&rx->lanes[i].back))
            return false;
    for (unsigned i = 0; i < rx->n_units; i++) {
        const struct unit *unit = rx->units[i];
        int fd;

        if (atomic_load_explicit(&unit->ended, memory_order_relaxed))
            continue;
        fd = source_base(unit->source)->ops->fd(unit->source, unit->queue);
        if (fd < 0 || n == N_POLL)
            return false;
        fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    if (!n)
        return false;
    if (gather_us)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &gather, NULL);
    else
        poll(fds, n, POLL_MS);
    return true;
}

/* So many packets came since the last such sleep, which took `us`: how long the next one takes. */
static unsigned gather_for(unsigned us, unsigned n_packets)
{
    uint64_t next = (uint64_t)us * GATHER / (n_packets ? n_packets : 1);

    return next < GATHER_US_MIN   ? GATHER_US_MIN
           : next > GATHER_US_MAX ? GATHER_US_MAX
                                  : (unsigned)next;
}

/* Sleeps until packets come, or timers have to be looked after. */
static void wait_for_wake(struct worker *worker)
{
    const struct pipeline *pipeline = worker->pipeline;
    const struct timespec time = {.tv_nsec = POLL_MS * 1000000L};

    atomic_exchange_explicit(&worker->asleep, 1, memory_order_acq_rel);
    for (unsigned i = 0; i < pipeline->n_rx; i++)
        if (ring_fill(&pipeline->rx[i].lanes[worker->number].forward))
            return;
    syscall(SYS_futex, &worker->asleep, FUTEX_WAIT_PRIVATE, 1, &time, NULL, 0);
}
