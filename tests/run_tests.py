#!/usr/bin/env python3
"""run_tests.py [-v] [NAME...] - runs every test of the builds and adds up.

The tests are those registered with meson (tests/meson.build); each prints TAP. Suites say where a
test runs beside the release build: `asan`, `tsan`: also in that build; `fuzz`: in the clang build
only; `live`: alone, because it makes namespaces and measures traffic. NAME picks tests whose name
contains it. The last line is `N passed, N failed, N skipped`; every skip is listed with its reason.
"""
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILDS = {"": "build", "asan": "build-asan", "tsan": "build-tsan", "fuzz": "build-fuzz"}
# A sanitizer's report ends the program with a status of its own, so a test cannot miss it.
ENVIRONMENT = {
    "asan": {"ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1:allocator_may_return_null=1",
             "LSAN_OPTIONS": "suppressions=" + os.path.join(ROOT, "tests/lsan.supp") + ":print_suppressions=0",
             "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99"},
    "tsan": {"TSAN_OPTIONS": "exitcode=99:halt_on_error=0:suppressions="
                             + os.path.join(ROOT, "tests/tsan.supp")},
    "fuzz": {"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"},
}


def tests_of(build):
    """-> the tests registered in a build folder"""
    out = subprocess.run(["meson", "introspect", "--tests", os.path.join(ROOT, BUILDS[build])],
                         stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


def chosen():
    """-> [(label, build, test)] of all that is to run"""
    found = []
    for build in BUILDS:
        if not os.path.isdir(os.path.join(ROOT, BUILDS[build])):
            continue
        for test in tests_of(build):
            suites = {s.split(":")[-1] for s in test["suite"]}
            if ("fuzz" in suites) != (build == "fuzz") or build in ("asan", "tsan") and build not in suites:
                continue
            label = f"{test['name']} ({build})" if build in ("asan", "tsan") else test["name"]
            found.append((label, build, test, "live" in suites))
    return found


def run(label, build, test):
    """-> (passed, [failures], [skips], output, seconds)"""
    environment = {**os.environ, **test["env"], "BUILD": os.path.join(ROOT, BUILDS[build]), "SOURCE": ROOT}
    environment.update(ENVIRONMENT.get(build, {}))
    # meson names programs of its own build relative to it.
    folder = os.path.join(ROOT, BUILDS[build])
    command = [os.path.join(folder, c) if not os.path.isabs(c) and os.path.exists(os.path.join(folder, c)) else c
               for c in test["cmd"]]
    limit = test["timeout"] * (10 if os.environ.get("TAPEDECK_LONG") else 1)
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env=environment, cwd=test["workdir"] or ROOT,
                               start_new_session=True)
    late = False
    try:
        out, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        late = True
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
    out = out.decode("utf-8", "replace")
    passed, failures, skips = 0, [], []
    for line in out.splitlines():
        m = re.match(r"(not )?ok\b\s*\d*\s*-?\s*(.*)", line)
        if not m:
            continue
        skip = re.search(r"#\s*SKIP\b\s*(.*)", m[2], re.I)
        if skip:
            skips.append(f"{label}: {m[2][:skip.start()].strip()}: {skip[1] or 'no reason given'}")
        elif m[1]:
            failures.append(f"{label}: {m[2]}")
        else:
            passed += 1
    if late:
        failures.append(f"{label}: no end after {limit} s")
    elif process.returncode and not failures:
        failures.append(f"{label}: ended with status {process.returncode}")
    elif not re.search(r"^1\.\.\d+", out, re.M):
        failures.append(f"{label}: ended before its plan (1..N)")
    return passed, failures, skips, out, time.monotonic() - started


def main():
    verbose = "-v" in sys.argv[1:]
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    todo = [t for t in chosen() if not wanted or any(w in t[0] for w in wanted)]
    alone = [t for t in todo if t[3]]
    passed, failures, skips = 0, [], []

    def report(label, result):
        nonlocal passed
        ok, bad, skipped, out, seconds = result
        passed += ok
        failures.extend(bad)
        skips.extend(skipped)
        print(f"{'FAIL' if bad else 'ok  '} {label}: {ok} passed, {len(bad)} failed, "
              f"{len(skipped)} skipped, {seconds:.1f} s", flush=True)
        if bad or verbose:
            print("".join(f"    | {line}\n" for line in out.splitlines()[-80:]), end="", flush=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        jobs = {pool.submit(run, *t[:3]): t[0] for t in todo if not t[3]}
        for job in concurrent.futures.as_completed(jobs):
            report(jobs[job], job.result())
    for t in alone:
        report(t[0], run(*t[:3]))

    for skip in skips:
        print(f"skipped: {skip}")
    for failure in failures:
        print(f"failed: {failure}")
    print(f"{passed} passed, {len(failures)} failed, {len(skips)} skipped")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
