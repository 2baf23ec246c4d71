"""mysql.py - MariaDB with PyMySQL: queries, prepared statements in their binary form, errors, many rows."""
import os
import subprocess

from operations import Has, Matches
from servers.group import Group, find_program, port_of

PORT = 3306
COM_STMT_PREPARE, COM_STMT_EXECUTE, COM_STMT_CLOSE, COM_STMT_RESET = 22, 23, 25, 26


def operation(command, query=None, status="OK", **more):
    said = {"protocol.abbr": "MYSQL", "protocol.version": "10", "request.command": command, "request.user": "ann",
            "request.database": "shop", "response.status": status, **({} if query is None else {"request.query": query})}
    return {**said, **{k.replace("__", "."): v for k, v in more.items()}}


def alone(command, **more):
    """a command without an answer"""
    said = operation(command, **more)
    del said["response.status"]
    return {**said, "response": None}


def done(affected=0, last_id=0, **more):
    return {"response.affectedRows": affected, "response.lastInsertId": last_id, "response.errorCode": 0, **more}


def result_set(columns, rows):
    return {"status": "ResultSet", "response.columns": columns, "response.rows": rows, "response.errorCode": 0}


def failed(code, state):
    return {"status": "ERR", "response.errorCode": code, "response.sqlState": state, "response.errorMessage": Matches(".+")}


def open_connection(server, **options):
    import pymysql
    connection = pymysql.connect(host=server, port=PORT, user="ann", password="secret", database="shop", autocommit=True, **options)
    return connection, port_of(connection._sock)


def asker(connection, said):
    import pymysql
    cursor = connection.cursor()

    def ask(query, **reply):
        try:
            cursor.execute(query)
            while cursor.nextset():
                pass
        except pymysql.Error:
            assert reply.get("status") == "ERR", query
        said.append(operation("COM_QUERY", query, **reply))
    return ask


def with_queries(server):
    connection, port = open_connection(server)
    said = [operation("LOGIN")]
    ask = asker(connection, said)
    ask("CREATE TABLE item (id int AUTO_INCREMENT PRIMARY KEY, name varchar(100) UNIQUE, data blob)", **done())
    for n in range(100):
        ask(f"INSERT INTO item (name) VALUES ('item {n}')", **done(1, n + 1))
        ask(f"SELECT id, name FROM item WHERE id <= {n + 1}", **result_set(2, n + 1))
    ask("UPDATE item SET data = 'x' WHERE id <= 50", **done(50))
    ask("INSERT INTO item (name) VALUES ('item 3')", **failed(1062, "23000"))
    ask("SELECT * FROM nowhere", **failed(1146, "42S02"))
    ask("SELEKT 1", **failed(1064, "42000"))
    ask("SELECT * FROM item WHERE id > 1000", **result_set(3, 0))
    ask("SELECT 'größe', '" + "long " * 8000 + "'", **{**result_set(2, 1), "request.query": Has("long long")})
    ask("SELECT REPEAT('wide', 100000)", **result_set(1, 1))
    ask("SELECT seq, REPEAT('r', seq % 90) FROM seq_1_to_5000", **result_set(2, 5000))
    ask("SELECT " + ", ".join(f"{n} AS c{n}" for n in range(60)), **result_set(60, 1))
    ask("SELECT 1/0", **{**result_set(1, 1), "response.warnings": 1})
    ask("SELECT NULL, ''", **result_set(2, 1))
    ask("START TRANSACTION", **done())
    ask("DELETE FROM item WHERE id > 90", **done(10))
    ask("ROLLBACK", **done())
    ask("SELECT COUNT(*) FROM item", **result_set(1, 1))
    connection.ping(reconnect=False)
    said.append(operation("COM_PING"))
    connection.select_db("other")
    said.append(operation("COM_INIT_DB", request__database="other"))
    ask("SELECT DATABASE()", **result_set(1, 1), request__database="other")
    connection.close()
    said.append(alone("COM_QUIT", request__database="other"))
    return [{**one, "src.port": port} for one in said]


def with_many_results(server):
    """several statements in one query; a procedure; a file sent by the client"""
    from pymysql.constants import CLIENT
    connection, port = open_connection(server, client_flag=CLIENT.MULTI_STATEMENTS, local_infile=True)
    said = [operation("LOGIN")]
    ask = asker(connection, said)
    for n in range(20):
        ask(f"SELECT {n}; SELECT {n}, 2 UNION SELECT 3, 4", status="ResultSet", response__rows=3)
    ask("DO 1; SELECT 5", status="ResultSet", response__rows=1)
    ask("CREATE PROCEDURE both_ways() BEGIN SELECT 1; SELECT 2, 3; END", **done())
    ask("CALL both_ways()", status="ResultSet", response__rows=2)
    ask("SELECT 1; SELECT * FROM nowhere", **failed(1146, "42S02"))
    ask("CREATE TABLE bulk (a int, b varchar(50))", **done())
    ask("LOAD DATA LOCAL INFILE '/proc/self/mounts' INTO TABLE bulk FIELDS TERMINATED BY ' ' (b, @a) SET a = 1")
    ask("SELECT 'after the file'", **result_set(1, 1))
    connection.close()
    return [{**one, "src.port": port} for one in said + [alone("COM_QUIT")]]


