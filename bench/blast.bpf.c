/* blast.bpf.c - what blast.c has the kernel run for each frame: makes it the next one, and sends
 * it.
 *
 * All frames begin as the same 1514 bytes (blast.c); here they get a stream's addresses and ports,
 * its direction, and a size. */
#include <linux/bpf.h>

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "blast.h"

const volatile struct blast_config blast_config;
__u64 blast_sent, blast_begun_ns;
__u32 blast_size; /* of the next one: place in blast_config.size */

enum { SPINS_MAX = 1 << 20 };

struct headers {
    struct ethhdr eth;
    struct iphdr ip;
    struct udphdr l4; /* TCP's ports lie where UDP's do */
} __attribute__((packed));

static __always_inline __u16 checksum(const struct headers *frame)
{
    const __u16 *word = (const void *)frame + sizeof(frame->eth);
    __u32 sum = 0;

#pragma unroll
    for (unsigned i = 0; i < sizeof(frame->ip) / 2; i++)
        sum += word[i];
    sum = (sum & 0xffff) + (sum >> 16);
    return (__u16) ~((sum & 0xffff) + (sum >> 16));
}

/* Three of four streams are TCP (acknowledgements, with bytes if there is room), the fourth UDP. */
static __always_inline void make(struct headers *frame, __u32 stream, bool reverse, __u16 size)
{
    __be32 client = bpf_htonl(0x0a000000 + stream), server = bpf_htonl(0x0a800000 + stream % 251);
    __be16 client_port = bpf_htons((__u16)(1024 + stream % 60000));
    bool udp = (stream & 3) == 3;
    __be16 server_port = bpf_htons(udp ? 53 : stream & 2 ? 6379 : stream & 1 ? 443 : 80);

    frame->ip.tot_len = bpf_htons(size - sizeof(frame->eth));
    frame->ip.protocol = udp ? 17 : 6;
    frame->ip.saddr = reverse ? server : client;
    frame->ip.daddr = reverse ? client : server;
    frame->ip.check = 0;
    frame->ip.check = checksum(frame);
    frame->l4.source = reverse ? server_port : client_port;
    frame->l4.dest = reverse ? client_port : server_port;
    /* Of TCP these are the sequence number: bytes of the same place again and again. */
    frame->l4.len = udp ? bpf_htons(size - sizeof(frame->eth) - sizeof(frame->ip)) : 0;
    frame->l4.check = 0;
}

static long spin(__u32 turn, __u64 *due_ns)
{
    return bpf_ktime_get_ns() >= *due_ns;
}

static __always_inline void wait(__u64 n)
{
    __u64 due_ns;

    if (!blast_begun_ns)
        blast_begun_ns = bpf_ktime_get_ns();
    due_ns = blast_begun_ns + n * blast_config.interval_ps / 1000;
    bpf_loop(SPINS_MAX, spin, &due_ns, 0);
}

SEC("xdp")
int blast(struct xdp_md *ctx)
{
    struct headers *frame = (void *)(long)ctx->data;
    __u64 n = blast_sent++, random = n * 0x9e3779b97f4a7c15;
    __u32 at = blast_size;
    __u16 size;

    if (blast_config.interval_ps)
        wait(n);
    if (at >= BLAST_SIZES)
        at = 0;
    blast_size = at + 1;
    size = blast_config.size[at];
    if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    make(frame, (__u32)((random >> 32) % blast_config.n_streams), random >> 31 & 1, size);
    if (bpf_xdp_adjust_tail(ctx, (int)size - BLAST_FRAME))
        return XDP_ABORTED;
    return (int)bpf_redirect(blast_config.interface, 0);
}

/* For the other end: a veth that has a program takes such frames, whoever listens there. */
SEC("xdp")
int pass(struct xdp_md *ctx)
{
    return XDP_PASS;
}

char blast_license[] SEC("license") = "GPL";
