#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/dns_names.h"
#include "../dataplane/interface.h"
#include "../dataplane/pipeline.h"
#include "../writer/repair.h"
#include "files.h"
#include "log.h"
#include "recording.h"
#include "ring_cut.h"
#include "units.h"

enum { TICK_MS = 50, EVENTS = 8, MEALS = 4 }; /* MEALS: in the time that the watchdog waits */

/* Between looks at job files that were refused: what was in their way may have gone. */
static const uint64_t look_again_ns = 5 * NS_PER_S;

static int lock_store(struct daemon *daemon, char *reterr_text);
static int open_names(struct daemon *daemon, char *reterr_text);
static int open_kube(struct daemon *daemon, char *reterr_text);
static int open_deck(struct daemon *daemon, char *reterr_text);
static int drop_rights(struct daemon *daemon, char *reterr_text);
static int open_jobs(struct daemon *daemon, char *reterr_text);
static int filter_calls(struct daemon *daemon, char *reterr_text);
static void repair_store(const char *store);
static void say_repair(void *context, const char *text);
static int open_control(struct daemon *daemon, char *reterr_text);
static int open_loop(struct daemon *daemon, char *reterr_text);
static void watch_jobs(struct daemon *daemon);
static void turn(struct daemon *daemon);
static void look_at_job_files(struct daemon *daemon);
static void feed_watchdog(struct daemon *daemon);
static void take_signals(struct daemon *daemon);
static void look_at_clocks(struct daemon *daemon);
static void set_node(void);
static void complain(const char *text);
static bool same_value(const struct conf_value *value, const struct conf *other);
static void on_ended(void *context, struct job *job);
static void on_failed(void *context, struct job *job, const char *reason);
static void on_quota(void *context, struct job *job);
static void on_past_taken(void *context, struct job *job);

int daemon_open(const char *conf_path, struct daemon *ret_daemon,
                char reterr_text[static DAEMON_ERROR_SIZE])
{
    static int (*const steps[])(struct daemon * daemon, char *reterr_text) = {
        lock_store,          open_names,  open_kube, open_deck, open_control,
        daemon_open_metrics, drop_rights, open_jobs, open_loop, filter_calls};
    struct daemon daemon = {
        .conf_path = conf_path, .lock = -1, .jobs_watch.fd = -1, .epoll = -1, .signals = -1};
    char error[CONF_ERROR_SIZE], warning[RIGHTS_ERROR_SIZE];
    int err = conf_read(conf_path, &daemon.conf, error);

    *ret_daemon = daemon;
    if (err) {
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", error);
        return err;
    }
    ret_daemon->live = ret_daemon->conf;
    look_at_clocks(ret_daemon);
    ret_daemon->started_ns = ret_daemon->clock.wall_ns;
    ret_daemon->rights = rights_find(ret_daemon->conf->security_user, warning);
    if (*warning)
        log_warning("%s", warning);
    for (unsigned i = 0; !err && i < sizeof(steps) / sizeof(steps[0]); i++)
        err = steps[i](ret_daemon, reterr_text);
    if (err)
        daemon_close(ret_daemon);
    return err;
}

void daemon_run(struct daemon *daemon)
{
    uint64_t watchdog_us = 0;

    log_info("ready: %u sources, %u jobs, store %s", daemon->conf->n_sources, jobs_n(daemon->jobs),
             daemon->conf->storage_path);
    sd_notify(0, "READY=1");
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        daemon->watchdog_ns = watchdog_us * 1000 / MEALS;
    while (!daemon->end) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(daemon->epoll, events, EVENTS, TICK_MS);

        look_at_clocks(daemon);
        if (n < 0 && errno != EINTR)
            break;
        take_signals(daemon);
        control_step(daemon->control, daemon->clock.steady_ns);
        turn(daemon);
        feed_watchdog(daemon);
    }
    sd_notify(0, "STOPPING=1");
}

