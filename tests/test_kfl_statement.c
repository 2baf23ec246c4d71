/* Statements as text: spellings that mean the same, and what is refused, where, with which words.
 */
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/kfl.h"
#include "tap.h"

static const int64_t now_ms = 1767323045000;

static char *shown(const char *text)
{
    struct kfl_statement *statement;
    struct kfl_messages messages;
    char *result;

    if (kfl_statement_create(text, strlen(text), now_ms, &statement, &messages) != 0) {
        tap_note("%s: %s", text, messages.message[0].text);
        return NULL;
    }
    result = kfl_statement_show(statement);
    kfl_statement_free(statement);
    return result;
}

static void spellings_that_mean_the_same(void)
{
    static const struct {
        const char *grouped, *text;
    } row[] = {
        {"(a and (b or c))", "a and b or c"},
        {"(a or (b and c))", "a or b and c"},
        {"((a and b) or c)", "(a and b) or c"},
        {"(a == (b != c))", "a == b != c"},
        {"(a < (b < c))", "a < b < c"},
        {"(a == (b < c))", "a==b<c"},
        {"(!a == b)", "!a == b"},
        {"(!-a)", "(!-a)"},
        {"true", ""},
        {"true", " \t\r\n // nothing\n/* at all */"},
        {"(a >= 5)", "a >\n = /* x */ 5"},
        {"(a == b)", "a = = b"},
        {"a.b.c", "a . b .c"},
        {"a.b[0].*..c", "a[\"b\"][00][*]..c"},
        {"a.b", "a[`b`]"},
        {"a[\"b-c\"]['d\"e']", "a['b-c'][`d\"e`]"},
        {"a.*.b", "a.*.b"},
        {"(a.* and b)", "a.* and b"},
        {"a.json().b.contains(\"x\")", "a.json ( ) .b.contains(\"x\")"},
        {"a.xml()[0].json()", "a.xml()[0].json()"},
        {"(protocol.abbr == \"HTTP\")", "http"},
        {"http.x", "http.x"},
        {"http.x", "http[\"x\"]"},
        {"((error != nil) and (error == nil))", "error and error == nil"},
        {"((tls == true) or (tls == false))", "tls or tls == false"},
        {"(record == \"r\")", "record(\"r\")"},
        {"(16 == 1000)", "0x1p4 == 1_000"},
        {"(0.5 < 5)", ".5 < 5."},
        {"(and == or)", "and == or"},
        {"x.now", "x.now"},
        {"(now < now())", "now < now()"},
        {"limit(5)", "limit(n: 5)"},
        {"(x == r\"\\d\\\"\")", "x == r \"\\d\\\"\""},
        {"naïve.été", "naïve . été"},
        {"(a == \"b\\\")", "a == \"b\\\"\""}, /* its last quote is not part of the value */
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char *text = shown(row[i].text);

        CU_ASSERT(text != NULL && strcmp(text, row[i].grouped) == 0);
        if (text == NULL || strcmp(text, row[i].grouped) != 0)
            tap_note("%s is %s", row[i].text, text != NULL ? text : "refused");
        free(text);
    }
}

