/* Statements by stage: what a plan knows of a stream and its entries, and when. */
#include "../kfl-jit/patterns.h"
#include "../kfl-jit/plan.h"
#include "../kfl-jit/regex.h"

#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* Stages in the order of time: first packet, protocol known, request, response, stream's end. */
enum { PACKET, PROTOCOL, REQUEST, RESPONSE, END, STAGES };

static const struct kfl_capture capture = {"file", "eth0", "10.0.0.99", "tap1"};

struct conversation {
    struct kfl_stream stream;
    struct kfl_entry entry;
    struct kfl_half request, response;
    uint32_t protos_at_first;
    uint64_t request_facts[256], response_facts[256];
};

static void conversation_init(struct conversation *c, uint8_t l4, enum kfl_proto proto)
{
    memset(c, 0, sizeof *c);
    c->stream = (struct kfl_stream){
        .number = 42,
        .first_ns = UINT64_C(1767323044998000000),
        .last_ns = UINT64_C(1767323046248000000),
        .end = {{.addr = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7},
                 .port = 40112,
                 .mac = {2, 0x42, 10, 0, 0, 7},
                 .name = "node-exporter",
                 .namespace = "monitoring"},
                {.addr = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1},
                 .port = 80,
                 .mac = {2, 0x42, 10, 0, 0, 1},
                 .name = "influx",
                 .namespace = "db"}},
        .capture = &capture,
        .ip_version = 4,
        .l4 = l4,
        .ip_protocol = l4 == KFL_L4_TCP ? 6 : 17,
        .has_ports = true,
        .has_mac = true,
        .syn_seen = true,
        .oriented = true,
        .vlan = {100, 0},
        .state = KFL_STATE_CLOSED,
        .tcp_flags = l4 == KFL_L4_TCP ? KFL_TCP_SYN | KFL_TCP_ACK : 0,
        .packets = {7, 5},
        .bytes = {1211, 2245},
        .record = "",
    };
    c->protos_at_first = kfl_protos_of_l4(l4);
    c->entry = (struct kfl_entry){.stream = &c->stream,
                                  .proto = proto,
                                  .index = 3,
                                  .version = "1.1",
                                  .request = &c->request,
                                  .response = &c->response,
                                  .error_msg = ""};
    c->request.first_ns = UINT64_C(1767323045000000001);
    c->request.last_ns = UINT64_C(1767323045000000001);
    c->response.first_ns = UINT64_C(1767323045023115001);
    c->response.last_ns = UINT64_C(1767323045023115001);
    c->request.wire_size = 428;
    c->response.wire_size = 213;
}

static void end_half(struct fact_tape *tape, struct kfl_half *half)
{
    half->facts = tape->base;
    half->facts_size = tape->size;
}

static void http(struct conversation *c)
{
    struct fact_tape tape;

    conversation_init(c, KFL_L4_TCP, KFL_PROTO_HTTP);
    fact_tape_init(&tape, c->request_facts, sizeof c->request_facts, &kfl_demand_all);
    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_METHOD, "GET");
    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_PATH, "/api/v1/items");
    fact_map(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS);
    fact_member_joined(&tape, "Host", 4, "influx:8086", 11);
    fact_member_joined(&tape, "User-Agent", 10, "kube-probe/1.27+", 16);
    fact_end(&tape);
    fact_map(&tape, KFL_FIELD_HTTP_REQUEST_QUERY_STRING);
    fact_member_collected(&tape, "tag", 3, "a", 1);
    fact_member_collected(&tape, "tag", 3, "b", 1);
    fact_member_collected(&tape, "n", 1, "42", 2);
    fact_end(&tape);
    fact_array(&tape, KFL_FIELD_HTTP_REQUEST_PATH_SEGMENTS);
    fact_text(&tape, KFL_FIELD_NONE, "api");
    fact_text(&tape, KFL_FIELD_NONE, "v1");
    fact_end(&tape);
    end_half(&tape, &c->request);
    fact_tape_init(&tape, c->response_facts, sizeof c->response_facts, &kfl_demand_all);
    fact_int(&tape, KFL_FIELD_HTTP_RESPONSE_STATUS, 500);
    fact_object(&tape, KFL_FIELD_HTTP_RESPONSE_CONTENT);
    fact_text(&tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_MIME_TYPE, "application/json");
    fact_end(&tape);
    end_half(&tape, &c->response);
}

