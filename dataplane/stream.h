/* stream.h - the stream table of one classifier.
 *
 * A stream is both directions of one L4 conversation: the innermost 5-tuple from its first packet
 * to close or idle timeout; a new SYN with another ISN on a 5-tuple is a new stream. ICMP and
 * protocols without ports: the pair of addresses.
 *
 *     index     cache lines of 15 places; each has the number of a stream and bits of its hash.
 *               What finds its line full goes to the next, and is counted where it passed
 *     streams   two cache lines each; a packet that nobody wants touches only the first
 *     extras    one more for a stream that is dissected or undecided
 *     facts     rarely asked for (names, MAC and IPv6 addresses, tunnel); streams share them
 *
 * All of it is reserved at creation. Timeouts by a timer wheel that is re-armed lazily: a packet
 * only writes last_ns.
 *
 *     for a burst:                stream_prefetch_index(...)          its lines on their way
 *     for each of its packets:    stream_find_or_add(...)             counts, states, orientation
 *     now and then:               stream_table_tick(table, now_ns)    -> ended()
 *     at the end:                 stream_table_finish(...)            -> ended() for all
 *
 * Thread: the classifier that owns it. A stream's address is stable for its life. */
#ifndef DATAPLANE_STREAM_H
#define DATAPLANE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../kfl-jit/entry.h"
#include "counters.h"
#include "packet.h"

/* What conn.state is made of; of the stream, not of a direction. No move leads back to the left,
 * but a SYN with another ISN ends the stream and begins another.
 *
 *     NONE --SYN--> SYN_SENT --SYN+ACK--> SYN_RECEIVED --ACK--> ESTABLISHED
 *       |              |                       ^                   |    |
 *       |              +---any other ACK-------|------------------>|    | (FIN and RST count from
 *       +---SYN+ACK (SYN missed)---------------+                   |    |  every state before)
 *       +---anything else (mid-stream)---------------------------->+    |
 *                                                                  |    +--RST--> RESET
 *             FIN_CLIENT, FIN_SERVER <--first FIN------------------+
 *                    |      |
 *                    |      +--RST--> RESET
 *                    +--the other FIN--> LAST_ACK --its ACK, or RST--> CLOSED */
enum stream_tcp {
    STREAM_TCP_NONE, /* not TCP, or no TCP header seen yet */
    STREAM_TCP_SYN_SENT,
    STREAM_TCP_SYN_RECEIVED,
    STREAM_TCP_ESTABLISHED,
    STREAM_TCP_FIN_CLIENT, /* one side has closed */
    STREAM_TCP_FIN_SERVER,
    STREAM_TCP_LAST_ACK, /* both FINs seen, the second is not acknowledged */
    STREAM_TCP_CLOSED,
    STREAM_TCP_RESET,
};

enum stream_flags {
    STREAM_CLIENT_IS_1 = 1 << 0, /* key.addr[1] is the client */
    STREAM_ORIENTED = 1 << 1,    /* ... for certain */
    STREAM_SYN_SEEN = 1 << 2,
    STREAM_L7_DONE = 1 << 3,  /* no dissector wanted any more, or none could be had */
    STREAM_OVERFLOW = 1 << 4, /* its L7 state met a bound */
    STREAM_ISN_0 = 1 << 5,    /* isn[0] is set */
    STREAM_ISN_1 = 1 << 6,
    STREAM_LAST_FIN_1 = 1 << 7, /* the FIN that waits for its ACK came from key.addr[1] */
    STREAM_USED = 1 << 8,       /* in the table */
    STREAM_TIMER = 1 << 9,      /* in the wheel */
    STREAM_SEQ_0 = 1 << 10,     /* next_seq[0] is set (tcp.c) */
    STREAM_SEQ_1 = 1 << 11,
    STREAM_MOVING = 1 << 12,         /* its past is on the way to the jobs that matched (past.c) */
    STREAM_WAITS = 1 << 13,          /* entries of it wait for its end (waiting.c) */
    STREAM_ASKED_ORIENTED = 1 << 14, /* the plan was asked when the client was known */
    STREAM_ADMITTED = 1 << 15,       /* limit(n) has let in its first entry (verdict.c) */
    STREAM_QUIET_0 = 1 << 16,        /* endpoint 0's packets are but counted, unless they have SYN,
                                        FIN or RST: established, or not TCP */
    STREAM_QUIET_1 = 1 << 17,
    STREAM_BEGUN_0 = 1 << 18, /* next_seq[0] is certain: by a SYN, or bytes have come (tcp.c) */
    STREAM_BEGUN_1 = 1 << 19,
    STREAM_WANTED = 1 << 20, /* set when some job may want it or has it; taken away late */
    STREAM_NAMED = 1 << 21,  /* one of its endpoints has a name */
};

