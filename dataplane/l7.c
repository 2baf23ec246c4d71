/* l7.c - the door: what the classifier calls, and what a dissector calls about its stream. */
#include "l7_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"

static void arrived(struct l7 *l7, enum kfl_side side, const uint8_t *data, uint64_t size);

/* ---- the context ---- */

int l7_context_create(const struct l7_config *config, const struct l7_sink *sink,
                      struct l7_context **ret_context)
{
    struct l7_context *context = calloc(1, sizeof(*context));
    int r;

    if (!context)
        return -ENOMEM;
    context->config = *config;
    context->sink = *sink;
    if (!config->text_max || config->text_max > TEXT_MAX)
        context->config.text_max = TEXT_MAX;
    r = pool_create(config->memory, config->unbounded, &context->pool);
    if (r < 0)
        goto fail;
    r = -ENOMEM;
    context->tape_buffer = aligned_alloc(64, POOL_SLAB_SIZE);
    context->scratch = aligned_alloc(64, L7_SCRATCH_SIZE);
    if (!context->tape_buffer || !context->scratch)
        goto fail_pool;
    context->demand = &kfl_demand_none;
    fact_tape_init(&context->tape, context->tape_buffer, POOL_OBJECT_MAX, context->demand);
    *ret_context = context;
    return 0;

fail_pool:
    free(context->scratch);
    free(context->tape_buffer);
    pool_free(context->pool);
fail:
    free(context);
    return r;
}

void l7_context_free(struct l7_context *context)
{
    if (!context)
        return;
    free(context->scratch);
    free(context->tape_buffer);
    pool_free(context->pool);
    free(context);
}

void l7_context_demand(struct l7_context *context, const struct kfl_demand *demand)
{
    context->demand = demand;
    fact_tape_init(&context->tape, context->tape_buffer, POOL_OBJECT_MAX, demand);
    for (unsigned p = 0; p < KFL_PROTO_COUNT; p++) {
        uint8_t ask = demand->protos >> p & 1 ? ASK_FIRST : ASK_NEVER;

        if (demand->all)
            ask = ASK_ALWAYS;
        for (unsigned f = 0; f < KFL_FIELD_COUNT && ask < ASK_ALWAYS; f++) {
            const struct kfl_field_info *info = &kfl_field_info[f];

            if (!demand->field[f] || (info->protos && !(info->protos >> p & 1)))
                continue;
            if (info->stage == KFL_STAGE_REQUEST)
                ask = ASK_ALWAYS;
            else if (info->stage == KFL_STAGE_CONNECTION)
                ask = ASK_FIRST;
        }
        context->ask_request[p] = ask;
    }
}

const struct l7_counters *l7_context_counters(const struct l7_context *context)
{
    return &context->counters;
}

uint32_t l7_context_n_pending(const struct l7_context *context)
{
    return context->n_pending;
}

/* ---- called by the classifier ---- */

int l7_open(struct l7_context *context, struct stream *stream)
{
    struct l7 *l7 = pool_take(context->pool, sizeof(*l7));

    stream->extra->protos = kfl_protos_of_l4(stream->l4);
    if (!l7) {
        l7_count(&context->counters.no_memory, 1);
        return -ENOMEM;
    }
    *l7 = (struct l7){
        .context = context,
        .stream = stream,
        .candidates = UINT32_MAX,
        .midstream = !(stream->flags & STREAM_SYN_SEEN),
        .client_is_1 = stream->flags & STREAM_CLIENT_IS_1,
    };
    stream->extra->l7 = l7;
    l7_count(&context->counters.streams, 1);
    return 0;
}

void l7_data(struct l7_context *context, struct stream *stream, enum kfl_side side,
             const uint8_t *data, size_t size, uint64_t ts_ns)
{
    struct l7 *l7 = stream->extra->l7;

    (void)context;
    if (!l7 || !size)
        return;
    arrived(l7, side, data, size);
    if (l7->side[side].skip > size && l7->ending == RUNNING) { /* the midst of what nobody reads */
        l7->side[side].skip -= size;
        l7->side[side].last_ns = ts_ns;
        l7->order++;
        return;
    }
    if (l7->ending == ENDED)
        return;
    if (side == KFL_SERVER && l7->first) /* it will be asked about with its response */
        for (unsigned at = 0; at < HALF_SIZE; at += 64)
            __builtin_prefetch((const uint8_t *)l7->first + at);
    l7_hold(l7);
    l7->order++;
    while (size && !l7->dropped && l7->ending != ENDED) { /* no piece exceeds the buffers */
        bool client_is_1 = stream->flags & STREAM_CLIENT_IS_1;
        size_t n = size < L7_BUFFER_MAX / 2 ? size : L7_BUFFER_MAX / 2;

        l7_feed(l7, side, data, n, ts_ns, l7->order);
        data += n;
        size -= n;
        if (client_is_1 != (bool)(stream->flags & STREAM_CLIENT_IS_1))
            side ^= 1;
    }
    l7_release(l7);
}

