/* STARTTLS: the protocols that speak in lines until the client asks for TLS. SMTP (RFC 3207), IMAP
 * (RFC 9051), POP3 (RFC 2595), FTP (RFC 4217) and XMPP (RFC 6120). Nothing is made of the lines;
 * what follows when the server agrees is for tls.c. A stream that never asks has its L4 entry. */
#include <string.h>
#include <strings.h>

#include "../cursor.h"
#include "../l7.h"

enum { LINE_SHOWN_MAX = 512, LINES_MAX = 1000 };

struct state {
    bool asked; /* the client wants TLS, the server has not answered */
    uint16_t lines;
};

static bool begins(struct cursor text, const char *with)
{
    size_t n = strlen(with);

    return cursor_left(&text) >= n && !strncasecmp((const char *)text.at, with, n);
}

static bool contains(struct cursor text, const char *what)
{
    size_t n = strlen(what);

    for (; cursor_left(&text) >= n; text.at++)
        if (begins(text, what))
            return true;
    return false;
}

/* The server greets, in XMPP the client. */
static enum l7_probe probe(const struct l7_probe_input *in, bool *ret_swap)
{
    static const struct {
        const char *text;
        enum kfl_side by;
    } greetings[] = {{"220 ", KFL_SERVER}, {"220-", KFL_SERVER},   {"* OK ", KFL_SERVER},
                     {"+OK ", KFL_SERVER}, {"<?xml ", KFL_CLIENT}, {"<stream:stream ", KFL_CLIENT}};
    enum l7_probe answer = L7_PROBE_NO;

    for (unsigned i = 0; i < sizeof(greetings) / sizeof(*greetings); i++)
        for (unsigned side = 0; side < 2; side++) {
            size_t n = strlen(greetings[i].text), there = in->size[side];

            if (!there || in->size[!side] || (in->oriented && side != greetings[i].by) ||
                memcmp(in->data[side], greetings[i].text, there < n ? there : n))
                continue;
            *ret_swap = side != greetings[i].by;
            if (there >= n)
                return L7_PROBE_YES;
            answer = L7_PROBE_MORE;
        }
    return answer;
}

/* "STARTTLS", "a1 STARTTLS", "STLS", "AUTH TLS", "<starttls xmlns=...". */
static bool asks(struct cursor line)
{
    return begins(line, "STLS") || begins(line, "AUTH TLS") || begins(line, "AUTH SSL") ||
           contains(line, "STARTTLS");
}

/* "220 ", "234 ", "+OK", "a1 OK", "<proceed xmlns=...". */
static bool agrees(struct cursor line)
{
    return begins(line, "220 ") || begins(line, "234 ") || begins(line, "+OK") ||
           contains(line, "<proceed") || (!begins(line, "*") && contains(line, " OK"));
}

/* A line, of XMPP an element; of longer ones the beginning. */
static size_t line_size(const uint8_t *data, size_t size)
{
    size_t shown = size < LINE_SHOWN_MAX ? size : LINE_SHOWN_MAX;
    const uint8_t *end = memchr(data, *data == '<' ? '>' : '\n', shown);

    if (end)
        return (size_t)(end + 1 - data);
    return shown < LINE_SHOWN_MAX ? 0 : shown;
}

static size_t parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct state *state = l7_state(l7);
    size_t n = line_size(data, size);
    struct cursor line = cursor_of(data, n);

    if (!n || *data <= ' ')
        return n;
    if (side == KFL_CLIENT)
        state->asked = asks(line);
    else if (state->asked && agrees(line))
        l7_switch(l7, KFL_PROTO_TLS);
    else if (*data != '*') /* what IMAP says besides */
        state->asked = false;
    if (++state->lines == LINES_MAX)
        l7_finish(l7);
    return n;
}

static void gap(struct l7 *l7, enum kfl_side side, uint64_t size, const uint8_t *unused,
                size_t unused_size)
{
    l7_finish(l7);
}

const struct dissector dissector_starttls = {
    .proto = KFL_PROTO_TCP,
    .name = "starttls",
    .state_size = sizeof(struct state),
    .protos = KFL_PROTO_BIT(TLS),
    .ports = {25, 587, 143, 110, 21, 5222},
    .probe = probe,
    .parse = parse,
    .gap = gap,
};
