/* parse.h - between the files of the parser: parse.c (grammar), parse_call.c (calls and their
 * arguments), redact_path.c.
 *
 * Functions that make a node return null after a syntax error, whose message is there, or when
 * memory is out (parser->no_memory); then parsing ends. Other errors are noted and parsing goes on
 * to find the next. */
#ifndef KFL_PARSE_H
#define KFL_PARSE_H

#include "lex.h"

struct parser {
    struct kfl_statement *statement;
    struct kfl_messages *messages;
    const char *text; /* what is parsed: the statement, or what a macro stands for */
    uint32_t size;
    const struct token *tokens;
    uint32_t n, at;
    uint32_t depth;
    const struct token *macro; /* in the statement, while its expression is parsed; else null */
    bool failed;
    bool no_memory;
};

/* A selector or decode while it is read; finished by parse_path_end(). */
struct step_cell {
    struct ast_step step;
    struct step_cell *next;
};
struct path_builder {
    struct ast *node;
    struct step_cell *first, *last;
    uint32_t n;
};

/* ---- parse.c ---- */
struct ast *parse_chain(struct parser *parser, enum ast_level level);
struct ast *parse_nested(struct parser *parser);
const struct token *parse_peek(const struct parser *parser);
const struct token *parse_next(struct parser *parser); /* and steps over it */
/* Is the token `ahead` of this one (0: this one) one of these characters? */
bool parse_sees(const struct parser *parser, uint32_t ahead, const char *ops);
/* Steps over this character; false, with an error, if another token is there. */
bool parse_take(struct parser *parser, char op);
void *parse_alloc(struct parser *parser, size_t size);
struct ast *parse_node(struct parser *parser, enum ast_kind kind, const struct token *first);
bool parse_path_end(struct parser *parser, struct path_builder *builder);
void parse_error(struct parser *parser, uint32_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint32_t parse_last_end(const struct parser *parser); /* behind the token stepped over last */

/* ---- parse_call.c ---- */
/* name(...): the parser is at `(`. subject: what stands before it, or null. */
struct ast *parse_call(struct parser *parser, const struct token *name, struct ast *subject);

/* ---- redact_path.c ---- */
/* false: it cannot be read. */
bool redact_path_parse(struct parser *parser, const char *text, uint32_t size,
                       struct ast_redact *ret_redact);

#endif
