#include "chunk_recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/ensure.h"
#include "cutoff.h"
#include "entry_summary.h"
#include "packet_edit.h"

enum {
    NAME_SIZE_MAX = 255,
    NAME_MAX = 1024, /* distinct names in one chunk; further ones are left out */
    NAME_TABLE = 4 * NAME_MAX,
    TEXT_SIZE_MAX = 32 << 10,
    COMMENT_SIZE_MAX = 512,
    PENDING_MAX = 64,      /* streams that have matched and whose packets are on the way */
    CUTOFF_MAX = 64 << 10, /* streams followed for a cutoff */
    ARENA_SIZE = 16 << 20,
    /* What one more packet can need besides its block: a stream with two names, a run, a comment.
     */
    PACKET_SLACK = sizeof(struct chunk_stream) + 2 + sizeof(struct chunk_run) + COMMENT_SIZE_MAX +
                   8 + 2 * (NAME_SIZE_MAX + 1) + 2 * (24 + NAME_SIZE_MAX + 1) + CHUNK_ALIGN / 8,
};

/* A stream that has just matched. */
struct pending {
    uint64_t stream;
    uint64_t ts_ns; /* of the packet that made the match; 0: it has its comment */
    uint32_t head_missing;
    uint32_t comment_size; /* 0: free */
    char comment[COMMENT_SIZE_MAX];
};

struct name {
    uint8_t addr[16];
    uint16_t text; /* offset */
};

/* What a classifier holds for one job. */
struct lane {
    struct chunk *packets, *entries;
    uint32_t reserved;   /* bytes of the block that is being written */
    uint32_t names_size; /* bytes of the names block, at most */
    unsigned n_names;
    unsigned n_pending, next_pending;
    struct chunk_directory directory;
    struct chunk_stream *streams;
    struct chunk_run *runs;
    uint16_t *stream_table; /* hash of the number -> index + 1 */
    uint16_t *name_table;   /* hash of the address -> index + 1 */
    struct name *names;
    char *text;
    struct pending *pending;
};

struct chunk_recorder {
    struct recorder base;
    struct chunk_pool *pool;
    unsigned classifier;
    uint64_t flush_ns;
    uint64_t held; /* slots with an open chunk */
    uint32_t streams_max, runs_max, table_mask;
    struct lane lane[KFL_SLOT_MAX];
    struct cutoff *cutoff;
    struct kfl_arena *arena;
    char *line;           /* an entry as JSON */
    uint64_t line_stream; /* whose last entry this is a summary of: */
    char summary[COMMENT_SIZE_MAX];
    struct pcapng_name block_names[NAME_MAX];
};

static int lane_init(struct chunk_recorder *r, struct lane *lane);
static void lane_done(struct lane *lane);
static bool lane_has_room(const struct chunk_recorder *r, const struct lane *lane, uint32_t size);
static bool lane_open(struct chunk_recorder *r, unsigned slot);
static void lane_close(struct chunk_recorder *r, unsigned slot);
static void entries_close(struct chunk_recorder *r, unsigned slot);
static struct chunk_stream *lane_stream(struct chunk_recorder *r, struct lane *lane,
                                        const struct stream *stream);
static void lane_run(struct lane *lane, uint16_t stream, uint32_t offset);
static void lane_interface(struct lane *lane, uint16_t interface);
static uint16_t lane_name(struct lane *lane, const uint8_t addr[static 16], const char *text);
static int entry_line(struct chunk_recorder *r, const struct kfl_entry *entry, int slot);
static void entry_store(struct chunk_recorder *r, uint64_t slots, const struct stream *stream,
                        int size);
static void entry_pending(struct chunk_recorder *r, unsigned slot, const struct stream *stream);
static struct pending *pending_new(struct chunk_recorder *r, unsigned slot,
                                   const struct stream *stream, uint64_t ts_ns,
                                   const char *summary);
static void pending_comment(struct pending *pending, const struct chunk_slot *job,
                            const char *summary);
static struct pending *pending_of(struct lane *lane, uint64_t stream);
static void pending_forget(struct lane *lane, struct pending *pending);
static void count(_Atomic uint64_t *counter, uint64_t n);

