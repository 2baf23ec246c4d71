/* cmd_job.c - `tapedeck job ...` */
#include <string.h>
#include <time.h>

#include "client.h"
#include "job.h"
#include "show.h"
#include "style.h"
#include "table.h"
#include "units.h"
#include "watch.h"

enum { PAST_TURNS = 20, PAST_WAIT_MS = 100 };

static struct {
    const char *kfl, *start, *on_quota, *on_error;
    int64_t iterations, snaplen;
    uint64_t duration, expiration, quota, cutoff;
} create = {.kfl = "",
            .start = "",
            .on_quota = "stop",
            .on_error = "storage",
            .iterations = 1,
            .duration = 60 * NS_PER_MIN,
            .expiration = NS_PER_DAY};

const struct option_row cmd_job_create_options[] = {
    OPTION_TEXT("kfl", 0, "STMT", create.kfl, "the statement (none: every stream)"),
    OPTION_TEXT("start", 0, "TIME", create.start,
                "\"HH:MM UTC\", RFC 3339, or so long ago: -10m, out of the ring (now)"),
    OPTION_INT("iterations", 0, "N", create.iterations, 0, 1000000,
               "days on which it runs; 0: every day (1)"),
    OPTION_MINUTES("duration", 0, create.duration, "minutes of a run (60)"),
    OPTION_MINUTES("expiration", 0, create.expiration,
                   "minutes the recording is kept after the last run; 0: for ever (1440)"),
    OPTION_SIZE("quota", 0, create.quota, "most bytes of its recording (no limit)"),
    OPTION_TEXT("on-quota", 0, "stop|rotate", create.on_quota,
                "at the quota: end, or let the oldest segments go (stop)"),
    OPTION_TEXT("on-error", 0, "fail|retry", create.on_error,
                "when the disk fails it: end, or try again (as storage.on_error says)"),
    OPTION_INT("snaplen", 0, "N", create.snaplen, 0, 1 << 20,
               "bytes of each packet that are kept (all)"),
    OPTION_SIZE("cutoff", 0, create.cutoff, "bytes of each stream that are kept (all)"),
    OPTION_END,
};

static struct {
    const char *search;
    bool watch;
} list;

const struct option_row cmd_job_list_options[] = {
    OPTION_TEXT("search", 0, "TEXT", list.search, "only those with TEXT in name or statement"),
    OPTION_WATCH(list.watch),
    OPTION_END,
};

static struct {
    bool keep_recording;
} delete;

const struct option_row cmd_job_delete_options[] = {
    OPTION_FLAG("keep-recording", 0, delete.keep_recording, "what it recorded stays"),
    OPTION_END,
};

const struct option_row cmd_job_show_options[] = {OPTION_END};
const struct option_row cmd_job_stop_options[] = {OPTION_END};

enum { POLL_MS = 50, POLLS_MAX = 1200 };

static int ask_until_settled(const struct cli *cli, struct doc **ret_reply);

static void say_past(const struct cli *cli);
static void say_warnings(void);
static int list_jobs(const struct cli *cli);

int cmd_job_create(const struct cli *cli)
{
    struct doc *request = client_request("job.create", cli->args[0]);
    char time[UNITS_TEXT_SIZE];
    const struct doc *row;
    const char *state;
    struct doc *reply;
    int status;

    doc_set_text(request, "kfl", create.kfl);
    doc_set_text(request, "start", create.start);
    doc_set_text(request, "on_quota", create.on_quota);
    doc_set_text(request, "on_error", create.on_error);
    doc_set_int(request, "iterations", create.iterations);
    doc_set_int(request, "snaplen", create.snaplen);
    doc_set_uint(request, "duration_ns", create.duration);
    doc_set_uint(request, "expiration_ns", create.expiration);
    doc_set_uint(request, "quota", create.quota);
    doc_set_uint(request, "cutoff", create.cutoff);
    status = client_ask(cli, request, &reply);
    if (status)
        return status;
    row = client_row(reply);
    state = doc_text(row, "state", "");
    if (cli->json) {
        client_print_json(client_rows(reply));
    } else if (!strcmp(state, "scheduled")) {
        say_warnings();
        printf("job %s is scheduled for %s UTC\n", cli->args[0], show_time(row, "next", time));
    } else if (!strcmp(state, "recording")) {
        say_warnings();
        printf("job %s records\n", cli->args[0]);
        if (*create.start)
            say_past(cli);
    }
    if (!strcmp(state, "failed")) {
        cli_error(cli, "job %s has failed: %s", cli->args[0], doc_text(row, "reason", ""));
        status = CLI_FAILED;
    }
    doc_free(reply);
    return status;
}

