/* pcapng_read.h - the blocks of one of our own segments, one after the other.
 *
 * For export, verify, repair and the index; files of others are read by dataplane/source_file.c.
 * The file may be damaged, or grow while it is read: nothing beyond its end is trusted, a block is
 * handed out only when it is whole and both its sizes agree. Memory: one buffer of READ_SIZE.
 *
 * Thread: one for each reader. */
#ifndef WRITER_PCAPNG_READ_H
#define WRITER_PCAPNG_READ_H

#include <stdint.h>

enum { PCAPNG_BLOCK_MAX = 16 << 20 }; /* a larger one is damage */

struct pcapng_block {
    uint32_t type, size;
    const uint8_t *at; /* its first byte; valid until the next call */
    uint64_t offset;   /* in the file */
};

struct pcapng_reader {
    int file;
    uint64_t offset; /* of the next block */
    uint64_t begin;  /* of the buffer's first byte in the file */
    uint32_t filled, size;
    uint32_t step; /* bytes that are read at once; more when more is asked for */
    uint8_t *buffer;
};

/* -> 0 or -errno. */
int pcapng_read_open(struct pcapng_reader *reader, const char *path);
void pcapng_read_close(struct pcapng_reader *reader);
void pcapng_read_seek(struct pcapng_reader *reader, uint64_t offset);
/* -> 1 a block; 0 the file ends here; -EBADMSG no whole block is here (reader->offset stays);
 * another -errno. */
int pcapng_read_next(struct pcapng_reader *reader, struct pcapng_block *ret_block);
/* The next n bytes, whatever they are. -> null: the file is shorter, or cannot be read. */
const uint8_t *pcapng_read_bytes(struct pcapng_reader *reader, uint64_t offset, uint32_t n);

#endif
