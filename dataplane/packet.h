/* packet.h - a frame on its way through the recorder.
 *
 * A packet is a descriptor of fixed size that travels by value through rings; the bytes stay where
 * the source put them (UMEM, mbuf, mapped file) until the packet is released to its source.
 *
 * Ownership: who receives it owns it; putting it on a ring gives it away; otherwise it is released.
 * A source fills the first part, decode() the second. */
#ifndef DATAPLANE_PACKET_H
#define DATAPLANE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACKET_BURST = 64 };

/* What the bytes begin with: the link types that are read, numbered as pcap does (LINKTYPE_*). */
enum linktype {
    LINKTYPE_NULL = 0,
    LINKTYPE_ETHERNET = 1,
    LINKTYPE_TOKEN_RING = 6,
    LINKTYPE_PPP = 9,
    LINKTYPE_FDDI = 10,
    LINKTYPE_PPP_HDLC = 50,
    LINKTYPE_PPP_ETHER = 51,
    LINKTYPE_ATM_RFC1483 = 100,
    LINKTYPE_RAW = 101,
    LINKTYPE_C_HDLC = 104,
    LINKTYPE_IEEE802_11 = 105,
    LINKTYPE_LOOP = 108,
    LINKTYPE_ENC = 109,
    LINKTYPE_LINUX_SLL = 113,
    LINKTYPE_PFLOG = 117,
    LINKTYPE_IEEE802_11_PRISM = 119,
    LINKTYPE_IEEE802_11_RADIOTAP = 127,
    LINKTYPE_IEEE802_11_AVS = 163,
    LINKTYPE_PPI = 192,
    LINKTYPE_IPV4 = 228,
    LINKTYPE_IPV6 = 229,
    LINKTYPE_NFLOG = 239,
    LINKTYPE_LINUX_SLL2 = 276,
};

enum packet_flags {
    PACKET_FRAGMENT = 1 << 0,       /* part of a fragmented IP datagram */
    PACKET_FIRST_FRAGMENT = 1 << 1, /* ... its first, which has the L4 header */
    PACKET_TRUNCATED = 1 << 2,      /* headers or payload go beyond caplen */
    PACKET_MALFORMED = 1 << 3,      /* a header contradicts itself; decoded as far as it goes */
    PACKET_NO_IP = 1 << 4,          /* nothing that has a stream (ARP, LLDP, ...) */
    PACKET_FRAGMENT_MORE = 1 << 6,  /* ... and others follow */
    PACKET_NO_PORTS = 1 << 5,       /* TCP, UDP or SCTP whose ports are not there: a later fragment,
                                       a header cut off. Its stream is that of the addresses */
};

/* What names a stream, made by decode() and compared as a whole: the innermost 5-tuple with the
 * lower endpoint (address, then port) first, so both directions have the same. */
struct stream_key {
    uint8_t addr[2][16];  /* network order; IPv4 as ::ffff:a.b.c.d */
    uint16_t port[2];     /* host order, 0 without */
    uint8_t ip_protocol;  /* ICMPv6 as ICMPv6, not as ICMP */
    uint8_t ip_version;   /* 4 or 6; | STREAM_KEY_NO_PORTS for PACKET_NO_PORTS */
    uint16_t distinguish; /* of VLAN and tunnel id when streams.distinguish says so, else 0;
                             set by the stream table */
};
_Static_assert(sizeof(struct stream_key) == 40, "compared as a whole");

enum { STREAM_KEY_NO_PORTS = 0x80 };

/* Of a key's ip_version: 4 or 6. */
static inline uint8_t stream_key_version(uint8_t ip_version)
{
    return ip_version & (uint8_t)~STREAM_KEY_NO_PORTS;
}

struct packet {
    /* by the source */
    const uint8_t *data;
    uint64_t ts_ns;     /* arrival, UTC since the epoch */
    uint32_t caplen;    /* bytes at data */
    uint32_t origlen;   /* bytes on the wire */
    uint64_t cookie;    /* the source's own: mbuf, UMEM address */
    uint16_t interface; /* number in interface.h's table */
    uint16_t linktype;  /* enum linktype */
    uint16_t source;    /* which source, and which of its queues, gets it back */
    uint16_t queue;

    /* by decode(): offsets into data; the innermost headers */
    uint32_t hash;         /* symmetric over the innermost 5-tuple, keyed */
    uint32_t l3;           /* IP header */
    uint32_t l4;           /* TCP, UDP, ... header; of a later fragment: its payload */
    uint32_t payload;      /* above L4; == l4 when the L4 header is not whole. ICMP and protocols
                              without ports: l4, the whole message */
    uint32_t payload_size; /* bytes present, Ethernet padding excluded */
    uint32_t payload_origsize; /* bytes it had on the wire: more when the capture cut it */
    uint32_t tunnel_id;
    uint16_t vlan[2];         /* outermost, next; 0 without */
    uint8_t ip_version;       /* 4, 6; 0 when PACKET_NO_IP */
    uint8_t ip_protocol;      /* IANA number of what is at l4 */
    uint8_t tunnel;           /* enum kfl_tunnel */
    uint8_t flags;            /* enum packet_flags */
    uint8_t sender;           /* which endpoint of the key sent it */
    uint8_t tcp_flags;        /* of a TCP header that is there whole, else 0 */
    uint16_t fragment_l3;     /* ... the IP header that says so (an outer one, if the tunnel's
                                 packets were fragmented) */
    uint32_t fragment_offset; /* ... bytes */
    struct stream_key key;
};
_Static_assert(sizeof(struct packet) == 128, "two cache lines, copied through rings");

#endif
