#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../kfl-jit/ensure.h"

/* With AddressSanitizer an object that was given back must not be touched. */
#if defined(__SANITIZE_ADDRESS__)
#define POOL_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_POISON 1
#endif
#endif
#ifdef POOL_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum { CLASS_MIN_SHIFT = 6, N_CLASSES = 14, BLOCK_SLABS_MIN = 16, GROW_SLABS = 64 };

struct object {
    struct object *next;
};

struct slab {
    struct slab *next, *prev; /* in the free list, or among those of its class with room */
    struct object *free;      /* given back */
    uint32_t n_used;
    uint32_t n_fresh; /* objects from here on were never taken */
    uint32_t n_objects;
    uint32_t object_size;
    uint32_t class;
};
_Static_assert(sizeof(struct slab) <= POOL_HEADER_SIZE, "objects begin behind it");

struct block { /* one mapping */
    struct block *next;
    void *map;
    size_t map_size;
    uint8_t *slabs;
    size_t n_slabs, n_fresh; /* slabs from n_fresh on were never used */
};

struct pool {
    struct block *blocks; /* newest first */
    struct slab *free;    /* empty slabs */
    struct slab *room[N_CLASSES];
    uint64_t used;
    bool unbounded;
};

static int block_add(struct pool *pool, size_t n_slabs);
static struct slab *slab_new(struct pool *pool, unsigned class);
static unsigned class_of(size_t size);
static size_t class_size(unsigned class);
static void list_add(struct slab **list, struct slab *slab);
static void list_remove(struct slab **list, struct slab *slab);

int pool_create(uint64_t size, bool unbounded, struct pool **ret_pool)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    size_t n_slabs = (size + POOL_SLAB_SIZE - 1) / POOL_SLAB_SIZE;
    int r;

    if (!pool)
        return -ENOMEM;
    pool->unbounded = unbounded;
    r = block_add(pool, n_slabs < BLOCK_SLABS_MIN ? BLOCK_SLABS_MIN : n_slabs);
    if (r < 0) {
        free(pool);
        return r;
    }
    *ret_pool = pool;
    return 0;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    for (struct block *block = pool->blocks, *next; block; block = next) {
        next = block->next;
        ASAN_UNPOISON_MEMORY_REGION(block->map, block->map_size);
        munmap(block->map, block->map_size);
        free(block);
    }
    free(pool);
}

void *pool_take(struct pool *pool, size_t size)
{
    unsigned class;
    struct slab *slab;
    struct object *object;

    if (size > POOL_OBJECT_MAX)
        return NULL;
    class = class_of(size);
    slab = pool->room[class];
    if (!slab) {
        slab = slab_new(pool, class);
        if (!slab)
            return NULL;
    }
    object = slab->free;
    if (!object)
        object = (void *)((uint8_t *)slab + POOL_HEADER_SIZE +
                          (size_t)slab->n_fresh++ * slab->object_size);
    ASAN_UNPOISON_MEMORY_REGION(object, slab->object_size);
    if (slab->free)
        slab->free = object->next;
    if (++slab->n_used == slab->n_objects)
        list_remove(&pool->room[class], slab);
    pool->used += slab->object_size;
    return object;
}

void pool_give(struct pool *pool, void *memory)
{
    struct object *object = memory;
    struct slab *slab = (void *)((uintptr_t)memory & ~(uintptr_t)(POOL_SLAB_SIZE - 1));

    if (!object)
        return;
    ensure(slab->n_used);
    object->next = slab->free;
    slab->free = object;
    ASAN_POISON_MEMORY_REGION(object, slab->object_size);
    pool->used -= slab->object_size;
    if (slab->n_used-- == slab->n_objects)
        list_add(&pool->room[slab->class], slab);
    /* The last slab of a class stays with it: no to and fro at the boundary. */
    if (!slab->n_used && (slab->next || slab->prev)) {
        list_remove(&pool->room[slab->class], slab);
        list_add(&pool->free, slab);
    }
}

size_t pool_object_size(size_t size)
{
    return class_size(class_of(size));
}

size_t pool_size_of(const void *object)
{
    const struct slab *slab = (void *)((uintptr_t)object & ~(uintptr_t)(POOL_SLAB_SIZE - 1));

    return slab->object_size;
}

uint64_t pool_used(const struct pool *pool)
{
    return pool->used;
}

static int block_add(struct pool *pool, size_t n_slabs)
{
    struct block *block = calloc(1, sizeof(*block));
    uintptr_t start;

    if (!block)
        return -ENOMEM;
    block->map_size = (n_slabs + 1) * POOL_SLAB_SIZE;
    block->map = mmap(NULL, block->map_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block->map == MAP_FAILED) {
        free(block);
        return -ENOMEM;
    }
    start = ((uintptr_t)block->map + POOL_SLAB_SIZE - 1) & ~(uintptr_t)(POOL_SLAB_SIZE - 1);
    block->slabs = (uint8_t *)start;
    block->n_slabs = n_slabs;
    block->next = pool->blocks;
    pool->blocks = block;
    return 0;
}

static struct slab *slab_new(struct pool *pool, unsigned class)
{
    struct slab *slab = pool->free;

    if (slab) {
        list_remove(&pool->free, slab);
    } else {
        if (pool->blocks->n_fresh == pool->blocks->n_slabs &&
            (!pool->unbounded || block_add(pool, GROW_SLABS) < 0))
            return NULL;
        slab = (void *)(pool->blocks->slabs + pool->blocks->n_fresh++ * POOL_SLAB_SIZE);
    }
    *slab = (struct slab){.n_objects = (uint32_t)(POOL_OBJECT_MAX / class_size(class)),
                          .object_size = (uint32_t)class_size(class),
                          .class = class};
    list_add(&pool->room[class], slab);
    return slab;
}

static unsigned class_of(size_t size)
{
    if (size <= UINT64_C(1) << CLASS_MIN_SHIFT)
        return 0;
    unsigned shift = 64 - (unsigned)__builtin_clzll(size - 1);

    return shift - CLASS_MIN_SHIFT >= N_CLASSES - 1 ? N_CLASSES - 1 : shift - CLASS_MIN_SHIFT;
}

static size_t class_size(unsigned class)
{
    return class == N_CLASSES - 1 ? (size_t)POOL_OBJECT_MAX
                                  : (size_t)1 << (class + CLASS_MIN_SHIFT);
}

static void list_add(struct slab **list, struct slab *slab)
{
    slab->prev = NULL;
    slab->next = *list;
    if (*list)
        (*list)->prev = slab;
    *list = slab;
}

static void list_remove(struct slab **list, struct slab *slab)
{
    if (slab->prev)
        slab->prev->next = slab->next;
    else
        *list = slab->next;
    if (slab->next)
        slab->next->prev = slab->prev;
    slab->next = slab->prev = NULL;
}
