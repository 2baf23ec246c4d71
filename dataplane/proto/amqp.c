/* AMQP 0-9-1 over TCP. Frames of methods, content headers, bodies and heartbeats; a method that
 * expects an answer is paired with it by channel and class; one that does not gets the answer
 * `empty`. Source: AMQP 0-9-1 specification and its method tables. */
#include <string.h>

#include "../cursor.h"
#include "../l7.h"

enum {
    FRAME_HEAD = 7,
    FRAME_END = 0xce,
    FRAME_MAX = 16 << 20, /* a larger frame is not believed */
    CONTENTS_MAX = 8,     /* channels with a content under way */
    TABLE_DEPTH_MAX = 8,
};

enum frame { METHOD = 1, HEADER = 2, BODY = 3, HEARTBEAT = 8 };

enum class {
    CONNECTION = 10,
    CHANNEL = 20,
    EXCHANGE = 40,
    QUEUE = 50,
    BASIC = 60,
    CONFIRM = 85,
    TX = 90
};
enum { CHANNEL_CLOSE_OK = 41 };

/* What a method's arguments are, one letter each:
 *   . skip     o octet  s short  l long  L longlong   S short string  X long string  T table
 *   b a group of bits; which bit is which field is in `bits` */
struct method {
    uint16_t class, id;
    const char *name;
    uint16_t answers;    /* id of the method it answers, 0: it is no answer */
    bool answered;       /* it expects an answer, unless no-wait is set */
    uint8_t no_wait_bit; /* 1 + place of no-wait among the bits, 0: it has none */
    bool content;        /* a content follows */
    const char *arguments;
    uint16_t fields[10]; /* by argument; 0: of no interest */
    uint16_t bits[5];
};

#define F(name) KFL_FIELD_AMQP_REQUEST_##name
#define R(name) KFL_FIELD_AMQP_RESPONSE_##name

