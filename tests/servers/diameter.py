"""diameter.py - Diameter over TCP by a server and clients of ours: capabilities, watchdogs, credit control, errors."""
import socketserver
import struct

from servers.group import Group, connect, read_exactly

PORT = 3868
CAPABILITIES, WATCHDOG, CREDIT, DISCONNECT = 257, 280, 272, 282
SUCCESS, UNKNOWN_USER = 2001, 5030
NAMES = {CAPABILITIES: "Capabilities-Exchange", WATCHDOG: "Device-Watchdog", CREDIT: "Credit-Control", DISCONNECT: "Disconnect-Peer"}


def avp(code, data, vendor=0):
    if isinstance(data, str):
        data = data.encode()
    if isinstance(data, int):
        data = struct.pack(">I", data)
    size = 8 + 4 * bool(vendor) + len(data)
    head = struct.pack(">II", code, (0xc0 if vendor else 0x40) << 24 | size) + (struct.pack(">I", vendor) if vendor else b"")
    return head + data + b"\0" * (-size % 4)


def message(flags, command, application, hop, end, *avps):
    body = b"".join(avps)
    return struct.pack(">IIIII", 1 << 24 | 20 + len(body), flags << 24 | command, application, hop, end) + body


def avps_of(data):
    found, at = {}, 0
    while at < len(data):
        code, word = struct.unpack_from(">II", data, at)
        size, head = word & 0xffffff, 12 if word >> 31 else 8
        found.setdefault(code, data[at + head:at + size])
        at += size + -size % 4
    return found


class Peer(socketserver.StreamRequestHandler):
    def handle(self):
        held = []
        while True:
            try:
                head = read_exactly(self.request, 20)
                length, command, application, hop, end = struct.unpack(">IIIII", head)
                asked = avps_of(read_exactly(self.request, (length & 0xffffff) - 20))
            except (EOFError, OSError):
                return
            command &= 0xffffff
            mine = avp(264, "ocs.example.net") + avp(296, "example.net")
            if command == CREDIT:
                user = avps_of(asked[443])[444].decode()
                session = avp(263, asked[263])
                if user.startswith("stranger"):
                    result = avp(297, avp(266, 10415) + avp(298, UNKNOWN_USER))
                else:
                    result = avp(268, SUCCESS)
                granted = avp(456, avp(431, avp(421, struct.pack(">Q", 1 << 40))) + avp(268, SUCCESS))
                answer = message(0x40, command, application, hop, end, session, result, mine, avp(258, 4), avp(416, asked[416]), avp(415, asked[415]), granted)
                held.append(answer)
                if len(held) == 4:  # answers come in another order than questions
                    self.request.sendall(b"".join(reversed(held)))
                    held = []
                continue
            self.request.sendall(message(0, command, 0, hop, end, avp(268, SUCCESS), mine))


def serve():
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("0.0.0.0", PORT), Peer).serve_forever()


def operation(command, hop, result, application=0, **more):
    return {"protocol.abbr": "DIAMETER", "protocol.version": "1", "protocol.layer4": "tcp", "request.commandCode": command, "request.method": NAMES[command],
            "request.applicationId": application, "request.hopByHopId": hop, "request.endToEndId": 0xabc00000 + hop, "request.originHost": "pgw.example.net",
            "request.originRealm": "example.net", "response.resultCode": result, "response.originHost": "ocs.example.net",
            "response.originRealm": "example.net", **more}


def one_peer(server, first):
    sock = connect(server, PORT)
    said, mine = [], avp(264, "pgw.example.net") + avp(296, "example.net")

    def ask(data, answers=1):
        sock.sendall(data)
        for _ in range(answers):
            size = struct.unpack(">I", read_exactly(sock, 4))[0] & 0xffffff
            read_exactly(sock, size - 4)
    hop = first
    ask(message(0x80, CAPABILITIES, 0, hop, 0xabc00000 + hop, mine, avp(257, b"\0\1\x0a\x4d\0\x0b"), avp(266, 0), avp(269, "lab"), avp(258, 4)))
    said.append(operation(CAPABILITIES, hop, SUCCESS, **{"request.avps.Host-IP-Address": "10.77.0.11", "request.avps.Product-Name": "lab"}))
    for n in range(40):
        data = b""
        for k in range(4):
            hop += 1
            user = f"{'stranger' if (n + k) % 10 == 0 else 'imsi'}{hop}"
            session = f"pgw.example.net;{n};{k};{'s' * (n % 4)}"
            data += message(0xc0, CREDIT, 4, hop, 0xabc00000 + hop, avp(263, session), mine, avp(283, "example.net"), avp(293, "ocs.example.net"), avp(258, 4),
                            avp(461, "data@lab"), avp(416, 2), avp(415, n), avp(1, f"user{hop}"), avp(443, avp(450, 1) + avp(444, user)),
                            avp(456, avp(437, avp(421, struct.pack(">Q", 1 << 33)))), avp(874, avp(5, b"\5", 10415), 10415))
            strange = user.startswith("stranger")
            said.append(operation(CREDIT, hop, 0 if strange else SUCCESS, 4, **{
                "request.sessionId": session, "request.userName": f"user{hop}", "request.destinationRealm": "example.net",
                "request.destinationHost": "ocs.example.net", "request.avps.CC-Request-Number": n, "request.avps.CC-Request-Type": 2,
                "request.avps.Subscription-Id.Subscription-Id-Data": user, "request.avps.Subscription-Id.Subscription-Id-Type": 1,
                "request.avps.Multiple-Services-Credit-Control.Requested-Service-Unit.CC-Total-Octets": 1 << 33,
                "response.avps.Multiple-Services-Credit-Control.Granted-Service-Unit.CC-Total-Octets": 1 << 40,
                "response.experimentalResultCode": UNKNOWN_USER if strange else 0}))
        ask(data, 4)
        if n % 4 == 0:
            hop += 1
            ask(message(0x80, WATCHDOG, 0, hop, 0xabc00000 + hop, mine))
            said.append(operation(WATCHDOG, hop, SUCCESS))
    hop += 1
    ask(message(0x80, DISCONNECT, 0, hop, 0xabc00000 + hop, mine, avp(273, 0)))
    said.append(operation(DISCONNECT, hop, SUCCESS, **{"request.avps.Disconnect-Cause": 0}))
    sock.close()
    return said


def clients(server, folder):
    return one_peer(server, 1) + one_peer(server, 10000)


GROUPS = [Group("diameter", [PORT], lambda lab: lab.call("server", serve), clients)]
