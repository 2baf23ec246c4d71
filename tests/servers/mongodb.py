"""mongodb.py - MongoDB is not in Debian: a server of ours with PyMongo, and OP_MSG by hand."""
import socketserver
import struct

from operations import More
from servers.group import Group, connect, port_of, read_exactly

PORT = 27017
OP_QUERY, OP_REPLY, OP_COMPRESSED, OP_MSG = 2004, 1, 2012, 2013
NOT_FOUND, DUPLICATE = 26, 11000


# ---- the server: says what it is, keeps nothing, fails for names that ask for it ----
class Server(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            try:
                size, number, _, opcode = struct.unpack("<iiii", read_exactly(self.request, 16))
                data = read_exactly(self.request, size - 16)
            except (EOFError, OSError):
                return
            import bson
            if opcode == OP_QUERY:
                end = data.index(b"\0", 4) + 1
                answer = bson.encode(reply_to(bson.decode(data[end + 8:])))
                body = struct.pack("<iqii", 0, 0, 0, 1) + answer
                self.request.sendall(struct.pack("<iiii", 16 + len(body), number + 5000, number, OP_REPLY) + body)
                continue
            flags, kind = struct.unpack_from("<IB", data)
            length = struct.unpack_from("<i", data, 5)[0]
            answer = bson.encode(reply_to(bson.decode(data[5:5 + length])))
            if flags & 2:  # more to come: nobody waits
                continue
            body = struct.pack("<IB", 0, 0) + answer
            self.request.sendall(struct.pack("<iiii", 16 + len(body), number + 5000, number, OP_MSG) + body)


def reply_to(command):
    name, value = next(iter(command.items()))
    if name.lower() in ("ismaster", "hello"):
        return {"ismaster": True, "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
                "minWireVersion": 0, "maxWireVersion": 8, "readOnly": False, "ok": 1.0}
    if str(value).startswith("bad"):
        return {"ok": 0.0, "errmsg": f"no {value} here", "code": NOT_FOUND, "codeName": "NamespaceNotFound"}
    if name == "find":
        rows = [{"_id": n, "name": f"row {n}"} for n in range(command["filter"]["rows"])]
        return {"cursor": {"firstBatch": rows, "id": 0, "ns": f"{command['$db']}.{value}"}, "ok": 1.0}
    if name == "insert" and str(value).startswith("twice"):
        return {"n": 0, "writeErrors": [{"index": 0, "code": DUPLICATE, "errmsg": "E11000 duplicate key"}], "ok": 1.0}
    return {"n": 1, "nModified": 1, "ok": 1.0}


def serve():
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    socketserver.ThreadingTCPServer(("0.0.0.0", PORT), Server).serve_forever()


# ---- the clients ----
def operation(command, collection, ok=1, **more):
    return {"protocol.abbr": "MONGODB", "request.opcode": "OP_MSG", "request.command": command, "request.database": "shop",
            "request.collection": collection, "request.requestId": More(-1 << 40), "response.ok": ok, **more}


def with_pymongo(server):
    """-> (operations, how often the driver asked who the server is: its own affair)"""
    import pymongo
    said = []
    client = pymongo.MongoClient(server, PORT, serverSelectionTimeoutMS=20000, retryWrites=False, retryReads=False, appname="lab")
    shop = client["shop"]
    for n in range(70):
        shop[f"items{n}"].insert_one({"_id": n, "name": f"größe {n}", "data": bytes(range(n))})
        said.append(operation("insert", f"items{n}"))
        assert len(list(shop[f"items{n}"].find({"rows": n}))) == n
        said.append(operation("find", f"items{n}", **{"request.document.find": f"items{n}", "request.document.filter.rows": n,
                              "response.documents": n, "response.cursorId": 0}))
        shop[f"items{n}"].update_one({"_id": n}, {"$set": {"name": "x" * n * 30}})
        said.append(operation("update", f"items{n}"))
        shop[f"items{n}"].delete_one({"_id": n})
        said.append(operation("delete", f"items{n}"))
    for n in range(20):
        try:
            list(shop[f"bad{n}"].find({"rows": 1}))
        except pymongo.errors.OperationFailure:
            pass
        said.append(operation("find", f"bad{n}", 0, **{"response.errorCode": NOT_FOUND, "response.errorCodeName": "NamespaceNotFound",
                              "response.errorMessage": f"no bad{n} here"}))
    try:
        shop["twice"].insert_one({"_id": 1})
    except pymongo.errors.DuplicateKeyError:
        pass
    said.append(operation("insert", "twice"))
    shop["many"].insert_many([{"_id": n, "fill": "f" * 100} for n in range(500)])
    said.append(operation("insert", "many"))
    client.close()
    return said


def by_hand(server):
    """many in one write, answers by number; a section of documents; one that wants no answer; one compressed"""
    import bson
    sock = connect(server, PORT)
    port, said, data = port_of(sock), [], b""

    def message(number, body, opcode=OP_MSG):
        return struct.pack("<iiii", 16 + len(body), number, 0, opcode) + body

    def document(flags, value):
        return struct.pack("<IB", flags, 0) + bson.encode(value)
    for n in range(100):
        data += message(n + 1, document(0, {"ping": n, "$db": "shop"}))
        said.append(operation("ping", "", **{"request.requestId": n + 1, "response.responseTo": n + 1, "src.port": port}))
    sock.sendall(data)
    for _ in range(100):
        read_exactly(sock, struct.unpack("<i", read_exactly(sock, 4))[0] - 4)
    rows = b"".join(bson.encode({"_id": n}) for n in range(3))
    section = b"\1" + struct.pack("<i", 4 + 10 + len(rows)) + b"documents\0" + rows
    sock.sendall(message(200, document(2, {"insert": "silent", "ordered": False, "$db": "shop"}) + section))
    said.append({"src.port": port, "request.command": "insert", "request.collection": "silent", "request.requestId": 200, "response": None})
    sock.sendall(message(201, document(0, {"insert": "loud", "$db": "shop"}) + section))
    read_exactly(sock, struct.unpack("<i", read_exactly(sock, 4))[0] - 4)
    said.append(operation("insert", "loud", **{"src.port": port, "request.requestId": 201}))
    old = b"\0\0\0\0admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson.encode({"buildInfo": 1})
    sock.sendall(message(202, old, OP_QUERY))
    read_exactly(sock, struct.unpack("<i", read_exactly(sock, 4))[0] - 4)
    said.append({"src.port": port, "request.opcode": "OP_QUERY", "request.command": "buildInfo", "request.database": "admin", "request.requestId": 202,
                 "response.ok": 1, "response.responseTo": 202, "response.documents": 1})
    sock.close()
    return said


def is_greeting(entry):
    """a driver asks who the server is, as often as it likes"""
    return ((entry["request"] or {}).get("command") or "").lower() in ("ismaster", "hello")


def clients(server, folder):
    return with_pymongo(server) + by_hand(server)


GROUPS = [Group("mongodb", [PORT], lambda lab: lab.call("server", serve), clients, ["py:pymongo", "py:bson"],
                owns=lambda entry: entry["dst"]["port"] == str(PORT) and not is_greeting(entry))]
