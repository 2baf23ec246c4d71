/* Kafka over TCP: requests and responses by correlation id, headers of all versions, members of the
 * common APIs by their descriptions in kafka_apis.def. Record batches are passed over, compressed
 * or not. Long messages are read as far as L7_SHOWN_MAX. Source: Kafka protocol guide. */
#include <ctype.h>
#include <string.h>

#include "../cursor.h"
#include "../l7.h"

enum {
    SIZE_MAX_BELIEVED = 128 << 20,
    VERSION_MAX = 20,
    CLIENT_ID_MAX = 255,
    DEPTH_MAX = 8,
    ELEMENTS_MAX = 4096, /* of all arrays in one message */
};

static const struct api {
    const char *name, *request, *response;
    uint8_t flexible; /* first flexible version, 99: none */
} apis[] = {
#define KAFKA_API(key, name, flexible, request, response) \
    [key] = {#name, request, response, flexible},
#include "kafka_apis.def"
#undef KAFKA_API
};

enum { N_APIS = sizeof(apis) / sizeof(*apis), API_PRODUCE = 0, API_VERSIONS = 18 };

struct header {
    uint32_t size; /* of what follows the size */
    uint16_t api, version;
    uint32_t correlation;
};

/* Produce is number 0, and many protocols have zeros there: what it begins with has few values,
 * too. */
static enum l7_probe probe_produce(uint16_t version, struct cursor c)
{
    int16_t id_size = version >= 3 ? (int16_t)cursor_u16(&c) : -1; /* transactional id */
    int16_t acks;
    uint32_t timeout_ms;

    if (version >= 9) /* the header's tags come first, and sizes of another kind */
        return L7_PROBE_YES;
    if (id_size > 0)
        cursor_sub(&c, (size_t)id_size);
    acks = (int16_t)cursor_u16(&c);
    timeout_ms = cursor_u32(&c);
    if (c.short_)
        return L7_PROBE_MORE;
    return acks >= -1 && acks <= 1 && timeout_ms <= 24 * 3600 * 1000 ? L7_PROBE_YES : L7_PROBE_NO;
}

/* A plausible beginning of a request: a known API, a client id of text that fits. */
static enum l7_probe read_header(const uint8_t *data, size_t size, struct header *ret)
{
    struct cursor c = cursor_of(data, size);
    int16_t id_size;

    if (size < 14)
        return L7_PROBE_MORE;
    ret->size = cursor_u32(&c);
    ret->api = cursor_u16(&c);
    ret->version = cursor_u16(&c);
    ret->correlation = cursor_u32(&c);
    id_size = (int16_t)cursor_u16(&c);
    if (ret->size < 10 || ret->size > SIZE_MAX_BELIEVED || ret->api >= N_APIS ||
        ret->version > VERSION_MAX || id_size < -1 || id_size > CLIENT_ID_MAX ||
        (id_size > 0 && (uint32_t)id_size + 10 > ret->size))
        return L7_PROBE_NO;
    for (int16_t i = 0; i < id_size && cursor_left(&c); i++)
        if (iscntrl(cursor_u8(&c))) /* UTF-8 may be in it */
            return L7_PROBE_NO;
    return ret->api == API_PRODUCE ? probe_produce(ret->version, c) : L7_PROBE_YES;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned side = 0; side < 2; side++) {
        struct header header;
        enum l7_probe found =
            in->size[side] ? read_header(in->data[side], in->size[side], &header) : L7_PROBE_NO;

        if (found == L7_PROBE_YES) {
            *ret_swap = side == KFL_SERVER;
            return found;
        }
        /* A response has no more than a size and a number: wait for what the other side says. */
        if (in->size[side] >= 8 && !in->size[!side]) {
            struct cursor c = cursor_of(in->data[side], in->size[side]);
            uint32_t size = cursor_u32(&c);

            if (size >= 4 && size + 4 >= in->size[side] && size <= SIZE_MAX_BELIEVED)
                answer = L7_PROBE_MORE;
        }
        if (found == L7_PROBE_MORE)
            answer = found;
    }
    return answer;
}

