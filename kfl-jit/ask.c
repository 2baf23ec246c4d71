/* ask.c - asking a plan: atoms are filled from facts, code is run, settled jobs come out. */
#include "plan_internal.h"

#include <string.h>

#include "ensure.h"
#include "eval.h"

/* A value that a selector leads to on a tape; node is null for one that is not written. */
struct found {
    struct kfl_value value;
    const struct fact *node;
};

/* What is done with the values of a selector in turn. */
struct visit {
    const struct atoms *atoms;
    const struct subject *subject;
    const struct cells *cells; /* second round: elements are put here; null in the first */
    uint32_t n;                /* values so far */
    struct found first;
    enum kfl_field member; /* row of the last step, when it is of an array's objects */
};

static struct kfl_verdict ask_stream(const struct kfl_plan *plan, unsigned number,
                                     const struct kfl_stream *stream, uint64_t ask);
static struct kfl_verdict stream_one_way(const struct kfl_plan *plan, struct plan_worker *worker,
                                         const struct kfl_stream *stream);
static struct kfl_verdict entry_one_way(const struct kfl_plan *plan, struct plan_worker *worker,
                                        const struct kfl_entry *entry, uint64_t ask);
static void turn(struct kfl_stream *turned, const struct kfl_stream *stream);
static void fill_fact(const struct kfl_plan *plan, struct plan_worker *worker,
                      const struct facts *facts, uint32_t subject);
static void fill_tape(const struct kfl_plan *plan, const struct cells *cells,
                      const struct code *code, enum kfl_proto proto, const void *facts,
                      uint32_t size, unsigned depth);
static void fill_node(const struct atoms *atoms, const struct subject *subject,
                      const struct path_place *place, const struct fact *node,
                      const struct cells *cells);
static void fill_found(const struct atoms *atoms, const struct subject *subject,
                       const struct found *found, const struct cells *cells);
static void fill_general(const struct kfl_plan *plan, struct plan_worker *worker,
                         const struct kfl_entry *entry, const struct code *code,
                         const struct subject_list *list, bool of_stream);
static inline void visit_member(struct visit *visit, const struct fact *map,
                                const struct ast_step *step);
static void visit_node(struct visit *visit, const struct fact *node, const struct ast_step *step,
                       uint32_t n_steps);

static inline struct cells cells_of(const struct plan_worker *worker)
{
    return (struct cells){plan_cells(worker), worker->scratch};
}

static inline bool code_reads_subject(const struct code *code, const struct subject *subject)
{
    for (uint32_t i = 0; i < subject->n; i++)
        if (code_reads(code, subject->atom[i]))
            return true;
    return false;
}

/* Does this code test packet facts itself? */
static inline bool is_native(const struct kfl_plan *plan, const struct code *code)
{
    return code->program && plan->mode != KFL_PLAN_TREE;
}

static inline struct kfl_verdict run(const struct kfl_plan *plan, struct plan_worker *worker,
                                     const struct code *code, const struct kfl_stream *stream,
                                     uint32_t protos)
{
    struct frame *frame = worker->frame;

    if (code->packet && plan->mode != KFL_PLAN_TREE) {
        void *context = (void *)(uintptr_t)stream; /* is only read */
        uint64_t out = code->packet_native && plan->mode == KFL_PLAN_NATIVE
                           ? code->packet_native(context)
                           : jit_interpret(code->packet, context);

        return (struct kfl_verdict){code->slots & ~out, out};
    }
    if (!is_native(plan, code))
        return code_run(code, frame->cell, protos);
    packet_facts(stream, code->reads, &frame->facts);
    frame->protos = protos;
    if (code->native && plan->mode == KFL_PLAN_NATIVE)
        code->native(frame);
    else
        jit_interpret(code->program, frame);
    return emit_verdict(frame, code->slots);
}

struct kfl_verdict kfl_plan_stream(const struct kfl_plan *plan, unsigned number,
                                   const struct kfl_stream *stream, uint64_t ask)
{
    jit_function *packet = plan->packet_native[__builtin_ctz(stream->l4)];
    uint64_t out;

    if (!packet || !stream->oriented || !stream->protos)
        return ask_stream(plan, number, stream, ask);
    ask &= plan->slots;
    out = packet((void *)(uintptr_t)stream);
    return (struct kfl_verdict){ask & ~out, ask & out};
}

