/* fragment_id.h - which datagram a fragment is of, and which part of it it holds. */
#ifndef DATAPLANE_FRAGMENT_ID_H
#define DATAPLANE_FRAGMENT_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "packet.h"

struct fragment_id {
    uint8_t source[16], destination[16]; /* IPv4 in the first four bytes */
    uint32_t identification;
    uint8_t protocol;
    uint8_t version;
    uint16_t pad_;
};
_Static_assert(sizeof(struct fragment_id) == 40, "compared as a whole");

struct fragment_part {
    struct fragment_id id;
    uint32_t begin; /* in the packet: what the fragment carries */
    uint32_t size;  /* bytes it had on the wire */
    uint32_t present;
};

/* Of a packet with PACKET_FRAGMENT. -> false: its header is cut. */
bool fragment_part_of(const struct packet *packet, struct fragment_part *ret_part);

static inline uint32_t fragment_id_hash(const struct fragment_id *id, uint64_t seed)
{
    uint64_t words[5], hash = seed;

    memcpy(words, id, sizeof(words));
    for (int i = 0; i < 5; i++) {
        unsigned __int128 product = (unsigned __int128)(hash ^ words[i]) * (seed | 1);

        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (uint32_t)(hash >> 32 ^ hash);
}

#endif
