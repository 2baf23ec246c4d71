/* What a packet does to its stream: counts, TCP states, and who the client is. */
#include "stream_private.h"

enum { FIN = KFL_TCP_FIN, SYN = KFL_TCP_SYN, RST = KFL_TCP_RST, ACK = KFL_TCP_ACK };
enum { IP_ICMPV6 = 58 };

static void tcp_step(struct stream *stream, unsigned flags, enum kfl_side side, unsigned sender);
static void tcp_orient(struct stream *stream, unsigned flags, unsigned sender);
static void guess_by_ports(struct stream *stream, unsigned sender);
static void orient(struct stream *stream, unsigned client);

/* The TCP header, if it is there whole; else null. */
static const uint8_t *header(const struct packet *packet)
{
    return packet->payload >= packet->l4 + 20 ? packet->data + packet->l4 : NULL;
}

static uint32_t sequence_of(const uint8_t *tcp)
{
    return (uint32_t)tcp[4] << 24 | (uint32_t)tcp[5] << 16 | (uint32_t)tcp[6] << 8 | tcp[7];
}

bool stream_tcp(struct stream *stream, const struct packet *packet)
{
    const uint8_t *tcp = header(packet);
    unsigned sender = packet->sender, flags = packet->tcp_flags;
    uint8_t before = stream->tcp;

    if (stream->l4 != KFL_L4_TCP)
        stream->flags |= STREAM_QUIET_0 | STREAM_QUIET_1;
    if (stream->l4 != KFL_L4_TCP || !tcp)
        return false;
    if (!(stream->flags & (STREAM_ISN_0 << sender))) {
        stream->flags |= (uint32_t)STREAM_ISN_0 << sender;
        stream->isn[sender] = sequence_of(tcp) - (flags & SYN ? 0 : 1);
    }
    tcp_orient(stream, flags, sender);
    tcp_step(stream, flags, stream_side(stream, sender), sender);
    stream->flags &= ~(uint32_t)(STREAM_QUIET_0 | STREAM_QUIET_1);
    if (stream->tcp == STREAM_TCP_ESTABLISHED)
        stream->flags |= (stream->flags & STREAM_ISN_0 ? STREAM_QUIET_0 : 0) |
                         (stream->flags & STREAM_ISN_1 ? STREAM_QUIET_1 : 0);
    return stream->tcp != before;
}

/* A SYN seen again is a retransmission when it has the same sequence number, and may come late. A
 * direction not seen yet has nothing to differ from. */
bool stream_begins_anew(const struct stream *stream, const struct packet *packet)
{
    return (packet->tcp_flags & (SYN | ACK)) == SYN &&
           (stream->flags & (STREAM_ISN_0 << packet->sender)) &&
           sequence_of(header(packet)) != stream->isn[packet->sender];
}

void stream_begin_orientation(struct stream *stream, const struct packet *packet)
{
    enum { ECHO_REPLY = 0, ECHO6_REPLY = 129, SCTP_INIT = 1, SCTP_INIT_ACK = 2 };
    const uint8_t *l4 = packet->data + packet->l4;
    unsigned sender = packet->sender;
    bool reply = false;

    switch ((enum kfl_l4)stream->l4) {
    case KFL_L4_TCP:
    case KFL_L4_UDP:
        guess_by_ports(stream, sender); /* a SYN knows better, see stream_count() */
        break;
    case KFL_L4_SCTP:
        guess_by_ports(stream, sender);
        if (packet->payload_size && packet->data[packet->payload] == SCTP_INIT) {
            orient(stream, sender);
            stream->flags |= STREAM_SYN_SEEN;
        } else if (packet->payload_size && packet->data[packet->payload] == SCTP_INIT_ACK) {
            orient(stream, !sender);
        }
        break;
    case KFL_L4_ICMP:
        reply = packet->payload_size && !(packet->flags & PACKET_FRAGMENT) &&
                l4[0] == (packet->ip_protocol == IP_ICMPV6 ? ECHO6_REPLY : ECHO_REPLY);
        orient(stream, sender ^ reply);
        break;
    case KFL_L4_OTHER:
        orient(stream, sender);
        break;
    }
}

/* The client is this endpoint, for certain. */
static void orient(struct stream *stream, unsigned client)
{
    if ((stream->flags & STREAM_CLIENT_IS_1) != client)
        stream_swap_sides(stream);
    stream->flags |= STREAM_ORIENTED;
}

/* Well-known ports are those of servers, the range that systems take clients' ports from is not;
 * if that does not tell, the first packet is taken to be the client's. */
static void guess_by_ports(struct stream *stream, unsigned sender)
{
    enum { WELL_KNOWN_MAX = 1023, EPHEMERAL_MIN = 32768 };
    unsigned rank[2], client = sender;

    for (int i = 0; i < 2; i++)
        rank[i] = stream->id.port[i] <= WELL_KNOWN_MAX ? 2
                  : stream->id.port[i] < EPHEMERAL_MIN ? 1
                                                       : 0;
    if (rank[0] != rank[1])
        client = rank[0] > rank[1];
    if ((stream->flags & STREAM_CLIENT_IS_1) != client)
        stream_swap_sides(stream);
}

static void tcp_orient(struct stream *stream, unsigned flags, unsigned sender)
{
    if (!(flags & SYN))
        return;
    if (!(flags & ACK)) {
        if (!(stream->flags & STREAM_SYN_SEEN) && !(stream->flags & STREAM_ORIENTED))
            orient(stream, sender);
        stream->flags |= STREAM_SYN_SEEN;
    } else if (!(stream->flags & STREAM_ORIENTED)) {
        orient(stream, !sender);
    }
}

static void tcp_step(struct stream *stream, unsigned flags, enum kfl_side side, unsigned sender)
{
    uint8_t own = side == KFL_CLIENT ? STREAM_TCP_FIN_CLIENT : STREAM_TCP_FIN_SERVER;
    uint8_t other = side == KFL_CLIENT ? STREAM_TCP_FIN_SERVER : STREAM_TCP_FIN_CLIENT;
    bool last_fin_is_1 = stream->flags & STREAM_LAST_FIN_1;

    if (stream->tcp == STREAM_TCP_CLOSED || stream->tcp == STREAM_TCP_RESET)
        return;
    if (flags & RST) {
        stream->tcp = stream->tcp == STREAM_TCP_LAST_ACK ? STREAM_TCP_CLOSED : STREAM_TCP_RESET;
        return;
    }
    if (flags & SYN) {
        if (stream->tcp <= STREAM_TCP_SYN_SENT)
            stream->tcp = flags & ACK ? STREAM_TCP_SYN_RECEIVED : STREAM_TCP_SYN_SENT;
        return;
    }
    if (stream->tcp < STREAM_TCP_ESTABLISHED)
        stream->tcp = STREAM_TCP_ESTABLISHED;
    if (flags & FIN) {
        if (stream->tcp == STREAM_TCP_ESTABLISHED) {
            stream->tcp = own;
        } else if (stream->tcp == other) {
            stream->tcp = STREAM_TCP_LAST_ACK;
            stream->flags &= (uint32_t)~STREAM_LAST_FIN_1;
            if (sender)
                stream->flags |= STREAM_LAST_FIN_1;
        }
    } else if (stream->tcp == STREAM_TCP_LAST_ACK && (flags & ACK) && sender != last_fin_is_1) {
        stream->tcp = STREAM_TCP_CLOSED;
    }
}
