/* Tunnels: from a carrier's header to what it carries.
 * Sources: RFC 2784, 2890, 2637, 7637, 8086 (GRE), draft-foschiano-erspan, RFC 7348 (VXLAN),
 * draft-ietf-nvo3-vxlan-gpe, RFC 8926 (GENEVE), 3GPP TS 29.281 (GTP-U), RFC 4380 (Teredo),
 * RFC 2661 (L2TP), RFC 3378 (EtherIP), RFC 7510 (MPLS over UDP). */
#include <stddef.h>

#include "decode.h"
#include "decode_walk.h"

static enum walk_next gre_carried(struct walk *walk, uint16_t protocol, bool has_key,
                                  bool has_sequence, uint32_t key);
static enum walk_next vxlan(struct walk *walk, bool gpe);
static enum walk_next geneve(struct walk *walk);
static enum walk_next gtpu(struct walk *walk);
static enum walk_next teredo(struct walk *walk);
static enum walk_next l2tp(struct walk *walk);

bool walk_enter(struct walk *walk, enum kfl_tunnel tunnel, uint32_t id)
{
    if (walk->depth >= DECODE_TUNNEL_DEPTH_MAX)
        return false;
    walk->depth++;
    walk->tunnel = (uint8_t)tunnel;
    walk->tunnel_id = id;
    return true;
}

enum walk_next walk_ip_in_ip(struct walk *walk, unsigned inner_version)
{
    const uint8_t *first = walk_peek(walk, 0, 1);
    enum kfl_tunnel tunnel =
        inner_version == 6 && walk->packet->ip_version == 4 ? KFL_TUNNEL_6IN4 : KFL_TUNNEL_IPIP;

    return first && first[0] >> 4 == inner_version && walk_enter(walk, tunnel, 0) ? WALK_IP
                                                                                  : WALK_STOP;
}

enum walk_next walk_ether_in_ip(struct walk *walk)
{
    const uint8_t *header = walk_take(walk, 2);

    return header && header[0] >> 4 == 3 && walk_enter(walk, KFL_TUNNEL_NONE, 0) ? WALK_ETHERNET
                                                                                 : WALK_STOP;
}

enum walk_next walk_gre(struct walk *walk, bool over_udp)
{
    enum { CHECKSUM = 0x8000, ROUTING = 0x4000, KEY = 0x2000, SEQUENCE = 0x1000, ACK = 0x0080 };
    const uint8_t *header = walk_take(walk, 4), *field;
    unsigned flags, version;
    uint16_t protocol;
    uint32_t key = 0;

    if (!header)
        return WALK_STOP;
    flags = be16(header);
    version = flags & 7;
    protocol = be16(header + 2);
    if (version > 1 || (over_udp && version))
        return WALK_STOP;
    if ((flags & (CHECKSUM | ROUTING)) && !walk_take(walk, 4))
        return WALK_STOP;
    if (flags & KEY) {
        field = walk_take(walk, 4);
        if (!field)
            return WALK_STOP;
        key = version == 1 ? be16(field + 2) : be32(field); /* PPTP: length, call id */
    }
    if ((flags & SEQUENCE) && !walk_take(walk, 4))
        return WALK_STOP;
    if (version == 1 && (flags & ACK) && !walk_take(walk, 4))
        return WALK_STOP;
    if (version == 0 && (flags & ROUTING)) {
        do { /* source route entries: family, offset, length; the last is empty */
            field = walk_take(walk, 4);
            if (!field || !walk_take(walk, field[3]))
                return WALK_STOP;
        } while (field[3] || be16(field));
    }
    return gre_carried(walk, protocol, flags & KEY, flags & SEQUENCE, key);
}

static enum walk_next udp_tunnel(struct walk *walk, uint16_t port)
{
    switch ((enum tunnel_port)port) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
        return vxlan(walk, false);
    case PORT_VXLAN_GPE:
        return vxlan(walk, true);
    case PORT_GENEVE:
        return geneve(walk);
    case PORT_GTPU:
        return gtpu(walk);
    case PORT_TEREDO:
        return teredo(walk);
    case PORT_L2TP:
        return l2tp(walk);
    case PORT_GRE_IN_UDP:
        return walk_gre(walk, true);
    case PORT_MPLS_IN_UDP:
        return WALK_MPLS;
    }
    return WALK_STOP;
}

enum walk_next walk_udp_tunnel(struct walk *walk, uint16_t source, uint16_t destination)
{
    const struct walk before = *walk;
    enum walk_next next = udp_tunnel(walk, destination);

    if (next != WALK_STOP)
        return next;
    *walk = before;
    return udp_tunnel(walk, source);
}

static enum walk_next erspan(struct walk *walk, bool type_3)
{
    const uint8_t *header = walk_take(walk, type_3 ? 12 : 8);

    if (!header)
        return WALK_STOP;
    if (type_3 && (header[11] & 1) && !walk_take(walk, 8)) /* platform specific part */
        return WALK_STOP;
    return walk_enter(walk, KFL_TUNNEL_ERSPAN, be16(header + 2) & 0x3ff) ? WALK_ETHERNET
                                                                         : WALK_STOP;
}

