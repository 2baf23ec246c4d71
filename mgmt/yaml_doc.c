#include "yaml_doc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "files.h"

enum { DEPTH_MAX = 32 };

struct level {
    struct doc *doc; /* an object or an array; the root's owner has it */
    char *key;       /* of an object: the value that comes belongs to it; null: a key comes */
    bool is_object;
};

struct reading {
    struct level level[DEPTH_MAX];
    unsigned n;
    struct doc *root;
    const char *wrong;
};

static struct doc *parse(yaml_parser_t *parser, const char *path, char *reterr_text);
static void take(struct reading *reading, const yaml_event_t *event);
static void open_level(struct reading *reading, struct doc *doc, bool is_object);
static void close_level(struct reading *reading);
static void put_text(struct reading *reading, const char *text);

struct doc *yaml_doc_read(const char *path, size_t size_max,
                          char reterr_text[static DOC_ERROR_SIZE])
{
    yaml_parser_t parser;
    struct doc *doc;
    size_t size;
    char *text;
    int err = file_read(path, size_max, &text, &size);

    if (err) {
        snprintf(reterr_text, DOC_ERROR_SIZE, "%.160s: %s", path, strerror(-err));
        return NULL;
    }
    if (!yaml_parser_initialize(&parser)) {
        snprintf(reterr_text, DOC_ERROR_SIZE, "%.160s: out of memory", path);
        free(text);
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    doc = parse(&parser, path, reterr_text);
    yaml_parser_delete(&parser);
    free(text);
    return doc;
}

static struct doc *parse(yaml_parser_t *parser, const char *path, char *reterr_text)
{
    struct reading reading = {0};
    bool end = false;

    while (!end && !reading.wrong) {
        yaml_event_t event;

        if (!yaml_parser_parse(parser, &event)) {
            snprintf(reterr_text, DOC_ERROR_SIZE, "%.120s:%zu: not YAML: %.100s", path,
                     parser->problem_mark.line + 1, parser->problem ? parser->problem : "?");
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        take(&reading, &event);
        if (reading.wrong)
            snprintf(reterr_text, DOC_ERROR_SIZE, "%.120s:%zu: %s", path, event.start_mark.line + 1,
                     reading.wrong);
        yaml_event_delete(&event);
    }
    while (reading.n)
        free(reading.level[--reading.n].key);
    if (end && !reading.wrong && reading.root)
        return reading.root;
    if (end && !reading.wrong)
        snprintf(reterr_text, DOC_ERROR_SIZE, "%.160s: is empty", path);
    if (reading.root)
        doc_free(reading.root);
    return NULL;
}

static void take(struct reading *reading, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (reading->root)
            reading->wrong = "a second document: only one is allowed";
        break;
    case YAML_ALIAS_EVENT:
        reading->wrong = "an alias (*): write the value out";
        break;
    case YAML_SCALAR_EVENT:
        put_text(reading, (const char *)event->data.scalar.value);
        break;
    case YAML_MAPPING_START_EVENT:
        open_level(reading, doc_object(), true);
        break;
    case YAML_SEQUENCE_START_EVENT:
        open_level(reading, doc_array(), false);
        break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        close_level(reading);
        break;
    default:
        break;
    }
}

static void open_level(struct reading *reading, struct doc *doc, bool is_object)
{
    struct level *level = reading->n ? &reading->level[reading->n - 1] : NULL;

    if (reading->n == DEPTH_MAX) {
        reading->wrong = "more than 32 levels";
    } else if (!level) {
        reading->root = doc;
    } else if (!level->is_object) {
        doc_append(level->doc, doc);
    } else if (level->key) {
        doc_set(level->doc, level->key, doc);
        free(level->key);
        level->key = NULL;
    } else {
        reading->wrong = "a key must be a text";
    }
    if (reading->wrong) {
        doc_free(doc);
        return;
    }
    reading->level[reading->n++] = (struct level){.doc = doc, .is_object = is_object};
}

static void close_level(struct reading *reading)
{
    free(reading->level[--reading->n].key);
}

static void put_text(struct reading *reading, const char *text)
{
    struct level *level = reading->n ? &reading->level[reading->n - 1] : NULL;

    if (!level) {
        reading->wrong = "a mapping is expected";
    } else if (!level->is_object) {
        doc_append_text(level->doc, text);
    } else if (level->key) {
        doc_set_text(level->doc, level->key, text);
        free(level->key);
        level->key = NULL;
    } else {
        level->key = strdup(text);
        if (!level->key)
            reading->wrong = "out of memory";
    }
}
