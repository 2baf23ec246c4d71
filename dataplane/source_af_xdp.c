/* AF_XDP: the kernel puts frames straight into our memory. One socket and one UMEM per queue.
 *
 * A frame's way: free stack -> fill ring -> (kernel) -> rx ring -> packet -> release -> free stack.
 * A packet larger than a frame comes in pieces and is put together in a slot of its own. */
#include "source.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <xdp/xsk.h>

#include "../kfl-jit/ensure.h"
#include "capture_filter.h"
#include "capture_program.h"
#include "interface.h"
#include "memory_map.h"
#include "nic.h"
#include "slots.h"
#include "xdp/capture.h"

/* Newer than the headers we build with; a kernel that lacks them says so. */
#ifndef XDP_USE_SG
#define XDP_USE_SG    (1 << 4)
#define XDP_PKT_CONTD (1 << 0)
#endif

enum {
    FRAME_SMALL = 2048,
    FRAME_LARGE = 4096,
    FRAME_HEADROOM = 256,   /* the kernel's own, XDP_PACKET_HEADROOM */
    LINK_OVERHEAD = 14 + 8, /* Ethernet, two tags */
    FRAMES_DEFAULT = 16384,
    RING_SIZE_MAX = 32768, /* else as many as frames: a late turn costs no packet */
    SLOTS_SIZE = 32 << 20, /* for packets that come in pieces, per queue */
    BUSY_POLL_US = 20,
    STOP_GRACE_NS = 20000000, /* for what the kernel had under way when the program went */
    CLOCK_CHECK_NS = 100000000,
    CLOCK_STEP_NS = 100000,
    BUSY_TRIES = 100, /* to get a queue that is just being closed, one second in all */
    BUSY_TRY_US = 10000,
};

struct queue {
    struct xsk_ring_cons rx;
    struct xsk_ring_prod fill;
    struct xsk_ring_cons completion; /* nothing is sent; the library wants it */
    struct xsk_umem *umem;
    struct xsk_socket *xsk;
    int fd;
    uint8_t *area;
    uint64_t *free; /* stack of frames that nobody has */
    uint32_t n_free;

    /* A packet in pieces. */
    struct slots slots;
    bool assembling;
    int32_t slot; /* SLOT_NONE: there was none, or it does not fit: the packet is lost */
    uint32_t slot_used;
    uint64_t slot_ts_ns;

    int64_t clock_ns;      /* UTC less CLOCK_MONOTONIC */
    uint64_t clock_due_ns; /* when it is looked at again */

    _Alignas(64) _Atomic uint64_t n_rx, rx_bytes, drop_slots;
};

struct source_af_xdp {
    struct source_base base;
    struct nic nic;
    struct capture_program program;
    struct capture_filter *filter; /* null: nothing is pushed down */
    _Atomic uint64_t stopped_ns;   /* 0: not */
    bool zero_copy;
    bool busy;
    uint32_t snaplen;
    uint16_t interface;
    uint32_t frame_size, n_frames, ring_size;
    uint32_t slot_size, n_slots;
    uint64_t no_socket_base, missed_base;
    struct queue *queues;
};

static int queue_open(struct source_af_xdp *source, unsigned number,
                      const struct source_config *config);
static void queue_close(struct source_af_xdp *source, struct queue *queue);
static void af_xdp_close(struct source *base);
static void clock_check(struct queue *queue, uint64_t now_ns);
static bool assemble(struct queue *queue, struct packet *packet, const uint8_t *data, uint32_t size,
                     bool more, uint64_t ts_ns);
static void refill(struct queue *queue);

