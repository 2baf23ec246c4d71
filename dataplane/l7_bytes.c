/* l7_bytes.c - bytes on their way to a dissector: probing, buffers, skips, changes of protocol. */
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "l7_private.h"

static size_t parse_bytes(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size,
                          bool again);
static void change(struct l7 *l7);
static void probe_stream(struct l7 *l7);
static bool keep_newest(struct l7 *l7);
static uint32_t newest_order(const struct side *side);
static bool has_port(const struct dissector *dissector, const struct l7_probe_input *input);
static bool proxy_header(struct l7 *l7);
static void replay(struct l7 *l7);
static void dissector_end(struct l7 *l7, const char *why);
static bool side_add(struct l7 *l7, struct side *side, const uint8_t *data, size_t size);
static void side_use(struct l7 *l7, struct side *side, size_t n);
static void mark_add(struct side *side, uint64_t ts_ns, uint32_t order);
static void marks_use(struct side *side, size_t n);

/* The next bytes of a side, in order. */
void l7_feed(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size, uint64_t ts_ns,
             uint32_t order)
{
    struct side *side = &l7->side[number];
    bool skipped = false;

    side->last_ns = ts_ns;
    if (side->skip) {
        size_t n = size < side->skip ? size : (size_t)side->skip;

        side->skip -= n;
        data += n;
        size -= n;
        skipped = !side->skip;
        if (!skipped)
            return;
    }
    if (!size && !skipped)
        return;
    mark_add(side, ts_ns, order);
    if (l7->dissector && !side->size) { /* nothing waits: no copy of what is used at once */
        size_t used = parse_bytes(l7, number, data, size, skipped);

        if (l7->dropped)
            return;
        if (used < size && l7->ending != ENDED && !side_add(l7, side, data + used, size - used))
            return;
        if (l7->ending != RUNNING || l7->side[0].size || l7->side[1].size)
            l7_turn(l7, used && number == KFL_SERVER, used && number == KFL_CLIENT);
        else
            l7->side[0].wake = l7->side[1].wake = false; /* there is nothing to be parsed again */
        return;
    }
    if (!side_add(l7, side, data, size))
        return;
    if (l7->dissector)
        l7_turn(l7, number == KFL_CLIENT, number == KFL_SERVER);
    else
        probe_stream(l7);
}

/* Lets the dissector use what it can of a side's unused bytes. -> bytes used or skipped */
static size_t parse_bytes(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size,
                          bool again)
{
    struct side *side = &l7->side[number];
    size_t total = 0;

    while (again || (size > total && size - total >= side->need)) {
        size_t used, skipped;
        bool skip_ended = again;

        again = false;
        side->need = 0;
        l7->now_ns = side->last_ns;
        used = l7->dissector->parse(l7, number, data + total, size - total);
        ensure(used <= size - total);
        l7_count(&l7->context->counters.bytes[l7->dissector->proto], used);
        total += used;
        skipped = size - total < side->skip ? size - total : (size_t)side->skip;
        if (skipped) {
            side->skip -= skipped;
            total += skipped;
            again = !side->skip;
        }
        marks_use(side, used + skipped);
        if (l7->ending != RUNNING || l7->dropped || !(used + skipped || skip_ended))
            break;
        if (l7->side[!number].wake && l7->side[!number].size)
            break; /* it comes first */
    }
    return total;
}

/* Goes to and fro between the sides until neither can use anything, and sees to what the dissector
 * has asked for: another protocol, the end. client, server: that side has something new. */
void l7_turn(struct l7 *l7, bool client, bool server)
{
    bool todo[2] = {client, server};
    unsigned n_spins = 0;

    while (!l7->dropped) {
        enum kfl_side number;
        struct side *side;
        size_t used;

        if (l7->ending == ENDED) {
            l7_stop(l7);
            return;
        }
        if (l7->ending == SWITCHING) {
            change(l7);
            todo[0] = todo[1] = true;
            continue;
        }
        if (!l7->dissector)
            return;
        for (int i = 0; i < 2; i++) {
            todo[i] = (todo[i] || l7->side[i].wake) && l7->side[i].size;
            l7->side[i].wake = false;
        }
        if (todo[0] && todo[1])
            number = l7->side[0].mark[0].order <= l7->side[1].mark[0].order ? 0 : 1;
        else if (todo[0] || todo[1])
            number = todo[0] ? 0 : 1;
        else
            return;
        todo[number] = false;
        side = &l7->side[number];
        used = parse_bytes(l7, number, side->buffer, side->size, false);
        side_use(l7, side, used);
        if (l7->side[!number].wake)
            todo[number] = true;
        if (used)
            todo[!number] = true;
        else if (++n_spins > SPINS_MAX)
            return;
    }
}

