/* The file source: formats, byte orders, clocks, pipes, damage. Files are built here, byte by byte.
 */
#include "../dataplane/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "tap.h"

enum { BUILDER_SIZE = 1 << 20, PAGE = 4096, PACKETS_MAX = 4096 };

struct builder {
    bool swapped;
    size_t n;
    uint8_t bytes[BUILDER_SIZE];
};

static struct builder built;
static char path[] = "/tmp/tapedeck-test-XXXXXX";

static void put(const void *bytes, size_t n)
{
    memcpy(built.bytes + built.n, bytes, n);
    built.n += n;
}

static void put16(uint16_t value)
{
    value = built.swapped ? __builtin_bswap16(value) : value;
    put(&value, 2);
}

static void put32(uint32_t value)
{
    value = built.swapped ? __builtin_bswap32(value) : value;
    put(&value, 4);
}

static void put_pad(void)
{
    while (built.n % 4)
        built.bytes[built.n++] = 0;
}

static size_t block_open(uint32_t type)
{
    put32(type);
    put32(0);
    return built.n - 8;
}

static void block_close(size_t begin)
{
    uint32_t size, raw;

    put_pad();
    size = (uint32_t)(built.n - begin) + 4;
    raw = built.swapped ? __builtin_bswap32(size) : size;
    put32(size);
    memcpy(built.bytes + begin + 4, &raw, 4);
}

static void put_section(void)
{
    size_t begin = block_open(0x0a0d0d0a);

    put32(0x1a2b3c4d);
    put16(1);
    put16(0);
    put32(UINT32_MAX);
    put32(UINT32_MAX);
    block_close(begin);
}

/* tsresol -1: without the option */
static void put_interface(uint16_t linktype, uint32_t snaplen, const char *name, int tsresol,
                          int64_t tsoffset)
{
    size_t begin = block_open(1);
    uint8_t resolution = (uint8_t)tsresol;
    uint64_t offset = built.swapped ? __builtin_bswap64((uint64_t)tsoffset) : (uint64_t)tsoffset;

    put16(linktype);
    put16(0);
    put32(snaplen);
    put16(2);
    put16((uint16_t)strlen(name));
    put(name, strlen(name));
    put_pad();
    if (tsresol >= 0) {
        put16(9);
        put16(1);
        put(&resolution, 1);
        put_pad();
    }
    if (tsoffset) {
        put16(14);
        put16(8);
        put(&offset, 8);
    }
    put32(0);
    block_close(begin);
}

static void put_packet(uint32_t type, uint32_t interface, uint64_t ts, const char *data,
                       uint32_t origlen)
{
    size_t begin = block_open(type);

    if (type == 6) {
        put32(interface);
    } else if (type == 2) {
        put16((uint16_t)interface);
        put16(0);
    }
    if (type != 3) {
        put32((uint32_t)(ts >> 32));
        put32((uint32_t)ts);
        put32((uint32_t)strlen(data));
    }
    put32(origlen);
    put(data, strlen(data));
    block_close(begin);
}

static void put_pcap(uint32_t magic, uint16_t minor)
{
    put32(magic);
    put16(2);
    put16(minor);
    put32(0);
    put32(0);
    put32(65535);
    put32(LINKTYPE_ETHERNET);
}

static void put_record(uint32_t magic, uint32_t s, uint32_t fraction, const char *data,
                       uint32_t origlen)
{
    put32(s);
    put32(fraction);
    put32((uint32_t)strlen(data));
    put32(origlen);
    if (magic == 0xa1b2cd34)
        put("12345678", 8);
    put(data, strlen(data));
}

static struct source *open_path(const char *what)
{
    struct source_config config = {.type = "file", .interface = what};
    char error[SOURCE_ERROR_SIZE];
    struct source *source = NULL;

    if (source_open(&config, 3, &source, error))
        tap_note("%s", error);
    return source;
}

static void write_built(size_t n)
{
    FILE *file = fopen(path, "wb");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(built.bytes, 1, n, file), n);
    fclose(file);
}

static struct source *open_built(void)
{
    write_built(built.n);
    return open_path(path);
}

