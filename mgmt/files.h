/* files.h - whole small files: read with a bound, replaced so that no reader ever sees half a one.
 *
 * Any thread. -errno on failure. */
#ifndef MGMT_FILES_H
#define MGMT_FILES_H

#include <stddef.h>
#include <stdint.h>

/* malloc'ed with a terminator behind it; -EFBIG above size_max. */
int file_read(const char *path, size_t size_max, char **ret_text, size_t *ret_size);
/* Writes PATH.new, fsync, rename to PATH, fsync of the folder. */
int file_replace(const char *path, const void *bytes, size_t size, unsigned mode);
/* A folder and those above it. */
int folder_make(const char *path, unsigned mode);
/* What lies in the folder, then the folder itself; follows no links, at most depth 8. */
int folder_remove(const char *path);
int folder_sync(const char *path);

#endif
