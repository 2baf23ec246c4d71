/* stats.h - the counters as rows for `tapedeck stats`: sources, cores, protocols, and the sum that
 * must hold.
 *
 * Thread: any; the counters are read as they are. */
#ifndef MGMT_STATS_H
#define MGMT_STATS_H

#include "../dataplane/pipeline.h"
#include "doc.h"

/* Appends a row each: "kind" is "source", "core", "protocol" or "sum". With one source its row has the parts of
 * the sum, too; `difference` is that of all sources together. */
void stats_rows(struct pipeline *pipeline, struct source *const *sources, unsigned n_sources,
                struct doc *rows);

#endif
