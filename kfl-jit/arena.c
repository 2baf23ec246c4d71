/* arena.c - one region of address space; pages come when they are touched and stay. */
#include <stdint.h>
#include <sys/mman.h>

#include "kfl.h"

/* With the address sanitizer a red zone stands behind each allocation. */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_RED_ZONE 16
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_RED_ZONE 16
#endif
#endif
#ifdef ARENA_RED_ZONE
#include <sanitizer/asan_interface.h>
#else
#define ARENA_RED_ZONE                            0
#define ASAN_POISON_MEMORY_REGION(memory, size)   ((void)(memory))
#define ASAN_UNPOISON_MEMORY_REGION(memory, size) ((void)(memory))
#endif

struct kfl_arena {
    size_t used, size; /* bytes, this header included */
};

enum { HEADER_SIZE = 64 };
_Static_assert(sizeof(struct kfl_arena) <= HEADER_SIZE, "the header has room");

struct kfl_arena *kfl_arena_create(size_t limit)
{
    size_t size = (limit + HEADER_SIZE + 4095) & ~(size_t)4095;
    struct kfl_arena *arena = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (arena == MAP_FAILED)
        return NULL;
    arena->size = size;
    arena->used = HEADER_SIZE;
    return arena;
}

void kfl_arena_free(struct kfl_arena *arena)
{
    if (arena == NULL)
        return;
    ASAN_UNPOISON_MEMORY_REGION(arena, arena->used);
    munmap(arena, arena->size);
}

void kfl_arena_reset(struct kfl_arena *arena)
{
    ASAN_UNPOISON_MEMORY_REGION(arena, arena->used);
    arena->used = HEADER_SIZE;
}

void *kfl_arena_alloc(struct kfl_arena *arena, size_t size)
{
    size_t room = arena->size - arena->used, taken = ((size + 7) & ~(size_t)7) + ARENA_RED_ZONE;
    char *memory = (char *)arena + arena->used;

    if (size > room || taken > room)
        return NULL;
    arena->used += taken;
    ASAN_POISON_MEMORY_REGION(memory + size, taken - size);
    return memory;
}
