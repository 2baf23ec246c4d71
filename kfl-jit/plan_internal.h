/* plan_internal.h - what a plan is made of. Only for the plan's own files:
 *
 *     plan.c       creation: lowering, what is filled from where, workers
 *     plan_code.c  specialising for each protocol and layer 4, native code
 *     sieve.c      jobs that are terms joined by `and`, put together
 *     ask.c        asking: filling atoms from facts, running code
 *     sift.c       asking about entries by a sieve
 *     explain.c    the plan as text
 */
#ifndef KFL_PLAN_INTERNAL_H
#define KFL_PLAN_INTERNAL_H

#include "atom.h"
#include "code.h"
#include "emit.h"
#include "facts.h"
#include "plan.h"
#include "sieve.h"

/* How a side of an entry stands: rows of the templates. */
enum side_state { SIDE_NULL, SIDE_OBJECT, SIDE_OPEN, SIDE_STATES };

/* A run in one of the plan's lists of subjects. */
struct subject_list {
    uint32_t first, n;
};

/* What is asked about entries of one protocol. Protocols whose jobs all have the same roots share
 * the code of the first one of them. */
struct plan_proto {
    struct code code;
    bool owns_code;
    uint32_t root[KFL_SLOT_MAX];  /* node of each slot */
    uint8_t *template;            /* SIDE_STATES x SIDE_STATES x n_atoms: request by response */
    struct subject_list subjects; /* rows of every entry: subject numbers */
    struct subject_list left;     /* ... those that native code does not test itself */
    struct subject_list general;  /* general atoms: atom numbers */
    struct sieve *sieve;          /* asks many jobs at once; null: `code` alone is run */
    uint64_t needs;               /* slots whose root reads what only entries tell */
    bool apart;                   /* some job means something else for it than for L4 entries */
};

/* What is asked about streams of one layer 4, before there is an entry. */
struct plan_stream {
    struct code code;
    struct subject_list subjects, left, general; /* as in plan_proto */
    uint64_t needs;                              /* kfl_plan_needs_entries_of() */
};
enum { PLAN_LAYER4 = 5 }; /* by number of the bit of enum kfl_l4 */

/* What a general atom reads of entries of a protocol. */
struct general_needs {
    bool entry;    /* something that a stream does not tell */
    bool response; /* something of stage R */
    bool end;      /* something of stage E that every entry has */
};

struct plan_worker {
    struct frame *frame; /* large enough for every code */
    struct patterns_scratch *scratch;
    struct kfl_arena *arena;
    struct facts_value value;     /* the one being looked at */
    struct kfl_stream turned;     /* the stream the other way round */
    struct sieve_missing missing[SIEVE_MISSING]; /* the last times */
};

struct kfl_plan {
    uint64_t slots;
    /* By number of the bit of enum kfl_l4: code that packet facts decide, in the mode that is set;
     * null: none. */
    jit_function *packet_native[PLAN_LAYER4];
    uint64_t limited; /* slots whose statements say limit(n) */
    uint64_t redacts; /* ... hide something */
    const struct kfl_statement *statement[KFL_SLOT_MAX];
    uint32_t whole[KFL_SLOT_MAX]; /* node of the statement, before it is specialised */
    struct atoms atoms;
    struct program program;
    struct general_needs (*general)[KFL_PROTO_COUNT]; /* by atom */
    struct plan_proto proto[KFL_PROTO_COUNT];
    struct plan_stream stream[PLAN_LAYER4];
    struct packet_test *test; /* by atom */
    enum kfl_plan_mode mode;
    struct subject_list stream_general;
    uint8_t *stream_template;                   /* n_atoms */
    struct subject_list field[KFL_FIELD_COUNT]; /* subjects that a node of this field fills */
    struct subject_list below[KFL_FIELD_COUNT]; /* subjects whose rows exist when this one does */
    uint32_t *list;                             /* the lists' numbers */
    uint32_t n_list, list_capacity;
    struct kfl_demand demand;
    unsigned n_workers;
    struct plan_worker *worker;
    uint32_t n_cells;
};

/* Makes all codes, from plan->whole. -> 0 or -ENOMEM */
int plan_make_code(struct kfl_plan *plan);

/* The code as native code. What is too large or cannot be had on this machine stays a tree.
 * -> 0 or -ENOMEM */
int plan_make_native_code(struct kfl_plan *plan, struct code *code);

/* ---- asking: ask.c, for sift.c ---- */
struct kfl_verdict plan_run(const struct kfl_plan *plan, struct plan_worker *worker,
                            const struct code *code, const struct kfl_stream *stream);
/* All atoms that the code reads are filled, then it is run. */
struct kfl_verdict plan_entry_whole(const struct kfl_plan *plan, struct plan_worker *worker,
                                    const struct kfl_entry *entry, const struct code *code);
/* Fill the cells of one subject's atoms. */
void plan_fill_fact(const struct kfl_plan *plan, struct plan_worker *worker, uint32_t subject,
                    const struct facts_value *value);
void plan_fill_value(const struct kfl_plan *plan, struct plan_worker *worker, uint32_t subject,
                     const struct kfl_value *value);
/* The member of an array's objects that a subject's path leads to (`request.questions[0].name`);
 * null: not to one that is written and no array, or the path is another one. */
const struct fact *plan_find_member(const struct kfl_plan *plan, uint32_t subject,
                                    enum kfl_proto proto, const struct fact *array);
void plan_fill_node(const struct kfl_plan *plan, struct plan_worker *worker, uint32_t subject,
                    enum kfl_proto proto, const struct fact *node);

static inline uint8_t *plan_cells(const struct plan_worker *worker)
{
    return worker->frame->cell + CODE_CELL_ATOMS;
}

static inline enum side_state plan_request_state(const struct kfl_entry *entry)
{
    return entry->request ? SIDE_OBJECT : SIDE_NULL;
}

static inline enum side_state plan_response_state(const struct kfl_entry *entry)
{
    return entry->response_open ? SIDE_OPEN : entry->response ? SIDE_OBJECT : SIDE_NULL;
}

/* ---- sift.c ---- */
struct kfl_verdict plan_sift(const struct kfl_plan *plan, struct plan_worker *worker,
                             const struct kfl_entry *entry, uint64_t ask);

/* What is known of an atom in every entry of a protocol over one or more of its transports: a set
 * of outcomes. */
uint8_t plan_leaf_of(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto,
                     uint8_t layer4);

#endif
