/* PostgreSQL's frontend/backend protocol 3.0 over TCP.
 *
 * Commands are answered in order. A simple query, a start-up, a function call end with
 * ReadyForQuery; Parse with ParseComplete, Execute with CommandComplete and its kin. After an error
 * the server skips what was sent up to the next Sync: those commands end with its ReadyForQuery,
 * status `error`, without a code of their own. Source: PostgreSQL documentation, chapter 55. */
#include <string.h>

#include "../cursor.h"
#include "../l7.h"
#include "prepared.h"

enum {
    LENGTH_MAX = 1 << 30,
    PORTALS_MAX = 8,
    NAME_MAX_SIZE = 64,
    PROTOCOL_3 = 3 << 16,
    SSL_REQUEST = 80877103,
    GSS_REQUEST = 80877104,
    CANCEL_REQUEST = 80877102,
};

enum kind { STARTUP, SSL, QUERY, PARSE, EXECUTE, FUNCTION_CALL };

struct name {
    uint8_t size;
    char text[NAME_MAX_SIZE];
};

struct state {
    struct name user, database, application; /* of the connection */
    bool started;                            /* typed messages follow on the client's side */
    bool asked_ssl;                          /* one byte is the answer */
    uint32_t batch_client;                   /* Syncs and queries sent */
    uint32_t batch_server;                   /* ReadyForQuery seen */
    struct prepared prepared;
    struct {
        uint64_t portal, statement;
    } portals[PORTALS_MAX];
    unsigned n_portals;
    /* the answer under way */
    struct l7_half *answer;
    uint64_t rows;
    uint16_t columns;
    bool failed;
    struct name tag;
};

/* ---- is it? ---- */
/* A 0-terminated text. */
static struct cursor text(struct cursor *c)
{
    const uint8_t *end = cursor_left(c) ? memchr(c->at, 0, cursor_left(c)) : NULL;
    struct cursor found = cursor_of(c->at, end ? (size_t)(end - c->at) : cursor_left(c));

    c->short_ |= !end;
    c->at = end ? end + 1 : c->end;
    return found;
}

static enum l7_probe probe_startup(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    uint32_t length = cursor_u32(&c), code = cursor_u32(&c);

    if (size < 8)
        return size < 1 || data[0] == 0 ? L7_PROBE_MORE : L7_PROBE_NO;
    if (code == SSL_REQUEST || code == GSS_REQUEST)
        return length == 8 ? L7_PROBE_YES : L7_PROBE_NO;
    if (code == CANCEL_REQUEST)
        return length >= 16 && length <= 268 ? L7_PROBE_YES : L7_PROBE_NO;
    return code >> 16 == 3 && (code & 0xffff) < 16 && length >= 9 && length < 10000 ? L7_PROBE_YES
                                                                                    : L7_PROBE_NO;
}

/* A message from the middle of a connection: type, length, and what its type says of the rest. */
static enum l7_probe probe_message(const uint8_t *data, size_t size, bool *ret_server)
{
    static const char frontend[] = "QPBEX", backend[] = "RTZCE12";
    struct cursor c = cursor_of(data, size);
    uint8_t type = cursor_u8(&c), last;
    uint32_t length = cursor_u32(&c);

