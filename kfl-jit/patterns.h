/* patterns.h - all patterns on one field in one scan: the door to Hyperscan.
 *
 * The dialect of the language is RE2 (regex.h). Hyperscan's differs in places, so only what means
 * the same in both is taken: patterns of ASCII without the constructs that differ, `$` written as
 * `\z`, and only texts of ASCII that are not empty are scanned. What is not taken, and other texts,
 * go to regex.h one by one.
 *
 * Made while a plan is created; scanning allocates nothing. A scratch belongs to one thread and
 * serves all that were added to it. */
#ifndef KFL_PATTERNS_H
#define KFL_PATTERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct patterns;
struct patterns_scratch;

struct patterns_row {
    const char *text;
    size_t size;
    bool literal; /* found anywhere; else a pattern of the language */
    uint32_t id;
    bool taken; /* result: patterns_scan() finds it */
};

/* Tells which rows are taken. *ret_patterns is null if none is. -> 0 or -ENOMEM */
int patterns_create(struct patterns_row *rows, uint32_t n, struct patterns **ret_patterns);
void patterns_free(struct patterns *patterns);

/* *scratch: null the first time. -> 0 or -ENOMEM */
int patterns_scratch_add(const struct patterns *patterns, struct patterns_scratch **scratch);
void patterns_scratch_free(struct patterns_scratch *scratch);

/* Writes `value` to found[id] for each row that is found.
 * false: the text is not one that can be scanned. */
bool patterns_scan(const struct patterns *patterns, struct patterns_scratch *scratch,
                   const char *text, size_t size, uint8_t *found, uint8_t value);

#endif
