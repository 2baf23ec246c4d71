#include "kube_access.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/value.h"
#include "files.h"
#include "yaml_doc.h"

enum { FILE_SIZE_MAX = 4 << 20, TOKEN_SIZE_MAX = 64 << 10 };

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

static int read_in_cluster(struct kube_access *access, char *reterr_text);
static int read_config(const char *path, const char *context, struct kube_access *access,
                       char *reterr_text);
static int read_cluster(const char *path, const struct doc *cluster, struct kube_access *access,
                        char *reterr_text);
static int read_user(const char *path, const struct doc *user, struct kube_access *access,
                     char *reterr_text);
static const struct doc *named(const struct doc *config, const char *list, const char *name,
                               const char *member);
static int read_secret(const char *path, const struct doc *from, const char *key,
                       struct kube_secret *ret_secret, char *reterr_text);
static char *path_beside(const char *path, const char *file);
static int refuse(char *reterr_text, const char *path, const char *text, const char *value);

int kube_access_read(const char *from, const char *context, struct kube_access *ret_access,
                     char reterr_text[static KUBE_ERROR_SIZE])
{
    struct kube_access access = {0};
    int err;

    if (!strcmp(from, KUBE_IN_CLUSTER))
        err = read_in_cluster(&access, reterr_text);
    else
        err = read_config(from, context, &access, reterr_text);
    if (err) {
        kube_access_done(&access);
        return err;
    }
    *ret_access = access;
    return 0;
}

void kube_access_done(struct kube_access *access)
{
    struct kube_secret *secrets[] = {&access->ca, &access->cert, &access->key, &access->token};

    free(access->server);
    for (unsigned i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        if (secrets[i]->bytes)
            explicit_bzero(secrets[i]->bytes, strlen(secrets[i]->bytes));
        free(secrets[i]->bytes);
        free(secrets[i]->file);
    }
    memset(access, 0, sizeof(*access));
}

char *kube_access_token(const struct kube_access *access)
{
    char *text = NULL;
    size_t size;

    if (access->token.bytes)
        return strdup(access->token.bytes);
    if (!access->token.file || file_read(access->token.file, TOKEN_SIZE_MAX, &text, &size))
        return NULL;
    text[strcspn(text, "\r\n")] = 0;
    return text;
}

static int read_in_cluster(struct kube_access *access, char *reterr_text)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    bool v6 = host && strchr(host, ':');

    if (!host || !port)
        return refuse(reterr_text, KUBE_IN_CLUSTER,
                      "KUBERNETES_SERVICE_HOST and _PORT are not set: this is no pod; name a "
                      "kubeconfig file",
                      "");
    if (asprintf(&access->server, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port) <
        0)
        access->server = NULL;
    access->ca.file = strdup(ACCOUNT "/ca.crt");
    access->token.file = strdup(ACCOUNT "/token");
    return access->server && access->ca.file && access->token.file ? 0 : -ENOMEM;
}

static int read_config(const char *path, const char *context, struct kube_access *access,
                       char *reterr_text)
{
    char why[DOC_ERROR_SIZE];
    struct doc *config = yaml_doc_read(path, FILE_SIZE_MAX, why);
    const struct doc *chosen, *cluster, *user;
    int err;

    if (!config) {
        snprintf(reterr_text, KUBE_ERROR_SIZE, "%s", why);
        return -EINVAL;
    }
    if (!*context)
        context = doc_text(config, "current-context", "");
    chosen = named(config, "contexts", context, "context");
    cluster = named(config, "clusters", doc_text(chosen, "cluster", ""), "cluster");
    user = named(config, "users", doc_text(chosen, "user", ""), "user");
    if (!*context)
        err = refuse(reterr_text, path, "has no current-context: set names.kubernetes_context", "");
    else if (!chosen)
        err = refuse(reterr_text, path, "has no context of this name: ", context);
    else if (!cluster)
        err = refuse(reterr_text, path, "has no cluster for the context ", context);
    else
        err = read_cluster(path, cluster, access, reterr_text);
    if (!err && user)
        err = read_user(path, user, access, reterr_text);
    doc_free(config);
    return err;
}

