#include "slots.h"

#include <errno.h>
#include <stdlib.h>

#include "memory_map.h"

int slots_init(struct slots *slots, uint32_t n, uint32_t size)
{
    *slots = (struct slots){.n = n, .n_free = n, .size = size};
    slots->memory = memory_map((size_t)n * size);
    slots->free = calloc(n, sizeof(*slots->free));
    if (!slots->memory || !slots->free) {
        slots_done(slots);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++)
        slots->free[i] = n - 1 - i;
    return 0;
}

void slots_done(struct slots *slots)
{
    memory_unmap(slots->memory, (size_t)slots->n * slots->size);
    free(slots->free);
    *slots = (struct slots){0};
}
