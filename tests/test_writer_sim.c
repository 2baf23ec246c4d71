#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/ensure.h"
#include "../writer/chunk_recorder.h"
#include "../writer/pcapng_read.h"
#include "../writer/repair.h"
#include "../writer/segment.h"
#include "io_fake.h"
#include "tap.h"
#include "writer_lab.h"

/* The whole writer under one thread, on a disk that fails and with a clock that jumps by a seed. */
#define HOUR_NS (UINT64_C(3600) * 1000000000)
enum { JOBS = 3, STREAMS = 5, SEEDS = 400, SEEDS_LONG = 10000, SERIAL_MAX = 4096 };

struct sim {
    struct lab lab;
    struct io *io;
    uint64_t random;
    bool jumps;               /* the clock */
    uint64_t serial;          /* of the next packet; its time tells it */
    uint64_t submitted[JOBS]; /* taken by the recorder */
    unsigned seed;
    const char *wrong;
};

static uint64_t draw(struct sim *sim)
{
    sim->random = sim->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return sim->random >> 33;
}

static void begin(struct sim *sim, unsigned seed, bool fails)
{
    struct io_fake_config fake = {.seed = seed + 1, .delay_max = seed % 7};
    struct writer_config config = {.segment_size = 200 << 10,
                                   .chunk_memory = 12 * CHUNK_SIZE_MIN,
                                   .sync = seed % 3,
                                   .sync_interval_ns = 5000,
                                   .gather_ns = seed % 2 ? 3000 : 0};

    memset(sim, 0, sizeof(*sim));
    sim->seed = seed;
    sim->random = seed;
    sim->jumps = seed % 3;
    fake.no_direct = seed % 5 == 0;
    fake.short_of_1000 = seed % 4 ? 0 : 200;
    if (fails) {
        fake.fail_of_1000 = seed % 2 ? 20 : 0;
        fake.names_of_1000 = seed % 3 ? 0 : 50;
        fake.space = seed % 2 ? 0 : 300 << 10;
    }
    ensure(!io_fake_create(&fake, &sim->io));
    config.io = sim->io;
    lab_begin(&sim->lab, "/dev/shm", &config);
}

static void attach(struct sim *sim, unsigned slot)
{
    char folder[32], name[8], error[WRITER_ERROR_SIZE];
    struct writer_job job = {.slot = slot, .name = name, .folder = folder, .statement = "tcp"};

    snprintf(folder, sizeof(folder), "/fake/j%u", slot);
    snprintf(name, sizeof(name), "j%u", slot);
    if (slot == 1)
        job.quota = 400 << 10;
    if (slot == 2 && sim->seed % 5 == 0)
        job.age_ns = HOUR_NS;
    job.rotate = job.age_ns || (slot == 1 && sim->seed % 2);
    ensure(!writer_attach(sim->lab.writer, &job, &sim->lab.run[slot], error));
}

static void work(struct sim *sim, unsigned n)
{
    struct recorder *recorder = sim->lab.recorder[0];
    struct stream streams[STREAMS];

    for (unsigned i = 0; i < STREAMS; i++)
        streams[i] = lab_stream(i);
    for (unsigned i = 0; i < n; i++) {
        unsigned slot = (unsigned)draw(sim) % JOBS;

        sim->lab.now_ns += 1000;
        if (sim->jumps && draw(sim) % 100 == 0) /* forward, or back */
            sim->lab.now_ns += draw(sim) % (2 * HOUR_NS) - HOUR_NS;
        if (sim->serial < SERIAL_MAX)
            sim->submitted[slot] += lab_packet(&sim->lab, 0, slot, &streams[draw(sim) % STREAMS],
                                               ++sim->serial, 80 + (unsigned)draw(sim) % 1400);
        if (draw(sim) % 50 == 0)
            recorder->ops->flush(recorder, sim->lab.now_ns, draw(sim) % 2);
        if (draw(sim) % 3 == 0)
            writer_step(sim->lab.writer, sim->lab.now_ns);
        lab_events(&sim->lab);
    }
}

