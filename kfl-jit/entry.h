/* entry.h - what a statement is asked about: a stream, and one entry in it.
 *
 * The data plane fills these in; the plan and the JSON rendering read them. Both are views: they
 * point to memory of the caller that holds still during the call. One thread. */
#ifndef KFL_ENTRY_H
#define KFL_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "fact.h"
#include "field.h"
#include "proto.h"

/* Sides of a stream: the client is KFL's src, the server its dst. */
enum kfl_side { KFL_CLIENT, KFL_SERVER };

struct kfl_endpoint {
    uint8_t addr[16];      /* network order; IPv4 as ::ffff:a.b.c.d */
    uint16_t port;         /* host order; 0 without, see has_ports */
    uint8_t mac[6];        /* of the outermost frame of the first packet; see has_mac */
    const char *name;      /* never null; "" unknown */
    const char *namespace; /* never null; "" unknown */
};

enum kfl_tunnel {
    KFL_TUNNEL_NONE,
    KFL_TUNNEL_VXLAN,
    KFL_TUNNEL_GENEVE,
    KFL_TUNNEL_GRE,
    KFL_TUNNEL_NVGRE,
    KFL_TUNNEL_ERSPAN,
    KFL_TUNNEL_IPIP,
    KFL_TUNNEL_6IN4,
    KFL_TUNNEL_GTPU,
    KFL_TUNNEL_MPLS,
    KFL_TUNNEL_PPPOE,
    KFL_TUNNEL_TEREDO,
    KFL_TUNNEL_COUNT
};
extern const char *const kfl_tunnel_name[KFL_TUNNEL_COUNT]; /* tunnel.type */

enum kfl_state { /* conn.state */
    KFL_STATE_OPEN,
    KFL_STATE_HALF_OPEN,
    KFL_STATE_CLOSING,
    KFL_STATE_CLOSED,
    KFL_STATE_RESET,
    KFL_STATE_IDLE,
    KFL_STATE_COUNT
};

enum kfl_detection { KFL_DETECTION_OPEN, KFL_DETECTION_FOUND, KFL_DETECTION_NONE,
                     KFL_DETECTION_SHORT };

enum { /* conn.tcpFlags, bits as in the TCP header */
    KFL_TCP_FIN = 0x01, KFL_TCP_SYN = 0x02, KFL_TCP_RST = 0x04, KFL_TCP_PSH = 0x08,
    KFL_TCP_ACK = 0x10, KFL_TCP_URG = 0x20, KFL_TCP_ECE = 0x40, KFL_TCP_CWR = 0x80,
};

/* What is constant for a recorder: node.*, capture.* by interface. */
struct kfl_capture {
    const char *source;    /* "af_xdp" "dpdk" "file" */
    const char *interface; /* where the first packet came in */
    const char *node_ip, *node_name;
};

/* The facts of a stream, those of stages P, C and E. */
struct kfl_stream {
    /* stage P */
    uint64_t number;
    uint64_t first_ns; /* UTC since the epoch */
    struct kfl_endpoint end[2]; /* by enum kfl_side */
    const struct kfl_capture *capture;
    uint32_t tunnel_id;
    uint16_t vlan[2];     /* outermost, next; 0 without */
    uint8_t tunnel;       /* enum kfl_tunnel */
    uint8_t ip_version;   /* 4 or 6 */
    uint8_t l4;           /* enum kfl_l4, one bit */
    uint8_t ip_protocol;  /* IANA number */
    bool has_ports, has_mac;
    bool syn_seen;        /* also true where there is no such thing */
    bool oriented;        /* the client is known; until then src.* and dst.* may swap */
    /* stage C */
    uint32_t protos;      /* the protocols its entries can still have, the L4 entry included
                             as long as there may be no other */
    uint32_t l7;          /* protocols recognised so far */
    uint8_t detection;    /* enum kfl_detection */
    /* stage E: counts so far, final when `ended` */
    bool ended;
    uint8_t state;        /* enum kfl_state */
    uint8_t tcp_flags;    /* seen in either direction */
    uint64_t last_ns;
    uint64_t packets[2], bytes[2]; /* by enum kfl_side; original lengths */
    const char *record;   /* name of the recording it is read from, "" live */
};

enum kfl_error_type { /* error.type */
    KFL_ERROR_NONE,
    KFL_ERROR_TIMEOUT,
    KFL_ERROR_PAIR_NOT_FOUND,
    KFL_ERROR_DISSECTION,
    KFL_ERROR_CONNECTION,
    KFL_ERROR_COUNT
};

/* One side of an entry: a finished run of facts. */
struct kfl_half {
    const void *facts;
    uint32_t facts_size;   /* bytes; may be 0: the half is there, nothing of it was demanded */
    uint32_t wire_size;    /* bytes of the message above L4 */
    uint64_t first_ns;     /* its first packet */
    uint64_t last_ns;      /* its last packet */
};

/* What a plan said before of an entry with the same request: the jobs it was asked about, and those
 * of them that it is out for, whatever the response. */
struct kfl_asked {
    uint64_t jobs, out;
    uint32_t by; /* the caller's number of that plan */
};

struct kfl_entry {
    const struct kfl_stream *stream;
    enum kfl_proto proto;
    uint32_t index;                 /* in the stream, from 0 */
    bool tls;                       /* field `tls` */
    const char *version;            /* protocol.version, never null */
    const struct kfl_half *request; /* null when there is none */
    const struct kfl_half *response;
    bool response_open;             /* stage Q: the response may still come */
    enum kfl_error_type error;
    const char *error_msg;          /* never null */
    struct kfl_asked asked;
};

#endif
