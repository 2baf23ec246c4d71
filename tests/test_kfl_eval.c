/* Statements and records: what holds, what redact() leaves, and that memory is bounded. */
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/kfl.h"
#include "tap.h"

enum { ARENA_SIZE = 8 << 20 };

static void statements_hold_or_not(void)
{
    static const char record[] =
        "{\"a\":1,\"s\":\"x-5.5\",\"l\":[1,\"5\",null],\"o\":{\"k\":\"v\",\"n\":-3},\"big\":"
        "9007199254740993,\"e\":\"\",\"f\":0.5,\"t\":true,\"z\":null,\"l1\":[7],\"p\":\"80\","
        "\"j\":\"{\\\"q\\\":[1,{\\\"q\\\":2}]}\",\"b\":\"eyJxIjogIncifQ==\","
        "\"x\":\"<r><i>1</i><i> 2 </i><ns:i xmlns:ns='u'>3</ns:i></r>\",\"u\":\"\xc3\xa9\"}";
    static const struct {
        const char *text;
        bool holds;
    } row[] = {
        {"a == 1 and s == r\"\\d\\.\\d\"", true},
        {"missing or true", false},
        {"(missing) or true", true},
        {"!missing", false},
        {"!(missing)", true},
        {"missing == nil", false},
        {"z == nil and z == \"null\"", true},
        {"a == 1 or missing", true},
        {"false == (missing == 1)", true},
        {"!missing.startsWith(\"x\")", true},
        {"missing.json().x == false", true},
        {"l == 5 and l == nil and l != 7", true},
        {"l > 4", true},
        {"l.* == l and l1.* == 7 and l1.* != l1", false},
        {"o == \"\" and o == e and !(o)", false},
        {"o == \"\" and o == e and !(o == 1)", true},
        {"big == 9007199254740993 and big != 9007199254740992.0", true},
        {"f == 0.5 and f == \".5\"", false},
        {"p == 80 and p > 79.5 and p != 80.5", true},
        {"5 == \"5\" and true == \"true\"", true},
        {"\"5.0\" == 5", false},
        {"-o.n == 3 and --o.n < 0", true},
        {"1 < 5 < 3", false}, /* 1 < (5 < 3) is 1 < 0 */
        {"false and true or true", false},
        {"j.json().q[0] == 1 and j.json()..q == 2", true},
        {"j.json()..q", true},
        {"b.json().q == \"w\" and b.json().q.startsWith(\"w\")", true},
        {"x.xml().r.i == \"2\" and x.xml().r.i[2] == 3 and x.xml()..i[1] == \"2\"", true},
        {"s.xml() == false and s.json() == false", true},
        {"datetime(\"1/2/2024, 3:04:05 PM\") == 1704207845000", true},
        {"datetime(\"2/30/2024, 3:04:05 PM\") == false", true},
        {"seconds(1) - 1", false},
        {"u == r\"^.$\" and u == '\xc3\xa9'", true},
        {"\"inf\" > 1e308 and \"nan\" == \"nan\"", true},
        {"\"nan\" < 1 or \"nan\" >= 1", false},
        {"l..x or true", false},
        {"*", false},
    };
    struct kfl_arena *arena = kfl_arena_create(ARENA_SIZE);

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct kfl_statement *statement;
        const char *what;
        bool holds = false;

        kfl_arena_reset(arena);
        if (kfl_statement_create(row[i].text, strlen(row[i].text), 0, &statement, NULL) == 0) {
            struct kfl_value *value = kfl_json_parse(arena, record, strlen(record), &what);

            CU_ASSERT_PTR_NOT_NULL_FATAL(value);
            holds = kfl_statement_eval(statement, value, arena, NULL, NULL);
            kfl_statement_free(statement);
        }
        CU_ASSERT_EQUAL(holds, row[i].holds);
        if (holds != row[i].holds)
            tap_note("%s", row[i].text);
    }
    kfl_arena_free(arena);
}

