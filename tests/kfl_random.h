/* kfl_random.h - random statements, streams and entries, for tests and fuzzers of the language.
 *
 * Everything comes from one seed. Pools of values are small, so that tests on them often hold. */
#ifndef TESTS_KFL_RANDOM_H
#define TESTS_KFL_RANDOM_H

#include "../kfl-jit/kfl.h"

struct kfl_random {
    uint64_t state;
};

/* 0 .. n-1 */
uint32_t kfl_random_below(struct kfl_random *random, uint32_t n);

/* A statement that compiles, most of the time. -> bytes */
size_t kfl_random_statement(struct kfl_random *random, char *text, size_t size);

/* A stream at its end with one entry of it, complete. */
struct kfl_random_entry {
    struct kfl_stream stream;
    struct kfl_entry entry;
    struct kfl_half half[2];
    uint64_t facts[2][2048];
};
void kfl_random_entry(struct kfl_random *random, struct kfl_random_entry *ret_entry);

#endif
