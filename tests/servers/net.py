"""net.py - DNS with dnsmasq and dig (also over TCP, and on the ports of mDNS and LLMNR), ICMP with ping and closed
ports, TLS with openssl, QUIC with ngtcp2."""
import os
import socket
import ssl
import subprocess

from live import SERVER
from operations import Has, Matches, More
from servers.group import Group, connect, find_program, port_of

DNS, MDNS, LLMNR, TLS, TLS_13 = 53, 5353, 5355, 4433, 4434
QUIC = range(4440, 4446)
CLOSED = range(20000, 20030)
ECHO_IDS = (4242, 4243)


# ---- DNS ----
def query(name, kind, rcode="NOERROR", answers=1, layer4="udp", **more):
    return {"protocol.abbr": "DNS", "protocol.version": "0", "protocol.layer4": layer4, "request.opCode": "Query",
            "request.questions.0.name": name, "request.questions.0.type": kind, "request.questions.0.class": "IN",
            "response.rcodeName": rcode, "n:response.answers": answers, **more}


def dns_clients(server, folder):
    lines, said = [], []

    def ask(name, kind, **more):
        lines.append(f"@{server} {name} {kind}")
        said.append(query(name, kind, **more))
    for n in range(100):
        ask(f"host{n}.shop.test", "A", **{"response.answers.0.ip": "10.1.2.3", "response.answers.0.name": f"host{n}.shop.test",
                                         "response.code": "No Error", "request.recursionDesired": True})
        ask(f"none{n}.test", "A", rcode="NXDOMAIN", answers=0, **{"response.code": "Non-Existent Domain"})
    ask("six.test", "AAAA", **{"response.answers.0.ip": "2001:db8::6"})
    ask("alias.test", "A", answers=2, **{"response.answers.0.cname": "six.test", "response.answers.1.ip": "10.6.6.6"})
    ask("mail.test", "MX", **{"response.answers.0.mx": "10 mx.mail.test"})
    ask("txt.test", "TXT", **{"response.answers.0.txts": Has("hello")})
    ask("_web._tcp.test", "SRV", **{"response.answers.0.srv": "5 7 8080 six.test"})
    ask("6.6.6.10.in-addr.arpa", "PTR", **{"response.answers.0.ptr": "six.test"})
    ask("outside.example", "A", rcode="REFUSED", answers=0)
    path = os.path.join(folder, "dig")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    subprocess.run(["dig", "+tries=1", "+time=10", "-f", path], stdout=subprocess.DEVNULL, check=True, timeout=60)
    for n in range(40):
        subprocess.run(["dig", "+tcp", f"@{server}", f"tcp{n}.shop.test"], stdout=subprocess.DEVNULL, check=True, timeout=20)
        said.append(query(f"tcp{n}.shop.test", "A", layer4="tcp", **{"response.answers.0.ip": "10.1.2.3"}))
    # Several questions on one connection.
    words = [w for n in range(20) for w in ("-t", "A", "-q", f"open{n}.shop.test")]
    subprocess.run(["dig", "+tcp", "+keepopen", f"@{server}", *words], stdout=subprocess.DEVNULL, check=True, timeout=60)
    said += [query(f"open{n}.shop.test", "A", layer4="tcp") for n in range(20)]
    for port in (MDNS, LLMNR):
        for n in range(10):
            subprocess.run(["dig", "+norecurse", "-p", str(port), f"@{server}", f"local{n}.shop.test"], stdout=subprocess.DEVNULL, check=True, timeout=20)
            said.append(query(f"local{n}.shop.test", "A", **{"dst.port": str(port), "request.recursionDesired": False}))
    return said


def start_dns(lab):
    for port in (DNS, MDNS, LLMNR):
        lab.start("server", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", f"--port={port}",
                  f"--pid-file={lab.path(f'dnsmasq-{port}')}", "--address=/shop.test/10.1.2.3", "--host-record=six.test,10.6.6.6,2001:db8::6",
                  "--cname=alias.test,six.test", "--mx-host=mail.test,mx.mail.test,10", "--txt-record=txt.test,hello,world",
                  "--srv-host=_web._tcp.test,six.test,8080,5,7", "--local=/test/")


# ---- ICMP ----
def icmp_clients(server, folder):
    said = []
    for number, size, count in zip(ECHO_IDS, (56, 1400), (100, 50)):
        subprocess.run(["ping", "-q", "-e", str(number), "-i", "0.002", "-c", str(count), "-s", str(size), server], stdout=subprocess.DEVNULL, check=True, timeout=60)
        said += [{"protocol.abbr": "ICMP", "protocol.version": "4", "protocol.layer4": "icmp", "request.type": 8, "request.code": 0,
                  "request.typeName": Has("Echo"), "request.identifier": number, "request.sequence": n + 1, "request.length": size + 8,
                  "request.quoted": None, "response.type": 0, "response.identifier": number, "response.sequence": n + 1, "response.length": size + 8}
                 for n in range(count)]
    for port in CLOSED:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.connect((server, port))
        sock.send(b"\0anyone?")
        try:
            sock.recv(1)
        except ConnectionRefusedError:
            pass
        mine = port_of(sock)
        said += [{"protocol.abbr": "UDP", "src.port": mine, "dst.port": str(port), "request.payloadSize": 8, "response.payloadSize": 0},
                 {"protocol.abbr": "ICMP", "request.type": 3, "request.code": 3, "request.from": server, "request.quoted.layer4": "udp",
                  "request.quoted.src.port": mine, "request.quoted.dst.port": str(port), "request.quoted.dst.ip": server, "response": None}]
    return said


