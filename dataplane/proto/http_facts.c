/* http_facts.c - the facts of HTTP messages, whatever version carried them. */
#include <string.h>

#include "../../kfl-jit/value.h"
#include "http.h"

enum { HEADER_NAME_MAX = 256, PARTS_MAX = 256, FOLDED_MAX = 2048 };

static struct http_text trim(struct http_text text);
static struct http_text until(struct http_text *rest, char separator);
static size_t percent_decode(char *to, struct http_text text);
static int hex_digit(uint8_t c);
static const char *header_name(const struct kfl_demand *demand, enum kfl_field map,
                               struct http_text name, char room[static HEADER_NAME_MAX]);
static bool is_spelled(struct http_text name, const char *canonical);
static inline uint64_t spell(struct http_text name, uint32_t at, uint64_t *begins);
static void cookie_fact(struct fact_tape *tape, enum kfl_field map, struct http_text name,
                        struct http_text value);
static void cookie_facts(struct fact_tape *tape, const struct http_fields *fields);
static void set_cookie_facts(struct fact_tape *tape, const struct http_fields *fields);
static void params_facts(struct fact_tape *tape, struct http_scratch *scratch,
                         struct http_text type, struct http_text body);
static void urlencoded_facts(struct fact_tape *tape, struct http_scratch *scratch,
                             struct http_text body);
static void multipart_facts(struct fact_tape *tape, struct http_text boundary,
                            struct http_text body);
static void part_facts(struct fact_tape *tape, struct http_text head, struct http_text value);
static struct http_text parameter(struct http_text value, const char *name);

/* -> 1 in each byte that is ASCII and not below c, else 0. */
static inline uint64_t bytes_from(uint64_t word, uint8_t c)
{
    return (((word & VALUE_BYTES(0x7f)) + VALUE_BYTES(0x80 - c)) & ~word & VALUE_BYTES(0x80)) >> 7;
}

static inline bool wants(const struct kfl_demand *demand, enum kfl_field field)
{
    return demand->all || demand->field[field];
}

bool http_list_has(struct http_text list, const char *lower)
{
    while (list.size) {
        struct http_text item = until(&list, ',');

        item = trim(until(&item, ';'));
        if (http_text_is(item, lower))
            return true;
    }
    return false;
}

bool http_has(const struct http_fields *fields, const char *lower)
{
    for (uint32_t i = 0; i < fields->n; i++)
        if (http_text_is(fields->field[i].name, lower))
            return true;
    return false;
}

void http_know(struct http_known *known, const struct http_field *field)
{
    struct http_text value = field->value;

    switch (field->name.size) {
    case 7:
        if (http_text_is(field->name, "upgrade"))
            known->upgrade = value;
        break;
    case 8:
        if (http_text_is(field->name, "location"))
            known->location = value;
        break;
    case 10:
        if (http_text_is(field->name, "connection")) {
            known->connection_upgrade |= http_list_has(value, "upgrade");
            known->connection_close |= http_list_has(value, "close");
            known->connection_keep_alive |= http_list_has(value, "keep-alive");
        }
        break;
    case 11:
        if (http_text_is(field->name, "grpc-status"))
            known->grpc_status = true;
        break;
    case 12:
        if (http_text_is(field->name, "content-type"))
            known->type = value;
        break;
    case 14:
        if (http_text_is(field->name, "content-length")) {
            int64_t n = 0;
            bool bad = !value.size || value.size > 18;

            for (uint32_t i = 0; i < value.size && !bad; i++) {
                bad = value.at[i] < '0' || value.at[i] > '9';
                n = n * 10 + (value.at[i] - '0');
            }
            if (bad || (known->content_length != -1 && known->content_length != n))
                n = -2;
            known->content_length = n;
        }
        break;
    case 16:
        if (http_text_is(field->name, "content-encoding"))
            known->coding = http_text_is(value, "gzip") || http_text_is(value, "x-gzip")
                                ? HTTP_CODING_GZIP
                            : http_text_is(value, "deflate")                 ? HTTP_CODING_DEFLATE
                            : http_text_is(value, "br")                      ? HTTP_CODING_BROTLI
                            : http_text_is(value, "zstd")                    ? HTTP_CODING_ZSTD
                            : http_text_is(value, "identity") || !value.size ? HTTP_CODING_NONE
                                                                             : HTTP_CODING_UNKNOWN;
        break;
    case 17:
        if (http_text_is(field->name, "transfer-encoding"))
            known->chunked = http_list_has(value, "chunked");
        break;
    default:
        break;
    }
}

