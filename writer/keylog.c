#include "keylog.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_ = 1024, READ_AT_ONCE = 64 << 10 };

struct keylog {
    const char *path;
    uint64_t stepped_ns;
    uint64_t read_offset; /* in the file */
    ino_t inode;
    uint64_t begin;  /* position of lines[0] */
    uint32_t size;   /* bytes of lines */
    uint32_t n_rest; /* bytes of a line whose end has not come */
    char rest[LINE_MAX_];
    bool skip; /* the line at hand is too long */
    char lines[KEYLOG_SIZE];
};

static void take(struct keylog *keylog, const char *bytes, size_t size);
static void take_line(struct keylog *keylog);

struct keylog *keylog_create(const char *path)
{
    struct keylog *keylog = calloc(1, sizeof(*keylog));

    if (keylog)
        keylog->path = path;
    return keylog;
}

void keylog_free(struct keylog *keylog)
{
    free(keylog);
}

uint64_t keylog_step(struct keylog *keylog, uint64_t now_ns)
{
    char bytes[READ_AT_ONCE];
    struct stat stat;
    ssize_t n;
    int file;

    if (keylog->stepped_ns == now_ns)
        return keylog->begin + keylog->size;
    keylog->stepped_ns = now_ns;
    file = open(keylog->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return keylog->begin + keylog->size;
    if (!fstat(file, &stat) && S_ISREG(stat.st_mode)) {
        if (stat.st_ino != keylog->inode || (uint64_t)stat.st_size < keylog->read_offset) {
            keylog->inode = stat.st_ino;
            keylog->read_offset = 0;
            keylog->n_rest = 0;
            keylog->skip = false;
        }
        if ((uint64_t)stat.st_size - keylog->read_offset > KEYLOG_SIZE) {
            keylog->read_offset = (uint64_t)stat.st_size - KEYLOG_SIZE - 1;
            keylog->n_rest = 0;
            keylog->skip = true; /* probably amid a line */
        }
        while ((uint64_t)stat.st_size > keylog->read_offset &&
               (n = pread(file, bytes, sizeof(bytes), (off_t)keylog->read_offset)) > 0) {
            keylog->read_offset += (uint64_t)n;
            take(keylog, bytes, (size_t)n);
        }
    }
    close(file);
    return keylog->begin + keylog->size;
}

uint32_t keylog_lines(const struct keylog *keylog, uint64_t *from, uint32_t size,
                      const char **ret_lines)
{
    uint32_t at, n;

    if (*from < keylog->begin)
        *from = keylog->begin;
    at = (uint32_t)(*from - keylog->begin);
    n = keylog->size - at < size ? keylog->size - at : size;
    while (n && keylog->lines[at + n - 1] != '\n')
        n--;
    *ret_lines = keylog->lines + at;
    return n;
}

static void take(struct keylog *keylog, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (keylog->n_rest == LINE_MAX_)
            keylog->skip = true;
        if (!keylog->skip)
            keylog->rest[keylog->n_rest++] = bytes[i];
        if (bytes[i] != '\n')
            continue;
        if (!keylog->skip)
            take_line(keylog);
        keylog->n_rest = 0;
        keylog->skip = false;
    }
}

/* LABEL, client random, secret: words of letters, digits and _, the last two hexadecimal. */
static bool is_key(const char *line, uint32_t size)
{
    unsigned word = 0, length = 0;

    for (uint32_t i = 0; i + 1 < size; i++) {
        unsigned char c = (unsigned char)line[i];

        if (c == '\r' && i + 2 == size)
            break;
        if (c == ' ') {
            if (!length || ++word > 2)
                return false;
            length = 0;
        } else if (word ? isxdigit(c) : isalnum(c) || c == '_') {
            length++;
        } else {
            return false;
        }
    }
    return word == 2 && length;
}

static void take_line(struct keylog *keylog)
{
    if (!is_key(keylog->rest, keylog->n_rest))
        return;
    if (keylog->size + keylog->n_rest > KEYLOG_SIZE) {
        /* The older half goes, up to a whole line. */
        const char *cut = memchr(keylog->lines + KEYLOG_SIZE / 2, '\n', KEYLOG_SIZE / 2);
        uint32_t gone = cut ? (uint32_t)(cut + 1 - keylog->lines) : keylog->size;

        memmove(keylog->lines, keylog->lines + gone, keylog->size - gone);
        keylog->begin += gone;
        keylog->size -= gone;
    }
    memcpy(keylog->lines + keylog->size, keylog->rest, keylog->n_rest);
    keylog->size += keylog->n_rest;
}
