#include "repair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../dataplane/decode.h"
#include "../dataplane/interface.h"
#include "../dataplane/pcapng_block.h"
#include "index.h"
#include "pcapng_read.h"
#include "segment.h"

enum { PATH_SIZE = 4096 };

struct repairing {
    struct repair done;
    void (*say)(void *context, const char *text);
    void *context;
    int error;
};

/* Whole packets behind the last whole chunk, and what is needed to close them. */
struct rest {
    struct pcapng_reader reader;
    uint64_t begin, end; /* of the rest: the last whole chunk, the last whole block */
    struct chunk_stream *streams;
    struct chunk_run *runs;
    uint32_t n_streams, n_runs, max;
    uint32_t n_interfaces;
    uint16_t linktypes[INTERFACE_MAX];
    uint64_t first_ns, last_ns;
};

static void say(struct repairing *repairing, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int segment_whole(const char *path, uint64_t size, bool *ret_whole);
static int segment_repair(struct repairing *repairing, const char *path, uint64_t size);
static int index_repair(struct repairing *repairing, const char *path, bool anew);
static int entries_repair(struct repairing *repairing, const char *folder);
static int rest_interfaces(void *context, const struct index_chunk *chunk);
static int rest_blocks(struct rest *rest, struct repairing *repairing);
static int rest_packet(struct rest *rest, const struct pcapng_block *block);
static int rest_numbers(void *context, const struct index_chunk *chunk);
static int rest_close(const struct rest *rest, const char *path);

int repair_folder(const char *folder, const char *recording,
                  void (*say_function)(void *context, const char *text), void *context,
                  struct repair *ret_repair)
{
    struct repairing repairing = {.say = say_function, .context = context};
    struct segment_info *segments = NULL;
    unsigned n = 0;
    int error = segment_list(folder, recording, &segments, &n, NULL);

    if (error)
        return error;
    for (unsigned i = 0; i < n; i++) {
        char path[PATH_SIZE];
        bool whole = false;

        if (segment_path(folder, recording, &segments[i].name, SEGMENT_PCAPNG, path, sizeof(path)))
            continue;
        repairing.done.n_segments++;
        error = segment_whole(path, segments[i].bytes[SEGMENT_PCAPNG], &whole);
        if (!error && !whole)
            error = segment_repair(&repairing, path, segments[i].bytes[SEGMENT_PCAPNG]);
        /* Every index: the disk may have been behind by more segments than the newest. */
        if (!error)
            error = index_repair(&repairing, path, !whole);
        if (error) {
            say(&repairing, "%.300s: cannot be repaired: %s", path, strerror(-error));
            repairing.error = repairing.error ? repairing.error : error;
        }
    }
    free(segments);
    error = entries_repair(&repairing, folder);
    *ret_repair = repairing.done;
    return repairing.error ? repairing.error : error;
}

static void say(struct repairing *repairing, const char *format, ...)
{
    char text[512];
    va_list args;

    if (!repairing->say)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    repairing->say(repairing->context, text);
}

/* Does it end with a chunk's padding block that says where it is? */
static int segment_whole(const char *path, uint64_t size, bool *ret_whole)
{
    struct chunk_directory directory;
    struct pcapng_reader reader;
    const uint8_t *at;
    uint32_t block_size, type;
    int error;

    *ret_whole = false;
    if (size < PCAPNG_PADDING_MIN + sizeof(directory))
        return 0;
    error = pcapng_read_open(&reader, path);
    if (error)
        return error;
    at = pcapng_read_bytes(&reader, size - 4, 4);
    if (at) {
        memcpy(&block_size, at, 4);
        if (block_size >= PCAPNG_PADDING_MIN + sizeof(directory) && block_size <= size &&
            block_size <= PCAPNG_BLOCK_MAX &&
            (at = pcapng_read_bytes(&reader, size - block_size, 8 + sizeof(directory)))) {
            memcpy(&type, at, 4);
            memcpy(&directory, at + 8, sizeof(directory));
            *ret_whole = type == PCAPNG_PADDING && directory.magic == CHUNK_DIRECTORY_MAGIC &&
                         directory.offset + directory.size == size;
        }
    }
    pcapng_read_close(&reader);
    return 0;
}

static int segment_repair(struct repairing *repairing, const char *path, uint64_t size)
{
    struct rest *rest = calloc(1, sizeof(*rest));
    struct index_walk walk = {0};
    char index[PATH_SIZE];
    int error;

    if (!rest)
        return -ENOMEM;
    rest->first_ns = UINT64_MAX;
    error = pcapng_read_open(&rest->reader, path);
    if (!error)
        error = index_walk(path, false, rest_interfaces, rest, &walk);
    rest->begin = rest->end = walk.end;
    if (!error)
        error = rest_blocks(rest, repairing);
    if (!error && rest->n_streams)
        error = index_walk(path, false, rest_numbers, rest, &walk);
    pcapng_read_close(&rest->reader);
    if (!error && !rest->end) {
        say(repairing, "%.300s: removed, it has not one whole block (%llu bytes)", path,
            (unsigned long long)size);
        repairing->done.n_removed++;
        error = unlink(path) ? -errno : 0;
        if (!index_path(path, index, sizeof(index)))
            unlink(index);
    } else if (!error) {
        say(repairing, "%.300s: cut at its last whole block, byte %llu of %llu", path,
            (unsigned long long)rest->end, (unsigned long long)size);
        repairing->done.n_cut++;
        error = rest_close(rest, path);
    }
    if (!error)
        repairing->done.cut_bytes += size - rest->end;
    free(rest->streams);
    free(rest->runs);
    free(rest);
    return error;
}

static int ignore_chunk(void *context, const struct index_chunk *chunk)
{
    return 0;
}

/* anew: the segment was changed, its index is not to be trusted. */
static int index_repair(struct repairing *repairing, const char *path, bool anew)
{
    struct index_walk walk;
    char index[PATH_SIZE];
    struct stat stat_;
    int error;

    if (access(path, F_OK)) /* removed */
        return 0;
    if (!anew) {
        error = index_walk(path, true, ignore_chunk, NULL, &walk);
        if (error)
            return error;
        anew = walk.from_blocks || index_path(path, index, sizeof(index)) || stat(index, &stat_);
    }
    if (!anew)
        return 0;
    say(repairing, "%.300s: its index is made anew", path);
    repairing->done.n_indexes++;
    return index_rebuild(path);
}

/* Behind the last whole line. */
static int entries_repair(struct repairing *repairing, const char *folder)
{
    char path[PATH_SIZE], bytes[4096];
    off_t size, keep = 0;
    int error = 0, file;

    snprintf(path, sizeof(path), "%s/" SEGMENT_ENTRIES_NAME, folder);
    file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT ? 0 : -errno;
    size = lseek(file, 0, SEEK_END);
    for (off_t end = size; end > 0 && !keep && !error;) {
        size_t n = end < (off_t)sizeof(bytes) ? (size_t)end : sizeof(bytes);

        if (pread(file, bytes, n, end - (off_t)n) != (ssize_t)n)
            error = -EIO;
        for (size_t i = n; i > 0 && !keep && !error; i--)
            if (bytes[i - 1] == '\n')
                keep = end - (off_t)n + (off_t)i;
        end -= (off_t)n;
    }
    if (!error && keep < size) {
        say(repairing, "%.300s: cut at its last whole line, byte %lld of %lld", path,
            (long long)keep, (long long)size);
        repairing->done.cut_bytes += (uint64_t)(size - keep);
        error = ftruncate(file, keep) ? -errno : 0;
    }
    close(file);
    return error;
}

/* ---- the rest ---- */
/* The link types of the segment's interfaces: packets are decoded by them. */
static int rest_interfaces(void *context, const struct index_chunk *chunk)
{
    struct rest *rest = context;
    struct pcapng_block block;

    if (chunk->n_streams)
        return 0;
    pcapng_read_seek(&rest->reader, chunk->offset);
    while (rest->reader.offset < chunk->offset + chunk->size &&
           pcapng_read_next(&rest->reader, &block) > 0)
        if (block.type == PCAPNG_INTERFACE && rest->n_interfaces < INTERFACE_MAX)
            memcpy(&rest->linktypes[rest->n_interfaces++], block.at + 8, 2);
    return 0;
}

static int rest_blocks(struct rest *rest, struct repairing *repairing)
{
    struct pcapng_block block;
    int error = 0, got;

    pcapng_read_seek(&rest->reader, rest->begin);
    while (!error && (got = pcapng_read_next(&rest->reader, &block)) > 0) {
        /* The first block of all is a section, or this is no segment. */
        if (!block.offset && block.type != PCAPNG_SECTION)
            break;
        if (block.type == PCAPNG_PACKET && block.size >= PCAPNG_PACKET_HEADER + 4) {
            error = rest_packet(rest, &block);
            repairing->done.packets++;
        }
        rest->end = block.offset + block.size;
    }
    return error;
}

static int rest_packet(struct rest *rest, const struct pcapng_block *block)
{
    struct packet packet = {0};
    uint32_t head[7], i = 0;

    memcpy(head, block->at, sizeof(head));
    packet.ts_ns = (uint64_t)head[3] << 32 | head[4];
    packet.caplen = head[5] <= block->size - PCAPNG_PACKET_HEADER - 4 ? head[5] : 0;
    packet.origlen = head[6];
    packet.data = block->at + PCAPNG_PACKET_HEADER;
    packet.linktype = head[2] < rest->n_interfaces ? rest->linktypes[head[2]] : 0;
    decode(&packet, 0);
    while (i < rest->n_streams &&
           memcmp(&rest->streams[i].key, &packet.key, offsetof(struct stream_key, distinguish)))
        i++;
    if (i == UINT16_MAX)
        return -E2BIG;
    if (rest->n_runs == rest->max) {
        uint32_t max = rest->max ? 2 * rest->max : 256;
        struct chunk_run *runs = realloc(rest->runs, max * sizeof(*runs));
        struct chunk_stream *streams = runs ? realloc(rest->streams, max * sizeof(*streams)) : NULL;

        rest->runs = runs ? runs : rest->runs;
        if (!streams)
            return -ENOMEM;
        rest->streams = streams;
        rest->max = max;
    }
    if (i == rest->n_streams)
        rest->streams[rest->n_streams++] = (struct chunk_stream){
            .key = packet.key, .number = UINT64_MAX - i, .first_ns = UINT64_MAX};
    rest->streams[i].packets++;
    rest->streams[i].bytes += packet.origlen;
    if (packet.ts_ns < rest->streams[i].first_ns)
        rest->streams[i].first_ns = packet.ts_ns;
    if (packet.ts_ns > rest->streams[i].last_ns)
        rest->streams[i].last_ns = packet.ts_ns;
    rest->first_ns = packet.ts_ns < rest->first_ns ? packet.ts_ns : rest->first_ns;
    rest->last_ns = packet.ts_ns > rest->last_ns ? packet.ts_ns : rest->last_ns;
    rest->runs[rest->n_runs++] = (struct chunk_run){
        .offset = (uint32_t)(block->offset - rest->begin), .stream = (uint16_t)i, .packets = 1};
    return 0;
}

/* The last stream that had these endpoints in an earlier chunk. */
static int rest_numbers(void *context, const struct index_chunk *chunk)
{
    struct rest *rest = context;

    for (uint32_t i = 0; i < chunk->n_streams; i++)
        for (uint32_t k = 0; k < rest->n_streams; k++)
            if (!memcmp(&chunk->streams[i].key, &rest->streams[k].key,
                        offsetof(struct stream_key, distinguish))) {
                rest->streams[k].number = chunk->streams[i].number;
                rest->streams[k].client = chunk->streams[i].client;
                rest->streams[k].l4 = chunk->streams[i].l4;
                break;
            }
    return 0;
}

/* Cuts the file behind the last whole block, and closes what is then its last chunk. */
static int rest_close(const struct rest *rest, const char *path)
{
    struct chunk chunk = {.used = 0, .n_packets = rest->n_runs};
    const struct chunk_directory directory = {.n_streams = rest->n_streams, .n_runs = rest->n_runs};
    uint64_t size = rest->end - rest->begin;
    uint32_t closing =
        (uint32_t)chunk_directory_size(rest->n_streams, rest->n_runs, 0) + 2 * CHUNK_ALIGN;
    uint32_t into = (uint32_t)(size % CHUNK_ALIGN);
    struct chunk_directory head;
    int error = 0, file = open(path, O_RDWR | O_CLOEXEC);

    if (file < 0)
        return -errno;
    /* chunk_close() aligns from the beginning of its memory: begin as far into a page as the rest
     * ends. */
    chunk.size = closing + CHUNK_ALIGN;
    chunk.data = calloc(1, chunk.size);
    if (!chunk.data) {
        close(file);
        return -ENOMEM;
    }
    chunk.used = into;
    chunk.first_ns = rest->first_ns;
    chunk.last_ns = rest->last_ns;
    if (ftruncate(file, (off_t)rest->end))
        error = -errno;
    if (!error && size) {
        ssize_t n;

        chunk_close(&chunk, &directory, rest->streams, rest->runs, NULL);
        memcpy(&head, chunk.data + chunk.directory, sizeof(head));
        head.offset = rest->begin;
        head.size = (uint32_t)(size + chunk.used - into);
        memcpy(chunk.data + chunk.directory, &head, sizeof(head));
        n = pwrite(file, chunk.data + into, chunk.used - into, (off_t)rest->end);
        if (n != (ssize_t)(chunk.used - into))
            error = n < 0 ? -errno : -ENOSPC;
    }
    if (!error && fsync(file))
        error = -errno;
    close(file);
    free(chunk.data);
    return error;
}
