#include "facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format.h"

static void get_entry(const struct facts *facts, enum kfl_field field, struct facts_value *value);
static void get_protocol(const struct facts *facts, enum kfl_field field,
                         struct facts_value *value);
static void get_conn(const struct facts *facts, enum kfl_field field, struct facts_value *value);
static void put_int(struct facts_value *value, uint64_t integer);
static void put_text(struct facts_value *value, const char *text);
static void put_bool(struct facts_value *value, bool boolean);
static void put_count(const struct facts *facts, struct facts_value *value, uint64_t count);
static uint64_t entry_ns(const struct facts *facts);

static inline bool is_complete(const struct kfl_entry *entry)
{
    return entry && !entry->response_open;
}

void facts_get(const struct facts *facts, enum kfl_field field, struct facts_value *value)
{
    const struct kfl_stream *stream = facts->stream;
    const struct kfl_endpoint *src = &stream->end[KFL_CLIENT], *dst = &stream->end[KFL_SERVER];

    value->kind = FACTS_UNKNOWN;
    switch (field) {
    case KFL_FIELD_STREAM:
        put_int(value, stream->number);
        break;
    case KFL_FIELD_RECORD:
        put_text(value, stream->record);
        break;
    case KFL_FIELD_NODE_IP:
        put_text(value, stream->capture->node_ip);
        break;
    case KFL_FIELD_NODE_NAME:
        put_text(value, stream->capture->node_name);
        break;
    case KFL_FIELD_CAPTURE_SOURCE:
        put_text(value, stream->capture->source);
        break;
    case KFL_FIELD_CAPTURE_INTERFACE:
        put_text(value, stream->capture->interface);
        break;
    case KFL_FIELD_IP_VERSION:
        put_int(value, stream->ip_version);
        break;
    case KFL_FIELD_SRC_IP:
    case KFL_FIELD_DST_IP:
        format_ip((field == KFL_FIELD_SRC_IP ? src : dst)->addr, stream->ip_version, value->text);
        put_text(value, value->text);
        break;
    case KFL_FIELD_SRC_PORT:
    case KFL_FIELD_DST_PORT:
        value->text[0] = 0;
        if (stream->has_ports)
            format_port((field == KFL_FIELD_SRC_PORT ? src : dst)->port, value->text);
        put_text(value, value->text);
        break;
    case KFL_FIELD_SRC_MAC:
    case KFL_FIELD_DST_MAC:
        value->text[0] = 0;
        if (stream->has_mac)
            format_mac((field == KFL_FIELD_SRC_MAC ? src : dst)->mac, value->text);
        put_text(value, value->text);
        break;
    case KFL_FIELD_SRC_NAME:
        put_text(value, src->name);
        break;
    case KFL_FIELD_DST_NAME:
        put_text(value, dst->name);
        break;
    case KFL_FIELD_SRC_NAMESPACE:
        put_text(value, src->namespace);
        break;
    case KFL_FIELD_DST_NAMESPACE:
        put_text(value, dst->namespace);
        break;
    case KFL_FIELD_VLAN_ID:
        put_int(value, stream->vlan[0]);
        break;
    case KFL_FIELD_VLAN_INNER_ID:
        put_int(value, stream->vlan[1]);
        break;
    case KFL_FIELD_TUNNEL_TYPE:
        put_text(value, kfl_tunnel_name[stream->tunnel]);
        break;
    case KFL_FIELD_TUNNEL_ID:
        put_int(value, stream->tunnel_id);
        break;
    case KFL_FIELD_PROTOCOL_NAME:
    case KFL_FIELD_PROTOCOL_ABBR:
    case KFL_FIELD_PROTOCOL_VERSION:
    case KFL_FIELD_PROTOCOL_LAYER3:
    case KFL_FIELD_PROTOCOL_LAYER4:
    case KFL_FIELD_TLS:
        get_protocol(facts, field, value);
        break;
    default:
        if (field >= KFL_FIELD_CONN_SYN_SEEN && field <= KFL_FIELD_CONN_DST_BYTES)
            get_conn(facts, field, value);
        else
            get_entry(facts, field, value);
        break;
    }
}

bool facts_of_stream(enum kfl_field field)
{
    switch (kfl_field_info[field].stage) {
    case KFL_STAGE_PACKET:
    case KFL_STAGE_END:
        return !kfl_field_info[field].protos;
    case KFL_STAGE_CONNECTION:
        return field != KFL_FIELD_ID && field != KFL_FIELD_PROTOCOL_VERSION;
    default:
        return false;
    }
}

