/* doctor_source.c - the sources: interfaces as kernel and driver have them, PCI devices. */
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>

#include "doctor.h"

enum { RSS_SIZE = 4096, KEY_PERIOD = 2 };

/* What drivers do with XDP, as of Linux 6.1; others take the generic mode. */
static const struct driver {
    const char *name;
    bool zero_copy;
} native_drivers[] = {
    {"atlantic", false}, {"bnxt_en", false}, {"ena", false},
    {"fec", false},      {"i40e", true},     {"ice", true},
    {"igb", false},      {"igc", true},      {"ixgbe", true},
    {"ixgbevf", false},  {"mlx4_en", false}, {"mlx5_core", true},
    {"mvneta", false},   {"nfp", true},      {"qede", false},
    {"sfc", false},      {"stmmac", true},   {"thunder_nicvf", false},
    {"tun", false},      {"veth", false},    {"virtio_net", false},
};

struct port {
    const struct doctor *doctor;
    const char *name;
    int fd; /* for ioctls */
};

static void check_interface(const struct port *port, const struct conf_source *source);
static bool check_link(const struct port *port);
static void check_driver(const struct port *port, const struct conf_source *source);
static void check_rings(const struct port *port);
static void check_rss(const struct port *port, const struct conf_source *source);
static void check_numa(const struct port *port);
static void check_irqs(const struct port *port);
static void check_pci(const struct doctor *doctor, const struct conf_source *source);
static int ethtool(const struct port *port, void *command);
static bool is_symmetric(const struct port *port, bool *ret_known);

void doctor_sources(const struct doctor *doctor)
{
    const struct conf *conf = doctor->conf;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (!conf->n_sources)
        doctor_tell(doctor, DOCTOR_WARN, "sources", "", "name a mirror port in sources",
                    "the configuration has none: nothing is recorded");
    for (unsigned i = 0; i < conf->n_sources; i++) {
        const struct conf_source *source = &conf->sources[i];
        const struct port port = {doctor, source->interface, fd};

        if (!strcmp(source->type, "af_xdp"))
            check_interface(&port, source);
        else if (!strcmp(source->type, "dpdk"))
            check_pci(doctor, source);
        else
            doctor_tell(doctor,
                        strcmp(source->interface, "-") && access(source->interface, R_OK)
                            ? DOCTOR_FAIL
                            : DOCTOR_OK,
                        "file", source->interface, "name a capture file that can be read",
                        strcmp(source->interface, "-") && access(source->interface, R_OK)
                            ? "it cannot be read"
                            : "it can be read");
    }
    if (fd >= 0)
        close(fd);
}

static void check_interface(const struct port *port, const struct conf_source *source)
{
    if (!check_link(port))
        return;
    check_driver(port, source);
    check_rings(port);
    check_rss(port, source);
    check_numa(port);
    check_irqs(port);
}

/* -> whether there is anything else to ask */
static bool check_link(const struct port *port)
{
    struct ifreq ifreq = {0};

    snprintf(ifreq.ifr_name, sizeof(ifreq.ifr_name), "%.15s", port->name);
    if (ioctl(port->fd, SIOCGIFFLAGS, &ifreq)) {
        doctor_tell(port->doctor, DOCTOR_FAIL, "link", port->name,
                    "ip -br link shows those there are", "%s",
                    errno == ENODEV ? "no such interface" : strerror(errno));
        return false;
    }
    if (!(ifreq.ifr_flags & IFF_UP))
        doctor_tell(port->doctor, DOCTOR_FAIL, "link", port->name, "ip link set DEV up",
                    "it is down");
    else
        doctor_tell(port->doctor, ifreq.ifr_flags & IFF_RUNNING ? DOCTOR_OK : DOCTOR_WARN, "link",
                    port->name, "is the cable in, and the mirror session on?",
                    ifreq.ifr_flags & IFF_RUNNING ? "up" : "up, but without carrier");
    return true;
}

