#include "recording_query.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../dataplane/pipeline.h"
#include "../kfl-jit/ensure.h"
#include "../kfl-jit/pushdown.h"
#include "../writer/segment_source.h"

enum { STREAMS_MAX = 16 << 20, LINE_SIZE = 64 << 20, ARENA_SIZE = 256 << 20 };
static const uint64_t l7_bytes = 64 << 20, waiting_bytes = 16 << 20; /* they grow */

struct run {
    struct recorder recorder;
    const struct recording_query *query;
    struct kfl_pushdown wanted; /* what the statement needs of addresses, ports and layer 4 */
    struct kfl_arena *arena;
    char *line;
    bool ended;
};

static int build(const struct cli *cli, struct run *run, const struct recording_files *files,
                 struct source *source, const struct kfl_statement *statement,
                 struct pipeline **ret_pipeline);
static bool may_match(void *context, const struct chunk_stream *stream, uint64_t place);
static void found(struct run *run, const struct stream *stream);

/* ---- the recorder: verdicts and entries, no packets ---- */

static struct run *run_of(struct recorder *recorder)
{
    return (struct run *)((char *)recorder - offsetof(struct run, recorder));
}

static uint8_t *op_reserve(struct recorder *recorder, unsigned slot, uint32_t size,
                           uint16_t interface)
{
    return NULL; /* it wants no packets */
}

static void op_commit(struct recorder *recorder, unsigned slot, const struct stream *stream,
                      uint64_t ts_ns, uint32_t origlen, uint16_t interface)
{
}

static void op_entry(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     const struct kfl_entry *entry)
{
    struct run *run = run_of(recorder);
    struct kfl_value *value;
    int n;

    found(run, stream);
    if (!run->query->entry || run->ended)
        return;
    kfl_arena_reset(run->arena);
    value = kfl_entry_value(run->arena, entry);
    if (value && kfl_plan_redacts(recorder->plan) &&
        !kfl_plan_redact(recorder->plan, 0, value, run->arena))
        value = NULL;
    n = value ? kfl_json_print(value, run->line, LINE_SIZE) : -1;
    if (n >= 0)
        run->ended = !run->query->entry(run->query->context, run->line, (size_t)n);
}

static void op_matched(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                       uint32_t missing, uint64_t ts_ns)
{
    found(run_of(recorder), stream);
}

static void op_ended(struct recorder *recorder, uint64_t slots, const struct stream *stream,
                     const struct kfl_stream *view)
{
    if (slots)
        found(run_of(recorder), stream);
}

static void op_released(struct recorder *recorder, uint64_t slots, uint64_t now_ns)
{
}

static void op_flush(struct recorder *recorder, uint64_t now_ns, bool all)
{
}

static const struct recorder_ops ops = {
    .reserve = op_reserve,
    .commit = op_commit,
    .entry = op_entry,
    .matched = op_matched,
    .ended = op_ended,
    .released = op_released,
    .flush = op_flush,
};

/* ---- */

int recording_query_run(const struct cli *cli, const struct recording_files *files,
                        const struct kfl_statement *statement, const struct recording_query *query)
{
    struct run run = {.recorder = {.ops = &ops}, .query = query};
    const struct segment_source_config config = {
        .folder = files->folder, .recording = files->name, .wanted = may_match, .context = &run};
    struct segment_source *source = NULL;
    struct pipeline *pipeline = NULL;
    int err = segment_source_open(&config, 0, &source);

    if (query->entry) {
        run.recorder.wants_entries = UINT64_MAX;
        run.arena = kfl_arena_create(ARENA_SIZE);
        run.line = malloc(LINE_SIZE);
        ensure(run.arena && run.line);
    }
    if (!err) {
        segment_source_finish(source);
        err = build(cli, &run, files, segment_source_base(source), statement, &pipeline);
    }
    while (!err && !run.ended && !pipeline_done(pipeline))
        pipeline_step(pipeline);
    if (err && err != -EINVAL) /* that one has been said */
        cli_error(cli, "%s: %s", files->name, strerror(-err));
    else if (!err && segment_source_lost_segments(source))
        cli_error(cli, "%s: %u segments were deleted or are damaged: they are left out",
                  files->name, segment_source_lost_segments(source));
    pipeline_free(pipeline);
    if (source)
        source_close(segment_source_base(source));
    kfl_arena_free(run.arena);
    free(run.line);
    return err == -EINVAL ? CLI_USAGE : err ? CLI_FAILED : CLI_DONE;
}

static int build(const struct cli *cli, struct run *run, const struct recording_files *files,
                 struct source *source, const struct kfl_statement *statement,
                 struct pipeline **ret_pipeline)
{
    struct recorder *recorder = &run->recorder;
    const struct kfl_plan_job job = {.slot = 0, .statement = statement, .stored = true};
    struct pipeline_config config = {
        .sources = &source,
        .n_sources = 1,
        .n_classifiers = 1,
        .recorders = &recorder,
        .classifier =
            {
                .streams = {.max = STREAMS_MAX,
                            .grow = true,
                            .recorded = true,
                            .record = files->name,
                            .names = {segment_source_name, source}},
                .l7 = {.memory = l7_bytes, .unbounded = true},
                .waiting_memory = waiting_bytes,
            },
    };
    static struct kfl_messages messages;
    struct kfl_plan *plan;
    unsigned culprit;
    int err;

    if (getrandom(&config.hash_seed, sizeof(config.hash_seed), 0) < 0)
        return -errno;
    err = pipeline_create(&config, ret_pipeline);
    if (!err)
        err = kfl_plan_create(&job, 1, 1, run->query->entry, &plan, &culprit, &messages);
    if (err && messages.n)
        cli_error(cli, "%s", messages.message[0].text);
    if (!err)
        kfl_pushdown_of_slot(plan, 0, &run->wanted); /* without memory it is everything */
    return err ? err : pipeline_publish(*ret_pipeline, plan, kfl_plan_jobs(plan));
}

/* What the index knows of a stream may rule it out: then it is not read. */
static bool may_match(void *context, const struct chunk_stream *stream, uint64_t place)
{
    const struct run *run = context;
    struct kfl_pushdown_packet packet;
    if (stream->key.ip_version & STREAM_KEY_NO_PORTS)
        return true;
    switch ((enum kfl_l4)stream->l4) {
    case KFL_L4_TCP:
        packet.kind = KFL_PUSHDOWN_TCP;
        break;
    case KFL_L4_UDP:
        packet.kind = KFL_PUSHDOWN_UDP;
        break;
    case KFL_L4_SCTP:
        packet.kind = KFL_PUSHDOWN_SCTP;
        break;
    case KFL_L4_ICMP:
        packet.kind = KFL_PUSHDOWN_ICMP;
        break;
    default: /* the condition says nothing of others */
        return true;
    }
    if (stream->key.ip_version == 6)
        packet.kind += KFL_PUSHDOWN_IPV6;
    for (unsigned i = 0; i < 2; i++) {
        memcpy(packet.addr[i], stream->key.addr[i], 16);
        packet.port[i] = stream->l4 == KFL_L4_ICMP ? KFL_PUSHDOWN_NO_PORT : stream->key.port[i];
    }
    return kfl_pushdown_wants(&run->wanted, &packet);
}

static void found(struct run *run, const struct stream *stream)
{
    if (run->query->stream)
        run->query->stream(run->query->context, stream->number);
}
