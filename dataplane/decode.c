#include "decode.h"

#include <stddef.h>
#include <string.h>

#include "decode_walk.h"

enum ip_protocol {
    IP_HOP_BY_HOP = 0,
    IP_ICMP = 1,
    IP_IPIP = 4,
    IP_TCP = 6,
    IP_UDP = 17,
    IP_IPV6 = 41,
    IP_ROUTING = 43,
    IP_FRAGMENT = 44,
    IP_GRE = 47,
    IP_AH = 51,
    IP_ICMPV6 = 58,
    IP_DESTINATION = 60,
    IP_ETHERIP = 97,
    IP_SCTP = 132,
    IP_MOBILITY = 135,
    IP_UDPLITE = 136,
    IP_MPLS = 137,
    IP_HIP = 139,
    IP_SHIM6 = 140,
};

__attribute__((noinline)) static void decode_walk(struct packet *packet, uint64_t seed);
static enum walk_next walk_ip(struct walk *walk);
static enum walk_next walk_l4(struct walk *walk);
static void make_key(struct packet *packet, const uint8_t *l4, uint64_t seed);

/* Keyed mixing: both factors hold random bits of the seed, so who does not know it cannot choose
 * addresses that meet. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t hash_of(uint64_t low, uint64_t high, uint64_t protocol, uint64_t seed)
{
    uint64_t hash = mix(low ^ protocol << 56 ^ seed,
                        high ^ (seed << 32 | seed >> 32) ^ UINT64_C(0x9e3779b97f4a7c15));

    return (uint32_t)(hash ^ hash >> 32);
}

static inline void store64(void *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline uint32_t load32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* The key of an IPv4 packet: endpoints as numbers compare as their bytes do. Written in words, each
 * once: nothing has to be put together again when it is read. Ordered by a mask: half of all
 * packets go each way, a branch would guess. -> who sent it. */
static inline unsigned make_key_ipv4(struct packet *packet, const uint8_t *addresses,
                                     uint16_t source_port, uint16_t destination_port,
                                     uint8_t protocol, uint8_t version, uint64_t seed)
{
    uint64_t a = (uint64_t)be32(addresses) << 16 | source_port;
    uint64_t b = (uint64_t)be32(addresses + 4) << 16 | destination_port;
    uint64_t swap = -(uint64_t)(a > b), both = (a ^ b) & swap, low = a ^ both, high = b ^ both;
    uint32_t source = load32(addresses), destination = load32(addresses + 4);
    uint32_t differ = (source ^ destination) & (uint32_t)swap;
    uint8_t *key = (uint8_t *)&packet->key;

    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are laid out for it");
    store64(key, 0);
    store64(key + 8, UINT64_C(0xffff0000) | (uint64_t)(source ^ differ) << 32);
    store64(key + 16, 0);
    store64(key + 24, UINT64_C(0xffff0000) | (uint64_t)(destination ^ differ) << 32);
    store64(key + 32, (low & 0xffff) | (high & 0xffff) << 16 | (uint64_t)protocol << 32 |
                          (uint64_t)version << 40);
    packet->hash = hash_of(low, high, protocol, seed);
    return swap & 1;
}

/* May UDP with these ports be a tunnel? A filter by six bits of each; walk_udp_tunnel() knows. */
static inline bool maybe_tunnel(unsigned a, unsigned b)
{
#define FOLD(port) (((port) ^ (port) >> 6) & 63)
#define BIT(port)  (UINT64_C(1) << FOLD(port))
    const uint64_t bits = BIT(PORT_L2TP) | BIT(PORT_GTPU) | BIT(PORT_TEREDO) |
                          BIT(PORT_GRE_IN_UDP) | BIT(PORT_VXLAN) | BIT(PORT_VXLAN_GPE) |
                          BIT(PORT_GENEVE) | BIT(PORT_MPLS_IN_UDP) | BIT(PORT_VXLAN_LINUX);

    return ((uint64_t)in_tunnel_range((uint16_t)a) & bits >> FOLD(a)) |
           ((uint64_t)in_tunnel_range((uint16_t)b) & bits >> FOLD(b));
}

