/* l7_tool.h - conversations as tables, and the entries they make as text.
 *
 *     static const struct talk get[] = {TALK_C("GET / HTTP/1.1\r\n\r\n"), TALK_S("HTTP/1.1 200
 * OK..."), TALK_END}; l7_expect(KFL_L4_TCP, 80, get, "HTTP 1.1 request{method=\"GET\" ...}
 * response{status=200 ...}\n");
 *
 * l7_expect() plays the conversation through l7 as it stands, then with every piece cut in two at
 * every position, then byte by byte: the entries must be the same. Then it cuts the conversation
 * at every length: nothing may be read beyond what came. The bytes of each call lie flush against
 * an unreadable page. */
#ifndef TESTS_L7_TOOL_H
#define TESTS_L7_TOOL_H

#include "../dataplane/l7.h"
#include "tap.h"

struct talk {
    int8_t side;       /* enum kfl_side; -1: the end */
    const char *bytes; /* null: a gap of `size` bytes */
    size_t size;
};

#define TALK_C(text)                       \
    {                                      \
        KFL_CLIENT, text, sizeof(text) - 1 \
    }
#define TALK_S(text)                       \
    {                                      \
        KFL_SERVER, text, sizeof(text) - 1 \
    }
#define TALK_C_GAP(n)       \
    {                       \
        KFL_CLIENT, NULL, n \
    }
#define TALK_S_GAP(n)       \
    {                       \
        KFL_SERVER, NULL, n \
    }
#define TALK_END    \
    {               \
        -1, NULL, 0 \
    }

struct l7_play {
    enum kfl_l4 l4;
    uint16_t port; /* of the server */
    const struct talk *talk;
    const struct kfl_demand *demand; /* null: all */
    enum l7_end end;
    size_t piece; /* cut into pieces of at most so many bytes; 0: as they stand */
    size_t split; /* one more cut, at this byte of the conversation; 0: none */
    size_t limit; /* stop after so many bytes; 0: all */
    bool swapped; /* the first guess of who is the client is wrong */
};

/* The entries, one a line; malloc'ed. A request shown while its response was open is not among
 * them. Then, when the detection is not `found`, a line "none" or "short". */
char *l7_play(const struct l7_play *play);

void l7_expect(enum kfl_l4 l4, uint16_t port, const struct talk *talk, const char *text);
/* Only the cuts, whatever the entries are. */
void l7_expect_cuts(const struct l7_play *play);

#endif
