/* The facts of streams' first packets, each kept once for all streams of which it is true. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "memory_map.h"
#include "stream_private.h"

enum { TAKEN = 2 << 20 /* bytes, a huge page */ };

int stream_facts_init(struct stream_facts_table *table, uint32_t max)
{
    uint32_t size = 64;

    while (size < max / 2)
        size *= 2;
    table->max = max;
    table->n_used = 0;
    table->free = STREAM_NONE;
    table->mask = size - 1;
    table->facts = memory_map_sparse(((size_t)max + 1) * sizeof(*table->facts));
    table->chain =
        memory_map_sparse((size_t)size * sizeof(*table->chain)); /* number + 1; 0: empty */
    return table->facts && table->chain ? 0 : -ENOMEM;
}

/* Records are few: all chains, and a page for the records. */
int stream_facts_take(struct stream_facts_table *table)
{
    size_t size = ((size_t)table->max + 1) * sizeof(*table->facts);
    int err = memory_take(table->chain, ((size_t)table->mask + 1) * sizeof(*table->chain));

    return err ? err : memory_take(table->facts, size < TAKEN ? size : TAKEN);
}

void stream_facts_done(struct stream_facts_table *table)
{
    memory_unmap(table->facts, ((size_t)table->max + 1) * sizeof(*table->facts));
    memory_unmap(table->chain, ((size_t)table->mask + 1) * sizeof(*table->chain));
}

/* Whoever sets a name or an address chooses among few chains at worst: a bound on the walk keeps
 * that harmless, a record too far away is made again. */
enum { CHAIN_MAX = 16, COMPARED = offsetof(struct stream_facts, users) };

static uint32_t *chain_of(const struct stream_facts_table *table, const struct stream_facts *facts)
{
    uint64_t words[COMPARED / 8] = {0}, hash = (uintptr_t)table->facts; /* nobody knows it */

    _Static_assert(COMPARED % 8 == 0, "no padding");
    memcpy(words, facts, COMPARED);
    for (unsigned i = 0; i < COMPARED / 8; i++) {
        hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return &table->chain[hash & table->mask];
}

uint32_t stream_facts_share(struct stream_facts_table *table, const struct stream_facts *facts)
{
    uint32_t *head = chain_of(table, facts), number = *head;

    for (unsigned i = 0; number && i < CHAIN_MAX; i++, number = table->facts[number - 1].next)
        if (!memcmp(&table->facts[number - 1], facts, COMPARED)) {
            table->facts[number - 1].users++;
            return number - 1;
        }
    number = table->free;
    if (number != STREAM_NONE)
        table->free = table->facts[number].next;
    else
        number = table->n_used++;
    ensure(number < table->max); /* there are never more of them than streams */
    table->facts[number] = *facts;
    table->facts[number].users = 1;
    table->facts[number].next = *head;
    *head = number + 1;
    return number;
}

void stream_facts_leave(struct stream_facts_table *table, uint32_t number)
{
    struct stream_facts *facts = &table->facts[number];
    uint32_t *at;

    if (--facts->users)
        return;
    for (at = chain_of(table, facts); *at != number + 1; at = &table->facts[*at - 1].next)
        ensure(*at);
    *at = facts->next;
    facts->next = table->free;
    table->free = number;
}

void stream_facts_of(const struct packet *packet, const struct stream_name_source *names,
                     struct stream_facts *ret_facts)
{
    unsigned sender = packet->sender;

    memset(ret_facts, 0, sizeof(*ret_facts)); /* padding, too: it is compared as bytes */
    for (unsigned i = 0; i < 2; i++) {
        ret_facts->name[i] = ret_facts->namespace[i] = "";
        if (names->lookup)
            names->lookup(names->context, packet->key.addr[i], packet->ts_ns, &ret_facts->name[i],
                          &ret_facts->namespace[i]);
    }
    if (stream_key_version(packet->key.ip_version) != 4)
        memcpy(ret_facts->ip6, packet->key.addr, sizeof(ret_facts->ip6));
    ret_facts->tunnel_id = packet->tunnel_id;
    ret_facts->vlan[0] = packet->vlan[0];
    ret_facts->vlan[1] = packet->vlan[1];
    ret_facts->interface = packet->interface;
    ret_facts->tunnel = packet->tunnel;
    if (packet->linktype == LINKTYPE_ETHERNET && packet->caplen >= 14) {
        memcpy(ret_facts->mac[sender], packet->data + 6, 6);
        memcpy(ret_facts->mac[!sender], packet->data, 6);
        ret_facts->has_mac = true;
    }
}
