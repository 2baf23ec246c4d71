/* xml.c - the door to expat: XML documents as trees in the arena.
 *
 * Only what a document itself says is read: nothing outside it, no entity that it does not define.
 * expat's own memory comes out of the arena, too, and goes with it. */
#include <expat.h>
#include <string.h>

#include "eval.h"

enum { XML_DEPTH_MAX = 256 };

struct builder {
    struct evaluation *evaluation;
    XML_Parser parser;
    struct xml_node *open;
    unsigned depth;
    bool failed;
};

struct text_writer {
    char *buffer; /* null: only counted */
    size_t n;
};

static void *take(size_t size);
static void *retake(void *memory, size_t size);
static void leave(void *memory);
static void start_element(void *context, const XML_Char *name, const XML_Char **attributes);
static void end_element(void *context, const XML_Char *name);
static void characters(void *context, const XML_Char *text, int size);
static void skipped_entity(void *context, const XML_Char *name, int is_parameter);
static int external_entity(XML_Parser parser, const XML_Char *context, const XML_Char *base,
                           const XML_Char *system, const XML_Char *public_id);
static struct xml_node *add_node(struct builder *builder);
static struct kfl_slice copy_text(struct builder *builder, const char *text, size_t size);
static void stop(struct builder *builder);
static void add_found(struct evaluation *evaluation, struct xml_list *list, struct xml_node *node,
                      uint32_t group);
static void select_children(struct evaluation *evaluation, struct xml_node *parent,
                            const struct ast_step *step, struct xml_list *list, uint32_t group);
static void select_index(struct evaluation *evaluation, const struct xml_list *from, int64_t index,
                         struct xml_list *list);
static bool has_name(const struct xml_node *node, const struct ast_step *step);
static void write_node(struct text_writer *writer, const struct xml_node *node);
static void write_escaped(struct text_writer *writer, struct kfl_slice text);
static void put(struct text_writer *writer, const char *text, size_t size);

/* expat's memory functions have no context of their own. */
static _Thread_local struct kfl_arena *arena_of_expat;
static const XML_Memory_Handling_Suite memory_suite = {take, retake, leave};

struct xml_node *xml_parse(struct evaluation *evaluation, struct kfl_slice text)
{
    struct builder builder = {.evaluation = evaluation};
    struct xml_node *document = eval_alloc(evaluation, sizeof(*document));
    bool parsed;

    if (document == NULL || text.size > INT32_MAX)
        return NULL;
    memset(document, 0, sizeof(*document));
    builder.open = document;
    arena_of_expat = evaluation->arena;
    builder.parser = XML_ParserCreate_MM("UTF-8", &memory_suite, NULL);
    if (builder.parser == NULL) {
        evaluation->exhausted = true;
        return NULL;
    }
    /* Any salt that the sender cannot know, without asking the kernel for each document. */
    XML_SetHashSalt(builder.parser, (unsigned long)(uintptr_t)document * 0x9e3779b97f4a7c15 | 1);
    XML_SetUserData(builder.parser, &builder);
    XML_SetElementHandler(builder.parser, start_element, end_element);
    XML_SetCharacterDataHandler(builder.parser, characters);
    XML_SetSkippedEntityHandler(builder.parser, skipped_entity);
    XML_SetExternalEntityRefHandler(builder.parser, external_entity);
    parsed = XML_Parse(builder.parser, text.text, (int)text.size, XML_TRUE) == XML_STATUS_OK;
    if (!parsed && XML_GetErrorCode(builder.parser) == XML_ERROR_NO_MEMORY)
        evaluation->exhausted = true;
    XML_ParserFree(builder.parser);
    return parsed && !builder.failed && !evaluation->exhausted ? document : NULL;
}

void xml_select(struct evaluation *evaluation, struct xml_node *document,
                const struct ast_path *path, struct xml_list *list)
{
    struct xml_list now = {0};

    add_found(evaluation, &now, document, 0);
    for (uint32_t i = 0; i < path->n && !evaluation->exhausted; i++) {
        struct xml_list next = {0};

        if (path->step[i].type == AST_INDEX)
            select_index(evaluation, &now, path->step[i].index, &next);
        else
            for (uint32_t k = 0; k < now.n; k++)
                select_children(evaluation, now.item[k], &path->step[i], &next, k);
        now = next;
    }
    *list = now;
}

struct kfl_value *xml_value(struct evaluation *evaluation, const struct xml_node *element)
{
    struct kfl_value *value = eval_alloc(evaluation, sizeof(*value));
    size_t size = 0;
    char *text, *out;

