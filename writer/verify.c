#include "verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../dataplane/pcapng_block.h"
#include "index.h"
#include "pcapng_read.h"
#include "segment.h"

enum { PATH_SIZE = 4096, TIMES = 2 * VERIFY_STREAMS_MAX, INTERFACES = INTERFACE_MAX };

struct verifying {
    struct verify done;
    const char *path; /* of the segment at hand */
    void (*say)(void *context, const char *text);
    bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
    uint64_t total_bytes;
    struct pcapng_reader reader; /* follows the chunks of the walk */
    uint32_t n_interfaces;
    uint64_t packets[INTERFACES]; /* of this segment */
    struct {
        uint64_t stream; /* + 1; 0: free */
        uint64_t last_ns;
    } * times;
    uint32_t n_times;
    bool cancelled;
};

static void problem(struct verifying *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int segment(struct verifying *v, const char *path, const struct segment_info *info,
                   bool may_grow);
static int chunk(void *context, const struct index_chunk *chunk);
static void streams(struct verifying *v, const struct index_chunk *chunk);
static bool run(struct verifying *v, const struct index_chunk *chunk, const struct chunk_run *run,
                struct chunk_stream *sum);
static void statistics(struct verifying *v, const struct pcapng_block *block);
static void order(struct verifying *v, uint64_t stream, uint64_t ts_ns);
static void index_file(struct verifying *v, const struct index_walk *blocks);
static void entries(struct verifying *v, const char *path);

int verify_folder(const char *folder, const char *recording, bool open,
                  void (*say)(void *context, const char *text),
                  bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes),
                  void *context, struct verify *ret_verify)
{
    struct verifying v = {.say = say, .progress = progress, .context = context};
    struct segment_info *segments = NULL;
    char path[PATH_SIZE];
    unsigned n = 0;
    int error = segment_list(folder, recording, &segments, &n, NULL);

    if (error)
        return error;
    v.times = calloc(TIMES, sizeof(*v.times));
    if (!v.times)
        error = -ENOMEM;
    for (unsigned i = 0; i < n; i++)
        v.total_bytes += segments[i].bytes[SEGMENT_PCAPNG];
    for (unsigned i = 0; i < n && !error; i++) {
        if (!segments[i].bytes[SEGMENT_PCAPNG])
            continue;
        error =
            segment_path(folder, recording, &segments[i].name, SEGMENT_PCAPNG, path, sizeof(path));
        if (!error)
            error = segment(&v, path, &segments[i], open && i + 2 >= n);
        if (!error && segments[i].bytes[SEGMENT_ENTRIES] &&
            !segment_path(folder, recording, &segments[i].name, SEGMENT_ENTRIES, path,
                          sizeof(path)))
            entries(&v, path);
    }
    snprintf(path, sizeof(path), "%s/" SEGMENT_ENTRIES_NAME, folder);
    if (!error)
        entries(&v, path);
    free(v.times);
    free(segments);
    *ret_verify = v.done;
    return error;
}

static void problem(struct verifying *v, const char *format, ...)
{
    char text[512];
    va_list args;
    int n = snprintf(text, sizeof(text), "%.250s: ", v->path);

    v->done.n_problems++;
    if (!v->say)
        return;
    va_start(args, format);
    vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    va_end(args);
    v->say(v->context, text);
}

static int segment(struct verifying *v, const char *path, const struct segment_info *info,
                   bool may_grow)
{
    struct index_walk walk;
    int error;

    v->path = path;
    v->n_interfaces = 0;
    memset(v->packets, 0, sizeof(v->packets));
    error = pcapng_read_open(&v->reader, path);
    if (!error) {
        error = index_walk(path, false, chunk, v, &walk);
        pcapng_read_close(&v->reader);
    }
    if (v->cancelled)
        return -ECANCELED;
    if (error) {
        problem(v, "cannot be read: %s", strerror(-error));
        return 0;
    }
    v->done.n_segments++;
    v->done.bytes += info->bytes[SEGMENT_PCAPNG];
    if (walk.damaged && !may_grow)
        problem(v, "damaged from byte %" PRIu64 " on (of %" PRIu64 ")", walk.end,
                info->bytes[SEGMENT_PCAPNG]);
    if (!may_grow)
        index_file(v, &walk);
    return 0;
}

/* Each block of the chunk, against its directory. */
static int chunk(void *context, const struct index_chunk *chunk)
{
    struct verifying *v = context;
    struct pcapng_block block;
    uint64_t packets = 0, end = chunk->offset + chunk->size;

    pcapng_read_seek(&v->reader, chunk->offset);
    while (v->reader.offset < end && pcapng_read_next(&v->reader, &block) > 0) {
        uint32_t interface;

        if (!block.offset && block.type != PCAPNG_SECTION)
            problem(v, "does not begin with a section header");
        if (block.type == PCAPNG_INTERFACE && v->n_interfaces < INTERFACES)
            v->n_interfaces++;
        if (block.type == PCAPNG_STATISTICS)
            statistics(v, &block);
        if (block.type != PCAPNG_PACKET)
            continue;
        packets++;
        memcpy(&interface, block.at + 8, 4);
        if (interface >= v->n_interfaces)
            problem(v, "byte %" PRIu64 ": a packet of interface %u, of which there are %u",
                    block.offset, interface, v->n_interfaces);
        else
            v->packets[interface]++;
    }
    for (uint32_t i = 0; i < chunk->n_streams; i++)
        packets -= chunk->streams[i].packets;
    if (v->reader.offset != end || packets)
        problem(v, "byte %" PRIu64 ": the directory of this chunk has other packets than it holds",
                chunk->offset);
    streams(v, chunk);
    v->done.n_chunks++;
    if (v->progress && v->done.n_chunks % 256 == 0 &&
        !v->progress(v->context, v->done.bytes + end, v->total_bytes))
        v->cancelled = true;
    return v->cancelled ? -ECANCELED : 0;
}

