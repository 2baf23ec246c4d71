/* cmd_doctor.c - `tapedeck doctor`: is this machine fit to record, and what would make it so? */
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "daemon_options.h"
#include "doctor.h"
#include "table.h"

static struct {
    const char *conf, *root;
} values = {.root = ""};

const struct option_row cmd_doctor_options[] = {
    OPTION_TEXT("config", 'c', "FILE", values.conf, "configuration (" CONF_DEFAULT ")"),
    OPTION_TEXT("root", 0, "PATH", values.root,
                "look at /sys and /proc below PATH: another machine's, or a test's"),
    OPTION_END,
};

static const char *const state_name[] = {
    [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};

struct findings {
    bool json;
    struct table *table; /* null: as JSON */
    unsigned n[DOCTOR_FAIL + 1];
};

static void take(void *context, const struct doctor_finding *finding);

int cmd_doctor(const struct cli *cli)
{
    static const struct table_column columns[] = {{"STATE", false, false},
                                                  {"CHECK", false, false},
                                                  {"OF", false, true},
                                                  {"WHAT", false, false},
                                                  {"WHAT TO DO", false, false}};
    const char *path = values.conf ? values.conf : CONF_DEFAULT;
    struct findings findings = {.json = cli->json};
    struct doctor doctor = {values.root, NULL, take, &findings};
    char error[CONF_ERROR_SIZE];
    struct conf *conf;

    /* Without a configuration the machine alone is looked at. */
    if (!values.conf && access(path, F_OK))
        path = NULL;
    if (conf_read(path, &conf, error)) {
        cli_error(cli, "%s", error);
        return CLI_USAGE;
    }
    if (!cli->json)
        findings.table = table_create(columns, sizeof(columns) / sizeof(columns[0]));
    doctor.conf = conf;
    doctor_machine(&doctor);
    doctor_cores(&doctor);
    doctor_store(&doctor);
    doctor_sources(&doctor);
    conf_free(conf);
    if (!cli->json) {
        table_print(findings.table, stdout, table_terminal_width());
        printf("\n%u ok, %u warn, %u fail\n", findings.n[DOCTOR_OK], findings.n[DOCTOR_WARN],
               findings.n[DOCTOR_FAIL]);
    }
    return findings.n[DOCTOR_FAIL] ? CLI_FAILED : CLI_DONE;
}

static void take(void *context, const struct doctor_finding *finding)
{
    struct findings *findings = context;

    findings->n[finding->state]++;
    if (findings->json) {
        struct doc *row = doc_object();

        doc_set_text(row, "check", finding->check);
        doc_set_text(row, "of", finding->subject);
        doc_set_text(row, "state", state_name[finding->state]);
        doc_set_text(row, "text", finding->text);
        doc_set_text(row, "advice", finding->advice);
        client_print_json_row(row);
        doc_free(row);
        return;
    }
    table_cell(findings->table, state_name[finding->state]);
    table_cell(findings->table, finding->check);
    table_cell(findings->table, finding->subject);
    table_cell(findings->table, finding->text);
    table_cell(findings->table, finding->advice);
}
