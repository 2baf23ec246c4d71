/* explain.c - a plan as text, for people: what is asked, when it can be known, what it costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan_internal.h"
#include "pushdown.h"

static void explain_job(FILE *out, const struct kfl_plan *plan, unsigned slot);
static void explain_protos(FILE *out, uint32_t protos);
static void explain_node(FILE *out, const struct kfl_plan *plan, uint32_t number, unsigned inside);
static void explain_atoms(FILE *out, const struct kfl_plan *plan);
static void explain_atom(FILE *out, const struct kfl_plan *plan, const struct atom *atom);
static void explain_path(FILE *out, const struct ast_path *path);
static const char *explain_way(const struct kfl_plan *plan, uint32_t number);
static void explain_demand(FILE *out, const struct kfl_plan *plan);
static void explain_pushdown(FILE *out, const struct kfl_plan *plan);
static void explain_code(FILE *out, const struct kfl_plan *plan);
static unsigned node_stage(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto);
static unsigned atom_stage(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto);

static const char stage_letter[] = "PCQRE";

char *kfl_plan_explain(const struct kfl_plan *plan)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        if (plan->slots >> slot & 1)
            explain_job(out, plan, slot);
    explain_atoms(out, plan);
    explain_demand(out, plan);
    explain_pushdown(out, plan);
    explain_code(out, plan);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}

/* The grouping, the cost, and what is left of the statement for each protocol. */
static void explain_job(FILE *out, const struct kfl_plan *plan, unsigned slot)
{
    static const char *const cost[] = {
        "P: decided by the first packet",
        "C: decided when the protocol is known",
        "Q: requests are parsed",
        "R: requests and responses are parsed, the stream is held until then",
        "E: held until the stream ends",
    };
    char *shown = kfl_statement_show(plan->statement[slot]);
    uint32_t done = 0;
    unsigned stage = 0;

    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        unsigned of = node_stage(plan, plan->proto[proto].root[slot], proto);

        if (!of && plan->proto[proto].root[slot] != plan->proto[0].root[slot])
            of = KFL_STAGE_CONNECTION;
        stage = of > stage ? of : stage;
    }
    fprintf(out, "statement %u: %s\n", slot, kfl_statement_text(plan->statement[slot]));
    fprintf(out, "  grouped  %s\n", shown ? shown : "");
    fprintf(out, "  cost     %s\n", cost[stage]);
    free(shown);
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        uint32_t root = plan->proto[proto].root[slot], same = 0;

        if (done >> proto & 1)
            continue;
        for (unsigned other = proto; other < KFL_PROTO_COUNT; other++)
            if (plan->proto[other].root[slot] == root)
                same |= UINT32_C(1) << other;
        done |= same;
        fprintf(out, "  ");
        explain_protos(out, same);
        fprintf(out, ": ");
        if (root == MAY_TRUE || root == MAY_FALSE)
            fprintf(out, root == MAY_TRUE ? "always" : "never");
        else
            explain_node(out, plan, root, 0);
        if (root > MAY_ALL)
            fprintf(out, "  [%c]", stage_letter[node_stage(plan, root, proto)]);
        fprintf(out, "\n");
    }
}

static void explain_protos(FILE *out, uint32_t protos)
{
    const char *comma = "";

    if (protos == (UINT32_C(1) << KFL_PROTO_COUNT) - 1) {
        fprintf(out, "any protocol");
        return;
    }
    if (__builtin_popcount(protos) > KFL_PROTO_COUNT / 2) {
        fprintf(out, "all but ");
        protos = ~protos & ((UINT32_C(1) << KFL_PROTO_COUNT) - 1);
    }
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        if (!(protos >> proto & 1))
            continue;
        fprintf(out, "%s%s", comma, kfl_proto_info[proto].abbr);
        comma = " ";
    }
}

