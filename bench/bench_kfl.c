/* bench_kfl.c - what asking a plan costs: ns for 1, 8 and 64 jobs, native beside the interpreter
 * and the steps in C; and statements over packet facts beside libpcap's bpf_filter() with the
 * equivalent filter on the same packets. All in one run.
 *
 *     bench_kfl [--check] [JOBS-FILE]
 *
 * All take turns, round by round. For packets each figure is the median of the rounds, for entries
 * the least: other programs only add to it. With --check it fails where a target is missed: 64 jobs
 * at most 4 times one, packet statements natively at least 5 times faster than interpreted and 3
 * times faster than bpf_filter(), by the median statement.
 *
 * A plan is asked about an entry as the classifier asks: for the jobs that the entry's stream has
 * not settled, and not at all if there are none. So "one job" is the mean over each job of the file
 * alone and over those entries it is asked about (a job on DNS costs nothing for an entry of HTTP),
 * and 64 jobs are held against that. */
#include <errno.h>
#include <math.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../dataplane/decode.h"

#include "../kfl-jit/ensure.h"
#include "../kfl-jit/plan.h"

enum { ENTRIES = 8, STREAMS = 64, ROUNDS = 41, TURNS = 500, JOBS_MAX = KFL_SLOT_MAX };
enum { MODES = 3, N_SIZES = 3 };
enum { WAYS = 5 }; /* the modes, bpf_filter(), and natively with the decoder */

static const char *const mode_name[MODES] = {"native", "interpreter", "steps in C"};
static const unsigned sizes[N_SIZES] = {1, 8, 64};
static const struct kfl_capture capture = {"file", "eth0", "10.0.0.99", "tap1"};

struct sample {
    struct kfl_stream stream;
    struct kfl_entry entry;
    struct kfl_half half[2];
    uint64_t facts[2][512];
};

static struct kfl_statement *job[JOBS_MAX];
static unsigned n_jobs;

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts); /* other programs do not count */
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static struct kfl_statement *statement_of(const char *text)
{
    struct kfl_statement *statement;
    struct kfl_messages messages = {0};

    if (kfl_statement_create(text, strlen(text), 0, &statement, &messages)) {
        fprintf(stderr, "%s: %s\n", text, messages.message[0].text);
        exit(1);
    }
    return statement;
}

static void read_jobs(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[1024];

    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    while (n_jobs < JOBS_MAX && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        job[n_jobs++] = statement_of(line);
    }
    fclose(file);
}

static struct kfl_plan *plan_of(struct kfl_statement *const *statement, unsigned n,
                                enum kfl_plan_mode mode)
{
    struct kfl_plan_job jobs[JOBS_MAX];
    struct kfl_messages messages = {0};
    struct kfl_plan *plan;
    unsigned slot;

    for (unsigned i = 0; i < n; i++)
        jobs[i] = (struct kfl_plan_job){i, statement[i]};
    ensure(!kfl_plan_create(jobs, n, 1, false, &plan, &slot, &messages));
    ensure(kfl_plan_is_native(plan));
    kfl_plan_set_mode(plan, mode);
    return plan;
}

/* ---- entries ---- */

static void make_stream(struct kfl_stream *stream, uint8_t l4, uint32_t protos, uint16_t port)
{
    *stream = (struct kfl_stream){
        .number = 1,
        .end = {{.addr = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = 1, [15] = 7},
                 .port = 40112,
                 .name = "frontend",
                 .namespace = "shop"},
                {.addr = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1},
                 .port = port,
                 .name = "cart",
                 .namespace = "shop"}},
        .capture = &capture,
        .ip_version = 4,
        .l4 = l4,
        .ip_protocol = l4 == KFL_L4_TCP ? 6 : 17,
        .has_ports = true,
        .syn_seen = true,
        .oriented = true,
        .protos = protos,
        .l7 = protos,
        .detection = KFL_DETECTION_FOUND,
        .record = "",
        .packets = {7, 5},
        .bytes = {1200, 2200},
    };
}

