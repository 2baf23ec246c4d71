#include "stream.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../kfl-jit/ensure.h"
#include "lookback.h"
#include "stream_private.h"

/* One place of the index. Eight to a cache line; a search looks at neighbours. */
struct place {
    uint32_t hash;
    uint32_t stream; /* its number + 1; 0: free, a search ends here */
};

enum {
    WHEEL_SLOTS = 4096,
    WHEEL_SHIFT = 26,  /* a slot is 67 ms, the wheel 275 s; what is due later is looked at again */
    TICK_MAX = 512,    /* streams looked at in one tick */
    EVICT_LOOK = 64,   /* streams looked at for a closed one when the table is full */
    GROW_FROM = 32768, /* streams that an index has room for at first, if it may grow */
    HUGE_PAGE = 2 << 20,
};

enum { IP_ICMP = 1, IP_TCP = 6, IP_UDP = 17, IP_ICMPV6 = 58, IP_SCTP = 132, IP_UDPLITE = 136 };

struct stream_table {
    struct place *index;
    struct stream *streams;
    uint32_t index_mask, index_shift;
    bool distinguish;
    struct stream_config config;
    uint32_t n_touched;  /* streams [0, n_touched) have been used */
    uint32_t n_finished; /* ... and of those, [0, n_finished) ended by stream_table_finish() */
    uint32_t free;       /* of these, a list through timer_next */
    uint32_t hand;       /* where the last search for a closed stream ended */
    _Atomic uint32_t n;
    uint64_t next_number;
    uint64_t slot; /* of the wheel: due next; time >> WHEEL_SHIFT */
    struct stream_facts_table facts;
    uint32_t wheel[WHEEL_SLOTS]; /* first stream of each slot */
};

static uint32_t hash_of(const struct stream_table *table, struct packet *packet);
static inline struct stream *find(const struct stream_table *table, const struct stream_key *key,
                                  uint32_t hash);
static struct stream *begin(struct stream_table *table, struct stream *stream,
                            const struct packet *packet, uint32_t hash, bool *ret_new);
static struct stream *add(struct stream_table *table, const struct packet *packet, uint32_t hash);
static int index_create(struct stream_table *table, uint64_t n_streams);
static void index_free(struct stream_table *table);
static int take_memory(struct stream_table *table);
static void end(struct stream_table *table, struct stream *stream, enum stream_end why);
static void timer_follow(struct stream_table *table, struct stream *stream);
static void timer_arm(struct stream_table *table, struct stream *stream, uint64_t timeout_ns);
static void timer_stop(struct stream_table *table, struct stream *stream);

int stream_table_create(const struct stream_config *config, struct stream_table **ret_table)
{
    struct stream_table *table;

    if (!config->max || config->max > UINT32_C(1) << 30)
        return -EINVAL;
    table = aligned_alloc(64, (sizeof(*table) + 63) & ~(size_t)63);
    if (!table)
        return -ENOMEM;
    memset(table, 0, sizeof(*table));
    table->config = *config;
    if (!table->config.number_step)
        table->config.number_step = 1;
    table->distinguish = config->distinguish_vlan || config->distinguish_tunnel;
    table->free = STREAM_NONE;
    table->next_number = config->number_first;
    memset(table->wheel, 0xff, sizeof(table->wheel));
    table->streams = stream_memory(config->max * sizeof(struct stream));
    if (stream_facts_init(&table->facts, config->max) || !table->streams ||
        index_create(table, config->grow && config->max > GROW_FROM ? GROW_FROM : config->max) ||
        (config->resident && take_memory(table))) {
        stream_table_free(table);
        return -ENOMEM;
    }
    *ret_table = table;
    return 0;
}

void stream_table_free(struct stream_table *table)
{
    if (!table)
        return;
    stream_facts_done(&table->facts);
    stream_memory_free(table->streams, table->config.max * sizeof(struct stream));
    index_free(table);
    free(table);
}

/* The RX step chose the classifier by the same hash: the product spreads what that left. */
static inline uint32_t place_of(const struct stream_table *table, uint32_t hash)
{
    return hash * UINT32_C(0x9e3779b1) >> table->index_shift;
}

