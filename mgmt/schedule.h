/* schedule.h - when a job runs: pure arithmetic over two clocks that are arguments.
 *
 * A schedule is a first start, daily iterations (0: for ever), a duration, and how long the
 * recording is kept after the last run. A run is begun by the wall clock, because people mean that;
 * it is ended by the steady clock (CLOCK_BOOTTIME: time in suspend counts), so that a step of the
 * wall clock neither cuts nor stretches it. What has begun is remembered by its number, so a clock
 * put back does not begin it again.
 *
 *                     +-- window passed unseen: MISSED (next run) --+
 *                     v                                             |
 *     waiting for run k --wall reaches its start--> BEGIN --> run k under way --its time is up-->
 * END ^                                                                                      |
 *         +------------------------- k + 1, if there is one -------------------------------------+
 *                                                     else over --expiration--> EXPIRE, the end
 *     Forbidden: from over back to waiting; run k twice.
 *
 * A window that a step of the wall clock (up to a day) has jumped over is made up for at once, in
 * full. One that passed while the recorder was down or the machine asleep is missed. A run that was
 * cut by a restart goes on with what is left of its window.
 *
 * Times are ns: wall since the epoch, UTC; steady since some moment. Any thread; no state but the
 * caller's. */
#ifndef MGMT_SCHEDULE_H
#define MGMT_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

enum { SCHEDULE_ERROR_SIZE = 256 };

struct schedule {
    uint64_t start_ns;
    int64_t iterations; /* 0: for ever */
    uint64_t duration_ns;
    uint64_t expiration_ns; /* 0: never */
};

struct schedule_clock { /* one look at both */
    uint64_t wall_ns, steady_ns;
};

struct schedule_state {
    /* kept across restarts */
    int64_t next; /* number of the run under way, or the one to come, from 0 */
    bool begun;   /* it has begun (before a restart, perhaps) */
    bool over;    /* there is none to come */
    bool expired;
    uint64_t ended_ns; /* wall time at which it was over */
    /* of this process */
    bool running;
    uint64_t run_end_steady_ns;
    uint64_t expire_steady_ns;  /* 0: not known yet */
    struct schedule_clock seen; /* the last look; steady 0: none yet */
};

enum schedule_event {
    SCHEDULE_NOTHING,
    SCHEDULE_BEGIN,  /* run `number` begins, or goes on after a restart */
    SCHEDULE_END,    /* run `number` ends */
    SCHEDULE_MISSED, /* runs from `number`, `n` of them, passed unseen */
    SCHEDULE_EXPIRE, /* the recording is not to be kept any longer */
};

struct schedule_action {
    enum schedule_event event;
    int64_t number;
    int64_t n;
};

/* What a person wrote as start, at `now_ns`: empty is now, "08:45 UTC" the next such time, "-10m"
 * so long ago, else RFC 3339. -> 0 or -EINVAL with the message. */
int schedule_parse_start(const char *text, uint64_t now_ns, uint64_t *ret_start_ns,
                         char reterr_text[static SCHEDULE_ERROR_SIZE]);
/* A time in the past: RFC 3339, "now", "-10m" (before now), or "HH:MM UTC", the last such time.
 * -> 0 or -EINVAL with the message. */
int schedule_parse_past(const char *text, uint64_t now_ns, uint64_t *ret_ns,
                        char reterr_text[static SCHEDULE_ERROR_SIZE]);
/* Can it be followed, beginning now? -> 0 or -EINVAL with the message. */
int schedule_check(const struct schedule *schedule, uint64_t now_ns,
                   char reterr_text[static SCHEDULE_ERROR_SIZE]);

/* What is to be done, one thing at a time: called until it says SCHEDULE_NOTHING. */
struct schedule_action schedule_step(const struct schedule *schedule, struct schedule_state *state,
                                     struct schedule_clock clock);
/* Ends it before its time (stopped, failed): no run comes any more. */
void schedule_stop(struct schedule_state *state, struct schedule_clock clock);

uint64_t schedule_run_start(const struct schedule *schedule, int64_t number);
/* Wall time of the next start, 0: none. */
uint64_t schedule_next(const struct schedule *schedule, const struct schedule_state *state);
/* Wall time at which the recording goes, as far as is known now; 0: never, or not before it ends.
 */
uint64_t schedule_expiry(const struct schedule *schedule, const struct schedule_state *state);

#endif
