/* Jobs by files in STORE/jobs: created, changed and removed by people, told from what we write. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../mgmt/files.h"
#include "../mgmt/recording.h"
#include "../mgmt/units.h"
#include "job_lab.h"

static const char *path_of(struct job_lab *world, const char *file)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/jobs/%s", world->store, file);
    return path;
}

static void drop(struct job_lab *world, const char *file, const char *text)
{
    FILE *out = fopen(path_of(world, file), "w");

    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    fputs(text, out);
    fclose(out);
}

static bool file_is(struct job_lab *world, const char *file, const char *text)
{
    char *found = NULL;
    size_t size;
    bool same;

    if (file_read(path_of(world, file), 1 << 20, &found, &size))
        return !text;
    same = text && !strcmp(found, text);
    free(found);
    return same;
}

static unsigned look(struct job_lab *world)
{
    return jobs_look(world->jobs, world->clock, job_lab_complain);
}

/* Looks until nothing waits. */
static void look_on(struct job_lab *world)
{
    for (unsigned i = 0; i < 3 && look(world); i++)
        job_lab_settle(world);
}

static const char *refused(struct job_lab *world, const char *name)
{
    const char *text = job_refused(jobs_refusals(world->jobs), name);

    return text ? text : "";
}

static void a_file_is_a_job_at_the_start_and_later(void)
{
    static const char text[] = "# mine\nkfl = \"http\"; duration = 5;\n";
    struct job_lab world;

    job_lab_begin(&world);
    drop(&world, "early.conf", text);
    job_lab_restart(&world, NS_PER_S);
    job_lab_expect(&world, "early", "recording", 0);
    drop(&world, "late.conf", "name = \"late\"; start = \"23:00 UTC\";");
    CU_ASSERT_EQUAL(look(&world), 0);
    job_lab_expect(&world, "late", "scheduled", 0);
    job_lab_pass(&world, 5 * NS_PER_MIN);
    job_lab_expect(&world, "early", "done", 0);
    CU_ASSERT_TRUE(file_is(&world, "early.conf", text)); /* it stays a person's */
    job_lab_restart(&world, NS_PER_S);
    CU_ASSERT_EQUAL(look(&world), 0);
    job_lab_expect(&world, "early", "done", 0);
    CU_ASSERT_EQUAL(world.n_ending, 0);
    CU_ASSERT_EQUAL(job_lab_complaints, 0);
    job_lab_end(&world);
}

static void what_we_write_ourselves_changes_nothing(void)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct job_lab world;
    struct job *job;

    job_lab_begin(&world);
    spec.name = "own";
    spec.kfl = "request.path == \"\\\"a\\\\b\\\"\"\n\tor\tsrc.name == \"\xc3\xa4\xe2\x82\xac\"";
    spec.start = "2026-03-02T07:59:59.5Z";
    spec.iterations = 0;
    spec.duration = 90 * NS_PER_S + 1;
    spec.expiration = 12345678901;
    spec.quota = (5ull << 30) + 1;
    spec.cutoff = INT64_MAX;
    spec.snaplen = 96;
    spec.on_quota = "rotate";
    spec.on_error = "retry";
    CU_ASSERT_EQUAL(job_add(world.jobs, &spec, world.clock, &job, error), 0);
    job_lab_add(&world, "plain", "", "");
    CU_ASSERT_STRING_EQUAL(error, "");
    CU_ASSERT_EQUAL(look(&world), 0);
    job_lab_restart(&world, NS_PER_S);
    CU_ASSERT_EQUAL(look(&world), 0);
    CU_ASSERT_EQUAL(world.n_ending, 0);
    job_lab_expect(&world, "own", "recording", 0);
    job_lab_expect(&world, "plain", "recording", 0);
    CU_ASSERT_EQUAL(doc_size(doc_get(job_find(world.jobs, "own")->recording, "runs")), 1);
    CU_ASSERT_EQUAL(jobs_refusals(world.jobs)->n, 0);
    job_lab_end(&world);
}

