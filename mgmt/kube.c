#include "kube.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube_http.h"
#include "kube_objects.h"
#include "log.h"
#include "units.h"

enum {
    PAGE_DEFAULT = 500,
    WATCH_DEFAULT_S = 300,
    SILENCE_LIST_S = 30,
    SILENCE_MORE_S = 30, /* a watch may be silent for as long as it runs; then it is dead */
    RETRY_DOUBLED_MAX = 5,
    PAGE_SIZE_MAX = 64 << 20,
    EVENT_SIZE_MAX = 4 << 20,
    BUFFER_KEPT_MAX = 1 << 20,
    VERSION_SIZE = 128,
    CONTINUE_SIZE = 2048,
    PATH_SIZE = 4 * CONTINUE_SIZE,
};

/*     WAITING --time--> LISTING --last page--> WATCHING --its time is up--> WATCHING again
 *        ^  ^              |   ^                 |   |
 *        |  +----error-----+   +------410--------+   |
 *        +--------------------error------------------+   WAITING --time, a version is known-->
 * WATCHING
 *
 * Forbidden: WATCHING without a version; a transfer in WAITING. */
enum kube_state { KUBE_WAITING, KUBE_LISTING, KUBE_WATCHING };

static const char *const state_name[] = {"waiting", "listing", "watching"};

static const struct resource {
    const char *name, *path;
    enum names_kind kind;
} resources[] = {
    {"nodes", "/api/v1/nodes", NAMES_KIND_NODE},
    {"services", "/api/v1/services", NAMES_KIND_SERVICE},
    {"pods", "/api/v1/pods", NAMES_KIND_POD},
    {"endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", NAMES_KIND_SLICE},
};

enum { RESOURCES = sizeof(resources) / sizeof(resources[0]) };

struct buffer {
    char *bytes;
    size_t size, capacity;
};

struct follow { /* one resource */
    struct kube *kube;
    const struct resource *resource;
    enum kube_state state;
    struct kube_http_transfer *transfer;
    struct buffer buffer;       /* a page, or the beginning of an event */
    bool skipping;              /* the rest of an event that is too large */
    bool got;                   /* this watch has brought something */
    bool ended;                 /* the watch said an error: why is in `error` */
    bool expired;               /* ... namely that the version is too old */
    char version[VERSION_SIZE]; /* "": a list is needed */
    char rest[CONTINUE_SIZE];   /* the list's next page; "" */
    char error[256];
    unsigned n_retries;
    long status;       /* of the answer under way; 0: none yet */
    uint64_t begun_ns; /* steady: of the watch */
    uint64_t due_ns;   /* steady */
    uint64_t since_ns; /* wall: stale since; 0: it is not */
    bool listed;
    uint64_t n_lists, n_events, n_errors, n_bad;
};

struct kube {
    struct kube_config config;
    struct kube_access access;
    struct kube_http *http;
    struct kube_objects *objects;
    struct schedule_clock clock;
    uint64_t random;
    bool said_refused;
    struct follow follow[RESOURCES];
};

static void begin(struct follow *follow);
static void begin_list(struct follow *follow, const char *rest);
static void begin_watch(struct follow *follow);
static void get(struct follow *follow, const char *path, unsigned silence_s,
                void (*done)(void *context, long status, const char *error),
                bool (*data)(void *context, const char *bytes, size_t size));
static void on_opened(void *context, long status);
static bool on_page_data(void *context, const char *bytes, size_t size);
static void on_page(void *context, long status, const char *error);
static bool on_watch_data(void *context, const char *bytes, size_t size);
static void on_watch_end(void *context, long status, const char *error);
static bool take_event(struct follow *follow, const char *line, size_t size);
static void fail(struct follow *follow, long status, const char *error);
static void caught_up(struct follow *follow);
static bool buffer_add(struct buffer *buffer, const char *bytes, size_t size, size_t max);
static void encode(char *to, size_t size, const char *text);

