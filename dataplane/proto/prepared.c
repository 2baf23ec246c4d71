#include "prepared.h"

#include <string.h>

uint64_t prepared_hash(const void *name, size_t size)
{
    const uint8_t *bytes = name;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void prepared_put(struct l7 *l7, struct prepared *prepared, uint64_t name, struct l7_text *text)
{
    unsigned at = 0;

    for (unsigned i = 0; i < PREPARED_MAX; i++) {
        if (prepared->statements[i].used && prepared->statements[i].name == name) {
            at = i;
            break;
        }
        if (prepared->statements[i].used < prepared->statements[at].used)
            at = i;
    }
    l7_text_free(l7, &prepared->statements[at].text);
    prepared->statements[at].name = name;
    prepared->statements[at].used = ++prepared->turn;
    prepared->statements[at].text = *text;
    *text = (struct l7_text){0};
}

const struct l7_text *prepared_get(struct prepared *prepared, uint64_t name)
{
    for (unsigned i = 0; i < PREPARED_MAX; i++)
        if (prepared->statements[i].used && prepared->statements[i].name == name) {
            prepared->statements[i].used = ++prepared->turn;
            return &prepared->statements[i].text;
        }
    return NULL;
}

void prepared_remove(struct l7 *l7, struct prepared *prepared, uint64_t name)
{
    for (unsigned i = 0; i < PREPARED_MAX; i++)
        if (prepared->statements[i].used && prepared->statements[i].name == name) {
            l7_text_free(l7, &prepared->statements[i].text);
            prepared->statements[i].used = 0;
        }
}

void prepared_done(struct l7 *l7, struct prepared *prepared)
{
    for (unsigned i = 0; i < PREPARED_MAX; i++)
        l7_text_free(l7, &prepared->statements[i].text);
}
