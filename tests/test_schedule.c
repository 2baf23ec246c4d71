/* When jobs run: a table of schedules under a clock that is turned by hand.
 *
 * A row: the moment of creation, the job, a script, and what must come of it. The script:
 *   +T  time passes (a look each minute)     zT  the machine sleeps: time passes, no look
 *   sT  the wall clock is put forward        bT  ... is put back
 *   dT  the recorder is down, then restarts  x   the job is stopped
 * What comes of it, with the wall clock's month-day hour:minute:
 *   B0 begin of run 0   E0 its end   M0*2 two runs from 0 missed   X expiry */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../mgmt/schedule.h"
#include "../mgmt/units.h"
#include "tap.h"

enum { TRACE_SIZE = 1024 };

struct row {
    const char *created; /* RFC 3339 without seconds and Z */
    const char *start;
    int64_t iterations;
    const char *duration, *expiration;
    const char *script;
    const char *want;
};

static const struct row rows[] = {
    /* now */
    {"2026-03-02T10:00", "", 1, "60", "1440", "+2d",
     "B0 03-02 10:00, E0 03-02 11:00, X 03-03 11:00"},
    {"2026-03-02T10:00", "", 1, "1", "0", "+2d", "B0 03-02 10:00, E0 03-02 10:01"},
    {"2026-03-02T10:00", "", 1, "60", "1", "+2d", "B0 03-02 10:00, E0 03-02 11:00, X 03-02 11:01"},
    {"2026-03-02T10:00", "", 1, "1440", "0", "+2d", "B0 03-02 10:00, E0 03-03 10:00"},
    {"2026-03-02T10:00", "", 1, "2880", "60", "+3d",
     "B0 03-02 10:00, E0 03-04 10:00, X 03-04 11:00"},
    {"2026-03-02T23:30", "", 1, "60", "0", "+1d", "B0 03-02 23:30, E0 03-03 00:30"},
    {"2026-03-02T10:00", "", 3, "60", "60", "+4d",
     "B0 03-02 10:00, E0 03-02 11:00, B1 03-03 10:00, E1 03-03 11:00, B2 03-04 10:00, E2 03-04 "
     "11:00, X 03-04 12:00"},
    {"2026-03-02T10:00", "", 0, "60", "60", "+3d",
     "B0 03-02 10:00, E0 03-02 11:00, B1 03-03 10:00, E1 03-03 11:00, B2 03-04 10:00, E2 03-04 "
     "11:00, B3 03-05 10:00"},
    /* at a time of day */
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+1d",
     "B0 03-02 08:45, E0 03-02 09:45, X 03-02 10:45"},
    {"2026-03-02T08:45", "08:45 UTC", 1, "60", "0", "+1d", "B0 03-02 08:45, E0 03-02 09:45"},
    {"2026-03-02T08:46", "08:45 UTC", 1, "60", "0", "+2d", "B0 03-03 08:45, E0 03-03 09:45"},
    {"2026-03-02T10:00", "00:00 UTC", 1, "60", "0", "+2d", "B0 03-03 00:00, E0 03-03 01:00"},
    {"2026-03-02T00:00", "00:00 UTC", 1, "60", "0", "+2d", "B0 03-02 00:00, E0 03-02 01:00"},
    {"2026-03-02T10:00", "23:59 UTC", 2, "2", "0", "+3d",
     "B0 03-02 23:59, E0 03-03 00:01, B1 03-03 23:59, E1 03-04 00:01"},
    {"2026-03-02T10:00", "23:00 UTC", 1, "180", "60", "+2d",
     "B0 03-02 23:00, E0 03-03 02:00, X 03-03 03:00"},
    {"2026-03-02T10:00", "12:00 UTC", 2, "1440", "0", "+3d",
     "B0 03-02 12:00, E0 03-03 12:00, B1 03-03 12:00, E1 03-04 12:00"},
    {"2026-03-02T10:00", "12:00 UTC", 0, "720", "60", "+2d",
     "B0 03-02 12:00, E0 03-03 00:00, B1 03-03 12:00, E1 03-04 00:00"},
    /* at a date */
    {"2026-03-02T10:00", "2026-03-05T01:02:00Z", 1, "60", "60", "+4d",
     "B0 03-05 01:02, E0 03-05 02:02, X 03-05 03:02"},
    {"2026-03-02T10:00", "2026-03-05T01:02:00+01:00", 1, "60", "0", "+4d",
     "B0 03-05 00:02, E0 03-05 01:02"},
    {"2026-03-02T10:00", "2026-03-04T23:00:00-05:00", 1, "60", "0", "+4d",
     "B0 03-05 04:00, E0 03-05 05:00"},
    {"2026-03-02T10:00", "2026-03-02T09:30:00Z", 1, "60", "0", "+1d",
     "B0 03-02 10:00, E0 03-02 10:30"},
    {"2026-03-02T10:00", "2026-03-01T09:30:00Z", 3, "60", "0", "+2d",
     "M0*1 03-02 10:00, B1 03-02 10:00, E1 03-02 10:30, B2 03-03 09:30, E2 03-03 10:30"},
    /* months, years, leap days; UTC has no summer time */
    {"2026-12-31T10:00", "23:30 UTC", 2, "60", "0", "+2d",
     "B0 12-31 23:30, E0 01-01 00:30, B1 01-01 23:30, E1 01-02 00:30"},
    {"2028-02-28T10:00", "08:45 UTC", 3, "15", "0", "+4d",
     "B0 02-29 08:45, E0 02-29 09:00, B1 03-01 08:45, E1 03-01 09:00, B2 03-02 08:45, E2 03-02 "
     "09:00"},
    {"2028-02-28T23:45", "", 1, "30", "1440", "+3d",
     "B0 02-28 23:45, E0 02-29 00:15, X 03-01 00:15"},
    {"2027-02-28T23:45", "", 1, "30", "1440", "+3d",
     "B0 02-28 23:45, E0 03-01 00:15, X 03-02 00:15"},
    {"2026-03-28T10:00", "01:30 UTC", 3, "60", "0", "+4d",
     "B0 03-29 01:30, E0 03-29 02:30, B1 03-30 01:30, E1 03-30 02:30, B2 03-31 01:30, E2 03-31 "
     "02:30"},
    {"2026-10-24T10:00", "00:30 UTC", 3, "60", "0", "+4d",
     "B0 10-25 00:30, E0 10-25 01:30, B1 10-26 00:30, E1 10-26 01:30, B2 10-27 00:30, E2 10-27 "
     "01:30"},
    {"2026-04-29T10:00", "09:00 UTC", 3, "60", "0", "+5d",
     "B0 04-30 09:00, E0 04-30 10:00, B1 05-01 09:00, E1 05-01 10:00, B2 05-02 09:00, E2 05-02 "
     "10:00"},
    /* the wall clock is put forward */
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+10m s10m +2h",
     "B0 03-02 08:45, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h s10m +2h",
     "B0 03-02 08:45, E0 03-02 09:55"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h s2h +2h",
     "B0 03-02 08:45, E0 03-02 11:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+10m s1h +2h",
     "B0 03-02 09:11, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+10m s2h +2h",
     "B0 03-02 10:11, E0 03-02 11:11"},
    {"2026-03-02T08:00", "08:45 UTC", 2, "60", "0", "+10m s2h +2d",
     "B0 03-02 10:11, E0 03-02 11:11, B1 03-03 08:45, E1 03-03 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 2, "60", "0", "+10m s10d +2d", "M0*2 03-12 08:11"},
    {"2026-03-02T08:00", "08:45 UTC", 3, "60", "0", "+10m s10d +2d", "M0*3 03-12 08:11"},
    {"2026-03-02T08:00", "08:45 UTC", 0, "60", "0", "+10m s10d +1d",
     "M0*10 03-12 08:11, B10 03-12 08:45, E10 03-12 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 2, "60", "0", "+1h s1d +2d",
     "B0 03-02 08:45, E0 03-03 09:45, M1*1 03-03 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 2, "60", "0", "+1h s1430m +1d",
     "B0 03-02 08:45, E0 03-03 09:35, B1 03-03 09:35, E1 03-03 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+2h s30m +2h",
     "B0 03-02 08:45, E0 03-02 09:45, X 03-02 11:15"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "1440", "+2h s300d +20h",
     "B0 03-02 08:45, E0 03-02 09:45"},
    /* ... and back */
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+30m b20m +2h",
     "B0 03-02 08:45, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h b10m +2h",
     "B0 03-02 08:45, E0 03-02 09:35"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h b30m +3h",
     "B0 03-02 08:45, E0 03-02 09:15"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+2h b90m +3h",
     "B0 03-02 08:45, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 2, "60", "0", "+2h b90m +25h",
     "B0 03-02 08:45, E0 03-02 09:45, B1 03-03 08:45"},
    {"2026-03-02T08:00", "08:45 UTC", 2, "60", "0", "+26h b2d +1d +2d",
     "B0 03-02 08:45, E0 03-02 09:45, B1 03-03 08:45, E1 03-03 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+2h b30m +2h",
     "B0 03-02 08:45, E0 03-02 09:45, X 03-02 10:15"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h b30m +10m s30m +2h",
     "B0 03-02 08:45, E0 03-02 09:45"},
    {"2026-03-02T08:00", "", 1, "60", "0", "b1h +2h", "B0 03-02 08:00, E0 03-02 08:00"},
    /* sleep */
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+10m z1h +2h",
     "B0 03-02 09:10, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+10m z5h +2h", "M0*1 03-02 13:10"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h z20m +2h",
     "B0 03-02 08:45, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h z5h +2h",
     "B0 03-02 08:45, E0 03-02 14:00"},
    {"2026-03-02T08:00", "08:45 UTC", 2, "60", "0", "+10m z26h +2h", "M0*2 03-03 10:10"},
    {"2026-03-02T08:00", "08:45 UTC", 3, "60", "0", "+10m z25h +2d",
     "M0*1 03-03 09:10, B1 03-03 09:10, E1 03-03 09:45, B2 03-04 08:45, E2 03-04 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+2h z5h +1h",
     "B0 03-02 08:45, E0 03-02 09:45, X 03-02 15:00"},
    /* restarts */
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+10m d10m +2h",
     "B0 03-02 08:45, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h d10m +2h",
     "B0 03-02 08:45, B0 03-02 09:10, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h d5h +2h",
     "B0 03-02 08:45, E0 03-02 14:00"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+10m d1h +2h",
     "B0 03-02 09:10, E0 03-02 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+10m d3h +1h",
     "M0*1 03-02 11:10, X 03-02 11:10"},
    {"2026-03-02T08:00", "08:45 UTC", 3, "60", "0", "+1h d1d +2d",
     "B0 03-02 08:45, E0 03-03 09:00, B1 03-03 09:00, E1 03-03 09:45, B2 03-04 08:45, E2 03-04 "
     "09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 0, "60", "0", "+2h d10d +1d",
     "B0 03-02 08:45, E0 03-02 09:45, M1*10 03-12 10:00, B11 03-13 08:45, E11 03-13 09:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+2h d10m +1h",
     "B0 03-02 08:45, E0 03-02 09:45, X 03-02 10:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+2h d1d +1h",
     "B0 03-02 08:45, E0 03-02 09:45, X 03-03 10:00"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+4h d1d +1h",
     "B0 03-02 08:45, E0 03-02 09:45, X 03-02 10:45"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h b1h d10m +2h",
     "B0 03-02 08:45, B0 03-02 08:10, E0 03-02 09:10"},
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "0", "+1h d10m +10m d10m +2h",
     "B0 03-02 08:45, B0 03-02 09:10, B0 03-02 09:30, E0 03-02 09:45"},
    /* stopped by hand */
    {"2026-03-02T08:00", "08:45 UTC", 1, "60", "60", "+1h x +1d", "B0 03-02 08:45, X 03-02 10:00"},
    {"2026-03-02T08:00", "08:45 UTC", 5, "60", "60", "+10m x +2d", "X 03-02 09:10"},
    {"2026-03-02T08:00", "", 0, "60", "60", "+2d x +1d",
     "B0 03-02 08:00, E0 03-02 09:00, B1 03-03 08:00, E1 03-03 09:00, B2 03-04 08:00, X 03-04 "
     "09:00"},
    {"2026-03-02T08:00", "", 0, "60", "0", "+10m x d1h +2d", "B0 03-02 08:00"},
};

