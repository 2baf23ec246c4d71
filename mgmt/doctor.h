/* doctor.h - is this machine fit to record? Looks, changes nothing, and says what to do.
 *
 * Each finding is a row: ok, warn (it records, but could lose or be slower), fail (it will not).
 * sysfs and procfs are read below `root`, so tests can show it another machine.
 *
 * One thread; no daemon is needed. */
#ifndef MGMT_DOCTOR_H
#define MGMT_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

enum { DOCTOR_TEXT_SIZE = 256, DOCTOR_PATH_SIZE = 512 };

struct doctor_finding {
    const char *check, *subject;
    enum doctor_state state;
    char text[DOCTOR_TEXT_SIZE];
    char advice[DOCTOR_TEXT_SIZE]; /* "" when there is nothing to do */
};

struct doctor {
    const char *root; /* "" */
    const struct conf *conf;
    void (*tell)(void *context, const struct doctor_finding *finding);
    void *context;
};

void doctor_machine(const struct doctor *doctor);
void doctor_cores(const struct doctor *doctor);
void doctor_store(const struct doctor *doctor);
void doctor_sources(const struct doctor *doctor);

/* ---- for the parts ---- */

void doctor_tell(const struct doctor *doctor, enum doctor_state state, const char *check,
                 const char *subject, const char *advice, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* The first line of a file below root. -> false: it cannot be read */
bool doctor_read(const struct doctor *doctor, char buffer[static DOCTOR_TEXT_SIZE],
                 const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same as a number; -1 when there is none. */
int64_t doctor_number(const struct doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The last part of what a symbolic link below root points to. -> false: there is none */
bool doctor_link(const struct doctor *doctor, char buffer[static DOCTOR_TEXT_SIZE],
                 const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Is the CPU in a list like "2-5,8"? */
bool doctor_in_list(const char *list, int cpu);
/* The CPUs that the configuration pins threads to. -> their number */
unsigned doctor_pinned(const struct conf *conf, int ret_cpu[static 3 * CONF_LIST_MAX]);

#endif