    for (const struct xml_node *child = element->first; child != NULL; child = child->next)
        size += child->text.size;
    text = out = eval_alloc(evaluation, size + 1);
    if (value == NULL || text == NULL)
        return NULL;
    for (const struct xml_node *child = element->first; child != NULL; child = child->next)
        if (child->text.size > 0) {
            memcpy(out, child->text.text, child->text.size);
            out += child->text.size;
        }
    while (text < out && memchr(" \t\r\n", *text, 4) != NULL)
        text++;
    while (text < out && memchr(" \t\r\n", out[-1], 4) != NULL)
        out--;
    memset(value, 0, sizeof(*value));
    value->type = KFL_STRING;
    value->text = text;
    value->size = (uint32_t)(out - text);
    return value;
}

void xml_replace(struct evaluation *evaluation, struct xml_node *element, const char *text)
{
    struct xml_node *only = eval_alloc(evaluation, sizeof(*only));
    struct xml_attribute **link = &element->attributes;

    if (only == NULL)
        return;
    memset(only, 0, sizeof(*only));
    only->text = (struct kfl_slice){text, strlen(text)};
    only->parent = element;
    element->first = element->last = only;
    while (*link != NULL) { /* what says whose name it is belongs to the name */
        if ((*link)->name.size >= 5 && memcmp((*link)->name.text, "xmlns", 5) == 0)
            link = &(*link)->next;
        else
            *link = (*link)->next;
    }
}

struct kfl_slice xml_write(struct evaluation *evaluation, const struct xml_node *document,
                           struct kfl_slice head)
{
    struct text_writer writer = {0};

    write_node(&writer, document);
    writer.buffer = eval_alloc(evaluation, head.size + writer.n);
    if (writer.buffer == NULL)
        return (struct kfl_slice){"", 0};
    writer.n = 0;
    put(&writer, head.text, head.size);
    write_node(&writer, document);
    return (struct kfl_slice){writer.buffer, writer.n};
}

static void *take(size_t size)
{
    size_t *memory = kfl_arena_alloc(arena_of_expat, size + sizeof(size_t));

    if (memory == NULL)
        return NULL;
    *memory = size;
    return memory + 1;
}

static void *retake(void *memory, size_t size)
{
    size_t before = memory == NULL ? 0 : ((size_t *)memory)[-1];
    void *larger;

    if (size <= before)
        return memory;
    larger = take(size);
    if (larger != NULL && before > 0)
        memcpy(larger, memory, before);
    return larger;
}

static void leave(void *memory)
{
}

static void start_element(void *context, const XML_Char *name, const XML_Char **attributes)
{
    struct builder *builder = context;
    struct xml_node *node;
    struct xml_attribute **last;

    if (builder->failed)
        return;
    if (++builder->depth > XML_DEPTH_MAX) {
        stop(builder);
        return;
    }
    node = add_node(builder);
    if (node == NULL)
        return;
    node->name = copy_text(builder, name, strlen(name));
    last = &node->attributes;
    for (; *attributes != NULL; attributes += 2) {
        struct xml_attribute *attribute = eval_alloc(builder->evaluation, sizeof(*attribute));

        if (attribute == NULL) {
            stop(builder);
            return;
        }
        attribute->name = copy_text(builder, attributes[0], strlen(attributes[0]));
        attribute->value = copy_text(builder, attributes[1], strlen(attributes[1]));
        attribute->next = NULL;
        *last = attribute;
        last = &attribute->next;
    }
    builder->open = node;
}

static void end_element(void *context, const XML_Char *name)
{
    struct builder *builder = context;

    if (builder->failed)
        return;
    builder->open = builder->open->parent;
    builder->depth--;
}

static void characters(void *context, const XML_Char *text, int size)
{
    struct builder *builder = context;
    struct xml_node *node = builder->failed ? NULL : add_node(builder);

    if (node != NULL)
        node->text = copy_text(builder, text, (size_t)size);
}

static void skipped_entity(void *context, const XML_Char *name, int is_parameter)
{
    if (!is_parameter)
        stop(context);
}

static int external_entity(XML_Parser parser, const XML_Char *context, const XML_Char *base,
                           const XML_Char *system, const XML_Char *public_id)
{
    return XML_STATUS_ERROR;
}

static struct xml_node *add_node(struct builder *builder)
{
    struct xml_node *node = eval_alloc(builder->evaluation, sizeof(*node)), *parent = builder->open;

    if (node == NULL) {
        stop(builder);
        return NULL;
    }
    memset(node, 0, sizeof(*node));
    node->parent = parent;
    if (parent->last == NULL)
        parent->first = node;
    else
        parent->last->next = node;
    parent->last = node;
    return node;
}

