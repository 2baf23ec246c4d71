/* show.h - a part of a statement as text, with its grouping in parentheses. Inside kfl-jit only. */
#ifndef KFL_SHOW_H
#define KFL_SHOW_H

#include <stdio.h>

#include "value.h"

char *show_node(const struct ast *node); /* malloc'ed, terminated; null: no memory */
void show_print(FILE *out, const struct ast *node);

#endif
