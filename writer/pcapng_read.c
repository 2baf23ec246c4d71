#include "pcapng_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 20 };

static int fill(struct pcapng_reader *reader, uint64_t offset, uint32_t n);

int pcapng_read_open(struct pcapng_reader *reader, const char *path)
{
    int error;

    *reader = (struct pcapng_reader){.size = READ_SIZE, .step = READ_SIZE};
    reader->file = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->file < 0)
        return -errno;
    reader->buffer = malloc(reader->size);
    if (!reader->buffer) {
        error = -ENOMEM;
        close(reader->file);
        reader->file = -1;
        return error;
    }
    posix_fadvise(reader->file, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

void pcapng_read_close(struct pcapng_reader *reader)
{
    if (reader->file >= 0)
        close(reader->file);
    free(reader->buffer);
    *reader = (struct pcapng_reader){.file = -1};
}

void pcapng_read_seek(struct pcapng_reader *reader, uint64_t offset)
{
    reader->offset = offset;
}

int pcapng_read_next(struct pcapng_reader *reader, struct pcapng_block *ret_block)
{
    struct pcapng_block block = {.offset = reader->offset};
    uint32_t again;
    int n = fill(reader, reader->offset, 12);

    if (n <= 0)
        return n;
    if (n < 12)
        return -EBADMSG;
    block.at = reader->buffer + (reader->offset - reader->begin);
    memcpy(&block.type, block.at, 4);
    memcpy(&block.size, block.at + 4, 4);
    if (block.size < 12 || block.size % 4 || block.size > PCAPNG_BLOCK_MAX || !block.type)
        return -EBADMSG;
    n = fill(reader, reader->offset, block.size);
    if (n < 0)
        return n;
    if ((uint32_t)n < block.size)
        return -EBADMSG;
    block.at = reader->buffer + (reader->offset - reader->begin);
    memcpy(&again, block.at + block.size - 4, 4);
    if (again != block.size)
        return -EBADMSG;
    reader->offset += block.size;
    *ret_block = block;
    return 1;
}

const uint8_t *pcapng_read_bytes(struct pcapng_reader *reader, uint64_t offset, uint32_t n)
{
    int got = fill(reader, offset, n);

    return got >= 0 && (uint32_t)got >= n ? reader->buffer + (offset - reader->begin) : NULL;
}

/* Has n bytes from this offset on in the buffer, if the file has them. -> how many there are, at
 * least n unless the file ends; -errno. */
static int fill(struct pcapng_reader *reader, uint64_t offset, uint32_t n)
{
    uint64_t end = reader->begin + reader->filled;
    uint32_t step;

    if (offset >= reader->begin && offset + n <= end)
        return (int)(end - offset);
    if (n > reader->size) {
        uint8_t *grown = realloc(reader->buffer, n);

        if (!grown)
            return -ENOMEM;
        reader->buffer = grown;
        reader->size = n;
    }
    if (offset < reader->begin || offset > end) {
        reader->filled = 0;
    } else {
        reader->filled = (uint32_t)(end - offset);
        memmove(reader->buffer, reader->buffer + (offset - reader->begin), reader->filled);
    }
    reader->begin = offset;
    step = reader->step > n ? reader->step : n;
    while (reader->filled < n) {
        ssize_t got = pread(reader->file, reader->buffer + reader->filled, step - reader->filled,
                            (off_t)(offset + reader->filled));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!got)
            break;
        reader->filled += (uint32_t)got;
    }
    return (int)reader->filled;
}
