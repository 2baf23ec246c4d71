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

/* In place, as is all of the view: what is put together of small pieces and then copied waits until
 * they are stored. */
static inline void fill_endpoint(const struct stream *stream, const struct stream_facts *facts,
                                 enum kfl_side side, struct kfl_endpoint *ret_end)
{
    unsigned i = side ^ (stream->flags & STREAM_CLIENT_IS_1);

    address_of(stream, facts, i, ret_end->addr);
    ret_end->port = stream->id.port[i];
    memcpy(ret_end->mac, facts->mac[i], 6);
    ret_end->name = facts->name[i];
    ret_end->namespace = facts->namespace[i];
}

void stream_fill_view(const struct stream *stream, const struct stream_facts *facts, bool ended,
                      struct kfl_stream *restrict ret_view)
{
    static const struct kfl_capture nowhere = {"", "", "", ""};
    bool known = facts->interface < interface_count();

    ret_view->number = stream->number;
    ret_view->first_ns = stream->first_ns;
    fill_endpoint(stream, facts, KFL_CLIENT, &ret_view->end[KFL_CLIENT]);
    fill_endpoint(stream, facts, KFL_SERVER, &ret_view->end[KFL_SERVER]);
    ret_view->capture = known ? &interface_get(facts->interface)->capture : &nowhere;
    ret_view->tunnel_id = facts->tunnel_id;
    ret_view->vlan[0] = facts->vlan[0];
    ret_view->vlan[1] = facts->vlan[1];
    ret_view->tunnel = facts->tunnel;
    ret_view->ip_version = stream_key_version(stream->id.ip_version);
    ret_view->l4 = stream->l4;
    ret_view->ip_protocol = stream->id.ip_protocol;
    ret_view->has_ports = stream->l4 & (KFL_L4_TCP | KFL_L4_UDP | KFL_L4_SCTP);
    ret_view->has_mac = facts->has_mac;
    ret_view->syn_seen =
        !(stream->l4 & (KFL_L4_TCP | KFL_L4_SCTP)) || (stream->flags & STREAM_SYN_SEEN);
    ret_view->oriented = stream->flags & STREAM_ORIENTED;
    ret_view->protos =
        stream->extra == stream_no_extra ? kfl_protos_of_l4(stream->l4) : stream->extra->protos;
    ret_view->l7 = stream->extra->l7_seen;
    ret_view->detection = stream->detection;
    ret_view->ended = ended;
    ret_view->state = (uint8_t)stream_state(stream, ended);
    ret_view->tcp_flags = stream->tcp_flags;
    ret_view->last_ns = stream->last_ns;
    for (unsigned side = 0; side < 2; side++) {
        ret_view->packets[side] = stream->packets[side];
        ret_view->bytes[side] = stream->bytes[side];
    }
    ret_view->record = "";
}