void stream_prefetch_burst(const struct stream_table *table, struct packet *const *burst,
                           unsigned n)
{
    if (table->distinguish) /* the hash is not known yet */
        return;
    for (unsigned i = 0; i < n; i++)
        __builtin_prefetch(&table->index[place_of(table, burst[i]->hash)]);
    for (unsigned i = 0; i < n; i++) {
        /* Most are at their own place. Whether this one is, the search will see. */
        uint32_t number = table->index[place_of(table, burst[i]->hash)].stream;
        const struct stream *stream = &table->streams[number - (number != 0)];

        __builtin_prefetch(stream, 1);
        __builtin_prefetch((const uint8_t *)stream + 64, 1);
    }
}

struct stream *stream_find_or_add(struct stream_table *table, struct packet *packet, bool *ret_new)
{
    uint32_t hash = table->distinguish ? hash_of(table, packet) : packet->hash;
    struct stream *stream = find(table, &packet->key, hash);

    *ret_new = false;
    if (__builtin_expect(table->config.recorded, 0) && stream && stream->number != packet->cookie) {
        end(table, stream, stream_end_of(stream));
        stream = NULL;
    }
    if (__builtin_expect(!stream || !stream_quiet(stream, packet), 0))
        return begin(table, stream, packet, hash, ret_new);
    stream_count(stream, packet);
    return stream;
}

struct stream *stream_find(const struct stream_table *table, const struct packet *packet)
{
    struct packet copy = *packet;
    uint32_t hash = table->distinguish ? hash_of(table, &copy) : packet->hash;

    return find(table, &copy.key, hash);
}

unsigned stream_table_tick(struct stream_table *table, uint64_t now_ns)
{
    uint64_t target = now_ns >> WHEEL_SHIFT, timeout;
    unsigned n = 0;

    if (target > table->slot + WHEEL_SLOTS) /* nothing is in the wheel for longer */
        table->slot = target - WHEEL_SLOTS;
    while (table->slot < target) {
        uint32_t number = table->wheel[table->slot % WHEEL_SLOTS];
        struct stream *stream;

        if (number == STREAM_NONE) {
            table->slot++;
            continue;
        }
        if (n++ == TICK_MAX)
            break;
        stream = &table->streams[number];
        timer_stop(table, stream);
        timeout = stream_timeout_ns(table, stream);
        if (timeout && stream->last_ns + timeout <= now_ns)
            end(table, stream, stream_end_of(stream));
        else
            timer_arm(table, stream, timeout);
    }
    return n;
}

bool stream_table_finish(struct stream_table *table, uint32_t n_max)
{
    enum { AHEAD = 16 };
    uint32_t left = table->n_touched - table->n_finished, n = left < n_max ? left : n_max;

    if (!table->n_finished)
        memset(table->wheel, 0xff, sizeof(table->wheel));
    for (uint32_t i = table->n_finished; n; i++, n--) {
        struct stream *stream = &table->streams[i];
        enum stream_end why = stream_end_of(stream);

        stream->flags &= (uint32_t)~STREAM_TIMER;
        if (i + AHEAD < table->n_touched)
            __builtin_prefetch(&table->index[place_of(table, stream[AHEAD].hash)], 1);
        if (stream->flags & STREAM_USED)
            end(table, stream, why == STREAM_END_IDLE ? STREAM_END_STOP : why);
        table->n_finished = i + 1;
    }
    return table->n_finished == table->n_touched;
}

struct stream *stream_table_walk(struct stream_table *table, uint32_t *place)
{
    while (*place < table->n_touched) {
        struct stream *stream = &table->streams[(*place)++];

        if (stream->flags & STREAM_USED)
            return stream;
    }
    *place = 0;
    return NULL;
}

