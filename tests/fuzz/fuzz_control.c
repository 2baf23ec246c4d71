/* The control socket takes any bytes, in any pieces: it answers or closes, and stays. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../kfl-jit/ensure.h"
#include "../../mgmt/control.h"
#include "../../mgmt/units.h"

enum { TURNS_MAX = 64, PIECE = 512 };

static char folder[] = "/tmp/fuzz_control.XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct control *control;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads what the verbs read, of whatever type it is. */
static struct doc *handle(void *context, const struct doc *request, const struct control_peer *peer)
{
    static const char *const keys[] = {"verb", "name", "kfl", "search", "ip", "start", "on_quota"};
    struct doc *reply = control_ok();

    ensure(peer->may_write);
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        doc_set_text(reply, keys[i], doc_text(request, keys[i], ""));
    doc_set_int(reply, "iterations", doc_int(request, "iterations", 1));
    doc_set_uint(reply, "quota", doc_uint(request, "quota", 0));
    doc_set_bool(reply, "keep_recording", doc_bool(request, "keep_recording", false));
    return reply;
}

static void end(void)
{
    control_close(control);
    rmdir(folder);
}

static void begin(void)
{
    struct control_config config = {.path = address.sun_path,
                                    .group = "",
                                    .read_group = "",
                                    .clients_max = 4,
                                    .handle = handle};
    char error[CONTROL_ERROR_SIZE];

    ensure(mkdtemp(folder) != NULL);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", folder);
    ensure(control_open(&config, &control, error) == 0);
    atexit(end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t now_ns;
    static char answer[1 << 16];
    size_t sent = 0;
    int fd;

    if (!control)
        begin();
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ensure(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    for (unsigned i = 0; i < TURNS_MAX && sent < size; i++) {
        size_t piece = size - sent < PIECE ? size - sent : PIECE;
        ssize_t n = send(fd, data + sent, piece, MSG_NOSIGNAL);

        if (n < 0)
            break; /* closed: it was no request */
        sent += (size_t)n;
        control_step(control, now_ns += NS_PER_MS);
        while (recv(fd, answer, sizeof(answer), 0) > 0)
            ;
    }
    close(fd);
    for (unsigned i = 0; i < TURNS_MAX && control_clients(control); i++)
        control_step(control, now_ns += NS_PER_S);
    ensure(control_clients(control) == 0);
    return 0;
}
