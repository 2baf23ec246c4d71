#include "recording_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

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