static const struct method methods[] = {
    {CONNECTION, 10, "connection start", .answered = true, .arguments = ""},
    {CONNECTION, 11, "connection start-ok", 10, .arguments = ""},
    {CONNECTION, 20, "connection secure", .answered = true, .arguments = ""},
    {CONNECTION, 21, "connection secure-ok", 20, .arguments = ""},
    {CONNECTION, 30, "connection tune", .answered = true, .arguments = ""},
    {CONNECTION, 31, "connection tune-ok", 30, .arguments = ""},
    {CONNECTION, 40, "connection open", .answered = true, .arguments = "S",
     .fields = {F(VIRTUAL_HOST)}},
    {CONNECTION, 41, "connection open-ok", 40, .arguments = ""},
    {CONNECTION, 50, "connection close", .answered = true, .arguments = "sS",
     .fields = {F(REPLY_CODE), F(REPLY_TEXT)}},
    {CONNECTION, 51, "connection close-ok", 50, .arguments = ""},
    {CONNECTION, 60, "connection blocked", .arguments = "S", .fields = {F(REPLY_TEXT)}},
    {CONNECTION, 61, "connection unblocked", .arguments = ""},
    {CHANNEL, 10, "channel open", .answered = true, .arguments = ""},
    {CHANNEL, 11, "channel open-ok", 10, .arguments = ""},
    {CHANNEL, 20, "channel flow", .answered = true, .arguments = ""},
    {CHANNEL, 21, "channel flow-ok", 20, .arguments = ""},
    {CHANNEL, 40, "channel close", .answered = true, .arguments = "sS",
     .fields = {F(REPLY_CODE), F(REPLY_TEXT)}},
    {CHANNEL, 41, "channel close-ok", 40, .arguments = ""},
    {EXCHANGE, 10, "exchange declare", .answered = true, .no_wait_bit = 5, .arguments = ".SSbT",
     .fields = {0, F(EXCHANGE), F(TYPE), 0, F(ARGUMENTS)},
     .bits = {F(PASSIVE), F(DURABLE), F(AUTO_DELETE), 0, F(NO_WAIT)}},
    {EXCHANGE, 11, "exchange declare-ok", 10, .arguments = ""},
    {EXCHANGE, 20, "exchange delete", .answered = true, .no_wait_bit = 2, .arguments = ".Sb",
     .fields = {0, F(EXCHANGE)}, .bits = {0, F(NO_WAIT)}},
    {EXCHANGE, 21, "exchange delete-ok", 20, .arguments = ""},
    {EXCHANGE, 30, "exchange bind", .answered = true, .no_wait_bit = 1, .arguments = ".SSSbT",
     .fields = {0, F(EXCHANGE), 0, F(ROUTING_KEY), 0, F(ARGUMENTS)}, .bits = {F(NO_WAIT)}},
    {EXCHANGE, 31, "exchange bind-ok", 30, .arguments = ""},
    {EXCHANGE, 40, "exchange unbind", .answered = true, .no_wait_bit = 1, .arguments = ".SSSbT",
     .fields = {0, F(EXCHANGE), 0, F(ROUTING_KEY), 0, F(ARGUMENTS)}, .bits = {F(NO_WAIT)}},
    {EXCHANGE, 51, "exchange unbind-ok", 40, .arguments = ""},
    {QUEUE, 10, "queue declare", .answered = true, .no_wait_bit = 5, .arguments = ".SbT",
     .fields = {0, F(QUEUE), 0, F(ARGUMENTS)},
     .bits = {F(PASSIVE), F(DURABLE), F(EXCLUSIVE), F(AUTO_DELETE), F(NO_WAIT)}},
    {QUEUE, 11, "queue declare-ok", 10, .arguments = "Sll",
     .fields = {R(QUEUE), R(MESSAGE_COUNT), R(CONSUMER_COUNT)}},
    {QUEUE, 20, "queue bind", .answered = true, .no_wait_bit = 1, .arguments = ".SSSbT",
     .fields = {0, F(QUEUE), F(EXCHANGE), F(ROUTING_KEY), 0, F(ARGUMENTS)}, .bits = {F(NO_WAIT)}},
    {QUEUE, 21, "queue bind-ok", 20, .arguments = ""},
    {QUEUE, 30, "queue purge", .answered = true, .no_wait_bit = 1, .arguments = ".Sb",
     .fields = {0, F(QUEUE)}, .bits = {F(NO_WAIT)}},
    {QUEUE, 31, "queue purge-ok", 30, .arguments = "l", .fields = {R(MESSAGE_COUNT)}},
    {QUEUE, 40, "queue delete", .answered = true, .no_wait_bit = 3, .arguments = ".Sb",
     .fields = {0, F(QUEUE)}, .bits = {0, 0, F(NO_WAIT)}},
    {QUEUE, 41, "queue delete-ok", 40, .arguments = "l", .fields = {R(MESSAGE_COUNT)}},
    {QUEUE, 50, "queue unbind", .answered = true, .arguments = ".SSST",
     .fields = {0, F(QUEUE), F(EXCHANGE), F(ROUTING_KEY), F(ARGUMENTS)}},
    {QUEUE, 51, "queue unbind-ok", 50, .arguments = ""},
    {BASIC, 10, "basic qos", .answered = true, .arguments = ""},
    {BASIC, 11, "basic qos-ok", 10, .arguments = ""},
    {BASIC, 20, "basic consume", .answered = true, .no_wait_bit = 4, .arguments = ".SSbT",
     .fields = {0, F(QUEUE), F(CONSUMER_TAG), 0, F(ARGUMENTS)},
     .bits = {0, F(NO_ACK), F(EXCLUSIVE), F(NO_WAIT)}},
    {BASIC, 21, "basic consume-ok", 20, .arguments = "S", .fields = {R(CONSUMER_TAG)}},
    {BASIC, 30, "basic cancel", .answered = true, .no_wait_bit = 1, .arguments = "Sb",
     .fields = {F(CONSUMER_TAG)}, .bits = {F(NO_WAIT)}},
    {BASIC, 31, "basic cancel-ok", 30, .arguments = "S", .fields = {R(CONSUMER_TAG)}},
    {BASIC, 40, "basic publish", .content = true, .arguments = ".SSb",
     .fields = {0, F(EXCHANGE), F(ROUTING_KEY)}, .bits = {F(MANDATORY), F(IMMEDIATE)}},
    {BASIC, 50, "basic return", .content = true, .arguments = "sSSS",
     .fields = {F(REPLY_CODE), F(REPLY_TEXT), F(EXCHANGE), F(ROUTING_KEY)}},
    {BASIC, 60, "basic deliver", .content = true, .arguments = "SLbSS",
     .fields = {F(CONSUMER_TAG), F(DELIVERY_TAG), 0, F(EXCHANGE), F(ROUTING_KEY)},
     .bits = {F(REDELIVERED)}},
    {BASIC, 70, "basic get", .answered = true, .arguments = ".Sb", .fields = {0, F(QUEUE)},
     .bits = {F(NO_ACK)}},
    {BASIC, 71, "basic get-ok", 70, .arguments = "LbSSl", .fields = {[4] = R(MESSAGE_COUNT)}},
    {BASIC, 72, "basic get-empty", 70, .arguments = ""},
    {BASIC, 80, "basic ack", .arguments = "L", .fields = {F(DELIVERY_TAG)}},
    {BASIC, 90, "basic reject", .arguments = "L", .fields = {F(DELIVERY_TAG)}},
    {BASIC, 100, "basic recover-async", .arguments = ""},
    {BASIC, 110, "basic recover", .answered = true, .arguments = ""},
    {BASIC, 111, "basic recover-ok", 110, .arguments = ""},
    {BASIC, 120, "basic nack", .arguments = "L", .fields = {F(DELIVERY_TAG)}},
    {CONFIRM, 10, "confirm select", .answered = true, .no_wait_bit = 1, .arguments = "b",
     .bits = {F(NO_WAIT)}},
    {CONFIRM, 11, "confirm select-ok", 10, .arguments = ""},
    {TX, 10, "tx select", .answered = true, .arguments = ""},
    {TX, 11, "tx select-ok", 10, .arguments = ""},
    {TX, 20, "tx commit", .answered = true, .arguments = ""},
    {TX, 21, "tx commit-ok", 20, .arguments = ""},
    {TX, 30, "tx rollback", .answered = true, .arguments = ""},
    {TX, 31, "tx rollback-ok", 30, .arguments = ""},
};

