#include "units.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../kfl-jit/ensure.h"

const char units_size_help[] = "a size is a number of bytes or has a unit: 1500, 500Mi, 5Gi, 64MB";
const char units_duration_help[] = "a duration has a unit: 250ms, 30s, 5m, 1h30m, 1d";
const char units_time_help[] = "a time is RFC 3339: 2026-01-02T03:04:05Z";

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"B", 1},
    {"k", 1000},
    {"kB", 1000},
    {"K", 1000},
    {"KB", 1000},
    {"M", 1000000},
    {"MB", 1000000},
    {"G", 1000000000},
    {"GB", 1000000000},
    {"T", UINT64_C(1000000000000)},
    {"TB", UINT64_C(1000000000000)},
    {"P", UINT64_C(1000000000000000)},
    {"PB", UINT64_C(1000000000000000)},
    {"Ki", UINT64_C(1) << 10},
    {"KiB", UINT64_C(1) << 10},
    {"Mi", UINT64_C(1) << 20},
    {"MiB", UINT64_C(1) << 20},
    {"Gi", UINT64_C(1) << 30},
    {"GiB", UINT64_C(1) << 30},
    {"Ti", UINT64_C(1) << 40},
    {"TiB", UINT64_C(1) << 40},
    {"Pi", UINT64_C(1) << 50},
    {"PiB", UINT64_C(1) << 50},
    {NULL, 0},
};

/* From the longest: formatting goes down this list. */
static const struct unit duration_units[] = {
    {"d", NS_PER_DAY}, {"h", NS_PER_HOUR}, {"m", NS_PER_MIN}, {"s", NS_PER_S},
    {"ms", NS_PER_MS}, {"us", NS_PER_US},  {"ns", 1},         {NULL, 0},
};

static int scan_number(const char **at, uint64_t *ret_whole, uint64_t *ret_nano);
static const struct unit *scan_unit(const char **at, const struct unit *units);
static int scaled(uint64_t whole, uint64_t nano, uint64_t factor, uint64_t *ret);
static bool scan_digits(const char **at, unsigned n, int *ret);
static int scan_date(const char **at, struct tm *ret);
static int scan_offset(const char **at, int *ret_seconds);

int units_parse_size(const char *text, uint64_t *ret_bytes)
{
    const struct unit *unit;
    uint64_t whole, nano, bytes;
    uint64_t factor = 1;
    int err;

    err = scan_number(&text, &whole, &nano);
    if (err)
        return err;
    if (*text) {
        unit = scan_unit(&text, size_units);
        if (!unit || *text)
            return -EINVAL;
        factor = unit->factor;
    }
    if (nano && factor == 1)
        return -EINVAL;
    err = scaled(whole, nano, factor, &bytes);
    if (!err)
        *ret_bytes = bytes;
    return err;
}

int units_parse_duration(const char *text, uint64_t bare_ns, uint64_t *ret_ns)
{
    uint64_t smallest = UINT64_MAX;
    uint64_t sum = 0;

    do {
        const struct unit *unit;
        uint64_t whole, nano, part, factor;
        int err = scan_number(&text, &whole, &nano);

        if (err)
            return err;
        unit = scan_unit(&text, duration_units);
        if (unit)
            factor = unit->factor;
        else if (!*text && smallest == UINT64_MAX && (bare_ns || (!whole && !nano)))
            factor = bare_ns;
        else
            return -EINVAL;
        if (factor >= smallest) /* 5m1h, 1h1h */
            return -EINVAL;
        smallest = factor;
        err = scaled(whole, nano, factor, &part);
        if (err)
            return err;
        if (__builtin_add_overflow(sum, part, &sum))
            return -ERANGE;
    } while (*text);
    *ret_ns = sum;
    return 0;
}

int units_parse_time(const char *text, uint64_t *ret_ns)
{
    struct tm tm = {0};
    uint64_t nano = 0;
    int offset;
    time_t seconds;

    if (scan_date(&text, &tm))
        return -EINVAL;
    if (*text == '.') {
        unsigned n = 0;

        for (text++; *text >= '0' && *text <= '9'; text++, n++)
            if (n < 9)
                nano = nano * 10 + (uint64_t)(*text - '0');
        if (!n)
            return -EINVAL;
        for (; n < 9; n++)
            nano *= 10;
    }
    if (scan_offset(&text, &offset) || *text)
        return -EINVAL;
    seconds = timegm(&tm) - offset;
    if (seconds < 0 || (uint64_t)seconds >= UINT64_MAX / NS_PER_S)
        return -ERANGE;
    *ret_ns = (uint64_t)seconds * NS_PER_S + nano;
    return 0;
}

char *units_format_size(uint64_t bytes, char buffer[static UNITS_TEXT_SIZE])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned i = 0;

    while (value >= 1023.95 && i + 1 < sizeof(names) / sizeof(names[0])) {
        value /= 1024;
        i++;
    }
    snprintf(buffer, UNITS_TEXT_SIZE, i ? "%.1f %s" : "%.0f %s", value, names[i]);
    return buffer;
}

