#!/usr/bin/env python3
"""quickstart_demo.py - ./quickstart ends by itself with the demo's streams: for each stream with a
500 the complete stream from SYN to FIN, and nothing else; and nothing is left running. On an interface that the
host itself uses the host keeps its connections."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, Tap, run, tshark_fields, wait_for

OUT = "/var/tmp/tapedeck-quickstart/errors-500.pcapng"
SOURCE = os.environ.get("SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))


def on_an_interface_in_use(tap):
    host, web, url = f"qs{os.getpid()}-host", f"qs{os.getpid()}-web", "http://10.99.0.2/"
    processes = []
    try:
        for namespace in (host, web):
            run("ip", "netns", "add", namespace)
        run("ip", "-n", host, "link", "add", "own0", "type", "veth", "peer", "name", "own0", "netns", web)
        for namespace, address in ((host, "10.99.0.1/24"), (web, "10.99.0.2/24")):
            run("ip", "-n", namespace, "address", "add", address, "dev", "own0")
            run("ip", "-n", namespace, "link", "set", "own0", "up")
        with tempfile.TemporaryDirectory(prefix="tapedeck-quickstart-") as folder, tempfile.TemporaryFile() as log:
            processes.append(subprocess.Popen(["ip", "netns", "exec", web, sys.executable, "-m", "http.server", "80"], cwd=folder,
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            processes.append(subprocess.Popen(["ip", "netns", "exec", host, sys.executable, "tests/quickstart.py", "own0", "--seconds", "6"],
                                              cwd=SOURCE, stdout=log, stderr=subprocess.STDOUT))

            def said():
                log.seek(0)
                return log.read().decode("utf-8", "replace")

            wait_for(lambda: "Ctrl-C ends it sooner" in said() or processes[1].poll() is not None, 60, "the recording")
            answers = [run("ip", "netns", "exec", host, "curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", url, check=False)
                       for _ in range(3)]
            tap.ok(answers == ["200"] * 3, "the host keeps its connections while its traffic is recorded", str(answers))
            status = processes[1].wait(60)
            tap.ok(status == 0 and said().count("HTTP GET / -> 200 OK") == 3, "and they are recorded", f"{status}: {said()[-1500:]}")
        done = subprocess.run([sys.executable, "tests/quickstart.py", "nowhere0"], cwd=SOURCE, stderr=subprocess.PIPE, check=False)
        tap.ok(done.returncode == 1 and b"there is no interface nowhere0" in done.stderr, "an interface that is none is said", str(done.stderr))
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)
        for namespace in (host, web):
            run("ip", "netns", "del", namespace, check=False)


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
    on_an_interface_in_use(tap)
    tap.ok(run("ip", "netns") == before, "nothing is left running", run("ip", "netns"))
    tap.done()


if __name__ == "__main__":
    main()
