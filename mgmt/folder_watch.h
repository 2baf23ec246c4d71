/* folder_watch.h - are there changes in some folders? By inotify.
 *
 * Folders and not files, since files are replaced by renaming. Changes are told when it has been
 * quiet for a moment, or after a while at the latest: then whoever asked looks at what there is.
 *
 * Thread: mgmt; the descriptor becomes readable when folder_watch_settled() has something to do. */
#ifndef MGMT_FOLDER_WATCH_H
#define MGMT_FOLDER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct folder_watch {
    int fd;
    const char *ending;            /* of the names that count; null: all */
    uint64_t first_ns, changed_ns; /* steady time of the changes not told yet; 0: none */
};

/* Always to be closed. Without inotify (fd -1) nothing is ever told. */
void folder_watch_open(struct folder_watch *watch, const char *ending);
void folder_watch_close(struct folder_watch *watch);
/* The folder that the path's last part is in. Says so when it cannot be watched. */
void folder_watch_add(struct folder_watch *watch, const char *path);
/* Have there been changes, and is it quiet? They are forgotten then. */
bool folder_watch_settled(struct folder_watch *watch, uint64_t steady_ns);

#endif
