/* DPDK: any of its Ethernet devices. The one file, beside flow_rules.c, that includes its headers
 * for packets.
 *
 * RX threads are ordinary threads; they need nothing of DPDK's environment. Known of its drivers:
 * net_af_packet does not tell what it loses, and net_af_xdp keeps its queues until the process
 * ends (22.11). */
#include "source.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>

#include "../kfl-jit/ensure.h"
#include "dpdk_eal.h"
#include "flow_rules.h"
#include "interface.h"
#include "slots.h"

extern const struct source_ops source_dpdk_ops;

enum {
    FRAMES_DEFAULT = 16384,
    DESCRIPTORS = 2048,
    N_SLOTS = 128, /* for packets in several segments, per queue */
    RSS_KEY_MAX = 64,
    HELD_BACK_NS = 20000000, /* after stop(): what the device still has under way */
    STOP_NS_MAX = 1000000000,
    CLOCK_DUE_NS = 1000000000,
    AF_XDP_TRIES = 10,
    AF_XDP_TRY_US = 50000,
};

/* A device's clock, told by two readings of it and of UTC. */
struct device_clock {
    uint64_t ticks, utc_ns; /* at the last reading */
    uint64_t due_ns;
    double ns_per_tick;
};

struct queue {
    struct rte_mempool *pool;
    struct slots slots;
    struct device_clock clock;
    _Alignas(64) _Atomic uint64_t rx, rx_bytes, drop_slots;
};

enum timestamps { TIME_OF_BURST, TIME_MICROSECONDS, TIME_DEVICE_CLOCK };

struct source_dpdk {
    struct source_base base;
    uint16_t port;
    bool af_xdp;
    bool started, promiscuous; /* promiscuous: it is our doing */
    bool finite;               /* net_pcap from files: an empty burst is the end */
    enum timestamps timestamps;
    int timestamp_offset;
    uint64_t timestamp_flag;
    uint32_t snaplen;
    uint16_t interface;
    struct rte_eth_stats stats_base;
    struct rte_eth_rss_conf rss;
    struct flow_rules *flow_rules; /* null: nothing is pushed down */
    _Atomic uint64_t stopped_ns;   /* 0: not */
    struct queue *queues;
};

static int port_find(struct source_dpdk *source, const struct source_config *config);
static int port_start(struct source_dpdk *source, const struct source_config *config);
static void dpdk_close(struct source *base);
static uint64_t clock_utc(struct device_clock *clock, uint64_t ticks);
static void clock_read(struct device_clock *clock, uint16_t port, uint64_t now_ns);

static uint64_t now_utc_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* "net_pcap0,rx_pcap=x" is called net_pcap0 */
static void device_name(const char *device, char *name, size_t size)
{
    snprintf(name, size, "%.*s", (int)strcspn(device, ","), device);
}

static int device_open(const struct source_config *config, struct source **ret_source,
                       char reterr_text[static SOURCE_ERROR_SIZE])
{
    struct source_dpdk *source = calloc(1, sizeof(*source));
    const char *what = "finding it";
    int rc;

    if (!source)
        return -ENOMEM;
    source->port = RTE_MAX_ETHPORTS;
    source->snaplen = config->snaplen ? config->snaplen : UINT32_MAX;
    device_name(config->device, source->base.name, sizeof(source->base.name));
    dpdk_eal_words_clear();
    rc = port_find(source, config);
    if (!rc) {
        what = "starting it";
        rc = port_start(source, config);
    }
    if (rc) {
        snprintf(reterr_text, SOURCE_ERROR_SIZE, "device = \"%.70s\": %s: %s; DPDK says: %.90s",
                 config->device, what, strerror(-rc), dpdk_eal_words());
        dpdk_close((struct source *)source);
        return rc;
    }
    *ret_source = (struct source *)source;
    return 0;
}

