/* chunk_recorder.h - the recorder of the live path: a chunk for each job that has something.
 *
 * Implements dataplane/recorder.h for one classifier. reserve() gives room in the job's open chunk;
 * when it is full the chunk is closed with its directory and handed to the writer. commit() does
 * what the job asks for: snap length, cutoff, the comment on the packet that made the match.
 * Entries that matched are written as lines of JSON into a chunk of their own. Nothing blocks:
 * without a free chunk the packet is lost to this job and counted (drop_no_chunk).
 *
 * A slot's job is what writer_attach() said it is (chunk.h, struct chunk_slot).
 *
 * Thread: created and freed by mgmt; all else by its classifier. */
#ifndef WRITER_CHUNK_RECORDER_H
#define WRITER_CHUNK_RECORDER_H

#include "../dataplane/recorder.h"
#include "chunk.h"

struct writer;

/* flush_ns: a chunk that is not full is handed on when its first block is this old. */
int chunk_recorder_create(struct chunk_pool *pool, unsigned classifier, uint64_t flush_ns,
                          struct recorder **ret_recorder);
void chunk_recorder_free(struct recorder *recorder);

#endif
