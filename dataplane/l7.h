/* l7.h - dissectors and what carries them.
 *
 * A dissector turns the bytes of one stream into halves of entries; l7 gives it bytes in order,
 * keeps what it could not use yet, pairs halves into entries, and asks the plan through its sink.
 *
 *     tcp.c --in order--> l7_data() --> probe until known --> dissector->parse()
 *                                                                  |  l7_request(), l7_response()
 *                         sink->entry() <-- pairing <--------------+
 *
 * To add a protocol: one file in proto/ with a `const struct dissector`, one row in
 * proto/dissectors.def, its rows in kfl-jit/fields.def and kfl-jit/protos.def, captures in tests.
 *
 * Rules for a dissector: it reads through a cursor (cursor.h), keeps no pointer into the bytes past
 * its call, allocates only through l7_half_new() and its state, and every loop is bounded by the
 * bytes given. It never fails: l7_give_up() ends dissection and is counted by protocol.
 *
 * Sides are roles: KFL_CLIENT, KFL_SERVER. Thread: the classifier of the stream. Memory: pools of
 * the classifier, bounded; when they are empty the stream goes on without dissection, counted. */
#ifndef DATAPLANE_L7_H
#define DATAPLANE_L7_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../kfl-jit/entry.h"
#include "../kfl-jit/plan.h"

struct l7;
struct l7_half;

/* Most bytes of one side that are kept because the dissector could not use them yet. A longer
 * message is parsed in parts (l7_skip) by its dissector. */
enum {
    L7_BUFFER_MAX = 64 << 10,
    L7_SHOWN_MAX = 32 << 10, /* the usual part of a long message that is read */
    L7_PROBE_MAX = 4096,
    L7_PENDING_MAX = 1024
};

/* ---- what a dissector is ---- */
enum l7_probe { L7_PROBE_NO, L7_PROBE_MORE, L7_PROBE_YES };

struct l7_probe_input {
    const uint8_t *data[2]; /* first bytes by side; null/0 where none came yet */
    size_t size[2];
    uint16_t port[2]; /* by side; a hint for the order of probing, never a reason */
    enum kfl_l4 l4;
    bool oriented; /* the client is known. If not, a probe that recognises the protocol
                      the other way round sets *ret_swap */
};

enum l7_end { L7_END_CLOSE, L7_END_RESET, L7_END_IDLE, L7_END_STOP /* end of capture, shutdown */ };

