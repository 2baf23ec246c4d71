#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel takes buffers of 1 GiB at most. */
#define BUFFER_SIZE_MAX (UINT64_C(1) << 30)
enum { BUFFER_MAX = 64, PATH_SIZE = 1024 };

/* What the kernel reads of a vectored write until it is done. */
struct request {
    void *user;
    struct request *next_free;
    union {
        struct iovec parts[IO_PARTS_MAX];
        char path[PATH_SIZE]; /* of a file that is removed; then user is null */
    };
};

struct uring {
    struct io base;
    struct io_uring ring;
    uint8_t *memory; /* registered; null: not */
    uint64_t memory_size;
    unsigned n_under_way;
    bool queued; /* something waits for io_uring_submit() */
    struct request *free;
    struct request requests[];
};

static struct uring *uring_of(struct io *io)
{
    return (struct uring *)io;
}

static int uring_open(struct io *io, const char *path, enum io_open how, bool direct,
                      uint64_t *ret_size)
{
    static const int flags[] = {
        [IO_CREATE] = O_WRONLY | O_CREAT | O_EXCL,
        [IO_APPEND] = O_WRONLY | O_CREAT,
        [IO_FOLDER] = O_RDONLY | O_DIRECTORY,
    };
    int base = flags[how] | O_CLOEXEC | O_NOFOLLOW;
    int file = open(path, base | (direct ? O_DIRECT : 0), IO_FILE_MODE);
    struct stat stat;

    /* A file system without O_DIRECT may refuse it after it has made the file. */
    if (file < 0 && errno == EINVAL && direct)
        file = open(path, base & ~O_EXCL, IO_FILE_MODE);
    if (file < 0)
        return -errno;
    if (fstat(file, &stat)) {
        int error = -errno;

        close(file);
        return error;
    }
    if (ret_size)
        *ret_size = (uint64_t)stat.st_size;
    return file;
}

static int uring_close(struct io *io, int file)
{
    return close(file) ? -errno : 0;
}

static int uring_undirect(struct io *io, int file)
{
    int flags = fcntl(file, F_GETFL);

    if (flags < 0 || !(flags & O_DIRECT))
        return -EINVAL;
    return fcntl(file, F_SETFL, flags & ~O_DIRECT) ? -errno : 0;
}

static int uring_truncate(struct io *io, int file, uint64_t size)
{
    return ftruncate(file, (off_t)size) ? -errno : 0;
}

static int uring_rename(struct io *io, const char *from, const char *to)
{
    return rename(from, to) ? -errno : 0;
}

static bool uring_is_gone(struct io *io, int file)
{
    struct stat stat;

    return fstat(file, &stat) || !stat.st_nlink;
}

static int uring_make_folder(struct io *io, const char *path)
{
    return mkdir(path, IO_FOLDER_MODE) && errno != EEXIST ? -errno : 0;
}

static struct io_uring_sqe *request_new(struct uring *uring, void *user,
                                        struct request **ret_request)
{
    struct request *request = uring->free;
    struct io_uring_sqe *sqe = request ? io_uring_get_sqe(&uring->ring) : NULL;

    if (!sqe)
        return NULL;
    uring->free = request->next_free;
    request->user = user;
    uring->n_under_way++;
    uring->queued = true;
    *ret_request = request;
    return sqe;
}

static int uring_write(struct io *io, int file, const struct iovec *parts, unsigned n,
                       uint64_t offset, void *user)
{
    struct uring *uring = uring_of(io);
    struct request *request;
    struct io_uring_sqe *sqe = request_new(uring, user, &request);
    uint64_t at;

    if (!sqe)
        return -EAGAIN;
    at = (uint64_t)((uint8_t *)parts[0].iov_base - uring->memory);
    if (n == 1 && uring->memory && at < uring->memory_size &&
        at / BUFFER_SIZE_MAX == (at + parts[0].iov_len - 1) / BUFFER_SIZE_MAX) {
        io_uring_prep_write_fixed(sqe, file, parts[0].iov_base, (unsigned)parts[0].iov_len, offset,
                                  (int)(at / BUFFER_SIZE_MAX));
    } else {
        memcpy(request->parts, parts, n * sizeof(*parts));
        io_uring_prep_writev(sqe, file, request->parts, n, offset);
    }
    io_uring_sqe_set_data(sqe, request);
    return 0;
}

