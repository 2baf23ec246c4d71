/* jit.c - the door to librte_bpf. Works without EAL. */
#include "jit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bpf.h>
#include <rte_errno.h>
#include <rte_log.h>

_Static_assert(sizeof(struct ebpf_insn) == sizeof(struct jit_insn), "one format");

struct jit_program {
    struct rte_bpf *bpf;
    struct ebpf_insn *insn; /* the library keeps its own to itself */
    uint32_t n;
};

int jit_load(const struct jit_insn *insn, uint32_t n, size_t context_size,
             struct jit_program **ret_program)
{
    struct jit_program *program = calloc(1, sizeof(*program));
    struct rte_bpf_prm prm = {
        .nb_ins = n,
        .prog_arg = {.type = RTE_BPF_ARG_PTR, .size = context_size},
    };
    int err = -ENOMEM;

    if (!program)
        return -ENOMEM;
    program->n = n;
    program->insn = malloc(n * sizeof(*program->insn));
    if (program->insn) {
        memcpy(program->insn, insn, n * sizeof(*program->insn));
        prm.ins = program->insn;
        program->bpf = rte_bpf_load(&prm);
        err = program->bpf ? 0 : rte_errno == ENOMEM ? -ENOMEM : -EINVAL;
    }
    if (err)
        jit_free(program);
    else
        *ret_program = program;
    return err;
}

void jit_free(struct jit_program *program)
{
    if (!program)
        return;
    rte_bpf_destroy(program->bpf);
    free(program->insn);
    free(program);
}

jit_function *jit_native(const struct jit_program *program)
{
    struct rte_bpf_jit jit;

    return rte_bpf_get_jit(program->bpf, &jit) ? NULL : jit.func;
}

uint64_t jit_interpret(const struct jit_program *program, void *context)
{
    return rte_bpf_exec(program->bpf, context);
}

size_t jit_native_size(const struct jit_program *program)
{
    struct rte_bpf_jit jit;

    return rte_bpf_get_jit(program->bpf, &jit) ? 0 : jit.sz;
}

void jit_show(FILE *out, const struct jit_program *program)
{
    rte_bpf_dump(out, program->insn, program->n);
}
