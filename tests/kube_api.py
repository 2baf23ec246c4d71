"""kube_api.py - a server that plays the Kubernetes API: TLS with a CA of its own, lists in pages,
chunked watches, bookmarks, 410; and what goes wrong: connections cut, slow, garbage, refused.

Objects are as `kubectl get -o json` prints them. Everything is kept in memory, each change with its
version, so that a watch can begin anywhere in the past that is still remembered.
"""
import datetime
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

PATHS = {"/api/v1/pods": "Pod", "/api/v1/services": "Service", "/api/v1/nodes": "Node",
         "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice"}


def rfc3339(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name, namespace, ip, start=None, node="node-1", phase="Running", more=None):
    start = rfc3339(time.time() - 3600 if start is None else start)
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "creationTimestamp": start,
                         "labels": {"app": name.rsplit("-", 1)[0], "pod-template-hash": "5c689d88bb"},
                         "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "controller": True}]},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/main:1", "ports": [{"containerPort": 80}]}],
                     **(more or {})},
            "status": {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.168.0.1", "startTime": start,
                       "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": start}]}}


def service(name, namespace, ip):
    return {"metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}, "status": {"loadBalancer": {}}}


def node(name, ip):
    return {"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]}}


def endpoint_slice(name, namespace, service_name, *addresses):
    return {"metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service_name}},
            "addressType": "IPv4", "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
            "ports": [{"port": 80}]}


class Authority:
    """A CA, the server's certificate for 127.0.0.1, and a client's."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = self.make("ca", "/CN=test CA", None)
        self.server = self.make("server", "/CN=kube-apiserver", "subjectAltName=IP:127.0.0.1")
        self.client = self.make("client", "/O=readers/CN=tapedeck", "extendedKeyUsage=clientAuth")

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, subject, extension):
        key, cert = self.path(name + ".key"), self.path(name + ".crt")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                   "-keyout", key, "-out", cert, "-subj", subject]
        if extension:
            command += ["-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"), "-addext", extension,
                        "-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return cert


class Api:
    def __init__(self, authority, token="right", client_ca=False, port=0):
        self.lock = threading.Condition()
        self.token = token          # None: anybody
        self.client_ca = client_ca  # a client certificate does as well
        self.objects = {kind: {} for kind in PATHS.values()}
        self.log = []               # (version, kind, type, object)
        self.version = 1000
        self.forgotten = 0          # versions up to here: 410
        self.page_max = 500
        self.requests = []
        self.trouble = {}           # kind -> function(handler, is_watch) -> True: it has answered
        self.cut = 0                # watches of a lower generation end
        self.silent = False         # watches bring nothing any more
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.server, authority.path("server.key"))
        if client_ca:
            context.load_verify_locations(authority.ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                try:
                    api.answer(self)
                except (OSError, ssl.SSLError):
                    self.close_connection = True

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def process_request_thread(self, request, address):
                try:
                    request.settimeout(20)
                    request = context.wrap_socket(request, server_side=True)
                    request.settimeout(None)
                    super().process_request_thread(request, address)
                except (OSError, ssl.SSLError):
                    self.shutdown_request(request)

            def handle_error(self, request, address):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.cut_watches()
        self.server.shutdown()
        self.server.server_close()

    # ---- the cluster ----

    def put(self, kind, thing):
        with self.lock:
            self.version += 1
            metadata = thing["metadata"]
            metadata["resourceVersion"] = str(self.version)
            key = (metadata.get("namespace", ""), metadata["name"])
            known = key in self.objects[kind]
            self.objects[kind][key] = thing
            self.log.append((self.version, kind, "MODIFIED" if known else "ADDED", json.dumps(thing)))
            self.lock.notify_all()

    def delete(self, kind, namespace, name):
        with self.lock:
            self.version += 1
            thing = self.objects[kind].pop((namespace, name))
            thing["metadata"]["resourceVersion"] = str(self.version)
            self.log.append((self.version, kind, "DELETED", json.dumps(thing)))
            self.lock.notify_all()

    def bookmark(self):
        with self.lock:
            self.version += 1
            for kind in self.objects:
                self.log.append((self.version, kind, "BOOKMARK",
                                 json.dumps({"kind": kind, "metadata": {"resourceVersion": str(self.version)}})))
            self.lock.notify_all()

    def forget(self):
        """What was before now cannot be watched any more."""
        with self.lock:
            self.forgotten = self.version
            self.log = []

    def cut_watches(self):
        with self.lock:
            self.cut += 1
            self.lock.notify_all()

    def count(self, kind, watch):
        with self.lock:
            return sum(k == kind and w == watch for k, w in self.requests)

    # ---- answers ----

    def answer(self, handler):
        url = urlparse(handler.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        kind = PATHS.get(url.path)
        watch = "watch" in query
        if not kind:
            return self.refuse(handler, 404, "no such path")
        with self.lock:
            self.requests.append((kind, watch))
        certificate = self.client_ca and handler.connection.getpeercert()
        if self.token is not None and not certificate and handler.headers.get("Authorization") != f"Bearer {self.token}":
            return self.refuse(handler, 401, "Unauthorized")
        trouble = self.trouble.get(kind)
        if trouble and trouble(handler, watch):
            handler.close_connection = True
            return None
        if watch:
            return self.watch(handler, kind, int(query["resourceVersion"]), float(query["timeoutSeconds"]))
        return self.list(handler, kind, query)

    def refuse(self, handler, code, message):
        self.send(handler, code, json.dumps({"kind": "Status", "status": "Failure", "code": code, "message": message}).encode())

    def send(self, handler, code, body):
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def list(self, handler, kind, query):
        with self.lock:
            things = list(self.objects[kind].values())
            version = self.version
            first = int(query.get("continue", "at=0").split("=")[1])
            limit = min(int(query.get("limit", 500)), self.page_max)
            metadata = {"resourceVersion": str(version)}
            if first + limit < len(things):
                metadata["continue"] = f"at={first + limit}"
            body = json.dumps({"kind": kind + "List", "apiVersion": "v1", "metadata": metadata,
                               "items": [{k: v for k, v in thing.items() if k not in ("kind", "apiVersion")}
                                         for thing in things[first:first + limit]]}).encode()
        self.send(handler, 200, body)

    def watch(self, handler, kind, version, seconds):
        end = time.monotonic() + seconds
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        if version < self.forgotten:
            self.chunk(handler, '{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired",'
                                '"message":"too old resource version"}}\n')
            handler.wfile.write(b"0\r\n\r\n")
            return
        generation = self.cut
        at = 0
        while True:
            with self.lock:
                while (at >= len(self.log) or self.silent) and generation == self.cut and time.monotonic() < end:
                    self.lock.wait(0.2)
                if generation != self.cut:
                    handler.close_connection = True
                    handler.connection.shutdown(socket.SHUT_RDWR)
                    return
                new = self.log[at:]
                at += len(new)
            text = "".join(f'{{"type":"{what}","object":{thing}}}\n' for v, k, what, thing in new if k == kind and v > version)
            if text:
                self.chunk(handler, text)
            if time.monotonic() >= end:
                handler.wfile.write(b"0\r\n\r\n")
                return

    def chunk(self, handler, text):
        """In pieces that respect no line."""
        data = text.encode()
        for at in range(0, len(data), 7001):
            piece = data[at:at + 7001]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.flush()
