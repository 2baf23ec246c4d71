#!/usr/bin/env python3
"""live_daemon.py - tapedeckd from its start to its end, as an operator meets it.

On the mirror port of a lab: jobs are created, stopped, deleted; the daemon is restarted in the middle
of one, ended by SIGTERM while packets are coming, killed, asked for twice, told to reload. What was
recorded is held against tshark and against `recording verify`.
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, TAPEDECK, TAPEDECKD, Lab, Tap, run, tshark_fields, wait_for


def ask(lab, *arguments):
    """-> exit status, stdout, stderr"""
    done = subprocess.run([TAPEDECK, "--socket", lab.path("control.sock"), *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def get(lab, client, target, *arguments):
    lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", CLIENTS[client], *arguments,
            f"http://{SERVER}{target}")


def configuration(lab, more=""):
    names = lab.write("names", f"{CLIENTS[0]} node-exporter monitoring\n")
    return lab.write("tapedeck.conf", f"""
sources = ( {{ type = "af_xdp"; interface = "t1"; }} );
storage: {{ path = "{lab.path('store')}"; }};
names: {{ files = [ "{names}" ]; }};
lookback: {{ size = "32Mi"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
{more}
""")


def job(lab, name):
    return lab.tapedeck_json("job", "show", name)[0]


def streams(lab, name, n):
    """waits until the job has recorded n streams"""
    return wait_for(lambda: job(lab, name)["streams"] >= n and job(lab, name), 20, f"{n} streams of {name}")


def counts_in(capture, display_filter):
    return len(tshark_fields(capture, display_filter, "frame.number"))


def people_are_told(tap, lab):
    status, _, err = ask(lab, "job", "create", "x", "--kfl", "response.status == 500 and")
    tap.ok(status == 2 and "1:27" in err and err.rstrip().endswith("^"), "a refused statement: status 2, column and caret", err)
    status, _, err = ask(lab, "job", "create", "../x", "--kfl", "http")
    tap.ok(status == 2 and "name '../x'" in err, "a bad name is refused", err)
    status, _, err = ask(lab, "job", "show", "nothing")
    tap.ok(status == 1 and "there is no job" in err, "an unknown job is said", err)
    status, _, err = ask(lab, "jbo", "list")
    tap.ok(status == 2 and "did you mean 'tapedeck job list'" in err, "a mistyped command: did you mean", err)
    done = subprocess.run([TAPEDECK, "--socket", "/nowhere/sock", "stats"], stderr=subprocess.PIPE)
    tap.ok(done.returncode == 3, "no daemon: status 3", done.stderr.decode())


def two_jobs(tap, lab):
    lab.tapedeck("job", "create", "fails", "--kfl", "response.status == 500 and src.name == \"node-exporter\"")
    lab.tapedeck("job", "create", "everything", "--kfl", "http")
    lab.tapedeck("job", "create", "later", "--kfl", "dns", "--start", "2099-01-02T03:04:05Z")
    for client in (0, 1):
        get(lab, client, "/index.html")
        get(lab, client, "/fail")
    rows = {row["name"]: row for row in lab.tapedeck_json("job", "list")}
    tap.ok(sorted(rows) == ["everything", "fails", "later"], "jobs are listed", str(sorted(rows)))
    tap.ok(rows["later"]["state"] == "scheduled" and rows["later"]["next"].startswith("2099-01-02T03:04:05"),
           "a job in the future is scheduled", str(rows["later"]))
    tap.ok(streams(lab, "everything", 4)["streams"] == 4 and streams(lab, "fails", 1)["streams"] == 1, "streams are counted")
    lab.tapedeck("job", "stop", "fails")
    tap.ok(job(lab, "fails")["state"] == "stopped", "a stopped job is stopped")
    out = lab.path("fails.pcapng")
    lab.tapedeck("recording", "export", "fails", "-o", out)
    got = counts_in(out, "tcp.flags.syn == 1"), counts_in(out, "http.response.code == 500"), counts_in(out, "tcp.flags.fin == 1")
    tap.ok(got == (2, 1, 2), "its recording has the stream from SYN to FIN", str(got))
    tap.ok(counts_in(out, f"ip.addr == {CLIENTS[1]}") == 0, "and no other stream")
    lines = lab.tapedeck("recording", "view", "fails")
    tap.ok(len(lines.splitlines()) == 1 and "(node-exporter)" in lines and "500" in lines, "its entry is shown in a line", lines)
    entries = lab.tapedeck_json("recording", "view", "everything", "--kfl", 'request.path == "/fail"')
    tap.ok(len(entries) == 2 and all(e["response"]["status"] == 500 for e in entries), "entries are chosen by a statement",
           str(entries)[:300])
    lab.tapedeck("recording", "export", "everything", "--kfl", 'request.path == "/fail"', "-o", out)
    tap.ok(counts_in(out, "http.response.code == 500") == 2 and counts_in(out, "http.response.code == 200") == 0,
           "an export of the streams that a statement wants")
    found = [r["name"] for r in lab.tapedeck_json("recording", "list", "--search", "EXPORTER")]
    tap.ok(found == ["fails"], "recordings are found by a word of the statement", str(found))
    status, _, err = ask(lab, "recording", "verify", "fails", "everything")
    tap.ok(status == 0, "recordings are verified, also one under way", err)


def restarts(tap, lab, conf, daemon):
    done = subprocess.run(lab.inside("tap", TAPEDECKD, "-c", conf, "--foreground"), stderr=subprocess.PIPE)
    tap.ok(done.returncode == 1 and b"in use by another tapedeckd" in done.stderr, "a second daemon on the store is refused",
           done.stderr.decode())
    other = lab.write("other.conf", f"""sources = ( {{ type = "af_xdp"; interface = "t1"; }} );
storage: {{ path = "{lab.path('other')}"; }}; control: {{ socket = "{lab.path('other.sock')}"; }};""")
    done = subprocess.run(lab.inside("tap", TAPEDECKD, "-c", other, "--foreground"), stderr=subprocess.PIPE)
    tap.ok(done.returncode == 1 and b"in use by another program" in done.stderr and b't1"' in done.stderr,
           "a second daemon on the interface is refused", done.stderr.decode())
    status, _, err = ask(lab, "job", "show", "everythin")
    tap.ok(status == 1 and "did you mean 'everything'" in err, "a mistyped job: did you mean", err)
    status, _, err = ask(lab, "recording", "show", "everythign")
    tap.ok(status == 1 and "did you mean 'everything'" in err, "a mistyped recording: did you mean", err)
    before = job(lab, "everything")
    status = lab.stop(daemon)
    tap.ok(status == 0, "SIGTERM ends with status 0", lab.log_of(daemon)[-500:])
    daemon = lab.tapedeckd(conf)
    after = job(lab, "everything")
    tap.ok(after["state"] == "recording" and after["streams"] == before["streams"], "a job goes on after a restart, counts stay",
           f"{before['streams']} {after['streams']} {after['state']}")
    # Packets that came before SIGTERM are in the recording.
    dump = lab.tcpdump()
    get(lab, 2, "/large.bin")
    wait_for(lambda: counts_in(dump.capture, f"tcp.flags.fin == 1 && ip.addr == {CLIENTS[2]}") == 2, 20, "the stream to end")
    status = lab.stop(daemon)
    lab.stop(dump)
    daemon = lab.tapedeckd(conf)
    out = lab.path("everything.pcapng")
    lab.tapedeck("recording", "export", "everything", "-o", out)
    mine = f"tcp && ip.addr == {CLIENTS[2]}"
    tap.ok(status == 0 and counts_in(out, mine) == counts_in(dump.capture, mine), "SIGTERM loses nothing that was received",
           f"{counts_in(out, mine)} of {counts_in(dump.capture, mine)}")
    get(lab, 3, "/index.html")
    streams(lab, "everything", 6)
    wait_for(lambda: counts_of_segments(lab, "everything") >= 3, 10, "the flush")
    wait_for(lambda: len(lab.tapedeck_json("recording", "view", "everything")) == 6, 10, "the flush of the entries")
    lab.stop(daemon, signal.SIGKILL)
    daemon = lab.tapedeckd(conf)
    status, _, err = ask(lab, "recording", "verify", "everything")
    tap.ok(status == 0, "after kill -9 the recording is whole", err)
    lab.tapedeck("recording", "export", "everything", "-o", out)
    tap.ok(counts_in(out, f"http.response && ip.addr == {CLIENTS[3]}") == 1, "what was flushed before kill -9 is there")
    seen = [entry["stream"] for entry in lab.tapedeck_json("recording", "view", "everything")]
    tap.ok(len(set(seen)) == len(seen) == 6, "each stream has a number of its own, also after restarts", str(seen))
    lab.tapedeck("recording", "export", "everything", "--stream", str(seen[-1]), "-o", out)
    ports = {row[0] for row in tshark_fields(out, "tcp.flags.syn == 1 && tcp.flags.ack == 0", "tcp.srcport")}
    tap.ok(len(ports) == 1 and counts_in(out, f"ip.addr == {CLIENTS[3]}") == counts_in(out, "tcp"),
           "an export by number gives that stream alone", str(ports))
    return daemon


def counts_of_segments(lab, name):
    return lab.tapedeck_json("recording", "show", name)[0]["files"]


def reloads(tap, lab):
    configuration(lab, 'jobs = ( { name = "declared"; kfl = "dns"; } );\nlimits: { jobs = 5; };')
    lab.write("names", f"{CLIENTS[0]} renamed\n")
    status, out, err = ask(lab, "reload")
    tap.ok(status == 0 and job(lab, "declared")["state"] == "recording", "a declared job comes with a reload", out + err)
    tap.ok(lab.tapedeck_json("names", "show", CLIENTS[0])[0]["name"] == "renamed", "names come with a reload")
    lab.write("names", f"{CLIENTS[0]} again\n")
    wait_for(lambda: lab.tapedeck_json("names", "show", CLIENTS[0])[0]["name"] == "again", 10, "the names to be followed")
    tap.ok(True, "names are followed as they change")
    configuration(lab, 'lookback2: { };')
    status, _, err = ask(lab, "reload")
    tap.ok(status == 1 and "lookback2: unknown key" in err, "a bad configuration is refused and changes nothing", err)
    configuration(lab, 'streams: { max = 5000; };')
    status, out, _ = ask(lab, "reload")
    tap.ok(status == 0 and "streams.max" in out, "what needs a restart is listed", out)
    wait_for(lambda: "declared" not in lab.tapedeck("job", "list"), 10, "the job to go")
    tap.ok("declared" in lab.tapedeck("recording", "list"), "a job that is no longer declared goes, its recording stays")


def endings(tap, lab):
    lab.tapedeck("job", "create", "short", "--kfl", "http", "--duration", "1s", "--expiration", "1s")
    wait_for(lambda: job(lab, "short")["state"] == "expired", 30, "expiry")
    tap.ok(not os.path.exists(lab.path("store/recordings/short")), "expiry removes the folder")
    lab.tapedeck("job", "delete", "everything")
    tap.ok(not os.path.exists(lab.path("store/recordings/everything")), "delete removes the folder")
    lab.tapedeck("job", "delete", "fails", "--keep-recording")
    tap.ok(os.path.exists(lab.path("store/recordings/fails")), "--keep-recording leaves it")
    lab.tapedeck("recording", "delete", "fails")
    tap.ok(not os.path.exists(lab.path("store/recordings/fails")), "recording delete removes it")
    rows = [r for r in lab.tapedeck_json("stats") if r["kind"] == "sum"]
    tap.ok(rows[0]["difference"] == 0 and rows[0]["dropped"] == 0, "the sum holds", str(rows))


def main():
    tap, lab = Tap(), Lab()
    try:
        lab.nginx()
        conf = configuration(lab)
        daemon = lab.tapedeckd(conf)
        people_are_told(tap, lab)
        two_jobs(tap, lab)
        daemon = restarts(tap, lab, conf, daemon)
        reloads(tap, lab)
        endings(tap, lab)
        tap.ok(lab.stop(daemon) == 0, "and it ends with status 0", lab.log_of(daemon)[-500:])
    except RuntimeError as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        lab.close()
    tap.done()


if __name__ == "__main__":
    main()
