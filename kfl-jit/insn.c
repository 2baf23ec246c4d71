#include "insn.h"

#include <errno.h>
#include <stdlib.h>

enum { INSN_MAX = 1 << 17 };

void insns_done(struct insns *insns)
{
    free(insns->insn);
    *insns = (struct insns){0};
}

void insns_put(struct insns *insns, uint8_t code, uint8_t dst, uint8_t src, uint32_t off,
               int32_t imm)
{
    if (insns->error)
        return;
    if (insns->n == insns->capacity) {
        uint32_t capacity = insns->capacity ? insns->capacity * 2 : 256;
        struct jit_insn *bigger =
            capacity > INSN_MAX ? NULL : reallocarray(insns->insn, capacity, sizeof *bigger);

        if (!bigger) {
            insns->error = capacity > INSN_MAX ? -E2BIG : -ENOMEM;
            return;
        }
        insns->insn = bigger;
        insns->capacity = capacity;
    }
    insns->insn[insns->n++] = (struct jit_insn){
        .code = code, .registers = (uint8_t)(dst | src << 4), .off = (int16_t)off, .imm = imm};
}

void insns_alu_k(struct insns *insns, uint8_t op, uint8_t dst, int32_t imm)
{
    insns_put(insns, ALU64_K | op, dst, 0, 0, imm);
}

void insns_alu_x(struct insns *insns, uint8_t op, uint8_t dst, uint8_t src)
{
    insns_put(insns, ALU64_X | op, dst, src, 0, 0);
}

void insns_load_64(struct insns *insns, uint8_t dst, uint64_t value)
{
    insns_put(insns, LD_IMM64, dst, 0, 0, (int32_t)(uint32_t)value);
    insns_put(insns, 0, 0, 0, 0, (int32_t)(uint32_t)(value >> 32));
}

void insns_not_zero(struct insns *insns, uint8_t dst, uint8_t with)
{
    insns_alu_x(insns, OP_MOV, with, dst);
    insns_put(insns, ALU64_K | OP_NEG, with, 0, 0, 0);
    insns_alu_x(insns, OP_OR, dst, with);
    insns_alu_k(insns, OP_RSH, dst, 63);
}
