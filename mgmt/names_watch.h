/* names_watch.h - the names files followed as they change.
 *
 * Watches their folders (folder_watch.h); Kubernetes swaps links. A file that is refused leaves the
 * table in force as it was, and that is said once.
 *
 * Thread: mgmt. */
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
void names_watch_step(struct names_watch *watch, uint64_t steady_ns);

#endif
