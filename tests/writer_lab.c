#include "writer_lab.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/interface.h"
#include "../dataplane/packet.h"
#include "../dataplane/pcapng_block.h"
#include "../kfl-jit/ensure.h"
#include "../writer/chunk_recorder.h"
#include "../writer/segment.h"

#define FLUSH_NS (UINT64_C(500) * 1000000)

/* The streams of these tests are in no table. */
const char *stream_name(const struct stream_table *table, const struct stream *stream,
                        unsigned endpoint)
{
    return endpoint ? "server.lab" : "";
}

void stream_key_get(const struct stream_table *table, const struct stream *stream,
                    struct stream_key *ret_key)
{
    *ret_key = (struct stream_key){.port = {stream->id.port[0], stream->id.port[1]},
                                   .ip_protocol = stream->id.ip_protocol,
                                   .ip_version = stream->id.ip_version};
    for (unsigned i = 0; i < 2; i++) {
        memset(ret_key->addr[i] + 10, 0xff, 2);
        memcpy(ret_key->addr[i] + 12, stream->id.ip4[i], 4);
    }
}

void lab_begin(struct lab *lab, const char *parent, const struct writer_config *config)
{
    struct writer_config c = config ? *config : (struct writer_config){0};
    char error[WRITER_ERROR_SIZE];

    memset(lab, 0, sizeof(*lab));
    if (!interface_count())
        ensure(interface_add("lab0", "file", "a made-up interface", LINKTYPE_ETHERNET, 0) == 0);
    snprintf(lab->folder, sizeof(lab->folder), "%s/tapedeck-lab-XXXXXX", parent ? parent : "/tmp");
    ensure(mkdtemp(lab->folder));
    c.n_classifiers = c.n_classifiers ? c.n_classifiers : 1;
    c.chunk_size = c.chunk_size ? c.chunk_size : CHUNK_SIZE_MIN;
    c.chunk_memory = c.chunk_memory ? c.chunk_memory : 64 * c.chunk_size;
    lab->n_classifiers = c.n_classifiers;
    lab->now_ns = UINT64_C(1700000000000000000);
    if (writer_create(&c, &lab->writer, error)) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    for (unsigned i = 0; i < lab->n_classifiers; i++)
        ensure(!chunk_recorder_create(writer_pool(lab->writer), i, FLUSH_NS, &lab->recorder[i]));
}

void lab_end(struct lab *lab)
{
    writer_free(lab->writer);
    for (unsigned i = 0; i < lab->n_classifiers; i++)
        chunk_recorder_free(lab->recorder[i]);
    lab_run("rm -rf '%s'", lab->folder);
}

