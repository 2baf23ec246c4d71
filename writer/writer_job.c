#include "writer_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "keylog.h"

enum {
    CLOSING_RESERVE = 4 * CHUNK_ALIGN, /* bytes kept free below a quota for the statistics */
    ROTATE_PARTS = 8,                  /* a rotating job's segments are this part of its quota */
    SEGMENT_SIZE_MIN = 1 << 20,
    OLD_MAX = 1 << 16,
};

static void drop(struct job *job, struct chunk *chunk);
static void fail(struct job *job, int error, const char *what);
static bool queue_step(struct job *job, uint64_t now_ns);
static bool quota_has_room(struct job *job, const struct chunk *chunk);
static bool rotate(struct job *job);
static struct segment *segment_ready(struct job *job, const struct chunk *chunk, uint64_t now_ns);
static bool segment_open(struct job *job, uint64_t first_ns, uint64_t now_ns);
static bool segment_describe(struct job *job, struct segment *segment, unsigned n_interfaces);
static bool segment_describe_secrets(struct job *job, struct segment *segment, uint64_t now_ns);
static void segment_push(struct job *job, struct segment *segment, struct chunk *chunk);
static void segment_close(struct job *job, struct segment *segment);
static unsigned segment_step(struct job *job, struct segment *segment, uint64_t now_ns);
static void segment_files_close(struct job *job, struct segment *segment);
static void segment_finish(struct job *job, struct segment *segment);
static void segment_break(struct job *job, struct segment *segment);
static void segment_written(struct job *job, struct segment *segment, struct chunk *chunk);
static void index_break(struct job *job, struct segment *segment);
static bool entries_ready(struct job *job);
static void entries_belong(struct job *job, uint32_t number, uint64_t size);
static unsigned entries_step(struct job *job);
static struct chunk *own_chunk(struct job *job);
static void path_of(const struct job *job, const struct segment_name *name, enum segment_file file,
                    char *ret_path);
static struct chunk_pool *pool_of(const struct job *job);

int job_prepare(struct job *job, const struct writer_job *config, struct io *io,
                uint64_t segment_size, char reterr_text[static WRITER_ERROR_SIZE])
{
    struct segment_info *old = NULL;
    unsigned n_old = 0;
    uint64_t bytes = 0;
    int error;

    job_done(job);
    job->config = *config;
    job->io = io;
    job->folder = strdup(config->folder);
    job->name = strdup(config->name);
    job->statement = strdup(config->statement);
    job->folder_file = -1;
    if (!job->folder || !job->name || !job->statement)
        return -ENOMEM;
    error = io->ops->make_folder(io, job->folder);
    if (!error)
        error = segment_list(job->folder, job->name, &old, &n_old, &bytes);
    if (!error)
        error = job->folder_file = io->ops->open(io, job->folder, IO_FOLDER, false, NULL);
    if (error < 0) {
        snprintf(reterr_text, WRITER_ERROR_SIZE, "%s: %s: make it writable for tapedeckd",
                 job->folder, strerror(-error));
        free(old);
        return error;
    }
    snprintf(job->filter, sizeof(job->filter), "%s", job->statement);
    job->next_number = n_old ? old[n_old - 1].name.number + 1 : 1;
    job->bytes = bytes;
    job->segment_size = segment_size;
    if (config->quota && config->rotate) {
        uint64_t part = config->quota / ROTATE_PARTS;

        part = part < SEGMENT_SIZE_MIN ? SEGMENT_SIZE_MIN : part;
        job->segment_size = part < segment_size ? part : segment_size;
        job->old_max = n_old + OLD_MAX;
        job->old = realloc(old, job->old_max * sizeof(*job->old));
        if (!job->old) {
            free(old);
            io->ops->close(io, job->folder_file);
            return -ENOMEM;
        }
        job->n_old = n_old;
    } else {
        free(old);
    }
    for (unsigned i = 0; i < 2; i++) {
        output_init(&job->segments[i].data, job, OUTPUT_WHOLE);
        output_init(&job->segments[i].index, job, OUTPUT_DIRECTORY);
        job->segments[i].state = SEGMENT_FREE;
    }
    output_init(&job->entries, job, OUTPUT_WHOLE);
    atomic_store_explicit(&job->counters.bytes, bytes, memory_order_relaxed);
    return 0;
}

