#!/usr/bin/env python3
"""live_pushdown.py - a job for one port, and 99 % other traffic.

The same traffic twice, without pushdown and with it: what is recorded is what tcpdump saw of the
port, both times, and tapedeckd's own CPU time with pushdown is at most a tenth of that without.
Then a heavy stream that is out for all jobs: the kernel discards it, and a new stream of the same
addresses is recorded from its SYN on.
"""
import collections
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import BUILD, CLIENTS, SERVER, Lab, Tap, cpu_seconds, run, wait_for
from live_recording import raw_frames

FLOOD = os.path.join(BUILD, "tests", "flood")
ATTEMPTS = 5
PER_SECOND = 400000  # fast enough that sleeping and waking up cost little beside it
FRAMES = 8000000 if os.environ.get("TAPEDECK_LONG") else 2000000


class Busy(Exception):
    """The machine had no time: packets were lost at the device, or idling cost as much as working. Once more then."""


def configuration(lab, pushdown):
    return lab.write("tapedeck.conf", f"""
sources = ( {{ type = "af_xdp"; interface = "t1"; frames = 65536; pushdown = {'true' if pushdown else 'false'}; }} );
storage: {{ path = "{lab.path('store')}"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
""")


def source_row(lab):
    return next(r for r in lab.tapedeck_json("stats") if r.get("kind") == "source")


def undelivered(lab):
    """frames that tcpdump saw go out of t0 and that found no room at t1: the device counts them where they were sent"""
    return json.loads(lab.run("net", "ip", "-j", "-s", "link", "show", "t0"))[0]["stats64"]["tx"]["dropped"]


def settled(lab):
    rows = [r for r in lab.tapedeck_json("stats") if r.get("kind") in ("source", "sum")]
    return rows if all(r["difference"] == 0 for r in rows) else None


def flood(lab, frames, *arguments):
    return lab.start("net", FLOOD, "t0", str(frames), str(PER_SECOND), *arguments)


def recorded(lab, name):
    path = lab.path(f"{name}.pcapng")
    lab.tapedeck("recording", "export", name, "-o", path)
    return collections.Counter(raw_frames(path))


def one_run(lab, pushdown, last):
    """-> (CPU seconds, rows of stats, how the recorded frames differ from those of the wire, their number)"""
    daemon = lab.tapedeckd(configuration(lab, pushdown))
    name = f"port-80-{pushdown}".lower()
    lab.tapedeck("job", "create", name, "--kfl", "tcp and dst.port == 80")
    dump = lab.path("port80.pcap")
    tcpdump = lab.start("net", "tcpdump", "-i", "t0", "-w", dump, "-s", "0", "-B", "65536", "-U", "--immediate-mode", "-Z", "root",
                        "-Q", "out", "tcp port 80")
    wait_for(lambda: "listening on" in lab.log_of(tcpdump), 20, "tcpdump to listen")
    before, undelivered_before = cpu_seconds(daemon), undelivered(lab)
    generator = flood(lab, FRAMES)
    n_requests = 0
    while generator.poll() is None:
        lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", CLIENTS[n_requests % 4],
                *[f"http://{SERVER}/index.html"] * 8, f"http://{SERVER}/large.bin")
        n_requests += 9
        time.sleep(0.5)
    if generator.returncode:
        raise RuntimeError(lab.log_of(generator))
    rows = wait_for(lambda: settled(lab), 20, "the sum to settle")
    used = cpu_seconds(daemon) - before
    lost = sum(v for k, v in source_row(lab).items() if k.startswith("drop") and isinstance(v, int))
    lost += sum(r.get("drop_ring", 0) for r in rows if r["kind"] == "sum")
    time.sleep(1)  # the last packets of closed connections
    lab.tapedeck("job", "stop", name)
    wait_for(lambda: not lab.tapedeck_json("job", "show", name)[0]["ending"], 20, "the job to end")
    lab.stop(tcpdump)
    got, sent = recorded(lab, name), collections.Counter(raw_frames(dump))
    lab.stop(daemon)
    lost += undelivered(lab) - undelivered_before
    lost += 0 if "\n0 packets dropped by kernel" in lab.log_of(tcpdump) else 1
    if lost and got != sent and not last:
        raise Busy(f"{lost} packets were lost, and counted: again")
    missing, more = sum((sent - got).values()), sum((got - sent).values())
    return used, rows, f"{missing} missing, {more} too many" if missing or more else "", sum(sent.values())


