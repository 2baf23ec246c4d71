/* http1.c - HTTP/1.0 and HTTP/1.1 (RFC 9112).
 *
 * A message is its head, which is parsed when all of it is there, and its body, which is passed
 * over unless some statement asks for it. A message whose demanded facts are all in its head is
 * complete with its head. */
#include "http1_head.h"

enum { CHUNK_LINE_MAX = 4096, TRAILER_MAX = 16 << 10, LOST_MAX = 16 << 20, TYPE_MAX = 160 };

/*     START --head--+--no body----------------------------------------------> START
 *                   +--length--> SKIP (not wanted) or LENGTH (collected) ---> START
 *                   +--chunked-> CHUNK_HEAD -> CHUNK_DATA -> CHUNK_END -+
 *                   |                ^-------------------------------- -+
 *                   |                +--size 0--> TRAILER --------------> START
 *                   +--neither (response)--> CLOSE, to the end of the stream
 *
 * Bytes lost within LENGTH, CHUNK_DATA, CLOSE: it goes on. Elsewhere: LOST, until something begins
 * a message. A client that has asked for another protocol (Upgrade, CONNECT) is not read on before
 * the answer: `hold`. */
enum http1_state {
    START,
    SKIP,
    LENGTH,
    CHUNK_HEAD,
    CHUNK_DATA,
    CHUNK_END,
    TRAILER,
    CLOSE,
    LOST,
};

struct http1_side {
    uint8_t state; /* enum http1_state */
    uint8_t coding;
    bool collect; /* the body is asked for */
    bool gql;     /* the body may be GraphQL */
    uint16_t type_size;
    uint32_t scanned; /* of a head that is not complete: no end before this */
    uint64_t left;    /* of the body or chunk */
    uint64_t body_size;
    uint64_t lost;
    struct l7_half *half; /* message under way; null: none, or complete with its head */
    struct l7_text body;
    struct l7_text head;    /* headers, while trailers may be added to them */
    uint8_t type[TYPE_MAX]; /* Content-Type */
};

struct http1 {
    struct http1_side side[2];
    struct l7_half *early; /* an answer that was through before its request's body */
    uint64_t early_ns;     /* its first packet; 0: the answer under way is not early */
    bool hold;
    bool origin; /* no proxy: it does not become a tunnel */
    bool last;   /* no request follows */
};

enum { /* what a request says about its response: user of its half */
       ASKED_HEAD = 1,
       ASKED_CONNECT = 2,
       ASKED_UPGRADE = 4,
};

static enum l7_probe http1_probe(const struct l7_probe_input *input, bool *ret_swap);
static size_t http1_parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void http1_gap(struct l7 *l7, enum kfl_side side, uint64_t size, const uint8_t *unused,
                      size_t unused_size);
static void http1_end(struct l7 *l7, enum l7_end why);
static void http1_done(struct l7 *l7);

