#include "gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

enum { ALL_CLASS = GATE_CLASSES - 1 }; /* every clause is met */

const uint8_t gate_kind[2][256] = {
    {
        [IPPROTO_TCP] = GATE_KNOWN | KFL_PUSHDOWN_TCP,
        [IPPROTO_UDP] = GATE_KNOWN | KFL_PUSHDOWN_UDP,
        [IPPROTO_SCTP] = GATE_KNOWN | KFL_PUSHDOWN_SCTP,
        [IPPROTO_ICMP] = GATE_KNOWN | GATE_NO_PORTS | KFL_PUSHDOWN_ICMP,
    },
    {
        [IPPROTO_TCP] = GATE_KNOWN | (KFL_PUSHDOWN_TCP + KFL_PUSHDOWN_IPV6),
        [IPPROTO_UDP] = GATE_KNOWN | (KFL_PUSHDOWN_UDP + KFL_PUSHDOWN_IPV6),
        [IPPROTO_SCTP] = GATE_KNOWN | (KFL_PUSHDOWN_SCTP + KFL_PUSHDOWN_IPV6),
        [IPPROTO_ICMPV6] = GATE_KNOWN | GATE_NO_PORTS | (KFL_PUSHDOWN_ICMP + KFL_PUSHDOWN_IPV6),
    },
};

static void make_ports(struct gate *gate, const struct kfl_pushdown *wanted);
static unsigned class_of(struct gate *gate, unsigned *n_classes, const struct gate_ports *ports);
static void make_addresses(struct gate *gate, const struct kfl_pushdown *wanted);
static bool everything(const struct kfl_pushdown *wanted);
static bool holds(const struct gate_clause *clause, unsigned side, const uint8_t addr[16]);

int gate_create(const struct kfl_pushdown *wanted, bool dns, struct gate **ret_gate)
{
    struct gate *gate = NULL;

    if (!everything(wanted)) {
        gate = calloc(1, sizeof(*gate));
        if (!gate)
            return -ENOMEM;
        gate->dns = dns;
        for (unsigned clause = 0; clause < wanted->n; clause++)
            for (unsigned kind = 0; kind < KFL_PUSHDOWN_KINDS; kind++)
                if (wanted->clause[clause].kinds >> kind & 1)
                    gate->kind[kind] |= UINT64_C(1) << clause;
        make_ports(gate, wanted);
        make_addresses(gate, wanted);
    }
    *ret_gate = gate;
    return 0;
}

void gate_free(struct gate *gate)
{
    free(gate);
}

bool gate_wants_addresses(const struct gate *gate, const struct stream_key *key, uint64_t there,
                          uint64_t back)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (key->ip_version == 6 && (!memcmp(key->addr[0], mapped, sizeof(mapped)) ||
                                 !memcmp(key->addr[1], mapped, sizeof(mapped))))
        return true; /* it would look like IPv4 */
    for (; there; there &= there - 1) {
        const struct gate_clause *clause = &gate->clause[__builtin_ctzll(there)];

        if (holds(clause, 0, key->addr[0]) && holds(clause, 1, key->addr[1]))
            return true;
    }
    for (; back; back &= back - 1) {
        const struct gate_clause *clause = &gate->clause[__builtin_ctzll(back)];

        if (holds(clause, 1, key->addr[0]) && holds(clause, 0, key->addr[1]))
            return true;
    }
    return false;
}

bool gate_is_dns(const struct stream_key *key)
{
    for (unsigned i = 0; i < 2; i++)
        if (key->port[i] == 53 || key->port[i] == 5353 || key->port[i] == 5355)
            return true;
    return false;
}

