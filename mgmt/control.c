#include "control.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "units.h"

enum {
    EVENTS = 64,
    BACKLOG = 1024,         /* as many as may come at once; the kernel has a limit of its own */
    PEER_GROUPS_MAX = 1024, /* of a peer; who has more counts by the main one */
    INPUT_FIRST = 4096,
    REQUESTS_A_TURN = 4, /* of one client: others have their turn */
    INPUT_ALL_MAX = 64 << 20,
};

#define NOBODYS ((gid_t)-1)

static const uint64_t patience_ns = 10 * NS_PER_S;

struct client {
    int fd; /* -1: a free place */
    struct control_peer peer;
    char *input; /* of a request that is not complete, or waits for its turn */
    size_t input_size, input_capacity;
    char *output; /* of a reply that is not sent yet; null: none */
    size_t output_size, output_sent;
    uint64_t moved_ns; /* steady time of the last progress */
    bool closing;      /* when the reply is sent */
};

struct control {
    struct control_config config;
    struct sockaddr_un address;
    int fd, epoll;
    struct client *clients;
    _Atomic unsigned n_clients; /* control_clients() is asked from other threads, too */
    gid_t gid, read_gid;        /* of the groups; NOBODYS: none */
    size_t input_all;           /* bytes of all input buffers */
};

static int listen_on(struct control *control, char *reterr_text);
static int give_to_groups(struct control *control, char *reterr_text);
static int find_group(const char *key, const char *name, gid_t *ret_gid, char *reterr_text);
static void accept_clients(struct control *control, uint64_t steady_ns);
static void close_most_silent(struct control *control);
static bool may(const struct control *control, int fd, struct control_peer *ret_peer);
static void turn_away(int fd);
static void serve(struct control *control, struct client *client, uint64_t steady_ns);
static bool has_request(const struct client *client);
static bool receive(struct control *control, struct client *client, uint64_t steady_ns);
static bool grow(struct control *control, struct client *client);
static bool answer_next(struct control *control, struct client *client);
static void reply(struct client *client, struct doc *doc);
static bool send_some(struct client *client, uint64_t steady_ns);
static void watch(struct control *control, struct client *client);
static void close_client(struct control *control, struct client *client);

int control_open(const struct control_config *config, struct control **ret_control,
                 char reterr_text[static CONTROL_ERROR_SIZE])
{
    struct control *control = calloc(1, sizeof(*control));
    int err = -ENOMEM;

    if (!control)
        return -ENOMEM;
    control->config = *config;
    control->fd = control->epoll = -1;
    control->address.sun_family = AF_UNIX;
    if (strlen(config->path) >= sizeof(control->address.sun_path)) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE,
                 "control.socket %.200s: a path of at most %zu bytes", config->path,
                 sizeof(control->address.sun_path) - 1);
        free(control);
        return -ENAMETOOLONG;
    }
    strcpy(control->address.sun_path, config->path);
    control->clients = calloc(config->clients_max, sizeof(control->clients[0]));
    for (unsigned i = 0; control->clients && i < config->clients_max; i++)
        control->clients[i].fd = -1;
    if (control->clients)
        err = listen_on(control, reterr_text);
    else
        snprintf(reterr_text, CONTROL_ERROR_SIZE, "%s", strerror(ENOMEM));
    if (err) {
        if (control->fd >= 0)
            close(control->fd);
        if (control->epoll >= 0)
            close(control->epoll);
        free(control->clients);
        free(control);
        return err;
    }
    *ret_control = control;
    return 0;
}

void control_close(struct control *control)
{
    if (!control)
        return;
    for (unsigned i = 0; i < control->config.clients_max; i++)
        if (control->clients[i].fd >= 0)
            close_client(control, &control->clients[i]);
    unlink(control->address.sun_path);
    close(control->fd);
    close(control->epoll);
    free(control->clients);
    free(control);
}

int control_fd(const struct control *control)
{
    return control->epoll;
}

unsigned control_clients(const struct control *control)
{
    return control->n_clients;
}

void control_step(struct control *control, uint64_t steady_ns)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(control->epoll, events, EVENTS, 0);

    for (int i = 0; i < n; i++) {
        struct client *client = events[i].data.ptr;

        if (!client)
            accept_clients(control, steady_ns);
        else if (client->fd >= 0)
            serve(control, client, steady_ns);
    }
    for (unsigned i = 0; i < control->config.clients_max && control->n_clients; i++) {
        struct client *client = &control->clients[i];

        /* Between requests a client may be silent as long as it likes. */
        if (client->fd >= 0 && (client->output || client->input_size) &&
            steady_ns - client->moved_ns > patience_ns)
            close_client(control, client);
    }
}

