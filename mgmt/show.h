/* show.h - parts of what `job show` and `recording show` print. One thread. */
#ifndef MGMT_SHOW_H
#define MGMT_SHOW_H

#include "doc.h"
#include "units.h"

/* The member's time to the second, "-" without one. */
const char *show_time(const struct doc *row, const char *key, char buffer[static UNITS_TEXT_SIZE]);
/* A line for each loss that is not 0, behind `gap`. */
void show_losses(const struct doc *row, const char *gap);
void show_runs(const struct doc *runs);

#endif
