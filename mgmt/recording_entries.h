/* recording_entries.h - the stored entries of a recording, line by line, also as they come.
 *
 *      NAME-1.entries.ndjson, NAME-2.entries.ndjson, ...   those of segments that are full
 *      entries.ndjson                                      the newest; is renamed when they are
 *
 * Each line is read once, oldest first, however often the newest is renamed between two steps: it
 * stays open, and what comes after it is found by the segments' numbers.
 *
 * One thread. */
#ifndef MGMT_RECORDING_ENTRIES_H
#define MGMT_RECORDING_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>

struct recording_entries;

/* from_now: those that are there already are passed over. Null: no memory. */
struct recording_entries *recording_entries_open(const char *folder, const char *name,
                                                 bool from_now);
/* Calls visit for each whole line that has not been read yet, without its newline, until it returns
 * false. -> 0, -ENOENT (the folder is gone), or -errno with the file's name in the path. */
int recording_entries_step(struct recording_entries *entries,
                           bool (*visit)(void *context, const char *line, size_t size),
                           void *context);
const char *recording_entries_path(const struct recording_entries *entries); /* read last */
void recording_entries_close(struct recording_entries *entries);

#endif