/* inside: the operator around it, to leave out parentheses that say nothing. */
static void explain_node(FILE *out, const struct kfl_plan *plan, uint32_t number, unsigned inside)
{
    const struct node *node = &plan->program.node[number];
    bool parentheses = inside && inside != node->op;

    switch ((enum node_op)node->op) {
    case NODE_CONST:
        fprintf(out, node->may == MAY_TRUE     ? "true"
                     : node->may == MAY_FALSE  ? "false"
                     : node->may == MAY_ABSENT ? "missing"
                                               : "?");
        break;
    case NODE_ATOM:
        explain_atom(out, plan, &plan->atoms.atom[node->a]);
        break;
    case NODE_NOT:
        fprintf(out, "!(");
        explain_node(out, plan, node->a, 0);
        fprintf(out, ")");
        break;
    case NODE_GROUP:
        explain_node(out, plan, node->a, inside);
        break;
    case NODE_AND:
    case NODE_OR:
        fprintf(out, parentheses ? "(" : "");
        explain_node(out, plan, node->a, node->op);
        fprintf(out, node->op == NODE_AND ? " and " : " or ");
        explain_node(out, plan, node->b, node->op);
        fprintf(out, parentheses ? ")" : "");
        break;
    }
}

static void explain_atoms(FILE *out, const struct kfl_plan *plan)
{
    fprintf(out, "%u atoms over %u fields, %u nodes\n", plan->atoms.n_atoms, plan->atoms.n_subjects,
            plan->program.n - MAY_ALL - 1);
    for (uint32_t i = 0; i < plan->atoms.n_atoms; i++) {
        const struct atom *atom = &plan->atoms.atom[i];
        unsigned stage = 0;

        for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
            unsigned of = atom_stage(plan, i, proto);

            stage = of > stage ? of : stage;
        }
        fprintf(out, "  %c  %-9s", stage_letter[stage], explain_way(plan, i));
        explain_atom(out, plan, atom);
        fprintf(out, "\n");
    }
}

/* How an atom is tested. */
static const char *explain_way(const struct kfl_plan *plan, uint32_t number)
{
    const struct atom *atom = &plan->atoms.atom[number];

    return atom->op == ATOM_GENERAL       ? "tree"
           : plan->test[number].kind      ? "native"
           : atom->scanned                ? "scan"
           : atom->op == ATOM_REGEX       ? "regex"
           : atom->op >= ATOM_STARTS_WITH ? "text"
                                          : "value";
}

static void explain_atom(FILE *out, const struct kfl_plan *plan, const struct atom *atom)
{
    static const char *const operator[ATOM_OP_COUNT] = {
        [ATOM_EQUAL] = " == ",
        [ATOM_REGEX] = " == r",
        [ATOM_LESS] = " < ",
        [ATOM_LESS_EQUAL] = " <= ",
        [ATOM_GREATER] = " > ",
        [ATOM_GREATER_EQUAL] = " >= ",
        [ATOM_STARTS_WITH] = ".startsWith(",
        [ATOM_ENDS_WITH] = ".endsWith(",
        [ATOM_CONTAINS] = ".contains(",
    };
    bool quoted = !atom->numeric;

    if (atom->op == ATOM_GENERAL) {
        fprintf(out, "%.*s", (int)atom->text.size, atom->text.text);
        return;
    }
    fprintf(out, atom->op == ATOM_NOT         ? "!"
                 : atom->op == ATOM_NOT_GROUP ? "!("
                 : atom->op == ATOM_NEGATIVE  ? "-"
                                              : "");
    explain_path(out, &plan->atoms.subject[atom->subject].path);
    if (!operator[atom->op]) {
        fprintf(out, atom->op == ATOM_NOT_GROUP ? ")" : "");
        return;
    }
    fprintf(out, "%s%s%.*s%s%s", operator[atom->op], quoted ? "\"" : "", (int)atom->text.size,
            atom->text.text, quoted ? "\"" : "", atom->op >= ATOM_STARTS_WITH ? ")" : "");
}

static void explain_path(FILE *out, const struct ast_path *path)
{
    for (uint32_t i = 0; i < path->n; i++) {
        const struct ast_step *step = &path->step[i];
        bool name = step->size > 0;

        for (uint32_t k = 0; k < step->size && step->type == AST_KEY; k++)
            name &= strchr(" .-[]()*'\"/:", step->name[k]) == NULL;
        switch (step->type) {
        case AST_KEY:
            fprintf(out, name ? "%s%.*s" : "%s[\"%.*s\"]", name && i ? "." : "", (int)step->size,
                    step->name);
            break;
        case AST_INDEX:
            fprintf(out, "[%lld]", (long long)step->index);
            break;
        case AST_ALL:
            fprintf(out, "[*]");
            break;
        case AST_DEEP:
            fprintf(out, "..%.*s", (int)step->size, step->name);
            break;
        }
    }
}

