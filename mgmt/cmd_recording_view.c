/* cmd_recording_view.c - `tapedeck recording view`: matched entries, a line each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "../writer/entry_summary.h"
#include "control.h"
#include "recording_entries.h"
#include "recording_files.h"
#include "recording_query.h"
#include "statement_asked.h"

static struct {
    const char *kfl;
    bool follow;
} values;

const struct option_row cmd_recording_view_options[] = {
    OPTION_TEXT(
        "kfl", 0, "STMT", values.kfl,
        "entries for which it is true: also those the job did not match, but with --follow"),
    OPTION_FLAG("follow", 'f', values.follow,
                "go on as entries come, until all are over; without NAME: what all jobs match from "
                "now on"),
    OPTION_END,
};

enum { LINE_SIZE = 64 << 20, ARENA_SIZE = 256 << 20, SUMMARY_SIZE = 512, TEXT_SIZE = 300 };
enum { POLL_MS = 200, LOOK_POLLS = 5 };

struct viewed { /* a recording */
    struct view *view;
    char *name;
    struct kfl_statement *job;         /* its statement, for what it hides; null: nothing */
    struct recording_entries *entries; /* null: it is gone */
    bool over;                         /* nothing more comes */
};

struct view {
    const struct cli *cli;
    struct kfl_statement *asked; /* --kfl; null: every entry */
    bool by_engine;              /* the entries that come are those for which it is true */
    bool names;                  /* more than one recording: each line says which */
    struct viewed **viewed;
    unsigned n_viewed;
    struct kfl_arena *arena;
    char *line;
};

static int view_one(struct view *view, const char *name);
static int follow(struct view *view);
static int open_named(struct view *view);
static int look_if_over(struct view *view);
static int find_all(struct view *view, bool first);
static bool ask(const struct view *view, const char *verb, const char *name,
                struct doc **ret_reply);
static int add(struct view *view, const struct doc *row, bool from_now, struct viewed **ret_viewed);
static int read_entries(struct viewed *viewed);
static bool show(void *context, const char *line, size_t size);
static void show_line(const struct viewed *viewed, struct kfl_value *entry);
static void end_text(struct kfl_value *entry, const char *side, char *buffer, size_t size);
static void release(struct view *view);

int cmd_recording_view(const struct cli *cli)
{
    struct view view = {.cli = cli, .names = cli->n_args != 1};
    int status = CLI_DONE;

    if (!cli->n_args && !values.follow) {
        cli_error(cli, "name a recording (tapedeck recording list has them), or write --follow for "
                       "what all jobs match from now on");
        return CLI_USAGE;
    }
    if (values.kfl)
        status = statement_asked(cli, values.kfl, &view.asked);
    view.by_engine = view.asked && !values.follow;
    view.arena = kfl_arena_create(ARENA_SIZE);
    view.line = malloc(LINE_SIZE);
    ensure(view.arena && view.line);
    if (!status && values.follow)
        status = follow(&view);
    for (int i = 0; !status && !values.follow && i < cli->n_args; i++)
        status = view_one(&view, cli->args[i]);
    release(&view);
    return status;
}

static int view_one(struct view *view, const char *name)
{
    struct recording_files files;
    struct viewed *viewed;
    int status = recording_files_open(view->cli, name, &files);

    if (status)
        return status;
    recording_files_hold(&files);
    status = add(view, client_row(files.reply), false, &viewed);
    if (!status && view->by_engine) {
        const struct recording_query query = {.entry = show, .context = viewed};

        status = recording_query_run(view->cli, &files, view->asked, &query);
    } else if (!status) {
        status = read_entries(viewed);
    }
    recording_files_close(&files);
    return status;
}

/* ---- as they come ---- */
/* Those that are named, until all are over; or all there are and will be, without end. A recorder
 * that is away for a while is waited for. */
static int follow(struct view *view)
{
    bool all = !view->cli->n_args, going = true;
    int status = all ? find_all(view, true) : open_named(view);

    for (unsigned turn = 0; going && !status; turn++) {
        if (turn)
            client_wait_ms(POLL_MS);
        if (turn % LOOK_POLLS == 0)
            status = all ? find_all(view, false) : look_if_over(view);
        going = all;
        for (unsigned i = 0; i < view->n_viewed && !status; i++) {
            going |= !view->viewed[i]->over;
            status = read_entries(view->viewed[i]);
        }
        fflush(stdout);
        going &= !ferror(stdout);
    }
    return status;
}

static int open_named(struct view *view)
{
    const struct cli *cli = view->cli;
    int status = CLI_DONE;

    for (int i = 0; i < cli->n_args && !status; i++) {
        struct viewed *viewed;
        struct doc *reply;

        status = client_ask(cli, client_request("recording.show", cli->args[i]), &reply);
        if (status)
            break;
        status = add(view, client_row(reply), false, &viewed);
        doc_free(reply);
    }
    return status;
}

/* A recording that is gone is over. */
static int look_if_over(struct view *view)
{
    struct doc *reply;

    for (unsigned i = 0; i < view->n_viewed; i++)
        if (ask(view, "recording.show", view->viewed[i]->name, &reply)) {
            view->viewed[i]->over = doc_bool(client_row(reply), "over", true);
            doc_free(reply);
        }
    return CLI_DONE;
}

