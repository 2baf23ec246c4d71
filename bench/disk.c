#include "disk.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "../writer/chunk_recorder.h"
#include "../writer/writer.h"
#include "memory_source.h"

#define NAME         "bench-disk"
#define FLUSH_NS     UINT64_C(500000000)
#define CHUNK_MEMORY (UINT64_C(64) << 20)
enum { READY_BUSY_MAX = CHUNK_MEMORY / CHUNK_SIZE_DEFAULT / 2 };

struct disk {
    struct writer *writer;
    struct recorder *recorder;
    char path[WRITER_PATH_MAX];
};

struct disk *disk_open(const char *folder)
{
    const struct writer_config config = {
        .n_classifiers = 1, .chunk_memory = CHUNK_MEMORY, .sync = WRITER_SYNC_INTERVAL};
    char error[WRITER_ERROR_SIZE];
    struct disk *disk = calloc(1, sizeof(*disk));
    struct writer_job job = {.name = NAME, .statement = ""};
    uint32_t run;

    if (!disk)
        fail(folder, "no memory");
    snprintf(disk->path, sizeof(disk->path), "%s/" NAME, folder);
    job.folder = disk->path;
    if (writer_create(&config, &disk->writer, error) ||
        writer_attach(disk->writer, &job, &run, error))
        fail(folder, error);
    if (chunk_recorder_create(writer_pool(disk->writer), 0, FLUSH_NS, &disk->recorder))
        fail(folder, "no memory");
    interface_add("memory", "file", "", LINKTYPE_ETHERNET, 0);
    return disk;
}

struct recorder *disk_recorder(struct disk *disk)
{
    return disk->recorder;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

unsigned disk_step(void *disk)
{
    return writer_step(((struct disk *)disk)->writer, now_ns());
}

void disk_wait(void *disk, uint64_t timeout_ns)
{
    writer_wait(((struct disk *)disk)->writer, timeout_ns);
}

bool disk_ready(void *disk)
{
    return chunk_busy(writer_pool(((struct disk *)disk)->writer)) < READY_BUSY_MAX;
}

struct disk_written disk_close(struct disk *disk)
{
    struct writer_event event = {.type = WRITER_EVENT_SEGMENT};
    struct writer_counters counters;

    writer_detach(disk->writer, 0);
    while (event.type != WRITER_EVENT_DETACHED) {
        if (!disk_step(disk))
            writer_wait(disk->writer, 1000000);
        while (event.type != WRITER_EVENT_DETACHED && writer_poll(disk->writer, &event))
            if (event.type == WRITER_EVENT_FAILED)
                fail(disk->path, event.text);
    }
    writer_counters(disk->writer, 0, &counters);
    return (struct disk_written){.bytes = counters.bytes,
                                 .packets = counters.written,
                                 .lost = counters.packets - counters.written +
                                         counters.drop_no_chunk + counters.entries_lost};
}

static int remove_one(const char *path, const struct stat *what, int type, struct FTW *where)
{
    return remove(path);
}

void disk_free(struct disk *disk)
{
    writer_free(disk->writer);
    chunk_recorder_free(disk->recorder);
    nftw(disk->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(disk);
}
