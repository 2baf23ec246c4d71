/* Names learned from DNS answers: whose they are, until when, and that nothing is too much. */
#include "../dataplane/dns_names.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tap.h"

#define SECOND   UINT64_C(1000000000)
#define QUESTION "\3www\7example\3com\0\0\1\0\1"
/* www.example.com is an alias, 100 s, of cdn.example.com, which has 192.0.2.1 for 30 s */
#define ALIAS                           "\xc0\x0c\0\5\0\1\0\0\0\x64\0\6\3cdn\xc0\x10"
#define ADDRESS                         "\xc0\x2d\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2\1"
#define HEAD(flags, questions, answers) "\0\1" flags "\0" questions "\0" answers "\0\0\0\0"

static const char chain[] = HEAD("\x81\x80", "\1", "\2") QUESTION ALIAS ADDRESS;

static void learn(struct dns_names *names, uint16_t port, const void *message, size_t size,
                  uint64_t ts_ns)
{
    struct packet packet = {.data = message,
                            .payload_size = (uint32_t)size,
                            .caplen = (uint32_t)size,
                            .ts_ns = ts_ns,
                            .ip_protocol = 17,
                            .sender = 1,
                            .key = {.port = {40000, port}}};

    dns_names_learn(names, 0, &packet);
}

static const char *name_of(const struct dns_names *names, const char *last, uint64_t ts_ns)
{
    uint8_t addr[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const char *name = "-";

    memcpy(addr + 12, last, 4);
    dns_names_find(names, addr, ts_ns, &name);
    return name;
}

static struct dns_names *made(void)
{
    struct dns_names *names;

    if (dns_names_create(2, &names))
        abort();
    return names;
}

static void an_address_has_the_name_asked_for(void)
{
    struct dns_names *names = made();

    learn(names, 53, chain, sizeof(chain) - 1, 5 * SECOND);
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\1", 5 * SECOND), "www.example.com");
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\2", 5 * SECOND), "-");
    dns_names_free(names);
}

static void in_whatever_order_the_aliases_come(void)
{
    static const char turned[] =
        HEAD("\x81\x80", "\1", "\2") QUESTION "\3cdn\xc0\x10\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2\1"
                                              "\xc0\x0c\0\5\0\1\0\0\0\x64\0\2\xc0\x21";
    struct dns_names *names = made();

    learn(names, 53, turned, sizeof(turned) - 1, SECOND);
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\1", SECOND), "www.example.com");
    dns_names_free(names);
}

static void a_name_lasts_as_long_as_its_shortest_ttl(void)
{
    struct dns_names *names = made();

    learn(names, 53, chain, sizeof(chain) - 1, 5 * SECOND);
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\1", 5 * SECOND - 1), "-");
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\1", 35 * SECOND - 1), "www.example.com");
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\1", 35 * SECOND), "-");
    dns_names_free(names);
}

static void the_last_answer_counts(void)
{
    static const char other[] =
        HEAD("\x81\x80", "\1", "\1") "\1b\0\0\1\0\1"
                                     "\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2\1";
    struct dns_names *names = made();

    learn(names, 53, chain, sizeof(chain) - 1, 5 * SECOND);
    learn(names, 53, other, sizeof(other) - 1, 6 * SECOND);
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\1", 7 * SECOND), "b");
    CU_ASSERT_EQUAL(dns_names_counts(names).learned, 2);
    dns_names_free(names);
}

/* Two messages in a segment, the second cut behind its alias; a length alone teaches nothing. */
static void over_tcp_messages_follow_their_lengths(void)
{
    struct dns_names *names = made();
    const size_t size = sizeof(chain) - 1;
    char segment[2 * sizeof(chain) + 4] = {0, (char)size};
    struct packet packet = {.data = (const uint8_t *)segment,
                            .ts_ns = SECOND,
                            .ip_protocol = 6,
                            .sender = 1,
                            .key = {.port = {40000, 53}}};

    memcpy(segment + 2, chain, size);
    segment[3 + size] = (char)size;
    memcpy(segment + 4 + size, chain, size);
    segment[3 + 2 * size] = 2; /* another address in the second */
    packet.payload_size = packet.caplen = 2;
    dns_names_learn(names, 0, &packet);
    CU_ASSERT_EQUAL(dns_names_counts(names).learned, 0);
    packet.payload_size = packet.caplen = (uint32_t)(3 + 2 * size);
    dns_names_learn(names, 0, &packet);
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\1", SECOND), "www.example.com");
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\2", SECOND), "-");
    packet.payload_size = packet.caplen = (uint32_t)(4 + 2 * size);
    dns_names_learn(names, 0, &packet);
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\2", SECOND), "www.example.com");
    dns_names_free(names);
}

static void mdns_names_its_own_records(void)
{
    static const char own[] = HEAD("\x84\0", "\0", "\1") "\2tv\5local\0\0\1\x80\1"
                                                         "\0\0\0\x78\0\4\xc0\0\2\7";
    struct dns_names *names = made();

    learn(names, 5353, own, sizeof(own) - 1, SECOND);
    CU_ASSERT_STRING_EQUAL(name_of(names, "\xc0\0\2\7", 2 * SECOND), "tv.local");
    dns_names_free(names);
}

/* A query, an error, a record of another name, another port: none of them names anything. */
static void what_is_no_answer_names_nothing(void)
{
    static const char query[] = HEAD("\1\0", "\1", "\2") QUESTION ALIAS ADDRESS;
    static const char failed[] = HEAD("\x81\x83", "\1", "\2") QUESTION ALIAS ADDRESS;
    static const char stray[] =
        HEAD("\x81\x80", "\1", "\1") QUESTION "\4evil\0\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2\1";
    struct dns_names *names = made();

    learn(names, 53, query, sizeof(query) - 1, SECOND);
    learn(names, 53, failed, sizeof(failed) - 1, SECOND);
    learn(names, 53, stray, sizeof(stray) - 1, SECOND);
    learn(names, 80, chain, sizeof(chain) - 1, SECOND);
    CU_ASSERT_EQUAL(dns_names_counts(names).learned, 0);
    dns_names_free(names);
}

/* Flush against an unreadable page, cut at every length and with each byte changed. */
static void hostile_bytes_are_survived(void)
{
    struct dns_names *names = made();
    uint8_t *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t size = sizeof(chain) - 1;

    if (map == MAP_FAILED || mprotect(map + 4096, 4096, PROT_NONE))
        abort();
    for (size_t cut = 0; cut <= size; cut++) {
        memcpy(map + 4096 - cut, chain, cut);
        learn(names, 53, map + 4096 - cut, cut, SECOND);
    }
    for (size_t i = 0; i < size; i++)
        for (unsigned value = 0; value < 256; value++) {
            uint8_t *at = map + 4096 - size;

            memcpy(at, chain, size);
            at[i] = (uint8_t)value;
            learn(names, 53, at, size, SECOND);
        }
    CU_ASSERT_TRUE(dns_names_counts(names).learned > 0);
    munmap(map, 8192);
    dns_names_free(names);
}

static void there_is_a_bound(void)
{
    struct dns_names *names = made();
    char message[96];
    unsigned known = 0;

    for (uint32_t i = 0; i < 200000; i++) {
        size_t head = 12, at;

        memcpy(message, HEAD("\x81\x80", "\1", "\1"), head);
        at = head + 1 + (size_t)snprintf(message + head + 1, 32, "host-%06u-and-some-more", i);
        message[head] = (char)(at - head - 1);
        memcpy(message + at, "\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\x64\0\4", 17);
        memcpy(message + at + 17, &i, 4);
        learn(names, 53, message, at + 21, SECOND);
    }
    for (uint32_t i = 0; i < 200000; i++)
        known += strcmp(name_of(names, (const char *)&i, SECOND), "-") != 0;
    CU_ASSERT_TRUE(known > 1000 && known <= 65536);
    CU_ASSERT_TRUE(dns_names_counts(names).no_room > 0);
    dns_names_free(names);
}

static atomic_bool over;

static void *look(void *names)
{
    uint64_t n_wrong = 0;

    while (!atomic_load(&over)) {
        const char *name = name_of(names, "\xc0\0\2\1", SECOND);

        n_wrong += strcmp(name, "-") && strcmp(name, "www.example.com") && strcmp(name, "b");
    }
    return (void *)(uintptr_t)n_wrong;
}

static void *teach(void *names)
{
    static const char other[] =
        HEAD("\x81\x80", "\1", "\1") "\1b\0\0\1\0\1"
                                     "\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2\1";
    struct packet packet = {.data = (const uint8_t *)other,
                            .payload_size = sizeof(other) - 1,
                            .ts_ns = SECOND,
                            .ip_protocol = 17,
                            .key = {.port = {53, 40000}}};

    for (unsigned i = 0; i < 20000; i++)
        dns_names_learn(names, 1, &packet);
    return NULL;
}

static void threads_meet(void)
{
    struct dns_names *names = made();
    pthread_t reader, writer;
    void *n_wrong;

    atomic_store(&over, false);
    if (pthread_create(&reader, NULL, look, names) || pthread_create(&writer, NULL, teach, names))
        abort();
    for (unsigned i = 0; i < 20000; i++)
        learn(names, 53, chain, sizeof(chain) - 1, SECOND);
    pthread_join(writer, NULL);
    atomic_store(&over, true);
    pthread_join(reader, &n_wrong);
    CU_ASSERT_PTR_NULL(n_wrong);
    dns_names_free(names);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"an address has the name that was asked for", an_address_has_the_name_asked_for},
        {"in whatever order the aliases come", in_whatever_order_the_aliases_come},
        {"a name lasts as long as its shortest TTL", a_name_lasts_as_long_as_its_shortest_ttl},
        {"the last answer counts", the_last_answer_counts},
        {"over TCP, messages follow their lengths", over_tcp_messages_follow_their_lengths},
        {"mDNS names its own records", mdns_names_its_own_records},
        {"what is no answer names nothing", what_is_no_answer_names_nothing},
        {"hostile bytes are survived", hostile_bytes_are_survived},
        {"there is a bound", there_is_a_bound},
        {"threads meet", threads_meet},
        {0},
    };

    return tap_main(argc, argv, "DNS names", tests);
}
