/* Sizes, durations, times; and the option tables that read them. */
#include <errno.h>
#include <string.h>

#include "../mgmt/options.h"
#include "../mgmt/units.h"
#include "tap.h"

static void sizes_are_read(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
        int err;
    } rows[] = {
        {"0", 0, 0},
        {"1500", 1500, 0},
        {"500Mi", UINT64_C(500) << 20, 0},
        {"5Gi", UINT64_C(5) << 30, 0},
        {"5GiB", UINT64_C(5) << 30, 0},
        {"64MB", 64000000, 0},
        {"64M", 64000000, 0},
        {"1.5k", 1500, 0},
        {"0.5Ki", 512, 0},
        {"18446744073709551615", UINT64_MAX, 0},
        {"18446744073709551616", 0, -ERANGE},
        {"16384Pi", 0, -ERANGE},
        {"", 0, -EINVAL},
        {"-1", 0, -EINVAL},
        {"Gi", 0, -EINVAL},
        {"5 Gi", 0, -EINVAL},
        {"5gi", 0, -EINVAL},
        {"5Gix", 0, -EINVAL},
        {"1.5", 0, -EINVAL},
        {"1.Gi", 0, -EINVAL},
        {"0x10", 0, -EINVAL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t bytes = 77;

        if (units_parse_size(rows[i].text, &bytes) != rows[i].err ||
            bytes != (rows[i].err ? 77 : rows[i].bytes)) {
            tap_note("'%s'", rows[i].text);
            CU_FAIL("size");
        }
    }
}

