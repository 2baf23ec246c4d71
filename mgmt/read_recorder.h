/* read_recorder.h - where `tapedeck read` puts what its statements matched: rows to print, entries
 * as lines of JSON, packets in one PCAPNG file.
 *
 *      struct read_output            one for the run: stdout, the file, under a lock
 *        ^        ^
 *      struct read_recorder ...      one for each classifier: rows, and buffers handed on when full
 *
 * Memory grows with the streams that matched. A stream that two statements match has two rows, and
 * its packets are in the file once.
 *
 * Threads: a recorder by its classifier's; output by all of them; rows when they are done. */
#ifndef MGMT_READ_RECORDER_H
#define MGMT_READ_RECORDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../dataplane/recorder.h"
#include "../dataplane/stream.h"

struct read_output {
    pthread_mutex_t lock;
    FILE *entries;         /* where entries go; null: they are not printed */
    int fd;                /* the PCAPNG file; -1: none */
    unsigned n_interfaces; /* described in it */
    unsigned n_statements;
    int error; /* errno of the first write that failed */
};

struct read_row { /* one stream and a statement it matched */
    uint64_t number;
    uint64_t first_ns, last_ns;
    uint64_t packets, bytes;
    struct kfl_endpoint end[2]; /* by enum kfl_side */
    uint32_t l7;                /* set of enum kfl_proto */
    uint32_t missing;           /* head_missing */
    uint32_t matches;
    uint32_t next; /* in its bucket: place + 1 */
    uint16_t vlan;
    uint8_t tunnel, ip_protocol, ip_version, l4;
    uint8_t slot;
};

struct read_recorder;

int read_recorder_create(struct read_output *output, struct read_recorder **ret_recorder);
void read_recorder_free(struct read_recorder *recorder);
struct recorder *read_recorder_base(struct read_recorder *recorder);
const struct read_row *read_recorder_rows(const struct read_recorder *recorder, size_t *ret_n);

/* Opens OUT and writes its section header. -> 0 or -errno. */
int read_output_open(struct read_output *output, const char *path);
int read_output_close(struct read_output *output); /* -> 0, or -errno of any write before */

#endif
