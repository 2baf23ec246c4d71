/* MySQL's and MariaDB's client/server protocol, version 10, over TCP.
 *
 *   server greeting -> client's handshake response (LOGIN) -> ... -> OK or ERR
 *   command (sequence 0) -> OK | ERR | EOF | result sets
 *
 * Commands are answered in order. A result set is counted, its rows are not read. After an
 * SSLRequest the bytes are TLS; with compression agreed nothing more can be read. Source: MySQL
 * Internals, client/server protocol; MariaDB's documentation of the same. */
#include <stdio.h>
#include <string.h>

#include "../cursor.h"
#include "../l7.h"
#include "prepared.h"

enum {
    HEADER = 4,
    NAME_SIZE = 64,
    ROW_SHOWN = 16, /* enough to tell a row from the end of the rows */
    ATTRIBUTES_MAX = 64,
};

enum capability {
    CAP_CONNECT_WITH_DB = 1 << 3,
    CAP_COMPRESS = 1 << 5,
    CAP_PROTOCOL_41 = 1 << 9,
    CAP_SSL = 1 << 11,
    CAP_SECURE_CONNECTION = 1 << 15,
    CAP_PLUGIN_AUTH_LENENC = 1 << 21,
    CAP_DEPRECATE_EOF = 1 << 24,
    CAP_ZSTD = 1 << 26,
    CAP_QUERY_ATTRIBUTES = 1 << 27,
};

enum { STATUS_MORE_RESULTS = 0x0008, STATUS_CURSOR = 0x0040 };

enum command {
    COM_QUIT = 1,
    COM_INIT_DB = 2,
    COM_QUERY = 3,
    COM_FIELD_LIST = 4,
    COM_STATISTICS = 9,
    COM_PING = 14,
    COM_CHANGE_USER = 17,
    COM_BINLOG_DUMP = 18,
    COM_STMT_PREPARE = 22,
    COM_STMT_EXECUTE = 23,
    COM_STMT_SEND_LONG_DATA = 24,
    COM_STMT_CLOSE = 25,
    COM_STMT_RESET = 26,
    COM_STMT_FETCH = 28,
    COM_BINLOG_DUMP_GTID = 30,
    LOGIN = 256, /* the handshake: no command of the wire */
};

static const char *const command_names[] = {
    "COM_SLEEP",
    "COM_QUIT",
    "COM_INIT_DB",
    "COM_QUERY",
    "COM_FIELD_LIST",
    "COM_CREATE_DB",
    "COM_DROP_DB",
    "COM_REFRESH",
    "COM_SHUTDOWN",
    "COM_STATISTICS",
    "COM_PROCESS_INFO",
    "COM_CONNECT",
    "COM_PROCESS_KILL",
    "COM_DEBUG",
    "COM_PING",
    "COM_TIME",
    "COM_DELAYED_INSERT",
    "COM_CHANGE_USER",
    "COM_BINLOG_DUMP",
    "COM_TABLE_DUMP",
    "COM_CONNECT_OUT",
    "COM_REGISTER_SLAVE",
    "COM_STMT_PREPARE",
    "COM_STMT_EXECUTE",
    "COM_STMT_SEND_LONG_DATA",
    "COM_STMT_CLOSE",
    "COM_STMT_RESET",
    "COM_SET_OPTION",
    "COM_STMT_FETCH",
    "COM_DAEMON",
    "COM_BINLOG_DUMP_GTID",
    "COM_RESET_CONNECTION",
    "COM_CLONE",
};
enum { N_COMMANDS = sizeof(command_names) / sizeof(*command_names) };

/* Where in an answer the next packet of the server is. */
enum phase {
    FIRST,       /* OK, ERR, EOF, or a column count */
    COLUMNS,     /* `left` definitions to come */
    COLUMNS_END, /* EOF after them, unless it is deprecated */
    ROWS,        /* until EOF, OK, ERR */
};

struct name {
    uint8_t size;
    char text[NAME_SIZE];
};

