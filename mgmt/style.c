#include "style.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_colours(FILE *out);

const char *style_begin(enum style style, FILE *out)
{
    static const char *const codes[STYLE_COUNT] = {
        [STYLE_PLAIN] = "",        [STYLE_BOLD] = "\033[1m",  [STYLE_DIM] = "\033[2m",
        [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[31m"};

    return has_colours(out) ? codes[style] : "";
}

const char *style_end(FILE *out)
{
    return has_colours(out) ? "\033[0m" : "";
}

enum style style_of_state(const char *state)
{
    static const struct {
        const char *state;
        enum style style;
    } rows[] = {
        {"recording", STYLE_GOOD}, {"running", STYLE_GOOD}, {"ok", STYLE_GOOD},
        {"scheduled", STYLE_BOLD}, {"stopped", STYLE_WARN}, {"failed", STYLE_BAD},
        {"refused", STYLE_BAD},    {"expired", STYLE_DIM},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (!strcmp(rows[i].state, state))
            return rows[i].style;
    return STYLE_PLAIN;
}

/* https://no-color.org: set, and not empty. */
static bool has_colours(FILE *out)
{
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return isatty(fileno(out)) && (!no || !*no) && terminal && *terminal &&
           strcmp(terminal, "dumb") != 0;
}
