/* plan.c - making a plan: lowering, specialising for each protocol, what is asked where. */
#include "plan_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "demand.h"
#include "ensure.h"
#include "lower.h"

enum { ARENA_SIZE = 8 << 20 };

static int lower_jobs(struct kfl_plan *plan, const struct kfl_plan_job *jobs, unsigned n_jobs,
                      unsigned *ret_slot, struct kfl_messages *messages);
static int make_codes(struct kfl_plan *plan);
static int make_proto(struct kfl_plan *plan, enum kfl_proto proto);
static int make_stream(struct kfl_plan *plan, unsigned l4, uint32_t n, uint32_t *map);
static int make_stream_lists(struct kfl_plan *plan, struct plan_stream *of);
static bool is_apart(struct kfl_plan *plan, enum kfl_proto proto, uint32_t n, uint32_t *map);
static int make_needs(struct kfl_plan *plan);
static int make_native(struct kfl_plan *plan);
static int make_lists(struct kfl_plan *plan);
static int make_proto_lists(struct kfl_plan *plan, enum kfl_proto proto);
static int make_templates(struct kfl_plan *plan);
static void fill_template(const struct kfl_plan *plan, enum kfl_proto proto,
                          enum side_state request, enum side_state response, uint8_t *cell);
static int make_workers(struct kfl_plan *plan, unsigned n_workers);
static bool list_add(struct kfl_plan *plan, struct subject_list *list, uint32_t number);
static bool subject_used(const struct kfl_plan *plan, const struct code *code, uint32_t subject,
                         bool left);
static int make_native_code(struct kfl_plan *plan, struct code *code);
static bool atom_is_of_stream(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto);

int kfl_plan_create(const struct kfl_plan_job *jobs, unsigned n_jobs, unsigned n_workers,
                    bool demand_all, struct kfl_plan **ret_plan, unsigned *ret_slot,
                    struct kfl_messages *messages)
{
    struct kfl_plan *plan = calloc(1, sizeof *plan);
    int result;

    ensure(n_jobs <= KFL_SLOT_MAX && n_workers <= KFL_WORKER_MAX);
    if (!plan)
        return -ENOMEM;
    atoms_init(&plan->atoms);
    program_init(&plan->program);
    result = lower_jobs(plan, jobs, n_jobs, ret_slot, messages);
    if (!result)
        result = make_codes(plan);
    if (!result)
        result = make_native(plan);
    if (!result)
        result = make_lists(plan);
    if (!result)
        result = make_templates(plan);
    if (!result)
        result = demand_make(plan, demand_all, &plan->demand);
    if (!result)
        result = make_workers(plan, n_workers);
    if (result) {
        kfl_plan_free(plan);
        return result;
    }
    *ret_plan = plan;
    return 0;
}

void kfl_plan_free(struct kfl_plan *plan)
{
    if (!plan)
        return;
    for (unsigned i = 0; i < plan->n_workers; i++) {
        free(plan->worker[i].frame);
        patterns_scratch_free(plan->worker[i].scratch);
        kfl_arena_free(plan->worker[i].arena);
    }
    free(plan->worker);
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        if (plan->proto[proto].owns_code)
            code_done(&plan->proto[proto].code);
        free(plan->proto[proto].template);
    }
    for (unsigned l4 = 0; l4 < PLAN_LAYER4; l4++)
        code_done(&plan->stream[l4].code);
    free(plan->stream_template);
    free(plan->list);
    free(plan->general);
    free(plan->test);
    demand_done(&plan->demand);
    program_done(&plan->program);
    atoms_done(&plan->atoms);
    free(plan);
}

void kfl_plan_set_mode(struct kfl_plan *plan, enum kfl_plan_mode mode)
{
    plan->mode = mode;
}

