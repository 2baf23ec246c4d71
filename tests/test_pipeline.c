/* The pipeline: the same file gives the same streams however many threads share the work, plans
 * come and go under load, and the sum holds. */
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/pipeline.h"
#include "wire.h"

enum { CONNECTIONS = 60, REQUESTS = 12000 };

struct run {
    struct source *source;
    struct wire_recorder *recorders[4];
    struct pipeline *pipeline;
    unsigned n_classifiers;
};

static struct wire wire;
static char path[] = "/tmp/tapedeck-pipeline-XXXXXX";
static struct kfl_statement *statement;

static void make_wire(void)
{
    struct wire_connection c[CONNECTIONS];
    uint32_t state = 11;

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        c[i] =
            (struct wire_connection){(uint8_t)(1 + i % 7), 200, (uint16_t)(2000 + i), 80, {i, i}};
        wire_open(&wire, &c[i]);
    }
    for (unsigned i = 0; i < REQUESTS; i++) {
        state = state * 1664525 + 1013904223;
        wire_request(&wire, &c[(state >> 8) % CONNECTIONS], "/", (state >> 16) % 199 ? 200 : 500);
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        wire_close(&wire, &c[i]);
}

static void write_file(void)
{
    const uint32_t header[6] = {0xa1b23c4d, 4 << 16 | 2, 0, 0, 65535, LINKTYPE_ETHERNET};
    FILE *file = fopen(path, "w");

    fwrite(header, sizeof(header), 1, file);
    for (uint32_t i = 0; i < wire.n; i++) {
        const struct packet *packet = &wire.packets[i];
        const uint32_t record[4] = {(uint32_t)(packet->ts_ns / 1000000000),
                                    (uint32_t)(packet->ts_ns % 1000000000), packet->caplen,
                                    packet->origlen};

        fwrite(record, sizeof(record), 1, file);
        fwrite(packet->data, packet->caplen, 1, file);
    }
    fclose(file);
}

static struct kfl_plan *plan_of(const char *text, unsigned n_workers)
{
    static struct kfl_messages messages;
    struct kfl_plan_job job = {.slot = 5};
    struct kfl_plan *plan = NULL;
    unsigned slot;

    if (!statement)
        CU_ASSERT_FATAL(!kfl_statement_create(text, strlen(text), 0, &statement, &messages));
    job.statement = statement;
    CU_ASSERT_FATAL(!kfl_plan_create(&job, 1, n_workers, false, &plan, &slot, &messages));
    return plan;
}

/* A disk that takes a few packets a turn. */
static unsigned slow_writer(void *context)
{
    struct run *run = context;
    unsigned n_done = 0;

    for (unsigned i = 0; i < run->n_classifiers; i++)
        if (run->recorders[i]->room < 2 * WIRE_ROOM_READY) {
            atomic_fetch_add(&run->recorders[i]->room, 7);
            n_done = 1;
        }
    return n_done;
}

static void run_create(struct run *run, unsigned n_rx, unsigned n_classifiers, uint32_t ring_slots)
{
    const struct source_config source = {.type = "file", .interface = path};
    char why[SOURCE_ERROR_SIZE];
    struct recorder *recorders[4];
    struct pipeline_config config = {
        .sources = &run->source,
        .n_sources = 1,
        .n_rx = n_rx,
        .n_classifiers = n_classifiers,
        .ring_slots = ring_slots,
        .hash_seed = WIRE_SEED,
        .classifier = {.streams = {.max = 4096},
                       .l7 = {.memory = 64 << 20},
                       .lookback_size = 8 << 20,
                       .waiting_memory = 8 << 20},
        .recorders = recorders,
        .writer_step = slow_writer,
        .writer_context = run,
    };

    memset(run, 0, sizeof(*run));
    run->n_classifiers = n_classifiers;
    CU_ASSERT_FATAL(!source_open(&source, 0, &run->source, why));
    for (unsigned i = 0; i < n_classifiers; i++) {
        run->recorders[i] = wire_recorder_create(&wire);
        recorders[i] = &run->recorders[i]->base;
    }
    CU_ASSERT_FATAL(!pipeline_create(&config, &run->pipeline));
    CU_ASSERT_FATAL(
        !pipeline_publish(run->pipeline, plan_of("response.status == 500", n_classifiers), 1 << 5));
}

static void run_free(struct run *run)
{
    pipeline_free(run->pipeline);
    for (unsigned i = 0; i < run->n_classifiers; i++)
        free(run->recorders[i]);
    source_close(run->source);
}