static void dns(struct conversation *c)
{
    static const char *const names[] = {"example.com", "www.example.com"};
    struct fact_tape tape;

    conversation_init(c, KFL_L4_UDP, KFL_PROTO_DNS);
    c->stream.end[KFL_SERVER].port = 53;
    fact_tape_init(&tape, c->request_facts, sizeof c->request_facts, &kfl_demand_all);
    fact_int(&tape, KFL_FIELD_DNS_REQUEST_ID, 4660);
    fact_array(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS);
    fact_object(&tape, KFL_FIELD_NONE);
    fact_text(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_NAME, "www.example.com");
    fact_text(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_TYPE, "A");
    fact_end(&tape);
    fact_end(&tape);
    end_half(&tape, &c->request);
    fact_tape_init(&tape, c->response_facts, sizeof c->response_facts, &kfl_demand_all);
    fact_array(&tape, KFL_FIELD_DNS_RESPONSE_ANSWERS);
    for (int i = 0; i < 2; i++) {
        fact_object(&tape, KFL_FIELD_NONE);
        fact_text(&tape, KFL_FIELD_DNS_RESPONSE_ANSWERS_NAME, names[i]);
        fact_int(&tape, KFL_FIELD_DNS_RESPONSE_ANSWERS_TTL, 30 * i);
        fact_end(&tape);
    }
    fact_end(&tape);
    end_half(&tape, &c->response);
}

static struct kfl_statement *statement_of(const char *text)
{
    struct kfl_statement *statement;
    struct kfl_messages messages = {0};

    if (kfl_statement_create(text, strlen(text), 1767323045000, &statement, &messages)) {
        tap_note("%s: %s", text, messages.message[0].text);
        CU_FAIL_FATAL("the statement compiles");
    }
    return statement;
}

/* What the conversation looks like at a stage. */
static void at_stage(const struct conversation *c, int stage, struct conversation *now)
{
    *now = *c;
    now->entry.stream = &now->stream;
    if (c->entry.request)
        now->entry.request = &now->request;
    if (c->entry.response)
        now->entry.response = &now->response;
    now->stream.ended = stage == END;
    now->stream.protos =
        stage == PACKET ? c->protos_at_first : UINT32_C(1) << (unsigned)c->entry.proto;
    now->stream.l7 = stage == PACKET ? 0 : now->stream.protos;
    now->stream.detection = stage == PACKET ? KFL_DETECTION_OPEN : KFL_DETECTION_FOUND;
    if (stage == REQUEST && now->entry.request) {
        now->entry.response_open = true;
        now->entry.response = NULL;
        now->entry.error = KFL_ERROR_NONE;
    }
}

static char letter(const struct kfl_verdict *verdict)
{
    CU_ASSERT_FALSE(verdict->matched & verdict->out);
    return verdict->matched & 1 ? 'm' : verdict->out & 1 ? 'o' : '.';
}

static char verdict_at(const struct kfl_plan *plan, const struct conversation *c, int stage)
{
    static struct conversation now;
    struct kfl_verdict verdict;

    at_stage(c, stage, &now);
    verdict = stage <= PROTOCOL ? kfl_plan_stream(plan, 0, &now.stream, 1)
                                : kfl_plan_entry(plan, 0, &now.entry, 1);
    return letter(&verdict);
}

static struct kfl_plan *plan_of(const struct kfl_statement *statement)
{
    struct kfl_plan_job job = {0, statement};
    struct kfl_messages messages = {0};
    struct kfl_plan *plan = NULL;
    unsigned slot;

