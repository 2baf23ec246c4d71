/* export_part.h - a chunk on its way into an export: loaded, its packets in order of time. */
#ifndef WRITER_EXPORT_PART_H
#define WRITER_EXPORT_PART_H

#include "export.h"
#include "index.h"

struct export_packet {
    uint64_t ts_ns;
    uint32_t offset; /* of its block in the chunk */
    uint32_t size;
};

struct export_part {
    uint64_t offset; /* in the segment */
    uint64_t first_ns;
    uint64_t last_ns;
    uint32_t size;
    uint16_t segment;
    bool loaded_once;
    /* while loaded */
    uint8_t *data;
    struct export_packet *packets;
    uint32_t n_packets;
    uint32_t next; /* packet; kept when it is dropped to be loaded again */
    uint64_t next_ns;
};

/* Reads the chunk and sorts its packets. `rows`: room for a directory, *ret_chunk points into it.
 * -> 0, -EBADMSG: it is not what its directory says, or -errno. */
int export_part_load(struct export_part *part, int file, const struct export_config *config,
                     uint8_t *rows, struct index_chunk *ret_chunk);
void export_part_drop(struct export_part *part);
static inline uint64_t export_part_memory(const struct export_part *part)
{
    return part->size + (uint64_t)part->n_packets * sizeof(struct export_packet);
}

#endif
