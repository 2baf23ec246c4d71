/* cmd_read.c - `tapedeck read`: capture files through the same decode, streams, dissectors and
 * plan as live traffic. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/dns_names.h"
#include "../dataplane/interface.h"
#include "../dataplane/pipeline.h"
#include "command.h"
#include "names.h"
#include "progress.h"
#include "read_recorder.h"
#include "units.h"

enum {
    STREAMS_MAX = 16 << 20,
    FRAME_MIN = 40, /* bytes a stream takes in a file at least */
    PROGRESS_STEPS = 1 << 6,
    RECORD_HEADER = 16, /* of a packet in its file, at least */
};
static const uint64_t l7_bytes = 64 << 20, waiting_bytes = 16 << 20; /* they grow */
static const uint64_t names_bytes = 256 << 20;
static const uint64_t record_bytes = 64;            /* of a reference, for a packet ... */
static const uint64_t record_frame = 16;            /* ... that takes so many bytes in its file */
static const uint64_t lookback_copies = 8ull << 30; /* touched as needed */

static struct {
    struct option_texts kfl;
    const char *names, *out;
    int64_t workers;
    bool entries, summary, no_learn_dns;
} values = {.workers = 1};

const struct option_row cmd_read_options[] = {
    OPTION_TEXTS("kfl", 0, "STMT", values.kfl,
                 "a statement; may be given again (none: all streams)"),
    OPTION_TEXT("names", 0, "FILE", values.names,
                "names of addresses: lines `IP NAME [NAMESPACE]`"
                " or kubectl's JSON"),
    OPTION_FLAG("no-learn-dns", 0, values.no_learn_dns,
                "do not name addresses by the DNS answers in the files"),
    OPTION_INT("workers", 0, "N", values.workers, 1, PIPELINE_CLASSIFIER_MAX,
               "classify in N threads"),
    OPTION_TEXT("write", 'w', "OUT", values.out, "write the packets of matched streams as PCAPNG"),
    OPTION_FLAG("entries", 0, values.entries, "print matching entries instead of streams, as JSON"),
    OPTION_FLAG("summary", 0, values.summary, "print counters at the end"),
    OPTION_END,
};

struct read { /* one run */
    const struct cli *cli;
    struct kfl_statement *statements[KFL_SLOT_MAX];
    unsigned n_statements;
    struct source **sources;
    unsigned n_sources;
    uint64_t size; /* bytes of the files, together */
    bool sized;    /* it is known of all of them */
    bool stays;    /* all of them are mapped */
    struct names_pool *names_pool;
    struct names_board *names;
    struct dns_names *learned; /* null: --no-learn-dns */
    struct read_output output;
    struct read_recorder *recorders[PIPELINE_CLASSIFIER_MAX];
    struct pipeline *pipeline;
};

static int compile(struct read *read);
static void say_message(const struct read *read, const struct kfl_message *message,
                        const char *text);
static int load_names(struct read *read);
static int open_sources(struct read *read);
static int build(struct read *read);
static int publish(struct read *read);
static void turn(struct read *read);
static void show_progress(const struct read *read, struct progress *progress);
static int finish(struct read *read, int status);
static void print_rows(struct read *read);
static void print_row(const struct read *read, const struct read_row *row);
static void print_row_json(const struct read_row *row);
static void print_summary(struct read *read);
static int compare_rows(const void *a, const void *b);
static void release(struct read *read);

int cmd_read(const struct cli *cli)
{
    struct read read = {
        .cli = cli,
        .sized = true,
        .stays = true,
        .output = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1},
    };
    int status = compile(&read);

    if (!status)
        status = load_names(&read);
    if (!status)
        status = open_sources(&read);
    if (status != CLI_USAGE) {
        int built = build(&read);

        status = built ? built : status;
        if (!built) {
            turn(&read);
            status = finish(&read, status);
        }
    }
    release(&read);
    return status;
}

/* ---- setting up ---- */

static int compile(struct read *read)
{
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    int status = CLI_DONE;

    read->n_statements = values.kfl.n ? values.kfl.n : 1;
    for (unsigned i = 0; i < read->n_statements; i++) {
        const char *text = values.kfl.n ? values.kfl.text[i] : "";
        static struct kfl_messages messages;

        messages = (struct kfl_messages){0};
        if (!kfl_statement_create(text, strlen(text), now_ms, &read->statements[i], &messages) &&
            !kfl_statement_check_job(read->statements[i], &messages))
            continue;
        for (unsigned m = 0; m < messages.n; m++)
            if (!messages.message[m].warning)
                say_message(read, &messages.message[m], text);
        status = CLI_USAGE;
    }
    return status;
}

