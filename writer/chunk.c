#include "chunk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#include "../dataplane/memory_map.h"
#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/ensure.h"
#include "../kfl-jit/plan.h"

/* Numbers of chunks travel through the rings. What comes back is taken last in, first out: its
 * bytes are still in the caches. */
struct lane {
    struct ring free, full;
    uint16_t *stack; /* of the classifier: free chunks out of the ring */
    _Atomic uint32_t n_stack;
};

struct chunk_pool {
    unsigned n_classifiers;
    unsigned n_chunks, n_writer;
    uint32_t chunk_size;
    uint8_t *memory;
    uint64_t memory_size;
    struct chunk *chunks;
    struct lane *lanes; /* of each classifier, and the writer's own */
    struct chunk_counters (*counters)[KFL_SLOT_MAX];
    struct chunk_slot slots[KFL_SLOT_MAX];
    /* Full chunks that the writer sleeps for; 0: it does not sleep. */
    _Alignas(64) _Atomic uint32_t wanted;
};

enum { FILTER_BITS = 4 }; /* of a stream */

static uint64_t filter_bit(uint64_t number, unsigned k, uint32_t n_streams);
static int lane_init(struct chunk_pool *pool, unsigned lane, unsigned first, unsigned n);

int chunk_pool_create(unsigned n_classifiers, unsigned n_chunks_each, unsigned n_writer,
                      uint32_t chunk_size, struct chunk_pool **ret_pool)
{
    struct chunk_pool *pool;
    int error = -ENOMEM;

    if (chunk_size < CHUNK_SIZE_MIN || chunk_size % CHUNK_ALIGN || !n_chunks_each || !n_writer ||
        (uint64_t)n_classifiers * n_chunks_each + n_writer > UINT16_MAX)
        return -EINVAL;
    pool = aligned_alloc(_Alignof(struct chunk_pool), sizeof(*pool));
    if (!pool)
        return -ENOMEM;
    memset(pool, 0, sizeof(*pool));
    pool->n_classifiers = n_classifiers;
    pool->n_chunks = n_classifiers * n_chunks_each + n_writer;
    pool->n_writer = n_writer;
    pool->chunk_size = chunk_size;
    pool->chunks = calloc(pool->n_chunks, sizeof(*pool->chunks));
    pool->lanes = calloc(n_classifiers + 1, sizeof(*pool->lanes));
    pool->counters = aligned_alloc(64, (n_classifiers + 1) * sizeof(*pool->counters));
    if (!pool->chunks || !pool->lanes || !pool->counters)
        goto fail;
    memset(pool->counters, 0, (n_classifiers + 1) * sizeof(*pool->counters));
    pool->memory_size = (uint64_t)pool->n_chunks * pool->chunk_size;
    pool->memory = memory_map(pool->memory_size);
    error = pool->memory ? 0 : -ENOMEM;
    for (unsigned i = 0; !error && i <= n_classifiers; i++)
        error = lane_init(pool, i, i * n_chunks_each, i < n_classifiers ? n_chunks_each : n_writer);
    if (error)
        goto fail;
    *ret_pool = pool;
    return 0;
fail:
    chunk_pool_free(pool);
    return error;
}

void chunk_pool_free(struct chunk_pool *pool)
{
    if (!pool)
        return;
    for (unsigned i = 0; pool->lanes && i <= pool->n_classifiers; i++) {
        ring_done(&pool->lanes[i].free);
        ring_done(&pool->lanes[i].full);
        free(pool->lanes[i].stack);
    }
    memory_unmap(pool->memory, pool->memory_size);
    free(pool->counters);
    free(pool->lanes);
    free(pool->chunks);
    free(pool);
}

static struct chunk *pop(struct chunk_pool *pool, struct ring *ring)
{
    uint32_t first;
    struct chunk *chunk;

    if (!ring_peek(ring, 1, &first))
        return NULL;
    chunk = &pool->chunks[*(uint16_t *)ring_at(ring, first)];
    ring_pop(ring, 1);
    return chunk;
}

