/* A statement, a zero byte, a record: compiled, checked, shown, evaluated. */
#include <stdlib.h>
#include <string.h>

#include "../../kfl-jit/ensure.h"
#include "../../kfl-jit/kfl.h"

static const char plain_record[] = "{\"a\":{\"b\":[1,\"x\",{\"a\":null}]},\"c\":"
                                   "\"eyJhIjogWzEsIDJdfQ==\",\"x\":\"<a><b>1</b></a>\","
                                   "\"error\":null,\"tls\":true,\"protocol\":{\"abbr\":\"HTTP\","
                                   "\"name\":\"http\",\"layer4\":\"tcp\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kfl_arena *arena;
    const char *text = (const char *)data, *zero = memchr(text, 0, size), *what;
    size_t text_size = zero == NULL ? size : (size_t)(zero - text);
    struct kfl_statement *statement;
    struct kfl_messages messages, job_messages;
    struct kfl_value *record = NULL;
    char *shown;

    if (arena == NULL)
        arena = kfl_arena_create((size_t)4 << 20);
    kfl_arena_reset(arena);
    if (kfl_statement_create(text, text_size, 1767323045000, &statement, &messages) < 0) {
        char buffer[2048];

        ensure(messages.n > 0);
        for (uint32_t i = 0; i < messages.n; i++) {
            kfl_message_format(&messages.message[i], buffer, sizeof(buffer));
            kfl_message_caret(&messages.message[i], text, text_size, buffer, sizeof(buffer));
        }
        return 0;
    }
    kfl_statement_check_job(statement, &job_messages);
    kfl_statement_last_ms(statement);
    shown = kfl_statement_show(statement);
    free(shown);
    if (zero != NULL)
        record = kfl_json_parse(arena, zero + 1, size - text_size - 1, &what);
    if (record == NULL)
        record = kfl_json_parse(arena, plain_record, sizeof(plain_record) - 1, &what);
    if (record != NULL)
        kfl_statement_eval(statement, record, arena, NULL, NULL);
    kfl_statement_free(statement);
    return 0;
}
