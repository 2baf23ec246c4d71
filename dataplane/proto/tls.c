/* TLS over TCP: records and the handshake up to where it is encrypted. RFC 5246, 8446.
 *
 * The ClientHello is the request; the response is the server's first flight: to ServerHelloDone, to
 * ChangeCipherSpec, or, in TLS 1.3, the ServerHello. Then the entry waits for one more word of the
 * client, for it may be an alert in clear (a certificate refused), and nothing more can be read. */
#include <string.h>

#include "../cursor.h"
#include "../l7.h"
#include "crypto.h"
#include "tls_hello.h"

enum { RECORD_HEAD = 5, RECORD_MAX = (16 << 10) + 2048, MESSAGE_HEAD = 4 };

enum content { CHANGE_CIPHER_SPEC = 20, ALERT = 21, HANDSHAKE = 22, APPLICATION = 23 };

enum message {
    CLIENT_HELLO = 1,
    SERVER_HELLO = 2,
    CERTIFICATE = 11,
    SERVER_HELLO_DONE = 14,
};

enum { EXTENSION_ALPN = 16, EXTENSION_VERSIONS = 43 };

struct side_state {
    struct l7_text handshake; /* messages that are not whole */
    size_t at;                /* first byte of it that is not parsed */
    bool encrypted;
};

struct state {
    struct side_state side[2];
    struct l7_half *request, *response; /* under way */
    uint16_t version;
    bool hello;    /* the ClientHello was read */
    bool answered; /* the server's first flight is over */
};

static const char *alert_name(uint8_t description)
{
    static const struct {
        uint8_t number;
        const char *name;
    } alerts[] = {
        {0, "close_notify"},
        {10, "unexpected_message"},
        {20, "bad_record_mac"},
        {21, "decryption_failed"},
        {22, "record_overflow"},
        {30, "decompression_failure"},
        {40, "handshake_failure"},
        {41, "no_certificate"},
        {42, "bad_certificate"},
        {43, "unsupported_certificate"},
        {44, "certificate_revoked"},
        {45, "certificate_expired"},
        {46, "certificate_unknown"},
        {47, "illegal_parameter"},
        {48, "unknown_ca"},
        {49, "access_denied"},
        {50, "decode_error"},
        {51, "decrypt_error"},
        {60, "export_restriction"},
        {70, "protocol_version"},
        {71, "insufficient_security"},
        {80, "internal_error"},
        {86, "inappropriate_fallback"},
        {90, "user_canceled"},
        {100, "no_renegotiation"},
        {109, "missing_extension"},
        {110, "unsupported_extension"},
        {111, "certificate_unobtainable"},
        {112, "unrecognized_name"},
        {113, "bad_certificate_status_response"},
        {114, "bad_certificate_hash_value"},
        {115, "unknown_psk_identity"},
        {116, "certificate_required"},
        {120, "no_application_protocol"},
        {121, "ech_required"},
    };

    for (size_t i = 0; i < sizeof(alerts) / sizeof(*alerts); i++)
        if (alerts[i].number == description)
            return alerts[i].name;
    return NULL;
}

/* ---- is it? ---- */
static enum l7_probe probe_side(const uint8_t *data, size_t size, bool *ret_server,
                                bool *ret_either)
{
    uint32_t length;

    if (data[0] & 0x80) {
        if (size < TLS_HELLO_V2_HEAD)
            return size > 2 && data[2] != CLIENT_HELLO ? L7_PROBE_NO : L7_PROBE_MORE;
        return tls_is_hello_v2(data, size) ? L7_PROBE_YES : L7_PROBE_NO;
    }
    if (data[0] != HANDSHAKE && data[0] != ALERT)
        return L7_PROBE_NO;
    if (size < RECORD_HEAD + 1)
        return size < 2 || data[1] == 3 ? L7_PROBE_MORE : L7_PROBE_NO;
    length = (uint32_t)data[3] << 8 | data[4];
    if (data[1] != 3 || data[2] > 4 || !length || length > RECORD_MAX)
        return L7_PROBE_NO;
    if (data[0] == ALERT) {
        if (size < RECORD_HEAD + 2)
            return L7_PROBE_MORE;
        *ret_either = true;
        return length == 2 && (data[5] == 1 || data[5] == 2) && alert_name(data[6]) ? L7_PROBE_YES
                                                                                    : L7_PROBE_NO;
    }
    if (data[5] != CLIENT_HELLO && data[5] != SERVER_HELLO)
        return L7_PROBE_NO;
    *ret_server = data[5] == SERVER_HELLO;
    return L7_PROBE_YES;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned side = 0; side < 2; side++) {
        bool server = false, either = false;
        enum l7_probe found = in->size[side]
                                  ? probe_side(in->data[side], in->size[side], &server, &either)
                                  : L7_PROBE_NO;

        if (found == L7_PROBE_YES) {
            *ret_swap = !either && server != (side == KFL_SERVER);
            return found;
        }
        if (found == L7_PROBE_MORE)
            answer = found;
    }
    return answer;
}

