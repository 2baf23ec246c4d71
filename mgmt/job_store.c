#include "job_store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "files.h"

enum { STATE_SIZE_MAX = 64 << 10, ASKED_SIZE_MAX = 1 << 20, HASH_SIZE = 17 };
enum { PATH_SIZE = JOB_PATH_SIZE + JOB_NAME_MAX + 16 };

static void path_of(const char *store, const char *name, const char *ending,
                    char ret_path[static PATH_SIZE]);
static char *print(const struct conf_job *spec, size_t *ret_size);
static void hash(const struct conf_job *spec, char ret_text[static HASH_SIZE]);
static int check_file(const char *path, char *reterr_text);
static void read_state(struct job *job, const struct doc *state);
static char *copy(const char *text);

int job_store_write(const char *store, const struct job *job,
                    char reterr_text[static JOB_ERROR_SIZE])
{
    char path[PATH_SIZE];
    size_t size;
    char *text = print(&job->spec, &size);
    int err;

    path_of(store, job->spec.name, JOB_ASKED, path);
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
    char path[PATH_SIZE], asked[HASH_SIZE];
    struct doc *state = doc_object();
    int err;

    hash(&job->spec, asked);
    doc_set_text(state, "asked", asked);
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
    path_of(store, job->spec.name, JOB_STATE, path);
    err = doc_write(state, path, 0640);
    doc_free(state);
    return err;
}

int job_store_read(const char *store, const char *name, struct conf_job *ret_spec,
                   char reterr_text[static JOB_ERROR_SIZE])
{
    char path[PATH_SIZE], error[CONF_ERROR_SIZE];
    struct conf *conf;
    int err;

    path_of(store, name, JOB_ASKED, path);
    err = check_file(path, reterr_text);
    if (err)
        return err;
    err = conf_read_job(path, &conf, error);
    if (err) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s", error);
        return err;
    }
    if (!*conf->jobs[0].name)
        conf->jobs[0].name = name;
    if (strcmp(conf->jobs[0].name, name)) {
        snprintf(reterr_text, JOB_ERROR_SIZE,
                 "%s: name = \"%.100s\": must be as the file is called, \"%s\", or left out", path,
                 conf->jobs[0].name, name);
        conf_free(conf);
        return -EINVAL;
    }
    job_spec_copy(ret_spec, &conf->jobs[0]);
    conf_free(conf);
    return 0;
}

int job_store_read_state(const char *store, const char *name, struct job *job, bool *ret_same,
                         char reterr_text[static JOB_ERROR_SIZE])
{
    char path[PATH_SIZE], why[DOC_ERROR_SIZE], asked[HASH_SIZE] = "";
    struct doc *state;

    path_of(store, name, JOB_STATE, path);
    if (access(path, F_OK))
        return -errno;
    state = doc_read(path, STATE_SIZE_MAX, why);
    if (!state) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "%s: remove it to begin the job anew", why);
        return -EINVAL;
    }
    if (job->spec.name)
        hash(&job->spec, asked);
    *ret_same = !strcmp(doc_text(state, "asked", asked), asked);
    read_state(job, state);
    doc_free(state);
    return 0;
}

bool job_store_has_file(const char *store, const char *name)
{
    char path[PATH_SIZE];

    path_of(store, name, JOB_ASKED, path);
    return !access(path, F_OK) || errno != ENOENT;
}

void job_store_remove(const char *store, const char *name)
{
    char path[PATH_SIZE];

    path_of(store, name, JOB_ASKED, path);
    unlink(path);
    job_store_remove_state(store, name);
}

void job_store_remove_state(const char *store, const char *name)
{
    char path[PATH_SIZE];

    path_of(store, name, JOB_STATE, path);
    unlink(path);
}

int job_store_set_aside(const char *store, const char *name)
{
    char from[PATH_SIZE], to[PATH_SIZE];

    path_of(store, name, JOB_ASKED, from);
    path_of(store, name, JOB_REFUSED, to);
    return rename(from, to) ? -errno : 0;
}

int job_store_list(const char *store, const char *ending, char ***ret_names)
{
    size_t tail = strlen(ending);
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
        char *file = entries[i]->d_name;
        size_t size = strlen(file);

        if (*file != '.' && size > tail && !strcmp(file + size - tail, ending)) {
            file[size - tail] = 0;
            names[n_names++] = copy(file);
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
           !strcmp(a->until, b->until) && !strcmp(a->on_quota, b->on_quota) &&
           !strcmp(a->on_error, b->on_error) && a->iterations == b->iterations &&
           a->snaplen == b->snaplen && a->duration == b->duration &&
           a->expiration == b->expiration && a->quota == b->quota && a->cutoff == b->cutoff;
}

static char *print(const struct conf_job *spec, size_t *ret_size)
{
    char *text;
    FILE *out = open_memstream(&text, ret_size);

    ensure(out);
    conf_print_job(spec, out);
    ensure(!fclose(out));
    return text;
}

/* FNV-1a of how it is written: the same however a person wrote it. */
static void hash(const struct conf_job *spec, char ret_text[static HASH_SIZE])
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    size_t size;
    char *text = print(spec, &size);

    for (size_t i = 0; i < size; i++)
        value = (value ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    free(text);
    snprintf(ret_text, HASH_SIZE, "%016llx", (unsigned long long)value);
}

/* What a person left there may be anything: a pipe would keep us waiting, and a file that is still
 * to be written would be a job that records everything. */
static int check_file(const char *path, char *reterr_text)
{
    const char *why = NULL;
    struct stat status;

    if (stat(path, &status))
        why = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        why = "is not a file: remove it";
    else if (status.st_size > ASKED_SIZE_MAX)
        why = "is larger than a job can be: 1 MiB";
    else if (!status.st_size)
        why = "is empty: write at least kfl = \"...\";";
    if (!why)
        return 0;
    snprintf(reterr_text, JOB_ERROR_SIZE, "%s: %s", path, why);
    return -EINVAL;
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
