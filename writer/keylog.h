/* keylog.h - a TLS key log file (SSLKEYLOGFILE lines), followed as it grows.
 *
 * Lines that are whole and look like keys are kept, the newest KEYLOG_SIZE bytes of them (of a file
 * that is longer no more is read); each segment gets them as decryption secrets blocks before the packets that come after them. The file
 * need not be there yet, and may be begun anew. Positions count bytes kept since the start and
 * only grow.
 *
 * Thread: the writer's. */
#ifndef WRITER_KEYLOG_H
#define WRITER_KEYLOG_H

#include <stdint.h>

enum { KEYLOG_SIZE = 4 << 20 };

struct keylog;

struct keylog *keylog_create(const char *path); /* null: no memory */
void keylog_free(struct keylog *keylog);
/* Looks for new lines, once in a turn. -> the position behind the last. */
uint64_t keylog_step(struct keylog *keylog, uint64_t now_ns);
/* Whole lines from this position on, `size` bytes at most. -> how many bytes, *from moves to the
 * oldest that is kept if it lies before. Valid until the next step. */
uint32_t keylog_lines(const struct keylog *keylog, uint64_t *from, uint32_t size,
                      const char **ret_lines);

#endif
