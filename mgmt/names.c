#include "names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../dataplane/dns_names.h"
#include "../kfl-jit/ensure.h"
#include "names_spells.h"

/* ROWS_MAX bounds what a broken names file can cost: 80 MiB. */
enum { BLOCK_SIZE = 64 << 10, SLOTS_FIRST = 256, READERS = 64, PREFIXES = 129, ROWS_MAX = 1 << 20 };

struct block {
    struct block *next;
    size_t used;
    char text[];
};

struct names_pool {
    size_t size, size_max; /* of texts, in bytes */
    struct block *blocks;  /* the first has room */
    const char **slots;    /* open addressing, a power of two */
    size_t n_slots, n_texts;
    bool full;
};

struct row {
    struct names_row row;
    uint8_t rank;
};

struct names {
    struct names_pool *pool;
    struct row *rows;
    uint32_t *slots; /* open addressing: number of the row + 1 */
    size_t n_rows, rows_capacity, n_slots;
    uint32_t n_of_prefix[PREFIXES];
    uint8_t prefixes[PREFIXES]; /* those in use, longest first */
    unsigned n_prefixes;
};

struct reader {
    _Alignas(64) _Atomic uint32_t inside; /* lookups under way */
};

struct names_board {
    struct names *_Atomic current;
    const struct names_spells *spells; /* null: none */
    struct dns_names *learned;         /* null: none */
    struct reader readers[READERS];
};

static const char *store(struct names_pool *pool, const char *text, size_t size);
static bool pool_grow(struct names_pool *pool);
static bool table_grow(struct names *names);
static uint32_t *slot_of(const struct names *names, const uint8_t addr[16], uint8_t prefix);
static void note_prefix(struct names *names, uint8_t prefix);
static void mask(uint8_t addr[16], uint8_t prefix);
static uint64_t hash_text(const char *text);
static unsigned reader_of_thread(void);

int names_pool_create(size_t size_max, struct names_pool **ret_pool)
{
    struct names_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return -ENOMEM;
    pool->size_max = size_max;
    pool->n_slots = SLOTS_FIRST;
    pool->slots = calloc(pool->n_slots, sizeof(pool->slots[0]));
    if (!pool->slots) {
        free(pool);
        return -ENOMEM;
    }
    *ret_pool = pool;
    return 0;
}

void names_pool_free(struct names_pool *pool)
{
    if (!pool)
        return;
    while (pool->blocks) {
        struct block *next = pool->blocks->next;

        free(pool->blocks);
        pool->blocks = next;
    }
    free(pool->slots);
    free(pool);
}

bool names_pool_full(const struct names_pool *pool)
{
    return pool->full;
}

const char *names_pool_text(struct names_pool *pool, const char *text)
{
    size_t mask_ = pool->n_slots - 1;
    size_t i = hash_text(text) & mask_;

    for (; pool->slots[i]; i = (i + 1) & mask_)
        if (!strcmp(pool->slots[i], text))
            return pool->slots[i];
    if ((pool->n_texts + 1) * 2 > pool->n_slots) {
        if (!pool_grow(pool))
            return NULL;
        return names_pool_text(pool, text); /* once: there is room now */
    }
    pool->slots[i] = store(pool, text, strlen(text) + 1);
    pool->n_texts += pool->slots[i] != NULL;
    return pool->slots[i];
}

size_t names_pool_size(const struct names_pool *pool)
{
    return pool->size;
}

struct names *names_create(struct names_pool *pool)
{
    struct names *names = calloc(1, sizeof(*names));

    if (!names)
        return NULL;
    names->pool = pool;
    names->n_slots = SLOTS_FIRST;
    names->slots = calloc(names->n_slots, sizeof(names->slots[0]));
    if (!names->slots) {
        free(names);
        return NULL;
    }
    return names;
}

void names_free(struct names *names)
{
    if (!names)
        return;
    free(names->rows);
    free(names->slots);
    free(names);
}

int names_add(struct names *names, const uint8_t addr[static 16], uint8_t prefix,
              enum names_rank rank, const char *name, const char *namespace)
{
    struct row row = {.row = {.prefix = prefix}, .rank = (uint8_t)rank};
    uint32_t *slot;

