#include "show.h"

#include <string.h>

#include "job.h"
#include "table.h"

const char *show_time(const struct doc *row, const char *key, char buffer[static UNITS_TEXT_SIZE])
{
    uint64_t ns = doc_time(row, key, 0);

    return ns ? units_format_time_short(ns, buffer) : "-";
}

void show_losses(const struct doc *row, const char *gap)
{
    for (unsigned i = 0; i < JOB_COUNT_COUNT; i++) {
        uint64_t n = doc_uint(row, job_count_info[i].name, 0);
        char text[UNITS_TEXT_SIZE];

        if (job_count_info[i].kind == JOB_COUNT_KIND_LOSS && n)
            printf("%s%s %s (%s)\n", gap, units_format_count(n, text), job_count_info[i].help,
                   job_count_info[i].name);
    }
}

void show_runs(const struct doc *runs)
{
    static const struct table_column columns[] = {
        {"RUN", true, false},     {"FROM (UTC)", false, false}, {"TO", false, false},
        {"STREAMS", true, false}, {"PACKETS", true, false},     {"WHAT", false, true},
    };
    struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));

    for (size_t i = 0; i < doc_size(runs); i++) {
        const struct doc *run = doc_at(runs, i);
        char text[UNITS_TEXT_SIZE];

        table_cellf(table, "%lld", (long long)doc_int(run, "number", 0) + 1);
        table_cell(table, show_time(run, "start", text));
        table_cell(table, show_time(run, "end", text));
        table_cell(table, units_format_count(doc_uint(run, "streams", 0), text));
        table_cell(table, units_format_count(doc_uint(run, "packets", 0), text));
        table_cell(table, doc_text(run, "what", ""));
    }
    printf("\n");
    table_print(table, stdout, table_terminal_width());
}

void show_past(const struct cli *cli, const struct doc *past)
{
    char text[UNITS_TEXT_SIZE];

    if (!doc_bool(past, "missing", false))
        return;
    if (doc_time(past, "held_from", 0))
        cli_error(cli, "the ring reaches back to %s only: what was before is not in the recording",
                  units_format_time(doc_time(past, "held_from", 0), text));
    else
        cli_error(cli, "the ring holds nothing of that time");
}

void show_message(FILE *out, const struct kfl_message *message, const char *text)
{
    char line[320], caret[1024];

    kfl_message_format(message, line, sizeof(line));
    kfl_message_caret(message, text, strlen(text), caret, sizeof(caret));
    fprintf(out, "%s%s\n%s\n", message->warning ? "warning: " : "", line, caret);
}