static int read_cluster(const char *path, const struct doc *cluster, struct kube_access *access,
                        char *reterr_text)
{
    const char *server = doc_text(cluster, "server", "");
    size_t size = strlen(server);

    if (strncmp(server, "https://", 8) != 0)
        return refuse(reterr_text, path, "server must begin with https:// and is ", server);
    while (size > 8 && server[size - 1] == '/')
        size--;
    access->server = strndup(server, size);
    access->insecure = !strcmp(doc_text(cluster, "insecure-skip-tls-verify", ""), "true");
    if (!access->server)
        return -ENOMEM;
    return read_secret(path, cluster, "certificate-authority", &access->ca, reterr_text);
}

static int read_user(const char *path, const struct doc *user, struct kube_access *access,
                     char *reterr_text)
{
    const char *token = doc_text(user, "token", NULL);
    const char *file = doc_text(user, "tokenFile", NULL);
    int err = read_secret(path, user, "client-certificate", &access->cert, reterr_text);

    if (!err)
        err = read_secret(path, user, "client-key", &access->key, reterr_text);
    if (err)
        return err;
    if (file)
        access->token.file = path_beside(path, file);
    else if (token)
        access->token.bytes = strdup(token);
    if ((doc_get(user, "exec") || doc_get(user, "auth-provider")) && !token && !file)
        return refuse(reterr_text, path,
                      "its user gets a token by a command, which is not run: put the output of "
                      "`kubectl create token ACCOUNT` in a file and name that as tokenFile",
                      "");
    if ((file || token) && !access->token.file && !access->token.bytes)
        return -ENOMEM;
    return 0;
}

/* {LIST: [{name: NAME, MEMBER: {...}}]} */
static const struct doc *named(const struct doc *config, const char *list, const char *name,
                               const char *member)
{
    const struct doc *rows = doc_get(config, list);

    for (size_t i = 0; i < doc_size(rows); i++)
        if (*name && !strcmp(doc_text(doc_at(rows, i), "name", ""), name))
            return doc_get(doc_at(rows, i), member);
    return NULL;
}

/* KEY-data in place (base64 of PEM) goes before KEY, a file. */
static int read_secret(const char *path, const struct doc *from, const char *key,
                       struct kube_secret *ret_secret, char *reterr_text)
{
    char data_key[64];
    const char *data, *file = doc_text(from, key, NULL);
    struct kube_secret secret = {0};
    size_t size;

    snprintf(data_key, sizeof(data_key), "%s-data", key);
    data = doc_text(from, data_key, NULL);
    if (data) {
        secret.bytes = malloc(strlen(data) + 4);
        if (!secret.bytes)
            return -ENOMEM;
        if (!base64_read(data, strlen(data), secret.bytes, &size)) {
            free(secret.bytes);
            return refuse(reterr_text, path, "not base64: ", data_key);
        }
        secret.bytes[size] = 0;
    } else if (file) {
        secret.file = path_beside(path, file);
        if (!secret.file)
            return -ENOMEM;
    }
    *ret_secret = secret;
    return 0;
}

/* Relative paths are meant from where the kubeconfig is. */
static char *path_beside(const char *path, const char *file)
{
    const char *slash = strrchr(path, '/');
    char *made;

    if (*file == '/' || !slash)
        return strdup(file);
    return asprintf(&made, "%.*s/%s", (int)(slash - path), path, file) < 0 ? NULL : made;
}

static int refuse(char *reterr_text, const char *path, const char *text, const char *value)
{
    snprintf(reterr_text, KUBE_ERROR_SIZE, "%.150s: %s%.150s", path, text, value);
    return -EINVAL;
}
