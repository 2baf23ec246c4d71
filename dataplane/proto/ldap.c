/* LDAP, RFC 4511 (messages), 4515 (filters as text), over TCP.
 *
 * Requests and responses are paired by message id. Entries and references of a search are counted
 * on the waiting request until searchResDone answers it. After StartTLS the bytes are TLS; after a
 * SASL bind they may be wrapped, then nothing more can be read. */
#include <stdio.h>
#include <string.h>

#include "../cursor.h"
#include "../l7.h"

enum {
    HEAD_MIN = 7,          /* the shortest message: unbind */
    LENGTH_MAX = 64 << 20, /* a longer message is not believed */
    FILTER_DEPTH_MAX = 16,
    FILTER_TEXT_MAX = 2048,
    ATTRIBUTES_MAX = 256,
};

enum operation {
    BIND_REQUEST = 0,
    BIND_RESPONSE = 1,
    UNBIND_REQUEST = 2,
    SEARCH_REQUEST = 3,
    SEARCH_ENTRY = 4,
    SEARCH_DONE = 5,
    MODIFY_REQUEST = 6,
    ADD_REQUEST = 8,
    DEL_REQUEST = 10,
    MOD_DN_REQUEST = 12,
    COMPARE_REQUEST = 14,
    ABANDON_REQUEST = 16,
    SEARCH_REFERENCE = 19,
    EXTENDED_REQUEST = 23,
    EXTENDED_RESPONSE = 24,
    INTERMEDIATE_RESPONSE = 25,
    N_OPERATIONS,
};

static const char *const operation_names[N_OPERATIONS] = {
    [BIND_REQUEST] = "bindRequest",
    [BIND_RESPONSE] = "bindResponse",
    [UNBIND_REQUEST] = "unbindRequest",
    [SEARCH_REQUEST] = "searchRequest",
    [SEARCH_ENTRY] = "searchResEntry",
    [SEARCH_DONE] = "searchResDone",
    [MODIFY_REQUEST] = "modifyRequest",
    [7] = "modifyResponse",
    [ADD_REQUEST] = "addRequest",
    [9] = "addResponse",
    [DEL_REQUEST] = "delRequest",
    [11] = "delResponse",
    [MOD_DN_REQUEST] = "modDNRequest",
    [13] = "modDNResponse",
    [COMPARE_REQUEST] = "compareRequest",
    [15] = "compareResponse",
    [ABANDON_REQUEST] = "abandonRequest",
    [SEARCH_REFERENCE] = "searchResRef",
    [EXTENDED_REQUEST] = "extendedReq",
    [EXTENDED_RESPONSE] = "extendedResp",
    [INTERMEDIATE_RESPONSE] = "intermediateResponse",
};

static const char *const result_names[] = {
    [0] = "success",
    [1] = "operationsError",
    [2] = "protocolError",
    [3] = "timeLimitExceeded",
    [4] = "sizeLimitExceeded",
    [5] = "compareFalse",
    [6] = "compareTrue",
    [7] = "authMethodNotSupported",
    [8] = "strongerAuthRequired",
    [10] = "referral",
    [11] = "adminLimitExceeded",
    [12] = "unavailableCriticalExtension",
    [13] = "confidentialityRequired",
    [14] = "saslBindInProgress",
    [16] = "noSuchAttribute",
    [17] = "undefinedAttributeType",
    [18] = "inappropriateMatching",
    [19] = "constraintViolation",
    [20] = "attributeOrValueExists",
    [21] = "invalidAttributeSyntax",
    [32] = "noSuchObject",
    [33] = "aliasProblem",
    [34] = "invalidDNSyntax",
    [36] = "aliasDereferencingProblem",
    [48] = "inappropriateAuthentication",
    [49] = "invalidCredentials",
    [50] = "insufficientAccessRights",
    [51] = "busy",
    [52] = "unavailable",
    [53] = "unwillingToPerform",
    [54] = "loopDetect",
    [64] = "namingViolation",
    [65] = "objectClassViolation",
    [66] = "notAllowedOnNonLeaf",
    [67] = "notAllowedOnRDN",
    [68] = "entryAlreadyExists",
    [69] = "objectClassModsProhibited",
    [71] = "affectsMultipleDSAs",
    [80] = "other",
    [118] = "canceled",
    [119] = "noSuchOperation",
    [120] = "tooLate",
    [121] = "cannotCancel",
};

