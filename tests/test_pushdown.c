/* Pushdown: what the XDP program or the gate discards, no job wants; a stream that is out is let
 * through again as soon as it may be another one. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/if_link.h>

#include <bpf/bpf.h>

#include "../dataplane/capture_filter.h"
#include "../dataplane/decode.h"
#include "../dataplane/source.h"
#include "../dataplane/stream.h"
#include "../kfl-jit/ensure.h"
#include "../kfl-jit/kfl.h"
#include "frames.h"
#include "kfl_random.h"
#include "tap.h"

enum { PACKETS_MAX = 6000, A_FILE = 120, SIZE_MAX_ = 1024, STATEMENTS = 60 };

static struct capture_program program;
static struct capture_filter *filter;
static int program_fd = -1;
static struct {
    uint8_t bytes[SIZE_MAX_];
    uint32_t size;
    struct packet packet;
} packets[PACKETS_MAX];
static unsigned n_packets;

static bool load(void)
{
    if (program_fd < 0) {
        capture_program_init(&program);
        program_fd = capture_program_load(&program, false);
        if (program_fd < 0 || capture_filter_open(&program, &filter))
            program_fd = -1;
    }
    if (program_fd < 0)
        tap_skip("needs root, and a kernel with BPF");
    return program_fd >= 0;
}

/* Forgets all conditions and streams. */
static void unload(void)
{
    capture_filter_close(filter);
    capture_program_close(&program);
    filter = NULL;
    program_fd = -1;
}

static bool discards(const uint8_t *bytes, uint32_t size)
{
    uint64_t before = capture_program_count(&program, CAPTURE_DISCARDED);
    uint8_t output[SIZE_MAX_ + 64];
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bytes, .data_size_in = size,
                .data_out = output, .data_size_out = sizeof(output), .repeat = 1);

    CU_ASSERT_FATAL(!bpf_prog_test_run_opts(program_fd, &options));
    return capture_program_count(&program, CAPTURE_DISCARDED) != before;
}

static void keep(const uint8_t *bytes, uint32_t size)
{
    struct packet *packet = &packets[n_packets].packet;

    if (n_packets == PACKETS_MAX || size < 64 || size > SIZE_MAX_)
        return; /* the kernel runs the program on no frame shorter than the header and a bit */
    memcpy(packets[n_packets].bytes, bytes, size);
    packets[n_packets].size = size;
    *packet = (struct packet){.data = packets[n_packets].bytes,
                              .caplen = size,
                              .origlen = size,
                              .ts_ns = 1,
                              .linktype = LINKTYPE_ETHERNET};
    decode_burst(packet, 1, 7);
    n_packets++;
}

/* Ethernet frames out of the open captures; where there are none, frames made from words. */
static void collect(void)
{
    static const char *const words[] = {
        "eth ip4 tcp",
        "eth ip4 udp",
        "eth ip6 tcp",
        "eth ip6 udp",
        "eth vlan:5 ip4 tcp",
        "eth ip4 icmp",
        "eth vlan:1 vlan:2 ip6 udp",
        "eth ip4 udp:4789 vxlan:42 eth ip4 tcp",
        "eth ip4 gre ip4 udp",
    };
    const char *shared = tap_shared();
    char pattern[512];
    glob_t paths = {0};

    if (n_packets)
        return;
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        for (unsigned reverse = 0; reverse < 2; reverse++) {
            struct frame frame;
            uint8_t padded[128] = {0};

            frame_make(&frame, words[i], reverse);
            memcpy(padded, frame_data(&frame), frame_size(&frame));
            keep(padded, frame_size(&frame) < 64 ? 64 : (uint32_t)frame_size(&frame));
        }
    snprintf(pattern, sizeof(pattern), "%s/corpus/open/*/*", shared ? shared : "/nonexistent");
    glob(pattern, 0, NULL, &paths);
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        struct source_config config = {.type = "file", .interface = paths.gl_pathv[i]};
        char error[SOURCE_ERROR_SIZE];
        struct packet burst[64];
        struct source *source;
        unsigned n_kept = 0;
        int n;

        if (source_open(&config, 0, &source, error))
            continue;
        while (n_kept < A_FILE && (n = source_base(source)->ops->rx(source, 0, burst, 64)) > 0) {
            for (int k = 0; k < n && burst[k].linktype == LINKTYPE_ETHERNET; k++, n_kept++)
                keep(burst[k].data, burst[k].caplen);
            source_base(source)->ops->release(source, 0, burst, (unsigned)n);
        }
        source_close(source);
    }
    globfree(&paths);
}

