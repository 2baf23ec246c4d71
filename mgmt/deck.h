/* deck.h - the recorder put together: sources, pipeline, writer, and the slots jobs record in.
 *
 *     FREE --deck_begin()--> IN_USE --deck_end()--> LEAVING --all classifiers have left--> CLOSING
 *       ^                  plan names it          plan without it                             |
 *       +-------------------------- all is on disk: events->ended() --------------------------+
 *
 * A slot is only used again when its last chunk is on disk. The plan is made anew from all slots in
 * use whenever one comes or goes; jobs that stay notice nothing.
 *
 * Thread: mgmt. The workers are the pipeline's. */
#ifndef MGMT_DECK_H
#define MGMT_DECK_H

#include "conf.h"
#include "job.h"
#include "names.h"

struct writer_latency;

enum { DECK_ERROR_SIZE = 1024 };

struct deck_events { /* called from deck_step() and deck_close() */
    void (*ended)(void *context, struct job *job);
    void (*failed)(void *context, struct job *job, const char *reason);
    void (*quota)(void *context, struct job *job);
    void (*past_taken)(void *context, struct job *job); /* all of a cut out of the ring */
    void *context;
};

struct deck;

/* Opens the sources; nothing runs yet. names may be null. -> 0 or -errno with the message. */
int deck_open(const struct conf *conf, const char *store, struct names_board *names,
              const struct deck_events *events, struct deck **ret_deck,
              char reterr_text[static DECK_ERROR_SIZE]);
int deck_start(struct deck *deck, char reterr_text[static DECK_ERROR_SIZE]);
/* No more packets are taken; what was received is recorded and on disk when it returns. Jobs keep
 * their slots and counts: no events->ended(). */
void deck_stop(struct deck *deck);
void deck_close(struct deck *deck); /* after deck_stop(), or when never started */

/* What is due: events. */
void deck_step(struct deck *deck);

/* struct job_ops with the deck as context. */
extern const struct job_ops deck_job_ops;

/* For `stats`: rows of sources, cores, and the sum; appended to the array. */
void deck_stats(struct deck *deck, struct doc *rows);
/* A thread that has not turned since the last call, by name, or null: see pipeline_stalled(). */
const char *deck_stalled(struct deck *deck);
void deck_writer_latency(const struct deck *deck, struct writer_latency *ret_latency);
bool deck_has_ring(const struct deck *deck);
extern const char deck_no_ring[]; /* why something is refused, and the way out */
/* All sources have come to their end. */
bool deck_done(const struct deck *deck);

#endif
