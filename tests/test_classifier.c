/* The classifier, turned by hand: what matches is recorded from the first packet to the last, and
 * every packet is accounted for. */
#include "wire.h"

enum { JOBS_MAX = 8 };

struct rig {
    struct wire wire;
    struct wire_recorder *recorder;
    struct classifier *classifier;
    struct kfl_statement *statements[64];
    struct kfl_plan *plans[16];
    struct plan_publication publications[16];
    unsigned n_statements, n_plans;
    uint32_t fed; /* packets given to the classifier */
    uint32_t packets[WIRE_LOG_MAX];
};

static struct rig *rig_create(uint64_t lookback_size, uint32_t streams_max)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct classifier_config config = {
        .n_classifiers = 1,
        .hash_seed = WIRE_SEED,
        .streams = {.max = streams_max},
        .l7 = {.memory = 64 << 20},
        .lookback_size = lookback_size,
        .waiting_memory = 8 << 20,
    };

    rig->recorder = wire_recorder_create(&rig->wire);
    config.recorder = &rig->recorder->base;
    CU_ASSERT_FATAL(!classifier_create(&config, &rig->classifier));
    return rig;
}

/* Puts these statements into slots 0, 1, ...; null: none in this slot. changed: slots that are
 * new. */
static void rig_jobs(struct rig *rig, const char *const *texts, unsigned n, uint64_t changed)
{
    struct plan_publication *publication = &rig->publications[rig->n_plans];
    struct kfl_plan_job jobs[JOBS_MAX];
    unsigned n_jobs = 0, slot;
    static struct kfl_messages messages;

    for (unsigned i = 0; i < n; i++) {
        struct kfl_statement **statement = &rig->statements[rig->n_statements];

        if (!texts[i])
            continue;
        CU_ASSERT_FATAL(!kfl_statement_create(texts[i], strlen(texts[i]), 0, statement, &messages));
        rig->n_statements++;
        jobs[n_jobs++] = (struct kfl_plan_job){.slot = i, .statement = *statement};
    }
    if (rig->n_plans)
        *publication = rig->publications[rig->n_plans - 1];
    CU_ASSERT_FATAL(
        !kfl_plan_create(jobs, n_jobs, 1, false, &rig->plans[rig->n_plans], &slot, &messages));
    publication->plan = rig->plans[rig->n_plans++];
    publication->epoch++;
    for (slot = 0; slot < KFL_SLOT_MAX; slot++)
        if (changed >> slot & 1)
            publication->slot_epoch[slot] = publication->epoch;
    classifier_publish(rig->classifier, publication);
}

static void rig_job(struct rig *rig, const char *text)
{
    rig_jobs(rig, &text, 1, 1);
}

static uint64_t count(const struct rig *rig, enum counter which)
{
    return counter_get(classifier_counters(rig->classifier), which);
}

static void check_sum(const struct rig *rig)
{
    CU_ASSERT_EQUAL(rig->fed, count(rig, COUNTER_discarded) + count(rig, COUNTER_recorded) +
                                  count(rig, COUNTER_drop_no_chunk) +
                                  count(rig, COUNTER_lookback_evicted) +
                                  classifier_held(rig->classifier));
}

/* The packets of the wire that were not given yet, up to `to`, in bursts. */
static void rig_feed_to(struct rig *rig, uint32_t to)
{
    struct packet burst[PACKET_BURST];

    while (rig->fed < to) {
        uint32_t n = to - rig->fed < PACKET_BURST ? to - rig->fed : PACKET_BURST;

        memcpy(burst, rig->wire.packets + rig->fed, n * sizeof(burst[0]));
        classifier_burst(rig->classifier, burst, n);
        rig->fed += n;
        check_sum(rig);
        classifier_tick(rig->classifier, burst[n - 1].ts_ns);
        check_sum(rig);
    }
}

static void rig_feed(struct rig *rig)
{
    rig_feed_to(rig, rig->wire.n);
}

