#include "file_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "../kfl-jit/ensure.h"

enum {
    WINDOW_SIZE = 4 << 20, /* of a mapped file: made present at once */
    KEEP_SIZE = 64 << 20,  /* behind the reader: what is probably still in use */
    INPUT_SIZE = 256 << 10,
    READ_SIZE =
        128 << 10, /* of a regular file at once: it is still in the cache when it is looked at */
};

struct file_bytes_gzip {
    z_stream stream;
    bool finished; /* a member has ended; another may follow */
    uint8_t input[INPUT_SIZE];
};

static int map_file(struct file_bytes *bytes);
static int read_segment(struct file_bytes *bytes, size_t n);
static int gzip_begin(struct file_bytes *bytes, const uint8_t *input, size_t size);

int file_bytes_open(struct file_bytes *bytes, const char *path, bool map)
{
    struct stat status;
    uint8_t magic[2];
    int rc;

    memset(bytes, 0, sizeof(*bytes));
    /* Without O_NONBLOCK opening a named pipe would wait for its writer. */
    bytes->fd = !strcmp(path, "-") ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                   : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (bytes->fd < 0)
        return -errno;
    rc = fstat(bytes->fd, &status) ? -errno : S_ISDIR(status.st_mode) ? -EISDIR : 0;
    if (rc)
        goto fail;
    if (S_ISREG(status.st_mode) && status.st_size > 0 && lseek(bytes->fd, 0, SEEK_CUR) == 0 &&
        (pread(bytes->fd, magic, 2, 0) != 2 || magic[0] != 0x1f || magic[1] != 0x8b)) {
        bytes->size = (uint64_t)status.st_size;
        if (map && map_file(bytes) == 0)
            return 0;
        bytes->regular = true;
    }
    bytes->segments = mmap(NULL, (size_t)FILE_BYTES_SEGMENT_SIZE * FILE_BYTES_N_SEGMENTS,
                           PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes->segments == MAP_FAILED) {
        bytes->segments = NULL;
        rc = -ENOMEM;
        goto fail;
    }
    bytes->at = bytes->end = bytes->segments;
    return 0;
fail:
    file_bytes_close(bytes);
    return rc;
}

void file_bytes_close(struct file_bytes *bytes)
{
    if (bytes->map)
        munmap((void *)bytes->map, bytes->size);
    if (bytes->segments)
        munmap(bytes->segments, (size_t)FILE_BYTES_SEGMENT_SIZE * FILE_BYTES_N_SEGMENTS);
    if (bytes->gzip)
        inflateEnd(&bytes->gzip->stream);
    free(bytes->gzip);
    close(bytes->fd);
    memset(bytes, 0, sizeof(*bytes));
    bytes->fd = -1;
}

/* The next windows of the mapping become readable. They are made present here, because a page that
 * cannot be read (the file was cut, the disk failed) is an error here and a signal later. */
static int map_more(struct file_bytes *bytes, size_t n)
{
    while ((size_t)(bytes->end - bytes->at) < n) {
        uint64_t have = (uint64_t)(bytes->end - bytes->map);
        uint64_t left = bytes->size - have;
        size_t size = left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE;

        if (!size)
            return -ENODATA;
        if (madvise((void *)bytes->end, size, MADV_POPULATE_READ) && errno != EINVAL)
            return errno == EFAULT ? -EIO : -errno;
        bytes->end += size;
        /* Packets there that are still in use come back from the page cache. */
        if (have > bytes->dropped + KEEP_SIZE + WINDOW_SIZE) {
            madvise((void *)(bytes->map + bytes->dropped), WINDOW_SIZE, MADV_DONTNEED);
            bytes->dropped += WINDOW_SIZE;
        }
    }
    return 0;
}

int file_bytes_more(struct file_bytes *bytes, size_t n)
{
    ensure(n <= FILE_BYTES_NEED_MAX);
    if (bytes->to_skip) {
        int rc = file_bytes_skip(bytes, 0);

        if (rc)
            return rc;
        if ((size_t)(bytes->end - bytes->at) >= n)
            return 0;
    }
    return bytes->mapped ? map_more(bytes, n) : read_segment(bytes, n);
}

int file_bytes_skip(struct file_bytes *bytes, uint64_t n)
{
    bytes->to_skip += n;
    while (bytes->to_skip) {
        uint64_t have = (uint64_t)(bytes->end - bytes->at);

        if (!have && bytes->mapped) {
            have = bytes->size - (uint64_t)(bytes->at - bytes->map);
            if (have > bytes->to_skip)
                have = bytes->to_skip & ~(uint64_t)(WINDOW_SIZE - 1);
            bytes->end += have;
        }
        if (!have) {
            int rc = bytes->mapped ? map_more(bytes, 1) : read_segment(bytes, 1);

            if (rc)
                return rc;
            continue;
        }
        if (have > bytes->to_skip)
            have = bytes->to_skip;
        file_bytes_take(bytes, have);
        bytes->to_skip -= have;
    }
    return 0;
}

