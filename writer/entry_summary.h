/* entry_summary.h - an entry in a few words, for people: `HTTP GET /cart -> 500`.
 *
 * Looks at the JSON form of an entry (FIELDS.md) for the members that say most about a message;
 * used in the comment on the packet that made a match, and in lists of entries. Any thread. */
#ifndef WRITER_ENTRY_SUMMARY_H
#define WRITER_ENTRY_SUMMARY_H

#include "../kfl-jit/kfl.h"

/* -> bytes written without the final 0; cut at `size`. Control characters become blanks. */
int entry_summary(const struct kfl_value *entry, char *buffer, size_t size);

#endif
