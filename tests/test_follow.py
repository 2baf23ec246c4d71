#!/usr/bin/env python3
"""test_follow.py - `recording view --follow`: each entry once, as it comes, of one, several, all recordings.

A recorder on a pipe writes small segments, so the file that is followed is renamed again and again, and one
job loses its oldest; a job is created, another deleted and created again, the recorder restarted meanwhile."""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from feed import PORT, Feed, Recorder, folder_for
from live import TAPEDECK, Tap, wait_for

STORAGE = 'storage: { path = "STORE"; flush = "20ms"; segment_size = "1Mi"; chunk_size = "64Ki"; free_min = "0"; };'


class Follower:
    """a `recording view --follow --json` that runs; what it says goes to a file"""

    def __init__(self, recorder, name, *arguments):
        self.path = os.path.join(recorder.folder, name)
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen([TAPEDECK, "--socket", recorder.socket, "recording", "view", "--follow", "--json",
                                             *arguments], stdout=out, stderr=out)

    def rows(self):
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file.read().split("\n")[:-1]]

    def count(self, record):
        return sum(row["record"] == record for row in self.rows())

    def until(self, record, n):
        wait_for(lambda: self.count(record) >= n, 60, f"{n} entries of {record} in {os.path.basename(self.path)}")

    def each_once(self):
        seen = [(row["record"], row["id"]) for row in self.rows()]
        return len(seen) == len(set(seen))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def create(recorder, name, port, *arguments):
    recorder.ask("job", "create", name, "--kfl", f"tcp and dst.port == {PORT + port}", "--duration", "1d", *arguments)


def entries(recorder, name):
    return recorder.job(name)["entries"]


def followed(tap, recorder, feed, followers):
    create(recorder, "a", 0)
    create(recorder, "b", 1, "--quota", "4Mi", "--on-quota", "rotate")
    feed.paused = False
    recorder.until("a", entries=lambda n: n >= 30)
    one = Follower(recorder, "one", "a")
    several = Follower(recorder, "several", "a", "b")
    everything = Follower(recorder, "everything")
    narrowed = Follower(recorder, "narrowed", "a", "b", "--kfl", 'record("b")')
    followers += [one, several, everything, narrowed]
    recorder.until("a", entries=lambda n: n >= 100)
    create(recorder, "c", 2)  # it is new to who follows all
    everything.until("c", 50)
    recorder.ask("job", "delete", "c")
    create(recorder, "c", 2)
    before = everything.count("c")
    everything.until("c", before + 20)
    feed.paused = True
    recorder.stop()
    feed.cut()
    recorder.start()
    feed.paused = False
    reached = entries(recorder, "a")
    recorder.until("a", entries=lambda n: n >= reached + 100)
    feed.paused = True
    for name in ("a", "b"):
        recorder.ask("job", "stop", name)
    ended = [one.process.wait(30), several.process.wait(30), narrowed.process.wait(30)]
    tap.ok(ended == [0, 0, 0] and everything.process.poll() is None, "it ends when what it follows is over, and only then", str(ended))
    n = entries(recorder, "a")
    wanted = {row["id"] for row in map(json.loads, recorder.ask("recording", "view", "a", "--json").splitlines())}
    tap.ok(len(wanted) == n and len(recorder.segments("a")) > 3, "the segments were many", f"{len(wanted)} of {n}")
    tap.ok({row["id"] for row in one.rows()} == wanted and one.each_once(), "of one recording each entry came once, also those of before",
           f"{len(one.rows())}, want {n}")
    tap.ok({row["id"] for row in several.rows() if row["record"] == "a"} == wanted and several.each_once(), "of several, too")
    # What was deleted before the later one began is missing there.
    got, want = [row["id"] for row in narrowed.rows()], [row["id"] for row in several.rows() if row["record"] == "b"]
    tap.ok(len(got) > 100 and got == want[want.index(got[0]):], "a statement narrows it, by recording, too", f"{len(got)} and {len(want)}")
    everything.until("a", 150)
    tap.ok(everything.each_once() and everything.count("a") < n and {r["record"] for r in everything.rows()} == {"a", "b", "c"},
           "without a name: all jobs, from when it began, also new ones", f"{everything.count('a')} of {n}")
    recorder.ask("recording", "delete", "a")
    recorder.until("b", state="stopped")
    tap.ok(everything.process.poll() is None, "a recording that is deleted does not end it")
    everything.stop()
    done = subprocess.run([TAPEDECK, "--socket", recorder.socket, "recording", "view"], stderr=subprocess.PIPE)
    tap.ok(done.returncode == 2 and b"--follow" in done.stderr, "a view of nothing is refused with the way out", done.stderr.decode())


def main():
    tap, folder = Tap(), folder_for("follow")
    feed = Feed(f"{folder}/pipe", 3, 8000)
    recorder, followers = Recorder(f"{folder}/store", folder, STORAGE), []
    try:
        recorder.start()
        followed(tap, recorder, feed, followers)
        tap.ok(recorder.stop() == 0, "it ends with status 0", recorder.log_text()[-500:])
    except (RuntimeError, subprocess.TimeoutExpired) as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        feed.end()
        for follower in followers:
            follower.stop()
        if recorder.process and recorder.process.poll() is None:
            recorder.stop(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    tap.done()


if __name__ == "__main__":
    main()
