"""ldap.py - slapd with ldap3: every operation, errors, many in flight, StartTLS."""
import os

from operations import Has
from servers.group import Group, connect, find_program, port_of, read_exactly

PORT = 389
BASE, ROOT = "dc=example,dc=com", "cn=admin,dc=example,dc=com"
SUCCESS, NO_SUCH_OBJECT, EXISTS, INVALID = 0, 32, 68, 49


def operation(request, response, code=SUCCESS, **more):
    return {"protocol.abbr": "LDAP", "protocol.version": "3", "request.type": request, "response.type": response,
            "response.resultCode": code, **{"request." + k if "." not in k else k: v for k, v in more.items()}}


def alone(request, **more):
    return {"protocol.abbr": "LDAP", "request.type": request, "response": None, **{f"request.{k}": v for k, v in more.items()}}


def open_connection(server, **options):
    import ldap3
    connection = ldap3.Connection(ldap3.Server(server, PORT, get_info=ldap3.NONE), **options)
    connection.open()
    return connection, port_of(connection.socket)


def every_operation(server):
    import ldap3
    connection, port = open_connection(server, user=ROOT, password="secret", check_names=False)
    connection.bind()
    said = [operation("bindRequest", "bindResponse", version=3, name=ROOT, authentication="simple")]
    connection.add(BASE, ["dcObject", "organization"], {"dc": "example", "o": "Example"})
    said.append(operation("addRequest", "addResponse", entry=BASE))
    for n in range(80):
        dn = f"uid=user{n},{BASE}"
        connection.add(dn, ["inetOrgPerson"], {"cn": f"User {n}", "sn": "größe" if n == 7 else "Name", "mail": f"user{n}@example.com",
                                               "jpegPhoto": bytes(range(256)) * (n % 8)} if n % 8 else {"cn": f"User {n}", "sn": "Name"})
        said.append(operation("addRequest", "addResponse", entry=dn))
    for n in range(80):
        connection.search(BASE, f"(&(objectClass=inetOrgPerson)(|(uid=user{n})(mail=user{n + 1}@*)))", attributes=["cn", "mail"])
        assert len(connection.entries) == len({n, *([n + 1] if (n + 1) % 8 and n + 1 < 80 else [])})
        said.append(operation("searchRequest", "searchResDone", baseObject=BASE, scope="wholeSubtree", attributes=["cn", "mail"],
                              filter=f"(&(objectClass=inetOrgPerson)(|(uid=user{n})(mail=user{n + 1}@*)))",
                              **{"response.entries": len(connection.entries)}))
    for scope, name, count in ((ldap3.BASE, "baseObject", 1), (ldap3.LEVEL, "singleLevel", 80), (ldap3.SUBTREE, "wholeSubtree", 81)):
        connection.search(BASE, "(objectClass=*)", scope)
        said.append(operation("searchRequest", "searchResDone", baseObject=BASE, scope=name, filter="(objectClass=*)", **{"response.entries": count}))
    for text, count in (("(!(uid=user1))", 80), ("(mail=user1*@example.com)", None), ("(cn>=User 5)", None), ("(uid=\\2a)", 0), ("(cn~=User 1)", None)):
        connection.search(BASE, text)
        said.append(operation("searchRequest", "searchResDone", filter=text, **({} if count is None else {"response.entries": count})))
    connection.search(f"ou=nowhere,{BASE}", "(cn=x)")
    said.append(operation("searchRequest", "searchResDone", NO_SUCH_OBJECT, baseObject=f"ou=nowhere,{BASE}",
                          **{"response.resultCodeName": "noSuchObject", "response.matchedDN": BASE}))
    connection.search(BASE, "(uid=user*)", size_limit=5)
    said.append(operation("searchRequest", "searchResDone", 4, filter="(uid=user*)", **{"response.resultCodeName": "sizeLimitExceeded", "response.entries": 5}))
    for n in range(20):
        dn = f"uid=user{n},{BASE}"
        connection.modify(dn, {"description": [(ldap3.MODIFY_REPLACE, [f"changed {n}"])]})
        connection.compare(dn, "description", f"changed {n}")
        connection.modify_dn(dn, f"uid=renamed{n}")
        connection.delete(f"uid=renamed{n},{BASE}")
        said += [operation("modifyRequest", "modifyResponse", entry=dn), operation("compareRequest", "compareResponse", 6, entry=dn, **{"response.resultCodeName": "compareTrue"}),
                 operation("modDNRequest", "modDNResponse", entry=dn), operation("delRequest", "delResponse", entry=f"uid=renamed{n},{BASE}")]
    connection.add(f"uid=user30,{BASE}", ["inetOrgPerson"], {"cn": "again", "sn": "again"})
    said.append(operation("addRequest", "addResponse", EXISTS, entry=f"uid=user30,{BASE}", **{"response.resultCodeName": "entryAlreadyExists"}))
    connection.delete(f"uid=nobody,{BASE}")
    said.append(operation("delRequest", "delResponse", NO_SUCH_OBJECT, entry=f"uid=nobody,{BASE}"))
    connection.extend.standard.who_am_i()
    said.append(operation("extendedReq", "extendedResp"))
    connection.unbind()
    said.append(alone("unbindRequest"))
    return [{**one, "src.port": port} for one in said]


