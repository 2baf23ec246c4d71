/* jit.c - the door to librte_bpf. Works without EAL. */
#include "jit.h"

#include <errno.h>

#include <rte_bpf.h>
#include <rte_errno.h>
#include <rte_log.h>

_Static_assert(sizeof(struct ebpf_insn) == sizeof(struct jit_insn), "one format");

int jit_load(const struct jit_insn *insn, uint32_t n, size_t context_size,
             struct jit_program **ret_program)
{
    struct rte_bpf_prm prm = {
        .ins = (const struct ebpf_insn *)insn,
        .nb_ins = n,
        .prog_arg = {.type = RTE_BPF_ARG_PTR, .size = context_size},
    };
    struct rte_bpf *bpf;

    bpf = rte_bpf_load(&prm);
    if (!bpf)
        return rte_errno == ENOMEM ? -ENOMEM : -EINVAL;
    *ret_program = (struct jit_program *)bpf;
    return 0;
}

void jit_free(struct jit_program *program)
{
    rte_bpf_destroy((struct rte_bpf *)program);
}

jit_function *jit_native(const struct jit_program *program)
{
    struct rte_bpf_jit jit;

    return rte_bpf_get_jit((const struct rte_bpf *)program, &jit) ? NULL : jit.func;
}

uint64_t jit_interpret(const struct jit_program *program, void *context)
{
    return rte_bpf_exec((const struct rte_bpf *)program, context);
}

size_t jit_native_size(const struct jit_program *program)
{
    struct rte_bpf_jit jit;

    return rte_bpf_get_jit((const struct rte_bpf *)program, &jit) ? 0 : jit.sz;
}
