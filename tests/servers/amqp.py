"""amqp.py - RabbitMQ with pika: publish, get, consume, confirms, transactions, errors of channel and connection."""
import base64
import os

from servers.group import Group, find_program

PORT = 5672


def call(method, answer, channel=None, **more):
    said = {"protocol.abbr": "AMQP", "protocol.version": "0-9-1", "request.method": method, "response.method": answer}
    if channel is not None:
        said["request.channel"] = channel
    return {**said, **{("request." if "." not in k else "") + k: v for k, v in more.items()}}


def alone(method, channel=None, **more):
    return call(method, "empty", channel, **more)


def body_of(data):
    return base64.b64encode(data).decode()


def opening(channels=1):
    return [call("connection start", "connection start-ok"), call("connection tune", "connection tune-ok"),
            call("connection open", "connection open-ok", virtualHost="/")] + \
           [call("channel open", "channel open-ok", n + 1) for n in range(channels)]


def open_connection(server):
    import pika
    connection = pika.BlockingConnection(pika.ConnectionParameters(server, PORT, heartbeat=0))
    return connection, str(connection._impl._transport._sock.getsockname()[1])


def publish_and_get(server):
    """a message at a time, there and back"""
    import pika
    connection, port = open_connection(server)
    channel, said = connection.channel(), opening()
    channel.exchange_declare("logs", "topic", durable=True, arguments={"alternate-exchange": "spare"})
    said.append(call("exchange declare", "exchange declare-ok", 1, exchange="logs", type="topic", durable=True, passive=False,
                     arguments={"alternate-exchange": "spare"}))
    channel.queue_declare("mail", exclusive=True, arguments={"x-max-length": 1000, "x-message-ttl": 60000})
    said.append(call("queue declare", "queue declare-ok", 1, queue="mail", exclusive=True, durable=False,
                     arguments={"x-max-length": 1000, "x-message-ttl": 60000}, **{"response.queue": "mail", "response.messageCount": 0}))
    channel.queue_bind("mail", "logs", "mail.#")
    said.append(call("queue bind", "queue bind-ok", 1, queue="mail", exchange="logs", routingKey="mail.#"))
    for n in range(80):
        data = bytes(range(256)) * (n % 40) + f"message {n}".encode()
        properties = pika.BasicProperties("text/plain", "utf-8", {"n": n, "word": f"w{n}"}, 2, 5, f"c{n}", "answers", None, f"m{n}", None, "kind", "guest", "app")
        channel.basic_publish("logs", f"mail.{n}", data, properties)
        said.append(alone("basic publish", 1, exchange="logs", routingKey=f"mail.{n}", mandatory=False, body=body_of(data),
                          **{"request.properties.contentType": "text/plain", "request.properties.correlationId": f"c{n}",
                             "request.properties.messageId": f"m{n}", "request.properties.deliveryMode": 2,
                             "request.properties.priority": 5, "request.properties.headers": {"n": n, "word": f"w{n}"}}))
    for n in range(80):
        method, _, got = channel.basic_get("mail", auto_ack=n % 2 == 0)
        assert got.endswith(f"message {n}".encode())
        said.append(call("basic get", "basic get-ok", 1, queue="mail", noAck=n % 2 == 0))
        if n % 2:
            channel.basic_ack(method.delivery_tag)
            said.append(alone("basic ack", 1, deliveryTag=n + 1))
    channel.basic_get("mail")
    said.append(call("basic get", "basic get-empty", 1, queue="mail"))
    channel.queue_purge("mail")
    said.append(call("queue purge", "queue purge-ok", 1, queue="mail"))
    channel.queue_unbind("mail", "logs", "mail.#")
    said.append(call("queue unbind", "queue unbind-ok", 1, queue="mail"))
    channel.queue_delete("mail")
    said.append(call("queue delete", "queue delete-ok", 1, queue="mail"))
    channel.exchange_delete("logs")
    said.append(call("exchange delete", "exchange delete-ok", 1, exchange="logs"))
    connection.close()
    said += [call("channel close", "channel close-ok", 1, replyCode=200), call("connection close", "connection close-ok", replyCode=200)]
    return [{**one, "src.port": port} for one in said]


def consume(server):
    """two channels of one connection: one publishes, the other is delivered to"""
    connection, _ = open_connection(server)
    speaker, listener = connection.channel(), connection.channel()
    said = opening(2)
    listener.queue_declare("work")
    said.append(call("queue declare", "queue declare-ok", 2, queue="work"))
    listener.basic_qos(prefetch_count=10)
    said.append(call("basic qos", "basic qos-ok", 2))
    for n in range(60):
        speaker.basic_publish("", "work", b"w" * (n * 50))
        said.append(alone("basic publish", 1, exchange="", routingKey="work", body=body_of(b"w" * (n * 50))))
    said.append(call("basic consume", "basic consume-ok", 2, queue="work", consumerTag="me", **{"response.consumerTag": "me"}))
    seen = 0
    for method, _, got in take(listener, 60):
        assert len(got) == seen * 50
        listener.basic_ack(method.delivery_tag)
        said.append(alone("basic deliver", 2, consumerTag="me", deliveryTag=seen + 1, routingKey="work", redelivered=False,
                          body=body_of(b"w" * (seen * 50))))
        said.append(alone("basic ack", 2, deliveryTag=seen + 1))
        seen += 1
    listener.basic_cancel("me")
    said.append(call("basic cancel", "basic cancel-ok", 2, consumerTag="me", **{"response.consumerTag": "me"}))
    connection.close()
    said += [call("channel close", "channel close-ok", n) for n in (1, 2)] + [call("connection close", "connection close-ok")]
    return said