/* A clause that is all kinds and looks at nothing. */
static bool everything(const struct kfl_pushdown *wanted)
{
    for (unsigned i = 0; i < wanted->n; i++) {
        const struct kfl_pushdown_clause *clause = &wanted->clause[i];
        bool open = clause->kinds == (1 << KFL_PUSHDOWN_KINDS) - 1;

        for (unsigned side = 0; side < 2; side++)
            open = open && !clause->end[side].n_addresses && clause->end[side].n_ranges == 1 &&
                   clause->end[side].range[0].low == 0 &&
                   clause->end[side].range[0].high >= KFL_PUSHDOWN_NO_PORT;
        if (open)
            return true;
    }
    return false;
}

static uint64_t clauses_of_port(const struct kfl_pushdown *wanted, unsigned side, uint32_t port)
{
    uint64_t clauses = 0;

    for (unsigned clause = 0; clause < wanted->n; clause++) {
        const struct kfl_pushdown_end *end = &wanted->clause[clause].end[side];

        for (unsigned i = 0; i < end->n_ranges; i++)
            if (end->range[i].low <= port && port <= end->range[i].high)
                clauses |= UINT64_C(1) << clause;
    }
    return clauses;
}

/* Ports fare alike between one range's edge and the next. */
static void make_ports(struct gate *gate, const struct kfl_pushdown *wanted)
{
    uint8_t edge[KFL_PUSHDOWN_NO_PORT + 2] = {1};
    unsigned n_classes = 0, class = 0;

    for (unsigned clause = 0; clause < wanted->n; clause++)
        for (unsigned side = 0; side < 2; side++)
            for (unsigned i = 0; i < wanted->clause[clause].end[side].n_ranges; i++) {
                const struct kfl_pushdown_range *range = &wanted->clause[clause].end[side].range[i];

                edge[range->low] = 1;
                edge[range->high + 1] = 1;
            }
    gate->class[ALL_CLASS] = (struct gate_ports){{UINT64_MAX, UINT64_MAX}};
    for (uint32_t port = 0; port <= KFL_PUSHDOWN_NO_PORT; port++) {
        if (edge[port]) {
            const struct gate_ports ports = {
                {clauses_of_port(wanted, 0, port), clauses_of_port(wanted, 1, port)}};

            class = class_of(gate, &n_classes, &ports);
        }
        gate->class_of_port[port] = (uint8_t) class;
    }
}

static unsigned class_of(struct gate *gate, unsigned *n_classes, const struct gate_ports *ports)
{
    unsigned i = 0;

    while (i < *n_classes && memcmp(&gate->class[i], ports, sizeof(*ports)))
        i++;
    if (i == *n_classes && i < ALL_CLASS)
        gate->class[(*n_classes)++] = *ports;
    return i;
}

static void make_addresses(struct gate *gate, const struct kfl_pushdown *wanted)
{
    unsigned n_clauses = 0;

    for (unsigned i = 0; i < wanted->n && n_clauses < GATE_CLAUSES; i++) {
        struct gate_clause *clause = &gate->clause[i];

        for (unsigned side = 0; side < 2; side++) {
            const struct kfl_pushdown_end *end = &wanted->clause[i].end[side];

            clause->n[side] = end->n_addresses;
            for (unsigned k = 0; k < end->n_addresses; k++) {
                struct gate_address *address = &clause->address[side][k];

                memset(address->mask, 0xff, end->address[k].bits / 8);
                memcpy(address->value, end->address[k].addr, 16);
                address->differs = end->address[k].differs;
            }
        }
        if (clause->n[0] | clause->n[1]) {
            gate->by_address |= UINT64_C(1) << i;
            n_clauses++;
        }
    }
}

static bool holds(const struct gate_clause *clause, unsigned side, const uint8_t addr[16])
{
    uint64_t word[2];

    memcpy(word, addr, sizeof(word));
    for (unsigned i = 0; i < clause->n[side]; i++) {
        const struct gate_address *address = &clause->address[side][i];
        bool begins_so = !(((word[0] ^ address->value[0]) & address->mask[0]) |
                           ((word[1] ^ address->value[1]) & address->mask[1]));

        if (begins_so == address->differs)
            return false;
    }
    return true;
}
