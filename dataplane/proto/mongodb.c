/* MongoDB's wire protocol: OP_MSG, OP_QUERY and OP_REPLY, the older write operations, OP_COMPRESSED
 * (said, not opened). Source: MongoDB Wire Protocol and BSON 1.1 specifications.
 *
 * A reply names the request it answers. Long messages are read as far as L7_SHOWN_MAX. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../cursor.h"
#include "../l7.h"

enum {
    HEADER = 16,
    LENGTH_MAX = 48000000 + 16384, /* maxMessageSizeBytes, and the header's room */
    DEPTH_MAX = 12,
};

enum opcode {
    OP_REPLY = 1,
    OP_UPDATE = 2001,
    OP_INSERT = 2002,
    OP_QUERY = 2004,
    OP_GET_MORE = 2005,
    OP_DELETE = 2006,
    OP_KILL_CURSORS = 2007,
    OP_COMMAND = 2010,
    OP_COMMANDREPLY = 2011,
    OP_COMPRESSED = 2012,
    OP_MSG = 2013,
};

enum { MSG_CHECKSUM = 1 << 0, MSG_MORE_TO_COME = 1 << 1 };

static const struct {
    uint32_t opcode;
    const char *name;
    const char *command; /* what an operation is when its document does not say */
} operations[] = {
    {OP_REPLY, "OP_REPLY", ""},
    {OP_UPDATE, "OP_UPDATE", "update"},
    {OP_INSERT, "OP_INSERT", "insert"},
    {OP_QUERY, "OP_QUERY", "find"},
    {OP_GET_MORE, "OP_GET_MORE", "getMore"},
    {OP_DELETE, "OP_DELETE", "delete"},
    {OP_KILL_CURSORS, "OP_KILL_CURSORS", "killCursors"},
    {OP_COMMAND, "OP_COMMAND", ""},
    {OP_COMMANDREPLY, "OP_COMMANDREPLY", ""},
    {OP_COMPRESSED, "OP_COMPRESSED", ""},
    {OP_MSG, "OP_MSG", ""},
};

struct message {
    uint32_t length, id, to, opcode;
    unsigned row; /* in operations[] */
};

struct state {
    bool streaming; /* the server said that more replies come without being asked */
};

static bool read_header(const uint8_t *data, size_t size, struct message *ret)
{
    struct cursor c = cursor_of(data, size);

    ret->length = cursor_le32(&c);
    ret->id = cursor_le32(&c);
    ret->to = cursor_le32(&c);
    ret->opcode = cursor_le32(&c);
    if (c.short_ || ret->length < HEADER + 4 || ret->length > LENGTH_MAX)
        return false;
    for (unsigned i = 0; i < sizeof(operations) / sizeof(*operations); i++)
        if (operations[i].opcode == ret->opcode) {
            ret->row = i;
            return true;
        }
    return false;
}

static bool is_reply(const struct message *m)
{
    return m->opcode == OP_REPLY || m->opcode == OP_COMMANDREPLY ||
           ((m->opcode == OP_MSG || m->opcode == OP_COMPRESSED) && m->to);
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned side = 0; side < 2; side++) {
        struct message m;

        if (!in->size[side])
            continue;
        if (in->size[side] < HEADER) {
            answer = L7_PROBE_MORE;
        } else if (read_header(in->data[side], in->size[side], &m)) {
            *ret_swap = is_reply(&m) != (side == KFL_SERVER);
            return L7_PROBE_YES;
        }
    }
    return answer;
}

/* ---- BSON ---- */
struct element {
    uint8_t type;
    const char *name;
    size_t name_size;
    struct cursor value; /* its bytes; of strings without length and final 0 */
};

enum bson {
    BSON_DOUBLE = 0x01,
    BSON_STRING = 0x02,
    BSON_DOCUMENT = 0x03,
    BSON_ARRAY = 0x04,
    BSON_BINARY = 0x05,
    BSON_OBJECT_ID = 0x07,
    BSON_BOOL = 0x08,
    BSON_DATE = 0x09,
    BSON_REGEX = 0x0b,
    BSON_CODE = 0x0d,
    BSON_SYMBOL = 0x0e,
    BSON_INT32 = 0x10,
    BSON_TIMESTAMP = 0x11,
    BSON_INT64 = 0x12,
    BSON_DECIMAL = 0x13,
};

/* A 0-terminated text. */
static bool c_string(struct cursor *c, const char **ret_text, size_t *ret_size)
{
    const uint8_t *end = cursor_left(c) ? memchr(c->at, 0, cursor_left(c)) : NULL;

    if (!end)
        return false;
    *ret_text = (const char *)c->at;
    *ret_size = (size_t)(end - c->at);
    c->at = end + 1;
    return true;
}

