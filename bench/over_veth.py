"""over_veth.py - the live benches: what recorders make of a mirror port, in network namespaces made for it.

    generator (blast, CPU 0) --> t0 ==veth== t1 --> recorder (all of it on CPU 1) --> a file on disk

The frames come faster than a socket could send them (blast.c). What the kernel does to hand a frame to the recorder's
socket it does in softirq on the generator's CPU, for all of them: that is in no recorder's figure. Lost is what was sent
and is not in the file, wherever it went; every recorder may buffer 64 MiB.
"""
import contextlib
import glob
import http.client
import json
import os
import random
import shutil
import struct
import subprocess
import time

import traffic
from live import CLIENTS, SERVER, Lab, cpu_seconds, run, wait_for
from report import BUILD, Failed, Table

BLAST = os.path.join(BUILD, "bench", "blast")
HUGE = "/proc/sys/vm/nr_hugepages"
HUGE_PAGES = 256


class Recorder:
    """start() -> its processes; settle() waits until it has written what came; files() -> what it wrote."""

    def release(self, lab):
        """gives back what start() took beside processes, which may still run"""


class Tapedeckd(Recorder):
    def __init__(self, source, brings_program):
        self.source, self.brings_program = source, brings_program

    def start(self, lab):
        conf = lab.write("conf", f"""
sources = ( {{ {self.source} }} );
cores: {{ rx = 0; classifiers = 1; }};
storage: {{ path = "{lab.path('store')}"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
""")
        process = start(lab, os.path.join(BUILD, "mgmt", "tapedeckd"), "-c", conf, "--foreground")
        wait_for(lambda: process.poll() is not None or lab.tapedeck("stats", "--json", check=False), 60, "tapedeckd to answer")
        if process.poll() is not None:
            raise Failed(f"tapedeckd: {lab.log_of(process)[-500:]}")
        lab.tapedeck("job", "create", "all", "--kfl", "")
        wait_for(lambda: lab.tapedeck_json("job", "show", "all")[0]["state"] == "recording", 20, "the job to record")
        return [process]

    def settle(self, lab):
        """-> packets lost where tapedeckd counts it; the sum has to hold"""
        seen = []

        def still():
            rows = lab.tapedeck_json("stats")
            seen.append(next(r for r in rows if r["kind"] == "sum"))
            seen[-1]["drop_nic"] = sum(r["drop_nic"] for r in rows if r["kind"] == "source")
            return len(seen) > 3 and seen[-1]["rx"] == seen[-4]["rx"] and not seen[-1]["in_flight"]

        wait_for(still, 30, "the packets to be through")
        if seen[-1]["difference"]:
            raise Failed(f"the sum does not hold: {seen[-1]}")
        lab.tapedeck("job", "stop", "all")
        wait_for(lambda: not lab.tapedeck_json("job", "show", "all")[0]["ending"], 20, "all to be on disk")
        return {"counted": seen[-1]["drop_nic"] + seen[-1]["dropped"]}

    def files(self, lab):
        return glob.glob(lab.path("store/recordings/all/*.pcapng"))


class Peer(Recorder):
    """A recorder that listens with a socket of the kernel's packet family."""

    def __init__(self, *command, says=None):
        self.command, self.says, self.brings_program = command, says, False

    def start(self, lab):
        process = start(lab, *[lab.path("out.pcap") if word == "OUT" else word for word in self.command])
        if self.says:
            wait_for(lambda: self.says in lab.log_of(process), 20, f"{self.command[0]} to listen")
        time.sleep(1)
        return [process]

    def settle(self, lab):
        time.sleep(1.5)  # the kernel hands over a block that is not full after a second
        return {}

    def files(self, lab):
        return glob.glob(lab.path("out.pcap"))


class DpdkDumpcap(Peer):
    """A second process beside the one that has the port: testpmd, which drops what it receives. Both are counted. In
    Debian 12 the two do not agree on whose mempool is whose, and it records nothing."""

    def __init__(self):
        super().__init__("dpdk-dumpcap")
        self.brings_program, self.huge = True, None

    def start(self, lab):
        with open(HUGE) as file:
            self.huge = file.read()
        with open(HUGE, "w") as file:
            file.write(str(int(self.huge) + HUGE_PAGES))
        os.makedirs(lab.path("huge"), exist_ok=True)
        run("mount", "-t", "hugetlbfs", "none", lab.path("huge"))
        prefix = f"--file-prefix={lab.name}"
        port = start(lab, "stdbuf", "-oL", "dpdk-testpmd", "-l", "0,1", "-m", "256", "--no-pci", "--huge-dir", lab.path("huge"), prefix,
                     "--vdev", "net_af_xdp0,iface=t1", "--", "--forward-mode=rxonly", "--auto-start", "--no-mlockall",
                     "--disable-link-check", "--total-num-mbufs=65536", stdin=subprocess.PIPE)
        until = time.monotonic() + 15
        while "Press enter" not in lab.log_of(port) and port.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        if "Press enter" not in lab.log_of(port):
            raise Failed(f"dpdk-testpmd: {lab.log_of(port)[-600:]}")
        dumpcap = start(lab, "dpdk-dumpcap", prefix, "-i", "net_af_xdp0", "-w", lab.path("out.pcap"))
        time.sleep(2)
        if port.poll() is not None or dumpcap.poll() is not None:
            raise Failed(f"dpdk-dumpcap: {lab.log_of(port)[-300:]} {lab.log_of(dumpcap)[-300:]}")
        return [dumpcap, port]

    def release(self, lab):
        run("umount", "--lazy", lab.path("huge"), check=False)
        if self.huge is not None:
            with open(HUGE, "w") as file:
                file.write(self.huge)