static void say_message(const struct read *read, const struct kfl_message *message,
                        const char *text)
{
    char line[512], caret[1024];

    kfl_message_format(message, line, sizeof(line));
    kfl_message_caret(message, text, strlen(text), caret, sizeof(caret));
    cli_error(read->cli, "%s\n%s", line, caret);
}

static int load_names(struct read *read)
{
    char why[NAMES_ERROR_SIZE] = "";
    struct names *names;
    int err;

    if (!values.names && values.no_learn_dns)
        return CLI_DONE;
    err = names_pool_create(names_bytes, &read->names_pool);
    if (!err)
        err = names_board_create(&read->names);
    if (!err && !values.no_learn_dns)
        err = dns_names_create(PIPELINE_CLASSIFIER_MAX, &read->learned);
    if (!err)
        names_board_set_learned(read->names, read->learned);
    if (!err)
        err = names_load(read->names_pool, &values.names, values.names ? 1 : 0, &names, why);
    if (err) {
        cli_error(read->cli, "%s", *why ? why : strerror(-err));
        return CLI_USAGE;
    }
    names_publish(read->names, names);
    return CLI_DONE;
}

/* A file that cannot be read is said; the others are read. */
static int open_sources(struct read *read)
{
    int status = CLI_DONE;

    read->sources = calloc((size_t)read->cli->n_args, sizeof(struct source *));
    if (!read->sources)
        return CLI_FAILED;
    for (int i = 0; i < read->cli->n_args; i++) {
        const struct source_config config = {
            .type = "file",
            .interface = read->cli->args[i],
            .stays = values.out != NULL,
        };
        char why[SOURCE_ERROR_SIZE] = "";
        struct source *source;

        if (source_open(&config, (uint16_t)read->n_sources, &source, why)) {
            cli_error(read->cli, "%s", why);
            status = CLI_FAILED;
            continue;
        }
        read->sources[read->n_sources++] = source;
        read->stays &= source_base(source)->stays;
        read->sized &= source_base(source)->size > 0;
        read->size += source_base(source)->size;
    }
    return status;
}

static uint64_t streams_max(const struct read *read)
{
    uint64_t n = read->size / FRAME_MIN + 1024;

    return read->sized && n < STREAMS_MAX ? n : STREAMS_MAX;
}

static int build(struct read *read)
{
    struct recorder *recorders[PIPELINE_CLASSIFIER_MAX];
    unsigned n_workers = (unsigned)values.workers;
    struct pipeline_config config = {
        .sources = read->sources,
        .n_sources = read->n_sources,
        .one_by_one = true,
        .n_rx = n_workers > 1 ? 1 : 0,
        .n_classifiers = n_workers,
        .recorders = recorders,
        .classifier =
            {
                .streams = {.max = (uint32_t)streams_max(read), .grow = true},
                .l7 = {.memory = l7_bytes, .unbounded = true},
                .waiting_memory = waiting_bytes,
            },
    };
    int err = 0;

    if (read->names) {
        config.classifier.streams.names = (struct stream_name_source){names_lookup, read->names};
        config.classifier.learn = read->learned;
        config.learns_dns = read->learned != NULL;
    }
    if (values.out) { /* else nothing needs the past: packets are counted */
        config.classifier.lookback_kind = read->stays ? LOOKBACK_REFERENCES : LOOKBACK_COPIES;
        config.classifier.lookback_size =
            read->stays ? (read->size / record_frame + 1) * record_bytes : lookback_copies;
        err = read_output_open(&read->output, values.out);
        if (err) {
            cli_error(read->cli, "%s: %s", values.out, strerror(-err));
            return CLI_FAILED;
        }
    }
    if (values.entries)
        read->output.entries = stdout;
    read->output.n_statements = read->n_statements;
    for (unsigned i = 0; i < n_workers && !err; i++) {
        err = read_recorder_create(&read->output, &read->recorders[i]);
        recorders[i] = err ? NULL : read_recorder_base(read->recorders[i]);
    }
    if (getrandom(&config.hash_seed, sizeof(config.hash_seed), 0) < 0)
        err = -errno;
    if (!err)
        err = pipeline_create(&config, &read->pipeline);
    if (!err)
        err = publish(read);
    if (err)
        cli_error(read->cli, "cannot start: %s", strerror(-err));
    return err ? CLI_FAILED : CLI_DONE;
}

static int publish(struct read *read)
{
    struct kfl_plan_job jobs[KFL_SLOT_MAX];
    struct kfl_plan *plan;
    unsigned slot = 0;
    int err;

    for (unsigned i = 0; i < read->n_statements; i++)
        jobs[i] = (struct kfl_plan_job){.slot = i, .statement = read->statements[i]};
    err = kfl_plan_create(jobs, read->n_statements, (unsigned)values.workers, values.entries, &plan,
                          &slot, NULL); /* compile() has said what is wrong */
    return err ? err : pipeline_publish(read->pipeline, plan, kfl_plan_jobs(plan));
}

