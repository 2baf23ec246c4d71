#include "statement_asked.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kfl-jit/ensure.h"

enum { LINE_SIZE = 1024 };

int statement_asked(const struct cli *cli, const char *text, struct kfl_statement **ret_statement)
{
    struct kfl_messages *messages = calloc(1, sizeof(*messages));
    size_t size = strlen(text);
    int err;

    ensure(messages);
    err = kfl_statement_create(text, size, (int64_t)time(NULL) * 1000, ret_statement, messages);
    for (unsigned i = 0; err && i < messages->n; i++) {
        char line[LINE_SIZE], caret[LINE_SIZE];

        if (messages->message[i].warning)
            continue;
        kfl_message_format(&messages->message[i], line, sizeof(line));
        kfl_message_caret(&messages->message[i], text, size, caret, sizeof(caret));
        cli_error(cli, "%s\n%s", line, caret);
    }
    free(messages);
    return err ? CLI_USAGE : CLI_DONE;
}

struct kfl_value *entry_member(struct kfl_value *entry, const char *path)
{
    while (entry && *path) {
        size_t size = strcspn(path, ".");
        struct kfl_value *child = entry->type == KFL_OBJECT ? entry->first : NULL;

        while (child && (child->key_size != size || memcmp(child->key, path, size) != 0))
            child = child->next;
        entry = child;
        path += size + (path[size] == '.');
    }
    return entry;
}

const char *entry_text(struct kfl_value *entry, const char *path, char *buffer, size_t size)
{
    const struct kfl_value *value = entry_member(entry, path);
    size_t n = value && value->type == KFL_STRING ? value->size : 0;

    n = n < size ? n : size - 1;
    if (n)
        memcpy(buffer, value->text, n);
    buffer[n] = 0;
    return buffer;
}
