#include "job_store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "files.h"

enum { STATE_SIZE_MAX = 64 << 10, PATH_SIZE = JOB_PATH_SIZE + JOB_NAME_MAX + 16 };

static void path_of(const char *store, const char *name, const char *ending,
                    char ret_path[static PATH_SIZE]);
static void read_state(struct job *job, const struct doc *state);
static char *copy(const char *text);

int job_store_write(const char *store, const struct job *job,
                    char reterr_text[static JOB_ERROR_SIZE])
{
    char path[PATH_SIZE];
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int err;

    ensure(out);
    conf_print_job(&job->spec, out);
    ensure(!fclose(out));
    path_of(store, job->spec.name, ".conf", path);
    err = job_store_write_state(store, job);
    if (!err)
        err = file_replace(path, text, size, 0640);
    free(text);
    if (err)
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s: %s", path, strerror(-err));
    return err;
}

int job_store_write_state(const char *store, const struct job *job)
{
    char path[PATH_SIZE];
    struct doc *state = doc_object();
    int err;

    doc_set_time(state, "created", job->created_ns);
    doc_set_bool(state, "declared", job->declared);
    doc_set_text(state, "state", job_state_name[job->ending ? job->after : job->state]);
    doc_set_text(state, "reason", job->reason);
    doc_set_time(state, "start", job->schedule.start_ns);
    doc_set_int(state, "next", job->clock.next);
    doc_set_bool(state, "begun", job->clock.begun);
    doc_set_bool(state, "over", job->clock.over);
    doc_set_bool(state, "expired", job->clock.expired);
    doc_set_time(state, "ended", job->clock.ended_ns);
    path_of(store, job->spec.name, ".json", path);
    err = doc_write(state, path, 0640);
    doc_free(state);
    return err;
}

int job_store_read(const char *store, const char *name, struct job *job, bool *ret_new,
                   char reterr_text[static JOB_ERROR_SIZE])
{
    char path[PATH_SIZE], error[CONF_ERROR_SIZE], why[DOC_ERROR_SIZE];
    struct conf *conf;
    struct doc *state;
    int err;

    path_of(store, name, ".conf", path);
    err = conf_read_job(path, &conf, error);
    if (err) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s", error);
        return err;
    }
    if (!*conf->jobs[0].name)
        conf->jobs[0].name = name;
    if (strcmp(conf->jobs[0].name, name)) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "%s: name = \"%s\": must be as the file is called, \"%s\", or left out", path,
                 conf->jobs[0].name, name);
        conf_free(conf);
        return -EINVAL;
    }
    job_spec_copy(&job->spec, &conf->jobs[0]);
    conf_free(conf);
    path_of(store, name, ".json", path);
    *ret_new = access(path, F_OK) != 0;
    if (*ret_new)
        return 0;
    state = doc_read(path, STATE_SIZE_MAX, why);
    if (!state) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s: remove it to begin the job anew", why);
        job_spec_free(&job->spec);
        return -EINVAL;
    }
    read_state(job, state);
    doc_free(state);
    return 0;
}

void job_store_remove(const char *store, const char *name)
{
    char path[PATH_SIZE];

    path_of(store, name, ".conf", path);
    unlink(path);
    path_of(store, name, ".json", path);
    unlink(path);
}

int job_store_list(const char *store, char ***ret_names)
{
    char path[PATH_SIZE];
    struct dirent **entries;
    char **names;
    int n, n_names = 0;

    snprintf(path, sizeof(path), "%s/jobs", store);
    n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return -errno;
    names = calloc((size_t)n + 1, sizeof(names[0]));
    ensure(names);
    for (int i = 0; i < n; i++) {
        char *dot = strrchr(entries[i]->d_name, '.');

        if (dot && !strcmp(dot, ".conf")) {
            *dot = 0;
            names[n_names++] = copy(entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    *ret_names = names;
    return n_names;
}

void job_spec_copy(struct conf_job *to, const struct conf_job *from)
{
    struct conf_job spec = *from;

    spec.name = copy(from->name);
    spec.kfl = copy(from->kfl);
    spec.start = copy(from->start);
    spec.until = copy(from->until);
    spec.on_quota = copy(from->on_quota);
    spec.on_error = copy(from->on_error);
    *to = spec;
}

void job_spec_free(struct conf_job *spec)
{
    free((char *)spec->name);
    free((char *)spec->kfl);
    free((char *)spec->start);
    free((char *)spec->until);
    free((char *)spec->on_quota);
    free((char *)spec->on_error);
}

bool job_spec_equal(const struct conf_job *a, const struct conf_job *b)
{
    return !strcmp(a->name, b->name) && !strcmp(a->kfl, b->kfl) && !strcmp(a->start, b->start) &&
           !strcmp(a->until, b->until) && !strcmp(a->on_quota, b->on_quota) && !strcmp(a->on_error, b->on_error) &&
           a->iterations == b->iterations && a->snaplen == b->snaplen &&
           a->duration == b->duration && a->expiration == b->expiration && a->quota == b->quota &&
           a->cutoff == b->cutoff;
}

static void path_of(const char *store, const char *name, const char *ending,
                    char ret_path[static PATH_SIZE])
{
    snprintf(ret_path, PATH_SIZE, "%s/jobs/%s%s", store, name, ending);
}

static void read_state(struct job *job, const struct doc *state)
{
    const char *word = doc_text(state, "state", "");

    job->state = JOB_SCHEDULED;
    for (unsigned i = 0; i < JOB_STATE_COUNT; i++)
        if (!strcmp(word, job_state_name[i]))
            job->state = (enum job_state)i;
    snprintf(job->reason, sizeof(job->reason), "%s", doc_text(state, "reason", ""));
    job->created_ns = doc_time(state, "created", 0);
    job->declared = doc_bool(state, "declared", false);
    job->schedule.start_ns = doc_time(state, "start", 0);
    job->clock.next = doc_int(state, "next", 0);
    job->clock.begun = doc_bool(state, "begun", false);
    job->clock.over = doc_bool(state, "over", false);
    job->clock.expired = doc_bool(state, "expired", false);
    job->clock.ended_ns = doc_time(state, "ended", 0);
}

static char *copy(const char *text)
{
    char *made = strdup(text);

    ensure(made);
    return made;
}
