/* cmd_recording.c - `tapedeck recording list, show, delete, verify`. */
#include <string.h>

#include "client.h"
#include "job.h"
#include "recording_files.h"
#include "show.h"
#include "style.h"
#include "table.h"
#include "units.h"
#include "watch.h"

static struct {
    const char *search;
    bool watch;
} list;

const struct option_row cmd_recording_list_options[] = {
    OPTION_TEXT("search", 0, "TEXT", list.search, "only those with TEXT in name or statement"),
    OPTION_WATCH(list.watch),
    OPTION_END,
};
const struct option_row cmd_recording_show_options[] = {OPTION_END};
const struct option_row cmd_recording_delete_options[] = {OPTION_END};

static int list_recordings(const struct cli *cli);
static void print_description(const struct doc *row);

int cmd_recording_list(const struct cli *cli)
{
    return watch(cli, list.watch, list_recordings);
}

static int list_recordings(const struct cli *cli)
{
    static const struct table_column columns[] = {
        {"NAME", false, true},
        {"STATE", false, false},
        {"FIRST PACKET (UTC)", false, false},
        {"LAST PACKET", false, false},
        {"STREAMS", true, false},
        {"SIZE", true, false},
        {"EXPIRES", false, false},
        {"STATEMENT", false, true},
    };
    struct table *table;
    const struct doc *rows;
    struct doc *reply;
    int status = client_list(cli, "recording.list", list.search, &reply, &rows);

    if (status)
        return status;
    if (!rows) {
        doc_free(reply);
        return CLI_DONE;
    }
    table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);
        char text[UNITS_TEXT_SIZE];

        table_cell(table, doc_text(row, "name", ""));
        table_cell(table, doc_text(row, "state", ""));
        table_style(table, style_of_state(doc_text(row, "state", "")));
        table_cell(table, show_time(row, "first", text));
        table_cell(table, show_time(row, "last", text));
        table_cell(table, units_format_count(doc_uint(row, "streams", 0), text));
        table_cell(table, units_format_size(doc_uint(row, "size", 0), text));
        table_cell(table, show_time(row, "expires", text));
        table_cell(table, doc_text(row, "kfl", ""));
    }
    table_print(table, stdout, table_terminal_width());
    doc_free(reply);
    return CLI_DONE;
}

int cmd_recording_show(const struct cli *cli)
{
    struct doc *reply;
    int status = client_ask(cli, client_request("recording.show", cli->args[0]), &reply);

    if (status)
        return status;
    if (cli->json)
        client_print_json_row(client_row(reply));
    else
        print_description(client_row(reply));
    doc_free(reply);
    return CLI_DONE;
}

int cmd_recording_delete(const struct cli *cli)
{
    int status = CLI_DONE;

    for (int i = 0; i < cli->n_args; i++) {
        struct doc *reply;
        int one = client_ask(cli, client_request("recording.delete", cli->args[i]), &reply);

        if (one)
            status = one;
        else
            doc_free(reply);
    }
    return status;
}

static void print_description(const struct doc *row)
{
    char text[UNITS_TEXT_SIZE];

    printf("name          %s\n", doc_text(row, "name", ""));
    printf("state         %s%s%s\n", doc_text(row, "state", ""),
           *doc_text(row, "reason", "") ? ": " : "", doc_text(row, "reason", ""));
    printf("statement     %s\n", doc_text(row, "kfl", ""));
    printf("folder        %s\n", doc_text(row, "folder", ""));
    printf("size          %s", units_format_size(doc_uint(row, "size", 0), text));
    printf(" in %s segments\n", units_format_count(doc_uint(row, "files", 0), text));
    printf("streams       %s\n", units_format_count(doc_uint(row, "streams", 0), text));
    printf("entries       %s\n", units_format_count(doc_uint(row, "entries", 0), text));
    printf("packets       %s", units_format_count(doc_uint(row, "packets", 0), text));
    printf(", %s\n", units_format_size(doc_uint(row, "bytes", 0), text));
    printf("first packet  %s\n", show_time(row, "first", text));
    printf("last packet   %s\n", show_time(row, "last", text));
    printf("expires       %s\n", show_time(row, "expires", text));
    show_losses(row, "lost          ");
    show_runs(doc_get(row, "runs"));
}
