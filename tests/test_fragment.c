#include "../dataplane/fragment.h"

#include <stdlib.h>
#include <string.h>

#include "../dataplane/decode.h"
#include "../kfl-jit/entry.h"
#include "frames.h"
#include "tap.h"

enum { SEED = 5, ROOM = 128 + FRAGMENT_HELD_MAX };
#define SECOND UINT64_C(1000000000)

static struct counters counters;
static uint8_t bytes[128][2048]; /* of the packets made */
static unsigned n_made;

/* Bytes [from, from + size) of what the frame's outermost IP header carries, as a fragment. */
static struct packet piece(const char *words, unsigned id, unsigned from, unsigned size, bool more)
{
    struct frame f;
    uint8_t *to = bytes[n_made++ % 128];
    bool v6;
    unsigned header;
    struct packet packet;

    frame_make(&f, words, false);
    v6 = f.space[f.at + 12] == 0x86;
    header = v6 ? 54 : 34;
    memcpy(to, frame_data(&f), header);
    if (v6) {
        uint8_t extension[8] = {to[20]};

        put16(to + 18, size + 8);
        to[20] = 44;
        put16(extension + 2, from | more);
        put32(extension + 4, id);
        memcpy(to + header, extension, 8);
        header += 8;
    } else {
        put16(to + 16, size + 20);
        put16(to + 18, id);
        put16(to + 20, from / 8 | (more ? 0x2000 : 0));
    }
    memcpy(to + header, frame_data(&f) + (v6 ? 54 : 34) + from, size);
    packet = (struct packet){.data = to,
                             .ts_ns = SECOND,
                             .caplen = header + size,
                             .origlen = header + size,
                             .linktype = LINKTYPE_ETHERNET};
    decode(&packet, SEED);
    return packet;
}

static struct packet whole(const char *words)
{
    struct frame f;
    struct packet packet;
    uint8_t *to = bytes[n_made++ % 128];

    frame_make(&f, words, false);
    memcpy(to, frame_data(&f), frame_size(&f));
    packet = (struct packet){.data = to,
                             .ts_ns = SECOND,
                             .caplen = (uint32_t)frame_size(&f),
                             .origlen = (uint32_t)frame_size(&f),
                             .linktype = LINKTYPE_ETHERNET};
    decode(&packet, SEED);
    return packet;
}

static const char *const datagrams[] = {
    "eth ip4 udp:53 data:88", "eth ip6 udp:53 data:88",
    "eth ip4 udp:2152 gtp:7 ip4 udp:53 data:44", /* 8 + 16 + 20 + 8 + 44 = 96, too */
};
enum { N_DATAGRAMS = 3, PARTS = 4 };

static struct packet part(unsigned datagram, unsigned i)
{
    return piece(datagrams[datagram], 9, 24 * i, 24, i < PARTS - 1);
}

/* Calls `run` with every order of PARTS. */
static void permutations(void (*run)(unsigned datagram, const unsigned order[]))
{
    for (unsigned d = 0; d < N_DATAGRAMS; d++)
        for (unsigned a = 0; a < PARTS; a++)
            for (unsigned b = 0; b < PARTS; b++)
                for (unsigned c = 0; c < PARTS; c++)
                    if (a != b && a != c && b != c)
                        run(d, (unsigned[]){a, b, c, 6 - a - b - c});
}

static void in_order(unsigned d, const unsigned order[])
{
    struct fragment_table *table;
    struct packet full = whole(datagrams[d]), in, out[ROOM];
    unsigned n = 0;

    CU_ASSERT_EQUAL_FATAL(fragment_table_create(16, SEED, &counters, &table), 0);
    for (unsigned i = 0; i < PARTS; i++) {
        in = part(d, order[i]);
        CU_ASSERT(fragment_any(&in, 1));
        n += fragment_burst(table, &in, 1, out + n, SECOND, false);
    }
    /* the first fragment of the third datagram ends within the inner IP header: of the outer */
    CU_ASSERT_EQUAL(n, PARTS);
    for (unsigned i = 0; i < n; i++) {
        CU_ASSERT_EQUAL(out[i].hash, out[0].hash);
        CU_ASSERT(!memcmp(&out[i].key, &out[0].key, sizeof(full.key)));
        CU_ASSERT_EQUAL(out[i].sender, out[0].sender);
        CU_ASSERT(!(out[i].flags & PACKET_NO_PORTS));
        if (d < 2)
            CU_ASSERT(!memcmp(&out[i].key, &full.key, sizeof(full.key)));
    }
    CU_ASSERT_EQUAL(fragment_held(table), 0);
    fragment_table_free(table);
}