/* Everything it has; nothing is released. -> packets */
static unsigned read_all(struct source *source, struct packet *packets)
{
    unsigned n = 0;
    int rc = 0;

    for (unsigned turn = 0; turn < 100000 && rc >= 0; turn++) {
        rc = source_base(source)->ops->rx(source, 0, packets + n,
                                          PACKETS_MAX - n < 7 ? PACKETS_MAX - n : 7);
        n += rc > 0 ? (unsigned)rc : 0;
    }
    CU_ASSERT_EQUAL(rc, -ENODATA);
    return n;
}

static bool is(const struct packet *packet, uint64_t ts_ns, const char *data, uint32_t origlen)
{
    bool same = packet->ts_ns == ts_ns && packet->caplen == strlen(data) &&
                packet->origlen == origlen && !memcmp(packet->data, data, packet->caplen) &&
                packet->source == 3;

    if (!same)
        tap_note("%llu %u %u %.*s", (unsigned long long)packet->ts_ns, packet->caplen,
                 packet->origlen, (int)packet->caplen, packet->data);
    return same;
}

static struct packet packets[PACKETS_MAX];

static void pcap_is_read_in_either_byte_order_and_clock(void)
{
    static const uint32_t magics[] = {0xa1b2c3d4, 0xa1b23c4d, 0xa1b2cd34};

    for (unsigned i = 0; i < 6; i++) {
        uint32_t magic = magics[i / 2];
        struct source *source;
        struct source_stats stats;

        built.n = 0;
        built.swapped = i % 2;
        put_pcap(magic, 4);
        put_record(magic, 1700000000, 123456, "first", 5);
        put_record(magic, 4000000000, 7, "", 60);
        put_record(magic, 0, 0, "thi", 3000);
        source = open_built();
        CU_ASSERT_PTR_NOT_NULL_FATAL(source);
        CU_ASSERT_EQUAL(read_all(source, packets), 3);
        CU_ASSERT(is(&packets[0], magic == 0xa1b23c4d ? 1700000000000123456 : 1700000000123456000,
                     "first", 5));
        CU_ASSERT(is(&packets[1], magic == 0xa1b23c4d ? 4000000000000000007 : 4000000000000007000,
                     "", 60));
        CU_ASSERT(is(&packets[2], 0, "thi", 3000));
        CU_ASSERT_EQUAL(packets[0].linktype, LINKTYPE_ETHERNET);
        CU_ASSERT_STRING_EQUAL(interface_get(packets[0].interface)->name, strrchr(path, '/') + 1);
        source_base(source)->ops->stats(source, &stats);
        CU_ASSERT_EQUAL(stats.rx, 3);
        CU_ASSERT_EQUAL(stats.rx_bytes, 3065);
        CU_ASSERT_EQUAL(stats.errors, 0);
        CU_ASSERT_PTR_NULL(source_file_damage(source));
        source_close(source);
    }
}

static void a_pcap_of_old_has_its_lengths_swapped(void)
{
    for (uint16_t minor = 2; minor < 4; minor++) {
        struct source *source;

        built.n = 0;
        built.swapped = false;
        put_pcap(0xa1b2c3d4, minor);
        put32(1);
        put32(2);
        put32(100);
        put32(3);
        put("old", 3);
        source = open_built();
        CU_ASSERT_PTR_NOT_NULL_FATAL(source);
        CU_ASSERT_EQUAL(read_all(source, packets), 1);
        CU_ASSERT(is(&packets[0], 1000002000, "old", 100));
        source_close(source);
    }
}

