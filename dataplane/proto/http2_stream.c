/* http2_stream.c - streams of HTTP/2 and their messages. */
#include "http2_stream.h"

#include "hpack.h"

static void request_head(struct l7 *l7, struct http2_stream *stream, struct fact_tape *tape,
                         const struct http_fields *fields);
static void stream_free(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream);

struct http2_stream *http2_stream_get(struct l7 *l7, struct http2_streams *streams, uint32_t id,
                                      bool make)
{
    struct http2_stream **bucket = &streams->bucket[id / 2 % HTTP2_BUCKETS], *stream;

    for (stream = *bucket; stream; stream = stream->next)
        if (stream->id == id)
            return stream;
    if (!make || !id)
        return NULL;
    if (streams->n >= HTTP2_STREAMS_MAX) { /* somewhere an old one */
        for (unsigned i = 1; i <= HTTP2_BUCKETS; i++) {
            struct http2_stream *old = streams->bucket[(id / 2 + i) % HTTP2_BUCKETS];

            if (old) {
                http2_stream_end(l7, streams, old, NULL);
                break;
            }
        }
    }
    stream = l7_memory(l7, sizeof(*stream));
    if (!stream)
        return NULL;
    *stream = (struct http2_stream){.id = id, .next = *bucket};
    *bucket = stream;
    streams->n++;
    return stream;
}

void http2_stream_end(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream,
                      const char *unanswered)
{
    uint32_t id = stream->id;

    http2_message_end(l7, streams, stream, KFL_CLIENT);
    if (stream->message[KFL_SERVER].seen) {
        http2_message_end(l7, streams, stream, KFL_SERVER);
        return;
    }
    if (unanswered)
        l7_unanswered(l7, l7_pending(l7, id), unanswered);
    stream_free(l7, streams, stream);
}

void http2_streams_end(struct l7 *l7, struct http2_streams *streams)
{
    for (unsigned i = 0; i < HTTP2_BUCKETS; i++)
        while (streams->bucket[i])
            http2_stream_end(l7, streams, streams->bucket[i], NULL);
}

void http2_streams_done(struct l7 *l7, struct http2_streams *streams)
{
    for (unsigned i = 0; i < HTTP2_BUCKETS; i++)
        while (streams->bucket[i])
            stream_free(l7, streams, streams->bucket[i]);
}

/* ---- messages ---- */

void http2_message_head(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream,
                        enum kfl_side number, struct http_fields *fields, bool ends)
{
    struct http2_message *message = &stream->message[number];
    struct http_known known = {.content_length = -1};
    const struct kfl_demand *demand = l7_demand(l7);
    struct http_text status = http2_field(fields, ":status");
    enum kfl_field map =
        number == KFL_CLIENT ? KFL_FIELD_HTTP_REQUEST_HEADERS : KFL_FIELD_HTTP_RESPONSE_HEADERS;
    bool later;
    struct fact_tape *tape;

    if (number == KFL_SERVER && status.size == 3 && status.at[0] == '1')
        return;          /* interim */
    if (message->seen) { /* trailers */
        if (message->half)
            hpack_save(l7, &message->head, fields);
        if (ends)
            http2_message_end(l7, streams, stream, number);
        return;
    }
    message->seen = true;
    for (uint32_t i = 0; i < fields->n; i++)
        http_know(&known, &fields->field[i]);
    stream->grpc |= http_text_begins(known.type, "application/grpc") || known.grpc_status;
    if (number == KFL_CLIENT)
        stream->gql = http_gql_possible(http2_field(fields, ":method"), known.type);
    message->coding = known.coding;
    message->type_size =
        known.type.size < sizeof(message->type) ? (uint16_t)known.type.size : sizeof(message->type);
    if (message->type_size)
        memcpy(message->type, known.type.at, message->type_size);
    message->collect = !ends && http_body_wanted(demand, number, stream->gql);
    message->half = l7_half_new(l7, number, stream->id);
    tape = l7_tape(l7);
    later = !ends &&
            (fact_wanted(tape, map) ||
             (number == KFL_SERVER && (fact_wanted(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS) ||
                                       fact_wanted(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_MESSAGE))));
    if (number == KFL_CLIENT) {
        request_head(l7, stream, tape, fields);
    } else {
        int64_t code = 0;

        for (uint32_t i = 0; i < status.size && i < 3; i++)
            code = code * 10 + (status.at[i] - '0') % 10;
        fact_int(tape, KFL_FIELD_HTTP_RESPONSE_STATUS, code);
        fact_text(tape, KFL_FIELD_HTTP_RESPONSE_HTTP_VERSION, "HTTP/2.0");
        fact_string(tape, KFL_FIELD_HTTP_RESPONSE_REDIRECT_URL, known.location.at,
                    known.location.size);
    }
    l7_half_add(l7, message->half);
    hpack_save(l7, &message->head, fields);
    /* Complete as soon as nothing that is asked for can still come. */
    if (ends || (!later && !message->collect && !http_end_wanted(demand, number)))
        http2_message_end(l7, streams, stream, number);
}