static void durations_are_read(void)
{
    static const struct {
        const char *text;
        uint64_t bare_ns, ns;
        int err;
    } rows[] = {
        {"30s", 0, 30 * NS_PER_S, 0},
        {"5m", 0, 5 * NS_PER_MIN, 0},
        {"1h30m", 0, 90 * NS_PER_MIN, 0},
        {"1d", 0, NS_PER_DAY, 0},
        {"250ms", 0, 250 * NS_PER_MS, 0},
        {"1.5s", 0, 1500 * NS_PER_MS, 0},
        {"90", NS_PER_MIN, 90 * NS_PER_MIN, 0},
        {"0", 0, 0, 0},
        {"90", 0, 0, -EINVAL},
        {"1h30", NS_PER_MIN, 0, -EINVAL},
        {"30m1h", 0, 0, -EINVAL},
        {"1h1h", 0, 0, -EINVAL},
        {"", NS_PER_MIN, 0, -EINVAL},
        {"-5", NS_PER_MIN, 0, -EINVAL},
        {"5x", 0, 0, -EINVAL},
        {"9999999999d", 0, 0, -ERANGE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t ns = 77;

        if (units_parse_duration(rows[i].text, rows[i].bare_ns, &ns) != rows[i].err ||
            ns != (rows[i].err ? 77 : rows[i].ns)) {
            tap_note("'%s'", rows[i].text);
            CU_FAIL("duration");
        }
    }
}

static void times_are_read(void)
{
    static const struct {
        const char *text;
        uint64_t ns;
        int err;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0, 0},
        {"2026-01-02T03:04:05Z", UINT64_C(1767323045) * NS_PER_S, 0},
        {"2026-01-02T03:04:05.000000001Z", UINT64_C(1767323045) * NS_PER_S + 1, 0},
        {"2026-01-02T03:04:05.5Z", UINT64_C(1767323045) * NS_PER_S + NS_PER_S / 2, 0},
        {"2026-01-02T04:04:05+01:00", UINT64_C(1767323045) * NS_PER_S, 0},
        {"2026-01-01T22:04:05-05:00", UINT64_C(1767323045) * NS_PER_S, 0},
        {"2024-02-29T00:00:00Z", UINT64_C(1709164800) * NS_PER_S, 0},
        {"2026-02-29T00:00:00Z", 0, -EINVAL},
        {"2026-13-01T00:00:00Z", 0, -EINVAL},
        {"2026-01-02T24:00:00Z", 0, -EINVAL},
        {"2026-01-02T03:04:05", 0, -EINVAL},
        {"2026-01-02T03:04:05.Z", 0, -EINVAL},
        {"2026-01-02", 0, -EINVAL},
        {"1969-12-31T23:59:59Z", 0, -ERANGE},
        {"9999-01-01T00:00:00Z", 0, -ERANGE},
        {"", 0, -EINVAL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t ns = 77;

        if (units_parse_time(rows[i].text, &ns) != rows[i].err ||
            ns != (rows[i].err ? 77 : rows[i].ns)) {
            tap_note("'%s'", rows[i].text);
            CU_FAIL("time");
        }
    }
}

static void formats_are_for_people(void)
{
    char text[UNITS_TEXT_SIZE];

    CU_ASSERT_STRING_EQUAL(units_format_size(0, text), "0 B");
    CU_ASSERT_STRING_EQUAL(units_format_size(1023, text), "1023 B");
    CU_ASSERT_STRING_EQUAL(units_format_size(1024, text), "1.0 KiB");
    CU_ASSERT_STRING_EQUAL(units_format_size(1048575, text), "1.0 MiB");
    CU_ASSERT_STRING_EQUAL(units_format_size(UINT64_MAX, text), "16.0 EiB");
    CU_ASSERT_STRING_EQUAL(units_format_count(0, text), "0");
    CU_ASSERT_STRING_EQUAL(units_format_count(1234567, text), "1,234,567");
    CU_ASSERT_STRING_EQUAL(units_format_count(UINT64_MAX, text), "18,446,744,073,709,551,615");
    CU_ASSERT_STRING_EQUAL(units_format_duration(0, text), "0s");
    CU_ASSERT_STRING_EQUAL(units_format_duration(90 * NS_PER_MIN, text), "1h30m");
    CU_ASSERT_STRING_EQUAL(units_format_duration(NS_PER_DAY + 5 * NS_PER_MIN, text), "1d");
    CU_ASSERT_STRING_EQUAL(units_format_duration(1500 * NS_PER_MS, text), "1s500ms");
    CU_ASSERT_STRING_EQUAL(units_format_time(UINT64_C(1767323045) * NS_PER_S + 1, text),
                           "2026-01-02T03:04:05.000000001Z");
    units_format_time(UINT64_MAX, text);
    CU_ASSERT_STRING_EQUAL(units_format_time_short(UINT64_C(1767323045) * NS_PER_S, text),
                           "2026-01-02 03:04:05");
}

static struct {
    bool follow, quota_given;
    const char *kfl;
    struct option_texts names;
    int64_t iterations;
    uint64_t quota, duration;
} values;

static const struct option_row rows[] = {
    OPTION_FLAG("follow", 'f', values.follow, "go on"),
    OPTION_TEXT("kfl", 0, "STMT", values.kfl, "statement"),
    OPTION_TEXTS("name", 'n', "NAME", values.names, "names"),
    OPTION_INT("iterations", 0, "N", values.iterations, 0, 100, "days"),
    OPTION_SIZE("quota", 'q', values.quota, "bytes"),
    OPTION_MINUTES("duration", 0, values.duration, "minutes"),
    OPTION_END,
};

static int parse(char **argv, char *reterr_text)
{
    const struct option_row *const tables[] = {rows, NULL};
    int argc = 0;

    memset(&values, 0, sizeof(values));
    while (argv[argc])
        argc++;
    *reterr_text = 0;
    return options_parse(tables, argc, argv, reterr_text);
}

static void options_are_read(void)
{
    char *argv[] = {"one", "--kfl=a=b", "-f",     "-q5Gi", "--iterations", "7",
                    "-n",  "x",         "--name", "y",     "--duration",   "90",
                    "-",   "--",        "--kfl",  NULL};
    char error[OPTIONS_ERROR_SIZE];

    CU_ASSERT_EQUAL_FATAL(parse(argv, error), 3);
    CU_ASSERT_STRING_EQUAL(argv[0], "one");
    CU_ASSERT_STRING_EQUAL(argv[1], "-");
    CU_ASSERT_STRING_EQUAL(argv[2], "--kfl");
    CU_ASSERT_STRING_EQUAL(values.kfl, "a=b");
    CU_ASSERT_TRUE(values.follow);
    CU_ASSERT_EQUAL(values.quota, UINT64_C(5) << 30);
    CU_ASSERT_EQUAL(values.iterations, 7);
    CU_ASSERT_EQUAL(values.duration, 90 * NS_PER_MIN);
    CU_ASSERT_EQUAL(values.names.n, 2);
    CU_ASSERT_STRING_EQUAL(values.names.text[1], "y");
}

static void refusals_name_thing_value_and_way_out(void)
{
    static const struct {
        char *argv[4];
        const char *text;
    } refused[] = {
        {{"--quto", "5Gi"}, "unknown option --quto: did you mean --quota?"},
        {{"--zzz"}, "unknown option --zzz: see --help"},
        {{"-z"}, "unknown option -z: see --help"},
        {{"--kfl"}, "--kfl needs a value: --kfl STMT"},
        {{"-q"}, "-q needs a value: -q SIZE"},
        {{"--follow=1"}, "--follow takes no value: write it alone"},
        {{"--iterations", "-1"}, "--iterations -1: must be a number from 0 to 100"},
        {{"--iterations", "7x"}, "--iterations 7x: must be a number from 0 to 100"},
        {{"--quota", "5Gx"},
         "--quota 5Gx: a size is a number of bytes or has a unit: 1500, 500Mi, "
         "5Gi, 64MB"},
        {{"--duration", "-5"},
         "--duration -5: minutes as a number, or a duration with a unit: 90, "
         "1h30m"},
    };

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char error[OPTIONS_ERROR_SIZE];
        char *argv[4];

        memcpy(argv, refused[i].argv, sizeof(argv));
        CU_ASSERT(parse(argv, error) < 0);
        CU_ASSERT_STRING_EQUAL(error, refused[i].text);
        if (strcmp(error, refused[i].text))
            tap_note("%s", error);
    }
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"sizes are read or refused", sizes_are_read},
        {"durations are read or refused", durations_are_read},
        {"times are read or refused", times_are_read},
        {"sizes, counts, durations, times are written for people", formats_are_for_people},
        {"options are read in every spelling", options_are_read},
        {"refusals name thing, value and way out", refusals_name_thing_value_and_way_out},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "units", tests);
}