struct kfl_verdict kfl_plan_entry(const struct kfl_plan *plan, unsigned number,
                                  const struct kfl_entry *entry, uint64_t ask)
{
    struct plan_worker *worker = &plan->worker[number];
    const struct kfl_stream *stream = entry->stream;
    struct kfl_verdict verdict, other;

    ensure(number < plan->n_workers && entry->proto < KFL_PROTO_COUNT);
    verdict = entry_one_way(plan, worker, entry, ask);
    if (!stream->oriented && !stream->ended) {
        struct kfl_entry turned = *entry;

        turn(&worker->turned, stream);
        turned.stream = &worker->turned;
        other = entry_one_way(plan, worker, &turned, ask);
        verdict.matched &= other.matched;
        verdict.out &= other.out;
    }
    return (struct kfl_verdict){verdict.matched & ask, verdict.out & ask};
}

uint64_t kfl_plan_needs_entries(const struct kfl_plan *plan, uint32_t protos, uint64_t ask)
{
    uint64_t needs = 0;
    unsigned first = KFL_PROTO_COUNT;

    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        if (!(protos >> proto & 1))
            continue;
        needs |= plan->proto[proto].needs;
        if (first == KFL_PROTO_COUNT)
            first = proto;
        for (uint64_t left = ask & ~needs; left; left &= left - 1) {
            unsigned slot = (unsigned)__builtin_ctzll(left);

            if (plan->proto[proto].root[slot] != plan->proto[first].root[slot])
                needs |= UINT64_C(1) << slot;
        }
    }
    return needs & ask;
}

uint64_t kfl_plan_needs_entries_of(const struct kfl_plan *plan, enum kfl_l4 l4, uint64_t ask)
{
    return plan->stream[__builtin_ctz(l4)].needs & ask;
}

static struct kfl_verdict stream_one_way(const struct kfl_plan *plan, struct plan_worker *worker,
                                         const struct kfl_stream *stream)
{
    const struct plan_stream *of = &plan->stream[__builtin_ctz(stream->l4)];
    const struct subject_list *subjects = is_native(plan, &of->code) ? &of->left : &of->subjects;
    uint32_t protos = stream->protos;
    struct facts facts = {.stream = stream};

    if (!protos) /* no entry can come any more */
        return (struct kfl_verdict){0, plan->slots};
    if (!subjects->n && !of->general.n)
        return run(plan, worker, &of->code, stream, protos);
    memcpy(plan_cells(worker), plan->stream_template, plan->atoms.n_atoms);
    facts.proto = (enum kfl_proto)(31 - __builtin_clz(protos));
    for (uint32_t i = 0; i < subjects->n; i++)
        fill_fact(plan, worker, &facts, plan->list[subjects->first + i]);
    if (of->general.n) {
        struct kfl_entry entry = {
            .stream = stream, .proto = facts.proto, .version = "", .error_msg = ""};

        fill_general(plan, worker, &entry, &of->code, &of->general, true);
    }
    return run(plan, worker, &of->code, stream, protos);
}

static struct kfl_verdict entry_one_way(const struct kfl_plan *plan, struct plan_worker *worker,
                                        const struct kfl_entry *entry, uint64_t ask)
{
    const struct plan_proto *of = &plan->proto[entry->proto];

    if (plan->mode == KFL_PLAN_TREE)
        return plan_entry_whole(plan, worker, entry, &of->code);
    if (of->code.packet)
        return run(plan, worker, &of->code, entry->stream, UINT32_MAX);
    if (of->sieve)
        return plan_sift(plan, worker, entry, ask);
    return plan_entry_whole(plan, worker, entry, &of->code);
}

