#include "nic.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

struct offloads { /* as ethtool's oldest commands have them: every driver knows these */
    uint32_t flags;
    uint32_t gro;
};

static int request(const struct nic *nic, unsigned long code, struct ifreq *ifreq);
static int ethtool(const struct nic *nic, void *command);
static int link_read(struct nic *nic, struct rtnl_link_stats64 *ret_stats);
static void count_queues(struct nic *nic);
static int keeper_start(struct nic *nic, const struct offloads *found);

int nic_open(struct nic *nic, const char *name)
{
    struct ifreq ifreq = {0};
    int rc;

    *nic = (struct nic){.fd = -1, .promiscuous_fd = -1, .keeper_fd = -1};
    if (strlen(name) >= sizeof(nic->name))
        return -ENODEV;
    strcpy(nic->name, name);
    nic->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (nic->fd < 0)
        return -errno;
    rc = request(nic, SIOCGIFINDEX, &ifreq);
    if (rc)
        goto fail;
    nic->index = (unsigned)ifreq.ifr_ifindex;
    rc = request(nic, SIOCGIFFLAGS, &ifreq);
    if (rc)
        goto fail;
    nic->up = ifreq.ifr_flags & IFF_UP;
    rc = request(nic, SIOCGIFMTU, &ifreq);
    if (rc)
        goto fail;
    nic->mtu = (unsigned)ifreq.ifr_mtu;
    rc = request(nic, SIOCGIFHWADDR, &ifreq);
    if (rc)
        goto fail;
    nic->ethernet =
        ifreq.ifr_hwaddr.sa_family == ARPHRD_ETHER || ifreq.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
    count_queues(nic);
    return 0;
fail:
    nic_close(nic);
    return rc;
}

void nic_close(struct nic *nic)
{
    if (nic->keeper_fd >= 0) {
        close(nic->keeper_fd);
        waitpid(nic->keeper, NULL, 0);
    }
    if (nic->promiscuous_fd >= 0)
        close(nic->promiscuous_fd);
    if (nic->fd >= 0)
        close(nic->fd);
    nic->fd = nic->promiscuous_fd = nic->keeper_fd = -1;
}

int nic_promiscuous(struct nic *nic)
{
    struct packet_mreq membership = {.mr_ifindex = (int)nic->index, .mr_type = PACKET_MR_PROMISC};

    /* Of protocol 0: it gets no packets. */
    nic->promiscuous_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (nic->promiscuous_fd < 0)
        return -errno;
    if (setsockopt(nic->promiscuous_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership,
                   sizeof(membership)))
        return -errno;
    return 0;
}

static int offloads_get(const struct nic *nic, struct offloads *ret_offloads)
{
    struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS}, gro = {.cmd = ETHTOOL_GGRO};
    int rc = ethtool(nic, &flags);

    if (!rc)
        rc = ethtool(nic, &gro);
    *ret_offloads = (struct offloads){.flags = flags.data, .gro = gro.data};
    return rc;
}

static void offloads_set(const struct nic *nic, const struct offloads *offloads)
{
    struct ethtool_value flags = {.cmd = ETHTOOL_SFLAGS, .data = offloads->flags};
    struct ethtool_value gro = {.cmd = ETHTOOL_SGRO, .data = offloads->gro};

    (void)ethtool(nic, &flags);
    (void)ethtool(nic, &gro);
}

int nic_offloads_off(struct nic *nic, bool merging, bool vlan)
{
    struct offloads found, wanted;
    int rc = offloads_get(nic, &found);

    if (rc == -EOPNOTSUPP)
        return 0; /* it has none */
    if (rc)
        return rc;
    wanted = found;
    if (merging) {
        wanted.flags &= ~(uint32_t)ETH_FLAG_LRO;
        wanted.gro = 0;
    }
    if (vlan)
        wanted.flags &= ~(uint32_t)ETH_FLAG_RXVLAN;
    if (!memcmp(&wanted, &found, sizeof(found)))
        return 0;
    rc = keeper_start(nic, &found);
    if (!rc)
        offloads_set(nic, &wanted);
    return rc;
}

