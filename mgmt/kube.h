/* kube.h - names from the Kubernetes API: pods, services, endpoint slices and nodes, listed once
 * and then watched.
 *
 * Each kind is followed by itself; one that may not be read keeps no other from working. A
 * connection that ends is taken up where it was (resourceVersion; bookmarks keep that recent); when
 * the API has forgotten that far (410) the list is asked for again. Between attempts there is a
 * growing wait with jitter. What was known stays in force meanwhile, and that is said: once when
 * it begins, once when it ends.
 *
 * Bounded: a list comes in pages; a page, an event, the number of objects, their addresses.
 *
 * Thread: mgmt; kube_fd() becomes readable when kube_step() has something to do, and it is called
 * now and then besides. Time is an argument. */
#ifndef MGMT_KUBE_H
#define MGMT_KUBE_H

#include "doc.h"
#include "kube_access.h"
#include "names_spells.h"
#include "schedule.h"

struct kube;

struct kube_config {
    const char *from, *context; /* as kube_access_read() has them */
    struct names_spells *spells;
    uint64_t seed;     /* of the jitter */
    uint64_t retry_ns; /* the first wait; 0: 1 second */
    unsigned page;     /* objects of a page; 0: 500 */
    unsigned watch_s;  /* how long the API lets a watch run; 0: 5 minutes */
};

int kube_open(const struct kube_config *config, struct kube **ret_kube,
              char reterr_text[static KUBE_ERROR_SIZE]);
void kube_close(struct kube *kube); /* the spells stay as they are */
int kube_fd(const struct kube *kube);
void kube_step(struct kube *kube, struct schedule_clock clock);

/* A row for each kind, "kind": "kube": resource, state, objects, lists, events, errors, bad events,
 * and since when it is stale. */
void kube_stats(const struct kube *kube, struct doc *rows);
/* Every list has been seen once: readiness. */
bool kube_listed(const struct kube *kube);

#endif
