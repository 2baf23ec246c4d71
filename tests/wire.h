/* wire.h - TCP conversations for tests of the path, packet by packet, and a recorder that
 * remembers what it was given.
 *
 * Packets get times 1 us apart, so a time names a packet. One thread; tests only. */
#ifndef TESTS_WIRE_H
#define TESTS_WIRE_H

#include <stdlib.h>
#include <string.h>

#include "../dataplane/classifier.h"
#include "../dataplane/decode.h"
#include "../dataplane/pcapng_block.h"
#include "tap.h"

#define WIRE_START UINT64_C(1700000000000000000)
enum { WIRE_STEP = 1000, WIRE_SEED = 42, WIRE_FRAME = 1600, WIRE_LOG_MAX = 1 << 16, WIRE_ROOM_READY = 2048 };

struct wire {
    struct packet *packets;
    uint32_t n, capacity;
};

struct wire_connection {
    uint8_t client, server; /* last byte of 10.0.0.x */
    uint16_t port, server_port;
    uint32_t seq[2];
};

enum { WIRE_CLIENT, WIRE_SERVER, WIRE_FIN = 1, WIRE_SYN = 2, WIRE_RST = 4, WIRE_ACK = 16 };

static inline void wire_free(struct wire *wire)
{
    for (uint32_t i = 0; i < wire->n; i++)
        free((uint8_t *)wire->packets[i].data);
    free(wire->packets);
    *wire = (struct wire){0};
}

static inline void wire_frame(struct wire *wire, uint8_t *frame, size_t size)
{
    if (wire->n == wire->capacity) {
        wire->capacity = wire->capacity ? 2 * wire->capacity : 64;
        wire->packets = realloc(wire->packets, wire->capacity * sizeof(wire->packets[0]));
    }
    wire->packets[wire->n] = (struct packet){
        .data = frame,
        .ts_ns = WIRE_START + (uint64_t)wire->n * WIRE_STEP,
        .caplen = (uint32_t)size,
        .origlen = (uint32_t)size,
        .linktype = LINKTYPE_ETHERNET,
    };
    decode(&wire->packets[wire->n++], WIRE_SEED);
}

static inline void wire_tcp(struct wire *wire, struct wire_connection *c, int from, int flags,
                            const void *payload, size_t size)
{
    uint8_t *f = calloc(1, 54 + size);
    uint32_t seq = __builtin_bswap32(c->seq[from]), ack = __builtin_bswap32(c->seq[!from]);
    uint16_t length = __builtin_bswap16((uint16_t)(40 + size));
    uint16_t port[2] = {__builtin_bswap16(c->port), __builtin_bswap16(c->server_port)};

    f[12] = 8;
    memcpy(f + 14, "\x45", 1);
    memcpy(f + 16, &length, 2);
    f[22] = 64;
    f[23] = 6;
    memcpy(f + 26, (uint8_t[]){10, 0, 0, from ? c->server : c->client}, 4);
    memcpy(f + 30, (uint8_t[]){10, 0, 0, from ? c->client : c->server}, 4);
    memcpy(f + 34, &port[from], 2);
    memcpy(f + 36, &port[!from], 2);
    memcpy(f + 38, &seq, 4);
    memcpy(f + 42, &ack, 4);
    f[46] = 0x50;
    f[47] = (uint8_t)flags;
    if (size)
        memcpy(f + 54, payload, size);
    c->seq[from] += (uint32_t)size + (flags & (WIRE_SYN | WIRE_FIN) ? 1 : 0);
    wire_frame(wire, f, 54 + size);
}

static inline void wire_open(struct wire *wire, struct wire_connection *c)
{
    wire_tcp(wire, c, WIRE_CLIENT, WIRE_SYN, NULL, 0);
    wire_tcp(wire, c, WIRE_SERVER, WIRE_SYN | WIRE_ACK, NULL, 0);
    wire_tcp(wire, c, WIRE_CLIENT, WIRE_ACK, NULL, 0);
}

static inline void wire_close(struct wire *wire, struct wire_connection *c)
{
    wire_tcp(wire, c, WIRE_CLIENT, WIRE_FIN | WIRE_ACK, NULL, 0);
    wire_tcp(wire, c, WIRE_SERVER, WIRE_FIN | WIRE_ACK, NULL, 0);
    wire_tcp(wire, c, WIRE_CLIENT, WIRE_ACK, NULL, 0);
}

static inline void wire_request(struct wire *wire, struct wire_connection *c, const char *path,
                                int status)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: db\r\n\r\n", path);

    wire_tcp(wire, c, WIRE_CLIENT, WIRE_ACK, text, (size_t)n);
    if (!status)
        return;
    n = snprintf(text, sizeof(text), "HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\nhello", status);
    wire_tcp(wire, c, WIRE_SERVER, WIRE_ACK, text, (size_t)n);
}

