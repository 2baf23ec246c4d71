/* l7_private.h - what l7.c (the door), l7_bytes.c (probing, buffers) and l7_half.c (halves,
 * pairing, entries) share. For these only. */
#ifndef DATAPLANE_L7_PRIVATE_H
#define DATAPLANE_L7_PRIVATE_H

#include "l7.h"
#include "pool.h"
#include "stream.h"

enum {
    N_MARKS = 10,       /* packets whose times are kept for the unused bytes of a side */
    SWITCHES_MAX = 8,   /* a stream that changes protocol more often is not dissected further */
    SEGMENTS_MAX = 200, /* packets that are shown to probes before giving up ... */
    MIDSTREAM_MAX = 24, /* ... when nothing fits and the beginning was not seen */
    DATAGRAMS_MAX = 6,
    SPINS_MAX = 64, /* turns between the sides that use no byte */
    TEXT_MAX = 64 << 10,
    QUESTIONS_MAX = 4096, /* requests that wait to be asked about, a power of two */
    HALF_SIZE = 512,      /* a half with the facts that fit in it */
    PAYLOAD_HEAD = 64,    /* first bytes of a side that its L4 entry shows */
    PROTO_UNSET = 0xff,
};

/* A request that was not asked about yet; half is null: that is no more needed. */
struct question {
    struct l7 *l7;
    struct l7_half *half;
};

struct l7_context {
    struct l7_config config;
    struct l7_sink sink;
    struct pool *pool;
    const struct kfl_demand *demand;
    uint8_t ask_request[KFL_PROTO_COUNT]; /* enum ask: is someone helped by a request alone? */
    struct fact_tape tape;
    void *tape_buffer, *scratch;
    struct l7_counters counters;
    uint32_t n_pending; /* requests that wait, of all streams */
    /* Counts of those that were put and taken; the oldest is question[taken % QUESTIONS_MAX]. */
    uint32_t questions_put, questions_taken;
    struct question question[QUESTIONS_MAX];
};

enum ask { ASK_NEVER, ASK_FIRST /* says only that there is one */, ASK_ALWAYS };

struct mark {        /* a packet's bytes begin here */
    uint32_t offset; /* in the unused bytes */
    uint32_t order;  /* of arrival, both sides together */
    uint64_t ts_ns;
};

struct side {
    uint8_t *buffer; /* unused bytes, from the pool; null when there are none */
    uint32_t size, capacity;
    uint32_t need; /* parse only when there are so many */
    uint32_t n_marks;
    struct mark mark[N_MARKS];
    uint64_t last_ns; /* newest packet */
    uint64_t skip;
    bool wake;
};

struct payload { /* for the L4 entry */
    uint64_t size;
    uint8_t head_size;
    uint8_t head[PAYLOAD_HEAD];
};

struct l7_half {
    struct l7_half *next, *prev; /* among the waiting requests, oldest first */
    uint64_t key, user;
    uint64_t first_ns, last_ns;
    const char *version;   /* constant text or null */
    const char *error_msg; /* constant text */
    uint8_t *facts;        /* in_place, or from the pool */
    uint32_t facts_size, facts_capacity;
    uint32_t wire_size;
    uint8_t side;
    uint8_t proto;          /* enum kfl_proto or PROTO_UNSET */
    uint8_t error;          /* enum kfl_error_type */
    bool timed;             /* l7_half_time() was called */
    uint16_t question;      /* 1 + its place in context->question; 0: it is in none */
    uint8_t asked_proto;    /* of the entry in which it was shown as a request alone ... */
    struct kfl_asked asked; /* ... and what came of it; no jobs: it was not, or has changed */
    uint8_t in_place[];
};

enum ending { RUNNING, SWITCHING, ENDED };

struct l7 {
    struct l7_context *context;
    struct stream *stream;
    const struct dissector *dissector; /* null while probing, and when ended */
    void *state;
    struct side side[2];
    struct payload payload[2];
    uint64_t now_ns;
    struct l7_half *first, *last; /* requests that wait */
    struct l7_half *handed_over;
    uint32_t n_pending;
    uint32_t n_lost; /* in order: requests given up whose response may still come */
    uint32_t n_entries;
    uint32_t order;
    uint32_t candidates; /* dissectors that have not said no, bits of the table */
    uint8_t n_segments;  /* shown to probes */
    uint8_t n_switches;
    uint8_t switch_to; /* enum kfl_proto */
    uint8_t ending;    /* enum ending */
    uint8_t busy;      /* calls under way that hold it */
    bool dropped;      /* free it when they are done */
    bool asked;        /* a request or an entry was seen: no L4 entry any more */
    bool midstream;    /* its first bytes may be the middle of a message */
    uint8_t proto;     /* of halves that do not say theirs */
    bool client_is_1;  /* the stream's, when last looked at */
    bool proxy_seen;   /* PROXY protocol header: once */
};

/* l7_half.c, for l7.c */
void l7_pending_end(struct l7 *l7, enum kfl_error_type error, const char *msg);
void l7_pending_free(struct l7 *l7);
void l7_pending_timeout(struct l7 *l7, uint64_t now_ns, uint64_t timeout_ns);

/* The entry of a stream that had no other. */
void l7_l4_entry_make(struct l7 *l7);

/* l7.c: tells the sink that stream->protos has changed. */
void l7_report(struct l7 *l7, uint32_t protos);

/* l7_bytes.c */
void l7_feed(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size, uint64_t ts_ns,
             uint32_t order);
void l7_turn(struct l7 *l7, bool client, bool server);
enum l7_probe l7_probe_all(struct l7 *l7, const uint8_t *const data[2], const size_t size[2],
                           const struct dissector **ret_dissector, bool *ret_swap);
bool l7_start(struct l7 *l7, const struct dissector *dissector);
void l7_stop(struct l7 *l7);
void l7_free(struct l7 *l7);
void l7_sides_swap(struct l7 *l7);
void l7_side_clear(struct l7 *l7, struct side *side);

/* While it is held it is not freed, whatever is made of it. */
static inline void l7_hold(struct l7 *l7)
{
    l7->busy++;
}

static inline void l7_release(struct l7 *l7)
{
    if (!--l7->busy && l7->dropped)
        l7_free(l7);
}

/* Of one writer, as counter_add(). */
static inline void l7_count(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

static inline uint32_t l7_l4_entry(const struct stream *stream)
{
    return UINT32_C(1) << kfl_l4_entry(stream->l4);
}

#endif
