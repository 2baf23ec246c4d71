/* cmd_config.c - `tapedeck config show`: what the recorder was told. */
#include "client.h"
#include "table.h"

const struct option_row cmd_config_show_options[] = {OPTION_END};

int cmd_config_show(const struct cli *cli)
{
    static const struct table_column columns[] = {{"KEY", false, false},
                                                  {"VALUE", false, true},
                                                  {"DEFAULT", false, true},
                                                  {"RELOAD", false, false},
                                                  {"WHAT", false, true}};
    struct table *table;
    const struct doc *rows;
    struct doc *reply;
    int status = client_list(cli, "config.show", NULL, &reply, &rows);

    if (status)
        return status;
    if (!rows) {
        doc_free(reply);
        return CLI_DONE;
    }
    table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);

        table_cell(table, doc_text(row, "key", ""));
        table_cell(table, doc_text(row, "value", ""));
        table_cell(table, doc_bool(row, "changed", false) ? doc_text(row, "default", "") : "same");
        table_cell(table, doc_bool(row, "reload", false) ? "yes" : "restart");
        table_cell(table, doc_text(row, "help", ""));
    }
    table_print(table, stdout, table_terminal_width());
    doc_free(reply);
    return CLI_DONE;
}