bool facts_of_response(enum kfl_field field)
{
    switch (field) {
    case KFL_FIELD_ID: /* other entries may be complete before */
    case KFL_FIELD_INDEX:
    case KFL_FIELD_PROTOCOL_VERSION: /* the response says its own */
    case KFL_FIELD_CONN_L7:
    case KFL_FIELD_CONN_DETECTION:
        return true;
    default:
        return kfl_field_info[field].stage == KFL_STAGE_RESPONSE;
    }
}

struct kfl_value facts_empty(enum kfl_type type)
{
    switch (type) {
    case KFL_TYPE_BOOL:
        return (struct kfl_value){.type = KFL_BOOL};
    case KFL_TYPE_INT:
        return (struct kfl_value){.type = KFL_INT};
    case KFL_TYPE_FLOAT:
        return (struct kfl_value){.type = KFL_FLOAT};
    case KFL_TYPE_STRING:
        return (struct kfl_value){.type = KFL_STRING, .text = ""};
    case KFL_TYPE_STRINGS:
    case KFL_TYPE_INTS:
    case KFL_TYPE_ARRAY:
        return (struct kfl_value){.type = KFL_ARRAY};
    case KFL_TYPE_OBJECT:
    case KFL_TYPE_MAP:
        return (struct kfl_value){.type = KFL_OBJECT};
    case KFL_TYPE_NULL:
        break;
    }
    return (struct kfl_value){.type = KFL_NULL};
}

static void get_protocol(const struct facts *facts, enum kfl_field field, struct facts_value *value)
{
    const struct kfl_stream *stream = facts->stream;
    const struct kfl_proto_info *info = &kfl_proto_info[facts->proto];

    switch (field) {
    case KFL_FIELD_PROTOCOL_NAME:
        put_text(value, info->name);
        break;
    case KFL_FIELD_PROTOCOL_ABBR:
        put_text(value, info->abbr);
        break;
    case KFL_FIELD_PROTOCOL_VERSION:
        if (is_complete(facts->entry)) /* the response has one of its own */
            put_text(value, facts->entry->version);
        break;
    case KFL_FIELD_PROTOCOL_LAYER3:
        put_text(value, "ip");
        break;
    case KFL_FIELD_PROTOCOL_LAYER4:
        if (stream->l4 == KFL_L4_OTHER)
            format_port(stream->ip_protocol, value->text);
        put_text(value, stream->l4 == KFL_L4_TCP    ? "tcp"
                        : stream->l4 == KFL_L4_UDP  ? "udp"
                        : stream->l4 == KFL_L4_SCTP ? "sctp"
                        : stream->l4 == KFL_L4_ICMP ? "icmp"
                                                    : value->text);
        break;
    default: /* tls: the handshake, and what comes out of TLS afterwards */
        if (facts->entry)
            put_bool(value, facts->entry->tls);
        else if (stream->protos == KFL_PROTO_BIT(TLS))
            put_bool(value, true);
        else if (!((stream->protos | stream->l7) & KFL_PROTO_BIT(TLS)))
            put_bool(value, false);
        break;
    }
}

