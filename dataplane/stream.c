#include "stream.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "lookback.h"
#include "memory_map.h"
#include "stream_private.h"

enum {
    LINE_PLACES = 15,
    LINE_STREAMS = 11, /* ... taken at most, on average: few lines are full */
};

/* A place is a stream's number + 1, and above it as many bits of its hash as there is room for; 0
 * is free. */
struct index_line {
    uint32_t passed; /* streams that found it full and went on to the next */
    uint32_t place[LINE_PLACES];
};
_Static_assert(sizeof(struct index_line) == 64, "a cache line");

enum {
    WHEEL_SLOTS = 4096,
    WHEEL_SHIFT = 26,  /* a slot is 67 ms, the wheel 275 s; what is due later is looked at again */
    TICK_MAX = 512,    /* streams looked at in one tick */
    EVICT_LOOK = 64,   /* streams looked at for a closed one when the table is full */
    GROW_FROM = 32768, /* streams that an index has room for at first, if it may grow */
};

enum { IP_ICMP = 1, IP_TCP = 6, IP_UDP = 17, IP_ICMPV6 = 58, IP_SCTP = 132, IP_UDPLITE = 136 };

static const struct stream_extra no_extra = {.lookback_last = LOOKBACK_NONE};
struct stream_extra *const stream_no_extra = (struct stream_extra *)&no_extra;