void http2_message_end(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream,
                       enum kfl_side number)
{
    struct http2_message *message = &stream->message[number];
    struct l7_half *half = message->half;
    struct hpack_fields *fields = hpack_scratch(l7);
    struct http_body body = {
        .type = {message->type, message->type_size},
        .bytes = {message->body.data, message->body.size},
        .size = message->body_size,
        .coding = message->coding,
    };
    struct http_text text;
    struct fact_tape *tape;
    bool gql = false;

    if (!message->seen || message->complete)
        return;
    message->complete = true;
    message->half = NULL;
    if (number == KFL_SERVER && !stream->message[KFL_CLIENT].complete)
        http2_message_end(l7, streams, stream, KFL_CLIENT); /* answered before it was through */
    tape = l7_tape(l7);
    hpack_load(&message->head, fields);
    http_header_facts(tape, number, &fields->fields);
    if (number == KFL_SERVER) {
        if (http_has(&fields->fields, "grpc-status")) {
            stream->grpc = true;
            http_grpc_facts(tape, &fields->fields);
        } else {
            fact_int(tape, KFL_FIELD_HTTP_RESPONSE_GRPC_STATUS, -1);
        }
    }
    text = http_body_facts(tape, l7_scratch(l7), number, &body);
    if (number == KFL_CLIENT && stream->gql)
        gql = http_gql_facts(tape, l7_scratch(l7), text);
    l7_half_add(l7, half);
    if (gql || stream->grpc)
        l7_half_proto(half, gql ? KFL_PROTO_GQL : KFL_PROTO_GRPC);
    l7_half_version(half, "2.0");
    l7_half_wire(half, message->wire);
    if (message->broken)
        l7_half_error(half, KFL_ERROR_DISSECTION, "headers refer to what was not seen");
    l7_text_free(l7, &message->head);
    l7_text_free(l7, &message->body);
    if (number == KFL_CLIENT) {
        if (half)
            l7_request(l7, half);
        return;
    }
    if (half)
        l7_response(l7, half);
    stream_free(l7, streams, stream);
}

struct http_text http2_field(const struct http_fields *fields, const char *name)
{
    for (uint32_t i = 0; i < fields->n; i++)
        if (http_text_is(fields->field[i].name, name))
            return fields->field[i].value;
    return (struct http_text){0};
}

static void request_head(struct l7 *l7, struct http2_stream *stream, struct fact_tape *tape,
                         const struct http_fields *fields)
{
    struct http_text method = http2_field(fields, ":method"), target = http2_field(fields, ":path");

    if (!target.at)
        target = http2_field(fields, ":authority"); /* CONNECT */
    fact_string(tape, KFL_FIELD_HTTP_REQUEST_METHOD, method.at, method.size);
    http_target_facts(tape, l7_scratch(l7), target, stream->grpc);
    fact_text(tape, KFL_FIELD_HTTP_REQUEST_HTTP_VERSION, "HTTP/2.0");
    fact_int(tape, KFL_FIELD_HTTP_REQUEST_STREAM_ID, stream->id);
}

static void stream_free(struct l7 *l7, struct http2_streams *streams, struct http2_stream *stream)
{
    struct http2_stream **at = &streams->bucket[stream->id / 2 % HTTP2_BUCKETS];

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    streams->n--;
    for (int i = 0; i < 2; i++) {
        l7_half_free(l7, stream->message[i].half);
        l7_text_free(l7, &stream->message[i].head);
        l7_text_free(l7, &stream->message[i].body);
    }
    l7_memory_free(l7, stream);
}