static void a_changed_file_takes_the_place_of_its_job(void)
{
    struct job_lab world;
    struct job *job;

    job_lab_begin(&world);
    job_lab_add(&world, "a", "http", "");
    job_lab_pass(&world, NS_PER_MIN);
    drop(&world, "a.conf", "kfl = \"dns\"; quota = \"1Gi\";");
    CU_ASSERT_EQUAL(look(&world), 1);
    CU_ASSERT_EQUAL(world.n_ending, 1);
    job_lab_expect(&world, "a", "recording", 0); /* what is on its way comes first */
    job_lab_settle(&world);
    CU_ASSERT_EQUAL(look(&world), 0);
    job = job_find(world.jobs, "a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(job);
    CU_ASSERT_STRING_EQUAL(job->spec.kfl, "dns");
    CU_ASSERT_EQUAL(doc_size(doc_get(job->recording, "runs")), 2);
    CU_ASSERT_TRUE(file_is(&world, "a.conf", "kfl = \"dns\"; quota = \"1Gi\";"));
    /* The same, while nobody looked. */
    drop(&world, "a.conf", "kfl = \"tcp\";");
    job_lab_restart(&world, NS_PER_MIN);
    job = job_find(world.jobs, "a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(job);
    CU_ASSERT_STRING_EQUAL(job->spec.kfl, "tcp");
    CU_ASSERT_EQUAL(doc_size(doc_get(job->recording, "runs")), 3);
    CU_ASSERT_STRING_EQUAL(doc_text(doc_at(doc_get(job->recording, "runs"), 1), "what", ""),
                           "stopped: its file was changed");
    CU_ASSERT_EQUAL(job_lab_complaints, 0);
    job_lab_end(&world);
}

static void a_bad_change_leaves_the_job_as_it_was(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "a", "http", "");
    drop(&world, "a.conf", "kfl = \"http and\";");
    look_on(&world);
    job_lab_expect(&world, "a", "recording", 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "a"), "a.conf: the statement is refused: 1:9"));
    drop(&world, "a.conf", "kfl = \"http\"; duration = -5;");
    look_on(&world);
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "a"), "a.conf:1: duration = -5: must be"));
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "a")->spec.kfl, "http");
    CU_ASSERT_EQUAL(world.n_ending, 0);
    CU_ASSERT_EQUAL(job_lab_complaints, 2);
    drop(&world, "a.conf", "kfl = \"http\";");
    look_on(&world);
    CU_ASSERT_EQUAL(jobs_refusals(world.jobs)->n, 0);
    CU_ASSERT_EQUAL(world.n_ending, 0); /* as it was */
    job_lab_end(&world);
}

static void a_removed_file_ends_its_job_and_the_recording_stays(void)
{
    struct doc *recording;
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "a", "http", "");
    job_lab_add(&world, "b", "dns", "");
    job_lab_add(&world, "later", "dns", "23:00 UTC");
    unlink(path_of(&world, "a.conf"));
    unlink(path_of(&world, "later.conf"));
    look_on(&world);
    job_lab_settle(&world);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 1);
    CU_ASSERT_TRUE(recording_exists(world.store, "a"));
    unlink(path_of(&world, "b.conf")); /* while nobody looks */
    job_lab_restart(&world, NS_PER_MIN);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 0);
    recording = recording_doc(world.store, "b");
    CU_ASSERT_STRING_EQUAL(doc_text(recording, "state", ""), "stopped");
    CU_ASSERT_STRING_EQUAL(doc_text(recording, "kfl", ""), "dns");
    CU_ASSERT_NOT_EQUAL(doc_time(doc_at(doc_get(recording, "runs"), 0), "end", 0), 0);
    doc_free(recording);
    CU_ASSERT_TRUE(file_is(&world, "b.json", NULL));
    job_lab_end(&world);
}

static void a_file_that_comes_before_the_old_job_has_ended_is_not_lost(void)
{
    static const char text[] = "kfl = \"tcp\";";
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "a", "http", "");
    unlink(path_of(&world, "a.conf"));
    CU_ASSERT_EQUAL(look(&world), 0);
    drop(&world, "a.conf", text);
    CU_ASSERT_EQUAL(look(&world), 1);
    job_lab_settle(&world);
    CU_ASSERT_TRUE(file_is(&world, "a.conf", text));
    CU_ASSERT_EQUAL(look(&world), 0);
    job_lab_expect(&world, "a", "recording", 0);
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "a")->spec.kfl, "tcp");
    job_lab_end(&world);
}

