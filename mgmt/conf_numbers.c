/* conf_numbers.c - whole numbers that libconfig would read as other ones.
 *
 * Of a number of more than 32 bits without an L at its end it keeps the lower 32, silently (1.5): a
 * limit of 5000000000 bytes would be one of 705032704. So the text is looked through before. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_row.h"
#include "files.h"

enum { FILE_SIZE_MAX = 64 << 20 };

static const char *skip_comment(const char *at);
static const char *skip_text(const char *at);
static const char *skip_name(const char *at);
static const char *scan_number(const char *at, bool *ret_too_large);

int conf_check_numbers(const char *path, char reterr_text[static CONF_ERROR_SIZE])
{
    char *text;
    size_t size;
    unsigned line = 1;
    int err = file_read(path, FILE_SIZE_MAX, &text, &size);

    if (err) {
        snprintf(reterr_text, CONF_ERROR_SIZE, "%.400s: %s", path, strerror(-err));
        return err;
    }
    for (const char *at = text, *next; !err && *at; at = next) {
        bool too_large = false;

        next = skip_comment(at);
        if (next == at)
            next = skip_text(at);
        if (next == at)
            next = skip_name(at);
        if (next == at)
            next = scan_number(at, &too_large);
        if (next == at)
            next++;
        if (too_large) {
            err = -EINVAL;
            snprintf(reterr_text, CONF_ERROR_SIZE,
                     "%.400s:%u: %.*s: too large for a plain number: write it with a unit, "
                     "\"5Gi\", or with an L at its end",
                     path, line, (int)(next - at < 80 ? next - at : 80), at);
        }
        for (; at < next; at++)
            line += *at == '\n';
    }
    free(text);
    return err;
}

static const char *skip_comment(const char *at)
{
    const char *end;

    if (*at == '#' || !strncmp(at, "//", 2))
        return at + strcspn(at, "\n");
    if (strncmp(at, "/*", 2) != 0)
        return at;
    end = strstr(at + 2, "*/");
    return end ? end + 2 : at + strlen(at);
}

static const char *skip_text(const char *at)
{
    if (*at != '"')
        return at;
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

static const char *skip_name(const char *at)
{
    if (isalpha((unsigned char)*at) || *at == '*')
        while (isalnum((unsigned char)*at) || (*at && strchr("-_*", *at)))
            at++;
    return at;
}

static const char *scan_number(const char *at, bool *ret_too_large)
{
    unsigned long long value, most;
    char *end;

    if (!isdigit((unsigned char)*at))
        return at;
    errno = 0;
    value = strtoull(at, &end, at[0] == '0' && tolower((unsigned char)at[1]) == 'x' ? 16 : 10);
    most = *end == 'L' ? INT64_MAX : INT32_MAX;
    *ret_too_large = (errno || value > most) && !strchr(".eE", *end ? *end : ' ');
    while (isalnum((unsigned char)*end) || *end == '.')
        end++;
    return end;
}
