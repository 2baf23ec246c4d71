#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

enum { WORD_SIZE_MAX = 64, NAMES_MAX = 128 };

static int parse_long(const struct option_row *const *tables, char **argv, int argc, int *at,
                      char *reterr_text);
static int parse_letters(const struct option_row *const *tables, char **argv, int argc, int *at,
                         char *reterr_text);
static const struct option_row *find_name(const struct option_row *const *tables, const char *name,
                                          size_t size);
static const struct option_row *find_letter(const struct option_row *const *tables, char letter);
static int unknown(const struct option_row *const *tables, const char *name, size_t size,
                   char *reterr_text);
static int store(const struct option_row *row, const char *text, char *reterr_text);
static unsigned distance(const char *a, const char *b);

int options_parse(const struct option_row *const *tables, int argc, char **argv,
                  char reterr_text[static OPTIONS_ERROR_SIZE])
{
    int n = 0;

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        int err = 0;

        if (word[0] != '-' || !word[1]) {
            argv[n++] = argv[i];
        } else if (!strcmp(word, "--")) {
            while (++i < argc)
                argv[n++] = argv[i];
        } else if (word[1] == '-') {
            err = parse_long(tables, argv, argc, &i, reterr_text);
        } else {
            err = parse_letters(tables, argv, argc, &i, reterr_text);
        }
        if (err)
            return err;
    }
    return n;
}

void options_help(const struct option_row *rows, FILE *out)
{
    int width = 0;

    for (const struct option_row *row = rows; row->name; row++) {
        int size = (int)(strlen(row->name) + (row->value ? strlen(row->value) + 1 : 0));

        width = size > width ? size : width;
    }
    for (const struct option_row *row = rows; row->name; row++) {
        char left[2 * WORD_SIZE_MAX];

        snprintf(left, sizeof(left), "%s%s%s", row->name, row->value ? " " : "",
                 row->value ? row->value : "");
        if (row->letter)
            fprintf(out, "  -%c, ", row->letter);
        else
            fprintf(out, "      ");
        fprintf(out, "--%-*s  %s\n", width, left, row->help);
    }
}

const char *options_nearest(const char *word, const char *const *words, unsigned n)
{
    const char *best = NULL;
    unsigned best_distance = 3; /* further away is another word */

    if (strlen(word) >= WORD_SIZE_MAX)
        return NULL;
    for (unsigned i = 0; i < n; i++) {
        unsigned d;

        if (strlen(words[i]) >= WORD_SIZE_MAX)
            continue;
        d = distance(word, words[i]);
        if (d < best_distance && d < strlen(words[i])) {
            best = words[i];
            best_distance = d;
        }
    }
    /* No spelling mistake: perhaps the word was not finished. */
    for (unsigned i = 0; !best && strlen(word) >= 2 && i < n; i++)
        if (!strncmp(word, words[i], strlen(word)))
            best = words[i];
    return best;
}

static int parse_long(const struct option_row *const *tables, char **argv, int argc, int *at,
                      char *reterr_text)
{
    const char *name = argv[*at] + 2;
    const char *value = strchr(name, '=');
    size_t size = value ? (size_t)(value - name) : strlen(name);
    const struct option_row *row = find_name(tables, name, size);

    if (!row)
        return unknown(tables, name, size, reterr_text);
    if (row->type == OPTION_TYPE_FLAG) {
        if (value) {
            snprintf(reterr_text, OPTIONS_ERROR_SIZE, "--%s takes no value: write it alone",
                     row->name);
            return -EINVAL;
        }
        return store(row, NULL, reterr_text);
    }
    if (value)
        return store(row, value + 1, reterr_text);
    if (*at + 1 >= argc) {
        snprintf(reterr_text, OPTIONS_ERROR_SIZE, "--%s needs a value: --%s %s", row->name,
                 row->name, row->value);
        return -EINVAL;
    }
    return store(row, argv[++*at], reterr_text);
}

static int parse_letters(const struct option_row *const *tables, char **argv, int argc, int *at,
                         char *reterr_text)
{
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        const struct option_row *row = find_letter(tables, *letter);
        int err;

        if (!row) {
            snprintf(reterr_text, OPTIONS_ERROR_SIZE, "unknown option -%c: see --help", *letter);
            return -EINVAL;
        }
        if (row->type == OPTION_TYPE_FLAG) {
            err = store(row, NULL, reterr_text);
            if (err)
                return err;
            continue;
        }
        if (letter[1])
            return store(row, letter + 1, reterr_text);
        if (*at + 1 >= argc) {
            snprintf(reterr_text, OPTIONS_ERROR_SIZE, "-%c needs a value: -%c %s", row->letter,
                     row->letter, row->value);
            return -EINVAL;
        }
        return store(row, argv[++*at], reterr_text);
    }
    return 0;
}

