#include "job_run.h"

#include <stdio.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "job_store.h"
#include "recording.h"
#include "units.h"

#define SAVE_INTERVAL_NS (5 * NS_PER_S)
#define LIMIT_QUIET_NS   (30 * NS_PER_S)

static void begin(struct jobs *jobs, struct job *job, const struct schedule_action *action,
                  struct schedule_clock clock);
static void look_after(struct jobs *jobs, struct job *job, struct schedule_clock clock);
static void look_at_limit(struct jobs *jobs, struct job *job, struct schedule_clock clock);

void job_stop(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    if (job->clock.over)
        return;
    schedule_stop(&job->clock, clock);
    job_run_end(jobs, job, JOB_STOPPED, "stopped by hand");
}

void job_failed(struct jobs *jobs, struct job *job, struct schedule_clock clock, const char *reason)
{
    schedule_stop(&job->clock, clock);
    if (!job->ending)
        job_run_end(jobs, job, JOB_FAILED, reason);
}

void job_quota(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    char reason[JOB_REASON_SIZE], size[UNITS_TEXT_SIZE];

    snprintf(reason, sizeof(reason), "the quota of %s is used up",
             units_format_size(job->spec.quota, size));
    schedule_stop(&job->clock, clock);
    if (!job->ending)
        job_run_end(jobs, job, JOB_STOPPED, reason);
}

void job_ended(struct jobs *jobs, struct job *job, uint64_t now_ns)
{
    char what[JOB_REASON_SIZE + 32];

    ensure(job->ending && job->slot >= 0);
    snprintf(what, sizeof(what), "%s%s%s",
             job->after == JOB_SCHEDULED ? "done" : job_state_name[job->after],
             *job->reason ? ": " : "", job->reason);
    job_run_save(jobs, job, now_ns);
    recording_end_run(job->recording, now_ns, what);
    job->slot = -1;
    job->ending = false;
    kfl_statement_free(job->statement);
    job->statement = NULL;
    job->state = job->after;
    job_run_settle(jobs, job);
}

void jobs_step(struct jobs *jobs, struct schedule_clock clock)
{
    for (unsigned i = 0; i < jobs->n; i++) {
        struct job *job = jobs->job[i];

        if (job->slot >= 0 && !job->ending)
            look_after(jobs, job, clock);
        job_run_step(jobs, job, clock);
    }
}

void job_run_step(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    while (!job->ending) {
        struct schedule_action action = schedule_step(&job->schedule, &job->clock, clock);

        switch (action.event) {
        case SCHEDULE_NOTHING:
            return;
        case SCHEDULE_BEGIN:
            begin(jobs, job, &action, clock);
            break;
        case SCHEDULE_END:
            if (job->slot < 0 && job->recording) /* its window passed while we were down */
                recording_end_run(job->recording,
                                  schedule_run_start(&job->schedule, action.number) +
                                      job->schedule.duration_ns,
                                  "cut short: the recorder was not running");
            job_run_end(jobs, job, job->clock.over ? JOB_DONE : JOB_SCHEDULED, "");
            break;
        case SCHEDULE_MISSED:
            if (!job->recording)
                job->recording = recording_open(jobs->store, job);
            recording_miss_runs(job->recording, action.number, action.n);
            job->state = job->clock.over ? JOB_DONE : JOB_SCHEDULED;
            job_run_settle(jobs, job);
            break;
        case SCHEDULE_EXPIRE:
            recording_delete(jobs->store, job->spec.name);
            if (job->recording)
                doc_free(job->recording);
            job->recording = NULL;
            job->state = JOB_EXPIRED;
            job_run_settle(jobs, job);
            return;
        }
    }
}

static void begin(struct jobs *jobs, struct job *job, const struct schedule_action *action,
                  struct schedule_clock clock)
{
    char error[JOB_ERROR_SIZE] = "";
    int err;

    if (!job->recording)
        job->recording = recording_open(jobs->store, job);
    recording_begin_run(job->recording, action->number, clock.wall_ns);
    job->limit_reached = false;
    err = job_compile(job->spec.kfl, clock.wall_ns, &job->statement, error);
    if (!err) {
        job->state = JOB_RECORDING;
        err = jobs->ops->begin(jobs->context, job, error);
    }
    if (err) {
        error[strcspn(error, "\n")] = 0;
        kfl_statement_free(job->statement);
        job->statement = NULL;
        schedule_stop(&job->clock, clock);
        job_run_end(jobs, job, JOB_FAILED, error);
        return;
    }
    job_run_settle(jobs, job);
}

/* The run is over; what it is then, and why. */
void job_run_end(struct jobs *jobs, struct job *job, enum job_state after, const char *reason)
{
    snprintf(job->reason, sizeof(job->reason), "%.*s", JOB_REASON_SIZE - 1, reason);
    job->after = after;
    if (job->slot >= 0) {
        job->ending = true;
        job_store_write_state(jobs->store, job);
        jobs->ops->end(jobs->context, job);
        return;
    }
    job->state = after;
    job_run_settle(jobs, job);
}

/* Its state has changed and nothing is on its way: onto disk with it, or away. */
void job_run_settle(struct jobs *jobs, struct job *job)
{
    if (job->deleted && job->slot < 0) {
        if (job->recording && job->keep_recording)
            recording_save(jobs->store, job);
        if (!job->keep_recording)
            recording_delete(jobs->store, job->spec.name);
        job_store_remove(jobs->store, job->spec.name);
        job_forget(jobs, job);
        return;
    }
    if (job->recording)
        recording_save(jobs->store, job);
    job_store_write_state(jobs->store, job);
}

/* Counts onto disk now and then; the statement's limit. */
static void look_after(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    if (clock.wall_ns - job->saved_ns >= SAVE_INTERVAL_NS || clock.wall_ns < job->saved_ns)
        job_run_save(jobs, job, clock.wall_ns);
    if (kfl_statement_limit(job->statement) > 0)
        look_at_limit(jobs, job, clock);
}

/* At the limit nothing new matches; the streams that have matched are recorded until they are
 * silent. */
static void look_at_limit(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    uint64_t limit = (uint64_t)kfl_statement_limit(job->statement);
    struct job_counts counts = {0};

    jobs->ops->counts(jobs->context, job, &counts);
    if (counts.value[JOB_COUNT_entries] < limit)
        return;
    if (!job->limit_reached)
        jobs->ops->saturate(jobs->context, job);
    if (!job->limit_reached || counts.value[JOB_COUNT_packets] != job->limit_packets) {
        job->limit_reached = true;
        job->limit_packets = counts.value[JOB_COUNT_packets];
        job->limit_quiet_ns = clock.steady_ns;
    } else if (clock.steady_ns - job->limit_quiet_ns >= LIMIT_QUIET_NS) {
        schedule_stop(&job->clock, clock);
        job_run_end(jobs, job, JOB_DONE, "the statement's limit is reached");
    }
}

void job_run_save(struct jobs *jobs, struct job *job, uint64_t now_ns)
{
    struct job_counts counts = {0};

    jobs->ops->counts(jobs->context, job, &counts);
    recording_count(job->recording, &counts);
    recording_save(jobs->store, job);
    job->saved_ns = now_ns;
}