/* ---- lengths ---- */
static uint32_t varint(struct cursor *c)
{
    uint32_t value = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = cursor_u8(c);

        value |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    c->short_ = true;
    return 0;
}

static struct cursor string(struct cursor *c, bool flexible)
{
    int64_t size = flexible ? (int64_t)varint(c) - 1 : (int16_t)cursor_u16(c);

    return size > 0 ? cursor_sub(c, (size_t)size) : cursor_of(c->at, 0);
}

static void skip_bytes(struct cursor *c, bool flexible)
{
    int64_t size = flexible ? (int64_t)varint(c) - 1 : (int32_t)cursor_u32(c);

    if (size > 0)
        cursor_sub(c, (size_t)size);
}

static int64_t array_size(struct cursor *c, bool flexible)
{
    return flexible ? (int64_t)varint(c) - 1 : (int32_t)cursor_u32(c);
}

static void skip_tags(struct cursor *c)
{
    for (uint32_t n = varint(c); n && !c->short_; n--) {
        varint(c);
        cursor_sub(c, varint(c));
    }
}

/* ---- members by description ---- */
struct member {
    const char *name;
    size_t name_size;
    char type;
    bool here; /* in this version */
};

/* The next member of a description, or type 0 at its end; '}' ends a structure. */
static const char *next_member(const char *at, uint16_t version, struct member *ret)
{
    unsigned from = 0, to = UINT16_MAX;

    while (*at == ' ')
        at++;
    ret->type = *at;
    if (!*at || *at == '}')
        return *at ? at + 1 : at;
    ret->name = at;
    while (*at != ':')
        at++;
    ret->name_size = (size_t)(at - ret->name);
    ret->type = *++at;
    at++;
    if (*at == '[') {
        for (from = 0, at++; *at != '-'; at++)
            from = from * 10 + (unsigned)(*at - '0');
        at++;
        if (*at != ']')
            for (to = 0; *at != ']'; at++)
                to = to * 10 + (unsigned)(*at - '0');
        at++;
    }
    ret->here = version >= from && version <= to;
    return at;
}

/* Behind the } that ends the structure that begins here. */
static const char *end_of_structure(const char *at)
{
    for (unsigned depth = 1; depth; at++)
        depth += (*at == '{') - (*at == '}');
    return at;
}

struct walk {
    struct fact_tape *tape;
    bool topics; /* write topic names only, as elements of an array */
    uint16_t version;
    bool flexible;
    int64_t error; /* first error code that is not 0 */
    unsigned elements;
};

static void write_int(struct walk *walk, const struct member *m, int64_t value)
{
    if (walk->topics)
        return;
    if (m->name_size)
        fact_key(walk->tape, m->name, m->name_size);
    fact_int(walk->tape, KFL_FIELD_NONE, value);
}

static void write_string(struct walk *walk, const struct member *m, struct cursor text)
{
    if (walk->topics && m->type != 't')
        return;
    if (m->name_size && !walk->topics)
        fact_key(walk->tape, m->name, m->name_size);
    fact_string(walk->tape, KFL_FIELD_NONE, text.at, cursor_left(&text));
}

static void write_array(struct walk *walk, struct cursor *c, const struct member *m)
{
    struct member element = {.type = m->type};
    int64_t n = array_size(c, walk->flexible);

    if (!walk->topics) {
        fact_key(walk->tape, m->name, m->name_size);
        fact_array(walk->tape, KFL_FIELD_NONE);
    }
    for (; n > 0 && !c->short_ && walk->elements; n--, walk->elements--) {
        struct cursor before = *c;

        if (m->type == 'S')
            write_string(walk, &element, string(c, walk->flexible));
        else
            write_int(walk, &element,
                      m->type == 'I' ? (int32_t)cursor_u32(c) : (int64_t)cursor_u64(c));
        if (c->at == before.at)
            break;
    }
    if (!walk->topics)
        fact_end(walk->tape);
}

