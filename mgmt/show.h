/* show.h - parts of what several commands print. One thread. */
#ifndef MGMT_SHOW_H
#define MGMT_SHOW_H

#include "../kfl-jit/kfl.h"
#include "command.h"
#include "doc.h"
#include "units.h"

/* The member's time to the second, "-" without one. */
const char *show_time(const struct doc *row, const char *key, char buffer[static UNITS_TEXT_SIZE]);
/* A line for each loss that is not 0, behind `gap`. */
void show_losses(const struct doc *row, const char *gap);
void show_runs(const struct doc *runs);

/* What a run could not take out of the ring, if any: to stderr. past: of a run; may be null. */
void show_past(const struct cli *cli, const struct doc *past);

/* What the language says about a statement: the message, the line, a caret. */
void show_message(FILE *out, const struct kfl_message *message, const char *text);

#endif
