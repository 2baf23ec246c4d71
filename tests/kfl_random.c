#include "kfl_random.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../kfl-jit/plan.h"

static const char *const texts[] = {
    "",
    "GET",
    "a",
    "/api/v1",
    "/api",
    "0",
    "5",
    "500",
    "5.0",
    "true",
    "null",
    "10.0.0.7",
    "abc",
    "{\"k\":5,\"l\":[\"a\",500]}",
    "example.com",
    "-3",
    "A",
    "eyJrIjo1fQ==",
    "1e2",
    "node",
    "nan",
};
static const char *const keys[] = {"a", "Host", "k", "User-Agent", "n", "groupId"};
static const char *const patterns[] = {"^a",          "5..",           "api",       "com$",
                                       "^$",          "[0-9]+",        "(?i)GET",   "b|c",
                                       "(api|com)/?", "(?i)EXAM?PLE.", "(?s)k.*00", "^/api(/|$)"};
static const int64_t ints[] = {0, 1, 5, 500, -3, 80, 42, 100};
static const char *const addresses[] = {"10.0.0.7", "10.0.0.1", "2001:db8::7", "::ffff:10.0.0.7"};

struct writer {
    struct kfl_random *random;
    char *text;
    size_t size, used;
};

static void put(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put_logic(struct writer *writer, unsigned depth);
static void put_operand(struct writer *writer, unsigned depth);
static void put_comparison(struct writer *writer, unsigned depth);
static void put_path(struct writer *writer);
static void put_literal(struct writer *writer);
static void fill_side(struct kfl_random *random, struct fact_tape *tape, enum kfl_proto proto,
                      const char *inside);
static void fill_row(struct kfl_random *random, struct fact_tape *tape, enum kfl_proto proto,
                     enum kfl_field field);
static void fill_map(struct kfl_random *random, struct fact_tape *tape, enum kfl_field field);
static const char *pick_text(struct kfl_random *random);

#define PICK(random, array) array[kfl_random_below(random, sizeof array / sizeof *array)]

uint32_t kfl_random_below(struct kfl_random *random, uint32_t n)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

size_t kfl_random_statement(struct kfl_random *random, char *text, size_t size)
{
    struct writer writer = {random, text, size, 0};

    put_logic(&writer, 1 + kfl_random_below(random, 3));
    return writer.used;
}

void kfl_random_entry(struct kfl_random *random, struct kfl_random_entry *ret)
{
    static const struct kfl_capture capture = {"file", "eth0", "10.0.0.99", "node"};
    static const char *const names[] = {"", "node", "abc"};
    static const uint16_t ports[] = {80, 5, 500, 53, 0, 40112};
    enum kfl_proto proto = kfl_random_below(random, KFL_PROTO_COUNT);
    uint8_t l4 = kfl_proto_info[proto].layer4;
    bool is_l4 = KFL_PROTOS_L4 >> proto & 1;

    while (l4 & (l4 - 1)) /* one of its transports */
        l4 = kfl_random_below(random, 2) ? (uint8_t)(l4 & (l4 - 1)) : (uint8_t)(l4 & -l4);
    memset(&ret->stream, 0, sizeof ret->stream);
    memset(&ret->entry, 0, sizeof ret->entry);
    memset(ret->half, 0, sizeof ret->half);
    ret->stream = (struct kfl_stream){
        .number = kfl_random_below(random, 6),
        .first_ns = UINT64_C(1767323044998000000),
        .last_ns = UINT64_C(1767323044998000000) + kfl_random_below(random, 600) * 1000000u,
        .capture = &capture,
        .tunnel_id = kfl_random_below(random, 2) * 500,
        .vlan = {(uint16_t)PICK(random, ports), 0},
        .tunnel = (uint8_t)kfl_random_below(random, KFL_TUNNEL_COUNT),
        .ip_version = kfl_random_below(random, 2) ? 4 : 6,
        .l4 = l4,
        .ip_protocol = l4 == KFL_L4_OTHER ? 5 : 6,
        .has_ports = l4 <= KFL_L4_SCTP,
        .has_mac = kfl_random_below(random, 2),
        .syn_seen = kfl_random_below(random, 2),
        .oriented = true,
        .protos = UINT32_C(1) << (unsigned)proto,
        .l7 = is_l4 ? 0 : UINT32_C(1) << (unsigned)proto,
        .detection = is_l4 ? KFL_DETECTION_NONE : KFL_DETECTION_FOUND,
        .ended = true,
        .state = (uint8_t)kfl_random_below(random, KFL_STATE_COUNT),
        .tcp_flags = (uint8_t)kfl_random_below(random, 256),
        .packets = {kfl_random_below(random, 600), kfl_random_below(random, 6)},
        .bytes = {kfl_random_below(random, 600), kfl_random_below(random, 600)},
        .record = "",
    };
    for (unsigned side = 0; side < 2; side++) {
        struct kfl_endpoint *end = &ret->stream.end[side];

        if (ret->stream.ip_version == 4 || !kfl_random_below(random, 4))
            memcpy(end->addr, (uint8_t[16]){[10] = 0xff, [11] = 0xff, [12] = 10}, 16);
        else
            memcpy(end->addr, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb8}, 16);
        end->addr[15] = kfl_random_below(random, 2) ? 7 : 1;
        end->port = ret->stream.has_ports ? PICK(random, ports) : 0;
        end->name = PICK(random, names);
        end->namespace = PICK(random, names);
    }
    ret->entry = (struct kfl_entry){
        .stream = &ret->stream,
        .proto = proto,
        .index = kfl_random_below(random, 6),
        .tls = proto == KFL_PROTO_TLS,
        .version = *kfl_proto_info[proto].version ? kfl_proto_info[proto].version : "5",
        .error_msg = "",
    };
    if (kfl_random_below(random, 3) == 0) {
        ret->entry.error = (enum kfl_error_type)(1 + kfl_random_below(random, KFL_ERROR_COUNT - 1));
        ret->entry.error_msg = pick_text(random);
    }
    for (unsigned side = 0; side < 2; side++) {
        struct kfl_half *half = &ret->half[side];
        struct fact_tape tape;

        fact_tape_init(&tape, ret->facts[side], sizeof ret->facts[side], &kfl_demand_all);
        fill_side(random, &tape, proto, side == KFL_CLIENT ? "request" : "response");
        half->facts = tape.base;
        half->facts_size = tape.size;
        half->wire_size = kfl_random_below(random, 600);
        half->first_ns = ret->stream.first_ns + kfl_random_below(random, 600) * 10000u;
        half->last_ns = half->first_ns + kfl_random_below(random, 600) * 10000u;
    }
    if (is_l4 || kfl_random_below(random, 6))
        ret->entry.request = &ret->half[KFL_CLIENT];
    if (is_l4 || !ret->entry.request || kfl_random_below(random, 4))
        ret->entry.response = &ret->half[KFL_SERVER];
}

