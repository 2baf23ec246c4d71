/* segment_source.h - the segments of a folder as a source of packets (dataplane/source.h).
 *
 * Packets come in the order of the files: those of one stream in order, streams as they were
 * flushed. Each packet's cookie is the number of its stream (stream_config.recorded). Only chunks
 * with a stream that is wanted are read; the others cost their directory.
 *
 * It reads segments that are being written, too: as far as they are on disk. At the end it waits
 * (rx gives 0) until segment_source_finish() says that nothing more is to come. A segment that has
 * been opened is read to its end, deleted meanwhile or not.
 *
 * One queue, for a pipeline without RX threads: a packet holds until the next rx. The names that
 * the chunks know are looked up by segment_source_name() (struct stream_name_source).
 *
 * Thread: one. */
#ifndef WRITER_SEGMENT_SOURCE_H
#define WRITER_SEGMENT_SOURCE_H

#include "../dataplane/source.h"
#include "index.h"

struct segment_source;

struct segment_source_config {
    const char *folder, *recording; /* must hold still */
    /* Is this stream wanted, of the chunk at this place (segment_source_place())? Null: all. */
    bool (*wanted)(void *context, const struct chunk_stream *stream, uint64_t place);
    void *context;
};

/* -> 0 or -errno. Opens what is there now. */
int segment_source_open(const struct segment_source_config *config, uint16_t number,
                        struct segment_source **ret_source);
struct source *segment_source_base(struct segment_source *source); /* closed by source_close() */

/* Where it is: all chunks before this place were handed out. Places only grow. */
uint64_t segment_source_place(const struct segment_source *source);
/* Did the last rx find that nothing more is on disk? */
bool segment_source_idle(const struct segment_source *source);
/* Again, from the segment of this place on; packets come up to `until`, then it is idle. */
void segment_source_rewind(struct segment_source *source, uint64_t from, uint64_t until);
/* The end is where it is idle next. */
void segment_source_finish(struct segment_source *source);
/* Time of the oldest packet that is there at all; UINT64_MAX: none is. */
uint64_t segment_source_oldest_ns(struct segment_source *source);
/* Bytes of chunks read; segments that were gone or damaged. */
uint64_t segment_source_read_bytes(const struct segment_source *source);
unsigned segment_source_lost_segments(const struct segment_source *source);

/* stream_name_source.lookup; context: the source. */
bool segment_source_name(void *context, const uint8_t addr[16], uint64_t ts_ns,
                         const char **ret_name, const char **ret_namespace);

#endif
