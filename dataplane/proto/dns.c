/* dns.c - DNS (RFC 1035, 6891, 2136, 1996) over UDP and TCP, and what has its form: mDNS (RFC 6762)
 * and LLMNR (RFC 4795).
 *
 * A query and its answer are paired by their id, and by their first question where both have one.
 * A query that comes again while it waits is a retransmission. Over TCP one answer can be many
 * messages (a zone transfer): those after the first make no entries. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#include "../cursor.h"
#include "../l7.h"

enum {
    HEADER = 12,
    DNS_NAME_MAX = 255,
    JUMPS_MAX = 64, /* compression pointers in one name */
    RECORDS_MAX = 2048,
    SHOWN_MAX = 512,   /* records of a section that are written */
    STEPS_MAX = 20000, /* labels looked at in one message */
    TXT_MAX = 4096,
    FLAG_RESPONSE = 0x8000,
    FLAG_AUTHORITATIVE = 0x0400,
    FLAG_TRUNCATED = 0x0200,
    FLAG_RECURSION_DESIRED = 0x0100,
    FLAG_RECURSION_AVAILABLE = 0x0080,
    TYPE_A = 1,
    TYPE_NS = 2,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_PTR = 12,
    TYPE_MX = 15,
    TYPE_TXT = 16,
    TYPE_AAAA = 28,
    TYPE_NB = 32,
    TYPE_SRV = 33,
    TYPE_OPT = 41,
    TYPE_SPF = 99,
    OPCODE_QUERY = 0,
    OPCODE_INVERSE = 1,
    OPCODE_NOTIFY = 4,
    OPCODE_UPDATE = 5,
};

struct dns {           /* state of a stream */
    uint16_t answered; /* TCP: id of the last answer */
    bool any_answered;
};

struct message {
    const uint8_t *data;
    size_t size;
    uint16_t id, flags, count[4]; /* questions, answers, authorities, additionals */
    uint16_t rcode;               /* with the extension in OPT */
    uint32_t question_hash;       /* of the first question; 0: none */
    uint32_t steps;               /* labels that may still be looked at */
    bool netbios;                 /* NetBIOS name service, which has the same form */
    bool whole;                   /* everything it announces is there */
};

struct record {
    char name[DNS_NAME_MAX * 2];
    size_t name_size;
    uint16_t type, class;
    uint32_t ttl;
    struct cursor data;
};

struct record_fields {
    enum kfl_field array, name, type, class, ttl, ip, cname, ns, ptr, mx, txts, srv, soa;
};

#define RECORD_FIELDS(section)                                                                 \
    {                                                                                          \
        KFL_FIELD_DNS_RESPONSE_##section, KFL_FIELD_DNS_RESPONSE_##section##_NAME,             \
            KFL_FIELD_DNS_RESPONSE_##section##_TYPE, KFL_FIELD_DNS_RESPONSE_##section##_CLASS, \
            KFL_FIELD_DNS_RESPONSE_##section##_TTL, KFL_FIELD_DNS_RESPONSE_##section##_IP,     \
            KFL_FIELD_DNS_RESPONSE_##section##_CNAME, KFL_FIELD_DNS_RESPONSE_##section##_NS,   \
            KFL_FIELD_DNS_RESPONSE_##section##_PTR, KFL_FIELD_DNS_RESPONSE_##section##_MX,     \
            KFL_FIELD_DNS_RESPONSE_##section##_TXTS, KFL_FIELD_DNS_RESPONSE_##section##_SRV,   \
            KFL_FIELD_DNS_RESPONSE_##section##_SOA                                             \
    }
static const struct record_fields record_fields[] = {
    RECORD_FIELDS(ANSWERS),
    RECORD_FIELDS(AUTHORITIES),
    RECORD_FIELDS(ADDITIONALS),
};

static enum l7_probe dns_probe(const struct l7_probe_input *input, bool *ret_swap);
static size_t dns_parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void dns_datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);

static bool plausible(const uint8_t *data, size_t size, bool known_port, struct message *message);
static bool message_read(struct message *message, const uint8_t *data, size_t size);
static bool is_netbios(const struct record *record);
static bool question_read(struct message *message, struct cursor *c, struct record *record);
static bool record_read(struct message *message, struct cursor *c, struct record *record);
static bool name_read(struct message *message, struct cursor *c, char *to, size_t *ret_size);
static void message_entry(struct l7 *l7, struct message *message, size_t wire, bool tcp);
static void request_facts(struct fact_tape *tape, struct message *message);
static void response_facts(struct fact_tape *tape, struct message *message);
static void record_facts(struct fact_tape *tape, const struct record_fields *fields,
                         struct message *message, struct record *record);
