#include "sieve.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan_internal.h"

enum { TERMS_MAX = 32 };
#define FAR (INT64_C(1) << 53) /* every int below is a float, too */

_Static_assert(SIDE_STATES == 3, "as the tables of a sieve");

/* What is made while slots are sorted. */
struct sorting {
    struct kfl_plan *plan;
    struct sieve *sieve;
    enum kfl_proto proto;
    uint8_t *of_packet; /* by node: packet facts alone decide it */
    uint32_t n_nodes;
    uint32_t packet_node[KFL_SLOT_MAX];
    uint64_t packet; /* slots with such terms */
    uint64_t *watch; /* by subject: slots that look at it */
};

static int sort_slots(struct sorting *sorting);
static bool sort_terms(struct sorting *sorting, unsigned slot, uint32_t root);
static bool one_atom(const struct kfl_plan *plan, uint32_t node, uint32_t *ret_atom,
                     struct sieve_atom *ret_kills);
static int make_rows(struct sorting *sorting);
static int make_row(struct sorting *sorting, uint32_t subject, struct sieve_row *row);
static int make_ranges(const struct kfl_plan *plan, const struct sieve *sieve,
                       struct sieve_row *row);
static int make_texts(const struct kfl_plan *plan, const struct sieve *sieve,
                      struct sieve_row *row);
static void make_begins(const struct kfl_plan *plan, const struct sieve *sieve,
                        struct sieve_row *row);
static int make_tests(const struct kfl_plan *plan, const struct sieve *sieve,
                      struct sieve_row *row);
static int make_sides(struct sorting *sorting);
static int make_unknown(struct sorting *sorting);
static int make_codes(struct sorting *sorting);
static uint64_t kill_of(const struct kfl_plan *plan, const struct sieve *sieve,
                        const struct sieve_row *row, const struct kfl_value *value);
static bool is_on_tape(enum kfl_field field);
static bool is_of_request(enum kfl_field field);

int sieve_create(struct kfl_plan *plan, enum kfl_proto proto, struct sieve **ret_sieve)
{
    struct sorting sorting = {.plan = plan, .proto = proto, .n_nodes = plan->program.n};
    struct sieve *sieve = calloc(1, sizeof *sieve);
    int result = -ENOMEM;

    *ret_sieve = NULL;
    sorting.sieve = sieve;
    sorting.of_packet = calloc(plan->program.n, 1);
    sorting.watch = calloc(plan->atoms.n_subjects + 1u, sizeof *sorting.watch);
    if (sieve && sorting.of_packet && sorting.watch) {
        sieve->atom = calloc(plan->atoms.n_atoms + 1u, sizeof *sieve->atom);
        result = sieve->atom ? sort_slots(&sorting) : -ENOMEM;
    }
    if (!result)
        result = make_rows(&sorting);
    if (!result)
        result = make_sides(&sorting);
    if (!result)
        result = make_unknown(&sorting);
    if (!result)
        result = make_codes(&sorting);
    free(sorting.of_packet);
    free(sorting.watch);
    if (result || !(sieve->slots | sieve->rest) || (sorting.packet && !sieve->packet.packet)) {
        sieve_free(sieve);
        return result;
    }
    *ret_sieve = sieve;
    return 0;
}

void sieve_free(struct sieve *sieve)
{
    if (!sieve)
        return;
    for (uint32_t i = 0; i < sieve->n_rows; i++) {
        free(sieve->row[i].range);
        free(sieve->row[i].small);
        free(sieve->row[i].text);
        free(sieve->row[i].edge);
        free(sieve->row[i].test);
        free(sieve->row[i].pairs);
    }
    free(sieve->empty);
    code_done(&sieve->packet);
    code_done(&sieve->whole);
    free(sieve->row);
    free(sieve->atom);
    free(sieve);
}

