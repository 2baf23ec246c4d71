/* Datagrams out of their fragments. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "fragment.h"
#include "fragment_id.h"

enum {
    HEADER_MAX = 40,      /* an IP header without options is put before the data */
    DATAGRAM_MAX = 65535, /* bytes behind it */
    UNIT = 8,             /* fragments begin at multiples of it */
    UNITS = (DATAGRAM_MAX + UNIT - 1) / UNIT,
    WAYS = 4,
};

struct datagram {
    struct fragment_id id;
    uint64_t ts_ns;   /* of the newest fragment; 0: free */
    uint32_t end;     /* the farthest that a fragment reached */
    uint32_t size;    /* known from the last fragment; 0 before */
    uint32_t n_units; /* that came */
    bool refused;     /* its fragments contradict each other: nothing is made of it */
    uint64_t came[UNITS / 64 + 1];
    uint8_t bytes[HEADER_MAX + UNITS * UNIT];
};

struct fragment_assembler {
    struct datagram *datagrams; /* sets of WAYS; touched as they come */
    uint32_t mask;              /* of sets */
    uint64_t seed;
    struct counters *counters;
    struct packet packet; /* the last one that was completed */
};

static struct datagram *place_of(struct fragment_assembler *assembler, const struct fragment_id *id,
                                 uint64_t ts_ns);
static bool add(struct fragment_assembler *assembler, struct datagram *datagram,
                const struct packet *packet, const struct fragment_part *part);
static const struct packet *finish(struct fragment_assembler *assembler, struct datagram *datagram,
                                   const struct packet *last);

int fragment_assembler_create(uint32_t datagrams_max, uint64_t hash_seed, struct counters *counters,
                              struct fragment_assembler **ret_assembler)
{
    struct fragment_assembler *assembler = calloc(1, sizeof(*assembler));
    uint32_t sets = 1;

    while (sets * WAYS < datagrams_max)
        sets *= 2;
    if (assembler)
        assembler->datagrams = calloc(sets * WAYS, sizeof(*assembler->datagrams));
    if (!assembler || !assembler->datagrams) {
        fragment_assembler_free(assembler);
        return -ENOMEM;
    }
    assembler->mask = sets - 1;
    assembler->seed = hash_seed;
    assembler->counters = counters;
    *ret_assembler = assembler;
    return 0;
}

void fragment_assembler_free(struct fragment_assembler *assembler)
{
    if (!assembler)
        return;
    free(assembler->datagrams);
    free(assembler);
}

const struct packet *fragment_assemble(struct fragment_assembler *assembler,
                                       const struct packet *packet)
{
    struct fragment_part part;
    struct datagram *datagram;

    if (!fragment_part_of(packet, &part) || part.present < part.size)
        return NULL;
    datagram = place_of(assembler, &part.id, packet->ts_ns);
    if (!add(assembler, datagram, packet, &part))
        return NULL;
    if (!datagram->size || datagram->n_units < (datagram->size + UNIT - 1) / UNIT)
        return NULL;
    return finish(assembler, datagram, packet);
}

/* The datagram's place; when it is new, that of the one in its set that waits longest. */
static struct datagram *place_of(struct fragment_assembler *assembler, const struct fragment_id *id,
                                 uint64_t ts_ns)
{
    uint32_t hash = fragment_id_hash(id, assembler->seed);
    struct datagram *set = &assembler->datagrams[(hash & assembler->mask) * WAYS], *oldest = set;
    uint64_t limit_ns = FRAGMENT_TIMEOUT_MS * UINT64_C(15000000);

    for (int i = 0; i < WAYS; i++) {
        if (set[i].ts_ns && !memcmp(&set[i].id, id, sizeof(*id))) {
            oldest = &set[i];
            if (ts_ns > oldest->ts_ns + limit_ns) /* its identification is used again */
                oldest->ts_ns = 0;
            break;
        }
        if (set[i].ts_ns < oldest->ts_ns)
            oldest = &set[i];
    }
    if (!oldest->ts_ns || memcmp(&oldest->id, id, sizeof(*id))) {
        oldest->id = *id;
        oldest->end = oldest->size = 0;
        oldest->n_units = 0;
        oldest->refused = false;
        memset(oldest->came, 0, sizeof(oldest->came));
    }
    oldest->ts_ns = ts_ns ? ts_ns : 1;
    return oldest;
}

