#include "rights.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TREE_FDS = 16 };

static const unsigned kept[] = {CAP_BPF, CAP_NET_ADMIN};

static const struct rights *giving; /* nftw() has no argument for it */

static int give_one(const char *path, const struct stat *status, int type, struct FTW *where);
static int keep_capabilities(const struct rights *rights);

struct rights rights_find(const char *name, char reterr_text[static RIGHTS_ERROR_SIZE])
{
    struct rights rights = {.name = name};
    const struct passwd *user;

    *reterr_text = 0;
    if (!*name)
        return rights;
    user = getpwnam(name);
    if (!user) {
        snprintf(reterr_text, RIGHTS_ERROR_SIZE,
                 "security.user = \"%.100s\": there is no such user, so root it stays, with few "
                 "capabilities: useradd --system --user-group %.100s",
                 name, name);
        return rights;
    }
    if (user->pw_uid == geteuid())
        return rights;
    if (geteuid() != 0) {
        snprintf(reterr_text, RIGHTS_ERROR_SIZE,
                 "security.user = \"%.100s\": only root can become somebody else: stays user %u",
                 name, geteuid());
        return rights;
    }
    rights.change = true;
    rights.uid = user->pw_uid;
    rights.gid = user->pw_gid;
    return rights;
}

int rights_give(const struct rights *rights, const char *path)
{
    int rc;

    if (!rights->change)
        return 0;
    giving = rights;
    rc = nftw(path, give_one, TREE_FDS, FTW_PHYS | FTW_MOUNT);
    giving = NULL;
    return rc < 0 ? -errno : 0;
}

int rights_drop(const struct rights *rights, char reterr_text[static RIGHTS_ERROR_SIZE])
{
    if (keep_capabilities(rights)) {
        snprintf(reterr_text, RIGHTS_ERROR_SIZE,
                 "security.user = \"%.100s\": rights cannot be given up: %s", rights->name,
                 strerror(errno));
        return -EPERM;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        snprintf(reterr_text, RIGHTS_ERROR_SIZE, "no_new_privs: %s", strerror(errno));
        return -errno;
    }
    return 0;
}

static int give_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    if (status->st_uid == giving->uid && status->st_gid == giving->gid)
        return 0;
    return lchown(path, giving->uid, giving->gid);
}

/* Of `kept` those that we have. The bounding set can only be cleared by who may set it. */
static int keep_capabilities(const struct rights *rights)
{
    const capng_flags_t flags = CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING;
    bool have[sizeof(kept) / sizeof(kept[0])], bounding;

    for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
    bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    capng_clear(CAPNG_SELECT_BOTH);
    for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (have[i])
            capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i]);
    if (rights->change)
        return capng_change_id((int)rights->uid, (int)rights->gid, flags);
    return capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS);
}