def less_work(tap, lab, last):
    results = {}
    for pushdown in (False, True):
        used, rows, wrong, n = results[pushdown] = one_run(lab, pushdown, last)
        sum_row = next(r for r in rows if r["kind"] == "sum")
        what = "with pushdown" if pushdown else "without"
        tap.note(f"{what}: {used:.2f} s of CPU for {sum_row['rx']} packets, {n} of them of port 80")
        tap.ok(n > 100 and not wrong, f"{what}: what is recorded is what was on the wire", f"{wrong}; {n} frames on the wire")
        tap.ok(all(r["difference"] == 0 for r in rows), f"{what}: the difference of the sum is 0", str(rows))
    if results[True][0] * 10 > results[False][0] and not last:
        raise Busy(f"{results[True][0]:.2f} s are more than a tenth of {results[False][0]:.2f} s: again")
    kernel = next(r for r in results[True][1] if r["kind"] == "source")["discarded_kernel"]
    tap.ok(kernel >= FRAMES * 0.99, "the kernel discarded and counted the rest", f"{kernel} of {FRAMES}")
    tap.ok(results[True][0] * 10 <= results[False][0], "user space needs at most a tenth of the CPU time",
           f"{results[True][0]:.2f} s, {results[False][0]:.2f} s without")


def heavy_stream(tap, lab):
    daemon = lab.tapedeckd(configuration(lab, True))
    port, frames = "45678", 200000
    lab.tapedeck("job", "create", "errors", "--kfl", "response.status == 500")
    generator = flood(lab, frames, port)
    wait_for(lambda: generator.poll() is not None, 60, "the stream to end")
    kernel = wait_for(lambda: source_row(lab)["discarded_kernel"], 20, "the kernel to discard")
    tap.ok(kernel > frames // 4, "a heavy stream that is out for all jobs is discarded in the kernel", f"{kernel} of {frames}")
    tap.note(f"{kernel} of {frames} frames of the heavy stream never left the kernel")
    lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", CLIENTS[0], "--local-port", port, f"http://{SERVER}/fail")
    row = wait_for(lambda: next((r for r in lab.tapedeck_json("job", "show", "errors") if r["streams"]), None), 20,
                   "the new stream to be recorded")
    lab.tapedeck("job", "stop", "errors")
    wait_for(lambda: not lab.tapedeck_json("job", "show", "errors")[0]["ending"], 20, "the job to end")
    path = lab.path("errors.pcapng")
    lab.tapedeck("recording", "export", "errors", "-o", path)
    syns = run("tshark", "-n", "-r", path, "-Y", f"tcp.flags.syn == 1 && tcp.port == {port}").splitlines()
    tap.ok(len(syns) == 2 and row["head_missing"] == 0, "a new stream of the same addresses is recorded from its SYN on",
           f"{len(syns)} SYNs, {row}")
    wait_for(lambda: settled(lab), 20, "the sum to settle")
    lab.stop(daemon)


def main():
    tap = Tap()
    if os.geteuid() or subprocess.run(["ip", "netns", "list"], stdout=subprocess.DEVNULL).returncode:
        tap.skip("pushdown", "needs root and ip netns")
        tap.done()
    for attempt in range(ATTEMPTS):
        lab = Lab()
        try:
            lab.nginx()
            less_work(tap, lab, attempt + 1 == ATTEMPTS)
            heavy_stream(tap, lab)
            break
        except Busy as reason:
            tap.note(str(reason))
        finally:
            lab.close()
    tap.done()


if __name__ == "__main__":
    main()