void daemon_close(struct daemon *daemon)
{
    control_close(daemon->control);
    metrics_http_close(daemon->metrics);
    if (daemon->deck) {
        deck_stop(daemon->deck);
        look_at_clocks(daemon);
        if (daemon->jobs)
            jobs_save(daemon->jobs, daemon->clock.wall_ns);
        deck_close(daemon->deck);
    }
    jobs_free(daemon->jobs);
    folder_watch_close(&daemon->jobs_watch);
    names_watch_close(daemon->names_watch);
    kube_close(daemon->kube);
    names_spells_free(daemon->spells); /* asks the board who may still read */
    names_board_free(daemon->names);
    dns_names_free(daemon->learned);
    names_pool_free(daemon->names_pool);
    if (daemon->lock >= 0)
        close(daemon->lock);
    if (daemon->signals >= 0)
        close(daemon->signals);
    if (daemon->epoll >= 0)
        close(daemon->epoll);
    if (daemon->live != daemon->conf)
        conf_free(daemon->live);
    conf_free(daemon->conf);
}

struct compare {
    const struct conf *other;
    struct doc *restart;
};

static void note_restart(void *context, const struct conf_value *value)
{
    struct compare *compare = context;

    if (!value->live && !same_value(value, compare->other))
        doc_append_text(compare->restart, value->key);
}

int daemon_reload(struct daemon *daemon, struct doc *restart,
                  char reterr_text[static DAEMON_ERROR_SIZE])
{
    char error[CONF_ERROR_SIZE], why[NAMES_ERROR_SIZE] = "";
    struct names_watch *watch;
    struct conf *conf;
    struct compare compare = {daemon->conf, restart};
    int err = conf_read(daemon->conf_path, &conf, error);

    if (err) {
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", error);
        return err;
    }
    err = names_watch_open(daemon->names_pool, daemon->names, &conf->names_files, &watch, why);
    if (err) {
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", *why ? why : strerror(-err));
        conf_free(conf);
        return err;
    }
    conf_each(conf, note_restart, &compare);
    if (conf->n_sources < daemon->conf->n_sources)
        doc_append_text(restart, "sources");
    names_watch_close(daemon->names_watch); /* leaves the epoll set with its descriptor */
    daemon->names_watch = watch;
    jobs_set_limits(daemon->jobs, (unsigned)conf->limit_jobs, conf->limit_statement);
    jobs_set_retry(daemon->jobs, !strcmp(conf->on_error, "retry"));
    if (daemon->live != daemon->conf)
        conf_free(daemon->live);
    daemon->live = conf;
    daemon->declare_pending =
        jobs_declare(daemon->jobs, conf->jobs, conf->n_jobs, daemon->clock, complain) > 0;
    folder_watch_close(&daemon->jobs_watch);
    watch_jobs(daemon);
    log_info("reloaded%s", doc_size(restart) ? ": some changes need a restart" : "");
    return 0;
}

/* One recorder a store: two would write into each other's recordings. */
static int lock_store(struct daemon *daemon, char *reterr_text)
{
    const char *store = daemon->conf->storage_path;
    char path[JOB_PATH_SIZE], holder[32] = "";
    int err = folder_make(store, 0750);

    snprintf(path, sizeof(path), "%s/lock", store);
    if (!err) {
        daemon->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
        err = daemon->lock < 0 ? -errno : 0;
    }
    if (err) {
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "storage.path %s: %s", store, strerror(-err));
        return err;
    }
    if (flock(daemon->lock, LOCK_EX | LOCK_NB)) {
        ssize_t n = pread(daemon->lock, holder, sizeof(holder) - 1, 0);

        holder[n > 0 ? n : 0] = 0;
        holder[strcspn(holder, "\n")] = 0;
        snprintf(reterr_text, DAEMON_ERROR_SIZE,
                 "storage.path %s is in use by another tapedeckd (process %s): stop it, or set "
                 "another path",
                 store, holder);
        return -EBUSY;
    }
    snprintf(holder, sizeof(holder), "%ld\n", (long)getpid());
    if (ftruncate(daemon->lock, 0) || pwrite(daemon->lock, holder, strlen(holder), 0) < 0)
        log_warning("%s: %s", path, strerror(errno));
    return 0;
}

