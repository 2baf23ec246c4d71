#include "../dataplane/stream.h"

#include <stdlib.h>
#include <string.h>

#include "../dataplane/decode.h"
#include "frames.h"
#include "tap.h"

#define SECOND UINT64_C(1000000000)

static struct stream_table *table;
static struct counters counters;
static unsigned n_ended[4];
static uint64_t last_ended;

static void on_ended(void *context, struct stream *stream, enum stream_end why)
{
    n_ended[why]++;
    last_ended = stream->number;
}

static void begin(struct stream_config config)
{
    memset(n_ended, 0, sizeof(n_ended));
    memset(&counters, 0, sizeof(counters));
    config.sink.ended = on_ended;
    config.counters = &counters;
    CU_ASSERT_EQUAL_FATAL(stream_table_create(&config, &table), 0);
}

static void finish(void)
{
    stream_table_finish(table, UINT32_MAX);
    CU_ASSERT_EQUAL(stream_table_n(table), 0);
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_streams),
                    counter_get(&counters, COUNTER_streams_ended));
    stream_table_free(table);
}

static struct frame frame;

static struct packet made(const char *words, bool reverse, uint64_t ts_ns)
{
    struct packet packet;

    frame_make(&frame, words, reverse);
    packet = (struct packet){.data = frame_data(&frame),
                             .ts_ns = ts_ns,
                             .caplen = (uint32_t)frame_size(&frame),
                             .origlen = (uint32_t)frame_size(&frame),
                             .linktype = LINKTYPE_ETHERNET};
    decode(&packet, 3);
    return packet;
}

static struct stream *packet(const char *words, bool reverse, uint64_t ts_ns)
{
    struct packet p = made(words, reverse, ts_ns);
    bool new;

    return stream_find_or_add(table, &p, 0, &new);
}

/* A TCP packet with flags and sequence number. */
static struct stream *tcp(bool reverse, unsigned flags, uint32_t seq)
{
    struct packet p = made("eth ip4 tcp", reverse, SECOND);
    bool new;

    frame.space[frame.at + 47] = (uint8_t)flags;
    put32(frame.space + frame.at + 38, seq);
    decode(&p, 3);
    return stream_find_or_add(table, &p, 0, &new);
}

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16, C = 0, S = 1 };