/* What it says is right, but perhaps not what was meant. */
static void say_warnings(void)
{
    static struct kfl_messages messages;
    struct kfl_statement *statement;

    if (kfl_statement_create(create.kfl, strlen(create.kfl), (int64_t)time(NULL) * 1000, &statement,
                             &messages))
        return;
    kfl_statement_free(statement);
    for (unsigned i = 0; i < messages.n; i++)
        show_message(stderr, &messages.message[i], create.kfl);
}

/* How far back the ring reaches is known a moment after the job has begun. */
static void say_past(const struct cli *cli)
{
    for (unsigned turn = 0; turn < PAST_TURNS; turn++) {
        const struct doc *runs, *past;
        struct doc *reply;
        bool known;

        if (client_ask(cli, client_request("job.show", cli->args[0]), &reply))
            return;
        runs = doc_get(client_row(reply), "runs");
        past = doc_size(runs) ? doc_get(doc_at(runs, 0), "past") : NULL;
        known = !past || doc_time(past, "held_from", 0);
        if (known || turn == PAST_TURNS - 1)
            show_past(cli, past);
        doc_free(reply);
        if (known)
            return;
        client_wait_ms(PAST_WAIT_MS);
    }
}

int cmd_job_list(const struct cli *cli)
{
    return watch(cli, list.watch, list_jobs);
}

static int list_jobs(const struct cli *cli)
{
    static const struct table_column columns[] = {
        {"NAME", false, true}, {"STATE", false, false},  {"NEXT START (UTC)", false, false},
        {"RUNS", true, false}, {"STREAMS", true, false}, {"PACKETS", true, false},
        {"SIZE", true, false}, {"LOST", true, false},    {"STATEMENT", false, true},
    };
    struct table *table;
    const struct doc *rows;
    struct doc *reply;
    int status = client_list(cli, "job.list", list.search, &reply, &rows);

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
        uint64_t lost = 0;

        for (unsigned c = 0; c < JOB_COUNT_COUNT; c++)
            if (job_count_info[c].kind == JOB_COUNT_KIND_LOSS && c != JOB_COUNT_cut &&
                c != JOB_COUNT_entries_lost)
                lost += doc_uint(row, job_count_info[c].name, 0);
        table_cell(table, doc_text(row, "name", ""));
        table_cell(table, doc_text(row, "state", ""));
        table_style(table, style_of_state(doc_text(row, "state", "")));
        table_cell(table, show_time(row, "next", text));
        table_cell(table, units_format_count(doc_uint(row, "n_runs", 0), text));
        table_cell(table, units_format_count(doc_uint(row, "streams", 0), text));
        table_cell(table, units_format_count(doc_uint(row, "packets", 0), text));
        table_cell(table, units_format_size(doc_uint(row, "stored", 0), text));
        table_cell(table, units_format_count(lost, text));
        table_style(table, lost ? STYLE_BAD : STYLE_PLAIN);
        table_cell(table, doc_text(row, "kfl", ""));
    }
    table_print(table, stdout, table_terminal_width());
    for (size_t i = 0; i < doc_size(rows); i++)
        if (*doc_text(doc_at(rows, i), "refused", ""))
            printf("%srefused:%s %s\n", style_begin(STYLE_BAD, stdout), style_end(stdout),
                   doc_text(doc_at(rows, i), "refused", ""));
    doc_free(reply);
    return CLI_DONE;
}