struct state {
    uint32_t capabilities; /* the client's; 0: not seen */
    bool logged_in;        /* commands follow */
    struct name user, database;
    struct prepared prepared;
    struct l7_text preparing; /* text of a COM_STMT_PREPARE that is not answered */
    /* the answer under way */
    enum phase phase;
    uint32_t left; /* packets of definitions to come */
    uint32_t columns;
    uint64_t rows;
    struct l7_half *answer;
    bool result_set;
};

static uint64_t lenenc(struct cursor *c)
{
    uint8_t first = cursor_u8(c);

    switch (first) {
    case 0xfc:
        return cursor_le16(c);
    case 0xfd:
        return cursor_le24(c);
    case 0xfe:
        return cursor_le64(c);
    default:
        return first;
    }
}

static struct cursor text(struct cursor *c)
{
    const uint8_t *end = cursor_left(c) ? memchr(c->at, 0, cursor_left(c)) : NULL;
    struct cursor found = cursor_of(c->at, end ? (size_t)(end - c->at) : cursor_left(c));

    c->at = end ? end + 1 : c->end;
    return found;
}

static bool is_text(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size && i < 16; i++)
        if (data[i] < 9 || (data[i] > 13 && data[i] < 32) || data[i] == 127)
            return false;
    return size > 0;
}

/* ---- is it? ---- */
static enum l7_probe probe_greeting(const uint8_t *data, size_t size)
{
    uint32_t length = data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16;

    if (data[3] != 0 || length < 8 || length > 512)
        return L7_PROBE_NO;
    if (size < 12)
        return L7_PROBE_MORE;
    if (data[4] == 0xff) /* an error instead: code, then text */
        return (data[5] | data[6] << 8) >= 1000 && data[6] < 0x20 && is_text(data + 7, 5)
                   ? L7_PROBE_YES
                   : L7_PROBE_NO;
    if (data[4] != 10 || data[5] < '0' || data[5] > '9')
        return L7_PROBE_NO;
    return is_text(data + 5, 3) ? L7_PROBE_YES : L7_PROBE_NO;
}

static enum l7_probe probe_command(const uint8_t *data, size_t size)
{
    uint32_t length = data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16;
    const uint8_t *query = data + 5;

    if (data[3] != 0 || !length)
        return L7_PROBE_NO;
    if (size < 5)
        return L7_PROBE_MORE;
    if (length + HEADER < size)
        return L7_PROBE_NO;
    switch (data[4]) {
    case COM_QUIT:
    case COM_PING:
    case COM_STATISTICS:
        return length == 1 && size == 5 ? L7_PROBE_YES : L7_PROBE_NO;
    case COM_INIT_DB:
    case COM_QUERY:
    case COM_STMT_PREPARE:
        if (length < 4)
            return L7_PROBE_NO;
        if (size < 8)
            return L7_PROBE_MORE;
        if (data[4] == COM_QUERY && size > 8 && query[0] == 0 && query[1] == 1)
            query += 2;
        return is_text(query, (size_t)(data + size - query)) ? L7_PROBE_YES : L7_PROBE_NO;
    case COM_STMT_EXECUTE:
        return length >= 10 && size == length + HEADER && data[9] <= 7 && data[10] == 1
                   ? L7_PROBE_YES
                   : L7_PROBE_NO;
    default:
        return L7_PROBE_NO;
    }
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned side = 0; side < 2; side++) {
        enum l7_probe found;
        bool server = true;

        if (!in->size[side])
            continue;
        if (in->size[side] < HEADER) {
            answer = L7_PROBE_MORE;
            continue;
        }
        found = probe_greeting(in->data[side], in->size[side]);
        if (found == L7_PROBE_NO) {
            found = probe_command(in->data[side], in->size[side]);
            server = false;
        }
        if (found == L7_PROBE_YES) {
            *ret_swap = server != (side == KFL_SERVER);
            return found;
        }
        if (found == L7_PROBE_MORE)
            answer = found;
    }
    return answer;
}

