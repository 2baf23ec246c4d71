/* redact.c - replaces what paths lead to, also in documents inside texts (section 8.3). */
#include <string.h>

#include "eval.h"

static const char redacted[] = "[REDACTED]";

static bool redact_parts(struct evaluation *evaluation, const struct ast_redact_part *part,
                         uint32_t n, struct kfl_value *root);
static bool redact_document(struct evaluation *evaluation, const struct ast_redact_part *part,
                            uint32_t n, struct kfl_value *value);
static bool redact_json(struct evaluation *evaluation, const struct ast_redact_part *part,
                        uint32_t n, struct kfl_slice *plain);
static bool redact_xml(struct evaluation *evaluation, const struct ast_redact_part *part,
                       uint32_t n, struct kfl_slice *plain);
static struct kfl_slice xml_head(struct kfl_slice text);
static void replace(struct evaluation *evaluation, struct kfl_value *value, struct kfl_slice text);

void redact_eval(struct evaluation *evaluation, const struct ast_redact *redact)
{
    redact_parts(evaluation, redact->part, redact->n, evaluation->record);
}

/* -> was anything replaced? */
static bool redact_parts(struct evaluation *evaluation, const struct ast_redact_part *part,
                         uint32_t n, struct kfl_value *root)
{
    struct value_list list = {0};
    bool done = false;

    select_path(evaluation, root, &part->path, &list);
    for (uint32_t i = 0; i < list.n && !evaluation->exhausted; i++) {
        struct kfl_value *value = list.item[i];

        if (n > 1) {
            done |=
                value->type == KFL_STRING && redact_document(evaluation, part + 1, n - 1, value);
            continue;
        }
        replace(evaluation, value, (struct kfl_slice){redacted, sizeof(redacted) - 1});
        done = true;
    }
    return done;
}

static bool redact_document(struct evaluation *evaluation, const struct ast_redact_part *part,
                            uint32_t n, struct kfl_value *value)
{
    struct kfl_slice plain, text = {value->text, value->size};
    bool packed, done, before = evaluation->changed;
    char *base64;

    if (!document_text(evaluation, text, &plain, &packed))
        return false;
    done = part->document == AST_JSON ? redact_json(evaluation, part, n, &plain)
                                      : redact_xml(evaluation, part, n, &plain);
    evaluation->changed = before; /* it is the text that changes, below */
    if (!done || evaluation->exhausted)
        return false;
    if (packed) {
        base64 = eval_alloc(evaluation, (plain.size + 2) / 3 * 4);
        if (base64 == NULL)
            return false;
        plain = (struct kfl_slice){base64, base64_write(base64, plain.text, plain.size)};
    }
    replace(evaluation, value, plain);
    return true;
}

static bool redact_json(struct evaluation *evaluation, const struct ast_redact_part *part,
                        uint32_t n, struct kfl_slice *plain)
{
    const char *what;
    struct kfl_value *document = kfl_json_parse(evaluation->arena, plain->text, plain->size, &what);
    size_t size;
    char *text;

    if (document == NULL) {
        evaluation->exhausted |= what == kfl_json_no_memory;
        return false;
    }
    if (!redact_parts(evaluation, part, n, document))
        return false;
    size = json_write(document, NULL, 0);
    text = eval_alloc(evaluation, size);
    if (text == NULL)
        return false;
    json_write(document, text, size);
    *plain = (struct kfl_slice){text, size};
    return true;
}

/* Nothing can follow xml() in a path but elements: their text is no document. */
static bool redact_xml(struct evaluation *evaluation, const struct ast_redact_part *part,
                       uint32_t n, struct kfl_slice *plain)
{
    struct xml_node *document = n == 1 ? xml_parse(evaluation, *plain) : NULL;
    struct xml_list found = {0};
    bool done = false;

    if (document == NULL)
        return false;
    xml_select(evaluation, document, &part->path, &found);
    for (uint32_t i = 0; i < found.n; i++)
        if (found.item[i] != document) {
            xml_replace(evaluation, found.item[i], redacted);
            done = true;
        }
    if (done)
        *plain = xml_write(evaluation, document, xml_head(*plain));
    return done;
}

/* <?xml ... ?> with the white space behind it, or nothing. */
static struct kfl_slice xml_head(struct kfl_slice text)
{
    const char *end = text.size > 5 && memcmp(text.text, "<?xml", 5) == 0
                          ? memmem(text.text, text.size, "?>", 2)
                          : NULL;

    if (end == NULL)
        return (struct kfl_slice){"", 0};
    for (end += 2; end < text.text + text.size && memchr(" \t\r\n", *end, 4) != NULL;)
        end++;
    return (struct kfl_slice){text.text, (size_t)(end - text.text)};
}

/* The value keeps its place and its key. */
static void replace(struct evaluation *evaluation, struct kfl_value *value, struct kfl_slice text)
{
    if (value->type == KFL_STRING &&
        slice_equal((struct kfl_slice){value->text, value->size}, text))
        return;
    if (text.size > UINT32_MAX) {
        evaluation->exhausted = true;
        return;
    }
    value->type = KFL_STRING;
    value->size = (uint32_t)text.size;
    value->text = text.text;
    value->last = NULL;
    evaluation->changed = true;
}
