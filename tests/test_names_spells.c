/* Names that come and go: as of a time, bounded, changed while others look. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../mgmt/names.h"
#include "../mgmt/names_spells.h"
#include "tap.h"

enum { POOL_SIZE = 16 << 20, PODS = 10000, CHURN_A_SECOND = 100 };

struct lab {
    struct names_pool *pool;
    struct names_board *board;
    struct names_spells *spells;
};

static void open_lab(struct lab *lab)
{
    struct names *names;

    CU_ASSERT_EQUAL_FATAL(names_pool_create(POOL_SIZE, &lab->pool), 0);
    CU_ASSERT_EQUAL_FATAL(names_board_create(&lab->board), 0);
    CU_ASSERT_EQUAL_FATAL(
        names_spells_create(lab->pool, names_board_wait, lab->board, &lab->spells), 0);
    names_board_set_spells(lab->board, lab->spells);
    names = names_create(lab->pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(names);
    names_publish(lab->board, names);
}

static void close_lab(struct lab *lab)
{
    names_spells_free(lab->spells);
    names_board_free(lab->board);
    names_pool_free(lab->pool);
}

static void address(uint8_t addr[16], uint32_t number)
{
    memset(addr, 0, 10);
    memset(addr + 10, 0xff, 2);
    addr[12] = 10;
    addr[13] = (uint8_t)(number >> 16);
    addr[14] = (uint8_t)(number >> 8);
    addr[15] = (uint8_t)number;
}

static struct names_spell *begin(struct lab *lab, uint32_t number, enum names_rank rank,
                                 const char *name, uint64_t from_ns, uint64_t now_ns)
{
    struct names_spell *spell = NULL;
    uint8_t addr[16];

    address(addr, number);
    CU_ASSERT_EQUAL_FATAL(
        names_spell_begin(lab->spells, addr, rank, name, "ns", from_ns, now_ns, &spell), 0);
    return spell;
}

static void expect(struct lab *lab, uint32_t number, uint64_t ts_ns, const char *want)
{
    const char *name = "", *namespace = "";
    uint8_t addr[16];

    address(addr, number);
    names_lookup(lab->board, addr, ts_ns, &name, &namespace);
    CU_ASSERT_STRING_EQUAL(name, want);
    if (strcmp(name, want))
        tap_note("10.%u at %llu: '%s', not '%s'", number, (unsigned long long)ts_ns, name, want);
}

static void an_address_is_called_as_at_the_packets_time(void)
{
    struct lab lab;
    struct names_spell *a, *b;

    open_lab(&lab);
    a = begin(&lab, 1, NAMES_RANK_POD, "a", 100, 100);
    expect(&lab, 1, 99, "");
    expect(&lab, 1, 100, "a");
    expect(&lab, 1, 5000, "a");
    expect(&lab, 2, 5000, "");
    names_spell_end(lab.spells, a, 200);
    b = begin(&lab, 1, NAMES_RANK_POD, "b", 150, 210); /* begun before the other was seen to end */
    expect(&lab, 1, 199, "a");
    expect(&lab, 1, 200, "b");
    names_spell_end(lab.spells, b, 300);
    expect(&lab, 1, 299, "b");
    expect(&lab, 1, 300, "");
    expect(&lab, 1, 150, "a");
    close_lab(&lab);
}

static void an_address_changes_hands_without_an_end_being_seen(void)
{
    struct lab lab;
    struct names_spell *a, *b, *c, *d;

    open_lab(&lab);
    a = begin(&lab, 1, NAMES_RANK_POD, "a", 100, 100);
    b = begin(&lab, 1, NAMES_RANK_POD, "b", 190, 200);
    expect(&lab, 1, 199, "a");
    expect(&lab, 1, 200, "b");
    names_spell_end(lab.spells, a, 250); /* its end comes late */
    expect(&lab, 1, 249, "b");
    expect(&lab, 1, 251, "b");
    names_spell_end(lab.spells, b, 260);
    /* In a list the one that began later may come first. */
    c = begin(&lab, 2, NAMES_RANK_POD, "c", 500, 500);
    d = begin(&lab, 2, NAMES_RANK_POD, "d", 400, 400);
    expect(&lab, 2, 450, "d");
    expect(&lab, 2, 550, "c");
    names_spell_end(lab.spells, d, 600);
    expect(&lab, 2, 650, "c");
    names_spell_end(lab.spells, c, 700);
    CU_ASSERT_EQUAL(names_spells_open(lab.spells), 0);
    CU_ASSERT_EQUAL(names_spells_ended(lab.spells), 4);
    close_lab(&lab);
}