static void get_conn(const struct facts *facts, enum kfl_field field, struct facts_value *value)
{
    static const char *const states[KFL_STATE_COUNT] = {"open",   "half-open", "closing",
                                                        "closed", "reset",     "idle"};
    static const char *const detections[] = {"", "found", "none", "short"};
    static const char *const flags[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
    const struct kfl_stream *stream = facts->stream;

    switch (field) {
    case KFL_FIELD_CONN_SYN_SEEN:
        put_bool(value, stream->syn_seen);
        break;
    case KFL_FIELD_CONN_START:
        format_time(stream->first_ns, value->text);
        put_text(value, value->text);
        break;
    case KFL_FIELD_CONN_DETECTION:
        if (stream->detection != KFL_DETECTION_OPEN || is_complete(facts->entry))
            put_text(value, detections[stream->detection]);
        break;
    case KFL_FIELD_CONN_L7:
        value->kind = is_complete(facts->entry) || stream->ended ? FACTS_ARRAY : FACTS_GROWING;
        value->n = 0;
        for (unsigned i = 0; i < KFL_PROTO_COUNT; i++)
            if (stream->l7 >> i & 1)
                value->element[value->n++] = kfl_proto_info[i].abbr;
        break;
    case KFL_FIELD_CONN_TCP_FLAGS:
        value->kind = stream->ended ? FACTS_ARRAY : FACTS_GROWING;
        value->n = 0;
        for (unsigned i = 0; i < 8; i++)
            if (stream->tcp_flags >> i & 1)
                value->element[value->n++] = flags[i];
        break;
    case KFL_FIELD_CONN_STATE:
        if (stream->ended)
            put_text(value, states[stream->state]);
        break;
    case KFL_FIELD_CONN_DURATION:
        put_count(facts, value, (stream->last_ns - stream->first_ns) / 1000000);
        break;
    case KFL_FIELD_CONN_PACKETS:
        put_count(facts, value, stream->packets[KFL_CLIENT] + stream->packets[KFL_SERVER]);
        break;
    case KFL_FIELD_CONN_BYTES:
        put_count(facts, value, stream->bytes[KFL_CLIENT] + stream->bytes[KFL_SERVER]);
        break;
    case KFL_FIELD_CONN_SRC_PACKETS:
        put_count(facts, value, stream->packets[KFL_CLIENT]);
        break;
    case KFL_FIELD_CONN_SRC_BYTES:
        put_count(facts, value, stream->bytes[KFL_CLIENT]);
        break;
    case KFL_FIELD_CONN_DST_PACKETS:
        put_count(facts, value, stream->packets[KFL_SERVER]);
        break;
    default:
        put_count(facts, value, stream->bytes[KFL_SERVER]);
        break;
    }
}

static void get_entry(const struct facts *facts, enum kfl_field field, struct facts_value *value)
{
    static const char *const errors[KFL_ERROR_COUNT] = {"", "timeout", "pair-not-found",
                                                        "dissection", "connection"};
    const struct kfl_entry *entry = facts->entry;
    bool open = !entry || entry->response_open;
    int64_t integer;

    if (field == KFL_FIELD_ERROR_TYPE || field == KFL_FIELD_ERROR_MSG) {
        value->kind = open ? FACTS_MISSING : FACTS_ABSENT;
        if (!open && entry->error)
            put_text(value, field == KFL_FIELD_ERROR_MSG ? entry->error_msg : errors[entry->error]);
        return;
    }
    if (facts_int(facts, field, &integer)) {
        put_int(value, (uint64_t)integer);
        return;
    }
    if (!entry || (kfl_field_info[field].stage == KFL_STAGE_RESPONSE && open))
        return;
    switch (field) {
    case KFL_FIELD_TIMESTAMP:
        put_int(value, entry_ns(facts) / 1000000);
        break;
    case KFL_FIELD_INDEX: /* while the response is open */
        put_int(value, entry->index);
        value->kind = FACTS_AT_LEAST;
        break;
    case KFL_FIELD_ID:
        if (open)
            break;
        snprintf(value->text, sizeof value->text, "%.255s/%" PRIu64 "-%" PRIu32,
                 entry->stream->capture->node_name, entry->stream->number, entry->index);
        put_text(value, value->text);
        break;
    case KFL_FIELD_START_TIME:
        format_time(entry_ns(facts), value->text);
        put_text(value, value->text);
        break;
    case KFL_FIELD_ERROR:
        value->kind = FACTS_VALUE;
        value->value = facts_empty(entry->error ? KFL_TYPE_OBJECT : KFL_TYPE_NULL);
        break;
    default:
        break;
    }
}

/* Its request's first packet, else its response's; of an L4 entry the stream's. */
static uint64_t entry_ns(const struct facts *facts)
{
    const struct kfl_entry *entry = facts->entry;

    if (KFL_PROTOS_L4 >> entry->proto & 1)
        return facts->stream->first_ns;
    return entry->request    ? entry->request->first_ns
           : entry->response ? entry->response->first_ns
                             : facts->stream->first_ns;
}

static void put_int(struct facts_value *value, uint64_t integer)
{
    value->kind = FACTS_VALUE;
    value->value = (struct kfl_value){.type = KFL_INT, .integer = (int64_t)integer};
}

static void put_text(struct facts_value *value, const char *text)
{
    value->kind = FACTS_VALUE;
    value->value =
        (struct kfl_value){.type = KFL_STRING, .text = text, .size = (uint32_t)strlen(text)};
}

static void put_bool(struct facts_value *value, bool boolean)
{
    value->kind = FACTS_VALUE;
    value->value = (struct kfl_value){.type = KFL_BOOL, .boolean = boolean};
}

static void put_count(const struct facts *facts, struct facts_value *value, uint64_t count)
{
    put_int(value, count);
    if (!facts->stream->ended)
        value->kind = FACTS_AT_LEAST;
}
