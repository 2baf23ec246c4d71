/* check_compare.c - comparisons that never or always hold, or that compare something else than
 * was meant. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "entry.h"

enum holds { HOLDS_UNKNOWN, HOLDS_SOMETIMES, HOLDS_NEVER, HOLDS_ALWAYS };

static void check_equality(struct check *check, bool negated, const struct check_path *path,
                           const struct ast *field, const struct ast *literal);
static void check_rows(struct check *check, bool negated, const struct check_path *path,
                       const struct ast *field, const struct kfl_value *value);
static enum kfl_type scalar_of(enum kfl_type type);
static enum holds row_holds(const char *path, enum kfl_type type, const struct kfl_value *value,
                            const char **ret_why);
static bool can_be(const char *path, struct kfl_slice text);
static void check_order(struct check *check, const struct ast *node);
static bool looks_like_pattern(struct kfl_slice text);
static bool has_bare_dot(struct kfl_slice pattern);
static bool is_address_or_name(const struct check_path *path);
static bool contains(struct kfl_slice text, const char *part);
static bool is_decimal(struct kfl_slice text);

/* Fields whose values are a short list. */
static const struct {
    const char *path;
    const char *values[16];
} listed[] = {
    {"protocol.layer3", {"ip"}},
    {"tunnel.type",
     {"vxlan", "geneve", "gre", "nvgre", "erspan", "ipip", "6in4", "gtpu", "mpls", "pppoe",
      "teredo", ""}},
    {"capture.source", {"af_xdp", "dpdk", "file"}},
    {"conn.detection", {"found", "none", "short"}},
    {"conn.state", {"open", "half-open", "closing", "closed", "reset", "idle"}},
    {"conn.tcpFlags", {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"}},
    {"error.type", {"timeout", "pair-not-found", "dissection", "connection"}},
};

void check_comparison(struct check *check, enum ast_op op, const struct ast *left,
                      const struct ast *right)
{
    const struct ast *field = left->kind == AST_SELECT ? left : right;
    const struct ast *literal = field == left ? right : left;
    struct check_path path;

    if (op >= AST_LT) {
        check_order(check, left);
        check_order(check, right);
        return;
    }
    if (field->kind != AST_SELECT || literal->kind != AST_LITERAL)
        return;
    check_resolve(&field->select, &path);
    check_equality(check, op == AST_NE, &path, field, literal);
}

const char *check_values(const char *path, char *buffer, size_t size)
{
    size_t n = 0;
    bool name = strcmp(path, "protocol.name") == 0;

    buffer[0] = 0;
    if (name || strcmp(path, "protocol.abbr") == 0 || strcmp(path, "conn.l7") == 0) {
        for (unsigned i = 0; i < KFL_PROTO_COUNT && n < size; i++) {
            const char *word = name ? kfl_proto_info[i].name : kfl_proto_info[i].abbr;

            if (name && i > 0 && strcmp(word, kfl_proto_info[i - 1].name) == 0)
                continue; /* several are called http */
            n += (size_t)snprintf(buffer + n, size - n, "%s%s", n > 0 ? ", " : "", word);
        }
        return buffer;
    }
    for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++)
        if (strcmp(listed[i].path, path) == 0)
            for (size_t k = 0; k < 16 && listed[i].values[k] != NULL && n < size; k++)
                n += (size_t)snprintf(buffer + n, size - n, "%s%s", n > 0 ? ", " : "",
                                      *listed[i].values[k] ? listed[i].values[k] : "\"\"");
    return n > 0 ? buffer : NULL;
}

static void check_equality(struct check *check, bool negated, const struct check_path *path,
                           const struct ast *field, const struct ast *literal)
{
    const struct kfl_value *value = &literal->literal.value;
    struct kfl_slice text = {value->text, value->size};

    if (value->type == KFL_REGEX) {
        text = (struct kfl_slice){literal->literal.pattern, literal->literal.pattern_size};
        if (is_address_or_name(path) && has_bare_dot(text))
            check_say(check, literal->offset, 19,
                      "in a pattern `.` is any character: write `\\.` for a dot, or compare with "
                      "a text");
        return;
    }
    if (value->type == KFL_STRING && looks_like_pattern(text))
        check_say(check, literal->offset, 13, "this is compared as a text; a pattern is r\"%.*s\"",
                  (int)(text.size < 80 ? text.size : 80), text.text);
    if (path->kind == CHECK_ROW)
        check_rows(check, negated, path, field, value);
}

/* Every row that this path can mean here has the same answer; or, where it is an int in HTTP and
 * something else elsewhere, HTTP has one. */
static void check_rows(struct check *check, bool negated, const struct check_path *path,
                       const struct ast *field, const struct kfl_value *value)
{
    enum holds all = HOLDS_UNKNOWN, http = HOLDS_SOMETIMES;
    const char *why = "is an object, whose text is \"\"", *why_http = "";
    bool only_http = false, plain_object = true;
    const char *verb = "never holds";

    for (unsigned i = KFL_FIELD_NONE + 1; i < KFL_FIELD_COUNT; i++) {
        const struct kfl_field_info *row = &kfl_field_info[i];
        enum holds one;

        if (strcmp(row->path, path->text) != 0)
            continue;
        plain_object = false;
        if (row->protos != 0 && (row->protos & check->protos) == 0)
            continue;
        one = row_holds(path->text, path->in_array ? scalar_of(row->type) : row->type, value, &why);
        all = all == HOLDS_UNKNOWN || all == one ? one : HOLDS_SOMETIMES;
        if (row->protos & KFL_PROTO_BIT(HTTP)) {
            http = one;
            why_http = why;
        }
    }
    if (plain_object)
        all = row_holds(path->text, KFL_TYPE_OBJECT, value, &why);
    if (all == HOLDS_SOMETIMES && http != HOLDS_SOMETIMES) {
        only_http = true;
        all = http;
        why = why_http;
    }
    if (all != HOLDS_NEVER && all != HOLDS_ALWAYS)
        return;
    if ((all == HOLDS_ALWAYS) != negated)
        verb = "always holds";
    check_say(check, field->offset, *verb == 'n' ? 5 : 7, "this %s%s: %s %s", verb,
              only_http ? " in HTTP" : "", path->text, why);
}

static enum kfl_type scalar_of(enum kfl_type type)
{
    return type == KFL_TYPE_STRINGS ? KFL_TYPE_STRING : type == KFL_TYPE_INTS ? KFL_TYPE_INT : type;
}

static enum holds row_holds(const char *path, enum kfl_type type, const struct kfl_value *value,
                            const char **ret_why)
{
    static _Thread_local char list[160];
    static const char one_of[] = "is one of: ";
    char buffer[VALUE_TEXT_MAX];
    struct kfl_slice text = value_text(value, buffer);

    switch (type) {
    case KFL_TYPE_OBJECT:
    case KFL_TYPE_MAP:
        *ret_why = "is an object, whose text is \"\"";
        return text.size == 0 ? HOLDS_ALWAYS : HOLDS_NEVER;
    case KFL_TYPE_NULL:
        *ret_why = "is nil or an object, whose text is \"\"";
        return text.size == 0 || slice_equal(text, (struct kfl_slice){"null", 4}) ? HOLDS_SOMETIMES
                                                                                  : HOLDS_NEVER;
    case KFL_TYPE_INT:
        *ret_why = "is an int";
        if (value->type == KFL_FLOAT) /* 500.0 is 500 */
            return value->number == nearbyint(value->number) ? HOLDS_SOMETIMES : HOLDS_NEVER;
        return is_decimal(text) ? HOLDS_SOMETIMES : HOLDS_NEVER;
    case KFL_TYPE_BOOL:
        *ret_why = "is a bool";
        return slice_equal(text, (struct kfl_slice){"true", 4}) ||
                       slice_equal(text, (struct kfl_slice){"false", 5})
                   ? HOLDS_SOMETIMES
                   : HOLDS_NEVER;
    case KFL_TYPE_STRING:
    case KFL_TYPE_STRINGS:
        break;
    default:
        return HOLDS_SOMETIMES;
    }
    *ret_why = "is a port number, or \"\"";
    if (strcmp(path, "src.port") == 0 || strcmp(path, "dst.port") == 0)
        return text.size == 0 || is_decimal(text) ? HOLDS_SOMETIMES : HOLDS_NEVER;
    memcpy(list, one_of, sizeof(one_of));
    if (check_values(path, list + sizeof(one_of) - 1, sizeof(list) - sizeof(one_of)) == NULL ||
        can_be(path, text))
        return HOLDS_SOMETIMES;
    *ret_why = list;
    return HOLDS_NEVER;
}

static bool can_be(const char *path, struct kfl_slice text)
{
    bool name = strcmp(path, "protocol.name") == 0;

    if (name || strcmp(path, "protocol.abbr") == 0 || strcmp(path, "conn.l7") == 0)
        for (unsigned i = 0; i < KFL_PROTO_COUNT; i++) {
            const char *word = name ? kfl_proto_info[i].name : kfl_proto_info[i].abbr;

            if (slice_equal(text, (struct kfl_slice){word, strlen(word)}))
                return true;
        }
    for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++)
        if (strcmp(listed[i].path, path) == 0)
            for (size_t k = 0; k < 16 && listed[i].values[k] != NULL; k++)
                if (slice_equal(
                        text, (struct kfl_slice){listed[i].values[k], strlen(listed[i].values[k])}))
                    return true;
    return false;
}

