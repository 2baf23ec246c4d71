/* names_objects.h - which addresses a Kubernetes object gives a name to.
 *
 * Pods, Services, Endpoints, EndpointSlices and Nodes, as the API and kubectl print them. A pod
 * that has finished has no address any more; one on its host's network has none of its own. An
 * endpoint is called as what is behind it, one outside of the cluster as its service.
 *
 * Any thread; nothing is kept. */
#ifndef MGMT_NAMES_OBJECTS_H
#define MGMT_NAMES_OBJECTS_H

#include "doc.h"
#include "names.h"

enum names_kind {
    NAMES_KIND_POD,
    NAMES_KIND_SERVICE,
    NAMES_KIND_ENDPOINTS,
    NAMES_KIND_SLICE,
    NAMES_KIND_NODE,
    NAMES_KIND_COUNT
};
extern const char *const names_kind_name[NAMES_KIND_COUNT]; /* "Pod" */

struct names_claim {
    uint8_t addr[16];
    uint8_t prefix;
    enum names_rank rank;
    const char *name, *namespace; /* of the object */
    uint64_t from_ns;             /* since when, as far as the object says; 0: it does not */
};

/* Calls `each` for every address, the same one perhaps twice. -> 0, or what `each` returned if that
 * was not 0: it ends there. */
int names_object_each(enum names_kind kind, const struct doc *object,
                      int (*each)(void *context, const struct names_claim *claim), void *context);

#endif
