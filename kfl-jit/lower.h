/* lower.h - from the tree of a statement to atoms and the boolean graph over them.
 *
 * Every statement can be lowered: what is no and, or, not, parentheses over tests that atoms know
 * becomes a general atom of the smallest expression around it. In a job limit() and redact() are
 * true and have no effect. Called while a plan is created. */
#ifndef KFL_LOWER_H
#define KFL_LOWER_H

#include "atom.h"

/* -> the node of the whole statement: never absent. atoms->no_memory, program->no_memory tell. */
uint32_t lower_statement(struct atoms *atoms, struct program *program,
                         const struct kfl_statement *statement);

/* Is the first thing that evaluating a general expression reads missing in every entry of this
 * protocol, so that it ends at once? */
bool lower_always_absent(const struct ast *tree, enum kfl_proto proto);
/* Rows that an expression reads of entries of this protocol: calls `reads` for each. */
void lower_reads(const struct ast *tree, enum kfl_proto proto,
                 void (*reads)(void *context, enum kfl_field field), void *context);

#endif
