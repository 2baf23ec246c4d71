#include "recording.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../writer/segment.h"
#include "files.h"
#include "recording_counts.h"

enum { DESCRIPTION_SIZE_MAX = 16 << 20, RUNS_MAX = 10000, GAPS_MAX = 1000 };

#define DESCRIPTION "recording.json"

static void add_gap(struct doc *run, uint64_t now_ns);
static uint32_t next_segment(const char *store, const char *name);
static bool contains(const char *text, const char *search);

void recording_path(const char *store, const char *name, char ret_path[static JOB_PATH_SIZE])
{
    snprintf(ret_path, JOB_PATH_SIZE, "%s/recordings%s%s", store, *name ? "/" : "", name);
}

bool recording_exists(const char *store, const char *name)
{
    char path[JOB_PATH_SIZE];

    recording_path(store, name, path);
    return !access(path, F_OK);
}

struct doc *recording_open(const char *store, const struct job *job)
{
    struct doc *recording = recording_load(store, job->spec.name);

    if (!recording) {
        recording = doc_object();
        doc_set_text(recording, "name", job->spec.name);
        doc_set_time(recording, "created", job->created_ns);
    }
    doc_set_text(recording, "kfl", job->spec.kfl);
    if (!doc_get(recording, "runs"))
        doc_set(recording, "runs", doc_array());
    return recording;
}

bool recording_begin_run(struct doc *recording, const char *store, int64_t number, uint64_t now_ns)
{
    struct doc *run = recording_last_run(recording);
    struct job_counts counts = {0};
    uint32_t segment = next_segment(store, doc_text(recording, "name", ""));

    if (run && doc_int(run, "number", -1) == number && !doc_time(run, "end", 0)) {
        /* Goes on after a restart: what was counted before stays. */
        recording_add_counts(&counts, run);
        doc_set(run, "before", doc_object());
        recording_set_counts(doc_child(run, "before"), &counts);
        doc_set_uint(run, "segment", segment);
        return true;
    }
    if (doc_size(doc_get(recording, "runs")) >= RUNS_MAX)
        return false;
    run = doc_object();
    doc_set_int(run, "number", number);
    doc_set_time(run, "start", now_ns);
    doc_set_null(run, "end");
    doc_set_text(run, "what", "recording");
    doc_set_uint(run, "segment", segment);
    recording_set_counts(run, &counts);
    doc_append(doc_child(recording, "runs"), run);
    return false;
}

void recording_go_on(struct doc *recording, uint64_t now_ns)
{
    struct doc *run = recording_last_run(recording);

    if (!recording_is_open(recording))
        return;
    if (doc_time(run, "as_of", 0) || doc_time(run, "interrupted", 0))
        add_gap(run, now_ns);
    doc_set_time(run, "as_of", now_ns);
}

void recording_count(struct doc *recording, const struct job_counts *counts, uint64_t now_ns)
{
    struct doc *run = recording_last_run(recording);
    struct job_counts sum = *counts;

    if (!run)
        return;
    recording_add_counts(&sum, doc_get(run, "before"));
    recording_set_counts(run, &sum);
    if (now_ns)
        doc_set_time(run, "as_of", now_ns);
}

bool recording_is_open(const struct doc *recording)
{
    const struct doc *runs = doc_get(recording, "runs");
    const struct doc *run = doc_size(runs) ? doc_at(runs, doc_size(runs) - 1) : NULL;

    return run && doc_get(run, "end") && !doc_time(run, "end", 0);
}

void recording_interrupt_run(struct doc *recording, uint64_t now_ns, const char *what)
{
    struct doc *run = recording_last_run(recording);

    doc_set_text(run, "what", what);
    if (!doc_time(run, "interrupted", 0)) /* tried again meanwhile: it is one gap */
        doc_set_time(run, "interrupted", now_ns);
}

void recording_end_run(struct doc *recording, uint64_t end_ns, const char *what)
{
    struct doc *run = recording_last_run(recording);

    if (!run)
        return;
    doc_set_time(run, "end", end_ns);
    doc_set_text(run, "what", what);
}