static struct kfl_plan *plan_of(const char *text, struct kfl_statement **ret_statement)
{
    static struct kfl_messages messages;
    struct kfl_plan_job job = {.slot = 3};
    struct kfl_plan *plan;
    unsigned slot;

    if (kfl_statement_create(text, strlen(text), 0, ret_statement, &messages))
        return NULL;
    job.statement = *ret_statement;
    if (kfl_plan_create(&job, 1, 1, false, &plan, &slot, &messages)) {
        kfl_statement_free(*ret_statement);
        return NULL;
    }
    kfl_plan_set_mode(plan, KFL_PLAN_TREE);
    return plan;
}

static struct pushdown_condition *condition_of(const struct kfl_plan *plan, uint32_t epoch)
{
    static struct pushdown_condition condition;

    condition.epoch = epoch;
    condition.anybody = true;
    CU_ASSERT(!kfl_pushdown_of_slot(plan, 3, &condition.wanted));
    return &condition;
}

static void in_force(const struct kfl_plan *plan, uint32_t epoch)
{
    struct pushdown_condition *condition = condition_of(plan, epoch);

    capture_filter_widen(filter, condition);
    capture_filter_narrow(filter, condition);
}

static struct stream_table *table; /* empty: for views of packets alone */

/* By the tree, of a stream whose first packet it is and of which nothing else is known. */
static bool out(const struct kfl_plan *plan, const struct packet *packet)
{
    struct stream stream;
    struct kfl_stream view;

    if (packet->flags & PACKET_NO_IP)
        return true;
    stream_view_packet(table, packet, &stream, &view);
    view.oriented = false;
    return kfl_plan_stream(plan, 0, &view, 1 << 3).out;
}

/* A part of a statement about packets, sometimes with something that is only known late. */
static void packet_statement(struct kfl_random *random, unsigned depth, char *text, size_t size)
{
    static const char *const leaves[] = {
        "tcp",
        "udp",
        "icmp",
        "http",
        "dns",
        "dst.port == 80",
        "src.port > 1023",
        "dst.port < 1024",
        "src.ip == \"10.0.0.1\"",
        "dst.ip.startsWith(\"10.\")",
        "src.ip != \"192.168.1.1\"",
        "dst.port == 53",
        "src.port == 443",
        "vlan.id == 5",
        "tunnel.type == \"vxlan\"",
        "protocol.layer4 == \"sctp\"",
        "response.status == 500",
        "src.name == \"web\"",
        "dst.ip == \"fd00::2\"",
        "dst.ip.startsWith(\"192.168.\")",
        "conn.packets > 3",
        "ip.version == 6",
        "dst.port == r\"^80\"",
        "request.method == \"GET\"",
        "src.port != 6379",
    };
    char left[1024], right[1024];

    if (!depth || !kfl_random_below(random, 4)) {
        snprintf(text, size, "%s%s", kfl_random_below(random, 5) ? "" : "!",
                 leaves[kfl_random_below(random, sizeof(leaves) / sizeof(leaves[0]))]);
        if (text[0] == '!') {
            snprintf(left, sizeof(left), "!(%s)", text + 1);
            snprintf(text, size, "%s", left);
        }
        return;
    }
    packet_statement(random, depth - 1, left, sizeof(left) / 2);
    packet_statement(random, depth - 1, right, sizeof(right) / 2);
    snprintf(text, size, "(%.500s %s %.500s)", left, kfl_random_below(random, 2) ? "and" : "or",
             right);
}