static void check_driver(const struct port *port, const struct conf_source *source)
{
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    const struct driver *driver = NULL;

    if (ethtool(port, &info)) {
        doctor_tell(port->doctor, DOCTOR_WARN, "driver", port->name,
                    "a port whose driver has native XDP is faster", "unknown: XDP in generic mode");
        return;
    }
    for (unsigned i = 0; i < sizeof(native_drivers) / sizeof(native_drivers[0]); i++)
        if (!strcmp(native_drivers[i].name, info.driver))
            driver = &native_drivers[i];
    doctor_tell(
        port->doctor, driver && !source->generic ? DOCTOR_OK : DOCTOR_WARN, "xdp", port->name,
        source->generic ? "leave generic = false" : "a NIC whose driver has native XDP",
        "driver %.31s: %s mode", info.driver, driver && !source->generic ? "native" : "generic");
    if (driver)
        doctor_tell(port->doctor, driver->zero_copy && !source->copy ? DOCTOR_OK : DOCTOR_WARN,
                    "zero-copy", port->name,
                    driver->zero_copy ? "leave copy = false"
                                      : "i40e, ice, igc, ixgbe, mlx5 have it",
                    driver->zero_copy && !source->copy ? "the driver has it"
                                                       : "each packet is copied once");
}

static void check_rings(const struct port *port)
{
    struct ethtool_ringparam rings = {.cmd = ETHTOOL_GRINGPARAM};

    if (ethtool(port, &rings) || !rings.rx_max_pending)
        return;
    doctor_tell(port->doctor, rings.rx_pending < rings.rx_max_pending ? DOCTOR_WARN : DOCTOR_OK,
                "rings", port->name, "ethtool -G DEV rx MOST, to ride out bursts",
                "%u descriptors of at most %u", rings.rx_pending, rings.rx_max_pending);
}

/* With several queues the two directions of a stream should come by the same one: else packets of
 * a stream may change their order on the way to its classifier. */
static void check_rss(const struct port *port, const struct conf_source *source)
{
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    unsigned n = 1;
    bool known = false, symmetric;

    if (!ethtool(port, &channels))
        n = channels.rx_count + channels.combined_count;
    if (n <= 1 || source->queues == 1) {
        doctor_tell(port->doctor, DOCTOR_OK, "rss", port->name, "", "one queue");
        return;
    }
    symmetric = is_symmetric(port, &known);
    doctor_tell(port->doctor, symmetric ? DOCTOR_OK : DOCTOR_WARN, "rss", port->name,
                "ethtool -X DEV hkey 6d:5a:6d:5a:... (repeated), or ethtool -L DEV combined 1",
                !known      ? "%u queues; the key of the hash is not known"
                : symmetric ? "%u queues, both directions by the same"
                            : "%u queues, the two directions of a stream by different ones",
                n);
}

static void check_numa(const struct port *port)
{
    const struct doctor *doctor = port->doctor;
    int64_t node = doctor_number(doctor, "/sys/class/net/%.15s/device/numa_node", port->name);
    char cpus[DOCTOR_TEXT_SIZE] = "";
    int cpu[3 * CONF_LIST_MAX];
    unsigned n = doctor_pinned(doctor->conf, cpu);

    if (node < 0 ||
        !doctor_read(doctor, cpus, "/sys/devices/system/node/node%d/cpulist", (int)node))
        return;
    for (unsigned i = 0; i < n; i++)
        if (!doctor_in_list(cpus, cpu[i])) {
            doctor_tell(doctor, DOCTOR_WARN, "numa", port->name,
                        "name CPUs of the interface's node in cores",
                        "it is on node %d (CPUs %.100s), cpu %d is not", (int)node, cpus, cpu[i]);
            return;
        }
    doctor_tell(doctor, DOCTOR_OK, "numa", port->name, "", "node %d, CPUs %.100s", (int)node, cpus);
}