static void check_order(struct check *check, const struct ast *node)
{
    double number;

    if (node->kind == AST_LITERAL && node->literal.value.type == KFL_STRING &&
        !number_spelled(node->literal.value.text, node->literal.value.size, &number))
        check_say(check, node->offset, 10,
                  "< and > compare numbers: a text that is none counts as 0, on both sides");
}

static bool looks_like_pattern(struct kfl_slice text)
{
    static const char *const parts[] = {".*",   ".+",   "\\d",  "\\w", "\\s", "\\.",
                                        "[0-9", "[a-z", "[A-Z", "[^",  "(?"};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (contains(text, parts[i]))
            return true;
    return text.size > 1 && (text.text[0] == '^' || text.text[text.size - 1] == '$');
}

/* A dot between two letters or digits that no backslash stands before. */
static bool has_bare_dot(struct kfl_slice pattern)
{
    for (size_t i = 1; i + 1 < pattern.size; i++)
        if (pattern.text[i] == '.' && isalnum((unsigned char)pattern.text[i - 1]) &&
            isalnum((unsigned char)pattern.text[i + 1]) && !(i > 1 && pattern.text[i - 2] == '\\'))
            return true;
    return false;
}

static bool is_address_or_name(const struct check_path *path)
{
    static const char *const paths[] = {"src.ip",  "dst.ip",          "src.name",  "dst.name",
                                        "node.ip", "request.headers", "node.name", "request.from"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (strcmp(path->text, paths[i]) == 0)
            return true;
    return strstr(path->text, "[].name") != NULL || strstr(path->text, "[].ip") != NULL ||
           strstr(path->text, ".host") != NULL || strstr(path->text, "serverName") != NULL;
}

static bool contains(struct kfl_slice text, const char *part)
{
    return slice_contains(text, (struct kfl_slice){part, strlen(part)});
}

/* The text of an int: no sign but -, no leading zero. */
static bool is_decimal(struct kfl_slice text)
{
    size_t first = text.size > 0 && text.text[0] == '-';

    if (text.size == first || (text.text[first] == '0' && text.size > 1))
        return false;
    for (size_t i = first; i < text.size; i++)
        if (text.text[i] < '0' || text.text[i] > '9')
            return false;
    return true;
}
