/* daemon_pages.c - what the daemon tells of itself: rows for `stats`, and the pages of metrics and
 * health. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "daemon.h"
#include "metrics.h"
#include "units.h"

static void add_daemon(const struct daemon *daemon, struct doc *rows);
static void add_disk(const struct daemon *daemon, struct doc *rows);
static void write_metrics(void *context, FILE *out);
static void write_health(void *context, FILE *out);
static void write_ready(void *context, FILE *out);

void daemon_stats(struct daemon *daemon, bool all_jobs, struct doc *rows)
{
    deck_stats(daemon->deck, rows);
    for (unsigned i = 0; i < jobs_n(daemon->jobs); i++) {
        const struct job *job = jobs_at(daemon->jobs, i);
        struct doc *row;

        if (job->slot < 0 && !all_jobs)
            continue;
        row = job_doc(daemon->jobs, job, false);
        doc_set_text(row, "kind", "job");
        doc_append(rows, row);
    }
    add_daemon(daemon, rows);
    add_disk(daemon, rows);
    if (daemon->kube)
        kube_stats(daemon->kube, rows);
}

int daemon_open_metrics(struct daemon *daemon, char *reterr_text)
{
    const struct metrics_http_pages pages = {
        .metrics = write_metrics, .health = write_health, .ready = write_ready, .context = daemon};
    char why[METRICS_ERROR_SIZE] = "";
    int err;

    if (!*daemon->conf->metrics_address)
        return 0;
    err = metrics_http_open(daemon->conf->metrics_address, &pages, &daemon->metrics, why);
    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", *why ? why : strerror(-err));
    return err;
}

static void add_daemon(const struct daemon *daemon, struct doc *rows)
{
    struct doc *row = doc_object();

    doc_set_text(row, "kind", "daemon");
    doc_set_text(row, "version", TAPEDECK_VERSION);
    doc_set_time(row, "started", daemon->started_ns);
    doc_set_uint(row, "clients", control_clients(daemon->control));
    doc_set_uint(row, "names", names_count(names_published(daemon->names)));
    doc_set_uint(row, "names_bytes", names_pool_size(daemon->names_pool));
    doc_set_uint(row, "names_bytes_max", daemon->conf->names_memory);
    if (daemon->spells) {
        doc_set_uint(row, "spells_open", names_spells_open(daemon->spells));
        doc_set_uint(row, "spells_ended", names_spells_ended(daemon->spells));
    }
    doc_set_uint(row, "jobs", jobs_n(daemon->jobs));
    doc_append(rows, row);
}

static void add_disk(const struct daemon *daemon, struct doc *rows)
{
    struct statvfs disk;
    struct doc *row;

    if (statvfs(daemon->conf->storage_path, &disk))
        return;
    row = doc_object();
    doc_set_text(row, "kind", "disk");
    doc_set_text(row, "path", daemon->conf->storage_path);
    doc_set_uint(row, "size", (uint64_t)disk.f_blocks * disk.f_frsize);
    doc_set_uint(row, "free", (uint64_t)disk.f_bavail * disk.f_frsize);
    doc_set_uint(row, "free_min", daemon->live->free_min);
    doc_append(rows, row);
}

static void write_metrics(void *context, FILE *out)
{
    struct daemon *daemon = context;
    struct doc *rows = doc_array();
    struct writer_latency latency;

    daemon_stats(daemon, true, rows);
    deck_writer_latency(daemon->deck, &latency);
    metrics_write(rows, &latency, out);
    doc_free(rows);
}

/* That it answers at all says that its loop turns; the workers are looked at now and then, because
 * they need time to make progress. */
static void write_health(void *context, FILE *out)
{
    struct daemon *daemon = context;

    if (!daemon->watchdog_ns && daemon->clock.steady_ns - daemon->fed_ns >= 5 * NS_PER_S) {
        daemon->fed_ns = daemon->clock.steady_ns;
        daemon->stalled = deck_stalled(daemon->deck);
    }
    if (daemon->stalled)
        fprintf(out, "thread %s makes no progress\n", daemon->stalled);
}

/* Does it record what comes? */
static void write_ready(void *context, FILE *out)
{
    struct daemon *daemon = context;
    struct doc *rows = doc_array();

    write_health(context, out);
    deck_stats(daemon->deck, rows);
    for (size_t i = 0; i < doc_size(rows); i++) {
        const struct doc *row = doc_at(rows, i);

        if (!strcmp(doc_text(row, "kind", ""), "source") && doc_int(row, "error", 0))
            fprintf(out, "source %s has failed: %s\n", doc_text(row, "name", ""),
                    strerror((int)-doc_int(row, "error", 0)));
    }
    doc_free(rows);
    if (!daemon->conf->n_sources)
        fprintf(out, "no source is configured\n");
    if (daemon->kube && !kube_listed(daemon->kube))
        fprintf(out, "names from Kubernetes are not complete\n");
}
