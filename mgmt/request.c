/* request.c - what the control socket is asked, and what it answers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"
#include "log.h"
#include "options.h"
#include "recording.h"
#include "units.h"

enum { FAILED = 1, USAGE = 2 }; /* codes: the exit status of the command */
enum { NAMES_ROWS_MAX = 100000, NAMES_ASKED_MAX = 1024 };

#define VERB(id, name, access, help) \
    static struct doc *verb_##id(struct daemon *daemon, const struct doc *request);
#include "verbs.def"
#undef VERB

enum access { READ, WRITE };

static const struct {
    const char *name;
    struct doc *(*run)(struct daemon *daemon, const struct doc *request);
    enum access access;
} verbs[] = {
#define VERB(id, name, access, help) {name, verb_##id, access},
#include "verbs.def"
#undef VERB
};

static struct doc *fix_start(struct daemon *daemon, struct conf_job *spec,
                             char buffer[static UNITS_TEXT_SIZE]);
static struct doc *reply_rows(struct doc *rows);
static struct doc *reply_row(struct doc *row);
static struct job *find_job(struct daemon *daemon, const struct doc *request,
                            struct doc **ret_refusal);
static struct doc *refuse_job(struct daemon *daemon, const char *name);
static struct doc *refuse_recording(struct daemon *daemon, const char *name);
static bool is_found(const struct job *job, const char *search);
static struct doc *names_row_doc(const struct names_row *row);
static void add_spell(void *context, const struct names_spell_info *info);
static void add_setting(void *context, const struct conf_value *value);

struct doc *request_handle(void *context, const struct doc *request,
                           const struct control_peer *peer)
{
    struct daemon *daemon = context;
    const char *verb = doc_text(request, "verb", "");

    for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, verb) != 0)
            continue;
        if (verbs[i].access == WRITE && !peer->may_write)
            return control_refuse(FAILED,
                                  "%s: you may look, but not change anything: that is for root and "
                                  "the group of control.group",
                                  verb);
        return verbs[i].run(daemon, request);
    }
    return control_refuse(
        USAGE, "verb '%.80s' is not known to this tapedeckd (" TAPEDECK_VERSION ")", verb);
}

static struct doc *verb_job_create(struct daemon *daemon, const struct doc *request)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "", start[UNITS_TEXT_SIZE];
    struct job *job;
    int err;

    spec.name = doc_text(request, "name", spec.name);
    spec.kfl = doc_text(request, "kfl", spec.kfl);
    spec.start = doc_text(request, "start", spec.start);
    spec.on_quota = doc_text(request, "on_quota", spec.on_quota);
    spec.on_error = doc_text(request, "on_error", spec.on_error);
    spec.iterations = doc_int(request, "iterations", spec.iterations);
    spec.duration = doc_uint(request, "duration_ns", spec.duration);
    spec.expiration = doc_uint(request, "expiration_ns", spec.expiration);
    spec.quota = doc_uint(request, "quota", spec.quota);
    spec.snaplen = doc_int(request, "snaplen", spec.snaplen);
    spec.cutoff = doc_uint(request, "cutoff", spec.cutoff);
    if (*spec.start) { /* kept as a time of its own, whatever it was said by */
        struct doc *refusal = fix_start(daemon, &spec, start);

        if (refusal)
            return refusal;
    }
    if (spec.iterations < 0 || spec.snaplen < 0 || spec.snaplen > 1 << 20)
        return control_refuse(USAGE, "iterations and snaplen must not be negative");
    if (spec.duration < NS_PER_S)
        return control_refuse(USAGE, "duration: must be 1s or more");
    if (strcmp(spec.on_quota, "stop") != 0 && strcmp(spec.on_quota, "rotate") != 0)
        return control_refuse(USAGE, "on-quota %.40s: must be stop or rotate", spec.on_quota);
    if (strcmp(spec.on_error, "storage") != 0 && strcmp(spec.on_error, "fail") != 0 &&
        strcmp(spec.on_error, "retry") != 0)
        return control_refuse(USAGE, "on-error %.40s: must be fail or retry, or storage",
                              spec.on_error);
    err = job_add(daemon->jobs, &spec, daemon->clock, &job, error);
    if (err)
        return control_refuse(err == -EINVAL || err == -EEXIST ? USAGE : FAILED, "%s",
                              *error ? error : strerror(-err));
    log_info("job %s is created (%s)", spec.name, job_state_name[job->state]);
    return reply_row(job_doc(daemon->jobs, job, false));
}