void recording_miss_runs(struct doc *recording, int64_t number, int64_t n)
{
    struct doc *run = doc_object();

    doc_set_int(run, "number", number);
    doc_set_int(run, "n", n);
    doc_set_text(run, "what", "missed: the recorder was not running");
    doc_append(doc_child(recording, "runs"), run);
}

void recording_sum(const struct doc *recording, struct job_counts *ret_counts)
{
    const struct doc *runs = doc_get(recording, "runs");

    memset(ret_counts, 0, sizeof(*ret_counts));
    for (size_t i = 0; i < doc_size(runs); i++)
        recording_add_counts(ret_counts, doc_at(runs, i));
}

void recording_past(struct doc *recording, const struct job_past *past)
{
    struct doc *run = recording_last_run(recording), *doc;

    if (!run || !past->from_ns)
        return;
    doc = doc_object();
    doc_set_time(doc, "from", past->from_ns);
    if (past->to_ns != UINT64_MAX)
        doc_set_time(doc, "to", past->to_ns);
    if (past->held_from_ns != UINT64_MAX)
        doc_set_time(doc, "held_from", past->held_from_ns);
    doc_set_bool(doc, "missing", past->held_from_ns > past->from_ns || past->lost_segments);
    doc_set_bool(doc, "complete", past->taken);
    doc_set_uint(doc, "streams", past->streams);
    doc_set_uint(doc, "packets", past->packets);
    doc_set(run, "past", doc);
}

int recording_save(const char *store, const struct job *job)
{
    struct job_counts sum;

    recording_sum(job->recording, &sum);
    recording_set_counts(job->recording, &sum);
    doc_set_text(job->recording, "state", job_state_name[job->state]);
    doc_set_text(job->recording, "reason", job->reason);
    doc_set_time(job->recording, "expires", schedule_expiry(&job->schedule, &job->clock));
    return recording_write(store, job->spec.name, job->recording);
}

int recording_write(const char *store, const char *name, const struct doc *recording)
{
    char folder[JOB_PATH_SIZE], path[JOB_PATH_SIZE + 32];
    int err;

    recording_path(store, name, folder);
    snprintf(path, sizeof(path), "%s/" DESCRIPTION, folder);
    err = folder_make(folder, 0750);
    return err ? err : doc_write(recording, path, 0640);
}

struct doc *recording_doc(const char *store, const char *name)
{
    struct doc *recording;
    struct recording_size size;
    char path[JOB_PATH_SIZE];

    if (!recording_exists(store, name))
        return NULL;
    recording = recording_load(store, name);
    if (!recording) {
        recording = doc_object();
        doc_set_text(recording, "kfl", "");
        doc_set_text(recording, "state", "unknown");
        doc_set_text(recording, "reason", "it has no description (" DESCRIPTION ")");
    }
    size = recording_measure(store, name);
    recording_path(store, name, path);
    doc_set_text(recording, "name", name);
    doc_set_text(recording, "folder", path);
    doc_set_uint(recording, "size", size.bytes);
    doc_set_uint(recording, "files", size.segments);
    return recording;
}

struct doc *recordings_doc(const char *store, const char *search)
{
    struct doc *all = doc_array();
    char path[JOB_PATH_SIZE], error[JOB_ERROR_SIZE];
    struct dirent **entries;
    int n;

    recording_path(store, "", path);
    n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        struct doc *recording = NULL;

        if (!job_check_name(entries[i]->d_name, error))
            recording = recording_doc(store, entries[i]->d_name);
        if (recording && (contains(entries[i]->d_name, search) ||
                          contains(doc_text(recording, "kfl", ""), search)))
            doc_append(all, recording);
        else if (recording)
            doc_free(recording);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return all;
}

int recording_delete(const char *store, const char *name)
{
    char path[JOB_PATH_SIZE];

    recording_path(store, name, path);
    return folder_remove(path);
}

void recording_note_deleted(const char *store, const char *name, struct job *job, uint64_t bytes)
{
    struct doc *recording = job ? job->recording : recording_load(store, name);

    if (!recording)
        return;
    doc_set_uint(recording, "limit_segments", doc_uint(recording, "limit_segments", 0) + 1);
    doc_set_uint(recording, "limit_bytes", doc_uint(recording, "limit_bytes", 0) + bytes);
    recording_write(store, name, recording);
    if (!job)
        doc_free(recording);
}

