/* pairs.h - which of some tests can hold for a text at all, seen by pairs of neighbouring bytes.
 *
 * Of a literal that is looked for, and of most patterns, some pairs of bytes are known one of which
 * is in every text the test holds for. They are looked for at once, sixteen places in one step;
 * most texts hold none of them, and are scanned by nobody. Letters count in either case.
 *
 * Filled while a plan is created, constant afterwards. */
#ifndef KFL_PAIRS_H
#define KFL_PAIRS_H

#include "atom.h"

enum { PAIRS_MAX = 8 };

typedef uint8_t pairs_bytes __attribute__((vector_size(16)));

struct pairs {
    pairs_bytes first[PAIRS_MAX], second[PAIRS_MAX]; /* each byte sixteen times */
    unsigned n;
};

/* Adds those of a test. -> their bits; 0: none are known, or there is no room for them. */
uint8_t pairs_add(struct pairs *pairs, const struct atom *atom);

/* -> the bits of those that are in the text, or may be. */
uint8_t pairs_found(const struct pairs *pairs, const char *text, uint32_t size);

#endif