/* What most packets are: Ethernet, IPv4 without options, TCP or UDP, neither tagged, tunnelled,
 * fragmented nor cut within the headers. -> false: it is not that, nothing is decided.
 *
 * Whether it is TCP or UDP, and what its ports are, nobody could foretell: no branch asks. What is
 * not to be is gathered in `odd`, in words as they lie in memory. */
static inline bool decode_plain(struct packet *packet, uint64_t seed)
{
    const uint32_t L3 = 14, L4 = 34;
    const uint8_t *frame = packet->data, *ip = frame + L3, *l4 = frame + L4;
    uint32_t caplen = packet->caplen, origlen = packet->origlen, only_tcp, l4_size, payload, end;
    uint32_t wire, odd;
    uint16_t source_port, destination_port;
    uint64_t protocol, sender;

    if (packet->linktype != LINKTYPE_ETHERNET || caplen < L4 + 20)
        return false;
    odd = (load32(frame + 12) & 0xffffff) ^ 0x450008; /* type, version and size */
    odd |= load32(ip + 6) & 0xff3f;                   /* a fragment */
    protocol = ip[9];
    only_tcp = -(uint32_t)(protocol == IP_TCP);
    odd |= (uint32_t)(protocol ^ IP_UDP) & ~only_tcp;
    source_port = be16(l4);
    destination_port = be16(l4 + 2);
    wire = L3 + be16(ip + 2);
    l4_size = 8 + (((l4[12] >> 4) * 4u - 8) & only_tcp);
    payload = L4 + l4_size;
    odd |= (L4 + be16(l4 + 4) - wire) & ~only_tcp; /* UDP that ends before IP does */
    odd |= (uint32_t)maybe_tunnel(source_port, destination_port) & ~only_tcp;
    odd |= l4_size < 8 + (12 & only_tcp);
    odd |= (wire < payload) | (wire > origlen) | (payload > caplen) | (origlen < caplen);
    if (odd)
        return false;
    end = wire < caplen ? wire : caplen;
    packet->l3 = L3;
    packet->l4 = L4;
    packet->payload = payload;
    packet->payload_size = end - payload;
    packet->payload_origsize = wire - payload;
    packet->tunnel_id = 0;
    packet->vlan[0] = packet->vlan[1] = 0;
    packet->fragment_offset = 0;
    sender =
        make_key_ipv4(packet, ip + 12, source_port, destination_port, (uint8_t)protocol, 4, seed);
    _Static_assert(
        offsetof(struct packet, ip_protocol) == offsetof(struct packet, ip_version) + 1 &&
            offsetof(struct packet, flags) == offsetof(struct packet, ip_version) + 3 &&
            offsetof(struct packet, sender) == offsetof(struct packet, ip_version) + 4 &&
            offsetof(struct packet, fragment_offset) == offsetof(struct packet, ip_version) + 8 &&
            PACKET_TRUNCATED == 1 << 2,
        "one word: version, protocol, tunnel, flags, sender, TCP flags, fragment");
    store64(&packet->ip_version, 4 | protocol << 8 | (uint64_t)(end < wire) << 26 | sender << 32 |
                                     (uint64_t)(l4[13] & only_tcp) << 40);
    return true;
}

void decode(struct packet *packet, uint64_t hash_seed)
{
    if (!decode_plain(packet, hash_seed))
        decode_walk(packet, hash_seed);
}

void decode_burst(struct packet *burst, unsigned n, uint64_t hash_seed)
{
    enum { AHEAD = 6 };

    for (unsigned i = 0; i < n && i < AHEAD; i++)
        __builtin_prefetch(burst[i].data);
    for (unsigned i = 0; i < n; i++) {
        if (i + AHEAD < n)
            __builtin_prefetch(burst[i + AHEAD].data);
        decode(&burst[i], hash_seed);
    }
}