/* The dissector has said that another protocol follows. */
static void change(struct l7 *l7)
{
    const struct dissector *next = NULL;

    dissector_end(l7, "the protocol changed");
    l7->ending = RUNNING;
    for (int i = 0; i < 2; i++) {
        l7->side[i].need = 0;
        l7->side[i].skip = 0;
        l7->side[i].wake = false;
    }
    if (++l7->n_switches > SWITCHES_MAX) {
        l7->ending = ENDED;
        return;
    }
    for (unsigned i = 0; i < l7_n_dissectors; i++)
        if (l7_dissectors[i]->proto == l7->switch_to)
            next = l7_dissectors[i];
    if (next) {
        l7_start(l7, next);
        return;
    }
    l7->candidates = UINT32_MAX;
    l7->n_segments = 0;
    l7_report(l7, kfl_protos_of_l4(l7->stream->l4));
    if (l7->side[0].size || l7->side[1].size)
        probe_stream(l7);
}

/* ---- probing ---- */

/* Asks the dissectors about the first bytes of both sides, all of which wait in the buffers. */
static void probe_stream(struct l7 *l7)
{
    const struct dissector *found = NULL;
    bool swap = false;
    enum l7_probe answer;

    if (!proxy_header(l7) || (!l7->side[0].size && !l7->side[1].size))
        return;
    l7->n_segments++;
    answer = l7_probe_all(l7, (const uint8_t *const[2]){l7->side[0].buffer, l7->side[1].buffer},
                          (const size_t[2]){l7->side[0].size, l7->side[1].size}, &found, &swap);
    if (answer == L7_PROBE_YES) {
        if (swap) {
            stream_swap_sides(l7->stream);
            l7_sides_swap(l7);
        }
        if (l7_start(l7, found))
            replay(l7);
        return;
    }
    if (answer == L7_PROBE_MORE && l7->n_segments < SEGMENTS_MAX &&
        l7->side[0].size < L7_PROBE_MAX && l7->side[1].size < L7_PROBE_MAX)
        return;
    if (l7->midstream && l7->n_segments < MIDSTREAM_MAX) {
        l7->candidates = UINT32_MAX;
        if (keep_newest(l7))
            probe_stream(l7);
        return;
    }
    l7->stream->detection = KFL_DETECTION_NONE;
    l7_stop(l7);
}

/* Of what waits, only the newest packet is kept: a message may begin with it. -> false: there was
 * nothing else, it is dropped, too. */
static bool keep_newest(struct l7 *l7)
{
    struct side *side = &l7->side[0], *other = &l7->side[1];
    const struct mark *newest;
    bool more;

    if (newest_order(side) < newest_order(other)) {
        side = other;
        other = &l7->side[0];
    }
    newest = &side->mark[side->n_marks - 1];
    more = newest->offset || other->size;
    l7_side_clear(l7, other);
    if (more && newest->offset) {
        size_t n = newest->offset;

        marks_use(side, n);
        side_use(l7, side, n);
    } else if (!more) {
        l7_side_clear(l7, side);
    }
    return more;
}

static uint32_t newest_order(const struct side *side)
{
    return side->n_marks ? side->mark[side->n_marks - 1].order : 0;
}

enum l7_probe l7_probe_all(struct l7 *l7, const uint8_t *const data[2], const size_t size[2],
                           const struct dissector **ret_dissector, bool *ret_swap)
{
    const struct l7_probe_input input = {
        .data = {data[0], data[1]},
        .size = {size[0], size[1]},
        .port = {l7_port(l7, KFL_CLIENT), l7_port(l7, KFL_SERVER)},
        .l4 = l7->stream->l4,
        .oriented = l7->stream->flags & STREAM_ORIENTED,
    };
    bool more = false;

    for (int by_port = 1; by_port >= 0; by_port--)
        for (unsigned i = 0; i < l7_n_dissectors; i++) {
            const struct dissector *dissector = l7_dissectors[i];
            bool swap = false;
            enum l7_probe answer;

            if (!dissector->probe || !(l7->candidates >> i & 1) ||
                !(kfl_proto_info[dissector->proto].layer4 & input.l4) ||
                has_port(dissector, &input) != by_port)
                continue;
            answer = dissector->probe(&input, &swap);
            if (answer == L7_PROBE_YES) {
                *ret_dissector = dissector;
                *ret_swap = swap && !input.oriented;
                return L7_PROBE_YES;
            }
            if (answer == L7_PROBE_NO)
                l7->candidates &= ~(UINT32_C(1) << i);
            else
                more = true;
        }
    if (!more)
        l7->candidates = 0;
    return more ? L7_PROBE_MORE : L7_PROBE_NO;
}

