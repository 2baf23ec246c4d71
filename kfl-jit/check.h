/* check.h - what a statement may not have been meant to say. Inside kfl-jit only. */
#ifndef KFL_CHECK_H
#define KFL_CHECK_H

#include "ast.h"

/* Adds the warnings of section 12 of the specification. */
void check_warnings(const struct kfl_statement *statement, struct kfl_messages *messages);

#endif
