#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/pcapng_block.h"
#include "io.h"
#include "pcapng_read.h"

enum { LOOK_STEP = 512 }; /* header and filter of a chunk with some 200 streams */

static int next_of_index(struct index_cursor *cursor, struct index_chunk *ret_chunk);
static bool passes_over(struct index_cursor *cursor, const struct chunk_directory *d);
static int next_of_blocks(struct index_cursor *cursor, struct index_chunk *ret_chunk);
static int write_directory(void *context, const struct index_chunk *chunk);

int index_walk(const char *segment_path, bool use_index,
               int (*visit)(void *context, const struct index_chunk *chunk), void *context,
               struct index_walk *ret_walk)
{
    struct index_cursor cursor;
    struct index_chunk chunk;
    int result = index_cursor_open(&cursor, segment_path, use_index), got = 0;

    if (result)
        return result;
    while (!result && (got = index_cursor_next(&cursor, &chunk)) > 0)
        result = visit(context, &chunk);
    if (ret_walk)
        *ret_walk = cursor.walk;
    index_cursor_close(&cursor);
    return result ? result : got;
}

int index_cursor_open(struct index_cursor *ret_cursor, const char *segment_path, bool use_index)
{
    struct index_cursor cursor = {.index.file = -1};
    char path[4096];
    int error = pcapng_read_open(&cursor.segment, segment_path);

    if (error)
        return error;
    if (use_index && !index_path(segment_path, path, sizeof(path)))
        pcapng_read_open(&cursor.index, path); /* else the segment itself says it */
    cursor.rows = aligned_alloc(64, INDEX_DIRECTORY_MAX);
    if (!cursor.rows) {
        index_cursor_close(&cursor);
        return -ENOMEM;
    }
    *ret_cursor = cursor;
    return 0;
}

void index_cursor_look_for(struct index_cursor *cursor, const uint64_t *stream)
{
    cursor->only = stream;
    cursor->index.step = LOOK_STEP;
}

void index_cursor_close(struct index_cursor *cursor)
{
    free(cursor->rows);
    cursor->rows = NULL;
    pcapng_read_close(&cursor->index);
    pcapng_read_close(&cursor->segment);
}

int index_cursor_next(struct index_cursor *cursor, struct index_chunk *ret_chunk)
{
    int got = cursor->index.file >= 0 ? next_of_index(cursor, ret_chunk) : 0;

    if (!got)
        got = next_of_blocks(cursor, ret_chunk);
    if (got > 0) {
        cursor->walk.end += ret_chunk->size;
        cursor->walk.n_chunks++;
    }
    return got;
}

int index_rebuild(const char *segment_path)
{
    char path[4096], new_path[4096 + 8];
    FILE *file;
    int error = index_path(segment_path, path, sizeof(path)), fd;

    if (error)
        return error;
    snprintf(new_path, sizeof(new_path), "%s.new", path);
    fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, IO_FILE_MODE);
    if (fd < 0)
        return -errno;
    file = fdopen(fd, "w");
    if (!file) {
        close(fd);
        return -ENOMEM;
    }
    error = index_walk(segment_path, false, write_directory, file, NULL);
    if (fclose(file) && !error)
        error = -errno;
    if (!error && rename(new_path, path))
        error = -errno;
    if (error)
        unlink(new_path);
    return error;
}

int index_path(const char *segment_path, char *ret_path, size_t size)
{
    static const char suffix[] = ".pcapng";
    size_t length = strlen(segment_path), stem = length - (sizeof(suffix) - 1);

    if (length < sizeof(suffix) || strcmp(segment_path + stem, suffix))
        return -EINVAL;
    if (stem + sizeof(".idx") > size)
        return -ENAMETOOLONG;
    memcpy(ret_path, segment_path, stem);
    memcpy(ret_path + stem, ".idx", sizeof(".idx"));
    return 0;
}

const char *index_name(const struct index_chunk *chunk, const struct chunk_stream *stream,
                       unsigned side)
{
    return stream->name[side] ? chunk->text + stream->name[side] - 1 : "";
}

uint32_t index_parse(const uint8_t *body, uint64_t size, uint8_t *rows,
                     struct index_chunk *ret_chunk)
{
    struct chunk_directory d;
    struct index_chunk chunk;
    uint64_t total, filter_size;
    uint32_t rows_size;

    if (size < sizeof(d))
        return 0;
    memcpy(&d, body, sizeof(d));
    total = chunk_directory_size(d.n_streams, d.n_runs, d.text_size);
    filter_size = chunk_filter_size(d.n_streams);
    if (d.magic != CHUNK_DIRECTORY_MAGIC || total > size || total > INDEX_DIRECTORY_MAX)
        return 0;
    rows_size = (uint32_t)(total - sizeof(d) - filter_size);
    memcpy(rows, body + sizeof(d) + filter_size, rows_size);
    chunk = (struct index_chunk){.offset = d.offset,
                                 .size = d.size,
                                 .n_streams = d.n_streams,
                                 .n_runs = d.n_runs,
                                 .text_size = d.text_size,
                                 .first_ns = d.first_ns,
                                 .last_ns = d.last_ns,
                                 .streams = (const void *)rows};
    chunk.runs = (const void *)(chunk.streams + d.n_streams);
    chunk.text = (const char *)(chunk.runs + d.n_runs);
    if (d.text_size && chunk.text[d.text_size - 1])
        return 0;
    for (uint32_t i = 0; i < d.n_streams; i++)
        if (chunk.streams[i].name[0] > d.text_size || chunk.streams[i].name[1] > d.text_size ||
            chunk.streams[i].client > 1)
            return 0;
    for (uint32_t i = 0; i < d.n_runs; i++)
        if (chunk.runs[i].stream >= d.n_streams || chunk.runs[i].offset >= d.size)
            return 0;
    *ret_chunk = chunk;
    return (uint32_t)total;
}

