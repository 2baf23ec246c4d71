/* cmd_stats.c - `tapedeck stats`: what comes in, where it goes, and that it adds up. */
#include <string.h>

#include "client.h"
#include "style.h"
#include "table.h"
#include "units.h"
#include "watch.h"

static struct {
    bool watch;
} values;

const struct option_row cmd_stats_options[] = {
    OPTION_WATCH(values.watch),
    OPTION_END,
};

static struct doc *previous; /* a look earlier; for the rates */

struct column {
    const char *title, *key;
};

static int look(const struct cli *cli);
static void print_sources(const struct doc *rows, const struct doc *before);
static void print_cores(const struct doc *rows, const struct doc *before);
static void print_protocols(const struct doc *rows);
static void print_jobs(const struct doc *rows);
static void print_sum(const struct doc *rows);
static const struct doc *same_row(const struct doc *rows, const struct doc *row);
static void count_cell(struct table *table, const struct doc *row, const char *key);
static void rate_cell(struct table *table, const struct doc *row, const struct doc *before,
                      const char *key);

int cmd_stats(const struct cli *cli)
{
    int status = watch(cli, values.watch, look);

    doc_free(previous);
    return status;
}

static int look(const struct cli *cli)
{
    struct doc *reply;
    int status = client_ask(cli, client_request("stats", NULL), &reply);
    const struct doc *rows, *before;

    if (status)
        return status;
    rows = client_rows(reply);
    before = previous ? client_rows(previous) : NULL;
    if (cli->json) {
        client_print_json(rows);
    } else {
        print_sources(rows, before);
        print_cores(rows, before);
        print_protocols(rows);
        print_jobs(rows);
        print_sum(rows);
    }
    doc_free(previous);
    previous = reply;
    return CLI_DONE;
}

static void print_sources(const struct doc *rows, const struct doc *before)
{
    static const struct table_column columns[] = {
        {"SOURCE", false, true},  {"TYPE", false, false},  {"PACKETS", true, false},
        {"/S", true, false},      {"BYTES", true, false},  {"LOST BY THE DEVICE", true, false},
        {"DAMAGED", true, false}, {"STATE", false, false},
    };
    struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));

    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        char text[UNITS_TEXT_SIZE];

        if (strcmp(doc_text(row, "kind", ""), "source") != 0)
            continue;
        table_cell(table, doc_text(row, "name", ""));
        table_cell(table, doc_text(row, "type", ""));
        count_cell(table, row, "rx");
        rate_cell(table, row, before, "rx");
        table_cell(table, units_format_size(doc_uint(row, "rx_bytes", 0), text));
        count_cell(table, row, "drop_nic");
        count_cell(table, row, "errors");
        table_cell(table, doc_int(row, "error", 0)        ? strerror((int)-doc_int(row, "error", 0))
                          : doc_bool(row, "ended", false) ? "ended"
                                                          : "running");
        table_style(table, doc_int(row, "error", 0) ? STYLE_BAD : STYLE_PLAIN);
    }
    table_print(table, stdout, table_terminal_width());
}

static void print_cores(const struct doc *rows, const struct doc *before)
{
    static const struct table_column columns[] = {
        {"CORE", false, false},     {"RECEIVED", true, false},  {"/S", true, false},
        {"DISCARDED", true, false}, {"RECORDED", true, false},  {"STREAMS OPEN", true, false},
        {"BEGUN", true, false},     {"MATCHED", true, false},   {"LOOKBACK", true, false},
        {"EVICTED", true, false},   {"RING FULL", true, false}, {"IDLE", true, false},
    };
    struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));

    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        bool is_rx = !strcmp(doc_text(row, "role", ""), "rx");
        char text[UNITS_TEXT_SIZE];
        uint64_t steps;

        if (strcmp(doc_text(row, "kind", ""), "core") != 0)
            continue;
        steps = doc_uint(row, "steps", 0);
        table_cellf(table, "%s %llu", doc_text(row, "role", ""),
                    (unsigned long long)doc_uint(row, "number", 0));
        count_cell(table, row, "rx");
        rate_cell(table, row, before, "rx");
        count_cell(table, row, "discarded");
        count_cell(table, row, "recorded");
        count_cell(table, row, "streams_open");
        count_cell(table, row, "streams");
        count_cell(table, row, "streams_matched");
        table_cell(table,
                   is_rx ? "-" : units_format_duration(doc_uint(row, "lookback_span_ns", 0), text));
        count_cell(table, row, "lookback_evicted");
        count_cell(table, row, "drop_ring");
        table_cellf(table, "%.0f%%",
                    steps ? 100.0 * (double)doc_uint(row, "steps_idle", 0) / (double)steps : 100.0);
    }
    printf("\n");
    table_print(table, stdout, table_terminal_width());
}

