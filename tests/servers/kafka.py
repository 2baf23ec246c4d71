"""kafka.py - Kafka is not in Debian: a server and a client of ours, which speak old and flexible versions."""
import socketserver
import struct

from servers.group import Group, connect, read_exactly

PORT = 9092
PRODUCE, FETCH, METADATA, API_VERSIONS = 0, 1, 3, 18
UNKNOWN_TOPIC = 3
FLEXIBLE = {PRODUCE: 9, FETCH: 12, METADATA: 9, API_VERSIONS: 3}
OFFERED = {PRODUCE: (0, 7), FETCH: (0, 11), METADATA: (0, 4), API_VERSIONS: (0, 3)}


class Writer:
    """the types of the protocol, in the old form and the flexible one"""

    def __init__(self, flexible):
        self.flexible, self.data = flexible, b""

    def number(self, form, value):
        self.data += struct.pack(">" + form, value)
        return self

    def length(self, size, form):
        if not self.flexible:
            return self.number(form, size)
        size += 1
        while size > 127:
            self.data += bytes([size & 127 | 128])
            size >>= 7
        self.data += bytes([size])
        return self

    def string(self, text):
        data = None if text is None else text.encode()
        self.length(-1 if data is None else len(data), "h")
        self.data += data or b""
        return self

    def bytes(self, data):
        self.length(len(data), "i")
        self.data += data
        return self

    def array(self, items, write):
        self.length(len(items), "i")
        for item in items:
            write(item)
            self.tags()
        return self

    def tags(self):
        if self.flexible:
            self.data += b"\0"
        return self


