/* recording_counts.h - the inside of a description: for recording.c and recording_recover.c.
 *
 * Thread: mgmt. */
#ifndef MGMT_RECORDING_COUNTS_H
#define MGMT_RECORDING_COUNTS_H

#include "recording.h"

struct doc *recording_load(const char *store, const char *name); /* null: there is none */
int recording_write(const char *store, const char *name, const struct doc *recording);
struct doc *recording_last_run(struct doc *recording); /* borrowed; null: none */
void recording_set_counts(struct doc *doc, const struct job_counts *counts);
/* Gauges: the larger one stays. */
void recording_add_counts(struct job_counts *counts, const struct doc *doc);

#endif
