#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "../writer/export.h"
#include "../writer/index.h"
#include "tap.h"
#include "writer_lab.h"

enum { N_STREAMS = 200, N_PACKETS = 20000, SEGMENTS_MAX = 64 };

/* A recording as matches make them: the past of a stream comes in one go, later than its time. */
static void record(struct lab *lab, const char *name)
{
    struct writer_config config = {.segment_size = 4 << 20};
    struct stream streams[N_STREAMS];
    unsigned held[N_STREAMS] = {0};

    srand(11);
    lab_begin(lab, NULL, &config);
    lab_attach(lab, 0, name, 0, false);
    for (unsigned i = 0; i < N_STREAMS; i++)
        streams[i] = lab_stream(i);
    for (unsigned i = 0; i < N_PACKETS; i++) {
        unsigned s = (unsigned)rand() % N_STREAMS;

        lab->now_ns += 1000;
        if (++held[s] < 10 + s / 4)
            continue;
        for (; held[s]; held[s]--) /* its packets were 300 us apart */
            while (!lab_packet(lab, 0, 0, &streams[s], lab->now_ns - held[s] * 300000 - s,
                               80 + (unsigned)rand() % 900))
                lab_settle(lab);
        writer_step(lab->writer, lab->now_ns);
    }
    lab_detach(lab, 0);
}

struct export
{
    struct export_config config;
    struct export_result result;
    char paths[SEGMENTS_MAX][WRITER_PATH_MAX];
    const char *path[SEGMENTS_MAX];
    char to[WRITER_PATH_MAX];
};

