#include "numbers.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../writer/index.h"
#include "../writer/segment.h"
#include "files.h"
#include "recording.h"

enum { FILE_SIZE_MAX = 64 };

struct numbers {
    char path[JOB_PATH_SIZE + 16];
    uint64_t first;
    uint64_t written; /* what the file says */
};

static int write_number(struct numbers *numbers, uint64_t number);
static uint64_t look_through(const char *store);
static void look_into(const char *folder, const char *recording, uint64_t *next);
static int take_chunk(void *context, const struct index_chunk *chunk);

int numbers_open(const char *store, struct numbers **ret_numbers, char *reterr_text, size_t size)
{
    struct numbers *numbers = calloc(1, sizeof(*numbers));
    char *text = NULL, *end = NULL;
    size_t text_size;
    int err;

    if (!numbers)
        return -ENOMEM;
    snprintf(numbers->path, sizeof(numbers->path), "%s/streams", store);
    err = file_read(numbers->path, FILE_SIZE_MAX, &text, &text_size);
    if (!err)
        numbers->first = strtoull(text, &end, 10);
    if (err || end == text || *end != '\n') /* not there, or not ours */
        numbers->first = look_through(store);
    free(text);
    err = write_number(numbers, numbers->first + NUMBERS_AHEAD);
    if (err) {
        snprintf(reterr_text, size, "%s: %s", numbers->path, strerror(-err));
        free(numbers);
        return err;
    }
    *ret_numbers = numbers;
    return 0;
}

uint64_t numbers_first(const struct numbers *numbers)
{
    return numbers->first;
}

void numbers_step(struct numbers *numbers, uint64_t next)
{
    if (next + NUMBERS_AHEAD / 2 > numbers->written) /* when it fails: again at the next step */
        write_number(numbers, next + NUMBERS_AHEAD);
}

void numbers_close(struct numbers *numbers, uint64_t next)
{
    if (!numbers)
        return;
    write_number(numbers, next > numbers->first ? next : numbers->first);
    free(numbers);
}

static int write_number(struct numbers *numbers, uint64_t number)
{
    char text[FILE_SIZE_MAX];
    int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)number);
    int err = file_replace(numbers->path, text, (size_t)n, 0640);

    if (!err)
        numbers->written = number;
    return err;
}

/* -> one more than the greatest number in any index. */
static uint64_t look_through(const char *store)
{
    char path[JOB_PATH_SIZE], error[JOB_ERROR_SIZE];
    const struct dirent *entry;
    uint64_t next = 0;
    DIR *dir;

    recording_path(store, "", path);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (job_check_name(entry->d_name, error))
            continue;
        recording_path(store, entry->d_name, path);
        look_into(path, entry->d_name, &next);
    }
    if (dir)
        closedir(dir);
    return next;
}

static void look_into(const char *folder, const char *recording, uint64_t *next)
{
    struct segment_info *segments = NULL;
    unsigned n = 0;
    uint64_t bytes;
    char path[2 * JOB_PATH_SIZE];

    if (segment_list(folder, recording, &segments, &n, &bytes))
        return;
    for (unsigned i = 0; i < n; i++)
        if (!segment_path(folder, recording, &segments[i].name, SEGMENT_PCAPNG, path, sizeof(path)))
            index_walk(path, true, take_chunk, next, NULL);
    free(segments);
}

static int take_chunk(void *context, const struct index_chunk *chunk)
{
    uint64_t *next = context;

    for (uint32_t i = 0; i < chunk->n_streams; i++)
        if (chunk->streams[i].number >= *next)
            *next = chunk->streams[i].number + 1;
    return 0;
}
