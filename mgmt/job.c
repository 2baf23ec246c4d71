#include "job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "files.h"
#include "job_run.h"
#include "job_store.h"
#include "recording.h"
#include "units.h"

enum { JOBS_MAX_DEFAULT = 1000 };

const char *const job_state_name[JOB_STATE_COUNT] = {"scheduled", "recording", "done",
                                                     "stopped",   "failed",    "expired"};

const struct job_count_info job_count_info[JOB_COUNT_COUNT] = {
#define JOB_COUNT(id, kind, help) {#id, help, JOB_COUNT_KIND_##kind},
#include "job_count.def"
#undef JOB_COUNT
};

static struct job *new_job(void);
static void free_job(struct job *job);
static int insert(struct jobs *jobs, struct job *job, char *reterr_text);
static int make_room(struct jobs *jobs, char *reterr_text);
static int check_free(struct jobs *jobs, const char *name, bool declared, char *reterr_text);
static void set_schedule(struct job *job, uint64_t start_ns);
static void close_run(struct job *job);

int jobs_create(const char *store, const struct job_ops *ops, void *context, struct jobs **ret_jobs,
                char reterr_text[static JOB_ERROR_SIZE])
{
    static const char *const folders[] = {"/jobs", "/recordings"};
    struct jobs *jobs = calloc(1, sizeof(*jobs));

    if (!jobs)
        return -ENOMEM;
    snprintf(jobs->store, sizeof(jobs->store), "%s", store);
    jobs->ops = ops;
    jobs->context = context;
    jobs->max = JOBS_MAX_DEFAULT;
    jobs->statement_max = KFL_STATEMENT_SIZE_MAX;
    for (unsigned i = 0; i < 2; i++) {
        char path[JOB_PATH_SIZE + 16];
        int err;

        snprintf(path, sizeof(path), "%s%s", store, folders[i]);
        err = folder_make(path, 0750);
        if (err) {
            snprintf(reterr_text, JOB_ERROR_SIZE, "%s: %s", path, strerror(-err));
            free(jobs);
            return err;
        }
    }
    *ret_jobs = jobs;
    return 0;
}

void jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return;
    for (unsigned i = 0; i < jobs->n; i++)
        free_job(jobs->job[i]);
    free(jobs->job);
    free(jobs);
}

void jobs_set_limits(struct jobs *jobs, unsigned max, uint64_t statement_max)
{
    jobs->max = max;
    jobs->statement_max = statement_max;
}

void jobs_set_retry(struct jobs *jobs, bool retry)
{
    jobs->retry = retry;
}

void jobs_load(struct jobs *jobs, struct schedule_clock clock, void (*complain)(const char *text))
{
    char **names = NULL;
    int n = job_store_list(jobs->store, &names);

    for (int i = 0; i < n; i++) {
        char error[JOB_ERROR_SIZE] = "";
        struct job *job = new_job();
        bool is_new = false;
        int err = job_check_name(names[i], error);

        if (!err)
            err = job_store_read(jobs->store, names[i], job, &is_new, error);
        if (!err && is_new) { /* a file that was dropped in */
            struct job *added;

            err = job_add(jobs, &job->spec, false, clock, &added, error);
            free_job(job);
            job = NULL;
        } else if (!err) {
            set_schedule(job, job->schedule.start_ns);
            err = insert(jobs, job, error);
            if (!err && job->recording)
                close_run(job);
        }
        if (err) {
            complain(error);
            if (job)
                free_job(job);
        }
        free(names[i]);
    }
    free(names);
}

int job_add(struct jobs *jobs, const struct conf_job *spec, bool declared,
            struct schedule_clock clock, struct job **ret_job,
            char reterr_text[static JOB_ERROR_SIZE])
{
    uint64_t start_ns;
    struct job *job;
    int err;

    if (strlen(spec->kfl) > jobs->statement_max) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "the statement has %zu bytes: limits.statement allows %llu", strlen(spec->kfl),
                 (unsigned long long)jobs->statement_max);
        return -EINVAL;
    }
    err = job_check(spec, clock.wall_ns, reterr_text);
    if (!err)
        err = check_free(jobs, spec->name, declared, reterr_text);
    if (!err && *spec->until)
        start_ns = clock.wall_ns; /* it is cut now */
    else if (!err)
        err = schedule_parse_start(spec->start, clock.wall_ns, &start_ns, reterr_text);
    if (!err)
        err = make_room(jobs, reterr_text);
    if (err)
        return err;
    job = new_job();
    job_spec_copy(&job->spec, spec);
    job->created_ns = clock.wall_ns;
    job->declared = declared;
    set_schedule(job, start_ns);
    err = job_store_write(jobs->store, job, reterr_text);
    if (!err)
        err = insert(jobs, job, reterr_text);
    if (err) {
        job_store_remove(jobs->store, job->spec.name);
        free_job(job);
        return err;
    }
    job_run_step(jobs, job, clock);
    *ret_job = job;
    return 0;
}

