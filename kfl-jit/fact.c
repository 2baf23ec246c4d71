/* fact.c - writing tapes. */
#include "fact.h"

#include <string.h>

#include "ensure.h"
#include "plan.h"
#include "value.h"

/* Members that can come again are looked for one by one: so many of them, and no more, are told
 * apart in one map. */
enum { MEMBERS_MAX = 512 };

static inline bool refused(const struct fact_tape *tape, enum kfl_field field);
static bool refused_member(const struct fact_tape *tape);
/* Inline: every fact passes it. */
static inline __attribute__((always_inline)) struct fact *append(struct fact_tape *tape,
                                                                 enum kfl_field field,
                                                                 enum fact_type type,
                                                                 uint64_t value_size);
static void append_string(struct fact_tape *tape, enum kfl_field field, const void *text,
                          size_t size);
static inline void clear_padding(uint8_t *at, uint64_t size);
static void begin(struct fact_tape *tape, enum kfl_field field, enum fact_type type);
static struct fact *open_node(const struct fact_tape *tape);
static struct fact *find_member(struct fact_tape *tape, const char *key, size_t key_size,
                                uint32_t *ret_n);
static bool grow(struct fact_tape *tape, struct fact *node, uint64_t more);
static uint64_t padded(uint64_t size);

void fact_tape_init(struct fact_tape *tape, void *buffer, uint32_t capacity,
                    const struct kfl_demand *demand)
{
    ensure(((uintptr_t)buffer & 7) == 0);
    *tape = (struct fact_tape){.base = buffer, .capacity = capacity & ~7u, .demand = demand};
}

void fact_tape_reset(struct fact_tape *tape)
{
    tape->size = tape->depth = tape->skip = 0;
    tape->key = NULL;
    tape->key_size = 0;
    tape->cut = false;
}

bool fact_wanted_key(const struct fact_tape *tape, enum kfl_field field, const char *key,
                     size_t key_size)
{
    const struct kfl_demand *demand = tape->demand;

    if (!fact_wanted_key_size(tape, field, key_size))
        return false;
    if (!fact_by_key(demand, field))
        return true;
    for (uint32_t i = 0; i < demand->n_keys; i++) {
        const struct kfl_demand_key *wanted = &demand->keys[i];

        if (wanted->field == field && wanted->size == key_size &&
            memcmp(wanted->key, key, key_size) == 0)
            return true;
    }
    return false;
}

void fact_null(struct fact_tape *tape, enum kfl_field field)
{
    if (!refused(tape, field))
        append(tape, field, FACT_NULL, 0);
    tape->key = NULL;
}

void fact_bool(struct fact_tape *tape, enum kfl_field field, bool value)
{
    struct fact *node = refused(tape, field) ? NULL : append(tape, field, FACT_BOOL, 0);

    if (node != NULL)
        node->bool_value = value;
    tape->key = NULL;
}

void fact_int(struct fact_tape *tape, enum kfl_field field, int64_t value)
{
    struct fact *node = refused(tape, field) ? NULL : append(tape, field, FACT_INT, sizeof(value));

    if (node != NULL)
        memcpy((void *)fact_value_of(node), &value, sizeof(value));
    tape->key = NULL;
}

void fact_float(struct fact_tape *tape, enum kfl_field field, double value)
{
    struct fact *node =
        refused(tape, field) ? NULL : append(tape, field, FACT_FLOAT, sizeof(value));

    if (node != NULL)
        memcpy((void *)fact_value_of(node), &value, sizeof(value));
    tape->key = NULL;
}

void fact_string(struct fact_tape *tape, enum kfl_field field, const void *text, size_t size)
{
    if (!refused(tape, field))
        append_string(tape, field, text, size);
    tape->key = NULL;
}

void fact_text(struct fact_tape *tape, enum kfl_field field, const char *text)
{
    if (!refused(tape, field))
        append_string(tape, field, text, strlen(text));
    tape->key = NULL;
}

void fact_base64(struct fact_tape *tape, enum kfl_field field, const void *bytes, size_t size)
{
    if (!refused(tape, field)) {
        struct fact *node = append(tape, field, FACT_STRING, ((uint64_t)size + 2) / 3 * 4);

        if (node != NULL)
            base64_write((char *)fact_value_of(node), bytes, size);
    }
    tape->key = NULL;
}

