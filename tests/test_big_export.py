#!/usr/bin/env python3
"""test_big_export.py - a large recording comes out in time order, in bounded memory, without reading more than is needed.

What `recording export` has is held packet by packet against what tshark's filter gives on the segments merged
by mergecap and reordercap. 64 MiB, or 2 GiB with TAPEDECK_LONG; then it also takes turns with cat, into a pipe
and into a file, and must be half as quick."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from feed import Recorder, folder_for
from live import BUILD, TAPEDECK, Tap, run
from live_recording import raw_frames

LONG = bool(os.environ.get("TAPEDECK_LONG"))
MIB = int(os.environ.get("MIB") or (2048 if LONG else 64))
UNDER_WAY = 1000  # the last ones may not have matched
# Packets of a stream lie in many chunks, each of which is read: little of a large recording.
READ_MOST = 0.02 if LONG else 0.1
ASKED_MOST = READ_MOST + 0.13  # the index twice, and the chunks twice
TURNS = 3
MEMORY_KIB = 320 << 10
DAEMON = 'storage: { path = "STORE"; free_min = "0"; };'


def packets(path):
    times = run("tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.time_epoch").split()
    return list(zip(times, raw_frames(path)))


def shell(command):
    """-> seconds it took"""
    begin = time.monotonic()
    subprocess.run(["sh", "-c", command], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def bytes_read(command):
    """-> what a command reads, of files and of anything, by the kernel's account of it"""
    text = run("sh", "-c", command + " 2>/dev/null; cat /proc/$$/io")
    return int(text.split("rchar: ")[1].split()[0])


def some_streams(tap, folder, command, segments, n_streams):
    whole, merged, size = f"{folder}/whole.pcapng", f"{folder}/merged.pcapng", sum(map(os.path.getsize, segments))
    run("mergecap", "-w", whole, *segments)
    run("reordercap", whole, merged)
    os.unlink(whole)
    chosen = [1, n_streams // 2, n_streams - UNDER_WAY]
    run("tshark", "-n", "-r", merged, "-Y", " || ".join(f"tcp.port == {1024 + n}" for n in chosen), "-w", whole)
    os.unlink(merged)
    want = packets(whole)
    for n in chosen:
        out = f"{folder}/one.pcapng"
        read = bytes_read(f"{command} --stream {n} -o {out}")
        got, mine = packets(out), [p for p in want if port_of(p[1]) == 1024 + n]
        tap.ok(got == mine and len(got) >= 20, f"stream {n}: packet by packet what tshark's filter gives on the merged whole",
               f"{len(got)}, want {len(mine)}")
        tap.ok(read < size * READ_MOST, f"stream {n}: {read} bytes read of {size}: {100 * read / size:.2f} %")


def a_statement(tap, folder, command, segments, n_streams):
    """what the index rules out is not read"""
    n, one, out = n_streams // 3, f"{folder}/one.pcapng", f"{folder}/asked.pcapng"
    run(*command.split(), "--stream", str(n), "-o", one)
    size = sum(map(os.path.getsize, segments))
    read = bytes_read(f"{command} --kfl 'tcp and src.port == {1024 + n}' -o {out}")
    got = packets(out)
    tap.ok(got == packets(one) and len(got) >= 20, "a statement about a port has the packets of its stream", str(len(got)))
    tap.ok(read < size * ASKED_MOST, f"and {read} bytes are read for it: {100 * read / size:.2f} %")


def port_of(frame):
    ports = int.from_bytes(frame[34:36], "big"), int.from_bytes(frame[36:38], "big")
    return max(ports)


def in_order(tap, folder, command, segments):
    out = f"{folder}/all.pcapng"
    process = subprocess.Popen([*command.split(), "-o", out], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    counts = [int(line) for line in run("capinfos", "-T", "-r", "-M", "-c", out, *segments).split()[1::2]]
    tap.ok(counts[0] == sum(counts[1:]), "every packet is in the export", str(counts))
    ordered = run("capinfos", "-T", "-r", "-o", out).split()[-1]
    tap.ok(ordered.lower() == "true", "in the order of time", ordered)
    tap.ok(status == 0 and usage.ru_maxrss < MEMORY_KIB, f"in bounded memory: {usage.ru_maxrss >> 10} MiB", str(status))


def races(tap, folder, command, segments):
    out, files = f"{folder}/all.pcapng", " ".join(segments)
    for name, cat, export in (("into a pipe", f"cat {files} | cat >/dev/null", f"{command} -o - | cat >/dev/null"),
                              ("into a file", f"cat {files} >{out}", f"{command} -o {out}")):
        ratios = []
        for _ in range(TURNS):
            took = []
            for one in (cat, export):
                if os.path.exists(out):
                    os.unlink(out)
                os.sync()
                took.append(shell(one))
            ratios.append(took[0] / took[1])
        middle = sorted(ratios)[TURNS // 2]
        tap.ok(middle >= 0.5, f"{name}: {middle:.2f} of cat's speed", " ".join(f"{r:.2f}" for r in ratios))


def main():
    tap, folder = Tap(), folder_for("export")
    recorder = None
    try:
        os.makedirs(f"{folder}/store/recordings")
        n_streams = int(run(f"{BUILD}/tests/big_recording", f"{folder}/store/recordings", "big", str(MIB)))
        os.mkfifo(f"{folder}/pipe")
        recorder = Recorder(f"{folder}/store", folder, DAEMON)
        recorder.start()
        command = f"{TAPEDECK} --socket {recorder.socket} recording export big"
        segments = recorder.segments("big")
        in_order(tap, folder, command, segments)
        some_streams(tap, folder, command, segments, n_streams)
        a_statement(tap, folder, command, segments, n_streams)
        if LONG:
            races(tap, folder, command, segments)
    except (RuntimeError, subprocess.CalledProcessError) as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        if recorder and recorder.process:
            recorder.stop()
        shutil.rmtree(folder, ignore_errors=True)
    tap.done()


if __name__ == "__main__":
    main()