/* What setting up came to grief over, in words. */
static int refuse(char reterr_text[static SOURCE_ERROR_SIZE], const char *name, const char *what,
                  int rc)
{
    const char *reason = strerror(-rc);

    if (rc == -EPERM || rc == -EACCES)
        reason = "not permitted; it needs root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF";
    else if (rc == -EBUSY || rc == -EEXIST)
        reason = "it is in use by another program; see bpftool net, ip link set DEV xdp off";
    else if (rc == -ENOBUFS || rc == -ENOMEM)
        reason = "not enough memory; lower frames, or raise the limit (ulimit -l)";
    snprintf(reterr_text, SOURCE_ERROR_SIZE, "interface = \"%.15s\": %s: %s", name, what, reason);
    return rc;
}

/* The interface as it is: whether it can be a source. */
static int look(struct source_af_xdp *source, const struct source_config *config,
                char reterr_text[static SOURCE_ERROR_SIZE])
{
    const char *name = config->interface ? config->interface : "", *wrong = NULL;
    struct nic *nic = &source->nic;
    int rc = nic_open(nic, name);

    if (rc == -ENODEV)
        wrong = "no such interface; see: ip -br link";
    else if (rc)
        return refuse(reterr_text, name, "looking at it", rc);
    else if (!nic->up)
        wrong = "it is down; try: ip link set DEV up";
    else if (!nic->ethernet)
        wrong = "its frames are not Ethernet's; only such are taken by af_xdp";
    else if (nic->n_queues > SOURCE_QUEUE_MAX)
        wrong = "it has more than 64 queues; try: ethtool -L DEV combined 64";
    if (wrong) {
        snprintf(reterr_text, SOURCE_ERROR_SIZE, "interface = \"%.40s\": %s", name, wrong);
        return -ENODEV;
    }
    if (config->queues > nic->n_queues) {
        snprintf(reterr_text, SOURCE_ERROR_SIZE,
                 "queues = %u: interface \"%s\" has %u; 0 takes them all", config->queues, name,
                 nic->n_queues);
        return -EINVAL;
    }
    return 0;
}

/* Frames that hold a whole packet where one page can; larger packets come in pieces. */
static void choose_sizes(struct source_af_xdp *source, const struct source_config *config)
{
    uint32_t packet = source->nic.mtu + LINK_OVERHEAD;
    uint32_t frames = config->frames ? config->frames : FRAMES_DEFAULT;

    source->frame_size = packet + FRAME_HEADROOM <= FRAME_SMALL ? FRAME_SMALL : FRAME_LARGE;
    source->n_frames = frames < 2 * PACKET_BURST ? 2 * PACKET_BURST : frames;
    source->ring_size = 2 * PACKET_BURST;
    while (source->ring_size < source->n_frames && source->ring_size < RING_SIZE_MAX)
        source->ring_size *= 2;
    source->slot_size =
        source->program.generic || packet > SLOT_SIZE_MAX ? SLOT_SIZE_MAX : (packet + 63) & ~63u;
    source->n_slots = source->program.pieces ? SLOTS_SIZE / source->slot_size : 0;
    source->snaplen = config->snaplen ? config->snaplen : UINT32_MAX;
    source->busy = config->busy;
}

