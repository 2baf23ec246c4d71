/* doctor_store.c - the file system that recordings are written to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "doctor.h"
#include "units.h"

enum { WRITE_SIZE = 1 << 20, N_WRITES = 64, SLOW_MB_S = 125, ALIGNMENT = 4096 };

static void check_space(const struct doctor *doctor, const char *folder);
static void check_speed(const struct doctor *doctor, const char *folder);
static int write_all(int fd, double *ret_mb_s);

void doctor_store(const struct doctor *doctor)
{
    const char *store = doctor->conf->storage_path;
    char folder[DOCTOR_PATH_SIZE];
    char *slash;

    snprintf(folder, sizeof(folder), "%s", store);
    while (access(folder, F_OK) && (slash = strrchr(folder, '/')) && slash != folder)
        *slash = 0; /* the start makes what is missing */
    check_space(doctor, folder);
    check_speed(doctor, folder);
}

static void check_space(const struct doctor *doctor, const char *folder)
{
    char available[UNITS_TEXT_SIZE], floor[UNITS_TEXT_SIZE];
    struct statvfs status;
    uint64_t size;

    if (statvfs(folder, &status)) {
        doctor_tell(doctor, DOCTOR_FAIL, "space", doctor->conf->storage_path,
                    "name a folder that can be written in storage.path", "%s", strerror(errno));
        return;
    }
    size = (uint64_t)status.f_bavail * status.f_frsize;
    doctor_tell(doctor,
                size < doctor->conf->free_min       ? DOCTOR_FAIL
                : size < 4 * doctor->conf->free_min ? DOCTOR_WARN
                                                    : DOCTOR_OK,
                "space", doctor->conf->storage_path,
                "delete recordings, take a larger file system, or lower storage.free_min",
                "%s free, %s of it stay (storage.free_min)", units_format_size(size, available),
                units_format_size(doctor->conf->free_min, floor));
}

/* As segments are written: past the page cache, where the file system can. The file has no name. */
static void check_speed(const struct doctor *doctor, const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_DIRECT | O_CLOEXEC, 0600);
    double mb_s = 0;
    bool direct = fd >= 0;
    int err;

    if (!direct)
        fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    err = fd < 0 ? -errno : write_all(fd, &mb_s);
    if (fd >= 0)
        close(fd);
    if (err)
        doctor_tell(doctor, DOCTOR_WARN, "disk", doctor->conf->storage_path,
                    "run it as root, to write a test file", "not measured: %s", strerror(-err));
    else
        doctor_tell(doctor, mb_s < SLOW_MB_S ? DOCTOR_WARN : DOCTOR_OK, "disk",
                    doctor->conf->storage_path,
                    "a faster disk, or jobs that record less: 1 Gbit/s recorded is 125 MB/s",
                    "%.0f MB/s%s", mb_s, direct ? "" : ", through the page cache (no O_DIRECT)");
}

static int write_all(int fd, double *ret_mb_s)
{
    void *block = aligned_alloc(ALIGNMENT, WRITE_SIZE);
    struct timespec from, to;
    int err = block ? 0 : -ENOMEM;
    double seconds;

    if (block)
        memset(block, 0x5a, WRITE_SIZE);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; !err && i < N_WRITES; i++)
        if (write(fd, block, WRITE_SIZE) != WRITE_SIZE)
            err = errno ? -errno : -ENOSPC;
    if (!err && fdatasync(fd))
        err = -errno;
    clock_gettime(CLOCK_MONOTONIC, &to);
    free(block);
    seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    if (!err)
        *ret_mb_s = (double)WRITE_SIZE * N_WRITES / 1e6 / (seconds > 0 ? seconds : 1e-9);
    return err;
}
