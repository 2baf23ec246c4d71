/* base64.c - the standard alphabet, with padding (RFC 4648, section 4). */
#include "value.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit_value(char c);

size_t base64_write(char *to, const void *bytes, size_t size)
{
    const uint8_t *b = bytes;
    char *out = to;

    for (size_t at = 0; at < size; at += 3) {
        size_t n = size - at < 3 ? size - at : 3;
        uint32_t group = (uint32_t)b[at] << 16;

        if (n > 1)
            group |= (uint32_t)b[at + 1] << 8;
        if (n > 2)
            group |= b[at + 2];
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = n > 1 ? alphabet[group >> 6 & 63] : '=';
        *out++ = n > 2 ? alphabet[group & 63] : '=';
    }
    return (size_t)(out - to);
}

bool base64_read(const char *text, size_t size, char *to, size_t *ret_size)
{
    size_t padding = 0, n = 0;
    uint32_t group = 0;
    char *out = to;

    for (size_t i = 0; i < size; i++) {
        int value;

        if (text[i] == '\r' || text[i] == '\n')
            continue;
        value = digit_value(text[i]);
        if (text[i] == '=' ? ++padding > 2 : value < 0 || padding > 0)
            return false;
        group = group << 6 | (uint32_t)(value < 0 ? 0 : value);
        if (++n % 4 == 0) {
            *out++ = (char)(group >> 16);
            *out++ = (char)(group >> 8);
            *out++ = (char)group;
        }
    }
    if (n % 4 != 0)
        return false;
    *ret_size = (size_t)(out - to) - padding;
    return true;
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}
