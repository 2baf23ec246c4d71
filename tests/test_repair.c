#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../writer/export.h"
#include "../writer/index.h"
#include "../writer/repair.h"
#include "../writer/segment.h"
#include "../writer/verify.h"
#include "tap.h"
#include "writer_lab.h"

enum { CUTS = 40, TSHARK_EVERY = 8 };

static void record(struct lab *lab)
{
    struct stream streams[7];

    lab_begin(lab, NULL, NULL);
    lab_attach(lab, 0, "cut", 0, false);
    for (unsigned i = 0; i < 7; i++)
        streams[i] = lab_stream(i);
    for (unsigned i = 0; i < 3000; i++) {
        lab->now_ns += 1000;
        while (!lab_packet(lab, 0, 0, &streams[i * 13 % 7], lab->now_ns, 80 + i % 500))
            lab_settle(lab);
        if (i % 400 == 0)
            lab->recorder[0]->ops->flush(lab->recorder[0], lab->now_ns, true);
        writer_step(lab->writer, lab->now_ns);
    }
    lab_detach(lab, 0);
}

struct sums {
    uint64_t packets, of_stream[7], strangers;
};

static int add(void *context, const struct index_chunk *chunk)
{
    struct sums *sums = context;

    for (uint32_t i = 0; i < chunk->n_streams; i++) {
        sums->packets += chunk->streams[i].packets;
        if (chunk->streams[i].number < 7)
            sums->of_stream[chunk->streams[i].number] += chunk->streams[i].packets;
        else
            sums->strangers += chunk->streams[i].packets;
    }
    return 0;
}

/* Whole packet blocks in the first `size` bytes. */
static uint64_t whole_packets(const char *path, uint64_t size)
{
    FILE *file = fopen(path, "r");
    uint32_t head[2];
    uint64_t n = 0;

    for (uint64_t at = 0; at + 12 <= size && fread(head, 8, 1, file) == 1; at += head[1]) {
        if (at + head[1] > size)
            break;
        n += head[0] == 6;
        fseek(file, (long)(at + head[1]), SEEK_SET);
    }
    fclose(file);
    return n;
}

static void a_file_cut_anywhere_is_made_whole(void)
{
    struct lab lab;
    char path[WRITER_PATH_MAX], original[WRITER_PATH_MAX], folder[WRITER_PATH_MAX];
    struct stat before;

    record(&lab);
    snprintf(path, sizeof(path), "%s", lab_segment(&lab, "cut", 0));
    snprintf(original, sizeof(original), "%s", lab_path(&lab, "original"));
    snprintf(folder, sizeof(folder), "%s", lab_path(&lab, "cut"));
    lab_run("cp %s %s", path, original);
    stat(original, &before);
    srand(3);
    for (unsigned i = 0; i < CUTS; i++) {
        uint64_t size = i == 0   ? (uint64_t)before.st_size
                        : i == 1 ? 5
                        : i == 2 ? 4096
                                 : (uint64_t)rand() % (uint64_t)before.st_size;
        uint64_t expected = whole_packets(original, size);
        struct repair repair;
        struct sums sums = {0};
        struct index_walk walk;

        lab_run("cp %s %s", original, path);
        CU_ASSERT_EQUAL(truncate(path, (off_t)size), 0);
        CU_ASSERT_EQUAL(repair_folder(folder, "cut", NULL, NULL, &repair), 0);
        if (size < 200) {
            CU_ASSERT_EQUAL(repair.n_removed, 1);
            continue;
        }
        CU_ASSERT_EQUAL(repair.n_removed, 0);
        CU_ASSERT_EQUAL(index_walk(path, true, add, &sums, &walk), 0);
        CU_ASSERT(!walk.damaged && !walk.from_blocks);
        CU_ASSERT_EQUAL(sums.packets, expected);
        if (walk.end > 100000)
            CU_ASSERT_EQUAL(sums.strangers, 0);
        if (i % TSHARK_EVERY == 0)
            CU_ASSERT_EQUAL(lab_packets(path), (long)expected);
        /* Once is enough. */
        CU_ASSERT_EQUAL(repair_folder(folder, "cut", NULL, NULL, &repair), 0);
        CU_ASSERT_EQUAL(repair.n_cut + repair.n_indexes, 0);
    }
    lab_end(&lab);
}

static void bytes_that_are_no_blocks_are_cut_off(void)
{
    struct lab lab;
    char path[WRITER_PATH_MAX], folder[WRITER_PATH_MAX];
    struct repair repair;
    struct sums sums = {0};

    record(&lab);
    snprintf(path, sizeof(path), "%s", lab_segment(&lab, "cut", 0));
    snprintf(folder, sizeof(folder), "%s", lab_path(&lab, "cut"));
    lab_run("head -c 100000 /dev/zero >>%s", path);
    CU_ASSERT_EQUAL(repair_folder(folder, "cut", NULL, NULL, &repair), 0);
    CU_ASSERT_EQUAL(repair.n_cut, 1);
    CU_ASSERT_EQUAL(repair.cut_bytes, 100000);
    index_walk(path, true, add, &sums, NULL);
    CU_ASSERT_EQUAL(sums.packets, 3000);
    CU_ASSERT_EQUAL(lab_packets(path), 3000);
    lab_end(&lab);
}

