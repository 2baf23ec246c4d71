#include "entry_of_json.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kfl-jit/value.h"

enum { PATH_SIZE = 128 };

struct reader {
    const struct kfl_value *record;
    struct kfl_arena *arena;
    enum kfl_proto proto;
    bool failed;
};

static const char *text_at(struct reader *reader, const char *path);
static uint64_t number_at(struct reader *reader, const char *path);
static bool bool_at(struct reader *reader, const char *path);
static uint64_t time_at(struct reader *reader, const char *path);
static unsigned word_at(struct reader *reader, const char *path, const char *const *words,
                        unsigned n_words);
static void read_stream(struct reader *reader, struct kfl_stream *stream);
static void read_end(struct reader *reader, const char *side, struct kfl_stream *stream,
                     struct kfl_endpoint *end);
static void read_entry(struct reader *reader, struct entry_of_json *ret);
static void write_members(struct reader *reader, struct fact_tape *tape, const char *path,
                          const struct kfl_value *object);
static void write_row(struct reader *reader, struct fact_tape *tape, enum kfl_field field,
                      const struct kfl_value *value);
static void write_value(struct fact_tape *tape, enum kfl_field field,
                        const struct kfl_value *value);
static const struct kfl_value *find(const struct kfl_value *value, const char *path);

bool entry_of_json(const struct kfl_value *record, struct kfl_arena *arena,
                   struct entry_of_json *ret)
{
    struct reader reader = {.record = record, .arena = arena};
    const char *abbr = text_at(&reader, "protocol.abbr");

    memset(ret, 0, sizeof(*ret));
    while (reader.proto < KFL_PROTO_COUNT && strcmp(kfl_proto_info[reader.proto].abbr, abbr))
        reader.proto++;
    if (reader.proto == KFL_PROTO_COUNT)
        return false;
    ret->capture = (struct kfl_capture){.source = text_at(&reader, "capture.source"),
                                        .interface = text_at(&reader, "capture.interface"),
                                        .node_ip = text_at(&reader, "node.ip"),
                                        .node_name = text_at(&reader, "node.name")};
    ret->stream.capture = &ret->capture;
    read_stream(&reader, &ret->stream);
    read_entry(&reader, ret);
    return !reader.failed;
}

static void read_stream(struct reader *reader, struct kfl_stream *stream)
{
    static const char *const states[] = {"open", "half-open", "closing", "closed", "reset", "idle"};
    static const char *const detections[] = {"", "found", "none", "short"};
    static const char *const flags[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
    static const char *const layers[] = {"tcp", "udp", "sctp", "icmp"};
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP};
    const struct kfl_value *list;
    unsigned layer = 0;

    stream->number = number_at(reader, "stream");
    stream->record = text_at(reader, "record");
    stream->ip_version = (uint8_t)number_at(reader, "ip.version");
    stream->vlan[0] = (uint16_t)number_at(reader, "vlan.id");
    stream->vlan[1] = (uint16_t)number_at(reader, "vlan.innerId");
    stream->tunnel = (uint8_t)word_at(reader, "tunnel.type", kfl_tunnel_name, KFL_TUNNEL_COUNT);
    stream->tunnel_id = (uint32_t)number_at(reader, "tunnel.id");
    while (layer < 4 && strcmp(layers[layer], text_at(reader, "protocol.layer4")))
        layer++;
    stream->l4 = (uint8_t)(1 << layer);
    stream->ip_protocol =
        layer < 4 ? protocols[layer] : (uint8_t)atoi(text_at(reader, "protocol.layer4"));
    read_end(reader, "src", stream, &stream->end[KFL_CLIENT]);
    read_end(reader, "dst", stream, &stream->end[KFL_SERVER]);
    stream->oriented = stream->ended = true;
    stream->syn_seen = bool_at(reader, "conn.synSeen");
    stream->first_ns = time_at(reader, "conn.start");
    stream->last_ns = stream->first_ns + number_at(reader, "conn.duration") * 1000000;
    stream->detection = (uint8_t)word_at(reader, "conn.detection", detections, 4);
    stream->state = (uint8_t)word_at(reader, "conn.state", states, KFL_STATE_COUNT);
    stream->packets[KFL_CLIENT] = number_at(reader, "conn.srcPackets");
    stream->packets[KFL_SERVER] = number_at(reader, "conn.dstPackets");
    stream->bytes[KFL_CLIENT] = number_at(reader, "conn.srcBytes");
    stream->bytes[KFL_SERVER] = number_at(reader, "conn.dstBytes");
    stream->protos = UINT32_C(1) << reader->proto;
    list = find(reader->record, "conn.l7");
    for (const struct kfl_value *one = list ? list->first : NULL; one; one = one->next)
        for (unsigned i = 0; i < KFL_PROTO_COUNT; i++)
            if (one->size == strlen(kfl_proto_info[i].abbr) &&
                !memcmp(one->text, kfl_proto_info[i].abbr, one->size))
                stream->l7 |= UINT32_C(1) << i;
    list = find(reader->record, "conn.tcpFlags");
    for (const struct kfl_value *one = list ? list->first : NULL; one; one = one->next)
        for (unsigned i = 0; i < 8; i++)
            if (one->size == 3 && !memcmp(one->text, flags[i], 3))
                stream->tcp_flags |= (uint8_t)(1 << i);
}