static bool target_wanted(const struct fact_tape *tape)
{
    return fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_URL) ||
           fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_TARGET_URI) ||
           fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_PATH) ||
           fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_PATH_SEGMENTS) ||
           fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_QUERY_STRING) ||
           fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_GRPC_SERVICE) ||
           fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_GRPC_METHOD);
}

void http_target_facts(struct fact_tape *tape, struct http_scratch *scratch,
                       struct http_text target, bool grpc)
{
    struct http_text path = target, query = {0}, rest;
    const uint8_t *at;

    if (!target_wanted(tape))
        return;
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_URL, target.at, target.size);
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_TARGET_URI, target.at, target.size);
    at = target.size ? memchr(target.at, '?', target.size) : NULL;
    if (at) {
        query = (struct http_text){at + 1, (uint32_t)(target.at + target.size - at - 1)};
        path.size = (uint32_t)(at - target.at);
    }
    at = path.size && path.at[0] != '/' ? memmem(path.at, path.size, "://", 3) : NULL;
    if (at) { /* absolute: the path begins behind the authority */
        const uint8_t *end = path.at + path.size;
        const uint8_t *slash = memchr(at + 3, '/', (size_t)(end - at - 3));

        path = slash ? (struct http_text){slash, (uint32_t)(end - slash)}
                     : (struct http_text){(const uint8_t *)"/", 1};
    }
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_PATH, path.at, path.size);
    if (fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_PATH_SEGMENTS)) {
        fact_array(tape, KFL_FIELD_HTTP_REQUEST_PATH_SEGMENTS);
        rest = path;
        if (rest.size && rest.at[0] == '/')
            rest = (struct http_text){rest.at + 1, rest.size - 1};
        for (unsigned n = 0; rest.size && n < PARTS_MAX; n++) {
            struct http_text segment = until(&rest, '/');

            fact_string(tape, KFL_FIELD_NONE, segment.at, segment.size);
        }
        fact_end(tape);
    }
    if (query.size && fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_QUERY_STRING)) {
        fact_map(tape, KFL_FIELD_HTTP_REQUEST_QUERY_STRING);
        for (unsigned n = 0; query.size && n < PARTS_MAX; n++) {
            struct http_text pair = until(&query, '&'), name = until(&pair, '=');
            size_t key_size, value_size;

            if (!name.size || name.size > sizeof(scratch->key) ||
                pair.size > sizeof(scratch->value))
                continue;
            key_size = percent_decode(scratch->key, name);
            if (!fact_wanted_key(tape, KFL_FIELD_HTTP_REQUEST_QUERY_STRING, scratch->key, key_size))
                continue;
            value_size = percent_decode(scratch->value, pair);
            fact_member_collected(tape, scratch->key, key_size, scratch->value, value_size);
        }
        fact_end(tape);
    }
    if (grpc && path.size) {
        const uint8_t *method = memrchr(path.at, '/', path.size);
        const uint8_t *service = method ? memrchr(path.at, '/', (size_t)(method - path.at)) : NULL;

        if (service) {
            fact_string(tape, KFL_FIELD_HTTP_REQUEST_GRPC_SERVICE, service + 1,
                        (size_t)(method - service - 1));
            fact_string(tape, KFL_FIELD_HTTP_REQUEST_GRPC_METHOD, method + 1,
                        (size_t)(path.at + path.size - method - 1));
        }
    }
}

/* The line breaks within a value are spaces (RFC 9112 section 5.2). */
static struct http_text unfolded(struct http_text value, char room[FOLDED_MAX])
{
    if (value.size > FOLDED_MAX)
        return value;
    for (uint32_t i = 0; i < value.size; i++)
        room[i] = value.at[i] == '\r' || value.at[i] == '\n' ? ' ' : (char)value.at[i];
    return (struct http_text){(const uint8_t *)room, value.size};
}