class Reader:
    def __init__(self, data, flexible):
        self.data, self.at, self.flexible = data, 0, flexible

    def number(self, form):
        value = struct.unpack_from(">" + form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def length(self, form):
        if not self.flexible:
            return self.number(form)
        value, shift = 0, 0
        while True:
            byte = self.number("B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value - 1

    def string(self):
        size = self.length("h")
        self.at += max(size, 0)
        return None if size < 0 else self.data[self.at - size:self.at].decode()

    def bytes(self):
        size = self.length("i")
        self.at += max(size, 0)
        return self.data[self.at - max(size, 0):self.at]

    def array(self, read):
        found = []
        for _ in range(self.length("i")):
            found.append(read())
            if self.flexible:
                self.number("B")
        return found


# ---- the server: topics are there unless their name says otherwise ----
class Broker(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            try:
                size = struct.unpack(">i", read_exactly(self.request, 4))[0]
                data = read_exactly(self.request, size)
            except (EOFError, OSError):
                return
            api, version, correlation = struct.unpack_from(">hhi", data)
            flexible = version >= FLEXIBLE[api]
            reader = Reader(data[8:], False)
            reader.string()
            if flexible:
                reader.number("B")
            reader.flexible = flexible
            writer = Writer(flexible)
            wanted = {PRODUCE: produce, FETCH: fetch, METADATA: metadata, API_VERSIONS: api_versions}[api](reader, writer, version)
            writer.tags()
            head = struct.pack(">i", correlation) + (b"\0" if flexible and api != API_VERSIONS else b"")
            if wanted:
                self.request.sendall(struct.pack(">i", len(head + writer.data)) + head + writer.data)


def code_of(topic):
    return UNKNOWN_TOPIC if topic.startswith("no-") else 0


def api_versions(reader, writer, version):
    writer.number("h", 0).array(list(OFFERED.items()), lambda o: writer.number("h", o[0]).number("h", o[1][0]).number("h", o[1][1]))
    return writer.number("i", 0) if version >= 1 else True


def metadata(reader, writer, version):
    topics = reader.array(reader.string)
    if version >= 3:
        writer.number("i", 0)

    def broker(_):
        writer.number("i", 1).string("10.77.0.20").number("i", PORT)
        return writer.string(None) if version >= 1 else None

    def partition(number):
        writer.number("h", 0).number("i", number).number("i", 1)
        if version >= 7:
            writer.number("i", 0)
        numbers(writer, [1])
        numbers(writer, [1])
        if version >= 5:
            numbers(writer, [])

    def topic(name):
        writer.number("h", code_of(name)).string(name)
        if version >= 1:
            writer.number("?", False)
        writer.array([] if code_of(name) else [0], partition)
        if version >= 8:
            writer.number("i", 0)
    writer.array([1], broker)
    if version >= 2:
        writer.string("lab")
    if version >= 1:
        writer.number("i", 1)
    writer.array(topics, topic)
    if version >= 8:
        writer.number("i", 0)
    return True


def numbers(writer, values):
    """an array of int32: no tags between them"""
    writer.length(len(values), "i")
    for value in values:
        writer.number("i", value)


def produce(reader, writer, version):
    if version >= 3:
        reader.string()
    acks = reader.number("h")
    reader.number("i")

    def partition():
        number = reader.number("i")
        reader.bytes()
        return number
    topics = reader.array(lambda: (reader.string(), reader.array(partition)))

    def answer(topic, number):
        writer.number("i", number).number("h", code_of(topic)).number("q", 5)
        if version >= 2:
            writer.number("q", -1)
        if version >= 5:
            writer.number("q", 0)
        if version >= 8:
            writer.array([], None).string(None)
    writer.array(topics, lambda t: writer.string(t[0]).array(t[1], lambda n: answer(t[0], n)))
    if version >= 1:
        writer.number("i", 0)
    return acks != 0


def fetch(reader, writer, version):
    for form in "iii":
        reader.number(form)
    for since, form in ((3, "i"), (4, "b"), (7, "i"), (7, "i")):
        if version >= since:
            reader.number(form)

    def partition():
        number = reader.number("i")
        for since, form in ((9, "i"), (0, "q"), (12, "i"), (5, "q"), (0, "i")):
            if version >= since:
                reader.number(form)
        return number
    topics = reader.array(lambda: (reader.string(), reader.array(partition)))
    if version >= 1:
        writer.number("i", 0)
    if version >= 7:
        writer.number("h", 0).number("i", 0)

    def answer(topic, number):
        writer.number("i", number).number("h", code_of(topic)).number("q", 10)
        if version >= 4:
            writer.number("q", 10)
        if version >= 5:
            writer.number("q", 0)
        if version >= 4:
            writer.array([], None)
        if version >= 11:
            writer.number("i", -1)
        writer.bytes(b"records " * 10)
    writer.array(topics, lambda t: writer.string(t[0]).array(t[1], lambda n: answer(t[0], n)))
    return True


def serve():
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("0.0.0.0", PORT), Broker).serve_forever()


# ---- the clients ----
def request(api, version, correlation, client, fill):
    flexible = version >= FLEXIBLE[api]
    head = Writer(False).number("h", api).number("h", version).number("i", correlation).string(client).data + (b"\0" if flexible else b"")
    writer = Writer(flexible)
    fill(writer)
    writer.tags()
    data = head + writer.data
    return struct.pack(">i", len(data)) + data


def fill_produce(topic, acks, size, version):
    def fill(w):
        if version >= 3:
            w.string(None)
        w.number("h", acks).number("i", 30000)
        w.array([topic], lambda t: w.string(t).array([0], lambda n: w.number("i", n).bytes(b"r" * size)))
    return fill


def fill_fetch(topic, version):
    def fill(w):
        w.number("i", -1).number("i", 500).number("i", 1)
        for since, form, value in ((3, "i", 1 << 20), (4, "b", 0), (7, "i", 0), (7, "i", -1)):
            if version >= since:
                w.number(form, value)

        def partition(n):
            w.number("i", n)
            for since, form, value in ((9, "i", -1), (0, "q", 5), (12, "i", -1), (5, "q", 0), (0, "i", 1 << 20)):
                if version >= since:
                    w.number(form, value)
        w.array([topic], lambda t: w.string(t).array([0], partition))
        if version >= 7:
            w.array([], None)
        if version >= 11:
            w.string("rack")
    return fill


def fill_metadata(topics, version):
    def fill(w):
        w.array(topics, w.string)
        for since in (4, 8, 8):
            if version >= since:
                w.number("?", True)
    return fill


def operation(api, name, version, correlation, client, code=0, **more):
    return {"protocol.abbr": "KAFKA", "protocol.version": "12", "request.apiKey": api, "request.apiKeyName": name, "request.apiVersion": version,
            "request.correlationID": correlation, "request.clientID": client, "response.correlationID": correlation, "response.errorCode": code, **more}


def ours(server):
    """every version from the old to the flexible, a window of requests under way"""
    sock = connect(server, PORT)
    said, data, answers = [], b"", 0
    versions = [(PRODUCE, 0), (PRODUCE, 3), (PRODUCE, 7), (PRODUCE, 9), (FETCH, 0), (FETCH, 4), (FETCH, 11), (FETCH, 12), (METADATA, 0), (METADATA, 4),
                (METADATA, 7), (METADATA, 9), (API_VERSIONS, 0), (API_VERSIONS, 3)]
    for n in range(280):
        api, version = versions[n % len(versions)]
        topic = ("no-" if n % 20 == 19 else "") + f"orders-{n}"
        code = UNKNOWN_TOPIC if n % 20 == 19 and api != API_VERSIONS else 0
        client = [None, "größe", f"client-{n}"][n % 3]
        if api == PRODUCE:
            acks = 0 if n % 28 == 0 else -1
            data += request(api, version, n, client, fill_produce(topic, acks, n * 11, version))
            one = operation(api, "Produce", version, n, client or "", code, **{"request.topics": [topic], "request.payload.requiredAcks": acks,
                            "request.payload.timeout": 30000, "request.payload.topicData.0.topic": topic})
            if acks == 0:
                one = {k: v for k, v in one.items() if not k.startswith("response.")} | {"response": None}
            else:
                one["response.payload.responses.0.topic"] = topic
        elif api == FETCH:
            data += request(api, version, n, client, fill_fetch(topic, version))
            one = operation(api, "Fetch", version, n, client or "", code, **{"request.topics": [topic], "request.payload.topics.0.topic": topic,
                            "response.payload.responses.0.topic": topic})
        elif api == METADATA:
            data += request(api, version, n, client, fill_metadata([topic, "second"], version))
            one = operation(api, "Metadata", version, n, client or "", code, **{"request.topics": [topic, "second"], "request.payload.topics.0.name": topic,
                            "response.payload.brokers.0.host": server, "response.payload.brokers.0.port": PORT, "response.payload.brokers.0.nodeId": 1,
                            "response.payload.topics.0.name": topic, "response.payload.topics.0.errorCode": code})
        else:
            data += request(api, version, n, client, (lambda w: w.string("our-client").string("1.2.3")) if version >= 3 else lambda w: None)
            one = operation(api, "ApiVersions", version, n, client or "", **({"request.payload.clientSoftwareName": "our-client",
                            "request.payload.clientSoftwareVersion": "1.2.3"} if version >= 3 else {}))
        said.append(one)
        answers += one.get("response", 0) is not None
        if n % 14 == 13:
            sock.sendall(data)
            for _ in range(answers):
                read_exactly(sock, struct.unpack(">i", read_exactly(sock, 4))[0])
            data, answers = b"", 0
    sock.close()
    return said


def clients(server, folder):
    return ours(server)


GROUPS = [Group("kafka", [PORT], lambda lab: lab.call("server", serve), clients)]
