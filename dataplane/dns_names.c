#include "dns_names.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "cursor.h"

enum {
    SETS = 16384, /* of slots, a power of two */
    WAYS = 4,
    TEXTS_SIZE = 4 << 20, /* bytes of texts, each writer */
    TEXT_SLOTS = 1 << 17, /* ... and how many of them, half: a power of two */
    NAME_MAX_SIZE = 254,  /* as text, with its end */
    POINTERS_MAX = 64,    /* of one compressed name */
    ANSWERS_MAX = 64,     /* of one message */
    CHAIN_MAX = 8,        /* CNAMEs */
    READS_MAX = 16,       /* of a slot that is being written */
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    HEADER_SIZE = 12, /* of a message */
};

struct slot {
    _Atomic uint32_t sequence; /* odd: being written */
    _Atomic uint64_t addr[2];
    _Atomic uint64_t from_ns, until_ns; /* until 0: empty */
    const char *_Atomic name;
};

struct writer {
    char *texts; /* mapped; touched as it fills */
    uint32_t texts_used, n_texts;
    uint32_t *slots; /* open addressing: where in the texts + 1 */
    _Atomic uint64_t learned, no_room;
};

struct dns_names {
    struct slot (*sets)[WAYS];
    unsigned n_writers;
    struct writer writers[];
};

struct message {
    const uint8_t *data;
    size_t size;
    uint64_t ts_ns;
};

struct record {
    char owner[NAME_MAX_SIZE];
    uint16_t type;
    uint32_t ttl;
    uint16_t size;
    uint32_t at; /* of its data, in the message */
};

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, CLASS_IN = 1 };

static void *map(size_t size);
static void segment(struct dns_names *names, struct writer *writer, struct message rest);
static void answers(struct dns_names *names, struct writer *writer, const struct message *message);
static void follow(struct dns_names *names, struct writer *writer, const struct message *message,
                   struct cursor c, unsigned n_answers, const char *asked);
static bool record_read(const struct message *message, struct cursor *c, struct record *record);
static bool name_read(const struct message *message, struct cursor *c, char *text);
static void learn_one(struct dns_names *names, struct writer *writer, const struct message *message,
                      const struct record *record, const char *asked, uint32_t ttl);
static struct slot *slot_for(struct slot *set, const uint64_t addr[2]);
static const char *intern(struct writer *writer, const char *text);
static uint64_t hash_addr(const uint64_t addr[2]);

int dns_names_create(unsigned n_writers, struct dns_names **ret_names)
{
    struct dns_names *names = calloc(1, sizeof(*names) + n_writers * sizeof(names->writers[0]));

    if (!names)
        return -ENOMEM;
    names->n_writers = n_writers;
    names->sets = map(SETS * sizeof(names->sets[0]));
    for (unsigned i = 0; i < n_writers && names->sets; i++) {
        names->writers[i].texts = map(TEXTS_SIZE);
        names->writers[i].slots = map(TEXT_SLOTS * sizeof(uint32_t));
    }
    for (unsigned i = 0; i < n_writers; i++)
        if (!names->writers[i].texts || !names->writers[i].slots) {
            dns_names_free(names);
            return -ENOMEM;
        }
    *ret_names = names;
    return 0;
}

void dns_names_free(struct dns_names *names)
{
    if (!names)
        return;
    for (unsigned i = 0; i < names->n_writers; i++) {
        if (names->writers[i].texts)
            munmap(names->writers[i].texts, TEXTS_SIZE);
        if (names->writers[i].slots)
            munmap(names->writers[i].slots, TEXT_SLOTS * sizeof(uint32_t));
    }
    if (names->sets)
        munmap(names->sets, SETS * sizeof(names->sets[0]));
    free(names);
}

void dns_names_learn(struct dns_names *names, unsigned writer, const struct packet *packet)
{
    uint16_t port = packet->key.port[packet->sender];
    struct message message = {packet->data + packet->payload, packet->payload_size, packet->ts_ns};

    if ((port != 53 && port != 5353 && port != 5355) ||
        packet->flags & (PACKET_FRAGMENT | PACKET_NO_PORTS | PACKET_NO_IP))
        return;
    if (packet->ip_protocol == PROTOCOL_UDP)
        answers(names, &names->writers[writer], &message);
    else if (packet->ip_protocol == PROTOCOL_TCP)
        segment(names, &names->writers[writer], message);
}

