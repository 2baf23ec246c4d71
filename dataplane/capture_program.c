#include "capture_program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/if_link.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <capture.skel.h>
#include <capture_vlan.skel.h>

/* Newer than the headers we build with; a kernel that lacks them says so. */
#ifndef BPF_F_XDP_DEV_BOUND_ONLY
#define BPF_F_XDP_DEV_BOUND_ONLY (1U << 6)
#endif
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

enum { CPUS_MAX = 1024 };

enum way { WAY_VLAN = 1, WAY_FRAGS = 2, WAY_GENERIC = 4 };

static int load(struct capture_program *program, unsigned interface, unsigned way, bool pass,
                struct bpf_program **ret_bpf);
static int try(struct capture_program *program, unsigned interface, unsigned way, bool pass);
static int silent(enum libbpf_print_level level, const char *format, va_list args);

void capture_program_init(struct capture_program *program)
{
    *program = (struct capture_program){
        .link_fd = -1,
        .sockets_fd = -1,
        .counters_fd = -1,
        .control_fd = -1,
        .ports_fd = -1,
        .addresses_fd = {-1, -1},
        .streams_fd = -1,
    };
}

int capture_program_attach(struct capture_program *program, unsigned interface, bool generic,
                           bool pass)
{
    /* Without fragments comes first: then a virtual interface does not merge segments, and
     * zero-copy needs no more of the driver. */
    static const unsigned ways[] = {
        WAY_VLAN, WAY_VLAN | WAY_FRAGS, 0, WAY_FRAGS, WAY_GENERIC | WAY_FRAGS, WAY_GENERIC,
    };
    int rc = -EOPNOTSUPP;

    libbpf_set_print(silent);
    if (getrandom(&program->magic, sizeof(program->magic), 0) != sizeof(program->magic))
        return -EIO;
    program->magic |= 1; /* never that of cleared memory */
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (generic && !(ways[i] & WAY_GENERIC))
            continue;
        rc = try(program, interface, ways[i], pass);
        if (rc == 0) {
            program->generic = ways[i] & WAY_GENERIC;
            program->pieces = ways[i] & WAY_FRAGS;
            break;
        }
        if (rc == -EPERM || rc == -EBUSY || rc == -EEXIST)
            break;
    }
    return rc;
}

int capture_program_load(struct capture_program *program, bool pass)
{
    struct bpf_program *bpf;
    int rc;

    libbpf_set_print(silent);
    rc = load(program, 0, 0, pass, &bpf);
    return rc ? rc : bpf_program__fd(bpf);
}

void capture_program_detach(struct capture_program *program)
{
    int fd = atomic_exchange(&program->link_fd, -1);

    if (fd >= 0)
        close(fd);
}

void capture_program_close(struct capture_program *program)
{
    capture_program_detach(program);
    bpf_object__close(program->object);
    capture_program_init(program);
}

uint64_t capture_program_count(const struct capture_program *program, enum capture_counter which)
{
    uint32_t key = which;
    uint64_t values[CPUS_MAX], sum = 0;
    int n = libbpf_num_possible_cpus();

    if (n < 0 || n > CPUS_MAX || bpf_map_lookup_elem(program->counters_fd, &key, values))
        return 0;
    for (int i = 0; i < n; i++)
        sum += values[i];
    return sum;
}

int capture_map_get(int fd, const void *key, void *value)
{
    return bpf_map_lookup_elem(fd, key, value) ? -errno : 0;
}

int capture_map_set(int fd, const void *key, const void *value)
{
    return bpf_map_update_elem(fd, key, value, BPF_ANY) ? -errno : 0;
}

int capture_map_change(int fd, const void *key, const void *value)
{
    return bpf_map_update_elem(fd, key, value, BPF_EXIST) ? -errno : 0;
}

int capture_map_delete(int fd, const void *key)
{
    return bpf_map_delete_elem(fd, key) ? -errno : 0;
}

static int load(struct capture_program *program, unsigned interface, unsigned way, bool pass,
                struct bpf_program **ret_bpf)
{
    struct capture_config settings = {.magic = program->magic,
                                      .otherwise = pass ? XDP_PASS : XDP_DROP};
    struct bpf_program *bpf;
    struct bpf_map *map;
    const void *elf;
    size_t size;
    int rc = 0;

    elf = way & WAY_VLAN ? capture_vlan__elf_bytes(&size) : capture__elf_bytes(&size);
    program->object = bpf_object__open_mem(elf, size, NULL);
    if (!program->object)
        return -errno;
    bpf_object__for_each_map(map, program->object)
    {
        if (!rc && strstr(bpf_map__name(map), ".rodata"))
            rc = bpf_map__set_initial_value(map, &settings, sizeof(settings));
    }
    bpf = bpf_object__find_program_by_name(program->object, "capture");
    if (way & WAY_VLAN) {
        bpf_program__set_ifindex(bpf, interface);
        bpf_program__set_flags(bpf, BPF_F_XDP_DEV_BOUND_ONLY);
    }
    if (way & WAY_FRAGS)
        bpf_program__set_flags(bpf, bpf_program__flags(bpf) | BPF_F_XDP_HAS_FRAGS);
    if (!rc)
        rc = bpf_object__load(program->object);
    if (rc)
        return rc;
    program->sockets_fd = bpf_object__find_map_fd_by_name(program->object, "capture_sockets");
    program->counters_fd = bpf_object__find_map_fd_by_name(program->object, "capture_counters");
    program->control_fd = bpf_object__find_map_fd_by_name(program->object, "capture_control");
    program->ports_fd = bpf_object__find_map_fd_by_name(program->object, "capture_ports");
    program->addresses_fd[0] = bpf_object__find_map_fd_by_name(program->object, "capture_addr_0");
    program->addresses_fd[1] = bpf_object__find_map_fd_by_name(program->object, "capture_addr_1");
    program->streams_fd = bpf_object__find_map_fd_by_name(program->object, "capture_streams");
    *ret_bpf = bpf;
    return 0;
}

static int try(struct capture_program *program, unsigned interface, unsigned way, bool pass)
{
    LIBBPF_OPTS(bpf_link_create_opts, options,
                .flags = way & WAY_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
    struct bpf_program *bpf = NULL;
    int rc = load(program, interface, way, pass, &bpf);
    int fd;

    if (!rc) {
        fd = bpf_link_create(bpf_program__fd(bpf), (int)interface, BPF_XDP, &options);
        if (fd >= 0) {
            program->link_fd = fd;
            return 0;
        }
        rc = -errno;
    }
    bpf_object__close(program->object);
    program->object = NULL;
    return rc;
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
    return 0;
}
