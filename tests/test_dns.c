/* DNS over UDP and TCP, and ICMP: conversations and the entries they make. */
#include <stdlib.h>
#include <string.h>

#include "l7_tool.h"

#define QUESTION "\7example\3com\0\0\1\0\1"
#define QUERY    "\x12\x34\1\0\0\1\0\0\0\0\0\0" QUESTION
#define ANSWER                                                                                \
    "\x12\x34\x81\x80\0\1\0\2\0\0\0\1" QUESTION "\xc0\x0c\0\5\0\1\0\0\0\x1e\0\6\3www\xc0\x0c" \
    "\xc0\x29\0\1\0\1\0\0\0\x18\0\4\x0a\0\0\1\0\0\x29\x10\0\0\0\0\0\0\0"
#define REQUEST_ENTRY(n)                                                 \
    "DNS 0 request[" n "]{id=4660 opCode='Query' recursionDesired=true " \
    "questions=[{name='example.com' type='A' class='IN'}]}"
#define RESPONSE_ENTRY(n)                                                                       \
    " response[" n "]{code='No Error' rcode=0 rcodeName='NOERROR' authoritative=false "         \
    "truncated=false recursionAvailable=true answers=[{name='example.com' type='CNAME' "        \
    "class='IN' ttl=30 cname='www.example.com'} {name='www.example.com' type='A' class='IN' "   \
    "ttl=24 ip='10.0.0.1'}] authorities=[] additionals=[{name='' type='OPT' class='CLASS4096' " \
    "ttl=0}]}"

static void query_and_answer_are_one_entry(void)
{
    static const struct talk udp[] = {TALK_C(QUERY), TALK_C(QUERY), TALK_S(ANSWER), TALK_END};
    static const struct talk tcp[] = {TALK_C("\0\x1d" QUERY), TALK_S("\0\x4a" ANSWER), TALK_END};
    static const struct talk late[] = {TALK_S(ANSWER), TALK_END};

    l7_expect(KFL_L4_UDP, 53, udp, REQUEST_ENTRY("29") RESPONSE_ENTRY("74") "\n");
    l7_expect(KFL_L4_UDP, 9999, udp, REQUEST_ENTRY("29") RESPONSE_ENTRY("74") "\n");
    l7_expect(KFL_L4_TCP, 53, tcp, REQUEST_ENTRY("31") RESPONSE_ENTRY("76") "\n");
    l7_expect(KFL_L4_UDP, 53, late,
              REQUEST_ENTRY("0") RESPONSE_ENTRY("74") " error=pair-not-found\n");
}

