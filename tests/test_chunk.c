#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../dataplane/interface.h"
#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/ensure.h"
#include "../writer/chunk_recorder.h"
#include "../writer/cutoff.h"
#include "tap.h"
#include "writer_lab.h"

/* A recorder on its own; the test takes the writer's end of the ring. */
static struct lab lab;
static struct chunk_pool *pool;
static const struct chunk_slot job = {
    .run = 1, .name = "job", .statement = "http and response.status == 500"};

static void begin(const struct chunk_slot *slot)
{
    memset(&lab, 0, sizeof(lab));
    lab.now_ns = 1000;
    if (!interface_count())
        interface_add("lab0", "file", "", 1, 0);
    ensure(!chunk_pool_create(1, 4, 1, CHUNK_SIZE_MIN, &pool));
    ensure(!chunk_recorder_create(pool, 0, 500, &lab.recorder[0]));
    *chunk_slot(pool, 3) = slot ? *slot : job;
}

static void end(void)
{
    chunk_recorder_free(lab.recorder[0]);
    chunk_pool_free(pool);
}

static struct chunk *flushed(void)
{
    lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
    return chunk_next(pool, 0);
}

static struct chunk_directory directory_of(const struct chunk *chunk)
{
    struct chunk_directory directory;

    memcpy(&directory, chunk->data + chunk->directory, sizeof(directory));
    return directory;
}

static const uint8_t *directory_filter(const struct chunk *chunk)
{
    return chunk->data + chunk->directory + sizeof(struct chunk_directory);
}

/* What is behind the directory's head and filter, aligned. */
static const void *directory_rows(const struct chunk *chunk)
{
    static uint64_t rows[CHUNK_SIZE_MIN / 8];
    uint64_t before =
        sizeof(struct chunk_directory) + chunk_filter_size(directory_of(chunk).n_streams);

    memcpy(rows, chunk->data + chunk->directory + before, chunk->directory_size - before);
    return rows;
}

/* Walks the blocks. -> packet blocks; *ret_last the last of them. */
static unsigned blocks(const struct chunk *chunk, const uint8_t **ret_last)
{
    unsigned n = 0;
    uint32_t type, size, again;

    for (uint32_t at = 0; at < chunk->used; at += size) {
        memcpy(&type, chunk->data + at, 4);
        memcpy(&size, chunk->data + at + 4, 4);
        CU_ASSERT_FATAL(size >= 12 && size % 4 == 0 && at + size <= chunk->used);
        memcpy(&again, chunk->data + at + size - 4, 4);
        CU_ASSERT_EQUAL(size, again);
        if (type == PCAPNG_PACKET) {
            n++;
            *ret_last = chunk->data + at;
        }
    }
    return n;
}

