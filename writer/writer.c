#include "writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "../kfl-jit/ensure.h"
#include "../kfl-jit/plan.h"
#include "job_segment.h"
#include "keylog.h"
#include "uring.h"
#include "writer_job.h"

enum {
    COMMANDS_MAX = 256,
    EVENTS_MAX = 1024,
    OWN_CHUNKS = 16,    /* headers and statistics on their way */
    RESULTS_MAX = 64,   /* collected at a time */
    OUTPUTS_OF_JOB = 5, /* each has one request under way at most */
};
#define CHUNK_MEMORY_DEFAULT  (UINT64_C(64) << 20)
#define SEGMENT_SIZE_DEFAULT  (UINT64_C(512) << 20)
#define SEGMENT_AGE_DEFAULT   (UINT64_C(300) * 1000000000)
#define SYNC_INTERVAL_DEFAULT (UINT64_C(1000000000))

enum command_type { COMMAND_ATTACH, COMMAND_DETACH, COMMAND_RELEASE };
struct command {
    enum command_type type;
    unsigned slot;
    uint64_t bytes;
};

struct writer {
    struct writer_config config;
    struct utsname machine;
    char os[sizeof(struct utsname)];
    struct io *io;
    bool own_io;
    struct chunk_pool *pool;
    struct keylog *keylog;
    struct ring commands; /* mgmt -> writer */
    struct ring events;   /* writer -> mgmt */
    uint64_t attached;    /* slots; the writer's */
    uint64_t in_use;      /* slots; mgmt's, from attach to DETACHED */
    bool gathers;         /* some chunks wait for more to be written with */
    _Atomic uint64_t latency[WRITER_LATENCIES], latency_sum_ns;
    struct job jobs[KFL_SLOT_MAX];
};

static void fill_in(struct writer *writer, const struct writer_config *config);
static unsigned commands_step(struct writer *writer);
static unsigned chunks_step(struct writer *writer);
static unsigned results_step(struct writer *writer, uint64_t now_ns);
static void count_latency(struct writer *writer, uint64_t ns);
static void detach_step(struct writer *writer, struct job *job);
static int check_job(const struct writer *writer, const struct writer_job *job,
                     char reterr_text[static WRITER_ERROR_SIZE]);
static bool command(struct writer *writer, enum command_type type, unsigned slot, uint64_t bytes);

int writer_create(const struct writer_config *config, struct writer **ret_writer,
                  char reterr_text[static WRITER_ERROR_SIZE])
{
    struct writer *writer = aligned_alloc(64, (sizeof(*writer) + 63) / 64 * 64);
    const char *what = "memory";
    uint64_t size;
    void *memory;
    int error = -ENOMEM;

    if (!writer)
        goto fail;
    memset(writer, 0, sizeof(*writer));
    fill_in(writer, config);
    if (!writer->io) {
        what = "io_uring";
        error = uring_create(OUTPUTS_OF_JOB * KFL_SLOT_MAX, &writer->io);
        if (error)
            goto fail;
        writer->own_io = true;
    }
    what = "chunks";
    error = chunk_pool_create(writer->config.n_classifiers,
                              (unsigned)(writer->config.chunk_memory / writer->config.chunk_size),
                              OWN_CHUNKS, writer->config.chunk_size, &writer->pool);
    if (!error)
        error = ring_init(&writer->commands, COMMANDS_MAX, sizeof(struct command));
    if (!error)
        error = ring_init(&writer->events, EVENTS_MAX, sizeof(struct writer_event));
    if (error)
        goto fail;
    if (config->keylog) {
        what = "key log";
        writer->keylog = keylog_create(config->keylog);
        error = writer->keylog ? 0 : -ENOMEM;
        if (error)
            goto fail;
    }
    memory = chunk_memory(writer->pool, &size);
    writer->io->ops->use_memory(writer->io, memory, size);
    for (unsigned i = 0; i < KFL_SLOT_MAX; i++) {
        writer->jobs[i].writer = writer;
        writer->jobs[i].slot = i;
    }
    *ret_writer = writer;
    return 0;
fail:
    snprintf(reterr_text, WRITER_ERROR_SIZE, "writer: %s: %s", what, strerror(-error));
    writer_free(writer);
    return error;
}