/* A start in the past needs the ring. -> null, or the refusal */
static struct doc *fix_start(struct daemon *daemon, struct conf_job *spec,
                             char buffer[static UNITS_TEXT_SIZE])
{
    char error[SCHEDULE_ERROR_SIZE];
    uint64_t start_ns;

    if (schedule_parse_start(spec->start, daemon->clock.wall_ns, &start_ns, error))
        return control_refuse(USAGE, "%s", error);
    if (start_ns + NS_PER_S < daemon->clock.wall_ns && !deck_has_ring(daemon->deck))
        return control_refuse(USAGE, "start %s: %s", spec->start, deck_no_ring);
    if (*spec->start == '-')
        spec->start = units_format_time(start_ns, buffer);
    return NULL;
}

static struct doc *verb_recording_create_from_ring(struct daemon *daemon, const struct doc *request)
{
    struct conf_job spec = conf_job_initial();
    char error[JOB_ERROR_SIZE] = "", from[UNITS_TEXT_SIZE], to[UNITS_TEXT_SIZE];
    uint64_t from_ns, to_ns, now_ns = daemon->clock.wall_ns;
    struct job *job;
    int err;

    if (!deck_has_ring(daemon->deck))
        return control_refuse(USAGE, "%s", deck_no_ring);
    err = schedule_parse_past(doc_text(request, "from", ""), now_ns, &from_ns, error);
    if (!err)
        err = schedule_parse_past(doc_text(request, "to", "now"), now_ns, &to_ns, error);
    if (err)
        return control_refuse(USAGE, "%s", error);
    if (from_ns >= now_ns)
        return control_refuse(USAGE, "from %s: has not been yet",
                              units_format_time_short(from_ns, from));
    spec.name = doc_text(request, "name", spec.name);
    spec.kfl = doc_text(request, "kfl", spec.kfl);
    spec.start = units_format_time(from_ns, from);
    spec.until = units_format_time(to_ns, to);
    spec.duration = NS_PER_DAY;
    spec.expiration = doc_uint(request, "expiration_ns", 0);
    err = job_add(daemon->jobs, &spec, daemon->clock, &job, error);
    if (err)
        return control_refuse(err == -EINVAL || err == -EEXIST ? USAGE : FAILED, "%s",
                              *error ? error : strerror(-err));
    log_info("recording %s is cut out of the ring", spec.name);
    return reply_row(job_doc(daemon->jobs, job, false));
}

static struct doc *verb_job_list(struct daemon *daemon, const struct doc *request)
{
    const struct job_refusals *refusals = jobs_refusals(daemon->jobs);
    const char *search = doc_text(request, "search", NULL);
    struct doc *rows = doc_array();

    for (unsigned i = 0; i < jobs_n(daemon->jobs); i++) {
        const struct job *job = jobs_at(daemon->jobs, i);

        if (is_found(job, search))
            doc_append(rows, job_doc(daemon->jobs, job, false));
    }
    for (unsigned i = 0; i < refusals->n; i++) {
        const struct job_refusal *refusal = &refusals->row[i];

        if (!job_find(daemon->jobs, refusal->name) &&
            (!search || strcasestr(refusal->name, search)))
            doc_append(rows, job_refusal_doc(daemon->jobs, refusal));
    }
    return reply_rows(rows);
}

static struct doc *verb_job_show(struct daemon *daemon, const struct doc *request)
{
    struct doc *refusal;
    struct job *job = find_job(daemon, request, &refusal);

    return job ? reply_row(job_doc(daemon->jobs, job, true)) : refusal;
}

static struct doc *verb_job_stop(struct daemon *daemon, const struct doc *request)
{
    struct doc *refusal;
    struct job *job = find_job(daemon, request, &refusal);

    if (!job)
        return refusal;
    job_stop(daemon->jobs, job, daemon->clock);
    return reply_row(job_doc(daemon->jobs, job, false));
}

