/* http2.c - HTTP/2 (RFC 9113) in clear, by prior knowledge or by Upgrade, and gRPC in it.
 *
 * An entry is one stream of the connection. Frames are read here; hpack.c undoes the compression
 * of headers. A connection that is met in the middle is read from the next frame on: header blocks
 * that need what was missed become entries with error `dissection`. */
#include "../cursor.h"
#include "hpack.h"
#include "http2_stream.h"

enum {
    FRAME_HEADER = 9,
    BLOCK_MAX = L7_BUFFER_MAX - FRAME_HEADER,
    LOST_MAX = 16 << 20,
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
    struct http2_streams streams;
    bool from_preface; /* the connection was seen from its beginning, without a hole */
};

static enum l7_probe http2_probe(const struct l7_probe_input *input, bool *ret_swap);
static void http2_init(struct l7 *l7);
static size_t http2_parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void http2_gap(struct l7 *l7, enum kfl_side side, uint64_t size, const uint8_t *unused,
                      size_t unused_size);
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
    struct http2 *http = l7_state(l7);
    struct l7_half *half = l7_handed_over(l7);
    struct http2_stream *stream;

    if (!half)
        return;
    stream = http2_stream_get(l7, &http->streams, 1, true);
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
    struct http2 *http = l7_state(l7);
    struct side2 *side = &http->side[number];
    struct frame frame;
    size_t n;

    if (side->data_left || side->pad_left)
        return data_bytes(l7, number, data, size);
    if (!side->begun && number == KFL_CLIENT) {
        n = size < sizeof(preface) - 1 ? size : sizeof(preface) - 1;
        if (!memcmp(data, preface, n)) {
            if (n < sizeof(preface) - 1)
                return 0;
            side->begun = http->from_preface = true;
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

static void http2_gap(struct l7 *l7, enum kfl_side number, uint64_t size, const uint8_t *unused,
                      size_t unused_size)
{
    struct http2 *http = l7_state(l7);
    struct side2 *side = &http->side[number];

    if (size <= side->data_left) { /* within a body */
        struct http2_stream *stream =
            http2_stream_get(l7, &http->streams, side->data_stream, false);

        side->data_left -= (uint32_t)size;
        if (stream)
            stream->message[number].body_size += size;
        if (stream && !side->data_left && !side->pad_left && side->data_ends)
            http2_message_end(l7, &http->streams, stream, number);
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
    http2_streams_end(l7, &http->streams);
}

static void http2_done(struct l7 *l7)
{
    struct http2 *http = l7_state(l7);

    http2_streams_done(l7, &http->streams);
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
    struct http2 *http = l7_state(l7);
    struct side2 *side = &http->side[number];
    struct http2_stream *stream;

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
        stream = http2_stream_get(l7, &http->streams, frame->stream, false);
        if (stream)
            http2_stream_end(l7, &http->streams, stream, "stream reset");
        break;
    default:
        break;
    }
    return FRAME_HEADER + frame->size;
}

static size_t data_frame(struct l7 *l7, enum kfl_side number, const struct frame *frame,
                         const uint8_t *payload, size_t size)
{
    struct http2 *http = l7_state(l7);
    struct side2 *side = &http->side[number];
    struct http2_stream *stream = http2_stream_get(l7, &http->streams, frame->stream, false);
    struct http2_message *message = stream ? &stream->message[number] : NULL;
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
            http2_message_end(l7, &http->streams, stream, number);
        return FRAME_HEADER + (padding ? 1u : 0);
    }
    if (message) {
        message->body_size += frame->size - padding;
        if (side->data_ends)
            http2_message_end(l7, &http->streams, stream, number);
    }
    l7_skip(l7, number, frame->size);
    return FRAME_HEADER;
}

static size_t data_bytes(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http2 *http = l7_state(l7);
    struct side2 *side = &http->side[number];
    struct http2_stream *stream = http2_stream_get(l7, &http->streams, side->data_stream, false);
    size_t n = size < side->data_left ? size : side->data_left, pad;

    if (stream) {
        l7_text_add(l7, &stream->message[number].body, data, n);
        stream->message[number].body_size += n;
    }
    side->data_left -= (uint32_t)n;
    pad = size - n < side->pad_left ? size - n : side->pad_left;
    side->pad_left -= (uint32_t)pad;
    if (stream && !side->data_left && !side->pad_left && side->data_ends)
        http2_message_end(l7, &http->streams, stream, number);
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
    struct http2_stream *stream = http2_stream_get(l7, &http->streams, id, false);
    bool whole = !side->in_block || side->block.total == side->block.size;
    enum hpack_block answer = HPACK_BROKEN;
    bool ok;

    fields->fields.n = 0;
    if (!side->hpack)
        side->hpack = hpack_create(l7, !http->from_preface);
    if (side->hpack && whole)
        answer = hpack_decode(side->hpack, block, size, fields);
    if (answer == HPACK_BROKEN) { /* indices count from the newest entry: this is never wrong */
        hpack_free(l7, side->hpack);
        side->hpack = NULL;
        http->from_preface = false;
    }
    ok = answer == HPACK_WHOLE;
    side->in_block = false;
    /* Trailers of a stream that was complete before them are not the beginning of another. */
    if (!stream &&
        (!ok || http2_field(&fields->fields, role == KFL_CLIENT ? ":method" : ":status").at))
        stream = http2_stream_get(l7, &http->streams, id, true);
    if (stream) {
        stream->message[role].wire += FRAME_HEADER + side->block_frame.size;
        stream->message[role].broken |= !ok;
        http2_message_head(l7, &http->streams, stream, role, &fields->fields, ends);
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
                side->hpack = hpack_create(l7, !http->from_preface);
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