static bool has_port(const struct dissector *dissector, const struct l7_probe_input *input)
{
    for (unsigned i = 0; i < sizeof(dissector->ports) / sizeof(dissector->ports[0]); i++) {
        uint16_t port = dissector->ports[i];

        if (port && (input->port[KFL_SERVER] == port ||
                     (!input->oriented && input->port[KFL_CLIENT] == port)))
            return true;
    }
    return false;
}

/* A load balancer may put a PROXY protocol header (v1 text, v2 binary) before the client's bytes:
 * it is passed over. -> false: its end has not come yet. */
static bool proxy_header(struct l7 *l7)
{
    static const uint8_t v2[] = "\r\n\r\n\0\r\nQUIT\n";
    struct side *side = &l7->side[KFL_CLIENT];
    size_t n, size = side->size;

    if (l7->proxy_seen || l7->stream->l4 != KFL_L4_TCP || !size)
        return true;
    if (!memcmp(side->buffer, "PROXY ", size < 6 ? size : 6)) {
        const uint8_t *end = memchr(side->buffer, '\n', size < 107 ? size : 107);

        if (!end)
            return size >= 107;
        n = (size_t)(end + 1 - side->buffer);
    } else if (!memcmp(side->buffer, v2, size < 12 ? size : 12)) {
        if (size < 16)
            return false;
        n = 16u + (size_t)(side->buffer[14] << 8 | side->buffer[15]);
        if (n > L7_PROBE_MAX)
            return true;
        if (size < n)
            return false;
    } else {
        return true;
    }
    l7->proxy_seen = true;
    marks_use(side, n);
    side_use(l7, side, n);
    return true;
}

/* What was kept while probing is shown to the dissector as it came, packet by packet. */
static void replay(struct l7 *l7)
{
    struct side kept[2] = {l7->side[0], l7->side[1]};
    uint32_t at[2] = {0, 0};

    for (int i = 0; i < 2; i++) {
        l7->side[i].buffer = NULL;
        l7->side[i].size = l7->side[i].capacity = l7->side[i].n_marks = 0;
    }
    while (!l7->dropped && l7->ending != ENDED) {
        bool has[2] = {at[0] < kept[0].n_marks, at[1] < kept[1].n_marks};
        const struct mark *mark;
        const struct side *side;
        uint32_t end;
        int i;

        if (!has[0] && !has[1])
            break;
        i = has[0] && (!has[1] || kept[0].mark[at[0]].order < kept[1].mark[at[1]].order) ? 0 : 1;
        side = &kept[i];
        mark = &side->mark[at[i]++];
        end = at[i] < side->n_marks ? side->mark[at[i]].offset : side->size;
        if (end > mark->offset)
            l7_feed(l7, i, side->buffer + mark->offset, end - mark->offset, mark->ts_ns,
                    mark->order);
    }
    pool_give(l7->context->pool, kept[0].buffer);
    pool_give(l7->context->pool, kept[1].buffer);
}

/* ---- begin and end ---- */

bool l7_start(struct l7 *l7, const struct dissector *dissector)
{
    struct stream *stream = l7->stream;

    if (dissector->state_size) {
        l7->state = pool_take(l7->context->pool, dissector->state_size);
        if (!l7->state) {
            l7_count(&l7->context->counters.no_memory, 1);
            stream->flags |= STREAM_OVERFLOW;
            l7_stop(l7);
            return false;
        }
        memset(l7->state, 0, dissector->state_size);
    }
    l7->dissector = dissector;
    l7->proto = (uint8_t)dissector->proto;
    stream->flags |= STREAM_ORIENTED;
    if (dissector->proto != KFL_PROTO_TCP) { /* not what only leads to a protocol */
        stream->detection = KFL_DETECTION_FOUND;
        stream->extra->l7_seen |= UINT32_C(1) << dissector->proto;
    }
    l7_report(l7, dissector->protos);
    if (dissector->init && !l7->dropped)
        dissector->init(l7);
    return !l7->dropped;
}