int kube_open(const struct kube_config *config, struct kube **ret_kube,
              char reterr_text[static KUBE_ERROR_SIZE])
{
    struct kube *kube = calloc(1, sizeof(*kube));
    int err = -ENOMEM;

    if (!kube)
        return -ENOMEM;
    kube->config = *config;
    kube->random = config->seed | 1;
    if (!kube->config.retry_ns)
        kube->config.retry_ns = NS_PER_S;
    if (!kube->config.page)
        kube->config.page = PAGE_DEFAULT;
    if (!kube->config.watch_s)
        kube->config.watch_s = WATCH_DEFAULT_S;
    err = kube_access_read(config->from, config->context, &kube->access, reterr_text);
    if (!err)
        err = kube_http_create(&kube->access, &kube->http);
    if (!err)
        err = kube_objects_create(config->spells, &kube->objects);
    if (err) {
        kube_close(kube);
        return err;
    }
    for (unsigned i = 0; i < RESOURCES; i++)
        kube->follow[i] = (struct follow){.kube = kube, .resource = &resources[i]};
    *ret_kube = kube;
    return 0;
}

void kube_close(struct kube *kube)
{
    if (!kube)
        return;
    kube_http_free(kube->http);
    kube_objects_free(kube->objects);
    kube_access_done(&kube->access);
    for (unsigned i = 0; i < RESOURCES; i++)
        free(kube->follow[i].buffer.bytes);
    free(kube);
}

int kube_fd(const struct kube *kube)
{
    return kube_http_fd(kube->http);
}

void kube_step(struct kube *kube, struct schedule_clock clock)
{
    kube->clock = clock;
    for (unsigned i = 0; i < RESOURCES; i++) {
        struct follow *follow = &kube->follow[i];

        if (follow->state == KUBE_WAITING && clock.steady_ns >= follow->due_ns)
            begin(follow);
    }
    kube_http_step(kube->http);
    if (kube_objects_refused(kube->objects) && !kube->said_refused) {
        kube->said_refused = true;
        log_warning("kubernetes: some names find no room and are not known: set names.memory "
                    "higher");
    }
}

void kube_stats(const struct kube *kube, struct doc *rows)
{
    for (unsigned i = 0; i < RESOURCES; i++) {
        const struct follow *follow = &kube->follow[i];
        struct doc *row = doc_object();

        doc_set_text(row, "kind", "kube");
        doc_set_text(row, "resource", follow->resource->name);
        doc_set_text(row, "state", state_name[follow->state]);
        doc_set_uint(row, "objects", kube_objects_n(kube->objects, follow->resource->kind));
        doc_set_uint(row, "lists", follow->n_lists);
        doc_set_uint(row, "events", follow->n_events);
        doc_set_uint(row, "errors", follow->n_errors);
        doc_set_uint(row, "bad_events", follow->n_bad);
        doc_set_bool(row, "listed", follow->listed);
        doc_set_bool(row, "stale", follow->since_ns != 0);
        doc_set_time(row, "stale_since", follow->since_ns);
        doc_set_text(row, "error", follow->since_ns ? follow->error : "");
        doc_append(rows, row);
    }
}

bool kube_listed(const struct kube *kube)
{
    bool listed = true;

    for (unsigned i = 0; i < RESOURCES; i++)
        listed &= kube->follow[i].listed;
    return listed;
}

static void begin(struct follow *follow)
{
    if (*follow->version)
        begin_watch(follow);
    else
        begin_list(follow, "");
}

/* rest: what the page before said where the next one begins. */
static void begin_list(struct follow *follow, const char *rest)
{
    char path[PATH_SIZE], encoded[3 * CONTINUE_SIZE];

    if (!*rest)
        kube_objects_begin_list(follow->kube->objects, follow->resource->kind);
    encode(encoded, sizeof(encoded), rest);
    snprintf(path, sizeof(path), "%s?limit=%u%s%s", follow->resource->path,
             follow->kube->config.page, *rest ? "&continue=" : "", encoded);
    follow->state = KUBE_LISTING;
    get(follow, path, SILENCE_LIST_S, on_page, on_page_data);
}

static void begin_watch(struct follow *follow)
{
    unsigned watch_s = follow->kube->config.watch_s;
    char path[PATH_SIZE], encoded[3 * VERSION_SIZE];

    encode(encoded, sizeof(encoded), follow->version);
    snprintf(path, sizeof(path),
             "%s?watch=true&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=%u",
             follow->resource->path, encoded, watch_s);
    follow->state = KUBE_WATCHING;
    if (follow->buffer.capacity > BUFFER_KEPT_MAX) {
        free(follow->buffer.bytes);
        follow->buffer = (struct buffer){0};
    }
    follow->begun_ns = follow->kube->clock.steady_ns;
    follow->skipping = follow->got = follow->ended = follow->expired = false;
    get(follow, path, watch_s + SILENCE_MORE_S, on_watch_end, on_watch_data);
}

