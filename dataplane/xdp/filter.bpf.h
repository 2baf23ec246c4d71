/* filter.bpf.h - what was pushed down (capture.h): does no job want this packet?
 *
 * Only what is certain is discarded. What the program cannot look into passes: fragments, tunnels,
 * extension headers, headers that are cut or contradict themselves, other layer 4. */
#ifndef DATAPLANE_XDP_FILTER_BPF_H
#define DATAPLANE_XDP_FILTER_BPF_H

#include <stdbool.h>

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "capture.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct capture_control);
} capture_control SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, CAPTURE_TABLES *CAPTURE_PORTS);
    __type(key, __u32);
    __type(value, struct capture_sides);
} capture_ports SEC(".maps");

struct capture_address_map {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, CAPTURE_ADDRESSES_MAX);
    __type(key, struct capture_prefix);
    __type(value, struct capture_sides);
};
struct capture_address_map capture_addr_0 SEC(".maps");
struct capture_address_map capture_addr_1 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, CAPTURE_OUT_MAX);
    __type(key, struct capture_stream);
    __type(value, struct capture_out);
} capture_streams SEC(".maps");

enum { KIND_TCP, KIND_UDP, KIND_SCTP, KIND_ICMP, KIND_IPV6 };
enum { FLAG_FIN = 1, FLAG_SYN = 2, FLAG_RST = 4 };
enum { PORT_DNS = 53, PORT_NONE = CAPTURE_PORTS - 1 };
enum { OUT_SEEN_NS = 1 << 28 }; /* how exact last_ns is kept */

/* What a packet shows. */
struct look {
    struct capture_prefix addr[2]; /* of its sender, its receiver; bits 128 */
    __u32 port[2];
    __u32 kind;
    __u32 tcp_flags;
};

enum look_result { LOOK_PASS, LOOK_DISCARD, LOOK_ASK };

static __always_inline bool is_tunnel_port(__u32 port)
{
    switch (port) {
    case 1701: /* those of decode_walk.h */
    case 2152:
    case 3544:
    case 4754:
    case 4789:
    case 4790:
    case 6081:
    case 6635:
    case 8472:
        return true;
    }
    return false;
}

/* size: of the IP packet's payload, by its header */
static __always_inline enum look_result look_l4(struct look *look, __u32 protocol, void *l4,
                                                void *end, __u32 size)
{
    __u8 *bytes = l4;

    switch (protocol) {
    case IPPROTO_TCP:
        if (l4 + 20 > end || size < 20)
            return LOOK_PASS;
        look->tcp_flags = bytes[13];
        look->kind += KIND_TCP;
        break;
    case IPPROTO_UDP:
        if (l4 + 8 > end || size < 8)
            return LOOK_PASS;
        look->kind += KIND_UDP;
        break;
    case IPPROTO_SCTP:
        if (l4 + 12 > end || size < 12)
            return LOOK_PASS;
        look->kind += KIND_SCTP;
        break;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        if ((protocol == IPPROTO_ICMPV6) != (look->kind == KIND_IPV6))
            return LOOK_PASS;
        look->kind += KIND_ICMP;
        look->port[0] = look->port[1] = PORT_NONE;
        return LOOK_ASK;
    default:
        return LOOK_PASS;
    }
    look->port[0] = (__u32)bytes[0] << 8 | bytes[1];
    look->port[1] = (__u32)bytes[2] << 8 | bytes[3];
    if (protocol == IPPROTO_UDP && (is_tunnel_port(look->port[0]) || is_tunnel_port(look->port[1])))
        return LOOK_PASS;
    return LOOK_ASK;
}

static __always_inline enum look_result look_ipv4(struct look *look, void *at, void *end)
{
    struct iphdr *ip = at;
    __u32 header, size;

    if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
        return LOOK_PASS;
    header = ip->ihl * 4u;
    size = bpf_ntohs(ip->tot_len);
    if ((ip->frag_off & bpf_htons(0x3fff)) || size < header)
        return LOOK_PASS;
    for (int i = 0; i < 2; i++) {
        look->addr[i].addr[10] = look->addr[i].addr[11] = 0xff;
        __builtin_memcpy(look->addr[i].addr + 12, i ? &ip->daddr : &ip->saddr, 4);
    }
    return look_l4(look, ip->protocol, at + header, end, size - header);
}

static __always_inline enum look_result look_ipv6(struct look *look, void *at, void *end)
{
    struct ipv6hdr *ip = at;

    if ((void *)(ip + 1) > end || ip->version != 6)
        return LOOK_PASS;
    for (int i = 0; i < 2; i++) {
        __u32 word[4];

        __builtin_memcpy(word, i ? &ip->daddr : &ip->saddr, 16);
        if (!word[0] && !word[1] && word[2] == bpf_htonl(0xffff))
            return LOOK_PASS; /* it would look like IPv4 */
        __builtin_memcpy(look->addr[i].addr, word, 16);
    }
    look->kind = KIND_IPV6;
    return look_l4(look, ip->nexthdr, ip + 1, end, bpf_ntohs(ip->payload_len));
}