/* Which slots are terms joined by `and`, and what their terms are. */
static int sort_slots(struct sorting *sorting)
{
    struct kfl_plan *plan = sorting->plan;
    struct sieve *sieve = sorting->sieve;

    for (uint32_t i = 0; i < sorting->n_nodes; i++) {
        const struct node *node = &plan->program.node[i];

        if (node->op == NODE_ATOM)
            sorting->of_packet[i] = plan->test[node->a].kind != PACKET_TEST_NONE;
        else if (node->op != NODE_CONST)
            sorting->of_packet[i] =
                sorting->of_packet[node->a] && (node->op < NODE_AND || sorting->of_packet[node->b]);
    }
    for (uint64_t left = plan->slots; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(left);
        uint32_t root = plan->proto[sorting->proto].root[slot];

        if (plan->program.node[root].op == NODE_CONST) {
            if (!(root & MAY_TRUE))
                sieve->dead |= UINT64_C(1) << slot;
            else if (root == MAY_TRUE)
                sieve->slots |= UINT64_C(1) << slot;
            else
                sieve->rest |= UINT64_C(1) << slot;
        } else if (sort_terms(sorting, slot, root)) {
            sieve->slots |= UINT64_C(1) << slot;
        } else {
            sieve->rest |= UINT64_C(1) << slot;
        }
    }
    return plan->program.no_memory ? -ENOMEM : 0;
}

/* false: the slot is to be evaluated as a whole; the terms that were found may still kill it. */
static bool sort_terms(struct sorting *sorting, unsigned slot, uint32_t root)
{
    struct kfl_plan *plan = sorting->plan;
    struct sieve *sieve = sorting->sieve;
    uint32_t todo[TERMS_MAX] = {root}, n = 1;
    uint64_t bit = UINT64_C(1) << slot;
    unsigned subjects = 0;
    bool all = true;

    while (n) {
        uint32_t at = todo[--n], atom, subject;
        const struct node *node = &plan->program.node[at];
        const struct path_place *place;
        struct sieve_atom kills;

        if (node->op == NODE_GROUP || (node->op == NODE_AND && n + 2 <= TERMS_MAX)) {
            todo[n++] = node->a;
            if (node->op == NODE_AND)
                todo[n++] = node->b;
            continue;
        }
        if (at < sorting->n_nodes && sorting->of_packet[at]) {
            uint32_t *packet = &sorting->packet_node[slot];

            at = program_group(&plan->program, at);
            *packet = sorting->packet & bit ? program_and(&plan->program, *packet, at) : at;
            sorting->packet |= bit;
            continue;
        }
        if (!one_atom(plan, at, &atom, &kills)) {
            all = false;
            continue;
        }
        subject = plan->atoms.atom[atom].subject;
        place = &plan->atoms.subject[subject].place[sorting->proto];
        if (place->kind != PATH_ROW || place->parent || place->field == KFL_FIELD_REQUEST ||
            place->field == KFL_FIELD_RESPONSE ||
            (!(sorting->watch[subject] & bit) && is_on_tape(place->field) &&
             ++subjects > SIEVE_VALUES)) {
            all = false;
            continue;
        }
        sorting->watch[subject] |= bit;
        sieve->atom[atom].on_true |= kills.on_true * bit;
        sieve->atom[atom].on_false |= kills.on_false * bit;
        sieve->atom[atom].on_absent |= kills.on_absent * bit;
    }
    return all;
}

/* An atom under `!` and parentheses: which of its outcomes make it not true. */
static bool one_atom(const struct kfl_plan *plan, uint32_t node, uint32_t *ret_atom,
                     struct sieve_atom *ret_kills)
{
    const struct node *all = plan->program.node;
    uint32_t at = node;
    uint64_t kill[3];

    while (all[at].op == NODE_NOT || all[at].op == NODE_GROUP)
        at = all[at].a;
    if (all[at].op != NODE_ATOM || plan->atoms.atom[all[at].a].op == ATOM_GENERAL)
        return false;
    *ret_atom = all[at].a;
    for (unsigned i = 0; i < 3; i++) {
        uint8_t may = (uint8_t)(1 << i);
        uint32_t chain[TERMS_MAX], n = 0;

        for (uint32_t k = node; k != at; k = all[k].a) {
            if (n == TERMS_MAX)
                return false;
            chain[n++] = k;
        }
        while (n--)
            may = all[chain[n]].op == NODE_NOT ? program_not_may(may) : program_group_may(may);
        kill[i] = may != MAY_TRUE;
    }
    *ret_kills = (struct sieve_atom){kill[0], kill[1], kill[2]};
    return true;
}