/* Those of which there was something. */
static void print_protocols(const struct doc *rows)
{
    static const struct table_column columns[] = {
        {"PROTOCOL", false, false},
        {"ENTRIES", true, false},
        {"DISSECTED", true, false},
        {"ERRORS", true, false},
    };
    struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
    unsigned n = 0;

    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        char text[UNITS_TEXT_SIZE];

        if (strcmp(doc_text(row, "kind", ""), "protocol") != 0 ||
            !(doc_uint(row, "entries", 0) + doc_uint(row, "dissected_bytes", 0) +
              doc_uint(row, "dissector_errors", 0)))
            continue;
        n++;
        table_cell(table, doc_text(row, "name", ""));
        count_cell(table, row, "entries");
        table_cell(table, units_format_size(doc_uint(row, "dissected_bytes", 0), text));
        count_cell(table, row, "dissector_errors");
    }
    if (n)
        printf("\n");
    table_print(table, n ? stdout : NULL, table_terminal_width());
}

static void print_jobs(const struct doc *rows)
{
    static const struct table_column columns[] = {
        {"JOB", false, true},      {"STREAMS", true, false}, {"ENTRIES", true, false},
        {"PACKETS", true, false},  {"ON DISK", true, false}, {"HEAD MISSING", true, false},
        {"NO CHUNK", true, false},
    };
    struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
    unsigned n = 0;

    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        char text[UNITS_TEXT_SIZE];

        if (strcmp(doc_text(row, "kind", ""), "job") != 0)
            continue;
        n++;
        table_cell(table, doc_text(row, "name", ""));
        count_cell(table, row, "streams");
        count_cell(table, row, "entries");
        count_cell(table, row, "packets");
        table_cell(table, units_format_size(doc_uint(row, "stored", 0), text));
        count_cell(table, row, "head_missing");
        count_cell(table, row, "drop_no_chunk");
    }
    printf("\n");
    if (!n)
        printf("no job records\n");
    table_print(table, n ? stdout : NULL, table_terminal_width());
}

static void print_sum(const struct doc *rows)
{
    static const struct column parts[] = {{"= dropped", "dropped"},
                                          {"+ discarded", "discarded"},
                                          {"+ recorded", "recorded"},
                                          {"+ held", "held"},
                                          {"+ in flight", "in_flight"}};

    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        char text[UNITS_TEXT_SIZE];

        if (strcmp(doc_text(row, "kind", ""), "sum") != 0)
            continue;
        printf("\nthe sum: rx %s", units_format_count(doc_uint(row, "rx", 0), text));
        for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
            printf(" %s %s", parts[k].title,
                   units_format_count(doc_uint(row, parts[k].key, 0), text));
        printf("; difference %s%lld%s\n",
               style_begin(doc_int(row, "difference", 0) ? STYLE_BAD : STYLE_GOOD, stdout),
               (long long)doc_int(row, "difference", 0), style_end(stdout));
    }
}

/* The row of the same thing a second ago. */
static const struct doc *same_row(const struct doc *rows, const struct doc *row)
{
    for (size_t i = 0; rows && i < doc_size(rows); i++) {
        const struct doc *other = doc_at(rows, i);

        if (!strcmp(doc_text(other, "kind", ""), doc_text(row, "kind", "")) &&
            !strcmp(doc_text(other, "name", ""), doc_text(row, "name", "")) &&
            !strcmp(doc_text(other, "role", ""), doc_text(row, "role", "")) &&
            doc_int(other, "number", 0) == doc_int(row, "number", 0))
            return other;
    }
    return NULL;
}

static void count_cell(struct table *table, const struct doc *row, const char *key)
{
    char text[UNITS_TEXT_SIZE];

    table_cell(table, doc_get(row, key) ? units_format_count(doc_uint(row, key, 0), text) : "-");
}

static void rate_cell(struct table *table, const struct doc *row, const struct doc *before,
                      const char *key)
{
    const struct doc *other = same_row(before, row);
    char text[UNITS_TEXT_SIZE];

    table_cell(table,
               other ? units_format_count(doc_uint(row, key, 0) - doc_uint(other, key, 0), text)
                     : "-");
}
