/* fragment.h - IP fragments belong to the stream of their datagram.
 *
 * Two things at two places:
 *
 *   fragment_burst(): RX step, one table per RX queue. A datagram's first fragment has the L4
 * header (and whatever a tunnel hides behind it); what decode() made of it is given to the
 * fragments that follow: key, hash. Those that come before their first are held, within bounds.
 *   fragment_assemble(): classifier. The whole datagram in one buffer, for the dissectors; the
 *     fragments themselves are recorded as they came.
 *
 * Datagrams are known by source, destination, protocol and identification of the IP header that
 * was fragmented. Memory is taken at creation. */
#ifndef DATAPLANE_FRAGMENT_H
#define DATAPLANE_FRAGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "packet.h"

enum {
    FRAGMENT_HELD_MAX = 64, /* packets a table holds at most */
    FRAGMENT_TIMEOUT_MS = 2000,
};

struct fragment_table;

int fragment_table_create(uint32_t datagrams_max, uint64_t hash_seed, struct counters *counters,
                          struct fragment_table **ret_table);
void fragment_table_free(struct fragment_table *table);

/* From a decoded burst to the packets that go on, in order of arrival per datagram: `out` has room
 * for n + FRAGMENT_HELD_MAX. -> their number. What has waited too long (by now_ns) goes on without
 * its datagram's stream, counted as fragments_lost. n may be 0. `all`: nothing is held any
 * longer, the source is at its end. `in` and `out` must not overlap. */
unsigned fragment_burst(struct fragment_table *table, const struct packet *in, unsigned n,
                        struct packet *out, uint64_t now_ns, bool all);
unsigned fragment_held(const struct fragment_table *table); /* if 0, bursts without fragments
                                                               need not pass */
/* Does any packet of the burst need the table? */
static inline bool fragment_any(const struct packet *burst, unsigned n)
{
    uint8_t flags = 0;

    for (unsigned i = 0; i < n; i++)
        flags |= burst[i].flags;
    return flags & PACKET_FRAGMENT;
}

struct fragment_assembler;

int fragment_assembler_create(uint32_t datagrams_max, uint64_t hash_seed, struct counters *counters,
                              struct fragment_assembler **ret_assembler);
void fragment_assembler_free(struct fragment_assembler *assembler);

/* Adds a fragment. -> when it was the last missing one, the datagram as a decoded packet of its
 * own (LINKTYPE_RAW, valid until the next call; it is of the same stream); else null. Datagrams
 * with overlapping fragments are refused (counted), those never completed give way to newer ones.
 */
const struct packet *fragment_assemble(struct fragment_assembler *assembler,
                                       const struct packet *packet);

#endif
