/* l7_half.c - halves, how they are paired, and the entries they make. */
#include <string.h>

#include "l7_private.h"

static void entry_make(struct l7 *l7, struct l7_half *request, const struct l7_half *response,
                       bool response_open, enum kfl_error_type error, const char *msg);
static bool half_room(struct l7 *l7, struct l7_half *half, uint32_t size);
static void question_put(struct l7 *l7, struct l7_half *half);
static void question_drop(struct l7_context *context, struct l7_half *half);
static void pending_add(struct l7 *l7, struct l7_half *half);
static void pending_remove(struct l7 *l7, struct l7_half *half);
static void pending_give_up(struct l7 *l7, struct l7_half *half, enum kfl_error_type error,
                            const char *msg);

struct l7_half *l7_half_new(struct l7 *l7, enum kfl_side side, uint64_t key)
{
    struct l7_half *half = pool_take(l7->context->pool, HALF_SIZE);

    if (!half) {
        l7_count(&l7->context->counters.no_memory, 1);
        return NULL;
    }
    *half = (struct l7_half){
        .key = key,
        .first_ns = l7_first_ns(l7, side),
        .facts = half->in_place,
        .facts_capacity = HALF_SIZE - offsetof(struct l7_half, in_place),
        .side = (uint8_t)side,
        .proto = PROTO_UNSET,
        .error_msg = "",
    };
    return half;
}

void l7_half_free(struct l7 *l7, struct l7_half *half)
{
    if (!half)
        return;
    if (half->facts != half->in_place)
        pool_give(l7->context->pool, half->facts);
    pool_give(l7->context->pool, half);
}

struct l7_half *l7_half_copy(struct l7 *l7, const struct l7_half *half, uint64_t key)
{
    struct l7_half *copy;

    if (!half)
        return NULL;
    copy = l7_half_new(l7, half->side, key);
    if (!copy || !half_room(l7, copy, half->facts_size)) {
        l7_half_free(l7, copy);
        return NULL;
    }
    memcpy(copy->facts, half->facts, half->facts_size);
    copy->facts_size = half->facts_size;
    copy->user = half->user;
    copy->first_ns = half->first_ns;
    copy->last_ns = half->last_ns;
    copy->timed = half->timed;
    copy->wire_size = half->wire_size;
    copy->proto = half->proto;
    copy->version = half->version;
    return copy;
}

struct fact_tape *l7_tape(struct l7 *l7)
{
    struct fact_tape *tape = &l7->context->tape;

    fact_tape_reset(tape);
    return tape;
}

void l7_half_add(struct l7 *l7, struct l7_half *half)
{
    const struct fact_tape *tape = &l7->context->tape;

    if (!half || !tape->size || !half_room(l7, half, tape->size))
        return;
    memcpy(half->facts + half->facts_size, tape->base, tape->size);
    half->facts_size += tape->size;
    half->asked.jobs = 0;
}

void l7_half_proto(struct l7_half *half, enum kfl_proto proto)
{
    if (!half)
        return;
    half->proto = (uint8_t)proto;
    half->asked.jobs = 0;
}

bool l7_half_is(const struct l7_half *half, enum kfl_proto proto)
{
    return half && half->proto == proto;
}

void l7_half_version(struct l7_half *half, const char *version)
{
    if (!half)
        return;
    half->version = version;
    half->asked.jobs = 0;
}

void l7_half_wire(struct l7_half *half, uint64_t size)
{
    if (!half)
        return;
    half->wire_size =
        size > UINT32_MAX - half->wire_size ? UINT32_MAX : half->wire_size + (uint32_t)size;
    half->asked.jobs = 0;
}

void l7_half_time(struct l7_half *half, uint64_t first_ns, uint64_t last_ns)
{
    if (!half)
        return;
    half->first_ns = first_ns;
    half->last_ns = last_ns;
    half->timed = true;
    half->asked.jobs = 0;
}

void l7_half_error(struct l7_half *half, enum kfl_error_type error, const char *msg)
{
    if (!half)
        return;
    half->error = (uint8_t)error;
    half->error_msg = msg;
    half->asked.jobs = 0;
}

void l7_half_set_user(struct l7_half *half, uint64_t user)
{
    if (half)
        half->user = user;
}

uint64_t l7_half_user(const struct l7_half *half)
{
    return half ? half->user : 0;
}

