/* blast INTERFACE 64|imix|BYTES STREAMS PER_SECOND FRAMES
 * blast pass INTERFACE
 *
 * The first: frames out of INTERFACE, a veth's end, faster than a socket can send them: the kernel
 * runs a program (blast.bpf.c) over frames of its own (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18),
 * which makes each another one and redirects it. PER_SECOND 0: as fast as it goes. Prints one JSON
 * object: frames, seconds, CPU seconds. Sizes are those on the wire, with check sequence, as
 * everywhere in benchmarks; frames in captures are 4 bytes shorter.
 *
 * The second, for the other end when nobody there brings an XDP program: has one that passes all,
 * until it is killed. Without a program a veth takes no such frames. */
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_link.h>

#include <bpf/bpf.h>

#include "blast.h"

#include <blast.skel.h>

enum { BATCH = 32 /* frames before the other end gets to look */, FCS = 4, SIZE_MIN = 64 };

__attribute__((noreturn)) static void fail(const char *what)
{
    fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What all frames have in common. */
static void make_template(uint8_t frame[static BLAST_FRAME])
{
    static const uint8_t ethernet[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0};

    memset(frame, 0, BLAST_FRAME);
    memcpy(frame, ethernet, sizeof(ethernet));
    frame[14] = 0x45; /* IPv4, no options */
    frame[22] = 64;   /* time to live */
    frame[46] = 0x50; /* TCP: no options, ACK, a window */
    frame[47] = 0x10;
    frame[48] = 0xff;
}

static void choose_sizes(const char *which, __u16 size[static BLAST_SIZES])
{
    unsigned bytes = (unsigned)atoi(which);
    bool imix = !strcmp(which, "imix"); /* 64, 594, 1518 as 7:4:1 */

    for (unsigned i = 0; i < BLAST_SIZES; i++) {
        unsigned n = !imix ? bytes : i == 11 ? 1518 : i % 3 == 1 ? 594 : 64;

        if (n < SIZE_MIN || n > BLAST_FRAME + FCS) {
            fprintf(stderr, "blast: %s: sizes are 64 to 1518 bytes, or imix\n", which);
            exit(2);
        }
        size[i] = (__u16)(n - FCS);
    }
}

static void send_frames(int program, uint32_t frames)
{
    static uint8_t frame[BLAST_FRAME];
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
                .repeat = (int)frames, .batch_size = BATCH, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
    double begun = seconds(CLOCK_MONOTONIC);

    make_template(frame);
    if (bpf_prog_test_run_opts(program, &options))
        fail("BPF_PROG_TEST_RUN of live frames (Linux 5.18)");
    printf("{\"frames\":%u,\"seconds\":%.4f,\"cpu\":%.4f}\n", frames,
           seconds(CLOCK_MONOTONIC) - begun, seconds(CLOCK_PROCESS_CPUTIME_ID));
}

int main(int argc, char **argv)
{
    bool passes = argc == 3 && !strcmp(argv[1], "pass");
    struct blast *blast;
    unsigned interface;
    double per_second;

    if (argc != 6 && !passes) {
        fprintf(stderr, "usage: blast INTERFACE 64|imix|BYTES STREAMS PER_SECOND FRAMES\n"
                        "       blast pass INTERFACE\n");
        return 2;
    }
    interface = if_nametoindex(argv[passes ? 2 : 1]);
    blast = interface ? blast__open() : NULL;
    if (!blast)
        fail(argv[passes ? 2 : 1]);
    if (!passes) {
        blast->rodata->blast_config.interface = interface;
        blast->rodata->blast_config.n_streams = atoi(argv[3]) > 0 ? (unsigned)atoi(argv[3]) : 1;
        per_second = strtod(argv[4], NULL);
        blast->rodata->blast_config.interval_ps =
            per_second > 0 ? (uint64_t)(1e12 / per_second) : 0;
        choose_sizes(argv[2], blast->rodata->blast_config.size);
    }
    if (blast__load(blast))
        fail("loading the program; it needs root");
    if (passes) {
        LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);

        if (bpf_link_create(bpf_program__fd(blast->progs.pass), (int)interface, BPF_XDP, &options) <
            0)
            fail("attaching the program");
        for (;;)
            pause();
    }
    send_frames(bpf_program__fd(blast->progs.blast), (uint32_t)strtoul(argv[5], NULL, 10));
    blast__destroy(blast);
    return 0;
}
