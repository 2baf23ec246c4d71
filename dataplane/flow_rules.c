#include "flow_rules.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include <rte_byteorder.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#include "decode_walk.h"

enum { PRIORITY_ALWAYS, PRIORITY_CONDITION, PRIORITY_DROP = PRIORITY_CONDITION + 2 };
enum {
    PIECES_MAX = 32,   /* values under masks that make up the ports of one end */
    FRAGMENT = 0x3fff, /* more fragments, offset */
};

/* By sender and receiver. Of an address its first bits, of a port those in the mask. */
struct rule {
    uint8_t addr[2][16]; /* IPv4: the first four */
    uint8_t bits[2];
    uint16_t port[2], mask[2];
};

struct rule_list {
    unsigned n;
    struct rule rule[FLOW_RULES_MAX];
};

struct flow_list {
    unsigned n;
    struct rte_flow *flow[FLOW_RULES_MAX];
};

struct flow_kind {
    struct rte_flow *drop; /* null: the kind is let alone */
    struct flow_list always, open, condition[2];
    unsigned newest; /* the condition that was written last */
    bool both;       /* the other one is in force, too */
    uint64_t n_dropped;
};

struct flow_rules {
    uint16_t port;
    struct rte_flow_action pass[2];
    struct rte_flow_action_queue queue;
    struct rte_flow_action_rss rss;
    uint16_t queues[SOURCE_QUEUE_MAX];
    pthread_mutex_t lock; /* of drop, n_dropped */
    struct flow_kind kind[KFL_PUSHDOWN_KINDS];
    struct rule_list list; /* that is being made */
};

static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff};

static void kind_create(struct flow_rules *rules, unsigned kind, struct rte_flow_error *error);
static void kind_remove(struct flow_rules *rules, unsigned kind);
static void drop_count(struct flow_rules *rules, struct flow_kind *of);
static bool install(struct flow_rules *rules, unsigned kind, unsigned priority,
                    struct flow_list *flows);
static void uninstall(struct flow_rules *rules, struct flow_list *flows);
static void make_always(struct rule_list *list, unsigned kind);
static void make_open(struct rule_list *list);
static void make_condition(struct rule_list *list, unsigned kind,
                           const struct pushdown_condition *condition);

int flow_rules_create(uint16_t port, unsigned n_queues, const struct rte_eth_rss_conf *rss,
                      struct flow_rules **ret_rules, char reterr_text[static FLOW_ERROR_SIZE])
{
    struct flow_rules *rules;
    struct rte_flow_error error = {0};
    bool drops = false;

    if (n_queues > 1 && !rss) {
        snprintf(reterr_text, FLOW_ERROR_SIZE, "it has several queues, and no RSS");
        return -EOPNOTSUPP;
    }
    rules = calloc(1, sizeof(*rules));
    if (!rules)
        return -ENOMEM;
    rules->port = port;
    rules->pass[0] =
        (struct rte_flow_action){.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &rules->queue};
    if (n_queues > 1) {
        for (unsigned i = 0; i < n_queues; i++)
            rules->queues[i] = (uint16_t)i;
        rules->rss = (struct rte_flow_action_rss){
            .types = rss->rss_hf,
            .key_len = rss->rss_key_len,
            .key = rss->rss_key,
            .queue_num = n_queues,
            .queue = rules->queues,
        };
        rules->pass[0] =
            (struct rte_flow_action){.type = RTE_FLOW_ACTION_TYPE_RSS, .conf = &rules->rss};
    }
    rules->pass[1].type = RTE_FLOW_ACTION_TYPE_END;
    pthread_mutex_init(&rules->lock, NULL);
    for (unsigned kind = 0; kind < KFL_PUSHDOWN_KINDS; kind++) {
        kind_create(rules, kind, &error);
        drops |= rules->kind[kind].drop != NULL;
    }
    if (!drops) {
        snprintf(reterr_text, FLOW_ERROR_SIZE, "%s",
                 error.message ? error.message : "it does not drop and count");
        flow_rules_free(rules);
        return -EOPNOTSUPP;
    }
    *ret_rules = rules;
    return 0;
}

void flow_rules_free(struct flow_rules *rules)
{
    if (!rules)
        return;
    for (unsigned kind = 0; kind < KFL_PUSHDOWN_KINDS; kind++)
        kind_remove(rules, kind);
    pthread_mutex_destroy(&rules->lock);
    free(rules);
}

/* -> false: the kind is let alone from now on. */
static bool open_kind(struct flow_rules *rules, unsigned kind)
{
    struct flow_kind *of = &rules->kind[kind];

    if (of->open.n)
        return true;
    make_open(&rules->list);
    if (install(rules, kind, PRIORITY_ALWAYS, &of->open))
        return true;
    kind_remove(rules, kind);
    return false;
}

