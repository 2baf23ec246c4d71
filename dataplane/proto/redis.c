/* Redis: RESP2, RESP3 and inline commands over TCP. Source: Redis serialization protocol.
 *
 * Replies come in order. Pushed messages (RESP3 pushes, RESP2 pub/sub) are entries without a
 * request; CLIENT REPLY OFF and SKIP make requests without a reply. A value longer than SHOWN_MAX
 * is read as far as that, the rest is passed over. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../../kfl-jit/value.h"
#include "../l7.h"

enum {
    SHOWN_MAX = 32 << 10,
    LINE_MAX_SIZE = 8 << 10,
    DEPTH_MAX = 16,
    ELEMENTS_MAX = 1 << 20, /* of one aggregate: more is not believed */
    BULK_MAX = 512 << 20,
    LINE_PROBE_MAX = 512, /* a longer one is not believed to be a command */
    ARGUMENTS_SHOWN = 256,
    VALUE_SHOWN = 4 << 10, /* of several values written as one text */
};

/* How many values are still to come, level by level: a value's extent without its contents. */
struct extent {
    uint32_t left[DEPTH_MAX];
    unsigned depth;
};

struct state {
    struct extent drain[2]; /* by side: rest of a value too long to be shown */
    bool resp3;
    bool monitor; /* lines come unasked */
    bool replies_off;
    uint8_t replies_skipped;
};

enum { USER_SUBSCRIBE = 1 };

/* ---- extents ---- */
struct token {
    uint8_t type;
    int64_t number;      /* of a length or a count */
    const uint8_t *text; /* the line behind the type */
    uint32_t text_size;
    uint32_t size; /* with CR LF */
};

static bool is_integer(const uint8_t *text, size_t size)
{
    size_t sign = size && (text[0] == '-' || text[0] == '+');

    for (size_t i = sign; i < size; i++)
        if (!isdigit(text[i]))
            return false;
    return size > sign;
}

enum line { LINE_NONE, LINE_TEXT, LINE_LENGTH /* or count */ };

static const uint8_t line_kind[256] = {
    ['+'] = LINE_TEXT,   ['-'] = LINE_TEXT,   [':'] = LINE_TEXT,   ['_'] = LINE_TEXT,
    ['#'] = LINE_TEXT,   [','] = LINE_TEXT,   ['('] = LINE_TEXT,   ['$'] = LINE_LENGTH,
    ['*'] = LINE_LENGTH, ['!'] = LINE_LENGTH, ['='] = LINE_LENGTH, ['%'] = LINE_LENGTH,
    ['~'] = LINE_LENGTH, ['>'] = LINE_LENGTH, ['|'] = LINE_LENGTH,
};

/* A length of one to six digits, as nearly all lines are: eight bytes at once, since no loop over
 * them is foreseen by the processor. What is not is left to read_any_line(). */
