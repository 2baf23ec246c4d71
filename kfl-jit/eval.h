/* eval.h - between the files of the plain evaluator: eval.c (operators and groups), select.c
 * (paths), redact.c, xml.c.
 *
 * One evaluation belongs to one thread. Everything it makes is in its arena; when that is full, or
 * the paths have visited more values than WORK_MAX, it is `exhausted` and its answer is false. */
#ifndef KFL_EVAL_H
#define KFL_EVAL_H

#include "value.h"

struct evaluation {
    struct kfl_value *record;
    struct kfl_arena *arena;
    uint64_t work; /* values visited by paths */
    bool changed;  /* redact() replaced something */
    bool exhausted;
};

enum { EVAL_WORK_MAX = 1 << 25 };

/* A list of values in the arena; nodes of the record or of a document in it, not copies. */
struct value_list {
    struct kfl_value **item;
    uint32_t n, capacity;
};

/* ---- eval.c ---- */
/* The value of one expression of a statement. false: a path was missing outside of a group, or the
 * evaluation is exhausted. */
bool eval_expression(struct evaluation *evaluation, const struct ast *node,
                     struct kfl_value *ret_value);
void *eval_alloc(struct evaluation *evaluation, size_t size); /* null: exhausted */
/* The value of literals under operators and parentheses. false: no memory. */
bool eval_constant(const struct ast *node, struct kfl_arena *arena, struct kfl_value *ret_value);

/* ---- select.c ---- */
/* Appends everything that the steps lead to from here. */
void select_path(struct evaluation *evaluation, struct kfl_value *from, const struct ast_path *path,
                 struct value_list *list);
/* Appends all values of a selector, also through json() and xml(). */
void select_node(struct evaluation *evaluation, const struct ast *node, struct value_list *list);
void value_list_add(struct evaluation *evaluation, struct value_list *list,
                    struct kfl_value *value);
/* The text of a document in a text: itself, or decoded from base64. false: not UTF-8. */
bool document_text(struct evaluation *evaluation, struct kfl_slice text,
                   struct kfl_slice *ret_plain, bool *ret_packed);

/* ---- redact.c ---- */
void redact_eval(struct evaluation *evaluation, const struct ast_redact *redact);

/* ---- json.c ---- */
extern const char kfl_json_no_memory[]; /* what kfl_json_parse() says when the arena is full */
/* As kfl_json_print(), without end of line. -> bytes that are needed, whatever the size is. */
size_t json_write(const struct kfl_value *value, char *buffer, size_t size);

/* ---- xml.c ---- */
struct xml_node {
    struct kfl_slice name; /* of an element, as written; no text: characters */
    struct kfl_slice text; /* of characters */
    struct xml_attribute *attributes;
    struct xml_node *first, *last, *next, *parent;
};
struct xml_attribute {
    struct kfl_slice name, value;
    struct xml_attribute *next;
};
struct xml_list {
    struct xml_node **item;
    uint32_t *group; /* elements that the step before found in one parent have one number */
    uint32_t n, capacity;
};

/* The document: a node without name above the root element. Null: it is none. */
struct xml_node *xml_parse(struct evaluation *evaluation, struct kfl_slice text);
void xml_select(struct evaluation *evaluation, struct xml_node *document,
                const struct ast_path *path, struct xml_list *list);
/* The element's own text without surrounding white space, as a new value. */
struct kfl_value *xml_value(struct evaluation *evaluation, const struct xml_node *element);
/* Leaves the name; the text is what is given. */
void xml_replace(struct evaluation *evaluation, struct xml_node *element, const char *text);
/* The document as text; no text when exhausted. head: an XML declaration to begin with. */
struct kfl_slice xml_write(struct evaluation *evaluation, const struct xml_node *document,
                           struct kfl_slice head);

/* ---- datetime.c ---- */
bool datetime_read(const char *text, size_t size, int64_t *ret_ms);

#endif