bool dns_names_find(const struct dns_names *names, const uint8_t addr[16], uint64_t ts_ns,
                    const char **ret_name)
{
    uint64_t words[2];
    struct slot *set;

    memcpy(words, addr, 16);
    set = names->sets[hash_addr(words) & (SETS - 1)];
    for (unsigned i = 0; i < WAYS * READS_MAX; i++) {
        struct slot *slot = &set[i / READS_MAX];
        uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        bool here = atomic_load_explicit(&slot->addr[0], memory_order_acquire) == words[0] &&
                    atomic_load_explicit(&slot->addr[1], memory_order_acquire) == words[1];
        uint64_t from_ns = atomic_load_explicit(&slot->from_ns, memory_order_acquire);
        uint64_t until_ns = atomic_load_explicit(&slot->until_ns, memory_order_acquire);
        const char *name = atomic_load_explicit(&slot->name, memory_order_acquire);

        if (before & 1 || atomic_load_explicit(&slot->sequence, memory_order_relaxed) != before)
            continue; /* look again */
        if (here && from_ns <= ts_ns && ts_ns < until_ns) {
            *ret_name = name;
            return true;
        }
        i |= READS_MAX - 1; /* the next slot */
    }
    return false;
}

struct dns_names_counts dns_names_counts(const struct dns_names *names)
{
    struct dns_names_counts counts = {0};

    for (unsigned i = 0; i < names->n_writers; i++) {
        counts.learned += atomic_load_explicit(&names->writers[i].learned, memory_order_relaxed);
        counts.no_room += atomic_load_explicit(&names->writers[i].no_room, memory_order_relaxed);
    }
    return counts;
}

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

/* ---- the message ---- */

/* Messages behind their lengths (RFC 1035, 4.2.2), as many as begin here; of one that goes on in
 * the next segment, the answers that are here. */
static void segment(struct dns_names *names, struct writer *writer, struct message rest)
{
    while (rest.size > 2 + HEADER_SIZE) {
        size_t size = (size_t)(rest.data[0] << 8 | rest.data[1]);
        size_t here = size < rest.size - 2 ? size : rest.size - 2;
        const struct message message = {rest.data + 2, here, rest.ts_ns};

        if (size < HEADER_SIZE)
            return;
        answers(names, writer, &message);
        rest.data += 2 + here;
        rest.size -= 2 + here;
    }
}

/* A response without error to a question about addresses; of mDNS also one without a question. */
static void answers(struct dns_names *names, struct writer *writer, const struct message *message)
{
    struct cursor c = cursor_of(message->data, message->size);
    uint16_t flags, n_questions, n_answers, type;
    char asked[NAME_MAX_SIZE];

    cursor_u16(&c);
    flags = cursor_u16(&c);
    n_questions = cursor_u16(&c);
    n_answers = cursor_u16(&c);
    cursor_u32(&c);
    if (c.short_ || (flags & 0xf80f) != 0x8000 || n_questions > 1 || !n_answers)
        return;
    if (n_answers > ANSWERS_MAX)
        n_answers = ANSWERS_MAX;
    if (!n_questions) {
        follow(names, writer, message, c, n_answers, NULL);
        return;
    }
    if (!name_read(message, &c, asked))
        return;
    type = cursor_u16(&c);
    cursor_u16(&c);
    if (!c.short_ && (type == TYPE_A || type == TYPE_AAAA || type == 255) && *asked)
        follow(names, writer, message, c, n_answers, asked);
}

/* From the name that was asked for along its CNAMEs, in whatever order they come. Asked is null:
 * each address has its record's own name. */
static void follow(struct dns_names *names, struct writer *writer, const struct message *message,
                   struct cursor c, unsigned n_answers, const char *asked)
{
    char now[NAME_MAX_SIZE];
    uint32_t ttl = UINT32_MAX;

    memcpy(now, asked ? asked : "", asked ? strlen(asked) + 1 : 1);
    for (unsigned links = 0; links < CHAIN_MAX; links++) {
        struct cursor each = c;
        struct record record;
        bool further = false;

        for (unsigned i = 0; i < n_answers && record_read(message, &each, &record); i++) {
            struct cursor data = cursor_of(message->data + record.at, record.size);

            if (asked && strcasecmp(record.owner, now) != 0)
                continue;
            if (record.ttl < ttl && asked)
                ttl = record.ttl;
            if (record.type == TYPE_CNAME && asked) {
                further = name_read(message, &data, now);
                break;
            }
            learn_one(names, writer, message, &record, asked ? asked : record.owner,
                      asked ? ttl : record.ttl);
        }
        if (!further)
            return;
    }
}

/* -> false: there is none */
static bool record_read(const struct message *message, struct cursor *c, struct record *record)
{
    uint16_t class_;

    if (!name_read(message, c, record->owner))
        return false;
    record->type = cursor_u16(c);
    class_ = cursor_u16(c) & 0x7fff; /* without mDNS's cache-flush bit */
    record->ttl = cursor_u32(c);
    record->size = cursor_u16(c);
    record->at = (uint32_t)(c->at - message->data);
    cursor_bytes(c, record->size);
    if (class_ != CLASS_IN)
        record->type = 0;
    return !c->short_;
}