void l7_gap(struct l7_context *context, struct stream *stream, enum kfl_side side_number,
            uint64_t size)
{
    struct l7 *l7 = stream->extra->l7;
    struct side *side;

    if (!l7)
        return;
    arrived(l7, side_number, NULL, size);
    if (l7->ending == ENDED)
        return;
    l7_hold(l7);
    side = &l7->side[side_number];
    if (side->skip) {
        uint64_t n = size < side->skip ? size : side->skip;

        side->skip -= n;
        size -= n;
        if (!side->skip && l7->dissector) {
            l7->now_ns = side->last_ns;
            side->n_marks = 0;
            ensure(!l7->dissector->parse(l7, side_number, (const uint8_t *)"", 0));
        }
    }
    if (size && !l7->dropped && l7->ending == RUNNING) {
        l7_count(&context->counters.gaps, 1);
        l7_count(&context->counters.gap_bytes, size);
        l7->midstream = true;
        l7->candidates = UINT32_MAX;
        l7->now_ns = side->last_ns;
        if (l7->dissector && l7->dissector->gap)
            l7->dissector->gap(l7, side_number, size, side->buffer, side->size);
        else if (l7->dissector)
            l7_give_up(l7, NULL, "bytes are missing");
        l7_side_clear(l7, side);
    }
    l7_turn(l7, true, true);
    l7_release(l7);
}

void l7_datagram(struct l7_context *context, struct stream *stream, enum kfl_side side,
                 const uint8_t *data, size_t size, uint64_t ts_ns)
{
    struct l7 *l7 = stream->extra->l7;

    if (!l7)
        return;
    arrived(l7, side, data, size);
    if (l7->ending == ENDED)
        return;
    l7_hold(l7);
    l7->now_ns = l7->side[side].last_ns = ts_ns;
    if (!l7->dissector) {
        const uint8_t *bytes[2] = {0};
        size_t sizes[2] = {0};
        const struct dissector *found = NULL;
        bool swap = false;

        bytes[side] = data;
        sizes[side] = size;
        l7->candidates = UINT32_MAX;
        if (l7_probe_all(l7, bytes, sizes, &found, &swap) == L7_PROBE_YES) {
            if (swap) {
                stream_swap_sides(stream);
                l7_sides_swap(l7);
                side ^= 1;
            }
            l7_start(l7, found);
        } else if (++l7->n_segments >= DATAGRAMS_MAX) {
            stream->detection = KFL_DETECTION_NONE;
            l7_stop(l7);
        }
    }
    if (l7->dissector && l7->dissector->datagram && !l7->dropped) {
        l7_count(&context->counters.bytes[l7->dissector->proto], size);
        l7->dissector->datagram(l7, side, data, size);
    }
    l7_turn(l7, false, false);
    l7_release(l7);
}

void l7_timeout(struct l7_context *context, struct stream *stream, uint64_t now_ns)
{
    struct l7 *l7 = stream->extra->l7;

    if (!l7 || !l7->first || !context->config.response_timeout_ns || !l7->dissector)
        return;
    l7_hold(l7);
    l7_pending_timeout(l7, now_ns, context->config.response_timeout_ns);
    l7_release(l7);
}

void l7_close(struct l7_context *context, struct stream *stream, enum l7_end why)
{
    static const struct {
        enum kfl_error_type type;
        const char *msg;
    } error[] = {
        [L7_END_CLOSE] = {KFL_ERROR_PAIR_NOT_FOUND, "closed before the response"},
        [L7_END_RESET] = {KFL_ERROR_CONNECTION, "Reset"},
        [L7_END_IDLE] = {KFL_ERROR_TIMEOUT, "no response before the stream became idle"},
        [L7_END_STOP] = {KFL_ERROR_PAIR_NOT_FOUND, "no response before the capture ended"},
    };
    struct l7 *l7 = stream->extra->l7;

    (void)context;
    if (!l7)
        return;
    l7_hold(l7);
    if (l7->dissector) {
        l7->now_ns = stream->last_ns;
        if (stream->detection == KFL_DETECTION_OPEN) /* it has led to no protocol */
            stream->detection = KFL_DETECTION_NONE;
        if (l7->dissector->end)
            l7->dissector->end(l7, why);
        if (l7->dissector && !l7->dropped)
            l7_pending_end(l7, error[why].type, error[why].msg);
    } else if (l7->ending != ENDED) {
        bool none = !l7->candidates && (l7->side[0].size || l7->side[1].size || l7->n_segments);

        stream->detection = none ? KFL_DETECTION_NONE : KFL_DETECTION_SHORT;
    }
    l7->ending = ENDED;
    if (!l7->dropped && !stream->extra->entries_seen)
        l7_l4_entry_make(l7);
    if (!l7->dropped)
        l7_drop(context, stream);
    l7_release(l7);
}

void l7_drop(struct l7_context *context, struct stream *stream)
{
    struct l7 *l7 = stream->extra->l7;

    (void)context;
    if (!l7)
        return;
    stream->extra->l7 = NULL;
    l7->dropped = true;
    l7_hold(l7);
    l7_release(l7);
}

/* Bytes of a side, null: lost. What an L4 entry would show of them; and whether the sides have been
 * turned by the stream's own packets. */