/* ---- the run ---- */

static void turn(struct read *read)
{
    struct progress progress;
    unsigned n_idle = 0, n_steps = 0;

    progress_begin(&progress, values.entries);
    if (values.workers > 1 && !pipeline_start(read->pipeline)) {
        while (!pipeline_done(read->pipeline)) {
            const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

            nanosleep(&pause, NULL);
            show_progress(read, &progress);
        }
        pipeline_wait(read->pipeline);
    }
    while (!pipeline_done(read->pipeline)) {
        n_idle = pipeline_step(read->pipeline) ? 0 : n_idle + 1;
        if (n_idle > 1000) { /* a pipe whose writer is slow */
            const struct timespec pause = {.tv_nsec = 1000 * 1000};

            nanosleep(&pause, NULL);
        }
        if (++n_steps % PROGRESS_STEPS == 0)
            show_progress(read, &progress);
    }
    progress_end(&progress);
}

static void show_progress(const struct read *read, struct progress *progress)
{
    uint64_t value[COUNTER_COUNT];

    if (!progress->on)
        return;
    pipeline_counters(read->pipeline, value);
    progress_show(progress, value[COUNTER_rx_bytes] + RECORD_HEADER * value[COUNTER_rx],
                  read->sized ? read->size : 0);
}

static int finish(struct read *read, int status)
{
    for (unsigned i = 0; i < read->n_sources; i++) {
        const char *damage = source_file_damage(read->sources[i]);

        if (damage) {
            cli_error(read->cli, "%s", damage);
            status = CLI_FAILED;
        }
    }
    if (!values.entries)
        print_rows(read);
    if (values.summary)
        print_summary(read);
    if (fflush(stdout) == EOF && !read->output.error)
        read->output.error = errno;
    if (read_output_close(&read->output)) {
        cli_error(read->cli, "%s: %s", values.out ? values.out : "standard output",
                  strerror(read->output.error));
        status = CLI_FAILED;
    }
    return status;
}

static void release(struct read *read)
{
    pipeline_free(read->pipeline);
    for (unsigned i = 0; i < PIPELINE_CLASSIFIER_MAX; i++)
        read_recorder_free(read->recorders[i]);
    for (unsigned i = 0; i < read->n_sources; i++)
        source_close(read->sources[i]);
    free(read->sources);
    names_board_free(read->names);
    dns_names_free(read->learned);
    names_pool_free(read->names_pool);
    for (unsigned i = 0; i < read->n_statements; i++)
        kfl_statement_free(read->statements[i]);
}

/* ---- what is printed ---- */

static void print_rows(struct read *read)
{
    const struct read_row **all;
    size_t n = 0, n_rows;

    for (int64_t i = 0; i < values.workers; i++) {
        read_recorder_rows(read->recorders[i], &n_rows);
        n += n_rows;
    }
    all = malloc((n ? n : 1) * sizeof(*all));
    if (!all) {
        read->output.error = ENOMEM;
        return;
    }
    n = 0;
    for (int64_t i = 0; i < values.workers; i++) {
        const struct read_row *rows = read_recorder_rows(read->recorders[i], &n_rows);

        for (size_t k = 0; k < n_rows; k++)
            all[n++] = &rows[k];
    }
    qsort(all, n, sizeof(*all), compare_rows);
    if (!read->cli->json && n)
        printf("%8s %-6s %-28s %-28s %9s %11s %-12s %s\n", "STREAM", "PROTO", "CLIENT", "SERVER",
               "PACKETS", "BYTES", "L7", read->n_statements > 1 ? "MATCHES STATEMENT" : "MATCHES");
    for (size_t i = 0; i < n; i++) {
        if (read->cli->json)
            print_row_json(all[i]);
        else
            print_row(read, all[i]);
    }
    free(all);
}

/* By first packet. One classifier numbers in that order; times of files may go back. */
static int compare_rows(const void *a, const void *b)
{
    const struct read_row *x = *(const struct read_row *const *)a;
    const struct read_row *y = *(const struct read_row *const *)b;

    if (values.workers > 1 && x->first_ns != y->first_ns)
        return x->first_ns < y->first_ns ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (int)x->slot - (int)y->slot;
}

static const char *proto_name(const struct read_row *row, char buffer[static 8])
{
    switch (row->l4) {
    case KFL_L4_TCP:
        return "tcp";
    case KFL_L4_UDP:
        return "udp";
    case KFL_L4_SCTP:
        return "sctp";
    case KFL_L4_ICMP:
        return row->ip_version == 6 ? "icmpv6" : "icmp";
    default:
        snprintf(buffer, 8, "%u", row->ip_protocol);
        return buffer;
    }
}

