/* Reassembly against a naive one: an array of bytes and an array of "seen". */
#include "../dataplane/tcp.h"

#include <stdlib.h>
#include <string.h>

#include "../dataplane/decode.h"
#include "../dataplane/lookback.h"
#include "frames.h"
#include "tap.h"

enum { SIZE = 4096, HOLE = -1 };

static uint8_t text[2][SIZE]; /* what the sides say */
static int got[2][4 * SIZE];  /* bytes that came out, HOLE for each lost one */
static unsigned n_got[2];
static struct tcp_context *tcp;
static struct lookback *lookback;
static struct stream_table *table;
static struct stream *stream;
static struct counters counters;
static uint64_t now_ns;
static bool drop_at_data;

static void on_data(void *context, struct stream *s, enum kfl_side side, const uint8_t *data,
                    size_t size, uint64_t ts_ns)
{
    CU_ASSERT(n_got[side] + size < 4 * SIZE);
    for (size_t i = 0; i < size; i++)
        got[side][n_got[side]++] = data[i];
    if (drop_at_data)
        tcp_drop(tcp, s);
}

static void on_gap(void *context, struct stream *s, enum kfl_side side, uint64_t size)
{
    for (uint64_t i = 0; i < size && n_got[side] < 4 * SIZE; i++)
        got[side][n_got[side]++] = HOLE;
}

static void begin(bool with_lookback, uint32_t segments_max, uint32_t stream_segments_max)
{
    struct stream_config streams = {.max = 16};
    struct tcp_config config = {.streams_max = 16,
                                .segments_max = segments_max,
                                .stream_segments_max = stream_segments_max,
                                .stream_bytes_max = 1 << 20,
                                .copy_size = 1 << 20,
                                .sink = {on_data, on_gap, NULL},
                                .counters = &counters};

    for (int side = 0; side < 2; side++)
        for (int i = 0; i < SIZE; i++)
            text[side][i] = (uint8_t)(i * 7 + i / 251 + side);
    memset(&counters, 0, sizeof(counters));
    n_got[0] = n_got[1] = 0;
    drop_at_data = false;
    stream = NULL;
    now_ns = 1000;
    lookback = NULL;
    if (with_lookback)
        CU_ASSERT_EQUAL_FATAL(lookback_create(LOOKBACK_COPIES, 4 << 20, 0, false, &lookback), 0);
    config.lookback = lookback;
    CU_ASSERT_EQUAL_FATAL(stream_table_create(&streams, &table), 0);
    CU_ASSERT_EQUAL_FATAL(tcp_context_create(&config, &tcp), 0);
}

static void finish(void)
{
    tcp_end(tcp, stream);
    CU_ASSERT_PTR_NULL(stream->extra->reassembly);
    tcp_context_free(tcp);
    stream_table_free(table);
    lookback_free(lookback);
}

struct piece {
    unsigned side;
    uint32_t from, size;
    uint8_t flags;    /* of TCP; 0: ACK */
    uint32_t present; /* bytes in the capture; 0: all */
    uint32_t ack;
    uint8_t spoil; /* added to each byte: another version of it */
};

static uint32_t isn[2] = {100, 5000};

/* A segment; `from` counts from the first byte of data. */
static void send(struct piece piece)
{
    struct frame f;
    struct packet packet;
    char words[64];
    uint8_t *header;
    uint64_t position = LOOKBACK_NONE;
    bool new;

    snprintf(words, sizeof(words), "eth ip4 tcp data:%u", piece.size);
    frame_make(&f, words, piece.side == KFL_SERVER);
    header = f.space + f.at + 34;
    put32(header + 4, isn[piece.side] + 1 + piece.from - (piece.flags & 2 ? 1 : 0));
    put32(header + 8, isn[!piece.side] + 1 + piece.ack);
    header[13] = piece.flags ? piece.flags : 0x10;
    for (uint32_t i = 0; i < piece.size; i++)
        header[20 + i] = (uint8_t)(text[piece.side][piece.from + i] + piece.spoil);
    packet = (struct packet){.data = frame_data(&f),
                             .ts_ns = now_ns += 1000,
                             .caplen = (uint32_t)frame_size(&f),
                             .origlen = (uint32_t)frame_size(&f),
                             .linktype = LINKTYPE_ETHERNET};
    if (piece.present)
        packet.caplen -= piece.size - piece.present;
    decode(&packet, 1);
    stream = stream_find_or_add(table, &packet, 0, &new);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    stream_extend(table, stream);
    if (lookback)
        position = lookback_append(lookback, &packet, false, LOOKBACK_NONE);
    tcp_segment(tcp, stream, &packet, position);
}

