/* One conformance test that every source passes: the same packets in, the same packets out. */
#include "source_lab.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "tap.h"

enum {
    BATCH = 32, /* sent at once: a veth holds 256 */
    HELD = 100, /* packets that are kept while others are taken */
};

/* How a source is fed. */
struct subject {
    struct source_config config;
    const char *inject;  /* the interface to send into; null: `path` is written before */
    const char *watched; /* the interface that must be left as it was found */
    bool once;           /* its driver keeps the interface until the process ends */
};

static char path[] = "/tmp/tapedeck-source-XXXXXX";
static bool have_wire;

static void file_write(unsigned n)
{
    FILE *file = fopen(path, "wb");
    uint32_t header[6] = {0xa1b23c4d, 4 << 16 | 2, 0, 0, 65535, LINKTYPE_ETHERNET};

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fwrite(header, sizeof(header), 1, file);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t record[4] = {1700000000 + i, i, sizes[i], sizes[i]};

        fwrite(record, sizeof(record), 1, file);
        fwrite(frames[i], sizes[i], 1, file);
    }
    fclose(file);
}

/* ---- taking packets ---- */

struct taker {
    struct source *source;
    const struct source_ops *ops;
    struct packet held[HELD];
    unsigned n_held;
    unsigned next;     /* the frame that must come next */
    uint64_t n, bytes; /* everything handed out */
    uint64_t last_ns[SOURCE_QUEUE_MAX];
    uint64_t began_ns;  /* live: no packet is older; else 0 */
    unsigned interface; /* of the last */
    unsigned wrong;
    uint64_t random;
};

/* Gives back one of those that are kept, any. */
static void taker_release(struct taker *taker)
{
    unsigned which;

    taker->random = taker->random * 6364136223846793005 + 1442695040888963407;
    which = (unsigned)(taker->random >> 33) % taker->n_held;
    taker->ops->release(taker->source, taker->held[which].queue, &taker->held[which], 1);
    taker->held[which] = taker->held[--taker->n_held];
}

static void taker_check(struct taker *taker, const struct packet *packet)
{
    unsigned i = taker->next;
    bool right;

    taker->n++;
    taker->bytes += packet->origlen;
    taker->interface = packet->interface;
    right = packet->source == 9 && packet->linktype == LINKTYPE_ETHERNET &&
            packet->interface < interface_count() && packet->ts_ns >= taker->last_ns[packet->queue];
    taker->last_ns[packet->queue] = packet->ts_ns;
    if (taker->began_ns)
        right &= packet->ts_ns >= taker->began_ns && packet->ts_ns <= now_ns(CLOCK_REALTIME);
    if (is_ours(packet)) {
        right &= i < N_FRAMES + N_LATE && packet->caplen == sizes[i] &&
                 packet->origlen == sizes[i] && !memcmp(packet->data, frames[i], sizes[i]);
        taker->next++;
    }
    if (!right && !taker->wrong++)
        tap_note("frame %u: caplen %u origlen %u source %u linktype %u ts %llu", i, packet->caplen,
                 packet->origlen, packet->source, packet->linktype,
                 (unsigned long long)packet->ts_ns);
}

/* Takes until `until` frames are there, or the source ends. -> what rx said last */
static int take(struct taker *taker, unsigned until)
{
    uint64_t deadline_ns = now_ns(CLOCK_MONOTONIC) + WAIT_MS * UINT64_C(1000000);
    unsigned n_queues = source_base(taker->source)->n_queues, ended = 0;
    struct packet burst[17];
    int rc = 0;

    while (taker->next < until && ended < n_queues && now_ns(CLOCK_MONOTONIC) < deadline_ns) {
        unsigned any = 0;

        ended = 0;
        for (unsigned queue = 0; queue < n_queues; queue++) {
            rc = taker->ops->rx(taker->source, queue, burst, 17);
            ended += rc < 0;
            any += rc > 0;
            for (int i = 0; i < rc; i++) {
                if (taker->n_held == HELD)
                    taker_release(taker);
                taker->held[taker->n_held++] = burst[i];
                taker_check(taker, &burst[i]);
            }
        }
        if (!any && !ended) {
            struct pollfd ready = {.fd = taker->ops->fd(taker->source, 0), .events = POLLIN};

            poll(&ready, 1, n_queues > 1 || ready.fd < 0 ? 1 : 100);
        }
    }
    return rc;
}

