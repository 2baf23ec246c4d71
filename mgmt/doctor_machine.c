/* doctor_machine.c - kernel, memory, clock, cores. */
#include <dirent.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <unistd.h>

#include "doctor.h"
#include "units.h"

enum { MEMLOCK_WANTED = 64 << 20 };

static void check_kernel(const struct doctor *doctor);
static void check_io_uring(const struct doctor *doctor);
static void check_jit(const struct doctor *doctor);
static void check_hugepages(const struct doctor *doctor);
static void check_iommu(const struct doctor *doctor);
static void check_memlock(const struct doctor *doctor);
static void check_clock(const struct doctor *doctor);
static void check_user(const struct doctor *doctor);
static bool wants_hugepages(const struct conf *conf);
static bool has_pci(const struct conf *conf);

void doctor_machine(const struct doctor *doctor)
{
    check_kernel(doctor);
    check_io_uring(doctor);
    check_jit(doctor);
    check_hugepages(doctor);
    check_iommu(doctor);
    check_memlock(doctor);
    check_clock(doctor);
    check_user(doctor);
}

/* Isolation is asked for the CPUs that threads are pinned to; the others belong to the system. */
void doctor_cores(const struct doctor *doctor)
{
    char isolated[DOCTOR_TEXT_SIZE] = "", online[DOCTOR_TEXT_SIZE] = "", governor[DOCTOR_TEXT_SIZE];
    int cpu[3 * CONF_LIST_MAX];
    unsigned n = doctor_pinned(doctor->conf, cpu);

    doctor_read(doctor, isolated, "/sys/devices/system/cpu/isolated");
    doctor_read(doctor, online, "/sys/devices/system/cpu/online");
    if (!n)
        doctor_tell(doctor, DOCTOR_OK, "cores", "", "",
                    "threads are not pinned; above some 1 Gbit/s pin them (cores)");
    for (unsigned i = 0; i < n; i++) {
        char subject[32];

        snprintf(subject, sizeof(subject), "cpu %d", cpu[i]);
        if (*online && !doctor_in_list(online, cpu[i])) {
            doctor_tell(doctor, DOCTOR_FAIL, "cores", subject, "name CPUs that are there in cores",
                        "there are CPUs %s only", online);
            continue;
        }
        doctor_tell(doctor, doctor_in_list(isolated, cpu[i]) ? DOCTOR_OK : DOCTOR_WARN, "isolation",
                    subject, "boot with isolcpus= and nohz_full= for the CPUs of cores",
                    doctor_in_list(isolated, cpu[i]) ? "isolated"
                                                     : "the system runs other programs on it");
        if (doctor_read(doctor, governor, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor",
                        cpu[i]))
            doctor_tell(doctor, strcmp(governor, "performance") ? DOCTOR_WARN : DOCTOR_OK,
                        "frequency", subject, "cpupower frequency-set -g performance",
                        "governor %.100s", governor);
    }
}

static void check_kernel(const struct doctor *doctor)
{
    char release[DOCTOR_TEXT_SIZE] = "unknown";
    unsigned major = 0, minor = 0;
    enum doctor_state state = DOCTOR_OK;

    doctor_read(doctor, release, "/proc/sys/kernel/osrelease");
    if (sscanf(release, "%u.%u", &major, &minor) != 2 || major * 1000 + minor < 5009)
        state = DOCTOR_FAIL; /* XDP by bpf_link */
    else if (major < 6)
        state = DOCTOR_WARN;
    doctor_tell(doctor, state, "kernel", "",
                "run Linux 6.1 or later: XDP for packets in several pieces, faster io_uring",
                "Linux %.100s", release);
}

static void check_io_uring(const struct doctor *doctor)
{
    int64_t disabled = doctor_number(doctor, "/proc/sys/kernel/io_uring_disabled");

    doctor_tell(doctor,
                disabled == 2   ? DOCTOR_FAIL
                : disabled == 1 ? DOCTOR_WARN
                                : DOCTOR_OK,
                "io_uring", "", "sysctl kernel.io_uring_disabled=0",
                disabled > 0 ? "kernel.io_uring_disabled = %d" : "available", (int)disabled);
}

static void check_jit(const struct doctor *doctor)
{
    int64_t enabled = doctor_number(doctor, "/proc/sys/net/core/bpf_jit_enable");

    doctor_tell(doctor, enabled == 0 ? DOCTOR_WARN : DOCTOR_OK, "bpf", "",
                "sysctl net.core.bpf_jit_enable=1",
                enabled == 0 ? "XDP programs are interpreted" : "XDP programs are compiled");
}