struct doc *control_ok(void)
{
    struct doc *doc = doc_object();

    doc_set_bool(doc, "ok", true);
    return doc;
}

struct doc *control_refuse(int code, const char *format, ...)
{
    struct doc *doc = doc_object();
    char text[4096];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    doc_set_bool(doc, "ok", false);
    doc_set_int(doc, "code", code);
    doc_set_text(doc, "error", text);
    return doc;
}

static int listen_on(struct control *control, char *reterr_text)
{
    struct sockaddr *address = (struct sockaddr *)&control->address;
    const char *path = control->address.sun_path;
    struct epoll_event event = {.events = EPOLLIN};
    mode_t mask;
    int err = 0;

    control->epoll = epoll_create1(EPOLL_CLOEXEC);
    control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->fd < 0 || control->epoll < 0) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE, "%s: %s", path, strerror(errno));
        return -errno;
    }
    if (!connect(control->fd, address, sizeof(control->address))) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE,
                 "%s: another tapedeckd answers there: stop it, or set control.socket", path);
        return -EADDRINUSE;
    }
    if (errno == ECONNREFUSED)
        unlink(path); /* left by one that was killed */
    mask = umask(0177);
    if (bind(control->fd, address, sizeof(control->address)) || listen(control->fd, BACKLOG))
        err = -errno;
    umask(mask);
    if (err) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE, "%s: %s", path, strerror(-err));
        return err;
    }
    err = give_to_groups(control, reterr_text);
    if (!err && epoll_ctl(control->epoll, EPOLL_CTL_ADD, control->fd, &event))
        err = -errno;
    return err;
}

static int find_group(const char *key, const char *name, gid_t *ret_gid, char *reterr_text)
{
    const struct group *group;

    *ret_gid = NOBODYS;
    if (!*name)
        return 0;
    group = getgrnam(name);
    if (!group) {
        snprintf(
            reterr_text, CONTROL_ERROR_SIZE,
            "%s = \"%.100s\": there is no such group: make it with groupadd, or leave it empty",
            key, name);
        return -ENOENT;
    }
    *ret_gid = group->gr_gid;
    return 0;
}

static int give_to_groups(struct control *control, char *reterr_text)
{
    gid_t gid;
    mode_t mode = 0660;
    int err = find_group("control.group", control->config.group, &control->gid, reterr_text);

    if (!err)
        err = find_group("control.read_group", control->config.read_group, &control->read_gid,
                         reterr_text);
    if (err)
        return err;
    gid = control->gid != NOBODYS ? control->gid : control->read_gid;
    if (gid == NOBODYS)
        return 0;
    if (control->read_gid != NOBODYS && control->read_gid != gid)
        mode = 0666;
    if (chown(control->address.sun_path, (uid_t)-1, gid) ||
        chmod(control->address.sun_path, mode)) {
        snprintf(reterr_text, CONTROL_ERROR_SIZE, "%s: %s", control->address.sun_path,
                 strerror(errno));
        return -errno;
    }
    return 0;
}

static void accept_clients(struct control *control, uint64_t steady_ns)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        struct client *client = control->clients;
        struct control_peer peer;
        struct epoll_event event = {.events = EPOLLIN};
        int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
            return;
        if (!may(control, fd, &peer)) {
            turn_away(fd);
            continue;
        }
        if (control->n_clients == control->config.clients_max)
            close_most_silent(control);
        while (client->fd >= 0)
            client++;
        event.data.ptr = client;
        if (epoll_ctl(control->epoll, EPOLL_CTL_ADD, fd, &event)) {
            close(fd);
            continue;
        }
        *client = (struct client){.fd = fd, .peer = peer, .moved_ns = steady_ns};
        control->n_clients++;
    }
}

/* All places are taken: whoever has been silent for longest makes room. */
static void close_most_silent(struct control *control)
{
    struct client *silent = control->clients;

    for (unsigned i = 1; i < control->config.clients_max; i++)
        if (control->clients[i].moved_ns < silent->moved_ns)
            silent = &control->clients[i];
    close_client(control, silent);
}

static bool may(const struct control *control, int fd, struct control_peer *ret_peer)
{
    struct ucred credentials;
    gid_t groups[PEER_GROUPS_MAX + 1];
    socklen_t size = sizeof(credentials), groups_size = PEER_GROUPS_MAX * sizeof(groups[0]);
    bool may_read = false;
    size_t n = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) || size != sizeof(credentials))
        return false;
    if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_size))
        n = groups_size / sizeof(groups[0]);
    groups[n++] = credentials.gid;
    *ret_peer = (struct control_peer){.uid = credentials.uid, .pid = credentials.pid};
    ret_peer->may_write = credentials.uid == 0 || credentials.uid == geteuid();
    for (size_t i = 0; i < n; i++) {
        ret_peer->may_write |= groups[i] == control->gid && control->gid != NOBODYS;
        may_read |= groups[i] == control->read_gid && control->read_gid != NOBODYS;
    }
    return may_read || ret_peer->may_write;
}