static void get(struct follow *follow, const char *path, unsigned silence_s,
                void (*done)(void *context, long status, const char *error),
                bool (*data)(void *context, const char *bytes, size_t size))
{
    const struct kube_http_handler handler = {
        .opened = on_opened, .data = data, .done = done, .context = follow};

    follow->buffer.size = 0;
    follow->status = 0;
    *follow->error = 0;
    follow->transfer = kube_http_get(follow->kube->http, path, silence_s, &handler);
    if (!follow->transfer)
        fail(follow, 0, "out of memory");
}

static void on_opened(void *context, long status)
{
    struct follow *follow = context;

    follow->status = status;
    if (status == 200 && follow->state == KUBE_WATCHING && follow->since_ns)
        caught_up(follow);
}

static bool on_page_data(void *context, const char *bytes, size_t size)
{
    struct follow *follow = context;

    if (buffer_add(&follow->buffer, bytes, size, PAGE_SIZE_MAX))
        return true;
    snprintf(follow->error, sizeof(follow->error), "a page of more than 64 MiB");
    return false;
}

static void on_page(void *context, long status, const char *error)
{
    struct follow *follow = context;
    struct kube *kube = follow->kube;
    char why[DOC_ERROR_SIZE] = "";
    const struct doc *items, *metadata;
    struct doc *page = NULL;

    follow->transfer = NULL;
    if (!*error && status == 200)
        page =
            doc_parse(follow->buffer.bytes ? follow->buffer.bytes : "", follow->buffer.size, why);
    metadata = doc_get(page, "metadata");
    if (!page || !metadata) {
        if (page)
            doc_free(page);
        fail(follow, status, *error || status != 200 ? error : (*why ? why : "not a list"));
        return;
    }
    items = doc_get(page, "items");
    for (size_t i = 0; i < doc_size(items); i++)
        kube_objects_put(kube->objects, follow->resource->kind, doc_at(items, i), true,
                         kube->clock.wall_ns);
    snprintf(follow->rest, sizeof(follow->rest), "%s", doc_text(metadata, "continue", ""));
    snprintf(follow->version, sizeof(follow->version), "%s",
             doc_text(metadata, "resourceVersion", ""));
    doc_free(page);
    if (*follow->rest) {
        *follow->version = 0; /* not before all pages are here */
        begin_list(follow, follow->rest);
        return;
    }
    kube_objects_end_list(kube->objects, follow->resource->kind, kube->clock.wall_ns);
    follow->listed = true;
    follow->n_lists++;
    caught_up(follow);
    if (*follow->version)
        begin_watch(follow);
    else
        fail(follow, status, "a list without resourceVersion");
}

/* Lines of JSON, cut anywhere. */
static bool on_watch_data(void *context, const char *bytes, size_t size)
{
    struct follow *follow = context;

    if (follow->status != 200)
        return true; /* why it was refused */
    while (size) {
        const char *end = memchr(bytes, '\n', size);
        size_t n = end ? (size_t)(end - bytes) : size;

        if (!follow->skipping && !buffer_add(&follow->buffer, bytes, n, EVENT_SIZE_MAX)) {
            follow->skipping = true;
            follow->n_bad++;
        }
        bytes += n + (end != NULL);
        size -= n + (end != NULL);
        if (!end)
            break;
        if (!follow->skipping && follow->buffer.size &&
            !take_event(follow, follow->buffer.bytes, follow->buffer.size))
            return false;
        follow->skipping = false;
        follow->buffer.size = 0;
    }
    return true;
}

static void on_watch_end(void *context, long status, const char *error)
{
    struct follow *follow = context;
    uint64_t lasted_ns = follow->kube->clock.steady_ns - follow->begun_ns;
    bool in_time = follow->got || lasted_ns >= follow->kube->config.watch_s * NS_PER_S / 2;

    follow->transfer = NULL;
    if (follow->expired || status == 410) {
        *follow->version = 0;
        if (!follow->got) { /* the API forgets as fast as it lists: not in a circle without end */
            fail(follow, status, "the version just listed is too old");
            return;
        }
        log_info("kubernetes: %s: the API remembers no such past (410): listing again",
                 follow->resource->name);
        begin_list(follow, "");
    } else if (status == 200 && in_time && !follow->ended && !*error) {
        follow->n_retries = 0;
        begin_watch(follow); /* its time was up */
    } else {
        fail(follow, status, error);
    }
}

