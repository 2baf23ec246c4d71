/* packet_test.h - atoms over packet facts as comparisons of numbers, for native code.
 *
 * Ports, layer 4, VLANs and the like are small numbers whose texts a statement compares: which
 * numbers an atom holds for is found by asking it about each, and kept as ranges. Addresses are
 * compared under a mask. So the meaning is that of the text, and the test costs a few
 * instructions. */
#ifndef KFL_PACKET_TEST_H
#define KFL_PACKET_TEST_H

#include "atom.h"
#include "facts.h"

/* What native code sees of a stream; filled by packet_facts(). */
struct packet_facts {
    uint64_t addr[2][2]; /* as in memory */
    uint32_t port[2];    /* PACKET_NO_PORT without */
    uint32_t layer4;     /* bit of enum kfl_l4, of KFL_L4_OTHER 32 + IP protocol */
    uint32_t ip_version;
    uint32_t vlan[2];
    uint32_t tunnel;
    uint32_t unused;
};

enum { PACKET_NO_PORT = 65536, PACKET_RANGES_MAX = 4 };

enum packet_test_kind { PACKET_TEST_NONE, PACKET_TEST_RANGES, PACKET_TEST_ADDRESS };

struct packet_test {
    uint8_t kind;       /* enum packet_test_kind */
    uint8_t offset;     /* of the number or address in struct packet_facts */
    uint8_t ip_version; /* of the address */
    uint8_t n;          /* ranges; 0: never */
    struct {
        uint32_t low, high; /* both included */
    } range[PACKET_RANGES_MAX];
    uint64_t value[2], mask[2];
};

/* PACKET_TEST_NONE: the atom is nothing of the kind. */
void packet_test_make(const struct atoms *atoms, uint32_t atom, struct packet_test *ret_test);

static inline void packet_facts(const struct kfl_stream *stream, struct packet_facts *facts)
{
    for (unsigned side = 0; side < 2; side++) {
        __builtin_memcpy(facts->addr[side], stream->end[side].addr, 16);
        facts->port[side] = stream->has_ports ? stream->end[side].port : PACKET_NO_PORT;
        facts->vlan[side] = stream->vlan[side];
    }
    facts->layer4 = stream->l4 == KFL_L4_OTHER ? 32u + stream->ip_protocol : stream->l4;
    facts->ip_version = stream->ip_version;
    facts->tunnel = stream->tunnel;
}

#endif
