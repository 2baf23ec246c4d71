/* repair.h - after a crash: what was being written is made whole again.
 *
 * A segment ends with a whole chunk, unless the machine or the process stopped in the middle of a
 * write. Then it is cut at its last whole block, and closed with a directory made from the packets
 * that are left; their streams get the numbers that earlier chunks of the segment know them by. An
 * index that is missing or ends early is made anew; an entry list is cut at its last whole line.
 * Whole segments are told by their last block alone.
 *
 * Thread: mgmt's, before a job is attached to the folder. */
#ifndef WRITER_REPAIR_H
#define WRITER_REPAIR_H

#include <stdint.h>

struct repair {
    unsigned n_segments; /* looked at */
    unsigned n_cut;      /* of them */
    unsigned n_removed;  /* had not one whole block */
    unsigned n_indexes;  /* made anew */
    uint64_t cut_bytes;  /* of segments and entry lists */
    uint64_t packets;    /* whole packets kept behind the last whole chunk */
};

/* say: a line for people about each thing that was done; may be null. -> 0, or the -errno of the
 * first file that could not be repaired (the others are). */
int repair_folder(const char *folder, const char *recording,
                  void (*say)(void *context, const char *text), void *context,
                  struct repair *ret_repair);

#endif
