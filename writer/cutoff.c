#include "cutoff.h"

#include <stdbool.h>
#include <stdlib.h>

/* Open addressing, linear; deletion moves back what follows, so there are no tombstones. */
struct cutoff {
    uint32_t mask;
    uint32_t n, n_max;
    struct cutoff_row {
        uint64_t key; /* stream * 64 + slot + 1; 0: free */
        uint64_t bytes;
    } row[];
};

static uint32_t place(const struct cutoff *cutoff, uint64_t key);
static uint32_t find(const struct cutoff *cutoff, uint64_t key);

static uint64_t key_of(uint64_t stream, unsigned slot)
{
    return stream * 64 + slot + 1;
}

struct cutoff *cutoff_create(unsigned n_max)
{
    uint32_t size = 16;
    struct cutoff *cutoff;

    while (size < n_max + n_max / 2)
        size *= 2;
    cutoff = calloc(1, sizeof(*cutoff) + size * sizeof(cutoff->row[0]));
    if (cutoff) {
        cutoff->mask = size - 1;
        cutoff->n_max = n_max;
    }
    return cutoff;
}

void cutoff_free(struct cutoff *cutoff)
{
    free(cutoff);
}

uint64_t *cutoff_of(struct cutoff *cutoff, uint64_t stream, unsigned slot)
{
    uint64_t key = key_of(stream, slot);
    uint32_t at = find(cutoff, key);

    if (!cutoff->row[at].key) {
        if (cutoff->n == cutoff->n_max)
            return NULL;
        cutoff->n++;
        cutoff->row[at].key = key;
        cutoff->row[at].bytes = 0;
    }
    return &cutoff->row[at].bytes;
}

void cutoff_forget(struct cutoff *cutoff, uint64_t stream, unsigned slot)
{
    uint32_t hole = find(cutoff, key_of(stream, slot)), next = hole;

    if (!cutoff->row[hole].key)
        return;
    cutoff->n--;
    for (;;) {
        uint32_t home;

        next = (next + 1) & cutoff->mask;
        if (!cutoff->row[next].key)
            break;
        home = place(cutoff, cutoff->row[next].key);
        if (((next - home) & cutoff->mask) >= ((next - hole) & cutoff->mask)) {
            cutoff->row[hole] = cutoff->row[next];
            hole = next;
        }
    }
    cutoff->row[hole].key = 0;
}

static uint32_t place(const struct cutoff *cutoff, uint64_t key)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & cutoff->mask;
}

static uint32_t find(const struct cutoff *cutoff, uint64_t key)
{
    uint32_t at = place(cutoff, key);

    while (cutoff->row[at].key && cutoff->row[at].key != key)
        at = (at + 1) & cutoff->mask;
    return at;
}
