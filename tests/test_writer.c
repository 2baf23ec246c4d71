#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/ensure.h"
#include "../writer/pcapng_read.h"
#include "../writer/segment.h"
#include "tap.h"
#include "writer_lab.h"

static void feed(struct lab *lab, unsigned slot, unsigned n_streams, unsigned n_packets)
{
    struct stream *streams = calloc(n_streams, sizeof(*streams));

    for (unsigned i = 0; i < n_streams; i++)
        streams[i] = lab_stream(i);
    for (unsigned i = 0; i < n_packets; i++) {
        lab->now_ns += 1000;
        while (!lab_packet(lab, 0, slot, &streams[i % n_streams], lab->now_ns, 70 + i * 37 % 1400))
            lab_settle(lab);
        writer_step(lab->writer, lab->now_ns);
    }
    free(streams);
}

static void record_on(const char *parent)
{
    struct writer_counters counters;
    struct lab lab;

    lab_begin(&lab, parent, NULL);
    lab_attach(&lab, 5, "plain", 0, false);
    feed(&lab, 5, 20, 5000);
    lab_detach(&lab, 5);
    writer_counters(lab.writer, 5, &counters);
    CU_ASSERT_EQUAL(counters.written, counters.packets);
    CU_ASSERT_EQUAL(counters.segments, 1);
    CU_ASSERT_EQUAL(lab.events[WRITER_EVENT_SEGMENT], 1);
    CU_ASSERT_EQUAL(lab.last[WRITER_EVENT_SEGMENT].packets, counters.written);
    CU_ASSERT_EQUAL(lab_packets(lab_segment(&lab, "plain", 0)), (long)counters.written);
    CU_ASSERT_EQUAL((long)counters.bytes, lab_run("cat %s/* | wc -c", lab_path(&lab, "plain")));
    CU_ASSERT_EQUAL(lab_run("stat -c %%a %s", lab_segment(&lab, "plain", 0)), 640);
    CU_ASSERT_EQUAL(lab_run("stat -c %%a %s", lab_path(&lab, "plain")), 750);
    lab_end(&lab);
}

static void a_recording_on_disk_is_read_by_tshark(void)
{
    record_on(NULL);
}

static void a_recording_without_o_direct_too(void)
{
    record_on("/dev/shm");
}

static void the_file_is_whole_after_every_write(void)
{
    struct lab lab;
    struct stream stream = lab_stream(1);
    long expected = 0;

    lab_begin(&lab, NULL, NULL);
    lab_attach(&lab, 0, "whole", 0, false);
    for (unsigned i = 0; i < 12; i++) {
        for (unsigned k = 0; k <= i * 5; k++)
            expected += lab_packet(&lab, 0, 0, &stream, lab.now_ns++, 200 + k);
        lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
        lab_settle(&lab);
        CU_ASSERT_EQUAL(lab_packets(lab_segment(&lab, "whole", 0)), expected);
    }
    lab_detach(&lab, 0);
    CU_ASSERT_EQUAL(lab_packets(lab_segment(&lab, "whole", 0)), expected);
    lab_end(&lab);
}

static void segments_by_size_and_age(void)
{
    struct writer_config config = {.segment_size = 1 << 20,
                                   .segment_age_ns = UINT64_C(60000000000)};
    struct writer_counters counters;
    struct lab lab;
    long sum = 0;
    unsigned n = 0;

    lab_begin(&lab, NULL, &config);
    lab_attach(&lab, 1, "many", 0, false);
    feed(&lab, 1, 3, 4000); /* about 3 MB */
    lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
    lab_settle(&lab);
    lab.now_ns += UINT64_C(60000000000);
    lab_settle(&lab);
    feed(&lab, 1, 3, 10);
    lab_detach(&lab, 1);
    writer_counters(lab.writer, 1, &counters);
    CU_ASSERT_EQUAL(counters.segments, lab.events[WRITER_EVENT_SEGMENT]);
    for (; *lab_segment(&lab, "many", n); n++) {
        sum += lab_packets(lab_segment(&lab, "many", n));
        CU_ASSERT(lab_run("stat -c %%s %s", lab_segment(&lab, "many", n)) <= (1 << 20) + 8192);
    }
    CU_ASSERT(n >= 5);
    CU_ASSERT_EQUAL(n, counters.segments);
    CU_ASSERT_EQUAL(sum, (long)counters.written);
    CU_ASSERT_EQUAL(sum, 4010);
    lab_end(&lab);
}

