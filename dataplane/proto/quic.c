/* QUIC: the Initial packets of a connection, RFC 9000, 9001 (versions 1 and 2, drafts from 21 on
 * and what Google and Facebook made of them; older ones are named only). The client's Initial
 * packets are opened with keys that anyone can derive; the ClientHello in them is put together from
 * CRYPTO frames in any order. What follows is encrypted. */
#include <stdio.h>
#include <string.h>

#include "../cursor.h"
#include "../l7.h"
#include "crypto.h"
#include "tls_hello.h"

enum {
    CID_MAX = 20,
    CRYPTO_MAX = 4096,   /* of the ClientHello */
    DATAGRAM_MAX = 2048, /* an Initial packet that is opened */
    PACKETS_MAX = 8,     /* coalesced in one datagram */
    FRAMES_MAX = 512,
    VERSION_2 = 0x6b3343cf,
};

struct cid {
    uint8_t size;
    uint8_t bytes[CID_MAX];
};

struct state {
    struct crypto_quic_keys keys;
    bool keyed; /* `keys` opened a packet */
    bool asked; /* the request is complete */
    uint32_t version;
    struct cid dcid, scid; /* of the client's first Initial */
    struct l7_half *hello;
    uint64_t wire;
    uint16_t size; /* of the ClientHello with its header, 0: not known */
    uint8_t crypto[CRYPTO_MAX];
    uint8_t have[CRYPTO_MAX / 8]; /* which of its bytes are there */
};

struct packet_head {
    uint32_t version;
    struct cid dcid, scid;
    bool initial;
    const uint8_t *number; /* the protected packet number */
    size_t size;           /* from the first byte to the end of this packet */
    size_t number_at;
};

static uint64_t varint(struct cursor *c)
{
    uint8_t first = cursor_u8(c);
    uint64_t value = first & 0x3f;

    for (unsigned n = (1u << (first >> 6)) - 1; n; n--)
        value = value << 8 | cursor_u8(c);
    return value;
}

static bool read_cid(struct cursor *c, struct cid *ret)
{
    const uint8_t *bytes;

    ret->size = cursor_u8(c);
    if (ret->size > CID_MAX)
        return false;
    bytes = cursor_bytes(c, ret->size);
    if (bytes)
        memcpy(ret->bytes, bytes, ret->size);
    return bytes;
}

static bool is_googles(uint32_t version) /* Q043, T051 */
{
    return (version >> 24 == 'Q' || version >> 24 == 'T') && (version >> 16 & 0xff) == '0';
}

static bool is_known(uint32_t version)
{
    return version == 1 || version == VERSION_2 || version >> 8 == 0xff0000 ||
           version >> 8 == 0xfaceb0 || is_googles(version);
}

static const char *version_text(uint32_t version, char buffer[static 16])
{
    if (version == 1 || version == VERSION_2)
        return version == 1 ? "1" : "2";
    if (version >> 8 == 0xff0000)
        snprintf(buffer, 16, "draft-%u", version & 0xff);
    else if (is_googles(version))
        snprintf(buffer, 16, "%c%c%c%c", version >> 24, version >> 16 & 0x7f, version >> 8 & 0x7f,
                 version & 0x7f);
    else
        snprintf(buffer, 16, "0x%08x", version);
    return buffer;
}

