/* The complete entries of the reference page of fields come out of the facts behind them. */
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/kfl.h"
#include "../kfl-jit/plan.h"
#include "tap.h"

static const char http_json[] =
    "{\"id\":\"tap1/42-3\",\"index\":3,\"stream\":42,\"record\":\"\",\"node\":{\"ip\":\"1"
    "0.0.0.99\",\"name\":\"tap1\"},\"capture\":{\"source\":\"af_xdp\",\"interface\":\"enp"
    "3s0f1\"},\"protocol\":{\"name\":\"http\",\"abbr\":\"HTTP\",\"version\":\"1.1\",\"lay"
    "er3\":\"ip\",\"layer4\":\"tcp\"},\"ip\":{\"version\":4},\"src\":{\"ip\":\"10.0.0.7\""
    ",\"port\":\"40112\",\"mac\":\"02:42:0a:00:00:07\",\"name\":\"node-exporter\",\"names"
    "pace\":\"monitoring\"},\"dst\":{\"ip\":\"10.0.0.1\",\"port\":\"8086\",\"mac\":\"02:4"
    "2:0a:00:00:01\",\"name\":\"influx\",\"namespace\":\"db\"},\"vlan\":{\"id\":100,\"inn"
    "erId\":0},\"tunnel\":{\"type\":\"\",\"id\":0},\"tls\":false,\"timestamp\":1767323045"
    "000,\"startTime\":\"2026-01-02T03:04:05.000000001Z\",\"elapsedTime\":23,\"elapsedTim"
    "eUs\":23115,\"requestSize\":428,\"responseSize\":213,\"size\":641,\"error\":null,\"r"
    "equest\":{\"method\":\"POST\",\"url\":\"/api/v2/write?bucket=Metrics&n=42&tag=a&tag="
    "b\",\"targetUri\":\"/api/v2/write?bucket=Metrics&n=42&tag=a&tag=b\",\"path\":\"/api/"
    "v2/write\",\"pathSegments\":[\"api\",\"v2\",\"write\"],\"queryString\":{\"bucket\":\""
    "Metrics\",\"n\":\"42\",\"tag\":[\"a\",\"b\"]},\"httpVersion\":\"HTTP/1.1\",\"headers"
    "\":{\"Host\":\"10.0.0.1:8086\",\"User-Agent\":\"kube-probe/1.27+\",\"Content-Type\":"
    "\"application/json\",\"Content-Length\":\"13\",\"Cookie\":\"sid=a1; theme=dark\"},\""
    "cookies\":{\"sid\":\"a1\",\"theme\":\"dark\"},\"postData\":{\"mimeType\":\"applicati"
    "on/json\",\"text\":\"{\\\"a\\\":[1,2,3]}\",\"params\":[]},\"body\":\"{\\\"a\\\":[1,2"
    ",3]}\",\"bodySize\":13,\"headersSize\":415,\"streamId\":0,\"grpcService\":\"\",\"grp"
    "cMethod\":\"\",\"gqlOperation\":\"\",\"gqlName\":\"\"},\"response\":{\"status\":500,"
    "\"statusText\":\"Internal Server Error\",\"httpVersion\":\"HTTP/1.1\",\"headers\":{\""
    "Content-Type\":\"application/json\",\"Content-Length\":\"90\",\"Server\":\"influx/2."
    "7\"},\"cookies\":{},\"content\":{\"mimeType\":\"application/json\",\"size\":90,\"enc"
    "oding\":\"base64\",\"text\":\"eyJlcnJvciI6ImJvb20iLCJjb2RlIjo3LCJpdGVtcyI6W3siaWQiOj"
    "kwMDcxOTkyNTQ3NDA5OTMsIm5hbWUiOiJhIn0seyJpZCI6MiwibmFtZSI6ImIifV19\"},\"body\":\"{\\\""
    "error\\\":\\\"boom\\\",\\\"code\\\":7,\\\"items\\\":[{\\\"id\\\":9007199254740993,\\\""
    "name\\\":\\\"a\\\"},{\\\"id\\\":2,\\\"name\\\":\\\"b\\\"}]}\",\"redirectURL\":\"\",\""
    "bodySize\":90,\"headersSize\":123,\"grpcStatus\":-1,\"grpcMessage\":\"\"},\"conn\":{"
    "\"synSeen\":true,\"start\":\"2026-01-02T03:04:04.998000000Z\",\"detection\":\"found\""
    ",\"l7\":[\"HTTP\"],\"tcpFlags\":[\"FIN\",\"SYN\",\"PSH\",\"ACK\"],\"state\":\"closed"
    "\",\"duration\":1250,\"packets\":12,\"bytes\":3456,\"srcPackets\":7,\"srcBytes\":121"
    "1,\"dstPackets\":5,\"dstBytes\":2245}}";

