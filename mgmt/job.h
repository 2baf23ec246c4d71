/* job.h - what people asked to be recorded: statement, name, schedule, limits, and how it stands.
 *
 * A job lives in STORE/jobs/NAME.conf (what was asked, libconfig) and NAME.json beside it (how it
 * stands). What it leaves is a recording (recording.h), in which each run is a fact.
 *
 * People may create, change and remove jobs by these files, too. A file is held against the job of
 * its name: what we wrote ourselves says what is in force already, so nothing comes of it.
 *
 * The table decides when a job records and what becomes of it; how packets come into its folder is
 * behind struct job_ops (deck.c, or a test). Ending a run takes time: what is on its way is
 * written first, then job_ended() is called.
 *
 * Thread: mgmt. Time is an argument. */
#ifndef MGMT_JOB_H
#define MGMT_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "../kfl-jit/kfl.h"
#include "conf.h"
#include "doc.h"
#include "job_refusal.h"
#include "schedule.h"

enum { JOB_NAME_MAX = 64, JOB_ERROR_SIZE = 2048, JOB_REASON_SIZE = 256, JOB_PATH_SIZE = 1024 };

/*      create --> SCHEDULED --its time--> RECORDING --end of a run, another to come--> SCHEDULED
 *                  |  |  |                 |  |  |
 *                  |  |  +--last missed--+ |  |  +--end of the last run----> DONE ----+
 *                  |  +-----stop-------- | +  +-----stop, quota-----------> STOPPED --+--> EXPIRED
 *                  +--------cannot ----- | ------+--I/O error, no slot----> FAILED ---+
 *                           begin        +--limit(n), last missed----------> DONE
 *
 * With on_error = "retry" a job that the disk failed is FAILED for a while: it goes on RECORDING
 * when the disk takes it again, and its run is over when its time is. Else forbidden: out of DONE,
 * STOPPED, FAILED to anything but EXPIRED; out of EXPIRED. A job in any state can be deleted. */
enum job_state {
    JOB_SCHEDULED,
    JOB_RECORDING,
    JOB_DONE,
    JOB_STOPPED,
    JOB_FAILED,
    JOB_EXPIRED,
    JOB_STATE_COUNT
};
extern const char *const job_state_name[JOB_STATE_COUNT];

enum job_count {
#define JOB_COUNT(id, kind, help) JOB_COUNT_##id,
#include "job_count.def"
#undef JOB_COUNT
    JOB_COUNT_COUNT
};

enum job_count_kind { JOB_COUNT_KIND_COUNT, JOB_COUNT_KIND_LOSS, JOB_COUNT_KIND_GAUGE };

struct job_count_info {
    const char *name, *help;
    enum job_count_kind kind;
};
extern const struct job_count_info job_count_info[JOB_COUNT_COUNT];

struct job_counts {
    uint64_t value[JOB_COUNT_COUNT];
    uint64_t admitted;          /* entries that have asked for room in its limit(n) */
    uint64_t first_ns, last_ns; /* of packets; 0: none */
};

/* What a run takes out of the ring. */
struct job_past {
    uint64_t from_ns; /* 0: nothing */
    uint64_t to_ns;   /* UINT64_MAX: and then it goes on live */
    bool taken;       /* all that the ring had; else it is on the way, or was cut short */
    int error;
    uint64_t held_from_ns; /* the oldest packet the ring had; UINT64_MAX: none, or not known */
    uint64_t streams, packets;
    unsigned lost_segments;
};

struct job {
    struct conf_job spec; /* texts are the job's own */
    struct schedule schedule;
    struct schedule_state clock;
    enum job_state state;
    char reason[JOB_REASON_SIZE]; /* why it stopped or failed; "" */
    uint64_t created_ns;
    bool declared; /* by the configuration */
    /* of a run under way */
    int slot;                        /* -1: none */
    struct kfl_statement *statement; /* compiled for this run; null */
    bool ending;                     /* the run is over, its data is on the way to disk */
    enum job_state after;            /* what it is then */
    bool limit_counted;              /* limit(n): all its entries are complete */
    bool limit_reached;              /* limit(n): nothing new matches, what matched is finished */
    uint64_t limit_packets;          /* then: recorded so far ... */
    uint64_t limit_quiet_ns;         /* ... and the steady time of the last */
    bool deleted, keep_recording;    /* ... and then it goes */
    bool keep_file;                  /* ... but NAME.conf is a person's new one */
    struct job_past past;
    struct doc *recording; /* recording.json; null before the first run */
    uint64_t saved_ns;
    bool unsaved;      /* the disk did not take its state: again, later */
    uint64_t tried_ns; /* steady time */
    /* on_error = "retry" */
    struct schedule_clock retry; /* when it is tried again; steady 0: it is not */
    uint64_t retry_wait_ns;      /* the last wait; grows */
    uint64_t begun_ns;           /* steady time of the last begin */
};

