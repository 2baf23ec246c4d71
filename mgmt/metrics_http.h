/* metrics_http.h - /metrics, /healthz and /readyz over HTTP. The door to libmicrohttpd.
 *
 * Plain HTTP, for reading only: put a proxy before it where others share the network. Clients are
 * bounded in number, memory and time; what is no GET of a known path is refused, garbage ends its
 * connection.
 *
 * Thread: mgmt; metrics_http_fd() becomes readable when metrics_http_step() has something to do,
 * and it is called now and then besides, for clients that are too slow. */
#ifndef MGMT_METRICS_HTTP_H
#define MGMT_METRICS_HTTP_H

#include <stdbool.h>
#include <stdio.h>

enum { METRICS_ERROR_SIZE = 512 };

struct metrics_http;

struct metrics_http_pages {
    void (*metrics)(void *context, FILE *out);
    /* What is wrong, a line each; writes nothing when all is well. */
    void (*health)(void *context, FILE *out);
    void (*ready)(void *context, FILE *out);
    void *context;
};

/* address: "127.0.0.1:9464", "[::]:9464", ":9464" (all addresses), "unix:PATH". -> 0 or -errno
 * with the message. */
int metrics_http_open(const char *address, const struct metrics_http_pages *pages,
                      struct metrics_http **ret_http, char reterr_text[static METRICS_ERROR_SIZE]);
void metrics_http_close(struct metrics_http *http);
int metrics_http_fd(const struct metrics_http *http);
void metrics_http_step(struct metrics_http *http);

/* Could it be an address? For --check. -> 0 or -EINVAL with the message. */
int metrics_http_check(const char *address, char reterr_text[static METRICS_ERROR_SIZE]);

#endif
