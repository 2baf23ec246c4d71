#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "../writer/verify.h"
#include "tap.h"
#include "writer_lab.h"

/* Real file systems in a file of their own: a full one, and those beside ext4. */
struct disk {
    char folder[64]; /* mount point */
    char image[128];
};

/* -> false, with the test skipped, when it cannot be had here. */
static bool disk_begin(struct disk *disk, const char *make, const char *size)
{
    snprintf(disk->folder, sizeof(disk->folder), "/tmp/tapedeck-disk-XXXXXX");
    ensure(mkdtemp(disk->folder));
    snprintf(disk->image, sizeof(disk->image), "%s.image", disk->folder);
    if (!geteuid() &&
        lab_run("truncate -s %s %s && %s %s >/dev/null 2>&1 && mount -o loop %s %s 2>/dev/null && "
                "echo 1",
                size, disk->image, make, disk->image, disk->image, disk->folder) == 1)
        return true;
    rmdir(disk->folder);
    unlink(disk->image);
    tap_skip("needs root, loop devices and mkfs");
    return false;
}

static void disk_end(struct disk *disk)
{
    umount2(disk->folder, MNT_DETACH);
    rmdir(disk->folder);
    unlink(disk->image);
}

static void say(void *context, const char *text)
{
    tap_note("%s", text);
}

static void feed(struct lab *lab, unsigned slot, uint64_t bytes)
{
    struct stream stream = lab_stream(slot + 1);

    for (uint64_t done = 0; done < bytes; done += 1400) {
        lab->now_ns += 1000;
        while (!lab_packet(lab, 0, slot, &stream, lab->now_ns, 1400))
            lab_settle(lab);
        writer_step(lab->writer, lab->now_ns);
    }
}

static void files_on(const char *make, const char *size)
{
    struct disk disk;
    struct verify verify;
    struct lab lab;

    if (!disk_begin(&disk, make, size))
        return;
    lab_begin(&lab, disk.folder, NULL);
    lab_attach(&lab, 0, "fs", 0, false);
    feed(&lab, 0, 5 << 20);
    lab_detach(&lab, 0);
    CU_ASSERT_EQUAL(lab.events[WRITER_EVENT_FAILED], 0);
    CU_ASSERT_EQUAL(verify_folder(lab_path(&lab, "fs"), "fs", false, say, NULL, NULL, &verify), 0);
    CU_ASSERT_EQUAL(verify.n_problems, 0);
    CU_ASSERT_EQUAL((long)verify.packets, lab_packets(lab_segment(&lab, "fs", 0)));
    CU_ASSERT_EQUAL(verify.packets, ((5 << 20) + 1399) / 1400);
    lab_end(&lab);
    disk_end(&disk);
}

static void xfs_is_written(void)
{
    files_on("mkfs.xfs -q", "320M");
}

static void btrfs_is_written(void)
{
    files_on("mkfs.btrfs -q", "200M");
}

static void a_full_disk_fails_its_jobs_and_loses_nothing_else(void)
{
    static const char *const names[] = {"one", "two", "three"};
    struct writer_config config = {.segment_size = 8 << 20};
    struct writer_counters counters;
    struct disk disk;
    struct verify verify;
    struct lab lab;
    unsigned failed = 0;

    if (!disk_begin(&disk, "mkfs.ext4 -q -m 0", "64M"))
        return;
    lab_begin(&lab, disk.folder, &config);
    for (unsigned i = 0; i < 3; i++)
        lab_attach(&lab, i, names[i], 0, false);
    for (unsigned i = 0; i < 90; i++)
        feed(&lab, i % 3, 1 << 20);
    for (unsigned i = 0; i < 3; i++)
        lab_detach(&lab, i);
    for (unsigned i = 0; i < 3; i++) {
        writer_counters(lab.writer, i, &counters);
        CU_ASSERT_EQUAL(counters.written + counters.drop_failed, counters.packets);
        CU_ASSERT_EQUAL(
            verify_folder(lab_path(&lab, names[i]), names[i], false, say, NULL, NULL, &verify), 0);
        CU_ASSERT_EQUAL(verify.n_problems, 0);
        CU_ASSERT_EQUAL(verify.packets, counters.written);
        CU_ASSERT(counters.written > 10000);
        failed += counters.drop_failed > 0;
        for (unsigned n = 0; *lab_segment(&lab, names[i], n); n += 3)
            CU_ASSERT(lab_packets(lab_segment(&lab, names[i], n)) > 0);
    }
    CU_ASSERT(failed > 0);
    CU_ASSERT_EQUAL(lab.events[WRITER_EVENT_FAILED], failed);
    CU_ASSERT_EQUAL(lab.last[WRITER_EVENT_FAILED].error, ENOSPC);
    /* Space comes back: the job goes on where it was told to. */
    lab_run("rm -r %s", lab_path(&lab, "three"));
    lab_attach(&lab, 0, "one", 0, false);
    feed(&lab, 0, 3 << 20);
    lab_detach(&lab, 0);
    writer_counters(lab.writer, 0, &counters);
    CU_ASSERT_EQUAL(counters.written, counters.packets);
    CU_ASSERT_EQUAL(verify_folder(lab_path(&lab, "one"), "one", false, say, NULL, NULL, &verify),
                    0);
    CU_ASSERT_EQUAL(verify.n_problems, 0);
    lab_end(&lab);
    disk_end(&disk);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"a full disk fails its jobs and loses nothing else",
         a_full_disk_fails_its_jobs_and_loses_nothing_else},
        {"xfs is written", xfs_is_written},
        {"btrfs is written", btrfs_is_written},
        {0},
    };
    return tap_main(argc, argv, "disks", tests);
}