static uint64_t written_after_one_more_chunk(struct lab *lab)
{
    struct writer_counters counters;

    feed(lab, 1, 1, 10);
    lab->recorder[0]->ops->flush(lab->recorder[0], lab->now_ns, true);
    lab_settle(lab);
    writer_counters(lab->writer, 1, &counters);
    return counters.written;
}

static void chunks_wait_for_others_to_be_written_with(void)
{
    struct writer_config config = {.gather_ns = 30000000};
    struct writer_counters counters;
    struct lab lab;

    lab_begin(&lab, NULL, &config);
    lab.now_ns += config.gather_ns;
    lab_attach(&lab, 1, "gathers", 0, false);
    CU_ASSERT_EQUAL(written_after_one_more_chunk(&lab), 10);
    for (unsigned i = 1; i < WRITER_GATHER; i++)
        CU_ASSERT_EQUAL(written_after_one_more_chunk(&lab), 10);
    CU_ASSERT_EQUAL(written_after_one_more_chunk(&lab), 10 + WRITER_GATHER * 10);
    CU_ASSERT_EQUAL(written_after_one_more_chunk(&lab), 10 + WRITER_GATHER * 10);
    lab.now_ns += config.gather_ns;
    lab_settle(&lab);
    writer_counters(lab.writer, 1, &counters);
    CU_ASSERT_EQUAL(counters.written, 20 + WRITER_GATHER * 10);
    CU_ASSERT_EQUAL(written_after_one_more_chunk(&lab), 20 + WRITER_GATHER * 10);
    lab_detach(&lab, 1); /* the end waits for nothing */
    writer_counters(lab.writer, 1, &counters);
    CU_ASSERT_EQUAL(counters.written, 30 + WRITER_GATHER * 10);
    lab_end(&lab);
}

static void a_second_run_goes_on_numbering(void)
{
    struct lab lab;

    lab_begin(&lab, NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        lab_attach(&lab, 2, "again", 0, false);
        CU_ASSERT_EQUAL(lab.run[2], i + 1);
        feed(&lab, 2, 1, 10);
        lab_detach(&lab, 2);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(lab_segment(&lab, "again", 2), "-000003.pcapng"));
    lab_end(&lab);
}

static void a_quota_stops_the_recording(void)
{
    const uint64_t quota = 1 << 20;
    struct writer_counters counters;
    struct lab lab;

    lab_begin(&lab, NULL, NULL);
    lab_attach(&lab, 0, "stop", quota, false);
    feed(&lab, 0, 3, 4000);
    lab_settle(&lab);
    CU_ASSERT_EQUAL(lab.events[WRITER_EVENT_QUOTA], 1);
    lab_detach(&lab, 0);
    writer_counters(lab.writer, 0, &counters);
    CU_ASSERT(counters.drop_quota > 0);
    CU_ASSERT_EQUAL(counters.written + counters.drop_quota, counters.packets);
    CU_ASSERT(counters.bytes <= quota && counters.bytes > quota * 9 / 10);
    CU_ASSERT_EQUAL((long)counters.bytes, lab_run("cat %s/* | wc -c", lab_path(&lab, "stop")));
    CU_ASSERT_EQUAL(lab_packets(lab_segment(&lab, "stop", 0)), (long)counters.written);
    lab_end(&lab);
}

