#include "export_part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/pcapng_block.h"

static int read_all(int file, uint8_t *data, uint32_t size, uint64_t offset);
static bool find_directory(const struct export_part *part, uint8_t *rows,
                           struct index_chunk *ret_chunk);
static int take_run(struct export_part *part, const struct chunk_run *run, uint32_t limit);
static void sort(struct export_part *part);

int export_part_load(struct export_part *part, int file, const struct export_config *config,
                     uint8_t *rows, struct index_chunk *ret_chunk)
{
    uint64_t n_max = 0;
    int error;

    part->data = malloc(part->size);
    if (!part->data)
        return -ENOMEM;
    error = read_all(file, part->data, part->size, part->offset);
    if (!error && !find_directory(part, rows, ret_chunk))
        error = -EBADMSG;
    if (error)
        goto fail;
    for (uint32_t i = 0; i < ret_chunk->n_runs; i++)
        n_max += ret_chunk->runs[i].packets;
    /* A packet block has 32 bytes at least. */
    part->packets = n_max > part->size / 32 ? NULL : malloc((n_max + 1) * sizeof(*part->packets));
    if (!part->packets) {
        error = n_max > part->size / 32 ? -EBADMSG : -ENOMEM;
        goto fail;
    }
    part->n_packets = 0;
    for (uint32_t i = 0; i < ret_chunk->n_runs && !error; i++) {
        const struct chunk_run *run = &ret_chunk->runs[i];

        if (!config->wanted || config->wanted(config->wanted_context, part->segment,
                                              ret_chunk->streams[run->stream].number))
            error = take_run(part, run, part->size);
    }
    if (error)
        goto fail;
    sort(part);
    part->next_ns = part->next < part->n_packets ? part->packets[part->next].ts_ns : UINT64_MAX;
    return 0;
fail:
    export_part_drop(part);
    return error;
}

void export_part_drop(struct export_part *part)
{
    free(part->data);
    free(part->packets);
    part->data = NULL;
    part->packets = NULL;
}

static int read_all(int file, uint8_t *data, uint32_t size, uint64_t offset)
{
    uint32_t done = 0;

    while (done < size) {
        ssize_t got = pread(file, data + done, size - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -errno : -EBADMSG;
        done += (uint32_t)got;
    }
    return 0;
}

/* The last block's size is the chunk's last word; its body is the directory. */
static bool find_directory(const struct export_part *part, uint8_t *rows,
                           struct index_chunk *ret_chunk)
{
    uint32_t size, type;

    if (part->size < PCAPNG_PADDING_MIN)
        return false;
    memcpy(&size, part->data + part->size - 4, 4);
    if (size < PCAPNG_PADDING_MIN || size > part->size || size % 4)
        return false;
    memcpy(&type, part->data + part->size - size, 4);
    return type == PCAPNG_PADDING &&
           index_parse(part->data + part->size - size + 8, size - PCAPNG_PADDING_MIN, rows,
                       ret_chunk) &&
           ret_chunk->size == part->size;
}

static int take_run(struct export_part *part, const struct chunk_run *run, uint32_t limit)
{
    uint32_t at = run->offset;

    for (unsigned i = 0; i < run->packets; i++) {
        uint32_t head[5], again;

        if (at % 4 || limit - at < PCAPNG_PACKET_HEADER + 4)
            return -EBADMSG;
        memcpy(head, part->data + at, sizeof(head));
        if (head[0] != PCAPNG_PACKET || head[1] < PCAPNG_PACKET_HEADER + 4 ||
            head[1] > limit - at || head[1] % 4)
            return -EBADMSG;
        memcpy(&again, part->data + at + head[1] - 4, 4);
        if (again != head[1])
            return -EBADMSG;
        part->packets[part->n_packets++] = (struct export_packet){
            .ts_ns = (uint64_t)head[3] << 32 | head[4], .offset = at, .size = head[1]};
        at += head[1];
    }
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const struct export_packet *x = a, *y = b;

    if (x->ts_ns != y->ts_ns)
        return x->ts_ns < y->ts_ns ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Mostly they are in order already. */
static void sort(struct export_part *part)
{
    for (uint32_t i = 1; i < part->n_packets; i++)
        if (part->packets[i].ts_ns < part->packets[i - 1].ts_ns) {
            qsort(part->packets, part->n_packets, sizeof(*part->packets), by_time);
            return;
        }
}