struct world {
    struct schedule schedule;
    struct schedule_state state;
    struct schedule_clock clock;
    char trace[TRACE_SIZE];
};

static void look(struct world *world)
{
    for (unsigned i = 0; i < 10; i++) {
        struct schedule_action action =
            schedule_step(&world->schedule, &world->state, world->clock);
        char when[UNITS_TEXT_SIZE], what[64];
        size_t used = strlen(world->trace);

        if (action.event == SCHEDULE_NOTHING)
            return;
        units_format_time_short(world->clock.wall_ns, when);
        if (action.event == SCHEDULE_MISSED)
            snprintf(what, sizeof(what), "M%lld*%lld", (long long)action.number,
                     (long long)action.n);
        else if (action.event == SCHEDULE_EXPIRE)
            snprintf(what, sizeof(what), "X");
        else
            snprintf(what, sizeof(what), "%c%lld", action.event == SCHEDULE_BEGIN ? 'B' : 'E',
                     (long long)action.number);
        snprintf(world->trace + used, TRACE_SIZE - used, "%s%s %.11s", used ? ", " : "", what,
                 when + 5);
    }
    CU_FAIL("a look that does not end");
}

static void pass(struct world *world, uint64_t ns)
{
    world->clock.wall_ns += ns;
    world->clock.steady_ns += ns;
}