/* Interrupts of the device on CPUs that threads of ours are pinned to take their time. */
static void check_irqs(const struct port *port)
{
    const struct doctor *doctor = port->doctor;
    char path[DOCTOR_PATH_SIZE];
    int cpu[3 * CONF_LIST_MAX];
    unsigned n = doctor_pinned(doctor->conf, cpu), n_irqs = 0, n_shared = 0;
    const struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof(path), "%.400s/sys/class/net/%.15s/device/msi_irqs", doctor->root,
             port->name);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        char list[DOCTOR_TEXT_SIZE];
        bool shared = false;

        if (entry->d_name[0] == '.' ||
            !doctor_read(doctor, list, "/proc/irq/%.20s/smp_affinity_list", entry->d_name))
            continue;
        n_irqs++;
        for (unsigned i = 0; i < n; i++)
            shared |= doctor_in_list(list, cpu[i]);
        n_shared += shared;
    }
    if (folder)
        closedir(folder);
    if (n_irqs && n)
        doctor_tell(doctor, n_shared ? DOCTOR_WARN : DOCTOR_OK, "irqs", port->name,
                    "stop irqbalance, and write other CPUs to /proc/irq/N/smp_affinity_list",
                    "%u of %u interrupts may run on CPUs of cores", n_shared, n_irqs);
}

static void check_pci(const struct doctor *doctor, const struct conf_source *source)
{
    char driver[DOCTOR_TEXT_SIZE] = "none";
    const char *address = source->device;
    unsigned part;

    if (sscanf(address, "%4x:%2x:%2x.%1x", &part, &part, &part, &part) != 4) {
        doctor_tell(doctor, DOCTOR_OK, "vfio", address, "", "a virtual device: nothing to bind");
        return;
    }
    if (!doctor_link(doctor, driver, "/sys/bus/pci/devices/%.12s/subsystem", address)) {
        doctor_tell(doctor, DOCTOR_FAIL, "vfio", address, "lspci -D shows those there are",
                    "no such PCI device");
        return;
    }
    snprintf(driver, sizeof(driver), "none");
    doctor_link(doctor, driver, "/sys/bus/pci/devices/%.12s/driver", address);
    /* Drivers of NVIDIA's NICs work beside the kernel's. */
    doctor_tell(doctor,
                !strcmp(driver, "vfio-pci") || !strncmp(driver, "mlx", 3) ? DOCTOR_OK : DOCTOR_FAIL,
                "vfio", address, "modprobe vfio-pci && dpdk-devbind.py -b vfio-pci ADDRESS",
                "bound to %.100s", driver);
}

static int ethtool(const struct port *port, void *command)
{
    struct ifreq ifreq = {.ifr_data = command};

    snprintf(ifreq.ifr_name, sizeof(ifreq.ifr_name), "%.15s", port->name);
    return ioctl(port->fd, SIOCETHTOOL, &ifreq);
}

/* Toeplitz is symmetric when its key repeats every 16 bits. */
static bool is_symmetric(const struct port *port, bool *ret_known)
{
    struct ethtool_rxfh *rxfh = calloc(1, sizeof(*rxfh) + RSS_SIZE);
    const uint8_t *key;
    bool symmetric = false;

    if (!rxfh)
        return false;
    rxfh->cmd = ETHTOOL_GRSSH;
    if (!ethtool(port, rxfh) && rxfh->key_size > KEY_PERIOD &&
        rxfh->indir_size * sizeof(uint32_t) + rxfh->key_size <= RSS_SIZE) {
        uint32_t indir_size = rxfh->indir_size;

        rxfh->cmd = ETHTOOL_GRSSH; /* the sizes are known now */
        if (!ethtool(port, rxfh)) {
            key = (const uint8_t *)(rxfh->rss_config + indir_size);
            *ret_known = symmetric = true;
            for (uint32_t i = KEY_PERIOD; i < rxfh->key_size; i++)
                symmetric &= key[i] == key[i - KEY_PERIOD];
        }
    }
    free(rxfh);
    return symmetric;
}