static void arrived(struct l7 *l7, enum kfl_side side, const uint8_t *data, uint64_t size)
{
    struct payload *payload = &l7->payload[side];
    size_t n = PAYLOAD_HEAD - payload->head_size;

    if (l7->client_is_1 != (bool)(l7->stream->flags & STREAM_CLIENT_IS_1))
        l7_sides_swap(l7);
    payload->size += size;
    if (!data || !n)
        return;
    if (n > size)
        n = (size_t)size;
    memcpy(payload->head + payload->head_size, data, n);
    payload->head_size = (uint8_t)(payload->head_size + n);
}

/* ---- called by dissectors ---- */

void *l7_state(struct l7 *l7)
{
    return l7->state;
}

uint64_t l7_now(const struct l7 *l7)
{
    return l7->now_ns;
}

uint64_t l7_stream_ns(const struct l7 *l7)
{
    return l7->stream->first_ns;
}

uint64_t l7_first_ns(const struct l7 *l7, enum kfl_side side)
{
    return l7->side[side].n_marks ? l7->side[side].mark[0].ts_ns : l7->now_ns;
}

uint16_t l7_port(const struct l7 *l7, enum kfl_side side)
{
    return l7->stream->id.port[side ^ (l7->stream->flags & STREAM_CLIENT_IS_1)];
}

void l7_address(const struct l7 *l7, enum kfl_side side, uint8_t ret_addr[static 16])
{
    struct stream_key key;

    stream_key_get(l7->context->config.streams, l7->stream, &key);
    memcpy(ret_addr, key.addr[side ^ (l7->stream->flags & STREAM_CLIENT_IS_1)], 16);
}

enum kfl_l4 l7_l4(const struct l7 *l7)
{
    return l7->stream->l4;
}

void *l7_scratch(struct l7 *l7)
{
    return l7->context->scratch;
}

const struct kfl_demand *l7_demand(const struct l7 *l7)
{
    return l7->context->demand;
}

void l7_skip(struct l7 *l7, enum kfl_side side, uint64_t size)
{
    uint64_t *skip = &l7->side[side].skip;

    *skip = size > UINT64_MAX - *skip ? UINT64_MAX : *skip + size;
}

void l7_need(struct l7 *l7, enum kfl_side side, size_t size)
{
    if (size > L7_BUFFER_MAX)
        l7_give_up(l7, NULL, "message too long");
    else
        l7->side[side].need = (uint32_t)size;
}

bool l7_has(struct l7 *l7, enum kfl_side side, size_t size, size_t needed)
{
    if (size < needed)
        l7_need(l7, side, needed);
    return size >= needed;
}

uint32_t l7_message(struct l7 *l7, enum kfl_side side, size_t size, uint64_t length,
                    uint32_t shown_max)
{
    uint32_t shown = length < shown_max ? (uint32_t)length : shown_max;

    if (!l7_has(l7, side, size, shown))
        return 0;
    if (length > shown)
        l7_skip(l7, side, length - shown);
    return shown;
}

void l7_wake(struct l7 *l7, enum kfl_side side)
{
    l7->side[side].wake = true;
}

void l7_switch(struct l7 *l7, enum kfl_proto proto)
{
    if (l7->ending != RUNNING)
        return;
    l7->ending = SWITCHING;
    l7->switch_to = (uint8_t)proto;
}

void l7_speaks(struct l7 *l7, enum kfl_proto proto)
{
    uint32_t bit = UINT32_C(1) << proto;

    if (l7->proto == proto)
        return;
    l7->proto = (uint8_t)proto;
    l7->stream->extra->l7_seen |= bit;
    l7_report(l7, l7->stream->extra->protos | bit);
}

void l7_finish(struct l7 *l7)
{
    l7->ending = ENDED;
}

void l7_give_up(struct l7 *l7, struct l7_half *half, const char *why)
{
    if (half) {
        bool client = half->side == KFL_CLIENT;

        l7_half_error(half, KFL_ERROR_DISSECTION, why);
        l7_entry(l7, client ? half : NULL, client ? NULL : half);
    } else if (l7->ending != ENDED && l7->dissector) {
        l7_count(&l7->context->counters.errors[l7->dissector->proto], 1);
    }
    l7->ending = ENDED;
}

void l7_narrow(struct l7 *l7, uint32_t protos)
{
    uint32_t left = l7->stream->extra->protos & (protos | l7_l4_entry(l7->stream));

    if (left != l7->stream->extra->protos)
        l7_report(l7, left);
}

void l7_report(struct l7 *l7, uint32_t protos)
{
    struct stream *stream = l7->stream;

    if (l7->dropped)
        return;
    /* The dissectors of ICMP and SCTP make entries of the L4 entry's own protocol. */
    stream->extra->protos =
        l7->asked ? protos & ~(l7_l4_entry(stream) & KFL_PROTOS_L4 & ~KFL_PROTO_BIT(SCTP))
                  : protos | l7_l4_entry(stream);
    l7->context->sink.protocol(l7->context->sink.context, stream);
}
