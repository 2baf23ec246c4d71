/* doc.h - JSON documents: control messages, recording.json, kubectl's lists. The door to jansson.
 *
 * A doc is a tree that its root's owner frees with doc_free(); members and elements are borrowed
 * from it. Asking a doc for a member it lacks, or for another type, gives the default: what comes
 * from outside needs no checks before it is read. Null is a doc that has nothing.
 *
 * Setting into an object or array takes over the child. Out of memory stops the process: mgmt
 * works with small documents. One thread at a time for one tree. */
#ifndef MGMT_DOC_H
#define MGMT_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DOC_ERROR_SIZE = 256 };

struct doc; /* object, array, or value */

/* One whole text. Null with the reason: "line 3: ..." */
struct doc *doc_parse(const char *text, size_t size, char reterr_text[static DOC_ERROR_SIZE]);
/* A file of at most size_max bytes. Null with the reason, which begins with the path. */
struct doc *doc_read(const char *path, size_t size_max, char reterr_text[static DOC_ERROR_SIZE]);
/* Replaces the file whole: a new one beside it, fsync, rename, fsync of the folder. -> 0, -errno */
int doc_write(const struct doc *doc, const char *path, unsigned mode);
char *doc_print(const struct doc *doc, bool pretty); /* malloc'ed, terminated, no newline */
void doc_free(struct doc *doc);

struct doc *doc_object(void);
struct doc *doc_array(void);
struct doc *doc_copy(const struct doc *doc);

const struct doc *doc_get(const struct doc *doc, const char *key);
const char *doc_text(const struct doc *doc, const char *key, const char *fallback);
int64_t doc_int(const struct doc *doc, const char *key, int64_t fallback);
uint64_t doc_uint(const struct doc *doc, const char *key, uint64_t fallback); /* not negative */
bool doc_bool(const struct doc *doc, const char *key, bool fallback);
uint64_t doc_time(const struct doc *doc, const char *key, uint64_t fallback_ns); /* RFC 3339 */
size_t doc_size(const struct doc *doc); /* elements of an array, members of an object */
const struct doc *doc_at(const struct doc *doc, size_t i);
const char *doc_text_at(const struct doc *doc, size_t i, const char *fallback);
bool doc_is_object(const struct doc *doc);

/* Members in their order. */
#define DOC_EACH_MEMBER(doc, iterator) \
    for (void *iterator = doc_iterate(doc, NULL); iterator; iterator = doc_iterate(doc, iterator))
void *doc_iterate(const struct doc *doc, void *iterator);
const char *doc_iterator_key(void *iterator);
const struct doc *doc_iterator_value(void *iterator);
/* For printing any value in a table: its text, number or JSON. */
const char *doc_show(const struct doc *value, char *buffer, size_t size);

/* For changing what is inside: the member or element itself, borrowed; null without. */
struct doc *doc_child(struct doc *doc, const char *key);
struct doc *doc_child_at(struct doc *doc, size_t i);
void doc_set(struct doc *doc, const char *key, struct doc *child);
void doc_set_text(struct doc *doc, const char *key, const char *text); /* not UTF-8: replaced */
void doc_set_int(struct doc *doc, const char *key, int64_t value);
void doc_set_uint(struct doc *doc, const char *key, uint64_t value); /* saturates at INT64_MAX */
void doc_set_bool(struct doc *doc, const char *key, bool value);
void doc_set_time(struct doc *doc, const char *key, uint64_t ns); /* 0: null */
void doc_set_null(struct doc *doc, const char *key);
void doc_append(struct doc *doc, struct doc *child);
void doc_append_text(struct doc *doc, const char *text);

#endif
