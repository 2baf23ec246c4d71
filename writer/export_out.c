#include "export_out.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_SIZE = 1 << 20 };

struct export_out {
    int file;
    pthread_t thread;
    uint8_t *filling; /* the user's */
    uint32_t filled;
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint8_t *full; /* the thread's while full_size is not 0, else nobody's */
    uint32_t full_size;
    bool ending;
    int error;
    uint64_t written;
};

static void *write_out(void *context);
static int write_all(int file, const uint8_t *bytes, uint32_t size);
static int hand_over(struct export_out *out);

int export_out_open(int file, struct export_out **ret_out)
{
    struct export_out *out = calloc(1, sizeof(*out));
    int error = -ENOMEM;

    if (!out)
        return -ENOMEM;
    out->file = file;
    out->filling = malloc(BUFFER_SIZE);
    out->full = malloc(BUFFER_SIZE);
    pthread_mutex_init(&out->lock, NULL);
    pthread_cond_init(&out->changed, NULL);
    fcntl(file, F_SETPIPE_SZ, BUFFER_SIZE); /* if it is one: fewer turns of both sides */
    if (out->filling && out->full)
        error = -pthread_create(&out->thread, NULL, write_out, out);
    if (error) {
        free(out->filling);
        free(out->full);
        free(out);
        return error;
    }
    *ret_out = out;
    return 0;
}

int export_out_put(struct export_out *out, const void *bytes, uint64_t size)
{
    while (size) {
        uint32_t room = BUFFER_SIZE - out->filled;
        uint32_t n = size < room ? (uint32_t)size : room;

        memcpy(out->filling + out->filled, bytes, n);
        out->filled += n;
        bytes = (const uint8_t *)bytes + n;
        size -= n;
        if (out->filled == BUFFER_SIZE) {
            int error = hand_over(out);

            if (error)
                return error;
        }
    }
    return 0;
}

int export_out_close(struct export_out *out, uint64_t *ret_written)
{
    int error;

    if (!out)
        return 0;
    hand_over(out);
    pthread_mutex_lock(&out->lock);
    out->ending = true;
    pthread_cond_signal(&out->changed);
    pthread_mutex_unlock(&out->lock);
    pthread_join(out->thread, NULL);
    error = out->error;
    *ret_written = out->written;
    pthread_mutex_destroy(&out->lock);
    pthread_cond_destroy(&out->changed);
    free(out->filling);
    free(out->full);
    free(out);
    return error;
}

/* Waits until the other buffer is written, and changes places with it. */
static int hand_over(struct export_out *out)
{
    uint8_t *empty;
    int error;

    pthread_mutex_lock(&out->lock);
    while (out->full_size)
        pthread_cond_wait(&out->changed, &out->lock);
    error = out->error;
    empty = out->full;
    out->full = out->filling;
    out->full_size = error ? 0 : out->filled;
    out->filling = empty;
    out->filled = 0;
    pthread_cond_signal(&out->changed);
    pthread_mutex_unlock(&out->lock);
    return error;
}

static void *write_out(void *context)
{
    struct export_out *out = context;

    pthread_mutex_lock(&out->lock);
    for (;;) {
        int error;

        while (!out->full_size && !out->ending)
            pthread_cond_wait(&out->changed, &out->lock);
        if (!out->full_size)
            break;
        pthread_mutex_unlock(&out->lock);
        error = write_all(out->file, out->full, out->full_size);
        pthread_mutex_lock(&out->lock);
        out->error = error;
        out->written += error ? 0 : out->full_size;
        out->full_size = 0;
        pthread_cond_signal(&out->changed);
    }
    pthread_mutex_unlock(&out->lock);
    return NULL;
}

static int write_all(int file, const uint8_t *bytes, uint32_t size)
{
    while (size) {
        ssize_t n = write(file, bytes, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        size -= (uint32_t)n;
    }
    return 0;
}
