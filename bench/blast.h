/* blast.h - what blast.c and the program that it gives to the kernel agree on. */
#ifndef BENCH_BLAST_H
#define BENCH_BLAST_H

#include <linux/types.h>

enum { BLAST_SIZES = 12, BLAST_FRAME = 1514 /* without check sequence, as all sizes here */ };

struct blast_config {
    __u32 interface;   /* where frames go out */
    __u32 n_streams;   /* 1 or more */
    __u64 interval_ps; /* from frame to frame; 0: as fast as it goes */
    __u16 size[BLAST_SIZES];
};

#endif