/* Content properties, in the order of their flags, from bit 15 down. */
static const struct {
    char kind;
    uint16_t field;
} properties[] = {
    {'S', F(PROPERTIES_CONTENT_TYPE)}, {'S', F(PROPERTIES_CONTENT_ENCODING)},
    {'T', F(PROPERTIES_HEADERS)},      {'o', F(PROPERTIES_DELIVERY_MODE)},
    {'o', F(PROPERTIES_PRIORITY)},     {'S', F(PROPERTIES_CORRELATION_ID)},
    {'S', F(PROPERTIES_REPLY_TO)},     {'S', F(PROPERTIES_EXPIRATION)},
    {'S', F(PROPERTIES_MESSAGE_ID)},   {'L', F(PROPERTIES_TIMESTAMP)},
    {'S', F(PROPERTIES_TYPE)},         {'S', F(PROPERTIES_USER_ID)},
    {'S', F(PROPERTIES_APP_ID)},
};

#undef F
#undef R

/* A publish, deliver or return whose header and body are still to come. */
struct content {
    bool open;
    uint8_t side;
    uint16_t channel;
    bool headed;   /* its header frame was seen */
    uint64_t left; /* bytes of body to come */
    struct l7_half *half;
    struct l7_text body;
};

struct state {
    struct content contents[CONTENTS_MAX];
};

static const struct method *find_method(uint16_t class, uint16_t id)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (methods[i].class == class && methods[i].id == id)
            return &methods[i];
    return NULL;
}

struct frame_head {
    uint8_t type;
    uint16_t channel;
    uint32_t size;
};

static bool read_frame(const uint8_t *data, size_t size, struct frame_head *ret)
{
    struct cursor c = cursor_of(data, size);

    ret->type = cursor_u8(&c);
    ret->channel = cursor_u16(&c);
    ret->size = cursor_u32(&c);
    return !c.short_ &&
           (ret->type == METHOD || ret->type == HEADER || ret->type == BODY ||
            ret->type == HEARTBEAT) &&
           ret->size <= FRAME_MAX && (ret->type != HEARTBEAT || ret->size == 0);
}

static enum l7_probe probe_side(const uint8_t *data, size_t size, bool *ret_server)
{
    static const char greeting[] = "AMQP";
    struct frame_head head;
    const struct method *method;