    CU_ASSERT_EQUAL_FATAL(kfl_plan_create(&job, 1, 1, false, &plan, &slot, &messages), 0);
    return plan;
}

/* m matched, o out, . not known yet, at PACKET PROTOCOL REQUEST RESPONSE END */
struct row {
    const char *statement, *verdicts;
};

static void check_rows(const struct conversation *c, const struct row *row)
{
    for (; row->statement; row++) {
        struct kfl_statement *statement = statement_of(row->statement);
        struct kfl_plan *plan = plan_of(statement);
        char found[STAGES + 1] = {0};

        for (int stage = 0; stage < STAGES; stage++)
            found[stage] = verdict_at(plan, c, stage);
        CU_ASSERT_STRING_EQUAL(found, row->verdicts);
        if (strcmp(found, row->verdicts)) {
            char *explained = kfl_plan_explain(plan);

            tap_note("%s: %s, not %s", row->statement, found, row->verdicts);
            tap_note("%s", explained);
            free(explained);
        }
        kfl_plan_free(plan);
        kfl_statement_free(statement);
    }
}

static void http_is_settled_as_early_as_logic_allows(void)
{
    static const struct row rows[] = {
        /* stage P */
        {"", "mmmmm"},
        {"tcp", "mmmmm"},
        {"udp", "ooooo"},
        {"tcp and dst.port == 80", "mmmmm"},
        {"dst.port == \"80\"", "mmmmm"},
        {"dst.port == \"080\"", "ooooo"},
        {"dst.port == 80.0", "mmmmm"},
        {"dst.port > 1023", "ooooo"},
        {"src.port > 1023 and dst.port <= 80", "mmmmm"},
        {"dst.port == r\"^8\"", "mmmmm"},
        {"dst.port.startsWith(\"8\")", "mmmmm"},
        {"src.ip == \"10.0.0.7\"", "mmmmm"},
        {"src.ip == \"10.0.0.8\" and response.status == 500", "ooooo"},
        {"src.ip.startsWith(\"10.0.\")", "mmmmm"},
        {"src.ip == r\"\\.7$\"", "mmmmm"},
        {"src.name == \"node-exporter\"", "mmmmm"},
        {"src.name == dst.name", "ooooo"},
        {"vlan.id == 100 and vlan.innerId == 0", "mmmmm"},
        {"ip.version == 6", "ooooo"},
        {"conn.synSeen", "mmmmm"},
        {"!conn.synSeen", "ooooo"},
        {"src.mac == \"02:42:0a:00:00:07\"", "mmmmm"},
        {"conn.start == \"2026-01-02T03:04:04.998000000Z\"", "mmmmm"},
        {"tunnel.type == \"\" and tunnel.id == 0", "mmmmm"},
        {"capture.interface == \"eth0\" and node.name == \"tap1\" and stream == 42", "mmmmm"},
        {"src", "ooooo"},
        {"src == \"\"", "mmmmm"},
        {"src.pod == \"x\"", "ooooo"},
        {"!(src.pod == \"x\")", "mmmmm"},
        {"limit(5) and redact(\"request.path\") and udp", "ooooo"},
        /* stage C */
        {"http", ".mmmm"},
        {"!http", ".oooo"},
        {"dns", ".oooo"},
        {"dns and response.status == 500", "ooooo"},
        {"protocol.name == r\"^ht\"", ".mmmm"},
        {"tls", ".oooo"},
        {"conn.detection == \"found\"", ".mmmm"},
        {"conn.l7 == \"HTTP\"", ".mmmm"},
        {"protocol.version == \"1.1\"", "...mm"},
        {"kafka or http", ".mmmm"},
        /* stage Q */
        {"request.method == \"GET\"", "..mmm"},
        {"request.method == \"POST\" and response.status == 500", "..ooo"},
        {"http and request.path.startsWith(\"/api\")", "..mmm"},
        {"request.headers[\"User-Agent\"] == \"kube-probe/1.27+\"", "..mmm"},
        {"request.headers[\"User-Agent\"] == r\"^kube\"", "..mmm"},
        {"request.headers[\"X\"]", "..ooo"},
        {"!request.headers[\"X\"]", "..ooo"},
        {"!(request.headers[\"X\"])", "..mmm"},
        {"request.headers[\"X\"].contains(\"a\") or http", ".mmmm"},
        {"request.headers[\"X\"] == 1 or http", "..ooo"},
        {"(request.headers[\"X\"] == 1) or http", ".mmmm"},
        {"request.queryString.tag == \"b\"", "..mmm"},
        {"request.queryString.tag == \"c\"", "..ooo"},
        {"request.queryString.n > 41", "..mmm"},
        {"request.queryString[\"n\"] == 42", "..mmm"},
        {"request.pathSegments[1] == \"v1\"", "..mmm"},
        {"request.pathSegments[2] == \"v1\"", "..ooo"},
        {"request.pathSegments == \"api\"", "..mmm"},
        {"request.pathSegments[*] == \"api\"", "..mmm"},
        {"request.postData.text == \"\"", "..ooo"},
        {"request.postData == nil", "..mmm"},
        {"request.body == \"\"", "..mmm"},
        {"request.cookies.sid", "..ooo"},
        {"request != nil", "..mmm"},
        {"index == 3 and timestamp == 1767323045000", "...mm"},
        {"index > 2 and timestamp == 1767323045000", "..mmm"},
        {"startTime == \"2026-01-02T03:04:05.000000001Z\"", "..mmm"},
        {"id == \"tap1/42-3\"", "...mm"},
        {"requestSize > 400", "..mmm"},
        {"request.questions", ".oooo"},
        /* stage R */
        {"response.status == 500", "...mm"},
        {"response.status >= 500 and response.status < 600", "...mm"},
        {"http and response.status == 200", "...oo"},
        {"response.status == r\"5..\"", "...mm"},
        {"response.status", "...mm"},
        {"response.status == 500 or http", "...mm"},
        {"(response.status == 200) or http", ".mmmm"},
        {"response.status == 200 or request.method == \"GET\"", "...mm"},
        {"response.content.mimeType == \"application/json\"", "...mm"},
        {"elapsedTime == 23 and elapsedTimeUs == 23115", "...mm"},
        {"size == 641", "...mm"},
        {"error", "...oo"},
        {"!error", "...mm"},
        {"error == nil", "...mm"},
        {"error.type == \"timeout\"", "...oo"},
        {"response.statusText == \"\"", "...mm"},
        /* stage E, and counts that only grow */
        {"conn.bytes > 1000", "mmmmm"},
        {"conn.bytes > 10000", "....o"},
        {"conn.bytes < 1000", "ooooo"},
        {"conn.bytes == 3456", "....m"},
        {"conn.packets == 1", "ooooo"},
        {"conn.tcpFlags == \"SYN\"", "mmmmm"},
        {"conn.tcpFlags == \"RST\"", "....o"},
        {"conn.state == \"closed\"", "....m"},
        {"conn.duration >= 1250", "mmmmm"},
        {"response.status == 500 and conn.bytes > 10000", "....o"},
        {0},
    };
    static struct conversation c;

    http(&c);
    check_rows(&c, rows);
}