static uint8_t *op_reserve(struct recorder *recorder, unsigned slot, uint32_t size,
                           uint16_t interface)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;
    struct lane *lane = &r->lane[slot];

    if (lane->packets && !lane_has_room(r, lane, size))
        lane_close(r, slot);
    if ((!lane->packets && !lane_open(r, slot)) || !lane_has_room(r, lane, size)) {
        struct chunk_counters *counters = chunk_counters(r->pool, r->classifier, slot);
        _Atomic uint32_t *lost = &counters->lost[interface];

        count(&counters->drop_no_chunk, 1);
        atomic_store_explicit(lost, atomic_load_explicit(lost, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        return NULL;
    }
    lane->reserved = size;
    return lane->packets->data + lane->packets->used;
}

static void op_commit(struct recorder *recorder, unsigned slot, const struct stream *stream,
                      uint64_t ts_ns, uint32_t origlen, uint16_t interface)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;
    struct lane *lane = &r->lane[slot];
    struct chunk *chunk = lane->packets;
    const struct chunk_slot *job = chunk_slot(r->pool, slot);
    struct chunk_counters *counters = chunk_counters(r->pool, r->classifier, slot);
    uint8_t *block = chunk->data + chunk->used;
    uint64_t *so_far = job->cutoff ? cutoff_of(r->cutoff, stream->number, slot) : NULL;
    uint32_t size = lane->reserved;
    struct chunk_stream *row;
    struct pending *pending;

    ensure(size);
    lane->reserved = 0;
    if (so_far) {
        if (*so_far >= job->cutoff) {
            count(&counters->cut, 1);
            return;
        }
        *so_far += origlen;
    }
    if (job->snaplen)
        size = packet_edit_cut(block, size, job->snaplen);
    row = lane_stream(r, lane, stream);
    pending = lane->n_pending ? pending_of(lane, stream->number) : NULL;
    if (pending) {
        row->head_missing += pending->head_missing;
        pending->head_missing = 0;
        if (pending->ts_ns == ts_ns) {
            size = packet_edit_comment(block, size, pending->comment, pending->comment_size);
            pending_forget(lane, pending);
        }
    }
    row->packets++;
    row->bytes += origlen;
    row->first_ns = ts_ns < row->first_ns ? ts_ns : row->first_ns;
    row->last_ns = ts_ns > row->last_ns ? ts_ns : row->last_ns;
    lane_run(lane, (uint16_t)(row - lane->streams), chunk->used);
    lane_interface(lane, interface);
    chunk->first_ns = ts_ns < chunk->first_ns ? ts_ns : chunk->first_ns;
    chunk->last_ns = ts_ns > chunk->last_ns ? ts_ns : chunk->last_ns;
    chunk->used += size;
    chunk->n_packets++;
    chunk->packet_bytes += origlen;
    count(&counters->packets, 1);
    count(&counters->bytes, origlen);
}

/* The stream's past has been found, its packets follow. This may be some turns after the match. */
static void op_matched(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                       uint32_t missing, uint64_t ts_ns)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;

    for (; slots; slots &= slots - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(slots);
        struct chunk_counters *counters = chunk_counters(r->pool, r->classifier, slot);
        struct pending *pending = pending_of(&r->lane[slot], stream->number);

        count(&counters->streams, 1);
        count(&counters->head_missing, missing);
        if (!pending)
            pending = pending_new(r, slot, stream, ts_ns, "");
        pending->head_missing = missing;
    }
}

static void op_entry(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     const struct kfl_entry *entry)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;
    uint64_t hiding;

    for (uint64_t left = slots; left; left &= left - 1)
        if (chunk_slot(r->pool, (unsigned)__builtin_ctzll(left))->no_entries)
            slots &= ~(left & -left);
    hiding = recorder->plan ? slots & kfl_plan_redacts(recorder->plan) : 0;

    if (slots & ~hiding)
        entry_store(r, slots & ~hiding, stream, entry_line(r, entry, -1));
    for (; hiding; hiding &= hiding - 1)
        entry_store(r, hiding & -hiding, stream, entry_line(r, entry, __builtin_ctzll(hiding)));
}

