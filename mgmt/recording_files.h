/* recording_files.h - the files of recordings, for commands that read them: export, view, verify.
 *
 * The daemon says where a recording lies; the files are read by the command itself, also while
 * they are written. One thread. */
#ifndef MGMT_RECORDING_FILES_H
#define MGMT_RECORDING_FILES_H

#include "../writer/segment.h"
#include "client.h"

struct recording_files {
    struct doc *reply; /* of the daemon */
    const char *name, *folder, *kfl;
    bool under_way;
    struct segment_info *segments;
    unsigned n_segments;
    uint64_t bytes;
    int hold; /* on the folder */
};

/* -> CLI_DONE, or the exit status; the message is on stderr. */
int recording_files_open(const struct cli *cli, const char *name,
                         struct recording_files *ret_files);
/* It is not deleted by limits or expiry until it is closed. */
void recording_files_hold(struct recording_files *files);
void recording_files_close(struct recording_files *files);
/* Path of a file of segment i. -> 0, -ENOENT: the segment has no such file. */
int recording_files_path(const struct recording_files *files, unsigned i, enum segment_file file,
                         char *ret_path, size_t size);

#endif
