#!/usr/bin/env python3
"""live_control.py - the control socket while packets are recorded: who may look, who may change, and a
thousand clients, idle, slow, greedy or talking garbage, that disturb neither the path nor each other."""
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, TAPEDECK, Lab, Tap, run, wait_for
import grp

LOOK, CHANGE = "users", "games" # groups that every Debian has
NOBODY = 65534
N_CLIENTS = 1000
ROUNDS, TRIES = 20, 3
ANSWER_S = 20


def who_may(tap, lab):
    program = lab.path("tapedeck")
    shutil.copy(TAPEDECK, program) # the build need not be readable to everybody

    def ask(group, *arguments):
        groups = [grp.getgrnam(group).gr_gid] if group else []
        done = subprocess.run([program, "--socket", lab.path("control.sock"), *arguments], user=NOBODY, group=NOBODY,
                              extra_groups=groups, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return done.returncode, done.stderr.decode()

    status, err = ask(None, "job", "list")
    tap.ok(status == 1 and "permission denied" in err and "control.group" in err, "strangers are told why not", f"{status} {err}")
    tap.ok(ask(LOOK, "job", "list") == (0, "") and ask(LOOK, "stats")[0] == 0, "who may look, looks")
    for arguments in (("job", "create", "a", "--kfl", "http"), ("job", "stop", "all"), ("job", "delete", "all"),
                      ("recording", "delete", "all"), ("reload",)):
        status, err = ask(LOOK, *arguments)
        tap.ok(status == 1 and "may look" in err, f"but changes nothing: {' '.join(arguments[:2])}", f"{status} {err}")
    tap.ok(ask(CHANGE, "job", "create", "a", "--kfl", "dns") == (0, "") and ask(CHANGE, "job", "delete", "a")[0] == 0,
           "who may change, does")


class Crowd(threading.Thread):
    """A thousand connections: a tenth talk garbage, a tenth send requests letter by letter, a tenth ask
    for everything and read slowly, the others are idle."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.ended, self.sent, self.most = path, threading.Event(), 0, 0

    def run(self):
        places, chance = [None] * N_CLIENTS, random.Random(1)
        request = b'{"verb":"stats"}\n'
        while not self.ended.is_set():
            for i, place in enumerate(places):
                try:
                    if place is None:
                        place = places[i] = socket.socket(socket.AF_UNIX)
                        place.settimeout(0)
                        place.connect(self.path)
                    if i % 10 == 0:
                        place.send(chance.randbytes(chance.randrange(1, 4096)))
                    elif i % 10 == 1:
                        place.send(b'{"verb":"job.li'[chance.randrange(15):][:1])
                    elif i % 10 == 2:
                        place.send(request * 4)
                        place.recv(16)
                    self.sent += 1
                except BlockingIOError:
                    pass
                except OSError:
                    place.close()
                    places[i] = None
            self.most = max(self.most, sum(p is not None for p in places))
            self.ended.wait(0.2)
        for place in places:
            if place is not None:
                place.close()


def losses(lab):
    rows = lab.tapedeck_json("stats")
    total = [r for r in rows if r["kind"] == "sum"][0]
    return {"dropped": total["dropped"], "drop_nic": sum(r.get("drop_nic", 0) for r in rows if r["kind"] == "source"),
            "difference": total["difference"], "rx": total["rx"]}


def traffic(lab):
    """-> what was lost of it"""
    before = losses(lab)
    for _ in range(ROUNDS):
        for client in CLIENTS:
            lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", client, f"http://{SERVER}/large.bin")
    wait_for(lambda: losses(lab)["difference"] == 0, ANSWER_S, "the sum")
    after = losses(lab)
    return {k: after[k] - before[k] for k in after}


def thousand(tap, lab):
    alone = traffic(lab)
    for attempt in range(TRIES):
        crowd = Crowd(lab.path("control.sock"))
        crowd.start()
        wait_for(lambda: crowd.most >= N_CLIENTS * 9 // 10, 60, "the crowd")
        crowded = traffic(lab)
        started = time.monotonic()
        lab.tapedeck("job", "list")
        waited = time.monotonic() - started
        crowd.ended.set()
        crowd.join()
        if crowded["drop_nic"] <= alone["drop_nic"]:
            break
        tap.note(f"attempt {attempt + 1}: the machine had no time for the device ({crowded}); again")
    tap.note(f"without: {alone}; among {crowd.most} clients that sent {crowd.sent} times: {crowded}; job list took {waited:.2f} s")
    tap.ok(crowd.most >= N_CLIENTS * 9 // 10, f"{N_CLIENTS} clients", str(crowd.most))
    tap.ok(all(crowded[k] <= alone[k] for k in ("dropped", "drop_nic", "difference")), "nothing more is lost among them", str(crowded))
    job = wait_for(lambda: lab.tapedeck_json("job", "show", "all")[0], ANSWER_S, "the job")
    tap.ok(job["streams"] >= 2 * ROUNDS * len(CLIENTS), "all streams are recorded", str(job["streams"]))
    run(TAPEDECK, "--socket", lab.path("control.sock"), "job", "stop", "all")
    run(TAPEDECK, "--socket", lab.path("control.sock"), "recording", "verify", "all")
    tap.ok(True, "and whole")


def main():
    tap, lab = Tap(), Lab()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    try:
        lab.nginx()
        daemon = lab.tapedeckd(lab.write("tapedeck.conf", f"""
sources = ( {{ type = "af_xdp"; interface = "t1"; }} );
storage: {{ path = "{lab.path('store')}"; }};
lookback: {{ size = "64Mi"; }};
control: {{ socket = "{lab.path('control.sock')}"; group = "{CHANGE}"; read_group = "{LOOK}"; }};
"""))
        lab.tapedeck("job", "create", "all", "--kfl", "http")
        who_may(tap, lab)
        thousand(tap, lab)
        tap.ok(lab.stop(daemon) == 0, "it ends with status 0", lab.log_of(daemon)[-500:])
    except RuntimeError as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        lab.close()
    tap.done()


if __name__ == "__main__":
    main()