static void scalar(struct walk *walk, struct cursor *c, const struct member *m)
{
    struct cursor text;
    int64_t value;

    switch (m->type) {
    case 'b':
    case '?':
        write_int(walk, m, (int8_t)cursor_u8(c));
        break;
    case 'h':
    case 'e':
        value = (int16_t)cursor_u16(c);
        if (m->type == 'e' && !walk->error)
            walk->error = value;
        write_int(walk, m, value);
        break;
    case 'i':
        write_int(walk, m, (int32_t)cursor_u32(c));
        break;
    case 'l':
        write_int(walk, m, (int64_t)cursor_u64(c));
        break;
    case 'u':
        text = cursor_sub(c, 16);
        if (!walk->topics) {
            fact_key(walk->tape, m->name, m->name_size);
            fact_hex(walk->tape, KFL_FIELD_NONE, text.at, cursor_left(&text));
        }
        break;
    case 's':
    case 't':
        write_string(walk, m, string(c, walk->flexible));
        break;
    case 'y':
        skip_bytes(c, walk->flexible);
        break;
    default: /* S I L */
        write_array(walk, c, m);
        break;
    }
}

/* Walks a message by its description. Structures nest by an explicit stack; what is cut off ends
 * everything that is open. */
static void walk_members(struct walk *walk, const char *description, struct cursor c)
{
    struct {
        const char *members; /* of a structure, to begin the next element with */
        int64_t left;        /* elements after the present one */
    } open[DEPTH_MAX];
    unsigned depth = 0;
    struct member m;
    const char *at = description;

    while (!c.short_) {
        at = next_member(at, walk->version, &m);
        if (!m.type) {
            break;
        } else if (m.type == '}') {
            if (walk->flexible)
                skip_tags(&c);
            if (!walk->topics)
                fact_end(walk->tape);
            if (open[depth - 1].left && walk->elements) {
                walk->elements--;
                open[depth - 1].left--;
                at = open[depth - 1].members;
                if (!walk->topics)
                    fact_map(walk->tape, KFL_FIELD_NONE);
                continue;
            }
            depth--;
            if (!walk->topics)
                fact_end(walk->tape);
        } else if (m.type == '{') {
            int64_t n = m.here ? array_size(&c, walk->flexible) : 0;

            if (m.here && !walk->topics) {
                fact_key(walk->tape, m.name, m.name_size);
                fact_array(walk->tape, KFL_FIELD_NONE);
            }
            if (n <= 0 || c.short_ || depth == DEPTH_MAX) {
                at = end_of_structure(at);
                if (m.here && !walk->topics)
                    fact_end(walk->tape);
                continue;
            }
            open[depth].members = at;
            open[depth++].left = n - 1;
            if (!walk->topics)
                fact_map(walk->tape, KFL_FIELD_NONE);
        } else if (m.here) {
            scalar(walk, &c, &m);
        }
    }
    for (; depth && !walk->topics; depth--) {
        fact_end(walk->tape);
        fact_end(walk->tape);
    }
}

static int64_t payload(struct fact_tape *tape, enum kfl_field field, const struct api *api,
                       const char *description, uint16_t version, struct cursor c)
{
    struct walk walk = {.tape = tape,
                        .version = version,
                        .flexible = version >= api->flexible,
                        .elements = ELEMENTS_MAX};

    fact_map(tape, field);
    walk_members(&walk, description, c);
    fact_end(tape);
    return walk.error;
}

