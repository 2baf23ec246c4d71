/* http_gql.c - is the body of a request a GraphQL operation, and which?
 *
 * The body is a JSON object whose member `query` is a GraphQL document (October 2021): tokens, and
 * brackets that nest as operations, fragments, selections, arguments and values do. */
#include "http.h"

enum { NESTING_MAX = 64, OPERATIONS_MAX = 64 };

struct json { /* a cursor over JSON text; at == end says it ended */
    const uint8_t *at, *end;
};

enum token_type { END, BAD, NAME, NUMBER, STRING, SPREAD, PUNCTUATOR };

struct token {
    enum token_type type;
    char punctuator;
    struct http_text text;
};

struct document {
    const uint8_t *at, *end;
    uint8_t nesting[NESTING_MAX]; /* open brackets */
    unsigned depth;
    struct http_text type, name; /* of the operation */
};

static bool json_members(struct http_text body, struct http_text *ret_query,
                         struct http_text *ret_operation);
static void json_space(struct json *json);
static bool json_string(struct json *json, struct http_text *ret_raw);
static bool json_skip(struct json *json);
static size_t json_unescape(char *to, size_t capacity, struct http_text raw);
static bool document_parse(struct document *document, struct http_text wanted);
static bool definition_head(struct document *document, struct token first, struct http_text wanted);
static bool brackets(struct document *document);
static struct token next_token(struct document *document);
static struct token string_token(struct document *document);

bool http_gql_possible(struct http_text method, struct http_text type)
{
    if (!http_text_is(method, "post") || !http_text_begins(type, "application/json"))
        return false;
    return type.size == 16 || type.at[16] == ';' || type.at[16] == ' ';
}

bool http_gql_facts(struct fact_tape *tape, struct http_scratch *scratch, struct http_text body)
{
    struct http_text query = {0}, operation = {0};
    struct document document = {0};
    size_t n;

    if (!json_members(body, &query, &operation) || !query.at)
        return false;
    n = json_unescape(scratch->value, sizeof(scratch->value), query);
    document.at = (const uint8_t *)scratch->value;
    document.end = document.at + n;
    if (!document_parse(&document, operation))
        return false;
    if (document.type.size)
        fact_string(tape, KFL_FIELD_HTTP_REQUEST_GQL_OPERATION, document.type.at,
                    document.type.size);
    else
        fact_text(tape, KFL_FIELD_HTTP_REQUEST_GQL_OPERATION, "query");
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_GQL_NAME, document.name.at, document.name.size);
    return true;
}

/* ---- JSON: the two members that count ---- */

static bool json_members(struct http_text body, struct http_text *ret_query,
                         struct http_text *ret_operation)
{
    struct json json = {body.at, body.size ? body.at + body.size : body.at};

    json_space(&json);
    if (json.at == json.end || *json.at++ != '{')
        return false;
    for (;;) {
        struct http_text key, value = {0};

        json_space(&json);
        if (!json_string(&json, &key))
            return false;
        json_space(&json);
        if (json.at == json.end || *json.at++ != ':')
            return false;
        json_space(&json);
        if (json.at < json.end && *json.at == '"') {
            if (!json_string(&json, &value))
                return false;
            if (key.size == 5 && !memcmp(key.at, "query", 5))
                *ret_query = value;
            else if (key.size == 13 && !memcmp(key.at, "operationName", 13))
                *ret_operation = value;
        } else if (!json_skip(&json)) {
            return false;
        }
        json_space(&json);
        if (json.at == json.end || (*json.at != ',' && *json.at != '}'))
            return false;
        if (*json.at++ == '}')
            return true;
    }
}

static void json_space(struct json *json)
{
    while (json->at < json->end && (*json->at == ' ' || (*json->at >= '\t' && *json->at <= '\r')))
        json->at++;
}

/* The text between the quotes, escapes as they are. */
static bool json_string(struct json *json, struct http_text *ret_raw)
{
    const uint8_t *start;

    if (json->at == json->end || *json->at != '"')
        return false;
    start = ++json->at;
    for (; json->at < json->end && *json->at != '"'; json->at++)
        if (*json->at == '\\' && ++json->at == json->end)
            return false;
    if (json->at == json->end)
        return false;
    *ret_raw = (struct http_text){start, (uint32_t)(json->at - start)};
    json->at++;
    return true;
}

/* A value that is no string: to the comma or bracket behind it. */
static bool json_skip(struct json *json)
{
    unsigned depth = 0;

    while (json->at < json->end) {
        struct http_text ignored;

        switch (*json->at) {
        case '"':
            if (!json_string(json, &ignored))
                return false;
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (!depth)
                return true;
            depth--;
            break;
        case ',':
            if (!depth)
                return true;
            break;
        default:
            break;
        }
        json->at++;
    }
    return false;
}

/* Characters beyond ASCII matter only inside strings of the document: \u becomes one byte. */
static size_t json_unescape(char *to, size_t capacity, struct http_text raw)
{
    static const char from[] = "nrtbf", into[] = "\n\r\t\b\f";
    size_t n = 0;

    for (uint32_t i = 0; i < raw.size && n < capacity; i++) {
        char c = (char)raw.at[i];

        if (c == '\\' && i + 1 < raw.size) {
            const char *escape = memchr(from, raw.at[++i], sizeof(from) - 1);

            c = escape ? into[escape - from] : (char)raw.at[i];
            if (c == 'u' && i + 4 < raw.size) {
                unsigned code = 0;

                for (int k = 0; k < 4; k++) {
                    uint8_t h = raw.at[++i] | 0x20;

                    code = code << 4 | ((h >= 'a' ? h - 'a' + 10u : h - (unsigned)'0') & 15);
                }
                c = code < 0x80 ? (char)code : '?';
            }
        }
        to[n++] = c;
    }
    return n;
}

