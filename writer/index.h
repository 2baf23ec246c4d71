/* index.h - which streams are where in a segment.
 *
 * The directories of a segment's chunks (chunk.h), one after the other. They are in the file
 * beside it (.idx); where that is missing, damaged, or ends early, they are taken from the segment
 * itself, chunk by chunk. A reader sees no difference but in speed.
 *
 * Thread: any; keeps nothing. */
#ifndef WRITER_INDEX_H
#define WRITER_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "chunk.h"
#include "pcapng_read.h"

/* One chunk. All in order and inside: streams and runs name only what is there, texts end. Valid
 * during the visit. */
struct index_chunk {
    uint64_t offset; /* of the chunk in the segment */
    uint32_t size;
    uint32_t n_streams, n_runs, text_size;
    uint64_t first_ns, last_ns;
    const struct chunk_stream *streams;
    const struct chunk_run *runs;
    const char *text;
};

struct index_walk {
    uint64_t end;         /* of the last whole chunk */
    uint64_t from_blocks; /* bytes of the segment that had to be read for it */
    uint64_t n_chunks;
    bool missing; /* the index knows of chunks behind the end of the segment */
    bool damaged; /* something follows that is no whole chunk */
};

/* Calls visit for each chunk, in the order of the file, until it returns other than 0, which is
 * returned. use_index: false reads the segment alone. -> 0, or -errno (segment not readable). */
int index_walk(const char *segment_path, bool use_index,
               int (*visit)(void *context, const struct index_chunk *chunk), void *context,
               struct index_walk *ret_walk);
/* The same, a chunk at a time. -> 1 a chunk, valid until the next call; 0: no more now (ask again
 * of a segment that grows; walk.damaged may then be a chunk that is being written); -errno. */
struct index_cursor {
    struct pcapng_reader segment, index;
    uint64_t index_at;    /* the next record of the index */
    const uint64_t *only; /* chunks that cannot have this stream are passed over; null: none are */
    uint8_t *rows;
    struct index_walk walk; /* so far */
};
int index_cursor_open(struct index_cursor *ret_cursor, const char *segment_path, bool use_index);
/* Before the first chunk: little is read but of those that may have this stream. */
void index_cursor_look_for(struct index_cursor *cursor, const uint64_t *stream);
int index_cursor_next(struct index_cursor *cursor, struct index_chunk *ret_chunk);
void index_cursor_close(struct index_cursor *cursor);

/* Makes the index file anew from the segment. -> 0 or -errno. */
int index_rebuild(const char *segment_path);
/* The name of the index beside a segment. -> 0, -ENAMETOOLONG, -EINVAL: no segment's name. */
int index_path(const char *segment_path, char *ret_path, size_t size);

/* The name of one end of a stream ("" without), from its chunk. */
const char *index_name(const struct index_chunk *chunk, const struct chunk_stream *stream,
                       unsigned side);

/* Parses a directory: `body` need not be aligned. -> its size, 0 when it is none. `rows` takes the
 * aligned copy that *ret_chunk points into; it has room for INDEX_DIRECTORY_MAX bytes. */
enum { INDEX_DIRECTORY_MAX = 4 << 20 };
uint32_t index_parse(const uint8_t *body, uint64_t size, uint8_t *rows,
                     struct index_chunk *ret_chunk);

#endif
