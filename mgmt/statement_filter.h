/* statement_filter.h - a statement asked about stored entries, for view.
 *
 * Entries are JSON as FIELDS.md describes them; the plain evaluator answers. One thread. */
#ifndef MGMT_STATEMENT_FILTER_H
#define MGMT_STATEMENT_FILTER_H

#include "../kfl-jit/kfl.h"
#include "command.h"

struct statement_filter;

/* A refused statement is said with its caret. -> CLI_DONE, or CLI_USAGE. */
int statement_filter_create(const struct cli *cli, const char *text,
                            struct statement_filter **ret_filter);
void statement_filter_free(struct statement_filter *filter);
const struct kfl_statement *statement_filter_statement(const struct statement_filter *filter);

/* Is it true for this entry? *ret_entry: the entry after redact(), null when it is no JSON; valid
 * until the next call. */
bool statement_filter_asks(struct statement_filter *filter, const char *line, size_t size,
                           struct kfl_value **ret_entry);

/* The member at a path like "src.ip"; null without it. */
const struct kfl_value *entry_member(const struct kfl_value *entry, const char *path);
/* Its text, or "". Copied into the buffer. */
const char *entry_text(const struct kfl_value *entry, const char *path, char *buffer, size_t size);

#endif