/* Header after header, until one names nothing that follows. Each step moves forward. */
static void decode_walk(struct packet *packet, uint64_t seed)
{
    struct walk walk = {.packet = packet, .data = packet->data, .end = packet->caplen};
    enum walk_next next;

    walk.wire = packet->origlen > packet->caplen ? packet->origlen : packet->caplen;
    memset(&packet->hash, 0, sizeof(*packet) - offsetof(struct packet, hash));
    packet->flags = PACKET_NO_IP;
    next = walk_link(&walk, packet->linktype);
    while (next != WALK_STOP)
        switch (next) {
        case WALK_ETHERNET:
            next = walk_ethernet(&walk);
            break;
        case WALK_ETHERTYPE:
            next = walk_ethertype(&walk);
            break;
        case WALK_LLC:
            next = walk_llc(&walk);
            break;
        case WALK_PPP:
            next = walk_ppp(&walk);
            break;
        case WALK_MPLS:
            next = walk_mpls(&walk);
            break;
        case WALK_IP:
            next = walk_ip(&walk);
            break;
        case WALK_L4:
            next = walk_l4(&walk);
            break;
        case WALK_STOP:
        case WALK_NEXT_COUNT:
            break;
        }
    if (packet->flags & PACKET_NO_IP)
        return;
    if (packet->payload_size < packet->payload_origsize)
        packet->flags |= PACKET_TRUNCATED;
    make_key(packet, packet->data + packet->l4, seed);
}

/* A header that contradicts itself. In a tunnel that only means that it was none. */
static enum walk_next broken(struct walk *walk)
{
    if (walk->packet->flags & PACKET_NO_IP)
        walk->packet->flags |= PACKET_MALFORMED;
    return WALK_STOP;
}

/* An IP header was read, `at` is behind it: the stream is of its addresses, unless a tunnel
 * follows. `whole`: all of its extension headers were there. */
static enum walk_next commit(struct walk *walk, uint32_t l3, uint8_t version, uint16_t protocol,
                             bool whole)
{
    struct packet *packet = walk->packet;

    packet->flags &= (uint8_t) ~(PACKET_NO_IP | PACKET_NO_PORTS);
    packet->tcp_flags = 0;
    packet->l3 = l3;
    packet->l4 = packet->payload = walk->at;
    packet->payload_size = walk->end - walk->at;
    packet->payload_origsize = walk->wire - walk->at;
    packet->tunnel_id = walk->tunnel_id;
    packet->tunnel = walk->tunnel;
    packet->vlan[0] = walk->vlan[0];
    packet->vlan[1] = walk->vlan[1];
    packet->ip_version = version;
    packet->ip_protocol = (uint8_t)protocol;
    walk->type = protocol;
    if (protocol == IP_TCP || protocol == IP_UDP || protocol == IP_SCTP || protocol == IP_UDPLITE)
        packet->flags |= PACKET_NO_PORTS; /* until they are read */
    if (!whole)
        packet->flags |= PACKET_TRUNCATED;
    return whole ? WALK_L4 : WALK_STOP;
}

/* This IP header says that its datagram came in parts. Of fragments in fragments the outer count.
 */
static bool later_fragment(struct walk *walk, uint32_t l3, uint32_t offset, bool more)
{
    struct packet *packet = walk->packet;

    if (!offset && !more)
        return false;
    if (!(packet->flags & PACKET_FRAGMENT) && l3 <= UINT16_MAX) {
        packet->flags |= (uint8_t)(PACKET_FRAGMENT | (offset ? 0 : PACKET_FIRST_FRAGMENT) |
                                   (more ? PACKET_FRAGMENT_MORE : 0));
        packet->fragment_l3 = (uint16_t)l3;
        packet->fragment_offset = offset;
    }
    return offset > 0;
}

/* -> the header that follows an authentication header; `at` moves behind it. */
static bool skip_authentication(struct walk *walk, uint16_t *protocol)
{
    const uint8_t *header = walk_peek(walk, 0, 8);

    if (!header || !walk_take(walk, (header[1] + 2u) * 4))
        return false;
    *protocol = header[0];
    return true;
}