    if (!size || (!strchr(frontend, type) && !strchr(backend, type)) || !type)
        return L7_PROBE_NO;
    if (size < 5)
        return L7_PROBE_MORE;
    if (length < 4 || length > 1 << 20)
        return L7_PROBE_NO;
    if (size < length + 1 && size < 64)
        return L7_PROBE_MORE;
    last = size > length ? data[length] : 0;
    *ret_server = !strchr("QPBX", type);
    switch (type) {
    case 'Q':
    case 'P':
        return length > 5 && !last && data[5] >= 9 && data[5] < 127 ? L7_PROBE_YES : L7_PROBE_NO;
    case 'B':
        return length >= 12 && size > length + 5 && strchr("DES", data[length + 1]) ? L7_PROBE_YES
                                                                                    : L7_PROBE_NO;
    case 'X':
        return length == 4 && size == 5 ? L7_PROBE_YES : L7_PROBE_NO;
    case 'Z':
        return length == 5 && strchr("ITE", last) ? L7_PROBE_YES : L7_PROBE_NO;
    case 'R':
        return length >= 8 && length < 4096 && data[5] == 0 && data[6] == 0 && data[7] == 0
                   ? L7_PROBE_YES
                   : L7_PROBE_NO;
    case '1':
    case '2':
        return length == 4 && size > 5 && strchr("2TDCEtnZ", data[5]) ? L7_PROBE_YES : L7_PROBE_NO;
    case 'E': /* an error; or the client's Execute, of which little can be told */
        return length > 8 && data[5] == 'S' && data[6] >= 'A' && data[6] <= 'Z' && !last
                   ? L7_PROBE_YES
                   : L7_PROBE_NO;
    case 'T':
        return length > 24 && data[5] == 0 && data[6] && size > length + 1 &&
                       strchr("DCE", data[length + 1])
                   ? L7_PROBE_YES
                   : L7_PROBE_NO;
    default: /* C */
        return length > 6 && length < 64 && !last && size > length + 1 &&
                       strchr("ZTCED", data[length + 1])
                   ? L7_PROBE_YES
                   : L7_PROBE_NO;
    }
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned side = 0; side < 2; side++) {
        bool server = false;
        enum l7_probe found;

        if (!in->size[side])
            continue;
        found = probe_startup(in->data[side], in->size[side]);
        if (found == L7_PROBE_NO)
            found = probe_message(in->data[side], in->size[side], &server);
        if (found == L7_PROBE_YES) {
            *ret_swap = server != (side == KFL_SERVER);
            return found;
        }
        if (found == L7_PROBE_MORE)
            answer = found;
    }
    return answer;
}

/* ---- commands ---- */
static void name_set(struct name *name, struct cursor value)
{
    size_t size = cursor_left(&value);

    name->size = (uint8_t)(size < NAME_MAX_SIZE ? size : NAME_MAX_SIZE);
    memcpy(name->text, value.at, name->size);
}

static void command(struct l7 *l7, struct l7_half *half, const char *name, uint32_t wire)
{
    const struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);

    fact_text(tape, KFL_FIELD_POSTGRESQL_REQUEST_COMMAND, name);
    fact_string(tape, KFL_FIELD_POSTGRESQL_REQUEST_USER, state->user.text, state->user.size);
    fact_string(tape, KFL_FIELD_POSTGRESQL_REQUEST_DATABASE, state->database.text,
                state->database.size);
    fact_string(tape, KFL_FIELD_POSTGRESQL_REQUEST_APPLICATION_NAME, state->application.text,
                state->application.size);
    l7_half_add(l7, half);
    l7_half_wire(half, wire);
}

/* A command that is answered: which kind, and before which Sync. */
static void ask(struct l7 *l7, struct l7_half *half, enum kind kind)
{
    const struct state *state = l7_state(l7);

    l7_half_set_user(half, (uint64_t)kind << 32 | state->batch_client);
    l7_request(l7, half);
}

static void startup(struct l7 *l7, enum kfl_side side, uint32_t length, struct cursor c)
{
    struct state *state = l7_state(l7);
    uint32_t code = cursor_u32(&c);
    struct l7_half *half = l7_half_new(l7, side, L7_IN_ORDER);

    if (code == SSL_REQUEST || code == GSS_REQUEST) {
        command(l7, half, "SSLRequest", length);
        state->asked_ssl = true;
        ask(l7, half, SSL);
        return;
    }
    if (code == CANCEL_REQUEST) {
        command(l7, half, "CancelRequest", length);
        l7_single(l7, half);
        return;
    }
    while (cursor_left(&c) > 1) {
        struct cursor key = text(&c), value = text(&c);
        size_t size = cursor_left(&key);

        if (size == 4 && !memcmp(key.at, "user", 4))
            name_set(&state->user, value);
        else if (size == 8 && !memcmp(key.at, "database", 8))
            name_set(&state->database, value);
        else if (size == 16 && !memcmp(key.at, "application_name", 16))
            name_set(&state->application, value);
    }
    if (!state->database.size)
        state->database = state->user;
    state->started = true;
    command(l7, half, "Startup", length);
    ask(l7, half, STARTUP);
}

