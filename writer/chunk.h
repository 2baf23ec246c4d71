/* chunk.h - whole PCAPNG blocks of one job on their way to disk.
 *
 * A classifier fills a chunk per job with finished blocks (copied from the lookback or made from a
 * packet), closes it with a padding block (a local block type, readers skip it) to a multiple of
 * 4 KiB, and gives it to the writer. The padding block's body is the chunk's directory: which
 * streams are in it and where their packets lie, so the segment's index is made without decoding
 * packets again. A chunk of kind CHUNK_ENTRIES holds matched entries instead, as lines of JSON.
 *
 *      [packet block]...[packet block][names block, if any][padding block: directory]
 *                                                           |
 *      header, filter, one chunk_stream for each stream, one chunk_run for each run of its
 *      packets, names
 *
 * Who looks for one stream reads header and filter alone: it says of most chunks that the stream
 * is not there.
 *
 * Ownership: the pool, a classifier, the ring, the writer, the kernel: one at a time. Each
 * classifier has two rings of its own with the writer, free chunks and full ones, so both ends of
 * each stay single. Memory: one mapping, registered with io_uring. Source:
 * draft-ietf-opsawg-pcapng. */
#ifndef WRITER_CHUNK_H
#define WRITER_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/interface.h"
#include "../dataplane/ring.h"
#include "../dataplane/stream.h"

enum { CHUNK_ALIGN = 4096, CHUNK_SIZE_DEFAULT = 256 << 10, CHUNK_SIZE_MIN = 64 << 10 };
enum { CHUNK_INTERFACE_MAX = 64 }; /* distinct interfaces in one chunk */

enum chunk_kind { CHUNK_PACKETS, CHUNK_ENTRIES };

/* Packets of one interface in a chunk, for the statistics block of the segment. */
struct chunk_interface {
    uint32_t packets;
    uint16_t number;
};

struct chunk {
    struct chunk *next; /* for who owns it */
    uint8_t *data;      /* aligned to CHUNK_ALIGN */
    uint32_t size;      /* capacity */
    uint32_t used;
    uint16_t number;            /* in the pool; also the registered buffer's index */
    uint16_t classifier;        /* whose free ring it goes back to */
    uint8_t kind;               /* enum chunk_kind */
    uint8_t slot;               /* of the job in the plan */
    uint32_t run;               /* which use of the slot: a late chunk of a job that is gone */
    uint32_t n_interfaces;      /* interfaces that must be described before it */
    uint32_t n_packets;         /* of CHUNK_ENTRIES: entries */
    uint64_t packet_bytes;      /* original lengths */
    uint64_t first_ns, last_ns; /* packet times */
    uint64_t opened_ns;         /* when the first turn saw it, for flush_ms; 0: not yet */
    uint32_t directory;         /* offset of the padding block's body ... */
    uint32_t directory_size;    /* ... and its bytes, without the zeros behind it */
    uint32_t n_counts;
    struct chunk_interface counts[CHUNK_INTERFACE_MAX];
};

/* ---- the directory, in the byte order of the machine ---- */
#define CHUNK_DIRECTORY_MAGIC UINT64_C(0x32524944454b4154) /* "TAKEDIR2" */

struct chunk_directory {
    uint64_t magic;
    uint64_t offset; /* of the chunk in its segment: filled in by the writer */
    uint32_t size;   /* of the chunk */
    uint32_t n_streams;
    uint32_t n_runs;
    uint32_t text_size; /* bytes of names behind the runs, each ended by 0 */
    uint64_t first_ns, last_ns;
};
_Static_assert(sizeof(struct chunk_directory) == 48, "written to disk");

struct chunk_stream {
    struct stream_key key;
    uint64_t number;
    uint64_t first_ns, last_ns; /* of its packets in this chunk */
    uint64_t bytes;             /* original lengths */
    uint32_t packets;
    uint32_t head_missing; /* with its first packets: how many were overwritten before */
    uint16_t name[2];      /* of client and server: offset into the text + 1; 0 without */
    uint8_t client;        /* which end of the key is the client */
    uint8_t l4;            /* enum kfl_l4 */
    uint8_t pad_[2];
};
_Static_assert(sizeof(struct chunk_stream) == 88, "written to disk");

struct chunk_run {
    uint32_t offset;  /* of its first block in the chunk */
    uint16_t stream;  /* in the directory */
    uint16_t packets; /* blocks one behind the other */
};
_Static_assert(sizeof(struct chunk_run) == 8, "written to disk");