static void pcapng_sections_interfaces_and_blocks_are_read(void)
{
    struct source *source;
    struct source_stats stats;

    built.n = 0;
    for (unsigned i = 0; i < 2; i++) { /* two sections, of either byte order */
        size_t begin;

        built.swapped = i;
        put_section();
        begin = block_open(0x0bad0000); /* nobody knows it */
        put("whatever", 8);
        block_close(begin);
        put_interface(LINKTYPE_ETHERNET, 4, "one", -1, 0);
        put_packet(6, 0, 1700000000123456, "enhanced", 1000);
        put_interface(LINKTYPE_RAW, 0, "two", 9, 0);
        put_packet(2, 1, 1700000000123456789, "obsolete", 8);
        put_packet(3, 0, 0, "simp", 400);
        put_packet(6, 7, 1, "nobody's", 8);
    }
    source = open_built();
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    CU_ASSERT_EQUAL_FATAL(read_all(source, packets), 6);
    for (unsigned i = 0; i < 6; i += 3) {
        CU_ASSERT(is(&packets[i], 1700000000123456000, "enhanced", 1000));
        CU_ASSERT(is(&packets[i + 1], 1700000000123456789, "obsolete", 8));
        CU_ASSERT_EQUAL(packets[i + 1].linktype, LINKTYPE_RAW);
        CU_ASSERT_STRING_EQUAL(interface_get(packets[i].interface)->name, "one");
        CU_ASSERT_STRING_EQUAL(interface_get(packets[i + 1].interface)->name, "two");
        CU_ASSERT_EQUAL(interface_get(packets[i].interface)->snaplen, 4);
        /* A simple block has no time: that of the packet before. */
        CU_ASSERT(is(&packets[i + 2], 1700000000123456789, "simp", 400));
    }
    source_base(source)->ops->stats(source, &stats);
    CU_ASSERT_EQUAL(stats.rx, 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source_file_damage(source));
    CU_ASSERT_PTR_NOT_NULL(strstr(source_file_damage(source), "2 packets name an interface"));
    source_close(source);
}

static void pcapng_clocks_of_any_resolution_are_read(void)
{
    static const struct {
        int tsresol;
        int64_t offset;
        uint64_t ts, ns;
    } clocks[] = {
        {0, 0, 1700000000, 1700000000000000000},
        {3, 0, 1700000000123, 1700000000123000000},
        {9, 5, 1700000000000000001, 1700000005000000001},
        {6, -1700000000, 1700000000000001, 1000},
        {12, 0, 1700000000123456, 1700000000123},
        {28, 0, UINT64_MAX, 1},
        {29, 0, UINT64_MAX, 0},
        {127, 7, UINT64_MAX, 7000000000},
        {0x80 | 10, 0, 1700000000ULL << 10 | 512, 1700000000500000000},
        {0x80 | 32, 0, 1700000000ULL << 32 | 0x40000000, 1700000000250000000},
        {0x80 | 127, 0, UINT64_MAX, 0},
    };

    for (unsigned i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        struct source *source;

        built.n = 0;
        built.swapped = i % 2;
        put_section();
        put_interface(LINKTYPE_ETHERNET, 0, "clock", clocks[i].tsresol, clocks[i].offset);
        put_packet(6, 0, clocks[i].ts, "tick", 4);
        source = open_built();
        CU_ASSERT_PTR_NOT_NULL_FATAL(source);
        CU_ASSERT_EQUAL(read_all(source, packets), 1);
        CU_ASSERT(is(&packets[0], clocks[i].ns, "tick", 4));
        source_close(source);
    }
}

/* A pcapng file whose first `tail` bytes from the interface block on end with a page (or up to 3
 * bytes before: blocks are aligned). -> where they begin */
static size_t build_padded(size_t tail)
{
    size_t begin;

    built.n = 0;
    built.swapped = false;
    put_section();
    begin = block_open(0x0bad0000);
    while ((built.n + 4 + tail) % PAGE >= 4)
        built.bytes[built.n++] = 0;
    block_close(begin);
    begin = built.n;
    put_interface(LINKTYPE_ETHERNET, 0, "cut", 9, 0);
    put_packet(6, 0, 1, "one", 3);
    put_packet(3, 0, 0, "two.", 4);
    put_packet(2, 0, 2, "three", 5);
    put_packet(6, 0, 3, "four", 40);
    return begin;
}

static void a_file_cut_anywhere_gives_what_is_whole(void)
{
    size_t begin = build_padded(0), size = built.n - begin;

    for (size_t cut = 0; cut <= size; cut++) {
        struct source *source;
        unsigned n;

        /* Reading far beyond the bytes that are there is a signal. */
        begin = build_padded(cut);
        write_built(begin + cut);
        source = open_path(path);
        CU_ASSERT_PTR_NOT_NULL_FATAL(source);
        n = read_all(source, packets);
        CU_ASSERT(n <= 4);
        CU_ASSERT(cut < size || n == 4);
        if (n > 0)
            CU_ASSERT(is(&packets[0], 1, "one", 3));
        if (cut == size)
            CU_ASSERT_PTR_NULL(source_file_damage(source));
        source_close(source);
    }
}

