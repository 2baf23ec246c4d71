/* A sequence of Ethernet frames through fragments, streams and reassembly. Each frame is led by
 * its size (one byte, in units of four bytes) and the time since the one before (one byte, in
 * 100 ms). Every packet comes out once, every byte at most once, and memory is given back. */
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/decode.h"
#include "../../dataplane/fragment.h"
#include "../../dataplane/lookback.h"
#include "../../dataplane/stream.h"
#include "../../dataplane/tcp.h"
#include "../../kfl-jit/ensure.h"

enum { FRAMES_MAX = 64, SEED = 5, STREAMS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tcp_context *tcp;
static uint64_t n_bytes;
static unsigned n_open;

static void on_data(void *context, struct stream *stream, enum kfl_side side, const uint8_t *data,
                    size_t size, uint64_t ts_ns)
{
    static volatile uint8_t sum;

    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + data[i]);
    n_bytes += size;
}

static void on_gap(void *context, struct stream *stream, enum kfl_side side, uint64_t size)
{
    ensure(size > 0);
}

static void on_ended(void *context, struct stream *stream, enum stream_end why)
{
    tcp_end(tcp, stream);
    ensure(!stream->extra->reassembly);
    n_open--;
}

static void take(struct stream_table *table, struct fragment_assembler *assembler,
                 struct packet *packet, uint64_t *limit)
{
    const struct packet *whole = packet;
    struct kfl_stream view;
    struct stream *stream;
    bool new;

    if (packet->flags & PACKET_NO_IP)
        return;
    stream = stream_find_or_add(table, packet, 0, &new);
    if (!stream)
        return;
    n_open += new;
    stream_extend(table, stream);
    stream_view(table, stream, false, &view);
    ensure(view.packets[0] + view.packets[1] > 0);
    if (packet->flags & PACKET_FRAGMENT)
        whole = fragment_assemble(assembler, packet);
    if (whole && stream->l4 == KFL_L4_TCP && whole->ip_protocol == 6) {
        *limit += whole->payload_size;
        tcp_segment(tcp, stream, whole, LOOKBACK_NONE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct packet out[1 + FRAGMENT_HELD_MAX];
    struct stream_config streams = {.max = STREAMS,
                                    .timeout_ns_tcp = 5000000000,
                                    .timeout_ns_tcp_open = 1000000000,
                                    .timeout_ns_tcp_closed = 200000000,
                                    .timeout_ns_udp = 3000000000,
                                    .sink.ended = on_ended};
    struct tcp_config config = {.streams_max = 4,
                                .segments_max = 16,
                                .stream_segments_max = 6,
                                .stream_bytes_max = 2000,
                                .copy_size = 1 << 16,
                                .sink = {on_data, on_gap, NULL}};
    struct fragment_assembler *assembler;
    struct fragment_table *fragments;
    struct stream_table *table;
    uint8_t *frames[FRAMES_MAX];
    uint64_t ts_ns = 1000000000, limit = 0;
    unsigned n_frames = 0, n_in = 0, n_out = 0, n;

    n_bytes = n_open = 0;
    ensure(!stream_table_create(&streams, &table) && !tcp_context_create(&config, &tcp) &&
           !fragment_table_create(4, SEED, NULL, &fragments) &&
           !fragment_assembler_create(4, SEED, NULL, &assembler));
    while (size > 2 && n_frames < FRAMES_MAX) {
        size_t frame_size = data[0] * 4u < size - 2 ? data[0] * 4u : size - 2;
        struct packet packet = {.linktype = LINKTYPE_ETHERNET};

        ts_ns += data[1] * UINT64_C(100000000);
        frames[n_frames] = malloc(frame_size);
        memcpy(frames[n_frames], data + 2, frame_size);
        packet.data = frames[n_frames++];
        packet.ts_ns = ts_ns;
        packet.caplen = packet.origlen = (uint32_t)frame_size;
        data += 2 + frame_size;
        size -= 2 + frame_size;
        decode(&packet, SEED);
        n_in++;
        n = fragment_burst(fragments, &packet, 1, out, ts_ns, false);
        for (unsigned i = 0; i < n; i++)
            take(table, assembler, &out[i], &limit);
        n_out += n;
        stream_table_tick(table, ts_ns);
    }
    n = fragment_burst(fragments, NULL, 0, out, ts_ns, true);
    for (unsigned i = 0; i < n; i++)
        take(table, assembler, &out[i], &limit);
    ensure(n_in == n_out + n);
    stream_table_finish(table, UINT32_MAX);
    ensure(n_open == 0 && n_bytes <= limit);
    stream_table_free(table);
    tcp_context_free(tcp);
    fragment_table_free(fragments);
    fragment_assembler_free(assembler);
    while (n_frames)
        free(frames[--n_frames]);
    return 0;
}
