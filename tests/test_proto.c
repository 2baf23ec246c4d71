/* The binary protocols, each in one conversation that shows what its entries are. l7_expect() also
 * plays it cut at every byte, and cut short at every length. */
#include "l7_tool.h"

static void redis_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("*3\r\n$3\r\nSET\r\n$4\r\ntest\r\n$5\r\nhello\r\n"),
        TALK_S("+OK\r\n"),
        TALK_C("*2\r\n$3\r\nget\r\n$4\r\ntest\r\n"),
        TALK_S("$5\r\nhello\r\n"),
        TALK_C("*2\r\n$4\r\nINCR\r\n$4\r\ntest\r\n*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r"
               "\n1\r\n$1\r\nb\r\n"),
        TALK_S("-ERR value is not an integer\r\n:2\r\n"),
        TALK_C("PING\r\n"),
        TALK_S("+PONG\r\n"),
        TALK_C("*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n"),
        TALK_S("*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n"),
        TALK_S("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$2\r\nhi\r\n"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 6379, talk,
              "REDIS 2 request[34]{type='Array' command='SET' key='test' value='hello"
              "' args=['test' 'hello']} response[5]{type='Simple String' keyword='OK'"
              "}\n"
              "REDIS 2 request[23]{type='Array' command='GET' key='test' args=['test'"
              "]} response[11]{type='Bulk String' value='hello'}\n"
              "REDIS 2 request[24]{type='Array' command='INCR' key='test' args=['test"
              "']} response[30]{type='Error' value='ERR value is not an integer'}\n"
              "REDIS 2 request[35]{type='Array' command='MSET' key='a' value='[1, b]'"
              " args=['a' '1' 'b']} response[4]{type='Integer' value='2'}\n"
              "REDIS 2 request[6]{type='Inline' command='PING' args=[]} response[7]{t"
              "ype='Simple String' keyword='PONG'}\n"
              "REDIS 2 request[27]{type='Array' command='SUBSCRIBE' key='ch' args=['c"
              "h']} response[31]{type='Array' value='[subscribe, ch, 1]'}\n"
              "REDIS 2 response[33]{type='Array' command='MESSAGE' key='ch' value='hi"
              "' args=['ch' 'hi']}\n");
}

/* Lines of words are not enough: the other side must speak RESP. */
static void redis_lines(void)
{
    static const struct talk irc[] = {TALK_S(":irc.example.com 001 ann :Welcome\r\n"),
                                      TALK_C("NICK ann\r\nJOIN #test\r\n"),
                                      TALK_S(":ann!ann@10.4.8.1 JOIN #test\r\n"), TALK_END};
    static const struct talk module[] = {TALK_C("JSON.GET2 doc\r\n"),
                                         TALK_S("|1\r\n+ttl\r\n:3600\r\n:7\r\n"), TALK_END};

    l7_expect(
        KFL_L4_TCP, 6667, irc,
        "TCP  request[22]{payloadSize=22 payload='TklDSyBhbm4NCkpPSU4gI3Rlc3QNCg==' "
        "payloadHex='4e49434b20616e6e0d0a4a4f494e2023746573740d0a'} response[65]{"
        "payloadSize=65 payload='OmlyYy5leGFtcGxlLmNvbSAwMDEgYW5uIDpXZWxjb21lDQo6YW5uIWFubkAx"
        "MC40LjguMSBKT0lOICN0ZXN0DQ==' payloadHex='3a6972632e6578616d706c652e636f6d203030312061"
        "6e6e203a57656c636f6d650d0a3a616e6e21616e6e4031302e342e382e31204a4f494e2023746573740d'}\n"
        "none\n");
    l7_expect(KFL_L4_TCP, 6379, module,
              "REDIS 3 request[15]{type='Inline' command='JSON.GET2' key='doc' args=['doc']} "
              "response[21]{type='Map' value='[ttl, 3600, 7]'}\n");
}

static void radius_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("\001\007\000+"
               "\000\001\002\003\004\005\006\007\010\011\n\013\014\r\016\017\001\005ann\004\006\n"
               "\000\000\011\005\006\000\000\000\003!\003\001!\003\002"),
        TALK_C("\001\007\000+"
               "\000\001\002\003\004\005\006\007\010\011\n\013\014\r\016\017\001\005ann\004\006\n"
               "\000\000\011\005\006\000\000\000\003!\003\001!\003\002"),
        TALK_S("\002\007\000#"
               "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\022\011welcome\010"
               "\006\n\011\010\007"),
        TALK_C("\001\010\000\031\000\001\002\003\004\005\006\007\010\011\n\013\014\r\016\017\001"
               "\005bob"),
        TALK_S("\003\010\000\030\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
               "\022\004no"),
        TALK_END,
    };

    l7_expect(KFL_L4_UDP, 1812, talk,
              "RADIUS  request[43]{code=1 codeName='Access-Request' id=7 authenticato"
              "r='000102030405060708090a0b0c0d0e0f' attributes={User-Name='ann' NAS-I"
              "P-Address='10.0.0.9' NAS-Port=3 Proxy-State=['01' '02']}} response[35]"
              "{code=2 codeName='Access-Accept' attributes={Reply-Message='welcome' F"
              "ramed-IP-Address='10.9.8.7'}}\n"
              "RADIUS  request[25]{code=1 codeName='Access-Request' id=8 authenticato"
              "r='000102030405060708090a0b0c0d0e0f' attributes={User-Name='bob'}} res"
              "ponse[24]{code=3 codeName='Access-Reject' attributes={Reply-Message='n"
              "o'}}\n");
}

