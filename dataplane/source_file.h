/* source_file.h - inside the file source: what its two formats share.
 *
 * source_file.c has the source and the pcap format, source_file_pcapng.c the pcapng format. A
 * format's reader takes records off file->bytes and fills the burst, until the burst is full, the
 * bytes are not there yet (-EAGAIN), the file ends (-ENODATA), or it is damaged: then it calls
 * file_damaged(), and what came before is handed out.
 *
 * Thread: the queue's RX thread; stats from any. */
#ifndef DATAPLANE_SOURCE_FILE_H
#define DATAPLANE_SOURCE_FILE_H

#include <stdatomic.h>

#include "file_bytes.h"
#include "interface.h"
#include "source.h"

/* A packet of more bytes than this is taken for damage. */
enum { FILE_PACKET_MAX = FILE_BYTES_NEED_MAX - 1024 };

struct file_interface {
    uint16_t number; /* in interface.h's table */
    uint16_t linktype;
    uint32_t snaplen;
    uint64_t mul, div; /* ns = ts * mul / div + offset_ns; div 1 mostly */
    uint8_t shift;     /* with a binary resolution: ns = ts * 1e9 >> shift */
    int64_t offset_ns;
};

struct source_file {
    struct source_base base;
    struct file_bytes bytes;
    const char *path;
    /* -> packets filled; *ret_end: why it stopped before n, 0 when it did not */
    unsigned (*read)(struct source_file *file, struct packet *burst, unsigned n, int *ret_end);
    bool swapped;     /* the other byte order than ours */
    int ended;        /* 0, -ENODATA */
    uint32_t snaplen; /* of the configuration; UINT32_MAX: none */
    atomic_bool stopped;
    _Atomic uint64_t rx, rx_bytes, errors;

    /* pcap */
    bool modified;        /* records have 8 more bytes: Kuznetsov's patch */
    bool lengths_swapped; /* before version 2.3; 2.3 itself may be either */
    bool lengths_unsure;
    uint32_t fraction_ns; /* of one unit of the fraction: 1000 or 1 */

    /* pcapng */
    uint64_t n_blocks;
    uint64_t ts_ns;        /* of the last packet: a simple packet block has none */
    uint32_t n_interfaces; /* of this section */
    uint64_t n_unknown;    /* packets that name an interface nobody described */
    struct file_interface interfaces[INTERFACE_MAX];

    char damage[SOURCE_ERROR_SIZE];
};

static inline uint16_t file_u16(const struct source_file *file, const uint8_t *at)
{
    uint16_t value;

    __builtin_memcpy(&value, at, 2);
    return file->swapped ? __builtin_bswap16(value) : value;
}

static inline uint32_t file_u32(const struct source_file *file, const uint8_t *at)
{
    uint32_t value;

    __builtin_memcpy(&value, at, 4);
    return file->swapped ? __builtin_bswap32(value) : value;
}

static inline uint64_t file_u64(const struct source_file *file, const uint8_t *at)
{
    uint64_t value;

    __builtin_memcpy(&value, at, 8);
    return file->swapped ? __builtin_bswap64(value) : value;
}

/* The bytes are at data, in pinned memory if the file is not mapped. */
static inline void file_packet(struct source_file *file, struct packet *packet,
                               const struct file_interface *interface, const uint8_t *data,
                               uint64_t ts_ns, uint32_t caplen, uint32_t origlen)
{
    packet->data = data;
    packet->ts_ns = ts_ns;
    packet->origlen = origlen < caplen ? caplen : origlen;
    packet->caplen = caplen < file->snaplen ? caplen : file->snaplen;
    packet->interface = interface->number;
    packet->linktype = interface->linktype;
    packet->source = file->base.number;
    packet->queue = 0;
    packet->cookie = file->bytes.mapped ? 0 : file_bytes_pin(&file->bytes);
}

/* The interface's number in interface.h's table; without a name it gets the file's. */
void file_interface_init(struct source_file *file, struct file_interface *interface,
                         uint32_t linktype, uint32_t snaplen, const char *name,
                         const char *description);

/* Says what is wrong, where, and the way out. -> -ENODATA: nothing more comes. */
int file_damaged(struct source_file *file, const char *what, ...)
    __attribute__((format(printf, 2, 3)));

/* Where the bytes end before n of them are there: -EAGAIN, or -ENODATA with what is wrong. */
int file_short(struct source_file *file, int rc, const char *what, size_t n);

unsigned file_pcapng_read(struct source_file *file, struct packet *burst, unsigned n, int *ret_end);

#endif
