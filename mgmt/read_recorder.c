#include "read_recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/kfl.h"

enum {
    BLOCKS_SIZE = 1 << 20,
    LINES_SIZE = 1 << 20, /* to begin with */
    LINES_FLUSH = 256 << 10,
    BUCKETS_MIN = 1024,
    INTERFACE_BLOCK_MAX = 4096,
};
static const size_t entry_memory = 256 << 20;

struct read_recorder {
    struct recorder base;
    struct read_output *output;
    struct read_row *rows;
    size_t n_rows, capacity;
    uint32_t *buckets; /* by stream number: place + 1 of a row, 0 empty */
    size_t n_buckets;
    uint8_t *blocks; /* packets on their way to the file */
    size_t blocks_size, blocks_capacity;
    size_t reserved;
    char *lines; /* entries on their way out */
    size_t lines_size, lines_capacity;
    struct kfl_arena *arena;
};

static struct read_recorder *self(struct recorder *recorder);
static struct read_row *row_of(struct read_recorder *recorder, const struct stream *stream,
                               unsigned slot);
static struct read_row *row_find(struct read_recorder *recorder, uint64_t number, unsigned slot);
static bool first_row_is(struct read_recorder *recorder, uint64_t number, unsigned slot);
static void rehash(struct read_recorder *recorder);
static void flush_blocks(struct read_recorder *recorder);
static void flush_lines(struct read_recorder *recorder);
static void describe_interfaces(struct read_output *output);
static void write_all(struct read_output *output, const uint8_t *bytes, size_t size);
static void *grown(void *memory, size_t size);

/* ---- the recorder ---- */

static uint8_t *reserve(struct recorder *base, unsigned slot, uint32_t size, uint16_t interface)
{
    struct read_recorder *recorder = self(base);

    if (recorder->blocks_size + size > recorder->blocks_capacity) {
        flush_blocks(recorder);
        if (size > recorder->blocks_capacity) {
            recorder->blocks = grown(recorder->blocks, size);
            recorder->blocks_capacity = size;
        }
    }
    recorder->reserved = size;
    return recorder->blocks + recorder->blocks_size;
}

static void commit(struct recorder *base, unsigned slot, const struct stream *stream,
                   uint64_t ts_ns, uint32_t origlen, uint16_t interface)
{
    struct read_recorder *recorder = self(base);

    if (recorder->output->n_statements == 1 || first_row_is(recorder, stream->number, slot))
        recorder->blocks_size += recorder->reserved;
}

static void entry(struct recorder *base, uint64_t slots, const struct stream *stream,
                  const struct kfl_entry *entry)
{
    struct read_recorder *recorder = self(base);
    uint64_t hiding = base->plan ? slots & kfl_plan_redacts(base->plan) : 0;
    struct kfl_value *value;
    int n = -ENOSPC;

    for (; slots; slots &= slots - 1)
        row_of(recorder, stream, (unsigned)__builtin_ctzll(slots))->matches++;
    if (!recorder->output->entries)
        return;
    kfl_arena_reset(recorder->arena);
    value = kfl_entry_value(recorder->arena, entry);
    for (; hiding && value; hiding &= hiding - 1)
        if (!kfl_plan_redact(base->plan, (unsigned)__builtin_ctzll(hiding), value, recorder->arena))
            value = NULL;
    while (value && n == -ENOSPC) {
        size_t room = recorder->lines_capacity - recorder->lines_size;

        n = kfl_json_print(value, recorder->lines + recorder->lines_size, room);
        if (n >= 0 && (size_t)n + 1 < room) {
            recorder->lines_size += (size_t)n;
            recorder->lines[recorder->lines_size++] = '\n';
        } else { /* the line begins a fresh buffer, or one twice as large */
            n = -ENOSPC;
            if (!recorder->lines_size)
                recorder->lines_capacity *= 2;
            flush_lines(recorder);
            recorder->lines = grown(recorder->lines, recorder->lines_capacity);
        }
    }
    if (recorder->lines_size > LINES_FLUSH)
        flush_lines(recorder);
}

