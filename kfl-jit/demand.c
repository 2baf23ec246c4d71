#include "demand.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lower.h"

static int of_proto(const struct kfl_plan *plan, enum kfl_proto proto, struct kfl_demand *demand);
static int of_subject(const struct subject *subject, enum kfl_proto proto,
                      struct kfl_demand *demand);
static void want(void *context, enum kfl_field field);
static int want_key(struct kfl_demand *demand, enum kfl_field field, const struct ast_step *key);

int demand_make(const struct kfl_plan *plan, bool all, struct kfl_demand *ret_demand)
{
    struct kfl_demand demand = {.all = all};
    int result = 0;

    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && !result; proto++) {
        result = of_proto(plan, proto, &demand);
        if (plan->proto[proto].needs || plan->proto[proto].apart)
            demand.protos |= UINT32_C(1) << proto;
    }
    if (demand.field[KFL_FIELD_CONN_L7] || demand.field[KFL_FIELD_CONN_DETECTION] ||
        demand.field[KFL_FIELD_TLS] || all)
        demand.protos = kfl_demand_all.protos;
    if (result)
        demand_done(&demand);
    else
        *ret_demand = demand;
    return result;
}

void demand_done(struct kfl_demand *demand)
{
    for (uint32_t i = 0; i < demand->n_keys; i++)
        free((char *)demand->keys[i].key);
    free(demand->keys);
    *demand = (struct kfl_demand){0};
}

static int of_proto(const struct kfl_plan *plan, enum kfl_proto proto, struct kfl_demand *demand)
{
    const struct code *code = &plan->proto[proto].code;
    int result = 0;

    for (uint32_t i = 0; i < plan->atoms.n_atoms && !result; i++) {
        const struct atom *atom = &plan->atoms.atom[i];

        if (!code_reads(code, i))
            continue;
        if (atom->op == ATOM_GENERAL)
            lower_reads(atom->tree, proto, want, demand);
        else
            result = of_subject(&plan->atoms.subject[atom->subject], proto, demand);
    }
    return result;
}

static int of_subject(const struct subject *subject, enum kfl_proto proto,
                      struct kfl_demand *demand)
{
    const struct path_place *place = &subject->place[proto];

    if (place->kind != PATH_ROW)
        return 0;
    if (kfl_field_info[place->field].type == KFL_TYPE_MAP && place->rest < subject->path.n &&
        subject->path.step[place->rest].type == AST_KEY)
        return want_key(demand, place->field, &subject->path.step[place->rest]);
    want(demand, place->field);
    if (place->member)
        want(demand, place->member);
    return 0;
}

/* All of a row; and so that it can be there, the rows around it. Rows below a map describe its
 * members. */
static void want(void *context, enum kfl_field field)
{
    struct kfl_demand *demand = context;
    const char *path = kfl_field_info[field].path;

    demand->field[field] = 2;
    for (unsigned i = 1; i < KFL_FIELD_COUNT; i++) {
        const struct kfl_field_info *other = &kfl_field_info[i];
        size_t size = strlen(other->path);

        if (other->protos != kfl_field_info[field].protos)
            continue;
        if (!strncmp(path, other->path, size) && (path[size] == '.' || path[size] == '['))
            demand->field[i] = 2;
        size = strlen(path);
        if (kfl_field_info[field].type == KFL_TYPE_MAP && !strncmp(path, other->path, size) &&
            other->path[size] == '.')
            demand->field[i] = 2;
    }
}

/* One member of a map. */
static int want_key(struct kfl_demand *demand, enum kfl_field field, const struct ast_step *key)
{
    uint8_t before = demand->field[field];
    struct kfl_demand_key *keys;
    char *text;

    if (before == 2)
        return 0;
    want(demand, field);
    demand->field[field] = 1;
    for (uint32_t i = 0; i < demand->n_keys; i++)
        if (demand->keys[i].field == field && demand->keys[i].size == key->size &&
            !memcmp(demand->keys[i].key, key->name, key->size))
            return 0;
    keys = reallocarray(demand->keys, demand->n_keys + 1, sizeof *keys);
    if (!keys)
        return -ENOMEM;
    demand->keys = keys;
    text = malloc(key->size + 1u);
    if (!text)
        return -ENOMEM;
    memcpy(text, key->name, key->size);
    demand->key_sizes[field] |= UINT64_C(1) << (key->size < 63 ? key->size : 63);
    keys[demand->n_keys++] =
        (struct kfl_demand_key){.field = (uint16_t)field, .size = (uint16_t)key->size, .key = text};
    return 0;
}
