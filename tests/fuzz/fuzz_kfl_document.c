/* Documents inside texts, as they come from the wire: selected from, and redacted. */
#include <string.h>

#include "../../kfl-jit/ensure.h"
#include "../../kfl-jit/kfl.h"

static const char text[] = "(x.xml()..a[0].contains(\"b\")) == (x.json()..a.json().*.b > 5) or "
                           "redact(\"x.xml()..a\", \"x.json().a.json()..b\", \"x.json().*.*\") and "
                           "(x.xml().*.*) == (x.json().*)";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kfl_arena *arena;
    static struct kfl_statement *statement;
    struct kfl_value member = {.type = KFL_STRING,
                               .text = (const char *)data,
                               .size = (uint32_t)size,
                               .key = "x",
                               .key_size = 1};
    struct kfl_value record = {.type = KFL_OBJECT, .size = 1};

    if (arena == NULL) {
        arena = kfl_arena_create((size_t)4 << 20);
        ensure(kfl_statement_create(text, sizeof(text) - 1, 0, &statement, NULL) == 0);
    }
    kfl_arena_reset(arena);
    record.first = record.last = &member;
    kfl_statement_eval(statement, &record, arena, NULL, NULL);
    return 0;
}
