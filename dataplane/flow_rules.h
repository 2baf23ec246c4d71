/* flow_rules.h - what is pushed down (pushdown.h), as rte_flow rules of a DPDK port. This and
 * source_dpdk.c are the files that include DPDK's headers for packets.
 *
 *   priority 0   tunnels' UDP ports, IPv6 addresses that look like IPv4   pass   always
 *            0   a whole kind: TCP over IPv4, ...                         pass   while it is open
 *            1   what one condition wants of the kind, both ways round    pass
 *            2   what the other one wants                                 pass
 *            3   a whole kind, not in fragments, no extension header      drop   counted
 *
 *   a kind:   open --narrow--> one condition --widen--> both --narrow--> the other one
 *              ^                                          |
 *              +-------------------widen------------------+
 *
 * What is no packet of a kind meets no rule: fragments, other layer 4, other protocols pass. What
 * rules cannot say is left out, and a kind that needs too many of them is open: they only become
 * wider. So is a kind with a rule that the device refuses; one that it cannot drop, or drop and
 * count, is let alone. New rules are there before old ones go.
 *
 * Only our own rules are removed.
 *
 * Thread: one, but any may count. */
#ifndef DATAPLANE_FLOW_RULES_H
#define DATAPLANE_FLOW_RULES_H

#include <stdint.h>

#include "pushdown.h"

struct rte_eth_rss_conf;
struct flow_rules;

enum { FLOW_RULES_MAX = 64, FLOW_ERROR_SIZE = 128 }; /* rules: of a kind and a condition */

/* On a started port; everything passes. rss: how its queues are chosen; null: it has one.
 * -> 0, or -errno with the device's words: it drops no kind, and has none of our rules. */
int flow_rules_create(uint16_t port, unsigned n_queues, const struct rte_eth_rss_conf *rss,
                      struct flow_rules **ret_rules, char reterr_text[static FLOW_ERROR_SIZE]);
/* Before the port is stopped. */
void flow_rules_free(struct flow_rules *rules);

/* What it wants passes, too. */
void flow_rules_widen(struct flow_rules *rules, const struct pushdown_condition *also);
/* Only what it wants passes: the one that was widened by last. */
void flow_rules_narrow(struct flow_rules *rules, const struct pushdown_condition *only);

/* Packets that the device dropped. */
uint64_t flow_rules_dropped(struct flow_rules *rules);

#endif
