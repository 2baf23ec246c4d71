/* cmd_recording_view.c - `tapedeck recording view`: matched entries, a line each. */
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "../writer/entry_summary.h"
#include "recording_files.h"
#include "recording_query.h"
#include "statement_filter.h"

static struct {
    const char *kfl;
    bool follow;
} values;

const struct option_row cmd_recording_view_options[] = {
    OPTION_TEXT("kfl", 0, "STMT", values.kfl,
                "entries for which it is true, also those the job did not match"),
    OPTION_FLAG("follow", 'f', values.follow, "go on as entries come (one recording)"),
    OPTION_END,
};

enum { LINE_SIZE = 64 << 20, SUMMARY_SIZE = 512, TEXT_SIZE = 300 };

struct view {
    const struct cli *cli;
    struct statement_filter *filter; /* --kfl; null: every entry */
    bool asked;                      /* the entries that come are those for which it is true */
    struct statement_filter *job;    /* the job's own statement, for what it redacts */
    char *line;
};

static int view_one(struct view *view, const char *name);
static bool show(void *context, const char *line, size_t size);
static void show_line(const struct kfl_value *entry);
static void end_text(const struct kfl_value *entry, const char *side, char *buffer, size_t size);

int cmd_recording_view(const struct cli *cli)
{
    struct view view = {.cli = cli};
    int status = CLI_DONE;

    if (values.follow && cli->n_args > 1) {
        cli_error(cli, "--follow goes with one recording");
        return CLI_USAGE;
    }
    if (values.kfl)
        status = statement_filter_create(cli, values.kfl, &view.filter);
    view.line = malloc(LINE_SIZE);
    ensure(view.line);
    for (int i = 0; !status && i < cli->n_args; i++)
        status = view_one(&view, cli->args[i]);
    free(view.line);
    statement_filter_free(view.filter);
    return status;
}

static int view_one(struct view *view, const char *name)
{
    struct recording_files files;
    char path[4096];
    int err, status = recording_files_open(view->cli, name, &files);

    if (status)
        return status;
    view->job = NULL;
    if (strstr(files.kfl, "redact"))
        status = statement_filter_create(view->cli, files.kfl, &view->job);
    view->asked = view->filter && !values.follow;
    if (!status && view->asked) {
        const struct recording_query query = {.entry = show, .context = view};

        recording_files_hold(&files);
        status = recording_query_run(view->cli, &files, statement_filter_statement(view->filter),
                                     &query);
        err = 0;
    } else {
        err = status
                  ? 0
                  : recording_files_entries(&files, values.follow, show, view, path, sizeof(path));
    }
    if (err) {
        cli_error(view->cli, "%s: %s", path, strerror(-err));
        status = CLI_FAILED;
    }
    statement_filter_free(view->job);
    recording_files_close(&files);
    return status;
}

static bool show(void *context, const char *line, size_t size)
{
    struct view *view = context;
    struct kfl_value *entry = NULL;
    int n;

    if (view->job) { /* first what must not be seen is taken out, then the rest is asked */
        statement_filter_asks(view->job, line, size, &entry);
        n = entry ? kfl_json_print(entry, view->line, LINE_SIZE) : -1;
        if (n < 0)
            return true;
        line = view->line;
        size = (size_t)n;
    }
    if (view->filter && !view->asked && !statement_filter_asks(view->filter, line, size, &entry))
        return true;
    if (view->cli->json) {
        printf("%.*s\n", (int)size, line);
        return !ferror(stdout);
    }
    if (!entry || !view->filter || view->asked) {
        static struct kfl_arena *arena;
        const char *what;

        if (!arena)
            arena = kfl_arena_create(LINE_SIZE * 4);
        ensure(arena);
        kfl_arena_reset(arena);
        entry = kfl_json_parse(arena, line, size, &what);
    }
    if (entry)
        show_line(entry);
    return !ferror(stdout);
}

/* 03:04:05.000001  10.0.0.7:40112 (frontend) > 10.0.0.1:80 (web)  HTTP  GET /api -> 500 */
static void show_line(const struct kfl_value *entry)
{
    char start[64], protocol[32], src[TEXT_SIZE], dst[TEXT_SIZE], summary[SUMMARY_SIZE];

    entry_text(entry, "startTime", start, sizeof(start));
    entry_text(entry, "protocol.abbr", protocol, sizeof(protocol));
    end_text(entry, "src", src, sizeof(src));
    end_text(entry, "dst", dst, sizeof(dst));
    entry_summary(entry, summary, sizeof(summary));
    if (strlen(start) > 26) { /* date and time to the microsecond */
        start[10] = ' ';
        start[26] = 0;
    }
    printf("%-26s  %s > %s  %s\n", start, src, dst, summary);
}

static void end_text(const struct kfl_value *entry, const char *side, char *buffer, size_t size)
{
    char path[32], ip[64], port[16], name[200];
    bool v6;

    snprintf(path, sizeof(path), "%s.ip", side);
    v6 = strchr(entry_text(entry, path, ip, sizeof(ip)), ':');
    snprintf(path, sizeof(path), "%s.port", side);
    entry_text(entry, path, port, sizeof(port));
    snprintf(path, sizeof(path), "%s.name", side);
    entry_text(entry, path, name, sizeof(name));
    snprintf(buffer, size, "%s%s%s%s%s%s%s%s", v6 && *port ? "[" : "", ip, v6 && *port ? "]" : "",
             *port ? ":" : "", port, *name ? " (" : "", name, *name ? ")" : "");
}
