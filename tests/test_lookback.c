/* The lookback: what was appended is there, contiguous and in order, until it is overwritten. */
#include <stdlib.h>
#include <string.h>

#include "../dataplane/lookback.h"
#include "tap.h"

enum { PAGE = 4096, PACKETS = 2000 };

static uint8_t bytes[PACKETS + 256];

static struct packet packet_n(unsigned i)
{
    return (struct packet){
        .data = bytes + i,
        .caplen = i % 201, /* none, a few bytes, several lines */
        .origlen = i % 201 + i % 3,
        .ts_ns = 1000000 + 1000 * (uint64_t)i,
        .interface = (uint16_t)(i % 5),
        .payload = 4,
        .payload_size = 16,
        .sender = i / 2 % 2,
    };
}

static void check_record(const struct lookback_record *record, unsigned i)
{
    struct packet packet = packet_n(i);

    CU_ASSERT_EQUAL(record->interface, packet.interface);
    CU_ASSERT_EQUAL(record->ts_ns, packet.ts_ns);
    CU_ASSERT_EQUAL(record->caplen, packet.caplen);
    CU_ASSERT_EQUAL(record->origlen, packet.origlen);
    CU_ASSERT_EQUAL(record->payload, packet.payload);
    CU_ASSERT_EQUAL(record->payload_size, packet.payload_size);
    CU_ASSERT_EQUAL(record->flags,
                    (i % 2 ? LOOKBACK_COUNTED : 0) | (packet.sender ? LOOKBACK_SENDER : 0));
    CU_ASSERT(!memcmp(record->data, packet.data, packet.caplen));
}

/* The first record of the chain that is still there. */
static uint64_t oldest(const struct lookback *lookback, uint64_t position)
{
    const struct lookback_record *record = lookback_get(lookback, position);

    while (record && lookback_get(lookback, record->prev)) {
        position = record->prev;
        record = lookback_get(lookback, position);
    }
    return position;
}

/* Appends many, each chained to the one three before it; walks back from the last three. */
static void chains(enum lookback_kind kind, uint64_t size, bool resident)
{
    struct lookback *lookback;
    uint64_t last[3] = {LOOKBACK_NONE, LOOKBACK_NONE, LOOKBACK_NONE};
    unsigned found = 0;
    uint64_t used = 0;

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + i / 256);
    CU_ASSERT_FATAL(!lookback_create(kind, size, 0, resident, &lookback));
    for (unsigned i = 0; i < PACKETS; i++) {
        struct packet packet = packet_n(i);
        uint64_t old = last[0] == LOOKBACK_NONE ? LOOKBACK_NONE : oldest(lookback, last[0]);
        bool keeps = old != LOOKBACK_NONE && lookback_keeps(lookback, old, packet.caplen);

        last[i % 3] = lookback_append(lookback, &packet, i % 2, last[i % 3]);
        CU_ASSERT_FATAL(last[i % 3] != LOOKBACK_NONE);
        if (old != LOOKBACK_NONE) /* it was told before whether this one is still there */
            CU_ASSERT_EQUAL(lookback_get(lookback, old) != NULL, keeps);
    }
    for (unsigned chain = 0; chain < 3; chain++) {
        unsigned i = PACKETS - 1;

        while (i % 3 != chain)
            i--;
        for (uint64_t at = last[chain]; at != LOOKBACK_NONE; i -= 3) {
            struct lookback_record *record = lookback_get(lookback, at);

            if (!record)
                break;
            check_record(record, i);
            used += sizeof(*record);
            if (kind == LOOKBACK_COPIES) /* whole cache lines */
                used += (record->caplen + 63) / 64 * 64;
            found++;
            at = record->prev;
        }
    }
    CU_ASSERT(used <= size);
    if (size <= 64 * PAGE) {
        CU_ASSERT(found < PACKETS);       /* it had to overwrite ... */
        CU_ASSERT(used + 3 * 300 > size); /* ... but nothing that fits */
    } else {
        CU_ASSERT_EQUAL(found, PACKETS);
    }
    CU_ASSERT_EQUAL(lookback_get(lookback, LOOKBACK_NONE), NULL);
    lookback_free(lookback);
}

static void test_overwriting(void)
{
    chains(LOOKBACK_COPIES, 2 * PAGE, false);
    chains(LOOKBACK_COPIES, 3 * PAGE, true);
    chains(LOOKBACK_REFERENCES, 5 * PAGE, false);
}

static void test_all_kept(void)
{
    chains(LOOKBACK_COPIES, 4 << 20, true);
    chains(LOOKBACK_REFERENCES, 4 << 20, false);
}

static void test_ttl(void)
{
    struct lookback *lookback;
    uint64_t position[100];

    CU_ASSERT_FATAL(!lookback_create(LOOKBACK_COPIES, 1 << 20, 10000, false, &lookback));
    CU_ASSERT_EQUAL(lookback_span_ns(lookback), 0);
    for (unsigned i = 0; i < 100; i++) {
        struct packet packet = packet_n(i);

        position[i] = lookback_append(lookback, &packet, 0, LOOKBACK_NONE);
    }
    CU_ASSERT(lookback_expired(lookback, lookback_get(lookback, position[88])));
    CU_ASSERT_FALSE(lookback_expired(lookback, lookback_get(lookback, position[89])));
    CU_ASSERT_EQUAL(lookback_span_ns(lookback), 10000);
    lookback_free(lookback);
}

static void test_too_large(void)
{
    struct lookback *lookback;
    uint8_t *large = calloc(1, 3 * PAGE);
    struct packet packet = {.data = large, .caplen = 3 * PAGE, .origlen = 3 * PAGE};
    uint64_t position;

    CU_ASSERT_FATAL(!lookback_create(LOOKBACK_COPIES, PAGE, 0, false, &lookback));
    CU_ASSERT_EQUAL(lookback_append(lookback, &packet, 0, LOOKBACK_NONE), LOOKBACK_NONE);
    packet.caplen = PAGE - 64;
    position = lookback_append(lookback, &packet, 0, LOOKBACK_NONE);
    CU_ASSERT_EQUAL(position, 0);
    CU_ASSERT_FALSE(lookback_keeps(lookback, position, 0));
    CU_ASSERT_NOT_EQUAL(lookback_get(lookback, position), NULL);
    free(large);
    lookback_free(lookback);
}

static const struct tap_test tests[] = {
    {"what is overwritten is gone, what is not is whole and in order", test_overwriting},
    {"a ring that is large enough keeps all", test_all_kept},
    {"records older than the ttl are gone", test_ttl},
    {"a packet larger than the ring is refused", test_too_large},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return tap_main(argc, argv, "lookback", tests);
}
