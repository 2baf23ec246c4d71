#!/usr/bin/env python3
"""live_recording.py [SOURCE...] - five jobs at once on live traffic, held against a full capture.

For each source (af_xdp; dpdk on net_af_xdp; dpdk on net_pcap): real servers and clients, tapedeckd
on the mirror port with five jobs, tcpdump beside it. For each job the recorded streams are those
that tshark finds in the full capture, no packet of them is missing or changed, and the sum holds.
"""
import collections
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, Lab, Tap, run, tshark_fields, wait_for

# net_pcap's socket has room for 32 frames (2 MiB of 64 KiB slots, fixed in the driver): what comes
# faster is lost in the kernel, and counted. It gets gentle traffic.
SOURCES = {
    "af_xdp": '{ type = "af_xdp"; interface = "t1"; }',
    "dpdk-af_xdp": '{ type = "dpdk"; device = "net_af_xdp0,iface=t1"; eal = "--no-huge -m 512"; }',
    "dpdk-pcap": '{ type = "dpdk"; device = "net_pcap0,rx_iface_in=t1"; eal = "--no-huge -m 512"; }',
}

ATTEMPTS = 3

JOBS = {
    "http-or-dns": "http or dns",
    "probe-500": '(response.status == 500) and (request.headers["User-Agent"] == "kube-probe/1.27+") '
                 'and (src.name == "node-exporter")',
    "redis-port": "tcp and dst.port == 6379",
    "api-errors": 'response.status >= 400 and request.path.startsWith("/api")',
    "nothing": 'request.path == "/there/is/no/such/path"',
}


def traffic(lab, gentle):
    """a bounded mix; every connection is closed at the end. gentle: no more than some ten packets in flight"""
    url = f"http://{SERVER}"

    def curl(address, *arguments):
        lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", address, *arguments)

    for n, address in enumerate(CLIENTS):
        curl(address, f"{url}/index.html", f"{url}/api/ok", *[] if gentle else [f"{url}/large.bin"])
        curl(address, f"{url}/api/fail")
        curl(address, f"{url}/fail", "-A", "kube-probe/1.27+")
        curl(address, f"{url}/index.html", "--next", "-s", "-o", "/dev/null", "-A", "kube-probe/1.27+", f"{url}/api/teapot")
        for name in ("a.shop.test", "b.shop.test", "missing.test"):
            lab.run("client", "dig", "-b", address, f"@{SERVER}", "+tries=1", "+time=2", name, check=False)
        lab.run("client", "dig", "-b", address, f"@{SERVER}", "+tcp", "+tries=1", "+time=2", f"tcp{n}.shop.test", check=False)
    # One connection, many requests, only the last of them a 500.
    curl(CLIENTS[0], *[f"{url}/api/ok"] * 400, f"{url}/fail", "-A", "kube-probe/1.27+")
    if gentle:
        lab.run("client", "redis-benchmark", "-h", SERVER, "-c", "1", "-n", "200", "-q", "-t", "set,get")
        return
    lab.run("client", "wrk", "-t1", "-c4", "-d1", f"http://{SERVER}:80/index.html")
    lab.run("client", "redis-benchmark", "-h", SERVER, "-c", "5", "-n", "2000", "-q", "-t", "set,get")


def packets_by_stream(capture):
    """-> {5-tuple key: Counter of packet bytes}; key as in expected()"""
    streams = collections.defaultdict(collections.Counter)
    command = ["tshark", "-n", "-r", capture, "-T", "fields", "-E", "occurrence=f",
               "-e", "tcp.stream", "-e", "ip.src", "-e", "tcp.srcport", "-e", "ip.dst", "-e", "tcp.dstport",
               "-e", "udp.srcport", "-e", "udp.dstport", "-e", "frame.number", "-e", "frame.len"]
    rows = [line.split("\t") for line in run(*command).splitlines()]
    frames = raw_frames(capture)
    for stream, src, sport, dst, dport, usport, udport, number, length in rows:
        if not src:
            continue
        ends = tuple(sorted([(src, sport or usport), (dst, dport or udport)]))
        streams[("tcp" if stream else "udp",) + ends][frames[int(number) - 1]] += 1
    return streams


