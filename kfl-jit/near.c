/* near.c - edit distance, where a difference of case costs half. */
#include "near.h"

#include <ctype.h>
#include <string.h>

enum { LETTERS_MAX = 64 };

static unsigned least(unsigned a, unsigned b);

struct near near_begin(const char *word, size_t size)
{
    return (struct near){
        .word = word, .size = size, .distance = 2 * (size < 6 ? 1 : (unsigned)size / 3) + 1};
}

void near_try(struct near *near, const char *candidate)
{
    size_t size = strlen(candidate);
    unsigned row[LETTERS_MAX + 1];

    if (size > LETTERS_MAX || near->size > LETTERS_MAX)
        return;
    for (size_t i = 0; i <= size; i++)
        row[i] = (unsigned)i * 2;
    for (size_t j = 0; j < near->size; j++) {
        unsigned diagonal = row[0];

        row[0] += 2;
        for (size_t i = 0; i < size; i++) {
            unsigned char a = (unsigned char)candidate[i], b = (unsigned char)near->word[j];
            unsigned change = a == b ? 0 : tolower(a) == tolower(b) ? 1 : 2, above = row[i + 1];

            row[i + 1] = least(diagonal + change, least(above, row[i]) + 2);
            diagonal = above;
        }
    }
    if (row[size] < near->distance) {
        near->distance = row[size];
        near->best = candidate;
    }
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}
