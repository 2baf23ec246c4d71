/* pushdown.h - what a packet must be like for any job to want it, as far as its addresses, ports
 * and layer 4 tell: the plan's necessary condition for those who drop packets early (the XDP
 * program, a device's flow rules).
 *
 *     http and dst.port == 80 or src.ip == "10.0.0.1"
 *
 *       tcp, dst.port 80
 *       tcp/ipv4 udp/ipv4 sctp/ipv4 icmp/ipv4, src.ip 10.0.0.1
 *
 * An or of clauses, each an and of what one packet shows. What a packet does not show counts as
 * true, and what does not fit is left out, so the condition only ever becomes wider: a packet that
 * it does not hold for, in neither direction, is wanted by no job. It says nothing of other
 * layer 4 than TCP, UDP, SCTP, ICMP, nor of what is in tunnels: such packets must pass.
 *
 * Made by one thread; constant afterwards. */
#ifndef KFL_PUSHDOWN_H
#define KFL_PUSHDOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kfl_plan;

enum { KFL_PUSHDOWN_KINDS = 8, KFL_PUSHDOWN_NO_PORT = 65536 };
enum {
    KFL_PUSHDOWN_CLAUSES_MAX = 64, /* a set of clauses is one word */
    KFL_PUSHDOWN_RANGES_MAX = 16,
    KFL_PUSHDOWN_ADDRESSES_MAX = 4
};

/* Layer 4 and IP version. A set of kinds is one byte. */
enum kfl_pushdown_kind {
    KFL_PUSHDOWN_TCP,
    KFL_PUSHDOWN_UDP,
    KFL_PUSHDOWN_SCTP,
    KFL_PUSHDOWN_ICMP,
    KFL_PUSHDOWN_IPV6, /* added to one of the above */
};

struct kfl_pushdown_range {
    uint32_t low, high; /* both included; KFL_PUSHDOWN_NO_PORT is the port of ICMP */
};

/* Addresses that begin alike; or all that do not. */
struct kfl_pushdown_address {
    uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d; 0 behind the prefix */
    uint8_t bits;
    bool differs;
};

struct kfl_pushdown_end {
    uint32_t n_ranges; /* in order, apart; the port is in one of them */
    uint32_t n_addresses;
    struct kfl_pushdown_range range[KFL_PUSHDOWN_RANGES_MAX];
    struct kfl_pushdown_address address[KFL_PUSHDOWN_ADDRESSES_MAX]; /* all hold */
};

struct kfl_pushdown_clause {
    uint8_t kinds;                  /* set of enum kfl_pushdown_kind */
    struct kfl_pushdown_end end[2]; /* by enum kfl_side */
};

struct kfl_pushdown {
    uint32_t n; /* 0: nothing is wanted */
    struct kfl_pushdown_clause clause[KFL_PUSHDOWN_CLAUSES_MAX];
};

/* What the job of this slot may want. -> 0 or -ENOMEM: then it is everything. */
int kfl_pushdown_of_slot(const struct kfl_plan *plan, unsigned slot,
                         struct kfl_pushdown *ret_pushdown);
/* ... or what is in `from`. */
void kfl_pushdown_add(struct kfl_pushdown *pushdown, const struct kfl_pushdown *from);

/* A packet in the direction that it has; asked both ways round. */
struct kfl_pushdown_packet {
    uint8_t kind; /* enum kfl_pushdown_kind */
    uint8_t addr[2][16];
    uint32_t port[2];
};
bool kfl_pushdown_wants(const struct kfl_pushdown *pushdown,
                        const struct kfl_pushdown_packet *packet);
/* Does the address begin so, or not, as it should? */
bool kfl_pushdown_address_holds(const struct kfl_pushdown_address *address, const uint8_t addr[16]);

/* A clause as text: `tcp, src.ip 10.0.0.1, dst.port 80 8080-8090`. -> 0 or -ENOSPC */
int kfl_pushdown_show(const struct kfl_pushdown_clause *clause, char *buffer, size_t size);

#endif
