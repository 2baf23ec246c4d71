#!/usr/bin/env python3
"""test_metrics.py - /metrics, /healthz, /readyz of a real tapedeckd; the dashboard and the alerts.

promtool has nothing to say about the metrics and the rules; each metric that the dashboard or a rule uses is
there; IPv4, IPv6 and unix addresses are served; clients that are many, slow or send garbage disturb nobody.
"""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kube_api import Api, Authority
from live import TAPEDECK, TAPEDECKD, Tap, wait_for
from test_kube import kubeconfig, packet, small_cluster

SOURCE = os.environ.get("SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
WORDS = re.compile(r"\btapedeck_\w+")


def free_port(family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Daemon:
    """That records a small capture, with the metrics at the address."""

    def __init__(self, folder, address, names=""):
        self.folder = tempfile.mkdtemp(dir=folder)
        self.socket = os.path.join(self.folder, "sock")
        capture = os.path.join(self.folder, "capture.pcap")
        with open(capture, "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
            for i in range(100):
                out.write(packet(i, "10.1.0.1", 1790000000 + i))
        self.conf = os.path.join(self.folder, "conf")
        with open(self.conf, "w", encoding="utf-8") as out:
            out.write(f"""
sources = ( {{ type = "file"; interface = "{capture}"; }} );
storage: {{ path = "{self.folder}/store"; free_min = "1Mi"; }};
streams: {{ max = 200000; memory = "16Mi"; }}; lookback: {{ size = "16Mi"; }};
control: {{ socket = "{self.socket}"; }}; security: {{ user = ""; }};
jobs = ( {{ name = "all"; kfl = "udp"; }}, {{ name = "later"; kfl = "http"; start = "2099-01-01T00:00:00Z"; }} );
names: {{ {names} }};
metrics: {{ address = "{address}"; }};
""")
        self.log = open(os.path.join(self.folder, "log"), "wb+")
        self.process = subprocess.Popen([TAPEDECKD, "-c", self.conf, "--foreground"], stderr=self.log)
        wait_for(lambda: self.process.poll() is not None or b"ready:" in self.said(), 30, "tapedeckd")

    def said(self):
        with open(self.log.name, "rb") as log:
            return log.read()

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


def connect(address):
    if address.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(address[5:])
        return client
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), 20)


def get(address, path, method="GET"):
    """-> status, body"""
    with connect(address) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while True:
            piece = client.recv(65536)
            if not piece:
                break
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def samples(text):
    """-> {name{labels}: value}"""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and line[0] != "#"}