static void check_sum(const struct run *run)
{
    struct pipeline_sum sum = pipeline_sum(run->pipeline);
    struct pipeline_source_stats stats;

    CU_ASSERT_EQUAL(sum.rx, wire.n);
    CU_ASSERT_EQUAL(sum.difference, 0);
    CU_ASSERT_EQUAL(sum.dropped, 0);
    CU_ASSERT_EQUAL(sum.in_flight, 0);
    CU_ASSERT_EQUAL(sum.held, 0);
    pipeline_source_stats(run->pipeline, 0, &stats);
    CU_ASSERT_EQUAL(stats.rx, wire.n);
    CU_ASSERT_EQUAL(stats.error, 0);
    CU_ASSERT(stats.ended);
}

static unsigned connection_of(uint32_t n)
{
    const uint16_t *port = wire.packets[n].key.port;

    return (port[0] >= 2000 ? port[0] : port[1]) - 2000u;
}

/* Per connection, the recorded packets: a checksum over their numbers in order. */
static void recorded(const struct run *run, uint64_t ret_sum[static CONNECTIONS])
{
    memset(ret_sum, 0, CONNECTIONS * sizeof(ret_sum[0]));
    for (unsigned i = 0; i < run->n_classifiers; i++)
        for (uint32_t k = 0; k < run->recorders[i]->n_log; k++) {
            uint32_t n = run->recorders[i]->log[k].packet;
            uint64_t *sum = &ret_sum[connection_of(n)];

            *sum = *sum * 31 + n + 1;
        }
}

static void test_same_streams(void)
{
    static const struct {
        unsigned n_rx, n_classifiers;
        uint32_t ring_slots;
    } shapes[] = {{0, 1, 0}, {1, 1, 0}, {1, 1, 16}, {1, 2, 0}, {1, 3, 256}, {2, 2, 0}};
    uint64_t first[CONNECTIONS], sum[CONNECTIONS];
    unsigned n_recorded = 0;

    for (unsigned i = 0; i < 2 * sizeof(shapes) / sizeof(shapes[0]); i++) {
        bool threads = i % 2;
        struct run run;

        run_create(&run, shapes[i / 2].n_rx, shapes[i / 2].n_classifiers, shapes[i / 2].ring_slots);
        if (threads) {
            CU_ASSERT_FATAL(!pipeline_start(run.pipeline));
            pipeline_wait(run.pipeline);
        } else {
            pipeline_run(run.pipeline);
        }
        CU_ASSERT(pipeline_done(run.pipeline));
        check_sum(&run);
        recorded(&run, i ? sum : first);
        if (i)
            CU_ASSERT(!memcmp(sum, first, sizeof(sum)));
        run_free(&run);
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        n_recorded += first[i] != 0;
    CU_ASSERT(n_recorded > 5 && n_recorded < CONNECTIONS);
}

/* -> how many connections the job in the slot has recorded, each from its first packet to its
 * last. */
static unsigned whole_streams(const struct run *run, unsigned slot)
{
    unsigned n[CONNECTIONS] = {0}, all[CONNECTIONS] = {0}, n_streams = 0;

    for (uint32_t i = 0; i < wire.n; i++)
        all[connection_of(i)]++;
    for (unsigned i = 0; i < run->n_classifiers; i++)
        for (uint32_t k = 0; k < run->recorders[i]->n_log; k++)
            if (run->recorders[i]->log[k].slot == slot)
                n[connection_of(run->recorders[i]->log[k].packet)]++;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        n_streams += n[i] > 0;
        CU_ASSERT(!n[i] || n[i] == all[i]);
    }
    return n_streams;
}

