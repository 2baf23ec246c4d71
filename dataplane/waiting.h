/* waiting.h - entries that cannot be decided before their stream ends.
 *
 * `conn.packets > 100 and response.status == 500`: when the response is complete the count is not.
 * Such an entry is kept, as small as its facts are, and asked about again at the stream's end.
 *
 * Thread: the classifier that owns it. Memory: a pool, bounded; an entry that finds no room is
 * counted (entries_lost) and forgotten. */
#ifndef DATAPLANE_WAITING_H
#define DATAPLANE_WAITING_H

#include <stdbool.h>
#include <stdint.h>

#include "../kfl-jit/entry.h"
#include "counters.h"
#include "stream.h"

struct waiting;

/* memory: bytes. unbounded: it may grow beyond (`read` of files). -> 0 or -errno. */
int waiting_create(uint64_t memory, bool unbounded, struct counters *counters,
                   struct waiting **ret_waiting);
void waiting_free(struct waiting *waiting);

/* Keeps a copy of the entry for the jobs in `ask`. */
void waiting_keep(struct waiting *waiting, struct stream *stream, const struct kfl_entry *entry,
                  uint64_t ask);
/* Gives back the stream's oldest entry, and the jobs it was kept for; false: there is none. It
 * holds until the next call. entry->stream is null. */
bool waiting_next(struct waiting *waiting, struct stream *stream, struct kfl_entry *ret_entry,
                  uint64_t *ret_ask);
/* The jobs that its entries wait for. */
uint64_t waiting_ask(const struct waiting *waiting, const struct stream *stream);
/* Nobody asks about them any more. */
void waiting_drop(struct waiting *waiting, struct stream *stream);

#endif
