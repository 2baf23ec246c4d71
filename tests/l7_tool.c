#include "l7_tool.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../dataplane/stream.h"

enum { FLUSH_SIZE = 1 << 20 };

struct text {
    char *at;
    size_t size, capacity;
};

static uint8_t *flush_end; /* the unreadable page begins here */

static bool same(const struct l7_play *play, const char *text);
static void on_entry(void *context, struct stream *stream, struct kfl_entry *entry);
static void on_protocol(void *context, struct stream *stream);
static void print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print_half(struct text *text, const char *name, const struct kfl_half *half);
static void print_fact(struct text *text, const struct fact *fact);
static void play_piece(struct l7_context *context, struct stream *stream, const struct talk *talk,
                       size_t from, size_t n, uint64_t ts_ns, bool swapped);

char *l7_play(const struct l7_play *play)
{
    static const char *const detection[] = {"open\n", "", "none\n", "short\n"};
    struct text text = {0};
    struct l7_sink sink = {.entry = on_entry, .protocol = on_protocol, .context = &text};
    struct l7_config config = {.memory = 8 << 20};
    struct l7_context *context;
    struct stream_extra extra = {0};
    struct stream stream = {.l4 = (uint8_t)play->l4, .flags = STREAM_SYN_SEEN, .extra = &extra};
    uint64_t ts_ns = 0;
    size_t total = 0;

    if (l7_context_create(&config, &sink, &context))
        abort();
    l7_context_demand(context, play->demand ? play->demand : &kfl_demand_all);
    stream.id.port[play->swapped] = 40000;
    stream.id.port[!play->swapped] = play->port;
    memcpy(stream.id.ip4[play->swapped], "\x0a\0\0\1", 4);
    memcpy(stream.id.ip4[!play->swapped], "\x0a\0\0\2", 4);
    stream.id.ip_version = 4;
    if (!play->swapped)
        stream.flags |= STREAM_ORIENTED;
    print(&text, "%s", "");
    l7_open(context, &stream);
    for (const struct talk *talk = play->talk; talk->side >= 0; talk++) {
        size_t at = 0;

        ts_ns += 1000000; /* each row comes a ms later */
        if (!talk->bytes)
            l7_gap(context, &stream, talk->side ^ play->swapped, talk->size);
        while (talk->bytes && at < talk->size) {
            size_t n = talk->size - at;

            if (play->piece && n > play->piece)
                n = play->piece;
            if (play->split > total && play->split < total + n)
                n = play->split - total;
            if (play->limit && total + n > play->limit)
                n = play->limit - total;
            if (!n)
                break;
            play_piece(context, &stream, talk, at, n, ts_ns, play->swapped);
            at += n;
            total += n;
        }
    }
    l7_close(context, &stream, play->end);
    print(&text, "%s", detection[stream.detection]);
    l7_context_free(context);
    return text.at;
}

void l7_expect(enum kfl_l4 l4, uint16_t port, const struct talk *talk, const char *expected)
{
    struct l7_play play = {.l4 = l4, .port = port, .talk = talk};
    char *text = l7_play(&play);

    if (strcmp(text, expected)) {
        tap_note("expected %s", expected);
        tap_note("is       %s", text);
    }
    CU_ASSERT_STRING_EQUAL(text, expected);
    free(text);
    l7_expect_cuts(&play);
}

void l7_expect_cuts(const struct l7_play *first)
{
    struct l7_play play = *first;
    char *text = l7_play(&play);
    size_t total = 0;

    for (const struct talk *each = play.talk; each->side >= 0; each++)
        total += each->bytes ? each->size : 0;
    for (play.split = 1; play.l4 == KFL_L4_TCP && play.split < total; play.split++)
        if (!same(&play, text))
            break;
    play.split = 0;
    for (play.piece = 1; play.l4 == KFL_L4_TCP && play.piece < 4; play.piece++)
        if (!same(&play, text))
            break;
    play.piece = 0;
    for (play.limit = 1; play.limit < total; play.limit++)
        free(l7_play(&play));
    free(text);
}

