/* Link layers, and what stands between them and IP: VLAN tags, LLC, PPP, PPPoE, MPLS.
 * Sources: IEEE 802.3, 802.1Q, 802.11, RFC 1042, 1661, 2516, 3032, 4385, the pages of the pcap
 * link types. */
#include <stddef.h>

#include "decode.h"
#include "decode_walk.h"

enum ethertype {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_TEB = 0x6558, /* transparent Ethernet bridging */
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_PPP = 0x880b,
    ETHERTYPE_MPLS = 0x8847,
    ETHERTYPE_MPLS_MULTICAST = 0x8848,
    ETHERTYPE_PPPOE_SESSION = 0x8864,
    ETHERTYPE_QINQ = 0x88a8,
    ETHERTYPE_CMD = 0x8909, /* Cisco metadata */
    ETHERTYPE_VNTAG = 0x8926,
    ETHERTYPE_NSH = 0x894f,
    ETHERTYPE_QINQ_OLD = 0x9100,
    ETHERTYPE_QINQ_OLD_LAST = 0x9300,
    ETHERTYPE_MIN = 0x0600, /* below it is a length */
    ETHERTYPE_LENGTH_MAX = 1500,
};

static enum walk_next link_sll(struct walk *walk);
static enum walk_next link_sll2(struct walk *walk);
static enum walk_next link_null(struct walk *walk);
static enum walk_next link_ppp(struct walk *walk);
static enum walk_next link_token_ring(struct walk *walk);
static enum walk_next link_pflog(struct walk *walk);
static enum walk_next link_ppi(struct walk *walk);
static enum walk_next link_avs(struct walk *walk);
static enum walk_next link_ieee802_11(struct walk *walk, bool padded);
static enum walk_next link_radiotap(struct walk *walk);
static enum walk_next link_nflog(struct walk *walk);
static enum walk_next typed_header(struct walk *walk, uint32_t size, uint32_t type_at);
static enum walk_next pppoe(struct walk *walk);
static enum walk_next nsh(struct walk *walk);

enum walk_next walk_link(struct walk *walk, unsigned linktype)
{
    switch ((enum linktype)linktype) {
    case LINKTYPE_ETHERNET:
        return WALK_ETHERNET;
    case LINKTYPE_RAW:
    case LINKTYPE_IPV4:
    case LINKTYPE_IPV6:
        return WALK_IP;
    case LINKTYPE_LINUX_SLL:
        return link_sll(walk);
    case LINKTYPE_LINUX_SLL2:
        return link_sll2(walk);
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
        return link_null(walk);
    case LINKTYPE_PPP:
    case LINKTYPE_PPP_HDLC:
        return link_ppp(walk);
    case LINKTYPE_PPP_ETHER:
        return pppoe(walk);
    case LINKTYPE_C_HDLC: /* address, control, ethertype */
        return typed_header(walk, 4, 2);
    case LINKTYPE_FDDI: /* frame control, two addresses */
        return walk_take(walk, 13) ? WALK_LLC : WALK_STOP;
    case LINKTYPE_TOKEN_RING:
        return link_token_ring(walk);
    case LINKTYPE_ATM_RFC1483:
        return WALK_LLC;
    case LINKTYPE_ENC: /* address family, association, flags */
        return walk_take(walk, 12) ? WALK_IP : WALK_STOP;
    case LINKTYPE_PFLOG:
        return link_pflog(walk);
    case LINKTYPE_PPI:
        return link_ppi(walk);
    case LINKTYPE_IEEE802_11_PRISM:
        return walk_take(walk, 144) ? link_ieee802_11(walk, false) : WALK_STOP;
    case LINKTYPE_IEEE802_11_AVS:
        return link_avs(walk);
    case LINKTYPE_IEEE802_11:
        return link_ieee802_11(walk, false);
    case LINKTYPE_IEEE802_11_RADIOTAP:
        return link_radiotap(walk);
    case LINKTYPE_NFLOG:
        return link_nflog(walk);
    }
    return WALK_STOP;
}

enum walk_next walk_ethernet(struct walk *walk)
{
    return typed_header(walk, 14, 12);
}

