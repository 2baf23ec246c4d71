"""http.py - nginx and nghttpd with Python's client, curl, nghttp and h2load: HTTP/1, HTTP/2, GraphQL; Upgrade to
h2c and CONNECT through apache; the PROXY protocol from haproxy."""
import gzip
import http.client
import json
import os
import subprocess

from operations import Has, OneOf
from servers.group import Group, connect, find_program, port_of

H1, H2, NGHTTPD, APACHE_H2, APACHE_PROXY, PROXY_1, PROXY_2 = 80, 81, 8082, 8083, 8084, 8086, 8087
AGENT = "tapedeck-lab/1.0"


def operation(method, path, status, version="1.1", port=None, query=None, **more):
    abbr = {"1.1": "HTTP", "1.0": "HTTP", "2.0": "HTTP/2"}[version]
    said = {"protocol.name": "http", "protocol.abbr": abbr, "protocol.version": version, "request.method": method, "request.path": path,
            "request.httpVersion": f"HTTP/{version}", "response.status": status, "request.queryString": query or {}, "tls": False,
            **({"src.port": port} if port else {})}
    return {**said, **more}


def with_python(server):
    """one connection of HTTP/1.1, one request after another"""
    client = http.client.HTTPConnection(server, H1, timeout=20)
    client.connect()
    port, said = port_of(client.sock), []

    def ask(method, url, status, body=None, headers={}, chunked=False, **more):
        client.request(method, url, body, {"User-Agent": AGENT, **headers}, encode_chunked=chunked)
        got = client.getresponse()
        data = got.read()
        assert got.status == status, (url, got.status)
        path = url.split("?")[0]
        # nginx has another path for what it must read to its end before it answers
        data = gzip.decompress(data) if got.getheader("Content-Encoding") == "gzip" else data
        said.append(operation(method, path, status, port=port, **{"request.url": url, "request.headers.User-Agent": AGENT,
                              "request.headers.Host": server, "response.body": data.decode(), "response.content.size": len(data), **more}))

    for n in range(120):
        ask("GET", f"/say/{n}?n={n}&word=a%20b+c&tag=x&tag=y", 200, headers={"Cookie": f"sid={n}; theme=dark"},
            **{"request.queryString": {"n": str(n), "word": "a b c", "tag": ["x", "y"]}, "request.cookies": {"sid": str(n), "theme": "dark"},
               "response.headers.X-Lab": "yes"})
    ask("HEAD", "/say/head", 200)
    ask("GET", "/index.html", 200)
    ask("GET", "/index.html", 206, headers={"Range": "bytes=1-5"})
    ask("GET", "/packed.txt", 200, headers={"Accept-Encoding": "gzip"}, **{"response.headers.Content-Encoding": "gzip"})
    ask("GET", "/nowhere", 404)
    ask("GET", "/fail", 500, **{"response.statusText": "Internal Server Error"})
    ask("GET", "/teapot", 418)
    ask("GET", "/moved", 302, **{"response.redirectURL": f"http://{server}/say/there"})
    ask("DELETE", "/say/delete", 200)
    ask("OPTIONS", "/say/options", 200)
    for size in (0, 1, 100, 5000):
        ask("PUT", f"/read/put{size}", 200, "p" * size, **{"request.bodySize": size, "request.body": "p" * size})
        ask("POST", f"/read/chunks{size}", 200, iter([b"c" * size, b"d"]), {"Transfer-Encoding": "chunked"}, True,
            **{"request.bodySize": size + 1, "request.body": "c" * size + "d"})
    ask("POST", "/read/form", 200, "name=ann&note=a+b%21", {"Content-Type": "application/x-www-form-urlencoded"},
        **{"request.postData.mimeType": "application/x-www-form-urlencoded", "request.postData.params.0.name": "name",
           "request.postData.params.1.value": "a b!"})
    for n in range(30):
        document = json.dumps({"query": f"query Items{n}($id: ID) {{ item(id: $id) {{ name }} }}", "variables": {"id": n}})
        ask("POST", "/read/graphql", 200, document, {"Content-Type": "application/json; charset=utf-8"},
            **{"protocol.abbr": "GQL", "request.gqlOperation": "query", "request.gqlName": f"Items{n}", "request.body": document})
    ask("POST", "/read/graphql", 200, '{"query":"mutation Buy { buy(id: 3) { ok } }"}', {"Content-Type": "application/json"},
        **{"protocol.abbr": "GQL", "request.gqlOperation": "mutation", "request.gqlName": "Buy"})
    ask("POST", "/read/json", 200, '{"query":"not a document ("}', {"Content-Type": "application/json"}, **{"request.gqlOperation": ""})
    client.close()
    return said


