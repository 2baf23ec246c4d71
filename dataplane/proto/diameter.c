/* Diameter, RFC 6733 and its applications, over TCP and SCTP. Messages are paired by hop-by-hop id,
 * which the sender of the request chose: either peer may ask, so the asking side is in the key. */
#include <stdio.h>
#include <string.h>

#include "../cursor.h"
#include "../l7.h"
#include "avp.h"
#include "diameter.h"

enum {
    HEADER = 20,
    FLAG_REQUEST = 0x80,
    FLAG_RESERVED = 0x0f,
    LENGTH_MAX = 1 << 20, /* a longer message is not believed */
    VENDOR_3GPP = 10415,
};

struct message {
    uint32_t length, command, application, hop_by_hop, end_to_end;
    uint8_t flags;
};

static const struct {
    uint32_t code;
    const char *name;
} commands[] = {
#define COMMAND(code, name) {code, name},
#define DIAMETER_AVP(code, vendor, name, type)
#include "diameter_words.def"
#undef COMMAND
#undef DIAMETER_AVP
};

/* Sorted by code, then vendor. */
static const struct word {
    uint32_t code, vendor;
    const char *name;
    enum avp_type type;
} words[] = {
#define COMMAND(code, name)
#define DIAMETER_AVP(code, vendor, name, type) {code, vendor, name, AVP_##type},
#include "diameter_words.def"
#undef COMMAND
#undef DIAMETER_AVP
};

enum { N_WORDS = sizeof(words) / sizeof(*words) };

static const char *command_name(uint32_t code, char buffer[static 16])
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (commands[i].code == code)
            return commands[i].name;
    snprintf(buffer, 16, "%u", code);
    return buffer;
}

