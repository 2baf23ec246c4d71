/* cmd_recording_export.c - `tapedeck recording export`: one PCAPNG in time order. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "../writer/export.h"
#include "progress.h"
#include "recording_files.h"
#include "recording_query.h"
#include "statement_asked.h"
#include "units.h"

static struct {
    const char *kfl, *out;
    int64_t stream;
} values = {.stream = -1};

const struct option_row cmd_recording_export_options[] = {
    OPTION_TEXT("kfl", 0, "STMT", values.kfl, "only streams with an entry for which it is true"),
    OPTION_INT("stream", 0, "N", values.stream, 0, INT64_MAX, "only the stream of this number"),
    OPTION_TEXT("out", 'o', "FILE", values.out, "where to (NAME.pcapng); - is stdout"),
    OPTION_END,
};

struct export
{
    const struct cli *cli;
    struct recording_files *files; /* one for each name */
    unsigned n_files;
    char **paths;
    unsigned n_paths;
    unsigned *recording_of;      /* by path: which of files */
    struct kfl_statement *asked; /* --kfl */
    uint64_t **streams;          /* by recording: numbers that --kfl wants, sorted */
    size_t *n_streams;
    unsigned collecting;
};

static int open_recordings(struct export *export);
static int find_streams(struct export *export);
static void collect(void *context, uint64_t stream);
static int compare(const void *a, const void *b);
static bool is_wanted(void *context, unsigned segment, uint64_t stream);
static int write_out(struct export *export);
static void release(struct export *export);

int cmd_recording_export(const struct cli *cli)
{
    struct export export = {.cli = cli};
    int status = CLI_DONE;

    if (values.out && !strcmp(values.out, "-") && client_is_terminal()) {
        cli_error(cli, "stdout is a terminal: write `| wireshark -k -i -` behind it, or -o FILE");
        return CLI_USAGE;
    }
    if (values.kfl)
        status = statement_asked(cli, values.kfl, &export.asked);
    if (!status)
        status = open_recordings(&export);
    if (!status && values.kfl)
        status = find_streams(&export);
    if (!status)
        status = write_out(&export);
    release(&export);
    return status;
}

static int open_recordings(struct export *export)
{
    unsigned n = (unsigned)export->cli->n_args;
    char path[4096];

    export->files = calloc(n, sizeof(export->files[0]));
    export->streams = calloc(n, sizeof(export->streams[0]));
    export->n_streams = calloc(n, sizeof(export->n_streams[0]));
    ensure(export->files && export->streams && export->n_streams);
    for (unsigned i = 0; i < n; i++) {
        struct recording_files *files = &export->files[i];
        int status = recording_files_open(export->cli, export->cli->args[i], files);

        if (status)
            return status;
        recording_files_hold(files);
        export->n_files++;
        export->paths =
            realloc(export->paths, (export->n_paths + files->n_segments + 1) * sizeof(char *));
        export->recording_of = realloc(
            export->recording_of, (export->n_paths + files->n_segments + 1) * sizeof(unsigned));
        ensure(export->paths && export->recording_of);
        for (unsigned s = 0; s < files->n_segments; s++) {
            if (recording_files_path(files, s, SEGMENT_PCAPNG, path, sizeof(path)))
                continue;
            export->recording_of[export->n_paths] = i;
            export->paths[export->n_paths++] = strdup(path);
        }
    }
    return CLI_DONE;
}

static int find_streams(struct export *export)
{
    const struct recording_query query = {.stream = collect, .context = export};

    for (unsigned i = 0; i < export->n_files; i++) {
        int status;

        export->collecting = i;
        status = recording_query_run(export->cli, &export->files[i], export->asked, &query);
        if (status)
            return status;
        if (export->n_streams[i])
            qsort(export->streams[i], export->n_streams[i], sizeof(uint64_t), compare);
    }
    return CLI_DONE;
}

static void collect(void *context, uint64_t stream)
{
    struct export *export = context;
    unsigned i = export->collecting;
    size_t n = export->n_streams[i];

    if (n && export->streams[i][n - 1] == stream) /* its next entry */
        return;
    if (!(n & (n - 1))) /* grows at each power of two */
        export->streams[i] = realloc(export->streams[i], (n ? n * 2 : 1) * sizeof(uint64_t));
    ensure(export->streams[i]);
    export->streams[i][export->n_streams[i]++] = stream;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool is_wanted(void *context, unsigned segment, uint64_t stream)
{
    struct export *export = context;
    unsigned i = export->recording_of[segment];

    if (values.stream >= 0 && stream != (uint64_t)values.stream)
        return false;
    return !values.kfl ||
           (export->n_streams[i] &&
            bsearch(&stream, export->streams[i], export->n_streams[i], sizeof(uint64_t), compare));
}

static int write_out(struct export *export)
{
    const struct cli *cli = export->cli;
    bool to_stdout = values.out && !strcmp(values.out, "-");
    char path[4096], error[EXPORT_ERROR_SIZE] = "", packets[UNITS_TEXT_SIZE], size[UNITS_TEXT_SIZE];
    struct export_result result = {0};
    struct progress progress;
    struct export_config config = {
        .segments = (const char *const *)export->paths,
        .n_segments = export->n_paths,
        .wanted = values.kfl || values.stream >= 0 ? is_wanted : NULL,
        .wanted_context = export,
        .output = STDOUT_FILENO,
        .progress = progress_callback,
        .progress_context = &progress,
    };
    uint64_t stream = (uint64_t)values.stream;
    int err;

    if (values.stream >= 0 && !values.kfl) {
        config.wanted = export_wants_stream;
        config.wanted_context = &stream;
    }
    snprintf(path, sizeof(path), "%s", values.out ? values.out : cli->args[0]);
    if (!values.out)
        snprintf(path + strlen(path), sizeof(path) - strlen(path), ".pcapng");
    if (!to_stdout)
        config.output = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (config.output < 0) {
        cli_error(cli, "%s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    progress_begin(&progress, false);
    err = export_run(&config, &result, error);
    progress_end(&progress);
    if (!to_stdout && close(config.output) && !err)
        err = -errno;
    if (err) {
        cli_error(cli, "%s", *error ? error : strerror(-err));
        return CLI_FAILED;
    }
    fprintf(stderr, "%s: %s packets, %s\n", to_stdout ? "stdout" : path,
            units_format_count(result.packets, packets), units_format_size(result.bytes, size));
    if (result.n_damaged) {
        cli_error(cli,
                  "%u segments end in something damaged: exported up to there; see tapedeck "
                  "recording verify",
                  result.n_damaged);
        return CLI_FAILED;
    }
    return CLI_DONE;
}

static void release(struct export *export)
{
    for (unsigned i = 0; i < export->n_paths; i++)
        free(export->paths[i]);
    for (unsigned i = 0; i < export->n_files; i++) {
        free(export->streams[i]);
        recording_files_close(&export->files[i]);
    }
    free(export->paths);
    free(export->recording_of);
    free(export->streams);
    free(export->n_streams);
    free(export->files);
    kfl_statement_free(export->asked);
}
