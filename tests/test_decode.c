#include "../dataplane/decode.h"

#include <sys/mman.h>
#include <unistd.h>

#include "../kfl-jit/entry.h"

#include "frames.h"
#include "tap.h"

enum { SEED = 77 };

static const struct {
    const char *frame;
    enum linktype linktype;
    enum kfl_tunnel tunnel;
    uint32_t tunnel_id;
    uint16_t vlan[2];
} wrappings[] = {
    {"eth ip4 tcp data:10", LINKTYPE_ETHERNET},
    {"eth ip4:8 tcp data:10", LINKTYPE_ETHERNET},
    {"ip4 tcp data:10", LINKTYPE_RAW},
    {"ip4 tcp data:10", LINKTYPE_IPV4},
    {"eth vlan:100 ip4 tcp data:10", LINKTYPE_ETHERNET, .vlan = {100}},
    {"eth qinq:7 vlan:100 ip4 tcp data:10", LINKTYPE_ETHERNET, .vlan = {7, 100}},
    {"eth qinq:7 vlan:100 vlan:1 vlan:2 ip4 tcp data:10", LINKTYPE_ETHERNET, .vlan = {7, 100}},
    {"eth snap ip4 tcp data:10", LINKTYPE_ETHERNET},
    {"sll ip4 tcp data:10", LINKTYPE_LINUX_SLL},
    {"sll vlan:5 ip4 tcp data:10", LINKTYPE_LINUX_SLL, .vlan = {5}},
    {"sll2 ip4 tcp data:10", LINKTYPE_LINUX_SLL2},
    {"null ip4 tcp data:10", LINKTYPE_NULL},
    {"loop ip4 tcp data:10", LINKTYPE_LOOP},
    {"ppp ip4 tcp data:10", LINKTYPE_PPP},
    {"chdlc ip4 tcp data:10", LINKTYPE_PPP},
    {"chdlc ip4 tcp data:10", LINKTYPE_C_HDLC},
    {"wifi snap ip4 tcp data:10", LINKTYPE_IEEE802_11},
    {"radiotap wifi snap ip4 tcp data:10", LINKTYPE_IEEE802_11_RADIOTAP},
    {"nflog ip4 tcp data:10", LINKTYPE_NFLOG},
    {"eth mpls:30 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_MPLS, 30},
    {"eth mpls:30 mpls:31 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_MPLS, 31},
    {"eth mpls:30 control eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_MPLS, 30},
    {"eth pppoe:9 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_PPPOE, 9},
    {"eth ip4 gre ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_GRE, 0},
    {"eth ip4 gre:8 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_GRE, 8},
    {"eth ip4 gre eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_GRE, 0},
    {"eth ip4 grekey:300 eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_NVGRE, 300},
    {"eth ip4 erspan1 eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_ERSPAN, 0},
    {"eth ip4 erspan2:77 eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_ERSPAN, 77},
    {"eth ip4 erspan3:78 eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_ERSPAN, 78},
    {"eth ip4 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_IPIP, 0},
    {"eth ip6 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_IPIP, 0},
    {"eth ip4 udp:4789 vxlan:42 eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_VXLAN, 42},
    {"eth ip4 udp:8472 vxlan:42 eth vlan:3 ip4 tcp data:10",
     LINKTYPE_ETHERNET,
     KFL_TUNNEL_VXLAN,
     42,
     {3}},
    {"eth ip6 udp:6081 geneve:43 eth ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_GENEVE, 43},
    {"eth ip4 udp:2152 gtp:99 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_GTPU, 99},
    {"eth ip4 udp:4754 gre:5 ip4 tcp data:10", LINKTYPE_ETHERNET, KFL_TUNNEL_GRE, 5},
    {"eth vlan:1 mpls:2 ip4 gre ip4 udp:4789 vxlan:3 eth ip6 ip4 tcp data:10",
     LINKTYPE_ETHERNET,
     KFL_TUNNEL_IPIP,
     0,
     {1}},
};
enum { N_WRAPPINGS = sizeof(wrappings) / sizeof(wrappings[0]) };

static struct packet decoded(const struct frame *f, enum linktype linktype)
{
    struct packet packet = {.data = frame_data(f),
                            .caplen = (uint32_t)frame_size(f),
                            .origlen = (uint32_t)frame_size(f),
                            .linktype = (uint16_t)linktype};

    decode(&packet, SEED);
    return packet;
}

static void the_innermost_stream_counts_however_it_is_wrapped(void)
{
    struct frame plain, f;
    struct packet expected;

    frame_make(&plain, "eth ip4 tcp data:10", false);
    expected = decoded(&plain, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(expected.key.port[0], 1234);
    CU_ASSERT_EQUAL(expected.key.port[1], 80);
    CU_ASSERT(!memcmp(expected.key.addr[0], "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16));
    for (unsigned i = 0; i < 2 * N_WRAPPINGS; i++) {
        struct packet p;

        frame_make(&f, wrappings[i / 2].frame, i & 1);
        p = decoded(&f, wrappings[i / 2].linktype);
        if (memcmp(&p.key, &expected.key, sizeof(p.key)) || p.tunnel != wrappings[i / 2].tunnel)
            tap_note("%s", wrappings[i / 2].frame);
        CU_ASSERT(!memcmp(&p.key, &expected.key, sizeof(p.key)));
        CU_ASSERT_EQUAL(p.hash, expected.hash);
        CU_ASSERT_EQUAL(p.sender, i & 1);
        CU_ASSERT_EQUAL(p.flags, 0);
        CU_ASSERT_EQUAL(p.tunnel, wrappings[i / 2].tunnel);
        CU_ASSERT_EQUAL(p.tunnel_id, wrappings[i / 2].tunnel_id);
        CU_ASSERT_EQUAL(p.vlan[0], wrappings[i / 2].vlan[0]);
        CU_ASSERT_EQUAL(p.vlan[1], wrappings[i / 2].vlan[1]);
        CU_ASSERT_EQUAL(p.payload_size, 10);
        CU_ASSERT_EQUAL(p.payload_origsize, 10);
        CU_ASSERT_EQUAL(p.data[p.payload], 'x');
    }
}

static void ipv6_with_every_extension_header(void)
{
    static const char *const frames[] = {
        "eth ip6 tcp data:10",
        "eth ip6 ext:0 ext:60 ext:43 ext:44 ext:51 ext:60 ext:135 ext:139 tcp data:10",
        "eth ip4 ip6 tcp data:10",
        "eth ip4 udp:3544 teredo ip6 tcp data:10",
    };
    static const enum kfl_tunnel tunnels[] = {KFL_TUNNEL_NONE, KFL_TUNNEL_NONE, KFL_TUNNEL_6IN4,
                                              KFL_TUNNEL_TEREDO};
    struct packet first = {0};
    struct frame f;

    for (unsigned i = 0; i < 8; i++) {
        struct packet p;

        frame_make(&f, frames[i / 2], i & 1);
        p = decoded(&f, LINKTYPE_ETHERNET);
        if (i == 0)
            first = p;
        CU_ASSERT(!memcmp(&p.key, &first.key, sizeof(p.key)));
        CU_ASSERT_EQUAL(p.hash, first.hash);
        CU_ASSERT_EQUAL(p.sender, i & 1);
        CU_ASSERT_EQUAL(p.tunnel, tunnels[i / 2]);
        CU_ASSERT_EQUAL(p.ip_version, 6);
        CU_ASSERT_EQUAL(p.payload_size, 10);
        CU_ASSERT_EQUAL(p.flags, 0);
    }
}

static void other_protocols_have_a_stream_too(void)
{
    static const struct {
        const char *frame;
        uint8_t protocol;
        uint16_t port;
        uint32_t payload_size;
    } rows[] = {
        {"eth ip4 udp:53 data:10", 17, 53, 10},
        {"eth ip4 sctp:9 data:16", 132, 9, 16},
        {"eth ip4 icmp data:10", 1, 0, 18},
        {"eth ip6 icmp:1 data:10", 58, 0, 18},
        {"eth ip4 data:10", 0, 0, 10},
        {"eth ip4 ext:89 data:10", 89, 0, 26},
        {"eth ip4 ext:51 udp:53 data:10", 17, 53, 10},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct frame f;
        struct packet p;

        frame_make(&f, rows[i].frame, false);
        p = decoded(&f, LINKTYPE_ETHERNET);
        CU_ASSERT_EQUAL(p.flags, 0);
        CU_ASSERT_EQUAL(p.ip_protocol, rows[i].protocol);
        CU_ASSERT_EQUAL(p.key.ip_protocol, rows[i].protocol);
        CU_ASSERT_EQUAL(p.key.port[p.sender ^ 1], rows[i].port);
        CU_ASSERT_EQUAL(p.payload_size, rows[i].payload_size);
    }
}

static void an_inner_header_that_does_not_parse_leaves_the_outer(void)
{
    static const char *const frames[] = {
        "eth ip4 udp:4789 data:40",        "eth ip4 udp:2152 data:40",
        "eth ip4 udp:6081 data:4",         "eth ip4 udp:3544 data:3",
        "eth ip4 udp:4754 data:40",        "eth ip4 udp:8472 vxlan:1 eth data:9",
        "eth ip4 udp:4789 vxlan:3 data:1",
    };

    for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct frame f;
        struct packet p;

        frame_make(&f, frames[i], false);
        p = decoded(&f, LINKTYPE_ETHERNET);
        CU_ASSERT_EQUAL(p.ip_protocol, 17);
        CU_ASSERT_EQUAL(p.tunnel, KFL_TUNNEL_NONE);
        CU_ASSERT_EQUAL(p.l4, 34);
        CU_ASSERT_EQUAL(p.flags, 0);
    }
}

static void tunnels_end_at_their_bound(void)
{
    char words[256] = "eth";
    struct frame f;
    struct packet p;

    for (int i = 0; i <= DECODE_TUNNEL_DEPTH_MAX + 2; i++)
        strcat(words, " ip4");
    strcat(words, " tcp data:10");
    frame_make(&f, words, false);
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.l3, 14 + 20 * DECODE_TUNNEL_DEPTH_MAX);
    CU_ASSERT_EQUAL(p.ip_protocol, 4);
}

static void lengths_that_lie(void)
{
    struct frame f;
    struct packet p;

    frame_make(&f, "eth ip4 tcp data:10", false);
    put16(f.space + f.at + 16, 0); /* total length 0: segmentation was left to the card */
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.payload_size, 10);
    put16(f.space + f.at + 16, 45); /* what follows is padding */
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.payload_size, 5);
    CU_ASSERT_EQUAL(p.payload_origsize, 5);
    put16(f.space + f.at + 16, 500); /* longer than the frame */
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.payload_size, 10);
    put16(f.space + f.at + 16, 10); /* shorter than its header */
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.flags, PACKET_NO_IP | PACKET_MALFORMED);
    frame_make(&f, "eth ip4 tcp data:10", false);
    f.space[f.at + 46] = 0x40; /* TCP header of 16 bytes */
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.flags, PACKET_MALFORMED);
    CU_ASSERT_EQUAL(p.key.port[1], 80);
    CU_ASSERT_EQUAL(p.payload_size, 0);
    frame_make(&f, "eth ip6 udp:53 data:10", false);
    put16(f.space + f.at + 18, 0); /* jumbogram */
    put16(f.space + f.at + 58, 0);
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.payload_size, 10);
}

static void fragments_say_so(void)
{
    struct frame f;
    struct packet p;

    frame_make(&f, "eth ip4 udp:53 data:32", false);
    put16(f.space + f.at + 20, 0x2000);
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.flags, PACKET_FRAGMENT | PACKET_FIRST_FRAGMENT | PACKET_FRAGMENT_MORE);
    CU_ASSERT_EQUAL(p.key.port[1], 53);
    put16(f.space + f.at + 20, 3);
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.flags, PACKET_FRAGMENT | PACKET_NO_PORTS);
    CU_ASSERT_EQUAL(p.fragment_offset, 24);
    CU_ASSERT_EQUAL(p.fragment_l3, 14);
    CU_ASSERT_EQUAL(p.key.port[1], 0);
    CU_ASSERT_EQUAL(p.key.ip_version, 4 | STREAM_KEY_NO_PORTS);
    CU_ASSERT_EQUAL(p.payload_size, 40);
    CU_ASSERT_EQUAL(p.payload, 34);
    frame_make(&f, "eth ip4 udp:2152 gtp:1 ip4 udp:53 data:32", false);
    put16(f.space + f.at + 20, 0x2000);
    p = decoded(&f, LINKTYPE_ETHERNET);
    CU_ASSERT_EQUAL(p.fragment_l3, 14);
    CU_ASSERT(p.l3 > 14);
    CU_ASSERT_EQUAL(p.key.port[1], 53);
}

/* The bytes end where the page does, and the next page cannot be read. */
static void cut_at_every_length_nothing_is_read_beyond(void)
{
    long page = sysconf(_SC_PAGESIZE);
    uint8_t *pages =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned decodable = 0;

    CU_ASSERT_FATAL(pages != MAP_FAILED && !mprotect(pages + page, page, PROT_NONE));
    for (unsigned i = 0; i < N_WRAPPINGS; i++) {
        struct frame f;

        frame_make(&f, wrappings[i].frame, false);
        for (uint32_t size = 0; size <= frame_size(&f); size++) {
            struct packet p = {.data = pages + page - size,
                               .caplen = size,
                               .origlen = (uint32_t)frame_size(&f),
                               .linktype = (uint16_t)wrappings[i].linktype};

            memcpy(pages + page - size, frame_data(&f), size);
            decode(&p, SEED);
            if (p.flags & PACKET_NO_IP)
                continue;
            decodable++;
            CU_ASSERT(p.payload <= size && p.payload_size <= size - p.payload);
            CU_ASSERT(p.l3 < p.l4 && p.l4 <= p.payload);
            if (p.tunnel == wrappings[i].tunnel && !(p.flags & PACKET_NO_PORTS) &&
                p.payload >= p.l4 + 20 && p.ip_protocol == 6)
                CU_ASSERT_EQUAL(p.payload_origsize, 10);
        }
    }
    munmap(pages, 2 * page);
    tap_note("%u cut frames had a stream", decodable);
}

static void random_bytes_are_survived(void)
{
    struct frame f;
    uint32_t state = 1;

    for (unsigned n = 0; n < 200000; n++) {
        unsigned i = n % N_WRAPPINGS;
        uint8_t *copy;
        struct packet p;

        frame_make(&f, wrappings[i].frame, false);
        copy = malloc(frame_size(&f));
        memcpy(copy, frame_data(&f), frame_size(&f));
        for (int k = 0; k < 3; k++) {
            state = state * 1664525 + 1013904223;
            copy[(state >> 8) % frame_size(&f)] = (uint8_t)(state >> 4);
        }
        p = (struct packet){.data = copy,
                            .caplen = (uint32_t)frame_size(&f),
                            .origlen = (uint32_t)frame_size(&f),
                            .linktype = (uint16_t)wrappings[i].linktype};
        decode(&p, SEED);
        CU_ASSERT(p.payload + p.payload_size <= p.caplen);
        free(copy);
    }
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"the innermost stream counts, however it is wrapped",
         the_innermost_stream_counts_however_it_is_wrapped},
        {"IPv6 with every extension header", ipv6_with_every_extension_header},
        {"other protocols have a stream, too", other_protocols_have_a_stream_too},
        {"an inner header that does not parse leaves the outer",
         an_inner_header_that_does_not_parse_leaves_the_outer},
        {"tunnels end at their bound", tunnels_end_at_their_bound},
        {"lengths that lie", lengths_that_lie},
        {"fragments say so", fragments_say_so},
        {"cut at every length nothing is read beyond", cut_at_every_length_nothing_is_read_beyond},
        {"random bytes are survived", random_bytes_are_survived},
        {0},
    };
    return tap_main(argc, argv, "decode", tests);
}
