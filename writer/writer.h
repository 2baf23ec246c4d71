/* writer.h - the step that puts chunks on disk: full chunks -> segments of recordings.
 *
 *      classifiers --chunks--> writer_step() --one write after the other for each file--> disk
 *      mgmt --attach, detach--> |
 *      mgmt <--events---------- |
 *
 * Several chunks of one job go out in one write; a file has one write in flight at a time, so that
 * after each the file is a complete PCAPNG file; files do not wait for each other. What fails
 * (disk full, I/O error) fails one job: it says so by an event, its later packets are counted as
 * lost to it, what was written stays readable. Nobody else notices.
 *
 * A job's life in a slot:
 *   1. mgmt: writer_attach(job): makes the folder, tells the classifiers' recorders and the writer;
 *   2. mgmt publishes a plan that names the slot; chunks come; segments are written;
 *   3. mgmt publishes a plan without the slot and waits until each classifier's epoch has reached
 *      it (they have handed on what they held);
 *   4. mgmt: writer_detach(slot); when all is written and closed: WRITER_EVENT_DETACHED;
 *   5. only now may the slot be attached again.
 *
 * Files: FOLDER/NAME-<UTC start>-<number>.pcapng, .idx beside it (segment.h); matched entries in
 * FOLDER/entries.ndjson, renamed to NAME-<UTC start>-<number>.entries.ndjson when the segment that
 * it goes with is closed and another begins. Numbers go on from what is in the folder.
 *
 * Threads: writer_step() by one; functions marked mgmt by one other; counters by any. */
#ifndef WRITER_WRITER_H
#define WRITER_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "chunk.h"

enum { WRITER_ERROR_SIZE = 256, WRITER_NAME_MAX = 128, WRITER_PATH_MAX = 1024, WRITER_GATHER = 4 };

enum writer_sync {
    WRITER_SYNC_CLOSE,    /* fsync when a segment is closed */
    WRITER_SYNC_INTERVAL, /* ... and every sync_interval_ns while it is written */
    WRITER_SYNC_CHUNK,    /* ... and after each write */
};

struct io;

struct writer_config {
    unsigned n_classifiers;
    uint32_t chunk_size;     /* bytes, a multiple of 4 KiB; 0: CHUNK_SIZE_DEFAULT */
    uint64_t chunk_memory;   /* bytes of all chunks of one classifier; 0: 64 MiB */
    uint64_t segment_size;   /* bytes; 0: 512 MiB */
    uint64_t segment_age_ns; /* 0: 5 minutes */
    enum writer_sync sync;
    uint64_t sync_interval_ns; /* 0: 1 second */
    uint64_t gather_ns; /* a segment's writes begin so long apart, or when WRITER_GATHER chunks
                         * wait: fewer and larger ones cost less. 0: each as soon as it can */
    const char *hardware, *os, *application; /* for section headers; null: found out */
    const char *keylog; /* TLS key log file, followed as it grows; null: none. Must hold still */
    struct io *io;      /* null: io_uring on the real disk. Not freed with the writer */
};

struct writer_job {
    unsigned slot;
    const char *name;   /* of the recording: letters, digits, - _ . */
    const char *folder; /* STORE/recordings/NAME; its parent exists */
    const char *statement;
    uint64_t quota;   /* bytes on disk of the recording; 0: no limit */
    bool rotate;      /* at the quota, or by writer_release(): oldest segments go */
    uint32_t snaplen; /* 0: whole packets */
    uint64_t cutoff;  /* bytes of each stream; 0: all */
    uint64_t age_ns;  /* with rotate: segments go when all in them is older; 0: never */
    bool no_entries;  /* no entry list */
};

enum writer_event_type {
    WRITER_EVENT_DETACHED, /* all written and closed; the slot is free */
    WRITER_EVENT_FAILED,   /* the job can no longer be written: error, text. Detach it */
    WRITER_EVENT_QUOTA,    /* its quota is used up and it does not rotate. Detach it */
    WRITER_EVENT_SEGMENT,  /* a segment was closed: its name in text, its bytes on disk */
    WRITER_EVENT_ROTATED,  /* a segment was deleted by the quota or a limit: name in text, bytes */
};

struct writer_event {
    enum writer_event_type type;
    unsigned slot;
    uint32_t run;
    int error; /* errno */
    uint64_t bytes;
    uint64_t first_ns, last_ns; /* packets of the segment */
    uint64_t packets;
    char text[160];
};

/* What became of one job's packets, since it was attached. All sums are exact once it is detached:
 * packets = written + drop_failed + drop_quota (+ what is on its way). */
struct writer_counters {
    uint64_t packets;      /* handed over by classifiers */
    uint64_t packet_bytes; /* original lengths */
    uint64_t streams;
    uint64_t entries;
    uint64_t entries_lost;  /* matched, but no chunk was free for them, or the disk failed */
    uint64_t head_missing;  /* packets overwritten in the lookback before their stream matched */
    uint64_t cut;           /* packets left out by the job's cutoff */
    uint64_t written;       /* packets on disk */
    uint64_t bytes;         /* on disk: segments, indexes, entries; all runs of the recording */
    uint64_t segments;      /* written since attached */
    uint64_t drop_no_chunk; /* the disk was too slow */
    uint64_t drop_failed;   /* after the job failed */
    uint64_t drop_quota;    /* after its quota was used up */
    uint64_t rotated;       /* packets in segments that were deleted as it rotates (this run's) */
    uint64_t first_ns, last_ns; /* packets written */
};

/* Answers of the disk, writes and syncs, by the time they took: count[i] those of at most
 * writer_latency_max_ns(i), the last those of more. */
enum { WRITER_LATENCIES = 17 };

struct writer_latency {
    uint64_t count[WRITER_LATENCIES];
    uint64_t sum_ns;
};

static inline uint64_t writer_latency_max_ns(unsigned i)
{
    return UINT64_C(250000) << i; /* 250 us to 8 s */
}

struct writer;

int writer_create(const struct writer_config *config, struct writer **ret_writer,
                  char reterr_text[static WRITER_ERROR_SIZE]);
void writer_free(struct writer *writer); /* all jobs detached, or what is in flight is waited for */
struct chunk_pool *writer_pool(struct writer *writer);

/* One turn. -> work done (0: idle). */
unsigned writer_step(struct writer *writer, uint64_t now_ns);
/* The writer's thread, when idle: sleeps until a write is done, or, when none is under way, until
 * there are chunks to write; at most this long. -> one was under way */
bool writer_wait(struct writer *writer, uint64_t timeout_ns);

/* mgmt. -> 0 and the run, or -errno with a message that names the thing and the way out. */
int writer_attach(struct writer *writer, const struct writer_job *job, uint32_t *ret_run,
                  char reterr_text[static WRITER_ERROR_SIZE]);
/* mgmt. -> 0, -EAGAIN: too many commands wait, -ENOENT: nothing is attached there. */
int writer_detach(struct writer *writer, unsigned slot);
/* mgmt. A job that rotates deletes its oldest closed segments until `bytes` are free; when it has
 * none it closes the one that is written, and that goes the next time. Others keep what they have.
 * -> 0, -EAGAIN, -ENOENT as above. */
int writer_release(struct writer *writer, unsigned slot, uint64_t bytes);
/* mgmt. -> true with the oldest event. */
bool writer_poll(struct writer *writer, struct writer_event *ret_event);

/* Any thread; of the run attached now, or last. */
void writer_counters(struct writer *writer, unsigned slot, struct writer_counters *ret_counters);
void writer_latency(const struct writer *writer, struct writer_latency *ret_latency);

#endif
