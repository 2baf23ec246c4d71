/* output.h - one file that chunks are appended to, one write in flight at a time.
 *
 *      push ->  [chunk][chunk][chunk][chunk] -> the first ones go out in one write
 *               `------batch------'
 *
 * Because the next write begins only when the one before is done, the file's bytes are always a
 * prefix of what was pushed: never a hole, and after each write whole chunks. A short write is gone
 * on with; what went wrong is told to the owner of the output, who decides.
 *
 * Ownership: a pushed chunk is the output's until output_pop() gives it back. Thread: writer's. */
#ifndef WRITER_OUTPUT_H
#define WRITER_OUTPUT_H

#include "chunk.h"
#include "io.h"

struct chunk_list {
    struct chunk *first, *last;
};

enum output_part { OUTPUT_WHOLE, OUTPUT_DIRECTORY }; /* of a chunk that is written */
enum output_op { OUTPUT_IDLE, OUTPUT_WRITING, OUTPUT_SYNCING };

struct output {
    void *owner; /* for who gets the results */
    int file;    /* -1: none */
    enum output_part part;
    enum output_op op;
    bool direct;       /* writes stay aligned to CHUNK_ALIGN */
    uint64_t begun_ns; /* what is under way */
    uint64_t offset;   /* bytes that are written */
    bool unsynced;     /* some of them since the last sync, */
    uint64_t synced_ns; /* which began then */
    struct chunk_list list;
    unsigned n_batch;                /* chunks in the write under way, the first of the list */
    uint32_t batch_size, batch_done; /* bytes */
    unsigned stalls;                 /* writes in a row that brought nothing */
};

static inline void chunk_list_push(struct chunk_list *list, struct chunk *chunk)
{
    chunk->next = NULL;
    if (list->first)
        list->last->next = chunk;
    else
        list->first = chunk;
    list->last = chunk;
}

static inline struct chunk *chunk_list_pop(struct chunk_list *list)
{
    struct chunk *chunk = list->first;

    if (chunk)
        list->first = chunk->next;
    return chunk;
}

void output_init(struct output *output, void *owner, enum output_part part);
/* From now on chunks go to this file, from `offset` on. */
void output_begin(struct output *output, int file, bool direct, uint64_t offset);
void output_push(struct output *output, struct chunk *chunk);
bool output_is_idle(const struct output *output); /* nothing pushed, nothing under way */

/* Starts a write if there is something to write and none is under way. -> started? */
bool output_start(struct output *output, struct io *io);
/* Syncs a file (its own, or its folder). -> started? */
bool output_sync(struct output *output, struct io *io, int file);
/* A result has come. -> 0: the write or sync is done, or goes on; -errno: it failed, and whole
 * chunks that made it are counted as written. */
int output_result(struct output *output, struct io *io, int result);
/* The chunks that are written, one after the other; null: no more. */
struct chunk *output_pop(struct output *output);
/* The chunks that are not, when nothing is under way. */
struct chunk *output_drop(struct output *output);

#endif
