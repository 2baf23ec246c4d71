/* names_load.c - the files behind a table: lines, and lists of Kubernetes objects. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doc.h"
#include "files.h"
#include "names.h"
#include "names_objects.h"

enum { FILE_SIZE_MAX = 256 << 20, LINE_FIELDS_MAX = 3, LIST_DEPTH_MAX = 2 };

struct load {
    struct names *names;
    const char *path;
    char *reterr_text;
};

static int load_file(struct load *load, const char *text, size_t size);
static int load_lines(struct load *load, char *text);
static int load_line(struct load *load, unsigned line, char *text);
static int load_objects(struct load *load, const struct doc *list, unsigned depth);
static int add(void *context, const struct names_claim *claim);

int names_load(struct names_pool *pool, const char *const *paths, unsigned n_paths,
               struct names **ret_names, char reterr_text[static NAMES_ERROR_SIZE])
{
    struct load load = {.names = names_create(pool), .reterr_text = reterr_text};
    int err = 0;

    if (!load.names)
        return -ENOMEM;
    for (unsigned i = 0; !err && i < n_paths; i++) {
        char *text;
        size_t size;

        load.path = paths[i];
        err = file_read(paths[i], FILE_SIZE_MAX, &text, &size);
        if (err) {
            snprintf(reterr_text, NAMES_ERROR_SIZE, "%.300s: %s", paths[i], strerror(-err));
        } else {
            err = load_file(&load, text, size);
            free(text);
        }
    }
    if (err) {
        names_free(load.names);
        return err;
    }
    *ret_names = load.names;
    return 0;
}

static int load_file(struct load *load, const char *text, size_t size)
{
    const char *first = text + strspn(text, " \t\r\n");
    char why[DOC_ERROR_SIZE];
    struct doc *doc;
    int err;

    if (strlen(text) != size) {
        snprintf(load->reterr_text, NAMES_ERROR_SIZE,
                 "%.300s: has a zero byte: it must be text, lines `IP NAME [NAMESPACE]` or JSON",
                 load->path);
        return -EINVAL;
    }
    if (*first != '{')
        return load_lines(load, (char *)text);
    doc = doc_parse(text, size, why);
    if (!doc) {
        snprintf(load->reterr_text, NAMES_ERROR_SIZE, "%.200s: %s", load->path, why);
        return -EINVAL;
    }
    err = load_objects(load, doc, 0);
    doc_free(doc);
    return err;
}

static int load_lines(struct load *load, char *text)
{
    unsigned line = 1;

    for (char *next; text; text = next, line++) {
        int err;

        next = strchr(text, '\n');
        if (next)
            *next++ = 0;
        err = load_line(load, line, text);
        if (err)
            return err;
    }
    return 0;
}

static int load_line(struct load *load, unsigned line, char *text)
{
    const char *fields[LINE_FIELDS_MAX] = {"", "", ""};
    const char *wrong = NULL;
    uint8_t addr[16], prefix;
    char *rest = NULL;
    unsigned n = 0;
    int err;

    text[strcspn(text, "#")] = 0;
    for (char *word = strtok_r(text, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest))
        if (n++ < LINE_FIELDS_MAX)
            fields[n - 1] = word;
    if (!n)
        return 0;
    if (names_parse_address(fields[0], addr, &prefix))
        wrong = "not an IP address or CIDR";
    else if (n == 1)
        wrong = "a name must follow the address";
    else if (n > LINE_FIELDS_MAX)
        wrong = "too many words";
    else if (strlen(fields[1]) > NAMES_TEXT_MAX || strlen(fields[2]) > NAMES_TEXT_MAX)
        wrong = "names have at most 253 bytes";
    if (wrong) {
        snprintf(load->reterr_text, NAMES_ERROR_SIZE, "%.200s:%u: %.80s: %s: IP NAME [NAMESPACE]",
                 load->path, line, fields[0], wrong);
        return -EINVAL;
    }
    err = names_add(load->names, addr, prefix, NAMES_RANK_LINE, fields[1], fields[2]);
    if (err && err != -ENOSPC)
        snprintf(load->reterr_text, NAMES_ERROR_SIZE, "%.200s:%u: %s", load->path, line,
                 strerror(-err));
    return err == -ENOSPC ? 0 : err;
}

/* A List of objects of several kinds, a PodList and the like, or one object. */
static int load_objects(struct load *load, const struct doc *list, unsigned depth)
{
    const char *kind = doc_text(list, "kind", "");
    const struct doc *items = doc_get(list, "items");
    size_t size = strlen(kind);

    if (!items && (!*kind || depth)) {
        snprintf(load->reterr_text, NAMES_ERROR_SIZE,
                 "%.200s: no list of Kubernetes objects: write it with "
                 "`kubectl get pods,services,endpoints,nodes -A -o json`",
                 load->path);
        return -EINVAL;
    }
    if (size > 4 && !strcmp(kind + size - 4, "List"))
        size -= 4;
    for (size_t i = 0; i < (items ? doc_size(items) : 1); i++) {
        const struct doc *object = items ? doc_at(items, i) : list;
        const char *own = doc_text(object, "kind", NULL);

        for (unsigned k = 0; k < NAMES_KIND_COUNT; k++) {
            const char *known = names_kind_name[k];
            int err = 0;

            if (own ? !strcmp(own, known) : strlen(known) == size && !memcmp(known, kind, size))
                err = names_object_each((enum names_kind)k, object, add, load);
            if (err)
                return err;
        }
    }
    return 0;
}

/* What is too long names nothing. */
static int add(void *context, const struct names_claim *claim)
{
    struct load *load = context;
    int err = names_add(load->names, claim->addr, claim->prefix, claim->rank, claim->name,
                        claim->namespace);

    if (err == -ENOMEM)
        snprintf(load->reterr_text, NAMES_ERROR_SIZE, "%.200s: out of memory", load->path);
    return err == -ENOMEM ? err : 0;
}
