"""postgresql.py - PostgreSQL with psql (simple protocol), pg8000 (extended protocol) and pgbench (prepared)."""
import os
import subprocess

from operations import Has, Matches
from servers.group import Group, connect, find_program, port_of, read_exactly

PORT = 5432


def operation(kind, query="", status="ok", port=None, **more):
    """an operation of user ann on database shop"""
    return {"protocol.abbr": "POSTGRESQL", "protocol.version": "3.0", "request.command": kind, "request.query": query,
            "request.user": "ann", "request.database": "shop", "response.status": status,
            **({"src.port": port} if port else {}), **{k.replace("__", "."): v for k, v in more.items()}}


def answered(tag, columns=0, rows=0):
    return {"response.tag": tag, "response.columns": columns, "response.rows": rows, "response.errorCode": ""}


def failed(code, severity="ERROR"):
    return {"status": "error", "response.errorCode": code, "response.severity": severity, "response.errorMessage": Matches(".+")}


def goodbye(**more):
    """Terminate: nothing answers it"""
    return {"request.command": "Terminate", "request.user": "ann", "response": None, **more}


def with_psql(server, folder):
    """a script of simple queries on one connection; psql asks for neither TLS nor GSS"""
    script, said = [], []

    def ask(query, **reply):
        script.append(query)
        said.append(operation("Query", query, **{"request.applicationName": "cashdesk", **reply}))

    ask("CREATE TABLE item (id int PRIMARY KEY, name text, price numeric);", **answered("CREATE TABLE"))
    for n in range(100):
        ask(f"INSERT INTO item VALUES ({n}, 'item {n}', {n}.5);", **answered("INSERT 0 1"))
        ask(f"SELECT * FROM item WHERE id <= {n};", **answered(f"SELECT {n + 1}", 3, n + 1))
    ask("INSERT INTO item VALUES (5, 'again', 1);", **failed("23505"))
    ask("SELECT * FROM nowhere;", **failed("42P01"))
    ask("SELEKT 1;", **failed("42601"))
    ask("SELECT 1/0;", **failed("22012"))
    ask("BEGIN;", **answered("BEGIN"))
    ask("UPDATE item SET price = price + 1 WHERE id < 10;", **answered("UPDATE 10"))
    ask("SELECT nonsense;", **failed("42703"))
    ask("SELECT 2;", **failed("25P02"))
    ask("ROLLBACK;", **answered("ROLLBACK"))
    ask("DELETE FROM item WHERE id >= 90;", **answered("DELETE 10"))
    ask("SELECT repeat('große Zeile ', 3000);", **answered("SELECT 1", 1, 1))
    ask("SELECT g, repeat('x', g % 90) FROM generate_series(1, 5000) g;", **answered("SELECT 5000", 2, 5000))
    ask("SELECT '" + "long " * 4000 + "';", **{**answered("SELECT 1", 1, 1), "request.query": Has("long long")})
    ask("DO $$ BEGIN RAISE NOTICE 'heard'; END $$;", **answered("DO"))
    ask("LISTEN news;", **answered("LISTEN"))
    ask("NOTIFY news, 'it rains';", **answered("NOTIFY"))
    ask("CREATE TABLE bulk (a int, b text);", **answered("CREATE TABLE"))
    path = os.path.join(folder, "postgresql.sql")
    with open(path, "w") as file:
        file.write("\n".join(script) + "\n")
        file.write("COPY bulk FROM STDIN;\n" + "".join(f"{n}\tline {n}\n" for n in range(300)) + "\\.\n")
        file.write("COPY bulk TO STDOUT;\n")
    subprocess.run([find_program("psql"), "-X", "-q", "-f", path, f"host={server} port={PORT} user=ann dbname=shop "
                    "application_name=cashdesk sslmode=disable gssencmode=disable"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    return [operation("Startup", **{"request.applicationName": "cashdesk"})] + said + \
           [operation("Query", "COPY bulk FROM STDIN;", **answered("COPY 300")),
            {"request.command": "CopyData", "request.user": "ann", "response": None},
            operation("Query", "COPY bulk TO STDOUT;", **{"response.tag": "COPY 300"}), goodbye()]


def with_pg8000(server):
    """extended protocol: what is asked the first time is parsed, then bound and executed"""
    import pg8000
    connection = pg8000.connect(user="ann", host=server, port=PORT, database="shop")
    connection.autocommit = True
    port, said, parsed = port_of(connection._usock), [operation("Startup", port=None)], set()
    cursor = connection.cursor()

    def ask(query, values=(), fetched=None, **reply):
        try:
            cursor.execute(query, values)
            if fetched is not None:
                assert len(cursor.fetchall()) == fetched
        except pg8000.ProgrammingError:
            assert reply.get("status") == "error", query
        wire = query
        for n in range(query.count("%s")):
            wire = wire.replace("%s", f"${n + 1}", 1)
        if wire not in parsed:
            parsed.add(wire)
            said.append(operation("Parse", wire, **{"response.rows": 0}))
        said.append(operation("Execute", wire, **reply))

    ask("CREATE TABLE ticket (id int PRIMARY KEY, name text, data bytea)", **answered("CREATE TABLE"))
    for n in range(80):
        ask("INSERT INTO ticket VALUES (%s, %s, %s)", (n, f"ticket {n}", bytes(range(n + 1))), **answered("INSERT 0 1"))
        ask("SELECT * FROM ticket WHERE id < %s", (n,), fetched=n, **answered(f"SELECT {n}", 3, n))
    ask("INSERT INTO ticket VALUES (%s, %s, %s)", (1, "again", b""), **failed("23505"))
    for n in range(40):
        ask(f"SELECT {n}, 'number {n}'", fetched=1, **answered("SELECT 1", 2, 1))
    connection.close()
    said.append(goodbye())
    for one in said:
        one["src.port"] = port
    return said


def message(kind, *fields):
    body = b"".join(f.encode() + b"\0" if isinstance(f, str) else f for f in fields)
    return kind.encode() + (len(body) + 4).to_bytes(4, "big") + body


def until_ready(sock, times=1):
    while times:
        kind = read_exactly(sock, 1)
        read_exactly(sock, int.from_bytes(read_exactly(sock, 4), "big") - 4)
        times -= kind == b"Z"


def startup(server, tls=b""):
    sock = connect(server, PORT)
    if tls:
        sock.sendall(tls)
        assert read_exactly(sock, 1) == b"N"
    body = b"\0\3\0\0user\0ann\0database\0shop\0application_name\0raw\0\0"
    sock.sendall((len(body) + 4).to_bytes(4, "big") + body)
    until_ready(sock)
    return sock


def pipelined(server):
    """many statements in one write, with a Sync each, and an error in the middle of a batch"""
    sock = startup(server, b"\0\0\0\10\4\322\26\57")
    port = port_of(sock)
    raw = {"request.applicationName": "raw"}
    said = [operation("SSLRequest", port=port, request__user="", request__database=""), operation("Startup", port=port, **raw)]
    batch = b""
    for n in range(60):
        query = f"select {n} as pipelined"
        batch += message("P", f"s{n}", query, b"\0\0") + message("B", f"p{n}", f"s{n}", b"\0\0\0\0\0\0") + message("D", b"P" + f"p{n}".encode() + b"\0")
        batch += message("E", f"p{n}", b"\0\0\0\0") + message("C", b"S" + f"s{n}".encode() + b"\0") + message("S")
        said.append(operation("Parse", query, port=port, request__statement=f"s{n}", **raw))
        said.append(operation("Execute", query, port=port, request__portal=f"p{n}", **answered("SELECT 1", 1, 1), **raw))
    sock.sendall(batch)
    until_ready(sock, 60)
    good, bad = "select 1", "select * from missing_table"
    sock.sendall(message("P", "", good, b"\0\0") + message("B", "", "", b"\0\0\0\0\0\0") + message("E", "", b"\0\0\0\0") +
                 message("P", "", bad, b"\0\0") + message("B", "", "", b"\0\0\0\0\0\0") + message("E", "", b"\0\0\0\0") + message("S"))
    until_ready(sock)
    said += [operation("Parse", good, port=port), operation("Execute", good, port=port, response__tag="SELECT 1", response__rows=1),
             operation("Parse", bad, port=port, **failed("42P01")), operation("Execute", bad, "error", port=port, response__errorCode="")]
    # A portal read in pieces: each Execute has its own rows.
    series = "select generate_series(1, 25)"
    sock.sendall(message("Q", "begin") + message("P", "", series, b"\0\0") + message("B", "c", "", b"\0\0\0\0\0\0") +
                 b"".join(message("E", "c", b"\0\0\0\12") for _ in range(3)) + message("S") + message("Q", "commit"))
    until_ready(sock, 3)
    said += [operation("Query", "begin", port=port, response__tag="BEGIN"), operation("Parse", series, port=port)]
    said += [operation("Execute", series, port=port, response__rows=rows, request__portal="c") for rows in (10, 10, 5)]
    said += [operation("Query", "commit", port=port, response__tag="COMMIT")]
    sock.sendall(message("Q", "") + message("Q", "select 1; select 2, 3; select 'x' where false"))
    until_ready(sock, 2)
    said += [operation("Query", "", port=port), operation("Query", "select 1; select 2, 3; select 'x' where false", port=port, response__rows=2)]
    sock.sendall(message("X"))
    sock.close()
    return said + [goodbye(**{"src.port": port})]


def refused(server):
    """a database that is not there; a user who may not"""
    said = []
    for user, database, code in (("ann", "nowhere", "3D000"), ("bob", "shop", "28P01")):
        sock = connect(server, PORT)
        body = f"user\0{user}\0database\0{database}\0\0".encode()
        sock.sendall((len(body) + 8).to_bytes(4, "big") + b"\0\3\0\0" + body)
        if user == "bob":
            kind = read_exactly(sock, 1)
            read_exactly(sock, int.from_bytes(read_exactly(sock, 4), "big") - 4)
            assert kind == b"R"
            sock.sendall(message("p", "wrong"))
        while sock.recv(4096):
            pass
        said.append({"src.port": port_of(sock), "request.command": "Startup", "request.user": user, "request.database": database,
                     "response.status": "error", "response.errorCode": code, "response.severity": "FATAL"})
        sock.close()
    return said


def with_pgbench(server, folder):
    """two connections, prepared statements"""
    path = os.path.join(folder, "bench.sql")
    with open(path, "w") as file:
        file.write("\\set n random(1, 80)\nSELECT name FROM ticket WHERE id = :n;\n")
    subprocess.run([find_program("pgbench"), "-n", "-M", "prepared", "-c", "2", "-t", "60", "-f", path,
                    f"host={server} port={PORT} user=ann dbname=shop sslmode=disable gssencmode=disable"],
                   stdout=subprocess.DEVNULL, check=True, timeout=60)
    query = "SELECT name FROM ticket WHERE id = $1;"
    mine = {"request.applicationName": "pgbench"}
    return [operation("Startup", **mine)] * 3 + [operation("Parse", query, **mine)] * 2 + \
        [operation("Execute", query, response__columns=1, **mine)] * 120 + [goodbye(**mine)] * 3


def clients(server, folder):
    return with_psql(server, folder) + with_pg8000(server) + pipelined(server) + refused(server) + with_pgbench(server, folder)


def start(lab):
    folder = lab.path("postgresql")
    os.makedirs(folder)
    subprocess.run(["chown", "postgres", folder], check=True)
    hba = lab.write("pg_hba.conf", "local all all trust\nhost all bob all password\nhost all all all trust\n")
    initdb, postgres, psql = (find_program(p) for p in ("initdb", "postgres", "psql"))
    lab.write("postgresql.sh", f"""
set -e
{initdb} -D {folder}/data -U postgres -N --no-locale -E UTF8 >/dev/null
printf '%s\\n' "CREATE ROLE ann SUPERUSER LOGIN" "CREATE ROLE bob LOGIN PASSWORD 'right'" "CREATE DATABASE shop" |
    {postgres} --single -D {folder}/data postgres >/dev/null
exec {postgres} -D {folder}/data -k {folder} -c listen_addresses='*' -c fsync=off -c hba_file={hba}
""")
    lab.start("server", "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", lab.path("postgresql.sh"))


GROUPS = [Group("postgresql", [PORT], start, clients, ["postgres", "psql", "pgbench", "py:pg8000"])]