/* ---- halves ---- */
static struct l7_half *half_of(struct l7 *l7, enum kfl_side side)
{
    struct state *state = l7_state(l7);
    struct l7_half **half = side == KFL_CLIENT ? &state->request : &state->response;

    if (!*half)
        *half = l7_half_new(l7, side, L7_IN_ORDER);
    return *half;
}

/* The entry, with what there is of it. */
static void emit(struct l7 *l7)
{
    struct state *state = l7_state(l7);
    struct l7_half *request = state->request, *response = state->response;
    const char *version = tls_version_number(state->version);

    state->request = state->response = NULL;
    l7_half_version(request, version);
    l7_half_version(response, version);
    if (request && !response)
        l7_request(l7, request);
    else if (!request && response)
        l7_response(l7, response);
    else if (request)
        l7_entry(l7, request, response);
}

static void emit_and_finish(struct l7 *l7)
{
    emit(l7);
    l7_finish(l7);
}

/* ---- messages ---- */
static void client_hello(struct l7 *l7, const uint8_t *body, size_t size, bool v2)
{
    static const struct tls_hello_fields fields = {
        .version = KFL_FIELD_TLS_REQUEST_VERSION,
        .sni = KFL_FIELD_TLS_REQUEST_SNI,
        .alpn = KFL_FIELD_TLS_REQUEST_ALPN,
        .suites = KFL_FIELD_TLS_REQUEST_CIPHER_SUITES,
    };
    struct state *state = l7_state(l7);
    struct l7_half *half;

    if (state->hello) /* the second, after a HelloRetryRequest */
        return;
    state->hello = true;
    half = half_of(l7, KFL_CLIENT);
    state->version =
        (v2 ? tls_client_hello_v2 : tls_client_hello)(l7_tape(l7), &fields, body, size);
    l7_half_add(l7, half);
}

static void server_alpn(struct fact_tape *tape, struct cursor data)
{
    struct cursor list = cursor_sub(&data, cursor_u16(&data));
    struct cursor name = cursor_sub(&list, cursor_u8(&list));

    fact_string(tape, KFL_FIELD_TLS_RESPONSE_ALPN, name.at, cursor_left(&name));
}

/* -> is it a HelloRetryRequest: the real one is still to come */
static bool server_hello(struct l7 *l7, const uint8_t *body, size_t size)
{
    static const uint8_t retry[8] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11};
    struct state *state = l7_state(l7);
    struct cursor c = cursor_of(body, size);
    uint16_t version = cursor_u16(&c), suite;
    const uint8_t *random = cursor_bytes(&c, 32);
    struct l7_half *half;
    struct fact_tape *tape;
    char number[8];

    if (!random || !memcmp(random, retry, sizeof(retry)))
        return true;
    cursor_sub(&c, cursor_u8(&c));
    suite = cursor_u16(&c);
    cursor_u8(&c);
    cursor_u16(&c);
    half = half_of(l7, KFL_SERVER);
    tape = l7_tape(l7);
    while (cursor_left(&c) >= 4) {
        uint16_t type = cursor_u16(&c), length = cursor_u16(&c);
        struct cursor data = cursor_sub(&c, length);

        if (type == EXTENSION_ALPN)
            server_alpn(tape, data);
        else if (type == EXTENSION_VERSIONS)
            version = cursor_u16(&data);
    }
    fact_text(tape, KFL_FIELD_TLS_RESPONSE_VERSION, tls_version_name(version));
    fact_text(tape, KFL_FIELD_TLS_RESPONSE_CIPHER_SUITE, tls_suite_name(suite, number));
    l7_half_add(l7, half);
    state->version = version;
    state->answered |= version >= 0x0304;
    return false;
}

static void certificate(struct l7 *l7, const uint8_t *body, size_t size)
{
    struct cursor c = cursor_of(body, size), list, first;
    struct l7_half *half = half_of(l7, KFL_SERVER);
    struct fact_tape *tape = l7_tape(l7);

    list = cursor_sub(&c, cursor_u24(&c));
    first = cursor_sub(&list, cursor_u24(&list));
    if (cursor_left(&first) && fact_wanted(tape, KFL_FIELD_TLS_RESPONSE_CERTIFICATE)) {
        crypto_certificate(tape, first.at, cursor_left(&first));
        l7_half_add(l7, half);
    }
}

