/* plan_code.c - from the jobs' graph to what is run: specialised for each protocol and layer 4. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lower.h"
#include "plan_internal.h"

static uint8_t leaf_of_proto(void *context, uint32_t atom);
static uint8_t leaf_of_stream(void *context, uint32_t atom);
static bool is_apart(struct kfl_plan *plan, enum kfl_proto proto, uint32_t n, uint32_t *map);
static int make_proto(struct kfl_plan *plan, enum kfl_proto proto);
static int make_stream(struct kfl_plan *plan, unsigned l4, uint32_t n, uint32_t *map);
static int make_needs(struct kfl_plan *plan);
static int make_stream_needs(struct kfl_plan *plan, unsigned l4, uint32_t n, uint32_t *map);
static void find_readers(const struct kfl_plan *plan, enum kfl_proto proto, uint8_t *reads);
static int make_native(struct kfl_plan *plan);
static bool atom_is_of_stream(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto);

struct leaf_context {
    const struct kfl_plan *plan;
    enum kfl_proto proto;
    uint8_t layer4;
};

/* The roots of all jobs for each protocol, for its entries and for streams before them. */
int plan_make_code(struct kfl_plan *plan)
{
    uint32_t n = plan->program.n;
    uint32_t *map = calloc(n, sizeof *map);
    int result = map ? 0 : -ENOMEM;

    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && !result; proto++) {
        struct leaf_context context = {plan, proto, kfl_proto_info[proto].layer4};

        program_specialise(&plan->program, n, leaf_of_proto, &context, map);
        for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
            plan->proto[proto].root[slot] = map[plan->whole[slot]];
        if (plan->program.no_memory)
            result = -ENOMEM;
    }
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && !result; proto++) {
        plan->proto[proto].apart = is_apart(plan, proto, n, map);
        result = make_proto(plan, proto);
    }
    for (unsigned l4 = 0; l4 < PLAN_LAYER4 && !result; l4++)
        result = make_stream(plan, l4, n, map);
    for (unsigned l4 = 0; l4 < PLAN_LAYER4 && !result; l4++)
        result = make_stream_needs(plan, l4, n, map);
    if (!result)
        result = plan->program.no_memory ? -ENOMEM : make_needs(plan);
    if (!result)
        result = make_native(plan);
    free(map);
    return result;
}

uint8_t plan_leaf_of(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto,
                     uint8_t layer4)
{
    const struct atom *atom = &plan->atoms.atom[number];
    const struct path_place *place;
    struct kfl_value value = {.type = KFL_STRING};
    enum kfl_field field;
    const char *text = NULL;

    if (atom->op == ATOM_GENERAL)
        return lower_always_absent(atom->tree, proto) ? atom->absent : atom_unknown(atom, true);
    place = &plan->atoms.subject[atom->subject].place[proto];
    if (place->kind == PATH_ABSENT)
        return atom->absent;
    if (place->kind == PATH_OBJECT) {
        value = facts_empty(KFL_TYPE_OBJECT);
        return atom_holds(atom, &value) ? MAY_TRUE : MAY_FALSE;
    }
    field = place->field;
    if (field == KFL_FIELD_PROTOCOL_NAME)
        text = kfl_proto_info[proto].name;
    else if (field == KFL_FIELD_PROTOCOL_ABBR)
        text = kfl_proto_info[proto].abbr;
    else if (field == KFL_FIELD_PROTOCOL_VERSION && *kfl_proto_info[proto].version)
        text = kfl_proto_info[proto].version;
    else if (field == KFL_FIELD_PROTOCOL_LAYER3)
        text = "ip";
    else if (field == KFL_FIELD_PROTOCOL_LAYER4)
        text = layer4 == KFL_L4_TCP    ? "tcp"
               : layer4 == KFL_L4_UDP  ? "udp"
               : layer4 == KFL_L4_SCTP ? "sctp"
               : layer4 == KFL_L4_ICMP ? "icmp"
                                       : NULL;
    if (text) {
        value.text = text;
        value.size = (uint32_t)strlen(text);
        return atom_holds(atom, &value) ? MAY_TRUE : MAY_FALSE;
    }
    if (field == KFL_FIELD_TLS && proto == KFL_PROTO_TLS) {
        value = (struct kfl_value){.type = KFL_BOOL, .boolean = true};
        return atom_holds(atom, &value) ? MAY_TRUE : MAY_FALSE;
    }
    if (!kfl_field_info[field].protos)
        return atom_unknown(atom, field == KFL_FIELD_ERROR_TYPE || field == KFL_FIELD_ERROR_MSG);
    /* In L4 entries request and response are always objects. */
    return atom_unknown(atom, !(KFL_PROTOS_L4 >> proto & 1) ||
                                  place->rest < plan->atoms.subject[atom->subject].path.n);
}

