/* What others see of a stream. */
#include <string.h>

#include "interface.h"
#include "stream_private.h"

enum kfl_state stream_state(const struct stream *stream, bool ended)
{
    if (stream->l4 != KFL_L4_TCP)
        return ended ? KFL_STATE_IDLE : KFL_STATE_OPEN;
    switch ((enum stream_tcp)stream->tcp) {
    case STREAM_TCP_SYN_SENT:
    case STREAM_TCP_SYN_RECEIVED:
        return KFL_STATE_HALF_OPEN;
    case STREAM_TCP_NONE:
    case STREAM_TCP_ESTABLISHED:
        return KFL_STATE_OPEN;
    case STREAM_TCP_FIN_CLIENT:
    case STREAM_TCP_FIN_SERVER:
        return KFL_STATE_CLOSING;
    case STREAM_TCP_LAST_ACK:
    case STREAM_TCP_CLOSED:
        return KFL_STATE_CLOSED;
    case STREAM_TCP_RESET:
        return KFL_STATE_RESET;
    }
    return KFL_STATE_OPEN;
}

const char *stream_connection_error(const struct stream *stream)
{
    switch ((enum stream_tcp)stream->tcp) {
    case STREAM_TCP_SYN_SENT:
    case STREAM_TCP_SYN_RECEIVED:
        return "SynSent";
    case STREAM_TCP_FIN_CLIENT:
    case STREAM_TCP_FIN_SERVER:
        return "CloseWait";
    case STREAM_TCP_LAST_ACK:
        return "LastAck";
    case STREAM_TCP_RESET:
        return "Reset";
    case STREAM_TCP_NONE:
    case STREAM_TCP_ESTABLISHED:
    case STREAM_TCP_CLOSED:
        break;
    }
    return NULL;
}

enum stream_end stream_end_of(const struct stream *stream)
{
    if (stream->tcp == STREAM_TCP_RESET)
        return STREAM_END_RESET;
    return stream->tcp == STREAM_TCP_CLOSED || stream->tcp == STREAM_TCP_LAST_ACK ? STREAM_END_CLOSE
                                                                                  : STREAM_END_IDLE;
}

void stream_view_packet(const struct stream_table *table, const struct packet *packet,
                        struct stream *ret_stream, struct kfl_stream *ret_view)
{
    static const struct stream_name_source nobody;
    struct stream_facts *facts;

    stream_init(ret_stream, packet, packet->hash);
    stream_begin_orientation(ret_stream, packet);
    stream_tcp(ret_stream, packet);
    stream_count(ret_stream, packet);
    facts = stream_facts_spare(table, &ret_stream->facts);
    stream_facts_of(packet, &nobody, facts);
    stream_fill_view(ret_stream, facts, false, ret_view);
}

/* As struct stream_key has it. */
static void address_of(const struct stream *stream, const struct stream_facts *facts,
                       unsigned endpoint, uint8_t ret_addr[static 16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (stream_key_version(stream->id.ip_version) != 4) {
        if (facts)
            memcpy(ret_addr, facts->ip6[endpoint], 16);
        else
            memset(ret_addr, 0, 16);
        return;
    }
    memcpy(ret_addr, mapped, sizeof(mapped));
    memcpy(ret_addr + sizeof(mapped), stream->id.ip4[endpoint], 4);
}

void stream_fill_key(const struct stream *stream, const struct stream_facts *facts,
                     struct stream_key *ret_key)
{
    for (unsigned i = 0; i < 2; i++) {
        address_of(stream, facts, i, ret_key->addr[i]);
        ret_key->port[i] = stream->id.port[i];
    }
    ret_key->ip_protocol = stream->id.ip_protocol;
    ret_key->ip_version = stream->id.ip_version;
    ret_key->distinguish = stream->id.distinguish;
}

static inline struct kfl_endpoint endpoint_of(const struct stream *stream,
                                              const struct stream_facts *facts, enum kfl_side side)
{
    unsigned i = side ^ (stream->flags & STREAM_CLIENT_IS_1);
    struct kfl_endpoint end = {
        .port = stream->id.port[i], .name = facts->name[i], .namespace = facts->namespace[i]};

    address_of(stream, facts, i, end.addr);
    memcpy(end.mac, facts->mac[i], 6);
    return end;
}

void stream_fill_view(const struct stream *stream, const struct stream_facts *facts, bool ended,
                      struct kfl_stream *ret_view)
{
    static const struct kfl_capture nowhere = {"", "", "", ""};

    *ret_view = (struct kfl_stream){
        .number = stream->number,
        .first_ns = stream->first_ns,
        .end = {endpoint_of(stream, facts, KFL_CLIENT), endpoint_of(stream, facts, KFL_SERVER)},
        .capture = facts->interface < interface_count() ? &interface_get(facts->interface)->capture
                                                        : &nowhere,
        .tunnel_id = facts->tunnel_id,
        .vlan = {facts->vlan[0], facts->vlan[1]},
        .tunnel = facts->tunnel,
        .ip_version = stream_key_version(stream->id.ip_version),
        .l4 = stream->l4,
        .ip_protocol = stream->id.ip_protocol,
        .has_ports = stream->l4 & (KFL_L4_TCP | KFL_L4_UDP | KFL_L4_SCTP),
        .has_mac = facts->has_mac,
        .syn_seen = !(stream->l4 & (KFL_L4_TCP | KFL_L4_SCTP)) || (stream->flags & STREAM_SYN_SEEN),
        .oriented = stream->flags & STREAM_ORIENTED,
        .protos =
            stream->extra == stream_no_extra ? kfl_protos_of_l4(stream->l4) : stream->extra->protos,
        .l7 = stream->extra->l7_seen,
        .detection = stream->detection,
        .ended = ended,
        .state = (uint8_t)stream_state(stream, ended),
        .tcp_flags = stream->tcp_flags,
        .last_ns = stream->last_ns,
        .packets = {stream->packets[0], stream->packets[1]},
        .bytes = {stream->bytes[0], stream->bytes[1]},
        .record = "",
    };
}
