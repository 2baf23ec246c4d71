"""operations.py - what clients did, held against the entries that were made of it.

An operation is a dict: path in the entry (`request.headers.Host`, `response.answers.0.ip`) -> value.
A path that begins with `n:` is the number of elements there.
A value is compared with ==, or asked: More(n), Has(text), Matches(pattern), OneOf(values). `error` is None unless
the operation says otherwise. Operations with a `src.port` are a conversation: its entries must be
these, in this order. The others may come in any order, each with an entry of its own.
"""
import collections
import re


class More:
    def __init__(self, than):
        self.than = than

    def __eq__(self, value):
        return isinstance(value, (int, float)) and value > self.than

    def __repr__(self):
        return f"more than {self.than}"


class Has:
    def __init__(self, text):
        self.text = text

    def __eq__(self, value):
        return isinstance(value, (str, list, dict)) and self.text in value

    def __repr__(self):
        return f"has {self.text!r}"


class Matches:
    def __init__(self, pattern):
        self.pattern = pattern

    def __eq__(self, value):
        return isinstance(value, str) and re.fullmatch(self.pattern, value, re.S) is not None

    def __repr__(self):
        return f"matches {self.pattern!r}"


class OneOf:
    def __init__(self, *values):
        self.values = values

    def __eq__(self, value):
        return value in self.values

    def __repr__(self):
        return f"one of {self.values!r}"


MISSING = "(missing)"


def at(entry, path):
    """-> the value at a path; a key may hold dots when it is the last one"""
    if path.startswith("n:"):
        value = at(entry, path[2:])
        return len(value) if isinstance(value, (list, dict)) else MISSING
    value, steps = entry, path.split(".")
    for n, step in enumerate(steps):
        if isinstance(value, dict):
            rest = ".".join(steps[n:])
            if rest in value:
                return value[rest]
            value = value.get(step, MISSING)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def differences(entry, operation):
    """-> ["path: got, wanted"]"""
    wanted = {"error": None, **operation}
    if any(path.startswith("error.") for path in operation):
        del wanted["error"]
    return [f"{path} is {short(got)}, not {short(value)}" for path, value in wanted.items()
            for got in [at(entry, path)] if not value == got or isinstance(got, bool) != isinstance(value, bool)
            and not isinstance(value, (More, Has, Matches, OneOf))]


def short(value):
    text = repr(value)
    return text if len(text) < 300 else text[:200] + f"... ({len(text)})"


def label(entry):
    request, response = entry["request"] or {}, entry["response"] or {}
    words = [str(v)[:60] for side in (request, response) for v in side.values() if isinstance(v, (str, int)) and v != ""][:9]
    return (f"{entry['protocol']['abbr']} {entry['src']['ip']}:{entry['src']['port']} -> {entry['dst']['port']} "
            f"#{entry['index']} [{' '.join(words)}] error {entry['error']}")


def compare(entries, operations):
    """-> [text of what does not agree], empty when each operation has its entry and each entry its operation"""
    wrong = []
    by_port = collections.defaultdict(list)
    for entry in entries:
        by_port[entry["src"]["port"]].append(entry)
    said = collections.defaultdict(list)
    for operation in operations:
        said[operation.get("src.port")].append(operation)
    for port in [p for p in said if p is not None]:
        wrong += compare_in_order(by_port.pop(port, []), said[port], port)
    return wrong + compare_any_order([e for rows in by_port.values() for e in rows], said[None])


def compare_in_order(entries, operations, port):
    entries = sorted(entries, key=lambda e: (e["stream"], e["index"]))
    for n, (entry, operation) in enumerate(zip(entries, operations)):
        wrong = differences(entry, operation)
        if wrong:
            return [f"port {port}, operation {n} of {len(operations)} ({len(entries)} entries): {'; '.join(wrong)}: {label(entry)}"]
    rest = [f"no entry for {short(o)}" for o in operations[len(entries):]] + \
           [f"no operation for {label(e)}" for e in entries[len(operations):]]
    return [f"port {port}: {len(entries)} entries, {len(operations)} operations: {rest[0]}"] if rest else []


def compare_any_order(entries, operations):
    left, wrong = list(operations), []
    for entry in entries:
        for n, operation in enumerate(left):
            if not differences(entry, operation):
                del left[n]
                break
        else:
            near = min((differences(entry, o) for o in left), key=len, default=["there is none left"])
            wrong.append(f"no operation for {label(entry)}; the nearest: {'; '.join(near)}")
    return wrong + [f"no entry for {short(o)}" for o in left]
