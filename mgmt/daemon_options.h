/* daemon_options.h - what the command line of tapedeckd can say; --help and the manual show it. */
#ifndef MGMT_DAEMON_OPTIONS_H
#define MGMT_DAEMON_OPTIONS_H

#include "options.h"

#define CONF_DEFAULT "/etc/tapedeck/tapedeck.conf"

struct daemon_options {
    const char *conf; /* null: CONF_DEFAULT */
    bool check, foreground, help, version;
};

extern struct daemon_options daemon_options; /* filled by options_parse() */
extern const struct option_row daemon_option_rows[];

#endif