uint64_t stream_timeout_ns(const struct stream_table *table, const struct stream *stream)
{
    const struct stream_config *config = &table->config;

    switch ((enum kfl_l4)stream->l4) {
    case KFL_L4_TCP:
        if (stream->tcp == STREAM_TCP_CLOSED || stream->tcp == STREAM_TCP_RESET)
            return config->timeout_ns_tcp_closed;
        return stream->tcp == STREAM_TCP_SYN_SENT || stream->tcp == STREAM_TCP_SYN_RECEIVED
                   ? config->timeout_ns_tcp_open
                   : config->timeout_ns_tcp;
    case KFL_L4_UDP:
        return config->timeout_ns_udp;
    case KFL_L4_ICMP:
        return config->timeout_ns_icmp;
    case KFL_L4_SCTP:
    case KFL_L4_OTHER:
        break;
    }
    return config->timeout_ns_other;
}

uint32_t stream_table_max(const struct stream_table *table)
{
    return table->config.max;
}

uint64_t stream_table_next_number(const struct stream_table *table)
{
    return table->next_number;
}

uint32_t stream_table_n(const struct stream_table *table)
{
    return atomic_load_explicit(&table->n, memory_order_relaxed);
}

void stream_view(const struct stream_table *table, const struct stream *stream, bool ended,
                 struct kfl_stream *ret_view)
{
    stream_fill_view(stream, &table->facts.facts[stream->facts], ended, ret_view);
    if (table->config.record)
        ret_view->record = table->config.record;
}

const char *stream_name(const struct stream_table *table, const struct stream *stream,
                        unsigned endpoint)
{
    return table->facts.facts[stream->facts].name[endpoint];
}

void stream_init(struct stream *stream, const struct packet *packet, uint32_t hash)
{
    enum kfl_l4 l4 = KFL_L4_OTHER;

    if (!(packet->flags & PACKET_NO_PORTS))
        switch (packet->key.ip_protocol) {
        case IP_TCP:
            l4 = KFL_L4_TCP;
            break;
        case IP_UDP:
        case IP_UDPLITE:
            l4 = KFL_L4_UDP;
            break;
        case IP_SCTP:
            l4 = KFL_L4_SCTP;
            break;
        case IP_ICMP:
        case IP_ICMPV6:
            l4 = KFL_L4_ICMP;
            break;
        default:
            break;
        }
    *stream = (struct stream){
        .key = packet->key,
        .hash = hash,
        .l4 = (uint8_t)l4,
        .first_ns = packet->ts_ns,
        .last_ns = packet->ts_ns,
        .lookback_last = LOOKBACK_NONE,
        .protos = kfl_protos_of_l4(l4),
        .detection = KFL_DETECTION_OPEN,
    };
}

/* At most two thirds of the places are taken. */
static int index_create(struct stream_table *table, uint64_t n_streams)
{
    uint64_t size = 64;
    uint32_t bits = 6;

    for (; size < n_streams * 3 / 2; size *= 2)
        bits++;
    table->index_mask = (uint32_t)(size - 1);
    table->index_shift = 32 - bits;
    table->index = stream_memory(size * sizeof(struct place));
    return table->index ? 0 : -ENOMEM;
}

/* Facts are few, being shared. */
static int take_memory(struct stream_table *table)
{
    size_t index_size = ((size_t)table->index_mask + 1) * sizeof(struct place);

    int err = stream_memory_take(table->index, index_size);

    if (!err)
        err = stream_memory_take(table->streams, table->config.max * sizeof(struct stream));
    return err ? err : stream_facts_take(&table->facts);
}

static void index_free(struct stream_table *table)
{
    stream_memory_free(table->index, ((size_t)table->index_mask + 1) * sizeof(struct place));
}

static void index_put(struct stream_table *table, uint32_t hash, uint32_t number)
{
    uint32_t at = place_of(table, hash);

    while (table->index[at].stream)
        at = (at + 1) & table->index_mask;
    table->index[at] = (struct place){hash, number + 1};
}

/* -> false: no memory for a larger index. */
static bool index_grow(struct stream_table *table)
{
    struct stream_table old = *table;

    if (index_create(table, old.index_mask + UINT64_C(1))) {
        table->index = old.index;
        table->index_mask = old.index_mask;
        table->index_shift = old.index_shift;
        return false;
    }
    for (uint32_t at = 0; at <= old.index_mask; at++)
        if (old.index[at].stream)
            index_put(table, old.index[at].hash, old.index[at].stream - 1);
    index_free(&old);
    return true;
}