struct state {
    bool start_tls; /* asked for, not yet answered */
    bool sasl;      /* a SASL bind went through: bytes may be wrapped */
    bool version_2; /* the last bind asked for it; without one it is taken to be 3 */
};

struct head {
    uint64_t length; /* of the whole message, bytes */
    int64_t id;
    uint8_t operation;
    uint32_t at; /* offset of the operation's content */
};

/* The beginning of an element. -> its tag; *ret_size its content's size, which may lie beyond the
 * end; short_ when not even the length is there. Indefinite lengths are not LDAP's. */
static uint8_t element(struct cursor *c, uint64_t *ret_size)
{
    uint8_t tag = cursor_u8(c), first = cursor_u8(c);
    uint64_t size = first;

    if (first & 0x80) {
        unsigned n = first & 0x7f;

        size = 0;
        if (n == 0 || n > 4) {
            c->short_ = true;
            return 0;
        }
        while (n--)
            size = size << 8 | cursor_u8(c);
    }
    *ret_size = size;
    return tag;
}

/* One element, cut to what is there. -> tag, 0 at the end. */
static uint8_t take(struct cursor *c, struct cursor *ret_content)
{
    uint64_t size = 0;
    uint8_t tag;

    *ret_content = cursor_of(c->end, 0);
    if (!cursor_left(c))
        return 0;
    tag = element(c, &size);
    if (c->short_)
        return 0;
    *ret_content = cursor_sub(c, size < cursor_left(c) ? size : cursor_left(c));
    return tag;
}

static int64_t integer(struct cursor content)
{
    int64_t value = cursor_left(&content) && *content.at & 0x80 ? -1 : 0;

    for (unsigned i = 0; i < 8 && cursor_left(&content); i++)
        value = (int64_t)((uint64_t)value << 8 | cursor_u8(&content));
    return value;
}

static bool is_request(uint8_t operation)
{
    return operation_names[operation] &&
           (operation % 2 == 0 || operation == EXTENDED_REQUEST || operation == SEARCH_REQUEST) &&
           operation != SEARCH_ENTRY && operation != EXTENDED_RESPONSE;
}

/* -> YES with the head; MORE bytes are needed; NO: not LDAP. */
static enum l7_probe read_head(const uint8_t *data, size_t size, struct head *ret)
{
    struct cursor c = cursor_of(data, size), id;
    uint64_t length = 0, content = 0;
    uint8_t tag;

    if (!size)
        return L7_PROBE_MORE;
    if (data[0] != 0x30)
        return L7_PROBE_NO;
    if (size < HEAD_MIN)
        return L7_PROBE_MORE;
    element(&c, &length);
    if (c.short_ || length > LENGTH_MAX || length < HEAD_MIN - 2)
        return size < 16 && !(size > 1 && (data[1] & 0x7f) > 4 && data[1] & 0x80) &&
                       length <= LENGTH_MAX
                   ? L7_PROBE_MORE
                   : L7_PROBE_NO;
    ret->length = length + (uint64_t)(c.at - data);
    if (take(&c, &id) != 0x02 || cursor_left(&id) < 1 || cursor_left(&id) > 4)
        return size < 16 && !cursor_left(&c) ? L7_PROBE_MORE : L7_PROBE_NO;
    ret->id = integer(id);
    if (!cursor_left(&c))
        return L7_PROBE_MORE;
    tag = *c.at;
    ret->operation = tag & 0x1f;
    if ((tag & 0xc0) != 0x40 || ret->operation >= N_OPERATIONS ||
        !operation_names[ret->operation] || ret->id < 0)
        return L7_PROBE_NO;
    element(&c, &content);
    if (c.short_)
        return size < 24 ? L7_PROBE_MORE : L7_PROBE_NO;
    ret->at = (uint32_t)(c.at - data);
    /* Each element lies within the one around it. */
    return content <= length && ret->at <= ret->length ? L7_PROBE_YES : L7_PROBE_NO;
}

