/* lookback.h - the past of open streams: a ring of memory, appended to, never searched.
 *
 *      tail                                        head
 *       |  [rec][rec][rec][rec][rec][rec][rec][rec] |
 *                ^----------prev----------'  a stream's records form a list backwards
 *
 * A record is a finished PCAPNG enhanced packet block plus the position of the previous record of
 * the same stream. Positions are 64 bit and only grow: "is it still there" is one comparison with
 * the tail. Evicting costs nothing: appending moves the tail.
 *
 * Thread: its classifier. Memory: one mapping at creation, huge pages where there are any. */
#ifndef DATAPLANE_LOOKBACK_H
#define DATAPLANE_LOOKBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

#define LOOKBACK_NONE UINT64_MAX

struct lookback_record {
    uint64_t prev;      /* LOOKBACK_NONE: the stream's first */
    uint64_t ts_ns;
    uint32_t size;      /* bytes of this record: header, block, padding to 8 */
    uint32_t block_size;/* bytes of the PCAPNG block behind this header */
    uint32_t packet_offset; /* of the packet's bytes in the block */
    uint32_t payload;   /* of the L4 payload in the packet: out-of-order segments are read here */
};

struct lookback;

/* size: bytes, rounded up to pages. ttl_ns: records older than this count as gone; 0: no limit. */
int lookback_create(uint64_t size, uint64_t ttl_ns, struct lookback **ret_lookback);
void lookback_free(struct lookback *lookback);

/* Copies the packet in as a block. `client`: it goes from client to server (the direction flag).
 * -> its position. A packet larger than the ring is not taken: LOOKBACK_NONE. */
uint64_t lookback_append(struct lookback *lookback, const struct packet *packet, bool client,
                         uint64_t prev);
/* The record, contiguous, or null if it was overwritten. */
const struct lookback_record *lookback_get(const struct lookback *lookback, uint64_t position);
bool lookback_has(const struct lookback *lookback, uint64_t position);
/* Time from the oldest record to the newest, in ns: how far back a match reaches. */
uint64_t lookback_span_ns(const struct lookback *lookback);

static inline const void *lookback_block(const struct lookback_record *record)
{
    return record + 1;
}

#endif
