#!/usr/bin/env python3
"""live_ring.py - the always-on ring: recordings out of the past, and jobs that begin there.

On the mirror port of a lab with a ring: what happened before anyone asked is cut out and held against
tcpdump's capture, packet by packet; a job with a start in the past takes its beginning from the ring
and goes on live, in the middle of connections that stay open: no packet twice, none lost.
"""
import collections
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, Lab, Tap, tshark_fields, wait_for
from live_daemon import ask, counts_in, get, job

FIELDS = ("ip.src", "ip.dst", "ip.id", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags",
          "tcp.checksum", "frame.len")


def configuration(lab, ring):
    return lab.write("tapedeck.conf", f"""
sources = ( {{ type = "af_xdp"; interface = "t1"; }} );
storage: {{ path = "{lab.path('store')}"; flush = "100ms"; {ring} }};
lookback: {{ size = "16Mi"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
""")


def packets(capture, display_filter="tcp"):
    return collections.Counter(tuple(row) for row in tshark_fields(capture, display_filter, *FIELDS))


def export(lab, name, *arguments):
    out = lab.path(name + ".pcapng")
    lab.tapedeck("recording", "export", name, "-o", out, *arguments)
    return out


def in_ring(lab, n):
    """waits until n ends of connections (FIN) are on disk in the ring"""
    folder = lab.path("store/ring")

    def there():
        files = [os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".pcapng")]
        return sum(counts_in(f, "tcp.flags.fin == 1") for f in files) >= n
    wait_for(there, 20, f"{n} FINs in the ring")


def talk(address, seconds, n_connections):
    """connections that stay open and ask again and again, and short ones in between; runs inside the lab"""
    def connect():
        s = socket.create_connection((SERVER, 80), source_address=(address, 0))
        s.settimeout(5)
        return s

    def ask_once(s, path):
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += s.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        while length and len(body) < length[0]:
            body += s.recv(65536)

    end = time.monotonic() + seconds
    kept = [connect() for _ in range(n_connections)]
    while time.monotonic() < end:
        for s in kept:
            ask_once(s, "/index.html")
        s = connect()
        ask_once(s, "/index.html")
        s.close()
        time.sleep(0.01)
    for s in kept:
        s.close()


def without(tap, lab):
    daemon = lab.tapedeckd(configuration(lab, ""))
    for command in (["recording", "create-from-ring", "x", "--from", "-10m"],
                    ["job", "create", "x", "--start", "-10m"]):
        status, _, err = ask(lab, *command)
        tap.ok(status == 2 and "storage.ring_size" in err and err.count("\n") == 1,
               f"without a ring `{command[0]} {command[1]}` is refused with the way out", err)
    lab.stop(daemon)


def the_past(tap, lab, dump):
    for client in (0, 1):
        get(lab, client, "/index.html")
        get(lab, client, "/fail")
    in_ring(lab, 8)
    tap.ok(lab.tapedeck("job", "list").count("\n") <= 1, "nobody has asked for anything yet")
    lab.tapedeck("recording", "create-from-ring", "all", "--from", "-10m")
    lab.tapedeck("recording", "create-from-ring", "fails", "--from", "-10m", "--to", "now", "--kfl",
                 f'response.status == 500 and src.ip == "{CLIENTS[1]}"')
    lab.tapedeck("recording", "create-from-ring", "before", "--from", "-20m", "--to", "-10m")
    want, got = packets(dump.capture), packets(export(lab, "all"))
    tap.ok(got == want and sum(want.values()) > 30, "a recording of the past has every packet once",
           f"{sum(got.values())} of {sum(want.values())}")
    ports = {row[0] for row in tshark_fields(dump.capture, f"http.response.code == 500 && ip.addr == {CLIENTS[1]}",
                                             "tcp.dstport")}
    chosen = " || ".join(f"(ip.addr == {CLIENTS[1]} && tcp.port == {port})" for port in ports)
    want, got = packets(dump.capture, chosen), packets(export(lab, "fails"))
    tap.ok(got == want and want, "with a statement: the whole stream that matched, and no other",
           f"{sum(got.values())} of {sum(want.values())}")
    rows = lab.tapedeck_json("recording", "view", "fails")
    tap.ok(len(rows) == 1 and rows[0]["response"]["status"] == 500, "and its entry",
           str([(r["id"], r["protocol"]["abbr"], r["response"]) for r in rows])[:900])
    row = job(lab, "before")
    tap.ok(row["streams"] == 0 and row["state"] == "done" and row["runs"][0]["past"]["missing"],
           "a window that the ring does not reach is empty, and that is said", json.dumps(row["runs"]))
    status, _, err = ask(lab, "recording", "verify", "all", "fails")
    tap.ok(status == 0, "they verify as any other recording", err)
    status, _, err = ask(lab, "recording", "create-from-ring", "early", "--from", "2001-01-01T00:00:00Z")
    tap.ok(status == 0 and "the ring reaches back to" in err, "what the ring does not hold is said", err)