static void make_http(struct sample *s, unsigned number, const struct kfl_demand *demand)
{
    static const char *const paths[] = {"/api/v1/users/42", "/healthz",    "/static/app.js",
                                        "/api/v2/orders",   "/cart/items", "/admin/login"};
    static const char *const headers[][2] = {
        {"Host", "shop.example.com"},   {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"},
        {"Accept", "text/html,*/*"},    {"Accept-Language", "en-US,en;q=0.5"},
        {"Accept-Encoding", "gzip"},    {"Connection", "keep-alive"},
        {"X-Request-Id", "4a7e1c90ff"}, {"Cookie", "session=1f9; theme=dark"}};
    struct fact_tape tape;

    make_stream(&s->stream, KFL_L4_TCP, KFL_PROTO_BIT(HTTP), 80);
    s->entry = (struct kfl_entry){.stream = &s->stream,
                                  .proto = KFL_PROTO_HTTP,
                                  .version = "1.1",
                                  .request = &s->half[0],
                                  .response = &s->half[1],
                                  .error_msg = ""};
    fact_tape_init(&tape, s->facts[0], sizeof s->facts[0], demand);
    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_METHOD, number % 3 ? "GET" : "POST");
    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_URL, paths[number % 6]);
    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_PATH, paths[number % 6]);
    fact_map(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS);
    for (unsigned i = 0; i < sizeof headers / sizeof *headers; i++)
        fact_member_joined(&tape, headers[i][0], strlen(headers[i][0]), headers[i][1],
                           strlen(headers[i][1]));
    fact_end(&tape);
    s->half[0] = (struct kfl_half){tape.base, tape.size, 428, 1000000, 1000000};
    fact_tape_init(&tape, s->facts[1], sizeof s->facts[1], demand);
    fact_int(&tape, KFL_FIELD_HTTP_RESPONSE_STATUS, number % 4 ? 200 : 404);
    fact_map(&tape, KFL_FIELD_HTTP_RESPONSE_HEADERS);
    fact_member_joined(&tape, "Content-Type", 12, "text/html; charset=utf-8", 24);
    fact_member_joined(&tape, "Server", 6, "nginx/1.25", 10);
    fact_end(&tape);
    s->half[1] = (struct kfl_half){tape.base, tape.size, 2100, 9000000, 9500000};
}

static void make_dns(struct sample *s, const struct kfl_demand *demand)
{
    struct fact_tape tape;

    make_stream(&s->stream, KFL_L4_UDP, KFL_PROTO_BIT(DNS), 53);
    s->entry = (struct kfl_entry){.stream = &s->stream,
                                  .proto = KFL_PROTO_DNS,
                                  .version = "0",
                                  .request = &s->half[0],
                                  .response = &s->half[1],
                                  .error_msg = ""};
    fact_tape_init(&tape, s->facts[0], sizeof s->facts[0], demand);
    fact_array(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS);
    fact_object(&tape, KFL_FIELD_NONE);
    fact_text(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_NAME, "session-db.sock-shop.svc");
    fact_text(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_TYPE, "A");
    fact_end(&tape);
    fact_end(&tape);
    s->half[0] = (struct kfl_half){tape.base, tape.size, 40, 1000000, 1000000};
    fact_tape_init(&tape, s->facts[1], sizeof s->facts[1], demand);
    fact_text(&tape, KFL_FIELD_DNS_RESPONSE_CODE, "No Error");
    fact_int(&tape, KFL_FIELD_DNS_RESPONSE_RCODE, 0);
    s->half[1] = (struct kfl_half){tape.base, tape.size, 60, 2000000, 2000000};
}

/* Entries as dissectors make them under this demand: six of HTTP, two of DNS. */
static void make_samples(struct sample sample[static ENTRIES], const struct kfl_plan *plan)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (i < 6)
            make_http(&sample[i], i, kfl_plan_demand(plan));
        else
            make_dns(&sample[i], kfl_plan_demand(plan));
    }
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static double median(double *value, unsigned n)
{
    qsort(value, n, sizeof *value, compare);
    return n ? value[n / 2] : 0;
}

/* A plan and the entries it is asked about. */
struct asked {
    struct kfl_plan *plan;
    struct sample sample[ENTRIES];
    const struct kfl_entry *entry[ENTRIES];
    uint64_t ask[ENTRIES];
    unsigned n;
    double least_ns;
};

static struct asked *asked_create(unsigned first, unsigned n, enum kfl_plan_mode mode)
{
    struct asked *asked = calloc(1, sizeof *asked);

    ensure(asked);
    asked->plan = plan_of(job + first, n, mode);
    asked->least_ns = INFINITY;
    make_samples(asked->sample, asked->plan);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct kfl_verdict verdict =
            kfl_plan_stream(asked->plan, 0, &asked->sample[i].stream, UINT64_MAX);

        asked->entry[asked->n] = &asked->sample[i].entry;
        asked->ask[asked->n] = kfl_plan_jobs(asked->plan) & ~(verdict.matched | verdict.out);
        asked->n += asked->ask[asked->n] != 0;
    }
    return asked;
}

static void asked_free(struct asked *asked)
{
    kfl_plan_free(asked->plan);
    free(asked);
}