/* Rows in the order of their fields, those that are not on tapes last. */
static int make_rows(struct sorting *sorting)
{
    const struct kfl_plan *plan = sorting->plan;
    struct sieve *sieve = sorting->sieve;
    size_t size = (plan->atoms.n_subjects + 1u) * sizeof *sieve->row;
    int result = 0;

    sieve->row = aligned_alloc(64, size);
    if (!sieve->row)
        return -ENOMEM;
    memset(sieve->row, 0, size);
    for (unsigned round = 0; round < 2; round++) {
        sieve->first_fact = sieve->n_rows;
        for (unsigned field = 1; field < KFL_FIELD_COUNT && !result; field++) {
            if (is_on_tape(field) != !round)
                continue;
            for (uint32_t i = 0; i < plan->atoms.n_subjects && !result; i++) {
                struct sieve_row *row = &sieve->row[sieve->n_rows];

                if (!sorting->watch[i] ||
                    plan->atoms.subject[i].place[sorting->proto].field != field)
                    continue;
                if (!sieve->field[field].n++)
                    sieve->field[field].row = row;
                sieve->n_rows++;
                result = make_row(sorting, i, row);
                if (row->key && sieve->field[field].n <= 64)
                    sieve->field[field].keyed |= UINT64_C(1) << (sieve->field[field].n - 1);
            }
        }
    }
    return result;
}

static int make_row(struct sorting *sorting, uint32_t number, struct sieve_row *row)
{
    const struct kfl_plan *plan = sorting->plan;
    const struct subject *subject = &plan->atoms.subject[number];
    const struct path_place *place = &subject->place[sorting->proto];
    uint32_t n_rest = subject->path.n - place->rest;
    int result;

    row->subject = number;
    row->number = (uint16_t)(row - sorting->sieve->row);
    row->field = place->field;
    row->watch = sorting->watch[number];
    if (n_rest == 1 && subject->path.step[place->rest].type == AST_KEY &&
        kfl_field_info[place->field].type == KFL_TYPE_MAP)
        row->key = &subject->path.step[place->rest];
    row->below = n_rest > 0;
    if (row->key) {
        row->key_size = row->key->size;
        row->key_head = value_head(row->key->name, row->key->size);
    }
    row->of_null = kill_of(plan, sorting->sieve, row, &(struct kfl_value){.type = KFL_NULL});
    row->of_object = kill_of(plan, sorting->sieve, row, &(struct kfl_value){.type = KFL_OBJECT});
    for (unsigned i = 0; i < 2; i++)
        row->of_bool[i] =
            kill_of(plan, sorting->sieve, row, &(struct kfl_value){.type = KFL_BOOL, .boolean = i});
    make_begins(plan, sorting->sieve, row);
    result = make_ranges(plan, sorting->sieve, row);
    if (!result)
        result = make_texts(plan, sorting->sieve, row);
    return result ? result : make_tests(plan, sorting->sieve, row);
}

static int compare_ranges(const void *a, const void *b)
{
    const struct sieve_range *left = a, *right = b;

    return left->from < right->from ? -1 : left->from > right->from;
}

/* Where an atom's outcome for an int can change: at the constant and behind it. */
static int make_ranges(const struct kfl_plan *plan, const struct sieve *sieve,
                       struct sieve_row *row)
{
    const struct subject *subject = &plan->atoms.subject[row->subject];
    uint32_t n = 0, kept = 0;