/* ---- statements ---- */

static void put(struct writer *writer, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(writer->text + writer->used, writer->size - writer->used, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < writer->size - writer->used)
        writer->used += (size_t)n;
}

static void put_logic(struct writer *writer, unsigned depth)
{
    unsigned n = kfl_random_below(writer->random, 3);

    put_operand(writer, depth);
    while (n-- > 0) {
        put(writer, kfl_random_below(writer->random, 2) ? " and " : " or ");
        put_operand(writer, depth);
    }
}

static void put_operand(struct writer *writer, unsigned depth)
{
    static const char *const macros[] = {"http",  "dns",   "redis", "tcp",   "udp",  "tls",
                                         "error", "mysql", "http2", "kafka", "true", "false"};

    switch (kfl_random_below(writer->random, 10)) {
    case 0:
        put(writer, "!");
        put_operand(writer, depth);
        break;
    case 1:
    case 2:
        if (depth) {
            put(writer, "(");
            put_logic(writer, depth - 1);
            put(writer, ")");
            break;
        }
        /* fall through */
    case 3:
        put(writer, "%s", PICK(writer->random, macros));
        break;
    case 4:
        put_path(writer);
        put(writer, ".%s(\"%s\")",
            (const char *[]){"startsWith", "endsWith",
                             "contains"}[kfl_random_below(writer->random, 3)],
            (const char *[]){"a", "5", "/api", "", "com",
                             "10.0."}[kfl_random_below(writer->random, 6)]);
        break;
    case 5:
        put_path(writer);
        break;
    default:
        put_comparison(writer, depth);
        break;
    }
}

static void put_comparison(struct writer *writer, unsigned depth)
{
    static const char *const operators[] = {
        " == ", " == ", " == ", " != ", " < ", " <= ", " > ", " >= "};

    if (kfl_random_below(writer->random, 20) == 0)
        put(writer, "-");
    switch (kfl_random_below(writer->random, 12)) {
    case 0:
        put_literal(writer);
        put(writer, "%s", PICK(writer->random, operators));
        put_path(writer);
        return;
    case 1:
        put_path(writer);
        put(writer, "%s", PICK(writer->random, operators));
        put_path(writer);
        return;
    case 2:
        put_path(writer);
        put(writer, ".json().k%s", PICK(writer->random, operators));
        break;
    case 3:
        put(writer, "(");
        put_logic(writer, depth ? depth - 1 : 0);
        put(writer, ")%s", PICK(writer->random, operators));
        break;
    default:
        put_path(writer);
        put(writer, "%s", PICK(writer->random, operators));
        break;
    }
    put_literal(writer);
}