static void fragments_have_the_stream_of_their_datagram_in_any_order(void)
{
    memset(&counters, 0, sizeof(counters));
    permutations(in_order);
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_fragments_lost), 0);
}

static void of_a_tunnel_the_inner_stream(void)
{
    static const char words[] = "eth ip4 udp:2152 gtp:7 ip4 udp:53 data:44";
    struct packet full = whole(words), in[2], out[ROOM];
    struct fragment_table *table;

    in[0] = piece(words, 3, 56, 40, false);
    in[1] = piece(words, 3, 0, 56, true);
    CU_ASSERT_EQUAL_FATAL(fragment_table_create(16, SEED, NULL, &table), 0);
    CU_ASSERT_EQUAL(fragment_burst(table, in, 2, out, SECOND, false), 2);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT(!memcmp(&out[i].key, &full.key, sizeof(full.key)));
        CU_ASSERT_EQUAL(out[i].hash, full.hash);
        CU_ASSERT_EQUAL(out[i].tunnel, KFL_TUNNEL_GTPU);
        CU_ASSERT_EQUAL(out[i].tunnel_id, 7);
    }
    fragment_table_free(table);
}

static void what_waits_too_long_goes_on_alone(void)
{
    struct packet in = part(0, 2), out[ROOM];
    struct fragment_table *table;

    memset(&counters, 0, sizeof(counters));
    CU_ASSERT_EQUAL_FATAL(fragment_table_create(16, SEED, &counters, &table), 0);
    CU_ASSERT_EQUAL(fragment_burst(table, &in, 1, out, SECOND, false), 0);
    CU_ASSERT_EQUAL(fragment_held(table), 1);
    CU_ASSERT_EQUAL(fragment_burst(table, NULL, 0, out, 2 * SECOND, false), 0);
    CU_ASSERT_EQUAL(fragment_burst(table, NULL, 0, out, 4 * SECOND, false), 1);
    CU_ASSERT_EQUAL(out[0].data, in.data);
    CU_ASSERT(out[0].flags & PACKET_NO_PORTS);
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_fragments_lost), 1);
    CU_ASSERT_EQUAL(fragment_burst(table, &in, 1, out, SECOND, false), 0);
    CU_ASSERT_EQUAL(fragment_burst(table, NULL, 0, out, SECOND, true), 1);
    fragment_table_free(table);
}

static void a_flood_of_fragments_is_held_within_bounds(void)
{
    struct fragment_table *table;
    struct packet out[ROOM];
    unsigned n = 0, n_in = 0;

    CU_ASSERT_EQUAL_FATAL(fragment_table_create(16, SEED, NULL, &table), 0);
    for (unsigned id = 0; id < 1000; id++) {
        struct packet in = piece(datagrams[0], id, 24, 24, true);

        n_in++;
        n += fragment_burst(table, &in, 1, out, SECOND, false);
        CU_ASSERT(fragment_held(table) <= FRAGMENT_HELD_MAX);
        CU_ASSERT_EQUAL(n_in, n + fragment_held(table));
    }
    n += fragment_burst(table, NULL, 0, out, SECOND, true);
    CU_ASSERT_EQUAL(n, n_in);
    fragment_table_free(table);
}

