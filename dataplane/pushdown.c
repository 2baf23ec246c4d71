#include "pushdown.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RING_STREAMS = 1024, PIECE = 256 };

struct pushdown {
    struct source *const *sources;
    unsigned n_sources, n_classifiers;
    bool all; /* it is wanted of all sources */
    bool any; /* some source keeps streams out */
    bool narrowed;
    struct kfl_pushdown *slot[KFL_SLOT_MAX]; /* what its job wanted so far; null: no job */
    struct pushdown_condition condition;
    struct kfl_pushdown scratch;
    struct ring *rings;
};

static bool takes(struct source *source);
static bool keeps_out(struct source *source);
static void follow_slot(struct pushdown *pushdown, const struct kfl_plan *plan, unsigned slot,
                        bool changed);

int pushdown_create(struct source *const *sources, unsigned n_sources, unsigned n_classifiers,
                    bool dns, struct pushdown **ret_pushdown)
{
    struct pushdown *pushdown = NULL;
    unsigned n_wanted = 0, n_keep_out = 0;
    size_t size = (n_classifiers * sizeof(struct ring) + 63) & ~(size_t)63;

    *ret_pushdown = NULL;
    for (unsigned i = 0; i < n_sources; i++) {
        n_wanted += source_base(sources[i])->config.pushdown;
        n_keep_out += keeps_out(sources[i]);
    }
    if (!n_wanted)
        return 0;
    pushdown = calloc(1, sizeof(*pushdown));
    if (!pushdown)
        return -ENOMEM;
    pushdown->sources = sources;
    pushdown->n_sources = n_sources;
    pushdown->all = n_wanted == n_sources;
    pushdown->any = n_keep_out;
    pushdown->condition.dns = dns;
    pushdown->rings = aligned_alloc(64, size);
    if (!pushdown->rings)
        goto fail;
    memset(pushdown->rings, 0, size);
    for (; pushdown->n_classifiers < n_classifiers; pushdown->n_classifiers++)
        if (ring_init(&pushdown->rings[pushdown->n_classifiers], RING_STREAMS,
                      sizeof(struct pushdown_stream)))
            goto fail;
    *ret_pushdown = pushdown;
    return 0;
fail:
    pushdown_free(pushdown);
    return -ENOMEM;
}

void pushdown_free(struct pushdown *pushdown)
{
    if (!pushdown)
        return;
    for (unsigned i = 0; i < pushdown->n_classifiers; i++)
        ring_done(&pushdown->rings[i]);
    for (unsigned i = 0; i < KFL_SLOT_MAX; i++)
        free(pushdown->slot[i]);
    free(pushdown->rings);
    free(pushdown);
}

void pushdown_widen(struct pushdown *pushdown, const struct kfl_plan *plan, uint64_t changed,
                    uint32_t epoch)
{
    struct pushdown_condition *condition = &pushdown->condition;

    condition->wanted.n = 0;
    condition->epoch = epoch;
    condition->anybody = kfl_plan_jobs(plan) != 0;
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        follow_slot(pushdown, plan, slot, changed >> slot & 1);
    pushdown->narrowed = false;
    for (unsigned i = 0; i < pushdown->n_sources; i++)
        if (takes(pushdown->sources[i]))
            source_base(pushdown->sources[i])->ops->widen(pushdown->sources[i], condition);
}

void pushdown_narrow(struct pushdown *pushdown)
{
    if (pushdown->narrowed)
        return;
    pushdown->narrowed = true;
    for (unsigned i = 0; i < pushdown->n_sources; i++)
        if (takes(pushdown->sources[i]))
            source_base(pushdown->sources[i])
                ->ops->narrow(pushdown->sources[i], &pushdown->condition);
}

void pushdown_step(struct pushdown *pushdown)
{
    for (unsigned i = 0; i < pushdown->n_classifiers; i++) {
        struct ring *ring = &pushdown->rings[i];
        uint32_t first, n = ring_peek(ring, PIECE, &first);

        for (uint32_t k = 0; k < n; k++) {
            const struct pushdown_stream *stream = ring_at(ring, first + k);

            for (unsigned s = 0; s < pushdown->n_sources; s++)
                if (keeps_out(pushdown->sources[s]) && stream->epoch == pushdown->condition.epoch)
                    source_base(pushdown->sources[s])->ops->out(pushdown->sources[s], stream);
        }
        ring_pop(ring, n);
    }
}

int pushdown_gate(const struct pushdown *pushdown, struct gate **ret_gate)
{
    const struct pushdown_condition *condition = &pushdown->condition;

    *ret_gate = NULL;
    return pushdown->all ? gate_create(&condition->wanted, condition->dns, ret_gate) : 0;
}

struct ring *pushdown_ring(struct pushdown *pushdown, unsigned classifier)
{
    return pushdown->any ? &pushdown->rings[classifier] : NULL;
}

void pushdown_tell(struct ring *ring, const struct pushdown_stream *stream)
{
    uint32_t first;

    if (!ring_reserve(ring, 1, &first))
        return;
    memcpy(ring_at(ring, first), stream, sizeof(*stream));
    ring_push(ring, 1);
}

static bool takes(struct source *source)
{
    return source_base(source)->ops->narrow && source_base(source)->config.pushdown;
}

static bool keeps_out(struct source *source)
{
    return takes(source) && source_base(source)->ops->out;
}

/* Adds what this job wants. One whose statement has become narrower (its limit is reached) goes on
 * recording the streams that it has: what it wanted before still passes. */
static void follow_slot(struct pushdown *pushdown, const struct kfl_plan *plan, unsigned slot,
                        bool changed)
{
    struct kfl_pushdown *of = pushdown->slot[slot];
    struct kfl_pushdown *now = &pushdown->scratch;

    if (!(kfl_plan_jobs(plan) >> slot & 1)) {
        free(of);
        pushdown->slot[slot] = NULL;
        return;
    }
    (void)kfl_pushdown_of_slot(plan, slot, now); /* without memory it is everything */
    if (of && !changed)
        kfl_pushdown_add(now, of);
    if (!of)
        of = pushdown->slot[slot] = malloc(sizeof(*of));
    if (of)
        *of = *now;
    kfl_pushdown_add(&pushdown->condition.wanted, now);
}
