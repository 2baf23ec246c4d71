#include "deck_ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../writer/chunk_recorder.h"
#include "units.h"

int deck_ring_init(struct deck_ring *ring, const struct conf *conf, const char *store,
                   char *reterr_text, size_t size)
{
    struct kfl_messages messages = {0};
    char text[512] = "";
    int err;

    if (!conf->ring_size)
        return 0;
    snprintf(ring->folder, sizeof(ring->folder), "%.1000s/" RING_NAME, store);
    err = kfl_statement_create(conf->ring_kfl, strlen(conf->ring_kfl), 0, &ring->statement,
                               &messages);
    if (!err)
        err = kfl_statement_check_job(ring->statement, &messages);
    if (err) {
        if (messages.n)
            kfl_message_format(&messages.message[messages.n - 1], text, sizeof(text));
        snprintf(reterr_text, size, "storage.ring_kfl: the statement is refused: %s", text);
        return err;
    }
    ring->on = true;
    return 0;
}

void deck_ring_done(struct deck_ring *ring)
{
    for (unsigned i = 0; i < DECK_CUTS; i++)
        if (ring->lanes[i].recorder)
            chunk_recorder_free(ring->lanes[i].recorder);
    kfl_statement_free(ring->statement);
}

int deck_ring_attach(struct deck_ring *ring, const struct conf *conf, struct writer *writer,
                     unsigned n_classifiers, char *reterr_text, size_t size)
{
    const struct writer_job job = {
        .slot = DECK_RING_SLOT,
        .name = RING_NAME,
        .folder = ring->folder,
        .statement = conf->ring_kfl,
        .quota = conf->ring_size,
        .rotate = true,
        .age_ns = conf->ring_age,
        .no_entries = true,
    };
    char error[WRITER_ERROR_SIZE] = "";
    uint32_t run;
    int err = 0;

    if (!ring->on)
        return 0;
    for (unsigned i = 0; i < DECK_CUTS && !err; i++)
        err = chunk_recorder_create(writer_pool(writer), n_classifiers + i, conf->flush,
                                    &ring->lanes[i].recorder);
    if (!err)
        err = writer_attach(writer, &job, &run, error);
    if (err)
        snprintf(reterr_text, size, "the ring: %s", *error ? error : strerror(-err));
    return err;
}

struct cut_lane *deck_ring_lane(struct deck_ring *ring)
{
    return deck_ring_lane_of(ring, NULL);
}

int deck_ring_cut(struct deck_ring *ring, struct cut_lane *lane, struct job *job,
                  struct ring_cut_config *config, struct writer *writer, unsigned n_classifiers)
{
    int err;

    config->folder = ring->folder;
    config->statement = job->statement;
    config->slot = (unsigned)job->slot;
    config->recorder = lane->recorder;
    config->pool = writer_pool(writer);
    config->classifier = n_classifiers + (unsigned)(lane - ring->lanes);
    config->from_ns = job->past.from_ns;
    config->to_ns = job->past.to_ns;
    err = ring_cut_start(config, &lane->cut);
    if (!err)
        lane->job = job;
    return err;
}

struct cut_lane *deck_ring_lane_of(struct deck_ring *ring, const struct job *job)
{
    for (unsigned i = 0; i < DECK_CUTS; i++)
        if (ring->lanes[i].job == job)
            return &ring->lanes[i];
    return NULL;
}

bool deck_ring_look(struct cut_lane *lane)
{
    struct job_past *past = &lane->job->past;
    struct ring_cut_report report;

    ring_cut_look(lane->cut, &report);
    past->held_from_ns = report.held_from_ns;
    past->streams = report.streams;
    past->packets = report.packets;
    past->lost_segments = report.lost_segments;
    past->error = report.error;
    past->taken = report.done && !report.error;
    if (!report.done)
        return false;
    ring_cut_free(lane->cut);
    lane->cut = NULL;
    lane->job = NULL;
    return true;
}

void deck_ring_stop(struct deck_ring *ring)
{
    for (unsigned i = 0; i < DECK_CUTS; i++) {
        struct cut_lane *lane = &ring->lanes[i];

        if (!lane->cut)
            continue;
        deck_ring_look(lane);
        if (!lane->cut)
            continue;
        ring_cut_free(lane->cut); /* it was cut short: past.taken stays false */
        lane->cut = NULL;
        lane->job = NULL;
    }
}