static bool came(const struct datagram *datagram, uint32_t unit)
{
    return datagram->came[unit / 64] >> unit % 64 & 1;
}

/* -> false: nothing new, or the datagram is refused. */
static bool add(struct fragment_assembler *assembler, struct datagram *datagram,
                const struct packet *packet, const struct fragment_part *part)
{
    uint32_t offset = packet->fragment_offset, end = offset + part->size, n_known = 0;
    uint32_t first = offset / UNIT, last = (end + UNIT - 1) / UNIT;
    const uint8_t *bytes = packet->data + part->begin;

    if (datagram->refused || !part->size)
        return false;
    if (end > DATAGRAM_MAX || ((packet->flags & PACKET_FRAGMENT_MORE) && part->size % UNIT) ||
        (datagram->size && end > datagram->size) ||
        (!(packet->flags & PACKET_FRAGMENT_MORE) && end < datagram->end)) {
        datagram->refused = true;
        if (assembler->counters)
            counter_add(assembler->counters, COUNTER_fragments_lost, 1);
        return false;
    }
    for (uint32_t unit = first; unit < last; unit++)
        n_known += came(datagram, unit);
    if (n_known) { /* the same once more, or an overlap (RFC 5722) */
        if (n_known == last - first &&
            !memcmp(datagram->bytes + HEADER_MAX + offset, bytes, part->size))
            return false;
        datagram->refused = true;
        if (assembler->counters)
            counter_add(assembler->counters, COUNTER_fragments_overlapping, 1);
        return false;
    }
    memcpy(datagram->bytes + HEADER_MAX + offset, bytes, part->size);
    for (uint32_t unit = first; unit < last; unit++)
        datagram->came[unit / 64] |= UINT64_C(1) << unit % 64;
    datagram->n_units += last - first;
    if (end > datagram->end)
        datagram->end = end;
    if (!(packet->flags & PACKET_FRAGMENT_MORE))
        datagram->size = end;
    return true;
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Puts a plain IP header before the data and decodes what that gives. */
static const struct packet *finish(struct fragment_assembler *assembler, struct datagram *datagram,
                                   const struct packet *last)
{
    const struct fragment_id *id = &datagram->id;
    uint32_t header_size = id->version == 4 ? 20 : 40;
    uint8_t *ip = datagram->bytes + HEADER_MAX - header_size;

    memset(ip, 0, header_size);
    if (id->version == 4) {
        ip[0] = 0x45;
        put16(ip + 2, datagram->size + 20 <= UINT16_MAX ? datagram->size + 20 : 0);
        ip[9] = id->protocol;
        memcpy(ip + 12, id->source, 4);
        memcpy(ip + 16, id->destination, 4);
    } else {
        ip[0] = 0x60;
        put16(ip + 4, datagram->size);
        ip[6] = id->protocol;
        memcpy(ip + 8, id->source, 16);
        memcpy(ip + 24, id->destination, 16);
    }
    assembler->packet = (struct packet){
        .data = ip,
        .ts_ns = last->ts_ns,
        .caplen = header_size + datagram->size,
        .origlen = header_size + datagram->size,
        .interface = last->interface,
        .linktype = LINKTYPE_RAW,
    };
    datagram->ts_ns =
        0; /* its bytes stay until the place is taken again: not before the next call */
    decode(&assembler->packet, assembler->seed);
    return assembler->packet.flags & (PACKET_FRAGMENT | PACKET_NO_IP) ? NULL : &assembler->packet;
}