    row->range = calloc(4 + 4 * (size_t)subject->n, sizeof *row->range);
    if (!row->range)
        return -ENOMEM;
    row->range[n++].from = INT64_MIN;
    row->range[n++].from = 0;
    row->range[n++].from = 1;
    for (uint32_t i = 0; i < subject->n; i++) {
        const struct atom *atom = &plan->atoms.atom[subject->atom[i]];
        struct kfl_number number = atom->number;
        int64_t at;

        if (atom->op <= ATOM_NEGATIVE)
            continue;
        if (atom->op == ATOM_EQUAL && !atom->numeric)
            number = value_number(&(struct kfl_value){
                .type = KFL_STRING, .text = atom->text.text, .size = (uint32_t)atom->text.size});
        at = number.is_float ? (int64_t)fmin(fmax(number.number, -0x1p62), 0x1p62) : number.integer;
        if ((atom->op != ATOM_EQUAL && (atom->op < ATOM_LESS || atom->op > ATOM_GREATER_EQUAL)) ||
            at <= -FAR || at >= FAR || (number.is_float && isnan(number.number))) {
            free(row->range); /* at any number, or too far to be sure: each int is tried */
            row->range = NULL;
            return 0;
        }
        for (int64_t step = -1; step <= 2; step++)
            row->range[n++].from = at + step;
    }
    qsort(row->range, n, sizeof *row->range, compare_ranges);
    for (uint32_t i = 0; i < n; i++) {
        struct kfl_value value = {.type = KFL_INT, .integer = row->range[i].from};
        uint64_t kill = kill_of(plan, sieve, row, &value);

        if (!kept || row->range[kept - 1].kill != kill)
            row->range[kept++] = (struct sieve_range){row->range[i].from, kill, kill, kill};
    }
    row->n_ranges = kept;
    while (--kept) {
        row->range[kept - 1].every &= row->range[kept].every;
        row->range[kept - 1].some |= row->range[kept].some;
    }
    if (row->n_ranges < 3 || row->n_ranges > UINT8_MAX)
        return 0;
    row->small = malloc(SIEVE_SMALL);
    if (!row->small)
        return -ENOMEM;
    for (uint32_t value = 0, at = 0; value < SIEVE_SMALL; value++) {
        while (at + 1 < row->n_ranges && row->range[at + 1].from <= value)
            at++;
        row->small[value] = (uint8_t)at;
    }
    return 0;
}

/* The texts of `==` in a hash table. */
static int make_texts(const struct kfl_plan *plan, const struct sieve *sieve, struct sieve_row *row)
{
    const struct subject *subject = &plan->atoms.subject[row->subject];
    uint32_t n_equal = 0;

    for (uint32_t i = 0; i < subject->n; i++) {
        if (plan->atoms.atom[subject->atom[i]].op == ATOM_EQUAL) {
            n_equal++;
            row->text_miss |= sieve->atom[subject->atom[i]].on_false;
        }
    }
    if (!n_equal)
        return 0;
    for (row->text_bits = 1; 1u << row->text_bits < 2 * n_equal;)
        row->text_bits++;
    row->text = calloc((size_t)1 << row->text_bits, sizeof *row->text);
    if (!row->text)
        return -ENOMEM;
    for (uint32_t i = 0; i < subject->n; i++) {
        const struct atom *atom = &plan->atoms.atom[subject->atom[i]];
        uint32_t size = (uint32_t)atom->text.size, at;
        uint64_t head = value_head(atom->text.text, size);

        if (atom->op != ATOM_EQUAL)
            continue;
        at = sieve_hash(head, size, row->text_bits);
        while (row->text[at].text.text && !slice_equal(row->text[at].text, atom->text))
            at = (at + 1) & ((1u << row->text_bits) - 1);
        row->text[at].text = atom->text;
        row->text[at].head = head;
    }
    /* `== 5` and `== "5"` are two atoms of one text. */
    for (uint32_t at = 0; at < 1u << row->text_bits; at++) {
        struct sieve_text *text = &row->text[at];

        for (uint32_t i = 0; i < subject->n && text->text.text; i++) {
            const struct atom *atom = &plan->atoms.atom[subject->atom[i]];
            const struct sieve_atom *kills = &sieve->atom[subject->atom[i]];

            if (atom->op == ATOM_EQUAL)
                text->kill |=
                    slice_equal(text->text, atom->text) ? kills->on_true : kills->on_false;
        }
    }
    return 0;
}

/* startsWith and endsWith by eight bytes of the text. */
static struct sieve_edge edge_of(const struct atom *atom, const struct sieve_atom *kills)
{
    uint32_t n = atom->text.size < 8 ? (uint32_t)atom->text.size : 8;
    struct sieve_edge edge = {.text = atom->text,
                              .at_end = atom->op == ATOM_ENDS_WITH,
                              .more = atom->text.size > 8 || memchr(atom->text.text, 0, n),
                              .on_true = kills->on_true,
                              .on_false = kills->on_false};
    unsigned shift = 64 - 8 * n; /* bits that do not matter */

