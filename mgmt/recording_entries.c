#include "recording_entries.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../writer/segment.h"

enum { FOLDER_SIZE = 2048, PATH_SIZE = 4096, LINE_SIZE_MAX = 64 << 20 };

struct recording_entries {
    char folder[FOLDER_SIZE], path[PATH_SIZE];
    const char *name;
    FILE *newest;  /* was or is entries.ndjson; null: not there yet */
    off_t offset;  /* behind its last whole line that was read */
    uint32_t done; /* the entries of segments up to this number have been read */
    char *line;
    size_t line_capacity;
    bool (*visit)(void *context, const char *line, size_t size);
    void *context;
    bool ended; /* visit has said so */
};

static int open_next(struct recording_entries *entries);
static int read_segments(struct recording_entries *entries, FILE *before);
static int read_segment(struct recording_entries *entries);
static int read_lines(struct recording_entries *entries, FILE *file, off_t *offset);
static bool is_file(FILE *file, const char *path);
static bool pass_over(void *context, const char *line, size_t size);

struct recording_entries *recording_entries_open(const char *folder, const char *name,
                                                 bool from_now)
{
    struct recording_entries *entries = calloc(1, sizeof(*entries));

    if (!entries)
        return NULL;
    snprintf(entries->folder, sizeof(entries->folder), "%s", folder);
    entries->name = name;
    if (from_now)
        recording_entries_step(entries, pass_over, NULL);
    return entries;
}

int recording_entries_step(struct recording_entries *entries,
                           bool (*visit)(void *context, const char *line, size_t size),
                           void *context)
{
    int err = 0;

    entries->visit = visit;
    entries->context = context;
    entries->ended = false;
    if (access(entries->folder, F_OK))
        return -errno;
    if (!entries->newest)
        err = open_next(entries);
    while (!err && !entries->ended && entries->newest) {
        bool renamed;

        snprintf(entries->path, sizeof(entries->path), "%s/" SEGMENT_ENTRIES_NAME, entries->folder);
        renamed = !is_file(entries->newest, entries->path); /* asked first: it grows no more then */
        err = read_lines(entries, entries->newest, &entries->offset);
        if (err || !renamed || entries->ended)
            break;
        err = open_next(entries);
    }
    return err;
}

const char *recording_entries_path(const struct recording_entries *entries)
{
    return entries->path;
}

void recording_entries_close(struct recording_entries *entries)
{
    if (!entries)
        return;
    if (entries->newest)
        fclose(entries->newest);
    free(entries->line);
    free(entries);
}

/* It is opened before others are looked for: what is renamed meanwhile is known by its file. */
static int open_next(struct recording_entries *entries)
{
    FILE *before = entries->newest;
    int err;

    snprintf(entries->path, sizeof(entries->path), "%s/" SEGMENT_ENTRIES_NAME, entries->folder);
    entries->newest = fopen(entries->path, "re");
    err = entries->newest || errno == ENOENT ? 0 : -errno;
    entries->offset = 0;
    if (!err)
        err = read_segments(entries, before);
    if (before)
        fclose(before);
    return err;
}

/* before: has been read already. */
static int read_segments(struct recording_entries *entries, FILE *before)
{
    struct segment_info *segments = NULL;
    unsigned n = 0;
    int err = segment_list(entries->folder, entries->name, &segments, &n, NULL);

    for (unsigned i = 0; i < n && !err && !entries->ended; i++) {
        if (segments[i].name.number <= entries->done || !segments[i].bytes[SEGMENT_ENTRIES])
            continue;
        err = segment_path(entries->folder, entries->name, &segments[i].name, SEGMENT_ENTRIES,
                           entries->path, sizeof(entries->path));
        if (!err && is_file(entries->newest, entries->path))
            break;
        if (!err && !is_file(before, entries->path))
            err = read_segment(entries);
        entries->done = segments[i].name.number;
    }
    free(segments);
    return err;
}

static int read_segment(struct recording_entries *entries)
{
    FILE *file = fopen(entries->path, "re");
    off_t offset = 0;
    int err;

    if (!file)
        return errno == ENOENT ? 0 : -errno; /* deleted since it was listed */
    err = read_lines(entries, file, &offset);
    fclose(file);
    return err;
}

/* Whole lines from *offset on, which moves behind the last. */
static int read_lines(struct recording_entries *entries, FILE *file, off_t *offset)
{
    ssize_t n;

    if (fseeko(file, *offset, SEEK_SET)) /* reads anew what has come */
        return -errno;
    while (!entries->ended && (n = getline(&entries->line, &entries->line_capacity, file)) > 0 &&
           entries->line[n - 1] == '\n') {
        *offset += n;
        if (n > 1 && n < LINE_SIZE_MAX)
            entries->ended = !entries->visit(entries->context, entries->line, (size_t)n - 1);
    }
    return ferror(file) ? -EIO : 0;
}

static bool is_file(FILE *file, const char *path)
{
    struct stat there, open;

    return file && !stat(path, &there) && !fstat(fileno(file), &open) &&
           there.st_ino == open.st_ino && there.st_dev == open.st_dev;
}

static bool pass_over(void *context, const char *line, size_t size)
{
    return true;
}