void fact_hex(struct fact_tape *tape, enum kfl_field field, const void *bytes, size_t size)
{
    static const char digit[] = "0123456789abcdef";

    if (!refused(tape, field)) {
        struct fact *node = append(tape, field, FACT_STRING, (uint64_t)size * 2);

        if (node != NULL) {
            char *to = (char *)fact_value_of(node);

            for (size_t i = 0; i < size; i++) {
                uint8_t byte = ((const uint8_t *)bytes)[i];

                *to++ = digit[byte >> 4];
                *to++ = digit[byte & 15];
            }
        }
    }
    tape->key = NULL;
}

void fact_array(struct fact_tape *tape, enum kfl_field field)
{
    begin(tape, field, FACT_ARRAY);
}

void fact_object(struct fact_tape *tape, enum kfl_field field)
{
    begin(tape, field, FACT_OBJECT);
}

void fact_map(struct fact_tape *tape, enum kfl_field field)
{
    begin(tape, field, FACT_MAP);
}

void fact_end(struct fact_tape *tape)
{
    struct fact *node;

    tape->key = NULL;
    if (tape->skip > 0) {
        tape->skip--;
        return;
    }
    ensure(tape->depth > 0);
    node = open_node(tape);
    node->size = tape->size - tape->open[--tape->depth];
    node->value_size = node->size - (uint32_t)(sizeof(*node) + padded(node->key_size));
}

void fact_key(struct fact_tape *tape, const char *key, size_t size)
{
    tape->key = key;
    tape->key_size = (uint32_t)size;
}

void fact_member_joined(struct fact_tape *tape, const char *key, size_t key_size, const void *text,
                        size_t size)
{
    uint32_t n;
    struct fact *node;

    fact_key(tape, key, key_size);
    if (tape->skip > 0) {
        tape->key = NULL;
        return;
    }
    node = find_member(tape, key, key_size, &n);
    if (node == NULL && n < MEMBERS_MAX) {
        append_string(tape, KFL_FIELD_NONE, text, size);
        tape->key = NULL;
        return;
    }
    tape->key = NULL;
    if (node != NULL && node->type == FACT_STRING) {
        uint32_t before = node->value_size;
        uint64_t clean_size = utf8_clean_size(text, size), more = clean_size + 1;
        uint64_t room = padded(before + more) - padded(before);

        if (!grow(tape, node, room))
            return;
        char *end = (char *)fact_value_of(node) + before;

        *end = ',';
        utf8_clean_copy(end + 1, text, size, clean_size);
        node->value_size = before + (uint32_t)more;
        return;
    }
    tape->cut = true;
}

void fact_member_collected(struct fact_tape *tape, const char *key, size_t key_size,
                           const void *text, size_t size)
{
    uint64_t clean_size, element;
    uint32_t n;
    struct fact *node, *added;

    fact_key(tape, key, key_size);
    if (tape->skip > 0) {
        tape->key = NULL;
        return;
    }
    node = find_member(tape, key, key_size, &n);
    if (node == NULL && n < MEMBERS_MAX) {
        append_string(tape, KFL_FIELD_NONE, text, size);
        tape->key = NULL;
        return;
    }
    tape->key = NULL;
    if (node == NULL || (node->type != FACT_STRING && node->type != FACT_ARRAY)) {
        tape->cut = true;
        return;
    }
    clean_size = utf8_clean_size(text, size);
    element = sizeof(struct fact) + padded(clean_size);
    if (node->type == FACT_STRING) { /* it becomes the first element of an array */
        struct fact first = {.field = KFL_FIELD_NONE,
                             .type = FACT_STRING,
                             .size = (uint32_t)(sizeof(first) + padded(node->value_size)),
                             .value_size = node->value_size};

        if (!grow(tape, node, sizeof(first) + element))
            return;
        uint8_t *value = (uint8_t *)fact_value_of(node);

        memmove(value + sizeof(first), value, padded(first.value_size));
        memcpy(value, &first, sizeof(first));
        node->type = FACT_ARRAY;
        node->value_size = first.size;
    } else if (!grow(tape, node, element)) {
        return;
    }
    added = (struct fact *)((uint8_t *)fact_value_of(node) + node->value_size);
    *added = (struct fact){.field = KFL_FIELD_NONE,
                           .type = FACT_STRING,
                           .size = (uint32_t)element,
                           .value_size = (uint32_t)clean_size};
    utf8_clean_copy(added + 1, text, size, clean_size);
    node->value_size += (uint32_t)element;
}