def owns_icmp(entry):
    """pings of these clients, and what was said of and to the closed ports"""
    request = entry["request"] or {}
    quoted = request.get("quoted")
    ports = {str(p) for p in CLOSED}
    return entry["dst"]["port"] in ports or entry["protocol"]["abbr"] == "ICMP" and (
        request.get("identifier") in ECHO_IDS if not quoted else quoted["dst"]["port"] in ports)


def start_icmp(lab):
    # Every closed port is to be answered.
    lab.run("server", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 100000 > /proc/sys/net/ipv4/icmp_msgs_per_sec", check=False)


# ---- TLS ----
def handshake(server, port, name, version, alpn, ciphers=None):
    """-> the client's port"""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    if ciphers:
        context.set_ciphers(ciphers)
    with connect(server, port) as sock:
        number = port_of(sock)
        try:
            with context.wrap_socket(sock, server_hostname=name) as secure:
                secure.sendall(b"Q\n")
        except (ssl.SSLError, OSError):
            pass
    return number


def tls_clients(server, folder):
    said = []
    for n in range(60):
        new = n % 2 == 0
        alpn = [[], ["h2", "http/1.1"], ["http/1.1"]][n % 3]
        suite = "ECDHE-ECDSA-AES128-GCM-SHA256" if n % 4 == 1 else None
        port = handshake(server, TLS, f"n{n}.lab.example.com", ssl.TLSVersion.TLSv1_3 if new else ssl.TLSVersion.TLSv1_2, alpn, suite)
        one = {"src.port": port, "protocol.abbr": "TLS", "tls": True, "protocol.version": "1.3" if new else "1.2", "request.sni": f"n{n}.lab.example.com",
               "request.version": "TLS 1.3" if new else "TLS 1.2", "request.alpn": alpn, "response.version": "TLS 1.3" if new else "TLS 1.2",
               "response.cipherSuite": Matches("TLS_.*"), "request.alert": ""}
        if new:
            one["response.certificate"] = None
        else:
            one.update({"response.certificate.subject": "CN=lab.example.com", "response.certificate.issuer": "CN=lab.example.com",
                        "response.certificate.sans": ["lab.example.com", "*.lab.example.com"], "response.certificate.notAfter": More(0),
                        "response.alpn": alpn[0] if alpn else ""})
        if suite:
            one.update({"request.cipherSuites": Has("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), "response.cipherSuite": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"})
        said.append(one)
    for n in range(5):  # a server that wants 1.3 alone
        port = handshake(server, TLS_13, f"old{n}.lab.example.com", ssl.TLSVersion.TLSv1_2, [])
        said.append({"src.port": port, "protocol.abbr": "TLS", "request.sni": f"old{n}.lab.example.com", "response.alert": "protocol_version"})
    return said


def start_tls(lab):
    lab.certificate()
    for port, options in ((TLS, ["-alpn", "h2,http/1.1"]), (TLS_13, ["-tls1_3"])):
        lab.start("server", "openssl", "s_server", "-accept", str(port), "-cert", lab.path("cert.pem"), "-key", lab.path("key.pem"), "-quiet", "-www", *options)


# ---- QUIC ----
def quic_clients(server, folder):
    said = []
    for port in QUIC:
        subprocess.run(["gtlsclient", "-q", "--exit-on-all-streams-close", "--timeout=10s", server, str(port), "https://localhost/index.html"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30)
        said.append({"protocol.abbr": "QUIC", "dst.port": str(port), "protocol.layer4": "udp", "protocol.version": "1", "tls": False, "request.sni": "localhost",
                     "request.alpn": Has("h3"), "request.version": "1", "request.dcid": Matches("[0-9a-f]{16,}"), "response.scid": Matches("[0-9a-f]{2,}")})
    return said


def start_quic(lab):
    lab.certificate()
    os.makedirs(lab.path("quic"), exist_ok=True)
    lab.write("quic/index.html", "hello over QUIC\n")
    for port in QUIC:
        lab.start("server", find_program("gtlsserver"), "-q", "-d", lab.path("quic"), SERVER, str(port), lab.path("key.pem"), lab.path("cert.pem"))


GROUPS = [Group("dns", [DNS, MDNS, LLMNR], start_dns, dns_clients, ["dnsmasq", "dig"], proto="udp"),
          Group("icmp", [], start_icmp, icmp_clients, ["ping"], owns=owns_icmp),
          Group("tls", [TLS, TLS_13], start_tls, tls_clients, ["openssl"]),
          Group("quic", QUIC, start_quic, quic_clients, ["gtlsserver", "gtlsclient"], proto="udp")]