static __always_inline enum look_result look_at(struct xdp_md *ctx, struct look *look)
{
    void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __be16 type;

    if (at + ETH_HLEN > end)
        return LOOK_PASS;
    type = *(__be16 *)(at + ETH_HLEN - 2);
    at += ETH_HLEN;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
            break;
        if (at + 4 > end)
            return LOOK_PASS;
        type = *(__be16 *)(at + 2);
        at += 4;
    }
    switch (type) {
    case bpf_htons(ETH_P_IP):
        return look_ipv4(look, at, end);
    case bpf_htons(ETH_P_IPV6):
        return look_ipv6(look, at, end);
    case bpf_htons(ETH_P_ARP): /* these have no stream, so nobody wants them */
    case bpf_htons(ETH_P_LLDP):
    case bpf_htons(ETH_P_PAE):
        return LOOK_DISCARD;
    }
    return LOOK_PASS;
}

static __always_inline struct capture_sides *filter_ports(__u32 table, __u32 port)
{
    __u32 key = table * CAPTURE_PORTS + port;

    return bpf_map_lookup_elem(&capture_ports, &key);
}

static __always_inline bool filter_wants(struct capture_control *control, __u32 table,
                                         struct look *look)
{
    struct capture_table *of = &control->table[table];
    struct capture_sides *from, *to;
    __u64 clauses = of->kind[look->kind & (CAPTURE_KINDS - 1)], there, back;

    if (!clauses)
        return false;
    from = filter_ports(table, look->port[0]);
    to = filter_ports(table, look->port[1]);
    if (!from || !to)
        return true;
    there = clauses & from->side[0] & to->side[1];
    back = clauses & from->side[1] & to->side[0];
    if (!(there | back) || !(of->flags & CAPTURE_ADDRESSES))
        return there | back;
    from = table ? bpf_map_lookup_elem(&capture_addr_1, &look->addr[0])
                 : bpf_map_lookup_elem(&capture_addr_0, &look->addr[0]);
    to = table ? bpf_map_lookup_elem(&capture_addr_1, &look->addr[1])
               : bpf_map_lookup_elem(&capture_addr_0, &look->addr[1]);
    if (!from || !to)
        return true;
    return (there & from->side[0] & to->side[1]) | (back & from->side[1] & to->side[0]);
}

/* -> 1: the sender's is the higher endpoint */
static __always_inline int filter_order(const struct look *look)
{
    for (int i = 0; i < 16; i += 8) {
        __u64 from, to;

        __builtin_memcpy(&from, look->addr[0].addr + i, 8);
        __builtin_memcpy(&to, look->addr[1].addr + i, 8);
        if (from != to)
            return bpf_be64_to_cpu(from) > bpf_be64_to_cpu(to);
    }
    return look->port[0] > look->port[1];
}

/* Is its stream out for all jobs? SYN, FIN and RST always pass, and what comes after them. */
static __always_inline bool filter_is_out(struct capture_control *control, struct look *look)
{
    struct capture_stream key = {.kind = (__u8)look->kind};
    struct capture_out *out;
    int order = filter_order(look);
    __u64 now_ns;

    __builtin_memcpy(key.addr[0], order ? look->addr[1].addr : look->addr[0].addr, 16);
    __builtin_memcpy(key.addr[1], order ? look->addr[0].addr : look->addr[1].addr, 16);
    key.port[0] = (__u16)(order ? look->port[1] : look->port[0]);
    key.port[1] = (__u16)(order ? look->port[0] : look->port[1]);
    out = bpf_map_lookup_elem(&capture_streams, &key);
    if (!out)
        return false;
    now_ns = bpf_ktime_get_ns();
    if ((look->tcp_flags & (FLAG_FIN | FLAG_SYN | FLAG_RST)) ||
        (out->timeout_ns && now_ns > out->last_ns + out->timeout_ns)) {
        bpf_map_delete_elem(&capture_streams, &key);
        return false;
    }
    if (now_ns > out->last_ns + OUT_SEEN_NS)
        out->last_ns = now_ns;
    return out->armed && out->epoch == control->epoch;
}

static __always_inline bool filter_discards(struct xdp_md *ctx)
{
    struct look look = {.addr = {{.bits = 128}, {.bits = 128}}};
    struct capture_control *control;
    __u32 key = 0, in_force, flags;
    bool wanted;

    control = bpf_map_lookup_elem(&capture_control, &key);
    if (!control)
        return false;
    in_force = *(volatile __u32 *)&control->in_force;
    if (!in_force)
        return false;
    flags =
        (in_force & 1 ? control->table[0].flags : 0) | (in_force & 2 ? control->table[1].flags : 0);
    if (!flags)
        return true;
    switch (look_at(ctx, &look)) {
    case LOOK_PASS:
        return !(flags & CAPTURE_ANYBODY);
    case LOOK_DISCARD:
        return true;
    case LOOK_ASK:
        break;
    }
    if ((flags & CAPTURE_DNS) && (look.port[0] == PORT_DNS || look.port[1] == PORT_DNS))
        return false;
    wanted = ((in_force & 1) && filter_wants(control, 0, &look)) ||
             ((in_force & 2) && filter_wants(control, 1, &look));
    return !wanted || filter_is_out(control, &look);
}

#endif