static void check_hugepages(const struct doctor *doctor)
{
    static const char *const sizes[] = {"2048kB", "1048576kB"};
    int64_t n_free[2], total = 0;
    bool wanted = wants_hugepages(doctor->conf);

    for (unsigned i = 0; i < 2; i++) {
        n_free[i] =
            doctor_number(doctor, "/sys/kernel/mm/hugepages/hugepages-%s/free_hugepages", sizes[i]);
        total += n_free[i] > 0 ? n_free[i] : 0;
    }
    if (total)
        doctor_tell(doctor, DOCTOR_OK, "hugepages", "", "", "%lld of 2 MiB, %lld of 1 GiB are free",
                    (long long)(n_free[0] > 0 ? n_free[0] : 0),
                    (long long)(n_free[1] > 0 ? n_free[1] : 0));
    else
        doctor_tell(doctor, wanted ? DOCTOR_FAIL : DOCTOR_OK, "hugepages", "",
                    "dpdk-hugepages.py --setup 2G, or eal = \"--no-huge\"",
                    wanted ? "none are free, and a DPDK source wants some"
                           : "none are free; only DPDK sources want them");
}

static void check_iommu(const struct doctor *doctor)
{
    char path[DOCTOR_PATH_SIZE];
    const struct dirent *entry;
    unsigned n = 0;
    bool unsafe = false;
    char text[DOCTOR_TEXT_SIZE];
    DIR *folder;

    if (!has_pci(doctor->conf)) {
        doctor_tell(doctor, DOCTOR_OK, "iommu", "", "",
                    "not needed: no DPDK source on a PCI device");
        return;
    }
    snprintf(path, sizeof(path), "%s/sys/class/iommu", doctor->root);
    folder = opendir(path);
    while (folder && (entry = readdir(folder)))
        n += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    unsafe = doctor_read(doctor, text, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") &&
             (*text == 'Y' || *text == '1');
    doctor_tell(doctor,
                n        ? DOCTOR_OK
                : unsafe ? DOCTOR_WARN
                         : DOCTOR_FAIL,
                "iommu", "",
                "turn on VT-d or AMD-Vi in the firmware and boot with intel_iommu=on iommu=pt",
                n        ? "%u units"
                : unsafe ? "none; VFIO works without protection"
                         : "none, and VFIO wants one",
                n);
}

static void check_memlock(const struct doctor *doctor)
{
    struct rlimit limit = {0};
    char text[UNITS_TEXT_SIZE];
    bool enough;

    getrlimit(RLIMIT_MEMLOCK, &limit);
    enough = !geteuid() || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= MEMLOCK_WANTED;
    doctor_tell(doctor, enough ? DOCTOR_OK : DOCTOR_WARN, "memlock", "",
                "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited",
                limit.rlim_cur == RLIM_INFINITY ? "no limit for this user" : "%s for this user",
                units_format_size(limit.rlim_cur, text));
}

static void check_clock(const struct doctor *doctor)
{
    struct timex timex = {0};
    char source[DOCTOR_TEXT_SIZE];
    bool is_synchronized = adjtimex(&timex) != TIME_ERROR && !(timex.status & STA_UNSYNC);

    doctor_tell(doctor, is_synchronized ? DOCTOR_OK : DOCTOR_WARN, "clock", "",
                "timedatectl set-ntp true, or run chrony; ptp4l and phc2sys for better than a ms",
                is_synchronized ? "synchronized, within %ld us"
                                : "not synchronized: times of packets drift",
                timex.maxerror);
    if (doctor_read(doctor, source,
                    "/sys/devices/system/clocksource/clocksource0/current_clocksource"))
        doctor_tell(doctor,
                    !strcmp(source, "hpet") || !strcmp(source, "acpi_pm") ? DOCTOR_WARN : DOCTOR_OK,
                    "clocksource", "", "boot with clocksource=tsc: each look costs a microsecond",
                    "%.100s", source);
}

static void check_user(const struct doctor *doctor)
{
    const char *name = doctor->conf->security_user;

    if (!*name)
        doctor_tell(doctor, DOCTOR_WARN, "user", "", "name a user in security.user",
                    "security.user is empty: it keeps the rights that it is started with");
    else
        doctor_tell(doctor, getpwnam(name) ? DOCTOR_OK : DOCTOR_WARN, "user", name,
                    "useradd --system --user-group, then that name",
                    getpwnam(name) ? "rights are dropped to it" : "there is no such user");
}

static bool wants_hugepages(const struct conf *conf)
{
    for (unsigned i = 0; i < conf->n_sources; i++)
        if (!strcmp(conf->sources[i].type, "dpdk") && !strstr(conf->sources[i].eal, "--no-huge"))
            return true;
    return false;
}

static bool has_pci(const struct conf *conf)
{
    unsigned part;

    for (unsigned i = 0; i < conf->n_sources; i++)
        if (!strcmp(conf->sources[i].type, "dpdk") &&
            sscanf(conf->sources[i].device, "%4x:%2x:%2x.%1x", &part, &part, &part, &part) == 4)
            return true;
    return false;
}
