/* names_spells.h - names that come and go: who had an address from when until when.
 *
 *     address --> spell (open) --> spell (ended) --> ...        at most SPELLS_OF_ADDRESS_MAX each
 *                                      |
 *                             all that have ended, oldest first: at most SPELLS_ENDED_MAX stay
 *
 * A spell begins and ends at a time; a packet is answered by the spell that holds at its time,
 * of several the one of the highest rank, of equals the one that began last. What has ended is
 * remembered for packets that come late, within the bounds above.
 *
 * A change costs one small record, whatever the number of addresses: nothing is rebuilt, nobody
 * waits, and lookups see it at once.
 *
 * Threads: one changes (mgmt). names_spells_find() from any, as part of names_lookup(): what was
 * taken out is freed in lots, when nobody who may have seen it is inside of a lookup. */
#ifndef MGMT_NAMES_SPELLS_H
#define MGMT_NAMES_SPELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "names.h"

enum { SPELLS_MAX = 1 << 20, SPELLS_ENDED_MAX = 1 << 16, SPELLS_OF_ADDRESS_MAX = 16 };

#define SPELL_OPEN UINT64_MAX

struct names_spells;
struct names_spell; /* valid until names_spell_end() */

/* wait_for_readers(context): returns when each lookup that had begun is over. Null: nobody looks
 * from another thread. */
int names_spells_create(struct names_pool *pool, void (*wait_for_readers)(void *context),
                        void *context, struct names_spells **ret_spells);
void names_spells_free(struct names_spells *spells);

/* The address has this name since from_ns. When another of the same rank has it still, it changes
 * hands now_ns (or where that one began, if that was later). -> 0 with an open spell, -EINVAL (a
 * text is too long), -ENOSPC, -ENOMEM. */
int names_spell_begin(struct names_spells *spells, const uint8_t addr[static 16],
                      enum names_rank rank, const char *name, const char *namespace,
                      uint64_t from_ns, uint64_t now_ns, struct names_spell **ret_spell);
void names_spell_end(struct names_spells *spells, struct names_spell *spell, uint64_t until_ns);

struct names_spell_info {
    uint8_t addr[16];
    const char *name, *namespace;
    uint64_t from_ns, until_ns; /* SPELL_OPEN: it still holds */
};
struct names_spell_info names_spell_info(const struct names_spell *spell);

/* Who had the address at ts_ns? False: nobody, results untouched. */
bool names_spells_find(const struct names_spells *spells, const uint8_t addr[static 16],
                       uint64_t ts_ns, const char **ret_name, const char **ret_namespace);

/* Each spell that holds now, in no particular order. Changing thread. */
void names_spells_each(const struct names_spells *spells,
                       void (*each)(void *context, const struct names_spell_info *info),
                       void *context);
size_t names_spells_open(const struct names_spells *spells);
size_t names_spells_ended(const struct names_spells *spells); /* remembered */

#endif
