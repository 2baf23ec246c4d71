/* cursor.h - reading bytes that nobody vouches for.
 *
 * A cursor cannot pass its end: a read that would go beyond gives zeros and sets `short_`, which
 * is asked once after a group of reads. Network byte order unless the name says le. */
#ifndef DATAPLANE_CURSOR_H
#define DATAPLANE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *at, *end;
    bool short_; /* something was read beyond the end */
};

static inline struct cursor cursor_of(const void *data, size_t size)
{
    /* Nothing may lie at null: C allows no arithmetic there, not even + 0. */
    return (struct cursor){.at = data, .end = size ? (const uint8_t *)data + size : data};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* n bytes, or null (and short_) when there are fewer. */
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t n)
{
    const uint8_t *at = c->at;

    if (cursor_left(c) < n) {
        c->short_ = true;
        c->at = c->end;
        return NULL;
    }
    c->at += n;
    return at;
}

/* The next n bytes as a cursor of their own; empty and short_ when there are fewer. */
static inline struct cursor cursor_sub(struct cursor *c, size_t n)
{
    const uint8_t *at = cursor_bytes(c, n);

    return at ? cursor_of(at, n) : (struct cursor){.at = c->end, .end = c->end, .short_ = true};
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    const uint8_t *b = cursor_bytes(c, 1);

    return b ? b[0] : 0;
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    const uint8_t *b = cursor_bytes(c, 2);

    return (uint16_t)(b ? b[0] << 8 | b[1] : 0);
}

static inline uint32_t cursor_u24(struct cursor *c)
{
    const uint8_t *b = cursor_bytes(c, 3);

    return b ? (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2] : 0;
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    const uint8_t *b = cursor_bytes(c, 4);

    return b ? (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3] : 0;
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    uint64_t high = cursor_u32(c);

    return high << 32 | cursor_u32(c);
}

static inline uint16_t cursor_le16(struct cursor *c)
{
    return __builtin_bswap16(cursor_u16(c));
}

static inline uint32_t cursor_le24(struct cursor *c)
{
    const uint8_t *b = cursor_bytes(c, 3);

    return b ? (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0] : 0;
}

static inline uint32_t cursor_le32(struct cursor *c)
{
    return __builtin_bswap32(cursor_u32(c));
}

static inline uint64_t cursor_le64(struct cursor *c)
{
    return __builtin_bswap64(cursor_u64(c));
}

#endif
