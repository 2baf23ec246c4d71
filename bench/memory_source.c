#include "memory_source.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { LAP_GAP_NS = 1000 };

static int memory_rx(struct source *base, unsigned queue, struct packet *burst, unsigned n)
{
    struct memory_source *source = (struct memory_source *)base;
    unsigned left = source->n - source->at;

    if (!source->laps)
        return -ENODATA;
    if (source->ready && !source->ready(source->context))
        return 0;
    n = n < left ? n : left;
    for (unsigned i = 0; i < n; i++) { /* what a driver fills in */
        const struct frame *from = &source->frames[source->at + i];

        burst[i].data = from->data;
        burst[i].ts_ns = from->ts_ns + source->lap_ns;
        burst[i].caplen = from->caplen;
        burst[i].origlen = from->origlen;
        burst[i].cookie = 0;
        burst[i].interface = 0;
        burst[i].linktype = LINKTYPE_ETHERNET;
        burst[i].source = burst[i].queue = 0;
    }
    source->at += n;
    if (source->at == source->n) {
        source->at = 0;
        source->laps--;
        source->lap_ns += source->frames[source->n - 1].ts_ns - source->frames[0].ts_ns;
        source->lap_ns += LAP_GAP_NS;
    }
    return (int)n;
}

static void memory_release(struct source *base, unsigned queue, const struct packet *burst,
                           unsigned n)
{
    /* They stay. */
}

static int memory_fd(struct source *base, unsigned queue)
{
    return -1;
}

static void memory_stats(struct source *base, struct source_stats *ret_stats)
{
    *ret_stats = (struct source_stats){0}; /* the pipeline's own counts are what is looked at */
}

static void memory_stop(struct source *base)
{
    ((struct memory_source *)base)->laps = 0;
}

static const struct source_ops memory_ops = {
    .name = "memory",
    .rx = memory_rx,
    .release = memory_release,
    .fd = memory_fd,
    .stats = memory_stats,
    .stop = memory_stop,
};

void memory_source_init(struct memory_source *source, const struct frame *frames, unsigned n,
                        unsigned laps)
{
    *source = (struct memory_source){
        .base = {.ops = &memory_ops,
                 .config.pushdown = true,
                 .n_queues = 1,
                 .stays = true,
                 .name = "memory"},
        .frames = frames,
        .n = n,
        .laps = laps,
    };
}

void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

unsigned frames_load(const char *path, struct frame **ret_frames)
{
    char why[PCAP_ERRBUF_SIZE];
    pcap_t *pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, why);
    struct frame *frames = NULL;
    unsigned n = 0, room = 0;
    struct pcap_pkthdr *header;
    const uint8_t *data;
    uint8_t *memory;
    struct stat file;
    uint64_t at = 0, size;

    if (!pcap || stat(path, &file))
        fail(path, pcap ? strerror(errno) : why);
    if (pcap_datalink(pcap) != DLT_EN10MB)
        fail(path, "it is not Ethernet");
    size = (uint64_t)file.st_size * 4; /* a frame of one byte takes 17 in the file, 64 here */
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    if (memory == MAP_FAILED)
        fail(path, strerror(errno));
    madvise(memory, size, MADV_HUGEPAGE);
    while (pcap_next_ex(pcap, &header, &data) == 1) {
        if (n == room) {
            room = room ? 2 * room : 1 << 16;
            frames = realloc(frames, room * sizeof(*frames));
        }
        if (!frames || at + header->caplen > size)
            fail(path, "no memory");
        memcpy(memory + at, data, header->caplen);
        frames[n++] = (struct frame){
            .data = memory + at,
            .ts_ns = (uint64_t)header->ts.tv_sec * 1000000000 + (uint64_t)header->ts.tv_usec,
            .caplen = header->caplen,
            .origlen = header->len,
        };
        at += (header->caplen + 63) & ~63u;
    }
    pcap_close(pcap);
    if (!n)
        fail(path, "it has no packets");
    *ret_frames = frames;
    return n;
}
