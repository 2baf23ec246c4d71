#include "lookback.h"

#include <errno.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory_map.h"

/* Where the ring was at times, for the span: one mark each 1/MARKS of the ring. */
enum { MARKS = 256 };

struct mark {
    uint64_t position, ts_ns;
};

struct lookback {
    uint8_t *ring;
    uint64_t capacity; /* bytes */
    uint64_t head;     /* position behind the last record */
    uint64_t lap;      /* position of the ring's start, as the head went past it last */
    uint64_t newest_ns;
    uint64_t ttl_ns;
    uint64_t mark_next; /* position from which the next mark is due */
    uint64_t mark_step;
    unsigned n_marks; /* ever made; the last MARKS are there */
    enum lookback_kind kind;
    struct mark mark[MARKS];
};

enum { LINE = 64 };

static uint64_t place(const struct lookback *lookback, uint32_t size);
static uint8_t *at_position(const struct lookback *lookback, uint64_t position);
static uint32_t record_size(const struct lookback *lookback, uint32_t caplen);
static inline void put_header(uint8_t *at, const struct lookback_record *record);
static void put_lines(uint8_t *at, const uint8_t *bytes, uint32_t size);
static inline void put_line(uint8_t *at, const uint8_t *bytes);
static void put_last(uint8_t *at, const uint8_t *bytes, uint32_t size, uint32_t before);
static inline void put_word(uint8_t *at, uint64_t word);
static bool overwritten(const struct lookback *lookback, uint64_t position);
static void mark(struct lookback *lookback);

int lookback_create(enum lookback_kind kind, uint64_t size, uint64_t ttl_ns, bool resident,
                    struct lookback **ret_lookback)
{
    struct lookback *lookback = calloc(1, sizeof(*lookback));
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    if (!lookback)
        return -ENOMEM;
    lookback->kind = kind;
    lookback->ttl_ns = ttl_ns;
    lookback->capacity = size ? (size + page - 1) / page * page : page;
    lookback->mark_step = lookback->capacity / MARKS;
    lookback->ring =
        resident ? memory_map(lookback->capacity) : memory_map_sparse(lookback->capacity);
    if (!lookback->ring || (resident && memory_take(lookback->ring, lookback->capacity))) {
        lookback_free(lookback);
        return -ENOMEM;
    }
    *ret_lookback = lookback;
    return 0;
}

void lookback_free(struct lookback *lookback)
{
    if (!lookback)
        return;
    memory_unmap(lookback->ring, lookback->capacity);
    free(lookback);
}

uint64_t lookback_append(struct lookback *lookback, const struct packet *packet, bool counted,
                         uint64_t prev)
{
    uint32_t size = record_size(lookback, packet->caplen);
    uint64_t position = place(lookback, size);
    uint8_t *at = at_position(lookback, position);
    const struct lookback_record record = {
        .prev = prev,
        .next = LOOKBACK_NONE,
        .ts_ns = packet->ts_ns,
        .data = lookback->kind == LOOKBACK_COPIES ? at + sizeof(record) : packet->data,
        .caplen = packet->caplen,
        .origlen = packet->origlen,
        .payload = packet->payload,
        .payload_size = packet->payload_size,
        .interface = packet->interface,
        .flags =
            (uint16_t)((packet->sender ? LOOKBACK_SENDER : 0) | (counted ? LOOKBACK_COUNTED : 0)),
    };

    if (size > lookback->capacity)
        return LOOKBACK_NONE;
    if (position - lookback->lap == lookback->capacity)
        lookback->lap = position;
    put_header(at, &record);
    if (lookback->kind == LOOKBACK_COPIES)
        put_lines(at + sizeof(record), packet->data, packet->caplen);
    if (packet->ts_ns > lookback->newest_ns)
        lookback->newest_ns = packet->ts_ns;
    if (position >= lookback->mark_next)
        mark(lookback);
    lookback->head = position + size;
    return position;
}

uint64_t lookback_next(const struct lookback *lookback, uint32_t caplen)
{
    uint32_t size = record_size(lookback, caplen);

    return size > lookback->capacity ? LOOKBACK_NONE : place(lookback, size);
}

struct lookback_record *lookback_get(const struct lookback *lookback, uint64_t position)
{
    if (position >= lookback->head || overwritten(lookback, position))
        return NULL; /* LOOKBACK_NONE among them */
    return (struct lookback_record *)at_position(lookback, position);
}

bool lookback_expired(const struct lookback *lookback, const struct lookback_record *record)
{
    return lookback->ttl_ns && record->ts_ns + lookback->ttl_ns < lookback->newest_ns;
}

