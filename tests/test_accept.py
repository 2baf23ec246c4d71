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


def ask(number, name, script, data, closing):
    script, data = os.path.join(SHARED, "accept", script), os.path.join(SHARED, data)
    if not os.path.exists(script) or not os.path.exists(data):
        print(f"ok {number} - {name} # SKIP ../shared is not there")
        return True
    done = subprocess.run([sys.executable, script, "--tapedeck", TAPEDECK, data], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    agree = re.match(closing, lines[-1] if lines else "")
    holds = done.returncode == 0 and agree is not None
    for line in lines[-200:] if not holds else lines[-1:]:
        print(f"# {line}")
    print(f"{'ok' if holds else 'not ok'} {number} - {name}", flush=True)
    return holds


def main():
    held = [ask(1, "every vector of the language agrees", "check-vectors.py", "kfl/vectors-open.ndjson",
                r"(\d+) of \1 vectors agree"),
            ask(2, "streams of real captures are those that tshark finds", "check-oracle.py", "oracle/cases.tsv",
                r"(\d+) of \1 cases agree")]
    print("1..2")
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