static void data_facts(struct fact_tape *tape, const struct record_fields *fields,
                       struct message *message, struct record *record);
static void txt_facts(struct fact_tape *tape, enum kfl_field field, struct cursor data);
static void type_fact(struct fact_tape *tape, enum kfl_field field, uint16_t type);
static void class_fact(struct fact_tape *tape, enum kfl_field field, uint16_t class);
static const char *rcode_text(uint16_t rcode, bool description);

const struct dissector dissector_dns = {
    .proto = KFL_PROTO_DNS,
    .name = "dns",
    .state_size = sizeof(struct dns),
    .protos = KFL_PROTO_BIT(DNS),
    .ports = {53, 5353, 5355},
    .probe = dns_probe,
    .parse = dns_parse,
    .datagram = dns_datagram,
};

static bool is_dns_port(uint16_t port)
{
    return port == 53 || port == 5353 || port == 5355;
}

static enum l7_probe dns_probe(const struct l7_probe_input *input, bool *ret_swap)
{
    bool known_port = is_dns_port(input->port[0]) || is_dns_port(input->port[1]);
    bool more = false;

    for (int i = 0; i < 2; i++) {
        const uint8_t *data = input->data[i];
        size_t size = input->size[i];
        struct message message;

        if (!size)
            continue;
        if (input->l4 == KFL_L4_TCP) {
            size_t length;

            if (size >= 2 && (data[0] << 8 | data[1]) < HEADER)
                return L7_PROBE_NO;
            if (size >= 6 && ((data[4] >> 3 & 15) > OPCODE_UPDATE || data[5] & 0x40))
                return L7_PROBE_NO;
            if (size < 2 + HEADER) {
                more = true;
                continue;
            }
            length = (size_t)(data[0] << 8 | data[1]);
            if (size < 2 + length) { /* long answers: the beginning has to do */
                struct message begin;

                if (data[6] || data[7] > 4 ||
                    (size >= 2 + HEADER + DNS_NAME_MAX + 4 &&
                     !message_read(&begin, data + 2, size - 2)))
                    return L7_PROBE_NO;
                more = true;
                continue;
            }
            data += 2;
            size = length;
        }
        if (!plausible(data, size, known_port, &message))
            return L7_PROBE_NO;
        *ret_swap = (message.flags & FLAG_RESPONSE ? KFL_SERVER : KFL_CLIENT) != i;
        return L7_PROBE_YES;
    }
    return more || (!input->size[0] && !input->size[1]) ? L7_PROBE_MORE : L7_PROBE_NO;
}

static size_t dns_parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct message message;
    size_t length;

    (void)side;
    if (size < 2) {
        if (size)
            l7_need(l7, side, 2);
        return 0;
    }
    length = (size_t)(data[0] << 8 | data[1]);
    if (size < 2 + length) {
        l7_need(l7, side, length + 2 > L7_BUFFER_MAX ? L7_BUFFER_MAX : length + 2);
        return 0;
    }
    if (!message_read(&message, data + 2, length)) {
        l7_give_up(l7, NULL, "no DNS message");
        return 0;
    }
    message_entry(l7, &message, length + 2, true);
    return length + 2;
}

static void dns_datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct message message;

    (void)side; /* over UDP either side may ask (mDNS): the message says what it is */
    if (message_read(&message, data, size))
        message_entry(l7, &message, size, false);
}

/* ---- reading ---- */

/* Is this a message that no other protocol's bytes look like? */
static bool plausible(const uint8_t *data, size_t size, bool known_port, struct message *message)
{
    bool response, update;
    unsigned opcode;

    if (!message_read(message, data, size) || message->netbios)
        return false;
    response = message->flags & FLAG_RESPONSE;
    opcode = message->flags >> 11 & 15;
    update = opcode == OPCODE_UPDATE || opcode == OPCODE_NOTIFY || opcode == OPCODE_INVERSE;
    if (opcode > OPCODE_UPDATE || opcode == 3 || message->flags & 0x40)
        return false;
    if (!message->count[0] && !message->count[1])
        return known_port && response; /* an error without anything */
    if (known_port)
        return message->whole || message->question_hash;
    if (!message->whole && !(message->flags & FLAG_TRUNCATED))
        return false;
    if (!response && !update && (message->flags & 15 || message->count[1] || message->count[2]))
        return false;
    return message->count[0] == 1;
}

