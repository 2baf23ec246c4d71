#include "interface.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "../kfl-jit/ensure.h"

static struct interface table[INTERFACE_MAX];
static _Atomic unsigned n_interfaces;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char node_ip[64], node_name[256];

static void copy_text(char *into, size_t size, const char *text);

void interface_set_node(const char *ip, const char *name)
{
    pthread_mutex_lock(&lock);
    copy_text(node_ip, sizeof(node_ip), ip);
    copy_text(node_name, sizeof(node_name), name);
    pthread_mutex_unlock(&lock);
}

int interface_add(const char *name, const char *source, const char *description, uint16_t linktype,
                  uint32_t snaplen)
{
    struct interface new = {.linktype = linktype, .snaplen = snaplen};
    unsigned n, i;

    copy_text(new.name, sizeof(new.name), name);
    copy_text(new.source, sizeof(new.source), source);
    copy_text(new.description, sizeof(new.description), description);
    pthread_mutex_lock(&lock);
    n = atomic_load_explicit(&n_interfaces, memory_order_relaxed);
    for (i = 0; i < n; i++)
        if (!strcmp(table[i].name, new.name) && !strcmp(table[i].source, new.source) &&
            !strcmp(table[i].description, new.description) && table[i].linktype == linktype &&
            table[i].snaplen == snaplen)
            break;
    if (i == n && n < INTERFACE_MAX) {
        table[i] = new;
        table[i].capture = (struct kfl_capture){.source = table[i].source,
                                                .interface = table[i].name,
                                                .node_ip = node_ip,
                                                .node_name = node_name};
        atomic_store_explicit(&n_interfaces, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return i < INTERFACE_MAX ? (int)i : -ENOSPC;
}

const struct interface *interface_get(unsigned number)
{
    ensure(number < interface_count());
    return &table[number];
}

unsigned interface_count(void)
{
    return atomic_load_explicit(&n_interfaces, memory_order_acquire);
}

/* -> bytes of the UTF-8 sequence at text, 0 when it is none (RFC 3629) */
static size_t utf8_size(const uint8_t *text)
{
    size_t size = text[0] < 0xc2   ? 0
                  : text[0] < 0xe0 ? 2
                  : text[0] < 0xf0 ? 3
                  : text[0] < 0xf5 ? 4
                                   : 0;

    if (text[0] >= 0x20 && text[0] < 0x7f)
        return 1;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return size;
}

/* Names come out of files: what is stored is UTF-8 without control characters, cut at a character.
 */
static void copy_text(char *into, size_t size, const char *text)
{
    const uint8_t *from = (const uint8_t *)text;
    size_t used = 0;

    while (*from) {
        size_t n = utf8_size(from);

        if (used + (n ? n : 1) >= size)
            break;
        if (n)
            memcpy(into + used, from, n);
        else
            into[used] = '?';
        used += n ? n : 1;
        from += n ? n : 1;
    }
    into[used] = 0;
}
