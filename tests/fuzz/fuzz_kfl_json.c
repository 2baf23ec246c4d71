/* What is read as JSON prints as JSON that reads as the same. */
#include <string.h>

#include "../../kfl-jit/ensure.h"
#include "../../kfl-jit/kfl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kfl_arena *arena;
    static char first[1 << 18], second[1 << 18];
    const char *what = NULL;
    struct kfl_value *value;
    int n;

    if (arena == NULL)
        arena = kfl_arena_create((size_t)16 << 20);
    kfl_arena_reset(arena);
    value = kfl_json_parse(arena, (const char *)data, size, &what);
    ensure((value == NULL) == (what != NULL));
    if (value == NULL)
        return 0;
    n = kfl_json_print(value, first, sizeof(first));
    ensure(n > 0);
    value = kfl_json_parse(arena, first, (size_t)n, &what);
    ensure(value != NULL);
    ensure(kfl_json_print(value, second, sizeof(second)) == n);
    ensure(strcmp(first, second) == 0);
    return 0;
}
