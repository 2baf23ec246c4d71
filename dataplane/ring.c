#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"

int ring_init(struct ring *ring, uint32_t n_slots, uint32_t slot_size)
{
    uint32_t size = 1;

    ensure(n_slots > 0 && n_slots <= UINT32_C(1) << 30);
    while (size < n_slots)
        size *= 2;
    memset(ring, 0, sizeof(*ring));
    ring->slots = aligned_alloc(64, ((size_t)size * slot_size + 63) & ~(size_t)63);
    if (!ring->slots)
        return -ENOMEM;
    ring->mask = size - 1;
    ring->slot_size = slot_size;
    return 0;
}

void ring_done(struct ring *ring)
{
    free(ring->slots);
    ring->slots = NULL;
}