static int af_xdp_open(const struct source_config *config, struct source **ret_source,
                       char reterr_text[static SOURCE_ERROR_SIZE])
{
    struct source_af_xdp *source = calloc(1, sizeof(*source));
    const char *name = config->interface;
    char description[128];
    int rc;

    if (!source)
        return -ENOMEM;
    source->nic.fd = source->nic.promiscuous_fd = source->nic.keeper_fd = -1;
    capture_program_init(&source->program);
    rc = look(source, config, reterr_text);
    if (rc)
        goto fail;
    source->base.n_queues = config->queues ? config->queues : source->nic.n_queues;
    memcpy(source->base.name, source->nic.name, sizeof(source->nic.name));
    rc = capture_program_attach(&source->program, source->nic.index, config->generic, config->pass);
    if (rc) {
        refuse(reterr_text, name, "attaching the XDP program", rc);
        goto fail;
    }
    rc = config->pushdown ? capture_filter_open(&source->program, &source->filter) : 0;
    if (rc) {
        refuse(reterr_text, name, "looking into the XDP program's maps", rc);
        goto fail;
    }
    rc = nic_offloads_off(&source->nic, source->program.generic, true);
    if (rc) {
        refuse(reterr_text, name, "turning off offloads", rc);
        goto fail;
    }
    rc = config->promiscuous ? nic_promiscuous(&source->nic) : 0;
    if (rc) {
        refuse(reterr_text, name, "setting it promiscuous", rc);
        goto fail;
    }
    choose_sizes(source, config);
    source->queues = aligned_alloc(64, source->base.n_queues * sizeof(struct queue));
    rc = source->queues ? 0 : -ENOMEM;
    if (!rc)
        memset(source->queues, 0, source->base.n_queues * sizeof(struct queue));
    for (unsigned i = 0; !rc && i < source->base.n_queues; i++)
        rc = queue_open(source, i, config);
    if (rc) {
        refuse(reterr_text, name, "opening an AF_XDP socket for each queue", rc);
        goto fail;
    }
    snprintf(description, sizeof(description), "XDP %s, %s, %u queue%s",
             source->program.generic ? "generic" : "native",
             source->zero_copy ? "zero-copy" : "copy", source->base.n_queues,
             source->base.n_queues > 1 ? "s" : "");
    rc = interface_add(name, "af_xdp", description, LINKTYPE_ETHERNET, config->snaplen);
    if (rc < 0) {
        refuse(reterr_text, name, "there are too many interfaces", rc);
        goto fail;
    }
    source->interface = (uint16_t)rc;
    source->no_socket_base = capture_program_count(&source->program, CAPTURE_NO_SOCKET);
    source->missed_base = nic_missed(&source->nic);
    *ret_source = (struct source *)source;
    return 0;
fail:
    af_xdp_close((struct source *)source);
    return rc;
}

static uint64_t now_monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The time the XDP program put in front of the packet, else the burst's, a nanosecond apart. */
static inline uint64_t take_time(const struct source_af_xdp *source, const struct queue *queue,
                                 uint8_t *data, uint64_t now_ns)
{
    struct capture_meta *meta = (struct capture_meta *)(data - sizeof(*meta));
    uint64_t time_ns = now_ns;

    if (meta->magic == source->program.magic) {
        time_ns = meta->time_ns;
        meta->magic = 0;
    }
    return time_ns + (uint64_t)queue->clock_ns;
}