void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    for (uint64_t slots = writer->attached; slots; slots &= slots - 1) {
        struct job *job = &writer->jobs[__builtin_ctzll(slots)];

        /* What the kernel writes from our memory has to end first. */
        while (job->segments[0].data.op || job->segments[0].index.op || job->segments[1].data.op ||
               job->segments[1].index.op || job->entries.op)
            if (!results_step(writer, 0))
                writer->io->ops->wait(writer->io, 1000000);
        job_close(job);
    }
    for (unsigned i = 0; i < KFL_SLOT_MAX; i++)
        job_done(&writer->jobs[i]);
    keylog_free(writer->keylog);
    ring_done(&writer->commands);
    ring_done(&writer->events);
    if (writer->own_io)
        uring_free(writer->io);
    chunk_pool_free(writer->pool);
    free(writer);
}

struct chunk_pool *writer_pool(struct writer *writer)
{
    return writer->pool;
}

unsigned writer_step(struct writer *writer, uint64_t now_ns)
{
    unsigned work = commands_step(writer) + chunks_step(writer);

    writer->gathers = false;
    writer->io->now_ns = now_ns;
    for (uint64_t slots = writer->attached; slots; slots &= slots - 1) {
        struct job *job = &writer->jobs[__builtin_ctzll(slots)];

        work += job_step(job, now_ns);
        writer->gathers |= job->open && job_segment_gathers(job, job->open, now_ns);
        if (job->detaching)
            detach_step(writer, job);
    }
    return work + results_step(writer, now_ns);
}

bool writer_wait(struct writer *writer, uint64_t timeout_ns)
{
    if (writer->io->ops->wait(writer->io, timeout_ns))
        return true;
    chunk_wait(writer->pool, writer->gathers ? WRITER_GATHER : 1, timeout_ns);
    return false;
}

int writer_attach(struct writer *writer, const struct writer_job *config, uint32_t *ret_run,
                  char reterr_text[static WRITER_ERROR_SIZE])
{
    struct chunk_slot *slot;
    struct job *job;
    int error = check_job(writer, config, reterr_text);

    if (error)
        return error;
    job = &writer->jobs[config->slot];
    job->run++;
    error = job_prepare(job, config, writer->io, writer->config.segment_size, reterr_text);
    if (error)
        return error;
    for (unsigned i = 0; i <= writer->config.n_classifiers; i++)
        memset(chunk_counters(writer->pool, i, config->slot), 0, sizeof(struct chunk_counters));
    slot = chunk_slot(writer->pool, config->slot);
    *slot = (struct chunk_slot){.run = job->run,
                                .snaplen = config->snaplen,
                                .cutoff = config->cutoff,
                                .no_entries = config->no_entries,
                                .name = job->name,
                                .statement = job->statement};
    job->state = JOB_ACTIVE;
    if (!command(writer, COMMAND_ATTACH, config->slot, 0)) {
        snprintf(reterr_text, WRITER_ERROR_SIZE, "%s: the writer does not answer", config->name);
        return -EAGAIN;
    }
    writer->in_use |= UINT64_C(1) << config->slot;
    *ret_run = job->run;
    return 0;
}

int writer_detach(struct writer *writer, unsigned slot)
{
    if (slot >= KFL_SLOT_MAX || !(writer->in_use >> slot & 1))
        return -ENOENT;
    return command(writer, COMMAND_DETACH, slot, 0) ? 0 : -EAGAIN;
}

int writer_release(struct writer *writer, unsigned slot, uint64_t bytes)
{
    if (slot >= KFL_SLOT_MAX || !(writer->in_use >> slot & 1))
        return -ENOENT;
    return command(writer, COMMAND_RELEASE, slot, bytes) ? 0 : -EAGAIN;
}

