#include "job_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "job_store.h"
#include "recording.h"
#include "units.h"

#define SAVE_INTERVAL_NS (5 * NS_PER_S)
#define LIMIT_QUIET_NS   (30 * NS_PER_S)
#define RETRY_NS         NS_PER_S
#define RETRY_MAX_NS     NS_PER_MIN

enum { WHAT_SIZE = JOB_REASON_SIZE + 32 };

static void begin(struct jobs *jobs, struct job *job, int64_t number, struct schedule_clock clock);
static int begin_past(struct job *job, int64_t number, bool resumed, char *reterr_text);
static bool retries(const struct jobs *jobs, const struct job *job);
static void plan_retry(struct job *job, struct schedule_clock clock);
static void describe_end(const struct job *job, char ret_what[static WHAT_SIZE]);
static void look_after(struct jobs *jobs, struct job *job, struct schedule_clock clock);
static void look_at_limit(struct jobs *jobs, struct job *job, struct schedule_clock clock);

void job_past_taken(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    schedule_stop(&job->clock, clock);
    if (!job->ending)
        job_run_end(jobs, job, clock, job->past.error ? JOB_FAILED : JOB_DONE,
                    job->past.error ? "the ring cannot be read" : "");
}

void job_stop(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    if (job->clock.over)
        return;
    schedule_stop(&job->clock, clock);
    job_run_end(jobs, job, clock, JOB_STOPPED, "stopped by hand");
}

void job_failed(struct jobs *jobs, struct job *job, struct schedule_clock clock, const char *reason)
{
    if (job->ending && retries(jobs, job))
        return; /* what is to come is not touched by it; the run says what it lost */
    if (retries(jobs, job))
        plan_retry(job, clock);
    else
        schedule_stop(&job->clock, clock);
    if (!job->ending) {
        job_run_end(jobs, job, clock, JOB_FAILED, reason);
    } else if (job->after != JOB_FAILED) { /* its last packets */
        job->after = JOB_FAILED;
        snprintf(job->reason, sizeof(job->reason), "%s", reason);
    }
}

int job_give_back(struct jobs *jobs, struct job *job, uint64_t bytes)
{
    return jobs->ops->release(jobs->context, job, bytes);
}

void job_quota(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    char reason[JOB_REASON_SIZE], size[UNITS_TEXT_SIZE];

    snprintf(reason, sizeof(reason), "the quota of %s is used up",
             units_format_size(job->spec.quota, size));
    schedule_stop(&job->clock, clock);
    if (!job->ending)
        job_run_end(jobs, job, clock, JOB_STOPPED, reason);
}

void job_ended(struct jobs *jobs, struct job *job, uint64_t now_ns)
{
    char what[WHAT_SIZE];

    ensure(job->ending && job->slot >= 0);
    describe_end(job, what);
    job_run_save(jobs, job, now_ns);
    if (job->retry.steady_ns)
        recording_interrupt_run(job->recording, now_ns, what);
    else
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
        if (job->unsaved && !job->ending && clock.steady_ns - job->tried_ns >= SAVE_INTERVAL_NS) {
            job->tried_ns = clock.steady_ns;
            job_run_settle(jobs, job);
        }
        job_run_step(jobs, job, clock);
    }
}