static void an_entry_list_ends_with_a_whole_line(void)
{
    struct lab lab;
    char folder[WRITER_PATH_MAX];
    struct repair repair;

    record(&lab);
    snprintf(folder, sizeof(folder), "%s", lab_path(&lab, "cut"));
    lab_run("(echo one; echo two; printf three) >%s/entries.ndjson", folder);
    CU_ASSERT_EQUAL(repair_folder(folder, "cut", NULL, NULL, &repair), 0);
    CU_ASSERT_EQUAL(repair.cut_bytes, 5);
    CU_ASSERT_EQUAL(lab_run("wc -c <%s/entries.ndjson", folder), 8);
    lab_run("head -c 10000 /dev/zero >%s/entries.ndjson", folder);
    CU_ASSERT_EQUAL(repair_folder(folder, "cut", NULL, NULL, &repair), 0);
    CU_ASSERT_EQUAL(lab_run("wc -c <%s/entries.ndjson", folder), 0);
    lab_end(&lab);
}

static unsigned problems(const char *folder)
{
    struct verify verify;

    CU_ASSERT_EQUAL(verify_folder(folder, "cut", false, NULL, NULL, NULL, &verify), 0);
    return verify.n_problems;
}

static void verify_finds_what_is_damaged(void)
{
    struct lab lab;
    char path[WRITER_PATH_MAX], index[WRITER_PATH_MAX], folder[WRITER_PATH_MAX];
    struct verify verify;

    record(&lab);
    snprintf(path, sizeof(path), "%s", lab_segment(&lab, "cut", 0));
    snprintf(folder, sizeof(folder), "%s", lab_path(&lab, "cut"));
    index_path(path, index, sizeof(index));
    CU_ASSERT_EQUAL(verify_folder(folder, "cut", false, NULL, NULL, NULL, &verify), 0);
    CU_ASSERT_EQUAL(verify.n_problems, 0);
    CU_ASSERT_EQUAL(verify.packets, 3000);
    CU_ASSERT_EQUAL(verify.backwards, 0);
    lab_run("cp %s %s/segment; cp %s %s/index", path, lab.folder, index, lab.folder);
    /* a time in a packet's header; a block's size; an index that is gone; one that is cut */
    lab_run("printf x | dd of=%s bs=1 seek=8208 conv=notrunc 2>/dev/null", path);
    CU_ASSERT(problems(folder) > 0);
    lab_run("cp %s/segment %s; truncate -s -4096 %s", lab.folder, path, path);
    CU_ASSERT(problems(folder) > 0);
    lab_run("cp %s/segment %s; truncate -s -8 %s", lab.folder, path, index);
    CU_ASSERT_EQUAL(problems(folder), 1);
    lab_run("rm %s", index);
    CU_ASSERT_EQUAL(problems(folder), 0);
    lab_run("cp %s/index %s; (echo '{}}'; echo oops) >%s/entries.ndjson", lab.folder, index,
            folder);
    CU_ASSERT_EQUAL(problems(folder), 1);
    lab_end(&lab);
}

static void flip(const char *path, unsigned n)
{
    FILE *file = fopen(path, "r+");
    struct stat stat_;

    if (!file)
        return;
    fstat(fileno(file), &stat_);
    for (unsigned i = 0; i < n && stat_.st_size; i++) {
        fseek(file, rand() % stat_.st_size, SEEK_SET);
        fputc(rand(), file);
    }
    fclose(file);
}

/* Nothing that a disk hands back may do more than be refused. */
static void garbage_is_survived(void)
{
    struct lab lab;
    char path[WRITER_PATH_MAX], index[WRITER_PATH_MAX], folder[WRITER_PATH_MAX];
    const char *list[] = {path};
    struct export_config config = {.segments = list, .n_segments = 1};
    unsigned refused = 0;

    record(&lab);
    snprintf(path, sizeof(path), "%s", lab_segment(&lab, "cut", 0));
    snprintf(folder, sizeof(folder), "%s", lab_path(&lab, "cut"));
    index_path(path, index, sizeof(index));
    lab_run("cp %s %s/segment; cp %s %s/index", path, lab.folder, index, lab.folder);
    config.output = open("/dev/null", O_WRONLY);
    srand(23);
    for (unsigned i = 0; i < 150; i++) {
        char error[EXPORT_ERROR_SIZE];
        struct export_result result;
        struct verify verify;
        struct repair repair;

        lab_run("cp %s/segment %s; cp %s/index %s", lab.folder, path, lab.folder, index);
        flip(i % 3 ? path : index, 1 + i % 50);
        if (i % 3 == 2)
            flip(index, 3);
        verify_folder(folder, "cut", false, NULL, NULL, NULL, &verify);
        refused += verify.n_problems > 0;
        export_run(&config, &result, error);
        repair_folder(folder, "cut", NULL, NULL, &repair);
        unlink(index);
        verify_folder(folder, "cut", false, NULL, NULL, NULL, &verify);
        export_run(&config, &result, error);
    }
    close(config.output);
    CU_ASSERT(refused > 20);
    lab_end(&lab);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"a file cut anywhere is made whole", a_file_cut_anywhere_is_made_whole},
        {"bytes that are no blocks are cut off", bytes_that_are_no_blocks_are_cut_off},
        {"an entry list ends with a whole line", an_entry_list_ends_with_a_whole_line},
        {"garbage is survived", garbage_is_survived},
        {"verify finds what is damaged", verify_finds_what_is_damaged},
        {0},
    };
    return tap_main(argc, argv, "repair", tests);
}
