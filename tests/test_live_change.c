/* Jobs come and go under full load, 64 at once with the one that stays: a file is replayed through
 * threads again and again, and for the job that stays each replay gives the same packets. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/pipeline.h"
#include "kfl_random.h"
#include "wire.h"

enum { CONNECTIONS = 60, REQUESTS = 12000, STAYS = 5, CLASSIFIERS = 2, FIRST_PORT = 2000 };
enum { SECONDS = 10, SECONDS_LONG = 60, REPLAYS_MAX = 20 };

static struct wire wire;
static char path[] = "/tmp/tapedeck-live-change-XXXXXX";

enum slot_state { SLOT_FREE, SLOT_IN_USE, SLOT_LEAVING };

static struct {
    enum slot_state state;
    struct kfl_statement *statement;
} slots[KFL_SLOT_MAX];
static struct kfl_random dice;

static struct {
    struct source *source;
    struct wire_recorder *recorders[CLASSIFIERS];
    struct pipeline *pipeline;
} run;
static uint64_t n_created, n_deleted, n_plans, compile_ns_max;

static void make_wire(void)
{
    struct wire_connection c[CONNECTIONS];

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        c[i] = (struct wire_connection){
            (uint8_t)(1 + i % 7), 200, (uint16_t)(FIRST_PORT + i), 80, {i, i}};
        wire_open(&wire, &c[i]);
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        wire_request(&wire, &c[kfl_random_below(&dice, CONNECTIONS)], "/",
                     kfl_random_below(&dice, 199) ? 200 : 500);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        wire_close(&wire, &c[i]);
}

static void write_file(void)
{
    const uint32_t header[6] = {0xa1b23c4d, 4 << 16 | 2, 0, 0, 65535, LINKTYPE_ETHERNET};
    FILE *file = fdopen(mkstemp(path), "w");

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

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void publish(uint64_t changed)
{
    static struct kfl_messages messages;
    struct kfl_plan_job jobs[KFL_SLOT_MAX];
    struct kfl_plan *plan = NULL;
    uint64_t from_ns = now_ns();
    unsigned n = 0, culprit;

    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        if (slots[slot].state == SLOT_IN_USE)
            jobs[n++] = (struct kfl_plan_job){slot, slots[slot].statement};
    CU_ASSERT_FATAL(!kfl_plan_create(jobs, n, CLASSIFIERS, false, &plan, &culprit, &messages));
    CU_ASSERT_FATAL(!pipeline_publish(run.pipeline, plan, changed));
    n_plans++;
    if (now_ns() - from_ns > compile_ns_max)
        compile_ns_max = now_ns() - from_ns;
}

static struct kfl_statement *some_statement(void)
{
    static const char *const texts[] = {"http", "true", "response.status == 500",
                                        "tcp and dst.port == 80", "request.path == \"/\""};
    static struct kfl_messages messages;
    struct kfl_statement *statement = NULL;
    char text[4096];

    while (!statement) {
        size_t size = kfl_random_statement(&dice, text, sizeof(text));

        if (!kfl_random_below(&dice, 3))
            size = (size_t)snprintf(text, sizeof(text), "%s", texts[kfl_random_below(&dice, 5)]);
        if (kfl_statement_create(text, size, 0, &statement, &messages))
            statement = NULL;
        else if (kfl_statement_check_job(statement, &messages)) {
            kfl_statement_free(statement);
            statement = NULL;
        }
    }
    return statement;
}

/* A slot is free again when every classifier has left the plans that knew its job. */
static void reclaim(void)
{
    if (pipeline_reclaim(run.pipeline))
        return;
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        if (slots[slot].state == SLOT_LEAVING) {
            kfl_statement_free(slots[slot].statement);
            slots[slot].state = SLOT_FREE;
        }
}

/* One job comes or goes. */
static void change(void)
{
    unsigned slot = kfl_random_below(&dice, KFL_SLOT_MAX);

    if (slot == STAYS || slots[slot].state == SLOT_LEAVING)
        return;
    if (slots[slot].state == SLOT_FREE) {
        slots[slot].statement = some_statement();
        slots[slot].state = SLOT_IN_USE;
        n_created++;
    } else {
        slots[slot].state = SLOT_LEAVING;
        n_deleted++;
    }
    publish(UINT64_C(1) << slot);
}