static void diameter_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("\001\000\000\234\300\000\001\020\000\000\000\004\000\000\000\005\000\000\000c\000"
               "\000\001\007@\000\000\013s;1\000\000\000\001\010@\000\000\026gx.examp"
               "le.net\000\000\000\000\001(@\000\000\023example.net\000\000\000\001\273@\000\000 "
               "\000\000\001\302@\000\000\014\000\000\000\000"
               "\000\000\001\274@\000\000\0144912\000\000\001\273@\000\000 "
               "\000\000\001\302@\000\000\014\000\000\000\001\000\000\001\274@"
               "\000\000\013262\000\000\000'\017"
               "\300\000\000\r\000\000\000\014\253\000\000\000"),
        TALK_S("\001\000\000d@"
               "\000\001\020\000\000\000\004\000\000\000\005\000\000\000c\000\000\001\007@"
               "\000\000\013s;1\000\000\000\001\014@\000\000\014\000\000\007\321\000\000\001\010"
               "@\000\000\027ocs.example.net\000\000\000\001)@\000\000 "
               "\000\000\001\n@\000\000\014\000\000(\257\000\000\001*@\000\000\014"
               "\000\000\023\213"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 3868, talk,
              "DIAMETER 1 request[156]{sessionId='s;1' originHost='gx.example.net' or"
              "iginRealm='example.net' commandCode=272 method='Credit-Control' applic"
              "ationId=4 hopByHopId=5 endToEndId=99 avps={Session-Id='s;1' Origin-Hos"
              "t='gx.example.net' Origin-Realm='example.net' Subscription-Id=[{Subscr"
              "iption-Id-Type=0 Subscription-Id-Data='4912'} {Subscription-Id-Type=1 "
              "Subscription-Id-Data='262'}] AVP-12-9999='ab'}} response[100]{originHo"
              "st='ocs.example.net' resultCode=2001 experimentalResultCode=5003 avps="
              "{Session-Id='s;1' Result-Code=2001 Origin-Host='ocs.example.net' Exper"
              "imental-Result={Vendor-Id=10415 Experimental-Result-Code=5003}}}\n");
}

static void ldap_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("0\026\002\001\001`\021\002\001\003\004\010cn=admin\200\002pw"),
        TALK_S("0\014\002\001\001a\007\n\0011\004\000\004\000"),
        TALK_C("0J\002\001\002cE\004\004dc="
               "x\n\001\002\n\001\000\002\001\000\002\001\000\001\001\000\240\"\243\n\004\003uid"
               "\004\003a*n\242\006\207\004ma"
               "il\244\014\004\002cn0\006\200\001A\202\001n0\n\004\002cn\004\004mail"),
        TALK_S("0\r\002\001\002d\010\004\004cn=a0\0000\r\002\001\002d\010\004\004cn="
               "b0\0000\014\002\001\002e\007\n\001\000\004\000\004\000"),
        TALK_C("0\011\002\001\003J\004cn=c"),
        TALK_S("0\014\002\001\003k\007\n\001 \004\000\004\000"),
        TALK_C("0\005\002\001\004B\000"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 389, talk,
              "LDAP 3 request[24]{messageId=1 type='bindRequest' version=3 name='cn=ad"
              "min' authentication='simple'} response[14]{type='bindResponse' resultC"
              "ode=49 resultCodeName='invalidCredentials' matchedDN='' errorMessage='"
              "' entries=0}\n"
              "LDAP 3 request[76]{messageId=2 type='searchRequest' baseObject='dc=x' s"
              "cope='wholeSubtree' filter='(&(uid=a\\2an)(!(mail=*))(cn=A*n))' attribu"
              "tes=['cn' 'mail']} response[14]{type='searchResDone' resultCode=0 resu"
              "ltCodeName='success' matchedDN='' errorMessage='' entries=2}\n"
              "LDAP 3 request[11]{messageId=3 type='delRequest' entry='cn=c'} response"
              "[14]{type='delResponse' resultCode=32 resultCodeName='noSuchObject' ma"
              "tchedDN='' errorMessage='' entries=0}\n"
              "LDAP 3 request[7]{messageId=4 type='unbindRequest'}\n");
}

