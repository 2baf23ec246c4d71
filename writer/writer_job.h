/* writer_job.h - one job inside the writer: its queue, its segments, its files.
 *
 *      chunks of the ring -> queue -> data output of the open segment -> its index output -> pool
 *                                  -> entries output                                      -> pool
 *
 * A job has two segments, so that one can be closed (statistics, sync) while the next is already
 * written:
 *
 *      FREE -> OPEN -> CLOSING (its last chunks are written) -> SYNCING -> FREE
 *                `---> BROKEN (what is under way ends, cut at the last whole chunk) -> FREE
 *
 *      job: FREE -attach-> ACTIVE --disk fails--> FAILED    in both what comes is counted
 *                             `--quota used up--> FULL      and dropped, until detached
 *
 * Thread: the writer's; job_prepare() mgmt's, while the slot is free. */
#ifndef WRITER_WRITER_JOB_H
#define WRITER_WRITER_JOB_H

#include "output.h"
#include "segment.h"
#include "writer.h"

enum segment_state {
    SEGMENT_FREE,
    SEGMENT_OPEN,
    SEGMENT_CLOSING,
    SEGMENT_SYNCING,
    SEGMENT_SYNCING_FOLDER,
    SEGMENT_BROKEN,
};

struct segment {
    enum segment_state state;
    struct segment_name name;
    struct output data, index;
    bool index_broken; /* its file is removed; it can be made again from the segment */
    unsigned n_heads; /* interfaces described */
    uint64_t secrets; /* position in the key log up to which keys are in it */
    unsigned n_tails; /* ... with statistics, while closing */
    bool tail_done;
    uint64_t size; /* bytes pushed */
    uint64_t opened_ns;
    uint64_t n_packets;    /* written */
    uint64_t entries_size; /* of the entries file that was renamed to go with it */
    struct segment_statistics statistics;
};

enum job_state { JOB_FREE, JOB_ACTIVE, JOB_FAILED, JOB_FULL };

/* Counted by the writer, read by anyone. */
struct job_counters {
    _Atomic uint64_t written, bytes, segments, drop_failed, drop_quota, rotated, entries_lost;
    _Atomic uint64_t first_ns, last_ns;
};

struct job {
    struct writer *writer;
    struct io *io;
    unsigned slot;
    uint32_t run;
    enum job_state state;
    bool detaching;
    bool tell_failed, tell_full; /* events that wait for room */
    int error;
    char error_text[160];

    struct writer_job config; /* strings are its own */
    char *folder, *name, *statement;
    char filter[SEGMENT_FILTER_MAX];
    uint64_t segment_size; /* of the configuration; less when the quota asks for it */
    int folder_file;

    struct chunk_list queue;
    struct segment segments[2];
    struct segment *open; /* null: none */
    struct output entries;
    struct segment_name entries_name; /* the closed segment that the entries so far belong to */
    bool entries_rename;
    uint32_t next_number;
    uint64_t bytes;     /* on disk or pushed */
    uint64_t looked_ns; /* when it was last seen that its files are there */
    uint64_t lost_told[INTERFACE_MAX]; /* drop_no_chunk in the statistics of segments */

    struct segment_info *old; /* closed segments, oldest first, when it rotates */
    unsigned n_old, old_max;

    struct job_counters counters;
};

/* mgmt: makes the folder, looks at what is in it, and fills in the job. */
int job_prepare(struct job *job, const struct writer_job *config, struct io *io,
                uint64_t segment_size, char reterr_text[static WRITER_ERROR_SIZE]);
/* mgmt, or the end: what job_prepare() took. */
void job_done(struct job *job);

/* A chunk of this job from the ring: it owns it now. */
void job_push(struct job *job, struct chunk *chunk);
/* The result of what `output` had under way. */
void job_result(struct job *job, struct output *output, int result, uint64_t now_ns);
/* One turn: moves chunks on, opens, closes, starts writes. -> work done. */
unsigned job_step(struct job *job, uint64_t now_ns);
/* See writer_release(). */
void job_release(struct job *job, uint64_t bytes);
/* Closes what is still open, when nothing is under way. */
void job_close(struct job *job);
/* Is everything written and closed? (detaching) */
bool job_is_idle(const struct job *job);

/* ---- what its parts share ---- */
/* The job can no longer be written. What is under way ends by itself; the rest is dropped. */
void job_fail(struct job *job, int error, const char *what);
void job_drop(struct job *job, struct chunk *chunk); /* counted */
/* Starts the sync that the policy asks for now. -> started? */
bool job_sync(struct job *job, struct output *output, uint64_t now_ns);
/* The same for the folder, in which this output's file is new. */
void job_sync_folder(struct job *job, struct output *output);
/* ret_path: WRITER_PATH_MAX bytes. */
void job_path(const struct job *job, const struct segment_name *name, enum segment_file file,
              char *ret_path);

static inline struct chunk_pool *job_pool(const struct job *job)
{
    return writer_pool(job->writer);
}

/* ---- what it needs of the writer ---- */
const struct writer_config *writer_settings(const struct writer *writer);
struct keylog *writer_keylog(const struct writer *writer); /* null: none is configured */
bool writer_tell(struct writer *writer, const struct writer_event *event); /* false: no room */

static inline void job_count(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

#endif