/* The header, and whether the rest is there. -> false: it cannot be one */
static bool message_read(struct message *message, const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    struct record record;
    unsigned n_records;

    *message = (struct message){.data = data, .size = size, .steps = STEPS_MAX};
    message->id = cursor_u16(&c);
    message->flags = cursor_u16(&c);
    for (int i = 0; i < 4; i++)
        message->count[i] = cursor_u16(&c);
    message->rcode = message->flags & 15;
    n_records = message->count[1] + message->count[2] + message->count[3];
    if (c.short_ || n_records > RECORDS_MAX || message->count[0] > 64)
        return false;
    for (unsigned i = 0; i < message->count[0]; i++) {
        if (!question_read(message, &c, &record))
            return i > 0;
        message->netbios |= is_netbios(&record);
        if (i == 0) {
            uint32_t hash = record.type * 31u + record.class;

            for (size_t k = 0; k < record.name_size; k++)
                hash = hash * 31 + (uint32_t)tolower((unsigned char)record.name[k]);
            message->question_hash = hash | 1;
        }
    }
    for (unsigned i = 0; i < n_records; i++) {
        if (!record_read(message, &c, &record))
            return message->count[0] || i;
        message->netbios |= is_netbios(&record);
        if (record.type == TYPE_OPT)
            message->rcode = (uint16_t)(message->rcode | record.ttl >> 24 << 4);
    }
    message->whole = true;
    return true;
}

/* NB and NBSTAT (RFC 1002): 16 bytes as letters from A to P. */
static bool is_netbios(const struct record *record)
{
    if ((record->type != TYPE_NB && record->type != TYPE_SRV) || record->name_size < 32 ||
        (record->name_size > 32 && record->name[32] != '.'))
        return false;
    for (int i = 0; i < 32; i++)
        if (record->name[i] < 'A' || record->name[i] > 'P')
            return false;
    return true;
}

static bool question_read(struct message *message, struct cursor *c, struct record *record)
{
    if (!name_read(message, c, record->name, &record->name_size))
        return false;
    record->type = cursor_u16(c);
    record->class = cursor_u16(c);
    return !c->short_;
}

static bool record_read(struct message *message, struct cursor *c, struct record *record)
{
    uint16_t size;

    if (!question_read(message, c, record))
        return false;
    record->ttl = cursor_u32(c);
    size = cursor_u16(c);
    record->data = cursor_sub(c, size);
    return !c->short_;
}

/* A name, with its compression undone; the cursor goes behind what stands at it. Pointers lead only
 * backwards, and so many of them in a message. */
static bool name_read(struct message *message, struct cursor *c, char *to, size_t *ret_size)
{
    struct cursor at = *c;
    const uint8_t *lowest = c->at;
    bool jumped = false;
    unsigned n_jumps = 0;
    size_t n = 0;

    for (;;) {
        uint8_t length = cursor_u8(&at);
        const uint8_t *label;

        if (at.short_ || !message->steps)
            return false;
        message->steps--;
        if (length >= 0xc0) {
            size_t offset = (size_t)(length & 0x3f) << 8 | cursor_u8(&at);

            if (!jumped)
                c->at = at.at;
            jumped = true;
            if (at.short_ || message->data + offset >= lowest || ++n_jumps > JUMPS_MAX)
                return false;
            lowest = message->data + offset;
            at = cursor_of(lowest, message->size - offset);
            continue;
        }
        if (length > 63)
            return false;
        if (!length)
            break;
        label = cursor_bytes(&at, length);
        if (!label || n + length + 1 > DNS_NAME_MAX)
            return false;
        if (n)
            to[n++] = '.';
        memcpy(to + n, label, length);
        n += length;
    }
    if (!jumped)
        c->at = at.at;
    *ret_size = n;
    return true;
}

/* ---- entries ---- */

static void message_entry(struct l7 *l7, struct message *message, size_t wire, bool tcp)
{
    struct dns *dns = l7_state(l7);
    bool response = message->flags & FLAG_RESPONSE;
    uint64_t key = message->id + 1u;
    struct l7_half *waiting = l7_pending(l7, key), *half;
    struct fact_tape *tape;

    if (waiting && message->question_hash && l7_half_user(waiting) &&
        l7_half_user(waiting) != message->question_hash)
        waiting = NULL;
    if (!response && waiting)
        return; /* asked again */
    if (response && !waiting && tcp && dns->any_answered && dns->answered == message->id)
        return; /* a further part of an answer */
    half = l7_half_new(l7, response ? KFL_SERVER : KFL_CLIENT, key);
    l7_half_wire(half, wire);
    l7_half_set_user(half, message->question_hash);
    tape = l7_tape(l7);
    if (!response) {
        request_facts(tape, message);
        l7_half_add(l7, half);
        l7_request(l7, half);
        return;
    }
    response_facts(tape, message);
    l7_half_add(l7, half);
    dns->answered = message->id;
    dns->any_answered = true;
    if (waiting) {
        l7_response(l7, half);
    } else if (message->count[0]) { /* the question is known from the answer */
        struct l7_half *request = l7_half_new(l7, KFL_CLIENT, key);

        tape = l7_tape(l7);
        request_facts(tape, message);
        l7_half_add(l7, request);
        l7_half_error(half, KFL_ERROR_PAIR_NOT_FOUND, "query not seen");
        l7_entry(l7, request, half);
    } else {
        l7_entry(l7, NULL, half);
    }
}