bool kfl_plan_is_native(const struct kfl_plan *plan)
{
    bool native = true;

    for (unsigned l4 = 0; l4 < PLAN_LAYER4; l4++)
        native &= plan->stream[l4].code.native != NULL;
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++)
        native &= plan->proto[proto].code.native != NULL;
    return native;
}

uint64_t kfl_plan_jobs(const struct kfl_plan *plan)
{
    return plan->slots;
}

const struct kfl_demand *kfl_plan_demand(const struct kfl_plan *plan)
{
    return &plan->demand;
}

uint64_t kfl_plan_redacts(const struct kfl_plan *plan)
{
    return plan->redacts;
}

bool kfl_plan_redact(const struct kfl_plan *plan, unsigned slot, struct kfl_value *entry,
                     struct kfl_arena *arena)
{
    return kfl_statement_redact(plan->statement[slot], entry, arena);
}

static void note_read(void *context, enum kfl_field field)
{
    struct general_needs *needs = context;
    enum kfl_stage stage = kfl_field_info[field].stage;
    bool every = !kfl_field_info[field].protos;

    if (stage == KFL_STAGE_END && every)
        needs->end = true;
    else if (stage != KFL_STAGE_PACKET)
        needs->entry = true;
    if (stage == KFL_STAGE_RESPONSE || !strncmp(kfl_field_info[field].path, "response", 8))
        needs->response = true;
}

static int lower_jobs(struct kfl_plan *plan, const struct kfl_plan_job *jobs, unsigned n_jobs,
                      unsigned *ret_slot, struct kfl_messages *messages)
{
    for (unsigned i = 0; i < n_jobs; i++) {
        unsigned slot = jobs[i].slot;

        ensure(slot < KFL_SLOT_MAX && !(plan->slots >> slot & 1));
        *ret_slot = slot;
        if (kfl_statement_check_job(jobs[i].statement, messages))
            return -EINVAL;
        plan->slots |= UINT64_C(1) << slot;
        plan->statement[slot] = jobs[i].statement;
        if (kfl_statement_redacts(jobs[i].statement))
            plan->redacts |= UINT64_C(1) << slot;
        plan->whole[slot] = lower_statement(&plan->atoms, &plan->program, jobs[i].statement);
    }
    if (plan->atoms.no_memory || plan->program.no_memory)
        return -ENOMEM;
    if (atoms_make_patterns(&plan->atoms))
        return -ENOMEM;
    plan->general = calloc(plan->atoms.n_atoms + 1u, sizeof *plan->general);
    for (uint32_t i = 0; i < plan->atoms.n_atoms && plan->general; i++)
        for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++)
            if (plan->atoms.atom[i].op == ATOM_GENERAL)
                lower_reads(plan->atoms.atom[i].tree, proto, note_read, &plan->general[i][proto]);
    return plan->general ? 0 : -ENOMEM;
}

/* What is known of an atom in every entry of a protocol over one or more of its transports. */
static uint8_t leaf_of(const struct kfl_plan *plan, uint32_t number, enum kfl_proto proto,
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

struct leaf_context {
    const struct kfl_plan *plan;
    enum kfl_proto proto;
    uint8_t layer4;
};

static uint8_t leaf_of_proto(void *context, uint32_t atom)
{
    struct leaf_context *leaf = context;

    return leaf_of(leaf->plan, atom, leaf->proto, leaf->layer4);
}

/* Before there is an entry, only what a stream tells can be known. */
static uint8_t leaf_of_stream(void *context, uint32_t atom)
{
    struct leaf_context *leaf = context;
    uint8_t may = leaf_of(leaf->plan, atom, leaf->proto, leaf->layer4);

    return atom_is_of_stream(leaf->plan, atom, leaf->proto) ? may : may | LEAF_CONST;
}

/* The roots of all jobs for each protocol, for its entries and for streams before them. */
static int make_codes(struct kfl_plan *plan)
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
    if (!result)
        result = plan->program.no_memory ? -ENOMEM : make_needs(plan);
    free(map);
    return result;
}