/* What neither the program nor the gate may discard: what is wanted. */
static void no_wanted_packet_is_discarded(void)
{
    struct kfl_random random = {.state = (uint64_t)time(NULL)};
    const char *seed = getenv("TAPEDECK_SEED"), *is_long = getenv("TAPEDECK_LONG");
    unsigned n_statements = is_long ? 20 * STATEMENTS : STATEMENTS;
    uint64_t n_asked = 0, n_out = 0, n_discarded = 0, n_kept_out = 0, n_wrong = 0;

    if (!load())
        return;
    if (seed)
        random.state = strtoull(seed, NULL, 0);
    collect();
    tap_note("seed %llu, %u packets", (unsigned long long)random.state, n_packets);
    for (unsigned i = 0; i < n_statements; i++) {
        char text[2048];
        struct kfl_statement *statement;
        struct kfl_plan *plan;
        struct gate *gate;

        if (i % 3)
            packet_statement(&random, 1 + kfl_random_below(&random, 4), text, sizeof(text));
        else
            text[kfl_random_statement(&random, text, sizeof(text) - 1)] = 0;
        plan = plan_of(text, &statement);
        if (!plan)
            continue;
        in_force(plan, i + 1);
        CU_ASSERT_FATAL(!gate_create(&condition_of(plan, i + 1)->wanted, false, &gate));
        for (unsigned k = kfl_random_below(&random, 4); k < n_packets; k += 4) {
            bool is_out = out(plan, &packets[k].packet);
            bool discarded = discards(packets[k].bytes, packets[k].size);
            bool kept_out = gate && !gate_wants(gate, &packets[k].packet);

            n_asked++;
            n_out += is_out;
            n_discarded += discarded;
            n_kept_out += kept_out;
            if ((discarded || kept_out) && !is_out && !n_wrong++)
                tap_note("packet %u is wanted by %s", k, text);
        }
        gate_free(gate);
        kfl_plan_free(plan);
        kfl_statement_free(statement);
    }
    CU_ASSERT(!n_wrong);
    CU_ASSERT(n_discarded * 2 > n_out);
    CU_ASSERT(n_kept_out * 2 > n_out);
    tap_note("%llu asked, %llu out, %llu of them discarded by the program, %llu by the gate",
             (unsigned long long)n_asked, (unsigned long long)n_out,
             (unsigned long long)n_discarded, (unsigned long long)n_kept_out);
    unload();
}