def raw_frames(capture):
    """-> the frames' bytes, in order, through tshark's own reader"""
    # -F pcap with a plain reader: 24 bytes of header, then 16 bytes before each frame.
    data = subprocess.run(["tshark", "-n", "-r", capture, "-F", "pcap", "-w", "-"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout  # nothing at all when there is no packet
    frames, at = [], 24
    while at < len(data):
        size = int.from_bytes(data[at + 8:at + 12], "little")
        frames.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return frames


def keys(capture, display_filter):
    rows = tshark_fields(capture, display_filter, "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "udp.srcport", "udp.dstport")
    return {("tcp" if r[1] else "udp",) + tuple(sorted([(r[0], r[1] or r[4]), (r[2], r[3] or r[5])])) for r in rows}


def expected(capture):
    """-> {job: set of streams}, by tshark"""
    requests = {r[0]: r for r in tshark_fields(capture, "http.request", "frame.number", "http.request.uri", "http.user_agent", "ip.src")}
    want = {name: set() for name in JOBS}
    want["http-or-dns"] = keys(capture, "http.request || http.response || dns")
    want["redis-port"] = keys(capture, "tcp.port == 6379")
    for status, request, src, sport, dst, dport in tshark_fields(
            capture, "http.response", "http.response.code", "http.request_in", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport"):
        key = ("tcp",) + tuple(sorted([(src, sport), (dst, dport)]))
        _, uri, agent, client = requests.get(request, ("", "", "", ""))
        if int(status) == 500 and agent == "kube-probe/1.27+" and client == CLIENTS[0]:
            want["probe-500"].add(key)
        if int(status) >= 400 and uri.startswith("/api"):
            want["api-errors"].add(key)
    return want


class Busy(Exception):
    """The recorder counted packets that the device lost: the machine had no time for it. A run of its own then."""


def check_source(tap, source, last):
    lab = Lab()
    try:
        lab.nginx(), lab.dnsmasq(), lab.redis()
        names = lab.write("names", f"{CLIENTS[0]} node-exporter monitoring\n{CLIENTS[1]} frontend shop\n{SERVER} web shop\n")
        conf = lab.write("tapedeck.conf", f"""
sources = ( {SOURCES[source]} );
storage: {{ path = "{lab.path('store')}"; }};
names: {{ files = [ "{names}" ]; }};
lookback: {{ size = "256Mi"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
""")
        daemon = lab.tapedeckd(conf)
        for name, statement in JOBS.items():
            lab.tapedeck("job", "create", name, "--kfl", statement)
        dump = lab.tcpdump()
        # A first packet through everything: the recorder really listens before the traffic starts.
        traffic(lab, source == "dpdk-pcap")

        def at_rest():
            rows = lab.tapedeck_json("stats")
            sums = [r for r in rows if r.get("kind") == "source"]
            sums += [r for r in rows if r.get("kind") == "sum"]
            return sums if sums and all(r["difference"] == 0 for r in sums) else None
        time.sleep(1)
        lab.stop(dump)
        sums = wait_for(at_rest, 20, "the sum to settle")
        dropped = sum(v for r in sums for k, v in r.items() if k.startswith("drop") and isinstance(v, int))
        if dropped and not last:
            raise Busy(f"{source}: {dropped} packets were lost, and counted: again")
        tap.ok(all(r["difference"] == 0 for r in sums), f"{source}: the difference of the sum is 0", str(sums))
        tap.ok(dropped == 0, f"{source}: nothing was dropped", str(sums))
        for name in JOBS:
            lab.tapedeck("job", "stop", name)
        full, want = packets_by_stream(dump.capture), expected(dump.capture)
        tap.note(f"{source}: {sum(sum(c.values()) for c in full.values())} packets, {len(full)} streams in the full capture; "
                 + ", ".join(f"{n} {len(w)}" for n, w in want.items()))
        tap.ok(len(want["probe-500"]) == 2 and len(want["api-errors"]) == 8 and len(want["redis-port"]) >= 2,
               f"{source}: the traffic has what the jobs ask for", str({n: len(w) for n, w in want.items()}))
        for name in JOBS:
            out = lab.path(f"{name}.pcapng")
            lab.tapedeck("recording", "export", name, "-o", out)
            got = packets_by_stream(out)
            missing = want[name] - set(got)
            extra = set(got) - want[name]
            tap.ok(not missing and not extra, f"{source}: {name}: the streams are those tshark finds",
                   f"missing {sorted(missing)[:5]} extra {sorted(extra)[:5]}")
            different = [k for k in want[name] & set(got) if got[k] != full[k]]
            tap.ok(not different, f"{source}: {name}: no packet is missing, none changed",
                   f"{len(different)} streams, first: " + "; ".join(
                       f"{k}: {sum(got[k].values())} of {sum(full[k].values())}" for k in different[:3]))
        why = tshark_fields(lab.path("probe-500.pcapng"), "frame.comment", "http.response.code", "frame.comment")
        tap.ok(len(why) == len(want["probe-500"]) and all(
                   code == "500" and text.startswith(f"probe-500: {JOBS['probe-500']}: ") and "-> 500" in text for code, text in why),
               f"{source}: the packet that made a match says why, and by which entry", str(why[:3]))
        status = lab.stop(daemon)
        tap.ok(status == 0, f"{source}: SIGTERM ends with status 0", f"{status}: {lab.log_of(daemon)[-1000:]}")
    finally:
        lab.close()


def main():
    tap = Tap()
    for source in sys.argv[1:] or SOURCES:
        for attempt in range(ATTEMPTS):
            try:
                check_source(tap, source, attempt == ATTEMPTS - 1)
                break
            except Busy as why:
                tap.note(str(why))
            except RuntimeError as why:
                tap.ok(False, f"{source}: runs to its end", str(why))
                break
    tap.done()


if __name__ == "__main__":
    main()
