/* redact_path.c - the paths of redact(): `$.a['k'][-1]..b.json().c` (section 8.3). */
#include <string.h>

#include "parse.h"

struct reader {
    const char *text;
    uint32_t size, at;
};

static bool read_part(struct parser *parser, struct reader *reader, struct ast_redact_part *part);
static bool read_step(struct reader *reader, struct ast_step *step);
static bool read_member(struct reader *reader, struct ast_step *step);
static bool read_bracket(struct reader *reader, struct ast_step *step);
static bool read_name(struct reader *reader, struct ast_step *step);
static bool begins(const struct reader *reader, const char *text);
static enum ast_document decoder(const struct reader *reader);

bool redact_path_parse(struct parser *parser, const char *text, uint32_t size,
                       struct ast_redact *ret_redact)
{
    struct reader reader = {.text = text, .size = size};
    uint32_t n = 1, i = 0;
    struct ast_redact_part *part;

    for (; reader.at < size; reader.at++)
        n += decoder(&reader) != AST_NO_DOCUMENT;
    part = parse_alloc(parser, n * sizeof(*part));
    if (part == NULL)
        return false;
    memset(part, 0, n * sizeof(*part));
    reader.at = 0;
    if (size > 0 && (text[0] == '$' || text[0] == '@'))
        reader.at++;
    while (read_part(parser, &reader, &part[i])) {
        if (reader.at == size) {
            *ret_redact = (struct ast_redact){.n = i + 1, .part = part};
            return true;
        }
        if (++i >= n)
            return false;
        part[i].document = decoder(&reader);
        reader.at += part[i].document == AST_JSON ? 7 : 6;
        if (begins(&reader, "...")) /* after a document the same as `..` */
            reader.at++;
    }
    return false;
}

/* Steps up to the end or the next `.json()`; at least one. */
static bool read_part(struct parser *parser, struct reader *reader, struct ast_redact_part *part)
{
    struct ast_step step = {0}, *steps;
    struct reader again;
    uint32_t n = 0;
    bool bare; /* the first name may stand without its dot */

    bare = part->document == AST_NO_DOCUMENT && !begins(reader, ".") && !begins(reader, "[");
    again = *reader;
    while (reader->at < reader->size && decoder(reader) == AST_NO_DOCUMENT) {
        if (!(bare && n == 0 ? read_member : read_step)(reader, &step))
            return false;
        n++;
    }
    if (n == 0)
        return false;
    steps = parse_alloc(parser, n * sizeof(*steps));
    if (steps == NULL)
        return false;
    memset(steps, 0, n * sizeof(*steps));
    part->path = (struct ast_path){.n = n, .step = steps};
    for (uint32_t i = 0; i < n; i++)
        if (!(bare && i == 0 ? read_member : read_step)(&again, &steps[i]))
            return false;
    return true;
}

static bool read_step(struct reader *reader, struct ast_step *step)
{
    if (begins(reader, "["))
        return read_bracket(reader, step);
    if (!begins(reader, "."))
        return false;
    reader->at++;
    if (!begins(reader, "."))
        return read_member(reader, step);
    reader->at++;
    if (!read_name(reader, step))
        return false;
    step->type = AST_DEEP;
    return true;
}

static bool read_member(struct reader *reader, struct ast_step *step)
{
    if (!begins(reader, "*"))
        return read_name(reader, step);
    reader->at++;
    step->type = AST_ALL;
    return true;
}

static bool read_bracket(struct reader *reader, struct ast_step *step)
{
    const char *text = reader->text + ++reader->at, *end;
    uint32_t left = reader->size - reader->at;
    bool negative = begins(reader, "-");

    if (begins(reader, "*]")) {
        reader->at += 2;
        step->type = AST_ALL;
        return true;
    }
    if (left > 0 && (*text == '\'' || *text == '"')) {
        end = memchr(text + 1, *text, left - 1);
        if (end == NULL || (uint32_t)(end - text) + 1 >= left || end[1] != ']')
            return false;
        step->type = AST_KEY;
        step->name = text + 1;
        step->size = (uint32_t)(end - text - 1);
        reader->at += (uint32_t)(end + 2 - text);
        return true;
    }
    end = memchr(text, ']', left);
    if (end == NULL || end == text + negative)
        return false;
    for (const char *at = text + negative; at < end; at++)
        if (*at < '0' || *at > '9')
            return false;
    step->type = AST_INDEX;
    if (!number_read_int(text + negative, (size_t)(end - text) - negative, negative, &step->index))
        step->index = negative ? INT64_MIN : INT64_MAX; /* no array is so long */
    reader->at += (uint32_t)(end + 1 - text);
    return true;
}

static bool read_name(struct reader *reader, struct ast_step *step)
{
    uint32_t first = reader->at;

    while (reader->at < reader->size &&
           memchr(" \t\r\n\v\f.,[]()*'\"", reader->text[reader->at], 15) == NULL)
        reader->at++;
    step->type = AST_KEY;
    step->name = reader->text + first;
    step->size = reader->at - first;
    return step->size > 0;
}

static bool begins(const struct reader *reader, const char *text)
{
    size_t size = strlen(text);

    return reader->size - reader->at >= size && memcmp(reader->text + reader->at, text, size) == 0;
}

static enum ast_document decoder(const struct reader *reader)
{
    if (begins(reader, ".json()"))
        return AST_JSON;
    return begins(reader, ".xml()") ? AST_XML : AST_NO_DOCUMENT;
}
