/* ensure.h - what must hold.
 *
 * ensure() states an invariant of our own code. It is never compiled out: a recorder that goes on
 * with a broken invariant writes wrong files. It is not for input: bytes from the wire, a file, the
 * socket or the configuration are refused with a message or a counter instead.
 *
 * Any thread. */
#ifndef KFL_ENSURE_H
#define KFL_ENSURE_H

#include <stdio.h>
#include <stdlib.h>

#define ensure(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            ensure_failed(#condition, __FILE__, __LINE__);                                         \
    } while (0)

__attribute__((noreturn, cold, unused)) static void
ensure_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
    abort();
}

#endif