void flow_rules_widen(struct flow_rules *rules, const struct pushdown_condition *also)
{
    for (unsigned kind = 0; kind < KFL_PUSHDOWN_KINDS; kind++) {
        struct flow_kind *of = &rules->kind[kind];

        if (!of->drop || of->open.n)
            continue;
        if (of->both) { /* two changes at once are one too many */
            (void)open_kind(rules, kind);
            continue;
        }
        make_condition(&rules->list, kind, also);
        if (install(rules, kind, PRIORITY_CONDITION + !of->newest, &of->condition[!of->newest])) {
            of->newest = !of->newest;
            of->both = true;
        } else {
            (void)open_kind(rules, kind);
        }
    }
}

void flow_rules_narrow(struct flow_rules *rules, const struct pushdown_condition *only)
{
    for (unsigned kind = 0; kind < KFL_PUSHDOWN_KINDS; kind++) {
        struct flow_kind *of = &rules->kind[kind];

        if (!of->drop)
            continue;
        uninstall(rules, &of->condition[!of->newest]);
        of->both = false;
        if (!of->open.n)
            continue;
        uninstall(rules, &of->condition[of->newest]);
        make_condition(&rules->list, kind, only);
        if (install(rules, kind, PRIORITY_CONDITION + of->newest, &of->condition[of->newest]))
            uninstall(rules, &of->open);
    }
}

uint64_t flow_rules_dropped(struct flow_rules *rules)
{
    uint64_t n = 0;

    pthread_mutex_lock(&rules->lock);
    for (unsigned kind = 0; kind < KFL_PUSHDOWN_KINDS; kind++) {
        drop_count(rules, &rules->kind[kind]);
        n += rules->kind[kind].n_dropped;
    }
    pthread_mutex_unlock(&rules->lock);
    return n;
}

/* ---- one rule, in DPDK's words ---- */

/* whole: neither a fragment nor behind an extension header. */
static struct rte_flow *put(struct flow_rules *rules, unsigned kind, unsigned priority,
                            const struct rule *rule, bool whole,
                            const struct rte_flow_action *actions, struct rte_flow_error *error)
{
    static const struct {
        enum rte_flow_item_type item[2]; /* by IP version */
        uint8_t next_header;
    } l4[KFL_PUSHDOWN_IPV6] = {
        [KFL_PUSHDOWN_TCP] = {{RTE_FLOW_ITEM_TYPE_TCP, RTE_FLOW_ITEM_TYPE_TCP}, IPPROTO_TCP},
        [KFL_PUSHDOWN_UDP] = {{RTE_FLOW_ITEM_TYPE_UDP, RTE_FLOW_ITEM_TYPE_UDP}, IPPROTO_UDP},
        [KFL_PUSHDOWN_SCTP] = {{RTE_FLOW_ITEM_TYPE_SCTP, RTE_FLOW_ITEM_TYPE_SCTP}, IPPROTO_SCTP},
        [KFL_PUSHDOWN_ICMP] = {{RTE_FLOW_ITEM_TYPE_ICMP, RTE_FLOW_ITEM_TYPE_ICMP6}, IPPROTO_ICMPV6},
    };
    const struct rte_flow_attr attr = {.priority = priority, .ingress = 1};
    unsigned of = kind % KFL_PUSHDOWN_IPV6, v6 = kind >= KFL_PUSHDOWN_IPV6;
    struct rte_flow_item_ipv4 ip4[2] = {0}; /* value and mask */
    struct rte_flow_item_ipv6 ip6[2] = {0};
    struct rte_flow_item_tcp ports[2] = {0}; /* UDP and SCTP have them in the same place */
    struct rte_flow_item items[] = {
        {.type = RTE_FLOW_ITEM_TYPE_ETH},
        {.type = v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4},
        {.type = l4[of].item[v6]},
        {.type = RTE_FLOW_ITEM_TYPE_END},
    };
    uint8_t *to[2][2] = {
        {v6 ? ip6[0].hdr.src_addr : (uint8_t *)&ip4[0].hdr.src_addr,
         v6 ? ip6[0].hdr.dst_addr : (uint8_t *)&ip4[0].hdr.dst_addr},
        {v6 ? ip6[1].hdr.src_addr : (uint8_t *)&ip4[1].hdr.src_addr,
         v6 ? ip6[1].hdr.dst_addr : (uint8_t *)&ip4[1].hdr.dst_addr},
    };

    for (unsigned side = 0; side < 2; side++) {
        memcpy(to[0][side], rule->addr[side], v6 ? 16 : 4);
        memset(to[1][side], 0xff, rule->bits[side] / 8u);
    }
    ip4[1].hdr.fragment_offset = whole ? rte_cpu_to_be_16(FRAGMENT) : 0;
    ip6[0].hdr.proto = whole ? l4[of].next_header : 0;
    ip6[1].hdr.proto = whole ? 0xff : 0;
    ip6[1].has_frag_ext = whole;
    if (whole || rule->bits[0] || rule->bits[1]) {
        items[1].spec = v6 ? (void *)&ip6[0] : (void *)&ip4[0];
        items[1].mask = v6 ? (void *)&ip6[1] : (void *)&ip4[1];
    }
    ports[0].hdr.src_port = rte_cpu_to_be_16(rule->port[0]);
    ports[0].hdr.dst_port = rte_cpu_to_be_16(rule->port[1]);
    ports[1].hdr.src_port = rte_cpu_to_be_16(rule->mask[0]);
    ports[1].hdr.dst_port = rte_cpu_to_be_16(rule->mask[1]);
    if (rule->mask[0] || rule->mask[1]) {
        items[2].spec = &ports[0];
        items[2].mask = &ports[1];
    }
    if (rte_flow_validate(rules->port, &attr, items, actions, error))
        return NULL;
    return rte_flow_create(rules->port, &attr, items, actions, error);
}

