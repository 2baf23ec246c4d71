/* Jobs: what becomes of them, and that the store remembers it. The deck is a fake whose slots take
 * a turn to be emptied. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mgmt/files.h"
#include "../mgmt/job.h"
#include "../mgmt/recording.h"
#include "../mgmt/units.h"
#include "tap.h"

enum { ENDING_MAX = 16 };

struct world {
    char store[64];
    struct jobs *jobs;
    struct schedule_clock clock;
    struct job *ending[ENDING_MAX];
    unsigned n_ending, n_begun, n_saturated;
    int begin_err;
    struct job_counts counts;
};

static unsigned n_complaints;

static int fake_begin(void *context, struct job *job, char reterr_text[static JOB_ERROR_SIZE])
{
    struct world *world = context;

    if (world->begin_err) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "no way");
        return world->begin_err;
    }
    job->slot = (int)world->n_begun++;
    return 0;
}

static void fake_end(void *context, struct job *job)
{
    struct world *world = context;

    world->ending[world->n_ending++] = job;
}

static void fake_counts(void *context, const struct job *job, struct job_counts *ret_counts)
{
    *ret_counts = ((struct world *)context)->counts;
}

static void fake_saturate(void *context, struct job *job)
{
    ((struct world *)context)->n_saturated++;
}

static const struct job_ops fake_ops = {
    .begin = fake_begin, .end = fake_end, .counts = fake_counts, .saturate = fake_saturate};

static void complain(const char *text)
{
    n_complaints++;
    tap_note("%s", text);
}

static void open_store(struct world *world)
{
    char error[JOB_ERROR_SIZE];

    world->n_ending = 0;
    CU_ASSERT_EQUAL_FATAL(jobs_create(world->store, &fake_ops, world, &world->jobs, error), 0);
    jobs_load(world->jobs, world->clock, complain);
}

static void begin_world(struct world *world)
{
    memset(world, 0, sizeof(*world));
    strcpy(world->store, "/tmp/test_job.XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(world->store));
    units_parse_time("2026-03-02T08:00:00Z", &world->clock.wall_ns);
    world->clock.steady_ns = 1000 * NS_PER_S;
    n_complaints = 0;
    open_store(world);
}

static void end_world(struct world *world)
{
    jobs_free(world->jobs);
    folder_remove(world->store);
}

static void settle(struct world *world)
{
    for (unsigned i = 0; i < world->n_ending; i++)
        job_ended(world->jobs, world->ending[i], world->clock.wall_ns);
    world->n_ending = 0;
}

static void pass(struct world *world, uint64_t ns)
{
    world->clock.wall_ns += ns;
    world->clock.steady_ns += ns;
    jobs_step(world->jobs, world->clock);
    settle(world);
    jobs_step(world->jobs, world->clock);
}

static void restart(struct world *world, uint64_t down_ns)
{
    jobs_save(world->jobs, world->clock.wall_ns);
    jobs_free(world->jobs);
    world->clock.wall_ns += down_ns;
    world->clock.steady_ns += down_ns;
    open_store(world);
    jobs_step(world->jobs, world->clock);
}

static struct job *add(struct world *world, const char *name, const char *kfl, const char *start)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct job *job = NULL;

    spec.name = name;
    spec.kfl = kfl;
    spec.start = start;
    if (job_add(world->jobs, &spec, false, world->clock, &job, error))
        tap_note("%s", error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(job);
    return job;
}

static void expect(struct world *world, const char *name, const char *state, uint64_t streams)
{
    struct job *job = job_find(world->jobs, name);
    struct doc *doc;

    CU_ASSERT_PTR_NOT_NULL_FATAL(job);
    doc = job_doc(world->jobs, job, true);
    CU_ASSERT_STRING_EQUAL(doc_text(doc, "state", ""), state);
    CU_ASSERT_EQUAL(doc_uint(doc, "streams", 99), streams);
    if (strcmp(doc_text(doc, "state", ""), state) || doc_uint(doc, "streams", 99) != streams) {
        char *text = doc_print(doc, false);

        tap_note("%s", text);
        free(text);
    }
    doc_free(doc);
}

static void a_job_runs_is_done_and_expires(void)
{
    struct world world;

    begin_world(&world);
    add(&world, "one", "http", "");
    expect(&world, "one", "recording", 0);
    world.counts.value[JOB_COUNT_streams] = 3;
    pass(&world, 30 * NS_PER_MIN);
    expect(&world, "one", "recording", 3);
    pass(&world, 30 * NS_PER_MIN);
    expect(&world, "one", "done", 3);
    CU_ASSERT_TRUE(recording_exists(world.store, "one"));
    pass(&world, NS_PER_DAY - NS_PER_MIN);
    expect(&world, "one", "done", 3);
    pass(&world, NS_PER_MIN);
    expect(&world, "one", "expired", 0);
    CU_ASSERT_FALSE(recording_exists(world.store, "one"));
    /* Its name is free again. */
    add(&world, "one", "dns", "");
    expect(&world, "one", "recording", 3);
    end_world(&world);
}

