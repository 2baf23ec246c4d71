/* check_path.c - what a path means in the table of fields. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "near.h"

static bool append(struct check_path *path, const char *separator, const char *name, size_t size);
static bool step_key(struct check_path *path, const struct ast_step *step);
static bool step_element(struct check_path *path, const struct ast_step *step);
static bool find_rows(struct check_path *path);
static bool row_is(const char *path, int type);
static void warn_unknown(struct check *check, const struct check_path *path,
                         const struct ast *node);
static bool warn_word(struct check *check, const struct ast *node);
static void warn_header(struct check *check, const struct check_path *path, const struct ast *node);
static void warn_cost(struct check *check, const struct check_path *path, const struct ast *node);
static uint32_t chain_protos(const struct ast *node);
static uint32_t protocol_protos(const struct ast *left, const struct ast *right);
static bool is_word(const struct ast_step *step, const char *word);
static bool is_folded(const struct ast_step *step, const char *word);

static const char *const macros[] = {
#define KFL_MACRO(name, expression, field) name,
#include "macros.def"
#undef KFL_MACRO
};

void check_resolve(const struct ast_path *steps, struct check_path *path)
{
    *path = (struct check_path){.kind = CHECK_ROW, .protos = CHECK_ALL_PROTOS};
    for (uint32_t i = 0; i < steps->n; i++) {
        const struct ast_step *step = &steps->step[i];
        bool found = step->type == AST_KEY                       ? step_key(path, step)
                     : step->type == AST_DEEP || step->index < 0 ? false
                                                                 : step_element(path, step);

        if (found && path->kind == CHECK_ROW)
            continue;
        if (found) /* a free key: what is behind it is free, too */
            path->types = i + 1 < steps->n ? 0 : path->types;
        else if (step->type != AST_KEY || path->in_array)
            *path = (struct check_path){.kind = CHECK_OPEN, .protos = path->protos};
        else {
            path->kind = CHECK_UNKNOWN;
            path->bad = step;
            path->types = 0;
        }
        path->can_miss = true;
        return;
    }
}

void check_path_warnings(struct check *check, const struct ast *node)
{
    struct check_path path;

    check_resolve(&node->select, &path);
    if (warn_word(check, node))
        return;
    if (path.kind == CHECK_UNKNOWN)
        warn_unknown(check, &path, node);
    if (path.kind == CHECK_MAP_KEY)
        warn_header(check, &path, node);
    warn_cost(check, &path, node);
}

uint32_t check_protos(const struct ast *node)
{
    struct check_path path;

    switch (node->kind) {
    case AST_SELECT:
        check_resolve(&node->select, &path);
        return path.kind == CHECK_UNKNOWN ? CHECK_ALL_PROTOS : path.protos;
    case AST_DECODE:
        return check_protos(node->decode.subject);
    case AST_CALL:
        return node->call.subject == NULL ? CHECK_ALL_PROTOS : check_protos(node->call.subject);
    case AST_GROUP:
        return check_protos(node->group.inner);
    case AST_CHAIN:
        return chain_protos(node);
    default:
        return CHECK_ALL_PROTOS;
    }
}

static bool append(struct check_path *path, const char *separator, const char *name, size_t size)
{
    size_t before = strlen(path->text), between = strlen(separator);

    if (before + between + size >= sizeof(path->text))
        return false;
    memcpy(path->text + before, separator, between);
    memcpy(path->text + before + between, name, size);
    path->text[before + between + size] = 0;
    return true;
}

static bool step_key(struct check_path *path, const struct ast_step *step)
{
    size_t before = strlen(path->text);
    struct check_path outside = *path;

    if (append(path, before > 0 ? "." : "", step->name, step->size) && find_rows(path)) {
        path->can_miss |= row_is(outside.text, KFL_TYPE_MAP);
        return true;
    }
    *path = outside;
    if (!row_is(path->text, KFL_TYPE_MAP))
        return false;
    path->kind = CHECK_MAP_KEY;
    path->types = strstr(path->text, ".headers") != NULL || strstr(path->text, ".cookies") != NULL
                      ? CHECK_TYPE(STRING)
                      : 0;
    return true;
}

