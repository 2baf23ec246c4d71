/* HTTP/1: conversations and the entries they make. */
#include <stdlib.h>
#include <string.h>

#include "l7_tool.h"

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define OK_EMPTY_ENTRY                                                                         \
    " response[38]{status=200 statusText='OK' httpVersion='HTTP/1.1' headersSize=38 "          \
    "redirectURL='' grpcStatus=-1 headers={Content-Length='0'} cookies={} bodySize=0 body='' " \
    "content={mimeType='' size=0 text='' encoding='base64'}}\n"

static void request_and_response_are_one_entry(void)
{
    static const struct talk talk[] = {
        TALK_C(
            "POST /api/v2/write?bucket=Met%20rics&tag=a&tag=b+c HTTP/1.1\r\nhost: db:8086\r\n"
            "user-agent:  kube-probe/1.27+ \r\nX-A: 1\r\nx-a: 2\r\nCookie: sid=a1; theme=dark\r\n"
            "Content-Type: application/json; charset=utf-8\r\nContent-Length: 7\r\n\r\n{\"a\":1}"),
        TALK_S("HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n"
               "Set-Cookie: a=b; Path=/\r\nContent-Length: 4\r\n\r\nboom"),
        TALK_END};

    l7_expect(
        KFL_L4_TCP, 80, talk,
        "HTTP 1.1 request[227]{method='POST' url='/api/v2/write?bucket=Met%20rics&tag=a&tag=b+c' "
        "targetUri='/api/v2/write?bucket=Met%20rics&tag=a&tag=b+c' path='/api/v2/write' "
        "pathSegments=['api' 'v2' 'write'] queryString={bucket='Met rics' tag=['a' 'b c']} "
        "httpVersion='HTTP/1.1' headersSize=220 headers={Host='db:8086' "
        "User-Agent='kube-probe/1.27+' X-A='1,2' Cookie='sid=a1; theme=dark' "
        "Content-Type='application/json; charset=utf-8' Content-Length='7'} "
        "cookies={sid='a1' theme='dark'} bodySize=7 body='{\"a\":1}' "
        "postData={mimeType='application/json' text='{\"a\":1}' params=[]}} "
        "response[112]{status=500 statusText='Internal Server Error' httpVersion='HTTP/1.1' "
        "headersSize=108 redirectURL='' grpcStatus=-1 headers={Content-Type='text/plain' "
        "Set-Cookie='a=b; Path=/' Content-Length='4'} cookies={a='b'} bodySize=4 body='boom' "
        "content={mimeType='text/plain' size=4 text='Ym9vbQ==' encoding='base64'}}\n");
}

/* The entries with only a few members asked for: method, path, status. */
static struct kfl_demand few(void)
{
    struct kfl_demand demand = {.protos = KFL_PROTO_BIT(HTTP)};

    demand.field[KFL_FIELD_HTTP_REQUEST_METHOD] = 2;
    demand.field[KFL_FIELD_HTTP_REQUEST_PATH] = 2;
    demand.field[KFL_FIELD_HTTP_RESPONSE_STATUS] = 2;
    return demand;
}

static void expect_few(const struct talk *talk, const char *expected)
{
    struct kfl_demand demand = few();
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk, .demand = &demand};
    size_t total = 0;

    for (const struct talk *each = talk; each->side >= 0; each++)
        total += each->bytes ? each->size : 0;
    for (play.split = 0; play.split < total; play.split++) {
        char *text = l7_play(&play), *out = text;

        for (const char *in = text; *in;) { /* sizes depend on what is asked for */
            if (*in == '[')
                in = strchr(in, ']') + 1;
            else
                *out++ = *in++;
        }
        *out = 0;
        if (strcmp(text, expected)) {
            tap_note("cut at %zu: expected %s", play.split, expected);
            tap_note("is %s", text);
            CU_FAIL("entries");
            play.split = total;
        }
        free(text);
    }
}

static void pipelined_requests_get_their_responses(void)
{
    static const struct talk talk[] = {
        TALK_C("GET /a HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n"
               "GET /d HTTP/1.0\r\n\r\n"),
        TALK_S("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
               "HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n"
               "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
               "HTTP/1.0 200 OK\r\n\r\nto the end"),
        TALK_END};

    expect_few(talk, "HTTP 1.1 request{method='GET' path='/a'} response{status=200}\n"
                     "HTTP 1.1 request{method='HEAD' path='/b'} response{status=404}\n"
                     "HTTP 1.1 request{method='GET' path='/c'} response{status=304}\n"
                     "HTTP 1.0 request{method='GET' path='/d'} response{status=200}\n");
}