static struct export *export_of(struct lab *lab, const char *name, uint64_t *stream,
                                uint64_t memory)
{
    static struct export export;
    char error[EXPORT_ERROR_SIZE] = "";
    unsigned n = 0;

    memset(&export, 0, sizeof(export));
    while (n < SEGMENTS_MAX && *lab_segment(lab, name, n)) {
        snprintf(export.paths[n], sizeof(export.paths[n]), "%s", lab_segment(lab, name, n));
        export.path[n] = export.paths[n];
        n++;
    }
    snprintf(export.to, sizeof(export.to), "%s", lab_path(lab, "export.pcapng"));
    export.config = (struct export_config){.segments = export.path,
                                           .n_segments = n,
                                           .memory = memory,
                                           .wanted = stream ? export_wants_stream : NULL,
                                           .wanted_context = stream,
                                           .comment = "a test"};
    export.config.output = open(export.to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CU_ASSERT_EQUAL(export_run(&export.config, &export.result, error), 0);
    CU_ASSERT_STRING_EQUAL(error, "");
    close(export.config.output);
    return &export;
}

static void an_export_is_in_time_order(void)
{
    static const uint64_t memories[] = {0, 300000}; /* also when chunks have to be read again */
    struct lab lab;

    record(&lab, "mix");
    for (unsigned i = 0; i < 2; i++) {
        struct export *export = export_of(&lab, "mix", NULL, memories[i]);
        char merged[WRITER_PATH_MAX];

        snprintf(merged, sizeof(merged), "%s", lab_path(&lab, "merged.pcapng"));
        CU_ASSERT(export->config.n_segments >= 2);
        CU_ASSERT_EQUAL((long)export->result.packets, lab_packets(export->to));
        /* The twin: all segments one behind the other, sorted by others. */
        CU_ASSERT_EQUAL(lab_run("cd %s && mergecap -a -w all mix/*.pcapng && reordercap all '%s' "
                                ">/dev/null; echo 1",
                                lab.folder, merged),
                        1);
        CU_ASSERT_EQUAL(lab_run("cd %s; F='-t e -T fields -e frame.time_epoch -e frame.len "
                                "-e tcp.srcport -e tcp.payload'; tshark $F -r '%s' 2>/dev/null "
                                ">a; tshark $F -r '%s' 2>/dev/null >b; cmp a b >&2 && wc -l <a",
                                lab.folder, merged, export->to),
                        (long)export->result.packets);
        if (memories[i])
            CU_ASSERT(export->result.read_bytes > 2 * export->result.bytes);
    }
    lab_end(&lab);
}

static void an_export_of_a_stream_reads_little(void)
{
    struct lab lab;
    uint64_t all, stream = 17;
    struct export *export;

    record(&lab, "one");
    all = export_of(&lab, "one", NULL, 0)->result.packets;
    lab_run("cp %s %s", lab_path(&lab, "export.pcapng"), "/tmp/tapedeck-lab-all.pcapng");
    export = export_of(&lab, "one", &stream, 0);
    CU_ASSERT(export->result.packets > 10 && export->result.packets < all / 50);
    CU_ASSERT_EQUAL((long)export->result.packets, lab_packets(export->to));
    CU_ASSERT_EQUAL(lab_run("tshark -r /tmp/tapedeck-lab-all.pcapng -Y 'tcp.srcport == %u' -T "
                            "fields -e frame.time_epoch -e tcp.payload 2>/dev/null >%s/a;"
                            "tshark -r %s -T fields -e frame.time_epoch -e tcp.payload "
                            "2>/dev/null >%s/b; cmp %s/a %s/b >&2 && wc -l <%s/a",
                            1024 + 17, lab.folder, export->to, lab.folder, lab.folder, lab.folder,
                            lab.folder),
                    (long)export->result.packets);
    unlink("/tmp/tapedeck-lab-all.pcapng");
    lab_end(&lab);
}

static bool delete_all(void *context, uint64_t done, uint64_t total)
{
    struct lab *lab = context;

    return lab_run("rm -rf %s; echo 1", lab_path(lab, "gone")) == 1;
}

static void what_is_deleted_meanwhile_is_exported_all_the_same(void)
{
    struct lab lab;
    struct export *export;
    uint64_t all;
    char error[EXPORT_ERROR_SIZE] = "";

    record(&lab, "gone");
    export = export_of(&lab, "gone", NULL, 0);
    all = export->result.packets;
    export->config.progress = delete_all;
    export->config.progress_context = &lab;
    export->config.output = open(export->to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CU_ASSERT_EQUAL(export_run(&export->config, &export->result, error), 0);
    close(export->config.output);
    CU_ASSERT(access(lab_path(&lab, "gone"), F_OK));
    CU_ASSERT_EQUAL(export->result.packets, all);
    CU_ASSERT_EQUAL(lab_packets(export->to), (long)all);
    lab_end(&lab);
}

static int count_chunk(void *context, const struct index_chunk *chunk)
{
    uint64_t *sums = context;

    sums[0]++;
    sums[1] += chunk->n_runs;
    for (uint32_t i = 0; i < chunk->n_streams; i++)
        sums[2] += chunk->streams[i].packets;
    return 0;
}

static void an_output_that_is_full_ends_it(void)
{
    struct lab lab;
    struct export *export;
    char error[EXPORT_ERROR_SIZE] = "";

    record(&lab, "full");
    export = export_of(&lab, "full", NULL, 0);
    export->config.output = open("/dev/full", O_WRONLY);
    CU_ASSERT_EQUAL(export_run(&export->config, &export->result, error), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "writing the export: No space left"));
    CU_ASSERT_EQUAL(export->result.bytes, 0);
    close(export->config.output);
    lab_end(&lab);
}

static void an_index_is_the_same_made_again(void)
{
    struct lab lab;
    struct index_walk with, without;
    uint64_t a[3] = {0}, b[3] = {0};
    char path[WRITER_PATH_MAX], index[WRITER_PATH_MAX];

    record(&lab, "again");
    snprintf(path, sizeof(path), "%s", lab_segment(&lab, "again", 0));
    index_path(path, index, sizeof(index));
    CU_ASSERT_EQUAL(index_walk(path, true, count_chunk, a, &with), 0);
    CU_ASSERT_EQUAL(index_walk(path, false, count_chunk, b, &without), 0);
    CU_ASSERT_EQUAL(with.from_blocks, 0);
    CU_ASSERT_EQUAL(without.from_blocks, without.end);
    CU_ASSERT_EQUAL(with.end, without.end);
    CU_ASSERT(!with.damaged && !without.damaged);
    CU_ASSERT(!memcmp(a, b, sizeof(a)) && a[2] > 1000);
    lab_run("cp %s %s/before", index, lab.folder);
    CU_ASSERT_EQUAL(index_rebuild(path), 0);
    CU_ASSERT_EQUAL(lab_run("cmp %s %s/before >&2 && echo 1", index, lab.folder), 1);
    /* An index that ends early, or in nonsense, is gone on with from the segment. */
    memset(b, 0, sizeof(b));
    CU_ASSERT_EQUAL(truncate(index, 10000), 0);
    CU_ASSERT_EQUAL(index_walk(path, true, count_chunk, b, &with), 0);
    CU_ASSERT(with.from_blocks > 0 && with.from_blocks < with.end);
    CU_ASSERT(!memcmp(a, b, sizeof(a)));
    lab_end(&lab);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"an export is in time order", an_export_is_in_time_order},
        {"an export of a stream reads little", an_export_of_a_stream_reads_little},
        {"what is deleted meanwhile is exported all the same",
         what_is_deleted_meanwhile_is_exported_all_the_same},
        {"an output that is full ends it", an_output_that_is_full_ends_it},
        {"an index is the same made again", an_index_is_the_same_made_again},
        {0},
    };
    return tap_main(argc, argv, "export", tests);
}
