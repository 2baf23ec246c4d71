#!/usr/bin/env python3
"""live_disks.py - tapedeckd on disks that are full, over quota, removed, read-only or broken.

Each case has a file system of its own, a recorder on a pipe, and jobs; each time the jobs that need the
disk fail with the reason, what was written is whole, and with on_error = "retry" they go on when the
disk takes it again, with the gap as a fact in recording.json.
"""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from feed import PORT, Feed, Recorder, complaints, folder_for, numbers_in
from live import Tap, run, wait_for

STORAGE = 'storage: { path = "STORE"; flush = "50ms"; segment_size = "4Mi"; chunk_size = "64Ki"; chunk_memory = "8Mi"; free_min = "0"; %s };'


class Missing(Exception):
    """this machine has no such file system"""


class Case:
    def __init__(self, make=None, size=None, n_jobs=1, rate=8000, more=""):
        """make: a mkfs command for an image of that size; "tmpfs"; none: the folder itself"""
        self.folder = folder_for("disks")
        self.disk, self.recorder, self.feed = f"{self.folder}/disk", None, None
        os.mkdir(self.disk)
        try:
            if make == "tmpfs":
                run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.disk)
            elif make:
                run("truncate", "-s", size, f"{self.folder}/image")
                run(*make.split(), f"{self.folder}/image")
                run("mount", "-o", "loop", f"{self.folder}/image", self.disk)
        except (RuntimeError, FileNotFoundError) as why:
            self.close()
            raise Missing(str(why)) from None
        self.feed = Feed(f"{self.folder}/pipe", n_jobs, rate)
        self.recorder = Recorder(f"{self.disk}/store", self.folder, STORAGE % more)

    def begin(self, names, *arguments):
        self.recorder.start()
        for n, name in enumerate(names):
            self.recorder.ask("job", "create", name, "--kfl", f"tcp and dst.port == {PORT + n}", "--duration", "1d", *arguments)

    def close(self):
        if self.feed:
            self.feed.end()
        if self.recorder and self.recorder.process and self.recorder.process.poll() is None:
            self.recorder.stop()
        run("umount", "-l", f"{self.disk}/store/recordings", check=False)
        run("umount", "-l", self.disk, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def whole(self, *names):
        """-> what is wrong with the recordings; "" is well"""
        said = ""
        for name in names:
            paths = self.recorder.segments(name)
            numbers = [n for path in paths for n in numbers_in(path)]
            said += "" if len(set(numbers)) == len(numbers) else f"{name}: a packet is there twice; "
            said += complaints(paths[:1] + paths[-1:]) if paths else f"{name}: nothing is there; "
            row = self.recorder.recording(name)
            said += "" if row["written"] == len(numbers) else f"{name}: {row['written']} written, {len(numbers)} there; "
        return said

    def settled(self, name):
        return self.recorder.until(name, ending=False)


def a_full_disk(tap, name, make, size):
    """three jobs; all fail, or some; space returns and they go on in the same run"""
    case = Case(make, size, 3, 12000)
    names, recorder = ["one", "two", "three"], case.recorder
    try:
        with open(f"{case.disk}/ballast", "wb") as file:
            file.write(bytes(16 << 20))
        case.begin(names, "--on-error", "retry")
        case.feed.paused = False
        row = recorder.until("one", state="failed")
        tap.ok("No space left" in row["reason"], f"{name}: a job fails with the reason", row["reason"])
        case.feed.paused = True
        os.unlink(f"{case.disk}/ballast")
        before = {n: recorder.until(n, 90, state="recording")["written"] for n in names}
        case.feed.paused = False
        for n in names:
            recorder.until(n, written=lambda w, n=n: w > before[n])
        case.feed.paused = True
        tap.ok(True, f"{name}: after space has returned all jobs record")
        gaps = recorder.recording("one")["runs"][-1]["gaps"]
        tap.ok(len(recorder.recording("one")["runs"]) == 1 and "No space left" in gaps[0]["why"] and gaps[0]["from"] < gaps[0]["to"],
               f"{name}: the gap is a fact in recording.json", str(gaps))
        for n in names:
            recorder.ask("job", "stop", n)
        wrong = case.whole(*names)
        tap.ok(not wrong, f"{name}: every segment is whole, counts are those on disk", wrong)
        recorder.ask("recording", "verify", *names)
        tap.ok(True, f"{name}: the recordings are verified")
    finally:
        case.close()


def fail_is_the_default(tap):
    case = Case("tmpfs", "24m", 2)
    recorder = case.recorder
    try:
        case.begin(["big", "idle"])
        case.recorder.ask("job", "stop", "idle")
        recorder.ask("job", "create", "other", "--kfl", "udp", "--duration", "1d")
        case.feed.paused = False
        row = recorder.until("big", state="failed", ending=False)
        tap.ok("No space left" in row["reason"] and row["retry"] is None, "without on_error a job that failed has ended", str(row["reason"]))
        tap.ok(recorder.job("other")["state"] == "recording", "a job that needs no space goes on")
        tap.ok(row["packets"] == row["written"] + row["drop_failed"], "what was lost is counted", str(row))
        tap.ok(not complaints(recorder.segments("big")), "what was written is readable")
    finally:
        case.close()


def a_quota_of_the_file_system(tap):
    case = Case("mkfs.btrfs -q", "256M")
    recorder = case.recorder
    try:
        try:
            run("btrfs", "subvolume", "create", recorder.store)
            run("btrfs", "quota", "enable", case.disk)
            run("btrfs", "qgroup", "limit", "24M", recorder.store)
            subvolume = run("btrfs", "inspect-internal", "rootid", recorder.store).strip()
        except (RuntimeError, FileNotFoundError) as why:
            raise Missing(str(why)) from None
        case.begin(["over"], "--on-error", "retry")
        case.feed.paused = False
        row = recorder.until("over", 90, state="failed")
        tap.ok("quota exceeded" in row["reason"].lower(), "EDQUOT: a job fails with the reason", row["reason"])
        case.feed.paused = True
        # Asked through the whole file system: one that is asked through what is over its quota may be refused.
        wait_for(lambda: subprocess.run(["btrfs", "qgroup", "limit", "none", f"0/{subvolume}", case.disk], stderr=subprocess.DEVNULL,
                                        check=False).returncode == 0, 30, "the quota to be lifted")
        before = recorder.until("over", 90, state="recording")["written"]
        case.feed.paused = False
        recorder.until("over", written=lambda w: w > before)
        tap.ok(True, "EDQUOT: it goes on when there is room again")
    finally:
        case.close()


def a_folder_that_vanishes(tap):
    case = Case(n_jobs=2)
    recorder = case.recorder
    try:
        case.begin(["gone", "stays"], "--on-error", "retry")
        case.feed.paused = False
        recorder.until("gone", written=lambda w: w > 1000)
        os.rename(f"{recorder.store}/recordings/gone", f"{case.folder}/away")
        shutil.rmtree(f"{case.folder}/away")
        row = recorder.until("gone", reason=lambda r: "No such file" in r)
        tap.ok(True, "a folder that vanishes: its job fails with the reason")
        tap.ok(recorder.job("stays")["state"] == "recording", "a folder that vanishes: the others go on")
        recorder.until("gone", 90, state="recording", written=lambda w: w > row["written"])
        wait_for(lambda: recorder.segments("gone"), 30, "segments")
        tap.ok(True, "a folder that vanishes: it is made again, and recording goes on")
    finally:
        case.close()


def read_only(tap):
    case = Case("mkfs.ext4 -q", "64M")
    recorder = case.recorder
    try:
        case.begin(["ro"], "--on-error", "retry")
        recordings = f"{recorder.store}/recordings"  # of the whole disk the kernel refuses it: files are open for writing
        run("mount", "--bind", recordings, recordings)
        run("mount", "-o", "remount,bind,ro", recordings)
        case.feed.paused = False
        row = recorder.until("ro", state="failed")
        tap.ok("Read-only file system" in row["reason"], "a read-only remount: the job fails with the reason", row["reason"])
        run("mount", "-o", "remount,bind,rw", recordings)
        recorder.until("ro", 90, state="recording", written=lambda w: w > 0)
        tap.ok(True, "a read-only remount: it goes on when it is undone")
        case.feed.paused = True
        recorder.ask("job", "stop", "ro")
        wrong = case.whole("ro")
        tap.ok(not wrong, "a read-only remount: what was written is whole", wrong)
    finally:
        case.close()


def main():
    tap = Tap()
    cases = [("ext4", lambda: a_full_disk(tap, "ext4", "mkfs.ext4 -q -m 0", "64M")),
             ("the default", lambda: fail_is_the_default(tap)),
             ("EDQUOT", lambda: a_quota_of_the_file_system(tap)),
             ("a folder that vanishes", lambda: a_folder_that_vanishes(tap)),
             ("a read-only remount", lambda: read_only(tap))]
    slow = [("tmpfs", lambda: a_full_disk(tap, "tmpfs", "tmpfs", "48m")),
            ("xfs", lambda: a_full_disk(tap, "xfs", "mkfs.xfs -q", "320M")),
            ("btrfs", lambda: a_full_disk(tap, "btrfs", "mkfs.btrfs -q", "160M"))]
    if os.environ.get("TAPEDECK_LONG") or sys.argv[1:]:
        cases += slow
    for name, case in cases:
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        try:
            begin = time.time()
            case()
            tap.note(f"{name}: {time.time() - begin:.0f} s")
        except Missing as why:
            tap.skip(name, str(why)[:100])
        except RuntimeError as why:
            tap.ok(False, f"{name}: it runs to its end", str(why))
    tap.done()


if __name__ == "__main__":
    main()
