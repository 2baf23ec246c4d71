/* RADIUS: RFC 2865, 2866, 2869, 3162, 5176. One datagram, one message; the identifier pairs them.
 * A retransmission has the identifier and authenticator of a request that waits: it is no request
 * of its own. */
#include <stdio.h>
#include <string.h>

#include "../cursor.h"
#include "../l7.h"
#include "avp.h"

enum { HEADER = 20, LENGTH_MAX = 4096 };

static const char *const code_names[] = {
    [1] = "Access-Request",
    [2] = "Access-Accept",
    [3] = "Access-Reject",
    [4] = "Accounting-Request",
    [5] = "Accounting-Response",
    [11] = "Access-Challenge",
    [12] = "Status-Server",
    [13] = "Status-Client",
    [40] = "Disconnect-Request",
    [41] = "Disconnect-ACK",
    [42] = "Disconnect-NAK",
    [43] = "CoA-Request",
    [44] = "CoA-ACK",
    [45] = "CoA-NAK",
};

static const struct {
    const char *name;
    enum avp_type type;
} attributes[256] = {
#define ATTRIBUTE(number, name, type) [number] = {name, AVP_##type},
#include "radius_attributes.def"
#undef ATTRIBUTE
};

static const char *code_name(uint8_t code)
{
    return code < sizeof(code_names) / sizeof(*code_names) ? code_names[code] : NULL;
}

static bool is_request(uint8_t code)
{
    return code == 1 || code == 4 || code == 12 || code == 13 || code == 40 || code == 43;
}

static unsigned split(const uint8_t *data, uint32_t size, struct avp *ret_avps, unsigned max)
{
    struct cursor c = cursor_of(data, size);
    unsigned n = 0;

    while (n < max && cursor_left(&c) >= 2) {
        struct avp *avp = &ret_avps[n];
        uint8_t type = cursor_u8(&c), length = cursor_u8(&c);

        if (length < 2 || length - 2u > cursor_left(&c))
            break;
        avp->id = type;
        avp->name = attributes[type].name;
        avp->type = attributes[type].type;
        avp->size = length - 2u;
        avp->data = cursor_bytes(&c, avp->size);
        if (!avp->name) {
            avp->type = AVP_OCTETS;
            snprintf(avp->text, sizeof(avp->text), "Attribute-%u", type);
        }
        n++;
    }
    return n;
}

/* -> the length of a message, 0: it is none. *ret_sound: its attributes fill it exactly. */
static uint16_t message_length(const uint8_t *data, size_t size, bool *ret_sound)
{
    struct cursor c = cursor_of(data, size);
    uint8_t code = cursor_u8(&c);
    uint16_t length;

    cursor_u8(&c);
    length = cursor_u16(&c);
    if (c.short_ || !code_name(code) || length < HEADER || length > LENGTH_MAX || length > size)
        return 0;
    *ret_sound = true;
    for (uint16_t at = HEADER; at < length; at = (uint16_t)(at + data[at + 1]))
        if (at + 2 > length || !data[at] || data[at + 1] < 2 || at + data[at + 1] > length) {
            *ret_sound = false;
            break;
        }
    return length;
}

static bool known_port(uint16_t port)
{
    return port == 1812 || port == 1813 || port == 1645 || port == 1646 || port == 3799;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    for (unsigned side = 0; side < 2; side++) {
        bool sound, known = known_port(in->port[0]) || known_port(in->port[1]);
        uint16_t length = message_length(in->data[side], in->size[side], &sound);

        if (!length)
            continue;
        /* Twenty bytes without sound attributes prove little. */
        if ((length == HEADER || !sound) && !known)
            return L7_PROBE_NO;
        if (in->size[side] > length + 64u)
            return L7_PROBE_NO;
        *ret_swap = is_request(in->data[side][0]) != (side == KFL_CLIENT);
        return L7_PROBE_YES;
    }
    return L7_PROBE_NO;
}

static uint64_t fingerprint(const uint8_t *authenticator)
{
    uint64_t halves[2];

    memcpy(halves, authenticator, sizeof(halves));
    return halves[0] ^ halves[1];
}

static void request_facts(struct fact_tape *tape, const uint8_t *data, uint16_t length)
{
    fact_int(tape, KFL_FIELD_RADIUS_REQUEST_CODE, data[0]);
    fact_text(tape, KFL_FIELD_RADIUS_REQUEST_CODE_NAME, code_name(data[0]));
    fact_int(tape, KFL_FIELD_RADIUS_REQUEST_ID, data[1]);
    fact_hex(tape, KFL_FIELD_RADIUS_REQUEST_AUTHENTICATOR, data + 4, 16);
    avp_write(tape, KFL_FIELD_RADIUS_REQUEST_ATTRIBUTES, split, data + HEADER, length - HEADER);
}

static void response_facts(struct fact_tape *tape, const uint8_t *data, uint16_t length)
{
    fact_int(tape, KFL_FIELD_RADIUS_RESPONSE_CODE, data[0]);
    fact_text(tape, KFL_FIELD_RADIUS_RESPONSE_CODE_NAME, code_name(data[0]));
    avp_write(tape, KFL_FIELD_RADIUS_RESPONSE_ATTRIBUTES, split, data + HEADER, length - HEADER);
}

static void datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    bool sound;
    uint16_t length = message_length(data, size, &sound);
    bool request = length && is_request(data[0]);
    uint64_t key = 0x100;
    struct l7_half *half, *waiting;

    if (!length) {
        l7_give_up(l7, NULL, "not a RADIUS message");
        return;
    }
    key |= data[1];
    waiting = l7_pending(l7, key);
    if (request && waiting && l7_half_user(waiting) == fingerprint(data + 4))
        return;
    half = l7_half_new(l7, side, key);
    if (request)
        request_facts(l7_tape(l7), data, length);
    else
        response_facts(l7_tape(l7), data, length);
    l7_half_add(l7, half);
    l7_half_wire(half, length);
    if (!sound)
        l7_half_error(half, KFL_ERROR_DISSECTION, "broken attribute");
    if (request) {
        l7_half_set_user(half, fingerprint(data + 4));
        l7_request(l7, half);
    } else {
        l7_response(l7, half);
    }
}

const struct dissector dissector_radius = {
    .proto = KFL_PROTO_RADIUS,
    .name = "radius",
    .protos = KFL_PROTO_BIT(RADIUS),
    .ports = {1812, 1813, 1645, 1646, 3799},
    .probe = probe,
    .datagram = datagram,
};