    if (!memcmp(data, greeting, size < 4 ? size : 4)) {
        *ret_server = false;
        return size < 8 ? L7_PROBE_MORE : data[4] == 0 || data[4] == 1 ? L7_PROBE_YES : L7_PROBE_NO;
    }
    if (size < FRAME_HEAD)
        return L7_PROBE_MORE;
    if (!read_frame(data, size, &head))
        return L7_PROBE_NO;
    if (size > FRAME_HEAD + head.size && data[FRAME_HEAD + head.size] != FRAME_END)
        return L7_PROBE_NO;
    if (head.type == HEARTBEAT)
        return size < FRAME_HEAD + 1 ? L7_PROBE_MORE : head.channel ? L7_PROBE_NO : L7_PROBE_YES;
    if (head.type != METHOD || head.size < 4)
        return L7_PROBE_NO;
    if (size < FRAME_HEAD + 4)
        return L7_PROBE_MORE;
    method = find_method((uint16_t)(data[7] << 8 | data[8]), (uint16_t)(data[9] << 8 | data[10]));
    if (!method)
        return L7_PROBE_NO;
    *ret_server = method->class == BASIC && (method->id == 60 || method->id == 50);
    if (method->class == CONNECTION && (method->id == 10 || method->id == 30))
        *ret_server = true;
    else if (method->answers && !(method->class == CONNECTION && method->id <= 31))
        *ret_server = true;
    return L7_PROBE_YES;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned side = 0; side < 2; side++) {
        bool server = side == KFL_SERVER;
        enum l7_probe found =
            in->size[side] ? probe_side(in->data[side], in->size[side], &server) : L7_PROBE_NO;

        if (found == L7_PROBE_YES) {
            *ret_swap = server != (side == KFL_SERVER);
            return found;
        }
        if (found == L7_PROBE_MORE)
            answer = found;
    }
    return answer;
}

/* ---- field tables ---- */
static void write_value(struct fact_tape *tape, struct cursor *c, uint8_t kind, bool *ret_bad)
{
    uint32_t bits32;
    uint64_t bits64;
    float single;
    double number;
    struct cursor text;

    switch (kind) {
    case 't':
        fact_bool(tape, KFL_FIELD_NONE, cursor_u8(c));
        break;
    case 'b':
        fact_int(tape, KFL_FIELD_NONE, (int8_t)cursor_u8(c));
        break;
    case 'B':
        fact_int(tape, KFL_FIELD_NONE, cursor_u8(c));
        break;
    case 's':
    case 'U':
        fact_int(tape, KFL_FIELD_NONE, (int16_t)cursor_u16(c));
        break;
    case 'u':
        fact_int(tape, KFL_FIELD_NONE, cursor_u16(c));
        break;
    case 'I':
        fact_int(tape, KFL_FIELD_NONE, (int32_t)cursor_u32(c));
        break;
    case 'i':
        fact_int(tape, KFL_FIELD_NONE, cursor_u32(c));
        break;
    case 'l':
    case 'L':
    case 'T':
        fact_int(tape, KFL_FIELD_NONE, (int64_t)cursor_u64(c));
        break;
    case 'f':
        bits32 = cursor_u32(c);
        memcpy(&single, &bits32, sizeof(single));
        fact_float(tape, KFL_FIELD_NONE, (double)single);
        break;
    case 'd':
        bits64 = cursor_u64(c);
        memcpy(&number, &bits64, sizeof(number));
        fact_float(tape, KFL_FIELD_NONE, number);
        break;
    case 'D':
        cursor_u8(c);
        fact_int(tape, KFL_FIELD_NONE, (int32_t)cursor_u32(c));
        break;
    case 'S':
    case 'x':
        text = cursor_sub(c, cursor_u32(c));
        fact_string(tape, KFL_FIELD_NONE, text.at, cursor_left(&text));
        break;
    case 'V':
        fact_null(tape, KFL_FIELD_NONE);
        break;
    default:
        *ret_bad = true;
        break;
    }
}

/* A table as a map, arrays in it as arrays. Past the table afterwards, however it looks inside. */
static void write_table(struct fact_tape *tape, enum kfl_field field, struct cursor *c)
{
    struct cursor open[TABLE_DEPTH_MAX], key;
    bool array[TABLE_DEPTH_MAX] = {false}, bad = false;
    unsigned depth = 0;

    open[depth++] = cursor_sub(c, cursor_u32(c));
    fact_map(tape, field);
    while (depth) {
        struct cursor *table = &open[depth - 1];
        uint8_t kind;

        if (bad || !cursor_left(table) || table->short_) {
            depth--;
            fact_end(tape);
            continue;
        }
        if (!array[depth - 1]) {
            key = cursor_sub(table, cursor_u8(table));
            fact_key(tape, (const char *)key.at, cursor_left(&key));
        }
        kind = cursor_u8(table);
        if (kind != 'F' && kind != 'A') {
            write_value(tape, table, kind, &bad);
        } else if (depth == TABLE_DEPTH_MAX) {
            bad = true;
        } else {
            open[depth] = cursor_sub(table, cursor_u32(table));
            array[depth] = kind == 'A';
            if (kind == 'A')
                fact_array(tape, KFL_FIELD_NONE);
            else
                fact_map(tape, KFL_FIELD_NONE);
            depth++;
        }
    }
}

