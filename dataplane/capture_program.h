/* capture_program.h - our XDP program on an interface (xdp/capture.bpf.c).
 *
 * Life: init, attach, detach (the interface is as it was; the counters stay), close. The program
 * hangs on a bpf_link: when our process ends in any way, it is gone from the interface.
 *
 * VLAN tags: in native mode a driver may tell the program a tag it took out of the frame, which is
 * put back; elsewhere nic.h keeps the device from taking tags out. What neither reaches: in generic
 * mode, a virtual interface whose sender leaves the tag beside the frame (tx-vlan-offload).
 *
 * Thread: one, but any may count and detach. */
#ifndef DATAPLANE_CAPTURE_PROGRAM_H
#define DATAPLANE_CAPTURE_PROGRAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "xdp/capture.h"

struct bpf_object;

struct capture_program {
    struct bpf_object *object;
    int sockets_fd, counters_fd; /* its maps */
    int control_fd, ports_fd, addresses_fd[CAPTURE_TABLES], streams_fd;
    _Atomic int link_fd; /* on the interface; closed: it is gone */
    bool generic;        /* mode: after the kernel made its packet, not before */
    bool pieces;         /* packets may come in several */
    uint32_t magic;      /* of capture_meta */
};

void capture_program_init(struct capture_program *program);
/* The best way that kernel and driver take. pass: what is not taken goes to the stack.
 * -> 0 or -errno */
int capture_program_attach(struct capture_program *program, unsigned interface, bool generic,
                           bool pass);
/* Loaded, and on no interface: for tests, which run it by hand. -> its descriptor, or -errno */
int capture_program_load(struct capture_program *program, bool pass);
void capture_program_detach(struct capture_program *program);
void capture_program_close(struct capture_program *program);

uint64_t capture_program_count(const struct capture_program *program, enum capture_counter which);

/* Elements of its maps. -> 0 or -errno */
int capture_map_get(int fd, const void *key, void *value);
int capture_map_set(int fd, const void *key, const void *value);
int capture_map_change(int fd, const void *key, const void *value); /* -ENOENT: there is none */
int capture_map_delete(int fd, const void *key);

#endif
