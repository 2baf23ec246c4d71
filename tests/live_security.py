#!/usr/bin/env python3
"""live_security.py - while it records, the recorder is nobody in particular: another user, few
capabilities, none to gain, system calls filtered, files for its group only. Asked of the kernel."""
import os
import pwd
import socket
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, TAPEDECKD, Lab, Tap, wait_for

USER = "tapedeck"
CAP_NET_ADMIN, CAP_BPF = 1 << 12, 1 << 39
SECCOMP_FILTER = 2


def threads(pid):
    """-> {name: fields of its status}"""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        found[f"{fields['Name']}/{task}"] = fields
    return found


def daemon_pid(process):
    """`ip netns exec` becomes the program that it is given."""
    return process.pid


def rights(tap, pid, user):
    wrong = {"uid": [], "CapEff": [], "CapBnd": [], "NoNewPrivs": [], "Seccomp": []}
    found = threads(pid)
    for name, fields in found.items():
        if set(fields["Uid"].split()) != {str(user.pw_uid)} or set(fields["Gid"].split()) != {str(user.pw_gid)}:
            wrong["uid"].append((name, fields["Uid"]))
        if int(fields["CapEff"], 16) & ~(CAP_NET_ADMIN | CAP_BPF) or int(fields["CapPrm"], 16) & ~(CAP_NET_ADMIN | CAP_BPF):
            wrong["CapEff"].append((name, fields["CapEff"]))
        if int(fields["CapInh"], 16) or int(fields["CapAmb"], 16):
            wrong["CapBnd"].append((name, fields["CapInh"], fields["CapAmb"]))
        if fields["NoNewPrivs"] != "1":
            wrong["NoNewPrivs"].append(name)
        if int(fields["Seccomp"]) != SECCOMP_FILTER:
            wrong["Seccomp"].append((name, fields["Seccomp"]))
    tap.note(f"threads: {', '.join(sorted(found))}")
    tap.ok(len(found) >= 4 and not wrong["uid"], f"every thread is user {USER}", str(wrong["uid"]))
    tap.ok(not wrong["CapEff"], "with no capabilities but CAP_BPF and CAP_NET_ADMIN", str(wrong["CapEff"]))
    tap.ok(not wrong["CapBnd"], "none of them inherited", str(wrong["CapBnd"]))
    tap.ok(not wrong["NoNewPrivs"], "none to gain (NoNewPrivs)", str(wrong["NoNewPrivs"]))
    tap.ok(not wrong["Seccomp"], "system calls are filtered (Seccomp: 2)", str(wrong["Seccomp"]))
    main = found[f"tapedeckd/{pid}"]
    tap.ok(not int(main["CapBnd"], 16) & ~(CAP_NET_ADMIN | CAP_BPF), "the bounding set is cleared", main["CapBnd"])


def store(tap, folder, user):
    wrong, n = [], 0
    for where, _, files in os.walk(folder):
        for path, mode in [(where, 0o750), *[(os.path.join(where, f), 0o640) for f in files]]:
            status = os.lstat(path)
            n += 1
            if stat.S_IMODE(status.st_mode) != mode or status.st_uid != user.pw_uid or status.st_gid != user.pw_gid:
                wrong.append((path, oct(status.st_mode), status.st_uid, status.st_gid))
    tap.ok(n > 5 and not wrong, "files are 0640, folders 0750, its own", str(wrong[:5]))


def records(lab, name, n):
    for client in CLIENTS:
        lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", client, f"http://{SERVER}/fail")
    wait_for(lambda: lab.tapedeck_json("job", "show", name)[0]["streams"] >= n, 20, f"{n} streams of {name}")


def notify_socket(lab):
    """What systemd listens on, in place of it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(lab.path("notify"))
    os.chmod(lab.path("notify"), 0o777)
    listener.settimeout(20)
    environment = {**os.environ, "NOTIFY_SOCKET": lab.path("notify"), "WATCHDOG_USEC": "2000000"}
    environment.pop("WATCHDOG_PID", None)
    return listener, environment


def hears(listener, text):
    """whether the text is said within a bounded time"""
    try:
        return any(text in listener.recv(4096).decode() for _ in range(20))
    except TimeoutError:
        return False


def main():
    tap, lab = Tap(), Lab()
    try:
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            tap.skip("rights are dropped", f"there is no user {USER}: ./check makes it")
            tap.done()
        lab.nginx()
        # What an older recorder, or root, left in the store.
        os.makedirs(lab.path("store/recordings/old"), mode=0o750)
        os.chmod(lab.path("store"), 0o750), os.chmod(lab.path("store/recordings"), 0o750)
        names = lab.write("names", f"{CLIENTS[0]} node-exporter\n")
        conf = lab.write("tapedeck.conf", f"""
sources = ( {{ type = "af_xdp"; interface = "t1"; }} );
storage: {{ path = "{lab.path('store')}"; }};
names: {{ files = [ "{names}" ]; }};
lookback: {{ size = "32Mi"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
""")
        listener, environment = notify_socket(lab)
        daemon = lab.start("tap", TAPEDECKD, "-c", conf, env=environment)
        tap.ok(hears(listener, "READY=1"), "systemd is told that it is ready", lab.log_of(daemon)[-500:])
        tap.ok(hears(listener, "WATCHDOG=1") and hears(listener, "WATCHDOG=1"), "its watchdog is fed")
        lab.tapedeck("job", "create", "fails", "--kfl", "response.status == 500")
        records(lab, "fails", len(CLIENTS))
        rights(tap, daemon_pid(daemon), user)
        lab.tapedeck("reload")
        lab.tapedeck("job", "create", "more", "--kfl", 'request.path == r"^/f.*"')
        records(lab, "more", len(CLIENTS))
        tap.ok(True, "it records, compiles statements and reloads meanwhile")
        lab.tapedeck("job", "stop", "more")
        lab.tapedeck("recording", "verify", "fails", "more")
        store(tap, lab.path("store"), user)
        sum_row = [r for r in lab.tapedeck_json("stats") if r["kind"] == "sum"][0]
        tap.ok(sum_row["difference"] == 0 and sum_row["dropped"] == 0, "the sum holds", str(sum_row))
        tap.ok(lab.stop(daemon) == 0, "it ends with status 0", lab.log_of(daemon)[-500:])
        tap.ok(hears(listener, "STOPPING=1"), "systemd is told that it stops")
        tap.ok("warning" not in lab.log_of(daemon), "without a warning", lab.log_of(daemon)[-500:])
    except RuntimeError as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        lab.close()
    tap.done()


if __name__ == "__main__":
    main()