static void ranks_and_files_go_in_order(void)
{
    struct lab lab;
    struct names *names;
    struct names_spell *pod;
    uint8_t addr[16];

    open_lab(&lab);
    begin(&lab, 1, NAMES_RANK_ENDPOINT, "slice", 1, 1);
    expect(&lab, 1, 10, "slice");
    pod = begin(&lab, 1, NAMES_RANK_POD, "pod", 1, 1);
    begin(&lab, 1, NAMES_RANK_SERVICE, "service", 1, 1);
    expect(&lab, 1, 10, "pod");
    names_spell_end(lab.spells, pod, 20);
    expect(&lab, 1, 21, "service");
    names = names_create(lab.pool);
    address(addr, 0);
    names_add(names, addr, 104, NAMES_RANK_LINE, "net", "");
    address(addr, 2);
    names_add(names, addr, 128, NAMES_RANK_LINE, "line", "");
    names_publish(lab.board, names);
    begin(&lab, 2, NAMES_RANK_NODE, "node", 1, 1);
    expect(&lab, 1, 21, "service"); /* an address before a network */
    expect(&lab, 2, 21, "line");    /* a line before the API */
    expect(&lab, 3, 21, "net");
    close_lab(&lab);
}

static void too_long_a_text_and_a_full_pool_are_refused(void)
{
    struct lab lab = {0};
    struct names_spell *spell;
    char name[NAMES_TEXT_MAX + 2];
    uint8_t addr[16];
    int err = 0;

    open_lab(&lab);
    names_spells_free(lab.spells);
    names_pool_free(lab.pool);
    CU_ASSERT_EQUAL_FATAL(names_pool_create(1000, &lab.pool), 0);
    CU_ASSERT_EQUAL_FATAL(names_spells_create(lab.pool, NULL, NULL, &lab.spells), 0);
    names_board_set_spells(lab.board, lab.spells);
    names_publish(lab.board, NULL);
    address(addr, 1);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    CU_ASSERT_EQUAL(names_spell_begin(lab.spells, addr, NAMES_RANK_POD, name, "", 1, 1, &spell),
                    -EINVAL);
    for (unsigned i = 0; !err && i < 1000; i++) {
        snprintf(name, sizeof(name), "name-%u", i);
        address(addr, i);
        err = names_spell_begin(lab.spells, addr, NAMES_RANK_POD, name, "", 1, 1, &spell);
    }
    CU_ASSERT_EQUAL(err, -ENOSPC);
    expect(&lab, 5, 5, "name-5");
    close_lab(&lab);
}

/* Addresses change hands, one each 10 ms, over more than an hour. */
static void churn_is_bounded_and_right_as_of_its_time(void)
{
    enum { CHANGES = 400000 };
    static struct names_spell *spell[PODS];
    static uint32_t owner[PODS];
    struct lab lab;
    size_t halfway = 0;
    uint64_t now = 1;

    open_lab(&lab);
    for (uint32_t i = 0; i < PODS; i++) {
        char name[32];

        snprintf(name, sizeof(name), "pod-%u", i);
        spell[i] = begin(&lab, i, NAMES_RANK_POD, name, now, now);
        owner[i] = i;
    }
    for (uint32_t n = 0; n < CHANGES; n++) {
        uint32_t i = (uint32_t)((uint64_t)n * 7919 % PODS);
        char name[32], old[32];

        now += 10000000;
        snprintf(old, sizeof(old), "pod-%u", owner[i]);
        snprintf(name, sizeof(name), "pod-%u", n % 50000); /* of a pool that holds that many */
        names_spell_end(lab.spells, spell[i], now);
        spell[i] = begin(&lab, i, NAMES_RANK_POD, name, now, now);
        owner[i] = n % 50000;
        if (n % 97)
            continue;
        expect(&lab, i, now, name);
        expect(&lab, i, now - 1, old);
        expect(&lab, (i + 1) % PODS, now,
               (snprintf(name, sizeof(name), "pod-%u", owner[(i + 1) % PODS]), name));
        if (n > CHANGES / 2 && !halfway)
            halfway = mallinfo2().uordblks;
    }
    CU_ASSERT_EQUAL(names_spells_open(lab.spells), PODS);
    CU_ASSERT(names_spells_ended(lab.spells) <= SPELLS_ENDED_MAX);
    CU_ASSERT(mallinfo2().uordblks <= halfway + (256 << 10));
    tap_note("%u pods, %u changes: %zu KiB at half, %zu KiB at the end", PODS, CHANGES,
             halfway >> 10, mallinfo2().uordblks >> 10);
    close_lab(&lab);
}

