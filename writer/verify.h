/* verify.h - is a recording what it should be?
 *
 * Reads every segment block by block and holds against each other: the blocks' two sizes, the
 * packets and what the chunk's directory says of them (streams, counts, bytes, times, places), the
 * directories and the index beside the segment, the statistics at the end and the packets before
 * them, the lines of the entry lists. A segment that is being written is right as far as its last
 * whole chunk.
 *
 * Thread: any. Memory is bounded: the times of VERIFY_STREAMS_MAX streams, one directory. */
#ifndef WRITER_VERIFY_H
#define WRITER_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

enum { VERIFY_STREAMS_MAX = 1 << 20 }; /* whose order in time is followed from chunk to chunk */

struct verify {
    unsigned n_segments;
    uint64_t n_chunks, packets, bytes; /* bytes of segments */
    uint64_t lost;       /* packets that the statistics say are missing (drop_no_chunk) */
    uint64_t entries;    /* lines of entry lists */
    uint64_t backwards;  /* packets with an earlier time than the one before in their stream: no
                            damage, clocks and queues do that */
    unsigned n_no_index; /* segments without an index: no damage, it is made again at the next
                            start, and readers do without */
    unsigned n_problems; /* what is damaged; each was told */
};

/* say: a line for people about each problem; may be null. open: the job is still recording, the
 * newest segment need not be whole. progress: may be null; false stops (-ECANCELED).
 * -> 0 (see n_problems) or -errno. */
int verify_folder(const char *folder, const char *recording, bool open,
                  void (*say)(void *context, const char *text),
                  bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes),
                  void *context, struct verify *ret_verify);

#endif
