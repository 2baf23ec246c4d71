/* writer_lab.h - for tests of the writer: jobs, made-up streams and packets, and a look at what is
 * on disk with the tools that people use. */
#ifndef TESTS_WRITER_LAB_H
#define TESTS_WRITER_LAB_H

#include "../dataplane/recorder.h"
#include "../dataplane/stream.h"
#include "../writer/writer.h"

enum { LAB_CLASSIFIERS_MAX = 4 };

struct lab {
    char folder[256]; /* of its own, removed at the end */
    struct writer *writer;
    unsigned n_classifiers;
    struct recorder *recorder[LAB_CLASSIFIERS_MAX];
    uint32_t run[64];
    uint64_t now_ns;
    uint64_t events[8]; /* counted by type */
    struct writer_event last[8];
};

/* A folder below `parent` (null: the system's for temporary files). config: may be null; n
 * classifiers and chunk sizes are filled in where 0. */
void lab_begin(struct lab *lab, const char *parent, const struct writer_config *config);
void lab_end(struct lab *lab);
const char *lab_path(const struct lab *lab, const char *name); /* static */

void lab_attach(struct lab *lab, unsigned slot, const char *name, uint64_t quota, bool rotate);
/* Hands on what recorders hold, detaches, and waits for the event. */
void lab_detach(struct lab *lab, unsigned slot);
/* Turns the crank until nothing is to be done and nothing under way. */
void lab_settle(struct lab *lab);
void lab_events(struct lab *lab);

/* A TCP stream between 10.0.0.1:1024+number and 10.0.0.2:80. */
struct stream lab_stream(uint64_t number);
/* One packet of it with its own number in the bytes. -> taken? */
bool lab_packet(struct lab *lab, unsigned classifier, unsigned slot, struct stream *stream,
                uint64_t ts_ns, uint32_t size);
/* size: bytes of the Ethernet frame. Its bytes depend on stream, ts and size alone. */
void lab_frame(uint8_t *frame, uint32_t size, const struct stream *stream, uint64_t ts_ns);

/* The only segment's path, or the n-th's. Static. */
const char *lab_segment(const struct lab *lab, const char *recording, unsigned n);
/* Runs a command; its first line of output as a number, -1 if it fails. */
long lab_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Packets that tshark and capinfos read without a word of complaint; -1: they complain. */
long lab_packets(const char *path);

#endif