static void mongodb_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("b\000\000\000\021\000\000\000\000\000\000\000\335\007\000\000\000\000\000\000\000M"
               "\000\000\000\002find\000\006\000\000\000items\000\003filter"
               "\000\"\000\000\000\020n\000\001\000\000\000\004in\000\022\000\000\000\0100\000\001"
               "\0021\000\002\000\000\000x\000\000\000\002$db\000\005\000\000\000shop"
               "\000\000"),
        TALK_S("j\000\000\000\003\000\000\000\021\000\000\000\335\007\000\000\000\000\000\000\000U"
               "\000\000\000\003cursor\000<\000\000\000\020id\000\000\000\000\000\004fi"
               "rstBatch\000#"
               "\000\000\000\0030\000\014\000\000\000\020a\000\001\000\000\000\000\0031\000\014\000"
               "\000\000\020a\000\002\000\000\000\000\000\000\001ok"
               "\000\000\000\000\000\000\000\360?\000"),
        TALK_C(":\000\000\000\022\000\000\000\000\000\000\000\324\007\000\000\000\000\000\000admin."
               "$cmd\000\000\000\000\000\377\377\377\377\023\000\000\000\020getn"
               "once\000\001\000\000\000\000"),
        TALK_S("n\000\000\000\004\000\000\000\022\000\000\000\001\000\000\000\010\000\000\000\000"
               "\000\000\000\000\000\000\000\000\000\000\000\001\000\000\000J\000\000\000\001ok\000"
               "\000\000\000\000"
               "\000\000\000\000\002errmsg\000\003\000\000\000no\000\020code\000\032\000\000\000"
               "\002codeName\000\022\000\000\000Names"
               "paceNotFound\000\000"),
        TALK_C("+\000\000\000\023\000\000\000\000\000\000\000\322\007\000\000\000\000\000\000shop."
               "items\000\014\000\000\000\020a\000\001\000\000\000\000"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 27017, talk,
              "MONGODB  request[98]{opcode='OP_MSG' requestId=17 command='find' colle"
              "ction='items' database='shop' document={find='items' filter={n=1 in=[t"
              "rue 'x']} $db='shop'}} response[106]{responseTo=17 cursorId=0 document"
              "s=2 ok=1}\n"
              "MONGODB  request[58]{opcode='OP_QUERY' requestId=18 database='admin' c"
              "ommand='getnonce' document={getnonce=1}} response[110]{responseTo=18 c"
              "ursorId=0 documents=1 ok=0 errorMessage='no' errorCode=26 errorCodeNam"
              "e='NamespaceNotFound'}\n"
              "MONGODB  request[43]{opcode='OP_INSERT' requestId=19 database='shop' c"
              "ollection='items' command='insert' document={a=1}}\n");
}

static void amqp_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("AMQP\000\000\011\001"),
        TALK_S("\001\000\000\000\000\000\034\000\n\000\n\000\011\000\000\000\000\000\000\000\005PLA"
               "IN\000\000\000\005en_US\316"),
        TALK_C("\001\000\000\000\000\000\030\000\n\000\013\000\000\000\000\005PLAIN\000\000\000\000"
               "\005en_US\316"),
        TALK_C("\001\000\001\000\000\000#\0002\000\n\000\000\005hello\002\000\000\000\022\014x-max-"
               "lengthI\000\000\000\n\316"),
        TALK_S("\001\000\001\000\000\000\022\0002\000\013\005hello\000\000\000\004\000\000\000\001"
               "\316"),
        TALK_C(
            "\001\000\001\000\000\000\016\000<\000("
            "\000\000\004logs\001k\001\316\002\000\001\000\000\000\032\000<"
            "\000\000\000\000\000\000\000\000\000\005\220\000\ntext"
            "/plain\002\316\003\000\001\000\000\000\002he\316\003\000\001\000\000\000\003llo\316"),
        TALK_C("\001\000\001\000\000\000\r\000<\000P\000\000\000\000\000\000\000\001\000\316"),
        TALK_S(
            "\001\000\001\000\000\000\024\000\024\000(\001\224\011NOT_FOUND\000\000\000\000\316"),
        TALK_C("\001\000\001\000\000\000\004\000\024\000)\316"),
        TALK_S("\010\000\000\000\000\000\000\316"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 5672, talk,
              "AMQP 0-9-1 request[36]{method='connection start' channel=0} response[3"
              "2]{method='connection start-ok'}\n"
              "AMQP 0-9-1 request[43]{method='queue declare' channel=1 queue='hello' "
              "passive=false durable=true exclusive=false autoDelete=false noWait=fal"
              "se arguments={x-max-length=10}} response[26]{method='queue declare-ok'"
              " queue='hello' messageCount=4 consumerCount=1}\n"
              "AMQP 0-9-1 request[77]{method='basic publish' channel=1 exchange='logs"
              "' routingKey='k' mandatory=true immediate=false properties={contentTyp"
              "e='text/plain' deliveryMode=2} body='aGVsbG8='} response[0]{method='em"
              "pty'}\n"
              "AMQP 0-9-1 request[21]{method='basic ack' channel=1 deliveryTag=1} res"
              "ponse[0]{method='empty'}\n"
              "AMQP 0-9-1 request[28]{method='channel close' channel=1 replyCode=404 "
              "replyText='NOT_FOUND'} response[12]{method='channel close-ok'}\n");
}

