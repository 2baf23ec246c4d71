#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct source_ops source_file_ops, source_af_xdp_ops, source_dpdk_ops;

/* All sources there are. */
static const struct source_ops *const table[] = {
    &source_file_ops,
    &source_af_xdp_ops,
    &source_dpdk_ops,
};

enum { N_SOURCES = sizeof(table) / sizeof(table[0]) };

static char *copy(const char *text, int *ret_rc)
{
    char *copied = text ? strdup(text) : NULL;

    if (text && !copied)
        *ret_rc = -ENOMEM;
    return copied;
}

static void config_free(struct source_config *config)
{
    free((char *)config->type);
    free((char *)config->interface);
    free((char *)config->device);
    free((char *)config->eal);
}

static int config_copy(struct source_config *copied, const struct source_config *config)
{
    int rc = 0;

    *copied = *config;
    copied->type = copy(config->type, &rc);
    copied->interface = copy(config->interface, &rc);
    copied->device = copy(config->device, &rc);
    copied->eal = copy(config->eal, &rc);
    return rc;
}

int source_open(const struct source_config *config, uint16_t number, struct source **ret_source,
                char reterr_text[static SOURCE_ERROR_SIZE])
{
    const struct source_ops *ops = config->type ? source_ops_find(config->type) : NULL;
    struct source_config copied;
    struct source *source;
    int rc;

    reterr_text[0] = 0;
    if (!ops) {
        int at = snprintf(reterr_text, SOURCE_ERROR_SIZE, "type = \"%.60s\": no such source; it is",
                          config->type ? config->type : "");

        for (unsigned i = 0; i < N_SOURCES; i++)
            at += snprintf(reterr_text + at, SOURCE_ERROR_SIZE - (size_t)at, "%s \"%s\"",
                           i ? " or" : "", table[i]->name);
        return -EINVAL;
    }
    rc = config_copy(&copied, config);
    if (!rc)
        rc = ops->open(&copied, &source, reterr_text);
    if (rc) {
        config_free(&copied);
        if (!reterr_text[0])
            snprintf(reterr_text, SOURCE_ERROR_SIZE, "opening a source of type \"%s\": %s",
                     ops->name, strerror(-rc));
        return rc;
    }
    if (!source_base(source)->ops)
        source_base(source)->ops = ops;
    source_base(source)->config = copied;
    source_base(source)->number = number;
    *ret_source = source;
    return 0;
}

void source_close(struct source *source)
{
    struct source_config config;

    if (!source)
        return;
    config = source_base(source)->config;
    source_base(source)->ops->close(source);
    config_free(&config);
}

const struct source_ops *source_ops_find(const char *type)
{
    for (unsigned i = 0; i < N_SOURCES; i++)
        if (!strcmp(table[i]->name, type))
            return table[i];
    return NULL;
}
