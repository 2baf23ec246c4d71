/* kube_access.h - where the Kubernetes API is, and how we show who we are: from a kubeconfig file,
 * or from what a pod's service account finds in its file system.
 *
 * Of a kubeconfig: the current context's (or the named one's) cluster and user; certificates and
 * keys as files or in place, a token in place or in a file. Commands that make tokens (`exec`) are
 * not run: the message says how to get a token instead. Only https.
 *
 * Thread: mgmt. */
#ifndef MGMT_KUBE_ACCESS_H
#define MGMT_KUBE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

enum { KUBE_ERROR_SIZE = 512 };

#define KUBE_IN_CLUSTER "in-cluster"

struct kube_secret { /* bytes in memory, or a file; both null: none */
    char *bytes;     /* PEM, terminated */
    char *file;
};

struct kube_access {
    char *server;          /* "https://10.0.0.1:6443", no slash at the end */
    bool insecure;         /* insecure-skip-tls-verify */
    struct kube_secret ca; /* none: those of the system */
    struct kube_secret cert, key;
    struct kube_secret token; /* a file is read anew for each request: tokens are replaced */
};

/* from: the path of a kubeconfig, or KUBE_IN_CLUSTER. context: "" the current one. -> 0 or -errno
 * with the message. */
int kube_access_read(const char *from, const char *context, struct kube_access *ret_access,
                     char reterr_text[static KUBE_ERROR_SIZE]);
void kube_access_done(struct kube_access *access);
/* The token as it is now: malloc'ed, null without. */
char *kube_access_token(const struct kube_access *access);

#endif