void job_done(struct job *job)
{
    struct writer *writer = job->writer;
    unsigned slot = job->slot;
    uint32_t run = job->run;

    free(job->folder);
    free(job->name);
    free(job->statement);
    free(job->old);
    memset(job, 0, sizeof(*job));
    job->writer = writer;
    job->slot = slot;
    job->run = run;
}

void job_push(struct job *job, struct chunk *chunk)
{
    chunk_list_push(&job->queue, chunk);
}

void job_result(struct job *job, struct output *output, int result, uint64_t now_ns)
{
    enum output_op op = output->op;
    int error = output_result(output, job->io, result);
    struct chunk *chunk;
    struct segment *segment = NULL;
    char path[WRITER_PATH_MAX];

    for (unsigned i = 0; i < 2; i++)
        if (output == &job->segments[i].data || output == &job->segments[i].index)
            segment = &job->segments[i];
    while ((chunk = output_pop(output))) {
        job_count(&job->counters.bytes,
                  output->part == OUTPUT_DIRECTORY ? chunk->directory_size : chunk->used);
        if (segment && output == &segment->data)
            segment_written(job, segment, chunk);
        else
            chunk_give(pool_of(job), chunk);
    }
    if (segment && op == OUTPUT_SYNCING)
        segment->synced_ns = now_ns;
    if (segment && op == OUTPUT_WRITING && output == &segment->data)
        segment->sync_due = true;
    if (!error)
        return;
    if (segment && output == &segment->index) {
        index_break(job, segment);
        return;
    }
    if (segment) {
        path_of(job, &segment->name, SEGMENT_PCAPNG, path);
        segment->state = segment->state == SEGMENT_FREE ? SEGMENT_FREE : SEGMENT_BROKEN;
    } else {
        snprintf(path, sizeof(path), "%s/" SEGMENT_ENTRIES_NAME, job->folder);
    }
    fail(job, error, path);
}

unsigned job_step(struct job *job, uint64_t now_ns)
{
    const struct writer_config *settings = writer_settings(job->writer);
    unsigned work = 0;

    while (job->queue.first && queue_step(job, now_ns))
        work++;
    if (job->open && job->open->state == SEGMENT_OPEN &&
        (job->state == JOB_FULL || (job->detaching && !job->queue.first) ||
         now_ns - job->open->opened_ns >= settings->segment_age_ns))
        segment_close(job, job->open);
    for (unsigned i = 0; i < 2; i++)
        if (job->segments[i].state != SEGMENT_FREE)
            work += segment_step(job, &job->segments[i], now_ns);
    work += entries_step(job);
    if (job->tell_failed || job->tell_full) {
        struct writer_event event = {
            .type = job->tell_failed ? WRITER_EVENT_FAILED : WRITER_EVENT_QUOTA,
            .slot = job->slot,
            .run = job->run,
            .error = job->error,
        };

        memcpy(event.text, job->error_text, sizeof(event.text));
        if (writer_tell(job->writer, &event))
            job->tell_failed = job->tell_full = false;
    }
    return work;
}

void job_close(struct job *job)
{
    for (unsigned i = 0; i < 2; i++)
        if (job->segments[i].state != SEGMENT_FREE)
            segment_files_close(job, &job->segments[i]);
    if (job->entries.file >= 0)
        job->io->ops->close(job->io, job->entries.file);
    if (job->folder_file >= 0)
        job->io->ops->close(job->io, job->folder_file);
    job->entries.file = job->folder_file = -1;
}

bool job_is_idle(const struct job *job)
{
    return !job->queue.first && job->segments[0].state == SEGMENT_FREE &&
           job->segments[1].state == SEGMENT_FREE && job->entries.file < 0 &&
           output_is_idle(&job->entries) && !job->tell_failed && !job->tell_full;
}

/* The oldest chunk of the queue goes where it belongs. -> false: it has to wait. */
static bool queue_step(struct job *job, uint64_t now_ns)
{
    struct chunk *chunk = job->queue.first;
    struct segment *segment;

    if (job->state != JOB_ACTIVE) {
        drop(job, chunk_list_pop(&job->queue));
        return true;
    }
    if (!quota_has_room(job, chunk))
        return job->state != JOB_ACTIVE;
    if (chunk->kind == CHUNK_ENTRIES) {
        if (!entries_ready(job))
            return job->state != JOB_ACTIVE;
        job->bytes += chunk->used;
        output_push(&job->entries, chunk_list_pop(&job->queue));
        return true;
    }
    segment = segment_ready(job, chunk, now_ns);
    if (!segment)
        return job->state != JOB_ACTIVE;
    segment_push(job, segment, chunk_list_pop(&job->queue));
    return true;
}

