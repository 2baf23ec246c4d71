#!/usr/bin/env python3
"""test_doctor.py - `tapedeck doctor` on machines of our making: sysfs and procfs below a folder, and a
real veth pair in a namespace."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import TAPEDECK, Tap, run

NS = f"tddoc{os.getpid()}"
PCI = "0000:03:00.1"
GOOD = {
    "proc/sys/kernel/osrelease": "6.1.0-13-amd64", "proc/sys/kernel/io_uring_disabled": "0",
    "proc/sys/net/core/bpf_jit_enable": "1", "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "512",
    "sys/class/iommu/dmar0/x": "", "sys/devices/system/cpu/isolated": "0-1", "sys/devices/system/cpu/online": "0-7",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "sys/class/net/m0/device/numa_node": "0", "sys/devices/system/node/node0/cpulist": "0-3",
    "sys/class/net/m0/device/msi_irqs/44": "", "proc/irq/44/smp_affinity_list": "2-3",
}
# check -> (file, what it holds, state then)
BAD = {
    "kernel": ("proc/sys/kernel/osrelease", "4.19.0-1", "fail"),
    "io_uring": ("proc/sys/kernel/io_uring_disabled", "2", "fail"),
    "bpf": ("proc/sys/net/core/bpf_jit_enable", "0", "warn"),
    "hugepages": ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0", "fail"),
    "isolation": ("sys/devices/system/cpu/isolated", "4-5", "warn"),
    "cores": ("sys/devices/system/cpu/online", "1-3", "fail"),
    "frequency": ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave", "warn"),
    "clocksource": ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet", "warn"),
    "numa": ("sys/devices/system/node/node0/cpulist", "4-7", "warn"),
    "irqs": ("proc/irq/44/smp_affinity_list", "0-7", "warn"),
}


def write(folder, path, text):
    path = os.path.join(folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text + "\n")


def machine(folder, changes):
    root = tempfile.mkdtemp(dir=folder)
    for path, text in {**GOOD, **changes}.items():
        write(root, path, text)
    for link, target in (("driver", "../drivers/vfio-pci"), ("subsystem", "../../bus/pci")):
        os.makedirs(f"{root}/sys/bus/pci/devices/{PCI}", exist_ok=True)
        os.symlink(target, f"{root}/sys/bus/pci/devices/{PCI}/{link}")
    return root


def doctor(conf, root="", *more):
    """-> exit status, {check: row}"""
    done = subprocess.run(["ip", "netns", "exec", NS, TAPEDECK, "doctor", "--json", "-c", conf, "--root", root, *more],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return done.returncode, {r["check"]: r for r in rows}


def made_up_machines(tap, folder, conf):
    status, rows = doctor(conf, machine(folder, {}))
    bad = [r for name, r in rows.items() if r["state"] != "ok" and name not in ("clock", "memlock", "user", "space", "disk",
                                                                                   "zero-copy", "rings")]
    tap.ok(not bad and set(BAD) - {"cores"} <= set(rows) and {"iommu", "vfio"} <= set(rows), "a good machine is good",
           f"{status} {bad} {set(BAD) - set(rows)}")
    for check, (path, text, state) in BAD.items():
        status, rows = doctor(conf, machine(folder, {path: text}))
        row = rows.get(check, {"state": "none", "advice": ""})
        tap.ok(row["state"] == state and row["advice"] and (status == 1) >= (state == "fail"), f"{check}: {state} where {text}",
               f"{status} {row}")
    root = machine(folder, {})
    os.remove(f"{root}/sys/bus/pci/devices/{PCI}/driver")
    os.symlink("../drivers/ixgbe", f"{root}/sys/bus/pci/devices/{PCI}/driver")
    row = doctor(conf, root)[1]["vfio"]
    tap.ok(row["state"] == "fail" and "ixgbe" in row["text"] and "dpdk-devbind" in row["advice"], "vfio: another driver", str(row))


def real_interfaces(tap, folder):
    rows = doctor(one_source(folder, "m0"))[1]
    tap.ok(rows["link"]["state"] == "ok" and "veth: native" in rows["xdp"]["text"] and rows["rss"]["text"] == "one queue",
           "a veth: native mode, one queue", str(rows))
    run("ip", "-n", NS, "link", "set", "m0", "down")
    status, rows = doctor(one_source(folder, "m0"))
    tap.ok(status == 1 and rows["link"]["state"] == "fail" and "ip link set" in rows["link"]["advice"], "an interface that is down",
           str(rows["link"]))
    status, rows = doctor(one_source(folder, "nowhere0"))
    tap.ok(status == 1 and rows["link"]["text"] == "no such interface", "an interface that is not there", str(rows["link"]))
    conf = os.path.join(folder, "space.conf")
    write(folder, "space.conf", f'storage: {{ path = "{folder}/store"; free_min = "900Ti"; }};')
    status, rows = doctor(conf)
    tap.ok(rows["space"]["state"] == "fail" and "MB/s" in rows["disk"]["text"], "no space; the disk is measured", str(rows["disk"]))
    write(folder, "bad.conf", "sourcs = ();")
    done = subprocess.run([TAPEDECK, "doctor", "-c", os.path.join(folder, "bad.conf")], stderr=subprocess.PIPE, check=False)
    tap.ok(done.returncode == 2 and b"did you mean sources" in done.stderr, "a bad configuration is said", done.stderr.decode())


def one_source(folder, name):
    write(folder, "one.conf", f'sources = ( {{ interface = "{name}"; }} );\nstorage: {{ path = "{folder}/store"; free_min = "1Mi"; }};')
    return os.path.join(folder, "one.conf")


def main():
    tap = Tap()
    if os.geteuid():
        tap.skip("doctor", "it makes a network namespace: only root can")
        tap.done()
    run("ip", "netns", "add", NS)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run("ip", "-n", NS, "link", "add", "m0", "type", "veth", "peer", "name", "m1")
            for name in ("m0", "m1"):
                run("ip", "-n", NS, "link", "set", name, "up")
            write(folder, "all.conf", f'''sources = ( {{ interface = "m0"; }}, {{ type = "dpdk"; device = "{PCI}"; }} );
cores: {{ rx = [ 0 ]; }};
storage: {{ path = "{folder}/store"; free_min = "1Mi"; }};''')
            made_up_machines(tap, folder, os.path.join(folder, "all.conf"))
            real_interfaces(tap, folder)
    finally:
        run("ip", "netns", "del", NS, check=False)
    tap.done()


if __name__ == "__main__":
    main()
