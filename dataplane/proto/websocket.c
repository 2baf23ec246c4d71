/* WebSocket, RFC 6455, after HTTP's upgrade. Fragments are put together; control frames between
 * them are entries of their own. What permessage-deflate (RFC 7692) has compressed is said so, not
 * opened. Client's messages are requests, the server's are responses. */
#include <string.h>

#include "../cursor.h"
#include "../l7.h"

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

enum { CONTROL_MAX = 125, PIECE = 4096 };

/* A message of one side on its way, control frames excepted. */
struct message {
    struct l7_half *half;
    struct l7_text text;
    uint64_t length;
    uint32_t frames;
    uint8_t opcode;
    bool compressed, masked, open;
};

/* The frame whose payload is being read. */
struct frame {
    uint64_t left; /* bytes of payload to come */
    uint64_t at;   /* of payload, for the mask */
    uint8_t mask[4];
    bool open, final;
};

struct state {
    struct message message[2];
    struct frame frame[2];
};

struct fields {
    enum kfl_field opcode, payload, length, frames, masked, compressed, close_code, close_reason;
};

#define FIELDS(side)                                                             \
    {                                                                            \
        KFL_FIELD_WS_##side##_OPCODE, KFL_FIELD_WS_##side##_PAYLOAD,             \
            KFL_FIELD_WS_##side##_PAYLOAD_LENGTH, KFL_FIELD_WS_##side##_FRAMES,  \
            KFL_FIELD_WS_##side##_MASKED, KFL_FIELD_WS_##side##_COMPRESSED,      \
            KFL_FIELD_WS_##side##_CLOSE_CODE, KFL_FIELD_WS_##side##_CLOSE_REASON \
    }
static const struct fields side_fields[2] = {FIELDS(REQUEST), FIELDS(RESPONSE)};
#undef FIELDS

static const char *opcode_name(uint8_t opcode)
{
    switch (opcode) {
    case OP_TEXT:
        return "text";
    case OP_BINARY:
        return "binary";
    case OP_CLOSE:
        return "close";
    case OP_PING:
        return "ping";
    default:
        return "pong";
    }
}

static bool payload_wanted(const struct l7 *l7, enum kfl_side side)
{
    const struct kfl_demand *demand = l7_demand(l7);

    return demand->all || demand->field[side_fields[side].payload];
}

static void payload_facts(struct fact_tape *tape, const struct fields *fields,
                          const struct message *message, const uint8_t *data, size_t size)
{
    if (message->opcode == OP_CLOSE && size >= 2) {
        fact_int(tape, fields->close_code, data[0] << 8 | data[1]);
        fact_string(tape, fields->close_reason, data + 2, size - 2);
    }
    if (message->opcode == OP_TEXT && !message->compressed)
        fact_string(tape, fields->payload, data, size);
    else
        fact_base64(tape, fields->payload, data, size);
}

static void message_end(struct l7 *l7, enum kfl_side side, struct message *message,
                        const uint8_t *data, size_t size)
{
    const struct fields *fields = &side_fields[side];
    struct fact_tape *tape = l7_tape(l7);

    fact_text(tape, fields->opcode, opcode_name(message->opcode));
    payload_facts(tape, fields, message, data, size);
    fact_int(tape, fields->length, (int64_t)message->length);
    fact_int(tape, fields->frames, message->frames);
    fact_bool(tape, fields->masked, message->masked);
    fact_bool(tape, fields->compressed, message->compressed);
    l7_half_add(l7, message->half);
    l7_single(l7, message->half);
    message->half = NULL;
    message->open = false;
}

/* The head of a frame. -> its size; 0: it is not all there */
struct head {
    uint64_t length;
    uint8_t opcode, mask[4];
    bool final, compressed, masked, bad;
};

static size_t read_head(const uint8_t *data, size_t size, struct head *ret)
{
    struct cursor c = cursor_of(data, size);
    uint8_t first = cursor_u8(&c), second = cursor_u8(&c);
    const uint8_t *mask;

    ret->final = first & 0x80;
    ret->compressed = first & 0x40;
    ret->opcode = first & 0x0f;
    ret->masked = second & 0x80;
    ret->length = second & 0x7f;
    if (ret->length == 126)
        ret->length = cursor_u16(&c);
    else if (ret->length == 127)
        ret->length = cursor_u64(&c);
    memset(ret->mask, 0, sizeof(ret->mask));
    mask = ret->masked ? cursor_bytes(&c, 4) : NULL;
    if (mask)
        memcpy(ret->mask, mask, 4);
    ret->bad = size >= 1 && (first & 0x30 || (ret->opcode > OP_BINARY && ret->opcode < OP_CLOSE) ||
                             ret->opcode > OP_PONG);
    ret->bad |= !c.short_ && (ret->length >> 62 || (ret->opcode >= OP_CLOSE &&
                                                    (!ret->final || ret->length > CONTROL_MAX)));
    return c.short_ ? 0 : (size_t)(c.at - data);
}

