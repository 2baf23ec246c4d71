#include "segment_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "../dataplane/pcapng_block.h"
#include "segment.h"

enum {
    NAMES_MAX = 1 << 16, /* addresses whose names are known */
    PATH_SIZE = 2048,
    OFFSET_BITS = 40, /* of a place: a segment is smaller than 1 TiB */
    OTHER_FILES = 128,
    CLOSING_S = 10, /* a segment that is being closed is written within this time */
};

struct part { /* one segment */
    struct segment_name name;
    struct index_cursor cursor;
    bool open, closed; /* closed: its statistics were seen, nothing follows */
    uint16_t n_interfaces;
    uint16_t *interface; /* in the segment -> interface.h's number */
};

struct name {
    uint8_t addr[16];
    char *text;
};

struct segment_source {
    struct source_base base;
    struct segment_source_config config;
    struct part *parts;
    unsigned n_parts, at; /* the part being read */
    struct index_chunk chunk;
    uint8_t *data; /* of the chunk */
    uint32_t data_size;
    uint32_t run, packet, offset; /* the next one in it; run == n_runs: none is left */
    uint64_t until;
    bool idle, finish, stopped;
    unsigned n_lost;
    uint64_t read_bytes, rx, rx_bytes;
    struct name *names;
    unsigned n_names;
};

static int list(struct segment_source *source);
static int open_part(struct segment_source *source, struct part *part);
static void close_part(struct part *part);
static bool next_chunk(struct segment_source *source);
static bool next_part(struct segment_source *source);
static bool load(struct segment_source *source);
static bool may_grow(const struct part *part);
static bool wants(struct segment_source *source);
static void take_head(struct part *part, const struct index_chunk *chunk);
static uint16_t take_interface(const uint8_t *block, uint32_t size);
static void take_names(struct segment_source *source);
static bool take_packet(struct segment_source *source, struct packet *packet);
static struct name *name_of(struct segment_source *source, const uint8_t addr[16]);

static int op_rx(struct source *base, unsigned queue, struct packet *burst, unsigned n)
{
    struct segment_source *source = (struct segment_source *)base;
    unsigned filled = 0;

    if (source->stopped)
        return -ENODATA;
    source->idle = false;
    while (filled < n) {
        if (source->run < source->chunk.n_runs) {
            if (take_packet(source, &burst[filled]))
                source->rx_bytes += burst[filled++].origlen;
            continue;
        }
        if (filled) /* the buffer is used again: what is in it goes out first */
            break;
        if (!next_chunk(source)) {
            source->idle =
                source->at + 1 >= source->n_parts || segment_source_place(source) >= source->until;
            if (source->finish)
                return -ENODATA;
            break;
        }
    }
    source->rx += filled;
    return (int)filled;
}

static void op_release(struct source *base, unsigned queue, const struct packet *burst, unsigned n)
{
}

static int op_fd(struct source *base, unsigned queue)
{
    return -1;
}

static void op_stats(struct source *base, struct source_stats *ret_stats)
{
    const struct segment_source *source = (struct segment_source *)base;

    *ret_stats = (struct source_stats){.rx = source->rx, .rx_bytes = source->rx_bytes};
}

static void op_stop(struct source *base)
{
    ((struct segment_source *)base)->stopped = true;
}

static void op_close(struct source *base)
{
    struct segment_source *source = (struct segment_source *)base;

    for (unsigned i = 0; i < source->n_parts; i++)
        close_part(&source->parts[i]);
    for (unsigned i = 0; source->names && i < NAMES_MAX; i++)
        free(source->names[i].text);
    free(source->names);
    free(source->parts);
    free(source->data);
    free(source);
}

static const struct source_ops ops = {
    .name = "segments",
    .live = false,
    .rx = op_rx,
    .release = op_release,
    .fd = op_fd,
    .stats = op_stats,
    .stop = op_stop,
    .close = op_close,
};

int segment_source_open(const struct segment_source_config *config, uint16_t number,
                        struct segment_source **ret_source)
{
    struct segment_source *source = calloc(1, sizeof(*source));
    int err;

