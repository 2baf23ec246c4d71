/* slots.h - a few large buffers of one size, for packets that their source hands over in pieces.
 *
 * A cookie with COOKIE_SLOT says that a packet lies in the slot of that number; any other is the
 * source's own.
 *
 * Thread: one. Memory: taken at init, huge pages where there are some. */
#ifndef DATAPLANE_SLOTS_H
#define DATAPLANE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#define COOKIE_SLOT (UINT64_C(1) << 63)

enum {
    SLOT_NONE = -1,
    SLOT_SIZE_MAX = 68 << 10, /* an IP datagram of any size, and its link layer */
};

struct slots {
    uint8_t *memory;
    uint32_t *free; /* a stack */
    uint32_t n_free, n;
    uint32_t size; /* of one */
};

int slots_init(struct slots *slots, uint32_t n, uint32_t size);
void slots_done(struct slots *slots);

/* -> a slot, or SLOT_NONE */
static inline int32_t slots_take(struct slots *slots)
{
    return slots->n_free ? (int32_t)slots->free[--slots->n_free] : SLOT_NONE;
}

static inline void slots_give(struct slots *slots, uint32_t slot)
{
    slots->free[slots->n_free++] = slot;
}

static inline uint8_t *slots_at(const struct slots *slots, uint32_t slot)
{
    return slots->memory + (size_t)slot * slots->size;
}

#endif