static void a_job_waits_for_its_time(void)
{
    struct world world;

    begin_world(&world);
    add(&world, "later", "http", "08:45 UTC");
    expect(&world, "later", "scheduled", 0);
    pass(&world, 44 * NS_PER_MIN);
    expect(&world, "later", "scheduled", 0);
    pass(&world, NS_PER_MIN);
    expect(&world, "later", "recording", 0);
    end_world(&world);
}

static void counts_survive_a_restart_and_runs_add_up(void)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct world world;
    struct job *job;
    struct doc *doc;

    begin_world(&world);
    spec.name = "two";
    spec.kfl = "http";
    spec.iterations = 2;
    CU_ASSERT_EQUAL_FATAL(job_add(world.jobs, &spec, false, world.clock, &job, error), 0);
    world.counts.value[JOB_COUNT_streams] = 5;
    pass(&world, 10 * NS_PER_MIN);
    restart(&world, 10 * NS_PER_MIN);
    world.counts.value[JOB_COUNT_streams] = 2; /* of the new process */
    expect(&world, "two", "recording", 7);
    pass(&world, 40 * NS_PER_MIN);
    expect(&world, "two", "scheduled", 7);
    pass(&world, 23 * NS_PER_HOUR);
    expect(&world, "two", "recording", 9);
    pass(&world, NS_PER_HOUR);
    expect(&world, "two", "done", 9);
    doc = job_doc(world.jobs, job_find(world.jobs, "two"), true);
    CU_ASSERT_EQUAL(doc_size(doc_get(doc, "runs")), 2);
    CU_ASSERT_STRING_EQUAL(doc_text(doc_at(doc_get(doc, "runs"), 0), "end", ""),
                           "2026-03-02T09:00:00.000000000Z");
    doc_free(doc);
    restart(&world, NS_PER_MIN);
    expect(&world, "two", "done", 9);
    end_world(&world);
}

static void a_run_that_ends_while_we_are_down_is_closed(void)
{
    struct world world;

    begin_world(&world);
    add(&world, "cut", "http", "");
    world.counts.value[JOB_COUNT_streams] = 4;
    pass(&world, 10 * NS_PER_MIN);
    restart(&world, 5 * NS_PER_HOUR);
    expect(&world, "cut", "done", 4);
    end_world(&world);
}

static void stop_fail_and_quota_end_for_good(void)
{
    struct world world;

    begin_world(&world);
    job_stop(world.jobs, add(&world, "stopped", "http", ""), world.clock);
    job_failed(world.jobs, add(&world, "failed", "http", ""), world.clock, "disk: No space left");
    job_quota(world.jobs, add(&world, "quota", "http", ""), world.clock);
    job_stop(world.jobs, add(&world, "never", "http", "23:00 UTC"), world.clock);
    CU_ASSERT_EQUAL(world.n_ending, 3);
    settle(&world);
    expect(&world, "stopped", "stopped", 0);
    expect(&world, "failed", "failed", 0);
    expect(&world, "quota", "stopped", 0);
    expect(&world, "never", "stopped", 0);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "failed")->reason, "disk: No space left");
    restart(&world, NS_PER_MIN);
    expect(&world, "failed", "failed", 0);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "failed")->reason, "disk: No space left");
    pass(&world, 25 * NS_PER_HOUR);
    expect(&world, "failed", "expired", 0);
    end_world(&world);
}

static void a_job_that_cannot_begin_has_failed(void)
{
    struct world world;

    begin_world(&world);
    world.begin_err = -ENOSPC;
    add(&world, "bad", "http", "");
    expect(&world, "bad", "failed", 0);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "bad")->reason, "no way");
    end_world(&world);
}