/* A packet with a long header. */
static bool read_packet(const uint8_t *data, size_t size, struct packet_head *ret)
{
    struct cursor c = cursor_of(data, size);
    uint8_t first = cursor_u8(&c), type = first >> 4 & 3;
    uint64_t length;

    ret->version = cursor_u32(&c);
    if (c.short_ || !(first & 0x80) || !is_known(ret->version) || !read_cid(&c, &ret->dcid) ||
        !read_cid(&c, &ret->scid))
        return false;
    ret->initial = ret->version == VERSION_2 ? type == 1 : type == 0;
    ret->size = size;
    ret->number = NULL;
    if (!ret->initial || ret->version >> 24 == 'Q')
        return true;
    cursor_sub(&c, varint(&c)); /* token */
    length = varint(&c);
    if (c.short_ || length < 20 || length > cursor_left(&c))
        return false;
    ret->number = c.at;
    ret->number_at = (size_t)(c.at - data);
    ret->size = ret->number_at + (size_t)length;
    return true;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    for (unsigned side = 0; side < 2; side++) {
        struct packet_head head;

        if (!in->size[side])
            continue;
        /* The fixed bit: once a peer allows it, it may be cleared (RFC 9287). */
        if (in->size[side] < 64 || !(in->data[side][0] & 0x40) ||
            !read_packet(in->data[side], in->size[side], &head) || !head.initial)
            return L7_PROBE_NO;
        /* Only clients choose a destination id of 8 bytes and more and have none of their own, but
         * either may be; a token or a full datagram is what clients send. */
        *ret_swap = side == KFL_SERVER && in->port[KFL_CLIENT] == 443;
        return L7_PROBE_YES;
    }
    return L7_PROBE_NO;
}

/* ---- the client's side ---- */
static void crypto_frame(struct state *state, uint64_t offset, const uint8_t *data, size_t size)
{
    if (offset >= CRYPTO_MAX)
        return;
    if (size > CRYPTO_MAX - offset)
        size = CRYPTO_MAX - (size_t)offset;
    memcpy(state->crypto + offset, data, size);
    for (size_t i = (size_t)offset; i < offset + size; i++)
        state->have[i / 8] |= (uint8_t)(1u << i % 8);
    if (!state->size && (state->have[0] & 0x0f) == 0x0f && state->crypto[0] == 1) {
        uint32_t length =
            (uint32_t)state->crypto[1] << 16 | (uint32_t)state->crypto[2] << 8 | state->crypto[3];

        state->size = (uint16_t)(length + 4 < CRYPTO_MAX ? length + 4 : CRYPTO_MAX);
    }
}

static bool hello_whole(const struct state *state)
{
    for (unsigned i = 0; i < state->size; i++)
        if (!(state->have[i / 8] & 1u << i % 8))
            return false;
    return state->size;
}

static void read_frames(struct state *state, const uint8_t *plain, size_t size)
{
    struct cursor c = cursor_of(plain, size);

    for (unsigned n = 0; n < FRAMES_MAX && cursor_left(&c) && !c.short_;) {
        uint64_t type = varint(&c), offset, ranges;
        struct cursor data;

        if (type == 0) /* padding does not count */
            continue;
        n++;
        switch (type) {
        case 1: /* PING */
            break;
        case 2: /* ACK */
        case 3:
            varint(&c);
            varint(&c);
            ranges = varint(&c);
            varint(&c);
            for (; ranges && !c.short_; ranges--) {
                varint(&c);
                varint(&c);
            }
            for (unsigned i = 0; type == 3 && i < 3; i++)
                varint(&c);
            break;
        case 6: /* CRYPTO */
        case 8: /* ... in T050, T051 */
            offset = varint(&c);
            data = cursor_sub(&c, varint(&c));
            crypto_frame(state, offset, data.at, cursor_left(&data));
            break;
        default: /* CONNECTION_CLOSE, or nothing that may be here */
            return;
        }
    }
}

/* Takes off header protection and opens the packet. -> false: not with these keys */
static bool open_packet(struct state *state, const struct crypto_quic_keys *keys,
                        const uint8_t *data, const struct packet_head *head)
{
    uint8_t mask[16], header[512], plain[DATAGRAM_MAX];
    size_t number_size, header_size, payload_size;
    uint32_t number = 0;

    if (head->size - head->number_at < 20 || head->size > DATAGRAM_MAX ||
        head->number_at + 4 > sizeof(header) || !crypto_quic_mask(keys->hp, head->number + 4, mask))
        return false;
    memcpy(header, data, head->number_at + 4);
    header[0] ^= mask[0] & 0x0f;
    number_size = (header[0] & 3u) + 1;
    for (size_t i = 0; i < number_size; i++) {
        header[head->number_at + i] ^= mask[1 + i];
        number = number << 8 | header[head->number_at + i];
    }
    header_size = head->number_at + number_size;
    payload_size = head->size - header_size;
    if (!crypto_quic_open(keys, number, header, header_size, data + header_size, payload_size,
                          plain))
        return false;
    read_frames(state, plain, payload_size - CRYPTO_TAG_SIZE);
    return true;
}