static inline bool read_length(const uint8_t *data, size_t size, struct token *ret)
{
    uint64_t word, other, end, digits;
    uint32_t n;

    if (size < 9)
        return false;
    memcpy(&word, data + 1, 8);
    other = word ^ VALUE_BYTES('\r');
    end = (other - VALUE_BYTES(1)) & ~other & VALUE_BYTES(0x80);
    n = end ? (uint32_t)__builtin_ctzll(end) / 8 : 0; /* before the first \r */
    if (n < 1 || n > 6 || (word >> 8 * (n + 1) & 0xff) != '\n')
        return false;
    digits = (word ^ VALUE_BYTES('0')) << 8 * (8 - n); /* with zeros before them */
    if ((digits | (digits + VALUE_BYTES(0x80 - 10))) & VALUE_BYTES(0x80))
        return false;
    digits = (digits * 10 + (digits >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    digits = (digits * 100 + (digits >> 16)) & UINT64_C(0x0000ffff0000ffff);
    digits = (digits * 10000 + (digits >> 32)) & UINT32_MAX;
    *ret = (struct token){data[0], (int64_t)digits, data + 1, n, n + 3};
    return true;
}

/* What is not a short length. */
static int read_any_line(const uint8_t *data, size_t size, struct token *ret)
{
    size_t most = size < LINE_MAX_SIZE ? size : LINE_MAX_SIZE;
    enum line kind = size ? line_kind[data[0]] : LINE_NONE;
    const uint8_t *end;
    uint32_t negative;

    if (!size)
        return 0;
    if (kind == LINE_NONE)
        return -1;
    end = memchr(data, '\n', most);
    if (!end)
        return size >= LINE_MAX_SIZE && !strchr("+-", data[0]) ? -1 : 0;
    if (end - data < 2 - (data[0] == '_' ? 1 : 0) || end[-1] != '\r')
        return -1;
    ret->type = data[0];
    ret->text = data + 1;
    ret->text_size = (uint32_t)(end - 1 - ret->text);
    ret->size = (uint32_t)(end + 1 - data);
    ret->number = 0;
    if (data[0] == ':')
        return is_integer(ret->text, ret->text_size) ? 1 : -1;
    if (kind == LINE_TEXT)
        return 1;
    negative = ret->text_size && ret->text[0] == '-';
    if (ret->text_size < 1 + negative || ret->text_size > 12)
        return -1;
    for (uint32_t i = negative; i < ret->text_size; i++) {
        if (!isdigit(ret->text[i]))
            return -1;
        ret->number = ret->number * 10 + (ret->text[i] - '0');
    }
    if (negative)
        ret->number = -ret->number;
    return ret->number >= -1 && ret->number <= BULK_MAX ? 1 : -1;
}

/* The line that begins a value. -> 1; 0: it is not all there; -1: no such line */
static inline int read_line(const uint8_t *data, size_t size, struct token *ret)
{
    if (size && line_kind[data[0]] == LINE_LENGTH && read_length(data, size, ret))
        return 1;
    return read_any_line(data, size, ret);
}

static bool is_bulk(uint8_t type)
{
    return type == '$' || type == '!' || type == '=';
}

static bool is_aggregate(uint8_t type)
{
    return type == '*' || type == '%' || type == '~' || type == '>' || type == '|';
}

/* Takes a token into the extent. -> false when it nests or counts beyond belief */
static bool extent_add(struct extent *extent, const struct token *token)
{
    int64_t children = is_aggregate(token->type) && token->number > 0 ? token->number : 0;

    if (token->type == '%' || token->type == '|')
        children *= 2;
    if (children > ELEMENTS_MAX)
        return false;
    if (token->type == '|') /* attributes come before the value they speak of */
        children++;
    if (children) {
        if (extent->depth == DEPTH_MAX)
            return false;
        extent->left[extent->depth++] = (uint32_t)children;
        return true;
    }
    while (extent->depth && --extent->left[extent->depth - 1] == 0)
        extent->depth--;
    return true;
}

/* Passes over the values that the extent is waiting for, as far as the bytes go. -> bytes used;
 * *ret_skip: bytes of a bulk string beyond them; -1: not RESP */
static int64_t extent_pass(struct extent *extent, const uint8_t *data, size_t size,
                           uint64_t *ret_skip)
{
    size_t at = 0;

    *ret_skip = 0;
    do {
        struct token token;
        int found = read_line(data + at, size - at, &token);
        size_t whole = token.size;

        if (found <= 0)
            return found < 0 ? -1 : (int64_t)at;
        if (is_bulk(token.type) && token.number >= 0)
            whole += (size_t)token.number + 2;
        if (!extent_add(extent, &token))
            return -1;
        if (whole > size - at) {
            *ret_skip = whole - (size - at);
            return (int64_t)size;
        }
        at += whole;
    } while (extent->depth);
    return (int64_t)at;
}

/* The size of an array of bulk strings, as commands are. -> 0: it is something else, or not whole
 */
static size_t strings_size(const uint8_t *data, size_t size)
{
    struct token token;
    size_t at;

    if (!size || data[0] != '*' || !read_length(data, size, &token))
        return 0;
    at = token.size;
    for (int64_t left = token.number; left; left--) {
        if (at >= size || data[at] != '$' || !read_length(data + at, size - at, &token))
            return 0;
        at += token.size + (size_t)token.number + 2;
    }
    return at <= size ? at : 0;
}

/* The size of the value that begins here. -> 0: it is not all there; -1: no value */
static int64_t value_size(const uint8_t *data, size_t size)
{
    struct extent extent;
    size_t strings = strings_size(data, size);
    uint64_t skip;
    int64_t used;

    if (!size || strings)
        return (int64_t)strings;
    extent.depth = 1;
    extent.left[0] = 1;
    used = extent_pass(&extent, data, size, &skip);
    return used < 0 ? -1 : skip || extent.depth ? 0 : used;
}

/* ---- is it? ---- */
/* A line that begins with a word as commands are named. *ret_known: with one that is known. */
static enum l7_probe is_inline(const uint8_t *data, size_t size, bool *ret_known)
{
    static const char *const words[] = {"PING",   "INFO",    "SET",     "GET",       "AUTH",
                                        "SELECT", "DEL",     "CONFIG",  "KEYS",      "CLIENT",
                                        "ECHO",   "HELLO",   "INCR",    "EXISTS",    "FLUSHALL",
                                        "DBSIZE", "COMMAND", "PUBLISH", "SUBSCRIBE", "RESET"};
    size_t length = 0;

    while (length < size && (isalpha(data[length]) ||
                             (length && (isdigit(data[length]) || memchr("._-", data[length], 3)))))
        length++;
    if (!length || (length < size && !strchr(" \r\n", data[length])))
        return L7_PROBE_NO;
    if (!memchr(data, '\n', size))
        return size < LINE_PROBE_MAX ? L7_PROBE_MORE : L7_PROBE_NO;
    *ret_known = false;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        *ret_known |=
            strlen(words[i]) == length && !strncasecmp(words[i], (const char *)data, length);
    return L7_PROBE_YES;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    bool plausible[2] = {false, false}, known = true, whole = true;
    unsigned n_lines = 0; /* of words: RESP answers them, or it is none */

    for (unsigned side = 0; side < 2; side++) {
        const uint8_t *data = in->data[side];
        size_t size = in->size[side];
        struct token token, inner;
        int found;

        if (!size)
            continue;
        found = read_line(data, size, &token);
        if (found <= 0) {
            enum l7_probe line = found < 0 ? is_inline(data, size, &known) : L7_PROBE_MORE;

            n_lines += found < 0;
            if (line == L7_PROBE_NO || n_lines == 2)
                return L7_PROBE_NO;
            whole &= line == L7_PROBE_YES;
            plausible[side] = true;
            continue;
        }
        /* An array of bulk strings is a command, or a reply made of some. */
        if (token.type == '*' && token.number > 0) {
            found = read_line(data + token.size, size - token.size, &inner);
            if (found < 0)
                return L7_PROBE_NO;
            if (found > 0 && (inner.type == '$' || in->size[!side])) {
                const uint8_t *word = data + token.size + inner.size;

                *ret_swap = side == KFL_SERVER && !in->size[KFL_CLIENT] && inner.type == '$' &&
                            word < data + size && isalpha(*word) && in->port[KFL_SERVER] != 6379;
                return L7_PROBE_YES;
            }
        } else if (is_bulk(token.type) && value_size(data, size) > 0) {
            *ret_swap = side == KFL_CLIENT;
            return L7_PROBE_YES;
        } else if (token.type == ':' && token.text_size &&
                   value_size(data, size) == (int64_t)size) {
            *ret_swap = side == KFL_CLIENT;
            return L7_PROBE_YES;
        }
        plausible[side] = true;
    }
    /* A line that many protocols have: what the other side says decides. Many say +OK, too. */
    if (plausible[0] && plausible[1] && whole) {
        *ret_swap = is_inline(in->data[KFL_SERVER], in->size[KFL_SERVER], &known) == L7_PROBE_YES;
        return known || !strchr("+-", in->data[*ret_swap ? KFL_CLIENT : KFL_SERVER][0])
                   ? L7_PROBE_YES
                   : L7_PROBE_NO;
    }
    return plausible[0] || plausible[1] ? L7_PROBE_MORE : L7_PROBE_NO;
}

/* ---- facts ---- */
struct fields {
    enum kfl_field type, command, key, value, args, keyword;
};

static const struct fields side_fields[2] = {
    {KFL_FIELD_REDIS_REQUEST_TYPE, KFL_FIELD_REDIS_REQUEST_COMMAND, KFL_FIELD_REDIS_REQUEST_KEY,
     KFL_FIELD_REDIS_REQUEST_VALUE, KFL_FIELD_REDIS_REQUEST_ARGS, KFL_FIELD_REDIS_REQUEST_KEYWORD},
    {KFL_FIELD_REDIS_RESPONSE_TYPE, KFL_FIELD_REDIS_RESPONSE_COMMAND, KFL_FIELD_REDIS_RESPONSE_KEY,
     KFL_FIELD_REDIS_RESPONSE_VALUE, KFL_FIELD_REDIS_RESPONSE_ARGS,
     KFL_FIELD_REDIS_RESPONSE_KEYWORD},
};

static const char *type_name(const struct token *token)
{
    if ((token->type == '$' || token->type == '*') && token->number < 0)
        return "Null";
    switch (token->type) {
    case '+':
        return "Simple String";
    case '-':
    case '!':
        return "Error";
    case ':':
    case '(':
        return "Integer";
    case '*':
        return "Array";
    case '_':
        return "Null";
    case '#':
        return "Boolean";
    case ',':
        return "Double";
    case '%':
    case '|':
        return "Map";
    case '~':
        return "Set";
    case '>':
        return "Push";
    default:
        return "Bulk String";
    }
}

/* Of the bytes at hand; two registers. */
struct text {
    const uint8_t *at;
    size_t size;
};

/* The elements of a command or an array as texts, one after the other; what is cut off is not
 * there. Elements of nested aggregates follow their opening, which is no text. */
struct elements {
    const uint8_t *at, *end;
    bool words; /* an inline command: words of a line */
};

static bool next_text(struct elements *e, struct text *ret)
{
    struct token token;

    if (e->words) {
        while (e->at < e->end && (*e->at == ' ' || *e->at == '\t'))
            e->at++;
        ret->at = e->at;
        while (e->at < e->end && *e->at != ' ' && *e->at != '\t')
            e->at++;
        ret->size = (size_t)(e->at - ret->at);
        return ret->size > 0;
    }
    while (e->at < e->end && read_line(e->at, (size_t)(e->end - e->at), &token) > 0) {
        size_t left, size = token.number > 0 ? (size_t)token.number : 0;

        e->at += token.size;
        left = (size_t)(e->end - e->at);
        if (is_aggregate(token.type))
            continue;
        if (!is_bulk(token.type)) {
            *ret = (struct text){token.text, token.text_size};
            return true;
        }
        *ret = (struct text){e->at, size < left ? size : left};
        if (token.number >= 0)
            e->at = size + 2 <= left ? e->at + size + 2 : e->end;
        return true;
    }
    return false;
}

static void upper_fact(struct fact_tape *tape, enum kfl_field field, struct text text)
{
    char upper[64];
    size_t size = text.size < sizeof(upper) ? text.size : sizeof(upper);

    if (!fact_wanted(tape, field))
        return;
    for (size_t i = 0; i < size; i++)
        upper[i] = (char)(text.at[i] - (text.at[i] >= 'a' && text.at[i] <= 'z' ? 'a' - 'A' : 0));
    fact_string(tape, field, upper, size);
}

/* One value as it is; more as `[v1, v2]`. */
static void value_fact(struct fact_tape *tape, enum kfl_field field, struct elements *e)
{
    char joined[VALUE_SHOWN];
    size_t size = 0;
    struct text text, next;
    bool more;

    if (!fact_wanted(tape, field) || !next_text(e, &text))
        return;
    more = next_text(e, &next);
    if (!more) {
        fact_string(tape, field, text.at, text.size);
        return;
    }
    joined[size++] = '[';
    for (;;) {
        size_t room = sizeof(joined) - size - 3, n = text.size < room ? text.size : room;

        memcpy(joined + size, text.at, n);
        size += n;
        if (!more)
            break;
        memcpy(joined + size, ", ", 2);
        size += 2;
        if (size + 3 >= sizeof(joined))
            break;
        text = next;
        more = next_text(e, &next);
    }
    joined[size++] = ']';
    fact_string(tape, field, joined, size);
}

static void command_facts(struct fact_tape *tape, const struct fields *fields, struct elements *e)
{
    struct text text;
    const uint8_t *arguments;

    if (!next_text(e, &text))
        return;
    upper_fact(tape, fields->command, text);
    arguments = e->at;
    if (next_text(e, &text))
        fact_string(tape, fields->key, text.at, text.size);
    value_fact(tape, fields->value, e);
    if (!fact_wanted(tape, fields->args))
        return;
    fact_array(tape, fields->args);
    e->at = arguments;
    for (unsigned i = 0; i < ARGUMENTS_SHOWN && next_text(e, &text); i++)
        fact_string(tape, KFL_FIELD_NONE, text.at, text.size);
    fact_end(tape);
}

static void reply_facts(struct fact_tape *tape, const struct fields *fields, const uint8_t *data,
                        size_t size, bool pushed)
{
    struct elements e = {data, data + size, false};
    struct token token;

    if (read_line(data, size, &token) <= 0)
        return;
    fact_text(tape, fields->type, type_name(&token));
    if (pushed)
        command_facts(tape, fields, &e);
    else if (token.type == '+')
        upper_fact(tape, fields->keyword, (struct text){token.text, token.text_size});
    else
        value_fact(tape, fields->value, &e);
}

/* ---- messages ---- */
static bool is_word(struct text text, const char *word)
{
    return text.size == strlen(word) && !strncasecmp((const char *)text.at, word, strlen(word));
}

static bool subscribes(struct text text)
{
    return text.size >= 9 && !strncasecmp((const char *)text.at + text.size - 9, "SUBSCRIBE", 9);
}

/* What commands change in the conversation. -> does this one get a reply? */
static bool follow(struct state *state, struct elements *e, uint64_t *ret_user)
{
    struct text word = {NULL, 0}, sub = {NULL, 0}, how = {NULL, 0};
    bool replied = !state->replies_off && !state->replies_skipped;

    if (state->replies_skipped)
        state->replies_skipped--;
    next_text(e, &word);
    if (subscribes(word))
        *ret_user = USER_SUBSCRIBE;
    if (is_word(word, "MONITOR"))
        state->monitor = true;
    if (is_word(word, "HELLO") && next_text(e, &sub) && is_word(sub, "3"))
        state->resp3 = true;
    if (!is_word(word, "CLIENT") || !next_text(e, &sub) || !is_word(sub, "REPLY") ||
        !next_text(e, &how))
        return replied;
    if (is_word(how, "ON")) {
        state->replies_off = false;
        return true;
    }
    if (is_word(how, "OFF"))
        state->replies_off = true;
    else if (is_word(how, "SKIP"))
        state->replies_skipped = 1;
    return false;
}

static void request(struct l7 *l7, const uint8_t *data, size_t size, bool words, uint64_t wire)
{
    struct state *state = l7_state(l7);
    struct elements e = {data, data + size, words};
    struct l7_half *half = l7_half_new(l7, KFL_CLIENT, L7_IN_ORDER);
    struct fact_tape *tape = l7_tape(l7);
    uint64_t user = 0;
    bool replied;

    fact_text(tape, KFL_FIELD_REDIS_REQUEST_TYPE, words ? "Inline" : "Array");
    command_facts(tape, &side_fields[KFL_CLIENT], &e);
    l7_half_add(l7, half);
    e.at = data;
    replied = follow(state, &e, &user);
    l7_half_wire(half, wire);
    l7_half_set_user(half, user);
    l7_half_version(half, state->resp3 ? "3" : "2");
    if (replied)
        l7_request(l7, half);
    else
        l7_single(l7, half);
}

/* Is it pushed, rather than the answer to the oldest request? */
static bool is_pushed(struct l7 *l7, const uint8_t *data, size_t size)
{
    const struct state *state = l7_state(l7);
    const struct l7_half *waiting = l7_pending(l7, L7_IN_ORDER);
    struct elements e = {data, data + size, false};
    struct text word = {NULL, 0};

    if (state->monitor && !waiting)
        return true;
    if (data[0] != '*' && data[0] != '>')
        return false;
    next_text(&e, &word);
    if (is_word(word, "message") || is_word(word, "pmessage") || is_word(word, "smessage"))
        return true;
    if (subscribes(word))
        return !waiting || l7_half_user(waiting) != USER_SUBSCRIBE;
    return data[0] == '>';
}

static void reply(struct l7 *l7, const uint8_t *data, size_t size, uint64_t wire)
{
    struct state *state = l7_state(l7);
    bool pushed = is_pushed(l7, data, size);
    struct l7_half *half = l7_half_new(l7, KFL_SERVER, L7_IN_ORDER);

    state->resp3 |= strchr("_#,(!=%~>|", data[0]) != NULL;
    reply_facts(l7_tape(l7), &side_fields[KFL_SERVER], data, size, pushed || data[0] == '>');
    l7_half_add(l7, half);
    l7_half_wire(half, wire);
    l7_half_version(half, state->resp3 ? "3" : "2");
    if (pushed)
        l7_single(l7, half);
    else
        l7_response(l7, half);
}

/* A value too long to be kept: what is there of it makes the entry, the rest drains. */
static size_t long_value(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    struct extent *extent = &state->drain[side];
    uint64_t skip;
    int64_t used;

    extent->depth = 0;
    extent->left[extent->depth++] = 1;
    used = extent_pass(extent, data, size, &skip);
    if (used < 0) {
        l7_give_up(l7, NULL, "not RESP");
        return size;
    }
    if (side == KFL_CLIENT)
        request(l7, data, size, false, (uint64_t)used + skip);
    else
        reply(l7, data, size, (uint64_t)used + skip);
    if (skip)
        l7_skip(l7, side, skip);
    return (size_t)used;
}

static size_t drain(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    uint64_t skip;
    int64_t used = extent_pass(&state->drain[side], data, size, &skip);

    if (used < 0) {
        l7_give_up(l7, NULL, "not RESP");
        return size;
    }
    if (skip)
        l7_skip(l7, side, skip);
    return (size_t)used;
}

static size_t inline_command(struct l7 *l7, const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size < LINE_MAX_SIZE ? size : LINE_MAX_SIZE);
    size_t length;

    if (!end) {
        if (size >= LINE_MAX_SIZE) {
            l7_give_up(l7, NULL, "an inline command without end");
            return size;
        }
        return 0;
    }
    length = (size_t)(end - data);
    if (length && data[length - 1] == '\r')
        length--;
    if (length)
        request(l7, data, length, true, (uint64_t)(end + 1 - data));
    return (size_t)(end + 1 - data);
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    int64_t whole;

    if (!size)
        return 0;
    if (state->drain[side].depth)
        return drain(l7, side, data, size);
    if (side == KFL_CLIENT && data[0] != '*')
        return inline_command(l7, data, size);
    whole = value_size(data, size < SHOWN_MAX ? size : SHOWN_MAX);
    if (whole < 0) {
        l7_give_up(l7, NULL, "not RESP");
        return size;
    }
    if (whole == 0)
        return size < SHOWN_MAX ? 0 : long_value(l7, side, data, size);
    if (side == KFL_CLIENT)
        request(l7, data, (size_t)whole, false, (uint64_t)whole);
    else
        reply(l7, data, (size_t)whole, (uint64_t)whole);
    return (size_t)whole;
}

const struct dissector dissector_redis = {
    .proto = KFL_PROTO_REDIS,
    .name = "redis",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(REDIS),
    .ports = {6379},
    .probe = probe,
    .parse = parse,
};
