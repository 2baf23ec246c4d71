/* sift.c - asking about an entry by a sieve (sieve.h). */
#include <string.h>

#include "plan_internal.h"

enum { LATER_MAX = 16 };

/* A text whose costly tests wait until it is known who is still alive. */
struct later {
    const struct sieve_row *row;
    const char *text;
    uint32_t size;
    uint8_t pairs; /* those that are in it */
};

struct sift {
    const struct kfl_plan *plan;
    const struct sieve *sieve;
    struct plan_worker *worker;
    enum kfl_proto proto;
    struct sieve_fate fate;
    uint64_t awaited[SIEVE_WORDS]; /* rows that have not come */
    struct later later[LATER_MAX];
    unsigned n_later;
};

static void sift_tape(struct sift *sift, const void *facts, uint32_t size, unsigned depth);
static inline void sift_map(struct sift *sift, const struct sieve_row *row, const struct fact *map);
static void sift_steps(struct sift *sift, const struct sieve_row *row, const struct fact *node);
static void sift_empty(struct sift *sift, const struct sieve_fate *empty);
static void sift_facts(struct sift *sift, const struct kfl_entry *entry);
static void sift_fact(struct sift *sift, const struct sieve_row *row, const struct facts *facts);
static inline void sift_node(struct sift *sift, const struct sieve_row *row,
                             const struct fact *node);
static void sift_value(struct sift *sift, const struct sieve_row *row,
                       const struct kfl_value *value);
static void sift_text(struct sift *sift, const struct sieve_row *row, const char *text,
                      uint32_t size);
static __attribute__((noinline)) bool edge_holds(const struct sieve_edge *edge, const char *text,
                                                 uint32_t size);
static __attribute__((noinline)) void sift_tests(struct sift *sift, const struct sieve_row *row,
                                                 const char *text, uint32_t size);
static inline uint64_t text_kills(const struct sieve_row *row, const char *text, uint32_t size);
static inline uint64_t equal_kills(const struct sieve_row *row, const char *text, uint32_t size,
                                   uint64_t head);
static void sift_costly(struct sift *sift, const struct later *later);
static inline bool holds_for_text(const struct atom *atom, const char *text, uint32_t size);
static inline void come(struct sift *sift, const struct sieve_row *row);
static inline const struct sieve_range *range_of(const struct sieve_row *row, int64_t value);
static void sift_cells(struct sift *sift, const struct sieve_row *row);

struct kfl_verdict plan_sift(const struct kfl_plan *plan, struct plan_worker *worker,
                             const struct kfl_entry *entry, uint64_t ask)
{
    const struct sieve *sieve = plan->proto[entry->proto].sieve;
    enum side_state request = plan_request_state(entry), response = plan_response_state(entry);
    struct sift sift;
    const struct sieve_side *side = &sieve->side[request][response];
    uint64_t dead, rest;
    bool request_known = !(ask & ~entry->asked.jobs);

    sift.plan = plan;
    sift.sieve = sieve;
    sift.worker = worker;
    sift.proto = entry->proto;
    sift.n_later = 0;
    sift.fate.dead = side->fate.dead | ~ask | (entry->asked.jobs & entry->asked.out);
    sift.fate.open = side->fate.open;
    for (unsigned i = 0; i < SIEVE_WORDS; i++)
        sift.awaited[i] = side->awaited[i] & ~(request_known ? sieve->of_request[i] : 0);
    if (sieve->packet.slots & ~sift.fate.dead)
        sift.fate.dead |= plan_run(plan, worker, &sieve->packet, entry->stream).out;
    if ((sieve->slots | sieve->rest) & ~sift.fate.dead) {
        if (response == SIDE_OBJECT) /* a status is looked up at once, and kills many */
            sift_tape(&sift, entry->response->facts, entry->response->facts_size, 0);
        if (request == SIDE_OBJECT && !request_known)
            sift_tape(&sift, entry->request->facts, entry->request->facts_size, 0);
        sift_empty(&sift, side->empty);
        sift_facts(&sift, entry);
        for (unsigned i = 0; i < sift.n_later; i++)
            if (sift.later[i].row->costly & ~sift.fate.dead)
                sift_costly(&sift, &sift.later[i]);
    }
    dead = sift.fate.dead;
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
        const struct sieve_row *row = sift->sieve->field[node->field].row;
        uint32_t n = sift->sieve->field[node->field].n;

        if (n && node->type == FACT_MAP) {
            sift_map(sift, row, node);
            continue;
        }
        for (; n; n--, row++) {
            if (!(row->watch & ~sift->fate.dead))
                continue;
            if (row->below || node->type == FACT_ARRAY)
                sift_steps(sift, row, node);
            else
                sift_node(sift, row, node);
        }
        if (node->type == FACT_OBJECT && depth < FACT_DEPTH_MAX)
            sift_tape(sift, fact_value_of(node), node->value_size, depth + 1);
    }
}