struct l7;
struct tcp_reassembly;

/* What a packet's stream is known by, out of its struct stream_key: IPv4 addresses are whole, of
 * IPv6 addresses it has a hash, and they are compared where they are whole, in the facts. */
struct stream_id {
    union {
        uint8_t ip4[2][4];
        uint64_t ip6;
    };
    uint16_t port[2]; /* from here on as in struct stream_key */
    uint8_t ip_protocol;
    uint8_t ip_version;
    uint16_t distinguish;
};

/* Of a stream that is dissected, or undecided. */
struct stream_extra {
    uint64_t lookback_last; /* position of its newest record; LOOKBACK_NONE */
    uint32_t n_held;        /* packets that count as held (in the lookback, or overwritten there) */
    uint32_t next_seq[2];   /* by endpoint: next byte expected */
    uint32_t protos;        /* kfl_stream.protos */
    struct tcp_reassembly *reassembly; /* while out of order; null */
    struct l7 *l7;                     /* while a dissector is needed; null */
    uint32_t l7_seen;                  /* kfl_stream.l7 */
    uint8_t entries_seen;              /* saturating: has it had an entry of its own? */
};
_Static_assert(sizeof(struct stream_extra) <= 64, "one cache line");

/* [2] is by enum kfl_side unless it says by endpoint: the place in the key, packet.sender. */
struct stream {
    /* first line: each packet */
    struct stream_id id;
    uint32_t facts;      /* what else its first packet said (stream_facts.c) */
    uint32_t plan_epoch; /* the plan its verdict was made by */
    uint64_t last_ns;
    uint32_t flags;    /* enum stream_flags */
    uint8_t tcp;       /* enum stream_tcp */
    uint8_t tcp_flags; /* seen */
    uint8_t l4;        /* enum kfl_l4 */
    uint8_t detection; /* enum kfl_detection */
    uint32_t packets[2];
    uint64_t bytes[2];
    /* second line: its verdict; what is known from the beginning, or needed at the end */
    uint64_t open;              /* jobs that may still match */
    uint64_t matched;           /* jobs that record it */
    struct stream_extra *extra; /* never null; of a stream that has none: stream_no_extra */
    uint64_t first_ns;
    uint64_t number;
    uint32_t isn[2]; /* by endpoint: sequence number before the first byte of data */
    uint32_t timer_next, timer_prev; /* streams in the same slot of the wheel */
    uint32_t hash;
    uint16_t timer_slot;
    uint16_t matches; /* entries that matched, saturating; for `read` */
};
_Static_assert(offsetof(struct stream, open) == 64 && sizeof(struct stream) == 128,
               "bench/SCALING.md counts on it");

/* Nothing held, nothing dissected. Not to be written to: it is constant. */
extern struct stream_extra *const stream_no_extra;

/* Who knows the names of addresses, asked at a stream's first packet. The texts must hold still
 * for the life of the table. `ts_ns`: time of that packet. -> false: unknown. */
struct stream_name_source {
    bool (*lookup)(void *context, const uint8_t addr[16], uint64_t ts_ns, const char **ret_name,
                   const char **ret_namespace);
    void *context;
};

enum stream_end { STREAM_END_CLOSE, STREAM_END_RESET, STREAM_END_IDLE, STREAM_END_STOP };

/* Who hears that a stream is over. Called before its memory is taken back, from within
 * stream_find_or_add() (its 5-tuple begins anew), _tick() and _finish(). May be null. */
struct stream_sink {
    void (*ended)(void *context, struct stream *stream, enum stream_end why);
    void *context;
};

/* Timeouts: 0 is never. */
struct stream_config {
    uint32_t max;  /* streams at once; memory is touched only as they come */
    bool grow;     /* the index begins small and grows: `read` of small files */
    bool resident; /* all memory is taken now, none is found and cleared while packets come */
    uint64_t timeout_ns_tcp;        /* idle, established */
    uint64_t timeout_ns_tcp_open;   /* handshake not complete */
    uint64_t timeout_ns_tcp_closed; /* closed or reset, and lingering for the last packets */
    uint64_t timeout_ns_udp;
    uint64_t timeout_ns_icmp;
    uint64_t timeout_ns_other; /* SCTP and the rest */
    bool distinguish_vlan, distinguish_tunnel;
    uint64_t number_first, number_step; /* several classifiers number without meeting; step 0: 1 */
    bool recorded;      /* packets say in `cookie` which stream they were recorded in: that is its
                           number, and where the next one begins */
    const char *record; /* the recording's name, for statements; null: live */
    struct stream_name_source names;
    struct stream_sink sink;
    struct counters *counters; /* streams, streams_ended, streams_full; may be null */
};

