#include "pairs.h"

#include <string.h>

#include "regex.h"

typedef uint64_t pairs_words __attribute__((vector_size(16)));

enum { FOLD = 0x20 }; /* the bit in which the cases of a letter differ */

static uint8_t add(struct pairs *pairs, const char *literal, size_t size);
static unsigned rarity(char c);
static inline pairs_bytes load(const char *text);
static inline pairs_bytes load_short(const char *text, uint32_t size);
static inline bool any(pairs_bytes bytes);
static inline uint8_t found_here(const struct pairs *pairs, pairs_bytes here, pairs_bytes next);
static inline pairs_bytes is_at(const struct pairs *pairs, unsigned i, pairs_bytes here,
                                pairs_bytes next);

uint8_t pairs_add(struct pairs *pairs, const struct atom *atom)
{
    struct kfl_regex_literal literal[PAIRS_MAX];
    unsigned before = pairs->n, n;
    uint8_t bits = 0;

    if (atom->op == ATOM_CONTAINS)
        return add(pairs, atom->text.text, atom->text.size);
    if (atom->op != ATOM_REGEX)
        return 0;
    n = kfl_regex_literals(atom->text.text, atom->text.size, literal, PAIRS_MAX);
    for (unsigned i = 0; i < n; i++) {
        uint8_t bit = add(pairs, literal[i].text, literal[i].size);

        if (!bit) {
            pairs->n = before;
            return 0;
        }
        bits |= bit;
    }
    return bits;
}

uint8_t pairs_found(const struct pairs *pairs, const char *text, uint32_t size)
{
    uint8_t found = 0;

    if (size <= 16)
        return size < 2 ? 0
                        : found_here(pairs, load_short(text, size), load_short(text + 1, size - 1));
    for (uint32_t at = 0; at + 1 < size; at += 16) {
        if (at + 17 > size)
            at = size - 17; /* some places are looked at twice */
        found |= found_here(pairs, load(text + at), load(text + at + 1));
    }
    return found;
}

/* At sixteen places: bytes and those behind them. Most often there is none. */
static inline uint8_t found_here(const struct pairs *pairs, pairs_bytes here, pairs_bytes next)
{
    pairs_bytes some = (here | next) & 0x80;
    uint8_t found = 0;

    if (any(some)) /* what is a letter's other case is not known here */
        return UINT8_MAX;
    here |= FOLD;
    next |= FOLD;
    for (unsigned i = 0; i < pairs->n; i++)
        some |= is_at(pairs, i, here, next);
    for (unsigned i = 0; i < pairs->n && any(some); i++)
        found |= (uint8_t)(any(is_at(pairs, i, here, next)) << i);
    return found;
}

static inline pairs_bytes is_at(const struct pairs *pairs, unsigned i, pairs_bytes here,
                                pairs_bytes next)
{
    return (pairs_bytes)((here == pairs->first[i]) & (next == pairs->second[i]));
}

/* The pair of the literal that is least frequent in texts. */
static uint8_t add(struct pairs *pairs, const char *literal, size_t size)
{
    size_t best = 0;
    unsigned i = 0;

    if (size < 2)
        return 0;
    for (size_t at = 1; at + 1 < size; at++)
        if (rarity(literal[at]) + rarity(literal[at + 1]) >
            rarity(literal[best]) + rarity(literal[best + 1]))
            best = at;
    while (i < pairs->n && (pairs->first[i][0] != ((uint8_t)literal[best] | FOLD) ||
                            pairs->second[i][0] != ((uint8_t)literal[best + 1] | FOLD)))
        i++;
    if (i == PAIRS_MAX)
        return 0;
    if (i == pairs->n)
        pairs->n++;
    for (unsigned k = 0; k < sizeof pairs->first[i]; k++) {
        pairs->first[i][k] = (uint8_t)literal[best] | FOLD;
        pairs->second[i][k] = (uint8_t)literal[best + 1] | FOLD;
    }
    return (uint8_t)(1 << i);
}

static unsigned rarity(char c)
{
    static const char frequent[] = "eatoinsr/lhdcu.mpf-gwybvk=xjqz";
    const char *at = strchr(frequent, c | FOLD);

    return c && at ? (unsigned)(at - frequent) : sizeof frequent;
}

static inline pairs_bytes load(const char *text)
{
    pairs_bytes bytes;

    memcpy(&bytes, text, sizeof bytes);
    return bytes;
}

/* At most sixteen bytes, zeros behind them; not a byte further is read. */
static inline pairs_bytes load_short(const char *text, uint32_t size)
{
    pairs_words words = {value_head(text, size < 8 ? size : 8),
                         size > 8 ? value_head(text + 8, size - 8) : 0};

    return (pairs_bytes)words;
}

static inline bool any(pairs_bytes bytes)
{
    pairs_words words = (pairs_words)bytes;

    return words[0] | words[1];
}
