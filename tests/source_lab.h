/* source_lab.h - what tests of sources share: frames, a wire to send them on, and a look at it.
 *
 * The wire is a veth pair in a network namespace of the test program's own, gone with it. */
#ifndef TESTS_SOURCE_LAB_H
#define TESTS_SOURCE_LAB_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "../dataplane/source.h"

enum {
    N_FRAMES = 600,
    N_LATE = 20, /* more, sent just before stop() */
    FRAME_MAX = 1514,
    ETHERTYPE = 0x88b5, /* for local experiments: whatever else is on the wire is not ours */
    WAIT_MS = 5000,
};

extern uint8_t frames[N_FRAMES + N_LATE][FRAME_MAX];
extern uint32_t sizes[N_FRAMES + N_LATE];

uint64_t now_ns(clockid_t clock);
int run(const char *command);

/* Frames of all sizes; every third has a VLAN tag, every ninth two. The number is behind the type.
 */
void frames_make(void);
bool is_ours(const struct packet *packet);

/* Pairs td0-td1, td4-td5, and td2-td3, which is down. -> false: it cannot be had here (skip) */
bool wire_make(void);
int inject_open(const char *interface);
void inject(int fd, unsigned first, unsigned n);

/* What `ip` and ethtool say of an interface: programs, promiscuity, offloads, everything. */
void describe(const char *interface, char *text, size_t size);

/* Null: with a note that says why. */
struct source *source_open_noted(const struct source_config *config);

#endif