uint64_t nic_missed(const struct nic *nic)
{
    struct nic copy = *nic;
    struct rtnl_link_stats64 stats;

    return link_read(&copy, &stats) ? 0 : stats.rx_missed_errors + stats.rx_over_errors;
}

static int request(const struct nic *nic, unsigned long code, struct ifreq *ifreq)
{
    memcpy(ifreq->ifr_name, nic->name, sizeof(nic->name));
    return ioctl(nic->fd, code, ifreq) ? -errno : 0;
}

static int ethtool(const struct nic *nic, void *command)
{
    struct ifreq ifreq = {.ifr_data = command};

    return request(nic, SIOCETHTOOL, &ifreq);
}

/* As the driver tells it; the kernel's own number counts what could be, not what is in use. */
static void count_queues(struct nic *nic)
{
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    struct rtnl_link_stats64 stats;

    nic->n_queues = 0;
    if (!ethtool(nic, &channels))
        nic->n_queues = channels.rx_count + channels.combined_count;
    if (!nic->n_queues && link_read(nic, &stats))
        nic->n_queues = 1;
}

/* RTM_GETLINK: the statistics, and the number of queues if it is not known better. */
static int link_read(struct nic *nic, struct rtnl_link_stats64 *ret_stats)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg info;
    } ask = {
        .header = {.nlmsg_len = sizeof(ask),
                   .nlmsg_type = RTM_GETLINK,
                   .nlmsg_flags = NLM_F_REQUEST},
        .info = {.ifi_index = (int)nic->index},
    };
    _Alignas(struct nlmsghdr) char answer[32768];
    const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
    const struct rtattr *attribute;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), rc = -ENODATA;
    ssize_t size = -1;

    memset(ret_stats, 0, sizeof(*ret_stats));
    if (fd < 0)
        return -errno;
    if (send(fd, &ask, sizeof(ask), 0) == sizeof(ask))
        size = recv(fd, answer, sizeof(answer), 0);
    close(fd);
    if (size < 0 || !NLMSG_OK(header, size) || header->nlmsg_type != RTM_NEWLINK)
        return rc;
    attribute = (const struct rtattr *)((const char *)NLMSG_DATA(header) +
                                        NLMSG_ALIGN(sizeof(struct ifinfomsg)));
    size = (ssize_t)header->nlmsg_len - (ssize_t)NLMSG_SPACE(sizeof(struct ifinfomsg));
    for (; RTA_OK(attribute, size); attribute = RTA_NEXT(attribute, size)) {
        if (attribute->rta_type == IFLA_NUM_RX_QUEUES && !nic->n_queues)
            memcpy(&nic->n_queues, RTA_DATA(attribute), sizeof(nic->n_queues));
        if (attribute->rta_type == IFLA_STATS64) {
            memcpy(ret_stats, RTA_DATA(attribute), sizeof(*ret_stats));
            rc = 0;
        }
    }
    return rc;
}

/* A process that does nothing but wait until our end of a pipe is closed, by us or by our death.
 * It may be forked from a process with threads: it calls nothing but the kernel. */
static int keeper_start(struct nic *nic, const struct offloads *found)
{
    sigset_t all, before;
    int ends[2];
    char byte;

    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    nic->keeper = fork();
    if (nic->keeper == 0) {
        /* Signals stay blocked: what ends us must not end it first. Everything else of ours is
         * closed: an XDP program lives as long as somebody has its link open. */
        setsid();
        ends[0] = fcntl(ends[0], F_DUPFD, 10);
        nic->fd = fcntl(nic->fd, F_DUPFD, 10);
        dup2(ends[0], 0);
        nic->fd = dup2(nic->fd, 1);
        close_range(2, ~0U, 0);
        while (read(0, &byte, 1) < 0 && errno == EINTR)
            ;
        offloads_set(nic, found);
        _exit(0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[0]);
    if (nic->keeper < 0) {
        close(ends[1]);
        return -errno;
    }
    nic->keeper_fd = ends[1];
    return 0;
}
