/* job_files.c - what people leave in STORE/jobs: files that create, change and remove jobs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job_run.h"
#include "job_store.h"
#include "log.h"
#include "recording.h"

enum { TEXT_SIZE = JOB_ERROR_SIZE + JOB_PATH_SIZE };

static void drop_without_file(struct jobs *jobs, const char *name, struct schedule_clock clock);
static void drop(struct jobs *jobs, struct job *job, struct schedule_clock clock, const char *why);
static void look_at_missing(struct jobs *jobs, struct schedule_clock clock);
static bool look_at(struct jobs *jobs, const char *name, struct schedule_clock clock,
                    char reterr_text[static TEXT_SIZE]);
static int take_up(struct jobs *jobs, const struct conf_job *spec, struct schedule_clock clock,
                   char *reterr_text);
static int change(struct jobs *jobs, struct job *job, const struct conf_job *spec,
                  struct schedule_clock clock, char *reterr_text);
static void set_aside(struct jobs *jobs, const char *name);
static void close_run(struct job *job);

void jobs_load(struct jobs *jobs, struct schedule_clock clock, void (*complain)(const char *text))
{
    char **names = NULL;
    int n = job_store_list(jobs->store, JOB_STATE, &names);

    for (int i = 0; i < n; i++) {
        char error[JOB_ERROR_SIZE];

        if (!job_check_name(names[i], error) && !job_store_has_file(jobs->store, names[i]))
            drop_without_file(jobs, names[i], clock);
        free(names[i]);
    }
    free(names);
    jobs_look(jobs, clock, complain);
}

unsigned jobs_look(struct jobs *jobs, struct schedule_clock clock,
                   void (*complain)(const char *text))
{
    char **names = NULL;
    int n = job_store_list(jobs->store, JOB_ASKED, &names);
    char text[TEXT_SIZE];
    unsigned n_waiting = 0;

    if (n < 0) { /* the folder is gone: nobody has removed the jobs one by one */
        snprintf(text, sizeof(text), "%s/jobs: %s: files in it are not seen", jobs->store,
                 strerror(-n));
        complain(text);
        return 0;
    }
    job_refusals_begin(&jobs->refusals, false);
    look_at_missing(jobs, clock);
    for (int i = 0; i < n; i++) {
        *text = 0;
        n_waiting += look_at(jobs, names[i], clock, text);
        if (*text && job_refuse(&jobs->refusals, false, names[i], text))
            complain(text);
        free(names[i]);
    }
    free(names);
    n = job_store_list(jobs->store, JOB_REFUSED, &names);
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof(text),
                 "%s/jobs/%.64s" JOB_REFUSED ": the job is declared in the configuration: change "
                 "it there, and remove this file",
                 jobs->store, names[i]);
        if (job_refuse(&jobs->refusals, false, names[i], text))
            complain(text);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    job_refusals_end(&jobs->refusals, false);
    return n_waiting;
}

/* Its file was removed while nobody looked: what it recorded stays. */
static void drop_without_file(struct jobs *jobs, const char *name, struct schedule_clock clock)
{
    struct doc *recording = recording_doc(jobs->store, name);
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE];
    struct job *job;
    bool same;

    spec.name = name;
    spec.kfl = doc_text(recording, "kfl", "");
    job = job_new(&spec);
    doc_free(recording);
    if (job_store_read_state(jobs->store, name, job, &same, error))
        job_free(job);
    else
        drop(jobs, job, clock, "its file was removed");
}

/* A job that is not in the table yet, and is not to come into it. */
static void drop(struct jobs *jobs, struct job *job, struct schedule_clock clock, const char *why)
{
    char error[JOB_ERROR_SIZE];

    if (job_insert(jobs, job, error)) {
        job_free(job);
        return;
    }
    log_info("job %s is deleted: %s", job->spec.name, why);
    close_run(job);
    job->deleted = job->keep_recording = job->keep_file = true;
    if (job->clock.over) {
        job_run_settle(jobs, job);
        return;
    }
    schedule_stop(&job->clock, clock);
    job_run_end(jobs, job, clock, JOB_STOPPED, why);
}

