/* nic.h - a network interface as the kernel has it: what it is, and settings that last as long as
 * we do.
 *
 * Settings are undone when the process ends in any way: promiscuous mode belongs to a socket, which
 * the kernel closes; offloads are set back by a small process of its own that waits for us to end.
 *
 * Thread: whoever opened it. */
#ifndef DATAPLANE_NIC_H
#define DATAPLANE_NIC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct nic {
    char name[16];
    unsigned index;
    unsigned mtu;
    unsigned n_queues; /* receive queues */
    bool up;
    bool ethernet; /* its frames begin with an Ethernet header */
    int fd;        /* for ioctls, in the interface's network namespace */
    int promiscuous_fd;
    int keeper_fd; /* closed: the offloads are set back */
    pid_t keeper;
};

/* -> 0; -ENODEV: no such interface; -errno */
int nic_open(struct nic *nic, const char *name);
void nic_close(struct nic *nic); /* everything is as it was found */

int nic_promiscuous(struct nic *nic);

/* Offloads that change what is captured: merged segments, tags taken out of frames. Those that
 * cannot be turned off stay. -> 0 or -errno */
int nic_offloads_off(struct nic *nic, bool merging, bool vlan);

/* Packets the device lost since it is up, for want of buffers or time. */
uint64_t nic_missed(const struct nic *nic);

#endif