static void a_chunk_is_whole_blocks_and_a_directory(void)
{
    struct stream a = lab_stream(1), b = lab_stream(2);
    const struct chunk_stream *streams;
    const struct chunk_run *runs;
    struct chunk_directory d;
    const uint8_t *last;
    struct chunk *chunk;

    begin(NULL);
    lab_packet(&lab, 0, 3, &a, 10, 100);
    lab_packet(&lab, 0, 3, &a, 30, 200);
    lab_packet(&lab, 0, 3, &b, 20, 300);
    lab_packet(&lab, 0, 3, &a, 40, 101);
    chunk = flushed();
    CU_ASSERT_PTR_NOT_NULL_FATAL(chunk);
    CU_ASSERT_EQUAL(chunk->used % CHUNK_ALIGN, 0);
    CU_ASSERT_EQUAL(chunk->n_packets, 4);
    CU_ASSERT_EQUAL(chunk->packet_bytes, 701);
    CU_ASSERT_EQUAL(chunk->run, 1);
    CU_ASSERT_EQUAL(chunk->n_interfaces, 1);
    CU_ASSERT_EQUAL(blocks(chunk, &last), 4);
    d = directory_of(chunk);
    CU_ASSERT_EQUAL(d.magic, CHUNK_DIRECTORY_MAGIC);
    CU_ASSERT_EQUAL(d.size, chunk->used);
    CU_ASSERT_EQUAL_FATAL(d.n_streams, 2);
    CU_ASSERT_EQUAL_FATAL(d.n_runs, 3);
    CU_ASSERT_EQUAL(d.first_ns, 10);
    CU_ASSERT_EQUAL(d.last_ns, 40);
    streams = directory_rows(chunk);
    runs = (const void *)(streams + 2);
    CU_ASSERT_EQUAL(streams[0].number, 1);
    CU_ASSERT_EQUAL(streams[0].packets, 3);
    CU_ASSERT_EQUAL(streams[0].bytes, 401);
    CU_ASSERT_EQUAL(streams[0].name[0], 0);
    CU_ASSERT_STRING_EQUAL((const char *)(runs + 3) + streams[0].name[1] - 1, "server.lab");
    CU_ASSERT_EQUAL(streams[1].packets, 1);
    CU_ASSERT(runs[0].stream == 0 && runs[0].packets == 2 && runs[0].offset == 0);
    CU_ASSERT(runs[1].stream == 1 && runs[1].packets == 1);
    CU_ASSERT(runs[2].stream == 0 && runs[2].packets == 1);
    CU_ASSERT(chunk_filter_may_have(directory_filter(chunk), 2, 1));
    CU_ASSERT(chunk_filter_may_have(directory_filter(chunk), 2, 2));
    CU_ASSERT_FALSE(chunk_filter_may_have(directory_filter(chunk), 0, 1));
    end();
}

static void a_filter_has_what_is_there_and_little_else(void)
{
    enum { MANY = 1000, OTHERS = 100000 };
    static struct chunk_stream streams[MANY];
    static uint8_t filter[2 * MANY + 8];
    unsigned there = 0, wrong = 0;

    for (unsigned n = 1; n <= MANY; n += n < 20 ? 1 : 490) {
        for (unsigned i = 0; i < n; i++)
            streams[i].number = 5 + 3 * (uint64_t)i; /* of one of three classifiers */
        chunk_filter_make(filter, streams, n);
        for (unsigned i = 0; i < n; i++)
            there += chunk_filter_may_have(filter, n, streams[i].number);
        CU_ASSERT_EQUAL(there, n);
        there = 0;
    }
    for (uint64_t i = 0; i < OTHERS; i++)
        wrong += i % 3 != 2 && chunk_filter_may_have(filter, MANY, i);
    CU_ASSERT(wrong < OTHERS / 100);
}

static void a_full_chunk_makes_place_for_the_next(void)
{
    struct stream stream = lab_stream(1);
    const uint8_t *last;
    struct chunk *chunk;
    unsigned n = 0, taken = 0;

    begin(NULL);
    for (unsigned i = 0; i < 1000; i++)
        taken += lab_packet(&lab, 0, 3, &stream, i + 1, 1000);
    lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
    while ((chunk = chunk_next(pool, 0)))
        n += blocks(chunk, &last);
    CU_ASSERT_EQUAL(n, taken);
    CU_ASSERT(taken > 4 * 55 && taken < 4 * 65);
    /* Four chunks and no more: the rest is lost to this job, and counted. */
    CU_ASSERT_EQUAL(chunk_counters(pool, 0, 3)->drop_no_chunk, 1000 - taken);
    CU_ASSERT_EQUAL(chunk_counters(pool, 0, 3)->lost[0], 1000 - taken);
    CU_ASSERT_EQUAL(chunk_counters(pool, 0, 3)->packets, taken);
    end();
}

static void one_stream_a_packet_fills_the_directory_too(void)
{
    const uint8_t *last;
    struct chunk *chunk;
    unsigned n = 0, taken = 0;

    begin(NULL);
    for (unsigned i = 0; i < 5000; i++) {
        struct stream stream = lab_stream(i);

        taken += lab_packet(&lab, 0, 3, &stream, i + 1, 80);
    }
    lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
    while ((chunk = chunk_next(pool, 0))) {
        n += blocks(chunk, &last);
        CU_ASSERT_EQUAL(directory_of(chunk).n_streams, chunk->n_packets);
    }
    CU_ASSERT_EQUAL(n, taken);
    end();
}

