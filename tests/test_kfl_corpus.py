#!/usr/bin/env python3
"""test_kfl_corpus.py [FILES] [SEED] - statements over real entries: those that `tapedeck read --kfl` prints, by the
compiled plan, are those that `tapedeck kfl eval` finds true, by the tree. Skipped without ../shared. TAP."""
import glob
import json
import os
import random
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.environ.get("SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
TAPEDECK = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "mgmt", "tapedeck")
EVERY = 'conn.state != "x"'          # true for all, but only known at the end: then all values are the final ones
STATEMENTS = [
    "http", "!http", "tls", "error", "response.status == 500 or dns", "(response.status == 500) or dns",
    'request.method == "GET"', 'request.headers["User-Agent"] == r"(?i)curl|mozilla"', "src.port > 1023 and dst.port == 53",
    "conn.bytes > 1000", 'conn.tcpFlags == "RST"', 'request.questions[0].name.endsWith("com")',
    'request.questions.*.type == "A"', 'response.answers..ip == r"^1"', "elapsedTime > 5", 'error.type == "timeout"',
    "error == nil", "request == nil", "response != nil and tcp", r'request.headers.* == r"\."', 'request..name.contains("a")',
    "response.body.json() == false", 'protocol.version == "1.1" or ip.version == 6', '!(request.path == "/")',
    'request.pathSegments == "a"', "size > 500 and size < 5000", 'vlan.id > 0 or tunnel.type != ""', "index == 0",
    'conn.l7 == "HTTP"', "conn.duration > 100", "request.type == 8", "requestSize >= responseSize", "response.code == 0",
    'startTime == r"^20"', 'src.ip == "10.0.0.1" or dst.ip == r"^192"', 'request.body.contains("a")',
    'conn == "" and request != "x"', 'request.cookies.* != ""', "response.content.size > 100",
]


def entries(path, statement):
    run = subprocess.run([TAPEDECK, "read", "--json", "--entries", "--kfl", statement, path], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, check=False)
    return [json.loads(line) for line in run.stdout.split(b"\n") if line.startswith(b'{"id"')]


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    name = "the plan and the tree find the same entries"
    paths = sorted(glob.glob(os.path.join(SHARED, "corpus", "open", "*", "*.pcap*")))
    if not paths:
        print(f"ok 1 - {name} # SKIP shared/corpus is not there\n1..1")
        return 0
    pairs = matches = bad = 0
    for path in random.Random(seed).sample(paths, min(n, len(paths))):
        every = entries(path, EVERY)
        if not every or len(every) > 300:
            continue
        lines = "\n".join(json.dumps({"query": s, "record": e}) for s in STATEMENTS for e in every)
        run = subprocess.run([TAPEDECK, "kfl", "eval"], input=lines.encode(), stdout=subprocess.PIPE, check=False)
        answers = iter([json.loads(line)["truth"] for line in run.stdout.split(b"\n") if line])
        for statement in STATEMENTS:
            tree = {e["id"] for e in every if next(answers)}
            plan = {e["id"] for e in entries(path, statement)}
            pairs, matches = pairs + 1, matches + len(tree)
            if tree != plan:
                bad += 1
                print(f"# {path}: {statement}: only the tree {sorted(tree - plan)[:3]}, only the plan {sorted(plan - tree)[:3]}")
    print(f"# seed {seed}: {pairs} statements over files, {matches} matches, {bad} differ")
    print(f"{'not ok' if bad else 'ok'} 1 - {name}\n1..1")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