static uint8_t leaf_of_proto(void *context, uint32_t atom)
{
    struct leaf_context *leaf = context;

    return plan_leaf_of(leaf->plan, atom, leaf->proto, leaf->layer4);
}

/* Before there is an entry, only what a stream tells can be known. */
static uint8_t leaf_of_stream(void *context, uint32_t atom)
{
    struct leaf_context *leaf = context;
    uint8_t may = plan_leaf_of(leaf->plan, atom, leaf->proto, leaf->layer4);

    return atom_is_of_stream(leaf->plan, atom, leaf->proto) ? may : may | LEAF_CONST;
}

/* Does some job mean something else for this protocol than for a stream without one? */
static bool is_apart(struct kfl_plan *plan, enum kfl_proto proto, uint32_t n, uint32_t *map)
{
    for (unsigned i = 0; i < PLAN_LAYER4; i++) {
        enum kfl_l4 l4 = (enum kfl_l4)(1 << i);
        struct leaf_context context = {plan, proto, (uint8_t)l4};

        if (!(kfl_proto_info[proto].layer4 & l4))
            continue;
        program_specialise(&plan->program, n, leaf_of_proto, &context, map);
        for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
            if (map[plan->whole[slot]] != plan->proto[kfl_l4_entry(l4)].root[slot])
                return true;
    }
    return false;
}

static int make_proto(struct kfl_plan *plan, enum kfl_proto proto)
{
    struct plan_proto *of = &plan->proto[proto];
    uint32_t nodes[KFL_SLOT_MAX], protos[KFL_SLOT_MAX];
    uint8_t slots[KFL_SLOT_MAX];
    unsigned n = 0;
    int result;

    for (unsigned other = 0; other < proto; other++) {
        if (!memcmp(plan->proto[other].root, of->root, sizeof of->root)) {
            of->code = plan->proto[other].code;
            return 0;
        }
    }
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++) {
        if (!(plan->slots >> slot & 1))
            continue;
        nodes[n] = of->root[slot];
        protos[n] = UINT32_MAX;
        slots[n++] = (uint8_t)slot;
    }
    result = code_make(&plan->program, plan->atoms.n_atoms, nodes, slots, protos, n, &of->code);
    of->owns_code = !result;
    return result;
}

/* One root for each slot and set of protocols for which it is the same. */
static int make_stream(struct kfl_plan *plan, unsigned l4, uint32_t n_whole, uint32_t *map)
{
    enum { MAX = KFL_SLOT_MAX * KFL_PROTO_COUNT };
    uint32_t nodes[MAX], protos[MAX], all = kfl_protos_of_l4((enum kfl_l4)(1 << l4));
    uint8_t slots[MAX];
    unsigned n = 0;

    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        struct leaf_context context = {plan, proto, (uint8_t)(1 << l4)};

        if (!(all >> proto & 1))
            continue;
        program_specialise(&plan->program, n_whole, leaf_of_stream, &context, map);
        for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++) {
            uint32_t node = map[plan->whole[slot]];
            unsigned i = 0;

            if (!(plan->slots >> slot & 1))
                continue;
            while (i < n && (slots[i] != slot || nodes[i] != node))
                i++;
            if (i == n) {
                nodes[n] = node;
                protos[n] = 0;
                slots[n++] = (uint8_t)slot;
            }
            protos[i] |= UINT32_C(1) << proto;
        }
    }
    for (unsigned i = 0; i < n; i++)
        if (protos[i] == all)
            protos[i] = UINT32_MAX;
    return code_make(&plan->program, plan->atoms.n_atoms, nodes, slots, protos, n,
                     &plan->stream[l4].code);
}

/* The jobs that need entries of a protocol to be decided. */
static int make_needs(struct kfl_plan *plan)
{
    uint8_t *reads = calloc(plan->program.n, 1);

    if (!reads)
        return -ENOMEM;
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        find_readers(plan, proto, reads);
        for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
            if (plan->slots >> slot & 1 && reads[plan->proto[proto].root[slot]])
                plan->proto[proto].needs |= UINT64_C(1) << slot;
    }
    free(reads);
    return 0;
}