static enum walk_next walk_ipv4(struct walk *walk)
{
    const uint8_t *ip = walk_peek(walk, 0, 20);
    uint32_t l3 = walk->at, header_size, size;
    uint16_t protocol;
    bool whole, later;

    if (!ip)
        return WALK_STOP;
    header_size = (ip[0] & 15) * 4u;
    size = be16(ip + 2);
    if (header_size < 20 || (size && size < header_size))
        return broken(walk);
    if (size) /* 0: segmentation was left to the card; the frame is as long as it is */
        walk_enclose(walk, size);
    protocol = ip[9];
    whole = walk_take(walk, header_size) != NULL;
    if (!whole)
        walk->at = walk->end;
    later = later_fragment(walk, l3, (be16(ip + 6) & 0x1fffu) * 8, be16(ip + 6) & 0x2000);
    while (whole && !later && protocol == IP_AH)
        whole = skip_authentication(walk, &protocol);
    return commit(walk, l3, 4, protocol, whole) == WALK_L4 && !later ? WALK_L4 : WALK_STOP;
}

/* The extension headers of IPv6 from `*protocol` on. -> false when one is not all there.
 * *ret_later: what follows is the middle of a datagram. */
static bool skip_extensions(struct walk *walk, uint32_t l3, uint16_t *protocol, bool *ret_later)
{
    const uint8_t *header;

    *ret_later = false;
    for (;;) {
        switch (*protocol) {
        case IP_HOP_BY_HOP:
        case IP_ROUTING:
        case IP_DESTINATION:
        case IP_MOBILITY:
        case IP_HIP:
        case IP_SHIM6:
            header = walk_peek(walk, 0, 8);
            if (!header || !walk_take(walk, (header[1] + 1u) * 8))
                return false;
            *protocol = header[0];
            break;
        case IP_AH:
            if (!skip_authentication(walk, protocol))
                return false;
            break;
        case IP_FRAGMENT:
            header = walk_take(walk, 8);
            if (!header)
                return false;
            *protocol = header[0];
            if (later_fragment(walk, l3, be16(header + 2) & 0xfff8u, header[3] & 1)) {
                *ret_later = true;
                return true;
            }
            break;
        default:
            return true;
        }
    }
}

static enum walk_next walk_ipv6(struct walk *walk)
{
    const uint8_t *ip = walk_peek(walk, 0, 40);
    uint32_t l3 = walk->at, size;
    uint16_t protocol;
    bool whole, later;

    if (!ip)
        return WALK_STOP;
    size = be16(ip + 4);
    if (size) /* 0: a jumbogram, or as in IPv4; the frame is as long as it is */
        walk_enclose(walk, 40 + size);
    protocol = ip[6];
    walk->at += 40;
    whole = skip_extensions(walk, l3, &protocol, &later);
    return commit(walk, l3, 6, protocol, whole) == WALK_L4 && !later ? WALK_L4 : WALK_STOP;
}

static enum walk_next walk_ip(struct walk *walk)
{
    const uint8_t *first = walk_peek(walk, 0, 1);

    if (!first)
        return WALK_STOP;
    if (first[0] >> 4 == 4)
        return walk_ipv4(walk);
    if (first[0] >> 4 == 6)
        return walk_ipv6(walk);
    return broken(walk);
}

/* What is above L4 begins after `size` bytes of header, if those are there. */
static void set_payload(struct walk *walk, uint32_t size)
{
    struct packet *packet = walk->packet;
    uint32_t present = walk->end - walk->at, wire = walk->wire - walk->at;

    packet->payload = walk->at + (size < present ? size : present);
    packet->payload_size = size < present ? present - size : 0;
    packet->payload_origsize = size < wire ? wire - size : 0;
    if (size > present)
        packet->flags |= PACKET_TRUNCATED;
}

