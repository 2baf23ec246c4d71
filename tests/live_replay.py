#!/usr/bin/env python3
"""live_replay.py - one capture through file, af_xdp and dpdk: the same streams, with the same packets in
the same order, byte for byte. Frames of every kind are in it: VLAN tags, fragments, odd sizes."""
import collections
import json
import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, TAPEDECK, Lab, Tap, run, wait_for
from live_recording import raw_frames

SOURCES = {
    "file": '{{ type = "file"; interface = "{capture}"; }}',
    "af_xdp": '{{ type = "af_xdp"; interface = "t1"; }}',
    "dpdk-pcap-file": '{{ type = "dpdk"; device = "net_pcap0,rx_pcap={capture}"; eal = "--no-huge -m 512"; }}',
    "dpdk-af_xdp": '{{ type = "dpdk"; device = "net_af_xdp0,iface=t1"; eal = "--no-huge -m 512"; }}',
}


def make_capture(path):
    """a pcap of real traffic with some frames put into VLANs; -> its frames"""
    lab = Lab()
    try:
        lab.nginx(), lab.dnsmasq(), lab.redis()
        dump = lab.tcpdump()
        url = f"http://{SERVER}"
        for address in CLIENTS:
            lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", address, f"{url}/large.bin",
                    f"{url}/api/fail", f"{url}/index.html")
            lab.run("client", "dig", "-b", address, f"@{SERVER}", "+tries=1", "a.shop.test", check=False)
            lab.run("client", "ping", "-c", "2", "-i", "0.1", "-s", "2900", "-I", address, SERVER, check=False)
        lab.run("client", "redis-benchmark", "-h", SERVER, "-c", "3", "-n", "300", "-q", "-t", "set,get")
        time.sleep(0.5)
        lab.stop(dump)
        frames = raw_frames(dump.capture)
    finally:
        lab.close()
    tagged = []
    for frame in frames:
        # A client's own VLAN, as a trunk shows it; one of them in QinQ.
        if socket.inet_aton(CLIENTS[1]) in frame[:34]:
            frame = frame[:12] + struct.pack("!HH", 0x8100, 0x2064) + frame[12:]
        elif socket.inet_aton(CLIENTS[2]) in frame[:34]:
            frame = frame[:12] + struct.pack("!HHHH", 0x88a8, 300, 0x8100, 7) + frame[12:]
        tagged.append(frame)
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        now = int(time.time()) - 600
        for n, frame in enumerate(tagged):
            file.write(struct.pack("<IIII", now + n // 1000000, n % 1000000, len(frame), len(frame)) + frame)
    return tagged


def inject(lab, frames):
    """sends the frames from the hub's side of the tap, in order"""
    script = lab.write("inject.py", f"""
import socket, struct, sys, time
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
tap.bind(("t0", 0))
data, at, n = open(sys.argv[1], "rb").read(), 24, 0
while at < len(data):
    size = struct.unpack_from("<I", data, at + 8)[0]
    tap.send(data[at + 16:at + 16 + size])
    at += 16 + size
    n += 1
    if n % 64 == 0:
        time.sleep(0.002)
""")
    lab.run("net", sys.executable, script, lab.path("capture.pcap"))


def by_stream(capture):
    """-> {stream's key: [frames in order]}"""
    rows = run(TAPEDECK, "read", "--json", capture).splitlines()
    streams = len([r for r in rows if '"stream"' in r])
    ordered = collections.defaultdict(list)
    command = ["tshark", "-n", "-r", capture, "-T", "fields", "-E", "occurrence=f", "-e", "ip.src", "-e", "ip.dst",
               "-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "udp.srcport", "-e", "udp.dstport", "-e", "ip.proto",
               "-o", "ip.defragment:FALSE"]
    for row, frame in zip(run(*command).splitlines(), raw_frames(capture)):
        src, dst, sport, dport, usport, udport, proto = row.split("\t")
        if src:
            ordered[(proto,) + tuple(sorted([(src, sport or usport), (dst, dport or udport)]))].append(frame)
    return streams, dict(ordered)


def record(tap, source, capture, frames):
    lab = Lab(mtu=1600)  # room for the VLAN tags
    try:
        os.link(capture, lab.path("capture.pcap"))
        conf = lab.write("tapedeck.conf", f"""
sources = ( {SOURCES[source].format(capture=lab.path("capture.pcap"))} );
storage: {{ path = "{lab.path('store')}"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
streams: {{ timeout_udp = "1h"; timeout_icmp = "1h"; timeout_tcp_closed = "1m"; }};
jobs = ( {{ name = "all"; kfl = "tcp or udp or icmp"; }} );
""")
        daemon = lab.tapedeckd(conf)
        if "t1" in SOURCES[source]:
            inject(lab, frames)

        def complete():
            stats = lab.tapedeck_json("stats")
            rows = [r for r in stats if r.get("kind") == "source"]
            # What is still in a ring when the job is stopped is not the job's any more.
            return (sum(r["rx"] for r in rows) >= len(frames) and all(r["difference"] == 0 for r in rows)
                    and all(r.get("in_flight", 0) == 0 for r in stats))
        wait_for(complete, 60, f"{len(frames)} packets to be received: {lab.tapedeck('stats', check=False)}")
        lab.tapedeck("job", "stop", "all")
        out = lab.path("all.pcapng")
        lab.tapedeck("recording", "export", "all", "-o", out)
        result = by_stream(out)
        lab.stop(daemon)
        return result
    finally:
        lab.close()


def main():
    tap = Tap()
    capture = f"/var/tmp/tapedeck-replay-{os.getpid()}.pcap"
    try:
        frames = make_capture(capture)
        want_streams, want = by_stream(capture)
        tap.note(f"{len(frames)} packets, {want_streams} streams")
        tap.ok(want_streams > 15 and any(f[12:14] == b"\x88\xa8" for f in frames), "the capture has what it needs")
        for source in sys.argv[1:] or SOURCES:
            try:
                streams, got = record(tap, source, capture, frames)
            except RuntimeError as why:
                tap.ok(False, f"{source}: runs to its end", str(why))
                continue
            tap.ok(streams == want_streams and set(got) == set(want), f"{source}: the same streams",
                   f"{streams} of {want_streams}; {sorted(set(got) ^ set(want))[:5]}")
            wrong = [k for k in want if got.get(k) != want[k]]
            tap.ok(not wrong, f"{source}: the same packets in the same order",
                   "; ".join(f"{k}: {len(got.get(k, []))} of {len(want[k])}" for k in wrong[:5]))
    finally:
        if os.path.exists(capture):
            os.remove(capture)
    tap.done()


if __name__ == "__main__":
    main()