static void matched(struct recorder *base, uint64_t slots, const struct stream *stream,
                    uint32_t missing, uint64_t ts_ns)
{
    for (; slots; slots &= slots - 1)
        row_of(self(base), stream, (unsigned)__builtin_ctzll(slots))->missing = missing;
}

static void ended(struct recorder *base, uint64_t slots, const struct stream *stream,
                  const struct kfl_stream *view)
{
    for (; slots; slots &= slots - 1) {
        struct read_row *row = row_of(self(base), stream, (unsigned)__builtin_ctzll(slots));

        row->first_ns = view->first_ns;
        row->last_ns = view->last_ns;
        row->packets = view->packets[0] + view->packets[1];
        row->bytes = view->bytes[0] + view->bytes[1];
        memcpy(row->end, view->end, sizeof(row->end));
        row->l7 = view->l7;
        row->vlan = view->vlan[0];
        row->tunnel = view->tunnel;
        row->ip_protocol = view->ip_protocol;
        row->ip_version = view->ip_version;
        row->l4 = view->l4;
    }
}

static void released(struct recorder *base, uint64_t slots, uint64_t now_ns)
{
    /* There is one plan for the whole run. */
}

static void flush(struct recorder *base, uint64_t now_ns, bool all)
{
    if (all) {
        flush_blocks(self(base));
        flush_lines(self(base));
    }
}

static const struct recorder_ops ops = {reserve, commit, entry, matched, ended, released, flush};

/* ---- life ---- */

int read_recorder_create(struct read_output *output, struct read_recorder **ret_recorder)
{
    struct read_recorder *recorder = calloc(1, sizeof(*recorder));

    if (!recorder)
        return -ENOMEM;
    recorder->base = (struct recorder){
        .ops = &ops,
        .wants_packets = output->fd >= 0,
        .wants_entries = UINT64_MAX, /* `matches` and `l7` speak of all */
    };
    recorder->output = output;
    recorder->n_buckets = BUCKETS_MIN;
    recorder->buckets = calloc(recorder->n_buckets, sizeof(recorder->buckets[0]));
    recorder->blocks_capacity = BLOCKS_SIZE;
    recorder->blocks = malloc(recorder->blocks_capacity);
    recorder->lines_capacity = LINES_SIZE;
    recorder->lines = malloc(recorder->lines_capacity);
    recorder->arena = kfl_arena_create(entry_memory);
    if (!recorder->buckets || !recorder->blocks || !recorder->lines || !recorder->arena) {
        read_recorder_free(recorder);
        return -ENOMEM;
    }
    *ret_recorder = recorder;
    return 0;
}

void read_recorder_free(struct read_recorder *recorder)
{
    if (!recorder)
        return;
    kfl_arena_free(recorder->arena);
    free(recorder->lines);
    free(recorder->blocks);
    free(recorder->buckets);
    free(recorder->rows);
    free(recorder);
}

struct recorder *read_recorder_base(struct read_recorder *recorder)
{
    return &recorder->base;
}

const struct read_row *read_recorder_rows(const struct read_recorder *recorder, size_t *ret_n)
{
    *ret_n = recorder->n_rows;
    return recorder->rows;
}

int read_output_open(struct read_output *output, const char *path)
{
    struct utsname host;
    struct pcapng_section section = {.application = "tapedeck " TAPEDECK_VERSION};
    char os[sizeof(host)];
    uint8_t block[INTERFACE_BLOCK_MAX];

    output->fd = strcmp(path, "-") ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
                                   : dup(STDOUT_FILENO);
    if (output->fd < 0)
        return -errno;
    if (!uname(&host)) {
        snprintf(os, sizeof(os), "%s %s", host.sysname, host.release);
        section.os = os;
        section.hardware = host.machine;
    }
    write_all(output, block, pcapng_section_block(block, &section));
    return -output->error;
}

int read_output_close(struct read_output *output)
{
    if (output->fd >= 0 && close(output->fd) < 0 && !output->error)
        output->error = errno;
    output->fd = -1;
    return -output->error;
}

/* ---- rows ---- */

static struct read_recorder *self(struct recorder *recorder)
{
    return (struct read_recorder *)recorder;
}

