/* numbers.h - the numbers of streams: one never comes again in a store.
 *
 * STORE/streams has the first number that is free after the next start. While streams come it stays
 * ahead of them by up to NUMBERS_AHEAD, so that it holds also after a kill -9: then numbers are
 * left out, none is given twice. Where the file is missing (a store of an older version) the
 * indexes of all recordings are looked through once.
 *
 * So a number names one stream in all recordings, whatever was restarted in between.
 *
 * Thread: mgmt. */
#ifndef MGMT_NUMBERS_H
#define MGMT_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

enum { NUMBERS_AHEAD = 1 << 20 };

struct numbers;

/* -> 0 or -errno with the message. */
int numbers_open(const char *store, struct numbers **ret_numbers, char *reterr_text, size_t size);
uint64_t numbers_first(const struct numbers *numbers); /* that this process gives */
/* Called now and then; next: no stream has this number yet, nor a greater one. */
void numbers_step(struct numbers *numbers, uint64_t next);
/* The end: none is left out. next 0: there were no streams. Null is fine. */
void numbers_close(struct numbers *numbers, uint64_t next);

#endif