/* Every packet in the segments of a job: once, whole, those of a stream in order. -> their number
 */
static uint64_t look(struct sim *sim, unsigned slot)
{
    char folder[300], name[8], path[600];
    struct segment_info *segments;
    bool seen[SERIAL_MAX + 1] = {0};
    uint64_t n_packets = 0, last[STREAMS] = {0};
    struct repair repair;
    unsigned n;

    snprintf(name, sizeof(name), "j%u", slot);
    snprintf(folder, sizeof(folder), "%s/j%u", sim->lab.folder, slot);
    snprintf(path, sizeof(path), "/fake/j%u", slot);
    io_fake_dump(sim->io, path, folder);
    if (repair_folder(folder, name, NULL, NULL, &repair))
        sim->wrong = "repair failed";
    ensure(!segment_list(folder, name, &segments, &n, NULL));
    for (unsigned i = 0; i < n; i++) {
        struct pcapng_reader reader;
        struct pcapng_block block;
        int got;

        segment_path(folder, name, &segments[i].name, SEGMENT_PCAPNG, path, sizeof(path));
        ensure(!pcapng_read_open(&reader, path));
        while ((got = pcapng_read_next(&reader, &block)) > 0) {
            uint64_t stream, ts;

            if (!block.offset && block.type != PCAPNG_SECTION)
                sim->wrong = "a segment begins with no section";
            if (block.type != PCAPNG_PACKET)
                continue;
            memcpy(&stream, block.at + 28 + 54, 8);
            memcpy(&ts, block.at + 28 + 62, 8);
            if (ts > SERIAL_MAX || stream >= STREAMS || seen[ts] || ts <= last[stream]) {
                sim->wrong = "a packet is there twice, out of order, or garbage";
                break;
            }
            seen[ts] = true;
            last[stream] = ts;
            n_packets++;
        }
        if (got < 0)
            sim->wrong = "a segment has something that is no block";
        pcapng_read_close(&reader);
    }
    free(segments);
    return n_packets;
}

static void judge(struct sim *sim, bool crashed)
{
    for (unsigned slot = 0; slot < JOBS; slot++) {
        struct writer_counters c;
        uint64_t found = look(sim, slot);

        writer_counters(sim->lab.writer, slot, &c);
        if (c.packets != sim->submitted[slot])
            sim->wrong = "packets are not those submitted";
        if (!crashed && c.written + c.drop_failed + c.drop_quota != c.packets)
            sim->wrong = "the sum does not hold";
        if (found + c.rotated < c.written)
            sim->wrong = "a packet that was written is gone";
        if (found > c.packets)
            sim->wrong = "there is more than was submitted";
        if (!crashed && !io_fake_failures(sim->io) && found + c.rotated != c.written)
            sim->wrong = "not exactly what was written is there";
    }
    if (sim->wrong)
        printf("# seed %u: %s\n", sim->seed, sim->wrong);
    CU_ASSERT_PTR_NULL(sim->wrong);
}

/* n packets and an entry. -> packets written by now */
static uint64_t put_and_settle(struct sim *sim, unsigned n)
{
    struct stream stream = lab_stream(0);
    struct writer_counters counters;
    struct chunk *chunk;

    for (unsigned i = 0; i < n; i++)
        lab_packet(&sim->lab, 0, 0, &stream, ++sim->serial, 500);
    sim->lab.recorder[0]->ops->flush(sim->lab.recorder[0], sim->lab.now_ns, true);
    chunk = chunk_take(writer_pool(sim->lab.writer), 0);
    ensure(chunk);
    chunk->kind = CHUNK_ENTRIES;
    chunk->slot = 0;
    chunk->run = sim->lab.run[0];
    chunk->n_packets = 1;
    memcpy(chunk->data, "{}\n", 3);
    chunk->used = 3;
    chunk_submit(writer_pool(sim->lab.writer), chunk);
    lab_settle(&sim->lab);
    writer_counters(sim->lab.writer, 0, &counters);
    return counters.written;
}