static void dns_is_settled_as_early_as_logic_allows(void)
{
    static const struct row rows[] = {
        {"udp and dst.port == 53", "mmmmm"},
        {"dns", ".mmmm"},
        {"http", "ooooo"},
        {"tcp", "ooooo"},
        {"request.questions[0].name == \"www.example.com\"", "..mmm"},
        {"request.questions[*].name.endsWith(\".com\")", "..mmm"},
        {"request.questions[0].class == \"\"", "..mmm"},
        {"request.questions[1].name", "..ooo"},
        {"request.questions", "..mmm"},
        {"response.answers[*].name == \"example.com\"", "...mm"},
        {"response.answers.*.ttl > 29", "...mm"},
        {"response.answers[*].ttl > 30", "...oo"},
        {"response.answers[1].ip == \"\"", "...mm"},
        {"response.code == \"\"", "...mm"},
        {"response.status == 500 or dns", "ooooo"},
        {"(response.status == 500) or dns", ".mmmm"},
        {0},
    };
    static struct conversation c;

    dns(&c);
    check_rows(&c, rows);
}

static void halves_are_null(void)
{
    static const struct row no_response[] = {
        {"response == nil", "...mm"},
        {"response.status == 500", "...oo"},
        {"!(response.status == 500)", "...mm"},
        {"error", "...mm"},
        {"error.type == \"timeout\"", "...mm"},
        {"error.msg == \"no answer\"", "...mm"},
        {"http and error", "...mm"},
        {"elapsedTime == 0", "...mm"},
        {"(request.streamId == 5 or id.endsWith(\"/api\") and mysql) or error or stream >= 1",
         "mmmmm"},
        {"(response.status == 5 or mysql) or stream >= 1", "mmmmm"},
        {"responseSize == 0", "...mm"},
        {0},
    };
    static const struct row no_request[] = {
        {"request == nil", "..mmm"},
        {"request.method == \"GET\"", "..ooo"},
        {"request.method.startsWith(\"G\") or http", ".mmmm"},
        {"timestamp == 1767323045023", "..mmm"},
        {0},
    };
    static struct conversation c;

    http(&c);
    c.entry.response = NULL;
    c.entry.error = KFL_ERROR_TIMEOUT;
    c.entry.error_msg = "no answer";
    check_rows(&c, no_response);
    http(&c);
    c.entry.request = NULL;
    check_rows(&c, no_request);
}