def pipelined(server):
    """requests of every size in one write; then HTTP/1.0; then one that is cut"""
    sock = connect(server, H1)
    port, said = port_of(sock), []
    for n in range(100):
        said.append(operation("GET", f"/say/p{n}", 200, port=port, **{"request.headers.X-Fill": "f" * (n * 37 % 3000 + 1), "response.body": f"fine /say/p{n}\n"}))
    sock.sendall(b"".join(f"GET /say/p{n} HTTP/1.1\r\nHost: lab\r\nx-fill: {'f' * (n * 37 % 3000 + 1)}\r\n\r\n".encode() for n in range(100)))
    got = b""
    while got.count(b"fine /say/p") < 100:
        got += sock.recv(65536)
    sock.close()
    old = connect(server, H1)
    old.sendall(b"GET /say/old HTTP/1.0\r\n\r\n")
    while old.recv(65536):
        pass
    said.append(operation("GET", "/say/old", 200, "1.0", port=port_of(old), **{"response.httpVersion": "HTTP/1.1", "protocol.version": "1.1"}))
    old.close()
    cut = connect(server, H1)
    port = port_of(cut)
    cut.sendall(b"POST /read/cut HTTP/1.1\r\nHost: lab\r\nContent-Length: 100\r\n\r\nhalf")
    cut.close()
    return said + [{"src.port": port, "request.method": "POST", "request.path": "/read/cut", "request.bodySize": 4, "response": None,
                    "error.type": "pair-not-found"}]


def h1_clients(server, folder):
    return with_python(server) + pipelined(server)


def h2_clients(server, folder):
    subprocess.run(["nghttp", "-n", "-H", f"user-agent: {AGENT}", *[f"http://{server}:{H2}/read/many{n}?n={n}" for n in range(120)]],
                   check=True, stdout=subprocess.DEVNULL, timeout=60)
    said = [operation("GET", f"/read/many{n}", 200, "2.0", query={"n": str(n)},
                      **{"request.headers.User-Agent": AGENT, "response.body": f"fine /say/many{n}?n={n}\n"}) for n in range(120)]
    path = os.path.join(folder, "body")
    with open(path, "w") as file:
        file.write("a body\n" * 3000)
    subprocess.run(["nghttp", "-n", "-d", path, *[f"http://{server}:{H2}/read/post{n}" for n in range(60)]],
                   check=True, stdout=subprocess.DEVNULL, timeout=60)
    said += [operation("POST", f"/read/post{n}", 200, "2.0", **{"request.bodySize": 21000, "request.body": Has("a body\na body\n"),
                       "response.body": f"fine /say/post{n}\n"}) for n in range(60)]
    gql = [json.dumps({"query": f"query Two{n} {{ a }}"}) for n in range(10)]
    for n, document in enumerate(gql):
        subprocess.run(["curl", "-s", "-o", "/dev/null", "--http2-prior-knowledge", "-H", "Content-Type: application/json", "-d", document,
                        f"http://{server}:{H2}/read/gql{n}"], check=True, timeout=20)
    said += [operation("POST", f"/read/gql{n}", 200, "2.0", **{"protocol.abbr": "GQL", "request.gqlName": f"Two{n}"}) for n in range(10)]
    for path, status in (("/nowhere", 404), ("/fail", 500), ("/index.html", 200)):
        subprocess.run(["curl", "-s", "-o", "/dev/null", "--http2-prior-knowledge", f"http://{server}:{H2}{path}"], timeout=20)
        said.append(operation("GET", path, status, "2.0", **{"request.headers.:authority": f"{server}:{H2}"}))
    return said