struct job_ops {
    /* Packets may come: sets job->slot. -> 0 or -errno with the reason; -EBUSY (no slot) and
     * -EINVAL (the statement) are not the disk's. */
    int (*begin)(void *context, struct job *job, char reterr_text[static JOB_ERROR_SIZE]);
    /* No more packets; job_ended() is called when all is on disk. */
    void (*end)(void *context, struct job *job);
    void (*counts)(void *context, const struct job *job, struct job_counts *ret_counts);
    /* Nothing new matches from now on; what has matched goes on. */
    void (*saturate)(void *context, struct job *job);
    /* It rotates: its oldest segments go, `bytes` of them. -> 0 or -errno */
    int (*release)(void *context, struct job *job, uint64_t bytes);
};

struct jobs;

/* store: the folder; made when missing. -> 0 or -errno with the message. */
int jobs_create(const char *store, const struct job_ops *ops, void *context, struct jobs **ret_jobs,
                char reterr_text[static JOB_ERROR_SIZE]);
void jobs_free(struct jobs *jobs);
void jobs_set_limits(struct jobs *jobs, unsigned max, uint64_t statement_max);
/* What storage.on_error says. */
void jobs_set_retry(struct jobs *jobs, bool retry);
/* Takes up the jobs of the store as jobs_look() does, and how they stood. */
void jobs_load(struct jobs *jobs, struct schedule_clock clock, void (*complain)(const char *text));
/* Looks at the files: new ones are jobs, a changed one takes the place of its job, in the same
 * recording, a removed one ends it (the recording stays). What cannot be taken up is left alone and
 * remembered as refused; `complain` is told when that is new. -> how many wait for the job they
 * replace to end: call again. */
unsigned jobs_look(struct jobs *jobs, struct schedule_clock clock,
                   void (*complain)(const char *text));

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63}. -> 0 or -EINVAL with the message. */
int job_check_name(const char *name, char reterr_text[static JOB_ERROR_SIZE]);
/* The statement for a run that begins at now_ns. -> 0 or -EINVAL with the message, caret below. */
int job_compile(const char *kfl, uint64_t now_ns, struct kfl_statement **ret_statement,
                char reterr_text[static JOB_ERROR_SIZE]);
/* Could this be a job? Name, statement (with a caret below), schedule. */
int job_check(const struct conf_job *spec, uint64_t now_ns,
              char reterr_text[static JOB_ERROR_SIZE]);

/* -> 0, -EINVAL (bad input), -EEXIST, -ENOSPC, or another -errno; with the message. */
int job_add(struct jobs *jobs, const struct conf_job *spec, struct schedule_clock clock,
            struct job **ret_job, char reterr_text[static JOB_ERROR_SIZE]);
void job_stop(struct jobs *jobs, struct job *job, struct schedule_clock clock);
/* At once, or when its run has ended (then later by itself). */
void job_delete(struct jobs *jobs, struct job *job, bool keep_recording,
                struct schedule_clock clock);
/* It can go no further now: I/O error. */
void job_failed(struct jobs *jobs, struct job *job, struct schedule_clock clock,
                const char *reason);
/* A job under way that rotates gives back bytes of its oldest segments. -> 0 or -errno */
int job_give_back(struct jobs *jobs, struct job *job, uint64_t bytes);
/* A cut out of the ring has come to its end: there is nothing more to record. */
void job_past_taken(struct jobs *jobs, struct job *job, struct schedule_clock clock);
void job_quota(struct jobs *jobs, struct job *job, struct schedule_clock clock);
/* Called by whoever implements job_ops.end, when all is on disk. */
void job_ended(struct jobs *jobs, struct job *job, uint64_t now_ns);

/* What is due. */
void jobs_step(struct jobs *jobs, struct schedule_clock clock);
/* Declared jobs are created, changed (a new one takes the place of the old, in the same recording)
 * and removed (the recording stays). -> how many wait for the one they replace to end: call again.
 */
unsigned jobs_declare(struct jobs *jobs, const struct conf_job *specs, unsigned n,
                      struct schedule_clock clock, void (*complain)(const char *text));
/* The process ends, nothing is on its way any more: counts are saved, runs under way stay open for
 * the next start, those that were being ended have ended. */
void jobs_save(struct jobs *jobs, uint64_t now_ns);

struct job *job_find(const struct jobs *jobs, const char *name);
unsigned jobs_n(const struct jobs *jobs);
struct job *jobs_at(const struct jobs *jobs, unsigned i); /* in order of names */
const char *jobs_store(const struct jobs *jobs);
/* As `job show --json` has it, with the runs, or as in a list: new doc. */
struct doc *job_doc(const struct jobs *jobs, const struct job *job, bool with_runs);
/* What asks for a job and is none. */
const struct job_refusals *jobs_refusals(const struct jobs *jobs);
/* As job_doc(), state "refused": of one for which there is no job. */
struct doc *job_refusal_doc(const struct jobs *jobs, const struct job_refusal *refusal);

#endif