static void kafka_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("\000\000\000\"\000\022\000\003\000\000\000\001\000\007rdkafka\000\013librdkafka\004"
               "1.9\000"),
        TALK_S("\000\000\000\023\000\000\000\001\000\000\002\000\003\000\000\000\011\000\000\000"
               "\000\000\000"),
        TALK_C("\000\000\000\027\000\003\000\001\000\000\000\002\000\001c\000\000\000\001\000\006or"
               "ders"),
        TALK_S("\000\000\0001\000\000\000\002\000\000\000\001\000\000\000\007\000\006kafka1\000\000"
               "#\204\377\377\000\000\000\007\000\000\000\001\000\003\000\006orders"
               "\000\000\000\000\000"),
        TALK_C("\000\000\000,"
               "\000\000\000\002\000\000\000\003\000\001c\377\377\000\000u0\000\000\000\001\000\006"
               "orders\000\000\000\001\000\000\000\000\000\000\000\003abc"),
        TALK_S("\000\000\000."
               "\000\000\000\003\000\000\000\001\000\006orders\000\000\000\001\000\000\000\000\000"
               "\000\000\000\000\000\000\000\000\005\377\377\377\377\377\377\377\377\000\000"
               "\000\000"),
        TALK_C("\000\000\000\025\000\000\000\002\000\000\000\004\000\001c\000\000\000\000u0\000\000"
               "\000\000"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 9092, talk,
              "KAFKA 12 request[38]{size=34 apiKey=18 apiKeyName='ApiVersions' apiVer"
              "sion=3 correlationID=1 clientID='rdkafka' topics=[] payload={clientSof"
              "twareName='librdkafka' clientSoftwareVersion='1.9'}} response[23]{size"
              "=19 correlationID=1 payload={errorCode=0 apiKeys=[{apiKey=3 minVersion"
              "=0 maxVersion=9}] throttleTimeMs=0} errorCode=0}\n"
              "KAFKA 12 request[27]{size=23 apiKey=3 apiKeyName='Metadata' apiVersion"
              "=1 correlationID=2 clientID='c' topics=['orders'] payload={topics=[{na"
              "me='orders'}]}} response[53]{size=49 correlationID=2 payload={brokers="
              "[{nodeId=7 host='kafka1' port=9092 rack=''}] controllerId=7 topics=[{e"
              "rrorCode=3 name='orders' isInternal=0 partitions=[]}]} errorCode=3}\n"
              "KAFKA 12 request[48]{size=44 apiKey=0 apiKeyName='Produce' apiVersion="
              "2 correlationID=3 clientID='c' topics=['orders'] payload={requiredAcks"
              "=-1 timeout=30000 topicData=[{topic='orders' partitions=[{partition=0}"
              "]}]}} response[50]{size=46 correlationID=3 payload={responses=[{topic="
              "'orders' partitionResponses=[{index=0 errorCode=0 baseOffset=5 logAppe"
              "ndTimeMs=-1}]}] throttleTimeMs=0} errorCode=0}\n"
              "KAFKA 12 request[25]{size=21 apiKey=0 apiKeyName='Produce' apiVersion="
              "2 correlationID=4 clientID='c' topics=[] payload={requiredAcks=0 timeo"
              "ut=30000 topicData=[]}}\n");
}