    if (!n)
        return edge;
    edge.want = value_head(atom->text.text + (edge.at_end ? atom->text.size - n : 0), n);
    edge.mask = UINT64_MAX >> shift;
    if (edge.at_end) {
        edge.want <<= shift;
        edge.mask <<= shift;
    }
    return edge;
}

/* The first bytes of texts for which some == or edge may hold. */
static void make_begins(const struct kfl_plan *plan, const struct sieve *sieve,
                        struct sieve_row *row)
{
    const struct subject *subject = &plan->atoms.subject[row->subject];

    for (uint32_t i = 0; i < subject->n; i++) {
        const struct atom *atom = &plan->atoms.atom[subject->atom[i]];
        bool at_end = atom->op == ATOM_ENDS_WITH;

        if (atom->op != ATOM_EQUAL && atom->op != ATOM_STARTS_WITH && !at_end)
            continue;
        row->none |= sieve->atom[subject->atom[i]].on_false;
        if (at_end || !atom->text.size) {
            memset(row->begins, 0xff, sizeof row->begins);
        } else {
            uint8_t first = (uint8_t)atom->text.text[0];

            row->begins[first / 32] |= UINT32_C(1) << first % 32;
        }
    }
}

/* What is asked of a text besides `==`. */
static int make_tests(const struct kfl_plan *plan, const struct sieve *sieve, struct sieve_row *row)
{
    const struct subject *subject = &plan->atoms.subject[row->subject];

    row->edge = calloc(subject->n + 1u, sizeof *row->edge);
    row->test = calloc(subject->n + 1u, sizeof *row->test);
    if (!row->edge || !row->test)
        return -ENOMEM;
    for (unsigned costly = 0; costly < 2; costly++) {
        row->n_cheap = row->n_tests;
        for (uint32_t i = 0; i < subject->n; i++) {
            const struct atom *atom = &plan->atoms.atom[subject->atom[i]];
            const struct sieve_atom *kills = &sieve->atom[subject->atom[i]];
            struct sieve_test test = {subject->atom[i], 0, kills->on_true, kills->on_false};

            if ((atom->op == ATOM_CONTAINS || atom->op == ATOM_REGEX) != costly ||
                atom->op == ATOM_EQUAL)
                continue;
            if (atom->op <= ATOM_NEGATIVE) { /* of texts that are not empty */
                row->of_text[0] |= kills->on_false;
                row->of_text[1] |= kills->on_true;
            } else if (atom->op == ATOM_STARTS_WITH || atom->op == ATOM_ENDS_WITH) {
                row->edge[row->n_edges++] = edge_of(atom, kills);
            } else {
                if (costly) {
                    if (!row->pairs)
                        row->pairs = calloc(1, sizeof *row->pairs);
                    if (!row->pairs)
                        return -ENOMEM;
                    test.pairs = pairs_add(row->pairs, atom);
                    row->costly |= kills->on_true | kills->on_false;
                    if (test.pairs)
                        row->no_pair |= kills->on_false;
                    else
                        row->unpaired |= kills->on_true | kills->on_false;
                }
                row->test[row->n_tests++] = test;
            }
        }
    }
    return 0;
}

/* How the slots stand before tapes are read, by what is there of request and response. */
static int make_sides(struct sorting *sorting)
{
    const struct kfl_plan *plan = sorting->plan;
    struct sieve *sieve = sorting->sieve;
    uint32_t n_atoms = plan->atoms.n_atoms, n = sieve->first_fact;

    sieve->empty = calloc(SIDE_STATES * SIDE_STATES * (size_t)n + 1, sizeof *sieve->empty);
    if (!sieve->empty)
        return -ENOMEM;
    for (uint32_t k = 0; k < n; k++)
        if (is_of_request(sieve->row[k].field))
            sieve->of_request[k / 64] |= UINT64_C(1) << k % 64;
    for (unsigned i = 0; i < SIDE_STATES * SIDE_STATES; i++) {
        const uint8_t *cell = plan->proto[sorting->proto].template + (size_t)i * n_atoms;
        enum side_state request = i / SIDE_STATES, response = i % SIDE_STATES;
        struct sieve_side *side = &sieve->side[request][response];

        side->empty = sieve->empty + (size_t)i * n;
        side->fate.dead = sieve->dead;
        for (uint32_t k = 0; k < n; k++) {
            const struct sieve_row *row = &sieve->row[k];
            bool comes = (is_of_request(row->field) ? request : response) == SIDE_OBJECT;

            sieve_cells(sieve, &plan->atoms.subject[row->subject], cell,
                        comes ? &side->empty[k] : &side->fate);
            if (comes)
                side->awaited[k / 64] |= UINT64_C(1) << k % 64;
        }
    }
    return 0;
}

