#include "memory_map.h"

#include <errno.h>
#include <sys/mman.h>

enum { HUGE_PAGE_SIZE = 2 << 20 };

static size_t round_up(size_t size);
static void *map(size_t size, int flags);

void *memory_map(size_t size)
{
    void *memory = map(size, MAP_HUGETLB);

    return memory ? memory : map(size, 0);
}

void *memory_map_sparse(size_t size)
{
    return map(size, MAP_NORESERVE);
}

int memory_take(void *memory, size_t size)
{
    /* Kernels before 5.14 do not know it: there pages come as they are touched. */
    return madvise(memory, size, MADV_POPULATE_WRITE) && errno != EINVAL ? -ENOMEM : 0;
}

void memory_unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, round_up(size));
}

static void *map(size_t size, int flags)
{
    void *memory = mmap(NULL, round_up(size), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, round_up(size), MADV_HUGEPAGE);
    return memory;
}

static size_t round_up(size_t size)
{
    return (size + HUGE_PAGE_SIZE - 1) & ~(size_t)(HUGE_PAGE_SIZE - 1);
}
