#include "retention.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "log.h"
#include "recording.h"
#include "units.h"

enum { REMOVE_A_TURN = 64, STEM_SIZE = 200, BLOCK = 512 };

static const uint64_t interval_ns = 5 * NS_PER_S;

enum kind { FINISHED, ROTATING }; /* in this order they go */

struct candidate { /* a segment that may go */
    enum kind kind;
    char name[JOB_NAME_MAX + 1]; /* of the recording */
    char stem[STEM_SIZE];        /* its files' name without the ending */
    struct timespec time;
    uint64_t bytes;
};

struct candidates {
    struct candidate *segment;
    size_t n, max;
    uint64_t stored; /* bytes of all recordings */
};

static void collect(const struct jobs *jobs, struct candidates *candidates);
static bool may_go(const struct jobs *jobs, const char *name, enum kind *ret_kind);
static void add_segments(const char *store, const char *name, enum kind kind,
                         struct candidates *candidates);
static uint64_t remove_segment(int folder, const char *stem);
static uint64_t excess(const struct jobs *jobs, const struct conf *conf, uint64_t stored);
static uint64_t release(struct jobs *jobs, const struct candidate *segment);
static int by_age(const void *a, const void *b);

void retention_step(struct retention *retention, struct jobs *jobs, const struct conf *conf,
                    struct schedule_clock clock)
{
    struct candidates candidates = {0};
    uint64_t over;

    if (retention->looked_ns && clock.steady_ns - retention->looked_ns < interval_ns)
        return;
    retention->looked_ns = clock.steady_ns;
    collect(jobs, &candidates);
    over = excess(jobs, conf, candidates.stored);
    if (over && candidates.n)
        qsort(candidates.segment, candidates.n, sizeof(candidates.segment[0]), by_age);
    for (size_t i = 0; over && i < candidates.n && i < REMOVE_A_TURN; i++) {
        uint64_t bytes = release(jobs, &candidates.segment[i]);

        over -= bytes < over ? bytes : over;
    }
    if (over && candidates.n <= REMOVE_A_TURN && !retention->said)
        log_warning("the store is over its limits by %llu bytes, and nothing is left that may be "
                    "deleted",
                    (unsigned long long)over);
    retention->said = over && candidates.n <= REMOVE_A_TURN;
    free(candidates.segment);
}

static void collect(const struct jobs *jobs, struct candidates *candidates)
{
    const char *store = jobs_store(jobs);
    char path[JOB_PATH_SIZE];
    const struct dirent *entry;
    DIR *dir;

    recording_path(store, "", path);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        enum kind kind;

        if (entry->d_name[0] == '.' || strlen(entry->d_name) > JOB_NAME_MAX)
            continue;
        candidates->stored += recording_measure(store, entry->d_name).bytes;
        if (may_go(jobs, entry->d_name, &kind) && !recording_is_held(store, entry->d_name))
            add_segments(store, entry->d_name, kind, candidates);
    }
    if (dir)
        closedir(dir);
}

static bool may_go(const struct jobs *jobs, const char *name, enum kind *ret_kind)
{
    const struct job *job = job_find(jobs, name);

    *ret_kind = !job || (job->clock.over && job->slot < 0) ? FINISHED : ROTATING;
    return *ret_kind == FINISHED || !strcmp(job->spec.on_quota, "rotate");
}

static void add_segments(const char *store, const char *name, enum kind kind,
                         struct candidates *candidates)
{
    char path[JOB_PATH_SIZE];
    const struct dirent *entry;
    DIR *dir;

    recording_path(store, name, path);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        size_t size = strlen(entry->d_name);
        struct candidate *segment;
        struct stat st;

        if (size < 8 || size - 7 >= STEM_SIZE || strcmp(entry->d_name + size - 7, ".pcapng") != 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        if (candidates->n == candidates->max) {
            candidates->max = candidates->max ? 2 * candidates->max : 256;
            candidates->segment =
                realloc(candidates->segment, candidates->max * sizeof(candidates->segment[0]));
            ensure(candidates->segment);
        }
        segment = &candidates->segment[candidates->n++];
        *segment = (struct candidate){.kind = kind, .time = st.st_mtim};
        snprintf(segment->name, sizeof(segment->name), "%s", name);
        snprintf(segment->stem, sizeof(segment->stem), "%.*s", (int)(size - 7), entry->d_name);
        segment->bytes = (uint64_t)st.st_blocks * BLOCK;
    }
    if (dir)
        closedir(dir);
}

/* Bytes that have to go. */
static uint64_t excess(const struct jobs *jobs, const struct conf *conf, uint64_t stored)
{
    uint64_t over = 0;
    struct statvfs fs;

    if (conf->storage_limit && stored > conf->storage_limit)
        over = stored - conf->storage_limit;
    if (!statvfs(jobs_store(jobs), &fs)) {
        uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;

        if (free_bytes < conf->free_min && conf->free_min - free_bytes > over)
            over = conf->free_min - free_bytes;
    }
    return over;
}

/* -> bytes that it gives back, now or soon */
static uint64_t release(struct jobs *jobs, const struct candidate *segment)
{
    struct job *job = job_find(jobs, segment->name);
    char path[JOB_PATH_SIZE];
    uint64_t bytes;
    int folder;

    if (job && job->slot >= 0) /* its files are the writer's */
        return job_give_back(jobs, job, segment->bytes) ? 0 : segment->bytes;
    recording_path(jobs_store(jobs), segment->name, path);
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return 0;
    bytes = remove_segment(folder, segment->stem);
    close(folder);
    log_info("storage limit: %s/%s is deleted (%llu bytes)", path, segment->stem,
             (unsigned long long)bytes);
    recording_note_deleted(jobs_store(jobs), segment->name, job, bytes);
    return bytes;
}

/* All files with its name. -> their bytes */
static uint64_t remove_segment(int folder, const char *stem)
{
    static const char *const endings[] = {"pcapng", "idx", "entries.ndjson"};
    uint64_t bytes = 0;

    for (unsigned i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        char name[STEM_SIZE + 32];
        struct stat st;

        snprintf(name, sizeof(name), "%s.%s", stem, endings[i]);
        if (!fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) && !unlinkat(folder, name, 0))
            bytes += (uint64_t)st.st_blocks * BLOCK;
    }
    return bytes;
}

static int by_age(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->time.tv_sec != y->time.tv_sec)
        return x->time.tv_sec < y->time.tv_sec ? -1 : 1;
    if (x->time.tv_nsec != y->time.tv_nsec)
        return x->time.tv_nsec < y->time.tv_nsec ? -1 : 1;
    return strcmp(x->stem, y->stem);
}