/* Each ring of a lane has room for all chunks of the lane. */
static void push(struct ring *ring, const struct chunk *chunk)
{
    uint32_t first;

    ensure(ring_reserve(ring, 1, &first));
    *(uint16_t *)ring_at(ring, first) = chunk->number;
    ring_push(ring, 1);
}

static uint32_t lane_free(struct lane *lane)
{
    return ring_fill(&lane->free) + atomic_load_explicit(&lane->n_stack, memory_order_relaxed);
}

struct chunk *chunk_take(struct chunk_pool *pool, unsigned classifier)
{
    struct lane *lane = &pool->lanes[classifier];
    uint32_t n = atomic_load_explicit(&lane->n_stack, memory_order_relaxed);
    struct chunk *chunk;

    while ((chunk = pop(pool, &lane->free)))
        lane->stack[n++] = chunk->number;
    if (!n)
        return NULL;
    chunk = &pool->chunks[lane->stack[--n]];
    atomic_store_explicit(&lane->n_stack, n, memory_order_relaxed);
    *chunk = (struct chunk){
        .data = chunk->data,
        .size = chunk->size,
        .number = chunk->number,
        .classifier = chunk->classifier,
        .first_ns = UINT64_MAX,
    };
    return chunk;
}

/* The read of `wanted` and the exchange of chunk_wait() come one after the other: either it finds
 * the sleeper, or the sleeper finds the chunk. */