static void answers_find_their_queries(void)
{
    static const struct talk talk[] = {
        TALK_C("\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"),
        TALK_C("\0\0\1\0\0\1\0\0\0\0\0\0\1b\0\0\x1c\0\1"),
        TALK_S("\0\0\x81\x83\0\1\0\0\0\0\0\0\1b\0\0\x1c\0\1"),
        TALK_S("\0\1\x81\x80\0\1\0\0\0\0\0\1\1a\0\0\1\0\1\0\0\x29\x04\xd0\1\0\0\0\0\0"), TALK_END};
    struct l7_play play = {.l4 = KFL_L4_UDP, .port = 53, .talk = talk};
    char *text = l7_play(&play), *second = strchr(text, '\n');

    CU_ASSERT_PTR_NOT_NULL(strstr(text, "name='b' type='AAAA'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "code='Non-Existent Domain' rcode=3 rcodeName='NXDOMAIN'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(second, "name='a' type='A'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(second, "code='Bad OPT Version' rcode=16 rcodeName='BADVERS'"));
    free(text);
}

static void records_are_spelled(void)
{
    static const struct talk talk[] = {
        TALK_S("\0\1\x84\0\0\0\0\5\0\0\0\0"
               "\1m\0\0\x0f\0\1\0\0\0\1\0\7\0\x0a\3mx1\0"
               "\1t\0\0\x10\0\1\0\0\0\1\0\7\2ab\3c d"
               "\1s\0\0\x21\0\1\0\0\0\1\0\x0a\0\1\0\2\0\x50\2sv\0"
               "\1o\0\0\6\0\1\0\0\0\1\0\x1a\1n\0\1r\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5"
               "\1x\0\xff\x00\0\2\0\0\0\1\0\1z"),
        TALK_END};
    struct l7_play play = {.l4 = KFL_L4_UDP, .port = 53, .talk = talk};
    char *text = l7_play(&play);

    CU_ASSERT_PTR_NOT_NULL(strstr(text, "mx='10 mx1'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "txts='ab c d'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "srv='1 2 80 sv'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "soa='n r 1 2 3 4 5'"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "type='TYPE65280' class='CLASS2'"));
    free(text);
}

static void loops_and_other_bytes_are_no_dns(void)
{
    static const struct talk loop[] = {TALK_C("\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"),
                                       TALK_END};
    static const struct talk other[] = {TALK_C("\x80\x60\x1a\x2b\0\0\0\1\x11\x22\x33\x44media"),
                                        TALK_C("\x80\x60\x1a\x2c\0\0\0\2\x11\x22\x33\x44media"),
                                        TALK_C("\x80\x60\x1a\x2d\0\0\0\3\x11\x22\x33\x44media"),
                                        TALK_C("\x80\x60\x1a\x2e\0\0\0\4\x11\x22\x33\x44media"),
                                        TALK_C("\x80\x60\x1a\x2f\0\0\0\5\x11\x22\x33\x44media"),
                                        TALK_C("\x80\x60\x1a\x30\0\0\0\6\x11\x22\x33\x44media"),
                                        TALK_END};

    struct l7_play play = {.l4 = KFL_L4_UDP, .port = 53, .talk = loop};
    char *text = l7_play(&play);

    CU_ASSERT_PTR_NULL(strstr(text, "DNS"));
    free(text);
    play.port = 5004;
    play.talk = other;
    text = l7_play(&play);
    CU_ASSERT_EQUAL(strncmp(text, "UDP ", 4), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nnone\n"));
    free(text);
}

static void echoes_are_paired(void)
{
    static const struct talk talk[] = {
        TALK_C("\x08\0\0\0\0\1\0\1data"), TALK_C("\x08\0\0\0\0\1\0\2data"),
        TALK_S("\0\0\0\0\0\1\0\2data"), TALK_S("\0\0\0\0\0\1\0\1data"), TALK_END};

    l7_expect(KFL_L4_ICMP, 0, talk,
              "ICMP 4 request[12]{version=4 type=8 code=0 typeName='Echo Request' length=12 "
              "from='10.0.0.1' identifier=1 sequence=2} response[12]{type=0 code=0 identifier=1 "
              "sequence=2 length=12}\n"
              "ICMP 4 request[12]{version=4 type=8 code=0 typeName='Echo Request' length=12 "
              "from='10.0.0.1' identifier=1 sequence=1} response[12]{type=0 code=0 identifier=1 "
              "sequence=1 length=12}\n");
}

static void errors_say_what_they_quote(void)
{
    static const struct talk talk[] = {
        TALK_S("\3\3\0\0\0\0\0\0\x45\0\0\x39\0\0\0\0\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2\x9c\x40\0\x35"
               "\0\x25\0\0"),
        TALK_END};

    l7_expect(KFL_L4_ICMP, 0, talk,
              "ICMP 4 request[36]{version=4 type=3 code=3 typeName='Destination Unreachable' "
              "length=36 from='10.0.0.2' quoted={layer4='udp' src={ip='10.0.0.1' port='40000'} "
              "dst={ip='10.0.0.2' port='53'}}}\n");
}

static void an_association_is_one_entry(void)
{
    static const struct talk talk[] = {
        TALK_C("\x9c\x40\0\x50\0\0\0\0\1\2\3\4\1\0\0\x04"),
        TALK_S("\0\x50\x9c\x40\0\0\0\7\1\2\3\4\2\0\0\4"),
        TALK_C("\x9c\x40\0\x50\0\0\0\x09\1\2\3\4\0\3\0\x13\0\0\0\1\0\0\0\0\0\0\0\x2e"
               "abc\0"),
        TALK_C("\x9c\x40\0\x50\0\0\0\x09\1\2\3\4\0\3\0\x13\0\0\0\1\0\0\0\0\0\0\0\x2e"
               "abc\0"),
        TALK_S("\0\x50\x9c\x40\0\0\0\7\1\2\3\4\3\0\0\4"),
        TALK_END};

    l7_expect(KFL_L4_SCTP, 80, talk,
              "SCTP  request[80]{chunkTypes=['INIT' 'DATA'] ppids=[46] verificationTag=9 "
              "payloadSize=3 payload='YWJj' payloadHex='616263'} response[32]{chunkTypes=["
              "'INIT_ACK' 'SACK'] ppids=[] verificationTag=7 payloadSize=0 payload='' "
              "payloadHex=''}\n");
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"query and answer are one entry", query_and_answer_are_one_entry},
        {"answers find their queries", answers_find_their_queries},
        {"records are spelled", records_are_spelled},
        {"loops and other bytes are no DNS", loops_and_other_bytes_are_no_dns},
        {"echoes are paired", echoes_are_paired},
        {"errors say what they quote", errors_say_what_they_quote},
        {"an association is one entry", an_association_is_one_entry},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "dns", tests);
}
