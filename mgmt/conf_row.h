/* conf_row.h - the rows of conf.def as a table, for those who read and show configurations. */
#ifndef MGMT_CONF_ROW_H
#define MGMT_CONF_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "conf.h"

enum conf_type {
    CONF_TYPE_SIZE,     /* uint64_t bytes */
    CONF_TYPE_DURATION, /* uint64_t ns */
    CONF_TYPE_MINUTES,  /* uint64_t ns; a bare number counts minutes */
    CONF_TYPE_INT,      /* int64_t */
    CONF_TYPE_BOOL,
    CONF_TYPE_TEXT,   /* const char *, never null */
    CONF_TYPE_TEXTS,  /* struct conf_texts */
    CONF_TYPE_CPUS,   /* struct conf_cpus */
    CONF_TYPE_CHOICE, /* const char * */
};

struct conf_row {
    const char *group, *key;
    enum conf_type type;
    size_t offset; /* in struct conf, conf_source, conf_job */
    const char *initial;
    int64_t min, max; /* of TEXT: bytes, and nothing */
    bool live;
    const char *help;
};

extern const struct conf_row conf_rows[], conf_source_rows[], conf_job_rows[];
extern const unsigned conf_n_rows, conf_n_source_rows, conf_n_job_rows;

/* The value as it would be written, for people and for comparing. */
void conf_row_show(const struct conf_row *row, const void *base, char *buffer, size_t size);
/* "must be from 1 to 64" */
void conf_row_show_limits(const struct conf_row *row, char *buffer, size_t size);

/* conf_numbers.c: are all numbers of the file read as they stand there? -> 0 or -errno with the
 * message. */
int conf_check_numbers(const char *path, char reterr_text[static CONF_ERROR_SIZE]);

#endif