struct kfl_verdict plan_entry_whole(const struct kfl_plan *plan, struct plan_worker *worker,
                                    const struct kfl_entry *entry, const struct code *code)
{
    const struct plan_proto *of = &plan->proto[entry->proto];
    const struct subject_list *subjects = is_native(plan, code) ? &of->left : &of->subjects;
    enum side_state request = plan_request_state(entry), response = plan_response_state(entry);
    struct facts facts = {.stream = entry->stream, .entry = entry, .proto = entry->proto};
    const struct cells cells = cells_of(worker);
    uint32_t n = plan->atoms.n_atoms;

    if (code->packet && plan->mode != KFL_PLAN_TREE)
        return run(plan, worker, code, entry->stream, UINT32_MAX);
    memcpy(cells.cell, of->template + (size_t)(request * SIDE_STATES + response) * n, n);
    for (uint32_t i = 0; i < subjects->n; i++) {
        uint32_t number = plan->list[subjects->first + i];

        if (code_reads_subject(code, &plan->atoms.subject[number]))
            fill_fact(plan, worker, &facts, number);
    }
    if (request == SIDE_OBJECT)
        fill_tape(plan, &cells, code, entry->proto, entry->request->facts,
                  entry->request->facts_size, 0);
    if (response == SIDE_OBJECT)
        fill_tape(plan, &cells, code, entry->proto, entry->response->facts,
                  entry->response->facts_size, 0);
    if (of->general.n)
        fill_general(plan, worker, entry, code, &of->general, false);
    return run(plan, worker, code, entry->stream, UINT32_MAX);
}

struct kfl_verdict plan_run(const struct kfl_plan *plan, struct plan_worker *worker,
                            const struct code *code, const struct kfl_stream *stream)
{
    return run(plan, worker, code, stream, UINT32_MAX);
}

void plan_fill_value(const struct kfl_plan *plan, struct plan_worker *worker, uint32_t subject,
                     const struct kfl_value *value)
{
    const struct cells cells = cells_of(worker);

    subject_value(&plan->atoms, &plan->atoms.subject[subject], value, &cells);
}

void plan_fill_node(const struct kfl_plan *plan, struct plan_worker *worker, uint32_t number,
                    enum kfl_proto proto, const struct fact *node)
{
    const struct subject *subject = &plan->atoms.subject[number];
    const struct cells cells = cells_of(worker);

    fill_node(&plan->atoms, subject, &subject->place[proto], node, &cells);
}

const struct fact *plan_find_member(const struct kfl_plan *plan, uint32_t number,
                                    enum kfl_proto proto, const struct fact *array)
{
    const struct subject *subject = &plan->atoms.subject[number];
    const struct path_place *place = &subject->place[proto];
    const struct ast_step *step = subject->path.step + place->rest;
    const struct fact *found = NULL;
    int64_t at = 0;

    if (!place->member || array->type != FACT_ARRAY)
        return NULL;
    FACT_EACH(object, fact_value_of(array), array->value_size)
    {
        const struct fact *before = found;

        if (step->type == AST_INDEX && at++ != step->index)
            continue;
        FACT_EACH(child, fact_value_of(object), object->value_size)
        {
            if (child->field == place->member)
                found = child;
        }
        if (before || !found)
            return NULL;
    }
    return found && found->type != FACT_ARRAY ? found : NULL;
}

/* Apart from what is asked often, so that asking that costs no more than its own call. */
static __attribute__((noinline)) struct kfl_verdict ask_stream(const struct kfl_plan *plan,
                                                               unsigned number,
                                                               const struct kfl_stream *stream,
                                                               uint64_t ask)
{
    struct plan_worker *worker = &plan->worker[number];
    struct kfl_verdict verdict, other;

    ensure(number < plan->n_workers);
    verdict = stream_one_way(plan, worker, stream);
    if (!stream->oriented && !stream->ended) {
        turn(&worker->turned, stream);
        other = stream_one_way(plan, worker, &worker->turned);
        verdict.matched &= other.matched;
        verdict.out &= other.out;
    }
    return (struct kfl_verdict){verdict.matched & ask, verdict.out & ask};
}

/* The stream as it is if the other end should turn out to be the client. */
static void turn(struct kfl_stream *turned, const struct kfl_stream *stream)
{
    *turned = *stream;
    for (unsigned side = 0; side < 2; side++) {
        turned->end[side] = stream->end[!side];
        turned->packets[side] = stream->packets[!side];
        turned->bytes[side] = stream->bytes[!side];
    }
}

static void fill_fact(const struct kfl_plan *plan, struct plan_worker *worker,
                      const struct facts *facts, uint32_t subject)
{
    facts_get(facts, plan->atoms.subject[subject].place[facts->proto].field, &worker->value);
    plan_fill_fact(plan, worker, subject, &worker->value);
}