static const char dns_json[] =
    "{\"id\":\"tap1/43-0\",\"index\":0,\"stream\":43,\"record\":\"\",\"node\":{\"ip\":\"1"
    "0.0.0.99\",\"name\":\"tap1\"},\"capture\":{\"source\":\"af_xdp\",\"interface\":\"enp"
    "3s0f1\"},\"protocol\":{\"name\":\"dns\",\"abbr\":\"DNS\",\"version\":\"0\",\"layer3\""
    ":\"ip\",\"layer4\":\"udp\"},\"ip\":{\"version\":4},\"src\":{\"ip\":\"10.0.0.7\",\"po"
    "rt\":\"33305\",\"mac\":\"02:42:0a:00:00:07\",\"name\":\"node-exporter\",\"namespace\""
    ":\"monitoring\"},\"dst\":{\"ip\":\"10.0.0.53\",\"port\":\"53\",\"mac\":\"02:42:0a:00"
    ":00:01\",\"name\":\"kube-dns\",\"namespace\":\"kube-system\"},\"vlan\":{\"id\":0,\"i"
    "nnerId\":0},\"tunnel\":{\"type\":\"\",\"id\":0},\"tls\":false,\"timestamp\":17673230"
    "45000,\"startTime\":\"2026-01-02T03:04:05.000000001Z\",\"elapsedTime\":1,\"elapsedTi"
    "meUs\":812,\"requestSize\":37,\"responseSize\":94,\"size\":131,\"error\":null,\"requ"
    "est\":{\"id\":4660,\"opCode\":\"Query\",\"recursionDesired\":true,\"questions\":[{\""
    "name\":\"session-db.sock-shop.svc\",\"type\":\"A\",\"class\":\"IN\"}]},\"response\":"
    "{\"code\":\"No Error\",\"rcode\":0,\"rcodeName\":\"NOERROR\",\"authoritative\":false"
    ",\"truncated\":false,\"recursionAvailable\":true,\"answers\":[{\"name\":\"session-db"
    ".sock-shop.svc\",\"type\":\"CNAME\",\"class\":\"IN\",\"ttl\":30,\"ip\":\"\",\"cname\""
    ":\"db-1.sock-shop.svc\",\"ns\":\"\",\"ptr\":\"\",\"mx\":\"\",\"txts\":\"\",\"srv\":\""
    "\",\"soa\":\"\",\"uri\":\"\",\"opt\":\"\"},{\"name\":\"db-1.sock-shop.svc\",\"type\""
    ":\"A\",\"class\":\"IN\",\"ttl\":24,\"ip\":\"10.101.46.75\",\"cname\":\"\",\"ns\":\"\""
    ",\"ptr\":\"\",\"mx\":\"\",\"txts\":\"\",\"srv\":\"\",\"soa\":\"\",\"uri\":\"\",\"opt"
    "\":\"\"}],\"authorities\":[],\"additionals\":[]},\"conn\":{\"synSeen\":true,\"start\""
    ":\"2026-01-02T03:04:04.998000000Z\",\"detection\":\"found\",\"l7\":[\"DNS\"],\"tcpFl"
    "ags\":[],\"state\":\"idle\",\"duration\":1,\"packets\":2,\"bytes\":215,\"srcPackets\""
    ":1,\"srcBytes\":79,\"dstPackets\":1,\"dstBytes\":136}}";

static const struct kfl_capture capture = {"af_xdp", "enp3s0f1", "10.0.0.99", "tap1"};
static uint8_t request_buffer[8192] __attribute__((aligned(8)));
static uint8_t response_buffer[8192] __attribute__((aligned(8)));