static void what_came_back_last_is_taken_first(void)
{
    struct chunk *first, *second;

    begin(NULL);
    first = chunk_take(pool, 0);
    second = chunk_take(pool, 0);
    CU_ASSERT_EQUAL(chunk_busy(pool), 2);
    chunk_give(pool, second);
    chunk_give(pool, first);
    CU_ASSERT_EQUAL(chunk_busy(pool), 0);
    CU_ASSERT_PTR_EQUAL(chunk_take(pool, 0), first);
    CU_ASSERT_PTR_EQUAL(chunk_take(pool, 0), second);
    CU_ASSERT_EQUAL(chunk_busy(pool), 2);
    end();
}

static void *submit_two(void *argument)
{
    for (unsigned i = 0; i < 2; i++)
        chunk_submit(pool, chunk_take(pool, 0));
    return NULL;
}

static void the_writer_is_woken_by_so_many_chunks(void)
{
    const uint64_t minute_ns = UINT64_C(60000000000);
    time_t begun = time(NULL);
    pthread_t thread;

    begin(NULL);
    pthread_create(&thread, NULL, submit_two, NULL);
    chunk_wait(pool, 2, minute_ns);
    CU_ASSERT_PTR_NOT_NULL(chunk_next(pool, 0));
    chunk_wait(pool, 1, minute_ns); /* the other one is there */
    CU_ASSERT_PTR_NOT_NULL(chunk_next(pool, 0));
    pthread_join(thread, NULL);
    CU_ASSERT(time(NULL) < begun + 30);
    end();
}

static void a_chunk_is_handed_on_when_it_is_old(void)
{
    struct stream stream = lab_stream(1);

    begin(NULL);
    lab_packet(&lab, 0, 3, &stream, 1, 100);
    lab.recorder[0]->ops->flush(lab.recorder[0], 1000, false);
    lab.recorder[0]->ops->flush(lab.recorder[0], 1499, false);
    CU_ASSERT_PTR_NULL(chunk_next(pool, 0));
    lab.recorder[0]->ops->flush(lab.recorder[0], 1500, false);
    CU_ASSERT_PTR_NOT_NULL(chunk_next(pool, 0));
    end();
}

static void snaplen_cuts_packets(void)
{
    struct chunk_slot slot = job;
    struct stream stream = lab_stream(1);
    const uint8_t *block = NULL;
    uint32_t sizes[2];

    slot.snaplen = 97;
    begin(&slot);
    lab_packet(&lab, 0, 3, &stream, 1, 1000);
    CU_ASSERT_EQUAL_FATAL(blocks(flushed(), &block), 1);
    memcpy(sizes, block + 20, 8);
    CU_ASSERT_EQUAL(sizes[0], 97);
    CU_ASSERT_EQUAL(sizes[1], 1000);
    memcpy(sizes, block + 28 + 100, 8);
    CU_ASSERT_EQUAL(sizes[0], PCAPNG_OPTION_PACKET_FLAGS | 4 << 16);
    CU_ASSERT_EQUAL(sizes[1], PCAPNG_FLAGS_INBOUND);
    end();
}

