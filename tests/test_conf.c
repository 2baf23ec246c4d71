/* The configuration: defaults, values, refusals with file and line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mgmt/conf.h"
#include "../mgmt/files.h"
#include "../mgmt/units.h"
#include "tap.h"

static char folder[] = "/tmp/test_conf.XXXXXX";

static const char *file(const char *name, const char *text)
{
    static char path[64];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    CU_ASSERT_EQUAL_FATAL(file_replace(path, text, strlen(text), 0600), 0);
    return path;
}

static void count_changed(void *context, const struct conf_value *value)
{
    if (!value->is_initial) {
        tap_note("%s = %s, not %s", value->key, value->value, value->initial);
        ++*(unsigned *)context;
    }
}

static void an_empty_file_is_a_configuration(void)
{
    char error[CONF_ERROR_SIZE] = "";
    struct conf *conf;
    unsigned n = 0;

    CU_ASSERT_EQUAL_FATAL(conf_read(file("empty", ""), &conf, error), 0);
    CU_ASSERT_EQUAL(conf->n_sources, 0);
    CU_ASSERT_EQUAL(conf->lookback_size, 256 << 20);
    CU_ASSERT_EQUAL(conf->flush, 500 * NS_PER_MS);
    CU_ASSERT_EQUAL(conf->rx.n, 1);
    CU_ASSERT_EQUAL(conf->rx.cpu[0], -1);
    CU_ASSERT_STRING_EQUAL(conf->control_socket, "/run/tapedeck/control.sock");
    conf_each(conf, count_changed, &n);
    CU_ASSERT_EQUAL(n, 0);
    conf_free(conf);
}

struct mention {
    const char *text;
    unsigned missing;
};

static void look_for(void *context, const struct conf_value *value)
{
    struct mention *mention = context;
    const char *key = strchr(value->key, '.') + 1;
    char assignment[80];

    snprintf(assignment, sizeof(assignment), "%s = ", key);
    if (!strstr(mention->text, assignment)) {
        tap_note("%s is not in configs/tapedeck.conf", value->key);
        mention->missing++;
    }
}

static void the_shipped_file_shows_every_key_with_its_default(void)
{
    const char *path = SOURCE_ROOT "/configs/tapedeck.conf";
    struct conf *conf, *all;
    char error[CONF_ERROR_SIZE] = "";
    struct mention mention = {0};
    unsigned n = 0;
    size_t size;
    char *text;

    if (conf_read(path, &conf, error)) {
        CU_FAIL_FATAL("configs/tapedeck.conf is refused");
    }
    conf_each(conf, count_changed, &n);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL_FATAL(file_read(path, 1 << 20, &text, &size), 0);
    mention.text = text;
    CU_ASSERT_EQUAL_FATAL(conf_read(file("one", "sources = ( { interface = \"x\"; } );"
                                                "jobs = ( { name = \"x\"; } );"),
                                    &all, error),
                          0);
    conf_each(all, look_for, &mention);
    CU_ASSERT_EQUAL(mention.missing, 0);
    free(text);
    conf_free(conf);
    conf_free(all);
}

static void values_are_read(void)
{
    char error[CONF_ERROR_SIZE] = "";
    struct conf *conf;
    int err = conf_read(
        file("values", "sources = ( { type = \"dpdk\"; device = \"net_pcap0,iface=t1\"; eal = "
                       "\"--no-huge\"; },\n"
                       "            { interface = \"eth0\"; promiscuous = false; queues = 2; } );\n"
                       "cores: { rx = [0]; classifiers = 2; poll = \"busy\"; };\n"
                       "lookback = { size = 1048576; ttl = \"10s\"; };\n"
                       "streams: { distinguish = [ \"vlan\", \"tunnel\" ]; };\n"
                       "names: { files = ( \"/a\", \"/b\" ); };\n"
                       "jobs = ( { name = \"one\"; kfl = \"a == \\\"b\\\"\"; duration = 90; "
                       "expiration = \"1d\"; "
                       "quota = \"5Gi\"; on_quota = \"rotate\"; } );\n"),
        &conf, error);

    if (err)
        tap_note("%s", error);
    CU_ASSERT_EQUAL_FATAL(err, 0);
    CU_ASSERT_EQUAL(conf->n_sources, 2);
    CU_ASSERT_STRING_EQUAL(conf->sources[0].device, "net_pcap0,iface=t1");
    CU_ASSERT_STRING_EQUAL(conf->sources[1].type, "af_xdp");
    CU_ASSERT_FALSE(conf->sources[1].promiscuous);
    CU_ASSERT_EQUAL(conf->sources[1].queues, 2);
    CU_ASSERT_EQUAL(conf->rx.n, 1);
    CU_ASSERT_EQUAL(conf->rx.cpu[0], 0);
    CU_ASSERT_EQUAL(conf->classifiers.n, 2);
    CU_ASSERT_STRING_EQUAL(conf->poll, "busy");
    CU_ASSERT_EQUAL(conf->lookback_size, 1 << 20);
    CU_ASSERT_EQUAL(conf->lookback_ttl, 10 * NS_PER_S);
    CU_ASSERT_EQUAL(conf->distinguish.n, 2);
    CU_ASSERT_STRING_EQUAL(conf->names_files.text[1], "/b");
    CU_ASSERT_EQUAL_FATAL(conf->n_jobs, 1);
    CU_ASSERT_STRING_EQUAL(conf->jobs[0].kfl, "a == \"b\"");
    CU_ASSERT_EQUAL(conf->jobs[0].duration, 90 * NS_PER_MIN);
    CU_ASSERT_EQUAL(conf->jobs[0].expiration, NS_PER_DAY);
    CU_ASSERT_EQUAL(conf->jobs[0].quota, UINT64_C(5) << 30);
    CU_ASSERT_STRING_EQUAL(conf->jobs[0].on_quota, "rotate");
    conf_free(conf);
}

static void numbers_are_read_as_they_stand_there(void)
{
    char error[CONF_ERROR_SIZE] = "";
    struct conf *conf;

    CU_ASSERT_EQUAL_FATAL(
        conf_read(file("numbers", "# \" 9999999999\nstorage: { limit = 5000000000L; // a comment\n"
                                  "free_min = 2147483647; segment_size = 0x7fffffff; };"),
                  &conf, error),
        0);
    CU_ASSERT_EQUAL(conf->storage_limit, UINT64_C(5000000000));
    CU_ASSERT_EQUAL(conf->free_min, INT32_MAX);
    CU_ASSERT_EQUAL(conf->segment_size, INT32_MAX);
    conf_free(conf);
    CU_ASSERT_EQUAL(conf_read(folder, &conf, error), -EISDIR);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "Is a directory"));
}

static void refusals_say_line_and_way_out(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"\nlokback: { };", ":2: lokback: unknown key: did you mean lookback?"},
        {"/* 9999999999 */ # 9999999999\n// 9\nstorage: { path = \"\\\"9999999999\";\n limit = "
         "5000000000; };",
         ":4: 5000000000: too large for a plain number: write it with a unit"},
        {"lookback: { size = 0x123456789; };", ":1: 0x123456789: too large"},
        {"storage: { limit = 99999999999999999999L; };", ":1: 99999999999999999999L: too large"},
        {"storage: { path = \"\"; };", "storage.path = \"\": must not be empty"},
        {"control: { socket = \"\"; };", "control.socket = \"\": must not be empty"},
        {"zzz = 1;", ":1: zzz: unknown key: there are sources jobs cores streams lookback storage "
                     "names control security metrics limits"},
        {"lookback: {\n siez = \"1Mi\"; };", ":2: lookback.siez: unknown key: did you mean size?"},
        {"lookback: {\n size = \"1Mx\"; };",
         ":2: lookback.size = \"1Mx\": a size is a number of bytes or has a unit"},
        {"lookback: {\n size = -5; };", ":2: lookback.size = -5: must be 1Mi or more"},
        {"lookback: { size = 1.5; };", "lookback.size = 1.5: must be a whole number"},
        {"lookback: { ttl = 5; };", "lookback.ttl = 5: a duration has a unit"},
        {"lookback = 5;", "lookback: must be a group"},
        {"storage: { flush = \"2m\"; };", "storage.flush = \"2m\": must be from 1ms to 1m"},
        {"storage: { sync = \"often\"; };", "storage.sync = \"often\": must be one of [close "
                                            "interval chunk]"},
        {"streams: { distinguish = [\"vln\"]; };", "\"vln\" must be one of [vlan tunnel]"},
        {"streams: { max = \"5\"; };", "streams.max = \"5\": must be a number"},
        {"cores: { rx = [ 100000 ]; };", "cores.rx = ...: there is no CPU 100000"},
        {"cores: { rx = \"a\"; };", "must be a number of threads, or a list of CPUs"},
        {"cores: { rx = 65; };", "cores.rx = 65: 65 threads: must be from 0 to 64"},
        {"sources = ( { type = \"af_xdp\"; } );", "needs `interface`: the interface's name"},
        {"sources = ( { type = \"dpdk\"; } );", "needs `device`"},
        {"sources = ( { type = \"pcap\"; } );", "sources.type = \"pcap\": must be one of [af_xdp "
                                                "dpdk file]"},
        {"sources = { };", "sources: must be a list of groups"},
        {"sources = ( 5 );", "sources[0]: must be a group"},
        {"sources = ( { interface = 5; } );", "sources.interface = 5: must be a text"},
        {"sources = ( { interface = \"a\"; copy = 1; } );",
         "sources.copy = 1: must be true or false"},
        {"jobs = ( {\n\n duration = -5; } );", ":3: jobs.duration = -5: must be 1s or more"},
        {"jobs = ( { dur = 5; } );", "jobs[0].dur: unknown key: did you mean duration?"},
        {"a = ;", ":1: syntax error"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *path = file("bad", rows[i].text);
        char error[CONF_ERROR_SIZE] = "";
        struct conf *conf;

        CU_ASSERT_EQUAL(conf_read(path, &conf, error), -EINVAL);
        CU_ASSERT(!strncmp(error, path, strlen(path)));
        CU_ASSERT_PTR_NOT_NULL(strstr(error, rows[i].message));
        if (!strstr(error, rows[i].message))
            tap_note("%s", error);
    }
}

