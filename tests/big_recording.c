/* big_recording FOLDER NAME MIB - a recording of that size, as matches make them.
 *
 * Some hundred streams are under way; the first half of each comes at its match in one go, later
 * than its time, the rest among the others as it happens. Prints how many streams there are. */
#include <stdio.h>
#include <stdlib.h>

#include "../kfl-jit/ensure.h"
#include "writer_lab.h"

enum { UNDER_WAY = 500, PACKETS_LEAST = 20, PACKETS_MORE = 60, GAP_NS = 2000 };

struct under_way {
    struct stream stream;
    unsigned n, held; /* packets to come; seen and not recorded yet */
    uint64_t first_ns;
};

static void put(struct lab *lab, struct stream *stream, uint64_t ts_ns)
{
    while (!lab_packet(lab, 0, 0, stream, ts_ns, 80 + (unsigned)rand() % 1400))
        if (!writer_step(lab->writer, lab->now_ns))
            writer_wait(lab->writer, 1000000);
}

int main(int argc, char **argv)
{
    const struct writer_config config = {.segment_size = UINT64_C(512) << 20,
                                         .chunk_size = CHUNK_SIZE_DEFAULT,
                                         .chunk_memory = UINT64_C(64) << 20};
    static struct under_way ways[UNDER_WAY];
    struct writer_counters counters = {0};
    char path[WRITER_PATH_MAX];
    uint64_t size, n_streams = 0;
    struct lab lab;

    ensure(argc == 4);
    size = strtoull(argv[3], NULL, 10) << 20;
    lab_begin(&lab, argv[1], &config);
    lab_attach(&lab, 0, argv[2], 0, false);
    while (counters.bytes < size) {
        struct under_way *way = &ways[rand() % UNDER_WAY];

        lab.now_ns += GAP_NS;
        if (!way->n) {
            *way = (struct under_way){.stream = lab_stream(n_streams++), .first_ns = lab.now_ns};
            way->n = PACKETS_LEAST + (unsigned)rand() % PACKETS_MORE;
            way->held = way->n / 2;
        }
        way->n--;
        if (way->held && --way->held)
            continue;
        /* The match: those before were as far apart as the streams' number makes them. */
        for (uint64_t ts = way->first_ns; way->first_ns && ts < lab.now_ns;
             ts += UNDER_WAY * GAP_NS)
            put(&lab, &way->stream, ts);
        way->first_ns = 0;
        put(&lab, &way->stream, lab.now_ns);
        if (lab.now_ns % (1000 * GAP_NS) == 0) {
            writer_step(lab.writer, lab.now_ns);
            writer_counters(lab.writer, 0, &counters);
        }
    }
    lab_detach(&lab, 0);
    snprintf(path, sizeof(path), "%s/%s", argv[1], argv[2]);
    ensure(!rename(lab_path(&lab, argv[2]), path));
    lab_end(&lab);
    printf("%llu\n", (unsigned long long)n_streams);
    return 0;
}
