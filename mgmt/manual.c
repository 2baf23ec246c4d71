/* manual.c - makes manual pages and completion from the rows that the programs work with.
 *
 * `manual FILE.in` prints FILE.in. A line that is `@name@` alone is replaced by what the generator
 * of that name writes; @version@ is replaced anywhere. Part of the build, not installed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/field.h"
#include "command.h"
#include "conf_row.h"
#include "daemon_options.h"

enum { GROUP_SIZE = 64, LIMITS_SIZE = 128 };

static int print_page(const char *path);
static void print_line(char *line);
static bool generate(const char *name);
static void write_commands(void);
static void write_options(void);
static void write_daemon_options(void);
static void write_conf(void);
static void write_conf_sources(void);
static void write_conf_jobs(void);
static void write_protocols(void);
static void write_fields(void);
static void write_helpers(void);
static void write_completion_words(void);
static void write_completion_options(void);
static void write_completion_values(void);
static void option_rows(const struct option_row *rows);
static void conf_rows_of(const struct conf_row *rows, unsigned n, bool groups);
static void text(const char *words);
static void option_names(const struct option_row *rows);
static void option_values(const struct option_row *rows, bool files);

static const struct {
    const char *name;
    void (*write)(void);
} generators[] = {
    {"commands", write_commands},
    {"options", write_options},
    {"daemon-options", write_daemon_options},
    {"conf", write_conf},
    {"conf-sources", write_conf_sources},
    {"conf-jobs", write_conf_jobs},
    {"protocols", write_protocols},
    {"fields", write_fields},
    {"helpers", write_helpers},
    {"completion-words", write_completion_words},
    {"completion-options", write_completion_options},
    {"completion-values", write_completion_values},
};

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: manual FILE.in\n");
        return EXIT_FAILURE;
    }
    return print_page(argv[1]);
}

static int print_page(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0;
    int status = EXIT_SUCCESS;

    if (!file) {
        perror(path);
        return EXIT_FAILURE;
    }
    while (getline(&line, &capacity, file) >= 0) {
        size_t size = strcspn(line, "\n");

        line[size] = 0;
        if (size > 2 && line[0] == '@' && line[size - 1] == '@' && !strchr(line, ' ')) {
            line[size - 1] = 0;
            if (!generate(line + 1)) {
                fprintf(stderr, "%s: nothing makes @%s@\n", path, line + 1);
                status = EXIT_FAILURE;
            }
        } else {
            print_line(line);
        }
    }
    free(line);
    fclose(file);
    return ferror(stdout) || fflush(stdout) ? EXIT_FAILURE : status;
}

static void print_line(char *line)
{
    static const char mark[] = "@version@";
    char *found = strstr(line, mark);

    if (found) {
        *found = 0;
        printf("%s%s%s\n", line, TAPEDECK_VERSION, found + strlen(mark));
    } else {
        puts(line);
    }
}

static bool generate(const char *name)
{
    for (unsigned i = 0; i < sizeof(generators) / sizeof(generators[0]); i++)
        if (!strcmp(generators[i].name, name)) {
            generators[i].write();
            return true;
        }
    return false;
}

/* ---- manual pages ---- */

static void write_commands(void)
{
    for (unsigned i = 0; i < n_commands; i++) {
        const struct command *command = &commands[i];

        printf(".SS \"tapedeck ");
        text(command->path);
        printf("%s%s", command->options->name ? " [OPTION...]" : "",
               *command->arguments ? " " : "");
        text(command->arguments);
        printf("\"\n");
        text(command->help);
        printf(".\n");
        option_rows(command->options);
    }
}

static void write_options(void)
{
    option_rows(cli_options);
}

static void write_daemon_options(void)
{
    option_rows(daemon_option_rows);
}

static void write_conf(void)
{
    conf_rows_of(conf_rows, conf_n_rows, true);
}

static void write_conf_sources(void)
{
    conf_rows_of(conf_source_rows, conf_n_source_rows, false);
}

static void write_conf_jobs(void)
{
    conf_rows_of(conf_job_rows, conf_n_job_rows, false);
}

static void write_protocols(void)
{
    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++) {
        printf("%s", i ? ", " : "");
        text(kfl_proto_info[i].abbr);
    }
    putchar('\n');
}

static void write_fields(void)
{
    for (unsigned i = 1; i < KFL_FIELD_COUNT; i++) {
        const struct kfl_field_info *field = &kfl_field_info[i];
        const char *separator = " (";

        printf(".TP\n.B \"");
        text(field->path);
        printf("\"\n");
        text(*field->help ? field->help : "as the name says");
        for (unsigned k = 0; field->protos && k < KFL_PROTO_COUNT; k++)
            if (field->protos & UINT32_C(1) << k) {
                printf("%s", separator);
                text(kfl_proto_info[k].abbr);
                separator = ", ";
            }
        printf("%s\n", *separator == ',' ? ")" : "");
    }
}

static void write_helpers(void)
{
    static const struct {
        const char *name, *help;
        bool subject;
        unsigned most;
    } helpers[] = {
#define KFL_HELPER(id, name, subject, fewest, most, help) {name, help, subject, most},
#include "../kfl-jit/helpers.def"
#undef KFL_HELPER
    };

    for (unsigned i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++) {
        printf(".TP\n.B \"%s", helpers[i].subject ? "FIELD." : "");
        text(helpers[i].name);
        printf("(%s)\"\n", !helpers[i].most       ? ""
                           : helpers[i].most == 1 ? "ARGUMENT"
                                                  : "ARGUMENT...");
        text(helpers[i].help);
        putchar('\n');
    }
}