bool writer_poll(struct writer *writer, struct writer_event *ret_event)
{
    uint32_t first;

    if (!ring_peek(&writer->events, 1, &first))
        return false;
    *ret_event = *(struct writer_event *)ring_at(&writer->events, first);
    ring_pop(&writer->events, 1);
    if (ret_event->type == WRITER_EVENT_DETACHED)
        writer->in_use &= ~(UINT64_C(1) << ret_event->slot);
    return true;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void writer_latency(const struct writer *writer, struct writer_latency *ret_latency)
{
    for (unsigned i = 0; i < WRITER_LATENCIES; i++)
        ret_latency->count[i] = get(&writer->latency[i]);
    ret_latency->sum_ns = get(&writer->latency_sum_ns);
}

void writer_counters(struct writer *writer, unsigned slot, struct writer_counters *ret_counters)
{
    const struct job_counters *job = &writer->jobs[slot].counters;
    struct writer_counters sum = {
        .written = get(&job->written),
        .bytes = get(&job->bytes),
        .segments = get(&job->segments),
        .drop_failed = get(&job->drop_failed),
        .drop_quota = get(&job->drop_quota),
        .rotated = get(&job->rotated),
        .entries_lost = get(&job->entries_lost),
        .first_ns = get(&job->first_ns),
        .last_ns = get(&job->last_ns),
    };

    for (unsigned i = 0; i < writer->config.n_classifiers; i++) {
        const struct chunk_counters *part = chunk_counters(writer->pool, i, slot);

        sum.packets += get(&part->packets);
        sum.packet_bytes += get(&part->bytes);
        sum.streams += get(&part->streams);
        sum.entries += get(&part->entries);
        sum.entries_lost += get(&part->entries_lost);
        sum.head_missing += get(&part->head_missing);
        sum.cut += get(&part->cut);
        sum.drop_no_chunk += get(&part->drop_no_chunk);
    }
    *ret_counters = sum;
}

const struct writer_config *writer_settings(const struct writer *writer)
{
    return &writer->config;
}

struct keylog *writer_keylog(const struct writer *writer)
{
    return writer->keylog;
}

bool writer_tell(struct writer *writer, const struct writer_event *event)
{
    uint32_t first;

    if (!ring_reserve(&writer->events, 1, &first))
        return false;
    *(struct writer_event *)ring_at(&writer->events, first) = *event;
    ring_push(&writer->events, 1);
    return true;
}

static void fill_in(struct writer *writer, const struct writer_config *config)
{
    struct writer_config *c = &writer->config;

    *c = *config;
    writer->io = config->io;
    c->chunk_size = c->chunk_size ? c->chunk_size : CHUNK_SIZE_DEFAULT;
    c->chunk_memory = c->chunk_memory ? c->chunk_memory : CHUNK_MEMORY_DEFAULT;
    c->segment_size = c->segment_size ? c->segment_size : SEGMENT_SIZE_DEFAULT;
    c->segment_age_ns = c->segment_age_ns ? c->segment_age_ns : SEGMENT_AGE_DEFAULT;
    c->sync_interval_ns = c->sync_interval_ns ? c->sync_interval_ns : SYNC_INTERVAL_DEFAULT;
    c->application = c->application ? c->application : "tapedeck " TAPEDECK_VERSION;
    if (!uname(&writer->machine)) {
        snprintf(writer->os, sizeof(writer->os), "%s %s", writer->machine.sysname,
                 writer->machine.release);
        c->hardware = c->hardware ? c->hardware : writer->machine.machine;
        c->os = c->os ? c->os : writer->os;
    }
}

static bool command(struct writer *writer, enum command_type type, unsigned slot, uint64_t bytes)
{
    uint32_t first;

    if (!ring_reserve(&writer->commands, 1, &first))
        return false;
    *(struct command *)ring_at(&writer->commands, first) =
        (struct command){.type = type, .slot = slot, .bytes = bytes};
    ring_push(&writer->commands, 1);
    return true;
}

static int check_job(const struct writer *writer, const struct writer_job *job,
                     char reterr_text[static WRITER_ERROR_SIZE])
{
    const char *text = NULL;

    if (job->slot >= KFL_SLOT_MAX || writer->in_use >> job->slot & 1)
        text = "its slot is still in use";
    else if (!*job->name || strlen(job->name) > WRITER_NAME_MAX || strchr(job->name, '/') ||
             job->name[0] == '.')
        text = "not a name: letters, digits, - _ . and at most 128 of them";
    else if (strlen(job->folder) + WRITER_NAME_MAX + 64 > WRITER_PATH_MAX)
        text = "the path of its folder is too long";
    if (!text)
        return 0;
    snprintf(reterr_text, WRITER_ERROR_SIZE, "recording %.140s: %s", job->name, text);
    return -EINVAL;
}

static unsigned commands_step(struct writer *writer)
{
    uint32_t first, n = ring_peek(&writer->commands, COMMANDS_MAX, &first);

    for (uint32_t i = 0; i < n; i++) {
        const struct command *next = ring_at(&writer->commands, first + i);

        if (next->type == COMMAND_ATTACH)
            writer->attached |= UINT64_C(1) << next->slot;
        else if (next->type == COMMAND_DETACH)
            writer->jobs[next->slot].detaching = true;
        else
            job_release(&writer->jobs[next->slot], next->bytes);
    }
    ring_pop(&writer->commands, n);
    return n;
}

/* All full chunks go to the queues of their jobs. A chunk may overtake the command that its job
 * came with, but the command was there before it. */
static unsigned chunks_step(struct writer *writer)
{
    unsigned n = 0;

    for (unsigned i = 0; i < writer->config.n_classifiers; i++) {
        struct chunk *chunk;

        while ((chunk = chunk_next(writer->pool, i))) {
            struct job *job = &writer->jobs[chunk->slot];

            if (!chunk->used) {
                chunk_give(writer->pool, chunk);
                continue;
            }
            if (!(writer->attached >> chunk->slot & 1))
                commands_step(writer);
            ensure(writer->attached >> chunk->slot & 1 && chunk->run == job->run);
            job_push(job, chunk);
            n++;
        }
    }
    return n;
}

static unsigned results_step(struct writer *writer, uint64_t now_ns)
{
    struct io_result results[RESULTS_MAX];
    unsigned n = writer->io->ops->reap(writer->io, results, RESULTS_MAX);

    for (unsigned i = 0; i < n; i++) {
        struct output *output = results[i].user;

        count_latency(writer, now_ns > output->begun_ns ? now_ns - output->begun_ns : 0);
        job_result(output->owner, output, results[i].result, now_ns);
    }
    return n;
}

static void count_latency(struct writer *writer, uint64_t ns)
{
    unsigned i = 0;

    while (i < WRITER_LATENCIES - 1 && ns > writer_latency_max_ns(i))
        i++;
    atomic_store_explicit(&writer->latency[i], get(&writer->latency[i]) + 1, memory_order_relaxed);
    atomic_store_explicit(&writer->latency_sum_ns, get(&writer->latency_sum_ns) + ns,
                          memory_order_relaxed);
}

static void detach_step(struct writer *writer, struct job *job)
{
    struct writer_event event = {
        .type = WRITER_EVENT_DETACHED, .slot = job->slot, .run = job->run, .error = job->error};

    if (!job_is_idle(job))
        return;
    memcpy(event.text, job->error_text, sizeof(event.text));
    job_close(job);
    job->state = JOB_FREE;
    job->detaching = false;
    writer->attached &= ~(UINT64_C(1) << job->slot);
    /* Once told, the job is mgmt's again. */
    if (!writer_tell(writer, &event)) {
        writer->attached |= UINT64_C(1) << job->slot;
        job->detaching = true;
    }
}