static const struct kfl_endpoint client = {
    .addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7},
    .port = 40112,
    .mac = {2, 0x42, 10, 0, 0, 7},
    .name = "node-exporter",
    .namespace = "monitoring",
};
static const struct kfl_endpoint server = {
    .addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1},
    .port = 8086,
    .mac = {2, 0x42, 10, 0, 0, 1},
    .name = "influx",
    .namespace = "db",
};

static struct kfl_stream http_stream(void)
{
    return (struct kfl_stream){
        .number = 42,
        .first_ns = UINT64_C(1767323044998000000),
        .last_ns = UINT64_C(1767323046248000000),
        .end = {client, server},
        .capture = &capture,
        .vlan = {100, 0},
        .ip_version = 4,
        .l4 = KFL_L4_TCP,
        .ip_protocol = 6,
        .has_ports = true,
        .has_mac = true,
        .syn_seen = true,
        .oriented = true,
        .protos = KFL_PROTO_BIT(HTTP),
        .l7 = KFL_PROTO_BIT(HTTP),
        .detection = KFL_DETECTION_FOUND,
        .ended = true,
        .state = KFL_STATE_CLOSED,
        .tcp_flags = KFL_TCP_FIN | KFL_TCP_SYN | KFL_TCP_PSH | KFL_TCP_ACK,
        .packets = {7, 5},
        .bytes = {1211, 2245},
        .record = "",
    };
}

static void member(struct fact_tape *tape, const char *key, const char *text)
{
    fact_member_joined(tape, key, strlen(key), text, strlen(text));
}

static void write_http_request(struct fact_tape *tape)
{
    static const char *const segment[] = {"api", "v2", "write"};
    static const char url[] = "/api/v2/write?bucket=Metrics&n=42&tag=a&tag=b";

    fact_text(tape, KFL_FIELD_HTTP_REQUEST_METHOD, "POST");
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_URL, url);
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_TARGET_URI, url);
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_PATH, "/api/v2/write");
    fact_array(tape, KFL_FIELD_HTTP_REQUEST_PATH_SEGMENTS);
    for (int i = 0; i < 3; i++)
        fact_text(tape, KFL_FIELD_NONE, segment[i]);
    fact_end(tape);
    fact_map(tape, KFL_FIELD_HTTP_REQUEST_QUERY_STRING);
    fact_member_collected(tape, "bucket", 6, "Metrics", 7);
    fact_member_collected(tape, "n", 1, "42", 2);
    fact_member_collected(tape, "tag", 3, "a", 1);
    fact_member_collected(tape, "tag", 3, "b", 1);
    fact_end(tape);
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_HTTP_VERSION, "HTTP/1.1");
    fact_map(tape, KFL_FIELD_HTTP_REQUEST_HEADERS);
    member(tape, "Host", "10.0.0.1:8086");
    member(tape, "User-Agent", "kube-probe/1.27+");
    member(tape, "Content-Type", "application/json");
    member(tape, "Content-Length", "13");
    member(tape, "Cookie", "sid=a1; theme=dark");
    fact_end(tape);
    fact_map(tape, KFL_FIELD_HTTP_REQUEST_COOKIES);
    member(tape, "sid", "a1");
    member(tape, "theme", "dark");
    fact_end(tape);
    fact_object(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA);
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_MIME_TYPE, "application/json");
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_TEXT, "{\"a\":[1,2,3]}");
    fact_end(tape);
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_BODY, "{\"a\":[1,2,3]}");
    fact_int(tape, KFL_FIELD_HTTP_REQUEST_BODY_SIZE, 13);
    fact_int(tape, KFL_FIELD_HTTP_REQUEST_HEADERS_SIZE, 415);
}

