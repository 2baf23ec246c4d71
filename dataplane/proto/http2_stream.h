/* http2_stream.h - the streams of an HTTP/2 connection, and the messages on them (RFC 9113
 * section 8): header blocks and bytes of DATA become halves.
 *
 * http2.c, which reads the frames, calls these. A stream is freed when both its messages are
 * complete. */
#ifndef DATAPLANE_PROTO_HTTP2_STREAM_H
#define DATAPLANE_PROTO_HTTP2_STREAM_H

#include "http.h"

enum { HTTP2_STREAMS_MAX = 512 /* of a connection, followed at once */, HTTP2_BUCKETS = 64 };

struct http2_message {    /* one side of a stream */
    struct l7_half *half; /* under way */
    struct l7_text head;  /* its headers, while trailers may come (hpack_save) */
    struct l7_text body;
    uint64_t body_size;
    uint64_t wire;
    uint8_t coding;
    bool seen;     /* its headers were there */
    bool complete; /* it is with l7 */
    bool collect;
    bool broken; /* its headers could not be read */
    uint16_t type_size;
    uint8_t type[96];
};

struct http2_stream {
    struct http2_stream *next; /* in the bucket */
    uint32_t id;
    bool grpc, gql;
    struct http2_message message[2];
};

struct http2_streams { /* zeroed to begin with */
    struct http2_stream *bucket[HTTP2_BUCKETS];
    uint32_t n;
};

/* Null: there is none and none is to be made, or no memory. */
struct http2_stream *http2_stream_get(struct l7 *l7, struct http2_streams *streams, uint32_t id,
                                      bool make);
/* The stream is over, however far it got. `unanswered`: why its request has no response, or null
 * when that may still be told. */
void http2_stream_end(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream,
                      const char *unanswered);
/* All streams are over; all are freed without a word. */
void http2_streams_end(struct l7 *l7, struct http2_streams *streams);
void http2_streams_done(struct l7 *l7, struct http2_streams *streams);

/* A header block: the head of a message, or its trailers. `ends`: no DATA follows. */
void http2_message_head(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream,
                        enum kfl_side side, struct http_fields *fields, bool ends);
/* A message is complete: its headers with trailers, its body. With the server's the stream is
 * freed. */
void http2_message_end(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream,
                       enum kfl_side side);

/* The value of a header by its name in lower case; at is null without. */
struct http_text http2_field(const struct http_fields *fields, const char *name);

#endif
