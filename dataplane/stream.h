/* stream.h - the stream table of one classifier.
 *
 * A stream is both directions of one L4 conversation: the innermost 5-tuple from its first packet
 * to close or idle timeout; a new SYN with another ISN on a 5-tuple is a new stream. ICMP: the
 * pair of addresses. The table is open addressing over small entries with a tag of the hash, the
 * streams lie in one array; all memory is taken at creation. Timeouts by a timer wheel that is
 * re-armed lazily: a packet only writes last_ns.
 *
 * Thread: the classifier that owns it. A stream's address is stable for its life. */
#ifndef DATAPLANE_STREAM_H
#define DATAPLANE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "../kfl-jit/entry.h"
#include "packet.h"

struct stream_key {
    uint8_t addr[2][16]; /* lower endpoint first; IPv4 as ::ffff:a.b.c.d */
    uint16_t port[2];    /* host order, 0 without */
    uint8_t ip_protocol; /* ICMPv6 as ICMPv6, not as ICMP */
    uint8_t ip_version;
    uint16_t distinguish; /* hash of VLAN or tunnel id when streams.distinguish says so, else 0 */
};
_Static_assert(sizeof(struct stream_key) == 40, "compared as a whole");

enum stream_tcp { /* what conn.state is made of; per stream, not per direction */
    STREAM_TCP_NONE,     /* nothing but the first packet, mid-stream */
    STREAM_TCP_SYN_SENT,
    STREAM_TCP_SYN_RECEIVED,
    STREAM_TCP_ESTABLISHED,
    STREAM_TCP_FIN_CLIENT, /* one side has closed */
    STREAM_TCP_FIN_SERVER,
    STREAM_TCP_CLOSED,     /* both FINs */
    STREAM_TCP_RESET,
};

enum stream_flags {
    STREAM_CLIENT_IS_1 = 1 << 0, /* key.addr[1] is the client */
    STREAM_ORIENTED = 1 << 1,    /* ... for certain */
    STREAM_SYN_SEEN = 1 << 2,
    STREAM_L7_DONE = 1 << 3,     /* no dissector wanted any more, or none could be had */
    STREAM_OVERFLOW = 1 << 4,    /* its L7 state met a bound */
};

struct l7;
struct tcp_reassembly;

struct stream {
    /* first line: each packet */
    struct stream_key key;
    uint32_t hash;
    uint32_t timer_next;    /* streams in the same slot of the wheel */
    uint64_t last_ns;
    uint8_t tcp;            /* enum stream_tcp */
    uint8_t flags;          /* enum stream_flags */
    uint8_t tcp_flags;      /* seen */
    uint8_t l4;             /* enum kfl_l4 */
    uint32_t plan_epoch;    /* the plan its verdict was made by */
    /* second line: verdict and counts */
    uint64_t open;          /* jobs that may still match */
    uint64_t matched;       /* jobs that record it */
    uint64_t lookback_last; /* position of its newest record; LOOKBACK_NONE */
    uint32_t n_held;        /* packets that count as held (in the lookback, or overwritten there) */
    uint32_t packets[2];    /* by side, enum kfl_side */
    uint64_t bytes[2];
    struct l7 *l7;          /* while a dissector is needed; null */
    /* third line: rare, or TCP with payload */
    uint64_t first_ns;
    uint64_t number;
    uint32_t next_seq[2];   /* by side: next byte expected */
    struct tcp_reassembly *reassembly; /* while out of order; null */
    uint32_t protos;        /* kfl_stream.protos */
    uint32_t l7_seen;       /* kfl_stream.l7 */
    uint32_t facts;         /* index of the P facts (names, macs, vlan, tunnel): stream_facts() */
    uint16_t matches;       /* entries that matched, saturating; for `read` */
    uint8_t detection;      /* enum kfl_detection */
    uint8_t entries_seen;   /* saturating: has it had an entry of its own? */
};
_Static_assert(sizeof(struct stream) <= 192, "bench/SCALING.md counts on it");

/* The owner of this file (stream.c) completes the interface below. */
struct stream_config {
    uint32_t max;                /* streams at once */
    uint64_t timeout_ns_tcp;     /* idle, established */
    uint64_t timeout_ns_tcp_open;/* handshake not complete, or closed and lingering */
    uint64_t timeout_ns_udp;
    uint64_t timeout_ns_icmp;
    uint64_t timeout_ns_other;
    bool distinguish_vlan, distinguish_tunnel;
};

struct stream_table;

int stream_table_create(const struct stream_config *config, struct stream_table **ret_table);
void stream_table_free(struct stream_table *table);

/* Fills the view that the plan and entries look at. `out` holds still until the next call. */
void stream_view(const struct stream *stream, struct kfl_stream *ret_view);

static inline enum kfl_side stream_side(const struct stream *stream, unsigned sender)
{
    return (enum kfl_side)(sender ^ (stream->flags & STREAM_CLIENT_IS_1));
}

#endif