AF_XDP = 'type = "af_xdp"; interface = "t1"; frames = 32768;'
DPDK = 'type = "dpdk"; device = "{}"; eal = "--no-huge -m 512"; frames = 32768;'
RECORDERS = {
    "tapedeckd, AF_XDP": Tapedeckd(AF_XDP, True),
    "tapedeckd, DPDK net_af_xdp": Tapedeckd(DPDK.format("net_af_xdp0,iface=t1"), True),
    "tapedeckd, DPDK net_pcap": Tapedeckd(DPDK.format("net_pcap0,rx_iface_in=t1"), False),
    "tcpdump": Peer("tcpdump", "-i", "t1", "-w", "OUT", "-s", "0", "-B", "65536", "-Z", "root", "-n", says="listening on"),
    "dumpcap": Peer("dumpcap", "-q", "-i", "t1", "-w", "OUT", "-B", "64"),
    "netsniff-ng": Peer("netsniff-ng", "-i", "t1", "-o", "OUT", "-s", "--ring-size", "64MiB"),
    "dpdk-dumpcap": DpdkDumpcap(),
}


def start(lab, *command, **options):
    return lab.start("tap", "taskset", "-c", str(1 % os.cpu_count()), *command, **options)


def packets_in(files):
    return sum(int(run("capinfos", "-Mc", path).split(":")[-1].strip().split()[0]) for path in files)


def one_run(name, sizes, rate, seconds):
    """A recorder's life at a rate -> what became of the frames"""
    recorder, lab = RECORDERS[name], Lab()
    try:
        run("ip", "-n", lab.ns("net"), "link", "set", "t0", "nomaster")
        if not recorder.brings_program:
            lab.start("tap", BLAST, "pass", "t1")
            wait_for(lambda: "xdp" in run("ip", "-n", lab.ns("tap"), "link", "show", "t1"), 10, "the program on t1")
        processes = recorder.start(lab)
        before = sum(map(cpu_seconds, processes))
        sent = json.loads(lab.run("net", "taskset", "-c", "0", BLAST, "t0", sizes, "10000", str(rate), str(int(rate * seconds))))
        counted = recorder.settle(lab)
        cpu = sum(map(cpu_seconds, processes)) - before  # all is written, but for what a peer's last buffer holds
        for process in processes:
            if lab.stop(process) is None:
                raise Failed(f"{name}: it does not end")
        got = packets_in(recorder.files(lab))
        if not got:
            raise Failed(f"{name}: it recorded nothing: {lab.log_of(processes[0])[-200:]}")
        return {"rate": sent["frames"] / sent["seconds"], "sent": sent["frames"], "lost": sent["frames"] - got, **counted,
                "cpu_us": cpu / got * 1e6}
    finally:
        recorder.release(lab)
        lab.close()


def there(table, group, scale):
    """the recorders that can be measured here"""
    for name in RECORDERS:
        program = name if "tapedeckd" not in name else BLAST
        if not shutil.which(program):
            table.skip(group, name, "it is not installed")
        elif scale.recorders and name not in scale.recorders:
            continue
        else:
            yield name


def live(scale):
    """everything is recorded at a rate that all can follow"""
    rate, seconds = scale.live_rate, scale.live_seconds
    table = Table("live", f"CPU us a recorded packet at {rate} packets/s, IMIX, to disk")
    names = list(there(table, "IMIX", scale))
    runs = {name: [] for name in names}
    for _ in range(scale.live_rounds):
        for name in [n for n in names if n not in table.skipped]:
            with not_measured(table, "IMIX", name):
                runs[name].append(one_run(name, "imix", rate, seconds))
    for name in names:
        rows = runs[name]
        if not rows:
            continue
        table.add("IMIX", name, [r["cpu_us"] for r in rows], sent=rows[0]["sent"], lost=max(r["lost"] for r in rows))
    for peer in names[1:]:
        if "tapedeckd" not in peer:
            table.target("IMIX", "tapedeckd, AF_XDP", peer, most=1)
    table.save()
    all_counted(runs)


def all_counted(runs):
    """What Tapedeck lost it has to have counted."""
    for name, rows in runs.items():
        for row in rows:
            if row.get("counted", row["lost"]) != row["lost"]:
                raise Failed(f"{name}: what is not in the file is not what was counted as lost: {row}")


@contextlib.contextmanager
def not_measured(table, group, name):
    """A peer that does not work here is said and passed over; Tapedeck has to."""
    try:
        yield
    except (Failed, RuntimeError, ValueError) as reason:
        if "tapedeckd" in name:
            raise
        table.skip(group, name, str(reason)[-400:].replace("\n", " "))


