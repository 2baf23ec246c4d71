/* entry.c - an entry as JSON: the rows of fields.def, in their order. */
#include "entry.h"

#include <string.h>

#include "facts.h"
#include "value.h"

enum { CLOSED_MAX = 16, MEMBERS_MAX = 32 };

struct maker {
    struct kfl_arena *arena;
    const struct kfl_entry *entry;
    struct kfl_value *root;
    const struct fact *node[KFL_FIELD_COUNT]; /* what the tapes say of a row, or null */
    const char *closed[CLOSED_MAX];           /* maps and nulls: rows below are not rendered */
    unsigned n_closed;
    bool full;
};

static void find_nodes(struct maker *maker, const void *facts, uint32_t size);
static void add_row(struct maker *maker, enum kfl_field field);
static bool is_closed(const struct maker *maker, const char *path);
static struct kfl_value common_value(struct maker *maker, enum kfl_field field);
static struct kfl_value half_value(struct maker *maker, enum kfl_field field);
static bool object_is_there(const struct maker *maker, enum kfl_field field);
static struct kfl_value array_value(struct maker *maker, enum kfl_field field);
static struct kfl_value element_value(struct maker *maker, const struct fact *element,
                                      const enum kfl_field *member, unsigned n);
static struct kfl_value node_value(struct maker *maker, const struct fact *node);
static void place(struct maker *maker, const char *path, const struct kfl_value *value);
static struct kfl_value *add_child(struct maker *maker, struct kfl_value *parent, const char *key,
                                   size_t key_size, struct kfl_value value);
static const char *last_name(const char *path);
static bool is_below(const char *path, const char *container);

struct kfl_value *kfl_entry_value(struct kfl_arena *arena, const struct kfl_entry *entry)
{
    struct maker maker = {.arena = arena, .entry = entry};

    maker.root = kfl_arena_alloc(arena, sizeof(*maker.root));
    if (maker.root == NULL)
        return NULL;
    *maker.root = (struct kfl_value){.type = KFL_OBJECT};
    if (entry->request != NULL)
        find_nodes(&maker, entry->request->facts, entry->request->facts_size);
    if (entry->response != NULL)
        find_nodes(&maker, entry->response->facts, entry->response->facts_size);
    for (unsigned i = KFL_FIELD_NONE + 1; i < KFL_FIELD_COUNT; i++) {
        uint32_t protos = kfl_field_info[i].protos;

        if (protos == 0 || protos >> entry->proto & 1)
            add_row(&maker, i);
    }
    return maker.full ? NULL : maker.root;
}

/* Rows may stand inside the objects of other rows. */
static void find_nodes(struct maker *maker, const void *facts, uint32_t size)
{
    FACT_EACH(node, facts, size)
    {
        if (node->field == KFL_FIELD_NONE || node->field >= KFL_FIELD_COUNT)
            continue;
        maker->node[node->field] = node;
        if (node->type == FACT_OBJECT)
            find_nodes(maker, fact_value_of(node), node->value_size);
    }
}

static void add_row(struct maker *maker, enum kfl_field field)
{
    const struct kfl_field_info *info = &kfl_field_info[field];
    struct kfl_value value;

    if (strchr(info->path, '[') != NULL || is_closed(maker, info->path))
        return;
    value = info->protos == 0 ? common_value(maker, field) : half_value(maker, field);
    if ((info->type == KFL_TYPE_MAP || value.type == KFL_NULL) && maker->n_closed < CLOSED_MAX)
        maker->closed[maker->n_closed++] = info->path;
    place(maker, info->path, &value);
}

static bool is_closed(const struct maker *maker, const char *path)
{
    for (unsigned i = 0; i < maker->n_closed; i++)
        if (is_below(path, maker->closed[i]))
            return true;
    return false;
}

/* Of a stream that has not ended the counts are those up to now. */
static struct kfl_value common_value(struct maker *maker, enum kfl_field field)
{
    const struct kfl_entry *entry = maker->entry;
    const struct facts facts = {.stream = entry->stream, .entry = entry, .proto = entry->proto};
    struct kfl_value result = facts_empty(kfl_field_info[field].type);
    struct facts_value fact;

    if (field == KFL_FIELD_REQUEST || field == KFL_FIELD_RESPONSE) {
        if ((field == KFL_FIELD_REQUEST ? entry->request : entry->response) != NULL)
            result.type = KFL_OBJECT;
        return result;
    }
    facts_get(&facts, field, &fact);
    if (fact.kind == FACTS_ARRAY || fact.kind == FACTS_GROWING) {
        for (uint32_t i = 0; i < fact.n; i++)
            add_child(maker, &result, NULL, 0,
                      (struct kfl_value){.type = KFL_STRING,
                                         .text = fact.element[i],
                                         .size = (uint32_t)strlen(fact.element[i])});
    } else if (fact.kind == FACTS_VALUE || fact.kind == FACTS_AT_LEAST) {
        result = fact.value;
        if (result.type == KFL_STRING && result.text == fact.text) {
            char *copy = kfl_arena_alloc(maker->arena, result.size);

            maker->full |= copy == NULL;
            if (copy != NULL)
                memcpy(copy, fact.text, result.size);
            result.text = copy;
        }
    } else if (field == KFL_FIELD_CONN_STATE) {
        result.text = "open";
        result.size = 4;
    }
    return result;
}