static void parse_command(struct l7 *l7, struct l7_half *half, struct cursor c, uint32_t wire)
{
    struct state *state = l7_state(l7);
    struct cursor statement = text(&c), query = text(&c);
    struct fact_tape *tape = l7_tape(l7);
    struct l7_text kept = {0};

    fact_string(tape, KFL_FIELD_POSTGRESQL_REQUEST_STATEMENT, statement.at,
                cursor_left(&statement));
    fact_string(tape, KFL_FIELD_POSTGRESQL_REQUEST_QUERY, query.at, cursor_left(&query));
    l7_half_add(l7, half);
    command(l7, half, "Parse", wire);
    if (fact_wanted(l7_tape(l7), KFL_FIELD_POSTGRESQL_REQUEST_QUERY)) {
        l7_text_add(l7, &kept, query.at, cursor_left(&query));
        prepared_put(l7, &state->prepared, prepared_hash(statement.at, cursor_left(&statement)),
                     &kept);
    }
    ask(l7, half, PARSE);
}

static void bind(struct state *state, struct cursor c)
{
    struct cursor portal = text(&c), statement = text(&c);
    uint64_t name = prepared_hash(portal.at, cursor_left(&portal));
    unsigned at = 0;

    while (at < PORTALS_MAX && state->portals[at].portal != name)
        at++;
    if (at == PORTALS_MAX)
        at = state->n_portals++ % PORTALS_MAX;
    state->portals[at].portal = name;
    state->portals[at].statement = prepared_hash(statement.at, cursor_left(&statement));
}

static void execute(struct l7 *l7, struct l7_half *half, struct cursor c, uint32_t wire)
{
    struct state *state = l7_state(l7);
    struct cursor portal = text(&c);
    uint64_t name = prepared_hash(portal.at, cursor_left(&portal));
    struct fact_tape *tape = l7_tape(l7);

    fact_string(tape, KFL_FIELD_POSTGRESQL_REQUEST_PORTAL, portal.at, cursor_left(&portal));
    for (unsigned i = 0; i < PORTALS_MAX; i++) {
        const struct l7_text *query;

        if (state->portals[i].portal != name)
            continue;
        query = prepared_get(&state->prepared, state->portals[i].statement);
        if (query)
            fact_string(tape, KFL_FIELD_POSTGRESQL_REQUEST_QUERY, query->data, query->size);
        break;
    }
    l7_half_add(l7, half);
    command(l7, half, "Execute", wire);
    ask(l7, half, EXECUTE);
}

static void query(struct l7 *l7, struct l7_half *half, struct cursor c, uint32_t wire)
{
    struct cursor sql = text(&c);

    fact_string(l7_tape(l7), KFL_FIELD_POSTGRESQL_REQUEST_QUERY, sql.at, cursor_left(&sql));
    l7_half_add(l7, half);
    command(l7, half, "Query", wire);
}

static void client_message(struct l7 *l7, uint8_t type, uint32_t wire, struct cursor c)
{
    struct state *state = l7_state(l7);
    struct l7_half *half;

    switch (type) {
    case 'S':
        state->batch_client++;
        return;
    case 'B':
        bind(state, c);
        return;
    case 'Q':
    case 'P':
    case 'E':
    case 'F':
    case 'X':
    case 'd':
        half = l7_half_new(l7, KFL_CLIENT, L7_IN_ORDER);
        break;
    default: /* Describe, Close, Flush, passwords, ends of a copy */
        return;
    }
    switch (type) {
    case 'Q':
        query(l7, half, c, wire);
        ask(l7, half, QUERY);
        state->batch_client++;
        break;
    case 'P':
        parse_command(l7, half, c, wire);
        break;
    case 'E':
        execute(l7, half, c, wire);
        break;
    case 'F':
        command(l7, half, "FunctionCall", wire);
        ask(l7, half, FUNCTION_CALL);
        state->batch_client++;
        break;
    default:
        command(l7, half, type == 'X' ? "Terminate" : "CopyData", wire);
        l7_single(l7, half);
        break;
    }
}