static void states_follow_the_packets(void)
{
    static const struct {
        struct {
            bool server;
            uint8_t flags;
            uint16_t seq;
        } packet[10];
        enum stream_tcp tcp;
        enum kfl_state state;
        unsigned n_streams;
        bool oriented, syn_seen;
        const char *error;
    } rows[] = {
        {{{C, SYN, 9}}, STREAM_TCP_SYN_SENT, KFL_STATE_HALF_OPEN, 1, 1, 1, "SynSent"},
        {{{C, SYN, 9}, {S, SYN | ACK, 5}},
         STREAM_TCP_SYN_RECEIVED,
         KFL_STATE_HALF_OPEN,
         1,
         1,
         1,
         "SynSent"},
        {{{C, SYN, 9}, {S, SYN | ACK, 5}, {C, ACK, 10}},
         STREAM_TCP_ESTABLISHED,
         KFL_STATE_OPEN,
         1,
         1,
         1,
         NULL},
        {{{C, SYN, 9}, {S, SYN | ACK, 5}, {C, ACK, 10}, {C, FIN | ACK, 10}},
         STREAM_TCP_FIN_CLIENT,
         KFL_STATE_CLOSING,
         1,
         1,
         1,
         "CloseWait"},
        {{{C, SYN, 9}, {S, SYN | ACK, 5}, {C, ACK, 10}, {S, FIN | ACK, 6}, {C, FIN | ACK, 10}},
         STREAM_TCP_LAST_ACK,
         KFL_STATE_CLOSED,
         1,
         1,
         1,
         "LastAck"},
        {{{C, SYN, 9},
          {S, SYN | ACK, 5},
          {C, ACK, 10},
          {S, FIN | ACK, 6},
          {C, FIN | ACK, 10},
          {S, ACK, 7}},
         STREAM_TCP_CLOSED,
         KFL_STATE_CLOSED,
         1,
         1,
         1,
         NULL},
        {{{C, SYN, 9},
          {S, SYN | ACK, 5},
          {C, ACK, 10},
          {S, FIN | ACK, 6},
          {C, FIN | ACK, 10},
          {C, ACK, 7}},
         STREAM_TCP_LAST_ACK,
         KFL_STATE_CLOSED,
         1,
         1,
         1,
         "LastAck"},
        {{{C, SYN, 9}, {S, RST | ACK, 0}}, STREAM_TCP_RESET, KFL_STATE_RESET, 1, 1, 1, "Reset"},
        {{{C, ACK, 9}, {S, ACK, 5}}, STREAM_TCP_ESTABLISHED, KFL_STATE_OPEN, 1, 0, 0, NULL},
        {{{S, SYN | ACK, 5}}, STREAM_TCP_SYN_RECEIVED, KFL_STATE_HALF_OPEN, 1, 1, 0, "SynSent"},
        {{{S, SYN | ACK, 5}, {C, SYN, 9}, {C, ACK, 10}},
         STREAM_TCP_ESTABLISHED,
         KFL_STATE_OPEN,
         1,
         1,
         1,
         NULL},
        /* the same SYN again, another, one after the end */
        {{{C, SYN, 9}, {C, SYN, 9}}, STREAM_TCP_SYN_SENT, KFL_STATE_HALF_OPEN, 1, 1, 1, "SynSent"},
        {{{C, SYN, 9}, {C, SYN, 8}}, STREAM_TCP_SYN_SENT, KFL_STATE_HALF_OPEN, 2, 1, 1, "SynSent"},
        {{{C, SYN, 9}, {S, RST | ACK, 0}, {C, SYN, 8}},
         STREAM_TCP_SYN_SENT,
         KFL_STATE_HALF_OPEN,
         2,
         1,
         1,
         "SynSent"},
        {{{C, ACK, 100}, {C, SYN, 8}},
         STREAM_TCP_SYN_SENT,
         KFL_STATE_HALF_OPEN,
         2,
         1,
         1,
         "SynSent"},
        {{{C, ACK, 100}, {C, SYN, 99}}, STREAM_TCP_ESTABLISHED, KFL_STATE_OPEN, 1, 1, 1, NULL},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct stream *stream = NULL;
        struct kfl_stream view;
        const char *error;
        unsigned n = 0;

        begin((struct stream_config){.max = 8});
        for (; rows[i].packet[n].flags; n++)
            stream = tcp(rows[i].packet[n].server, rows[i].packet[n].flags, rows[i].packet[n].seq);
        CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
        stream_view(table, stream, true, &view);
        error = stream_connection_error(stream);
        if (stream->tcp != rows[i].tcp)
            tap_note("row %u: state %d", i, stream->tcp);
        CU_ASSERT_EQUAL(stream->tcp, rows[i].tcp);
        CU_ASSERT_EQUAL(view.state, rows[i].state);
        CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_streams), rows[i].n_streams);
        CU_ASSERT_EQUAL(view.oriented, rows[i].oriented);
        CU_ASSERT_EQUAL(view.syn_seen, rows[i].syn_seen);
        CU_ASSERT_EQUAL(view.end[KFL_SERVER].port, 80);
        CU_ASSERT_EQUAL(view.packets[0] + view.packets[1], rows[i].n_streams > 1 ? 1 : n);
        CU_ASSERT(error == rows[i].error ||
                  (error && rows[i].error && !strcmp(error, rows[i].error)));
        finish();
    }
}

static void who_the_client_is(void)
{
    static const struct {
        const char *words;
        bool reverse; /* the first packet comes from 10.0.0.2 */
        bool client_is_2;
        bool oriented;
    } rows[] = {
        {"eth ip4 udp:53 data:9", false, false, false}, /* the port is well-known */
        {"eth ip4 udp:53 data:9", true, false, false},
        {"eth ip4 udp:40000 data:9", false, true, false}, /* 1234 looks more like a server's */
        {"eth ip4 udp:1235 data:9", false, false, false}, /* the first packet is the client's */
        {"eth ip4 udp:1235 data:9", true, true, false},
        {"eth ip4 icmp data:9", false, false, true},
        {"eth ip4 icmp data:9", true, true, true},
        {"eth ip4 ext:89 data:9", true, true, true},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct stream *stream;
        struct kfl_stream view;

        begin((struct stream_config){.max = 8});
        stream = packet(rows[i].words, rows[i].reverse, SECOND);
        stream_view(table, stream, false, &view);
        CU_ASSERT_EQUAL(view.end[KFL_CLIENT].addr[15] == 2, rows[i].client_is_2);
        CU_ASSERT_EQUAL(view.oriented, rows[i].oriented);
        CU_ASSERT_EQUAL(view.packets[rows[i].reverse != rows[i].client_is_2], 1);
        finish();
    }
}