    if (!source)
        return -ENOMEM;
    source->base.ops = &ops;
    source->base.n_queues = 1;
    source->base.number = number;
    snprintf(source->base.name, sizeof(source->base.name), "%.60s", config->recording);
    source->config = *config;
    source->until = UINT64_MAX;
    source->names = calloc(NAMES_MAX, sizeof(source->names[0]));
    err = source->names ? list(source) : -ENOMEM;
    if (err) {
        op_close((struct source *)source);
        return err;
    }
    *ret_source = source;
    return 0;
}

struct source *segment_source_base(struct segment_source *source)
{
    return (struct source *)source;
}

uint64_t segment_source_place(const struct segment_source *source)
{
    const struct part *part;

    if (source->at >= source->n_parts)
        return 0;
    part = &source->parts[source->at];
    return (uint64_t)part->name.number << OFFSET_BITS | part->cursor.walk.end;
}

bool segment_source_idle(const struct segment_source *source)
{
    return source->idle;
}

void segment_source_rewind(struct segment_source *source, uint64_t from, uint64_t until)
{
    list(source);
    for (unsigned i = 0; i < source->n_parts; i++) {
        source->parts[i].cursor.index_at = 0;
        source->parts[i].cursor.walk = (struct index_walk){0};
    }
    source->at = 0;
    while (source->at + 1 < source->n_parts &&
           source->parts[source->at + 1].name.number <= from >> OFFSET_BITS)
        source->at++;
    source->run = source->chunk.n_runs = 0;
    source->until = until;
    source->idle = false;
}

void segment_source_finish(struct segment_source *source)
{
    source->finish = true;
}

uint64_t segment_source_oldest_ns(struct segment_source *source)
{
    uint64_t oldest = UINT64_MAX;
    struct index_chunk chunk;

    for (unsigned i = 0; i < source->n_parts && oldest == UINT64_MAX; i++) {
        struct index_cursor *cursor = &source->parts[i].cursor;

        while (oldest == UINT64_MAX && source->parts[i].open &&
               index_cursor_next(cursor, &chunk) > 0)
            for (uint32_t k = 0; k < chunk.n_streams; k++)
                if (chunk.streams[k].first_ns < oldest)
                    oldest = chunk.streams[k].first_ns;
        cursor->index_at = 0;
        cursor->walk = (struct index_walk){0};
    }
    return oldest;
}

uint64_t segment_source_read_bytes(const struct segment_source *source)
{
    return source->read_bytes;
}

unsigned segment_source_lost_segments(const struct segment_source *source)
{
    return source->n_lost;
}

bool segment_source_name(void *context, const uint8_t addr[16], uint64_t ts_ns,
                         const char **ret_name, const char **ret_namespace)
{
    const struct name *name = name_of(context, addr);

    if (!name || !name->text)
        return false;
    *ret_name = name->text;
    *ret_namespace = "";
    return true;
}

/* Opens the segments that have come since the last time. All are open at once: what is deleted
 * meanwhile can still be read. */
static int list(struct segment_source *source)
{
    struct segment_info *found = NULL;
    struct part *parts;
    struct rlimit limit;
    unsigned n = 0;
    uint64_t bytes;
    int err = segment_list(source->config.folder, source->config.recording, &found, &n, &bytes);

    if (err)
        return err;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < 2 * n + OTHER_FILES) {
        limit.rlim_cur =
            limit.rlim_max < 2 * n + OTHER_FILES ? limit.rlim_max : 2 * n + OTHER_FILES;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    parts = realloc(source->parts, (source->n_parts + n + 1) * sizeof(parts[0]));
    if (!parts) {
        free(found);
        return -ENOMEM;
    }
    source->parts = parts;
    for (unsigned i = 0; i < n && !err; i++) {
        struct part *part = &source->parts[source->n_parts];

        if (source->n_parts && part[-1].name.number >= found[i].name.number)
            continue;
        *part = (struct part){.name = found[i].name};
        err = open_part(source, part);
        source->n_parts++;
        if (err == -ENOENT) { /* deleted between the listing and here */
            source->n_lost++;
            err = 0;
        }
    }
    free(found);
    return err;
}