/* ---- requests ---- */
static void name_set(struct name *name, struct cursor value)
{
    size_t size = cursor_left(&value);

    name->size = (uint8_t)(size < NAME_SIZE ? size : NAME_SIZE);
    memcpy(name->text, value.at, name->size);
}

static struct l7_half *request_begin(struct l7 *l7, const char *name)
{
    const struct state *state = l7_state(l7);
    struct l7_half *half = l7_half_new(l7, KFL_CLIENT, L7_IN_ORDER);
    struct fact_tape *tape = l7_tape(l7);

    fact_text(tape, KFL_FIELD_MYSQL_REQUEST_COMMAND, name);
    fact_string(tape, KFL_FIELD_MYSQL_REQUEST_USER, state->user.text, state->user.size);
    fact_string(tape, KFL_FIELD_MYSQL_REQUEST_DATABASE, state->database.text, state->database.size);
    l7_half_add(l7, half);
    return half;
}

static void request_end(struct l7 *l7, struct l7_half *half, unsigned number, uint32_t wire)
{
    struct state *state = l7_state(l7);

    l7_half_wire(half, wire);
    l7_half_set_user(half, number);
    if (!l7_n_pending(l7))
        state->phase = FIRST;
    if (number == COM_QUIT || number == COM_STMT_CLOSE || number == COM_STMT_SEND_LONG_DATA)
        l7_single(l7, half);
    else
        l7_request(l7, half);
}

/* The parameters that MySQL 8 puts before a query when query attributes are agreed. */
static void skip_attributes(struct cursor *c)
{
    uint64_t n = lenenc(c);
    uint16_t types[ATTRIBUTES_MAX];
    const uint8_t *nulls;

    lenenc(c); /* sets of them: 1 */
    if (!n || n > ATTRIBUTES_MAX)
        return;
    nulls = cursor_bytes(c, (n + 7) / 8);
    if (!cursor_u8(c) || !nulls)
        return;
    for (uint64_t i = 0; i < n; i++) {
        types[i] = cursor_le16(c);
        cursor_sub(c, lenenc(c));
    }
    for (uint64_t i = 0; i < n && !c->short_; i++) {
        if (nulls[i / 8] & 1 << i % 8)
            continue;
        switch (types[i] & 0xff) {
        case 0x01:
            cursor_u8(c);
            break;
        case 0x02:
        case 0x0d:
            cursor_le16(c);
            break;
        case 0x03:
        case 0x04:
        case 0x09:
            cursor_le32(c);
            break;
        case 0x05:
        case 0x08:
            cursor_le64(c);
            break;
        case 0x06:
            break;
        case 0x07:
        case 0x0a:
        case 0x0b:
        case 0x0c:
            cursor_sub(c, cursor_u8(c));
            break;
        default:
            cursor_sub(c, lenenc(c));
            break;
        }
    }
}

static void login(struct l7 *l7, struct cursor c, uint32_t wire)
{
    struct state *state = l7_state(l7);
    struct l7_half *half;

    state->capabilities = cursor_le16(&c);
    if (state->capabilities & CAP_PROTOCOL_41)
        state->capabilities |= (uint32_t)cursor_le16(&c) << 16;
    if (state->capabilities & CAP_SSL && cursor_left(&c) <= 28) { /* nothing but capabilities */
        half = request_begin(l7, "LOGIN");
        l7_half_wire(half, wire);
        l7_single(l7, half);
        l7_switch(l7, KFL_PROTO_TLS);
        return;
    }
    cursor_sub(&c, state->capabilities & CAP_PROTOCOL_41 ? 28 : 3);
    name_set(&state->user, text(&c));
    if (state->capabilities & CAP_PLUGIN_AUTH_LENENC)
        cursor_sub(&c, lenenc(&c));
    else if (state->capabilities & CAP_SECURE_CONNECTION)
        cursor_sub(&c, cursor_u8(&c));
    else
        text(&c);
    if (state->capabilities & CAP_CONNECT_WITH_DB || !(state->capabilities & CAP_PROTOCOL_41))
        name_set(&state->database, text(&c));
    request_end(l7, request_begin(l7, "LOGIN"), LOGIN, wire);
}

