#include "statement_filter.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kfl-jit/ensure.h"

enum { ARENA_SIZE = 256 << 20, LINE_SIZE = 1024 };

struct statement_filter {
    struct kfl_statement *statement;
    struct kfl_arena *arena;
};

int statement_filter_create(const struct cli *cli, const char *text,
                            struct statement_filter **ret_filter)
{
    struct statement_filter *filter = calloc(1, sizeof(*filter));
    struct kfl_messages *messages = calloc(1, sizeof(*messages));
    size_t size = strlen(text);
    int err;

    ensure(filter && messages);
    filter->arena = kfl_arena_create(ARENA_SIZE);
    ensure(filter->arena);
    err =
        kfl_statement_create(text, size, (int64_t)time(NULL) * 1000, &filter->statement, messages);
    for (unsigned i = 0; err && i < messages->n; i++) {
        char line[LINE_SIZE], caret[LINE_SIZE];

        if (messages->message[i].warning)
            continue;
        kfl_message_format(&messages->message[i], line, sizeof(line));
        kfl_message_caret(&messages->message[i], text, size, caret, sizeof(caret));
        cli_error(cli, "%s\n%s", line, caret);
    }
    free(messages);
    if (err) {
        statement_filter_free(filter);
        return CLI_USAGE;
    }
    *ret_filter = filter;
    return CLI_DONE;
}

void statement_filter_free(struct statement_filter *filter)
{
    if (!filter)
        return;
    kfl_statement_free(filter->statement);
    kfl_arena_free(filter->arena);
    free(filter);
}

const struct kfl_statement *statement_filter_statement(const struct statement_filter *filter)
{
    return filter->statement;
}

bool statement_filter_asks(struct statement_filter *filter, const char *line, size_t size,
                           struct kfl_value **ret_entry)
{
    const char *what;

    kfl_arena_reset(filter->arena);
    *ret_entry = kfl_json_parse(filter->arena, line, size, &what);
    return *ret_entry &&
           kfl_statement_eval(filter->statement, *ret_entry, filter->arena, NULL, NULL);
}

const struct kfl_value *entry_member(const struct kfl_value *entry, const char *path)
{
    while (entry && *path) {
        size_t size = strcspn(path, ".");
        const struct kfl_value *child = entry->type == KFL_OBJECT ? entry->first : NULL;

        while (child && (child->key_size != size || memcmp(child->key, path, size) != 0))
            child = child->next;
        entry = child;
        path += size + (path[size] == '.');
    }
    return entry;
}

const char *entry_text(const struct kfl_value *entry, const char *path, char *buffer, size_t size)
{
    const struct kfl_value *value = entry_member(entry, path);
    size_t n = value && value->type == KFL_STRING ? value->size : 0;

    n = n < size ? n : size - 1;
    if (n)
        memcpy(buffer, value->text, n);
    buffer[n] = 0;
    return buffer;
}
