#!/usr/bin/env python3
"""live_kill.py - kill -9 of tapedeckd at random moments under load, with jobs.

After each restart: every segment of the life that was killed is read by capinfos and tshark without a
complaint (tshark: of one job in turn, but for the long form); the numbers in it are those the recorder was given, from the first on without a hole, each
once, and at least as many as it had said were written; the counts in recording.json are those on
disk; the jobs record, and the gap is a fact in recording.json. 20 kills, or 300 with TAPEDECK_LONG.
"""
import os
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from feed import PORT, Feed, Recorder, complaints, folder_for, numbers_in
from live import Tap

LONG = bool(os.environ.get("TAPEDECK_LONG"))
KILLS = int(os.environ.get("KILLS") or (300 if LONG else 20))
JOBS = ["a", "b", "c"]  # c rotates


class Life:
    """what is known of one life of the recorder: numbers it was given first, written at least"""

    def __init__(self, feed):
        self.first, self.written = list(feed.first), [0] * len(JOBS)


def live(recorder, feed, dice):
    """lets it record for a while and kills it -> Life"""
    before = [recorder.recording(name)["runs"][-1].get("before", {}).get("written", 0) for name in JOBS]
    if dice.random() < 0.7:  # else it is killed while it begins
        recorder.until("a", written=lambda n: n > before[0])
    life = Life(feed)
    time.sleep(dice.random() * 0.5)
    for n, name in enumerate(JOBS):
        life.written[n] = recorder.job(name)["written"] - before[n]
    time.sleep(dice.random() * 0.05)
    recorder.stop(signal.SIGKILL)
    return life


def what_is_wrong(recorder, name, n, life, begin, tshark):
    """the segments of the life that was killed, those from number `begin` on -> (text, packets, next)"""
    run = recorder.recording(name)["runs"][-1]
    paths = recorder.segments(name, begin, run["segment"])
    numbers = [number for path in paths for number in numbers_in(path)]
    rotated = run["before"]["rotated"]
    wrong = complaints(paths, tshark) if paths else ""
    if len(set(numbers)) != len(numbers):
        wrong += "a packet is there twice; "
    if numbers and not rotated and (min(numbers) != life.first[n] or max(numbers) - min(numbers) + 1 != len(numbers)):
        wrong += f"not from {life.first[n]} on without a hole: {min(numbers)} to {max(numbers)}, {len(numbers)} packets; "
    if numbers and rotated and max(numbers) - min(numbers) + 1 != len(numbers):
        wrong += f"a hole in what was not rotated: {min(numbers)} to {max(numbers)}, {len(numbers)} packets; "
    if not rotated and len(numbers) < life.written[n]:
        wrong += f"{life.written[n]} were said to be written, {len(numbers)} are there; "
    return wrong, len(numbers), run["segment"]


def counts_disagree(recorder, name):
    """the counts of the lives before, in recording.json, and all segments of them"""
    run = recorder.recording(name)["runs"][-1]
    before = run["before"]
    there = sum(len(numbers_in(path)) for path in recorder.segments(name, 0, run["segment"]))
    wrong = ""
    if name != "c" and before["written"] - before["rotated"] != there:
        wrong += f"recording.json says {before['written']} written, {before['rotated']} deleted; {there} are there; "
    if before["packets"] != sum(before[k] for k in ("written", "drop_failed", "drop_quota", "drop_killed")):
        wrong += f"the sum does not hold: {before}; "
    return wrong


def main():
    tap, dice = Tap(), random.Random(7)
    folder = folder_for("kill")
    feed = Feed(f"{folder}/pipe", len(JOBS), 30000 if LONG else 12000)
    recorder = Recorder(f"{folder}/store", folder, """storage: { path = "STORE"; flush = "20ms"; chunk_size = "64Ki"; free_min = "0"; };""")
    wrong, packets, begin, gaps = [], 0, {name: 0 for name in JOBS}, 0
    try:
        recorder.start()
        for n, name in enumerate(JOBS):
            rotate = ["--quota", "16Mi", "--on-quota", "rotate"] if name == "c" else []
            recorder.ask("job", "create", name, "--kfl", f"tcp and dst.port == {PORT + n}", "--duration", "1d", *rotate)
        for kill in range(KILLS):
            feed.paused = False
            life = live(recorder, feed, dice)
            feed.paused = True  # what is looked at is to stay
            feed.cut()
            recorder.start()
            for n, name in enumerate(JOBS):
                text, there, begin[name] = what_is_wrong(recorder, name, n, life, begin[name], LONG or n == kill % len(JOBS))
                packets += there
                state = recorder.job(name)
                text += counts_disagree(recorder, name) if kill % 10 == 9 or kill < 3 else ""
                text += "" if state["state"] == "recording" else f"it is {state['state']}: {state['reason']}; "
                gaps = recorder.recording(name)["runs"][-1].get("n_gaps", 0)
                text += "" if gaps == kill + 1 else f"{gaps} gaps; "
                if text:
                    wrong.append(f"kill {kill}, job {name}: {text}")
            if wrong:
                break
            if kill % 10 == 9:  # what has been looked at would fill the disk in the end
                tap.note(f"{kill + 1} kills, {packets} packets looked at")
        tap.ok(not wrong, f"{KILLS} kills: every segment is whole, no packet lost, none twice, counts agree, jobs go on", "".join(wrong))
        gap = recorder.recording("a")["runs"][-1]["gaps"][-1]
        tap.ok(gap["from"] <= gap["to"] and gap["why"] == "the recorder was not running", "the gaps are facts in recording.json", str(gap))
        for name in JOBS:
            recorder.ask("job", "stop", name)
        recorder.ask("recording", "verify", *JOBS)
        tap.ok(True, "the recordings are verified")
        whole = recorder.recording("a")
        tap.ok(whole["written"] == sum(len(numbers_in(p)) for p in recorder.segments("a")), "the counts are those on disk at the end")
        tap.ok(recorder.stop() == 0, "and it ends with status 0", recorder.log_text()[-500:])
    except RuntimeError as why:
        tap.ok(False, "it runs to its end", str(why))
    finally:
        feed.end()
        if recorder.process and recorder.process.poll() is None:
            recorder.stop(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    tap.done()


if __name__ == "__main__":
    main()
