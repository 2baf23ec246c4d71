#include "doctor.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void path_of(const struct doctor *doctor, char path[static DOCTOR_PATH_SIZE],
                    const char *format, va_list args);
static bool read_line(const char *path, char buffer[static DOCTOR_TEXT_SIZE]);

void doctor_tell(const struct doctor *doctor, enum doctor_state state, const char *check,
                 const char *subject, const char *advice, const char *format, ...)
{
    struct doctor_finding finding = {.check = check, .subject = subject, .state = state};
    va_list args;

    va_start(args, format);
    vsnprintf(finding.text, sizeof(finding.text), format, args);
    va_end(args);
    snprintf(finding.advice, sizeof(finding.advice), "%s", state == DOCTOR_OK ? "" : advice);
    doctor->tell(doctor->context, &finding);
}

bool doctor_read(const struct doctor *doctor, char buffer[static DOCTOR_TEXT_SIZE],
                 const char *format, ...)
{
    char path[DOCTOR_PATH_SIZE];
    va_list args;

    va_start(args, format);
    path_of(doctor, path, format, args);
    va_end(args);
    return read_line(path, buffer);
}

int64_t doctor_number(const struct doctor *doctor, const char *format, ...)
{
    char path[DOCTOR_PATH_SIZE], text[DOCTOR_TEXT_SIZE];
    int64_t number;
    va_list args;
    char *end;

    va_start(args, format);
    path_of(doctor, path, format, args);
    va_end(args);
    if (!read_line(path, text))
        return -1;
    number = strtoll(text, &end, 10);
    return end == text ? -1 : number;
}

bool doctor_link(const struct doctor *doctor, char buffer[static DOCTOR_TEXT_SIZE],
                 const char *format, ...)
{
    char path[DOCTOR_PATH_SIZE], target[PATH_MAX];
    const char *slash;
    va_list args;
    ssize_t size;

    va_start(args, format);
    path_of(doctor, path, format, args);
    va_end(args);
    size = readlink(path, target, sizeof(target) - 1);
    if (size <= 0)
        return false;
    target[size] = 0;
    slash = strrchr(target, '/');
    snprintf(buffer, DOCTOR_TEXT_SIZE, "%.255s", slash ? slash + 1 : target);
    return true;
}

bool doctor_in_list(const char *list, int cpu)
{
    while (*list) {
        char *end;
        long first = strtol(list, &end, 10), last = first;

        if (end == list)
            return false;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        if (cpu >= first && cpu <= last)
            return true;
        list = *end == ',' ? end + 1 : end + strlen(end);
    }
    return false;
}

unsigned doctor_pinned(const struct conf *conf, int ret_cpu[static 3 * CONF_LIST_MAX])
{
    const struct conf_cpus *const kinds[] = {&conf->rx, &conf->classifiers, &conf->writers};
    unsigned n = 0;

    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        for (unsigned k = 0; k < kinds[i]->n; k++)
            if (kinds[i]->cpu[k] >= 0)
                ret_cpu[n++] = kinds[i]->cpu[k];
    return n;
}

static void path_of(const struct doctor *doctor, char path[static DOCTOR_PATH_SIZE],
                    const char *format, va_list args)
{
    int size = snprintf(path, DOCTOR_PATH_SIZE, "%s", doctor->root);

    if (size < DOCTOR_PATH_SIZE)
        vsnprintf(path + size, (size_t)(DOCTOR_PATH_SIZE - size), format, args);
}

static bool read_line(const char *path, char buffer[static DOCTOR_TEXT_SIZE])
{
    FILE *file = fopen(path, "re");
    bool found = file && fgets(buffer, DOCTOR_TEXT_SIZE, file);

    if (file)
        fclose(file);
    if (found)
        buffer[strcspn(buffer, "\n")] = 0;
    return found;
}
