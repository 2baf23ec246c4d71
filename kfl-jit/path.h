/* path.h - where a selector leads: rows of fields.def by protocol, and what is left of it.
 *
 *     request.headers["Host"]    HTTP...: row HTTP_REQUEST_HEADERS, rest ["Host"]
 *     response.status            HTTP: an int row; MYSQL, POSTGRESQL: a string row; DNS: absent
 *     request.questions[0].name  DNS: row DNS_REQUEST_QUESTIONS, rest [0] .name
 *     conn                       an object of every entry that has no row of its own
 *
 * Any thread; nothing is allocated. */
#ifndef KFL_PATH_H
#define KFL_PATH_H

#include "ast.h"

enum path_kind {
    PATH_ABSENT, /* no entry of this protocol has it */
    PATH_ROW,
    PATH_OBJECT,  /* an object whose members are rows, always there */
    PATH_GENERAL, /* cannot be followed without the whole value (`..`, `.*` over objects) */
};

struct path_place {
    enum path_kind kind;
    uint16_t field;  /* enum kfl_field of PATH_ROW */
    uint16_t parent; /* the row above it that may be null, see path_parent() */
    uint16_t member; /* of an array's objects: row of the member that `rest` ends in, or none */
    uint32_t rest;   /* number of steps that lead to the row; those behind it are left */
};

enum { PATH_REST_MAX = 8 };

struct path_place path_resolve(const struct ast_path *path, enum kfl_proto proto);

/* Rows that a path reads at all in entries of this protocol: those it leads to, those below. */
bool path_reads(const struct ast_path *path, enum kfl_proto proto, enum kfl_field field);

/* The nearest row above that may be null (request.postData of request.postData.text),
 * KFL_FIELD_NONE when there is none besides request and response. */
enum kfl_field path_parent(enum kfl_field field);

/* Does a row belong to entries of this protocol? */
static inline bool path_in_proto(enum kfl_field field, enum kfl_proto proto)
{
    uint32_t protos = kfl_field_info[field].protos;

    return !protos || protos >> proto & 1;
}

/* Last component of a row's path. */
const char *path_leaf_name(enum kfl_field field);

/* The place of two paths in one: equal steps. */
bool path_equal(const struct ast_path *a, const struct ast_path *b);

#endif
