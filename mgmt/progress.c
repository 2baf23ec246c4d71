#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "units.h"

enum { BAR_WIDTH = 24, LINE_SIZE = 256, WIDTH_DEFAULT = 80 };

static const uint64_t first_ns = 500 * NS_PER_MS, next_ns = 100 * NS_PER_MS;

static void draw(const struct progress *progress, uint64_t done, uint64_t total);
static unsigned width(void);
static uint64_t now_ns(void);

void progress_begin(struct progress *progress, bool stdout_too)
{
    *progress =
        (struct progress){.on = isatty(STDERR_FILENO) && !(stdout_too && isatty(STDOUT_FILENO))};
    progress->begun_ns = now_ns();
    progress->drawn_ns = progress->begun_ns + first_ns - next_ns;
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
    uint64_t time_ns = progress->on ? now_ns() : 0;

    if (!progress->on || time_ns < progress->drawn_ns + next_ns)
        return;
    progress->drawn = true;
    progress->drawn_ns = time_ns;
    draw(progress, total && done > total ? total : done, total);
}

void progress_end(struct progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = false;
}

bool progress_callback(void *context, uint64_t done, uint64_t total)
{
    progress_show(context, done, total);
    return true;
}

static void draw(const struct progress *progress, uint64_t done, uint64_t total)
{
    double seconds = (double)(progress->drawn_ns - progress->begun_ns) / (double)NS_PER_S;
    double rate = (double)done / seconds;
    double share = total ? (double)done / (double)total : 0;
    char bar[BAR_WIDTH + 1], text[LINE_SIZE], size[UNITS_TEXT_SIZE], whole[UNITS_TEXT_SIZE],
        speed[UNITS_TEXT_SIZE], left[UNITS_TEXT_SIZE];
    int n = (int)(share * BAR_WIDTH), used = 0;

    if (total) {
        memset(bar, ' ', BAR_WIDTH);
        memset(bar, '=', (size_t)n);
        if (n < BAR_WIDTH)
            bar[n] = '>';
        bar[BAR_WIDTH] = 0;
        used = snprintf(text, sizeof(text), "[%s] %3.0f%%  ", bar, 100 * share);
    }
    used += snprintf(text + used, sizeof(text) - (size_t)used, "%s%s%s, %s/s",
                     units_format_size(done, size), total ? " of " : "",
                     total ? units_format_size(total, whole) : "",
                     units_format_size((uint64_t)rate, speed));
    if (total && rate >= 1)
        snprintf(
            text + used, sizeof(text) - (size_t)used, ", %s left",
            units_format_duration((uint64_t)((double)(total - done) / rate + 1) * NS_PER_S, left));
    fprintf(stderr, "\r%.*s\033[K", (int)width() - 1, text);
}

static unsigned width(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2 ? WIDTH_DEFAULT : size.ws_col;
}

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}
