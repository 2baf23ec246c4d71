/* answer.c - a statement and a record in, the answer out: the evaluator as a filter of lines. */
#include <errno.h>
#include <string.h>

#include "eval.h"

struct answer {
    bool truth;
    const char *error; /* or null */
    int64_t limit;
    const struct kfl_value *record; /* if it changed, or null */
};

static void answer_job(struct kfl_arena *arena, const struct kfl_value *query,
                       struct kfl_value *record, int64_t now_ms, struct answer *answer);
static const char *first_message(struct kfl_arena *arena, const struct kfl_value *query,
                                 int64_t now_ms);
static const char *print_answer(struct kfl_arena *arena, const struct answer *answer);
static void add_member(struct kfl_value *object, struct kfl_value *member, const char *key);

const char *kfl_answer(struct kfl_arena *arena, const char *line, size_t size, int64_t now_ms)
{
    struct answer answer = {.error = "the line is not a JSON object with \"query\" and \"record\""};
    struct kfl_value *job = NULL, *query, *record;
    const char *what = "";

    if (!utf8_valid(line, size)) {
        size_t clean = utf8_clean_size(line, size);
        char *copy = kfl_arena_alloc(arena, clean);

        if (copy != NULL)
            utf8_clean_copy(copy, line, size, clean);
        line = copy;
        size = clean;
    }
    if (line != NULL)
        job = kfl_json_parse(arena, line, size, &what);
    if (line == NULL || (job == NULL && what == kfl_json_no_memory)) {
        kfl_arena_reset(arena);
        answer.error = "the line is too large";
    } else if (job != NULL && job->type == KFL_OBJECT) {
        query = value_member(job, "query", 5);
        record = value_member(job, "record", 6);
        if (query != NULL && query->type == KFL_STRING && record != NULL)
            answer_job(arena, query, record, now_ms, &answer);
    }
    return print_answer(arena, &answer);
}

static void answer_job(struct kfl_arena *arena, const struct kfl_value *query,
                       struct kfl_value *record, int64_t now_ms, struct answer *answer)
{
    struct kfl_statement *statement;
    bool changed, exhausted;
    int result = kfl_statement_create(query->text, query->size, now_ms, &statement, NULL);

    if (result < 0) {
        answer->error =
            result == -EINVAL ? first_message(arena, query, now_ms) : "no memory for the statement";
        return;
    }
    answer->truth = kfl_statement_eval(statement, record, arena, &changed, &exhausted);
    answer->limit = kfl_statement_limit(statement);
    answer->record = changed ? record : NULL;
    answer->error = NULL;
    if (exhausted)
        *answer = (struct answer){.error = "the record is too large for this statement"};
    kfl_statement_free(statement);
}

static const char *first_message(struct kfl_arena *arena, const struct kfl_value *query,
                                 int64_t now_ms)
{
    enum { SIZE = 300 };
    struct kfl_statement *statement;
    struct kfl_messages messages;
    char *text = kfl_arena_alloc(arena, SIZE);

    if (text == NULL ||
        kfl_statement_create(query->text, query->size, now_ms, &statement, &messages) == 0)
        return "this statement is an error";
    kfl_message_format(&messages.message[0], text, SIZE);
    return text;
}

static const char *print_answer(struct kfl_arena *arena, const struct answer *answer)
{
    struct kfl_value object = {.type = KFL_OBJECT};
    struct kfl_value truth = {.type = KFL_BOOL, .boolean = answer->truth};
    struct kfl_value error = {.type = KFL_NULL};
    struct kfl_value limit = {.type = KFL_INT, .integer = answer->limit};
    struct kfl_value record = {.type = KFL_NULL};
    size_t size;
    char *text;

    if (answer->error != NULL)
        error = (struct kfl_value){
            .type = KFL_STRING, .text = answer->error, .size = (uint32_t)strlen(answer->error)};
    if (answer->record != NULL)
        record = *answer->record;
    add_member(&object, &truth, "truth");
    add_member(&object, &error, "error");
    add_member(&object, &limit, "limit");
    add_member(&object, &record, "record");
    size = json_write(&object, NULL, 0);
    text = kfl_arena_alloc(arena, size + 1);
    if (text == NULL)
        return NULL;
    json_write(&object, text, size);
    text[size] = 0;
    return text;
}

static void add_member(struct kfl_value *object, struct kfl_value *member, const char *key)
{
    member->key = key;
    member->key_size = (uint32_t)strlen(key);
    member->next = NULL;
    if (object->last == NULL)
        object->first = member;
    else
        object->last->next = member;
    object->last = member;
    object->size++;
}
