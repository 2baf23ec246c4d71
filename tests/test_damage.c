/* Captures of the corpus cut at every length, and with every byte flipped, through the source and
 * the pipeline of `tapedeck read`, every entry printed: it ends, and the sum holds. In one process,
 * so that a build with sanitizers takes thousands of them a minute.
 *
 * Sampled for a few seconds with a seed ($SEED); with TAPEDECK_LONG=1 $DAMAGE_SECONDS (3600) are
 * spent on all small captures from the smallest on: every length, every byte. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/pipeline.h"
#include "../mgmt/read_recorder.h"
#include "tap.h"

enum { CAPTURE_MAX = 1 << 16, SAMPLE_SECONDS = 4, LONG_SECONDS = 3600 };

struct capture {
    const char *path;
    size_t size;
};

static struct capture *captures;
static unsigned n_captures;
static uint8_t bytes[CAPTURE_MAX];
static char path[32]; /* of the damaged file, in memory */
static int file;
static FILE *nowhere;
static uint64_t n_runs;

static int by_size(const void *a, const void *b)
{
    const struct capture *x = a, *y = b;

    return x->size < y->size ? -1 : x->size > y->size;
}

static bool captures_find(void)
{
    char pattern[4096];
    struct stat stat_of;
    static glob_t found;

    if (!tap_shared())
        return false;
    snprintf(pattern, sizeof(pattern), "%s/corpus/open/*/*", tap_shared());
    if (glob(pattern, 0, NULL, &found))
        return false;
    captures = calloc(found.gl_pathc, sizeof(captures[0]));
    for (size_t i = 0; captures && i < found.gl_pathc; i++)
        if (!stat(found.gl_pathv[i], &stat_of) && stat_of.st_size > 0 &&
            stat_of.st_size <= CAPTURE_MAX)
            captures[n_captures++] = (struct capture){found.gl_pathv[i], (size_t)stat_of.st_size};
    if (n_captures)
        qsort(captures, n_captures, sizeof(captures[0]), by_size);
    return n_captures;
}

static void capture_load(const struct capture *capture)
{
    FILE *from = fopen(capture->path, "r");

    CU_ASSERT_FATAL(from != NULL);
    CU_ASSERT_EQUAL_FATAL(fread(bytes, 1, capture->size, from), capture->size);
    fclose(from);
    CU_ASSERT_FATAL(!ftruncate(file, 0));
    CU_ASSERT_EQUAL_FATAL(pwrite(file, bytes, capture->size, 0), (ssize_t)capture->size);
}

/* A plan of one statement that every entry makes true. */
static struct kfl_plan *plan_create(const struct kfl_statement *statement)
{
    static struct kfl_messages messages;
    struct kfl_plan_job job = {.statement = statement};
    struct kfl_plan *plan = NULL;
    unsigned slot;

    CU_ASSERT_FATAL(!kfl_plan_create(&job, 1, 1, true, &plan, &slot, &messages));
    return plan;
}

static void classify(struct source *source, const struct kfl_statement *statement)
{
    struct read_output output = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .entries = nowhere, .fd = -1, .n_statements = 1};
    struct read_recorder *recorder;
    struct recorder *base;
    struct pipeline_config config = {
        .sources = &source,
        .n_sources = 1,
        .n_classifiers = 1,
        .recorders = &base,
        .hash_seed = 4711,
        .classifier = {.streams = {.max = 4096, .grow = true},
                       .l7 = {.memory = 1 << 20, .unbounded = true},
                       .waiting_memory = 1 << 20},
    };
    struct pipeline *pipeline;

    CU_ASSERT_FATAL(!read_recorder_create(&output, &recorder));
    base = read_recorder_base(recorder);
    CU_ASSERT_FATAL(!pipeline_create(&config, &pipeline));
    CU_ASSERT_FATAL(!pipeline_publish(pipeline, plan_create(statement), 1));
    pipeline_run(pipeline);
    CU_ASSERT_EQUAL(pipeline_sum(pipeline).difference, 0);
    pipeline_free(pipeline);
    read_recorder_free(recorder);
}

static void read_file(const struct kfl_statement *statement)
{
    const struct source_config config = {.type = "file", .interface = path};
    char why[SOURCE_ERROR_SIZE];
    struct source *source;

    n_runs++;
    if (source_open(&config, 0, &source, why))
        return; /* its head is no capture's */
    classify(source, statement);
    source_close(source);
}

static void read_cut(const struct kfl_statement *statement, size_t size, size_t whole)
{
    CU_ASSERT_FATAL(!ftruncate(file, (off_t)size));
    read_file(statement);
    CU_ASSERT_EQUAL_FATAL(pwrite(file, bytes + size, whole - size, (off_t)size),
                          (ssize_t)(whole - size));
}

static void read_flipped(const struct kfl_statement *statement, size_t at, uint8_t mask)
{
    uint8_t value = bytes[at] ^ mask;

    CU_ASSERT_EQUAL_FATAL(pwrite(file, &value, 1, (off_t)at), 1);
    read_file(statement);
    CU_ASSERT_EQUAL_FATAL(pwrite(file, &bytes[at], 1, (off_t)at), 1);
}

/* -> captures that were done whole before `end` */
static unsigned read_all(const struct kfl_statement *statement, time_t end)
{
    for (unsigned i = 0; i < n_captures; i++) {
        capture_load(&captures[i]);
        for (size_t at = 0; at < captures[i].size; at++) {
            read_cut(statement, at, captures[i].size);
            read_flipped(statement, at, (uint8_t)(1 << at % 8));
            read_flipped(statement, at, 0xff);
            if (time(NULL) >= end)
                return i;
        }
    }
    return n_captures;
}

static void read_sampled(const struct kfl_statement *statement, time_t end)
{
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);

    tap_note("seed %u", seed);
    srandom(seed);
    while (time(NULL) < end) {
        const struct capture *capture = &captures[(unsigned)random() % n_captures];

        capture_load(capture);
        for (unsigned i = 0; i < 8; i++) {
            read_cut(statement, (size_t)random() % capture->size, capture->size);
            read_flipped(statement, (size_t)random() % capture->size,
                         (uint8_t)(1 + random() % 255));
        }
    }
}

static void test_damage(void)
{
    bool all = getenv("TAPEDECK_LONG") != NULL;
    const char *seconds = getenv("DAMAGE_SECONDS");
    time_t limit = seconds ? strtol(seconds, NULL, 10) : all ? LONG_SECONDS : SAMPLE_SECONDS;
    static struct kfl_messages messages;
    struct kfl_statement *statement;

    if (!captures_find()) {
        tap_skip("../shared/corpus is not there");
        return;
    }
    CU_ASSERT_FATAL(!kfl_statement_create("", 0, 0, &statement, &messages));
    file = memfd_create("damaged", 0);
    nowhere = fopen("/dev/null", "w");
    CU_ASSERT_FATAL(file >= 0 && nowhere != NULL);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    if (all)
        tap_note("%u of %u captures whole", read_all(statement, time(NULL) + limit), n_captures);
    else
        read_sampled(statement, time(NULL) + limit);
    tap_note("%lu damaged captures read", n_runs);
    fclose(nowhere);
    close(file);
    kfl_statement_free(statement);
    free(captures);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"captures cut at any length and with any byte flipped are read", test_damage},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "damage", tests);
}
