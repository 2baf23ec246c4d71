/* sieve.h - many jobs at once: most statements are terms joined by `and`, and each term looks at
 * one value. So a value is looked up once for all jobs, and what comes out is the set of those
 * that are dead with it:
 *
 *     packet terms     one native program over the stream
 *     numbers          one search over sorted thresholds
 *     text ==          one look into a hash table
 *     other tests      one by one, or by one scan; only if a job that is not dead watches them
 *
 * A job none of whose terms killed it has matched. A job with another kind of term (`or` between
 * values, field against field) goes through the others first and is then evaluated as a whole.
 *
 * What is not on a tape is empty. So a job starts as killed by each value that is empty where that
 * kills it, one plane for each of its values, and a value that comes clears its bit.
 *
 * Built with the plan, constant afterwards. */
#ifndef KFL_SIEVE_H
#define KFL_SIEVE_H

#include "atom.h"
#include "code.h"
#include "packet_test.h"

enum { SIEVE_PLANES = 4 };

/* Slots that an atom kills when it is true, false, absent. */
struct sieve_atom {
    uint64_t on_true, on_false, on_absent;
};

struct sieve_range {
    int64_t from; /* up to the next one */
    uint64_t kill;
};

struct sieve_text {
    struct kfl_slice text;
    uint64_t kill;
};

/* A subject as the jobs of one protocol see it. */
struct sieve_row {
    uint32_t subject;
    uint16_t field;
    uint64_t watch;               /* slots that look at it */
    uint64_t plane[SIEVE_PLANES]; /* ... by plane; each slot in one */
    const struct ast_step *key;   /* a member of a map; null: the row itself, or more steps */
    bool steps;                   /* more steps */
    uint64_t of_null, of_object, of_bool[2];
    struct sieve_range *range; /* of ints; null: they are not looked up */
    uint32_t n_ranges;
    struct sieve_text *text; /* hash table of 2^text_bits places; null: no == */
    unsigned text_bits;
    uint64_t text_miss; /* killed by a text that is none of them */
    uint32_t *test;     /* atoms that are tried on a text one by one, the costly ones last */
    uint32_t n_cheap, n_tests;
    uint64_t costly; /* slots that the costly ones can kill */
};

struct sieve {
    struct sieve_row *row; /* those on tapes by field, then the others */
    uint32_t n_rows, first_fact;
    struct {
        uint16_t first, n;
    } field[KFL_FIELD_COUNT]; /* rows of a field on a tape */
    struct sieve_atom *atom;
    uint64_t slots;                       /* settled here */
    uint64_t rest;                        /* evaluated by `whole` unless they are dead */
    uint64_t dead;                        /* whatever comes */
    uint64_t pending[3][3][SIEVE_PLANES]; /* by side_state of request and response */
    uint64_t open[3][3];
    struct code packet; /* kills what packet facts kill */
    struct code whole;  /* of `rest` */
};

/* What is known of slots so far. */
struct sieve_fate {
    uint64_t dead, open; /* open: not known yet, unless dead */
    uint64_t pending[SIEVE_PLANES];
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

/* The first eight bytes of a text, zeros behind its end. */
static inline uint64_t sieve_head(const char *text, uint32_t size)
{
    uint64_t head = 0;

    if (size >= 8) {
        __builtin_memcpy(&head, text, 8);
    } else if (size >= 4) {
        uint32_t low, high;

        __builtin_memcpy(&low, text, 4);
        __builtin_memcpy(&high, text + size - 4, 4);
        head = low | (uint64_t)high << 8 * (size - 4);
    } else if (size) {
        head = (uint8_t)text[0] | (uint64_t)(uint8_t)text[size / 2] << 8 * (size / 2) |
               (uint64_t)(uint8_t)text[size - 1] << 8 * (size - 1);
    }
    return head;
}

#endif