static int rx_idle(struct source_af_xdp *source, struct queue *queue)
{
    uint64_t stopped_ns = atomic_load_explicit(&source->stopped_ns, memory_order_relaxed);

    if (source->busy || xsk_ring_prod__needs_wakeup(&queue->fill))
        if (recvfrom(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 &&
            (errno == ENETDOWN || errno == ENXIO || errno == ENODEV) && !stopped_ns)
            return -ENODEV;
    return stopped_ns && now_monotonic_ns() > stopped_ns + STOP_GRACE_NS ? -ENODATA : 0;
}

/* The kernel wrote it on another core: its time, before the data, which is taken away, and its
 * headers are to come. */
static inline void prefetch_frame(struct queue *queue, uint32_t at)
{
    const uint8_t *data =
        xsk_umem__get_data(queue->area, xsk_ring_cons__rx_desc(&queue->rx, at)->addr);

    __builtin_prefetch(data - 1, 1);
    __builtin_prefetch(data);
}

static int af_xdp_rx(struct source *base, unsigned number, struct packet *burst, unsigned n)
{
    struct source_af_xdp *source = (struct source_af_xdp *)base;
    struct queue *queue = &source->queues[number];
    enum { AHEAD = 16 };
    uint64_t bytes = 0, now_ns;
    uint32_t first, ready, filled = 0;

    refill(queue);
    ready = xsk_ring_cons__peek(&queue->rx, n, &first);
    if (!ready)
        return rx_idle(source, queue);
    now_ns = now_monotonic_ns();
    if (now_ns >= queue->clock_due_ns)
        clock_check(queue, now_ns);
    for (uint32_t i = 0; i < ready && i < AHEAD; i++)
        prefetch_frame(queue, first + i);
    for (uint32_t i = 0; i < ready; i++) {
        const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&queue->rx, first + i);
        struct packet *packet = &burst[filled];
        uint8_t *data = xsk_umem__get_data(queue->area, desc->addr);
        bool more = desc->options & XDP_PKT_CONTD;

        if (i + AHEAD < ready)
            prefetch_frame(queue, first + i + AHEAD);
        packet->interface = source->interface;
        packet->linktype = LINKTYPE_ETHERNET;
        packet->source = source->base.number;
        packet->queue = (uint16_t)number;
        if (__builtin_expect(more || queue->assembling, 0)) {
            uint64_t ts_ns = queue->assembling ? 0 : take_time(source, queue, data, now_ns + i);

            queue->free[queue->n_free++] = desc->addr & ~(uint64_t)(source->frame_size - 1);
            if (!assemble(queue, packet, data, desc->len, more, ts_ns))
                continue;
        } else {
            packet->ts_ns = take_time(source, queue, data, now_ns + i);
            packet->data = data;
            packet->origlen = desc->len;
            packet->cookie = desc->addr & ~(uint64_t)(source->frame_size - 1);
        }
        packet->caplen = packet->origlen < source->snaplen ? packet->origlen : source->snaplen;
        bytes += packet->origlen;
        filled++;
    }
    xsk_ring_cons__release(&queue->rx, ready);
    atomic_store_explicit(&queue->n_rx, queue->n_rx + filled, memory_order_relaxed);
    atomic_store_explicit(&queue->rx_bytes, queue->rx_bytes + bytes, memory_order_relaxed);
    return (int)filled;
}

static void af_xdp_release(struct source *base, unsigned number, const struct packet *burst,
                           unsigned n)
{
    struct source_af_xdp *source = (struct source_af_xdp *)base;
    struct queue *queue = &source->queues[number];

    for (unsigned i = 0; i < n; i++) {
        if (__builtin_expect((burst[i].cookie & COOKIE_SLOT) != 0, 0))
            slots_give(&queue->slots, (uint32_t)burst[i].cookie);
        else
            queue->free[queue->n_free++] = burst[i].cookie;
    }
    ensure(queue->n_free <= source->n_frames && queue->slots.n_free <= queue->slots.n);
}

static int af_xdp_fd(struct source *base, unsigned number)
{
    return ((struct source_af_xdp *)base)->queues[number].fd;
}

static void af_xdp_stats(struct source *base, struct source_stats *ret_stats)
{
    struct source_af_xdp *source = (struct source_af_xdp *)base;
    struct source_stats stats = {0};

    for (unsigned i = 0; i < source->base.n_queues; i++) {
        struct queue *queue = &source->queues[i];
        struct xdp_statistics kernel = {0};
        socklen_t size = sizeof(kernel);

        stats.rx += atomic_load_explicit(&queue->n_rx, memory_order_relaxed);
        stats.rx_bytes += atomic_load_explicit(&queue->rx_bytes, memory_order_relaxed);
        stats.drop_nic += atomic_load_explicit(&queue->drop_slots, memory_order_relaxed);
        /* An empty fill ring shows in rx_dropped, or in the device's own count with zero-copy;
         * rx_fill_ring_empty_descs counts tries, not packets. */
        if (!getsockopt(queue->fd, SOL_XDP, XDP_STATISTICS, &kernel, &size))
            stats.drop_nic += kernel.rx_dropped + kernel.rx_ring_full;
    }
    stats.drop_nic +=
        capture_program_count(&source->program, CAPTURE_NO_SOCKET) - source->no_socket_base;
    stats.drop_nic += nic_missed(&source->nic) - source->missed_base;
    stats.discarded_kernel = capture_program_count(&source->program, CAPTURE_DISCARDED);
    *ret_stats = stats;
}