/* What a command says beyond its name. */
static void command_facts(struct l7 *l7, uint8_t number, struct cursor c)
{
    struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);
    const struct l7_text *query;
    uint32_t id;

    switch (number) {
    case COM_QUERY:
        if (state->capabilities & CAP_QUERY_ATTRIBUTES ||
            (!state->capabilities && cursor_left(&c) > 2 && c.at[0] == 0 && c.at[1] == 1))
            skip_attributes(&c);
        fact_string(tape, KFL_FIELD_MYSQL_REQUEST_QUERY, c.at, cursor_left(&c));
        break;
    case COM_STMT_PREPARE:
        fact_string(tape, KFL_FIELD_MYSQL_REQUEST_QUERY, c.at, cursor_left(&c));
        l7_text_free(l7, &state->preparing);
        if (fact_wanted(tape, KFL_FIELD_MYSQL_REQUEST_QUERY))
            l7_text_add(l7, &state->preparing, c.at, cursor_left(&c));
        break;
    case COM_STMT_EXECUTE:
    case COM_STMT_SEND_LONG_DATA:
    case COM_STMT_CLOSE:
    case COM_STMT_RESET:
    case COM_STMT_FETCH:
        id = cursor_le32(&c);
        query = prepared_get(&state->prepared, id);
        fact_int(tape, KFL_FIELD_MYSQL_REQUEST_STATEMENT_ID, id);
        if (query && number == COM_STMT_EXECUTE)
            fact_string(tape, KFL_FIELD_MYSQL_REQUEST_QUERY, query->data, query->size);
        if (number == COM_STMT_CLOSE)
            prepared_remove(l7, &state->prepared, id);
        break;
    default:
        break;
    }
}

static void command(struct l7 *l7, struct cursor c, uint32_t wire)
{
    struct state *state = l7_state(l7);
    uint8_t number = cursor_u8(&c);
    struct l7_half *half;

    if (number >= N_COMMANDS) {
        l7_give_up(l7, NULL, "not a MySQL command");
        return;
    }
    state->logged_in = true;
    if (number == COM_INIT_DB)
        name_set(&state->database, c);
    if (number == COM_CHANGE_USER) {
        struct cursor user = c;

        name_set(&state->user, text(&user));
    }
    half = request_begin(l7, command_names[number]);
    command_facts(l7, number, c);
    l7_half_add(l7, half);
    request_end(l7, half, number, wire);
}

/* ---- answers ---- */
static void answer_begin(struct l7 *l7, uint32_t wire)
{
    struct state *state = l7_state(l7);

    if (!state->answer)
        state->answer = l7_half_new(l7, KFL_SERVER, L7_IN_ORDER);
    l7_half_wire(state->answer, wire);
}

static void answer_end(struct l7 *l7, const char *status)
{
    struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);
    struct l7_half *answer = state->answer;

    fact_text(tape, KFL_FIELD_MYSQL_RESPONSE_STATUS, status);
    fact_int(tape, KFL_FIELD_MYSQL_RESPONSE_COLUMNS, state->columns);
    fact_int(tape, KFL_FIELD_MYSQL_RESPONSE_ROWS, (int64_t)state->rows);
    l7_half_add(l7, answer);
    state->answer = NULL;
    state->phase = FIRST;
    state->columns = 0;
    state->rows = 0;
    state->result_set = false;
    l7_response(l7, answer);
}