/* All rows of one map: its members are looked at once. */
static inline void sift_map(struct sift *sift, const struct sieve_row *row, const struct fact *map)
{
    uint64_t left = sift->sieve->field[map->field].keyed; /* rows that look for a key */
    uint32_t n = sift->sieve->field[map->field].n;

    if ((uint32_t)__builtin_popcountll(left) < n) {
        for (uint32_t i = 0; i < n; i++)
            if ((i >= 64 || !(left >> i & 1)) && (row[i].watch & ~sift->fate.dead))
                sift_steps(sift, &row[i], map);
    }
    if (!left)
        return;
    FACT_EACH(child, fact_value_of(map), map->value_size)
    {
        const char *key = fact_key_of(child);
        uint64_t head = value_head(key, child->key_size);

        for (uint64_t rows = left; rows; rows &= rows - 1) {
            const struct sieve_row *one = &row[__builtin_ctzll(rows)];

            if (one->key_head != head || one->key_size != child->key_size || child->field ||
                (child->key_size > 8 && !value_same_rest(key, one->key->name, child->key_size)))
                continue;
            left &= ~(rows & -rows);
            if (!(one->watch & ~sift->fate.dead))
                break;
            if (child->type == FACT_ARRAY)
                sift_steps(sift, one, map);
            else
                sift_node(sift, one, child);
            break;
        }
        if (!left)
            return;
    }
}

/* What takes more than one look. */
static void sift_steps(struct sift *sift, const struct sieve_row *row, const struct fact *node)
{
    const struct fact *member = plan_find_member(sift->plan, row->subject, sift->proto, node);

    if (member) {
        sift_node(sift, row, member);
        return;
    }
    plan_fill_node(sift->plan, sift->worker, row->subject, sift->proto, node);
    come(sift, row);
    sift_cells(sift, row);
}

/* Rows that were not on the tapes: mostly the same ones as the last time. */
static void sift_empty(struct sift *sift, const struct sieve_fate *empty)
{
    struct sieve_missing *last =
        &sift->worker->missing[((uintptr_t)empty >> 4 ^ (uintptr_t)empty >> 8) % SIEVE_MISSING];
    uint64_t other = (uint64_t)((uintptr_t)last->empty ^ (uintptr_t)empty);

    /* Word by word, as they were written: read as a vector they would have to be in the cache. */
    _Static_assert(SIEVE_WORDS == 4, "");
    other |= (last->rows[0] ^ sift->awaited[0]) | (last->rows[1] ^ sift->awaited[1]) |
             (last->rows[2] ^ sift->awaited[2]) | (last->rows[3] ^ sift->awaited[3]);
    if (other) {
        last->empty = empty;
        last->fate = (struct sieve_fate){0, 0};
        memcpy(last->rows, sift->awaited, sizeof last->rows);
        for (unsigned i = 0; i < SIEVE_WORDS; i++, empty += 64) {
            for (uint64_t left = sift->awaited[i]; left; left &= left - 1) {
                const struct sieve_fate *one = &empty[__builtin_ctzll(left)];

                last->fate.dead |= one->dead;
                last->fate.open |= one->open;
            }
        }
    }
    sift->fate.dead |= last->fate.dead;
    sift->fate.open |= last->fate.open;
}

/* What every entry has; only what somebody still asks for. */
static void sift_facts(struct sift *sift, const struct kfl_entry *entry)
{
    struct facts facts = {.stream = entry->stream, .entry = entry, .proto = entry->proto};
    const struct sieve_row *row = sift->sieve->row + sift->sieve->first_fact;
    const struct sieve_row *end = sift->sieve->row + sift->sieve->n_rows;

    for (; row < end; row++) {
        int64_t integer;

        if (!(row->watch & ~sift->fate.dead))
            continue;
        if (row->range && facts_int(&facts, row->field, &integer))
            sift->fate.dead |= range_of(row, integer)->kill;
        else
            sift_fact(sift, row, &facts);
    }
}

