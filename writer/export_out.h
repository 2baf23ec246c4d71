/* export_out.h - the file or pipe that an export goes to: a thread writes while the next is merged.
 *
 *      put() --fills--> buffer | buffer --thread--> write()
 *
 * Memory: two buffers. Thread: one user; the second thread is its own. */
#ifndef WRITER_EXPORT_OUT_H
#define WRITER_EXPORT_OUT_H

#include <stdint.h>

struct export_out;

/* -> 0 or -errno. The descriptor stays the caller's. */
int export_out_open(int file, struct export_out **ret_out);
/* -> 0, or -errno of a write before: then nothing more is taken. */
int export_out_put(struct export_out *out, const void *bytes, uint64_t size);
/* Writes the rest, ends the thread, and frees it. -> 0, or -errno of any write; out may be null. */
int export_out_close(struct export_out *out, uint64_t *ret_written);

#endif