static void af_xdp_stop(struct source *base)
{
    struct source_af_xdp *source = (struct source_af_xdp *)base;

    capture_program_detach(&source->program);
    atomic_store_explicit(&source->stopped_ns, now_monotonic_ns(), memory_order_relaxed);
}

static void af_xdp_widen(struct source *base, const struct pushdown_condition *also)
{
    capture_filter_widen(((struct source_af_xdp *)base)->filter, also);
}

static void af_xdp_narrow(struct source *base, const struct pushdown_condition *only)
{
    capture_filter_narrow(((struct source_af_xdp *)base)->filter, only);
}

static void af_xdp_out(struct source *base, const struct pushdown_stream *stream)
{
    capture_filter_out(((struct source_af_xdp *)base)->filter, stream);
}

static void af_xdp_close(struct source *base)
{
    struct source_af_xdp *source = (struct source_af_xdp *)base;

    capture_program_detach(&source->program);
    for (unsigned i = 0; source->queues && i < source->base.n_queues; i++)
        queue_close(source, &source->queues[i]);
    free(source->queues);
    capture_filter_close(source->filter);
    capture_program_close(&source->program);
    nic_close(&source->nic);
    free(source);
}

const struct source_ops source_af_xdp_ops = {
    .name = "af_xdp",
    .live = true,
    .open = af_xdp_open,
    .rx = af_xdp_rx,
    .release = af_xdp_release,
    .fd = af_xdp_fd,
    .stats = af_xdp_stats,
    .stop = af_xdp_stop,
    .close = af_xdp_close,
    .widen = af_xdp_widen,
    .narrow = af_xdp_narrow,
    .out = af_xdp_out,
};

static void refill(struct queue *queue)
{
    uint32_t first, n = xsk_prod_nb_free(&queue->fill, queue->n_free);

    if (n > queue->n_free)
        n = queue->n_free;
    if (n < PACKET_BURST / 4 || !xsk_ring_prod__reserve(&queue->fill, n, &first))
        return;
    for (uint32_t i = 0; i < n; i++)
        *xsk_ring_prod__fill_addr(&queue->fill, first + i) = queue->free[--queue->n_free];
    xsk_ring_prod__submit(&queue->fill, n);
}

/* One more piece. -> whether the packet is whole */
static bool assemble(struct queue *queue, struct packet *packet, const uint8_t *data, uint32_t size,
                     bool more, uint64_t ts_ns)
{
    if (!queue->assembling) {
        queue->assembling = true;
        queue->slot = slots_take(&queue->slots);
        queue->slot_used = 0;
        queue->slot_ts_ns = ts_ns;
    }
    if (queue->slot != SLOT_NONE && size > queue->slots.size - queue->slot_used) {
        slots_give(&queue->slots, (uint32_t)queue->slot);
        queue->slot = SLOT_NONE;
    }
    if (queue->slot != SLOT_NONE) {
        memcpy(slots_at(&queue->slots, (uint32_t)queue->slot) + queue->slot_used, data, size);
        queue->slot_used += size;
    }
    if (more)
        return false;
    queue->assembling = false;
    if (queue->slot == SLOT_NONE) {
        atomic_store_explicit(&queue->drop_slots, queue->drop_slots + 1, memory_order_relaxed);
        return false;
    }
    packet->data = slots_at(&queue->slots, (uint32_t)queue->slot);
    packet->ts_ns = queue->slot_ts_ns;
    packet->origlen = queue->slot_used;
    packet->cookie = COOKIE_SLOT | (uint32_t)queue->slot;
    return true;
}

/* Both clocks are slewed alike: their distance changes only when somebody sets the time, and less
 * than that is the reading's own error. */
