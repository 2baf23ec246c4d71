/* stream_dump FILE: the streams of a capture, a line each in order of their first packets:
 * protocol, client, port, server, port, packets, bytes, state. No timeouts. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "../dataplane/decode.h"
#include "../dataplane/fragment.h"
#include "../dataplane/source.h"
#include "../dataplane/stream.h"

enum { SEED = 4711 };

static struct stream_table *table;
static unsigned n_lines;
static struct line {
    uint64_t number;
    char text[256];
} * lines;

static void ended(void *context, struct stream *stream, enum stream_end why)
{
    struct kfl_stream view;
    char text[2][INET6_ADDRSTRLEN];
    struct line *line;

    stream_view(table, stream, true, &view);
    for (int i = 0; i < 2; i++)
        inet_ntop(view.ip_version == 4 ? AF_INET : AF_INET6,
                  view.end[i].addr + (view.ip_version == 4 ? 12 : 0), text[i], sizeof(text[i]));
    lines = realloc(lines, (n_lines + 1) * sizeof(*lines));
    if (!lines)
        abort();
    line = &lines[n_lines++];
    line->number = view.number;
    snprintf(line->text, sizeof(line->text), "%s%u %s %u %s %u %lu %lu %d%s",
             view.l4 == KFL_L4_OTHER ? "ip" : "", view.ip_protocol, text[0], view.end[0].port,
             text[1], view.end[1].port, view.packets[0] + view.packets[1],
             view.bytes[0] + view.bytes[1], view.state, view.oriented ? "" : " ?");
}

static int by_number(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

static void take(struct fragment_table *fragments, const struct packet *burst, unsigned n, bool all)
{
    static struct packet out[PACKET_BURST + FRAGMENT_HELD_MAX];
    bool new;

    n = fragment_burst(fragments, burst, n, out, n ? burst[0].ts_ns : 0, all);
    for (unsigned i = 0; i < n; i++)
        if (!(out[i].flags & PACKET_NO_IP))
            stream_find_or_add(table, &out[i], 0, &new);
}

int main(int argc, char **argv)
{
    struct source_config config = {.type = "file", .interface = argc > 1 ? argv[1] : "-"};
    struct stream_config streams = {.max = 1 << 20, .grow = true, .sink.ended = ended};
    char error_text[SOURCE_ERROR_SIZE];
    struct packet burst[PACKET_BURST];
    struct fragment_table *fragments;
    struct source *source;
    int n;

    if (source_open(&config, 0, &source, error_text)) {
        fprintf(stderr, "%s\n", error_text);
        return 1;
    }
    if (stream_table_create(&streams, &table) ||
        fragment_table_create(1024, SEED, NULL, &fragments))
        return 1;
    while ((n = source_base(source)->ops->rx(source, 0, burst, PACKET_BURST)) >= 0) {
        decode_burst(burst, (unsigned)n, SEED);
        take(fragments, burst, (unsigned)n, false);
        source_base(source)->ops->release(source, 0, burst, (unsigned)n);
    }
    take(fragments, burst, 0, true);
    stream_table_finish(table, UINT32_MAX);
    if (n_lines)
        qsort(lines, n_lines, sizeof(*lines), by_number);
    for (unsigned i = 0; i < n_lines; i++)
        printf("%s\n", lines[i].text);
    free(lines);
    fragment_table_free(fragments);
    stream_table_free(table);
    source_close(source);
    return 0;
}