static void drop(struct job *job, struct chunk *chunk)
{
    if (chunk->kind == CHUNK_PACKETS)
        job_count(job->state == JOB_FULL ? &job->counters.drop_quota : &job->counters.drop_failed,
                  chunk->n_packets);
    chunk_give(pool_of(job), chunk);
}

/* The job can no longer be written. What is under way ends by itself; the rest is dropped. */
static void fail(struct job *job, int error, const char *what)
{
    if (job->state == JOB_FAILED)
        return;
    job->state = JOB_FAILED;
    job->error = -error;
    job->tell_failed = true;
    snprintf(job->error_text, sizeof(job->error_text), "%.110s: %.40s", what, strerror(-error));
    for (unsigned i = 0; i < 2; i++)
        if (job->segments[i].state == SEGMENT_OPEN || job->segments[i].state == SEGMENT_CLOSING)
            job->segments[i].state = SEGMENT_BROKEN;
    job->open = NULL;
}

/* ---- quota ---- */
static bool quota_has_room(struct job *job, const struct chunk *chunk)
{
    uint64_t need = (uint64_t)chunk->used + chunk->directory_size + CLOSING_RESERVE;

    if (!job->config.quota || job->bytes + need <= job->config.quota)
        return true;
    if (!job->config.rotate) {
        job->state = JOB_FULL;
        job->tell_full = true;
        return false;
    }
    while (job->bytes + need > job->config.quota)
        if (!rotate(job)) {
            /* Nothing old is left: the open segment becomes old first. A job whose two segments
             * are both on their way waits for them. */
            if (job->open)
                segment_close(job, job->open);
            else if (job->segments[0].state == SEGMENT_FREE &&
                     job->segments[1].state == SEGMENT_FREE)
                return true; /* less than one segment fits: a chunk over is better than none */
            return false;
        }
    return true;
}

/* Deletes the oldest closed segment. -> false: there is none. */
static bool rotate(struct job *job)
{
    struct writer_event event = {.type = WRITER_EVENT_ROTATED, .slot = job->slot, .run = job->run};
    struct segment_info *oldest = job->old;
    char path[WRITER_PATH_MAX];

    if (!job->n_old)
        return false;
    for (unsigned i = 0; i < SEGMENT_FILE_COUNT; i++) {
        path_of(job, &oldest->name, i, path);
        if (!oldest->bytes[i] || job->io->ops->unlink(job->io, path))
            continue;
        event.bytes += oldest->bytes[i];
        if (i == SEGMENT_PCAPNG)
            snprintf(event.text, sizeof(event.text), "%.150s", path);
    }
    event.packets = oldest->packets;
    job->bytes -= event.bytes < job->bytes ? event.bytes : job->bytes;
    atomic_store_explicit(&job->counters.bytes,
                          atomic_load_explicit(&job->counters.bytes, memory_order_relaxed) -
                              event.bytes,
                          memory_order_relaxed);
    job_count(&job->counters.rotated, oldest->packets);
    job->n_old--;
    memmove(job->old, job->old + 1, job->n_old * sizeof(*job->old));
    writer_tell(job->writer, &event); /* for people; a full ring costs only the message */
    return true;
}

/* ---- segments ---- */
/* An open segment with room for this chunk, whose interfaces are described; null: not yet. */
static struct segment *segment_ready(struct job *job, const struct chunk *chunk, uint64_t now_ns)
{
    unsigned n = interface_count();

    if (job->open && job->open->size + chunk->used > job->segment_size &&
        (job->open->data.list.first || job->open->n_packets))
        segment_close(job, job->open);
    if (!job->open && !segment_open(job, chunk->first_ns, now_ns))
        return NULL;
    if (chunk->n_interfaces > job->open->n_heads || !job->open->n_heads)
        if (!segment_describe(job, job->open, n > chunk->n_interfaces ? n : chunk->n_interfaces))
            return NULL;
    return segment_describe_secrets(job, job->open, now_ns) ? job->open : NULL;
}

