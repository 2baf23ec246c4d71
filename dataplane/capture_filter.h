/* capture_filter.h - what is pushed down, as the maps of our XDP program (xdp/capture.h).
 *
 *      in force    nothing --narrow--> one table --widen--> both --narrow--> the other one
 *                     ^                                      |
 *                     +------------------widen---------------+
 *
 * Nothing in force: everything passes. A table is written when it is not in force, and when no CPU
 * can still be at it.
 *
 * Thread: one. */
#ifndef DATAPLANE_CAPTURE_FILTER_H
#define DATAPLANE_CAPTURE_FILTER_H

#include "capture_program.h"
#include "pushdown.h"

struct capture_filter {
    const struct capture_program *program;
    struct capture_control *control; /* mapped */
    struct capture_sides *ports;     /* mapped: CAPTURE_TABLES x CAPTURE_PORTS */
    unsigned newest;                 /* the table that was written last */
    unsigned n_prefixes[CAPTURE_TABLES];
    struct capture_prefix prefix[CAPTURE_TABLES][CAPTURE_ADDRESSES_MAX]; /* in the address maps */
};

/* The program is loaded and stays so until close. -> 0 or -errno */
int capture_filter_open(const struct capture_program *program, struct capture_filter **ret_filter);
void capture_filter_close(struct capture_filter *filter);

/* What it wants passes, too. */
void capture_filter_widen(struct capture_filter *filter, const struct pushdown_condition *also);
/* Only what it wants passes: the one that was widened by last. */
void capture_filter_narrow(struct capture_filter *filter, const struct pushdown_condition *only);
/* The first time the stream is put in, the next time it is armed (struct capture_out). */
void capture_filter_out(struct capture_filter *filter, const struct pushdown_stream *stream);

#endif