/* The entry as a line and in short, without what the statement of a slot (-1: none) hides.
 * -> bytes of the line, or -ENOSPC; then there is no summary either. */
static int entry_line(struct chunk_recorder *r, const struct kfl_entry *entry, int slot)
{
    struct kfl_value *value;

    r->summary[0] = 0;
    kfl_arena_reset(r->arena);
    value = kfl_entry_value(r->arena, entry);
    if (!value || (slot >= 0 && !kfl_plan_redact(r->base.plan, (unsigned)slot, value, r->arena)))
        return -ENOSPC;
    entry_summary(value, r->summary, sizeof(r->summary));
    return kfl_json_print(value, r->line, chunk_size(r->pool) - 1);
}

static void entry_store(struct chunk_recorder *r, uint64_t slots, const struct stream *stream,
                        int size)
{
    for (; slots; slots &= slots - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(slots);
        struct lane *lane = &r->lane[slot];
        struct chunk_counters *counters = chunk_counters(r->pool, r->classifier, slot);
        struct chunk *chunk;

        if (r->summary[0])
            entry_pending(r, slot, stream);
        if (lane->entries && size >= 0 &&
            lane->entries->used + (uint32_t)size + 1 > lane->entries->size)
            entries_close(r, slot);
        if (!lane->entries && size >= 0)
            lane->entries = chunk_take(r->pool, r->classifier);
        chunk = lane->entries;
        if (size < 0 || !chunk) {
            count(&counters->entries_lost, 1);
            continue;
        }
        if (!chunk->used) {
            chunk->kind = CHUNK_ENTRIES;
            chunk->slot = (uint8_t)slot;
            chunk->run = chunk_slot(r->pool, slot)->run;
            r->held |= UINT64_C(1) << slot;
        }
        memcpy(chunk->data + chunk->used, r->line, (size_t)size);
        chunk->used += (uint32_t)size;
        chunk->data[chunk->used++] = '\n';
        chunk->n_packets++;
        count(&counters->entries, 1);
    }
}

static void op_ended(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     const struct kfl_stream *view)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;

    for (; slots; slots &= slots - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(slots);
        struct lane *lane = &r->lane[slot];
        struct pending *pending = lane->n_pending ? pending_of(lane, stream->number) : NULL;

        if (pending)
            pending_forget(lane, pending);
        if (chunk_slot(r->pool, slot)->cutoff)
            cutoff_forget(r->cutoff, stream->number, slot);
    }
}

static void op_released(struct recorder *recorder, uint64_t slots, uint64_t now_ns)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;

    for (; slots; slots &= slots - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(slots);
        struct lane *lane = &r->lane[slot];

        lane_close(r, slot);
        entries_close(r, slot);
        for (unsigned i = 0; i < PENDING_MAX; i++)
            lane->pending[i].comment_size = 0;
        lane->n_pending = 0;
    }
}

static void op_flush(struct recorder *recorder, uint64_t now_ns, bool all)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;

    for (uint64_t slots = r->held; slots; slots &= slots - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(slots);
        struct lane *lane = &r->lane[slot];

        /* Age counts from the first turn that sees it: reserve() is told no time. */
        if (lane->packets && !lane->packets->opened_ns)
            lane->packets->opened_ns = now_ns;
        if (lane->entries && !lane->entries->opened_ns)
            lane->entries->opened_ns = now_ns;
        if (lane->packets && (all || now_ns - lane->packets->opened_ns >= r->flush_ns))
            lane_close(r, slot);
        if (lane->entries && (all || now_ns - lane->entries->opened_ns >= r->flush_ns))
            entries_close(r, slot);
    }
}

/* Half of its chunks are free, or none is on its way back. */
static bool op_ready(const struct recorder *recorder)
{
    const struct chunk_recorder *r = (const struct chunk_recorder *)recorder;
    unsigned n, n_mine = chunk_free(r->pool, r->classifier, &n);

    if (n_mine >= n / 2)
        return true;
    for (uint64_t slots = r->held; slots; slots &= slots - 1) {
        const struct lane *lane = &r->lane[__builtin_ctzll(slots)];

        n_mine += (lane->packets != NULL) + (lane->entries != NULL);
    }
    return n_mine == n;
}