/* A line that fits any socket's buffer; who does not read it is gone anyway. */
static void turn_away(int fd)
{
    static const char line[] =
        "{\"ok\":false,\"code\":1,\"error\":\"permission denied: be root, or in the group that "
        "control.group or control.read_group names\"}\n";

    if (send(fd, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        shutdown(fd, SHUT_WR);
    close(fd);
}

static void serve(struct control *control, struct client *client, uint64_t steady_ns)
{
    bool alive = true;

    if (client->output)
        alive = send_some(client, steady_ns);
    else if (!has_request(client))
        alive = receive(control, client, steady_ns);

    for (unsigned i = 0; alive && !client->output && i < REQUESTS_A_TURN; i++) {
        if (!answer_next(control, client))
            break;
        alive = send_some(client, steady_ns);
    }
    if (!alive || (client->closing && !client->output))
        close_client(control, client);
    else
        watch(control, client);
}

static bool has_request(const struct client *client)
{
    return client->input_size && memchr(client->input, '\n', client->input_size);
}

/* -> false: the connection is over. */
static bool receive(struct control *control, struct client *client, uint64_t steady_ns)
{
    ssize_t n;

    if (client->input_size == client->input_capacity && !grow(control, client)) {
        reply(client, control_refuse(2, "a request has at most %d bytes", CONTROL_REQUEST_MAX));
        client->closing = true;
        return send_some(client, steady_ns);
    }
    n = recv(client->fd, client->input + client->input_size,
             client->input_capacity - client->input_size, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (!n)
        return false;
    if (!client->input_size)
        client->moved_ns = steady_ns; /* the rest must come in time */
    client->input_size += (size_t)n;
    return true;
}

static bool grow(struct control *control, struct client *client)
{
    size_t capacity = client->input_capacity ? client->input_capacity * 2 : INPUT_FIRST;
    char *input;

    if (capacity > CONTROL_REQUEST_MAX || control->input_all + capacity > INPUT_ALL_MAX)
        return false;
    input = realloc(client->input, capacity);
    if (!input)
        return false;
    control->input_all += capacity - client->input_capacity;
    client->input = input;
    client->input_capacity = capacity;
    return true;
}

/* -> false: no whole request is there. */
static bool answer_next(struct control *control, struct client *client)
{
    char *end = client->input_size ? memchr(client->input, '\n', client->input_size) : NULL;
    char error[DOC_ERROR_SIZE];
    struct doc *request;
    size_t size;

    if (!end || client->closing)
        return false;
    size = (size_t)(end - client->input);
    request = doc_parse(client->input, size, error);
    if (request && doc_is_object(request)) {
        reply(client, control->config.handle(control->config.context, request, &client->peer));
    } else {
        reply(client, control_refuse(2, "the request is no JSON object: %s", request ? "" : error));
        client->closing = true;
    }
    doc_free(request);
    client->input_size -= size + 1;
    memmove(client->input, end + 1, client->input_size);
    if (!client->input_size) {
        control->input_all -= client->input_capacity;
        free(client->input);
        client->input = NULL;
        client->input_capacity = 0;
    }
    return true;
}

static void reply(struct client *client, struct doc *doc)
{
    client->output = doc_print(doc, false);
    client->output_size = strlen(client->output);
    client->output[client->output_size++] = '\n'; /* in place of the terminator */
    client->output_sent = 0;
    doc_free(doc);
}

/* -> false: the connection is over. */
static bool send_some(struct client *client, uint64_t steady_ns)
{
    while (client->output) {
        ssize_t n = send(client->fd, client->output + client->output_sent,
                         client->output_size - client->output_sent, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        client->moved_ns = steady_ns;
        client->output_sent += (size_t)n;
        if (client->output_sent == client->output_size) {
            free(client->output);
            client->output = NULL;
        }
    }
    return true;
}

/* Readable requests wait while an answer is on its way; those that are here already come next. */
static void watch(struct control *control, struct client *client)
{
    struct epoll_event event = {.data.ptr = client};

    event.events = client->output || has_request(client) ? EPOLLOUT : EPOLLIN;
    epoll_ctl(control->epoll, EPOLL_CTL_MOD, client->fd, &event);
}

static void close_client(struct control *control, struct client *client)
{
    close(client->fd);
    control->input_all -= client->input_capacity;
    free(client->input);
    free(client->output);
    *client = (struct client){.fd = -1};
    control->n_clients--;
}