static void chunks_are_undone(void)
{
    static const struct talk talk[] = {
        TALK_C("GET / HTTP/1.1\r\n\r\n"),
        TALK_S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-Tail: 2\r\n\r\n"),
        TALK_C("GET /2 HTTP/1.1\r\n\r\n"), TALK_S(OK_EMPTY), TALK_END};

    l7_expect(KFL_L4_TCP, 80, talk,
              "HTTP 1.1 request[18]{method='GET' url='/' targetUri='/' path='/' pathSegments=[] "
              "httpVersion='HTTP/1.1' headersSize=18 headers={} cookies={} bodySize=0 body=''} "
              "response[100]{status=200 statusText='OK' httpVersion='HTTP/1.1' headersSize=47 "
              "redirectURL='' grpcStatus=-1 headers={Transfer-Encoding='chunked' X-Sum='1' "
              "X-Tail='2'} cookies={} bodySize=13 body='abc0123456789' content={mimeType='' "
              "size=13 text='YWJjMDEyMzQ1Njc4OQ==' encoding='base64'}}\n"
              "HTTP 1.1 request[19]{method='GET' url='/2' targetUri='/2' path='/2' "
              "pathSegments=['2'] httpVersion='HTTP/1.1' headersSize=19 headers={} cookies={} "
              "bodySize=0 body=''}" OK_EMPTY_ENTRY);
    expect_few(talk, "HTTP 1.1 request{method='GET' path='/'} response{status=200}\n"
                     "HTTP 1.1 request{method='GET' path='/2'} response{status=200}\n");
}

static void an_interim_response_is_not_the_response(void)
{
    static const struct talk talk[] = {
        TALK_C("POST /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"),
        TALK_S("HTTP/1.1 100 Continue\r\n\r\n"), TALK_C("abc"), TALK_S(OK_EMPTY), TALK_END};
    static const struct talk refused[] = {
        TALK_C("POST /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"),
        TALK_S("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"), TALK_END};

    expect_few(talk, "HTTP 1.1 request{method='POST' path='/p'} response{status=200}\n");
    expect_few(refused, "HTTP 1.1 request{method='POST' path='/p'} response{status=417}\n");
}

static void codings_are_undone(void)
{
    static const char gzip[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07"
                               "\x00\x86\xa6\x10\x36\x05\x00\x00\x00";
    static const char zlib[] = "\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15";
    static const char brotli[] = "\x0b\x02\x80\x68\x65\x6c\x6c\x6f\x03";
    static const char zstd[] = "\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00\x68\x65\x6c\x6c\x6f";
    static const struct {
        const char *name, *bytes;
        size_t size;
    } coding[] = {{"gzip", gzip, sizeof(gzip) - 1},
                  {"deflate", zlib, sizeof(zlib) - 1},
                  {"deflate", zlib + 2, sizeof(zlib) - 7},
                  {"br", brotli, sizeof(brotli) - 1},
                  {"zstd", zstd, sizeof(zstd) - 1}};

    for (unsigned i = 0; i < sizeof(coding) / sizeof(coding[0]); i++) {
        char response[256], *text;
        int n = snprintf(response, sizeof(response),
                         "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
                         coding[i].name, coding[i].size);
        struct talk talk[] = {TALK_C("GET / HTTP/1.1\r\n\r\n"),
                              {KFL_SERVER, response, (size_t)n + coding[i].size},
                              TALK_END};
        struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk};

        memcpy(response + n, coding[i].bytes, coding[i].size);
        text = l7_play(&play);
        if (!strstr(text, "body='hello' content={mimeType='' size=5 text='aGVsbG8='")) {
            tap_note("%s: %s", coding[i].name, text);
            CU_FAIL("not undone");
        }
        free(text);
    }
}

