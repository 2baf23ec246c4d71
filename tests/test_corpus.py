#!/usr/bin/env python3
"""test_corpus.py - every capture of the corpus, also the malformed ones, through `tapedeck read`: an
answer in bounded time and memory, status 0 or 1, and no sanitizer report. Then the same with bytes
cut off and flipped (sampled; more with --long)."""
import concurrent.futures
import glob
import os
import random
import resource
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
CORPUS = os.path.join(SOURCE, "..", "shared", "corpus", "open")
TAPEDECK = os.path.join(os.environ.get("BUILD", os.path.join(SOURCE, "build")), "mgmt", "tapedeck")
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
DAMAGED = 4000 if os.environ.get("TAPEDECK_LONG") else 150
SECONDS, MEMORY = 60, 3 << 30


def limits():
    # Address space cannot be bounded under ASan (it reserves terabytes): there RSS is watched.
    if "asan" not in TAPEDECK:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def read(path):
    """-> what is wrong, or None. Every entry is asked for, so every dissector shows all it knows."""
    try:
        done = subprocess.run([TAPEDECK, "read", "--json", "--entries", "--summary", path], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, preexec_fn=limits)
    except subprocess.TimeoutExpired:
        return f"no end after {SECONDS} s"
    errors = done.stderr.decode("utf-8", "replace")
    if done.returncode not in (0, 1) or "Sanitizer" in errors or "runtime error" in errors:
        return f"status {done.returncode}: {errors[-1500:]}"
    if b'"summary"' not in done.stdout:
        return f"no summary: {errors[-300:]}"
    return None


def damaged(path, randomness, folder):
    """-> a copy with some bytes flipped, or cut short"""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    if randomness.random() < 0.4 and len(data) > 1:
        del data[randomness.randrange(1, len(data)):]
    for _ in range(randomness.choice((0, 1, 3, 20, 200)) if data else 0):
        at = randomness.randrange(len(data))
        data[at] = randomness.choice((data[at] ^ 1 << randomness.randrange(8), 0, 0xff, randomness.randrange(256)))
    handle, copy = tempfile.mkstemp(dir=folder, suffix=os.path.basename(path))
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    return copy


def main():
    captures = sorted(p for p in glob.glob(os.path.join(CORPUS, "*", "*")) if not p.endswith(".tsv"))
    if not captures:
        print("ok 1 - every capture is read # SKIP ../shared is not there\n1..1")
        return
    randomness = random.Random(SEED)
    print(f"# seed {SEED}")
    failed = False
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [(p, w) for p, w in zip(captures, pool.map(read, captures)) if w]
        for path, why in wrong[:20]:
            print(f"# {path}: " + why.replace("\n", "\n# "))
        print(f"{'not ok' if wrong else 'ok'} 1 - {len(captures)} captures are read")
        failed |= bool(wrong)
        bad = []

        def one(numbered):
            number, path = numbered
            copy = damaged(path, random.Random(f"{SEED} {number}"), folder)
            why = read(copy)
            if why:
                keep = os.path.join(tempfile.gettempdir(), "damaged-" + os.path.basename(copy))
                os.replace(copy, keep)
                return f"{keep}: {why}"
            os.remove(copy)
            return None
        small = [p for p in captures if os.path.getsize(p) < 300000]
        for why in pool.map(one, enumerate(randomness.choices(small, k=DAMAGED))):
            if why:
                bad.append(why)
        for why in bad[:20]:
            print("# " + why.replace("\n", "\n# "))
        print(f"{'not ok' if bad else 'ok'} 2 - {DAMAGED} damaged captures are read")
        failed |= bool(bad)
    print("1..2")
    sys.exit(failed)


if __name__ == "__main__":
    main()
