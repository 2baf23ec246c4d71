/* sift.c - asking about an entry by a sieve (sieve.h). */
#include <string.h>

#include "plan_internal.h"

enum { LATER_MAX = 16 };

/* A text whose costly tests wait until it is known who is still alive. */
struct later {
    const struct sieve_row *row;
    const char *text;
    uint32_t size;
};

struct sift {
    const struct kfl_plan *plan;
    const struct sieve *sieve;
    struct plan_worker *worker;
    enum kfl_proto proto;
    struct sieve_fate fate;
    struct later later[LATER_MAX];
    unsigned n_later;
};

static void sift_tape(struct sift *sift, const void *facts, uint32_t size, unsigned depth);
static void sift_map(struct sift *sift, const struct sieve_row *row, unsigned n,
                     const struct fact *map);
static void sift_steps(struct sift *sift, const struct sieve_row *row, const struct fact *node);
static void sift_facts(struct sift *sift, const struct kfl_entry *entry);
static inline void sift_node(struct sift *sift, const struct sieve_row *row,
                             const struct fact *node);
static void sift_value(struct sift *sift, const struct sieve_row *row,
                       const struct kfl_value *value);
static inline void sift_int(struct sift *sift, const struct sieve_row *row, int64_t value);
static void sift_text(struct sift *sift, const struct sieve_row *row, const char *text,
                      uint32_t size);
static void sift_costly(struct sift *sift, const struct sieve_row *row, const char *text,
                        uint32_t size);
static void sift_cells(struct sift *sift, const struct sieve_row *row);

static inline uint64_t dead_of(const struct sift *sift)
{
    uint64_t dead = sift->fate.dead;

    for (unsigned k = 0; k < SIEVE_PLANES; k++)
        dead |= sift->fate.pending[k];
    return dead;
}

struct kfl_verdict plan_sift(const struct kfl_plan *plan, struct plan_worker *worker,
                             const struct kfl_entry *entry, uint64_t ask)
{
    const struct sieve *sieve = plan->proto[entry->proto].sieve;
    enum side_state request = plan_request_state(entry), response = plan_response_state(entry);
    struct sift sift;
    uint64_t dead, rest;

    sift.plan = plan;
    sift.sieve = sieve;
    sift.worker = worker;
    sift.proto = entry->proto;
    sift.n_later = 0;
    sift.fate.dead = sieve->dead | (plan->slots & ~ask);
    sift.fate.open = sieve->open[request][response];
    memcpy(sift.fate.pending, sieve->pending[request][response], sizeof sift.fate.pending);
    if (sieve->packet.packet)
        sift.fate.dead |= plan_run(plan, worker, &sieve->packet, entry->stream).out;
    if ((sieve->slots | sieve->rest) & ~sift.fate.dead) {
        if (request == SIDE_OBJECT)
            sift_tape(&sift, entry->request->facts, entry->request->facts_size, 0);
        if (response == SIDE_OBJECT)
            sift_tape(&sift, entry->response->facts, entry->response->facts_size, 0);
        sift_facts(&sift, entry);
        for (unsigned i = 0; i < sift.n_later; i++)
            if (sift.later[i].row->costly & ~dead_of(&sift))
                sift_costly(&sift, sift.later[i].row, sift.later[i].text, sift.later[i].size);
    }
    dead = dead_of(&sift);
    rest = sieve->rest & ~dead;
    if (rest) {
        struct kfl_verdict verdict = plan_entry_whole(plan, worker, entry, &sieve->whole);

        return (struct kfl_verdict){(sieve->slots & ~(dead | sift.fate.open)) |
                                        (verdict.matched & rest),
                                    (dead & ~rest) | (verdict.out & rest)};
    }
    return (struct kfl_verdict){sieve->slots & ~(dead | sift.fate.open), dead};
}

