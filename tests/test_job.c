/* Jobs: what becomes of them, and that the store remembers it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../mgmt/files.h"
#include "../mgmt/recording.h"
#include "../mgmt/units.h"
#include "job_lab.h"

static void a_job_runs_is_done_and_expires(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "one", "http", "");
    job_lab_expect(&world, "one", "recording", 0);
    world.counts.value[JOB_COUNT_streams] = 3;
    job_lab_pass(&world, 30 * NS_PER_MIN);
    job_lab_expect(&world, "one", "recording", 3);
    job_lab_pass(&world, 30 * NS_PER_MIN);
    job_lab_expect(&world, "one", "done", 3);
    CU_ASSERT_TRUE(recording_exists(world.store, "one"));
    job_lab_pass(&world, NS_PER_DAY - NS_PER_MIN);
    job_lab_expect(&world, "one", "done", 3);
    job_lab_pass(&world, NS_PER_MIN);
    job_lab_expect(&world, "one", "expired", 0);
    CU_ASSERT_FALSE(recording_exists(world.store, "one"));
    /* Its name is free again. */
    job_lab_add(&world, "one", "dns", "");
    job_lab_expect(&world, "one", "recording", 3);
    job_lab_end(&world);
}

static void a_job_waits_for_its_time(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "later", "http", "08:45 UTC");
    job_lab_expect(&world, "later", "scheduled", 0);
    job_lab_pass(&world, 44 * NS_PER_MIN);
    job_lab_expect(&world, "later", "scheduled", 0);
    job_lab_pass(&world, NS_PER_MIN);
    job_lab_expect(&world, "later", "recording", 0);
    job_lab_end(&world);
}

static void counts_survive_a_restart_and_runs_add_up(void)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct job_lab world;
    struct job *job;
    struct doc *doc;

    job_lab_begin(&world);
    spec.name = "two";
    spec.kfl = "http";
    spec.iterations = 2;
    CU_ASSERT_EQUAL_FATAL(job_add(world.jobs, &spec, world.clock, &job, error), 0);
    world.counts.value[JOB_COUNT_streams] = 5;
    job_lab_pass(&world, 10 * NS_PER_MIN);
    job_lab_restart(&world, 10 * NS_PER_MIN);
    world.counts.value[JOB_COUNT_streams] = 2; /* of the new process */
    job_lab_expect(&world, "two", "recording", 7);
    job_lab_pass(&world, 40 * NS_PER_MIN);
    job_lab_expect(&world, "two", "scheduled", 7);
    job_lab_pass(&world, 23 * NS_PER_HOUR);
    job_lab_expect(&world, "two", "recording", 9);
    job_lab_pass(&world, NS_PER_HOUR);
    job_lab_expect(&world, "two", "done", 9);
    doc = job_doc(world.jobs, job_find(world.jobs, "two"), true);
    CU_ASSERT_EQUAL(doc_size(doc_get(doc, "runs")), 2);
    CU_ASSERT_STRING_EQUAL(doc_text(doc_at(doc_get(doc, "runs"), 0), "end", ""),
                           "2026-03-02T09:00:00.000000000Z");
    doc_free(doc);
    job_lab_restart(&world, NS_PER_MIN);
    job_lab_expect(&world, "two", "done", 9);
    job_lab_end(&world);
}

static void a_run_that_ends_while_we_are_down_is_closed(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "cut", "http", "");
    world.counts.value[JOB_COUNT_streams] = 4;
    job_lab_pass(&world, 10 * NS_PER_MIN);
    job_lab_restart(&world, 5 * NS_PER_HOUR);
    job_lab_expect(&world, "cut", "done", 4);
    job_lab_end(&world);
}

static void stop_fail_and_quota_end_for_good(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_stop(world.jobs, job_lab_add(&world, "stopped", "http", ""), world.clock);
    job_failed(world.jobs, job_lab_add(&world, "failed", "http", ""), world.clock,
               "disk: No space left");
    job_quota(world.jobs, job_lab_add(&world, "quota", "http", ""), world.clock);
    job_stop(world.jobs, job_lab_add(&world, "never", "http", "23:00 UTC"), world.clock);
    CU_ASSERT_EQUAL(world.n_ending, 3);
    job_lab_settle(&world);
    job_lab_expect(&world, "stopped", "stopped", 0);
    job_lab_expect(&world, "failed", "failed", 0);
    job_lab_expect(&world, "quota", "stopped", 0);
    job_lab_expect(&world, "never", "stopped", 0);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "failed")->reason, "disk: No space left");
    job_lab_restart(&world, NS_PER_MIN);
    job_lab_expect(&world, "failed", "failed", 0);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "failed")->reason, "disk: No space left");
    job_lab_pass(&world, 25 * NS_PER_HOUR);
    job_lab_expect(&world, "failed", "expired", 0);
    job_lab_end(&world);
}