/* The elements of a document whose length was read. What was cut off is not there. */
static struct cursor document(struct cursor *c)
{
    uint32_t size = cursor_le32(c);

    if (c->short_ || size < 5)
        return cursor_of(c->end, 0);
    size -= 4;
    return cursor_sub(c, size < cursor_left(c) ? size : cursor_left(c));
}

static bool next_element(struct cursor *c, struct element *ret)
{
    size_t size;
    const char *text;

    if (!cursor_left(c))
        return false;
    ret->type = cursor_u8(c);
    if (!ret->type || !c_string(c, &ret->name, &ret->name_size))
        return false;
    switch (ret->type) {
    case BSON_STRING:
    case BSON_CODE:
    case BSON_SYMBOL:
        size = cursor_le32(c);
        ret->value = size ? cursor_sub(c, size) : cursor_of(c->end, 0);
        if (cursor_left(&ret->value))
            ret->value.end--;
        return size && !ret->value.short_;
    case BSON_DOCUMENT:
    case BSON_ARRAY:
        ret->value = document(c);
        return !c->short_;
    case BSON_BINARY:
        size = cursor_le32(c);
        cursor_u8(c);
        ret->value = cursor_sub(c, size);
        return !ret->value.short_;
    case BSON_REGEX:
        if (!c_string(c, &text, &size))
            return false;
        ret->value = cursor_of(text, size);
        return c_string(c, &text, &size);
    case BSON_OBJECT_ID:
        ret->value = cursor_sub(c, 12);
        break;
    case BSON_BOOL:
        ret->value = cursor_sub(c, 1);
        break;
    case BSON_INT32:
        ret->value = cursor_sub(c, 4);
        break;
    case BSON_DECIMAL:
        ret->value = cursor_sub(c, 16);
        break;
    case BSON_DOUBLE:
    case BSON_DATE:
    case BSON_TIMESTAMP:
    case BSON_INT64:
        ret->value = cursor_sub(c, 8);
        break;
    case 0x06: /* undefined */
    case 0x0a: /* null */
    case 0x7f:
    case 0xff:
        ret->value = cursor_of(c->at, 0);
        break;
    default:
        return false;
    }
    return !ret->value.short_;
}

