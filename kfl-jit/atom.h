/* atom.h - one comparison or match each, shared by all jobs; grouped by what they look at.
 *
 *     subject   a path: `request.headers["Host"]`, with its row for each protocol
 *       atom    one test of its value against a constant: == "db", > 5, startsWith("/api"), r"..."
 *
 * What is known of all atoms is an array of cells (code.h), indexed by number of atom. A subject's
 * value fills the bytes of all its atoms in one go: numbers by one search over sorted thresholds,
 * equality of text by one hash, patterns by one scan (patterns.h).
 *
 * A test that no subject covers (field against field, `..`, json()) is a general atom: the tree
 * of its expression, evaluated over the entry as JSON.
 *
 * Built by one thread while a plan is created; constant afterwards. */
#ifndef KFL_ATOM_H
#define KFL_ATOM_H

#include "path.h"
#include "patterns.h"
#include "program.h"
#include "value.h"

enum atom_op {
    ATOM_TRUTH,     /* truth(v) */
    ATOM_NOT,       /* truth(!v): a bool is turned, all else keeps its truth */
    ATOM_NOT_GROUP, /* truth(!(v)): the same, and true when it is missing */
    ATOM_NEGATIVE,  /* truth(-v) */
    ATOM_EQUAL,     /* v == constant */
    ATOM_REGEX,     /* v == r"..." */
    ATOM_LESS,      /* v < constant ... */
    ATOM_LESS_EQUAL,
    ATOM_GREATER,
    ATOM_GREATER_EQUAL,
    ATOM_STARTS_WITH, /* these three: a missing value makes them false */
    ATOM_ENDS_WITH,
    ATOM_CONTAINS,
    ATOM_GENERAL,
    ATOM_OP_COUNT
};

enum { SUBJECT_NONE = UINT32_MAX };

struct atom {
    uint32_t subject;         /* SUBJECT_NONE of a general atom */
    uint8_t op;               /* enum atom_op */
    uint8_t absent;           /* outcome where the path has no value, a set of one */
    bool scanned;             /* one of the subject\'s patterns */
    uint8_t prefix_size;      /* bytes behind the ^ of a pattern that its text must begin with */
    char then;                /* all that it asks besides: this, or the end; 0: something else */
    bool numeric;             /* the constant of == is a number */
    struct kfl_number number; /* num(constant) */
    struct kfl_slice text;    /* text(constant), or the pattern */
    const struct kfl_regex *regex;
    /* of a general atom */
    const struct ast *tree;
    const struct kfl_statement *statement;
};

struct subject {
    struct ast_path path;
    struct path_place place[KFL_PROTO_COUNT];
    uint32_t *atom, n, capacity; /* its atoms */
    struct patterns *patterns;   /* of its atoms that are scanned for; null: none */
};

struct atoms {
    struct atom *atom;
    struct subject *subject;
    uint32_t n_atoms, n_subjects, atom_capacity, subject_capacity;
    char **text; /* of numbers, made here */
    uint32_t n_texts, text_capacity;
    bool no_memory;
};

void atoms_init(struct atoms *atoms);
void atoms_done(struct atoms *atoms);

/* ---- building; equal ones get the same number ---- */
uint32_t atoms_subject(struct atoms *atoms, const struct ast_path *path);
/* constant: null for TRUTH, NOT, NEGATIVE */
uint32_t atoms_atom(struct atoms *atoms, uint32_t subject, enum atom_op op,
                    const struct kfl_value *constant, struct kfl_slice pattern);
uint32_t atoms_general(struct atoms *atoms, const struct kfl_statement *statement,
                       const struct ast *tree);

/* When all are made: patterns on one subject are put together. -> 0 or -ENOMEM */
int atoms_make_patterns(struct atoms *atoms);

/* ---- asking ---- */
/* What is filled: cells by number of atom. Without a scratch patterns are tried one by one. */
struct cells {
    uint8_t *cell;
    struct patterns_scratch *scratch;
};

/* Does it hold for this single value (not an array)? Not for general atoms. */
bool atom_holds(const struct atom *atom, const struct kfl_value *value);
/* Outcomes where nothing is known but whether the path may be missing. */
static inline uint8_t atom_unknown(const struct atom *atom, bool may_miss)
{
    return may_miss ? MAY_BOTH | atom->absent : MAY_BOTH;
}

/* Fill the cells of all atoms of a subject. */
void subject_absent(const struct atoms *atoms, const struct subject *subject,
                    const struct cells *cells);
void subject_unknown(const struct atoms *atoms, const struct subject *subject, bool may_miss,
                     const struct cells *cells);
void subject_value(const struct atoms *atoms, const struct subject *subject,
                   const struct kfl_value *value, const struct cells *cells);
/* A value that is an int and can only grow. */
void subject_at_least(const struct atoms *atoms, const struct subject *subject, int64_t value,
                      const struct cells *cells);
/* An array, or several values: begin, then each element. With `growing`, elements may be added to
 * it, so only what holds already is settled. */
void subject_array(const struct atoms *atoms, const struct subject *subject, bool empty,
                   bool growing, const struct cells *cells);
void subject_element(const struct atoms *atoms, const struct subject *subject,
                     const struct kfl_value *value, const struct cells *cells);

#endif
