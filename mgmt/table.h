/* table.h - rows for people: aligned, and no wider than the terminal.
 *
 * Cells are given one after the other. Columns marked `shrink` give way, the widest first; what is
 * cut ends in `~`. Columns for which there is no room then come below, behind the first one again.
 * Output that goes to no terminal is neither cut nor coloured. Control characters are not printed.
 * One thread. */
#ifndef MGMT_TABLE_H
#define MGMT_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "style.h"

struct table_column {
    const char *title;
    bool right;  /* numbers */
    bool shrink; /* may be cut */
};

struct table;

struct table *table_create(const struct table_column *columns, unsigned n_columns);
void table_cell(struct table *table, const char *text);
void table_cellf(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void table_style(struct table *table, enum style style); /* of the cell last given */
/* Prints and frees it; width 0: as wide as it gets. out null: only frees it. */
void table_print(struct table *table, FILE *out, unsigned width);

/* Of the terminal that stdout is, 0: it is none. */
unsigned table_terminal_width(void);

#endif
