#include "job_segment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "keylog.h"

static bool segment_open(struct job *job, uint64_t first_ns, uint64_t now_ns);
static bool segment_describe(struct job *job, struct segment *segment, unsigned n);
static bool segment_describe_secrets(struct job *job, struct segment *segment, uint64_t now_ns);
static void count_lost(struct job *job, struct segment *segment);
static void segment_finish(struct job *job, struct segment *segment);
static void segment_break(struct job *job, struct segment *segment);
static struct chunk *own_chunk(struct job *job);

struct segment *job_segment_ready(struct job *job, const struct chunk *chunk, uint64_t now_ns)
{
    unsigned n = interface_count();

    if (job->open && job->open->size + chunk->used > job->segment_size &&
        (job->open->data.list.first || job->open->n_packets))
        job_segment_close(job, job->open);
    if (!job->open && !segment_open(job, chunk->first_ns, now_ns))
        return NULL;
    if (chunk->n_interfaces > job->open->n_heads || !job->open->n_heads)
        if (!segment_describe(job, job->open, n > chunk->n_interfaces ? n : chunk->n_interfaces))
            return NULL;
    return segment_describe_secrets(job, job->open, now_ns) ? job->open : NULL;
}

void job_segment_push(struct job *job, struct segment *segment, struct chunk *chunk)
{
    memcpy(chunk->data + chunk->directory + offsetof(struct chunk_directory, offset),
           &segment->size, sizeof(segment->size));
    segment->size += chunk->used;
    job->bytes += chunk->used + chunk->directory_size;
    for (uint32_t i = 0; i < chunk->n_counts; i++)
        segment->statistics.packets[chunk->counts[i].number] += chunk->counts[i].packets;
    output_push(&segment->data, chunk);
}

void job_segment_close(struct job *job, struct segment *segment)
{
    ensure(segment == job->open);
    segment->state = SEGMENT_CLOSING;
    job->open = NULL;
    job->entries_name = segment->name;
}

unsigned job_segment_step(struct job *job, struct segment *segment, uint64_t now_ns)
{
    if (segment->state == SEGMENT_BROKEN) {
        if (segment->data.op == OUTPUT_IDLE && segment->index.op == OUTPUT_IDLE)
            segment_break(job, segment);
        return 1;
    }
    if (segment->state <= SEGMENT_CLOSING)
        job_sync(job, &segment->data, now_ns);
    if ((!job_segment_gathers(job, segment, now_ns) && output_start(&segment->data, job->io)) +
        output_start(&segment->index, job->io))
        return 1;
    if (segment->state == SEGMENT_OPEN || !output_is_idle(&segment->data) ||
        !output_is_idle(&segment->index))
        return 0;
    if (segment->state == SEGMENT_CLOSING && !segment->tail_done) {
        struct chunk *chunk;

        /* Closed before it had its section: an empty file is no PCAPNG file. And what was lost may
         * be of an interface that is new. */
        if ((!segment->size || segment->n_heads < interface_count()) &&
            !segment_describe(job, segment, interface_count()))
            return 0;
        if (!segment_describe_secrets(job, segment, now_ns))
            return 0;
        chunk = own_chunk(job);
        if (!chunk)
            return 0;
        if (!segment->n_tails)
            count_lost(job, segment);
        segment_tail(chunk, &segment->statistics, segment->n_heads, &segment->n_tails);
        segment->tail_done = segment->n_tails == segment->n_heads;
        job_segment_push(job, segment, chunk);
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

bool job_segment_gathers(const struct job *job, const struct segment *segment, uint64_t now_ns)
{
    const struct output *data = &segment->data;
    const struct chunk *chunk = data->list.first;
    unsigned n = 0, n_all;

    if (segment->state != SEGMENT_OPEN || data->op != OUTPUT_IDLE || !chunk ||
        now_ns - data->begun_ns >= writer_settings(job->writer)->gather_ns ||
        chunk_free(job_pool(job), chunk->classifier, &n_all) < n_all / 2)
        return false;
    for (; chunk && n < WRITER_GATHER; chunk = chunk->next)
        n++;
    return n < WRITER_GATHER;
}

void job_segment_written(struct job *job, struct segment *segment, struct chunk *chunk)
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
        chunk_give(job_pool(job), chunk);
    else
        output_push(&segment->index, chunk);
}

void job_segment_index_break(struct job *job, struct segment *segment)
{
    char path[WRITER_PATH_MAX];
    struct chunk *chunk;

    while ((chunk = output_drop(&segment->index)))
        chunk_give(job_pool(job), chunk);
    segment->index_broken = true;
    job->io->ops->close(job->io, segment->index.file);
    segment->index.file = -1;
    job_path(job, &segment->name, SEGMENT_INDEX, path);
    job->io->ops->remove(job->io, path);
}

void job_segment_files_close(struct job *job, struct segment *segment)
{
    job->io->ops->close(job->io, segment->data.file);
    segment->data.file = -1;
    if (segment->index.file >= 0)
        job->io->ops->close(job->io, segment->index.file);
    segment->index.file = -1;
    segment->state = SEGMENT_FREE;
}

static bool segment_open(struct job *job, uint64_t first_ns, uint64_t now_ns)
{
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
    job_path(job, &segment->name, SEGMENT_PCAPNG, path);
    file = job->io->ops->open(job->io, path, IO_CREATE, true, NULL);
    if (file < 0) {
        job_fail(job, file, path);
        return false;
    }
    output_begin(&segment->data, file, true, 0);
    job_path(job, &segment->name, SEGMENT_INDEX, path);
    file = job->io->ops->open(job->io, path, IO_CREATE, false, NULL);
    output_begin(&segment->index, file < 0 ? -1 : file, false, 0);
    segment->index_broken = file < 0;
    segment->state = SEGMENT_OPEN;
    segment->opened_ns = now_ns;
    job->next_number++;
    job->open = segment;
    job_count(&job->counters.segments, 1);
    job_sync_folder(job, &segment->data);
    return true;
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
        job_segment_push(job, segment, chunk);
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
                                segment_secrets_max(chunk_size(job_pool(job))), &lines))) {
        struct chunk *chunk = own_chunk(job);

        if (!chunk)
            return false;
        segment_secrets(chunk, lines, size);
        segment->secrets += size;
        job_segment_push(job, segment, chunk);
    }
    return true;
}

