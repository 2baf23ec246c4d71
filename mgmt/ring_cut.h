/* ring_cut.h - what a job takes out of the always-on ring: streams of the past.
 *
 *      STORE/ring/ *.pcapng --judge: streams, dissectors, the job's statement--> which streams,
 * entries
 *                           --copier: those streams alone---------------------> chunks of the job
 *
 * Whole streams: of those that have a packet in the window and match, all packets that the ring
 * has, also from before and after it. The judge reads what has to be asked about, the copier reads
 * again what was chosen, by the ring's indexes; so no stream is too long for it.
 *
 * With `follow` the streams that were under way at the seam belong to the ring until they end: it
 * goes on reading the ring as it grows. Which these are is exact: in each classifier the numbers
 * before `seam` are the ring's, the others the live job's. No packet is in both, none in neither.
 *
 * The segments are open while they are read: what the ring deletes meanwhile is taken all the same.
 *
 * Thread: started, asked, freed by mgmt; it runs in one of its own, which is the classifier
 * `recorder` was made for. One at a time. */
#ifndef MGMT_RING_CUT_H
#define MGMT_RING_CUT_H

#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/pipeline.h"
#include "../writer/chunk.h"

#define RING_NAME "ring" /* folder in the store, and the name its segments begin with */

struct ring_cut_config {
    const char *folder; /* of the ring; copied */
    const struct kfl_statement *statement;
    unsigned slot;             /* of the job in the writer */
    struct recorder *recorder; /* the chunk recorder that is its own */
    struct chunk_pool *pool;
    unsigned classifier;     /* of the recorder in the pool */
    uint64_t from_ns, to_ns; /* the window */
    bool follow;             /* until ring_cut_stop() */
    uint64_t number_base;    /* of this process: what is below is all of the ring */
    unsigned n_classifiers;  /* live ones; 0: there is no seam */
    uint64_t seam[PIPELINE_CLASSIFIER_MAX];
    struct stream_config streams; /* timeouts, distinguish */
};

/* How far it has come. */
struct ring_cut_report {
    bool done;
    int error;                 /* -errno: the ring could not be read */
    uint64_t held_from_ns;     /* the oldest packet the ring had; UINT64_MAX: none */
    uint64_t streams, packets; /* taken */
    unsigned lost_segments;    /* that were gone or damaged */
};

struct ring_cut;

/* -> 0 or -errno. */
int ring_cut_start(const struct ring_cut_config *config, struct ring_cut **ret_cut);
void ring_cut_stop(struct ring_cut *cut); /* what was found so far is handed on; then it is done */
void ring_cut_look(const struct ring_cut *cut, struct ring_cut_report *ret_report);
void ring_cut_free(struct ring_cut *cut); /* stops it, and waits */

#endif
