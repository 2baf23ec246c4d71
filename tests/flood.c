/* flood INTERFACE FRAMES PER_SECOND [SPORT]: frames that no test asks for, for live tests.
 *
 * Without SPORT: TCP and UDP of 1024 pairs of hosts of 10.99.0.0/16, no port 80, 200 bytes a frame.
 * With it: one TCP stream from 10.77.0.11:SPORT to 10.77.0.20:80, seen from its middle on, with
 * bytes of no protocol. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "frames.h"

enum { FRAMES = 1024, BATCH = 64, SIZE = 200, TCP_AT = 34 };

static const double BEHIND = 1e-4; /* seconds that are made up for */

static uint8_t frames[FRAMES][SIZE];

static void make(unsigned i, unsigned port)
{
    struct frame frame;
    uint8_t *bytes = frames[i], *ip = bytes + 14, *l4 = bytes + TCP_AT;

    frame_make(&frame, i % 2 || port ? "eth ip4 tcp" : "eth ip4 udp", false);
    memset(bytes, 0xc3, SIZE);
    memcpy(bytes, frame_data(&frame), frame_size(&frame));
    put16(ip + 2, SIZE - 14);
    put32(ip + 12, port ? 0x0a4d000b : 0x0a630000 + i);
    put32(ip + 16, port ? 0x0a4d0014 : 0x0a638000 + i);
    put16(l4, port ? port : 30000 + i);
    put16(l4 + 2, port ? 80 : 8000 + i % 100);
    if (i % 2 || port) {
        put32(l4 + 4, (port ? i : 1) * (SIZE - TCP_AT - 20));
        l4[12] = 0x50;
        l4[13] = 0x10;
    } else {
        put16(l4 + 4, SIZE - TCP_AT);
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
    struct mmsghdr messages[BATCH] = {0};
    struct iovec vectors[BATCH];
    unsigned long n = argc > 3 ? strtoul(argv[2], NULL, 10) : 0, sent = 0;
    double rate = argc > 3 ? strtod(argv[3], NULL) : 0, begun = now(), start = begun;
    int fd = socket(AF_PACKET, SOCK_RAW, 0);

    if (argc < 4 || fd < 0 || rate <= 0) {
        fprintf(stderr, "usage: flood INTERFACE FRAMES PER_SECOND [SPORT]; as root\n");
        return 2;
    }
    to.sll_ifindex = (int)if_nametoindex(argv[1]);
    for (unsigned i = 0; i < FRAMES; i++)
        make(i, argc > 4 ? (unsigned)atoi(argv[4]) : 0);
    for (unsigned i = 0; i < BATCH; i++)
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &vectors[i], .msg_iovlen = 1};
    while (sent < n) {
        double ahead = (double)sent / rate - (now() - begun);
        int done;

        if (ahead > 0) {
            struct timespec pause = {.tv_sec = (time_t)ahead,
                                     .tv_nsec = (long)((ahead - (double)(time_t)ahead) * 1e9)};

            nanosleep(&pause, NULL);
        } else if (ahead < -BEHIND) {
            begun -= ahead; /* no leap after a pause: the device has room for a few hundred */
        }
        for (unsigned i = 0; i < BATCH; i++)
            vectors[i] = (struct iovec){frames[(sent + i) % FRAMES], SIZE};
        done = sendmmsg(fd, messages, BATCH, 0);
        if (done < 0 && errno == ENOBUFS) /* the device's queue is full */
            continue;
        if (done < 0) {
            perror("sendmmsg");
            return 1;
        }
        sent += (unsigned long)done;
    }
    printf("%lu frames in %.2f s\n", sent, now() - start);
    return 0;
}