/* The whole life of a source, with all its packets. */
static void conform_once(const struct subject *subject)
{
    static char before[8192], after[8192];
    static struct taker taker;
    unsigned n_expected = N_FRAMES + (subject->inject ? N_LATE : 0);
    char error[SOURCE_ERROR_SIZE] = "";
    struct source_stats stats;
    struct source *source = NULL;
    int fd = -1, rc;

    if (subject->watched)
        describe(subject->watched, before, sizeof(before));
    if (!subject->inject)
        file_write(N_FRAMES);
    rc = source_open(&subject->config, 9, &source, error);
    if (rc)
        tap_note("%s", error);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    taker = (struct taker){.source = source, .ops = source_base(source)->ops, .random = 1};
    if (subject->inject) {
        fd = inject_open(subject->inject);
        taker.began_ns = now_ns(CLOCK_REALTIME) - 1000000000;
        for (unsigned i = 0; i < N_FRAMES; i += BATCH) {
            inject(fd, i, N_FRAMES - i < BATCH ? N_FRAMES - i : BATCH);
            take(&taker, i + BATCH < N_FRAMES ? i + BATCH : N_FRAMES);
        }
        inject(fd, N_FRAMES, N_LATE);
        close(fd);
        taker.ops->stop(source);
    }
    rc = take(&taker, UINT32_MAX);
    CU_ASSERT_EQUAL(rc, -ENODATA);
    CU_ASSERT_EQUAL(taker.next, n_expected);
    CU_ASSERT_EQUAL(taker.wrong, 0);
    CU_ASSERT_PTR_NULL(source_file_damage(source));
    tap_note("%s: %s", source_base(source)->name, interface_get(taker.interface)->description);
    taker.ops->stats(source, &stats);
    CU_ASSERT_EQUAL(stats.rx, taker.n);
    CU_ASSERT_EQUAL(stats.rx_bytes, taker.bytes);
    CU_ASSERT_EQUAL(stats.drop_nic, 0);
    CU_ASSERT_EQUAL(stats.errors, 0);
    while (taker.n_held)
        taker_release(&taker);
    source_close(source);
    if (subject->watched) {
        describe(subject->watched, after, sizeof(after));
        CU_ASSERT_STRING_EQUAL(before, after);
    }
}

/* Twice: what was closed can be opened again. */
static void conform(const struct subject *subject)
{
    if (subject->inject && !have_wire) {
        tap_skip("needs root, ip, and a kernel with veth");
        return;
    }
    for (unsigned i = 0; i < (subject->once ? 1 : 2); i++)
        conform_once(subject);
}

static void file_conforms(void)
{
    conform(&(struct subject){.config = {.type = "file", .interface = path}});
}

static void af_xdp_native_conforms(void)
{
    conform(&(struct subject){
        .config = {.type = "af_xdp", .interface = "td0", .promiscuous = true},
        .inject = "td1",
        .watched = "td0",
    });
}

static void af_xdp_generic_conforms(void)
{
    conform(&(struct subject){
        .config = {.type = "af_xdp", .interface = "td0", .promiscuous = true, .generic = true},
        .inject = "td1",
        .watched = "td0",
    });
}

static void af_xdp_busy_with_few_frames_conforms(void)
{
    conform(&(struct subject){
        .config = {.type = "af_xdp", .interface = "td0", .busy = true, .copy = true, .frames = 512},
        .inject = "td1",
        .watched = "td0",
    });
}

/* ---- DPDK: its EAL is set up once for all of these ---- */

static void dpdk_on_a_file_conforms(void)
{
    static char device[128];

    snprintf(device, sizeof(device), "net_pcap0,rx_pcap=%s", path);
    conform(&(struct subject){.config = {.type = "dpdk", .device = device}});
}

static void dpdk_on_af_xdp_conforms(void)
{
    conform(&(struct subject){
        .config = {.type = "dpdk", .device = "net_af_xdp0,iface=td4", .promiscuous = true},
        .inject = "td5",
        .watched = "td4",
        .once = true,
    });
}

static void dpdk_on_af_packet_conforms(void)
{
    conform(&(struct subject){
        .config = {.type = "dpdk", .device = "net_af_packet0,iface=td0", .promiscuous = true},
        .inject = "td1",
        .watched = "td0",
    });
}

static void dpdk_on_a_tap_conforms(void)
{
    conform(&(struct subject){
        .config = {.type = "dpdk", .device = "net_tap0,iface=tdtap", .queues = 1},
        .inject = "tdtap",
    });
}

static void dpdk_that_cannot_be_opened_says_why(void)
{
    static const struct source_config refused[] = {
        {.type = "dpdk"},
        {.type = "dpdk", .device = "net_nothing0"},
        {.type = "dpdk", .device = "0000:ff:1f.7"},
        {.type = "dpdk", .device = "net_pcap1,rx_pcap=/nonexistent.pcap"},
        {.type = "dpdk", .device = "net_af_packet1,iface=nosuchif"},
    };
    static const char *const reasons[] = {
        "needs device", "net_nothing0", "0000:ff:1f.7", "/nonexistent.pcap", "nosuchif",
    };
    char error[SOURCE_ERROR_SIZE];
    struct source *source = NULL;

    if (!have_wire) {
        tap_skip("needs root");
        return;
    }
    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        CU_ASSERT(source_open(&refused[i], 0, &source, error) < 0);
        CU_ASSERT_PTR_NULL(source);
        tap_note("%s", error);
        CU_ASSERT_PTR_NOT_NULL(strstr(error, reasons[i]));
    }
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"file conforms", file_conforms},
        {"af_xdp, native, conforms", af_xdp_native_conforms},
        {"af_xdp, generic, conforms", af_xdp_generic_conforms},
        {"af_xdp, busy with few frames, conforms", af_xdp_busy_with_few_frames_conforms},
        {"dpdk, net_pcap, conforms", dpdk_on_a_file_conforms},
        {"dpdk, net_af_xdp, conforms", dpdk_on_af_xdp_conforms},
        {"dpdk, net_af_packet, conforms", dpdk_on_af_packet_conforms},
        {"dpdk, net_tap, conforms", dpdk_on_a_tap_conforms},
        {"dpdk that cannot be opened says why", dpdk_that_cannot_be_opened_says_why},
        {0},
    };
    int fd = mkstemp(path), rc;

    if (fd < 0)
        return 1;
    close(fd);
    frames_make();
    have_wire = wire_make();
    rc = tap_main(argc, argv, "source", tests);
    unlink(path);
    return rc;
}
