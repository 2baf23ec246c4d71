"""feed.py - a recorder on a pipe, fed with packets that carry numbers.

    Feed --pcap--> FIFO --> tapedeckd (a file source) --> recordings

Each job has a TCP port of its own; the packets of a port are numbered (in their MAC addresses) from 0 on,
whatever happens to the recorder meanwhile. So what must be on disk is known: for each life of the
recorder the numbers from the first one it was given on, without a hole, each once.
"""
import glob
import json
import os
import re
import select
import signal
import struct
import subprocess
import tempfile
import threading
import time

from live import TAPEDECK, TAPEDECKD, run, wait_for

STREAM_PACKETS = 50  # SYN first, FIN last; then another client port
FRAME_SIZE = 1000
PAYLOAD = FRAME_SIZE - 54
PORT = 9000


def frames_of(port):
    """-> the frames of a stream, client port and number to be filled in"""
    frames = []
    for n in range(STREAM_PACKETS):
        data = 0 if n == 0 else PAYLOAD
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + data, 0, 0, 64, 6, 0, bytes([10, 1, 0, 1]), bytes([10, 1, 0, 2]))
        flags = 0x02 if n == 0 else 0x11 if n == STREAM_PACKETS - 1 else 0x10
        tcp = struct.pack("!HHIIBBHHH", 0, port, n and 1 + (n - 1) * PAYLOAD, 0, 0x50, flags, 65535, 0, 0)
        frames.append((bytes(12) + b"\x08\x00" + ip + tcp).ljust(FRAME_SIZE, b"."))
    return frames