/* Packets that found no chunk since the last segment was closed. */
static void count_lost(struct job *job, struct segment *segment)
{
    for (unsigned k = 0; k < segment->n_heads; k++) {
        uint64_t lost = 0;

        for (unsigned i = 0; i < chunk_classifiers(job_pool(job)); i++)
            lost += atomic_load_explicit(&chunk_counters(job_pool(job), i, job->slot)->lost[k],
                                         memory_order_relaxed);
        segment->statistics.lost[k] = lost - job->lost_told[k];
        job->lost_told[k] = lost;
    }
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

    job_path(job, &segment->name, SEGMENT_PCAPNG, path);
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
    job_segment_files_close(job, segment);
}

/* The disk failed it: keep the whole chunks that are written. */
static void segment_break(struct job *job, struct segment *segment)
{
    char path[WRITER_PATH_MAX];
    struct chunk *chunk;

    while ((chunk = output_drop(&segment->data)))
        job_drop(job, chunk);
    while ((chunk = output_drop(&segment->index)))
        chunk_give(job_pool(job), chunk);
    /* If the disk refuses this as well, the repair at the next start does it. */
    job->io->ops->truncate(job->io, segment->data.file, segment->data.offset);
    if (segment->index.file >= 0)
        job->io->ops->truncate(job->io, segment->index.file, segment->index.offset);
    for (unsigned i = 0; !segment->data.offset && i <= SEGMENT_INDEX; i++) {
        /* Nothing was written: an empty file is no PCAPNG file. */
        job_path(job, &segment->name, i, path);
        job->io->ops->remove(job->io, path);
    }
    job_segment_files_close(job, segment);
}

/* The writer's own chunks: headers and statistics. */
static struct chunk *own_chunk(struct job *job)
{
    struct chunk *chunk = chunk_take(job_pool(job), chunk_classifiers(job_pool(job)));

    if (chunk) {
        chunk->slot = (uint8_t)job->slot;
        chunk->run = job->run;
    }
    return chunk;
}