static const struct option_row *find_name(const struct option_row *const *tables, const char *name,
                                          size_t size)
{
    for (; *tables; tables++)
        for (const struct option_row *row = *tables; row->name; row++)
            if (strlen(row->name) == size && !memcmp(row->name, name, size))
                return row;
    return NULL;
}

static const struct option_row *find_letter(const struct option_row *const *tables, char letter)
{
    for (; *tables; tables++)
        for (const struct option_row *row = *tables; row->name; row++)
            if (row->letter == letter)
                return row;
    return NULL;
}

static int unknown(const struct option_row *const *tables, const char *name, size_t size,
                   char *reterr_text)
{
    char word[WORD_SIZE_MAX];
    const char *names[NAMES_MAX];
    const char *nearest;
    unsigned n = 0;

    snprintf(word, sizeof(word), "%.*s", (int)(size < WORD_SIZE_MAX ? size : WORD_SIZE_MAX - 1),
             name);
    for (; *tables; tables++)
        for (const struct option_row *row = *tables; row->name && n < NAMES_MAX; row++)
            names[n++] = row->name;
    nearest = options_nearest(word, names, n);
    if (nearest)
        snprintf(reterr_text, OPTIONS_ERROR_SIZE, "unknown option --%s: did you mean --%s?", word,
                 nearest);
    else
        snprintf(reterr_text, OPTIONS_ERROR_SIZE, "unknown option --%s: see --help", word);
    return -EINVAL;
}

static int store_int(const struct option_row *row, const char *text, char *reterr_text)
{
    long long value;
    char *end;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < row->min || value > row->max) {
        if (row->max == INT64_MAX)
            snprintf(reterr_text, OPTIONS_ERROR_SIZE, "--%s %s: must be a number, %lld or more",
                     row->name, text, (long long)row->min);
        else
            snprintf(reterr_text, OPTIONS_ERROR_SIZE, "--%s %s: must be a number from %lld to %lld",
                     row->name, text, (long long)row->min, (long long)row->max);
        return -EINVAL;
    }
    *(int64_t *)row->place = value;
    return 0;
}

static int store(const struct option_row *row, const char *text, char *reterr_text)
{
    const char *help = units_duration_help;
    int err = 0;

    switch (row->type) {
    case OPTION_TYPE_FLAG:
        *(bool *)row->place = true;
        break;
    case OPTION_TYPE_TEXT:
        *(const char **)row->place = text;
        break;
    case OPTION_TYPE_TEXTS: {
        struct option_texts *texts = row->place;

        if (texts->n == OPTIONS_TEXTS_MAX) {
            snprintf(reterr_text, OPTIONS_ERROR_SIZE, "--%s: given more than %d times", row->name,
                     OPTIONS_TEXTS_MAX);
            return -EINVAL;
        }
        texts->text[texts->n++] = text;
        break;
    }
    case OPTION_TYPE_INT:
        err = store_int(row, text, reterr_text);
        if (err)
            return err;
        break;
    case OPTION_TYPE_SIZE:
        help = units_size_help;
        err = units_parse_size(text, row->place);
        break;
    case OPTION_TYPE_DURATION:
        err = units_parse_duration(text, 0, row->place);
        break;
    case OPTION_TYPE_MINUTES:
        help = "minutes as a number, or a duration with a unit: 90, 1h30m";
        err = units_parse_duration(text, NS_PER_MIN, row->place);
        break;
    }
    if (err) {
        snprintf(reterr_text, OPTIONS_ERROR_SIZE, "--%s %.200s: %s%s", row->name, text,
                 err == -ERANGE ? "too large; " : "", help);
        return err;
    }
    if (row->given)
        *row->given = true;
    return 0;
}

/* Levenshtein; both words are shorter than WORD_SIZE_MAX. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WORD_SIZE_MAX];
    size_t n = strlen(b);

    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        unsigned diagonal = row[0];

        row[0] = i + 1;
        for (unsigned j = 0; j < n; j++) {
            unsigned least = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            least = row[j] + 1 < least ? row[j] + 1 : least;
            row[j + 1] = diagonal + 1 < least ? diagonal + 1 : least;
        }
    }
    return row[n];
}
