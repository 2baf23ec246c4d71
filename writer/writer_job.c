#include "writer_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "job_segment.h"

enum {
    CLOSING_RESERVE = 4 * CHUNK_ALIGN, /* bytes kept free below a quota for the statistics */
    ROTATE_PARTS = 8,                  /* a rotating job's segments are this part of its quota */
    SEGMENT_SIZE_MIN = 1 << 20,
    OLD_MAX = 1 << 16,
};
#define NS_PER_SECOND UINT64_C(1000000000)

#define LOOK_NS UINT64_C(1000000000)

static void look_for_files(struct job *job, uint64_t now_ns);
static bool queue_step(struct job *job, uint64_t now_ns);
static bool quota_has_room(struct job *job, const struct chunk *chunk);
static bool rotate(struct job *job);
static uint64_t segment_age(const struct job *job, const struct writer_config *settings);
static bool oldest_is_over(const struct job *job, uint64_t now_ns);
static bool entries_ready(struct job *job);
static void entries_belong(struct job *job, uint32_t number, uint64_t size);
static unsigned entries_step(struct job *job, uint64_t now_ns);

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
    if (config->rotate) {
        uint64_t part = config->quota / ROTATE_PARTS;

        part = part < SEGMENT_SIZE_MIN ? SEGMENT_SIZE_MIN : part;
        if (config->quota && part < segment_size)
            job->segment_size = part;
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
            job_segment_written(job, segment, chunk);
        else
            chunk_give(job_pool(job), chunk);
    }
    if (!error)
        return;
    if (segment && output == &segment->index) {
        job_segment_index_break(job, segment);
        return;
    }
    if (segment) {
        job_path(job, &segment->name, SEGMENT_PCAPNG, path);
        segment->state = segment->state == SEGMENT_FREE ? SEGMENT_FREE : SEGMENT_BROKEN;
    } else {
        snprintf(path, sizeof(path), "%s/" SEGMENT_ENTRIES_NAME, job->folder);
    }
    job_fail(job, error, path);
}