/* ---- answers ---- */
static void answer_begin(struct l7 *l7, uint32_t wire)
{
    struct state *state = l7_state(l7);

    if (!state->answer)
        state->answer = l7_half_new(l7, KFL_SERVER, L7_IN_ORDER);
    l7_half_wire(state->answer, wire);
}

static void answer_end(struct l7 *l7)
{
    struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);
    struct l7_half *answer = state->answer;

    fact_text(tape, KFL_FIELD_POSTGRESQL_RESPONSE_STATUS, state->failed ? "error" : "ok");
    fact_string(tape, KFL_FIELD_POSTGRESQL_RESPONSE_TAG, state->tag.text, state->tag.size);
    fact_int(tape, KFL_FIELD_POSTGRESQL_RESPONSE_COLUMNS, state->columns);
    fact_int(tape, KFL_FIELD_POSTGRESQL_RESPONSE_ROWS, (int64_t)state->rows);
    l7_half_add(l7, answer);
    state->answer = NULL;
    state->rows = 0;
    state->columns = 0;
    state->failed = false;
    state->tag.size = 0;
    l7_response(l7, answer);
}

static void error(struct l7 *l7, struct cursor c)
{
    struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);
    uint8_t kind;

    if (state->failed) /* the first one counts */
        return;
    state->failed = true;
    while ((kind = cursor_u8(&c))) {
        struct cursor value = text(&c);
        enum kfl_field field = kind == 'S'   ? KFL_FIELD_POSTGRESQL_RESPONSE_SEVERITY
                               : kind == 'C' ? KFL_FIELD_POSTGRESQL_RESPONSE_ERROR_CODE
                               : kind == 'M' ? KFL_FIELD_POSTGRESQL_RESPONSE_ERROR_MESSAGE
                                             : KFL_FIELD_NONE;

        if (field != KFL_FIELD_NONE)
            fact_string(tape, field, value.at, cursor_left(&value));
    }
    l7_half_add(l7, state->answer);
}

static bool oldest(struct l7 *l7, enum kind *ret_kind, uint32_t *ret_batch)
{
    const struct l7_half *half = l7_pending(l7, L7_IN_ORDER);
    uint64_t user = half ? l7_half_user(half) : 0;

    *ret_kind = (enum kind)(user >> 32);
    *ret_batch = (uint32_t)user;
    return half;
}

/* ReadyForQuery: ends the command that it ends, and those of its batch that were skipped. */
static void ready(struct l7 *l7, uint32_t wire)
{
    struct state *state = l7_state(l7);
    enum kind kind;
    uint32_t batch;

    while (oldest(l7, &kind, &batch)) {
        bool whole = kind == STARTUP || kind == QUERY || kind == FUNCTION_CALL;

        if (kind != STARTUP && (int32_t)(batch - state->batch_server) > 0)
            break;
        answer_begin(l7, wire);
        state->failed |= !whole;
        answer_end(l7);
        if (kind == STARTUP)
            return; /* no Sync was asked for */
        if (whole)
            break;
    }
    state->batch_server++;
}