def nghttpd_clients(server, folder):
    """200 requests by h2load, 10 streams at once on each of 4 connections; nghttp with a page and what it asks"""
    subprocess.run(["h2load", "-n", "200", "-c", "4", "-m", "10", f"http://{server}:{NGHTTPD}/index.html"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    subprocess.run(["nghttp", "-n", *[f"http://{server}:{NGHTTPD}/none{n}" for n in range(20)]], check=True, stdout=subprocess.DEVNULL, timeout=60)
    subprocess.run(["nghttp", "-n", "-d", os.path.join(folder, "www/large.bin"), f"http://{server}:{NGHTTPD}/index.html"], check=True, timeout=60)
    return [operation("GET", "/index.html", 200, "2.0", **{"response.bodySize": 120})] * 200 + \
        [operation("GET", f"/none{n}", 404, "2.0") for n in range(20)] + \
        [operation("POST", "/index.html", 200, "2.0", **{"request.bodySize": 131072})]


def upgrade_clients(server, folder):
    """a request of HTTP/1.1 asks for h2c: the 101 is its answer there, stream 1 of HTTP/2 what was asked for"""
    said = []
    for n in range(15):
        done = subprocess.run(["curl", "-s", "--http2", "-A", AGENT, "-w", "%{local_port}", "-o", "/dev/null",
                               f"http://{server}:{APACHE_H2}/say/up{n}"], check=True, stdout=subprocess.PIPE, timeout=20)
        port = done.stdout.decode()
        said += [operation("GET", f"/say/up{n}", 101, port=port, **{"request.headers.Upgrade": "h2c"}),
                 operation("GET", f"/say/up{n}", 200, "2.0", port=port, **{"request.httpVersion": "HTTP/1.1", "request.headers.User-Agent": AGENT,
                           "request.streamId": 0, "response.httpVersion": "HTTP/2.0", "response.body": f"fine /say/up{n}\n"})]
    return said


def connect_clients(server, folder):
    said = []
    for n in range(20):
        done = subprocess.run(["curl", "-s", "-p", "-x", f"http://{server}:{APACHE_PROXY}", "-o", "/dev/null", "-w", "%{local_port}\n", "-A", AGENT,
                               f"http://{server}:{H1}/say/tunnel{n}"], check=True, stdout=subprocess.PIPE, timeout=20)
        port = done.stdout.decode().split()[0]
        said += [{"src.port": port, "protocol.abbr": "HTTP", "request.method": "CONNECT", "request.url": f"{server}:{H1}", "response.status": 200},
                 operation("GET", f"/say/tunnel{n}", 200, port=port, **{"request.headers.User-Agent": AGENT})]
    return said


def proxy_clients(server, folder):
    """haproxy on the client's side speaks the PROXY protocol to nginx"""
    conf = os.path.join(folder, "haproxy.cfg")
    with open(conf, "w") as file:
        file.write("defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 20s\n  timeout server 20s\n" + "".join(
            f"listen p{version}\n  bind 127.0.0.1:{9000 + version}\n  server s {server}:{port} {word}\n"
            for version, port, word in ((1, PROXY_1, "send-proxy"), (2, PROXY_2, "send-proxy-v2"))))
    proxy = subprocess.Popen([find_program("haproxy"), "-f", conf, "-db"], stdin=subprocess.DEVNULL)
    # haproxy is asked whether it is up: that is a connection with nothing but the header. Whoever is the first to give it
    # up closes or resets it.
    end = OneOf(None, {"type": "connection", "msg": "Reset"})
    said = [{"protocol.abbr": "TCP", "dst.port": str(port), "response.payloadSize": 0, "error": end} for port in (PROXY_1, PROXY_2)]
    try:
        for version in (1, 2):
            connect("127.0.0.1", 9000 + version).close()
            for n in range(25):
                client = http.client.HTTPConnection("127.0.0.1", 9000 + version, timeout=20)
                for path in (f"/say/proxy{version}-{n}", f"/say/again{version}-{n}"):
                    client.request("GET", path)
                    client.getresponse().read()
                    said.append(operation("GET", path, 200, **{"response.body": f"fine {path}\n", "dst.port": str((PROXY_1, PROXY_2)[version - 1])}))
                client.close()
    finally:
        proxy.terminate()
        proxy.wait()
    return said


def start_nginx(lab):
    if os.path.exists(lab.path("nginx")):
        return
    os.makedirs(lab.path("nginx"))
    os.makedirs(lab.path("www"), exist_ok=True)
    lab.write("www/index.html", "hello\n" * 20)
    lab.write("www/packed.txt", "pack me " * 500)
    lab.write("www/large.bin", "0123456789abcdef" * 8192)
    temporary = " ".join(f"{kind}_path {lab.path('nginx')}/{kind};" for kind in (
        "client_body_temp", "proxy_temp", "fastcgi_temp", "uwsgi_temp", "scgi_temp"))
    conf = lab.write("nginx/nginx.conf", f"""
daemon off; worker_processes 1; pid {lab.path('nginx/pid')}; error_log {lab.path('nginx/error.log')}; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; {temporary} keepalive_requests 100000; types {{ text/html html; text/plain txt; }}
  gzip on; gzip_types text/plain; gzip_min_length 1000;
  server {{
    listen {H1}; listen {H2} http2; listen {PROXY_1} proxy_protocol; listen {PROXY_2} proxy_protocol;
    root {lab.path('www')}; large_client_header_buffers 8 16k;
    location /say/ {{ add_header X-Lab yes; return 200 "fine $request_uri\\n"; }}
    location /read/ {{ proxy_pass http://127.0.0.1:{H1}/say/; proxy_http_version 1.1; }}
    location /fail {{ return 500 "boom\\n"; }}
    location /teapot {{ return 418 "short and stout\\n"; }}
    location /moved {{ return 302 /say/there; }}
  }}
}}
""")
    lab.start("server", "nginx", "-c", conf, "-p", lab.path("nginx"))


def start_nghttpd(lab):
    start_nginx(lab)
    lab.start("server", "nghttpd", "--no-tls", "-d", lab.path("www"), str(NGHTTPD))


def start_apache(lab):
    start_nginx(lab)
    if os.path.exists(lab.path("apache")):
        return
    os.makedirs(lab.path("apache"))
    modules = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in (
        "mpm_event", "authz_core", "http2", "proxy", "proxy_connect", "proxy_http"))
    conf = lab.write("apache/apache.conf", f"""
ServerRoot {lab.path('apache')}
ServerName lab
PidFile {lab.path('apache')}/pid
ErrorLog {lab.path('apache')}/error.log
DefaultRuntimeDir {lab.path('apache')}
{modules}
Listen {APACHE_H2}
Listen {APACHE_PROXY}
<VirtualHost *:{APACHE_H2}>
  Protocols h2c http/1.1
  H2Upgrade on
  ProxyPass / http://127.0.0.1:{H1}/
</VirtualHost>
<VirtualHost *:{APACHE_PROXY}>
  ProxyRequests On
  AllowCONNECT {H1}
</VirtualHost>
""")
    lab.start("server", "apache2", "-f", conf, "-D", "FOREGROUND")


GROUPS = [
    Group("http1", [H1], start_nginx, h1_clients, ["nginx"]),
    Group("http2", [H2], start_nginx, h2_clients, ["nginx", "curl", "nghttp"]),
    Group("nghttpd", [NGHTTPD], start_nghttpd, nghttpd_clients, ["nghttpd", "h2load", "nghttp"]),
    Group("h2c-upgrade", [APACHE_H2], start_apache, upgrade_clients, ["apache2", "curl"]),
    Group("connect", [APACHE_PROXY], start_apache, connect_clients, ["apache2", "curl"]),
    Group("proxy-protocol", [PROXY_1, PROXY_2], start_nginx, proxy_clients, ["nginx", "haproxy"]),
]
