/* segment.h - one PCAPNG file of a recording: its names, and the blocks that frame it.
 *
 *      [section, interfaces, padding][chunk][chunk]...[further interfaces][chunk]...[statistics]
 *
 * Each bracket is one chunk, a multiple of 4 KiB, ended by a padding block with a directory
 * (chunk.h): a reader can go from one to the next. A folder may hold segments of several runs of a
 * job; their numbers only grow.
 *
 *      NAME-20260102T030405Z-000001.pcapng          the segment
 *      NAME-20260102T030405Z-000001.idx             its chunks' directories, one after the other
 *      NAME-20260102T030405Z-000001.entries.ndjson  entries that matched while it was written
 *      entries.ndjson                               ... of the newest segment
 *
 * Functions on chunks: the writer's thread. The others: any. */
#ifndef WRITER_SEGMENT_H
#define WRITER_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../dataplane/interface.h"
#include "chunk.h"

enum { SEGMENT_FILTER_MAX = 4096 }; /* bytes of the statement in an interface block */
#define SEGMENT_ENTRIES_NAME "entries.ndjson"

enum segment_file { SEGMENT_PCAPNG, SEGMENT_INDEX, SEGMENT_ENTRIES, SEGMENT_FILE_COUNT };

struct segment_name {
    uint64_t start_s; /* UTC */
    uint32_t number;
};

/* What is in a folder. */
struct segment_info {
    struct segment_name name;
    uint64_t bytes[SEGMENT_FILE_COUNT]; /* file sizes; 0: not there */
    uint64_t packets;                   /* as far as known: of segments written in this run */
};

struct segment_about {
    const char *hardware, *os, *application;
    const char *recording;
    const char *statement; /* SEGMENT_FILTER_MAX at most */
};

struct segment_statistics {
    uint64_t first_ns, last_ns;
    uint64_t packets[INTERFACE_MAX];
    uint64_t lost[INTERFACE_MAX]; /* drop_no_chunk */
};

/* The path of a file. -> 0, -ENAMETOOLONG. */
int segment_path(const char *folder, const char *recording, const struct segment_name *name,
                 enum segment_file file, char *ret_path, size_t size);
/* Is this the name of a file of such a segment? */
bool segment_name_parse(const char *file_name, const char *recording, struct segment_name *ret_name,
                        enum segment_file *ret_file);
/* The segments in a folder by number; malloc'ed. -> 0 (also when there is no folder) or -errno. */
int segment_list(const char *folder, const char *recording, struct segment_info **ret_segments,
                 unsigned *ret_n, uint64_t *ret_bytes);

/* Fills an empty chunk with the section (when *first is 0) and the interfaces from *first to n, as
 * many as it holds, and closes it; *first moves on. */
void segment_head(struct chunk *chunk, const struct segment_about *about, unsigned n,
                  unsigned *first);
/* A chunk of TLS keys: lines of a key log, segment_secrets_max() bytes at most. */
void segment_secrets(struct chunk *chunk, const char *lines, uint32_t size);
uint32_t segment_secrets_max(uint32_t chunk_size);
/* As segment_head(), for the statistics of the interfaces that have any. */
void segment_tail(struct chunk *chunk, const struct segment_statistics *statistics, unsigned n,
                  unsigned *first);

#endif