static void server_message(struct l7 *l7, uint8_t type, uint32_t wire, struct cursor c)
{
    struct state *state = l7_state(l7);
    enum kind kind;
    uint32_t batch;
    bool asked = oldest(l7, &kind, &batch);
    bool step = asked && (kind == PARSE || kind == EXECUTE);

    switch (type) {
    case 'Z':
        ready(l7, wire);
        return;
    case 'N': /* notices, notifications, parameters, keys: of no command */
    case 'A':
    case 'S':
    case 'K':
    case 'R':
        return;
    default:
        break;
    }
    answer_begin(l7, wire);
    switch (type) {
    case 'T':
        state->columns = cursor_u16(&c);
        break;
    case 'D': /* an Execute without a Describe: the row says how wide it is */
        if (!state->columns)
            state->columns = cursor_u16(&c);
        state->rows++;
        break;
    case 'd':
        state->rows++;
        break;
    case 'C':
        name_set(&state->tag, text(&c));
        if (step && kind == EXECUTE)
            answer_end(l7);
        break;
    case 'E':
        error(l7, c);
        if (step || !asked || kind == STARTUP)
            answer_end(l7);
        break;
    case '1':
        if (step && kind == PARSE)
            answer_end(l7);
        break;
    case 's':
    case 'I':
        if (step && kind == EXECUTE)
            answer_end(l7);
        break;
    default:
        break;
    }
}

/* ---- bytes ---- */
static size_t parse_startup(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    uint32_t length = cursor_u32(&c);

    if (size < 8 || (length < 10000 && size < length)) {
        l7_need(l7, side, size < 8 ? 8 : length);
        return 0;
    }
    c = cursor_of(data + 4, length - 4);
    startup(l7, side, length, c);
    return length;
}

/* The one byte that answers an SSLRequest; an error is a message. */
static size_t parse_ssl_answer(struct l7 *l7, uint8_t byte)
{
    struct state *state = l7_state(l7);

    state->asked_ssl = false;
    if (byte == 'E')
        return 0;
    answer_begin(l7, 1);
    answer_end(l7);
    if (byte == 'S')
        l7_switch(l7, KFL_PROTO_TLS);
    else if (byte == 'G')
        l7_finish(l7);
    return 1;
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    uint32_t length, shown, shown_max = L7_SHOWN_MAX;

    if (side == KFL_SERVER && state->asked_ssl) {
        size_t used = size ? parse_ssl_answer(l7, data[0]) : 0;

        if (used || !size)
            return used;
    }
    if (side == KFL_CLIENT && state->asked_ssl)
        return 0; /* what follows is TLS or a start-up: the server says which */
    if (size < 8 && (side == KFL_CLIENT && !state->started && data[0] == 0)) {
        l7_need(l7, side, 8);
        return 0;
    }
    if (side == KFL_CLIENT && !state->started && probe_startup(data, size) == L7_PROBE_YES)
        return parse_startup(l7, side, data, size);
    if (!l7_has(l7, side, size, 5))
        return 0;
    if (side == KFL_CLIENT)
        state->started = true;
    length = (uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 8 | data[4];
    if (length < 4 || length > LENGTH_MAX || data[0] < '1' || data[0] > 'z') {
        l7_give_up(l7, NULL, "not a PostgreSQL message");
        return size;
    }
    length++;
    if (data[0] == 'd')
        shown_max = 5;
    else if (side == KFL_SERVER && data[0] == 'D')
        shown_max = 7; /* with the count of columns */
    shown = l7_message(l7, side, size, length, shown_max);
    if (!shown)
        return 0;
    if (side == KFL_CLIENT)
        client_message(l7, data[0], length, cursor_of(data + 5, shown - 5));
    else
        server_message(l7, data[0], length, cursor_of(data + 5, shown - 5));
    return shown;
}

static void done(struct l7 *l7)
{
    struct state *state = l7_state(l7);

    l7_half_free(l7, state->answer);
    prepared_done(l7, &state->prepared);
}

const struct dissector dissector_postgresql = {
    .proto = KFL_PROTO_POSTGRESQL,
    .name = "postgresql",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(POSTGRESQL) | KFL_PROTO_BIT(TLS),
    .ports = {5432},
    .probe = probe,
    .parse = parse,
    .done = done,
};