/* ---- the recorder ---- */
struct wire_recorder {
    struct recorder base;
    const struct wire *wire; /* what is recorded is compared with it */
    unsigned only;           /* 1 + the slot whose packets are remembered; 0: all */
    unsigned n_commits;
    unsigned refuse;         /* every n-th reserve() fails */
    bool bounded;            /* ... and those for which there is no room */
    _Atomic int room;        /* packets; ready() from WIRE_ROOM_READY on */
    unsigned n_waits;        /* times it was not */
    unsigned n_reserved, n_released, n_ended, n_entries[KFL_SLOT_MAX];
    uint32_t missing[KFL_SLOT_MAX];
    unsigned n_matched[KFL_SLOT_MAX];
    uint64_t matched_ns[KFL_SLOT_MAX]; /* the last match was made by the packet of this time */
    uint32_t n_log;
    struct {
        uint32_t packet;
        uint8_t slot;
        uint64_t stream;
    } log[WIRE_LOG_MAX];
    uint32_t block_size;
    uint8_t block[WIRE_FRAME * 4];
};

static inline uint8_t *wire_reserve(struct recorder *base, unsigned slot, uint32_t size,
                                    uint16_t interface)
{
    struct wire_recorder *r = (struct wire_recorder *)base;

    if (r->refuse && ++r->n_reserved % r->refuse == 0)
        return NULL;
    if (r->bounded && atomic_fetch_sub(&r->room, 1) <= 0)
        return NULL;
    r->block_size = size;
    return size <= sizeof(r->block) ? r->block : NULL;
}

static inline void wire_commit(struct recorder *base, unsigned slot, const struct stream *stream,
                               uint64_t ts_ns, uint32_t origlen, uint16_t interface)
{
    struct wire_recorder *r = (struct wire_recorder *)base;
    uint32_t i = (uint32_t)((ts_ns - WIRE_START) / WIRE_STEP), word[7];
    const struct packet *packet = &r->wire->packets[i];
    uint32_t tail[3]; /* the direction, the end of options, the size again */

    memcpy(word, r->block, sizeof(word));
    memcpy(tail, r->block + r->block_size - sizeof(tail), sizeof(tail));
    CU_ASSERT_FATAL(i < r->wire->n && r->n_log < WIRE_LOG_MAX);
    CU_ASSERT_EQUAL(word[0], PCAPNG_PACKET);
    CU_ASSERT_EQUAL(word[1], r->block_size);
    CU_ASSERT_EQUAL((uint64_t)word[3] << 32 | word[4], ts_ns);
    CU_ASSERT_EQUAL(word[5], packet->caplen);
    CU_ASSERT_EQUAL(word[6], packet->origlen);
    CU_ASSERT(!memcmp(r->block + PCAPNG_PACKET_HEADER, packet->data, packet->caplen));
    CU_ASSERT_EQUAL(tail[0], (stream_side(stream, packet->sender) == KFL_CLIENT
                                  ? PCAPNG_FLAGS_INBOUND
                                  : PCAPNG_FLAGS_OUTBOUND));
    CU_ASSERT_EQUAL(tail[2], r->block_size);
    r->n_commits++;
    if (r->only && r->only != slot + 1)
        return;
    r->log[r->n_log].packet = i;
    r->log[r->n_log].slot = (uint8_t)slot;
    r->log[r->n_log++].stream = stream->number;
}

static inline void wire_entry(struct recorder *base, uint64_t slots, const struct stream *stream,
                              const struct kfl_entry *entry)
{
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        ((struct wire_recorder *)base)->n_entries[slot] += (unsigned)(slots >> slot & 1);
}

static inline void wire_matched(struct recorder *base, uint64_t slots, const struct stream *stream,
                                uint32_t missing, uint64_t ts_ns)
{
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        if (slots >> slot & 1) {
            ((struct wire_recorder *)base)->missing[slot] += missing;
            ((struct wire_recorder *)base)->matched_ns[slot] = ts_ns;
            ((struct wire_recorder *)base)->n_matched[slot]++;
        }
}

static inline void wire_ended(struct recorder *base, uint64_t slots, const struct stream *stream,
                              const struct kfl_stream *view)
{
    CU_ASSERT(view->ended);
    CU_ASSERT_EQUAL(stream->extra->n_held, 0);
    ((struct wire_recorder *)base)->n_ended++;
}

static inline void wire_released(struct recorder *base, uint64_t slots, uint64_t now_ns)
{
    ((struct wire_recorder *)base)->n_released++;
}

static inline void wire_flush(struct recorder *base, uint64_t now_ns, bool all)
{
}

static inline bool wire_ready(const struct recorder *base)
{
    struct wire_recorder *r = (struct wire_recorder *)(uintptr_t)base;
    bool ready = !r->bounded || r->room >= WIRE_ROOM_READY;

    r->n_waits += !ready;
    return ready;
}

static inline struct wire_recorder *wire_recorder_create(const struct wire *wire)
{
    static const struct recorder_ops ops = {wire_reserve, wire_commit,   wire_entry, wire_matched,
                                            wire_ended,   wire_released, wire_flush, wire_ready};
    struct wire_recorder *recorder = calloc(1, sizeof(*recorder));

    recorder->room = 2 * WIRE_ROOM_READY;
    recorder->base = (struct recorder){.ops = &ops, .wants_packets = true};
    recorder->wire = wire;
    return recorder;
}

/* The packets recorded for this job (and this stream, unless UINT64_MAX), in order. -> number. */
static inline uint32_t wire_recorded(const struct wire_recorder *recorder, unsigned slot,
                                     uint64_t stream, uint32_t *ret_packets)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < recorder->n_log; i++)
        if (recorder->log[i].slot == slot &&
            (stream == UINT64_MAX || recorder->log[i].stream == stream))
            ret_packets[n++] = recorder->log[i].packet;
    return n;
}

#endif
