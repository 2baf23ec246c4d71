#!/usr/bin/env python3
"""test_appliance.py - what is installed beside the programs: layout, unit, manual, completion, scripts."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import BUILD, TAPEDECK, Tap

ROOT = os.environ.get("SOURCE", os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXPOSURE_MAX = 2.5
PAGES = ("tapedeck.1", "tapedeck.conf.5", "kfl.7", "tapedeckd.8")


def run(*command, **options):
    """-> exit status, all it printed"""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def lacks(tap, what, *tools):
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        tap.skip(what, f"{missing[0]} is not installed")
    return missing


def installs(tap, folder):
    root = os.path.join(folder, "root")
    command = ["meson", "install", "--no-rebuild", "-C", BUILD]
    environment = {**os.environ, "DESTDIR": root}
    status, out = run(*command, env=environment)
    files = {os.path.relpath(os.path.join(where, f), root) for where, _, names in os.walk(root) for f in names}
    wanted = ["bin/tapedeck", "sbin/tapedeckd", "tapedeckd.service", "sysusers.d/tapedeck.conf", "tmpfiles.d/tapedeck.conf",
              "tapedeck/tapedeck.conf", "bash-completion/completions/tapedeck", *PAGES]
    missing = [w for w in wanted if not any(f.endswith(w) for f in files)]
    tap.ok(status == 0 and not missing, "all is installed", f"{missing} {out[-500:]}")
    conf = next(os.path.join(root, f) for f in files if f.endswith("tapedeck/tapedeck.conf") and "etc" in f)
    with open(conf, "a") as file:
        file.write("# mine\n")
    run(*command, env=environment)
    with open(conf) as file:
        tap.ok(file.read().endswith("# mine\n"), "a configuration that is there stays")
    status, out = run(os.path.join(BUILD, "mgmt", "tapedeckd"), "-c", conf, "--check")
    tap.ok(status == 0, "the installed configuration is one", out)


def unit(tap, folder):
    if lacks(tap, "the unit", "systemd-analyze"):
        return
    with open(os.path.join(BUILD, "appliance", "tapedeckd.service")) as file:
        text = file.read()
    path = os.path.join(folder, "tapedeckd.service")
    with open(path, "w") as file: # nothing needs to be installed for this
        file.write(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M))
    status, out = run("systemd-analyze", "verify", "--man=no", path)
    mine = [line for line in out.splitlines() if "tapedeck" in line]
    tap.ok(status == 0 and not mine, "systemd-analyze verify is silent", out[-800:])
    status, out = run("systemd-analyze", "security", "--offline=yes", "--no-pager", path)
    found = re.search(r"exposure level for \S+ ([0-9.]+)", out)
    tap.ok(found and float(found[1]) <= EXPOSURE_MAX, f"systemd-analyze security: at most {EXPOSURE_MAX}",
           found[0] if found else out[-300:])
    tap.note(found[0] if found else "")


def manual(tap):
    if lacks(tap, "manual pages", "man", "groff", "mandoc"):
        return
    for page in PAGES:
        path = os.path.join(BUILD, "manual", page)
        with open(os.devnull, "w") as null:
            done = subprocess.run(["man", "--warnings", "-l", path], stdout=null, stderr=subprocess.PIPE, check=False,
                                  env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
        _, lint = run("mandoc", "-T", "lint", "-W", "warning", path)
        tap.ok(done.returncode == 0 and not done.stderr and not lint, f"{page} has no warnings",
               done.stderr.decode()[-300:] + lint[-300:])
    with open(os.path.join(BUILD, "manual", "tapedeck.1")) as file:
        page = file.read()
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", run(TAPEDECK, "--help")[1], re.M)
    missing = [c for c in commands if f'.SS "tapedeck {c}' not in page]
    tap.ok(len(commands) > 15 and not missing, "every command is in the manual", str(missing))


def complete(words):
    """-> what completion offers for the last of the words"""
    script = f"""source '{BUILD}/manual/tapedeck'
COMP_WORDS=({' '.join(f"'{w}'" for w in words)}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_tapedeck; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return run("bash", "-c", script, cwd=ROOT)[1].split()


def completion(tap):
    rows = [(["tapedeck", "rec"], {"recording"}), (["tapedeck", "job", "cr"], {"create"}),
            (["tapedeck", "job", "create", "x", "--on-q"], {"--on-quota"}),
            (["tapedeck", "job", "create", "x", "--on-quota", ""], {"stop", "rotate"}),
            (["tapedeck", "read", "--na"], {"--names"}), (["tapedeck", "read", "--names", "mes"], {"meson.build", "meson_options.txt"}),
            (["tapedeck", "--socket", "/x", "job", "li"], {"list"}), (["tapedeck", "kfl", "che"], {"check"})]
    for words, wanted in rows:
        got = set(complete(words))
        tap.ok(got == wanted, f"completion of '{' '.join(words)}'", str(got))


def scripts(tap):
    if lacks(tap, "shell scripts", "shellcheck", "git"):
        return
    found = []
    _, listed = run("git", "-C", ROOT, "-c", "safe.directory=*", "ls-files", "-z")
    for name in listed.split("\0"):
        path = os.path.join(ROOT, name)
        if name and os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                if re.match(rb"#! ?/(usr/)?bin/(env )?(ba)?sh\b", file.readline()):
                    found.append(path)
    found.append(os.path.join(BUILD, "manual", "tapedeck"))
    status, out = run("shellcheck", *found)
    tap.ok(status == 0 and len(found) > 3, f"shellcheck is silent about {len(found)} scripts", out[-1500:])


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        installs(tap, folder)
        unit(tap, folder)
        manual(tap)
        completion(tap)
        scripts(tap)
    tap.done()


if __name__ == "__main__":
    main()