static int dpdk_open(const struct source_config *config, struct source **ret_source,
                     char reterr_text[static SOURCE_ERROR_SIZE])
{
    int rc;

    if (!config->device || !*config->device) {
        snprintf(reterr_text, SOURCE_ERROR_SIZE,
                 "type = \"dpdk\" needs device = \"PCI ADDRESS\" or a virtual device, "
                 "\"net_af_packet0,iface=eth0\"; see: dpdk-devbind.py -s");
        return -EINVAL;
    }
    rc = dpdk_eal_start(config->eal ? config->eal : "", reterr_text);
    if (rc)
        return rc;
    /* An AF_XDP queue that was just closed is let go of by the kernel a bit later. */
    for (unsigned i = 0; i < AF_XDP_TRIES; i++) {
        rc = device_open(config, ret_source, reterr_text);
        if (!rc || strncmp(config->device, "net_af_xdp", strlen("net_af_xdp")))
            break;
        usleep(AF_XDP_TRY_US);
    }
    return rc;
}

/* Several segments become one in a slot; one that has no place is lost. */
static bool packet_join(struct queue *queue, struct packet *packet, struct rte_mbuf *mbuf)
{
    int32_t slot = mbuf->pkt_len <= queue->slots.size ? slots_take(&queue->slots) : SLOT_NONE;
    uint32_t used = 0;

    if (slot == SLOT_NONE) {
        atomic_store_explicit(&queue->drop_slots, queue->drop_slots + 1, memory_order_relaxed);
    } else {
        packet->data = slots_at(&queue->slots, (uint32_t)slot);
        packet->cookie = COOKIE_SLOT | (uint32_t)slot;
        for (const struct rte_mbuf *segment = mbuf; segment; segment = segment->next) {
            ensure(segment->data_len <= queue->slots.size - used);
            memcpy(slots_at(&queue->slots, (uint32_t)slot) + used,
                   rte_pktmbuf_mtod(segment, const void *), segment->data_len);
            used += segment->data_len;
        }
    }
    rte_pktmbuf_free(mbuf);
    return slot != SLOT_NONE;
}

static inline uint64_t packet_time(const struct source_dpdk *source, struct queue *queue,
                                   struct rte_mbuf *mbuf, uint64_t now_ns)
{
    uint64_t ticks;

    if (source->timestamps == TIME_OF_BURST || !(mbuf->ol_flags & source->timestamp_flag))
        return now_ns;
    ticks = *RTE_MBUF_DYNFIELD(mbuf, source->timestamp_offset, rte_mbuf_timestamp_t *);
    return source->timestamps == TIME_MICROSECONDS ? ticks * 1000 : clock_utc(&queue->clock, ticks);
}

/* Nothing came: is it the end? */
static int rx_idle(const struct source_dpdk *source)
{
    uint64_t stopped_ns = atomic_load_explicit(&source->stopped_ns, memory_order_relaxed);

    if (source->finite)
        return -ENODATA;
    return stopped_ns && now_utc_ns() > stopped_ns + HELD_BACK_NS ? -ENODATA : 0;
}