/* ---- messages ---- */
static void request(struct l7 *l7, enum kfl_side side, const struct header *header, struct cursor c)
{
    struct l7_half *half = l7_half_new(l7, side, UINT64_C(1) << 32 | header->correlation);
    struct fact_tape *tape = l7_tape(l7);
    const struct api *api = &apis[header->api];
    bool flexible = header->version >= api->flexible, answered = true;
    struct cursor id;
    struct walk topics = {.tape = tape,
                          .topics = true,
                          .version = header->version,
                          .flexible = flexible,
                          .elements = ELEMENTS_MAX};

    cursor_sub(&c, 12);
    id = string(&c, false); /* the client id is never compact */
    if (flexible)
        skip_tags(&c);
    fact_int(tape, KFL_FIELD_KAFKA_REQUEST_SIZE, header->size);
    fact_int(tape, KFL_FIELD_KAFKA_REQUEST_API_KEY, header->api);
    fact_text(tape, KFL_FIELD_KAFKA_REQUEST_API_KEY_NAME, api->name);
    fact_int(tape, KFL_FIELD_KAFKA_REQUEST_API_VERSION, header->version);
    fact_int(tape, KFL_FIELD_KAFKA_REQUEST_CORRELATION_ID, (int32_t)header->correlation);
    fact_string(tape, KFL_FIELD_KAFKA_REQUEST_CLIENT_ID, id.at, cursor_left(&id));
    if (header->api == API_PRODUCE) { /* acks = 0: nobody answers */
        struct cursor acks = c;

        if (header->version >= 3)
            string(&acks, flexible);
        answered = cursor_u16(&acks) != 0 || acks.short_;
    }
    if (fact_wanted(tape, KFL_FIELD_KAFKA_REQUEST_TOPICS)) {
        fact_array(tape, KFL_FIELD_KAFKA_REQUEST_TOPICS);
        walk_members(&topics, api->request, c);
        fact_end(tape);
    }
    if (fact_wanted(tape, KFL_FIELD_KAFKA_REQUEST_PAYLOAD))
        payload(tape, KFL_FIELD_KAFKA_REQUEST_PAYLOAD, api, api->request, header->version, c);
    l7_half_add(l7, half);
    l7_half_wire(half, header->size + 4);
    l7_half_set_user(half, (uint64_t)header->api << 16 | header->version);
    if (answered)
        l7_request(l7, half);
    else
        l7_single(l7, half);
}

static void response(struct l7 *l7, enum kfl_side side, uint32_t size, struct cursor c)
{
    uint32_t correlation;
    struct l7_half *half, *waiting;
    struct fact_tape *tape;

    cursor_u32(&c);
    correlation = cursor_u32(&c);
    waiting = l7_pending(l7, UINT64_C(1) << 32 | correlation);
    half = l7_half_new(l7, side, UINT64_C(1) << 32 | correlation);
    tape = l7_tape(l7);
    fact_int(tape, KFL_FIELD_KAFKA_RESPONSE_SIZE, size);
    fact_int(tape, KFL_FIELD_KAFKA_RESPONSE_CORRELATION_ID, (int32_t)correlation);
    if (waiting && (fact_wanted(tape, KFL_FIELD_KAFKA_RESPONSE_PAYLOAD) ||
                    fact_wanted(tape, KFL_FIELD_KAFKA_RESPONSE_ERROR_CODE))) {
        uint16_t key = (uint16_t)(l7_half_user(waiting) >> 16);
        uint16_t version = (uint16_t)l7_half_user(waiting);
        const struct api *api = &apis[key];

        if (version >= api->flexible && key != API_VERSIONS)
            skip_tags(&c);
        fact_int(tape, KFL_FIELD_KAFKA_RESPONSE_ERROR_CODE,
                 payload(tape, KFL_FIELD_KAFKA_RESPONSE_PAYLOAD, api, api->response, version, c));
    }
    l7_half_add(l7, half);
    l7_half_wire(half, size + 4);
    l7_response(l7, half);
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct header header;
    struct cursor c = cursor_of(data, size);
    uint32_t whole, shown;

    if (!l7_has(l7, side, size, 8))
        return 0;
    whole = cursor_u32(&c);
    if (whole < 4 || whole > SIZE_MAX_BELIEVED) {
        l7_give_up(l7, NULL, "not the size of a Kafka message");
        return size;
    }
    whole += 4;
    shown = l7_message(l7, side, size, whole, L7_SHOWN_MAX);
    if (!shown)
        return 0;
    if (side == KFL_SERVER) {
        response(l7, side, whole - 4, cursor_of(data, shown));
    } else if (read_header(data, shown, &header) == L7_PROBE_YES) {
        request(l7, side, &header, cursor_of(data, shown));
    } else {
        l7_give_up(l7, NULL, "not a Kafka request");
        return size;
    }
    return shown;
}

const struct dissector dissector_kafka = {
    .proto = KFL_PROTO_KAFKA,
    .name = "kafka",
    .protos = KFL_PROTO_BIT(KAFKA),
    .ports = {9092},
    .probe = probe,
    .parse = parse,
};