static bool segment_open(struct job *job, uint64_t first_ns, uint64_t now_ns)
{
    const struct writer_config *settings = writer_settings(job->writer);
    struct segment *segment = &job->segments[0];
    char path[WRITER_PATH_MAX];
    struct output data, index;
    int file;

    if (segment->state != SEGMENT_FREE)
        segment = &job->segments[1];
    if (segment->state != SEGMENT_FREE)
        return false;
    data = segment->data;
    index = segment->index;
    memset(segment, 0, sizeof(*segment));
    segment->data = data;
    segment->index = index;
    segment->name.start_s = first_ns / 1000000000;
    segment->name.number = job->next_number;
    segment->statistics.first_ns = UINT64_MAX;
    path_of(job, &segment->name, SEGMENT_PCAPNG, path);
    file = job->io->ops->open(job->io, path, IO_CREATE, true, NULL);
    if (file < 0) {
        fail(job, file, path);
        return false;
    }
    output_begin(&segment->data, file, true, 0);
    path_of(job, &segment->name, SEGMENT_INDEX, path);
    file = job->io->ops->open(job->io, path, IO_CREATE, false, NULL);
    output_begin(&segment->index, file < 0 ? -1 : file, false, 0);
    segment->index_broken = file < 0;
    segment->state = SEGMENT_OPEN;
    segment->opened_ns = segment->synced_ns = now_ns;
    job->next_number++;
    job->open = segment;
    job_count(&job->counters.segments, 1);
    if (settings->sync != WRITER_SYNC_CLOSE)
        output_sync(&segment->data, job->io, job->folder_file);
    return true;
}

static void segment_push(struct job *job, struct segment *segment, struct chunk *chunk)
{
    memcpy(chunk->data + chunk->directory + offsetof(struct chunk_directory, offset),
           &segment->size, sizeof(segment->size));
    segment->size += chunk->used;
    job->bytes += chunk->used + chunk->directory_size;
    for (uint32_t i = 0; i < chunk->n_counts; i++) {
        segment->statistics.packets[chunk->counts[i].number] += chunk->counts[i].packets;
        segment->statistics.lost[chunk->counts[i].number] += chunk->counts[i].lost;
    }
    output_push(&segment->data, chunk);
}

/* Section and interface blocks up to n. -> false: go on when there are chunks for it. */
static bool segment_describe(struct job *job, struct segment *segment, unsigned n)
{
    const struct writer_config *settings = writer_settings(job->writer);
    const struct segment_about about = {.hardware = settings->hardware,
                                        .os = settings->os,
                                        .application = settings->application,
                                        .recording = job->name,
                                        .statement = job->filter};

    do {
        struct chunk *chunk = own_chunk(job);

        if (!chunk)
            return false;
        segment_head(chunk, &about, n, &segment->n_heads);
        segment_push(job, segment, chunk);
    } while (segment->n_heads < n);
    return true;
}

/* The keys that came since the last time. -> false: go on when there are chunks for them. */
static bool segment_describe_secrets(struct job *job, struct segment *segment, uint64_t now_ns)
{
    struct keylog *keylog = writer_keylog(job->writer);
    const char *lines;
    uint32_t size;

    if (!keylog || keylog_step(keylog, now_ns) == segment->secrets)
        return true;
    while ((size = keylog_lines(keylog, &segment->secrets,
                                segment_secrets_max(chunk_size(pool_of(job))), &lines))) {
        struct chunk *chunk = own_chunk(job);

        if (!chunk)
            return false;
        segment_secrets(chunk, lines, size);
        segment->secrets += size;
        segment_push(job, segment, chunk);
    }
    return true;
}

/* No more chunks come; statistics follow when all is written. */
static void segment_close(struct job *job, struct segment *segment)
{
    ensure(segment == job->open);
    segment->state = SEGMENT_CLOSING;
    job->open = NULL;
    job->entries_name = segment->name;
}