void http_header_facts(struct fact_tape *tape, enum kfl_side side, const struct http_fields *fields)
{
    enum kfl_field map =
        side == KFL_CLIENT ? KFL_FIELD_HTTP_REQUEST_HEADERS : KFL_FIELD_HTTP_RESPONSE_HEADERS;

    if (fact_wanted(tape, map)) {
        fact_map(tape, map);
        for (uint32_t i = 0; i < fields->n; i++) {
            const struct http_field *field = &fields->field[i];
            char name_room[HEADER_NAME_MAX], room[FOLDED_MAX];
            struct http_text value;
            const char *name;

            if (field->name.size > sizeof(name_room) ||
                !fact_wanted_key_size(tape, map, field->name.size))
                continue;
            name = header_name(tape->demand, map, field->name, name_room);
            if (!name)
                continue;
            value = field->folded ? unfolded(field->value, room) : field->value;
            fact_member_joined(tape, name, field->name.size, value.at, value.size);
        }
        fact_end(tape);
    }
    if (side == KFL_CLIENT && fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_COOKIES))
        cookie_facts(tape, fields);
    if (side == KFL_SERVER && fact_wanted(tape, KFL_FIELD_HTTP_RESPONSE_COOKIES))
        set_cookie_facts(tape, fields);
}

void http_grpc_facts(struct fact_tape *tape, const struct http_fields *fields)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct http_field *field = &fields->field[i];
        int64_t status = 0;

        if (http_text_is(field->name, "grpc-message")) {
            char text[1024];

            if (field->value.size <= sizeof(text))
                fact_string(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_MESSAGE, text,
                            percent_decode(text, field->value));
        }
        if (!http_text_is(field->name, "grpc-status") || field->value.size > 9)
            continue;
        for (uint32_t k = 0; k < field->value.size; k++)
            status = status * 10 + (field->value.at[k] - '0') % 10;
        fact_int(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS, status);
    }
}

bool http_body_wanted(const struct kfl_demand *demand, enum kfl_side side, bool gql)
{
    if (demand->all)
        return true;
    if (side == KFL_SERVER)
        return demand->field[KFL_FIELD_HTTP_RESPONSE_BODY] ||
               demand->field[KFL_FIELD_HTTP_RESPONSE_CONTENT_TEXT] ||
               demand->field[KFL_FIELD_HTTP_RESPONSE_CONTENT_SIZE] ||
               demand->field[KFL_FIELD_HTTP_RESPONSE_CONTENT] == 2;
    return demand->field[KFL_FIELD_HTTP_REQUEST_BODY] ||
           demand->field[KFL_FIELD_HTTP_REQUEST_POST_DATA_TEXT] ||
           demand->field[KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS] ||
           demand->field[KFL_FIELD_HTTP_REQUEST_POST_DATA] == 2 ||
           (gql && (demand->protos & KFL_PROTO_BIT(GQL) ||
                    demand->field[KFL_FIELD_HTTP_REQUEST_GQL_OPERATION] ||
                    demand->field[KFL_FIELD_HTTP_REQUEST_GQL_NAME]));
}

bool http_end_wanted(const struct kfl_demand *demand, enum kfl_side side)
{
    if (side == KFL_SERVER)
        return wants(demand, KFL_FIELD_HTTP_RESPONSE_BODY_SIZE) ||
               wants(demand, KFL_FIELD_RESPONSE_SIZE) || wants(demand, KFL_FIELD_SIZE);
    return wants(demand, KFL_FIELD_HTTP_REQUEST_BODY_SIZE) ||
           wants(demand, KFL_FIELD_REQUEST_SIZE) || wants(demand, KFL_FIELD_SIZE) ||
           wants(demand, KFL_FIELD_ELAPSED_TIME) || wants(demand, KFL_FIELD_ELAPSED_TIME_US) ||
           wants(demand, KFL_FIELD_HTTP_REQUEST_POST_DATA);
}

struct http_text http_body_facts(struct fact_tape *tape, struct http_scratch *scratch,
                                 enum kfl_side side, const struct http_body *body)
{
    struct http_text bytes = body->bytes, type = body->type, mime = trim(until(&type, ';'));
    uint64_t size = body->size;

    if (body->coding != HTTP_CODING_NONE && bytes.size) {
        uint32_t n;
        uint64_t total;

        if (http_decode(scratch, body->coding, bytes, &n, &total) || n) {
            bytes = (struct http_text){scratch->decoded, n};
            size = total;
        }
    }
    if (side == KFL_CLIENT) {
        fact_int(tape, KFL_FIELD_HTTP_REQUEST_BODY_SIZE, (int64_t)body->size);
        fact_string(tape, KFL_FIELD_HTTP_REQUEST_BODY, bytes.at, bytes.size);
        if (!body->size)
            return bytes;
        fact_object(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA);
        fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_MIME_TYPE, mime.at, mime.size);
        fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_TEXT, bytes.at, bytes.size);
        if (fact_wanted(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS))
            params_facts(tape, scratch, body->type, bytes);
        fact_end(tape);
        return bytes;
    }
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_BODY_SIZE, (int64_t)body->size);
    fact_string(tape, KFL_FIELD_HTTP_RESPONSE_BODY, bytes.at, bytes.size);
    fact_object(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT);
    fact_string(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_MIME_TYPE, mime.at, mime.size);
    fact_int(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_SIZE, (int64_t)size);
    fact_base64(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_TEXT, bytes.at, bytes.size);
    fact_text(tape, KFL_FIELD_HTTP_RESPONSE_CONTENT_ENCODING, "base64");
    fact_end(tape);
    return bytes;
}

