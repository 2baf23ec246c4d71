/* The control socket: requests, garbage, and clients that are slow or many. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../mgmt/control.h"
#include "../mgmt/files.h"
#include "../mgmt/units.h"
#include "tap.h"

enum { CLIENTS_MAX = 50, TEXT_LARGE = 8 << 20 };

static char folder[] = "/tmp/test_control.XXXXXX";

struct server {
    struct control *control;
    pthread_t thread;
    _Atomic int end;
    _Atomic uint64_t skew_ns; /* the clock is put forward by this */
    _Atomic unsigned n_handled;
};

static struct doc *handle(void *context, const struct doc *request, const struct control_peer *peer)
{
    struct server *server = context;
    struct doc *reply = control_ok();

    atomic_fetch_add(&server->n_handled, 1);
    if (!strcmp(doc_text(request, "verb", ""), "large")) {
        char *text = malloc(TEXT_LARGE + 1);

        memset(text, 'x', TEXT_LARGE);
        text[TEXT_LARGE] = 0;
        doc_set_text(reply, "text", text);
        free(text);
    } else if (!strcmp(doc_text(request, "verb", ""), "refuse")) {
        doc_free(reply);
        return control_refuse(2, "not %s", "today");
    }
    doc_set_uint(reply, "uid", peer->uid);
    doc_set_int(reply, "echo", doc_int(request, "n", -1));
    return reply;
}