static void mysql_entries(void)
{
    static const struct talk talk[] = {
        TALK_S("I\000\000\000\n8.0.1\000\011\000\000\00012345678\000\377\367!"
               "\002\000\377\201\025\000\000\000\000\000\000\000\000\000\000123456"
               "789012\000mysql_native_password\000"),
        TALK_C("-\000\000\001\011\202\000\000\000\000\000\001!"
               "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
               "\000\000\000app\000\003abcshop"
               "\000"),
        TALK_S("\007\000\000\002\000\000\000\002\000\000\000"),
        TALK_C("\014\000\000\000\003SHOW TABLES"),
        TALK_S("\001\000\000\001\001\030\000\000\002\003def\000\000\000\000\000\000\000\000\000\000"
               "\000\000\000\000\000\000\000\000\000\000\005\000\000\003\376\000\000\002\000\004"
               "\000\000\004\003a"
               "bc\004\000\000\005\003def\005\000\000\006\376\000\000\002\000"),
        TALK_C("\007\000\000\000\003INSERT"),
        TALK_S("\007\000\000\001\000\001\005\002\000\001\000"),
        TALK_C("\011\000\000\000\026SELECT ?"),
        TALK_S("\014\000\000\001\000\001\000\000\000\001\000\001\000\000\000\000\030\000\000\002"
               "\003def\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
               "\000\005\000\000\003"
               "\376\000\000\002\000\030\000\000\004\003def\000\000\000\000\000\000\000\000\000\000"
               "\000\000\000\000\000\000\000\000\000\000\005\000\000\005\376\000\000\002\000"),
        TALK_C("\n\000\000\000\027\001\000\000\000\000\001\000\000\000"),
        TALK_S("\026\000\000\001\377\025\004#28000Access denied"),
        TALK_C("\001\000\000\000\001"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 3306, talk,
              "MYSQL 10 request[49]{command='LOGIN' user='app' database='shop'} respo"
              "nse[11]{affectedRows=0 lastInsertId=0 warnings=0 status='OK' columns=0"
              " rows=0}\n"
              "MYSQL 10 request[16]{command='COM_QUERY' user='app' database='shop' qu"
              "ery='SHOW TABLES'} response[67]{warnings=0 status='ResultSet' columns="
              "1 rows=2}\n"
              "MYSQL 10 request[11]{command='COM_QUERY' user='app' database='shop' qu"
              "ery='INSERT'} response[11]{affectedRows=1 lastInsertId=5 warnings=1 st"
              "atus='OK' columns=0 rows=0}\n"
              "MYSQL 10 request[13]{command='COM_STMT_PREPARE' user='app' database='s"
              "hop' query='SELECT ?'} response[16]{status='OK' columns=1 rows=0}\n"
              "MYSQL 10 request[14]{command='COM_STMT_EXECUTE' user='app' database='s"
              "hop' statementId=1 query='SELECT ?'} response[26]{errorCode=1045 sqlSt"
              "ate='28000' errorMessage='Access denied' status='ERR' columns=0 rows=0"
              "}\n"
              "MYSQL 10 request[5]{command='COM_QUIT' user='app' database='shop'}\n");
}

static void postgresql_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("\000\000\000\010\004\322\026/"),
        TALK_S("N"),
        TALK_C(
            "\000\000\0006\000\003\000\000user\000app\000database\000shop\000application_name\000"
            "psql\000\000"),
        TALK_S("R\000\000\000\010\000\000\000\000S\000\000\000\026server_"
               "version\00015\000Z\000\000\000\005I"),
        TALK_C("Q\000\000\000\rselect 1\000"),
        TALK_S("T\000\000\000\032\000\001a\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
               "\000\000\000\000\000D\000\000\000\013\000\001\000\000\000\0011C\000\000\000\rSELE"
               "CT 1\000Z\000\000\000\005I"),
        TALK_C("P\000\000\000\"s1\000insert into t "
               "values($1)\000\000\000B\000\000\000\016\000s1\000\000\000\000\000"
               "\000\000E\000\000\000\011\000\000\000\000\000S\000\000\000\004"),
        TALK_S(
            "1\000\000\000\0042\000\000\000\004D\000\000\000\013\000\001\000\000\000\0011C\000\000"
            "\000\017INSERT 0 1\000Z\000\000\000\005I"),
        TALK_C("P\000\000\000\013\000bad\000\000\000E\000\000\000\011\000\000\000\000\000S\000\000"
               "\000\004"),
        TALK_S("E\000\000\000!SERROR\000C42601\000Msyntax error\000\000Z\000\000\000\005I"),
        TALK_C("X\000\000\000\004"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 5432, talk,
              "POSTGRESQL 3.0 request[8]{command='SSLRequest' user='' database='' app"
              "licationName=''} response[1]{status='ok' tag='' columns=0 rows=0}\n"
              "POSTGRESQL 3.0 request[54]{command='Startup' user='app' database='shop"
              "' applicationName='psql'} response[6]{status='ok' tag='' columns=0 row"
              "s=0}\n"
              "POSTGRESQL 3.0 request[14]{query='select 1' command='Query' user='app'"
              " database='shop' applicationName='psql'} response[59]{status='ok' tag="
              "'SELECT 1' columns=1 rows=1}\n"
              "POSTGRESQL 3.0 request[35]{statement='s1' query='insert into t values("
              "$1)' command='Parse' user='app' database='shop' applicationName='psql'"
              "} response[5]{status='ok' tag='' columns=0 rows=0}\n"
              "POSTGRESQL 3.0 request[10]{portal='' query='insert into t values($1)' "
              "command='Execute' user='app' database='shop' applicationName='psql'} r"
              "esponse[33]{status='ok' tag='INSERT 0 1' columns=1 rows=1}\n"
              "POSTGRESQL 3.0 request[12]{statement='' query='bad' command='Parse' us"
              "er='app' database='shop' applicationName='psql'} response[34]{severity"
              "='ERROR' errorCode='42601' errorMessage='syntax error' status='error' "
              "tag='' columns=0 rows=0}\n"
              "POSTGRESQL 3.0 request[10]{portal='' query='insert into t values($1)' "
              "command='Execute' user='app' database='shop' applicationName='psql'} r"
              "esponse[6]{status='error' tag='' columns=0 rows=0}\n"
              "POSTGRESQL 3.0 request[5]{command='Terminate' user='app' database='sho"
              "p' applicationName='psql'}\n");
}

