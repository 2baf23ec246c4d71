#include "capture_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/membarrier.h>
#include <netinet/in.h>

#include "../kfl-jit/ensure.h"

enum {
    CONTROL_SIZE = 4096,
    PORTS_SIZE =
        (CAPTURE_TABLES * CAPTURE_PORTS * (int)sizeof(struct capture_sides) + 4095) & ~4095,
    REORDER_NS = 1000000, /* packets of one stream on several queues: how far they may be apart */
};
_Static_assert(sizeof(struct capture_control) <= CONTROL_SIZE, "one page");
_Static_assert(CAPTURE_ADDRESSES_MAX > 2 * KFL_PUSHDOWN_CLAUSES_MAX * KFL_PUSHDOWN_ADDRESSES_MAX,
               "all addresses of a condition, and the root");
_Static_assert((int)CAPTURE_KINDS == (int)KFL_PUSHDOWN_KINDS, "one numbering of kinds");

static bool table_write(struct capture_filter *filter, unsigned table,
                        const struct pushdown_condition *condition);
static void ports_write(struct capture_filter *filter, unsigned table,
                        const struct kfl_pushdown *wanted);
static bool addresses_write(struct capture_filter *filter, unsigned table,
                            const struct kfl_pushdown *wanted);
static void prefix_add(struct capture_filter *filter, unsigned table, const uint8_t addr[16],
                       unsigned bits);
static uint64_t prefix_clauses(const struct kfl_pushdown *wanted, unsigned side,
                               const struct capture_prefix *prefix);
static int kind_of(const struct stream_key *key);
static uint64_t now_ns(clockid_t clock);

int capture_filter_open(const struct capture_program *program, struct capture_filter **ret_filter)
{
    struct capture_filter *filter = calloc(1, sizeof(*filter));
    int flags = PROT_READ | PROT_WRITE, err;

    if (!filter)
        return -ENOMEM;
    filter->program = program;
    filter->control = mmap(NULL, CONTROL_SIZE, flags, MAP_SHARED, program->control_fd, 0);
    filter->ports = mmap(NULL, PORTS_SIZE, flags, MAP_SHARED, program->ports_fd, 0);
    if (filter->control == MAP_FAILED || filter->ports == MAP_FAILED) {
        err = -errno;
        capture_filter_close(filter);
        return err;
    }
    *ret_filter = filter;
    return 0;
}

void capture_filter_close(struct capture_filter *filter)
{
    if (!filter)
        return;
    if (filter->control != MAP_FAILED)
        munmap(filter->control, CONTROL_SIZE);
    if (filter->ports != MAP_FAILED)
        munmap(filter->ports, PORTS_SIZE);
    free(filter);
}

void capture_filter_widen(struct capture_filter *filter, const struct pushdown_condition *also)
{
    struct capture_control *control = filter->control;
    unsigned in_force = control->in_force, other = in_force & 1;

    __atomic_store_n(&control->epoch, also->epoch, __ATOMIC_RELEASE);
    if (in_force != 1 && in_force != 2) {
        __atomic_store_n(&control->in_force, 0, __ATOMIC_RELEASE);
        return;
    }
    in_force = table_write(filter, other, also) ? 3 : 0;
    __atomic_store_n(&control->in_force, in_force, __ATOMIC_RELEASE);
    filter->newest = other;
}

void capture_filter_narrow(struct capture_filter *filter, const struct pushdown_condition *only)
{
    struct capture_control *control = filter->control;

    if (control->in_force == 0) {
        if (!table_write(filter, 0, only))
            return;
        filter->newest = 0;
    }
    __atomic_store_n(&control->in_force, 1u << filter->newest, __ATOMIC_RELEASE);
}

void capture_filter_out(struct capture_filter *filter, const struct pushdown_stream *stream)
{
    const struct stream_key *key = &stream->key;
    struct capture_stream name = {.kind = (uint8_t)kind_of(key)};
    struct capture_out out;
    int fd = filter->program->streams_fd;

    if (kind_of(key) < 0)
        return;
    memcpy(name.addr, key->addr, sizeof(name.addr));
    memcpy(name.port, key->port, sizeof(name.port));
    if (capture_map_get(fd, &name, &out) || out.epoch != stream->epoch) {
        out = (struct capture_out){
            .last_ns = now_ns(CLOCK_MONOTONIC),
            .timeout_ns = stream->timeout_ns,
            .since_ns = now_ns(CLOCK_REALTIME),
            .epoch = stream->epoch,
        };
        (void)capture_map_set(fd, &name, &out);
    } else if (!out.armed && stream->ts_ns > out.since_ns + REORDER_NS) {
        out.armed = 1;
        (void)capture_map_change(fd, &name, &out); /* gone: a new stream may have begun */
    }
}

