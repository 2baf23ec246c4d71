/* io_fake.h - a disk in memory for the writer (io.h), that misbehaves by a seed.
 *
 * Writes take a while and end in any order; they are cut short, or fail, as often as asked for. The
 * bytes of a write are in the file when its result is there, not before; a crash leaves any part of
 * those under way. What O_DIRECT asks for is checked. One thread. */
#ifndef TESTS_IO_FAKE_H
#define TESTS_IO_FAKE_H

#include "../writer/io.h"

struct io_fake_config {
    uint64_t seed;
    unsigned short_of_1000; /* writes that are cut short */
    unsigned fail_of_1000;  /* writes and syncs that fail with EIO */
    unsigned names_of_1000; /* opens, renames, truncates that fail */
    unsigned delay_max;     /* turns that a write may take */
    uint64_t space; /* bytes; a write beyond fails with ENOSPC, in part or whole. 0: enough */
    bool no_direct; /* direct writes are refused with EINVAL until undirect() */
};

int io_fake_create(const struct io_fake_config *config, struct io **ret_io);
void io_fake_free(struct io *io);
/* The process ends: what is under way is written in part or not at all. What is asked for later
 * fails. */
void io_fake_crash(struct io *io);
/* Power fails: and of each file only what was synced is left. Names stay. */
void io_fake_power_fails(struct io *io);
/* Puts all files below `prefix` into a folder of the real disk, which is made. */
void io_fake_dump(struct io *io, const char *prefix, const char *folder);
unsigned io_fake_failures(const struct io *io); /* how many were made */

#endif