static void a_damaged_file_says_so_and_gives_what_came_before(void)
{
    struct source *source;
    struct source_stats stats;

    built.n = 0;
    built.swapped = false;
    put_pcap(0xa1b2c3d4, 4);
    put_record(0xa1b2c3d4, 1, 1, "good", 4);
    put32(2);
    put32(2);
    put32(0x7fffffff);
    put32(60);
    source = open_built();
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    CU_ASSERT_EQUAL(read_all(source, packets), 1);
    CU_ASSERT(is(&packets[0], 1000001000, "good", 4));
    CU_ASSERT_PTR_NOT_NULL_FATAL(source_file_damage(source));
    CU_ASSERT_PTR_NOT_NULL(strstr(source_file_damage(source), "byte 44"));
    source_base(source)->ops->stats(source, &stats);
    CU_ASSERT_EQUAL(stats.errors, 1);
    source_close(source);
}

static void what_is_no_capture_is_refused_with_a_reason(void)
{
    static const struct {
        const char *file, *reason;
    } refused[] = {
        {"/nonexistent", "No such file"},
        {"/tmp", "Is a directory"},
        {"/etc/passwd", "neither pcap nor pcapng"},
        {"", "needs interface"},
    };
    struct source_config config = {.type = "file"};
    char error[SOURCE_ERROR_SIZE];
    struct source *source = NULL;

    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        config.interface = refused[i].file;
        CU_ASSERT(source_open(&config, 0, &source, error) < 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(error, refused[i].reason));
        CU_ASSERT_PTR_NULL(source);
    }
    config.type = "tape";
    CU_ASSERT_EQUAL(source_open(&config, 0, &source, error), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "\"tape\": no such source; it is \"file\""));
}

static void a_pipe_hands_out_until_its_memory_is_held_and_then_waits(void)
{
    static char big[250000];
    static struct packet held[PACKETS_MAX];
    const struct source_ops *ops = source_ops_find("file");
    unsigned total = 400, n_held = 0, n = 0, turns = 0;
    struct source *source;
    uint64_t sum = 0;
    int ends[2], rc;

    memset(big, 'x', sizeof(big) - 1);
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    if (fork() == 0) {
        close(ends[0]);
        built.n = 0;
        built.swapped = false;
        put_pcap(0xa1b23c4d, 4);
        for (unsigned i = 0; i <= total; i++) {
            ssize_t done = 0;

            while (done < (ssize_t)built.n) {
                ssize_t k = write(ends[1], built.bytes + done, built.n - (size_t)done);

                if (k < 0)
                    _exit(1);
                done += k;
            }
            built.n = 0;
            memcpy(big, &i, sizeof(i));
            memset(big, 'x', sizeof(i));
            put_record(0xa1b23c4d, i, i, big, 250000);
        }
        _exit(0);
    }
    close(ends[1]);
    snprintf(big, 64, "/dev/fd/%d", ends[0]);
    source = open_path(big);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    /* 100 MB, of which 64 MB can be held. */
    for (rc = 0; turns < 1000 && rc >= 0; turns++) { /* until nothing has come for a second */
        rc = ops->rx(source, 0, held + n_held, 5);
        if (rc == 0)
            usleep(1000);
        else
            turns = 0;
        n_held += rc > 0 ? (unsigned)rc : 0;
    }
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT(n_held > 200 && n_held < total);
    for (unsigned i = 0; i < n_held; i++)
        sum += held[i].ts_ns == i * UINT64_C(1000000001) && held[i].data[0] == 'x' &&
               held[i].data[249998] == 'x';
    CU_ASSERT_EQUAL(sum, n_held);
    /* Released in an order of their own, newest first. */
    for (unsigned i = n_held; i-- > 0;)
        ops->release(source, 0, &held[i], 1);
    n = n_held;
    for (turns = 0; turns < 20000; turns++) {
        rc = ops->rx(source, 0, held, 64);
        if (rc < 0)
            break;
        for (int i = 0; i < rc; i++)
            CU_ASSERT_EQUAL(held[i].ts_ns, (n + (unsigned)i) * UINT64_C(1000000001));
        ops->release(source, 0, held, (unsigned)rc);
        n += (unsigned)rc;
        if (rc == 0)
            usleep(200);
    }
    CU_ASSERT_EQUAL(rc, -ENODATA);
    CU_ASSERT_EQUAL(n, total);
    CU_ASSERT_PTR_NULL(source_file_damage(source));
    source_close(source);
    close(ends[0]);
}

