/* One conformance test that every source passes: the same packets in, the same packets out.
 *
 * It runs in a network namespace of its own, with a veth pair: what is sent into one end comes to
 * the other, where the source is. */
#include "../dataplane/source.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_packet.h>

#include "../dataplane/interface.h"
#include "tap.h"

enum {
    N_FRAMES = 600,
    N_LATE = 20, /* sent just before stop() */
    FRAME_MAX = 1514,
    BATCH = 32,         /* sent at once: a veth holds 256 */
    HELD = 100,         /* packets that are kept while others are taken */
    ETHERTYPE = 0x88b5, /* for local experiments: whatever else is on the wire is not ours */
    WAIT_MS = 5000,
};

/* How a source is fed. */
struct subject {
    struct source_config config;
    const char *inject;  /* the interface to send into; null: `path` is written before */
    const char *watched; /* the interface that must be left as it was found */
    bool once;           /* its driver keeps the interface until the process ends */
};

static uint8_t frames[N_FRAMES + N_LATE][FRAME_MAX];
static uint32_t sizes[N_FRAMES + N_LATE];
static char path[] = "/tmp/tapedeck-source-XXXXXX";
static bool have_veth;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int run(const char *command)
{
    int status = system(command);

    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Frames of all sizes; every third has a VLAN tag, every ninth two. The number is behind the type.
 */
static void frames_make(void)
{
    static const uint8_t addresses[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1};

    for (uint32_t i = 0; i < N_FRAMES + N_LATE; i++) {
        uint8_t *frame = frames[i];
        unsigned at = 12;

        memcpy(frame, addresses, 12);
        for (unsigned tag = 0; tag < (i % 9 == 0 ? 2u : i % 3 == 0 ? 1u : 0u); tag++) {
            memcpy(frame + at, (const uint8_t[]){0x81, 0, 0x20, (uint8_t)(5 + tag)}, 4);
            at += 4;
        }
        frame[at++] = ETHERTYPE >> 8;
        frame[at++] = ETHERTYPE & 0xff;
        memcpy(frame + at, &i, 4);
        at += 4;
        sizes[i] = 64 + i * 37 % (FRAME_MAX - 64 + 1);
        for (; at < sizes[i]; at++)
            frame[at] = (uint8_t)(i * 31 + at * 7);
    }
}

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

static int inject_open(const char *interface)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_ifindex = (int)if_nametoindex(interface)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void inject(int fd, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++)
        CU_ASSERT_EQUAL(send(fd, frames[i], sizes[i], 0), (ssize_t)sizes[i]);
}