static unsigned seeds(void)
{
    return getenv("TAPEDECK_LONG") ? SEEDS_LONG : SEEDS;
}

static void what_is_detached_is_accounted_for(void)
{
    static struct sim sim;
    uint64_t failures = 0, failed = 0;

    for (unsigned seed = 0; seed < seeds() && !sim.wrong; seed++) {
        begin(&sim, seed, seed % 4 != 3);
        for (unsigned i = 0; i < JOBS; i++)
            attach(&sim, i);
        work(&sim, 200 + seed % 700);
        for (unsigned i = 0; i < JOBS; i++)
            lab_detach(&sim.lab, i);
        judge(&sim, false);
        failures += io_fake_failures(sim.io);
        failed += sim.lab.events[WRITER_EVENT_FAILED];
        lab_end(&sim.lab);
        io_fake_free(sim.io);
    }
    tap_note("%u seeds, %llu operations failed or were cut short, %llu jobs failed", seeds(),
             (unsigned long long)failures, (unsigned long long)failed);
}

static void a_crash_takes_nothing_that_was_written(void)
{
    static struct sim sim;

    for (unsigned seed = 0; seed < seeds() && !sim.wrong; seed++) {
        begin(&sim, seed, seed % 4 == 3);
        for (unsigned i = 0; i < JOBS; i++)
            attach(&sim, i);
        work(&sim, 100 + seed * 7 % 900);
        io_fake_crash(sim.io);
        judge(&sim, true);
        lab_end(&sim.lab);
        io_fake_free(sim.io);
    }
}

/* What README says of storage.sync. The disk keeps what was synced and nothing else. */
static void each_sync_policy_keeps_what_it_promises(void)
{
    static struct sim sim;

    for (unsigned sync = WRITER_SYNC_CLOSE; sync <= WRITER_SYNC_CHUNK; sync++)
        for (unsigned seed = 0; seed < 20; seed++) {
            struct io_fake_config fake = {.seed = seed + 1};
            struct writer_config config = {.sync = sync};
            uint64_t written[2], found;
            char folder[300];

            memset(&sim, 0, sizeof(sim));
            sim.random = sim.seed = seed;
            ensure(!io_fake_create(&fake, &sim.io));
            config.io = sim.io;
            lab_begin(&sim.lab, "/dev/shm", &config);
            attach(&sim, 0);
            written[0] = put_and_settle(&sim, 1 + seed);
            if (sync != WRITER_SYNC_CHUNK) /* the interval, or the age of a segment */
                sim.lab.now_ns += sync == WRITER_SYNC_INTERVAL ? UINT64_C(1000000000) : HOUR_NS;
            lab_settle(&sim.lab);
            written[1] = put_and_settle(&sim, 10);
            io_fake_power_fails(sim.io);
            found = look(&sim, 0);
            CU_ASSERT_PTR_NULL(sim.wrong);
            CU_ASSERT(found >= written[sync == WRITER_SYNC_CHUNK]);
            snprintf(folder, sizeof(folder), "%s/j0", sim.lab.folder);
            CU_ASSERT(lab_run("cat %s/*.ndjson | wc -l", folder) >=
                      1 + (sync == WRITER_SYNC_CHUNK));
            lab_end(&sim.lab);
            io_fake_free(sim.io);
        }
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"what is detached is accounted for", what_is_detached_is_accounted_for},
        {"a crash takes nothing that was written", a_crash_takes_nothing_that_was_written},
        {"each sync policy keeps what it promises", each_sync_policy_keeps_what_it_promises},
        {0},
    };
    return tap_main(argc, argv, "writer_sim", tests);
}