static void assembled(unsigned d, const unsigned order[])
{
    struct packet full = whole(datagrams[d]);
    struct fragment_assembler *assembler;
    const struct packet *made = NULL;

    CU_ASSERT_EQUAL_FATAL(fragment_assembler_create(16, SEED, &counters, &assembler), 0);
    for (unsigned i = 0; i < PARTS; i++) {
        struct packet in = part(d, order[i]);

        CU_ASSERT_PTR_NULL(made);
        made = fragment_assemble(assembler, &in);
        if (i < PARTS - 1) /* once more: the same */
            CU_ASSERT_PTR_NULL(fragment_assemble(assembler, &in));
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(made);
    CU_ASSERT(!memcmp(&made->key, &full.key, sizeof(full.key)));
    CU_ASSERT_EQUAL(made->hash, full.hash);
    CU_ASSERT_EQUAL(made->tunnel, full.tunnel);
    CU_ASSERT_EQUAL(made->flags, 0);
    CU_ASSERT_EQUAL_FATAL(made->payload_size, full.payload_size);
    CU_ASSERT(!memcmp(made->data + made->payload, full.data + full.payload, full.payload_size));
    fragment_assembler_free(assembler);
}

static void datagrams_are_assembled_in_any_order(void)
{
    permutations(assembled);
}

static void overlapping_fragments_are_refused(void)
{
    struct fragment_assembler *assembler;
    struct packet in;

    memset(&counters, 0, sizeof(counters));
    CU_ASSERT_EQUAL_FATAL(fragment_assembler_create(16, SEED, &counters, &assembler), 0);
    for (unsigned i = 0; i < PARTS; i++) {
        in = part(0, i);
        if (i == 2) { /* begins 8 bytes early */
            in = piece(datagrams[0], 9, 40, 32, true);
        }
        CU_ASSERT_PTR_NULL(fragment_assemble(assembler, &in));
    }
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_fragments_overlapping), 1);
    for (unsigned i = 0; i < PARTS; i++) { /* behind its end */
        in = piece(datagrams[0], 10, 24 * (PARTS - 1 - i), 24, i != 1);
        CU_ASSERT_PTR_NULL(fragment_assemble(assembler, &in));
    }
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_fragments_lost), 1);
    in = part(0, 0);
    in.caplen -= 3; /* cut by the capture: can never be whole */
    in.ts_ns = 100 * SECOND;
    CU_ASSERT_PTR_NULL(fragment_assemble(assembler, &in));
    fragment_assembler_free(assembler);
}

static void random_fragments_are_survived(void)
{
    struct fragment_assembler *assembler;
    struct fragment_table *table;
    struct packet out[ROOM];

    srand(3);
    CU_ASSERT_EQUAL_FATAL(fragment_assembler_create(8, SEED, &counters, &assembler), 0);
    CU_ASSERT_EQUAL_FATAL(fragment_table_create(8, SEED, &counters, &table), 0);
    for (unsigned i = 0; i < 100000; i++) {
        unsigned from = (unsigned)rand() % 8 * 8, d = (unsigned)rand() % N_DATAGRAMS, n;
        struct packet in = piece(datagrams[d], (unsigned)rand() % 20, from, 32, rand() % 4);

        for (int k = rand() % 3; k > 0; k--)
            ((uint8_t *)in.data)[12 + (unsigned)rand() % (in.caplen - 12)] ^= (uint8_t)rand();
        in.ts_ns = SECOND + i * 100000;
        decode(&in, SEED);
        if (in.flags & PACKET_NO_IP)
            continue;
        n = fragment_burst(table, &in, 1, out, in.ts_ns, false);
        for (unsigned k = 0; k < n; k++)
            if (out[k].flags & PACKET_FRAGMENT)
                fragment_assemble(assembler, &out[k]);
    }
    fragment_table_free(table);
    fragment_assembler_free(assembler);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"fragments have the stream of their datagram, in any order",
         fragments_have_the_stream_of_their_datagram_in_any_order},
        {"of a tunnel, the inner stream", of_a_tunnel_the_inner_stream},
        {"what waits too long goes on alone", what_waits_too_long_goes_on_alone},
        {"a flood of fragments is held within bounds", a_flood_of_fragments_is_held_within_bounds},
        {"datagrams are assembled in any order", datagrams_are_assembled_in_any_order},
        {"overlapping fragments are refused", overlapping_fragments_are_refused},
        {"random fragments are survived", random_fragments_are_survived},
        {0},
    };
    return tap_main(argc, argv, "fragment", tests);
}
