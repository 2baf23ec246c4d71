/* bench_pipeline FILE MODE [OPTION...] - the whole pipeline over a capture that lies in memory:
 * receive, decode, streams, plan, dissectors, lookback, recorder. In turns with it, libpcap's
 * pcap_offline_filter() over the same packets. Prints one JSON object: ns a packet of CPU and by
 * the clock (medians of the rounds), packets, streams, the sum with its difference.
 *
 * MODE   out      no job wants anything, which a packet tells: src.ip == "203.0.113.1"
 *        named    no job wants anything, which a stream tells: src.name == "nobody"
 *        all      a job wants everything: every packet becomes a block
 *        http     response.status == 500
 *        open     everything stays open, so all of it goes through the lookback, where it is
 *                 overwritten in the end
 *        jobs     the first --jobs statements of bench/kfl-jobs.txt
 *
 * --rounds N, --jobs N, --filter TEXT (libpcap's)
 * --warm N         the first N packets are not measured
 * --laps N         the capture N times over
 * --classifiers N  in threads: one receives, N classify; without it all is one thread
 * --disk FOLDER    (all) in threads: one receives and classifies, one writes to segments there;
 *                  without it what is recorded is written as blocks into memory and forgotten */
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/memory_map.h"
#include "../dataplane/pipeline.h"
#include "../dataplane/stream.h"
#include "disk.h"
#include "memory_source.h"

/* BLOCKS: what is under way to a disk. The chunk that came back last is the next one that is filled
 * (writer/chunk.c), so the same few are written again and again. */
enum { ROUNDS_MAX = 99, LINE_MAX_ = 1024, BLOCKS = 2 << 20, BLOCK_MAX = 1 << 20 };

struct null_recorder {
    struct recorder base;
    uint8_t *blocks;
    uint32_t at, reserved;
};

struct options {
    const char *file, *mode, *filter, *disk;
    unsigned rounds, n_jobs, warm, laps, n_classifiers;
};

struct cost {
    uint64_t cpu_ns, wall_ns;
};

struct result {            /* of one round */
    struct cost cost, end; /* end: of what was still open */
    struct pipeline_sum sum;
    uint64_t counters[COUNTER_COUNT];
    uint64_t rss; /* how much memory the streams made the process grow */
    struct disk_written written;
};

static uint8_t *null_reserve(struct recorder *base, unsigned slot, uint32_t size,
                             uint16_t interface)
{
    struct null_recorder *recorder = (struct null_recorder *)base;

    if (recorder->at + size > BLOCKS)
        recorder->at = 0;
    recorder->reserved = size;
    return recorder->blocks + recorder->at;
}

static void null_commit(struct recorder *base, unsigned slot, const struct stream *stream,
                        uint64_t ts_ns, uint32_t origlen, uint16_t interface)
{
    struct null_recorder *recorder = (struct null_recorder *)base;

    recorder->at += recorder->reserved;
}

static void null_entry(struct recorder *base, uint64_t slots, const struct stream *stream,
                       const struct kfl_entry *entry)
{
}

static void null_matched(struct recorder *base, uint64_t slots, const struct stream *stream,
                         uint32_t missing, uint64_t ts_ns)
{
}

static void null_ended(struct recorder *base, uint64_t slots, const struct stream *stream,
                       const struct kfl_stream *view)
{
}

static void null_due(struct recorder *base, uint64_t slots, uint64_t now_ns)
{
}

static void null_flush(struct recorder *base, uint64_t now_ns, bool all)
{
}

static const struct recorder_ops null_ops = {null_reserve, null_commit, null_entry, null_matched,
                                             null_ended,   null_due,    null_flush};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct cost cost_now(void)
{
    return (struct cost){clock_ns(CLOCK_PROCESS_CPUTIME_ID), clock_ns(CLOCK_MONOTONIC)};
}

static struct cost cost_since(struct cost begun)
{
    struct cost now = cost_now();

    return (struct cost){now.cpu_ns - begun.cpu_ns, now.wall_ns - begun.wall_ns};
}

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static unsigned statements(const struct options *options, char text[][LINE_MAX_])
{
    static const struct {
        const char *mode, *statement;
    } modes[] = {{"out", "src.ip == \"203.0.113.1\""},
                 {"named", "src.name == \"nobody\""},
                 {"all", ""},
                 {"http", "response.status == 500"},
                 {"open", "conn.bytes > 100000000000000"}};
    FILE *file;
    unsigned n = 0;

    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (!strcmp(options->mode, modes[i].mode)) {
            snprintf(text[0], LINE_MAX_, "%s", modes[i].statement);
            return 1;
        }
    if (strcmp(options->mode, "jobs"))
        fail(options->mode, "modes are out, named, all, http, open, jobs");
    file = fopen(SOURCE_ROOT "/bench/kfl-jobs.txt", "r");
    while (file && n < options->n_jobs && fgets(text[n], LINE_MAX_, file)) {
        text[n][strcspn(text[n], "\n")] = '\0';
        n += text[n][0] && text[n][0] != '#';
    }
    if (!file || n < options->n_jobs)
        fail("bench/kfl-jobs.txt", "it has fewer statements");
    fclose(file);
    return n;
}