static const struct recorder_ops ops = {
    .reserve = op_reserve,
    .commit = op_commit,
    .entry = op_entry,
    .matched = op_matched,
    .ended = op_ended,
    .released = op_released,
    .flush = op_flush,
    .ready = op_ready,
};

int chunk_recorder_create(struct chunk_pool *pool, unsigned classifier, uint64_t flush_ns,
                          struct recorder **ret_recorder)
{
    struct chunk_recorder *r = calloc(1, sizeof(*r));
    int error = -ENOMEM;

    if (!r)
        return -ENOMEM;
    r->base.ops = &ops;
    r->base.wants_packets = true;
    r->pool = pool;
    r->classifier = classifier;
    r->flush_ns = flush_ns;
    r->streams_max = chunk_size(pool) / 256 < 32768 ? chunk_size(pool) / 256 : 32768;
    r->runs_max = chunk_size(pool) / 64;
    for (r->table_mask = 1; r->table_mask < 2 * r->streams_max;)
        r->table_mask *= 2;
    r->table_mask--;
    r->cutoff = cutoff_create(CUTOFF_MAX);
    r->arena = kfl_arena_create(ARENA_SIZE);
    r->line = malloc(chunk_size(pool));
    error = r->cutoff && r->arena && r->line ? 0 : -ENOMEM;
    for (unsigned i = 0; !error && i < KFL_SLOT_MAX; i++)
        error = lane_init(r, &r->lane[i]);
    if (error) {
        chunk_recorder_free(&r->base);
        return error;
    }
    *ret_recorder = &r->base;
    return 0;
}

void chunk_recorder_free(struct recorder *recorder)
{
    struct chunk_recorder *r = (struct chunk_recorder *)recorder;

    if (!r)
        return;
    for (unsigned i = 0; i < KFL_SLOT_MAX; i++)
        lane_done(&r->lane[i]);
    free(r->line);
    kfl_arena_free(r->arena);
    cutoff_free(r->cutoff);
    free(r);
}

static int lane_init(struct chunk_recorder *r, struct lane *lane)
{
    lane->streams = calloc(r->streams_max, sizeof(*lane->streams));
    lane->runs = calloc(r->runs_max, sizeof(*lane->runs));
    lane->stream_table = calloc(r->table_mask + 1, sizeof(*lane->stream_table));
    lane->name_table = calloc(NAME_TABLE, sizeof(*lane->name_table));
    lane->names = calloc(NAME_MAX, sizeof(*lane->names));
    lane->text = calloc(1, TEXT_SIZE_MAX);
    lane->pending = calloc(PENDING_MAX, sizeof(*lane->pending));
    return lane->streams && lane->runs && lane->stream_table && lane->name_table && lane->names &&
                   lane->text && lane->pending
               ? 0
               : -ENOMEM;
}

static void lane_done(struct lane *lane)
{
    free(lane->streams);
    free(lane->runs);
    free(lane->stream_table);
    free(lane->name_table);
    free(lane->names);
    free(lane->text);
    free(lane->pending);
}

static uint32_t closing_size(const struct lane *lane)
{
    const struct chunk_directory *d = &lane->directory;

    return lane->names_size + PCAPNG_PADDING_MIN +
           (uint32_t)chunk_directory_size(d->n_streams, d->n_runs, d->text_size);
}

/* Is there room for a block of this size, with all that it may bring along? */
static bool lane_has_room(const struct chunk_recorder *r, const struct lane *lane, uint32_t size)
{
    const struct chunk *chunk = lane->packets;

    return (uint64_t)chunk->used + size + PACKET_SLACK + closing_size(lane) <= chunk->size &&
           lane->directory.n_streams < r->streams_max && lane->directory.n_runs < r->runs_max &&
           chunk->n_counts < CHUNK_INTERFACE_MAX;
}

