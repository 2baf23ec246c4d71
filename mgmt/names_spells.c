#include "names_spells.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"

enum { CHAINS = 1 << 16, RETIRED_MAX = 1024 };

struct place;

struct names_spell {
    struct names_spell *_Atomic next; /* of the same address, the latest first */
    uint64_t from_ns;
    _Atomic uint64_t until_ns;
    const char *name, *namespace;
    struct place *place;
    struct names_spell *older, *newer; /* of those that have ended; older: retired ones, too */
    uint8_t rank;
    bool ended, superseded; /* superseded: its owner has not ended it yet */
};

struct place { /* an address */
    struct place *_Atomic next;
    uint8_t addr[16];
    struct names_spell *_Atomic spells;
    unsigned n;
    struct place *retired;
};

struct names_spells {
    struct names_pool *pool;
    struct place *_Atomic *chains;
    size_t n_open, n_ended, n_retired;
    struct names_spell *oldest, *newest; /* ended */
    struct names_spell *retired;
    struct place *retired_places;
    void (*wait_for_readers)(void *context);
    void *context;
};

static struct place *_Atomic *chain_of(const struct names_spells *spells, const uint8_t addr[16]);
static struct place *find_place(const struct names_spells *spells, const uint8_t addr[16]);
static struct place *add_place(struct names_spells *spells, const uint8_t addr[16]);
static void remember(struct names_spells *spells, struct names_spell *spell);
static void forget(struct names_spells *spells, struct names_spell *spell);
static void forget_oldest_of(struct names_spells *spells, struct place *place);
static void reclaim(struct names_spells *spells);
static void change_hands(const struct place *place, struct names_spell *spell, uint64_t now_ns);

int names_spells_create(struct names_pool *pool, void (*wait_for_readers)(void *context),
                        void *context, struct names_spells **ret_spells)
{
    struct names_spells *spells = calloc(1, sizeof(*spells));

    if (!spells)
        return -ENOMEM;
    spells->pool = pool;
    spells->wait_for_readers = wait_for_readers;
    spells->context = context;
    spells->chains = calloc(CHAINS, sizeof(spells->chains[0]));
    if (!spells->chains) {
        free(spells);
        return -ENOMEM;
    }
    *ret_spells = spells;
    return 0;
}

void names_spells_free(struct names_spells *spells)
{
    if (!spells)
        return;
    reclaim(spells);
    for (unsigned i = 0; i < CHAINS; i++) {
        struct place *next;

        for (struct place *place = spells->chains[i]; place; place = next) {
            struct names_spell *after;

            for (struct names_spell *spell = place->spells; spell; spell = after) {
                after = spell->next;
                free(spell);
            }
            next = place->next;
            free(place);
        }
    }
    free(spells->chains);
    free(spells);
}

int names_spell_begin(struct names_spells *spells, const uint8_t addr[static 16],
                      enum names_rank rank, const char *name, const char *namespace,
                      uint64_t from_ns, uint64_t now_ns, struct names_spell **ret_spell)
{
    struct place *place = find_place(spells, addr);
    struct names_spell *spell;

    if (strlen(name) > NAMES_TEXT_MAX || strlen(namespace) > NAMES_TEXT_MAX)
        return -EINVAL;
    if (spells->n_open == SPELLS_MAX)
        return -ENOSPC;
    spell = calloc(1, sizeof(*spell));
    if (!spell)
        return -ENOMEM;
    spell->name = names_pool_text(spells->pool, name);
    spell->namespace = names_pool_text(spells->pool, namespace);
    if (!place && spell->name && spell->namespace)
        place = add_place(spells, addr);
    if (!place || !spell->name || !spell->namespace) {
        free(spell);
        return names_pool_full(spells->pool) ? -ENOSPC : -ENOMEM;
    }
    spell->place = place;
    spell->rank = (uint8_t)rank;
    spell->from_ns = from_ns;
    spell->until_ns = SPELL_OPEN;
    change_hands(place, spell, now_ns);
    spell->next = place->spells;
    atomic_store_explicit(&place->spells, spell, memory_order_release);
    place->n++;
    spells->n_open++;
    if (place->n > SPELLS_OF_ADDRESS_MAX)
        forget_oldest_of(spells, place);
    *ret_spell = spell;
    return 0;
}

void names_spell_end(struct names_spells *spells, struct names_spell *spell, uint64_t until_ns)
{
    ensure(!spell->ended);
    spell->ended = true;
    if (!spell->superseded)
        atomic_store_explicit(&spell->until_ns, until_ns, memory_order_release);
    spells->n_open--;
    remember(spells, spell);
    if (spells->n_ended > SPELLS_ENDED_MAX)
        forget(spells, spells->oldest);
    else if (spell->place->n > SPELLS_OF_ADDRESS_MAX)
        forget_oldest_of(spells, spell->place);
}

struct names_spell_info names_spell_info(const struct names_spell *spell)
{
    struct names_spell_info info = {.name = spell->name,
                                    .namespace = spell->namespace,
                                    .from_ns = spell->from_ns,
                                    .until_ns = spell->until_ns};

    memcpy(info.addr, spell->place->addr, 16);
    return info;
}