static int dpdk_rx(struct source *base, unsigned number, struct packet *burst, unsigned n)
{
    struct source_dpdk *source = (struct source_dpdk *)base;
    struct queue *queue = &source->queues[number];
    uint64_t stopped_ns = atomic_load_explicit(&source->stopped_ns, memory_order_relaxed);
    struct rte_mbuf *mbufs[PACKET_BURST];
    uint64_t bytes = 0, now_ns = 0;
    unsigned taken, filled = 0;

    if (n > PACKET_BURST)
        n = PACKET_BURST;
    if (source->finite) {
        /* A file waits: its driver drops what it has no buffer for, 64 KiB at most. */
        unsigned fit = rte_mempool_avail_count(queue->pool) / 32;

        if (stopped_ns)
            return -ENODATA;
        n = n < fit ? n : fit;
        if (!n)
            return 0;
    }
    taken = rte_eth_rx_burst(source->port, (uint16_t)number, mbufs, (uint16_t)n);
    if (!taken)
        return rx_idle(source);
    now_ns = now_utc_ns();
    if (source->timestamps == TIME_DEVICE_CLOCK && now_ns >= queue->clock.due_ns)
        clock_read(&queue->clock, source->port, now_ns);
    for (unsigned i = 0; i < taken; i++) {
        struct packet *packet = &burst[filled];
        struct rte_mbuf *mbuf = mbufs[i];

        /* A driver that takes tags out whatever it is told: back in. */
        if (__builtin_expect((mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0, 0))
            (void)rte_vlan_insert(&mbuf);
        /* A nanosecond apart: packets of a stream are told apart by their times, and sorted. */
        packet->ts_ns = packet_time(source, queue, mbuf, now_ns + i);
        packet->origlen = mbuf->pkt_len;
        packet->caplen = mbuf->pkt_len < source->snaplen ? mbuf->pkt_len : source->snaplen;
        packet->interface = source->interface;
        packet->linktype = LINKTYPE_ETHERNET;
        packet->source = source->base.number;
        packet->queue = (uint16_t)number;
        packet->data = rte_pktmbuf_mtod(mbuf, const uint8_t *);
        packet->cookie = (uint64_t)(uintptr_t)mbuf;
        if (__builtin_expect(mbuf->nb_segs > 1, 0) && !packet_join(queue, packet, mbuf))
            continue;
        bytes += packet->origlen;
        filled++;
    }
    atomic_store_explicit(&queue->rx, queue->rx + filled, memory_order_relaxed);
    atomic_store_explicit(&queue->rx_bytes, queue->rx_bytes + bytes, memory_order_relaxed);
    if (stopped_ns && now_ns > stopped_ns + STOP_NS_MAX && !filled)
        return -ENODATA;
    return (int)filled;
}

static void dpdk_release(struct source *base, unsigned number, const struct packet *burst,
                         unsigned n)
{
    struct source_dpdk *source = (struct source_dpdk *)base;
    struct rte_mbuf *mbufs[PACKET_BURST];
    unsigned n_mbufs = 0;

    for (unsigned i = 0; i < n; i++) {
        if (__builtin_expect((burst[i].cookie & COOKIE_SLOT) != 0, 0)) {
            slots_give(&source->queues[number].slots, (uint32_t)burst[i].cookie);
            continue;
        }
        mbufs[n_mbufs++] = (struct rte_mbuf *)(uintptr_t)burst[i].cookie;
        if (n_mbufs == PACKET_BURST) {
            rte_pktmbuf_free_bulk(mbufs, n_mbufs);
            n_mbufs = 0;
        }
    }
    rte_pktmbuf_free_bulk(mbufs, n_mbufs);
}

static int dpdk_fd(struct source *base, unsigned number)
{
    return -1;
}

static void dpdk_stats(struct source *base, struct source_stats *ret_stats)
{
    struct source_dpdk *source = (struct source_dpdk *)base;
    struct source_stats stats = {0};
    struct rte_eth_stats device;

    for (unsigned i = 0; i < source->base.n_queues; i++) {
        struct queue *queue = &source->queues[i];

        stats.rx += atomic_load_explicit(&queue->rx, memory_order_relaxed);
        stats.rx_bytes += atomic_load_explicit(&queue->rx_bytes, memory_order_relaxed);
        stats.drop_nic += atomic_load_explicit(&queue->drop_slots, memory_order_relaxed);
    }
    if (!rte_eth_stats_get(source->port, &device))
        stats.drop_nic += device.imissed - source->stats_base.imissed + device.ierrors -
                          source->stats_base.ierrors + device.rx_nombuf -
                          source->stats_base.rx_nombuf;
    if (source->flow_rules)
        stats.discarded_kernel = flow_rules_dropped(source->flow_rules);
    *ret_stats = stats;
}

static void dpdk_stop(struct source *base)
{
    struct source_dpdk *source = (struct source_dpdk *)base;

    atomic_store_explicit(&source->stopped_ns, now_utc_ns(), memory_order_relaxed);
}

static void dpdk_widen(struct source *base, const struct pushdown_condition *also)
{
    struct source_dpdk *source = (struct source_dpdk *)base;

    if (source->flow_rules)
        flow_rules_widen(source->flow_rules, also);
}

static void dpdk_narrow(struct source *base, const struct pushdown_condition *only)
{
    struct source_dpdk *source = (struct source_dpdk *)base;

    if (source->flow_rules)
        flow_rules_narrow(source->flow_rules, only);
}

static void dpdk_close(struct source *base)
{
    struct source_dpdk *source = (struct source_dpdk *)base;
    struct rte_eth_dev_info info;

    if (source->port < RTE_MAX_ETHPORTS) {
        int known = rte_eth_dev_info_get(source->port, &info);

        flow_rules_free(source->flow_rules);
        if (source->promiscuous)
            rte_eth_promiscuous_disable(source->port);
        if (source->started)
            rte_eth_dev_stop(source->port);
        rte_eth_dev_close(source->port);
        if (!known && info.device)
            rte_dev_remove(info.device);
    }
    for (unsigned i = 0; source->queues && i < source->base.n_queues; i++) {
        rte_mempool_free(source->queues[i].pool);
        slots_done(&source->queues[i].slots);
    }
    free(source->queues);
    free(source);
}

const struct source_ops source_dpdk_ops = {
    .name = "dpdk",
    .live = true,
    .open = dpdk_open,
    .rx = dpdk_rx,
    .release = dpdk_release,
    .fd = dpdk_fd,
    .stats = dpdk_stats,
    .stop = dpdk_stop,
    .close = dpdk_close,
    .widen = dpdk_widen,
    .narrow = dpdk_narrow,
};

/* The same for a device that reads a file: it waits for us. */
static const struct source_ops finite_ops = {
    .name = "dpdk",
    .live = false,
    .open = dpdk_open,
    .rx = dpdk_rx,
    .release = dpdk_release,
    .fd = dpdk_fd,
    .stats = dpdk_stats,
    .stop = dpdk_stop,
    .close = dpdk_close,
};

/* ---- the device's clock ---- */

static uint64_t clock_utc(struct device_clock *clock, uint64_t ticks)
{
    return clock->utc_ns +
           (uint64_t)(int64_t)((double)(int64_t)(ticks - clock->ticks) * clock->ns_per_tick);
}

/* From reading to reading its speed is known better; what was told before stays told. */
static void clock_read(struct device_clock *clock, uint16_t port, uint64_t now_ns)
{
    uint64_t ticks;

    if (rte_eth_read_clock(port, &ticks))
        return;
    if (clock->ticks && ticks > clock->ticks && now_ns > clock->utc_ns)
        clock->ns_per_tick = (double)(now_ns - clock->utc_ns) / (double)(ticks - clock->ticks);
    clock->ticks = ticks;
    clock->utc_ns = now_ns;
    clock->due_ns = now_ns + CLOCK_DUE_NS;
}

/* Two readings 10 ms apart: what packets of the first second are timed with. */
static bool clock_start(struct source_dpdk *source)
{
    struct device_clock clock = {0};

    clock_read(&clock, source->port, now_utc_ns());
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    clock_read(&clock, source->port, now_utc_ns());
    for (unsigned i = 0; i < source->base.n_queues; i++)
        source->queues[i].clock = clock;
    return clock.ns_per_tick > 0;
}

/* ---- the port ---- */

/* The device comes to life; if it was there already it is taken as it is. */
static int port_find(struct source_dpdk *source, const struct source_config *config)
{
    struct rte_eth_dev_info info;
    uint16_t port;
    int rc;

    if (!rte_eth_dev_get_port_by_name(source->base.name, &port))
        return -EBUSY;
    rc = rte_dev_probe(config->device);
    if (rc)
        return rc < 0 ? rc : -ENODEV;
    rc = rte_eth_dev_get_port_by_name(source->base.name, &port);
    if (rc)
        return rc;
    source->port = port;
    rc = rte_eth_dev_info_get(port, &info);
    if (rc)
        return rc;
    source->af_xdp = !strcmp(info.driver_name, "net_af_xdp");
    source->finite = !strcmp(info.driver_name, "net_pcap") && strstr(config->device, "rx_pcap=") &&
                     !strstr(config->device, "infinite_rx=1");
    if (source->finite)
        source->base.ops = &finite_ops;
    source->timestamps = !strcmp(info.driver_name, "net_pcap")                 ? TIME_MICROSECONDS
                         : info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP ? TIME_DEVICE_CLOCK
                                                                               : TIME_OF_BURST;
    return 0;
}

static unsigned count_queues(const struct rte_eth_dev_info *info, unsigned wanted)
{
    cpu_set_t cpus;
    unsigned n = wanted;

    if (!n)
        n = sched_getaffinity(0, sizeof(cpus), &cpus) ? 1 : (unsigned)CPU_COUNT(&cpus);
    if (n > info->max_rx_queues)
        n = info->max_rx_queues;
    return n > SOURCE_QUEUE_MAX ? SOURCE_QUEUE_MAX : n;
}

/* Some drivers want a send queue for each receive queue, most none. */
static int port_configure(struct source_dpdk *source, const struct rte_eth_dev_info *info)
{
    static uint8_t key[RSS_KEY_MAX];
    uint16_t n_queues = (uint16_t)source->base.n_queues;
    uint64_t hash = info->flow_type_rss_offloads &
                    (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP);
    struct rte_eth_conf conf = {0};
    int rc;

    conf.rxmode.offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    if (source->timestamps == TIME_DEVICE_CLOCK)
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TIMESTAMP;
    if (n_queues > 1 && hash && info->hash_key_size <= RSS_KEY_MAX) {
        /* This key makes Toeplitz' hash the same for both directions. */
        for (unsigned i = 0; i < RSS_KEY_MAX; i++)
            key[i] = i % 2 ? 0x5a : 0x6d;
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        source->rss = (struct rte_eth_rss_conf){
            .rss_key = key,
            .rss_key_len = info->hash_key_size ? info->hash_key_size : 40,
            .rss_hf = hash,
        };
        conf.rx_adv_conf.rss_conf = source->rss;
    }
    rc = rte_eth_dev_configure(source->port, n_queues, 0, &conf);
    if (!rc)
        return 0;
    dpdk_eal_words_clear();
    rc = rte_eth_dev_configure(source->port, n_queues, n_queues, &conf);
    for (uint16_t i = 0; !rc && i < n_queues; i++)
        rc = rte_eth_tx_queue_setup(source->port, i, 64, SOCKET_ID_ANY, NULL);
    return rc;
}

/* Released buffers are used again while the cache still has them: a stack. Where nothing is done by
 * physical address the buffers lie one behind the other: net_af_xdp reckons with that. */
static struct rte_mempool *pool_create(const struct source_dpdk *source, unsigned n,
                                       uint32_t frame_size)
{
    static atomic_uint n_pools;
    bool virtual = !rte_eal_has_hugepages() || source->af_xdp;
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = (uint16_t)frame_size};
    struct rte_mempool *pool;
    char name[32];

    snprintf(name, sizeof(name), "tapedeck_%u", atomic_fetch_add(&n_pools, 1));
    pool = rte_mempool_create_empty(name, n, (unsigned)sizeof(struct rte_mbuf) + frame_size, 0,
                                    sizeof(private), rte_eth_dev_socket_id(source->port),
                                    virtual ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);
    if (!pool)
        return NULL;
    if (rte_mempool_set_ops_byname(pool, "stack", NULL))
        rte_mempool_set_ops_byname(pool, RTE_MBUF_DEFAULT_MEMPOOL_OPS, NULL);
    rte_pktmbuf_pool_init(pool, &private);
    if (rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

static int queue_setup(struct source_dpdk *source, unsigned number, unsigned n_frames,
                       uint16_t n_descriptors, uint32_t frame_size)
{
    struct queue *queue = &source->queues[number];
    int rc = slots_init(&queue->slots, N_SLOTS, SLOT_SIZE_MAX);

    if (rc)
        return rc;
    queue->pool = pool_create(source, n_frames + n_descriptors, frame_size);
    if (!queue->pool)
        return -ENOMEM;
    return rte_eth_rx_queue_setup(source->port, (uint16_t)number, n_descriptors,
                                  (unsigned)rte_eth_dev_socket_id(source->port), NULL, queue->pool);
}

static int timestamps_find(struct source_dpdk *source)
{
    if (source->timestamps == TIME_OF_BURST)
        return 0;
    if (source->timestamps == TIME_DEVICE_CLOCK && !clock_start(source)) {
        source->timestamps = TIME_OF_BURST;
        return 0;
    }
    return rte_mbuf_dyn_rx_timestamp_register(&source->timestamp_offset, &source->timestamp_flag)
               ? -rte_errno
               : 0;
}

static void port_push_down(struct source_dpdk *source)
{
    char why[FLOW_ERROR_SIZE];

    if (flow_rules_create(source->port, source->base.n_queues,
                          source->rss.rss_hf ? &source->rss : NULL, &source->flow_rules, why))
        snprintf(source->base.note, sizeof(source->base.note),
                 "the device hands out everything, it takes no rte_flow rules for what no job "
                 "wants: %.120s",
                 why);
}

static int port_start(struct source_dpdk *source, const struct source_config *config)
{
    uint32_t n_frames = config->frames ? config->frames : FRAMES_DEFAULT;
    uint32_t frame_size = RTE_MBUF_DEFAULT_BUF_SIZE;
    uint16_t n_descriptors = DESCRIPTORS, none = 0, mtu = 0;
    struct rte_eth_dev_info info;
    char description[128];
    int rc = rte_eth_dev_info_get(source->port, &info);

    if (rc)
        return rc;
    source->base.n_queues = count_queues(&info, config->queues);
    if (config->queues > source->base.n_queues)
        return -EINVAL;
    source->queues = aligned_alloc(64, source->base.n_queues * sizeof(struct queue));
    if (!source->queues)
        return -ENOMEM;
    memset(source->queues, 0, source->base.n_queues * sizeof(struct queue));
    rc = port_configure(source, &info);
    if (!rc)
        rc = rte_eth_dev_adjust_nb_rx_tx_desc(source->port, &n_descriptors, &none);
    if (!rc && !rte_eth_dev_get_mtu(source->port, &mtu) && mtu > 1800 && mtu < 16000)
        frame_size = mtu + 256u + RTE_PKTMBUF_HEADROOM;
    for (unsigned i = 0; !rc && i < source->base.n_queues; i++)
        rc = queue_setup(source, i, n_frames, n_descriptors, frame_size);
    if (!rc)
        rc = rte_eth_dev_start(source->port);
    if (rc)
        return rc;
    source->started = true;
    rc = timestamps_find(source);
    if (rc)
        return rc;
    if (config->promiscuous && rte_eth_promiscuous_get(source->port) == 0)
        source->promiscuous = rte_eth_promiscuous_enable(source->port) == 0;
    rte_eth_stats_get(source->port, &source->stats_base);
    snprintf(description, sizeof(description), "DPDK %s, %u queue%s", info.driver_name,
             source->base.n_queues, source->base.n_queues > 1 ? "s" : "");
    rc = interface_add(source->base.name, "dpdk", description, LINKTYPE_ETHERNET, config->snaplen);
    source->interface = rc < 0 ? 0 : (uint16_t)rc;
    if (rc >= 0 && config->pushdown && !source->finite)
        port_push_down(source);
    return rc < 0 ? rc : 0;
}
