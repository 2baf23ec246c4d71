"""from_memory.py - the benches that need no network: files and packets in memory, one core, no loss allowed."""
import collections
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile

import traffic
from report import BUILD, PIPELINE, ROOT, TAPEDECK, Failed, Table, measure

STATEMENT = "response.status == 500"
MODES = {"out": "all jobs out", "named": "all jobs out, streams followed", "all": "everything recorded, to memory",
         "open": "all open, into the lookback", "http": STATEMENT}
STAGES = (  # the first pattern that the source file's path contains
    ("receive", r"memory_source|bench_pipeline|source"),
    ("decode", r"dataplane/(decode|fragment|packet)"),
    ("streams", r"dataplane/(stream|pool|interface)"),
    ("reassembly", r"dataplane/(tcp|cursor)"),
    ("dissect", r"dataplane/(l7|proto/|waiting|dns_names|fact)"),
    ("plan", r"kfl-jit/"),
    ("gate", r"dataplane/gate"),
    ("lookback", r"dataplane/(lookback|past)"),
    ("record", r"dataplane/(pcapng_block|recorder)|writer/"),
    ("step", r"dataplane/(classifier|pipeline|verdict|ring|counters|pushdown)"),
)


def in_turns(candidates, rounds, check):
    """A B C A B C ... -> {label: [CPU seconds]}; check(label, stdout)"""
    took = {label: [] for label, _ in candidates}
    for _ in range(rounds):
        for label, command in candidates:
            cpu, _, out = measure(command)
            took[label].append(cpu)
            check(label, out)
    return took


def offline(scale):
    """the same file, the same question where the peer can be asked it"""
    file = traffic.http(scale)
    table = Table("offline", "CPU seconds of the whole process for one capture")
    tcpdump, tshark = "tcpdump -w /dev/null 'tcp port 6379'", "tshark -Y http.response.code==500"
    read = [TAPEDECK, "read", "--json", "--summary", "--kfl", STATEMENT]
    folder = tempfile.mkdtemp(dir=traffic.folder())
    notes = {}

    def check(label, out):
        if "tapedeck" in label:
            lines = out.decode().splitlines()
            summary = json.loads(lines[-1])["summary"]
            if summary["difference"] or summary["dropped"]:
                raise Failed(f"{label}: the sum does not hold: {summary}")
            notes[label] = {"streams": len(lines) - 1, "loss": summary["dropped"]}
        elif "tshark" in label:
            notes[label] = {"streams": len(set(out.split()))}
        elif "tcpflow" in label:
            shutil.rmtree(folder)
            os.mkdir(folder)

    quick = [(tcpdump, ["tcpdump", "-r", file, "-w", "/dev/null", "tcp port 6379"]),
             ("tapedeck read", [*read, file]),
             ("tapedeck read -w /dev/null", [*read, "-w", "/dev/null", file]),
             ("ndpiReader -q", ["ndpiReader", "-q", "-i", file])]
    slow = [(tshark, ["tshark", "-n", "-r", file, "-Y", "http.response.code == 500", "-T", "fields", "-e", "tcp.stream"]),
            ("tcpflow, which writes the bytes", ["tcpflow", "-r", file, "-o", folder, "-q"])]
    try:
        for candidates, rounds in ((quick, scale.rounds), (slow, scale.slow_rounds)):
            there = [(label, command) for label, command in candidates if shutil.which(command[0])]
            took = in_turns(there, rounds, check)
            for label, command in candidates:
                if label in took:
                    table.add("HTTP mix", label, took[label], **notes.get(label, {}))
                else:
                    table.skip("HTTP mix", label, f"{command[0]} is not installed")
    finally:
        shutil.rmtree(folder)
    if tshark in notes and notes[tshark]["streams"] != notes["tapedeck read"]["streams"]:
        raise Failed(f"tshark finds {notes[tshark]['streams']} streams with a 500, tapedeck {notes['tapedeck read']['streams']}")
    for against, most in ((tcpdump, 1), ("ndpiReader -q", 1 / 2), (tshark, 1 / 60)):
        table.target("HTTP mix", "tapedeck read", against, most)
    table.save()


def run_pipeline(label, file, mode, rounds, *options):
    row = json.loads(measure([PIPELINE, file, mode, "--rounds", str(rounds), *map(str, options)])[2])
    if row["difference"] or row["dropped"]:
        raise Failed(f"{label}: lost packets or a sum that does not hold: {row}")
    return row


