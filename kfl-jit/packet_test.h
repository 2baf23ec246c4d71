/* packet_test.h - atoms over packet facts as comparisons of numbers, for native code.
 *
 * Ports, layer 4, VLANs and the like are small numbers whose texts a statement compares: which
 * numbers an atom holds for is found by asking it about each, and kept as ranges. Addresses are
 * compared under a mask. So the meaning is that of the text, and the test costs a few
 * instructions. */
#ifndef KFL_PACKET_TEST_H
#define KFL_PACKET_TEST_H

#include <stddef.h>

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

/* Groups of facts, to fill in only those that are read. */
enum { PACKET_READS_ADDR = 1, PACKET_READS_PORT = 2, PACKET_READS_OTHER = 4 };

static inline unsigned packet_test_reads(const struct packet_test *test)
{
    return test->kind == PACKET_TEST_ADDRESS ? PACKET_READS_ADDR | PACKET_READS_OTHER
           : test->offset == offsetof(struct packet_facts, port) ||
                   test->offset == offsetof(struct packet_facts, port) + 4
               ? PACKET_READS_PORT
               : PACKET_READS_OTHER;
}

static inline void packet_facts(const struct kfl_stream *stream, unsigned reads,
                                struct packet_facts *facts)
{
    if (reads & PACKET_READS_ADDR) {
        __builtin_memcpy(facts->addr[0], stream->end[0].addr, 16);
        __builtin_memcpy(facts->addr[1], stream->end[1].addr, 16);
    }
    if (reads & PACKET_READS_PORT) {
        facts->port[0] = stream->has_ports ? stream->end[0].port : PACKET_NO_PORT;
        facts->port[1] = stream->has_ports ? stream->end[1].port : PACKET_NO_PORT;
    }
    if (!(reads & PACKET_READS_OTHER))
        return;
    facts->vlan[0] = stream->vlan[0];
    facts->vlan[1] = stream->vlan[1];
    facts->layer4 = stream->l4 == KFL_L4_OTHER ? 32u + stream->ip_protocol : stream->l4;
    facts->ip_version = stream->ip_version;
    facts->tunnel = stream->tunnel;
}

#endif
