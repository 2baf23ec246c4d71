/* lex.h - the tokens of a statement (section 2 of the specification).
 *
 * Inside kfl-jit only. One thread. */
#ifndef KFL_LEX_H
#define KFL_LEX_H

#include "value.h"

enum token_kind {
    TOKEN_NAME,
    TOKEN_INT,
    TOKEN_FLOAT, /* also an int too large for 64 bits */
    TOKEN_STRING,
    TOKEN_REGEX,
    TOKEN_OP, /* any other character */
    TOKEN_END,
};

struct token {
    enum token_kind kind;
    uint32_t offset, end; /* bytes of the statement, quotes included */
    char op;              /* of TOKEN_OP in ASCII, else 0 */
    char quote;           /* of TOKEN_STRING and TOKEN_REGEX */
    union {
        struct kfl_slice text; /* of a name; between the quotes of a string or regex */
        int64_t integer;
        double number;
    };
};

/* The tokens, a TOKEN_END last. -> 0, -EINVAL with a message, -ENOMEM. */
int lex(struct kfl_arena *arena, const char *text, size_t size, struct kfl_messages *messages,
        struct token **ret_tokens, uint32_t *ret_n);

#endif