bool recording_is_held(const char *store, const char *name)
{
    char path[JOB_PATH_SIZE];
    bool held;
    int folder;

    recording_path(store, name, path);
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return false;
    held = flock(folder, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
    close(folder);
    return held;
}

struct recording_size recording_measure(const char *store, const char *name)
{
    struct recording_size size = {0};
    char path[JOB_PATH_SIZE];
    const struct dirent *entry;
    DIR *dir;

    recording_path(store, name, path);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        struct stat st;
        const char *dot = strrchr(entry->d_name, '.');

        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        size.bytes += (uint64_t)st.st_blocks * 512;
        size.segments += dot && !strcmp(dot, ".pcapng");
    }
    if (dir)
        closedir(dir);
    return size;
}

struct doc *recording_load(const char *store, const char *name)
{
    char folder[JOB_PATH_SIZE], path[JOB_PATH_SIZE + 32], error[DOC_ERROR_SIZE];

    recording_path(store, name, folder);
    snprintf(path, sizeof(path), "%s/" DESCRIPTION, folder);
    return doc_read(path, DESCRIPTION_SIZE_MAX, error);
}

struct doc *recording_last_run(struct doc *recording)
{
    struct doc *runs = doc_child(recording, "runs");
    size_t n = doc_size(runs);

    return n ? doc_child_at(runs, n - 1) : NULL;
}

/* From when it was last known to record until now. */
static void add_gap(struct doc *run, uint64_t now_ns)
{
    uint64_t from_ns = doc_time(run, "interrupted", 0), last_ns = doc_time(run, "last", 0);
    struct doc *gaps, *gap = doc_object();

    if (!doc_get(run, "gaps"))
        doc_set(run, "gaps", doc_array());
    gaps = doc_child(run, "gaps");
    doc_set_text(gap, "why", from_ns ? doc_text(run, "what", "") : "the recorder was not running");
    if (!from_ns)
        from_ns = doc_time(run, "as_of", now_ns);
    if (last_ns > from_ns && last_ns <= now_ns)
        from_ns = last_ns;
    doc_set_time(gap, "from", from_ns);
    doc_set_time(gap, "to", now_ns);
    if (doc_size(gaps) < GAPS_MAX)
        doc_append(gaps, gap);
    else
        doc_free(gap);
    doc_set_uint(run, "n_gaps", doc_uint(run, "n_gaps", 0) + 1);
    doc_set_null(run, "interrupted");
    doc_set_text(run, "what", "recording");
}

/* The number of the first segment that is not yet there. */
static uint32_t next_segment(const char *store, const char *name)
{
    char folder[JOB_PATH_SIZE];
    struct segment_info *segments = NULL;
    uint32_t number = 1;
    unsigned n = 0;

    recording_path(store, name, folder);
    if (!segment_list(folder, name, &segments, &n, NULL) && n)
        number = segments[n - 1].name.number + 1;
    free(segments);
    return number;
}

void recording_set_counts(struct doc *doc, const struct job_counts *counts)
{
    for (unsigned i = 0; i < JOB_COUNT_COUNT; i++)
        doc_set_uint(doc, job_count_info[i].name, counts->value[i]);
    doc_set_time(doc, "first", counts->first_ns);
    doc_set_time(doc, "last", counts->last_ns);
}

void recording_add_counts(struct job_counts *counts, const struct doc *doc)
{
    uint64_t first_ns = doc_time(doc, "first", 0);
    uint64_t last_ns = doc_time(doc, "last", 0);

    for (unsigned i = 0; i < JOB_COUNT_COUNT; i++) {
        uint64_t value = doc_uint(doc, job_count_info[i].name, 0);

        if (job_count_info[i].kind != JOB_COUNT_KIND_GAUGE)
            counts->value[i] += value;
        else if (value > counts->value[i])
            counts->value[i] = value;
    }
    if (first_ns && (!counts->first_ns || first_ns < counts->first_ns))
        counts->first_ns = first_ns;
    if (last_ns > counts->last_ns)
        counts->last_ns = last_ns;
}

/* Without regard to case; null finds everything. */
static bool contains(const char *text, const char *search)
{
    return !search || strcasestr(text, search);
}