static void write_http_response(struct fact_tape *tape)
{
    static const char body[] = "{\"error\":\"boom\",\"code\":7,\"items\":[{\"id\":"
                               "9007199254740993,\"name\":\"a\"},{\"id\":2,\"name\":\"b\"}]}";

    /* The order of the rows is the order of the members, not that of the tape. */
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS, -1);
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_STATUS, 500);
    fact_text(tape, KFL_FIELD_HTTP_RESPONSE_STATUS_TEXT, "Internal Server Error");
    fact_text(tape, KFL_FIELD_HTTP_RESPONSE_HTTP_VERSION, "HTTP/1.1");
    fact_map(tape, KFL_FIELD_HTTP_RESPONSE_HEADERS);
    member(tape, "Content-Type", "application/json");
    member(tape, "Content-Length", "90");
    member(tape, "Server", "influx/2.7");
    fact_end(tape);
    fact_object(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT);
    fact_text(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_MIME_TYPE, "application/json");
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_SIZE, 90);
    fact_base64(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_TEXT, body, sizeof(body) - 1);
    fact_text(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_ENCODING, "base64");
    fact_end(tape);
    fact_text(tape, KFL_FIELD_HTTP_RESPONSE_BODY, body);
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_BODY_SIZE, 90);
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_HEADERS_SIZE, 123);
}

static void write_answer(struct fact_tape *tape, const char *name, const char *type, int ttl,
                         enum kfl_field field, const char *text)
{
    fact_object(tape, KFL_FIELD_NONE);
    fact_text(tape, KFL_FIELD_DNS_RESPONSE_ANSWERS_NAME, name);
    fact_text(tape, KFL_FIELD_DNS_RESPONSE_ANSWERS_TYPE, type);
    fact_text(tape, KFL_FIELD_DNS_RESPONSE_ANSWERS_CLASS, "IN");
    fact_int(tape, KFL_FIELD_DNS_RESPONSE_ANSWERS_TTL, ttl);
    fact_text(tape, field, text);
    fact_end(tape);
}

/* The value as text equals the text, read and printed. */
static void expect(const struct kfl_entry *entry, const char *json)
{
    struct kfl_arena *arena = kfl_arena_create(1 << 20);
    const char *what = NULL;
    const struct kfl_value *value = kfl_entry_value(arena, entry);
    const struct kfl_value *expected = kfl_json_parse(arena, json, strlen(json), &what);
    char *left = malloc(1 << 16), *right = malloc(1 << 16);

    CU_ASSERT_PTR_NOT_NULL_FATAL(value);
    CU_ASSERT_PTR_NOT_NULL_FATAL(expected);
    CU_ASSERT(kfl_json_print(value, left, 1 << 16) > 0);
    CU_ASSERT(kfl_json_print(expected, right, 1 << 16) > 0);
    CU_ASSERT_STRING_EQUAL(left, right);
    if (strcmp(left, right) != 0)
        tap_note("is %s\nnot %s", left, right);
    free(left);
    free(right);
    kfl_arena_free(arena);
}

static struct kfl_entry http_entry(struct kfl_stream *stream, struct kfl_half half[2])
{
    struct fact_tape request, response;

    fact_tape_init(&request, request_buffer, sizeof(request_buffer), &kfl_demand_all);
    fact_tape_init(&response, response_buffer, sizeof(response_buffer), &kfl_demand_all);
    write_http_request(&request);
    write_http_response(&response);
    half[0] = (struct kfl_half){.facts = request.base,
                                .facts_size = request.size,
                                .wire_size = 428,
                                .first_ns = UINT64_C(1767323045000000001),
                                .last_ns = UINT64_C(1767323045000000001)};
    half[1] = (struct kfl_half){.facts = response.base,
                                .facts_size = response.size,
                                .wire_size = 213,
                                .first_ns = UINT64_C(1767323045023115001),
                                .last_ns = UINT64_C(1767323045023115001)};
    *stream = http_stream();
    return (struct kfl_entry){.stream = stream,
                              .proto = KFL_PROTO_HTTP,
                              .index = 3,
                              .version = "1.1",
                              .request = &half[0],
                              .response = &half[1],
                              .error_msg = ""};
}

static void an_http_entry_is_complete(void)
{
    struct kfl_stream stream;
    struct kfl_half half[2];
    struct kfl_entry entry = http_entry(&stream, half);

    expect(&entry, http_json);
}

