/* value.h - what operators make of values: truth, text, number, equality, order.
 *
 * Inside kfl-jit only; the public part of values is in kfl.h. Any thread; nothing is allocated. */
#ifndef KFL_VALUE_H
#define KFL_VALUE_H

#include "ast.h"

/* A text that someone else owns, not terminated. */
struct kfl_slice {
    const char *text;
    size_t size;
};

/* An int or a float, to be compared exactly. */
struct kfl_number {
    bool is_float;
    union {
        int64_t integer;
        double number;
    };
};

enum { VALUE_TEXT_MAX = 40 };

bool value_truth(const struct kfl_value *value);
/* text(value): points into the value, to a constant, or into buffer. */
struct kfl_slice value_text(const struct kfl_value *value, char buffer[static VALUE_TEXT_MAX]);
struct kfl_number value_number(const struct kfl_value *value);

/* Rules 1 to 5 of `==`. */
bool value_equal(const struct kfl_value *a, const struct kfl_value *b);
/* op: AST_LT .. AST_GE */
bool value_ordered(enum ast_op op, const struct kfl_value *a, const struct kfl_value *b);
/* JSON values of one type, members and elements equal; int and float as numbers. */
bool value_same(const struct kfl_value *a, const struct kfl_value *b);

/* The member of that name, or null. */
struct kfl_value *value_member(const struct kfl_value *object, const char *key, size_t key_size);

/* Of members with one name the last value counts. false: the arena is full. */
bool value_drop_repeated(struct kfl_arena *arena, struct kfl_value *object);

bool slice_equal(struct kfl_slice a, struct kfl_slice b);
bool slice_starts_with(struct kfl_slice text, struct kfl_slice part);
bool slice_ends_with(struct kfl_slice text, struct kfl_slice part);
bool slice_contains(struct kfl_slice text, struct kfl_slice part);

/* ---- numbers as text (number.c) ---- */
/* -1, 0, 1, or 2 when one is not a number. */
int number_compare(struct kfl_number a, struct kfl_number b);
bool number_ordered(enum ast_op op, struct kfl_number a, struct kfl_number b);
/* Text of a float by section 4. -> bytes; the buffer is terminated, too. */
size_t number_float_text(double value, char buffer[static VALUE_TEXT_MAX]);
size_t number_int_text(int64_t value, char buffer[static VALUE_TEXT_MAX]);
/* Bytes at the beginning of text that are an int or float token; 0: none. */
size_t number_scan(const char *text, size_t size, bool *ret_is_float);
/* The float of a token, or of digits only. false: beyond float64. */
bool number_read(const char *text, size_t size, double *ret_value);
/* The int of decimal digits, `_` between them. false: does not fit 64 bits. */
bool number_read_int(const char *text, size_t size, bool negative, int64_t *ret_value);
/* The float that the whole of the text spells (sign, words). false: none. */
bool number_spelled(const char *text, size_t size, double *ret_value);

/* ---- UTF-8 (utf8.c) ---- */
/* Bytes of the character at the beginning, 1..4; 0: not UTF-8. size is at least 1. */
unsigned utf8_length(const char *text, size_t size);
bool utf8_valid(const char *text, size_t size);
/* Writes it. -> bytes, 1..4. A lone surrogate is written as if it were a character. */
unsigned utf8_put(uint32_t character, char buffer[static 4]);
/* A text in which each byte that is not UTF-8 is U+FFFD: its size, and the text itself, of that
 * size. */
size_t utf8_clean_size(const char *text, size_t size);
void utf8_clean_copy(void *to, const char *text, size_t size, size_t clean_size);

/* ---- base64, standard alphabet with padding (base64.c) ---- */
/* -> characters written: 4 for each 3 bytes begun. Not terminated. */
size_t base64_write(char *to, const void *bytes, size_t size);
/* to: room for size / 4 * 3 bytes. CR and LF are passed over. false: it is none. */
bool base64_read(const char *text, size_t size, char *to, size_t *ret_size);

/* What a node of a tape is, without the children of a container. */
static inline struct kfl_value value_of_fact(const struct fact *node)
{
    struct kfl_value value = {.type = KFL_NULL};

    switch ((enum fact_type)node->type) {
    case FACT_NULL:
        break;
    case FACT_BOOL:
        value.type = KFL_BOOL;
        value.boolean = node->bool_value;
        break;
    case FACT_INT:
        value.type = KFL_INT;
        value.integer = fact_int_of(node);
        break;
    case FACT_FLOAT:
        value.type = KFL_FLOAT;
        value.number = fact_float_of(node);
        break;
    case FACT_STRING:
        value.type = KFL_STRING;
        value.text = fact_value_of(node);
        value.size = node->value_size;
        break;
    case FACT_ARRAY:
    case FACT_OBJECT:
    case FACT_MAP:
        value.type = node->type == FACT_ARRAY ? KFL_ARRAY : KFL_OBJECT;
        break;
    }
    return value;
}

/* A word with this in each of its bytes. */
#define VALUE_BYTES(c) (UINT64_C(0x0101010101010101) * (c))

/* The first eight bytes of a text, zeros behind its end. */
static inline uint64_t value_head(const char *text, uint32_t size)
{
    uint64_t head = 0;

    if (size >= 8) {
        __builtin_memcpy(&head, text, 8);
    } else if (size >= 4) {
        uint32_t low, high;

        __builtin_memcpy(&low, text, 4);
        __builtin_memcpy(&high, text + size - 4, 4);
        head = low | (uint64_t)high << 8 * (size - 4);
    } else if (size) {
        head = (uint8_t)text[0] | (uint64_t)(uint8_t)text[size / 2] << 8 * (size / 2) |
               (uint64_t)(uint8_t)text[size - 1] << 8 * (size - 1);
    }
    return head;
}

/* Are two texts of n bytes, more than eight, the same, whose first eight are? */
static inline bool value_same_rest(const char *a, const char *b, uint32_t n)
{
    uint32_t at = n - 8;

    while (value_head(a + at, 8) == value_head(b + at, 8)) {
        if (at <= 8)
            return true;
        at -= 8;
    }
    return false;
}

#endif
