#!/usr/bin/env python3
"""test_package.py - the Debian package: built, looked at by lintian, installed on a bare Debian, started as
its unit's user, removed without a trace. Minutes, so only in the long run.

The bare Debian is a copy of $TAPEDECK_BARE_ROOT, or made by debootstrap."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import Tap

ROOT = os.environ.get("SOURCE", os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Runs in the bare root; prints lines NAME=VALUE.
INSIDE = r"""
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt-get -qq update >/dev/null 2>&1
apt-get -qq install -y --no-install-recommends /tmp/tapedeck.deb >/tmp/install.log 2>&1; echo install=$?
echo user=$(getent passwd tapedeck | cut -d: -f1,6,7)
echo store=$(stat -c %a:%U:%G /var/lib/tapedeck)
tapedeckd --check >/dev/null; echo check=$?
tapedeckd --foreground >/tmp/daemon.log 2>&1 & pid=$!
for i in $(seq 100); do tapedeck stats >/dev/null 2>&1 && break; sleep 0.2; done
echo uid=$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' /proc/$pid/status)
echo wanted=$(id -u tapedeck)
echo seccomp=$(sed -n 's/^Seccomp:\t//p' /proc/$pid/status)
tapedeck doctor >/tmp/doctor.log 2>&1; grep -c . /tmp/doctor.log | sed 's/^/doctor=/'
tapedeck job create x --kfl http >/dev/null; echo job=$?
tapedeck job delete x; echo delete=$?
kill $pid; wait $pid; echo end=$?
echo warnings=$(grep -c warning /tmp/daemon.log)
apt-get -qq purge -y tapedeck >/tmp/purge.log 2>&1; echo purge=$?
echo left=$(find / -xdev -name '*tapedeck*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/tmp/*' | tr '\n' ' ')
"""


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def build(tap, folder):
    """-> path of the package"""
    source = os.path.join(folder, "tapedeck")
    os.makedirs(source)
    status, out = run("sh", "-c", f"git -C '{ROOT}' -c safe.directory='*' archive HEAD | tar -x -C '{source}'")
    status, out = run("dpkg-buildpackage", "-us", "-uc", "-b", cwd=source)
    packages = glob.glob(os.path.join(folder, "tapedeck_*.deb"))
    tap.ok(status == 0 and len(packages) == 1, "dpkg-buildpackage -us -uc -b", out[-1500:])
    status, out = run("lintian", "--allow-root", *glob.glob(os.path.join(folder, "*.changes")))
    tap.ok(status == 0 and not out.strip(), "lintian is silent", out[-1500:])
    return packages[0] if packages else None


def bare_root(folder):
    """-> a bare Debian, or why there is none"""
    root, pristine = os.path.join(folder, "root"), os.environ.get("TAPEDECK_BARE_ROOT")
    if pristine:
        status, out = run("cp", "-a", pristine, root)
    elif shutil.which("debootstrap"):
        status, out = run("debootstrap", "--variant=minbase", "bookworm", root)
    else:
        return None, "neither TAPEDECK_BARE_ROOT nor debootstrap"
    return (None, out[-300:]) if status else (root, "")


def inside(root):
    """The mounts are of a namespace of their own, which goes with its last process. -> {NAME: VALUE}"""
    script = f"""mount -t proc proc {root}/proc && mount -t sysfs sysfs {root}/sys
mount --rbind /dev {root}/dev && mount --make-rslave {root}/dev
cp /etc/resolv.conf {root}/etc/ 2>/dev/null; cp -r /etc/apt/sources.list* /etc/apt/apt.conf.d {root}/etc/apt/ 2>/dev/null
exec chroot {root} bash /tmp/inside.sh"""
    with open(os.path.join(root, "tmp", "inside.sh"), "w") as file:
        file.write(INSIDE)
    _, out = run("unshare", "--mount", "--propagation", "private", "bash", "-c", script)
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line), out


def main():
    tap = Tap()
    tools = [t for t in ("dpkg-buildpackage", "dh", "lintian", "unshare") if not shutil.which(t)]
    if not os.environ.get("TAPEDECK_LONG") or os.geteuid() or tools:
        tap.skip("the Debian package", f"{tools[0]} is not installed" if tools else "it takes minutes and root: sudo ./check --long")
        tap.done()
    folder = tempfile.mkdtemp(prefix="tapedeck-package-", dir="/var/tmp")
    try:
        package = build(tap, folder)
        root, why = bare_root(folder)
        if not package or not root:
            tap.skip("it installs, starts and purges", why or "there is no package")
            tap.done()
        shutil.copy(package, os.path.join(root, "tmp", "tapedeck.deb"))
        got, out = inside(root)
        rows = [("it installs", "install", "0"), ("a user is made", "user", "tapedeck:/var/lib/tapedeck:/usr/sbin/nologin"),
                ("its store is made", "store", "750:tapedeck:tapedeck"), ("its configuration is right", "check", "0"),
                ("it runs as that user", "uid", got.get("wanted")), ("with system calls filtered", "seccomp", "2"),
                ("it takes a job", "job", "0"), ("and gives it back", "delete", "0"), ("it ends", "end", "0"),
                ("without a warning", "warnings", "0"), ("it is purged", "purge", "0"), ("without a trace", "left", "")]
        for name, key, want in rows:
            tap.ok(got.get(key) == want, name, f"{got.get(key)}: {out[-600:]}")
        tap.ok(int(got.get("doctor", 0)) > 8, "the doctor has been", got.get("doctor"))
    finally:
        with open("/proc/self/mounts") as file: # never through a mount that is still there
            mounted = folder in file.read()
        if not mounted:
            shutil.rmtree(folder, ignore_errors=True)
    tap.done()


if __name__ == "__main__":
    main()