static void handshake(void)
{
    send((struct piece){KFL_CLIENT, .flags = 0x02});
    send((struct piece){KFL_SERVER, .flags = 0x12});
    send((struct piece){KFL_CLIENT});
}

/* The first n bytes of a side came out, but for the hole. */
static bool came(unsigned side, unsigned n, unsigned hole, unsigned hole_size)
{
    if (n_got[side] != n)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (got[side][i] != (i - hole < hole_size ? HOLE : text[side][i]))
            return false;
    return true;
}

static void segments_in_order_come_at_once(void)
{
    begin(true, 64, 64);
    handshake();
    for (unsigned i = 0; i < 10; i++) {
        send((struct piece){KFL_CLIENT, 100 * i, 100});
        CU_ASSERT(came(KFL_CLIENT, 100 * (i + 1), 0, 0));
        send((struct piece){KFL_SERVER, 50 * i, 50});
        CU_ASSERT(came(KFL_SERVER, 50 * (i + 1), 0, 0));
    }
    CU_ASSERT_PTR_NULL(stream->extra->reassembly);
    finish();
}

static void permute(unsigned order[], unsigned n, unsigned at, bool with_lookback)
{
    if (at == n) {
        begin(with_lookback, 64, 64);
        handshake();
        for (unsigned i = 0; i < n; i++)
            send((struct piece){KFL_SERVER, 100 * order[i], 100});
        CU_ASSERT(came(KFL_SERVER, 100 * n, 0, 0));
        CU_ASSERT_PTR_NULL(stream->extra->reassembly);
        finish();
        return;
    }
    for (unsigned i = at; i < n; i++) {
        unsigned t = order[at];

        order[at] = order[i];
        order[i] = t;
        permute(order, n, at + 1, with_lookback);
        order[i] = order[at];
        order[at] = t;
    }
}

static void every_permutation_gives_the_same(void)
{
    unsigned order[5] = {0, 1, 2, 3, 4};

    permute(order, 5, 0, true);
    permute(order, 5, 0, false);
    isn[KFL_SERVER] = UINT32_MAX - 230; /* the sequence number wraps on the way */
    permute(order, 5, 0, true);
    isn[KFL_SERVER] = INT32_MAX - 230;
    permute(order, 5, 0, true);
    isn[KFL_SERVER] = 5000;
}

static void known_bytes_are_not_given_again(void)
{
    begin(true, 64, 64);
    handshake();
    send((struct piece){KFL_CLIENT, 0, 100});
    send((struct piece){KFL_CLIENT, 0, 100});              /* retransmission */
    send((struct piece){KFL_CLIENT, 99, 1, .spoil = 1});   /* keep-alive */
    send((struct piece){KFL_CLIENT, 50, 100, .spoil = 0}); /* half of it new */
    send((struct piece){KFL_CLIENT, 150, 1});              /* zero-window probe */
    send((struct piece){KFL_CLIENT, 150, 50});
    CU_ASSERT(came(KFL_CLIENT, 200, 0, 0));
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_tcp_retransmitted), 2);
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_tcp_overlapping), 2);
    finish();
}

static void of_two_versions_the_first_wins(void)
{
    begin(true, 64, 64);
    handshake();
    send((struct piece){KFL_CLIENT, 100, 100});             /* early */
    send((struct piece){KFL_CLIENT, 300, 100});             /* early */
    send((struct piece){KFL_CLIENT, 100, 100, .spoil = 1}); /* another version */
    send((struct piece){KFL_CLIENT, 200, 100});
    send((struct piece){KFL_CLIENT, 250, 100, .spoil = 1});
    send((struct piece){KFL_CLIENT, 0, 100});
    CU_ASSERT(came(KFL_CLIENT, 400, 0, 0));
    finish();
}

