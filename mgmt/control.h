/* control.h - the control socket: who may, and what they ask, a JSON line each way.
 *
 *     {"verb":"job.list","search":"web"}  ->  {"ok":true,"rows":[...]}
 *     ...                                 ->  {"ok":false,"code":2,"error":"..."}
 *
 * `code` is the exit status of the command. A client may send further requests; each is answered
 * before the next is read. Everything is bounded: the size of a request, the memory of all of them
 * together, the number of clients, and the time a client may take to send the rest of a request or
 * to read its answer. Garbage closes the connection after an answer that says so.
 *
 * Who may is decided by the credentials that the kernel has of the peer: root and the daemon's own
 * user everything, members of `group` as well, members of `read_group` what changes nothing. The
 * socket's mode keeps others out: 0600, 0660 of the one group, and 0666 only when there are two.
 *
 * Thread: mgmt; control_fd() becomes readable when control_step() has something to do. */
#ifndef MGMT_CONTROL_H
#define MGMT_CONTROL_H

#include <stdint.h>
#include <sys/types.h>

#include "doc.h"

enum { CONTROL_ERROR_SIZE = 512, CONTROL_REQUEST_MAX = 512 << 10 };

struct control_peer {
    uid_t uid;
    pid_t pid;
    bool may_write; /* else it may only look */
};

struct control_config {
    const char *path;
    const char *group;      /* whose members may do everything; "": none */
    const char *read_group; /* whose members may look; "": none */
    unsigned clients_max;
    /* -> the reply, which is freed by the caller. */
    struct doc *(*handle)(void *context, const struct doc *request,
                          const struct control_peer *peer);
    void *context;
};

struct control;

int control_open(const struct control_config *config, struct control **ret_control,
                 char reterr_text[static CONTROL_ERROR_SIZE]);
void control_close(struct control *control); /* removes the socket */
int control_fd(const struct control *control);
void control_step(struct control *control, uint64_t steady_ns);
unsigned control_clients(const struct control *control);

/* Replies. */
struct doc *control_ok(void);
struct doc *control_refuse(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The other side: connects, asks, waits for the reply. -> 0, -ECONNREFUSED and -ENOENT (no
 * daemon), or another -errno; with the message. */
int control_call(const char *path, const struct doc *request, struct doc **ret_reply,
                 char reterr_text[static CONTROL_ERROR_SIZE]);

#endif
