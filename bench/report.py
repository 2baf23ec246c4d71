"""report.py - what the benches share: the machine, a process and what it took, tables, targets, files, pictures."""
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
RESULTS = os.environ.get("TAPEDECK_BENCH_RESULTS", os.path.join(ROOT, "bench", "results"))
TAPEDECK = os.path.join(BUILD, "mgmt", "tapedeck")
PIPELINE = os.path.join(BUILD, "bench", "bench_pipeline")


class Failed(Exception):
    """A candidate that did not do its work, or a sum that does not hold: the run is none."""


def noise():
    """How much longer the same arithmetic takes at times, by the clock: 0.05 is 5 %. Shows who else is at work."""
    took = []
    for _ in range(40):
        begun = time.perf_counter()
        sum(range(200_000))
        took.append(time.perf_counter() - begun)
    took.sort()
    return round(took[-4] / took[3] - 1, 3)  # without the three best and the three worst


def machine():
    with open("/proc/cpuinfo") as file:
        facts = [line.split(":") for line in file if ":" in line]
    fact = lambda name: next((value.strip() for key, value in facts if key.strip() == name), "0")
    return {"cpu": fact("model name"), "mhz": fact("cpu MHz"), "cores": os.cpu_count(), "kernel": platform.release(),
            "load": round(os.getloadavg()[0], 2), "noise": noise(), "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def machine_line(here):
    return (f"{here['cpu']}, {here['mhz']} MHz, {here['cores']} cores, Linux {here['kernel']}, {here['date']}, load {here['load']}, "
            f"noise {100 * here['noise']:.0f} %")


def measure(command):
    """-> (CPU seconds, wall seconds, stdout) of a process and its children"""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip()[-300:]
            raise Failed(f"{' '.join(command)}: status {process.returncode}: {words}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begun, out


class Table:
    """Rows of one bench, in groups; the first of a group is what the others of it are held against."""

    def __init__(self, name, unit):
        self.name, self.unit, self.rows, self.targets, self.machine = name, unit, [], [], machine()
        self.skipped = {}
        print(f"\n{name}: {unit}; median [lowest..highest] of the rounds, ratio to the first of its group\n"
              f"  {machine_line(self.machine)}" + ("\n  others are at work: look at the spread" if self.machine["noise"] > 0.1
                                                   else ""), flush=True)

    def add(self, group, label, values, **more):
        row = {"group": group, "label": label, "median": statistics.median(values), "low": min(values), "high": max(values),
               "rounds": len(values), **more}
        first = next((r for r in self.rows if r["group"] == group), row)
        row["ratio"] = row["median"] / first["median"] if first["median"] else 0
        self.rows.append(row)
        notes = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in more.items())
        print(f"  {group:22} {label:38} {row['median']:10.3f} [{row['low']:.3f}..{row['high']:.3f}]  x{row['ratio']:.2f}  {notes}",
              flush=True)
        return row

    def skip(self, group, label, reason):
        self.skipped[label] = reason
        print(f"  {group:22} {label:38} not measured: {reason}", flush=True)

    def find(self, group, label):
        return next((r for r in self.rows if (r["group"], r["label"]) == (group, label)), None)

    def target(self, group, label, against, most=None, least=None):
        """what the row `label` shows is to be at most, or at least, so many times what the row `against` of its group does"""
        row, other = self.find(group, label), self.find(group, against)
        if not row or not other or not other["low"]:
            return
        ratio, low, high = row["median"] / other["median"], row["low"] / other["high"], row["high"] / other["low"]
        holds = ratio <= most if least is None else ratio >= least
        bound = f"at most {most:.3f}" if least is None else f"at least {least:.3f}"
        self.targets.append({"group": group, "label": label, "against": against, "bound": bound, "ratio": ratio, "low": low,
                             "high": high, "pass": holds})
        print(f"  {'pass' if holds else 'MISS'}  {group}: {label} / {against}: {ratio:.3f} [{low:.3f}..{high:.3f}], {bound}",
              flush=True)

    def save(self):
        os.makedirs(RESULTS, exist_ok=True)
        with open(os.path.join(RESULTS, self.name + ".json"), "w") as file:
            json.dump({"bench": self.name, "unit": self.unit, "machine": self.machine, "load_after": round(os.getloadavg()[0], 2),
                       "noise_after": noise(), "skipped": self.skipped, "rows": self.rows, "targets": self.targets}, file, indent=1)
        draw(os.path.join(RESULTS, self.name + ".svg"), [(f"{self.name} ({self.unit})", self.rows)], self.machine)


def load(name):
    """-> what Table.save() wrote last, or None"""
    try:
        with open(os.path.join(RESULTS, name + ".json")) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def draw(path, panels, here):
    """panels: [(title, rows)]; bars from 0, with number and spread; one that is far longer than others runs out of the picture"""
    panels = [(title, [r for r in rows if r["median"] > 0]) for title, rows in panels]
    panels = [(title, rows) for title, rows in panels if rows]
    if not shutil.which("gnuplot") or not panels:
        return
    text = lambda words: words.replace("'", "").replace('"', "")
    total = sum(len(rows) + 4 for _, rows in panels)
    script = f"""set terminal svg noenhanced size 900,{40 + 22 * total} font 'sans,11' background 'white'
set output '{path}'
set multiplot title '{text(machine_line(here))}' font 'sans,9'
set style fill solid 0.7
set lmargin 48
set rmargin 4
set tmargin 2.4
unset key
set border 3
set ytics nomirror scale 0
set xtics nomirror
set grid x
"""
    top = 0.97
    for title, rows in panels:
        height = 0.97 * (len(rows) + 4) / total
        top -= height
        least = min(r["median"] for r in rows)
        right = 1.3 * max(r["high"] for r in rows if r["median"] <= 12 * least)
        data = "".join('"%s" %g %g %g %d\n' % (text(f"{r['group']}: {r['label']}" if len({q['group'] for q in rows}) > 1
                                                    else r["label"])[:60], r["median"], r["low"], r["high"],
                                               "tapedeck" in r["label"]) for r in rows)
        script += f"""set origin 0,{top:.4f}
set size 1,{height:.4f}
set label 1 '{text(title)}' at screen 0.02,{top + height - 0.035:.4f}
set yrange [{len(rows) - 0.3}:-0.7]
set xrange [0:{right:g}]
$rows << END
{data}END
plot $rows using 2:0:(0):2:($0-0.35):($0+0.35):($5 > 0 ? 0x2060a0 : 0xa0a0a0):yticlabels(1) with boxxyerror lc rgb variable, \\
     $rows using 2:0:3:4 with xerrorbars pt 0 lc 'black', \\
     $rows using ($4 < {right:g} ? $4 : {0.9 * right:g}):0:(sprintf("%.3g", $2)) with labels left offset 0.6,0
"""
    drawn = subprocess.run(["gnuplot"], input=script.encode(), stderr=subprocess.PIPE, check=False)
    if drawn.returncode:
        print(f"no picture: {drawn.stderr.decode('utf-8', 'replace')[:300]}", file=sys.stderr)