static bool lookup(void *context, const uint8_t addr[16], uint64_t ts_ns, const char **ret_name,
                   const char **ret_namespace)
{
    if (addr[15] != 2)
        return false;
    *ret_name = "web";
    *ret_namespace = "shop";
    return true;
}

static void the_view_has_what_the_first_packet_said(void)
{
    struct stream_config config = {
        .max = 8, .names.lookup = lookup, .number_first = 5, .number_step = 4};
    struct kfl_stream view, other;
    struct stream *stream;
    struct packet p;

    begin(config);
    p = made("eth vlan:7 ip4 udp:4789 vxlan:42 eth ip4 udp:53 data:9", true, SECOND);
    memcpy(frame.space + frame.at, "\1\2\3\4\5\6\7\x8\x9\xa\xb\xc", 12);
    stream = stream_find_or_add(table, &p, 0, &(bool){0});
    packet("eth ip4 udp:53 data:9", false, 2 * SECOND);
    stream_view(table, stream, false, &view);
    CU_ASSERT_EQUAL(view.number, 5);
    CU_ASSERT_EQUAL(view.first_ns, SECOND);
    CU_ASSERT_EQUAL(view.last_ns, 2 * SECOND);
    CU_ASSERT_STRING_EQUAL(view.end[KFL_SERVER].name, "web");
    CU_ASSERT_STRING_EQUAL(view.end[KFL_SERVER].namespace, "shop");
    CU_ASSERT_STRING_EQUAL(view.end[KFL_CLIENT].name, "");
    CU_ASSERT(view.has_mac && !memcmp(view.end[KFL_CLIENT].mac, "\1\2\3\4\5\6", 6));
    CU_ASSERT(!memcmp(view.end[KFL_SERVER].mac, "\7\x8\x9\xa\xb\xc", 6));
    CU_ASSERT_EQUAL(view.vlan[0], 7);
    CU_ASSERT_EQUAL(view.tunnel, KFL_TUNNEL_VXLAN);
    CU_ASSERT_EQUAL(view.tunnel_id, 42);
    CU_ASSERT_EQUAL(view.packets[KFL_SERVER], 1);
    CU_ASSERT_EQUAL(view.packets[KFL_CLIENT], 1);
    CU_ASSERT_EQUAL(view.ip_protocol, 17);
    CU_ASSERT(view.has_ports && view.syn_seen && !view.ended);
    stream = packet("eth ip6 udp:53 data:9", false, SECOND);
    stream_view(table, stream, false, &other);
    CU_ASSERT_EQUAL(other.number, 9);
    CU_ASSERT_EQUAL(other.vlan[0], 0);
    CU_ASSERT_EQUAL(view.vlan[0], 7);
    finish();
}

static void idle_streams_end_and_busy_ones_do_not(void)
{
    struct stream_config config = {.max = 8,
                                   .timeout_ns_udp = 10 * SECOND,
                                   .timeout_ns_tcp = 1000 * SECOND,
                                   .timeout_ns_tcp_open = 5 * SECOND,
                                   .timeout_ns_tcp_closed = 2 * SECOND};

    begin(config);
    packet("eth ip4 udp:53", false, SECOND); /* 0 */
    packet("eth ip4 udp:54", false, SECOND); /* 1 */
    packet("eth ip4 icmp", false, SECOND);   /* never */
    stream_table_tick(table, 10 * SECOND);
    CU_ASSERT_EQUAL(stream_table_n(table), 3);
    packet("eth ip4 udp:54", false, 10 * SECOND);
    stream_table_tick(table, 12 * SECOND);
    CU_ASSERT_EQUAL(stream_table_n(table), 2);
    CU_ASSERT_EQUAL(last_ended, 0);
    stream_table_tick(table, 5000 * SECOND);
    CU_ASSERT_EQUAL(stream_table_n(table), 1);
    CU_ASSERT_EQUAL(n_ended[STREAM_END_IDLE], 2);
    finish();
    CU_ASSERT_EQUAL(n_ended[STREAM_END_STOP], 1);

    begin(config);
    tcp(C, SYN, 9); /* all at 1 s */
    stream_table_tick(table, 5 * SECOND);
    CU_ASSERT_EQUAL(stream_table_n(table), 1);
    stream_table_tick(table, 7 * SECOND);
    CU_ASSERT_EQUAL(n_ended[STREAM_END_IDLE], 1);
    tcp(C, ACK, 9);
    stream_table_tick(table, 900 * SECOND);
    CU_ASSERT_EQUAL(stream_table_n(table), 1);
    while (stream_table_tick(table, 1002 * SECOND))
        ;
    CU_ASSERT_EQUAL(n_ended[STREAM_END_IDLE], 2);
    finish();

    begin(config);
    tcp(C, ACK, 9);
    tcp(S, RST, 9); /* due earlier from now on */
    stream_table_tick(table, 2 * SECOND);
    CU_ASSERT_EQUAL(stream_table_n(table), 1);
    stream_table_tick(table, 4 * SECOND);
    CU_ASSERT_EQUAL(n_ended[STREAM_END_RESET], 1);
    finish();
}