static void explain_demand(FILE *out, const struct kfl_plan *plan)
{
    const struct kfl_demand *demand = &plan->demand;
    const char *comma = "";

    fprintf(out, "parsed: ");
    if (!demand->protos)
        fprintf(out, "nothing");
    else
        explain_protos(out, demand->protos);
    fprintf(out, "\nextracted: ");
    if (demand->all)
        fprintf(out, "everything");
    for (unsigned field = 1; field < KFL_FIELD_COUNT && !demand->all; field++) {
        if (!demand->field[field] || !kfl_field_info[field].protos)
            continue;
        fprintf(out, "%s%s", comma, kfl_field_info[field].path);
        comma = " ";
        for (uint32_t i = 0; i < demand->n_keys && demand->field[field] == 1; i++)
            if (demand->keys[i].field == field)
                fprintf(out, "[%.*s]", (int)demand->keys[i].size, demand->keys[i].key);
    }
    fprintf(out, "%s\n", *comma || demand->all ? "" : "nothing");
}

/* What packets a kernel or a device has to hand out, in either direction; it keeps the rest. */
static void explain_pushdown(FILE *out, const struct kfl_plan *plan)
{
    struct kfl_pushdown *sum = calloc(2, sizeof *sum), *one = sum ? sum + 1 : NULL;
    char text[1024];

    for (unsigned slot = 0; slot < KFL_SLOT_MAX && sum; slot++)
        if (plan->slots >> slot & 1) {
            kfl_pushdown_of_slot(plan, slot, one);
            kfl_pushdown_add(sum, one);
        }
    fprintf(out, "pushdown: %s\n", sum && sum->n ? "a source hands out only" : "nothing is wanted");
    for (uint32_t i = 0; sum && i < sum->n; i++)
        if (!kfl_pushdown_show(&sum->clause[i], text, sizeof text))
            fprintf(out, "  %s\n", text);
    free(sum);
}

/* Bytes of machine code, or why there is none. */
static void explain_code(FILE *out, const struct kfl_plan *plan)
{
    size_t size = 0;
    bool native = kfl_plan_is_native(plan);

    for (unsigned l4 = 0; l4 < PLAN_LAYER4; l4++)
        if (plan->stream[l4].code.program)
            size += jit_native_size(plan->stream[l4].code.program);
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++)
        if (plan->proto[proto].owns_code && plan->proto[proto].code.program)
            size += jit_native_size(plan->proto[proto].code.program);
    fprintf(out, "code: %zu bytes%s\n", size,
            native ? ""
                   : "; a part is too large for native code, or this machine has none: slower");
}

/* When a node is known at the latest, in entries of this protocol. */
static unsigned node_stage(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto)
{
    const struct node *node = &plan->program.node[number];
    unsigned left, right;

    if (node->op == NODE_CONST)
        return KFL_STAGE_PACKET;
    if (node->op == NODE_ATOM)
        return atom_stage(plan, node->a, proto);
    left = node_stage(plan, node->a, proto);
    right = node->op >= NODE_AND ? node_stage(plan, node->b, proto) : 0;
    return left > right ? left : right;
}

static unsigned atom_stage(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto)
{
    const struct atom *atom = &plan->atoms.atom[number];
    const struct path_place *place;

    if (atom->op == ATOM_GENERAL) {
        const struct general_needs *needs = &plan->general[number][proto];

        return needs->end        ? KFL_STAGE_END
               : needs->response ? KFL_STAGE_RESPONSE
               : needs->entry    ? KFL_STAGE_REQUEST
                                 : KFL_STAGE_PACKET;
    }
    place = &plan->atoms.subject[atom->subject].place[proto];
    return place->kind == PATH_ROW ? kfl_field_info[place->field].stage : KFL_STAGE_PACKET;
}