static void rig_end(struct rig *rig)
{
    while (!classifier_finish(rig->classifier, WIRE_START + (uint64_t)rig->wire.n * WIRE_STEP))
        ;
    check_sum(rig);
    CU_ASSERT_EQUAL(classifier_held(rig->classifier), 0);
}

static void rig_free(struct rig *rig)
{
    classifier_free(rig->classifier);
    for (unsigned i = 0; i < rig->n_plans; i++)
        kfl_plan_free(rig->plans[i]);
    for (unsigned i = 0; i < rig->n_statements; i++)
        kfl_statement_free(rig->statements[i]);
    wire_free(&rig->wire);
    free(rig->recorder);
    free(rig);
}

/* Recorded for the job: exactly the packets from..to, in order. */
static void expect(struct rig *rig, unsigned slot, uint32_t from, uint32_t to)
{
    uint32_t n = wire_recorded(rig->recorder, slot, UINT64_MAX, rig->packets);

    CU_ASSERT_EQUAL(n, to - from);
    for (uint32_t i = 0; i < n && i < to - from; i++)
        CU_ASSERT_EQUAL_FATAL(rig->packets[i], from + i);
}

static const struct wire_connection connection_1 = {1, 2, 40000, 80, {1000, 5000}};

static void requests(struct rig *rig, unsigned n, int last_status)
{
    struct wire_connection c = connection_1;

    wire_open(&rig->wire, &c);
    for (unsigned i = 1; i < n; i++)
        wire_request(&rig->wire, &c, "/a", 200);
    wire_request(&rig->wire, &c, "/last", last_status);
    wire_close(&rig->wire, &c);
}

static void test_last_of_2000(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);

    requests(rig, 2000, 500);
    rig_job(rig, "response.status == 500");
    rig_feed(rig);
    rig_end(rig);
    CU_ASSERT_EQUAL(rig->wire.n, 4006);
    expect(rig, 0, 0, rig->wire.n);
    CU_ASSERT_EQUAL(rig->recorder->missing[0], 0);
    CU_ASSERT_EQUAL(rig->recorder->n_matched[0], 1);
    CU_ASSERT_EQUAL(rig->recorder->n_entries[0], 1);
    CU_ASSERT_EQUAL(count(rig, COUNTER_recorded), rig->wire.n);
    CU_ASSERT_EQUAL(count(rig, COUNTER_streams_matched), 1);
    rig_free(rig);
}

static void test_no_match(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);

    requests(rig, 300, 404);
    rig_job(rig, "response.status == 500");
    rig_feed(rig);
    CU_ASSERT(classifier_held(rig->classifier) > 0);
    rig_end(rig);
    expect(rig, 0, 0, 0);
    CU_ASSERT_EQUAL(count(rig, COUNTER_discarded), rig->wire.n);
    CU_ASSERT_EQUAL(rig->recorder->n_ended, 1);
    rig_free(rig);
}

static void test_lookback_too_small(void)
{
    struct rig *rig = rig_create(64 << 10, 1024);
    uint32_t n;

    requests(rig, 2000, 500);
    rig_job(rig, "response.status == 500");
    rig_feed(rig);
    rig_end(rig);
    n = wire_recorded(rig->recorder, 0, UINT64_MAX, rig->packets);
    CU_ASSERT(n > 300 && n < 500); /* what 64 KiB hold of records of some 180 bytes */
    CU_ASSERT_EQUAL(rig->recorder->missing[0], rig->wire.n - n);
    CU_ASSERT_EQUAL(count(rig, COUNTER_lookback_evicted), rig->wire.n - n);
    expect(rig, 0, rig->wire.n - n, rig->wire.n);
    rig_free(rig);
}

static void test_l4(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    static const char *const jobs[] = {"tcp and dst.port == 80", "dst.port == 81"};

    requests(rig, 20, 200);
    rig_jobs(rig, jobs, 2, 3);
    rig_feed(rig);
    CU_ASSERT_EQUAL(count(rig, COUNTER_recorded), rig->wire.n); /* at once: nothing is held */
    rig_end(rig);
    expect(rig, 0, 0, rig->wire.n);
    expect(rig, 1, 0, 0);
    CU_ASSERT_EQUAL(rig->recorder->n_entries[0], 1); /* the L4 entry */
    CU_ASSERT_EQUAL(classifier_l7_counters(rig->classifier)->streams, 0);
    rig_free(rig);
}

