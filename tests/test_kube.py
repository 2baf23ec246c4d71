#!/usr/bin/env python3
"""test_kube.py - names from the Kubernetes API, of a real tapedeckd against a server that plays the API.

What a pod is called after lists, watches, restarts, cuts, 410, garbage, a wrong token; and 10,000 pods of
which 100 change each second, asked by packets of which each must get the name of its own time.
"""
import base64
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kube_api import Api, Authority, endpoint_slice, node, pod, service
from live import TAPEDECK, TAPEDECKD, Tap, wait_for

LONG = bool(os.environ.get("TAPEDECK_LONG"))
SLOW = 6 if os.environ.get("SANITIZER") else 1


class Daemon:
    def __init__(self, folder, kubeconfig, more="", context="", environment=None, wrapper=()):
        self.folder = tempfile.mkdtemp(dir=folder)
        self.socket = os.path.join(self.folder, "sock")
        self.conf = os.path.join(self.folder, "conf")
        with open(self.conf, "w", encoding="utf-8") as out:
            out.write(f"""
storage: {{ path = "{self.folder}/store"; free_min = "1Mi"; }};
streams: {{ max = 200000; memory = "16Mi"; }}; lookback: {{ size = "16Mi"; }}; cores: {{ classifiers = 1; }};
control: {{ socket = "{self.socket}"; }};
security: {{ user = ""; }};
names: {{ kubernetes = "{kubeconfig}"; kubernetes_context = "{context}"; }};
{more}""")
        self.log = open(os.path.join(self.folder, "log"), "wb+")
        self.process = subprocess.Popen([*wrapper, TAPEDECKD, "-c", self.conf, "--foreground"], stderr=self.log,
                                        env={**os.environ, **(environment or {})})
        wait_for(lambda: self.process.poll() is not None or b"ready:" in self.said().encode(), 30, "tapedeckd")

    def said(self):
        with open(self.log.name, encoding="utf-8") as log:
            return log.read()

    def ask(self, *arguments):
        done = subprocess.run([TAPEDECK, "--socket", self.socket, *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def name(self, ip):
        rows = self.ask("names", "show", ip)
        return f"{rows[0]['name']}.{rows[0]['namespace']}" if rows else ""

    def kube(self, resource):
        return [r for r in self.ask("stats") if r["kind"] == "kube" and r["resource"] == resource][0]

    def becomes(self, ip, name, seconds=20):
        try:
            return wait_for(lambda: self.name(ip) == name, seconds * SLOW, f"{ip} to be {name}")
        except RuntimeError as error:
            print(f"# {error}: it is '{self.name(ip)}'\n# " + self.said().replace("\n", "\n# "))
            return False

    def says(self, text, seconds=20):
        try:
            return wait_for(lambda: text in self.said(), seconds * SLOW, text)
        except RuntimeError:
            print("# " + self.said().replace("\n", "\n# "))
            return False

    def memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


def kubeconfig(folder, name, port, authority, user, inline=True):
    if inline:
        with open(authority.ca, "rb") as ca:
            trust = f"certificate-authority-data: {base64.b64encode(ca.read()).decode()}"
    else:
        trust = "certificate-authority: ca.crt"
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"""apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster: {{server: "https://127.0.0.1:{port}/", {trust}}}
contexts:
- {{name: lab, context: {{cluster: lab, user: reader}}}}
- {{name: other, context: {{cluster: none, user: reader}}}}
users:
- name: reader
  user: {user}
""")
    return path


def small_cluster(api):
    api.put("Node", node("node-1", "192.168.0.1"))
    api.put("Service", service("web", "shop", "10.96.0.10"))
    api.put("Pod", pod("web-1", "shop", "10.1.0.1"))
    api.put("Pod", pod("job-1", "shop", "10.1.0.2", phase="Succeeded"))
    api.put("Pod", pod("exporter", "mon", "192.168.0.1", more={"hostNetwork": True}))
    api.put("EndpointSlice", endpoint_slice("legacy-abc", "shop", "legacy", "172.16.0.9"))


def lists_and_watches(tap, folder, authority):
    api = Api(authority)
    small_cluster(api)
    for i in range(1200):
        api.put("Pod", pod(f"many-{i}", "load", f"10.2.{i // 250}.{i % 250 + 1}"))
    daemon = Daemon(folder, kubeconfig(folder, "token", api.port, authority, "{token: right}"))
    tap.ok(daemon.becomes("10.2.4.200", "many-1199.load"), "a list of several pages is read to its end")
    got = [daemon.name(ip) for ip in ("10.1.0.1", "10.96.0.10", "192.168.0.1", "172.16.0.9", "10.1.0.2")]
    tap.ok(wait_for(lambda: daemon.kube("endpointslices")["listed"], 20, "slices") and
           got == ["web-1.shop", "web.shop", "node-1.", "legacy.shop", ""] or
           [daemon.name(ip) for ip in ("10.1.0.1", "10.96.0.10", "192.168.0.1", "172.16.0.9", "10.1.0.2")] ==
           ["web-1.shop", "web.shop", "node-1.", "legacy.shop", ""], "pods, services, nodes, endpoint slices", str(got))
    wait_for(lambda: api.count("Pod", True), 20, "a watch")
    api.put("Pod", pod("web-2", "shop", "10.1.0.3", start=time.time()))
    tap.ok(daemon.becomes("10.1.0.3", "web-2.shop"), "a new pod is known")
    api.delete("Pod", "shop", "web-1")
    tap.ok(daemon.becomes("10.1.0.1", ""), "a deleted pod is not")
    api.put("Pod", pod("web-2", "shop", "10.1.0.3", phase="Succeeded"))
    api.put("Pod", pod("web-3", "shop", "10.1.0.3", start=time.time()))
    tap.ok(daemon.becomes("10.1.0.3", "web-3.shop"), "an address that is used again has its new name")
    # A connection that is cut: names stay, the watch goes on where it was.
    lists = api.count("Pod", False)
    api.bookmark()
    api.cut_watches()
    api.put("Pod", pod("web-4", "shop", "10.1.0.4", start=time.time()))
    tap.ok(daemon.becomes("10.1.0.4", "web-4.shop") and api.count("Pod", False) == lists,
           "a cut watch is taken up where it was, nothing is listed again", str(api.count("Pod", False) - lists))
    # Down, with another past when it is back.
    port = api.port
    api.forget()
    version, objects = api.version, api.objects
    api.close()
    tap.ok(daemon.says("known stay in force") and daemon.name("10.1.0.3") == "web-3.shop" and
           wait_for(lambda: daemon.kube("pods")["stale_since"], 20, "stale"), "without the API: names stay, and that is said")
    api = Api(authority, port=port)
    api.objects, api.version, api.forgotten = objects, version + 5, version + 5
    api.delete("Pod", "shop", "web-3")
    api.put("Pod", pod("web-5", "shop", "10.1.0.5"))
    tap.ok(daemon.becomes("10.1.0.5", "web-5.shop", 60) and daemon.name("10.1.0.3") == "" and daemon.name("10.1.0.4") == "web-4.shop",
           "410 after an outage: listed anew, what has gone meanwhile is gone")
    tap.ok(wait_for(lambda: not daemon.kube("pods")["stale_since"], 60, "not stale"), "and no more stale")
    tap.ok(daemon.stop() == 0, "the daemon ends")
    api.close()


def troubles(tap, folder, authority):
    def raw(data):
        def answer(handler, watch):
            if watch:
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, len(data), 1 << 20):
                    piece = data[at:at + (1 << 20)]
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                handler.wfile.write(b"0\r\n\r\n")
            return watch
        return answer

    def slowly(handler, watch):
        if not watch:
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{":
                handler.wfile.write(bytes([byte]))
                time.sleep(0.05)
            time.sleep(5)
        return not watch

    api = Api(authority)
    small_cluster(api)
    daemon = Daemon(folder, kubeconfig(folder, "troubles", api.port, authority, "{token: right}", inline=False))
    tap.ok(daemon.becomes("10.1.0.1", "web-1.shop"), "a CA in a file beside the kubeconfig")
    for what, data in (("garbage", b"\x00\xff not json\n"), ("no event", b'{"type":"ADDED"}\n[]\n'),
                       ("an error", b'{"type":"ERROR","object":{"code":500,"message":"etcd has gone"}}\n'),
                       ("too deep", b"[" * 100000 + b"\n")):
        api.trouble["Pod"] = raw(data)
        before = daemon.kube("pods")["errors"]
        api.cut_watches()
        wait_for(lambda: daemon.kube("pods")["errors"] >= before + 2, 30 * SLOW, f"errors from {what}")
        ok = daemon.name("10.1.0.1") == "web-1.shop"
        api.trouble.clear()
        api.put("Pod", pod(f"after-{what.replace(' ', '-')}", "shop", "10.1.0.9", start=time.time()))
        tap.ok(ok and daemon.becomes("10.1.0.9", f"after-{what.replace(' ', '-')}.shop", 60), f"a watch that brings {what}: names stay, and it recovers")
        api.delete("Pod", "shop", f"after-{what.replace(' ', '-')}")
    big = pod("big", "shop", "10.1.0.66")
    big["metadata"]["annotations"] = {"x": "y" * (5 << 20)}
    wait_for(lambda: not daemon.kube("pods")["stale_since"], 60, "not stale")
    api.put("Pod", big)
    api.put("Pod", pod("after-big", "shop", "10.1.0.67", start=time.time()))
    tap.ok(daemon.becomes("10.1.0.67", "after-big.shop", 60) and daemon.name("10.1.0.66") == "" and daemon.kube("pods")["bad_events"] > 0,
           "an event that is too large is left out and counted")
    api.trouble["Service"] = slowly
    api.forget()
    api.bookmark()
    api.cut_watches()
    api.put("Pod", pod("meanwhile", "shop", "10.1.0.68", start=time.time()))
    tap.ok(daemon.becomes("10.1.0.68", "meanwhile.shop", 60), "one kind that is answered slowly keeps no other waiting")
    tap.ok(daemon.stop() == 0, "the daemon ends in the middle of it")
    api.close()


def who_we_are(tap, folder, authority):
    api = Api(authority)
    small_cluster(api)
    daemon = Daemon(folder, kubeconfig(folder, "wrong", api.port, authority, "{token: wrong}"))
    tap.ok(daemon.says("the API answers 401: the token or certificate is not accepted"), "a wrong token is said")
    wait_for(lambda: daemon.kube("pods")["errors"] >= 2, 20 * SLOW, "asked again")
    tap.ok(daemon.said().count("kubernetes: pods: ") == 1, "once, however often it is asked", daemon.said())
    daemon.stop()
    with open(os.path.join(folder, "token-file"), "w", encoding="utf-8") as out:
        out.write("old")
    daemon = Daemon(folder, kubeconfig(folder, "by-file", api.port, authority, "{tokenFile: token-file}"))
    daemon.says("401")
    with open(os.path.join(folder, "token-file"), "w", encoding="utf-8") as out:
        out.write("right\n")
    tap.ok(daemon.becomes("10.1.0.1", "web-1.shop", 60), "a token in a file is read anew")
    daemon.stop()
    api.close()
    api = Api(authority, client_ca=True, token="nobody's")
    small_cluster(api)
    with open(authority.client, "rb") as cert, open(authority.path("client.key"), "rb") as key:
        user = f"{{client-certificate-data: {base64.b64encode(cert.read()).decode()}, client-key-data: {base64.b64encode(key.read()).decode()}}}"
    daemon = Daemon(folder, kubeconfig(folder, "certificate", api.port, authority, user))
    tap.ok(daemon.becomes("10.1.0.1", "web-1.shop"), "a client certificate")
    daemon.stop()
    other = Authority(tempfile.mkdtemp(dir=folder))
    daemon = Daemon(folder, kubeconfig(folder, "stranger", api.port, other, user))
    tap.ok(daemon.says("certificate") and daemon.name("10.1.0.1") == "", "a server whose certificate is of another CA is not believed")
    daemon.stop()
    api.close()
    for name, user, context, message in (
            ("exec", "{exec: {command: aws}}", "", "kubectl create token"),
            ("base64", "{client-certificate-data: '%%%'}", "", "not base64: client-certificate-data"),
            ("context", "{token: x}", "nothing", "has no context of this name: nothing"),
            ("cluster", "{token: x}", "other", "has no cluster for the context other"),
            ("alias", "*x", "", "not YAML" if False else "alias")):
        daemon = Daemon(folder, kubeconfig(folder, name, 1, authority, user), context=context)
        checked = subprocess.run([TAPEDECKD, "-c", daemon.conf, "--check"], stderr=subprocess.PIPE)
        tap.ok(daemon.process.wait(10) == 1 and message in daemon.said() and checked.returncode == 2 and message in checked.stderr.decode(),
               f"kubeconfig: {name}: refused with the reason", daemon.said() + checked.stderr.decode())


def in_cluster(tap, folder, authority):
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    if os.geteuid() != 0:
        tap.skip("a pod's service account", "a mount namespace needs root")
        return
    api = Api(authority)
    small_cluster(api)
    script = f"mount -t tmpfs none /run && mkdir -p {account} && cp {authority.ca} {account}/ && printf right > {account}/token && exec \"$@\""
    daemon = Daemon(folder, "in-cluster", environment={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)},
                    wrapper=["unshare", "-m", "sh", "-c", script, "sh"])
    tap.ok(daemon.becomes("10.1.0.1", "web-1.shop"), "a pod's service account")
    daemon.stop()
    api.close()


