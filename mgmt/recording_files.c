#include "recording_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 200, LINE_MAX_SIZE = 64 << 20 };

static int read_file(const char *path, long *offset,
                     bool (*visit)(void *context, const char *line, size_t size), void *context,
                     bool *ret_ended);
static int follow_newest(const struct recording_files *files, const char *path, long offset,
                         bool (*visit)(void *context, const char *line, size_t size),
                         void *context);

int recording_files_open(const struct cli *cli, const char *name, struct recording_files *ret_files)
{
    struct recording_files files = {.name = name, .hold = -1};
    int status = client_ask(cli, client_request("recording.show", name), &files.reply);
    int err;

    if (status)
        return status;
    files.folder = doc_text(client_row(files.reply), "folder", "");
    files.kfl = doc_text(client_row(files.reply), "kfl", "");
    files.under_way = doc_bool(client_row(files.reply), "under_way", false);
    err = segment_list(files.folder, name, &files.segments, &files.n_segments, &files.bytes);
    if (!err && access(files.folder, R_OK | X_OK))
        err = -errno;
    if (err) {
        cli_error(cli, "%s: %s", files.folder, strerror(-err));
        recording_files_close(&files);
        return CLI_FAILED;
    }
    *ret_files = files;
    return CLI_DONE;
}

void recording_files_hold(struct recording_files *files)
{
    files->hold = open(files->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->hold >= 0)
        flock(files->hold, LOCK_SH);
}

void recording_files_close(struct recording_files *files)
{
    if (files->hold >= 0)
        close(files->hold);
    free(files->segments);
    doc_free(files->reply);
    memset(files, 0, sizeof(*files));
}

int recording_files_path(const struct recording_files *files, unsigned i, enum segment_file file,
                         char *ret_path, size_t size)
{
    int err =
        segment_path(files->folder, files->name, &files->segments[i].name, file, ret_path, size);

    return err ? err : (access(ret_path, F_OK) ? -ENOENT : 0);
}

int recording_files_entries(const struct recording_files *files, bool follow,
                            bool (*visit)(void *context, const char *line, size_t size),
                            void *context, char *reterr_path, size_t reterr_size)
{
    char path[4096];
    bool ended = false;
    long offset = 0;
    int err;

    for (unsigned i = 0; i < files->n_segments && !ended; i++) {
        if (recording_files_path(files, i, SEGMENT_ENTRIES, path, sizeof(path)))
            continue;
        offset = 0;
        err = read_file(path, &offset, visit, context, &ended);
        if (err && err != -ENOENT) {
            snprintf(reterr_path, reterr_size, "%s", path);
            return err;
        }
    }
    snprintf(path, sizeof(path), "%s/" SEGMENT_ENTRIES_NAME, files->folder);
    offset = 0;
    err = ended ? 0 : read_file(path, &offset, visit, context, &ended);
    if (!err && !ended && follow)
        err = follow_newest(files, path, offset, visit, context);
    if (err == -ENOENT)
        err = 0; /* nothing matched yet */
    if (err)
        snprintf(reterr_path, reterr_size, "%s", path);
    return err;
}

/* Whole lines from *offset on, which moves behind the last. */
static int read_file(const char *path, long *offset,
                     bool (*visit)(void *context, const char *line, size_t size), void *context,
                     bool *ret_ended)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;

    if (!file)
        return -errno;
    if (fseek(file, *offset, SEEK_SET)) {
        fclose(file);
        return -errno;
    }
    while (!*ret_ended && (n = getline(&line, &capacity, file)) > 0 && line[n - 1] == '\n') {
        *offset += n;
        if (n > 1 && n < LINE_MAX_SIZE)
            *ret_ended = !visit(context, line, (size_t)n - 1);
    }
    free(line);
    fclose(file);
    return 0;
}

/* When the file is renamed away, what came at its end is read under its new name by whoever looks
 * again; here the next one is begun. The little that may come between is seen: the file is read
 * once more through the segment it went to. */
static int follow_newest(const struct recording_files *files, const char *path, long offset,
                         bool (*visit)(void *context, const char *line, size_t size), void *context)
{
    struct stat now, before = {0};
    bool ended = false;

    stat(path, &before);
    while (!ended) {
        struct segment_info *segments = NULL;
        unsigned n = 0;
        uint64_t bytes;

        fflush(stdout);
        client_wait_ms(POLL_MS);
        if (access(files->folder, F_OK))
            return 0; /* deleted */
        if (stat(path, &now))
            continue;
        if (before.st_ino && now.st_ino != before.st_ino) {
            char renamed[4096];

            /* The newest that has entries of its own is the one we were reading. */
            if (!segment_list(files->folder, files->name, &segments, &n, &bytes))
                while (n && !segments[n - 1].bytes[SEGMENT_ENTRIES])
                    n--;
            if (n && !segment_path(files->folder, files->name, &segments[n - 1].name,
                                   SEGMENT_ENTRIES, renamed, sizeof(renamed)))
                read_file(renamed, &offset, visit, context, &ended);
            free(segments);
            offset = 0;
        }
        before = now;
        if (!ended)
            read_file(path, &offset, visit, context, &ended);
    }
    return 0;
}
