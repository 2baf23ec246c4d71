"""traffic.py - the captures that the benches read: real servers and clients, captured once; and frames made on the spot.

    http-mix.pcap      nginx, redis, dnsmasq and TLS behind a mirror port: keep-alive HTTP with 1 % of 500s, a million packets
    flood.pcap         64-byte frames of 10,000 streams, TCP and UDP
    imix.pcap          64, 594 and 1518 bytes as 7:4:1, of 10,000 streams
    size-N.pcap        frames of N bytes of 1,000 streams
    streams-N-M.pcap   SYNs of N TCP streams, then M acknowledgements of random ones

A file that is there is not made again; `traffic.py [quick|tiny]` makes all.
"""
import dataclasses
import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from live import CLIENTS, SERVER, Lab, run, wait_for

IMIX = [64] * 7 + [594] * 4 + [1518]  # sizes of frames


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much a run of bench/run does."""
    name: str            # of its captures
    rounds: int          # of what takes seconds
    slow_rounds: int     # of what takes longer
    http: float          # 1: a million packets
    packets: int
    streams_max: int
    disk_bytes: int
    live_rate: int       # packets a second that all recorders can follow
    live_seconds: float
    live_rounds: int
    lossless_rate: int   # where the search begins
    lossless_seconds: float
    lossless_steps: int
    lossless_sizes: tuple
    requests: int        # of the latency bench
    recorders: tuple     # of the live benches; empty: all


FULL = Scale("", 7, 3, 1, 2_000_000, 4_000_000, 4 << 30, 100_000, 3, 3, 400_000, 1.5, 5, ("imix",), 1000, ())
QUICK = Scale("-quick", 3, 1, 0.1, 300_000, 1_000_000, 1 << 30, 50_000, 2, 1, 200_000, 0.7, 4, ("imix",), 200, ())
TINY = Scale("-tiny", 1, 1, 0.01, 20_000, 10_000, 8 << 20, 5_000, 0.4, 1, 5_000, 0.2, 1, ("64",), 10,
             ("tapedeckd, AF_XDP", "tcpdump"))

PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
TCP_FLAGS_AT = 14 + 20 + 13
START = 1_700_000_000


def folder():
    path = os.environ.get("TAPEDECK_BENCH", "/var/tmp/tapedeck-bench")
    os.makedirs(path, exist_ok=True)
    return path


def made(name, make, *arguments):
    """-> path of a capture; makes it if need be"""
    path = os.path.join(folder(), name)
    if not os.path.exists(path):
        print(f"making {path}", file=sys.stderr, flush=True)
        make(path + ".part", *arguments)
        os.rename(path + ".part", path)
    return path


# ---------------------------------------------------------------------------------------------- real servers
def web_server(lab):
    """nginx: clear on 80, TLS on 443; answers of 0 to 100 KB, /fail is a 500"""
    root = lab.path("www")
    for directory in (root, lab.path("nginx")):
        os.makedirs(directory, exist_ok=True)
    for name, size in (("tiny", 200), ("small", 3000), ("page", 12000), ("image", 40000), ("large", 100000)):
        lab.write(f"www/{name}", "The quick brown fox jumps over the lazy dog.\n" * (size // 45))
    key, certificate = lab.path("key.pem"), lab.path("certificate.pem")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.test", "-keyout", key,
        "-out", certificate)
    temporary = "".join(f"{k}_temp_path {lab.path('nginx/' + k)};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = lab.write("nginx/nginx.conf", f"""