/* A request is asked about with its response, or alone when that takes long. Which packet has made
 * the match does not depend on it. */
static void test_request_is_enough(void)
{
    static const char *const jobs[] = {"request.path == \"/wanted\"", "response.status == 500"};
    struct rig *rig = rig_create(16 << 20, 1024);
    struct wire_connection c = connection_1;
    uint32_t request;

    wire_open(&rig->wire, &c);
    wire_request(&rig->wire, &c, "/a", 200);
    request = rig->wire.n;
    wire_request(&rig->wire, &c, "/wanted", 500);
    wire_close(&rig->wire, &c);
    rig_jobs(rig, jobs, 2, 3);
    rig_feed(rig);
    rig_end(rig);
    for (unsigned slot = 0; slot < 2; slot++) {
        expect(rig, slot, 0, rig->wire.n);
        CU_ASSERT_EQUAL(rig->recorder->n_matched[slot], 1);
        CU_ASSERT_EQUAL(rig->recorder->n_entries[slot], 1);
        CU_ASSERT_EQUAL(rig->recorder->matched_ns[slot], rig->wire.packets[request + slot].ts_ns);
    }
    rig_free(rig);
}

static void test_request_without_response(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    struct wire_connection c = connection_1;
    uint64_t ts_ns;

    wire_open(&rig->wire, &c);
    wire_request(&rig->wire, &c, "/wanted", 0);
    ts_ns = rig->wire.packets[3].ts_ns;
    wire_tcp(&rig->wire, &c, WIRE_SERVER, WIRE_ACK, NULL, 0);
    rig_job(rig, "request.path == \"/wanted\"");
    rig_feed(rig);
    classifier_tick(rig->classifier, ts_ns + L7_ASK_NS - 1);
    CU_ASSERT_EQUAL(rig->recorder->n_matched[0], 0);
    classifier_tick(rig->classifier, ts_ns + L7_ASK_NS);
    CU_ASSERT_EQUAL(rig->recorder->n_matched[0], 1);
    CU_ASSERT_EQUAL(rig->recorder->matched_ns[0], ts_ns);
    CU_ASSERT_EQUAL(count(rig, COUNTER_recorded), rig->wire.n);
    rig_end(rig);
    expect(rig, 0, 0, rig->wire.n);
    CU_ASSERT_EQUAL(rig->recorder->n_entries[0], 1);
    rig_free(rig);
}

/* The slot has another job by then, to which the stream is none of its own. */
static void test_request_outlives_its_job(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    struct wire_connection c = connection_1;

    wire_open(&rig->wire, &c);
    wire_request(&rig->wire, &c, "/wanted", 0);
    rig_job(rig, "request.path == \"/another\"");
    rig_feed(rig);
    rig->publications[rig->n_plans - 1].fresh = 1; /* the next one begins as a copy of it */
    rig_job(rig, "request.path == \"/wanted\"");
    classifier_tick(rig->classifier, rig->wire.packets[3].ts_ns + L7_ASK_NS);
    CU_ASSERT_EQUAL(rig->recorder->n_matched[0], 0);
    rig_end(rig);
    expect(rig, 0, 0, 0);
    rig_free(rig);
}