def packet(number, address, ts):
    """A UDP datagram from a pod, a stream of its own."""
    payload = b"x"
    udp = struct.pack(">HHHH", 1024 + number % 60000, 9, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(address),
                     socket.inet_aton(f"10.200.{number // 60000}.1"))
    frame = b"\x02" * 12 + b"\x08\x00" + ip + udp
    return struct.pack("<IIII", int(ts), int(ts % 1 * 1e6), len(frame), len(frame)) + frame


def churn(tap, folder, authority, pods, seconds, rate):
    """Packets come late, of all times of the churn: each must be called as at its own time."""
    api = Api(authority)
    begun = time.time()
    for i in range(pods):
        api.put("Pod", pod(f"pod-{i}", "load", f"10.{3 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}", start=begun - 1000))
    fifo = os.path.join(folder, f"packets-{pods}")
    os.mkfifo(fifo)
    out = os.open(fifo, os.O_RDWR)
    daemon = Daemon(folder, kubeconfig(folder, f"churn-{pods}", api.port, authority, "{token: right}"), more=f"""
sources = ( {{ type = "file"; interface = "{fifo}"; }} );
jobs = ( {{ name = "all"; kfl = "src.namespace == \\"load\\""; }} );""")
    wait_for(lambda: daemon.kube("pods")["objects"] == pods and daemon.kube("pods")["state"] == "watching", 60 * SLOW, "all pods")
    memory, changed, truth = daemon.memory(), {}, {}
    start = time.time()
    for n in range(seconds * rate):
        i = n * 7 % pods
        pause = start + n / rate - time.time()
        if pause > 0:
            time.sleep(pause)
        address = f"10.{3 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}"
        api.delete("Pod", "load", truth.get(i, f"pod-{i}"))
        truth[i] = f"new-{i}-{n}"
        api.put("Pod", pod(truth[i], "load", address, start=time.time()))
        changed[i] = (time.time(), address, truth[i])
    wait_for(lambda: daemon.name(changed[i][1]) == f"{truth[i]}.load", 60 * SLOW, "the last change")
    end = time.time()
    expect, number = {}, 0
    data = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
    last = max(when for when, _, _ in changed.values())
    for i, (when, address, name) in list(changed.items())[:3000]:
        # The daemon hears of a change a little later; nothing is asked of that moment.
        for ts, want in ((max(when - 3, start - 1), f"pod-{i}"), (min(when + 10 * SLOW, end), name)):
            if want == name and end - when < 2 * SLOW:
                continue
            expect[number] = want
            data += packet(number, address, ts)
            number += 1
    at = 0
    while at < len(data):
        at += os.write(out, data[at:at + 65536])
    os.close(out)
    # An L4 entry comes with its stream's end; the file's end ends all streams.
    wait_for(lambda: daemon.ask("job", "show", "all")[0]["entries"] >= number, 60 * SLOW, "all entries")
    subprocess.run([TAPEDECK, "--socket", daemon.socket, "job", "stop", "all"], check=True, stdout=subprocess.DEVNULL)
    entries = wait_for(lambda: len(rows := daemon.ask("recording", "view", "all")) >= number and rows, 60 * SLOW, "entries on disk")
    got = {int(e["src"]["port"]) - 1024: e["src"]["name"] for e in entries}
    wrong = {n: (expect[n], got.get(n)) for n in expect if expect[n] != got.get(n)}
    grown = daemon.memory() - memory
    row = daemon.kube("pods")
    tap.ok(not wrong and number > 100, f"{pods} pods, {rate} changes a second: {number} packets each called as at its time",
           f"{len(wrong)} of {number}: {list(wrong.items())[:5]}")
    tap.ok(row["objects"] == pods and row["lists"] == 1 and row["errors"] == 0, "all of it by one watch", str(row))
    tap.note(f"{len(changed)} changes in {last - start:.1f} s, memory {memory} KiB, grown by {grown} KiB")
    daemon.stop()
    api.close()


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        lists_and_watches(tap, folder, authority)
        troubles(tap, folder, authority)
        who_we_are(tap, folder, authority)
        in_cluster(tap, folder, authority)
        if LONG:
            churn(tap, folder, authority, 10000, 60, 100)
        churn(tap, folder, authority, 10000 if LONG else 2000, 6, 100)
    tap.done()


if __name__ == "__main__":
    main()
