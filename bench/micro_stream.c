/* micro_stream [ROUNDS [STREAMS]]: what decode() and the stream table cost, over minimal TCP and
 * UDP frames of many streams, as the RX and classifier steps call them. Prints ns a packet by step;
 * under `valgrind --tool=callgrind` the instructions are exact. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../dataplane/decode.h"
#include "../dataplane/stream.h"

enum { FRAME = 64, PACKETS = 1 << 16, SEED = 99 };

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Frame i of stream n: three of four are TCP acknowledgements, the fourth UDP. */
static void make_frame(uint8_t *frame, unsigned n, unsigned i)
{
    unsigned reverse = i & 1;
    uint32_t source = 0x0a000000 + n, destination = 0x0a800000 + n % 251;
    uint16_t source_port = (uint16_t)(30000 + n % 20000), destination_port = n % 4 ? 80 : 53;
    uint8_t *ip = frame + 14, *l4 = frame + 34;

    memset(frame, 0, FRAME);
    frame[12] = 0x08;
    ip[0] = 0x45;
    ip[8] = 64;
    ip[9] = n % 4 ? 6 : 17;
    ip[3] = n % 4 ? 40 : 40;
    for (int b = 0; b < 4; b++) {
        ip[12 + b] = (uint8_t)((reverse ? destination : source) >> (24 - 8 * b));
        ip[16 + b] = (uint8_t)((reverse ? source : destination) >> (24 - 8 * b));
    }
    for (int b = 0; b < 2; b++) {
        l4[b] = (uint8_t)((reverse ? destination_port : source_port) >> (8 - 8 * b));
        l4[2 + b] = (uint8_t)((reverse ? source_port : destination_port) >> (8 - 8 * b));
    }
    if (n % 4) {
        l4[12] = 0x50;
        l4[13] = 0x10;
    } else {
        l4[5] = 20;
    }
}

/* What a source fills in. */
static void take(struct packet *packet, const uint8_t *frame, uint64_t ts_ns)
{
    packet->data = frame;
    packet->ts_ns = ts_ns;
    packet->caplen = packet->origlen = FRAME;
    packet->cookie = 0;
    packet->interface = 0;
    packet->linktype = LINKTYPE_ETHERNET;
    packet->source = packet->queue = 0;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 50;
    unsigned n_streams = argc > 2 ? (unsigned)atoi(argv[2]) : 10000;
    struct stream_config config = {.max = n_streams + n_streams / 8 + 16,
                                   .timeout_ns_tcp = UINT64_C(300000000000),
                                   .timeout_ns_udp = UINT64_C(60000000000)};
    uint8_t *frames = aligned_alloc(64, (size_t)PACKETS * FRAME);
    uint64_t best_fill = UINT64_MAX, best_decode = UINT64_MAX, best_stream = UINT64_MAX,
             ts_ns = UINT64_C(1700000000000000000);
    _Alignas(64) struct packet burst[PACKET_BURST];
    uint32_t hint[PACKET_BURST];
    struct stream_table *table;
    bool new;

    if (!frames || stream_table_create(&config, &table))
        return 1;
    srand(1);
    for (unsigned i = 0; i < PACKETS; i++)
        make_frame(frames + (size_t)i * FRAME, (unsigned)rand() % n_streams, (unsigned)rand() >> 7);
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t fill_ns = 0, decode_ns = 0, stream_ns = 0;

        for (unsigned at = 0; at < PACKETS; at += PACKET_BURST) {
            uint64_t t0 = now_ns(), t1, t2;

            for (unsigned i = 0; i < PACKET_BURST; i++)
                take(&burst[i], frames + (size_t)(at + i) * FRAME, ts_ns);
            t1 = now_ns();
            decode_burst(burst, PACKET_BURST, SEED);
            t2 = now_ns();
            for (unsigned i = 0; i < PACKET_BURST; i++)
                stream_prefetch_index(table, &burst[i]);
            for (unsigned i = 0; i < PACKET_BURST; i++)
                hint[i] = stream_prefetch(table, &burst[i], STREAM_COUNTS);
            for (unsigned i = 0; i < PACKET_BURST; i++)
                if (!stream_find_or_add(table, &burst[i], hint[i], &new))
                    return 1;
            stream_ns += now_ns() - t2;
            decode_ns += t2 - t1;
            fill_ns += t1 - t0;
            ts_ns += 1000;
        }
        best_fill = fill_ns < best_fill ? fill_ns : best_fill;
        best_decode = decode_ns < best_decode ? decode_ns : best_decode;
        best_stream = stream_ns < best_stream ? stream_ns : best_stream;
    }
    printf("streams %u, best of %u rounds, ns a packet: fill %.1f, decode %.1f, stream %.1f\n",
           stream_table_n(table), rounds, (double)best_fill / PACKETS,
           (double)best_decode / PACKETS, (double)best_stream / PACKETS);
    stream_table_free(table);
    free(frames);
    return 0;
}
