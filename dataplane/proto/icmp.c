/* icmp.c - ICMP (RFC 792) and ICMPv6 (RFC 4443, 4861, 2710, 3810).
 *
 * An echo and its reply are paired by identifier and sequence number. Every other message is an
 * entry of its own; an error says what it quotes. */
#include <arpa/inet.h>
#include <stdio.h>

#include "../cursor.h"
#include "../l7.h"

enum {
    ECHO_REPLY_4 = 0,
    ECHO_4 = 8,
    ECHO_6 = 128,
    ECHO_REPLY_6 = 129,
    EXTENSIONS_MAX = 8, /* IPv6 extension headers in a quoted packet */
    IP_TCP = 6,
    IP_UDP = 17,
    IP_ICMP = 1,
    IP_ICMP6 = 58,
    IP_SCTP = 132,
};

static enum l7_probe icmp_probe(const struct l7_probe_input *input, bool *ret_swap);
static void icmp_datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);

static void echo(struct l7 *l7, enum kfl_side side, const uint8_t *from, int version,
                 const uint8_t *data, size_t size);
static void request_facts(struct fact_tape *tape, const uint8_t *from, int version,
                          const uint8_t *data, size_t size);
static void quoted_facts(struct fact_tape *tape, const uint8_t *data, size_t size);
static void quoted_end(struct fact_tape *tape, bool source, const uint8_t *address, int family,
                       const uint8_t *port);
static const char *type_name(int version, uint8_t type, char text[static 16]);
static bool is_error(int version, uint8_t type);

const struct dissector dissector_icmp = {
    .proto = KFL_PROTO_ICMP,
    .name = "icmp",
    .protos = KFL_PROTO_BIT(ICMP),
    .probe = icmp_probe,
    .datagram = icmp_datagram,
};

static enum l7_probe icmp_probe(const struct l7_probe_input *input, bool *ret_swap)
{
    for (int i = 0; i < 2; i++)
        if (input->size[i]) {
            uint8_t type = input->data[i][0];

            *ret_swap = (type == ECHO_REPLY_4 || type == ECHO_REPLY_6) == (i == KFL_CLIENT);
            return L7_PROBE_YES;
        }
    return L7_PROBE_NO;
}

static void icmp_datagram(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    static const uint8_t mapped[12] = "\0\0\0\0\0\0\0\0\0\0\xff\xff";
    uint8_t from[16];
    struct l7_half *half;
    int version;

    if (size < 4)
        return;
    l7_address(l7, side, from);
    version = memcmp(from, mapped, sizeof(mapped)) ? 6 : 4;
    if (size >= 8 && (version == 4 ? data[0] == ECHO_4 || data[0] == ECHO_REPLY_4
                                   : data[0] == ECHO_6 || data[0] == ECHO_REPLY_6)) {
        echo(l7, side, from, version, data, size);
        return;
    }
    half = l7_half_new(l7, KFL_CLIENT, L7_IN_ORDER);
    request_facts(l7_tape(l7), from, version, data, size);
    l7_half_add(l7, half);
    l7_half_version(half, version == 4 ? "4" : "6");
    l7_half_wire(half, size);
    l7_single(l7, half);
}