static void forms_become_params(void)
{
    static const struct talk talk[] = {
        TALK_C("POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
               "Content-Length: 12\r\n\r\na=1+2&b=%263"),
        TALK_S(OK_EMPTY),
        TALK_C("POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\"xx\"\r\n"
               "Content-Length: 131\r\n\r\n--xx\r\nContent-Disposition: form-data; name=\"f\"; "
               "filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nhi\r\nho\r\n--xx\r\n\r\nq\r\n"
               "--xx--\r\n     "),
        TALK_S(OK_EMPTY), TALK_END};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk};
    char *text = l7_play(&play);

    CU_ASSERT_PTR_NOT_NULL(strstr(text, "params=[{name='a' value='1 2'} {name='b' value='&3'}]"));
    CU_ASSERT_PTR_NOT_NULL(strstr(
        text, "params=[{name='f' value='hi\r\nho' fileName='a.txt' contentType='text/plain'} "));
    free(text);
}

static void graphql_is_told_by_its_document(void)
{
    static const struct {
        const char *body, *operation;
    } table[] = {
        {"{\"query\":\"{ items { id } }\"}", "gqlOperation='query' gqlName=''"},
        {"{\"query\":\"query Items($n: Int = 3) @x { items(first: $n, o: {a: [1, \\\"}\\\"]}) "
         "{ ... on T { id } ...F } } fragment F on T { x: y }\"}",
         "gqlOperation='query' gqlName='Items'"},
        {"{\"operationName\":\"B\",\"query\":\"query A { a } mutation B { b }\"}",
         "gqlOperation='mutation' gqlName='B'"},
        {"{\"query\":\"subscription S {a}\",\"variables\":{\"x\":[\"}\"]}}",
         "gqlOperation='subscription' gqlName='S'"},
        {"{\"query\":\"red shoes\"}", NULL},
        {"{\"query\":\"{ items { id }\"}", NULL},
        {"{\"query\":\"{ }\"}", NULL},
        {"{\"query\":{\"match\":{}}}", NULL},
        {"[{\"query\":\"{a}\"}]", NULL},
        {"{\"query\":\"{a}\"", NULL},
    };

    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char request[512], *text;
        int n = snprintf(request, sizeof(request),
                         "POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         strlen(table[i].body), table[i].body);
        struct talk talk[] = {{KFL_CLIENT, request, (size_t)n}, TALK_S(OK_EMPTY), TALK_END};
        struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk};

        text = l7_play(&play);
        if (table[i].operation ? strncmp(text, "GQL ", 4) || !strstr(text, table[i].operation)
                               : strncmp(text, "HTTP ", 5) || !!strstr(text, "gql")) {
            tap_note("%s: %s", table[i].body, text);
            CU_FAIL("GraphQL");
        }
        free(text);
    }
}

static void halves_and_bogus_bytes(void)
{
    static const struct talk unanswered[] = {TALK_C("GET /a HTTP/1.1\r\n\r\n"), TALK_END};
    static const struct talk unasked[] = {TALK_S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                                          TALK_END};
    static const struct talk old[] = {TALK_C("GET /a\r\n"), TALK_S("<html>"), TALK_END};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = old};
    char *text = l7_play(&play);
    static const struct talk lengths[] = {
        TALK_C("POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        TALK_S("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"), TALK_C("GET /b HTTP/1.1\r\n\r\n"),
        TALK_S(OK_EMPTY), TALK_END};

    expect_few(unanswered, "HTTP 1.1 request{method='GET' path='/a'} error=pair-not-found\n");
    expect_few(unasked, "HTTP 1.1 response{status=200} error=pair-not-found\n");
    CU_ASSERT_PTR_NULL(strstr(text, "HTTP")); /* HTTP/0.9 is not told from anything else */
    free(text);
    expect_few(lengths,
               "HTTP 1.1 request{method='POST' path='/a'} response{status=400} error=dissection\n"
               "HTTP 1.1 request{method='GET' path='/b'} response{status=200}\n");
}

static void a_folded_header_is_one(void)
{
    static const struct talk talk[] = {
        TALK_C("GET /a HTTP/1.1\r\nA: b\r\n c\r\n\td\r\nHost: x\r\n\r\n"), TALK_S(OK_EMPTY),
        TALK_END};

    l7_expect(KFL_L4_TCP, 80, talk,
              "HTTP 1.1 request[42]{method='GET' url='/a' targetUri='/a' path='/a' "
              "pathSegments=['a'] httpVersion='HTTP/1.1' headersSize=42 headers={A='b   c  \td' "
              "Host='x'} cookies={} bodySize=0 body=''}" OK_EMPTY_ENTRY);
}

