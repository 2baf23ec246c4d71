/* job_run.h - the runs of the jobs in the table: how they begin, end, and what becomes of the job.
 *
 * What job.c (the table itself) and job_run.c (time and what happens to runs) share; for nobody
 * else. Thread: mgmt. */
#ifndef MGMT_JOB_RUN_H
#define MGMT_JOB_RUN_H

#include "job.h"

struct jobs {
    char store[JOB_PATH_SIZE];
    struct job **job; /* by name */
    unsigned n, max;
    uint64_t statement_max;
    bool retry; /* of jobs that do not say themselves */
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
/* job.c: out of the table. */
void job_forget(struct jobs *jobs, struct job *job);

#endif