static int open_names(struct daemon *daemon, char *reterr_text)
{
    char why[NAMES_ERROR_SIZE] = "";
    int err = names_pool_create(daemon->conf->names_memory, &daemon->names_pool);

    if (!err)
        err = names_board_create(&daemon->names);
    if (!err && daemon->conf->names_learn_dns)
        err = dns_names_create(PIPELINE_CLASSIFIER_MAX, &daemon->learned);
    if (!err)
        names_board_set_learned(daemon->names, daemon->learned);
    if (!err)
        err = names_watch_open(daemon->names_pool, daemon->names, &daemon->conf->names_files,
                               &daemon->names_watch, why);
    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", *why ? why : strerror(-err));
    return err;
}

static int open_kube(struct daemon *daemon, char *reterr_text)
{
    struct kube_config config = {.from = daemon->conf->kubernetes,
                                 .context = daemon->conf->kubernetes_context};
    char why[KUBE_ERROR_SIZE] = "";
    int err;

    if (!*config.from)
        return 0;
    err = names_spells_create(daemon->names_pool, names_board_wait, daemon->names, &daemon->spells);
    if (!err && getrandom(&config.seed, sizeof(config.seed), 0) != sizeof(config.seed))
        err = -errno;
    config.spells = daemon->spells;
    if (!err)
        err = kube_open(&config, &daemon->kube, why);
    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "names.kubernetes: %s",
                 *why ? why : strerror(-err));
    else
        names_board_set_spells(daemon->names, daemon->spells);
    return err;
}

/* What needs root: sources and the memory that the kernel shares with us. */
static int open_deck(struct daemon *daemon, char *reterr_text)
{
    const struct conf *conf = daemon->conf;
    const struct deck_events events = {.ended = on_ended,
                                       .failed = on_failed,
                                       .quota = on_quota,
                                       .past_taken = on_past_taken,
                                       .context = daemon};
    char error[DECK_ERROR_SIZE] = "";
    int err;

    set_node();
    repair_store(conf->storage_path);
    err = deck_open(conf, conf->storage_path, daemon->names, &events, &daemon->deck, error);
    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", *error ? error : strerror(-err));
    return err;
}

/* From here on threads of ours begin, which are what we are. */
static int drop_rights(struct daemon *daemon, char *reterr_text)
{
    const char *store = daemon->conf->storage_path;
    char error[RIGHTS_ERROR_SIZE] = "";
    int err = rights_give(&daemon->rights, store);

    if (err) {
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "storage.path %s: to be given to user %s: %s",
                 store, daemon->rights.name, strerror(-err));
        return err;
    }
    err = rights_drop(&daemon->rights, error);
    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", error);
    if (!err && access(store, R_OK | W_OK | X_OK)) {
        err = -errno;
        snprintf(reterr_text, DAEMON_ERROR_SIZE,
                 "storage.path %s: user %s does not get there: %s: open the folders above it "
                 "(chmod o+x), or set security.user",
                 store, daemon->rights.name, strerror(-err));
    }
    return err;
}

static int filter_calls(struct daemon *daemon, char *reterr_text)
{
    char error[RIGHTS_ERROR_SIZE] = "";
    int err = rights_filter(daemon->conf->security_seccomp, error);

    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", *error ? error : strerror(-err));
    return err;
}

static int open_jobs(struct daemon *daemon, char *reterr_text)
{
    const struct conf *conf = daemon->conf;
    char error[DECK_ERROR_SIZE] = "", why[JOB_ERROR_SIZE] = "";
    int err = jobs_create(conf->storage_path, &deck_job_ops, daemon->deck, &daemon->jobs, why);

    if (!err) {
        jobs_set_limits(daemon->jobs, (unsigned)conf->limit_jobs, conf->limit_statement);
        jobs_set_retry(daemon->jobs, !strcmp(conf->on_error, "retry"));
        watch_jobs(daemon);
        jobs_load(daemon->jobs, daemon->clock, complain);
        daemon->declare_pending =
            jobs_declare(daemon->jobs, conf->jobs, conf->n_jobs, daemon->clock, complain) > 0;
        jobs_step(daemon->jobs, daemon->clock);
        err = deck_start(daemon->deck, error);
    }
    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s",
                 *error ? error : (*why ? why : strerror(-err)));
    return err;
}