static void random_damage_never_breaks_the_reader(void)
{
    uint64_t seed = 20260101;
    size_t size;

    for (unsigned round = 0; round < 3000; round++) {
        struct source_config config = {.type = "file", .interface = path};
        char error[SOURCE_ERROR_SIZE];
        struct source *source;

        if (round % 2) {
            build_padded(0);
        } else {
            built.n = 0;
            put_pcap(0xa1b2c3d4, 4);
            for (uint32_t i = 0; i < 6; i++)
                put_record(0xa1b2c3d4, i, i, "packet", 6);
        }
        size = built.n;
        for (unsigned i = 0; i < 1 + round % 5; i++) {
            seed = seed * 6364136223846793005 + 1442695040888963407;
            built.bytes[(seed >> 33) % size] = (uint8_t)(seed >> 25);
        }
        write_built(size);
        if (source_open(&config, 3, &source, error))
            continue;
        CU_ASSERT(read_all(source, packets) <= 12);
        source_close(source);
    }
}

/* The manifest's sixth column is the number of packets; a plain count by others. */
static void every_file_of_the_corpus_has_its_packets(void)
{
    const char *shared = tap_shared();
    char line[2048], file[512], manifest[512];
    unsigned n_files = 0;
    FILE *rows;

    if (!shared) {
        tap_skip("no corpus");
        return;
    }
    snprintf(manifest, sizeof(manifest), "%s/corpus/open/MANIFEST.tsv", shared);
    rows = fopen(manifest, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(rows);
    while (fgets(line, sizeof(line), rows)) {
        char *rest = line, *column[8];
        struct source *source;
        unsigned n = 0;
        int rc;

        for (unsigned i = 0; i < 8; i++)
            column[i] = strsep(&rest, "\t");
        if (!column[7] || line[0] == '#' || !strtoul(column[5], NULL, 10))
            continue;
        snprintf(file, sizeof(file), "%s/corpus/open/%s", shared, column[0]);
        source = open_path(file);
        CU_ASSERT_PTR_NOT_NULL_FATAL(source);
        while ((rc = source_base(source)->ops->rx(source, 0, packets, 64)) > 0)
            n += (unsigned)rc;
        CU_ASSERT_EQUAL(rc, -ENODATA);
        CU_ASSERT_EQUAL(n, strtoul(column[5], NULL, 10));
        source_close(source);
        n_files++;
    }
    fclose(rows);
    tap_note("%u files", n_files);
    CU_ASSERT(n_files > 200);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"pcap is read in either byte order and clock",
         pcap_is_read_in_either_byte_order_and_clock},
        {"a pcap of old has its lengths swapped", a_pcap_of_old_has_its_lengths_swapped},
        {"pcapng sections, interfaces and blocks are read",
         pcapng_sections_interfaces_and_blocks_are_read},
        {"pcapng clocks of any resolution are read", pcapng_clocks_of_any_resolution_are_read},
        {"a file cut anywhere gives what is whole", a_file_cut_anywhere_gives_what_is_whole},
        {"a damaged file says so and gives what came before",
         a_damaged_file_says_so_and_gives_what_came_before},
        {"what is no capture is refused with a reason",
         what_is_no_capture_is_refused_with_a_reason},
        {"a pipe hands out until its memory is held, and then waits",
         a_pipe_hands_out_until_its_memory_is_held_and_then_waits},
        {"random damage never breaks the reader", random_damage_never_breaks_the_reader},
        {"every file of the corpus has its packets", every_file_of_the_corpus_has_its_packets},
        {0},
    };
    int fd = mkstemp(path), rc;

    if (fd < 0)
        return 1;
    close(fd);
    rc = tap_main(argc, argv, "source_file", tests);
    unlink(path);
    return rc;
}