static void look_at_missing(struct jobs *jobs, struct schedule_clock clock)
{
    for (unsigned i = 0; i < jobs->n; i++) {
        struct job *job = jobs->job[i];
        char error[JOB_ERROR_SIZE] = "";

        if (job->deleted || job_store_has_file(jobs->store, job->spec.name))
            continue;
        if (job->declared) {
            log_warning("job %s is declared in the configuration: its file is written again",
                        job->spec.name);
            if (job_store_write(jobs->store, job, error))
                log_warning("%s", error);
            continue;
        }
        log_info("job %s is deleted: its file was removed", job->spec.name);
        job->keep_file = true; /* one that comes before it has ended */
        job_delete(jobs, job, true, clock);
        if (i < jobs->n && jobs->job[i] != job)
            i--;
    }
}

/* -> it waits for the job that it replaces; with a message in reterr_text it is refused */
static bool look_at(struct jobs *jobs, const char *name, struct schedule_clock clock,
                    char reterr_text[static TEXT_SIZE])
{
    struct job *job = job_find(jobs, name);
    char error[JOB_ERROR_SIZE] = "";
    struct conf_job spec;
    int err;

    if (job && job->deleted)
        return true;
    if (job_check_name(name, error)) {
        snprintf(reterr_text, TEXT_SIZE, "%s/jobs/%s.conf: %s", jobs->store, name, error);
        return false;
    }
    if (job_store_read(jobs->store, name, &spec, reterr_text))
        return false;
    if (!job)
        err = take_up(jobs, &spec, clock, error);
    else if (!job_spec_equal(&spec, &job->spec))
        err = change(jobs, job, &spec, clock, error);
    else
        err = 0;
    job_spec_free(&spec);
    if (err < 0)
        snprintf(reterr_text, TEXT_SIZE, "%s/jobs/%s.conf: %s", jobs->store, name,
                 *error ? error : strerror(-err));
    return err > 0;
}

/* A file without a job in the table: as it stood, or new. */
static int take_up(struct jobs *jobs, const struct conf_job *spec, struct schedule_clock clock,
                   char *reterr_text)
{
    struct job *job = job_new(spec);
    bool same, declared;
    int err = job_store_read_state(jobs->store, spec->name, job, &same, reterr_text);

    if (!err && same) {
        err = job_insert(jobs, job, reterr_text);
        if (err)
            job_free(job);
        else
            close_run(job);
        return err;
    }
    declared = job->declared;
    if (!err)
        drop(jobs, job, clock, "its file was changed");
    else
        job_free(job);
    if (err && err != -ENOENT)
        return err;
    if (declared) { /* it is about to come from there */
        set_aside(jobs, spec->name);
        return 0;
    }
    err = job_make(jobs, spec, JOB_BY_FILE, clock, &job, reterr_text);
    if (!err)
        log_info("job %s is created by its file (%s)", spec->name, job_state_name[job->state]);
    return err;
}

/* -> 1: its job is being ended, or -errno with the message: it goes on as it was */
static int change(struct jobs *jobs, struct job *job, const struct conf_job *spec,
                  struct schedule_clock clock, char *reterr_text)
{
    int err;

    if (job->declared) {
        set_aside(jobs, job->spec.name);
        return job_store_write(jobs->store, job, reterr_text);
    }
    err = jobs_check(jobs, spec, clock.wall_ns, reterr_text);
    if (err)
        return err;
    log_info("job %s is changed by its file", job->spec.name);
    job->keep_file = true;
    job_delete(jobs, job, true, clock);
    return 1;
}

/* jobs_look() comes upon it. */
static void set_aside(struct jobs *jobs, const char *name)
{
    int err = job_store_set_aside(jobs->store, name);

    if (err)
        log_warning("%s/jobs/%s.conf cannot be set aside: %s", jobs->store, name, strerror(-err));
}

/* The process was killed while the run was being ended. */
static void close_run(struct job *job)
{
    char what[JOB_REASON_SIZE + 64];

    if (!job->recording || job->clock.begun || !recording_is_open(job->recording))
        return;
    snprintf(what, sizeof(what), "%s%s%s (the recorder was killed meanwhile)",
             job->state == JOB_SCHEDULED ? "done" : job_state_name[job->state],
             *job->reason ? ": " : "", job->reason);
    recording_end_run(job->recording, job->clock.ended_ns, what);
    job->unsaved = true;
}
