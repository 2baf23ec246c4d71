/* capture.h - what the XDP program and source_af_xdp.c agree on. */
#ifndef DATAPLANE_XDP_CAPTURE_H
#define DATAPLANE_XDP_CAPTURE_H

#include <linux/types.h>

/* In front of the packet. Whoever reads it clears `magic`, so that what an earlier packet left in
 * the same memory is never taken for this one's. */
struct capture_meta {
    __u64 time_ns; /* bpf_ktime_get_ns(): CLOCK_MONOTONIC */
    __u32 magic;   /* capture_config.magic, random */
    __u32 reserved;
};

/* Set before the program is loaded. */
struct capture_config {
    __u32 magic;
    __u32 otherwise; /* enum xdp_action, for packets we do not take */
};

enum capture_counter {
    CAPTURE_NO_SOCKET, /* packets of a queue that no socket takes */
    CAPTURE_DISCARDED, /* packets that no job wants */
    CAPTURE_N_COUNTERS,
};

enum { CAPTURE_QUEUE_MAX = 64 };

/* ---- pushdown: what is wanted, and which streams are not ----
 *
 * A condition is an or of up to 64 clauses; a set of clauses is a word. What a packet shows (its
 * kind, ports, addresses) is looked up in a table each, which says which clauses it meets there:
 * as the client's or as the server's. A clause that is met everywhere wants the packet.
 *
 * There are two tables, so that one can be made while the other is in force, and both can be in
 * force: then what either of them wants passes. */
enum {
    CAPTURE_TABLES = 2,
    CAPTURE_KINDS = 8,
    CAPTURE_PORTS = 65537, /* the last: no port */
    CAPTURE_ADDRESSES_MAX = 1024,
    CAPTURE_OUT_MAX = 65536,
};

struct capture_sides {
    __u64 side[2]; /* clauses, by enum kfl_side */
};

enum capture_table_flags {
    CAPTURE_ANYBODY = 1,   /* there is a job: what cannot be told passes */
    CAPTURE_ADDRESSES = 2, /* some clause looks at addresses */
    CAPTURE_DNS = 4,       /* DNS passes */
};

struct capture_table {
    __u64 kind[CAPTURE_KINDS]; /* clauses; by enum kfl_pushdown_kind */
    __u32 flags;
    __u32 reserved;
};

struct capture_control {
    __u32 in_force; /* set of tables; 0: everything passes */
    __u32 epoch;    /* of the plan: streams that were out for another one are asked again */
    struct capture_table table[CAPTURE_TABLES];
};

struct capture_prefix { /* key of the address tables */
    __u32 bits;
    __u8 addr[16]; /* IPv4 as ::ffff:a.b.c.d */
};

/* A stream, the lower endpoint (address, then port) first. */
struct capture_stream {
    __u8 addr[2][16];
    __u16 port[2];
    __u8 kind;
    __u8 reserved[3];
};

/* That it is out. Armed when the classifier has seen more of the same stream since it was put in:
 * a new stream of the same addresses cannot have begun in between unseen. */
struct capture_out {
    __u64 last_ns;    /* CLOCK_MONOTONIC, of its last packet, roughly */
    __u64 timeout_ns; /* silent for so long it is another stream; 0: never */
    __u64 since_ns;   /* UTC, when it was put in */
    __u32 epoch;
    __u32 armed;
};

#endif