static void a_rotating_quota_keeps_the_newest(void)
{
    const uint64_t quota = 8 << 20;
    struct writer_counters counters;
    struct lab lab;
    long sum = 0;

    lab_begin(&lab, NULL, NULL);
    lab_attach(&lab, 0, "rotate", quota, true);
    feed(&lab, 0, 3, 20000); /* about 16 MB */
    lab_detach(&lab, 0);
    writer_counters(lab.writer, 0, &counters);
    CU_ASSERT_EQUAL(lab.events[WRITER_EVENT_QUOTA], 0);
    CU_ASSERT(lab.events[WRITER_EVENT_ROTATED] > 4);
    CU_ASSERT_EQUAL(counters.written, counters.packets);
    CU_ASSERT(counters.bytes <= quota && counters.bytes > quota * 3 / 4);
    CU_ASSERT_EQUAL((long)counters.bytes, lab_run("cat %s/* | wc -c", lab_path(&lab, "rotate")));
    for (unsigned n = 0; *lab_segment(&lab, "rotate", n); n++)
        sum += lab_packets(lab_segment(&lab, "rotate", n));
    CU_ASSERT_EQUAL(sum + (long)counters.rotated, (long)counters.written);
    lab_end(&lab);
}

static void a_folder_that_vanishes_fails_one_job(void)
{
    struct writer_config config = {.segment_size = 1 << 20};
    struct writer_counters counters;
    struct lab lab;

    lab_begin(&lab, NULL, &config);
    lab_attach(&lab, 0, "gone", 0, false);
    lab_attach(&lab, 1, "stays", 0, false);
    feed(&lab, 0, 3, 100);
    lab_settle(&lab);
    lab_run("rm -rf %s", lab_path(&lab, "gone"));
    feed(&lab, 0, 3, 4000);
    feed(&lab, 1, 3, 4000);
    lab_settle(&lab);
    CU_ASSERT_EQUAL(lab.events[WRITER_EVENT_FAILED], 1);
    CU_ASSERT_EQUAL(lab.last[WRITER_EVENT_FAILED].slot, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(lab.last[WRITER_EVENT_FAILED].text, "No such file"));
    lab_detach(&lab, 0);
    lab_detach(&lab, 1);
    writer_counters(lab.writer, 0, &counters);
    CU_ASSERT_EQUAL(counters.written + counters.drop_failed, counters.packets);
    CU_ASSERT(counters.drop_failed > 0);
    writer_counters(lab.writer, 1, &counters);
    CU_ASSERT_EQUAL(counters.written, 4000);
    lab_end(&lab);
}

static void each_sync_policy_writes_the_same(void)
{
    for (unsigned sync = WRITER_SYNC_CLOSE; sync <= WRITER_SYNC_CHUNK; sync++) {
        struct writer_config config = {.sync = sync, .sync_interval_ns = 1000000};
        struct lab lab;

        lab_begin(&lab, NULL, &config);
        lab_attach(&lab, 0, "sync", 0, false);
        feed(&lab, 0, 3, 2000);
        lab_detach(&lab, 0);
        CU_ASSERT_EQUAL(lab_packets(lab_segment(&lab, "sync", 0)), 2000);
        lab_end(&lab);
    }
}

/* isb_osdrop of all interface statistics blocks. */
static uint64_t statistics_drops(const char *path)
{
    struct pcapng_reader reader;
    struct pcapng_block block;
    uint64_t sum = 0;

    ensure(!pcapng_read_open(&reader, path));
    while (pcapng_read_next(&reader, &block) > 0) {
        uint16_t option[2];

        if (block.type != PCAPNG_STATISTICS)
            continue;
        for (uint32_t at = 20; at + 8 < block.size; at += 4 + pcapng_padded(option[1])) {
            uint64_t value;

            memcpy(option, block.at + at, sizeof(option));
            memcpy(&value, block.at + at + 4, sizeof(value));
            sum += option[0] == 7 ? value : 0;
        }
    }
    pcapng_read_close(&reader);
    return sum;
}