static void unmask(uint8_t *out, const uint8_t *data, size_t size, const uint8_t mask[4],
                   uint64_t at)
{
    for (size_t i = 0; i < size; i++)
        out[i] = data[i] ^ mask[(at + i) & 3];
}

/* A control frame is small and whole. -> bytes used, 0: it is not all there */
static size_t control(struct l7 *l7, enum kfl_side side, const struct head *head, size_t head_size,
                      const uint8_t *data, size_t size)
{
    struct message message = {
        .frames = 1, .opcode = head->opcode, .length = head->length, .masked = head->masked};
    uint8_t payload[CONTROL_MAX];
    size_t whole = head_size + (size_t)head->length;

    if (size < whole) {
        l7_need(l7, side, whole);
        return 0;
    }
    unmask(payload, data + head_size, (size_t)head->length, head->mask, 0);
    message.half = l7_half_new(l7, side, L7_IN_ORDER);
    l7_half_wire(message.half, whole);
    message_end(l7, side, &message, payload, (size_t)head->length);
    return whole;
}

static bool data_frame(struct l7 *l7, enum kfl_side side, const struct head *head, size_t head_size)
{
    struct state *state = l7_state(l7);
    struct message *message = &state->message[side];
    struct frame *frame = &state->frame[side];

    if ((head->opcode == OP_CONTINUATION) != message->open) {
        if (head->opcode == OP_CONTINUATION)
            return false;
        message_end(l7, side, message, message->text.data, message->text.size);
        l7_text_free(l7, &message->text);
    }
    if (!message->open)
        *message = (struct message){.half = l7_half_new(l7, side, L7_IN_ORDER),
                                    .opcode = head->opcode,
                                    .compressed = head->compressed,
                                    .masked = head->masked,
                                    .open = true};
    message->frames++;
    message->length += head->length;
    l7_half_wire(message->half, head_size + head->length);
    *frame = (struct frame){.left = head->length, .open = true, .final = head->final};
    memcpy(frame->mask, head->mask, 4);
    return true;
}

/* Payload of the open frame. -> bytes used */
static size_t payload(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    struct message *message = &state->message[side];
    struct frame *frame = &state->frame[side];
    size_t used = size < frame->left ? size : (size_t)frame->left;

    if (!payload_wanted(l7, side) || message->text.total >= l7_text_max(l7)) {
        l7_skip(l7, side, frame->left - used);
        frame->left = 0;
    } else {
        uint8_t piece[PIECE];

        for (size_t at = 0; at < used;) {
            size_t n = used - at < PIECE ? used - at : PIECE;

            unmask(piece, data + at, n, frame->mask, frame->at);
            l7_text_add(l7, &message->text, piece, n);
            frame->at += n;
            at += n;
        }
        frame->left -= used;
    }
    if (frame->left)
        return used;
    frame->open = false;
    if (frame->final) {
        message_end(l7, side, message, message->text.data, message->text.size);
        l7_text_free(l7, &message->text);
    }
    return used;
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    struct head head;
    size_t head_size;

    if (state->frame[side].open)
        return payload(l7, side, data, size);
    if (!size)
        return 0;
    head_size = read_head(data, size, &head);
    if (head.bad) {
        l7_give_up(l7, NULL, "not a WebSocket frame");
        return size;
    }
    if (!head_size)
        return 0;
    if (head.opcode >= OP_CLOSE)
        return control(l7, side, &head, head_size, data, size);
    if (!data_frame(l7, side, &head, head_size)) {
        l7_give_up(l7, NULL, "a continuation of no message");
        return size;
    }
    return head_size + payload(l7, side, data + head_size, size - head_size);
}

static void done(struct l7 *l7)
{
    struct state *state = l7_state(l7);

    for (unsigned side = 0; side < 2; side++) {
        l7_half_free(l7, state->message[side].half);
        l7_text_free(l7, &state->message[side].text);
    }
}

/* Only HTTP's upgrade leads here: its first bytes prove nothing. */
static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    return L7_PROBE_NO;
}

const struct dissector dissector_websocket = {
    .proto = KFL_PROTO_WS,
    .name = "websocket",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(WS),
    .probe = probe,
    .parse = parse,
    .done = done,
};