static void a_full_table_takes_no_more_unless_one_is_closed(void)
{
    char words[64];

    begin((struct stream_config){.max = 4});
    tcp(C, SYN, 1);
    for (int i = 0; i < 3; i++) {
        snprintf(words, sizeof(words), "eth ip4 udp:%d", 100 + i);
        CU_ASSERT_PTR_NOT_NULL(packet(words, false, SECOND));
    }
    CU_ASSERT_PTR_NULL(packet("eth ip4 udp:200", false, SECOND));
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_streams_full), 1);
    CU_ASSERT_PTR_NOT_NULL(packet("eth ip4 udp:100", false, SECOND));
    tcp(S, RST, 1);
    CU_ASSERT_PTR_NOT_NULL(packet("eth ip4 udp:200", false, SECOND));
    CU_ASSERT_EQUAL(n_ended[STREAM_END_RESET], 1);
    CU_ASSERT_PTR_NULL(packet("eth ip4 udp:201", false, SECOND));
    finish();
}

static void vlan_and_tunnel_make_streams_only_when_asked_to(void)
{
    for (int asked = 0; asked < 2; asked++) {
        begin((struct stream_config){
            .max = 8, .distinguish_vlan = asked, .distinguish_tunnel = asked});
        packet("eth vlan:1 ip4 udp:53", false, SECOND);
        packet("eth vlan:2 ip4 udp:53", true, SECOND);
        packet("eth vlan:1 ip4 udp:53", true, SECOND);
        packet("eth ip4 udp:4789 vxlan:3 eth vlan:1 ip4 udp:53", true, SECOND);
        CU_ASSERT_EQUAL(stream_table_n(table), asked ? 3 : 1);
        finish();
    }
}

/* The naive one: an array that is searched from its start. */
static void random_packets_agree_with_a_naive_map(void)
{
    enum { PORTS = 3000, PACKETS = 60000 };
    static struct {
        uint64_t number;
        uint32_t packets;
        bool open;
    } naive[PORTS];
    unsigned seed = 11, n_open = 0;
    uint64_t next = 0;

    srand(seed);
    memset(naive, 0, sizeof(naive));
    for (int grow = 0; grow < 2; grow++) {
        begin((struct stream_config){.max = 2500, .grow = grow, .timeout_ns_udp = 20 * SECOND});
        memset(naive, 0, sizeof(naive));
        n_open = 0;
        next = 0;
        for (unsigned i = 0; i < PACKETS; i++) {
            unsigned port = (unsigned)rand() % PORTS;
            struct packet p = made("eth ip4 udp:53", rand() & 1, SECOND + i * (SECOND / 1000));
            struct stream *stream;
            uint32_t hint;
            bool new;

            p.key.port[1] = (uint16_t)port;
            p.hash = port * 2654435761u % 512; /* many meet */
            hint = rand() % 3 ? stream_prefetch(table, &p, STREAM_EXTRA) : (unsigned)rand() % 2501;
            stream = stream_find_or_add(table, &p, hint, &new);
            CU_ASSERT_EQUAL(stream == NULL, !naive[port].open && n_open == 2500);
            if (!stream)
                continue;
            CU_ASSERT_EQUAL(new, !naive[port].open);
            if (!naive[port].open) {
                naive[port].open = true;
                naive[port].number = next++;
                naive[port].packets = 0;
                n_open++;
            }
            naive[port].packets++;
            CU_ASSERT_EQUAL(stream->number, naive[port].number);
            CU_ASSERT_EQUAL(stream->packets[0] + stream->packets[1], naive[port].packets);
            if (rand() % 64 == 0) { /* some become idle: all of a few ports */
                struct stream *s;
                uint32_t place = 0;
                uint64_t old = p.ts_ns;

                while ((s = stream_table_walk(table, &place)))
                    if (s->id.port[1] % 37 == i % 37)
                        s->last_ns = 0;
                stream_table_tick(table, old + 21 * SECOND / 10000);
                for (unsigned k = 0; k < PORTS; k++) {
                    struct packet q = p;

                    q.key.port[1] = (uint16_t)k;
                    q.hash = k * 2654435761u % 512;
                    s = stream_find(table, &q);
                    if (naive[k].open && !s) {
                        naive[k].open = false;
                        n_open--;
                    }
                    CU_ASSERT_EQUAL(naive[k].open, s != NULL);
                }
            }
        }
        CU_ASSERT_EQUAL(stream_table_n(table), n_open);
        finish();
    }
    tap_note("seed %u", seed);
}