static int uring_sync(struct io *io, int file, void *user)
{
    struct uring *uring = uring_of(io);
    struct request *request;
    struct io_uring_sqe *sqe = request_new(uring, user, &request);

    if (!sqe)
        return -EAGAIN;
    io_uring_prep_fsync(sqe, file, 0);
    io_uring_sqe_set_data(sqe, request);
    return 0;
}

static void uring_remove(struct io *io, const char *path)
{
    struct uring *uring = uring_of(io);
    struct request *request;
    struct io_uring_sqe *sqe = strlen(path) < PATH_SIZE ? request_new(uring, NULL, &request) : NULL;

    if (!sqe) {
        unlink(path);
        return;
    }
    strcpy(request->path, path);
    io_uring_prep_unlinkat(sqe, AT_FDCWD, request->path, 0);
    io_uring_sqe_set_data(sqe, request);
}

static unsigned uring_reap(struct io *io, struct io_result *results, unsigned n)
{
    struct uring *uring = uring_of(io);
    struct io_uring_cqe *cqe;
    unsigned reaped = 0;

    if (uring->queued && io_uring_submit(&uring->ring) >= 0)
        uring->queued = io_uring_sq_ready(&uring->ring) > 0;
    while (reaped < n && uring->n_under_way && !io_uring_peek_cqe(&uring->ring, &cqe)) {
        struct request *request = io_uring_cqe_get_data(cqe);

        if (request->user)
            results[reaped++] = (struct io_result){.user = request->user, .result = cqe->res};
        else if (cqe->res == -EINVAL) /* a kernel before 5.11 */
            unlink(request->path);
        request->next_free = uring->free;
        uring->free = request;
        uring->n_under_way--;
        io_uring_cqe_seen(&uring->ring, cqe);
    }
    return reaped;
}

static bool uring_wait(struct io *io, uint64_t timeout_ns)
{
    struct uring *uring = uring_of(io);
    struct __kernel_timespec timeout = {.tv_sec = (long long)(timeout_ns / 1000000000),
                                        .tv_nsec = (long long)(timeout_ns % 1000000000)};
    struct io_uring_cqe *cqe;

    if (!uring->n_under_way)
        return false;
    io_uring_wait_cqe_timeout(&uring->ring, &cqe, &timeout);
    return true;
}

/* Registering may be refused (RLIMIT_MEMLOCK on old kernels): writes then go the plain way. */
static void uring_use_memory(struct io *io, void *base, uint64_t size)
{
    struct uring *uring = uring_of(io);
    struct iovec buffers[BUFFER_MAX];
    unsigned n = 0;

    if (size > BUFFER_MAX * BUFFER_SIZE_MAX)
        return;
    for (uint64_t at = 0; at < size; at += BUFFER_SIZE_MAX) {
        buffers[n].iov_base = (uint8_t *)base + at;
        buffers[n++].iov_len = size - at < BUFFER_SIZE_MAX ? size - at : BUFFER_SIZE_MAX;
    }
    if (!io_uring_register_buffers(&uring->ring, buffers, n)) {
        uring->memory = base;
        uring->memory_size = size;
    }
}

static const struct io_ops ops = {
    .open = uring_open,
    .close = uring_close,
    .undirect = uring_undirect,
    .truncate = uring_truncate,
    .rename = uring_rename,
    .remove = uring_remove,
    .is_gone = uring_is_gone,
    .make_folder = uring_make_folder,
    .write = uring_write,
    .sync = uring_sync,
    .reap = uring_reap,
    .wait = uring_wait,
    .use_memory = uring_use_memory,
};

int uring_create(unsigned n_requests, struct io **ret_io)
{
    struct uring *uring = calloc(1, sizeof(*uring) + n_requests * sizeof(uring->requests[0]));
    int error;

    if (!uring)
        return -ENOMEM;
    error = io_uring_queue_init(n_requests, &uring->ring, 0);
    if (error) {
        free(uring);
        return error;
    }
    uring->base.ops = &ops;
    for (unsigned i = n_requests; i-- > 0;) {
        uring->requests[i].next_free = uring->free;
        uring->free = &uring->requests[i];
    }
    *ret_io = &uring->base;
    return 0;
}

void uring_free(struct io *io)
{
    struct uring *uring = uring_of(io);
    struct io_uring_cqe *cqe;

    if (!uring)
        return;
    while (uring->n_under_way) { /* files that are removed */
        uring_reap(io, NULL, 0);
        if (!io_uring_wait_cqe(&uring->ring, &cqe)) {
            io_uring_cqe_seen(&uring->ring, cqe);
            uring->n_under_way--;
        }
    }
    io_uring_queue_exit(&uring->ring);
    free(uring);
}