/* One round over a plan. */
static void ask_entries(struct asked *asked)
{
    uint64_t sum = 0;
    double start = now();

    if (!asked->n)
        return;
    for (unsigned i = 0; i < TURNS; i++)
        sum += kfl_plan_entry(asked->plan, 0, asked->entry[i % asked->n], asked->ask[i % asked->n])
                   .matched;
    ensure(sum != 1);
    asked->least_ns = fmin(asked->least_ns, (now() - start) / TURNS);
}

/* The plans of `size` jobs each, and of all sizes: they take turns, so that what the machine does
 * meanwhile meets them alike. */
static void cost_of_entries(enum kfl_plan_mode mode, double cost[N_SIZES])
{
    struct asked *asked[N_SIZES][JOBS_MAX];
    unsigned n_plans[N_SIZES] = {0};

    for (unsigned s = 0; s < N_SIZES; s++)
        for (unsigned first = 0; first + sizes[s] <= n_jobs; first += sizes[s])
            asked[s][n_plans[s]++] = asked_create(first, sizes[s], mode);
    for (unsigned k = 0; k < ROUNDS; k++)
        for (unsigned s = 0; s < N_SIZES; s++)
            for (unsigned i = 0; i < n_plans[s]; i++)
                ask_entries(asked[s][i]);
    for (unsigned s = 0; s < N_SIZES; s++) {
        double total = 0;
        unsigned n = 0;

        for (unsigned i = 0; i < n_plans[s]; i++) {
            if (asked[s][i]->n)
                total += asked[s][i]->least_ns * asked[s][i]->n;
            n += asked[s][i]->n;
            asked_free(asked[s][i]);
        }
        cost[s] = n ? total / n : 0;
    }
}

/* -> is the target met? */
static bool bench_entries(void)
{
    double cost[MODES][N_SIZES];

    printf("ns per entry that is asked about (6 HTTP, 2 DNS), mean over the jobs of the file\n%-6s",
           "jobs");
    for (int mode = 0; mode < MODES; mode++) {
        printf("%14s", mode_name[mode]);
        cost_of_entries((enum kfl_plan_mode)mode, cost[mode]);
    }
    printf("\n");
    for (unsigned s = 0; s < N_SIZES && sizes[s] <= n_jobs; s++)
        printf("%-6u%14.1f%14.1f%14.1f\n", sizes[s], cost[0][s], cost[1][s], cost[2][s]);
    printf("64 jobs cost %.1f times one (native); target: at most 4.0 times: %s\n\n",
           cost[0][2] / cost[0][0], cost[0][2] <= 4 * cost[0][0] ? "met" : "MISSED");
    return cost[0][2] <= 4 * cost[0][0];
}

/* ---- packets ---- */

struct frame {
    uint8_t bytes[64];
};

static struct frame packet[STREAMS];
static struct kfl_stream stream[STREAMS];

/* Ethernet, IPv4, TCP or UDP: the bytes, and the facts of the stream they begin. */
static void make_packets(void)
{
    static const uint16_t ports[] = {80, 443, 22, 53, 6379, 8080, 31000, 5432};

    for (unsigned i = 0; i < STREAMS; i++) {
        uint16_t port = ports[i % 8];
        bool udp = port == 53;
        uint8_t *p = packet[i].bytes;

        make_stream(&stream[i], udp ? KFL_L4_UDP : KFL_L4_TCP,
                    kfl_protos_of_l4(udp ? KFL_L4_UDP : KFL_L4_TCP), port);
        stream[i].detection = KFL_DETECTION_OPEN;
        stream[i].l7 = 0;
        stream[i].end[0].addr[15] = (uint8_t)i;
        stream[i].end[1].addr[14] = (uint8_t)(i / 8);
        memcpy(p, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 50}, 18);
        p[22] = 64;
        p[23] = udp ? 17 : 6;
        memcpy(p + 26, stream[i].end[0].addr + 12, 4);
        memcpy(p + 30, stream[i].end[1].addr + 12, 4);
        p[34] = (uint8_t)(stream[i].end[0].port >> 8);
        p[35] = (uint8_t)stream[i].end[0].port;
        p[36] = (uint8_t)(port >> 8);
        p[37] = (uint8_t)port;
    }
}

/* One round of one way over all packets -> how many match. */
static uint64_t ask_packets(const struct kfl_plan *plan, const struct bpf_program *filter, int way)
{
    uint64_t matched = 0;

    switch (way) {
    case 3:
        for (unsigned s = 0; s < STREAMS; s++)
            matched += bpf_filter(filter->bf_insns, packet[s].bytes, 64, 64) != 0;
        break;
    case 4:
        for (unsigned s = 0; s < STREAMS; s++) {
            struct packet decoded = {.data = packet[s].bytes,
                                     .caplen = 64,
                                     .origlen = 64,
                                     .linktype = LINKTYPE_ETHERNET};

            decode(&decoded, 0);
            matched += decoded.key.port[0] != 1; /* the decoder's work is not thrown away */
        }
        /* fall through */
    default:
        matched = 0;
        for (unsigned s = 0; s < STREAMS; s++)
            matched += kfl_plan_stream(plan, 0, &stream[s], 1).matched;
    }
    return matched;
}

