"""rpc.py - gRPC and WebSocket: Debian's Python servers and clients of both."""
import asyncio
import base64

from operations import Has, More
from servers.group import Group

GRPC, WEBSOCKET = 50051, 8088
SERVICE = "shop.v1.Catalog"


# ---- gRPC: methods take and give bytes, so no generated code is needed ----
def grpc_server():
    import concurrent.futures
    import grpc
    import threading

    def get_item(request, context):
        word = request.decode()
        if word.startswith("missing"):
            context.abort(grpc.StatusCode.NOT_FOUND, f"no {word}: größe")
        if word.startswith("broken"):
            raise ValueError("broken")
        return b"item " + request * 3

    def list_items(request, context):
        for n in range(int(request)):
            yield b"x" * n

    def count(requests, context):
        return str(sum(1 for _ in requests)).encode()
    handlers = {"GetItem": grpc.unary_unary_rpc_method_handler(get_item), "ListItems": grpc.unary_stream_rpc_method_handler(list_items),
                "Count": grpc.stream_unary_rpc_method_handler(count)}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"0.0.0.0:{GRPC}")
    server.start()
    threading.Event().wait()


def grpc_call(method, status, message="", **more):
    return {"protocol.name": "http", "protocol.abbr": "gRPC", "protocol.version": "2.0", "request.method": "POST",
            "request.path": f"/{SERVICE}/{method}", "request.grpcService": SERVICE, "request.grpcMethod": method, "response.status": 200,
            "response.grpcStatus": status, "response.grpcMessage": message, **more}


def grpc_clients(server, folder):
    import grpc
    said = []
    with grpc.insecure_channel(f"{server}:{GRPC}", [("grpc.enable_http_proxy", 0)]) as channel:
        get, listing = channel.unary_unary(f"/{SERVICE}/GetItem"), channel.unary_stream(f"/{SERVICE}/ListItems")
        count, nothing = channel.stream_unary(f"/{SERVICE}/Count"), channel.unary_unary(f"/{SERVICE}/Nothing")
        grpc.channel_ready_future(channel).result(30)

        def fails(call, *arguments, **options):
            try:
                call(*arguments, **options)
            except grpc.RpcError:
                pass
        for n in range(80):
            get(f"apple {n}".encode() * (n * 3), metadata=[("x-number", str(n))], timeout=20)
            said.append(grpc_call("GetItem", 0, **{"request.headers.X-Number": str(n)}))
        waiting = [(n, get.future(f"pear {n}".encode(), metadata=[("x-number", f"at once {n}")], timeout=20)) for n in range(60)]
        for n, one in waiting:
            assert one.result() == b"item " + f"pear {n}".encode() * 3
            said.append(grpc_call("GetItem", 0, **{"request.headers.X-Number": f"at once {n}"}))
        for n in range(30):
            fails(get, f"missing {n}".encode())
            said.append(grpc_call("GetItem", 5, Has(f"no missing {n}: ")))
        for n in range(5):
            fails(get, b"broken")
            said.append(grpc_call("GetItem", 2, Has("broken")))
            fails(nothing, b"")
            said.append(grpc_call("Nothing", 12, Has("not found")))
        for n in range(20):
            assert len(list(listing(str(n * 5).encode()))) == n * 5
            said.append(grpc_call("ListItems", 0))
            assert count(iter([b"part"] * n)) == str(n).encode()
            said.append(grpc_call("Count", 0))
        get(b"w" * 200000)
        said.append(grpc_call("GetItem", 0, **{"request.bodySize": 200005}))
    return said


# ---- WebSocket ----
def websocket_server():
    import websockets

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async def serve():
        async with websockets.serve(echo, "0.0.0.0", WEBSOCKET, max_size=None):
            await asyncio.Future()
    asyncio.run(serve())


def websocket_clients(server, folder):
    return asyncio.run(websocket_conversations(server))


def message(side, opcode, payload, port, compressed=False, **more):
    size = len(payload.encode() if isinstance(payload, str) else payload)
    shown = base64.b64encode(payload).decode() if isinstance(payload, bytes) else payload
    said = {"src.port": port, "protocol.abbr": "WS", "protocol.version": "13", f"{side}.opcode": opcode, f"{side}.masked": side == "request",
            f"{side}.compressed": compressed, ("response" if side == "request" else "request"): None, **more}
    return said if compressed else {**said, f"{side}.payload": shown, f"{side}.payloadLength": size}


async def websocket_conversations(server):
    import websockets
    said, address = [], f"ws://{server}:{WEBSOCKET}/chat"

    def opening(port):
        return {"src.port": port, "protocol.abbr": "HTTP", "request.method": "GET", "request.path": "/chat", "response.status": 101}

    # plain: texts, binaries, of every size; fragments; pings
    async with websockets.connect(address, compression=None, max_size=None) as socket:
        port = str(socket.local_address[1])
        said.append(opening(port))
        for n in range(120):
            payload = [f"hello {n}", bytes(range(256)) * (n % 9), "größe " * n, b"\0"][n % 4]
            await socket.send(payload)
            assert await socket.recv() == payload
            kind = "binary" if isinstance(payload, bytes) else "text"
            said += [message("request", kind, payload, port), message("response", kind, payload, port)]
        await socket.send(["one ", "two ", "three"])
        await socket.recv()
        said += [message("request", "text", "one two three", port, **{"request.frames": More(2)}), message("response", "text", "one two three", port)]
        await socket.send("l" * 30000)
        await socket.recv()
        said += [message("request", "text", "l" * 30000, port), message("response", "text", "l" * 30000, port)]
        await (await socket.ping(b"beat"))
        said += [message("request", "ping", b"beat", port), message("response", "pong", b"beat", port)]
        await socket.close(1000, "bye")
    said += [{"src.port": port, f"{side}.opcode": "close", f"{side}.closeCode": 1000, f"{side}.closeReason": "bye"} for side in ("request", "response")]
    # permessage-deflate, which both have by default
    async with websockets.connect(address) as socket:
        port = str(socket.local_address[1])
        said.append(opening(port))
        for n in range(30):
            await socket.send(f"packed {n} " * 10)
            await socket.recv()
            said += [message(side, "text", "", port, True) for side in ("request", "response")]
    return said + [{"src.port": port, f"{side}.opcode": "close", f"{side}.closeCode": 1000} for side in ("request", "response")]


GROUPS = [Group("grpc", [GRPC], lambda lab: lab.call("server", grpc_server), grpc_clients, ["py:grpc"]),
          Group("websocket", [WEBSOCKET], lambda lab: lab.call("server", websocket_server), websocket_clients, ["py:websockets"])]