static unsigned segment_step(struct job *job, struct segment *segment, uint64_t now_ns)
{
    const struct writer_config *settings = writer_settings(job->writer);
    bool idle = output_is_idle(&segment->data);

    if (segment->state == SEGMENT_BROKEN) {
        if (segment->data.op == OUTPUT_IDLE && segment->index.op == OUTPUT_IDLE)
            segment_break(job, segment);
        return 1;
    }
    if (segment->data.op == OUTPUT_IDLE && segment->sync_due &&
        (settings->sync == WRITER_SYNC_CHUNK ||
         (settings->sync == WRITER_SYNC_INTERVAL &&
          now_ns - segment->synced_ns >= settings->sync_interval_ns)) &&
        output_sync(&segment->data, job->io, segment->data.file))
        segment->sync_due = false;
    if (output_start(&segment->data, job->io) + output_start(&segment->index, job->io))
        return 1;
    if (segment->state == SEGMENT_OPEN || !idle || !output_is_idle(&segment->index))
        return 0;
    if (segment->state == SEGMENT_CLOSING && !segment->tail_done) {
        struct chunk *chunk;

        /* Closed before it had its section: an empty file is no PCAPNG file. */
        if (!segment->size && !segment_describe(job, segment, interface_count()))
            return 0;
        chunk = own_chunk(job);
        if (!chunk)
            return 0;
        segment_tail(chunk, &segment->statistics, segment->n_heads, &segment->n_tails);
        segment->tail_done = segment->n_tails == segment->n_heads;
        segment_push(job, segment, chunk);
        return 1;
    }
    if (segment->state == SEGMENT_CLOSING &&
        output_sync(&segment->data, job->io, segment->data.file))
        segment->state = SEGMENT_SYNCING;
    else if (segment->state == SEGMENT_SYNCING &&
             output_sync(&segment->data, job->io, job->folder_file))
        segment->state = SEGMENT_SYNCING_FOLDER;
    else if (segment->state == SEGMENT_SYNCING_FOLDER)
        segment_finish(job, segment);
    return 1;
}

static void segment_files_close(struct job *job, struct segment *segment)
{
    job->io->ops->close(job->io, segment->data.file);
    segment->data.file = -1;
    if (segment->index.file >= 0)
        job->io->ops->close(job->io, segment->index.file);
    segment->index.file = -1;
    segment->state = SEGMENT_FREE;
}

static void segment_finish(struct job *job, struct segment *segment)
{
    struct writer_event event = {
        .type = WRITER_EVENT_SEGMENT,
        .slot = job->slot,
        .run = job->run,
        .bytes = segment->data.offset + (segment->index_broken ? 0 : segment->index.offset),
        .packets = segment->n_packets,
        .first_ns = segment->statistics.first_ns,
        .last_ns = segment->statistics.last_ns,
    };
    char path[WRITER_PATH_MAX];

    path_of(job, &segment->name, SEGMENT_PCAPNG, path);
    snprintf(event.text, sizeof(event.text), "%.150s", path);
    if (!writer_tell(job->writer, &event))
        return;
    if (job->old && job->n_old < job->old_max) {
        struct segment_info *info = &job->old[job->n_old++];

        *info = (struct segment_info){.name = segment->name, .packets = segment->n_packets};
        info->bytes[SEGMENT_PCAPNG] = segment->data.offset;
        info->bytes[SEGMENT_INDEX] = segment->index_broken ? 0 : segment->index.offset;
        info->bytes[SEGMENT_ENTRIES] = segment->entries_size;
    }
    segment_files_close(job, segment);
}

/* The disk failed it: keep the whole chunks that are written. */
static void segment_break(struct job *job, struct segment *segment)
{
    struct chunk *chunk;

    while ((chunk = output_drop(&segment->data)))
        drop(job, chunk);
    while ((chunk = output_drop(&segment->index)))
        chunk_give(pool_of(job), chunk);
    /* If the disk refuses this as well, the repair at the next start does it. */
    job->io->ops->truncate(job->io, segment->data.file, segment->data.offset);
    if (segment->index.file >= 0)
        job->io->ops->truncate(job->io, segment->index.file, segment->index.offset);
    segment_files_close(job, segment);
}

static void segment_written(struct job *job, struct segment *segment, struct chunk *chunk)
{
    struct segment_statistics *statistics = &segment->statistics;
    struct job_counters *counters = &job->counters;

    segment->n_packets += chunk->n_packets;
    job_count(&counters->written, chunk->n_packets);
    if (chunk->n_packets) {
        uint64_t first = atomic_load_explicit(&counters->first_ns, memory_order_relaxed);
        uint64_t last = atomic_load_explicit(&counters->last_ns, memory_order_relaxed);

        if (chunk->first_ns < statistics->first_ns)
            statistics->first_ns = chunk->first_ns;
        if (chunk->last_ns > statistics->last_ns)
            statistics->last_ns = chunk->last_ns;
        if (!first || chunk->first_ns < first)
            atomic_store_explicit(&counters->first_ns, chunk->first_ns, memory_order_relaxed);
        if (chunk->last_ns > last)
            atomic_store_explicit(&counters->last_ns, chunk->last_ns, memory_order_relaxed);
    }
    if (segment->index_broken)
        chunk_give(pool_of(job), chunk);
    else
        output_push(&segment->index, chunk);
}

