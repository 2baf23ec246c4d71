/* lex.c - text to tokens. */
#include "lex.h"

#include <errno.h>
#include <string.h>

struct lexer {
    struct kfl_arena *arena;
    struct kfl_messages *messages;
    const char *text;
    uint32_t size, at;
    struct kfl_regex *letters; /* characters of names beyond ASCII; made when one is met */
    struct kfl_regex *starts;  /* those that a name can begin with */
};

static int skip_blank(struct lexer *lexer);
static int next_token(struct lexer *lexer, struct token *ret_token);
static uint32_t name_end(struct lexer *lexer, uint32_t at);
static unsigned name_character(struct lexer *lexer, uint32_t at, bool first);
static int read_number(struct lexer *lexer, uint32_t end, bool is_float, struct token *token);
static int read_quoted(struct lexer *lexer, uint32_t at, struct token *token);
static unsigned escape_size(const char *text, size_t size, char quote);
static bool is_quote(const struct lexer *lexer, uint32_t at);
static int refuse(struct lexer *lexer, uint32_t at, const char *what);

int lex(struct kfl_arena *arena, const char *text, size_t size, struct kfl_messages *messages,
        struct token **ret_tokens, uint32_t *ret_n)
{
    struct lexer lexer = {
        .arena = arena, .messages = messages, .text = text, .size = (uint32_t)size};
    struct token *tokens = kfl_arena_alloc(arena, (size + 1) * sizeof(*tokens));
    uint32_t n = 0;
    int result;

    if (tokens == NULL)
        return -ENOMEM;
    do {
        result = skip_blank(&lexer);
        if (result == 0)
            result = next_token(&lexer, &tokens[n]);
    } while (result == 0 && tokens[n++].kind != TOKEN_END);
    kfl_regex_free(lexer.letters);
    kfl_regex_free(lexer.starts);
    if (result < 0)
        return result;
    *ret_tokens = tokens;
    *ret_n = n;
    return 0;
}

static int skip_blank(struct lexer *lexer)
{
    const char *text = lexer->text;

    while (lexer->at < lexer->size) {
        const char *rest = text + lexer->at;
        uint32_t left = lexer->size - lexer->at;

        if (memchr(" \t\r\n", *rest, 4) != NULL) {
            lexer->at++;
        } else if (left >= 2 && rest[0] == '/' && rest[1] == '/') {
            const char *end = memchr(rest, '\n', left);

            lexer->at = end == NULL ? lexer->size : (uint32_t)(end - text);
        } else if (left >= 2 && rest[0] == '/' && rest[1] == '*') {
            const char *end = memmem(rest + 2, left - 2, "*/", 2);

            if (end == NULL)
                return refuse(lexer, lexer->at, "this comment is not closed: */ is missing");
            lexer->at = (uint32_t)(end + 2 - text);
        } else {
            return 0;
        }
    }
    return 0;
}

static int next_token(struct lexer *lexer, struct token *ret_token)
{
    struct token token = {.kind = TOKEN_END, .offset = lexer->at, .end = lexer->at};
    const char *rest = lexer->text + lexer->at;
    uint32_t left = lexer->size - lexer->at, end;
    bool is_float;
    int result = 0;

    if (left == 0) {
        *ret_token = token;
        return 0;
    }
    end = name_end(lexer, lexer->at);
    if (end > lexer->at) {
        token.kind = TOKEN_NAME;
        token.text = (struct kfl_slice){rest, end - lexer->at};
        token.end = lexer->at = end;
        if (token.text.size == 1 && *rest == 'r') {
            result = skip_blank(lexer);
            if (result == 0 && is_quote(lexer, lexer->at)) {
                token.kind = TOKEN_REGEX;
                result = read_quoted(lexer, lexer->at, &token);
            } else {
                lexer->at = end;
                result = 0; /* what is wrong behind it is found again */
            }
        }
    } else if ((end = (uint32_t)number_scan(rest, left, &is_float)) > 0) {
        result = read_number(lexer, end, is_float, &token);
    } else if (is_quote(lexer, lexer->at)) {
        token.kind = TOKEN_STRING;
        result = read_quoted(lexer, lexer->at, &token);
    } else {
        unsigned length = utf8_length(rest, left);

        token.kind = TOKEN_OP;
        token.op = length == 1 ? *rest : 0;
        token.end += length > 0 ? length : 1;
        lexer->at = token.end;
    }
    *ret_token = token;
    return result;
}

