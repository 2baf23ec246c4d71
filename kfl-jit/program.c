#include "program.h"

#include <stdlib.h>
#include <string.h>

#include "ensure.h"

static uint32_t intern(struct program *program, struct node node);
static bool grow(struct program *program);

void program_init(struct program *program)
{
    *program = (struct program){0};
    if (!grow(program))
        return;
    for (uint8_t may = 0; may <= MAY_ALL; may++)
        program->node[program->n++] = (struct node){.op = NODE_CONST, .may = may, .a = may};
}

void program_done(struct program *program)
{
    free(program->node);
    free(program->table);
    *program = (struct program){0};
}

uint32_t program_const(struct program *program, uint8_t may)
{
    ensure(may && may <= MAY_ALL);
    return may;
}

uint32_t program_atom(struct program *program, uint32_t atom, uint8_t may)
{
    return intern(program, (struct node){.op = NODE_ATOM, .may = may, .a = atom});
}

uint32_t program_not(struct program *program, uint32_t a)
{
    uint8_t may = program_not_may(program->node[a].may);

    if (a <= MAY_ALL)
        return may;
    if (program->node[a].op == NODE_NOT)
        return program->node[a].a;
    return intern(program, (struct node){.op = NODE_NOT, .may = may, .a = a});
}

uint32_t program_group(struct program *program, uint32_t a)
{
    uint8_t may = program->node[a].may;

    if (!(may & MAY_ABSENT))
        return a;
    if (a <= MAY_ALL)
        return program_group_may(may);
    return intern(program, (struct node){.op = NODE_GROUP, .may = program_group_may(may), .a = a});
}

uint32_t program_and(struct program *program, uint32_t a, uint32_t b)
{
    uint8_t l = program->node[a].may, r = program->node[b].may, may = program_and_may(l, r);

    if (may == MAY_TRUE || may == MAY_FALSE || (a <= MAY_ALL && b <= MAY_ALL))
        return may;
    if (l == MAY_TRUE || a == b)
        return program_group(program, b);
    if (r == MAY_TRUE)
        return program_group(program, a);
    return intern(program, (struct node){.op = NODE_AND, .may = may, .a = a, .b = b});
}

uint32_t program_or(struct program *program, uint32_t a, uint32_t b)
{
    uint8_t l = program->node[a].may, r = program->node[b].may, may = program_or_may(l, r);

    if (may == MAY_TRUE || may == MAY_FALSE || (a <= MAY_ALL && b <= MAY_ALL))
        return may;
    if (l == MAY_FALSE || a == b)
        return program_group(program, b);
    if (!(r & MAY_TRUE))
        return program_group(program, a);
    return intern(program, (struct node){.op = NODE_OR, .may = may, .a = a, .b = b});
}

void program_specialise(struct program *program, uint32_t n, program_leaf *leaf, void *context,
                        uint32_t *map)
{
    for (uint32_t i = 0; i < n; i++) {
        struct node node = program->node[i];

        switch (node.op) {
        case NODE_CONST:
            map[i] = i;
            break;
        case NODE_ATOM: {
            uint8_t may = leaf(context, node.a);

            if (may & LEAF_CONST || may == MAY_TRUE || may == MAY_FALSE || may == MAY_ABSENT)
                map[i] = program_const(program, may & MAY_ALL);
            else
                map[i] = program_atom(program, node.a, may);
            break;
        }
        case NODE_NOT:
            map[i] = program_not(program, map[node.a]);
            break;
        case NODE_GROUP:
            map[i] = program_group(program, map[node.a]);
            break;
        case NODE_AND:
            map[i] = program_and(program, map[node.a], map[node.b]);
            break;
        case NODE_OR:
            map[i] = program_or(program, map[node.a], map[node.b]);
            break;
        }
    }
}

static uint32_t hash_of(const struct node *node)
{
    uint64_t h = ((uint64_t)node->a << 32 | node->b) ^ (uint64_t)(node->op * 8u + node->may) << 20;

    h *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

static uint32_t intern(struct program *program, struct node node)
{
    uint32_t at;

    if (program->n + 1 >= program->capacity && !grow(program)) {
        program->no_memory = true;
        return MAY_ALL;
    }
    at = hash_of(&node) & (program->table_size - 1);
    for (; program->table[at]; at = (at + 1) & (program->table_size - 1)) {
        const struct node *other = &program->node[program->table[at]];

        if (other->op == node.op && other->may == node.may && other->a == node.a &&
            other->b == node.b)
            return program->table[at];
    }
    program->node[program->n] = node;
    return program->table[at] = program->n++;
}

static bool grow(struct program *program)
{
    uint32_t capacity = program->capacity ? program->capacity * 2 : 256;
    uint32_t *table = calloc(capacity * 2u, sizeof *table);
    struct node *node = realloc(program->node, capacity * sizeof *node);

    if (node)
        program->node = node;
    if (!node || !table) {
        free(table);
        return false;
    }
    free(program->table);
    program->table = table;
    program->table_size = capacity * 2;
    program->capacity = capacity;
    for (uint32_t i = MAY_ALL + 1; i < program->n; i++) {
        uint32_t at = hash_of(&node[i]) & (program->table_size - 1);

        while (table[at])
            at = (at + 1) & (program->table_size - 1);
        table[at] = i;
    }
    return true;
}