static void write_argument(struct fact_tape *tape, struct cursor *c, char kind,
                           enum kfl_field field)
{
    struct cursor text;
    uint64_t number;

    switch (kind) {
    case 'o':
    case 's':
    case 'l':
    case 'L':
        number = kind == 'o'   ? cursor_u8(c)
                 : kind == 's' ? cursor_u16(c)
                 : kind == 'l' ? cursor_u32(c)
                               : cursor_u64(c);
        if (field)
            fact_int(tape, field, (int64_t)number);
        break;
    case 'S':
        text = cursor_sub(c, cursor_u8(c));
        if (field)
            fact_string(tape, field, text.at, cursor_left(&text));
        break;
    case 'T':
        write_table(tape, field, c);
        break;
    default: /* '.': two bytes that were a ticket once */
        cursor_u16(c);
        break;
    }
}

/* -> the group of bits, to look up no-wait */
static uint8_t write_arguments(struct fact_tape *tape, const struct method *method, struct cursor c)
{
    uint8_t bits = 0;

    for (unsigned i = 0; method->arguments[i] && i < 10; i++) {
        if (method->arguments[i] != 'b') {
            write_argument(tape, &c, method->arguments[i], method->fields[i]);
            continue;
        }
        bits = cursor_u8(&c);
        for (unsigned k = 0; k < 5; k++)
            if (method->bits[k])
                fact_bool(tape, method->bits[k], bits >> k & 1);
    }
    return bits;
}

/* ---- contents ---- */
static struct content *find_content(struct state *state, enum kfl_side side, uint16_t channel)
{
    for (unsigned i = 0; i < CONTENTS_MAX; i++) {
        struct content *content = &state->contents[i];

        if (content->open && content->side == side && content->channel == channel)
            return content;
    }
    return NULL;
}

/* A method without answer is an entry whose response says `empty`. */
static void emit_alone(struct l7 *l7, enum kfl_side side, struct l7_half *half)
{
    struct l7_half *none = l7_half_new(l7, side, L7_IN_ORDER);

    fact_text(l7_tape(l7), KFL_FIELD_AMQP_RESPONSE_METHOD, "empty");
    l7_half_add(l7, none);
    l7_entry(l7, half, none);
}

static void finish_content(struct l7 *l7, struct content *content)
{
    struct fact_tape *tape = l7_tape(l7);

    fact_base64(tape, KFL_FIELD_AMQP_REQUEST_BODY, content->body.data, content->body.size);
    l7_half_add(l7, content->half);
    l7_text_free(l7, &content->body);
    content->open = false;
    emit_alone(l7, content->side, content->half);
    content->half = NULL;
}

static void open_content(struct l7 *l7, enum kfl_side side, uint16_t channel, struct l7_half *half)
{
    struct state *state = l7_state(l7);
    struct content *content = find_content(state, side, channel);

    if (content)
        finish_content(l7, content);
    for (unsigned i = 0; i < CONTENTS_MAX; i++)
        if (!state->contents[i].open) {
            state->contents[i] = (struct content){
                .open = true, .side = (uint8_t)side, .channel = channel, .half = half};
            return;
        }
    emit_alone(l7, side, half);
}

static void content_header(struct l7 *l7, struct content *content, struct cursor c)
{
    struct fact_tape *tape = l7_tape(l7);
    uint16_t flags;

    cursor_u32(&c); /* class, weight */
    content->headed = true;
    content->left = cursor_u64(&c);
    flags = cursor_u16(&c);
    fact_object(tape, KFL_FIELD_AMQP_REQUEST_PROPERTIES);
    for (unsigned i = 0; i < sizeof(properties) / sizeof(*properties); i++)
        if (flags & 0x8000 >> i)
            write_argument(tape, &c, properties[i].kind, properties[i].field);
    fact_end(tape);
    l7_half_add(l7, content->half);
    if (!content->left)
        finish_content(l7, content);
}

/* ---- frames ---- */
static bool body_wanted(const struct l7 *l7)
{
    const struct kfl_demand *demand = l7_demand(l7);

    return demand->all || demand->field[KFL_FIELD_AMQP_REQUEST_BODY];
}

