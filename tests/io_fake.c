#include "io_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"

enum { FILES_MAX = 4096, HANDLES_MAX = 1024, REQUESTS_MAX = 512, ALIGN = 4096 };

struct fake_file {
    char path[256];
    uint8_t *data;
    uint64_t size, capacity;
    uint64_t synced; /* of the size */
    bool unlinked;
};

struct request {
    bool used, sync;
    unsigned handle;
    struct iovec parts[IO_PARTS_MAX];
    unsigned n;
    uint64_t offset;
    void *user;
    unsigned due; /* turns */
};

struct fake {
    struct io base;
    struct io_fake_config config;
    uint64_t random;
    uint64_t used;
    unsigned failures;
    bool crashed;
    struct fake_file files[FILES_MAX];
    unsigned n_files;
    struct {
        int file; /* -1: free; FILES_MAX: a folder */
        bool direct;
    } handles[HANDLES_MAX];
    struct request requests[REQUESTS_MAX];
};

static struct fake *fake_of(struct io *io)
{
    return (struct fake *)io;
}

static uint64_t draw(struct fake *fake)
{
    fake->random ^= fake->random << 13;
    fake->random ^= fake->random >> 7;
    fake->random ^= fake->random << 17;
    return fake->random;
}

static bool chance(struct fake *fake, unsigned of_1000)
{
    bool yes = draw(fake) % 1000 < of_1000;

    fake->failures += yes;
    return yes;
}

static int find(struct fake *fake, const char *path)
{
    for (unsigned i = 0; i < fake->n_files; i++)
        if (!fake->files[i].unlinked && !strcmp(fake->files[i].path, path))
            return (int)i;
    return -1;
}

static int fake_open(struct io *io, const char *path, enum io_open how, bool direct,
                     uint64_t *ret_size)
{
    struct fake *fake = fake_of(io);
    int file = find(fake, path), handle = 0;

    if (how != IO_FOLDER && chance(fake, fake->config.names_of_1000))
        return -EMFILE;
    if (how == IO_CREATE && file >= 0)
        return -EEXIST;
    if (how == IO_FOLDER) {
        file = FILES_MAX;
    } else if (file < 0) {
        ensure(fake->n_files < FILES_MAX);
        file = (int)fake->n_files++;
        snprintf(fake->files[file].path, sizeof(fake->files[file].path), "%s", path);
    }
    while (fake->handles[handle].file >= 0)
        ensure(++handle < HANDLES_MAX);
    fake->handles[handle].file = file;
    fake->handles[handle].direct = direct;
    if (ret_size)
        *ret_size = file < FILES_MAX ? fake->files[file].size : 0;
    return handle;
}

static int fake_close(struct io *io, int handle)
{
    struct fake *fake = fake_of(io);

    ensure(handle >= 0 && fake->handles[handle].file >= 0);
    for (unsigned i = 0; i < REQUESTS_MAX; i++) /* nothing may be under way */
        ensure(!fake->requests[i].used || fake->requests[i].handle != (unsigned)handle ||
               fake->crashed);
    fake->handles[handle].file = -1;
    return 0;
}

static int fake_undirect(struct io *io, int handle)
{
    struct fake *fake = fake_of(io);

    if (!fake->handles[handle].direct)
        return -EINVAL;
    fake->handles[handle].direct = false;
    return 0;
}

static int fake_truncate(struct io *io, int handle, uint64_t size)
{
    struct fake *fake = fake_of(io);
    struct fake_file *file = &fake->files[fake->handles[handle].file];

    if (chance(fake, fake->config.names_of_1000))
        return -EIO;
    if (size < file->size) {
        fake->used -= file->size - size;
        file->size = size;
    }
    return 0;
}

static int fake_rename(struct io *io, const char *from, const char *to)
{
    struct fake *fake = fake_of(io);
    int file = find(fake, from), old = find(fake, to);

    if (chance(fake, fake->config.names_of_1000))
        return -EIO;
    if (file < 0)
        return -ENOENT;
    if (old >= 0)
        fake->files[old].unlinked = true;
    snprintf(fake->files[file].path, sizeof(fake->files[file].path), "%s", to);
    return 0;
}

