/* utf8.c - characters in bytes, by RFC 3629. */
#include <stdint.h>
#include <string.h>

#include "value.h"

#define NOT_ASCII VALUE_BYTES(0x80)

unsigned utf8_length(const char *text, size_t size)
{
    const uint8_t *b = (const uint8_t *)text;
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */
    unsigned length;

    if (b[0] < 0x80)
        return 1;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    length = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (b[0] == 0xe0)
        low = 0xa0; /* else it would fit two bytes */
    else if (b[0] == 0xed)
        high = 0x9f; /* else a surrogate */
    else if (b[0] == 0xf0)
        low = 0x90; /* else it would fit three bytes */
    else if (b[0] == 0xf4)
        high = 0x8f; /* else beyond U+10FFFF */
    if (size < length || b[1] < low || b[1] > high)
        return 0;
    for (unsigned i = 2; i < length; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* How much of it is ASCII from its beginning on: nearly all text is, all of it. */
static inline size_t ascii_size(const char *text, size_t size)
{
    size_t at = 0;
    uint64_t bytes;

    if (size < 16) {
        bytes = value_head(text, (uint32_t)size) | (size > 8 ? value_head(text + size - 8, 8) : 0);
    } else {
        for (bytes = 0; at + 16 <= size && !(bytes & NOT_ASCII); at += 16)
            bytes = value_head(text + at, 8) | value_head(text + at + 8, 8);
        bytes |= value_head(text + size - 16, 8) | value_head(text + size - 8, 8);
    }
    if (!(bytes & NOT_ASCII))
        return size;
    for (at = 0; at + 8 <= size && !(value_head(text + at, 8) & NOT_ASCII);)
        at += 8;
    while (at < size && !(text[at] & 0x80))
        at++;
    return at;
}

bool utf8_valid(const char *text, size_t size)
{
    for (size_t at = ascii_size(text, size); at < size;) {
        unsigned length = utf8_length(text + at, size - at);

        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

unsigned utf8_put(uint32_t character, char buffer[static 4])
{
    if (character < 0x80) {
        buffer[0] = (char)character;
        return 1;
    }
    if (character < 0x800) {
        buffer[0] = (char)(0xc0 | character >> 6);
        buffer[1] = (char)(0x80 | (character & 0x3f));
        return 2;
    }
    if (character < 0x10000) {
        buffer[0] = (char)(0xe0 | character >> 12);
        buffer[1] = (char)(0x80 | (character >> 6 & 0x3f));
        buffer[2] = (char)(0x80 | (character & 0x3f));
        return 3;
    }
    buffer[0] = (char)(0xf0 | character >> 18);
    buffer[1] = (char)(0x80 | (character >> 12 & 0x3f));
    buffer[2] = (char)(0x80 | (character >> 6 & 0x3f));
    buffer[3] = (char)(0x80 | (character & 0x3f));
    return 4;
}

size_t utf8_clean_size(const char *text, size_t size)
{
    size_t clean = ascii_size(text, size);

    for (size_t at = clean; at < size;) {
        unsigned length = utf8_length(text + at, size - at);

        clean += length == 0 ? 3 : length;
        at += length == 0 ? 1 : length;
    }
    return clean;
}

void utf8_clean_copy(void *to, const char *text, size_t size, size_t clean_size)
{
    char *out = to;

    if (clean_size == size) { /* what is put in makes it longer */
        if (size)
            memcpy(to, text, size);
        return;
    }
    for (size_t at = 0; at < size;) {
        unsigned length = utf8_length(text + at, size - at);

        if (length == 0) {
            out += utf8_put(0xfffd, out);
            at++;
            continue;
        }
        memcpy(out, text + at, length);
        out += length;
        at += length;
    }
}
