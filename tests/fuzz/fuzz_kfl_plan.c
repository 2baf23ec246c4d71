/* fuzz_kfl_plan.c - a statement's text and a seed of facts: what a plan settles, in every way of
 * running it, is what the naive evaluator says. */
#include <stdlib.h>
#include <string.h>

#include "../../kfl-jit/ensure.h"
#include "../../kfl-jit/plan.h"
#include "../kfl_random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kfl_verdict ask(struct kfl_plan *plan, const struct kfl_entry *entry)
{
    struct kfl_verdict verdict = {0, 0};

    for (int mode = KFL_PLAN_TREE; mode >= 0; mode--) {
        struct kfl_verdict before = verdict;

        kfl_plan_set_mode(plan, (enum kfl_plan_mode)mode);
        verdict = kfl_plan_entry(plan, 0, entry, 1);
        ensure(mode == KFL_PLAN_TREE ||
               (before.matched == verdict.matched && before.out == verdict.out));
    }
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kfl_random_entry random;
    static struct kfl_arena *arena;
    struct kfl_random rng = {0};
    struct kfl_statement *statement;
    struct kfl_messages messages = {0};
    struct kfl_plan_job job = {.slot = 0};
    struct kfl_plan *plan;
    struct kfl_value *record;
    struct kfl_verdict verdict;
    unsigned slot;
    bool exhausted;

    if (size < 8 || size > 4096)
        return 0;
    if (!arena)
        arena = kfl_arena_create(4 << 20);
    memcpy(&rng.state, data, 8);
    if (kfl_statement_create((const char *)data + 8, size - 8, 0, &statement, &messages))
        return 0;
    job.statement = statement;
    if (kfl_plan_create(&job, 1, 1, true, &plan, &slot, &messages)) {
        kfl_statement_free(statement);
        return 0;
    }
    free(kfl_plan_explain(plan));
    for (unsigned i = 0; i < 4; i++) {
        kfl_random_entry(&rng, &random);
        kfl_arena_reset(arena);
        record = kfl_entry_value(arena, &random.entry);
        verdict = ask(plan, &random.entry);
        ensure(record && (verdict.matched ^ verdict.out) == 1);
        if (strstr(kfl_statement_text(statement), "redact"))
            continue;
        ensure(verdict.matched == kfl_statement_eval(statement, record, arena, NULL, &exhausted) ||
               exhausted);
    }
    kfl_plan_free(plan);
    kfl_statement_free(statement);
    return 0;
}
