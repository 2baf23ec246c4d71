#include "folder_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "log.h"
#include "units.h"

static const uint64_t quiet_ns = 200 * NS_PER_MS, latest_ns = 2 * NS_PER_S;
static const uint32_t changes =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB;

static bool counts(const struct folder_watch *watch, const struct inotify_event *event);

void folder_watch_open(struct folder_watch *watch, const char *ending)
{
    *watch = (struct folder_watch){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .ending = ending};
}

void folder_watch_close(struct folder_watch *watch)
{
    if (watch->fd >= 0)
        close(watch->fd);
}

void folder_watch_add(struct folder_watch *watch, const char *path)
{
    char folder[PATH_MAX];
    char *slash;

    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    if (watch->fd < 0 || inotify_add_watch(watch->fd, slash ? folder : ".", changes) < 0)
        log_warning("%s cannot be watched (%s): its changes come with a reload",
                    slash ? folder : ".", strerror(errno));
}

bool folder_watch_settled(struct folder_watch *watch, uint64_t steady_ns)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;

    while (watch->fd >= 0 && (n = read(watch->fd, events, sizeof(events))) > 0)
        for (ssize_t i = 0; i < n;) {
            const struct inotify_event *event = (const struct inotify_event *)(events + i);

            if (counts(watch, event)) {
                watch->changed_ns = steady_ns;
                watch->first_ns = watch->first_ns ? watch->first_ns : steady_ns;
            }
            i += (ssize_t)(sizeof(*event) + event->len);
        }
    if (!watch->changed_ns ||
        (steady_ns - watch->changed_ns < quiet_ns && steady_ns - watch->first_ns < latest_ns))
        return false;
    watch->first_ns = watch->changed_ns = 0;
    return true;
}

/* Events without a name are about the folder, or say that some were lost. */
static bool counts(const struct folder_watch *watch, const struct inotify_event *event)
{
    size_t size = event->len ? strlen(event->name) : 0;
    size_t tail = watch->ending ? strlen(watch->ending) : 0;

    return !size || !tail || (size > tail && !strcmp(event->name + size - tail, watch->ending));
}