def lossless(scale):
    """the highest rate at which every frame is in the file, found by doubling, then halving the distance"""
    table = Table("lossless", "thousand packets a second without loss, one core, to disk")
    runs = {}
    for sizes in scale.lossless_sizes:
        group = {"imix": "IMIX", "64": "64 bytes"}[sizes]
        for name in there(table, group, scale):
            with not_measured(table, group, name):
                good, bad, most = search(name, sizes, scale)
                runs[name, sizes] = [r for r in (good, bad) if r]
                table.add(group, name, [good["rate"] / 1000 if good else 0], lost=good["lost"] if good else "",
                          at_next_rate=f"{bad['rate'] / 1000:.0f} lost {bad['lost']} of {bad['sent']}" if bad
                          else "none: the generator does no more" if most else "not tried")
        peers = [r for r in table.rows if r["group"] == group and "tapedeckd" not in r["label"]]
        if peers:
            table.target(group, "tapedeckd, AF_XDP", max(peers, key=lambda r: r["median"])["label"], least=1)
    table.save()
    all_counted(runs)


def search(name, sizes, scale):
    """-> the best run without loss or None, the slowest run with loss or None, was the generator at its end?"""
    def attempt(rate):
        for _ in range(2):  # one that loses may try again: others are on this machine, too
            done = one_run(name, sizes, rate, scale.lossless_seconds)
            if not done["lost"]:
                break
        return done

    good, bad, rate = None, None, scale.lossless_rate
    for _ in range(scale.lossless_steps):
        done = attempt(rate)
        if done["lost"]:
            bad = done
        else:
            good = done
            if done["rate"] < 0.9 * rate:
                return good, bad, True
        if bad and good:
            rate = (good["rate"] * bad["rate"]) ** 0.5
        else:
            rate = done["rate"] / 3 if bad else rate * 2
    return good, bad, False


# ---------------------------------------------------------------------------------------------- latency
def requests(n, seed):
    """in the client's namespace: a connection each, at odd times, answered by a 500"""
    rng = random.Random(seed)
    for i in range(n):
        connection = http.client.HTTPConnection(SERVER, timeout=10, source_address=(CLIENTS[i % 4], 0))
        connection.request("GET", "/fail")
        connection.getresponse().read()
        connection.close()
        time.sleep(rng.uniform(0.005, 0.025))


def packets_of(data, at):
    """-> [(time, packet)] of the whole packet blocks from `at` on, and where the next block begins"""
    found = []
    while at + 12 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if at + size > len(data):
            break
        if kind == 6:
            high, low, caplen = struct.unpack_from("<III", data, at + 12)
            found.append((high << 32 | low, data[at + 28:at + 28 + caplen]))
        at += size
    return found, at


def watch(lab, client, job):
    """Looks at the segment's size without a pause. -> [ns from a 500's time on the wire to its being in the file]"""
    took, path, at, size_seen, quiet_since = [], None, 0, 0, None
    while True:
        if client.poll() is not None:
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() > quiet_since + 1.5:
                return took
        path = path or next(iter(glob.glob(lab.path(f"store/recordings/{job}/*.pcapng"))), None)
        size = os.stat(path).st_size if path else 0
        now = time.time_ns()
        if size == size_seen:
            continue
        size_seen = size
        with open(path, "rb") as file:
            file.seek(at)
            packets, end = packets_of(file.read(size - at), 0)
        at += end
        took += [now - ts for ts, packet in packets if b"HTTP/1.1 500" in packet]


def latency(scale):
    """from the last byte of a response on the wire to its packet in the file, as anyone who looks at the file sees it"""
    table = Table("latency", "ms from the response on the wire to the match on disk, AF_XDP over veth")
    for group, flush in (("flush 500 ms, default", "500ms"), ("flush 1 ms", "1ms")):
        lab = Lab()
        try:
            lab.nginx()
            lab.tapedeckd(lab.write("conf", f"""
sources = ( {{ {AF_XDP} }} );
storage: {{ path = "{lab.path('store')}"; flush = "{flush}"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
"""))
            lab.tapedeck("job", "create", "errors", "--kfl", "response.status == 500")
            client = lab.call("client", requests, scale.requests, 1)
            took = watch(lab, client, "errors")
            rows = wait_for(lambda: [r for r in lab.tapedeck_json("stats") if r["kind"] == "sum" and not r["difference"]], 20,
                            "the sum to hold")
            if client.wait() or len(took) != scale.requests:
                raise Failed(f"{scale.requests} requests, {len(took)} answers in the file: {lab.log_of(client)[-300:]}")
        finally:
            lab.close()
        took.sort()
        ms = [ns / 1e6 for ns in took]
        for label, value in (("median", ms[len(ms) // 2]), ("p90", ms[len(ms) * 9 // 10]), ("p99", ms[len(ms) * 99 // 100]),
                             ("most", ms[-1]), ("least", ms[0])):
            table.add(group, label, [value], requests=len(ms), loss=rows[0]["dropped"])
    table.save()
