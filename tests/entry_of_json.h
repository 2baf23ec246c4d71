/* entry_of_json.h - an entry out of what kfl_entry_value() makes of one: for tests that have JSON
 * and need facts. */
#ifndef TESTS_ENTRY_OF_JSON_H
#define TESTS_ENTRY_OF_JSON_H

#include "../kfl-jit/entry.h"
#include "../kfl-jit/fact.h"
#include "../kfl-jit/kfl.h"

enum { ENTRY_FACTS_SIZE = 64 << 10 };

struct entry_of_json {
    struct kfl_entry entry;
    struct kfl_stream stream;
    struct kfl_capture capture;
    struct kfl_half half[2]; /* by enum kfl_side */
    _Alignas(8) uint8_t facts[2][ENTRY_FACTS_SIZE];
};

/* false: the record is not of that shape, or says what no row of fields.def says. Texts are in the
 * arena. */
bool entry_of_json(const struct kfl_value *record, struct kfl_arena *arena,
                   struct entry_of_json *ret);

#endif
