/* pool.h - memory of one classifier, by size class.
 *
 *      slab (512 KiB, aligned to its size)
 *      [header][object][object][object] ...      one size in a slab; an empty slab can become any
 * size
 *
 * Sizes are powers of two from 64 bytes; the largest object is a whole slab. Taking and giving
 * back cost a few instructions; a slab that has become empty is free for other sizes.
 *
 * The address space is taken at creation, its pages when they are first used. A bounded pool says
 * null when it is full. An unbounded one (reading files) grows by blocks.
 *
 * Thread: one. */
#ifndef DATAPLANE_POOL_H
#define DATAPLANE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POOL_SLAB_SIZE = 512 << 10,
    POOL_HEADER_SIZE = 64,
    POOL_OBJECT_MAX = POOL_SLAB_SIZE - POOL_HEADER_SIZE
};

struct pool;

/* size: bytes, rounded up to slabs; at least 16 of them. -> 0, -ENOMEM */
int pool_create(uint64_t size, bool unbounded, struct pool **ret_pool);
void pool_free(struct pool *pool);

/* At least `size` bytes, 64 byte aligned, not cleared. Null: full, or size > POOL_OBJECT_MAX. */
void *pool_take(struct pool *pool, size_t size);
void pool_give(struct pool *pool, void *object); /* null is fine */

/* The bytes an object of pool_take(size) really has. */
size_t pool_object_size(size_t size);
size_t pool_size_of(const void *object);     /* the bytes this one has */
uint64_t pool_used(const struct pool *pool); /* bytes in objects that are taken */

#endif