static bool lane_open(struct chunk_recorder *r, unsigned slot)
{
    struct lane *lane = &r->lane[slot];
    struct chunk *chunk = chunk_take(r->pool, r->classifier);

    if (!chunk)
        return false;
    chunk->kind = CHUNK_PACKETS;
    chunk->slot = (uint8_t)slot;
    chunk->run = chunk_slot(r->pool, slot)->run;
    memset(lane->stream_table, 0, (r->table_mask + 1) * sizeof(*lane->stream_table));
    if (lane->n_names)
        memset(lane->name_table, 0, NAME_TABLE * sizeof(*lane->name_table));
    memset(&lane->directory, 0, sizeof(lane->directory));
    lane->n_names = 0;
    lane->names_size = 0;
    lane->packets = chunk;
    r->held |= UINT64_C(1) << slot;
    return true;
}

static void held_update(struct chunk_recorder *r, unsigned slot)
{
    if (!r->lane[slot].packets && !r->lane[slot].entries)
        r->held &= ~(UINT64_C(1) << slot);
}

static void lane_close(struct chunk_recorder *r, unsigned slot)
{
    struct lane *lane = &r->lane[slot];
    struct chunk *chunk = lane->packets;

    if (!chunk)
        return;
    lane->packets = NULL;
    lane->reserved = 0;
    held_update(r, slot);
    if (!chunk->n_packets) { /* all was cut: it goes round empty */
        chunk_submit(r->pool, chunk);
        return;
    }
    if (lane->n_names) {
        for (unsigned i = 0; i < lane->n_names; i++) {
            r->block_names[i].addr = lane->names[i].addr;
            r->block_names[i].name = lane->text + lane->names[i].text;
        }
        chunk->used += pcapng_names_block(chunk->data + chunk->used, r->block_names, lane->n_names);
    }
    chunk_close(chunk, &lane->directory, lane->streams, lane->runs, lane->text);
    chunk_submit(r->pool, chunk);
}

static void entries_close(struct chunk_recorder *r, unsigned slot)
{
    struct chunk *chunk = r->lane[slot].entries;

    if (!chunk)
        return;
    r->lane[slot].entries = NULL;
    held_update(r, slot);
    chunk_submit(r->pool, chunk);
}

/* The row of this stream in the chunk's directory, made when this is its first packet here. */
static struct chunk_stream *lane_stream(struct chunk_recorder *r, struct lane *lane,
                                        const struct stream *stream)
{
    uint32_t at = (uint32_t)(stream->number * UINT64_C(0x9e3779b97f4a7c15) >> 32) & r->table_mask;
    struct chunk_stream *row;

    for (; lane->stream_table[at]; at = (at + 1) & r->table_mask) {
        row = &lane->streams[lane->stream_table[at] - 1];
        if (row->number == stream->number)
            return row;
    }
    row = &lane->streams[lane->directory.n_streams++];
    lane->stream_table[at] = (uint16_t)lane->directory.n_streams;
    *row = (struct chunk_stream){
        .number = stream->number,
        .first_ns = UINT64_MAX,
        .last_ns = 0,
        .bytes = 0,
        .packets = 0,
        .head_missing = 0,
        .name = {0, 0},
        .client = stream->flags & STREAM_CLIENT_IS_1 ? 1 : 0,
        .l4 = stream->l4,
        .pad_ = {0, 0},
    };
    stream_key_get(r->base.streams, stream, &row->key);
    for (unsigned i = 0; i < 2 && stream->flags & STREAM_NAMED; i++)
        row->name[stream_side(stream, i)] =
            lane_name(lane, row->key.addr[i], stream_name(r->base.streams, stream, i));
    return row;
}

