/* ast.h - a statement as a tree, as the parser leaves it: immutable, freed with its statement.
 *
 *     statement   a.b == 5 and (x.json().c.contains("t") or http)
 *
 *     chain LOGIC  [and]
 *       chain EQUALITY  [==]
 *         select  a .b
 *         literal 5
 *       group
 *         chain LOGIC  [or]
 *           call CONTAINS "t"  on  decode JSON .c  of  select x
 *           group (macro http)
 *             chain EQUALITY  [==]  select protocol .abbr, literal "HTTP"
 *
 * A chain holds all operands of one level, in order. It is evaluated from left to right and grouped
 * to the right: a == b != c is a == (b != c). Parentheses, macros and record() are groups: an
 * expression that a missing path ends is the nearest group, else the whole statement.
 *
 * Inside kfl-jit only. Any thread may read. */
#ifndef KFL_AST_H
#define KFL_AST_H

#include "kfl.h"
#include "regex.h"

enum kfl_helper {
#define KFL_HELPER(id, name, subject, fewest, most, help) KFL_HELPER_##id,
#include "helpers.def"
#undef KFL_HELPER
    KFL_HELPER_COUNT
};

struct kfl_helper_info {
    const char *name;
    bool subject;
    uint32_t fewest, most;
    const char *help;
};
extern const struct kfl_helper_info kfl_helper_info[KFL_HELPER_COUNT];

/* ---- paths ---- */
enum ast_step_type {
    AST_KEY,   /* .name ["name"]: the member of that name */
    AST_INDEX, /* [n]; negative, from the end, only in paths of redact() */
    AST_ALL,   /* .* [*] */
    AST_DEEP,  /* ..name: at any depth, deepest first */
};

struct ast_step {
    enum ast_step_type type;
    uint32_t size;    /* bytes of the name, of AST_KEY and AST_DEEP */
    const char *name; /* not terminated */
    int64_t index;    /* of AST_INDEX */
    uint32_t offset;  /* in the statement, of the name, number or `*` */
};

struct ast_path {
    uint32_t n;
    const struct ast_step *step;
};

enum ast_document { AST_NO_DOCUMENT, AST_JSON, AST_XML };

/* A path of redact(): the first part leads into the entry, each further one into the document
 * that is in the text the part before leads to. Every part has at least one step. */
struct ast_redact_part {
    enum ast_document document; /* AST_NO_DOCUMENT of the first part */
    struct ast_path path;
};

struct ast_redact {
    uint32_t n;
    const struct ast_redact_part *part;
};

/* ---- nodes ---- */
enum ast_kind { AST_LITERAL, AST_SELECT, AST_DECODE, AST_CALL, AST_UNARY, AST_GROUP, AST_CHAIN };
enum ast_level { AST_LOGIC, AST_EQUALITY, AST_ORDER };
enum ast_op { AST_AND, AST_OR, AST_EQ, AST_NE, AST_LT, AST_LE, AST_GT, AST_GE };

struct ast_argument {
    struct kfl_value value; /* what the literals amount to */
    const char *text;       /* text(value), not terminated */
    uint32_t size;
    uint32_t offset; /* in the statement, of the argument or its label */
    bool label;      /* a label stands in front; means nothing */
};

struct ast {
    enum ast_kind kind;
    uint32_t offset, end; /* bytes in the statement: [offset, end); of a macro's inside: the word */
    union {
        struct {
            struct kfl_value value; /* null bool int float string, or regex */
            const char *pattern;    /* of a regex, as written */
            uint32_t pattern_size;
        } literal;
        struct ast_path select; /* from the entry; at least one step, the first an AST_KEY */
        struct {
            const struct ast *subject; /* select or decode */
            enum ast_document document;
            struct ast_path path; /* in the document; n may be 0: the document */
        } decode;
        struct {
            enum kfl_helper helper;    /* not JSON, XML, RECORD */
            bool bare;                 /* `now` without parentheses */
            const struct ast *subject; /* select or decode, where the helper has one; else null */
            uint32_t n_arguments;
            const struct ast_argument *argument;
            const struct ast_redact *redact; /* of redact(): one for each argument */
            struct kfl_value value; /* what the call is, of all but the three with a subject */
        } call;
        struct {
            char op; /* ! or - */
            const struct ast *operand;
        } unary;
        struct {
            const struct ast *inner;
            const char *macro; /* its word, terminated, or null */
            bool record;       /* written as record(...) */
        } group;
        struct {
            enum ast_level level;
            uint32_t n; /* operands, 2 or more; operators are one less */
            const struct ast *const *operand;
            const uint8_t *op; /* enum ast_op: op[i] stands between operand[i] and operand[i + 1] */
        } chain;
    };
};

/* ---- the statement ---- */
struct kfl_statement {
    char *text; /* terminated */
    size_t size;
    int64_t now_ms;
    int64_t limit;          /* 0: none */
    const struct ast *root; /* as if in parentheses */
    struct kfl_arena *arena;
    struct ast_regex *regexes; /* to be freed with it */
};

struct ast_regex {
    struct kfl_regex *regex;
    struct ast_regex *next;
};

/* A text as a message's column sees it: both from 1, the column in characters. */
void kfl_position(const char *text, size_t size, uint32_t offset, uint32_t *ret_line,
                  uint32_t *ret_column);
/* Adds a message; warning 0 is an error. messages may be null. */
void kfl_message_add(struct kfl_messages *messages, const char *text, size_t size, uint32_t offset,
                     unsigned warning, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The parser's entry: fills root, limit, regexes. -> 0 or -EINVAL with messages, -ENOMEM. */
int ast_parse(struct kfl_statement *statement, struct kfl_messages *messages);

#endif
