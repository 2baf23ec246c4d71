/* pushdown.c - from a job's graph to clauses over what one packet shows.
 *
 * For each node: for what packets may it come out true, false, absent? The answers are lists of
 * clauses that are too wide rather than too narrow. A right-hand chain of and, or is walked in a
 * loop; what nests is bounded by the language (KFL_NESTING_MAX). */
#include "pushdown.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "plan_internal.h"

enum { ALL_KINDS = (1 << KFL_PUSHDOWN_KINDS) - 1, KINDS_V4 = 0x0f, KINDS_V6 = 0xf0 };

struct walk {
    const struct kfl_plan *plan;
    bool no_memory; /* then all lists are everything */
};

static const uint8_t ipv4_mapped[12] = {[10] = 0xff, [11] = 0xff};

static void show_end(FILE *out, const struct kfl_pushdown_end *end, const char *name);
static struct kfl_pushdown *may(struct walk *walk, uint32_t number, uint8_t outcome);
static struct kfl_pushdown *may_chain(struct walk *walk, uint32_t number, uint8_t outcome);
static struct kfl_pushdown *may_atom(struct walk *walk, const struct node *node, uint8_t outcome);
static void clause_all(struct kfl_pushdown_clause *clause);
static bool clause_of_test(const struct packet_test *test, bool holds,
                           struct kfl_pushdown_clause *clause);
static bool clause_and(struct kfl_pushdown_clause *clause, const struct kfl_pushdown_clause *with);
static bool end_and(struct kfl_pushdown_end *end, const struct kfl_pushdown_end *with);
static void add_clause(struct kfl_pushdown *list, const struct kfl_pushdown_clause *clause);
static bool absorb(struct kfl_pushdown_clause *into, const struct kfl_pushdown_clause *clause);
static bool ranges_join(struct kfl_pushdown_end *end, const struct kfl_pushdown_end *with);
static bool ranges_cover(const struct kfl_pushdown_end *end, const struct kfl_pushdown_end *inner);
static bool addresses_cover(const struct kfl_pushdown_end *end,
                            const struct kfl_pushdown_end *inner);
static uint8_t kinds_of_layer4(uint8_t layer4);

int kfl_pushdown_of_slot(const struct kfl_plan *plan, unsigned slot,
                         struct kfl_pushdown *ret_pushdown)
{
    struct walk walk = {.plan = plan};

    ret_pushdown->n = 0;
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && plan->slots >> slot & 1; proto++) {
        struct kfl_pushdown *list = may(&walk, plan->proto[proto].root[slot], MAY_TRUE);
        uint8_t kinds = kinds_of_layer4(kfl_proto_info[proto].layer4);

        for (uint32_t i = 0; list && i < list->n; i++) {
            list->clause[i].kinds &= kinds;
            if (list->clause[i].kinds)
                add_clause(ret_pushdown, &list->clause[i]);
        }
        free(list);
    }
    if (!walk.no_memory)
        return 0;
    ret_pushdown->n = 1;
    clause_all(&ret_pushdown->clause[0]);
    return -ENOMEM;
}

void kfl_pushdown_add(struct kfl_pushdown *pushdown, const struct kfl_pushdown *from)
{
    for (uint32_t i = 0; i < from->n; i++)
        add_clause(pushdown, &from->clause[i]);
}

static bool one_way(const struct kfl_pushdown_clause *clause,
                    const struct kfl_pushdown_packet *packet, unsigned client)
{
    if (!(clause->kinds >> packet->kind & 1))
        return false;
    for (unsigned side = 0; side < 2; side++) {
        const struct kfl_pushdown_end *end = &clause->end[side];
        unsigned of = side ^ client;
        uint32_t i = 0;

        while (i < end->n_ranges &&
               (packet->port[of] < end->range[i].low || packet->port[of] > end->range[i].high))
            i++;
        if (i == end->n_ranges)
            return false;
        for (i = 0; i < end->n_addresses; i++)
            if (!kfl_pushdown_address_holds(&end->address[i], packet->addr[of]))
                return false;
    }
    return true;
}

bool kfl_pushdown_wants(const struct kfl_pushdown *pushdown,
                        const struct kfl_pushdown_packet *packet)
{
    for (uint32_t i = 0; i < pushdown->n; i++)
        if (one_way(&pushdown->clause[i], packet, 0) || one_way(&pushdown->clause[i], packet, 1))
            return true;
    return false;
}