def in_memory(table, group, label, file, mode, scale, *options, clock="ns_packet"):
    row = run_pipeline(f"{group}, {label}", file, mode, scale.rounds, *options)
    bytes_packet = row["bytes"] / (row["packets"] or 1)
    table.add(group, label, [row[clock + "_min"], row[clock], row[clock + "_max"]], Mpps=round(1000 / row[clock], 2),
              Gbit_s=round(bytes_packet * 8 / row[clock], 1), streams=row["streams"], loss=row["dropped"])
    return row


def pipeline(scale):
    table = Table("pipeline", "CPU ns a packet, one core, from memory")
    for group, file, modes in (("64 bytes", traffic.flood(scale), ("out", "named", "all", "open")),
                               ("IMIX", traffic.imix(scale), ("out", "all", "open")),
                               ("jumbo", traffic.sized(9000, scale), ("out", "all", "open")),
                               ("HTTP mix", traffic.http(scale), ("http", "out", "all"))):
        for mode in modes:  # what a start costs (the first touch of memory) is not what a packet costs
            row = in_memory(table, group, MODES[mode], file, mode, scale, "--warm", scale.packets // 100)
            if mode == modes[0]:
                table.add(group, "pcap_offline_filter alone", [row["bpf_ns_packet_min"], row["bpf_ns_packet"],
                                                               row["bpf_ns_packet_max"]])
    table.target("64 bytes", MODES["out"], "pcap_offline_filter alone", 1)
    table.save()


def growth_of_jobs(table, scale):
    """in turns: what is compared is minutes apart else, and the machine another one"""
    group, counts = "jobs, HTTP mix", (1, 2, 4, 8, 16, 32, 64)
    rows = {n: [] for n in counts}
    for _ in range(2 * scale.rounds):  # a round is short
        for n in counts:
            rows[n].append(run_pipeline(f"{group}, {n} jobs", traffic.http(scale), "jobs", 1, "--jobs", n,
                                        "--warm", scale.packets // 100))
    for n in counts:
        took = [row["ns_packet"] for row in rows[n]]
        table.add(group, f"{n} jobs", took, Mpps=round(1000 / statistics.median(took), 2), streams=rows[n][0]["streams"],
                  loss=sum(row["dropped"] for row in rows[n]))


def growth(scale):
    table = Table("growth", "CPU ns a packet, one core, from memory (classifiers: ns by the clock)")
    growth_of_jobs(table, scale)
    streams = [n for n in (1_000, 10_000, 100_000, 1_000_000, 4_000_000) if n <= scale.streams_max]
    memory = {}
    for n in streams:
        row = in_memory(table, "concurrent streams", f"{n:,} streams", traffic.streams(n, scale), "named", scale, "--warm", 3 * n)
        memory[n] = row["rss"]
    for n in streams[1:]:
        row = in_memory(table, "streams that begin", f"{n:,} new ones", traffic.streams(n, scale, packets=0), "named", scale)
        table.add("streams that end", f"{n:,} of them", [row["end_ns_stream_min"], row["end_ns_stream"], row["end_ns_stream_max"]])
    for size in (64, 128, 256, 594, 1518, 4096, 9000):
        in_memory(table, "packet size, recorded", f"{size} bytes", traffic.sized(size, scale), "all", scale)
    in_memory(table, "classifiers, HTTP mix", "all in one thread", traffic.http(scale), "http", scale, clock="wall_ns_packet")
    for n in (1, 2):
        in_memory(table, "classifiers, HTTP mix", f"1 receives, {n} classify", traffic.http(scale), "http", scale,
                  "--classifiers", n, clock="wall_ns_packet")
    table.target("jobs, HTTP mix", "64 jobs", "1 jobs", 1 / 0.6)
    table.target("concurrent streams", "1,000,000 streams", "1,000 streams", 1 / 0.5)
    table.save()
    table = Table("memory", "bytes the process grows by for a stream without L7 state")
    table.add("bound", "at most", [192])
    for n in streams[2:]:  # the table is for 4 M: of few streams each pays for more of its index
        table.add("bound", f"{n:,} streams", [memory[n] / n])
        if n >= 1_000_000:
            table.target("bound", f"{n:,} streams", "at most", 1)
    table.save()


def disk(scale):
    """L4 match everything, to disk, against what fio gets out of the same file system in between"""
    table = Table("disk", "MB/s by the clock, last sync included")
    group, folder, ours, theirs, rows = "IMIX, all recorded", traffic.folder(), [], [], []
    fio = ["fio", "--name=bench", f"--filename={folder}/bench.fio", "--ioengine=io_uring", "--direct=1", "--bs=1M", "--iodepth=16",
           "--rw=write", f"--size={scale.disk_bytes}", "--end_fsync=1", "--output-format=json"]
    file = traffic.imix(scale)
    laps = max(1, scale.disk_bytes // os.path.getsize(file))
    for _ in range(scale.slow_rounds):
        if shutil.which("fio"):
            theirs.append(json.loads(measure(fio)[2])["jobs"][0]["write"]["bw_bytes"] / 1e6)
            os.unlink(f"{folder}/bench.fio")
        row = run_pipeline(group, file, "all", 1, "--disk", folder, "--laps", laps)
        ours.append(row["written"] * 1000 / (row["wall_ns_packet"] * row["packets"]))
        rows.append(row)
    if theirs:
        table.add(group, "fio, O_DIRECT, 1 MiB, 16 in flight", theirs)
    else:
        table.skip(group, "fio", "it is not installed")
    table.add(group, "tapedeck, one classifier", ours, loss=sum(r["dropped"] for r in rows),
              cpu_ns_a_packet=statistics.median(r["ns_packet"] for r in rows), GB=round(rows[0]["written"] / 1e9, 1),
              packets_alone=f"{100 * rows[0]['bytes'] / rows[0]['written']:.0f} %",
              overhead=round((rows[0]["written"] - rows[0]["bytes"]) / rows[0]["packets"], 1))
    table.target(group, "tapedeck, one classifier", "fio, O_DIRECT, 1 MiB, 16 in flight", least=0.85)
    table.save()


def with_lines():
    """bench_pipeline as it is released, with line numbers: callgrind then knows the file of what was inlined"""
    folder = os.path.join(ROOT, "build-lines")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        measure(["meson", "setup", folder, ROOT, "-Ddebug=true"])
    measure(["ninja", "-C", folder, "bench/bench_pipeline"])
    return os.path.join(folder, "bench", "bench_pipeline")


def stage_of(path):
    return next((stage for stage, pattern in STAGES if re.search(pattern, path)), "libraries")


def instructions_by_stage(program, file, mode):
    """-> {stage: instructions a packet}"""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        row = json.loads(measure(["valgrind", "--tool=callgrind", "--toggle-collect=bench_measured*", "--compress-strings=no",
                                  "--compress-pos=no", f"--callgrind-out-file={out}", program, file, mode, "--rounds", "1"])[2])
        if row["difference"] or row["dropped"]:
            raise Failed(f"{mode}: the sum does not hold: {row}")
        stages, path, called = collections.Counter(), "", False
        with open(out, errors="replace") as lines:
            for line in lines:
                if line.startswith(("fl=", "fi=", "fe=")):
                    path = line[3:].strip()
                elif line.startswith("calls="):
                    called = True
                elif line[0].isdigit():
                    if not called:  # what a called function took is counted where it happened
                        stages[stage_of(path)] += int(line.split()[1])
                    called = False
        return {stage: n / row["packets"] for stage, n in stages.items()}


def instructions(scale):
    """exact, and the same on every machine of this architecture"""
    table = Table("instructions", "instructions a packet by stage (callgrind)")
    if not shutil.which("valgrind"):
        table.skip("", "", "valgrind is not installed")
        return
    program, small = with_lines(), traffic.QUICK if scale is not traffic.TINY else scale
    for group, file, mode in (("64 bytes, all out", traffic.flood(small), "out"),
                              ("64 bytes, all recorded", traffic.flood(small), "all"),
                              ("64 bytes, all open", traffic.flood(small), "open"),
                              ("HTTP mix, 500s", traffic.http(small), "http")):
        stages = instructions_by_stage(program, file, mode)
        table.add(group, "in all", [sum(stages.values())])
        for stage, n in sorted(stages.items(), key=lambda pair: -pair[1]):
            if n >= 0.05:
                table.add(group, stage, [n])
    table.save()
