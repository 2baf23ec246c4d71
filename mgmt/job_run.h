/* job_run.h - the runs of the jobs in the table: how they begin, end, and what becomes of the job.
 *
 * What job.c (the table itself), job_run.c (time and what happens to runs) and job_files.c (what
 * people leave in STORE/jobs) share; for nobody else. Thread: mgmt. */
#ifndef MGMT_JOB_RUN_H
#define MGMT_JOB_RUN_H

#include "job.h"

struct jobs {
    char store[JOB_PATH_SIZE];
    struct job **job; /* by name */
    unsigned n, max;
    uint64_t statement_max;
    bool retry; /* of jobs that do not say themselves */
    struct job_refusals refusals;
    const struct job_ops *ops;
    void *context;
};

/* What is due for one job. */
void job_run_step(struct jobs *jobs, struct job *job, struct schedule_clock clock);
/* The run is over, or none comes; what the job is then, and why. */
void job_run_end(struct jobs *jobs, struct job *job, struct schedule_clock clock,
                 enum job_state after, const char *reason);
/* Its state has changed and nothing is on its way: onto disk with it, or away (then it is freed).
 */
void job_run_settle(struct jobs *jobs, struct job *job);
void job_run_save(struct jobs *jobs, struct job *job, uint64_t now_ns);

/* job.c */
enum job_origin { JOB_BY_HAND, JOB_DECLARED, JOB_BY_FILE };

struct job *job_new(const struct conf_job *spec);
void job_free(struct job *job);
int job_insert(struct jobs *jobs, struct job *job, char reterr_text[static JOB_ERROR_SIZE]);
void job_forget(struct jobs *jobs, struct job *job); /* out of the table */
/* job_check(), and limits.statement. */
int jobs_check(const struct jobs *jobs, const struct conf_job *spec, uint64_t now_ns,
               char reterr_text[static JOB_ERROR_SIZE]);
/* As job_add(). A file that a person wrote stays as it is. */
int job_make(struct jobs *jobs, const struct conf_job *spec, enum job_origin origin,
             struct schedule_clock clock, struct job **ret_job,
             char reterr_text[static JOB_ERROR_SIZE]);

#endif
