/* The plan against the naive evaluator, on generated statements, entries and orders of facts:
 * $KFL_RANDOM_CASES of them, a hundred thousand, or a million with TAPEDECK_LONG. What was asked
 * and answered is appended to $KFL_RANDOM_LINES, for kfl1.py (test_kfl_plan_twin.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kfl-jit/code.h"
#include "../kfl-jit/plan.h"
#include "kfl_random.h"
#include "tap.h"

enum { JOBS = 24, ENTRIES = 24, ORDERS_MAX = 6 };

static struct kfl_random rng;
static uint64_t seed;

/* ---- statements, entries, orders of facts ---- */

struct tally {
    uint64_t cases, settled[ORDERS_MAX], asked[ORDERS_MAX];
    unsigned wrong;
};

static struct kfl_statement *statement[JOBS];
static char text[JOBS][1024];

static struct kfl_plan *make_plan(void)
{
    struct kfl_plan_job jobs[JOBS];
    struct kfl_messages messages = {0};
    struct kfl_plan *plan = NULL;
    unsigned slot;

    for (unsigned i = 0; i < JOBS; i++) {
        size_t size;

        do
            size = kfl_random_statement(&rng, text[i], sizeof text[i]);
        while (kfl_statement_create(text[i], size, 1767323045000, &statement[i], NULL));
        jobs[i] = (struct kfl_plan_job){i, statement[i]};
    }
    CU_ASSERT_EQUAL_FATAL(kfl_plan_create(jobs, JOBS, 1, true, &plan, &slot, &messages), 0);
    CU_ASSERT(kfl_plan_is_native(plan));
    return plan;
}

/* The stream as it was earlier: less counted, protocol and direction perhaps not known. */
static void earlier(const struct kfl_stream *last, bool found, struct kfl_stream *stream)
{
    *stream = *last;
    stream->ended = false;
    stream->state = KFL_STATE_OPEN;
    stream->last_ns -= kfl_random_below(&rng, (uint32_t)(last->last_ns - last->first_ns) + 1);
    stream->tcp_flags &= (uint8_t)kfl_random_below(&rng, 256);
    for (unsigned side = 0; side < 2; side++) {
        stream->packets[side] = kfl_random_below(&rng, (uint32_t)last->packets[side] + 1);
        stream->bytes[side] = kfl_random_below(&rng, (uint32_t)last->bytes[side] + 1);
    }
    if (!found) {
        stream->protos |= kfl_protos_of_l4(last->l4) &
                          (kfl_random_below(&rng, 2) ? UINT32_MAX : (uint32_t)rng.state);
        stream->l7 = 0;
        stream->detection = KFL_DETECTION_OPEN;
        stream->oriented = kfl_random_below(&rng, 2);
    }
    if (!stream->oriented && kfl_random_below(&rng, 2)) {
        struct kfl_endpoint end = stream->end[0];
        uint64_t packets = stream->packets[0], bytes = stream->bytes[0];

        stream->end[0] = stream->end[1];
        stream->end[1] = end;
        stream->packets[0] = stream->packets[1];
        stream->packets[1] = packets;
        stream->bytes[0] = stream->bytes[1];
        stream->bytes[1] = bytes;
    }
}

/* Asks in the order in which things become known. What is settled must be the truth. */
static void ask_in_order(struct kfl_plan *plan, const struct kfl_random_entry *random,
                         uint64_t truth, struct tally *tally)
{
    struct kfl_stream stream = random->stream;
    struct kfl_entry entry = random->entry;
    struct kfl_verdict verdict = {0, 0};
    struct kfl_asked asked = {0}; /* with the request alone */

    for (int stage = 0; stage < 5; stage++) {
        uint64_t all = (UINT64_C(1) << JOBS) - 1;

        if (stage < 4)
            earlier(&random->stream, stage > 0, &stream);
        else
            stream = random->stream;
        entry = random->entry;
        entry.stream = &stream;
        if (stage > 2)
            entry.asked = asked;
        if (stage == 2) {
            if (!entry.request || KFL_PROTOS_L4 >> entry.proto & 1)
                continue;
            entry.response_open = true;
            entry.response = NULL;
            entry.error = KFL_ERROR_NONE;
        }
        for (int mode = KFL_PLAN_TREE; mode >= 0; mode--) {
            struct kfl_verdict before = verdict;

            kfl_plan_set_mode(plan, (enum kfl_plan_mode)mode);
            verdict = stage < 2 ? kfl_plan_stream(plan, 0, &stream, all)
                                : kfl_plan_entry(plan, 0, &entry, all);
            /* A sieve sees that `x and !x` is false before x is known; the tree does not. */
            if (mode == KFL_PLAN_TREE ||
                (mode == KFL_PLAN_INTERPRETED && !(before.matched & ~verdict.matched) &&
                 !(before.out & ~verdict.out)) ||
                (before.matched == verdict.matched && before.out == verdict.out))
                continue;
            if (tally->wrong++ < 10)
                tap_note("stage %d, mode %d: %llx %llx, not %llx %llx (seed %llu)", stage, mode,
                         (unsigned long long)verdict.matched, (unsigned long long)verdict.out,
                         (unsigned long long)before.matched, (unsigned long long)before.out,
                         (unsigned long long)seed);
        }
        if (stage == 2)
            asked =
                (struct kfl_asked){kfl_random_below(&rng, 4) ? all : rng.state & all, verdict.out};
        for (unsigned i = 0; i < JOBS; i++) {
            bool matched = verdict.matched >> i & 1, out = verdict.out >> i & 1;

            tally->asked[stage]++;
            tally->settled[stage] += matched || out;
            if ((!matched && !out && stage < 4) || (matched && !out && truth >> i & 1) ||
                (out && !matched && !(truth >> i & 1)))
                continue;
            if (tally->wrong++ < 10)
                tap_note("%s, stage %d: %s, is %s (%s, seed %llu)", text[i], stage,
                         matched ? "matched"
                         : out   ? "out"
                                 : "not settled",
                         truth >> i & 1 ? "true" : "false", kfl_proto_info[entry.proto].abbr,
                         (unsigned long long)seed);
        }
    }
}

