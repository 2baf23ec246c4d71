/* rte_flow rules: what a device drops by them no job wants, at no moment of a change. The device is
 * made of software: this program's rte_flow functions take the place of DPDK's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <netinet/in.h>

#include <rte_byteorder.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#include "../dataplane/flow_rules.h"
#include "kfl_random.h"
#include "tap.h"

enum { FLOWS_MAX = 4096, CONDITIONS = 1000, PACKETS = 100, WATCHED = 8 };

struct rte_flow {
    bool used, drops;
    uint32_t priority;
    enum rte_flow_item_type ip, l4;
    struct rte_flow_item_ipv4 ip4[2]; /* value and mask */
    struct rte_flow_item_ipv6 ip6[2];
    struct rte_flow_item_tcp ports[2];
    uint64_t hits;
};

/* What a device sees of a packet. */
struct seen {
    struct kfl_pushdown_packet packet;
    bool fragment;
};

static struct rte_flow flows[FLOWS_MAX];
static unsigned n_flows, n_flows_max; /* as many does it take */
static unsigned n_used;               /* none behind these */
static bool counts;
static enum rte_flow_item_type refused; /* packets of this kind it does not know */
static struct seen seen[PACKETS];
static bool wanted[PACKETS];
static unsigned n_seen, n_wrong;

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* ---- the device ---- */

static bool differ(const void *bytes, const void *value, const void *mask, size_t size)
{
    const uint8_t *a = bytes, *b = value, *m = mask;

    for (size_t i = 0; i < size; i++)
        if ((a[i] ^ b[i]) & m[i])
            return true;
    return false;
}

static bool meets(const struct rte_flow *flow, const struct seen *of)
{
    static const enum rte_flow_item_type items[KFL_PUSHDOWN_KINDS] = {
        RTE_FLOW_ITEM_TYPE_TCP,  RTE_FLOW_ITEM_TYPE_UDP,  RTE_FLOW_ITEM_TYPE_SCTP,
        RTE_FLOW_ITEM_TYPE_ICMP, RTE_FLOW_ITEM_TYPE_TCP,  RTE_FLOW_ITEM_TYPE_UDP,
        RTE_FLOW_ITEM_TYPE_SCTP, RTE_FLOW_ITEM_TYPE_ICMP6};
    static const uint8_t next[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMPV6};
    const struct kfl_pushdown_packet *packet = &of->packet;
    bool v6 = packet->kind >= KFL_PUSHDOWN_IPV6;
    struct rte_flow_item_ipv4 ip4 = {0};
    struct rte_flow_item_ipv6 ip6 = {0};
    struct rte_flow_item_tcp ports = {0};

    memcpy(&ip4.hdr.src_addr, packet->addr[0] + 12, 4);
    memcpy(&ip4.hdr.dst_addr, packet->addr[1] + 12, 4);
    ip4.hdr.fragment_offset = of->fragment ? rte_cpu_to_be_16(0x2000) : 0;
    memcpy(ip6.hdr.src_addr, packet->addr[0], 16);
    memcpy(ip6.hdr.dst_addr, packet->addr[1], 16);
    ip6.hdr.proto = of->fragment ? IPPROTO_FRAGMENT : next[packet->kind % KFL_PUSHDOWN_IPV6];
    ip6.has_frag_ext = of->fragment;
    ports.hdr.src_port = rte_cpu_to_be_16((uint16_t)packet->port[0]);
    ports.hdr.dst_port = rte_cpu_to_be_16((uint16_t)packet->port[1]);
    return flow->ip == (v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4) &&
           flow->l4 == items[packet->kind] &&
           !differ(&ip4, &flow->ip4[0], &flow->ip4[1], sizeof(ip4)) &&
           !differ(&ip6, &flow->ip6[0], &flow->ip6[1], sizeof(ip6)) &&
           !differ(&ports, &flow->ports[0], &flow->ports[1], sizeof(ports));
}

/* The first of its rules by priority. Null: none. */
static struct rte_flow *rule_of(const struct seen *of)
{
    struct rte_flow *first = NULL;

    for (unsigned i = 0; i < n_used; i++)
        if (flows[i].used && (!first || flows[i].priority < first->priority) &&
            meets(&flows[i], of))
            first = &flows[i];
    return first;
}

