/* The framework, with a toy dissector: its table stands in for the product's.
 *
 * The toy's messages: a letter and a length digit, then so many bytes; `Q` request and `A` answer
 * in order, `q` and `a` paired by their first byte, `S` single, `K` skips its bytes, `N` needs a
 * second message behind it, `X` breaks the protocol, `F` finishes, `W` switches to whatever comes.
 */
#include <stdlib.h>
#include <string.h>

#include "../dataplane/pool.h"
#include "l7_tool.h"

static enum l7_probe toy_probe(const struct l7_probe_input *input, bool *ret_swap)
{
    for (int i = 0; i < 2; i++) {
        if (!input->size[i])
            continue;
        if (memcmp(input->data[i], "TOY", input->size[i] < 3 ? input->size[i] : 3))
            return L7_PROBE_NO;
        if (input->size[i] < 3)
            return L7_PROBE_MORE;
        *ret_swap = i == KFL_SERVER;
        return L7_PROBE_YES;
    }
    return L7_PROBE_MORE;
}

struct toy {
    bool begun;
    bool skipping;
};

static void toy_half(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t n)
{
    uint8_t kind = data[0];
    struct l7_half *half =
        l7_half_new(l7, side, (kind == 'q' || kind == 'a') && n ? data[2] : L7_IN_ORDER);

    fact_string(l7_tape(l7), KFL_FIELD_REDIS_REQUEST_VALUE, data + 2, n);
    l7_half_add(l7, half);
    l7_half_wire(half, n + 2);
    if (kind == 'Q' || kind == 'q')
        l7_request(l7, half);
    else if (kind == 'A' || kind == 'a')
        l7_response(l7, half);
    else if (kind == 'X')
        l7_give_up(l7, half, "X");
    else
        l7_single(l7, half);
}

static size_t toy_parse(struct l7 *l7, enum kfl_side side, const uint8_t *data, size_t size)
{
    struct toy *toy = l7_state(l7);
    size_t n;

    if (toy->skipping) {
        toy->skipping = false;
        toy_half(l7, side, (const uint8_t *)"S0", 0);
        return 0;
    }
    if (!toy->begun) {
        if (size < 3)
            return 0;
        toy->begun = true;
        return 3;
    }
    if (size < 2) {
        l7_need(l7, side, 2);
        return 0;
    }
    n = (size_t)(data[1] - '0');
    if (n > 9) {
        l7_give_up(l7, NULL, "no digit");
        return 0;
    }
    switch (data[0]) {
    case 'K':
        l7_skip(l7, side, n);
        toy->skipping = true;
        return 2;
    case 'F':
        l7_finish(l7);
        return 2;
    case 'W':
        l7_switch(l7, KFL_PROTO_COUNT);
        return 2;
    default:
        break;
    }
    if (size < 2 + n) {
        l7_need(l7, side, 2 + n);
        return 0;
    }
    toy_half(l7, side, data, n);
    return 2 + n;
}

static void toy_gap(struct l7 *l7, enum kfl_side side, uint64_t size, const uint8_t *unused,
                    size_t unused_size)
{
    (void)l7;
    (void)side;
    (void)size;
    (void)unused;
    (void)unused_size;
}

static const struct dissector toy = {
    .proto = KFL_PROTO_REDIS,
    .name = "toy",
    .state_size = sizeof(struct toy),
    .protos = KFL_PROTO_BIT(REDIS),
    .probe = toy_probe,
    .parse = toy_parse,
    .gap = toy_gap,
};

const struct dissector *const l7_dissectors[] = {&toy, NULL};
const unsigned l7_n_dissectors = 1;

static void every_cut_gives_the_same_entries(void)
{
    static const struct talk order[] = {TALK_C("TOYQ3oneQ3two"), TALK_S("A2r1A2r2"), TALK_C("Q1x"),
                                        TALK_S("A1y"), TALK_END};
    static const struct talk keys[] = {TALK_C("TOYq2a1q2b2"), TALK_S("a2b9a2a8"), TALK_END};

    l7_expect(KFL_L4_TCP, 1, order,
              "REDIS  request[5]{value='one'} response[4]{value='r1'}\n"
              "REDIS  request[5]{value='two'} response[4]{value='r2'}\n"
              "REDIS  request[3]{value='x'} response[3]{value='y'}\n");
    l7_expect(KFL_L4_TCP, 1, keys,
              "REDIS  request[4]{value='b2'} response[4]{value='b9'}\n"
              "REDIS  request[4]{value='a1'} response[4]{value='a8'}\n");
}

static void halves_become_entries_with_errors(void)
{
    static const struct talk talk[] = {TALK_C("TOY"), TALK_S("A1a"), TALK_C("Q1q"), TALK_END};

    l7_expect(KFL_L4_TCP, 1, talk,
              "REDIS  response[3]{value='a'} error=pair-not-found\n"
              "REDIS  request[3]{value='q'} error=pair-not-found\n");
}