/* Rows of a half, and of the objects in it. */
static void sift_tape(struct sift *sift, const void *facts, uint32_t size, unsigned depth)
{
    FACT_EACH(node, facts, size)
    {
        const struct sieve_row *row = sift->sieve->row + sift->sieve->field[node->field].first;
        unsigned n = sift->sieve->field[node->field].n;

        if (n && node->type == FACT_MAP) {
            sift_map(sift, row, n, node);
            continue;
        }
        for (; n; n--, row++) {
            if (!(row->watch & ~sift->fate.dead))
                continue;
            if (row->key || row->steps || node->type == FACT_ARRAY)
                sift_steps(sift, row, node);
            else
                sift_node(sift, row, node);
        }
        if (node->type == FACT_OBJECT && depth < FACT_DEPTH_MAX)
            sift_tape(sift, fact_value_of(node), node->value_size, depth + 1);
    }
}

/* All rows of one map: its members are looked at once. */
static void sift_map(struct sift *sift, const struct sieve_row *row, unsigned n,
                     const struct fact *map)
{
    uint64_t left = 0; /* rows that look for a key */

    for (unsigned i = 0; i < n; i++) {
        if (!(row[i].watch & ~sift->fate.dead))
            continue;
        if (row[i].key && i < 64)
            left |= UINT64_C(1) << i;
        else
            sift_steps(sift, &row[i], map);
    }
    if (!left)
        return;
    FACT_EACH(child, fact_value_of(map), map->value_size)
    {
        for (uint64_t rows = left; rows; rows &= rows - 1) {
            const struct sieve_row *one = &row[__builtin_ctzll(rows)];

            if (one->key->size != child->key_size || child->field ||
                memcmp(fact_key_of(child), one->key->name, child->key_size))
                continue;
            left &= ~(rows & -rows);
            if (child->type == FACT_ARRAY)
                sift_steps(sift, one, map);
            else
                sift_node(sift, one, child);
            break;
        }
    }
}

/* What takes more than one look: the cells of its atoms are filled as for a whole evaluation. */
static void sift_steps(struct sift *sift, const struct sieve_row *row, const struct fact *node)
{
    plan_fill_node(sift->plan, sift->worker, row->subject, sift->proto, node);
    sift_cells(sift, row);
}

/* What every entry has; only what somebody still asks for. */
static void sift_facts(struct sift *sift, const struct kfl_entry *entry)
{
    struct facts facts = {.stream = entry->stream, .entry = entry, .proto = entry->proto};
    struct facts_value *value = &sift->worker->value;

    for (uint32_t i = sift->sieve->first_fact; i < sift->sieve->n_rows; i++) {
        const struct sieve_row *row = &sift->sieve->row[i];

        if (!(row->watch & ~dead_of(sift)))
            continue;
        facts_get(&facts, row->field, value);
        if (value->kind == FACTS_VALUE && !row->steps && !row->key) {
            sift_value(sift, row, &value->value);
            continue;
        }
        plan_fill_fact(sift->plan, sift->worker, row->subject, value);
        sift_cells(sift, row);
    }
}

static inline void come(struct sift *sift, const struct sieve_row *row)
{
    for (unsigned k = 0; k < SIEVE_PLANES; k++)
        sift->fate.pending[k] &= ~row->plane[k];
}

/* A value on a tape. Texts and ints are most of them: they are not put together first. */
static inline void sift_node(struct sift *sift, const struct sieve_row *row,
                             const struct fact *node)
{
    struct kfl_value value;

    if (node->type == FACT_STRING) {
        come(sift, row);
        sift_text(sift, row, fact_value_of(node), node->value_size);
    } else if (node->type == FACT_INT && row->range) {
        come(sift, row);
        sift_int(sift, row, fact_int_of(node));
    } else {
        value = value_of_fact(node);
        sift_value(sift, row, &value);
    }
}

static void sift_value(struct sift *sift, const struct sieve_row *row,
                       const struct kfl_value *value)
{
    come(sift, row);
    if (value->type == KFL_STRING) {
        sift_text(sift, row, value->text, value->size);
    } else if (value->type == KFL_INT && row->range) {
        sift_int(sift, row, value->integer);
    } else if (value->type == KFL_BOOL) {
        sift->fate.dead |= row->of_bool[value->boolean];
    } else if (value->type == KFL_NULL || value->type == KFL_OBJECT) {
        sift->fate.dead |= value->type == KFL_NULL ? row->of_null : row->of_object;
    } else {
        plan_fill_value(sift->plan, sift->worker, row->subject, value);
        sift_cells(sift, row);
    }
}

