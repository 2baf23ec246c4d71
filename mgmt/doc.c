#include "doc.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "files.h"
#include "units.h"

static json_t *inside(const struct doc *doc)
{
    return (json_t *)doc;
}

static struct doc *outside(json_t *json)
{
    return (struct doc *)json;
}

static json_t *text_value(const char *text);

struct doc *doc_parse(const char *text, size_t size, char reterr_text[static DOC_ERROR_SIZE])
{
    json_error_t error;
    json_t *json = json_loadb(text, size, 0, &error);

    if (!json)
        snprintf(reterr_text, DOC_ERROR_SIZE, "line %d: not JSON: %.180s", error.line, error.text);
    return outside(json);
}

struct doc *doc_read(const char *path, size_t size_max, char reterr_text[static DOC_ERROR_SIZE])
{
    char why[DOC_ERROR_SIZE];
    struct doc *doc;
    size_t size;
    char *text;
    int err = file_read(path, size_max, &text, &size);

    if (err) {
        snprintf(reterr_text, DOC_ERROR_SIZE, "%.160s: %s", path, strerror(-err));
        return NULL;
    }
    doc = doc_parse(text, size, why);
    if (!doc)
        snprintf(reterr_text, DOC_ERROR_SIZE, "%.120s: %.120s", path, why);
    free(text);
    return doc;
}

int doc_write(const struct doc *doc, const char *path, unsigned mode)
{
    char *text = doc_print(doc, true);
    size_t size = strlen(text);
    int err;

    text[size] = '\n'; /* in place of the terminator */
    err = file_replace(path, text, size + 1, mode);
    free(text);
    return err;
}

char *doc_print(const struct doc *doc, bool pretty)
{
    char *text = json_dumps(inside(doc), JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) |
                                             (pretty ? JSON_INDENT(2) : JSON_COMPACT));

    ensure(text);
    return text;
}

void doc_free(struct doc *doc)
{
    json_decref(inside(doc));
}

struct doc *doc_object(void)
{
    json_t *json = json_object();

    ensure(json);
    return outside(json);
}

struct doc *doc_array(void)
{
    json_t *json = json_array();

    ensure(json);
    return outside(json);
}

struct doc *doc_copy(const struct doc *doc)
{
    json_t *json = json_deep_copy(inside(doc));

    ensure(json);
    return outside(json);
}

const struct doc *doc_get(const struct doc *doc, const char *key)
{
    return outside(json_object_get(inside(doc), key));
}

const char *doc_text(const struct doc *doc, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(inside(doc), key));

    return text ? text : fallback;
}

int64_t doc_int(const struct doc *doc, const char *key, int64_t fallback)
{
    const json_t *json = json_object_get(inside(doc), key);

    return json_is_integer(json) ? json_integer_value(json) : fallback;
}

uint64_t doc_uint(const struct doc *doc, const char *key, uint64_t fallback)
{
    int64_t value = doc_int(doc, key, -1);

    return value < 0 ? fallback : (uint64_t)value;
}

bool doc_bool(const struct doc *doc, const char *key, bool fallback)
{
    const json_t *json = json_object_get(inside(doc), key);

    return json_is_boolean(json) ? json_is_true(json) : fallback;
}

uint64_t doc_time(const struct doc *doc, const char *key, uint64_t fallback_ns)
{
    const char *text = doc_text(doc, key, NULL);
    uint64_t ns;

    return text && !units_parse_time(text, &ns) ? ns : fallback_ns;
}

size_t doc_size(const struct doc *doc)
{
    const json_t *json = inside(doc);

    return json_is_object(json) ? json_object_size(json) : json_array_size(json);
}

const struct doc *doc_at(const struct doc *doc, size_t i)
{
    return outside(json_array_get(inside(doc), i));
}

const char *doc_text_at(const struct doc *doc, size_t i, const char *fallback)
{
    const char *text = json_string_value(json_array_get(inside(doc), i));

    return text ? text : fallback;
}

bool doc_is_object(const struct doc *doc)
{
    return json_is_object(inside(doc));
}

void *doc_iterate(const struct doc *doc, void *iterator)
{
    if (iterator)
        return json_object_iter_next(inside(doc), iterator);
    return json_object_iter(inside(doc));
}

const char *doc_iterator_key(void *iterator)
{
    return json_object_iter_key(iterator);
}

const struct doc *doc_iterator_value(void *iterator)
{
    return outside(json_object_iter_value(iterator));
}

const char *doc_show(const struct doc *value, char *buffer, size_t size)
{
    const json_t *json = inside(value);
    char *text;

    if (json_is_string(json))
        return json_string_value(json);
    if (!json || json_is_null(json))
        return "-";
    text = doc_print(value, false);
    snprintf(buffer, size, "%s", text);
    free(text);
    return buffer;
}

struct doc *doc_child(struct doc *doc, const char *key)
{
    return outside(json_object_get(inside(doc), key));
}

struct doc *doc_child_at(struct doc *doc, size_t i)
{
    return outside(json_array_get(inside(doc), i));
}

void doc_set(struct doc *doc, const char *key, struct doc *child)
{
    ensure(!json_object_set_new(inside(doc), key, inside(child)));
}

void doc_set_text(struct doc *doc, const char *key, const char *text)
{
    doc_set(doc, key, outside(text_value(text)));
}

void doc_set_int(struct doc *doc, const char *key, int64_t value)
{
    doc_set(doc, key, outside(json_integer(value)));
}

void doc_set_uint(struct doc *doc, const char *key, uint64_t value)
{
    doc_set_int(doc, key, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void doc_set_bool(struct doc *doc, const char *key, bool value)
{
    doc_set(doc, key, outside(json_boolean(value)));
}

void doc_set_time(struct doc *doc, const char *key, uint64_t ns)
{
    char text[UNITS_TEXT_SIZE];

    if (ns)
        doc_set_text(doc, key, units_format_time(ns, text));
    else
        doc_set_null(doc, key);
}

void doc_set_null(struct doc *doc, const char *key)
{
    doc_set(doc, key, outside(json_null()));
}

void doc_append(struct doc *doc, struct doc *child)
{
    ensure(!json_array_append_new(inside(doc), inside(child)));
}

void doc_append_text(struct doc *doc, const char *text)
{
    doc_append(doc, outside(text_value(text)));
}

/* jansson refuses text that is not UTF-8 (a file name, a statement): then with '?' for the bytes
 * that are not ASCII. */
static json_t *text_value(const char *text)
{
    json_t *json = json_string(text);
    char *copy;

    if (json)
        return json;
    copy = strdup(text);
    ensure(copy);
    for (char *c = copy; *c; c++)
        if (*c & 0x80)
            *c = '?';
    json = json_string(copy);
    free(copy);
    ensure(json);
    return json;
}
