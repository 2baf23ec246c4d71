/* http2.c - HTTP/2 (RFC 9113) in clear, by prior knowledge or by Upgrade, and gRPC in it.
 *
 * An entry is one stream of the connection. Frames are read here; hpack.c undoes the compression
 * of headers. A connection that is met in the middle is read from the next frame on: header blocks
 * that need what was missed become entries with error `dissection`. */
#include <stdlib.h>

#include "../cursor.h"
#include "hpack.h"
#include "http.h"

enum {
    FRAME_HEADER = 9,
    STREAMS_MAX = 512, /* of a connection, followed at once */
    N_BUCKETS = 64,
    BLOCK_MAX = L7_BUFFER_MAX - FRAME_HEADER,
    LOST_MAX = 16 << 20,
    TYPE_SIZE = 96,
};

enum frame_type {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION,
};

enum { END_STREAM = 0x1, ACK = 0x1, END_HEADERS = 0x4, PADDED = 0x8, WITH_PRIORITY = 0x20 };

struct frame {
    uint32_t size;
    uint8_t type, flags;
    uint32_t stream;
};

struct message {          /* one side of a stream */
    struct l7_half *half; /* under way */
    struct l7_text head;  /* its headers, while trailers may come (hpack_save) */
    struct l7_text body;
    uint64_t body_size;
    uint64_t wire;
    uint8_t coding;
    bool seen;     /* its headers were there */
    bool complete; /* it is with l7 */
    bool collect;
    bool broken; /* its headers could not be read */
    uint16_t type_size;
    uint8_t type[TYPE_SIZE];
};

struct stream2 {
    struct stream2 *next; /* in the bucket */
    uint32_t id;
    bool grpc, gql;
    struct message message[2];
};

struct side2 {
    struct hpack *hpack;
    struct l7_text block;     /* header block in several frames */
    struct frame block_frame; /* its first */
    uint32_t block_promised;
    bool in_block;
    bool begun; /* behind the preface, if there is one */
    bool lost;  /* a frame boundary has to be found */
    uint64_t lost_bytes;
    uint32_t data_stream; /* DATA frame whose bytes are collected */
    uint32_t data_left, pad_left;
    bool data_ends;
    uint32_t table_size; /* what the other side will have to respect from its ACK on */
    bool table_size_new;
};

struct http2 {
    struct side2 side[2];
    struct stream2 *bucket[N_BUCKETS];
    uint32_t n_streams;
};

static enum l7_probe http2_probe(const struct l7_probe_input *input, bool *ret_swap);
static void http2_init(struct l7 *l7);
static size_t http2_parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void http2_gap(struct l7 *l7, enum kfl_side side, uint64_t size);
static void http2_end(struct l7 *l7, enum l7_end why);
static void http2_done(struct l7 *l7);

static enum l7_probe frames_plausible(const uint8_t *data, size_t size, unsigned wanted);
static bool frame_plausible(const struct frame *frame);
static struct frame frame_header(const uint8_t *data);
static size_t frame_read(struct l7 *l7, enum kfl_side side, const struct frame *frame,
                         const uint8_t *payload);
static size_t data_frame(struct l7 *l7, enum kfl_side side, const struct frame *frame,
                         const uint8_t *payload, size_t size);