static void a_dns_entry_is_complete(void)
{
    struct kfl_stream stream = http_stream();
    struct fact_tape request, response;
    struct kfl_half half[2];
    struct kfl_entry entry;

    fact_tape_init(&request, request_buffer, sizeof(request_buffer), &kfl_demand_all);
    fact_int(&request, KFL_FIELD_DNS_REQUEST_ID, 4660);
    fact_text(&request, KFL_FIELD_DNS_REQUEST_OP_CODE, "Query");
    fact_bool(&request, KFL_FIELD_DNS_REQUEST_RECURSION_DESIRED, true);
    fact_array(&request, KFL_FIELD_DNS_REQUEST_QUESTIONS);
    fact_object(&request, KFL_FIELD_NONE);
    fact_text(&request, KFL_FIELD_DNS_REQUEST_QUESTIONS_NAME, "session-db.sock-shop.svc");
    fact_text(&request, KFL_FIELD_DNS_REQUEST_QUESTIONS_TYPE, "A");
    fact_text(&request, KFL_FIELD_DNS_REQUEST_QUESTIONS_CLASS, "IN");
    fact_end(&request);
    fact_end(&request);
    fact_tape_init(&response, response_buffer, sizeof(response_buffer), &kfl_demand_all);
    fact_text(&response, KFL_FIELD_DNS_RESPONSE_CODE, "No Error");
    fact_text(&response, KFL_FIELD_DNS_RESPONSE_RCODE_NAME, "NOERROR");
    fact_bool(&response, KFL_FIELD_DNS_RESPONSE_RECURSION_AVAILABLE, true);
    fact_array(&response, KFL_FIELD_DNS_RESPONSE_ANSWERS);
    write_answer(&response, "session-db.sock-shop.svc", "CNAME", 30,
                 KFL_FIELD_DNS_RESPONSE_ANSWERS_CNAME, "db-1.sock-shop.svc");
    write_answer(&response, "db-1.sock-shop.svc", "A", 24, KFL_FIELD_DNS_RESPONSE_ANSWERS_IP,
                 "10.101.46.75");
    fact_end(&response);
    half[0] = (struct kfl_half){.facts = request.base,
                                .facts_size = request.size,
                                .wire_size = 37,
                                .first_ns = UINT64_C(1767323045000000001),
                                .last_ns = UINT64_C(1767323045000000001)};
    half[1] = (struct kfl_half){.facts = response.base,
                                .facts_size = response.size,
                                .wire_size = 94,
                                .first_ns = UINT64_C(1767323045000812001),
                                .last_ns = UINT64_C(1767323045000812001)};
    stream.number = 43;
    stream.last_ns = stream.first_ns + 1000000;
    stream.end[KFL_CLIENT].port = 33305;
    stream.end[KFL_SERVER] =
        (struct kfl_endpoint){.addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 53},
                              .port = 53,
                              .mac = {2, 0x42, 10, 0, 0, 1},
                              .name = "kube-dns",
                              .namespace = "kube-system"};
    stream.vlan[0] = 0;
    stream.l4 = KFL_L4_UDP;
    stream.l7 = stream.protos = KFL_PROTO_BIT(DNS);
    stream.state = KFL_STATE_IDLE;
    stream.tcp_flags = 0;
    stream.packets[0] = stream.packets[1] = 1;
    stream.bytes[0] = 79;
    stream.bytes[1] = 136;
    entry = (struct kfl_entry){.stream = &stream,
                               .proto = KFL_PROTO_DNS,
                               .version = "0",
                               .request = &half[0],
                               .response = &half[1],
                               .error_msg = ""};
    expect(&entry, dns_json);
}

/* Answers of statements about an entry, as JSON. */
static bool holds(const struct kfl_entry *entry, const char *text)
{
    struct kfl_arena *arena = kfl_arena_create(1 << 20);
    struct kfl_statement *statement;
    bool held = false;

    CU_ASSERT_EQUAL_FATAL(kfl_statement_create(text, strlen(text), 0, &statement, NULL), 0);
    held = kfl_statement_eval(statement, kfl_entry_value(arena, entry), arena, NULL, NULL);
    kfl_statement_free(statement);
    kfl_arena_free(arena);
    return held;
}

