#!/usr/bin/env python3
"""test_bench.py - bench/run does what it says, at a size that measures nothing: each bench has its rows, with nothing lost where
nothing may be; SCALING.md can be made of the results; and a sum that does not hold makes it end with 1."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import BUILD, Tap

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
ROWS = {"offline": "tapedeck read", "pipeline": "all jobs out", "disk": "tapedeck, one classifier", "growth": "64 jobs",
        "live": "tapedeckd, AF_XDP", "lossless": "tapedeckd, AF_XDP", "latency": "median"}


def bench(folder, *arguments, **environment):
    return subprocess.run([os.path.join(SOURCE, "bench", "run"), "--tiny", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env={**os.environ, "BUILD": os.path.abspath(BUILD), "TAPEDECK_BENCH": folder,
                                                       "TAPEDECK_BENCH_RESULTS": os.path.join(folder, "results"), **environment})


def rows_of(folder, name):
    try:
        with open(os.path.join(folder, "results", name + ".json")) as file:
            return json.load(file)["rows"]
    except FileNotFoundError:
        return []


def build_with_a_leak(folder):
    """a build whose bench_pipeline says that a packet is neither here nor there"""
    path = os.path.join(folder, "build", "bench", "bench_pipeline")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write(f"""#!/bin/sh\n{os.path.abspath(BUILD)}/bench/bench_pipeline "$@" | sed 's/"difference":0/"difference":1/'\n""")
    os.chmod(path, 0o755)
    return os.path.join(folder, "build")


def main():
    tap = Tap()
    if os.geteuid() or subprocess.run(["ip", "netns", "list"], stdout=subprocess.DEVNULL).returncode:
        tap.skip("bench/run", "needs root and ip netns")
        tap.done()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        done = bench(folder, *ROWS)
        tap.ok(done.returncode == 0, "all benches run through", done.stderr.decode("utf-8", "replace")[-800:])
        for name, label in ROWS.items():
            found = [row for row in rows_of(folder, name) if row["label"] == label]
            tap.ok(found and all(row["median"] > 0 and not row.get("loss") for row in found), f"{name}: {label}, without loss",
                   str(found))
        for name in ("live", "lossless"):
            tap.ok(all("lost" in row for row in rows_of(folder, name)), f"{name}: each row says what was lost")
        made = subprocess.run([sys.executable, "-c", "import scaling, sys; scaling.write(sys.argv[1])", folder + "/SCALING.md"],
                              cwd=os.path.join(SOURCE, "bench"), stderr=subprocess.PIPE,
                              env={**os.environ, "TAPEDECK_BENCH_RESULTS": os.path.join(folder, "results")})
        text = open(folder + "/SCALING.md").read() if not made.returncode else ""
        tap.ok("| 100 | everything recorded |" in text and "{" not in text, "SCALING.md is made of the results",
               made.stderr.decode("utf-8", "replace")[-500:] or text[:500])
        done = bench(folder, "pipeline", BUILD=build_with_a_leak(folder))
        tap.ok(done.returncode == 1 and b"sum that does not hold" in done.stderr, "a sum that does not hold makes it end with 1",
               f"{done.returncode}: {done.stderr[-500:]}")
        done = bench(folder, "nonsense")
        tap.ok(done.returncode == 2 and b"latency" in done.stderr, "an unknown name is refused, with those that there are")
    tap.done()


if __name__ == "__main__":
    main()