static void read_end(struct reader *reader, const char *side, struct kfl_stream *stream,
                     struct kfl_endpoint *end)
{
    char path[PATH_SIZE];
    const char *text;
    unsigned m[6];

    snprintf(path, sizeof(path), "%s.ip", side);
    text = text_at(reader, path);
    if (inet_pton(AF_INET, text, end->addr + 12) == 1)
        memset(end->addr + 10, 0xff, 2);
    else if (inet_pton(AF_INET6, text, end->addr) != 1)
        reader->failed = true;
    snprintf(path, sizeof(path), "%s.port", side);
    text = text_at(reader, path);
    stream->has_ports = *text;
    end->port = (uint16_t)atoi(text);
    snprintf(path, sizeof(path), "%s.mac", side);
    stream->has_mac = sscanf(text_at(reader, path), "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3,
                             m + 4, m + 5) == 6;
    for (unsigned i = 0; i < 6 && stream->has_mac; i++)
        end->mac[i] = (uint8_t)m[i];
    snprintf(path, sizeof(path), "%s.name", side);
    end->name = text_at(reader, path);
    snprintf(path, sizeof(path), "%s.namespace", side);
    end->namespace = text_at(reader, path);
}

static void read_entry(struct reader *reader, struct entry_of_json *ret)
{
    static const char *const errors[] = {"", "timeout", "pair-not-found", "dissection",
                                         "connection"};
    static const char *const paths[] = {"request", "response"};
    static const char *const sizes[] = {"requestSize", "responseSize"};
    const struct kfl_value *error = find(reader->record, "error");
    uint64_t at_ns = time_at(reader, "startTime");

    ret->entry = (struct kfl_entry){.stream = &ret->stream,
                                    .proto = reader->proto,
                                    .index = (uint32_t)number_at(reader, "index"),
                                    .tls = bool_at(reader, "tls"),
                                    .version = text_at(reader, "protocol.version"),
                                    .error_msg = ""};
    if (error && error->type == KFL_OBJECT) {
        ret->entry.error =
            (enum kfl_error_type)word_at(reader, "error.type", errors, KFL_ERROR_COUNT);
        ret->entry.error_msg = text_at(reader, "error.msg");
    }
    for (unsigned side = 0; side < 2; side++) {
        const struct kfl_value *half = find(reader->record, paths[side]);
        struct fact_tape tape;

        if (!half || half->type != KFL_OBJECT)
            continue;
        fact_tape_init(&tape, ret->facts[side], ENTRY_FACTS_SIZE, &kfl_demand_all);
        write_members(reader, &tape, paths[side], half);
        reader->failed |= tape.cut;
        ret->half[side] = (struct kfl_half){.facts = tape.base,
                                            .facts_size = tape.size,
                                            .wire_size = (uint32_t)number_at(reader, sizes[side]),
                                            .first_ns = at_ns,
                                            .last_ns = at_ns};
        at_ns += number_at(reader, "elapsedTimeUs") * 1000;
        if (side == KFL_CLIENT)
            ret->entry.request = &ret->half[side];
        else
            ret->entry.response = &ret->half[side];
    }
}

/* ---- facts: the rows are found by their paths ---- */

