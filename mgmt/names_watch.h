/* names_watch.h - the names files followed as they change.
 *
 * Watches the folders, since files are replaced by renaming and Kubernetes swaps links. A change is
 * taken up when the folder has been quiet for a moment; a file that is then refused leaves the
 * table in force as it was, and that is said once.
 *
 * Thread: mgmt; names_watch_fd() becomes readable when names_watch_step() has something to do. */
#ifndef MGMT_NAMES_WATCH_H
#define MGMT_NAMES_WATCH_H

#include "conf.h"
#include "names.h"

struct names_watch;

/* files: copied. Loads and publishes them the first time; a refusal is an error here. */
int names_watch_open(struct names_pool *pool, struct names_board *board,
                     const struct conf_texts *files, struct names_watch **ret_watch,
                     char reterr_text[static NAMES_ERROR_SIZE]);
void names_watch_close(struct names_watch *watch);
int names_watch_fd(const struct names_watch *watch);
void names_watch_step(struct names_watch *watch, uint64_t steady_ns);

#endif
