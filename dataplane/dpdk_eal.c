#include "dpdk_eal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

enum { ARGS_MAX = 64, ARGS_SIZE = 1024, DEFAULTS_SIZE = 160 };

static char log_line[128];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int state = 1; /* 1: not tried */

static int start(const char *eal);

int dpdk_eal_start(const char *eal, char reterr_text[static SOURCE_ERROR_SIZE])
{
    pthread_mutex_lock(&lock);
    if (state == 1) {
        dpdk_eal_words_clear();
        state = start(eal);
    }
    if (state)
        snprintf(reterr_text, SOURCE_ERROR_SIZE,
                 "eal = \"%.40s\": DPDK does not start: %s: %.90s; it needs root, and huge pages "
                 "or \"--no-huge -m 512\"",
                 eal, strerror(-state), dpdk_eal_words());
    pthread_mutex_unlock(&lock);
    return state;
}

const char *dpdk_eal_words(void)
{
    return log_line[0] ? log_line : "nothing";
}

void dpdk_eal_words_clear(void)
{
    log_line[0] = 0;
}

/* DPDK writes; its first line tells most. */
static ssize_t log_write(void *cookie, const char *text, size_t size)
{
    size_t end = 0;

    while (end < size && text[end] != '\n')
        end++;
    if (end && !log_line[0])
        snprintf(log_line, sizeof(log_line), "%.*s", (int)end, text);
    return (ssize_t)size;
}

static bool huge_pages_there(void)
{
    char line[128];
    unsigned long n = 0, one;
    FILE *file = fopen("/proc/meminfo", "re");

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "HugePages_Total: %lu", &one) == 1)
            n += one;
    if (file)
        fclose(file);
    return n > 0;
}

/* What the configuration does not say. PCI devices are probed when a source asks for one: the list
 * of those allowed at start has one that no driver takes. */
static void defaults(const char *eal, char *text, size_t size)
{
    cpu_set_t cpus;
    int cpu = 0, at;

    if (!sched_getaffinity(0, sizeof(cpus), &cpus))
        while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &cpus))
            cpu++;
    at = snprintf(text, size, "tapedeck --no-telemetry --log-level=error");
    if (strstr(eal, "--no-huge") || !huge_pages_there())
        at += snprintf(text + at, size - (size_t)at, " --no-shconf%s%s",
                       strstr(eal, "--no-huge") ? "" : " --no-huge",
                       strstr(eal, "-m ") ? "" : " -m 512");
    else
        at += snprintf(text + at, size - (size_t)at, " --in-memory");
    if (!strstr(eal, "-l ") && !strstr(eal, "--lcores") && !strstr(eal, "-c "))
        at += snprintf(text + at, size - (size_t)at, " --lcores=0@%d", cpu);
    if (!strstr(eal, "-a ") && !strstr(eal, "--allow") && !strstr(eal, "--no-pci"))
        at += snprintf(text + at, size - (size_t)at, " -a 0000:00:00.0");
    snprintf(text + at, size - (size_t)at, " %s", eal);
}

static int start(const char *eal)
{
    /* DPDK keeps pointers into its arguments. */
    static char text[ARGS_SIZE], *args[ARGS_MAX + 1];
    static const cookie_io_functions_t log = {.write = log_write};
    FILE *stream;
    cpu_set_t cpus;
    char *rest = text, *word;
    int n = 0, known = pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus);

    if (strlen(eal) > ARGS_SIZE - DEFAULTS_SIZE)
        return -E2BIG;
    stream = fopencookie(NULL, "w", log);
    if (stream) {
        setvbuf(stream, NULL, _IOLBF, 0);
        rte_openlog_stream(stream);
    }
    defaults(eal, text, sizeof(text));
    while (n < ARGS_MAX && (word = strsep(&rest, " \t")))
        if (*word)
            args[n++] = word;
    args[n] = NULL;
    n = rte_eal_init(n, args);
    /* It takes the calling thread for its own core. */
    if (!known)
        pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
    return n >= 0 ? 0 : rte_errno ? -rte_errno : -EIO;
}
