/* recording.h - what a job leaves behind: STORE/recordings/NAME with its description.
 *
 * recording.json says what was asked, each run with its counts and losses, and the sums. It is
 * replaced atomically. A recording outlives its job when that is deleted with --keep-recording,
 * and a folder without a description is still a recording of unknown origin.
 *
 * Thread: mgmt, or a command on its own. */
#ifndef MGMT_RECORDING_H
#define MGMT_RECORDING_H

#include "job.h"

/* STORE/recordings[/NAME]. The name must have been checked. */
void recording_path(const char *store, const char *name, char ret_path[static JOB_PATH_SIZE]);
bool recording_exists(const char *store, const char *name);

/* The description of a new recording, or the one on disk. */
struct doc *recording_open(const char *store, const struct job *job);
/* Run `number` is to begin, or to go on: then its earlier counts stay and new ones add. */
/* -> it goes on. */
bool recording_begin_run(struct doc *recording, const char *store, int64_t number, uint64_t now_ns);
/* Now it records. If it did before, the time between is one of its gaps. */
void recording_go_on(struct doc *recording, uint64_t now_ns);
/* Counts of the run since it began, or went on, as of now_ns (0: for looking at only). */
void recording_count(struct doc *recording, const struct job_counts *counts, uint64_t now_ns);
bool recording_is_open(const struct doc *recording); /* is a run under way, or interrupted? */
/* It is to go on: what is why it does not now. */
void recording_interrupt_run(struct doc *recording, uint64_t now_ns, const char *what);
/* What the run took out of the ring: from, to, held_from (the oldest packet the ring had), missing
 * (it does not reach back that far), complete (all of it was taken). */
void recording_past(struct doc *recording, const struct job_past *past);
/* what: "done", "stopped: quota ...". */
void recording_end_run(struct doc *recording, uint64_t end_ns, const char *what);
void recording_miss_runs(struct doc *recording, int64_t number, int64_t n);
/* Sums over the runs. */
void recording_sum(const struct doc *recording, struct job_counts *ret_counts);
/* Writes it, with the job's state. -> 0 or -errno */
int recording_save(const char *store, const struct job *job);

/* After a crash: the counts of a run that has no end are made to agree with what is on disk, which
 * has been repaired. What they say of losses stays. -> 0 or -errno */
int recording_recover(const char *store, const char *name);

/* As `recording show --json` has it: new doc, null when there is none. Measures the folder. */
struct doc *recording_doc(const char *store, const char *name);
/* All of them, in order of names; search: part of the name or the statement, null: all. */
struct doc *recordings_doc(const char *store, const char *search);
int recording_delete(const char *store, const char *name);
/* A segment was deleted by a limit of the store. job: null when there is none. */
void recording_note_deleted(const char *store, const char *name, struct job *job, uint64_t bytes);
/* Whoever reads all of a recording (export, verify) holds a shared lock on its folder: limits and
 * expiry leave it alone so long. */
bool recording_is_held(const char *store, const char *name);

struct recording_size {
    uint64_t bytes; /* blocks on disk */
    unsigned segments;
};
struct recording_size recording_measure(const char *store, const char *name);

#endif
