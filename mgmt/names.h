/* names.h - which name an address has.
 *
 * From files: lines `IP NAME [NAMESPACE]` (or CIDR; `#` begins a comment), or what
 * `kubectl get pods,services,endpoints,nodes -A -o json` prints. All files together make one
 * immutable table; it is replaced as a whole when a file changes.
 *
 *     files --names_load()--> struct names --names_publish()--> board <--names_lookup()--
 * classifiers
 *     Kubernetes --names_spell_begin(), _end()--> spells -------^
 *                                  |
 *                             texts in the pool
 *
 * The longest prefix wins. For the same prefix lines go before Kubernetes objects and the later
 * one before the earlier; of objects a node goes before a pod, a pod before a service, a service
 * before an endpoint. What a file says of an address goes before what the Kubernetes API says
 * (names_spells.h), and that before what a file says of its network.
 *
 * Texts belong to the pool and stay valid as long as it does, each kept once: a stream holds on to
 * the name of its first packet however often tables come and go. The pool is bounded; what does
 * not fit any more is not known (names_pool_full()).
 *
 * Threads: loading and publishing by one (mgmt); names_lookup() by any, without locks or waiting.
 */
#ifndef MGMT_NAMES_H
#define MGMT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NAMES_ERROR_SIZE = 512, NAMES_TEXT_MAX = 253, NAMES_FILES_MAX = 16 };

struct names_pool;
struct names;
struct dns_names;

int names_pool_create(size_t size_max, struct names_pool **ret_pool); /* bytes of texts */
void names_pool_free(struct names_pool *pool);
bool names_pool_full(const struct names_pool *pool); /* something was left out for want of room */

/* The pool's copy of the text, null without room. Loading thread. */
const char *names_pool_text(struct names_pool *pool, const char *text);
size_t names_pool_size(const struct names_pool *pool); /* bytes used */

/* A table from files. -> 0, or -errno with "FILE:LINE: what and the way out". No files: an empty
 * table. */
int names_load(struct names_pool *pool, const char *const *paths, unsigned n_paths,
               struct names **ret_names, char reterr_text[static NAMES_ERROR_SIZE]);
void names_free(struct names *names);

/* ---- building a table by hand (names_load() does it; so do tests) ---- */
enum names_rank { /* of two rows for the same prefix the higher stays, of equals the later */
                  NAMES_RANK_ENDPOINT,
                  NAMES_RANK_SERVICE,
                  NAMES_RANK_POD,
                  NAMES_RANK_NODE,
                  NAMES_RANK_LINE,
};
struct names *names_create(struct names_pool *pool); /* null: no memory */
/* Null terminated texts of at most NAMES_TEXT_MAX bytes. -> 0, -EINVAL, -ENOMEM, -ENOSPC: pool full
 */
int names_add(struct names *names, const uint8_t addr[static 16], uint8_t prefix,
              enum names_rank rank, const char *name, const char *namespace);

/* addr: network order, IPv4 as ::ffff:a.b.c.d. Unknown: false, results untouched. */
bool names_find(const struct names *names, const uint8_t addr[static 16], const char **ret_name,
                const char **ret_namespace);
/* ... and the prefix that it was found by; 0: none. */
bool names_find_prefix(const struct names *names, const uint8_t addr[static 16],
                       const char **ret_name, const char **ret_namespace, uint8_t *ret_prefix);
size_t names_count(const struct names *names);

struct names_row {
    uint8_t addr[16];
    uint8_t prefix; /* bits of the 16 bytes: 128 for one address, 96 + n for an IPv4 network */
    const char *name, *namespace;
};
/* The rows in no particular order, i < names_count(). */
struct names_row names_row(const struct names *names, size_t i);

/* "10.0.0.7", "fe80::1", with an optional "/24". -> 0 or -EINVAL */
int names_parse_address(const char *text, uint8_t ret_addr[static 16], uint8_t *ret_prefix);
enum { NAMES_ADDRESS_SIZE = 64 };
char *names_format_address(const uint8_t addr[static 16], uint8_t prefix,
                           char buffer[static NAMES_ADDRESS_SIZE]);

/* ---- the table in force ---- */
struct names_board;
struct names_spells;

int names_board_create(struct names_board **ret_board);
void names_board_free(struct names_board *board); /* with the table on it */
/* Takes the table over; the one before is freed as soon as no lookup is in it. */
void names_publish(struct names_board *board, struct names *names);
const struct names *names_published(const struct names_board *board); /* publishing thread */
/* Before the first lookup, made with names_board_wait() and the board; stays the caller's. */
void names_board_set_spells(struct names_board *board, const struct names_spells *spells);
/* What DNS answers say, for addresses that nothing else names; likewise. */
void names_board_set_learned(struct names_board *board, struct dns_names *learned);
struct dns_names *names_board_learned(const struct names_board *board); /* null: none */
/* Until every lookup that had begun is over; context: a board. */
void names_board_wait(void *context);
/* The stream table's struct stream_name_source; context: a board. ts_ns: time of the packet that
 * asks: of spells the one that held then; files know no times. */
bool names_lookup(void *context, const uint8_t addr[16], uint64_t ts_ns, const char **ret_name,
                  const char **ret_namespace);

#endif