static struct http_text trim(struct http_text text)
{
    while (text.size && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = (struct http_text){text.at + 1, text.size - 1};
    while (text.size && (text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\t'))
        text.size--;
    return text;
}

/* What stands before the separator; rest goes on behind it. */
static struct http_text until(struct http_text *rest, char separator)
{
    const uint8_t *at = rest->size ? memchr(rest->at, separator, rest->size) : NULL;
    struct http_text part = *rest;

    if (!at) {
        *rest = (struct http_text){rest->at + rest->size, 0};
        return part;
    }
    part.size = (uint32_t)(at - rest->at);
    *rest = (struct http_text){at + 1, rest->size - part.size - 1};
    return part;
}

/* to: room for text.size bytes. What is not %XX stays as it is. */
static size_t percent_decode(char *to, struct http_text text)
{
    char *start = to;

    for (uint32_t i = 0; i < text.size; i++) {
        uint8_t c = text.at[i];

        if (c == '%' && i + 2 < text.size && hex_digit(text.at[i + 1]) >= 0 &&
            hex_digit(text.at[i + 2]) >= 0) {
            c = (uint8_t)(hex_digit(text.at[i + 1]) << 4 | hex_digit(text.at[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        *to++ = (char)c;
    }
    return (size_t)(to - start);
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A header's name in canonical form; null: nobody asks for it. `content-TYPE` -> `Content-Type` */
static const char *header_name(const struct kfl_demand *demand, enum kfl_field map,
                               struct http_text name, char room[static HEADER_NAME_MAX])
{
    uint64_t begins = 1;

    if (fact_by_key(demand, map)) { /* there it is written already */
        for (uint32_t i = 0; i < demand->n_keys; i++) {
            const struct kfl_demand_key *key = &demand->keys[i];

            if (key->field == map && key->size == name.size && is_spelled(name, key->key))
                return key->key;
        }
        return NULL;
    }
    for (uint32_t at = 0; at < name.size; at += 8) {
        uint64_t word = spell(name, at, &begins);

        memcpy(room + at, &word, 8);
    }
    return room;
}

static bool is_spelled(struct http_text name, const char *canonical)
{
    uint64_t begins = 1;

    for (uint32_t at = 0; at < name.size; at += 8)
        if (spell(name, at, &begins) != value_head(canonical + at, name.size - at))
            return false;
    return true;
}

/* Eight bytes of a name, or those that are left, in canonical form: each word begins upper case and
 * goes on lower case. *begins: bit 0 says whether a word begins with the first of them. */
static inline uint64_t spell(struct http_text name, uint32_t at, uint64_t *begins)
{
    uint64_t word = value_head((const char *)name.at + at, name.size - at);
    uint64_t lower = word | VALUE_BYTES(0x20);
    uint64_t letter = bytes_from(lower, 'a') & ~bytes_from(lower, 'z' + 1);
    uint64_t dash = bytes_from(word, '-') & ~bytes_from(word, '-' + 1);
    uint64_t upper = letter & (*begins | dash << 8);

    *begins = dash >> 56;
    return (word | letter << 5) & ~(upper << 5);
}

static void cookie_fact(struct fact_tape *tape, enum kfl_field map, struct http_text name,
                        struct http_text value)
{
    if (name.size && fact_wanted_key(tape, map, (const char *)name.at, name.size))
        fact_member_joined(tape, (const char *)name.at, name.size, value.at, value.size);
}

static void cookie_facts(struct fact_tape *tape, const struct http_fields *fields)
{
    unsigned n = 0;

    fact_map(tape, KFL_FIELD_HTTP_REQUEST_COOKIES);
    for (uint32_t i = 0; i < fields->n; i++) {
        struct http_text rest = fields->field[i].value;

        if (!http_text_is(fields->field[i].name, "cookie"))
            continue;
        for (; rest.size && n < PARTS_MAX; n++) {
            struct http_text pair = trim(until(&rest, ';')), name = trim(until(&pair, '='));

            pair = trim(pair);
            cookie_fact(tape, KFL_FIELD_HTTP_REQUEST_COOKIES, name, pair);
        }
    }
    fact_end(tape);
}

static void set_cookie_facts(struct fact_tape *tape, const struct http_fields *fields)
{
    fact_map(tape, KFL_FIELD_HTTP_RESPONSE_COOKIES);
    for (uint32_t i = 0; i < fields->n; i++) {
        struct http_text rest = fields->field[i].value, pair, name;

        if (!http_text_is(fields->field[i].name, "set-cookie"))
            continue;
        pair = until(&rest, ';');
        name = trim(until(&pair, '='));
        pair = trim(pair);
        cookie_fact(tape, KFL_FIELD_HTTP_RESPONSE_COOKIES, name, pair);
    }
    fact_end(tape);
}

static void params_facts(struct fact_tape *tape, struct http_scratch *scratch,
                         struct http_text type, struct http_text body)
{
    struct http_text rest = type, mime = trim(until(&rest, ';'));

    fact_array(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS);
    if (http_text_is(mime, "application/x-www-form-urlencoded"))
        urlencoded_facts(tape, scratch, body);
    else if (http_text_is(mime, "multipart/form-data"))
        multipart_facts(tape, parameter(type, "boundary"), body);
    fact_end(tape);
}

static void urlencoded_facts(struct fact_tape *tape, struct http_scratch *scratch,
                             struct http_text body)
{
    for (unsigned n = 0; body.size && n < PARTS_MAX; n++) {
        struct http_text pair = until(&body, '&'), name = until(&pair, '=');

        if (!name.size || name.size > sizeof(scratch->key) || pair.size > sizeof(scratch->value))
            continue;
        fact_object(tape, KFL_FIELD_NONE);
        fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS_NAME, scratch->key,
                    percent_decode(scratch->key, name));
        fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS_VALUE, scratch->value,
                    percent_decode(scratch->value, pair));
        fact_end(tape);
    }
}

static void multipart_facts(struct fact_tape *tape, struct http_text boundary,
                            struct http_text body)
{
    char mark[80] = "--";
    size_t mark_size = boundary.size + 2;
    const uint8_t *at, *end = body.at + body.size;

    if (!boundary.size || boundary.size > 70)
        return;
    memcpy(mark + 2, boundary.at, boundary.size);
    at = body.size ? memmem(body.at, body.size, mark, mark_size) : NULL;
    for (unsigned n = 0; at && n < PARTS_MAX; n++) {
        const uint8_t *part = at + mark_size, *next, *blank;

        next = memmem(part, (size_t)(end - part), mark, mark_size);
        blank = memmem(part, (size_t)((next ? next : end) - part), "\r\n\r\n", 4);
        if (blank) {
            const uint8_t *value = blank + 4, *value_end = next ? next : end;

            if (value_end - value >= 2 && next && value_end[-2] == '\r' && value_end[-1] == '\n')
                value_end -= 2;
            part_facts(tape, (struct http_text){part, (uint32_t)(blank - part)},
                       (struct http_text){value, (uint32_t)(value_end - value)});
        }
        at = next;
    }
}

static void part_facts(struct fact_tape *tape, struct http_text head, struct http_text value)
{
    struct http_text name = {0}, file = {0}, type = {0};

    while (head.size) {
        struct http_text line = until(&head, '\n'), field = trim(until(&line, ':'));

        if (line.size && line.at[line.size - 1] == '\r')
            line.size--;
        line = trim(line);
        if (http_text_is(field, "content-disposition")) {
            name = parameter(line, "name");
            file = parameter(line, "filename");
        } else if (http_text_is(field, "content-type")) {
            type = line;
        }
    }
    fact_object(tape, KFL_FIELD_NONE);
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS_NAME, name.at, name.size);
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS_VALUE, value.at, value.size);
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS_FILE_NAME, file.at, file.size);
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_POST_DATA_PARAMS_CONTENT_TYPE, type.at, type.size);
    fact_end(tape);
}

/* The value of `; name=value` or `; name="value"`. */
static struct http_text parameter(struct http_text value, const char *name)
{
    until(&value, ';');
    while (value.size) {
        struct http_text item = until(&value, ';'), key = trim(until(&item, '='));

        if (!http_text_is(key, name))
            continue;
        item = trim(item);
        if (item.size >= 2 && item.at[0] == '"' && item.at[item.size - 1] == '"')
            return (struct http_text){item.at + 1, item.size - 2};
        return item;
    }
    return (struct http_text){0};
}