static int make_unknown(struct sorting *sorting)
{
    const struct kfl_plan *plan = sorting->plan;
    struct sieve *sieve = sorting->sieve;
    const struct cells cells = {.cell = calloc(plan->atoms.n_atoms + 1u, 1)};

    if (!cells.cell)
        return -ENOMEM;
    for (uint32_t i = sieve->first_fact; i < sieve->n_rows; i++) {
        const struct subject *subject = &plan->atoms.subject[sieve->row[i].subject];

        for (unsigned may_miss = 0; may_miss < 2; may_miss++) {
            subject_unknown(&plan->atoms, subject, may_miss, &cells);
            sieve_cells(sieve, subject, cells.cell, &sieve->row[i].unknown[may_miss]);
        }
    }
    free(cells.cell);
    return 0;
}

void sieve_cells(const struct sieve *sieve, const struct subject *subject, const uint8_t *cell,
                 struct sieve_fate *fate)
{
    for (uint32_t i = 0; i < subject->n; i++) {
        const struct sieve_atom *kills = &sieve->atom[subject->atom[i]];
        uint8_t may = cell[subject->atom[i]];
        uint64_t on_true = may & 1 ? kills->on_true : 0;
        uint64_t on_false = may & 4 ? kills->on_false : 0;
        uint64_t on_absent = may & 8 ? kills->on_absent : 0;
        uint64_t some = on_true | on_false | on_absent;
        uint64_t all =
            (may & 1 ? on_true : some) & (may & 4 ? on_false : some) & (may & 8 ? on_absent : some);

        fate->dead |= all;
        fate->open |= some & ~all;
    }
}

static int make_codes(struct sorting *sorting)
{
    struct kfl_plan *plan = sorting->plan;
    struct sieve *sieve = sorting->sieve;
    uint32_t nodes[2][KFL_SLOT_MAX], protos[KFL_SLOT_MAX], n[2] = {0, 0};
    uint8_t slots[2][KFL_SLOT_MAX];
    int result;

    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++) {
        protos[slot] = UINT32_MAX;
        if (sorting->packet >> slot & 1) {
            nodes[0][n[0]] = program_group(&plan->program, sorting->packet_node[slot]);
            slots[0][n[0]++] = (uint8_t)slot;
        }
        if (sieve->rest >> slot & 1) {
            nodes[1][n[1]] = plan->proto[sorting->proto].root[slot];
            slots[1][n[1]++] = (uint8_t)slot;
        }
    }
    if (plan->program.no_memory)
        return -ENOMEM;
    for (unsigned i = 0; i < 2; i++) {
        struct code *code = i ? &sieve->whole : &sieve->packet;

        if (!n[i])
            continue;
        result =
            code_make(&plan->program, plan->atoms.n_atoms, nodes[i], slots[i], protos, n[i], code);
        if (!result)
            result = plan_make_native_code(plan, code);
        if (result)
            return result;
    }
    return 0;
}

static uint64_t kill_of(const struct kfl_plan *plan, const struct sieve *sieve,
                        const struct sieve_row *row, const struct kfl_value *value)
{
    const struct subject *subject = &plan->atoms.subject[row->subject];
    uint64_t kill = 0;

    for (uint32_t i = 0; i < subject->n; i++) {
        const struct sieve_atom *kills = &sieve->atom[subject->atom[i]];

        kill |= atom_holds(&plan->atoms.atom[subject->atom[i]], value) ? kills->on_true
                                                                       : kills->on_false;
    }
    return kill;
}

static bool is_on_tape(enum kfl_field field)
{
    return kfl_field_info[field].protos != 0;
}

/* Of those on tapes. */
static bool is_of_request(enum kfl_field field)
{
    return !strncmp(kfl_field_info[field].path, "request", 7);
}