static void a_missing_file_is_said(void)
{
    char error[CONF_ERROR_SIZE] = "";
    struct conf *conf;

    CU_ASSERT_EQUAL(conf_read("/nowhere/x.conf", &conf, error), -ENOENT);
    CU_ASSERT_STRING_EQUAL(error, "/nowhere/x.conf: No such file or directory");
}

static void a_job_is_written_as_it_is_read(void)
{
    struct conf_job job = conf_job_initial();
    char error[CONF_ERROR_SIZE] = "";
    struct conf *conf = NULL;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    job.name = "a.b-c";
    job.kfl = "request.path == \"/a\\\\b\" and\n\tresponse.status == 500";
    job.start = "2026-01-02T03:04:05.000000000Z";
    job.duration = 90 * NS_PER_S;
    job.quota = (UINT64_C(5) << 30) + 1;
    job.cutoff = 4096;
    job.iterations = 7;
    conf_print_job(&job, out);
    fclose(out);
    CU_ASSERT_EQUAL_FATAL(conf_read_job(file("job", text), &conf, error), 0);
    CU_ASSERT_EQUAL_FATAL(conf->n_jobs, 1);
    CU_ASSERT_STRING_EQUAL(conf->jobs[0].name, job.name);
    CU_ASSERT_STRING_EQUAL(conf->jobs[0].kfl, job.kfl);
    CU_ASSERT_STRING_EQUAL(conf->jobs[0].start, job.start);
    CU_ASSERT_STRING_EQUAL(conf->jobs[0].on_quota, "stop");
    CU_ASSERT_EQUAL(conf->jobs[0].duration, job.duration);
    CU_ASSERT_EQUAL(conf->jobs[0].expiration, job.expiration);
    CU_ASSERT_EQUAL(conf->jobs[0].quota, job.quota);
    CU_ASSERT_EQUAL(conf->jobs[0].cutoff, job.cutoff);
    CU_ASSERT_EQUAL(conf->jobs[0].iterations, job.iterations);
    conf_free(conf);
    free(text);
    CU_ASSERT_EQUAL(conf_read_job(file("job", "name = \"a\";\nlookback = 5;"), &conf, error),
                    -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, ":2: lookback: unknown key"));
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"an empty file is a configuration", an_empty_file_is_a_configuration},
        {"the shipped file shows every key with its default",
         the_shipped_file_shows_every_key_with_its_default},
        {"values are read", values_are_read},
        {"numbers are read as they stand there", numbers_are_read_as_they_stand_there},
        {"refusals say line and way out", refusals_say_line_and_way_out},
        {"a missing file is said", a_missing_file_is_said},
        {"a job is written as it is read", a_job_is_written_as_it_is_read},
        {NULL, NULL},
    };
    int status;

    if (!mkdtemp(folder))
        return 1;
    status = tap_main(argc, argv, "conf", tests);
    folder_remove(folder);
    return status;
}