static void print_row(const struct read *read, const struct read_row *row)
{
    char end[2][NAMES_ADDRESS_SIZE + NAMES_TEXT_MAX + 16], address[NAMES_ADDRESS_SIZE];
    char proto[8], l7[128] = "", count[2][UNITS_TEXT_SIZE];
    size_t used = 0;

    for (int side = 0; side < 2; side++) {
        const struct kfl_endpoint *point = &row->end[side];

        names_format_address(point->addr, 128, address);
        if (row->l4 & (KFL_L4_ICMP | KFL_L4_OTHER))
            snprintf(end[side], sizeof(end[side]), "%s", *point->name ? point->name : address);
        else if (row->ip_version == 6 && !*point->name)
            snprintf(end[side], sizeof(end[side]), "[%s]:%u", address, point->port);
        else
            snprintf(end[side], sizeof(end[side]), "%s:%u", *point->name ? point->name : address,
                     point->port);
    }
    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++)
        if (row->l7 >> i & 1 && used < sizeof(l7) - 16)
            used += (size_t)snprintf(l7 + used, sizeof(l7) - used, "%s%s", used ? "," : "",
                                     kfl_proto_info[i].abbr);
    printf("%8llu %-6s %-28s %-28s %9s %11s %-12s %7u", (unsigned long long)row->number,
           proto_name(row, proto), end[KFL_CLIENT], end[KFL_SERVER],
           units_format_count(row->packets, count[0]), units_format_count(row->bytes, count[1]), l7,
           row->matches);
    if (read->n_statements > 1)
        printf(" %9u", row->slot);
    if (row->missing)
        printf(" (%u packets missing)", row->missing);
    putchar('\n');
}

static void print_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_end_json(const char *key, const struct kfl_endpoint *end)
{
    char address[NAMES_ADDRESS_SIZE];

    printf(",\"%s\":{\"ip\":\"%s\",\"port\":%u,\"name\":", key,
           names_format_address(end->addr, 128, address), end->port);
    print_text(end->name);
    putchar('}');
}

static void print_row_json(const struct read_row *row)
{
    char proto[8], time[UNITS_TEXT_SIZE];
    const char *comma = "";

    printf("{\"stream\":%llu,\"proto\":\"%s\"", (unsigned long long)row->number,
           proto_name(row, proto));
    print_end_json("src", &row->end[KFL_CLIENT]);
    print_end_json("dst", &row->end[KFL_SERVER]);
    printf(",\"vlan\":%u,\"tunnel\":\"%s\",\"first\":\"%s\"", row->vlan,
           kfl_tunnel_name[row->tunnel], units_format_time(row->first_ns, time));
    printf(",\"last\":\"%s\",\"packets\":%llu,\"bytes\":%llu,\"l7\":[",
           units_format_time(row->last_ns, time), (unsigned long long)row->packets,
           (unsigned long long)row->bytes);
    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++)
        if (row->l7 >> i & 1) {
            printf("%s\"%s\"", comma, kfl_proto_info[i].abbr);
            comma = ",";
        }
    printf("],\"matches\":%u,\"head_missing\":%u,\"statement\":%u}\n", row->matches, row->missing,
           row->slot);
}

static void print_count(const struct read *read, const char *name, int64_t count, bool last)
{
    if (read->cli->json)
        printf("\"%s\":%lld%s", name, (long long)count, last ? "" : ",");
    else
        printf("%-22s %15lld\n", name, (long long)count);
}

static void print_dissector_errors(struct read *read)
{
    int64_t sum = 0;
    bool begun = false;

    if (read->cli->json)
        printf("\"dissector_errors\":{");
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        struct pipeline_dissection dissection;

        pipeline_dissection(read->pipeline, proto, &dissection);
        sum += (int64_t)dissection.errors;
        if (!read->cli->json || !dissection.errors)
            continue;
        printf("%s\"%s\":%llu", begun ? "," : "", kfl_proto_info[proto].abbr,
               (unsigned long long)dissection.errors);
        begun = true;
    }
    if (read->cli->json)
        printf("},");
    else
        print_count(read, "dissector_errors", sum, false);
}

static void print_summary(struct read *read)
{
    struct pipeline_sum sum = pipeline_sum(read->pipeline);
    uint64_t value[COUNTER_COUNT];

    pipeline_counters(read->pipeline, value);
    if (read->cli->json)
        printf("{\"summary\":{");
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        print_count(read, counter_name[i], (int64_t)value[i], false);
    print_dissector_errors(read);
    print_count(read, "dropped", (int64_t)sum.dropped, false);
    print_count(read, "held", (int64_t)sum.held, false);
    print_count(read, "in_flight", (int64_t)sum.in_flight, false);
    print_count(read, "difference", sum.difference, true);
    if (read->cli->json)
        printf("}}\n");
}