void chunk_submit(struct chunk_pool *pool, struct chunk *chunk)
{
    struct ring *full = &pool->lanes[chunk->classifier].full;
    uint32_t wanted;

    push(full, chunk);
    wanted = atomic_fetch_or_explicit(&pool->wanted, 0, memory_order_acq_rel);
    if (wanted && ring_fill(full) >= wanted &&
        atomic_exchange_explicit(&pool->wanted, 0, memory_order_acq_rel))
        syscall(SYS_futex, &pool->wanted, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

struct chunk *chunk_next(struct chunk_pool *pool, unsigned classifier)
{
    return pop(pool, &pool->lanes[classifier].full);
}

void chunk_wait(struct chunk_pool *pool, unsigned n, uint64_t timeout_ns)
{
    const struct timespec time = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                                  .tv_nsec = (long)(timeout_ns % 1000000000)};

    atomic_exchange_explicit(&pool->wanted, n, memory_order_acq_rel);
    for (unsigned i = 0; i < pool->n_classifiers; i++)
        if (ring_fill(&pool->lanes[i].full) >= n)
            return;
    syscall(SYS_futex, &pool->wanted, FUTEX_WAIT_PRIVATE, n, &time, NULL, 0);
}

void chunk_give(struct chunk_pool *pool, struct chunk *chunk)
{
    push(&pool->lanes[chunk->classifier].free, chunk);
}

unsigned chunk_free(struct chunk_pool *pool, unsigned classifier, unsigned *ret_n)
{
    *ret_n = (pool->n_chunks - pool->n_writer) / pool->n_classifiers;
    return lane_free(&pool->lanes[classifier]);
}

struct chunk_slot *chunk_slot(struct chunk_pool *pool, unsigned slot)
{
    ensure(slot < KFL_SLOT_MAX);
    return &pool->slots[slot];
}

struct chunk_counters *chunk_counters(struct chunk_pool *pool, unsigned classifier, unsigned slot)
{
    ensure(classifier <= pool->n_classifiers && slot < KFL_SLOT_MAX);
    return &pool->counters[classifier][slot];
}

unsigned chunk_classifiers(const struct chunk_pool *pool)
{
    return pool->n_classifiers;
}

uint32_t chunk_size(const struct chunk_pool *pool)
{
    return pool->chunk_size;
}

unsigned chunk_busy(struct chunk_pool *pool)
{
    unsigned free = 0;

    for (unsigned i = 0; i <= pool->n_classifiers; i++)
        free += lane_free(&pool->lanes[i]);
    return pool->n_chunks - free;
}

void chunk_close(struct chunk *chunk, const struct chunk_directory *directory,
                 const struct chunk_stream *streams, const struct chunk_run *runs, const char *text)
{
    uint32_t streams_size = directory->n_streams * (uint32_t)sizeof(*streams);
    uint32_t runs_size = directory->n_runs * (uint32_t)sizeof(*runs);
    uint32_t body = (uint32_t)chunk_directory_size(directory->n_streams, directory->n_runs,
                                                   directory->text_size);
    uint32_t behind_text = -directory->text_size & 7; /* of the body: zeros */
    uint32_t end =
        (chunk->used + PCAPNG_PADDING_MIN + body + CHUNK_ALIGN - 1) / CHUNK_ALIGN * CHUNK_ALIGN;
    struct chunk_directory head = *directory;
    uint8_t *at = chunk->data + chunk->used;

    ensure(end <= chunk->size);
    pcapng_padding_block(at, end - chunk->used, body - behind_text);
    chunk->directory = chunk->used + 8;
    chunk->directory_size = body;
    chunk->used = end;
    head.magic = CHUNK_DIRECTORY_MAGIC;
    head.size = end;
    head.offset = 0;
    head.first_ns = chunk->n_packets ? chunk->first_ns : 0;
    head.last_ns = chunk->last_ns;
    at += 8;
    memcpy(at, &head, sizeof(head));
    at += sizeof(head);
    chunk_filter_make(at, streams, head.n_streams);
    at += chunk_filter_size(head.n_streams);
    if (streams_size)
        memcpy(at, streams, streams_size);
    if (runs_size)
        memcpy(at + streams_size, runs, runs_size);
    if (head.text_size)
        memcpy(at + streams_size + runs_size, text, head.text_size);
}

void chunk_filter_make(uint8_t *filter, const struct chunk_stream *streams, uint32_t n_streams)
{
    memset(filter, 0, chunk_filter_size(n_streams));
    for (uint32_t i = 0; i < n_streams; i++)
        for (unsigned k = 0; k < FILTER_BITS; k++) {
            uint64_t bit = filter_bit(streams[i].number, k, n_streams);

            filter[bit / 8] |= (uint8_t)(1 << bit % 8);
        }
}

bool chunk_filter_may_have(const uint8_t *filter, uint32_t n_streams, uint64_t number)
{
    bool has = n_streams;

    for (unsigned k = 0; k < FILTER_BITS && has; k++) {
        uint64_t bit = filter_bit(number, k, n_streams);

        has = filter[bit / 8] >> bit % 8 & 1;
    }
    return has;
}

/* Two hashes make as many as are needed. */
static uint64_t filter_bit(uint64_t number, unsigned k, uint32_t n_streams)
{
    uint64_t hash = number * UINT64_C(0x9e3779b97f4a7c15);

    hash = (hash ^ hash >> 32) * UINT64_C(0xbf58476d1ce4e5b9);
    hash ^= hash >> 29;
    return ((uint32_t)hash + k * (hash >> 32 | 1)) % (8 * chunk_filter_size(n_streams));
}

struct chunk *chunk_at(const struct chunk_pool *pool, unsigned number)
{
    ensure(number < pool->n_chunks);
    return &pool->chunks[number];
}

void *chunk_memory(const struct chunk_pool *pool, uint64_t *ret_size)
{
    *ret_size = pool->memory_size;
    return pool->memory;
}

static int lane_init(struct chunk_pool *pool, unsigned lane, unsigned first, unsigned n)
{
    int error = ring_init(&pool->lanes[lane].free, n, sizeof(uint16_t));

    if (!error)
        error = ring_init(&pool->lanes[lane].full, n, sizeof(uint16_t));
    if (error)
        return error;
    pool->lanes[lane].stack = calloc(n, sizeof(uint16_t));
    if (!pool->lanes[lane].stack)
        return -ENOMEM;
    for (unsigned i = first; i < first + n; i++) {
        struct chunk *chunk = &pool->chunks[i];

        chunk->data = pool->memory + (size_t)i * pool->chunk_size;
        chunk->size = pool->chunk_size;
        chunk->number = (uint16_t)i;
        chunk->classifier = (uint16_t)lane;
        push(&pool->lanes[lane].free, chunk);
    }
    return 0;
}