struct stream_table;

int stream_table_create(const struct stream_config *config, struct stream_table **ret_table);
void stream_table_free(struct stream_table *table); /* tells nobody: _finish() does */

/* What of a stream will be looked at: a cache line each, and those before. */
enum stream_depth { STREAM_COUNTS, STREAM_VERDICT, STREAM_EXTRA };

/* Before the streams of a decoded burst are asked for, so that they are on their way: first of each
 * packet, as early as may be, then of all of them. -> a hint for stream_find_or_add(). */
void stream_prefetch_index(const struct stream_table *table, const struct packet *packet);
uint32_t stream_prefetch(const struct stream_table *table, const struct packet *packet,
                         enum stream_depth depth);

/* The stream of a decoded packet (not PACKET_NO_IP) with the packet counted in: times, counts,
 * TCP state, orientation. *ret_new: it begins with this packet. When all places are taken, one
 * that is closed and lingers makes room; null when there is none near (counted). hint: of
 * stream_prefetch(), or 0. */
struct stream *stream_find_or_add(struct stream_table *table, struct packet *packet, uint32_t hint,
                                  bool *ret_new);
/* The stream of this key, or null; changes nothing. */
struct stream *stream_find(const struct stream_table *table, const struct packet *packet);
/* Gives it an extra of its own, for the rest of its life, if it has none. */
void stream_extend(struct stream_table *table, struct stream *stream);

/* Ends what has been idle too long. A bounded piece of work: -> streams looked at; as long as it
 * is not 0 there may be more that is due. */
unsigned stream_table_tick(struct stream_table *table, uint64_t now_ns);
/* Ends all streams (STREAM_END_STOP, or what their TCP state says), in the order of places, n_max
 * places a call. -> true: these were the last. */
bool stream_table_finish(struct stream_table *table, uint32_t n_max);

/* The next stream at or behind *place, which moves on; null: at the end, *place is 0 again. For
 * those who sweep over all streams, a piece at a time. */
struct stream *stream_table_walk(struct stream_table *table, uint32_t *place);

/* Idle for so long it is over; 0: never. */
uint64_t stream_timeout_ns(const struct stream_table *table, const struct stream *stream);

uint32_t stream_table_max(const struct stream_table *table);
uint32_t stream_table_n(const struct stream_table *table);           /* streams now; any thread */
uint64_t stream_table_next_number(const struct stream_table *table); /* of the one to come */

/* Fills the view that the plan and entries look at; it points into the table and holds for the
 * stream's life. `ended`: the counts are final. */
void stream_view(const struct stream_table *table, const struct stream *stream, bool ended,
                 struct kfl_stream *ret_view);

/* The same for a packet whose stream found no room: what its headers say. *ret_stream stands for
 * the stream, of this packet alone and not in the table, until the next call. */
void stream_view_packet(const struct stream_table *table, const struct packet *packet,
                        struct stream *ret_stream, struct kfl_stream *ret_view);

/* The key its packets have. table: null, and IPv6 addresses are zero. */
void stream_key_get(const struct stream_table *table, const struct stream *stream,
                    struct stream_key *ret_key);

/* Of the view, the name of one endpoint of the key; empty: it has none. table: null, and it is. */
const char *stream_name(const struct stream_table *table, const struct stream *stream,
                        unsigned endpoint);

enum kfl_state stream_state(const struct stream *stream, bool ended); /* conn.state */
/* error.msg of a connection that failed (`SynSent` `Reset` `CloseWait` `LastAck`), or null. */
const char *stream_connection_error(const struct stream *stream);
/* Why it ends, if it ends of itself. */
enum stream_end stream_end_of(const struct stream *stream);

static inline enum kfl_side stream_side(const struct stream *stream, unsigned sender)
{
    return (enum kfl_side)(sender ^ (stream->flags & STREAM_CLIENT_IS_1));
}

/* Client and server change places: the first guess was wrong. What is kept by side elsewhere (l7)
 * must follow. */
static inline void stream_swap_sides(struct stream *stream)
{
    uint32_t packets = stream->packets[0];
    uint64_t bytes = stream->bytes[0];

    stream->flags ^= STREAM_CLIENT_IS_1;
    stream->packets[0] = stream->packets[1];
    stream->packets[1] = packets;
    stream->bytes[0] = stream->bytes[1];
    stream->bytes[1] = bytes;
    if (stream->tcp == STREAM_TCP_FIN_CLIENT)
        stream->tcp = STREAM_TCP_FIN_SERVER;
    else if (stream->tcp == STREAM_TCP_FIN_SERVER)
        stream->tcp = STREAM_TCP_FIN_CLIENT;
}

#endif