void job_run_step(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    while (!job->ending) {
        struct schedule_action action = schedule_step(&job->schedule, &job->clock, clock);

        switch (action.event) {
        case SCHEDULE_NOTHING:
            if (job->retry.steady_ns && clock.steady_ns >= job->retry.steady_ns)
                begin(jobs, job, job->clock.next, clock);
            return;
        case SCHEDULE_BEGIN:
            begin(jobs, job, action.number, clock);
            break;
        case SCHEDULE_END:
            if (job->retry.steady_ns) { /* the disk has not come back in time */
                job_run_end(jobs, job, clock, job->clock.over ? JOB_FAILED : JOB_SCHEDULED,
                            job->reason);
                break;
            }
            if (job->slot < 0 && job->recording) /* its window passed while we were down */
                recording_end_run(job->recording,
                                  schedule_run_start(&job->schedule, action.number) +
                                      job->schedule.duration_ns,
                                  "cut short: the recorder was not running");
            job_run_end(jobs, job, clock, job->clock.over ? JOB_DONE : JOB_SCHEDULED, "");
            break;
        case SCHEDULE_MISSED:
            if (!job->recording)
                job->recording = recording_open(jobs->store, job);
            recording_miss_runs(job->recording, action.number, action.n);
            job->state = job->clock.over ? JOB_DONE : JOB_SCHEDULED;
            job_run_settle(jobs, job);
            break;
        case SCHEDULE_EXPIRE:
            if (recording_is_held(jobs->store, job->spec.name)) {
                job->clock.expired = false; /* as soon as it is not */
                return;
            }
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

static void begin(struct jobs *jobs, struct job *job, int64_t number, struct schedule_clock clock)
{
    char error[JOB_ERROR_SIZE] = "";
    bool resumed;
    int err;

    if (!job->recording)
        job->recording = recording_open(jobs->store, job);
    resumed = recording_begin_run(job->recording, jobs->store, number, clock.wall_ns);
    job->limit_counted = job->limit_reached = false;
    job->retry = (struct schedule_clock){0};
    job->begun_ns = clock.steady_ns;
    *job->reason = 0;
    err = begin_past(job, number, resumed, error);
    if (!err)
        err = job_compile(job->spec.kfl, clock.wall_ns, &job->statement, error);
    if (!err) {
        job->state = JOB_RECORDING;
        err = jobs->ops->begin(jobs->context, job, error);
    }
    if (err) {
        error[strcspn(error, "\n")] = 0;
        kfl_statement_free(job->statement);
        job->statement = NULL;
        if (err != -EBUSY && err != -EINVAL && retries(jobs, job))
            plan_retry(job, clock);
        else
            schedule_stop(&job->clock, clock);
        job_run_end(jobs, job, clock, JOB_FAILED, error);
        return;
    }
    recording_go_on(job->recording, clock.wall_ns);
    job_run_settle(jobs, job);
}

/* What it takes out of the ring: the first run of a job that was created with a start in the past,
 * or a cut. Only once: what was interrupted is not begun again. */
static int begin_past(struct job *job, int64_t number, bool resumed, char *reterr_text)
{
    job->past = (struct job_past){.held_from_ns = UINT64_MAX};
    if (*job->spec.until && resumed) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "the cut out of the ring was interrupted by a restart: delete it, and cut again");
        return -EINVAL;
    }
    if (*job->spec.until) {
        ensure(!units_parse_time(job->spec.start, &job->past.from_ns) &&
               !units_parse_time(job->spec.until, &job->past.to_ns));
    } else if (!resumed && !number && job->schedule.start_ns + NS_PER_S < job->created_ns) {
        job->past.from_ns = job->schedule.start_ns;
        job->past.to_ns = UINT64_MAX;
    }
    return 0;
}

static bool retries(const struct jobs *jobs, const struct job *job)
{
    bool same = !strcmp(job->spec.on_error, "storage");

    return same ? jobs->retry : !strcmp(job->spec.on_error, "retry");
}

/* Waits longer from time to time, unless it has recorded for a while. */
static void plan_retry(struct job *job, struct schedule_clock clock)
{
    uint64_t wait_ns = 2 * job->retry_wait_ns;

    if (!wait_ns || clock.steady_ns - job->begun_ns >= RETRY_MAX_NS)
        wait_ns = RETRY_NS;
    job->retry_wait_ns = wait_ns < RETRY_MAX_NS ? wait_ns : RETRY_MAX_NS;
    job->retry.wall_ns = clock.wall_ns + job->retry_wait_ns;
    job->retry.steady_ns = clock.steady_ns + job->retry_wait_ns;
}

static void describe_end(const struct job *job, char ret_what[static WHAT_SIZE])
{
    snprintf(ret_what, WHAT_SIZE, "%s%s%s",
             job->after != JOB_SCHEDULED ? job_state_name[job->after]
             : *job->reason              ? "failed"
                                         : "done",
             *job->reason ? ": " : "", job->reason);
}

void job_run_end(struct jobs *jobs, struct job *job, struct schedule_clock clock,
                 enum job_state after, const char *reason)
{
    char what[WHAT_SIZE], why[JOB_REASON_SIZE];

    snprintf(why, sizeof(why), "%.*s", JOB_REASON_SIZE - 1, reason); /* may be the job's own */
    memcpy(job->reason, why, sizeof(why));
    if (!job->clock.running)
        job->retry = (struct schedule_clock){0};
    job->after = after;
    if (job->slot >= 0) {
        job->ending = true;
        job_store_write_state(jobs->store, job);
        jobs->ops->end(jobs->context, job);
        return;
    }
    job->state = after;
    describe_end(job, what);
    if (job->recording && recording_is_open(job->recording)) {
        if (job->retry.steady_ns)
            recording_interrupt_run(job->recording, clock.wall_ns, what);
        else
            recording_end_run(job->recording, clock.wall_ns, what);
    }
    job_run_settle(jobs, job);
}

void job_run_settle(struct jobs *jobs, struct job *job)
{
    int err = 0;

    if (job->deleted && job->slot < 0) {
        if (job->recording && job->keep_recording)
            recording_save(jobs->store, job);
        if (!job->keep_recording)
            recording_delete(jobs->store, job->spec.name);
        if (job->keep_file)
            job_store_remove_state(jobs->store, job->spec.name);
        else
            job_store_remove(jobs->store, job->spec.name);
        job_forget(jobs, job);
        return;
    }
    if (job->recording)
        err = recording_save(jobs->store, job);
    job->unsaved = job_store_write_state(jobs->store, job) || err;
}

/* Counts onto disk now and then; the statement's own end. */
static void look_after(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    if (clock.wall_ns - job->saved_ns >= SAVE_INTERVAL_NS || clock.wall_ns < job->saved_ns)
        job_run_save(jobs, job, clock.wall_ns);
    look_at_limit(jobs, job, clock);
}

/* At the limit, and when every entry to come is younger than the statement allows, nothing new
 * matches; the streams that have matched are recorded until they are silent. */
static void look_at_limit(struct jobs *jobs, struct job *job, struct schedule_clock clock)
{
    uint64_t limit = (uint64_t)kfl_statement_limit(job->statement);
    bool past = (int64_t)(clock.wall_ns / 1000000) > kfl_statement_last_ms(job->statement);
    struct job_counts counts = {0};
    bool counted, full;

    if (!limit && !past)
        return;
    jobs->ops->counts(jobs->context, job, &counts);
    counted = limit && counts.value[JOB_COUNT_entries] >= limit;
    full = limit && (counted || counts.admitted >= limit);
    if (!full && !past)
        return;
    if (counted && !job->limit_counted)
        jobs->ops->saturate(jobs->context, job);
    job->limit_counted = counted;
    if (!job->limit_reached || counts.value[JOB_COUNT_packets] != job->limit_packets) {
        job->limit_reached = true;
        job->limit_packets = counts.value[JOB_COUNT_packets];
        job->limit_quiet_ns = clock.steady_ns;
    } else if (clock.steady_ns - job->limit_quiet_ns >= LIMIT_QUIET_NS) {
        schedule_stop(&job->clock, clock);
        job_run_end(jobs, job, clock, JOB_DONE,
                    full ? "the statement's limit is reached"
                         : "the statement's last time is past");
    }
}

void job_run_save(struct jobs *jobs, struct job *job, uint64_t now_ns)
{
    struct job_counts counts = {0};

    jobs->ops->counts(jobs->context, job, &counts);
    recording_count(job->recording, &counts, now_ns);
    recording_past(job->recording, &job->past);
    recording_save(jobs->store, job);
    job->saved_ns = now_ns;
}