/* What `ip` says of an interface: programs, promiscuity, everything. */
static void describe(const char *interface, char *text, size_t size)
{
    char command[128];
    FILE *pipe;
    size_t n;

    snprintf(command, sizeof(command),
             "ip -d link show dev %s; ethtool -k %s 2>/dev/null | grep -v '\\[fixed\\]'", interface,
             interface);
    pipe = popen(command, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
    n = fread(text, 1, size - 1, pipe);
    text[n] = 0;
    pclose(pipe);
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

static bool is_ours(const struct packet *packet)
{
    unsigned at = 12;

    while (at + 6 <= packet->caplen && packet->data[at] == 0x81 && at < 20)
        at += 4;
    return at + 6 <= packet->caplen && packet->data[at] == ETHERTYPE >> 8 &&
           packet->data[at + 1] == (ETHERTYPE & 0xff);
}

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
    if (subject->inject && !have_veth) {
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

    if (!have_veth) {
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

/* ---- what only AF_XDP has ---- */

static struct source *open_live(const struct source_config *config)
{
    char error[SOURCE_ERROR_SIZE] = "";
    struct source *source = NULL;

    if (source_open(config, 9, &source, error))
        tap_note("%s", error);
    return source;
}

static void af_xdp_loses_nothing_unseen(void)
{
    struct source_config config = {.type = "af_xdp", .interface = "td0", .frames = 256};
    const unsigned n_sent = 2000;
    struct source_stats stats;
    struct packet burst[64];
    struct source *source;
    uint64_t n = 0;
    int fd, rc;

    if (!have_veth) {
        tap_skip("needs root, ip, and a kernel with veth");
        return;
    }
    for (unsigned generic = 0; generic < 2; generic++) {
        config.generic = generic;
        source = open_live(&config);
        CU_ASSERT_PTR_NOT_NULL_FATAL(source);
        fd = inject_open("td1");
        /* Nobody takes them: 256 frames are all there are. */
        for (unsigned i = 0; i < n_sent; i += 20)
            inject(fd, i % 500, 20);
        close(fd);
        usleep(50000);
        n = 0;
        source_base(source)->ops->stop(source);
        while ((rc = source_base(source)->ops->rx(source, 0, burst, 64)) >= 0) {
            for (int i = 0; i < rc; i++)
                n += is_ours(&burst[i]);
            source_base(source)->ops->release(source, 0, burst, (unsigned)rc);
        }
        source_base(source)->ops->stats(source, &stats);
        tap_note("%s: %llu sent, %llu taken, %llu lost", generic ? "generic" : "native",
                 (unsigned long long)n_sent, (unsigned long long)n,
                 (unsigned long long)stats.drop_nic);
        CU_ASSERT(stats.rx >= 256 && stats.rx < n_sent);
        /* Others may talk on the wire, too. */
        CU_ASSERT(stats.rx + stats.drop_nic >= n_sent);
        CU_ASSERT(stats.rx + stats.drop_nic <= n_sent + 20);
        source_close(source);
    }
}

/* Larger than a page: put together from pieces. */
static void af_xdp_takes_jumbo_frames(void)
{
    static uint8_t jumbo[9014];
    struct source_config config = {.type = "af_xdp", .interface = "td0"};
    struct packet burst[8];
    uint64_t deadline_ns;

    if (!have_veth) {
        tap_skip("needs root, ip, and a kernel with veth");
        return;
    }
    run("ip link set td0 mtu 9000; ip link set td1 mtu 9000");
    memcpy(jumbo, frames[1], 14);
    for (unsigned i = 14; i < sizeof(jumbo); i++)
        jumbo[i] = (uint8_t)(i * 13 >> 3);
    for (unsigned generic = 0; generic < 2; generic++) {
        struct source *source;
        unsigned n = 0;
        int fd, rc = 0;

        config.generic = generic;
        source = open_live(&config);
        CU_ASSERT_PTR_NOT_NULL_FATAL(source);
        fd = inject_open("td1");
        for (uint32_t size = 64; size <= sizeof(jumbo); size += 358)
            CU_ASSERT_EQUAL(send(fd, jumbo, size, 0), size);
        close(fd);
        deadline_ns = now_ns(CLOCK_MONOTONIC) + WAIT_MS * UINT64_C(1000000);
        while (n < 26 && rc >= 0 && now_ns(CLOCK_MONOTONIC) < deadline_ns) {
            rc = source_base(source)->ops->rx(source, 0, burst, 8);
            for (int i = 0; i < rc; i++) {
                if (!is_ours(&burst[i]))
                    continue;
                CU_ASSERT_EQUAL(burst[i].caplen, 64 + n * 358);
                CU_ASSERT(!memcmp(burst[i].data, jumbo, burst[i].caplen));
                n++;
            }
            source_base(source)->ops->release(source, 0, burst, rc > 0 ? (unsigned)rc : 0);
        }
        CU_ASSERT_EQUAL(n, 26);
        source_close(source);
    }
    run("ip link set td0 mtu 1500; ip link set td1 mtu 1500");
}

static void a_killed_process_leaves_nothing_behind(void)
{
    static char before[8192], during[8192], after[8192];
    uint64_t deadline_ns;
    char byte = 0;
    int ends[2];
    pid_t child;

    if (!have_veth) {
        tap_skip("needs root, ip, and a kernel with veth");
        return;
    }
    for (unsigned generic = 0; generic < 2; generic++) {
        describe("td0", before, sizeof(before));
        CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
        child = fork();
        if (child == 0) {
            struct source_config config = {
                .type = "af_xdp", .interface = "td0", .promiscuous = true, .generic = generic};

            byte = open_live(&config) ? 'y' : 'n';
            if (write(ends[1], &byte, 1) == 1)
                pause();
            _exit(0);
        }
        CU_ASSERT_EQUAL(read(ends[0], &byte, 1), 1);
        CU_ASSERT_EQUAL(byte, 'y');
        describe("td0", during, sizeof(during));
        CU_ASSERT_PTR_NOT_NULL(strstr(during, "promiscuity 1"));
        CU_ASSERT_PTR_NOT_NULL(strstr(during, "xdp"));
        CU_ASSERT_PTR_NULL(strstr(during, "rx-vlan-offload: on"));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(ends[0]);
        close(ends[1]);
        /* What keeps the offloads needs a moment. */
        deadline_ns = now_ns(CLOCK_MONOTONIC) + WAIT_MS * UINT64_C(1000000);
        do {
            usleep(10000);
            describe("td0", after, sizeof(after));
        } while (strcmp(before, after) && now_ns(CLOCK_MONOTONIC) < deadline_ns);
        CU_ASSERT_STRING_EQUAL(before, after);
    }
}

static void what_cannot_be_opened_says_why(void)
{
    static const struct {
        struct source_config config;
        const char *reason;
    } refused[] = {
        {{.type = "af_xdp", .interface = "nosuchif"},
         "interface = \"nosuchif\": no such interface; see: ip -br link"},
        {{.type = "af_xdp", .interface = ""}, "no such interface"},
        {{.type = "af_xdp", .interface = "a-name-longer-than-names-are"}, "no such interface"},
        {{.type = "af_xdp", .interface = "td2"}, "it is down; try: ip link set"},
        {{.type = "af_xdp", .interface = "td0", .queues = 33}, "queues = 33"},
    };
    char error[SOURCE_ERROR_SIZE];
    struct source *source = NULL;

    if (!have_veth) {
        tap_skip("needs root, ip, and a kernel with veth");
        return;
    }
    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        CU_ASSERT(source_open(&refused[i].config, 0, &source, error) < 0);
        CU_ASSERT_PTR_NULL(source);
        if (!strstr(error, refused[i].reason))
            tap_note("%s", error);
        CU_ASSERT_PTR_NOT_NULL(strstr(error, refused[i].reason));
    }
}

/* A namespace of our own goes with us, and everything in it. */
static void network_make(void)
{
    if (geteuid() || unshare(CLONE_NEWNET))
        return;
    have_veth = run("ip link set lo up 2>/dev/null && "
                    "ip link add td0 type veth peer name td1 2>/dev/null && "
                    "ip link set td0 up && ip link set td1 up && "
                    "ip link add td2 type veth peer name td3 && "
                    "ip link add td4 type veth peer name td5 && "
                    "ip link set td4 up && ip link set td5 up") == 0;
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"file conforms", file_conforms},
        {"af_xdp, native, conforms", af_xdp_native_conforms},
        {"af_xdp, generic, conforms", af_xdp_generic_conforms},
        {"af_xdp, busy with few frames, conforms", af_xdp_busy_with_few_frames_conforms},
        {"af_xdp loses nothing unseen", af_xdp_loses_nothing_unseen},
        {"af_xdp takes jumbo frames", af_xdp_takes_jumbo_frames},
        {"dpdk, net_pcap, conforms", dpdk_on_a_file_conforms},
        {"dpdk, net_af_xdp, conforms", dpdk_on_af_xdp_conforms},
        {"dpdk, net_af_packet, conforms", dpdk_on_af_packet_conforms},
        {"dpdk, net_tap, conforms", dpdk_on_a_tap_conforms},
        {"dpdk that cannot be opened says why", dpdk_that_cannot_be_opened_says_why},
        {"a killed process leaves nothing behind", a_killed_process_leaves_nothing_behind},
        {"what cannot be opened says why", what_cannot_be_opened_says_why},
        {0},
    };
    int fd = mkstemp(path), rc;

    if (fd < 0)
        return 1;
    close(fd);
    frames_make();
    network_make();
    rc = tap_main(argc, argv, "source", tests);
    unlink(path);
    return rc;
}