static void *serve(void *context)
{
    struct server *server = context;

    while (!atomic_load(&server->end)) {
        struct pollfd fd = {.fd = control_fd(server->control), .events = POLLIN};
        struct timespec now;

        poll(&fd, 1, 10);
        clock_gettime(CLOCK_MONOTONIC, &now);
        control_step(server->control, (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec +
                                          atomic_load(&server->skew_ns));
    }
    return NULL;
}

static const char *path(void)
{
    static char text[64];

    snprintf(text, sizeof(text), "%s/sock", folder);
    return text;
}

static void begin(struct server *server)
{
    struct control_config config = {.path = path(),
                                    .group = "",
                                    .read_group = "",
                                    .clients_max = CLIENTS_MAX,
                                    .handle = handle,
                                    .context = server};
    char error[CONTROL_ERROR_SIZE] = "";

    memset(server, 0, sizeof(*server));
    CU_ASSERT_EQUAL_FATAL(control_open(&config, &server->control, error), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void end(struct server *server)
{
    atomic_store(&server->end, 1);
    pthread_join(server->thread, NULL);
    control_close(server->control);
    CU_ASSERT(access(path(), F_OK));
}

static int raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path());
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

static int64_t ask(int64_t n)
{
    char error[CONTROL_ERROR_SIZE] = "";
    struct doc *request = doc_object(), *reply = NULL;
    int64_t echo = -2;

    doc_set_text(request, "verb", "echo");
    doc_set_int(request, "n", n);
    if (control_call(path(), request, &reply, error))
        tap_note("%s", error);
    else
        echo = doc_int(reply, "echo", -3);
    doc_free(request);
    doc_free(reply);
    return echo;
}

/* What comes until the connection is closed. */
static char *drain(int fd)
{
    static char text[4096];
    size_t size = 0;
    ssize_t n;

    while (size < sizeof(text) - 1 && (n = recv(fd, text + size, sizeof(text) - 1 - size, 0)) > 0)
        size += (size_t)n;
    text[size] = 0;
    close(fd);
    return text;
}

static void requests_are_answered(void)
{
    struct doc *request = doc_object(), *reply = NULL;
    char error[CONTROL_ERROR_SIZE] = "";
    struct server server;
    struct stat st;

    begin(&server);
    CU_ASSERT_EQUAL(ask(7), 7);
    CU_ASSERT_EQUAL(stat(path(), &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
    doc_set_text(request, "verb", "refuse");
    CU_ASSERT_EQUAL_FATAL(control_call(path(), request, &reply, error), 0);
    CU_ASSERT_FALSE(doc_bool(reply, "ok", true));
    CU_ASSERT_EQUAL(doc_int(reply, "code", 0), 2);
    CU_ASSERT_STRING_EQUAL(doc_text(reply, "error", ""), "not today");
    doc_free(reply);
    doc_set_text(request, "verb", "large");
    CU_ASSERT_EQUAL_FATAL(control_call(path(), request, &reply, error), 0);
    CU_ASSERT_EQUAL(strlen(doc_text(reply, "text", "")), TEXT_LARGE);
    doc_free(reply);
    doc_free(request);
    end(&server);
}

static void several_requests_on_one_connection(void)
{
    static const char text[] = "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n"
                               "{\"n\":6}\n{\"n\":7}\n{\"n\":8}\n{\"n\":9}\n";
    struct server server;
    char *answers;
    int fd;

    begin(&server);
    fd = raw();
    CU_ASSERT_EQUAL(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    while (atomic_load(&server.n_handled) < 9)
        usleep(1000);
    shutdown(fd, SHUT_WR);
    answers = drain(fd);
    for (char n = '1'; n <= '9'; n++) {
        char want[] = "\"echo\":N";

        want[7] = n;
        CU_ASSERT_PTR_NOT_NULL(strstr(answers, want));
    }
    end(&server);
}

static void garbage_is_answered_and_closed(void)
{
    static const char *const garbage[] = {
        "\n",
        "hello\n",
        "[1,2]\n",
        "5\n",
        "{\"verb\":}\n",
        "\xff\xfe\xfd\n",
        "{\"a\":\"\xff\"}\n",
        "GET / HTTP/1.1\r\n\r\n",
        "{}{}\n",
    };
    struct server server;

    begin(&server);
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        int fd = raw();

        send(fd, garbage[i], strlen(garbage[i]), MSG_NOSIGNAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(drain(fd), "\"ok\":false"));
    }
    CU_ASSERT_EQUAL(atomic_load(&server.n_handled), 0);
    CU_ASSERT_EQUAL(ask(1), 1);
    end(&server);
}

static void random_bytes_do_no_harm(void)
{
    static const char letters[] = "{}[]\":,\n\\u0truefalsn19.eE- x\xc3\xa4\xff";
    struct server server;
    uint64_t random = 88172645463325252ull;

    begin(&server);
    for (unsigned i = 0; i < 300; i++) {
        uint8_t bytes[700];
        int fd = raw();

        for (size_t k = 0; k < sizeof(bytes); k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[k] = (uint8_t)letters[random % (sizeof(letters) - 1)];
        }
        send(fd, bytes, random % sizeof(bytes), MSG_NOSIGNAL);
        close(fd);
    }
    CU_ASSERT_EQUAL(ask(1), 1);
    end(&server);
}

static void a_request_that_is_too_large_is_refused(void)
{
    struct server server;
    char part[4096];
    int fd;

    begin(&server);
    memset(part, 'a', sizeof(part));
    fd = raw();
    for (unsigned i = 0; i < 1000; i++)
        if (send(fd, part, sizeof(part), MSG_NOSIGNAL) < 0)
            break;
    CU_ASSERT_EQUAL(ask(1), 1);
    close(fd);
    end(&server);
}

static void a_client_that_never_ends_its_request_is_dropped(void)
{
    struct server server;
    int fd;

    begin(&server);
    fd = raw();
    CU_ASSERT_EQUAL(send(fd, "{\"verb\"", 7, 0), 7);
    CU_ASSERT_EQUAL(ask(1), 1); /* it has been seen by now */
    atomic_store(&server.skew_ns, 11 * NS_PER_S);
    CU_ASSERT_STRING_EQUAL(drain(fd), "");
    CU_ASSERT_EQUAL(ask(2), 2);
    end(&server);
}

static void a_client_that_does_not_read_is_dropped(void)
{
    static const char text[] = "{\"verb\":\"large\"}\n";
    struct server server;
    struct pollfd hung;
    int fd;

    begin(&server);
    fd = raw();
    CU_ASSERT_EQUAL(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    while (!atomic_load(&server.n_handled))
        usleep(1000);
    CU_ASSERT_EQUAL(ask(1), 1); /* others do not wait for it */
    atomic_store(&server.skew_ns, 11 * NS_PER_S);
    hung = (struct pollfd){.fd = fd, .events = POLLRDHUP};
    CU_ASSERT_EQUAL(poll(&hung, 1, 20000), 1);
    close(fd);
    end(&server);
}

static void more_clients_than_places(void)
{
    struct server server;
    int fds[CLIENTS_MAX * 3];

    begin(&server);
    for (unsigned i = 0; i < CLIENTS_MAX * 3; i++)
        fds[i] = raw();
    CU_ASSERT_EQUAL(ask(1), 1); /* who is silent makes room */
    CU_ASSERT(control_clients(server.control) <= CLIENTS_MAX);
    for (unsigned i = 0; i < CLIENTS_MAX * 3; i++)
        close(fds[i]);
    end(&server);
}

static void a_second_daemon_is_refused_and_a_dead_one_is_not_in_the_way(void)
{
    struct control_config config = {
        .path = path(), .group = "", .read_group = "", .clients_max = 2, .handle = handle};
    char error[CONTROL_ERROR_SIZE] = "";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct server server;
    struct control *second;
    int fd;

    begin(&server);
    CU_ASSERT_EQUAL(control_open(&config, &second, error), -EADDRINUSE);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "another tapedeckd answers there"));
    end(&server);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, path());
    CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd); /* killed: its socket is still there */
    CU_ASSERT_EQUAL_FATAL(control_open(&config, &second, error), 0);
    control_close(second);
    config.group = "no-such-group-here";
    CU_ASSERT_EQUAL(control_open(&config, &second, error), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "there is no such group"));
}

static void no_daemon_is_said(void)
{
    char error[CONTROL_ERROR_SIZE] = "";
    struct doc *request = doc_object(), *reply;

    CU_ASSERT_EQUAL(control_call("/nowhere/sock", request, &reply, error), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "is tapedeckd running?"));
    doc_free(request);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"requests are answered", requests_are_answered},
        {"several requests on one connection", several_requests_on_one_connection},
        {"garbage is answered and closed", garbage_is_answered_and_closed},
        {"random bytes do no harm", random_bytes_do_no_harm},
        {"a request that is too large is refused", a_request_that_is_too_large_is_refused},
        {"a client that never ends its request is dropped",
         a_client_that_never_ends_its_request_is_dropped},
        {"a client that does not read is dropped", a_client_that_does_not_read_is_dropped},
        {"more clients than places", more_clients_than_places},
        {"a second daemon is refused, a dead one not in the way",
         a_second_daemon_is_refused_and_a_dead_one_is_not_in_the_way},
        {"no daemon is said", no_daemon_is_said},
        {NULL, NULL},
    };
    int status;

    if (!mkdtemp(folder))
        return 1;
    status = tap_main(argc, argv, "control", tests);
    folder_remove(folder);
    return status;
}