static size_t data_bytes(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void block_begin(struct l7 *l7, enum kfl_side side, const struct frame *frame,
                        const uint8_t *payload);
static void block_end(struct l7 *l7, enum kfl_side side, const uint8_t *block, size_t size);
static void settings(struct l7 *l7, enum kfl_side side, const struct frame *frame,
                     const uint8_t *payload);
static void message_head(struct l7 *l7, struct stream2 *stream, enum kfl_side side,
                         struct http_fields *fields, bool ends);
static void request_head(struct l7 *l7, struct stream2 *stream, struct fact_tape *tape,
                         const struct http_fields *fields);
static void message_end(struct l7 *l7, struct stream2 *stream, enum kfl_side side);
static void stream_end(struct l7 *l7, struct stream2 *stream, const char *unanswered);
static struct stream2 *stream_get(struct l7 *l7, uint32_t id, bool make);
static void stream_free(struct l7 *l7, struct stream2 *stream);
static struct http_text pseudo(const struct http_fields *fields, const char *name);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const struct dissector dissector_http2 = {
    .proto = KFL_PROTO_HTTP2,
    .name = "http2",
    .state_size = sizeof(struct http2),
    .protos = KFL_PROTO_BIT(HTTP2) | KFL_PROTO_BIT(GRPC) | KFL_PROTO_BIT(GQL),
    .ports = {50051},
    .probe = http2_probe,
    .init = http2_init,
    .parse = http2_parse,
    .gap = http2_gap,
    .end = http2_end,
    .done = http2_done,
};

static enum l7_probe http2_probe(const struct l7_probe_input *input, bool *ret_swap)
{
    bool more = false;

    for (int i = 0; i < 2; i++) {
        const uint8_t *data = input->data[i];
        size_t size = input->size[i], n = size < sizeof(preface) - 1 ? size : sizeof(preface) - 1;
        enum l7_probe frames;

        if (!size)
            continue;
        if (!memcmp(data, preface, n)) {
            *ret_swap = i == KFL_SERVER;
            if (n == sizeof(preface) - 1)
                return L7_PROBE_YES;
            more = true;
            continue;
        }
        frames = frames_plausible(data, size, 2);
        if (frames == L7_PROBE_YES)
            return L7_PROBE_YES;
        if (frames == L7_PROBE_NO)
            return L7_PROBE_NO;
        more = true;
    }
    return more || (!input->size[0] && !input->size[1]) ? L7_PROBE_MORE : L7_PROBE_NO;
}

static void http2_init(struct l7 *l7)
{
    struct l7_half *half = l7_handed_over(l7);
    struct stream2 *stream;

    if (!half)
        return;
    stream = stream_get(l7, 1, true);
    if (!stream) {
        l7_half_free(l7, half);
        return;
    }
    stream->message[KFL_CLIENT].seen = stream->message[KFL_CLIENT].complete = true;
    if (!l7_half_is(half, KFL_PROTO_GQL))
        l7_half_proto(half, KFL_PROTO_HTTP2);
    l7_half_version(half, "2.0");
    l7_request(l7, half);
}

static size_t http2_parse(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct side2 *side = &((struct http2 *)l7_state(l7))->side[number];
    struct frame frame;
    size_t n;

    if (side->data_left || side->pad_left)
        return data_bytes(l7, number, data, size);
    if (!side->begun && number == KFL_CLIENT) {
        n = size < sizeof(preface) - 1 ? size : sizeof(preface) - 1;
        if (!memcmp(data, preface, n)) {
            if (n < sizeof(preface) - 1)
                return 0;
            side->begun = true;
            return n;
        }
    }
    if (side->lost) {
        if (frames_plausible(data, size, 1) == L7_PROBE_NO) {
            side->lost_bytes += size;
            if (side->lost_bytes > LOST_MAX)
                l7_give_up(l7, NULL, "no frame found behind a gap");
            return size;
        }
        if (size < FRAME_HEADER)
            return 0;
        side->lost = false;
    }
    side->begun = true;
    if (size < FRAME_HEADER) {
        l7_need(l7, number, FRAME_HEADER);
        return 0;
    }
    frame = frame_header(data);
    if (side->in_block &&
        (frame.type != CONTINUATION || frame.stream != side->block_frame.stream)) {
        l7_give_up(l7, NULL, "header block broken off");
        return 0;
    }
    if (frame.type == DATA) {
        if (!frame.stream || (frame.flags & PADDED && size < FRAME_HEADER + 1)) {
            if (!frame.stream)
                l7_give_up(l7, NULL, "data on stream 0");
            return 0;
        }
        return data_frame(l7, number, &frame, data + FRAME_HEADER, size - FRAME_HEADER);
    }
    if (frame.type != HEADERS && frame.type != CONTINUATION && frame.type != PUSH_PROMISE &&
        frame.type != SETTINGS && frame.type != RST_STREAM) {
        l7_skip(l7, number, frame.size);
        return FRAME_HEADER;
    }
    if (frame.size > BLOCK_MAX) {
        l7_give_up(l7, NULL, "frame too long");
        return 0;
    }
    if (size < FRAME_HEADER + frame.size) {
        l7_need(l7, number, FRAME_HEADER + frame.size);
        return 0;
    }
    return frame_read(l7, number, &frame, data + FRAME_HEADER);
}

static void http2_gap(struct l7 *l7, enum kfl_side number, uint64_t size)
{
    struct http2 *http = l7_state(l7);
    struct side2 *side = &http->side[number];

    if (size <= side->data_left) { /* within a body */
        struct stream2 *stream = stream_get(l7, side->data_stream, false);

        side->data_left -= (uint32_t)size;
        if (stream)
            stream->message[number].body_size += size;
        if (stream && !side->data_left && !side->pad_left && side->data_ends)
            message_end(l7, stream, number);
        return;
    }
    side->data_left = side->pad_left = 0;
    side->in_block = false;
    l7_text_free(l7, &side->block);
    side->lost = true;
    side->lost_bytes = 0;
    hpack_free(l7, side->hpack);
    side->hpack = NULL;
}

static void http2_end(struct l7 *l7, enum l7_end why)
{
    struct http2 *http = l7_state(l7);

    (void)why;
    for (unsigned i = 0; i < N_BUCKETS; i++)
        while (http->bucket[i])
            stream_end(l7, http->bucket[i], NULL);
}

static void http2_done(struct l7 *l7)
{
    struct http2 *http = l7_state(l7);

    for (unsigned i = 0; i < N_BUCKETS; i++)
        while (http->bucket[i])
            stream_free(l7, http->bucket[i]);
    for (int i = 0; i < 2; i++) {
        hpack_free(l7, http->side[i].hpack);
        l7_text_free(l7, &http->side[i].block);
    }
}

/* ---- frames ---- */

/* Do the bytes begin with `wanted` frames, or end with one, that follow the rules? */
static enum l7_probe frames_plausible(const uint8_t *data, size_t size, unsigned wanted)
{
    size_t at = 0;
    bool telling = false;

    for (unsigned n = 0;; n++) {
        struct frame frame;

        if (telling && (n == wanted || at == size))
            return L7_PROBE_YES;
        if (n > 8)
            return L7_PROBE_NO;
        if (size - at < FRAME_HEADER)
            return telling ? L7_PROBE_YES : L7_PROBE_MORE;
        frame = frame_header(data + at);
        if (!frame_plausible(&frame))
            return L7_PROBE_NO;
        telling |= frame.type == HEADERS || (frame.type == SETTINGS && frame.size) ||
                   frame.type == WINDOW_UPDATE;
        if (frame.size > size - at - FRAME_HEADER)
            return telling && n ? L7_PROBE_YES : L7_PROBE_MORE;
        at += FRAME_HEADER + frame.size;
    }
}

static bool frame_plausible(const struct frame *frame)
{
    bool stream = frame->stream != 0;

    if (frame->size > 16384 || frame->stream >> 24)
        return false;
    switch ((enum frame_type)frame->type) {
    case DATA:
        return stream && !(frame->flags & ~(END_STREAM | PADDED));
    case HEADERS:
        return stream && frame->size &&
               !(frame->flags & ~(END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY));
    case PRIORITY:
        return stream && frame->size == 5 && !frame->flags;
    case RST_STREAM:
        return stream && frame->size == 4 && !frame->flags;
    case SETTINGS:
        return !stream && frame->size % 6 == 0 && frame->size <= 120 && !(frame->flags & ~ACK) &&
               !(frame->flags && frame->size);
    case PING:
        return !stream && frame->size == 8 && !(frame->flags & ~ACK);
    case GOAWAY:
        return !stream && frame->size >= 8 && !frame->flags;
    case WINDOW_UPDATE:
        return frame->size == 4 && !frame->flags;
    default:
        return false;
    }
}

static struct frame frame_header(const uint8_t *data)
{
    struct cursor c = cursor_of(data, FRAME_HEADER);
    struct frame frame = {.size = cursor_u24(&c)};

    frame.type = cursor_u8(&c);
    frame.flags = cursor_u8(&c);
    frame.stream = cursor_u32(&c) & INT32_MAX;
    return frame;
}

/* A frame other than DATA, all of it. -> bytes used */
static size_t frame_read(struct l7 *l7, enum kfl_side number, const struct frame *frame,
                         const uint8_t *payload)
{
    struct side2 *side = &((struct http2 *)l7_state(l7))->side[number];
    struct stream2 *stream;

    switch ((enum frame_type)frame->type) {
    case HEADERS:
    case PUSH_PROMISE:
        block_begin(l7, number, frame, payload);
        break;
    case CONTINUATION:
        if (!side->in_block)
            break;
        l7_text_add(l7, &side->block, payload, frame->size);
        if (frame->flags & END_HEADERS)
            block_end(l7, number, side->block.data, side->block.size);
        break;
    case SETTINGS:
        settings(l7, number, frame, payload);
        break;
    case RST_STREAM:
        stream = stream_get(l7, frame->stream, false);
        if (stream)
            stream_end(l7, stream, "stream reset");
        break;
    default:
        break;
    }
    return FRAME_HEADER + frame->size;
}

static size_t data_frame(struct l7 *l7, enum kfl_side number, const struct frame *frame,
                         const uint8_t *payload, size_t size)
{
    struct side2 *side = &((struct http2 *)l7_state(l7))->side[number];
    struct stream2 *stream = stream_get(l7, frame->stream, false);
    struct message *message = stream ? &stream->message[number] : NULL;
    uint32_t padding = frame->flags & PADDED ? payload[0] + 1u : 0;

    (void)size;
    if (padding > frame->size) {
        l7_give_up(l7, NULL, "padding too long");
        return 0;
    }
    if (message)
        message->wire += FRAME_HEADER + frame->size;
    side->data_stream = frame->stream;
    side->data_ends = frame->flags & END_STREAM;
    if (message && message->collect) {
        side->data_left = frame->size - padding;
        side->pad_left = padding ? padding - 1 : 0;
        if (!side->data_left && !side->pad_left && side->data_ends)
            message_end(l7, stream, number);
        return FRAME_HEADER + (padding ? 1u : 0);
    }
    if (message) {
        message->body_size += frame->size - padding;
        if (side->data_ends)
            message_end(l7, stream, number);
    }
    l7_skip(l7, number, frame->size);
    return FRAME_HEADER;
}

static size_t data_bytes(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct side2 *side = &((struct http2 *)l7_state(l7))->side[number];
    struct stream2 *stream = stream_get(l7, side->data_stream, false);
    size_t n = size < side->data_left ? size : side->data_left, pad;

    if (stream) {
        l7_text_add(l7, &stream->message[number].body, data, n);
        stream->message[number].body_size += n;
    }
    side->data_left -= (uint32_t)n;
    pad = size - n < side->pad_left ? size - n : side->pad_left;
    side->pad_left -= (uint32_t)pad;
    if (stream && !side->data_left && !side->pad_left && side->data_ends)
        message_end(l7, stream, number);
    return n + pad;
}

static void block_begin(struct l7 *l7, enum kfl_side number, const struct frame *frame,
                        const uint8_t *payload)
{
    struct side2 *side = &((struct http2 *)l7_state(l7))->side[number];
    struct cursor c = cursor_of(payload, frame->size);
    size_t padding = frame->flags & PADDED ? cursor_u8(&c) : 0;

    side->block_promised = 0;
    if (frame->type == PUSH_PROMISE)
        side->block_promised = cursor_u32(&c) & INT32_MAX;
    else if (frame->flags & WITH_PRIORITY)
        cursor_bytes(&c, 5);
    if (c.short_ || padding > cursor_left(&c) || !frame->stream) {
        l7_give_up(l7, NULL, "broken header frame");
        return;
    }
    side->block_frame = *frame;
    if (frame->flags & END_HEADERS) {
        block_end(l7, number, c.at, cursor_left(&c) - padding);
        return;
    }
    l7_text_free(l7, &side->block);
    l7_text_add(l7, &side->block, c.at, cursor_left(&c) - padding);
    side->in_block = true;
}

/* A whole header block: the beginning of a message, or trailers. */
static void block_end(struct l7 *l7, enum kfl_side number, const uint8_t *block, size_t size)
{
    struct http2 *http = l7_state(l7);
    struct side2 *side = &http->side[number];
    struct hpack_fields *fields = hpack_scratch(l7);
    uint32_t id = side->block_promised ? side->block_promised : side->block_frame.stream;
    /* A pushed stream's request comes from the server. */
    enum kfl_side role = side->block_promised ? KFL_CLIENT : number;
    bool ends = side->block_frame.flags & END_STREAM || side->block_promised;
    struct stream2 *stream = stream_get(l7, id, false);
    bool whole = !side->in_block || side->block.total == side->block.size;
    bool ok = false;

    if (!side->hpack)
        side->hpack = hpack_create(l7);
    if (side->hpack && whole)
        ok = hpack_decode(side->hpack, block, size, fields);
    if (!ok) { /* indices count from the newest entry: a fresh table is never wrong, only poor */
        hpack_free(l7, side->hpack);
        side->hpack = NULL;
        fields->fields.n = 0;
    }
    side->in_block = false;
    /* Trailers of a stream that was complete before them are not the beginning of another. */
    if (!stream && (!ok || pseudo(&fields->fields, role == KFL_CLIENT ? ":method" : ":status").at))
        stream = stream_get(l7, id, true);
    if (stream) {
        stream->message[role].wire += FRAME_HEADER + side->block_frame.size;
        stream->message[role].broken |= !ok;
        message_head(l7, stream, role, &fields->fields, ends);
    }
    l7_text_free(l7, &side->block);
}

/* SETTINGS_HEADER_TABLE_SIZE binds the other side's encoder once that has acknowledged it. */
static void settings(struct l7 *l7, enum kfl_side number, const struct frame *frame,
                     const uint8_t *payload)
{
    struct http2 *http = l7_state(l7);
    struct side2 *other = &http->side[!number], *side = &http->side[number];
    struct cursor c = cursor_of(payload, frame->size);

    if (frame->flags & ACK) {
        if (side->table_size_new) {
            if (!side->hpack)
                side->hpack = hpack_create(l7);
            if (side->hpack)
                hpack_table_size(side->hpack, side->table_size);
        }
        side->table_size_new = false;
        return;
    }
    while (cursor_left(&c) >= 6) {
        uint16_t id = cursor_u16(&c);
        uint32_t value = cursor_u32(&c);

        if (id == 1) {
            other->table_size = value;
            other->table_size_new = true;
        }
    }
}

/* ---- messages ---- */

static void message_head(struct l7 *l7, struct stream2 *stream, enum kfl_side number,
                         struct http_fields *fields, bool ends)
{
    struct message *message = &stream->message[number];
    struct http_known known = {.content_length = -1};
    const struct kfl_demand *demand = l7_demand(l7);
    struct http_text status = pseudo(fields, ":status");
    enum kfl_field map =
        number == KFL_CLIENT ? KFL_FIELD_HTTP_REQUEST_HEADERS : KFL_FIELD_HTTP_RESPONSE_HEADERS;
    bool later;
    struct fact_tape *tape;

    if (number == KFL_SERVER && status.size == 3 && status.at[0] == '1')
        return;          /* interim */
    if (message->seen) { /* trailers */
        if (message->half)
            hpack_save(l7, &message->head, fields);
        if (ends)
            message_end(l7, stream, number);
        return;
    }
    message->seen = true;
    for (uint32_t i = 0; i < fields->n; i++)
        http_know(&known, &fields->field[i]);
    stream->grpc |= http_text_begins(known.type, "application/grpc") || known.grpc_status;
    if (number == KFL_CLIENT)
        stream->gql = http_gql_possible(pseudo(fields, ":method"), known.type);
    message->coding = known.coding;
    message->type_size = known.type.size < TYPE_SIZE ? (uint16_t)known.type.size : TYPE_SIZE;
    if (message->type_size)
        memcpy(message->type, known.type.at, message->type_size);
    message->collect = !ends && http_body_wanted(demand, number, stream->gql);
    message->half = l7_half_new(l7, number, stream->id);
    tape = l7_tape(l7);
    later = !ends &&
            (fact_wanted(tape, map) ||
             (number == KFL_SERVER && (fact_wanted(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS) ||
                                       fact_wanted(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_MESSAGE))));
    if (number == KFL_CLIENT) {
        request_head(l7, stream, tape, fields);
    } else {
        int64_t code = 0;

        for (uint32_t i = 0; i < status.size && i < 3; i++)
            code = code * 10 + (status.at[i] - '0') % 10;
        fact_int(tape, KFL_FIELD_HTTP_RESPONSE_STATUS, code);
        fact_text(tape, KFL_FIELD_HTTP_RESPONSE_HTTP_VERSION, "HTTP/2.0");
        fact_string(tape, KFL_FIELD_HTTP_RESPONSE_REDIRECT_URL, known.location.at,
                    known.location.size);
    }
    l7_half_add(l7, message->half);
    hpack_save(l7, &message->head, fields);
    /* Complete as soon as nothing that is asked for can still come. */
    if (ends || (!later && !message->collect && !http_end_wanted(demand, number)))
        message_end(l7, stream, number);
}

static void request_head(struct l7 *l7, struct stream2 *stream, struct fact_tape *tape,
                         const struct http_fields *fields)
{
    struct http_text method = pseudo(fields, ":method"), target = pseudo(fields, ":path");

    if (!target.at)
        target = pseudo(fields, ":authority"); /* CONNECT */
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_METHOD, method.at, method.size);
    http_target_facts(tape, l7_scratch(l7), target, stream->grpc);
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_HTTP_VERSION, "HTTP/2.0");
    fact_int(tape, KFL_FIELD_HTTP_REQUEST_STREAM_ID, stream->id);
}

