/* number.c - numbers and the texts that spell them (sections 2 and 4 of the specification). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "value.h"

/* So many digits decide any float64; one more says that the rest was not all zeros. */
enum { DIGITS_MAX = 800 };

static size_t scan_digits(const char *text, size_t size, size_t at);
static size_t scan_hex(const char *text, size_t size, size_t at);
static size_t scan_hex_float(const char *text, size_t size);
static size_t scan_exponent(const char *text, size_t size, size_t at);
static int compare_int_float(int64_t a, double b);
static void shortest_digits(double value, char digits[static 24], int *ret_n, int *ret_exponent);
static bool next_reads_as(double value, char text[static 40]);
static bool is_hex(char c);

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int number_compare(struct kfl_number a, struct kfl_number b)
{
    int order;

    if (!a.is_float && !b.is_float)
        return a.integer < b.integer ? -1 : a.integer > b.integer;
    if (a.is_float && b.is_float) {
        if (isnan(a.number) || isnan(b.number))
            return 2;
        return a.number < b.number ? -1 : a.number > b.number;
    }
    if (!a.is_float)
        return compare_int_float(a.integer, b.number);
    order = compare_int_float(b.integer, a.number);
    return order == 2 ? 2 : -order;
}

bool number_ordered(enum ast_op op, struct kfl_number a, struct kfl_number b)
{
    int order = number_compare(a, b);

    if (order == 2)
        return false;
    switch (op) {
    case AST_LT:
        return order < 0;
    case AST_LE:
        return order <= 0;
    case AST_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

size_t number_int_text(int64_t value, char buffer[static VALUE_TEXT_MAX])
{
    char digits[24], *end = digits + sizeof(digits), *at = end;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    size_t size;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--at = '-';
    size = (size_t)(end - at);
    memcpy(buffer, at, size);
    buffer[size] = 0;
    return size;
}

size_t number_float_text(double value, char buffer[static VALUE_TEXT_MAX])
{
    char digits[24], *out = buffer;
    int n, exponent;

    if (isnan(value) || isinf(value)) {
        const char *word = isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";

        return (size_t)snprintf(buffer, VALUE_TEXT_MAX, "%s", word);
    }
    if (signbit(value))
        *out++ = '-';
    shortest_digits(fabs(value), digits, &n, &exponent);
    if (exponent < -4 || exponent > 20) {
        *out++ = digits[0];
        if (n > 1) {
            *out++ = '.';
            memcpy(out, digits + 1, (size_t)n - 1);
            out += n - 1;
        }
        out += snprintf(out, 8, "e%+03d", exponent);
        return (size_t)(out - buffer);
    }
    if (exponent < 0) {
        *out++ = '0';
        *out++ = '.';
        for (int i = -1; i > exponent; i--)
            *out++ = '0';
    }
    for (int i = 0; i < n || i <= exponent; i++) {
        if (exponent >= 0 && i == exponent + 1)
            *out++ = '.';
        *out++ = i < n ? digits[i] : '0';
    }
    *out = 0;
    return (size_t)(out - buffer);
}

size_t number_scan(const char *text, size_t size, bool *ret_is_float)
{
    size_t at = scan_hex_float(text, size), digits;

    *ret_is_float = true;
    if (at > 0)
        return at;
    digits = scan_digits(text, size, 0);
    if (digits < size && text[digits] == '.') {
        size_t end = scan_digits(text, size, digits + 1);

        if (digits > 0 || end > digits + 1)
            return scan_exponent(text, size, end);
    }
    if (digits == 0)
        return 0;
    at = scan_exponent(text, size, digits);
    *ret_is_float = at > digits;
    return at;
}

bool number_read(const char *text, size_t size, double *ret_value)
{
    bool hex = size > 2 && text[0] == '0' && (text[1] | 32) == 'x', point = false, sticky = false;
    char buffer[DIGITS_MAX + 40], *out = buffer;
    long long exponent = 0, written = 0;
    int n = 0, unit = hex ? 4 : 1;
    size_t at = hex ? 2 : 0;
    double value;

    if (hex) {
        *out++ = '0';
        *out++ = 'x';
    }
    for (; at < size && text[at] != (hex ? 'p' : 'e') && text[at] != (hex ? 'P' : 'E'); at++) {
        char c = text[at];

        if (c == '_')
            continue;
        if (c == '.') {
            point = true;
            continue;
        }
        if (n > 0 || c != '0') { /* significant */
            if (n < DIGITS_MAX) {
                *out++ = c;
                n++;
            } else {
                sticky |= c != '0';
                exponent += unit;
            }
        }
        if (point)
            exponent -= unit;
    }
    if (n == 0) {
        *ret_value = 0;
        return true;
    }
    if (sticky) {
        *out++ = '1';
        exponent -= unit;
    }
    if (at < size) {
        bool negative = text[++at] == '-';

        for (at += negative || text[at] == '+'; at < size; at++)
            if (text[at] != '_' && written < 1000000000)
                written = written * 10 + (text[at] - '0');
        exponent += negative ? -written : written;
    }
    if (exponent > 100000)
        exponent = 100000;
    if (exponent < -100000)
        exponent = -100000;
    snprintf(out, 16, "%c%lld", hex ? 'p' : 'e', exponent);
    value = strtod(buffer, NULL);
    if (isinf(value))
        return false;
    *ret_value = value;
    return true;
}

bool number_read_int(const char *text, size_t size, bool negative, int64_t *ret_value)
{
    uint64_t value = 0, most = (uint64_t)INT64_MAX + negative;

    for (size_t i = 0; i < size; i++) {
        uint64_t digit;

        if (text[i] == '_')
            continue;
        digit = (uint64_t)(text[i] - '0');
        if (value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = negative ? (int64_t)-value : (int64_t)value;
    return true;
}

bool number_spelled(const char *text, size_t size, double *ret_value)
{
    bool negative = size > 0 && text[0] == '-', is_float;
    double value;

    if (size > 0 && (text[0] == '-' || text[0] == '+')) {
        text++;
        size--;
    }
    if (size == 0)
        return false;
    if ((size == 3 && strncasecmp(text, "inf", 3) == 0) ||
        (size == 8 && strncasecmp(text, "infinity", 8) == 0))
        value = INFINITY;
    else if (size == 3 && strncasecmp(text, "nan", 3) == 0)
        value = NAN;
    else if (number_scan(text, size, &is_float) != size || !number_read(text, size, &value))
        return false;
    *ret_value = negative ? -value : value;
    return true;
}

/* digits of one or more, `_` between two */
static size_t scan_digits(const char *text, size_t size, size_t at)
{
    while (at < size && is_digit(text[at])) {
        at++;
        if (at + 1 < size && text[at] == '_' && is_digit(text[at + 1]))
            at++;
    }
    return at;
}

static size_t scan_hex(const char *text, size_t size, size_t at)
{
    while (at < size && is_hex(text[at]))
        at++;
    return at;
}

static size_t scan_hex_float(const char *text, size_t size)
{
    size_t whole, at, digits;

    if (size < 5 || text[0] != '0' || (text[1] | 32) != 'x')
        return 0;
    whole = at = scan_hex(text, size, 2);
    if (at < size && text[at] == '.')
        at = scan_hex(text, size, at + 1);
    if (whole == 2 && at <= 3)
        return 0;
    if (at >= size || (text[at] | 32) != 'p')
        return 0;
    at++;
    if (at < size && (text[at] == '+' || text[at] == '-'))
        at++;
    for (digits = at; at < size && is_digit(text[at]);)
        at++;
    return at > digits ? at : 0;
}

/* Behind e and its digits, or where it began when that is no exponent. */
static size_t scan_exponent(const char *text, size_t size, size_t at)
{
    size_t first = at + 1, end;

    if (at >= size || (text[at] | 32) != 'e')
        return at;
    if (first < size && (text[first] == '+' || text[first] == '-'))
        first++;
    end = scan_digits(text, size, first);
    return end > first ? end : at;
}

static int compare_int_float(int64_t a, double b)
{
    int64_t whole;

    if (isnan(b))
        return 2;
    if (b >= 0x1p63)
        return -1;
    if (b < -0x1p63)
        return 1;
    whole = (int64_t)b;
    if (a != whole)
        return a < whole ? -1 : 1;
    return (double)whole < b ? -1 : (double)whole > b;
}

/* The fewest digits that read back as the value (not negative, finite), and the decimal exponent
 * of the first. */
static void shortest_digits(double value, char digits[static 24], int *ret_n, int *ret_exponent)
{
    char text[40];
    int n = 0;

    /* Any 15 digits survive a normal float64 and back, so fewer need no try of their own. */
    for (int more = value < 0x1p-1000 ? 0 : 14; more <= 16; more++) {
        snprintf(text, sizeof(text), "%.*e", more, value);
        if (strtod(text, NULL) == value || next_reads_as(value, text))
            break;
    }
    for (const char *at = text; *at != 'e'; at++)
        if (is_digit(*at))
            digits[n++] = *at;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    *ret_n = n;
    *ret_exponent = atoi(strchr(text, 'e') + 1);
}

/* Above a power of two neighbours are twice as far as below: a number that is not the nearest of
 * its length, but the next above it, may still read back. Then that is in text. */
static bool next_reads_as(double value, char text[static 40])
{
    char next[40], *at = strchr(text, 'e');
    int exponent;

    if (frexp(value, &exponent) != 0.5)
        return false;
    strcpy(next, text);
    at = next + (at - text) - 1;
    while (*at == '9' && at > next)
        *at-- = '0';
    if (!is_digit(*at) || *at == '9')
        return false;
    ++*at;
    if (strtod(next, NULL) != value)
        return false;
    strcpy(text, next);
    return true;
}

static bool is_hex(char c)
{
    return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f');
}
