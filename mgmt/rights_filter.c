/* rights_filter.c - the system calls of a running recorder: all others end it, having said which.
 */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "rights.h"

enum { CALLS_MAX = 512, NAME_SIZE = 32, SAID_SIZE = 256, OPTIMIZE_TREE = 2 };

#ifndef AF_XDP
#define AF_XDP 44
#endif

static const char *const allowed[] = {
#define SYSCALL(name) #name,
#include "syscalls.def"
#undef SYSCALL
};
static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_XDP};

static char call_name[CALLS_MAX][NAME_SIZE]; /* for the handler, which may call nothing */

static int allow(scmp_filter_ctx filter);
static int catch_violations(void);
static void on_violation(int number, siginfo_t *info, void *context);

int rights_filter(const char *mode, char reterr_text[static RIGHTS_ERROR_SIZE])
{
    bool log = !strcmp(mode, "log");
    scmp_filter_ctx filter;
    int err;

    if (!strcmp(mode, "off"))
        return 0;
    filter = seccomp_init(log ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
    if (!filter)
        return -ENOMEM;
    err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!err)
        err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE);
    if (!err)
        err = allow(filter);
    if (!err)
        err = catch_violations();
    if (!err)
        err = seccomp_load(filter);
    seccomp_release(filter);
    if (err)
        snprintf(reterr_text, RIGHTS_ERROR_SIZE,
                 "security.seccomp = \"%s\": the filter is refused (%s): \"off\" does without",
                 mode, strerror(-err));
    return err;
}

/* Names that this library or this machine does not know cannot be called either. */
static int allow(scmp_filter_ctx filter)
{
    int err = 0;

    for (unsigned i = 0; !err && i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        int call = seccomp_syscall_resolve_name(allowed[i]);

        if (call >= 0)
            err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    }
    for (unsigned i = 0; !err && i < sizeof(families) / sizeof(families[0]); i++)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    /* Its flags are behind a pointer, where no filter sees them: the C library takes clone(). */
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return err;
}

static int catch_violations(void)
{
    struct sigaction action = {.sa_sigaction = on_violation,
                               .sa_flags = SA_SIGINFO | SA_NODEFER | (int)SA_RESETHAND};

    for (int i = 0; i < CALLS_MAX; i++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);

        snprintf(call_name[i], NAME_SIZE, "%s", name ? name : "unknown");
        free(name);
    }
    return sigaction(SIGSYS, &action, NULL) ? -errno : 0;
}

static void on_violation(int number, siginfo_t *info, void *context)
{
    int call = info->si_syscall;
    char said[SAID_SIZE];
    int size = snprintf(said, sizeof(said),
                        "tapedeckd: error: system call %d (%s) is not among those of a recorder "
                        "(security.seccomp): it ends\n",
                        call, call >= 0 && call < CALLS_MAX ? call_name[call] : "unknown");

    if (write(STDERR_FILENO, said, (size_t)size) < 0)
        _exit(128 + number);
    syslog(LOG_ERR, "%s", said); /* where a daemon without stderr is heard */
    raise(number);
}