/* The gate's answer in both directions; DNS is let through when names are learned from it. */
static void the_gate_knows_ports_addresses_and_dns(void)
{
    static const struct {
        const char *statement, *words;
        bool dns, wanted;
    } rows[] = {
        {"tcp and dst.port == 80", "eth ip4 tcp", false, true},
        {"tcp and dst.port == 81", "eth ip4 tcp", false, false},
        {"tcp", "eth ip4 udp", false, false},
        {"ip.version == 6", "eth ip4 tcp", false, false},
        {"ip.version == 6", "eth ip6 tcp", false, true},
        {"icmp", "eth ip4 icmp", false, true},
        {"udp", "eth ip4 icmp", false, false},
        {"src.ip == \"203.0.113.1\"", "eth ip4 tcp", false, false},
        {"src.ip != \"203.0.113.1\"", "eth ip4 tcp", false, true},
        {"dst.ip.startsWith(\"10.\")", "eth ip4 tcp", false, true},
        {"false", "eth ip4 tcp", true, false},
        {"false", "eth ip4 udp:53", false, false},
        {"false", "eth ip4 udp:53", true, true},
        {"false", "eth ip4 udp:4789 vxlan:42 eth ip4 tcp", false, true},
        {"false", "eth ip4 gre ip4 udp", false, true},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (unsigned reverse = 0; reverse < 2; reverse++) {
            struct kfl_statement *statement;
            struct kfl_plan *plan = plan_of(rows[i].statement, &statement);
            struct packet packet = {.linktype = LINKTYPE_ETHERNET};
            struct frame frame;
            struct gate *gate;

            frame_make(&frame, rows[i].words, reverse);
            packet.data = frame_data(&frame);
            packet.caplen = packet.origlen = (uint32_t)frame_size(&frame);
            decode_burst(&packet, 1, 7);
            CU_ASSERT_FATAL(!gate_create(&condition_of(plan, 1)->wanted, rows[i].dns, &gate));
            if (gate_wants(gate, &packet) != rows[i].wanted)
                tap_note("%s, %s: not so", rows[i].statement, rows[i].words);
            CU_ASSERT_EQUAL(gate_wants(gate, &packet), rows[i].wanted);
            gate_free(gate);
            kfl_plan_free(plan);
            kfl_statement_free(statement);
        }
}

static void make(struct frame *frame, const char *words, bool reverse, uint8_t padded[128],
                 uint32_t *ret_size)
{
    frame_make(frame, words, reverse);
    memset(padded, 0, 128);
    memcpy(padded, frame_data(frame), frame_size(frame));
    *ret_size = frame_size(frame) < 64 ? 64 : (uint32_t)frame_size(frame);
}

static void both_are_in_force_while_a_plan_changes(void)
{
    struct kfl_statement *statement[2];
    struct kfl_plan *plan[2] = {plan_of("tcp and dst.port == 80", &statement[0]),
                                plan_of("udp and dst.port == 80", &statement[1])};
    uint8_t tcp[128], udp[128], arp[128];
    struct frame frame;
    uint32_t size;

    if (!load())
        return;
    make(&frame, "eth ip4 tcp", false, tcp, &size);
    make(&frame, "eth ip4 udp", true, udp, &size);
    memcpy(arp, tcp, sizeof(arp));
    put16(arp + 12, 0x0806);
    CU_ASSERT(!discards(tcp, 64) && !discards(udp, 64) && !discards(arp, 64));
    in_force(plan[0], 1);
    CU_ASSERT(!discards(tcp, 64) && discards(udp, 64) && discards(arp, 64));
    capture_filter_widen(filter, condition_of(plan[1], 2));
    CU_ASSERT(!discards(tcp, 64) && !discards(udp, 64) && discards(arp, 64));
    capture_filter_narrow(filter, condition_of(plan[1], 2));
    CU_ASSERT(discards(tcp, 64) && !discards(udp, 64));
    /* Two changes at once are one too many: everything passes until the old plans are left. */
    capture_filter_widen(filter, condition_of(plan[0], 3));
    capture_filter_widen(filter, condition_of(plan[1], 4));
    CU_ASSERT(!discards(tcp, 64) && !discards(udp, 64) && !discards(arp, 64));
    capture_filter_narrow(filter, condition_of(plan[1], 4));
    CU_ASSERT(discards(tcp, 64) && !discards(udp, 64));
    for (unsigned i = 0; i < 2; i++) {
        kfl_plan_free(plan[i]);
        kfl_statement_free(statement[i]);
    }
    unload();
}

static uint64_t utc_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void tell(const uint8_t *bytes, uint32_t size, uint64_t ts_ns, uint64_t timeout_ns,
                 uint32_t epoch)
{
    struct packet packet = {
        .data = bytes, .caplen = size, .origlen = size, .linktype = LINKTYPE_ETHERNET};
    struct pushdown_stream stream = {.ts_ns = ts_ns, .timeout_ns = timeout_ns, .epoch = epoch};

    decode_burst(&packet, 1, 7);
    stream.key = packet.key;
    capture_filter_out(filter, &stream);
}

static void a_stream_that_is_out_is_discarded_until_it_may_be_another(void)
{
    static const char *const words[] = {"eth ip4 tcp", "eth ip6 tcp"};
    struct kfl_statement *statement;
    struct kfl_plan *plan = plan_of("response.status == 500", &statement);
    const uint64_t soon_ns = 3600 * UINT64_C(1000000000);

    for (unsigned i = 0; i < 2; i++) {
        uint8_t there[128], back[128], syn[128];
        struct frame frame;
        uint32_t size, flags_at = 14 + (i ? 40 : 20) + 13;

        if (!load())
            break;
        in_force(plan, 1);
        make(&frame, words[i], false, there, &size);
        make(&frame, words[i], true, back, &size);
        there[flags_at] = back[flags_at] = 0x10;
        memcpy(syn, there, sizeof(syn));
        syn[flags_at] = 0x02;
        CU_ASSERT(!discards(there, size));
        tell(there, size, utc_ns() - 1, soon_ns, 1); /* seen before it was put in */
        tell(there, size, utc_ns() - soon_ns, soon_ns, 1);
        CU_ASSERT(!discards(there, size));
        tell(there, size, utc_ns() + soon_ns, soon_ns, 1); /* seen since */
        CU_ASSERT(discards(there, size) && discards(back, size));
        CU_ASSERT(!discards(syn, size)); /* a new stream: it begins anew */
        CU_ASSERT(!discards(there, size) && !discards(back, size));
        /* A SYN between being put in and being armed. */
        tell(there, size, utc_ns(), soon_ns, 1);
        CU_ASSERT(!discards(syn, size));
        tell(there, size, utc_ns() + soon_ns, soon_ns, 1); /* put in once more, not armed */
        CU_ASSERT(!discards(there, size));
        tell(there, size, utc_ns() + soon_ns, soon_ns, 1);
        CU_ASSERT(discards(there, size));
        /* Another plan: what was out is asked again. */
        capture_filter_widen(filter, condition_of(plan, 2));
        CU_ASSERT(!discards(there, size));
        /* Silent for too long. */
        tell(there, size, utc_ns(), 1, 2);
        tell(there, size, utc_ns() + soon_ns, 1, 2);
        CU_ASSERT(!discards(there, size));
        unload();
    }
    kfl_plan_free(plan);
    kfl_statement_free(statement);
}

/* Clauses as people read them. */
static void conditions_are_what_they_should_be(void)
{
    static const struct {
        const char *statement, *clauses;
    } rows[] = {
        {"tcp and dst.port == 80", "tcp, dst.port 80\n"},
        {"http and response.status == 500", "tcp\n"},
        {"dns", "tcp udp\n"},
        {"false", ""},
        {"dst.port == 80 and dst.port == 81", ""},
        {"src.name == \"x\" and udp", "udp\n"},
        {"tcp and (dst.port == 80 or dst.port == 443 or dst.port == 81)",
         "tcp, dst.port 80-81 443\n"},
        {"tcp and !(dst.port == 22)", "tcp, dst.port 0-21 23-65535\n"},
        {"tcp and src.ip == \"10.0.0.1\" and dst.ip.startsWith(\"10.1.\")",
         "tcp/ipv4, src.ip 10.0.0.1, dst.ip 10.1.0.0/16\n"},
        {"udp and !(src.ip == \"10.0.0.1\")", "udp, src.ip not 10.0.0.1\n"},
        /* An `or` that a missing path on its left ends is false, so its negation may be true. */
        {"!(request.nothing.such or dst.port == 80) and icmp", "icmp\n"},
        {"ip.version == 6 and (icmp or vlan.id == 3 and udp)", "udp/ipv6 icmp/ipv6\n"},
        {"tunnel.type == \"vxlan\"", ""},
    };
    static struct kfl_pushdown pushdown;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kfl_statement *statement;
        struct kfl_plan *plan = plan_of(rows[i].statement, &statement);
        char text[2048] = "";

        if (!plan) {
            tap_note("%s: does not compile", rows[i].statement);
            CU_ASSERT(plan != NULL);
            continue;
        }
        CU_ASSERT(!kfl_pushdown_of_slot(plan, 3, &pushdown));
        for (uint32_t k = 0; k < pushdown.n; k++) {
            CU_ASSERT(!kfl_pushdown_show(&pushdown.clause[k], text + strlen(text), 512));
            strcat(text, "\n");
        }
        if (strcmp(text, rows[i].clauses))
            tap_note("%s: %s", rows[i].statement, text);
        CU_ASSERT_STRING_EQUAL(text, rows[i].clauses);
        kfl_plan_free(plan);
        kfl_statement_free(statement);
    }
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"conditions are what they should be", conditions_are_what_they_should_be},
        {"no wanted packet is discarded", no_wanted_packet_is_discarded},
        {"the gate knows ports, addresses and DNS", the_gate_knows_ports_addresses_and_dns},
        {"both conditions are in force while a plan changes",
         both_are_in_force_while_a_plan_changes},
        {"a stream that is out is discarded until it may be another one",
         a_stream_that_is_out_is_discarded_until_it_may_be_another},
        {NULL, NULL},
    };

    int status;

    ensure(!stream_table_create(&(struct stream_config){.max = 1}, &table));
    status = tap_main(argc, argv, "pushdown", tests);
    stream_table_free(table);
    return status;
}
