/* sieve.h - many jobs at once: most statements are terms joined by `and`, and each term looks at
 * one value. So a value is looked up once for all jobs, and what comes out is the set of those
 * that are dead with it:
 *
 *     packet terms     one native program over the stream
 *     numbers          one search over sorted thresholds
 *     text ==          one look into a hash table
 *     startsWith       its first eight bytes at once; endsWith: the last
 *     other tests      one by one, or by one scan; only if a job that is not dead watches them and
 *                      the text holds what they need (pairs.h)
 *
 * A job none of whose terms killed it has matched. A job with another kind of term (`or` between
 * values, field against field) goes through the others first and is then evaluated as a whole.
 *
 * What is not on a tape is empty: what has not come when it has been read kills as such.
 *
 * Built with the plan, constant afterwards. */
#ifndef KFL_SIEVE_H
#define KFL_SIEVE_H

#include "atom.h"
#include "code.h"
#include "packet_test.h"
#include "pairs.h"

enum { SIEVE_SMALL = 1024 }; /* ints below, as status codes are, are found without a search */
/* So many values of a tape one job may look at; so many words hold a bit for each of them. */
enum { SIEVE_VALUES = 4, SIEVE_WORDS = SIEVE_VALUES * KFL_SLOT_MAX / 64 };
enum { SIEVE_MISSING = 16 }; /* of so many kinds of entries it is remembered what did not come */

/* Slots that an atom kills when it is true, false, absent. */
struct sieve_atom {
    uint64_t on_true, on_false, on_absent;
};

struct sieve_range {
    int64_t from; /* up to the next one */
    uint64_t kill;
    uint64_t every, some; /* ... by this and all further ranges, by one of them */
};

struct sieve_text {
    struct kfl_slice text;
    uint64_t head; /* value_head() of it */
    uint64_t kill;
};

/* A test of how a text begins or ends. */
struct sieve_edge {
    uint64_t want, mask; /* of the first eight bytes, or of the last */
    struct kfl_slice text;
    bool at_end;
    bool more; /* these bytes alone do not say that it holds */
    uint64_t on_true, on_false;
};

/* Another test of a text, tried by itself. */
struct sieve_test {
    uint32_t atom;
    uint8_t pairs; /* one of them is in a text it holds for (pairs.h); 0: that is not known */
    uint64_t on_true, on_false;
};

/* What is known of slots so far. */
struct sieve_fate {
    uint64_t dead, open; /* open: not known yet, unless dead */
};

/* A subject as the jobs of one protocol see it. */
struct sieve_row {
    /* first line: every value */
    uint64_t watch; /* slots that look at it */
    uint32_t subject;
    uint16_t number; /* its place among the rows */
    uint16_t field;
    uint64_t key_head;
    const struct ast_step *key; /* a member of a map; null: the row itself, or more steps */
    uint32_t key_size;
    uint32_t n_ranges;
    struct sieve_range *range; /* of ints; null: they are not looked up */
    uint8_t *small;            /* range of each int from 0 on; null: they are searched */
    bool below;                /* the path goes on: a key, or more steps */
    uint8_t text_bits;
    uint16_t n_edges;
    uint32_t n_cheap;
    /* second line: a text */
    uint64_t of_text[2]; /* by truth alone: of a text that is empty, that is not */
    /* Bit set: an == or an edge may hold for a text that begins with this byte. */
    uint32_t begins[8];
    uint64_t none;   /* killed by a text that begins otherwise */
    uint64_t costly; /* slots that the costly ones can kill */
    /* third line: a text that may be one of them */
    struct sieve_text *text; /* hash table of 2^text_bits places; null: no == */
    uint64_t text_miss;      /* killed by a text that is none of them */
    struct sieve_edge *edge;
    struct sieve_test *test; /* comparisons as numbers, then the costly ones */
    struct pairs *pairs;     /* of the costly ones; null: none */
    uint64_t unpaired;       /* ... slots of those whose pairs are not known */
    uint64_t no_pair;        /* killed by a text without any pair */
    uint32_t n_tests;
    /* values of other types */
    uint64_t of_null, of_object, of_bool[2];
    struct sieve_fate unknown[2]; /* of a fact that is not known yet; that may be missing, too */
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct sieve_row, of_text) == 64 && offsetof(struct sieve_row, text) == 128,
               "as sift.c goes through it");

/* What rows that do not come kill, together: kept, for it is much the same from entry to entry. */
struct sieve_missing {
    const struct sieve_fate *empty; /* of a sieve_side */
    uint64_t rows[SIEVE_WORDS];
    struct sieve_fate fate;
};

/* How the slots stand when nothing has been read. */
struct sieve_side {
    struct sieve_fate fate;
    uint64_t awaited[SIEVE_WORDS]; /* rows that may come on a tape */
    struct sieve_fate *empty;      /* by row: if it does not come */
};

struct sieve {
    struct sieve_row *row; /* those on tapes by field, then the others */
    uint32_t n_rows, first_fact;
    struct {
        const struct sieve_row *row; /* the first of n */
        uint32_t n;
        uint64_t keyed;       /* those of the first 64 that are members of a map by their keys */
    } field[KFL_FIELD_COUNT]; /* rows of a field */
    struct sieve_atom *atom;
    uint64_t slots;               /* settled here */
    uint64_t rest;                /* evaluated by `whole` unless they are dead */
    uint64_t dead;                /* whatever comes */
    uint64_t of_request[SIEVE_WORDS]; /* rows of its tape */
    struct sieve_side side[3][3];     /* by side_state of request and response */
    struct sieve_fate *empty;     /* all of them */
    struct code packet;           /* kills what packet facts kill */
    struct code whole;            /* of `rest` */
};

struct kfl_plan;

/* -> 0 or -ENOMEM. Null in *ret_sieve: nothing is gained here. */
int sieve_create(struct kfl_plan *plan, enum kfl_proto proto, struct sieve **ret_sieve);
void sieve_free(struct sieve *sieve);
/* Adds what the cells of a subject's atoms mean. */
void sieve_cells(const struct sieve *sieve, const struct subject *subject, const uint8_t *cell,
                 struct sieve_fate *fate);

static inline uint32_t sieve_hash(uint64_t head, uint32_t size, unsigned bits)
{
    return (uint32_t)(((head ^ size) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - bits));
}

#endif