/* ---- what a job is to a classifier ---- */
/* Set by mgmt (writer_attach) while no plan in force names the slot; read by classifiers from the
 * plan that names it until the one that does not. */
struct chunk_slot {
    uint32_t run;     /* grows with each use of the slot; 0: never used */
    uint32_t snaplen; /* 0: whole packets */
    uint64_t cutoff;  /* bytes of each stream that are kept; 0: all */
    bool no_entries;  /* packets alone */
    const char *name; /* of the job */
    const char *statement;
};

/* What one classifier counts for one slot and run: it writes, anyone reads. */
struct chunk_counters {
    _Alignas(64) _Atomic uint64_t packets; /* put into chunks */
    _Atomic uint64_t bytes;                /* their original lengths */
    _Atomic uint64_t streams;
    _Atomic uint64_t entries;
    _Atomic uint64_t head_missing;
    _Atomic uint64_t cut;           /* packets left out by cutoff */
    _Atomic uint64_t drop_no_chunk; /* packets lost: the disk is too slow, or larger than a chunk */
    _Atomic uint64_t entries_lost;
    _Atomic uint32_t lost[INTERFACE_MAX]; /* drop_no_chunk, by interface */
};

/* One pool for all. */
struct chunk_pool;

/* The writer itself takes chunks, too (headers, interfaces, statistics): its number is
 * n_classifiers, its share n_writer chunks. */
int chunk_pool_create(unsigned n_classifiers, unsigned n_chunks_each, unsigned n_writer,
                      uint32_t chunk_size, struct chunk_pool **ret_pool);
void chunk_pool_free(struct chunk_pool *pool);

/* A classifier's side, by its number. */
struct chunk *chunk_take(struct chunk_pool *pool, unsigned classifier); /* null: none free */
void chunk_submit(struct chunk_pool *pool, struct chunk *chunk); /* never full; used 0: unused */
/* The writer's side. */
struct chunk *chunk_next(struct chunk_pool *pool, unsigned classifier); /* null: none full */
/* Sleeps until some classifier has so many full chunks in its ring, at most this long. */
void chunk_wait(struct chunk_pool *pool, unsigned n, uint64_t timeout_ns);
void chunk_give(struct chunk_pool *pool, struct chunk *chunk);

struct chunk_slot *chunk_slot(struct chunk_pool *pool, unsigned slot);
struct chunk_counters *chunk_counters(struct chunk_pool *pool, unsigned classifier, unsigned slot);
unsigned chunk_classifiers(const struct chunk_pool *pool);
uint32_t chunk_size(const struct chunk_pool *pool);
/* Any thread: chunks that wait for the writer, or lie with it. */
unsigned chunk_busy(struct chunk_pool *pool);
/* A classifier's side: chunks it can take, of how many. */
unsigned chunk_free(struct chunk_pool *pool, unsigned classifier, unsigned *ret_n);
/* Closes what is in `data` up to `used` with the padding block that holds the directory. There must
 * be room: chunk_closing_size(). `directory` is complete but for magic, size and offset. */
void chunk_close(struct chunk *chunk, const struct chunk_directory *directory,
                 const struct chunk_stream *streams, const struct chunk_run *runs,
                 const char *text);
/* A Bloom filter of the streams' numbers, 16 bits for each: wrong once in some 400 times. */
static inline uint64_t chunk_filter_size(uint64_t n_streams)
{
    return (2 * n_streams + 7) & ~UINT64_C(7);
}
void chunk_filter_make(uint8_t *filter, const struct chunk_stream *streams, uint32_t n_streams);
bool chunk_filter_may_have(const uint8_t *filter, uint32_t n_streams, uint64_t number);
static inline uint64_t chunk_directory_size(uint64_t n_streams, uint64_t n_runs, uint64_t text_size)
{
    return sizeof(struct chunk_directory) + chunk_filter_size(n_streams) +
           n_streams * sizeof(struct chunk_stream) + n_runs * sizeof(struct chunk_run) +
           ((text_size + 7) & ~UINT64_C(7));
}

struct chunk *chunk_at(const struct chunk_pool *pool, unsigned number);
/* The mapping, to be registered. */
void *chunk_memory(const struct chunk_pool *pool, uint64_t *ret_size);

#endif
