/* gate.h - the condition that is pushed down (pushdown.h), asked of packets that were handed out
 * all the same: by a file, by DPDK.
 *
 * A packet that it does not hold for, in neither direction, is wanted by no job whatever is to
 * come: its stream is not followed. As for the XDP program, fragments, tunnels, other layer 4 and
 * what has no ports pass. It is the stream's key alone that is asked, so all of a stream's packets
 * fare alike.
 *
 * Clauses are bits of a word. A port knows the clauses that it meets by its class: ports are many,
 * their classes few. Where there are too many of anything it is not looked at: the gate is wider.
 *
 * Made by one thread; constant afterwards. */
#ifndef DATAPLANE_GATE_H
#define DATAPLANE_GATE_H

#include "../kfl-jit/pushdown.h"
#include "packet.h"

enum {
    GATE_CLASSES = 256,
    GATE_CLAUSES = 8, /* of which addresses are looked at */
};

struct gate_address {
    uint64_t value[2], mask[2]; /* in memory's order */
    bool differs;
};

struct gate_clause {
    uint32_t n[2]; /* by enum kfl_side */
    struct gate_address address[2][KFL_PUSHDOWN_ADDRESSES_MAX];
};

struct gate_ports {
    uint64_t side[2]; /* clauses for which it may be the client's, the server's port */
};

struct gate {
    uint64_t kind[KFL_PUSHDOWN_KINDS];
    uint64_t by_address; /* clauses that look at addresses */
    bool dns;            /* DNS passes: names are learned from it */
    uint8_t class_of_port[KFL_PUSHDOWN_NO_PORT + 1];
    struct gate_ports class[GATE_CLASSES];
    struct gate_clause clause[KFL_PUSHDOWN_CLAUSES_MAX];
};

/* What a packet is, by IP version (6 or not) and protocol: enum kfl_pushdown_kind with flags;
 * 0: the gate is not about it. */
enum { GATE_KIND = KFL_PUSHDOWN_KINDS - 1, GATE_KNOWN = 0x40, GATE_NO_PORTS = 0x80 };
extern const uint8_t gate_kind[2][256];

/* Null in *ret_gate: everything may be wanted. -> 0 or -ENOMEM */
int gate_create(const struct kfl_pushdown *wanted, bool dns, struct gate **ret_gate);
void gate_free(struct gate *gate);

/* The rest of gate_wants(). */
bool gate_wants_addresses(const struct gate *gate, const struct stream_key *key, uint64_t there,
                          uint64_t back);
bool gate_is_dns(const struct stream_key *key);

/* May some job want this decoded packet? */
static inline bool gate_wants(const struct gate *gate, const struct packet *packet)
{
    const struct stream_key *key = &packet->key;
    unsigned kind = gate_kind[packet->ip_version == 6][packet->ip_protocol];
    uint32_t no_port = kind & GATE_NO_PORTS ? KFL_PUSHDOWN_NO_PORT : 0; /* then they are 0 */
    const struct gate_ports *low = &gate->class[gate->class_of_port[key->port[0] | no_port]];
    const struct gate_ports *high = &gate->class[gate->class_of_port[key->port[1] | no_port]];
    uint64_t clauses = gate->kind[kind & GATE_KIND], there, back;

    if (!kind || packet->tunnel || (packet->flags & ~PACKET_TRUNCATED))
        return true;
    there = clauses & low->side[0] & high->side[1];
    back = clauses & low->side[1] & high->side[0];
    if ((there | back) &&
        ((there | back) & ~gate->by_address || gate_wants_addresses(gate, key, there, back)))
        return true;
    return gate->dns && gate_is_dns(key);
}

#endif