/* Does some job mean something else for this protocol than for a stream without one? */
static bool is_apart(struct kfl_plan *plan, enum kfl_proto proto, uint32_t n, uint32_t *map)
{
    static const uint8_t l4_entry[][2] = {{KFL_L4_TCP, KFL_PROTO_TCP},
                                          {KFL_L4_UDP, KFL_PROTO_UDP},
                                          {KFL_L4_SCTP, KFL_PROTO_SCTP},
                                          {KFL_L4_ICMP, KFL_PROTO_ICMP},
                                          {KFL_L4_OTHER, KFL_PROTO_IP}};

    for (unsigned i = 0; i < sizeof l4_entry / sizeof *l4_entry; i++) {
        struct leaf_context context = {plan, proto, l4_entry[i][0]};

        if (!(kfl_proto_info[proto].layer4 & l4_entry[i][0]))
            continue;
        program_specialise(&plan->program, n, leaf_of_proto, &context, map);
        for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
            if (map[plan->whole[slot]] != plan->proto[l4_entry[i][1]].root[slot])
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
        for (uint32_t i = 0; i < plan->program.n; i++) {
            const struct node *node = &plan->program.node[i];

            if (node->op == NODE_CONST)
                reads[i] = 0;
            else if (node->op == NODE_ATOM)
                reads[i] = !atom_is_of_stream(plan, node->a, proto);
            else
                reads[i] = reads[node->a] | (node->op >= NODE_AND ? reads[node->b] : 0);
        }
        for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
            if (plan->slots >> slot & 1 && reads[plan->proto[proto].root[slot]])
                plan->proto[proto].needs |= UINT64_C(1) << slot;
    }
    free(reads);
    return 0;
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
        result = make_native_code(plan, &plan->stream[l4].code);
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && !result; proto++) {
        struct plan_proto *of = &plan->proto[proto];
        unsigned same = 0;

        while (plan->proto[same].code.step != of->code.step)
            same++;
        if (same < proto) {
            of->code.program = plan->proto[same].code.program;
            of->code.native = plan->proto[same].code.native;
            of->code.reads = plan->proto[same].code.reads;
        } else {
            result = make_native_code(plan, &of->code);
        }
    }
    return result;
}

static int make_native_code(struct kfl_plan *plan, struct code *code)
{
    int result = emit_program(code, plan->test, plan->atoms.n_atoms, &code->program);

    if (!result)
        code->native = jit_native(code->program);
    for (uint32_t i = 0; i < plan->atoms.n_atoms; i++)
        if (code_reads(code, i) && plan->test[i].kind)
            code->reads |= packet_test_reads(&plan->test[i]);
    return result == -ENOMEM ? result : 0;
}

/* Which subjects are filled from where. */
static int make_lists(struct kfl_plan *plan)
{
    bool ok = true;

    for (unsigned l4 = 0; l4 < PLAN_LAYER4 && ok; l4++)
        ok = !make_stream_lists(plan, &plan->stream[l4]);
    for (unsigned field = 1; field < KFL_FIELD_COUNT; field++) {
        for (uint32_t i = 0; i < plan->atoms.n_subjects; i++)
            for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++)
                if (plan->atoms.subject[i].place[proto].kind == PATH_ROW &&
                    plan->atoms.subject[i].place[proto].field == field) {
                    ok &= list_add(plan, &plan->field[field], i);
                    break;
                }
        for (uint32_t i = 0; i < plan->atoms.n_subjects && kfl_field_info[field].protos; i++)
            for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++)
                if (plan->atoms.subject[i].place[proto].kind == PATH_ROW &&
                    plan->atoms.subject[i].place[proto].parent == field) {
                    ok &= list_add(plan, &plan->below[field], i);
                    break;
                }
    }
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && ok; proto++)
        ok = !make_proto_lists(plan, proto);
    return ok ? 0 : -ENOMEM;
}

