#include "waiting.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

enum { N_LISTS = 4096 }; /* streams are found by their number */

struct kept {
    struct kept *next; /* in its list, oldest first */
    uint64_t stream;   /* its number */
    uint64_t ask;
    struct kfl_entry entry;
    struct kfl_half half[2]; /* request, response */
    uint64_t facts[];
};

struct waiting {
    struct pool *pool;
    struct counters *counters;
    struct kept *given; /* by waiting_next(), until its next call */
    struct list {
        struct kept *first, *last;
    } list[N_LISTS];
};

static uint8_t *keep_half(struct kfl_half *kept, const struct kfl_half *half, uint8_t *facts);
static struct kept *take_first(struct waiting *waiting, const struct stream *stream);

int waiting_create(uint64_t memory, bool unbounded, struct counters *counters,
                   struct waiting **ret_waiting)
{
    struct waiting *waiting = calloc(1, sizeof(*waiting));
    int err;

    if (!waiting)
        return -ENOMEM;
    err = pool_create(memory, unbounded, &waiting->pool);
    if (err) {
        free(waiting);
        return err;
    }
    waiting->counters = counters;
    *ret_waiting = waiting;
    return 0;
}

void waiting_free(struct waiting *waiting)
{
    if (!waiting)
        return;
    pool_free(waiting->pool);
    free(waiting);
}

void waiting_keep(struct waiting *waiting, struct stream *stream, const struct kfl_entry *entry,
                  uint64_t ask)
{
    size_t size = sizeof(struct kept);
    struct list *list = &waiting->list[stream->number % N_LISTS];
    struct kept *kept;
    uint8_t *facts;

    size += entry->request ? (entry->request->facts_size + 7u) & ~7u : 0;
    size += entry->response ? (entry->response->facts_size + 7u) & ~7u : 0;
    kept = pool_take(waiting->pool, size);
    if (!kept) {
        counter_add(waiting->counters, COUNTER_entries_lost, 1);
        return;
    }
    kept->next = NULL;
    kept->stream = stream->number;
    kept->ask = ask;
    kept->entry = *entry;
    kept->entry.stream = NULL;
    facts = (uint8_t *)kept->facts;
    if (entry->request) {
        facts = keep_half(&kept->half[0], entry->request, facts);
        kept->entry.request = &kept->half[0];
    }
    if (entry->response) {
        keep_half(&kept->half[1], entry->response, facts);
        kept->entry.response = &kept->half[1];
    }
    if (list->first)
        list->last->next = kept;
    else
        list->first = kept;
    list->last = kept;
    stream->flags |= STREAM_WAITS;
}

bool waiting_next(struct waiting *waiting, struct stream *stream, struct kfl_entry *ret_entry,
                  uint64_t *ret_ask)
{
    pool_give(waiting->pool, waiting->given);
    waiting->given = stream->flags & STREAM_WAITS ? take_first(waiting, stream) : NULL;
    if (!waiting->given) {
        stream->flags &= (uint32_t)~STREAM_WAITS;
        return false;
    }
    *ret_entry = waiting->given->entry;
    *ret_ask = waiting->given->ask;
    return true;
}

uint64_t waiting_ask(const struct waiting *waiting, const struct stream *stream)
{
    uint64_t ask = 0;

    if (!(stream->flags & STREAM_WAITS))
        return 0;
    for (const struct kept *kept = waiting->list[stream->number % N_LISTS].first; kept;
         kept = kept->next)
        if (kept->stream == stream->number)
            ask |= kept->ask;
    return ask;
}

void waiting_drop(struct waiting *waiting, struct stream *stream)
{
    struct kept *kept;

    if (!(stream->flags & STREAM_WAITS))
        return;
    while ((kept = take_first(waiting, stream)))
        pool_give(waiting->pool, kept);
    stream->flags &= (uint32_t)~STREAM_WAITS;
}

static uint8_t *keep_half(struct kfl_half *kept, const struct kfl_half *half, uint8_t *facts)
{
    *kept = *half;
    kept->facts = facts;
    if (half->facts_size)
        memcpy(facts, half->facts, half->facts_size);
    return facts + ((half->facts_size + 7u) & ~7u);
}

static struct kept *take_first(struct waiting *waiting, const struct stream *stream)
{
    struct list *list = &waiting->list[stream->number % N_LISTS];
    struct kept *before = NULL, *kept = list->first;

    while (kept && kept->stream != stream->number) {
        before = kept;
        kept = kept->next;
    }
    if (!kept)
        return NULL;
    if (before)
        before->next = kept->next;
    else
        list->first = kept->next;
    if (list->last == kept)
        list->last = before;
    return kept;
}