static enum walk_next gre_carried(struct walk *walk, uint16_t protocol, bool has_key,
                                  bool has_sequence, uint32_t key)
{
    enum {
        GRE_TEB = 0x6558,
        GRE_WCCP = 0x883e,
        GRE_ERSPAN = 0x88be,
        GRE_ERSPAN_3 = 0x22eb,
        GRE_PPP = 0x880b,
    };
    const uint8_t *first;

    switch (protocol) {
    case GRE_ERSPAN:
        if (has_sequence)
            return erspan(walk, false);
        return walk_enter(walk, KFL_TUNNEL_ERSPAN, key) ? WALK_ETHERNET : WALK_STOP; /* type I */
    case GRE_ERSPAN_3:
        return erspan(walk, true);
    case GRE_TEB: /* with a key: virtual subnet (24 bits) and flow (8) of NVGRE */
        if (!walk_enter(walk, has_key ? KFL_TUNNEL_NVGRE : KFL_TUNNEL_GRE, key))
            return WALK_STOP;
        return WALK_ETHERNET;
    case GRE_WCCP: /* version 2 puts a redirect header before the IP header */
        first = walk_peek(walk, 0, 1);
        if (!first || (first[0] >> 4 != 4 && !walk_take(walk, 4)))
            return WALK_STOP;
        return walk_enter(walk, KFL_TUNNEL_GRE, key) ? WALK_IP : WALK_STOP;
    case GRE_PPP:
        first = walk_peek(walk, 0, 2);
        if (first && first[0] == 0xff && first[1] == 0x03)
            walk->at += 2;
        return walk_enter(walk, KFL_TUNNEL_GRE, key) ? WALK_PPP : WALK_STOP;
    default:
        walk->type = protocol;
        return walk_enter(walk, KFL_TUNNEL_GRE, key) ? WALK_ETHERTYPE : WALK_STOP;
    }
}

static enum walk_next vxlan(struct walk *walk, bool gpe)
{
    enum { FLAG_VNI = 0x08, GPE_IPV4 = 1, GPE_IPV6 = 2, GPE_NSH = 4, ETHERTYPE_NSH = 0x894f };
    const uint8_t *header = walk_take(walk, 8);

    if (!header || !(header[0] & FLAG_VNI) ||
        !walk_enter(walk, KFL_TUNNEL_VXLAN, be32(header + 4) >> 8))
        return WALK_STOP;
    if (gpe && (header[3] == GPE_IPV4 || header[3] == GPE_IPV6))
        return WALK_IP;
    walk->type = ETHERTYPE_NSH;
    return gpe && header[3] == GPE_NSH ? WALK_ETHERTYPE : WALK_ETHERNET;
}

static enum walk_next geneve(struct walk *walk)
{
    const uint8_t *header = walk_take(walk, 8);

    if (!header || header[0] >> 6 || !walk_take(walk, (header[0] & 0x3f) * 4u) ||
        !walk_enter(walk, KFL_TUNNEL_GENEVE, be32(header + 4) >> 8))
        return WALK_STOP;
    walk->type = be16(header + 2);
    return WALK_ETHERTYPE;
}

static enum walk_next gtpu(struct walk *walk)
{
    enum { VERSION_1 = 0x30, VERSION_MASK = 0xf0, OPTIONS = 0x07, EXTENSION = 0x04, G_PDU = 255 };
    const uint8_t *header = walk_take(walk, 8), *field;
    uint32_t size;
    uint8_t next;

    if (!header || (header[0] & VERSION_MASK) != VERSION_1 || header[1] != G_PDU)
        return WALK_STOP;
    if (header[0] & OPTIONS) {
        field = walk_take(walk, 4); /* sequence, N-PDU number, type of the first extension */
        if (!field)
            return WALK_STOP;
        next = header[0] & EXTENSION ? field[3] : 0;
        while (next) { /* length in units of 4, data, type of the next */
            field = walk_peek(walk, 0, 1);
            size = field ? field[0] * 4u : 0;
            if (!size || !(field = walk_take(walk, size)))
                return WALK_STOP;
            next = field[size - 1];
        }
    }
    return walk_enter(walk, KFL_TUNNEL_GTPU, be32(header + 4)) ? WALK_IP : WALK_STOP;
}

static enum walk_next teredo(struct walk *walk)
{
    enum { ORIGIN = 0, AUTHENTICATION = 1 };
    const uint8_t *header;

    for (int i = 0; i < 2; i++) { /* at most one of each, before the IPv6 header */
        header = walk_peek(walk, 0, 4);
        if (!header)
            return WALK_STOP;
        if (header[0] == 0 && header[1] == ORIGIN) {
            if (!walk_take(walk, 8))
                return WALK_STOP;
        } else if (header[0] == 0 && header[1] == AUTHENTICATION) {
            if (!walk_take(walk, 13u + header[2] + header[3]))
                return WALK_STOP;
        }
    }
    header = walk_peek(walk, 0, 1);
    if (!header || header[0] >> 4 != 6)
        return WALK_STOP;
    return walk_enter(walk, KFL_TUNNEL_TEREDO, 0) ? WALK_IP : WALK_STOP;
}

static enum walk_next l2tp(struct walk *walk)
{
    enum { CONTROL = 0x8000, LENGTH = 0x4000, SEQUENCE = 0x0800, OFFSET = 0x0200 };
    const uint8_t *header = walk_take(walk, 2), *field, *hdlc;
    unsigned flags;

    if (!header)
        return WALK_STOP;
    flags = be16(header);
    if ((flags & CONTROL) || (flags & 0x0f) != 2)
        return WALK_STOP;
    if ((flags & LENGTH) && !walk_take(walk, 2))
        return WALK_STOP;
    if (!walk_take(walk, 4)) /* tunnel, session */
        return WALK_STOP;
    if ((flags & SEQUENCE) && !walk_take(walk, 4))
        return WALK_STOP;
    if (flags & OFFSET) {
        field = walk_take(walk, 2);
        if (!field || !walk_take(walk, be16(field)))
            return WALK_STOP;
    }
    hdlc = walk_peek(walk, 0, 2);
    if (hdlc && hdlc[0] == 0xff && hdlc[1] == 0x03)
        walk->at += 2;
    return walk_enter(walk, KFL_TUNNEL_NONE, 0) ? WALK_PPP : WALK_STOP;
}