static void streams(struct verifying *v, const struct index_chunk *chunk)
{
    struct chunk_stream *sums = calloc(chunk->n_streams + 1, sizeof(*sums));

    if (!sums)
        return;
    for (uint32_t i = 0; i < chunk->n_streams; i++)
        sums[i].first_ns = UINT64_MAX;
    for (uint32_t i = 0; i < chunk->n_runs; i++)
        if (!run(v, chunk, &chunk->runs[i], &sums[chunk->runs[i].stream]))
            problem(v, "byte %" PRIu64 ": no packets where the directory says",
                    chunk->offset + chunk->runs[i].offset);
    for (uint32_t i = 0; i < chunk->n_streams; i++) {
        const struct chunk_stream *said = &chunk->streams[i];

        v->done.packets += sums[i].packets;
        if (said->packets != sums[i].packets || said->bytes != sums[i].bytes ||
            said->first_ns != sums[i].first_ns || said->last_ns != sums[i].last_ns)
            problem(v, "byte %" PRIu64 ": stream %" PRIu64 " is not what the directory says",
                    chunk->offset, said->number);
    }
    free(sums);
}

static bool run(struct verifying *v, const struct index_chunk *chunk, const struct chunk_run *run,
                struct chunk_stream *sum)
{
    struct pcapng_block block;

    pcapng_read_seek(&v->reader, chunk->offset + run->offset);
    for (unsigned i = 0; i < run->packets; i++) {
        uint32_t head[7];
        uint64_t ts_ns;

        if (pcapng_read_next(&v->reader, &block) <= 0 || block.type != PCAPNG_PACKET ||
            block.size < PCAPNG_PACKET_HEADER + 4)
            return false;
        memcpy(head, block.at, sizeof(head));
        ts_ns = (uint64_t)head[3] << 32 | head[4];
        if (head[5] > block.size - PCAPNG_PACKET_HEADER - 4)
            return false;
        sum->packets++;
        sum->bytes += head[6];
        sum->first_ns = ts_ns < sum->first_ns ? ts_ns : sum->first_ns;
        sum->last_ns = ts_ns > sum->last_ns ? ts_ns : sum->last_ns;
        order(v, chunk->streams[run->stream].number, ts_ns);
    }
    return true;
}

/* isb_osdrop and isb_usrdeliv, as segment_tail() writes them. */
static void statistics(struct verifying *v, const struct pcapng_block *block)
{
    uint32_t interface, at = 20;
    uint64_t delivered = UINT64_MAX, dropped = 0;

    memcpy(&interface, block->at + 8, 4);
    while (at + 4 <= block->size - 4) {
        uint16_t option[2];

        memcpy(option, block->at + at, 4);
        if (!option[0] || at + 4 + pcapng_padded(option[1]) > block->size - 4)
            break;
        if (option[1] == 8 && option[0] == PCAPNG_OPTION_STATISTICS_DELIVERED)
            memcpy(&delivered, block->at + at + 4, 8);
        if (option[1] == 8 && option[0] == PCAPNG_OPTION_STATISTICS_OS_DROPPED)
            memcpy(&dropped, block->at + at + 4, 8);
        at += 4 + pcapng_padded(option[1]);
    }
    v->done.lost += dropped;
    if (interface >= v->n_interfaces || delivered != v->packets[interface])
        problem(v, "the statistics of interface %u say %" PRIu64 " packets, there are %" PRIu64,
                interface, delivered, interface < v->n_interfaces ? v->packets[interface] : 0);
}

static void order(struct verifying *v, uint64_t stream, uint64_t ts_ns)
{
    uint32_t at = (uint32_t)(stream * UINT64_C(0x9e3779b97f4a7c15) >> 32) % TIMES;

    while (v->times[at].stream && v->times[at].stream != stream + 1)
        at = (at + 1) % TIMES;
    if (!v->times[at].stream) {
        if (v->n_times == VERIFY_STREAMS_MAX)
            return;
        v->n_times++;
        v->times[at].stream = stream + 1;
    } else if (ts_ns < v->times[at].last_ns) {
        v->done.backwards++;
    }
    v->times[at].last_ns = ts_ns;
}

static int nothing(void *context, const struct index_chunk *chunk)
{
    return 0;
}

/* The index must lead through the whole segment by itself. */
static void index_file(struct verifying *v, const struct index_walk *blocks)
{
    struct index_walk walk;
    char path[PATH_SIZE];
    struct stat stat_;

    if (index_path(v->path, path, sizeof(path)) || stat(path, &stat_))
        v->done.n_no_index++; /* a full disk has no room for it */
    else if (index_walk(v->path, true, nothing, NULL, &walk) || walk.from_blocks ||
             walk.end != blocks->end || walk.n_chunks != blocks->n_chunks)
        problem(v, "its index does not fit");
    else if (walk.missing)
        problem(v, "cut short: its index knows of chunks behind byte %" PRIu64, walk.end);
}

static void entries(struct verifying *v, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    if (!file)
        return;
    v->path = path;
    while ((n = getline(&line, &size, file)) > 0) {
        if (n < 3 || line[0] != '{' || line[n - 1] != '\n' || line[n - 2] != '}')
            problem(v, "line %" PRIu64 " is no entry", v->done.entries + 1);
        v->done.entries++;
    }
    free(line);
    fclose(file);
}