static void data_in_the_syn_counts(void)
{
    begin(true, 64, 64);
    send((struct piece){KFL_CLIENT, 0, 100, .flags = 0x02});
    send((struct piece){KFL_SERVER, .flags = 0x12, .ack = 100});
    send((struct piece){KFL_CLIENT, 100, 100});
    CU_ASSERT(came(KFL_CLIENT, 200, 0, 0));
    finish();
}

static void a_stream_picked_up_on_its_way(void)
{
    begin(true, 64, 64);
    send((struct piece){KFL_SERVER, 0, 100});
    send((struct piece){KFL_SERVER, 100, 100});
    CU_ASSERT_EQUAL(n_got[KFL_SERVER], 200);
    finish();
}

/* In a capture whose packets changed places the first one is not the first. */
static void what_came_before_the_first_packet_counts(void)
{
    begin(true, 64, 64);
    send((struct piece){KFL_CLIENT, .from = 120});
    send((struct piece){KFL_SERVER, .from = 300, .flags = 0x11});
    send((struct piece){KFL_SERVER, .flags = 0x12});
    send((struct piece){KFL_SERVER, 100, 200});
    send((struct piece){KFL_CLIENT, 0, 120});
    send((struct piece){KFL_SERVER, 0, 100});
    CU_ASSERT(came(KFL_CLIENT, 120, 0, 0));
    CU_ASSERT(came(KFL_SERVER, 300, 0, 0));
    finish();
    begin(true, 64, 64);
    send((struct piece){KFL_CLIENT, .from = 120});
    send((struct piece){KFL_CLIENT, 119, 1}); /* keep-alive */
    send((struct piece){KFL_CLIENT, 120, 10});
    CU_ASSERT_EQUAL(n_got[KFL_CLIENT], 10);
    finish();
}

static void a_lost_segment_is_a_gap_when_it_was_acknowledged(void)
{
    unsigned n = 0;

    begin(true, 64, 64);
    handshake();
    send((struct piece){KFL_SERVER, 0, 100});
    send((struct piece){KFL_SERVER, 200, 100});
    send((struct piece){KFL_CLIENT, .ack = 100}); /* not yet */
    for (int i = 0; i < 40; i++)
        send((struct piece){KFL_CLIENT, .ack = 100});
    CU_ASSERT(came(KFL_SERVER, 100, 0, 0));
    for (; n < 100 && n_got[KFL_SERVER] == 100; n++)
        send((struct piece){KFL_CLIENT, .ack = 300});
    CU_ASSERT(n > 1 && n < 100); /* its data may come after its acknowledgement */
    CU_ASSERT(came(KFL_SERVER, 300, 100, 100));
    CU_ASSERT_EQUAL(counter_get(&counters, COUNTER_tcp_gaps), 1);
    CU_ASSERT_PTR_NULL(stream->extra->reassembly);
    send((struct piece){KFL_SERVER, 100, 100}); /* too late */
    CU_ASSERT_EQUAL(n_got[KFL_SERVER], 300);
    finish();
}

static void an_acknowledgement_before_its_data_loses_nothing(void)
{
    begin(true, 64, 64);
    handshake();
    send((struct piece){KFL_SERVER, 100, 100});
    send((struct piece){KFL_CLIENT, .ack = 200});
    send((struct piece){KFL_CLIENT, .ack = 200});
    send((struct piece){KFL_SERVER, 0, 100});
    CU_ASSERT(came(KFL_SERVER, 200, 0, 0));
    finish();
}

static void what_waits_at_the_end_is_given_across_holes(void)
{
    begin(true, 64, 64);
    handshake();
    send((struct piece){KFL_SERVER, 100, 100});
    send((struct piece){KFL_SERVER, 300, 100});
    send((struct piece){KFL_CLIENT, 100, 100});
    tcp_end(tcp, stream);
    CU_ASSERT_EQUAL(n_got[KFL_SERVER], 400);
    CU_ASSERT_EQUAL(got[KFL_SERVER][250], HOLE);
    CU_ASSERT_EQUAL(got[KFL_SERVER][350], text[KFL_SERVER][350]);
    CU_ASSERT(came(KFL_CLIENT, 200, 0, 100));
    finish();
}