struct dissector {
    enum kfl_proto proto;
    const char *name;    /* as in counters: "http" */
    uint32_t state_size; /* bytes of its state per stream, zeroed before init */
    uint32_t protos;     /* entries it makes, and those of protocols it may switch to */
    uint16_t ports[8];   /* usual ones of the server: its probe is asked earlier there */
    enum l7_probe (*probe)(const struct l7_probe_input *input, bool *ret_swap);
    void (*init)(struct l7 *l7); /* optional */
    /* Stream transports: the unused bytes of a side, old and new together. -> bytes used, 0..size.
     * Called again at once with the rest when it used some (so one message a call is enough, and
     * gives each message its own times); when more has come; when l7_wake()d; after the other side
     * was parsed. */
    size_t (*parse)(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
    /* Bytes were lost on this side before the next parse (not those covered by l7_skip). What came
     * before them and was not used is shown a last time. Without it the framework gives up at a
     * gap. */
    void (*gap)(struct l7 *l7, enum kfl_side side, uint64_t size, const uint8_t *unused,
                size_t unused_size);
    /* Message transports: one whole message. UDP: the payload; ICMP: the message from its type
     * on; SCTP: the packet from its common header on. */
    void (*datagram)(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
    /* The stream is over: finish what ends with it. Pending requests are turned into half entries
     * by the framework afterwards. Optional. */
    void (*end)(struct l7 *l7, enum l7_end why);
    void (*done)(struct l7 *l7); /* free what init took outside the pools (HPACK). Optional. */
};

/* ---- what a dissector may call ---- */
void *l7_state(struct l7 *l7);
uint64_t l7_now(const struct l7 *l7);                          /* ns, packet being parsed */
uint64_t l7_stream_ns(const struct l7 *l7);                    /* the stream's first packet */
uint64_t l7_first_ns(const struct l7 *l7, enum kfl_side side); /* packet of the first unused byte */
uint16_t l7_port(const struct l7 *l7, enum kfl_side side);
/* As in kfl_endpoint. */
void l7_address(const struct l7 *l7, enum kfl_side side, uint8_t ret_addr[static 16]);
enum kfl_l4 l7_l4(const struct l7 *l7);
const struct kfl_demand *l7_demand(const struct l7 *l7);

/* The next `size` bytes of this side, behind those used, are of no interest: they are not shown,
 * and it does not matter if they are lost. When the last of them has come, parse is called even
 * if there is nothing behind it (size 0). */
void l7_skip(struct l7 *l7, enum kfl_side side, uint64_t size);
/* Do not call parse for this side before at least `size` bytes are there (<= L7_BUFFER_MAX). */
void l7_need(struct l7 *l7, enum kfl_side side, size_t size);
/* Messages that begin with a head which tells their length; parse() of them is
 *
 *     if (!l7_has(l7, side, size, HEAD)) return 0;
 *     read the head, l7_give_up() if it is none
 *     shown = l7_message(l7, side, size, length, L7_SHOWN_MAX);
 *     if (!shown) return 0;
 *     read `shown` bytes
 *     return shown;
 *
 * l7_has(): is that much there? If not, parse waits for it. */
bool l7_has(struct l7 *l7, enum kfl_side side, size_t size, size_t needed);
/* -> how much of a message of `length` bytes is shown, at most shown_max: all of that is there, and
 * the rest will be skipped. 0: it is not there yet, parse waits for it. */
uint32_t l7_message(struct l7 *l7, enum kfl_side side, size_t size, uint64_t length,
                    uint32_t shown_max);
/* parse() this side again with what is buffered, once the present call is over. */
void l7_wake(struct l7 *l7, enum kfl_side side);

/* The bytes that follow on both sides are of another protocol: a given one, or whatever a probe
 * finds (proto KFL_PROTO_COUNT). State is freed, pending halves are ended. */
void l7_switch(struct l7 *l7, enum kfl_proto proto);
/* A half that the dissector after an l7_switch() goes on with (the HTTP/1 request that became
 * stream 1 of HTTP/2): handed over by one, fetched by the other in its init(). */
void l7_hand_over(struct l7 *l7, struct l7_half *half);
struct l7_half *l7_handed_over(struct l7 *l7);
/* Halves that do not say their protocol are of this one from now on (Diameter within SCTP). */
void l7_speaks(struct l7 *l7, enum kfl_proto proto);
/* No further entry can come of this stream (all is encrypted from here): the stream's remaining
 * jobs are settled, nothing is parsed any more. */
void l7_finish(struct l7 *l7);
/* The bytes break the protocol. An entry with error `dissection` is made when `half` is given. */
void l7_give_up(struct l7 *l7, struct l7_half *half, const char *why);

/* The protocols this stream's entries can still have, when less than dissector->protos is left
 * (HTTP: a connection to an origin server does not become a tunnel). The dissector does not
 * l7_switch() to others any more. */
void l7_narrow(struct l7 *l7, uint32_t protos);

/* ---- halves ----
 * A half is one message on its way: begun when its first bytes are seen, given facts in one or
 * more goes, completed by l7_request() or l7_response(). Null when memory is short: all l7_half
 * calls accept null and do nothing. */
enum { L7_IN_ORDER = 0 }; /* key of halves that are paired by order; other keys are not 0 */

struct l7_half *l7_half_new(struct l7 *l7, enum kfl_side side, uint64_t key);
void l7_half_free(struct l7 *l7, struct l7_half *half);
/* An empty tape, with the demand set, to write facts on; l7_half_add() copies them to the half.
 * One tape a classifier: between tape and add nothing else of l7 is called. */
struct fact_tape *l7_tape(struct l7 *l7);
void l7_half_add(struct l7 *l7, struct l7_half *half);
void l7_half_proto(struct l7_half *half, enum kfl_proto proto);    /* if not the dissector's own */
bool l7_half_is(const struct l7_half *half, enum kfl_proto proto); /* was it set to that? */
void l7_half_version(struct l7_half *half, const char *version);   /* a constant text */
void l7_half_wire(struct l7_half *half, uint64_t size);            /* adds bytes on the wire */
void l7_half_time(struct l7_half *half, uint64_t first_ns, uint64_t last_ns); /* else: as parsed */
void l7_half_error(struct l7_half *half, enum kfl_error_type error, const char *msg);
/* 64 bits of the dissector's own, to remember about a request until its response comes (HTTP: the
 * method was HEAD). */
void l7_half_set_user(struct l7_half *half, uint64_t user);
uint64_t l7_half_user(const struct l7_half *half);

/* A complete request: waits for the response with its key (in order: the oldest first). */
void l7_request(struct l7 *l7, struct l7_half *half);
/* A complete response: makes an entry with its request; without one, a half entry with error
 * `pair-not-found`. */
void l7_response(struct l7 *l7, struct l7_half *half);
/* A message without counterpart: a whole entry with one side, error null. */
void l7_single(struct l7 *l7, struct l7_half *half);
/* An entry of two halves that the dissector paired itself; either may be null. */
void l7_entry(struct l7 *l7, struct l7_half *request, struct l7_half *response);
/* The waiting request that a response with this key would get; null: none. */
struct l7_half *l7_pending(struct l7 *l7, uint64_t key);
unsigned l7_n_pending(const struct l7 *l7);
/* No response will come for this waiting request: a half entry with error `pair-not-found`. */
void l7_unanswered(struct l7 *l7, struct l7_half *half, const char *why);
/* A copy of a half with another key, not waiting. Null: no memory. */
struct l7_half *l7_half_copy(struct l7 *l7, const struct l7_half *half, uint64_t key);

/* ---- texts that grow: bodies, fragments ----
 * Kept in the pools, cut at text_max; zeroed to begin with. The dissector frees it, at the latest
 * in its done(). */
struct l7_text {
    uint8_t *data;
    uint32_t size, capacity;
    uint64_t total; /* bytes that were added, also those that were cut */
};
void l7_text_add(struct l7 *l7, struct l7_text *text, const void *data, size_t size);
void l7_text_free(struct l7 *l7, struct l7_text *text); /* and zeroes it */
uint32_t l7_text_max(const struct l7 *l7);

/* Memory of the pools for what a stream's state points to; freed by the dissector's done().
 * Null: there is no room, counted. */
void *l7_memory(struct l7 *l7, size_t size);
void *l7_memory_resize(struct l7 *l7, void *memory, size_t size);
void l7_memory_free(struct l7 *l7, void *memory);

/* Memory for the time of one call of a dissector: L7_SCRATCH_SIZE bytes, the classifier's. */
enum { L7_SCRATCH_SIZE = 10 << 20 };
void *l7_scratch(struct l7 *l7);

/* ---- what carries them: called by the classifier ---- */
struct stream;

struct l7_sink { /* who hears of entries; classifier.c */
    /* One entry, whole or half; `entry->response_open`: the request is complete, its response
     * may still come (asked only when a job in the plan can use it; not counted as an entry).
     * entry->stream is null: the sink has the stream and sets its view. */
    void (*entry)(void *context, struct stream *stream, struct kfl_entry *entry);
    /* Protocol found, changed, or given up: stream->protos, l7_seen, detection are new. The L4
     * entry stays among protos until the first request or entry: then it cannot come any more. */
    void (*protocol)(void *context, struct stream *stream);
    /* Both may call l7_drop(). */
    void *context;
};

struct l7_config {
    uint64_t memory;              /* bytes for all streams of this classifier */
    uint64_t response_timeout_ns; /* a request without response becomes an entry; 0: at the end */
    uint32_t text_max;            /* bodies and payloads are cut here, at most 64 KiB; sizes count
                                     on; 0: that */
    bool unbounded;               /* `read` of files: pools may grow by blocks */
    const struct stream_table *streams; /* knows their addresses; null: none of IPv6 */
};

struct l7_counters {            /* one writer: the classifier; anyone reads */
    _Atomic uint64_t streams;   /* given to a dissector */
    _Atomic uint64_t no_memory; /* streams or halves that pools had no room for */
    _Atomic uint64_t gaps;      /* holes in what a dissector was shown */
    _Atomic uint64_t gap_bytes;
    _Atomic uint64_t entries[KFL_PROTO_COUNT];
    _Atomic uint64_t errors[KFL_PROTO_COUNT]; /* dissector_errors */
    _Atomic uint64_t bytes[KFL_PROTO_COUNT];  /* shown to dissectors */
};

struct l7_context; /* one per classifier: pools, tape, counters */

int l7_context_create(const struct l7_config *config, const struct l7_sink *sink,
                      struct l7_context **ret_context);
void l7_context_free(struct l7_context *context);
/* What dissectors extract from now on; it must outlive the next call of this. */
void l7_context_demand(struct l7_context *context, const struct kfl_demand *demand);
static inline void l7_context_plan(struct l7_context *context, const struct kfl_plan *plan)
{
    l7_context_demand(context, kfl_plan_demand(plan));
}
const struct l7_counters *l7_context_counters(const struct l7_context *context);
/* Requests that wait for their response, of all streams. */
uint32_t l7_context_n_pending(const struct l7_context *context);

/* Gives the stream, which has an extra, an l7 and the protocols of its L4.
 * -> 0, -ENOMEM (counted). */
int l7_open(struct l7_context *context, struct stream *stream);
/* A stream that is not oriented may be turned by what it says: stream_swap_sides(), within these
 * calls. Who keeps something by side elsewhere looks at stream_side() again afterwards. */
void l7_data(struct l7_context *context, struct stream *stream, enum kfl_side side,
             const uint8_t *data, size_t size, uint64_t ts_ns);
void l7_gap(struct l7_context *context, struct stream *stream, enum kfl_side side, uint64_t size);
void l7_datagram(struct l7_context *context, struct stream *stream, enum kfl_side side,
                 const uint8_t *data, size_t size, uint64_t ts_ns);
/* Asks about requests whose response has not come for L7_ASK_NS: most have had it by then and are
 * asked about once, together with it. Called once a step. */
#define L7_ASK_NS UINT64_C(10000000)
void l7_ask_requests(struct l7_context *context, uint64_t now_ns);
/* Requests that have waited too long; called now and then. */
void l7_timeout(struct l7_context *context, struct stream *stream, uint64_t now_ns);
/* Ends what is pending (entries to the sink); a stream that had no entry gets its L4 entry. Frees
 * it, stream->l7 = NULL. */
void l7_close(struct l7_context *context, struct stream *stream, enum l7_end why);
/* Frees without making entries: nobody wants this stream. */
void l7_drop(struct l7_context *context, struct stream *stream);

/* The table of dissectors, in the order of probing. */
extern const struct dissector *const l7_dissectors[];
extern const unsigned l7_n_dissectors;

#endif
