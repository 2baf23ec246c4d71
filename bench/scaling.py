"""scaling.py - bench/SCALING.md out of the last results: what a wire would ask for, by what a packet was measured to cost."""
from report import load, machine_line
from traffic import IMIX

WIRES = (10, 25, 100)  # Gbit/s
MIXES = {"64 bytes": [64], "IMIX": IMIX, "jumbo": [9000]}
SIZES = {mix: sum(sizes) / len(sizes) for mix, sizes in MIXES.items()}
ON_THE_WIRE = 20  # preamble and gap of each frame
LINE = 64  # struct lookback_record takes one, the packet's bytes whole ones
WAYS = (("all jobs out", "no job wants anything"), ("all open, into the lookback", "nothing decided: all into the lookback"),
        ("everything recorded, to memory", "everything recorded"))
# How often each byte of a packet crosses the memory bus, caches left out of it (they only make it less).
CROSSINGS = (("no job wants anything", 1, "the device writes it; only headers are read"),
             ("nothing decided: all into the lookback", 3, "the device writes, the copy reads and writes"),
             ("... and then all of it matches", 6, "the move reads and writes, the disk reads"),
             ("everything recorded", 4, "the device writes, the copy reads and writes, the disk reads"))
MISSING = "not measured"

TEXT = """# How it grows, on paper

Made by `bench/run --picture` out of the results of one run of `bench/run`; nothing here is measured on a fast wire, it
is reckoned from what a packet costs. The run: {machine}. "Core" is one of that machine's, which runs at {mhz} MHz.

## Packets and cores

A wire at its limit carries (with preamble and gap, {gap} bytes a frame):

{packets}

What one packet cost there, from memory, in one thread (receive, decode, streams, plan, and then), in ns, and in cycles:

{costs}

So many cores for it, classifiers and receiving together, at 100 % of them:

{cores}

What this leaves out: handing a frame from the driver to us. With AF_XDP over veth the whole recorder, disk and all, took
{live} us of its own for each recorded IMIX packet (`live`, at a rate far below its limit, where sleeping and waking are most of
it), besides what the kernel did on the sender's CPU to copy it. A NIC with zero-copy or DPDK has less of it; we have not seen one.

{threads}
## Instead of cores: not receiving it

What no job can want by addresses, ports and layer 4 is dropped by the XDP program (`pushdown`), in the driver, before any of
the costs above. At 100 Gbit/s of small packets this is the only way: the table's 64-byte column is for jobs that ask about
everything.

## Memory bandwidth

{bandwidth}

A server's memory channel has some 20 to 30 GB/s, a socket eight and more of them: at 100 Gbit/s a recorder that keeps all of
it uses two or three. The lookback is a ring that is larger than the cache: its writes go to memory, and go there past the cache.

## Streams

{streams}

## Lookback

A packet takes a cache line in the ring, and its bytes in whole ones. One GiB holds:

{lookback}

Only what is undecided goes there: a job on status 500 of one service decides all other streams at their first packet.

## Disk

{disk} Each packet came with {overhead} bytes of block header, directory and index: 10,000 streams in random order, so hardly two
packets of a stream are in one chunk. Real traffic has less of it. A recording of the whole wire needs at that:

{disks}

## Where it breaks next

1. **One thread that receives.** It decodes, hashes and copies {packet_size} bytes a packet into a classifier's ring. `cores.rx` can be
   raised where a device has several queues; a single queue is served by one thread, which the figures above bound.
2. **One thread that writes.** It costs little (io_uring, chunks of 256 KiB), but it is one: several NVMe at full speed want a
   writer for each. `cores.writers` has no other value than 1.
3. **A stream stays with one classifier.** One elephant stream is as fast as one core: at 100 Gbit/s of one jumbo stream that
   is recorded, see the table; of one stream of 64-byte packets it is not possible. Pushdown takes streams out that nobody wants.
4. **The heads of recordings.** A match moves its past out of the lookback in bounded pieces; if more than a third of all bytes
   match, late, the same memory is crossed six times.
5. **64 jobs.** The set of jobs is one 64-bit word in each stream; the next word costs a cache line.
"""


def row(name, group, label):
    result = load(name)
    found = next((r for r in result["rows"] if (r["group"], r["label"]) == (group, label)), None) if result else None
    return found