def families(text):
    names = {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")}
    for name in [n for n, kind in names.items() if kind == "histogram"]:
        names.update({name + ending: "" for ending in ("_bucket", "_sum", "_count")})
    return names


def pages(tap, daemon, address):
    text = wait_for(lambda: samples(t := get(address, "/metrics")[1]).get('tapedeck_job_packets_total{job="all"}') == 100 and t, 30,
                    "the capture to be recorded")
    found = samples(text)
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        tap.ok(done.returncode == 0 and not done.stdout, "promtool check metrics has nothing to say", done.stdout.decode())
    else:
        tap.skip("promtool check metrics has nothing to say", "promtool is not installed")
    for name in ("counters.def", "job_count.def"):
        folder, pattern, form = (("dataplane", r"^COUNTER\((\w+)", "tapedeck_core_{}_total") if name == "counters.def" else
                                 ("mgmt", r"^JOB_COUNT\((\w+), (?:COUNT|LOSS)", "tapedeck_job_{}_total"))
        with open(os.path.join(SOURCE, folder, name), encoding="utf-8") as rows:
            missing = [row for row in re.findall(pattern, rows.read(), re.M) if form.format(row) not in families(text)]
        tap.ok(not missing, f"every row of {name} is a metric", str(missing))
    ok = all(f'tapedeck_protocol_{name}_total{{protocol="HTTP"}}' in found for name in ("entries", "dissected_bytes", "dissector_errors"))
    tap.ok(ok, "what dissectors did, by protocol")
    got = found["tapedeck_sum_difference_packets"], found["tapedeck_sum_rx_packets_total"], found["tapedeck_sum_recorded_packets_total"]
    tap.ok(got == (0, 100, 100), "the sum and its difference", str(got))
    tap.ok(found['tapedeck_job_state{job="later",state="scheduled"}'] == 1 and 'tapedeck_job_state{job="all",state="recording"}' in found,
           "jobs and their states")
    buckets = [v for k, v in found.items() if k.startswith("tapedeck_writer_latency_seconds_bucket")]
    wait_for(lambda: samples(get(address, "/metrics")[1])["tapedeck_writer_latency_seconds_count"] > 0, 20, "a write")
    tap.ok(buckets == sorted(buckets) and len(buckets) == 17, "the writer's latency is a histogram", str(buckets))
    tap.ok(found["tapedeck_disk_free_bytes"] > 0 and found['tapedeck_core_ring_size_packets{role="classifier",core="0"}'] > 0 and
           found['tapedeck_core_streams_max{role="classifier",core="0"}'] > 0, "disk, rings, stream tables")
    tap.ok(get(address, "/healthz") == (200, "ok\n"), "/healthz", str(get(address, "/healthz")))
    tap.ok(get(address, "/readyz") == (200, "ok\n"), "/readyz", str(get(address, "/readyz")))
    got = [get(address, "/nothing")[0], get(address, "/metrics", "DELETE")[0], get(address, "/metrics", "HEAD")]
    tap.ok(got == [404, 405, (200, "")], "other paths and methods are refused", str(got))
    return text


def clients(tap, daemon, address):
    idle = [connect(address) for _ in range(60)]
    for client in idle[:20]:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
    for garbage in (b"\0" * 100000, b"GET " + b"x" * 100000, os.urandom(5000), b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"y" * 50000):
        try:
            client = connect(address)
            client.sendall(garbage)
            client.close()
        except OSError:
            pass
    done = subprocess.run([TAPEDECK, "--socket", daemon.socket, "job", "list", "--json"], stdout=subprocess.PIPE)
    tap.ok(done.returncode == 0 and b'"all"' in done.stdout, "idle clients and garbage do not disturb the control socket")

    def answered():
        try:
            return get(address, "/healthz")[0] == 200
        except (OSError, IndexError):
            return False

    tap.ok(wait_for(answered, 60, "an answer"), "and the next one is served once the silent ones are sent away")
    for client in idle:
        client.close()


def addresses(tap, folder):
    for address in (f"[::1]:{free_port()}", f"unix:{folder}/metrics.sock"):
        try:
            if address[0] == "[":
                free_port(socket.AF_INET6, "::1")
        except OSError as error:
            tap.skip(f"address {address[:5]}", str(error))
            continue
        daemon = Daemon(folder, address)
        tap.ok(get(address, "/healthz")[0] == 200, f"address {address[:5]}", daemon.said().decode())
        tap.ok(daemon.stop() == 0 and not os.path.exists(address[5:]), "and nothing of it is left")
    for wrong in ("9464", "host:80", "127.0.0.1:0", "127.0.0.1:99999", "[::1", "unix:relative", "127.0.0.1:80x"):
        daemon = Daemon(folder, wrong)
        checked = subprocess.run([TAPEDECKD, "-c", daemon.conf, "--check"], stderr=subprocess.PIPE)
        tap.ok(daemon.process.wait(10) == 1 and b"metrics.address" in daemon.said() and checked.returncode == 2,
               f"address '{wrong}' is refused", daemon.said().decode())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon = Daemon(folder, f"127.0.0.1:{taken.getsockname()[1]}")
        tap.ok(daemon.process.wait(10) == 1 and b"Address already in use" in daemon.said(), "a port that is taken is said", daemon.said().decode())


def dashboard_and_rules(tap, text):
    known = families(text)
    configs = os.path.join(SOURCE, "configs")
    with open(os.path.join(configs, "grafana-dashboard.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", [])]
    missing = sorted({word for expr in asked for word in WORDS.findall(expr)} - set(known))
    tap.ok(len(asked) > 10 and not missing, f"the dashboard's {len(asked)} queries ask for metrics that exist", str(missing))
    with open(os.path.join(configs, "alerts.yml"), encoding="utf-8") as file:
        missing = sorted(set(WORDS.findall(file.read())) - set(known))
    tap.ok(not missing, "and so do the alert rules", str(missing))
    if not shutil.which("promtool"):
        tap.skip("promtool check rules, test rules", "promtool is not installed")
        return
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", os.path.join(SOURCE, "tests", "alerts_test.yml")]):
        done = subprocess.run(["promtool", *command], cwd=configs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        tap.ok(done.returncode == 0 and b"SUCCESS" in done.stdout, f"promtool {command[0]} rules", done.stdout.decode())


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        api = Api(authority)
        small_cluster(api)
        config = kubeconfig(folder, "config", api.port, authority, "{token: right}")
        address = f"127.0.0.1:{free_port()}"
        daemon = Daemon(folder, address, f'kubernetes = "{config}";')
        wait_for(lambda: get(address, "/readyz")[0] == 200, 30, "readiness")
        text = pages(tap, daemon, address)
        tap.ok(samples(text)['tapedeck_kube_objects{resource="pods"}'] == 1, "the Kubernetes API")
        dashboard_and_rules(tap, text)
        api.close()
        tap.ok(wait_for(lambda: samples(get(address, "/metrics")[1])['tapedeck_kube_stale{resource="pods"}'] == 1, 30, "stale"),
               "an API that does not answer is said, and is no reason not to be ready", str(get(address, "/readyz")))
        clients(tap, daemon, address)
        tap.ok(daemon.stop() == 0, "the daemon ends")
        addresses(tap, folder)
    tap.done()


if __name__ == "__main__":
    main()
