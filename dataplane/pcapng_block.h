/* pcapng_block.h - PCAPNG blocks, made in memory.
 *
 * Each function writes one whole block at `at` and returns its size in bytes, a multiple of 4; with
 * `at` null it only says the size, so room can be taken first and filled in place. Blocks are in
 * the byte order of the machine, times in ns (each interface says if_tsresol 9). Texts that are
 * null or empty are left out; options longer than an option can be are cut.
 *
 * The enhanced packet block is on the path of every packet: it is inline and branches on nothing
 * but the comment. Direction: inbound is client to server, outbound server to client.
 *
 * Any thread; keeps nothing. Source: draft-ietf-opsawg-pcapng. */
#ifndef DATAPLANE_PCAPNG_BLOCK_H
#define DATAPLANE_PCAPNG_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum pcapng_block_type {
    PCAPNG_INTERFACE = 1,
    PCAPNG_SIMPLE_PACKET = 3,
    PCAPNG_NAMES = 4,
    PCAPNG_STATISTICS = 5,
    PCAPNG_PACKET = 6,
    PCAPNG_SECRETS = 10,
    PCAPNG_SECTION = 0x0A0D0D0A,
};
#define PCAPNG_PADDING    UINT32_C(0x80005444) /* local use: readers skip it */
#define PCAPNG_BYTE_ORDER UINT32_C(0x1A2B3C4D)

enum pcapng_option {
    PCAPNG_OPTION_END = 0,
    PCAPNG_OPTION_COMMENT = 1,
    PCAPNG_OPTION_SECTION_HARDWARE = 2,
    PCAPNG_OPTION_SECTION_OS = 3,
    PCAPNG_OPTION_SECTION_APPLICATION = 4,
    PCAPNG_OPTION_INTERFACE_NAME = 2,
    PCAPNG_OPTION_INTERFACE_DESCRIPTION = 3,
    PCAPNG_OPTION_INTERFACE_TSRESOL = 9,
    PCAPNG_OPTION_INTERFACE_FILTER = 11,
    PCAPNG_OPTION_PACKET_FLAGS = 2,
    PCAPNG_OPTION_STATISTICS_START = 2,
    PCAPNG_OPTION_STATISTICS_END = 3,
    PCAPNG_OPTION_STATISTICS_RECEIVED = 4,
    PCAPNG_OPTION_STATISTICS_DROPPED = 5,
    PCAPNG_OPTION_STATISTICS_ACCEPTED = 6,
    PCAPNG_OPTION_STATISTICS_OS_DROPPED = 7,
    PCAPNG_OPTION_STATISTICS_DELIVERED = 8,
};

enum pcapng_flags { PCAPNG_FLAGS_INBOUND = 1, PCAPNG_FLAGS_OUTBOUND = 2 };

struct pcapng_section {
    const char *hardware, *os, *application, *comment;
};

struct pcapng_interface {
    const char *name, *description;
    const char *filter; /* the statement */
    uint32_t snaplen;   /* 0: no limit */
    uint16_t linktype;
};

struct pcapng_name {
    const uint8_t *addr; /* 16 bytes, IPv4 as ::ffff:a.b.c.d */
    const char *name;
};

struct pcapng_statistics {
    uint64_t ts_ns;             /* when the counts were taken */
    uint64_t start_ns, end_ns;  /* of the capture; 0: left out */
    uint64_t received, dropped; /* by the interface */
    uint64_t os_dropped;
    uint64_t accepted;  /* by the filter */
    uint64_t delivered; /* written to the file */
    const char *comment;
    uint32_t interface; /* in its section */
};

uint32_t pcapng_section_block(uint8_t *at, const struct pcapng_section *section);
uint32_t pcapng_interface_block(uint8_t *at, const struct pcapng_interface *interface);
uint32_t pcapng_names_block(uint8_t *at, const struct pcapng_name *names, unsigned n);
uint32_t pcapng_statistics_block(uint8_t *at, const struct pcapng_statistics *statistics);
/* A TLS key log (SSLKEYLOGFILE lines): readers decrypt with it. It must come before the packets. */
uint32_t pcapng_secrets_block(uint8_t *at, const void *keylog, uint32_t keylog_size);

/* A block that readers skip, `size` bytes in all (12 or more, a multiple of 4): a body, which the
 * caller writes at at + 8, and zeros behind it. */
enum { PCAPNG_PADDING_MIN = 12 };
void pcapng_padding_block(uint8_t *at, uint32_t size, uint32_t body_size);

struct pcapng_packet {
    const uint8_t *data;
    uint64_t ts_ns;
    uint32_t caplen, origlen;
    uint32_t interface;
    uint32_t flags;      /* enum pcapng_flags */
    const char *comment; /* not terminated; null without */
    uint32_t comment_size;
};

enum { PCAPNG_PACKET_HEADER = 28, PCAPNG_COMMENT_MAX = 4096 };

static inline uint32_t pcapng_padded(uint32_t size)
{
    return (size + 3) & ~UINT32_C(3);
}

static inline uint32_t pcapng_packet_size(uint32_t caplen, uint32_t comment_size)
{
    /* header, packet, flags option, end of options, size again */
    return PCAPNG_PACKET_HEADER + pcapng_padded(caplen) + 8 + 4 + 4 +
           (comment_size ? 4 + pcapng_padded(comment_size) : 0);
}

static inline uint8_t *pcapng_put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
    return at + 4;
}

/* comment_size: PCAPNG_COMMENT_MAX at most. -> the size, as pcapng_packet_size(). */
static inline uint32_t pcapng_packet_block(uint8_t *at, const struct pcapng_packet *packet)
{
    uint32_t size = pcapng_packet_size(packet->caplen, packet->comment_size);

    /* One by one: read back as one piece, they would wait for the stores of the packet before. */
    at = pcapng_put32(at, PCAPNG_PACKET);
    at = pcapng_put32(at, size);
    at = pcapng_put32(at, packet->interface);
    at = pcapng_put32(at, (uint32_t)(packet->ts_ns >> 32));
    at = pcapng_put32(at, (uint32_t)packet->ts_ns);
    at = pcapng_put32(at, packet->caplen);
    at = pcapng_put32(at, packet->origlen);
    if (packet->caplen)
        memcpy(at, packet->data, packet->caplen);
    pcapng_put32(at + packet->caplen, 0); /* what pads it, and more, which is written next */
    at += pcapng_padded(packet->caplen);
    at = pcapng_put32(at, PCAPNG_OPTION_PACKET_FLAGS | 4 << 16);
    at = pcapng_put32(at, packet->flags);
    if (packet->comment_size) {
        at = pcapng_put32(at, PCAPNG_OPTION_COMMENT | packet->comment_size << 16);
        memcpy(at, packet->comment, packet->comment_size);
        memset(at + packet->comment_size, 0,
               pcapng_padded(packet->comment_size) - packet->comment_size);
        at += pcapng_padded(packet->comment_size);
    }
    at = pcapng_put32(at, PCAPNG_OPTION_END);
    pcapng_put32(at, size);
    return size;
}

#endif
