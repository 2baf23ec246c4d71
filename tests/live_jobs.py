#!/usr/bin/env python3
"""live_jobs.py - jobs as their first users had them, and by files.

The walk through a job: created for a time to come, waited for, listed, searched, viewed, exported,
deleted, while another one records; and the end of what nobody wants any more. Then jobs that people make, change
and remove by files in the store, under the running recorder with its rights dropped and its system calls filtered.
"""
import datetime
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import CLIENTS, SERVER, Lab, Tap, tshark_fields, wait_for

WAIT_S = 30


def get(lab, client, target):
    lab.run("client", "curl", "-s", "-o", "/dev/null", "--interface", CLIENTS[client], f"http://{SERVER}{target}")


def jobs(lab, *arguments):
    return {row["name"]: row for row in lab.tapedeck_json("job", "list", *arguments)}


def state(lab, name):
    return jobs(lab).get(name, {"state": "gone"})["state"]


def wait_for_streams(lab, name, n):
    wait_for(lambda: jobs(lab)[name]["streams"] >= n, WAIT_S, f"{n} streams of {name}")


def frames(capture, display_filter):
    return len(tshark_fields(capture, display_filter, "frame.number"))


def walk(tap, lab):
    now = datetime.datetime.now(datetime.timezone.utc)
    soon = (now + datetime.timedelta(seconds=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    later = now + datetime.timedelta(hours=2)
    lab.tapedeck("job", "create", "errors", "--kfl", "response.status == 500", "--start", soon, "--duration", "10s",
                 "--expiration", "60")
    lab.tapedeck("job", "create", "all", "--kfl", "http")
    lab.tapedeck("job", "create", "evening", "--kfl", "dns", "--start", later.strftime("%H:%M UTC"), "--iterations", "0")
    tap.ok([state(lab, n) for n in ("errors", "all", "evening")] == ["scheduled", "recording", "scheduled"],
           "one waits for its time, one records, one is for later", str(jobs(lab)))
    tap.ok(jobs(lab)["evening"]["next"].startswith(later.strftime("%Y-%m-%dT%H:%M:00")), "HH:MM UTC is the next such time",
           jobs(lab)["evening"]["next"])
    get(lab, 0, "/fail") # before its time
    wait_for_streams(lab, "all", 1)
    wait_for(lambda: state(lab, "errors") == "recording", WAIT_S, "the start")
    for client, target in ((1, "/fail"), (2, "/index.html"), (3, "/fail")):
        get(lab, client, target)
    wait_for_streams(lab, "errors", 2)
    wait_for_streams(lab, "all", 4)
    tap.ok(jobs(lab)["errors"]["streams"] == 2 and jobs(lab)["all"]["streams"] == 4, "two jobs record at once, each its own")
    wait_for(lambda: state(lab, "errors") == "done", WAIT_S, "the end of the run")
    run = lab.tapedeck_json("job", "show", "errors")[0]["runs"][0]
    times = [datetime.datetime.fromisoformat(run[k][:19]) for k in ("start", "end")]
    tap.ok(run["start"].startswith(soon[:19]) and 9 <= (times[1] - times[0]).total_seconds() <= 11,
           "it ran from its start as long as was asked", str(run))
    tap.ok(list(jobs(lab, "--search", "STATUS")) == ["errors"], "jobs are found by a word of the statement")
    found = lab.tapedeck_json("recording", "list", "--search", "err")
    tap.ok([r["name"] for r in found] == ["errors"] and found[0]["expires"], "its recording is found, with its expiry", str(found))
    view = lab.tapedeck("recording", "view", "errors").splitlines()
    tap.ok(len(view) == 2 and all("500" in line for line in view), "what matched is viewed", str(view))
    out = lab.path("errors.pcapng")
    lab.tapedeck("recording", "export", "errors", "-o", out)
    got = [frames(out, f) for f in ("tcp.flags.syn == 1 && tcp.flags.ack == 0", "http.response.code == 500", "http.response.code == 200")]
    tap.ok(got == [2, 2, 0], "the export has both streams from their SYN, and no other", str(got))
    lab.tapedeck("recording", "delete", "errors")
    tap.ok(not os.path.exists(lab.path("store/recordings/errors")) and state(lab, "errors") == "done", "deleted: its folder is gone")
    for name in ("errors", "all", "evening"):
        lab.tapedeck("job", "delete", name)
    tap.ok(not jobs(lab) and not os.listdir(lab.path("store/recordings")), "and so are the jobs and what they left")
    lab.tapedeck("job", "create", "short", "--kfl", "http", "--duration", "1s", "--expiration", "2s")
    folder = lab.path("store/recordings/short")
    tap.ok(os.path.exists(folder), "a short one has its folder")
    wait_for(lambda: state(lab, "short") == "expired", WAIT_S, "expiry")
    tap.ok(not os.path.exists(folder), "expiry removes it")


def drop(lab, name, text):
    """As a person's editor does: written beside, then renamed."""
    path = lab.path(f"store/jobs/{name}")
    with open(path + ".tmp", "w", encoding="utf-8") as out:
        out.write(text)
    os.rename(path + ".tmp", path)


def by_files(tap, lab, conf, daemon):
    drop(lab, "web.conf", 'kfl = "http"; # all of it\nexpiration = 5;\n')
    wait_for(lambda: state(lab, "web") == "recording", WAIT_S, "the job of the file")
    get(lab, 0, "/fail")
    wait_for_streams(lab, "web", 1)
    tap.ok(True, "a file dropped into the store is a job that records")
    drop(lab, "web.conf", 'kfl = "response.status == 200";\n')
    wait_for(lambda: jobs(lab)["web"]["kfl"] == "response.status == 200", WAIT_S, "the change")
    get(lab, 1, "/index.html")
    get(lab, 2, "/fail")
    wait_for_streams(lab, "web", 2)
    runs = lab.tapedeck_json("job", "show", "web")[0]["runs"]
    tap.ok([r["streams"] for r in runs] == [1, 1], "a changed file: a run of its own in the same recording", str(runs))
    drop(lab, "web.conf", 'kfl = "response.status ==";\n')
    drop(lab, "typo.conf", 'kfl = "http"; duraton = 5;\n')
    wait_for(lambda: jobs(lab)["web"]["refused"] and "typo" in jobs(lab), WAIT_S, "the refusals")
    rows = jobs(lab)
    tap.ok(rows["web"]["state"] == "recording" and "web.conf: the statement is refused: 1:19" in rows["web"]["refused"],
           "a change that is wrong is said, the job goes on", str(rows["web"]))
    tap.ok(rows["typo"]["state"] == "refused" and "typo.conf:1: duraton: unknown key: did you mean duration?" in rows["typo"]["reason"],
           "a new one that is wrong is listed with its reason", str(rows["typo"]))
    tap.ok("typo.conf:1" in lab.tapedeck("job", "list") and lab.log_of(daemon).count("duraton: unknown key") == 1,
           "for people, too, and once in the log")
    os.rename(lab.path("store/jobs/typo.conf"), lab.path("store/jobs/typo.conf.off"))
    drop(lab, "web.conf", 'kfl = "response.status == 200";\n')
    wait_for(lambda: "typo" not in jobs(lab) and not jobs(lab)["web"]["refused"], WAIT_S, "the mending")
    tap.ok(len(lab.tapedeck_json("job", "show", "web")[0]["runs"]) == 2, "mended: it went on all the while")
    tap.ok(lab.stop(daemon) == 0, "the recorder ends")
    drop(lab, "night.conf", 'kfl = "dns";\nstart = "2099-01-02T03:04:05Z";\n')
    daemon = lab.tapedeckd(conf)
    tap.ok(state(lab, "night") == "scheduled" and state(lab, "web") == "recording", "files are looked at when it starts",
           str(jobs(lab)))
    os.unlink(lab.path("store/jobs/web.conf"))
    wait_for(lambda: state(lab, "web") == "gone", WAIT_S, "the job to go")
    left = [json.loads(line) for line in lab.tapedeck("recording", "show", "web", "--json").splitlines()]
    tap.ok(left[0]["streams"] == 2 and left[0]["state"] == "stopped", "a removed file ends its job, the recording stays", str(left))
    lab.tapedeck("recording", "verify", "web")
    lab.tapedeck("job", "delete", "night")
    tap.ok(not os.path.exists(lab.path("store/jobs/night.conf")), "a job that is deleted takes its file along")
    return daemon


def main():
    tap, lab = Tap(), Lab()
    try:
        lab.nginx()
        conf = lab.write("tapedeck.conf", f"""
sources = ( {{ type = "af_xdp"; interface = "t1"; }} );
storage: {{ path = "{lab.path('store')}"; }};
lookback: {{ size = "32Mi"; }};
control: {{ socket = "{lab.path('control.sock')}"; }};
""")
        daemon = lab.tapedeckd(conf)
        walk(tap, lab)
        daemon = by_files(tap, lab, conf, daemon)
        tap.ok(lab.stop(daemon) == 0, "and it ends with status 0", lab.log_of(daemon)[-500:])
    except (RuntimeError, OSError) as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        lab.close()
    tap.done()


if __name__ == "__main__":
    main()
