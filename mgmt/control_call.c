/* control_call.c - the asking side of control.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"

enum { PATIENCE_S = 60, REPLY_FIRST = 64 << 10, REPLY_MAX = 256 << 20 };

static int connect_to(const char *path, char *reterr_text);
static int send_line(int fd, const struct doc *request);
static int receive_line(int fd, char **ret_text, size_t *ret_size);

int control_call(const char *path, const struct doc *request, struct doc **ret_reply,
                 char reterr_text[static CONTROL_ERROR_SIZE])
{
    char error[DOC_ERROR_SIZE];
    char *text = NULL;
    size_t size = 0;
    struct doc *doc;
    int fd = connect_to(path, reterr_text);
    int err;

    if (fd < 0)
        return fd;
    err = send_line(fd, request);
    if (!err || err == -EPIPE) /* who is turned away is told why, and not listened to */
        err = receive_line(fd, &text, &size);
    close(fd);
    if (err) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE, "%.200s: tapedeckd does not answer: %s", path,
                 strerror(-err));
        return err;
    }
    doc = doc_parse(text, size, error);
    free(text);
    if (!doc) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE, "%.200s: its answer is not understood: %s", path,
                 error);
        return -EPROTO;
    }
    *ret_reply = doc;
    return 0;
}

static int connect_to(const char *path, char *reterr_text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd, err;

    if (strlen(path) >= sizeof(address.sun_path)) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE, "socket %.200s: the path is too long", path);
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
        return fd;
    err = -errno;
    close(fd);
    if (err == -EACCES)
        snprintf(reterr_text, CONTROL_ERROR_SIZE,
                 "%.200s: permission denied: be root, or in the group control.group names", path);
    else
        snprintf(reterr_text, CONTROL_ERROR_SIZE,
                 "%.200s: %s: is tapedeckd running? Another socket is named by --socket", path,
                 strerror(-err));
    return err;
}

static int send_line(int fd, const struct doc *request)
{
    char *text = doc_print(request, false);
    size_t size = strlen(text) + 1;
    size_t sent = 0;
    int err = 0;

    text[size - 1] = '\n';
    while (!err && sent < size) {
        ssize_t n = send(fd, text + sent, size - sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            err = -errno;
        else if (n > 0)
            sent += (size_t)n;
    }
    free(text);
    return err;
}

static int receive_line(int fd, char **ret_text, size_t *ret_size)
{
    size_t capacity = REPLY_FIRST, size = 0;
    char *text = malloc(capacity);

    while (text) {
        ssize_t n = recv(fd, text + size, capacity - size, 0);
        char *more;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            free(text);
            return n ? -errno : -ECONNRESET;
        }
        size += (size_t)n;
        if (text[size - 1] == '\n') {
            *ret_text = text;
            *ret_size = size - 1;
            return 0;
        }
        if (size < capacity)
            continue;
        more = capacity < REPLY_MAX ? realloc(text, capacity * 2) : NULL;
        if (!more)
            break;
        text = more;
        capacity *= 2;
    }
    free(text);
    return -ENOMEM;
}