char *units_format_count(uint64_t n, char buffer[static UNITS_TEXT_SIZE])
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    char *out = buffer;

    for (int i = 0; i < size; i++) {
        if (i && (size - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = 0;
    return buffer;
}

char *units_format_duration(uint64_t ns, char buffer[static UNITS_TEXT_SIZE])
{
    size_t used = 0;
    unsigned parts = 0;

    for (const struct unit *unit = duration_units; unit->name && parts < 2; unit++) {
        if (ns < unit->factor) {
            parts += parts > 0; /* 1d0h5m is said as 1d */
            continue;
        }
        used += (size_t)snprintf(buffer + used, UNITS_TEXT_SIZE - used, "%llu%s",
                                 (unsigned long long)(ns / unit->factor), unit->name);
        ns %= unit->factor;
        parts++;
    }
    if (!used)
        snprintf(buffer, UNITS_TEXT_SIZE, "0s");
    return buffer;
}

char *units_format_time(uint64_t ns, char buffer[static UNITS_TEXT_SIZE])
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm tm;
    size_t used;

    gmtime_r(&seconds, &tm);
    used = strftime(buffer, UNITS_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    ensure(used > 0);
    snprintf(buffer + used, UNITS_TEXT_SIZE - used, ".%09lluZ",
             (unsigned long long)(ns % NS_PER_S));
    return buffer;
}

char *units_format_time_short(uint64_t ns, char buffer[static UNITS_TEXT_SIZE])
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    ensure(strftime(buffer, UNITS_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &tm) > 0);
    return buffer;
}

/* 12 or 12.5: the part behind the point in billionths, further digits are refused. */
static int scan_number(const char **at, uint64_t *ret_whole, uint64_t *ret_nano)
{
    const char *text = *at;
    uint64_t whole = 0;
    uint64_t nano = 0;
    unsigned n = 0;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*text - '0'), &whole))
            return -ERANGE;
    if (*text == '.') {
        for (text++; *text >= '0' && *text <= '9'; text++, n++) {
            if (n == 9)
                return -EINVAL;
            nano = nano * 10 + (uint64_t)(*text - '0');
        }
        if (!n)
            return -EINVAL;
        for (; n < 9; n++)
            nano *= 10;
    }
    *at = text;
    *ret_whole = whole;
    *ret_nano = nano;
    return 0;
}

/* The unit is the run of letters here. */
static const struct unit *scan_unit(const char **at, const struct unit *units)
{
    size_t size = strspn(*at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    for (; units->name; units++) {
        if (size && strlen(units->name) == size && !memcmp(units->name, *at, size)) {
            *at += size;
            return units;
        }
    }
    return NULL;
}

static int scaled(uint64_t whole, uint64_t nano, uint64_t factor, uint64_t *ret)
{
    uint64_t value;

    if (__builtin_mul_overflow(whole, factor, &value) ||
        __builtin_add_overflow(value, (uint64_t)((unsigned __int128)nano * factor / NS_PER_S),
                               &value))
        return -ERANGE;
    *ret = value;
    return 0;
}

static bool scan_digits(const char **at, unsigned n, int *ret)
{
    int value = 0;

    for (unsigned i = 0; i < n; i++) {
        char c = (*at)[i];

        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += n;
    *ret = value;
    return true;
}

static int scan_date(const char **at, struct tm *ret)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *text = *at;
    int year, leap;

    if (!scan_digits(&text, 4, &year) || *text++ != '-' || !scan_digits(&text, 2, &ret->tm_mon) ||
        *text++ != '-' || !scan_digits(&text, 2, &ret->tm_mday) || !strchr("Tt ", *text) ||
        !*text++ || !scan_digits(&text, 2, &ret->tm_hour) || *text++ != ':' ||
        !scan_digits(&text, 2, &ret->tm_min) || *text++ != ':' ||
        !scan_digits(&text, 2, &ret->tm_sec))
        return -EINVAL;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (ret->tm_mon < 1 || ret->tm_mon > 12 || ret->tm_mday < 1 ||
        ret->tm_mday > days[ret->tm_mon - 1] + (ret->tm_mon == 2 ? leap : 0) || ret->tm_hour > 23 ||
        ret->tm_min > 59 || ret->tm_sec > 59)
        return -EINVAL;
    ret->tm_year = year - 1900;
    ret->tm_mon--;
    *at = text;
    return 0;
}

static int scan_offset(const char **at, int *ret_seconds)
{
    const char *text = *at;
    int sign, hours, minutes;

    if (*text == 'Z' || *text == 'z') {
        *at = text + 1;
        *ret_seconds = 0;
        return 0;
    }
    if (*text != '+' && *text != '-')
        return -EINVAL;
    sign = *text++ == '-' ? -1 : 1;
    if (!scan_digits(&text, 2, &hours) || *text++ != ':' || !scan_digits(&text, 2, &minutes) ||
        hours > 23 || minutes > 59)
        return -EINVAL;
    *at = text;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return 0;
}