class Feed:
    """Writes to the FIFO from a thread of its own; waits where there is no reader. Begins paused."""

    def __init__(self, path, n_ports, rate):
        self.path, self.rate = path, rate  # rate: packets a second of all ports, 0: as fast as they are taken
        os.mkfifo(path)
        self.next = [0] * n_ports
        self.first = [0] * n_ports  # given to the reader there is now
        self.ended, self.paused, self.cutting = False, True, False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def end(self):
        self.ended = True
        self.thread.join(10)

    def cut(self):
        """the reader is gone: the next one gets a file of its own, from its header on"""
        self.cutting = True
        wait_for(lambda: not self.cutting, 20, "the feed to notice")

    def work(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        while not self.ended:
            self.cutting = False
            try:
                pipe = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads
                time.sleep(0.01)
                continue
            try:
                self.next = [-(-n // STREAM_PACKETS) * STREAM_PACKETS for n in self.next]  # a stream begins
                self.first = list(self.next)
                self.write(pipe, struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 262144, 1))
                self.send(pipe)
            except OSError:  # it was killed
                pass
            finally:
                os.close(pipe)

    def send(self, pipe):
        frames = [frames_of(PORT + p) for p in range(len(self.next))]
        while not self.ended and not self.cutting:
            begin = time.time()
            block, now = bytearray(), time.time_ns()
            numbers = list(self.next)
            for i in range(0 if self.paused else 64 * len(frames)):
                port = i % len(frames)
                stream, n = divmod(numbers[port], STREAM_PACKETS)
                data = bytearray(frames[port][n])
                struct.pack_into("!Q", data, 0, numbers[port])
                struct.pack_into("!H", data, 34, 20000 + stream % 40000)
                block += struct.pack("<IIII", now // 10**9, now % 10**9 + i, FRAME_SIZE, FRAME_SIZE) + data
                numbers[port] += 1
            # What may have gone out counts as sent: no number is used twice.
            self.next = numbers
            self.write(pipe, block)
            if self.paused:
                time.sleep(0.02)
            elif self.rate:
                time.sleep(max(0, 64 * len(frames) / self.rate - (time.time() - begin)))

    def write(self, pipe, data):
        view = memoryview(data)
        while view:
            if not select.select([], [pipe], [], 0.1)[1]:
                if self.ended or self.cutting:
                    raise OSError
                continue
            try:
                view = view[os.write(pipe, view):]
            except BlockingIOError:
                pass


class Recorder:
    def __init__(self, store, folder, more=""):
        """folder: for everything but the store"""
        self.folder, self.store = folder, store
        self.socket = os.path.join(folder, "control.sock")
        self.conf = os.path.join(folder, "tapedeck.conf")
        self.log = os.path.join(folder, "log")
        self.process = None
        if "ASAN_OPTIONS" in os.environ:  # the leak check at the end makes calls that a recorder may not
            more += 'security: { seccomp = "off"; };'
        with open(self.conf, "w") as file:
            file.write(f"""
sources = ( {{ type = "file"; interface = "{folder}/pipe"; }} );
lookback: {{ size = "8Mi"; }};
streams: {{ max = 65536; memory = "16Mi"; timeout_tcp = "1s"; timeout_tcp_closed = "100ms"; }};
control: {{ socket = "{self.socket}"; }};
{more.replace('STORE', store)}
""")

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([TAPEDECKD, "-c", self.conf, "--foreground"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.process.poll() is not None or self.ask("stats", check=False), 60, "tapedeckd to answer")
        if self.process.poll() is not None:
            raise RuntimeError(f"tapedeckd ended with {self.process.returncode}: {self.log_text()[-2000:]}")

    def stop(self, how=signal.SIGTERM):
        """-> exit status"""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def log_text(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def ask(self, *arguments, check=True):
        return run(TAPEDECK, "--socket", self.socket, *arguments, check=check)

    def job(self, name):
        return json.loads(self.ask("job", "show", name, "--json"))

    def until(self, name, seconds=60, **members):
        """waits until the job has these members: values, or functions of the value"""
        def holds():
            row = self.job(name)
            return row if all(v(row[k]) if callable(v) else row[k] == v for k, v in members.items()) else None
        try:
            return wait_for(holds, seconds, f"{name}: {list(members)}")
        except RuntimeError as why:
            raise RuntimeError(f"{why}; it is {self.job(name)}; {self.log_text()[-1000:]}") from None

    def recording(self, name):
        with open(f"{self.store}/recordings/{name}/recording.json") as file:
            return json.load(file)

    def segments(self, name, first=0, end=1 << 32):
        """-> paths of the segments with numbers first <= n < end, in order"""
        found = [(int(re.search(r"-(\d+)\.pcapng$", path).group(1)), path)
                 for path in glob.glob(f"{self.store}/recordings/{name}/*.pcapng")]
        return [path for number, path in sorted(found) if first <= number < end]


def numbers_in(path):
    """-> the packets' numbers in the order of the file; every block is whole"""
    with open(path, "rb") as file:
        data = file.read()
    at, numbers = 0, []
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if size < 12 or size % 4 or at + size > len(data) or struct.unpack_from("<I", data, at + size - 4)[0] != size:
            raise RuntimeError(f"{path}: a broken block at {at}")
        if kind == 6:
            numbers.append(struct.unpack_from("!Q", data, at + 28)[0])
        at += size
    return numbers


def complaints(paths, tshark=True):
    """-> what capinfos and tshark say of the files besides their answer; "" is well. tshark takes its
    time, capinfos does not"""
    said = ""
    for command in [["capinfos", "-T", "-M", "-c", *paths]] + [["tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.number"]
                                                               for path in paths if tshark]:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        text = "\n".join(line for line in done.stderr.decode("utf-8", "replace").splitlines() if "Running as user" not in line)
        if done.returncode or text.strip():
            said += f"{command[0]} {command[-1]}: {done.returncode} {text}\n"
    return said


def folder_for(prefix):
    folder = tempfile.mkdtemp(prefix=f"tapedeck-{prefix}-", dir="/tmp")
    os.chmod(folder, 0o755)  # the recorder gives up root's rights
    return folder