static void tls_entries(void)
{
    static const struct talk talk[] = {
        TALK_C(
            "\026\003\003\0002\001\000\000^"
            "\003\003\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\006\n\n"
            "\023\001\300/\001\000\000\026\003\003\0000/"
            "\000\000\000\020\000\016\000\000\013example.com\000\020\000\016\000\014\002h2\010http/"
            "1.1\000+\000\005\004\003\004\003\003"),
        TALK_S(
            "\026\003\003\000@"
            "\002\000\0001\003\003\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001"
            "\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001\000\300/\000\000"
            "\011\000\020\000\005\000\003\002h2\013\000\000\003\000\000\000\016\000\000\000"),
        TALK_C("\025\003\003\000\002\0020"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 443, talk,
              "TLS 1.2 request[115]{cipherSuites=['TLS_AES_128_GCM_SHA256' 'TLS_ECDHE"
              "_RSA_WITH_AES_128_GCM_SHA256'] sni='example.com' alpn=['h2' 'http/1.1'"
              "] version='TLS 1.3' alert='unknown_ca'} response[69]{alpn='h2' version"
              "='TLS 1.2' cipherSuite='TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'}\n");
}

/* Two suites of TLS, one of SSL 2.0 alone; the answer is in records. */
static void tls_hello_of_old(void)
{
    static const struct talk talk[] = {
        TALK_C("\200\042\1\3\1\0\011\0\0\0\020\0\0\004\007\0\300\0\0\0120123456789abcdef"),
        TALK_S("\025\003\001\000\002\002\050"), TALK_END};

    l7_expect(KFL_L4_TCP, 443, talk,
              "TLS 1.0 request[36]{cipherSuites=['TLS_RSA_WITH_RC4_128_MD5' "
              "'TLS_RSA_WITH_3DES_EDE_CBC_SHA'] version='TLS 1.0'} "
              "response[7]{alert='handshake_failure'}\n");
}

/* What looked like such a hello and is none: the answer that came before it stays. */
static void tls_no_hello_of_old(void)
{
    static const struct talk talk[] = {TALK_S("\026\003\003\000*\002\000\000&\003\003"
                                              "0123456789abcdef0123456789abcdef"
                                              "\000\300/\000"),
                                       TALK_C("\200abcdefghijklmnop"), TALK_END};

    l7_expect(KFL_L4_TCP, 443, talk,
              "TLS 1.2 response[47]{version='TLS 1.2' "
              "cipherSuite='TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'} error=pair-not-found\n");
}

static void tls13_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("\026\003\003\000b\001\000\000^"
               "\003\003\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
               "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\006\n\n"
               "\023\001\300/\001\000\000/"
               "\000\000\000\020\000\016\000\000\013example."
               "com\000\020\000\016\000\014\002h2\010http/1.1\000+"
               "\000\005\004\003\004\003\003"),
        TALK_S("\026\003\003\0002\002\000\000."
               "\003\003\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001"
               "\001\001\001\001\001\001\001\001\001\001\001\001\001\001\000\023\001\000\000"
               "\006\000+\000\002\003\004\024\003\003\000\001\001\027\003\003\000("
               "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
               "xxxxxxxxxx"),
        TALK_C("\024\003\003\000\001\001\027\003\003\000<yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
               "yyyyyyyyyyyyyyyyyyyyyyy"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 8443, talk,
              "TLS 1.3 request[103]{cipherSuites=['TLS_AES_128_GCM_SHA256' 'TLS_ECDHE"
              "_RSA_WITH_AES_128_GCM_SHA256'] sni='example.com' alpn=['h2' 'http/1.1'"
              "] version='TLS 1.3'} response[55]{version='TLS 1.3' cipherSuite='TLS_A"
              "ES_128_GCM_SHA256'}\n");
}

#define TLS_HELLO                                                        \
    TALK_C("\026\003\001\000-\001\000\000)\003\003"                      \
           "0123456789abcdef0123456789abcdef\000\000\002\300/\001\000"), \
        TALK_S("\025\003\003\000\002\002\050"), TALK_END