static bool dropped(const struct seen *of)
{
    struct rte_flow *rule = rule_of(of);

    if (rule && rule->drops)
        rule->hits++;
    return rule && rule->drops;
}

/* After each change of a rule, of some packets. */
static void at_this_moment(void)
{
    for (unsigned i = 0; i < n_seen && i < WATCHED; i++) {
        struct rte_flow *rule = wanted[i] ? rule_of(&seen[i]) : NULL;

        n_wrong += rule && rule->drops;
    }
}

int rte_flow_validate(uint16_t port, const struct rte_flow_attr *attr,
                      const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
                      struct rte_flow_error *error)
{
    CU_ASSERT(port == 7 && attr->ingress && pattern[0].type == RTE_FLOW_ITEM_TYPE_ETH);
    *error = (struct rte_flow_error){.message = "it cannot count"};
    if (actions[0].type == RTE_FLOW_ACTION_TYPE_COUNT && !counts)
        return -ENOTSUP;
    return pattern[2].type == refused ? -ENOTSUP : 0;
}

struct rte_flow *rte_flow_create(uint16_t port, const struct rte_flow_attr *attr,
                                 const struct rte_flow_item pattern[],
                                 const struct rte_flow_action actions[],
                                 struct rte_flow_error *error)
{
    bool drops = actions[0].type == RTE_FLOW_ACTION_TYPE_COUNT;
    struct rte_flow *flow = flows;

    *error = (struct rte_flow_error){.message = "it is full"};
    if (n_flows == n_flows_max)
        return NULL;
    while (flow->used)
        flow++;
    n_flows++;
    if (n_used <= (unsigned)(flow - flows))
        n_used = (unsigned)(flow - flows) + 1;
    *flow = (struct rte_flow){.used = true,
                              .drops = drops,
                              .priority = attr->priority,
                              .ip = pattern[1].type,
                              .l4 = pattern[2].type};
    if (pattern[1].spec && flow->ip == RTE_FLOW_ITEM_TYPE_IPV4) {
        memcpy(&flow->ip4[0], pattern[1].spec, sizeof(flow->ip4[0]));
        memcpy(&flow->ip4[1], pattern[1].mask, sizeof(flow->ip4[1]));
    } else if (pattern[1].spec) {
        memcpy(&flow->ip6[0], pattern[1].spec, sizeof(flow->ip6[0]));
        memcpy(&flow->ip6[1], pattern[1].mask, sizeof(flow->ip6[1]));
    }
    if (pattern[2].spec) {
        memcpy(&flow->ports[0], pattern[2].spec, sizeof(flow->ports[0]));
        memcpy(&flow->ports[1], pattern[2].mask, sizeof(flow->ports[1]));
    }
    CU_ASSERT(drops ? actions[1].type == RTE_FLOW_ACTION_TYPE_DROP
                    : actions[0].type == RTE_FLOW_ACTION_TYPE_RSS &&
                          ((const struct rte_flow_action_rss *)actions[0].conf)->queue_num == 2);
    at_this_moment();
    return flow;
}

int rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error)
{
    CU_ASSERT_FATAL(flow->used);
    flow->used = false;
    n_flows--;
    at_this_moment();
    return 0;
}

int rte_flow_query(uint16_t port, struct rte_flow *flow, const struct rte_flow_action *action,
                   void *data, struct rte_flow_error *error)
{
    struct rte_flow_query_count *count = data;

    count->hits_set = 1;
    count->hits = flow->hits;
    return 0;
}

/* ---- conditions and packets ---- */

static void random_address(struct kfl_random *random, bool v6, uint8_t addr[16])
{
    memcpy(addr, v6 ? (const uint8_t[16]){0xfd} : (const uint8_t[16]){[10] = 0xff, 0xff, 10}, 16);
    addr[v6 ? 7 : 13] = (uint8_t)kfl_random_below(random, 2);
    addr[15] = (uint8_t)kfl_random_below(random, 3);
    if (v6 && !kfl_random_below(random, 8))
        memcpy(addr, mapped, sizeof(mapped));
}