/* [n] or [*]: an element of an array. */
static bool step_element(struct check_path *path, const struct ast_step *step)
{
    path->in_array = path->can_miss = true;
    if (path->types == CHECK_TYPE(STRINGS) || path->types == CHECK_TYPE(INTS)) {
        path->types = path->types == CHECK_TYPE(INTS) ? CHECK_TYPE(INT) : CHECK_TYPE(STRING);
        return true;
    }
    if (path->types != CHECK_TYPE(ARRAY) || !append(path, "[]", "", 0))
        return false;
    path->types = CHECK_TYPE(OBJECT);
    return true;
}

/* Rows with this path, or below it: then it is an object. */
static bool find_rows(struct check_path *path)
{
    size_t size = strlen(path->text);
    uint32_t protos = 0;
    bool below = false;

    path->types = 0;
    path->stage = KFL_STAGE_PACKET;
    for (unsigned i = KFL_FIELD_NONE + 1; i < KFL_FIELD_COUNT; i++) {
        const struct kfl_field_info *row = &kfl_field_info[i];

        if (strncmp(row->path, path->text, size) != 0)
            continue;
        below |= row->path[size] == '.';
        if (row->path[size] != 0)
            continue;
        path->types |= UINT32_C(1) << row->type;
        if (row->stage > path->stage)
            path->stage = row->stage;
        protos |= row->protos == 0 ? CHECK_ALL_PROTOS : row->protos;
        /* Below what can be null it can be missing. */
        path->can_miss |= row->protos != 0 || strncmp(row->path, "error.", 6) == 0;
    }
    if (path->types == 0 && !below)
        return false;
    if (path->types == 0)
        path->types = CHECK_TYPE(OBJECT);
    else
        path->protos &= protos;
    return true;
}

static bool row_is(const char *path, int type)
{
    for (unsigned i = KFL_FIELD_NONE + 1; i < KFL_FIELD_COUNT; i++)
        if ((int)kfl_field_info[i].type == type && strcmp(kfl_field_info[i].path, path) == 0)
            return true;
    return false;
}

static void warn_unknown(struct check *check, const struct check_path *path, const struct ast *node)
{
    struct check_path written = *path;
    struct near near;

    if (!append(&written, *written.text ? "." : "", path->bad->name, path->bad->size))
        return;
    near = near_begin(written.text, strlen(written.text));
    for (unsigned i = KFL_FIELD_NONE + 1; i < KFL_FIELD_COUNT; i++)
        near_try(&near, kfl_field_info[i].path);
    check_say(check, node->offset, 4, "no entry has %s%s%s%s", written.text,
              near.best != NULL ? "; did you mean " : "", near.best != NULL ? near.best : "",
              near.best != NULL ? "?" : ": see tapedeck kfl fields");
}

/* A word of another language, or in another case. */
static bool warn_word(struct check *check, const struct ast *node)
{
    static const char *const foreign[][2] = {
        {"null", "nil"},  {"none", "nil"}, {"nil", "nil"},     {"undefined", "nil"},
        {"true", "true"}, {"yes", "true"}, {"false", "false"}, {"no", "false"},
    };
    const struct ast_step *word = &node->select.step[0];
    const char *meant = NULL;

    if (node->select.n != 1)
        return false;
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        if (is_folded(word, foreign[i][0]))
            meant = foreign[i][1];
    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
        if (is_folded(word, macros[i]) && !is_word(word, macros[i]))
            meant = macros[i];
    if (meant == NULL)
        return false;
    check_say(check, node->offset, 15, "%.*s is a field that no entry has; did you mean %s?",
              (int)word->size, word->name, meant);
    return true;
}