static void what_is_refused_says_where_and_why(void)
{
    static const struct {
        const char *text;
        uint32_t line, column;
        const char *says;
    } row[] = {
        {"not (x)", 1, 1, "write !(x)"},
        {"not x", 1, 5, "write !(x)"},
        {"a AND b", 1, 3, "did you mean and?"},
        {"a && b", 1, 3, "did you mean and?"},
        {"a || b", 1, 3, "did you mean or?"},
        {"a = 1", 1, 3, "did you mean ==?"},
        {"a\n== 1 &", 2, 6, "did you mean and?"},
        {"été == 1 &", 1, 10, "unexpected &"},
        {"x.startswith(\"a\")", 1, 3, "did you mean startsWith?"},
        {"x.now()", 1, 3, "takes no field"},
        {"json(\"x\")", 1, 1, "needs a field"},
        {"limit()", 1, 1, "takes 1 argument"},
        {"x.json(1)", 1, 3, "takes no arguments"},
        {"redact()", 1, 1, "1 or more"},
        {"s.contains(other)", 1, 12, "made of literals"},
        {"s.contains(r\"x\")", 1, 12, "made of literals"},
        {"s.contains(http)", 1, 12, "made of literals"},
        {"x == r\"(\"", 1, 6, "pattern ("},
        {"x == \"\\d\"", 1, 6, "invalid escape"},
        {"x == '\\\"'", 1, 6, "invalid escape"},
        {"s.contains(\"x\").y", 1, 16, "nothing can follow contains"},
        {"limit(5).x", 1, 9, "nothing can follow limit"},
        {"redact(\"a[\")", 1, 8, "cannot be read"},
        {"redact(\"\")", 1, 8, "cannot be read"},
        {"redact(\"a.json()\")", 1, 8, "cannot be read"},
        {"limit(-1)", 1, 7, "cannot be negative"},
        {"limit(1e30)", 1, 7, "out of range"},
        {"years(9223372036854775807)", 1, 7, "out of range"},
        {"a == 1e999", 1, 6, "out of range"},
        {"a[0x1]", 1, 4, "expected ]"},
        {"a[1.5]", 1, 3, "expected a number"},
        {"a[99999999999999999999]", 1, 3, "expected a number"},
        {"a[-1]", 1, 3, "expected a number"},
        {"a.", 1, 3, "expected a name"},
        {"(a", 1, 3, "expected )"},
        {"a)", 1, 2, "unexpected )"},
        {"a b", 1, 3, "unexpected b"},
        {"a == \"x", 1, 6, "not closed"},
        {"a == \"x\n\"", 1, 6, "not closed"},
        {"a /* x", 1, 3, "not closed"},
        {"a == #", 1, 6, "unexpected #"},
        {"a.json(", 1, 8, "unexpected end"},
        {"a.5", 1, 2, "unexpected .5"},
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct kfl_statement *statement = NULL;
        struct kfl_messages messages;
        const struct kfl_message *message = &messages.message[0];
        int result =
            kfl_statement_create(row[i].text, strlen(row[i].text), now_ms, &statement, &messages);
        bool right = result < 0 && messages.n > 0 && message->warning == 0 &&
                     message->line == row[i].line && message->column == row[i].column &&
                     strstr(message->text, row[i].says) != NULL;

        CU_ASSERT_TRUE(right);
        if (!right && result < 0)
            tap_note("%s: %u:%u: %s", row[i].text, message->line, message->column, message->text);
        kfl_statement_free(statement);
    }
}

static void every_error_is_reported(void)
{
    static const char text[] = "x.startswith(1) and y == r\"(\" and redact(\"[\") and foo(1)";
    struct kfl_statement *statement;
    struct kfl_messages messages;

    CU_ASSERT_TRUE(kfl_statement_create(text, strlen(text), 0, &statement, &messages) < 0);
    CU_ASSERT_EQUAL(messages.n, 4);
}

static int create_nested(unsigned levels, char open, const char *close)
{
    static char text[2048];
    size_t n = 0;
    struct kfl_statement *statement;
    int result;

    for (unsigned i = 0; i < levels; i++)
        text[n++] = open;
    text[n++] = '1';
    for (unsigned i = 0; i < levels; i++, n += strlen(close))
        strcpy(text + n, close);
    result = kfl_statement_create(text, n, 0, &statement, NULL);
    if (result == 0)
        kfl_statement_free(statement);
    return result;
}

static void limits_are_exact(void)
{
    struct kfl_statement *statement;
    char *text = malloc(KFL_STATEMENT_SIZE_MAX + 1);

    CU_ASSERT_EQUAL(create_nested(KFL_NESTING_MAX, '(', ")"), 0);
    CU_ASSERT_TRUE(create_nested(KFL_NESTING_MAX + 1, '(', ")") < 0);
    CU_ASSERT_EQUAL(create_nested(KFL_NESTING_MAX, '!', ""), 0);
    CU_ASSERT_TRUE(create_nested(KFL_NESTING_MAX + 1, '-', "") < 0);
    memset(text, ' ', KFL_STATEMENT_SIZE_MAX + 1);
    CU_ASSERT_EQUAL(kfl_statement_create(text, KFL_STATEMENT_SIZE_MAX, 0, &statement, NULL), 0);
    kfl_statement_free(statement);
    CU_ASSERT_TRUE(kfl_statement_create(text, KFL_STATEMENT_SIZE_MAX + 1, 0, &statement, NULL) < 0);
    for (size_t i = 0; i < KFL_STATEMENT_SIZE_MAX; i++) /* as many terms as fit */
        text[i] = "a==a<a or "[i % 10];
    text[KFL_STATEMENT_SIZE_MAX - 6] = 'a';
    memset(text + KFL_STATEMENT_SIZE_MAX - 5, ' ', 5);
    CU_ASSERT_EQUAL(kfl_statement_create(text, KFL_STATEMENT_SIZE_MAX, 0, &statement, NULL), 0);
    kfl_statement_free(statement);
    free(text);
}