static void option_rows(const struct option_row *rows)
{
    for (const struct option_row *row = rows; row->name; row++) {
        printf(".TP\n\\fB");
        if (row->letter)
            printf("\\-%c\\fR, \\fB", row->letter);
        printf("\\-\\-");
        text(row->name);
        printf("\\fR");
        if (row->value) {
            printf(" \\fI");
            text(row->value);
            printf("\\fR");
        }
        putchar('\n');
        text(row->help);
        putchar('\n');
    }
}

static void conf_rows_of(const struct conf_row *rows, unsigned n, bool groups)
{
    for (unsigned i = 0; i < n; i++) {
        char limits[LIMITS_SIZE] = "";

        if (groups && (!i || strcmp(rows[i].group, rows[i - 1].group) != 0))
            printf(".SS %s\n", rows[i].group);
        printf(".TP\n.B %s%s%s\n", groups ? rows[i].group : "", groups ? "." : "", rows[i].key);
        text(rows[i].help);
        if (*rows[i].initial) {
            printf(". Default: ");
            text(rows[i].initial);
        }
        if (rows[i].max) {
            conf_row_show_limits(&rows[i], limits, sizeof(limits));
            printf("; ");
            text(limits);
        }
        printf(".%s\n", rows[i].live && groups ? " A reload applies it." : "");
    }
}

/* Words as they are: nothing in them is roff's. */
static void text(const char *words)
{
    if (*words == '.' || *words == '\'')
        printf("\\&");
    for (; *words; words++) {
        if (*words == '\\')
            printf("\\e");
        else if (*words == '-')
            printf("\\-");
        else if (*words == '"')
            printf("\\(dq");
        else if (*words == '\'')
            printf("\\(aq");
        else if (*words == '`')
            printf("\\(ga");
        else if (*words == '^')
            printf("\\(ha");
        else if (*words == '~')
            printf("\\(ti");
        else
            putchar(*words);
    }
}

/* ---- completion ---- */

/* Lines of a `case`: the words before -> the words that may come. */
static void write_completion_words(void)
{
    char before[GROUP_SIZE] = "";

    printf("    '')\n        words='");
    for (unsigned i = 0; i < n_commands; i++) {
        size_t size = strcspn(commands[i].path, " ");

        if (strlen(before) != size || strncmp(before, commands[i].path, size) != 0)
            printf("%s%.*s", i ? " " : "", (int)size, commands[i].path);
        snprintf(before, sizeof(before), "%.*s", (int)size, commands[i].path);
    }
    printf("'\n        ;;\n");
    *before = 0;
    for (unsigned i = 0; i < n_commands; i++) {
        const char *second = strchr(commands[i].path, ' ');
        size_t size = strcspn(commands[i].path, " ");

        if (!second)
            continue;
        if (strlen(before) == size && !strncmp(before, commands[i].path, size)) {
            printf("%s", second);
        } else {
            printf("%s    %.*s)\n        words='%s", *before ? "'\n        ;;\n" : "", (int)size,
                   commands[i].path, second + 1);
            snprintf(before, sizeof(before), "%.*s", (int)size, commands[i].path);
        }
    }
    printf("'\n        ;;\n");
}

static void write_completion_options(void)
{
    for (unsigned i = 0; i < n_commands; i++) {
        const struct command *command = &commands[i];
        bool names = !strncmp(command->arguments, "NAME", 4) && command->args_max;
        bool files = !strncmp(command->arguments, "FILE", 4);

        printf("    '%s')\n        options='", command->path);
        option_names(command->options);
        printf("'\n");
        if (names && strcmp(command->path, "job create") != 0)
            printf("        arguments=names\n");
        else if (files)
            printf("        arguments=files\n");
        printf("        ;;\n");
    }
    printf("    esac\n    options+='");
    option_names(cli_options);
    printf("'\n");
}

/* What options want behind them: files, or one of some words. */
static void write_completion_values(void)
{
    for (unsigned i = 0; i < n_commands; i++)
        option_values(commands[i].options, false);
    printf("    --none");
    for (unsigned i = 0; i < n_commands; i++)
        option_values(commands[i].options, true);
    option_values(cli_options, true);
    printf(")\n        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n        return\n"
           "        ;;\n");
}

static void option_names(const struct option_row *rows)
{
    for (const struct option_row *row = rows; row->name; row++)
        printf(" --%s", row->name);
}

static void option_values(const struct option_row *rows, bool files)
{
    for (const struct option_row *row = rows; row->name; row++) {
        bool is_file =
            row->value && (!strncmp(row->value, "FILE", 4) || !strncmp(row->value, "OUT", 3) ||
                           !strcmp(row->value, "PATH"));

        if (files && is_file) {
            printf(" | --%s", row->name);
            if (row->letter)
                printf(" | -%c", row->letter);
        } else if (!files && row->value && strchr(row->value, '|')) {
            printf("    --%s)\n        words='", row->name);
            for (const char *c = row->value; *c; c++)
                putchar(*c == '|' ? ' ' : *c);
            printf("'\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
                   "        return\n        ;;\n");
        }
    }
}