int cmd_job_show(const struct cli *cli)
{
    struct doc *reply;
    const struct doc *row;
    char text[UNITS_TEXT_SIZE];
    int status = client_ask(cli, client_request("job.show", cli->args[0]), &reply);

    if (status)
        return status;
    row = client_row(reply);
    if (cli->json) {
        client_print_json_row(row);
        doc_free(reply);
        return CLI_DONE;
    }
    printf("name        %s\n", doc_text(row, "name", ""));
    printf("state       %s%s%s\n", doc_text(row, "state", ""),
           *doc_text(row, "reason", "") ? ": " : "", doc_text(row, "reason", ""));
    if (*doc_text(row, "refused", ""))
        printf("refused     %s\n", doc_text(row, "refused", ""));
    printf("statement   %s\n", doc_text(row, "kfl", ""));
    printf("created     %s UTC%s\n", show_time(row, "created", text),
           doc_bool(row, "declared", false) ? " (in the configuration)" : "");
    printf("start       %s UTC\n", show_time(row, "start", text));
    printf("next start  %s\n", show_time(row, "next", text));
    printf("duration    %s",
           units_format_duration(doc_uint(row, "duration", 0) * NS_PER_MIN, text));
    if (doc_int(row, "iterations", 1))
        printf(", %lld times\n", (long long)doc_int(row, "iterations", 1));
    else
        printf(", every day\n");
    printf("expires     %s\n", show_time(row, "expires", text));
    if (doc_uint(row, "quota", 0))
        printf("quota       %s, then %s\n", units_format_size(doc_uint(row, "quota", 0), text),
               doc_text(row, "on_quota", ""));
    printf("streams     %s\n", units_format_count(doc_uint(row, "streams", 0), text));
    printf("entries     %s\n", units_format_count(doc_uint(row, "entries", 0), text));
    printf("packets     %s", units_format_count(doc_uint(row, "packets", 0), text));
    printf(", %s\n", units_format_size(doc_uint(row, "bytes", 0), text));
    printf("on disk     %s\n", units_format_size(doc_uint(row, "stored", 0), text));
    show_losses(row, "lost        ");
    show_runs(doc_get(row, "runs"));
    doc_free(reply);
    return CLI_DONE;
}

/* Returns when what was on its way is on disk. */
int cmd_job_stop(const struct cli *cli)
{
    struct doc *reply;
    int status = client_ask(cli, client_request("job.stop", cli->args[0]), &reply);

    if (status)
        return status;
    doc_free(reply);
    status = ask_until_settled(cli, &reply);
    if (status)
        return status;
    if (cli->json) {
        client_print_json_row(client_row(reply));
    } else {
        char streams[UNITS_TEXT_SIZE], packets[UNITS_TEXT_SIZE];

        printf("job %s: %s, %s streams, %s packets\n", cli->args[0],
               doc_text(client_row(reply), "state", ""),
               units_format_count(doc_uint(client_row(reply), "streams", 0), streams),
               units_format_count(doc_uint(client_row(reply), "packets", 0), packets));
    }
    doc_free(reply);
    return CLI_DONE;
}

int cmd_job_delete(const struct cli *cli)
{
    struct doc *request = client_request("job.delete", cli->args[0]);
    struct doc *reply;
    int status;

    doc_set_bool(request, "keep_recording", delete.keep_recording);
    status = client_ask(cli, request, &reply);
    if (status)
        return status;
    doc_free(reply);
    for (unsigned i = 0; i < POLLS_MAX; i++) { /* until it is gone */
        bool there = false;

        request = client_request("job.list", NULL);
        doc_set_text(request, "search", cli->args[0]);
        status = client_ask(cli, request, &reply);
        if (status)
            return status;
        for (size_t k = 0; k < doc_size(client_rows(reply)); k++)
            there |= !strcmp(doc_text(doc_at(client_rows(reply), k), "name", ""), cli->args[0]);
        doc_free(reply);
        if (!there)
            return CLI_DONE;
        client_wait_ms(POLL_MS);
    }
    cli_error(cli, "job %s is still being ended", cli->args[0]);
    return CLI_FAILED;
}

static int ask_until_settled(const struct cli *cli, struct doc **ret_reply)
{
    for (unsigned i = 0; i < POLLS_MAX; i++) {
        int status = client_ask(cli, client_request("job.show", cli->args[0]), ret_reply);

        if (status || !doc_bool(client_row(*ret_reply), "ending", false))
            return status;
        doc_free(*ret_reply);
        client_wait_ms(POLL_MS);
    }
    cli_error(cli, "job %s is still being ended", cli->args[0]);
    return CLI_FAILED;
}
