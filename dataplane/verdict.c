/* verdict.c - what is asked of the plan about a stream and its entries, and what follows.
 *
 *      open ----matched----> matched         for each job, once and for all
 *       |                                    (but a new job in a slot begins anew)
 *       +-----out----------> neither
 *
 * A job with limit(n) takes n entries, counted over all classifiers when an entry is complete. A
 * stream that matches before it has any is let in with the first one it will have; where there is
 * no room any more, the job is out. */
#include <string.h>

#include "../kfl-jit/ensure.h"
#include "classifier_private.h"

static void matched(struct classifier *classifier, struct stream *stream, uint64_t slots,
                    uint64_t ts_ns);
static void settle(struct classifier *classifier, struct stream *stream);
static void settle_by(struct classifier *classifier, struct stream *stream,
                      const struct kfl_verdict *verdict);
static uint64_t admit(const struct classifier *classifier, uint64_t slots);
static void admit_stream(struct classifier *classifier, struct stream *stream,
                         struct kfl_verdict *verdict);
static void admit_entry(struct classifier *classifier, struct stream *stream,
                        const struct kfl_entry *entry, struct kfl_verdict *verdict);
static uint64_t need(struct classifier *classifier, struct stream *stream,
                     const struct kfl_stream *view);
static uint64_t entry_slots(const struct classifier *classifier, const struct stream *stream,
                            uint64_t slots);
static uint64_t about_entry(struct classifier *classifier, struct stream *stream,
                            struct kfl_entry *entry, uint64_t ask);
static uint64_t request_matches(const struct classifier *classifier, const struct kfl_entry *entry,
                                uint64_t slots);
static void about_l4_entry(struct classifier *classifier, struct stream *stream, uint64_t ask);
static void close_l7(struct classifier *classifier, struct stream *stream, enum stream_end why);
static bool is_nobodys(const struct stream *stream);

void verdict_begin(struct classifier *classifier, struct stream *stream)
{
    stream->open = classifier->jobs;
    stream->plan_epoch = classifier->plan ? classifier->plan->epoch : 0;
    if (stream->open) {
        stream->flags |= STREAM_WANTED;
        verdict_stream(classifier, stream, false);
    }
}

void verdict_refresh(struct classifier *classifier, struct stream *stream)
{
    const struct plan_publication *plan = classifier->plan;
    uint64_t jobs = classifier->jobs, new = 0;

    for (unsigned slot = 0; slot < KFL_SLOT_MAX; slot++)
        if (plan->slot_epoch[slot] > stream->plan_epoch)
            new |= UINT64_C(1) << slot;
    stream->plan_epoch = plan->epoch;
    stream->matched &= jobs & ~new;
    stream->open = (stream->open & jobs & ~new) | (new &jobs & ~plan->fresh);
    if (stream->open | stream->matched)
        stream->flags |= STREAM_WANTED;
    if (stream->open)
        verdict_stream(classifier, stream, false);
    else
        settle(classifier, stream);
}

void verdict_stream(struct classifier *classifier, struct stream *stream, bool ended)
{
    struct kfl_stream view;
    struct kfl_verdict verdict;

    stream_view(classifier->streams, stream, ended, &view);
    if (stream->flags & STREAM_ORIENTED)
        stream->flags |= STREAM_ASKED_ORIENTED;
    verdict =
        kfl_plan_stream(classifier->plan->plan, classifier->config.number, &view, stream->open);
    if (verdict.matched & classifier->limited)
        admit_stream(classifier, stream, &verdict);
    settle_by(classifier, stream, &verdict);
    if (!ended && !stream->extra->l7 && !(stream->flags & STREAM_L7_DONE) &&
        need(classifier, stream, &view) && !(stream->id.ip_version & STREAM_KEY_NO_PORTS)) {
        stream_extend(classifier->streams, stream);
        l7_open(classifier->l7, stream);
    }
}

void verdict_entry(void *context, struct stream *stream, struct kfl_entry *entry)
{
    struct classifier *classifier = context;
    uint64_t ask;

    if (verdict_is_old(classifier, stream)) /* no packet of it has come since */
        verdict_refresh(classifier, stream);
    ask = stream->open;
    if (ask || !entry->response_open)
        ask |= entry_slots(classifier, stream, stream->matched);
    if (ask) {
        uint64_t left = about_entry(classifier, stream, entry, ask);

        /* What the stream alone decides does not depend on this entry. */
        left = entry_slots(classifier, stream, left);
        if (left && !entry->response_open)
            waiting_keep(classifier->waiting, stream, entry, left);
    }
    if (classifier->ending != stream)
        settle(classifier, stream);
}

void verdict_protocol(void *context, struct stream *stream)
{
    struct classifier *classifier = context;

    if (stream->open && classifier->ending != stream)
        verdict_stream(classifier, stream, false);
}