static void request_facts(struct fact_tape *tape, struct message *message)
{
    static const char *const opcodes[] = {"Query", "Inverse Query", "Status",
                                          "",      "Notify",        "Update"};
    struct cursor c = cursor_of(message->data + HEADER, message->size - HEADER);
    unsigned opcode = message->flags >> 11 & 15;
    struct record record;
    char text[16];

    fact_int(tape, KFL_FIELD_DNS_REQUEST_ID, message->id);
    if (opcode < sizeof(opcodes) / sizeof(opcodes[0]) && opcodes[opcode][0]) {
        fact_text(tape, KFL_FIELD_DNS_REQUEST_OP_CODE, opcodes[opcode]);
    } else {
        snprintf(text, sizeof(text), "OPCODE%u", opcode);
        fact_text(tape, KFL_FIELD_DNS_REQUEST_OP_CODE, text);
    }
    fact_bool(tape, KFL_FIELD_DNS_REQUEST_RECURSION_DESIRED,
              message->flags & FLAG_RECURSION_DESIRED);
    if (!fact_wanted(tape, KFL_FIELD_DNS_REQUEST_QUESTIONS))
        return;
    fact_array(tape, KFL_FIELD_DNS_REQUEST_QUESTIONS);
    message->steps = STEPS_MAX;
    for (unsigned i = 0; i < message->count[0] && question_read(message, &c, &record); i++) {
        fact_object(tape, KFL_FIELD_NONE);
        fact_string(tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_NAME, record.name, record.name_size);
        type_fact(tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_TYPE, record.type);
        class_fact(tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_CLASS, record.class);
        fact_end(tape);
    }
    fact_end(tape);
}

static void response_facts(struct fact_tape *tape, struct message *message)
{
    struct cursor c = cursor_of(message->data + HEADER, message->size - HEADER);
    struct record record;

    fact_text(tape, KFL_FIELD_DNS_RESPONSE_CODE, rcode_text(message->rcode, true));
    fact_int(tape, KFL_FIELD_DNS_RESPONSE_RCODE, message->rcode);
    fact_text(tape, KFL_FIELD_DNS_RESPONSE_RCODE_NAME, rcode_text(message->rcode, false));
    fact_bool(tape, KFL_FIELD_DNS_RESPONSE_AUTHORITATIVE, message->flags & FLAG_AUTHORITATIVE);
    fact_bool(tape, KFL_FIELD_DNS_RESPONSE_TRUNCATED, message->flags & FLAG_TRUNCATED);
    fact_bool(tape, KFL_FIELD_DNS_RESPONSE_RECURSION_AVAILABLE,
              message->flags & FLAG_RECURSION_AVAILABLE);
    if (!fact_wanted(tape, KFL_FIELD_DNS_RESPONSE_ANSWERS) &&
        !fact_wanted(tape, KFL_FIELD_DNS_RESPONSE_AUTHORITIES) &&
        !fact_wanted(tape, KFL_FIELD_DNS_RESPONSE_ADDITIONALS))
        return;
    message->steps = STEPS_MAX;
    for (unsigned i = 0; i < message->count[0]; i++)
        if (!question_read(message, &c, &record))
            return;
    for (unsigned section = 0; section < 3; section++) {
        const struct record_fields *fields = &record_fields[section];
        bool whole = true;

        fact_array(tape, fields->array);
        for (unsigned i = 0; i < message->count[section + 1] && whole; i++) {
            whole = record_read(message, &c, &record);
            if (whole && i < SHOWN_MAX && fact_wanted(tape, fields->array))
                record_facts(tape, fields, message, &record);
        }
        fact_end(tape);
        if (!whole)
            return;
    }
}