void plan_fill_fact(const struct kfl_plan *plan, struct plan_worker *worker, uint32_t number,
                    const struct facts_value *value)
{
    const struct subject *subject = &plan->atoms.subject[number];
    const struct atoms *atoms = &plan->atoms;
    const struct cells cells = cells_of(worker);

    switch (value->kind) {
    case FACTS_UNKNOWN:
        subject_unknown(atoms, subject, false, &cells);
        break;
    case FACTS_MISSING:
        subject_unknown(atoms, subject, true, &cells);
        break;
    case FACTS_ABSENT:
        subject_absent(atoms, subject, &cells);
        break;
    case FACTS_VALUE:
        subject_value(atoms, subject, &value->value, &cells);
        break;
    case FACTS_AT_LEAST:
        subject_at_least(atoms, subject, value->value.integer, &cells);
        break;
    case FACTS_ARRAY:
    case FACTS_GROWING:
        subject_array(atoms, subject, !value->n, value->kind == FACTS_GROWING, &cells);
        for (uint32_t i = 0; i < value->n; i++) {
            struct kfl_value element = {.type = KFL_STRING,
                                        .text = value->element[i],
                                        .size = (uint32_t)strlen(value->element[i])};

            subject_element(atoms, subject, &element, &cells);
        }
        break;
    }
}

/* Expressions that are evaluated over the entry as JSON, once all they read is known. */
static void fill_general(const struct kfl_plan *plan, struct plan_worker *worker,
                         const struct kfl_entry *entry, const struct code *code,
                         const struct subject_list *list, bool of_stream)
{
    uint8_t *cell = plan_cells(worker);
    struct evaluation evaluation = {.arena = worker->arena};

    kfl_arena_reset(worker->arena);
    for (uint32_t i = 0; i < list->n; i++) {
        uint32_t number = plan->list[list->first + i];
        const struct atom *atom = &plan->atoms.atom[number];
        struct general_needs needs = plan->general[number][entry->proto];
        struct kfl_value value;

        if (!code_reads(code, number) || (needs.entry && of_stream) ||
            (needs.response && entry->response_open) || (needs.end && !entry->stream->ended))
            continue;
        if (!evaluation.record)
            evaluation.record = kfl_entry_value(worker->arena, entry);
        if (!evaluation.record) {
            cell[number] = CELL_FALSE;
            continue;
        }
        if (!eval_expression(&evaluation, atom->tree, &value))
            cell[number] = evaluation.exhausted ? CELL_FALSE : cell_of_may[atom->absent];
        else
            cell[number] = value_truth(&value) ? CELL_TRUE : CELL_FALSE;
        if (evaluation.changed || evaluation.exhausted) {
            evaluation = (struct evaluation){.arena = worker->arena};
            kfl_arena_reset(worker->arena);
        }
    }
}

/* Nodes of a half, and of the objects in it. */
static void fill_tape(const struct kfl_plan *plan, const struct cells *cells,
                      const struct code *code, enum kfl_proto proto, const void *facts,
                      uint32_t size, unsigned depth)
{
    FACT_EACH(node, facts, size)
    {
        const struct subject_list *list = &plan->field[node->field];

        for (uint32_t i = 0; i < list->n; i++) {
            const struct subject *subject = &plan->atoms.subject[plan->list[list->first + i]];

            if (subject->place[proto].field == node->field && code_reads_subject(code, subject))
                fill_node(&plan->atoms, subject, &subject->place[proto], node, cells);
        }
        if (node->type != FACT_OBJECT || depth == FACT_DEPTH_MAX)
            continue;
        list = &plan->below[node->field];
        for (uint32_t i = 0; i < list->n; i++) {
            const struct subject *subject = &plan->atoms.subject[plan->list[list->first + i]];
            struct found found = {facts_empty(kfl_field_info[subject->place[proto].field].type),
                                  NULL};

            if (subject->place[proto].rest == subject->path.n && code_reads_subject(code, subject))
                fill_found(&plan->atoms, subject, &found, cells);
        }
        fill_tape(plan, cells, code, proto, fact_value_of(node), node->value_size, depth + 1);
    }
}

