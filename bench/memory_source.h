/* memory_source.h - a source whose packets lie in memory: a capture, read before the clock starts,
 * handed out once or several times over. What it costs is what a driver costs to fill in a packet.
 *
 * Life: frames_load(), then for each run memory_source_init() and give it to a pipeline. */
#ifndef BENCH_MEMORY_SOURCE_H
#define BENCH_MEMORY_SOURCE_H

#include "../dataplane/source.h"

struct frame { /* the bytes begin a cache line each */
    const uint8_t *data;
    uint64_t ts_ns;
    uint32_t caplen, origlen;
};

struct memory_source {
    struct source_base base;
    const struct frame *frames;
    unsigned n, at;
    unsigned laps;   /* that are left; a later lap's times are later */
    uint64_t lap_ns; /* how much later the present one's are */
    /* Null, or: is there room for what comes of a burst? As long as there is not it hands out
     * nothing, as a disk that is slower than memory asks for. */
    bool (*ready)(void *context);
    void *context;
};

/* The Ethernet capture's frames, copied. Ends the program with a message if it can't. -> how many
 */
unsigned frames_load(const char *path, struct frame **ret_frames);

void memory_source_init(struct memory_source *source, const struct frame *frames, unsigned n,
                        unsigned laps);

/* Prints `PROGRAM: what: why` and ends the program. */
__attribute__((noreturn)) void fail(const char *what, const char *why);

#endif