def threads(here):
    combined, one, two = (row("growth", "classifiers, HTTP mix", label) for label in
                          ("all in one thread", "1 receives, 1 classify", "1 receives, 2 classify"))
    if not two:
        return ""
    return f"""Threads: handing packets to classifiers over rings is not free. One thread for all took {combined['median']:.0f} ns a packet of the
HTTP mix by the clock, one that receives and one that classifies {one['median']:.0f}, one and two {two['median']:.0f}, on
{here['cores']} cores; where three busy threads have a core each it will be another figure.
"""


def streams():
    few, many = (row("growth", "concurrent streams", f"{n} streams") for n in ("1,000", "1,000,000"))
    sizes = load("memory")
    if not many or not sizes:
        return "Not measured in this run."
    return " ".join(f"{r['label']} took {r['median']:.0f} bytes each." for r in sizes["rows"][1:]) + (
        " (The table is for 4 M of them: of few\nstreams, each pays for more of its index.)"
        f" With 1 k streams a packet cost {few['median']:.0f} ns, with 1 M {many['median']:.0f} ns (all jobs out by what\na stream tells, so "
        "that streams are followed; 64 bytes): the table no longer fits the caches; a line of the index and one of the stream come from\n"
        "memory for each packet, asked for while the burst is decoded.")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def per_second(gbit, size):
    return gbit * 1e9 / 8 / (size + ON_THE_WIRE)


def in_lookback(sizes):
    """-> bytes a packet, on average"""
    return sum(LINE + -(-n // LINE) * LINE for n in sizes) / len(sizes)


def write(path):
    results = load("pipeline")
    if not results:
        return
    here = results["machine"]
    cost = {(size, way): row("pipeline", size, label) for size in SIZES for label, way in WAYS}
    disk, fio = (row("disk", "IMIX, all recorded", label) for label in
                 ("tapedeck, one classifier", "fio, O_DIRECT, 1 MiB, 16 in flight"))
    live = row("live", "IMIX", "tapedeckd, AF_XDP")
    overhead = disk["overhead"] if disk else 60
    values = {
        "machine": machine_line(here), "mhz": here["mhz"], "gap": ON_THE_WIRE, "n_cores": here["cores"],
        "packet_size": 128, "overhead": f"{overhead:.0f}",
        "live": f"{live['median']:.2f}" if live else MISSING,
        "threads": threads(here), "streams": streams(),
        "packets": table(["Gbit/s", *SIZES], [[f"{g}", *(f"{per_second(g, size) / 1e6:.2f} M/s" for size in SIZES.values())]
                                              for g in WIRES]),
        "costs": table(["what happens", *SIZES],
                       [[way, *(f"{cost[size, way]['median']:.0f} ({cost[size, way]['median'] * float(here['mhz']) / 1000:.0f})"
                                if cost[size, way] else MISSING for size in SIZES)] for _, way in WAYS]),
        "cores": table(["Gbit/s", "what happens", *SIZES],
                       [[g, way, *(f"{per_second(g, n) * cost[size, way]['median'] / 1e9:.1f}" if cost[size, way] else MISSING
                                   for size, n in SIZES.items())] for g in WIRES for _, way in WAYS]),
        "bandwidth": table(["what happens", "why", *(f"{g} Gbit/s" for g in WIRES)],
                           [[way, f"{n} times: {why}", *(f"{g / 8 * n:.1f} GB/s" for g in WIRES)] for way, n, why in CROSSINGS]),
        "lookback": table(["Gbit/s undecided", *SIZES],
                          [[g, *(f"{(1 << 30) / (per_second(g, n) * in_lookback(MIXES[mix])):.2f} s" for mix, n in SIZES.items())]
                           for g in (1, *WIRES)]),
        "disk": f"fio got {fio['median'] / 1000:.2f} GB/s out of the disk of that run, Tapedeck {disk['median'] / 1000:.2f} GB/s with one "
                f"classifier, {disk['cpu_ns_a_packet']:.0f} ns of CPU a packet with the writer's." if disk and fio else "",
        "disks": table(["Gbit/s", *SIZES], [[g, *(f"{per_second(g, n) * (n + overhead) / 1e9:.1f} GB/s" for n in SIZES.values())]
                                            for g in WIRES]),
    }
    with open(path, "w") as file:
        file.write(TEXT.format(**values))
