/* ring.h - one producer, one consumer, elements of a fixed size by value.
 *
 * Cursors are private to their side and published once per burst: reserve, fill, push; peek, use,
 * pop. Memory is taken at creation. A full ring never waits: ring_reserve() says how many fit.
 *
 *     producer                              consumer
 *     n = ring_reserve(r, 32, &first);      n = ring_peek(r, 32, &first);
 *     ring_at(r, first + i) = ...           use ring_at(r, first + i)
 *     ring_push(r, n);                      ring_pop(r, n);
 *
 * Thread: exactly one producer, exactly one consumer. */
#ifndef DATAPLANE_RING_H
#define DATAPLANE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
    uint8_t *slots;
    uint32_t mask;                      /* number of elements - 1, a power of two less one */
    uint32_t slot_size;                 /* bytes of an element */
    _Alignas(64) _Atomic uint32_t head; /* published by the producer */
    uint32_t head_next;                 /* producer's own */
    uint32_t tail_seen;                 /* producer's copy of tail */
    _Alignas(64) _Atomic uint32_t tail; /* published by the consumer */
    uint32_t tail_next;                 /* consumer's own */
    uint32_t head_seen;                 /* consumer's copy of head */
};

/* n_slots is rounded up to a power of two. -> 0 or -ENOMEM. */
int ring_init(struct ring *ring, uint32_t n_slots, uint32_t slot_size);
void ring_done(struct ring *ring);

static inline void *ring_at(const struct ring *ring, uint32_t position)
{
    return ring->slots + (size_t)(position & ring->mask) * ring->slot_size;
}

/* -> how many of `wanted` slots are free; *ret_first the position of the first. */
static inline uint32_t ring_reserve(struct ring *ring, uint32_t wanted, uint32_t *ret_first)
{
    uint32_t size = ring->mask + 1;
    uint32_t free = size - (ring->head_next - ring->tail_seen);

    if (free < wanted) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        free = size - (ring->head_next - ring->tail_seen);
    }
    *ret_first = ring->head_next;
    return free < wanted ? free : wanted;
}

static inline void ring_push(struct ring *ring, uint32_t n)
{
    ring->head_next += n;
    atomic_store_explicit(&ring->head, ring->head_next, memory_order_release);
}

static inline uint32_t ring_peek(struct ring *ring, uint32_t wanted, uint32_t *ret_first)
{
    uint32_t ready = ring->head_seen - ring->tail_next;

    if (ready < wanted) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        ready = ring->head_seen - ring->tail_next;
    }
    *ret_first = ring->tail_next;
    return ready < wanted ? ready : wanted;
}

static inline void ring_pop(struct ring *ring, uint32_t n)
{
    ring->tail_next += n;
    atomic_store_explicit(&ring->tail, ring->tail_next, memory_order_release);
}

/* Any thread, for statistics: elements in it, about. */
static inline uint32_t ring_fill(struct ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t n = head - atomic_load_explicit(&ring->tail, memory_order_relaxed);

    return n <= ring->mask + 1 ? n : 0; /* more was taken meanwhile than there was */
}

#endif