static int make_stream_lists(struct kfl_plan *plan, struct plan_stream *of)
{
    bool ok = true;

    for (uint32_t i = 0; i < plan->atoms.n_subjects; i++) {
        enum kfl_field field = plan->atoms.subject[i].place[0].field;

        if (plan->atoms.subject[i].place[0].kind == PATH_ROW && facts_of_stream(field) &&
            subject_used(plan, &of->code, i, false))
            ok &= list_add(plan, &of->subjects, i);
    }
    for (uint32_t i = 0; i < of->subjects.n; i++) {
        uint32_t subject = plan->list[of->subjects.first + i];

        if (subject_used(plan, &of->code, subject, true))
            ok &= list_add(plan, &of->left, subject);
    }
    for (uint32_t i = 0; i < plan->atoms.n_atoms; i++)
        if (plan->atoms.atom[i].op == ATOM_GENERAL && code_reads(&of->code, i))
            ok &= list_add(plan, &of->general, i);
    return ok ? 0 : -ENOMEM;
}

static int make_proto_lists(struct kfl_plan *plan, enum kfl_proto proto)
{
    struct plan_proto *of = &plan->proto[proto];
    bool ok = true;

    for (uint32_t i = 0; i < plan->atoms.n_subjects; i++) {
        const struct path_place *place = &plan->atoms.subject[i].place[proto];

        if (place->kind == PATH_ROW && !kfl_field_info[place->field].protos &&
            place->field != KFL_FIELD_REQUEST && place->field != KFL_FIELD_RESPONSE &&
            subject_used(plan, &of->code, i, false))
            ok &= list_add(plan, &of->subjects, i);
    }
    for (uint32_t i = 0; i < of->subjects.n; i++) {
        uint32_t subject = plan->list[of->subjects.first + i];

        if (subject_used(plan, &of->code, subject, true))
            ok &= list_add(plan, &of->left, subject);
    }
    for (uint32_t i = 0; i < plan->atoms.n_atoms; i++)
        if (plan->atoms.atom[i].op == ATOM_GENERAL && code_reads(&of->code, i))
            ok &= list_add(plan, &of->general, i);
    return ok ? 0 : -ENOMEM;
}

static int make_templates(struct kfl_plan *plan)
{
    size_t n = plan->atoms.n_atoms;

    plan->stream_template = malloc(n + 1);
    if (!plan->stream_template)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        plan->stream_template[i] = cell_of_may[atom_unknown(&plan->atoms.atom[i], true)];
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        uint8_t *template = plan->proto[proto].template = malloc(SIDE_STATES * SIDE_STATES * n + 1);

        if (!template)
            return -ENOMEM;
        for (unsigned request = 0; request < SIDE_STATES; request++)
            for (unsigned response = 0; response < SIDE_STATES; response++)
                fill_template(plan, proto, request, response,
                              template + (request * SIDE_STATES + response) * n);
    }
    return 0;
}

/* What the atoms of an entry are before its tapes are read: what is not on them is empty. */
static void fill_template(const struct kfl_plan *plan, enum kfl_proto proto,
                          enum side_state request, enum side_state response, uint8_t *cell)
{
    const struct atoms *atoms = &plan->atoms;
    const struct cells cells = {.cell = cell};
    uint8_t layer4 = kfl_proto_info[proto].layer4;

