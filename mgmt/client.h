/* client.h - what commands share that talk to the daemon: asking, and saying what went wrong.
 *
 * One thread. */
#ifndef MGMT_CLIENT_H
#define MGMT_CLIENT_H

#include "command.h"
#include "doc.h"

/* Asks; takes the request over. -> CLI_DONE with the reply's rows (owned by *ret_reply, which is to
 * be freed), or the exit status: the message is on stderr. */
int client_ask(const struct cli *cli, struct doc *request, struct doc **ret_reply);
/* {"verb": verb}, with "name" when it is not null. */
struct doc *client_request(const char *verb, const char *name);
/* Asks a list verb for its rows, those with `search` in them (null: all). With --json they are
 * printed already, and *ret_rows is null. -> enum cli_exit; the reply is freed by the caller. */
int client_list(const struct cli *cli, const char *verb, const char *search, struct doc **ret_reply,
                const struct doc **ret_rows);
const struct doc *client_rows(const struct doc *reply);
const struct doc *client_row(const struct doc *reply); /* the first; null: none */

/* One object a line. */
void client_print_json(const struct doc *rows);
void client_print_json_row(const struct doc *row);

bool client_is_terminal(void);    /* stdout */
bool client_shows_progress(void); /* stderr is one */
void client_wait_ms(unsigned ms);

#endif
