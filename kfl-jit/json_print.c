/* json_print.c - values as one line of JSON. What it prints reads back as the same value. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval.h"

struct writer {
    char *buffer;
    size_t size, n; /* n: bytes that were to be written, also beyond the size */
};

static void write_value(struct writer *writer, const struct kfl_value *value);
static void write_float(struct writer *writer, double number);
static void write_string(struct writer *writer, const char *text, size_t size);
static size_t plain_size(const char *text, size_t size);
static unsigned line_end(const char *text, size_t size, uint32_t *ret_character);
static void write_escape(struct writer *writer, uint32_t unit);
static void put(struct writer *writer, const char *text, size_t size);

int kfl_json_print(const struct kfl_value *value, char *buffer, size_t size)
{
    size_t n = json_write(value, buffer, size > 0 ? size - 1 : 0);

    if (n >= size)
        return -ENOSPC;
    buffer[n] = 0;
    return (int)n;
}

size_t json_write(const struct kfl_value *value, char *buffer, size_t size)
{
    struct writer writer = {.buffer = buffer, .size = size};

    write_value(&writer, value);
    return writer.n;
}

static void write_value(struct writer *writer, const struct kfl_value *value)
{
    char buffer[VALUE_TEXT_MAX];
    struct kfl_slice text;

    switch (value->type) {
    case KFL_FLOAT:
        write_float(writer, value->number);
        return;
    case KFL_STRING:
        write_string(writer, value->text, value->size);
        return;
    case KFL_ARRAY:
    case KFL_OBJECT:
        put(writer, value->type == KFL_ARRAY ? "[" : "{", 1);
        for (const struct kfl_value *child = value->first; child != NULL; child = child->next) {
            if (child != value->first)
                put(writer, ",", 1);
            if (value->type == KFL_OBJECT) {
                write_string(writer, child->key, child->key_size);
                put(writer, ":", 1);
            }
            write_value(writer, child);
        }
        put(writer, value->type == KFL_ARRAY ? "]" : "}", 1);
        return;
    default:
        text = value_text(value, buffer);
        put(writer, text.size > 0 ? text.text : "null", text.size > 0 ? text.size : 4);
    }
}

/* It stays a float for every reader: 5.0, and 1e999 for what JSON has no word. */
static void write_float(struct writer *writer, double number)
{
    char buffer[VALUE_TEXT_MAX];
    size_t size = number_float_text(number, buffer);

    if (isnan(number)) {
        put(writer, "null", 4);
    } else if (isinf(number)) {
        put(writer, number > 0 ? "1e999" : "-1e999", number > 0 ? 5 : 6);
    } else {
        put(writer, buffer, size);
        if (memchr(buffer, '.', size) == NULL && memchr(buffer, 'e', size) == NULL)
            put(writer, ".0", 2);
    }
}

static void write_string(struct writer *writer, const char *text, size_t size)
{
    static const char letters[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";

    put(writer, "\"", 1);
    while (size > 0) {
        size_t n = plain_size(text, size);
        uint32_t character;
        uint8_t c;

        put(writer, text, n);
        text += n;
        size -= n;
        if (size == 0)
            break;
        c = (uint8_t)*text;
        n = 1;
        if (c != 0 && strchr(letters, c) != NULL) {
            char escape[2] = {'\\', names[strchr(letters, c) - letters]};

            put(writer, escape, 2);
        } else if (c < 0x20) {
            write_escape(writer, c);
        } else if (line_end(text, size, &character) > 0) {
            write_escape(writer, character);
            n = line_end(text, size, &character);
        } else if (size >= 3 && c == 0xed && ((uint8_t)text[1] & 0xe0) == 0xa0) {
            /* a lone surrogate, from an escape in JSON */
            write_escape(writer, 0xd000 | ((uint32_t)text[1] & 0x3f) << 6 | (text[2] & 0x3f));
            n = 3;
        } else {
            write_escape(writer, 0xfffd);
        }
        text += n;
        size -= n;
    }
    put(writer, "\"", 1);
}

/* Bytes at the beginning that stand for themselves. */
static size_t plain_size(const char *text, size_t size)
{
    size_t at = 0;
    uint32_t character;

    while (at < size) {
        uint8_t c = (uint8_t)text[at];
        unsigned length;

        if (c < 0x20 || c == '"' || c == '\\')
            break;
        length = utf8_length(text + at, size - at);
        if (length == 0 || line_end(text + at, size - at, &character) > 0)
            break;
        at += length;
    }
    return at;
}

/* U+0085, U+2028, U+2029: some readers take them for the end of a line. -> bytes, or 0. */
static unsigned line_end(const char *text, size_t size, uint32_t *ret_character)
{
    if (size >= 2 && memcmp(text, "\xc2\x85", 2) == 0) {
        *ret_character = 0x85;
        return 2;
    }
    if (size < 3 || (memcmp(text, "\xe2\x80\xa8", 3) != 0 && memcmp(text, "\xe2\x80\xa9", 3) != 0))
        return 0;
    *ret_character = 0x2000 | ((uint32_t)text[2] & 0x3f);
    return 3;
}

static void write_escape(struct writer *writer, uint32_t unit)
{
    char text[8];

    snprintf(text, sizeof(text), "\\u%04x", unit & 0xffff);
    put(writer, text, 6);
}

static void put(struct writer *writer, const char *text, size_t size)
{
    if (size > 0 && writer->n + size <= writer->size)
        memcpy(writer->buffer + writer->n, text, size);
    writer->n += size;
}
