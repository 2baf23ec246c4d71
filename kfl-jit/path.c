#include "path.h"

#include <string.h>

static uint32_t match(const char *row, const struct ast_path *path, bool *ret_row_ends);
static struct path_place rest_of(const struct ast_path *path, enum kfl_proto proto,
                                 enum kfl_field field, uint32_t used);

struct path_place path_resolve(const struct ast_path *path, enum kfl_proto proto)
{
    struct path_place place = {.kind = PATH_ABSENT};
    uint32_t best = 0;
    bool object = false, below = false;

    for (uint32_t i = 0; i < path->n; i++)
        if (path->step[i].type == AST_DEEP)
            return (struct path_place){.kind = PATH_GENERAL};
    for (unsigned field = 1; field < KFL_FIELD_COUNT; field++) {
        bool row_ends;
        uint32_t used;

        if (!path_in_proto(field, proto) || strstr(kfl_field_info[field].path, "[]"))
            continue;
        used = match(kfl_field_info[field].path, path, &row_ends);
        if (row_ends && kfl_field_info[field].type == KFL_TYPE_MAP)
            return rest_of(path, proto, field, used); /* rows below it only describe its keys */
        if (row_ends && used > best) {
            best = used;
            place.field = (uint16_t)field;
        } else if (!row_ends && used == path->n) {
            object = true;
        } else if (!row_ends && used && path->step[used].type == AST_ALL) {
            below = true;
        }
    }
    if (place.field)
        place = rest_of(path, proto, place.field, best);
    if (below && place.kind == PATH_ABSENT)
        place.kind = PATH_GENERAL;
    if (!place.field && object)
        place.kind = PATH_OBJECT;
    return place;
}

/* What is left behind a row: nothing, or steps into a map or an array. */
static struct path_place rest_of(const struct ast_path *path, enum kfl_proto proto,
                                 enum kfl_field field, uint32_t used)
{
    struct path_place place = {.kind = PATH_ROW, .field = (uint16_t)field, .rest = used};
    enum kfl_type type = kfl_field_info[field].type;
    uint32_t n = path->n - used;
    const struct ast_step *rest = path->step + used;
    bool list = type == KFL_TYPE_STRINGS || type == KFL_TYPE_INTS || type == KFL_TYPE_ARRAY;

    place.parent = (uint16_t)path_parent(field);
    if (!n)
        return place;
    if (list && !kfl_field_info[field].protos) /* conn.l7[0]: not on a tape */
        return (struct path_place){.kind = rest->type == AST_KEY ? PATH_ABSENT : PATH_GENERAL};
    if (type == KFL_TYPE_NULL || type == KFL_TYPE_OBJECT)
        return (struct path_place){.kind = rest->type == AST_ALL ? PATH_GENERAL : PATH_ABSENT};
    if (type != KFL_TYPE_MAP && !(list && rest->type != AST_KEY))
        return (struct path_place){.kind = PATH_ABSENT};
    if (list && type != KFL_TYPE_ARRAY && n > 1)
        return (struct path_place){.kind = PATH_ABSENT};
    if (n > PATH_REST_MAX || (type == KFL_TYPE_MAP && rest->type == AST_INDEX))
        return (struct path_place){.kind = n > PATH_REST_MAX ? PATH_GENERAL : PATH_ABSENT};
    if (type == KFL_TYPE_ARRAY && n > 1) {
        if (n > 2 || rest[1].type == AST_ALL)
            return (struct path_place){.kind = PATH_GENERAL};
        place.kind = PATH_ABSENT;
        for (unsigned i = 1; i < KFL_FIELD_COUNT && rest[1].type == AST_KEY; i++) {
            const char *row = kfl_field_info[i].path, *base = kfl_field_info[field].path;
            size_t size = strlen(base);

            if (path_in_proto(i, proto) && !strncmp(row, base, size) &&
                !strncmp(row + size, "[].", 3) && strlen(row + size + 3) == rest[1].size &&
                !memcmp(row + size + 3, rest[1].name, rest[1].size)) {
                place.kind = PATH_ROW;
                place.member = (uint16_t)i;
            }
        }
    }
    return place;
}

bool path_reads(const struct ast_path *path, enum kfl_proto proto, enum kfl_field field)
{
    bool row_ends;
    uint32_t used;

    if (!path_in_proto(field, proto))
        return false;
    used = match(kfl_field_info[field].path, path, &row_ends);
    return used && (row_ends || used == path->n || path->step[used].type != AST_KEY);
}

enum kfl_field path_parent(enum kfl_field field)
{
    const char *path = kfl_field_info[field].path;
    size_t best = 0;
    enum kfl_field parent = KFL_FIELD_NONE;

    for (unsigned i = 1; i < KFL_FIELD_COUNT; i++) {
        const char *other = kfl_field_info[i].path;
        size_t size;

        if (kfl_field_info[i].type != KFL_TYPE_NULL || i == KFL_FIELD_REQUEST ||
            i == KFL_FIELD_RESPONSE || i == field)
            continue;
        size = strlen(other);
        if (size <= best)
            continue;
        if (kfl_field_info[i].protos == kfl_field_info[field].protos &&
            !strncmp(path, other, size) && path[size] == '.') {
            best = size;
            parent = i;
        }
    }
    return parent;
}

const char *path_leaf_name(enum kfl_field field)
{
    const char *dot = strrchr(kfl_field_info[field].path, '.');

    return dot ? dot + 1 : kfl_field_info[field].path;
}

bool path_equal(const struct ast_path *a, const struct ast_path *b)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct ast_step *s = &a->step[i], *t = &b->step[i];

        if (s->type != t->type)
            return false;
        if (s->type == AST_INDEX && s->index != t->index)
            return false;
        if ((s->type == AST_KEY || s->type == AST_DEEP) &&
            (s->size != t->size || memcmp(s->name, t->name, s->size)))
            return false;
    }
    return true;
}

/* Steps of the path that are components of the row, from the beginning; whether all of the row's
 * were met. */
static uint32_t match(const char *row, const struct ast_path *path, bool *ret_row_ends)
{
    uint32_t used = 0;

    *ret_row_ends = false;
    while (used < path->n && path->step[used].type == AST_KEY) {
        size_t size = strcspn(row, ".[");

        if (path->step[used].size != size || memcmp(row, path->step[used].name, size))
            return used;
        used++;
        row += size;
        if (!*row) {
            *ret_row_ends = true;
            return used;
        }
        if (*row == '[')
            return used;
        row++;
    }
    return used;
}