static void echo(struct l7 *l7, enum kfl_side side, const uint8_t *from, int version,
                 const uint8_t *data, size_t size)
{
    bool reply = data[0] == ECHO_REPLY_4 || data[0] == ECHO_REPLY_6;
    uint16_t identifier = (uint16_t)(data[4] << 8 | data[5]);
    uint16_t sequence = (uint16_t)(data[6] << 8 | data[7]);
    struct l7_half *half = l7_half_new(l7, reply ? KFL_SERVER : KFL_CLIENT,
                                       1 + ((uint64_t)identifier << 16 | sequence));
    struct fact_tape *tape = l7_tape(l7);

    if (reply) {
        fact_int(tape, KFL_FIELD_ICMP_RESPONSE_TYPE, data[0]);
        fact_int(tape, KFL_FIELD_ICMP_RESPONSE_CODE, data[1]);
        fact_int(tape, KFL_FIELD_ICMP_RESPONSE_IDENTIFIER, identifier);
        fact_int(tape, KFL_FIELD_ICMP_RESPONSE_SEQUENCE, sequence);
        fact_int(tape, KFL_FIELD_ICMP_RESPONSE_LENGTH, (int64_t)size);
    } else {
        request_facts(tape, from, version, data, size);
        fact_int(tape, KFL_FIELD_ICMP_REQUEST_IDENTIFIER, identifier);
        fact_int(tape, KFL_FIELD_ICMP_REQUEST_SEQUENCE, sequence);
    }
    l7_half_add(l7, half);
    l7_half_version(half, version == 4 ? "4" : "6");
    l7_half_wire(half, size);
    if (reply)
        l7_response(l7, half);
    else
        l7_request(l7, half);
}

static void request_facts(struct fact_tape *tape, const uint8_t *from, int version,
                          const uint8_t *data, size_t size)
{
    char text[INET6_ADDRSTRLEN];

    fact_int(tape, KFL_FIELD_ICMP_REQUEST_VERSION, version);
    fact_int(tape, KFL_FIELD_ICMP_REQUEST_TYPE, data[0]);
    fact_int(tape, KFL_FIELD_ICMP_REQUEST_CODE, data[1]);
    fact_text(tape, KFL_FIELD_ICMP_REQUEST_TYPE_NAME, type_name(version, data[0], text));
    fact_int(tape, KFL_FIELD_ICMP_REQUEST_LENGTH, (int64_t)size);
    if (fact_wanted(tape, KFL_FIELD_ICMP_REQUEST_FROM)) {
        inet_ntop(version == 4 ? AF_INET : AF_INET6, version == 4 ? from + 12 : from, text,
                  sizeof(text));
        fact_text(tape, KFL_FIELD_ICMP_REQUEST_FROM, text);
    }
    if (is_error(version, data[0]) && size > 8 && fact_wanted(tape, KFL_FIELD_ICMP_REQUEST_QUOTED))
        quoted_facts(tape, data + 8, size - 8);
}

/* The beginning of the packet that the error is about: its addresses, and its ports if they are
 * there. */
static void quoted_facts(struct fact_tape *tape, const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    bool ip4 = data[0] >> 4 == 4, first = true;
    const uint8_t *header = cursor_bytes(&c, ip4 ? 20 : 40), *ports = NULL;
    unsigned protocol;
    char number[8];

    if (!header || (!ip4 && data[0] >> 4 != 6))
        return;
    protocol = header[ip4 ? 9 : 6];
    if (ip4) {
        cursor_bytes(&c, (header[0] & 15) > 5 ? (size_t)(header[0] & 15) * 4 - 20 : 0);
        first = !((header[6] << 8 | header[7]) & 0x1fff);
    }
    for (unsigned i = 0; !ip4 && i < EXTENSIONS_MAX; i++) {
        uint8_t next, length;

        if (protocol != 0 && protocol != 43 && protocol != 44 && protocol != 60)
            break;
        next = cursor_u8(&c);
        length = cursor_u8(&c);
        if (protocol == 44)
            first &= !(cursor_u16(&c) & 0xfff8);
        cursor_bytes(&c, protocol == 44 ? 4 : length * 8u + 6);
        protocol = next;
    }
    if (first && (protocol == IP_TCP || protocol == IP_UDP || protocol == IP_SCTP))
        ports = cursor_bytes(&c, 4);
    snprintf(number, sizeof(number), "%u", protocol);
    fact_object(tape, KFL_FIELD_ICMP_REQUEST_QUOTED);
    fact_text(tape, KFL_FIELD_ICMP_REQUEST_QUOTED_LAYER4,
              protocol == IP_TCP                            ? "tcp"
              : protocol == IP_UDP                          ? "udp"
              : protocol == IP_SCTP                         ? "sctp"
              : protocol == IP_ICMP || protocol == IP_ICMP6 ? "icmp"
                                                            : number);
    quoted_end(tape, true, header + (ip4 ? 12 : 8), ip4 ? AF_INET : AF_INET6, ports);
    quoted_end(tape, false, header + (ip4 ? 16 : 24), ip4 ? AF_INET : AF_INET6,
               ports ? ports + 2 : NULL);
    fact_end(tape);
}

