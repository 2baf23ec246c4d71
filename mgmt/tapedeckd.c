/* tapedeckd.c - the recorder's program: options, and going to the background. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "daemon_options.h"
#include "log.h"
#include "names.h"
#include "units.h"

enum { EXIT_OK = 0, EXIT_FAIL = 1, EXIT_BAD = 2, FILES_MAX = 65536 };

static int check(const char *path);
static int run(const char *path, int ready);
static int go_to_background(void);
static void block_signals(void);
static void allow_many_files(void);

int main(int argc, char **argv)
{
    const struct option_row *const tables[] = {daemon_option_rows, NULL};
    char error[OPTIONS_ERROR_SIZE];
    int n = options_parse(tables, argc - 1, argv + 1, error);
    int ready = -1;

    if (n) {
        fprintf(stderr, "tapedeckd: %s\n", n < 0 ? error : "takes no arguments: see --help");
        return EXIT_BAD;
    }
    if (daemon_options.help) {
        printf("tapedeckd - records whole streams in which something happened\n\n"
               "usage: tapedeckd [OPTION...]\n\noptions:\n");
        options_help(daemon_option_rows, stdout);
        return EXIT_OK;
    }
    if (daemon_options.version) {
        printf("tapedeckd %s\n", TAPEDECK_VERSION);
        return EXIT_OK;
    }
    if (!daemon_options.conf)
        daemon_options.conf = CONF_DEFAULT;
    setvbuf(stderr, NULL, _IOLBF, 0);
    umask(0027);
    block_signals();
    allow_many_files();
    if (daemon_options.check)
        return check(daemon_options.conf);
    if (!daemon_options.foreground && !getenv("NOTIFY_SOCKET")) {
        ready = go_to_background();
        if (ready < 0)
            return EXIT_FAIL;
    }
    return run(daemon_options.conf, ready);
}

/* Also what the file points to: statements, schedules, names. */
static int check(const char *path)
{
    char error[CONF_ERROR_SIZE], why[JOB_ERROR_SIZE] = "", names_error[NAMES_ERROR_SIZE] = "";
    struct names_pool *pool;
    struct names *names;
    struct kfl_statement *ring;
    struct timespec now;
    struct conf *conf;
    int status = EXIT_OK;

    if (conf_read(path, &conf, error)) {
        fprintf(stderr, "tapedeckd: %s\n", error);
        return EXIT_BAD;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    if (job_compile(conf->ring_kfl, (uint64_t)now.tv_sec * NS_PER_S, &ring, why)) {
        fprintf(stderr, "tapedeckd: %s: storage.ring_kfl: %s\n", path, why);
        status = EXIT_BAD;
    } else {
        kfl_statement_free(ring);
    }
    for (unsigned i = 0; i < conf->n_jobs; i++) {
        if (job_check(&conf->jobs[i], (uint64_t)now.tv_sec * NS_PER_S, why)) {
            fprintf(stderr, "tapedeckd: %s: jobs[%u] '%.64s': %s\n", path, i, conf->jobs[i].name,
                    why);
            status = EXIT_BAD;
        }
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(conf->jobs[i].name, conf->jobs[k].name)) {
                fprintf(stderr, "tapedeckd: %s: jobs[%u] '%.64s': there are two of this name\n",
                        path, i, conf->jobs[i].name);
                status = EXIT_BAD;
            }
    }
    if (!names_pool_create(conf->names_memory, &pool)) {
        if (names_load(pool, conf->names_files.text, conf->names_files.n, &names, names_error)) {
            fprintf(stderr, "tapedeckd: names.files: %s\n", names_error);
            status = EXIT_BAD;
        } else {
            names_free(names);
        }
        names_pool_free(pool);
    }
    if (*conf->metrics_address) {
        char metrics_error[METRICS_ERROR_SIZE];

        if (metrics_http_check(conf->metrics_address, metrics_error)) {
            fprintf(stderr, "tapedeckd: %s: %s\n", path, metrics_error);
            status = EXIT_BAD;
        }
    }
    if (*conf->kubernetes && strcmp(conf->kubernetes, KUBE_IN_CLUSTER) != 0) {
        char kube_error[KUBE_ERROR_SIZE] = "";
        struct kube_access access;

        if (kube_access_read(conf->kubernetes, conf->kubernetes_context, &access, kube_error)) {
            fprintf(stderr, "tapedeckd: names.kubernetes: %s\n", kube_error);
            status = EXIT_BAD;
        } else {
            kube_access_done(&access);
        }
    }
    conf_free(conf);
    if (status == EXIT_OK)
        printf("%s: ok\n", path);
    return status;
}

/* ready: a pipe to the parent that waits for us, or -1. */
static int run(const char *path, int ready)
{
    char error[DAEMON_ERROR_SIZE] = "";
    struct daemon daemon;

    log_open(false);
    if (daemon_open(path, &daemon, error)) {
        fprintf(stderr, "tapedeckd: %s\n", error);
        return EXIT_FAIL;
    }
    if (ready >= 0) {
        int null = open("/dev/null", O_RDWR);

        log_open(true);
        for (int fd = 0; fd < 3 && null >= 0; fd++)
            dup2(null, fd);
        if (null > 2)
            close(null);
        if (write(ready, "", 1) != 1)
            log_warning("whoever started us has gone");
        close(ready);
    }
    daemon_run(&daemon);
    daemon_close(&daemon);
    log_info("stopped");
    return EXIT_OK;
}

/* The parent waits until the child records, and ends with its status: who starts us sees why it
 * failed. -> in the child: a descriptor to say "ready" on. */
static int go_to_background(void)
{
    int ends[2];
    char byte;
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) || (child = fork()) < 0) {
        perror("tapedeckd");
        return -1;
    }
    if (!child) {
        close(ends[0]);
        setsid();
        return ends[1];
    }
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 1 ? EXIT_OK : EXIT_FAIL);
}

/* A thousand clients, and what is recorded: the usual 1024 would be too few. */
static void allow_many_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Before any thread: signals come through a descriptor. */
static void block_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}
