/* job_lab.h - a table of jobs over a store of its own, with a clock that is turned by hand. The
 * deck is a fake whose slots take a turn to be emptied. */
#ifndef TESTS_JOB_LAB_H
#define TESTS_JOB_LAB_H

#include "../mgmt/job.h"
#include "tap.h"

enum { ENDING_MAX = 16 };

struct job_lab {
    char store[64];
    struct jobs *jobs;
    struct schedule_clock clock;
    struct job *ending[ENDING_MAX];
    unsigned n_ending, n_begun, n_saturated;
    int begin_err;
    struct job_counts counts;
};

extern unsigned job_lab_complaints;
void job_lab_complain(const char *text);

void job_lab_begin(struct job_lab *world);
void job_lab_end(struct job_lab *world);
/* What was being ended has ended. */
void job_lab_settle(struct job_lab *world);
void job_lab_pass(struct job_lab *world, uint64_t ns);
void job_lab_restart(struct job_lab *world, uint64_t down_ns);
struct job *job_lab_add(struct job_lab *world, const char *name, const char *kfl,
                        const char *start);
void job_lab_expect(struct job_lab *world, const char *name, const char *state, uint64_t streams);

#endif
