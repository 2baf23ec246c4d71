/* job_store.h - jobs on disk: STORE/jobs/NAME.conf and NAME.json. For job.c.
 *
 * Thread: mgmt. */
#ifndef MGMT_JOB_STORE_H
#define MGMT_JOB_STORE_H

#include "job.h"

/* Both files. -> 0 or -errno with the message. */
int job_store_write(const char *store, const struct job *job,
                    char reterr_text[static JOB_ERROR_SIZE]);
/* How it stands. -> 0 or -errno */
int job_store_write_state(const char *store, const struct job *job);
/* What NAME.conf asks; *ret_spec is to be freed. -> 0 or -errno with the message. */
int job_store_read(const char *store, const char *name, struct conf_job *ret_spec,
                   char reterr_text[static JOB_ERROR_SIZE]);
/* How a job stands that has its spec: state, clock; *ret_same: the file asks what it did when that
 * was written. -> 0, -ENOENT (it stands nowhere yet), or another -errno with the message. */
int job_store_read_state(const char *store, const char *name, struct job *job, bool *ret_same,
                         char reterr_text[static JOB_ERROR_SIZE]);
bool job_store_has_file(const char *store, const char *name); /* or it cannot be known */
void job_store_remove(const char *store, const char *name);
void job_store_remove_state(const char *store, const char *name);
/* NAME.conf, which is not ours to judge, becomes NAME.conf.refused. -> 0 or -errno */
int job_store_set_aside(const char *store, const char *name);
/* Names for which there is a file with this ending, not hidden ones; malloc'ed texts in a malloc'ed
 * list. -> their number, -errno */
int job_store_list(const char *store, const char *ending, char ***ret_names);

#define JOB_ASKED   ".conf"
#define JOB_STATE   ".json"
#define JOB_REFUSED ".conf.refused"

/* Copies the texts. */
void job_spec_copy(struct conf_job *to, const struct conf_job *from);
void job_spec_free(struct conf_job *spec);
bool job_spec_equal(const struct conf_job *a, const struct conf_job *b);

#endif
