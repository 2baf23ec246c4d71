/* deck_ring.h - the always-on ring on disk, and the cuts that jobs take out of it. For deck.c.
 *
 * The ring is a job of nobody: it has the last slot, a folder of its own (STORE/ring), and the same
 * segments and indexes as a recording; the oldest segments go first, by size and by age. It keeps
 * no entries.
 *
 * Thread: mgmt. */
#ifndef MGMT_DECK_RING_H
#define MGMT_DECK_RING_H

#include "../writer/writer.h"
#include "job.h"
#include "ring_cut.h"

enum { DECK_RING_SLOT = KFL_SLOT_MAX - 1, DECK_CUTS = 2, DECK_RING_ERROR_SIZE = 1024 };

struct deck_ring {
    bool on;
    char folder[JOB_PATH_SIZE];
    struct kfl_statement *statement;
    struct cut_lane {
        struct recorder *recorder;
        struct ring_cut *cut; /* null: free */
        struct job *job;
    } lanes[DECK_CUTS];
};

/* Compiles its statement. -> 0 or -EINVAL with the message. Does nothing when ring_size is 0. */
int deck_ring_init(struct deck_ring *ring, const struct conf *conf, const char *store,
                   char *reterr_text, size_t size);
void deck_ring_done(struct deck_ring *ring);
/* Recorders for the cuts, numbered behind the live classifiers'; attaches its slot. */
int deck_ring_attach(struct deck_ring *ring, const struct conf *conf, struct writer *writer,
                     unsigned n_classifiers, char *reterr_text, size_t size);

/* A lane that is free, or null. */
struct cut_lane *deck_ring_lane(struct deck_ring *ring);
/* -> 0 or -errno */
int deck_ring_cut(struct deck_ring *ring, struct cut_lane *lane, struct job *job,
                  struct ring_cut_config *config, struct writer *writer, unsigned n_classifiers);
struct cut_lane *deck_ring_lane_of(struct deck_ring *ring, const struct job *job);
/* Takes over what it says; when it is done the lane is free. -> done? */
bool deck_ring_look(struct cut_lane *lane);
/* Ends all cuts, where they are. */
void deck_ring_stop(struct deck_ring *ring);

#endif
