/* http1_head.h - the head of an HTTP/1 message: its start line and headers (RFC 9112 sections 2-5).
 *
 * Views into the caller's bytes; no state. */
#ifndef DATAPLANE_PROTO_HTTP1_HEAD_H
#define DATAPLANE_PROTO_HTTP1_HEAD_H

#include "http.h"

struct http1_head {
    struct http_text method, target, reason; /* of the start line */
    bool version_1_0, version_none;
    uint16_t status;
    uint32_t size; /* with the empty line */
    bool cut;      /* there is none: its end was lost */
    struct http_known known;
    struct http_fields fields;
};

/* Do the bytes begin with `METHOD target HTTP/1.x` (or that of HTTP/0.9), with `HTTP/1.x 200`? */
enum l7_probe http1_request_line(const uint8_t *data, size_t size);
enum l7_probe http1_status_line(const uint8_t *data, size_t size);
/* Neither, but something that a server of HTTP may have been sent. */
bool http1_resembles(const uint8_t *data, size_t size);

enum http1_heads {
    HTTP1_HEAD_WHOLE,
    HTTP1_HEAD_MORE,     /* its end is not there yet */
    HTTP1_HEAD_NO_START, /* there is no start line */
};

/* cut: no more will come of it, the lines that are whole are the head. */
enum http1_heads http1_head_parse(struct http1_head *head, enum kfl_side side, const uint8_t *data,
                                  size_t size, bool cut);
/* Is there an empty line behind `from`? */
bool http1_head_ends(const uint8_t *data, size_t from, size_t size);

#endif
