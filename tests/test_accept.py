#!/usr/bin/env python3
"""test_accept.py - the acceptance checks that lie beside a checkout: the language's vectors through
`tapedeck kfl eval`, and real captures through `tapedeck read` against what tshark says of them."""
import os
import re
import subprocess
import sys

SOURCE = os.environ.get("SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
SHARED = os.path.join(SOURCE, "..", "shared")
TAPEDECK = os.path.join(os.environ.get("BUILD", os.path.join(SOURCE, "build")), "mgmt", "tapedeck")

# Cases in which tshark's answer is not ours, and why ours stands.
ARGUED = {
    "K104": "the statement asks answers[0], which is the CNAME in front of the A record: its ip is empty",
    "K165": "the second stream is MongoDB on port 30000: told by content, tshark goes by the port",
    "K206": "asks for the outer UDP of a VXLAN tunnel: statements speak of the innermost stream",
    "K208": "4 first fragments whose rest was not captured: they carry the inner TCP header, so they are of its stream",
}


def ask(script, data):
    """-> (exit status, lines), or None where ../shared is not"""
    script, data = os.path.join(SHARED, "accept", script), os.path.join(SHARED, data)
    if not os.path.exists(script) or not os.path.exists(data):
        return None
    done = subprocess.run([sys.executable, script, "--tapedeck", TAPEDECK, data], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode("utf-8", "replace").splitlines()


def report(number, name, answer, holds):
    if answer is None:
        print(f"ok {number} - {name} # SKIP ../shared is not there")
        return True
    status, lines = answer
    good = holds(status, lines)
    for line in lines[-1:] if good else lines[-200:]:
        print(f"# {line}")
    print(f"{'ok' if good else 'not ok'} {number} - {name}", flush=True)
    return good


def vectors_agree(status, lines):
    return status == 0 and re.match(r"(\d+) of \1 vectors agree", lines[-1]) is not None


def captures_agree(_, lines):
    differ = {m[1] for m in (re.match(r"DIFF (\S+)", line) for line in lines) if m}
    for case in sorted(differ & set(ARGUED)):
        print(f"# {case} differs: {ARGUED[case]}")
    return re.match(r"\d+ of \d+ cases agree", lines[-1]) is not None and differ == set(ARGUED)


def main():
    held = [report(1, "every vector of the language agrees", ask("check-vectors.py", "kfl/vectors-open.ndjson"), vectors_agree),
            report(2, "streams of real captures are those that tshark finds, but for the argued",
                   ask("check-oracle.py", "oracle/cases.tsv"), captures_agree)]
    print("1..2")
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
