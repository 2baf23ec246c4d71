/* pipeline_private.h - what pipeline.c (life, numbers), pipeline_step.c (the steps) and
 * pipeline_thread.c (threads, idling) share. For these only. */
#ifndef DATAPLANE_PIPELINE_PRIVATE_H
#define DATAPLANE_PIPELINE_PRIVATE_H

#include <pthread.h>

#include "fragment.h"
#include "pipeline.h"
#include "ring.h"

/* What goes back to the source: the part of a packet that the source filled in. */
struct returned {
    uint8_t bytes[offsetof(struct packet, hash)];
};

struct unit { /* one queue of one source */
    struct source *source;
    unsigned queue, source_index;
    struct fragment_table *fragments;
    _Atomic uint32_t fragments_held;
    _Atomic uint64_t rx, rx_bytes;
    _Atomic int error;
    _Atomic bool ended;
};

struct lane {            /* between one RX and one classifier */
    struct ring forward; /* struct packet */
    struct ring back;    /* struct returned */
};

struct rx {
    struct pipeline *pipeline;
    unsigned number;
    unsigned n_units, next_unit;
    struct unit **units;
    struct lane *lanes; /* by classifier; null without rings */
    struct counters counters;
    _Atomic bool ended; /* nothing more is pushed */
    struct packet in[PACKET_BURST];
    struct packet out[PACKET_BURST + FRAGMENT_HELD_MAX];
};

struct worker {
    struct pipeline *pipeline;
    unsigned number;
    struct classifier *classifier;
    struct counters counters;             /* steps, in its own thread */
    uint64_t now_ns;                      /* newest packet, when packets tell the time */
    _Atomic bool done;                    /* finished: everything is settled and handed on */
    _Alignas(64) _Atomic uint32_t asleep; /* 1: it waits for pipeline_wake() */
};

struct publication_node {
    struct plan_publication publication; /* first member */
    struct kfl_plan *plan;
    struct gate *gate;
    struct publication_node *older;
};

struct thread {
    pthread_t id;
    unsigned (*step)(void *role);
    void *role;
    struct pipeline *pipeline;
    char name[16];
    int core;
    bool started;
    unsigned n_done, gather_us; /* since its last sleep; how long that was to gather packets */
    uint64_t turns_seen;        /* by pipeline_stalled() */
    /* Of its loop, written in each; in a cache line that no other thread writes. */
    _Alignas(64) _Atomic uint64_t turns;
    _Atomic bool has_ended;
};

struct pipeline {
    struct pipeline_config config;
    bool live;              /* the clock tells the time, not the packets */
    unsigned n_units, n_rx; /* n_rx: 1 when the classifier receives itself */
    struct unit *units;
    struct rx *rx;
    struct worker *workers;
    struct publication_node *newest;
    struct pushdown *pushdown;               /* null: no source takes it */
    uint64_t fresh;                          /* slots, of the next publication */
    _Atomic uint64_t admitted[KFL_SLOT_MAX]; /* plan_publication.admitted */
    unsigned n_threads;
    struct thread *threads;
    _Atomic bool writer_end; /* all workers are done: the writer ends when it is idle */
};

/* pipeline_step.c; role: struct rx, struct worker, struct pipeline. -> work done */
unsigned pipeline_rx_step(void *rx);
unsigned pipeline_worker_step(void *worker);
unsigned pipeline_combined_step(void *pipeline);
unsigned pipeline_writer_step(void *pipeline);
/* pipeline_thread.c */
/* Packets were pushed for this worker: it gets up if it sleeps. Once per burst. */
void pipeline_wake(struct worker *worker);
int pipeline_threads_start(struct pipeline *pipeline);
void pipeline_threads_join(struct pipeline *pipeline);

#endif