static void while_the_client_is_unknown_both_ways_must_agree(void)
{
    static const struct row rows[] = {
        {"dst.port == 80", "...."},
        {"dst.port == 80 or src.port == 80", "mmmm"},
        {"src.port == 22", "oooo"},
        {"src.ip == \"10.0.0.7\" or dst.ip == \"10.0.0.7\"", "mmmm"},
        {"conn.srcBytes > 1000", "mmmm"},
        {"conn.srcBytes > 2000", "...."},
        {"src.name == dst.name", "oooo"},
        {0},
    };
    static struct conversation c;

    for (const struct row *row = rows; row->statement; row++) {
        struct kfl_statement *statement = statement_of(row->statement);
        struct kfl_plan *plan = plan_of(statement);

        http(&c);
        c.stream.oriented = false;
        for (int stage = PACKET; stage < END; stage++) {
            CU_ASSERT_EQUAL(verdict_at(plan, &c, stage), row->verdicts[stage]);
            if (verdict_at(plan, &c, stage) != row->verdicts[stage])
                tap_note("%s at stage %d", row->statement, stage);
        }
        kfl_plan_free(plan);
        kfl_statement_free(statement);
    }
}

static void tls_is_open_while_other_protocols_may_come(void)
{
    static const struct {
        uint32_t protos;
        char verdict;
    } rows[] = {
        {KFL_PROTO_BIT(TLS), 'm'},
        {KFL_PROTO_BIT(TLS) | KFL_PROTO_BIT(TCP), '.'},
        {KFL_PROTO_BIT(TLS) | KFL_PROTO_BIT(HTTP2), '.'},
        {KFL_PROTO_BIT(HTTP2) | KFL_PROTO_BIT(TCP), 'o'},
    };
    struct kfl_statement *statement = statement_of("tls");
    struct kfl_plan *plan = plan_of(statement);
    static struct conversation c;

    http(&c);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kfl_verdict verdict;

        c.stream.protos = rows[i].protos;
        verdict = kfl_plan_stream(plan, 0, &c.stream, 1);
        CU_ASSERT_EQUAL(letter(&verdict), rows[i].verdict);
    }
    kfl_plan_free(plan);
    kfl_statement_free(statement);
}