def paged(server):
    """a search in pages, anonymous"""
    connection, port = open_connection(server)
    connection.bind()
    pages = list(connection.extend.standard.paged_search(BASE, "(uid=*)", attributes=["uid"], paged_size=20, generator=True))
    assert len(pages) == 60
    connection.unbind()
    said = [operation("bindRequest", "bindResponse", name="")] + \
           [operation("searchRequest", "searchResDone", filter="(uid=*)", **{"response.entries": 20})] * 3 + [alone("unbindRequest")]
    return [{**one, "src.port": port} for one in said]


def refused(server):
    said = []
    for user, password in ((ROOT, "wrong"), (f"uid=nobody,{BASE}", "x")):
        connection, port = open_connection(server, user=user, password=password)
        connection.bind()
        connection.unbind()
        said += [{**operation("bindRequest", "bindResponse", INVALID, name=user, **{"response.resultCodeName": "invalidCredentials"}), "src.port": port},
                 {**alone("unbindRequest"), "src.port": port}]
    return said


def ber(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")) + body


def in_flight(server):
    """200 searches in one write, then one that is given up; answers are told apart by their number"""
    sock = connect(server, PORT)
    data = b""
    for n in range(1, 201):
        uid = f"user{n % 100}".encode()
        search = ber(0x63, ber(4, BASE.encode()), ber(10, b"\2"), ber(10, b"\0"), ber(2, b"\0"), ber(2, b"\0"), ber(1, b"\0"),
                     ber(0xa3, ber(4, b"uid"), ber(4, uid)), ber(0x30))
        data += ber(0x30, ber(2, n.to_bytes(2, "big")), search)
    sock.sendall(data + ber(0x30, ber(2, b"\1\0"), ber(0x50, b"\3\xe7")))  # an abandon that comes too late
    answered = 0
    while answered < 200:
        head = read_exactly(sock, 2)
        assert head[1] <= 0x84
        size = int.from_bytes(read_exactly(sock, head[1] & 0x7f), "big") if head[1] & 0x80 else head[1]
        message = read_exactly(sock, size)
        answered += message[2 + message[1]] == 0x65
    sock.sendall(ber(0x30, ber(2, b"\1\1"), ber(0x42)))  # unbind
    said = [operation("searchRequest", "searchResDone", messageId=n, filter=f"(uid=user{n % 100})",
                      **{"response.entries": 1 if 20 <= n % 100 < 80 else 0}) for n in range(1, 201)]
    sock.close()
    return said + [alone("abandonRequest"), alone("unbindRequest")]


def start_tls(server):
    """what follows StartTLS is a handshake"""
    import ssl
    sock = connect(server, PORT)
    port = port_of(sock)
    sock.sendall(ber(0x30, ber(2, b"\1"), ber(0x77, ber(0x80, b"1.3.6.1.4.1.1466.20037"))))
    head = read_exactly(sock, 2)
    assert b"\x0a\1\0" in read_exactly(sock, head[1])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    secure = context.wrap_socket(sock, server_hostname="ldap.example.com")
    secure.close()
    return [{**operation("extendedReq", "extendedResp"), "src.port": port},
            {"src.port": port, "protocol.abbr": "TLS", "tls": True, "request.sni": "ldap.example.com", "response.version": "TLS 1.2",
             "response.certificate.subject": Has("lab.example.com")}]


def clients(server, folder):
    return every_operation(server) + paged(server) + refused(server) + in_flight(server) + start_tls(server)


def start(lab):
    folder = lab.path("ldap")
    os.makedirs(folder + "/data")
    lab.certificate()
    schemas = "\n".join(f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson"))
    conf = lab.write("ldap/slapd.conf", f"""
{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb
conn_max_pending 1000
pidfile {folder}/pid
TLSCertificateFile {lab.path("cert.pem")}
TLSCertificateKeyFile {lab.path("key.pem")}
database mdb
suffix "{BASE}"
rootdn "{ROOT}"
rootpw secret
directory {folder}/data
dbnosync
""")
    lab.start("server", find_program("slapd"), "-f", conf, "-h", f"ldap://0.0.0.0:{PORT}", "-d", "0")


GROUPS = [Group("ldap", [PORT], start, clients, ["slapd", "py:ldap3"])]