/* on_error = "retry": the disk fails the job, then takes it again. */
static void a_job_that_the_disk_failed_tries_again(void)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    const struct doc *run, *gaps;
    struct world world;
    struct job *job;
    struct doc *doc;

    begin_world(&world);
    spec.name = "again";
    spec.kfl = "http";
    spec.on_error = "retry";
    CU_ASSERT_EQUAL_FATAL(job_add(world.jobs, &spec, false, world.clock, &job, error), 0);
    world.counts.value[JOB_COUNT_streams] = 5;
    pass(&world, NS_PER_MIN);
    job_failed(world.jobs, job, world.clock, "disk: No space left");
    settle(&world);
    expect(&world, "again", "failed", 5);
    CU_ASSERT_STRING_EQUAL(job->reason, "disk: No space left");
    world.begin_err = -EROFS;
    pass(&world, NS_PER_S); /* tried, refused: waits twice as long */
    expect(&world, "again", "failed", 5);
    CU_ASSERT_STRING_EQUAL(job->reason, "no way");
    CU_ASSERT_EQUAL(job->retry.steady_ns, world.clock.steady_ns + 2 * NS_PER_S);
    restart(&world, 0); /* still */
    job = job_find(world.jobs, "again");
    expect(&world, "again", "failed", 5);
    world.begin_err = 0;
    world.counts.value[JOB_COUNT_streams] = 2;
    pass(&world, 10 * NS_PER_S);
    expect(&world, "again", "recording", 7);
    CU_ASSERT_STRING_EQUAL(job->reason, "");
    doc = job_doc(world.jobs, job, true);
    run = doc_at(doc_get(doc, "runs"), 0);
    gaps = doc_get(run, "gaps");
    CU_ASSERT_EQUAL(doc_size(doc_get(doc, "runs")), 1);
    CU_ASSERT_EQUAL(doc_size(gaps), 1);
    CU_ASSERT_STRING_EQUAL(doc_text(doc_at(gaps, 0), "from", ""), "2026-03-02T08:01:00.000000000Z");
    CU_ASSERT_STRING_EQUAL(doc_text(doc_at(gaps, 0), "to", ""), "2026-03-02T08:01:11.000000000Z");
    doc_free(doc);
    /* Its run ends when its time is up, failed or not. */
    job_failed(world.jobs, job, world.clock, "disk: gone");
    settle(&world);
    world.begin_err = -EIO;
    for (unsigned i = 0; i < 60; i++)
        pass(&world, NS_PER_MIN);
    expect(&world, "again", "failed", 7);
    CU_ASSERT_TRUE(job->clock.over);
    CU_ASSERT_FALSE(recording_is_open(job->recording));
    pass(&world, 25 * NS_PER_HOUR);
    expect(&world, "again", "expired", 0);
    end_world(&world);
}

/* What is not the disk's fault is not tried again; what storage.on_error says counts else. */
static void storage_says_whether_jobs_try_again(void)
{
    struct world world;
    struct job *job;

    begin_world(&world);
    jobs_set_retry(world.jobs, true);
    world.begin_err = -EBUSY;
    job = add(&world, "no-slot", "http", "");
    CU_ASSERT_TRUE(job->clock.over);
    world.begin_err = -ENOSPC;
    job = add(&world, "full", "http", "");
    expect(&world, "full", "failed", 0);
    CU_ASSERT_FALSE(job->clock.over);
    job_stop(world.jobs, job, world.clock);
    expect(&world, "full", "stopped", 0);
    CU_ASSERT_FALSE(recording_is_open(job->recording));
    world.begin_err = 0;
    pass(&world, NS_PER_MIN);
    expect(&world, "full", "stopped", 0);
    end_world(&world);
}

static void delete_takes_the_recording_or_leaves_it(void)
{
    struct world world;
    struct job *job;

    begin_world(&world);
    job = add(&world, "a", "http", "");
    job_delete(world.jobs, job, false, world.clock);
    CU_ASSERT_PTR_NOT_NULL(job_find(world.jobs, "a")); /* what is on its way comes first */
    settle(&world);
    CU_ASSERT_PTR_NULL(job_find(world.jobs, "a"));
    CU_ASSERT_FALSE(recording_exists(world.store, "a"));
    job = add(&world, "b", "http", "");
    job_delete(world.jobs, job, true, world.clock);
    settle(&world);
    CU_ASSERT_PTR_NULL(job_find(world.jobs, "b"));
    CU_ASSERT_TRUE(recording_exists(world.store, "b"));
    job_delete(world.jobs, add(&world, "c", "http", "23:00 UTC"), false, world.clock);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 0);
    restart(&world, NS_PER_MIN);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 0);
    end_world(&world);
}