bool kfl_pushdown_address_holds(const struct kfl_pushdown_address *address, const uint8_t addr[16])
{
    unsigned whole = address->bits / 8;

    return !memcmp(address->addr, addr, whole) != address->differs; /* prefixes are whole bytes */
}

int kfl_pushdown_show(const struct kfl_pushdown_clause *clause, char *buffer, size_t size)
{
    static const char *const l4[] = {"tcp", "udp", "sctp", "icmp"};
    uint8_t v4 = clause->kinds & KINDS_V4, v6 = clause->kinds >> KFL_PUSHDOWN_IPV6;
    FILE *out = fmemopen(buffer, size, "w");
    const char *comma = "";

    if (!out)
        return -errno;
    for (unsigned i = 0; i < KFL_PUSHDOWN_IPV6; i++) {
        if (!((v4 | v6) >> i & 1))
            continue;
        fprintf(out, "%s%s%s", comma, l4[i],
                !(v6 >> i & 1)   ? "/ipv4"
                : !(v4 >> i & 1) ? "/ipv6"
                                 : "");
        comma = " ";
    }
    show_end(out, &clause->end[KFL_CLIENT], "src");
    show_end(out, &clause->end[KFL_SERVER], "dst");
    return fclose(out) ? -ENOSPC : 0;
}

static void show_end(FILE *out, const struct kfl_pushdown_end *end, const char *name)
{
    char text[FORMAT_IP_SIZE];

    if (end->n_ranges != 1 || end->range[0].low || end->range[0].high != KFL_PUSHDOWN_NO_PORT)
        fprintf(out, ", %s.port", name);
    for (uint32_t i = 0; i < end->n_ranges; i++) {
        const struct kfl_pushdown_range *range = &end->range[i];

        if (!range->low && range->high == KFL_PUSHDOWN_NO_PORT)
            continue;
        if (range->low == KFL_PUSHDOWN_NO_PORT)
            fprintf(out, " none");
        else if (range->low == range->high)
            fprintf(out, " %u", range->low);
        else
            fprintf(out, " %u-%u", range->low, range->high < 65535 ? range->high : 65535);
    }
    for (uint32_t i = 0; i < end->n_addresses; i++) {
        const struct kfl_pushdown_address *address = &end->address[i];
        bool v4 = address->bits >= 96 && !memcmp(address->addr, ipv4_mapped, sizeof ipv4_mapped);

        format_ip(address->addr, v4 ? 4 : 6, text);
        fprintf(out, ", %s.ip %s%s", name, address->differs ? "not " : "", text);
        if (address->bits < 128)
            fprintf(out, "/%u", v4 ? address->bits - 96u : address->bits);
    }
}

/* The packets for which a node may come out so (one outcome of a set). Null: none. */
static struct kfl_pushdown *may(struct walk *walk, uint32_t number, uint8_t outcome)
{
    const struct node *node = &walk->plan->program.node[number];

    switch ((enum node_op)node->op) {
    case NODE_NOT:
        if (outcome == MAY_ABSENT)
            return may(walk, node->a, MAY_ABSENT);
        return may(walk, node->a, outcome == MAY_TRUE ? MAY_FALSE : MAY_TRUE);
    case NODE_GROUP:
    case NODE_AND:
    case NODE_OR:
        return outcome == MAY_ABSENT ? NULL : may_chain(walk, number, outcome);
    case NODE_CONST:
    case NODE_ATOM:
        break;
    }
    return may_atom(walk, node, outcome);
}

static struct kfl_pushdown *list_new(struct walk *walk)
{
    struct kfl_pushdown *list = malloc(sizeof *list);

    if (!list)
        walk->no_memory = true;
    else
        list->n = 0;
    return list;
}

static struct kfl_pushdown *list_or(struct kfl_pushdown *list, struct kfl_pushdown *with)
{
    if (!list || !with)
        return list ? list : with;
    kfl_pushdown_add(list, with);
    free(with);
    return list;
}

/* Where the pairs are too many the shorter of the two will do. */
static struct kfl_pushdown *list_and(struct walk *walk, struct kfl_pushdown *list,
                                     struct kfl_pushdown *with)
{
    struct kfl_pushdown *both = NULL, *rest = list && with && list->n > with->n ? with : list;

