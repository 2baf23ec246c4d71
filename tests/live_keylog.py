#!/usr/bin/env python3
"""live_keylog.py - a TLS key log file: what was recorded encrypted is read in clear.

curl asks nginx over TLS 1.2 and 1.3 and writes its secrets where storage.keylog points, which is not there
yet when the recorder starts; those of one connection come only after its packets are on disk. tshark finds
each request's path in the export, in one pass and without being told any key.
"""
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, Lab, Tap, tshark_fields, wait_for
from live_daemon import counts_in
from live_ring import export


def serve(lab):
    lab.certificate()
    lab.nginx()
    conf = lab.write("nginx/tls.conf", f"""
daemon off; worker_processes 1; pid {lab.path('nginx/tls.pid')}; error_log {lab.path('nginx/tls.log')}; user root;
events {{ worker_connections 64; }}
http {{
  access_log off;
  server {{
    listen 443 ssl; ssl_certificate {lab.path('cert.pem')}; ssl_certificate_key {lab.path('key.pem')};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ return 200 "fine\\n"; }}
  }}
}}
""")
    lab.start("server", "nginx", "-c", conf, "-p", lab.path("nginx"))
    lab.listening("tcp", 443)


def ask(lab, path, keylog, *arguments):
    lab.run("client", "curl", "-sk", "-o", "/dev/null", "--interface", CLIENTS[0], *arguments, f"https://{SERVER}{path}",
            env={**os.environ, "SSLKEYLOGFILE": keylog})


def recorded(lab, n):
    """waits until n connections to port 443 are on disk to their ends"""
    folder = lab.path("store/recordings/tls")

    def there():
        files = [os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".pcapng")]
        return sum(counts_in(f, "tcp.srcport == 443 && tcp.flags.fin == 1") for f in files) >= n
    wait_for(there, 20, f"{n} connections in the recording")


def paths(capture):
    return sorted(row[0] for row in tshark_fields(capture, "http.request", "http.request.uri"))


def holds(capture, keylog):
    """is a key of this file in the capture?"""
    with open(capture, "rb") as file, open(keylog, "rb") as lines:
        data = file.read()
        return any(line.strip() in data for line in lines if not line.startswith(b"#"))


def main():
    tap = Tap()
    if os.geteuid() or not shutil.which("nginx"):
        tap.skip("a key log", "needs root and nginx")
        return tap.done()
    lab = Lab()
    serve(lab)
    keylog, late, other = lab.path("keys.log"), lab.path("late.log"), lab.path("other.log")
    lab.tapedeckd(lab.write("tapedeck.conf", f"""
sources = ( {{ type = "af_xdp"; interface = "t1"; }} );
storage: {{ path = "{lab.path('store')}"; flush = "50ms"; keylog = "{keylog}"; }};
lookback: {{ size = "16Mi"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
"""))
    lab.tapedeck("job", "create", "tls", "--kfl", "tls")
    ask(lab, "/late", late)
    recorded(lab, 1)
    tap.ok(paths(export(lab, "tls")) == [], "without keys nothing is read")

    ask(lab, "/new", keylog)
    ask(lab, "/old", keylog, "--tls-max", "1.2")
    with open(late) as source, open(keylog, "a") as target:
        target.write(source.read())
    ask(lab, "/other", other)  # keys go before the packets that come after them
    recorded(lab, 4)
    wanted, found = ["/late", "/new", "/old"], []

    def all_keys():
        found[:] = paths(export(lab, "tls"))
        return found == wanted
    try:
        wait_for(all_keys, 10, "all keys")
    except RuntimeError as error:
        tap.note(error)
    tap.ok(found == wanted, "TLS 1.2, 1.3 and a connection whose keys came late are read in clear", found)

    lab.tapedeck("job", "stop", "tls")
    out = export(lab, "tls")
    found = paths(out)
    tap.ok(found == wanted, "... and when the job has ended", found)
    tap.ok(holds(out, late) and not holds(out, other), "keys that are not in the key log are in no recording")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
