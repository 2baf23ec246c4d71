/* retention.h - the store stays within its limits.
 *
 * When there is more than storage.limit, or less is free than storage.free_min, the oldest segments
 * of finished recordings go, one after the other, until it fits; then the oldest segments of jobs
 * that rotate, which the writer deletes itself. What else is being recorded, or is to go on, keeps
 * all it has, and so does a recording that is being exported (recording_is_held()). When nothing is
 * left that may go, that is said, and recording goes on until the disk is full: then the jobs fail
 * that need it. Bytes are blocks on disk, looked at anew each time: right after a restart, too.
 *
 * Thread: mgmt; looks every few seconds. */
#ifndef MGMT_RETENTION_H
#define MGMT_RETENTION_H

#include "job.h"

struct retention { /* zero at first */
    uint64_t looked_ns;
    bool said;
};

void retention_step(struct retention *retention, struct jobs *jobs, const struct conf *conf,
                    struct schedule_clock clock);

#endif
