/* cmd_recording_verify.c - `tapedeck recording verify`: is every block, index and count in order?
 */
#include <string.h>

#include "../writer/verify.h"
#include "progress.h"
#include "recording_files.h"
#include "style.h"
#include "units.h"

const struct option_row cmd_recording_verify_options[] = {OPTION_END};

struct checking {
    const struct cli *cli;
    const char *name;
    struct progress progress;
};

static int verify_one(const struct cli *cli, const char *name);
static void say(void *context, const char *text);
static bool show_progress(void *context, uint64_t done, uint64_t total);

int cmd_recording_verify(const struct cli *cli)
{
    int status = CLI_DONE;

    for (int i = 0; i < cli->n_args; i++) {
        int one = verify_one(cli, cli->args[i]);

        status = one ? one : status;
    }
    return status;
}

static int verify_one(const struct cli *cli, const char *name)
{
    struct checking checking = {.cli = cli, .name = name};
    struct verify result = {0};
    struct recording_files files;
    char packets[UNITS_TEXT_SIZE], bytes[UNITS_TEXT_SIZE];
    int err, status = recording_files_open(cli, name, &files);

    if (status)
        return status;
    recording_files_hold(&files);
    progress_begin(&checking.progress, false);
    err =
        verify_folder(files.folder, name, files.under_way, say, show_progress, &checking, &result);
    progress_end(&checking.progress);
    recording_files_close(&files);
    if (err) {
        cli_error(cli, "%s: %s", name, strerror(-err));
        return CLI_FAILED;
    }
    if (cli->json) {
        struct doc *row = doc_object();

        doc_set_text(row, "name", name);
        doc_set_uint(row, "problems", result.n_problems);
        doc_set_uint(row, "segments", result.n_segments);
        doc_set_uint(row, "chunks", result.n_chunks);
        doc_set_uint(row, "packets", result.packets);
        doc_set_uint(row, "bytes", result.bytes);
        doc_set_uint(row, "entries", result.entries);
        doc_set_uint(row, "lost", result.lost);
        doc_set_uint(row, "backwards", result.backwards);
        client_print_json_row(row);
        doc_free(row);
    } else {
        printf("%s: %s%s%s: %u segments, %s packets, %s\n", name,
               style_begin(result.n_problems ? STYLE_BAD : STYLE_GOOD, stdout),
               result.n_problems ? "DAMAGED" : "ok", style_end(stdout), result.n_segments,
               units_format_count(result.packets, packets), units_format_size(result.bytes, bytes));
    }
    return result.n_problems ? CLI_FAILED : CLI_DONE;
}

static void say(void *context, const char *text)
{
    struct checking *checking = context;

    progress_end(&checking->progress);
    cli_error(checking->cli, "%s: %s", checking->name, text);
}

static bool show_progress(void *context, uint64_t done, uint64_t total)
{
    return progress_callback(&((struct checking *)context)->progress, done, total);
}
