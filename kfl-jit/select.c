/* select.c - where paths lead (sections 6 and 8.2 of the specification). */
#include <string.h>

#include "eval.h"

static void apply_step(struct evaluation *evaluation, struct kfl_value *value,
                       const struct ast_step *step, struct value_list *list);
static void apply_deep(struct evaluation *evaluation, struct kfl_value *value,
                       const struct ast_step *step, struct value_list *list);
static struct kfl_value *element_at(struct kfl_value *array, int64_t index);
static void select_document(struct evaluation *evaluation, const struct ast *node,
                            struct kfl_slice text, struct value_list *list);

void select_path(struct evaluation *evaluation, struct kfl_value *from, const struct ast_path *path,
                 struct value_list *list)
{
    struct value_list now = {0}, next = {0};
    uint32_t i = 0;

    /* One value as long as steps lead to one: mostly to the end. */
    for (; i < path->n; i++) {
        const struct ast_step *step = &path->step[i];

        if (step->type == AST_KEY)
            from = from->type == KFL_OBJECT ? value_member(from, step->name, step->size) : NULL;
        else if (step->type == AST_INDEX)
            from = from->type == KFL_ARRAY ? element_at(from, step->index) : NULL;
        else
            break;
        if (from == NULL)
            return;
    }
    if (i == path->n) {
        value_list_add(evaluation, list, from);
        return;
    }
    value_list_add(evaluation, &now, from);
    for (; i < path->n && !evaluation->exhausted; i++) {
        struct value_list before = now;

        next.n = 0;
        for (uint32_t k = 0; k < now.n; k++)
            apply_step(evaluation, now.item[k], &path->step[i], &next);
        now = next;
        next = before;
    }
    for (uint32_t k = 0; k < now.n; k++)
        value_list_add(evaluation, list, now.item[k]);
}

void select_node(struct evaluation *evaluation, const struct ast *node, struct value_list *list)
{
    struct value_list subjects = {0};

    if (node->kind == AST_SELECT) {
        select_path(evaluation, evaluation->record, &node->select, list);
        return;
    }
    select_node(evaluation, node->decode.subject, &subjects);
    for (uint32_t i = 0; i < subjects.n && !evaluation->exhausted; i++) {
        char buffer[VALUE_TEXT_MAX];

        select_document(evaluation, node, value_text(subjects.item[i], buffer), list);
    }
}

void value_list_add(struct evaluation *evaluation, struct value_list *list, struct kfl_value *value)
{
    if (++evaluation->work > EVAL_WORK_MAX)
        evaluation->exhausted = true;
    if (list->n == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        struct kfl_value **item = eval_alloc(evaluation, capacity * sizeof(struct kfl_value *));

        if (item == NULL)
            return;
        if (list->n > 0)
            memcpy(item, list->item, list->n * sizeof(struct kfl_value *));
        list->item = item;
        list->capacity = capacity;
    }
    list->item[list->n++] = value;
}

bool document_text(struct evaluation *evaluation, struct kfl_slice text,
                   struct kfl_slice *ret_plain, bool *ret_packed)
{
    char *plain = eval_alloc(evaluation, text.size / 4 * 3 + 4);
    size_t size;

    if (plain == NULL)
        return false;
    *ret_packed = base64_read(text.text, text.size, plain, &size);
    *ret_plain = *ret_packed ? (struct kfl_slice){plain, size} : text;
    return !*ret_packed || utf8_valid(plain, size);
}

static void apply_step(struct evaluation *evaluation, struct kfl_value *value,
                       const struct ast_step *step, struct value_list *list)
{
    struct kfl_value *found = NULL;

    switch (step->type) {
    case AST_KEY:
        if (value->type == KFL_OBJECT)
            found = value_member(value, step->name, step->size);
        break;
    case AST_INDEX:
        if (value->type == KFL_ARRAY)
            found = element_at(value, step->index);
        break;
    case AST_ALL:
        if (value->type == KFL_OBJECT || value->type == KFL_ARRAY)
            for (struct kfl_value *child = value->first; child != NULL; child = child->next)
                value_list_add(evaluation, list, child);
        break;
    case AST_DEEP:
        apply_deep(evaluation, value, step, list);
        break;
    }
    if (found != NULL)
        value_list_add(evaluation, list, found);
}

/* Those of each child in turn, then its own. As deep as JSON can nest. */
static void apply_deep(struct evaluation *evaluation, struct kfl_value *value,
                       const struct ast_step *step, struct value_list *list)
{
    struct kfl_value *own;

    if ((value->type != KFL_OBJECT && value->type != KFL_ARRAY) || evaluation->exhausted)
        return;
    for (struct kfl_value *child = value->first; child != NULL; child = child->next) {
        if (++evaluation->work > EVAL_WORK_MAX) {
            evaluation->exhausted = true;
            return;
        }
        apply_deep(evaluation, child, step, list);
    }
    own = value->type == KFL_OBJECT ? value_member(value, step->name, step->size) : NULL;
    if (own != NULL)
        value_list_add(evaluation, list, own);
}

/* Negative: from the end. */
static struct kfl_value *element_at(struct kfl_value *array, int64_t index)
{
    struct kfl_value *element = array->first;

    if (index < 0)
        index += array->size;
    if (index < 0 || index >= array->size)
        return NULL;
    while (index-- > 0)
        element = element->next;
    return element;
}

/* What the steps behind json() or xml() lead to in the document that is in a text. */
static void select_document(struct evaluation *evaluation, const struct ast *node,
                            struct kfl_slice text, struct value_list *list)
{
    struct kfl_slice plain;
    bool packed;

    if (!document_text(evaluation, text, &plain, &packed))
        return;
    if (node->decode.document == AST_JSON) {
        const char *what;
        struct kfl_value *document =
            kfl_json_parse(evaluation->arena, plain.text, plain.size, &what);

        if (document != NULL)
            select_path(evaluation, document, &node->decode.path, list);
        else if (what == kfl_json_no_memory)
            evaluation->exhausted = true;
    } else {
        struct xml_node *document = xml_parse(evaluation, plain);
        struct xml_list found = {0};

        if (document == NULL)
            return;
        xml_select(evaluation, document, &node->decode.path, &found);
        for (uint32_t i = 0; i < found.n; i++) {
            struct kfl_value *value = xml_value(evaluation, found.item[i]);

            if (value != NULL)
                value_list_add(evaluation, list, value);
        }
    }
}
