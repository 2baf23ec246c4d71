/* json.c - RFC 8259 to values, and back. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval.h"

const char kfl_json_no_memory[] = "too large";

struct reader {
    struct kfl_arena *arena;
    const char *at, *end;
    const char *what; /* what is wrong; null: nothing yet */
    unsigned depth;
};

static bool read_value(struct reader *reader, struct kfl_value *value);
static bool read_children(struct reader *reader, struct kfl_value *parent, char close);
static bool read_key(struct reader *reader, struct kfl_value *child);
static bool read_string(struct reader *reader, const char **ret_text, uint32_t *ret_size);
static bool read_escapes(struct reader *reader, const char *first, const char **ret_text,
                         uint32_t *ret_size);
static bool read_escape(struct reader *reader, char **out);
static bool read_hex(struct reader *reader, uint32_t *ret_unit);
static bool read_number(struct reader *reader, struct kfl_value *value);
static bool read_word(struct reader *reader, const char *word);
static void skip_blank(struct reader *reader);
static bool refuse(struct reader *reader, const char *what);

struct kfl_value *kfl_json_parse(struct kfl_arena *arena, const char *text, size_t size,
                                 const char **reterr_what)
{
    struct reader reader = {.arena = arena, .at = text, .end = text + size};
    struct kfl_value *value = kfl_arena_alloc(arena, sizeof(*value));
    bool done;

    if (value == NULL || size > UINT32_MAX) {
        *reterr_what = kfl_json_no_memory;
        return NULL;
    }
    memset(value, 0, sizeof(*value));
    skip_blank(&reader);
    done = read_value(&reader, value);
    skip_blank(&reader);
    if (done && reader.at == reader.end)
        return value;
    *reterr_what = reader.what != NULL ? reader.what : "something follows the value";
    return NULL;
}

static bool read_value(struct reader *reader, struct kfl_value *value)
{
    if (reader->at == reader->end)
        return refuse(reader, "unexpected end");
    switch (*reader->at) {
    case '{':
        value->type = KFL_OBJECT;
        return read_children(reader, value, '}') &&
               (value_drop_repeated(reader->arena, value) || refuse(reader, kfl_json_no_memory));
    case '[':
        value->type = KFL_ARRAY;
        return read_children(reader, value, ']');
    case '"':
        value->type = KFL_STRING;
        return read_string(reader, &value->text, &value->size);
    case 't':
        value->type = KFL_BOOL;
        value->boolean = true;
        return read_word(reader, "true");
    case 'f':
        value->type = KFL_BOOL;
        return read_word(reader, "false");
    case 'n':
        value->type = KFL_NULL;
        return read_word(reader, "null");
    default:
        return read_number(reader, value);
    }
}

static bool read_children(struct reader *reader, struct kfl_value *parent, char close)
{
    if (++reader->depth > KFL_JSON_DEPTH_MAX)
        return refuse(reader, "nested too deeply");
    reader->at++;
    skip_blank(reader);
    if (reader->at < reader->end && *reader->at == close) {
        reader->at++;
        reader->depth--;
        return true;
    }
    for (;;) {
        struct kfl_value *child = kfl_arena_alloc(reader->arena, sizeof(*child));

        if (child == NULL)
            return refuse(reader, kfl_json_no_memory);
        memset(child, 0, sizeof(*child));
        if ((close == '}' && !read_key(reader, child)) || !read_value(reader, child))
            return false;
        if (parent->last == NULL)
            parent->first = child;
        else
            parent->last->next = child;
        parent->last = child;
        parent->size++;
        skip_blank(reader);
        if (reader->at == reader->end)
            return refuse(reader, "unexpected end");
        if (*reader->at == close)
            break;
        if (*reader->at != ',')
            return refuse(reader, "expected a comma");
        reader->at++;
        skip_blank(reader);
    }
    reader->at++;
    reader->depth--;
    return true;
}

static bool read_key(struct reader *reader, struct kfl_value *child)
{
    if (reader->at == reader->end || *reader->at != '"')
        return refuse(reader, "expected the name of a member");
    if (!read_string(reader, &child->key, &child->key_size))
        return false;
    skip_blank(reader);
    if (reader->at == reader->end || *reader->at != ':')
        return refuse(reader, "expected a colon");
    reader->at++;
    skip_blank(reader);
    return true;
}