static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned side = 0; side < 2; side++) {
        struct head head;
        enum l7_probe found =
            in->size[side] ? read_head(in->data[side], in->size[side], &head) : L7_PROBE_NO;

        if (found == L7_PROBE_YES) {
            *ret_swap = is_request(head.operation) != (side == KFL_CLIENT);
            return found;
        }
        if (found == L7_PROBE_MORE)
            answer = found;
    }
    return answer;
}

/* ---- filters as text ---- */
struct text {
    char bytes[FILTER_TEXT_MAX];
    size_t size;
};

static void put(struct text *text, const char *bytes, size_t size)
{
    size_t room = sizeof(text->bytes) - text->size;

    if (size > room)
        size = room;
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

/* A value: what RFC 4515 reserves, and what is not ASCII text, as \xx. */
static void put_value(struct text *text, struct cursor value)
{
    static const char digits[] = "0123456789abcdef";

    while (cursor_left(&value)) {
        uint8_t byte = cursor_u8(&value);

        if (byte < 0x20 || byte == '*' || byte == '(' || byte == ')' || byte == '\\' ||
            byte == 0x7f) {
            char escaped[3] = {'\\', digits[byte >> 4], digits[byte & 15]};

            put(text, escaped, 3);
        } else {
            put(text, (const char *)&byte, 1);
        }
    }
}

static void put_substrings(struct text *text, struct cursor content)
{
    struct cursor name, list, part;
    uint8_t tag, last = 0;

    take(&content, &name);
    take(&content, &list);
    put_value(text, name);
    put(text, "=", 1);
    while ((tag = take(&list, &part))) {
        if ((tag & 0x1f) != 0)
            put(text, "*", 1);
        put_value(text, part);
        last = tag & 0x1f;
    }
    if (last != 2)
        put(text, "*", 1);
}

static void put_extensible(struct text *text, struct cursor content)
{
    struct cursor part, rule = {0}, type = {0}, value = {0};
    bool dn = false;
    uint8_t tag;

    while ((tag = take(&content, &part)))
        switch (tag & 0x1f) {
        case 1:
            rule = part;
            break;
        case 2:
            type = part;
            break;
        case 3:
            value = part;
            break;
        case 4:
            dn = cursor_u8(&part);
            break;
        default:
            break;
        }
    put_value(text, type);
    if (dn)
        put(text, ":dn", 3);
    if (cursor_left(&rule)) {
        put(text, ":", 1);
        put_value(text, rule);
    }
    put(text, ":=", 2);
    put_value(text, value);
}

/* One item: what is not `and`, `or`, `not`. */
static void put_item(struct text *text, uint8_t choice, struct cursor content)
{
    static const char *const signs[] = {[3] = "=", [5] = ">=", [6] = "<=", [8] = "~="};
    struct cursor name, value;

    switch (choice) {
    case 3:
    case 5:
    case 6:
    case 8:
        take(&content, &name);
        take(&content, &value);
        put_value(text, name);
        put(text, signs[choice], strlen(signs[choice]));
        put_value(text, value);
        break;
    case 4:
        put_substrings(text, content);
        break;
    case 7:
        put_value(text, content);
        put(text, "=*", 2);
        break;
    case 9:
        put_extensible(text, content);
        break;
    default:
        put(text, "?", 1);
        break;
    }
}

static void put_filter(struct text *text, struct cursor filter)
{
    struct cursor open[FILTER_DEPTH_MAX], content;
    unsigned depth = 0;

    open[depth++] = filter;
    while (depth) {
        uint8_t tag = take(&open[depth - 1], &content), choice = tag & 0x1f;

        if (!tag) {
            if (--depth)
                put(text, ")", 1);
            continue;
        }
        put(text, "(", 1);
        if (choice <= 2 && depth < FILTER_DEPTH_MAX) {
            put(text, &"&|!"[choice], 1);
            open[depth++] = content;
            continue;
        }
        put_item(text, choice, content);
        put(text, ")", 1);
    }
}

/* ---- requests ---- */
static void string_fact(struct fact_tape *tape, enum kfl_field field, struct cursor content)
{
    fact_string(tape, field, content.at, cursor_left(&content));
}

static bool bind_facts(struct fact_tape *tape, struct cursor c)
{
    struct cursor content, mechanism;
    uint8_t tag;

    take(&c, &content);
    fact_int(tape, KFL_FIELD_LDAP_REQUEST_VERSION, integer(content));
    take(&c, &content);
    string_fact(tape, KFL_FIELD_LDAP_REQUEST_NAME, content);
    tag = take(&c, &content);
    if (tag == 0xa3) {
        fact_text(tape, KFL_FIELD_LDAP_REQUEST_AUTHENTICATION, "sasl");
        take(&content, &mechanism);
        string_fact(tape, KFL_FIELD_LDAP_REQUEST_MECHANISM, mechanism);
        return true;
    }
    if (tag == 0x80)
        fact_text(tape, KFL_FIELD_LDAP_REQUEST_AUTHENTICATION, "simple");
    return false;
}

static void search_facts(struct fact_tape *tape, struct cursor c)
{
    static const char *const scopes[] = {"baseObject", "singleLevel", "wholeSubtree",
                                         "subordinateSubtree"};
    struct cursor content;
    struct text text = {.size = 0};
    const uint8_t *filter;
    int64_t scope;

    take(&c, &content);
    string_fact(tape, KFL_FIELD_LDAP_REQUEST_BASE_OBJECT, content);
    take(&c, &content);
    scope = integer(content);
    if (scope >= 0 && scope < 4)
        fact_text(tape, KFL_FIELD_LDAP_REQUEST_SCOPE, scopes[scope]);
    for (unsigned i = 0; i < 4; i++) /* aliases, limits, types only */
        take(&c, &content);
    filter = c.at;
    take(&c, &content);
    if (fact_wanted(tape, KFL_FIELD_LDAP_REQUEST_FILTER)) {
        put_filter(&text, cursor_of(filter, (size_t)(c.at - filter)));
        fact_string(tape, KFL_FIELD_LDAP_REQUEST_FILTER, text.bytes, text.size);
    }
    take(&c, &content);
    if (!fact_wanted(tape, KFL_FIELD_LDAP_REQUEST_ATTRIBUTES))
        return;
    fact_array(tape, KFL_FIELD_LDAP_REQUEST_ATTRIBUTES);
    for (unsigned i = 0; i < ATTRIBUTES_MAX && cursor_left(&content); i++) {
        struct cursor name;

        if (!take(&content, &name))
            break;
        string_fact(tape, KFL_FIELD_NONE, name);
    }
    fact_end(tape);
}

static bool is_start_tls(struct cursor c)
{
    static const char oid[] = "1.3.6.1.4.1.1466.20037";
    struct cursor name;

    return take(&c, &name) == 0x80 && cursor_left(&name) == sizeof(oid) - 1 &&
           !memcmp(name.at, oid, sizeof(oid) - 1);
}

static void request(struct l7 *l7, enum kfl_side side, const struct head *head, struct cursor c)
{
    struct state *state = l7_state(l7);
    struct l7_half *half = l7_half_new(l7, side, (uint64_t)head->id + 1);
    struct fact_tape *tape = l7_tape(l7);
    struct cursor content, version = c;

    if (head->operation == BIND_REQUEST) {
        take(&version, &content);
        state->version_2 = integer(content) == 2;
    }
    l7_half_version(half, state->version_2 ? "2" : "3");
    fact_int(tape, KFL_FIELD_LDAP_REQUEST_MESSAGE_ID, head->id);
    fact_text(tape, KFL_FIELD_LDAP_REQUEST_TYPE, operation_names[head->operation]);
    switch (head->operation) {
    case BIND_REQUEST:
        state->sasl |= bind_facts(tape, c);
        break;
    case SEARCH_REQUEST:
        search_facts(tape, c);
        break;
    case DEL_REQUEST: /* the DN is the content itself */
        string_fact(tape, KFL_FIELD_LDAP_REQUEST_ENTRY, c);
        break;
    case MODIFY_REQUEST:
    case ADD_REQUEST:
    case MOD_DN_REQUEST:
    case COMPARE_REQUEST:
        take(&c, &content);
        string_fact(tape, KFL_FIELD_LDAP_REQUEST_ENTRY, content);
        break;
    case EXTENDED_REQUEST:
        state->start_tls = is_start_tls(c);
        break;
    default:
        break;
    }
    l7_half_add(l7, half);
    l7_half_wire(half, head->length);
    if (head->operation == UNBIND_REQUEST || head->operation == ABANDON_REQUEST)
        l7_single(l7, half);
    else
        l7_request(l7, half);
}

static void response(struct l7 *l7, enum kfl_side side, const struct head *head, struct cursor c)
{
    struct state *state = l7_state(l7);
    struct l7_half *half = l7_half_new(l7, side, (uint64_t)head->id + 1);
    struct l7_half *waiting = l7_pending(l7, (uint64_t)head->id + 1);
    struct fact_tape *tape = l7_tape(l7);
    struct cursor content;
    int64_t code;

    l7_half_version(half, state->version_2 ? "2" : "3");
    fact_text(tape, KFL_FIELD_LDAP_RESPONSE_TYPE, operation_names[head->operation]);
    take(&c, &content);
    code = integer(content);
    fact_int(tape, KFL_FIELD_LDAP_RESPONSE_RESULT_CODE, code);
    if (code >= 0 && code < (int64_t)(sizeof(result_names) / sizeof(*result_names)) &&
        result_names[code])
        fact_text(tape, KFL_FIELD_LDAP_RESPONSE_RESULT_CODE_NAME, result_names[code]);
    take(&c, &content);
    string_fact(tape, KFL_FIELD_LDAP_RESPONSE_MATCHED_DN, content);
    take(&c, &content);
    string_fact(tape, KFL_FIELD_LDAP_RESPONSE_ERROR_MESSAGE, content);
    fact_int(tape, KFL_FIELD_LDAP_RESPONSE_ENTRIES, waiting ? (int64_t)l7_half_user(waiting) : 0);
    l7_half_add(l7, half);
    l7_half_wire(half, head->length);
    if (!head->id) { /* notice of disconnection */
        l7_single(l7, half);
        return;
    }
    l7_response(l7, half);
    if (head->operation == EXTENDED_RESPONSE && state->start_tls && code == 0)
        l7_switch(l7, KFL_PROTO_TLS);
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    struct head head;
    size_t shown;

    switch (read_head(data, size, &head)) {
    case L7_PROBE_MORE:
        return 0;
    case L7_PROBE_NO:
        if (state->sasl)
            l7_finish(l7);
        else
            l7_give_up(l7, NULL, "not an LDAP message");
        return size;
    case L7_PROBE_YES:
        break;
    }
    if (head.operation == SEARCH_ENTRY || head.operation == SEARCH_REFERENCE ||
        head.operation == INTERMEDIATE_RESPONSE) {
        struct l7_half *waiting = l7_pending(l7, (uint64_t)head.id + 1);

        if (waiting && head.operation == SEARCH_ENTRY)
            l7_half_set_user(waiting, l7_half_user(waiting) + 1);
        if (head.length > size)
            l7_skip(l7, side, head.length - size);
        return head.length < size ? (size_t)head.length : size;
    }
    shown = l7_message(l7, side, size, head.length, L7_SHOWN_MAX);
    if (!shown)
        return 0;
    if (is_request(head.operation))
        request(l7, side, &head, cursor_of(data + head.at, shown - head.at));
    else
        response(l7, side, &head, cursor_of(data + head.at, shown - head.at));
    return shown;
}

const struct dissector dissector_ldap = {
    .proto = KFL_PROTO_LDAP,
    .name = "ldap",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(LDAP) | KFL_PROTO_BIT(TLS),
    .ports = {389, 3268},
    .probe = probe,
    .parse = parse,
};