/* first: what is in those that are there already is passed over. */
static int find_all(struct view *view, bool first)
{
    struct doc *reply;
    int status = CLI_DONE;

    if (first)
        status = client_ask(view->cli, client_request("recording.list", NULL), &reply);
    else if (!ask(view, "recording.list", NULL, &reply))
        return CLI_DONE;
    if (status)
        return status;
    for (size_t i = 0; !status && i < doc_size(client_rows(reply)); i++) {
        const struct doc *row = doc_at(client_rows(reply), i);
        struct viewed *viewed;
        unsigned known = 0;

        while (known < view->n_viewed &&
               (!view->viewed[known]->entries ||
                strcmp(view->viewed[known]->name, doc_text(row, "name", "")) != 0))
            known++;
        if (known == view->n_viewed)
            status = add(view, row, first, &viewed);
    }
    doc_free(reply);
    return status;
}

/* -> is there an answer? */
static bool ask(const struct view *view, const char *verb, const char *name, struct doc **ret_reply)
{
    struct doc *request = client_request(verb, name);
    char error[CONTROL_ERROR_SIZE];
    int err = control_call(view->cli->socket, request, ret_reply, error);

    doc_free(request);
    return !err;
}

/* row: of recording.show. */
static int add(struct view *view, const struct doc *row, bool from_now, struct viewed **ret_viewed)
{
    const char *folder = doc_text(row, "folder", ""), *kfl = doc_text(row, "kfl", "");
    struct viewed *viewed;

    if (access(folder, R_OK | X_OK)) {
        cli_error(view->cli, "%s: %s", folder, strerror(errno));
        return CLI_FAILED;
    }
    viewed = calloc(1, sizeof(*viewed));
    view->viewed = realloc(view->viewed, (view->n_viewed + 1) * sizeof(*view->viewed));
    ensure(viewed && view->viewed);
    view->viewed[view->n_viewed++] = viewed;
    viewed->view = view;
    viewed->name = strdup(doc_text(row, "name", ""));
    ensure(viewed->name);
    viewed->entries = recording_entries_open(folder, viewed->name, from_now);
    ensure(viewed->entries);
    *ret_viewed = viewed;
    return strstr(kfl, "redact") ? statement_asked(view->cli, kfl, &viewed->job) : CLI_DONE;
}

static int read_entries(struct viewed *viewed)
{
    int err = viewed->entries ? recording_entries_step(viewed->entries, show, viewed) : 0;

    if (err == -ENOENT) { /* deleted; another of its name may come */
        recording_entries_close(viewed->entries);
        viewed->entries = NULL;
        viewed->over = true;
        return CLI_DONE;
    }
    if (err)
        cli_error(viewed->view->cli, "%s: %s", recording_entries_path(viewed->entries),
                  strerror(-err));
    return err ? CLI_FAILED : CLI_DONE;
}

/* ---- an entry ---- */
static bool show(void *context, const char *line, size_t size)
{
    const struct viewed *viewed = context;
    const struct view *view = viewed->view;
    struct kfl_value *entry, *record;
    const char *what;
    int n;

    kfl_arena_reset(view->arena);
    entry = kfl_json_parse(view->arena, line, size, &what);
    /* What must not be seen goes first, then the rest is asked. */
    if (!entry || (viewed->job && !kfl_statement_redact(viewed->job, entry, view->arena)))
        return true;
    record = entry_member(entry, "record");
    if (record && record->type == KFL_STRING) { /* it was not read from it when it was stored */
        record->text = viewed->name;
        record->size = (uint32_t)strlen(viewed->name);
    }
    if (view->asked && !view->by_engine &&
        !kfl_statement_eval(view->asked, entry, view->arena, NULL, NULL))
        return true;
    if (!view->cli->json) {
        show_line(viewed, entry);
        return !ferror(stdout);
    }
    n = kfl_json_print(entry, view->line, LINE_SIZE);
    if (n >= 0)
        printf("%.*s\n", n, view->line);
    return !ferror(stdout);
}

/* 03:04:05.000001  10.0.0.7:40112 (frontend) > 10.0.0.1:80 (web)  HTTP  GET /api -> 500 */
static void show_line(const struct viewed *viewed, struct kfl_value *entry)
{
    char start[64], src[TEXT_SIZE], dst[TEXT_SIZE], summary[SUMMARY_SIZE];
    bool names = viewed->view->names;

    entry_text(entry, "startTime", start, sizeof(start));
    end_text(entry, "src", src, sizeof(src));
    end_text(entry, "dst", dst, sizeof(dst));
    entry_summary(entry, summary, sizeof(summary));
    if (strlen(start) > 26) { /* date and time to the microsecond */
        start[10] = ' ';
        start[26] = 0;
    }
    printf("%-26s  %s > %s  %s%s%s%s\n", start, src, dst, summary, names ? "  [" : "",
           names ? viewed->name : "", names ? "]" : "");
}

static void end_text(struct kfl_value *entry, const char *side, char *buffer, size_t size)
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

static void release(struct view *view)
{
    for (unsigned i = 0; i < view->n_viewed; i++) {
        recording_entries_close(view->viewed[i]->entries);
        kfl_statement_free(view->viewed[i]->job);
        free(view->viewed[i]->name);
        free(view->viewed[i]);
    }
    free(view->viewed);
    kfl_statement_free(view->asked);
    kfl_arena_free(view->arena);
    free(view->line);
}
