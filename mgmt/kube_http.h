/* kube_http.h - HTTPS requests that are under way while the daemon does other things. The door to
 * libcurl.
 *
 *     kube_http_get() --> transfer --data()... done()--> gone
 *                            +-----kube_http_cancel()--> gone, nobody is told
 *
 * Callbacks come from within kube_http_step(). A transfer that brings not one byte in `silence_s`
 * is over with an error. Certificates are checked unless the access says otherwise; redirections
 * are not followed.
 *
 * Thread: mgmt; kube_http_fd() becomes readable when kube_http_step() has something to do, and it
 * is called now and then besides, for what times out. */
#ifndef MGMT_KUBE_HTTP_H
#define MGMT_KUBE_HTTP_H

#include "kube_access.h"

struct kube_http;
struct kube_http_transfer;

struct kube_http_handler {
    /* The answer begins. May be null. */
    void (*opened)(void *context, long status);
    /* False: enough, the transfer is over with an error. */
    bool (*data)(void *context, const char *bytes, size_t size);
    /* status: of HTTP, 0 without an answer. error: "" or why it was cut. */
    void (*done)(void *context, long status, const char *error);
    void *context;
};

int kube_http_create(const struct kube_access *access, struct kube_http **ret_http);
void kube_http_free(struct kube_http *http); /* cancels what is under way */
int kube_http_fd(const struct kube_http *http);
void kube_http_step(struct kube_http *http);

/* path: with its query, from the slash on. access: of the create. -> null: out of memory */
struct kube_http_transfer *kube_http_get(struct kube_http *http, const char *path,
                                         unsigned silence_s,
                                         const struct kube_http_handler *handler);
void kube_http_cancel(struct kube_http_transfer *transfer);

#endif