static void sift_fact(struct sift *sift, const struct sieve_row *row, const struct facts *facts)
{
    const struct kfl_entry *entry = facts->entry;
    struct facts_value *value = &sift->worker->value;

    if (row->field == KFL_FIELD_ERROR && !row->below && !entry->response_open) {
        sift->fate.dead |= entry->error ? row->of_object : row->of_null;
        return;
    }
    facts_get(facts, row->field, value);
    if (value->kind == FACTS_UNKNOWN || value->kind == FACTS_MISSING) {
        sift->fate.dead |= row->unknown[value->kind == FACTS_MISSING].dead;
        sift->fate.open |= row->unknown[value->kind == FACTS_MISSING].open;
    } else if (value->kind == FACTS_VALUE && !row->below) {
        sift_value(sift, row, &value->value);
    } else if (value->kind == FACTS_AT_LEAST && row->range) {
        const struct sieve_range *range = range_of(row, value->value.integer);

        sift->fate.dead |= range->every;
        sift->fate.open |= range->some & ~range->every;
    } else {
        plan_fill_fact(sift->plan, sift->worker, row->subject, value);
        sift_cells(sift, row);
    }
}

/* Not an array. Texts and ints are most of them: they are not put together first. */
static inline void sift_node(struct sift *sift, const struct sieve_row *row,
                             const struct fact *node)
{
    struct kfl_value value;

    come(sift, row);
    if (node->type == FACT_STRING) {
        sift_text(sift, row, fact_value_of(node), node->value_size);
    } else if (node->type == FACT_INT && row->range) {
        sift->fate.dead |= range_of(row, fact_int_of(node))->kill;
    } else {
        value = value_of_fact(node);
        sift_value(sift, row, &value);
    }
}

static void sift_value(struct sift *sift, const struct sieve_row *row,
                       const struct kfl_value *value)
{
    if (value->type == KFL_STRING) {
        sift_text(sift, row, value->text, value->size);
    } else if (value->type == KFL_INT && row->range) {
        sift->fate.dead |= range_of(row, value->integer)->kill;
    } else if (value->type == KFL_BOOL) {
        sift->fate.dead |= row->of_bool[value->boolean];
    } else if (value->type == KFL_NULL || value->type == KFL_OBJECT) {
        sift->fate.dead |= value->type == KFL_NULL ? row->of_null : row->of_object;
    } else {
        plan_fill_value(sift->plan, sift->worker, row->subject, value);
        sift_cells(sift, row);
    }
}

static void sift_text(struct sift *sift, const struct sieve_row *row, const char *text,
                      uint32_t size)
{
    uint64_t dead = sift->fate.dead | row->of_text[size > 0];
    uint8_t first = size ? (uint8_t)*text : 0;

    if (size && !(row->begins[first / 32] >> first % 32 & 1))
        dead |= row->none;
    else
        dead |= text_kills(row, text, size);
    sift->fate.dead = dead;
    if (row->n_cheap || row->costly & ~dead)
        sift_tests(sift, row, text, size);
}

static __attribute__((noinline)) bool edge_holds(const struct sieve_edge *edge, const char *text,
                                                 uint32_t size)
{
    uint32_t n = (uint32_t)edge->text.size;

    return size >= n && !memcmp(edge->at_end ? text + size - n : text, edge->text.text, n);
}

/* Comparisons as numbers, and those patterns that cannot be in the text; the others later. */
static __attribute__((noinline)) void sift_tests(struct sift *sift, const struct sieve_row *row,
                                                 const char *text, uint32_t size)
{
    uint64_t dead = sift->fate.dead, costly = row->costly;
    uint8_t pairs = 0;

    for (uint32_t i = 0; i < row->n_cheap; i++) {
        const struct sieve_test *test = &row->test[i];

        if ((test->on_true | test->on_false) & ~dead)
            dead |= holds_for_text(&sift->plan->atoms.atom[test->atom], text, size)
                        ? test->on_true
                        : test->on_false;
    }
    if (costly & ~dead) {
        pairs = pairs_found(row->pairs, text, size);
        if (!pairs) {
            dead |= row->no_pair;
            costly = row->unpaired;
        }
    }
    sift->fate.dead = dead;
    if (!(costly & ~dead))
        return;
    sift->later[sift->n_later++] = (struct later){row, text, size, pairs};
    /* A text that is put together for a fact does not stay. */
    if (sift->n_later == LATER_MAX || row->number >= sift->sieve->first_fact)
        sift_costly(sift, &sift->later[--sift->n_later]);
}

