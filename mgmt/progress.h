/* progress.h - how far long work has come, for people who wait: a line on the terminal that stderr
 * is; elsewhere nothing.
 *
 *     [===========>            ]  46%  1.2 GiB of 2.6 GiB, 310 MiB/s, 4s left
 *
 * Work that is over at once shows nothing. One thread. */
#ifndef MGMT_PROGRESS_H
#define MGMT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool on; /* there is somebody who sees it */
    bool drawn;
    uint64_t begun_ns, drawn_ns;
};

/* stdout_too: lines go to stdout meanwhile, so not when that is the terminal, too. */
void progress_begin(struct progress *progress, bool stdout_too);
/* Bytes; total 0: nobody knows. */
void progress_show(struct progress *progress, uint64_t done, uint64_t total);
void progress_end(struct progress *progress); /* nothing of it is seen, until the next */
/* For export and verify: context is the progress. -> true */
bool progress_callback(void *context, uint64_t done, uint64_t total);

#endif