/* Where too many wait, the next ones are asked about at once. */
static void test_many_requests_wait(void)
{
    enum { N = 4608, ROOM = 4096, PIECE = 16 };
    struct rig *rig = rig_create(16 << 20, 2 * N);

    for (uint16_t i = 0; i < N; i++) {
        struct wire_connection c = {1, 2, (uint16_t)(40000 + i), 80, {1, 1}};

        wire_request(&rig->wire, &c, "/wanted", 0);
    }
    rig_job(rig, "request.path == \"/wanted\"");
    for (; rig->fed < N; rig->fed += PIECE) {
        struct packet burst[PIECE];

        memcpy(burst, rig->wire.packets + rig->fed, sizeof(burst));
        classifier_burst(rig->classifier, burst, PIECE);
    }
    CU_ASSERT_EQUAL(rig->recorder->n_matched[0], N - ROOM);
    classifier_tick(rig->classifier, rig->wire.packets[N - 1].ts_ns + L7_ASK_NS);
    CU_ASSERT_EQUAL(rig->recorder->n_matched[0], N);
    rig_end(rig);
    CU_ASSERT_EQUAL(count(rig, COUNTER_recorded), N);
    rig_free(rig);
}

/* Headers are asked for by their canonical names, and come as they like. */
static void test_header_names(void)
{
    static const struct {
        const char *sent, *asked;
        bool is_it;
    } rows[] = {
        {"x-FORWARDED-for", "X-Forwarded-For", true},
        {"HOST2", "Host2", true},
        {"a", "A", true},
        {"content-security-policy-REPORT-only", "Content-Security-Policy-Report-Only", true},
        {"x--y-", "X--Y-", true},
        {"1234567-z8", "1234567-Z8", true},
        {"x-\xc3\xa9T@[`{", "X-\xc3\xa9t@[`{", true},
        {"user-agent", "user-agent", false},
        {"user-agent", "User_Agent", false},
        {"user-agent", "User-Agenu", false},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig *rig = rig_create(16 << 20, 1024);
        struct wire_connection c = connection_1;
        char text[200], statement[200];
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s: b\r\n\r\n", rows[i].sent);

        snprintf(statement, sizeof(statement), "request.headers[\"%s\"] == \"b\"", rows[i].asked);
        wire_tcp(&rig->wire, &c, WIRE_CLIENT, WIRE_ACK, text, (size_t)n);
        rig_job(rig, statement);
        rig_feed(rig);
        rig_end(rig);
        CU_ASSERT_EQUAL(rig->recorder->n_matched[0], rows[i].is_it);
        rig_free(rig);
    }
}

static void test_out_at_once(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);

    requests(rig, 20, 500);
    rig_job(rig, "src.ip == \"10.9.9.9\" and response.status == 500");
    rig_feed(rig);
    CU_ASSERT_EQUAL(count(rig, COUNTER_discarded), rig->wire.n);
    CU_ASSERT_EQUAL(classifier_l7_counters(rig->classifier)->streams, 0);
    rig_end(rig);
    expect(rig, 0, 0, 0);
    rig_free(rig);
}

static uint64_t dissected(const struct rig *rig)
{
    const struct l7_counters *counters = classifier_l7_counters(rig->classifier);
    uint64_t bytes = 0;

    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++)
        bytes += counters->bytes[proto];
    return bytes;
}

/* Two connections turn by turn: dissectors are shown the bytes of the one that a job may want, and
 * of the other none. */
static void test_dissects_what_is_wanted(void)
{
    static const char *const jobs[] = {"src.port == 40001 and response.status == 500",
                                       "dst.port == 80"};
    struct wire_connection wanted = {1, 2, 40001, 80, {1, 1}}, other = connection_1;
    uint64_t bytes = 0;

    for (unsigned both = 0; both < 2; both++) {
        struct rig *rig = rig_create(16 << 20, 1024);

        for (unsigned i = 0; i < 200; i++) {
            wire_request(&rig->wire, &wanted, "/a", 200);
            if (both)
                wire_request(&rig->wire, &other, "/a", 500);
        }
        rig_jobs(rig, jobs, 2, 3);
        rig_feed(rig);
        rig_end(rig);
        CU_ASSERT_EQUAL(classifier_l7_counters(rig->classifier)->streams, 1);
        CU_ASSERT(dissected(rig) > 200 * 20);
        CU_ASSERT(!both || dissected(rig) == bytes);
        bytes = dissected(rig);
        rig_free(rig);
    }
}

