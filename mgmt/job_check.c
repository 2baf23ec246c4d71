/* job_check.c - could this be a job? Its name, its schedule, its statement. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "job.h"
#include "units.h"

int job_check_name(const char *name, char reterr_text[static JOB_ERROR_SIZE])
{
    size_t size = strlen(name);
    bool good = size >= 1 && size <= JOB_NAME_MAX && isalnum((unsigned char)*name);

    for (const char *c = name; good && *c; c++)
        good = (*c & 0x80) == 0 && (isalnum((unsigned char)*c) || strchr("._-", *c));
    if (good)
        return 0;
    snprintf(reterr_text, JOB_ERROR_SIZE,
             "name '%.100s': must be 1 to %d letters, digits, '.', '_' or '-', and begin with a "
             "letter or digit",
             name, JOB_NAME_MAX);
    for (char *c = reterr_text; *c; c++) /* it is one line */
        if ((unsigned char)*c < 0x20)
            *c = '?';
    return -EINVAL;
}

static int job_check_window(const struct conf_job *spec, char *reterr_text);

int job_check(const struct conf_job *spec, uint64_t now_ns, char reterr_text[static JOB_ERROR_SIZE])
{
    struct schedule schedule = {.iterations = spec->iterations,
                                .duration_ns = spec->duration,
                                .expiration_ns = spec->expiration};
    struct kfl_statement *statement;
    int err = job_check_name(spec->name, reterr_text);

    if (!err)
        err = schedule_parse_start(spec->start, now_ns, &schedule.start_ns, reterr_text);
    if (!err && *spec->until)
        err = job_check_window(spec, reterr_text);
    else if (!err)
        err = schedule_check(&schedule, now_ns, reterr_text);
    if (!err)
        err = job_compile(spec->kfl, now_ns, &statement, reterr_text);
    if (!err)
        kfl_statement_free(statement);
    return err;
}

/* Of a cut out of the ring: both times are RFC 3339. */
static int job_check_window(const struct conf_job *spec, char *reterr_text)
{
    uint64_t from_ns, to_ns;

    if (!units_parse_time(spec->start, &from_ns) && !units_parse_time(spec->until, &to_ns) &&
        from_ns < to_ns)
        return 0;
    snprintf(reterr_text, JOB_ERROR_SIZE,
             "from %.40s to %.40s: must be two times, the earlier one first", spec->start,
             spec->until);
    return -EINVAL;
}

int job_compile(const char *kfl, uint64_t now_ns, struct kfl_statement **ret_statement,
                char reterr_text[static JOB_ERROR_SIZE])
{
    struct kfl_messages messages = {0};
    size_t size = strlen(kfl);
    int err =
        kfl_statement_create(kfl, size, (int64_t)(now_ns / NS_PER_MS), ret_statement, &messages);

    if (!err) {
        messages.n = 0;
        err = kfl_statement_check_job(*ret_statement, &messages);
        if (err) {
            kfl_statement_free(*ret_statement);
            *ret_statement = NULL;
        }
    }
    if (err) {
        unsigned i = 0;
        int used;

        while (i + 1 < messages.n && messages.message[i].warning)
            i++;
        used = snprintf(reterr_text, JOB_ERROR_SIZE, "the statement is refused: ");
        used += kfl_message_format(&messages.message[i], reterr_text + used,
                                   (size_t)(JOB_ERROR_SIZE - used));
        if (used + 1 < JOB_ERROR_SIZE) {
            reterr_text[used++] = '\n';
            kfl_message_caret(&messages.message[i], kfl, size, reterr_text + used,
                              (size_t)(JOB_ERROR_SIZE - used));
        }
    }
    return err;
}