/* -> false: it could not be written, or not at a time when nobody reads it. */
static bool table_write(struct capture_filter *filter, unsigned table,
                        const struct pushdown_condition *condition)
{
    struct capture_table *to = &filter->control->table[table];
    const struct kfl_pushdown *wanted = &condition->wanted;

    /* Returns when every CPU has left the program that may have been at the table. */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
        return false;
    memset(to, 0, sizeof(*to));
    for (unsigned clause = 0; clause < wanted->n; clause++)
        for (unsigned kind = 0; kind < CAPTURE_KINDS; kind++)
            if (wanted->clause[clause].kinds >> kind & 1)
                to->kind[kind] |= UINT64_C(1) << clause;
    ports_write(filter, table, wanted);
    to->flags = (condition->anybody ? CAPTURE_ANYBODY : 0) | (condition->dns ? CAPTURE_DNS : 0);
    if (addresses_write(filter, table, wanted))
        to->flags |= CAPTURE_ADDRESSES; /* else addresses are not looked at: wider */
    return true;
}

static void ports_write(struct capture_filter *filter, unsigned table,
                        const struct kfl_pushdown *wanted)
{
    struct capture_sides *ports = filter->ports + (size_t)table * CAPTURE_PORTS;

    memset(ports, 0, CAPTURE_PORTS * sizeof(ports[0]));
    for (unsigned clause = 0; clause < wanted->n; clause++)
        for (unsigned side = 0; side < 2; side++) {
            const struct kfl_pushdown_end *end = &wanted->clause[clause].end[side];

            for (unsigned i = 0; i < end->n_ranges; i++)
                for (uint32_t port = end->range[i].low; port <= end->range[i].high; port++)
                    ports[port].side[side] |= UINT64_C(1) << clause;
        }
}

/* -> addresses are to be looked at. */
static bool addresses_write(struct capture_filter *filter, unsigned table,
                            const struct kfl_pushdown *wanted)
{
    int fd = filter->program->addresses_fd[table];

    for (unsigned i = 0; i < filter->n_prefixes[table]; i++)
        (void)capture_map_delete(fd, &filter->prefix[table][i]);
    filter->n_prefixes[table] = 0;
    for (unsigned clause = 0; clause < wanted->n; clause++)
        for (unsigned side = 0; side < 2; side++)
            for (unsigned i = 0; i < wanted->clause[clause].end[side].n_addresses; i++)
                prefix_add(filter, table, wanted->clause[clause].end[side].address[i].addr,
                           wanted->clause[clause].end[side].address[i].bits);
    if (!filter->n_prefixes[table])
        return false;
    prefix_add(filter, table, (const uint8_t[16]){0}, 0); /* all others */
    for (unsigned i = 0; i < filter->n_prefixes[table]; i++) {
        const struct capture_prefix *prefix = &filter->prefix[table][i];
        const struct capture_sides sides = {
            .side = {prefix_clauses(wanted, 0, prefix), prefix_clauses(wanted, 1, prefix)}};

        if (capture_map_set(fd, prefix, &sides))
            return false;
    }
    return true;
}

static void prefix_add(struct capture_filter *filter, unsigned table, const uint8_t addr[16],
                       unsigned bits)
{
    struct capture_prefix prefix = {.bits = bits};
    unsigned n = filter->n_prefixes[table];

    memcpy(prefix.addr, addr, 16);
    for (unsigned i = 0; i < n; i++)
        if (!memcmp(&filter->prefix[table][i], &prefix, sizeof(prefix)))
            return;
    ensure(n < CAPTURE_ADDRESSES_MAX);
    filter->prefix[table][n] = prefix;
    filter->n_prefixes[table] = n + 1;
}

/* The clauses that an address meets whose longest prefix in the map is this one. */
static uint64_t prefix_clauses(const struct kfl_pushdown *wanted, unsigned side,
                               const struct capture_prefix *prefix)
{
    uint64_t clauses = 0;

    for (unsigned clause = 0; clause < wanted->n; clause++) {
        const struct kfl_pushdown_end *end = &wanted->clause[clause].end[side];
        unsigned i = 0;

        while (i < end->n_addresses) {
            const struct kfl_pushdown_address *address = &end->address[i];
            bool inside = address->bits <= prefix->bits &&
                          !memcmp(address->addr, prefix->addr, address->bits / 8);

            if (inside == address->differs)
                break;
            i++;
        }
        if (i == end->n_addresses)
            clauses |= UINT64_C(1) << clause;
    }
    return clauses;
}

static int kind_of(const struct stream_key *key)
{
    int kind;

    switch (key->ip_protocol) {
    case IPPROTO_TCP:
        kind = KFL_PUSHDOWN_TCP;
        break;
    case IPPROTO_UDP:
        kind = KFL_PUSHDOWN_UDP;
        break;
    case IPPROTO_SCTP:
        kind = KFL_PUSHDOWN_SCTP;
        break;
    default:
        return -1;
    }
    if (key->ip_version != 4 && key->ip_version != 6) /* its ports are not there */
        return -1;
    return key->ip_version == 6 ? kind + KFL_PUSHDOWN_IPV6 : kind;
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}
