/* capture.h - what the XDP program and source_af_xdp.c agree on. */
#ifndef DATAPLANE_XDP_CAPTURE_H
#define DATAPLANE_XDP_CAPTURE_H

#include <linux/types.h>

/* In front of the packet. Whoever reads it clears `magic`, so that what an earlier packet left in
 * the same memory is never taken for this one's. */
struct capture_meta {
    __u64 time_ns; /* bpf_ktime_get_ns(): CLOCK_MONOTONIC */
    __u32 magic;   /* capture_config.magic, random */
    __u32 reserved;
};

/* Set before the program is loaded. */
struct capture_config {
    __u32 magic;
    __u32 otherwise; /* enum xdp_action, for packets we do not take */
};

enum capture_counter {
    CAPTURE_NO_SOCKET, /* packets of a queue that no socket takes */
    CAPTURE_DISCARDED, /* packets that no job wants */
    CAPTURE_N_COUNTERS,
};

enum { CAPTURE_QUEUE_MAX = 64 };

#endif