    if (prefix > 128 || strlen(name) > NAMES_TEXT_MAX || strlen(namespace) > NAMES_TEXT_MAX)
        return -EINVAL;
    row.row.name = names_pool_text(names->pool, name);
    row.row.namespace = names_pool_text(names->pool, namespace);
    if (!row.row.name || !row.row.namespace)
        return names->pool->full ? -ENOSPC : -ENOMEM;
    memcpy(row.row.addr, addr, 16);
    mask(row.row.addr, prefix);
    slot = slot_of(names, row.row.addr, prefix);
    if (*slot) {
        struct row *old = &names->rows[*slot - 1];

        if (old->rank <= row.rank)
            *old = row;
        return 0;
    }
    if (names->n_rows == ROWS_MAX)
        return -ENOSPC;
    if (!table_grow(names))
        return -ENOMEM;
    slot = slot_of(names, row.row.addr, prefix);
    names->rows[names->n_rows++] = row;
    *slot = (uint32_t)names->n_rows;
    note_prefix(names, prefix);
    return 0;
}

bool names_find(const struct names *names, const uint8_t addr[static 16], const char **ret_name,
                const char **ret_namespace)
{
    uint8_t prefix;

    return names_find_prefix(names, addr, ret_name, ret_namespace, &prefix);
}

bool names_find_prefix(const struct names *names, const uint8_t addr[static 16],
                       const char **ret_name, const char **ret_namespace, uint8_t *ret_prefix)
{
    uint8_t masked[16];

    memcpy(masked, addr, 16);
    for (unsigned i = 0; i < names->n_prefixes; i++) {
        uint32_t number;

        mask(masked, names->prefixes[i]);
        number = *slot_of(names, masked, names->prefixes[i]);
        if (number) {
            *ret_name = names->rows[number - 1].row.name;
            *ret_namespace = names->rows[number - 1].row.namespace;
            *ret_prefix = names->prefixes[i];
            return true;
        }
    }
    return false;
}

size_t names_count(const struct names *names)
{
    return names->n_rows;
}

struct names_row names_row(const struct names *names, size_t i)
{
    ensure(i < names->n_rows);
    return names->rows[i].row;
}

int names_parse_address(const char *text, uint8_t ret_addr[static 16], uint8_t *ret_prefix)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    uint8_t addr[16];
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : strlen(text);
    unsigned bits = 128, base = 0;

    if (size >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, size);
    host[size] = 0;
    if (inet_pton(AF_INET, host, addr + 12) == 1) {
        memcpy(addr, mapped, 12);
        base = 96;
    } else if (inet_pton(AF_INET6, host, addr) != 1) {
        return -EINVAL;
    }
    if (slash) {
        char *end;

        bits = (unsigned)strtoul(slash + 1, &end, 10) + base;
        if (slash[1] < '0' || slash[1] > '9' || *end || end - slash > 4 || bits > 128)
            return -EINVAL;
    }
    memcpy(ret_addr, addr, 16);
    *ret_prefix = (uint8_t)bits;
    return 0;
}

char *names_format_address(const uint8_t addr[static 16], uint8_t prefix,
                           char buffer[static NAMES_ADDRESS_SIZE])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool v4 = prefix >= 96 && !memcmp(addr, mapped, 12);
    unsigned bits = v4 ? prefix - 96u : prefix;
    size_t used;

    if (v4)
        inet_ntop(AF_INET, addr + 12, buffer, NAMES_ADDRESS_SIZE);
    else
        inet_ntop(AF_INET6, addr, buffer, NAMES_ADDRESS_SIZE);
    used = strlen(buffer);
    if (prefix < 128)
        snprintf(buffer + used, NAMES_ADDRESS_SIZE - used, "/%u", bits);
    return buffer;
}

int names_board_create(struct names_board **ret_board)
{
    struct names_board *board = aligned_alloc(64, sizeof(*board));

    if (!board)
        return -ENOMEM;
    memset(board, 0, sizeof(*board));
    *ret_board = board;
    return 0;
}

void names_board_free(struct names_board *board)
{
    if (!board)
        return;
    names_free(atomic_load(&board->current));
    free(board);
}

void names_publish(struct names_board *board, struct names *names)
{
    struct names *old = atomic_exchange(&board->current, names);

    names_board_wait(board);
    names_free(old);
}

/* Whoever entered before may still be in what was taken away; who enters now is not. */
void names_board_wait(void *context)
{
    struct names_board *board = context;

    for (unsigned i = 0; i < READERS; i++)
        while (atomic_load(&board->readers[i].inside))
            sched_yield();
}

void names_board_set_spells(struct names_board *board, const struct names_spells *spells)
{
    board->spells = spells;
}

void names_board_set_learned(struct names_board *board, struct dns_names *learned)
{
    board->learned = learned;
}

struct dns_names *names_board_learned(const struct names_board *board)
{
    return board->learned;
}

const struct names *names_published(const struct names_board *board)
{
    return atomic_load(&board->current);
}

