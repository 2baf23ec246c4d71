#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/ensure.h"
#include "../writer/pcapng_read.h"
#include "../writer/repair.h"
#include "../writer/segment.h"
#include "../writer/verify.h"
#include "tap.h"
#include "writer_lab.h"

/* Kill -9 while it writes as fast as it can: what the writer had counted as written is there. */
enum { KILLS = 20, KILLS_LONG = 300 };

struct shared {
    _Atomic uint64_t written;
    char folder[WRITER_PATH_MAX]; /* of the recording */
};

static void child(struct shared *shared, const char *parent)
{
    struct writer_config config = {.segment_size = 2 << 20};
    struct stream stream = lab_stream(1);
    struct writer_counters counters;
    struct lab lab;

    lab_begin(&lab, parent, &config);
    lab_attach(&lab, 0, "kill", 0, false);
    snprintf(shared->folder, sizeof(shared->folder), "%s", lab_path(&lab, "kill"));
    for (uint64_t n = 1;;) {
        lab.now_ns += 1000;
        n += lab_packet(&lab, 0, 0, &stream, n, (uint32_t)(100 + n * 7 % 1200));
        if (n % 40 == 0)
            lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
        writer_step(lab.writer, lab.now_ns);
        lab_events(&lab);
        writer_counters(lab.writer, 0, &counters);
        atomic_store(&shared->written, counters.written);
    }
}

/* Each is there once, and in order through all segments. -> packets */
static uint64_t count_packets(const char *folder)
{
    struct segment_info *segments;
    char path[WRITER_PATH_MAX];
    uint64_t last = 0, n_packets = 0, ts;
    unsigned n;

    ensure(!segment_list(folder, "kill", &segments, &n, NULL));
    for (unsigned i = 0; i < n; i++) {
        struct pcapng_reader reader;
        struct pcapng_block block;

        segment_path(folder, "kill", &segments[i].name, SEGMENT_PCAPNG, path, sizeof(path));
        ensure(!pcapng_read_open(&reader, path));
        while (pcapng_read_next(&reader, &block) > 0) {
            if (block.type != PCAPNG_PACKET)
                continue;
            memcpy(&ts, block.at + PCAPNG_PACKET_HEADER + 62, 8);
            CU_ASSERT(ts > last);
            last = ts;
            n_packets++;
        }
        if (i + 1 == n)
            CU_ASSERT(lab_packets(path) >= 0);
        pcapng_read_close(&reader);
    }
    free(segments);
    return n_packets;
}

static void say(void *context, const char *text)
{
    (void)context;
    tap_note("%s", text);
}

static void a_kill_takes_nothing_that_was_written(void)
{
    unsigned kills = getenv("TAPEDECK_LONG") ? KILLS_LONG : KILLS, cut = 0;
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t packets = 0;

    ensure(shared != MAP_FAILED);
    srand(5);
    for (unsigned i = 0; i < kills; i++) {
        struct verify verify;
        struct repair repair;
        uint64_t found;
        int status;
        pid_t pid;

        memset(shared, 0, sizeof(*shared));
        pid = fork();
        ensure(pid >= 0);
        if (!pid)
            child(shared, i % 2 ? "/dev/shm" : "/tmp");
        for (unsigned k = 0; k < 10000 && !atomic_load(&shared->written); k++)
            usleep(1000);
        usleep((useconds_t)rand() % 60000);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        CU_ASSERT(WIFSIGNALED(status));
        CU_ASSERT_EQUAL(repair_folder(shared->folder, "kill", NULL, NULL, &repair), 0);
        CU_ASSERT_EQUAL(verify_folder(shared->folder, "kill", false, say, NULL, NULL, &verify), 0);
        CU_ASSERT_EQUAL(verify.n_problems, 0);
        found = count_packets(shared->folder);
        CU_ASSERT_EQUAL(verify.packets, found);
        CU_ASSERT(found >= atomic_load(&shared->written));
        cut += repair.n_cut;
        packets += found;
        *strrchr(shared->folder, '/') = 0;
        lab_run("rm -rf '%s'", shared->folder);
    }
    tap_note("%u kills, %u segments cut, %llu packets", kills, cut, (unsigned long long)packets);
    munmap(shared, sizeof(*shared));
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"a kill takes nothing that was written", a_kill_takes_nothing_that_was_written},
        {0},
    };
    return tap_main(argc, argv, "kill", tests);
}