static void the_index_grows(void)
{
    enum { STREAMS = 70000 };
    struct packet p = made("eth ip4 udp:53", false, SECOND);
    bool new;

    begin((struct stream_config){.max = 100000, .grow = true});
    for (int again = 0; again < 2; again++)
        for (uint32_t i = 0; i < STREAMS; i++) {
            struct stream *stream;

            memcpy(p.key.addr[0] + 12, &i, 4);
            p.hash = i * 2654435761u;
            stream = stream_find_or_add(table, &p, 0, &new);
            CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
            CU_ASSERT(new == !again && stream->number == i);
        }
    finish();
}

/* Two pairs of addresses that are the same for what a stream's first line knows of them. */
static void addresses_of_ipv6_are_compared_whole(void)
{
    static const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);
    struct packet a = made("eth ip6 udp:53", false, SECOND), b = a;
    uint64_t words[4], fold = 0, other = 0;
    struct stream *streams[2], spare;
    struct kfl_stream view;
    struct stream_key key;
    bool new;

    memcpy(words, a.key.addr, sizeof(words));
    words[2] ^= 0x100;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t word;

        memcpy(&word, (const uint8_t *)a.key.addr + i * 8, 8);
        fold = (fold ^ word) * factor;
        other = (other ^ words[i]) * factor;
    }
    words[3] ^= fold ^ other;
    memcpy(b.key.addr, words, sizeof(words));
    begin((struct stream_config){.max = 8});
    streams[0] = stream_find_or_add(table, &a, 0, &new);
    streams[1] = stream_find_or_add(table, &b, 0, &new);
    CU_ASSERT_FATAL(new &&streams[0] != streams[1]);
    CU_ASSERT_EQUAL(streams[0]->id.ip6, streams[1]->id.ip6);
    CU_ASSERT_PTR_EQUAL(stream_find(table, &a), streams[0]);
    CU_ASSERT_PTR_EQUAL(stream_find(table, &b), streams[1]);
    stream_view_packet(table, &b, &spare, &view);
    for (unsigned i = 0; i < 2; i++) {
        const struct packet *packet = i ? &b : &a;

        stream_key_get(table, streams[i], &key);
        CU_ASSERT(!memcmp(&key, &packet->key, sizeof(key)));
    }
    stream_key_get(table, &spare, &key);
    CU_ASSERT(!memcmp(&key, &b.key, sizeof(key)));
    finish();
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"states follow the packets", states_follow_the_packets},
        {"who the client is", who_the_client_is},
        {"the view has what the first packet said", the_view_has_what_the_first_packet_said},
        {"idle streams end and busy ones do not", idle_streams_end_and_busy_ones_do_not},
        {"a full table takes no more, unless one is closed",
         a_full_table_takes_no_more_unless_one_is_closed},
        {"VLAN and tunnel make streams only when asked to",
         vlan_and_tunnel_make_streams_only_when_asked_to},
        {"random packets agree with a naive map", random_packets_agree_with_a_naive_map},
        {"the index grows", the_index_grows},
        {"addresses of IPv6 are compared whole", addresses_of_ipv6_are_compared_whole},
        {0},
    };
    return tap_main(argc, argv, "stream", tests);
}
