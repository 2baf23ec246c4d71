#!/usr/bin/env python3
"""test_kfl_plan_twin.py [CASES] [SEED] - generated statements about generated entries: what the compiled plan answers,
in every way of running it, is what kfl1.py, the measure of the language, says: a hundred thousand, a million with
TAPEDECK_LONG, on all cores. The seed is printed. Skipped where ../shared is not there. TAP."""
import concurrent.futures
import json
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.environ.get("SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
TWIN = os.path.join(SHARED, "kfl", "kfl1.py")
GENERATED = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "tests", "test_kfl_plan_random")
ROUND = 10000                                   # cases at a time: their lines wait on the disk


def differences(cases, seed, folder):
    """-> the number of lines, and those that kfl1.py answers in another way."""
    path = os.path.join(folder, str(seed))
    environment = {**os.environ, "KFL_RANDOM_CASES": str(cases), "KFL_RANDOM_SEED": str(seed), "KFL_RANDOM_LINES": path}
    subprocess.run([GENERATED], env=environment, stdout=subprocess.PIPE, check=True)
    with open(path, "rb") as file:
        run = subprocess.run([sys.executable, TWIN, "eval"], stdin=file, stdout=subprocess.PIPE, check=True)
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")[:-1]
    os.remove(path)
    answers = run.stdout.split(b"\n")[:-1]
    assert len(lines) == len(answers)
    pairs = [(json.loads(line), json.loads(answer)) for line, answer in zip(lines, answers)]
    return len(pairs), [(line, answer) for line, answer in pairs if line["truth"] != answer["truth"]]


def main():
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000 if os.environ.get("TAPEDECK_LONG") else 100000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    name = "the plan answers what kfl1.py answers"
    if not os.path.exists(TWIN):
        print(f"ok 1 - {name} # SKIP shared/kfl/kfl1.py is not there\n1..1")
        return 0
    done, wrong = 0, []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for n, differ in pool.map(lambda first: differences(min(ROUND, cases - first), seed + first, folder),
                                  range(0, cases, ROUND)):
            done += n
            wrong += differ
    for line, answer in wrong[:10]:
        print(f"# {line['query']}: plan {line['truth']}, kfl1.py {answer}")
    print(f"# {done} cases, seed {seed}, {len(wrong)} differ")
    print(f"{'not ok' if wrong else 'ok'} 1 - {name}\n1..1")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
