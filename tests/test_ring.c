#include "../dataplane/ring.h"

#include <pthread.h>

#include "tap.h"

enum { N = 200000 };

static void *produce(void *argument)
{
    struct ring *ring = argument;

    for (uint64_t i = 0; i < N;) {
        uint32_t first, k, n = ring_reserve(ring, 7, &first);

        for (k = 0; k < n && i < N; k++, i++)
            *(uint64_t *)ring_at(ring, first + k) = i;
        ring_push(ring, k);
    }
    return NULL;
}

static void elements_arrive_once_and_in_order(void)
{
    struct ring ring;
    pthread_t thread;
    uint64_t expected = 0;

    CU_ASSERT_EQUAL_FATAL(ring_init(&ring, 60, sizeof(uint64_t)), 0);
    CU_ASSERT_EQUAL(ring.mask, 63);
    pthread_create(&thread, NULL, produce, &ring);
    while (expected < N) {
        uint32_t first, n = ring_peek(&ring, 5, &first);

        for (uint32_t k = 0; k < n && expected < N; k++)
            CU_ASSERT_EQUAL(*(uint64_t *)ring_at(&ring, first + k), expected++);
        ring_pop(&ring, n);
    }
    pthread_join(thread, NULL);
    ring_done(&ring);
}

static void a_full_ring_takes_nothing(void)
{
    struct ring ring;
    uint32_t first;

    CU_ASSERT_EQUAL_FATAL(ring_init(&ring, 8, 16), 0);
    CU_ASSERT_EQUAL(ring_reserve(&ring, 100, &first), 8);
    ring_push(&ring, 8);
    CU_ASSERT_EQUAL(ring_reserve(&ring, 1, &first), 0);
    CU_ASSERT_EQUAL(ring_fill(&ring), 8);
    CU_ASSERT_EQUAL(ring_peek(&ring, 3, &first), 3);
    ring_pop(&ring, 3);
    CU_ASSERT_EQUAL(ring_reserve(&ring, 100, &first), 3);
    ring_done(&ring);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"elements arrive once and in order", elements_arrive_once_and_in_order},
        {"a full ring takes nothing", a_full_ring_takes_nothing},
        {0},
    };
    return tap_main(argc, argv, "ring", tests);
}