/* The protocol, once known, ends it for a job of another one. */
static void test_dissection_ends_with_the_last_job(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    uint64_t bytes;

    requests(rig, 200, 500);
    rig_job(rig, "redis");
    rig_feed_to(rig, 8);
    bytes = dissected(rig);
    CU_ASSERT_EQUAL(classifier_held(rig->classifier), 0);
    rig_feed(rig);
    CU_ASSERT_EQUAL(dissected(rig), bytes);
    rig_end(rig);
    expect(rig, 0, 0, 0);
    rig_free(rig);
}

/* HTTP/1 may be upgraded by any request: a job for what it becomes waits for it, unless the
 * client has said that no request follows. */
static void test_late_upgrade(void)
{
    static const char request[] = "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\n"
                                  "Upgrade: websocket\r\n\r\n",
                      response[] = "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\n"
                                   "Upgrade: websocket\r\n\r\n",
                      message[] = "\x81\x02hi", last[] = "GET / HTTP/1.0\r\n\r\n";
    static const char *const jobs[] = {"ws", "http2"};
    struct wire_connection c = connection_1, closing = {1, 2, 40001, 80, {1, 1}};
    struct rig *rig = rig_create(16 << 20, 1024);

    wire_tcp(&rig->wire, &closing, WIRE_CLIENT, WIRE_ACK, last, sizeof(last) - 1);
    wire_open(&rig->wire, &c);
    for (unsigned i = 0; i < 10; i++)
        wire_request(&rig->wire, &c, "/a", 200);
    wire_tcp(&rig->wire, &c, WIRE_CLIENT, WIRE_ACK, request, sizeof(request) - 1);
    wire_tcp(&rig->wire, &c, WIRE_SERVER, WIRE_ACK, response, sizeof(response) - 1);
    wire_tcp(&rig->wire, &c, WIRE_SERVER, WIRE_ACK, message, sizeof(message) - 1);
    wire_close(&rig->wire, &c);
    rig_jobs(rig, jobs, 2, 3);
    rig_feed_to(rig, 1);
    CU_ASSERT_EQUAL(classifier_held(rig->classifier), 0);
    rig_feed(rig);
    rig_end(rig);
    expect(rig, 0, 1, rig->wire.n);
    expect(rig, 1, 0, 0);
    rig_free(rig);
}

/* Each job has the whole stream, whenever it matched; a packet counts once. */
static void test_jobs_match_one_after_another(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    struct wire_connection c = connection_1;
    static const char *const jobs[] = {"request.path == \"/one\"", "response.status == 500",
                                       "dst.port == 80", "request.path == \"/never\""};

    wire_open(&rig->wire, &c);
    for (unsigned i = 0; i < 300; i++)
        wire_request(&rig->wire, &c, i == 50 ? "/one" : "/a", i == 250 ? 500 : 200);
    wire_close(&rig->wire, &c);
    rig_jobs(rig, jobs, 4, 15);
    rig_feed(rig);
    rig_end(rig);
    for (unsigned slot = 0; slot < 3; slot++) {
        expect(rig, slot, 0, rig->wire.n);
        CU_ASSERT_EQUAL(rig->recorder->missing[slot], 0);
    }
    expect(rig, 3, 0, 0);
    CU_ASSERT_EQUAL(count(rig, COUNTER_recorded), rig->wire.n);
    rig_free(rig);
}

static void test_end_decides(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    static const char *const jobs[] = {"response.status == 404 and conn.packets > 40",
                                       "response.status == 404 and conn.packets > 400",
                                       "conn.tcpFlags == \"FIN\" and tcp"};

    requests(rig, 20, 404);
    rig_jobs(rig, jobs, 3, 7);
    rig_feed(rig);
    rig_end(rig);
    expect(rig, 0, 0, rig->wire.n);
    expect(rig, 1, 0, 0);
    expect(rig, 2, 0, rig->wire.n);
    CU_ASSERT_EQUAL(rig->recorder->n_entries[0], 1);
    CU_ASSERT_EQUAL(rig->recorder->n_entries[2], 1); /* the stream as one */
    rig_free(rig);
}