/* -> false: the watch is of no more use. */
static bool take_event(struct follow *follow, const char *line, size_t size)
{
    struct kube *kube = follow->kube;
    char why[DOC_ERROR_SIZE] = "not an event";
    struct doc *event = doc_parse(line, size, why);
    const struct doc *object = doc_get(event, "object");
    const char *type = doc_text(event, "type", "");
    const char *version = doc_text(doc_get(object, "metadata"), "resourceVersion", "");
    bool is_error = !strcmp(type, "ERROR");

    if (is_error) {
        follow->ended = true;
        follow->expired = doc_int(object, "code", 0) == 410;
        snprintf(follow->error, sizeof(follow->error), "%.200s",
                 doc_text(object, "message", "an error without a message"));
    } else if (!*type || !*version) {
        follow->ended = true;
        follow->n_bad++;
        snprintf(follow->error, sizeof(follow->error), "an event cannot be read: %.200s", why);
    } else {
        if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED"))
            kube_objects_put(kube->objects, follow->resource->kind, object, false,
                             kube->clock.wall_ns);
        else if (!strcmp(type, "DELETED"))
            kube_objects_remove(kube->objects, follow->resource->kind, object, kube->clock.wall_ns);
        snprintf(follow->version, sizeof(follow->version), "%s", version);
        follow->n_events++;
        follow->got = true;
        follow->n_retries = 0;
    }
    if (event)
        doc_free(event);
    return !follow->ended;
}

/* Said when it begins, and not again until it is over. */
static void fail(struct follow *follow, long status, const char *error)
{
    struct kube *kube = follow->kube;
    const char *name = follow->resource->name;
    uint64_t wait_ns = kube->config.retry_ns << follow->n_retries;
    char said[sizeof(follow->error)];

    kube->random = kube->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    wait_ns = wait_ns / 2 + wait_ns / 1024 * (kube->random >> 54); /* 0.5 to 1.5 times */
    follow->due_ns = kube->clock.steady_ns + wait_ns;
    follow->n_retries += follow->n_retries < RETRY_DOUBLED_MAX;
    follow->n_errors++;
    follow->state = KUBE_WAITING;
    if (*follow->error)
        snprintf(said, sizeof(said), "%s", follow->error);
    else if (*error)
        snprintf(said, sizeof(said), "%.200s", error);
    else if (status == 200)
        snprintf(said, sizeof(said), "the connection ended");
    else
        snprintf(said, sizeof(said), "the API answers %ld%s", status,
                 status == 401   ? ": the token or certificate is not accepted"
                 : status == 403 ? ": the account may not list and watch them"
                                 : "");
    snprintf(follow->error, sizeof(follow->error), "%s", said);
    if (follow->since_ns)
        return;
    follow->since_ns = kube->clock.wall_ns;
    log_warning("kubernetes: %s: %s: %zu known stay in force, trying again", name, said,
                kube_objects_n(kube->objects, follow->resource->kind));
}

static void caught_up(struct follow *follow)
{
    if (follow->since_ns || follow->n_lists == 1)
        log_info("kubernetes: %s: %zu known", follow->resource->name,
                 kube_objects_n(follow->kube->objects, follow->resource->kind));
    follow->since_ns = 0;
}

static bool buffer_add(struct buffer *buffer, const char *bytes, size_t size, size_t max)
{
    if (buffer->size + size > max)
        return false;
    if (buffer->size + size > buffer->capacity) {
        size_t capacity = (buffer->size + size) * 2;
        char *more = realloc(buffer->bytes, capacity);

        if (!more)
            return false;
        buffer->bytes = more;
        buffer->capacity = capacity;
    }
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
    return true;
}

/* Percent encoding of all but letters, digits, - and _. */
static void encode(char *to, size_t size, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;

    for (; *text && used + 4 <= size; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            c == '-' || c == '_') {
            to[used++] = (char)c;
        } else {
            to[used++] = '%';
            to[used++] = digits[c >> 4];
            to[used++] = digits[c & 15];
        }
    }
    to[used] = 0;
}