/* ---- GraphQL ---- */

static bool document_parse(struct document *document, struct http_text wanted)
{
    bool any = false;

    for (unsigned n = 0; n < OPERATIONS_MAX; n++) {
        struct token token = next_token(document);

        if (token.type == END)
            return any;
        if (!definition_head(document, token, wanted) || !brackets(document))
            return false;
        any = true;
    }
    return false;
}

/* From the beginning of a definition to the `{` of its selections. */
static bool definition_head(struct document *document, struct token token, struct http_text wanted)
{
    bool fragment, first = !document->type.size, named = false;
    struct http_text type = token.text;

    if (token.type == PUNCTUATOR && token.punctuator == '{')
        return true;
    if (token.type != NAME)
        return false;
    fragment = http_text_is(type, "fragment");
    if (!fragment && !http_text_is(type, "query") && !http_text_is(type, "mutation") &&
        !http_text_is(type, "subscription"))
        return false;
    token = next_token(document);
    if (token.type == NAME) {
        named = true;
        if (!fragment && (first || (wanted.size == token.text.size &&
                                    !memcmp(wanted.at, token.text.at, wanted.size)))) {
            document->type = type;
            document->name = token.text;
        }
        token = next_token(document);
    } else if (!fragment && first) {
        document->type = type;
    }
    if (fragment) {
        if (!named || token.type != NAME || !http_text_is(token.text, "on") ||
            next_token(document).type != NAME)
            return false;
        token = next_token(document);
    }
    for (unsigned depth = 0;; token = next_token(document)) { /* variables, directives */
        if (token.type == BAD || token.type == END || token.type == SPREAD)
            return false;
        if (token.type != PUNCTUATOR) {
            if (!depth && token.type != NAME)
                return false;
            continue;
        }
        if (token.punctuator == '{' && !depth)
            return true;
        if (token.punctuator == '(' || token.punctuator == '[' || token.punctuator == '{')
            depth++;
        if (token.punctuator == ')' || token.punctuator == ']' || token.punctuator == '}') {
            if (!depth)
                return false;
            depth--;
        }
    }
}

/* Selections, behind their first `{`, to the `}` that belongs to it. */
static bool brackets(struct document *document)
{
    struct token before = {.type = PUNCTUATOR, .punctuator = '{'};

    document->depth = 1;
    document->nesting[0] = '{';
    while (document->depth) {
        struct token token = next_token(document);
        uint8_t open = document->nesting[document->depth - 1];
        bool selections = open == '{';

        if (token.type == END || token.type == BAD)
            return false;
        if (selections && before.type == PUNCTUATOR && before.punctuator == '{' &&
            token.type != NAME && token.type != SPREAD)
            return false; /* no empty selections */
        if (selections && (token.type == NUMBER || token.type == STRING))
            return false;
        if (token.type == PUNCTUATOR) {
            char c = token.punctuator;

            if (selections && !strchr("{}(:@", c))
                return false;
            if (c == '{' || c == '(' || c == '[') {
                if (document->depth == NESTING_MAX)
                    return false;
                /* A `{` among arguments is an object: its members are no selections. */
                document->nesting[document->depth++] = c == '{' && !selections ? 'o' : (uint8_t)c;
            } else if (c == '}' || c == ')' || c == ']') {
                if (open != (c == '}' ? '{' : c == ')' ? '(' : '[') && !(c == '}' && open == 'o'))
                    return false;
                document->depth--;
            }
        }
        before = token;
    }
    return true;
}

static struct token next_token(struct document *document)
{
    const uint8_t *at = document->at, *end = document->end, *start;
    struct token token = {.type = END};

    for (; at < end; at++) { /* white space, commas, comments, byte order mark */
        if (*at == '#')
            while (at + 1 < end && at[1] != '\n')
                at++;
        else if (*at != ' ' && *at != ',' && !(*at >= '\t' && *at <= '\r') && *at != 0xef &&
                 *at != 0xbb && *at != 0xbf)
            break;
    }
    document->at = start = at;
    if (at == end)
        return token;
    if (*at == '"')
        return string_token(document);
    if (*at == '_' || ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z')) {
        token.type = NAME;
        while (at < end && (*at == '_' || ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z') ||
                            (*at >= '0' && *at <= '9')))
            at++;
    } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
        token.type = NUMBER;
        for (at++; at < end && (strchr(".eE+-", *at) ? *at != 0 : *at >= '0' && *at <= '9');)
            at++;
    } else if (end - at >= 3 && !memcmp(at, "...", 3)) {
        token.type = SPREAD;
        at += 3;
    } else if (*at && strchr("!$&():=@[]{|}", *at)) {
        token.type = PUNCTUATOR;
        token.punctuator = (char)*at++;
    } else {
        token.type = BAD;
    }
    token.text = (struct http_text){start, (uint32_t)(at - start)};
    document->at = at;
    return token;
}

static struct token string_token(struct document *document)
{
    const uint8_t *at = document->at, *end = document->end;
    struct token token = {.type = STRING};

    if (end - at >= 3 && !memcmp(at, "\"\"\"", 3)) {
        const uint8_t *close = memmem(at + 3, (size_t)(end - at - 3), "\"\"\"", 3);

        token.type = close ? STRING : BAD;
        document->at = close ? close + 3 : end;
        return token;
    }
    for (at++; at < end && *at != '"' && *at != '\n'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    if (at >= end || *at != '"')
        token.type = BAD;
    document->at = at < end ? at + 1 : end;
    return token;
}