static void print_value(FILE *file, const char *before, const struct kfl_value *value)
{
    static char line[1 << 20];

    CU_ASSERT_FATAL(kfl_json_print(value, line, sizeof line) > 0);
    fprintf(file, "%s%.*s", before, (int)strcspn(line, "\n"), line);
}

/* One line for each statement. */
static void print_lines(FILE *file, const struct kfl_value *record, uint64_t truth)
{
    for (unsigned job = 0; job < JOBS; job++) {
        const struct kfl_value query = {
            .type = KFL_STRING, .text = text[job], .size = (uint32_t)strlen(text[job])};

        print_value(file, "{\"query\":", &query);
        print_value(file, ",\"record\":", record);
        fprintf(file, ",\"truth\":%s}\n", truth >> job & 1 ? "true" : "false");
    }
}

static void the_plan_agrees_with_the_naive_evaluator(void)
{
    const char *wanted = getenv("KFL_RANDOM_CASES");
    uint64_t cases = wanted                    ? strtoull(wanted, NULL, 10)
                     : getenv("TAPEDECK_LONG") ? 1000000
                                               : 100000;
    FILE *lines = getenv("KFL_RANDOM_LINES") ? fopen(getenv("KFL_RANDOM_LINES"), "ae") : NULL;
    struct kfl_arena *arena = kfl_arena_create(16 << 20);
    static struct kfl_random_entry random;
    struct tally tally = {0};

    while (tally.cases < cases && tally.wrong < 10) {
        struct kfl_plan *plan = make_plan();

        for (unsigned i = 0; i < ENTRIES; i++, tally.cases += JOBS) {
            uint64_t truth = 0;

            struct kfl_value *value;

            kfl_random_entry(&rng, &random);
            kfl_arena_reset(arena);
            value = kfl_entry_value(arena, &random.entry);
            CU_ASSERT_PTR_NOT_NULL_FATAL(value);
            for (unsigned job = 0; job < JOBS; job++) {
                if (kfl_statement_eval(statement[job], value, arena, NULL, NULL))
                    truth |= UINT64_C(1) << job;
            }
            if (lines)
                print_lines(lines, value, truth);
            ask_in_order(plan, &random, truth, &tally);
        }
        kfl_plan_free(plan);
        for (unsigned i = 0; i < JOBS; i++)
            kfl_statement_free(statement[i]);
    }
    if (lines)
        fclose(lines);
    CU_ASSERT_EQUAL(tally.wrong, 0);
    tap_note("%llu cases, seed %llu; settled at packet %.0f %%, protocol %.0f %%, request %.0f %%, "
             "response %.0f %%",
             (unsigned long long)tally.cases, (unsigned long long)seed,
             100.0 * (double)tally.settled[0] / (double)tally.asked[0],
             100.0 * (double)tally.settled[1] / (double)tally.asked[1],
             100.0 * (double)tally.settled[2] / (double)tally.asked[2],
             100.0 * (double)tally.settled[3] / (double)tally.asked[3]);
    kfl_arena_free(arena);
}

/* ---- the graph alone: everything that is decidable, by trying all outcomes ---- */

enum { LEAVES = 5, NODES_MAX = 32 };

/* A tree in the order of building; what it is for given outcomes of the leaves, the plain way. */
struct tree {
    struct {
        uint8_t op; /* enum node_op */
        unsigned a, b;
    } node[NODES_MAX];
    unsigned n;
};