bool names_spells_find(const struct names_spells *spells, const uint8_t addr[static 16],
                       uint64_t ts_ns, const char **ret_name, const char **ret_namespace)
{
    const struct place *place = find_place(spells, addr);
    const struct names_spell *best = NULL, *spell;

    if (!place)
        return false;
    for (spell = atomic_load_explicit(&place->spells, memory_order_acquire); spell;
         spell = atomic_load_explicit(&spell->next, memory_order_acquire))
        if (spell->from_ns <= ts_ns &&
            ts_ns < atomic_load_explicit(&spell->until_ns, memory_order_acquire) &&
            (!best || spell->rank > best->rank ||
             (spell->rank == best->rank && spell->from_ns > best->from_ns)))
            best = spell;
    if (!best)
        return false;
    *ret_name = best->name;
    *ret_namespace = best->namespace;
    return true;
}

void names_spells_each(const struct names_spells *spells,
                       void (*each)(void *context, const struct names_spell_info *info),
                       void *context)
{
    for (unsigned i = 0; i < CHAINS; i++)
        for (const struct place *place = spells->chains[i]; place; place = place->next)
            for (const struct names_spell *spell = place->spells; spell; spell = spell->next)
                if (!spell->ended && !spell->superseded) {
                    struct names_spell_info info = names_spell_info(spell);

                    each(context, &info);
                }
}

size_t names_spells_open(const struct names_spells *spells)
{
    return spells->n_open;
}

size_t names_spells_ended(const struct names_spells *spells)
{
    return spells->n_ended;
}

static struct place *_Atomic *chain_of(const struct names_spells *spells, const uint8_t addr[16])
{
    uint64_t half[2];

    memcpy(half, addr, 16);
    half[0] = half[0] * UINT64_C(0x9e3779b97f4a7c15);
    half[1] = (half[1] ^ half[0] ^ half[0] >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return &spells->chains[half[1] >> 48 & (CHAINS - 1)];
}

static struct place *find_place(const struct names_spells *spells, const uint8_t addr[16])
{
    struct place *place = atomic_load_explicit(chain_of(spells, addr), memory_order_acquire);

    while (place && memcmp(place->addr, addr, 16) != 0)
        place = atomic_load_explicit(&place->next, memory_order_acquire);
    return place;
}

static struct place *add_place(struct names_spells *spells, const uint8_t addr[16])
{
    struct place *_Atomic *chain = chain_of(spells, addr);
    struct place *place = calloc(1, sizeof(*place));

    if (!place)
        return NULL;
    memcpy(place->addr, addr, 16);
    place->next = *chain;
    atomic_store_explicit(chain, place, memory_order_release);
    return place;
}

/* Its rank's holder so far ends where the new one begins. In a list of what there is, the one that
 * began later is the holder, whichever comes first. */
static void change_hands(const struct place *place, struct names_spell *spell, uint64_t now_ns)
{
    for (struct names_spell *other = place->spells; other; other = other->next) {
        uint64_t until_ns = other->until_ns;

        if (other->rank != spell->rank)
            continue;
        if (until_ns != SPELL_OPEN) {
            if (until_ns > spell->from_ns)
                spell->from_ns = until_ns;
        } else if (other->from_ns > now_ns) {
            spell->until_ns = other->from_ns;
            spell->superseded = true;
        } else {
            atomic_store_explicit(&other->until_ns, now_ns, memory_order_release);
            other->superseded = true;
            spell->from_ns = now_ns;
        }
    }
}

static void remember(struct names_spells *spells, struct names_spell *spell)
{
    spell->older = spells->newest;
    spell->newer = NULL;
    if (spells->newest)
        spells->newest->newer = spell;
    else
        spells->oldest = spell;
    spells->newest = spell;
    spells->n_ended++;
}

static void forget_oldest_of(struct names_spells *spells, struct place *place)
{
    struct names_spell *oldest = NULL;

    for (struct names_spell *spell = place->spells; spell; spell = spell->next)
        if (spell->ended && (!oldest || spell->until_ns < oldest->until_ns))
            oldest = spell;
    if (oldest)
        forget(spells, oldest);
}

/* Out of the lists; lookups under way may still stand on it, so its links on stay as they are. */
static void forget(struct names_spells *spells, struct names_spell *spell)
{
    struct place *place = spell->place;
    struct names_spell *_Atomic *at = &place->spells;

    *(spell->older ? &spell->older->newer : &spells->oldest) = spell->newer;
    *(spell->newer ? &spell->newer->older : &spells->newest) = spell->older;
    spells->n_ended--;
    while (*at != spell)
        at = &(*at)->next;
    atomic_store_explicit(at, spell->next, memory_order_release);
    spell->older = spells->retired;
    spells->retired = spell;
    spells->n_retired++;
    if (!--place->n) {
        struct place *_Atomic *link = chain_of(spells, place->addr);

        while (*link != place)
            link = &(*link)->next;
        atomic_store_explicit(link, place->next, memory_order_release);
        place->retired = spells->retired_places;
        spells->retired_places = place;
    }
    if (spells->n_retired >= RETIRED_MAX)
        reclaim(spells);
}

static void reclaim(struct names_spells *spells)
{
    if (spells->wait_for_readers)
        spells->wait_for_readers(spells->context);
    while (spells->retired) {
        struct names_spell *spell = spells->retired;

        spells->retired = spell->older;
        free(spell);
    }
    while (spells->retired_places) {
        struct place *place = spells->retired_places;

        spells->retired_places = place->retired;
        free(place);
    }
    spells->n_retired = 0;
}