void l7_request(struct l7 *l7, struct l7_half *half)
{
    enum ask ask;

    if (!half) {
        l7->n_lost++; /* its response must not meet the next request */
        return;
    }
    if (!half->timed)
        half->last_ns = l7_now(l7);
    if (l7->n_pending >= L7_PENDING_MAX)
        pending_give_up(l7, l7->first, KFL_ERROR_TIMEOUT, "too many requests wait");
    pending_add(l7, half);

    ask = l7->context->ask_request[half->proto == PROTO_UNSET ? l7->proto : half->proto];
    if (ask == ASK_ALWAYS || (ask == ASK_FIRST && !l7->asked))
        question_put(l7, half);
    if (!l7->asked) {
        l7->asked = true;
        l7_report(l7, l7->stream->extra->protos);
    }
}

void l7_response(struct l7 *l7, struct l7_half *half)
{
    struct l7_half *request;

    if (!half) {
        /* Memory is short: the request has had its response, nobody can say which. */
        request = l7_pending(l7, L7_IN_ORDER);
        if (request)
            pending_give_up(l7, request, KFL_ERROR_PAIR_NOT_FOUND, "response not kept");
        return;
    }
    if (!half->timed)
        half->last_ns = l7_now(l7);
    if (half->key == L7_IN_ORDER && l7->n_lost) {
        l7->n_lost--;
        request = NULL;
    } else {
        request = l7_pending(l7, half->key);
    }
    if (request)
        pending_remove(l7, request);
    l7_entry(l7, request, half);
}

void l7_single(struct l7 *l7, struct l7_half *half)
{
    bool client;

    if (!half)
        return;
    client = half->side == KFL_CLIENT;
    if (!half->timed)
        half->last_ns = l7_now(l7);
    entry_make(l7, client ? half : NULL, client ? NULL : half, false, half->error, half->error_msg);
    l7_half_free(l7, half);
}

void l7_entry(struct l7 *l7, struct l7_half *request, struct l7_half *response)
{
    const struct l7_half *wrong = request && request->error ? request : response;

    if (!request && !response)
        return;
    if (request && !request->last_ns)
        request->last_ns = l7_now(l7);
    if (response && !response->last_ns)
        response->last_ns = l7_now(l7);
    if (wrong && wrong->error)
        entry_make(l7, request, response, false, wrong->error, wrong->error_msg);
    else if (!request)
        entry_make(l7, NULL, response, false, KFL_ERROR_PAIR_NOT_FOUND, "request not seen");
    else if (!response)
        entry_make(l7, request, NULL, false, KFL_ERROR_PAIR_NOT_FOUND, "response not seen");
    else
        entry_make(l7, request, response, false, KFL_ERROR_NONE, "");
    l7_half_free(l7, request);
    l7_half_free(l7, response);
}

void l7_unanswered(struct l7 *l7, struct l7_half *half, const char *why)
{
    if (half)
        pending_give_up(l7, half, KFL_ERROR_PAIR_NOT_FOUND, why);
}

struct l7_half *l7_pending(struct l7 *l7, uint64_t key)
{
    struct l7_half *half = l7->first;

    while (half && half->key != key)
        half = half->next;
    return half;
}

unsigned l7_n_pending(const struct l7 *l7)
{
    return l7->n_pending;
}

void l7_text_add(struct l7 *l7, struct l7_text *text, const void *data, size_t size)
{
    uint32_t room = l7->context->config.text_max - text->size;
    uint32_t n = size < room ? (uint32_t)size : room;

    text->total += size;
    if (!n)
        return;
    if (text->size + n > text->capacity) {
        uint32_t capacity = (uint32_t)pool_object_size(text->size + n);
        uint8_t *larger = pool_take(l7->context->pool, capacity);

        if (!larger) {
            l7_count(&l7->context->counters.no_memory, 1);
            return;
        }
        if (text->size)
            memcpy(larger, text->data, text->size);
        pool_give(l7->context->pool, text->data);
        text->data = larger;
        text->capacity = capacity;
    }
    memcpy(text->data + text->size, data, n);
    text->size += n;
}

void l7_text_free(struct l7 *l7, struct l7_text *text)
{
    pool_give(l7->context->pool, text->data);
    *text = (struct l7_text){0};
}

uint32_t l7_text_max(const struct l7 *l7)
{
    return l7->context->config.text_max;
}

