/* bench_pipeline FILE MODE [--rounds N] [--jobs N] [--filter TEXT] - the whole pipeline over a
 * capture that lies in memory: receive, decode, streams, plan, dissectors, lookback, recorder. In
 * turns with it, libpcap's pcap_offline_filter() over the same packets. Prints one JSON object:
 * CPU ns a packet (medians of the rounds), packets, streams, the sum's difference.
 *
 * MODE   out      no job wants anything: src.ip == "203.0.113.1"
 *        all      a job wants everything: every packet becomes a block
 *        http     response.status == 500
 *        open     everything stays open, so all of it goes through the lookback
 *        jobs     the first --jobs statements of bench/kfl-jobs.txt
 *
 * What is recorded is written as blocks into memory and forgotten: no disk. */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "../dataplane/interface.h"
#include "../dataplane/pipeline.h"
#include "../dataplane/stream.h"

enum { ROUNDS_MAX = 99, LINE_MAX_ = 1024, BLOCKS = 8 << 20 };

struct frame { /* each begins a cache line */
    const uint8_t *data;
    uint64_t ts_ns;
    uint32_t caplen, origlen;
};

/* A source whose packets are in memory. */
struct memory_source {
    struct source_base base;
    const struct frame *packets;
    unsigned n, at;
};

struct null_recorder {
    struct recorder base;
    uint8_t *blocks;
    uint32_t at, reserved;
};

struct options {
    const char *file, *mode, *filter;
    unsigned rounds, n_jobs;
};

static int memory_rx(struct source *source, unsigned queue, struct packet *burst, unsigned n)
{
    struct memory_source *memory = (struct memory_source *)source;
    unsigned left = memory->n - memory->at;

    if (!left)
        return -ENODATA;
    n = n < left ? n : left;
    for (unsigned i = 0; i < n; i++) { /* what a driver fills in */
        const struct frame *from = &memory->packets[memory->at + i];

        burst[i].data = from->data;
        burst[i].ts_ns = from->ts_ns;
        burst[i].caplen = from->caplen;
        burst[i].origlen = from->origlen;
        burst[i].cookie = 0;
        burst[i].interface = 0;
        burst[i].linktype = LINKTYPE_ETHERNET;
        burst[i].source = burst[i].queue = 0;
    }
    memory->at += n;
    return (int)n;
}

static void memory_release(struct source *source, unsigned queue, const struct packet *burst,
                           unsigned n)
{
    /* They stay. */
}

static void memory_stats(struct source *source, struct source_stats *ret_stats)
{
    *ret_stats = (struct source_stats){.rx = ((struct memory_source *)source)->at};
}

static void memory_stop(struct source *source)
{
    ((struct memory_source *)source)->at = ((struct memory_source *)source)->n;
}

static const struct source_ops memory_ops = {
    .name = "memory",
    .rx = memory_rx,
    .release = memory_release,
    .stats = memory_stats,
    .stop = memory_stop,
};

static uint8_t *null_reserve(struct recorder *base, unsigned slot, uint32_t size, uint16_t interface)
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
                         uint32_t missing)
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

__attribute__((noreturn)) static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_pipeline: %s: %s\n", what, why);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The capture's packets, copied. */
static unsigned load(const char *path, struct frame **ret_packets)
{
    char why[PCAP_ERRBUF_SIZE];
    pcap_t *pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, why);
    struct frame *packets = NULL;
    unsigned n = 0, room = 0;
    struct pcap_pkthdr *header;
    const uint8_t *data;
    uint8_t *memory;
    struct stat file;
    uint64_t at = 0, size;

    if (!pcap || stat(path, &file))
        fail(path, pcap ? strerror(errno) : why);
    if (pcap_datalink(pcap) != DLT_EN10MB)
        fail(path, "it is not Ethernet");
    size = (uint64_t)file.st_size * 2; /* rounding up adds less than a record's header takes */
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail(path, strerror(errno));
    madvise(memory, size, MADV_HUGEPAGE);
    while (pcap_next_ex(pcap, &header, &data) == 1) {
        if (n == room) {
            room = room ? 2 * room : 1 << 16;
            packets = realloc(packets, room * sizeof(*packets));
        }
        if (!packets || at + header->caplen > size)
            fail(path, "no memory");
        memcpy(memory + at, data, header->caplen);
        packets[n++] = (struct frame){
            .data = memory + at,
            .ts_ns = (uint64_t)header->ts.tv_sec * 1000000000 + (uint64_t)header->ts.tv_usec,
            .caplen = header->caplen,
            .origlen = header->len,
        };
        at += (header->caplen + 63) & ~63u;
    }
    pcap_close(pcap);
    if (!n)
        fail(path, "it has no packets");
    *ret_packets = packets;
    return n;
}

static unsigned statements(const struct options *options, char text[][LINE_MAX_])
{
    static const struct {
        const char *mode, *statement;
    } modes[] = {{"out", "src.ip == \"203.0.113.1\""},
                 {"all", ""},
                 {"http", "response.status == 500"},
                 {"open", "conn_total_bytes > 100000000000000 or response.status == 999"}};
    FILE *file;
    unsigned n = 0;

    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (!strcmp(options->mode, modes[i].mode)) {
            snprintf(text[0], LINE_MAX_, "%s", modes[i].statement);
            return 1;
        }
    if (strcmp(options->mode, "jobs"))
        fail(options->mode, "modes are out, all, http, open, jobs");
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

static struct kfl_plan *compile(const struct options *options)
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
    if (kfl_plan_create(jobs, n, 1, false, &plan, &slot, &messages))
        fail("the plan", messages.n ? messages.message[0].text : "no memory");
    return plan;
}

