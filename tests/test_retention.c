/* Retention: 30 days of 20 jobs in a store of its own file system, by a clock that is an argument.
 * The deck is a fake that puts segments of 64 KiB into the recordings and rotates as the writer
 * does. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "../mgmt/files.h"
#include "../mgmt/job.h"
#include "../mgmt/recording.h"
#include "../mgmt/retention.h"
#include "../mgmt/units.h"
#include "tap.h"

enum { JOBS = 20, SEGMENT = 64 << 10, DAYS = 30, SLOTS = 64 };
#define DISK "64m"

struct world {
    char store[64];
    struct jobs *jobs;
    struct conf conf;
    struct retention retention;
    struct schedule_clock clock;
    struct job *slots[SLOTS];
    struct job *ending[SLOTS];
    unsigned n_ending, number, n_refused;
    uint64_t given_back;
};

static int fake_begin(void *context, struct job *job, char reterr_text[static JOB_ERROR_SIZE])
{
    struct world *world = context;
    int slot = 0;

    while (world->slots[slot])
        slot++;
    world->slots[slot] = job;
    job->slot = slot;
    return 0;
}

static void fake_end(void *context, struct job *job)
{
    struct world *world = context;

    world->slots[job->slot] = NULL;
    world->ending[world->n_ending++] = job;
}

static void fake_counts(void *context, const struct job *job, struct job_counts *ret_counts)
{
    memset(ret_counts, 0, sizeof(*ret_counts));
}

static void fake_saturate(void *context, struct job *job)
{
}

/* Names of segments in order; -> how many. */
static unsigned segments_of(const struct world *world, const char *name, struct dirent ***ret_names)
{
    char path[JOB_PATH_SIZE];
    struct dirent **all = NULL;
    int n, kept = 0;

    recording_path(world->store, name, path);
    n = scandir(path, &all, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (strstr(all[i]->d_name, ".pcapng"))
            all[kept++] = all[i];
        else
            free(all[i]);
    }
    *ret_names = all;
    return n < 0 ? 0 : (unsigned)kept;
}

static unsigned count(const struct world *world, const char *name)
{
    struct dirent **names = NULL;
    unsigned n = segments_of(world, name, &names);

    for (unsigned i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return n;
}

/* As the writer: oldest first, the open one stays. */
static int fake_release(void *context, struct job *job, uint64_t bytes)
{
    struct world *world = context;
    struct dirent **names = NULL;
    unsigned n = segments_of(world, job->spec.name, &names);

    CU_ASSERT_STRING_EQUAL(job->spec.on_quota, "rotate");
    for (unsigned i = 0; i < n; i++) {
        char path[JOB_PATH_SIZE + 300], folder[JOB_PATH_SIZE];

        recording_path(world->store, job->spec.name, folder);
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        if (i + 1 < n && bytes) {
            unlink(path);
            bytes -= bytes < SEGMENT ? bytes : SEGMENT;
            world->given_back++;
        }
        free(names[i]);
    }
    free(names);
    return 0;
}

static const struct job_ops fake_ops = {.begin = fake_begin,
                                        .end = fake_end,
                                        .counts = fake_counts,
                                        .saturate = fake_saturate,
                                        .release = fake_release};

static void complain(const char *text)
{
    tap_note("%s", text);
}

static void open_store(struct world *world)
{
    char error[JOB_ERROR_SIZE];

    memset(world->slots, 0, sizeof(world->slots));
    world->retention = (struct retention){0};
    ensure(!jobs_create(world->store, &fake_ops, world, &world->jobs, error));
    jobs_load(world->jobs, world->clock, complain);
    jobs_step(world->jobs, world->clock);
}

/* -> false: not here, and skipped */
static bool begin_world(struct world *world)
{
    memset(world, 0, sizeof(*world));
    strcpy(world->store, "/tmp/test_retention.XXXXXX");
    ensure(mkdtemp(world->store));
    if (mount("tmpfs", world->store, "tmpfs", 0, "size=" DISK)) {
        rmdir(world->store);
        tap_skip("needs root, to mount a file system of its own");
        return false;
    }
    units_parse_time("2026-03-02T00:00:00Z", &world->clock.wall_ns);
    world->clock.steady_ns = 1000 * NS_PER_S;
    open_store(world);
    return true;
}

static void end_world(struct world *world)
{
    jobs_free(world->jobs);
    umount2(world->store, MNT_DETACH);
    rmdir(world->store);
}

static void put_segment(struct world *world, const char *name)
{
    static const char bytes[SEGMENT];
    char folder[JOB_PATH_SIZE], path[JOB_PATH_SIZE + 64];
    struct timespec times[2] = {{.tv_sec = (time_t)(world->clock.wall_ns / NS_PER_S),
                                 .tv_nsec = (long)(world->clock.wall_ns % NS_PER_S)}};
    int file;

    recording_path(world->store, name, folder);
    snprintf(path, sizeof(path), "%s/%s-%06u.pcapng", folder, name, ++world->number);
    file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640);
    ensure(file >= 0);
    if (write(file, bytes, SEGMENT) != SEGMENT) { /* the disk is full */
        world->n_refused++;
        unlink(path);
    }
    times[1] = times[0];
    futimens(file, times);
    close(file);
}