bool names_lookup(void *context, const uint8_t addr[16], uint64_t ts_ns, const char **ret_name,
                  const char **ret_namespace)
{
    struct names_board *board = context;
    struct reader *reader = &board->readers[reader_of_thread()];
    const struct names *names;
    uint8_t prefix = 0;
    bool found;

    atomic_fetch_add(&reader->inside, 1);
    names = atomic_load(&board->current);
    found = names && names_find_prefix(names, addr, ret_name, ret_namespace, &prefix);
    if (board->spells && (!found || prefix < 128))
        found |= names_spells_find(board->spells, addr, ts_ns, ret_name, ret_namespace);
    atomic_fetch_sub(&reader->inside, 1);
    if (!found && board->learned && dns_names_find(board->learned, addr, ts_ns, ret_name)) {
        *ret_namespace = "";
        found = true;
    }
    return found;
}

static const char *store(struct names_pool *pool, const char *text, size_t size)
{
    struct block *block = pool->blocks;
    char *place;

    if (pool->size + size > pool->size_max) {
        pool->full = true;
        return NULL;
    }
    if (!block || block->used + size > BLOCK_SIZE) {
        block = malloc(sizeof(*block) + BLOCK_SIZE);
        if (!block)
            return NULL;
        block->next = pool->blocks;
        block->used = 0;
        pool->blocks = block;
    }
    place = block->text + block->used;
    memcpy(place, text, size);
    block->used += size;
    pool->size += size;
    return place;
}

static bool pool_grow(struct names_pool *pool)
{
    size_t n = pool->n_slots * 2;
    const char **slots = calloc(n, sizeof(slots[0]));

    if (!slots)
        return false;
    for (size_t i = 0; i < pool->n_slots; i++) {
        size_t j;

        if (!pool->slots[i])
            continue;
        j = hash_text(pool->slots[i]) & (n - 1);
        while (slots[j])
            j = (j + 1) & (n - 1);
        slots[j] = pool->slots[i];
    }
    free(pool->slots);
    pool->slots = slots;
    pool->n_slots = n;
    return true;
}

/* Makes room for one more row and keeps half of the slots empty. */
static bool table_grow(struct names *names)
{
    uint32_t *slots = names->slots;

    if (names->n_rows == names->rows_capacity) {
        size_t capacity = names->rows_capacity ? names->rows_capacity * 2 : 64;
        struct row *rows = realloc(names->rows, capacity * sizeof(rows[0]));

        if (!rows)
            return false;
        names->rows = rows;
        names->rows_capacity = capacity;
    }
    if ((names->n_rows + 1) * 2 <= names->n_slots)
        return true;
    slots = calloc(names->n_slots * 2, sizeof(slots[0]));
    if (!slots)
        return false;
    free(names->slots);
    names->slots = slots;
    names->n_slots *= 2;
    for (size_t i = 0; i < names->n_rows; i++)
        *slot_of(names, names->rows[i].row.addr, names->rows[i].row.prefix) = (uint32_t)i + 1;
    return true;
}

/* The slot of this prefix: its row's, or the empty one where it would be. */
static uint32_t *slot_of(const struct names *names, const uint8_t addr[16], uint8_t prefix)
{
    uint64_t half[2];
    size_t i;

    memcpy(half, addr, 16);
    half[0] = (half[0] ^ prefix) * UINT64_C(0x9e3779b97f4a7c15);
    half[0] ^= half[0] >> 32;
    half[1] = (half[1] ^ half[0]) * UINT64_C(0xd6e8feb86659fd93);
    for (i = (half[1] >> 32) & (names->n_slots - 1); names->slots[i];
         i = (i + 1) & (names->n_slots - 1)) {
        const struct names_row *row = &names->rows[names->slots[i] - 1].row;

        if (row->prefix == prefix && !memcmp(row->addr, addr, 16))
            break;
    }
    return &names->slots[i];
}

static void note_prefix(struct names *names, uint8_t prefix)
{
    unsigned i = names->n_prefixes;

    if (names->n_of_prefix[prefix]++)
        return;
    for (; i > 0 && names->prefixes[i - 1] < prefix; i--)
        names->prefixes[i] = names->prefixes[i - 1];
    names->prefixes[i] = prefix;
    names->n_prefixes++;
}

static void mask(uint8_t addr[16], uint8_t prefix)
{
    for (unsigned i = prefix / 8u; i < 16; i++)
        addr[i] &= (uint8_t)(i == prefix / 8u ? 0xff00 >> (prefix % 8) : 0);
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

/* Threads share a reader only when there are more than READERS of them: slower, not wrong. */
static unsigned reader_of_thread(void)
{
    static _Atomic unsigned n_threads;
    static _Thread_local unsigned number; /* + 1 */

    if (!number)
        number = atomic_fetch_add(&n_threads, 1) % READERS + 1;
    return number - 1;
}
