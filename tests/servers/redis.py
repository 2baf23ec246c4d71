"""redis.py - redis-server with Debian's Python client, raw connections (inline, RESP3, pub/sub) and redis-cli."""
import subprocess

from operations import Matches
from servers.group import Group, connect, port_of, read_exactly

PORT = 6379
# What response.type, .value and .keyword are for what the client got.
OK = ("Simple String", "", "OK")


def command(port, words, reply, **more):
    """the operation of a command and its reply: (type, value, keyword)"""
    args = [text(w) for w in words[1:]]
    values = args[1:]
    return {"src.port": port, "protocol.abbr": "REDIS", "protocol.version": "2", "request.type": "Array",
            "request.command": words[0].upper(), "request.key": args[0] if args else "",
            "request.value": values[0] if len(values) == 1 else "[" + ", ".join(values) + "]" if values else "",
            "request.args": args, "response.type": reply[0], "response.value": reply[1], "response.keyword": reply[2], **more}


def text(word):
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)


def integer(number):
    return ("Integer", str(number), "")


def bulk(value):
    return ("Bulk String", text(value), "")


def with_client(server):
    """one connection, one command after another"""
    import redis
    client = redis.Redis(server, PORT, single_connection_client=True)
    port, said = port_of(client.connection._sock), []

    def ask(words, reply):
        try:
            client.execute_command(*words)
        except redis.ResponseError:
            assert reply[0] == "Error", words
        said.append(command(port, words, reply))

    for n in range(60):
        ask(["SET", f"one:{n}", f"value {n}"], OK)
        ask(["GET", f"one:{n}"], bulk(f"value {n}"))
        ask(["INCRBY", f"count:{n % 7}", str(n)], integer(sum(k for k in range(n + 1) if k % 7 == n % 7)))
    for n, value in enumerate(["", " ", "\r\n", "größe 漢字", b"\x00\x01\xfe\xff", "x" * 20000, "$5\r\n*1\r\n"]):
        ask(["SET", f"odd:{n}", value], OK)
        ask(["STRLEN", f"odd:{n}"], integer(len(value.encode() if isinstance(value, str) else value)))
        ask(["GET", f"odd:{n}"], bulk(value))
    ask(["GET", "not there"], ("Null", "", ""))
    ask(["INCR", "one:1"], ("Error", "ERR value is not an integer or out of range", ""))
    ask(["LPUSH", "one:1", "x"], ("Error", "WRONGTYPE Operation against a key holding the wrong kind of value", ""))
    ask(["NOSUCH", "a"], ("Error", Matches("ERR unknown command 'NOSUCH'.*"), ""))
    ask(["RPUSH", "list", "a", "b", "c"], integer(3))
    ask(["LRANGE", "list", "0", "-1"], ("Array", "[a, b, c]", ""))
    ask(["HSET", "hash", "f", "1", "g", "2"], integer(2))
    client.close()
    return said


def with_pipelines(server):
    """hundreds of commands in one write; transactions"""
    import redis
    client = redis.Redis(server, PORT, single_connection_client=True)
    pipe = client.pipeline(transaction=False)
    pipe.connection = client.connection  # the one whose port is known
    port, said = port_of(client.connection._sock), []
    for n in range(200):
        pipe.set(f"pipe:{n}", "v" * (n * 7 % 3000))
        pipe.get(f"pipe:{n}")
        said += [command(port, ["SET", f"pipe:{n}", "v" * (n * 7 % 3000)], OK), command(port, ["GET", f"pipe:{n}"], bulk("v" * (n * 7 % 3000)))]
    pipe.execute()
    pipe = client.pipeline(transaction=True)
    pipe.connection = client.connection
    for n in range(10):
        pipe.execute_command("INCR", f"tx:{n}")
    pipe.execute()
    said.append(command(port, ["MULTI"], OK))
    said += [command(port, ["INCR", f"tx:{n}"], ("Simple String", "", "QUEUED")) for n in range(10)]
    said.append(command(port, ["EXEC"], ("Array", "[" + ", ".join(["1"] * 10) + "]", "")))
    client.close()
    return said


