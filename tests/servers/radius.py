"""radius.py - freeradius with radclient, many requests in flight on one port."""
import os
import subprocess

from operations import Matches, More
from servers.group import Group, find_program

AUTH, ACCOUNTING = 1812, 1813
SECRET = "testing123"


def requests_of(folder, name, requests):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write("\n\n".join("\n".join(f'{key} = {value}' for key, value in r.items()) for r in requests) + "\n")
    return path


def radclient(server, port, kind, path, ok=True):
    subprocess.run(["radclient", "-f", path, "-p", "20", "-r", "3", "-t", "10", f"{server}:{port}", kind, SECRET],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=ok, timeout=60)


def clients(server, folder):
    said = []
    good = [{"User-Name": f'"user{n}"', "User-Password": '"right"', "NAS-IP-Address": f"10.1.2.{n % 250}", "NAS-Port": n,
             "Service-Type": "Framed-User", "Calling-Station-Id": f'"00-11-22-33-44-{n:02X}"'} for n in range(150)]
    radclient(server, AUTH, "auth", requests_of(folder, "radius-good", good))
    for n in range(150):
        said.append({"request.code": 1, "request.codeName": "Access-Request", "request.attributes.User-Name": f"user{n}",
                     "request.attributes.NAS-IP-Address": f"10.1.2.{n % 250}", "request.attributes.NAS-Port": n,
                     "request.attributes.Calling-Station-Id": f"00-11-22-33-44-{n:02X}", "request.authenticator": Matches("[0-9a-f]{32}"),
                     "response.code": 2, "response.codeName": "Access-Accept", "response.attributes.Reply-Message": "welcome",
                     "response.attributes.Framed-IP-Address": "10.9.8.7", "response.attributes.Session-Timeout": 3600})
    bad = [{"User-Name": f'"stranger{n}"', "User-Password": '"wrong"'} for n in range(60)]
    radclient(server, AUTH, "auth", requests_of(folder, "radius-bad", bad), ok=False)
    said += [{"request.code": 1, "request.attributes.User-Name": f"stranger{n}", "response.code": 3,
              "response.codeName": "Access-Reject", "response.attributes.Reply-Message": ["who", "are you"]} for n in range(60)]
    accounting = [{"User-Name": f'"acct{n}"', "Acct-Status-Type": "Start", "Acct-Session-Id": f'"session-{n}"', "NAS-Port": n,
                   "Acct-Input-Octets": n * 1000003} for n in range(100)]
    radclient(server, ACCOUNTING, "acct", requests_of(folder, "radius-acct", accounting))
    said += [{"request.code": 4, "request.codeName": "Accounting-Request", "request.attributes.User-Name": f"acct{n}",
              "request.attributes.Acct-Session-Id": f"session-{n}", "request.attributes.Acct-Input-Octets": n * 1000003,
              "response.code": 5, "response.codeName": "Accounting-Response"} for n in range(100)]
    status = requests_of(folder, "radius-status", [{"Message-Authenticator": "0x00"}])
    radclient(server, AUTH, "status", status)
    said.append({"request.code": 12, "request.codeName": "Status-Server", "response.code": 2})
    for one in said:
        one.update({"protocol.abbr": "RADIUS", "protocol.layer4": "udp", "request.id": More(-1)})
    return said


def start(lab):
    folder = lab.path("radius")
    os.makedirs(folder)
    users = lab.write("radius/users", """
DEFAULT User-Name =~ "^user", Cleartext-Password := "right"
	Reply-Message = "welcome", Framed-IP-Address = 10.9.8.7, Session-Timeout = 3600

DEFAULT Auth-Type := Reject
	Reply-Message = "who", Reply-Message += "are you"
""")
    lab.write("radius/radiusd.conf", f"""
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
radacctdir = {folder}
name = radiusd
max_requests = 4096
log {{
    destination = stdout
}}
security {{
    status_server = yes
    allow_vulnerable_openssl = yes
    reject_delay = 0
}}
client lab {{
    ipaddr = 0.0.0.0/0
    secret = {SECRET}
}}
modules {{
    pap {{
    }}
    files {{
        usersfile = {users}
    }}
    always ok {{
        rcode = ok
    }}
}}
server lab {{
    listen {{
        type = auth
        ipaddr = *
        port = {AUTH}
    }}
    listen {{
        type = acct
        ipaddr = *
        port = {ACCOUNTING}
    }}
    authorize {{
        files
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
    }}
    preacct {{
        ok
    }}
    accounting {{
        ok
    }}
}}
""")
    lab.start("server", find_program("freeradius"), "-f", "-l", "stdout", "-d", folder)


GROUPS = [Group("radius", [AUTH, ACCOUNTING], start, clients, ["freeradius", "radclient"], proto="udp")]
