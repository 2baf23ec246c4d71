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
/* Fills in a job whose name is set: spec, state, clock. ENOENT of the state: a file that was
 * dropped in; *ret_new is set. */
int job_store_read(const char *store, const char *name, struct job *job, bool *ret_new,
                   char reterr_text[static JOB_ERROR_SIZE]);
void job_store_remove(const char *store, const char *name);
/* Names for which there is a file; malloc'ed texts in a malloc'ed list. -> their number, -errno */
int job_store_list(const char *store, char ***ret_names);

/* Copies the texts. */
void job_spec_copy(struct conf_job *to, const struct conf_job *from);
void job_spec_free(struct conf_job *spec);
bool job_spec_equal(const struct conf_job *a, const struct conf_job *b);

#endif