static void what_is_skipped_may_be_lost(void)
{
    static const struct talk whole[] = {TALK_C("TOYK5abcdeQ1x"), TALK_S("A1y"), TALK_END};
    static const struct talk lost[] = {TALK_C("TOYK5ab"), TALK_C_GAP(3), TALK_C("Q1x"),
                                       TALK_S("A1y"), TALK_END};
    const char *same = "REDIS  request[2]{value=''}\n"
                       "REDIS  request[3]{value='x'} response[3]{value='y'}\n";

    l7_expect(KFL_L4_TCP, 1, whole, same);
    l7_expect(KFL_L4_TCP, 1, lost, same);
}

static void a_gap_drops_what_was_begun(void)
{
    static const struct talk talk[] = {TALK_C("TOYQ5ab"), TALK_C_GAP(9), TALK_C("Q1x"),
                                       TALK_S("A1y"), TALK_END};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 1, .talk = talk};
    char *text = l7_play(&play);

    CU_ASSERT_STRING_EQUAL(text, "REDIS  request[3]{value='x'} response[3]{value='y'}\n");
    free(text);
}

static void broken_bytes_end_dissection(void)
{
    static const struct talk talk[] = {TALK_C("TOYQ1qX1xQ1z"), TALK_S("A1a"), TALK_END};

    l7_expect(KFL_L4_TCP, 1, talk,
              "REDIS  request[3]{value='x'} error=dissection\n"
              "REDIS  request[3]{value='q'} error=pair-not-found\n");
}

static void a_stream_may_change_protocol(void)
{
    static const struct talk talk[] = {TALK_C("TOYQ1qW0TOYQ1z"), TALK_S("A1a"), TALK_END};

    l7_expect(KFL_L4_TCP, 1, talk,
              "REDIS  request[3]{value='q'} error=pair-not-found\n"
              "REDIS  request[3]{value='z'} response[3]{value='a'}\n");
}

static void what_no_probe_knows_is_none(void)
{
    static const struct talk other[] = {TALK_C("hello"), TALK_S("world"), TALK_END};
    static const struct talk little[] = {TALK_C("TO"), TALK_END};

    l7_expect(KFL_L4_TCP, 1, other,
              "TCP  request[5]{payloadSize=5 payload='aGVsbG8=' payloadHex='68656c6c6f'} "
              "response[5]{payloadSize=5 payload='d29ybGQ=' payloadHex='776f726c64'}\nnone\n");
    l7_expect(KFL_L4_TCP, 1, little,
              "TCP  request[2]{payloadSize=2 payload='VE8=' payloadHex='544f'} "
              "response[0]{payloadSize=0 payload='' payloadHex=''}\nshort\n");
}

static void a_proxy_header_is_passed_over(void)
{
    static const struct talk v1[] = {TALK_C("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nTOYQ1q"),
                                     TALK_S("A1a"), TALK_END};
    static const struct talk v2[] = {TALK_C("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\2\3\4\5\6\7\x08"
                                            "\0\1\0\2TOYQ1q"),
                                     TALK_S("A1a"), TALK_END};

    l7_expect(KFL_L4_TCP, 1, v1, "REDIS  request[3]{value='q'} response[3]{value='a'}\n");
    l7_expect(KFL_L4_TCP, 1, v2, "REDIS  request[3]{value='q'} response[3]{value='a'}\n");
}

static void a_wrong_first_guess_is_turned(void)
{
    static const struct talk talk[] = {TALK_C("TOYQ1q"), TALK_S("A1a"), TALK_END};
    struct l7_play play = {.l4 = KFL_L4_TCP, .port = 1, .talk = talk, .swapped = true};
    char *text = l7_play(&play);

    CU_ASSERT_STRING_EQUAL(text, "REDIS  request[3]{value='q'} response[3]{value='a'}\n");
    free(text);
}

static void the_pool_gives_back_what_it_took(void)
{
    struct pool *pool;
    void *taken[64];

    CU_ASSERT_EQUAL(pool_create(1, false, &pool), 0);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 64; i++) {
            size_t size = (size_t)(i * 37 + round * 11) % 3000 + 1;

            taken[i] = pool_take(pool, size);
            CU_ASSERT_PTR_NOT_NULL(taken[i]);
            if (taken[i])
                memset(taken[i], (int)i, size);
        }
        for (unsigned i = 0; i < 64; i++)
            pool_give(pool, taken[(i * 7 + round) % 64]);
    }
    CU_ASSERT_EQUAL(pool_used(pool), 0);
    for (unsigned i = 0; i < 16; i++)
        taken[i] = pool_take(pool, POOL_OBJECT_MAX);
    CU_ASSERT_PTR_NULL(pool_take(pool, POOL_OBJECT_MAX));
    CU_ASSERT_PTR_NULL(pool_take(pool, POOL_OBJECT_MAX + 1));
    pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"every cut gives the same entries", every_cut_gives_the_same_entries},
        {"halves become entries with errors", halves_become_entries_with_errors},
        {"what is skipped may be lost", what_is_skipped_may_be_lost},
        {"a gap drops what was begun", a_gap_drops_what_was_begun},
        {"broken bytes end dissection", broken_bytes_end_dissection},
        {"a stream may change protocol", a_stream_may_change_protocol},
        {"what no probe knows is none", what_no_probe_knows_is_none},
        {"a PROXY header is passed over", a_proxy_header_is_passed_over},
        {"a wrong first guess is turned", a_wrong_first_guess_is_turned},
        {"the pool gives back what it took", the_pool_gives_back_what_it_took},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "l7", tests);
}