static void write_members(struct reader *reader, struct fact_tape *tape, const char *path,
                          const struct kfl_value *object)
{
    for (const struct kfl_value *member = object->first; member; member = member->next) {
        char row[PATH_SIZE];
        unsigned field = KFL_FIELD_NONE + 1;

        snprintf(row, sizeof(row), "%s.%.*s", path, (int)member->key_size, member->key);
        while (field < KFL_FIELD_COUNT && !(kfl_field_info[field].protos >> reader->proto & 1 &&
                                            !strcmp(kfl_field_info[field].path, row)))
            field++;
        if (field == KFL_FIELD_COUNT)
            reader->failed = true;
        else
            write_row(reader, tape, (enum kfl_field)field, member);
    }
}

static void write_row(struct reader *reader, struct fact_tape *tape, enum kfl_field field,
                      const struct kfl_value *value)
{
    const struct kfl_field_info *info = &kfl_field_info[field];
    char path[PATH_SIZE];

    switch (info->type) {
    case KFL_TYPE_NULL:
    case KFL_TYPE_OBJECT:
        if (value->type != KFL_OBJECT)
            break;
        fact_object(tape, field);
        write_members(reader, tape, info->path, value);
        fact_end(tape);
        break;
    case KFL_TYPE_ARRAY:
        snprintf(path, sizeof(path), "%s[]", info->path);
        fact_array(tape, field);
        for (const struct kfl_value *one = value->first; one; one = one->next) {
            fact_object(tape, KFL_FIELD_NONE);
            write_members(reader, tape, path, one);
            fact_end(tape);
        }
        fact_end(tape);
        break;
    default:
        write_value(tape, field, value);
        break;
    }
}

/* As deep as the record is. */
static void write_value(struct fact_tape *tape, enum kfl_field field, const struct kfl_value *value)
{
    switch (value->type) {
    case KFL_BOOL:
        fact_bool(tape, field, value->boolean);
        break;
    case KFL_INT:
        fact_int(tape, field, value->integer);
        break;
    case KFL_FLOAT:
        fact_float(tape, field, value->number);
        break;
    case KFL_STRING:
        fact_string(tape, field, value->text, value->size);
        break;
    case KFL_ARRAY:
    case KFL_OBJECT:
        if (value->type == KFL_ARRAY)
            fact_array(tape, field);
        else
            fact_map(tape, field);
        for (const struct kfl_value *one = value->first; one; one = one->next) {
            if (value->type == KFL_OBJECT)
                fact_key(tape, one->key, one->key_size);
            write_value(tape, KFL_FIELD_NONE, one);
        }
        fact_end(tape);
        break;
    default:
        fact_null(tape, field);
        break;
    }
}

/* ---- members of the record; one that is missing fails the whole ---- */

static const struct kfl_value *find(const struct kfl_value *value, const char *path)
{
    while (value && *path) {
        size_t size = strcspn(path, ".");

        value = value->type == KFL_OBJECT ? value_member(value, path, size) : NULL;
        path += size + (path[size] == '.');
    }
    return value;
}

static const char *text_at(struct reader *reader, const char *path)
{
    const struct kfl_value *value = find(reader->record, path);
    char *text;

    if (!value || value->type != KFL_STRING) {
        reader->failed = true;
        return "";
    }
    text = kfl_arena_alloc(reader->arena, value->size + 1);
    if (!text)
        abort();
    memcpy(text, value->text, value->size);
    text[value->size] = 0;
    return text;
}

static uint64_t number_at(struct reader *reader, const char *path)
{
    const struct kfl_value *value = find(reader->record, path);

    reader->failed |= !value || value->type != KFL_INT;
    return value && value->type == KFL_INT ? (uint64_t)value->integer : 0;
}

static bool bool_at(struct reader *reader, const char *path)
{
    const struct kfl_value *value = find(reader->record, path);

    reader->failed |= !value || value->type != KFL_BOOL;
    return value && value->type == KFL_BOOL && value->boolean;
}

/* 2026-01-02T03:04:05.000000001Z */
static uint64_t time_at(struct reader *reader, const char *path)
{
    struct tm tm = {0};
    const char *rest = strptime(text_at(reader, path), "%Y-%m-%dT%H:%M:%S.", &tm);

    reader->failed |= !rest;
    return (uint64_t)timegm(&tm) * 1000000000 + (rest ? strtoull(rest, NULL, 10) : 0);
}

static unsigned word_at(struct reader *reader, const char *path, const char *const *words,
                        unsigned n_words)
{
    const char *word = text_at(reader, path);

    for (unsigned i = 0; i < n_words; i++)
        if (!strcmp(words[i], word))
            return i;
    reader->failed = true;
    return 0;
}
