"""live.py - a small cluster for live tests, with a mirror port.

        client ns --- c0 [ hub: a bridge that floods ] s0 --- server ns
                                    t0
                                    |
                                    t1   tap ns: here the recorder runs

The hub never learns addresses, so every frame of every port reaches t0, as on a mirror port. tcpdump
on t0 sees what was sent to the tap; XDP on t1 takes the frames before anyone else.

Everything is made and removed by the Lab; nothing outside its namespaces is touched.
"""
import atexit
import ctypes
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

BUILD = os.environ.get("BUILD", os.path.join(os.path.dirname(__file__), "..", "build"))
TAPEDECK = os.path.join(BUILD, "mgmt", "tapedeck")
TAPEDECKD = os.path.join(BUILD, "mgmt", "tapedeckd")

CLIENTS = [f"10.77.0.{n}" for n in range(11, 15)]
SERVER = "10.77.0.20"


class Tap:
    """TAP output: one line a test, a plan at the end."""

    def __init__(self):
        self.number, self.failed = 0, 0

    def ok(self, holds, name, detail=""):
        self.number += 1
        self.failed += not holds
        print(f"{'ok' if holds else 'not ok'} {self.number} - {name}" + ("" if holds else f": {detail}"), flush=True)
        return holds

    def skip(self, name, reason):
        self.number += 1
        print(f"ok {self.number} - {name} # SKIP {reason}", flush=True)

    def note(self, text):
        print(f"# {text}", flush=True)

    def done(self):
        print(f"1..{self.number}", flush=True)
        sys.exit(1 if self.failed or not self.number else 0)


def run(*command, check=True, **options):
    """-> stdout as text"""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.decode('utf-8', 'replace')[-800:]}")
    return done.stdout.decode("utf-8", "replace")


def cpu_seconds(process):
    """user + system, of threads that have ended, too; to the ns, as clock_getcpuclockid(3) finds it.
    A process that was started by `ip netns exec` has become what that was to start."""
    return time.clock_gettime(~process.pid << 3 | 2)


def wait_for(condition, seconds, what):
    """-> the first true value of condition(); RuntimeError after `seconds`"""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


class Child:
    """A function that runs in a namespace, in a process of its own. To Lab.stop() it is a Popen."""

    def __init__(self, netns, log, function, *arguments):
        self.returncode, self.data = None, b""
        self.reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(writer)
            return
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            handle = os.open(f"/run/netns/{netns}", os.O_RDONLY)
            if ctypes.CDLL(None, use_errno=True).setns(handle, 0x40000000):  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), "setns")
            with os.fdopen(writer, "wb") as file:
                pickle.dump(function(*arguments), file)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def result(self):
        """-> what the function returned; None if it could not"""
        with os.fdopen(self.reader, "rb") as file:
            data = file.read()
        return pickle.loads(data) if self.wait() == 0 else None

    def poll(self):
        if self.returncode is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.wait()
        return self.returncode

    def send_signal(self, how):
        if self.poll() is None:
            os.kill(self.pid, how)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, seconds=None):
        if seconds is not None:
            end = time.monotonic() + seconds
            while self.poll() is None:
                if time.monotonic() > end:
                    raise subprocess.TimeoutExpired("a function", seconds)
                time.sleep(0.02)
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


