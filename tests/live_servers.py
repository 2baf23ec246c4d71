#!/usr/bin/python3
"""live_servers.py [GROUP...] - real servers, real clients: every operation is one entry with the right fields.

Each group of tests/servers/ starts its server in the lab and lets its clients do some hundred
operations; each client says what it did and what came back. All of it is captured on the mirror port
and read with `tapedeck read --entries`. Then operations and entries are held against each other, one
to one (operations.py). It runs in Debian's own Python, which has the client libraries.
"""
import collections
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, TAPEDECK, Lab, Tap, run, wait_for
from operations import compare, label
from servers import amqp, diameter, http, kafka, ldap, mongodb, mysql, net, postgresql, radius, redis, rpc

MODULES = (http, rpc, net, redis, postgresql, mysql, mongodb, radius, diameter, amqp, ldap, kafka)
GROUPS = [group for module in MODULES for group in module.GROUPS]

SHOWN = 12
BROADCAST, MARK_PORT = "10.77.0.255", 9


def is_served(lab, group):
    flag = "-lnt" if group.proto == "tcp" else "-lnu"
    listening = lab.run("server", "ss", flag)
    return all(f":{port} " in listening for port in group.ports)


def started(lab, tap, groups):
    """-> groups whose servers listen"""
    up = []
    for group in groups:
        missing = group.missing()
        if missing:
            tap.skip(f"{group.name}: each operation is one entry", f"not installed: {', '.join(missing)}")
            continue
        group.start(lab)
        up.append(group)
    for group in list(up):
        try:
            wait_for(lambda: is_served(lab, group), 90, f"{group.name} to be served")
        except RuntimeError as why:
            up.remove(group)
            tap.ok(False, f"{group.name}: the server starts", f"{why}: {logs_of(lab)}")
    return up


def logs_of(lab):
    return " | ".join(f"{os.path.basename(p.log)}: {lab.log_of(p)[-300:]}" for p in lab.processes)


def operations_of(lab, tap, groups):
    """runs the clients of all groups at once -> {group: operations}"""
    running = [(group, lab.call("client", group.run, SERVER, lab.folder)) for group in groups]
    done = {}
    for group, child in running:
        done[group] = child.result()
        if not done[group]:
            tap.ok(False, f"{group.name}: the clients run to their end", lab.log_of(child)[-3000:])
            del done[group]
    return done


def captured_all(lab, dump):
    """waits until tcpdump has written what was sent last"""
    mark = os.urandom(16)

    def send():
        speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)  # nobody answers that
        speaker.bind((CLIENTS[0], 0))
        speaker.sendto(mark, (BROADCAST, MARK_PORT))

    def is_written():
        with open(dump.capture, "rb") as file:
            file.seek(max(0, os.path.getsize(dump.capture) - (1 << 20)))
            return mark in file.read()
    lab.call("client", send).wait()
    wait_for(is_written, 30, "tcpdump to write the last packet")


def entries_of(capture):
    """-> (entries, summary)"""
    lines = [json.loads(line) for line in run(TAPEDECK, "read", "--entries", "--summary", "--json", capture).splitlines()]
    return [e for e in lines if "summary" not in e], lines[-1]["summary"]


def check(tap, group, entries, operations):
    mine = [e for e in entries if group.owns(e)]
    broken = [e for e in mine if e["error"] and e["error"]["type"] == "dissection"]
    tap.ok(not broken, f"{group.name}: nothing breaks its protocol", "; ".join(label(e) for e in broken[:SHOWN]))
    wrong = compare(mine, operations)
    kinds = collections.Counter(e["protocol"]["abbr"] for e in mine)
    tap.ok(not wrong, f"{group.name}: each of {len(operations)} operations is one entry "
           f"({', '.join(f'{k} {n}' for k, n in sorted(kinds.items()))})",
           f"{len(wrong)} wrong of {len(mine)} entries:\n#   " + "\n#   ".join(wrong[:SHOWN]))


def main():
    tap, lab = Tap(), Lab()
    chosen = [g for g in GROUPS if not sys.argv[1:] or g.name in sys.argv[1:]]
    try:
        clock = time.monotonic()
        groups = started(lab, tap, chosen)
        dump = lab.tcpdump()
        done = operations_of(lab, tap, groups)
        captured_all(lab, dump)
        lab.stop(dump)
        tap.note(f"{len(groups)} groups in {time.monotonic() - clock:.0f} s, {os.path.getsize(dump.capture)} bytes captured")
        if os.environ.get("KEEP"):
            run("cp", dump.capture, os.environ["KEEP"])
        entries, summary = entries_of(dump.capture)
        tap.ok(summary["difference"] == 0 and summary["entries_lost"] == 0, "every entry is there", str(summary))
        for group, operations in done.items():
            check(tap, group, entries, operations)
    except RuntimeError as why:
        tap.ok(False, "runs to its end", str(why))
    finally:
        lab.close()
    tap.done()


if __name__ == "__main__":
    main()
