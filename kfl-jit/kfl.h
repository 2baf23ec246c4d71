/* kfl.h - the language: statements, values, and the naive evaluator that defines their meaning.
 *
 * A statement is compiled from text by kfl_statement_create(): lexed, parsed, checked. It is
 * immutable; any number of threads may read it. kfl_statement_eval() asks it about a JSON value
 * the plain way, node by node (the twin of the plan in plan.h). Source: SPEC of KFL v1, README.
 *
 * Values live in an arena (bounded, freed at once); they are never freed one by one. */
#ifndef KFL_H
#define KFL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h"

enum { KFL_STATEMENT_SIZE_MAX = 65536, KFL_NESTING_MAX = 200, KFL_JSON_DEPTH_MAX = 256 };

/* ---- memory: one bounded region, filled up and reset ---- */
struct kfl_arena;
struct kfl_arena *kfl_arena_create(size_t limit); /* bytes it may grow to, by blocks, kept on reset */
void kfl_arena_free(struct kfl_arena *arena);
void kfl_arena_reset(struct kfl_arena *arena);
void *kfl_arena_alloc(struct kfl_arena *arena, size_t size); /* 8 byte aligned; null at the limit */

/* ---- values (JSON, and regex while evaluating) ---- */
enum kfl_value_type { KFL_NULL, KFL_BOOL, KFL_INT, KFL_FLOAT, KFL_STRING, KFL_ARRAY, KFL_OBJECT,
                      KFL_REGEX };
struct kfl_value {
    enum kfl_value_type type;
    uint32_t size;             /* bytes of the string, number of children */
    union {
        bool boolean;
        int64_t integer;
        double number;
        const char *text;      /* not terminated */
        struct kfl_value *first; /* child: linked in document order */
        const struct kfl_regex *regex;
    };
    struct kfl_value *last, *next; /* last child; next sibling */
    const char *key;           /* of a member */
    uint32_t key_size;
};

/* RFC 8259 as the language reads it: ints that do not fit are floats, the last of two members
 * with one name counts. Null, with *reterr_ a constant text, when it is no JSON or too large.
 * Strings without escapes point into text, which must hold still as long as the value is used. */
struct kfl_value *kfl_json_parse(struct kfl_arena *arena, const char *text, size_t size,
                                 const char **reterr_what);
/* One line of JSON. -> bytes written without the final 0, or -ENOSPC. */
int kfl_json_print(const struct kfl_value *value, char *buffer, size_t size);

/* ---- statements ---- */
struct kfl_message {
    uint32_t line, column; /* from 1, in characters */
    uint32_t offset;       /* bytes into the statement */
    uint8_t warning;       /* 0: an error; else the number of the warning in the specification */
    char text[240];        /* what is wrong and what to write instead */
};

struct kfl_messages { /* what checking had to say */
    uint32_t n;
    bool more; /* there were more than fit */
    struct kfl_message message[32];
};

struct kfl_statement;

/* text: UTF-8, not terminated. now_ms: the time that now() and its kin are counted from.
 * -> 0, or -EINVAL: messages say why. Warnings come also with 0. messages may be null. */
int kfl_statement_create(const char *text, size_t size, int64_t now_ms,
                         struct kfl_statement **ret_statement, struct kfl_messages *messages);
void kfl_statement_free(struct kfl_statement *statement);
const char *kfl_statement_text(const struct kfl_statement *statement);
int64_t kfl_statement_limit(const struct kfl_statement *statement); /* 0: none */

/* The rules of a job beyond those of the language: record() and reading what was redacted are
 * errors. -> 0 or -EINVAL with messages. */
int kfl_statement_check_job(const struct kfl_statement *statement, struct kfl_messages *messages);
/* The same for a statement that is asked of recordings: there record() may be. */
int kfl_statement_check_stored(const struct kfl_statement *statement,
                               struct kfl_messages *messages);

/* Of a job, redact() changes nothing but what leaves as JSON, text or preview: the entry with all
 * its paths hidden. false: the arena is exhausted, the entry must not leave. */
bool kfl_statement_redacts(const struct kfl_statement *statement); /* is there any? */
bool kfl_statement_redact(const struct kfl_statement *statement, struct kfl_value *record,
                          struct kfl_arena *arena);
/* The greatest `timestamp` for which the statement can be true: a job has nothing more to find
 * when entries are younger. INT64_MAX: it never ends by itself. */
int64_t kfl_statement_last_ms(const struct kfl_statement *statement);

/* The truth of the statement for this record; redact() changes it. Cannot fail; if the arena is
 * exhausted the answer is false and *ret_exhausted is set (may be null). */
bool kfl_statement_eval(const struct kfl_statement *statement, struct kfl_value *record,
                        struct kfl_arena *arena, bool *ret_changed, bool *ret_exhausted);

/* One line of `tapedeck kfl eval`: {"query": text, "record": JSON} is answered with a line
 * {"truth", "error", "limit", "record"}, terminated, in the arena. Null: not even that fits. */
const char *kfl_answer(struct kfl_arena *arena, const char *line, size_t size, int64_t now_ms);

/* The statement with its grouping in parentheses and macros replaced. malloc'ed, null terminated. */
char *kfl_statement_show(const struct kfl_statement *statement);

/* "1:8: text" and, for people, the statement's line with a caret below. -> as snprintf. */
int kfl_message_format(const struct kfl_message *message, char *buffer, size_t size);
int kfl_message_caret(const struct kfl_message *message, const char *text, size_t text_size,
                      char *buffer, size_t size);

/* ---- entries as JSON ---- */
/* The entry as FIELDS.md describes it, every member present. Texts point into the entry, which
 * must hold still as long as the value is used. Null when the arena is full. */
struct kfl_value *kfl_entry_value(struct kfl_arena *arena, const struct kfl_entry *entry);

#endif