static size_t message_start(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void head_cut(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static void request_begin(struct l7 *l7, const struct http1_head *head, const uint8_t *data);
static void response_begin(struct l7 *l7, const struct http1_head *head, const uint8_t *data);
static void narrow(struct l7 *l7, const struct http1_head *head, bool connect, bool upgrade);
static bool may_become(const struct http1 *http, enum kfl_proto next);
static void body_begin(struct l7 *l7, enum kfl_side side, struct fact_tape *tape,
                       const struct http1_head *head, const uint8_t *data, bool none);
static void message_complete(struct l7 *l7, enum kfl_side side);
static size_t body_bytes(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static size_t chunk_head(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static size_t chunk_end(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static size_t trailer(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);
static size_t resynchronise(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size);

const struct dissector dissector_http1 = {
    .proto = KFL_PROTO_HTTP,
    .name = "http",
    .state_size = sizeof(struct http1),
    .protos = ~(KFL_PROTOS_L4 | KFL_PROTO_BIT(QUIC) | KFL_PROTO_BIT(RADIUS) | KFL_PROTO_BIT(ICMP)) &
              ((UINT32_C(1) << KFL_PROTO_COUNT) - 1), /* CONNECT can lead to anything */
    .ports = {80, 8080, 8000, 3128, 8086, 9090, 5000, 3000},
    .probe = http1_probe,
    .parse = http1_parse,
    .gap = http1_gap,
    .end = http1_end,
    .done = http1_done,
};

static enum l7_probe http1_probe(const struct l7_probe_input *input, bool *ret_swap)
{
    bool other = false;

    for (int i = 0; i < 2; i++) {
        enum l7_probe request = L7_PROBE_NO, status = L7_PROBE_NO;

        if (!input->size[i])
            continue;
        if (i == KFL_CLIENT || !input->oriented)
            request = http1_request_line(input->data[i], input->size[i]);
        if (i == KFL_SERVER || !input->oriented)
            status = http1_status_line(input->data[i], input->size[i]);
        if (request == L7_PROBE_YES || status == L7_PROBE_YES) {
            *ret_swap = (request == L7_PROBE_YES) != (i == KFL_CLIENT);
            return L7_PROBE_YES;
        }
        /* A broken request is HTTP if it is answered so. */
        other |= request == L7_PROBE_NO && status == L7_PROBE_NO &&
                 !(i == KFL_CLIENT && http1_resembles(input->data[i], input->size[i]));
    }
    return other ? L7_PROBE_NO : L7_PROBE_MORE;
}

static size_t http1_parse(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1 *http = l7_state(l7);
    struct http1_side *side = &http->side[number];

    if (side->state == SKIP) { /* all of it has passed by */
        side->state = START;
        message_complete(l7, number);
        return 0;
    }
    if (!size)
        return 0;
    switch ((enum http1_state)side->state) {
    case SKIP:
    case START:
        if (http->hold && number == KFL_CLIENT)
            return 0;
        return message_start(l7, number, data, size);
    case LENGTH:
    case CHUNK_DATA:
    case CLOSE:
        return body_bytes(l7, number, data, size);
    case CHUNK_HEAD:
        return chunk_head(l7, number, data, size);
    case CHUNK_END:
        return chunk_end(l7, number, data, size);
    case TRAILER:
        return trailer(l7, number, data, size);
    case LOST:
        return resynchronise(l7, number, data, size);
    }
    return 0;
}

static void http1_gap(struct l7 *l7, enum kfl_side number, uint64_t size, const uint8_t *unused,
                      size_t unused_size)
{
    struct http1 *http = l7_state(l7);
    struct http1_side *side = &http->side[number];

    side->scanned = 0;
    switch ((enum http1_state)side->state) {
    case CLOSE:
        side->body_size += size;
        return;
    case LENGTH:
    case CHUNK_DATA:
        if (size > side->left)
            break;
        side->left -= size;
        side->body_size += size;
        if (side->left)
            return;
        if (side->state == CHUNK_DATA) {
            side->state = CHUNK_END;
        } else {
            side->state = START;
            message_complete(l7, number);
        }
        return;
    case START:
        if (unused_size && !(http->hold && number == KFL_CLIENT))
            head_cut(l7, number, unused, unused_size);
        break;
    default:
        break;
    }
    message_complete(l7, number); /* as far as it was seen */
    side->state = LOST;
    side->lost = 0;
}

static void http1_end(struct l7 *l7, enum l7_end why)
{
    (void)why;
    message_complete(l7, KFL_CLIENT);
    message_complete(l7, KFL_SERVER);
}

static void http1_done(struct l7 *l7)
{
    struct http1 *http = l7_state(l7);

    l7_half_free(l7, http->early);
    for (int i = 0; i < 2; i++) {
        l7_half_free(l7, http->side[i].half);
        l7_text_free(l7, &http->side[i].body);
        l7_text_free(l7, &http->side[i].head);
    }
}

/* ---- heads ---- */

static size_t message_start(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1 *http = l7_state(l7);
    struct http1_side *side = &http->side[number];
    struct http1_head head;

    if (data[0] == '\r' || data[0] == '\n') /* empty lines before a message are ignored */
        return 1;
    /* A head that did not end before is parsed again only when it ends. */
    if (side->scanned && !http1_head_ends(data, side->scanned, size)) {
        side->scanned = size < 4 ? 1 : (uint32_t)size - 3;
        return 0;
    }
    side->scanned = 0;
    switch (http1_head_parse(&head, number, data, size, false)) {
    case HTTP1_HEAD_MORE:
        side->scanned = size < 4 ? 1 : (uint32_t)size - 3;
        return 0;
    case HTTP1_HEAD_NO_START: /* framing went wrong before: look for a message */
        side->state = LOST;
        side->lost = 0;
        return resynchronise(l7, number, data, size);
    case HTTP1_HEAD_WHOLE:
        break;
    }
    if (number == KFL_CLIENT)
        request_begin(l7, &head, data);
    else
        response_begin(l7, &head, data);
    return head.size;
}

/* The rest of this head was lost (packets may be cut): what there is of it is an entry. */
static void head_cut(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1_head head;

    if (http1_head_parse(&head, number, data, size, true) != HTTP1_HEAD_WHOLE)
        return;
    if (number == KFL_CLIENT)
        request_begin(l7, &head, data);
    else
        response_begin(l7, &head, data);
}

static void version_facts(struct l7_half *half, struct fact_tape *tape, enum kfl_field field,
                          const struct http1_head *head)
{
    l7_half_version(half, head->version_none ? "0.9" : head->version_1_0 ? "1.0" : "1.1");
    if (!head->version_none)
        fact_text(tape, field, head->version_1_0 ? "HTTP/1.0" : "HTTP/1.1");
}

static void request_begin(struct l7 *l7, const struct http1_head *head, const uint8_t *data)
{
    struct http1 *http = l7_state(l7);
    struct http1_side *side = &http->side[KFL_CLIENT];
    struct l7_half *waiting;
    bool connect = http_text_is(head->method, "connect");
    bool upgrade = head->known.connection_upgrade && head->known.upgrade.size;
    struct fact_tape *tape;

    /* Its response was lost if the client goes on. */
    while (http->side[KFL_SERVER].state == LOST && (waiting = l7_pending(l7, L7_IN_ORDER)))
        l7_unanswered(l7, waiting, "bytes are missing");
    narrow(l7, head, connect, upgrade);
    http->hold = connect || upgrade;
    side->half = l7_half_new(l7, KFL_CLIENT, L7_IN_ORDER);
    if (!side->half)
        l7_request(l7, NULL);
    l7_half_set_user(side->half, (http_text_is(head->method, "head") ? ASKED_HEAD : 0) |
                                     (connect ? ASKED_CONNECT : 0) | (upgrade ? ASKED_UPGRADE : 0));
    l7_half_wire(side->half, head->size);
    side->gql = http_gql_possible(head->method, head->known.type);
    tape = l7_tape(l7);
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_METHOD, head->method.at, head->method.size);
    http_target_facts(tape, l7_scratch(l7), head->target, false);
    version_facts(side->half, tape, KFL_FIELD_HTTP_REQUEST_HTTP_VERSION, head);
    fact_int(tape, KFL_FIELD_HTTP_REQUEST_HEADERS_SIZE, head->size);
    body_begin(l7, KFL_CLIENT, tape, head, data, false);
}

static void response_begin(struct l7 *l7, const struct http1_head *head, const uint8_t *data)
{
    struct http1 *http = l7_state(l7);
    struct http1_side *side = &http->side[KFL_SERVER];
    struct l7_half *request, *unfinished = http->side[KFL_CLIENT].half;
    uint64_t asked;
    bool none, tunnel, upgraded = head->status == 101;
    enum kfl_proto next = KFL_PROTO_COUNT;
    struct fact_tape *tape;

    if (head->status < 200 && !upgraded)
        return; /* interim */
    if (unfinished && (upgraded || http->early)) {
        message_complete(l7, KFL_CLIENT);
        unfinished = NULL;
    }
    request = l7_pending(l7, L7_IN_ORDER);
    http->early_ns = !request && unfinished ? l7_first_ns(l7, KFL_SERVER) : 0;
    asked = l7_half_user(request ? request : unfinished);
    if (upgraded && http_list_has(head->known.upgrade, "h2c")) {
        next = KFL_PROTO_HTTP2;
        l7_hand_over(l7, l7_half_copy(l7, request, 1)); /* it is answered on stream 1 */
    } else if (upgraded && http_list_has(head->known.upgrade, "websocket")) {
        next = KFL_PROTO_WS;
    }
    tunnel = asked & ASKED_CONNECT && head->status / 100 == 2;
    none = upgraded || tunnel || asked & ASKED_HEAD || head->status == 204 || head->status == 304;
    side->half = l7_half_new(l7, KFL_SERVER, L7_IN_ORDER);
    if (!side->half)
        l7_response(l7, NULL);
    l7_half_wire(side->half, head->size);
    side->gql = false;
    tape = l7_tape(l7);
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_STATUS, head->status);
    fact_string(tape, KFL_FIELD_HTTP_RESPONSE_STATUS_TEXT, head->reason.at, head->reason.size);
    version_facts(side->half, tape, KFL_FIELD_HTTP_RESPONSE_HTTP_VERSION, head);
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_HEADERS_SIZE, head->size);
    fact_string(tape, KFL_FIELD_HTTP_RESPONSE_REDIRECT_URL, head->known.location.at,
                head->known.location.size);
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS, -1);
    body_begin(l7, KFL_SERVER, tape, head, data, none);
    if ((tunnel || upgraded) && !head->cut) {
        if (may_become(http, next))
            l7_switch(l7, next);
        else
            l7_finish(l7);
    } else if (asked & (ASKED_CONNECT | ASKED_UPGRADE)) {
        http->hold = false;
        l7_wake(l7, KFL_CLIENT);
    }
}

/* What this request says about those that follow. */
static void narrow(struct l7 *l7, const struct http1_head *head, bool connect, bool upgrade)
{
    struct http1 *http = l7_state(l7);
    const struct http_known *known = &head->known;

    if (connect || upgrade)
        return;
    http->origin |= head->target.size && head->target.at[0] == '/';
    http->last |= known->connection_close || head->version_none ||
                  (head->version_1_0 && !known->connection_keep_alive);
    if (http->last)
        l7_narrow(l7, KFL_PROTO_BIT(HTTP) | KFL_PROTO_BIT(GQL));
    else if (http->origin)
        l7_narrow(l7, KFL_PROTOS_HTTP | KFL_PROTO_BIT(WS));
}

/* Has narrow() left room for it? */
static bool may_become(const struct http1 *http, enum kfl_proto next)
{
    return !http->last && !(http->origin && next == KFL_PROTO_COUNT);
}

/* Behind the facts of the start line, which are on the tape: headers, and what body follows. */
static void body_begin(struct l7 *l7, enum kfl_side number, struct fact_tape *tape,
                       const struct http1_head *head, const uint8_t *data, bool none)
{
    struct http1_side *side = &((struct http1 *)l7_state(l7))->side[number];
    const struct http_known *known = &head->known;
    const struct kfl_demand *demand = l7_demand(l7);
    enum kfl_field map =
        number == KFL_CLIENT ? KFL_FIELD_HTTP_REQUEST_HEADERS : KFL_FIELD_HTTP_RESPONSE_HEADERS;
    bool contradictory = known->content_length == -2 && !known->chunked && !none;
    bool chunked = known->chunked && !none && !head->cut;
    bool trailers = chunked && fact_wanted(tape, map);

    side->coding = known->coding;
    side->body_size = 0;
    side->type_size = known->type.size < TYPE_MAX ? (uint16_t)known->type.size : TYPE_MAX;
    if (side->type_size)
        memcpy(side->type, known->type.at, side->type_size);
    side->collect = http_body_wanted(demand, number, side->gql);
    if (!trailers)
        http_header_facts(tape, number, &head->fields);
    l7_half_add(l7, side->half);
    if (trailers)
        l7_text_add(l7, &side->head, data, head->size);

    if (head->cut || contradictory) { /* where the message ends nobody knows */
        l7_half_error(side->half, KFL_ERROR_DISSECTION,
                      head->cut ? "bytes are missing" : "contradictory Content-Length");
        message_complete(l7, number);
        side->state = LOST;
        side->lost = 0;
        return;
    }
    if (chunked) {
        side->state = CHUNK_HEAD;
    } else if (none || known->content_length == 0 ||
               (known->content_length < 0 && number == KFL_CLIENT)) {
        message_complete(l7, number);
        return;
    } else if (known->content_length < 0) {
        side->state = CLOSE;
    } else {
        side->left = (uint64_t)known->content_length;
        side->state = side->collect ? LENGTH : SKIP;
        if (!side->collect) {
            l7_skip(l7, number, side->left);
            side->body_size = side->left;
        }
    }
    /* All that is asked for is known: the answer need not wait for the body. */
    if (!side->collect && !trailers &&
        (!http_end_wanted(demand, number) || (side->state == SKIP && number == KFL_SERVER)))
        message_complete(l7, number);
}

/* The message under way is a half entry now; its body, if not all of it has come, is passed over.
 */
static void message_complete(struct l7 *l7, enum kfl_side number)
{
    struct http1 *http = l7_state(l7);
    struct http1_side *side = &http->side[number];
    struct l7_half *half = side->half;
    struct http_body body = {
        .type = {side->type, side->type_size},
        .bytes = {side->body.data, side->body.size},
        .size = side->body_size,
        .coding = side->coding,
    };
    struct http_text text;
    struct fact_tape *tape;

    if (!half)
        return;
    side->half = NULL;
    tape = l7_tape(l7);
    if (side->head.size) {
        struct http1_head head;

        if (http1_head_parse(&head, number, side->head.data, side->head.size, false) ==
            HTTP1_HEAD_WHOLE)
            http_header_facts(tape, number, &head.fields);
    }
    text = http_body_facts(tape, l7_scratch(l7), number, &body);
    if (side->gql && http_gql_facts(tape, l7_scratch(l7), text))
        l7_half_proto(half, KFL_PROTO_GQL);
    l7_half_add(l7, half);
    l7_half_wire(half, side->body_size);
    l7_text_free(l7, &side->head);
    l7_text_free(l7, &side->body);
    side->collect = false;
    if (number == KFL_CLIENT) {
        l7_request(l7, half);
        if (http->early)
            l7_response(l7, http->early);
        http->early = NULL;
        http->early_ns = 0;
    } else if (http->early_ns) { /* it waits for the rest of its request */
        l7_half_time(half, http->early_ns, l7_now(l7));
        http->early = half;
    } else {
        l7_response(l7, half);
    }
}

/* ---- bodies ---- */

static size_t body_bytes(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1_side *side = &((struct http1 *)l7_state(l7))->side[number];
    size_t n = size;

    if (side->state != CLOSE && n > side->left)
        n = (size_t)side->left;
    side->body_size += n;
    if (side->collect)
        l7_text_add(l7, &side->body, data, n);
    if (side->state == CLOSE)
        return n;
    side->left -= n;
    if (!side->left && side->state == CHUNK_DATA) {
        side->state = CHUNK_END;
    } else if (!side->left) {
        side->state = START;
        message_complete(l7, number);
    }
    return n;
}

/* `1a2b;extension\r\n` */
static size_t chunk_head(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1_side *side = &((struct http1 *)l7_state(l7))->side[number];
    const uint8_t *end = memchr(data, '\n', size < CHUNK_LINE_MAX ? size : CHUNK_LINE_MAX);
    uint64_t left = 0;
    unsigned n = 0;

    if (!end && size < CHUNK_LINE_MAX)
        return 0;
    for (; end && data + n < end && n < 16; n++) {
        uint8_t c = data[n] | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        if (digit < 0 || data[n] < '0')
            break;
        left = left << 4 | (unsigned)digit;
    }
    if (!n || left > INT64_MAX) {
        struct l7_half *half = side->half;

        side->half = NULL;
        l7_give_up(l7, half, "broken chunk");
        return 0;
    }
    side->left = left;
    side->state = left ? CHUNK_DATA : TRAILER;
    l7_half_wire(side->half, (uint64_t)(end + 1 - data));
    return (size_t)(end + 1 - data);
}

static size_t chunk_end(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1_side *side = &((struct http1 *)l7_state(l7))->side[number];
    size_t n = data[0] == '\r' ? 2 : data[0] == '\n' ? 1 : 0;

    if (n > size)
        return 0;
    side->state = CHUNK_HEAD;
    l7_half_wire(side->half, n);
    return n;
}

/* Headers behind the last chunk, up to an empty line. They join those of the head. */
static size_t trailer(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1_side *side = &((struct http1 *)l7_state(l7))->side[number];
    const uint8_t *end = memchr(data, '\n', size);
    size_t n;

    if (!end) {
        if (size > TRAILER_MAX)
            l7_give_up(l7, NULL, "trailer too long");
        return 0;
    }
    n = (size_t)(end + 1 - data);
    l7_half_wire(side->half, n);
    if (n == 1 || (n == 2 && data[0] == '\r')) {
        side->state = START;
        message_complete(l7, number);
        return n;
    }
    if (side->head.size > 2 && side->head.size < TRAILER_MAX) {
        side->head.size -= side->head.data[side->head.size - 2] == '\r' ? 2 : 1; /* empty line */
        l7_text_add(l7, &side->head, data, n);
        l7_text_add(l7, &side->head, "\r\n", 2);
    }
    return n;
}

/* ---- after a hole ---- */

static size_t resynchronise(struct l7 *l7, enum kfl_side number, const uint8_t *data, size_t size)
{
    struct http1_side *side = &((struct http1 *)l7_state(l7))->side[number];
    const uint8_t *at = data, *end = data + size;

    while (at < end) {
        enum l7_probe answer = number == KFL_CLIENT ? http1_request_line(at, (size_t)(end - at))
                                                    : http1_status_line(at, (size_t)(end - at));

        if (answer == L7_PROBE_YES) {
            side->state = START;
            l7_wake(l7, number);
        }
        if (answer == L7_PROBE_YES || (answer == L7_PROBE_MORE && end - at < 512))
            return (size_t)(at - data);
        /* A request begins behind a line or with a packet; a response also right behind a body. */
        if (number == KFL_CLIENT) {
            const uint8_t *line = memchr(at, '\n', (size_t)(end - at));

            at = line ? line + 1 : end;
        } else {
            const uint8_t *next = at + 1 < end ? memchr(at + 1, 'H', (size_t)(end - at - 1)) : NULL;

            at = next ? next : end;
        }
    }
    side->lost += size;
    if (side->lost > LOST_MAX)
        l7_give_up(l7, NULL, "no message found behind a gap");
    return size;
}
