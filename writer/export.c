#include "export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "../dataplane/pcapng_block.h"
#include "export_out.h"
#include "export_part.h"
#include "pcapng_read.h"

enum {
    SECRETS_MAX = 64 << 20,
    HEAD_STEP = 16 << 10,
    OTHER_FILES = 64,
    NAMES_SEEN = 1 << 16,
    PROGRESS_BYTES = 8 << 20,
    FILES_MAX = 64
};
#define MEMORY_DEFAULT (UINT64_C(256) << 20)

struct segment_map {
    uint16_t n;
    uint16_t *number; /* interface in the segment -> in the output */
};

struct export_run {
    const struct export_config *config;
    struct export_result result;
    char *error_text;
    struct export_part *parts;
    size_t n_parts, parts_max;
    struct export_part **heap; /* by next_ns, then file order */
    size_t n_heap;
    uint64_t memory; /* bytes loaded */
    uint64_t total_bytes, told_bytes;
    struct segment_map *maps;
    struct {
        uint8_t *block;
        uint32_t size;
    } interfaces[INTERFACE_MAX];
    unsigned n_interfaces;
    uint8_t *secrets; /* blocks of TLS keys, one behind the other */
    uint64_t secrets_size;
    int *files; /* by segment, all open: what is deleted meanwhile is exported all the same */
    struct pcapng_reader head_reader; /* of the segment being walked */
    unsigned walking;
    uint64_t *names_seen;
    uint8_t *rows;
    struct export_out *out;
};

static int fail(struct export_run *run, int error, unsigned segment, const char *what);
static bool open_files(struct export_run *run);
static int collect(struct export_run *run);
static int collect_segment(struct export_run *run, const char *path);
static int collect_chunk(struct export_run *run, const struct index_chunk *chunk);
static int collect_interfaces(struct export_run *run, const struct index_chunk *chunk);
static bool collect_secrets(struct export_run *run, const struct pcapng_block *block);
static int begin_output(struct export_run *run);
static int merge(struct export_run *run);
static int load(struct export_run *run, struct export_part *part);
static int put_names(struct export_run *run, struct export_part *part,
                     const struct index_chunk *chunk);
static int put_packet(struct export_run *run, struct export_part *part);
static int put(struct export_run *run, const void *bytes, uint64_t size);
static int fail_writing(struct export_run *run, int error);
static void heap_push(struct export_run *run, struct export_part *part);
static void heap_sink(struct export_run *run, size_t at);
static bool before(const struct export_part *a, const struct export_part *b);