static void a_job_that_cannot_begin_has_failed(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    world.begin_err = -ENOSPC;
    job_lab_add(&world, "bad", "http", "");
    job_lab_expect(&world, "bad", "failed", 0);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "bad")->reason, "no way");
    job_lab_end(&world);
}

/* on_error = "retry": the disk fails the job, then takes it again. */
static void a_job_that_the_disk_failed_tries_again(void)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    const struct doc *run, *gaps;
    struct job_lab world;
    struct job *job;
    struct doc *doc;

    job_lab_begin(&world);
    spec.name = "again";
    spec.kfl = "http";
    spec.on_error = "retry";
    CU_ASSERT_EQUAL_FATAL(job_add(world.jobs, &spec, world.clock, &job, error), 0);
    world.counts.value[JOB_COUNT_streams] = 5;
    job_lab_pass(&world, NS_PER_MIN);
    job_failed(world.jobs, job, world.clock, "disk: No space left");
    job_lab_settle(&world);
    job_lab_expect(&world, "again", "failed", 5);
    CU_ASSERT_STRING_EQUAL(job->reason, "disk: No space left");
    world.begin_err = -EROFS;
    job_lab_pass(&world, NS_PER_S); /* tried, refused: waits twice as long */
    job_lab_expect(&world, "again", "failed", 5);
    CU_ASSERT_STRING_EQUAL(job->reason, "no way");
    CU_ASSERT_EQUAL(job->retry.steady_ns, world.clock.steady_ns + 2 * NS_PER_S);
    job_lab_restart(&world, 0); /* still */
    job = job_find(world.jobs, "again");
    job_lab_expect(&world, "again", "failed", 5);
    world.begin_err = 0;
    world.counts.value[JOB_COUNT_streams] = 2;
    job_lab_pass(&world, 10 * NS_PER_S);
    job_lab_expect(&world, "again", "recording", 7);
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
    job_lab_settle(&world);
    world.begin_err = -EIO;
    for (unsigned i = 0; i < 60; i++)
        job_lab_pass(&world, NS_PER_MIN);
    job_lab_expect(&world, "again", "failed", 7);
    CU_ASSERT_TRUE(job->clock.over);
    CU_ASSERT_FALSE(recording_is_open(job->recording));
    job_lab_pass(&world, 25 * NS_PER_HOUR);
    job_lab_expect(&world, "again", "expired", 0);
    job_lab_end(&world);
}

/* What is not the disk's fault is not tried again; what storage.on_error says counts else. */
static void storage_says_whether_jobs_try_again(void)
{
    struct job_lab world;
    struct job *job;

    job_lab_begin(&world);
    jobs_set_retry(world.jobs, true);
    world.begin_err = -EBUSY;
    job = job_lab_add(&world, "no-slot", "http", "");
    CU_ASSERT_TRUE(job->clock.over);
    world.begin_err = -ENOSPC;
    job = job_lab_add(&world, "full", "http", "");
    job_lab_expect(&world, "full", "failed", 0);
    CU_ASSERT_FALSE(job->clock.over);
    job_stop(world.jobs, job, world.clock);
    job_lab_expect(&world, "full", "stopped", 0);
    CU_ASSERT_FALSE(recording_is_open(job->recording));
    world.begin_err = 0;
    job_lab_pass(&world, NS_PER_MIN);
    job_lab_expect(&world, "full", "stopped", 0);
    job_lab_end(&world);
}

static void delete_takes_the_recording_or_leaves_it(void)
{
    struct job_lab world;
    struct job *job;

    job_lab_begin(&world);
    job = job_lab_add(&world, "a", "http", "");
    job_delete(world.jobs, job, false, world.clock);
    CU_ASSERT_PTR_NOT_NULL(job_find(world.jobs, "a")); /* what is on its way comes first */
    job_lab_settle(&world);
    CU_ASSERT_PTR_NULL(job_find(world.jobs, "a"));
    CU_ASSERT_FALSE(recording_exists(world.store, "a"));
    job = job_lab_add(&world, "b", "http", "");
    job_delete(world.jobs, job, true, world.clock);
    job_lab_settle(&world);
    CU_ASSERT_PTR_NULL(job_find(world.jobs, "b"));
    CU_ASSERT_TRUE(recording_exists(world.store, "b"));
    job_delete(world.jobs, job_lab_add(&world, "c", "http", "23:00 UTC"), false, world.clock);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 0);
    job_lab_restart(&world, NS_PER_MIN);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 0);
    job_lab_end(&world);
}

