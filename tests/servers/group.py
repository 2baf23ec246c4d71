"""group.py - a kind of server, and clients that know what they did."""
import importlib.util
import os
import shutil
import socket
import struct
import time


class Group:
    """start(lab) starts the server and returns at once; run(server, folder) is called in the client's
    namespace and returns the operations (operations.py). Entries of streams to `ports`, which are
    served before the clients run, are the group's, or those that owns(entry) says."""

    def __init__(self, name, ports, start, run, needs=(), proto="tcp", owns=None):
        self.name, self.ports, self.start, self.run, self.needs = name, ports, start, run, needs
        self.proto = proto
        self.owns = owns or (lambda entry: entry["dst"]["port"] in {str(p) for p in ports})

    def missing(self):
        """-> what the group needs and this machine has not: programs by path or name, Python modules as `py:NAME`"""
        return [n for n in self.needs if not (importlib.util.find_spec(n[3:]) if n.startswith("py:") else find_program(n))]


def find_program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/lib/postgresql/15/bin")


def port_of(sock):
    return str(sock.getsockname()[1])


def connect(server, port, tries=200):
    """-> a connected socket; the server may still be starting"""
    for n in range(tries):
        try:
            sock = socket.create_connection((server, port), timeout=20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError:
            if n + 1 == tries:
                raise
            time.sleep(0.1)


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return data


def abort(sock):
    """closes with a reset"""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