/* Of each job with a limit(n), n entries in all classifiers together, and their streams whole. */
static void test_limit(void)
{
    static const struct {
        const char *statement;
        unsigned n;
    } limited[] = {{"response.status == 500 and limit(7)", 7},
                   {"tcp and limit(3)", 3},
                   {"http and limit(40)", 40},
                   {"response.status == 200 and limit(1)", 1},
                   {"tcp and limit(1000)", 1000}};
    enum { N = sizeof(limited) / sizeof(limited[0]) };
    static const unsigned n_classifiers[] = {1, 2, 4, 4};
    struct kfl_statement *statements[N];
    struct kfl_plan_job jobs[N];
    unsigned slot;

    for (unsigned i = 0; i < N; i++) {
        CU_ASSERT_FATAL(!kfl_statement_create(limited[i].statement, strlen(limited[i].statement), 0,
                                              &statements[i], NULL));
        jobs[i] = (struct kfl_plan_job){.slot = i, .statement = statements[i]};
    }
    for (unsigned i = 0; i < sizeof(n_classifiers) / sizeof(n_classifiers[0]); i++) {
        static struct kfl_messages messages;
        struct kfl_plan *plan = NULL;
        struct run run;

        run_create(&run, 1, n_classifiers[i], 256);
        CU_ASSERT_FATAL(
            !kfl_plan_create(jobs, N, n_classifiers[i], false, &plan, &slot, &messages));
        CU_ASSERT_FATAL(!pipeline_publish(run.pipeline, plan, (1 << N) - 1));
        CU_ASSERT_FATAL(!pipeline_start(run.pipeline));
        pipeline_wait(run.pipeline);
        check_sum(&run);
        for (slot = 0; slot < N; slot++) {
            unsigned n_entries = 0, n_streams = whole_streams(&run, slot);

            for (unsigned k = 0; k < run.n_classifiers; k++)
                n_entries += run.recorders[k]->n_entries[slot];
            if (n_entries != limited[slot].n)
                tap_note("%s: %u entries", limited[slot].statement, n_entries);
            CU_ASSERT_EQUAL(n_entries, limited[slot].n);
            CU_ASSERT(n_streams && n_streams <= n_entries);
            CU_ASSERT(slot != 1 || n_streams == limited[slot].n);
            CU_ASSERT(pipeline_admitted(run.pipeline, slot) >= n_entries);
        }
        run_free(&run);
    }
    for (unsigned i = 0; i < N; i++)
        kfl_statement_free(statements[i]);
}

/* The job's slot gets a new plan again and again; the job itself stays: nothing changes for it. */
static void test_plans_come_and_go(void)
{
    uint64_t first[CONNECTIONS], sum[CONNECTIONS];
    struct run run;
    unsigned n_plans = 0;

    run_create(&run, 0, 1, 0);
    pipeline_run(run.pipeline);
    recorded(&run, first);
    run_free(&run);

    run_create(&run, 1, 2, 256);
    CU_ASSERT_FATAL(!pipeline_start(run.pipeline));
    while (!pipeline_done(run.pipeline) && n_plans < 200) {
        CU_ASSERT(!pipeline_publish(run.pipeline, plan_of("", 2), 0));
        usleep(50);
        pipeline_reclaim(run.pipeline);
        n_plans++;
    }
    pipeline_wait(run.pipeline);
    CU_ASSERT_EQUAL(pipeline_reclaim(run.pipeline), 0);
    check_sum(&run);
    recorded(&run, sum);
    CU_ASSERT(!memcmp(sum, first, sizeof(sum)));
    tap_note("%u plans", n_plans);
    run_free(&run);
}

/* A stream with a long past matches, and then the plan changes: no turn moves more than a piece,
 * and all of the past arrives. */
static void test_long_past(void)
{
    enum { LONG = 9000, PIECE = 2 * 1024 + 64 };
    struct wire few = wire;
    struct wire_connection c = {9, 200, 4000, 80, {0, 0}};
    unsigned n_before = 0, n_max = 0, n_plans = 0;
    struct timespec from, to;
    uint64_t ns, ns_max = 0;
    struct run run;

    wire = (struct wire){0};
    wire_open(&wire, &c);
    for (unsigned i = 0; i < LONG; i++)
        wire_request(&wire, &c, "/", i == LONG / 2 ? 500 : 200);
    wire_close(&wire, &c);
    write_file();
    run_create(&run, 1, 1, 256);
    while (!pipeline_done(run.pipeline)) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        pipeline_step(run.pipeline);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec -
             (uint64_t)from.tv_nsec;
        if (run.recorders[0]->n_commits - n_before > n_max)
            n_max = run.recorders[0]->n_commits - n_before;
        n_before = run.recorders[0]->n_commits;
        if (!n_before)
            continue;
        ns_max = ns > ns_max ? ns : ns_max;
        if (n_plans < 20)
            CU_ASSERT(!pipeline_publish(run.pipeline, plan_of("", 1), 1 << n_plans++ % 4));
        pipeline_reclaim(run.pipeline);
    }
    while (pipeline_step(run.pipeline))
        ;
    CU_ASSERT_EQUAL(run.recorders[0]->n_commits, wire.n);
    CU_ASSERT(n_plans == 20 && n_max <= PIECE);
    tap_note("at most %u packets recorded in one turn, %llu us of CPU at most", n_max,
             (unsigned long long)ns_max / 1000);
    check_sum(&run);
    run_free(&run);
    wire_free(&wire);
    wire = few;
    write_file();
}

