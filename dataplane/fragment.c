/* Fragments find the stream of their datagram. Assembling is in fragment_assembler.c. */
#include "fragment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fragment_id.h"

enum { WAYS = 4 };
#define HELD_NS  (FRAGMENT_TIMEOUT_MS * UINT64_C(1000000))
#define KNOWN_NS (15 * HELD_NS) /* how long what the first fragment said is believed */

/* What decode() made of a first fragment, for those that follow. */
struct known {
    struct fragment_id id;
    uint64_t ts_ns; /* 0: free */
    struct stream_key key;
    uint32_t hash;
    uint32_t tunnel_id;
    uint8_t sender, ip_version, ip_protocol, tunnel;
};

struct held {
    struct fragment_id id;
    struct packet packet;
};

struct fragment_table {
    struct known *known; /* sets of WAYS */
    uint32_t mask;       /* of sets */
    uint64_t seed;
    struct counters *counters;
    unsigned n_held;
    struct held held[FRAGMENT_HELD_MAX]; /* in order of arrival */
};

static unsigned release_old(struct fragment_table *table, struct packet *out, uint64_t now_ns,
                            bool all);
static unsigned one(struct fragment_table *table, const struct packet *packet, struct packet *out);

int fragment_table_create(uint32_t datagrams_max, uint64_t hash_seed, struct counters *counters,
                          struct fragment_table **ret_table)
{
    struct fragment_table *table = calloc(1, sizeof(*table));
    uint32_t sets = 1;

    while (sets * WAYS < datagrams_max)
        sets *= 2;
    if (table)
        table->known = calloc(sets * WAYS, sizeof(*table->known));
    if (!table || !table->known) {
        fragment_table_free(table);
        return -ENOMEM;
    }
    table->mask = sets - 1;
    table->seed = hash_seed;
    table->counters = counters;
    *ret_table = table;
    return 0;
}

void fragment_table_free(struct fragment_table *table)
{
    if (!table)
        return;
    free(table->known);
    free(table);
}

unsigned fragment_burst(struct fragment_table *table, const struct packet *in, unsigned n,
                        struct packet *out, uint64_t now_ns, bool all)
{
    unsigned n_out = table->n_held ? release_old(table, out, now_ns, false) : 0;

    for (unsigned i = 0; i < n; i++)
        if (__builtin_expect(in[i].flags & PACKET_FRAGMENT, 0))
            n_out += one(table, &in[i], out + n_out);
        else
            out[n_out++] = in[i];
    if (all)
        n_out += release_old(table, out + n_out, now_ns, true);
    return n_out;
}

unsigned fragment_held(const struct fragment_table *table)
{
    return table->n_held;
}

static void count(struct fragment_table *table, enum counter which, uint64_t n)
{
    if (table->counters)
        counter_add(table->counters, which, n);
}

static unsigned release_old(struct fragment_table *table, struct packet *out, uint64_t now_ns,
                            bool all)
{
    unsigned n = 0;

    while (n < table->n_held && (all || table->held[n].packet.ts_ns + HELD_NS <= now_ns)) {
        out[n] = table->held[n].packet;
        n++;
    }
    table->n_held -= n;
    memmove(table->held, table->held + n, table->n_held * sizeof(*table->held));
    count(table, COUNTER_fragments_lost, n);
    return n;
}

/* The place of a datagram: its own, else one that is free or the oldest of its set. */
static struct known *place_of(struct fragment_table *table, const struct fragment_id *id)
{
    struct known *set = &table->known[(fragment_id_hash(id, table->seed) & table->mask) * WAYS];
    struct known *oldest = set;

    for (int i = 0; i < WAYS; i++) {
        if (set[i].ts_ns && !memcmp(&set[i].id, id, sizeof(*id)))
            return &set[i];
        if (set[i].ts_ns < oldest->ts_ns)
            oldest = &set[i];
    }
    return oldest;
}

static void learn(struct known *known, const struct fragment_id *id, const struct packet *first)
{
    *known = (struct known){
        .id = *id,
        .ts_ns = first->ts_ns ? first->ts_ns : 1,
        .key = first->key,
        .hash = first->hash,
        .tunnel_id = first->tunnel_id,
        .sender = first->sender,
        .ip_version = first->ip_version,
        .ip_protocol = first->ip_protocol,
        .tunnel = first->tunnel,
    };
}

static void apply(const struct known *known, struct packet *packet)
{
    packet->key = known->key;
    packet->hash = known->hash;
    packet->sender = known->sender;
    packet->tunnel_id = known->tunnel_id;
    packet->tunnel = known->tunnel;
    packet->ip_version = known->ip_version;
    packet->ip_protocol = known->ip_protocol;
    packet->flags &= (uint8_t)~PACKET_NO_PORTS;
}