def with_subscription(server):
    """pub/sub: what is pushed has no request"""
    listener, speaker = connect(server, PORT), connect(server, PORT)
    port, other = port_of(listener), port_of(speaker)
    listener.sendall(b"*3\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n$4\r\nmore\r\n")
    answers = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$4\r\nmore\r\n:2\r\n"
    assert read_exactly(listener, len(answers)) == answers
    said = [{"src.port": port, "request.command": "SUBSCRIBE", "request.args": ["news", "more"], "response.type": "Array"},
            {"src.port": port, "request": None, "response.type": "Array", "response.command": "SUBSCRIBE", "response.key": "more", "response.value": "2"}]
    for n in range(40):
        body = f"story {n} " + "." * n
        speaker.sendall(f"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n${len(body)}\r\n{body}\r\n".encode())
        assert read_exactly(speaker, 4) == b":1\r\n"
        pushed = f"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${len(body)}\r\n{body}\r\n".encode()
        assert read_exactly(listener, len(pushed)) == pushed
        said.append(command(other, ["PUBLISH", "news", body], integer(1)))
        said.append({"src.port": port, "request": None, "response.type": "Array", "response.command": "MESSAGE",
                     "response.key": "news", "response.value": body})
    listener.close(), speaker.close()
    return said


def inline_and_resp3(server):
    """commands as a person types them; then RESP3, its types, and a push"""
    sock = connect(server, PORT)
    port, said = port_of(sock), []
    for n in range(30):
        sock.sendall(f"set inline:{n} {n}\r\n".encode())
        assert read_exactly(sock, 5) == b"+OK\r\n"
        said.append({**command(port, ["SET", f"inline:{n}", str(n)], OK), "request.type": "Inline"})
    sock.sendall(b"PING\n")
    assert read_exactly(sock, 7) == b"+PONG\r\n"
    said.append({**command(port, ["PING"], ("Simple String", "", "PONG")), "request.type": "Inline"})
    sock.close()
    sock = connect(server, PORT)
    port = port_of(sock)

    def ask(words, answer, reply):
        sock.sendall(b"".join([b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words)]))
        got = read_exactly(sock, len(answer)) if isinstance(answer, bytes) else sock.recv(65536)
        assert not isinstance(answer, bytes) or got == answer, got
        said.append(command(port, words, reply, **{"protocol.version": "3"}))

    ask(["HELLO", "3"], None, ("Map", Matches(".*redis.*"), ""))
    ask(["HSET", "h3", "f", "1"], b":1\r\n", integer(1))
    ask(["HGETALL", "h3"], b"%1\r\n$1\r\nf\r\n$1\r\n1\r\n", ("Map", Matches(".*f.*1.*"), ""))
    ask(["SADD", "s3", "m"], b":1\r\n", integer(1))
    ask(["SMEMBERS", "s3"], b"~1\r\n$1\r\nm\r\n", ("Set", "m", ""))
    ask(["GET", "no3"], b"_\r\n", ("Null", "", ""))
    ask(["ZADD", "z3", "1.5", "m"], b":1\r\n", integer(1))
    ask(["ZSCORE", "z3", "m"], b",1.5\r\n", ("Double", "1.5", ""))
    ask(["DEBUG", "PROTOCOL", "true"], b"#t\r\n", ("Boolean", Matches("t|true"), ""))
    ask(["CLIENT", "TRACKING", "on"], b"+OK\r\n", OK)
    sock.close()
    return said


def with_cli(server):
    """redis-cli --pipe: a mass insert, ended by an ECHO of its own"""
    lines = "".join(f"SET cli:{n} {n}\r\n" for n in range(100))
    subprocess.run(["redis-cli", "-h", server, "--pipe"], input=lines.encode(), check=True, stdout=subprocess.DEVNULL, timeout=30)
    return [{"request.command": "SET", "request.key": f"cli:{n}", "request.value": str(n), "response.keyword": "OK"} for n in range(100)] + \
           [{"request.command": "ECHO", "response.type": "Bulk String"}]


def clients(server, folder):
    return with_client(server) + with_pipelines(server) + with_subscription(server) + inline_and_resp3(server) + with_cli(server)


def start(lab):
    lab.start("server", "redis-server", "--bind", "0.0.0.0", "--port", str(PORT), "--protected-mode", "no", "--save", "",
              "--dir", lab.folder, "--enable-debug-command", "yes")


GROUPS = [Group("redis", [PORT], start, clients, ["redis-server", "redis-cli", "py:redis"])]
