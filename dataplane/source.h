/* source.h - where packets come from: file, af_xdp, dpdk. One interface, one table.
 *
 * Life: source_open() (allocates, may log through its error text) -> rx and release in a loop, each
 * queue by one RX thread -> source_close(). The interface is left as it was found.
 *
 * To add a source: one file with a `const struct source_ops`, one row in source.c's table. All
 * sources pass the same conformance test (tests/test_source.c). */
#ifndef DATAPLANE_SOURCE_H
#define DATAPLANE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

enum { SOURCE_ERROR_SIZE = 256, SOURCE_QUEUE_MAX = 64 };

struct source_config {
    const char *type;      /* "file" "af_xdp" "dpdk" */
    const char *interface; /* af_xdp: its name; file: path, or "-" */
    const char *device;    /* dpdk: PCI address or vdev arguments, "net_pcap0,rx_pcap=..." */
    const char *eal;       /* dpdk: further EAL arguments, "--no-huge -m 256" */
    unsigned queues;       /* 0: all the device has */
    uint32_t snaplen;      /* 0: whole packets */
    bool promiscuous;
    bool stays;      /* file: packets' bytes stay until close, where the file can be mapped */
    bool generic;    /* af_xdp: do not try native mode */
    bool copy;       /* af_xdp: do not try zero-copy */
    bool busy;       /* poll without sleeping (af_xdp: busy polling) */
    bool pass;       /* af_xdp: what we do not take goes to the stack (shared port) */
    bool pushdown;   /* what no job wants stays in the kernel, in the device (pushdown.h) */
    uint32_t frames; /* per queue, in the device's pool; 0: default */
};

/* Counters of the device, monotonic since open. */
struct source_stats {
    uint64_t rx;               /* packets handed out by rx */
    uint64_t rx_bytes;         /* their original lengths */
    uint64_t drop_nic;         /* lost before us: no descriptor, ring full, no mbuf */
    uint64_t discarded_kernel; /* not wanted by any job, told by the XDP program or the device */
    uint64_t errors;           /* damaged packets, bad blocks of a file */
};

struct pushdown_condition;
struct pushdown_stream;

struct source; /* each implementation begins with struct source_base */

struct source_ops {
    const char *name;
    bool live; /* packets come whether we are ready or not; a source that is not waits */
    int (*open)(const struct source_config *config, struct source **ret_source,
                char reterr_text[static SOURCE_ERROR_SIZE]);
    /* Up to n packets of a queue into burst. -> their number, 0 none now, -ENODATA the end of a
     * finite source, another -errno: the device is gone. Packets stay valid until released; a
     * source hands out at least a full pipeline's worth before it needs some back. */
    int (*rx)(struct source *source, unsigned queue, struct packet *burst, unsigned n);
    /* Gives packets back, in any order. Called by the queue's RX thread. */
    void (*release)(struct source *source, unsigned queue, const struct packet *burst, unsigned n);
    /* A descriptor that becomes readable when rx has something, or -1: sleep and look again. */
    int (*fd)(struct source *source, unsigned queue);
    void (*stats)(struct source *source, struct source_stats *ret_stats); /* any thread */
    /* Stop taking packets: rx goes on to hand out what was received, then -ENODATA. */
    void (*stop)(struct source *source);
    void (*close)(struct source *source);
    /* Pushdown, with config.pushdown; null: everything is handed out. Also that passes; only that
     * passes; this stream does not pass any more (null: streams are not kept out). Mgmt's thread.
     */
    void (*widen)(struct source *source, const struct pushdown_condition *also);
    void (*narrow)(struct source *source, const struct pushdown_condition *only);
    void (*out)(struct source *source, const struct pushdown_stream *stream);
};

struct source_base {
    const struct source_ops *ops; /* set by source_open(), if open() did not choose a variant */
    struct source_config config;  /* strings copied */
    unsigned n_queues;
    uint16_t number; /* in the pipeline; put into packets */
    bool stays;      /* they do: packets' bytes stay where they are, released or not */
    uint64_t size;   /* bytes of a capture file; 0: not known (a pipe, packed, live) */
    char name[64];   /* what stats call it: the interface, the device, the file's name */
    char note[SOURCE_ERROR_SIZE]; /* what is not as it might be, after open; mostly empty */
};

/* -> 0 with an open source, or -errno with a message that names the thing and the way out. */
int source_open(const struct source_config *config, uint16_t number, struct source **ret_source,
                char reterr_text[static SOURCE_ERROR_SIZE]);
void source_close(struct source *source);

static inline struct source_base *source_base(struct source *source)
{
    return (struct source_base *)source;
}

const struct source_ops *source_ops_find(const char *type);

/* Why a finite source ended before its end: a text, or null. (A damaged file.) */
const char *source_file_damage(struct source *source);

#endif