static void cutoff_keeps_the_first_bytes_of_each_stream(void)
{
    struct chunk_slot slot = job;
    struct stream a = lab_stream(1), b = lab_stream(2);
    const struct chunk *chunk;
    const uint8_t *last;

    slot.cutoff = 250;
    begin(&slot);
    for (unsigned i = 0; i < 10; i++) {
        lab_packet(&lab, 0, 3, &a, i + 1, 100);
        lab_packet(&lab, 0, 3, &b, i + 1, 250);
    }
    CU_ASSERT_EQUAL(blocks(flushed(), &last), 3 + 1);
    CU_ASSERT_EQUAL(chunk_counters(pool, 0, 3)->cut, 16);
    CU_ASSERT_EQUAL(chunk_counters(pool, 0, 3)->packets, 4);
    /* What has nothing in it goes back to the pool by the writer, which passes it over. */
    lab_packet(&lab, 0, 3, &a, 20, 100);
    chunk = flushed();
    CU_ASSERT_PTR_NOT_NULL_FATAL(chunk);
    CU_ASSERT_EQUAL(chunk->used, 0);
    end();
}

static void what_a_stream_has_is_forgotten_with_it(void)
{
    struct cutoff *cutoff = cutoff_create(100);
    uint64_t sum = 0;

    /* Against a plain array. */
    uint64_t twin[200] = {0};

    srand(7);
    for (unsigned i = 0; i < 100000; i++) {
        unsigned stream = (unsigned)rand() % 60, slot = (unsigned)rand() % 3;
        uint64_t *bytes;

        if (rand() % 4 == 0) {
            cutoff_forget(cutoff, stream * 1000003, slot);
            twin[stream * 3 + slot] = 0;
            continue;
        }
        bytes = cutoff_of(cutoff, stream * 1000003, slot);
        if (!bytes)
            continue;
        *bytes += i % 100;
        twin[stream * 3 + slot] += i % 100;
        if (*bytes != twin[stream * 3 + slot])
            sum++;
    }
    CU_ASSERT_EQUAL(sum, 0);
    cutoff_free(cutoff);
}

static void the_matching_packet_says_why(void)
{
    struct stream stream = lab_stream(1);
    const struct recorder_ops *ops;
    const struct chunk_stream *row;
    const uint8_t *block = NULL;
    struct chunk *chunk;
    uint32_t option;

    begin(NULL);
    ops = lab.recorder[0]->ops;
    stream.last_ns = 8;
    ops->matched(lab.recorder[0], 1 << 3, &stream, 5, 7);
    lab_packet(&lab, 0, 3, &stream, 6, 100);
    lab_packet(&lab, 0, 3, &stream, 7, 100);
    chunk = flushed();
    CU_ASSERT_EQUAL(blocks(chunk, &block), 2);
    memcpy(&option, block + 28 + 100 + 8, 4);
    CU_ASSERT_EQUAL(option & 0xffff, PCAPNG_OPTION_COMMENT);
    CU_ASSERT_EQUAL(option >> 16, 36);
    CU_ASSERT(!memcmp(block + 28 + 100 + 12, "job: http and response.status == 500", 36));
    row = directory_rows(chunk);
    CU_ASSERT_EQUAL(row->head_missing, 5);
    CU_ASSERT_EQUAL(chunk_counters(pool, 0, 3)->head_missing, 5);
    CU_ASSERT_EQUAL(chunk_counters(pool, 0, 3)->streams, 1);
    end();
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"a chunk is whole blocks and a directory", a_chunk_is_whole_blocks_and_a_directory},
        {"a filter has what is there and little else", a_filter_has_what_is_there_and_little_else},
        {"a full chunk makes place for the next", a_full_chunk_makes_place_for_the_next},
        {"one stream a packet fills the directory, too",
         one_stream_a_packet_fills_the_directory_too},
        {"what came back last is taken first", what_came_back_last_is_taken_first},
        {"the writer is woken by so many chunks", the_writer_is_woken_by_so_many_chunks},
        {"a chunk is handed on when it is old", a_chunk_is_handed_on_when_it_is_old},
        {"snaplen cuts packets", snaplen_cuts_packets},
        {"cutoff keeps the first bytes of each stream",
         cutoff_keeps_the_first_bytes_of_each_stream},
        {"what a stream has is forgotten with it", what_a_stream_has_is_forgotten_with_it},
        {"the matching packet says why", the_matching_packet_says_why},
        {0},
    };
    return tap_main(argc, argv, "chunk", tests);
}
