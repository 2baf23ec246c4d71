/* log.h - what the daemon has to say: to stderr, to the journal, or to syslog when detached.
 *
 * Only mgmt speaks; workers count. One line a message, no newline in `format`. Thread: mgmt. */
#ifndef MGMT_LOG_H
#define MGMT_LOG_H

#include <stdbool.h>

/* detached: stderr is gone, syslog takes its place. */
void log_open(bool detached);
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