static struct kfl_plan *compile(const struct options *options, unsigned n_classifiers)
{
    static char text[KFL_SLOT_MAX][LINE_MAX_];
    static struct kfl_messages messages;
    struct kfl_plan_job jobs[KFL_SLOT_MAX];
    unsigned n = statements(options, text), slot;
    struct kfl_plan *plan;

    for (unsigned i = 0; i < n; i++) {
        struct kfl_statement *statement;

        messages = (struct kfl_messages){0};
        if (kfl_statement_create(text[i], strlen(text[i]), 0, &statement, &messages))
            fail(text[i], messages.message[0].text);
        jobs[i] = (struct kfl_plan_job){.slot = i, .statement = statement};
    }
    if (kfl_plan_create(jobs, n, n_classifiers, false, &plan, &slot, &messages))
        fail("the plan", messages.n ? messages.message[0].text : "no memory");
    return plan;
}

/* Apart, so that callgrind can be told to count in here alone. In threads the end of all streams is
 * in it, else all packets are through and the streams are open. */
static __attribute__((noinline)) void bench_measured(struct pipeline *pipeline,
                                                     const struct memory_source *memory,
                                                     bool threads)
{
    if (!threads) {
        while (memory->laps)
            pipeline_step(pipeline);
        return;
    }
    if (pipeline_start(pipeline))
        fail("the pipeline", "its threads cannot be started");
    pipeline_wait(pipeline);
}

static void run(const struct options *options, const struct frame *frames, unsigned n,
                struct result *ret_result)
{
    struct null_recorder null[PIPELINE_CLASSIFIER_MAX];
    struct recorder *recorders[PIPELINE_CLASSIFIER_MAX];
    struct memory_source memory;
    struct source *source = (struct source *)&memory;
    struct disk *disk = options->disk ? disk_open(options->disk) : NULL;
    unsigned n_classifiers = options->n_classifiers ? options->n_classifiers : 1;
    bool threads = options->n_classifiers || disk;
    const struct pipeline_config config = {
        .sources = &source,
        .n_sources = 1,
        .n_rx = options->n_classifiers ? 1 : 0,
        .n_classifiers = n_classifiers,
        .ring_slots = 16384,
        .hash_seed = 0x9e3779b97f4a7c15,
        .classifier = {.streams = {.max = 4 << 20,
                                   .timeout_ns_tcp = UINT64_C(300000000000),
                                   .timeout_ns_udp = UINT64_C(60000000000)},
                       .l7 = {.memory = 1 << 30, .response_timeout_ns = UINT64_C(30000000000)},
                       .lookback_size = 256 << 20,
                       .resident = strcmp(options->mode, "named") != 0,
                       .waiting_memory = 64 << 20},
        .recorders = recorders,
        .writer_step = disk ? disk_step : NULL,
        .writer_wait = disk ? disk_wait : NULL,
        .writer_context = disk,
    };
    struct pipeline *pipeline;
    struct kfl_plan *plan = compile(options, n_classifiers);
    struct cost begun;

    memory_source_init(&memory, frames, n, options->laps);
    for (unsigned i = 0; i < n_classifiers; i++) {
        null[i] = (struct null_recorder){.base = {.ops = &null_ops, .wants_packets = true},
                                         .blocks = memory_map(BLOCKS + BLOCK_MAX)};
        recorders[i] = disk ? disk_recorder(disk) : &null[i].base;
        if (!null[i].blocks)
            fail("the recorder", "no memory");
    }
    if (disk) {
        memory.ready = disk_ready;
        memory.context = disk;
    }
    ret_result->rss = resident_bytes();
    if (pipeline_create(&config, &pipeline) ||
        pipeline_publish(pipeline, plan, kfl_plan_jobs(plan)))
        fail("the pipeline", "cannot be made");
    while (memory.at < options->warm)
        pipeline_step(pipeline);
    if (options->warm && !strcmp(options->mode, "open") && !pipeline_sum(pipeline).held)
        fail("open", "nothing is in the lookback");
    begun = cost_now();
    bench_measured(pipeline, &memory, threads);
    if (disk)
        ret_result->written = disk_close(disk);
    ret_result->cost = cost_since(begun);
    begun = cost_now();
    if (!threads)
        pipeline_run(pipeline);
    ret_result->end = cost_since(begun);
    ret_result->rss = resident_bytes() - ret_result->rss;
    ret_result->sum = pipeline_sum(pipeline);
    pipeline_counters(pipeline, ret_result->counters);
    pipeline_free(pipeline);
    for (unsigned i = 0; i < n_classifiers; i++)
        memory_unmap(null[i].blocks, BLOCKS + BLOCK_MAX);
    if (disk)
        disk_free(disk);
}

