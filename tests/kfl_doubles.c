/* kfl_doubles.c - stands in for what the language does not have yet. */
#include "../kfl-jit/kfl.h"

struct kfl_value *kfl_entry_value(struct kfl_arena *arena, const struct kfl_entry *entry)
{
    return NULL;
}
