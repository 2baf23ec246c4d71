#include "metrics.h"

#include <string.h>

#include "../dataplane/counters.h"
#include "job.h"

enum { LABELS_SIZE = 512 };

static const struct metric {
    const char *row, *key, *name, *type;
    double unit;
    const char *help;
} metrics[] = {
#define METRIC(row, key, name, type, unit, help) {#row, #key, #name, #type, unit, help},
#include "metrics.def"
#undef METRIC
};

static void write_family(const struct doc *rows, const struct metric *metric, FILE *out);
static void write_counters(const struct doc *rows, FILE *out);
static void write_jobs(const struct doc *rows, FILE *out);
static void write_states(const struct doc *rows, FILE *out);
static void write_daemon(const struct doc *rows, FILE *out);
static void write_latency(const struct writer_latency *latency, FILE *out);
static void write_head(const char *name, const char *type, const char *help, FILE *out);
static const char *labels_of(const struct doc *row, char buffer[static LABELS_SIZE]);
static const char *escape(const char *text, char *buffer, size_t size);
static double number(const struct doc *row, const char *key);

void metrics_write(const struct doc *rows, const struct writer_latency *latency, FILE *out)
{
    write_daemon(rows, out);
    for (unsigned i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
        write_family(rows, &metrics[i], out);
    write_counters(rows, out);
    write_jobs(rows, out);
    write_states(rows, out);
    write_latency(latency, out);
}

static void write_family(const struct doc *rows, const struct metric *metric, FILE *out)
{
    bool begun = false;

    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        char labels[LABELS_SIZE];

        if (strcmp(doc_text(row, "kind", ""), metric->row) != 0 || !doc_get(row, metric->key))
            continue;
        if (!begun)
            write_head(metric->name, metric->type, metric->help, out);
        begun = true;
        fprintf(out, "tapedeck_%s%s %.15g\n", metric->name, labels_of(row, labels),
                number(row, metric->key) / metric->unit);
    }
}

static void write_counters(const struct doc *rows, FILE *out)
{
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        char name[64];
        struct metric metric = {.row = "core",
                                .key = counter_name[i],
                                .name = name,
                                .type = "counter",
                                .unit = 1,
                                .help = counter_help[i]};

        snprintf(name, sizeof(name), "core_%s_total", counter_name[i]);
        write_family(rows, &metric, out);
    }
}

static void write_jobs(const struct doc *rows, FILE *out)
{
    for (unsigned i = 0; i < JOB_COUNT_COUNT; i++) {
        bool gauge = job_count_info[i].kind == JOB_COUNT_KIND_GAUGE;
        char name[64];
        struct metric metric = {.row = "job",
                                .key = job_count_info[i].name,
                                .name = name,
                                .type = gauge ? "gauge" : "counter",
                                .unit = 1,
                                .help = job_count_info[i].help};

        snprintf(name, sizeof(name), "job_%s%s", job_count_info[i].name, gauge ? "" : "_total");
        write_family(rows, &metric, out);
    }
}

/* One sample for each job, with its state as a label: an alert asks for state="failed". */
static void write_states(const struct doc *rows, FILE *out)
{
    bool begun = false;

    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        char name[LABELS_SIZE];

        if (strcmp(doc_text(row, "kind", ""), "job") != 0)
            continue;
        if (!begun)
            write_head("job_state", "gauge", "1, with the job's state as a label", out);
        begun = true;
        fprintf(out, "tapedeck_job_state{job=\"%s\",state=\"%s\"} 1\n",
                escape(doc_text(row, "name", ""), name, sizeof(name)), doc_text(row, "state", ""));
    }
}

static void write_daemon(const struct doc *rows, FILE *out)
{
    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);

        if (strcmp(doc_text(row, "kind", ""), "daemon") != 0)
            continue;
        write_head("build_info", "gauge", "1, with the version as a label", out);
        fprintf(out, "tapedeck_build_info{version=\"%s\"} 1\n", doc_text(row, "version", ""));
        write_head("start_time_seconds", "gauge", "when the daemon was started, since the epoch",
                   out);
        fprintf(out, "tapedeck_start_time_seconds %.3f\n",
                (double)doc_time(row, "started", 0) / 1e9);
    }
}

static void write_latency(const struct writer_latency *latency, FILE *out)
{
    static const char name[] = "writer_latency_seconds";
    uint64_t sum = 0;

    write_head(name, "histogram", "time that the disk took for a write or a sync", out);
    for (unsigned i = 0; i < WRITER_LATENCIES; i++) {
        sum += latency->count[i];
        if (i < WRITER_LATENCIES - 1)
            fprintf(out, "tapedeck_%s_bucket{le=\"%.9g\"} %llu\n", name,
                    (double)writer_latency_max_ns(i) / 1e9, (unsigned long long)sum);
    }
    fprintf(out, "tapedeck_%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)sum);
    fprintf(out, "tapedeck_%s_sum %.9f\n", name, (double)latency->sum_ns / 1e9);
    fprintf(out, "tapedeck_%s_count %llu\n", name, (unsigned long long)sum);
}

static void write_head(const char *name, const char *type, const char *help, FILE *out)
{
    fprintf(out, "# HELP tapedeck_%s %s\n# TYPE tapedeck_%s %s\n", name, help, name, type);
}

static const char *labels_of(const struct doc *row, char buffer[static LABELS_SIZE])
{
    const char *kind = doc_text(row, "kind", "");
    char name[LABELS_SIZE / 2];

    *buffer = 0;
    escape(doc_text(row, "name", ""), name, sizeof(name));
    if (!strcmp(kind, "source"))
        snprintf(buffer, LABELS_SIZE, "{source=\"%s\",type=\"%s\"}", name,
                 doc_text(row, "type", ""));
    else if (!strcmp(kind, "core"))
        snprintf(buffer, LABELS_SIZE, "{role=\"%s\",core=\"%llu\"}", doc_text(row, "role", ""),
                 (unsigned long long)doc_uint(row, "number", 0));
    else if (!strcmp(kind, "job"))
        snprintf(buffer, LABELS_SIZE, "{job=\"%s\"}", name);
    else if (!strcmp(kind, "protocol"))
        snprintf(buffer, LABELS_SIZE, "{protocol=\"%s\"}", name);
    else if (!strcmp(kind, "kube"))
        snprintf(buffer, LABELS_SIZE, "{resource=\"%s\"}", doc_text(row, "resource", ""));
    return buffer;
}

/* What stands in a label's quotes. */
static const char *escape(const char *text, char *buffer, size_t size)
{
    size_t used = 0;

    for (; *text && used + 3 < size; text++) {
        if (*text == '"' || *text == '\\' || *text == '\n')
            buffer[used++] = '\\';
        buffer[used++] = *text == '\n' ? 'n' : *text;
    }
    buffer[used] = 0;
    return buffer;
}

static double number(const struct doc *row, const char *key)
{
    return doc_bool(row, key, false) ? 1 : (double)doc_int(row, key, 0);
}
