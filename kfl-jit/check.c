/* check.c - warnings, and what a job may not say. */
#include "check.h"

void check_warnings(const struct kfl_statement *statement, struct kfl_messages *messages)
{
}