static void what_cannot_be_a_job_is_refused_once_and_left_alone(void)
{
    static const struct {
        const char *name, *text, *message;
    } rows[] = {
        {"key", "kfl = \"http\"; durration = 5;", "key.conf:1: durration: unknown key"},
        {"syntax", "kfl = \"http\"\nkfl", "syntax.conf:2: "},
        {"kfl", "kfl = \"http ==\";", "kfl.conf: the statement is refused: 1:8"},
        {"start", "start = \"soon\";", "start.conf: start 'soon': must be"},
        {"long", "duration = \"25h\"; iterations = 2;", "long.conf: "},
        {"other", "name = \"another\";", "other.conf: name = \"another\": must be as the file"},
        {"a b", "kfl = \"http\";", "a b.conf: name 'a b': must be 1 to 64"},
        {"empty", "", "empty.conf: is empty"},
        {"-x", "kfl = \"http\";", "name '-x': must be 1 to 64"},
    };
    enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };
    char file[64];
    struct job_lab world;

    job_lab_begin(&world);
    for (unsigned i = 0; i < N_ROWS; i++) {
        snprintf(file, sizeof(file), "%s.conf", rows[i].name);
        drop(&world, file, rows[i].text);
    }
    CU_ASSERT_EQUAL(mkdir(path_of(&world, "folder.conf"), 0755), 0);
    CU_ASSERT_EQUAL(mkfifo(path_of(&world, "pipe.conf"), 0644), 0);
    drop(&world, "large.conf", "");
    CU_ASSERT_EQUAL(truncate(path_of(&world, "large.conf"), 2 << 20), 0);
    CU_ASSERT_EQUAL(symlink("nowhere", path_of(&world, "link.conf")), 0);
    drop(&world, ".hidden.conf", "nonsense");
    drop(&world, "backup.conf~", "nonsense");
    look_on(&world);
    look_on(&world);
    CU_ASSERT_EQUAL(jobs_n(world.jobs), 0);
    CU_ASSERT_EQUAL(jobs_refusals(world.jobs)->n, N_ROWS + 4);
    CU_ASSERT_EQUAL(job_lab_complaints, N_ROWS + 4);
    for (unsigned i = 0; i < N_ROWS; i++) {
        CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, rows[i].name), rows[i].message));
        snprintf(file, sizeof(file), "%s.conf", rows[i].name);
        CU_ASSERT_TRUE(file_is(&world, file, rows[i].text));
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "folder"), "folder.conf: is not a file"));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "large"), "large.conf: is larger"));
    drop(&world, "key.conf", "kfl = \"http\"; duration = 5;"); /* mended */
    job_lab_restart(&world, 0);
    job_lab_expect(&world, "key", "recording", 0);
    CU_ASSERT_EQUAL(jobs_refusals(world.jobs)->n, N_ROWS + 3);
    job_lab_end(&world);
}

static void limits_hold_for_files_and_are_tried_again(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    jobs_set_limits(world.jobs, 1, 10);
    job_lab_add(&world, "a", "http", "");
    drop(&world, "b.conf", "kfl = \"dns\";");
    drop(&world, "long.conf", "kfl = \"http or dns or tcp\";");
    look_on(&world);
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "b"), "limits.jobs allows no more"));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "long"), "limits.statement allows 10"));
    job_delete(world.jobs, job_find(world.jobs, "a"), false, world.clock);
    job_lab_settle(&world);
    look_on(&world);
    job_lab_expect(&world, "b", "recording", 0);
    CU_ASSERT_EQUAL(jobs_refusals(world.jobs)->n, 1);
    job_lab_end(&world);
}

