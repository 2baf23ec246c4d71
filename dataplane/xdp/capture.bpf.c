/* capture.bpf.c - the XDP program: takes the time, and gives the packet to its queue's socket.
 *
 * First it asks what was pushed down (filter.bpf.h): what no job wants is counted as
 * CAPTURE_DISCARDED and goes to capture_config.otherwise. Built twice: with CAPTURE_VLAN_TAG it
 * asks the device for the VLAN tag that it took out of the frame, and puts it back; that needs a
 * kernel and a driver that can tell (6.8, bpf_xdp_metadata_rx_vlan_tag). */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "capture.h"
#include "filter.bpf.h"

const volatile struct capture_config capture_config = {.otherwise = XDP_DROP};

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, CAPTURE_QUEUE_MAX);
    __type(key, __u32);
    __type(value, __u32);
} capture_sockets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, CAPTURE_N_COUNTERS);
    __type(key, __u32);
    __type(value, __u64);
} capture_counters SEC(".maps");

static __always_inline void count(__u32 which)
{
    __u64 *counter = bpf_map_lookup_elem(&capture_counters, &which);

    if (counter)
        ++*counter;
}

#ifdef CAPTURE_VLAN_TAG
enum { MAC_ADDRESSES_SIZE = 12, VLAN_TAG_SIZE = 4 };

extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *vlan_proto,
                                        __u16 *vlan_tci) __ksym;

static __always_inline void vlan_tag_put_back(struct xdp_md *ctx)
{
    __u8 addresses[MAC_ADDRESSES_SIZE];
    __be16 protocol;
    __u16 tci;
    void *data;

    if (bpf_xdp_metadata_rx_vlan_tag(ctx, &protocol, &tci))
        return;
    data = (void *)(long)ctx->data;
    if (data + MAC_ADDRESSES_SIZE > (void *)(long)ctx->data_end)
        return;
    __builtin_memcpy(addresses, data, MAC_ADDRESSES_SIZE);
    if (bpf_xdp_adjust_head(ctx, -VLAN_TAG_SIZE))
        return;
    data = (void *)(long)ctx->data;
    if (data + MAC_ADDRESSES_SIZE + VLAN_TAG_SIZE > (void *)(long)ctx->data_end)
        return;
    __builtin_memcpy(data, addresses, MAC_ADDRESSES_SIZE);
    *(__be16 *)(data + MAC_ADDRESSES_SIZE) = protocol;
    *(__be16 *)(data + MAC_ADDRESSES_SIZE + 2) = bpf_htons(tci);
}
#endif

static __always_inline void time_put(struct xdp_md *ctx)
{
    struct capture_meta *meta;

    if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
        return; /* the driver has no room for it: the time of the burst will do */
    meta = (void *)(long)ctx->data_meta;
    if ((void *)(meta + 1) > (void *)(long)ctx->data)
        return;
    meta->time_ns = bpf_ktime_get_ns();
    meta->magic = capture_config.magic;
}

SEC("xdp")
int capture(struct xdp_md *ctx)
{
    int action;

    if (filter_discards(ctx)) {
        count(CAPTURE_DISCARDED);
        return (int)capture_config.otherwise;
    }
#ifdef CAPTURE_VLAN_TAG
    vlan_tag_put_back(ctx);
#endif
    time_put(ctx);
    action = (int)bpf_redirect_map(&capture_sockets, ctx->rx_queue_index, capture_config.otherwise);
    if (action != XDP_REDIRECT)
        count(CAPTURE_NO_SOCKET);
    return action;
}

char capture_license[] SEC("license") = "GPL";