static void l4_tcp(struct walk *walk)
{
    const uint8_t *tcp = walk_peek(walk, 0, 20);
    uint32_t size;

    if (!tcp) { /* ports at most: no sequence number, no payload */
        walk->packet->payload_size = 0;
        walk->packet->payload_origsize = 0;
        walk->packet->flags |= PACKET_TRUNCATED;
        return;
    }
    walk->packet->tcp_flags = tcp[13];
    size = (tcp[12] >> 4) * 4u;
    if (size < 20) {
        walk->packet->flags |= PACKET_MALFORMED;
        size = walk->wire - walk->at;
    }
    set_payload(walk, size);
}

static enum walk_next l4_udp(struct walk *walk, bool lite)
{
    const uint8_t *udp = walk_peek(walk, 0, 8);
    uint32_t size;

    if (!udp) {
        walk->packet->flags |= PACKET_TRUNCATED;
        return WALK_STOP;
    }
    size = be16(udp + 4);
    if (!lite && size >= 8) /* 0: a jumbogram */
        walk_enclose(walk, size);
    set_payload(walk, 8);
    walk->at += 8;
    return lite ? WALK_STOP : walk_udp_tunnel(walk, be16(udp), be16(udp + 2));
}

static enum walk_next walk_l4(struct walk *walk)
{
    bool ports = walk_peek(walk, 0, 4);

    switch (walk->type) {
    case IP_TCP:
    case IP_UDP:
    case IP_UDPLITE:
    case IP_SCTP:
        if (!ports)
            return WALK_STOP;
        walk->packet->flags &= (uint8_t)~PACKET_NO_PORTS;
        if (walk->type == IP_TCP)
            l4_tcp(walk);
        else if (walk->type == IP_SCTP)
            set_payload(walk, 12);
        else
            return l4_udp(walk, walk->type == IP_UDPLITE);
        return WALK_STOP;
    case IP_GRE:
        return walk_gre(walk, false);
    case IP_IPIP:
        return walk_ip_in_ip(walk, 4);
    case IP_IPV6:
        return walk_ip_in_ip(walk, 6);
    case IP_ETHERIP:
        return walk_ether_in_ip(walk);
    case IP_MPLS:
        return WALK_MPLS;
    default:
        return WALK_STOP;
    }
}

static void make_key(struct packet *packet, const uint8_t *l4, uint64_t seed)
{
    const uint8_t *ip = packet->data + packet->l3, *address[2];
    struct stream_key *key = &packet->key;
    bool has_ports = !(packet->flags & PACKET_NO_PORTS) &&
                     (packet->ip_protocol == IP_TCP || packet->ip_protocol == IP_UDP ||
                      packet->ip_protocol == IP_SCTP || packet->ip_protocol == IP_UDPLITE);
    uint8_t version =
        (uint8_t)(packet->ip_version | (packet->flags & PACKET_NO_PORTS ? STREAM_KEY_NO_PORTS : 0));
    uint16_t port[2] = {has_ports ? be16(l4) : 0, has_ports ? be16(l4 + 2) : 0};
    uint64_t endpoint[2];
    int order;

    if (packet->ip_version == 4) {
        packet->sender = (uint8_t)make_key_ipv4(packet, ip + 12, port[0], port[1],
                                                packet->ip_protocol, version, seed);
        return;
    }
    address[0] = ip + 8;
    address[1] = ip + 24;
    order = memcmp(address[0], address[1], 16);
    packet->sender = order > 0 || (order == 0 && port[0] > port[1]);
    for (unsigned i = 0; i < 2; i++) {
        memcpy(key->addr[i], address[i ^ packet->sender], 16);
        key->port[i] = port[i ^ packet->sender];
        endpoint[i] =
            mix(load64(key->addr[i]) ^ seed, load64(key->addr[i] + 8) ^ (seed << 17 | seed >> 47)) +
            key->port[i];
    }
    key->ip_protocol = packet->ip_protocol;
    key->ip_version = version;
    key->distinguish = 0;
    packet->hash = hash_of(endpoint[0], endpoint[1], packet->ip_protocol, seed);
}