/* What was being written when the recorder or the machine went down. */
static void repair_store(const char *store)
{
    struct doc *recordings = recordings_doc(store, NULL);
    char ring[JOB_PATH_SIZE + 16];
    struct repair of_ring = {0};

    snprintf(ring, sizeof(ring), "%s/" RING_NAME, store);
    if (!access(ring, F_OK) && repair_folder(ring, RING_NAME, say_repair, NULL, &of_ring))
        log_error("%s cannot be repaired", ring);
    for (size_t i = 0; i < doc_size(recordings); i++) {
        const char *name = doc_text(doc_at(recordings, i), "name", "");
        char folder[JOB_PATH_SIZE];
        struct repair repair = {0};
        int err;

        recording_path(store, name, folder);
        err = repair_folder(folder, name, say_repair, NULL, &repair);
        if (!err)
            err = recording_recover(store, name);
        if (err)
            log_error("recording %s cannot be repaired: %s", name, strerror(-err));
    }
    doc_free(recordings);
}

static void say_repair(void *context, const char *text)
{
    log_warning("repair: %s", text);
}

static int open_control(struct daemon *daemon, char *reterr_text)
{
    struct control_config config = {
        .path = daemon->conf->control_socket,
        .group = daemon->conf->control_group,
        .read_group = daemon->conf->control_read_group,
        .clients_max = (unsigned)daemon->conf->limit_clients,
        .handle = request_handle,
        .context = daemon,
    };
    char error[CONTROL_ERROR_SIZE] = "", folder[JOB_PATH_SIZE];
    bool made = false;
    char *slash;
    int err;

    snprintf(folder, sizeof(folder), "%s", config.path);
    slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = 0;
        made = access(folder, F_OK) && !folder_make(folder, 0755);
    }
    err = control_open(&config, &daemon->control, error);
    /* The socket's group is said by the configuration; it is removed by whom we become. */
    if (!err && daemon->rights.change && chown(config.path, daemon->rights.uid, (gid_t)-1))
        err = -errno;
    if (!err && made)
        err = rights_give(&daemon->rights, folder);
    if (err)
        snprintf(reterr_text, DAEMON_ERROR_SIZE, "%s", *error ? error : strerror(-err));
    return err;
}

static int open_loop(struct daemon *daemon, char *reterr_text)
{
    struct epoll_event event = {.events = EPOLLIN};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    daemon->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    daemon->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (daemon->epoll >= 0 && daemon->signals >= 0 &&
        !epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, daemon->signals, &event) &&
        !epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, control_fd(daemon->control), &event) &&
        (!daemon->kube ||
         !epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, kube_fd(daemon->kube), &event)) &&
        (!daemon->metrics ||
         !epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, metrics_http_fd(daemon->metrics), &event)))
        return 0;
    snprintf(reterr_text, DAEMON_ERROR_SIZE, "epoll: %s", strerror(errno));
    return -errno;
}

/* Before the first look: what comes between is looked at twice. */
static void watch_jobs(struct daemon *daemon)
{
    char path[JOB_PATH_SIZE + 8];

    snprintf(path, sizeof(path), "%s/jobs/", daemon->conf->storage_path);
    folder_watch_open(&daemon->jobs_watch, ".conf");
    folder_watch_add(&daemon->jobs_watch, path);
    daemon->look_ns = 1;
}

static void turn(struct daemon *daemon)
{
    deck_step(daemon->deck);
    look_at_job_files(daemon);
    jobs_step(daemon->jobs, daemon->clock);
    names_watch_step(daemon->names_watch, daemon->clock.steady_ns);
    if (daemon->kube)
        kube_step(daemon->kube, daemon->clock);
    if (daemon->metrics)
        metrics_http_step(daemon->metrics);
    retention_step(&daemon->retention, daemon->jobs, daemon->live, daemon->clock);
    if (daemon->declare_pending)
        daemon->declare_pending = jobs_declare(daemon->jobs, daemon->live->jobs,
                                               daemon->live->n_jobs, daemon->clock, complain) > 0;
    if (daemon->conf->n_sources && !daemon->said_done && deck_done(daemon->deck)) {
        daemon->said_done = true;
        log_info("all sources have ended");
    }
}