static struct kfl_slice copy_text(struct builder *builder, const char *text, size_t size)
{
    char *copy = eval_alloc(builder->evaluation, size);

    if (copy == NULL) {
        stop(builder);
        return (struct kfl_slice){"", 0};
    }
    memcpy(copy, text, size);
    return (struct kfl_slice){copy, size};
}

static void stop(struct builder *builder)
{
    builder->failed = true;
    XML_StopParser(builder->parser, XML_FALSE);
}

static void add_found(struct evaluation *evaluation, struct xml_list *list, struct xml_node *node,
                      uint32_t group)
{
    if (++evaluation->work > EVAL_WORK_MAX)
        evaluation->exhausted = true;
    if (list->n == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        struct xml_node **item = eval_alloc(evaluation, capacity * sizeof(struct xml_node *));
        uint32_t *groups = eval_alloc(evaluation, capacity * sizeof(*groups));

        if (item == NULL || groups == NULL)
            return;
        if (list->n > 0) {
            memcpy(item, list->item, list->n * sizeof(struct xml_node *));
            memcpy(groups, list->group, list->n * sizeof(*groups));
        }
        list->item = item;
        list->group = groups;
        list->capacity = capacity;
    }
    list->item[list->n] = node;
    list->group[list->n++] = group;
}

static void select_children(struct evaluation *evaluation, struct xml_node *parent,
                            const struct ast_step *step, struct xml_list *list, uint32_t group)
{
    for (struct xml_node *child = parent->first; child != NULL; child = child->next) {
        if (child->name.size == 0)
            continue;
        if (++evaluation->work > EVAL_WORK_MAX)
            evaluation->exhausted = true;
        if (evaluation->exhausted)
            return;
        if (step->type == AST_DEEP)
            select_children(evaluation, child, step, list, group);
        if (step->type == AST_ALL || has_name(child, step))
            add_found(evaluation, list, child, group);
    }
}

/* The index-th of each group; negative: from its end. */
static void select_index(struct evaluation *evaluation, const struct xml_list *from, int64_t index,
                         struct xml_list *list)
{
    for (uint32_t first = 0, end; first < from->n; first = end) {
        int64_t at = index;

        for (end = first + 1; end < from->n && from->group[end] == from->group[first];)
            end++;
        if (at < 0)
            at += end - first;
        if (at >= 0 && at < end - first)
            add_found(evaluation, list, from->item[first + at], first);
    }
}

/* Names are compared without prefix. */
static bool has_name(const struct xml_node *node, const struct ast_step *step)
{
    const char *colon = memrchr(node->name.text, ':', node->name.size);
    const char *local = colon == NULL ? node->name.text : colon + 1;
    size_t size = node->name.size - (size_t)(local - node->name.text);

    return size == step->size && memcmp(local, step->name, size) == 0;
}

static void write_node(struct text_writer *writer, const struct xml_node *node)
{
    if (node->name.size > 0) {
        put(writer, "<", 1);
        put(writer, node->name.text, node->name.size);
        for (const struct xml_attribute *a = node->attributes; a != NULL; a = a->next) {
            put(writer, " ", 1);
            put(writer, a->name.text, a->name.size);
            put(writer, "=\"", 2);
            write_escaped(writer, a->value);
            put(writer, "\"", 1);
        }
        put(writer, ">", 1);
    }
    write_escaped(writer, node->text);
    for (const struct xml_node *child = node->first; child != NULL; child = child->next)
        write_node(writer, child);
    if (node->name.size > 0) {
        put(writer, "</", 2);
        put(writer, node->name.text, node->name.size);
        put(writer, ">", 1);
    }
}

static void write_escaped(struct text_writer *writer, struct kfl_slice text)
{
    static const char special[] = "&<>\"\r\n\t";
    static const char *const escaped[] = {"&amp;", "&lt;",  "&gt;", "&quot;",
                                          "&#13;", "&#10;", "&#9;"};

    for (size_t i = 0; i < text.size; i++) {
        const char *found = text.text[i] == 0 ? NULL : strchr(special, text.text[i]);

        if (found == NULL)
            put(writer, &text.text[i], 1);
        else
            put(writer, escaped[found - special], strlen(escaped[found - special]));
    }
}

static void put(struct text_writer *writer, const char *text, size_t size)
{
    if (writer->buffer != NULL && size > 0)
        memcpy(writer->buffer + writer->n, text, size);
    writer->n += size;
}
