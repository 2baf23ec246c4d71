#include "job_lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mgmt/files.h"
#include "../mgmt/units.h"

unsigned job_lab_complaints;

static void open_store(struct job_lab *world);

static int fake_begin(void *context, struct job *job, char reterr_text[static JOB_ERROR_SIZE])
{
    struct job_lab *world = context;

    if (world->begin_err) {
        snprintf(reterr_text, JOB_ERROR_SIZE, "no way");
        return world->begin_err;
    }
    job->slot = (int)world->n_begun++;
    return 0;
}

static void fake_end(void *context, struct job *job)
{
    struct job_lab *world = context;

    world->ending[world->n_ending++] = job;
}

static void fake_counts(void *context, const struct job *job, struct job_counts *ret_counts)
{
    *ret_counts = ((struct job_lab *)context)->counts;
}

static void fake_saturate(void *context, struct job *job)
{
    ((struct job_lab *)context)->n_saturated++;
}

static const struct job_ops fake_ops = {
    .begin = fake_begin, .end = fake_end, .counts = fake_counts, .saturate = fake_saturate};

void job_lab_complain(const char *text)
{
    job_lab_complaints++;
    tap_note("%s", text);
}

static void open_store(struct job_lab *world)
{
    char error[JOB_ERROR_SIZE];

    world->n_ending = 0;
    CU_ASSERT_EQUAL_FATAL(jobs_create(world->store, &fake_ops, world, &world->jobs, error), 0);
    jobs_load(world->jobs, world->clock, job_lab_complain);
}

void job_lab_begin(struct job_lab *world)
{
    memset(world, 0, sizeof(*world));
    strcpy(world->store, "/tmp/test_job.XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(world->store));
    units_parse_time("2026-03-02T08:00:00Z", &world->clock.wall_ns);
    world->clock.steady_ns = 1000 * NS_PER_S;
    job_lab_complaints = 0;
    open_store(world);
}

void job_lab_end(struct job_lab *world)
{
    jobs_free(world->jobs);
    folder_remove(world->store);
}

void job_lab_settle(struct job_lab *world)
{
    for (unsigned i = 0; i < world->n_ending; i++)
        job_ended(world->jobs, world->ending[i], world->clock.wall_ns);
    world->n_ending = 0;
}

void job_lab_pass(struct job_lab *world, uint64_t ns)
{
    world->clock.wall_ns += ns;
    world->clock.steady_ns += ns;
    jobs_step(world->jobs, world->clock);
    job_lab_settle(world);
    jobs_step(world->jobs, world->clock);
}

void job_lab_restart(struct job_lab *world, uint64_t down_ns)
{
    jobs_save(world->jobs, world->clock.wall_ns);
    jobs_free(world->jobs);
    world->clock.wall_ns += down_ns;
    world->clock.steady_ns += down_ns;
    open_store(world);
    jobs_step(world->jobs, world->clock);
}

struct job *job_lab_add(struct job_lab *world, const char *name, const char *kfl, const char *start)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "";
    struct job *job = NULL;

    spec.name = name;
    spec.kfl = kfl;
    spec.start = start;
    if (job_add(world->jobs, &spec, world->clock, &job, error))
        tap_note("%s", error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(job);
    return job;
}

void job_lab_expect(struct job_lab *world, const char *name, const char *state, uint64_t streams)
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
