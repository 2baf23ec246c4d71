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
static int make_stream_lists(struct kfl_plan *plan, struct plan_stream *of);
static int make_lists(struct kfl_plan *plan);
static int make_proto_lists(struct kfl_plan *plan, enum kfl_proto proto);
static int make_templates(struct kfl_plan *plan);
static int make_sieves(struct kfl_plan *plan);
static void fill_template(const struct kfl_plan *plan, enum kfl_proto proto,
                          enum side_state request, enum side_state response, uint8_t *cell);
static int make_workers(struct kfl_plan *plan, unsigned n_workers);
static bool list_add(struct kfl_plan *plan, struct subject_list *list, uint32_t number);
static bool subject_used(const struct kfl_plan *plan, const struct code *code, uint32_t subject,
                         bool left);

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
        result = plan_make_code(plan);
    if (!result)
        result = make_lists(plan);
    if (!result)
        result = make_templates(plan);
    if (!result)
        result = make_sieves(plan);
    if (!result)
        result = demand_make(plan, demand_all, &plan->demand);
    if (!result)
        result = make_workers(plan, n_workers);
    if (!result)
        kfl_plan_set_mode(plan, KFL_PLAN_NATIVE);
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
        sieve_free(plan->proto[proto].sieve);
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
    for (unsigned l4 = 0; l4 < PLAN_LAYER4; l4++)
        plan->packet_native[l4] =
            mode == KFL_PLAN_NATIVE ? plan->stream[l4].code.packet_native : NULL;
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

uint64_t kfl_plan_limited(const struct kfl_plan *plan)
{
    return plan->limited;
}

uint64_t kfl_plan_limit(const struct kfl_plan *plan, unsigned slot)
{
    return (uint64_t)kfl_statement_limit(plan->statement[slot]);
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
    if (facts_of_response(field) || !strncmp(kfl_field_info[field].path, "response", 8))
        needs->response = true;
}

static int lower_jobs(struct kfl_plan *plan, const struct kfl_plan_job *jobs, unsigned n_jobs,
                      unsigned *ret_slot, struct kfl_messages *messages)
{
    for (unsigned i = 0; i < n_jobs; i++) {
        unsigned slot = jobs[i].slot;

        ensure(slot < KFL_SLOT_MAX && !(plan->slots >> slot & 1));
        *ret_slot = slot;
        if (jobs[i].stored ? kfl_statement_check_stored(jobs[i].statement, messages)
                           : kfl_statement_check_job(jobs[i].statement, messages))
            return -EINVAL;
        plan->slots |= UINT64_C(1) << slot;
        plan->statement[slot] = jobs[i].statement;
        if (kfl_statement_limit(jobs[i].statement))
            plan->limited |= UINT64_C(1) << slot;
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
        cell[i] = cell_of_may[plan_leaf_of(plan, i, proto, layer4) & MAY_ALL];
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

static int make_sieves(struct kfl_plan *plan)
{
    int result = 0;

    for (unsigned proto = 0; proto < KFL_PROTO_COUNT && !result; proto++)
        if (!plan->proto[proto].code.packet)
            result = sieve_create(plan, proto, &plan->proto[proto].sieve);
    return result;
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
        const struct sieve *sieve = plan->proto[proto].sieve;

        if (code->first_cell + code->n_steps > plan->n_cells)
            plan->n_cells = code->first_cell + code->n_steps;
        if (sieve && sieve->whole.first_cell + sieve->whole.n_steps > plan->n_cells)
            plan->n_cells = sieve->whole.first_cell + sieve->whole.n_steps;
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