static void redacted_values_are_hidden(void)
{
    static const struct {
        const char *text, *before, *after;
    } row[] = {
        {"redact(\"a\")", "{\"a\":{\"b\":1}}", "{\"a\":\"[REDACTED]\"}"},
        {"redact(\"$.a[-1]\", \"@.b.*\")", "{\"a\":[1,2],\"b\":{\"x\":1,\"y\":2}}",
         "{\"a\":[1,\"[REDACTED]\"],\"b\":{\"x\":\"[REDACTED]\",\"y\":\"[REDACTED]\"}}"},
        {"redact(\"..p\")", "{\"p\":{\"p\":1},\"q\":[{\"p\":2}]}",
         "{\"p\":\"[REDACTED]\",\"q\":[{\"p\":\"[REDACTED]\"}]}"},
        {"redact(\"a.json().k\")", "{\"a\":\"{\\\"k\\\": 1}\"}",
         "{\"a\":\"{\\\"k\\\":\\\"[REDACTED]\\\"}\"}"},
        {"redact(\"a.json().k\")", "{\"a\":\"eyJrIjoxfQ==\"}",
         "{\"a\":\"eyJrIjoiW1JFREFDVEVEXSJ9\"}"},
        {"redact(\"a.xml().r.k\")",
         "{\"a\":\"<?xml version='1.0'?> <r><k a='b'>1<i/></k>&amp;</r>\"}",
         "{\"a\":\"<?xml version='1.0'?> <r><k>[REDACTED]</k>&amp;</r>\"}"},
        {"redact(\"x\", \"a.json().y\", \"a[0]\")", "{\"a\":\"{}\"}", NULL},
        {"redact(\"a\")", "{\"a\":\"[REDACTED]\"}", NULL},
        {"false and redact(\"a\")", "{\"a\":1}", NULL},
        {"redact(\"a\") and a == 1", "{\"a\":1}", "{\"a\":\"[REDACTED]\"}"},
    };
    struct kfl_arena *arena = kfl_arena_create(ARENA_SIZE);

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct kfl_statement *statement;
        struct kfl_value *value;
        const char *what;
        char after[1024];
        bool changed;

        kfl_arena_reset(arena);
        CU_ASSERT_EQUAL_FATAL(
            kfl_statement_create(row[i].text, strlen(row[i].text), 0, &statement, NULL), 0);
        value = kfl_json_parse(arena, row[i].before, strlen(row[i].before), &what);
        kfl_statement_eval(statement, value, arena, &changed, NULL);
        CU_ASSERT_EQUAL(changed, row[i].after != NULL);
        CU_ASSERT(kfl_json_print(value, after, sizeof(after)) > 0);
        CU_ASSERT_STRING_EQUAL(after, row[i].after != NULL ? row[i].after : row[i].before);
        /* In a job every redact() applies, evaluated or not. */
        value = kfl_json_parse(arena, row[i].before, strlen(row[i].before), &what);
        CU_ASSERT_TRUE(kfl_statement_redacts(statement));
        CU_ASSERT_TRUE(kfl_statement_redact(statement, value, arena));
        kfl_statement_free(statement);
    }
    kfl_arena_free(arena);
}

static void json_is_read_and_printed(void)
{
    static const struct {
        const char *text, *printed; /* null: refused */
    } row[] = {
        {" [ 1 , -0 , 0.5e1, 1E400, -1e400 ] ", "[1,0,5.0,1e999,-1e999]"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "9223372036854776000.0"},
        {"123456789012345678901234567890", "1.2345678901234568e+29"},
        {"-0.0", "-0.0"},
        {"1e-5", "1e-05"},
        {"\"\\u00e9\\ud83d\\ude00\\/\\n\\u0001\"", "\"\xc3\xa9\xf0\x9f\x98\x80/\\n\\u0001\""},
        {"\"\\ud800x\"", "\"\\ud800x\""},
        {"\"\\ud800\\ud83d\\ude00\"", "\"\\ud800\xf0\x9f\x98\x80\""},
        {"\"\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\"",
         "\"\\u0085\\u2028\\u2029\xe2\x80\xaa\""},
        {"null", "null"},
        {"", NULL},
        {"01", NULL},
        {"1.", NULL},
        {".5", NULL},
        {"+1", NULL},
        {"-", NULL},
        {"NaN", NULL},
        {"[1,]", NULL},
        {"{\"a\":1,}", NULL},
        {"{a:1}", NULL},
        {"'a'", NULL},
        {"\"\\x\"", NULL},
        {"\"\\u12g4\"", NULL},
        {"\"\t\"", NULL},
        {"\"\xff\"", NULL},
        {"\"\xed\xa0\x80\"", NULL},
        {"1 2", NULL},
        {"tru", NULL},
        {"\xef\xbb\xbf 1", NULL},
    };
    struct kfl_arena *arena = kfl_arena_create(ARENA_SIZE);

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        const char *what = NULL;
        char printed[128] = "";
        struct kfl_value *value = kfl_json_parse(arena, row[i].text, strlen(row[i].text), &what);

        CU_ASSERT_EQUAL(value != NULL, row[i].printed != NULL);
        CU_ASSERT_EQUAL(value == NULL, what != NULL);
        if (value != NULL) {
            CU_ASSERT(kfl_json_print(value, printed, sizeof(printed)) > 0);
            CU_ASSERT_STRING_EQUAL(printed, row[i].printed);
            if (strcmp(printed, row[i].printed) != 0)
                tap_note("%s is %s", row[i].text, printed);
            CU_ASSERT(kfl_json_print(value, printed, strlen(row[i].printed)) < 0);
        }
    }
    kfl_arena_free(arena);
}

/* Nested as deep as is allowed, and deeper. */
static void depth_is_bounded(void)
{
    static const char *const texts[] = {"..x or true", "a..x == a..x", "redact(\"..x\")"};
    struct kfl_arena *arena = kfl_arena_create(ARENA_SIZE);

    for (unsigned depth = KFL_JSON_DEPTH_MAX - 1; depth <= KFL_JSON_DEPTH_MAX + 1; depth++) {
        char record[4 * KFL_JSON_DEPTH_MAX];
        const char *what;
        struct kfl_value *value;

        kfl_arena_reset(arena);
        memset(record, '[', depth);
        memset(record + depth, ']', depth);
        value = kfl_json_parse(arena, record, 2 * depth, &what);
        CU_ASSERT_EQUAL(value != NULL, depth <= KFL_JSON_DEPTH_MAX);
        for (size_t i = 0; value != NULL && i < sizeof(texts) / sizeof(texts[0]); i++) {
            struct kfl_statement *statement;

            if (kfl_statement_create(texts[i], strlen(texts[i]), 0, &statement, NULL) < 0)
                continue;
            kfl_statement_eval(statement, value, arena, NULL, NULL);
            kfl_statement_free(statement);
        }
    }
    kfl_arena_free(arena);
}