/* What the store keeps across a restart. */
static void restart(struct world *world)
{
    struct schedule_state kept = {.next = world->state.next,
                                  .begun = world->state.begun,
                                  .over = world->state.over,
                                  .expired = world->state.expired,
                                  .ended_ns = world->state.ended_ns};

    world->state = kept;
}

static void play(struct world *world, const char *script)
{
    char text[128], *rest = NULL;

    snprintf(text, sizeof(text), "%s", script);
    look(world);
    for (char *op = strtok_r(text, " ", &rest); op; op = strtok_r(NULL, " ", &rest)) {
        uint64_t ns = 0;

        if (op[1])
            CU_ASSERT_EQUAL_FATAL(units_parse_duration(op + 1, 0, &ns), 0);
        switch (*op) {
        case '+':
            for (; ns; ns -= NS_PER_MIN) {
                pass(world, NS_PER_MIN);
                look(world);
            }
            break;
        case 's':
            world->clock.wall_ns += ns;
            break;
        case 'b':
            world->clock.wall_ns -= ns;
            break;
        case 'd':
            restart(world);
            /* fall through */
        case 'z':
            pass(world, ns);
            look(world);
            break;
        case 'x':
            schedule_stop(&world->state, world->clock);
            look(world);
            break;
        }
    }
}

