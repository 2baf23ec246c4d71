#include "code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const uint8_t cell_of_may[MAY_ALL + 1] = {
    [MAY_TRUE] = CELL_TRUE,
    [MAY_FALSE] = CELL_FALSE,
    [MAY_ABSENT] = CELL_ABSENT,
    [MAY_BOTH] = CELL_BOTH,
    [MAY_TRUE | MAY_ABSENT] = CELL_ALL & ~CELL_FALSE,
    [MAY_FALSE | MAY_ABSENT] = CELL_FALSE | CELL_ABSENT,
    [MAY_ALL] = CELL_ALL,
};

static void mark(const struct program *program, const uint32_t *nodes, uint32_t n, uint8_t *used);
static void number(const struct program *program, const uint8_t *used, uint32_t *cell,
                   struct code *code);

int code_make(const struct program *program, uint32_t n_atoms, const uint32_t *nodes,
              const uint8_t *slots, const uint32_t *protos, uint32_t n, struct code *ret_code)
{
    struct code code = {.first_cell = CODE_CELL_ATOMS + n_atoms};
    uint8_t *used = calloc(program->n, 1);
    uint32_t *cell = calloc(program->n, sizeof *cell);
    int result = -ENOMEM;

    code.atom_used = calloc(n_atoms / 64 + 1, sizeof *code.atom_used);
    code.step = calloc(program->n, sizeof *code.step);
    code.root = calloc(n + 1u, sizeof *code.root);
    if (used && cell && code.atom_used && code.step && code.root) {
        mark(program, nodes, n, used);
        number(program, used, cell, &code);
        result = 0;
    }
    for (uint32_t i = 0; i < n && !result; i++) {
        code.root[code.n_roots++] =
            (struct code_root){.protos = protos[i], .cell = cell[nodes[i]], .slot = slots[i]};
        code.slots |= UINT64_C(1) << slots[i];
    }
    free(used);
    free(cell);
    if (result)
        code_done(&code);
    else
        *ret_code = code;
    return result;
}

void code_done(struct code *code)
{
    jit_free(code->packet);
    jit_free(code->program);
    free(code->step);
    free(code->root);
    free(code->atom_used);
    *code = (struct code){0};
}

struct kfl_verdict code_run(const struct code *code, uint8_t *cell, uint32_t protos)
{
    struct kfl_verdict verdict = {0, 0};
    uint64_t may_true = 0, may_false = 0;

    for (uint32_t i = 0; i < code->n_steps; i++) {
        const struct code_step *step = &code->step[i];
        uint8_t a = cell[step->a], b = cell[step->b];

        cell[code->first_cell + i] = code_step_run(step->op, a, b);
    }
    for (uint32_t i = 0; i < code->n_roots; i++) {
        const struct code_root *root = &code->root[i];
        uint64_t wanted = (uint64_t) !!(root->protos & protos) << root->slot;

        may_true |= cell[root->cell] & 1 ? wanted : 0;
        may_false |= cell[root->cell] & 2 ? 0 : wanted;
    }
    verdict.matched = may_true & ~may_false;
    verdict.out = code->slots & ~may_true;
    return verdict;
}

/* The nodes that the roots are made of. */
static void mark(const struct program *program, const uint32_t *nodes, uint32_t n, uint8_t *used)
{
    for (uint32_t i = 0; i < n; i++)
        used[nodes[i]] = 1;
    for (uint32_t i = program->n; i-- > 0;) {
        const struct node *node = &program->node[i];

        if (!used[i] || node->op < NODE_NOT)
            continue;
        used[node->a] = 1;
        if (node->op >= NODE_AND)
            used[node->b] = 1;
    }
}

/* Gives each node its cell. */
static void number(const struct program *program, const uint8_t *used, uint32_t *cell,
                   struct code *code)
{
    for (uint32_t i = 0; i < program->n; i++) {
        const struct node *node = &program->node[i];

        if (!used[i])
            continue;
        if (node->op == NODE_CONST) {
            cell[i] = i;
        } else if (node->op == NODE_ATOM) {
            cell[i] = CODE_CELL_ATOMS + node->a;
            code->atom_used[node->a / 64] |= UINT64_C(1) << node->a % 64;
        } else if (node->op == NODE_GROUP) {
            cell[i] = cell[node->a];
        } else {
            bool absent = program->node[node->a].may & MAY_ABSENT;
            struct code_step step = {.a = cell[node->a], .b = cell[node->a]};

            if (node->op != NODE_NOT)
                step.b = cell[node->b];
            step.op = node->op == NODE_AND  ? CODE_AND
                      : node->op == NODE_OR ? (absent ? CODE_OR_ABSENT : CODE_OR)
                      : absent              ? CODE_NOT_ATOM
                                            : CODE_NOT;
            cell[i] = code->first_cell + code->n_steps;
            code->step[code->n_steps++] = step;
        }
    }
}
