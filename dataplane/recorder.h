/* recorder.h - where a classifier puts what jobs want: the interface that the writer implements
 * above it (writer/chunk_recorder.c), and `tapedeck read` another way.
 *
 * All calls come from the classifier's thread, for its own instance. None may block. */
#ifndef DATAPLANE_RECORDER_H
#define DATAPLANE_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "../kfl-jit/entry.h"
#include "../kfl-jit/plan.h"

struct pcapng_packet;
struct stream;
struct stream_table;

struct recorder;

struct recorder_ops {
    /* Room for a block of this size for the job in `slot`, where it is then written in place.
     * Null: there is none, the packet of this interface is lost to the job (the recorder counts
     * it). */
    uint8_t *(*reserve)(struct recorder *recorder, unsigned slot, uint32_t size,
                        uint16_t interface);
    /* The block reserved last is written: one packet of this stream. */
    void (*commit)(struct recorder *recorder, unsigned slot, const struct stream *stream,
                   uint64_t ts_ns, uint32_t origlen, uint16_t interface);
    /* This entry matched these jobs. */
    void (*entry)(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                  const struct kfl_entry *entry);
    /* A stream that these jobs recorded begins: `missing` of its packets were overwritten in the
     * lookback and are not in the recording (head_missing). ts_ns: of the packet that made the
     * match. */
    void (*matched)(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                    uint32_t missing, uint64_t ts_ns);
    /* The stream is over; `slots` are the jobs that recorded it. Called for each stream that a job
     * recorded or might have. */
    void (*ended)(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                  const struct kfl_stream *view);
    /* Another plan is in force: these slots are empty or have a new job: hand on what is held. */
    void (*released)(struct recorder *recorder, uint64_t slots, uint64_t now_ns);
    /* Called once a step: hand on chunks older than flush_ms; `all`: whatever is held. */
    void (*flush)(struct recorder *recorder, uint64_t now_ns, bool all);
    /* Is there room for what comes next? What can wait (a file, the past of a stream) is not handed
     * on otherwise. Null: always. */
    bool (*ready)(const struct recorder *recorder);
};

struct recorder { /* implementations begin with this */
    const struct recorder_ops *ops;
    bool wants_packets; /* false: reserve() and commit() are never called, packets only counted */
    /* Jobs that shall hear of every entry that matches. Without it a stream that matched by its
     * L2-L4 facts is not dissected for them: its one entry comes at its end. */
    uint64_t wants_entries;
    const struct kfl_plan *plan; /* of its classifier, which sets it: says what redact() hides */
    const struct stream_table *streams; /* of its classifier, which sets it: for stream_view() */
};

/* A packet of this stream, sent by its `sender` (0 or 1), to the jobs of these slots; its flags are
 * filled in. -> some job has it. */
bool recorder_packet(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     unsigned sender, struct pcapng_packet *packet);

#endif