static inline void sift_int(struct sift *sift, const struct sieve_row *row, int64_t value)
{
    uint32_t at = 0;

    for (uint32_t n = row->n_ranges; n > 1; n -= n / 2)
        at += row->range[at + n / 2].from <= value ? n / 2 : 0;
    sift->fate.dead |= row->range[at].kill;
}

static inline bool holds_for_text(const struct atom *atom, const char *text, uint32_t size)
{
    uint32_t n = (uint32_t)atom->text.size;

    if (atom->op == ATOM_STARTS_WITH)
        return size >= n &&
               (!n || (*text == *atom->text.text && !memcmp(text, atom->text.text, n)));
    if (atom->op == ATOM_ENDS_WITH)
        return size >= n && (!n || (text[size - 1] == atom->text.text[n - 1] &&
                                    !memcmp(text + size - n, atom->text.text, n)));
    return atom_holds(atom, &(struct kfl_value){.type = KFL_STRING, .text = text, .size = size});
}

static void sift_text(struct sift *sift, const struct sieve_row *row, const char *text,
                      uint32_t size)
{
    const struct atom *atoms = sift->plan->atoms.atom;
    uint64_t dead = sift->fate.dead;

    if (row->text) {
        uint32_t at = sieve_hash(sieve_head(text, size), size, row->text_bits);
        uint64_t kill = row->text_miss;

        for (const struct sieve_text *one; (one = &row->text[at])->text.text;
             at = (at + 1) & ((1u << row->text_bits) - 1)) {
            if (one->text.size == size && !memcmp(one->text.text, text, size)) {
                kill = one->kill;
                break;
            }
        }
        dead |= kill;
    }
    for (uint32_t i = 0; i < row->n_cheap; i++) {
        const struct sieve_atom *kills = &sift->sieve->atom[row->test[i]];

        if ((kills->on_true | kills->on_false) & ~dead)
            dead |=
                holds_for_text(&atoms[row->test[i]], text, size) ? kills->on_true : kills->on_false;
    }
    sift->fate.dead = dead;
    if (!(row->costly & ~dead))
        return;
    if (sift->n_later == LATER_MAX || row >= sift->sieve->row + sift->sieve->first_fact)
        sift_costly(sift, row, text, size);
    else
        sift->later[sift->n_later++] = (struct later){row, text, size};
}

/* Patterns: one scan, or one by one those that somebody still watches. */
static void sift_costly(struct sift *sift, const struct sieve_row *row, const char *text,
                        uint32_t size)
{
    const struct atoms *atoms = &sift->plan->atoms;
    const struct subject *subject = &atoms->subject[row->subject];
    uint8_t *cell = plan_cells(sift->worker);
    bool scanned = false, tried = false;

    for (uint32_t i = row->n_cheap; i < row->n_tests; i++) {
        const struct atom *atom = &atoms->atom[row->test[i]];
        const struct sieve_atom *kills = &sift->sieve->atom[row->test[i]];
        bool holds;

        if (!((kills->on_true | kills->on_false) & ~sift->fate.dead))
            continue;
        if (atom->prefix_size > size ||
            (atom->prefix_size && memcmp(text, atom->text.text + 1, atom->prefix_size))) {
            sift->fate.dead |= kills->on_false;
            continue;
        }
        if (atom->scanned && !tried) {
            for (uint32_t k = row->n_cheap; k < row->n_tests; k++)
                cell[row->test[k]] = CELL_FALSE;
            tried = true;
            scanned = patterns_scan(subject->patterns, sift->worker->scratch, text, size, cell,
                                    CELL_TRUE);
        }
        holds = atom->scanned && scanned ? cell[row->test[i]] == CELL_TRUE
                                         : holds_for_text(atom, text, size);
        sift->fate.dead |= holds ? kills->on_true : kills->on_false;
    }
}

static void sift_cells(struct sift *sift, const struct sieve_row *row)
{
    come(sift, row);
    sieve_cells(sift->sieve, &sift->plan->atoms.subject[row->subject], plan_cells(sift->worker),
                &sift->fate);
}