static void one_address_that_flaps_keeps_few_spells(void)
{
    struct lab lab;

    open_lab(&lab);
    for (uint64_t now = 10; now < 10000; now += 10)
        names_spell_end(lab.spells, begin(&lab, 1, NAMES_RANK_POD, now % 20 ? "a" : "b", now, now),
                        now + 5);
    CU_ASSERT(names_spells_ended(lab.spells) <= SPELLS_OF_ADDRESS_MAX);
    expect(&lab, 1, 9992, "a");
    expect(&lab, 1, 9996, "");
    close_lab(&lab);
}

struct reading {
    struct lab *lab;
    _Atomic bool end;
    _Atomic uint64_t now_ns;
    uint64_t n, n_wrong, n_known, cpu_ns;
};

/* A name tells of which address it is: whatever is found must be the address's own. */
static void *read_names(void *context)
{
    struct reading *reading = context;
    struct timespec time;
    uint32_t seed = 1;

    while (!atomic_load(&reading->end)) {
        uint32_t number = (seed = seed * 1664525 + 1013904223) >> 8 & 1023;
        const char *name = "", *namespace = "";
        uint8_t addr[16];

        address(addr, number);
        if (names_lookup(reading->lab->board, addr, atomic_load(&reading->now_ns), &name,
                         &namespace)) {
            reading->n_known++;
            reading->n_wrong += (uint32_t)atoi(name) != number;
        }
        reading->n++;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    reading->cpu_ns = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
    return NULL;
}

static void lookups_stand_changes(void)
{
    struct lab lab;
    struct reading readings[2] = {{.lab = &lab}, {.lab = &lab}};
    struct names_spell *spell[1024];
    pthread_t threads[2];
    uint64_t now = 1;

    open_lab(&lab);
    for (unsigned i = 0; i < 1024; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%u", i);
        spell[i] = begin(&lab, i, NAMES_RANK_POD, name, now, now);
    }
    for (unsigned i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, read_names, &readings[i]), 0);
    for (unsigned n = 0; n < 60000; n++) {
        unsigned i = n * 31 & 1023;
        char name[32];

        now += 1000;
        snprintf(name, sizeof(name), "%u pod-%u", i, n % 100);
        names_spell_end(lab.spells, spell[i], now);
        spell[i] = begin(&lab, i, NAMES_RANK_POD, name, now, now);
        for (unsigned k = 0; k < 2; k++)
            atomic_store(&readings[k].now_ns, now);
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&readings[i].end, true);
        pthread_join(threads[i], NULL);
        CU_ASSERT(readings[i].n_known > 0);
        CU_ASSERT_EQUAL(readings[i].n_wrong, 0);
    }
    close_lab(&lab);
}

/* Not judged, only said: what a lookup costs while 100 pods a second change, and while none do. */
static void the_cost_of_a_lookup_is_said(void)
{
    struct lab lab;
    double cost[2];

    open_lab(&lab);
    for (uint32_t i = 0; i < PODS; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%u", i);
        begin(&lab, i, NAMES_RANK_POD, name, 1, 1);
    }
    for (unsigned churn = 0; churn < 2; churn++) {
        struct reading reading = {.lab = &lab, .now_ns = 5};
        struct timespec pause = {.tv_nsec = 1000000000 / CHURN_A_SECOND};
        pthread_t thread;

        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, read_names, &reading), 0);
        for (unsigned n = 0; n < 50; n++) {
            char name[32];

            nanosleep(&pause, NULL);
            snprintf(name, sizeof(name), "%u", n * 20);
            if (churn)
                begin(&lab, n * 20, NAMES_RANK_POD, name, 2, 2);
        }
        atomic_store(&reading.end, true);
        pthread_join(thread, NULL);
        cost[churn] = (double)reading.cpu_ns / (double)reading.n;
    }
    tap_note("%u pods: %.1f ns a lookup, %.1f ns with %u changes a second: %.3f times", PODS,
             cost[0], cost[1], CHURN_A_SECOND, cost[1] / cost[0]);
    CU_ASSERT(cost[0] > 0);
    close_lab(&lab);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"an address is called as at the packet's time",
         an_address_is_called_as_at_the_packets_time},
        {"an address changes hands without an end being seen",
         an_address_changes_hands_without_an_end_being_seen},
        {"ranks and files go in order", ranks_and_files_go_in_order},
        {"too long a text and a full pool are refused",
         too_long_a_text_and_a_full_pool_are_refused},
        {"churn is bounded and right as of its time", churn_is_bounded_and_right_as_of_its_time},
        {"one address that flaps keeps few spells", one_address_that_flaps_keeps_few_spells},
        {"lookups stand changes", lookups_stand_changes},
        {"the cost of a lookup is said", the_cost_of_a_lookup_is_said},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "names_spells", tests);
}
