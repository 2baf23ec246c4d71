/* value.c - what operators make of values (sections 4 and 5 of the specification). */
#include "value.h"

#include <string.h>

static bool equal_single(const struct kfl_value *a, const struct kfl_value *b);
static bool is_number(const struct kfl_value *value);

bool value_truth(const struct kfl_value *value)
{
    switch (value->type) {
    case KFL_BOOL:
        return value->boolean;
    case KFL_INT:
        return value->integer > 0;
    case KFL_FLOAT:
        return value->number > 0;
    case KFL_STRING:
    case KFL_ARRAY:
        return value->size > 0;
    default:
        return false;
    }
}

struct kfl_slice value_text(const struct kfl_value *value, char buffer[static VALUE_TEXT_MAX])
{
    switch (value->type) {
    case KFL_NULL:
        return (struct kfl_slice){"null", 4};
    case KFL_BOOL:
        return value->boolean ? (struct kfl_slice){"true", 4} : (struct kfl_slice){"false", 5};
    case KFL_INT:
        return (struct kfl_slice){buffer, number_int_text(value->integer, buffer)};
    case KFL_FLOAT:
        return (struct kfl_slice){buffer, number_float_text(value->number, buffer)};
    case KFL_STRING:
        return (struct kfl_slice){value->text, value->size};
    default:
        return (struct kfl_slice){"", 0};
    }
}

struct kfl_number value_number(const struct kfl_value *value)
{
    struct kfl_number number = {0};

    switch (value->type) {
    case KFL_BOOL:
        number.integer = value->boolean;
        break;
    case KFL_INT:
        number.integer = value->integer;
        break;
    case KFL_FLOAT:
        number.is_float = true;
        number.number = value->number;
        break;
    case KFL_STRING:
        number.is_float = true;
        if (!number_spelled(value->text, value->size, &number.number))
            number.number = 0;
        break;
    default:
        break;
    }
    return number;
}

bool value_equal(const struct kfl_value *a, const struct kfl_value *b)
{
    const struct kfl_value *element, *other;

    if (a->type == KFL_ARRAY && b->type == KFL_ARRAY)
        return value_same(a, b);
    if (a->type != KFL_ARRAY && b->type != KFL_ARRAY)
        return equal_single(a, b);
    element = a->type == KFL_ARRAY ? a->first : b->first;
    other = a->type == KFL_ARRAY ? b : a;
    for (; element != NULL; element = element->next)
        if (equal_single(element, other))
            return true;
    return false;
}

bool value_ordered(enum ast_op op, const struct kfl_value *a, const struct kfl_value *b)
{
    bool every = a->type == KFL_ARRAY && b->type == KFL_ARRAY;
    const struct kfl_value *x = a->type == KFL_ARRAY ? a->first : a;

    for (; x != NULL; x = a->type == KFL_ARRAY ? x->next : NULL) {
        const struct kfl_value *y = b->type == KFL_ARRAY ? b->first : b;
        struct kfl_number left = value_number(x);

        for (; y != NULL; y = b->type == KFL_ARRAY ? y->next : NULL)
            if (number_ordered(op, left, value_number(y)) != every)
                return !every;
    }
    return every;
}

bool value_same(const struct kfl_value *a, const struct kfl_value *b)
{
    if (is_number(a) && is_number(b))
        return number_compare(value_number(a), value_number(b)) == 0;
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case KFL_BOOL:
        return a->boolean == b->boolean;
    case KFL_STRING:
        return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
    case KFL_ARRAY:
        if (a->size != b->size)
            return false;
        for (const struct kfl_value *x = a->first, *y = b->first; x != NULL;
             x = x->next, y = y->next)
            if (!value_same(x, y))
                return false;
        return true;
    case KFL_OBJECT:
        if (a->size != b->size)
            return false;
        for (const struct kfl_value *x = a->first, *y = b->first; x != NULL; x = x->next) {
            /* Mostly in the same order: then each is found where the last one ended. */
            const struct kfl_value *member = y;

            if (member == NULL || member->key_size != x->key_size ||
                memcmp(member->key, x->key, x->key_size) != 0)
                member = value_member(b, x->key, x->key_size);
            if (member == NULL || !value_same(x, member))
                return false;
            y = member->next;
        }
        return true;
    default:
        return true;
    }
}

struct kfl_value *value_member(const struct kfl_value *object, const char *key, size_t key_size)
{
    for (struct kfl_value *member = object->first; member != NULL; member = member->next)
        if (member->key_size == key_size && memcmp(member->key, key, key_size) == 0)
            return member;
    return NULL;
}

bool slice_equal(struct kfl_slice a, struct kfl_slice b)
{
    return a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
}

bool slice_starts_with(struct kfl_slice text, struct kfl_slice part)
{
    return text.size >= part.size && memcmp(text.text, part.text, part.size) == 0;
}

bool slice_ends_with(struct kfl_slice text, struct kfl_slice part)
{
    return text.size >= part.size &&
           memcmp(text.text + (text.size - part.size), part.text, part.size) == 0;
}

bool slice_contains(struct kfl_slice text, struct kfl_slice part)
{
    return part.size == 0 || memmem(text.text, text.size, part.text, part.size) != NULL;
}

/* Rules 3 to 5: neither is an array, or one stands inside an array. */
static bool equal_single(const struct kfl_value *a, const struct kfl_value *b)
{
    char left_buffer[VALUE_TEXT_MAX], right_buffer[VALUE_TEXT_MAX];
    struct kfl_slice text;

    if (a->type == KFL_REGEX || b->type == KFL_REGEX) {
        const struct kfl_value *pattern = a->type == KFL_REGEX ? a : b;

        text = value_text(pattern == a ? b : a, left_buffer);
        return kfl_regex_find(pattern->regex, text.text, text.size);
    }
    if (is_number(a) && is_number(b))
        return number_compare(value_number(a), value_number(b)) == 0;
    return slice_equal(value_text(a, left_buffer), value_text(b, right_buffer));
}

static bool is_number(const struct kfl_value *value)
{
    return value->type == KFL_INT || value->type == KFL_FLOAT;
}