static struct doc *verb_job_delete(struct daemon *daemon, const struct doc *request)
{
    struct doc *refusal;
    struct job *job = find_job(daemon, request, &refusal);

    if (!job)
        return refusal;
    if (job->declared)
        log_warning("job %s is declared in the configuration: a reload brings it back",
                    job->spec.name);
    job_delete(daemon->jobs, job, doc_bool(request, "keep_recording", false), daemon->clock);
    return control_ok();
}

static struct doc *verb_recording_list(struct daemon *daemon, const struct doc *request)
{
    return reply_rows(recordings_doc(jobs_store(daemon->jobs), doc_text(request, "search", NULL)));
}

static struct doc *verb_recording_show(struct daemon *daemon, const struct doc *request)
{
    const char *name = doc_text(request, "name", "");
    char error[JOB_ERROR_SIZE];
    struct job *job = job_find(daemon->jobs, name);
    struct doc *row;

    if (job_check_name(name, error))
        return control_refuse(USAGE, "%s", error);
    if (job && job->slot >= 0) { /* counts as of now */
        doc_free(job_doc(daemon->jobs, job, false));
        recording_save(jobs_store(daemon->jobs), job);
    }
    row = recording_doc(jobs_store(daemon->jobs), name);
    if (!row)
        return refuse_recording(daemon, name);
    doc_set_bool(row, "under_way", job && job->slot >= 0);
    doc_set_bool(row, "over", !job || (job->clock.over && job->slot < 0));
    return reply_row(row);
}

static struct doc *verb_recording_delete(struct daemon *daemon, const struct doc *request)
{
    const char *name = doc_text(request, "name", "");
    char error[JOB_ERROR_SIZE];
    const struct job *job = job_find(daemon->jobs, name);
    int err;

    if (job_check_name(name, error))
        return control_refuse(USAGE, "%s", error);
    if (job && job->slot >= 0)
        return control_refuse(FAILED, "'%s' is being recorded: stop the job first", name);
    if (!recording_exists(jobs_store(daemon->jobs), name))
        return refuse_recording(daemon, name);
    err = recording_delete(jobs_store(daemon->jobs), name);
    if (err)
        return control_refuse(FAILED, "recording '%s' cannot be deleted: %s", name, strerror(-err));
    log_info("recording %s is deleted", name);
    return control_ok();
}

static struct doc *verb_stats(struct daemon *daemon, const struct doc *request)
{
    struct doc *rows = doc_array();

    daemon_stats(daemon, false, rows);
    return reply_rows(rows);
}

static struct doc *verb_names_show(struct daemon *daemon, const struct doc *request)
{
    const struct names *names = names_published(daemon->names);
    const char *ip = doc_text(request, "ip", NULL);
    struct doc *rows = doc_array();

    if (ip) {
        struct names_row row = {.prefix = 128};

        if (names_parse_address(ip, row.addr, &row.prefix)) {
            doc_free(rows);
            return control_refuse(USAGE, "'%.80s' is not an IP address", ip);
        }
        if (names_lookup(daemon->names, row.addr, daemon->clock.wall_ns, &row.name, &row.namespace))
            doc_append(rows, names_row_doc(&row));
        return reply_rows(rows);
    }
    for (size_t i = 0; i < names_count(names) && i < NAMES_ROWS_MAX; i++) {
        struct names_row row = names_row(names, i);

        doc_append(rows, names_row_doc(&row));
    }
    if (daemon->spells)
        names_spells_each(daemon->spells, add_spell, rows);
    return reply_rows(rows);
}

struct settings {
    struct doc *rows;
    bool live; /* those that a reload applies, or the others */
};

static struct doc *verb_config_show(struct daemon *daemon, const struct doc *request)
{
    struct settings settings = {doc_array(), false};

    conf_each(daemon->conf, add_setting, &settings);
    settings.live = true;
    conf_each(daemon->live, add_setting, &settings);
    return reply_rows(settings.rows);
}

static struct doc *verb_reload(struct daemon *daemon, const struct doc *request)
{
    struct doc *restart = doc_array(), *rows = doc_array();
    char error[DAEMON_ERROR_SIZE];
    int err = daemon_reload(daemon, restart, error);