static unsigned tree_make(struct tree *tree, unsigned depth, bool operand)
{
    unsigned a = 0, b = 0;
    uint8_t op = NODE_ATOM;

    if (!operand && depth && kfl_random_below(&rng, 4)) {
        op = kfl_random_below(&rng, 2) ? NODE_AND : NODE_OR;
        a = tree_make(tree, depth - 1, true);
        b = tree_make(tree, depth - 1, false);
    } else if (depth && kfl_random_below(&rng, 3) == 0) {
        op = kfl_random_below(&rng, 3) ? NODE_GROUP : NODE_NOT;
        a = tree_make(tree, depth - 1, op == NODE_NOT);
    } else {
        a = kfl_random_below(&rng, LEAVES);
    }
    if (tree->n == NODES_MAX)
        tree->n--;
    tree->node[tree->n].op = op;
    tree->node[tree->n].a = a;
    tree->node[tree->n].b = b;
    return tree->n++;
}

static uint8_t tree_value(const struct tree *tree, unsigned at, const uint8_t *leaf)
{
    uint8_t a;

    if (tree->node[at].op == NODE_ATOM)
        return leaf[tree->node[at].a];
    a = tree_value(tree, tree->node[at].a, leaf);
    switch (tree->node[at].op) {
    case NODE_NOT:
        return a == MAY_ABSENT ? a : a ^ MAY_BOTH;
    case NODE_GROUP:
        return a == MAY_ABSENT ? MAY_FALSE : a;
    case NODE_AND:
        return a == MAY_TRUE ? tree_value(tree, tree->node[at].b, leaf) : a;
    default:
        return a == MAY_FALSE ? tree_value(tree, tree->node[at].b, leaf) : a;
    }
}

static uint32_t tree_node(const struct tree *tree, unsigned at, struct program *program)
{
    unsigned a = tree->node[at].a, b = tree->node[at].b;
    uint32_t left;

    switch (tree->node[at].op) {
    case NODE_ATOM:
        return program_atom(program, a, MAY_ALL);
    case NODE_NOT:
        return program_not(program, tree_node(tree, a, program));
    case NODE_GROUP:
        return program_group(program, tree_node(tree, a, program));
    case NODE_AND:
        left = tree_node(tree, a, program);
        return program_and(program, left, tree_node(tree, b, program));
    default:
        left = tree_node(tree, a, program);
        return program_or(program, left, tree_node(tree, b, program));
    }
}

/* What the tree may be, over all outcomes of its leaves. */
static uint8_t tree_outcomes(const struct tree *tree, const uint8_t *may)
{
    uint8_t found = 0, leaf[LEAVES];

    for (unsigned i = 0; i < 243; i++) {
        bool possible = true;

        for (unsigned k = 0, rest = i; k < LEAVES; k++, rest /= 3) {
            leaf[k] = (uint8_t)(1 << rest % 3);
            possible &= (leaf[k] & may[k]) != 0;
        }
        if (possible)
            found |= tree_value(tree, tree->n - 1, leaf) == MAY_TRUE ? MAY_TRUE : MAY_FALSE;
    }
    return found;
}

/* Some leaves are settled before the code is made, as for a protocol. */
static uint8_t leaf_may(void *context, uint32_t atom)
{
    const uint8_t *may = context;

    return atom & 1 ? MAY_ALL : may[atom];
}

static void what_is_decidable_is_settled(void)
{
    uint64_t decidable = 0, settled = 0, wrong = 0;

    for (unsigned i = 0; i < 20000; i++) {
        struct tree tree = {0};
        struct program program;
        uint8_t may[LEAVES], cell[256], outcomes;
        uint8_t slot = 0;
        uint32_t root, protos = 1, map[256];
        struct code code;
        struct kfl_verdict verdict;

        tree_make(&tree, 3, false);
        program_init(&program);
        root = program_group(&program, tree_node(&tree, tree.n - 1, &program));
        for (unsigned k = 0; k < LEAVES; k++)
            may[k] = (uint8_t)(1 + kfl_random_below(&rng, 7));
        program_specialise(&program, program.n, leaf_may, may, map);
        root = map[root];
        CU_ASSERT_EQUAL_FATAL(code_make(&program, LEAVES, &root, &slot, &protos, 1, &code), 0);
        for (unsigned k = 0; k <= MAY_ALL; k++)
            cell[k] = cell_of_may[k];
        for (unsigned k = 0; k < LEAVES; k++)
            cell[CODE_CELL_ATOMS + k] = cell_of_may[may[k]];
        verdict = code_run(&code, cell, 1);
        outcomes = tree_outcomes(&tree, may);
        decidable += outcomes != MAY_BOTH;
        settled += verdict.matched || verdict.out;
        wrong +=
            (verdict.matched && outcomes != MAY_TRUE) || (verdict.out && outcomes != MAY_FALSE);
        code_done(&code);
        program_done(&program);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(settled * 100 >= decidable * 95);
    tap_note("%.1f %% of what is decidable is settled",
             100.0 * (double)settled / (double)decidable);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"what is decidable is settled, and nothing else", what_is_decidable_is_settled},
        {"the plan agrees with the naive evaluator, in any order of facts",
         the_plan_agrees_with_the_naive_evaluator},
        {0},
    };
    const char *given = getenv("KFL_RANDOM_SEED");

    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    rng.state = seed;
    return tap_main(argc, argv, "kfl plan, generated", tests);
}