static int open_part(struct segment_source *source, struct part *part)
{
    char path[PATH_SIZE];
    int err = segment_path(source->config.folder, source->config.recording, &part->name,
                           SEGMENT_PCAPNG, path, sizeof(path));

    if (!err)
        err = index_cursor_open(&part->cursor, path, true);
    part->open = !err;
    part->interface = err ? NULL : calloc(INTERFACE_MAX, sizeof(part->interface[0]));
    return err ? err : part->interface ? 0 : -ENOMEM;
}

static void close_part(struct part *part)
{
    if (part->open)
        index_cursor_close(&part->cursor);
    free(part->interface);
    part->open = false;
}

/* -> a chunk with something wanted is loaded; false: no more now. */
static bool next_chunk(struct segment_source *source)
{
    while (source->at < source->n_parts || next_part(source)) {
        struct part *part = &source->parts[source->at];
        int got;

        if (segment_source_place(source) >= source->until)
            return false;
        got = part->open ? index_cursor_next(&part->cursor, &source->chunk) : 0;
        if (got <= 0)
            source->chunk.n_runs = 0;
        source->run = source->chunk.n_runs; /* nothing of it yet */
        source->packet = 0;
        if (got <= 0) {
            if (!next_part(source))
                return false;
            continue;
        }
        if (!source->chunk.n_streams) {
            take_head(part, &source->chunk);
            continue;
        }
        if (wants(source) && load(source))
            return true;
    }
    return false;
}

/* A segment is only left when it is closed, or there is nothing to wait for: its last chunks may
 * come later than the first ones of the next. */
static bool next_part(struct segment_source *source)
{
    if (source->at + 1 >= source->n_parts)
        list(source);
    if (source->at < source->n_parts) {
        const struct part *part = &source->parts[source->at];

        if (source->at + 1 >= source->n_parts)
            return false;
        if (!source->finish && may_grow(part))
            return false;
        source->at++;
        return true;
    }
    return source->at < source->n_parts;
}

/* Of a segment that a crash left without its end nothing is to be expected. */
static bool may_grow(const struct part *part)
{
    struct stat stat_;

    return part->open && !part->closed && !fstat(part->cursor.segment.file, &stat_) &&
           time(NULL) - stat_.st_mtime < CLOSING_S;
}

static bool wants(struct segment_source *source)
{
    const struct segment_source_config *config = &source->config;
    uint64_t place = segment_source_place(source) - source->chunk.size;

    for (uint32_t i = 0; i < source->chunk.n_streams; i++)
        if (!config->wanted || config->wanted(config->context, &source->chunk.streams[i], place))
            return true;
    return false;
}

