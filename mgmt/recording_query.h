/* recording_query.h - a statement asked about a recording: the engine run over its packets.
 *
 * Decode, streams, dissectors and plan are those of `tapedeck read`, so the answer is the same as
 * over the exported file, whatever the job asked for: its stored entries play no part. A stream is
 * what it was when it was recorded, and keeps its number; `record` is the recording's name; names
 * of addresses are those of the recording. Streams end where they do in `read`: with another one
 * on their addresses, or with the recording. What is on disk now is asked about; a job may go on.
 *
 * Thread: one; one call is one run. */
#ifndef MGMT_RECORDING_QUERY_H
#define MGMT_RECORDING_QUERY_H

#include "../kfl-jit/kfl.h"
#include "recording_files.h"

struct recording_query {
    /* Streams with an entry for which it is true, more than once perhaps. May be null. */
    void (*stream)(void *context, uint64_t number);
    /* The entries, in the order in which they are decided, as a line of JSON without what the
     * statement redacts; false ends the run. May be null: then they are not made. */
    bool (*entry)(void *context, const char *line, size_t size);
    void *context;
};

/* -> CLI_DONE, or the exit status: the message is on stderr. */
int recording_query_run(const struct cli *cli, const struct recording_files *files,
                        const struct kfl_statement *statement, const struct recording_query *query);

#endif