/* As long as the index's records follow one another, and are about what is there. Those of chunks
 * that were taken from the segment, because they came later to the index, are passed over. */
static int next_of_index(struct index_cursor *cursor, struct index_chunk *ret_chunk)
{
    for (;;) {
        struct chunk_directory d;
        const uint8_t *body = pcapng_read_bytes(&cursor->index, cursor->index_at, sizeof(d));
        uint64_t size;
        uint32_t parsed;

        if (!body)
            return 0;
        memcpy(&d, body, sizeof(d));
        size = chunk_directory_size(d.n_streams, d.n_runs, d.text_size);
        if (d.magic != CHUNK_DIRECTORY_MAGIC || size > INDEX_DIRECTORY_MAX)
            return 0;
        if (cursor->only && passes_over(cursor, &d)) {
            cursor->index_at += size;
            continue;
        }
        body = pcapng_read_bytes(&cursor->index, cursor->index_at, (uint32_t)size);
        parsed = body ? index_parse(body, size, cursor->rows, ret_chunk) : 0;
        if (!parsed || ret_chunk->offset > cursor->walk.end)
            return 0;
        if (ret_chunk->offset < cursor->walk.end) {
            cursor->index_at += parsed;
            continue;
        }
        if (ret_chunk->offset + ret_chunk->size >
            (uint64_t)lseek(cursor->segment.file, 0, SEEK_END)) {
            cursor->walk.missing = true;
            return 0;
        }
        cursor->index_at += parsed;
        return 1;
    }
}

/* Is it the next chunk, whole on disk, and without the stream that is looked for? */
static bool passes_over(struct index_cursor *cursor, const struct chunk_directory *d)
{
    const uint8_t *filter;

    if (!d->n_streams || d->offset != cursor->walk.end ||
        d->offset + d->size > (uint64_t)lseek(cursor->segment.file, 0, SEEK_END))
        return false;
    filter = pcapng_read_bytes(&cursor->index, cursor->index_at + sizeof(*d),
                               (uint32_t)chunk_filter_size(d->n_streams));
    if (!filter || chunk_filter_may_have(filter, d->n_streams, *cursor->only))
        return false;
    cursor->walk.end += d->size;
    cursor->walk.n_chunks++;
    return true;
}

/* What the index does not have: blocks up to the padding block with a directory. */
static int next_of_blocks(struct index_cursor *cursor, struct index_chunk *ret_chunk)
{
    uint64_t end = cursor->walk.end;
    struct pcapng_block block;
    int got;

    cursor->walk.damaged = false;
    pcapng_read_seek(&cursor->segment, end);
    while ((got = pcapng_read_next(&cursor->segment, &block)) > 0) {
        if (block.type != PCAPNG_PADDING)
            continue;
        if (!index_parse(block.at + 8, block.size - PCAPNG_PADDING_MIN, cursor->rows, ret_chunk) ||
            ret_chunk->offset != end ||
            ret_chunk->offset + ret_chunk->size != block.offset + block.size) {
            cursor->walk.damaged = true;
            return 0;
        }
        cursor->walk.from_blocks += ret_chunk->size;
        return 1;
    }
    cursor->walk.damaged = got < 0 || cursor->segment.offset != end;
    return got < 0 && got != -EBADMSG ? got : 0;
}

static int write_directory(void *context, const struct index_chunk *chunk)
{
    const struct chunk_directory head = {.magic = CHUNK_DIRECTORY_MAGIC,
                                         .offset = chunk->offset,
                                         .size = chunk->size,
                                         .n_streams = chunk->n_streams,
                                         .n_runs = chunk->n_runs,
                                         .text_size = chunk->text_size,
                                         .first_ns = chunk->first_ns,
                                         .last_ns = chunk->last_ns};
    size_t filter_size = chunk_filter_size(chunk->n_streams);
    size_t rows = chunk_directory_size(chunk->n_streams, chunk->n_runs, chunk->text_size) -
                  sizeof(head) - filter_size;
    uint8_t *filter = malloc(filter_size + 1);
    int error = filter ? 0 : -ENOMEM;

    if (filter)
        chunk_filter_make(filter, chunk->streams, chunk->n_streams);
    if (!error && (fwrite(&head, sizeof(head), 1, context) != 1 ||
                   (filter_size && fwrite(filter, filter_size, 1, context) != 1) ||
                   (rows && fwrite(chunk->streams, rows, 1, context) != 1)))
        error = -EIO;
    free(filter);
    return error;
}