void *l7_memory(struct l7 *l7, size_t size)
{
    void *memory = pool_take(l7->context->pool, size);

    if (!memory)
        l7_count(&l7->context->counters.no_memory, 1);
    return memory;
}

void *l7_memory_resize(struct l7 *l7, void *memory, size_t size)
{
    size_t old = memory ? pool_size_of(memory) : 0;
    void *other;

    if (memory && size <= old)
        return memory;
    other = l7_memory(l7, size);
    if (other && memory) {
        memcpy(other, memory, old);
        pool_give(l7->context->pool, memory);
    }
    return other;
}

void l7_memory_free(struct l7 *l7, void *memory)
{
    pool_give(l7->context->pool, memory);
}

void l7_hand_over(struct l7 *l7, struct l7_half *half)
{
    l7_half_free(l7, l7->handed_over);
    l7->handed_over = half;
}

struct l7_half *l7_handed_over(struct l7 *l7)
{
    struct l7_half *half = l7->handed_over;

    l7->handed_over = NULL;
    return half;
}

void l7_pending_end(struct l7 *l7, enum kfl_error_type error, const char *msg)
{
    while (l7->first)
        pending_give_up(l7, l7->first, error, msg);
    l7->n_lost = 0;
}

void l7_pending_free(struct l7 *l7)
{
    while (l7->first) {
        struct l7_half *half = l7->first;

        pending_remove(l7, half);
        l7_half_free(l7, half);
    }
}

void l7_ask_requests(struct l7_context *context, uint64_t now_ns)
{
    while (context->questions_taken != context->questions_put) {
        struct question *question = &context->question[context->questions_taken % QUESTIONS_MAX];
        struct l7_half *half = question->half;

        if (half && half->last_ns + L7_ASK_NS > now_ns)
            return;
        context->questions_taken++;
        if (!half)
            continue;
        question_drop(context, half);
        l7_hold(question->l7);
        entry_make(question->l7, half, NULL, true, half->error, half->error_msg);
        l7_release(question->l7);
    }
}

void l7_pending_timeout(struct l7 *l7, uint64_t now_ns, uint64_t timeout_ns)
{
    while (l7->first && l7->first->last_ns + timeout_ns <= now_ns)
        pending_give_up(l7, l7->first, KFL_ERROR_TIMEOUT, "no response in time");
}

void l7_l4_entry_make(struct l7 *l7)
{
    static const enum kfl_field fields[2][3] = {
        {KFL_FIELD_L4_REQUEST_PAYLOAD_SIZE, KFL_FIELD_L4_REQUEST_PAYLOAD,
         KFL_FIELD_L4_REQUEST_PAYLOAD_HEX},
        {KFL_FIELD_L4_RESPONSE_PAYLOAD_SIZE, KFL_FIELD_L4_RESPONSE_PAYLOAD,
         KFL_FIELD_L4_RESPONSE_PAYLOAD_HEX},
    };
    struct l7_half *halves[2];
    const char *error = stream_connection_error(l7->stream);

    l7->proto = (uint8_t)kfl_l4_entry(l7->stream->l4);
    l7->stream->extra->protos = l7_l4_entry(l7->stream); /* what was possible has not come */
    for (int i = 0; i < 2; i++) {
        const struct payload *payload = &l7->payload[i];
        struct fact_tape *tape;

        halves[i] = l7_half_new(l7, i, L7_IN_ORDER);
        l7_half_time(halves[i], l7->stream->first_ns, l7->stream->first_ns);
        l7_half_wire(halves[i], payload->size);
        tape = l7_tape(l7);
        fact_int(tape, fields[i][0], (int64_t)payload->size);
        fact_base64(tape, fields[i][1], payload->head, payload->head_size);
        fact_hex(tape, fields[i][2], payload->head, payload->head_size);
        l7_half_add(l7, halves[i]);
    }
    entry_make(l7, halves[0], halves[1], false, error ? KFL_ERROR_CONNECTION : KFL_ERROR_NONE,
               error ? error : "");
    l7_half_free(l7, halves[0]);
    l7_half_free(l7, halves[1]);
}