    if (err) {
        doc_free(restart);
        doc_free(rows);
        return control_refuse(FAILED, "%s", error);
    }
    for (size_t i = 0; i < doc_size(restart); i++) {
        struct doc *row = doc_object();

        doc_set_text(row, "key", doc_text_at(restart, i, ""));
        doc_set_text(row, "needs", "restart");
        doc_append(rows, row);
    }
    doc_free(restart);
    return reply_rows(rows);
}

static struct doc *reply_rows(struct doc *rows)
{
    struct doc *reply = control_ok();

    doc_set(reply, "rows", rows);
    return reply;
}

static struct doc *reply_row(struct doc *row)
{
    struct doc *rows = doc_array();

    doc_append(rows, row);
    return reply_rows(rows);
}

static struct job *find_job(struct daemon *daemon, const struct doc *request,
                            struct doc **ret_refusal)
{
    const char *name = doc_text(request, "name", "");
    struct job *job = job_find(daemon->jobs, name);

    if (!job)
        *ret_refusal = refuse_job(daemon, name);
    return job;
}

static struct doc *refuse_job(struct daemon *daemon, const char *name)
{
    const char *names[NAMES_ASKED_MAX];
    const char *nearest, *refused = job_refused(jobs_refusals(daemon->jobs), name);
    unsigned n = jobs_n(daemon->jobs);

    if (refused)
        return control_refuse(FAILED, "there is no job '%.80s': %s", name, refused);
    n = n < NAMES_ASKED_MAX ? n : NAMES_ASKED_MAX;
    for (unsigned i = 0; i < n; i++)
        names[i] = jobs_at(daemon->jobs, i)->spec.name;
    nearest = options_nearest(name, names, n);
    if (nearest)
        return control_refuse(FAILED, "there is no job '%.80s': did you mean '%s'?", name, nearest);
    return control_refuse(FAILED, "there is no job '%.80s': see tapedeck job list", name);
}

static struct doc *refuse_recording(struct daemon *daemon, const char *name)
{
    struct doc *rows = recordings_doc(jobs_store(daemon->jobs), NULL), *refusal;
    const char *names[NAMES_ASKED_MAX];
    const char *nearest;
    unsigned n = 0;

    for (size_t i = 0; i < doc_size(rows) && n < NAMES_ASKED_MAX; i++)
        names[n++] = doc_text(doc_at(rows, i), "name", "");
    nearest = options_nearest(name, names, n);
    if (nearest)
        refusal =
            control_refuse(FAILED, "there is no recording '%s': did you mean '%s'?", name, nearest);
    else
        refusal =
            control_refuse(FAILED, "there is no recording '%s': see tapedeck recording list", name);
    doc_free(rows);
    return refusal;
}

static bool is_found(const struct job *job, const char *search)
{
    return !search || strcasestr(job->spec.name, search) || strcasestr(job->spec.kfl, search);
}

static struct doc *names_row_doc(const struct names_row *row)
{
    char address[NAMES_ADDRESS_SIZE];
    struct doc *doc = doc_object();

    doc_set_text(doc, "ip", names_format_address(row->addr, row->prefix, address));
    doc_set_text(doc, "name", row->name);
    doc_set_text(doc, "namespace", row->namespace);
    return doc;
}

static void add_spell(void *context, const struct names_spell_info *info)
{
    struct names_row row = {.prefix = 128, .name = info->name, .namespace = info->namespace};
    struct doc *rows = context, *doc;

    if (doc_size(rows) >= NAMES_ROWS_MAX)
        return;
    memcpy(row.addr, info->addr, sizeof(row.addr));
    doc = names_row_doc(&row);
    doc_set_time(doc, "since", info->from_ns);
    doc_append(rows, doc);
}

static void add_setting(void *context, const struct conf_value *value)
{
    struct settings *settings = context;
    struct doc *row;

    if (value->live != settings->live)
        return;
    row = doc_object();
    doc_set_text(row, "key", value->key);
    doc_set_text(row, "value", value->value);
    doc_set_text(row, "default", value->initial);
    doc_set_bool(row, "changed", !value->is_initial);
    doc_set_bool(row, "reload", value->live);
    doc_set_text(row, "help", value->help);
    doc_append(settings->rows, row);
}
