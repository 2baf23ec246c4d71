/* http.h - what HTTP/1 and HTTP/2 have in common: from the parts of a message to its facts.
 *
 * Texts are views into the caller's bytes. Only what the tape's demand names costs anything. */
#ifndef DATAPLANE_PROTO_HTTP_H
#define DATAPLANE_PROTO_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "../l7.h"

enum { HTTP_FIELDS_MAX = 256 };

struct http_text {
    const uint8_t *at;
    uint32_t size;
};

struct http_field { /* a header as it came; the value without white space around it */
    struct http_text name, value;
    bool folded; /* the value has line breaks */
};

struct http_fields {
    uint32_t n;
    bool more; /* there were more: left out */
    struct http_field field[HTTP_FIELDS_MAX];
};

enum http_coding {
    HTTP_CODING_NONE,
    HTTP_CODING_GZIP,    /* also x-gzip */
    HTTP_CODING_DEFLATE, /* zlib, or raw as some send it */
    HTTP_CODING_BROTLI,
    HTTP_CODING_ZSTD,
    HTTP_CODING_UNKNOWN,
};

/* What framing, body and entry need to know of the headers. */
struct http_known {
    int64_t content_length;   /* -1 without, -2 contradictory */
    struct http_text type;    /* Content-Type, whole */
    struct http_text upgrade; /* Upgrade */
    struct http_text location;
    uint8_t coding; /* enum http_coding */
    bool chunked;
    bool connection_upgrade, connection_close, connection_keep_alive;
    bool grpc_status; /* there is a Grpc-Status */
};

static inline bool http_text_is(struct http_text text, const char *lower)
{
    return text.size == strlen(lower) && (!text.size || (text.at[0] | 0x20) == (*lower | 0x20)) &&
           !strncasecmp((const char *)text.at, lower, text.size);
}

static inline bool http_text_begins(struct http_text text, const char *lower)
{
    size_t n = strlen(lower);

    return text.size >= n && !strncasecmp((const char *)text.at, lower, n);
}

/* Does `list` have this token? Tokens are separated by commas; parameters are passed over. */
bool http_list_has(struct http_text list, const char *lower);

bool http_has(const struct http_fields *fields, const char *lower);

/* Looks at one header and remembers it if it is one of the known. */
void http_know(struct http_known *known, const struct http_field *field);

/* Memory for the time of a call: l7_scratch() of the classifier. */
struct http_scratch {
    uint8_t decoded[64 << 10]; /* a body with its coding undone */
    char key[256], value[64 << 10];
    size_t region_used;
    _Alignas(64) uint8_t region[9 << 20]; /* of the decoders: a window of 8 MiB */
};
_Static_assert(sizeof(struct http_scratch) <= L7_SCRATCH_SIZE, "");

/* ---- facts ---- */
/* From the target: url, targetUri, path, pathSegments, queryString, grpcService, grpcMethod. */
void http_target_facts(struct fact_tape *tape, struct http_scratch *scratch,
                       struct http_text target, bool grpc);
/* headers and cookies of a side. */
void http_header_facts(struct fact_tape *tape, enum kfl_side side,
                       const struct http_fields *fields);
/* grpcStatus and grpcMessage */
void http_grpc_facts(struct fact_tape *tape, const struct http_fields *fields);

struct http_body {
    struct http_text type;  /* Content-Type, whole */
    struct http_text bytes; /* as transferred, without chunk framing, perhaps cut */
    uint64_t size;          /* bytes that were transferred */
    uint8_t coding;         /* enum http_coding */
};

/* Is the body's text asked for: does it have to be collected? `gql`: it may be GraphQL. */
bool http_body_wanted(const struct kfl_demand *demand, enum kfl_side side, bool gql);
/* Is anything asked for that is known only when the body has passed by? */
bool http_end_wanted(const struct kfl_demand *demand, enum kfl_side side);
/* postData, body, bodySize; content. -> the body with its content coding undone, in the scratch. */
struct http_text http_body_facts(struct fact_tape *tape, struct http_scratch *scratch,
                                 enum kfl_side side, const struct http_body *body);

/* May this request be GraphQL, if its body is? And is it: writes gqlOperation and gqlName. */
bool http_gql_possible(struct http_text method, struct http_text type);
bool http_gql_facts(struct fact_tape *tape, struct http_scratch *scratch, struct http_text body);

/* ---- http_body.c: content codings ---- */
/* Undoes the coding: the first bytes are written to scratch->decoded, the rest is counted.
 * -> false: it is not what it says (what came out before that is there). */
bool http_decode(struct http_scratch *scratch, enum http_coding coding, struct http_text in,
                 uint32_t *ret_size, uint64_t *ret_total);

#endif
