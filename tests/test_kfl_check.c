/* What `kfl check` warns of, by the numbers of the specification, and what it lets pass. */
#include <stdio.h>
#include <string.h>

#include "../kfl-jit/kfl.h"
#include "tap.h"

static void warnings(const char *text, char *numbers, size_t size, struct kfl_messages *messages)
{
    struct kfl_statement *statement;
    size_t n = 0;

    numbers[0] = 0;
    CU_ASSERT_EQUAL_FATAL(kfl_statement_create(text, strlen(text), 0, &statement, messages), 0);
    for (uint32_t i = 0; i < messages->n; i++)
        n += (size_t)snprintf(numbers + n, size - n, " %u", messages->message[i].warning);
    snprintf(numbers + n, size - n, " ");
    kfl_statement_free(statement);
}

static void each_warning_is_given(void)
{
    static const struct {
        unsigned number;
        const char *text, *says;
    } row[] = {
        {1, "http and dns or tcp", "((protocol.abbr == \"HTTP\") and ("},
        {2, "response.status == 500 or dns", "put it in parentheses"},
        {3, "!request.headers[\"X\"]", "write !(request.headers.X)"},
        {3, "x.y != 1", "write !("},
        {4, "response.statuscode", "did you mean response.status?"},
        {4, "src.pod == \"x\"", "no entry has src.pod"},
        {5, "protocol.name == \"HTTP\"", "one of: http, ws"},
        {5, "response.status == \"5xx\"", "is an int"},
        {5, "dst.port == \"http\"", "port number"},
        {5, "conn.state == \"finished\"", "half-open"},
        {6, "dns and response.status == 500", "no entry has both"},
        {6, "udp and http", "no entry has both"},
        {7, "request.headers == \"\"", "is an object"},
        {7, "response.status != \"ok\"", "is an int"},
        {8, "!response.status", "no bool"},
        {8, "-request.method", "no number"},
        {9, "request and http", "write request != nil"},
        {9, "(src)", "write src != nil"},
        {10, "request.method > \"GET\"", "counts as 0"},
        {11, "1 < elapsedTime < 5", "(1 < (elapsedTime < 5))"},
        {12, "request.headers[\"user-agent\"]", "[\"User-Agent\"]"},
        {13, "request.path == \"/a.*\"", "r\"/a.*\""},
        {14, "src.name == \"a\\nb\"", "not decoded"},
        {14, "src.name.contains('a\\\\b')", "not decoded"},
        {15, "tls == TRUE", "did you mean true?"},
        {15, "error == null", "did you mean nil?"},
        {15, "HTTP", "did you mean http?"},
        {16, "true or http", "never evaluated"},
        {16, "false and http", "never evaluated"},
        {17, "limit(5) and limit(9)", "the first limit counts: 5"},
        {17, "!limit(5)", "all the same"},
        {17, "limit(0)", "no limit"},
        {18, "timestamp > datetime(\"2024-01-01\")", "M/D/YYYY"},
        {18, "timestamp > seconds(\"soon\")", "counts as 0"},
        {19, "src.ip == r\"10.0.0.1\"", "any character"},
        {20, "response.body.contains(\"x\")", "costs"},
        {20, "conn.bytes > 5", "stream ends"},
        {21, "src.name.contains(x: \"t\")", "means nothing"},
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct kfl_messages messages;
        char numbers[128];
        bool found = false;

        warnings(row[i].text, numbers, sizeof(numbers), &messages);
        for (uint32_t k = 0; k < messages.n; k++)
            found |= messages.message[k].warning == row[i].number &&
                     strstr(messages.message[k].text, row[i].says) != NULL;
        CU_ASSERT_TRUE(found);
        if (!found)
            tap_note("%s:%s%s", row[i].text, numbers,
                     messages.n > 0 ? messages.message[0].text : "");
    }
}

static void what_is_meant_passes(void)
{
    static const char *const texts[] = {
        "",
        ("(response.status == 500) and (request.headers[\"User-Agent\"] == \"kube-probe/1.27+\") "
         "and (src.name == \"node-exporter\")"),
        "http and response.status >= 500",
        "dns and request.questions[0].name.endsWith(\".local\")",
        "dst.port == 443 or dst.port > 1023",
        "src.ip == \"10.0.0.1\" or src.ip == r\"^10\\.0\\.\"",
        "(response.status == 500) or dns",
        "!(error)",
        "error and error.type == \"timeout\"",
        "postgresql and !(response.status == \"ok\")",
        "mysql and response.status == \"ERR\"",
        "kafka and request.payload.groupId == \"billing\"",
        "timestamp > minutes(-5) and limit(10)",
        "redact(\"request.headers.Authorization\") and http",
        "request != nil and tls",
        "request.headers[\":authority\"] == \"x\"",
        "conn.l7 == \"HTTP\"",
        "tunnel.type == \"\" and vlan.id == 100",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct kfl_messages messages;
        char numbers[128];

        warnings(texts[i], numbers, sizeof(numbers), &messages);
        CU_ASSERT_EQUAL(messages.n, 0);
        if (messages.n > 0)
            tap_note("%s:%s%s", texts[i], numbers, messages.message[0].text);
    }
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"each warning is given", each_warning_is_given},
        {"what is meant passes", what_is_meant_passes},
        {0},
    };
    return tap_main(argc, argv, "kfl_check", tests);
}
