/* decode_walk.h - inside decode: a walk through the headers of one frame.
 *
 * Each step looks at the header at `at`, moves behind it and says what comes next. A step that
 * meets something it cannot read stops the walk; what counts then is the last IP header that was
 * committed, so an inner header that does not parse leaves the outer stream standing. */
#ifndef DATAPLANE_DECODE_WALK_H
#define DATAPLANE_DECODE_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "../kfl-jit/entry.h"
#include "packet.h"

enum walk_next {
    WALK_STOP,
    WALK_ETHERNET,
    WALK_ETHERTYPE, /* walk.type is an ethertype */
    WALK_LLC,
    WALK_PPP, /* begins with the PPP protocol */
    WALK_MPLS,
    WALK_IP, /* 4 or 6, its first nibble says */
    WALK_L4, /* walk.type is an IP protocol; everything is in the packet */
    WALK_NEXT_COUNT
};

/* UDP ports that carry tunnels. */
enum tunnel_port {
    PORT_L2TP = 1701,
    PORT_GTPU = 2152,
    PORT_TEREDO = 3544,
    PORT_GRE_IN_UDP = 4754,
    PORT_VXLAN = 4789,
    PORT_VXLAN_GPE = 4790,
    PORT_GENEVE = 6081,
    PORT_MPLS_IN_UDP = 6635,
    PORT_VXLAN_LINUX = 8472,
};

static inline bool in_tunnel_range(uint16_t port)
{
    return (uint16_t)(port - PORT_L2TP) <= PORT_VXLAN_LINUX - PORT_L2TP;
}

struct walk {
    struct packet *packet;
    const uint8_t *data;
    uint32_t at;        /* the next header */
    uint32_t end;       /* where the bytes that are present end, within the enclosing layer */
    uint32_t wire;      /* where the enclosing layer ended on the wire; >= end */
    uint32_t tunnel_id; /* of the innermost tunnel on the way */
    uint16_t type;
    uint16_t vlan[2];
    uint8_t n_vlan; /* 0..2 recorded */
    uint8_t tunnel; /* enum kfl_tunnel */
    uint8_t depth;  /* tunnels entered */
};

/* Each finds a header at walk->at. */
enum walk_next walk_link(struct walk *walk, unsigned linktype); /* decode_link.c */
enum walk_next walk_ethernet(struct walk *walk);
enum walk_next walk_ethertype(struct walk *walk);
enum walk_next walk_llc(struct walk *walk);
enum walk_next walk_ppp(struct walk *walk);
enum walk_next walk_mpls(struct walk *walk);
enum walk_next walk_gre(struct walk *walk, bool over_udp); /* decode_tunnel.c */
enum walk_next walk_udp_tunnel(struct walk *walk, uint16_t source, uint16_t destination);
enum walk_next walk_ip_in_ip(struct walk *walk, unsigned inner_version);
enum walk_next walk_ether_in_ip(struct walk *walk);

/* A tunnel is entered. -> false when it is one too many. */
bool walk_enter(struct walk *walk, enum kfl_tunnel tunnel, uint32_t id);

/* n bytes at `at` plus `offset`, or null. */
static inline const uint8_t *walk_peek(const struct walk *walk, uint32_t offset, uint32_t n)
{
    return walk->end - walk->at >= offset && walk->end - walk->at - offset >= n
               ? walk->data + walk->at + offset
               : NULL;
}

/* n bytes at `at`, which moves behind them; or null. */
static inline const uint8_t *walk_take(struct walk *walk, uint32_t n)
{
    const uint8_t *bytes = walk_peek(walk, 0, n);

    if (bytes)
        walk->at += n;
    return bytes;
}

/* The layer at `at` says how long it is: what follows is not part of it. */
static inline void walk_enclose(struct walk *walk, uint32_t size)
{
    if (size < walk->wire - walk->at)
        walk->wire = walk->at + size;
    if (walk->end > walk->wire)
        walk->end = walk->wire;
}

static inline uint16_t be16(const uint8_t *b)
{
    return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t be32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

#endif