def take(channel, count):
    """-> deliveries, acknowledged by the caller as they come"""
    got = []
    channel.basic_consume("work", lambda c, method, properties, body: got.append((method, properties, body)), consumer_tag="me")
    while count:
        while not got:
            channel.connection.process_data_events(1)
        yield got.pop(0)
        count -= 1


def confirms_and_transactions(server):
    import pika
    connection, _ = open_connection(server)
    channel, said = connection.channel(), opening()
    channel.confirm_delivery()
    said.append(call("confirm select", "confirm select-ok", 1))
    channel.queue_declare("sure")
    said.append(call("queue declare", "queue declare-ok", 1, queue="sure"))
    for n in range(30):
        channel.basic_publish("", "sure", f"sure {n}".encode(), mandatory=True)
        said += [alone("basic publish", 1, routingKey="sure", mandatory=True, body=body_of(f"sure {n}".encode())),
                 alone("basic ack", 1, deliveryTag=n + 1)]
    try:
        channel.basic_publish("", "nobody", b"lost", mandatory=True)
    except pika.exceptions.UnroutableError:
        pass
    said += [alone("basic publish", 1, routingKey="nobody"), alone("basic return", 1, routingKey="nobody", replyCode=312, body=body_of(b"lost")),
             alone("basic ack", 1, deliveryTag=31)]
    other = connection.channel()
    said.append(call("channel open", "channel open-ok", 2))
    other.tx_select()
    other.basic_publish("", "sure", b"in a transaction")
    other.tx_commit()
    other.tx_rollback()
    said += [call("tx select", "tx select-ok", 2), alone("basic publish", 2, body=body_of(b"in a transaction")),
             call("tx commit", "tx commit-ok", 2), call("tx rollback", "tx rollback-ok", 2)]
    connection.close()
    said += [call("channel close", "channel close-ok", n) for n in (1, 2)] + [call("connection close", "connection close-ok")]
    return said


def errors(server):
    """the server closes a channel, and refuses a login (pika hangs up at once)"""
    import pika
    connection, _ = open_connection(server)
    said = opening()
    channel = connection.channel()
    try:
        channel.queue_declare("not there", passive=True)
    except pika.exceptions.ChannelClosed:
        pass
    said += [{"request.method": "queue declare", "request.queue": "not there", "request.passive": True, "response": None,
              "error.type": "pair-not-found"},
             call("channel close", "channel close-ok", 1, replyCode=404)]
    # The next channel has the number of the one that was closed; its answers are its own.
    connection.channel(1).queue_declare("there")
    said += [call("channel open", "channel open-ok", 1), call("queue declare", "queue declare-ok", 1, queue="there")]
    connection.close()
    said += [call("channel close", "channel close-ok", 1), call("connection close", "connection close-ok")]
    try:
        pika.BlockingConnection(pika.ConnectionParameters(server, PORT, credentials=pika.PlainCredentials("ann", "wrong")))
    except pika.exceptions.AMQPError:
        pass
    said += [call("connection start", "connection start-ok"),
             {"request.method": "connection close", "request.replyCode": 403, "response": None, "error.type": "connection"}]
    return said


def clients(server, folder):
    return publish_and_get(server) + consume(server) + confirms_and_transactions(server) + errors(server)


def start(lab):
    folder = lab.path("amqp")
    os.makedirs(folder)
    lab.write("amqp/rabbitmq.conf", f"loopback_users = none\nlisteners.tcp.default = {PORT}\nlog.console = true\nlog.file = false\n")
    lab.write("amqp/env.conf", "")
    lab.write("amqp/plugins", "[].\n")
    # A mapper of its own in front, or Erlang starts one that stays.
    lab.start("server", "epmd")
    settings = {"HOME": folder, "RABBITMQ_NODENAME": "tapedeck@localhost", "RABBITMQ_MNESIA_BASE": folder, "RABBITMQ_LOG_BASE": folder,
                "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf", "RABBITMQ_CONF_ENV_FILE": f"{folder}/env.conf",
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins", "RABBITMQ_PID_FILE": f"{folder}/pid"}
    lab.start("server", find_program("/usr/lib/rabbitmq/bin/rabbitmq-server"), env={**os.environ, **settings})


GROUPS = [Group("amqp", [PORT], start, clients, ["/usr/lib/rabbitmq/bin/rabbitmq-server", "epmd", "py:pika"])]
