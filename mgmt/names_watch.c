#include "names_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "log.h"
#include "units.h"

static const uint64_t quiet_ns = 200 * NS_PER_MS;
static const uint32_t changes = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE;

struct names_watch {
    struct names_pool *pool;
    struct names_board *board;
    char *files[NAMES_FILES_MAX];
    unsigned n_files;
    int fd;
    uint64_t changed_ns; /* steady time of the last change not taken up; 0: none */
    bool said_full;
};

static int load(struct names_watch *watch, char *reterr_text);
static void watch_folder(struct names_watch *watch, const char *file);

int names_watch_open(struct names_pool *pool, struct names_board *board,
                     const struct conf_texts *files, struct names_watch **ret_watch,
                     char reterr_text[static NAMES_ERROR_SIZE])
{
    struct names_watch *watch = calloc(1, sizeof(*watch));
    int err;

    if (!watch)
        return -ENOMEM;
    watch->pool = pool;
    watch->board = board;
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (files->n > NAMES_FILES_MAX) {
        snprintf(reterr_text, NAMES_ERROR_SIZE, "names.files: %u files: at most %d", files->n,
                 NAMES_FILES_MAX);
        names_watch_close(watch);
        return -E2BIG;
    }
    for (unsigned i = 0; i < files->n; i++) {
        watch->files[watch->n_files] = strdup(files->text[i]);
        if (watch->files[watch->n_files])
            watch_folder(watch, watch->files[watch->n_files++]);
    }
    err = load(watch, reterr_text);
    if (err) {
        names_watch_close(watch);
        return err;
    }
    *ret_watch = watch;
    return 0;
}

void names_watch_close(struct names_watch *watch)
{
    if (!watch)
        return;
    for (unsigned i = 0; i < watch->n_files; i++)
        free(watch->files[i]);
    if (watch->fd >= 0)
        close(watch->fd);
    free(watch);
}

int names_watch_fd(const struct names_watch *watch)
{
    return watch->fd;
}

void names_watch_step(struct names_watch *watch, uint64_t steady_ns)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    char error[NAMES_ERROR_SIZE] = "";

    while (watch->fd >= 0 && read(watch->fd, events, sizeof(events)) > 0)
        watch->changed_ns = steady_ns;
    if (!watch->changed_ns || steady_ns - watch->changed_ns < quiet_ns)
        return;
    watch->changed_ns = 0;
    if (load(watch, error))
        log_warning("names: %s: the names known before stay in force", error);
    else
        log_info("names: %zu rows", names_count(names_published(watch->board)));
    if (names_pool_full(watch->pool) && !watch->said_full) {
        watch->said_full = true;
        log_warning("names: names.memory is used up: new names are not known; set it higher");
    }
}

static int load(struct names_watch *watch, char *reterr_text)
{
    struct names *names;
    int err = names_load(watch->pool, (const char *const *)watch->files, watch->n_files, &names,
                         reterr_text);

    if (!err)
        names_publish(watch->board, names);
    return err;
}

static void watch_folder(struct names_watch *watch, const char *file)
{
    char folder[PATH_MAX];
    char *slash;

    snprintf(folder, sizeof(folder), "%s", file);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    if (watch->fd < 0 || inotify_add_watch(watch->fd, slash ? folder : ".", changes) < 0)
        log_warning("names: %s cannot be watched (%s): its changes come with a reload", folder,
                    strerror(errno));
}