    if (list && with && list->n * with->n > KFL_PUSHDOWN_CLAUSES_MAX) {
        free(rest == list ? with : list);
        return rest;
    }
    if (list && with)
        both = list_new(walk);
    for (uint32_t i = 0; both && i < list->n; i++)
        for (uint32_t k = 0; k < with->n; k++) {
            struct kfl_pushdown_clause clause = list->clause[i];

            if (clause_and(&clause, &with->clause[k]))
                add_clause(both, &clause);
        }
    free(list);
    free(with);
    return both;
}

/* Absent is as good as false: what stands here is looked at by a group or by and, or. */
static struct kfl_pushdown *may_false(struct walk *walk, uint32_t number)
{
    return list_or(may(walk, number, MAY_FALSE), may(walk, number, MAY_ABSENT));
}

static struct kfl_pushdown *may_outcome(struct walk *walk, uint32_t number, uint8_t outcome)
{
    return outcome == MAY_TRUE ? may(walk, number, MAY_TRUE) : may_false(walk, number);
}

/* sum or (product and one), where there is a product. */
static struct kfl_pushdown *sum_up(struct walk *walk, struct kfl_pushdown *sum,
                                   const struct kfl_pushdown *product, struct kfl_pushdown *one)
{
    struct kfl_pushdown *copy;

    if (!product || !one)
        return list_or(sum, one);
    copy = list_new(walk);
    if (copy)
        *copy = *product;
    return list_or(sum, list_and(walk, copy, one));
}

/* and, or and group down the right-hand side; the answer is sum or (product and what is left).
 * A left side of `or` that is absent makes it false whatever is on the right. */
static struct kfl_pushdown *may_chain(struct walk *walk, uint32_t number, uint8_t outcome)
{
    const struct node *node = &walk->plan->program.node[number];
    struct kfl_pushdown *sum = NULL, *product = NULL, *left;

    for (; node->op >= NODE_GROUP; node = &walk->plan->program.node[number]) {
        number = node->op == NODE_GROUP ? node->a : node->b;
        if (node->op == NODE_GROUP)
            continue;
        if ((node->op == NODE_OR) == (outcome == MAY_TRUE)) {
            sum = sum_up(walk, sum, product, may_outcome(walk, node->a, outcome));
            continue;
        }
        if (outcome == MAY_FALSE)
            sum = sum_up(walk, sum, product, may(walk, node->a, MAY_ABSENT));
        left = may(walk, node->a, outcome);
        product = product ? list_and(walk, product, left) : left;
        if (!product)
            return sum;
    }
    sum = sum_up(walk, sum, product, may_outcome(walk, number, outcome));
    free(product);
    return sum;
}

static struct kfl_pushdown *may_atom(struct walk *walk, const struct node *node, uint8_t outcome)
{
    const struct packet_test *test =
        node->op == NODE_ATOM ? &walk->plan->test[node->a] : &(struct packet_test){0};
    struct kfl_pushdown *list;
    struct kfl_pushdown_clause clause;

    clause_all(&clause);
    if (test->kind ? outcome == MAY_ABSENT || !clause_of_test(test, outcome == MAY_TRUE, &clause)
                   : !(node->may & outcome))
        return NULL;
    list = list_new(walk);
    if (list)
        add_clause(list, &clause);
    return list;
}

static void clause_all(struct kfl_pushdown_clause *clause)
{
    memset(clause, 0, sizeof *clause);
    clause->kinds = ALL_KINDS;
    for (unsigned side = 0; side < 2; side++) {
        clause->end[side].n_ranges = 1;
        clause->end[side].range[0].high = KFL_PUSHDOWN_NO_PORT;
    }
}

static bool in_ranges(const struct packet_test *test, uint32_t number)
{
    for (unsigned i = 0; i < test->n; i++)
        if (number >= test->range[i].low && number <= test->range[i].high)
            return true;
    return false;
}

static bool ports_of_test(const struct packet_test *test, bool holds, struct kfl_pushdown_end *end)
{
    uint32_t next = 0;

    end->n_ranges = 0;
    for (unsigned i = 0; i < test->n; i++) {
        if (holds) {
            end->range[end->n_ranges].low = test->range[i].low;
            end->range[end->n_ranges++].high = test->range[i].high;
        } else if (test->range[i].low > next) {
            end->range[end->n_ranges].low = next;
            end->range[end->n_ranges++].high = test->range[i].low - 1;
        }
        next = test->range[i].high + 1;
    }
    if (!holds && next <= KFL_PUSHDOWN_NO_PORT) {
        end->range[end->n_ranges].low = next;
        end->range[end->n_ranges++].high = KFL_PUSHDOWN_NO_PORT;
    }
    return end->n_ranges;
}
_Static_assert((int)PACKET_RANGES_MAX < (int)KFL_PUSHDOWN_RANGES_MAX,
               "the rest between them fits, too");