static bool load(struct segment_source *source)
{
    struct part *part = &source->parts[source->at];
    uint32_t done = 0;

    if (source->data_size < source->chunk.size) {
        uint8_t *grown = realloc(source->data, source->chunk.size);

        if (!grown)
            return false;
        source->data = grown;
        source->data_size = source->chunk.size;
    }
    while (done < source->chunk.size) {
        ssize_t got = pread(part->cursor.segment.file, source->data + done,
                            source->chunk.size - done, (off_t)(source->chunk.offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            source->n_lost++;
            return false;
        }
        done += (uint32_t)got;
    }
    source->read_bytes += done;
    source->run = source->packet = 0;
    take_names(source);
    return true;
}

/* Interfaces, or the statistics that end it. */
static void take_head(struct part *part, const struct index_chunk *chunk)
{
    struct pcapng_reader *reader = &part->cursor.segment;
    uint64_t end = chunk->offset + chunk->size;
    struct pcapng_block block;

    pcapng_read_seek(reader, chunk->offset);
    if (!chunk->offset)
        part->n_interfaces = 0;
    while (reader->offset < end && pcapng_read_next(reader, &block) > 0) {
        if (block.type == PCAPNG_INTERFACE && part->n_interfaces < INTERFACE_MAX)
            part->interface[part->n_interfaces++] = take_interface(block.at, block.size);
        part->closed |= block.type == PCAPNG_STATISTICS;
    }
}

/* -> the number of an interface that is alike. */
static uint16_t take_interface(const uint8_t *block, uint32_t size)
{
    char text[2][128] = {"", ""}; /* name, description */
    uint16_t linktype;
    uint32_t snaplen, at = 16;
    int number;

    memcpy(&linktype, block + 8, 2);
    memcpy(&snaplen, block + 12, 4);
    while (at + 4 <= size - 4) {
        uint16_t option[2];

        memcpy(option, block + at, 4);
        if (!option[0] || at + 4 + option[1] > size - 4)
            break;
        if (option[0] == PCAPNG_OPTION_INTERFACE_NAME ||
            option[0] == PCAPNG_OPTION_INTERFACE_DESCRIPTION)
            snprintf(text[option[0] == PCAPNG_OPTION_INTERFACE_DESCRIPTION], sizeof(text[0]),
                     "%.*s", option[1], (const char *)block + at + 4);
        at += 4 + ((option[1] + 3U) & ~3U);
    }
    for (unsigned i = 0; i < interface_count(); i++) {
        const struct interface *one = interface_get(i);

        if (!strcmp(one->name, text[0]) && !strcmp(one->description, text[1]) &&
            one->linktype == linktype && one->snaplen == snaplen)
            return (uint16_t)i;
    }
    number = interface_add(text[0], "file", text[1], linktype, snaplen);
    return number < 0 ? 0 : (uint16_t)number;
}

static void take_names(struct segment_source *source)
{
    for (uint32_t i = 0; i < source->chunk.n_streams; i++)
        for (unsigned side = 0; side < 2; side++) {
            const struct chunk_stream *stream = &source->chunk.streams[i];
            const char *text = index_name(&source->chunk, stream, side);
            const uint8_t *addr = stream->key.addr[side ^ stream->client];
            struct name *name = *text ? name_of(source, addr) : NULL;

            if (!name || name->text) /* texts hold still: the first name stays */
                continue;
            name->text = strdup(text);
            memcpy(name->addr, addr, 16);
            source->n_names++;
        }
}

/* Its place, or a free one; null: the table is full. */
static struct name *name_of(struct segment_source *source, const uint8_t addr[16])
{
    uint64_t halves[2];
    uint32_t at;

    memcpy(halves, addr, 16);
    at = (uint32_t)((halves[0] ^ halves[1]) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % NAMES_MAX;
    while (source->names[at].text && memcmp(source->names[at].addr, addr, 16) != 0)
        at = (at + 1) % NAMES_MAX;
    return source->names[at].text || source->n_names < NAMES_MAX / 2 ? &source->names[at] : NULL;
}

/* The next one in the chunk, which moves on. -> false: it is not wanted, or damaged. */
static bool take_packet(struct segment_source *source, struct packet *packet)
{
    const struct segment_source_config *config = &source->config;
    const struct part *part = &source->parts[source->at];
    const struct chunk_run *run = &source->chunk.runs[source->run];
    const struct chunk_stream *stream = &source->chunk.streams[run->stream];
    uint64_t place = segment_source_place(source) - source->chunk.size;
    uint32_t at = source->packet ? source->offset : run->offset;
    uint32_t head[7];
    uint16_t interface;
    bool whole = source->packet < run->packets &&
                 (uint64_t)at + PCAPNG_PACKET_HEADER + 4 <= source->chunk.size;

    if (whole) {
        memcpy(head, source->data + at, sizeof(head));
        whole = head[0] == PCAPNG_PACKET && head[1] >= PCAPNG_PACKET_HEADER + 4 &&
                head[1] % 4 == 0 && head[1] <= source->chunk.size - at &&
                head[5] <= head[1] - PCAPNG_PACKET_HEADER - 4 && head[2] < part->n_interfaces;
    }
    if (!whole ||
        (!source->packet && config->wanted && !config->wanted(config->context, stream, place))) {
        source->run++;
        source->packet = 0;
        return false;
    }
    interface = part->interface[head[2]];
    *packet = (struct packet){
        .data = source->data + at + sizeof(head),
        .ts_ns = (uint64_t)head[3] << 32 | head[4],
        .caplen = head[5],
        .origlen = head[6] < head[5] ? head[5] : head[6],
        .cookie = stream->number,
        .interface = interface,
        .linktype = interface_get(interface)->linktype,
        .source = source->base.number,
    };
    source->offset = at + head[1];
    if (++source->packet == run->packets) {
        source->run++;
        source->packet = 0;
    }
    return true;
}