static void a_job_by_hand_does_not_write_over_a_refused_file(void)
{
    static const char text[] = "kfl = ;";
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct job_lab world;
    struct job *job;
    struct doc *doc;

    job_lab_begin(&world);
    drop(&world, "a.conf", text);
    look_on(&world);
    spec.name = "a";
    CU_ASSERT_EQUAL(job_add(world.jobs, &spec, world.clock, &job, error), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "jobs/a.conf is there already"));
    CU_ASSERT_TRUE(file_is(&world, "a.conf", text));
    doc = job_refusal_doc(world.jobs, &jobs_refusals(world.jobs)->row[0]);
    CU_ASSERT_STRING_EQUAL(doc_text(doc, "name", ""), "a");
    CU_ASSERT_STRING_EQUAL(doc_text(doc, "state", ""), "refused");
    CU_ASSERT_PTR_NOT_NULL(strstr(doc_text(doc, "reason", ""), "a.conf:1: "));
    doc_free(doc);
    job_lab_end(&world);
}

static void the_file_of_a_declared_job_is_set_aside_when_it_is_changed(void)
{
    static const char text[] = "kfl = \"tcp\";";
    struct conf_job spec = conf_job_initial();
    struct job_lab world;

    job_lab_begin(&world);
    spec.name = "a";
    spec.kfl = "http";
    jobs_declare(world.jobs, &spec, 1, world.clock, job_lab_complain);
    drop(&world, "a.conf", text);
    look_on(&world);
    job_lab_expect(&world, "a", "recording", 0);
    CU_ASSERT_EQUAL(world.n_ending, 0);
    CU_ASSERT_TRUE(file_is(&world, "a.conf.refused", text));
    CU_ASSERT_FALSE(file_is(&world, "a.conf", text));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "a"), "declared in the configuration"));
    unlink(path_of(&world, "a.conf.refused"));
    unlink(path_of(&world, "a.conf"));
    look_on(&world);
    CU_ASSERT_FALSE(file_is(&world, "a.conf", NULL)); /* written again */
    CU_ASSERT_STRING_EQUAL(refused(&world, "a"), "");
    drop(&world, "a.conf", text); /* while nobody looks */
    job_lab_restart(&world, NS_PER_S);
    CU_ASSERT_TRUE(file_is(&world, "a.conf.refused", text));
    CU_ASSERT_EQUAL(jobs_declare(world.jobs, &spec, 1, world.clock, job_lab_complain), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(job_find(world.jobs, "a"));
    CU_ASSERT_STRING_EQUAL(job_find(world.jobs, "a")->spec.kfl, "http");
    /* And the other way round: what the configuration wants is there by hand. */
    job_lab_add(&world, "hand", "dns", "");
    spec.name = "hand";
    jobs_declare(world.jobs, &spec, 1, world.clock, job_lab_complain);
    CU_ASSERT_PTR_NOT_NULL(strstr(refused(&world, "hand"), "jobs[0] 'hand': a job of this name"));
    job_lab_end(&world);
}

static void jobs_outlive_their_folder(void)
{
    struct job_lab world;

    job_lab_begin(&world);
    job_lab_add(&world, "a", "http", "");
    folder_remove(path_of(&world, ""));
    CU_ASSERT_EQUAL(look(&world), 0);
    CU_ASSERT_EQUAL(job_lab_complaints, 1);
    job_lab_expect(&world, "a", "recording", 0);
    CU_ASSERT_EQUAL(world.n_ending, 0);
    job_lab_end(&world);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"a file is a job, at the start and later", a_file_is_a_job_at_the_start_and_later},
        {"what we write ourselves changes nothing", what_we_write_ourselves_changes_nothing},
        {"a changed file takes the place of its job", a_changed_file_takes_the_place_of_its_job},
        {"a bad change leaves the job as it was", a_bad_change_leaves_the_job_as_it_was},
        {"a removed file ends its job, the recording stays",
         a_removed_file_ends_its_job_and_the_recording_stays},
        {"a file that comes before the old job has ended is not lost",
         a_file_that_comes_before_the_old_job_has_ended_is_not_lost},
        {"what cannot be a job is refused once and left alone",
         what_cannot_be_a_job_is_refused_once_and_left_alone},
        {"limits hold for files, and are tried again", limits_hold_for_files_and_are_tried_again},
        {"a job by hand does not write over a refused file",
         a_job_by_hand_does_not_write_over_a_refused_file},
        {"the file of a declared job is set aside when it is changed",
         the_file_of_a_declared_job_is_set_aside_when_it_is_changed},
        {"jobs outlive their folder", jobs_outlive_their_folder},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "job_files", tests);
}