static uint64_t filter(const struct bpf_program *program, const struct frame *frames, unsigned n)
{
    uint64_t begun = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

    for (unsigned i = 0; i < n; i++) {
        const struct pcap_pkthdr header = {.caplen = frames[i].caplen, .len = frames[i].origlen};

        pcap_offline_filter(program, &header, frames[i].data);
    }
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begun;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

struct spread { /* ns a packet */
    double low, median, high;
};

static struct spread spread_of(uint64_t *values, unsigned n, double packets)
{
    qsort(values, n, sizeof(*values), ascending);
    return (struct spread){(double)values[0] / packets, (double)values[n / 2] / packets,
                           (double)values[n - 1] / packets};
}

static struct options options_of(int argc, char **argv)
{
    struct options options = {.filter = "tcp port 80 or udp port 53 or tcp port 6379",
                              .rounds = 5,
                              .n_jobs = 64,
                              .laps = 1};
    const struct {
        const char *name;
        unsigned *number;
        const char **text;
    } named[] = {{"--rounds", &options.rounds, NULL},
                 {"--jobs", &options.n_jobs, NULL},
                 {"--warm", &options.warm, NULL},
                 {"--laps", &options.laps, NULL},
                 {"--classifiers", &options.n_classifiers, NULL},
                 {"--filter", NULL, &options.filter},
                 {"--disk", NULL, &options.disk}};

    for (int i = 1; i < argc; i++) {
        unsigned row = 0, n_named = sizeof(named) / sizeof(named[0]);

        while (row < n_named && strcmp(argv[i], named[row].name))
            row++;
        if (row < n_named && i + 1 < argc && named[row].text)
            *named[row].text = argv[++i];
        else if (row < n_named && i + 1 < argc)
            *named[row].number = (unsigned)atoi(argv[++i]);
        else if (!options.file)
            options.file = argv[i];
        else
            options.mode = argv[i];
    }
    if (!options.file || !options.mode || !options.rounds || options.rounds > ROUNDS_MAX ||
        options.n_jobs > KFL_SLOT_MAX || !options.laps ||
        options.n_classifiers > PIPELINE_CLASSIFIER_MAX ||
        (options.disk && (options.n_classifiers || strcmp(options.mode, "all"))))
        fail("usage", "FILE out|named|all|http|open|jobs [--rounds N] [--jobs N] [--filter TEXT] "
                      "[--warm N] [--laps N] [--classifiers N | --disk FOLDER]");
    return options;
}

static void print_spread(const char *name, struct spread spread)
{
    printf("\"%s\":%.1f,\"%s_min\":%.1f,\"%s_max\":%.1f,", name, spread.median, name, spread.low,
           name, spread.high);
}

int main(int argc, char **argv)
{
    struct options options = options_of(argc, argv);
    uint64_t cpu[ROUNDS_MAX], wall[ROUNDS_MAX], end[ROUNDS_MAX], theirs[ROUNDS_MAX];
    uint64_t bytes = 0, rss = 0, lost = 0, streams;
    struct result result = {0};
    struct bpf_program program;
    struct frame *frames;
    unsigned n = frames_load(options.file, &frames);
    pcap_t *pcap = pcap_open_dead(DLT_EN10MB, 262144);
    double packets = (double)n * options.laps - options.warm;
    int64_t difference = 0;

    if (!pcap || pcap_compile(pcap, &program, options.filter, 1, PCAP_NETMASK_UNKNOWN))
        fail(options.filter, pcap ? pcap_geterr(pcap) : "no memory");
    if (options.warm >= n)
        fail("--warm", "the capture has no more packets");
    for (unsigned i = 0; i < n; i++)
        bytes += frames[i].origlen * (uint64_t)(i < options.warm ? options.laps - 1 : options.laps);
    for (unsigned i = 0; i < options.rounds; i++) {
        run(&options, frames, n, &result);
        cpu[i] = result.cost.cpu_ns;
        wall[i] = result.cost.wall_ns;
        end[i] = result.end.cpu_ns;
        rss = i ? rss : result.rss; /* later rounds find memory of the first */
        lost += result.sum.dropped + result.written.lost;
        if (!strcmp(options.mode, "open"))
            lost -= result.counters[COUNTER_lookback_evicted];
        difference = result.sum.difference ? result.sum.difference : difference;
        theirs[i] = filter(&program, frames, n);
    }
    streams = result.counters[COUNTER_streams];
    printf("{\"mode\":\"%s\",\"packets\":%.0f,\"bytes\":%llu,\"streams\":%llu,", options.mode,
           packets, (unsigned long long)bytes, (unsigned long long)streams);
    print_spread("ns_packet", spread_of(cpu, options.rounds, packets));
    print_spread("wall_ns_packet", spread_of(wall, options.rounds, packets));
    print_spread("end_ns_stream", spread_of(end, options.rounds, streams ? (double)streams : 1));
    print_spread("bpf_ns_packet", spread_of(theirs, options.rounds, n));
    printf("\"rss\":%llu,\"written\":%llu,\"recorded\":%llu,\"discarded\":%llu,"
           "\"dropped\":%llu,\"difference\":%lld}\n",
           (unsigned long long)rss, (unsigned long long)result.written.bytes,
           (unsigned long long)result.sum.recorded, (unsigned long long)result.sum.discarded,
           (unsigned long long)lost, (long long)difference);
    pcap_freecode(&program);
    pcap_close(pcap);
    free(frames);
    return difference != 0;
}