/* Packets may be cut: what there is of a head is an entry, and the next message is found. */
static void the_rest_of_a_head_is_lost(void)
{
    static const struct talk talk[] = {TALK_C("GET /a HTTP/1.1\r\nHost: x\r\nUser-A"),
                                       TALK_C_GAP(20),
                                       TALK_S("HTTP/1.1 404 No\r\nContent-Length: 600\r\nSer"),
                                       TALK_S_GAP(640),
                                       TALK_C("GET /b HTTP/1.1\r\n\r\n"),
                                       TALK_S(OK_EMPTY),
                                       TALK_END};
    struct kfl_demand demand = few();
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk, .demand = &demand};
    char *text;

    demand.field[KFL_FIELD_HTTP_REQUEST_HEADERS] = 2;
    text = l7_play(&play);
    CU_ASSERT_STRING_EQUAL(text, "HTTP 1.1 request[32]{method='GET' path='/a' headers={Host='x'}} "
                                 "response[41]{status=404} error=dissection\n"
                                 "HTTP 1.1 request[19]{method='GET' path='/b' headers={}} "
                                 "response[38]{status=200}\n");
    free(text);
}

/* An answer that does not wait for the end of its request. */
static void an_early_answer_waits_for_its_request(void)
{
    static const struct talk talk[] = {TALK_C("POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"),
                                       TALK_S("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"),
                                       TALK_C("defGET /b HTTP/1.1\r\n\r\n"), TALK_S(OK_EMPTY),
                                       TALK_END};
    static const struct talk twice[] = {TALK_C("POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"),
                                        TALK_S(OK_EMPTY OK_EMPTY), TALK_C("d"), TALK_END};
    struct kfl_demand demand = few();
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .demand = &demand};
    char *text;

    demand.field[KFL_FIELD_HTTP_REQUEST_BODY] = 2;
    play.talk = talk;
    text = l7_play(&play);
    CU_ASSERT_STRING_EQUAL(
        text,
        "HTTP 1.1 request[45]{method='POST' path='/a' body='abcdef'} response[40]{status=413}\n"
        "HTTP 1.1 request[19]{method='GET' path='/b' body=''} response[38]{status=200}\n");
    free(text);
    play.talk = twice;
    text = l7_play(&play);
    CU_ASSERT_STRING_EQUAL(
        text, "HTTP 1.1 request[42]{method='POST' path='/a' body='abc'} response[38]{status=200}\n"
              "HTTP 1.1 response[38]{status=200} error=pair-not-found\n");
    free(text);
    l7_expect_cuts(&play);
}

