/* check.h - what a statement may not have been meant to say: the warnings of section 12 of the
 * specification, by their numbers there.
 *
 *     check.c          walks the tree: grouping, missing paths, `!`, limit, parts never reached
 *     check_path.c     what a path means in the table of fields
 *     check_compare.c  comparisons that never or always hold, patterns, numbers
 *
 * Inside kfl-jit only. One thread. */
#ifndef KFL_CHECK_H
#define KFL_CHECK_H

#include "value.h"

struct check {
    const struct kfl_statement *statement;
    struct kfl_messages *messages;
    const struct ast *limit; /* the one that counts */
    uint32_t protos;         /* whose entries get here: others end before it */
};

enum check_path_kind {
    CHECK_OPEN,    /* cannot be said: wildcards, documents */
    CHECK_ROW,     /* rows of fields.def, or an object that rows are in */
    CHECK_MAP_KEY, /* a free key of a map */
    CHECK_UNKNOWN, /* no entry has it */
};

enum { CHECK_PATH_MAX = 256 };
#define CHECK_TYPE(type) (UINT32_C(1) << KFL_TYPE_##type)
#define CHECK_OBJECTS    (CHECK_TYPE(OBJECT) | CHECK_TYPE(MAP) | CHECK_TYPE(NULL))

struct check_path {
    enum check_path_kind kind;
    char text[CHECK_PATH_MAX];  /* as in fields.def, up to where the rows end */
    enum kfl_stage stage;       /* when it is known, at the latest */
    uint32_t protos;            /* whose entries can have it */
    uint32_t types;             /* set of enum kfl_type; 0: cannot be said */
    bool can_miss;              /* some entries do not have it */
    bool in_array;              /* an element of an array, or the members of all */
    const struct ast_step *bad; /* of CHECK_UNKNOWN: where it leaves the table */
};

#define CHECK_ALL_PROTOS ((UINT32_C(1) << KFL_PROTO_COUNT) - 1)

/* ---- check.c ---- */
/* Adds the warnings about a statement. */
void check_warnings(const struct kfl_statement *statement, struct kfl_messages *messages);
void check_say(struct check *check, uint32_t offset, unsigned warning, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Can a path in it be missing and end the expression around it? */
bool check_can_miss(const struct ast *node);

/* ---- check_path.c ---- */
void check_resolve(const struct ast_path *path, struct check_path *ret_path);
/* Warnings about a path by itself: 4, 12, 15, 20. */
void check_path_warnings(struct check *check, const struct ast *node);
/* Protocols whose entries can make it true. */
uint32_t check_protos(const struct ast *node);

/* ---- check_compare.c ---- */
/* Warnings about one comparison: 5, 7, 10, 13, 19. */
void check_comparison(struct check *check, enum ast_op op, const struct ast *left,
                      const struct ast *right);
/* The values a field can have, as `a, b, c`; null: any. */
const char *check_values(const char *path, char *buffer, size_t size);

#endif
