#include "metrics_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS_MAX = 32, CLIENT_MEMORY = 16 << 10, PATIENCE_S = 10, BACKLOG = 32, HOST_SIZE = 64 };

struct metrics_http {
    struct metrics_http_pages pages;
    struct MHD_Daemon *daemon;
    int fd;
    char *path; /* of a unix socket; null */
};

struct address {
    struct sockaddr_storage socket;
    socklen_t size;
    const char *path; /* null: not a unix socket */
};

static int parse(const char *text, struct address *ret_address, char *reterr_text);
static int parse_inet(const char *text, struct address *ret_address);
static int listen_on(struct metrics_http *http, const char *text, const struct address *address,
                     char *reterr_text);
static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request);
static enum MHD_Result send_page(struct MHD_Connection *connection,
                                 void (*page)(void *context, FILE *out), void *context,
                                 bool is_check);
static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, char *text,
                                 size_t size, const char *type);
static void say_nothing(void *context, const char *format, va_list arguments);

int metrics_http_open(const char *address, const struct metrics_http_pages *pages,
                      struct metrics_http **ret_http, char reterr_text[static METRICS_ERROR_SIZE])
{
    struct metrics_http *http;
    struct address parsed;
    int err = parse(address, &parsed, reterr_text);

    if (err)
        return err;
    http = calloc(1, sizeof(*http));
    if (!http)
        return -ENOMEM;
    http->pages = *pages;
    http->fd = -1;
    err = listen_on(http, address, &parsed, reterr_text);
    if (!err)
        http->daemon = MHD_start_daemon(
            MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, answer, http,
            MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL, MHD_OPTION_LISTEN_SOCKET, http->fd,
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
            (size_t)CLIENT_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)PATIENCE_S,
            MHD_OPTION_END);
    if (!err && !http->daemon) {
        snprintf(reterr_text, METRICS_ERROR_SIZE, "metrics.address %.200s: cannot be served",
                 address);
        err = -EIO;
    }
    if (err) {
        metrics_http_close(http);
        return err;
    }
    *ret_http = http;
    return 0;
}

void metrics_http_close(struct metrics_http *http)
{
    if (!http)
        return;
    if (http->daemon)
        MHD_stop_daemon(http->daemon); /* closes the socket, too */
    else if (http->fd >= 0)
        close(http->fd);
    if (http->path)
        unlink(http->path);
    free(http->path);
    free(http);
}

int metrics_http_fd(const struct metrics_http *http)
{
    return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

void metrics_http_step(struct metrics_http *http)
{
    MHD_run(http->daemon);
}

int metrics_http_check(const char *address, char reterr_text[static METRICS_ERROR_SIZE])
{
    struct address parsed;

    return parse(address, &parsed, reterr_text);
}

static int parse(const char *text, struct address *ret_address, char *reterr_text)
{
    struct address address = {0};
    int err = 0;

    if (!strncmp(text, "unix:", 5)) {
        struct sockaddr_un *socket = (struct sockaddr_un *)&address.socket;

        address.path = text + 5;
        address.size = sizeof(*socket);
        socket->sun_family = AF_UNIX;
        if (*address.path != '/' || strlen(address.path) >= sizeof(socket->sun_path))
            err = -EINVAL;
        else
            strcpy(socket->sun_path, address.path);
    } else {
        err = parse_inet(text, &address);
    }
    if (err)
        snprintf(reterr_text, METRICS_ERROR_SIZE,
                 "metrics.address = \"%.200s\": must be like 127.0.0.1:9464, [::1]:9464, :9464 or "
                 "unix:/run/tapedeck/metrics.sock",
                 text);
    else
        *ret_address = address;
    return err;
}

/* HOST:PORT, the host an IPv4 address, an IPv6 address in brackets, or nothing. */
static int parse_inet(const char *text, struct address *ret_address)
{
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : 0;
    char host[HOST_SIZE], *end;
    unsigned long port;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ret_address->socket;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret_address->socket;

    if (!colon || size >= sizeof(host) || colon[1] < '0' || colon[1] > '9')
        return -EINVAL;
    port = strtoul(colon + 1, &end, 10);
    if (*end || !port || port > 65535)
        return -EINVAL;
    memcpy(host, text, size);
    host[size] = 0;
    if (*host && *host != '[') {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        ret_address->size = sizeof(*v4);
        return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -EINVAL;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    ret_address->size = sizeof(*v6);
    if (!*host)
        return 0; /* any, IPv4 as well */
    if (host[size - 1] != ']')
        return -EINVAL;
    host[size - 1] = 0;
    return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
}

static int listen_on(struct metrics_http *http, const char *text, const struct address *address,
                     char *reterr_text)
{
    int on = 1, off = 0;

    http->fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (http->fd >= 0 && address->path)
        unlink(address->path); /* of one that was killed: the store's lock says we are alone */
    else if (http->fd >= 0)
        setsockopt(http->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (http->fd >= 0 && address->socket.ss_family == AF_INET6)
        setsockopt(http->fd, IPPROTO_IPV6, IPV6_V6ONLY, text[0] == ':' ? &off : &on, sizeof(on));
    if (http->fd < 0 || bind(http->fd, (const struct sockaddr *)&address->socket, address->size) ||
        listen(http->fd, BACKLOG) || (address->path && chmod(address->path, 0660))) {
        int err = -errno;

        snprintf(reterr_text, METRICS_ERROR_SIZE, "metrics.address %.200s: %s", text,
                 strerror(-err));
        return err;
    }
    http->path = address->path ? strdup(address->path) : NULL;
    return 0;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    static int begun; /* its address says: the headers are here */
    static char wrong_method[] = "only GET and HEAD\n";
    static char wrong_path[] = "there are /metrics, /healthz and /readyz\n";
    struct metrics_http *http = context;

    if (!*request) {
        *request = &begun;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0; /* nobody asked for it */
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, strdup(wrong_method),
                         strlen(wrong_method), "text/plain");
    if (!strcmp(url, "/metrics"))
        return send_page(connection, http->pages.metrics, http->pages.context, false);
    if (!strcmp(url, "/healthz"))
        return send_page(connection, http->pages.health, http->pages.context, true);
    if (!strcmp(url, "/readyz"))
        return send_page(connection, http->pages.ready, http->pages.context, true);
    return send_text(connection, MHD_HTTP_NOT_FOUND, strdup(wrong_path), strlen(wrong_path),
                     "text/plain");
}

static enum MHD_Result send_page(struct MHD_Connection *connection,
                                 void (*page)(void *context, FILE *out), void *context,
                                 bool is_check)
{
    unsigned status = MHD_HTTP_OK;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return MHD_NO;
    page(context, out);
    if (is_check && !fflush(out)) {
        if (size)
            status = MHD_HTTP_SERVICE_UNAVAILABLE;
        else
            fputs("ok\n", out);
    }
    if (fclose(out)) {
        free(text);
        return MHD_NO;
    }
    return send_text(connection, status, text, size,
                     is_check ? "text/plain" : "text/plain; version=0.0.4; charset=utf-8");
}

/* text: malloc'ed, taken over. */
static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, char *text,
                                 size_t size, const char *type)
{
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE) : NULL;
    enum MHD_Result result = MHD_NO;

    if (!response) {
        free(text);
        return MHD_NO;
    }
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES)
        result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Clients that send garbage or go away are no news. */
static void say_nothing(void *context, const char *format, va_list arguments)
{
}
