#include "source_lab.h"

#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/if_packet.h>

#include "tap.h"

uint8_t frames[N_FRAMES + N_LATE][FRAME_MAX];
uint32_t sizes[N_FRAMES + N_LATE];

uint64_t now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int run(const char *command)
{
    int status = system(command);

    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void frames_make(void)
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

bool is_ours(const struct packet *packet)
{
    unsigned at = 12;

    while (at + 6 <= packet->caplen && packet->data[at] == 0x81 && at < 24)
        at += 4;
    return at + 6 <= packet->caplen && packet->data[at] == ETHERTYPE >> 8 &&
           packet->data[at + 1] == (ETHERTYPE & 0xff);
}

bool wire_make(void)
{
    if (geteuid() || unshare(CLONE_NEWNET))
        return false;
    return run("ip link set lo up 2>/dev/null && "
               "ip link add td0 type veth peer name td1 2>/dev/null && "
               "ip link set td0 up && ip link set td1 up && "
               "ip link add td2 type veth peer name td3 && "
               "ip link add td4 type veth peer name td5 && "
               "ip link set td4 up && ip link set td5 up") == 0;
}

int inject_open(const char *interface)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_ifindex = (int)if_nametoindex(interface)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void inject(int fd, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++)
        CU_ASSERT_EQUAL(send(fd, frames[i], sizes[i], 0), (ssize_t)sizes[i]);
}

void describe(const char *interface, char *text, size_t size)
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

struct source *source_open_noted(const struct source_config *config)
{
    char error[SOURCE_ERROR_SIZE] = "";
    struct source *source = NULL;

    if (source_open(config, 9, &source, error))
        tap_note("%s", error);
    return source;
}