static void schedules_run_as_the_table_says(void)
{
    unsigned n = sizeof(rows) / sizeof(rows[0]);

    for (unsigned i = 0; i < n; i++) {
        const struct row *row = &rows[i];
        struct world world = {.schedule = {.iterations = row->iterations}};
        char error[SCHEDULE_ERROR_SIZE] = "", created[32];

        snprintf(created, sizeof(created), "%s:00Z", row->created);
        CU_ASSERT_EQUAL_FATAL(units_parse_time(created, &world.clock.wall_ns), 0);
        world.clock.steady_ns = 12345 * NS_PER_S;
        CU_ASSERT_EQUAL_FATAL(
            schedule_parse_start(row->start, world.clock.wall_ns, &world.schedule.start_ns, error),
            0);
        CU_ASSERT_EQUAL_FATAL(
            units_parse_duration(row->duration, NS_PER_MIN, &world.schedule.duration_ns), 0);
        CU_ASSERT_EQUAL_FATAL(
            units_parse_duration(row->expiration, NS_PER_MIN, &world.schedule.expiration_ns), 0);
        CU_ASSERT_EQUAL(schedule_check(&world.schedule, world.clock.wall_ns, error), 0);
        play(&world, row->script);
        if (strcmp(world.trace, row->want)) {
            tap_note("row %u: %s, start '%s', %lld x %s, %s", i, row->created, row->start,
                     (long long)row->iterations, row->duration, row->script);
            tap_note("  is   %s", world.trace);
            tap_note("  want %s", row->want);
            CU_FAIL("schedule");
        }
    }
    tap_note("%u rows", n);
    CU_ASSERT(n >= 60);
}

