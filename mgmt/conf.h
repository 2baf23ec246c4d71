/* conf.h - the configuration: what tapedeckd was told. The door to libconfig.
 *
 * The keys are rows in conf.def (groups), conf_source.def (elements of `sources`) and
 * conf_job.def (elements of `jobs`, and files in the store). Every key has a default, so an
 * empty file is a configuration. What is wrong is said with file, line, key, value and way out;
 * an unknown key is wrong.
 *
 * A conf is read whole and then only read; texts belong to it. Thread: mgmt. */
#ifndef MGMT_CONF_H
#define MGMT_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    CONF_ERROR_SIZE = 1024,
    CONF_SOURCES_MAX = 16,
    CONF_JOBS_MAX = 1000,
    CONF_LIST_MAX = 64,
};

struct conf_texts {
    const char *text[CONF_LIST_MAX];
    unsigned n;
};

struct conf_cpus {          /* threads of one kind */
    int cpu[CONF_LIST_MAX]; /* which they are pinned to; -1: not pinned */
    unsigned n;
};

struct conf_source {
    const char *type, *interface, *device, *eal;
    int64_t queues, snaplen, frames;
    bool promiscuous, generic, copy, pass, pushdown;
};

/* A job as it is written, by a person, in the configuration or in the store. */
struct conf_job {
    const char *name, *kfl, *start, *until, *on_quota, *on_error;
    int64_t iterations, snaplen;
    uint64_t duration, expiration; /* ns */
    uint64_t quota, cutoff;        /* bytes */
};

struct conf {
    const char *path; /* of the file; null: defaults */
    struct conf_source sources[CONF_SOURCES_MAX];
    unsigned n_sources;
    struct conf_job *jobs;
    unsigned n_jobs;
    struct conf_cpus rx, classifiers, writers;
    const char *poll;
    int64_t streams_max, ring;
    uint64_t timeout_tcp, timeout_tcp_open, timeout_tcp_closed, timeout_udp, timeout_icmp,
        timeout_other, response_timeout;
    struct conf_texts distinguish;
    uint64_t l7_memory, text_max;
    uint64_t lookback_size, lookback_ttl;
    const char *storage_path, *sync, *on_error, *entries, *keylog, *ring_kfl;
    uint64_t ring_size, ring_age;
    uint64_t storage_limit, free_min, segment_size, segment_age, flush, chunk_size, chunk_memory;
    struct conf_texts names_files;
    const char *kubernetes, *kubernetes_context;
    uint64_t names_memory;
    bool names_learn_dns;
    const char *control_socket, *control_group, *control_read_group;
    const char *security_user, *security_seccomp;
    const char *metrics_address;
    int64_t limit_jobs, limit_clients;
    uint64_t limit_statement;

    void *texts; /* what the members above point to */
};

/* path: null gives the defaults. -> 0, or -errno with the message. */
int conf_read(const char *path, struct conf **ret_conf, char reterr_text[static CONF_ERROR_SIZE]);
void conf_free(struct conf *conf);

/* Each key with its value; those of lists have an index, "sources[0].type". */
struct conf_value {
    char key[64];
    char value[512];
    const char *initial; /* the default, as it would be written */
    const char *help;
    bool is_initial;
    bool live; /* a reload applies it */
};
void conf_each(const struct conf *conf, void (*each)(void *context, const struct conf_value *value),
               void *context);

/* A file of the store: one job, keys as in conf_job.def; it is jobs[0] of the conf. */
int conf_read_job(const char *path, struct conf **ret_conf,
                  char reterr_text[static CONF_ERROR_SIZE]);
/* The defaults of a job. */
struct conf_job conf_job_initial(void);
/* Writes the job in the form conf_read_job() reads. */
void conf_print_job(const struct conf_job *job, FILE *out);

#endif