static void entry_make(struct l7 *l7, struct l7_half *request, const struct l7_half *response,
                       bool response_open, enum kfl_error_type error, const char *msg)
{
    struct l7_context *context = l7->context;
    const struct l7_half *halves[2] = {request, response};
    struct kfl_half view[2];
    struct kfl_entry entry = {
        .proto = l7->proto,
        .index = l7->n_entries,
        .response_open = response_open,
        .error = error,
        .error_msg = msg,
        .request = request ? &view[0] : NULL,
        .response = response ? &view[1] : NULL,
    };

    if (l7->dropped)
        return;
    for (int i = 0; i < 2; i++) {
        const struct l7_half *half = halves[i];

        if (!half)
            continue;
        view[i] = (struct kfl_half){
            .facts = half->facts,
            .facts_size = half->facts_size,
            .wire_size = half->wire_size,
            .first_ns = half->first_ns,
            .last_ns = half->last_ns,
        };
        if (half->proto != PROTO_UNSET)
            entry.proto = half->proto;
        if (half->version)
            entry.version = half->version;
    }
    if (!entry.version)
        entry.version = kfl_proto_info[entry.proto].version;
    entry.tls = entry.proto == KFL_PROTO_TLS;
    if (!response_open) {
        l7->n_entries++;
        l7_count(&context->counters.entries[entry.proto], 1);
        if (error == KFL_ERROR_DISSECTION)
            l7_count(&context->counters.errors[entry.proto], 1);
        l7->stream->extra->l7_seen |= UINT32_C(1) << entry.proto;
        if (l7->stream->extra->entries_seen < UINT8_MAX)
            l7->stream->extra->entries_seen++;
    }
    if (request && request->asked_proto == entry.proto)
        entry.asked = request->asked;
    context->sink.entry(context->sink.context, l7->stream, &entry);
    if (response_open) {
        request->asked_proto = (uint8_t)entry.proto;
        request->asked = entry.asked;
    }
    if (!response_open && !l7->asked) {
        l7->asked = true;
        l7_report(l7, l7->stream->extra->protos);
    }
}

/* Room for `size` more bytes of facts; without it they are left out. */
static bool half_room(struct l7 *l7, struct l7_half *half, uint32_t size)
{
    size_t wanted = (size_t)half->facts_size + size;
    uint8_t *larger;

    if (wanted <= half->facts_capacity)
        return true;
    larger = pool_take(l7->context->pool, wanted);
    if (!larger) {
        l7_count(&l7->context->counters.no_memory, 1);
        return false;
    }
    memcpy(larger, half->facts, half->facts_size);
    if (half->facts != half->in_place)
        pool_give(l7->context->pool, half->facts);
    half->facts = larger;
    half->facts_capacity = (uint32_t)pool_object_size(wanted);
    return true;
}

/* Asked about now where too many wait. */
static void question_put(struct l7 *l7, struct l7_half *half)
{
    struct l7_context *context = l7->context;
    uint16_t at = context->questions_put % QUESTIONS_MAX;

    if (context->questions_put - context->questions_taken == QUESTIONS_MAX) {
        entry_make(l7, half, NULL, true, half->error, half->error_msg);
        return;
    }
    context->questions_put++;
    context->question[at] = (struct question){l7, half};
    half->question = (uint16_t)(at + 1);
}

static void question_drop(struct l7_context *context, struct l7_half *half)
{
    if (half->question)
        context->question[half->question - 1].half = NULL;
    half->question = 0;
}

static void pending_add(struct l7 *l7, struct l7_half *half)
{
    half->next = NULL;
    half->prev = l7->last;
    if (l7->last)
        l7->last->next = half;
    else
        l7->first = half;
    l7->last = half;
    l7->n_pending++;
    l7->context->n_pending++;
}

static void pending_remove(struct l7 *l7, struct l7_half *half)
{
    if (half->prev)
        half->prev->next = half->next;
    else
        l7->first = half->next;
    if (half->next)
        half->next->prev = half->prev;
    else
        l7->last = half->prev;
    half->next = half->prev = NULL;
    question_drop(l7->context, half);
    l7->n_pending--;
    l7->context->n_pending--;
}

/* A waiting request becomes a half entry. One that waited in order leaves a gap for its response,
 * which may still come and belongs to no other request. */
static void pending_give_up(struct l7 *l7, struct l7_half *half, enum kfl_error_type error,
                            const char *msg)
{
    if (half->key == L7_IN_ORDER && error == KFL_ERROR_TIMEOUT)
        l7->n_lost++;
    pending_remove(l7, half);
    if (half->error)
        entry_make(l7, half, NULL, false, half->error, half->error_msg);
    else
        entry_make(l7, half, NULL, false, error, msg);
    l7_half_free(l7, half);
}
