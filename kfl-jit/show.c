/* show.c - a statement with its grouping in parentheses and macros replaced. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

static void show_steps(FILE *out, const struct ast_path *path, uint32_t from);
static void show_key(FILE *out, const struct ast_step *step);
static void show_value(FILE *out, const struct kfl_value *value);
static void show_call(FILE *out, const struct ast *node);
static bool is_name(const char *text, uint32_t size);

static const char *const op_text[] = {"and", "or", "==", "!=", "<", "<=", ">", ">="};

char *kfl_statement_show(const struct kfl_statement *statement)
{
    return show_node(statement->root);
}

char *show_node(const struct ast *node)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    show_print(out, node);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

void show_print(FILE *out, const struct ast *node)
{
    switch (node->kind) {
    case AST_LITERAL:
        if (node->literal.value.type == KFL_REGEX)
            fprintf(out, "r\"%.*s\"", (int)node->literal.pattern_size, node->literal.pattern);
        else
            show_value(out, &node->literal.value);
        break;
    case AST_SELECT:
        fwrite(node->select.step->name, 1, node->select.step->size, out);
        show_steps(out, &node->select, 1);
        break;
    case AST_DECODE:
        show_print(out, node->decode.subject);
        fputs(node->decode.document == AST_JSON ? ".json()" : ".xml()", out);
        show_steps(out, &node->decode.path, 0);
        break;
    case AST_CALL:
        show_call(out, node);
        break;
    case AST_UNARY:
        fputc(node->unary.op, out);
        show_print(out, node->unary.operand);
        break;
    case AST_GROUP:
        if (node->group.inner->kind == AST_CHAIN || node->group.inner->kind == AST_GROUP) {
            show_print(out, node->group.inner);
        } else {
            fputc('(', out);
            show_print(out, node->group.inner);
            fputc(')', out);
        }
        break;
    case AST_CHAIN:
        for (uint32_t i = 0; i < node->chain.n; i++) {
            if (i + 1 < node->chain.n)
                fputc('(', out);
            show_print(out, node->chain.operand[i]);
            if (i + 1 < node->chain.n)
                fprintf(out, " %s ", op_text[node->chain.op[i]]);
        }
        for (uint32_t i = 1; i < node->chain.n; i++)
            fputc(')', out);
        break;
    }
}

static void show_steps(FILE *out, const struct ast_path *path, uint32_t from)
{
    for (uint32_t i = from; i < path->n; i++) {
        const struct ast_step *step = &path->step[i];

        switch (step->type) {
        case AST_KEY:
            show_key(out, step);
            break;
        case AST_INDEX:
            fprintf(out, "[%lld]", (long long)step->index);
            break;
        case AST_ALL:
            fputs(".*", out);
            break;
        case AST_DEEP:
            fprintf(out, "..%.*s", (int)step->size, step->name);
            break;
        }
    }
}

static void show_key(FILE *out, const struct ast_step *step)
{
    if (is_name(step->name, step->size))
        fprintf(out, ".%.*s", (int)step->size, step->name);
    else if (memchr(step->name, '"', step->size) != NULL)
        fprintf(out, "['%.*s']", (int)step->size, step->name);
    else
        fprintf(out, "[\"%.*s\"]", (int)step->size, step->name);
}

static void show_value(FILE *out, const struct kfl_value *value)
{
    char buffer[VALUE_TEXT_MAX];
    struct kfl_slice text = value_text(value, buffer);

    if (value->type == KFL_STRING) {
        char quote = memchr(text.text, '"', text.size) != NULL ? '\'' : '"';

        fprintf(out, "%c%.*s%c", quote, (int)text.size, text.text, quote);
    } else if (value->type == KFL_NULL) {
        fputs("nil", out);
    } else {
        fwrite(text.text, 1, text.size, out);
    }
}

static void show_call(FILE *out, const struct ast *node)
{
    if (node->call.subject != NULL) {
        show_print(out, node->call.subject);
        fputc('.', out);
    }
    fputs(kfl_helper_info[node->call.helper].name, out);
    if (node->call.bare)
        return;
    fputc('(', out);
    for (uint32_t i = 0; i < node->call.n_arguments; i++) {
        if (i > 0)
            fputs(", ", out);
        show_value(out, &node->call.argument[i].value);
    }
    fputc(')', out);
}

static bool is_name(const char *text, uint32_t size)
{
    if (size == 0 || (text[0] >= '0' && text[0] <= '9'))
        return false;
    for (uint32_t i = 0; i < size; i++)
        if (!((text[i] | 32) >= 'a' && (text[i] | 32) <= 'z') && text[i] != '_' &&
            !(text[i] >= '0' && text[i] <= '9') && (uint8_t)text[i] < 0x80)
            return false;
    return true;
}
