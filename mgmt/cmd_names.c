/* cmd_names.c - `tapedeck names show`: what the name tables know. */
#include "client.h"
#include "table.h"

const struct option_row cmd_names_show_options[] = {OPTION_END};

int cmd_names_show(const struct cli *cli)
{
    static const struct table_column columns[] = {
        {"ADDRESS", false, false}, {"NAME", false, true}, {"NAMESPACE", false, true}};
    struct doc *request = client_request("names.show", NULL);
    const struct doc *rows;
    struct doc *reply;
    int status;

    if (cli->n_args)
        doc_set_text(request, "ip", cli->args[0]);
    status = client_ask(cli, request, &reply);
    if (status)
        return status;
    rows = client_rows(reply);
    if (cli->n_args && !doc_size(rows)) {
        cli_error(cli, "no name is known for %s", cli->args[0]);
        status = CLI_FAILED;
    } else if (cli->json) {
        client_print_json(rows);
    } else {
        struct table *table = table_create(columns, sizeof(columns) / sizeof(columns[0]));

        for (size_t i = 0; i < doc_size(rows); i++) {
            table_cell(table, doc_text(doc_at(rows, i), "ip", ""));
            table_cell(table, doc_text(doc_at(rows, i), "name", ""));
            table_cell(table, doc_text(doc_at(rows, i), "namespace", ""));
        }
        table_print(table, stdout, table_terminal_width());
    }
    doc_free(reply);
    return status;
}
