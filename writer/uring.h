/* uring.h - the real disk: io.h over io_uring.
 *
 * The door to liburing. Writes of one chunk use registered memory; several chunks go out as one
 * vectored write. Thread and life: see io.h. */
#ifndef WRITER_URING_H
#define WRITER_URING_H

#include "io.h"

/* n_requests: under way at once. -> 0 or -errno (-ENOSYS, -EPERM: this kernel lets no one use
 * io_uring). */
int uring_create(unsigned n_requests, struct io **ret_io);
void uring_free(struct io *io);

#endif
