/* program.h - the boolean part of statements: one graph of and, or, not, group for all jobs.
 *
 * A leaf of the graph is an atom (atom.h). What is known of a leaf or a node is the set of what
 * it may still turn out to be: true, false, absent (a path without value, which ends the
 * expression around it). One element: settled.
 *
 *     not x        swaps true and false; absent stays
 *     group x      absent becomes false (parentheses, a macro, the whole statement)
 *     l and r      may be true if both may; false otherwise
 *     l or r       true if l may be true, or l may be false and r true; a collapse on the left
 *                  is not rescued by the right
 *
 * The result of and, or stands on the right of another one or at the top of a group, where absent
 * and false are the same, so it never holds absent.
 *
 * Equal nodes are one node; a child has a lower number than its parents, so a walk in the order of
 * numbers needs no recursion. A graph only grows: programs for one protocol are made by
 * program_specialise() in the same graph and so share what they have in common.
 *
 * Built by one thread while a plan is created; constant afterwards. */
#ifndef KFL_PROGRAM_H
#define KFL_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

/* A set of outcomes. */
enum { MAY_TRUE = 1, MAY_FALSE = 2, MAY_ABSENT = 4, MAY_BOTH = 3, MAY_ALL = 7 };

enum node_op {
    NODE_CONST, /* a: the set */
    NODE_ATOM,  /* a: the atom */
    NODE_NOT,   /* a: node */
    NODE_GROUP, /* a: node */
    NODE_AND,   /* a, b: nodes */
    NODE_OR,    /* a, b: nodes */
};

struct node {
    uint8_t op;  /* enum node_op */
    uint8_t may; /* what it can be at most */
    uint32_t a, b;
};

struct program {
    struct node *node; /* the first MAY_ALL + 1 are the constants, by set */
    uint32_t n, capacity;
    uint32_t *table; /* hash of nodes, open addressing; 0 is free (no real node looks for it) */
    uint32_t table_size;
    bool no_memory; /* node 0 came back for want of memory */
};

void program_init(struct program *program);
void program_done(struct program *program);

uint32_t program_const(struct program *program, uint8_t may);
uint32_t program_atom(struct program *program, uint32_t atom, uint8_t may);
uint32_t program_not(struct program *program, uint32_t a);
uint32_t program_group(struct program *program, uint32_t a);
uint32_t program_and(struct program *program, uint32_t a, uint32_t b);
uint32_t program_or(struct program *program, uint32_t a, uint32_t b);

/* Rewrites nodes 0..n-1 with each atom replaced by what `leaf` says of it: a smaller set, or
 * MAY_ALL + 1 + set to settle on a constant. map[old] = new for all n. */
typedef uint8_t program_leaf(void *context, uint32_t atom);
enum { LEAF_CONST = 8 }; /* added to the set: not to be asked again, unknown for good */
void program_specialise(struct program *program, uint32_t n, program_leaf *leaf, void *context,
                        uint32_t *map);

/* What a node may be, from what its children may be. */
static inline uint8_t program_not_may(uint8_t a)
{
    return (uint8_t)((a & MAY_ABSENT) | (a & MAY_TRUE) << 1 | (a & MAY_FALSE) >> 1);
}

static inline uint8_t program_group_may(uint8_t a)
{
    return (uint8_t)((a & MAY_BOTH) | (a & MAY_ABSENT) >> 1);
}

static inline uint8_t program_and_may(uint8_t l, uint8_t r)
{
    uint8_t t = l & r & 1;
    uint8_t f = (uint8_t)(l >> 1 | l >> 2 | (l & (r >> 1 | r >> 2))) & 1;

    return (uint8_t)(t | f << 1);
}

static inline uint8_t program_or_may(uint8_t l, uint8_t r)
{
    uint8_t t = (uint8_t)(l | (l >> 1 & r)) & 1;
    uint8_t f = (uint8_t)(l >> 2 | (l >> 1 & (r >> 1 | r >> 2))) & 1;

    return (uint8_t)(t | f << 1);
}

#endif