/* The request with what is known of it. */
static void ask(struct l7 *l7)
{
    static const struct tls_hello_fields fields = {.sni = KFL_FIELD_QUIC_REQUEST_SNI,
                                                   .alpn = KFL_FIELD_QUIC_REQUEST_ALPN,
                                                   .suites = KFL_FIELD_QUIC_REQUEST_CIPHER_SUITES};
    struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);
    char buffer[16];

    fact_text(tape, KFL_FIELD_QUIC_REQUEST_VERSION, version_text(state->version, buffer));
    fact_hex(tape, KFL_FIELD_QUIC_REQUEST_DCID, state->dcid.bytes, state->dcid.size);
    fact_hex(tape, KFL_FIELD_QUIC_REQUEST_SCID, state->scid.bytes, state->scid.size);
    if (state->size && hello_whole(state))
        tls_client_hello(tape, &fields, state->crypto + 4, state->size - 4u);
    l7_half_add(l7, state->hello);
    l7_half_wire(state->hello, state->wire);
    l7_half_version(state->hello, state->version == VERSION_2 ? "2"
                                  : state->version == 1       ? "1"
                                                              : "");
    state->asked = true;
    l7_request(l7, state->hello);
    state->hello = NULL;
}

static void client_packet(struct l7 *l7, const uint8_t *data, const struct packet_head *head)
{
    struct state *state = l7_state(l7);
    struct crypto_quic_keys keys;

    if (state->asked)
        return;
    if (!state->hello) {
        state->hello = l7_half_new(l7, KFL_CLIENT, L7_IN_ORDER);
        state->version = head->version;
        state->dcid = head->dcid;
        state->scid = head->scid;
    }
    state->wire += head->size;
    if (!head->number) { /* of an older version: named only */
        ask(l7);
        return;
    }
    if (!state->keyed || !open_packet(state, &state->keys, data, head)) {
        /* The first packet, or the first after a Retry: other keys. */
        if (!crypto_quic_initial_keys(head->version, head->dcid.bytes, head->dcid.size, &keys) ||
            !open_packet(state, &keys, data, head))
            return;
        state->keys = keys;
        state->keyed = true;
    }
    if (hello_whole(state))
        ask(l7);
}

static void server_packet(struct l7 *l7, const struct packet_head *head)
{
    struct state *state = l7_state(l7);
    struct l7_half *half;
    struct fact_tape *tape;
    char buffer[16];

    if (state->hello)
        ask(l7);
    half = l7_half_new(l7, KFL_SERVER, L7_IN_ORDER);
    tape = l7_tape(l7);
    fact_text(tape, KFL_FIELD_QUIC_RESPONSE_VERSION, version_text(head->version, buffer));
    fact_hex(tape, KFL_FIELD_QUIC_RESPONSE_SCID, head->scid.bytes, head->scid.size);
    l7_half_add(l7, half);
    l7_half_wire(half, head->size);
    l7_half_version(half, head->version == VERSION_2 ? "2" : head->version == 1 ? "1" : "");
    l7_response(l7, half);
    l7_finish(l7);
}

static void datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct packet_head head;

    for (unsigned n = 0; n < PACKETS_MAX && size && read_packet(data, size, &head); n++) {
        if (!head.initial)
            return; /* what follows an Initial is for those with keys */
        if (side == KFL_CLIENT) {
            client_packet(l7, data, &head);
        } else {
            server_packet(l7, &head);
            return;
        }
        data += head.size;
        size -= head.size;
    }
}

static void end(struct l7 *l7, enum l7_end why)
{
    const struct state *state = l7_state(l7);

    if (state->hello)
        ask(l7);
}

static void done(struct l7 *l7)
{
    const struct state *state = l7_state(l7);

    l7_half_free(l7, state->hello);
}

const struct dissector dissector_quic = {
    .proto = KFL_PROTO_QUIC,
    .name = "quic",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(QUIC),
    .ports = {443},
    .probe = probe,
    .datagram = datagram,
    .end = end,
    .done = done,
};
