/* cmd_reload.c - `tapedeck reload`: the configuration is read again. */
#include "client.h"

const struct option_row cmd_reload_options[] = {OPTION_END};

int cmd_reload(const struct cli *cli)
{
    const struct doc *rows;
    struct doc *reply;
    int status = client_ask(cli, client_request("reload", NULL), &reply);

    if (status)
        return status;
    rows = client_rows(reply);
    if (cli->json)
        client_print_json(rows);
    else
        printf("reloaded\n");
    for (size_t i = 0; !cli->json && i < doc_size(rows); i++)
        printf("%s has changed: needs a restart\n", doc_text(doc_at(rows, i), "key", ""));
    doc_free(reply);
    return CLI_DONE;
}