static void answer_error(struct l7 *l7, struct cursor c)
{
    const struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);

    cursor_u8(&c);
    fact_int(tape, KFL_FIELD_MYSQL_RESPONSE_ERROR_CODE, cursor_le16(&c));
    if (cursor_left(&c) > 6 && *c.at == '#') {
        cursor_u8(&c);
        fact_string(tape, KFL_FIELD_MYSQL_RESPONSE_SQL_STATE, cursor_bytes(&c, 5), 5);
    }
    fact_string(tape, KFL_FIELD_MYSQL_RESPONSE_ERROR_MESSAGE, c.at, cursor_left(&c));
    l7_half_add(l7, state->answer);
    answer_end(l7, "ERR");
}

/* OK, also where it stands for EOF (header 0xfe). -> the status flags */
static uint16_t answer_ok(struct l7 *l7, struct cursor c, bool last)
{
    const struct state *state = l7_state(l7);
    struct fact_tape *tape = l7_tape(l7);
    uint64_t affected, id;
    uint16_t status, warnings;

    cursor_u8(&c);
    affected = lenenc(&c);
    id = lenenc(&c);
    status = cursor_le16(&c);
    warnings = cursor_le16(&c);
    if (status & STATUS_MORE_RESULTS && !last)
        return status;
    fact_int(tape, KFL_FIELD_MYSQL_RESPONSE_AFFECTED_ROWS, (int64_t)affected);
    fact_int(tape, KFL_FIELD_MYSQL_RESPONSE_LAST_INSERT_ID, (int64_t)id);
    fact_int(tape, KFL_FIELD_MYSQL_RESPONSE_WARNINGS, warnings);
    l7_half_add(l7, state->answer);
    return status;
}

/* EOF -> the status flags; its warnings are facts when it ends the answer. */
static uint16_t answer_eof(struct l7 *l7, struct cursor c, bool last)
{
    const struct state *state = l7_state(l7);
    uint16_t warnings;

    cursor_u8(&c);
    warnings = cursor_le16(&c);
    if (last) {
        fact_int(l7_tape(l7), KFL_FIELD_MYSQL_RESPONSE_WARNINGS, warnings);
        l7_half_add(l7, state->answer);
    }
    return cursor_le16(&c);
}

static void answer_prepared(struct l7 *l7, struct cursor c)
{
    struct state *state = l7_state(l7);

    cursor_u8(&c);
    prepared_put(l7, &state->prepared, cursor_le32(&c), &state->preparing);
    state->columns = cursor_le16(&c);
    /* The definitions that follow belong to no command that waits: they are passed over. */
    answer_end(l7, "OK");
}

static void results_end(struct l7 *l7, uint16_t status)
{
    struct state *state = l7_state(l7);

    if (status & STATUS_MORE_RESULTS)
        state->phase = FIRST;
    else
        answer_end(l7, "ResultSet");
}

/* The first packet of an answer, or of a further result. */
static void answer_first(struct l7 *l7, unsigned number, struct cursor c, uint32_t length)
{
    struct state *state = l7_state(l7);
    struct cursor count = c;
    uint64_t columns;

    switch (*c.at) {
    case 0x00:
        if (number == COM_STMT_PREPARE)
            answer_prepared(l7, c);
        else if (!(answer_ok(l7, c, false) & STATUS_MORE_RESULTS))
            answer_end(l7, state->result_set ? "ResultSet" : "OK");
        return;
    case 0xfe:
        answer_eof(l7, c, true);
        answer_end(l7, "EOF");
        return;
    case 0xfb: /* LOCAL INFILE: the client sends a file, then comes OK or ERR */
        return;
    default:
        break;
    }
    columns = lenenc(&count);
    if (number == COM_FIELD_LIST || number == COM_STMT_FETCH || columns > 4096 || length > 9) {
        state->phase = ROWS; /* no count in front */
        state->result_set = true;
        state->rows = 1;
        return;
    }
    state->columns = state->left = (uint32_t)columns;
    state->result_set = true;
    state->phase = COLUMNS;
}

