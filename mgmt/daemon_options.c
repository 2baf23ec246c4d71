#include "daemon_options.h"

struct daemon_options daemon_options;

const struct option_row daemon_option_rows[] = {
    OPTION_TEXT("config", 'c', "FILE", daemon_options.conf, "configuration (" CONF_DEFAULT ")"),
    OPTION_FLAG("check", 0, daemon_options.check,
                "read the configuration, say what is wrong, start nothing"),
    OPTION_FLAG("foreground", 0, daemon_options.foreground,
                "stay in the foreground, log to stderr"),
    OPTION_FLAG("help", 'h', daemon_options.help, "this text"),
    OPTION_FLAG("version", 0, daemon_options.version, "the version"),
    OPTION_END,
};
