/* conf_show.c - a configuration in words: for `config show` and for files of the store. */
#include <stdio.h>
#include <string.h>

#include "conf_row.h"
#include "units.h"

static void show_row(const struct conf_row *row, const void *base, const char *prefix,
                     void (*each)(void *context, const struct conf_value *value), void *context);
static void show_exact_size(uint64_t bytes, char *buffer, size_t size);
static void show_exact_duration(uint64_t ns, char *buffer, size_t size);
static void print_text(const char *text, FILE *out);

void conf_each(const struct conf *conf, void (*each)(void *context, const struct conf_value *value),
               void *context)
{
    char prefix[32];

    for (unsigned i = 0; i < conf->n_sources; i++) {
        snprintf(prefix, sizeof(prefix), "sources[%u]", i);
        for (unsigned r = 0; r < conf_n_source_rows; r++)
            show_row(&conf_source_rows[r], &conf->sources[i], prefix, each, context);
    }
    for (unsigned r = 0; r < conf_n_rows; r++)
        show_row(&conf_rows[r], conf, conf_rows[r].group, each, context);
    for (unsigned i = 0; i < conf->n_jobs; i++) {
        snprintf(prefix, sizeof(prefix), "jobs[%u]", i);
        for (unsigned r = 0; r < conf_n_job_rows; r++)
            show_row(&conf_job_rows[r], &conf->jobs[i], prefix, each, context);
    }
}

void conf_print_job(const struct conf_job *job, FILE *out)
{
    for (unsigned r = 0; r < conf_n_job_rows; r++) {
        const struct conf_row *row = &conf_job_rows[r];
        const void *place = (const char *)job + row->offset;
        char value[64];

        fprintf(out, "%s = ", row->key);
        if (row->type == CONF_TYPE_TEXT || row->type == CONF_TYPE_CHOICE) {
            print_text(*(const char *const *)place, out);
        } else if (row->type == CONF_TYPE_INT) {
            fprintf(out, "%lld", (long long)*(const int64_t *)place);
        } else {
            conf_row_show(row, job, value, sizeof(value));
            print_text(value, out);
        }
        fputs(";\n", out);
    }
}

void conf_row_show(const struct conf_row *row, const void *base, char *buffer, size_t size)
{
    const void *place = (const char *)base + row->offset;
    size_t used = 0;

    switch (row->type) {
    case CONF_TYPE_SIZE:
        show_exact_size(*(const uint64_t *)place, buffer, size);
        break;
    case CONF_TYPE_DURATION:
    case CONF_TYPE_MINUTES:
        show_exact_duration(*(const uint64_t *)place, buffer, size);
        break;
    case CONF_TYPE_INT:
        snprintf(buffer, size, "%lld", (long long)*(const int64_t *)place);
        break;
    case CONF_TYPE_BOOL:
        snprintf(buffer, size, "%s", *(const bool *)place ? "true" : "false");
        break;
    case CONF_TYPE_TEXT:
    case CONF_TYPE_CHOICE:
        snprintf(buffer, size, "%s", *(const char *const *)place);
        break;
    case CONF_TYPE_TEXTS: {
        const struct conf_texts *texts = place;

        *buffer = 0;
        for (unsigned i = 0; i < texts->n && used < size; i++)
            used +=
                (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", texts->text[i]);
        break;
    }
    case CONF_TYPE_CPUS: {
        const struct conf_cpus *cpus = place;

        snprintf(buffer, size, "%u", cpus->n);
        if (!cpus->n || cpus->cpu[0] < 0)
            break;
        used = (size_t)snprintf(buffer, size, "[");
        for (unsigned i = 0; i < cpus->n && used < size; i++)
            used +=
                (size_t)snprintf(buffer + used, size - used, "%s%d", i ? ", " : "", cpus->cpu[i]);
        if (used < size)
            snprintf(buffer + used, size - used, "]");
        break;
    }
    }
}

void conf_row_show_limits(const struct conf_row *row, char *buffer, size_t size)
{
    char least[64], most[64];

    if (row->type == CONF_TYPE_SIZE) {
        show_exact_size((uint64_t)row->min, least, sizeof(least));
        show_exact_size((uint64_t)row->max, most, sizeof(most));
    } else if (row->type == CONF_TYPE_INT) {
        snprintf(least, sizeof(least), "%lld", (long long)row->min);
        snprintf(most, sizeof(most), "%lld", (long long)row->max);
    } else {
        show_exact_duration((uint64_t)row->min, least, sizeof(least));
        show_exact_duration((uint64_t)row->max, most, sizeof(most));
    }
    if (row->max == INT64_MAX)
        snprintf(buffer, size, "must be %s or more", least);
    else
        snprintf(buffer, size, "must be from %s to %s", least, most);
}

static void show_row(const struct conf_row *row, const void *base, const char *prefix,
                     void (*each)(void *context, const struct conf_value *value), void *context)
{
    struct conf_value value = {.initial = row->initial, .help = row->help, .live = row->live};

    snprintf(value.key, sizeof(value.key), "%s.%s", prefix, row->key);
    conf_row_show(row, base, value.value, sizeof(value.value));
    value.is_initial = !strcmp(value.value, row->initial);
    each(context, &value);
}

/* With the largest unit that loses nothing. */
static void show_exact_size(uint64_t bytes, char *buffer, size_t size)
{
    static const char *const names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
    unsigned i = 0;

    for (; bytes && bytes % 1024 == 0 && i < 5; i++)
        bytes /= 1024;
    snprintf(buffer, size, "%llu%s", (unsigned long long)bytes, names[i]);
}

static void show_exact_duration(uint64_t ns, char *buffer, size_t size)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"d", NS_PER_DAY}, {"h", NS_PER_HOUR}, {"m", NS_PER_MIN}, {"s", NS_PER_S},
                 {"ms", NS_PER_MS}, {"us", NS_PER_US},  {"ns", 1}};
    unsigned i = 0;

    while (ns % units[i].ns)
        i++;
    if (ns)
        snprintf(buffer, size, "%llu%s", (unsigned long long)(ns / units[i].ns), units[i].name);
    else
        snprintf(buffer, size, "0");
}

/* A libconfig string. */
static void print_text(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fprintf(out, "\\x%02x", (unsigned char)*text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}
