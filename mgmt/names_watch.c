#include "names_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder_watch.h"
#include "log.h"

struct names_watch {
    struct names_pool *pool;
    struct names_board *board;
    char *files[NAMES_FILES_MAX];
    unsigned n_files;
    struct folder_watch folders;
    bool said_full;
};

static int load(struct names_watch *watch, char *reterr_text);

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
    folder_watch_open(&watch->folders, NULL);
    if (files->n > NAMES_FILES_MAX) {
        snprintf(reterr_text, NAMES_ERROR_SIZE, "names.files: %u files: at most %d", files->n,
                 NAMES_FILES_MAX);
        names_watch_close(watch);
        return -E2BIG;
    }
    for (unsigned i = 0; i < files->n; i++) {
        watch->files[watch->n_files] = strdup(files->text[i]);
        if (watch->files[watch->n_files])
            folder_watch_add(&watch->folders, watch->files[watch->n_files++]);
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
    folder_watch_close(&watch->folders);
    free(watch);
}

void names_watch_step(struct names_watch *watch, uint64_t steady_ns)
{
    char error[NAMES_ERROR_SIZE] = "";

    if (!folder_watch_settled(&watch->folders, steady_ns))
        return;
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