static double as_double(struct cursor value)
{
    uint64_t bits = cursor_le64(&value);
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

/* Numbers of any BSON type as an int. */
static int64_t as_int(const struct element *e)
{
    struct cursor value = e->value;
    double number;

    switch (e->type) {
    case BSON_DOUBLE:
        number = as_double(value);
        return number > -9e18 && number < 9e18 ? (int64_t)number : 0;
    case BSON_BOOL:
        return cursor_u8(&value) != 0;
    case BSON_INT32:
        return (int32_t)cursor_le32(&value);
    case BSON_INT64:
    case BSON_DATE:
    case BSON_TIMESTAMP:
        return (int64_t)cursor_le64(&value);
    default:
        return 0;
    }
}

static void scalar(struct fact_tape *tape, const struct element *e)
{
    switch (e->type) {
    case BSON_DOUBLE:
        fact_float(tape, KFL_FIELD_NONE, as_double(e->value));
        break;
    case BSON_STRING:
    case BSON_CODE:
    case BSON_SYMBOL:
    case BSON_REGEX:
        fact_string(tape, KFL_FIELD_NONE, e->value.at, cursor_left(&e->value));
        break;
    case BSON_BINARY:
        fact_base64(tape, KFL_FIELD_NONE, e->value.at, cursor_left(&e->value));
        break;
    case BSON_OBJECT_ID:
    case BSON_DECIMAL:
        fact_hex(tape, KFL_FIELD_NONE, e->value.at, cursor_left(&e->value));
        break;
    case BSON_BOOL:
        fact_bool(tape, KFL_FIELD_NONE, as_int(e));
        break;
    case BSON_INT32:
    case BSON_INT64:
    case BSON_DATE:
    case BSON_TIMESTAMP:
        fact_int(tape, KFL_FIELD_NONE, as_int(e));
        break;
    default:
        fact_null(tape, KFL_FIELD_NONE);
        break;
    }
}

static void write_document(struct fact_tape *tape, enum kfl_field field, struct cursor elements)
{
    struct {
        struct cursor rest;
        bool array;
    } open[DEPTH_MAX];
    unsigned depth = 0;
    struct element e;

    if (!fact_wanted(tape, field))
        return;
    fact_map(tape, field);
    open[depth].rest = elements;
    open[depth++].array = false;
    while (depth) {
        if (!next_element(&open[depth - 1].rest, &e)) {
            depth--;
            fact_end(tape);
            continue;
        }
        if (!open[depth - 1].array)
            fact_key(tape, e.name, e.name_size);
        if (e.type != BSON_DOCUMENT && e.type != BSON_ARRAY) {
            scalar(tape, &e);
        } else if (depth == DEPTH_MAX) {
            fact_null(tape, KFL_FIELD_NONE);
        } else {
            if (e.type == BSON_ARRAY)
                fact_array(tape, KFL_FIELD_NONE);
            else
                fact_map(tape, KFL_FIELD_NONE);
            open[depth].rest = e.value;
            open[depth++].array = e.type == BSON_ARRAY;
        }
    }
}

static bool is_named(const struct element *e, const char *name)
{
    return e->name_size == strlen(name) && !memcmp(e->name, name, e->name_size);
}

static void element_text(struct fact_tape *tape, enum kfl_field field, const struct element *e)
{
    if (e->type == BSON_STRING)
        fact_string(tape, field, e->value.at, cursor_left(&e->value));
}

/* ---- requests ---- */
/* command, collection and database from a command's document: {find: "items", $db: "shop"} */
static void command_facts(struct fact_tape *tape, struct cursor elements)
{
    struct cursor c = elements, inner;
    struct element e;
    bool first = true;

    while (next_element(&c, &e)) {
        if (first && (is_named(&e, "$query") || is_named(&e, "query")) && e.type == BSON_DOCUMENT) {
            inner = e.value;
            if (next_element(&inner, &e)) {
                fact_string(tape, KFL_FIELD_MONGODB_REQUEST_COMMAND, e.name, e.name_size);
                element_text(tape, KFL_FIELD_MONGODB_REQUEST_COLLECTION, &e);
            }
        } else if (first) {
            fact_string(tape, KFL_FIELD_MONGODB_REQUEST_COMMAND, e.name, e.name_size);
            element_text(tape, KFL_FIELD_MONGODB_REQUEST_COLLECTION, &e);
        }
        if (is_named(&e, "$db"))
            element_text(tape, KFL_FIELD_MONGODB_REQUEST_DATABASE, &e);
        first = false;
    }
    write_document(tape, KFL_FIELD_MONGODB_REQUEST_DOCUMENT, elements);
}

/* The sections of OP_MSG: the body is of kind 0; document sequences (kind 1) are passed over. */
static bool msg_body(struct cursor *c, struct cursor *ret_elements)
{
    while (cursor_left(c)) {
        uint8_t kind = cursor_u8(c);
        uint32_t size;

        if (kind == 0) {
            *ret_elements = document(c);
            return true;
        }
        size = kind == 1 ? cursor_le32(c) : 0;
        if (size < 4)
            return false;
        cursor_sub(c, size - 4);
    }
    return false;
}

/* database.collection, as the older operations have it. */
static bool full_name(struct fact_tape *tape, struct cursor *c)
{
    const char *name, *dot;
    size_t size;
    bool command;

    if (!c_string(c, &name, &size))
        return false;
    dot = memchr(name, '.', size);
    if (!dot) {
        fact_string(tape, KFL_FIELD_MONGODB_REQUEST_DATABASE, name, size);
        return false;
    }
    fact_string(tape, KFL_FIELD_MONGODB_REQUEST_DATABASE, name, (size_t)(dot - name));
    command = !strcmp(dot + 1, "$cmd");
    if (!command)
        fact_string(tape, KFL_FIELD_MONGODB_REQUEST_COLLECTION, dot + 1,
                    size - (size_t)(dot + 1 - name));
    return command;
}

/* -> does an answer come? */
static bool request_facts(struct fact_tape *tape, const struct message *m, struct cursor c)
{
    struct cursor elements;
    uint32_t flags;
    bool command;

    fact_text(tape, KFL_FIELD_MONGODB_REQUEST_OPCODE, operations[m->row].name);
    fact_int(tape, KFL_FIELD_MONGODB_REQUEST_REQUEST_ID, m->id);
    switch (m->opcode) {
    case OP_MSG:
        flags = cursor_le32(&c);
        if (msg_body(&c, &elements))
            command_facts(tape, elements);
        return !(flags & MSG_MORE_TO_COME);
    case OP_QUERY:
        cursor_le32(&c);
        command = full_name(tape, &c);
        cursor_le64(&c); /* skip, number to return */
        elements = document(&c);
        if (command) {
            command_facts(tape, elements);
        } else {
            fact_text(tape, KFL_FIELD_MONGODB_REQUEST_COMMAND, "find");
            write_document(tape, KFL_FIELD_MONGODB_REQUEST_DOCUMENT, elements);
        }
        return true;
    case OP_INSERT:
    case OP_UPDATE:
    case OP_DELETE:
    case OP_GET_MORE:
        cursor_le32(&c);
        full_name(tape, &c);
        fact_text(tape, KFL_FIELD_MONGODB_REQUEST_COMMAND, operations[m->row].command);
        if (m->opcode == OP_GET_MORE)
            return true;
        if (m->opcode != OP_INSERT)
            cursor_le32(&c);
        elements = document(&c);
        write_document(tape, KFL_FIELD_MONGODB_REQUEST_DOCUMENT, elements);
        return false;
    default:
        fact_text(tape, KFL_FIELD_MONGODB_REQUEST_COMMAND, operations[m->row].command);
        return m->opcode != OP_KILL_CURSORS;
    }
}

/* ---- replies ---- */
static int64_t count(struct cursor elements)
{
    struct element e;
    int64_t n = 0;

    while (next_element(&elements, &e))
        n++;
    return n;
}

static void reply_document(struct fact_tape *tape, struct cursor elements, bool counted)
{
    struct element e, inner;

    while (next_element(&elements, &e)) {
        if (is_named(&e, "ok"))
            fact_int(tape, KFL_FIELD_MONGODB_RESPONSE_OK, as_int(&e));
        else if (is_named(&e, "code"))
            fact_int(tape, KFL_FIELD_MONGODB_RESPONSE_ERROR_CODE, as_int(&e));
        else if (is_named(&e, "codeName"))
            element_text(tape, KFL_FIELD_MONGODB_RESPONSE_ERROR_CODE_NAME, &e);
        else if (is_named(&e, "errmsg") || is_named(&e, "$err"))
            element_text(tape, KFL_FIELD_MONGODB_RESPONSE_ERROR_MESSAGE, &e);
        else if (is_named(&e, "cursor") && e.type == BSON_DOCUMENT)
            while (next_element(&e.value, &inner)) {
                if (is_named(&inner, "id"))
                    fact_int(tape, KFL_FIELD_MONGODB_RESPONSE_CURSOR_ID, as_int(&inner));
                else if ((is_named(&inner, "firstBatch") || is_named(&inner, "nextBatch")) &&
                         !counted)
                    fact_int(tape, KFL_FIELD_MONGODB_RESPONSE_DOCUMENTS, count(inner.value));
            }
    }
}

/* -> do more replies follow unasked? */
static bool reply_facts(struct fact_tape *tape, const struct message *m, struct cursor c)
{
    struct cursor elements;
    uint32_t flags;

    fact_int(tape, KFL_FIELD_MONGODB_RESPONSE_RESPONSE_TO, m->to);
    if (m->opcode == OP_REPLY) {
        cursor_le32(&c);
        fact_int(tape, KFL_FIELD_MONGODB_RESPONSE_CURSOR_ID, (int64_t)cursor_le64(&c));
        cursor_le32(&c);
        fact_int(tape, KFL_FIELD_MONGODB_RESPONSE_DOCUMENTS, cursor_le32(&c));
        reply_document(tape, document(&c), true);
        return false;
    }
    if (m->opcode != OP_MSG)
        return false;
    flags = cursor_le32(&c);
    if (msg_body(&c, &elements))
        reply_document(tape, elements, false);
    return flags & MSG_MORE_TO_COME;
}

static void reply(struct l7 *l7, enum kfl_side side, const struct message *m, struct cursor c)
{
    struct state *state = l7_state(l7);
    uint64_t key = UINT64_C(1) << 32 | m->to;
    struct l7_half *half = l7_half_new(l7, side, key);
    bool streaming = state->streaming && !l7_pending(l7, key);

    state->streaming = reply_facts(l7_tape(l7), m, c);
    l7_half_add(l7, half);
    l7_half_wire(half, m->length);
    if (streaming)
        l7_single(l7, half);
    else
        l7_response(l7, half);
}

static void request(struct l7 *l7, enum kfl_side side, const struct message *m, struct cursor c)
{
    struct l7_half *half = l7_half_new(l7, side, UINT64_C(1) << 32 | m->id);
    bool answered = request_facts(l7_tape(l7), m, c);

    l7_half_add(l7, half);
    l7_half_wire(half, m->length);
    if (answered)
        l7_request(l7, half);
    else
        l7_single(l7, half);
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct message m;
    uint32_t shown;

    if (!l7_has(l7, side, size, HEADER))
        return 0;
    if (!read_header(data, size, &m)) {
        l7_give_up(l7, NULL, "not a MongoDB header");
        return size;
    }
    shown = l7_message(l7, side, size, m.length, L7_SHOWN_MAX);
    if (!shown)
        return 0;
    if (is_reply(&m))
        reply(l7, side, &m, cursor_of(data + HEADER, shown - HEADER));
    else
        request(l7, side, &m, cursor_of(data + HEADER, shown - HEADER));
    return shown;
}

const struct dissector dissector_mongodb = {
    .proto = KFL_PROTO_MONGODB,
    .name = "mongodb",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(MONGODB),
    .ports = {27017, 27018, 27019},
    .probe = probe,
    .parse = parse,
};