/* ... for streams of a layer 4: those too that do not mean the same for all its protocols, and
 * those that count entries. */
static int make_stream_needs(struct kfl_plan *plan, unsigned l4, uint32_t n, uint32_t *map)
{
    uint32_t first[KFL_SLOT_MAX], protos = kfl_protos_of_l4((enum kfl_l4)(1 << l4));
    uint64_t *needs = &plan->stream[l4].needs;

    memset(first, 0xff, sizeof first);
    *needs = plan->limited;
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        struct leaf_context context = {plan, proto, (uint8_t)(1 << l4)};
        uint8_t *reads;

        if (!(protos >> proto & 1))
            continue;
        program_specialise(&plan->program, n, leaf_of_proto, &context, map);
        reads = calloc(plan->program.n, 1);
        if (!reads || plan->program.no_memory) {
            free(reads);
            return -ENOMEM;
        }
        find_readers(plan, proto, reads);
        for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++) {
            uint32_t root = map[plan->whole[slot]];

            if (!(plan->slots >> slot & 1))
                continue;
            if (first[slot] == UINT32_MAX)
                first[slot] = root;
            if (reads[root] || root != first[slot])
                *needs |= UINT64_C(1) << slot;
        }
        free(reads);
    }
    return 0;
}

/* The nodes that read what only entries tell; nodes come after those they are made of. */
static void find_readers(const struct kfl_plan *plan, enum kfl_proto proto, uint8_t *reads)
{
    for (uint32_t i = 0; i < plan->program.n; i++) {
        const struct node *node = &plan->program.node[i];

        if (node->op == NODE_CONST)
            reads[i] = 0;
        else if (node->op == NODE_ATOM)
            reads[i] = !atom_is_of_stream(plan, node->a, proto);
        else
            reads[i] = reads[node->a] | (node->op >= NODE_AND ? reads[node->b] : 0);
    }
}

/* The codes as native code. What is too large or cannot be had on this machine stays a tree. */
static int make_native(struct kfl_plan *plan)
{
    uint32_t n = plan->atoms.n_atoms;
    int result = 0;

    plan->test = calloc(n + 1u, sizeof *plan->test);
    if (!plan->test)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        packet_test_make(&plan->atoms, i, &plan->test[i]);
    for (unsigned l4 = 0; l4 < PLAN_LAYER4 && !result; l4++)
        result = plan_make_native_code(plan, &plan->stream[l4].code);
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && !result; proto++) {
        struct plan_proto *of = &plan->proto[proto];
        unsigned same = 0;

        while (plan->proto[same].code.step != of->code.step)
            same++;
        if (same < proto) {
            of->code.packet = plan->proto[same].code.packet;
            of->code.packet_native = plan->proto[same].code.packet_native;
            of->code.program = plan->proto[same].code.program;
            of->code.native = plan->proto[same].code.native;
            of->code.reads = plan->proto[same].code.reads;
        } else {
            result = plan_make_native_code(plan, &of->code);
        }
    }
    return result;
}

int plan_make_native_code(struct kfl_plan *plan, struct code *code)
{
    int result = emit_packet_program(code, plan->test, plan->atoms.n_atoms, &code->packet);

    if (!result)
        code->packet_native = jit_native(code->packet);
    else if (result == -ENOMEM)
        return result;
    result = emit_program(code, plan->test, plan->atoms.n_atoms, &code->program);
    if (!result)
        code->native = jit_native(code->program);
    for (uint32_t i = 0; i < plan->atoms.n_atoms; i++)
        if (code_reads(code, i) && plan->test[i].kind)
            code->reads |= packet_test_reads(&plan->test[i]);
    return result == -ENOMEM ? result : 0;
}

/* Can it be known of a stream, before there is an entry? */
static bool atom_is_of_stream(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto)
{
    const struct atom *atom = &plan->atoms.atom[number];
    const struct path_place *place;

    if (atom->op == ATOM_GENERAL)
        return !plan->general[number][proto].entry;
    place = &plan->atoms.subject[atom->subject].place[proto];
    return place->kind == PATH_ROW && facts_of_stream(place->field);
}