/* A request and its answer meet by channel, class and the request's method. */
static uint64_t key_of(uint16_t channel, const struct method *method)
{
    return UINT64_C(1) << 48 | (uint64_t)channel << 32 | (uint64_t)method->class << 16 |
           (method->answers ? method->answers : method->id);
}

/* What a closed channel still owed is not answered by the next channel of that number. */
static void channel_closed(struct l7 *l7, uint16_t channel)
{
    struct l7_half *waiting;

    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        while (methods[i].answered && (waiting = l7_pending(l7, key_of(channel, &methods[i]))))
            l7_unanswered(l7, waiting, "the channel was closed");
}

static void method_frame(struct l7 *l7, enum kfl_side side, uint16_t channel, uint32_t wire,
                         struct cursor c)
{
    uint16_t class = cursor_u16(&c), id = cursor_u16(&c);
    const struct method *method = find_method(class, id);
    struct l7_half *half;
    struct fact_tape *tape;
    uint8_t bits;

    if (!method)
        return;
    half = l7_half_new(l7, side, key_of(channel, method));
    tape = l7_tape(l7);
    if (method->answers) {
        fact_text(tape, KFL_FIELD_AMQP_RESPONSE_METHOD, method->name);
    } else {
        fact_text(tape, KFL_FIELD_AMQP_REQUEST_METHOD, method->name);
        fact_int(tape, KFL_FIELD_AMQP_REQUEST_CHANNEL, channel);
    }
    bits = write_arguments(tape, method, c);
    l7_half_add(l7, half);
    l7_half_wire(half, wire);
    if (method->answers) {
        l7_response(l7, half);
        if (class == CHANNEL && id == CHANNEL_CLOSE_OK)
            channel_closed(l7, channel);
    } else if (method->content)
        open_content(l7, side, channel, half);
    else if (method->answered && !(method->no_wait_bit && bits >> (method->no_wait_bit - 1) & 1))
        l7_request(l7, half);
    else
        emit_alone(l7, side, half);
}

static void frame(struct l7 *l7, enum kfl_side side, const struct frame_head *head,
                  const uint8_t *payload, uint32_t shown)
{
    struct content *content = find_content(l7_state(l7), side, head->channel);
    uint32_t wire = FRAME_HEAD + head->size + 1;

    if (head->type == METHOD) {
        method_frame(l7, side, head->channel, wire, cursor_of(payload, shown));
    } else if (content && head->type == HEADER) {
        l7_half_wire(content->half, wire);
        content_header(l7, content, cursor_of(payload, shown));
    } else if (content && head->type == BODY && content->headed) {
        l7_half_wire(content->half, wire);
        if (body_wanted(l7))
            l7_text_add(l7, &content->body, payload, shown);
        content->left -= head->size < content->left ? head->size : content->left;
        if (!content->left)
            finish_content(l7, content);
    }
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct frame_head head;
    uint32_t whole, shown;

    if (!l7_has(l7, side, size, FRAME_HEAD + 1))
        return 0;
    if (!memcmp(data, "AMQP", 4)) /* the protocol header; a server's is a refusal */
        return 8;
    if (!read_frame(data, size, &head)) {
        l7_give_up(l7, NULL, "not an AMQP frame");
        return size;
    }
    whole = FRAME_HEAD + head.size + 1;
    shown = l7_message(l7, side, size, whole,
                       head.type == BODY && !body_wanted(l7) ? FRAME_HEAD : L7_SHOWN_MAX);
    if (!shown)
        return 0;
    if (shown == whole && data[whole - 1] != FRAME_END) {
        l7_give_up(l7, NULL, "an AMQP frame without its end");
        return size;
    }
    frame(l7, side, &head, data + FRAME_HEAD, shown == whole ? head.size : shown - FRAME_HEAD);
    return shown;
}

static void end(struct l7 *l7, enum l7_end why)
{
    struct state *state = l7_state(l7);

    for (unsigned i = 0; i < CONTENTS_MAX; i++)
        if (state->contents[i].open)
            finish_content(l7, &state->contents[i]);
}

static void done(struct l7 *l7)
{
    struct state *state = l7_state(l7);

    for (unsigned i = 0; i < CONTENTS_MAX; i++)
        if (state->contents[i].open) {
            l7_text_free(l7, &state->contents[i].body);
            l7_half_free(l7, state->contents[i].half);
        }
}

const struct dissector dissector_amqp = {
    .proto = KFL_PROTO_AMQP,
    .name = "amqp",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(AMQP),
    .ports = {5672},
    .probe = probe,
    .parse = parse,
    .end = end,
    .done = done,
};
