/* near.h - the word that someone may have meant. Any thread. */
#ifndef KFL_NEAR_H
#define KFL_NEAR_H

#include <stddef.h>

/* Looks for the nearest word: near_begin(), near_try() each candidate, near.best is it or null. */
struct near {
    const char *word;
    size_t size;
    const char *best;
    unsigned distance; /* of the best; candidates that are not nearer are passed over */
};

/* A third of the letters may differ, and at least one. */
struct near near_begin(const char *word, size_t size);
void near_try(struct near *near, const char *candidate);

#endif