static int map_file(struct file_bytes *bytes)
{
    void *map = mmap(NULL, bytes->size, PROT_READ, MAP_PRIVATE, bytes->fd, 0);

    if (map == MAP_FAILED)
        return -errno;
    madvise(map, bytes->size, MADV_SEQUENTIAL);
    bytes->map = bytes->at = bytes->end = map;
    bytes->mapped = true;
    return 0;
}

/* -> bytes, 0 at the end, -EAGAIN none now, -errno */
static ssize_t read_now(struct file_bytes *bytes, uint8_t *into, size_t size)
{
    struct pollfd ready = {.fd = bytes->fd, .events = POLLIN};
    ssize_t n;

    /* Standard input is shared with others: it is asked instead of made non-blocking. */
    if (!bytes->regular && poll(&ready, 1, 0) == 0)
        return -EAGAIN;
    n = read(bytes->fd, into, bytes->regular && size > READ_SIZE ? READ_SIZE : size);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return n;
}

static ssize_t read_gzip(struct file_bytes *bytes, uint8_t *into, size_t size)
{
    struct file_bytes_gzip *gzip = bytes->gzip;
    z_stream *stream = &gzip->stream;

    stream->next_out = into;
    stream->avail_out = (unsigned)size;
    while (stream->avail_out == size) {
        int rc;

        if (!stream->avail_in) {
            ssize_t n = read_now(bytes, gzip->input, INPUT_SIZE);

            if (n < 0)
                return n;
            if (n == 0) /* the trailer is part of it: a cut file has no whole one */
                return gzip->finished ? 0 : -EBADMSG;
            stream->next_in = gzip->input;
            stream->avail_in = (unsigned)n;
        }
        if (gzip->finished && inflateReset(stream) != Z_OK)
            return -EBADMSG;
        gzip->finished = false;
        rc = inflate(stream, Z_NO_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
            if (stream->avail_out == size)
                return -EBADMSG;
            break; /* what was good comes first; the error is met again */
        }
        gzip->finished = rc == Z_STREAM_END;
    }
    return (ssize_t)(size - stream->avail_out);
}

/* A segment nobody needs gets what is left of the one before. */
static int segment_next(struct file_bytes *bytes)
{
    size_t left = (size_t)(bytes->end - bytes->at);

    for (unsigned i = 0; i < FILE_BYTES_N_SEGMENTS; i++) {
        uint8_t *segment = bytes->segments + (size_t)i * FILE_BYTES_SEGMENT_SIZE;

        if (bytes->pinned[i])
            continue;
        memmove(segment, bytes->at, left);
        bytes->segment = (uint8_t)i;
        bytes->at = segment;
        bytes->end = segment + left;
        return 0;
    }
    return -EAGAIN;
}

static int read_segment(struct file_bytes *bytes, size_t n)
{
    while ((size_t)(bytes->end - bytes->at) < n) {
        uint8_t *base = bytes->segments + (size_t)bytes->segment * FILE_BYTES_SEGMENT_SIZE;
        uint8_t *limit = base + FILE_BYTES_SEGMENT_SIZE;
        uint8_t *into = base + (bytes->end - base);
        size_t size = (size_t)(limit - into);
        ssize_t got;

        if (bytes->ended)
            return -ENODATA;
        if ((size_t)(limit - bytes->at) < n || (bytes->at - base >= READ_SIZE && bytes->regular)) {
            int rc = segment_next(bytes);

            if (!rc)
                continue;
            if ((size_t)(limit - bytes->at) < n)
                return rc;
        }
        if (bytes->offset == 0 && bytes->end - bytes->at < 2)
            size = INPUT_SIZE - 2; /* it may turn out to be gzip's */
        got = bytes->gzip ? read_gzip(bytes, into, size) : read_now(bytes, into, size);
        if (got < 0)
            return (int)got;
        bytes->ended = got == 0;
        bytes->end += got;
        if (!bytes->gzip && bytes->offset == 0 && bytes->end - bytes->at >= 2 &&
            bytes->at[0] == 0x1f && bytes->at[1] == 0x8b) {
            int rc = gzip_begin(bytes, bytes->at, (size_t)(bytes->end - bytes->at));

            if (rc)
                return rc;
            bytes->end = bytes->at;
        }
    }
    return 0;
}

/* The first bytes were read before it was known what they are. */
static int gzip_begin(struct file_bytes *bytes, const uint8_t *input, size_t size)
{
    struct file_bytes_gzip *gzip = calloc(1, sizeof(*gzip));

    ensure(size <= INPUT_SIZE);
    if (!gzip)
        return -ENOMEM;
    if (inflateInit2(&gzip->stream, 16 + MAX_WBITS) != Z_OK) {
        free(gzip);
        return -ENOMEM;
    }
    memcpy(gzip->input, input, size);
    gzip->stream.next_in = gzip->input;
    gzip->stream.avail_in = (unsigned)size;
    bytes->gzip = gzip;
    return 0;
}