static uint32_t random_port(struct kfl_random *random)
{
    static const uint16_t ports[] = {0, 53, 80, 81, 443, 1023, 1024, 2152, 4789, 8080, 65535};

    return ports[kfl_random_below(random, sizeof(ports) / sizeof(ports[0]))];
}

static void random_end(struct kfl_random *random, struct kfl_pushdown_end *end)
{
    uint32_t low = random_port(random), high = random_port(random);

    end->n_ranges = 1;
    end->range[0] = (struct kfl_pushdown_range){0, KFL_PUSHDOWN_NO_PORT};
    if (kfl_random_below(random, 2))
        end->range[0] = low <= high ? (struct kfl_pushdown_range){low, high}
                                    : (struct kfl_pushdown_range){low, KFL_PUSHDOWN_NO_PORT};
    end->n_addresses = kfl_random_below(random, 4) ? 0 : 1 + kfl_random_below(random, 2);
    for (uint32_t i = 0; i < end->n_addresses; i++) {
        static const uint8_t bits[] = {8, 64, 96, 104, 112, 128};
        struct kfl_pushdown_address *address = &end->address[i];

        random_address(random, kfl_random_below(random, 2), address->addr);
        address->bits = bits[kfl_random_below(random, sizeof(bits))];
        memset(address->addr + address->bits / 8, 0, 16 - address->bits / 8u);
        address->differs = !kfl_random_below(random, 3);
    }
}

static void random_condition(struct kfl_random *random, struct pushdown_condition *condition)
{
    condition->dns = kfl_random_below(random, 2);
    condition->wanted.n = kfl_random_below(random, 4);
    for (uint32_t i = 0; i < condition->wanted.n; i++) {
        condition->wanted.clause[i].kinds = (uint8_t)kfl_random_below(random, 256);
        random_end(random, &condition->wanted.clause[i].end[0]);
        random_end(random, &condition->wanted.clause[i].end[1]);
    }
}

static void random_seen(struct kfl_random *random, struct seen *of)
{
    struct kfl_pushdown_packet *packet = &of->packet;
    bool icmp;

    packet->kind = (uint8_t)kfl_random_below(random, KFL_PUSHDOWN_KINDS);
    icmp = packet->kind % KFL_PUSHDOWN_IPV6 == KFL_PUSHDOWN_ICMP;
    for (unsigned side = 0; side < 2; side++) {
        random_address(random, packet->kind >= KFL_PUSHDOWN_IPV6, packet->addr[side]);
        packet->port[side] = icmp ? KFL_PUSHDOWN_NO_PORT : random_port(random);
    }
    of->fragment = !kfl_random_below(random, 16);
}

/* What passes whatever the jobs are; and what they want. */
static bool must_pass(const struct pushdown_condition *condition, const struct seen *of)
{
    const struct kfl_pushdown_packet *packet = &of->packet;
    unsigned l4 = packet->kind % KFL_PUSHDOWN_IPV6;

    if (of->fragment || kfl_pushdown_wants(&condition->wanted, packet))
        return true;
    for (unsigned side = 0; side < 2; side++) {
        if (packet->kind >= KFL_PUSHDOWN_IPV6 && !memcmp(packet->addr[side], mapped, 12))
            return true;
        if (l4 == KFL_PUSHDOWN_UDP && (packet->port[side] == 2152 || packet->port[side] == 4789))
            return true;
        if (condition->dns && l4 <= KFL_PUSHDOWN_UDP && packet->port[side] == 53)
            return true;
    }
    return false;
}

static int device_open(struct flow_rules **ret_rules)
{
    static uint8_t key[40];
    static const struct rte_eth_rss_conf rss = {.rss_key = key, .rss_key_len = 40, .rss_hf = 1};
    char why[FLOW_ERROR_SIZE] = "";
    int rc = flow_rules_create(7, 2, &rss, ret_rules, why);

    CU_ASSERT(!rc == !*why);
    return rc;
}

static void device_is(unsigned n_max, bool can_count, enum rte_flow_item_type does_not_know)
{
    n_flows_max = n_max;
    counts = can_count;
    refused = does_not_know;
    n_seen = n_used = 0;
}

/* ---- tests ---- */