static void starttls_is_followed(void)
{
    static const struct talk smtp[] = {TALK_S("220-mx ESMTP\r\n220 welcome\r\n"),
                                       TALK_C("EHLO a\r\n"),
                                       TALK_S("250-mx\r\n250 STARTTLS\r\n"),
                                       TALK_C("STARTTLS\r\n"),
                                       TALK_S("220 go\r\n"),
                                       TLS_HELLO};
    static const struct talk imap[] = {TALK_S("* OK ready\r\n"), TALK_C("a1 starttls\r\n"),
                                       TALK_S("* CAPABILITY IMAP4rev1\r\na1 OK now\r\n"),
                                       TLS_HELLO};
    static const struct talk pop3[] = {TALK_S("+OK POP3\r\n"), TALK_C("STLS\r\n"),
                                       TALK_S("+OK Begin\r\n"), TLS_HELLO};
    static const struct talk ftp[] = {TALK_S("220 FTP\r\n"), TALK_C("AUTH TLS\r\n"),
                                      TALK_S("234 Proceed\r\n"), TLS_HELLO};
    static const struct talk xmpp[] = {
        TALK_C("<?xml version='1.0'?><stream:stream to='a'>"),
        TALK_S("<?xml version='1.0'?><stream:stream>\n<stream:features><starttls/>"
               "</stream:features>"),
        TALK_C("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        TALK_S("\n<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), TLS_HELLO};
    static const struct talk *const talks[] = {smtp, imap, pop3, ftp, xmpp};

    for (unsigned i = 0; i < sizeof(talks) / sizeof(*talks); i++)
        l7_expect(KFL_L4_TCP, 1, talks[i],
                  "TLS 1.2 request[50]{cipherSuites=['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'] "
                  "version='TLS 1.2'} response[7]{alert='handshake_failure'}\n");
}

static void without_starttls_nothing_is_made_of_lines(void)
{
    static const struct talk refused[] = {
        TALK_S("220 mx\r\n"),
        TALK_C("STARTTLS\r\n"),
        TALK_S("454 no\r\n"),
        TALK_C("STARTTLS in a text\r\n"),
        TALK_S("250 \r\n220 x\r\n"),
        TALK_C("\026\003\001\000\001\001\n"),
        TALK_END,
    };

    l7_expect(
        KFL_L4_TCP, 25, refused,
        "TCP  request[37]{payloadSize=37 "
        "payload='U1RBUlRUTFMNClNUQVJUVExTIGluIGEgdGV4dA0KFgMBAAEBCg==' "
        "payloadHex='5354415254544c530d0a5354415254544c5320696e206120746578740d0a1603010001010"
        "a'} response[29]{payloadSize=29 payload='MjIwIG14DQo0NTQgbm8NCjI1MCANCjIyMCB4DQo=' "
        "payloadHex='323230206d780d0a343534206e6f0d0a323530200d0a32323020780d0a'}\nnone\n");
}

/* Others whose first bytes come close. */
static void what_only_looks_like_it(void)
{
    static const struct talk memcached[] = {TALK_C("stats\r\n"), TALK_S("STAT pid 1\r\nEND\r\n"),
                                            TALK_END};
    static const struct talk smpp[] = {
        TALK_C("\0\0\0\x28\0\0\0\2\0\0\0\0\0\0\0\1abhik\0password\0SMPP\0\1\0\0\0"),
        TALK_S("\0\0\0\x15\x80\0\0\2\0\0\0\0\0\0\0\1SMSC\0"),
        TALK_C("\0\0\0\x10\0\0\0\x15\0\0\0\0\0\0\0\2"), TALK_END};
    static const struct talk stun[] = {
        TALK_C(
            "\1\1\0\x34\x21\x12\xa4\x42" /* an attribute 0x0020: RADIUS would see 0 of 32 bytes */
            "abcdefghijkl\0\x20\0\x08\0\x01\xcd\xf0\x49\x3c\x8c\x73"
            "\x80\x70\0\4\0\0\0\3\0\x08\0\x14\xa0\xb1\xa7\x08\x92\x02\x0e\x7f"
            "abcdefghijklabcdefgh"),
        TALK_END};

    l7_expect(KFL_L4_TCP, 1, memcached,
              "TCP  request[7]{payloadSize=7 payload='c3RhdHMNCg==' payloadHex='73746"
              "174730d0a'} response[17]{payloadSize=17 payload='U1RBVCBwaWQgMQ0KRU5ED"
              "Qo=' payloadHex='535441542070696420310d0a454e440d0a'}\nshort\n");
    l7_expect(KFL_L4_TCP, 1, smpp,
              "TCP  request[56]{payloadSize=56 payload='AAAAKAAAAAIAAAAAAAAAAWFiaGlrA"
              "HBhc3N3b3JkAFNNUFAAAQAAAAAAABAAAAAVAAAAAAAAAAI=' payloadHex='000000280"
              "00000020000000000000001616268696b0070617373776f726400534d5050000100000"
              "000000010000000150000000000000002'} response[21]{payloadSize=21 payloa"
              "d='AAAAFYAAAAIAAAAAAAAAAVNNU0MA' payloadHex='0000001580000002000000000"
              "0000001534d534300'}\nnone\n");
    l7_expect(KFL_L4_UDP, 1, stun,
              "UDP  request[72]{payloadSize=72 payload='AQEANCESpEJhYmNkZWZnaGlqa2wAI"
              "AAIAAHN8Ek8jHOAcAAEAAAAAwAIABSgsacIkgIOf2FiY2RlZmdoaWprbA==' payloadHe"
              "x='010100342112a4426162636465666768696a6b6c002000080001cdf0493c8c73807"
              "000040000000300080014a0b1a70892020e7f6162636465666768696a6b6c'} respon"
              "se[0]{payloadSize=0 payload='' payloadHex=''}\nnone\n");
}