/* ... more than there is memory for them. */
static void test_end_decides_without_entries(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    static const char *const jobs[] = {"tcp and conn.bytes > 100000000", "response.status == 500"};

    requests(rig, 40000, 404);
    rig_jobs(rig, jobs, 2, 3);
    rig_feed(rig);
    rig_end(rig);
    CU_ASSERT_EQUAL(count(rig, COUNTER_entries_lost), 0);
    CU_ASSERT_EQUAL(rig->recorder->n_entries[0], 0);
    rig_free(rig);
}

/* A job that comes while a stream is under way has it from there on, and knows what it missed. */
static void test_plan_changes(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);
    static const char *const one[] = {"dst.port == 81"};
    static const char *const two[] = {"dst.port == 81", "response.status == 500"};
    static const char *const three[] = {NULL, "response.status == 500", "tcp"};

    requests(rig, 300, 500);
    rig_jobs(rig, one, 1, 1);
    rig_feed_to(rig, 103);
    rig_jobs(rig, two, 2, 2);
    rig_feed_to(rig, 203);
    rig_jobs(rig, three, 3, 4);
    rig_feed(rig);
    rig_end(rig);
    CU_ASSERT_EQUAL(count(rig, COUNTER_discarded), 103);
    expect(rig, 1, 103, rig->wire.n);
    CU_ASSERT_EQUAL(rig->recorder->missing[1], 103);
    expect(rig, 2, 103, rig->wire.n); /* what the lookback had for the other */
    CU_ASSERT_EQUAL(rig->recorder->missing[2], 103);
    CU_ASSERT_EQUAL(classifier_epoch(rig->classifier), 3);
    rig_free(rig);
}

/* An entry that waited for one job is asked about anew for the one that got its slot. */
static void test_waiting_entries_and_a_new_job(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);

    requests(rig, 20, 404);
    rig_job(rig, "request.path == \"/a\" and conn.packets > 4000");
    rig_feed_to(rig, 30);
    rig_job(rig, "request.path == \"/never\" and conn.packets > 40");
    rig_feed(rig);
    rig_end(rig);
    expect(rig, 0, 0, 0);
    rig_free(rig);
}

static void test_no_chunk(void)
{
    struct rig *rig = rig_create(16 << 20, 1024);

    requests(rig, 100, 500);
    rig_job(rig, "response.status == 500");
    rig->recorder->refuse = 3;
    rig_feed(rig);
    rig_end(rig);
    CU_ASSERT_EQUAL(count(rig, COUNTER_drop_no_chunk), rig->wire.n / 3);
    rig_free(rig);
}

static void test_table_full(void)
{
    struct rig *rig = rig_create(16 << 20, 64);
    static const char *const jobs[] = {"dst.port == 80", "response.status == 500"};

    for (unsigned i = 0; i < 2000; i++) {
        struct wire_connection c = {1, 2, (uint16_t)(20000 + i), 80, {i, i}};

        wire_open(&rig->wire, &c);
    }
    rig_jobs(rig, jobs, 2, 3);
    rig_feed(rig);
    rig_end(rig);
    CU_ASSERT(count(rig, COUNTER_streams_full) > 0);
    rig_free(rig);
}

static void test_no_ip(void)
{
    struct rig *rig = rig_create(16 << 20, 64);
    uint8_t *arp = calloc(1, 60);

    arp[12] = 8;
    arp[13] = 6;
    wire_frame(&rig->wire, arp, 60);
    rig_job(rig, "");
    rig_feed(rig);
    rig_end(rig);
    CU_ASSERT_EQUAL(count(rig, COUNTER_not_ip), 1);
    CU_ASSERT_EQUAL(count(rig, COUNTER_discarded), 1);
    rig_free(rig);
}

/* Many streams, a small lookback, jobs that match at all times: what is recorded of a stream is an
 * end of it, without holes, and misses as many packets as was said. */