static int by_first(const void *a, const void *b)
{
    const struct export_part *x = a, *y = b;

    if (x->first_ns != y->first_ns)
        return x->first_ns < y->first_ns ? -1 : 1;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

int export_run(const struct export_config *config, struct export_result *ret_result,
               char reterr_text[static EXPORT_ERROR_SIZE])
{
    struct export_run *run = calloc(1, sizeof(*run));
    int error = -ENOMEM, last;

    if (!run)
        return -ENOMEM;
    run->config = config;
    run->error_text = reterr_text;
    run->maps = calloc(config->n_segments + 1, sizeof(*run->maps));
    run->names_seen = calloc(NAMES_SEEN, sizeof(*run->names_seen));
    run->rows = aligned_alloc(64, INDEX_DIRECTORY_MAX);
    if (config->n_segments > UINT16_MAX) {
        error = -E2BIG;
        snprintf(reterr_text, EXPORT_ERROR_SIZE, "%u segments are too many at once",
                 config->n_segments);
    } else if (open_files(run) && run->maps && run->names_seen && run->rows &&
               !export_out_open(config->output, &run->out)) {
        error = collect(run);
    } else {
        snprintf(reterr_text, EXPORT_ERROR_SIZE, "out of memory");
    }
    if (!error && run->n_parts)
        qsort(run->parts, run->n_parts, sizeof(*run->parts), by_first);
    if (!error)
        error = begin_output(run);
    if (!error)
        error = merge(run);
    last = export_out_close(run->out, &run->result.bytes);
    if (!error && last)
        error = fail_writing(run, last);
    *ret_result = run->result;
    for (size_t i = 0; i < run->n_parts; i++)
        export_part_drop(&run->parts[i]);
    for (unsigned i = 0; run->files && i < config->n_segments; i++)
        if (run->files[i] >= 0)
            close(run->files[i]);
    free(run->files);
    for (unsigned i = 0; run->maps && i < config->n_segments; i++)
        free(run->maps[i].number);
    for (unsigned i = 0; i < run->n_interfaces; i++)
        free(run->interfaces[i].block);
    free(run->parts);
    free(run->heap);
    free(run->secrets);
    free(run->maps);
    free(run->names_seen);
    free(run->rows);
    free(run);
    return error;
}

bool export_wants_stream(void *context, unsigned segment, uint64_t stream)
{
    return stream == *(const uint64_t *)context;
}

static int fail(struct export_run *run, int error, unsigned segment, const char *what)
{
    snprintf(run->error_text, EXPORT_ERROR_SIZE, "%.200s: %s: %s", run->config->segments[segment],
             what, error == -EBADMSG ? "damaged" : strerror(-error));
    return error;
}

/* A segment that is gone already has been deleted by its quota since it was listed. */
static bool open_files(struct export_run *run)
{
    unsigned n = run->config->n_segments;
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < n + OTHER_FILES) {
        limit.rlim_cur = limit.rlim_max < n + OTHER_FILES ? limit.rlim_max : n + OTHER_FILES;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    run->files = calloc(n + 1, sizeof(*run->files));
    for (unsigned i = 0; run->files && i < n; i++) {
        run->files[i] = open(run->config->segments[i], O_RDONLY | O_CLOEXEC);
        run->result.n_gone += run->files[i] < 0 && errno == ENOENT;
    }
    return run->files != NULL;
}

/* ---- which chunks, which interfaces ---- */
static int collect(struct export_run *run)
{
    int error = 0;

    for (unsigned i = 0; i < run->config->n_segments && !error; i++) {
        run->walking = i;
        if (access(run->config->segments[i], F_OK))
            continue;
        error = collect_segment(run, run->config->segments[i]);
        if (error == -ENOENT) { /* deleted since it was opened, before it was looked at */
            run->result.n_gone++;
            error = 0;
        }
        if (error)
            return fail(run, error, i, "cannot be read");
    }
    run->heap = malloc((run->n_parts + 1) * sizeof(struct export_part *));
    if (!run->heap)
        return -ENOMEM;
    return error;
}

static int collect_segment(struct export_run *run, const char *path)
{
    struct index_cursor cursor;
    struct index_chunk chunk;
    int got, error = pcapng_read_open(&run->head_reader, path);

    if (error)
        return error;
    run->head_reader.step = HEAD_STEP;
    error = index_cursor_open(&cursor, path, true);
    if (!error) {
        if (run->config->wanted == export_wants_stream)
            index_cursor_look_for(&cursor, run->config->wanted_context);
        while (!error && (got = index_cursor_next(&cursor, &chunk)) != 0)
            error = got < 0 ? got : collect_chunk(run, &chunk);
        run->result.n_damaged += !error && cursor.walk.damaged;
        index_cursor_close(&cursor);
    }
    pcapng_read_close(&run->head_reader);
    return error;
}

static int collect_chunk(struct export_run *run, const struct index_chunk *chunk)
{
    const struct export_config *config = run->config;
    struct export_part part = {.offset = chunk->offset,
                               .size = chunk->size,
                               .segment = (uint16_t)run->walking,
                               .first_ns = UINT64_MAX};

    if (!chunk->n_streams)
        return collect_interfaces(run, chunk);
    for (uint32_t i = 0; i < chunk->n_streams; i++) {
        const struct chunk_stream *stream = &chunk->streams[i];

        if (config->wanted && !config->wanted(config->wanted_context, run->walking, stream->number))
            continue;
        part.first_ns = stream->first_ns < part.first_ns ? stream->first_ns : part.first_ns;
        part.last_ns = stream->last_ns > part.last_ns ? stream->last_ns : part.last_ns;
    }
    if (part.first_ns == UINT64_MAX)
        return 0;
    if (run->n_parts == run->parts_max) {
        size_t max = run->parts_max ? 2 * run->parts_max : 1024;
        struct export_part *grown = realloc(run->parts, max * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        run->parts = grown;
        run->parts_max = max;
    }
    run->parts[run->n_parts++] = part;
    run->total_bytes += part.size;
    return 0;
}

/* A chunk without streams is a head (interfaces) or a tail (statistics). */
static int collect_interfaces(struct export_run *run, const struct index_chunk *chunk)
{
    struct segment_map *map = &run->maps[run->walking];
    struct pcapng_block block;
    int got = 0;

    pcapng_read_seek(&run->head_reader, chunk->offset);
    while (run->head_reader.offset < chunk->offset + chunk->size &&
           (got = pcapng_read_next(&run->head_reader, &block)) > 0) {
        unsigned i = 0;

        if (block.type == PCAPNG_SECRETS && !collect_secrets(run, &block))
            return -ENOMEM;
        if (block.type != PCAPNG_INTERFACE)
            continue;
        if (map->n == INTERFACE_MAX)
            return -EBADMSG;
        if (!map->number)
            map->number = calloc(INTERFACE_MAX, sizeof(*map->number));
        while (i < run->n_interfaces && (run->interfaces[i].size != block.size ||
                                         memcmp(run->interfaces[i].block, block.at, block.size)))
            i++;
        if (i == run->n_interfaces) {
            if (i == INTERFACE_MAX)
                return -ENOSPC;
            run->interfaces[i].block = malloc(block.size);
            if (!run->interfaces[i].block)
                return -ENOMEM;
            memcpy(run->interfaces[i].block, block.at, block.size);
            run->interfaces[i].size = block.size;
            run->n_interfaces++;
        }
        if (!map->number)
            return -ENOMEM;
        map->number[map->n++] = (uint16_t)i;
    }
    return got < 0 ? got : 0;
}

/* Segments that follow each other repeat the keys: equal blocks become one. */
static bool collect_secrets(struct export_run *run, const struct pcapng_block *block)
{
    uint8_t *grown;

    for (uint64_t at = 0; at < run->secrets_size;) {
        uint32_t size;

        memcpy(&size, run->secrets + at + 4, 4);
        if (size == block->size && !memcmp(run->secrets + at, block->at, size))
            return true;
        at += size;
    }
    if (run->secrets_size + block->size > SECRETS_MAX)
        return true;
    grown = realloc(run->secrets, run->secrets_size + block->size);
    if (!grown)
        return false;
    memcpy(grown + run->secrets_size, block->at, block->size);
    run->secrets = grown;
    run->secrets_size += block->size;
    return true;
}

static int begin_output(struct export_run *run)
{
    const struct pcapng_section section = {.application = "tapedeck " TAPEDECK_VERSION,
                                           .comment = run->config->comment};
    int error;

    error = put(run, run->rows, pcapng_section_block(run->rows, &section));
    if (error)
        return error;
    for (unsigned i = 0; i < run->n_interfaces; i++) {
        error = put(run, run->interfaces[i].block, run->interfaces[i].size);
        if (error)
            return error;
    }
    return put(run, run->secrets, run->secrets_size);
}

/* ---- merging ---- */
static int merge(struct export_run *run)
{
    size_t coming = 0;
    int error;

    while (run->n_heap || coming < run->n_parts) {
        struct export_part *top, *rival;
        uint64_t until;

        while (coming < run->n_parts &&
               (!run->n_heap || run->parts[coming].first_ns <= run->heap[0]->next_ns)) {
            struct export_part *part = &run->parts[coming++];

            error = load(run, part);
            if (error)
                return error;
            heap_push(run, part);
        }
        top = run->heap[0];
        if (!top->data) { /* it was dropped to save memory */
            error = load(run, top);
            if (error)
                return error;
        }
        rival = run->n_heap > 1 ? run->heap[1] : NULL;
        if (run->n_heap > 2 && before(run->heap[2], rival))
            rival = run->heap[2];
        until = coming < run->n_parts ? run->parts[coming].first_ns : UINT64_MAX;
        do {
            error = put_packet(run, top);
            if (error)
                return error;
        } while (top->next < top->n_packets && top->next_ns < until &&
                 (!rival || before(top, rival)));
        if (top->next == top->n_packets) {
            run->memory -= export_part_memory(top);
            export_part_drop(top);
            run->heap[0] = run->heap[--run->n_heap];
        }
        heap_sink(run, 0);
    }
    return 0;
}

/* The loaded part that is needed last; never `but`. */
static struct export_part *last_needed(struct export_run *run, const struct export_part *but)
{
    struct export_part *last = NULL;

    for (size_t i = 0; i < run->n_heap; i++) {
        struct export_part *part = run->heap[i];

        if (part != but && part->data && (!last || before(last, part)))
            last = part;
    }
    return last;
}

static int load(struct export_run *run, struct export_part *part)
{
    const struct export_config *config = run->config;
    uint64_t limit = config->memory ? config->memory : MEMORY_DEFAULT;
    struct export_part *last;
    struct index_chunk chunk;
    int error;

    while (run->memory + part->size > limit && (last = last_needed(run, part))) {
        run->memory -= export_part_memory(last);
        export_part_drop(last);
    }
    error = export_part_load(part, run->files[part->segment], config, run->rows, &chunk);
    if (error)
        return fail(run, error, part->segment, "a chunk cannot be read");
    run->memory += export_part_memory(part);
    run->result.read_bytes += part->size;
    if (part->loaded_once)
        return 0;
    part->loaded_once = true;
    if (config->progress && run->result.read_bytes - run->told_bytes >= PROGRESS_BYTES) {
        run->told_bytes = run->result.read_bytes;
        if (!config->progress(config->progress_context, run->told_bytes, run->total_bytes)) {
            snprintf(run->error_text, EXPORT_ERROR_SIZE, "stopped");
            return -ECANCELED;
        }
    }
    return put_names(run, part, &chunk);
}

/* A name is written once, as long as the set of those seen has room. */
static bool name_is_new(struct export_run *run, const uint8_t *addr, const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t size = strlen(name);

    for (unsigned i = 0; i < 16; i++)
        hash = (hash ^ addr[i]) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
    hash |= 1;
    for (unsigned i = 0; i < 16; i++) {
        uint64_t *seen = &run->names_seen[(hash + i) % NAMES_SEEN];

        if (*seen == hash)
            return false;
        if (!*seen) {
            *seen = hash;
            return true;
        }
    }
    return true;
}

static int put_names(struct export_run *run, struct export_part *part,
                     const struct index_chunk *chunk)
{
    uint8_t block[1024];

    for (uint32_t i = 0; i < chunk->n_streams; i++) {
        const struct chunk_stream *stream = &chunk->streams[i];

        if (run->config->wanted &&
            !run->config->wanted(run->config->wanted_context, part->segment, stream->number))
            continue;
        for (unsigned side = 0; side < 2; side++) {
            struct pcapng_name name = {.addr = stream->key.addr[side ^ stream->client],
                                       .name = index_name(chunk, stream, side)};
            int error;

            if (!*name.name || pcapng_names_block(NULL, &name, 1) > sizeof(block) ||
                !name_is_new(run, name.addr, name.name))
                continue;
            error = put(run, block, pcapng_names_block(block, &name, 1));
            if (error)
                return error;
        }
    }
    return 0;
}

static int put_packet(struct export_run *run, struct export_part *part)
{
    const struct export_packet *packet;
    const struct segment_map *map = &run->maps[part->segment];
    uint8_t *block;
    uint32_t interface;

    if (part->next == part->n_packets)
        return 0;
    packet = &part->packets[part->next++];
    part->next_ns = part->next < part->n_packets ? part->packets[part->next].ts_ns : UINT64_MAX;
    block = part->data + packet->offset;
    memcpy(&interface, block + 8, 4);
    if (interface >= map->n)
        return fail(run, -EBADMSG, part->segment, "a packet names an interface that is not there");
    interface = map->number[interface];
    memcpy(block + 8, &interface, 4);
    run->result.packets++;
    return put(run, block, packet->size);
}

static int put(struct export_run *run, const void *bytes, uint64_t size)
{
    int error = export_out_put(run->out, bytes, size);

    return error ? fail_writing(run, error) : 0;
}

static int fail_writing(struct export_run *run, int error)
{
    snprintf(run->error_text, EXPORT_ERROR_SIZE, "writing the export: %s", strerror(-error));
    return error;
}

/* ---- heap ---- */
static bool before(const struct export_part *a, const struct export_part *b)
{
    if (a->next_ns != b->next_ns)
        return a->next_ns < b->next_ns;
    return a->segment != b->segment ? a->segment < b->segment : a->offset < b->offset;
}

static void heap_push(struct export_run *run, struct export_part *part)
{
    size_t at = run->n_heap++;

    while (at && before(part, run->heap[(at - 1) / 2])) {
        run->heap[at] = run->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    run->heap[at] = part;
}

static void heap_sink(struct export_run *run, size_t at)
{
    struct export_part *part;

    if (at >= run->n_heap)
        return;
    part = run->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= run->n_heap)
            break;
        if (child + 1 < run->n_heap && before(run->heap[child + 1], run->heap[child]))
            child++;
        if (!before(run->heap[child], part))
            break;
        run->heap[at] = run->heap[child];
        at = child;
    }
    run->heap[at] = part;
}