static void fake_remove(struct io *io, const char *path)
{
    struct fake *fake = fake_of(io);
    int file = find(fake, path);

    if (file < 0)
        return;
    fake->files[file].unlinked = true;
    fake->used -= fake->files[file].size;
}

static bool fake_is_gone(struct io *io, int handle)
{
    struct fake *fake = fake_of(io);
    int file = fake->handles[handle].file;

    return file < FILES_MAX && fake->files[file].unlinked;
}

static int fake_make_folder(struct io *io, const char *path)
{
    return 0;
}

static struct request *request_new(struct fake *fake, int handle, void *user)
{
    unsigned i = 0;

    ensure(handle >= 0 && fake->handles[handle].file >= 0);
    while (fake->requests[i].used)
        ensure(++i < REQUESTS_MAX);
    fake->requests[i] =
        (struct request){.used = true,
                         .handle = (unsigned)handle,
                         .user = user,
                         .due = (unsigned)(draw(fake) % (fake->config.delay_max + 1))};
    return &fake->requests[i];
}

static int fake_write(struct io *io, int handle, const struct iovec *parts, unsigned n,
                      uint64_t offset, void *user)
{
    struct fake *fake = fake_of(io);
    struct request *request = request_new(fake, handle, user);

    ensure(n && n <= IO_PARTS_MAX);
    for (unsigned i = 0; i < n && fake->handles[handle].direct; i++)
        ensure((uintptr_t)parts[i].iov_base % ALIGN == 0 && parts[i].iov_len % ALIGN == 0 &&
               offset % ALIGN == 0);
    /* One write at a time, and never beyond the end: no file has a hole. */
    for (unsigned i = 0; i < REQUESTS_MAX; i++)
        ensure(!fake->requests[i].used || fake->requests[i].sync || &fake->requests[i] == request ||
               fake->requests[i].handle != request->handle);
    ensure(offset <= fake->files[fake->handles[handle].file].size);
    memcpy(request->parts, parts, n * sizeof(*parts));
    request->n = n;
    request->offset = offset;
    return 0;
}

static int fake_sync(struct io *io, int handle, void *user)
{
    request_new(fake_of(io), handle, user)->sync = true;
    return 0;
}

/* Puts the first `size` bytes of a write into its file. */
static void apply(struct fake *fake, const struct request *request, uint64_t size)
{
    struct fake_file *file = &fake->files[fake->handles[request->handle].file];
    uint64_t at = request->offset;

    if (at + size > file->capacity) {
        file->capacity = 2 * (at + size);
        file->data = realloc(file->data, file->capacity);
        ensure(file->data);
    }
    for (unsigned i = 0; i < request->n && size; i++) {
        uint64_t n = request->parts[i].iov_len < size ? request->parts[i].iov_len : size;

        memcpy(file->data + at, request->parts[i].iov_base, n);
        at += n;
        size -= n;
    }
    if (at > file->size) {
        fake->used += at - file->size;
        file->size = at;
    }
}

static int complete(struct fake *fake, const struct request *request)
{
    bool direct = fake->handles[request->handle].direct;
    uint64_t size = 0, unit = direct ? 512 : 1;

    if (chance(fake, fake->config.fail_of_1000))
        return -EIO;
    if (request->sync) {
        int file = fake->handles[request->handle].file;

        if (file < FILES_MAX)
            fake->files[file].synced = fake->files[file].size;
        return 0;
    }
    if (direct && fake->config.no_direct)
        return -EINVAL;
    for (unsigned i = 0; i < request->n; i++)
        size += request->parts[i].iov_len;
    if (chance(fake, fake->config.short_of_1000))
        size = (1 + draw(fake) % size + unit - 1) / unit * unit;
    if (fake->config.space && fake->used + size > fake->config.space) {
        uint64_t left =
            fake->used < fake->config.space ? (fake->config.space - fake->used) / unit * unit : 0;

        fake->failures++;
        if (!left)
            return -ENOSPC;
        size = left < size ? left : size;
    }
    apply(fake, request, size);
    return (int)size;
}

