/* insn.h - a growing run of eBPF instructions: what emit.c and emit_packet.c write into.
 *
 * The first error stays; what is put after it is dropped. One thread. */
#ifndef KFL_INSN_H
#define KFL_INSN_H

#include "jit.h"

/* eBPF, as much of it as is needed. */
enum {
    OP_ADD = 0x00,
    OP_SUB = 0x10,
    OP_OR = 0x40,
    OP_AND = 0x50,
    OP_LSH = 0x60,
    OP_RSH = 0x70,
    OP_NEG = 0x80,
    OP_XOR = 0xa0,
    OP_MOV = 0xb0,
    OP_ARSH = 0xc0,
    ALU64_K = 0x07,
    ALU64_X = 0x0f,
    ALU32_K = 0x04,
    LDX_W = 0x61,
    LDX_H = 0x69,
    LDX_B = 0x71,
    LDX_DW = 0x79,
    STX_B = 0x73,
    STX_DW = 0x7b,
    LD_IMM64 = 0x18,
    EXIT = 0x95,
};

struct insns {
    struct jit_insn *insn;
    uint32_t n, capacity;
    int error; /* 0, -ENOMEM, -E2BIG */
};

void insns_done(struct insns *insns);
void insns_put(struct insns *insns, uint8_t code, uint8_t dst, uint8_t src, uint32_t off,
               int32_t imm);
void insns_alu_k(struct insns *insns, uint8_t op, uint8_t dst, int32_t imm);
void insns_alu_x(struct insns *insns, uint8_t op, uint8_t dst, uint8_t src);
void insns_load_64(struct insns *insns, uint8_t dst, uint64_t value);
/* 0 stays 0, all else is 1. Spoils `with`. */
void insns_not_zero(struct insns *insns, uint8_t dst, uint8_t with);

#endif
