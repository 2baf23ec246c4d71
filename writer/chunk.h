/* chunk.h - whole PCAPNG blocks of one job on their way to disk.
 *
 * A classifier fills a chunk per job with finished blocks (copied from the lookback or made from a
 * packet), closes it with a padding block (a local block type, readers skip it) to a multiple of
 * 4 KiB, and gives it to the writer. The padding block's body is the chunk's directory: one
 * chunk_ref for each run of packets of one stream, so the segment's index can be made without
 * decoding packets again. A chunk of kind CHUNK_ENTRIES holds matched entries instead.
 *
 * Ownership: the pool, a classifier, the ring, the writer, the kernel: one at a time. Memory: one
 * mapping, registered with io_uring. Source: draft-ietf-opsawg-pcapng. */
#ifndef WRITER_CHUNK_H
#define WRITER_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/ring.h"

enum { CHUNK_ALIGN = 4096, CHUNK_SIZE_DEFAULT = 256 << 10 };

enum chunk_kind { CHUNK_PACKETS, CHUNK_ENTRIES };

struct chunk {
    uint8_t *data;         /* aligned to CHUNK_ALIGN */
    uint32_t size;         /* capacity */
    uint32_t used;
    uint16_t number;       /* in the pool; also the registered buffer's index */
    uint8_t kind;          /* enum chunk_kind */
    uint8_t slot;          /* of the job in the plan */
    uint32_t run;          /* which use of the slot: a late chunk of a job that is gone */
    uint32_t n_interfaces; /* interfaces that must be described before it */
    uint32_t n_packets;
    uint64_t packet_bytes; /* original lengths */
    uint64_t first_ns, last_ns; /* packet times */
    uint64_t opened_ns;    /* when its first block came, for flush_ms */
    uint64_t lost_packets; /* since the last chunk of this job: drop_no_chunk */
};

/* One pool for all; each classifier takes from and the writer gives back to a ring of its own, so
 * both ends stay single. */
struct chunk_pool;

int chunk_pool_create(unsigned n_classifiers, unsigned n_chunks, uint32_t chunk_size,
                      struct chunk_pool **ret_pool);
void chunk_pool_free(struct chunk_pool *pool);
struct chunk *chunk_take(struct chunk_pool *pool, unsigned classifier); /* null: none free */
void chunk_give(struct chunk_pool *pool, unsigned classifier, struct chunk *chunk);

#endif