/* A header of fixed size with an ethertype in it. */
static enum walk_next typed_header(struct walk *walk, uint32_t size, uint32_t type_at)
{
    const uint8_t *header = walk_take(walk, size);

    if (!header)
        return WALK_STOP;
    walk->type = be16(header + type_at);
    return WALK_ETHERTYPE;
}

static enum walk_next vlan(struct walk *walk)
{
    const uint8_t *tag = walk_take(walk, 4);

    if (!tag)
        return WALK_STOP;
    if (walk->n_vlan < 2)
        walk->vlan[walk->n_vlan++] = be16(tag) & 0xfff;
    walk->type = be16(tag + 2);
    return WALK_ETHERTYPE;
}

enum walk_next walk_ethertype(struct walk *walk)
{
    if (walk->type <= ETHERTYPE_LENGTH_MAX)
        return WALK_LLC;
    switch (walk->type) {
    case ETHERTYPE_IPV4:
    case ETHERTYPE_IPV6:
        return WALK_IP;
    case ETHERTYPE_VLAN:
    case ETHERTYPE_QINQ:
    case ETHERTYPE_QINQ_OLD:
    case ETHERTYPE_QINQ_OLD + 0x100:
    case ETHERTYPE_QINQ_OLD_LAST:
        return vlan(walk);
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_MULTICAST:
        return WALK_MPLS;
    case ETHERTYPE_PPPOE_SESSION:
        return pppoe(walk);
    case ETHERTYPE_PPP:
        return WALK_PPP;
    case ETHERTYPE_TEB:
        return WALK_ETHERNET;
    case ETHERTYPE_VNTAG:
        return typed_header(walk, 6, 4);
    case ETHERTYPE_CMD:
        return typed_header(walk, 8, 6);
    case ETHERTYPE_NSH:
        return nsh(walk);
    default:
        return WALK_STOP;
    }
}

enum walk_next walk_llc(struct walk *walk)
{
    enum { SAP_IP = 0x06, SAP_SNAP = 0xaa, UNNUMBERED = 0x03 };
    const uint8_t *llc = walk_take(walk, 3);

    if (!llc || llc[2] != UNNUMBERED)
        return WALK_STOP;
    if (llc[0] == SAP_IP && llc[1] == SAP_IP)
        return WALK_IP;
    if (llc[0] == SAP_SNAP && llc[1] == SAP_SNAP) {
        const uint8_t *snap = walk_take(walk, 5);

        /* Organisation 0, and 00-00-f8 of bridged Ethernet, number as Ethernet does. */
        if (!snap || snap[0] || snap[1] || (snap[2] && snap[2] != 0xf8))
            return WALK_STOP;
        walk->type = be16(snap + 3);
        return walk->type >= ETHERTYPE_MIN ? WALK_ETHERTYPE : WALK_STOP;
    }
    return WALK_STOP;
}

enum walk_next walk_ppp(struct walk *walk)
{
    enum { PPP_IPV4 = 0x21, PPP_IPV6 = 0x57, PPP_MPLS = 0x281, PPP_MPLS_MULTICAST = 0x283 };
    const uint8_t *first = walk_take(walk, 1), *second;
    unsigned protocol;

    if (!first)
        return WALK_STOP;
    protocol = first[0];
    if (!(protocol & 1)) { /* not compressed to one byte */
        second = walk_take(walk, 1);
        if (!second)
            return WALK_STOP;
        protocol = protocol << 8 | second[0];
    }
    switch (protocol) {
    case PPP_IPV4:
    case PPP_IPV6:
        return WALK_IP;
    case PPP_MPLS:
    case PPP_MPLS_MULTICAST:
        return WALK_MPLS;
    default:
        return WALK_STOP;
    }
}

/* The label stack names no protocol: the first nibble behind it does. 0 is a pseudowire's control
 * word, and what it carries Ethernet. */
enum walk_next walk_mpls(struct walk *walk)
{
    const uint8_t *entry, *behind;

    do {
        entry = walk_take(walk, 4);
        if (!entry)
            return WALK_STOP;
    } while (!(entry[2] & 1));
    if (!walk_enter(walk, KFL_TUNNEL_MPLS, be32(entry) >> 12))
        return WALK_STOP;
    behind = walk_peek(walk, 0, 4);
    if (!behind)
        return WALK_STOP;
    switch (behind[0] >> 4) {
    case 4:
    case 6:
        return WALK_IP;
    case 0:
        walk->at += 4;
        return WALK_ETHERNET;
    default: /* a pseudowire without control word begins with an address */
        return WALK_ETHERNET;
    }
}

