/* statement.c - the life of a statement, its messages, and how it is shown. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "value.h"

/* Address space for the tree of the longest statement; pages come as they are used. */
#define STATEMENT_ARENA_SIZE ((size_t)96 << 20)

int kfl_statement_create(const char *text, size_t size, int64_t now_ms,
                         struct kfl_statement **ret_statement, struct kfl_messages *messages)
{
    struct kfl_statement *statement = calloc(1, sizeof(*statement));
    int result;

    if (messages != NULL)
        messages->n = messages->more = 0;
    if (statement == NULL)
        return -ENOMEM;
    statement->arena = kfl_arena_create(STATEMENT_ARENA_SIZE);
    statement->text = malloc(size + 1);
    result = statement->arena == NULL || statement->text == NULL ? -ENOMEM : 0;
    if (result == 0) {
        memcpy(statement->text, text, size);
        statement->text[size] = 0;
        statement->size = size;
        statement->now_ms = now_ms;
        result = ast_parse(statement, messages);
    }
    if (result < 0) {
        kfl_statement_free(statement);
        return result;
    }
    if (messages != NULL)
        check_warnings(statement, messages);
    *ret_statement = statement;
    return 0;
}

void kfl_statement_free(struct kfl_statement *statement)
{
    if (statement == NULL)
        return;
    for (struct ast_regex *regex = statement->regexes; regex != NULL; regex = regex->next)
        kfl_regex_free(regex->regex);
    kfl_arena_free(statement->arena);
    free(statement->text);
    free(statement);
}

const char *kfl_statement_text(const struct kfl_statement *statement)
{
    return statement->text;
}

int64_t kfl_statement_limit(const struct kfl_statement *statement)
{
    return statement->limit;
}

int kfl_message_format(const struct kfl_message *message, char *buffer, size_t size)
{
    return snprintf(buffer, size, "%u:%u: %s", message->line, message->column, message->text);
}

int kfl_message_caret(const struct kfl_message *message, const char *text, size_t text_size,
                      char *buffer, size_t size)
{
    uint32_t first = message->offset < text_size ? message->offset : (uint32_t)text_size;
    uint32_t end = first;
    char blanks[512];
    uint32_t n = 0;

    while (first > 0 && text[first - 1] != '\n')
        first--;
    while (end < text_size && text[end] != '\n')
        end++;
    for (; n + 1 < message->column && n + 1 < sizeof(blanks); n++)
        blanks[n] = ' ';
    /* A tab stays one, or the caret would miss. */
    for (uint32_t i = 0, at = first; i < n && at < message->offset; i++) {
        unsigned length = utf8_length(text + at, text_size - at);

        if (text[at] == '\t')
            blanks[i] = '\t';
        at += length > 0 ? length : 1;
    }
    blanks[n] = 0;
    return snprintf(buffer, size, "%.*s\n%s^", (int)(end - first), text + first, blanks);
}

void kfl_position(const char *text, size_t size, uint32_t offset, uint32_t *ret_line,
                  uint32_t *ret_column)
{
    uint32_t line = 1, column = 1;

    for (uint32_t at = 0; at < offset && at < size;) {
        unsigned length = utf8_length(text + at, size - at);

        column = text[at] == '\n' ? 1 : column + 1;
        line += text[at] == '\n';
        at += length > 0 ? length : 1;
    }
    *ret_line = line;
    *ret_column = column;
}

void kfl_message_add(struct kfl_messages *messages, const char *text, size_t size, uint32_t offset,
                     unsigned warning, const char *format, ...)
{
    const unsigned most = sizeof(messages->message) / sizeof(messages->message[0]);
    struct kfl_message *message;
    va_list args;

    if (messages == NULL)
        return;
    for (uint32_t i = 0; i < messages->n; i++)
        if (messages->message[i].offset == offset && messages->message[i].warning == warning)
            return; /* said already */
    if (messages->n == most) {
        messages->more = true;
        return;
    }
    message = &messages->message[messages->n++];
    message->offset = offset;
    message->warning = (uint8_t)warning;
    kfl_position(text, size, offset, &message->line, &message->column);
    va_start(args, format);
    vsnprintf(message->text, sizeof(message->text), format, args);
    va_end(args);
}