/* An upgrade may come with any request, a tunnel only by way of a proxy. */
static void a_late_upgrade_is_followed(void)
{
    static const struct talk upgrade[] = {
        TALK_C("GET /a HTTP/1.1\r\n\r\n"), TALK_S(OK_EMPTY),
        TALK_C("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        TALK_S("HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"),
        TALK_END};
    static const struct talk origin[] = {
        TALK_C("GET /a HTTP/1.1\r\n\r\nCONNECT b:80 HTTP/1.1\r\n\r\nGET /in HTTP/1.1\r\n\r\n"),
        TALK_S(OK_EMPTY "HTTP/1.1 200 Yes\r\n\r\n" OK_EMPTY), TALK_END};
    static const struct talk proxy[] = {
        TALK_C("GET http://b/a HTTP/1.1\r\n\r\nCONNECT b:80 HTTP/1.1\r\n\r\n"
               "GET /in HTTP/1.1\r\n\r\n"),
        TALK_S(OK_EMPTY "HTTP/1.1 200 Yes\r\n\r\n" OK_EMPTY), TALK_END};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = upgrade};
    char *text = l7_play(&play);

    CU_ASSERT_PTR_NOT_NULL(strstr(text, "status=101"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nWS 13 response"));
    free(text);
    l7_expect_cuts(&play);
    expect_few(origin, "HTTP 1.1 request{method='GET' path='/a'} response{status=200}\n"
                       "HTTP 1.1 request{method='CONNECT' path='b:80'} response{status=200}\n");
    expect_few(proxy, "HTTP 1.1 request{method='GET' path='/a'} response{status=200}\n"
                      "HTTP 1.1 request{method='CONNECT' path='b:80'} response{status=200}\n"
                      "HTTP 1.1 request{method='GET' path='/in'} response{status=200}\n");
}

static void it_goes_on_behind_a_gap(void)
{
    static const struct talk body[] = {TALK_C("GET /a HTTP/1.1\r\n\r\n"),
                                       TALK_S("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"),
                                       TALK_S_GAP(6),
                                       TALK_S("yz"),
                                       TALK_C("GET /b HTTP/1.1\r\n\r\n"),
                                       TALK_S(OK_EMPTY),
                                       TALK_END};
    static const struct talk head[] = {
        TALK_C("GET /a HTTP/1.1\r\n\r\n"),
        TALK_S_GAP(600),
        TALK_S("tail of a bodyHTTP/1.1 201 OK\r\nContent-Length: 0\r\n\r\n"),
        TALK_C("GET /b HTTP/1.1\r\n\r\n"),
        TALK_S(OK_EMPTY),
        TALK_END};
    static const struct talk client[] = {TALK_C("GET /a HTTP/1.1\r\n\r\n"),
                                         TALK_S(OK_EMPTY),
                                         TALK_C("GET /b HTTP/1.1\r\nX: "),
                                         TALK_C_GAP(20),
                                         TALK_C("x\r\n\r\nGET /c HTTP/1.1\r\n\r\n"),
                                         TALK_S(OK_EMPTY OK_EMPTY),
                                         TALK_END};
    struct kfl_demand demand = few();
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .demand = &demand};
    char *text;

    play.talk = body;
    text = l7_play(&play);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "path='/a'} response[49]{status=200}\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "path='/b'} response[38]{status=200}\n"));
    free(text);
    play.talk = head;
    text = l7_play(&play);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "status=201}\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "path='/b'} response[38]{status=200}\n"));
    free(text);
    play.talk = client;
    text = l7_play(&play);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "path='/c'} response[38]{status=200}\n"));
    free(text);
    /* The same with the body collected. */
    play.demand = NULL;
    play.talk = body;
    text = l7_play(&play);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "bodySize=10 body='abyz'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "path='/b'"));
    free(text);
}

static void connect_leads_to_another_protocol(void)
{
    static const struct talk talk[] = {
        TALK_C("CONNECT a:80 HTTP/1.1\r\n\r\nGET /in HTTP/1.1\r\n\r\n"),
        TALK_S("HTTP/1.1 200 Yes\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), TALK_END};
    static const struct talk refused[] = {
        TALK_C("CONNECT a:80 HTTP/1.1\r\n\r\nGET /in HTTP/1.1\r\n\r\n"),
        TALK_S("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" OK_EMPTY), TALK_END};

    expect_few(talk, "HTTP 1.1 request{method='CONNECT' path='a:80'} response{status=200}\n"
                     "HTTP 1.1 request{method='GET' path='/in'} response{status=200}\n");
    expect_few(refused, "HTTP 1.1 request{method='CONNECT' path='a:80'} response{status=403}\n"
                        "HTTP 1.1 request{method='GET' path='/in'} response{status=200}\n");
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"request and response are one entry", request_and_response_are_one_entry},
        {"pipelined requests get their responses", pipelined_requests_get_their_responses},
        {"chunks are undone", chunks_are_undone},
        {"an interim response is not the response", an_interim_response_is_not_the_response},
        {"codings are undone", codings_are_undone},
        {"forms become params", forms_become_params},
        {"GraphQL is told by its document", graphql_is_told_by_its_document},
        {"halves and bogus bytes", halves_and_bogus_bytes},
        {"a folded header is one", a_folded_header_is_one},
        {"an early answer waits for the rest of its request",
         an_early_answer_waits_for_its_request},
        {"it goes on behind a gap", it_goes_on_behind_a_gap},
        {"the rest of a head is lost: what there is of it is an entry", the_rest_of_a_head_is_lost},
        {"CONNECT leads to another protocol", connect_leads_to_another_protocol},
        {"a late upgrade is followed", a_late_upgrade_is_followed},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "http1", tests);
}
