#include "schedule.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "units.h"

static bool parse_ago(const char *text, uint64_t now_ns, uint64_t *ret_ns);
static bool parse_hour(const char *text, uint64_t *ret_ns);
static bool jumped_over(const struct schedule_state *state, struct schedule_clock clock,
                        uint64_t start_ns);
static struct schedule_action begin(struct schedule_state *state, struct schedule_clock clock,
                                    uint64_t left_ns);
static struct schedule_action end(const struct schedule *schedule, struct schedule_state *state,
                                  struct schedule_clock clock);
static struct schedule_action miss(const struct schedule *schedule, struct schedule_state *state,
                                   struct schedule_clock clock);
static struct schedule_action wait_for_expiry(const struct schedule *schedule,
                                              struct schedule_state *state,
                                              struct schedule_clock clock);
static uint64_t plus(uint64_t a, uint64_t b);

int schedule_parse_start(const char *text, uint64_t now_ns, uint64_t *ret_start_ns,
                         char reterr_text[static SCHEDULE_ERROR_SIZE])
{
    uint64_t day_ns = now_ns - now_ns % NS_PER_DAY;
    uint64_t at_ns;
    int err;

    if (!*text) {
        *ret_start_ns = now_ns;
        return 0;
    }
    if (parse_ago(text, now_ns, ret_start_ns))
        return 0;
    err = units_parse_time(text, ret_start_ns);
    if (!err)
        return 0;
    if (err == -ERANGE) {
        snprintf(reterr_text, SCHEDULE_ERROR_SIZE, "start %.80s: must lie between 1970 and 2554",
                 text);
        return -EINVAL;
    }
    if (!strchr(text, 'U') || !parse_hour(text, &at_ns)) {
        snprintf(
            reterr_text, SCHEDULE_ERROR_SIZE,
            "start '%.80s': must be \"HH:MM UTC\" or RFC 3339 (2026-01-02T03:04:05Z), or so long "
            "ago (-10m); left out it is now",
            text);
        return -EINVAL;
    }
    *ret_start_ns = day_ns + at_ns < now_ns ? day_ns + NS_PER_DAY + at_ns : day_ns + at_ns;
    return 0;
}

int schedule_parse_past(const char *text, uint64_t now_ns, uint64_t *ret_ns,
                        char reterr_text[static SCHEDULE_ERROR_SIZE])
{
    uint64_t day_ns = now_ns - now_ns % NS_PER_DAY, at_ns;

    if (!strcmp(text, "now")) {
        *ret_ns = now_ns;
        return 0;
    }
    if (parse_ago(text, now_ns, ret_ns) || !units_parse_time(text, ret_ns))
        return 0;
    if (!parse_hour(text, &at_ns)) {
        snprintf(
            reterr_text, SCHEDULE_ERROR_SIZE,
            "time '%.80s': must be RFC 3339 (2026-01-02T03:04:05Z), \"HH:MM UTC\", so long ago "
            "(-10m), or now",
            text);
        return -EINVAL;
    }
    *ret_ns = day_ns + at_ns <= now_ns ? day_ns + at_ns : day_ns + at_ns - NS_PER_DAY;
    return 0;
}

int schedule_check(const struct schedule *schedule, uint64_t now_ns,
                   char reterr_text[static SCHEDULE_ERROR_SIZE])
{
    char duration[UNITS_TEXT_SIZE], start[UNITS_TEXT_SIZE];

    if (schedule->duration_ns > NS_PER_DAY && schedule->iterations != 1) {
        snprintf(reterr_text, SCHEDULE_ERROR_SIZE,
                 "duration %s with iterations %lld: runs begin every 24 hours and would overlap: "
                 "at most 1440 minutes, or iterations 1",
                 units_format_duration(schedule->duration_ns, duration),
                 (long long)schedule->iterations);
        return -EINVAL;
    }
    if (schedule->iterations && plus(schedule_run_start(schedule, schedule->iterations - 1),
                                     schedule->duration_ns) <= now_ns) {
        snprintf(reterr_text, SCHEDULE_ERROR_SIZE,
                 "start %s: its runs lie in the past: leave it out to begin now, or see tapedeck "
                 "recording "
                 "create-from-ring",
                 units_format_time_short(schedule->start_ns, start));
        return -EINVAL;
    }
    return 0;
}

/* "-10m" */
static bool parse_ago(const char *text, uint64_t now_ns, uint64_t *ret_ns)
{
    uint64_t ago_ns;

    if (*text != '-' || units_parse_duration(text + 1, 0, &ago_ns) || ago_ns > now_ns)
        return false;
    *ret_ns = now_ns - ago_ns;
    return true;
}

/* "08:45 UTC", or without the zone: there is no other. */
static bool parse_hour(const char *text, uint64_t *ret_ns)
{
    unsigned hour, minute;
    int used = 0;

    if (sscanf(text, "%2u:%2u%n", &hour, &minute, &used) != 2 || text[0] < '0' || text[0] > '9' ||
        hour > 23 || minute > 59 || (text[used] && strcmp(text + used, " UTC") != 0))
        return false;
    *ret_ns = hour * NS_PER_HOUR + minute * NS_PER_MIN;
    return true;
}

struct schedule_action schedule_step(const struct schedule *schedule, struct schedule_state *state,
                                     struct schedule_clock clock)
{
    struct schedule_action nothing = {SCHEDULE_NOTHING, state->next, 0};
    uint64_t start_ns = schedule_run_start(schedule, state->next);
    uint64_t end_ns = plus(start_ns, schedule->duration_ns);
    bool jumped;