static void look_at_job_files(struct daemon *daemon)
{
    uint64_t now_ns = daemon->clock.steady_ns;
    bool settled = folder_watch_settled(&daemon->jobs_watch, now_ns);

    if (!settled && (!daemon->look_ns || now_ns < daemon->look_ns))
        return;
    daemon->look_ns = 0;
    if (jobs_look(daemon->jobs, daemon->clock, complain))
        daemon->look_ns = now_ns;
    else if (jobs_refusals(daemon->jobs)->n)
        daemon->look_ns = now_ns + look_again_ns;
}

/* It gets something only while every thread turns: that the main one does is not enough. */
static void feed_watchdog(struct daemon *daemon)
{
    const char *stalled;

    if (!daemon->watchdog_ns || daemon->clock.steady_ns < daemon->fed_ns + daemon->watchdog_ns)
        return;
    daemon->fed_ns = daemon->clock.steady_ns;
    stalled = daemon->stalled = deck_stalled(daemon->deck);
    if (stalled)
        log_warning("thread %s makes no progress: the watchdog is not fed", stalled);
    else
        sd_notify(0, "WATCHDOG=1");
}

static void take_signals(struct daemon *daemon)
{
    struct signalfd_siginfo signal;

    while (read(daemon->signals, &signal, sizeof(signal)) == sizeof(signal)) {
        char error[DAEMON_ERROR_SIZE];
        struct doc *restart;

        if (signal.ssi_signo != SIGHUP) {
            log_info("stopping");
            daemon->end = true;
            continue;
        }
        restart = doc_array();
        if (daemon_reload(daemon, restart, error))
            log_error("not reloaded: %s", error);
        for (size_t i = 0; i < doc_size(restart); i++)
            log_warning("%s has changed: needs a restart", doc_text_at(restart, i, ""));
        doc_free(restart);
    }
}

static void look_at_clocks(struct daemon *daemon)
{
    struct timespec wall, steady;

    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &steady);
    daemon->clock.wall_ns = (uint64_t)wall.tv_sec * NS_PER_S + (uint64_t)wall.tv_nsec;
    daemon->clock.steady_ns = (uint64_t)steady.tv_sec * NS_PER_S + (uint64_t)steady.tv_nsec;
}

/* node.name, node.ip: the host's name, and the first address that is not loopback. */
static void set_node(void)
{
    char name[256] = "", ip[NI_MAXHOST] = "";
    struct ifaddrs *all = NULL;

    gethostname(name, sizeof(name) - 1);
    if (!getifaddrs(&all)) {
        for (const struct ifaddrs *one = all; one && !*ip; one = one->ifa_next) {
            bool v4 = one->ifa_addr && one->ifa_addr->sa_family == AF_INET;

            if (v4 && strcmp(one->ifa_name, "lo") != 0)
                getnameinfo(one->ifa_addr, sizeof(struct sockaddr_in), ip, sizeof(ip), NULL, 0,
                            NI_NUMERICHOST);
        }
        freeifaddrs(all);
    }
    interface_set_node(ip, name);
}

static void complain(const char *text)
{
    log_warning("%s", text);
}

struct find_value {
    const struct conf_value *value;
    bool found, same;
};

static void compare_value(void *context, const struct conf_value *value)
{
    struct find_value *find = context;

    if (strcmp(value->key, find->value->key) != 0)
        return;
    find->found = true;
    find->same = !strcmp(value->value, find->value->value);
}

static bool same_value(const struct conf_value *value, const struct conf *other)
{
    struct find_value find = {value, false, false};

    conf_each(other, compare_value, &find);
    return find.found && find.same;
}

static void on_ended(void *context, struct job *job)
{
    struct daemon *daemon = context;

    job_ended(daemon->jobs, job, daemon->clock.wall_ns);
}

static void on_failed(void *context, struct job *job, const char *reason)
{
    struct daemon *daemon = context;

    log_error("job %s has failed: %s", job->spec.name, reason);
    job_failed(daemon->jobs, job, daemon->clock, reason);
}

static void on_quota(void *context, struct job *job)
{
    struct daemon *daemon = context;

    log_warning("job %s has used up its quota", job->spec.name);
    job_quota(daemon->jobs, job, daemon->clock);
}

static void on_past_taken(void *context, struct job *job)
{
    struct daemon *daemon = context;

    job_past_taken(daemon->jobs, job, daemon->clock);
}
