/* cmd_help.c - `tapedeck help`: what `--help` behind a command prints, too. */
#include <string.h>

#include "command.h"

const struct option_row cmd_help_options[] = {OPTION_END};

int cmd_help(const struct cli *cli)
{
    char path[128] = "";
    size_t size;
    int found = 0;

    if (!cli->n_args) {
        cli_overview(NULL, stdout);
        return CLI_DONE;
    }
    snprintf(path, sizeof(path), "%s%s%s", cli->args[0], cli->n_args > 1 ? " " : "",
             cli->n_args > 1 ? cli->args[1] : "");
    size = strlen(path);
    for (unsigned i = 0; i < n_commands; i++) {
        if (!strcmp(commands[i].path, path)) {
            cli_usage(&commands[i], stdout);
            return CLI_DONE;
        }
        found |= !strncmp(commands[i].path, path, size) && commands[i].path[size] == ' ';
    }
    if (!found) {
        cli_error(cli, "there is no command '%s': see tapedeck --help", path);
        return CLI_USAGE;
    }
    cli_overview(path, stdout);
    return CLI_DONE;
}
