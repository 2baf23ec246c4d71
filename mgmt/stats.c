#include "stats.h"

static void set_sum(struct doc *row, const struct pipeline_sum *sum);
static void set_counters(struct doc *row, const struct counters *counters);

void stats_rows(struct pipeline *pipeline, struct source *const *sources, unsigned n_sources,
                struct doc *rows)
{
    struct pipeline_sum sum = pipeline_sum(pipeline);
    uint64_t value[COUNTER_COUNT];
    struct doc *row;

    for (unsigned i = 0; i < n_sources; i++) {
        struct pipeline_source_stats stats;

        pipeline_source_stats(pipeline, i, &stats);
        row = doc_object();
        doc_set_text(row, "kind", "source");
        doc_set_text(row, "name", source_base(sources[i])->name);
        doc_set_text(row, "type", source_base(sources[i])->ops->name);
        doc_set_uint(row, "queues", source_base(sources[i])->n_queues);
        doc_set_uint(row, "rx", stats.rx + stats.device.discarded_kernel);
        doc_set_uint(row, "rx_bytes", stats.rx_bytes);
        doc_set_uint(row, "drop_nic", stats.device.drop_nic);
        doc_set_uint(row, "discarded_kernel", stats.device.discarded_kernel);
        doc_set_uint(row, "errors", stats.device.errors);
        doc_set_bool(row, "ended", stats.ended);
        doc_set_int(row, "error", stats.error);
        if (n_sources == 1)
            set_sum(row, &sum);
        else
            doc_set_int(row, "difference", sum.difference);
        doc_append(rows, row);
    }
    for (unsigned i = 0; i < pipeline_n_rx(pipeline); i++) {
        row = doc_object();
        doc_set_text(row, "kind", "core");
        doc_set_text(row, "role", "rx");
        doc_set_uint(row, "number", i);
        set_counters(row, pipeline_rx_counters(pipeline, i));
        doc_append(rows, row);
    }
    for (unsigned i = 0; i < pipeline_n_classifiers(pipeline); i++) {
        uint64_t ring_size, ring_fill = pipeline_ring_fill(pipeline, i, &ring_size);
        const struct classifier *classifier = pipeline_classifier(pipeline, i);

        row = doc_object();
        doc_set_text(row, "kind", "core");
        doc_set_text(row, "role", "classifier");
        doc_set_uint(row, "number", i);
        doc_set_uint(row, "held", classifier_held(classifier));
        doc_set_uint(row, "streams_open", classifier_streams_open(classifier));
        doc_set_uint(row, "streams_max", classifier_streams_max(classifier));
        doc_set_uint(row, "ring_fill", ring_fill);
        doc_set_uint(row, "ring_size", ring_size);
        doc_set_uint(row, "lookback_span_ns", classifier_lookback_span_ns(classifier));
        set_counters(row, classifier_counters(classifier));
        doc_append(rows, row);
    }
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        struct pipeline_dissection dissection;

        pipeline_dissection(pipeline, proto, &dissection);
        row = doc_object();
        doc_set_text(row, "kind", "protocol");
        doc_set_text(row, "name", kfl_proto_info[proto].abbr);
        doc_set_uint(row, "entries", dissection.entries);
        doc_set_uint(row, "dissected_bytes", dissection.bytes);
        doc_set_uint(row, "dissector_errors", dissection.errors);
        doc_append(rows, row);
    }
    row = doc_object();
    doc_set_text(row, "kind", "sum");
    set_sum(row, &sum);
    pipeline_counters(pipeline, value);
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        if (!doc_get(row, counter_name[i]))
            doc_set_uint(row, counter_name[i], value[i]);
    doc_append(rows, row);
}

static void set_sum(struct doc *row, const struct pipeline_sum *sum)
{
    doc_set_uint(row, "rx", sum->rx);
    doc_set_uint(row, "dropped", sum->dropped);
    doc_set_uint(row, "discarded", sum->discarded);
    doc_set_uint(row, "recorded", sum->recorded);
    doc_set_uint(row, "held", sum->held);
    doc_set_uint(row, "in_flight", sum->in_flight);
    doc_set_int(row, "difference", sum->difference);
}

static void set_counters(struct doc *row, const struct counters *counters)
{
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        doc_set_uint(row, counter_name[i], counter_get(counters, (enum counter)i));
}