static void demand_is_what_is_read(void)
{
    struct kfl_statement *statement =
        statement_of("http and request.headers[\"Host\"] == \"a\" and request.postData.text == "
                     "\"b\" and response.status == 500");
    struct kfl_plan *plan = plan_of(statement);
    const struct kfl_demand *demand = kfl_plan_demand(plan);

    CU_ASSERT_EQUAL(demand->protos, KFL_PROTO_BIT(HTTP));
    CU_ASSERT_EQUAL(demand->field[KFL_FIELD_HTTP_REQUEST_HEADERS], 1);
    CU_ASSERT_EQUAL(demand->n_keys, 1);
    CU_ASSERT_EQUAL(demand->field[KFL_FIELD_HTTP_REQUEST_POST_DATA], 2);
    CU_ASSERT_EQUAL(demand->field[KFL_FIELD_HTTP_REQUEST_POST_DATA_TEXT], 2);
    CU_ASSERT_EQUAL(demand->field[KFL_FIELD_HTTP_REQUEST_BODY], 0);
    CU_ASSERT_EQUAL(demand->field[KFL_FIELD_HTTP_RESPONSE_STATUS], 2);
    CU_ASSERT_EQUAL(demand->field[KFL_FIELD_MYSQL_RESPONSE_STATUS], 0);
    kfl_plan_free(plan);
    kfl_statement_free(statement);
    statement = statement_of("tcp and dst.port == 80");
    plan = plan_of(statement);
    CU_ASSERT_EQUAL(kfl_plan_demand(plan)->protos, 0);
    kfl_plan_free(plan);
    kfl_statement_free(statement);
    statement = statement_of("!http");
    plan = plan_of(statement);
    CU_ASSERT_EQUAL(kfl_plan_demand(plan)->protos, KFL_PROTO_BIT(HTTP));
    kfl_plan_free(plan);
    kfl_statement_free(statement);
}

static void jobs_that_need_entries_are_told(void)
{
    static const char *const texts[] = {
        "tcp and dst.port == 80", "http", "response.status == 500", "udp and request.id == 1",
        "conn.bytes > 100000",
    };
    static const uint64_t wanted = 1 << 1 | 1 << 2;
    struct kfl_statement *statement[5];
    struct kfl_plan_job jobs[5];
    struct kfl_messages messages = {0};
    struct kfl_plan *plan = NULL;
    static struct conversation c;
    struct kfl_verdict verdict;
    unsigned slot;

    for (unsigned i = 0; i < 5; i++)
        jobs[i] = (struct kfl_plan_job){i, statement[i] = statement_of(texts[i])};
    CU_ASSERT_EQUAL_FATAL(kfl_plan_create(jobs, 5, 1, false, &plan, &slot, &messages), 0);
    CU_ASSERT_EQUAL(kfl_plan_jobs(plan), 31);
    http(&c);
    c.stream.protos = c.protos_at_first;
    verdict = kfl_plan_stream(plan, 0, &c.stream, UINT64_MAX);
    CU_ASSERT_EQUAL(verdict.matched, 1);
    CU_ASSERT_EQUAL(verdict.out, 1 << 3);
    CU_ASSERT_EQUAL(kfl_plan_needs_entries(plan, c.stream.protos, 31 & ~1u & ~(1u << 3)), wanted);
    CU_ASSERT_EQUAL(kfl_plan_needs_entries_of(plan, KFL_L4_TCP, UINT64_MAX), wanted);
    CU_ASSERT_EQUAL(kfl_plan_needs_entries_of(plan, KFL_L4_UDP, 1 << 1 | 1 << 3), 1 << 3);
    kfl_plan_free(plan);
    for (unsigned i = 0; i < 5; i++)
        kfl_statement_free(statement[i]);
}