static void names_and_interfaces_are_in_the_file(void)
{
    struct lab lab;

    lab_begin(&lab, NULL, NULL);
    lab_attach(&lab, 0, "said", 0, false);
    feed(&lab, 0, 3, 200);
    lab_detach(&lab, 0);
    CU_ASSERT_EQUAL(lab_run("tshark -2 -N nd -r %s -T fields -e ip.dst_host 2>/dev/null | "
                            "grep -c server.lab",
                            lab_segment(&lab, "said", 0)),
                    200);
    CU_ASSERT_EQUAL(lab_run("capinfos -I %s | grep -c 'tcp and dst.port == 80\\|lab0'",
                            lab_segment(&lab, "said", 0)),
                    2);
    lab_end(&lab);
}

/* The writer stands still until no chunk is free: what is lost at the very end, after the job's
 * last chunk, is in the statistics as well. */
static void drops_are_in_the_file(void)
{
    struct writer_counters counters;
    struct stream stream = lab_stream(1);
    struct lab lab;

    lab_begin(&lab, NULL, NULL);
    lab_attach(&lab, 0, "slow", 0, false);
    for (unsigned i = 0; i < 10000; i++)
        lab_packet(&lab, 0, 0, &stream, lab.now_ns + i, 1000);
    lab_detach(&lab, 0);
    writer_counters(lab.writer, 0, &counters);
    CU_ASSERT(counters.drop_no_chunk > 1000);
    CU_ASSERT_EQUAL(counters.packets, counters.written);
    CU_ASSERT_EQUAL(counters.packets + counters.drop_no_chunk, 10000);
    CU_ASSERT_EQUAL(lab_packets(lab_segment(&lab, "slow", 0)), (long)counters.written);
    CU_ASSERT_EQUAL(lab_run("capinfos -I %s | sed -n 's/.*Number of packets = //p'",
                            lab_segment(&lab, "slow", 0)),
                    (long)counters.written);
    CU_ASSERT_EQUAL(statistics_drops(lab_segment(&lab, "slow", 0)), counters.drop_no_chunk);
    lab_end(&lab);
}

static void keys_are_in_the_file_as_they_come(void)
{
    static const char key[] = "CLIENT_RANDOM "
                              "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff "
                              "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
                              "00112233445566778899aabbccddeeff";
    char keylog[] = "/tmp/tapedeck-keylog-XXXXXX";
    struct writer_config config = {.keylog = keylog};
    struct lab lab;
    int file = mkstemp(keylog);

    dprintf(file, "# a comment\n%s\nno key\n", key);
    lab_begin(&lab, NULL, &config);
    lab_attach(&lab, 0, "keys", 0, false);
    feed(&lab, 0, 3, 100);
    lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
    lab_settle(&lab);
    dprintf(file, "%s", key); /* a line is not one before its end */
    lab.now_ns += UINT64_C(1000000000);
    feed(&lab, 0, 3, 100);
    lab.recorder[0]->ops->flush(lab.recorder[0], lab.now_ns, true);
    lab_settle(&lab);
    dprintf(file, "\n%s\n", key);
    lab.now_ns += UINT64_C(1000000000);
    feed(&lab, 0, 3, 100);
    lab_detach(&lab, 0);
    CU_ASSERT_EQUAL(lab_packets(lab_segment(&lab, "keys", 0)), 300);
    CU_ASSERT_EQUAL(lab_run("strings %s | grep -c CLIENT_RANDOM", lab_segment(&lab, "keys", 0)), 3);
    CU_ASSERT_EQUAL(lab_run("editcap --discard-all-secrets %s %s/x.pcapng >&2; strings "
                            "%s/x.pcapng | grep -v KEY | grep -c ' 0011'; true",
                            lab_segment(&lab, "keys", 0), lab.folder, lab.folder),
                    0);
    lab_end(&lab);
    unlink(keylog);
    close(file);
}

/* Two classifiers, the writer and mgmt, each in a thread. */
static struct lab threads;
/* The run whose plan is in force; which the classifiers have come to, and left. */
static _Atomic unsigned wanted_run, in_run[2], left_run[2];
static _Atomic bool stop_classifiers, stop_writer;