/* Whatever memory there is: an answer, or exhausted and false. */
static void memory_is_bounded(void)
{
    static const char text[] = "redact(\"x.xml().r.*\", \"j.json()..q\") and "
                               "j.json()..q.contains(\"R\") and x.xml().r.i == "
                               "\"[REDACTED]\" and l.* == l.* and ((l..a) or true)";
    static const char record[] = "{\"j\":\"{\\\"q\\\":[1,{\\\"q\\\":2}]}\",\"l\":[1,2,3,4,5,6],"
                                 "\"x\":\"<r><i>1</i><i a='1'>2</i></r>\"}";
    struct kfl_statement *statement;
    unsigned n_true = 0, n_exhausted = 0;

    CU_ASSERT_EQUAL_FATAL(kfl_statement_create(text, strlen(text), 0, &statement, NULL), 0);
    for (size_t size = 2048; size <= 600 << 10; size += 4096) {
        struct kfl_arena *arena = kfl_arena_create(size);
        const char *what;
        struct kfl_value *value = kfl_json_parse(arena, record, strlen(record), &what);
        bool holds, exhausted;

        CU_ASSERT_PTR_NOT_NULL_FATAL(value);
        holds = kfl_statement_eval(statement, value, arena, NULL, &exhausted);
        CU_ASSERT_FALSE(holds && exhausted);
        n_true += holds;
        n_exhausted += exhausted;
        kfl_arena_free(arena);
    }
    CU_ASSERT(n_true > 0 && n_exhausted > 0);
    kfl_statement_free(statement);
}

/* Paths that multiply end by themselves. */
static void work_is_bounded(void)
{
    static const char text[] = "a..a..a..a..a..a..a..a..a..a == 1";
    char record[8 * 200] = "";
    struct kfl_statement *statement;
    struct kfl_arena *arena = kfl_arena_create((size_t)64 << 20);
    bool exhausted;
    const char *what;
    size_t n = 0;

    for (int i = 0; i < 200; i++, n += 5)
        memcpy(record + n, "{\"a\":", 5);
    record[n++] = '1';
    for (int i = 0; i < 200; i++)
        record[n++] = '}';
    CU_ASSERT_EQUAL_FATAL(kfl_statement_create(text, strlen(text), 0, &statement, NULL), 0);
    CU_ASSERT_FALSE(kfl_statement_eval(statement, kfl_json_parse(arena, record, n, &what), arena,
                                       NULL, &exhausted));
    CU_ASSERT_TRUE(exhausted);
    kfl_statement_free(statement);
    kfl_arena_free(arena);
}

static void lines_are_answered(void)
{
    static const struct {
        const char *line, *answer;
    } row[] = {
        {"{\"query\":\"a == 1\",\"record\":{\"a\":1}}",
         "{\"truth\":true,\"error\":null,\"limit\":0,\"record\":null}"},
        {"{\"query\":\"limit(7) and redact(\\\"a\\\")\",\"record\":{\"a\":\"\xff\"}}",
         "{\"truth\":true,\"error\":null,\"limit\":7,\"record\":{\"a\":\"[REDACTED]\"}}"},
        {"{\"query\":\"a =\",\"record\":1}",
         "{\"truth\":false,\"error\":\"1:3: unexpected =; did you mean ==?\",\"limit\":0,"
         "\"record\":null}"},
    };
    static const char *const bad[] = {"",
                                      "1",
                                      "[]",
                                      "{}",
                                      "{\"query\":1,\"record\":1}",
                                      "{\"query\":\"a\"}",
                                      "{\"record\":1}",
                                      "{\"query\":\"a\","};
    struct kfl_arena *arena = kfl_arena_create(ARENA_SIZE);

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        kfl_arena_reset(arena);
        CU_ASSERT_STRING_EQUAL(kfl_answer(arena, row[i].line, strlen(row[i].line), 0),
                               row[i].answer);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *answer = kfl_answer(arena, bad[i], strlen(bad[i]), 0);

        CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(answer, "\"error\":\"the line is not"));
    }
    kfl_arena_free(arena);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"statements hold or not", statements_hold_or_not},
        {"redacted values are hidden", redacted_values_are_hidden},
        {"JSON is read and printed", json_is_read_and_printed},
        {"depth is bounded", depth_is_bounded},
        {"memory is bounded", memory_is_bounded},
        {"work is bounded", work_is_bounded},
        {"lines are answered", lines_are_answered},
        {0},
    };
    return tap_main(argc, argv, "kfl_eval", tests);
}