static void websocket_entries(void)
{
    static const struct talk talk[] = {
        TALK_C("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r"
               "\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nS"
               "ec-WebSocket-Version: 13\r\n\r\n"),
        TALK_S("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso"
               "cket\r\nConnection: Upgrade\r\n\r\n\201\007welcome"),
        TALK_C("\001\203\021\"3DyG_\211\201\021\"3Da\200\202\021\"3D}M"),
        TALK_S("\212\001p\202\002\000\001"),
        TALK_C("\210\205\021\"3D\022\312Q=t"),
        TALK_END,
    };

    l7_expect(KFL_L4_TCP, 80, talk,
              "HTTP 1.1 request[124]{method='GET' url='/chat' targetUri='/chat' path="
              "'/chat' pathSegments=['chat'] httpVersion='HTTP/1.1' headersSize=124 h"
              "eaders={Host='a' Upgrade='websocket' Connection='Upgrade' Sec-Websocke"
              "t-Key='eA==' Sec-Websocket-Version='13'} cookies={} bodySize=0 body=''"
              "} response[77]{status=101 statusText='Switching Protocols' httpVersion"
              "='HTTP/1.1' headersSize=77 redirectURL='' grpcStatus=-1 headers={Upgra"
              "de='websocket' Connection='Upgrade'} cookies={} bodySize=0 body='' con"
              "tent={mimeType='' size=0 text='' encoding='base64'}}\n"
              "WS 13 response[9]{opcode='text' payload='welcome' payloadLength=7 fram"
              "es=1 masked=false compressed=false}\n"
              "WS 13 request[7]{opcode='ping' payload='cA==' payloadLength=1 frames=1"
              " masked=true compressed=false}\n"
              "WS 13 request[17]{opcode='text' payload='hello' payloadLength=5 frames"
              "=2 masked=true compressed=false}\n"
              "WS 13 response[3]{opcode='pong' payload='cA==' payloadLength=1 frames="
              "1 masked=false compressed=false}\n"
              "WS 13 response[4]{opcode='binary' payload='AAE=' payloadLength=2 frame"
              "s=1 masked=false compressed=false}\n"
              "WS 13 request[11]{opcode='close' closeCode=1000 closeReason='bye' payl"
              "oad='A+hieWU=' payloadLength=5 frames=1 masked=true compressed=false}\n");
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"redis: commands, replies, errors, inline commands, pub/sub", redis_entries},
        {"redis: lines of words are inline commands where RESP answers", redis_lines},
        {"radius: attributes, a retransmission, accept and reject", radius_entries},
        {"diameter: AVPs, groups, repeated ones, results", diameter_entries},
        {"ldap: bind, search with its filter, delete, unbind", ldap_entries},
        {"mongodb: OP_MSG, OP_QUERY, OP_INSERT", mongodb_entries},
        {"amqp: methods, contents, closes", amqp_entries},
        {"kafka: flexible and old headers, topics, errors, acks=0", kafka_entries},
        {"mysql: login, result sets, prepared statements, errors", mysql_entries},
        {"postgresql: SSLRequest, queries, extended queries, errors", postgresql_entries},
        {"tls: a ClientHello over two records, an alert in clear", tls_entries},
        {"tls: a ClientHello as of SSL 2.0", tls_hello_of_old},
        {"tls: what is none ends it, and nothing is lost", tls_no_hello_of_old},
        {"tls13: what can be seen of TLS 1.3", tls13_entries},
        {"starttls: TLS after the lines of five protocols", starttls_is_followed},
        {"starttls: refused, in a text", without_starttls_nothing_is_made_of_lines},
        {"what only looks like one of them", what_only_looks_like_it},
        {"websocket: fragments, control frames, masks", websocket_entries},
        {0},
    };
    return tap_main(argc, argv, "proto", tests);
}
