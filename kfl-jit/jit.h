/* jit.h - eBPF made native: the door to librte_bpf, whose headers only jit.c includes.
 *
 * A program gets one argument, the address of its context, and may touch only the context's first
 * `context_size` bytes, which is verified when it is loaded. What the library cannot verify or
 * compile is refused; the caller has another way.
 *
 * Loading allocates; running does not, and any number of threads may run one program. */
#ifndef KFL_JIT_H
#define KFL_JIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* An eBPF instruction, as everywhere. */
struct jit_insn {
    uint8_t code;
    uint8_t registers; /* dst, src << 4 */
    int16_t off;
    int32_t imm;
};
_Static_assert(sizeof(struct jit_insn) == 8, "eBPF");

struct jit_program;
typedef uint64_t jit_function(void *context);

/* -> 0, -EINVAL refused, -ENOMEM */
int jit_load(const struct jit_insn *insn, uint32_t n, size_t context_size,
             struct jit_program **ret_program);
void jit_free(struct jit_program *program);
/* Null when this machine has no compiler: interpret. */
jit_function *jit_native(const struct jit_program *program);
uint64_t jit_interpret(const struct jit_program *program, void *context);
size_t jit_native_size(const struct jit_program *program);   /* bytes of machine code */
void jit_show(FILE *out, const struct jit_program *program); /* an instruction a line */

#endif
