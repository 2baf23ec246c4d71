#include "entry_summary.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *at;
    size_t left; /* bytes before the final 0 */
};

/* What says most about a half, in order; the first `SUMMARY_WORDS` that are there are shown. */
static const char *const words[] = {
    "method",    "opcode",   "command", "apiKeyName", "operation", "operationType",
    "type",      "typeName", "code",    "path",       "query",     "key",
    "questions", "name",     "status",  "statusText", "sni",       "error",
};
enum { SUMMARY_WORDS = 2, WORD_SIZE_MAX = 120 };

static const struct kfl_value *member(const struct kfl_value *object, const char *key);
static void put(struct text *text, const char *bytes, size_t size);
static void put_value(struct text *text, const struct kfl_value *value);
static void put_half(struct text *text, const struct kfl_value *half);

int entry_summary(const struct kfl_value *entry, char *buffer, size_t size)
{
    struct text text = {.at = buffer, .left = size ? size - 1 : 0};
    const struct kfl_value *abbr = member(member(entry, "protocol"), "abbr");
    const struct kfl_value *response = member(entry, "response");
    const struct kfl_value *error = member(member(entry, "error"), "type");

    if (!size)
        return 0;
    if (abbr)
        put_value(&text, abbr);
    put_half(&text, member(entry, "request"));
    if (response && response->type == KFL_OBJECT) {
        put(&text, " ->", 3);
        put_half(&text, response);
    }
    if (error) {
        put(&text, " ", 1);
        put_value(&text, error);
    }
    *text.at = 0;
    return (int)(text.at - buffer);
}

static void put_half(struct text *text, const struct kfl_value *half)
{
    unsigned n = 0;

    for (size_t i = 0; i < sizeof(words) / sizeof(*words) && n < SUMMARY_WORDS; i++) {
        const struct kfl_value *value = member(half, words[i]);

        if (value && value->type == KFL_ARRAY)
            value = member(value->first, "name");
        if (!value || value->type == KFL_NULL || value->type >= KFL_ARRAY ||
            value->type == KFL_BOOL)
            continue;
        if (value->type == KFL_STRING && !value->size)
            continue;
        put(text, " ", 1);
        put_value(text, value);
        n++;
    }
}

static const struct kfl_value *member(const struct kfl_value *object, const char *key)
{
    size_t size = strlen(key);

    if (!object || object->type != KFL_OBJECT)
        return NULL;
    for (const struct kfl_value *child = object->first; child; child = child->next)
        if (child->key_size == size && !memcmp(child->key, key, size))
            return child;
    return NULL;
}

static void put_value(struct text *text, const struct kfl_value *value)
{
    char number[32];

    switch (value->type) {
    case KFL_STRING:
        put(text, value->text, value->size < WORD_SIZE_MAX ? value->size : WORD_SIZE_MAX);
        break;
    case KFL_INT:
        put(text, number, (size_t)snprintf(number, sizeof(number), "%" PRId64, value->integer));
        break;
    case KFL_FLOAT:
        put(text, number, (size_t)snprintf(number, sizeof(number), "%g", value->number));
        break;
    default:
        break;
    }
}

static void put(struct text *text, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size && text->left; i++, text->left--)
        *text->at++ = (unsigned char)bytes[i] < ' ' ? ' ' : bytes[i];
}