static void pass(struct world *world, uint64_t ns)
{
    world->clock.wall_ns += ns;
    world->clock.steady_ns += ns;
    jobs_step(world->jobs, world->clock);
    while (world->n_ending)
        job_ended(world->jobs, world->ending[--world->n_ending], world->clock.wall_ns);
    retention_step(&world->retention, world->jobs, &world->conf, world->clock);
}

static struct job *add(struct world *world, const char *name, const char *on_quota, unsigned hours,
                       unsigned iterations, unsigned expiration_hours)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct job *job = NULL;

    spec.name = name;
    spec.on_quota = on_quota;
    spec.duration = hours * NS_PER_HOUR;
    spec.iterations = iterations;
    spec.expiration = expiration_hours * NS_PER_HOUR;
    if (job_add(world->jobs, &spec, world->clock, &job, error))
        tap_note("%s", error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(job);
    return job;
}

static uint64_t stored(const struct world *world)
{
    struct doc *all = recordings_doc(world->store, NULL);
    uint64_t bytes = 0;

    for (size_t i = 0; i < doc_size(all); i++)
        bytes += doc_uint(doc_at(all, i), "size", 0);
    doc_free(all);
    return bytes;
}

static void step_until_quiet(struct world *world)
{
    for (unsigned i = 0; i < 20; i++)
        pass(world, 5 * NS_PER_S);
}

static void finished_ones_go_first_then_what_rotates_and_nothing_else(void)
{
    struct world world;

    if (!begin_world(&world))
        return;
    add(&world, "old", "stop", 1, 1, 0);
    for (unsigned i = 0; i < 10; i++)
        put_segment(&world, "old");
    pass(&world, NS_PER_HOUR);
    add(&world, "newer", "stop", 1, 1, 0);
    for (unsigned i = 0; i < 10; i++)
        put_segment(&world, "newer");
    pass(&world, NS_PER_HOUR);
    add(&world, "rotates", "rotate", 100, 1, 0);
    add(&world, "stops", "stop", 100, 1, 0);
    add(&world, "daily", "stop", 1, 0, 0);
    for (unsigned i = 0; i < 10; i++) {
        put_segment(&world, "rotates");
        put_segment(&world, "stops");
        put_segment(&world, "daily");
    }
    pass(&world, 2 * NS_PER_HOUR);
    CU_ASSERT_EQUAL(job_find(world.jobs, "daily")->state, JOB_SCHEDULED);
    world.conf.storage_limit = 45 * (SEGMENT + 1024);
    step_until_quiet(&world);
    CU_ASSERT(count(&world, "old") >= 3 && count(&world, "old") <= 6);
    CU_ASSERT_EQUAL(count(&world, "newer"), 10);
    world.conf.storage_limit = 35 * (SEGMENT + 1024);
    step_until_quiet(&world);
    CU_ASSERT_EQUAL(count(&world, "old"), 0);
    CU_ASSERT(count(&world, "newer") >= 3 && count(&world, "newer") <= 6);
    CU_ASSERT_EQUAL(world.given_back, 0);
    world.conf.storage_limit = 25 * (SEGMENT + 1024);
    step_until_quiet(&world);
    CU_ASSERT_EQUAL(count(&world, "newer"), 0);
    CU_ASSERT(count(&world, "rotates") >= 3 && count(&world, "rotates") <= 6);
    world.conf.storage_limit = SEGMENT;
    step_until_quiet(&world);
    CU_ASSERT_EQUAL(count(&world, "rotates"), 1);
    CU_ASSERT_EQUAL(count(&world, "stops"), 10);
    CU_ASSERT_EQUAL(count(&world, "daily"), 10);
    end_world(&world);
}

static void the_floor_of_free_space_is_kept(void)
{
    struct world world;
    struct statvfs fs;

    if (!begin_world(&world))
        return;
    add(&world, "old", "stop", 1, 1, 0);
    for (unsigned i = 0; i < 400; i++)
        put_segment(&world, "old");
    pass(&world, NS_PER_HOUR);
    world.conf.free_min = 56 << 20;
    step_until_quiet(&world);
    statvfs(world.store, &fs);
    CU_ASSERT(fs.f_bavail * fs.f_frsize >= world.conf.free_min);
    CU_ASSERT(fs.f_bavail * fs.f_frsize <= world.conf.free_min + (1 << 20)); /* and no more */
    end_world(&world);
}