/* Can the first fragment say more than the addresses? Ports, or a tunnel. */
static bool needs_first(const struct packet *packet)
{
    enum { IPIP = 4, IPV6 = 41, GRE = 47, ETHERIP = 97, MPLS = 137 };
    uint8_t protocol = packet->ip_protocol;

    return (packet->flags & PACKET_NO_PORTS) || protocol == IPIP || protocol == IPV6 ||
           protocol == GRE || protocol == ETHERIP || protocol == MPLS;
}

/* -> packets in out: the fragment itself, with those that waited for it before it; or none, as it
 * waits itself. */
static unsigned one(struct fragment_table *table, const struct packet *packet, struct packet *out)
{
    struct fragment_part part;
    struct known *known;
    unsigned n = 0, kept = 0;

    count(table, COUNTER_fragments, 1);
    out[0] = *packet;
    if (!fragment_part_of(packet, &part))
        return 1;
    known = place_of(table, &part.id);
    if (packet->flags & PACKET_FIRST_FRAGMENT) {
        learn(known, &part.id, packet);
        for (unsigned i = 0; i < table->n_held; i++)
            if (!memcmp(&table->held[i].id, &part.id, sizeof(part.id))) {
                out[n] = table->held[i].packet;
                apply(known, &out[n++]);
            } else {
                table->held[kept++] = table->held[i];
            }
        table->n_held = kept;
        out[n++] = *packet;
        return n;
    }
    if (known->ts_ns && !memcmp(&known->id, &part.id, sizeof(part.id)) &&
        packet->ts_ns < known->ts_ns + KNOWN_NS) {
        apply(known, &out[0]);
        return 1;
    }
    if (!needs_first(packet))
        return 1;
    if (table->n_held == FRAGMENT_HELD_MAX) { /* the oldest goes on as it is */
        out[n++] = table->held[0].packet;
        memmove(table->held, table->held + 1, (--table->n_held) * sizeof(*table->held));
        count(table, COUNTER_fragments_lost, 1);
    }
    table->held[table->n_held].id = part.id;
    table->held[table->n_held++].packet = *packet;
    return n;
}

/* ---- fragment_id.h ---- */

static uint16_t be16(const uint8_t *b)
{
    return (uint16_t)(b[0] << 8 | b[1]);
}

static bool part_of_ipv4(const struct packet *packet, const uint8_t *ip,
                         struct fragment_part *ret_part)
{
    uint32_t header_size = (ip[0] & 15) * 4u, size = be16(ip + 2);

    if (header_size < 20 || size < header_size)
        return false;
    memcpy(ret_part->id.source, ip + 12, 4);
    memcpy(ret_part->id.destination, ip + 16, 4);
    ret_part->id.identification = be16(ip + 4);
    ret_part->id.protocol = ip[9];
    ret_part->begin = packet->fragment_l3 + header_size;
    ret_part->size = size - header_size;
    return true;
}

static bool part_of_ipv6(const struct packet *packet, const uint8_t *ip,
                         struct fragment_part *ret_part)
{
    enum { FRAGMENT = 44, AH = 51 };
    uint32_t end = packet->caplen, at = packet->fragment_l3 + 40u, size = be16(ip + 4);
    uint8_t next = ip[6];

    while (next != FRAGMENT) { /* decode() has walked here: these are extension headers */
        if (end - at < 8)
            return false;
        next = packet->data[at];
        at += next == AH ? (packet->data[at + 1] + 2u) * 4 : (packet->data[at + 1] + 1u) * 8;
        if (at > end)
            return false;
    }
    if (end - at < 8 || packet->fragment_l3 + 40u + size < at + 8)
        return false;
    memcpy(ret_part->id.source, ip + 8, 16);
    memcpy(ret_part->id.destination, ip + 24, 16);
    ret_part->id.identification =
        (uint32_t)be16(packet->data + at + 4) << 16 | be16(packet->data + at + 6);
    ret_part->id.protocol = packet->data[at];
    ret_part->begin = at + 8;
    ret_part->size = packet->fragment_l3 + 40u + size - ret_part->begin;
    return true;
}

bool fragment_part_of(const struct packet *packet, struct fragment_part *ret_part)
{
    const uint8_t *ip = packet->data + packet->fragment_l3;
    uint32_t left = packet->caplen - packet->fragment_l3;
    bool ok;

    memset(ret_part, 0, sizeof(*ret_part));
    if (left < 20)
        return false;
    ret_part->id.version = ip[0] >> 4;
    if (ret_part->id.version == 4)
        ok = part_of_ipv4(packet, ip, ret_part);
    else
        ok = left >= 40 && part_of_ipv6(packet, ip, ret_part);
    if (!ok || ret_part->begin > packet->caplen)
        return false;
    left = packet->caplen - ret_part->begin;
    ret_part->present = left < ret_part->size ? left : ret_part->size;
    return true;
}