const char *lab_path(const struct lab *lab, const char *name)
{
    static char path[WRITER_PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", lab->folder, name);
    return path;
}

void lab_attach(struct lab *lab, unsigned slot, const char *name, uint64_t quota, bool rotate)
{
    const struct writer_job job = {
        .slot = slot,
        .name = name,
        .folder = lab_path(lab, name),
        .statement = "tcp and dst.port == 80",
        .quota = quota,
        .rotate = rotate,
    };
    char error[WRITER_ERROR_SIZE];

    if (writer_attach(lab->writer, &job, &lab->run[slot], error)) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
}

void lab_detach(struct lab *lab, unsigned slot)
{
    uint64_t before = lab->events[WRITER_EVENT_DETACHED];

    for (unsigned i = 0; i < lab->n_classifiers; i++)
        lab->recorder[i]->ops->released(lab->recorder[i], UINT64_C(1) << slot, lab->now_ns);
    ensure(!writer_detach(lab->writer, slot));
    for (unsigned i = 0; lab->events[WRITER_EVENT_DETACHED] == before; i++) {
        ensure(i < 1000000);
        if (!writer_step(lab->writer, lab->now_ns))
            writer_wait(lab->writer, 1000000);
        lab_events(lab);
    }
}

void lab_settle(struct lab *lab)
{
    /* Three turns in a row with nothing under way are the end, or so many in which it does not come
     * back: a disk may be slow, that of a simulation may never answer. */
    for (unsigned idle = 0, waits = 0; idle < 3 && waits < 200;) {
        if (writer_step(lab->writer, lab->now_ns))
            idle = waits = 0;
        else if (writer_wait(lab->writer, 3000000))
            waits++;
        else
            idle++;
        lab_events(lab);
    }
}

void lab_events(struct lab *lab)
{
    struct writer_event event;

    while (writer_poll(lab->writer, &event)) {
        lab->events[event.type]++;
        lab->last[event.type] = event;
    }
}

struct stream lab_stream(uint64_t number)
{
    return (struct stream){
        .id = {.ip4 = {{10, 0, 0, 1}, {10, 0, 0, 2}},
               .port = {(uint16_t)(1024 + number % 60000), 80},
               .ip_protocol = 6,
               .ip_version = 4},
        .number = number,
        .flags = STREAM_NAMED,
        .l4 = KFL_L4_TCP,
    };
}

void lab_frame(uint8_t *frame, uint32_t size, const struct stream *stream, uint64_t ts_ns)
{
    static const uint8_t head[54] = {2, 0, 0, 0,    0, 2,  2, 0, 0, 0,  0, 1, 8, 0,  0x45, 0, 0,
                                     0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};
    uint16_t ip_size = (uint16_t)(size - 14);

    ensure(size >= sizeof(head) + 16 && size < 65536 + 14);
    memset(frame, (int)(stream->number & 0xff), size);
    memcpy(frame, head, sizeof(head));
    frame[16] = (uint8_t)(ip_size >> 8);
    frame[17] = (uint8_t)ip_size;
    frame[34] = (uint8_t)(stream->id.port[0] >> 8);
    frame[35] = (uint8_t)stream->id.port[0];
    frame[37] = 80;
    frame[46] = 0x50;
    frame[47] = 0x10;
    memcpy(frame + 54, &stream->number, 8);
    memcpy(frame + 62, &ts_ns, 8);
}

bool lab_packet(struct lab *lab, unsigned classifier, unsigned slot, struct stream *stream,
                uint64_t ts_ns, uint32_t size)
{
    struct recorder *recorder = lab->recorder[classifier];
    static _Thread_local uint8_t frame[65536 + 14];
    struct pcapng_packet packet = {.data = frame,
                                   .ts_ns = ts_ns,
                                   .caplen = size,
                                   .origlen = size,
                                   .flags = PCAPNG_FLAGS_INBOUND};
    uint8_t *at = recorder->ops->reserve(recorder, slot, pcapng_packet_size(size, 0), 0);

    stream->last_ns = ts_ns;
    stream->first_ns = stream->first_ns ? stream->first_ns : ts_ns;
    stream->packets[0]++;
    if (!at)
        return false;
    lab_frame(frame, size, stream, ts_ns);
    pcapng_packet_block(at, &packet);
    recorder->ops->commit(recorder, slot, stream, ts_ns, size, 0);
    return true;
}

const char *lab_segment(const struct lab *lab, const char *recording, unsigned n)
{
    static char path[WRITER_PATH_MAX];
    struct segment_info *segments;
    char folder[WRITER_PATH_MAX];
    unsigned n_segments;

    snprintf(folder, sizeof(folder), "%s", lab_path(lab, recording));
    ensure(!segment_list(folder, recording, &segments, &n_segments, NULL));
    path[0] = 0;
    if (n < n_segments)
        segment_path(folder, recording, &segments[n].name, SEGMENT_PCAPNG, path, sizeof(path));
    free(segments);
    return path;
}

long lab_run(const char *format, ...)
{
    char command[4096], line[256] = "0";
    va_list args;
    FILE *pipe;
    long value;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    pipe = popen(command, "r");
    ensure(pipe);
    if (!fgets(line, sizeof(line), pipe))
        line[0] = 0;
    value = strtol(line, NULL, 10);
    while (fgets(line, sizeof(line), pipe))
        continue;
    return pclose(pipe) ? -1 : value;
}

long lab_packets(const char *path)
{
    /* Both tools speak on stderr when something is odd. */
    long odd = lab_run("{ tshark -r '%s' -T fields -e frame.number; capinfos -c '%s'; } 2>&1 "
                       ">/dev/null | grep -cv '^Running as user'; true",
                       path, path);

    if (odd)
        return -1;
    return lab_run("capinfos -TMrc '%s' | cut -f2", path);
}