static struct read_row *row_of(struct read_recorder *recorder, const struct stream *stream,
                               unsigned slot)
{
    struct read_row *row = row_find(recorder, stream->number, slot);
    uint32_t *bucket;

    if (row)
        return row;
    if (recorder->n_rows == recorder->capacity) {
        recorder->capacity = recorder->capacity ? 2 * recorder->capacity : 256;
        recorder->rows = grown(recorder->rows, recorder->capacity * sizeof(recorder->rows[0]));
    }
    if (recorder->n_rows >= recorder->n_buckets)
        rehash(recorder);
    bucket = &recorder->buckets[stream->number % recorder->n_buckets];
    row = &recorder->rows[recorder->n_rows++];
    *row = (struct read_row){.number = stream->number, .slot = (uint8_t)slot, .next = *bucket};
    *bucket = (uint32_t)recorder->n_rows;
    return row;
}

static struct read_row *row_find(struct read_recorder *recorder, uint64_t number, unsigned slot)
{
    uint32_t at = recorder->buckets[number % recorder->n_buckets];

    while (at) {
        struct read_row *row = &recorder->rows[at - 1];

        if (row->number == number && row->slot == slot)
            return row;
        at = row->next;
    }
    return NULL;
}

/* Is the stream's oldest row of this statement? Its packets are written for that one. */
static bool first_row_is(struct read_recorder *recorder, uint64_t number, unsigned slot)
{
    uint32_t at = recorder->buckets[number % recorder->n_buckets];
    const struct read_row *oldest = NULL;

    for (; at; at = recorder->rows[at - 1].next)
        if (recorder->rows[at - 1].number == number)
            oldest = &recorder->rows[at - 1]; /* newer rows come first in a bucket */
    return oldest && oldest->slot == slot;
}

static void rehash(struct read_recorder *recorder)
{
    recorder->n_buckets *= 4;
    recorder->buckets =
        grown(recorder->buckets, recorder->n_buckets * sizeof(recorder->buckets[0]));
    memset(recorder->buckets, 0, recorder->n_buckets * sizeof(recorder->buckets[0]));
    for (size_t i = 0; i < recorder->n_rows; i++) {
        uint32_t *bucket = &recorder->buckets[recorder->rows[i].number % recorder->n_buckets];

        recorder->rows[i].next = *bucket;
        *bucket = (uint32_t)i + 1;
    }
}

/* ---- what is shared ---- */

static void flush_blocks(struct read_recorder *recorder)
{
    struct read_output *output = recorder->output;

    if (!recorder->blocks_size)
        return;
    pthread_mutex_lock(&output->lock);
    describe_interfaces(output);
    write_all(output, recorder->blocks, recorder->blocks_size);
    pthread_mutex_unlock(&output->lock);
    recorder->blocks_size = 0;
}

static void flush_lines(struct read_recorder *recorder)
{
    struct read_output *output = recorder->output;

    if (!recorder->lines_size)
        return;
    pthread_mutex_lock(&output->lock);
    if (fwrite(recorder->lines, 1, recorder->lines_size, output->entries) != recorder->lines_size &&
        !output->error)
        output->error = errno;
    pthread_mutex_unlock(&output->lock);
    recorder->lines_size = 0;
}

static void describe_interfaces(struct read_output *output)
{
    uint8_t block[INTERFACE_BLOCK_MAX];

    for (; output->n_interfaces < interface_count(); output->n_interfaces++) {
        const struct interface *interface = interface_get(output->n_interfaces);
        const struct pcapng_interface row = {
            .name = interface->name,
            .description = interface->description,
            .linktype = interface->linktype,
            .snaplen = interface->snaplen,
        };

        write_all(output, block, pcapng_interface_block(block, &row));
    }
}

static void write_all(struct read_output *output, const uint8_t *bytes, size_t size)
{
    while (size && !output->error) {
        ssize_t n = write(output->fd, bytes, size);

        if (n >= 0) {
            bytes += n;
            size -= (size_t)n;
        } else if (errno != EINTR) {
            output->error = errno;
        }
    }
}

/* `read` keeps what matched in memory: without memory it ends. */
static void *grown(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory) {
        fprintf(stderr, "tapedeck read: out of memory (%zu bytes)\n", size);
        exit(1);
    }
    return memory;
}