_Static_assert((int)PACKET_NO_PORT == (int)KFL_PUSHDOWN_NO_PORT, "one number of no port");

/* A prefix of whole bytes; else it is not told. */
static void address_of_test(const struct packet_test *test, bool holds,
                            struct kfl_pushdown_clause *clause)
{
    const uint8_t *mask = (const uint8_t *)test->mask, *value = (const uint8_t *)test->value;
    unsigned side = test->offset != offsetof(struct packet_facts, addr), n = 0;
    struct kfl_pushdown_address *address = clause->end[side].address;

    if (holds)
        clause->kinds = test->ip_version == 4 ? KINDS_V4 : KINDS_V6;
    while (n < 16 && mask[n] == 0xff)
        n++;
    for (unsigned i = n; i < 16; i++)
        if (mask[i])
            return;
    clause->end[side].n_addresses = 1;
    memcpy(address->addr, value, n);
    address->bits = (uint8_t)(8 * n);
    address->differs = !holds;
}

/* What a packet is like for which the test holds, or does not. false: there is none. */
static bool clause_of_test(const struct packet_test *test, bool holds,
                           struct kfl_pushdown_clause *clause)
{
    if (test->kind == PACKET_TEST_ADDRESS) {
        address_of_test(test, holds, clause);
        return true;
    }
    switch (test->offset) {
    case offsetof(struct packet_facts, port):
        return ports_of_test(test, holds, &clause->end[0]);
    case offsetof(struct packet_facts, port) + 4:
        return ports_of_test(test, holds, &clause->end[1]);
    case offsetof(struct packet_facts, layer4):
        for (unsigned l4 = 0; l4 < KFL_PUSHDOWN_IPV6; l4++)
            if (in_ranges(test, 1u << l4) != holds)
                clause->kinds &= (uint8_t) ~((1 << l4) | (1 << (l4 + KFL_PUSHDOWN_IPV6)));
        break;
    case offsetof(struct packet_facts, ip_version):
        if (in_ranges(test, 4) != holds)
            clause->kinds &= KINDS_V6;
        if (in_ranges(test, 6) != holds)
            clause->kinds &= KINDS_V4;
        break;
    case offsetof(struct packet_facts, tunnel): /* those that are in one are not asked */
        return in_ranges(test, KFL_TUNNEL_NONE) == holds;
    default: /* VLANs; an address that never is */
        return test->n || !holds;
    }
    return clause->kinds;
}

/* -> false: no packet is like that. */
static bool clause_and(struct kfl_pushdown_clause *clause, const struct kfl_pushdown_clause *with)
{
    clause->kinds &= with->kinds;
    return clause->kinds && end_and(&clause->end[0], &with->end[0]) &&
           end_and(&clause->end[1], &with->end[1]);
}

static bool end_and(struct kfl_pushdown_end *end, const struct kfl_pushdown_end *with)
{
    struct kfl_pushdown_range range[KFL_PUSHDOWN_RANGES_MAX];
    uint32_t n = 0, i = 0, k = 0;

    while (i < end->n_ranges && k < with->n_ranges && n < KFL_PUSHDOWN_RANGES_MAX) {
        const struct kfl_pushdown_range *a = &end->range[i], *b = &with->range[k];

        range[n].low = a->low > b->low ? a->low : b->low;
        range[n].high = a->high < b->high ? a->high : b->high;
        if (range[n].low <= range[n].high)
            n++;
        if (a->high < b->high)
            i++;
        else
            k++;
    }
    if (!n)
        return false;
    if (n < KFL_PUSHDOWN_RANGES_MAX) { /* else both as they were: one of them will do */
        memcpy(end->range, range, n * sizeof range[0]);
        end->n_ranges = n;
    }
    for (i = 0; i < with->n_addresses && end->n_addresses < KFL_PUSHDOWN_ADDRESSES_MAX; i++)
        end->address[end->n_addresses++] = with->address[i];
    return true;
}

/* One more clause of an or: in another one where that says the same, or as a new one. When there
 * are too many, all of their kinds pass. */