void verdict_ended(void *context, struct stream *stream, enum stream_end why)
{
    struct classifier *classifier = context;
    struct recorder *recorder = classifier->config.recorder;
    uint32_t later = classifier->later;
    struct kfl_entry entry;
    struct kfl_stream view;
    uint64_t ask, l4_ask;

    classifier->later = 0; /* the packet at hand is of another stream */
    if (verdict_is_old(classifier, stream))
        verdict_refresh(classifier, stream);
    if (is_nobodys(stream)) {
        classifier->later = later;
        return;
    }
    classifier->ending = stream;
    l4_ask = stream->matched & ~entry_slots(classifier, stream, stream->matched);
    close_l7(classifier, stream, why);
    if (!stream->extra->entries_seen)
        l4_ask = stream->open | stream->matched;
    about_l4_entry(classifier, stream, l4_ask);
    while (waiting_next(classifier->waiting, stream, &entry, &ask))
        about_entry(classifier, stream, &entry, ask & (stream->open | stream->matched));
    if (stream->open) { /* of what the stream alone decides, or came after its entries */
        uint64_t before = stream->matched;

        verdict_stream(classifier, stream, true);
        l4_ask = stream->matched & ~before;
        about_l4_entry(classifier, stream, l4_ask & ~entry_slots(classifier, stream, l4_ask));
    }
    stream->open = 0;
    past_finish(&classifier->past, stream, classifier->now_ns);
    if (stream->extra->n_held)
        past_discard(&classifier->past, stream);
    stream_view(classifier->streams, stream, true, &view);
    recorder->ops->ended(recorder, stream->matched, stream, &view);
    classifier->ending = NULL;
    classifier->later = later;
}

/* These jobs want the stream, by its packet of ts_ns: its past goes to them, and all that comes. */
static void matched(struct classifier *classifier, struct stream *stream, uint64_t slots,
                    uint64_t ts_ns)
{
    if (!slots)
        return;
    if (!stream->matched)
        counter_add(&classifier->counters, COUNTER_streams_matched, 1);
    stream->open &= ~slots;
    stream->matched |= slots;
    past_match(&classifier->past, stream, slots, ts_ns, classifier->later, classifier->now_ns);
}

static void settle_by(struct classifier *classifier, struct stream *stream,
                      const struct kfl_verdict *verdict)
{
    matched(classifier, stream, verdict->matched & stream->open, stream->last_ns);
    if (verdict->out)
        stream->open &= ~verdict->out | waiting_ask(classifier->waiting, stream);
    settle(classifier, stream);
}

/* -> those without limit, and those that have room for one more entry. */
static uint64_t admit(const struct classifier *classifier, uint64_t slots)
{
    const struct plan_publication *plan = classifier->plan;

    for (uint64_t left = slots & classifier->limited; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(left);
        uint64_t before = atomic_fetch_add_explicit(&plan->admitted[slot], 1, memory_order_relaxed);

        if (before >= kfl_plan_limit(plan->plan, slot))
            slots &= ~(left & -left);
    }
    return slots;
}

/* Whatever its entries are: the first counts now. Of a stream that has had some the next one is
 * waited for. */
static void admit_stream(struct classifier *classifier, struct stream *stream,
                         struct kfl_verdict *verdict)
{
    uint64_t limited = verdict->matched & stream->open & classifier->limited, admitted;

    if (stream->extra->entries_seen && stream->extra->l7) {
        verdict->matched &= ~limited;
        return;
    }
    admitted = admit(classifier, limited);
    if (admitted)
        stream->flags |= STREAM_ADMITTED;
    verdict->matched &= ~limited | admitted;
    verdict->out |= limited & ~admitted;
}

static void admit_entry(struct classifier *classifier, struct stream *stream,
                        const struct kfl_entry *entry, struct kfl_verdict *verdict)
{
    uint64_t limited = verdict->matched & classifier->limited, admitted = 0;

    if (entry->response_open) { /* it is not complete */
        verdict->matched &= ~limited;
        return;
    }
    /* The one entry that such a stream has was let in with it, as was the first one of others. */
    if (KFL_PROTOS_L4 >> entry->proto & 1 || stream->flags & STREAM_ADMITTED)
        admitted = limited & stream->matched;
    stream->flags &= ~(uint32_t)STREAM_ADMITTED;
    admitted |= admit(classifier, limited & ~admitted);
    verdict->matched &= ~limited | admitted;
    verdict->out |= limited & ~admitted;
    stream->open &= ~(limited & ~admitted);
}

