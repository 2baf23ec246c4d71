/* interface.h - the capture interfaces, numbered for the life of the process.
 *
 * Every packet names one; every PCAPNG section describes them in this order. The table only grows:
 * live sources add theirs when they open, a pcapng file when it meets a new interface block.
 *
 * Thread: one thread adds at a time (whoever opens or steps the source, under the table's lock);
 * any thread reads entries below interface_count(), which never change. Bounded: INTERFACE_MAX. */
#ifndef DATAPLANE_INTERFACE_H
#define DATAPLANE_INTERFACE_H

#include <stdint.h>

#include "../kfl-jit/entry.h"

enum { INTERFACE_MAX = 1024 };

struct interface {
    char name[64];
    char source[16]; /* "af_xdp" "dpdk" "file" */
    char description[128];
    uint16_t linktype;
    uint32_t snaplen;           /* 0: no limit */
    struct kfl_capture capture; /* what entries say; points into this */
};

/* What entries say of the recorder itself (node.ip, node.name); before the first source opens. */
void interface_set_node(const char *ip, const char *name);

/* An interface that is there already, alike in everything, is not added again. Texts are kept as
 * clean UTF-8, cut to fit. -> number, or -ENOSPC. */
int interface_add(const char *name, const char *source, const char *description, uint16_t linktype,
                  uint32_t snaplen);
const struct interface *interface_get(unsigned number);
unsigned interface_count(void);

#endif