def the_seam(tap, lab, dump):
    talks = [lab.call("client", talk, CLIENTS[n], 6, 3) for n in range(3)]
    time.sleep(2)
    lab.tapedeck("job", "create", "seam", "--start", "-1m", "--kfl", "http", "--duration", "10")
    for one in talks:
        one.wait(60)
    n = len(tshark_fields(dump.capture, "tcp.flags.fin == 1", "frame.number"))
    in_ring(lab, n)
    want = packets(dump.capture)
    wait_for(lambda: job(lab, "seam")["packets"] >= sum(want.values()), 20, "the job to have all packets")
    lab.tapedeck("job", "stop", "seam")
    row = job(lab, "seam")
    got = packets(export(lab, "seam"))
    past = row["runs"][0]["past"]
    tap.ok(got == want, "a job that begins in the past: no packet twice, none lost at the seam",
           f"{sum(got.values())} of {sum(want.values())}; lost {sum((want - got).values())}, twice {sum((got - want).values())}; {past}")
    tap.ok(0 < past["packets"] < sum(want.values()) and past["complete"],
           "some of them came from the ring, the others live", json.dumps(past))
    entries = lab.tapedeck_json("recording", "view", "seam")
    asked = len(tshark_fields(dump.capture, "http.request", "frame.number"))
    tap.ok(len(entries) == asked, "each request is an entry, once", f"{len(entries)} of {asked}")
    status, _, err = ask(lab, "recording", "verify", "seam")
    tap.ok(status == 0, "it verifies", err)
    rows = [r for r in lab.tapedeck_json("stats") if r["kind"] == "sum"]
    tap.ok(rows[0]["difference"] == 0, "the sum holds", str(rows))


def restart(tap, lab, conf, daemon, dump):
    want = packets(dump.capture)
    status = lab.stop(daemon)
    daemon = lab.tapedeckd(conf)
    lab.tapedeck("recording", "create-from-ring", "after", "--from", "-1h")
    got = packets(export(lab, "after"))
    tap.ok(status == 0 and got == want, "the ring goes on after a restart",
           f"{sum(got.values())} of {sum(want.values())}")
    return daemon


def main():
    tap, lab = Tap(), Lab()
    try:
        lab.nginx()
        without(tap, lab)
        conf = configuration(lab, 'ring_size = "64Mi"; ring_age = "1h";')
        daemon = lab.tapedeckd(conf)
        dump = lab.tcpdump()
        the_past(tap, lab, dump)
        the_seam(tap, lab, dump)
        daemon = restart(tap, lab, conf, daemon, dump)
        tap.ok(lab.stop(daemon) == 0, "and it ends with status 0", lab.log_of(daemon)[-500:])
    except RuntimeError as why:
        tap.ok(False, "it runs to its end", str(why) + lab.log_of(daemon)[-1500:])
    finally:
        lab.close()
    tap.done()


if __name__ == "__main__":
    main()