static void warn_header(struct check *check, const struct check_path *path, const struct ast *node)
{
    const struct ast_step *key = &node->select.step[node->select.n - 1];
    char canonical[128];
    bool begin = true;

    if (strcmp(path->text, "request.headers") != 0 && strcmp(path->text, "response.headers") != 0)
        return;
    if (node->select.n != 3 || key->size >= sizeof(canonical) || key->size == 0 ||
        key->name[0] == ':')
        return;
    for (uint32_t i = 0; i < key->size; i++) {
        unsigned char c = (unsigned char)key->name[i];

        canonical[i] = (char)(begin ? toupper(c) : tolower(c));
        begin = c == '-';
    }
    if (memcmp(canonical, key->name, key->size) != 0)
        check_say(check, key->offset, 12, "names of headers are written [\"%.*s\"] in entries",
                  (int)key->size, canonical);
}

static void warn_cost(struct check *check, const struct check_path *path, const struct ast *node)
{
    static const char *const bodies[] = {
        "request.body",          "response.body",
        "request.postData.text", "request.postData.params",
        "response.content.text", "request.data",
        "response.data",
    };

    if (path->kind == CHECK_ROW && path->stage == KFL_STAGE_END)
        check_say(check, node->offset, 20,
                  "%s is known when the stream ends: until then its packets are held back",
                  path->text);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        if (path->kind == CHECK_ROW && strcmp(path->text, bodies[i]) == 0)
            check_say(check, node->offset, 20,
                      "%s: bodies have to be put together for this, which costs memory and time",
                      path->text);
}

static uint32_t chain_protos(const struct ast *node)
{
    uint32_t n = node->chain.n, protos = check_protos(node->chain.operand[n - 1]);

    if (node->chain.level == AST_EQUALITY && n == 2 && node->chain.op[0] == AST_EQ)
        protos &= protocol_protos(node->chain.operand[0], node->chain.operand[1]);
    for (uint32_t i = n - 1; i-- > 0;) {
        uint32_t own = check_protos(node->chain.operand[i]);

        if (node->chain.level == AST_LOGIC && node->chain.op[i] == AST_OR)
            protos |= own;
        else
            protos &= own;
    }
    return protos;
}

/* protocol.name == "dns" and its like. */
static uint32_t protocol_protos(const struct ast *left, const struct ast *right)
{
    struct check_path path;
    struct kfl_slice text;
    uint32_t protos = 0;

    if (left->kind != AST_SELECT || right->kind != AST_LITERAL ||
        right->literal.value.type != KFL_STRING)
        return CHECK_ALL_PROTOS;
    check_resolve(&left->select, &path);
    text = (struct kfl_slice){right->literal.value.text, right->literal.value.size};
    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++) {
        const struct kfl_proto_info *info = &kfl_proto_info[i];
        const char *word = strcmp(path.text, "protocol.name") == 0   ? info->name
                           : strcmp(path.text, "protocol.abbr") == 0 ? info->abbr
                                                                     : NULL;

        if (word != NULL && slice_equal(text, (struct kfl_slice){word, strlen(word)}))
            protos |= UINT32_C(1) << i;
    }
    if (strcmp(path.text, "protocol.layer4") == 0) {
        static const char *const names[] = {"tcp", "udp", "sctp", "icmp"};

        for (unsigned i = 0; i < 4; i++)
            if (slice_equal(text, (struct kfl_slice){names[i], strlen(names[i])}))
                return kfl_protos_of_l4(1U << i);
    }
    return protos == 0 ? CHECK_ALL_PROTOS : protos;
}

static bool is_word(const struct ast_step *step, const char *word)
{
    return step->size == strlen(word) && memcmp(step->name, word, step->size) == 0;
}

static bool is_folded(const struct ast_step *step, const char *word)
{
    return step->size == strlen(word) && strncasecmp(step->name, word, step->size) == 0;
}
