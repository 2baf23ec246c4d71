#!/usr/bin/env python3
"""test_terminal.py - the command as somebody at a terminal sees it: tables no wider than the window and whole all the
same, colours where there is a terminal that takes them and nobody has said NO_COLOR, --watch, progress, and what
it guesses was meant. And as a script sees it: none of that."""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import TAPEDECK, Tap, wait_for
from test_kube import packet
from test_metrics import Daemon

ESCAPES = re.compile(r"\033\[[0-9;]*[A-Za-z]")
NAME, STATEMENT = "a-job-whose-name-is-rather-long-for-a-table", 'response.status >= 400 and request.path.startsWith("/api/v1/things")'


class Terminal:
    """A program whose stdout and stderr are a terminal of so many columns."""

    def __init__(self, *command, columns=80, stdout=None, **environment):
        self.text, (reader, writer) = "", pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout or writer, stderr=writer,
                                        env={"TERM": "xterm", **environment})
        os.close(writer)
        self.thread = threading.Thread(target=self.read, args=(reader,), daemon=True)
        self.thread.start()

    def read(self, reader):
        try:
            while True:
                self.text += os.read(reader, 65536).decode("utf-8", "replace")
        except OSError: # the program has ended
            os.close(reader)

    def end(self, stop=False):
        """-> its exit status, all it wrote"""
        if stop:
            self.process.terminate()
        status = self.process.wait(30)
        self.thread.join(30)
        return status, self.text


def tables(tap, tapedeck):
    everything = tapedeck("job", "list").stdout + tapedeck("recording", "list").stdout
    tap.ok(NAME in everything and STATEMENT in everything and "\033" not in everything and "~" not in everything,
           "to a pipe: whole and without colours", everything)
    for columns in (40, 60, 80, 120, 200):
        wrong = []
        for command in (["job", "list"], ["recording", "list"], ["stats"], ["names", "show"], ["config", "show"]):
            status, text = Terminal(TAPEDECK, "--socket", tapedeck.socket, *command, columns=columns).end()
            lines = [ESCAPES.sub("", line) for line in text.replace("\r", "").split("\n")]
            wide = [line for line in lines if len(line) > columns and not line.startswith(("the sum", "refused"))]
            titles = tapedeck(*command).stdout.splitlines()[0].split()
            lost = [title for title in titles if title not in " ".join(lines)]
            if status or wide or lost or "\033[1m" not in text:
                wrong.append((command, status, wide, lost))
        tap.ok(not wrong, f"on {columns} columns: no line is wider, no column is missing", str(wrong)[:600])


def colours(tap, tapedeck):
    for name, environment, wanted in (("a terminal", {}, True), ("NO_COLOR=1", {"NO_COLOR": "1"}, False),
                                      ("NO_COLOR empty", {"NO_COLOR": ""}, True), ("TERM=dumb", {"TERM": "dumb"}, False)):
        _, text = Terminal(TAPEDECK, "--socket", tapedeck.socket, "job", "list", **environment).end()
        tap.ok(("\033" in text) == wanted and "all" in text, f"{name}: {'colours' if wanted else 'no colours'}", repr(text))


def watches(tap, tapedeck):
    for command in (["stats"], ["job", "list"], ["recording", "list"]):
        looker = Terminal(TAPEDECK, "--socket", tapedeck.socket, *command, "--watch")
        wait_for(lambda: looker.text.count("\033[H") >= 3, 20, "three looks")
        _, text = looker.end(stop=True)
        looks = text.split("\033[H\033[J")[1:]
        tap.ok(looks[0].count("all") == looks[1].count("all") > 0, f"{' '.join(command)} --watch looks again, in the same place")
    piped = subprocess.Popen([TAPEDECK, "--socket", tapedeck.socket, "job", "list", "--watch", "--json"], stdout=subprocess.PIPE)
    rows = [json.loads(piped.stdout.readline()) for _ in range(8)]
    piped.stdout.close()
    tap.ok(len({r["name"] for r in rows}) < len(rows), "to a pipe: one look after the other, as JSON")
    tap.ok(piped.wait(30) in (1, -signal.SIGPIPE), "which ends when nobody reads any more", str(piped.returncode))


def progress(tap, folder):
    capture, out = os.path.join(folder, "large.pcap"), os.path.join(folder, "out")
    with open(capture, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        file.write(b"".join(packet(i, "10.1.0.1", 1790000000) for i in range(1000)) * 60)
    for terminal in (True, False):
        if not os.path.exists(out):
            os.mkfifo(out)
        command = [TAPEDECK, "read", "--kfl", "udp", "-w", out, capture]
        with open(os.path.join(folder, "rows"), "wb") as rows:
            reading = Terminal(*command, stdout=rows) if terminal else subprocess.Popen(command, stdout=rows, stderr=subprocess.PIPE)
            with open(out, "rb") as slow: # so it takes a while
                while slow.read(1 << 17):
                    if terminal and "left" in reading.text:
                        continue
                    threading.Event().wait(0.02)
            if terminal:
                status, text = reading.end()
                tap.ok(status == 0 and re.search(r"\r\[=*>? *\] +\d+%  [\d.]+ \w+ of [\d.]+ MiB, [\d.]+ \w+/s, \w+ left", text),
                       "long work shows how far it is, on the terminal's stderr", repr(text[:300]))
                tap.ok(text.endswith("\r\033[K"), "and cleans up behind itself", repr(text[-80:]))
            else:
                text = reading.communicate(timeout=60)[1].decode()
                tap.ok(reading.returncode == 0 and text == "", "and nowhere else", repr(text[:300]))


def guesses(tap, tapedeck):
    for arguments, status, words in (
            (["jbo", "list"], 2, "did you mean 'tapedeck job list'"), (["recording", "lst"], 2, "did you mean 'tapedeck recording list'"),
            (["job", "create", "x", "--klf", "http"], 2, "did you mean --kfl?"), (["job", "show", "al"], 1, "did you mean 'all'"),
            (["recording", "verify", "alll"], 1, "did you mean 'all'"), (["job", "stop", NAME[:-1]], 1, f"did you mean '{NAME}'"),
            (["recording", "export", "al", "-o", "/dev/null"], 1, "did you mean 'all'"), (["recording", "delete", "lal"], 1, "did you mean 'all'")):
        done = tapedeck(*arguments)
        tap.ok(done.returncode == status and words in done.stderr, f"{' '.join(arguments[:2])}: {words}", f"{done.returncode} {done.stderr}")
    done = tapedeck("job", "create", "odd", "--kfl", "respons.status == 500", "--duration", "1s")
    tap.ok(done.returncode == 0 and "warning: 1:1" in done.stderr and "\n^" in done.stderr,
           "a statement that can never be true is created, with a warning and a caret", done.stderr)


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="tapedeck-terminal-") as folder:
        daemon = Daemon(folder, "")

        def tapedeck(*arguments):
            return subprocess.run([TAPEDECK, "--socket", daemon.socket, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, text=True, check=False, timeout=60)

        tapedeck.socket = daemon.socket
        tapedeck("job", "create", NAME, "--kfl", STATEMENT)
        wait_for(lambda: json.loads(tapedeck("job", "show", "all", "--json").stdout)["state"] == "recording", 20, "the job")
        tables(tap, tapedeck)
        colours(tap, tapedeck)
        watches(tap, tapedeck)
        progress(tap, folder)
        guesses(tap, tapedeck)
        tap.ok(daemon.stop() == 0, "the recorder ends")
    tap.done()


if __name__ == "__main__":
    main()