static void jobs_have_rules_of_their_own(void)
{
    static const struct {
        const char *text;
        bool allowed;
        int64_t last_ms;
    } row[] = {
        {"http", true, INT64_MAX},
        {"record(\"x\") or http", false, INT64_MAX},
        {"http and redact(\"request.headers\")", true, INT64_MAX},
        {"redact(\"request.headers\") and request.headers[\"X\"] == 1", false, INT64_MAX},
        {"request.headers[\"X\"] == 1 and redact(\"request.headers\")", true, INT64_MAX},
        {"redact(\"request.headers.X\") and request.headers[\"Y\"] == 1", true, INT64_MAX},
        {"redact(\"request.headers.X\") and (request.headers.* == 1)", false, INT64_MAX},
        {"redact(\"..token\") and response.body.contains(\"x\")", true, INT64_MAX},
        {"redact(\"..token\") and request.headers.token", false, INT64_MAX},
        {"redact(\"response.body.json().p\") and response.body.contains(\"x\")", false, INT64_MAX},
        {"redact(\"response.body.json().p\") and response.body.json().q == 1", true, INT64_MAX},
        {"redact(\"response.body.json().p\") and response.body.json().p == 1", false, INT64_MAX},
        {"timestamp < seconds(60)", true, 60999},
        {"http and (timestamp <= 5000 or timestamp == 70)", true, 5000},
        {"timestamp < 5000 or dns", true, INT64_MAX},
        {"7 >= timestamp and dns", true, 7},
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct kfl_statement *statement;
        struct kfl_messages messages;
        bool allowed;

        CU_ASSERT_EQUAL_FATAL(
            kfl_statement_create(row[i].text, strlen(row[i].text), 1000, &statement, NULL), 0);
        allowed = kfl_statement_check_job(statement, &messages) == 0;
        CU_ASSERT_EQUAL(allowed, row[i].allowed);
        CU_ASSERT_EQUAL(allowed, messages.n == 0);
        CU_ASSERT_EQUAL(kfl_statement_last_ms(statement), row[i].last_ms);
        if (allowed != row[i].allowed || kfl_statement_last_ms(statement) != row[i].last_ms)
            tap_note("%s: %lld", row[i].text, (long long)kfl_statement_last_ms(statement));
        kfl_statement_free(statement);
    }
}

static void a_caret_shows_the_place(void)
{
    static const char text[] = "a ==\n\té == 1 & 2";
    struct kfl_statement *statement;
    struct kfl_messages messages;
    char line[128], caret[128];

    CU_ASSERT_TRUE(kfl_statement_create(text, strlen(text), 0, &statement, &messages) < 0);
    kfl_message_format(&messages.message[0], line, sizeof(line));
    kfl_message_caret(&messages.message[0], text, strlen(text), caret, sizeof(caret));
    CU_ASSERT_STRING_EQUAL(line, "2:9: unexpected &; did you mean and?");
    CU_ASSERT_STRING_EQUAL(caret, "\té == 1 & 2\n\t       ^");
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"spellings that mean the same", spellings_that_mean_the_same},
        {"what is refused says where and why", what_is_refused_says_where_and_why},
        {"every error is reported", every_error_is_reported},
        {"limits are exact", limits_are_exact},
        {"jobs have rules of their own", jobs_have_rules_of_their_own},
        {"a caret shows the place", a_caret_shows_the_place},
        {0},
    };
    return tap_main(argc, argv, "kfl_statement", tests);
}