static void what_was_being_ended_has_ended_when_the_process_ends(void)
{
    struct job_lab world;
    struct doc *doc;

    job_lab_begin(&world);
    world.counts.value[JOB_COUNT_streams] = 2;
    job_lab_add(&world, "goes", "http", "");
    job_lab_add(&world, "stops", "http", "");
    job_stop(world.jobs, job_find(world.jobs, "stops"), world.clock);
    job_delete(world.jobs, job_find(world.jobs, "goes"), false, world.clock);
    job_lab_restart(&world, NS_PER_MIN);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    job_lab_expect(&world, "stops", "stopped", 2);
    doc = recording_doc(world.store, "stops");
    CU_ASSERT_STRING_EQUAL(doc_text(doc, "state", ""), "stopped");
    CU_ASSERT(doc_time(doc_at(doc_get(doc, "runs"), 0), "end", 0) > 0);
    doc_free(doc);
    job_lab_end(&world);
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
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "there", "http", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct conf_job spec = conf_job_initial();
        char error[JOB_ERROR_SIZE] = "";
        struct job *job = NULL;

        spec.name = rows[i].spec.name;
        spec.kfl = rows[i].spec.kfl;
        spec.start = rows[i].spec.start ? rows[i].spec.start : "";
        CU_ASSERT(job_add(world.jobs, &spec, world.clock, &job, error) < 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(error, rows[i].message));
        if (!strstr(error, rows[i].message))
            tap_note("%s", error);
    }
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    job_lab_end(&world);
}

static void the_table_is_bounded_and_the_expired_make_room(void)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct job_lab world;
    struct job *job;

    job_lab_begin(&world);
    jobs_set_limits(world.jobs, 2, 1000);
    job_lab_add(&world, "a", "http", "");
    job_lab_add(&world, "b", "http", "");
    spec.name = "c";
    CU_ASSERT_EQUAL(job_add(world.jobs, &spec, world.clock, &job, error), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "limits.jobs"));
    job_lab_pass(&world, NS_PER_HOUR);
    job_lab_pass(&world, NS_PER_DAY);
    job_lab_expect(&world, "a", "expired", 0);
    CU_ASSERT_EQUAL(job_add(world.jobs, &spec, world.clock, &job, error), 0);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 2);
    job_lab_end(&world);
}

static void a_limit_ends_the_job_when_its_streams_are_silent(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "limit", "http and limit(3)", "");
    world.counts.value[JOB_COUNT_entries] = 2;
    job_lab_pass(&world, NS_PER_S);
    CU_ASSERT_EQUAL(world.n_saturated, 0);
    world.counts.value[JOB_COUNT_entries] = 3;
    world.counts.value[JOB_COUNT_packets] = 30;
    job_lab_pass(&world, NS_PER_S);
    CU_ASSERT_EQUAL(world.n_saturated, 1);
    world.counts.value[JOB_COUNT_packets] = 40;
    job_lab_pass(&world, 20 * NS_PER_S);
    job_lab_pass(&world, 29 * NS_PER_S);
    job_lab_expect(&world, "limit", "recording", 0);
    job_lab_pass(&world, NS_PER_S);
    job_lab_expect(&world, "limit", "done", 0);
    CU_ASSERT_EQUAL(world.n_saturated, 1);
    job_lab_end(&world);
}

static void a_last_time_that_is_past_ends_the_job(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "until", "tcp and timestamp < datetime(\"3/2/2026, 8:01:00 AM\")", "");
    job_lab_pass(&world, 50 * NS_PER_S);
    world.counts.value[JOB_COUNT_packets] = 30;
    job_lab_pass(&world, 20 * NS_PER_S);
    world.counts.value[JOB_COUNT_packets] = 40; /* of a stream that matched in time */
    job_lab_pass(&world, 10 * NS_PER_S);
    job_lab_pass(&world, 29 * NS_PER_S);
    job_lab_expect(&world, "until", "recording", 0);
    job_lab_pass(&world, NS_PER_S);
    job_lab_expect(&world, "until", "done", 0);
    CU_ASSERT_EQUAL(world.n_saturated, 0);
    job_lab_end(&world);
}

static void declared_jobs_follow_the_configuration(void)
{
    struct conf_job specs[2] = {conf_job_initial(), conf_job_initial()};
    struct job_lab world;

    job_lab_begin(&world);
    specs[0].name = "a";
    specs[0].kfl = "http";
    specs[1].name = "b";
    specs[1].kfl = "dns";
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 2, world.clock, job_lab_complain), 0);
    job_lab_expect(&world, "a", "recording", 0);
    job_lab_expect(&world, "b", "recording", 0);
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 2, world.clock, job_lab_complain), 0);
    CU_ASSERT_EQUAL(world.n_ending, 0); /* nothing has changed */
    specs[0].kfl = "tcp";
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 1, world.clock, job_lab_complain), 1);
    CU_ASSERT_EQUAL(world.n_ending, 2);
    job_lab_settle(&world);
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 1, world.clock, job_lab_complain), 0);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "a")->spec.kfl, "tcp");
    CU_ASSERT_TRUE(recording_exists(world.store, "b"));
    CU_ASSERT_EQUAL(job_lab_complaints, 0);
    job_lab_add(&world, "hand", "http", "");
    specs[1].name = "hand";
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, specs, 2, world.clock, job_lab_complain), 0);
    CU_ASSERT_EQUAL(job_lab_complaints, 1);
    job_lab_end(&world);
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
        {NULL, NULL},
    };

    return tap_main(argc, argv, "job", tests);
}