/* Is the next node inside something that is skipped, or not wanted itself? */
static inline bool refused(const struct fact_tape *tape, enum kfl_field field)
{
    if (tape->skip > 0)
        return true;
    return field != KFL_FIELD_NONE ? !fact_wanted(tape, field) : refused_member(tape);
}

static bool refused_member(const struct fact_tape *tape)
{
    const struct fact *map;

    if (tape->depth == 0 || tape->key == NULL)
        return false;
    map = open_node(tape);
    return map->type == FACT_MAP && map->field != KFL_FIELD_NONE &&
           !fact_wanted_key(tape, map->field, tape->key, tape->key_size);
}

/* A node with its key and room for its value; null, and cut, if it does not fit. */
static inline struct fact *append(struct fact_tape *tape, enum kfl_field field, enum fact_type type,
                                  uint64_t value_size)
{
    uint64_t key_size = tape->key == NULL ? 0 : utf8_clean_size(tape->key, tape->key_size);
    uint64_t size = sizeof(struct fact) + padded(key_size) + padded(value_size);
    struct fact *node = (struct fact *)(tape->base + tape->size);

    if (size > tape->capacity - tape->size) {
        tape->cut = true;
        return NULL;
    }
    *node = (struct fact){
        .size = (uint32_t)size,
        .field = (uint16_t)field,
        .type = (uint8_t)type,
        .key_size = (uint32_t)key_size,
        .value_size = (uint32_t)value_size,
    };
    clear_padding((uint8_t *)(node + 1), key_size);
    if (key_size > 0)
        utf8_clean_copy(node + 1, tape->key, tape->key_size, key_size);
    clear_padding((uint8_t *)fact_value_of(node), value_size);
    tape->size += (uint32_t)size;
    return node;
}

static void append_string(struct fact_tape *tape, enum kfl_field field, const void *text,
                          size_t size)
{
    size_t clean_size = utf8_clean_size(text, size);
    struct fact *node = append(tape, field, FACT_STRING, clean_size);

    if (node != NULL)
        utf8_clean_copy((void *)fact_value_of(node), text, size, clean_size);
}

/* Before the bytes are there: tapes are compared and stored, with what pads them. */
static inline void clear_padding(uint8_t *at, uint64_t size)
{
    if (size & 7)
        memset(at + (size & ~UINT64_C(7)), 0, 8);
}

static void begin(struct fact_tape *tape, enum kfl_field field, enum fact_type type)
{
    if (refused(tape, field)) {
        tape->skip++;
    } else if (tape->depth == FACT_DEPTH_MAX) {
        tape->cut = true;
        tape->skip++;
    } else {
        uint32_t at = tape->size;

        if (append(tape, field, type, 0) == NULL)
            tape->skip++;
        else
            tape->open[tape->depth++] = at;
    }
    tape->key = NULL;
}

static struct fact *open_node(const struct fact_tape *tape)
{
    return (struct fact *)(tape->base + tape->open[tape->depth - 1]);
}

/* The member of the open map with this key, or null; and how many members there are. */
static struct fact *find_member(struct fact_tape *tape, const char *key, size_t key_size,
                                uint32_t *ret_n)
{
    uint32_t n = 0;
    const struct fact *map;
    const uint8_t *first;

    ensure(tape->depth > 0);
    map = open_node(tape);
    first = (const uint8_t *)fact_value_of(map);
    FACT_EACH(node, first, (size_t)(tape->base + tape->size - first))
    {
        n++;
        if (node->key_size == key_size && memcmp(fact_key_of(node), key, key_size) == 0) {
            *ret_n = n;
            return (struct fact *)node;
        }
    }
    *ret_n = n;
    return NULL;
}

/* Makes a finished node, anywhere in the open container, larger: what follows moves up. */
static bool grow(struct fact_tape *tape, struct fact *node, uint64_t more)
{
    uint8_t *end = (uint8_t *)node + node->size;

    if (more > tape->capacity - tape->size) {
        tape->cut = true;
        return false;
    }
    memmove(end + more, end, (size_t)(tape->base + tape->size - end));
    memset(end, 0, more);
    node->size += (uint32_t)more;
    tape->size += (uint32_t)more;
    return true;
}

static uint64_t padded(uint64_t size)
{
    return (size + 7) & ~UINT64_C(7);
}
