/* regex.h - a pattern of the language, searched for in texts. The dialect is RE2, whatever runs it.
 *
 * Matching is linear in the text. A compiled pattern is immutable to its callers; any number of
 * threads may search with it. Created and freed outside the packet path. */
#ifndef KFL_REGEX_H
#define KFL_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kfl_regex;

/* -> null, with what is wrong in error (terminated), when RE2 refuses the pattern. */
struct kfl_regex *kfl_regex_create(const char *pattern, size_t size, char *error,
                                   size_t error_size);
void kfl_regex_free(struct kfl_regex *regex);
bool kfl_regex_find(const struct kfl_regex *regex, const char *text, size_t size);

/* A text without upper case letters. */
struct kfl_regex_literal {
    char text[32];
    size_t size;
};
/* One of them is in every text of ASCII in which the pattern is found, in either case.
 * -> how many; 0: nothing is known, or they are more than max. */
unsigned kfl_regex_literals(const char *pattern, size_t size, struct kfl_regex_literal *literal,
                            unsigned max);

#ifdef __cplusplus
}
#endif

#endif