/* == and how it begins and ends. */
static inline uint64_t text_kills(const struct sieve_row *row, const char *text, uint32_t size)
{
    const struct sieve_edge *edge = row->edge, *end = edge + row->n_edges;
    uint64_t head = value_head(text, size), tail = 0, kills = 0;

    if (row->text)
        kills = equal_kills(row, text, size, head);
    if (edge < end && size)
        tail = size < 8 ? head << (64 - 8 * size) : value_head(text + size - 8, 8);
    for (; edge < end; edge++) {
        bool holds = !(((edge->at_end ? tail : head) ^ edge->want) & edge->mask);

        if (holds && edge->more)
            holds = edge_holds(edge, text, size);
        kills |= holds ? edge->on_true : edge->on_false;
    }
    return kills;
}

static inline uint64_t equal_kills(const struct sieve_row *row, const char *text, uint32_t size,
                                   uint64_t head)
{
    uint32_t last = (1u << row->text_bits) - 1, at = sieve_hash(head, size, row->text_bits);

    for (const struct sieve_text *one; (one = &row->text[at])->text.text; at = (at + 1) & last)
        if (one->head == head && one->text.size == size &&
            (size <= 8 || value_same_rest(one->text.text, text, size)))
            return one->kill;
    return row->text_miss;
}

/* Patterns that may be in the text: one scan, or one by one those that somebody still watches. */
static void sift_costly(struct sift *sift, const struct later *later)
{
    const struct sieve_row *row = later->row;
    const char *text = later->text;
    uint32_t size = later->size;
    const struct atoms *atoms = &sift->plan->atoms;
    const struct subject *subject = &atoms->subject[row->subject];
    uint8_t *cell = plan_cells(sift->worker);
    bool scanned = false, tried = false;

    for (uint32_t i = row->n_cheap; i < row->n_tests; i++) {
        const struct sieve_test *test = &row->test[i];
        const struct atom *atom = &atoms->atom[test->atom];
        bool holds;

        if (!((test->on_true | test->on_false) & ~sift->fate.dead))
            continue;
        if ((test->pairs && !(test->pairs & later->pairs)) || atom->prefix_size > size ||
            (atom->prefix_size && memcmp(text, atom->text.text + 1, atom->prefix_size))) {
            sift->fate.dead |= test->on_false;
            continue;
        }
        if (atom->then) {
            holds = size == atom->prefix_size || text[atom->prefix_size] == atom->then;
            sift->fate.dead |= holds ? test->on_true : test->on_false;
            continue;
        }
        if (atom->scanned && !tried) {
            for (uint32_t k = row->n_cheap; k < row->n_tests; k++)
                cell[row->test[k].atom] = CELL_FALSE;
            tried = true;
            scanned = patterns_scan(subject->patterns, sift->worker->scratch, text, size, cell,
                                    CELL_TRUE);
        }
        holds = atom->scanned && scanned ? cell[test->atom] == CELL_TRUE
                                         : holds_for_text(atom, text, size);
        sift->fate.dead |= holds ? test->on_true : test->on_false;
    }
}

static inline bool holds_for_text(const struct atom *atom, const char *text, uint32_t size)
{
    return atom_holds(atom, &(struct kfl_value){.type = KFL_STRING, .text = text, .size = size});
}

static inline void come(struct sift *sift, const struct sieve_row *row)
{
    sift->awaited[row->number / 64] &= ~(UINT64_C(1) << row->number % 64);
}

static inline const struct sieve_range *range_of(const struct sieve_row *row, int64_t value)
{
    uint32_t at = 0;

    if (row->small && (uint64_t)value < SIEVE_SMALL)
        return &row->range[row->small[value]];

    for (uint32_t n = row->n_ranges; n > 1; n -= n / 2)
        at += row->range[at + n / 2].from <= value ? n / 2 : 0;
    return &row->range[at];
}

static void sift_cells(struct sift *sift, const struct sieve_row *row)
{
    sieve_cells(sift->sieve, &sift->plan->atoms.subject[row->subject], plan_cells(sift->worker),
                &sift->fate);
}
