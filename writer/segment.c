#include "segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../dataplane/pcapng_block.h"

static const char *const suffixes[SEGMENT_FILE_COUNT] = {".pcapng", ".idx", ".entries.ndjson"};
enum { CLOSING_SIZE = PCAPNG_PADDING_MIN + sizeof(struct chunk_directory) };

static struct segment_info *info_of(struct segment_info **segments, unsigned *n,
                                    const struct segment_name *name);
static int by_number(const void *a, const void *b);
static void chunk_close_plain(struct chunk *chunk);
static bool chunk_fits(const struct chunk *chunk, uint32_t size);

int segment_path(const char *folder, const char *recording, const struct segment_name *name,
                 enum segment_file file, char *ret_path, size_t size)
{
    time_t start = (time_t)name->start_s;
    char text[32];
    struct tm tm;
    int n;

    gmtime_r(&start, &tm);
    strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm);
    n = snprintf(ret_path, size, "%s%s%s-%s-%06u%s", folder, *folder ? "/" : "", recording, text,
                 name->number, suffixes[file]);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

bool segment_name_parse(const char *file_name, const char *recording, struct segment_name *ret_name,
                        enum segment_file *ret_file)
{
    size_t prefix = strlen(recording);
    struct segment_name name;
    struct tm tm = {0};
    char again[512];
    const char *end;
    char *number_end;

    if (strncmp(file_name, recording, prefix) || file_name[prefix] != '-')
        return false;
    end = strptime(file_name + prefix + 1, "%Y%m%dT%H%M%SZ-", &tm);
    if (!end || *end < '0' || *end > '9')
        return false;
    name.start_s = (uint64_t)timegm(&tm);
    name.number = (uint32_t)strtoul(end, &number_end, 10);
    for (unsigned i = 0; i < SEGMENT_FILE_COUNT; i++) {
        if (strcmp(number_end, suffixes[i]))
            continue;
        /* Only the spelling that we write. */
        if (segment_path("", recording, &name, i, again, sizeof(again)) || strcmp(again, file_name))
            return false;
        *ret_name = name;
        *ret_file = i;
        return true;
    }
    return false;
}

int segment_list(const char *folder, const char *recording, struct segment_info **ret_segments,
                 unsigned *ret_n, uint64_t *ret_bytes)
{
    struct segment_info *segments = NULL;
    DIR *dir = opendir(folder);
    struct dirent *file;
    uint64_t bytes = 0;
    unsigned n = 0;
    int error = 0;

    if (!dir && errno != ENOENT)
        return -errno;
    while (dir && (file = readdir(dir))) {
        struct segment_name name;
        enum segment_file which;
        struct segment_info *info;
        struct stat stat;

        if (fstatat(dirfd(dir), file->d_name, &stat, AT_SYMLINK_NOFOLLOW) || !S_ISREG(stat.st_mode))
            continue;
        bytes += (uint64_t)stat.st_size;
        if (!segment_name_parse(file->d_name, recording, &name, &which))
            continue;
        info = info_of(&segments, &n, &name);
        if (!info) {
            error = -ENOMEM;
            break;
        }
        info->bytes[which] = (uint64_t)stat.st_size;
    }
    if (dir)
        closedir(dir);
    if (error) {
        free(segments);
        return error;
    }
    if (n)
        qsort(segments, n, sizeof(*segments), by_number);
    *ret_segments = segments;
    *ret_n = n;
    if (ret_bytes)
        *ret_bytes = bytes;
    return 0;
}

void segment_head(struct chunk *chunk, const struct segment_about *about, unsigned n,
                  unsigned *first)
{
    if (!*first) {
        const struct pcapng_section section = {.hardware = about->hardware,
                                               .os = about->os,
                                               .application = about->application,
                                               .comment = about->recording};

        chunk->used += pcapng_section_block(chunk->data + chunk->used, &section);
    }
    for (; *first < n; ++*first) {
        const struct interface *interface = interface_get(*first);
        const struct pcapng_interface block = {.name = interface->name,
                                               .description = interface->description,
                                               .filter = about->statement,
                                               .snaplen = interface->snaplen,
                                               .linktype = interface->linktype};

        if (!chunk_fits(chunk, pcapng_interface_block(NULL, &block)))
            break;
        chunk->used += pcapng_interface_block(chunk->data + chunk->used, &block);
    }
    chunk_close_plain(chunk);
}

void segment_secrets(struct chunk *chunk, const char *lines, uint32_t size)
{
    chunk->used = pcapng_secrets_block(chunk->data, lines, size);
    chunk_close_plain(chunk);
}

uint32_t segment_secrets_max(uint32_t chunk_size)
{
    return chunk_size - 2 * CHUNK_ALIGN - CLOSING_SIZE;
}

void segment_tail(struct chunk *chunk, const struct segment_statistics *statistics, unsigned n,
                  unsigned *first)
{
    for (; *first < n; ++*first) {
        uint64_t packets = statistics->packets[*first], lost = statistics->lost[*first];
        const struct pcapng_statistics block = {
            .interface = *first,
            .ts_ns = statistics->last_ns,
            .start_ns = statistics->first_ns,
            .end_ns = statistics->last_ns,
            .received = packets + lost,
            .os_dropped = lost,
            .accepted = packets + lost,
            .delivered = packets,
            .comment =
                lost ? "dropped: no free chunk, the disk was too slow (drop_no_chunk)" : NULL,
        };

        if (!packets && !lost)
            continue;
        if (!chunk_fits(chunk, pcapng_statistics_block(NULL, &block)))
            break;
        chunk->used += pcapng_statistics_block(chunk->data + chunk->used, &block);
    }
    chunk_close_plain(chunk);
}

static void chunk_close_plain(struct chunk *chunk)
{
    const struct chunk_directory directory = {0};

    chunk_close(chunk, &directory, NULL, NULL, NULL);
}

static bool chunk_fits(const struct chunk *chunk, uint32_t size)
{
    return chunk->used + size + CLOSING_SIZE + CHUNK_ALIGN <= chunk->size;
}

static struct segment_info *info_of(struct segment_info **segments, unsigned *n,
                                    const struct segment_name *name)
{
    struct segment_info *grown;

    for (unsigned i = 0; i < *n; i++)
        if ((*segments)[i].name.number == name->number &&
            (*segments)[i].name.start_s == name->start_s)
            return &(*segments)[i];
    /* Doubles at powers of two. */
    if (!(*n & (*n - 1))) {
        grown = realloc(*segments, (*n ? 2 * *n : 1) * sizeof(**segments));
        if (!grown)
            return NULL;
        *segments = grown;
    }
    grown = &(*segments)[(*n)++];
    *grown = (struct segment_info){.name = *name};
    return grown;
}

static int by_number(const void *a, const void *b)
{
    const struct segment_name *x = &((const struct segment_info *)a)->name;
    const struct segment_name *y = &((const struct segment_info *)b)->name;

    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->start_s < y->start_s ? -1 : x->start_s > y->start_s;
}