static bool same(const struct l7_play *play, const char *text)
{
    char *other = l7_play(play);
    bool equal = !strcmp(text, other);

    if (!equal) {
        tap_note("cut at %zu, in pieces of %zu: %s", play->split, play->piece, other);
        CU_FAIL("a cut changes the entries");
    }
    free(other);
    return equal;
}

static void play_piece(struct l7_context *context, struct stream *stream, const struct talk *talk,
                       size_t from, size_t n, uint64_t ts_ns, bool swapped)
{
    uint8_t *at;
    unsigned side = (unsigned)talk->side ^ swapped;

    if (!flush_end) {
        uint8_t *map = mmap(NULL, FLUSH_SIZE + 4096, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        flush_end = map + FLUSH_SIZE;
        if (map == MAP_FAILED || mprotect(flush_end, 4096, PROT_NONE))
            abort();
    }
    if (n > FLUSH_SIZE)
        abort();
    at = flush_end - n;
    memcpy(at, talk->bytes + from, n);
    /* The sides may have been turned by what the stream said. */
    if (swapped && stream->flags & STREAM_CLIENT_IS_1)
        side ^= 1;
    if (stream->l4 == KFL_L4_TCP)
        l7_data(context, stream, side, at, n, ts_ns);
    else
        l7_datagram(context, stream, side, at, n, ts_ns);
}

static void on_entry(void *context, struct stream *stream, struct kfl_entry *entry)
{
    static const char *const error[] = {"", "timeout", "pair-not-found", "dissection",
                                        "connection"};
    struct text *text = context;

    (void)stream;
    if (entry->response_open)
        return;
    print(text, "%s %s", kfl_proto_info[entry->proto].abbr, entry->version);
    if (entry->request)
        print_half(text, "request", entry->request);
    if (entry->response)
        print_half(text, "response", entry->response);
    if (entry->error)
        print(text, " error=%s", error[entry->error]);
    print(text, "\n");
}

static void on_protocol(void *context, struct stream *stream)
{
    (void)context;
    (void)stream;
}

static void print_half(struct text *text, const char *name, const struct kfl_half *half)
{
    print(text, " %s[%u]{", name, half->wire_size);
    FACT_EACH(fact, half->facts, half->facts_size)
    print_fact(text, fact);
    print(text, "}");
}

static void print_fact(struct text *text, const struct fact *fact)
{
    const char *open = fact->type == FACT_ARRAY ? "[" : "{";

    if (text->at[text->size - 1] != '{' && text->at[text->size - 1] != '[')
        print(text, " ");
    if (fact->key_size) {
        print(text, "%.*s=", (int)fact->key_size, fact_key_of(fact));
    } else if (fact->field) {
        const char *path = kfl_field_info[fact->field].path;
        const char *dot = strrchr(path, '.');

        print(text, "%s=", dot ? dot + 1 : path);
    }
    switch ((enum fact_type)fact->type) {
    case FACT_NULL:
        print(text, "null");
        break;
    case FACT_BOOL:
        print(text, fact->bool_value ? "true" : "false");
        break;
    case FACT_INT:
        print(text, "%" PRId64, fact_int_of(fact));
        break;
    case FACT_FLOAT:
        print(text, "%g", fact_float_of(fact));
        break;
    case FACT_STRING:
        print(text, "'%.*s'", (int)fact->value_size, (const char *)fact_value_of(fact));
        break;
    case FACT_ARRAY:
    case FACT_OBJECT:
    case FACT_MAP:
        print(text, "%s", open);
        FACT_EACH(child, fact_value_of(fact), fact->value_size)
        print_fact(text, child);
        print(text, fact->type == FACT_ARRAY ? "]" : "}");
        break;
    }
}

static void print(struct text *text, const char *format, ...)
{
    va_list args, again;
    size_t n;

    va_start(args, format);
    va_copy(again, args);
    n = (size_t)vsnprintf(NULL, 0, format, args);
    if (text->size + n + 1 > text->capacity) {
        text->capacity = (text->size + n + 1) * 2;
        text->at = realloc(text->at, text->capacity);
        if (!text->at)
            abort();
    }
    vsnprintf(text->at + text->size, n + 1, format, again);
    text->size += n;
    va_end(again);
    va_end(args);
}
