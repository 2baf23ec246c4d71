#include "source_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* pcap: draft-ietf-opsawg-pcap. The magic as the writer's byte order has it. */
enum {
    MAGIC_US = 0xa1b2c3d4,
    MAGIC_NS = 0xa1b23c4d,
    MAGIC_MODIFIED = 0xa1b2cd34,
    MAGIC_PCAPNG = 0x0a0d0d0a,
    PCAP_HEADER_SIZE = 24,
    PCAP_RECORD_SIZE = 16,
    PCAP_RECORD_MODIFIED_SIZE = 24,
};

static int read_magic(struct source_file *file);

static int file_open(const struct source_config *config, struct source **ret_source,
                     char reterr_text[static SOURCE_ERROR_SIZE])
{
    struct source_file *file;
    const char *name;
    int rc;

    if (!config->interface || !*config->interface) {
        snprintf(reterr_text, SOURCE_ERROR_SIZE,
                 "type = \"file\" needs interface = \"PATH\", "
                 "a pcap or pcapng file; \"-\" is standard input");
        return -EINVAL;
    }
    file = calloc(1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    rc = file_bytes_open(&file->bytes, config->interface, config->stays);
    if (rc) {
        snprintf(reterr_text, SOURCE_ERROR_SIZE, "%.160s: %s", config->interface, strerror(-rc));
        free(file);
        return rc;
    }
    file->path = strcmp(config->interface, "-") ? config->interface : "standard input";
    name = strrchr(file->path, '/');
    snprintf(file->base.name, sizeof(file->base.name), "%.*s", (int)sizeof(file->base.name) - 1,
             name && name[1] ? name + 1 : file->path);
    file->base.n_queues = 1;
    file->base.stays = file->bytes.mapped;
    file->base.size = file->bytes.size;
    file->snaplen = config->snaplen ? config->snaplen : UINT32_MAX;
    /* What comes through a pipe may not be there yet: rx asks again. */
    rc = read_magic(file);
    if (rc && rc != -EAGAIN) {
        snprintf(reterr_text, SOURCE_ERROR_SIZE, "%s", file->damage);
        file_bytes_close(&file->bytes);
        free(file);
        return -EINVAL;
    }
    *ret_source = (struct source *)file;
    return 0;
}

static int file_rx(struct source *source, unsigned queue, struct packet *burst, unsigned n)
{
    struct source_file *file = (struct source_file *)source;
    uint64_t bytes = 0;
    unsigned filled;
    int rc = 0;

    if (!file->ended && atomic_load_explicit(&file->stopped, memory_order_relaxed))
        file->ended = -ENODATA;
    if (!file->ended && !file->read) {
        rc = read_magic(file);
        if (rc == -EAGAIN)
            return 0;
        file->ended = rc;
    }
    if (file->ended)
        return file->ended;
    filled = file->read(file, burst, n, &rc);
    for (unsigned i = 0; i < filled; i++)
        bytes += burst[i].origlen;
    atomic_store_explicit(&file->rx, file->rx + filled, memory_order_relaxed);
    atomic_store_explicit(&file->rx_bytes, file->rx_bytes + bytes, memory_order_relaxed);
    if (rc && rc != -EAGAIN)
        file->ended = rc;
    return filled ? (int)filled : file->ended;
}

static void file_release(struct source *source, unsigned queue, const struct packet *burst,
                         unsigned n)
{
    struct source_file *file = (struct source_file *)source;

    if (file->bytes.mapped)
        return;
    for (unsigned i = 0; i < n; i++)
        file_bytes_unpin(&file->bytes, burst[i].cookie);
}

static int file_fd(struct source *source, unsigned queue)
{
    struct source_file *file = (struct source_file *)source;

    return file->bytes.mapped ? -1 : file->bytes.fd;
}

static void file_stats(struct source *source, struct source_stats *ret_stats)
{
    struct source_file *file = (struct source_file *)source;

    *ret_stats = (struct source_stats){
        .rx = atomic_load_explicit(&file->rx, memory_order_relaxed),
        .rx_bytes = atomic_load_explicit(&file->rx_bytes, memory_order_relaxed),
        .errors = atomic_load_explicit(&file->errors, memory_order_relaxed),
    };
}

static void file_stop(struct source *source)
{
    struct source_file *file = (struct source_file *)source;

    atomic_store_explicit(&file->stopped, true, memory_order_relaxed);
}

static void file_close(struct source *source)
{
    struct source_file *file = (struct source_file *)source;

    file_bytes_close(&file->bytes);
    free(file);
}

const struct source_ops source_file_ops = {
    .name = "file",
    .live = false,
    .open = file_open,
    .rx = file_rx,
    .release = file_release,
    .fd = file_fd,
    .stats = file_stats,
    .stop = file_stop,
    .close = file_close,
};

const char *source_file_damage(struct source *source)
{
    struct source_file *file = (struct source_file *)source;

    return file->base.ops == &source_file_ops && file->damage[0] ? file->damage : NULL;
}

int file_damaged(struct source_file *file, const char *what, ...)
{
    char text[128];
    va_list args;

    va_start(args, what);
    vsnprintf(text, sizeof(text), what, args);
    va_end(args);
    if (!file->read)
        snprintf(file->damage, sizeof(file->damage),
                 "%.100s: %.100s; a file has to be pcap or pcapng", file->path, text);
    else
        snprintf(file->damage, sizeof(file->damage),
                 "%.50s: damaged at byte %llu%s: %.90s; what came before it was read; "
                 "try: editcap FILE OUT",
                 file->base.name, (unsigned long long)file->bytes.offset,
                 file->bytes.gzip ? " (unpacked)" : "", text);
    atomic_store_explicit(&file->errors, file->errors + 1, memory_order_relaxed);
    return -ENODATA;
}

int file_short(struct source_file *file, int rc, const char *what, size_t n)
{
    size_t have = (size_t)(file->bytes.end - file->bytes.at);

    switch (rc) {
    case -EAGAIN:
        return rc;
    case -ENODATA:
        return file_damaged(file, "it ends in %s: %zu of %zu bytes are there", what, have, n);
    case -EBADMSG:
        return file_damaged(file, "the gzip compression is broken or cut off");
    default:
        return file_damaged(file, "reading %s: %s", what, strerror(-rc));
    }
}

void file_interface_init(struct source_file *file, struct file_interface *interface,
                         uint32_t linktype, uint32_t snaplen, const char *name,
                         const char *description)
{
    int number;

    if (linktype == 12 || linktype == 14) /* DLT_RAW of some systems, written as it is */
        linktype = LINKTYPE_RAW;
    number = interface_add(*name ? name : file->base.name, "file",
                           *description ? description : file->path, (uint16_t)linktype, snaplen);
    *interface = (struct file_interface){
        .number = number < 0 ? INTERFACE_MAX - 1 : (uint16_t)number,
        .linktype = (uint16_t)linktype,
        .snaplen = snaplen,
        .mul = 1000,
        .div = 1,
    };
}

/* pcap: records of one interface. */
static unsigned pcap_read(struct source_file *file, struct packet *burst, unsigned n, int *ret_end)
{
    size_t header = file->modified ? PCAP_RECORD_MODIFIED_SIZE : PCAP_RECORD_SIZE;
    unsigned filled = 0;
    int rc;

    while (filled < n) {
        const uint8_t *at;
        uint32_t caplen, origlen;
        uint64_t ts_ns;

        rc = file_bytes_need(&file->bytes, header);
        if (rc) {
            if (rc != -ENODATA || file->bytes.at != file->bytes.end)
                rc = file_short(file, rc, "a record's header", header);
            goto end;
        }
        at = file->bytes.at;
        caplen = file_u32(file, at + 8);
        origlen = file_u32(file, at + 12);
        if (file->lengths_swapped || (file->lengths_unsure && caplen > origlen)) {
            origlen = caplen;
            caplen = file_u32(file, at + 12);
        }
        if (caplen > FILE_PACKET_MAX) {
            rc = file_damaged(file, "a packet of %u bytes", caplen);
            goto end;
        }
        rc = file_bytes_need(&file->bytes, header + caplen);
        if (rc) {
            rc = file_short(file, rc, "a packet", header + caplen);
            goto end;
        }
        at = file->bytes.at; /* the bytes may have moved */
        ts_ns = (uint64_t)file_u32(file, at) * 1000000000 +
                (uint64_t)file_u32(file, at + 4) * file->fraction_ns;
        file_packet(file, &burst[filled++], &file->interfaces[0], at + header, ts_ns, caplen,
                    origlen);
        file_bytes_take(&file->bytes, header + caplen);
    }
    return filled;
end:
    *ret_end = rc;
    return filled;
}

static int pcap_begin(struct source_file *file, uint32_t magic)
{
    const uint8_t *at;
    uint16_t major, minor;
    int rc = file_bytes_need(&file->bytes, PCAP_HEADER_SIZE);

    if (rc)
        return file_short(file, rc, "the file's header", PCAP_HEADER_SIZE);
    at = file->bytes.at;
    major = file_u16(file, at + 4);
    minor = file_u16(file, at + 6);
    if (major != 2)
        return file_damaged(file, "pcap version %u.%u is not known (2.4 is)", major, minor);
    file->modified = magic == MAGIC_MODIFIED;
    file->lengths_swapped = minor < 3;
    file->lengths_unsure = minor == 3;
    file->fraction_ns = magic == MAGIC_NS ? 1 : 1000;
    /* The upper half of the link type tells of frame check sequences. */
    file_interface_init(file, &file->interfaces[0], file_u32(file, at + 20) & 0xffff,
                        file_u32(file, at + 16), "", "");
    file_bytes_take(&file->bytes, PCAP_HEADER_SIZE);
    file->read = pcap_read;
    return 0;
}

/* Which format it is. -> 0, -EAGAIN, or -ENODATA with the damage */
static int read_magic(struct source_file *file)
{
    uint32_t magic;
    int rc = file_bytes_need(&file->bytes, sizeof(magic));

    if (rc == -ENODATA && file->bytes.at == file->bytes.end)
        return file_damaged(file, "the file is empty");
    if (rc)
        return file_short(file, rc, "its first bytes", sizeof(magic));
    for (int swapped = 0; swapped < 2; swapped++) {
        file->swapped = swapped;
        magic = file_u32(file, file->bytes.at);
        switch (magic) {
        case MAGIC_PCAPNG: /* each section tells its byte order */
            file->read = file_pcapng_read;
            return 0;
        case MAGIC_US:
        case MAGIC_NS:
        case MAGIC_MODIFIED:
            return pcap_begin(file, magic);
        }
    }
    return file_damaged(file, "this is neither pcap nor pcapng");
}