static bool read_string(struct reader *reader, const char **ret_text, uint32_t *ret_size)
{
    const char *first = ++reader->at;

    while (reader->at < reader->end) {
        uint8_t c = (uint8_t)*reader->at;
        unsigned length = 1;

        if (c == '"') {
            *ret_text = first;
            *ret_size = (uint32_t)(reader->at++ - first);
            return true;
        }
        if (c == '\\')
            return read_escapes(reader, first, ret_text, ret_size);
        if (c < 0x20)
            return refuse(reader, "control character in a string");
        if (c >= 0x80)
            length = utf8_length(reader->at, (size_t)(reader->end - reader->at));
        if (length == 0)
            return refuse(reader, "not UTF-8");
        reader->at += length;
    }
    return refuse(reader, "a string is not closed");
}

/* The rest of a string with escapes, copied. It only gets shorter. */
static bool read_escapes(struct reader *reader, const char *first, const char **ret_text,
                         uint32_t *ret_size)
{
    const char *quote = reader->at;
    char *copy, *out;

    while (quote < reader->end && *quote != '"')
        quote += *quote == '\\' ? 2 : 1;
    if (quote >= reader->end)
        return refuse(reader, "a string is not closed");
    copy = kfl_arena_alloc(reader->arena, (size_t)(quote - first));
    if (copy == NULL)
        return refuse(reader, kfl_json_no_memory);
    memcpy(copy, first, (size_t)(reader->at - first));
    out = copy + (reader->at - first);
    while (reader->at < quote) {
        unsigned length;

        if (*reader->at == '\\') {
            if (!read_escape(reader, &out))
                return false;
            continue;
        }
        if ((uint8_t)*reader->at < 0x20)
            return refuse(reader, "control character in a string");
        length = utf8_length(reader->at, (size_t)(quote - reader->at));
        if (length == 0)
            return refuse(reader, "not UTF-8");
        memcpy(out, reader->at, length);
        out += length;
        reader->at += length;
    }
    reader->at = quote + 1;
    *ret_text = copy;
    *ret_size = (uint32_t)(out - copy);
    return true;
}

static bool read_escape(struct reader *reader, char **out)
{
    static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    const char *letter = strchr(letters, reader->at[1]);
    uint32_t unit, low;

    reader->at += 2;
    if (letter != NULL && *letter != 0) {
        *(*out)++ = meaning[letter - letters];
        return true;
    }
    if (reader->at[-1] != 'u' || !read_hex(reader, &unit))
        return refuse(reader, "invalid escape in a string");
    if (unit >= 0xd800 && unit < 0xdc00 && reader->end - reader->at >= 6 && reader->at[0] == '\\' &&
        reader->at[1] == 'u') {
        reader->at += 2;
        if (!read_hex(reader, &low))
            return refuse(reader, "invalid escape in a string");
        if (low >= 0xdc00 && low < 0xe000)
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        else
            reader->at -= 6; /* a lone surrogate; the next escape is one of its own */
    }
    *out += utf8_put(unit, *out);
    return true;
}

static bool read_hex(struct reader *reader, uint32_t *ret_unit)
{
    uint32_t unit = 0;

    if (reader->end - reader->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *reader->at++, lower = (char)(c | 32);

        if (c >= '0' && c <= '9')
            unit = unit << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            unit = unit << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return false;
    }
    *ret_unit = unit;
    return true;
}

static bool read_number(struct reader *reader, struct kfl_value *value)
{
    const char *first = reader->at, *at = first, *end = reader->end, *digits;
    bool negative = *at == '-', whole = true;

    digits = at += negative;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    if (at == digits || (*digits == '0' && at - digits > 1))
        return refuse(reader, "this is no value");
    if (at + 1 < end && *at == '.' && at[1] >= '0' && at[1] <= '9') {
        whole = false;
        for (at++; at < end && *at >= '0' && *at <= '9';)
            at++;
    }
    if (at < end && (*at | 32) == 'e') {
        const char *exponent = at + 1;

        if (exponent < end && (*exponent == '+' || *exponent == '-'))
            exponent++;
        if (exponent < end && *exponent >= '0' && *exponent <= '9') {
            whole = false;
            for (at = exponent; at < end && *at >= '0' && *at <= '9';)
                at++;
        }
    }
    reader->at = at;
    value->type = KFL_INT;
    if (whole && number_read_int(digits, (size_t)(at - digits), negative, &value->integer))
        return true;
    value->type = KFL_FLOAT;
    if (!number_read(digits, (size_t)(at - digits), &value->number))
        value->number = INFINITY;
    if (negative)
        value->number = -value->number;
    return true;
}

static bool read_word(struct reader *reader, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0)
        return refuse(reader, "this is no value");
    reader->at += size;
    return true;
}

static void skip_blank(struct reader *reader)
{
    while (reader->at < reader->end && memchr(" \t\r\n", *reader->at, 4) != NULL)
        reader->at++;
}

static bool refuse(struct reader *reader, const char *what)
{
    if (reader->what == NULL)
        reader->what = what;
    return false;
}