def read_result(connection):
    """-> rows of a binary result set; 0 for OK"""
    packet = connection._read_packet()
    if packet.is_ok_packet():
        return 0
    for _ in range(packet.read_length_encoded_integer() + 1):
        connection._read_packet()
    rows = 0
    while not connection._read_packet().is_eof_packet():
        rows += 1
    return rows


def with_prepared(server):
    """prepared statements, as the binary protocol has them"""
    import pymysql
    connection, port = open_connection(server)
    said = [operation("LOGIN")]
    ask = asker(connection, said)
    ask("CREATE TABLE ticket (id int PRIMARY KEY, name varchar(400))", **done())

    def prepare(query, columns, parameters):
        connection._execute_command(COM_STMT_PREPARE, query)
        packet = connection._read_packet()
        packet.read(1)
        number = packet.read_uint32()
        for _ in range((columns + 1 if columns else 0) + (parameters + 1 if parameters else 0)):
            connection._read_packet()
        said.append(operation("COM_STMT_PREPARE", query, response__columns=columns))
        return number

    def execute(number, query, values, rows=None, **reply):
        types = b"".join(b"\x03\0" if isinstance(v, int) else b"\xfd\0" for v in values)
        data = b"".join(v.to_bytes(4, "little") if isinstance(v, int) else bytes([0xfc]) + len(v).to_bytes(2, "little") + v for v in values)
        body = number.to_bytes(4, "little") + b"\0\1\0\0\0" + (b"\0" * ((len(values) + 7) // 8) + b"\1" + types + data if values else b"")
        connection._execute_command(COM_STMT_EXECUTE, body)
        try:
            assert read_result(connection) == (rows or 0)
        except pymysql.Error:
            assert reply["status"] == "ERR"
        said.append(operation("COM_STMT_EXECUTE", query, request__statementId=number, **reply))

    insert, select = "INSERT INTO ticket VALUES (?, ?)", "SELECT id, name FROM ticket WHERE id < ?"
    one, two = prepare(insert, 0, 2), prepare(select, 2, 1)
    for n in range(60):
        execute(one, insert, [n, b"n" * (n * 5)], **done(1))
        execute(two, select, [n], n, **result_set(2, n))
    execute(one, insert, [1, b"again"], **failed(1062, "23000"))
    connection._execute_command(COM_STMT_RESET, two.to_bytes(4, "little"))
    assert connection._read_packet().is_ok_packet()
    said.append(operation("COM_STMT_RESET", request__statementId=two))
    connection._execute_command(COM_STMT_CLOSE, one.to_bytes(4, "little"))
    said.append(alone("COM_STMT_CLOSE", request__statementId=one))
    try:
        connection._execute_command(COM_STMT_PREPARE, "SELECT nothing FROM ticket")
        connection._read_packet()
    except pymysql.Error:
        pass
    said.append(operation("COM_STMT_PREPARE", "SELECT nothing FROM ticket", **failed(1054, "42S22")))
    ask("SELECT 'text again'", **result_set(1, 1))
    connection.close()
    return [{**o, "src.port": port} for o in said + [alone("COM_QUIT")]]


def refused(server):
    import pymysql
    for user, password, database in (("ann", "wrong", "shop"), ("nobody", "", "shop"), ("ann", "secret", "nowhere")):
        try:
            pymysql.connect(host=server, port=PORT, user=user, password=password, database=database)
        except pymysql.Error:
            pass
    return [{"request.command": "LOGIN", "request.user": user, "request.database": database, "response.status": "ERR",
             "response.errorCode": code, "response.sqlState": state}
            for user, database, code, state in (("ann", "shop", 1045, "28000"), ("nobody", "shop", 1045, "28000"),
                                                ("ann", "nowhere", 1044, "42000"))]


def clients(server, folder):
    return with_queries(server) + with_many_results(server) + with_prepared(server) + refused(server)


def start(lab):
    folder = lab.path("mysql")
    os.makedirs(folder)
    first = lab.write("first.sql", "CREATE DATABASE shop;\nCREATE DATABASE other;\nCREATE USER ann IDENTIFIED BY 'secret';\n"
                      "GRANT ALL ON shop.* TO ann;\nGRANT ALL ON other.* TO ann;\n")
    lab.write("mysql.sh", f"""
set -e
mkdir {folder}/data
cd /usr/share/mysql
{{ printf 'CREATE DATABASE mysql;\\nUSE mysql;\\n'; cat mysql_system_tables.sql mysql_performance_tables.sql mysql_system_tables_data.sql; }} |
    {find_program("mariadbd")} --no-defaults --bootstrap --datadir={folder}/data --user=root --skip-name-resolve
exec {find_program("mariadbd")} --no-defaults --datadir={folder}/data --socket={folder}/socket --pid-file={folder}/pid --port={PORT} \\
    --bind-address=0.0.0.0 --user=root --skip-name-resolve --local-infile=1 --innodb-flush-log-at-trx-commit=0 --init-file={first}
""")
    lab.start("server", "sh", lab.path("mysql.sh"))


GROUPS = [Group("mysql", [PORT], start, clients, ["mariadbd", "py:pymysql"])]