/* -> offset of the name in the chunk's text + 1; 0: it has none. */
static uint16_t lane_name(struct lane *lane, const uint8_t addr[static 16], const char *text)
{
    uint64_t halves[2];
    size_t size;
    struct name *name;
    uint32_t at;

    if (!*text)
        return 0;
    size = strnlen(text, NAME_SIZE_MAX);
    memcpy(halves, addr, sizeof(halves));
    at = (uint32_t)((halves[0] ^ halves[1]) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % NAME_TABLE;
    for (; lane->name_table[at]; at = (at + 1) % NAME_TABLE) {
        name = &lane->names[lane->name_table[at] - 1];
        if (!memcmp(name->addr, addr, sizeof(name->addr)) &&
            !strncmp(lane->text + name->text, text, NAME_SIZE_MAX))
            return (uint16_t)(name->text + 1);
    }
    if (lane->n_names == NAME_MAX || lane->directory.text_size + size + 1 > TEXT_SIZE_MAX)
        return 0;
    name = &lane->names[lane->n_names++];
    lane->name_table[at] = (uint16_t)lane->n_names;
    memcpy(name->addr, addr, sizeof(name->addr));
    name->text = (uint16_t)lane->directory.text_size;
    memcpy(lane->text + name->text, text, size);
    lane->text[name->text + size] = 0;
    lane->directory.text_size += (uint32_t)size + 1;
    /* the block's frame with the first name; each: header, address, name, padding */
    lane->names_size += (lane->n_names == 1 ? 16 : 0) + 4 + 16 + (uint32_t)size + 1 + 3;
    return (uint16_t)(name->text + 1);
}

static void lane_run(struct lane *lane, uint16_t stream, uint32_t offset)
{
    struct chunk_directory *d = &lane->directory;
    struct chunk_run *last = d->n_runs ? &lane->runs[d->n_runs - 1] : NULL;

    if (last && last->stream == stream && last->packets < UINT16_MAX) {
        last->packets++;
        return;
    }
    lane->runs[d->n_runs++] = (struct chunk_run){.offset = offset, .stream = stream, .packets = 1};
}

static void lane_interface(struct lane *lane, uint16_t interface)
{
    struct chunk *chunk = lane->packets;
    uint32_t i = 0;

    while (i < chunk->n_counts && chunk->counts[i].number != interface)
        i++;
    if (i == chunk->n_counts) {
        chunk->counts[chunk->n_counts++] = (struct chunk_interface){.number = interface};
        if (interface + 1u > chunk->n_interfaces)
            chunk->n_interfaces = interface + 1u;
    }
    chunk->counts[i].packets++;
}

/* The packet at hand, the newest of its stream, made this entry. If it is the one that made the
 * match, the entry is told in its comment: the stream's past is still on the way, or has been told
 * of just now. */
static void entry_pending(struct chunk_recorder *r, unsigned slot, const struct stream *stream)
{
    struct lane *lane = &r->lane[slot];
    struct pending *pending = lane->n_pending ? pending_of(lane, stream->number) : NULL;

    if (pending && pending->ts_ns == stream->last_ns)
        pending_comment(pending, chunk_slot(r->pool, slot), r->summary);
    else if (!pending && stream->flags & STREAM_MOVING)
        pending_new(r, slot, stream, stream->last_ns, r->summary);
}

static struct pending *pending_new(struct chunk_recorder *r, unsigned slot,
                                   const struct stream *stream, uint64_t ts_ns, const char *summary)
{
    struct lane *lane = &r->lane[slot];
    struct pending *pending = &lane->pending[lane->next_pending++ % PENDING_MAX];

    lane->n_pending += !pending->comment_size; /* else the oldest is given up */
    pending->stream = stream->number;
    pending->ts_ns = ts_ns;
    pending->head_missing = 0;
    pending_comment(pending, chunk_slot(r->pool, slot), summary);
    return pending;
}

static void pending_comment(struct pending *pending, const struct chunk_slot *job,
                            const char *summary)
{
    int size = snprintf(pending->comment, sizeof(pending->comment), "%s: %.300s%s%s", job->name,
                        job->statement, *summary ? ": " : "", summary);

    pending->comment_size = size < COMMENT_SIZE_MAX ? (uint32_t)size : COMMENT_SIZE_MAX - 1;
}

static struct pending *pending_of(struct lane *lane, uint64_t stream)
{
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (lane->pending[i].comment_size && lane->pending[i].stream == stream)
            return &lane->pending[i];
    return NULL;
}

static void pending_forget(struct lane *lane, struct pending *pending)
{
    pending->comment_size = 0;
    lane->n_pending--;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, old + n, memory_order_relaxed);
}
