/* statement_asked.h - a statement asked of recordings by a command, and members of their entries.
 *
 * Any thread. */
#ifndef MGMT_STATEMENT_ASKED_H
#define MGMT_STATEMENT_ASKED_H

#include "../kfl-jit/kfl.h"
#include "command.h"

/* A refused statement is said with its caret. -> CLI_DONE, or CLI_USAGE. */
int statement_asked(const struct cli *cli, const char *text, struct kfl_statement **ret_statement);

/* The member at a path like "src.ip"; null without it. */
struct kfl_value *entry_member(struct kfl_value *entry, const char *path);
/* Its text, or "". Copied into the buffer. */
const char *entry_text(struct kfl_value *entry, const char *path, char *buffer, size_t size);

#endif