/* An index is a convenience: it can be made again. The job goes on without. */
static void index_break(struct job *job, struct segment *segment)
{
    char path[WRITER_PATH_MAX];
    struct chunk *chunk;

    while ((chunk = output_drop(&segment->index)))
        chunk_give(pool_of(job), chunk);
    segment->index_broken = true;
    job->io->ops->close(job->io, segment->index.file);
    segment->index.file = -1;
    path_of(job, &segment->name, SEGMENT_INDEX, path);
    job->io->ops->unlink(job->io, path);
}

/* ---- entries ---- */
/* Is entries.ndjson open, and is what belongs to an earlier segment out of the way? */
static bool entries_ready(struct job *job)
{
    char path[WRITER_PATH_MAX], to[WRITER_PATH_MAX];
    uint64_t size = 0;
    int file;

    snprintf(path, sizeof(path), "%s/" SEGMENT_ENTRIES_NAME, job->folder);
    if (job->entries.file >= 0 && job->entries_name.number) {
        if (!output_is_idle(&job->entries))
            return false;
        job->io->ops->close(job->io, job->entries.file);
        job->entries.file = -1;
        path_of(job, &job->entries_name, SEGMENT_ENTRIES, to);
        if (!job->io->ops->rename(job->io, path, to))
            entries_belong(job, job->entries_name.number, job->entries.offset);
    }
    job->entries_name.number = 0;
    if (job->entries.file >= 0)
        return true;
    file = job->io->ops->open(job->io, path, IO_APPEND, false, &size);
    if (file < 0) {
        fail(job, file, path);
        return false;
    }
    output_begin(&job->entries, file, false, size);
    job->entries_synced = false;
    return true;
}

/* The rotation knows with which segment they go, closed already or not. */
static void entries_belong(struct job *job, uint32_t number, uint64_t size)
{
    for (unsigned i = 0; i < 2; i++)
        if (job->segments[i].state != SEGMENT_FREE && job->segments[i].name.number == number)
            job->segments[i].entries_size = size;
    for (unsigned i = 0; i < job->n_old; i++)
        if (job->old[i].name.number == number)
            job->old[i].bytes[SEGMENT_ENTRIES] = size;
}

static unsigned entries_step(struct job *job)
{
    struct chunk *chunk;

    if (job->entries.file < 0)
        return 0;
    if (job->state == JOB_FAILED && job->entries.op == OUTPUT_IDLE)
        while ((chunk = output_drop(&job->entries)))
            chunk_give(pool_of(job), chunk);
    if (output_start(&job->entries, job->io))
        return 1;
    if (!job->detaching || job->queue.first || !output_is_idle(&job->entries))
        return 0;
    if (!job->entries_synced && job->state != JOB_FAILED) {
        job->entries_synced = output_sync(&job->entries, job->io, job->entries.file);
        return 1;
    }
    if (job->state == JOB_FAILED)
        job->io->ops->truncate(job->io, job->entries.file, job->entries.offset);
    job->io->ops->close(job->io, job->entries.file);
    job->entries.file = -1;
    return 1;
}

/* The writer's own chunks: headers and statistics. */
static struct chunk *own_chunk(struct job *job)
{
    struct chunk *chunk = chunk_take(pool_of(job), chunk_classifiers(pool_of(job)));

    if (chunk) {
        chunk->slot = (uint8_t)job->slot;
        chunk->run = job->run;
    }
    return chunk;
}

static void path_of(const struct job *job, const struct segment_name *name, enum segment_file file,
                    char *ret_path)
{
    /* writer_attach() has made sure that it fits. */
    ensure(!segment_path(job->folder, job->name, name, file, ret_path, WRITER_PATH_MAX));
}

static struct chunk_pool *pool_of(const struct job *job)
{
    return writer_pool(job->writer);
}
