/* proto.h - protocols as numbers and as sets. The rows are in protos.def.
 *
 * A set of protocols (uint32_t, bit = enum kfl_proto) says which protocols the entries of a stream
 * can still have; the plan decides `http`, `protocol.name == ...` and the presence of fields with
 * it before any entry exists. Any thread; constants. */
#ifndef KFL_PROTO_H
#define KFL_PROTO_H

#include <stdint.h>

enum kfl_l4 {
    KFL_L4_TCP = 1 << 0,
    KFL_L4_UDP = 1 << 1,
    KFL_L4_SCTP = 1 << 2,
    KFL_L4_ICMP = 1 << 3, /* ICMP and ICMPv6 */
    KFL_L4_OTHER = 1 << 4,
};

enum kfl_proto {
#define KFL_PROTO(id, name, abbr, version, layer4) KFL_PROTO_##id,
#include "protos.def"
#undef KFL_PROTO
    KFL_PROTO_COUNT
};

_Static_assert(KFL_PROTO_COUNT <= 32, "sets of protocols are 32 bits");

#define KFL_PROTO_BIT(id) (UINT32_C(1) << KFL_PROTO_##id)
#define KFL_PROTOS_HTTP                                                                            \
    (KFL_PROTO_BIT(HTTP) | KFL_PROTO_BIT(HTTP2) | KFL_PROTO_BIT(GRPC) | KFL_PROTO_BIT(GQL))
#define KFL_PROTOS_L4                                                                              \
    (KFL_PROTO_BIT(TCP) | KFL_PROTO_BIT(UDP) | KFL_PROTO_BIT(SCTP) | KFL_PROTO_BIT(IP))

struct kfl_proto_info {
    const char *name, *abbr, *version;
    uint8_t layer4; /* set of enum kfl_l4 */
};

extern const struct kfl_proto_info kfl_proto_info[KFL_PROTO_COUNT];

/* All protocols that can travel in this L4, its L4 entry among them. */
uint32_t kfl_protos_of_l4(enum kfl_l4 l4);

/* Of what protocol the one entry is that a stream without any other has. */
static inline enum kfl_proto kfl_l4_entry(enum kfl_l4 l4)
{
    switch (l4) {
    case KFL_L4_TCP:
        return KFL_PROTO_TCP;
    case KFL_L4_UDP:
        return KFL_PROTO_UDP;
    case KFL_L4_SCTP:
        return KFL_PROTO_SCTP;
    case KFL_L4_ICMP:
        return KFL_PROTO_ICMP;
    case KFL_L4_OTHER:
        break;
    }
    return KFL_PROTO_IP;
}

#endif