/* A message is complete: its headers with trailers, its body. */
static void message_end(struct l7 *l7, struct stream2 *stream, enum kfl_side number)
{
    struct message *message = &stream->message[number];
    struct l7_half *half = message->half;
    struct hpack_fields *fields = hpack_scratch(l7);
    struct http_body body = {
        .type = {message->type, message->type_size},
        .bytes = {message->body.data, message->body.size},
        .size = message->body_size,
        .coding = message->coding,
    };
    struct http_text text;
    struct fact_tape *tape;
    bool gql = false;

    if (!message->seen || message->complete)
        return;
    message->complete = true;
    message->half = NULL;
    if (number == KFL_SERVER && !stream->message[KFL_CLIENT].complete)
        message_end(l7, stream, KFL_CLIENT); /* answered before it was through */
    tape = l7_tape(l7);
    hpack_load(&message->head, fields);
    http_header_facts(tape, number, &fields->fields);
    if (number == KFL_SERVER) {
        if (http_has(&fields->fields, "grpc-status")) {
            stream->grpc = true;
            http_grpc_facts(tape, &fields->fields);
        } else {
            fact_int(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS, -1);
        }
    }
    text = http_body_facts(tape, l7_scratch(l7), number, &body);
    if (number == KFL_CLIENT && stream->gql)
        gql = http_gql_facts(tape, l7_scratch(l7), text);
    l7_half_add(l7, half);
    if (gql || stream->grpc)
        l7_half_proto(half, gql ? KFL_PROTO_GQL : KFL_PROTO_GRPC);
    l7_half_version(half, "2.0");
    l7_half_wire(half, message->wire);
    if (message->broken)
        l7_half_error(half, KFL_ERROR_DISSECTION, "headers refer to what was not seen");
    l7_text_free(l7, &message->head);
    l7_text_free(l7, &message->body);
    if (number == KFL_CLIENT) {
        if (half)
            l7_request(l7, half);
        return;
    }
    if (half)
        l7_response(l7, half);
    stream_free(l7, stream);
}