static void *classify(void *argument)
{
    unsigned number = (unsigned)(uintptr_t)argument, run = 0;
    struct recorder *recorder = threads.recorder[number];
    struct stream stream = lab_stream(number);

    while (!atomic_load(&stop_classifiers)) {
        unsigned now = atomic_load_explicit(&wanted_run, memory_order_acquire);

        if (run && now != run) {
            recorder->ops->released(recorder, 1, 1);
            atomic_store_explicit(&left_run[number], run, memory_order_release);
        }
        run = now;
        atomic_store_explicit(&in_run[number], run, memory_order_release);
        for (unsigned i = 0; i < 20 && run; i++)
            lab_packet(&threads, number, 0, &stream, stream.last_ns + 1, 300);
        recorder->ops->flush(recorder, stream.last_ns, false);
    }
    return NULL;
}

static void *write_(void *argument)
{
    for (uint64_t now_ns = 1; !atomic_load(&stop_writer); now_ns += 1000000)
        if (!writer_step(threads.writer, now_ns))
            writer_wait(threads.writer, 100000);
    return NULL;
}

static void threads_meet_only_in_rings(void)
{
    struct writer_config config = {.n_classifiers = 2, .segment_size = 300 << 10};
    pthread_t classifiers[2], writer;
    uint64_t written = 0;

    lab_begin(&threads, "/dev/shm", &config);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&classifiers[i], NULL, classify, (void *)(uintptr_t)i);
    pthread_create(&writer, NULL, write_, NULL);
    for (unsigned run = 1; run <= 5; run++) {
        struct writer_counters counters = {0};

        lab_attach(&threads, 0, "threads", 0, false);
        atomic_store_explicit(&wanted_run, run, memory_order_release);
        for (unsigned i = 0;
             i < 100000 && (counters.written < 2000 || atomic_load(&in_run[0]) != run ||
                            atomic_load(&in_run[1]) != run);
             i++) {
            usleep(100);
            writer_counters(threads.writer, 0, &counters);
        }
        atomic_store_explicit(&wanted_run, 0, memory_order_release);
        while (atomic_load_explicit(&left_run[0], memory_order_acquire) != run ||
               atomic_load_explicit(&left_run[1], memory_order_acquire) != run)
            usleep(100);
        ensure(!writer_detach(threads.writer, 0));
        while (threads.events[WRITER_EVENT_DETACHED] != run) {
            usleep(100);
            lab_events(&threads);
        }
        writer_counters(threads.writer, 0, &counters);
        CU_ASSERT_EQUAL(counters.written, counters.packets);
        CU_ASSERT(counters.written >= 2000);
        written += counters.written;
    }
    atomic_store(&stop_classifiers, true);
    atomic_store(&stop_writer, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(classifiers[i], NULL);
    pthread_join(writer, NULL);
    for (unsigned n = 0; *lab_segment(&threads, "threads", n) && n < 3; n++)
        CU_ASSERT(lab_packets(lab_segment(&threads, "threads", n)) > 0);
    tap_note("%llu packets in 5 runs", (unsigned long long)written);
    lab_end(&threads);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"a recording on disk is read by tshark", a_recording_on_disk_is_read_by_tshark},
        {"a recording without O_DIRECT, too", a_recording_without_o_direct_too},
        {"the file is whole after every write", the_file_is_whole_after_every_write},
        {"segments by size and age", segments_by_size_and_age},
        {"chunks wait for others to be written with", chunks_wait_for_others_to_be_written_with},
        {"a second run goes on numbering", a_second_run_goes_on_numbering},
        {"a quota stops the recording", a_quota_stops_the_recording},
        {"a rotating quota keeps the newest", a_rotating_quota_keeps_the_newest},
        {"a folder that vanishes fails one job", a_folder_that_vanishes_fails_one_job},
        {"each sync policy writes the same", each_sync_policy_writes_the_same},
        {"keys are in the file as they come", keys_are_in_the_file_as_they_come},
        {"drops are in the file", drops_are_in_the_file},
        {"threads meet only in rings", threads_meet_only_in_rings},
        {"names and interfaces are in the file", names_and_interfaces_are_in_the_file},
        {0},
    };
    return tap_main(argc, argv, "writer", tests);
}
