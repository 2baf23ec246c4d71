/* cmd_recording_ring.c - `tapedeck recording create-from-ring`: a recording of the past. */
#include <string.h>

#include "client.h"
#include "options.h"
#include "show.h"
#include "units.h"

enum { POLL_MS = 100 };

static struct {
    const char *from, *to, *kfl;
    uint64_t expiration;
} values = {.to = "now", .kfl = ""};

const struct option_row cmd_recording_create_from_ring_options[] = {
    OPTION_TEXT("from", 0, "TIME", values.from,
                "RFC 3339, \"HH:MM UTC\" (the last), or so long ago: -10m"),
    OPTION_TEXT("to", 0, "TIME", values.to, "the same (now)"),
    OPTION_TEXT("kfl", 0, "STMT", values.kfl, "streams for which it is true (none: all)"),
    OPTION_MINUTES("expiration", 0, values.expiration,
                   "minutes the recording is kept; 0: until it is deleted (0)"),
    OPTION_END,
};

static int wait_for_end(const struct cli *cli, struct doc **ret_reply);
static int report(const struct cli *cli, const struct doc *row);

int cmd_recording_create_from_ring(const struct cli *cli)
{
    struct doc *request, *reply;
    int status;

    if (!values.from) {
        cli_error(cli, "--from is missing: since when? (--from -10m)");
        return CLI_USAGE;
    }
    request = client_request("recording.create_from_ring", cli->args[0]);
    doc_set_text(request, "from", values.from);
    doc_set_text(request, "to", values.to);
    doc_set_text(request, "kfl", values.kfl);
    doc_set_uint(request, "expiration_ns", values.expiration);
    status = client_ask(cli, request, &reply);
    if (status)
        return status;
    doc_free(reply);
    status = wait_for_end(cli, &reply);
    if (status)
        return status;
    status = report(cli, client_row(reply));
    doc_free(reply);
    return status;
}

/* Ctrl-C ends the waiting, not the cutting. */
static int wait_for_end(const struct cli *cli, struct doc **ret_reply)
{
    char packets[UNITS_TEXT_SIZE];

    for (;;) {
        int status = client_ask(cli, client_request("job.show", cli->args[0]), ret_reply);
        const struct doc *row;

        if (status)
            return status;
        row = client_row(*ret_reply);
        if (strcmp(doc_text(row, "state", ""), "recording") != 0)
            break;
        if (client_shows_progress())
            fprintf(stderr, "\r%s packets",
                    units_format_count(doc_uint(row, "packets", 0), packets));
        doc_free(*ret_reply);
        client_wait_ms(POLL_MS);
    }
    if (client_shows_progress())
        fprintf(stderr, "\r\033[K");
    return CLI_DONE;
}

static int report(const struct cli *cli, const struct doc *row)
{
    const struct doc *runs = doc_get(row, "runs");
    const struct doc *past = doc_size(runs) ? doc_get(doc_at(runs, 0), "past") : NULL;
    char text[UNITS_TEXT_SIZE];

    show_past(cli, past);
    if (strcmp(doc_text(row, "state", ""), "done") != 0) {
        cli_error(cli, "%s: %s", doc_text(row, "state", ""), doc_text(row, "reason", ""));
        return CLI_FAILED;
    }
    if (cli->json) {
        client_print_json_row(row);
        return CLI_DONE;
    }
    printf("recording %s: %s streams, ", cli->args[0],
           units_format_count(doc_uint(row, "streams", 0), text));
    printf("%s packets\n", units_format_count(doc_uint(row, "packets", 0), text));
    return CLI_DONE;
}
