#include "slots.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE_SIZE = 2 << 20 };

static size_t round_up(size_t size)
{
    return (size + HUGE_PAGE_SIZE - 1) & ~(size_t)(HUGE_PAGE_SIZE - 1);
}

void *memory_map(size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *memory = mmap(NULL, round_up(size), PROT_READ | PROT_WRITE,
                        flags | MAP_HUGETLB | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        memory = mmap(NULL, round_up(size), PROT_READ | PROT_WRITE, flags, -1, 0);
        if (memory == MAP_FAILED)
            return NULL;
        madvise(memory, round_up(size), MADV_HUGEPAGE);
    }
    return memory;
}

void memory_unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, round_up(size));
}

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
