/* Bytes a second into segments, against fio on the same file system in the same run.
 *
 *     bench_writer FOLDER [SECONDS]
 *
 * It works in a folder of its own in there, which is gone afterwards.
 * One thread fills chunks with packets of 1000 bytes as fast as they are given back, one writes.
 * fio: io_uring, direct, 1 MiB blocks, 16 under way, into as many files as there are jobs, as many
 * bytes. Prints bytes per second and the ratios. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "../dataplane/pcapng_block.h"
#include "../dataplane/stream.h"
#include "../writer/chunk_recorder.h"
#include "../writer/export.h"
#include "../writer/segment.h"
#include "../writer/writer.h"

enum { FRAME_SIZE = 1000, STREAM_PACKETS = 20, JOBS_MAX = 64 };
#define CHUNK_MEMORY (UINT64_C(64) << 20)

static struct recorder *recorder;
static struct writer *writer;
static unsigned n_jobs;
static uint64_t export_cat_ns, export_ns, export_bytes, export_stream_ns;
static double export_stream_part;
static _Atomic bool stop_filling, stop_writing;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *fill(void *argument)
{
    static uint8_t frame[FRAME_SIZE];
    struct stream stream = {0};
    uint64_t now = now_ns(), n = 0;

    while (!atomic_load_explicit(&stop_filling, memory_order_relaxed)) {
        unsigned slot = (unsigned)(n / 64 % n_jobs);
        struct pcapng_packet packet = {
            .data = frame, .ts_ns = now + n, .caplen = FRAME_SIZE, .origlen = FRAME_SIZE};
        uint8_t *at = recorder->ops->reserve(recorder, slot, pcapng_packet_size(FRAME_SIZE, 0), 0);

        if (!at) {
            usleep(200);
            continue;
        }
        pcapng_packet_block(at, &packet);
        stream.number = n++ / STREAM_PACKETS;
        recorder->ops->commit(recorder, slot, &stream, packet.ts_ns, FRAME_SIZE, 0);
    }
    recorder->ops->released(recorder, UINT64_MAX, now);
    return NULL;
}

static void *write_out(void *argument)
{
    while (!atomic_load_explicit(&stop_writing, memory_order_relaxed))
        if (!writer_step(writer, now_ns()))
            writer_wait(writer, 200000);
    return NULL;
}

/* Time order by export against cat, through a pipe, both from the page cache. */
static void measure_export(const char *folder)
{
    struct export_config config = {0};
    struct segment_info *segments;
    char path[512], command[1200], error[EXPORT_ERROR_SIZE] = "";
    static char paths[256][512];
    static const char *list[256];
    struct export_result result = {0};
    uint64_t begin, bytes, stream = 7;
    FILE *reader;
    unsigned n;

    snprintf(path, sizeof(path), "%s/bench0", folder);
    if (segment_list(path, "bench0", &segments, &n, &bytes))
        return;
    for (unsigned i = 0; i < n && i < 256; i++) {
        segment_path(path, "bench0", &segments[i].name, SEGMENT_PCAPNG, paths[i], sizeof(paths[i]));
        list[i] = paths[i];
    }
    free(segments);
    snprintf(command, sizeof(command), "cat %s/*.pcapng | cat >/dev/null", path);
    for (unsigned i = 0; i < 2; i++) { /* the first fills the page cache */
        begin = now_ns();
        if (system(command))
            return;
        export_cat_ns = now_ns() - begin;
    }
    config = (struct export_config){.segments = list, .n_segments = n};
    reader = popen("cat >/dev/null", "w");
    if (!reader)
        return;
    config.output = fileno(reader);
    begin = now_ns();
    if (export_run(&config, &result, error))
        fprintf(stderr, "%s\n", error);
    export_ns = now_ns() - begin;
    export_bytes = bytes;
    pclose(reader);
    config.output = open("/dev/null", O_WRONLY);
    config.wanted = export_wants_stream;
    config.wanted_context = &stream;
    begin = now_ns();
    export_run(&config, &result, error);
    export_stream_ns = now_ns() - begin;
    export_stream_part = (double)result.read_bytes / (double)bytes;
    close(config.output);
}