void job_delete(struct jobs *jobs, struct job *job, bool keep_recording,
                struct schedule_clock clock)
{
    job->deleted = true;
    job->keep_recording = keep_recording;
    if (job->slot >= 0) {
        if (!job->clock.over)
            schedule_stop(&job->clock, clock);
        if (!job->ending)
            job_run_end(jobs, job, clock, JOB_STOPPED, "deleted");
        return;
    }
    job_run_settle(jobs, job);
}

unsigned jobs_declare(struct jobs *jobs, const struct conf_job *specs, unsigned n,
                      struct schedule_clock clock, void (*complain)(const char *text))
{
    unsigned n_waiting = 0;

    for (unsigned i = 0; i < jobs->n; i++) {
        struct job *job = jobs->job[i];
        bool wanted = !job->declared || job->deleted;

        for (unsigned k = 0; k < n; k++)
            wanted |= job_spec_equal(&job->spec, &specs[k]);
        if (!wanted) {
            /* Changed or gone; what it recorded is not thrown away by editing a file. */
            job_delete(jobs, job, true, clock);
            if (i < jobs->n && jobs->job[i] != job)
                i--;
        }
    }
    for (unsigned k = 0; k < n; k++) {
        struct job *job = job_find(jobs, specs[k].name);
        char error[JOB_ERROR_SIZE], text[JOB_ERROR_SIZE + 128];

        if (job && job->deleted) {
            n_waiting++;
            continue;
        }
        if (job && job->declared)
            continue;
        if (job)
            snprintf(error, sizeof(error),
                     "a job of this name was created by hand: delete it, or "
                     "rename the one in the configuration");
        else if (!job_add(jobs, &specs[k], true, clock, &job, error))
            continue;
        snprintf(text, sizeof(text), "jobs[%u] '%.64s': %s", k, specs[k].name, error);
        complain(text);
    }
    return n_waiting;
}

void jobs_save(struct jobs *jobs, uint64_t now_ns)
{
    for (unsigned i = 0; i < jobs->n; i++) {
        struct job *job = jobs->job[i];

        if (job->ending) {
            job_ended(jobs, job, now_ns); /* all of it is on disk by now */
            if (i < jobs->n && jobs->job[i] != job)
                i--; /* it was to be deleted */
            continue;
        }
        if (job->recording && job->slot >= 0)
            job_run_save(jobs, job, now_ns);
        job_store_write_state(jobs->store, job);
    }
}

struct job *job_find(const struct jobs *jobs, const char *name)
{
    for (unsigned i = 0; i < jobs->n; i++)
        if (!strcmp(jobs->job[i]->spec.name, name))
            return jobs->job[i];
    return NULL;
}

unsigned jobs_n(const struct jobs *jobs)
{
    return jobs->n;
}

struct job *jobs_at(const struct jobs *jobs, unsigned i)
{
    ensure(i < jobs->n);
    return jobs->job[i];
}

const char *jobs_store(const struct jobs *jobs)
{
    return jobs->store;
}

struct doc *job_doc(const struct jobs *jobs, const struct job *job, bool with_runs)
{
    const struct doc *runs = doc_get(job->recording, "runs");
    struct doc *doc = doc_object();
    struct job_counts counts = {0};