static void what_was_being_ended_has_ended_when_the_process_ends(void)
{
    struct world world;
    struct doc *doc;

    begin_world(&world);
    world.counts.value[JOB_COUNT_streams] = 2;
    add(&world, "goes", "http", "");
    add(&world, "stops", "http", "");
    job_stop(world.jobs, job_find(world.jobs, "stops"), world.clock);
    job_delete(world.jobs, job_find(world.jobs, "goes"), false, world.clock);
    restart(&world, NS_PER_MIN);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    expect(&world, "stops", "stopped", 2);
    doc = recording_doc(world.store, "stops");
    CU_ASSERT_STRING_EQUAL(doc_text(doc, "state", ""), "stopped");
    CU_ASSERT(doc_time(doc_at(doc_get(doc, "runs"), 0), "end", 0) > 0);
    doc_free(doc);
    end_world(&world);
}

static void bad_jobs_are_refused(void)
{
    static const struct {
        struct conf_job spec;
        const char *message;
    } rows[] = {
        {{.name = "", .kfl = "http"}, "name '': must be 1 to 64"},
        {{.name = "../x", .kfl = "http"}, "name '../x': must be"},
        {{.name = ".x", .kfl = "http"}, "must be"},
        {{.name = "a/b", .kfl = "http"}, "must be"},
        {{.name = "a b", .kfl = "http"}, "must be"},
        {{.name = "\xc3\xa4", .kfl = "http"}, "must be"},
        {{.name = "x", .kfl = "http and"}, "the statement is refused: 1:9: "},
        {{.name = "x", .kfl = "http", .start = "soon"}, "start 'soon': must be"},
        {{.name = "there", .kfl = "http"}, "there is a job 'there' already (recording)"},
    };
    struct world world;

    begin_world(&world);
    add(&world, "there", "http", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct conf_job spec = conf_job_initial();
        char error[JOB_ERROR_SIZE] = "";
        struct job *job = NULL;

        spec.name = rows[i].spec.name;
        spec.kfl = rows[i].spec.kfl;
        spec.start = rows[i].spec.start ? rows[i].spec.start : "";
        CU_ASSERT(job_add(world.jobs, &spec, false, world.clock, &job, error) < 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(error, rows[i].message));
        if (!strstr(error, rows[i].message))
            tap_note("%s", error);
    }
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    end_world(&world);
}

static void the_table_is_bounded_and_the_expired_make_room(void)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct world world;
    struct job *job;

    begin_world(&world);
    jobs_set_limits(world.jobs, 2, 1000);
    add(&world, "a", "http", "");
    add(&world, "b", "http", "");
    spec.name = "c";
    CU_ASSERT_EQUAL(job_add(world.jobs, &spec, false, world.clock, &job, error), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "limits.jobs"));
    pass(&world, NS_PER_HOUR);
    pass(&world, NS_PER_DAY);
    expect(&world, "a", "expired", 0);
    CU_ASSERT_EQUAL(job_add(world.jobs, &spec, false, world.clock, &job, error), 0);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 2);
    end_world(&world);
}

static void a_limit_ends_the_job_when_its_streams_are_silent(void)
{
    struct world world;

    begin_world(&world);
    add(&world, "limit", "http and limit(3)", "");
    world.counts.value[JOB_COUNT_entries] = 2;
    pass(&world, NS_PER_S);
    CU_ASSERT_EQUAL(world.n_saturated, 0);
    world.counts.value[JOB_COUNT_entries] = 3;
    world.counts.value[JOB_COUNT_packets] = 30;
    pass(&world, NS_PER_S);
    CU_ASSERT_EQUAL(world.n_saturated, 1);
    world.counts.value[JOB_COUNT_packets] = 40;
    pass(&world, 20 * NS_PER_S);
    pass(&world, 29 * NS_PER_S);
    expect(&world, "limit", "recording", 0);
    pass(&world, NS_PER_S);
    expect(&world, "limit", "done", 0);
    CU_ASSERT_EQUAL(world.n_saturated, 1);
    end_world(&world);
}

