/* dpdk_eal.h - DPDK's environment (EAL): set up once in a process, by who needs it first.
 *
 * It gets no more hold of the process than it needs: no files, no telemetry, no cores, no signals,
 * and its log is kept for error messages.
 *
 * Thread: any, one at a time. */
#ifndef DATAPLANE_DPDK_EAL_H
#define DATAPLANE_DPDK_EAL_H

#include "source.h"

/* eal: further arguments, as a text. -> 0 or -errno; the first answer is that of all later calls.
 */
int dpdk_eal_start(const char *eal, char reterr_text[static SOURCE_ERROR_SIZE]);

/* The first line that DPDK wrote since it was cleared; never null. */
const char *dpdk_eal_words(void);
void dpdk_eal_words_clear(void);

#endif