static void clock_check(struct queue *queue, uint64_t now_ns)
{
    struct timespec utc;
    int64_t distance;
    uint64_t before = now_monotonic_ns(), after;

    clock_gettime(CLOCK_REALTIME, &utc);
    after = now_monotonic_ns();
    distance = (int64_t)utc.tv_sec * 1000000000 + utc.tv_nsec - (int64_t)(before / 2 + after / 2);
    if (llabs(distance - queue->clock_ns) > CLOCK_STEP_NS && after - before < CLOCK_STEP_NS)
        queue->clock_ns = distance;
    queue->clock_due_ns = now_ns + CLOCK_CHECK_NS;
}

/* ---- sockets and memory ---- */

static int queue_memory(struct source_af_xdp *source, struct queue *queue)
{
    size_t size = (size_t)source->n_frames * source->frame_size;
    struct xsk_umem_config umem = {.fill_size = source->ring_size,
                                   .comp_size = XSK_RING_CONS__DEFAULT_NUM_DESCS,
                                   .frame_size = source->frame_size};

    queue->area = memory_map(size);
    queue->free = calloc(source->n_frames, sizeof(*queue->free));
    if (!queue->area || !queue->free)
        return -ENOMEM;
    for (uint32_t i = 0; i < source->n_frames; i++)
        queue->free[i] = (uint64_t)(source->n_frames - 1 - i) * source->frame_size;
    queue->n_free = source->n_frames;
    if (source->n_slots) {
        int rc = slots_init(&queue->slots, source->n_slots, source->slot_size);

        if (rc)
            return rc;
    }
    return xsk_umem__create(&queue->umem, queue->area, size, &queue->fill, &queue->completion,
                            &umem);
}

/* Busy polling is a wish: a driver without it is polled all the same. */
static void queue_busy(const struct queue *queue)
{
    int yes = 1, us = BUSY_POLL_US, budget = PACKET_BURST;

    setsockopt(queue->fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &yes, sizeof(yes));
    setsockopt(queue->fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us));
    setsockopt(queue->fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget));
}

static int queue_open(struct source_af_xdp *source, unsigned number,
                      const struct source_config *config)
{
    struct queue *queue = &source->queues[number];
    struct xsk_socket_config socket_config = {
        .rx_size = source->ring_size,
        .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
        .bind_flags = XDP_USE_NEED_WAKEUP,
    };
    struct xdp_options options = {0};
    socklen_t size = sizeof(options);
    int rc;

    queue->fd = -1;
    rc = queue_memory(source, queue);
    if (rc)
        return rc;
    /* Without a wish the kernel takes zero-copy where the driver can, and copies where not. */
    if (config->copy || source->program.generic)
        socket_config.bind_flags |= XDP_COPY;
    if (source->program.pieces)
        socket_config.bind_flags |= XDP_USE_SG;
    /* What had the queue before may just have closed it: the kernel lets go of it a bit later. */
    for (unsigned i = 0; i < BUSY_TRIES; i++) {
        rc = xsk_socket__create(&queue->xsk, source->nic.name, number, queue->umem, &queue->rx,
                                NULL, &socket_config);
        if (rc != -EBUSY)
            break;
        usleep(BUSY_TRY_US);
    }
    if (rc)
        return rc;
    queue->fd = xsk_socket__fd(queue->xsk);
    if (!getsockopt(queue->fd, SOL_XDP, XDP_OPTIONS, &options, &size))
        source->zero_copy = options.flags & XDP_OPTIONS_ZEROCOPY;
    if (config->busy)
        queue_busy(queue);
    clock_check(queue, now_monotonic_ns());
    refill(queue);
    return xsk_socket__update_xskmap(queue->xsk, source->program.sockets_fd);
}

static void queue_close(struct source_af_xdp *source, struct queue *queue)
{
    if (queue->xsk)
        xsk_socket__delete(queue->xsk);
    if (queue->umem)
        xsk_umem__delete(queue->umem);
    memory_unmap(queue->area, (size_t)source->n_frames * source->frame_size);
    slots_done(&queue->slots);
    free(queue->free);
}
