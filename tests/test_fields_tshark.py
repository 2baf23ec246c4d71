#!/usr/bin/env python3
"""test_fields_tshark.py - what dissectors say of the corpus against what tshark says of it: for each capture the set of
values that a field has in all entries, and that the display field of FIELDS.md has in all frames. The captures of TCP that is
out of order, overlapping, retransmitted, wrapped or full of gaps are among them: the same requests are found.

Not compared: a protocol that tshark does not know in a capture at all (it goes by ports, we by content)."""
import concurrent.futures
import csv
import glob
import json
import os
import re
import shutil
import subprocess
import sys

SOURCE = os.environ.get("SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
SHARED = os.path.join(SOURCE, "..", "shared")
TAPEDECK = os.path.join(os.environ.get("BUILD", os.path.join(SOURCE, "build")), "mgmt", "tapedeck")
COMPARED_MIN = 500
FOLDERS = ("amqp", "diameter", "dns", "frag", "graphql", "grpc", "http", "http2", "icmp", "kafka", "ldap", "mixed", "mongodb",
           "mysql", "postgresql", "radius", "redis", "sctp", "tcp", "tls", "tunnel", "udp", "vlan", "websocket")


def number(text):
    return int(text, 0)


def plain(text):
    return text


def root(text):  # the empty name
    return "" if text == "<Root>" else text


def null(text):
    return "" if text == "[ Null ]" else text


def hexadecimal(text):
    return text.replace(":", "").lower()


def final(text):  # of an interim response nothing is in an entry
    return None if text.startswith("1") and text != "101" else int(text)


class Row:
    """protocol (abbr where one protocol.name has several); paths in the entry; display fields; what makes a value of theirs
    ours, None: leave it out. within: they show it of messages that no entry has it of, so ours is a part of theirs."""

    def __init__(self, protocol, paths, fields, convert=plain, within=False):
        self.protocol, self.paths, self.fields, self.convert = protocol, paths.split(), fields.split(), convert
        self.within = within


ROWS = (
    Row("http/1", "request.method", "http.request.method"),
    Row("http/1", "request.url", "http.request.uri"),
    Row("http/1", "request.httpVersion", "http.request.version"),
    Row("http/1", "request.headers.Host", "http.host"),
    Row("http/1", "request.headers.User-Agent", "http.user_agent"),
    Row("http/1", "request.headers.Referer", "http.referer"),
    Row("http/1", "request.headers.Authorization", "http.authorization"),
    Row("http/1", "request.headers.Cookie", "http.cookie"),
    Row("http/1", "response.status", "http.response.code", final),
    Row("http/1", "response.headers.Server", "http.server"),
    Row("http/1", "response.redirectURL", "http.location"),
    Row("http/2", "request.method", "http2.headers.method"),
    Row("http/2", "request.url", "http2.headers.path"),
    Row("http/2", "request.headers.:authority", "http2.headers.authority"),
    Row("http/2", "response.status", "http2.headers.status", number),
    Row("ws", "request.closeCode response.closeCode", "websocket.payload.close.status_code", number),
    Row("dns", "request.id", "dns.id", number),
    Row("dns", "request.questions.name", "dns.qry.name", root),
    Row("dns", "response.answers.ip response.authorities.ip response.additionals.ip", "dns.a dns.aaaa"),
    Row("dns", "response.answers.cname response.authorities.cname", "dns.cname"),
    Row("dns", "response.answers.ns response.authorities.ns response.additionals.ns", "dns.ns"),
    Row("dns", "response.answers.ptr", "dns.ptr.domain_name"),
    Row("tls", "request.sni", "tls.handshake.extensions_server_name"),
    Row("tls", "request.alpn response.alpn", "tls.handshake.extensions_alpn_str"),
    Row("tls", "response.certificate.sans", "x509ce.dNSName"),
    Row("quic", "request.sni", "tls.handshake.extensions_server_name"),
    Row("quic", "request.alpn", "tls.handshake.extensions_alpn_str"),
    Row("quic", "request.dcid", "quic.dcid", hexadecimal, within=True),
    Row("quic", "request.scid response.scid", "quic.scid", hexadecimal, within=True),
    Row("redis", "response.keyword", "resp.string", str.upper, within=True),
    Row("kafka", "request.apiKey", "kafka.api_key", number),
    Row("kafka", "request.apiVersion", "kafka.api_version", number),
    Row("kafka", "request.correlationID response.correlationID", "kafka.correlation_id", number, within=True),
    Row("kafka", "request.clientID", "kafka.client_id"),
    Row("kafka", "request.topics", "kafka.topic_name", null),
    Row("kafka", "request.size response.size", "kafka.len", number),
    Row("amqp", "request.exchange", "amqp.method.arguments.exchange"),
    Row("amqp", "request.routingKey", "amqp.method.arguments.routing_key"),
    Row("amqp", "request.queue response.queue", "amqp.method.arguments.queue"),
    Row("amqp", "request.replyCode", "amqp.method.arguments.reply_code", number),
    Row("amqp", "request.properties.contentType", "amqp.method.properties.content_type"),
    Row("amqp", "response.messageCount", "amqp.method.arguments.message_count", number),
    Row("mysql", "request.query", "mysql.query"),
    Row("mysql", "request.user", "mysql.user"),
    Row("mysql", "response.errorCode", "mysql.error_code", number),
    Row("mysql", "response.sqlState", "mysql.sqlstate"),
    Row("mysql", "response.errorMessage", "mysql.error.message"),
    Row("mysql", "response.affectedRows", "mysql.affected_rows", number),
    Row("mysql", "response.lastInsertId", "mysql.insert_id", number),
    Row("postgresql", "request.query", "pgsql.query"),
    Row("postgresql", "response.tag", "pgsql.tag"),
    Row("postgresql", "response.errorCode", "pgsql.code", within=True),  # and of notices
    Row("postgresql", "response.severity", "pgsql.severity", within=True),
    Row("postgresql", "response.errorMessage", "pgsql.message", within=True),
    Row("mongodb", "request.requestId", "mongo.request_id", number, within=True),
    Row("mongodb", "response.responseTo", "mongo.response_to", number),
    Row("ldap", "request.messageId", "ldap.messageID", number, within=True),
    Row("ldap", "request.name", "ldap.name"),
    Row("ldap", "request.baseObject", "ldap.baseObject"),
    Row("ldap", "request.mechanism", "ldap.mechanism"),
    Row("ldap", "response.resultCode", "ldap.resultCode", number),
    Row("ldap", "response.matchedDN", "ldap.matchedDN"),
    Row("ldap", "response.errorMessage", "ldap.errorMessage"),
    Row("radius", "request.code response.code", "radius.code", number),
    Row("radius", "request.id", "radius.id", number, within=True),
    Row("radius", "request.authenticator", "radius.authenticator", hexadecimal, within=True),
    Row("radius", "request.attributes.User-Name response.attributes.User-Name", "radius.User_Name"),
    Row("diameter", "request.commandCode", "diameter.cmd.code", number),
    Row("diameter", "request.applicationId", "diameter.applicationId", number),
    Row("diameter", "request.hopByHopId", "diameter.hopbyhopid", number),
    Row("diameter", "request.endToEndId", "diameter.endtoendid", number),
    Row("diameter", "request.sessionId", "diameter.Session-Id"),
    Row("diameter", "request.originHost response.originHost", "diameter.Origin-Host"),
    Row("diameter", "response.resultCode", "diameter.Result-Code", number),
    Row("icmp", "request.type response.type", "icmp.type icmpv6.type", number),
    Row("icmp", "request.code response.code", "icmp.code icmpv6.code", number),
    Row("icmp", "request.identifier response.identifier", "icmp.ident icmpv6.echo.identifier", number),
    Row("icmp", "request.sequence response.sequence", "icmp.seq icmpv6.echo.sequence_number", number),
    Row("sctp", "request.ppids response.ppids", "sctp.data_payload_proto_id", number, within=True),  # and of Diameter's
)
# The frames whose fields count, by their protocols: not those quoted by ICMP errors, carried in another protocol, or of HTTP
# over UDP and SCTP.
FRAMES = {"http/1": r":tcp:http(:|$)", "dns": r"^(?!.*:icmp).*:(udp|tcp):(dns|mdns|llmnr)", "tls": r":tcp(:[a-z0-9]+)*:tls",
          "quic": r":udp:quic"}
# Where tshark's values are not ours, and why: (capture, protocol) -> reason.
LOST = "segments were not captured: we go on behind the gap, tshark with out-of-order reassembly waits for them"
H2C = "the request of stream 1 came as HTTP/1.1 and was upgraded: it is this entry's request (RFC 7540 section 3.2)"
ARGUED = {
    ("dns/sv-dns-udp-junkrequest-first.pcap", "dns"): "the first datagram is junk, of which tshark shows an id",
    ("dns/zeek-dns-inverse-query.pcap", "dns"): "tshark shows the address of an inverse query's answer as a question's name",
    ("frag/arkime-socks5-http-302-frag.pcap", "http/1"): "HTTP within SOCKS, which is none of our protocols",
    ("http/pcpp-4khttprequests.pcap", "http/1"): LOST,
    ("http/zeek-1000-requests-one-dropped-response.pcap", "http/1"): LOST,
    ("tcp/packetbeat-gap_in_stream.pcap", "http/1"): LOST,
    ("http/zeek-methods.pcap", "http/1"): "a request line with the version HTTP/1., which is none",
    ("tunnel/arkime-gre-erspan-vxlan.pcap", "http/1"): "a target with a space in it: tshark ends it there",
    ("tunnel/zeek-gtp1_gn_normal_incl_fragmentation.pcap", "http/1"): "the answer's head is in a fragment whose rest was not captured",
    ("http2/arkime-http2-nghttp2.pcap", "http/2"): H2C,
    ("http2/sv-http2-keywords2.pcap", "http/2"): H2C,
    ("http2/sv-http2-range.pcap", "http/2"): H2C,
    ("http2/sv-http2_deflate.pcap", "http/2"): H2C,
    ("ldap/zeek-ldap_invalid_credentials.pcap", "ldap"): "the message ends in a zero byte, which tshark does not show",
    ("mongodb/ndpi-mongodb.pcap", "mongodb"): "a second stream, on a port that tshark does not know",
}
FIELDS = sorted({field for row in ROWS for field in row.fields})



def values(entry, path):
    """-> the values at a path, through arrays"""
    found = [entry]
    for part in re.findall(r":?[^.]+", path):
        found = [v.get(part) for v in found if isinstance(v, dict)]
        found = [each for v in found for each in (v if isinstance(v, list) else [v])]
    return found


def comparable(value):
    """Text that both print alike; empty values and 0 stand for what is not there."""
    return value not in (None, "", 0) and (isinstance(value, int) or re.fullmatch(r"[ -\[\]-~]{1,200}", value) is not None)


def ours_of(capture):
    done = subprocess.run([TAPEDECK, "read", "--json", "--entries", capture], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, check=False)
    found = [set() for _ in ROWS]
    for entry in map(json.loads, done.stdout.splitlines()):
        kind = entry["protocol"]["name"]
        if kind == "http":
            kind = "http/2" if entry["protocol"]["version"] == "2.0" else "http/1"
        for row, into in zip(ROWS, found):
            if row.protocol == kind:
                into.update(v for path in row.paths for v in values(entry, path) if comparable(v))
    return found


def theirs_of(capture, options):
    done = subprocess.run(["tshark", "-n", "-2", "-r", capture, "-o", "tcp.reassemble_out_of_order:TRUE", *options, "-T", "fields",
                           "-E", "occurrence=a", "-E", "aggregator=\x1f", "-E", "separator=/t",
                           *[w for f in ["frame.protocols", *FIELDS] for w in ("-e", f)]],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
    if done.returncode not in (0, 2):  # 2: a damaged capture
        raise RuntimeError(done.stderr.decode())
    found = [set() for _ in ROWS]
    for line in done.stdout.decode("utf-8", "replace").split("\n"):
        protocols, *texts = line.split("\t")
        shown = {field: text.split("\x1f") for field, text in zip(FIELDS, texts) if text}
        for row, into in zip(ROWS, found):
            if re.search(FRAMES.get(row.protocol, ""), protocols):
                into.update(v for f in row.fields for t in shown.get(f, ()) if t and comparable(v := row.convert(t)))
    return found


def differences(name, ours, theirs):
    """-> ([what differs of a capture], how many fields were compared)"""
    known = {row.protocol for row, b in zip(ROWS, theirs) if b}
    wrong, n = [], 0
    for row, a, b in zip(ROWS, ours, theirs):
        if row.protocol not in known:
            continue
        n += bool(a or b)
        if a - b or (b - a and not row.within):
            wrong.append((name, row.protocol, f" {' '.join(row.paths)}: only ours {sorted(a - b)[:3]}, only tshark's {sorted(b - a)[:3]}"))
    return wrong, n


def main():
    captures = sorted(p for f in FOLDERS for p in glob.glob(os.path.join(SHARED, "corpus", "open", f, "*")))
    if not captures or not shutil.which("tshark"):
        print(f"ok 1 - fields are those of tshark # SKIP {'tshark' if captures else '../shared'} is not there\n1..1")
        return
    with open(os.path.join(SHARED, "oracle", "cases.tsv"), newline="", encoding="utf-8") as file:
        lines = csv.DictReader([line for line in file if not line.startswith("#")], delimiter="\t", quoting=csv.QUOTE_NONE)
        decode_as = {line["capture"]: line["opts"].split() for line in lines if line["opts"].startswith("-d")}

    def both(capture):
        name = os.path.relpath(capture, os.path.join(SHARED, "corpus"))
        return ours_of(capture), theirs_of(capture, decode_as.get(name, []))
    wrong, compared = [], 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for capture, (ours, theirs) in zip(captures, pool.map(both, captures)):
            differs, n = differences(os.path.relpath(capture, os.path.join(SHARED, "corpus", "open")), ours, theirs)
            wrong += differs
            compared += n
    protocols = sorted({row.protocol for row in ROWS})
    agreed = set(ARGUED) - {(name, protocol) for name, protocol, _ in wrong}
    wrong = [w for w in wrong if w[:2] not in ARGUED] + [(*key, "argued about, but it agrees") for key in sorted(agreed)]
    for n, protocol in enumerate(protocols, 1):
        differs = [f"{name}: {text}" for name, of, text in wrong if of == protocol]
        print("".join(f"# {text}\n" for text in differs[:20]) + f"{'not ok' if differs else 'ok'} {n} - fields of {protocol}")
    print(f"# {compared} fields of {len(captures)} captures")
    print(f"{'ok' if compared > COMPARED_MIN else 'not ok'} {len(protocols) + 1} - so many are compared\n1..{len(protocols) + 1}")
    sys.exit(bool(wrong) or compared <= COMPARED_MIN)


if __name__ == "__main__":
    main()
