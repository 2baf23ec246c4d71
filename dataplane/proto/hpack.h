/* hpack.h - header compression of HTTP/2 (RFC 7541), one direction of a connection. The door to
 * libnghttp2 is hpack.c; its memory comes from the stream's pools. */
#ifndef DATAPLANE_PROTO_HPACK_H
#define DATAPLANE_PROTO_HPACK_H

#include "http.h"

enum { HPACK_TEXT_MAX = 128 << 10, HPACK_SCRATCH = sizeof(struct http_scratch) };

struct hpack;

struct hpack_fields { /* decoded headers; their texts lie in `text` */
    struct http_fields fields;
    uint32_t text_size;
    uint8_t text[HPACK_TEXT_MAX];
};
_Static_assert(HPACK_SCRATCH + sizeof(struct hpack_fields) <= L7_SCRATCH_SIZE, "side by side");

/* Room for decoded headers, beside that of http.h. */
static inline struct hpack_fields *hpack_scratch(struct l7 *l7)
{
    return (void *)((uint8_t *)l7_scratch(l7) + HPACK_SCRATCH);
}

/* `midstream`: what was put in the table before is not known. The unknown entries read as headers
 * without a name, so the others are still counted right. Null: no memory. */
struct hpack *hpack_create(struct l7 *l7, bool midstream);
void hpack_free(struct l7 *l7, struct hpack *hpack);
/* What the decoding end allows: SETTINGS_HEADER_TABLE_SIZE. */
void hpack_table_size(struct hpack *hpack, uint32_t size);
enum hpack_block {
    HPACK_WHOLE,
    HPACK_UNKNOWN, /* some headers refer to what was not seen: those are left out */
    HPACK_BROKEN,  /* it is cut, or refers to what is not in the table, which is of no use any more;
                      what came before that is there */
};

/* One whole header block. */
enum hpack_block hpack_decode(struct hpack *hpack, const uint8_t *block, size_t size,
                              struct hpack_fields *fields);

/* Keeps headers until trailers have come: adds them to the text; and takes them out again. */
void hpack_save(struct l7 *l7, struct l7_text *text, const struct http_fields *fields);
void hpack_load(const struct l7_text *text, struct hpack_fields *fields);

#endif
