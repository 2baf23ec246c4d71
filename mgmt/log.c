#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum { LINE_SIZE = 2048 };

static bool to_syslog, to_journal;

static void say(int priority, const char *format, va_list args);

void log_open(bool detached)
{
    to_syslog = detached;
    to_journal = getenv("JOURNAL_STREAM") != NULL;
    if (to_syslog)
        openlog("tapedeckd", LOG_PID, LOG_DAEMON);
}

void log_info(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(LOG_INFO, format, args);
    va_end(args);
}

void log_warning(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(LOG_WARNING, format, args);
    va_end(args);
}

void log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(LOG_ERR, format, args);
    va_end(args);
}

/* What others wrote (names, paths, statements) may hold control characters: never a new line. */
static void say(int priority, const char *format, va_list args)
{
    char line[LINE_SIZE];

    vsnprintf(line, sizeof(line), format, args);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    if (to_syslog)
        syslog(priority, "%s", line);
    else if (to_journal)
        fprintf(stderr, "<%d>%s\n", priority, line);
    else
        fprintf(stderr, "tapedeckd: %s%s\n",
                priority == LOG_ERR       ? "error: "
                : priority == LOG_WARNING ? "warning: "
                                          : "",
                line);
}