/* What the rest of a subject's path leads to, below a node of its row. */
static void fill_node(const struct atoms *atoms, const struct subject *subject,
                      const struct path_place *place, const struct fact *node,
                      const struct cells *cells)
{
    const struct ast_step *rest = subject->path.step + place->rest;
    uint32_t n_rest = subject->path.n - place->rest;
    struct visit visit = {.atoms = atoms, .subject = subject, .member = place->member};

    if (!n_rest) {
        struct found found = {value_of_fact(node), node};

        fill_found(atoms, subject, &found, cells);
        return;
    }
    if (n_rest == 1 && rest->type == AST_KEY && node->type == FACT_MAP)
        visit_member(&visit, node, rest);
    else
        visit_node(&visit, node, rest, n_rest);
    if (!visit.n) {
        subject_absent(atoms, subject, cells);
    } else if (visit.n == 1) {
        fill_found(atoms, subject, &visit.first, cells);
    } else {
        subject_array(atoms, subject, false, false, cells);
        visit.cells = cells;
        visit_node(&visit, node, rest, n_rest);
    }
}

/* One value; of an array its elements. */
static void fill_found(const struct atoms *atoms, const struct subject *subject,
                       const struct found *found, const struct cells *cells)
{
    const struct fact *node = found->node;

    if (found->value.type != KFL_ARRAY) {
        subject_value(atoms, subject, &found->value, cells);
        return;
    }
    subject_array(atoms, subject, !node || !node->value_size, false, cells);
    if (!node)
        return;
    FACT_EACH(element, fact_value_of(node), node->value_size)
    {
        struct kfl_value value = value_of_fact(element);

        subject_element(atoms, subject, &value, cells);
    }
}

/* A value that the path leads to. */
static void visit_found(struct visit *visit, struct found found)
{
    if (visit->cells)
        subject_element(visit->atoms, visit->subject, &found.value, visit->cells);
    else if (!visit->n++)
        visit->first = found;
}

/* A member of a map by its key: what most selectors with a rest are. */
static inline void visit_member(struct visit *visit, const struct fact *map,
                                const struct ast_step *step)
{
    FACT_EACH(child, fact_value_of(map), map->value_size)
    {
        if (child->key_size == step->size && !child->field &&
            !memcmp(fact_key_of(child), step->name, step->size)) {
            visit->first = (struct found){value_of_fact(child), child};
            visit->n = 1;
            return;
        }
    }
}

/* Is the child what a key asks for? last: it is the path's last step. */
static inline bool leads_to(const struct visit *visit, const struct fact *child,
                            const struct ast_step *step, bool last)
{
    const char *key = fact_key_of(child);
    uint32_t size = child->key_size;

    if (child->field && visit->member && last)
        return child->field == visit->member;
    if (child->field) {
        key = path_leaf_name(child->field);
        size = (uint32_t)strlen(key);
    }
    return size == step->size && !memcmp(key, step->name, size);
}

/* Follows the steps; the depth is that of the path's rest, at most PATH_REST_MAX. */
static void visit_node(struct visit *visit, const struct fact *node, const struct ast_step *step,
                       uint32_t n_steps)
{
    bool array = node->type == FACT_ARRAY, members = node->type >= FACT_OBJECT;
    bool met = false;
    int64_t at = 0;

    if (!n_steps) {
        visit_found(visit, (struct found){value_of_fact(node), node});
        return;
    }
    if (!(step->type == AST_ALL && (array || members)) && !(step->type == AST_INDEX && array) &&
        !(step->type == AST_KEY && members))
        return;
    FACT_EACH(child, fact_value_of(node), node->value_size)
    {
        if (step->type == AST_KEY) {
            if (!leads_to(visit, child, step, n_steps == 1))
                continue;
        } else if (step->type == AST_INDEX && at++ != step->index) {
            continue;
        }
        met = true;
        visit_node(visit, child, step + 1, n_steps - 1);
        if (step->type != AST_ALL)
            break;
    }
    /* A member of an array's object that is not written is empty. */
    if (!met && step->type == AST_KEY && n_steps == 1 && visit->member)
        visit_found(visit, (struct found){facts_empty(kfl_field_info[visit->member].type), NULL});
}