static void a_last_time_that_is_past_ends_the_job(void)
{
    struct world world;

    begin_world(&world);
    add(&world, "until", "tcp and timestamp < datetime(\"3/2/2026, 8:01:00 AM\")", "");
    pass(&world, 50 * NS_PER_S);
    world.counts.value[JOB_COUNT_packets] = 30;
    pass(&world, 20 * NS_PER_S);
    world.counts.value[JOB_COUNT_packets] = 40; /* of a stream that matched in time */
    pass(&world, 10 * NS_PER_S);
    pass(&world, 29 * NS_PER_S);
    expect(&world, "until", "recording", 0);
    pass(&world, NS_PER_S);
    expect(&world, "until", "done", 0);
    CU_ASSERT_EQUAL(world.n_saturated, 0);
    end_world(&world);
}

static void declared_jobs_follow_the_configuration(void)
{
    struct conf_job specs[2] = {conf_job_initial(), conf_job_initial()};
    struct world world;

    begin_world(&world);
    specs[0].name = "a";
    specs[0].kfl = "http";
    specs[1].name = "b";
    specs[1].kfl = "dns";
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 2, world.clock, complain), 0);
    expect(&world, "a", "recording", 0);
    expect(&world, "b", "recording", 0);
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 2, world.clock, complain), 0);
    CU_ASSERT_EQUAL(world.n_ending, 0); /* nothing has changed */
    specs[0].kfl = "tcp";
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 1, world.clock, complain), 1);
    CU_ASSERT_EQUAL(world.n_ending, 2);
    settle(&world);
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 1, world.clock, complain), 0);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "a")->spec.kfl, "tcp");
    CU_ASSERT_TRUE(recording_exists(world.store, "b"));
    CU_ASSERT_EQUAL(n_complaints, 0);
    add(&world, "hand", "http", "");
    specs[1].name = "hand";
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 2, world.clock, complain), 0);
    CU_ASSERT_EQUAL(n_complaints, 1);
    end_world(&world);
}

static void a_file_dropped_into_the_store_is_a_job(void)
{
    static const char good[] = "kfl = \"http\";\nduration = 5;\n";
    static const char bad[] = "kfl = \"http\";\ndurration = 5;\n";
    char path[128];
    struct world world;

    begin_world(&world);
    snprintf(path, sizeof(path), "%s/jobs/dropped.conf", world.store);
    CU_ASSERT_EQUAL(file_replace(path, good, strlen(good), 0640), 0);
    snprintf(path, sizeof(path), "%s/jobs/bad.conf", world.store);
    CU_ASSERT_EQUAL(file_replace(path, bad, strlen(bad), 0640), 0);
    restart(&world, NS_PER_S);
    expect(&world, "dropped", "recording", 0);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    CU_ASSERT_EQUAL(n_complaints, 1);
    pass(&world, 5 * NS_PER_MIN);
    expect(&world, "dropped", "done", 0);
    end_world(&world);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"a job runs, is done and expires", a_job_runs_is_done_and_expires},
        {"a job waits for its time", a_job_waits_for_its_time},
        {"counts survive a restart and runs add up", counts_survive_a_restart_and_runs_add_up},
        {"a run that ends while we are down is closed",
         a_run_that_ends_while_we_are_down_is_closed},
        {"stop, failure and quota end for good", stop_fail_and_quota_end_for_good},
        {"a job that cannot begin has failed", a_job_that_cannot_begin_has_failed},
        {"a job that the disk failed tries again", a_job_that_the_disk_failed_tries_again},
        {"storage says whether jobs try again", storage_says_whether_jobs_try_again},
        {"delete takes the recording or leaves it", delete_takes_the_recording_or_leaves_it},
        {"what was being ended has ended when the process ends",
         what_was_being_ended_has_ended_when_the_process_ends},
        {"bad jobs are refused", bad_jobs_are_refused},
        {"the table is bounded, the expired make room",
         the_table_is_bounded_and_the_expired_make_room},
        {"a limit ends the job when its streams are silent",
         a_limit_ends_the_job_when_its_streams_are_silent},
        {"a last time that is past ends the job", a_last_time_that_is_past_ends_the_job},
        {"declared jobs follow the configuration", declared_jobs_follow_the_configuration},
        {"a file dropped into the store is a job", a_file_dropped_into_the_store_is_a_job},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "job", tests);
}
