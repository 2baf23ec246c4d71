#include "kube_objects.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAINS = 1 << 14, KEY_SIZE = 2 * NAMES_TEXT_MAX + 2 };

struct object {
    struct object *next;
    enum names_kind kind;
    uint32_t list; /* the last that named it */
    unsigned n_spells;
    struct names_spell **spells;
    char key[]; /* "namespace/name" */
};

struct kube_objects {
    struct names_spells *spells;
    struct object *chains[CHAINS];
    size_t n[NAMES_KIND_COUNT];
    uint32_t list[NAMES_KIND_COUNT];
    uint64_t n_refused;
    /* while an object is looked at */
    struct names_claim claims[KUBE_ADDRESSES_MAX];
    unsigned n_claims;
};

static struct object **find(struct kube_objects *objects, enum names_kind kind,
                            const struct doc *doc, char ret_key[static KEY_SIZE]);
static struct object *add(struct kube_objects *objects, struct object **at, enum names_kind kind,
                          const char *key);
static void drop(struct kube_objects *objects, struct object **at, uint64_t now_ns);
static int note(void *context, const struct names_claim *claim);
static void compare(struct kube_objects *objects, struct object *object, uint64_t now_ns);
static bool take_claim(struct kube_objects *objects, const struct names_spell *spell);

int kube_objects_create(struct names_spells *spells, struct kube_objects **ret_objects)
{
    struct kube_objects *objects = calloc(1, sizeof(*objects));

    if (!objects)
        return -ENOMEM;
    objects->spells = spells;
    *ret_objects = objects;
    return 0;
}

void kube_objects_free(struct kube_objects *objects)
{
    if (!objects)
        return;
    for (unsigned i = 0; i < CHAINS; i++)
        while (objects->chains[i]) {
            struct object *next = objects->chains[i]->next;

            free(objects->chains[i]->spells);
            free(objects->chains[i]);
            objects->chains[i] = next;
        }
    free(objects);
}

void kube_objects_put(struct kube_objects *objects, enum names_kind kind, const struct doc *doc,
                      bool listed, uint64_t now_ns)
{
    char key[KEY_SIZE];
    struct object **at = find(objects, kind, doc, key);
    struct object *object = *at;
    struct names_spell **spells;
    unsigned n_new;

    objects->n_claims = 0;
    names_object_each(kind, doc, note, objects);
    if (!object && objects->n_claims)
        object = add(objects, at, kind, key);
    if (!object)
        return;
    object->list = objects->list[kind];
    compare(objects, object, now_ns);
    n_new = objects->n_claims;
    spells = realloc(object->spells, (object->n_spells + n_new + 1) * sizeof(spells[0]));
    if (!spells) {
        objects->n_refused += n_new;
        return;
    }
    object->spells = spells;
    for (unsigned i = 0; i < n_new; i++) {
        const struct names_claim *claim = &objects->claims[i];
        uint64_t from_ns = claim->from_ns && claim->from_ns < now_ns ? claim->from_ns : now_ns;

        if (names_spell_begin(objects->spells, claim->addr, claim->rank, claim->name,
                              claim->namespace, from_ns, listed ? from_ns : now_ns,
                              &spells[object->n_spells]))
            objects->n_refused++;
        else
            object->n_spells++;
    }
}

void kube_objects_remove(struct kube_objects *objects, enum names_kind kind, const struct doc *doc,
                         uint64_t now_ns)
{
    char key[KEY_SIZE];
    struct object **at = find(objects, kind, doc, key);

    if (*at)
        drop(objects, at, now_ns);
}

void kube_objects_begin_list(struct kube_objects *objects, enum names_kind kind)
{
    objects->list[kind]++;
}

void kube_objects_end_list(struct kube_objects *objects, enum names_kind kind, uint64_t now_ns)
{
    for (unsigned i = 0; i < CHAINS; i++)
        for (struct object **at = &objects->chains[i]; *at;) {
            if ((*at)->kind == kind && (*at)->list != objects->list[kind])
                drop(objects, at, now_ns);
            else
                at = &(*at)->next;
        }
}

size_t kube_objects_n(const struct kube_objects *objects, enum names_kind kind)
{
    return objects->n[kind];
}

uint64_t kube_objects_refused(const struct kube_objects *objects)
{
    return objects->n_refused;
}

/* -> where it hangs, or would. */
static struct object **find(struct kube_objects *objects, enum names_kind kind,
                            const struct doc *doc, char ret_key[static KEY_SIZE])
{
    const struct doc *metadata = doc_get(doc, "metadata");
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)kind; /* FNV-1a */
    struct object **at;

    snprintf(ret_key, KEY_SIZE, "%.*s/%.*s", NAMES_TEXT_MAX, doc_text(metadata, "namespace", ""),
             NAMES_TEXT_MAX, doc_text(metadata, "name", ""));
    for (const char *c = ret_key; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    at = &objects->chains[(hash ^ hash >> 32) & (CHAINS - 1)];
    while (*at && ((*at)->kind != kind || strcmp((*at)->key, ret_key) != 0))
        at = &(*at)->next;
    return at;
}

static struct object *add(struct kube_objects *objects, struct object **at, enum names_kind kind,
                          const char *key)
{
    struct object *object = NULL;
    size_t n = 0, size = strlen(key) + 1;

    for (unsigned i = 0; i < NAMES_KIND_COUNT; i++)
        n += objects->n[i];
    if (n < KUBE_OBJECTS_MAX)
        object = calloc(1, sizeof(*object) + size);
    if (!object) {
        objects->n_refused++;
        return NULL;
    }
    memcpy(object->key, key, size);
    object->kind = kind;
    objects->n[kind]++;
    *at = object;
    return object;
}

static void drop(struct kube_objects *objects, struct object **at, uint64_t now_ns)
{
    struct object *object = *at;

    for (unsigned i = 0; i < object->n_spells; i++)
        names_spell_end(objects->spells, object->spells[i], now_ns);
    objects->n[object->kind]--;
    *at = object->next;
    free(object->spells);
    free(object);
}

static int note(void *context, const struct names_claim *claim)
{
    struct kube_objects *objects = context;

    for (unsigned i = 0; i < objects->n_claims; i++)
        if (!memcmp(objects->claims[i].addr, claim->addr, 16))
            return 0;
    if (claim->prefix != 128)
        return 0;
    if (objects->n_claims == KUBE_ADDRESSES_MAX) {
        objects->n_refused++;
        return 1;
    }
    objects->claims[objects->n_claims++] = *claim;
    return 0;
}

/* Spells that it claims no more end; those it claims still go on and leave the claims. */
static void compare(struct kube_objects *objects, struct object *object, uint64_t now_ns)
{
    unsigned n_kept = 0;

    for (unsigned i = 0; i < object->n_spells; i++) {
        struct names_spell *spell = object->spells[i];

        if (take_claim(objects, spell))
            object->spells[n_kept++] = spell;
        else
            names_spell_end(objects->spells, spell, now_ns);
    }
    object->n_spells = n_kept;
}

static bool take_claim(struct kube_objects *objects, const struct names_spell *spell)
{
    struct names_spell_info info = names_spell_info(spell);

    for (unsigned i = 0; i < objects->n_claims; i++) {
        struct names_claim *claim = &objects->claims[i];

        if (!memcmp(claim->addr, info.addr, 16) && !strcmp(claim->name, info.name) &&
            !strcmp(claim->namespace, info.namespace)) {
            *claim = objects->claims[--objects->n_claims];
            return true;
        }
    }
    return false;
}