static unsigned fake_reap(struct io *io, struct io_result *results, unsigned n)
{
    struct fake *fake = fake_of(io);
    unsigned start = (unsigned)(draw(fake) % REQUESTS_MAX), reaped = 0;

    for (unsigned k = 0; k < REQUESTS_MAX && reaped < n; k++) {
        struct request *request = &fake->requests[(start + k) % REQUESTS_MAX];

        if (!request->used)
            continue;
        if (fake->crashed) {
            results[reaped++] = (struct io_result){.user = request->user, .result = -EIO};
            request->used = false;
            continue;
        }
        if (request->due) {
            request->due--;
            continue;
        }
        results[reaped++] =
            (struct io_result){.user = request->user, .result = complete(fake, request)};
        request->used = false;
    }
    return reaped;
}

static bool fake_wait(struct io *io, uint64_t timeout_ns)
{
    return true;
}

static void fake_use_memory(struct io *io, void *base, uint64_t size)
{
}

static const struct io_ops ops = {
    .open = fake_open,
    .close = fake_close,
    .undirect = fake_undirect,
    .truncate = fake_truncate,
    .rename = fake_rename,
    .remove = fake_remove,
    .is_gone = fake_is_gone,
    .make_folder = fake_make_folder,
    .write = fake_write,
    .sync = fake_sync,
    .reap = fake_reap,
    .wait = fake_wait,
    .use_memory = fake_use_memory,
};

int io_fake_create(const struct io_fake_config *config, struct io **ret_io)
{
    struct fake *fake = calloc(1, sizeof(*fake));

    if (!fake)
        return -ENOMEM;
    fake->base.ops = &ops;
    fake->config = *config;
    fake->random = config->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (unsigned i = 0; i < HANDLES_MAX; i++)
        fake->handles[i].file = -1;
    *ret_io = &fake->base;
    return 0;
}

void io_fake_free(struct io *io)
{
    struct fake *fake = fake_of(io);

    for (unsigned i = 0; i < fake->n_files; i++)
        free(fake->files[i].data);
    free(fake);
}

void io_fake_crash(struct io *io)
{
    struct fake *fake = fake_of(io);

    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        struct request *request = &fake->requests[i];
        uint64_t size = 0;

        if (!request->used || request->sync)
            continue;
        for (unsigned k = 0; k < request->n; k++)
            size += request->parts[k].iov_len;
        if (draw(fake) % 2)
            apply(fake, request, draw(fake) % (size + 1));
    }
    fake->crashed = true;
}

void io_fake_power_fails(struct io *io)
{
    struct fake *fake = fake_of(io);

    io_fake_crash(io);
    for (unsigned i = 0; i < fake->n_files; i++)
        if (fake->files[i].synced < fake->files[i].size)
            fake->files[i].size = fake->files[i].synced;
}

void io_fake_dump(struct io *io, const char *prefix, const char *folder)
{
    struct fake *fake = fake_of(io);
    size_t length = strlen(prefix);
    char path[512];

    mkdir(folder, 0700);
    for (unsigned i = 0; i < fake->n_files; i++) {
        const struct fake_file *file = &fake->files[i];
        int out;

        if (file->unlinked || strncmp(file->path, prefix, length) || file->path[length] != '/')
            continue;
        snprintf(path, sizeof(path), "%s%s", folder, file->path + length);
        out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        ensure(out >= 0);
        for (uint64_t done = 0; done < file->size;) {
            ssize_t n = write(out, file->data + done, file->size - done);

            ensure(n > 0);
            done += (uint64_t)n;
        }
        close(out);
    }
}

unsigned io_fake_failures(const struct io *io)
{
    return ((const struct fake *)io)->failures;
}
