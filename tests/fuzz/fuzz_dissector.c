/* fuzz_dissector.c - bytes of a stream through the door that the classifier uses.
 *
 *     input: [which][flags] then pieces: [side, bit 7: a gap][size, 2 bytes][bytes]
 *
 * which: a dissector by its place in the table; 255: the probes decide; $FUZZ_DISSECTOR, a name,
 * goes before it. flags: bit 0 a datagram
 * transport, bit 1 the client is not known, bit 2 nothing but protocols is asked for, bits 3-4 how
 * it ends. The seeds are the conversations of test_proto.c. */
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/l7_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dissector *chosen(uint8_t which);
static void on_entry(void *context, struct stream *stream, struct kfl_entry *entry);
static void on_protocol(void *context, struct stream *stream);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct l7_context *context;
    struct stream_extra extra = {0};
    struct stream stream = {.flags = STREAM_SYN_SEEN, .id = {.port = {40000, 80}}, .extra = &extra};
    const struct dissector *dissector;
    uint64_t ts_ns = 1;
    uint8_t flags;

    if (!context) {
        const struct l7_config config = {.memory = 32 << 20, .response_timeout_ns = 50};
        const struct l7_sink sink = {.entry = on_entry, .protocol = on_protocol};

        if (l7_context_create(&config, &sink, &context))
            abort();
    }
    if (size < 2)
        return 0;
    flags = data[1];
    dissector = chosen(data[0]);
    stream.l4 = flags & 1 ? KFL_L4_UDP : KFL_L4_TCP;
    if (dissector && !(kfl_proto_info[dissector->proto].layer4 & stream.l4))
        stream.l4 = dissector->proto == KFL_PROTO_ICMP   ? KFL_L4_ICMP
                    : dissector->proto == KFL_PROTO_SCTP ? KFL_L4_SCTP
                    : dissector->parse                   ? KFL_L4_TCP
                                                         : KFL_L4_UDP;
    if (!(flags & 2))
        stream.flags |= STREAM_ORIENTED;
    l7_context_demand(context, flags & 4 ? &kfl_demand_none : &kfl_demand_all);
    if (l7_open(context, &stream))
        abort();
    if (dissector)
        l7_start(stream.extra->l7, dissector);
    for (size_t at = 2; at + 3 <= size && stream.extra->l7;) {
        enum kfl_side side = data[at] & 1;
        bool gap = data[at] & 0x80;
        size_t n = (size_t)(data[at + 1] << 8 | data[at + 2]);

        at += 3;
        if (gap) {
            if (stream.l4 == KFL_L4_TCP)
                l7_gap(context, &stream, side, n);
            continue;
        }
        if (n > size - at)
            n = size - at;
        uint8_t *piece = malloc(n); /* of its own: what is read beyond it is seen */

        if (n)
            memcpy(piece, data + at, n);
        if (stream.l4 == KFL_L4_TCP)
            l7_data(context, &stream, side ^ (stream.flags & STREAM_CLIENT_IS_1), piece, n, ts_ns);
        else
            l7_datagram(context, &stream, side ^ (stream.flags & STREAM_CLIENT_IS_1), piece, n,
                        ts_ns);
        free(piece);
        at += n;
        ts_ns += 7;
        if (stream.extra->l7)
            l7_timeout(context, &stream, ts_ns);
    }
    l7_close(context, &stream, flags >> 3 & 3);
    if (stream.extra->l7 || pool_used(context->pool))
        abort(); /* a leak */
    return 0;
}

static const struct dissector *chosen(uint8_t which)
{
    const char *name = getenv("FUZZ_DISSECTOR");

    if (!name)
        return which == 255 ? NULL : l7_dissectors[which % l7_n_dissectors];
    for (unsigned i = 0; i < l7_n_dissectors; i++)
        if (!strcmp(l7_dissectors[i]->name, name))
            return l7_dissectors[i];
    abort();
}

static void check_facts(const struct kfl_half *half)
{
    FACT_EACH(fact, half->facts, half->facts_size)
    {
        if (!fact->size || fact->field >= KFL_FIELD_COUNT)
            abort();
    }
}

static void on_entry(void *context, struct stream *stream, struct kfl_entry *entry)
{
    (void)context;
    (void)stream;
    if (entry->request)
        check_facts(entry->request);
    if (entry->response)
        check_facts(entry->response);
}

static void on_protocol(void *context, struct stream *stream)
{
    (void)context;
    (void)stream;
}
