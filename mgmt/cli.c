#include "command.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_WORDS_MAX = 2, WORDS_MAX = 64 };

#define CONTROL_SOCKET_DEFAULT "/run/tapedeck/control.sock"

static struct {
    bool help, version, json;
    const char *socket;
} general;

const struct option_row cli_options[] = {
    OPTION_FLAG("json", 0, general.json, "one JSON object a line instead of a table"),
    OPTION_TEXT("socket", 0, "PATH", general.socket,
                "control socket of tapedeckd (else $TAPEDECK_SOCKET, " CONTROL_SOCKET_DEFAULT ")"),
    OPTION_FLAG("help", 'h', general.help, "this text"),
    OPTION_FLAG("version", 0, general.version, "the version"),
    OPTION_END,
};

const struct command commands[] = {
#define COMMAND(id, path, arguments, min, max, help) \
    {path, cmd_##id, cmd_##id##_options, arguments, min, max, help},
#include "commands.def"
#undef COMMAND
};
const unsigned n_commands = sizeof(commands) / sizeof(commands[0]);

static const struct command *find_command(int argc, char **argv);
static int run_command(const struct command *command, int argc, char **argv);
static int run_without_command(int argc, char **argv);
static bool is_group(const char *word);
static void say_unknown(const char *first, const char *second);

int cli_main(int argc, char **argv)
{
    const struct command *command;

    setvbuf(stderr, NULL, _IOLBF, 0);
    command = find_command(argc - 1, argv + 1);
    if (command)
        return run_command(command, argc - 1, argv + 1);
    return run_without_command(argc - 1, argv + 1);
}

void cli_error(const struct cli *cli, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "tapedeck %s: ", cli->command->path);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_usage(const struct command *command, FILE *out)
{
    fprintf(out, "tapedeck %s - %s\n\nusage: tapedeck %s%s%s%s\n\noptions:\n", command->path,
            command->help, command->path, command->options->name ? " [OPTION...]" : "",
            *command->arguments ? " " : "", command->arguments);
    if (command->options->name) {
        options_help(command->options, out);
        fprintf(out, "\ngeneral options:\n");
    }
    options_help(cli_options, out);
}

void cli_overview(const char *group, FILE *out)
{
    size_t size = group ? strlen(group) : 0;
    int width = 0;

    for (unsigned i = 0; i < n_commands; i++) {
        int n = (int)(strlen(commands[i].path) + strlen(commands[i].arguments) + 1);

        width = n > width && n < 40 ? n : width;
    }
    if (!group)
        fprintf(out, "tapedeck - records whole streams in which something happened\n\n");
    fprintf(out, "usage: tapedeck %s%sCOMMAND [OPTION...]\n\ncommands:\n", group ? group : "",
            group ? " " : "");
    for (unsigned i = 0; i < n_commands; i++) {
        const struct command *command = &commands[i];
        char left[128];

        if (group && (strncmp(command->path, group, size) || command->path[size] != ' '))
            continue;
        snprintf(left, sizeof(left), "%s %s", command->path, command->arguments);
        fprintf(out, "  %-*s  %s\n", width, left, command->help);
    }
    fprintf(out, "\noptions of every command:\n");
    options_help(cli_options, out);
    fprintf(out, "\nexit status: 0 done, 1 it failed, 2 bad usage or bad input, 3 no daemon\n");
}

/* The command whose words argv begins with; general options may stand before them. */
static const struct command *find_command(int argc, char **argv)
{
    const char *words[PATH_WORDS_MAX];
    int n = 0;

    for (int i = 0; i < argc && n < PATH_WORDS_MAX; i++) {
        if (!strcmp(argv[i], "--socket"))
            i++;
        else if (argv[i][0] != '-')
            words[n++] = argv[i];
    }
    for (; n > 0; n--) {
        char path[128];

        snprintf(path, sizeof(path), "%s%s%s", words[0], n > 1 ? " " : "", n > 1 ? words[1] : "");
        for (unsigned i = 0; i < n_commands; i++)
            if (!strcmp(commands[i].path, path))
                return &commands[i];
    }
    return NULL;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    const struct option_row *const tables[] = {command->options, cli_options, NULL};
    struct cli cli = {.command = command};
    char error[OPTIONS_ERROR_SIZE];
    int n_words = strchr(command->path, ' ') ? 2 : 1;
    int n = options_parse(tables, argc, argv, error);

    if (n < 0) {
        cli_error(&cli, "%s", error);
        return CLI_USAGE;
    }
    if (general.help) {
        cli_usage(command, stdout);
        return CLI_DONE;
    }
    cli.args = argv + n_words;
    cli.n_args = n - n_words;
    cli.args[cli.n_args] = NULL;
    cli.json = general.json;
    cli.socket = general.socket ? general.socket : getenv("TAPEDECK_SOCKET");
    if (!cli.socket || !*cli.socket)
        cli.socket = CONTROL_SOCKET_DEFAULT;
    if (cli.n_args < command->args_min || cli.n_args > command->args_max) {
        if (cli.n_args > command->args_max)
            cli_error(&cli, "'%s' is one argument too many", cli.args[command->args_max]);
        else
            cli_error(&cli, "%s is missing", command->arguments);
        fprintf(stderr, "usage: tapedeck %s%s%s%s\n", command->path,
                command->options->name ? " [OPTION...]" : "", *command->arguments ? " " : "",
                command->arguments);
        return CLI_USAGE;
    }
    return command->run(&cli);
}

static int run_without_command(int argc, char **argv)
{
    const struct option_row *const tables[] = {cli_options, NULL};
    char error[OPTIONS_ERROR_SIZE];
    int n = argc && argv[0][0] != '-' && !is_group(argv[0])
                ? 1
                : options_parse(tables, argc, argv, error);

    if (n > 0 && (n > 1 || !is_group(argv[0]))) {
        say_unknown(argv[0], n > 1 ? argv[1] : NULL);
        return CLI_USAGE;
    }
    if (n < 0) {
        fprintf(stderr, "tapedeck: %s\n", error);
        return CLI_USAGE;
    }
    if (general.version) {
        printf("tapedeck %s\n", TAPEDECK_VERSION);
        return CLI_DONE;
    }
    cli_overview(n > 0 ? argv[0] : NULL, general.help ? stdout : stderr);
    return general.help ? CLI_DONE : CLI_USAGE;
}

static bool is_group(const char *word)
{
    size_t size = strlen(word);

    for (unsigned i = 0; i < n_commands; i++)
        if (!strncmp(commands[i].path, word, size) && commands[i].path[size] == ' ')
            return true;
    return false;
}

static void say_unknown(const char *first, const char *second)
{
    char word[128];
    const char *words[WORDS_MAX];
    const char *nearest;
    unsigned n = 0;

    snprintf(word, sizeof(word), "%s%s%s", first, second ? " " : "", second ? second : "");
    for (unsigned i = 0; i < n_commands && n < WORDS_MAX; i++)
        words[n++] = commands[i].path;
    nearest = options_nearest(word, words, n);
    if (nearest)
        fprintf(stderr, "tapedeck: there is no command '%s': did you mean 'tapedeck %s'?\n", word,
                nearest);
    else
        fprintf(stderr, "tapedeck: there is no command '%s': see tapedeck --help\n", word);
}