static void a_cut_payload_is_a_gap_behind_what_is_there(void)
{
    begin(true, 64, 64);
    handshake();
    send((struct piece){KFL_CLIENT, 0, 100, .present = 60});
    send((struct piece){KFL_CLIENT, 100, 100});
    CU_ASSERT(came(KFL_CLIENT, 200, 60, 40));
    send((struct piece){KFL_SERVER, 100, 100, .present = 60}); /* early, too */
    send((struct piece){KFL_SERVER, 0, 100});
    CU_ASSERT(came(KFL_SERVER, 200, 160, 40));
    finish();
}

static void bounds_make_holes_not_growth(void)
{
    begin(true, 64, 8);
    handshake();
    for (unsigned i = 1; i < 40; i += 2)
        send((struct piece){KFL_CLIENT, 50 * i, 50});
    CU_ASSERT(stream->extra->reassembly != NULL);
    CU_ASSERT(n_got[KFL_CLIENT] > 50 * 20);
    finish();
    begin(false, 3, 8);
    handshake();
    for (unsigned i = 1; i < 40; i += 2)
        send((struct piece){KFL_CLIENT, 50 * i, 50});
    CU_ASSERT(n_got[KFL_CLIENT] > 50 * 30);
    finish();
    begin(false, 0, 8); /* no room for a single one */
    handshake();
    send((struct piece){KFL_CLIENT, 100, 100});
    CU_ASSERT(came(KFL_CLIENT, 200, 0, 100));
    finish();
}

static void the_sink_may_drop_the_stream(void)
{
    begin(true, 64, 64);
    handshake();
    send((struct piece){KFL_CLIENT, 100, 100});
    send((struct piece){KFL_CLIENT, 200, 100});
    drop_at_data = true;
    send((struct piece){KFL_CLIENT, 0, 100});
    CU_ASSERT_PTR_NULL(stream->extra->reassembly);
    finish();
}

/* The naive one: all of the segments' bytes, first version wins, given in order at the end. */
static void random_segments_agree_with_a_naive_reassembler(void)
{
    unsigned seed = 20;

    srand(seed);
    for (unsigned round = 0; round < 400; round++) {
        bool seen[SIZE] = {0};
        unsigned end = 0, n = 0;

        begin(round & 1, 256, 256);
        isn[KFL_SERVER] = (uint32_t)rand() * 2u + (uint32_t)rand();
        handshake();
        for (unsigned i = 0; i < 60; i++) {
            uint32_t from = (uint32_t)rand() % 1500, size = (uint32_t)rand() % 120 + 1;

            send((struct piece){KFL_SERVER, from, size});
            memset(seen + from, 1, size);
            end = from + size > end ? from + size : end;
        }
        tcp_end(tcp, stream);
        for (unsigned i = 0; i < end; i++)
            n += got[KFL_SERVER][i] != (seen[i] ? text[KFL_SERVER][i] : HOLE);
        CU_ASSERT_EQUAL(n_got[KFL_SERVER], end);
        CU_ASSERT_EQUAL(n, 0);
        finish();
    }
    isn[KFL_SERVER] = 5000;
    tap_note("seed %u", seed);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"segments in order come at once", segments_in_order_come_at_once},
        {"every permutation gives the same", every_permutation_gives_the_same},
        {"known bytes are not given again", known_bytes_are_not_given_again},
        {"of two versions the first wins", of_two_versions_the_first_wins},
        {"data in the SYN counts", data_in_the_syn_counts},
        {"a stream picked up on its way", a_stream_picked_up_on_its_way},
        {"what came before the first packet counts", what_came_before_the_first_packet_counts},
        {"a lost segment is a gap when it was acknowledged",
         a_lost_segment_is_a_gap_when_it_was_acknowledged},
        {"an acknowledgement before its data loses nothing",
         an_acknowledgement_before_its_data_loses_nothing},
        {"what waits at the end is given across holes",
         what_waits_at_the_end_is_given_across_holes},
        {"a cut payload is a gap behind what is there",
         a_cut_payload_is_a_gap_behind_what_is_there},
        {"bounds make holes, not growth", bounds_make_holes_not_growth},
        {"the sink may drop the stream", the_sink_may_drop_the_stream},
        {"random segments agree with a naive reassembler",
         random_segments_agree_with_a_naive_reassembler},
        {0},
    };
    return tap_main(argc, argv, "tcp", tests);
}