daemon off; worker_processes 1; pid {lab.path('nginx/pid')}; error_log {lab.path('nginx/error.log')}; user root;
events {{ worker_connections 1024; }}
http {{
  access_log off; {temporary} keepalive_requests 1000; sendfile on;
  server {{
    listen 80; listen 443 ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; root {root};
    location /fail {{ return 500 "the database is not there\\n"; }}
    location /none {{ return 204; }}
  }}
}}
""")
    lab.start("server", "nginx", "-c", conf, "-p", lab.path("nginx"))
    lab.listening("tcp", 80)


def paths(lab, scheme, port):
    """a file of 100 URLs, one of them /fail"""
    names = ["tiny"] * 40 + ["small"] * 25 + ["page"] * 20 + ["none"] * 10 + ["image"] * 3 + ["large"]
    random.Random(7).shuffle(names)
    names.insert(50, "fail")
    return lab.write(f"urls-{port}", "".join(f"{scheme}://{SERVER}:{port}/{name}\n" for name in names))


def http_mix(path, scale):
    """scale 1: a million packets, 650 MB"""
    lab = Lab()
    try:
        web_server(lab)
        lab.dnsmasq(), lab.redis()
        dump = lab.start("net", "tcpdump", "-i", "t0", "-w", path, "-s", "0", "-B", "1048576", "-Z", "root", "-Q", "out")
        wait_for(lambda: "listening on" in lab.log_of(dump), 20, "tcpdump to listen")
        queries = lab.write("queries", "".join(f"h{n}.shop.test A\n" for n in range(500)) + "missing.test A\n")
        for _ in range(10):
            n = max(200, int(9000 * scale))
            lab.run("client", "h2load", "--h1", "-n", str(n), "-c", "25", "-i", paths(lab, "http", 80))
            lab.run("client", "h2load", "--h1", "-n", str(n // 12), "-c", "10", "-i", paths(lab, "https", 443))
            lab.run("client", "redis-benchmark", "-h", SERVER, "-c", "10", "-n", str(n // 2), "-t", "set,get,lpush", "-q")
            lab.run("client", "dnsperf", "-s", SERVER, "-d", queries, "-n", "1", "-c", "4")
            for _ in range(10):  # connections of one request
                lab.run("client", "curl", "-s", "-o", "/dev/null", f"http://{SERVER}/tiny", f"http://{SERVER}/fail")
        time.sleep(1)
        lab.stop(dump)
        lost = [line for line in lab.log_of(dump).splitlines() if "dropped by kernel" in line]
        if not lost or not lost[0].startswith("0 "):
            raise RuntimeError(f"the capture is not whole: {lost}")
    finally:
        lab.close()


# ---------------------------------------------------------------------------------------------- made frames
def frame(n, reverse, size, flags=0x10, seq=1, udp=False):
    """an Ethernet frame of stream n, `size` bytes with its check sequence (which captures do not have)"""
    client = struct.pack(">I", 0x0A000000 + n % 0x3FFFFF)
    server = struct.pack(">I", 0x0A800000 + n % 251)
    ports = (1024 + n % 60000, 53 if udp else (80, 443, 6379, 8080)[n % 4])
    source, destination = (server, client) if reverse else (client, server)
    ports = ports[::-1] if reverse else ports
    body = size - 4 - 14 - 20
    if udp:
        l4 = struct.pack(">HHHH", *ports, body, 0) + bytes(body - 8)
    else:
        l4 = struct.pack(">HHIIBBHHH", *ports, seq, seq if reverse else 0, 0x50, flags, 65535, 0, 0) + bytes(body - 20)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + body, 0, 0x4000, 64, 17 if udp else 6, 0, source, destination)
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    ip = ip[:10] + struct.pack(">H", total) + ip[12:]
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" + ip + l4


class Writer:
    def __init__(self, path):
        self.file = open(path, "wb", 1 << 20)
        self.file.write(PCAP_HEADER)
        self.us = 0

    def put(self, data):
        self.us += 1
        self.file.write(struct.pack("<IIII", START + self.us // 1_000_000, self.us % 1_000_000, len(data), len(data)) + data)

    def close(self):
        self.file.close()


def frames(path, packets, streams, sizes):
    """`packets` frames of random ones of `streams` streams; sizes: as often as each comes"""
    rng, writer = random.Random(1), Writer(path)
    ready = {}
    for _ in range(packets):
        n, reverse, size = rng.randrange(streams), rng.random() < 0.5, rng.choice(sizes)
        if (n, reverse, size) not in ready:
            ready[n, reverse, size] = frame(n, reverse, size, udp=n % 4 == 3)
        writer.put(ready[n, reverse, size])
    writer.close()


def concurrent(path, streams, packets):
    """`streams` handshakes, or without packets the SYN of each; then `packets` acknowledgements of them at random"""
    rng, writer = random.Random(2), Writer(path)
    for n in range(streams):
        syn = frame(n, False, 64, flags=0x02)
        writer.put(syn)
        if packets:
            writer.put(frame(n, True, 64, flags=0x12))
            writer.put(syn[:TCP_FLAGS_AT] + b"\x10" + syn[TCP_FLAGS_AT + 1:])
    for _ in range(packets):
        writer.put(frame(rng.randrange(streams), rng.random() < 0.5, 64))
    writer.close()


def http(scale):
    return made(f"http-mix{scale.name}.pcap", http_mix, scale.http)


def flood(scale):
    return made(f"flood{scale.name}.pcap", frames, scale.packets, 10_000, [64])


def imix(scale):
    return made(f"imix{scale.name}.pcap", frames, scale.packets, 10_000, IMIX)


def sized(size, scale):
    return made(f"size-{size}{scale.name}.pcap", frames, scale.packets // 10, 1_000, [size])


def streams(n, scale, packets=None):
    """packets: after the n handshakes"""
    packets = scale.packets if packets is None else packets
    return made(f"open-{n}-{packets}.pcap", concurrent, n, packets)


def main():
    """makes those that are not there: [quick|tiny]"""
    scale = {"quick": QUICK, "tiny": TINY}.get("".join(sys.argv[1:]), FULL)
    http(scale), flood(scale), imix(scale)
    for size in (64, 128, 256, 594, 1518, 4096, 9000):
        sized(size, scale)
    for n in (1_000, 10_000, 100_000, 1_000_000, 4_000_000):
        if n <= scale.streams_max:
            streams(n, scale), streams(n, scale, packets=0)


if __name__ == "__main__":
    main()