/* Lets go of what no job needs any more. */
static void settle(struct classifier *classifier, struct stream *stream)
{
    if (stream->open)
        return;
    if (stream->extra->l7 && !entry_slots(classifier, stream, stream->matched)) {
        l7_drop(classifier->l7, stream);
        if (stream->l4 == KFL_L4_TCP)
            tcp_drop(classifier->tcp, stream);
    }
    if (!stream->matched) {
        waiting_drop(classifier->waiting, stream);
        past_discard(&classifier->past, stream);
    }
}

/* The jobs for which the stream has to be dissected. */
static uint64_t need(struct classifier *classifier, struct stream *stream,
                     const struct kfl_stream *view)
{
    uint64_t slots = (stream->matched | stream->open) & classifier->config.recorder->wants_entries;

    if (stream->open)
        slots |= kfl_plan_needs_entries(classifier->plan->plan, view->protos, stream->open);
    return slots;
}

/* Of these jobs, those that hear of the stream's entries: they could not do without entries when it
 * began, or want all. The others hear of the stream as one entry at its end. */
static uint64_t entry_slots(const struct classifier *classifier, const struct stream *stream,
                            uint64_t slots)
{
    return (slots & classifier->config.recorder->wants_entries) |
           kfl_plan_needs_entries_of(classifier->plan->plan, stream->l4, slots);
}

/* -> the jobs for which it is not settled: they wait for the stream's end. */
static uint64_t about_entry(struct classifier *classifier, struct stream *stream,
                            struct kfl_entry *entry, uint64_t ask)
{
    struct recorder *recorder = classifier->config.recorder;
    struct kfl_verdict verdict;
    struct kfl_stream view;

    if (!ask)
        return 0;
    stream_view(classifier->streams, stream, classifier->ending == stream, &view);
    entry->stream = &view;
    if (entry->asked.by != classifier->plan->epoch)
        entry->asked.jobs = 0;
    verdict = kfl_plan_entry(classifier->plan->plan, classifier->config.number, entry, ask);
    if (verdict.matched & classifier->limited)
        admit_entry(classifier, stream, entry, &verdict);
    if (verdict.matched & stream->open) {
        uint64_t by_request = request_matches(classifier, entry, verdict.matched & stream->open);

        if (by_request)
            matched(classifier, stream, by_request, entry->request->last_ns);
        matched(classifier, stream, verdict.matched & stream->open, stream->last_ns);
    }
    if (verdict.matched && !entry->response_open) {
        if (stream->matches < UINT16_MAX)
            stream->matches++;
        recorder->ops->entry(recorder, verdict.matched, stream, entry);
    }
    entry->asked = (struct kfl_asked){ask, verdict.out, classifier->plan->epoch};
    return ask & ~verdict.matched & ~verdict.out;
}

/* Of the jobs that an entry matched, those that its request alone matches: its packet has made the
 * match, whether or not it was asked about before the response came (l7_ask_requests()). */
static uint64_t request_matches(const struct classifier *classifier, const struct kfl_entry *entry,
                                uint64_t slots)
{
    struct kfl_entry request = *entry;

    if (!entry->request || KFL_PROTOS_L4 >> entry->proto & 1)
        return 0;
    if (entry->response_open) /* it was asked alone */
        return slots;
    request.response = NULL;
    request.response_open = true;
    request.error = KFL_ERROR_NONE;
    request.error_msg = "";
    request.asked = (struct kfl_asked){0};
    return slots &
           kfl_plan_entry(classifier->plan->plan, classifier->config.number, &request, slots)
               .matched;
}

/* The one entry of a stream that has no other. */
static void about_l4_entry(struct classifier *classifier, struct stream *stream, uint64_t ask)
{
    const char *error = stream_connection_error(stream);
    struct kfl_entry entry = {
        .proto = kfl_l4_entry(stream->l4),
        .error = error ? KFL_ERROR_CONNECTION : KFL_ERROR_NONE,
        .error_msg = error ? error : "",
    };

    entry.version = kfl_proto_info[entry.proto].version;
    about_entry(classifier, stream, &entry, ask);
}

/* Out for all jobs, and nothing of it is kept. */
static bool is_nobodys(const struct stream *stream)
{
    return !(stream->open | stream->matched) && !stream->extra->n_held && !stream->extra->l7 &&
           !(stream->flags & (STREAM_WAITS | STREAM_MOVING));
}

/* What was on its way becomes entries. */
static void close_l7(struct classifier *classifier, struct stream *stream, enum stream_end why)
{
    static const enum l7_end end[] = {
        [STREAM_END_CLOSE] = L7_END_CLOSE,
        [STREAM_END_RESET] = L7_END_RESET,
        [STREAM_END_IDLE] = L7_END_IDLE,
        [STREAM_END_STOP] = L7_END_STOP,
    };

    if (!stream->extra->l7)
        return;
    if (stream->l4 == KFL_L4_TCP)
        tcp_end(classifier->tcp, stream);
    if (stream->extra->l7)
        l7_close(classifier->l7, stream, end[why]);
}