/* The stream is over, however far it got. */
static void stream_end(struct l7 *l7, struct stream2 *stream, const char *unanswered)
{
    uint32_t id = stream->id;

    message_end(l7, stream, KFL_CLIENT);
    if (stream->message[KFL_SERVER].seen) {
        message_end(l7, stream, KFL_SERVER);
        return;
    }
    if (unanswered)
        l7_unanswered(l7, l7_pending(l7, id), unanswered);
    stream_free(l7, stream);
}

static struct stream2 *stream_get(struct l7 *l7, uint32_t id, bool make)
{
    struct http2 *http = l7_state(l7);
    struct stream2 **bucket = &http->bucket[id / 2 % N_BUCKETS], *stream;

    for (stream = *bucket; stream; stream = stream->next)
        if (stream->id == id)
            return stream;
    if (!make || !id)
        return NULL;
    if (http->n_streams >= STREAMS_MAX) { /* somewhere an old one */
        for (unsigned i = 1; i <= N_BUCKETS; i++) {
            struct stream2 *old = http->bucket[(id / 2 + i) % N_BUCKETS];

            if (old) {
                stream_end(l7, old, NULL);
                break;
            }
        }
    }
    stream = l7_memory(l7, sizeof(*stream));
    if (!stream)
        return NULL;
    *stream = (struct stream2){.id = id, .next = *bucket};
    *bucket = stream;
    http->n_streams++;
    return stream;
}

static void stream_free(struct l7 *l7, struct stream2 *stream)
{
    struct http2 *http = l7_state(l7);
    struct stream2 **at = &http->bucket[stream->id / 2 % N_BUCKETS];

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    http->n_streams--;
    for (int i = 0; i < 2; i++) {
        l7_half_free(l7, stream->message[i].half);
        l7_text_free(l7, &stream->message[i].head);
        l7_text_free(l7, &stream->message[i].body);
    }
    l7_memory_free(l7, stream);
}

static struct http_text pseudo(const struct http_fields *fields, const char *name)
{
    for (uint32_t i = 0; i < fields->n; i++)
        if (http_text_is(fields->field[i].name, name))
            return fields->field[i].value;
    return (struct http_text){0};
}
