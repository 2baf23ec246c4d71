/* sctp.c - SCTP (RFC 9260): the chunks of an association, and the messages they carry.
 *
 * Messages that are Diameter make Diameter entries. An association without such has one entry at
 * its end: what chunks and payload protocols each side sent. */
#include <stdio.h>

#include "../cursor.h"
#include "../l7.h"
#include "diameter.h"

enum {
    COMMON_HEADER = 12,
    CHUNKS_MAX = 256, /* of a packet */
    TYPES_MAX = 24,
    PPIDS_MAX = 16,
    HEAD = 64,
    TSN_WINDOW = 64,
    DATA_HEADER = 16,
    I_DATA_HEADER = 20,
};

enum { CHUNK_DATA = 0, CHUNK_INIT = 1, CHUNK_INIT_ACK = 2, CHUNK_I_DATA = 64 };
enum { FLAG_END = 1, FLAG_BEGIN = 2 };

struct sctp_side {
    uint8_t n_types, n_ppids, head_size;
    bool tsn_known;
    uint8_t type[TYPES_MAX]; /* in the order they were seen */
    uint8_t head[HEAD];      /* first bytes of the user data */
    uint32_t ppid[PPIDS_MAX];
    uint32_t tag;
    uint32_t tsn;      /* highest seen */
    uint64_t tsn_seen; /* bit n: tsn - n has come */
    uint64_t payload_size, wire;
    struct l7_text message; /* in several chunks */
    uint32_t message_tsn;   /* the next that belongs to it */
};

struct sctp {
    struct sctp_side side[2];
    bool diameter;
};

static enum l7_probe sctp_probe(const struct l7_probe_input *input, bool *ret_swap);
static void sctp_datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void sctp_end(struct l7 *l7, enum l7_end why);
static void sctp_done(struct l7 *l7);

static void type_seen(struct sctp_side *side, uint8_t type);
static void data_chunk(struct l7 *l7, enum kfl_side side, uint8_t type, uint8_t flags,
                       struct cursor chunk);
