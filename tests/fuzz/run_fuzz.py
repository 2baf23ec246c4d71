#!/usr/bin/env python3
"""run_fuzz.py PROGRAM NAME - runs a libFuzzer target over its seeds and for a while on its own: 5 seconds, or
$FUZZ_SECONDS. What broke it is left in the current folder. TAP."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    program, name = sys.argv[1:]
    seconds = int(os.environ.get("FUZZ_SECONDS", "5"))
    with tempfile.TemporaryDirectory() as corpus:
        command = [program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096",
                   "-print_final_stats=1", f"-artifact_prefix={name}-", corpus]
        words, seeds = os.path.join(HERE, name + ".dict"), os.path.join(HERE, "seeds", name)
        if os.path.exists(words):
            command.append("-dict=" + words)
        if os.path.isdir(seeds):
            command.append(seeds)
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    lines = run.stdout.decode("utf-8", "replace").splitlines()
    shown = lines[-60:] if run.returncode else [x for x in lines if "number_of_executed_units" in x]
    print("".join(f"# {line}\n" for line in shown), end="")
    print(f"{'not ok' if run.returncode else 'ok'} 1 - {name} survives {seconds} s of fuzzing\n1..1")
    return run.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
