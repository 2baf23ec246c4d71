/* kube_objects.h - the objects of a cluster that are known, and the spells each has begun.
 *
 *     put(object) --> its addresses now, against those before --> names_spell_begin(), _end()
 *
 * What a list does not name any more when it is complete has gone meanwhile. Bounded; what does not
 * fit is counted and not known. Thread: mgmt. */
#ifndef MGMT_KUBE_OBJECTS_H
#define MGMT_KUBE_OBJECTS_H

#include "names_objects.h"
#include "names_spells.h"

enum { KUBE_OBJECTS_MAX = 200000, KUBE_ADDRESSES_MAX = 1024 };

struct kube_objects;

int kube_objects_create(struct names_spells *spells, struct kube_objects **ret_objects);
void kube_objects_free(struct kube_objects *objects); /* the spells stay */

/* The object as it is now. listed: it is part of a list, so when it came to be is only known from
 * itself. */
void kube_objects_put(struct kube_objects *objects, enum names_kind kind, const struct doc *object,
                      bool listed, uint64_t now_ns);
void kube_objects_remove(struct kube_objects *objects, enum names_kind kind,
                         const struct doc *object, uint64_t now_ns);
void kube_objects_begin_list(struct kube_objects *objects, enum names_kind kind);
/* Those of this kind that were not put since are gone. */
void kube_objects_end_list(struct kube_objects *objects, enum names_kind kind, uint64_t now_ns);

size_t kube_objects_n(const struct kube_objects *objects, enum names_kind kind);
uint64_t kube_objects_refused(const struct kube_objects *objects); /* no room, or too long */

#endif
