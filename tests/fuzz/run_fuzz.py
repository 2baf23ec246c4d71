#!/usr/bin/env python3
"""run_fuzz.py PROGRAM NAME [DISSECTOR] - runs a libFuzzer target over its seeds and for a while on its own: 5 seconds
(600 with TAPEDECK_LONG=1), or $FUZZ_SECONDS. DISSECTOR: all bytes go to this one. What broke it is left in the current
folder. TAP."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    program, name = sys.argv[1:3]
    label = "_".join(sys.argv[2:])
    environment = {**os.environ, **{"FUZZ_DISSECTOR": d for d in sys.argv[3:]}}
    seconds = int(os.environ.get("FUZZ_SECONDS") or (600 if os.environ.get("TAPEDECK_LONG") else 2 if sys.argv[3:] else 5))
    with tempfile.TemporaryDirectory() as corpus:
        command = [program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096",
                   "-print_final_stats=1", f"-artifact_prefix={label}-", corpus]
        words, seeds = os.path.join(HERE, name + ".dict"), os.path.join(HERE, "seeds", name)
        if os.path.exists(words):
            command.append("-dict=" + words)
        if os.path.isdir(seeds):
            command.append(seeds)
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                             env=environment)
    lines = run.stdout.decode("utf-8", "replace").splitlines()
    shown = lines[-60:] if run.returncode else [x for x in lines if "number_of_executed_units" in x]
    print("".join(f"# {line}\n" for line in shown), end="")
    print(f"{'not ok' if run.returncode else 'ok'} 1 - {label} survives {seconds} s of fuzzing\n1..1")
    return run.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
