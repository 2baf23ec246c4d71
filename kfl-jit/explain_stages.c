/* explain_stages.c - what the compiler made of statements, step by step: tokens, the tree, programs
 * as eBPF, machine code. What lies between is in explain.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lex.h"
#include "plan_internal.h"

static void show_tokens(FILE *out, const char *text);
static void show_code(FILE *out, const char *of, const char *name, const struct code *code);
static void show_program(FILE *out, const struct jit_program *program, jit_function *native);

char *kfl_plan_explain_stages(const struct kfl_plan *plan)
{
    static const char *const layer4[PLAN_LAYER4] = {"TCP", "UDP", "SCTP", "ICMP", "IP"};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++) {
        char *tree;

        if (!(plan->slots >> slot & 1))
            continue;
        tree = kfl_statement_show(plan->statement[slot]);
        fprintf(out, "tokens of statement %u:", slot);
        show_tokens(out, kfl_statement_text(plan->statement[slot]));
        fprintf(out, "\ntree: %s\n", tree ? tree : "");
        free(tree);
    }
    for (unsigned i = 0; i < PLAN_LAYER4; i++)
        show_code(out, "streams", layer4[i], &plan->stream[i].code);
    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++) {
        const struct plan_proto *proto = &plan->proto[i];

        if (proto->owns_code)
            show_code(out, "entries", kfl_proto_info[i].abbr, &proto->code);
        if (proto->sieve) {
            show_code(out, "entries, packet terms", kfl_proto_info[i].abbr, &proto->sieve->packet);
            show_code(out, "entries, the rest", kfl_proto_info[i].abbr, &proto->sieve->whole);
        }
    }
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}

static void show_tokens(FILE *out, const char *text)
{
    static const char *const kind[] = {"name", "int", "float", "string", "regex", "op"};
    struct kfl_arena *arena = kfl_arena_create((size_t)64 << 20);
    struct kfl_messages messages = {0};
    struct token *token;
    uint32_t n = 0;

    if (arena && !lex(arena, text, strlen(text), &messages, &token, &n))
        for (uint32_t i = 0; i + 1 < n; i++)
            fprintf(out, "  %s %.*s", kind[token[i].kind], (int)(token[i].end - token[i].offset),
                    text + token[i].offset);
    kfl_arena_free(arena);
}

static void show_code(FILE *out, const char *of, const char *name, const struct code *code)
{
    if (code->packet) {
        fprintf(out, "program of %s, %s, over a stream:\n", of, name);
        show_program(out, code->packet, code->packet_native);
    }
    if (code->program) {
        fprintf(out, "program of %s, %s, over the atoms' outcomes:\n", of, name);
        show_program(out, code->program, code->native);
    }
}

static void show_program(FILE *out, const struct jit_program *program, jit_function *native)
{
    size_t size = native ? jit_native_size(program) : 0;
    const uint8_t *byte = (const uint8_t *)(uintptr_t)native;

    jit_show(out, program);
    fprintf(out, "machine code, %zu bytes:", size);
    for (size_t i = 0; i < size; i++)
        fprintf(out, i % 32 ? "%02x" : "\n  %02x", byte[i]);
    fprintf(out, "\n");
}