static bool tsn_new(struct sctp_side *side, uint32_t tsn);
static void user_message(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static const char *type_name(uint8_t type, char text[static 8]);

const struct dissector dissector_sctp = {
    .proto = KFL_PROTO_SCTP,
    .name = "sctp",
    .state_size = sizeof(struct sctp),
    .protos = KFL_PROTO_BIT(SCTP) | KFL_PROTO_BIT(DIAMETER),
    .probe = sctp_probe,
    .datagram = sctp_datagram,
    .end = sctp_end,
    .done = sctp_done,
};

static enum l7_probe sctp_probe(const struct l7_probe_input *input, bool *ret_swap)
{
    for (int i = 0; i < 2; i++) {
        if (input->l4 != KFL_L4_SCTP || input->size[i] < COMMON_HEADER + 4)
            continue;
        if (input->data[i][COMMON_HEADER] == CHUNK_INIT)
            *ret_swap = i == KFL_SERVER;
        else if (input->data[i][COMMON_HEADER] == CHUNK_INIT_ACK)
            *ret_swap = i == KFL_CLIENT;
        return L7_PROBE_YES;
    }
    return L7_PROBE_NO;
}

static void sctp_datagram(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct sctp_side *side = &((struct sctp *)l7_state(l7))->side[number];
    struct cursor c = cursor_of(data, size);
    uint32_t tag;

    cursor_u32(&c); /* ports */
    tag = cursor_u32(&c);
    cursor_u32(&c); /* checksum */
    if (c.short_)
        return;
    if (tag && !side->tag)
        side->tag = tag;
    side->wire += size;
    for (unsigned n = 0; n < CHUNKS_MAX && cursor_left(&c) >= 4; n++) {
        uint8_t type = cursor_u8(&c), flags = cursor_u8(&c);
        uint16_t length = cursor_u16(&c);
        struct cursor chunk;

        if (length < 4)
            return;
        chunk = cursor_sub(&c, length - 4u);
        type_seen(side, type);
        if (chunk.short_)
            return;
        if (type == CHUNK_DATA || type == CHUNK_I_DATA)
            data_chunk(l7, number, type, flags, chunk);
        cursor_bytes(&c, -length & 3u);
    }
}

static void sctp_end(struct l7 *l7, enum l7_end why)
{
    static const struct {
        enum kfl_field types, ppids, tag, size, payload, hex;
    } fields[2] = {
        {KFL_FIELD_SCTP_REQUEST_CHUNK_TYPES, KFL_FIELD_SCTP_REQUEST_PPIDS,
         KFL_FIELD_SCTP_REQUEST_VERIFICATION_TAG, KFL_FIELD_L4_REQUEST_PAYLOAD_SIZE,
         KFL_FIELD_L4_REQUEST_PAYLOAD, KFL_FIELD_L4_REQUEST_PAYLOAD_HEX},
        {KFL_FIELD_SCTP_RESPONSE_CHUNK_TYPES, KFL_FIELD_SCTP_RESPONSE_PPIDS,
         KFL_FIELD_SCTP_RESPONSE_VERIFICATION_TAG, KFL_FIELD_L4_RESPONSE_PAYLOAD_SIZE,
         KFL_FIELD_L4_RESPONSE_PAYLOAD, KFL_FIELD_L4_RESPONSE_PAYLOAD_HEX},
    };
    struct sctp *sctp = l7_state(l7);
    struct l7_half *halves[2];

    (void)why;
    if (sctp->diameter)
        return;
    for (int i = 0; i < 2; i++) {
        const struct sctp_side *side = &sctp->side[i];
        struct fact_tape *tape;
        char text[8];

        halves[i] = l7_half_new(l7, i, L7_IN_ORDER);
        l7_half_time(halves[i], l7_stream_ns(l7), l7_stream_ns(l7));
        l7_half_wire(halves[i], side->wire);
        tape = l7_tape(l7);
        fact_array(tape, fields[i].types);
        for (unsigned n = 0; n < side->n_types; n++)
            fact_text(tape, KFL_FIELD_NONE, type_name(side->type[n], text));
        fact_end(tape);
        fact_array(tape, fields[i].ppids);
        for (unsigned n = 0; n < side->n_ppids; n++)
            fact_int(tape, KFL_FIELD_NONE, side->ppid[n]);
        fact_end(tape);
        fact_int(tape, fields[i].tag, side->tag);
        fact_int(tape, fields[i].size, (int64_t)side->payload_size);
        fact_base64(tape, fields[i].payload, side->head, side->head_size);
        fact_hex(tape, fields[i].hex, side->head, side->head_size);
        l7_half_add(l7, halves[i]);
    }
    l7_entry(l7, halves[0], halves[1]);
}

static void sctp_done(struct l7 *l7)
{
    struct sctp *sctp = l7_state(l7);

    l7_text_free(l7, &sctp->side[0].message);
    l7_text_free(l7, &sctp->side[1].message);
}

static void type_seen(struct sctp_side *side, uint8_t type)
{
    if (side->n_types == TYPES_MAX || (side->n_types && memchr(side->type, type, side->n_types)))
        return;
    side->type[side->n_types++] = type;
}

static void data_chunk(struct l7 *l7, enum kfl_side number, uint8_t type, uint8_t flags,
                       struct cursor c)
{
    struct sctp_side *side = &((struct sctp *)l7_state(l7))->side[number];
    uint32_t tsn = cursor_u32(&c), ppid;
    size_t size, n;
    unsigned i;

    cursor_u32(&c); /* stream, its sequence number or reserved */
    if (type == CHUNK_I_DATA)
        cursor_u32(&c);
    ppid = cursor_u32(&c);
    if (c.short_ || !tsn_new(side, tsn))
        return;
    size = cursor_left(&c);
    side->payload_size += size;
    n = size < HEAD - (size_t)side->head_size ? size : HEAD - (size_t)side->head_size;
    memcpy(side->head + side->head_size, c.at, n);
    side->head_size = (uint8_t)(side->head_size + n);
    for (i = 0; i < side->n_ppids && side->ppid[i] != ppid; i++)
        ;
    if (i == side->n_ppids && i < PPIDS_MAX)
        side->ppid[side->n_ppids++] = ppid;

    if ((flags & (FLAG_BEGIN | FLAG_END)) == (FLAG_BEGIN | FLAG_END)) {
        user_message(l7, number, c.at, size);
        return;
    }
    if (flags & FLAG_BEGIN)
        l7_text_free(l7, &side->message);
    else if (!side->message.total || tsn != side->message_tsn)
        return; /* its beginning was not seen */
    l7_text_add(l7, &side->message, c.at, size);
    side->message_tsn = tsn + 1;
    if (flags & FLAG_END) {
        user_message(l7, number, side->message.data, side->message.size);
        l7_text_free(l7, &side->message);
    }
}

/* Has this transmission number not come before, as far as that is remembered? */
static bool tsn_new(struct sctp_side *side, uint32_t tsn)
{
    int32_t ahead = (int32_t)(tsn - side->tsn);

    if (!side->tsn_known || ahead > 0) {
        side->tsn_seen = !side->tsn_known || ahead >= TSN_WINDOW ? 1 : side->tsn_seen << ahead | 1;
        side->tsn_known = true;
        side->tsn = tsn;
        return true;
    }
    if (ahead <= -TSN_WINDOW || side->tsn_seen >> -ahead & 1)
        return false;
    side->tsn_seen |= UINT64_C(1) << -ahead;
    return true;
}

static void user_message(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct sctp *sctp = l7_state(l7);

    if (!sctp->diameter && !diameter_is(data, size))
        return;
    sctp->diameter = true;
    l7_speaks(l7, KFL_PROTO_DIAMETER);
    dissector_diameter.datagram(l7, number, data, size);
}

static const char *type_name(uint8_t type, char text[static 8])
{
    static const char *const names[256] = {
        [0] = "DATA",
        [1] = "INIT",
        [2] = "INIT_ACK",
        [3] = "SACK",
        [4] = "HEARTBEAT",
        [5] = "HEARTBEAT_ACK",
        [6] = "ABORT",
        [7] = "SHUTDOWN",
        [8] = "SHUTDOWN_ACK",
        [9] = "ERROR",
        [10] = "COOKIE_ECHO",
        [11] = "COOKIE_ACK",
        [12] = "ECNE",
        [13] = "CWR",
        [14] = "SHUTDOWN_COMPLETE",
        [15] = "AUTH",
        [64] = "I_DATA",
        [128] = "ASCONF_ACK",
        [130] = "RE_CONFIG",
        [132] = "PAD",
        [192] = "FORWARD_TSN",
        [193] = "ASCONF",
        [194] = "I_FORWARD_TSN",
    };

    if (names[type])
        return names[type];
    snprintf(text, 8, "%u", type);
    return text;
}
