/* options.h - command line options as tables: one row says name, type, place and help.
 *
 *     static struct { const char *kfl; uint64_t quota; } values;
 *     const struct option_row cmd_job_create_options[] = {
 *         OPTION_TEXT("kfl", 0, "STMT", values.kfl, "the statement"),
 *         OPTION_SIZE("quota", 0, values.quota, "most bytes it may store"),
 *         OPTION_END,
 *     };
 *
 * The same rows make `--help`. A refusal names the option, the value and the way out. Written as
 * `--name value`, `--name=value`, `-x value`, `-xvalue`; `--` ends the options; a lone `-` is an
 * argument. Values are left alone unless their option is given.
 *
 * One thread, at start. */
#ifndef MGMT_OPTIONS_H
#define MGMT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type {
    OPTION_TYPE_FLAG,     /* bool */
    OPTION_TYPE_TEXT,     /* const char *, into argv */
    OPTION_TYPE_TEXTS,    /* struct option_texts: may be given again */
    OPTION_TYPE_INT,      /* int64_t, min..max */
    OPTION_TYPE_SIZE,     /* uint64_t bytes */
    OPTION_TYPE_DURATION, /* uint64_t ns, with a unit */
    OPTION_TYPE_MINUTES,  /* uint64_t ns; a bare number counts minutes */
};

enum { OPTIONS_TEXTS_MAX = 64, OPTIONS_ERROR_SIZE = 512 };

struct option_texts {
    const char *text[OPTIONS_TEXTS_MAX];
    unsigned n;
};

struct option_row {
    const char *name; /* without --; null ends the table */
    char letter;      /* of the short form; 0: none */
    enum option_type type;
    const char *value; /* what help calls the value */
    void *place;       /* where it goes, by type */
    int64_t min, max;  /* of INT */
    bool *given;       /* optional: set when it is given */
    const char *help;
};

#define OPTION_FLAG(n, l, p, h)                           \
    {                                                     \
        n, l, OPTION_TYPE_FLAG, NULL, &(p), 0, 0, NULL, h \
    }
#define OPTION_TEXT(n, l, v, p, h)                     \
    {                                                  \
        n, l, OPTION_TYPE_TEXT, v, &(p), 0, 0, NULL, h \
    }
#define OPTION_TEXTS(n, l, v, p, h)                     \
    {                                                   \
        n, l, OPTION_TYPE_TEXTS, v, &(p), 0, 0, NULL, h \
    }
#define OPTION_INT(n, l, v, p, min, max, h)               \
    {                                                     \
        n, l, OPTION_TYPE_INT, v, &(p), min, max, NULL, h \
    }
#define OPTION_SIZE(n, l, p, h)                             \
    {                                                       \
        n, l, OPTION_TYPE_SIZE, "SIZE", &(p), 0, 0, NULL, h \
    }
#define OPTION_DURATION(n, l, p, h)                             \
    {                                                           \
        n, l, OPTION_TYPE_DURATION, "TIME", &(p), 0, 0, NULL, h \
    }
#define OPTION_MINUTES(n, l, p, h)                            \
    {                                                         \
        n, l, OPTION_TYPE_MINUTES, "MIN", &(p), 0, 0, NULL, h \
    }
#define OPTION_END                                              \
    {                                                           \
        NULL, 0, OPTION_TYPE_FLAG, NULL, NULL, 0, 0, NULL, NULL \
    }

/* Takes the options out of argv[0..argc): arguments move to the front in order. rows: tables, the
 * last one null. -> number of arguments, or -EINVAL with the message. */
int options_parse(const struct option_row *const *tables, int argc, char **argv,
                  char reterr_text[static OPTIONS_ERROR_SIZE]);

/* The rows for people, aligned. */
void options_help(const struct option_row *rows, FILE *out);

/* The word of `words` (n of them) that was probably meant, or null. */
const char *options_nearest(const char *word, const char *const *words, unsigned n);

#endif