static void a_half_entry_has_a_null_and_an_error(void)
{
    struct kfl_stream stream;
    struct kfl_half half[2];
    struct kfl_entry entry = http_entry(&stream, half);

    entry.response = NULL;
    entry.error = KFL_ERROR_TIMEOUT;
    entry.error_msg = "no answer";
    CU_ASSERT_TRUE(holds(&entry, "response == nil and http and error and elapsedTime == 0"));
    CU_ASSERT_TRUE(holds(&entry, "error.type == \"timeout\" and error.msg == \"no answer\""));
    CU_ASSERT_TRUE(holds(&entry, "(response.status) or request.postData.params != 5"));
    CU_ASSERT_TRUE(holds(&entry, "timestamp == 1767323045000 and size == 428"));
    CU_ASSERT_FALSE(holds(&entry, "response.status == 500 or http"));
}

static void what_was_not_written_is_empty(void)
{
    struct kfl_stream stream;
    struct kfl_half half[2];
    struct kfl_entry entry = http_entry(&stream, half);

    half[0].facts_size = half[1].facts_size = 0;
    stream.ip_version = 6;
    stream.ended = false;
    memset(stream.end[0].addr, 0, 16);
    stream.end[0].addr[0] = 0x20;
    stream.end[0].addr[15] = 1;
    CU_ASSERT_TRUE(holds(&entry, "request.postData == nil and request.method == \"\""));
    CU_ASSERT_TRUE(holds(&entry, "response.status == 0 and response.content.mimeType == \"\""));
    CU_ASSERT_TRUE(holds(&entry, "src.ip == \"2000::1\" and conn.state == \"open\""));
    CU_ASSERT_FALSE(holds(&entry, "request.headers[\"Host\"] or true"));
}

static void jobs_hide_what_their_statements_redact(void)
{
    static const char *const text[] = {"http", "http or redact(\"src.ip\")"};
    struct kfl_stream stream;
    struct kfl_half half[2];
    struct kfl_entry entry = http_entry(&stream, half);
    struct kfl_statement *statement[2];
    struct kfl_plan_job job[2];
    struct kfl_plan *plan;
    struct kfl_arena *arena = kfl_arena_create(1 << 20);
    struct kfl_value *value = kfl_entry_value(arena, &entry);
    unsigned slot;
    char *json = malloc(1 << 16);

    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(
            kfl_statement_create(text[i], strlen(text[i]), 0, &statement[i], NULL), 0);
        job[i] = (struct kfl_plan_job){.slot = 3 + i, .statement = statement[i]};
    }
    CU_ASSERT_EQUAL_FATAL(kfl_plan_create(job, 2, 1, true, &plan, &slot, NULL), 0);
    CU_ASSERT_EQUAL(kfl_plan_redacts(plan), 1 << 4);
    CU_ASSERT_TRUE(kfl_plan_redact(plan, 3, value, arena));
    CU_ASSERT(kfl_json_print(value, json, 1 << 16) > 0);
    CU_ASSERT_PTR_NULL(strstr(json, "REDACTED"));
    CU_ASSERT_TRUE(kfl_plan_redact(plan, 4, value, arena));
    CU_ASSERT(kfl_json_print(value, json, 1 << 16) > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(json, "\"src\":{\"ip\":\"[REDACTED]\""));
    kfl_plan_free(plan);
    kfl_statement_free(statement[0]);
    kfl_statement_free(statement[1]);
    kfl_arena_free(arena);
    free(json);
}

static void a_full_arena_gives_none(void)
{
    struct kfl_stream stream;
    struct kfl_half half[2];
    struct kfl_entry entry = http_entry(&stream, half);
    struct kfl_arena *arena = kfl_arena_create(4000);

    CU_ASSERT_PTR_NULL(kfl_entry_value(arena, &entry));
    kfl_arena_free(arena);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"an HTTP entry is complete", an_http_entry_is_complete},
        {"a DNS entry is complete", a_dns_entry_is_complete},
        {"a half entry has a null and an error", a_half_entry_has_a_null_and_an_error},
        {"what was not written is empty", what_was_not_written_is_empty},
        {"jobs hide what their statements redact", jobs_hide_what_their_statements_redact},
        {"a full arena gives none", a_full_arena_gives_none},
        {0},
    };
    return tap_main(argc, argv, "kfl_entry", tests);
}