/* A name, perhaps compressed, as text without its last dot. -> false: it is none, or one
 * that is not printable. */
static bool name_read(const struct message *message, struct cursor *c, char *text)
{
    struct cursor at = *c;
    size_t used = 0;
    unsigned n_pointers = 0;

    for (;;) {
        uint8_t length = cursor_u8(&at);
        const uint8_t *label;

        if (at.short_)
            return false;
        if (length >= 0xc0) {
            uint16_t offset = (uint16_t)((length & 0x3f) << 8 | cursor_u8(&at));

            if (at.short_ || offset >= message->size || ++n_pointers > POINTERS_MAX)
                return false;
            if (n_pointers == 1)
                *c = at;
            at = cursor_of(message->data + offset, message->size - offset);
            continue;
        }
        if (!length)
            break;
        label = length < 64 ? cursor_bytes(&at, length) : NULL;
        if (!label || used + length + 2u > NAME_MAX_SIZE)
            return false;
        if (used)
            text[used++] = '.';
        for (unsigned i = 0; i < length; i++) {
            uint8_t byte = label[i];

            if (byte <= ' ' || byte >= 0x7f)
                return false;
            text[used++] = (char)byte;
        }
    }
    text[used] = 0;
    if (!n_pointers)
        *c = at;
    return true;
}

/* ---- the table ---- */

static void learn_one(struct dns_names *names, struct writer *writer, const struct message *message,
                      const struct record *record, const char *asked, uint32_t ttl)
{
    uint8_t bytes[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const char *text;
    uint64_t addr[2];
    uint32_t sequence;
    struct slot *slot;

    if (record->type == TYPE_A && record->size == 4)
        memcpy(bytes + 12, message->data + record->at, 4);
    else if (record->type == TYPE_AAAA && record->size == 16)
        memcpy(bytes, message->data + record->at, 16);
    else
        return;
    text = intern(writer, asked);
    if (!text) {
        atomic_fetch_add_explicit(&writer->no_room, 1, memory_order_relaxed);
        return;
    }
    memcpy(addr, bytes, 16);
    slot = slot_for(names->sets[hash_addr(addr) & (SETS - 1)], addr);
    sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    if (sequence & 1 || !atomic_compare_exchange_strong(&slot->sequence, &sequence, sequence + 1))
        return; /* another writer is at it */
    atomic_store_explicit(&slot->addr[0], addr[0], memory_order_release);
    atomic_store_explicit(&slot->addr[1], addr[1], memory_order_release);
    atomic_store_explicit(&slot->from_ns, message->ts_ns, memory_order_release);
    atomic_store_explicit(&slot->until_ns, message->ts_ns + ttl * UINT64_C(1000000000),
                          memory_order_release);
    atomic_store_explicit(&slot->name, text, memory_order_release);
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
    atomic_fetch_add_explicit(&writer->learned, 1, memory_order_relaxed);
}

/* The address's own, else the one that ends first (an empty one has ended long ago). */
static struct slot *slot_for(struct slot *set, const uint64_t addr[2])
{
    struct slot *first = set;

    for (struct slot *slot = set; slot < set + WAYS; slot++) {
        if (atomic_load_explicit(&slot->addr[0], memory_order_relaxed) == addr[0] &&
            atomic_load_explicit(&slot->addr[1], memory_order_relaxed) == addr[1])
            return slot;
        if (atomic_load_explicit(&slot->until_ns, memory_order_relaxed) <
            atomic_load_explicit(&first->until_ns, memory_order_relaxed))
            first = slot;
    }
    return first;
}

/* -> the text in the writer's arena; null: it is full */
static const char *intern(struct writer *writer, const char *text)
{
    size_t size = strlen(text) + 1;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    uint32_t *slot;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 29;
    for (;; hash++) {
        slot = &writer->slots[hash & (TEXT_SLOTS - 1)];
        if (!*slot)
            break;
        if (!strcmp(writer->texts + *slot - 1, text))
            return writer->texts + *slot - 1;
    }
    if (size > TEXTS_SIZE - writer->texts_used || writer->n_texts == TEXT_SLOTS / 2)
        return NULL;
    memcpy(writer->texts + writer->texts_used, text, size);
    *slot = writer->texts_used + 1;
    writer->texts_used += (uint32_t)size;
    writer->n_texts++;
    return writer->texts + *slot - 1;
}

static uint64_t hash_addr(const uint64_t addr[2])
{
    uint64_t hash = addr[0] * UINT64_C(0x9e3779b97f4a7c15);

    hash = (hash ^ hash >> 32 ^ addr[1]) * UINT64_C(0xd6e8feb86659fd93);
    return hash >> 32;
}
