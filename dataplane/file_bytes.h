/* file_bytes.h - the bytes of a capture file in order, each asked for before it is read.
 *
 * Bytes are read into segments: a packet pins the segment it lies in until it is released, and a
 * reader that finds all segments pinned waits (-EAGAIN), so memory is bounded and nothing is lost.
 * A regular file comes in pieces that the processor's cache holds, and the same two segments serve
 * in turn: one copy by the kernel costs less than a miss for each packet of a mapping. Who needs
 * the bytes for longer has the file mapped: nothing is copied, pages behind the reader are given
 * back.
 *
 *     file_bytes_need(b, 16)   at least 16 contiguous bytes at b->at
 *     file_bytes_take(b, 16)   they are read
 *     file_bytes_skip(b, n)    the same for bytes nobody looks at, of any number
 *
 * Thread: one. The bytes are hostile; a file that shrinks while it is read ends as an error. */
#ifndef DATAPLANE_FILE_BYTES_H
#define DATAPLANE_FILE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of contiguous bytes at most this many can be asked for. */
enum { FILE_BYTES_NEED_MAX = 2 << 20 };
enum { FILE_BYTES_SEGMENT_SIZE = 2 * FILE_BYTES_NEED_MAX, FILE_BYTES_N_SEGMENTS = 16 };

struct file_bytes_gzip;

struct file_bytes {
    const uint8_t *at, *end; /* what can be read now */
    uint64_t offset;         /* of `at` in the file; in a gzip file: in what it holds */
    uint64_t to_skip;        /* still to be passed over before `at` is valid */
    int fd;
    bool mapped;
    bool regular;    /* a file on a disk, not mapped: a read never waits */
    bool ended;      /* the stream has no more bytes */
    uint8_t segment; /* where `at` points */

    const uint8_t *map; /* mapped: the file */
    uint64_t size, dropped;

    uint8_t *segments;                      /* else */
    uint32_t pinned[FILE_BYTES_N_SEGMENTS]; /* packets not yet released */
    struct file_bytes_gzip *gzip;
};

/* path: "-" is standard input. map: the bytes of a regular file stay until close. -> 0 or -errno.
 */
int file_bytes_open(struct file_bytes *bytes, const char *path, bool map);
void file_bytes_close(struct file_bytes *bytes);

/* -> 0; -EAGAIN: not yet; -ENODATA: the file ends before; -EBADMSG: broken gzip; -errno. */
int file_bytes_more(struct file_bytes *bytes, size_t n);
int file_bytes_skip(struct file_bytes *bytes, uint64_t n);

static inline int file_bytes_need(struct file_bytes *bytes, size_t n)
{
    if (__builtin_expect((size_t)(bytes->end - bytes->at) >= n, 1))
        return 0;
    return file_bytes_more(bytes, n);
}

static inline void file_bytes_take(struct file_bytes *bytes, size_t n)
{
    bytes->at += n;
    bytes->offset += n;
}

/* The bytes at `at` stay until unpinned. -> the cookie that unpins. */
static inline uint64_t file_bytes_pin(struct file_bytes *bytes)
{
    bytes->pinned[bytes->segment]++;
    return bytes->segment;
}

static inline void file_bytes_unpin(struct file_bytes *bytes, uint64_t cookie)
{
    bytes->pinned[cookie]--;
}

#endif