/* Median ns per packet, each way. */
static void cost_of_packets(const char *text, const char *pcap_text, double cost[WAYS])
{
    struct kfl_statement *statement = statement_of(text);
    struct kfl_plan *plan[WAYS] = {0};
    struct bpf_program filter;
    pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
    double took[WAYS][ROUNDS];
    uint64_t expected = 0;

    ensure(dead && !pcap_compile(dead, &filter, pcap_text, 1, PCAP_NETMASK_UNKNOWN));
    for (int way = 0; way < WAYS; way++)
        plan[way] = plan_of(&statement, 1, way < 3 ? (enum kfl_plan_mode)way : KFL_PLAN_NATIVE);
    for (unsigned s = 0; s < STREAMS; s++)
        expected += bpf_filter(filter.bf_insns, packet[s].bytes, 64, 64) != 0;
    for (unsigned k = 0; k < ROUNDS; k++) {
        for (int way = 0; way < WAYS; way++) {
            double start = now();
            uint64_t matched = 0;

            for (unsigned r = 0; r < 50; r++)
                matched += ask_packets(plan[way], &filter, way);
            took[way][k] = (now() - start) / (50 * STREAMS);
            ensure(matched == expected * 50); /* the same packets */
        }
    }
    for (int way = 0; way < WAYS; way++) {
        cost[way] = median(took[way], ROUNDS);
        kfl_plan_free(plan[way]);
    }
    pcap_freecode(&filter);
    pcap_close(dead);
    kfl_statement_free(statement);
}

/* -> are the targets met? */
static bool bench_packets(void)
{
    static const char *const rows[][2] = {
        {"tcp and dst.port == 80", "tcp dst port 80"},
        {"udp and dst.port == 53", "udp dst port 53"},
        {"src.ip == \"10.1.0.7\"", "src host 10.1.0.7"},
        {"tcp and dst.port == 6379 and src.ip.startsWith(\"10.1.\")",
         "tcp dst port 6379 and src net 10.1.0.0/16"},
        {"tcp and (dst.port == 80 or dst.port == 443 or dst.port == 8080)",
         "tcp and (dst port 80 or dst port 443 or dst port 8080)"},
        {"tcp and dst.port >= 30000 and dst.port < 32768", "tcp dst portrange 30000-32767"},
        {"(src.ip == \"10.1.0.9\" or dst.ip == \"10.1.0.9\") and !(dst.port == 22)",
         "host 10.1.0.9 and not dst port 22"},
    };
    enum { N = sizeof rows / sizeof *rows };
    double interpreter[N], filter[N], decoded[N];

    printf("ns per packet, statements over packet facts\n"
           "bpf_filter() reads the packet's bytes; the plan reads what the decoder, which runs for "
           "every packet in\nany case, has written. `decoded` is native with that decoder.\n"
           "%-66s%9s%13s%12s%12s%9s\n",
           "statement", "native", "interpreter", "steps in C", "bpf_filter", "decoded");
    for (unsigned i = 0; i < N; i++) {
        double cost[WAYS];

        cost_of_packets(rows[i][0], rows[i][1], cost);
        interpreter[i] = cost[1] / cost[0];
        filter[i] = cost[3] / cost[0];
        decoded[i] = cost[3] / cost[4];
        printf("%-66s%9.1f%13.1f%12.1f%12.1f%9.1f   %.1f x interpreter, %.1f x bpf_filter\n",
               rows[i][0], cost[0], cost[1], cost[2], cost[3], cost[4], interpreter[i], filter[i]);
    }
    median(interpreter, N);
    median(filter, N);
    printf(
        "median: %.1f x interpreter (target 5.0: %s), %.1f x bpf_filter (target 3.0: %s), %.1f x "
        "bpf_filter with the decoder\n",
        interpreter[N / 2], interpreter[N / 2] >= 5 ? "met" : "MISSED", filter[N / 2],
        filter[N / 2] >= 3 ? "met" : "MISSED", median(decoded, N));
    return interpreter[N / 2] >= 5 && filter[N / 2] >= 3;
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && !strcmp(argv[1], "--check"), met;

    read_jobs(argc > 1 + check ? argv[1 + check] : SOURCE_ROOT "/bench/kfl-jobs.txt");
    met = bench_entries();
    make_packets();
    met &= bench_packets();
    for (unsigned i = 0; i < n_jobs; i++)
        kfl_statement_free(job[i]);
    return check && !met;
}