static void quoted_end(struct fact_tape *tape, bool source, const uint8_t *address, int family,
                       const uint8_t *port)
{
    char text[INET6_ADDRSTRLEN] = "";

    inet_ntop(family, address, text, sizeof(text));
    fact_object(tape,
                source ? KFL_FIELD_ICMP_REQUEST_QUOTED_SRC : KFL_FIELD_ICMP_REQUEST_QUOTED_DST);
    fact_text(tape,
              source ? KFL_FIELD_ICMP_REQUEST_QUOTED_SRC_IP : KFL_FIELD_ICMP_REQUEST_QUOTED_DST_IP,
              text);
    text[0] = 0;
    if (port)
        snprintf(text, sizeof(text), "%u", port[0] << 8 | port[1]);
    fact_text(tape,
              source ? KFL_FIELD_ICMP_REQUEST_QUOTED_SRC_PORT
                     : KFL_FIELD_ICMP_REQUEST_QUOTED_DST_PORT,
              text);
    fact_end(tape);
}

static const char *type_name(int version, uint8_t type, char text[static 16])
{
    static const char *const names4[256] = {
        [0] = "Echo Reply",
        [3] = "Destination Unreachable",
        [4] = "Source Quench",
        [5] = "Redirect",
        [6] = "Alternate Host Address",
        [8] = "Echo Request",
        [9] = "Router Advertisement",
        [10] = "Router Solicitation",
        [11] = "Time Exceeded",
        [12] = "Parameter Problem",
        [13] = "Timestamp",
        [14] = "Timestamp Reply",
        [15] = "Information Request",
        [16] = "Information Reply",
        [17] = "Address Mask Request",
        [18] = "Address Mask Reply",
        [30] = "Traceroute",
        [40] = "Photuris",
        [42] = "Extended Echo Request",
        [43] = "Extended Echo Reply",
    };
    static const char *const names6[256] = {
        [1] = "Destination Unreachable",
        [2] = "Packet Too Big",
        [3] = "Time Exceeded",
        [4] = "Parameter Problem",
        [128] = "Echo Request",
        [129] = "Echo Reply",
        [130] = "Multicast Listener Query",
        [131] = "Multicast Listener Report",
        [132] = "Multicast Listener Done",
        [133] = "Router Solicitation",
        [134] = "Router Advertisement",
        [135] = "Neighbor Solicitation",
        [136] = "Neighbor Advertisement",
        [137] = "Redirect Message",
        [138] = "Router Renumbering",
        [139] = "ICMP Node Information Query",
        [140] = "ICMP Node Information Response",
        [141] = "Inverse Neighbor Discovery Solicitation Message",
        [142] = "Inverse Neighbor Discovery Advertisement Message",
        [143] = "Version 2 Multicast Listener Report",
        [148] = "Certification Path Solicitation Message",
        [149] = "Certification Path Advertisement Message",
        [151] = "Multicast Router Advertisement",
        [152] = "Multicast Router Solicitation",
        [153] = "Multicast Router Termination",
        [160] = "Extended Echo Request",
        [161] = "Extended Echo Reply",
    };
    const char *name = version == 4 ? names4[type] : names6[type];

    if (name)
        return name;
    snprintf(text, 16, "Type %u", type);
    return text;
}

static bool is_error(int version, uint8_t type)
{
    return version == 4 ? (type >= 3 && type <= 5) || type == 11 || type == 12
                        : type >= 1 && type <= 4;
}
