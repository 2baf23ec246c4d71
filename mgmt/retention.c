#include "retention.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "log.h"
#include "recording.h"
#include "units.h"

enum { REMOVE_A_TURN = 16 };

static const uint64_t interval_ns = 5 * NS_PER_S;

struct oldest { /* the oldest segment of a finished recording */
    char folder[JOB_PATH_SIZE];
    char stem[256]; /* its files' name without the ending */
    struct timespec time;
};

static uint64_t excess(const struct jobs *jobs, const struct conf *conf);
static uint64_t bytes_stored(const char *store);
static bool find_oldest(const struct jobs *jobs, struct oldest *ret_oldest);
static void look_into(const char *folder, struct oldest *oldest);
static uint64_t remove_segment(const struct oldest *oldest);
static bool is_older(struct timespec a, struct timespec b);

void retention_step(struct jobs *jobs, const struct conf *conf, struct schedule_clock clock)
{
    static uint64_t looked_ns; /* there is one daemon */
    static bool said;
    uint64_t over;

    if (looked_ns && clock.steady_ns - looked_ns < interval_ns)
        return;
    looked_ns = clock.steady_ns;
    over = excess(jobs, conf);
    for (unsigned i = 0; over && i < REMOVE_A_TURN; i++) {
        struct oldest oldest;
        uint64_t bytes;

        if (!find_oldest(jobs, &oldest)) {
            if (!said)
                log_warning("the store is over its limits by %llu bytes, and no finished recording "
                            "is left to delete",
                            (unsigned long long)over);
            said = true;
            return;
        }
        bytes = remove_segment(&oldest);
        log_info("storage limit: %s/%s is deleted (%llu bytes)", oldest.folder, oldest.stem,
                 (unsigned long long)bytes);
        over -= bytes < over ? bytes : over;
    }
    said = said && over;
}

/* Bytes that have to go. */
static uint64_t excess(const struct jobs *jobs, const struct conf *conf)
{
    uint64_t over = 0;
    struct statvfs fs;

    if (conf->storage_limit) {
        uint64_t stored = bytes_stored(jobs_store(jobs));

        if (stored > conf->storage_limit)
            over = stored - conf->storage_limit;
    }
    if (!statvfs(jobs_store(jobs), &fs)) {
        uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;

        if (free_bytes < conf->free_min && conf->free_min - free_bytes > over)
            over = conf->free_min - free_bytes;
    }
    return over;
}

static uint64_t bytes_stored(const char *store)
{
    char path[JOB_PATH_SIZE];
    const struct dirent *entry;
    uint64_t bytes = 0;
    DIR *dir;

    recording_path(store, "", path);
    dir = opendir(path);
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            bytes += recording_measure(store, entry->d_name).bytes;
    if (dir)
        closedir(dir);
    return bytes;
}

static bool find_oldest(const struct jobs *jobs, struct oldest *ret_oldest)
{
    char path[JOB_PATH_SIZE];
    const struct dirent *entry;
    DIR *dir;

    memset(ret_oldest, 0, sizeof(*ret_oldest));
    recording_path(jobs_store(jobs), "", path);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        const struct job *job = job_find(jobs, entry->d_name);

        if (entry->d_name[0] == '.' || (job && job->slot >= 0))
            continue;
        recording_path(jobs_store(jobs), entry->d_name, path);
        look_into(path, ret_oldest);
    }
    if (dir)
        closedir(dir);
    return *ret_oldest->stem;
}

static void look_into(const char *folder, struct oldest *oldest)
{
    const struct dirent *entry;
    DIR *dir = opendir(folder);

    while (dir && (entry = readdir(dir))) {
        size_t size = strlen(entry->d_name);
        struct stat st;

        if (size < 8 || strcmp(entry->d_name + size - 7, ".pcapng") != 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        if (*oldest->stem && !is_older(st.st_mtim, oldest->time))
            continue;
        snprintf(oldest->folder, sizeof(oldest->folder), "%s", folder);
        snprintf(oldest->stem, sizeof(oldest->stem), "%.*s", (int)(size - 7), entry->d_name);
        oldest->time = st.st_mtim;
    }
    if (dir)
        closedir(dir);
}

/* All files that begin with its name. -> their bytes */
static uint64_t remove_segment(const struct oldest *oldest)
{
    DIR *dir = opendir(oldest->folder);
    const struct dirent *entry;
    size_t size = strlen(oldest->stem);
    uint64_t bytes = 0;

    while (dir && (entry = readdir(dir))) {
        struct stat st;

        if (strncmp(entry->d_name, oldest->stem, size) != 0 || entry->d_name[size] != '.' ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        if (!unlinkat(dirfd(dir), entry->d_name, 0))
            bytes += (uint64_t)st.st_size;
    }
    if (dir)
        closedir(dir);
    return bytes;
}

static bool is_older(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}
