/* http_body.c - content codings undone. The door to zlib's, Brotli's and Zstandard's decoders.
 *
 * Their memory comes from the classifier's scratch: nothing is allocated for a body, and a body
 * whose decoder wants more than there is stays coded. */
#include <brotli/decode.h>
#include <string.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zlib.h>
#include <zstd.h>

#include "http.h"

enum { COUNTED_MAX = 64 << 20 /* bytes that a bomb may count up to */ };

struct out { /* what comes out: the first bytes are kept, the rest is counted */
    uint8_t *at;
    size_t capacity, size;
    uint64_t total;
    uint8_t spill[4096];
    struct http_scratch *scratch;
};

static bool inflate_all(int window, struct http_text in, struct out *out);
static bool brotli_all(struct http_text in, struct out *out);
static bool zstd_all(struct http_text in, struct out *out);
static uint8_t *out_room(struct out *out, size_t *ret_size);
static void out_took(struct out *out, size_t n);
static void *region_take(void *opaque, size_t size);
static void *region_take_items(void *opaque, unsigned n, unsigned size);
static void region_give(void *opaque, void *memory);

bool http_decode(struct http_scratch *scratch, enum http_coding coding, struct http_text in,
                 uint32_t *ret_size, uint64_t *ret_total)
{
    struct out out;
    bool ok = false;

    out.at = scratch->decoded;
    out.capacity = sizeof(scratch->decoded);
    out.size = 0;
    out.total = 0;
    out.scratch = scratch;
    scratch->region_used = 0;
    switch (coding) {
    case HTTP_CODING_GZIP:
        ok = inflate_all(15 + 16, in, &out);
        break;
    case HTTP_CODING_DEFLATE:
        ok = inflate_all(15, in, &out);
        if (!ok && !out.total) {
            scratch->region_used = 0;
            ok = inflate_all(-15, in, &out);
        }
        break;
    case HTTP_CODING_BROTLI:
        ok = brotli_all(in, &out);
        break;
    case HTTP_CODING_ZSTD:
        ok = zstd_all(in, &out);
        break;
    case HTTP_CODING_NONE:
    case HTTP_CODING_UNKNOWN:
        break;
    }
    *ret_size = (uint32_t)out.size;
    *ret_total = out.total;
    return ok;
}

static bool inflate_all(int window, struct http_text in, struct out *out)
{
    z_stream z = {.zalloc = region_take_items, .zfree = region_give, .opaque = out->scratch};
    int r = Z_OK;

    if (inflateInit2(&z, window) != Z_OK)
        return false;
    z.next_in = (uint8_t *)in.at;
    z.avail_in = in.size;
    while (r == Z_OK && out->total < COUNTED_MAX) {
        size_t room;

        z.next_out = out_room(out, &room);
        z.avail_out = (unsigned)room;
        r = inflate(&z, Z_NO_FLUSH);
        out_took(out, room - z.avail_out);
        if (r == Z_STREAM_END && z.avail_in && window > 15) { /* members may follow */
            if (inflateReset(&z) != Z_OK)
                break;
            r = Z_OK;
        }
    }
    inflateEnd(&z);
    return r == Z_STREAM_END || r == Z_OK || r == Z_BUF_ERROR;
}

static bool brotli_all(struct http_text in, struct out *out)
{
    BrotliDecoderState *state = BrotliDecoderCreateInstance(region_take, region_give, out->scratch);
    BrotliDecoderResult r = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    const uint8_t *next = in.at;
    size_t left = in.size;

    if (!state)
        return false;
    while (r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && out->total < COUNTED_MAX) {
        size_t room, before;
        uint8_t *at = out_room(out, &room);

        before = room;
        r = BrotliDecoderDecompressStream(state, &left, &next, &room, &at, NULL);
        out_took(out, before - room);
    }
    BrotliDecoderDestroyInstance(state);
    return r != BROTLI_DECODER_RESULT_ERROR;
}

static bool zstd_all(struct http_text in, struct out *out)
{
    ZSTD_DStream *stream =
        ZSTD_initStaticDStream(out->scratch->region, sizeof(out->scratch->region));
    ZSTD_inBuffer input = {.src = in.at, .size = in.size};
    size_t r = 1;

    if (!stream)
        return false;
    while (out->total < COUNTED_MAX) {
        ZSTD_outBuffer output = {0};

        output.dst = out_room(out, &output.size);
        r = ZSTD_decompressStream(stream, &output, &input);
        out_took(out, output.pos);
        if (ZSTD_isError(r) || !r || (input.pos == input.size && output.pos < output.size))
            break;
    }
    return !ZSTD_isError(r);
}

static uint8_t *out_room(struct out *out, size_t *ret_size)
{
    if (out->size < out->capacity) {
        *ret_size = out->capacity - out->size;
        return out->at + out->size;
    }
    *ret_size = sizeof(out->spill);
    return out->spill;
}

static void out_took(struct out *out, size_t n)
{
    if (out->size < out->capacity)
        out->size += n;
    out->total += n;
}

static void *region_take(void *opaque, size_t size)
{
    struct http_scratch *scratch = opaque;
    void *at = scratch->region + scratch->region_used;

    size = (size + 63) & ~(size_t)63;
    if (size > sizeof(scratch->region) - scratch->region_used)
        return NULL;
    scratch->region_used += size;
    return at;
}

static void *region_take_items(void *opaque, unsigned n, unsigned size)
{
    return region_take(opaque, (size_t)n * size);
}

static void region_give(void *opaque, void *memory)
{
    (void)opaque;
    (void)memory;
}