static void record_facts(struct fact_tape *tape, const struct record_fields *fields,
                         struct message *message, struct record *record)
{
    fact_object(tape, KFL_FIELD_NONE);
    fact_string(tape, fields->name, record->name, record->name_size);
    type_fact(tape, fields->type, record->type);
    class_fact(tape, fields->class, record->class);
    fact_int(tape, fields->ttl, record->ttl);
    data_facts(tape, fields, message, record);
    fact_end(tape);
}

static void data_facts(struct fact_tape *tape, const struct record_fields *fields,
                       struct message *message, struct record *record)
{
    struct cursor c = record->data;
    char text[DNS_NAME_MAX * 2 + 80], name[DNS_NAME_MAX * 2], second[DNS_NAME_MAX * 2];
    size_t n = 0, n2 = 0;
    unsigned number[5];

    switch (record->type) {
    case TYPE_A:
    case TYPE_AAAA:
        if (cursor_left(&c) != (record->type == TYPE_A ? 4 : 16))
            return;
        inet_ntop(record->type == TYPE_A ? AF_INET : AF_INET6, c.at, text, sizeof(text));
        fact_text(tape, fields->ip, text);
        return;
    case TYPE_NS:
    case TYPE_CNAME:
    case TYPE_PTR:
        if (name_read(message, &c, name, &n))
            fact_string(tape,
                        record->type == TYPE_NS      ? fields->ns
                        : record->type == TYPE_CNAME ? fields->cname
                                                     : fields->ptr,
                        name, n);
        return;
    case TYPE_MX:
        number[0] = cursor_u16(&c);
        if (name_read(message, &c, name, &n))
            fact_string(tape, fields->mx, text,
                        (size_t)snprintf(text, sizeof(text), "%u %.*s", number[0], (int)n, name));
        return;
    case TYPE_SRV:
        for (int i = 0; i < 3; i++)
            number[i] = cursor_u16(&c);
        if (name_read(message, &c, name, &n))
            fact_string(tape, fields->srv, text,
                        (size_t)snprintf(text, sizeof(text), "%u %u %u %.*s", number[0], number[1],
                                         number[2], (int)n, name));
        return;
    case TYPE_SOA: {
        char soa[DNS_NAME_MAX * 4 + 80];

        if (!name_read(message, &c, name, &n) || !name_read(message, &c, second, &n2))
            return;
        for (int i = 0; i < 5; i++)
            number[i] = cursor_u32(&c);
        if (!c.short_)
            fact_string(tape, fields->soa, soa,
                        (size_t)snprintf(soa, sizeof(soa), "%.*s %.*s %u %u %u %u %u", (int)n, name,
                                         (int)n2, second, number[0], number[1], number[2],
                                         number[3], number[4]));
        return;
    }
    case TYPE_TXT:
    case TYPE_SPF:
        txt_facts(tape, fields->txts, c);
        return;
    default:
        return;
    }
}

/* The strings, joined with a space. */
static void txt_facts(struct fact_tape *tape, enum kfl_field field, struct cursor data)
{
    char text[TXT_MAX];
    size_t n = 0;

    while (cursor_left(&data)) {
        uint8_t size = cursor_u8(&data);
        const uint8_t *string = cursor_bytes(&data, size);

        if (!string || n + size + 1 > sizeof(text))
            break;
        if (n)
            text[n++] = ' ';
        memcpy(text + n, string, size);
        n += size;
    }
    fact_string(tape, field, text, n);
}

static void type_fact(struct fact_tape *tape, enum kfl_field field, uint16_t type)
{
    char text[16];

    switch (type) {
#define TYPE(number, name)            \
    case number:                      \
        fact_text(tape, field, name); \
        return;
#include "dns_words.def"
    default:
        snprintf(text, sizeof(text), "TYPE%u", type);
        fact_text(tape, field, text);
    }
}

/* The top bit is a flag of mDNS; classes that have it are not assigned. */
static void class_fact(struct fact_tape *tape, enum kfl_field field, uint16_t class)
{
    char text[16];

    switch (class & 0x7fff) {
    case 1:
        fact_text(tape, field, "IN");
        return;
    case 3:
        fact_text(tape, field, "CH");
        return;
    case 4:
        fact_text(tape, field, "HS");
        return;
    case 255:
        fact_text(tape, field, "Any");
        return;
    default:
        snprintf(text, sizeof(text), "CLASS%u", class);
        fact_text(tape, field, text);
    }
}

static const char *rcode_text(uint16_t rcode, bool description)
{
    switch (rcode) {
#define RCODE(number, name, text) \
    case number:                  \
        return description ? text : name;
#include "dns_words.def"
    default:
        return description ? "Unassigned" : "RESERVED";
    }
}
