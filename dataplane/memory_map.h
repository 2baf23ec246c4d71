/* memory_map.h - large pieces of memory, in huge pages where there are any.
 *
 * Any thread. Sizes are bytes, what is mapped is a multiple of 2 MiB. */
#ifndef DATAPLANE_MEMORY_MAP_H
#define DATAPLANE_MEMORY_MAP_H

#include <stddef.h>

/* Reserved huge pages, else ordinary ones, which the kernel makes huge where it may. Zero. Null:
 * there is none. */
void *memory_map(size_t size);
/* For what may never be used: nothing is taken until it is touched, and no reserved huge pages. */
void *memory_map_sparse(size_t size);
/* Takes all of a mapping from the system now, not page by page as it is touched. -> 0 or -ENOMEM */
int memory_take(void *memory, size_t size);
void memory_unmap(void *memory, size_t size);

#endif