    if (job->recording && job->slot >= 0) {
        jobs->ops->counts(jobs->context, job, &counts);
        recording_count(job->recording, &counts, 0);
        recording_past(job->recording, &job->past);
    }
    if (job->recording)
        recording_sum(job->recording, &counts);
    doc_set_text(doc, "name", job->spec.name);
    doc_set_text(doc, "state", job_state_name[job->state]);
    doc_set_text(doc, "reason", job->reason);
    doc_set_bool(doc, "ending", job->ending);
    doc_set_text(doc, "kfl", job->spec.kfl);
    doc_set_time(doc, "created", job->created_ns);
    doc_set_bool(doc, "declared", job->declared);
    doc_set_time(doc, "start", job->schedule.start_ns);
    doc_set_time(doc, "next", schedule_next(&job->schedule, &job->clock));
    doc_set_time(doc, "expires", schedule_expiry(&job->schedule, &job->clock));
    doc_set_int(doc, "iterations", job->spec.iterations);
    doc_set_uint(doc, "duration", job->spec.duration / NS_PER_MIN);
    doc_set_uint(doc, "expiration", job->spec.expiration / NS_PER_MIN);
    doc_set_uint(doc, "quota", job->spec.quota);
    doc_set_text(doc, "on_quota", job->spec.on_quota);
    doc_set_text(doc, "on_error", job->spec.on_error);
    doc_set_time(doc, "retry", job->retry.steady_ns ? job->retry.wall_ns : 0);
    doc_set_int(doc, "snaplen", job->spec.snaplen);
    doc_set_uint(doc, "cutoff", job->spec.cutoff);
    for (unsigned i = 0; i < JOB_COUNT_COUNT; i++)
        doc_set_uint(doc, job_count_info[i].name, counts.value[i]);
    doc_set_time(doc, "first", counts.first_ns);
    doc_set_time(doc, "last", counts.last_ns);
    doc_set_uint(doc, "n_runs", doc_size(runs));
    if (with_runs)
        doc_set(doc, "runs", runs ? doc_copy(runs) : doc_array());
    return doc;
}

static struct job *new_job(void)
{
    struct job *job = calloc(1, sizeof(*job));

    ensure(job);
    job->slot = -1;
    return job;
}

static void free_job(struct job *job)
{
    job_spec_free(&job->spec);
    kfl_statement_free(job->statement);
    if (job->recording)
        doc_free(job->recording);
    free(job);
}

static int insert(struct jobs *jobs, struct job *job, char *reterr_text)
{
    struct job **more = realloc(jobs->job, (jobs->n + 1) * sizeof(more[0]));
    unsigned i = jobs->n;

    if (!more) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "out of memory");
        return -ENOMEM;
    }
    jobs->job = more;
    for (; i > 0 && strcmp(more[i - 1]->spec.name, job->spec.name) > 0; i--)
        more[i] = more[i - 1];
    more[i] = job;
    jobs->n++;
    if (recording_exists(jobs->store, job->spec.name))
        job->recording = recording_open(jobs->store, job);
    return 0;
}

void job_forget(struct jobs *jobs, struct job *job)
{
    unsigned i = 0;

    while (jobs->job[i] != job)
        i++;
    memmove(jobs->job + i, jobs->job + i + 1, (jobs->n - i - 1) * sizeof(jobs->job[0]));
    jobs->n--;
    free_job(job);
}

/* When the table is full the expired job that is longest over makes room. */
static int make_room(struct jobs *jobs, char *reterr_text)
{
    struct job *oldest = NULL;

    if (jobs->n < jobs->max)
        return 0;
    for (unsigned i = 0; i < jobs->n; i++)
        if (jobs->job[i]->state == JOB_EXPIRED &&
            (!oldest || jobs->job[i]->clock.ended_ns < oldest->clock.ended_ns))
            oldest = jobs->job[i];
    if (!oldest) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "there are %u jobs, and limits.jobs allows no more: delete some", jobs->n);
        return -ENOSPC;
    }
    job_store_remove(jobs->store, oldest->spec.name);
    job_forget(jobs, oldest);
    return 0;
}

static int check_free(struct jobs *jobs, const char *name, bool declared, char *reterr_text)
{
    struct job *job = job_find(jobs, name);

    if (job && job->state == JOB_EXPIRED) {
        job_store_remove(jobs->store, name);
        job_forget(jobs, job);
        job = NULL;
    }
    if (job) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "there is a job '%s' already (%s): delete it, or take another name", name,
                 job_state_name[job->state]);
        return -EEXIST;
    }
    /* A declared job that was changed goes on in its recording. */
    if (!declared && recording_exists(jobs->store, name)) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "there is a recording '%s' already: delete it, or take another name", name);
        return -EEXIST;
    }
    return 0;
}

static void set_schedule(struct job *job, uint64_t start_ns)
{
    job->schedule.start_ns = start_ns;
    job->schedule.iterations = job->spec.iterations;
    job->schedule.duration_ns = job->spec.duration;
    job->schedule.expiration_ns = job->spec.expiration;
}

/* The process was killed while the run was being ended. */
static void close_run(struct job *job)
{
    char what[JOB_REASON_SIZE + 64];

    if (job->clock.begun || !recording_is_open(job->recording))
        return;
    snprintf(what, sizeof(what), "%s%s%s (the recorder was killed meanwhile)",
             job->state == JOB_SCHEDULED ? "done" : job_state_name[job->state],
             *job->reason ? ": " : "", job->reason);
    recording_end_run(job->recording, job->clock.ended_ns, what);
    job->unsaved = true;
}
