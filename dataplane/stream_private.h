/* stream_private.h - what stream.c, stream_tcp.c and stream_view.c share. */
#ifndef DATAPLANE_STREAM_PRIVATE_H
#define DATAPLANE_STREAM_PRIVATE_H

#include <stddef.h>

#include "stream.h"

#define STREAM_NONE UINT32_MAX

/* What is known from the first packet and rarely asked for. Many streams say the same (hosts
 * talk more than once): they share one record. */
struct stream_facts {
    const char *name[2], *namespace[2]; /* by endpoint, never null */
    uint8_t ip6[2][16];                 /* by endpoint; zero for IPv4 */
    uint32_t tunnel_id;
    uint16_t vlan[2];
    uint16_t interface;
    uint8_t mac[2][6]; /* by endpoint */
    uint8_t tunnel;    /* enum kfl_tunnel */
    bool has_mac;
    uint32_t users; /* streams; not part of what is compared */
    uint32_t next;  /* in the chain, or free */
};

struct stream_facts_table {
    struct stream_facts *facts;
    uint32_t *chain;            /* heads */
    uint32_t mask;              /* of chain */
    uint32_t max, n_used, free; /* facts[max] is for a stream that is not in the table */
};

int stream_facts_init(struct stream_facts_table *table, uint32_t max); /* stream_facts.c */
int stream_facts_take(struct stream_facts_table *table); /* memory, as memory_take() */
void stream_facts_done(struct stream_facts_table *table);
/* -> number of the record that says this, with one user more. */
uint32_t stream_facts_share(struct stream_facts_table *table, const struct stream_facts *facts);
void stream_facts_leave(struct stream_facts_table *table, uint32_t number);
/* What a packet says of its stream; names are asked of `names`. */
void stream_facts_of(const struct packet *packet, const struct stream_name_source *names,
                     struct stream_facts *ret_facts);

/* A new stream's first packet: who is the client? (stream_tcp.c) */
void stream_begin_orientation(struct stream *stream, const struct packet *packet);
/* A packet that may change more than counts: its TCP state, who the client is. -> the state
 * changed. */
bool stream_tcp(struct stream *stream, const struct packet *packet);
/* The packet is a SYN that opens a new conversation on the stream's 5-tuple. */
bool stream_begins_anew(const struct stream *stream, const struct packet *packet);

enum { STREAM_TCP_EVENTS = KFL_TCP_FIN | KFL_TCP_SYN | KFL_TCP_RST };

/* Is there nothing about this packet but that it is one more? */
static inline bool stream_quiet(const struct stream *stream, const struct packet *packet)
{
    return (stream->flags >> packet->sender & STREAM_QUIET_0) &&
           !(packet->tcp_flags & STREAM_TCP_EVENTS);
}

static inline void stream_count(struct stream *stream, const struct packet *packet)
{
    enum kfl_side side = stream_side(stream, packet->sender);

    stream->tcp_flags |= packet->tcp_flags;
    stream->packets[side]++;
    stream->bytes[side] += packet->origlen;
    stream->last_ns = packet->ts_ns > stream->last_ns ? packet->ts_ns : stream->last_ns;
}

/* A stream of this packet's key, nothing counted. */
void stream_init(struct stream *stream, const struct packet *packet, uint32_t hash);
/* Where those are kept that belong to no stream of the table. */
struct stream_facts *stream_facts_spare(const struct stream_table *table, uint32_t *ret_number);

void stream_fill_key(const struct stream *stream, const struct stream_facts *facts,
                     struct stream_key *ret_key);
void stream_fill_view(const struct stream *stream, const struct stream_facts *facts, bool ended,
                      struct kfl_stream *ret_view);

#endif
