/* What the recorder may do once it runs: another user, few capabilities, few system calls. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../mgmt/rights.h"
#include "tap.h"

enum { SAID_SIZE = 4096, FINE = 42, REFUSED = 43 };

/* Runs it in a process of its own. -> its wait status, and what it wrote to stderr */
static int in_child(void (*run)(void), char said[static SAID_SIZE])
{
    int ends[2], status;
    size_t size = 0;
    ssize_t n;
    pid_t child;

    if (pipe(ends) || (child = fork()) < 0)
        return -1;
    if (!child) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        run();
        _exit(FINE);
    }
    close(ends[1]);
    while ((n = read(ends[0], said + size, SAID_SIZE - 1 - size)) > 0)
        size += (size_t)n;
    said[size] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    return status;
}

static void filter(const char *mode)
{
    char error[RIGHTS_ERROR_SIZE];

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || rights_filter(mode, error))
        _exit(REFUSED);
}

static int go_ends[2];

static void *trace_later(void *context)
{
    char byte;

    if (read(go_ends[0], &byte, 1) == 1)
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    return NULL;
}

static void forbidden_in_older_thread(void)
{
    pthread_t thread;

    if (pipe(go_ends) || pthread_create(&thread, NULL, trace_later, NULL))
        _exit(REFUSED);
    filter("enforce");
    if (write(go_ends[1], "", 1) == 1)
        pthread_join(thread, NULL);
}

static void starts_a_program(void)
{
    char *const none[] = {NULL};

    filter("enforce");
    execve("/bin/true", none, none);
}

static void forks(void)
{
    filter("enforce");
    if (!fork())
        _exit(FINE);
}

static void opens_other_sockets(void)
{
    filter("enforce");
    socket(AF_VSOCK, SOCK_STREAM, 0);
}

static void works(void)
{
    pthread_t thread;
    void *memory;

    filter("enforce");
    if (pipe(go_ends) || close(go_ends[1]) || pthread_create(&thread, NULL, trace_later, NULL) ||
        pthread_join(thread, NULL))
        _exit(REFUSED);
    memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, 4096, PROT_READ | PROT_EXEC) ||
        socket(AF_NETLINK, SOCK_RAW, 0) < 0 || open("/", O_RDONLY) < 0 || !getpwuid(0))
        _exit(REFUSED);
}

static void only_logs(void)
{
    filter("log");
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void test_filter(void)
{
    char said[SAID_SIZE];
    int status = in_child(works, said);

    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == FINE);
    status = in_child(forbidden_in_older_thread, said);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    CU_ASSERT(strstr(said, "(ptrace)") != NULL);
    status = in_child(starts_a_program, said);
    CU_ASSERT(WIFSIGNALED(status) && strstr(said, "(execve)") != NULL);
    status = in_child(forks, said);
    CU_ASSERT(WIFSIGNALED(status) && strstr(said, "(clone)") != NULL);
    status = in_child(opens_other_sockets, said);
    CU_ASSERT(WIFSIGNALED(status) && strstr(said, "(socket)") != NULL);
    status = in_child(only_logs, said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == FINE);
}

static void becomes_nobody(void)
{
    char error[RIGHTS_ERROR_SIZE];
    struct rights rights = rights_find("nobody", error);
    struct stat status;

    if (!rights.change || *error || rights_give(&rights, "given") || rights_drop(&rights, error))
        _exit(REFUSED);
    if (geteuid() != rights.uid || getegid() != rights.gid || !setuid(0))
        _exit(REFUSED);
    if (lstat("given/file", &status) || status.st_uid != rights.uid)
        _exit(REFUSED);
    if (lstat("given/link", &status) || status.st_uid != rights.uid || stat("kept", &status) ||
        status.st_uid)
        _exit(REFUSED);
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        _exit(REFUSED);
    if (prctl(PR_CAPBSET_READ, 21 /* CAP_SYS_ADMIN */, 0, 0, 0))
        _exit(REFUSED);
}

static void test_drop(void)
{
    char folder[] = "/tmp/test_rights.XXXXXX", said[SAID_SIZE];
    int status;

    if (geteuid()) {
        tap_skip("only root can become somebody else");
        return;
    }
    CU_ASSERT_FATAL(mkdtemp(folder) && !chdir(folder) && !chmod(folder, 0755));
    CU_ASSERT_FATAL(!mkdir("given", 0755) && !symlink("../kept", "given/link"));
    close(open("given/file", O_CREAT | O_WRONLY, 0640));
    close(open("kept", O_CREAT | O_WRONLY, 0640));
    status = in_child(becomes_nobody, said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == FINE);
    unlink("given/file");
    unlink("given/link");
    unlink("kept");
    rmdir("given");
    rmdir(folder);
}

static void test_find(void)
{
    char error[RIGHTS_ERROR_SIZE];
    struct rights rights = rights_find("", error);

    CU_ASSERT(!rights.change && !*error);
    rights = rights_find("no-such-user", error);
    CU_ASSERT(!rights.change && strstr(error, "no such user") != NULL);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"system calls outside the list end it, and it says which", test_filter},
        {"it becomes another user, for good", test_drop},
        {"whom to become", test_find},
        {NULL, NULL},
    };

    return tap_main(argc, argv, "rights", tests);
}
