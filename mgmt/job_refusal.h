/* job_refusal.h - what asks for a job and is none: files in STORE/jobs, and jobs of the
 * configuration, that cannot be taken up, each with its reason. For `job list`, and so that it is
 * said once.
 *
 * Whoever looks through all that is asked says begin, refuses, says end: what was not refused this
 * time is not refused any more. Thread: mgmt. */
#ifndef MGMT_JOB_REFUSAL_H
#define MGMT_JOB_REFUSAL_H

#include <stdbool.h>

struct job_refusal {
    char *name;    /* of the job; of a file it may be any */
    char *text;    /* what is refused, and why */
    bool declared; /* by the configuration; else by a file */
    bool seen;
};

struct job_refusals {
    struct job_refusal *row;
    unsigned n;
};

void job_refusals_begin(struct job_refusals *refusals, bool declared);
/* -> it is new, or for another reason than before */
bool job_refuse(struct job_refusals *refusals, bool declared, const char *name, const char *text);
void job_refusals_end(struct job_refusals *refusals, bool declared);
void job_refusals_done(struct job_refusals *refusals);
/* Why what asks for a job of this name is refused; null: nothing is. */
const char *job_refused(const struct job_refusals *refusals, const char *name);

#endif