static enum walk_next pppoe(struct walk *walk)
{
    const uint8_t *header = walk_take(walk, 6);

    if (!header || header[0] != 0x11 || header[1] != 0)
        return WALK_STOP;
    walk_enclose(walk, be16(header + 4));
    return walk_enter(walk, KFL_TUNNEL_PPPOE, be16(header + 2)) ? WALK_PPP : WALK_STOP;
}

static enum walk_next nsh(struct walk *walk)
{
    enum { NSH_IPV4 = 1, NSH_IPV6 = 2, NSH_ETHERNET = 3, NSH_MPLS = 5 };
    const uint8_t *header = walk_peek(walk, 0, 8);

    if (!header || !walk_take(walk, (header[1] & 0x3f) * 4u))
        return WALK_STOP;
    switch (header[3]) {
    case NSH_IPV4:
    case NSH_IPV6:
        return walk_enter(walk, walk->tunnel, walk->tunnel_id) ? WALK_IP : WALK_STOP;
    case NSH_ETHERNET:
        return walk_enter(walk, walk->tunnel, walk->tunnel_id) ? WALK_ETHERNET : WALK_STOP;
    case NSH_MPLS:
        return WALK_MPLS;
    default:
        return WALK_STOP;
    }
}

/* What Linux cooked captures call the protocol: an ethertype, or one of its own numbers. */
static enum walk_next sll_protocol(struct walk *walk, uint16_t protocol)
{
    enum { SLL_802_2 = 4, SLL_PPP_HDLC = 7 };

    if (protocol == SLL_802_2)
        return WALK_LLC;
    if (protocol == SLL_PPP_HDLC)
        return link_ppp(walk);
    walk->type = protocol;
    return protocol >= ETHERTYPE_MIN ? WALK_ETHERTYPE : WALK_STOP;
}

static enum walk_next link_sll(struct walk *walk)
{
    const uint8_t *header = walk_take(walk, 16);

    return header ? sll_protocol(walk, be16(header + 14)) : WALK_STOP;
}

static enum walk_next link_sll2(struct walk *walk)
{
    const uint8_t *header = walk_take(walk, 20);

    return header ? sll_protocol(walk, be16(header)) : WALK_STOP;
}

/* An address family in the byte order of the machine that captured; its numbers for IPv6 differ
 * between systems. Other drivers put an ethertype into the last two bytes. */
static enum walk_next link_null(struct walk *walk)
{
    const uint8_t *header = walk_take(walk, 4);
    uint32_t family;

    if (!header)
        return WALK_STOP;
    family = be32(header);
    if (family > 0xffff)
        family = __builtin_bswap32(family);
    switch (family) {
    case 2: /* AF_INET */
    case 10:
    case 23:
    case 24:
    case 28:
    case 30: /* AF_INET6 of Linux, Windows, the BSDs, macOS */
        return WALK_IP;
    default:
        walk->type = be16(header + 2);
        return walk->type >= ETHERTYPE_MIN ? WALK_ETHERTYPE : WALK_STOP;
    }
}

static enum walk_next link_ppp(struct walk *walk)
{
    const uint8_t *hdlc = walk_peek(walk, 0, 2);

    if (hdlc && (hdlc[0] & 0x7f) == 0x0f) /* Cisco's framing says so by its address */
        return typed_header(walk, 4, 2);
    if (hdlc && hdlc[0] == 0xff && hdlc[1] == 0x03)
        walk->at += 2;
    return WALK_PPP;
}

static enum walk_next link_token_ring(struct walk *walk)
{
    enum { ROUTED = 0x80 };
    const uint8_t *header = walk_take(walk, 14), *route;

    if (header && (header[8] & ROUTED)) { /* source routing: its length is in it */
        route = walk_peek(walk, 0, 1);
        if (!route || !walk_take(walk, route[0] & 0x1f))
            return WALK_STOP;
    }
    return header ? WALK_LLC : WALK_STOP;
}