static void patterns_mean_the_same_as_one_by_one(void)
{
    static const char *const patterns[] = {
        "a$",     "^a",          "^$",      "a|b$",  "(?i)AbC", "(?s)a.b",       "a.b",
        "[$]a",   "[^a]",        "\\$",     "a\\.b", "[]a]",    "[[:digit:]]+$", "\\bab\\b",
        "\\x61b", "(a|b)*c",     "a{2,3}",  "a{,2}", "x*",      "[a\\]]$",       "\\d+\\z",
        "\\Aab",  "(?:a)(?i:B)", "[^\\n]b", "\\sb",  "\\Qa.b",  "(?m)^b$",       "(?P<n>a)b",
    };
    static const char *const texts[] = {"a",
                                        "a\n",
                                        "ab",
                                        "ABC",
                                        "a\nb",
                                        "a.b",
                                        "$a",
                                        "",
                                        "b",
                                        "12",
                                        "x ab y",
                                        "a]",
                                        "aaab",
                                        "acb",
                                        "\x0b"
                                        "b",
                                        "a{,2}",
                                        "\xc3\xa4"
                                        "b",
                                        "B\n",
                                        "cab c"};
    unsigned taken = 0;

    for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct patterns_row row = {.text = patterns[i], .size = strlen(patterns[i])};
        struct patterns_scratch *scratch = NULL;
        struct patterns *all;
        char error[256];
        struct kfl_regex *one =
            kfl_regex_create(patterns[i], strlen(patterns[i]), error, sizeof error);

        CU_ASSERT_PTR_NOT_NULL_FATAL(one);
        CU_ASSERT_EQUAL_FATAL(patterns_create(&row, 1, &all), 0);
        CU_ASSERT_EQUAL(row.taken, all != NULL);
        taken += row.taken;
        if (all)
            CU_ASSERT_EQUAL_FATAL(patterns_scratch_add(all, &scratch), 0);
        for (unsigned k = 0; k < sizeof texts / sizeof *texts && all; k++) {
            uint8_t found = 0;

            if (!patterns_scan(all, scratch, texts[k], strlen(texts[k]), &found, 1))
                continue;
            CU_ASSERT_EQUAL(found, kfl_regex_find(one, texts[k], strlen(texts[k])));
            if (found != kfl_regex_find(one, texts[k], strlen(texts[k])))
                tap_note("%s in %s: %u", patterns[i], texts[k], found);
        }
        patterns_scratch_free(scratch);
        patterns_free(all);
        kfl_regex_free(one);
    }
    CU_ASSERT(taken > 20);
}

static void each_stage_of_the_compiler_is_shown(void)
{
    struct kfl_statement *statement = statement_of("tcp and dst.port == 80");
    struct kfl_plan *plan = plan_of(statement);
    char *text = kfl_plan_explain_stages(plan);

    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text,
                                  "tokens of statement 0:  name tcp  name and  name dst  op .  "
                                  "name port  op =  op =  int 80\n"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(text, "tree: ((protocol.layer4 == \"tcp\") and (dst.port == 80))\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "program of streams, TCP, over a stream:\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "xor r2, #0x50")); /* the port */
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "exit"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "machine code, "));
    if (!kfl_plan_is_native(plan))
        tap_note("this machine has no native code");
    free(text);
    kfl_plan_free(plan);
    kfl_statement_free(statement);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"http is settled as early as logic allows", http_is_settled_as_early_as_logic_allows},
        {"dns is settled as early as logic allows", dns_is_settled_as_early_as_logic_allows},
        {"halves are null", halves_are_null},
        {"while the client is unknown, both ways must agree",
         while_the_client_is_unknown_both_ways_must_agree},
        {"tls is open while other protocols may come", tls_is_open_while_other_protocols_may_come},
        {"demand is what is read", demand_is_what_is_read},
        {"patterns mean the same as one by one", patterns_mean_the_same_as_one_by_one},
        {"jobs that need entries are told", jobs_that_need_entries_are_told},
        {"each stage of the compiler is shown", each_stage_of_the_compiler_is_shown},
        {0},
    };
    return tap_main(argc, argv, "kfl plan", tests);
}