unsigned job_step(struct job *job, uint64_t now_ns)
{
    const struct writer_config *settings = writer_settings(job->writer);
    unsigned work = 0;

    look_for_files(job, now_ns);
    while (job->queue.first && queue_step(job, now_ns))
        work++;
    if (job->open && job->open->state == SEGMENT_OPEN &&
        (job->state == JOB_FULL || (job->detaching && !job->queue.first) ||
         now_ns - job->open->opened_ns >= segment_age(job, settings)))
        job_segment_close(job, job->open);
    while (job->n_old && job->config.age_ns && oldest_is_over(job, now_ns) && rotate(job))
        work++;
    for (unsigned i = 0; i < 2; i++)
        if (job->segments[i].state != SEGMENT_FREE)
            work += job_segment_step(job, &job->segments[i], now_ns);
    work += entries_step(job, now_ns);
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

void job_release(struct job *job, uint64_t bytes)
{
    uint64_t before = job->bytes;

    if (job->state != JOB_ACTIVE || !job->config.rotate)
        return;
    while (before - job->bytes < bytes && rotate(job))
        ;
    if (job->bytes == before && job->open)
        job_segment_close(job, job->open);
}

void job_close(struct job *job)
{
    for (unsigned i = 0; i < 2; i++)
        if (job->segments[i].state != SEGMENT_FREE)
            job_segment_files_close(job, &job->segments[i]);
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

/* Writes go on into a file that has no name any more; nobody would read it. */
static void look_for_files(struct job *job, uint64_t now_ns)
{
    if (job->state != JOB_ACTIVE || now_ns - job->looked_ns < LOOK_NS)
        return;
    job->looked_ns = now_ns;
    if (job->io->ops->is_gone(job->io, job->folder_file))
        job_fail(job, -ENOENT, job->folder);
    else if (job->open && job->io->ops->is_gone(job->io, job->open->data.file))
        job_fail(job, -ENOENT, "a segment that was being written");
}

/* The oldest chunk of the queue goes where it belongs. -> false: it has to wait. */
static bool queue_step(struct job *job, uint64_t now_ns)
{
    struct chunk *chunk = job->queue.first;
    struct segment *segment;

    if (job->state != JOB_ACTIVE) {
        job_drop(job, chunk_list_pop(&job->queue));
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
    segment = job_segment_ready(job, chunk, now_ns);
    if (!segment)
        return job->state != JOB_ACTIVE;
    job_segment_push(job, segment, chunk_list_pop(&job->queue));
    return true;
}

void job_drop(struct job *job, struct chunk *chunk)
{
    if (chunk->kind == CHUNK_PACKETS)
        job_count(job->state == JOB_FULL ? &job->counters.drop_quota : &job->counters.drop_failed,
                  chunk->n_packets);
    else
        job_count(&job->counters.entries_lost, chunk->n_packets);
    chunk_give(job_pool(job), chunk);
}

bool job_sync(struct job *job, struct output *output, uint64_t now_ns)
{
    const struct writer_config *settings = writer_settings(job->writer);

    if (!output->unsynced || settings->sync == WRITER_SYNC_CLOSE ||
        (settings->sync == WRITER_SYNC_INTERVAL &&
         now_ns - output->synced_ns < settings->sync_interval_ns))
        return false;
    return output_sync(output, job->io, output->file);
}

void job_sync_folder(struct job *job, struct output *output)
{
    if (writer_settings(job->writer)->sync != WRITER_SYNC_CLOSE)
        output_sync(output, job->io, job->folder_file);
}

/* The job can no longer be written. What is under way ends by itself; the rest is dropped. */
void job_fail(struct job *job, int error, const char *what)
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
                job_segment_close(job, job->open);
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
        job_path(job, &oldest->name, i, path);
        if (!oldest->bytes[i])
            continue;
        job->io->ops->remove(job->io, path);
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

/* What goes by age goes by segments: they are small parts of it. */
static uint64_t segment_age(const struct job *job, const struct writer_config *settings)
{
    uint64_t part = job->config.age_ns / ROTATE_PARTS;

    return part && part < settings->segment_age_ns ? part : settings->segment_age_ns;
}

/* All in it is older than the next segment's first packet. */
static bool oldest_is_over(const struct job *job, uint64_t now_ns)
{
    uint64_t next_s = job->n_old > 1 ? job->old[1].name.start_s
                      : job->open    ? job->open->name.start_s
                                     : now_ns / NS_PER_SECOND;

    return next_s * NS_PER_SECOND + job->config.age_ns < now_ns;
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
        if (job->entries.unsynced) {
            output_sync(&job->entries, job->io, job->entries.file);
            return false;
        }
        job->io->ops->close(job->io, job->entries.file);
        job->entries.file = -1;
        job_path(job, &job->entries_name, SEGMENT_ENTRIES, to);
        if (!job->io->ops->rename(job->io, path, to))
            entries_belong(job, job->entries_name.number, job->entries.offset);
    }
    job->entries_name.number = 0;
    if (job->entries.file >= 0)
        return true;
    file = job->io->ops->open(job->io, path, IO_APPEND, false, &size);
    if (file < 0) {
        job_fail(job, file, path);
        return false;
    }
    output_begin(&job->entries, file, false, size);
    job_sync_folder(job, &job->entries);
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

static unsigned entries_step(struct job *job, uint64_t now_ns)
{
    struct chunk *chunk;

    if (job->entries.file < 0)
        return 0;
    if (job->state == JOB_FAILED && job->entries.op == OUTPUT_IDLE)
        while ((chunk = output_drop(&job->entries)))
            job_drop(job, chunk);
    job_sync(job, &job->entries, now_ns);
    if (output_start(&job->entries, job->io))
        return 1;
    if (!job->detaching || job->queue.first || !output_is_idle(&job->entries))
        return 0;
    if (job->entries.unsynced && job->state != JOB_FAILED) {
        output_sync(&job->entries, job->io, job->entries.file);
        return 1;
    }
    if (job->state == JOB_FAILED)
        job->io->ops->truncate(job->io, job->entries.file, job->entries.offset);
    job->io->ops->close(job->io, job->entries.file);
    job->entries.file = -1;
    return 1;
}

void job_path(const struct job *job, const struct segment_name *name, enum segment_file file,
              char *ret_path)
{
    /* writer_attach() has made sure that it fits. */
    ensure(!segment_path(job->folder, job->name, name, file, ret_path, WRITER_PATH_MAX));
}
