/* units.h - sizes, durations and times as people write and read them.
 *
 *     500Mi 5Gi 64MB 1500    bytes: Ki Mi Gi Ti Pi are powers of 1024, k M G T P of 1000
 *     30s 5m 1h30m 1d 250ms  durations; a bare number counts the unit the caller names
 *     2026-01-02T03:04:05.000000001Z   RFC 3339; offsets are understood, UTC is written
 *
 * Parsing reads the whole text or refuses it: 0, -EINVAL (not understood) or -ERANGE (too large).
 * Formatting writes a terminated text into the caller's buffer and returns that buffer.
 * Any thread. */
#ifndef MGMT_UNITS_H
#define MGMT_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_US   UINT64_C(1000)
#define NS_PER_MS   UINT64_C(1000000)
#define NS_PER_S    UINT64_C(1000000000)
#define NS_PER_MIN  (60 * NS_PER_S)
#define NS_PER_HOUR (60 * NS_PER_MIN)
#define NS_PER_DAY  (24 * NS_PER_HOUR)

enum { UNITS_TEXT_SIZE = 40 };

/* What a message says is accepted. */
extern const char units_size_help[];
extern const char units_duration_help[];
extern const char units_time_help[];

int units_parse_size(const char *text, uint64_t *ret_bytes);
/* bare_ns: the unit of a number without one; 0: it needs one (a plain 0 never does). */
int units_parse_duration(const char *text, uint64_t bare_ns, uint64_t *ret_ns);
/* RFC 3339, from 1970 to 2554: ns since the epoch. */
int units_parse_time(const char *text, uint64_t *ret_ns);

char *units_format_size(uint64_t bytes, char buffer[static UNITS_TEXT_SIZE]);    /* 4.7 GiB */
char *units_format_count(uint64_t n, char buffer[static UNITS_TEXT_SIZE]);       /* 12,345,678 */
char *units_format_duration(uint64_t ns, char buffer[static UNITS_TEXT_SIZE]);   /* 1h30m */
char *units_format_time(uint64_t ns, char buffer[static UNITS_TEXT_SIZE]);       /* with 9 digits */
char *units_format_time_short(uint64_t ns, char buffer[static UNITS_TEXT_SIZE]); /* seconds, UTC */

#endif