/* What is read from a file waits for the disk: nothing of it is lost. */
static void test_file_waits(void)
{
    static const unsigned shapes[][2] = {{0, 1}, {1, 1}, {1, 2}};
    struct kfl_plan_job job = {.slot = 0};
    struct kfl_statement *all;
    unsigned slot;

    CU_ASSERT_FATAL(!kfl_statement_create("tcp", 3, 0, &all, NULL));
    job.statement = all;
    for (unsigned i = 0; i < 2 * sizeof(shapes) / sizeof(shapes[0]); i++) {
        static struct kfl_messages messages;
        struct kfl_plan *plan = NULL;
        unsigned n_recorded = 0, n_waits = 0;
        bool threads = i % 2;
        struct run run;

        run_create(&run, shapes[i / 2][0], shapes[i / 2][1], 64);
        CU_ASSERT_FATAL(
            !kfl_plan_create(&job, 1, run.n_classifiers, false, &plan, &slot, &messages));
        CU_ASSERT_FATAL(!pipeline_publish(run.pipeline, plan, 1));
        for (unsigned k = 0; k < run.n_classifiers; k++)
            run.recorders[k]->bounded = true;
        if (threads) {
            CU_ASSERT_FATAL(!pipeline_start(run.pipeline));
            pipeline_wait(run.pipeline);
        } else {
            pipeline_run(run.pipeline);
        }
        check_sum(&run);
        for (unsigned k = 0; k < run.n_classifiers; k++) {
            n_recorded += run.recorders[k]->n_commits;
            n_waits += run.recorders[k]->n_waits;
        }
        CU_ASSERT_EQUAL(n_recorded, wire.n);
        CU_ASSERT(threads || n_waits);
        run_free(&run);
    }
    kfl_statement_free(all);
}

static struct {
    _Atomic bool is_stuck, is_let_go;
} writer;

static unsigned writer_that_gets_stuck(void *context)
{
    atomic_store(&writer.is_stuck, true);
    while (!atomic_load(&writer.is_let_go))
        usleep(1000);
    return 0;
}

static void test_stalled(void)
{
    struct pipeline_config config = {
        .n_classifiers = 1,
        .classifier = {.streams = {.max = 4096},
                       .l7 = {.memory = 8 << 20},
                       .lookback_size = 1 << 20,
                       .waiting_memory = 1 << 20},
        .writer_step = writer_that_gets_stuck,
    };
    struct wire_recorder *recorder = wire_recorder_create(&wire);
    struct recorder *recorders[] = {&recorder->base};
    struct pipeline *pipeline;
    const char *stalled = NULL;

    config.recorders = recorders;
    CU_ASSERT_FATAL(!pipeline_create(&config, &pipeline));
    CU_ASSERT_FATAL(!pipeline_publish(pipeline, plan_of("response.status == 500", 1), 1 << 5));
    CU_ASSERT_FATAL(!pipeline_start(pipeline));
    CU_ASSERT_PTR_NULL(pipeline_stalled(pipeline)); /* they may not have begun */
    while (!atomic_load(&writer.is_stuck))
        usleep(1000);
    pipeline_stalled(pipeline); /* all have turned by now */
    stalled = pipeline_stalled(pipeline);
    CU_ASSERT(stalled && strncmp(stalled, "td-", 3) == 0);
    atomic_store(&writer.is_let_go, true);
    for (unsigned i = 0; stalled && i < 10000; i++) { /* soon all of them turn again */
        usleep(20000);
        stalled = pipeline_stalled(pipeline);
    }
    CU_ASSERT(!stalled);
    pipeline_stop(pipeline);
    pipeline_wait(pipeline);
    pipeline_free(pipeline);
    free(recorder);
}

static void test_stop(void)
{
    struct pipeline_sum sum;
    struct run run;

    run_create(&run, 1, 2, 256);
    for (unsigned i = 0; i < 5; i++)
        pipeline_step(run.pipeline);
    pipeline_stop(run.pipeline);
    pipeline_run(run.pipeline);
    sum = pipeline_sum(run.pipeline);
    CU_ASSERT(sum.rx > 0 && sum.rx < wire.n);
    CU_ASSERT_EQUAL(sum.difference, 0);
    CU_ASSERT_EQUAL(sum.held, 0);
    run_free(&run);
}

static const struct tap_test tests[] = {
    {"the same streams with any number of threads", test_same_streams},
    {"limit(n) lets in n entries, however many classifiers there are", test_limit},
    {"plans that come and go change nothing for a job that stays", test_plans_come_and_go},
    {"a plan that changes while a long past is moved stalls nothing", test_long_past},
    {"a file waits for the disk", test_file_waits},
    {"a thread that does not turn is named", test_stalled},
    {"a pipeline that is stopped settles what it has", test_stop},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    int status;

    make_wire();
    close(mkstemp(path));
    write_file();
    status = tap_main(argc, argv, "pipeline", tests);
    unlink(path);
    kfl_statement_free(statement);
    wire_free(&wire);
    return status;
}