    for (uint32_t i = 0; i < atoms->n_atoms; i++)
        cell[i] = cell_of_may[leaf_of(plan, i, proto, layer4) & MAY_ALL];
    for (uint32_t i = 0; i < atoms->n_subjects; i++) {
        const struct subject *subject = &atoms->subject[i];
        const struct path_place *place = &subject->place[proto];
        const char *path = kfl_field_info[place->field].path;
        enum side_state state = place->kind != PATH_ROW         ? SIDE_OPEN
                                : !strncmp(path, "request", 7)  ? request
                                : !strncmp(path, "response", 8) ? response
                                                                : SIDE_OPEN;
        struct kfl_value value;

        if (state == SIDE_OPEN || place->field == KFL_FIELD_REQUEST_SIZE ||
            place->field == KFL_FIELD_RESPONSE_SIZE)
            continue;
        value = facts_empty(state == SIDE_OBJECT && (place->field == KFL_FIELD_REQUEST ||
                                                     place->field == KFL_FIELD_RESPONSE)
                                ? KFL_TYPE_OBJECT
                                : kfl_field_info[place->field].type);
        if (place->field != KFL_FIELD_REQUEST && place->field != KFL_FIELD_RESPONSE &&
            (state == SIDE_NULL || place->rest < subject->path.n || place->parent))
            subject_absent(atoms, subject, &cells);
        else if (value.type == KFL_ARRAY)
            subject_array(atoms, subject, true, false, &cells);
        else
            subject_value(atoms, subject, &value, &cells);
    }
}

static int make_workers(struct kfl_plan *plan, unsigned n_workers)
{
    bool general = false;

    for (unsigned l4 = 0; l4 < PLAN_LAYER4; l4++) {
        const struct plan_stream *of = &plan->stream[l4];

        if (of->code.first_cell + of->code.n_steps > plan->n_cells)
            plan->n_cells = of->code.first_cell + of->code.n_steps;
        general |= of->general.n > 0;
    }
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        const struct code *code = &plan->proto[proto].code;

        if (code->first_cell + code->n_steps > plan->n_cells)
            plan->n_cells = code->first_cell + code->n_steps;
        general |= plan->proto[proto].general.n > 0;
    }
    plan->worker = calloc(n_workers + 1u, sizeof *plan->worker);
    if (!plan->worker)
        return -ENOMEM;
    plan->n_workers = n_workers;
    for (unsigned i = 0; i < n_workers; i++) {
        struct plan_worker *worker = &plan->worker[i];

        worker->frame = aligned_alloc(64, (sizeof *worker->frame + plan->n_cells + 63) / 64 * 64);
        if (!worker->frame)
            return -ENOMEM;
        memset(worker->frame, 0, sizeof *worker->frame);
        memcpy(worker->frame->cell, cell_of_may, sizeof cell_of_may);
        for (uint32_t k = 0; k < plan->atoms.n_subjects; k++)
            if (plan->atoms.subject[k].patterns &&
                patterns_scratch_add(plan->atoms.subject[k].patterns, &worker->scratch))
                return -ENOMEM;
        if (!general)
            continue;
        worker->arena = kfl_arena_create(ARENA_SIZE);
        if (!worker->arena)
            return -ENOMEM;
        /* Taken now: a worker allocates nothing. */
        kfl_arena_alloc(worker->arena, ARENA_SIZE / 2);
        kfl_arena_reset(worker->arena);
    }
    return 0;
}

static bool list_add(struct kfl_plan *plan, struct subject_list *list, uint32_t number)
{
    if (plan->n_list == plan->list_capacity) {
        uint32_t capacity = plan->list_capacity ? plan->list_capacity * 2 : 64;
        uint32_t *bigger = reallocarray(plan->list, capacity, sizeof *bigger);

        if (!bigger)
            return false;
        plan->list = bigger;
        plan->list_capacity = capacity;
    }
    if (!list->n)
        list->first = plan->n_list;
    ensure(list->first + list->n == plan->n_list);
    plan->list[plan->n_list++] = number;
    list->n++;
    return true;
}

/* Does the code read one of its atoms; left: one that it does not test itself? */
static bool subject_used(const struct kfl_plan *plan, const struct code *code, uint32_t number,
                         bool left)
{
    const struct subject *subject = &plan->atoms.subject[number];

    for (uint32_t i = 0; i < subject->n; i++)
        if (code_reads(code, subject->atom[i]) && !(left && plan->test[subject->atom[i]].kind))
            return true;
    return false;
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