bool lookback_keeps(const struct lookback *lookback, uint64_t position, uint32_t caplen)
{
    uint32_t size = record_size(lookback, caplen);

    return place(lookback, size) + size - position <= lookback->capacity;
}

uint64_t lookback_span_ns(const struct lookback *lookback)
{
    unsigned first = lookback->n_marks > MARKS ? lookback->n_marks - MARKS : 0;
    uint64_t span;

    while (first < lookback->n_marks &&
           overwritten(lookback, lookback->mark[first % MARKS].position))
        first++;
    if (first == lookback->n_marks)
        return 0;
    span = lookback->newest_ns - lookback->mark[first % MARKS].ts_ns;
    return lookback->ttl_ns && span > lookback->ttl_ns ? lookback->ttl_ns : span;
}

/* Where a record of this size goes: at the head, or at the start if it would run over the end. */
static uint64_t place(const struct lookback *lookback, uint32_t size)
{
    uint64_t end = lookback->lap + lookback->capacity;

    return lookback->head + size <= end ? lookback->head : end;
}

/* A position of this lap, the one before, or the first of the next one. */
static uint8_t *at_position(const struct lookback *lookback, uint64_t position)
{
    int64_t offset = (int64_t)(position - lookback->lap);
    int64_t capacity = (int64_t)lookback->capacity;

    offset += offset < 0 ? capacity : offset == capacity ? -capacity : 0;
    return lookback->ring + offset;
}

static uint32_t record_size(const struct lookback *lookback, uint32_t caplen)
{
    uint32_t bytes = lookback->kind == LOOKBACK_COPIES ? caplen : 0;

    return (uint32_t)sizeof(struct lookback_record) + (bytes + LINE - 1) / LINE * LINE;
}

/* Past the cache: few of these bytes are ever read again, and a line that is written as a whole is
 * not read from memory first (non-temporal stores: Intel SDM vol. 1, 10.4.6.2). All of a record
 * goes this way: these stores would wait for one before them that misses the cache. Nor is
 * anything put together in memory, where it would be read back before it is stored. */
static inline void put_header(uint8_t *at, const struct lookback_record *record)
{
    put_word(at, record->prev);
    put_word(at + 8, record->next);
    put_word(at + 16, record->ts_ns);
    put_word(at + 24, (uintptr_t)record->data);
    put_word(at + 32, record->caplen | (uint64_t)record->origlen << 32);
    put_word(at + 40, record->payload | (uint64_t)record->payload_size << 32);
    put_word(at + 48, record->interface | (uint64_t)record->flags << 16);
    put_word(at + 56, 0);
}

static void put_lines(uint8_t *at, const uint8_t *bytes, uint32_t size)
{
    uint32_t i = 0;

    for (; size - i >= LINE; i += LINE)
        put_line(at + i, bytes + i);
    if (size > i)
        put_last(at + i, bytes + i, size - i, i);
}

static inline void put_line(uint8_t *at, const uint8_t *bytes)
{
#ifdef __AVX__
    for (unsigned i = 0; i < LINE; i += 32)
        _mm256_stream_si256((__m256i *)(at + i), _mm256_loadu_si256((const __m256i *)(bytes + i)));
#else
    for (unsigned i = 0; i < LINE; i += 16)
        _mm_stream_si128((__m128i *)(at + i), _mm_loadu_si128((const __m128i *)(bytes + i)));
#endif
}

/* Less than a line; before: bytes of the packet before it. */
static void put_last(uint8_t *at, const uint8_t *bytes, uint32_t size, uint32_t before)
{
    uint64_t word = 0;
    uint32_t i = 0;

    for (; size - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        put_word(at + i, word);
    }
    if (i < size) { /* the word that ends with the packet has them, and others before them */
        word = 0;
        if (i + before)
            memcpy(&word, bytes + size - sizeof(word), sizeof(word));
        else
            memcpy((uint8_t *)&word + sizeof(word) - size, bytes, size);
        put_word(at + i, word >> 8 * (i + sizeof(word) - size));
        i += sizeof(word);
    }
    for (; i < LINE; i += sizeof(word))
        put_word(at + i, 0);
}

static inline void put_word(uint8_t *at, uint64_t word)
{
    _mm_stream_si64((long long *)at, (long long)word);
}

static bool overwritten(const struct lookback *lookback, uint64_t position)
{
    return lookback->head - position > lookback->capacity;
}

static void mark(struct lookback *lookback)
{
    lookback->mark[lookback->n_marks++ % MARKS] =
        (struct mark){.position = lookback->head, .ts_ns = lookback->newest_ns};
    lookback->mark_next = lookback->head + lookback->mark_step;
}
