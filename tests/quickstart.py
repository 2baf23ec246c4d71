#!/usr/bin/env python3
"""quickstart.py - what ./quickstart does after the build: the demo tap, or an interface.

The recorder, its configuration and commands are those of any installation; only the network is
made for the occasion (live.py).
"""
import argparse
import os
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import live
from live import CLIENTS, SERVER, TAPEDECK, TAPEDECKD, Lab, run, wait_for

HOME = "/var/tmp/tapedeck-quickstart"
SOCKET = os.path.join(HOME, "control.sock")
STATE = os.path.join(HOME, "running")


def say(text=""):
    print(text, flush=True)


def command(*arguments):
    """runs a tapedeck command and shows it as a person would type it"""
    shown = " ".join(shlex.quote(a) for a in arguments)
    say(f"\n$ tapedeck {shown}")
    done = subprocess.run([TAPEDECK, "--socket", SOCKET, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    say(done.stdout.decode("utf-8", "replace").rstrip())
    if done.returncode:
        sys.exit(done.returncode)


def configuration(source, names):
    path = os.path.join(HOME, "tapedeck.conf")
    with open(path, "w") as file:
        file.write(f"""# made by ./quickstart
sources = ( {source} );
storage: {{ path = "{HOME}/store"; }};
names: {{ files = [ {", ".join(f'"{n}"' for n in names)} ]; }};
lookback: {{ size = "128Mi"; }};
control: {{ socket = "{SOCKET}"; }};
""")
    return path


def start(prefix, conf):
    """-> the daemon's process, once it answers"""
    log = open(os.path.join(HOME, "tapedeckd.log"), "wb")
    daemon = subprocess.Popen([*prefix, TAPEDECKD, "-c", conf, "--foreground"], stdin=subprocess.DEVNULL,
                              stdout=log, stderr=log, start_new_session=True)

    def answers():
        if daemon.poll() is not None:
            sys.exit(f"tapedeckd ended: {open(log.name).read()}")
        return subprocess.run([TAPEDECK, "--socket", SOCKET, "stats"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0
    wait_for(answers, 60, "tapedeckd to answer")
    return daemon


def stop(daemon):
    daemon.terminate()
    if daemon.wait(60):
        sys.exit(f"tapedeckd ended with status {daemon.returncode}: see {HOME}/tapedeckd.log")


def show(job):
    """what was recorded, and how to open it"""
    out = os.path.join(HOME, f"{job}.pcapng")
    command("recording", "show", job)
    command("recording", "view", job)
    command("recording", "export", job, "-o", out)
    say(f"\nOpen it:   wireshark {out}")
    say(f"or         tshark -r {out} -q -z conv,tcp")
    say(f"Segments:  {HOME}/store/recordings/{job}/")


def demo(keep):
    lab = Lab()
    say("demo tap: clients 10.77.0.11-14 --- hub --- 10.77.0.20 (nginx, dnsmasq, redis); the hub's mirror port is t1")
    lab.nginx(), lab.dnsmasq(), lab.redis()
    names = os.path.join(HOME, "names")
    with open(names, "w") as file:
        file.write(f"{CLIENTS[0]} node-exporter monitoring\n{CLIENTS[1]} frontend sock-shop\n{SERVER} catalogue sock-shop\n")
    daemon = start(lab.inside("tap"), configuration('{ type = "af_xdp"; interface = "t1"; }', [names]))
    command("job", "create", "errors-500", "--kfl", "response.status == 500")
    traffic(lab)
    wait_for(lambda: settled(2 * len(CLIENTS)), 30, "the streams to be recorded")
    if not keep:
        command("job", "stop", "errors-500")
    command("job", "list")
    command("stats")
    show("errors-500")
    if not keep:
        stop(daemon)
        lab.close()
        return
    with open(STATE, "w") as file:
        file.write("\n".join([str(daemon.pid), lab.folder, *[str(p.pid) for p in lab.processes], *map(lab.ns, lab.namespaces)]))
    lab.keep()
    say(f"\nStill running. Ask it:  {TAPEDECK} --socket {SOCKET} job list")
    say(f"Make traffic:           ip netns exec {lab.ns('client')} curl http://{SERVER}/api/fail")
    say("End it:                 sudo ./quickstart --end")


def settled(streams):
    rows = run(TAPEDECK, "--socket", SOCKET, "job", "show", "errors-500", "--json")
    return live.json.loads(rows.splitlines()[0])["streams"] >= streams


def traffic(lab):
    """about a hundred connections; two of each client's are answered 500"""
    url = f"http://{SERVER}"
    say("\nclients ask: pages, names, keys; some requests are answered 500 ...")
    for address in CLIENTS:
        base = ["curl", "-s", "-o", "/dev/null", "--interface", address]
        for path in ("/index.html", "/api/ok", "/large.bin", "/missing"):
            lab.run("client", *base, url + path)
        lab.run("client", *base, url + "/api/fail")
        # Keep-alive: the 500 comes last on a connection that was fine until then.
        lab.run("client", *base, "-A", "kube-probe/1.27+", *[url + "/api/ok"] * 20, url + "/fail")
        lab.run("client", "dig", "-b", address, f"@{SERVER}", "a.shop.test", check=False)
    lab.run("client", "redis-benchmark", "-h", SERVER, "-c", "4", "-n", "400", "-q", "-t", "set,get")


def is_used(interface):
    """does the host itself talk through it?"""
    devices = live.json.loads(run("ip", "-j", "address", "show", "dev", interface))
    return any(address["scope"] == "global" for device in devices for address in device.get("addr_info", []))


def on_interface(interface, seconds):
    if not os.path.exists(f"/sys/class/net/{interface}"):
        sys.exit(f"quickstart: there is no interface {interface}: ip -br link lists them")
    if is_used(interface): # XDP would take its packets away from it
        source = f'{{ type = "dpdk"; device = "net_af_packet0,iface={interface}"; eal = "--no-huge -m 512"; }}'
        say(f"the host itself uses {interface}: it keeps its packets, copies are recorded. Frames that offloads have made")
        say(f"larger than 2 KB are not among them, unless: sudo ethtool -K {interface} gro off gso off tso off")
    else:
        source = f'{{ type = "af_xdp"; interface = "{interface}"; pass = true; }}'
    daemon = start([], configuration(source, []))
    command("job", "create", "quickstart", "--kfl", "http or dns")
    say(f"\nrecording HTTP and DNS on {interface} for {seconds} s; Ctrl-C ends it sooner ...")
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        say()
    command("job", "stop", "quickstart")
    command("stats")
    show("quickstart")
    stop(daemon)


def end():
    try:
        with open(STATE) as file:
            daemon, folder, *rest = file.read().split("\n")
    except FileNotFoundError:
        sys.exit("quickstart: nothing was left running")
    for pid in [daemon, *[r for r in rest if r.isdigit()]]:
        try:
            os.kill(int(pid), signal.SIGTERM)
        except ProcessLookupError:
            pass
    for ns in [r for r in rest if not r.isdigit()]:
        run("ip", "netns", "del", ns, check=False)
    run("rm", "-rf", folder)
    os.remove(STATE)
    say(f"ended; recordings are kept in {HOME}/store/recordings")


def main():
    parser = argparse.ArgumentParser(prog="quickstart", description="a first recording")
    parser.add_argument("interface", nargs="?", help="record on it; without one: on a demo tap")
    parser.add_argument("--keep", action="store_true", help="leave the demo running")
    parser.add_argument("--end", action="store_true", help="end what --keep left running")
    parser.add_argument("--seconds", type=int, default=60, help="how long to record on an interface")
    options = parser.parse_args()
    if options.end:
        return end()
    if os.path.exists(STATE):
        sys.exit("quickstart: a demo is still running: sudo ./quickstart --end")
    run("rm", "-rf", HOME)
    os.makedirs(HOME, mode=0o755)
    if options.interface:
        on_interface(options.interface, options.seconds)
    else:
        demo(options.keep)


if __name__ == "__main__":
    main()