/* -> CPU ns of one run; *ret_sum and the counters of it */
static uint64_t run(const struct options *options, const struct frame *packets, unsigned n,
                    struct pipeline_sum *ret_sum, uint64_t counters[static COUNTER_COUNT])
{
    struct memory_source memory = {
        .base = {.ops = &memory_ops, .n_queues = 1, .stays = true, .name = "memory"},
        .packets = packets,
        .n = n,
    };
    struct null_recorder recorder = {
        .base = {.ops = &null_ops, .wants_packets = true},
        .blocks = malloc(BLOCKS + (1 << 20)),
    };
    struct source *source = (struct source *)&memory;
    struct recorder *recorders[] = {&recorder.base};
    const struct pipeline_config config = {
        .sources = &source,
        .n_sources = 1,
        .n_classifiers = 1,
        .hash_seed = 0x9e3779b97f4a7c15,
        .classifier = {.streams = {.max = 4 << 20,
                                   .timeout_ns_tcp = UINT64_C(300000000000),
                                   .timeout_ns_udp = UINT64_C(60000000000)},
                       .l7 = {.memory = 1 << 30, .response_timeout_ns = UINT64_C(30000000000)},
                       .lookback_size = 256 << 20,
                       .lookback_resident = true,
                       .waiting_memory = 64 << 20},
        .recorders = recorders,
    };
    struct pipeline *pipeline;
    struct kfl_plan *plan = compile(options);
    uint64_t begun, took;

    if (!recorder.blocks || pipeline_create(&config, &pipeline) ||
        pipeline_publish(pipeline, plan, kfl_plan_jobs(plan)))
        fail("the pipeline", "cannot be made");
    begun = cpu_ns();
    pipeline_run(pipeline);
    took = cpu_ns() - begun;
    *ret_sum = pipeline_sum(pipeline);
    pipeline_counters(pipeline, counters);
    pipeline_free(pipeline);
    free(recorder.blocks);
    return took;
}

static uint64_t filter(const struct bpf_program *program, const struct frame *packets, unsigned n,
                       unsigned *ret_passed)
{
    uint64_t begun = cpu_ns();

    *ret_passed = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct pcap_pkthdr header = {.caplen = packets[i].caplen, .len = packets[i].origlen};

        *ret_passed += pcap_offline_filter(program, &header, packets[i].data) != 0;
    }
    return cpu_ns() - begun;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double median(uint64_t *values, unsigned n, unsigned packets)
{
    qsort(values, n, sizeof(*values), ascending);
    return (double)values[n / 2] / packets;
}

static struct options options_of(int argc, char **argv)
{
    struct options options = {
        .filter = "tcp port 80 or udp port 53 or tcp port 6379", .rounds = 5, .n_jobs = 64};

    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;

        if (more && !strcmp(argv[i], "--rounds"))
            options.rounds = (unsigned)atoi(argv[++i]);
        else if (more && !strcmp(argv[i], "--jobs"))
            options.n_jobs = (unsigned)atoi(argv[++i]);
        else if (more && !strcmp(argv[i], "--filter"))
            options.filter = argv[++i];
        else if (!options.file)
            options.file = argv[i];
        else
            options.mode = argv[i];
    }
    if (!options.file || !options.mode || !options.rounds || options.rounds > ROUNDS_MAX ||
        options.n_jobs > KFL_SLOT_MAX)
        fail("usage", "bench_pipeline FILE out|all|http|open|jobs [--rounds N] [--jobs N] "
                      "[--filter TEXT]");
    return options;
}

int main(int argc, char **argv)
{
    struct options options = options_of(argc, argv);
    uint64_t ours[ROUNDS_MAX], theirs[ROUNDS_MAX], counters[COUNTER_COUNT], bytes = 0;
    struct pipeline_sum sum = {0};
    struct bpf_program program;
    struct frame *packets;
    unsigned n = load(options.file, &packets), passed = 0;
    pcap_t *pcap = pcap_open_dead(DLT_EN10MB, 262144);
    double a, b;

    if (!pcap || pcap_compile(pcap, &program, options.filter, 1, PCAP_NETMASK_UNKNOWN))
        fail(options.filter, pcap ? pcap_geterr(pcap) : "no memory");
    for (unsigned i = 0; i < n; i++)
        bytes += packets[i].origlen;
    for (unsigned i = 0; i < options.rounds; i++) {
        ours[i] = run(&options, packets, n, &sum, counters);
        theirs[i] = filter(&program, packets, n, &passed);
    }
    a = median(ours, options.rounds, n);
    b = median(theirs, options.rounds, n);
    printf("{\"mode\":\"%s\",\"packets\":%u,\"bytes\":%llu,\"streams\":%llu,\"ns_packet\":%.1f,"
           "\"ns_min\":%.1f,\"ns_max\":%.1f,\"bpf_ns_packet\":%.1f,\"ratio_bpf\":%.2f,"
           "\"recorded\":%llu,\"discarded\":%llu,\"dropped\":%llu,\"difference\":%lld}\n",
           options.mode, n, (unsigned long long)bytes,
           (unsigned long long)counters[COUNTER_streams], a, (double)ours[0] / n,
           (double)ours[options.rounds - 1] / n, b, a / b, (unsigned long long)sum.recorded,
           (unsigned long long)sum.discarded, (unsigned long long)sum.dropped,
           (long long)sum.difference);
    pcap_freecode(&program);
    pcap_close(pcap);
    return sum.difference != 0;
}