static void message(struct l7 *l7, enum kfl_side side, uint8_t type, const uint8_t *body,
                    size_t size)
{
    struct state *state = l7_state(l7);

    if (side == KFL_CLIENT) {
        if (type == CLIENT_HELLO)
            client_hello(l7, body, size, false);
        return;
    }
    if (type == SERVER_HELLO)
        server_hello(l7, body, size);
    else if (type == CERTIFICATE)
        certificate(l7, body, size);
    else if (type == SERVER_HELLO_DONE)
        state->answered = true;
}

/* Whole messages out of what has come; the rest is kept. */
static bool handshake(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    struct side_state *s = &state->side[side];

    l7_text_add(l7, &s->handshake, data, size);
    if (s->handshake.size < s->handshake.total)
        return false; /* more than a handshake has */
    while (s->handshake.size - s->at >= MESSAGE_HEAD) {
        const uint8_t *head = s->handshake.data + s->at;
        size_t length = (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];

        if (s->handshake.size - s->at - MESSAGE_HEAD < length)
            return length <= l7_text_max(l7);
        message(l7, side, head[0], head + MESSAGE_HEAD, length);
        s->at += MESSAGE_HEAD + length;
    }
    if (s->at == s->handshake.size) {
        l7_text_free(l7, &s->handshake);
        s->at = 0;
    }
    return true;
}

static void alert(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    const char *name = size == 2 ? alert_name(data[1]) : NULL;
    struct l7_half *half = half_of(l7, side);

    if (!name)
        return;
    fact_text(l7_tape(l7),
              side == KFL_CLIENT ? KFL_FIELD_TLS_REQUEST_ALERT : KFL_FIELD_TLS_RESPONSE_ALERT,
              name);
    l7_half_add(l7, half);
}

/* One record. -> false: nothing more can be read */
static bool record(struct l7 *l7, enum kfl_side side, uint8_t content, const uint8_t *data,
                   size_t size)
{
    struct state *state = l7_state(l7);
    bool over = state->answered && side == KFL_CLIENT;

    switch (content) {
    case HANDSHAKE:
        if (state->side[side].encrypted)
            return false;
        return handshake(l7, side, data, size) && !over;
    case ALERT:
        if (!state->side[side].encrypted && size == 2)
            alert(l7, side, data, size);
        return false;
    case CHANGE_CIPHER_SPEC:
        /* In TLS 1.3 it means nothing; before, what follows on this side is encrypted. */
        if (state->version < 0x0304 && state->response)
            state->side[side].encrypted = true;
        if (side == KFL_SERVER && state->version < 0x0304)
            state->answered = true;
        return !over;
    default:
        return !over && !(side == KFL_CLIENT && state->response);
    }
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    const struct state *state = l7_state(l7);
    struct l7_half *half;
    size_t length;

    if (!size)
        return 0;
    if (side == KFL_CLIENT && !state->hello &&
        data[0] & 0x80) { /* a ClientHello without a record? */
        if (!l7_has(l7, side, size, TLS_HELLO_V2_HEAD))
            return 0;
        length = tls_is_hello_v2(data, size);
        if (length && !l7_has(l7, side, size, length))
            return 0;
        if (length) {
            l7_half_wire(half_of(l7, side), length);
            client_hello(l7, data + 2, length - 2, true);
            return length;
        }
    }
    if (!l7_has(l7, side, size, RECORD_HEAD))
        return 0;
    length = (size_t)data[3] << 8 | data[4];
    if (data[0] < CHANGE_CIPHER_SPEC || data[0] > APPLICATION + 1 || data[1] != 3 ||
        length > RECORD_MAX) {
        emit(l7);
        l7_give_up(l7, NULL, "not a TLS record");
        return size;
    }
    if (!l7_has(l7, side, size, RECORD_HEAD + length))
        return 0;
    /* The half begins with its first record, so its times are that record's. */
    half = data[0] == HANDSHAKE || data[0] == ALERT ? half_of(l7, side) : NULL;
    l7_half_wire(half, RECORD_HEAD + length);
    if (!record(l7, side, data[0], data + RECORD_HEAD, length))
        emit_and_finish(l7);
    return RECORD_HEAD + length;
}

/* What is known stands, the rest of the handshake is lost. */
static void gap(struct l7 *l7, enum kfl_side side, uint64_t size, const uint8_t *unused,
                size_t unused_size)
{
    emit_and_finish(l7);
}

static void end(struct l7 *l7, enum l7_end why)
{
    emit(l7);
}

static void done(struct l7 *l7)
{
    struct state *state = l7_state(l7);

    l7_half_free(l7, state->request);
    l7_half_free(l7, state->response);
    l7_text_free(l7, &state->side[0].handshake);
    l7_text_free(l7, &state->side[1].handshake);
}

const struct dissector dissector_tls = {
    .proto = KFL_PROTO_TLS,
    .name = "tls",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(TLS),
    .ports = {443, 8443},
    .probe = probe,
    .parse = parse,
    .gap = gap,
    .end = end,
    .done = done,
};
