/* metrics.h - the rows of `tapedeck stats` as text that Prometheus reads.
 *
 * Families come from metrics.def, counters.def and job_count.def; labels from the rows. Pure: rows
 * in, text out. Thread: mgmt. */
#ifndef MGMT_METRICS_H
#define MGMT_METRICS_H

#include <stdio.h>

#include "../writer/writer.h"
#include "doc.h"

void metrics_write(const struct doc *rows, const struct writer_latency *latency, FILE *out);

#endif