class Lab:
    def __init__(self, mtu=1500):
        self.name = f"td{os.getpid()}"
        self.folder = tempfile.mkdtemp(prefix="tapedeck-live-")
        os.chmod(self.folder, 0o755)
        self.processes, self.namespaces = [], []
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        for ns in ("client", "server", "tap", "net"):
            self.namespaces.append(ns)
            run("ip", "netns", "add", self.ns(ns))
            # Nothing but what the test sends: no router solicitations, no neighbour discovery.
            run("ip", "netns", "exec", self.ns(ns), "sh", "-c",
                "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done")
            run("ip", "-n", self.ns(ns), "link", "set", "lo", "up")
        run("ip", "-n", self.ns("net"), "link", "add", "hub", "type", "bridge", "ageing_time", "0", "mcast_snooping", "0")
        run("ip", "-n", self.ns("net"), "link", "set", "hub", "up", "mtu", str(mtu))
        for port, ns, inner in (("c0", "client", "eth0"), ("s0", "server", "eth0"), ("t0", "tap", "t1")):
            run("ip", "-n", self.ns("net"), "link", "add", port, "mtu", str(mtu), "type", "veth",
                "peer", "name", inner, "mtu", str(mtu), "netns", self.ns(ns))
            for where, device in ((self.ns("net"), port), (self.ns(ns), inner)):
                # Frames as they are on a wire: no 64 KB frames, checksums filled in.
                run("ip", "netns", "exec", where, "ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off",
                    "tx", "off", "rx", "off", check=False)
                run("ip", "-n", where, "link", "set", device, "up")
            run("ip", "-n", self.ns("net"), "link", "set", port, "master", "hub")
        for address in CLIENTS:
            run("ip", "-n", self.ns("client"), "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", self.ns("server"), "address", "add", f"{SERVER}/24", "dev", "eth0")

    def ns(self, name):
        return f"{self.name}-{name}"

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def inside(self, ns, *command):
        return ["ip", "netns", "exec", self.ns(ns), *command]

    def run(self, ns, *command, **options):
        return run(*self.inside(ns, *command), **options)

    def start(self, ns, *command, **options):
        log = open(self.path(f"log-{len(self.processes)}-{os.path.basename(command[0])}"), "wb")
        process = subprocess.Popen(self.inside(ns, *command), **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options})
        process.log = log.name
        self.processes.append(process)
        return process

    def call(self, ns, function, *arguments):
        """starts a function in a namespace -> Child"""
        log = self.path(f"log-{len(self.processes)}-{function.__name__}")
        child = Child(self.ns(ns), log, function, *arguments)
        child.log = log
        self.processes.append(child)
        return child

    def stop(self, process, how=signal.SIGTERM, seconds=30):
        """-> exit status"""
        if process.poll() is None:
            if getattr(process, "capture", None):
                time.sleep(1.5)  # the kernel hands tcpdump its last packets after a second; a signal would lose them
            process.send_signal(how)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def log_of(self, process):
        with open(process.log, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def keep(self):
        """leaves everything as it is when the program ends"""
        atexit.unregister(self.close)

    def close(self):
        for process in reversed(self.processes):
            self.stop(process, seconds=5)
        for ns in self.namespaces:
            # What a server has started, too: a namespace holds nothing but the test's own.
            for pid in run("ip", "netns", "pids", self.ns(ns), check=False).split():
                subprocess.run(["kill", "-KILL", pid], stderr=subprocess.DEVNULL)
            run("ip", "netns", "del", self.ns(ns), check=False)
        self.namespaces = []
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- servers ----
    def nginx(self, port=80):
        for folder in ("www/api", "nginx"):
            os.makedirs(self.path(folder), exist_ok=True)
        self.write("www/index.html", "hello\n" * 20)
        self.write("www/large.bin", "0123456789abcdef" * 8192)
        conf = self.write("nginx/nginx.conf", f"""
daemon off; worker_processes 1; pid {self.path('nginx/pid')}; error_log {self.path('nginx/error.log')}; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {self.path('nginx/body')}; proxy_temp_path {self.path('nginx/proxy')};
  fastcgi_temp_path {self.path('nginx/fcgi')}; uwsgi_temp_path {self.path('nginx/uwsgi')}; scgi_temp_path {self.path('nginx/scgi')};
  keepalive_requests 100000;
  server {{
    listen {port}; root {self.path('www')};
    location /api/fail {{ return 500 "boom\\n"; }}
    location /api/teapot {{ return 418 "short and stout\\n"; }}
    location /fail {{ return 500 "boom\\n"; }}
    location /api/ok {{ return 200 "fine\\n"; }}
  }}
}}
""")
        process = self.start("server", "nginx", "-c", conf, "-p", self.path("nginx"))
        self.listening("tcp", port)
        return process

    def certificate(self):
        """cert.pem and key.pem of lab.example.com, made once"""
        if not os.path.exists(self.path("cert.pem")):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=lab.example.com", "-addext", "subjectAltName=DNS:lab.example.com,DNS:*.lab.example.com",
                "-keyout", self.path("key.pem"), "-out", self.path("cert.pem"))

    def dnsmasq(self):
        process = self.start("server", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                             "--user=root", "--pid-file=" + self.path("dnsmasq.pid"), "--address=/shop.test/10.1.2.3",
                             "--txt-record=txt.shop.test,hello", "--local=/test/")
        self.listening("udp", 53)
        return process

    def redis(self):
        process = self.start("server", "redis-server", "--bind", SERVER, "--port", "6379", "--protected-mode", "no",
                             "--save", "", "--dir", self.folder)
        self.listening("tcp", 6379)
        return process

    def listening(self, proto, port):
        flag = "-lnt" if proto == "tcp" else "-lnu"
        wait_for(lambda: f":{port} " in self.run("server", "ss", flag), 20, f"{proto} port {port} to be served")

    # ---- the tap ----
    def tcpdump(self, name="full.pcap"):
        path = self.path(name)
        process = self.start("net", "tcpdump", "-i", "t0", "-w", path, "-s", "0", "-B", "65536", "-U", "-Z", "root",
                             "--time-stamp-precision=nano", "-Q", "out")
        wait_for(lambda: "listening on" in self.log_of(process), 20, "tcpdump to listen")
        process.capture = path
        return process

    def tapedeckd(self, conf):
        process = self.start("tap", TAPEDECKD, "-c", conf, "--foreground")
        wait_for(lambda: process.poll() is not None or self.tapedeck("stats", "--json", check=False), 60, "tapedeckd to answer")
        if process.poll() is not None:
            raise RuntimeError(f"tapedeckd ended with {process.returncode}: {self.log_of(process)[-2000:]}")
        return process

    def tapedeck(self, *arguments, check=True):
        return run(TAPEDECK, "--socket", self.path("control.sock"), *arguments, check=check)

    def tapedeck_json(self, *arguments):
        return [json.loads(line) for line in self.tapedeck(*arguments, "--json").splitlines()]


def tshark_fields(capture, display_filter, *fields):
    """-> rows of fields of the frames that match"""
    command = ["tshark", "-n", "-r", capture, "-Y", display_filter, "-T", "fields", "-E", "occurrence=f",
               "-o", "tcp.reassemble_out_of_order:TRUE"]
    for field in fields:
        command += ["-e", field]
    return [line.split("\t") for line in run(*command).splitlines()]
