/* What AF_XDP has beyond what all sources have: losses that are counted, jumbo frames, VLAN tags
 * that devices take out, and an interface that is left as it was found. */
#include "source_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <net/if.h>

#include <linux/bpf.h>

#include "tap.h"

static bool have_wire;

static void nothing_is_lost_unseen(void)
{
    struct source_config config = {.type = "af_xdp", .interface = "td0", .frames = 256};
    const unsigned n_sent = 2000;
    struct source_stats stats;
    struct packet burst[64];
    struct source *source;
    uint64_t n = 0;
    int fd, rc;

    if (!have_wire) {
        tap_skip("needs root, ip, and a kernel with veth");
        return;
    }
    for (unsigned generic = 0; generic < 2; generic++) {
        config.generic = generic;
        source = source_open_noted(&config);
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
static void jumbo_frames_are_taken(void)
{
    static uint8_t jumbo[9014];
    struct source_config config = {.type = "af_xdp", .interface = "td0"};
    struct packet burst[8];
    uint64_t deadline_ns;

    if (!have_wire) {
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
        source = source_open_noted(&config);
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

/* A sender whose kernel leaves the tag beside the frame, as VLAN interfaces do: a program on the
 * way out pushes one. -> a link, -1: this kernel has no such hook */
static int push_tags(const char *interface)
{
    const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 0x0081}, /* 802.1Q */
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = 77},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_vlan_push},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = -1}, /* go on */
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
                           .insns = (uint64_t)(uintptr_t)code,
                           .insn_cnt = sizeof(code) / sizeof(code[0]),
                           .license = (uint64_t)(uintptr_t) "GPL"};
    union bpf_attr link = {0};
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load)), link_fd;

    if (fd < 0)
        return -1;
    link.link_create.prog_fd = (uint32_t)fd;
    link.link_create.target_ifindex = if_nametoindex(interface);
    link.link_create.attach_type = 47; /* BPF_TCX_EGRESS, since 6.6 */
    link_fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link));
    close(fd);
    return link_fd;
}

static void a_tag_beside_the_frame_is_put_back(void)
{
    static const uint8_t tag[] = {0x81, 0, 0, 77};
    struct source_config config = {.type = "af_xdp", .interface = "td0"};
    struct source *source;
    struct packet burst[64];
    unsigned n = 0;
    int link_fd, fd, rc = 0;

    link_fd = have_wire ? push_tags("td1") : -1;
    if (link_fd < 0) {
        tap_skip("needs root, ip, and a kernel with veth and tcx");
        return;
    }
    source = source_open_noted(&config);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    fd = inject_open("td1");
    inject(fd, 0, 20);
    close(fd);
    source_base(source)->ops->stop(source);
    while ((rc = source_base(source)->ops->rx(source, 0, burst, 64)) >= 0) {
        for (int i = 0; i < rc; i++) {
            if (!is_ours(&burst[i]))
                continue;
            CU_ASSERT_EQUAL(burst[i].caplen, sizes[n] + 4);
            CU_ASSERT(!memcmp(burst[i].data, frames[n], 12));
            CU_ASSERT(!memcmp(burst[i].data + 12, tag, 4));
            CU_ASSERT(!memcmp(burst[i].data + 16, frames[n] + 12, sizes[n] - 12));
            n++;
        }
        source_base(source)->ops->release(source, 0, burst, (unsigned)rc);
    }
    CU_ASSERT_EQUAL(n, 20);
    source_close(source);
    close(link_fd);
}

static void a_killed_process_leaves_nothing_behind(void)
{
    static char before[8192], during[8192], after[8192];
    uint64_t deadline_ns;
    char byte = 0;
    int ends[2];
    pid_t child;

    if (!have_wire) {
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

            byte = source_open_noted(&config) ? 'y' : 'n';
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

    if (!have_wire) {
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

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"nothing is lost unseen", nothing_is_lost_unseen},
        {"jumbo frames are taken", jumbo_frames_are_taken},
        {"a VLAN tag beside the frame is put back", a_tag_beside_the_frame_is_put_back},
        {"a killed process leaves nothing behind", a_killed_process_leaves_nothing_behind},
        {"what cannot be opened says why", what_cannot_be_opened_says_why},
        {0},
    };

    frames_make();
    have_wire = wire_make();
    return tap_main(argc, argv, "source_af_xdp", tests);
}