static void answer_row(struct l7 *l7, struct cursor c, uint32_t length)
{
    struct state *state = l7_state(l7);

    if (*c.at == 0xff)
        answer_error(l7, c);
    else if (*c.at != 0xfe || length >= 1 << 16)
        state->rows++;
    else if (length == 5)
        results_end(l7, answer_eof(l7, c, true));
    else if (length >= 7 && state->capabilities & CAP_DEPRECATE_EOF)
        results_end(l7, answer_ok(l7, c, true));
    else
        state->rows++;
}

static void answer_packet(struct l7 *l7, unsigned number, struct cursor c, uint32_t length)
{
    struct state *state = l7_state(l7);
    bool eof = *c.at == 0xfe && length == 5;

    switch (state->phase) {
    case FIRST:
        if (*c.at == 0xff)
            answer_error(l7, c);
        else if (number == COM_STATISTICS)
            answer_end(l7, "OK");
        else
            answer_first(l7, number, c, length);
        break;
    case COLUMNS:
        if (*c.at == 0xff)
            answer_error(l7, c);
        else if (!--state->left)
            state->phase = state->capabilities & CAP_DEPRECATE_EOF ? ROWS : COLUMNS_END;
        break;
    case COLUMNS_END:
        state->phase = ROWS;
        if (!eof)
            answer_row(l7, c, length);
        else if (answer_eof(l7, c, false) & STATUS_CURSOR && number == COM_STMT_EXECUTE)
            answer_end(l7, "ResultSet"); /* the rows are fetched later */
        break;
    case ROWS:
        answer_row(l7, c, length);
        break;
    }
}

static void server_packet(struct l7 *l7, struct cursor c, uint32_t length)
{
    struct state *state = l7_state(l7);
    const struct l7_half *waiting = l7_pending(l7, L7_IN_ORDER);
    unsigned number = waiting ? (unsigned)l7_half_user(waiting) : 0;

    if (!cursor_left(&c) || (!waiting && (state->logged_in || *c.at != 0xff)))
        return; /* a greeting; definitions after a prepare; what was asked before we came */
    if (number == COM_BINLOG_DUMP || number == COM_BINLOG_DUMP_GTID)
        return;
    /* While logging in, 0xfe and 1 go on with the authentication. */
    if ((number == LOGIN || number == COM_CHANGE_USER) && *c.at != 0 && *c.at != 0xff)
        return;
    answer_begin(l7, length + HEADER);
    if (number == LOGIN && *c.at == 0) {
        state->logged_in = true;
        answer_ok(l7, c, true);
        answer_end(l7, "OK");
        if (state->capabilities & (CAP_COMPRESS | CAP_ZSTD))
            l7_finish(l7);
        return;
    }
    answer_packet(l7, number, c, length);
}

/* ---- bytes ---- */
static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    uint32_t length, whole, shown;
    struct cursor c;
    bool row;

    if (!l7_has(l7, side, size, HEADER))
        return 0;
    length = data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16;
    whole = length + HEADER;
    row = side == KFL_SERVER && state->phase != FIRST && l7_n_pending(l7) &&
          !(size > HEADER && data[HEADER] == 0xff); /* an error is read whole */
    shown = l7_message(l7, side, size, whole, row ? ROW_SHOWN : L7_SHOWN_MAX);
    if (!shown)
        return 0;
    c = cursor_of(data + HEADER, shown - HEADER);
    if (side == KFL_SERVER)
        server_packet(l7, c, length);
    else if (data[3] == 0 && length)
        command(l7, c, whole);
    else if (data[3] == 1 && !state->logged_in && !l7_n_pending(l7) && length >= 32)
        login(l7, c, whole);
    return shown;
}

static void done(struct l7 *l7)
{
    struct state *state = l7_state(l7);

    l7_half_free(l7, state->answer);
    l7_text_free(l7, &state->preparing);
    prepared_done(l7, &state->prepared);
}

const struct dissector dissector_mysql = {
    .proto = KFL_PROTO_MYSQL,
    .name = "mysql",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(MYSQL) | KFL_PROTO_BIT(TLS),
    .ports = {3306},
    .probe = probe,
    .parse = parse,
    .done = done,
};