static void test_random(void)
{
    static const char *const jobs[] = {"response.status == 500", "request.path == \"/x\"",
                                       "dst.port == 81", "conn.packets > 60"};
    struct wire_connection c[40];
    uint32_t n_of[40] = {0}, *index, state = 7;
    uint8_t *of;

    for (unsigned round = 0; round < 4; round++) {
        struct rig *rig = rig_create(round % 2 ? 48 << 10 : 16 << 20, 1024);

        for (unsigned i = 0; i < 40; i++) {
            c[i] = (struct wire_connection){
                1, 2, (uint16_t)(1000 + i), (uint16_t)(80 + i % 3), {i, i}};
            wire_open(&rig->wire, &c[i]);
        }
        for (unsigned i = 0; i < 3000; i++) {
            state = state * 1664525 + 1013904223 + round;
            wire_request(&rig->wire, &c[(state >> 8) % 40], (state >> 16) % 97 ? "/" : "/x",
                         (state >> 20) % 89 ? 200 : 500);
        }
        of = calloc(1, rig->wire.n);
        index = calloc(rig->wire.n, sizeof(*index)); /* in its stream */
        memset(n_of, 0, sizeof(n_of));
        for (uint32_t i = 0; i < rig->wire.n; i++) {
            const uint16_t *port = rig->wire.packets[i].key.port;

            of[i] = (uint8_t)((port[0] >= 1000 ? port[0] : port[1]) - 1000);
            index[i] = n_of[of[i]]++;
        }
        rig_jobs(rig, jobs, 4, 15);
        rig_feed(rig);
        rig_end(rig);
        for (unsigned slot = 0; slot < 4; slot++) {
            uint32_t next[40] = {0}, missing = 0;
            uint32_t n = wire_recorded(rig->recorder, slot, UINT64_MAX, rig->packets);

            for (uint32_t i = 0; i < n; i++) {
                unsigned s = of[rig->packets[i]];

                if (!next[s])
                    missing += index[rig->packets[i]];
                else
                    CU_ASSERT_EQUAL(index[rig->packets[i]], next[s]);
                next[s] = index[rig->packets[i]] + 1;
            }
            for (unsigned s = 0; s < 40; s++)
                CU_ASSERT(!next[s] || next[s] == n_of[s]);
            CU_ASSERT(n > 0);
            CU_ASSERT_EQUAL(rig->recorder->missing[slot], missing);
            CU_ASSERT(round % 2 || !missing);
        }
        free(of);
        free(index);
        rig_free(rig);
    }
}

static const struct tap_test tests[] = {
    {"the last of 2000 requests is answered 500: the stream is recorded whole", test_last_of_2000},
    {"what nothing matches is discarded at the end", test_no_match},
    {"a lookback too small: recorded from where it could, and says what is missing",
     test_lookback_too_small},
    {"an L4 match is recorded at once and not dissected", test_l4},
    {"what no job can want any more is discarded at once and not dissected", test_out_at_once},
    {"a request may be enough: its packet makes the match", test_request_is_enough},
    {"a request without response matches soon", test_request_without_response},
    {"a request outlives its job", test_request_outlives_its_job},
    {"many requests wait for their response", test_many_requests_wait},
    {"headers are asked for by their canonical names", test_header_names},
    {"dissectors see the streams that an open job needs, no others", test_dissects_what_is_wanted},
    {"nothing is dissected behind the last job's end", test_dissection_ends_with_the_last_job},
    {"a job for WebSocket waits for a late upgrade", test_late_upgrade},
    {"each job has the whole stream, whenever it matched", test_jobs_match_one_after_another},
    {"entries wait for the stream's end when a statement asks about it", test_end_decides},
    {"what the stream alone decides keeps no entry", test_end_decides_without_entries},
    {"a job that comes late has what is left, and knows what it missed", test_plan_changes},
    {"an entry that waited is asked about anew for a new job", test_waiting_entries_and_a_new_job},
    {"packets that no chunk is free for are counted", test_no_chunk},
    {"a full stream table: the packets are still accounted for", test_table_full},
    {"a packet without IP is discarded", test_no_ip},
    {"many streams at random: ends without holes, and the sum holds", test_random},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    return tap_main(argc, argv, "classifier", tests);
}