static uint32_t name_end(struct lexer *lexer, uint32_t at)
{
    for (bool first = true; at < lexer->size; first = false) {
        unsigned length = name_character(lexer, at, first);

        if (length == 0)
            break;
        at += length;
    }
    return at;
}

/* Bytes of the character there if it can be part of a name; else 0. What is a letter beyond ASCII
 * is what RE2's tables say. */
static unsigned name_character(struct lexer *lexer, uint32_t at, bool first)
{
    const char *text = lexer->text + at;
    struct kfl_regex **set = first ? &lexer->starts : &lexer->letters;
    unsigned length;

    if ((uint8_t)*text < 0x80)
        return ((*text | 32) >= 'a' && (*text | 32) <= 'z') || *text == '_' ||
               (!first && *text >= '0' && *text <= '9');
    length = utf8_length(text, lexer->size - at);
    if (length == 0)
        return 0;
    if (*set == NULL) {
        const char *pattern = first ? "[\\p{L}\\p{Nl}\\p{No}]" : "[\\p{L}\\p{N}]";
        char error[64];

        *set = kfl_regex_create(pattern, strlen(pattern), error, sizeof(error));
    }
    return *set != NULL && kfl_regex_find(*set, text, length) ? length : 0;
}

static int read_number(struct lexer *lexer, uint32_t size, bool is_float, struct token *token)
{
    const char *text = lexer->text + lexer->at;

    token->end = lexer->at += size;
    token->kind = TOKEN_INT;
    if (!is_float && number_read_int(text, size, false, &token->integer))
        return 0;
    token->kind = TOKEN_FLOAT;
    if (number_read(text, size, &token->number))
        return 0;
    return refuse(lexer, token->offset, "this number is out of range of a float64");
}

/* A string or the quoted part of a regex. In backquotes nothing is special; in a regex any
 * character may follow a backslash; in a string only what makes an escape. */
static int read_quoted(struct lexer *lexer, uint32_t at, struct token *token)
{
    const char *text = lexer->text, quote = text[at];
    uint32_t first = ++at;
    bool bad = false;

    while (at < lexer->size && text[at] != quote && (quote == '`' || text[at] != '\n')) {
        unsigned length = 1;

        if (quote != '`' && text[at] == '\\') {
            length =
                token->kind == TOKEN_REGEX ? 0 : escape_size(text + at, lexer->size - at, quote);
            if (length == 0) {
                bad |= token->kind == TOKEN_STRING;
                length = at + 1 < lexer->size && text[at + 1] != '\n' ? 2 : 1;
            }
        }
        at += length;
    }
    if (at >= lexer->size || text[at] != quote)
        return refuse(lexer, first - 1, "this text is not closed: its second quote is missing");
    if (bad)
        return refuse(lexer, token->offset,
                      "invalid escape; patterns are written r\"...\", and in `...` "
                      "nothing is special");
    token->quote = quote;
    token->text = (struct kfl_slice){text + first, at - first};
    if (token->kind == TOKEN_STRING && quote == '"')
        while (token->text.size > 0 && text[first + token->text.size - 1] == '"')
            token->text.size--;
    token->end = lexer->at = at + 1;
    return 0;
}

/* Bytes of the escape at the beginning, or 0. */
static unsigned escape_size(const char *text, size_t size, char quote)
{
    unsigned digits = 0, base = 16;

    if (size < 2)
        return 0;
    switch (text[1]) {
    case 'x':
        digits = 2;
        break;
    case 'u':
        digits = 4;
        break;
    case 'U':
        digits = 8;
        break;
    default:
        if (text[1] == quote || (text[1] != 0 && strchr("abfnrtv\\", text[1]) != NULL))
            return 2;
        digits = 3;
        base = 8;
    }
    unsigned first = base == 8 ? 1 : 2;

    if (size < first + digits)
        return 0;
    for (unsigned i = first; i < first + digits; i++) {
        char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] | 32) : text[i];

        if (!(c >= '0' && c <= '7') && !(base == 16 && (c == '8' || c == '9')) &&
            !(base == 16 && c >= 'a' && c <= 'f'))
            return 0;
    }
    return first + digits;
}

static bool is_quote(const struct lexer *lexer, uint32_t at)
{
    return at < lexer->size && memchr("\"'`", lexer->text[at], 3) != NULL;
}

static int refuse(struct lexer *lexer, uint32_t at, const char *what)
{
    kfl_message_add(lexer->messages, lexer->text, lexer->size, at, 0, "%s", what);
    return -EINVAL;
}
