/* io.h - the disk, as the writer sees it: files, folders, and writes that are under way.
 *
 * An interface with two implementations: uring.c (the real disk) and tests/io_fake.c (a disk in
 * memory that delays, reorders, shortens and fails by a seed, and loses what was not yet written
 * when it crashes). Calls for names and files are done when they return; writes and syncs are
 * started, and their results collected with reap().
 *
 * Files are small numbers of the implementation. All results: 0 or more, or -errno.
 * Thread: the writer's, but for make_folder and list (mgmt's, before the writer uses them). */
#ifndef WRITER_IO_H
#define WRITER_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { IO_PARTS_MAX = 16, IO_FILE_MODE = 0640, IO_FOLDER_MODE = 0750 };

enum io_open {
    IO_CREATE, /* a new file; -EEXIST when there is one */
    IO_APPEND, /* made when there is none; the position is in *ret_size */
    IO_FOLDER, /* only to be synced */
};

struct io_result {
    void *user;
    int result; /* bytes written (may be fewer than asked for), 0 for sync, or -errno */
};

struct io;

struct io_ops {
    /* `direct`: writes go past the page cache where the file system lets them; they are aligned to
     * 4 KiB. Where it does not, the file is written through the cache. */
    int (*open)(struct io *io, const char *path, enum io_open how, bool direct, uint64_t *ret_size);
    int (*close)(struct io *io, int file);
    /* A write was refused with -EINVAL: go on through the page cache. -> 0, -EINVAL: it already
     * did. */
    int (*undirect)(struct io *io, int file);
    int (*truncate)(struct io *io, int file, uint64_t size);
    int (*rename)(struct io *io, const char *from, const char *to);
    /* A file goes: soon, nobody waits for the disk to give its blocks back. */
    void (*remove)(struct io *io, const char *path);
    bool (*is_gone)(struct io *io, int file); /* somebody has removed it, or its disk is no more */
    int (*make_folder)(struct io *io, const char *path); /* 0 also when it is there */

    /* The bytes stay untouched until the result is there. -EAGAIN: too many under way. */
    int (*write)(struct io *io, int file, const struct iovec *parts, unsigned n, uint64_t offset,
                 void *user);
    int (*sync)(struct io *io, int file, void *user);
    /* Starts what was asked for since the last call, and collects up to n results. */
    unsigned (*reap)(struct io *io, struct io_result *results, unsigned n);
    /* Sleeps until a result is there, at most this long. -> false at once: nothing is under way. */
    bool (*wait)(struct io *io, uint64_t timeout_ns);
    /* Where the bytes of writes lie: to be registered with the kernel, once. */
    void (*use_memory)(struct io *io, void *base, uint64_t size);
};

struct io { /* implementations begin with this */
    const struct io_ops *ops;
    uint64_t now_ns; /* of the writer's turn, which sets it */
};

#endif
