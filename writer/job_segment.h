/* job_segment.h - the open and the closing segment of a job (writer_job.h has the states).
 *
 * Thread: the writer's. */
#ifndef WRITER_JOB_SEGMENT_H
#define WRITER_JOB_SEGMENT_H

#include "writer_job.h"

/* An open segment with room for this chunk, whose interfaces are described; null: not yet. */
struct segment *job_segment_ready(struct job *job, const struct chunk *chunk, uint64_t now_ns);
void job_segment_push(struct job *job, struct segment *segment, struct chunk *chunk);
/* No more chunks come to the open segment; statistics follow when all is written. */
void job_segment_close(struct job *job, struct segment *segment);
/* One turn of a segment that is not free. -> work done */
unsigned job_segment_step(struct job *job, struct segment *segment, uint64_t now_ns);
/* Its chunks wait for others to be written with, while memory is not short. */
bool job_segment_gathers(const struct job *job, const struct segment *segment, uint64_t now_ns);
/* A chunk is in the file: it goes on to the index. */
void job_segment_written(struct job *job, struct segment *segment, struct chunk *chunk);
/* An index is a convenience: it can be made again. The job goes on without. */
void job_segment_index_break(struct job *job, struct segment *segment);
void job_segment_files_close(struct job *job, struct segment *segment);

#endif