struct stream_table {
    struct index_line *index;
    struct stream *streams;
    struct stream_extra *extras; /* of the stream of the same number */
    uint32_t n_lines;
    unsigned number_bits; /* of a place */
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
static struct stream *find(const struct stream_table *table, const struct stream_key *key,
                           const struct stream_id *id, uint32_t hash);
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
    table->number_bits = 32 - (unsigned)__builtin_clz(config->max);
    table->streams = memory_map_sparse(config->max * sizeof(struct stream));
    table->extras = memory_map_sparse(config->max * sizeof(struct stream_extra));
    if (stream_facts_init(&table->facts, config->max) || !table->streams || !table->extras ||
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
    memory_unmap(table->streams, table->config.max * sizeof(struct stream));
    memory_unmap(table->extras, table->config.max * sizeof(struct stream_extra));
    index_free(table);
    free(table);
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static inline struct stream_id id_of(const struct stream_key *key)
{
    const uint8_t *both = (const uint8_t *)key->addr;
    struct stream_id id;

    if (__builtin_expect(stream_key_version(key->ip_version) == 4, 1)) {
        memcpy(id.ip4[0], key->addr[0] + 12, 4);
        memcpy(id.ip4[1], key->addr[1] + 12, 4);
    } else {
        id.ip6 = 0;
        for (unsigned i = 0; i < 4; i++)
            id.ip6 = (id.ip6 ^ load64(both + i * 8)) * UINT64_C(0x9e3779b97f4a7c15);
    }
    memcpy(id.port, key->port, sizeof(id) - offsetof(struct stream_id, port));
    return id;
}

static inline bool is_of(const struct stream_table *table, const struct stream *stream,
                         const struct stream_id *id, const struct stream_key *key)
{
    const uint8_t *x = (const uint8_t *)&stream->id, *y = (const uint8_t *)id;

    if ((load64(x) ^ load64(y)) | (load64(x + 8) ^ load64(y + 8)))
        return false;
    return stream_key_version(id->ip_version) == 4 ||
           !memcmp(table->facts.facts[stream->facts].ip6, key->addr, sizeof(key->addr));
}

/* What the index makes of a hash. The RX step chose the classifier by the same hash: the product
 * spreads what that left. */
struct want {
    uint32_t line, at; /* where the search begins */
    uint32_t bits;     /* of the hash, as in the place */
};

static inline struct want want_of(const struct stream_table *table, uint32_t hash)
{
    uint32_t product = hash * UINT32_C(0x9e3779b1);

    return (struct want){
        .line = (uint32_t)((uint64_t)product * table->n_lines >> 32),
        .at = (product & 0xffff) * LINE_PLACES >> 16,
        .bits = product << table->number_bits,
    };
}

/* -> the number + 1 of the stream in this place, if it may be the wanted one; else 0. */
static inline uint32_t place_number(const struct stream_table *table, uint32_t place, uint32_t bits)
{
    return (place ^ bits) >> table->number_bits ? 0 : place ^ bits;
}

void stream_prefetch_index(const struct stream_table *table, const struct packet *packet)
{
    __builtin_prefetch(&table->index[want_of(table, packet->hash).line]);
}

uint32_t stream_prefetch(const struct stream_table *table, const struct packet *packet,
                         enum stream_depth depth)
{
    struct want want = want_of(table, packet->hash);
    const struct index_line *line = &table->index[want.line];
    uint32_t number = place_number(table, line->place[want.at], want.bits);
    const struct stream *stream;

    for (unsigned at = 0; !number && at < LINE_PLACES; at++)
        number = place_number(table, line->place[at], want.bits);
    if (!number)
        return 0;
    stream = &table->streams[number - 1];
    __builtin_prefetch(stream, 1);
    if (depth >= STREAM_VERDICT)
        __builtin_prefetch(&stream->open, 1);
    if (depth >= STREAM_EXTRA)
        __builtin_prefetch(&table->extras[number - 1], 1);
    return number;
}

struct stream *stream_find_or_add(struct stream_table *table, struct packet *packet, uint32_t hint,
                                  bool *ret_new)
{
    uint32_t hash = table->distinguish ? hash_of(table, packet) : packet->hash;
    struct stream_id id = id_of(&packet->key);
    struct stream *stream = &table->streams[hint - (hint != 0)];

    if (!hint || !(stream->flags & STREAM_USED) || !is_of(table, stream, &id, &packet->key))
        stream = find(table, &packet->key, &id, hash);
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
    struct stream_id id;
    uint32_t hash = table->distinguish ? hash_of(table, &copy) : packet->hash;

    id = id_of(&copy.key);
    return find(table, &copy.key, &id, hash);
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
            __builtin_prefetch(&table->index[want_of(table, stream[AHEAD].hash).line], 1);
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
    return table ? table->facts.facts[stream->facts].name[endpoint] : "";
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
        .id = id_of(&packet->key),
        .hash = hash,
        .l4 = (uint8_t)l4,
        .first_ns = packet->ts_ns,
        .last_ns = packet->ts_ns,
        .extra = stream_no_extra,
        .detection = KFL_DETECTION_OPEN,
    };
}

void stream_extend(struct stream_table *table, struct stream *stream)
{
    if (stream->extra != stream_no_extra)
        return;
    stream->extra = &table->extras[stream - table->streams];
    *stream->extra = (struct stream_extra){
        .lookback_last = LOOKBACK_NONE,
        .protos = kfl_protos_of_l4(stream->l4),
    };
}

void stream_key_get(const struct stream_table *table, const struct stream *stream,
                    struct stream_key *ret_key)
{
    stream_fill_key(stream, table ? &table->facts.facts[stream->facts] : NULL, ret_key);
}

struct stream_facts *stream_facts_spare(const struct stream_table *table, uint32_t *ret_number)
{
    *ret_number = table->facts.max;
    return &table->facts.facts[table->facts.max];
}

static int index_create(struct stream_table *table, uint64_t n_streams)
{
    table->n_lines = (uint32_t)(n_streams / LINE_STREAMS) + 1;
    table->index = memory_map_sparse(table->n_lines * sizeof(struct index_line));
    return table->index ? 0 : -ENOMEM;
}

/* Facts are few, being shared. */
static int take_memory(struct stream_table *table)
{
    int err = memory_take(table->index, table->n_lines * sizeof(struct index_line));

    if (!err)
        err = memory_take(table->streams, table->config.max * sizeof(struct stream));
    if (!err)
        err = memory_take(table->extras, table->config.max * sizeof(struct stream_extra));
    return err ? err : stream_facts_take(&table->facts);
}

static void index_free(struct stream_table *table)
{
    memory_unmap(table->index, table->n_lines * sizeof(struct index_line));
}

static uint32_t next_line(const struct stream_table *table, uint32_t line)
{
    return line + 1 < table->n_lines ? line + 1 : 0;
}

static void index_put(struct stream_table *table, uint32_t hash, uint32_t number)
{
    struct want want = want_of(table, hash);

    for (uint32_t line = want.line;; line = next_line(table, line)) {
        for (unsigned left = LINE_PLACES, at = want.at; left; left--) {
            if (!table->index[line].place[at]) {
                table->index[line].place[at] = want.bits | (number + 1);
                return;
            }
            at = at + 1 < LINE_PLACES ? at + 1 : 0;
        }
        table->index[line].passed++;
    }
}

static void index_remove(struct stream_table *table, uint32_t hash, uint32_t number)
{
    struct want want = want_of(table, hash);

    for (uint32_t line = want.line;; line = next_line(table, line)) {
        for (unsigned at = 0; at < LINE_PLACES; at++)
            if (table->index[line].place[at] == (want.bits | (number + 1))) {
                table->index[line].place[at] = 0;
                return;
            }
        ensure(table->index[line].passed);
        table->index[line].passed--;
    }
}

/* -> false: no memory for a larger index. */
static bool index_grow(struct stream_table *table)
{
    struct stream_table old = *table;

    if (index_create(table, (uint64_t)old.n_lines * 2 * LINE_STREAMS)) {
        table->index = old.index;
        table->n_lines = old.n_lines;
        return false;
    }
    for (uint32_t number = 0; number < table->n_touched; number++)
        if (table->streams[number].flags & STREAM_USED)
            index_put(table, table->streams[number].hash, number);
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

static struct stream *find(const struct stream_table *table, const struct stream_key *key,
                           const struct stream_id *id, uint32_t hash)
{
    struct want want = want_of(table, hash);

    for (uint32_t line = want.line;; line = next_line(table, line)) {
        for (unsigned at = 0; at < LINE_PLACES; at++) {
            uint32_t place = table->index[line].place[at];
            uint32_t number = place_number(table, place, want.bits);

            if (number && is_of(table, &table->streams[number - 1], id, key))
                return &table->streams[number - 1];
        }
        if (!table->index[line].passed)
            return NULL;
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
        (n >= (uint64_t)table->n_lines * LINE_STREAMS && !index_grow(table))) {
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
    if (*facts.name[0] || *facts.name[1])
        stream->flags |= STREAM_NAMED;
    stream_begin_orientation(stream, packet);
    index_put(table, hash, number);
    if (!table->slot)
        table->slot = packet->ts_ns >> WHEEL_SHIFT;
    atomic_store_explicit(&table->n, table->n + 1, memory_order_relaxed);
    if (counters)
        counter_add(counters, COUNTER_streams, 1);
    return stream;
}

static void end(struct stream_table *table, struct stream *stream, enum stream_end why)
{
    uint32_t number = (uint32_t)(stream - table->streams);

    if (table->config.sink.ended)
        table->config.sink.ended(table->config.sink.context, stream, why);
    timer_stop(table, stream);
    index_remove(table, stream->hash, number);
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
    stream->timer_slot = (uint16_t)(slot % WHEEL_SLOTS);
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