/* A row's path, with steps into what it holds; now and then one that leads nowhere. */
static void put_path(struct writer *writer)
{
    enum kfl_field field = 1 + kfl_random_below(writer->random, KFL_FIELD_COUNT - 1);
    const struct kfl_field_info *info;

    /* Rows that every entry has, and those of common protocols, more often. */
    if (kfl_random_below(writer->random, 2))
        field = 1 + kfl_random_below(writer->random, KFL_FIELD_HTTP_REQUEST_STREAM_ID);
    info = &kfl_field_info[field];
    for (const char *at = info->path; *at; at++) {
        if (at[0] == '[' && at[1] == ']') {
            static const char *const steps[] = {"[0]", "[1]", "[*]", ".*"};

            put(writer, "%s", PICK(writer->random, steps));
            at++;
        } else {
            put(writer, "%c", *at);
        }
    }
    if (info->type == KFL_TYPE_MAP && kfl_random_below(writer->random, 8))
        put(writer, "[\"%s\"]", PICK(writer->random, keys));
    else if (info->type >= KFL_TYPE_STRINGS && info->type <= KFL_TYPE_ARRAY &&
             kfl_random_below(writer->random, 2))
        put(writer, "[%u]", kfl_random_below(writer->random, 3));
    switch (kfl_random_below(writer->random, 40)) {
    case 0:
        put(writer, ".nothing");
        break;
    case 1:
        put(writer, "[*]");
        break;
    case 2:
        put(writer, "..a");
        break;
    case 3:
        put(writer, "[0]");
        break;
    default:
        break;
    }
}

static void put_literal(struct writer *writer)
{
    switch (kfl_random_below(writer->random, 8)) {
    case 0:
        put(writer, "r\"%s\"", PICK(writer->random, patterns));
        break;
    case 1:
    case 2:
        put(writer, "%lld", (long long)PICK(writer->random, ints));
        break;
    case 3:
        put(writer, "%s",
            (const char *[]){"nil", "true", "false", "5.0",
                             "0.5"}[kfl_random_below(writer->random, 5)]);
        break;
    case 4:
        put(writer, "\"%s\"", PICK(writer->random, addresses));
        break;
    default:
        put(writer, "'%s'", pick_text(writer->random));
        break;
    }
}

static const char *pick_text(struct kfl_random *random)
{
    return PICK(random, texts);
}

/* ---- entries ---- */

/* Rows right below a path (`request`, `request.postData`, `request.questions[]`), some of them. */
static void fill_side(struct kfl_random *random, struct fact_tape *tape, enum kfl_proto proto,
                      const char *inside)
{
    size_t size = strlen(inside);

    for (unsigned field = 1; field < KFL_FIELD_COUNT; field++) {
        const char *path = kfl_field_info[field].path;

        if (kfl_field_info[field].protos >> proto & 1 && !strncmp(path, inside, size) &&
            path[size] == '.' && !strpbrk(path + size + 1, ".[") && kfl_random_below(random, 3))
            fill_row(random, tape, proto, field);
    }
}

static void fill_row(struct kfl_random *random, struct fact_tape *tape, enum kfl_proto proto,
                     enum kfl_field field)
{
    const struct kfl_field_info *info = &kfl_field_info[field];
    char inside[64];
    unsigned n = kfl_random_below(random, 4);

    switch (info->type) {
    case KFL_TYPE_BOOL:
        fact_bool(tape, field, n & 1);
        break;
    case KFL_TYPE_INT:
        fact_int(tape, field, PICK(random, ints));
        break;
    case KFL_TYPE_FLOAT:
        fact_float(tape, field, (double)PICK(random, ints) / 2);
        break;
    case KFL_TYPE_STRING:
        fact_text(tape, field, pick_text(random));
        break;
    case KFL_TYPE_STRINGS:
    case KFL_TYPE_INTS:
        fact_array(tape, field);
        while (n-- > 0 && info->type == KFL_TYPE_STRINGS)
            fact_text(tape, KFL_FIELD_NONE, pick_text(random));
        while (n + 1 > 0 && n-- > 0)
            fact_int(tape, KFL_FIELD_NONE, PICK(random, ints));
        fact_end(tape);
        break;
    case KFL_TYPE_ARRAY:
        snprintf(inside, sizeof inside, "%s[]", info->path);
        fact_array(tape, field);
        while (n-- > 0) {
            fact_object(tape, KFL_FIELD_NONE);
            fill_side(random, tape, proto, inside);
            fact_end(tape);
        }
        fact_end(tape);
        break;
    case KFL_TYPE_NULL:
    case KFL_TYPE_OBJECT:
        fact_object(tape, field);
        fill_side(random, tape, proto, info->path);
        fact_end(tape);
        break;
    case KFL_TYPE_MAP:
        fill_map(random, tape, field);
        break;
    }
}

/* Distinct keys; a value of any kind. */
static void fill_map(struct kfl_random *random, struct fact_tape *tape, enum kfl_field field)
{
    fact_map(tape, field);
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (kfl_random_below(random, 2))
            continue;
        fact_key(tape, keys[i], strlen(keys[i]));
        switch (kfl_random_below(random, 8)) {
        case 0:
            fact_int(tape, KFL_FIELD_NONE, PICK(random, ints));
            break;
        case 1:
            fact_array(tape, KFL_FIELD_NONE);
            fact_text(tape, KFL_FIELD_NONE, pick_text(random));
            fact_text(tape, KFL_FIELD_NONE, pick_text(random));
            fact_end(tape);
            break;
        case 2:
            fact_bool(tape, KFL_FIELD_NONE, kfl_random_below(random, 2));
            break;
        default:
            fact_text(tape, KFL_FIELD_NONE, pick_text(random));
            break;
        }
    }
    fact_end(tape);
}