/* ---- a kind ---- */

static void kind_create(struct flow_rules *rules, unsigned kind, struct rte_flow_error *error)
{
    static const struct rte_flow_action_count count;
    static const struct rte_flow_action drop[] = {{RTE_FLOW_ACTION_TYPE_COUNT, &count},
                                                  {RTE_FLOW_ACTION_TYPE_DROP, NULL},
                                                  {RTE_FLOW_ACTION_TYPE_END, NULL}};
    struct flow_kind *of = &rules->kind[kind];
    struct rte_flow_query_count counted = {0};

    make_always(&rules->list, kind);
    if (install(rules, kind, PRIORITY_ALWAYS, &of->always)) {
        make_open(&rules->list);
        if (install(rules, kind, PRIORITY_ALWAYS, &of->open))
            of->drop = put(rules, kind, PRIORITY_DROP, &(struct rule){0}, true, drop, error);
    }
    if (!of->drop || rte_flow_query(rules->port, of->drop, &drop[0], &counted, error) ||
        !counted.hits_set)
        kind_remove(rules, kind);
}

static void kind_remove(struct flow_rules *rules, unsigned kind)
{
    struct flow_kind *of = &rules->kind[kind];
    struct rte_flow_error error;

    pthread_mutex_lock(&rules->lock);
    drop_count(rules, of);
    if (of->drop && !rte_flow_destroy(rules->port, of->drop, &error))
        of->drop = NULL;
    pthread_mutex_unlock(&rules->lock);
    for (unsigned i = 0; i < 2; i++)
        uninstall(rules, &of->condition[i]);
    uninstall(rules, &of->open);
    uninstall(rules, &of->always);
}

static void drop_count(struct flow_rules *rules, struct flow_kind *of)
{
    static const struct rte_flow_action_count count;
    const struct rte_flow_action action = {RTE_FLOW_ACTION_TYPE_COUNT, &count};
    struct rte_flow_query_count counted = {0};
    struct rte_flow_error error;

    if (of->drop && !rte_flow_query(rules->port, of->drop, &action, &counted, &error) &&
        counted.hits_set)
        of->n_dropped = counted.hits;
}

/* The list that was made. -> false: none of it */
static bool install(struct flow_rules *rules, unsigned kind, unsigned priority,
                    struct flow_list *flows)
{
    struct rte_flow_error error;

    for (unsigned i = 0; i < rules->list.n; i++) {
        struct rte_flow *flow =
            put(rules, kind, priority, &rules->list.rule[i], false, rules->pass, &error);

        if (!flow) {
            uninstall(rules, flows);
            return false;
        }
        flows->flow[flows->n++] = flow;
    }
    return true;
}

/* One that the device does not let go of passes more than it should. */
static void uninstall(struct flow_rules *rules, struct flow_list *flows)
{
    struct rte_flow_error error;

    while (flows->n)
        (void)rte_flow_destroy(rules->port, flows->flow[--flows->n], &error);
}

/* ---- rules of a kind ---- */

/* A rule is in a list once. -> false: it has no place */
static bool add(struct rule_list *list, const struct rule *rule)
{
    for (unsigned i = 0; i < list->n; i++)
        if (!memcmp(&list->rule[i], rule, sizeof(*rule)))
            return true;
    if (list->n == FLOW_RULES_MAX)
        return false;
    list->rule[list->n++] = *rule;
    return true;
}

static bool add_port(struct rule_list *list, uint16_t port)
{
    return add(list, &(struct rule){.port = {port}, .mask = {0xffff}}) &&
           add(list, &(struct rule){.port = {0, port}, .mask = {0, 0xffff}});
}