/* Nothing more is dissected; the stream goes on by what was seen. */
void l7_stop(struct l7 *l7)
{
    if (l7->dissector)
        dissector_end(l7, "dissection has ended");
    l7->ending = ENDED;
    l7_side_clear(l7, &l7->side[0]);
    l7_side_clear(l7, &l7->side[1]);
    l7->stream->flags |= STREAM_L7_DONE;
    l7_report(l7, 0);
}

static void dissector_end(struct l7 *l7, const char *why)
{
    l7_pending_end(l7, KFL_ERROR_PAIR_NOT_FOUND, why);
    if (l7->stream->detection == KFL_DETECTION_OPEN)
        l7->stream->detection = KFL_DETECTION_NONE;
    if (l7->dissector->done)
        l7->dissector->done(l7);
    l7->dissector = NULL;
    pool_give(l7->context->pool, l7->state);
    l7->state = NULL;
}

void l7_free(struct l7 *l7)
{
    struct pool *pool = l7->context->pool;

    l7_pending_free(l7);
    l7_half_free(l7, l7->handed_over);
    if (l7->dissector && l7->dissector->done)
        l7->dissector->done(l7);
    pool_give(pool, l7->state);
    l7_side_clear(l7, &l7->side[0]);
    l7_side_clear(l7, &l7->side[1]);
    pool_give(pool, l7);
}

/* ---- the unused bytes of a side ---- */

void l7_sides_swap(struct l7 *l7)
{
    struct side side = l7->side[0];
    struct payload payload = l7->payload[0];

    l7->side[0] = l7->side[1];
    l7->side[1] = side;
    l7->payload[0] = l7->payload[1];
    l7->payload[1] = payload;
    l7->client_is_1 = !l7->client_is_1;
}

/* -> false: no room, dissection has ended */
static bool side_add(struct l7 *l7, struct side *side, const uint8_t *data, size_t size)
{
    struct pool *pool = l7->context->pool;

    if (side->size + size > L7_BUFFER_MAX) {
        l7->stream->flags |= STREAM_OVERFLOW;
        if (l7->dissector)
            l7_give_up(l7, NULL, "message too long");
        else
            l7->stream->detection = KFL_DETECTION_NONE;
        l7_stop(l7);
        return false;
    }
    if (side->size + size > side->capacity) {
        uint32_t capacity = (uint32_t)pool_object_size(side->size + size);
        uint8_t *larger = pool_take(pool, capacity);

        if (!larger) {
            l7_count(&l7->context->counters.no_memory, 1);
            l7->stream->flags |= STREAM_OVERFLOW;
            l7_stop(l7);
            return false;
        }
        if (side->size)
            memcpy(larger, side->buffer, side->size);
        pool_give(pool, side->buffer);
        side->buffer = larger;
        side->capacity = capacity;
    }
    memcpy(side->buffer + side->size, data, size);
    side->size += (uint32_t)size;
    return true;
}

/* The first n bytes in the buffer were used; their marks have gone already. */
static void side_use(struct l7 *l7, struct side *side, size_t n)
{
    side->size -= (uint32_t)n;
    if (!side->size) {
        pool_give(l7->context->pool, side->buffer);
        side->buffer = NULL;
        side->capacity = 0;
    } else if (n) {
        memmove(side->buffer, side->buffer + n, side->size);
    }
}

void l7_side_clear(struct l7 *l7, struct side *side)
{
    pool_give(l7->context->pool, side->buffer);
    side->buffer = NULL;
    side->size = side->capacity = side->n_marks = side->need = 0;
}

static void mark_add(struct side *side, uint64_t ts_ns, uint32_t order)
{
    if (!side->size)
        side->n_marks = 0;
    if (side->n_marks < N_MARKS)
        side->mark[side->n_marks++] =
            (struct mark){.offset = side->size, .order = order, .ts_ns = ts_ns};
}

static void marks_use(struct side *side, size_t n)
{
    uint32_t gone = 0;

    if (!n)
        return;
    while (gone + 1 < side->n_marks && side->mark[gone + 1].offset <= n)
        gone++;
    side->n_marks -= gone;
    if (gone)
        memmove(side->mark, side->mark + gone, side->n_marks * sizeof(side->mark[0]));
    for (uint32_t i = 0; i < side->n_marks; i++)
        side->mark[i].offset = side->mark[i].offset > n ? side->mark[i].offset - (uint32_t)n : 0;
}
