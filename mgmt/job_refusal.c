#include "job_refusal.h"

#include <stdlib.h>
#include <string.h>

#include "../kfl-jit/ensure.h"

static void release(struct job_refusal *row);

void job_refusals_begin(struct job_refusals *refusals, bool declared)
{
    for (unsigned i = 0; i < refusals->n; i++)
        if (refusals->row[i].declared == declared)
            refusals->row[i].seen = false;
}

bool job_refuse(struct job_refusals *refusals, bool declared, const char *name, const char *text)
{
    struct job_refusal *row;

    for (unsigned i = 0; i < refusals->n; i++) {
        row = &refusals->row[i];
        if (row->declared != declared || strcmp(row->name, name) || strcmp(row->text, text))
            continue;
        row->seen = true;
        return false;
    }
    refusals->row = realloc(refusals->row, (refusals->n + 1) * sizeof(refusals->row[0]));
    ensure(refusals->row);
    row = &refusals->row[refusals->n++];
    *row = (struct job_refusal){strdup(name), strdup(text), declared, true};
    ensure(row->name && row->text);
    return true;
}

void job_refusals_end(struct job_refusals *refusals, bool declared)
{
    unsigned n = 0;

    for (unsigned i = 0; i < refusals->n; i++) {
        struct job_refusal *row = &refusals->row[i];

        if (row->declared == declared && !row->seen)
            release(row);
        else
            refusals->row[n++] = *row;
    }
    refusals->n = n;
}

void job_refusals_done(struct job_refusals *refusals)
{
    for (unsigned i = 0; i < refusals->n; i++)
        release(&refusals->row[i]);
    free(refusals->row);
}

const char *job_refused(const struct job_refusals *refusals, const char *name)
{
    for (unsigned i = 0; i < refusals->n; i++)
        if (!strcmp(refusals->row[i].name, name))
            return refusals->row[i].text;
    return NULL;
}

static void release(struct job_refusal *row)
{
    free(row->name);
    free(row->text);
}