static void replay_begin(void)
{
    const struct source_config source = {.type = "file", .interface = path};
    char why[SOURCE_ERROR_SIZE];
    struct recorder *recorders[CLASSIFIERS];
    struct pipeline_config config = {
        .sources = &run.source,
        .n_sources = 1,
        .n_rx = 1,
        .n_classifiers = CLASSIFIERS,
        .hash_seed = WIRE_SEED,
        .classifier = {.streams = {.max = 4096},
                       .l7 = {.memory = 64 << 20},
                       .lookback_size = 16 << 20,
                       .waiting_memory = 8 << 20},
        .recorders = recorders,
    };

    CU_ASSERT_FATAL(!source_open(&source, 0, &run.source, why));
    for (unsigned i = 0; i < CLASSIFIERS; i++) {
        run.recorders[i] = wire_recorder_create(&wire);
        run.recorders[i]->only = 1 + STAYS;
        recorders[i] = &run.recorders[i]->base;
    }
    CU_ASSERT_FATAL(!pipeline_create(&config, &run.pipeline));
    publish(~UINT64_C(0));
    CU_ASSERT_FATAL(!pipeline_start(run.pipeline));
}

/* -> per connection, a checksum over the packets of the job that stays, in order. */
static void replay_end(uint64_t ret_sum[static CONNECTIONS])
{
    struct pipeline_sum sum;

    pipeline_wait(run.pipeline);
    reclaim();
    sum = pipeline_sum(run.pipeline);
    CU_ASSERT_EQUAL(sum.rx, wire.n);
    CU_ASSERT_EQUAL(sum.difference, 0);
    CU_ASSERT_EQUAL(sum.dropped, 0);
    CU_ASSERT_EQUAL(sum.held, 0);
    memset(ret_sum, 0, CONNECTIONS * sizeof(ret_sum[0]));
    for (unsigned i = 0; i < CLASSIFIERS; i++)
        for (uint32_t k = 0; k < run.recorders[i]->n_log; k++) {
            uint32_t n = run.recorders[i]->log[k].packet;
            const uint16_t *port = wire.packets[n].key.port;
            uint64_t *of = &ret_sum[(port[0] >= FIRST_PORT ? port[0] : port[1]) - FIRST_PORT];

            *of = *of * 31 + n + 1;
        }
    pipeline_free(run.pipeline);
    for (unsigned i = 0; i < CLASSIFIERS; i++)
        free(run.recorders[i]);
    source_close(run.source);
}

static void the_job_that_stays_gets_the_same_packets(void)
{
    static const char stays[] = "response.status == 500";
    uint64_t first[CONNECTIONS], sum[CONNECTIONS], until_ns;
    unsigned n_replays = 0, n_recorded = 0;

    CU_ASSERT_FATAL(
        !kfl_statement_create(stays, sizeof(stays) - 1, 0, &slots[STAYS].statement, NULL));
    slots[STAYS].state = SLOT_IN_USE;
    replay_begin();
    replay_end(first);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        n_recorded += first[i] != 0;
    CU_ASSERT(n_recorded > 5);
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot += 1 + (slot + 1 == STAYS)) {
        slots[slot].statement = some_statement();
        slots[slot].state = SLOT_IN_USE;
    }
    until_ns = now_ns() + (getenv("TAPEDECK_LONG") ? SECONDS_LONG : SECONDS) * UINT64_C(1000000000);
    /* A loaded machine may take longer for a first round of everything. */
    while (now_ns() < until_ns || (!(n_created && n_deleted) && n_replays < REPLAYS_MAX)) {
        replay_begin();
        while (!pipeline_done(run.pipeline)) {
            change();
            reclaim();
        }
        replay_end(sum);
        CU_ASSERT(!memcmp(sum, first, sizeof(sum)));
        n_replays++;
    }
    tap_note("%u replays of %u packets, %llu jobs created, %llu deleted, %llu plans", n_replays,
             wire.n, (unsigned long long)n_created, (unsigned long long)n_deleted,
             (unsigned long long)n_plans);
    tap_note("the longest it took to compile and publish: %llu us",
             (unsigned long long)compile_ns_max / 1000);
    CU_ASSERT(n_replays && n_created && n_deleted);
}

static const struct tap_test tests[] = {
    {"for a job that stays all replays give the same packets",
     the_job_that_stays_gets_the_same_packets},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    const char *seed = getenv("TAPEDECK_SEED");
    int status;

    dice.state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    printf("# seed %llu\n", (unsigned long long)dice.state);
    make_wire();
    write_file();
    status = tap_main(argc, argv, "live_change", tests);
    unlink(path);
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        if (slots[slot].state != SLOT_FREE)
            kfl_statement_free(slots[slot].statement);
    wire_free(&wire);
    return status;
}
