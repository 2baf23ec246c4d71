#!/usr/bin/env python3
"""quickstart_demo.py - ./quickstart ends by itself with the demo's streams: for each stream with a
500 the complete stream from SYN to FIN, and nothing else; and nothing is left running."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, Tap, run, tshark_fields

OUT = "/var/tmp/tapedeck-quickstart/errors-500.pcapng"
SOURCE = os.environ.get("SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))


def main():
    tap = Tap()
    before = run("ip", "netns")
    done = subprocess.run(["./quickstart"], cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "replace")
    if tap.ok(done.returncode == 0, "quickstart ends with status 0", f"{done.returncode}: {text[-2000:]}"):
        with_500 = {r[0] for r in tshark_fields(OUT, "http.response.code == 500", "tcp.stream")}
        everything = {r[0] for r in tshark_fields(OUT, "frame", "tcp.stream")}
        whole = {r[0] for r in tshark_fields(OUT, "tcp.completeness == 31", "tcp.stream")}
        lost = tshark_fields(OUT, "tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment", "frame.number")
        tap.ok(len(with_500) == 2 * len(CLIENTS), "each stream with a 500 is recorded", str(with_500))
        tap.ok(everything == with_500, "nothing else is recorded", str(everything - with_500))
        tap.ok(with_500 <= whole, "each from SYN to FIN", str(with_500 - whole))
        tap.ok(not lost, "no packet of them is missing", str(lost))
        tap.ok("wireshark " + OUT in text, "it says how to open them", text[-500:])
    tap.ok(run("ip", "netns") == before, "nothing is left running", run("ip", "netns"))
    tap.done()


if __name__ == "__main__":
    main()
