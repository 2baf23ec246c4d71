/* The open vectors that are about entries, through the compiled plan: native, interpreted, tree. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kfl-jit/plan.h"
#include "../kfl-jit/value.h"
#include "entry_of_json.h"
#include "tap.h"

enum { ARENA_SIZE = 64 << 20, ASKED_MIN = 150 };

struct tally {
    unsigned lines, shaped, asked, of_no_job, wrong;
};

/* -> is the record an entry to the last member? (Some count what their stream could not.) */
static bool is_entry(const struct kfl_value *record, struct kfl_arena *arena,
                     struct entry_of_json *ret_entry)
{
    const struct kfl_value *back;

    if (record->type != KFL_OBJECT || !entry_of_json(record, arena, ret_entry))
        return false;
    back = kfl_entry_value(arena, &ret_entry->entry);
    return back && value_same(back, record);
}

static void ask(const struct kfl_value *query, bool truth, const struct kfl_entry *entry,
                struct tally *tally)
{
    struct kfl_plan_job job = {.slot = 0, .stored = true};
    struct kfl_statement *statement;
    struct kfl_messages messages;
    struct kfl_plan *plan;
    unsigned slot;

    if (kfl_statement_create(query->text, query->size, (int64_t)time(NULL) * 1000, &statement,
                             NULL)) {
        CU_ASSERT_FALSE(truth); /* an error is true for nothing */
        return;
    }
    job.statement = statement;
    if (kfl_plan_create(&job, 1, 1, true, &plan, &slot, &messages)) {
        tally->of_no_job++; /* it would read what it has redacted */
        kfl_statement_free(statement);
        return;
    }
    tally->asked++;
    for (int mode = KFL_PLAN_NATIVE; mode <= KFL_PLAN_TREE; mode++) {
        struct kfl_verdict verdict;

        kfl_plan_set_mode(plan, (enum kfl_plan_mode)mode);
        verdict = kfl_plan_entry(plan, 0, entry, 1);
        if (verdict.matched == truth && verdict.out == !truth)
            continue;
        tally->wrong++;
        tap_note("%.*s: is %s, mode %d says matched %d, out %d", (int)query->size, query->text,
                 truth ? "true" : "false", mode, (int)verdict.matched, (int)verdict.out);
    }
    kfl_plan_free(plan);
    kfl_statement_free(statement);
}

static void the_plan_agrees_with_the_open_vectors(void)
{
    static struct entry_of_json entry;
    struct kfl_arena *arena = kfl_arena_create(ARENA_SIZE);
    struct tally tally = {0};
    char path[4096], *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    FILE *file;

    snprintf(path, sizeof(path), "%s/kfl/vectors-open.ndjson", tap_shared() ? tap_shared() : "");
    file = fopen(path, "re");
    if (!file) {
        tap_skip("../shared/kfl/vectors-open.ndjson is not there");
        kfl_arena_free(arena);
        return;
    }
    while ((size = getline(&line, &capacity, file)) > 0) {
        const struct kfl_value *vector, *record, *query, *truth;
        const char *what;

        kfl_arena_reset(arena);
        vector = kfl_json_parse(arena, line, (size_t)size, &what);
        CU_ASSERT_PTR_NOT_NULL_FATAL(vector);
        record = value_member(vector, "record", 6);
        query = value_member(vector, "query", 5);
        truth = value_member(vector, "truth", 5);
        tally.lines++;
        if (!record || !is_entry(record, arena, &entry))
            continue;
        tally.shaped++;
        ask(query, truth->boolean, &entry.entry, &tally);
    }
    free(line);
    fclose(file);
    kfl_arena_free(arena);
    CU_ASSERT_EQUAL(tally.wrong, 0);
    CU_ASSERT(tally.asked >= ASKED_MIN);
    tap_note("%u vectors, %u about entries: %u asked, %u that no job may ask", tally.lines,
             tally.shaped, tally.asked, tally.of_no_job);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"the plan agrees with the open vectors", the_plan_agrees_with_the_open_vectors},
        {0},
    };

    return tap_main(argc, argv, "kfl vectors", tests);
}