/* On a device that is large enough, and on small ones. */
static void no_wanted_packet_is_dropped_at_any_moment(void)
{
    static struct pushdown_condition condition[2];
    struct kfl_random random = {.state = (uint64_t)time(NULL)};
    const char *seed = getenv("TAPEDECK_SEED");
    struct flow_rules *rules = NULL;
    unsigned n_dropped = 0, n_large = 0, n_unwanted = 0, n_kept = 0;

    if (seed)
        random.state = strtoull(seed, NULL, 0);
    n_wrong = 0;
    tap_note("seed %llu", (unsigned long long)random.state);
    for (unsigned i = 0; i < CONDITIONS; i++) {
        bool large = i % 100 < 50;
        struct pushdown_condition *now = &condition[i % 2], *before = &condition[!(i % 2)];

        if (i % 50 == 0) { /* another device */
            flow_rules_free(rules);
            CU_ASSERT(n_flows == 0);
            device_is(large ? FLOWS_MAX : 110 + kfl_random_below(&random, 60), true, 0);
            CU_ASSERT_FATAL(!device_open(&rules));
            random_condition(&random, before);
            flow_rules_narrow(rules, before);
            n_kept = 0;
        }
        random_condition(&random, now);
        for (n_seen = 0; n_seen < PACKETS; n_seen++) {
            random_seen(&random, &seen[n_seen]);
            wanted[n_seen] = must_pass(before, &seen[n_seen]);
        }
        flow_rules_widen(rules, now);
        for (unsigned k = 0; k < PACKETS; k++)
            wanted[k] |= must_pass(now, &seen[k]);
        at_this_moment();
        if (!kfl_random_below(&random, 4))
            flow_rules_widen(rules, now);
        for (unsigned k = 0; k < PACKETS; k++)
            wanted[k] = must_pass(now, &seen[k]);
        flow_rules_narrow(rules, now);
        for (unsigned k = 0; k < PACKETS; k++) {
            bool is_dropped = dropped(&seen[k]);

            n_wrong += is_dropped && wanted[k];
            n_kept += is_dropped;
            n_unwanted += large && !wanted[k];
            n_large += large && is_dropped;
            n_dropped += is_dropped;
        }
        CU_ASSERT(flow_rules_dropped(rules) == n_kept);
    }
    n_seen = 0;
    flow_rules_free(rules);
    CU_ASSERT(n_flows == 0);
    CU_ASSERT(!n_wrong);
    CU_ASSERT(n_large * 10 > n_unwanted * 9);
    CU_ASSERT(n_dropped > n_large);
    tap_note("%u packets: %u of %u unwanted ones dropped, %u on small devices",
             CONDITIONS * PACKETS, n_large, n_unwanted, n_dropped - n_large);
}

static void a_device_that_cannot_count_has_no_rules(void)
{
    struct flow_rules *rules = NULL;

    device_is(FLOWS_MAX, false, 0);
    CU_ASSERT(device_open(&rules) == -EOPNOTSUPP && !rules && !n_flows);
}

static void a_kind_that_the_device_does_not_know_is_let_alone(void)
{
    static const struct pushdown_condition nothing;
    struct seen tcp = {.packet = {.kind = KFL_PUSHDOWN_TCP}},
                sctp = {{.kind = KFL_PUSHDOWN_SCTP}, 0};
    struct flow_rules *rules = NULL;

    device_is(FLOWS_MAX, true, RTE_FLOW_ITEM_TYPE_SCTP);
    CU_ASSERT_FATAL(!device_open(&rules));
    CU_ASSERT(!dropped(&tcp) && !dropped(&sctp));
    flow_rules_narrow(rules, &nothing);
    CU_ASSERT(dropped(&tcp) && !dropped(&sctp));
    flow_rules_free(rules);
    CU_ASSERT(!dropped(&tcp) && !n_flows);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"no wanted packet is dropped at any moment", no_wanted_packet_is_dropped_at_any_moment},
        {"a device that cannot count has no rules", a_device_that_cannot_count_has_no_rules},
        {"a kind that the device does not know is let alone",
         a_kind_that_the_device_does_not_know_is_let_alone},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "flow_rules", tests);
}
