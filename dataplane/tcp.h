/* tcp.h - TCP reassembly: the bytes of each direction in order, for the dissectors.
 *
 *     segment --in order------------------------------------------> sink.data (from the frame)
 *        |                                                             ^
 *        +--early: remembered (position in the lookback, or a copy) ---+  when the hole is filled
 *        +--known already: nothing, or the part that is new
 *        +--hole given up: sink.gap, then what is behind it
 *
 * Bytes are given once; of two versions of a byte the first that came wins. A hole is given up
 * when the other side acknowledges data behind it (the capture lost it), when too much waits
 * behind it, or at the stream's end.
 *
 * Thread: the classifier. Memory: two pools, taken at creation; when they are empty the oldest
 * hole of the stream is given up, or the segment becomes a hole itself. */
#ifndef DATAPLANE_TCP_H
#define DATAPLANE_TCP_H

#include <stdint.h>

#include "../kfl-jit/entry.h"
#include "counters.h"
#include "packet.h"
#include "stream.h"

struct lookback;

/* Who gets the bytes: l7_data() and l7_gap() through a thin wrapper of the classifier. */
struct tcp_sink {
    void (*data)(void *context, struct stream *stream, enum kfl_side side, const uint8_t *data,
                 size_t size, uint64_t ts_ns);
    void (*gap)(void *context, struct stream *stream, enum kfl_side side, uint64_t size);
    void *context;
};

struct tcp_config {
    uint32_t streams_max;         /* out of order at the same time */
    uint32_t segments_max;        /* waiting, all streams together */
    uint32_t stream_segments_max; /* waiting, one direction of a stream */
    uint32_t stream_bytes_max;
    uint64_t copy_size;              /* bytes for segments that are not in the lookback */
    const struct lookback *lookback; /* may be null: everything that waits is copied */
    struct tcp_sink sink;
    struct counters *counters; /* tcp_*; may be null */
};

struct tcp_context;

int tcp_context_create(const struct tcp_config *config, struct tcp_context **ret_context);
void tcp_context_free(struct tcp_context *context);

/* One TCP packet of the stream, in order of arrival; also those without payload. `position`: its
 * record in the lookback, LOOKBACK_NONE when it has none (then it is copied if it must wait). */
void tcp_segment(struct tcp_context *context, struct stream *stream, const struct packet *packet,
                 uint64_t position);
/* The stream is over: what waits is given, across its holes; then as tcp_drop(). */
void tcp_end(struct tcp_context *context, struct stream *stream);
/* Nobody wants its bytes any more: what waits is forgotten. */
void tcp_drop(struct tcp_context *context, struct stream *stream);

#endif
