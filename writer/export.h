/* export.h - segments of one or more recordings as one PCAPNG, in time order.
 *
 *      1. each segment's index is walked: which chunks hold something wanted, from when to when;
 *         interfaces are collected, equal ones become one;
 *      2. chunks are loaded when their time comes and merged packet by packet. Chunks overlap
 *         where a stream's past was flushed: all that reach over the same moment are loaded at
 *         once, up to `memory` bytes; beyond that the one needed last is dropped and read again.
 *
 * All segments are opened first: what a quota or a limit deletes meanwhile is exported all the
 * same. Only chunks with something wanted are read. Packets of equal time keep the order of the
 * files. Segments that are being written can be exported: as far as they are on disk.
 *
 * Thread: any; one call is one export. A thread of its own writes while the next is merged. */
#ifndef WRITER_EXPORT_H
#define WRITER_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

enum { EXPORT_ERROR_SIZE = 320 };

struct export_config {
    const char *const *segments; /* paths, in order */
    unsigned n_segments;
    /* Which streams; null: all. `segment` counts in `segments`. */
    bool (*wanted)(void *context, unsigned segment, uint64_t stream);
    void *wanted_context;
    int output;          /* descriptor to write to */
    uint64_t memory;     /* bytes for loaded chunks; 0: 256 MiB */
    const char *comment; /* of the section; may be null */
    /* Called now and then; false stops the export (-ECANCELED). May be null. */
    bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *progress_context;
};

struct export_result {
    uint64_t packets;
    uint64_t bytes;      /* written */
    uint64_t read_bytes; /* of chunks */
    unsigned n_gone;     /* segments that were deleted before they could be opened */
    unsigned n_damaged;  /* segments that end in something broken: exported up to there */
};

/* -> 0 or -errno with a message that names the file. */
int export_run(const struct export_config *config, struct export_result *ret_result,
               char reterr_text[static EXPORT_ERROR_SIZE]);

/* `wanted` for one number: context points to it. Then hardly more is read than its chunks. */
bool export_wants_stream(void *context, unsigned segment, uint64_t stream);

#endif