    if (state->over)
        return wait_for_expiry(schedule, state, clock);
    if (state->running) {
        state->seen = clock;
        return clock.steady_ns >= state->run_end_steady_ns ? end(schedule, state, clock) : nothing;
    }
    jumped = !state->begun && jumped_over(state, clock, start_ns);
    if (clock.wall_ns >= end_ns && jumped)
        return begin(state, clock, schedule->duration_ns);
    if (clock.wall_ns >= end_ns)
        return state->begun ? end(schedule, state, clock) : miss(schedule, state, clock);
    if (clock.wall_ns >= start_ns || state->begun) {
        /* Begun, and the clock put back before its start while we were down: a full run at most. */
        uint64_t left_ns = end_ns - clock.wall_ns;

        return begin(state, clock,
                     left_ns < schedule->duration_ns ? left_ns : schedule->duration_ns);
    }
    state->seen = clock;
    return nothing;
}

void schedule_stop(struct schedule_state *state, struct schedule_clock clock)
{
    state->running = false;
    state->begun = false;
    state->over = true;
    state->ended_ns = clock.wall_ns;
    state->seen = clock;
}

uint64_t schedule_run_start(const struct schedule *schedule, int64_t number)
{
    uint64_t days_ns;

    if (__builtin_mul_overflow((uint64_t)number, NS_PER_DAY, &days_ns))
        return UINT64_MAX;
    return plus(schedule->start_ns, days_ns);
}

uint64_t schedule_next(const struct schedule *schedule, const struct schedule_state *state)
{
    int64_t number = state->next + (state->running || state->begun);

    if (state->over || (schedule->iterations && number >= schedule->iterations))
        return 0;
    return schedule_run_start(schedule, number);
}

uint64_t schedule_expiry(const struct schedule *schedule, const struct schedule_state *state)
{
    uint64_t end_ns = state->ended_ns;

    if (!schedule->expiration_ns || (!state->over && !schedule->iterations))
        return 0;
    if (!state->over)
        end_ns =
            plus(schedule_run_start(schedule, schedule->iterations - 1), schedule->duration_ns);
    return plus(end_ns, schedule->expiration_ns);
}

/* Did a step of the wall clock take us from before `start_ns` to where we are? Without it we would
 * still wait. Only steps of up to a day: beyond, the clock had never been set. */
static bool jumped_over(const struct schedule_state *state, struct schedule_clock clock,
                        uint64_t start_ns)
{
    uint64_t expected_ns;

    if (!state->seen.steady_ns)
        return false;
    expected_ns = state->seen.wall_ns + (clock.steady_ns - state->seen.steady_ns);
    return expected_ns < start_ns && clock.wall_ns > expected_ns &&
           clock.wall_ns - expected_ns <= NS_PER_DAY;
}

static struct schedule_action begin(struct schedule_state *state, struct schedule_clock clock,
                                    uint64_t left_ns)
{
    state->begun = true;
    state->running = true;
    state->run_end_steady_ns = plus(clock.steady_ns, left_ns);
    state->seen = clock;
    return (struct schedule_action){SCHEDULE_BEGIN, state->next, 1};
}

static struct schedule_action end(const struct schedule *schedule, struct schedule_state *state,
                                  struct schedule_clock clock)
{
    struct schedule_action action = {SCHEDULE_END, state->next, 1};

    state->running = false;
    state->begun = false;
    state->next++;
    if (schedule->iterations && state->next >= schedule->iterations) {
        state->over = true;
        state->ended_ns = clock.wall_ns;
    }
    return action;
}

/* Runs whose windows are over; the one after may be under way. */
static struct schedule_action miss(const struct schedule *schedule, struct schedule_state *state,
                                   struct schedule_clock clock)
{
    struct schedule_action action = {SCHEDULE_MISSED, state->next, 0};
    uint64_t end_ns = plus(schedule_run_start(schedule, state->next), schedule->duration_ns);
    uint64_t n = (clock.wall_ns - end_ns) / NS_PER_DAY + 1;

    if (schedule->iterations && n >= (uint64_t)(schedule->iterations - state->next)) {
        n = (uint64_t)(schedule->iterations - state->next);
        state->over = true;
        state->ended_ns =
            plus(schedule_run_start(schedule, schedule->iterations - 1), schedule->duration_ns);
    }
    action.n = (int64_t)n;
    state->next += (int64_t)n;
    return action;
}

/* By the steady clock from when it is first known: a wall clock that goes astray deletes nothing.
 */
static struct schedule_action wait_for_expiry(const struct schedule *schedule,
                                              struct schedule_state *state,
                                              struct schedule_clock clock)
{
    struct schedule_action action = {SCHEDULE_NOTHING, state->next, 0};
    uint64_t expiry_ns;

    state->seen = clock;
    if (state->expired || !schedule->expiration_ns)
        return action;
    if (!state->expire_steady_ns) {
        expiry_ns = plus(state->ended_ns, schedule->expiration_ns);
        state->expire_steady_ns =
            plus(clock.steady_ns, expiry_ns > clock.wall_ns ? expiry_ns - clock.wall_ns : 0);
        if (!state->expire_steady_ns)
            state->expire_steady_ns = 1;
    }
    if (clock.steady_ns < state->expire_steady_ns)
        return action;
    state->expired = true;
    action.event = SCHEDULE_EXPIRE;
    return action;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}
