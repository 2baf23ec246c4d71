/* cutoff.h - how many bytes of a stream a job has already, for jobs that keep only the first ones.
 *
 * A map from (stream, slot) to bytes. Bounded: when it is full, further streams are kept whole.
 * Thread: its classifier. Memory is taken at creation. */
#ifndef WRITER_CUTOFF_H
#define WRITER_CUTOFF_H

#include <stdint.h>

struct cutoff;

struct cutoff *cutoff_create(unsigned n_max); /* null: no memory */
void cutoff_free(struct cutoff *cutoff);
/* The bytes so far, to be added to; null: full. Valid until the next call. */
uint64_t *cutoff_of(struct cutoff *cutoff, uint64_t stream, unsigned slot);
void cutoff_forget(struct cutoff *cutoff, uint64_t stream, unsigned slot);

#endif
