#include "kube_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"

enum { EVENTS = 16, CONNECT_S = 10, KEEPALIVE_S = 30, URL_SIZE = 8192 };

struct kube_http_transfer {
    struct kube_http *http;
    struct kube_http_transfer *next;
    CURL *easy;
    struct curl_slist *headers;
    struct kube_http_handler handler;
    char error[CURL_ERROR_SIZE];
};

struct kube_http {
    const struct kube_access *access;
    CURLM *multi;
    int epoll;
    struct kube_http_transfer *transfers;
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket);
static size_t on_header(char *bytes, size_t size, size_t n, void *context);
static size_t on_data(char *bytes, size_t size, size_t n, void *context);
static void set_options(struct kube_http_transfer *transfer, const char *url, unsigned silence_s);
static void set_secret(CURL *easy, const struct kube_secret *secret, CURLoption file,
                       CURLoption blob);
static bool set_headers(struct kube_http_transfer *transfer);
static void take_finished(struct kube_http *http);
static void drop(struct kube_http_transfer *transfer);

int kube_http_create(const struct kube_access *access, struct kube_http **ret_http)
{
    struct kube_http *http = calloc(1, sizeof(*http));

    if (!http)
        return -ENOMEM;
    http->access = access;
    http->epoll = epoll_create1(EPOLL_CLOEXEC);
    http->multi = curl_global_init(CURL_GLOBAL_DEFAULT) ? NULL : curl_multi_init();
    if (http->epoll < 0 || !http->multi) {
        kube_http_free(http);
        return -ENOMEM;
    }
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    *ret_http = http;
    return 0;
}

void kube_http_free(struct kube_http *http)
{
    if (!http)
        return;
    while (http->transfers)
        drop(http->transfers);
    if (http->multi)
        curl_multi_cleanup(http->multi);
    if (http->epoll >= 0)
        close(http->epoll);
    curl_global_cleanup();
    free(http);
}

int kube_http_fd(const struct kube_http *http)
{
    return http->epoll;
}

void kube_http_step(struct kube_http *http)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(http->epoll, events, EVENTS, 0), running;

    for (int i = 0; i < n; i++) {
        int what = (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0);

        curl_multi_socket_action(http->multi, events[i].data.fd, what, &running);
    }
    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_finished(http);
}

struct kube_http_transfer *kube_http_get(struct kube_http *http, const char *path,
                                         unsigned silence_s,
                                         const struct kube_http_handler *handler)
{
    struct kube_http_transfer *transfer = calloc(1, sizeof(*transfer));
    char url[URL_SIZE];

    if (!transfer)
        return NULL;
    transfer->http = http;
    transfer->handler = *handler;
    transfer->next = http->transfers;
    http->transfers = transfer;
    transfer->easy = curl_easy_init();
    snprintf(url, sizeof(url), "%s%s", http->access->server, path);
    if (!transfer->easy || !set_headers(transfer)) {
        drop(transfer);
        return NULL;
    }
    set_options(transfer, url, silence_s);
    if (curl_multi_add_handle(http->multi, transfer->easy)) {
        drop(transfer);
        return NULL;
    }
    return transfer;
}

void kube_http_cancel(struct kube_http_transfer *transfer)
{
    if (transfer)
        drop(transfer);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket)
{
    struct kube_http *http = context;
    struct epoll_event event = {.data.fd = fd};

    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(http->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0u) |
                   (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0u);
    if (epoll_ctl(http->epoll, EPOLL_CTL_MOD, fd, &event))
        epoll_ctl(http->epoll, EPOLL_CTL_ADD, fd, &event);
    return 0;
}

/* The empty line ends the headers. */
static size_t on_header(char *bytes, size_t size, size_t n, void *context)
{
    struct kube_http_transfer *transfer = context;
    long status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (size * n <= 2 && status >= 200 && transfer->handler.opened)
        transfer->handler.opened(transfer->handler.context, status);
    return size * n;
}

static size_t on_data(char *bytes, size_t size, size_t n, void *context)
{
    struct kube_http_transfer *transfer = context;

    /* Anything but n ends the transfer. */
    return transfer->handler.data(transfer->handler.context, bytes, size * n) ? size * n : 0;
}

static void set_options(struct kube_http_transfer *transfer, const char *url, unsigned silence_s)
{
    const struct kube_access *access = transfer->http->access;
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "tapedeck/" TAPEDECK_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)silence_s);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, access->insecure ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, access->insecure ? 0L : 2L);
    set_secret(easy, &access->ca, CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB);
    set_secret(easy, &access->cert, CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB);
    set_secret(easy, &access->key, CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB);
}

static void set_secret(CURL *easy, const struct kube_secret *secret, CURLoption file,
                       CURLoption blob)
{
    if (secret->bytes) {
        struct curl_blob bytes = {
            .data = secret->bytes, .len = strlen(secret->bytes), .flags = CURL_BLOB_COPY};

        curl_easy_setopt(easy, blob, &bytes);
    } else if (secret->file) {
        curl_easy_setopt(easy, file, secret->file);
    }
}

static bool set_headers(struct kube_http_transfer *transfer)
{
    char *token = kube_access_token(transfer->http->access), *line = NULL;

    transfer->headers = curl_slist_append(NULL, "Accept: application/json");
    if (token && asprintf(&line, "Authorization: Bearer %s", token) >= 0) {
        struct curl_slist *more = curl_slist_append(transfer->headers, line);

        if (more)
            transfer->headers = more;
        explicit_bzero(line, strlen(line));
        free(line);
    }
    if (token)
        explicit_bzero(token, strlen(token));
    free(token);
    return transfer->headers != NULL;
}

static void take_finished(struct kube_http *http)
{
    CURLMsg *message;
    int n;

    while ((message = curl_multi_info_read(http->multi, &n))) {
        struct kube_http_transfer *transfer;
        struct kube_http_handler handler;
        char error[CURL_ERROR_SIZE] = "";
        CURLcode result = message->data.result;
        long status = 0;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        if (result)
            snprintf(error, sizeof(error), "%s",
                     *transfer->error ? transfer->error : curl_easy_strerror(result));
        handler = transfer->handler;
        drop(transfer);
        handler.done(handler.context, status, error);
    }
}

static void drop(struct kube_http_transfer *transfer)
{
    struct kube_http_transfer **at = &transfer->http->transfers;

    while (*at != transfer)
        at = &(*at)->next;
    *at = transfer->next;
    if (transfer->easy) {
        curl_multi_remove_handle(transfer->http->multi, transfer->easy);
        curl_easy_cleanup(transfer->easy);
    }
    curl_slist_free_all(transfer->headers);
    free(transfer);
}
