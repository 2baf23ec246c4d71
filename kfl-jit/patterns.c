#include "patterns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hs.h>

static bool translate(const struct patterns_row *row, char *out);
static bool translate_escape(const char *text, size_t size, size_t *at, bool in_class, char **out);
static bool group_is_plain(const char *text, size_t size);
static hs_database_t *compile(struct patterns_row *rows, char **expression, uint32_t n,
                              int *ret_result);
static bool is_ascii(const char *text, size_t size);

int patterns_create(struct patterns_row *rows, uint32_t n, struct patterns **ret_patterns)
{
    char **expression = calloc(n + 1u, sizeof *expression);
    int result = expression ? 0 : -ENOMEM;

    *ret_patterns = NULL;
    for (uint32_t i = 0; i < n && !result; i++) {
        expression[i] = malloc(rows[i].size * 4 + 1);
        if (!expression[i])
            result = -ENOMEM;
        else
            rows[i].taken = translate(&rows[i], expression[i]);
    }
    if (!result)
        *ret_patterns = (struct patterns *)compile(rows, expression, n, &result);
    for (uint32_t i = 0; i < n && expression; i++)
        free(expression[i]);
    free(expression);
    return result;
}

void patterns_free(struct patterns *patterns)
{
    hs_free_database((hs_database_t *)patterns);
}

int patterns_scratch_add(const struct patterns *patterns, struct patterns_scratch **scratch)
{
    return hs_alloc_scratch((const hs_database_t *)patterns, (hs_scratch_t **)scratch) == HS_SUCCESS
               ? 0
               : -ENOMEM;
}

void patterns_scratch_free(struct patterns_scratch *scratch)
{
    hs_free_scratch((hs_scratch_t *)scratch);
}

struct scan {
    uint8_t *found;
    uint8_t value;
};

static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags,
                    void *context)
{
    struct scan *scan = context;

    scan->found[id] = scan->value;
    return 0;
}

bool patterns_scan(const struct patterns *patterns, struct patterns_scratch *scratch,
                   const char *text, size_t size, uint8_t *found, uint8_t value)
{
    struct scan scan = {found, value};

    return size && size <= UINT32_MAX && is_ascii(text, size) &&
           hs_scan((const hs_database_t *)patterns, text, (unsigned)size, 0,
                   (hs_scratch_t *)scratch, on_match, &scan) == HS_SUCCESS;
}

/* What Hyperscan refuses is left out, and the rest tried again. */
static hs_database_t *compile(struct patterns_row *rows, char **expression, uint32_t n,
                              int *ret_result)
{
    const char **texts = calloc(n + 1u, sizeof *texts);
    unsigned *flags = calloc(n + 1u, sizeof *flags), *ids = calloc(n + 1u, sizeof *ids);
    uint32_t *row = calloc(n + 1u, sizeof *row);
    hs_database_t *database = NULL;

    *ret_result = texts && flags && ids && row ? 0 : -ENOMEM;
    for (uint32_t tries = 0; tries <= n && !*ret_result && !database; tries++) {
        hs_compile_error_t *error = NULL;
        uint32_t taken = 0;

        for (uint32_t i = 0; i < n; i++) {
            if (!rows[i].taken)
                continue;
            texts[taken] = expression[i];
            flags[taken] = HS_FLAG_SINGLEMATCH | HS_FLAG_ALLOWEMPTY;
            ids[taken] = rows[i].id;
            row[taken++] = i;
        }
        if (!taken || hs_compile_multi(texts, flags, ids, taken, HS_MODE_BLOCK, NULL, &database,
                                       &error) == HS_SUCCESS)
            break;
        database = NULL;
        if (error->expression >= 0) {
            rows[row[error->expression]].taken = false;
        } else {
            for (uint32_t i = 0; i < n; i++)
                rows[i].taken = false;
        }
        hs_free_compile_error(error);
    }
    free(texts);
    free(flags);
    free(ids);
    free(row);
    return database;
}

/* The pattern as Hyperscan means it. false: something in it means another thing there. */
static bool translate(const struct patterns_row *row, char *out)
{
    const char *text = row->text;
    bool in_class = false;

    if (!row->size || !is_ascii(text, row->size) || memchr(text, 0, row->size))
        return false;
    for (size_t at = 0; at < row->size; at++) {
        char c = text[at];

        if (row->literal) {
            out += sprintf(out, "\\x%02x", (unsigned char)c);
        } else if (c == '\\') {
            if (!translate_escape(text, row->size, &at, in_class, &out))
                return false;
        } else if (in_class) {
            *out++ = c;
            if (c == '[' && at + 1 < row->size && text[at + 1] == ':') {
                const char *end = memmem(text + at, row->size - at, ":]", 2);

                if (!end)
                    return false;
                while (text + ++at < end + 1)
                    *out++ = text[at];
                *out++ = ']';
            }
            in_class = c != ']';
        } else if (c == '[') {
            in_class = true;
            *out++ = c;
            for (unsigned i = 0; i < 2 && at + 1 < row->size; i++)
                if (text[at + 1] == (i ? ']' : '^'))
                    *out++ = text[++at];
        } else if (c == '$') {
            *out++ = '\\';
            *out++ = 'z';
        } else if (c == '(' && !group_is_plain(text + at, row->size - at)) {
            return false;
        } else {
            *out++ = c;
        }
    }
    *out = 0;
    return true;
}

/* \d \w and \b are ASCII in both; \s \v \Q \p and octal numbers are not the same. */
static bool translate_escape(const char *text, size_t size, size_t *at, bool in_class, char **out)
{
    char c = *at + 1 < size ? text[*at + 1] : 0;
    bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

    if (!c || (letter && !strchr(in_class ? "dDwWnrtfx" : "dDwWnrtfxbAz", c)) ||
        (c == 'x' && (*at + 2 >= size || text[*at + 2] == '{')))
        return false;
    *(*out)++ = '\\';
    *(*out)++ = c;
    ++*at;
    return true;
}

/* A group without flags, or with (?i) (?s), with or without colon. */
static bool group_is_plain(const char *text, size_t size)
{
    size_t at = 2;

    if (size < 2 || text[1] != '?')
        return true;
    while (at < size && (text[at] == 'i' || text[at] == 's'))
        at++;
    return at < size && (text[at] == ':' || text[at] == ')');
}

static bool is_ascii(const char *text, size_t size)
{
    uint64_t high = 0;
    size_t at = 0;

    for (; at + 8 <= size; at += 8) {
        uint64_t word;

        memcpy(&word, text + at, 8);
        high |= word;
    }
    for (; at < size; at++)
        high |= (uint64_t)(unsigned char)text[at];
    return !(high & UINT64_C(0x8080808080808080));
}