static const struct word *find_word(uint32_t code, uint32_t vendor)
{
    size_t low = 0, high = N_WORDS;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct word *word = &words[middle];

        if (word->code == code && word->vendor == vendor)
            return word;
        if (word->code < code || (word->code == code && word->vendor < vendor))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool read_header(const uint8_t *data, size_t size, struct message *ret)
{
    struct cursor c = cursor_of(data, size);
    uint8_t version = cursor_u8(&c);

    ret->length = cursor_u24(&c);
    ret->flags = cursor_u8(&c);
    ret->command = cursor_u24(&c);
    ret->application = cursor_u32(&c);
    ret->hop_by_hop = cursor_u32(&c);
    ret->end_to_end = cursor_u32(&c);
    return !c.short_ && version == 1 && ret->length >= HEADER && ret->length % 4 == 0 &&
           ret->length <= LENGTH_MAX && !(ret->flags & FLAG_RESERVED);
}

/* One AVP. -> false at the end or where the bytes do not make one. */
static bool read_avp(struct cursor *c, uint32_t *ret_code, uint32_t *ret_vendor,
                     struct cursor *ret_data)
{
    uint32_t length, header = 8;
    uint8_t flags;

    *ret_code = cursor_u32(c);
    flags = cursor_u8(c);
    length = cursor_u24(c);
    *ret_vendor = 0;
    if (flags & 0x80) {
        *ret_vendor = cursor_u32(c);
        header = 12;
    }
    if (c->short_ || length < header)
        return false;
    *ret_data = cursor_sub(c, length - header);
    if (ret_data->short_)
        return false;
    /* Padding is not counted, and may be missing at the end. */
    if (cursor_left(c) >= (-length & 3))
        cursor_bytes(c, -length & 3);
    return true;
}

static unsigned split(const uint8_t *data, uint32_t size, struct avp *ret_avps, unsigned max)
{
    struct cursor c = cursor_of(data, size), value;
    uint32_t code, vendor;
    unsigned n = 0;

    while (n < max && cursor_left(&c) && read_avp(&c, &code, &vendor, &value)) {
        struct avp *avp = &ret_avps[n++];
        const struct word *word = find_word(code, vendor);

        avp->id = (uint64_t)vendor << 32 | code;
        avp->name = word ? word->name : NULL;
        avp->type = word ? word->type : AVP_OCTETS;
        if (!word && vendor)
            snprintf(avp->text, sizeof(avp->text), "AVP-%u-%u", vendor, code);
        else if (!word)
            snprintf(avp->text, sizeof(avp->text), "AVP-%u", code);
        /* Address: two bytes of address family come first. */
        if (avp->type == AVP_ADDRESS && (cursor_left(&value) == 6 || cursor_left(&value) == 18))
            cursor_u16(&value);
        avp->data = value.at;
        avp->size = (uint32_t)cursor_left(&value);
    }
    return n;
}

/* A header whose first AVP makes sense. */
static enum l7_probe believable(const uint8_t *data, size_t size, bool *ret_request)
{
    struct message m;
    struct cursor c, value;
    uint32_t code, vendor;
    char number[16];

    if (size < HEADER)
        return size && data[0] != 1 ? L7_PROBE_NO : L7_PROBE_MORE;
    if (!read_header(data, size, &m))
        return L7_PROBE_NO;
    if (command_name(m.command, number) == number)
        return L7_PROBE_NO;
    *ret_request = m.flags & FLAG_REQUEST;
    if (m.length == HEADER)
        return L7_PROBE_YES;
    if (size < HEADER + 8)
        return L7_PROBE_MORE;
    c = cursor_of(data + HEADER, size - HEADER);
    if (!read_avp(&c, &code, &vendor, &value) && size >= m.length)
        return L7_PROBE_NO;
    return code && code < 20000 ? L7_PROBE_YES : L7_PROBE_NO;
}

bool diameter_is(const uint8_t *data, size_t size)
{
    bool request;

    return believable(data, size, &request) == L7_PROBE_YES;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    if (in->l4 == KFL_L4_SCTP) /* its dissector finds it in the chunks */
        return L7_PROBE_NO;
    for (unsigned side = 0; side < 2; side++) {
        bool request = false;
        enum l7_probe found =
            in->size[side] ? believable(in->data[side], in->size[side], &request) : L7_PROBE_NO;

        if (found == L7_PROBE_YES) {
            *ret_swap = request != (side == KFL_CLIENT);
            return found;
        }
        if (found == L7_PROBE_MORE)
            answer = found;
    }
    return answer;
}

/* The first values of these AVPs are members of their own. */
static const struct {
    uint32_t code;
    uint16_t request, response;
} members[] = {
    {263, KFL_FIELD_DIAMETER_REQUEST_SESSION_ID, 0},
    {1, KFL_FIELD_DIAMETER_REQUEST_USER_NAME, 0},
    {264, KFL_FIELD_DIAMETER_REQUEST_ORIGIN_HOST, KFL_FIELD_DIAMETER_RESPONSE_ORIGIN_HOST},
    {296, KFL_FIELD_DIAMETER_REQUEST_ORIGIN_REALM, KFL_FIELD_DIAMETER_RESPONSE_ORIGIN_REALM},
    {293, KFL_FIELD_DIAMETER_REQUEST_DESTINATION_HOST, 0},
    {283, KFL_FIELD_DIAMETER_REQUEST_DESTINATION_REALM, 0},
};

static void text_members(struct fact_tape *tape, const uint8_t *avps, uint32_t size, bool request)
{
    struct cursor c = cursor_of(avps, size), value;
    uint32_t code, vendor;
    unsigned seen = 0;

    while (cursor_left(&c) && read_avp(&c, &code, &vendor, &value))
        for (unsigned i = 0; i < sizeof(members) / sizeof(*members); i++) {
            uint16_t field = request ? members[i].request : members[i].response;

            if (vendor || members[i].code != code || !field || seen & 1u << i)
                continue;
            seen |= 1u << i;
            fact_string(tape, field, value.at, cursor_left(&value));
        }
}

static void result_members(struct fact_tape *tape, const uint8_t *avps, uint32_t size)
{
    struct cursor c = cursor_of(avps, size), value, inner;
    uint32_t code, vendor;

    while (cursor_left(&c) && read_avp(&c, &code, &vendor, &value)) {
        if (!vendor && code == 268)
            fact_int(tape, KFL_FIELD_DIAMETER_RESPONSE_RESULT_CODE, cursor_u32(&value));
        if (vendor || code != 297)
            continue;
        while (cursor_left(&value) && read_avp(&value, &code, &vendor, &inner))
            if (!vendor && code == 298)
                fact_int(tape, KFL_FIELD_DIAMETER_RESPONSE_EXPERIMENTAL_RESULT_CODE,
                         cursor_u32(&inner));
    }
}

static void message(struct l7 *l7, enum kfl_side side, const struct message *m, const uint8_t *avps,
                    uint32_t size)
{
    bool request = m->flags & FLAG_REQUEST;
    enum kfl_side asker = request ? side : side == KFL_CLIENT ? KFL_SERVER : KFL_CLIENT;
    uint64_t key = UINT64_C(1) << 33 | (uint64_t)asker << 32 | m->hop_by_hop;
    struct l7_half *half = l7_half_new(l7, side, key);
    struct fact_tape *tape = l7_tape(l7);
    char number[16];

    text_members(tape, avps, size, request);
    if (request) {
        fact_int(tape, KFL_FIELD_DIAMETER_REQUEST_COMMAND_CODE, m->command);
        fact_text(tape, KFL_FIELD_DIAMETER_REQUEST_METHOD, command_name(m->command, number));
        fact_int(tape, KFL_FIELD_DIAMETER_REQUEST_APPLICATION_ID, m->application);
        fact_int(tape, KFL_FIELD_DIAMETER_REQUEST_HOP_BY_HOP_ID, m->hop_by_hop);
        fact_int(tape, KFL_FIELD_DIAMETER_REQUEST_END_TO_END_ID, m->end_to_end);
        avp_write(tape, KFL_FIELD_DIAMETER_REQUEST_AVPS, split, avps, size);
    } else {
        result_members(tape, avps, size);
        avp_write(tape, KFL_FIELD_DIAMETER_RESPONSE_AVPS, split, avps, size);
    }
    l7_half_add(l7, half);
    l7_half_wire(half, m->length);
    if (request)
        l7_request(l7, half);
    else
        l7_response(l7, half);
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct message m;
    uint32_t shown;

    if (!l7_has(l7, side, size, HEADER))
        return 0;
    if (!read_header(data, size, &m)) {
        l7_give_up(l7, NULL, "not a Diameter header");
        return size;
    }
    shown = l7_message(l7, side, size, m.length, L7_SHOWN_MAX);
    if (!shown)
        return 0;
    message(l7, side, &m, data + HEADER, shown - HEADER);
    return shown;
}

static void gap(struct l7 *l7, enum kfl_side side, uint64_t size, const uint8_t *unused,
                size_t unused_size)
{
    l7_give_up(l7, NULL, "bytes of a Diameter message are missing");
}

static void datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct message m;

    /* An SCTP message may carry several Diameter messages. */
    while (size >= HEADER && read_header(data, size, &m)) {
        uint32_t length = m.length < size ? m.length : (uint32_t)size;

        message(l7, side, &m, data + HEADER, length - HEADER);
        data += length;
        size -= length;
    }
}

const struct dissector dissector_diameter = {
    .proto = KFL_PROTO_DIAMETER,
    .name = "diameter",
    .protos = KFL_PROTO_BIT(DIAMETER),
    .ports = {3868},
    .probe = probe,
    .parse = parse,
    .gap = gap,
    .datagram = datagram,
};
