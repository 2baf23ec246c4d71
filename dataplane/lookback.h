/* lookback.h - the past of open streams: a ring of memory, appended to, never searched.
 *
 *      tail                                        head
 *       |  [rec][rec][rec][rec][rec][rec][rec][rec] |
 *                ^----------prev----------'  a stream's records form a list backwards
 *
 * A record is a header of one cache line with the position of the previous record of the same
 * stream, and behind it the packet's bytes in whole lines. Positions are 64 bit and only grow: "is
 * it still there" is one comparison with the tail. Evicting costs nothing: appending moves the
 * tail. Every record is contiguous: one that would run over the end goes to the start.
 *
 * When the packets' bytes hold still anyway (a mapped file), a lookback of references keeps the
 * headers only. All else is the same.
 *
 * Thread: its classifier. Memory: one mapping at creation, huge pages where there are any. */
#ifndef DATAPLANE_LOOKBACK_H
#define DATAPLANE_LOOKBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

#define LOOKBACK_NONE UINT64_MAX

enum lookback_flags {
    LOOKBACK_SENDER = 1 << 0,  /* packet->sender: the direction is known when it is moved */
    LOOKBACK_COUNTED = 1 << 1, /* the sum has it as recorded already */
};

struct lookback_record {
    uint64_t prev; /* position of the stream's record before; LOOKBACK_NONE: its first */
    uint64_t next; /* ... and after: the owner writes it when it walks back */
    uint64_t ts_ns;
    const uint8_t *data; /* the packet's bytes, in the ring or where the source has them */
    uint32_t caplen, origlen;
    uint32_t payload; /* L4 payload in data: out-of-order segments are read here */
    uint32_t payload_size;
    uint16_t interface;
    uint16_t flags; /* enum lookback_flags; the owner may add LOOKBACK_COUNTED */
    uint32_t pad_[3];
};
_Static_assert(sizeof(struct lookback_record) == 64, "one cache line, also when it is all");

enum lookback_kind { LOOKBACK_COPIES, LOOKBACK_REFERENCES };

struct lookback;

/* size: bytes, rounded up to pages. ttl_ns: records that much older than the newest count as gone;
 * 0: no limit. resident: all of it is taken from the system now, else as packets come. -> 0 or
 * -ENOMEM. */
int lookback_create(enum lookback_kind kind, uint64_t size, uint64_t ttl_ns, bool resident,
                    struct lookback **ret_lookback);
void lookback_free(struct lookback *lookback);

/* Takes the packet in; counted: the sum has it as recorded already. -> its position. A packet
 * larger than the ring is not taken: LOOKBACK_NONE. */
uint64_t lookback_append(struct lookback *lookback, const struct packet *packet, bool counted,
                         uint64_t prev);
/* The position that a packet of `caplen` bytes would get now; LOOKBACK_NONE: it is too large. */
uint64_t lookback_next(const struct lookback *lookback, uint32_t caplen);
/* The record, contiguous, or null if it was overwritten. */
struct lookback_record *lookback_get(const struct lookback *lookback, uint64_t position);
/* Is it older than the ttl? Then it is as good as gone. */
bool lookback_expired(const struct lookback *lookback, const struct lookback_record *record);
/* Would it still be there after a packet of `caplen` bytes was appended? */
bool lookback_keeps(const struct lookback *lookback, uint64_t position, uint32_t caplen);
/* Time from the oldest record to the newest, in ns: how far back a match reaches (to 1/256). */
uint64_t lookback_span_ns(const struct lookback *lookback);

#endif
