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

static int make_room(struct jobs *jobs, char *reterr_text);
static int check_free(struct jobs *jobs, const char *name, enum job_origin origin,
                      char *reterr_text);

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
        job_free(jobs->job[i]);
    free(jobs->job);
    job_refusals_done(&jobs->refusals);
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

int job_add(struct jobs *jobs, const struct conf_job *spec, struct schedule_clock clock,
            struct job **ret_job, char reterr_text[static JOB_ERROR_SIZE])
{
    return job_make(jobs, spec, JOB_BY_HAND, clock, ret_job, reterr_text);
}

int job_make(struct jobs *jobs, const struct conf_job *spec, enum job_origin origin,
             struct schedule_clock clock, struct job **ret_job,
             char reterr_text[static JOB_ERROR_SIZE])
{
    uint64_t start_ns;
    struct job *job;
    int err;

    err = jobs_check(jobs, spec, clock.wall_ns, reterr_text);
    if (!err)
        err = check_free(jobs, spec->name, origin, reterr_text);
    if (!err && *spec->until)
        start_ns = clock.wall_ns; /* it is cut now */
    else if (!err)
        err = schedule_parse_start(spec->start, clock.wall_ns, &start_ns, reterr_text);
    if (!err)
        err = make_room(jobs, reterr_text);
    if (err)
        return err;
    job = job_new(spec);
    job->created_ns = clock.wall_ns;
    job->declared = origin == JOB_DECLARED;
    job->schedule.start_ns = start_ns;
    if (origin == JOB_BY_FILE)
        err = job_store_write_state(jobs->store, job);
    else
        err = job_store_write(jobs->store, job, reterr_text);
    if (!err)
        err = job_insert(jobs, job, reterr_text);
    if (err) {
        if (origin == JOB_BY_FILE)
            job_store_remove_state(jobs->store, spec->name);
        else
            job_store_remove(jobs->store, spec->name);
        job_free(job);
        return err;
    }
    job_run_step(jobs, job, clock);
    *ret_job = job;
    return 0;
}

int jobs_check(const struct jobs *jobs, const struct conf_job *spec, uint64_t now_ns,
               char reterr_text[static JOB_ERROR_SIZE])
{
    if (strlen(spec->kfl) <= jobs->statement_max)
        return job_check(spec, now_ns, reterr_text);
    snprintf(reterr_text, JOB_ERROR_SIZE,
             "the statement has %zu bytes: limits.statement allows %llu", strlen(spec->kfl),
             (unsigned long long)jobs->statement_max);
    return -EINVAL;
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

    job_refusals_begin(&jobs->refusals, true);
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
        else if (!job_make(jobs, &specs[k], JOB_DECLARED, clock, &job, error))
            continue;
        snprintf(text, sizeof(text), "jobs[%u] '%.64s': %s", k, specs[k].name, error);
        if (job_refuse(&jobs->refusals, true, specs[k].name, text))
            complain(text);
    }
    job_refusals_end(&jobs->refusals, true);
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

const struct job_refusals *jobs_refusals(const struct jobs *jobs)
{
    return &jobs->refusals;
}

struct doc *job_doc(const struct jobs *jobs, const struct job *job, bool with_runs)
{
    const struct doc *runs = doc_get(job->recording, "runs");
    const char *refused = job_refused(&jobs->refusals, job->spec.name);
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
    doc_set_text(doc, "refused", refused ? refused : "");
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

struct doc *job_refusal_doc(const struct jobs *jobs, const struct job_refusal *refusal)
{
    struct conf_job spec = conf_job_initial();
    struct job *job;
    struct doc *doc;

    spec.name = refusal->name;
    job = job_new(&spec);
    job->clock.over = true; /* it has no times */
    doc = job_doc(jobs, job, false);
    job_free(job);
    doc_set_text(doc, "state", "refused");
    doc_set_text(doc, "refused", refusal->text);
    doc_set_text(doc, "reason", refusal->text);
    doc_set_bool(doc, "declared", refusal->declared);
    return doc;
}

struct job *job_new(const struct conf_job *spec)
{
    struct job *job = calloc(1, sizeof(*job));

    ensure(job);
    job->slot = -1;
    job_spec_copy(&job->spec, spec);
    job->schedule.iterations = spec->iterations;
    job->schedule.duration_ns = spec->duration;
    job->schedule.expiration_ns = spec->expiration;
    return job;
}

void job_free(struct job *job)
{
    job_spec_free(&job->spec);
    kfl_statement_free(job->statement);
    if (job->recording)
        doc_free(job->recording);
    free(job);
}

int job_insert(struct jobs *jobs, struct job *job, char reterr_text[static JOB_ERROR_SIZE])
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
    job_free(job);
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

static int check_free(struct jobs *jobs, const char *name, enum job_origin origin,
                      char *reterr_text)
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
    /* What the configuration or a file asks goes on in its recording when it was changed. */
    if (origin == JOB_BY_HAND && recording_exists(jobs->store, name)) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "there is a recording '%s' already: delete it, or take another name", name);
        return -EEXIST;
    }
    if (origin != JOB_BY_FILE && job_store_has_file(jobs->store, name)) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "%s/jobs/%s.conf is there already, and is not taken up: mend it, remove it, or "
                 "take another name",
                 jobs->store, name);
        return -EEXIST;
    }
    return 0;
}
