/* daemon.h - tapedeckd: everything put together, and its loop.
 *
 *     configuration -> lock on the store -> names -> deck (sources, pipeline, writer)
 *                   -> control socket -> rights are dropped -> jobs, threads -> system calls are
 *                   filtered -> ready; then epoll: requests, signals, names, and a tick
 *
 * Thread: the main one; it is mgmt. */
#ifndef MGMT_DAEMON_H
#define MGMT_DAEMON_H

#include <stdbool.h>

#include "conf.h"
#include "control.h"
#include "deck.h"
#include "folder_watch.h"
#include "job.h"
#include "kube.h"
#include "metrics_http.h"
#include "names_watch.h"
#include "retention.h"
#include "rights.h"

enum { DAEMON_ERROR_SIZE = 2048 };

struct daemon {
    struct conf *conf;     /* what it was started with */
    struct conf *live;     /* what the last reload read: of it the live keys count */
    const char *conf_path; /* null: none was given */
    int lock;              /* on STORE/lock */
    struct names_pool *names_pool;
    struct names_board *names;
    struct dns_names *learned; /* null unless names.learn_dns */
    struct names_watch *names_watch;
    struct names_spells *spells; /* null: nothing but files */
    struct kube *kube;           /* null: not asked */
    struct deck *deck;
    struct jobs *jobs;
    struct folder_watch jobs_watch; /* on STORE/jobs */
    uint64_t look_ns; /* steady time of the next look at it, changed or not; 0: none */
    struct control *control;
    struct metrics_http *metrics; /* null: not asked for */
    const char *stalled;          /* a thread that made no progress when last looked at; null */
    uint64_t watchdog_ns;         /* between meals of systemd's watchdog; 0: there is none */
    uint64_t fed_ns;
    struct rights rights; /* whom we become */
    struct retention retention;
    struct schedule_clock clock; /* of this turn */
    uint64_t started_ns;
    bool end;             /* SIGTERM */
    bool declare_pending; /* declared jobs wait for those they replace */
    bool said_done;
    int epoll, signals;
};

/* Everything up to "ready". -> 0 or -errno with the message. */
int daemon_open(const char *conf_path, struct daemon *ret_daemon,
                char reterr_text[static DAEMON_ERROR_SIZE]);
/* Until SIGTERM or SIGINT. */
void daemon_run(struct daemon *daemon);
/* Flushes, saves, closes. */
void daemon_close(struct daemon *daemon);

/* Reads the configuration again and applies what can be. Appends keys that need a restart to
 * `restart` (an array of texts). -> 0 or -errno with the message; then nothing has changed. */
int daemon_reload(struct daemon *daemon, struct doc *restart,
                  char reterr_text[static DAEMON_ERROR_SIZE]);

/* Rows for `stats` and the metrics: sources, cores, the sum, jobs that record (or all), the daemon,
 * its disk, the Kubernetes API (daemon_pages.c). */
void daemon_stats(struct daemon *daemon, bool all_jobs, struct doc *rows);
int daemon_open_metrics(struct daemon *daemon, char *reterr_text);

/* A request of the control socket (request.c); context is the daemon. */
struct doc *request_handle(void *context, const struct doc *request,
                           const struct control_peer *peer);

#endif
