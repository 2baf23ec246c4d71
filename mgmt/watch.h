/* watch.h - `--watch`: a command that looks, again every second until it is interrupted.
 *
 * On a terminal each look replaces the one before; elsewhere they follow one another. */
#ifndef MGMT_WATCH_H
#define MGMT_WATCH_H

#include "command.h"

#define OPTION_WATCH(place) \
    OPTION_FLAG("watch", 'w', place, "again every second, until interrupted")

/* look prints to stdout. -> enum cli_exit of the first look that is not CLI_DONE, or of the only
 * one */
int watch(const struct cli *cli, bool again, int (*look)(const struct cli *cli));

#endif
