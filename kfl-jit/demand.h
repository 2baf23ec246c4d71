/* demand.h - which fields a plan reads, so that dissectors extract those and skip the rest. */
#ifndef KFL_DEMAND_H
#define KFL_DEMAND_H

#include "plan_internal.h"

/* -> 0 or -ENOMEM */
int demand_make(const struct kfl_plan *plan, bool all, struct kfl_demand *ret_demand);
void demand_done(struct kfl_demand *demand);

#endif