static struct kfl_value half_value(struct maker *maker, enum kfl_field field)
{
    const struct fact *node = maker->node[field];
    struct kfl_value value = facts_empty(kfl_field_info[field].type);

    switch (kfl_field_info[field].type) {
    case KFL_TYPE_NULL:
        if (object_is_there(maker, field))
            value.type = KFL_OBJECT;
        return value;
    case KFL_TYPE_OBJECT: /* its members are rows of their own */
        return value;
    case KFL_TYPE_ARRAY:
        return node != NULL && node->type == FACT_ARRAY ? array_value(maker, field) : value;
    default:
        return node != NULL ? node_value(maker, node) : value;
    }
}

/* It, or something in it, is on the tape. */
static bool object_is_there(const struct maker *maker, enum kfl_field field)
{
    const struct fact *node = maker->node[field];

    if (node != NULL)
        return node->type == FACT_OBJECT;
    for (unsigned i = field + 1; i < KFL_FIELD_COUNT; i++)
        if (maker->node[i] != NULL && is_below(kfl_field_info[i].path, kfl_field_info[field].path))
            return true;
    return false;
}

/* Objects with every member that has a row. */
static struct kfl_value array_value(struct maker *maker, enum kfl_field field)
{
    const struct fact *node = maker->node[field];
    struct kfl_value array = {.type = KFL_ARRAY};
    enum kfl_field member[MEMBERS_MAX];
    unsigned n = 0;

    for (unsigned i = field + 1; i < KFL_FIELD_COUNT && n < MEMBERS_MAX; i++)
        if (kfl_field_info[i].protos >> maker->entry->proto & 1 &&
            is_below(kfl_field_info[i].path, kfl_field_info[field].path))
            member[n++] = i;
    FACT_EACH(element, fact_value_of(node), node->value_size)
    add_child(maker, &array, NULL, 0, element_value(maker, element, member, n));
    return array;
}

static struct kfl_value element_value(struct maker *maker, const struct fact *element,
                                      const enum kfl_field *member, unsigned n)
{
    struct kfl_value object = {.type = KFL_OBJECT};

    if (element->type != FACT_OBJECT)
        return node_value(maker, element);
    for (unsigned i = 0; i < n; i++) {
        const char *name = last_name(kfl_field_info[member[i]].path);
        struct kfl_value value = facts_empty(kfl_field_info[member[i]].type);

        FACT_EACH(node, fact_value_of(element), element->value_size)
        if (node->field == member[i])
            value = node_value(maker, node);
        add_child(maker, &object, name, strlen(name), value);
    }
    return object;
}

/* As deep as a tape can be. */
static struct kfl_value node_value(struct maker *maker, const struct fact *node)
{
    struct kfl_value value = value_of_fact(node);

    if (value.type != KFL_ARRAY && value.type != KFL_OBJECT)
        return value;
    FACT_EACH(child, fact_value_of(node), node->value_size)
    {
        const char *key = fact_key_of(child);
        size_t key_size = child->key_size;

        if (child->field != KFL_FIELD_NONE && key_size == 0) {
            key = last_name(kfl_field_info[child->field].path);
            key_size = strlen(key);
        }
        add_child(maker, &value, key, key_size, node_value(maker, child));
    }
    if (node->type != FACT_ARRAY)
        maker->full |= !value_drop_repeated(maker->arena, &value);
    return value;
}

/* Puts the value at its path; the objects on the way are made when first needed. */
static void place(struct maker *maker, const char *path, const struct kfl_value *value)
{
    struct kfl_value *parent = maker->root;

    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        size_t size = (size_t)(dot - path);
        struct kfl_value *child = parent->last;

        /* Rows of one object mostly follow one another. */
        if (child == NULL || child->key_size != size || memcmp(child->key, path, size) != 0)
            child = value_member(parent, path, size);
        if (child == NULL)
            child = add_child(maker, parent, path, size, (struct kfl_value){.type = KFL_OBJECT});
        if (child == NULL)
            return;
        parent = child;
    }
    add_child(maker, parent, path, strlen(path), *value);
}

static struct kfl_value *add_child(struct maker *maker, struct kfl_value *parent, const char *key,
                                   size_t key_size, struct kfl_value value)
{
    struct kfl_value *child = kfl_arena_alloc(maker->arena, sizeof(*child));

    if (child == NULL) {
        maker->full = true;
        return NULL;
    }
    *child = value;
    child->key = key;
    child->key_size = (uint32_t)key_size;
    child->next = NULL;
    if (parent->last == NULL)
        parent->first = child;
    else
        parent->last->next = child;
    parent->last = child;
    parent->size++;
    return child;
}

static const char *last_name(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot == NULL ? path : dot + 1;
}

static bool is_below(const char *path, const char *container)
{
    size_t size = strlen(container);

    return strncmp(path, container, size) == 0 && (path[size] == '.' || path[size] == '[');
}
