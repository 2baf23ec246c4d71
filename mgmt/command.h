/* command.h - a command of `tapedeck`: one row in commands.def, one function, one option table.
 *
 * The main function finds the row by the words, parses the options of the command's table and the
 * general ones, checks the number of arguments, and calls the function. Data goes to stdout, the
 * rest to stderr through cli_error() and cli_note(). One thread. */
#ifndef MGMT_COMMAND_H
#define MGMT_COMMAND_H

#include <stdbool.h>

#include "options.h"

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NO_DAEMON = 3 };

struct command;

struct cli { /* one call of a command */
    const struct command *command;
    bool json;          /* --json: one object a line */
    const char *socket; /* of the daemon */
    char **args;        /* what is left without words and options; null terminated */
    int n_args;
};

struct command {
    const char *path;                  /* "job create" */
    int (*run)(const struct cli *cli); /* -> enum cli_exit */
    const struct option_row *options;
    const char *arguments; /* for the usage line */
    int args_min, args_max;
    const char *help;
};

#define COMMAND(id, path, arguments, min, max, help) \
    int cmd_##id(const struct cli *cli);             \
    extern const struct option_row cmd_##id##_options[];
#include "commands.def"
#undef COMMAND

extern const struct command commands[];
extern const unsigned n_commands;

/* Those of every command. */
extern const struct option_row cli_options[];

/* Finds the row by the words and calls its function. -> enum cli_exit */
int cli_main(int argc, char **argv);

/* "tapedeck job create: " and the text, one line on stderr. */
void cli_error(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints how the command is used. */
void cli_usage(const struct command *command, FILE *out);

/* The commands of a group ("job"), or all (null), a line each. */
void cli_overview(const char *group, FILE *out);

#endif