static enum walk_next link_pflog(struct walk *walk)
{
    const uint8_t *size = walk_peek(walk, 0, 1);

    return size && walk_take(walk, (size[0] + 3u) & ~3u) ? WALK_IP : WALK_STOP;
}

/* Per-packet information: a header in little-endian order that names the link type behind it. */
static enum walk_next link_ppi(struct walk *walk)
{
    const uint8_t *header = walk_peek(walk, 0, 8);
    unsigned linktype;

    if (!header || !walk_take(walk, (uint32_t)header[2] | (uint32_t)header[3] << 8))
        return WALK_STOP;
    linktype = (unsigned)header[4] | (unsigned)header[5] << 8;
    return linktype != LINKTYPE_PPI ? walk_link(walk, linktype) : WALK_STOP;
}

static enum walk_next link_avs(struct walk *walk)
{
    const uint8_t *header = walk_peek(walk, 0, 8);

    return header && walk_take(walk, be32(header + 4)) ? link_ieee802_11(walk, false) : WALK_STOP;
}

static enum walk_next link_ieee802_11(struct walk *walk, bool padded)
{
    const uint8_t *control = walk_peek(walk, 0, 2), *qos;
    uint32_t size = 24;

    if (!control || (control[0] & 0x0c) != 0x08 || (control[0] & 0x40)) /* data that has data */
        return WALK_STOP;
    if (control[1] & 0x40) /* encrypted */
        return WALK_STOP;
    if ((control[1] & 0x03) == 0x03) /* from one distribution system to another: fourth address */
        size += 6;
    if (control[0] & 0x80) {
        qos = walk_peek(walk, size, 2);
        if (!qos)
            return WALK_STOP;
        size += 2;
        if (control[1] & 0x80) /* HT control */
            size += 4;
        if (padded)
            size = (size + 3) & ~3u;
        if (qos[0] & 0x80) /* A-MSDU: the header of its first subframe */
            size += 14;
    } else if (padded) {
        size = (size + 3) & ~3u;
    }
    return walk_take(walk, size) ? WALK_LLC : WALK_STOP;
}

/* Of all radiotap fields only `flags` matters: is there padding behind the 802.11 header? */
static enum walk_next link_radiotap(struct walk *walk)
{
    enum { HAS_TSFT = 1, HAS_FLAGS = 2, FLAG_DATA_PAD = 0x20 };
    const uint8_t *header = walk_peek(walk, 0, 8), *word, *flags;
    uint32_t size, at = 4;
    bool padded = false;

    if (!header)
        return WALK_STOP;
    size = (uint32_t)header[2] | (uint32_t)header[3] << 8;
    do { /* words of presence, the top bit says that there is another */
        word = walk_peek(walk, at, 4);
        at += 4;
    } while (word && (word[3] & 0x80));
    if (!word || !walk_peek(walk, 0, size))
        return WALK_STOP;
    if (header[4] & HAS_FLAGS) {
        if (header[4] & HAS_TSFT)
            at = ((at + 7) & ~7u) + 8;
        flags = walk_peek(walk, at, 1);
        padded = flags && (flags[0] & FLAG_DATA_PAD);
    }
    walk->at += size;
    return link_ieee802_11(walk, padded);
}

/* Attributes in the byte order of the machine that captured; nearly always little-endian. */
static enum walk_next link_nflog(struct walk *walk)
{
    enum { NFLOG_PAYLOAD = 9 };
    const uint8_t *attribute;
    uint32_t size, type;

    if (!walk_take(walk, 4))
        return WALK_STOP;
    while ((attribute = walk_peek(walk, 0, 4))) {
        size = (uint32_t)attribute[0] | (uint32_t)attribute[1] << 8;
        type = (uint32_t)attribute[2] | (uint32_t)attribute[3] << 8;
        if (type > 0xff) {
            size = be16(attribute);
            type = be16(attribute + 2);
        }
        if (size < 4)
            return WALK_STOP;
        if (type == NFLOG_PAYLOAD) {
            walk_enclose(walk, size);
            walk->at += 4;
            return WALK_IP;
        }
        if (!walk_take(walk, (size + 3) & ~3u))
            return WALK_STOP;
    }
    return WALK_STOP;
}
