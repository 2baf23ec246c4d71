/* HTTP/2 and gRPC: conversations and the entries they make. */
#include <stdlib.h>
#include <string.h>

#include "l7_tool.h"

#define PREFACE  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\0\4\0\0\0\0\0"
/* :method GET, :scheme http, :path /, x-a: b with indexing */
#define GET_BLOCK   "\x82\x86\x84\x40\3x-a\1b"
#define GET(stream) "\0\0\x0a\1\5\0\0\0" stream GET_BLOCK

static void interleaved_streams_are_paired(void)
{
    static const struct talk talk[] = {
        TALK_C(PREFACE SETTINGS GET("\1") "\0\0\4\1\5\0\0\0\3\x82\x86\x84\xbe"),
        TALK_S(SETTINGS "\0\0\1\1\5\0\0\0\3\x8d" /* 404 */
                        "\0\0\1\1\4\0\0\0\1\x88" /* 200 */
                        "\0\0\3\0\0\0\0\0\1"
                        "abc"
                        "\0\0\6\0\x09\0\0\0\1\3de\0\0\0"),
        TALK_END};

    l7_expect(
        KFL_L4_TCP, 80, talk,
        "HTTP/2 2.0 request[13]{method='GET' url='/' targetUri='/' path='/' pathSegments=[] "
        "httpVersion='HTTP/2.0' streamId=3 headers={:method='GET' :scheme='http' :path='/' "
        "X-A='b'} cookies={} bodySize=0 body=''} response[10]{status=404 httpVersion='HTTP/2.0' "
        "redirectURL='' headers={:status='404'} cookies={} grpcStatus=-1 bodySize=0 body='' "
        "content={mimeType='' size=0 text='' encoding='base64'}}\n"
        "HTTP/2 2.0 request[19]{method='GET' url='/' targetUri='/' path='/' pathSegments=[] "
        "httpVersion='HTTP/2.0' streamId=1 headers={:method='GET' :scheme='http' :path='/' "
        "X-A='b'} cookies={} bodySize=0 body=''} response[37]{status=200 httpVersion='HTTP/2.0' "
        "redirectURL='' headers={:status='200'} cookies={} grpcStatus=-1 bodySize=5 body='abcde' "
        "content={mimeType='' size=5 text='YWJjZGU=' encoding='base64'}}\n");
}

static void grpc_has_its_status_in_trailers(void)
{
    static const struct talk call[] = {
        TALK_C(PREFACE SETTINGS "\0\0\x0a\1\0\0\0\0\1\x83\x86\4\6/a.B/C"
                                "\0\0\x13\x09\4\0\0\0\1\x0f\x10\x10" /* content-type */
                                "application/grpc"
                                "\0\0\6\0\1\0\0\0\1\0\0\0\0\1x"),
        TALK_S(SETTINGS "\0\0\1\1\4\0\0\0\1\x88"
                        "\0\0\6\0\0\0\0\0\1\0\0\0\0\1y"
                        "\0\0\x23\1\5\0\0\0\1\0\x0bgrpc-status\1"
                        "5"
                        "\0\x0cgrpc-message\5a%20b"),
        TALK_END};
    struct kfl_demand demand = {.protos = KFL_PROTO_BIT(GRPC)};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = call, .demand = &demand};
    char *text = l7_play(&play);

    CU_ASSERT_STRING_EQUAL(text, "gRPC 2.0 request[19]{} response[10]{}\n");
    free(text);
    demand.field[KFL_FIELD_HTTP_REQUEST_GRPC_SERVICE] = 2;
    demand.field[KFL_FIELD_HTTP_REQUEST_GRPC_METHOD] = 2;
    demand.field[KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS] = 2;
    demand.field[KFL_FIELD_HTTP_RESPONSE_GRPC_MESSAGE] = 2;
    text = l7_play(&play);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "{grpcService='a.B' grpcMethod='C'} response"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "{grpcStatus=5 grpcMessage='a b'}"));
    free(text);
    l7_expect_cuts(&play);
}

static void a_reset_stream_is_unanswered(void)
{
    static const struct talk talk[] = {TALK_C(PREFACE SETTINGS GET("\1")),
                                       TALK_S(SETTINGS "\0\0\4\3\0\0\0\0\1\0\0\0\7"), TALK_END};
    struct kfl_demand demand = {.protos = KFL_PROTO_BIT(HTTP2)};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk, .demand = &demand};
    char *text = l7_play(&play);

    CU_ASSERT_STRING_EQUAL(text, "HTTP/2 2.0 request[19]{} error=pair-not-found\n");
    free(text);
}

static void a_connection_met_in_the_middle_is_read(void)
{
    static const struct talk talk[] = {TALK_C(GET("\5") "\0\0\4\1\5\0\0\0\7\x82\x86\x84\xbe"
                                                        "\0\0\4\1\5\0\0\0\x0b\x82\x86\x84\xc5"),
                                       TALK_S("\0\0\1\1\5\0\0\0\5\x88"
                                              "\0\0\1\1\5\0\0\0\7\x8d"
                                              "\0\0\1\1\5\0\0\0\x0b\x8e"),
                                       TALK_END};
    struct kfl_demand demand = {.protos = KFL_PROTO_BIT(HTTP2)};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk, .demand = &demand};
    char *text;

    demand.field[KFL_FIELD_HTTP_RESPONSE_STATUS] = 2;
    text = l7_play(&play);
    CU_ASSERT_STRING_EQUAL(text, "HTTP/2 2.0 request[19]{} response[10]{status=200}\n"
                                 "HTTP/2 2.0 request[13]{} response[10]{status=404}\n"
                                 "HTTP/2 2.0 request[13]{} response[10]{status=500} "
                                 "error=dissection\n");
    free(text);
}

static void an_upgraded_request_is_stream_1(void)
{
    static const struct talk talk[] = {
        TALK_C("GET /up HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"),
        TALK_S("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
               "h2c\r\n\r\n" SETTINGS "\0\0\1\1\5\0\0\0\1\x88"),
        TALK_C(PREFACE SETTINGS), TALK_END};
    struct kfl_demand demand = {.protos = KFL_PROTO_BIT(HTTP2)};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 80, .talk = talk, .demand = &demand};
    char *text;

    demand.field[KFL_FIELD_HTTP_REQUEST_PATH] = demand.field[KFL_FIELD_HTTP_RESPONSE_STATUS] = 2;
    text = l7_play(&play);
    CU_ASSERT_STRING_EQUAL(text, "HTTP 1.1 request[71]{path='/up'} response[71]{status=101}\n"
                                 "HTTP/2 2.0 request[71]{path='/up'} response[10]{status=200}\n");
    free(text);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"interleaved streams are paired", interleaved_streams_are_paired},
        {"gRPC has its status in trailers", grpc_has_its_status_in_trailers},
        {"a reset stream is unanswered", a_reset_stream_is_unanswered},
        {"a connection met in the middle is read", a_connection_met_in_the_middle_is_read},
        {"an upgraded request is stream 1", an_upgraded_request_is_stream_1},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "http2", tests);
}