static void what_is_exported_stays(void)
{
    struct world world;
    char path[JOB_PATH_SIZE];
    int folder;

    if (!begin_world(&world))
        return;
    add(&world, "read", "stop", 1, 1, 2);
    add(&world, "other", "stop", 2, 1, 0);
    for (unsigned i = 0; i < 5; i++) {
        put_segment(&world, "read");
        put_segment(&world, "other");
    }
    pass(&world, 2 * NS_PER_HOUR);
    recording_path(world.store, "read", path);
    folder = open(path, O_RDONLY | O_DIRECTORY);
    ensure(folder >= 0 && !flock(folder, LOCK_SH));
    world.conf.storage_limit = 6 * SEGMENT;
    step_until_quiet(&world);
    CU_ASSERT_EQUAL(count(&world, "read"), 5);
    CU_ASSERT(count(&world, "other") <= 1);
    pass(&world, 3 * NS_PER_HOUR); /* it has expired meanwhile */
    CU_ASSERT_TRUE(recording_exists(world.store, "read"));
    CU_ASSERT_EQUAL(job_find(world.jobs, "read")->state, JOB_DONE);
    close(folder);
    pass(&world, NS_PER_S);
    CU_ASSERT_FALSE(recording_exists(world.store, "read"));
    CU_ASSERT_EQUAL(job_find(world.jobs, "read")->state, JOB_EXPIRED);
    end_world(&world);
}

/* What must hold each hour: limits, and that nothing goes that may not. */
static bool look(struct world *world, unsigned *ends)
{
    bool over = stored(world) > world->conf.storage_limit + SEGMENT; /* descriptions grow, too */
    bool well = !over || world->retention.said;

    for (unsigned i = 0; i < JOBS; i++) {
        char name[16];
        struct job *job;

        snprintf(name, sizeof(name), "job%u", i);
        job = job_find(world->jobs, name);
        if (over && job->clock.over) /* then nothing is left that may go */
            well &= count(world, name) == 0;
        else if (over && !strcmp(job->spec.on_quota, "rotate"))
            well &= count(world, name) <= 1;
        if (!job->clock.over)
            continue;
        /* It is kept for its time from the end of the last run on, and no longer. */
        well &= (world->clock.wall_ns < job->clock.ended_ns + job->spec.expiration) ==
                recording_exists(world->store, name);
        *ends += job->state == JOB_EXPIRED;
    }
    return well;
}

static void thirty_days_of_twenty_jobs(void)
{
    struct world world;
    unsigned expired = 0, restarts = 0, hour = 0, n_over = 0;
    bool well = true;

    if (!begin_world(&world))
        return;
    world.conf.storage_limit = 12 << 20;
    world.conf.free_min = 4 << 20;
    for (unsigned i = 0; i < JOBS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "job%u", i);
        add(&world, name, i % 3 ? "stop" : "rotate", 1 + i % 5, i % 12 ? 1 + i : 0,
            24 * (1 + i % 7));
    }
    for (; well && hour < DAYS * 24; hour++) {
        for (unsigned i = 0; i < SLOTS; i++)
            if (world.slots[i])
                put_segment(&world, world.slots[i]->spec.name);
        for (unsigned i = 0; i < 2; i++)
            pass(&world, NS_PER_HOUR / 2);
        if (hour % 37 == 36) { /* the recorder is started anew, down for an hour or not at all */
            jobs_save(world.jobs, world.clock.wall_ns);
            jobs_free(world.jobs);
            world.clock.wall_ns += hour % 2 * NS_PER_HOUR;
            world.clock.steady_ns += hour % 2 * NS_PER_HOUR;
            open_store(&world);
            pass(&world, NS_PER_S);
            restarts++;
        }
        well = look(&world, &expired);
        n_over += world.retention.said;
    }
    CU_ASSERT_TRUE(well);
    CU_ASSERT_EQUAL(world.n_refused, 0);
    CU_ASSERT(expired > 0);
    tap_note(
        "%u hours, %u of them with nothing left that may go, %u restarts, %u segments put, %llu "
        "rotated by a limit",
        hour, n_over, restarts, world.number, (unsigned long long)world.given_back);
    end_world(&world);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"finished ones go first, then what rotates, and nothing else",
         finished_ones_go_first_then_what_rotates_and_nothing_else},
        {"the floor of free space is kept", the_floor_of_free_space_is_kept},
        {"what is exported stays", what_is_exported_stays},
        {"30 days of 20 jobs", thirty_days_of_twenty_jobs},
        {0},
    };
    return tap_main(argc, argv, "retention", tests);
}
