/* disk.h - the recorder and the writer as tapedeckd has them, for one job: what a bench records
 * goes to segments in a folder, which are removed at the end.
 *
 * Give disk_recorder(), disk_step() and disk_wait() to a pipeline; after its end disk_close(). A
 * source that asks disk_ready() before each burst never loses a packet to a slow disk. */
#ifndef BENCH_DISK_H
#define BENCH_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/recorder.h"

struct disk;

struct disk *disk_open(const char *folder);
struct recorder *disk_recorder(struct disk *disk);
unsigned disk_step(void *disk);
void disk_wait(void *disk, uint64_t timeout_ns);
bool disk_ready(void *disk);

struct disk_written {
    uint64_t bytes;   /* of segments and what lies beside them */
    uint64_t packets; /* in them */
    uint64_t lost;
};
/* Waits until all is written, synced and closed. */
struct disk_written disk_close(struct disk *disk);
/* Removes what was written, and frees. */
void disk_free(struct disk *disk);

#endif