static void starts_and_schedules_are_refused_with_the_reason(void)
{
    static const char *const starts[] = {"8:5",        "25:00 UTC",           "08:60 UTC",
                                         "08:45",      "08:45 CET",           "tomorrow",
                                         "08:45 UTCx", "2026-02-30T00:00:00Z"};
    struct schedule schedule = {.iterations = 2, .duration_ns = 25 * NS_PER_HOUR};
    uint64_t now_ns = UINT64_C(1767323045) * NS_PER_S, start_ns;
    char error[SCHEDULE_ERROR_SIZE];

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        CU_ASSERT_EQUAL(schedule_parse_start(starts[i], now_ns, &start_ns, error), -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(error, "must be \"HH:MM UTC\" or RFC 3339"));
    }
    schedule.start_ns = now_ns;
    CU_ASSERT_EQUAL(schedule_check(&schedule, now_ns, error), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "would overlap"));
    schedule.iterations = 0;
    CU_ASSERT_EQUAL(schedule_check(&schedule, now_ns, error), -EINVAL);
    schedule.iterations = 1;
    CU_ASSERT_EQUAL(schedule_check(&schedule, now_ns, error), 0);
    schedule.start_ns = now_ns - 26 * NS_PER_HOUR;
    CU_ASSERT_EQUAL(schedule_check(&schedule, now_ns, error), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "lie in the past"));
    schedule.iterations = 0;
    schedule.duration_ns = NS_PER_DAY;
    CU_ASSERT_EQUAL(schedule_check(&schedule, now_ns, error), 0);
}

static void next_start_and_expiry_are_foretold(void)
{
    struct schedule schedule = {.start_ns = 100 * NS_PER_DAY,
                                .iterations = 2,
                                .duration_ns = NS_PER_HOUR,
                                .expiration_ns = NS_PER_HOUR};
    struct schedule_state state = {0};

    CU_ASSERT_EQUAL(schedule_next(&schedule, &state), 100 * NS_PER_DAY);
    CU_ASSERT_EQUAL(schedule_expiry(&schedule, &state), 101 * NS_PER_DAY + 2 * NS_PER_HOUR);
    state.running = state.begun = true;
    CU_ASSERT_EQUAL(schedule_next(&schedule, &state), 101 * NS_PER_DAY);
    state.next = 1;
    CU_ASSERT_EQUAL(schedule_next(&schedule, &state), 0);
    schedule.iterations = 0;
    CU_ASSERT_EQUAL(schedule_next(&schedule, &state), 102 * NS_PER_DAY);
    CU_ASSERT_EQUAL(schedule_expiry(&schedule, &state), 0);
    schedule_stop(&state, (struct schedule_clock){50 * NS_PER_DAY, 1});
    CU_ASSERT_EQUAL(schedule_next(&schedule, &state), 0);
    CU_ASSERT_EQUAL(schedule_expiry(&schedule, &state), 50 * NS_PER_DAY + NS_PER_HOUR);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"schedules run as the table says", schedules_run_as_the_table_says},
        {"starts and schedules are refused with the reason",
         starts_and_schedules_are_refused_with_the_reason},
        {"next start and expiry are foretold", next_start_and_expiry_are_foretold},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "schedule", tests);
}
