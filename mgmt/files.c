#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REMOVE_DEPTH_MAX = 8 };

static int write_all(int fd, const uint8_t *bytes, size_t size);
static int read_all(int fd, size_t size_max, char **ret_text, size_t *ret_size);
static int remove_at(int parent, const char *name, unsigned depth);

int file_read(const char *path, size_t size_max, char **ret_text, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int err;

    if (fd < 0)
        return -errno;
    err = read_all(fd, size_max, ret_text, ret_size);
    close(fd);
    return err;
}

int file_replace(const char *path, const void *bytes, size_t size, unsigned mode)
{
    char name[PATH_MAX];
    char *slash;
    int fd, err;

    if (snprintf(name, sizeof(name), "%s.new", path) >= (int)sizeof(name))
        return -ENAMETOOLONG;
    fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    err = write_all(fd, bytes, size);
    if (!err && fsync(fd))
        err = -errno;
    if (close(fd) && !err)
        err = -errno;
    if (!err && rename(name, path))
        err = -errno;
    if (err) {
        unlink(name);
        return err;
    }
    slash = strrchr(name, '/');
    if (!slash)
        return folder_sync(".");
    slash[slash == name] = 0;
    return folder_sync(name);
}

int folder_make(const char *path, unsigned mode)
{
    char name[PATH_MAX];

    if (snprintf(name, sizeof(name), "%s", path) >= (int)sizeof(name))
        return -ENAMETOOLONG;
    for (char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(name, mode) && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(name, mode) && errno != EEXIST ? -errno : 0;
}

int folder_remove(const char *path)
{
    return remove_at(AT_FDCWD, path, 0);
}

int folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd))
        err = -errno;
    close(fd);
    return err;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size) {
        ssize_t n = write(fd, bytes, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Grows as it reads: /proc files and pipes tell no size. */
static int read_all(int fd, size_t size_max, char **ret_text, size_t *ret_size)
{
    size_t capacity = 4096;
    size_t size = 0;
    char *text = malloc(capacity);
    int err = -ENOMEM;

    while (text) {
        ssize_t n = read(fd, text + size, capacity - size - 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err = -errno;
            break;
        }
        if (!n) {
            text[size] = 0;
            *ret_text = text;
            *ret_size = size;
            return 0;
        }
        size += (size_t)n;
        if (size > size_max) {
            err = -EFBIG;
            break;
        }
        if (size + 1 == capacity) {
            char *more = realloc(text, capacity * 2);

            if (!more)
                break;
            text = more;
            capacity *= 2;
        }
    }
    free(text);
    return err;
}

static int remove_at(int parent, const char *name, unsigned depth)
{
    const struct dirent *entry;
    int fd, err = 0;
    DIR *dir;

    if (depth == REMOVE_DEPTH_MAX)
        return -ELOOP;
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    dir = fdopendir(fd);
    if (!dir) {
        err = -errno;
        close(fd);
        return err;
    }
    while (!err && (entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0)) {
            if (errno == EISDIR || errno == EPERM)
                err = remove_at(dirfd(dir), entry->d_name, depth + 1);
            else if (errno != ENOENT)
                err = -errno;
        }
    }
    closedir(dir);
    if (!err && unlinkat(parent, name, AT_REMOVEDIR))
        err = -errno;
    return err;
}