static void make_always(struct rule_list *list, unsigned kind)
{
    static const uint16_t tunnels[] = {
        PORT_L2TP,      PORT_GTPU,   PORT_TEREDO,      PORT_GRE_IN_UDP,  PORT_VXLAN,
        PORT_VXLAN_GPE, PORT_GENEVE, PORT_MPLS_IN_UDP, PORT_VXLAN_LINUX,
    };

    list->n = 0;
    for (unsigned i = 0; i < sizeof(tunnels) / sizeof(tunnels[0]); i++)
        if (kind % KFL_PUSHDOWN_IPV6 == KFL_PUSHDOWN_UDP)
            add_port(list, tunnels[i]);
    for (unsigned side = 0; side < 2 && kind >= KFL_PUSHDOWN_IPV6; side++) {
        struct rule rule = {0};

        memcpy(rule.addr[side], mapped, sizeof(mapped));
        rule.bits[side] = 96;
        add(list, &rule);
    }
}

static void make_open(struct rule_list *list)
{
    list->n = 1;
    list->rule[0] = (struct rule){0};
}

struct piece {
    uint16_t port, mask;
};

/* The ports of an end as values under masks. -> their number; PIECES_MAX + 1: too many */
static unsigned pieces_of(const struct kfl_pushdown_end *end, unsigned kind, struct piece *pieces)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < end->n_ranges; i++) {
        uint32_t port = end->range[i].low, last = end->range[i].high, size;

        if (kind % KFL_PUSHDOWN_IPV6 == KFL_PUSHDOWN_ICMP) {
            if (last == KFL_PUSHDOWN_NO_PORT)
                pieces[n++] = (struct piece){0};
            continue;
        }
        last = last < UINT16_MAX ? last : UINT16_MAX;
        for (; port <= last; port += size) {
            size = port ? port & -port : UINT16_MAX + 1;
            while (size > last - port + 1)
                size /= 2;
            if (n == PIECES_MAX)
                return PIECES_MAX + 1;
            pieces[n++] = (struct piece){(uint16_t)port, (uint16_t)-size};
        }
    }
    return n;
}

/* The longest prefix that is wanted; what is not wanted no rule says. -> false: no packet of this
 * IP version begins so. */
static bool address_of(const struct kfl_pushdown_end *end, bool v6, uint8_t addr[16],
                       uint8_t *ret_bits)
{
    unsigned skipped = v6 ? 0 : 96;

    for (uint32_t i = 0; i < end->n_addresses; i++) {
        const struct kfl_pushdown_address *address = &end->address[i];
        unsigned common = address->bits < skipped ? address->bits : skipped;

        if (address->differs)
            continue;
        if (memcmp(address->addr, mapped, common / 8))
            return false;
        if (address->bits < skipped || address->bits - skipped <= *ret_bits)
            continue;
        *ret_bits = (uint8_t)(address->bits - skipped);
        memcpy(addr, address->addr + skipped / 8, *ret_bits / 8u);
    }
    return true;
}

/* client: is it the sender or the receiver? -> false: too many */
static bool add_clause(struct rule_list *list, unsigned kind,
                       const struct kfl_pushdown_clause *clause, unsigned client)
{
    struct piece pieces[2][PIECES_MAX];
    struct rule rule = {0};
    unsigned n[2];

    for (unsigned of = 0; of < 2; of++) {
        const struct kfl_pushdown_end *end = &clause->end[of ^ client];

        if (!address_of(end, kind >= KFL_PUSHDOWN_IPV6, rule.addr[of], &rule.bits[of]))
            return true;
        n[of] = pieces_of(end, kind, pieces[of]);
        if (n[of] > PIECES_MAX)
            return false;
    }
    for (unsigned i = 0; i < n[0]; i++)
        for (unsigned k = 0; k < n[1]; k++) {
            rule.port[0] = pieces[0][i].port;
            rule.mask[0] = pieces[0][i].mask;
            rule.port[1] = pieces[1][k].port;
            rule.mask[1] = pieces[1][k].mask;
            if (!add(list, &rule))
                return false;
        }
    return true;
}

static void make_condition(struct rule_list *list, unsigned kind,
                           const struct pushdown_condition *condition)
{
    unsigned l4 = kind % KFL_PUSHDOWN_IPV6;
    bool fits = true;

    list->n = 0;
    if (condition->dns && (l4 == KFL_PUSHDOWN_TCP || l4 == KFL_PUSHDOWN_UDP)) {
        add_port(list, 53);
        add_port(list, 5353);
        add_port(list, 5355);
    }
    for (uint32_t i = 0; i < condition->wanted.n; i++)
        for (unsigned client = 0; client < 2; client++)
            if (condition->wanted.clause[i].kinds >> kind & 1)
                fits = fits && add_clause(list, kind, &condition->wanted.clause[i], client);
    if (!fits)
        make_open(list);
}
