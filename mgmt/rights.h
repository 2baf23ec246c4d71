/* rights.h - what the recorder may do. The doors to libcap-ng and libseccomp.
 *
 *      root, or a service with capabilities
 *        | opens: store, sources, writer, control socket
 *        | rights_give()   what it wrote so far belongs to the user
 *        | rights_drop()   is that user, with the few capabilities that running needs; no_new_privs
 *        | starts its threads: they are what the main one is
 *        | rights_filter() every thread: system calls outside syscalls.def end the process
 *        v
 *      records
 *
 * CAP_BPF: maps of XDP programs are read and changed while they run (the kernel's default refuses
 * bpf() to everyone else). CAP_NET_ADMIN: interfaces are set back at the end.
 *
 * Thread: main, rights_drop() before there are others of ours. */
#ifndef MGMT_RIGHTS_H
#define MGMT_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

enum { RIGHTS_ERROR_SIZE = 512 };

struct rights {  /* whom to become */
    bool change; /* else we stay who we are */
    const char *name;
    uid_t uid;
    gid_t gid;
};

/* name: "" stays. A user that does not exist, or cannot be become for want of root: stays, with a
 * warning in reterr_text (else it is ""). */
struct rights rights_find(const char *name, char reterr_text[static RIGHTS_ERROR_SIZE]);

/* Gives a file or a folder, with all in it, to the user; nothing if none is to be become. Symbolic
 * links are not followed. -> 0 or -errno */
int rights_give(const struct rights *rights, const char *path);

/* -> 0 or -errno with the message. */
int rights_drop(const struct rights *rights, char reterr_text[static RIGHTS_ERROR_SIZE]);

/* mode: "enforce" (the process says which call it was, and ends), "log" (the kernel's audit log
 * has it) or "off". -> 0 or -errno with the message. */
int rights_filter(const char *mode, char reterr_text[static RIGHTS_ERROR_SIZE]);

#endif
