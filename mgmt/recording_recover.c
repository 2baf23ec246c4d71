/* recording_recover.c - counts of a recording after a crash, from what is on disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../writer/index.h"
#include "../writer/segment.h"
#include "recording.h"
#include "recording_counts.h"

/* What the process that was killed left behind. */
struct found {
    struct job_counts counts; /* its packets and streams; entries: of all segments */
    uint64_t *streams;        /* a set of numbers + 1, open addressing */
    size_t n_streams, streams_size;
    int error;
};

static int look(const char *folder, const char *name, uint32_t first, struct found *found);
static int look_at_chunk(void *context, const struct index_chunk *chunk);
static bool add_stream(struct found *found, uint64_t number);
static int grow(struct found *found);
static uint64_t count_lines(const char *path);
static void agree(struct job_counts *counts, const struct found *found, uint64_t other_entries);

int recording_recover(const char *store, const char *name)
{
    struct doc *recording = recording_load(store, name);
    struct job_counts all, before = {0}, counts = {0};
    struct found found = {0};
    char folder[JOB_PATH_SIZE];
    struct doc *run;
    int err = 0;

    if (!recording || !recording_is_open(recording))
        goto out;
    run = recording_last_run(recording);
    if (!doc_uint(run, "segment", 0))
        goto out;
    recording_path(store, name, folder);
    err = look(folder, name, (uint32_t)doc_uint(run, "segment", 0), &found);
    if (err)
        goto out;
    recording_sum(recording, &all);
    recording_add_counts(&before, doc_get(run, "before"));
    recording_add_counts(&counts, run);
    all.value[JOB_COUNT_entries] -= counts.value[JOB_COUNT_entries];
    for (unsigned i = 0; i < JOB_COUNT_COUNT; i++) /* of that process alone */
        if (job_count_info[i].kind != JOB_COUNT_KIND_GAUGE)
            counts.value[i] -= before.value[i];
    agree(&counts, &found, all.value[JOB_COUNT_entries] + before.value[JOB_COUNT_entries]);
    counts.value[JOB_COUNT_stored] = recording_measure(store, name).bytes;
    recording_count(recording, &counts, 0);
    recording_sum(recording, &all);
    recording_set_counts(recording, &all);
    err = recording_write(store, name, recording);
out:
    free(found.streams);
    if (recording)
        doc_free(recording);
    return err;
}

/* Segments from `first` on. */
static int look(const char *folder, const char *name, uint32_t first, struct found *found)
{
    struct segment_info *segments = NULL;
    uint64_t *value = found->counts.value;
    char path[JOB_PATH_SIZE + 512];
    unsigned n = 0;
    int err = segment_list(folder, name, &segments, &n, NULL);

    for (unsigned i = 0; !err && i < n; i++) {
        struct index_walk walk;

        if (!segment_path(folder, name, &segments[i].name, SEGMENT_ENTRIES, path, sizeof(path)))
            value[JOB_COUNT_entries] += count_lines(path);
        if (segments[i].name.number < first || !segments[i].bytes[SEGMENT_PCAPNG] ||
            segment_path(folder, name, &segments[i].name, SEGMENT_PCAPNG, path, sizeof(path)))
            continue;
        value[JOB_COUNT_segments]++;
        err = index_walk(path, true, look_at_chunk, found, &walk);
    }
    free(segments);
    snprintf(path, sizeof(path), "%s/" SEGMENT_ENTRIES_NAME, folder);
    value[JOB_COUNT_entries] += count_lines(path);
    value[JOB_COUNT_streams] = found->n_streams;
    return err;
}

static int look_at_chunk(void *context, const struct index_chunk *chunk)
{
    struct found *found = context;
    struct job_counts *counts = &found->counts;

    for (uint32_t i = 0; i < chunk->n_streams; i++) {
        const struct chunk_stream *stream = &chunk->streams[i];

        counts->value[JOB_COUNT_packets] += stream->packets;
        counts->value[JOB_COUNT_bytes] += stream->bytes;
        counts->value[JOB_COUNT_head_missing] += stream->head_missing;
        if (!counts->first_ns || stream->first_ns < counts->first_ns)
            counts->first_ns = stream->first_ns;
        if (stream->last_ns > counts->last_ns)
            counts->last_ns = stream->last_ns;
        if (!add_stream(found, stream->number))
            return -ENOMEM;
    }
    return 0;
}

static bool add_stream(struct found *found, uint64_t number)
{
    size_t at;

    if (2 * (found->n_streams + 1) > found->streams_size && grow(found))
        return false;
    at = (number * UINT64_C(0x9e3779b97f4a7c15)) % found->streams_size;
    while (found->streams[at] && found->streams[at] != number + 1)
        at = (at + 1) % found->streams_size;
    found->n_streams += !found->streams[at];
    found->streams[at] = number + 1;
    return true;
}

static int grow(struct found *found)
{
    struct found larger = {.streams_size = found->streams_size ? 2 * found->streams_size : 1024};

    larger.streams = calloc(larger.streams_size, sizeof(*larger.streams));
    if (!larger.streams)
        return -ENOMEM;
    for (size_t i = 0; i < found->streams_size; i++)
        if (found->streams[i])
            add_stream(&larger, found->streams[i] - 1);
    free(found->streams);
    found->streams = larger.streams;
    found->streams_size = larger.streams_size;
    return 0;
}

static uint64_t count_lines(const char *path)
{
    FILE *file = fopen(path, "re");
    char buffer[1 << 16];
    uint64_t n = 0;
    size_t size;

    while (file && (size = fread(buffer, 1, sizeof(buffer), file)) > 0)
        for (const char *at = buffer; (at = memchr(at, '\n', size - (size_t)(at - buffer))); at++)
            n++;
    if (file)
        fclose(file);
    return n;
}

/* The disk may have more than was counted when the counts were last saved; what it has less has
 * been deleted meanwhile, and what was counted but not written is gone with the process. */
static void agree(struct job_counts *counts, const struct found *found, uint64_t other_entries)
{
    const uint64_t *there = found->counts.value;
    uint64_t *value = counts->value;
    uint64_t written = there[JOB_COUNT_packets] + value[JOB_COUNT_rotated];
    uint64_t accounted;

    if (written > value[JOB_COUNT_written])
        value[JOB_COUNT_written] = written;
    value[JOB_COUNT_rotated] = value[JOB_COUNT_written] - there[JOB_COUNT_packets];
    accounted = value[JOB_COUNT_written] + value[JOB_COUNT_drop_failed] +
                value[JOB_COUNT_drop_quota] + value[JOB_COUNT_drop_killed];
    if (accounted > value[JOB_COUNT_packets])
        value[JOB_COUNT_packets] = accounted;
    value[JOB_COUNT_drop_killed] += value[JOB_COUNT_packets] - accounted;
    for (unsigned i = 0; i < JOB_COUNT_COUNT; i++)
        if ((i == JOB_COUNT_bytes || i == JOB_COUNT_streams || i == JOB_COUNT_segments ||
             i == JOB_COUNT_head_missing) &&
            there[i] > value[i])
            value[i] = there[i];
    if (there[JOB_COUNT_entries] > other_entries + value[JOB_COUNT_entries])
        value[JOB_COUNT_entries] = there[JOB_COUNT_entries] - other_entries;
    if (found->counts.first_ns && (!counts->first_ns || found->counts.first_ns < counts->first_ns))
        counts->first_ns = found->counts.first_ns;
    if (found->counts.last_ns > counts->last_ns)
        counts->last_ns = found->counts.last_ns;
}