/* -> bytes per second on disk, the last sync included. */
static double run(const char *folder, unsigned jobs, unsigned seconds, uint64_t *ret_bytes)
{
    const struct writer_config config = {.n_classifiers = 1,
                                         .chunk_size = 1 << 20,
                                         .chunk_memory = (jobs + 64ull) << 20,
                                         .segment_size = UINT64_C(1) << 30};
    char error[WRITER_ERROR_SIZE], path[512], name[16];
    struct writer_event event;
    pthread_t filler, step;
    uint64_t begin, bytes = 0;
    unsigned detached = 0;

    n_jobs = jobs;
    if (writer_create(&config, &writer, error)) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    chunk_recorder_create(writer_pool(writer), 0, UINT64_C(500000000), &recorder);
    for (unsigned i = 0; i < jobs; i++) {
        struct writer_job job = {.slot = i, .name = name, .folder = path, .statement = "tcp"};
        uint32_t number;

        snprintf(name, sizeof(name), "bench%u", i);
        snprintf(path, sizeof(path), "%s/bench%u", folder, i);
        if (writer_attach(writer, &job, &number, error)) {
            fprintf(stderr, "%s\n", error);
            exit(1);
        }
    }
    atomic_store(&stop_filling, false);
    atomic_store(&stop_writing, false);
    begin = now_ns();
    pthread_create(&filler, NULL, fill, NULL);
    pthread_create(&step, NULL, write_out, NULL);
    sleep(seconds);
    atomic_store(&stop_filling, true);
    pthread_join(filler, NULL);
    for (unsigned i = 0; i < jobs; i++)
        writer_detach(writer, i);
    while (detached < jobs) {
        usleep(100);
        while (writer_poll(writer, &event))
            detached += event.type == WRITER_EVENT_DETACHED;
    }
    begin = now_ns() - begin;
    for (unsigned i = 0; i < jobs; i++) {
        struct writer_counters counters;

        writer_counters(writer, i, &counters);
        bytes += counters.bytes;
    }
    atomic_store(&stop_writing, true);
    pthread_join(step, NULL);
    writer_free(writer);
    chunk_recorder_free(recorder);
    if (jobs == 1)
        measure_export(folder);
    snprintf(path, sizeof(path), "rm -rf %s/bench*", folder);
    if (system(path))
        fprintf(stderr, "%s: left there\n", folder);
    *ret_bytes = bytes;
    return (double)bytes * 1e9 / (double)begin;
}

/* files: written in turn, as the writer does; bytes in all. */
static double fio(const char *folder, unsigned files, uint64_t bytes)
{
    char command[1024], line[64] = "0";
    FILE *pipe;

    snprintf(command, sizeof(command),
             "fio --name=bench --directory=%s --nrfiles=%u --file_service_type=roundrobin "
             "--ioengine=io_uring --direct=1 --bs=1M --iodepth=16 --rw=write --size=%" PRIu64 "M "
             "--fallocate=none --end_fsync=1 --output-format=json | "
             "jq '.jobs[0].write.bw_bytes'; rm -f %s/bench.0.*",
             folder, files, (bytes >> 20) / files * files, folder);
    pipe = popen(command, "r");
    if (!pipe || !fgets(line, sizeof(line), pipe))
        fprintf(stderr, "fio: no answer; is it installed?\n");
    if (pipe)
        pclose(pipe);
    return strtod(line, NULL);
}

int main(int argc, char **argv)
{
    char folder[512];
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
    struct rusage usage;
    uint64_t bytes_one, bytes_many;
    double base_one, base_many, one, many;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_writer FOLDER [SECONDS]\n");
        return 2;
    }
    snprintf(folder, sizeof(folder), "%s/tapedeck-bench-XXXXXX", argv[1]);
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    interface_add("bench0", "file", "", 1, 0);
    one = run(folder, 1, seconds, &bytes_one);
    base_one = fio(folder, 1, bytes_one);
    many = run(folder, JOBS_MAX, seconds, &bytes_many);
    base_many = fio(folder, JOBS_MAX, bytes_many);
    getrusage(RUSAGE_SELF, &usage);
    printf("fio      %8.0f MB/s into 1 file, %.0f into %u\n", base_one / 1e6, base_many / 1e6,
           JOBS_MAX);
    printf("1 job    %8.0f MB/s  ratio %.2f\n", one / 1e6, base_one > 0 ? one / base_one : 0);
    printf("%u jobs  %8.0f MB/s  ratio %.2f\n", JOBS_MAX, many / 1e6,
           base_many > 0 ? many / base_many : 0);
    printf("cat      %8.0f MB/s  (%.1f GB, through a pipe)\n",
           (double)export_bytes * 1e3 / (double)export_cat_ns, (double)export_bytes / 1e9);
    printf("export   %8.0f MB/s  ratio %.2f\n", (double)export_bytes * 1e3 / (double)export_ns,
           (double)export_cat_ns / (double)export_ns);
    printf("1 stream %8.0f ms    of %.0f %% of the bytes\n", (double)export_stream_ns / 1e6,
           export_stream_part * 100);
    printf("memory   %8ld MB at most\n", usage.ru_maxrss / 1024);
    if (rmdir(folder))
        perror(folder);
    return 0;
}
