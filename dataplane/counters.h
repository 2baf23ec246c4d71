/* counters.h - one block of counters per worker.
 *
 * Its worker adds with counter_add(); anyone reads at any time with counter_get(). Relaxed atomic
 * loads and stores of one writer: plain moves on every machine we run on. */
#ifndef DATAPLANE_COUNTERS_H
#define DATAPLANE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

enum counter {
#define COUNTER(id, help) COUNTER_##id,
#include "counters.def"
#undef COUNTER
    COUNTER_COUNT
};

struct counters {
    _Alignas(64) _Atomic uint64_t value[COUNTER_COUNT];
};

extern const char *const counter_name[COUNTER_COUNT];
extern const char *const counter_help[COUNTER_COUNT];

static inline void counter_add(struct counters *counters, enum counter which, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&counters->value[which], memory_order_relaxed);

    atomic_store_explicit(&counters->value[which], old + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const struct counters *counters, enum counter which)
{
    return atomic_load_explicit(&counters->value[which], memory_order_relaxed);
}

#endif
