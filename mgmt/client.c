#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

int client_ask(const struct cli *cli, struct doc *request, struct doc **ret_reply)
{
    char error[CONTROL_ERROR_SIZE] = "";
    struct doc *reply;
    int err = control_call(cli->socket, request, &reply, error);
    int code;

    doc_free(request);
    if (err) {
        cli_error(cli, "%s", *error ? error : strerror(-err));
        if (err == -ENAMETOOLONG)
            return CLI_USAGE;
        return err == -EPROTO || err == -EACCES ? CLI_FAILED : CLI_NO_DAEMON;
    }
    if (doc_bool(reply, "ok", false)) {
        *ret_reply = reply;
        return CLI_DONE;
    }
    cli_error(cli, "%s", doc_text(reply, "error", "refused without a reason"));
    code = (int)doc_int(reply, "code", CLI_FAILED);
    doc_free(reply);
    return code == CLI_USAGE ? CLI_USAGE : CLI_FAILED;
}

struct doc *client_request(const char *verb, const char *name)
{
    struct doc *request = doc_object();

    doc_set_text(request, "verb", verb);
    if (name)
        doc_set_text(request, "name", name);
    return request;
}

int client_list(const struct cli *cli, const char *verb, const char *search, struct doc **ret_reply,
                const struct doc **ret_rows)
{
    struct doc *request = client_request(verb, NULL);
    int status;

    if (search)
        doc_set_text(request, "search", search);
    status = client_ask(cli, request, ret_reply);
    if (status)
        return status;
    *ret_rows = cli->json ? NULL : client_rows(*ret_reply);
    if (cli->json)
        client_print_json(client_rows(*ret_reply));
    return CLI_DONE;
}

const struct doc *client_rows(const struct doc *reply)
{
    return doc_get(reply, "rows");
}

const struct doc *client_row(const struct doc *reply)
{
    return doc_at(doc_get(reply, "rows"), 0);
}

void client_print_json(const struct doc *rows)
{
    for (size_t i = 0; i < doc_size(rows); i++)
        client_print_json_row(doc_at(rows, i));
}

void client_print_json_row(const struct doc *row)
{
    char *text = doc_print(row, false);

    puts(text);
    free(text);
}

bool client_is_terminal(void)
{
    return isatty(STDOUT_FILENO);
}

bool client_shows_progress(void)
{
    return isatty(STDERR_FILENO);
}

void client_wait_ms(unsigned ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}