static void add_clause(struct kfl_pushdown *list, const struct kfl_pushdown_clause *clause)
{
    struct kfl_pushdown_clause wide;

    for (uint32_t i = 0; i < list->n; i++)
        if (absorb(&list->clause[i], clause))
            return;
    if (list->n < KFL_PUSHDOWN_CLAUSES_MAX) {
        list->clause[list->n++] = *clause;
        return;
    }
    clause_all(&wide);
    wide.kinds = clause->kinds;
    for (uint32_t i = 0; i < list->n; i++)
        wide.kinds |= list->clause[i].kinds;
    list->clause[0] = wide;
    list->n = 1;
}

/* Makes one clause of both if that is exactly their or. */
static bool absorb(struct kfl_pushdown_clause *into, const struct kfl_pushdown_clause *clause)
{
    bool kinds = !(clause->kinds & ~into->kinds), same_kinds = clause->kinds == into->kinds;
    bool ports[2], same_ports[2], addresses = true, same_addresses = true;

    for (unsigned side = 0; side < 2; side++) {
        const struct kfl_pushdown_end *a = &into->end[side], *b = &clause->end[side];

        ports[side] = ranges_cover(a, b);
        same_ports[side] = ports[side] && ranges_cover(b, a);
        addresses &= addresses_cover(a, b);
        same_addresses &= addresses_cover(a, b) && addresses_cover(b, a);
    }
    if (kinds && ports[0] && ports[1] && addresses)
        return true;
    if (!same_addresses)
        return false;
    if (same_ports[0] && same_ports[1]) {
        into->kinds |= clause->kinds;
        return true;
    }
    if (same_kinds && same_ports[0])
        return ranges_join(&into->end[1], &clause->end[1]);
    if (same_kinds && same_ports[1])
        return ranges_join(&into->end[0], &clause->end[0]);
    return false;
}

/* -> false: too many, nothing is changed. */
static bool ranges_join(struct kfl_pushdown_end *end, const struct kfl_pushdown_end *with)
{
    struct kfl_pushdown_range joined[2 * KFL_PUSHDOWN_RANGES_MAX];
    uint32_t n = 0, i = 0, k = 0;

    while (i < end->n_ranges || k < with->n_ranges) {
        bool first =
            k == with->n_ranges || (i < end->n_ranges && end->range[i].low <= with->range[k].low);
        struct kfl_pushdown_range next = first ? end->range[i++] : with->range[k++];

        if (!n || next.low > joined[n - 1].high + 1)
            joined[n++] = next;
        else if (next.high > joined[n - 1].high)
            joined[n - 1].high = next.high;
    }
    if (n > KFL_PUSHDOWN_RANGES_MAX)
        return false;
    memcpy(end->range, joined, n * sizeof joined[0]);
    end->n_ranges = n;
    return true;
}

static bool ranges_cover(const struct kfl_pushdown_end *end, const struct kfl_pushdown_end *inner)
{
    uint32_t i = 0;

    for (uint32_t k = 0; k < inner->n_ranges; k++) {
        while (i < end->n_ranges && end->range[i].high < inner->range[k].high)
            i++;
        if (i == end->n_ranges || end->range[i].low > inner->range[k].low)
            return false;
    }
    return true;
}

/* Is each condition of the wider one also one of the inner? */
static bool addresses_cover(const struct kfl_pushdown_end *end,
                            const struct kfl_pushdown_end *inner)
{
    for (uint32_t i = 0; i < end->n_addresses; i++) {
        uint32_t k = 0;

        while (k < inner->n_addresses &&
               memcmp(&end->address[i], &inner->address[k], sizeof end->address[i]))
            k++;
        if (k == inner->n_addresses)
            return false;
    }
    return true;
}

static uint8_t kinds_of_layer4(uint8_t layer4)
{
    uint8_t kinds = 0;

    for (unsigned l4 = 0; l4 < KFL_PUSHDOWN_IPV6; l4++)
        if (layer4 >> l4 & 1)
            kinds |= (uint8_t)((1 << l4) | (1 << (l4 + KFL_PUSHDOWN_IPV6)));
    return kinds;
}
_Static_assert(KFL_L4_TCP == 1 << KFL_PUSHDOWN_TCP && KFL_L4_UDP == 1 << KFL_PUSHDOWN_UDP &&
                   KFL_L4_SCTP == 1 << KFL_PUSHDOWN_SCTP && KFL_L4_ICMP == 1 << KFL_PUSHDOWN_ICMP,
               "bits of one are numbers of the other");
