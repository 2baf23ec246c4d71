#include "output.h"

#include <errno.h>

#include "../kfl-jit/ensure.h"

static struct iovec part_of(const struct output *output, const struct chunk *chunk);
enum { STALLS_MAX = 100 };

static int go_on(struct output *output, struct io *io);
static unsigned whole_chunks(struct output *output);

void output_init(struct output *output, void *owner, enum output_part part)
{
    *output = (struct output){.owner = owner, .file = -1, .part = part};
}

void output_begin(struct output *output, int file, bool direct, uint64_t offset)
{
    ensure(output->op == OUTPUT_IDLE);
    output->file = file;
    output->direct = direct;
    output->offset = offset;
    output->unsynced = false;
}

void output_push(struct output *output, struct chunk *chunk)
{
    chunk_list_push(&output->list, chunk);
}

bool output_is_idle(const struct output *output)
{
    return output->op == OUTPUT_IDLE && !output->list.first;
}

bool output_start(struct output *output, struct io *io)
{
    struct chunk *chunk = output->list.first;

    if (output->op != OUTPUT_IDLE || !chunk || output->file < 0)
        return false;
    output->n_batch = 0;
    output->batch_size = 0;
    output->batch_done = 0;
    output->stalls = 0;
    for (; chunk && output->n_batch < IO_PARTS_MAX; chunk = chunk->next) {
        output->batch_size += (uint32_t)part_of(output, chunk).iov_len;
        output->n_batch++;
    }
    if (go_on(output, io)) {
        output->n_batch = 0;
        return false;
    }
    return true;
}

bool output_sync(struct output *output, struct io *io, int file)
{
    if (output->op != OUTPUT_IDLE || io->ops->sync(io, file, output))
        return false;
    output->op = OUTPUT_SYNCING;
    output->begun_ns = io->now_ns;
    if (file == output->file) {
        output->unsynced = false;
        output->synced_ns = io->now_ns;
    }
    return true;
}

int output_result(struct output *output, struct io *io, int result)
{
    enum output_op op = output->op;
    uint32_t before = output->batch_done;
    int error = 0;

    ensure(op != OUTPUT_IDLE);
    output->op = OUTPUT_IDLE;
    if (op == OUTPUT_SYNCING)
        return result == -EINTR || result == -EAGAIN ? 0 : result;
    if (result == -EINVAL && !io->ops->undirect(io, output->file)) {
        output->direct = false;
        result = 0;
    }
    if (result == -EINTR || result == -EAGAIN)
        result = 0;
    if (result < 0)
        error = result;
    else
        output->batch_done += (uint32_t)result;
    /* What follows a short write must be aligned again. */
    if (output->direct && output->batch_done < output->batch_size)
        output->batch_done = output->batch_done / CHUNK_ALIGN * CHUNK_ALIGN;
    output->stalls = output->batch_done == before ? output->stalls + 1 : 0;
    if (!error && output->stalls > STALLS_MAX)
        error = -EIO;
    if (error || output->batch_done == output->batch_size) {
        output->n_batch = whole_chunks(output);
        return error;
    }
    return go_on(output, io);
}

struct chunk *output_pop(struct output *output)
{
    if (output->op == OUTPUT_WRITING || !output->n_batch)
        return NULL;
    output->n_batch--;
    return chunk_list_pop(&output->list);
}

struct chunk *output_drop(struct output *output)
{
    ensure(output->op == OUTPUT_IDLE && !output->n_batch);
    return chunk_list_pop(&output->list);
}

static struct iovec part_of(const struct output *output, const struct chunk *chunk)
{
    if (output->part == OUTPUT_DIRECTORY)
        return (struct iovec){chunk->data + chunk->directory, chunk->directory_size};
    return (struct iovec){chunk->data, chunk->used};
}

/* Writes the batch from batch_done on. */
static int go_on(struct output *output, struct io *io)
{
    struct iovec parts[IO_PARTS_MAX];
    uint32_t skip = output->batch_done;
    struct chunk *chunk = output->list.first;
    unsigned n = 0;
    int error;

    for (unsigned i = 0; i < output->n_batch; i++, chunk = chunk->next) {
        struct iovec part = part_of(output, chunk);

        if (skip >= part.iov_len) {
            skip -= (uint32_t)part.iov_len;
            continue;
        }
        parts[n].iov_base = (uint8_t *)part.iov_base + skip;
        parts[n++].iov_len = part.iov_len - skip;
        skip = 0;
    }
    error = io->ops->write(io, output->file, parts, n, output->offset + output->batch_done, output);
    if (!error) {
        output->op = OUTPUT_WRITING;
        output->begun_ns = io->now_ns;
    }
    return error;
}

/* Moves the offset over the chunks of the batch that are wholly written. -> their number */
static unsigned whole_chunks(struct output *output)
{
    struct chunk *chunk = output->list.first;
    uint32_t left = output->batch_done;
    unsigned n = 0;

    for (; n < output->n_batch && part_of(output, chunk).iov_len <= left; n++) {
        uint32_t size = (uint32_t)part_of(output, chunk).iov_len;

        left -= size;
        output->offset += size;
        output->unsynced = true;
        chunk = chunk->next;
    }
    return n;
}
