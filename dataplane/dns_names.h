/* dns_names.h - names of addresses, learned from DNS answers that pass by (names.learn_dns).
 *
 *     classifier --dns_names_learn()--> slots, by address <--dns_names_find()-- any classifier
 *                        |
 *                 texts, one arena a classifier
 *
 * An address of an answer (A, AAAA; RFC 1035, 3596) gets the name that was asked for, however many
 * CNAMEs lie between, from the answer's time until the smallest of their TTLs is over. Of several
 * answers the last one counts. Answers are those from ports 53, 5353 (mDNS; RFC 6762: the
 * name is the record's own) and 5355 (LLMNR), over UDP, and over TCP as far as they are in the
 * segment that they begin; nothing has to be dissected for it, so streams that no job wants stay
 * cheap.
 *
 * Everything is bounded and taken at the start. When the slots of an address's set are taken, the
 * one that ends first goes; a text stays for good, because streams hold on to it: when the arena
 * is full, new names are not learned any more (counted).
 *
 * Threads: learn() by one thread a writer, find() by any, without locks: a slot is written by who
 * makes its sequence odd, and a reader that sees it change looks again. */
#ifndef DATAPLANE_DNS_NAMES_H
#define DATAPLANE_DNS_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

struct dns_names;

int dns_names_create(unsigned n_writers, struct dns_names **ret_names);
void dns_names_free(struct dns_names *names);

/* Looks at one packet, decoded, which may be anything. `writer` < n_writers. */
void dns_names_learn(struct dns_names *names, unsigned writer, const struct packet *packet);

/* Which name did the address have at ts_ns? False: unknown, result untouched. */
bool dns_names_find(const struct dns_names *names, const uint8_t addr[16], uint64_t ts_ns,
                    const char **ret_name);

struct dns_names_counts {
    uint64_t learned; /* addresses, each time */
    uint64_t no_room; /* names that the arena had no room for */
};
struct dns_names_counts dns_names_counts(const struct dns_names *names); /* any thread */

#endif
