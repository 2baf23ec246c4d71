#!/usr/bin/env python3
"""test_recording_kfl.py - a statement asked about a recording is answered as `tapedeck read` answers it.

A recorder takes a capture in; its jobs ask for little. Whatever is asked of the recordings later, `recording
export --kfl` has the packets that `read -w --kfl` takes out of the whole export, and `view --kfl` the entries."""
import collections
import json
import os
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from feed import folder_for
from live import TAPEDECK, TAPEDECKD, Tap, run, wait_for
from live_recording import raw_frames

STREAMS = 12
STATEMENTS = ["", "http", "!http", "response.status == 500", 'request.headers["X-A"] == "3"', 'response.body.contains("boom")',
              "src.port == 40002", "conn.packets > 6", 'src.mac == "02:00:00:00:00:07"', "tcp and response.status == 200",
              'request.path == "/nowhere"']


def frame(n, from_client, flags, seq, ack, data=b""):
    ends = [(bytes([10, 0, 0, n + 1]), 40000 + n), (bytes([10, 0, 1, 1]), 80)]
    macs = [bytes([2, 0, 0, 0, 0, n]), bytes([2, 0, 0, 0, 1, 1])]
    (src, sport), (dst, dport) = ends if from_client else ends[::-1]
    smac, dmac = macs if from_client else macs[::-1]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0, src, dst)
    return dmac + smac + b"\x08\x00" + ip + struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 65535, 0, 0) + data


def conversation(n):
    """-> the frames of stream n; every third is answered 500, every fourth is not HTTP"""
    request = f"GET /{n} HTTP/1.1\r\nHost: x\r\nX-A: {n}\r\n\r\n".encode()
    body = b"boom" if n % 3 == 0 else b"fine, thank you"
    answer = f"HTTP/1.1 {500 if n % 3 == 0 else 200} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    if n % 4 == 1:
        request, answer = b"\x01\x02\x03 no protocol", b"\xf0\xf1\xf2 none at all"
    r, a = 1 + len(request), 1 + len(answer)
    frames = [(True, 2, 0, 0), (False, 0x12, 0, 1), (True, 0x10, 1, 1), (True, 0x18, 1, 1, request),
              (False, 0x18, 1, r, answer), (True, 0x11, r, a)]
    if n % 2:
        frames += [(False, 0x11, a, r + 1), (True, 0x10, r + 1, a + 1)]
    return [frame(n, *row) for row in frames]


def write_capture(path):
    """Streams are interleaved. -> number of packets"""
    rows, n_packets = [conversation(n) for n in range(STREAMS)], 0
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        while any(rows):
            for row in filter(None, rows):
                data = row.pop(0)
                out.write(struct.pack("<IIII", 1790000000, n_packets, len(data), len(data)) + data)
                n_packets += 1
    return n_packets


def packets(path):
    times = run("tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.time_epoch").split()
    return collections.Counter(zip(times, raw_frames(path)))


def asked(tap, folder, ask):
    whole = os.path.join(folder, "all.pcapng")
    ask("recording", "export", "all", "-o", whole)
    for statement in STATEMENTS:
        offline, read = os.path.join(folder, "offline.pcapng"), os.path.join(folder, "read.pcapng")
        ask("recording", "export", "all", "--kfl", statement, "-o", offline)
        run(TAPEDECK, "read", "--kfl", statement, "-w", read, whole)
        got, want = packets(offline), packets(read)
        tap.ok(got == want and bool(want) == ("nowhere" not in statement), f"export --kfl '{statement}' is as read",
               f"{sum(got.values())} packets, want {sum(want.values())}")
        entries = [json.loads(line) for line in ask("recording", "view", "all", "--json", "--kfl", statement).splitlines()]
        count = len(run(TAPEDECK, "read", "--entries", "--kfl", statement, whole).splitlines())
        tap.ok(len(entries) == count and all(e["record"] == "all" for e in entries), f"view --kfl '{statement}' is as read --entries",
               f"{len(entries)}, want {count}")
    one = os.path.join(folder, "one.pcapng")
    ask("recording", "export", "all", "fails", "--kfl", 'record == "fails" and http', "-o", one)
    alone = os.path.join(folder, "alone.pcapng")
    ask("recording", "export", "fails", "-o", alone)
    tap.ok(packets(one) == packets(alone) and packets(one), "record selects by recording")
    tap.ok(not ask("recording", "view", "all", "--kfl", 'record == "fails"'), "and only by its own name")
    ask("recording", "export", "all", "fails", "--kfl", 'record("fails") and http', "-o", one)
    tap.ok(packets(one) == packets(alone), "so does record() in an export")
    rows = [json.loads(line) for line in ask("recording", "view", "all", "fails", "--json", "--kfl", 'record("fails") or src.port == 40002').splitlines()]
    tap.ok(collections.Counter(row["record"] for row in rows) == {"all": 1, "fails": 3}, "and in a view, also within a term", str(len(rows)))
    rows = [json.loads(line) for line in ask("recording", "view", "all", "fails", "--json").splitlines()]
    tap.ok(sum(row["record"] == "fails" for row in rows) == 3 and {row["record"] for row in rows} == {"all", "fails"},
           "stored entries name the recording they are read from", str(len(rows)))
    refused = subprocess.run([TAPEDECK, "read", "--kfl", 'record("all")', whole], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    tap.ok(refused.returncode and b"record()" in refused.stderr, "where nothing is stored record() is refused", refused.stderr.decode())


def main():
    tap, folder = Tap(), folder_for("recording-kfl")
    process = None
    try:
        n_packets = write_capture(os.path.join(folder, "capture.pcap"))
        socket = os.path.join(folder, "sock")
        with open(os.path.join(folder, "conf"), "w", encoding="utf-8") as conf:
            conf.write(f"""
sources = ( {{ type = "file"; interface = "{folder}/capture.pcap"; }} );
storage: {{ path = "{folder}/store"; free_min = "1Mi"; }};
streams: {{ max = 65536; memory = "16Mi"; }}; lookback: {{ size = "16Mi"; }};
control: {{ socket = "{socket}"; }}; security: {{ user = ""; }};
jobs = ( {{ name = "all"; kfl = "tcp"; }}, {{ name = "fails"; kfl = "response.status == 500"; }} );
""")
        with open(os.path.join(folder, "log"), "wb") as log:
            process = subprocess.Popen([TAPEDECKD, "-c", os.path.join(folder, "conf"), "--foreground"], stdout=log, stderr=log)

        def ask(*arguments):
            return run(TAPEDECK, "--socket", socket, *arguments)

        def recorded():
            if not os.path.exists(socket):
                return False
            return json.loads(ask("job", "show", "all", "--json"))["packets"] == n_packets
        wait_for(recorded, 60, "the capture to be recorded")
        for name in ("all", "fails"):
            ask("job", "stop", name)
        asked(tap, folder, ask)
    except RuntimeError as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        if process:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
    tap.done()


if __name__ == "__main__":
    main()