/* VLAN and tunnel id as a part of the key. */
static uint32_t hash_of(const struct stream_table *table, struct packet *packet)
{
    uint32_t id = 0;

    if (table->config.distinguish_vlan)
        id = (uint32_t)packet->vlan[0] << 12 | packet->vlan[1];
    if (table->config.distinguish_tunnel)
        id ^= (packet->tunnel_id ^ (uint32_t)packet->tunnel << 27) * UINT32_C(0x85ebca6b);
    id *= UINT32_C(0x9e3779b1);
    packet->key.distinguish = (uint16_t)(id >> 16 ^ id);
    return packet->hash ^ id;
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* Word by word, as decode() wrote it a moment ago. */
static inline bool same_key(const struct stream_key *a, const struct stream_key *b)
{
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
    uint64_t difference = 0;

    for (unsigned i = 0; i < sizeof(*a); i += 8)
        difference |= load64(x + i) ^ load64(y + i);
    return !difference;
}

static inline struct stream *find(const struct stream_table *table, const struct stream_key *key,
                                  uint32_t hash)
{
    uint32_t at = place_of(table, hash);

    for (;; at = (at + 1) & table->index_mask) {
        const struct place *place = &table->index[at];

        if (!place->stream)
            return NULL;
        if (place->hash == hash) {
            struct stream *stream = &table->streams[place->stream - 1];

            if (same_key(&stream->key, key))
                return stream;
        }
    }
}

/* Of two timeouts; 0 is never. */
static inline bool shorter(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns - 1 < b_ns - 1;
}

/* A packet that begins a stream or may change its state. `stream` is null when there is none. */
__attribute__((noinline)) static struct stream *begin(struct stream_table *table,
                                                      struct stream *stream,
                                                      const struct packet *packet, uint32_t hash,
                                                      bool *ret_new)
{
    uint64_t before;

    if (stream && stream_begins_anew(stream, packet)) {
        end(table, stream, stream_end_of(stream));
        stream = NULL;
    }
    if (!stream) {
        stream = add(table, packet, hash);
        if (!stream)
            return NULL;
        *ret_new = true;
    }
    before = stream_timeout_ns(table, stream);
    if ((stream_tcp(stream, packet) && shorter(stream_timeout_ns(table, stream), before)) ||
        *ret_new)
        timer_follow(table, stream);
    stream_count(stream, packet);
    return stream;
}

/* All places are taken: a stream that has closed and only lingers makes room. */
static bool evict(struct stream_table *table)
{
    for (unsigned i = 0; i < EVICT_LOOK; i++) {
        struct stream *stream = &table->streams[table->hand];

        table->hand = table->hand + 1 < table->n_touched ? table->hand + 1 : 0;
        if (stream->tcp == STREAM_TCP_CLOSED || stream->tcp == STREAM_TCP_RESET) {
            end(table, stream, stream_end_of(stream));
            return true;
        }
    }
    return false;
}

static struct stream *add(struct stream_table *table, const struct packet *packet, uint32_t hash)
{
    struct counters *counters = table->config.counters;
    struct stream_facts facts;
    struct stream *stream;
    uint32_t number, n = table->n;

    if ((table->free == STREAM_NONE && table->n_touched == table->config.max && !evict(table)) ||
        (n > table->index_mask / UINT64_C(3) * 2 && !index_grow(table))) {
        if (counters)
            counter_add(counters, COUNTER_streams_full, 1);
        return NULL;
    }
    number = table->free;
    if (number != STREAM_NONE)
        table->free = table->streams[number].timer_next;
    else
        number = table->n_touched++;
    stream = &table->streams[number];
    stream_init(stream, packet, hash);
    stream->flags = STREAM_USED;
    stream->number = table->config.recorded ? packet->cookie : table->next_number;
    table->next_number += table->config.number_step;
    stream_facts_of(packet, &table->config.names, &facts);
    stream->facts = stream_facts_share(&table->facts, &facts);
    stream_begin_orientation(stream, packet);
    index_put(table, hash, number);
    if (!table->slot)
        table->slot = packet->ts_ns >> WHEEL_SHIFT;
    atomic_store_explicit(&table->n, table->n + 1, memory_order_relaxed);
    if (counters)
        counter_add(counters, COUNTER_streams, 1);
    return stream;
}

/* Takes a place out and moves those behind it that it kept from their own. */
static void index_remove(struct stream_table *table, uint32_t at)
{
    uint32_t mask = table->index_mask, hole = at;

    for (;;) {
        at = (at + 1) & mask;
        if (!table->index[at].stream)
            break;
        if (((at - place_of(table, table->index[at].hash)) & mask) >= ((at - hole) & mask)) {
            table->index[hole] = table->index[at];
            hole = at;
        }
    }
    table->index[hole] = (struct place){0, 0};
}

static void end(struct stream_table *table, struct stream *stream, enum stream_end why)
{
    uint32_t number = (uint32_t)(stream - table->streams), at = place_of(table, stream->hash);

    if (table->config.sink.ended)
        table->config.sink.ended(table->config.sink.context, stream, why);
    timer_stop(table, stream);
    while (table->index[at].stream != number + 1) {
        ensure(table->index[at].stream);
        at = (at + 1) & table->index_mask;
    }
    index_remove(table, at);
    stream_facts_leave(&table->facts, stream->facts);
    stream->flags = 0;
    stream->tcp = STREAM_TCP_NONE;
    stream->timer_next = table->free;
    table->free = number;
    atomic_store_explicit(&table->n, table->n - 1, memory_order_relaxed);
    if (table->config.counters)
        counter_add(table->config.counters, COUNTER_streams_ended, 1);
}

/* It is new, or its timeout is shorter: is the stream due earlier than the wheel knows? */
static void timer_follow(struct stream_table *table, struct stream *stream)
{
    uint64_t timeout = stream_timeout_ns(table, stream);

    if (stream->flags & STREAM_TIMER) {
        if ((stream->last_ns + timeout) >> WHEEL_SHIFT >=
            table->slot + ((stream->timer_slot - table->slot) % WHEEL_SLOTS))
            return;
        timer_stop(table, stream);
    }
    timer_arm(table, stream, timeout);
}

static void timer_arm(struct stream_table *table, struct stream *stream, uint64_t timeout_ns)
{
    uint32_t number = (uint32_t)(stream - table->streams), *head;
    uint64_t slot;

    if (!timeout_ns)
        return;
    slot = ((stream->last_ns + timeout_ns) >> WHEEL_SHIFT) + 1;
    if (slot <= table->slot)
        slot = table->slot + 1;
    if (slot >= table->slot + WHEEL_SLOTS)
        slot = table->slot + WHEEL_SLOTS - 1;
    stream->timer_slot = slot % WHEEL_SLOTS;
    head = &table->wheel[stream->timer_slot];
    stream->timer_prev = STREAM_NONE;
    stream->timer_next = *head;
    if (*head != STREAM_NONE)
        table->streams[*head].timer_prev = number;
    *head = number;
    stream->flags |= STREAM_TIMER;
}

static void timer_stop(struct stream_table *table, struct stream *stream)
{
    if (!(stream->flags & STREAM_TIMER))
        return;
    if (stream->timer_prev != STREAM_NONE)
        table->streams[stream->timer_prev].timer_next = stream->timer_next;
    else
        table->wheel[stream->timer_slot] = stream->timer_next;
    if (stream->timer_next != STREAM_NONE)
        table->streams[stream->timer_next].timer_prev = stream->timer_prev;
    stream->flags &= (uint32_t)~STREAM_TIMER;
}

void *stream_memory(size_t size)
{
    void *memory = mmap(NULL, (size + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1),
                        PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

int stream_memory_take(void *memory, size_t size)
{
    /* Kernels before 5.14 do not know it: there pages come as they are touched. */
    return madvise(memory, size, MADV_POPULATE_WRITE) && errno != EINVAL ? -ENOMEM : 0;
}

void stream_memory_free(void *memory, size_t size)
{
    if (memory)
        munmap(memory, (size + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1));
}
