/* retention.h - room for recordings: the storage limit and the space that stays free.
 *
 * When there is more than storage.limit, or less is free than storage.free_min, the oldest segments
 * of finished recordings go, one after the other, until it fits. What is being recorded keeps all
 * it has. When nothing finished is left, that is said, and recording goes on until the disk is
 * full: then the jobs fail that need it.
 *
 * Thread: mgmt; looks every few seconds. */
#ifndef MGMT_RETENTION_H
#define MGMT_RETENTION_H

#include "job.h"

void retention_step(struct jobs *jobs, const struct conf *conf, struct schedule_clock clock);

#endif
