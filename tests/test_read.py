#!/usr/bin/env python3
"""`tapedeck read`: what CLI.md promises about it, on captures made here and on the open corpus."""
import glob
import json
import os
import struct
import subprocess
import sys
import tempfile

BUILD = os.environ.get('BUILD', 'build')
TAPEDECK = os.path.join(BUILD, 'mgmt', 'tapedeck')
SHARED = os.path.join(os.environ.get('SOURCE', '.'), '..', 'shared')
number = failed = 0


def ok(condition, name, why=''):
    global number, failed
    number += 1
    failed += not condition
    print(('ok' if condition else 'not ok') + f' {number} - read: {name}', flush=True)
    if not condition and why:
        print('# ' + str(why).replace('\n', '\n# '), flush=True)


def read(*args, stdin=None):
    p = subprocess.run([TAPEDECK, 'read', *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=120)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def rows(*args):
    code, out, err = read('--json', *args)
    return [json.loads(line) for line in out.splitlines()] if code == 0 else [(code, err)]


class Capture:
    def __init__(self):
        self.frames, self.ts = [], 1700000000 * 10**9

    def tcp(self, c, frm, flags, payload=b''):
        src, dst = (('10.0.0.7', c['port']), ('10.0.0.1', 80))[::-1 if frm else 1]
        seq, ack = c['seq'][frm], c['seq'][1 - frm]
        tcp = struct.pack('>HHIIBBHHH', src[1], dst[1], seq, ack, 0x50, flags, 65535, 0, 0) + payload
        ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0,
                         bytes(map(int, src[0].split('.'))), bytes(map(int, dst[0].split('.')))) + tcp
        self.frames.append((self.ts, b'\x02' * 6 + b'\x04' * 6 + b'\x08\x00' + ip))
        self.ts += 1000
        c['seq'][frm] = (seq + len(payload) + (1 if flags & 3 else 0)) & 0xffffffff

    def connection(self, port, statuses, path='/a'):
        c = {'port': port, 'seq': [1, 2**32 - 5]}
        first = len(self.frames)
        self.tcp(c, 0, 2), self.tcp(c, 1, 18), self.tcp(c, 0, 16)
        for s in statuses:
            self.tcp(c, 0, 24, b'GET %s HTTP/1.1\r\nHost: db\r\n\r\n' % path.encode())
            self.tcp(c, 1, 24, b'HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nhi' % s)
        self.tcp(c, 0, 17), self.tcp(c, 1, 17), self.tcp(c, 0, 16)
        return self.frames[first:]

    def bytes(self):
        out = struct.pack('<IHHIIII', 0xa1b23c4d, 2, 4, 0, 0, 65535, 1)
        for ts, f in self.frames:
            out += struct.pack('<IIII', ts // 10**9, ts % 10**9, len(f), len(f)) + f
        return out


def frames_of(pcapng):
    """Times and bytes of the packet blocks of a pcapng file, in order."""
    data, at, found = open(pcapng, 'rb').read(), 0, []
    while at < len(data):
        kind, size = struct.unpack_from('<II', data, at)
        if kind == 6:
            _, high, low, caplen, _ = struct.unpack_from('<IIIII', data, at + 8)
            found.append((high << 32 | low, data[at + 28:at + 28 + caplen]))
        at += size
    return found


def made_here(tmp):
    cap = Capture()
    streams = [cap.connection(1000, [200] * 3), cap.connection(1001, [200, 500]), cap.connection(1002, [404] * 2, '/x'),
               cap.connection(1003, [200] * 1999 + [500])]
    path = os.path.join(tmp, 'a.pcap')
    open(path, 'wb').write(cap.bytes())

    got = rows(path)
    ok([r['stream'] for r in got] == [0, 1, 2, 3], 'without a statement every stream, in order', got)
    ok([r['packets'] for r in got] == [len(s) for s in streams], 'with all its packets', got)
    want = dict(proto='tcp', src=dict(ip='10.0.0.7', port=1001, name=''), dst=dict(ip='10.0.0.1', port=80, name=''),
                vlan=0, tunnel='', first='2023-11-14T22:13:20.000012000Z', l7=['HTTP'], matches=2, head_missing=0,
                statement=0, bytes=sum(len(f) for _, f in streams[1]))
    ok(all(got[1].get(k) == v for k, v in want.items()), 'a row says what it promises', got[1])

    got = rows('--kfl', 'response.status == 500', '--kfl', 'request.path == "/x" or tcp.nothing', '--kfl', 'udp', path)
    ok([(r['stream'], r['statement']) for r in got] == [(1, 0), (2, 1), (3, 0)], 'each statement finds its streams', got)
    ok(got[-1]['packets'] == 4006 and got[-1]['matches'] == 1, 'the last of 2000 requests is answered 500: '
       'the stream is whole', got[-1])
    got = rows('--kfl', 'dst.port == 80 and src.port == 1002', path)
    ok([r['stream'] for r in got] == [2], "a stream's number does not depend on what is asked", got)
    for workers in '2', '3':
        same = rows('--workers', workers, '--kfl', 'response.status == 500', path)
        ok([(r['src']['port'], r['packets']) for r in same] == [(1001, 10), (1003, 4006)],
           f'{workers} workers find the same', same)

    out = os.path.join(tmp, 'out.pcapng')
    code, _, err = read('--kfl', 'response.status == 500', '--kfl', 'response.status >= 500', '-w', out, path)
    by_time = sorted(frames_of(out)) if code == 0 else []
    ok(by_time == sorted(streams[1] + streams[3]), '-w writes every packet of matched streams once, byte for byte', err)
    ok([f for f in frames_of(out) if f in set(streams[3])] == streams[3], '-w keeps the order within a stream')

    code, text, err = read('--entries', '--kfl', 'response.status == 500', path)
    entries = [json.loads(line) for line in text.splitlines()]
    ok([e['stream'] for e in entries] == [1, 3] and entries[1]['index'] == 1999
       and entries[0]['request']['path'] == '/a' and entries[0]['response']['status'] == 500, '--entries', text[:500] + err)

    code, text, err = read('--json', '--summary', '--kfl', 'response.status == 500', path)
    summary = json.loads(text.splitlines()[-1])['summary']
    ok(summary['difference'] == 0 and summary['rx'] == len(cap.frames) and summary['held'] == 0
       and summary['recorded'] == 4016, '--summary: the sum holds', summary)
    broken = os.path.join(tmp, 'broken.pcap')
    bad, c = Capture(), {'port': 1000, 'seq': [1, 1]}
    bad.tcp(c, 0, 24, b'POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n')
    open(broken, 'wb').write(bad.bytes())
    code, text, err = read('--json', '--summary', '--kfl', 'http and error.type == "dissection"', broken)
    got = json.loads(text.splitlines()[-1])['summary']['dissector_errors']
    ok(got == {'HTTP': 1} and len(text.splitlines()) == 2, '--summary: dissector errors by protocol', text)

    mail = Capture()
    c = {'port': 1000, 'seq': [1, 1]}
    mail.tcp(c, 0, 2), mail.tcp(c, 1, 18), mail.tcp(c, 1, 24, b'220 mx\r\n'), mail.tcp(c, 0, 24, b'QUIT\r\n')
    text = os.path.join(tmp, 'mail.pcap')
    open(text, 'wb').write(mail.bytes())
    ok(len(rows('--kfl', '!tls', text)) == 1 and not rows('--kfl', 'tls', text), 'what might become TLS and did not is none')

    names = os.path.join(tmp, 'names')
    open(names, 'w').write('10.0.0.7 client shop\n10.0.0.0/8 net\n')
    got = rows('--names', names, '--kfl', 'src.name == "client" and response.status == 404', path)
    ok(len(got) == 1 and got[0]['src']['name'] == 'client', '--names', got)

    dns = os.path.join(SHARED, 'corpus', 'open', 'mixed', 'zeek-wikipedia.pcap')
    if os.path.exists(dns):
        learned = rows('--kfl', 'http and dst.name == "upload.wikimedia.org"', dns)
        ok(len(learned) > 1 and {r['dst']['ip'] for r in learned} == {'208.80.152.3'}
           and not rows('--no-learn-dns', '--kfl', 'dst.name != ""', dns), 'names are learned', learned)
        open(names, 'w').write('208.80.152.0/24 wikimedia\n')
        got = rows('--names', names, '--kfl', 'dst.name == "wikimedia"', dns)
        ok(len(got) >= len(learned), 'a name in a file goes before that of an answer', got)
    else:
        ok(True, 'names are learned # SKIP ../shared is not there')

    got = rows(path, path)
    ok([r['packets'] for r in got] == [2 * len(s) for s in streams], 'two files have one stream table', got)
    code, text, _ = read('--json', '-', stdin=cap.bytes())
    ok(code == 0 and len(text.splitlines()) == 4, 'standard input')
    code, text, err = read('--json', '-w', out, '-', stdin=cap.bytes())
    ok(code == 0 and sorted(frames_of(out)) == sorted(cap.frames), 'standard input with -w', err)

    cut = os.path.join(tmp, 'cut.pcap')
    open(cut, 'wb').write(cap.bytes()[:1000])
    code, text, err = read('--json', cut)
    ok(code == 1 and len(text.splitlines()) == 1 and len(err.splitlines()) == 1,
       'a damaged file: what could be read, one line, exit 1', (code, text, err))
    code, text, err = read('--kfl', 'response.status = 500', path)
    ok(code == 2 and '1:' in err and '^' in err, 'a refused statement: exit 2, column and caret', (code, err))
    before = open(out, 'rb').read()
    for statement, column in (('http and record("x")', '1:10:'), ('redact("request.path") and request.path == "/"', '1:28:')):
        code, text, err = read('--kfl', statement, '-w', out, path)
        ok(code == 2 and column in err and err.rstrip().endswith('^') and open(out, 'rb').read() == before,
           f'{statement}: exit 2, column and caret, nothing is written', (code, err))
    ok(read(os.path.join(tmp, 'none'))[0] == 1 and read()[0] == 2, 'no file: 1; no argument: 2')
    ok('PROTO' in read(path)[1], 'a table for people')


def corpus():
    files = sorted(f for f in glob.glob(os.path.join(SHARED, 'corpus', 'open', '*', '*')) if os.path.isfile(f))
    if not files:
        return ok(True, 'the open corpus # SKIP no corpus beside the checkout')
    bad = []
    for f in files:
        code, out, err = read('--kfl', 'response.status == 500 or conn.packets > 3', '-w', '/dev/null', '--summary',
                              '--json', f)
        if code not in (0, 1) or (code == 1 and len(err.splitlines()) != 1):
            bad.append(f'{f}: exit {code}\n{err[-2000:]}')
        elif json.loads(out.splitlines()[-1])['summary']['difference'] != 0:
            bad.append(f'{f}: the sum does not hold')
    ok(not bad, f'{len(files)} captures of the open corpus: at most one line of complaint, and the sum holds', '\n'.join(bad))


with tempfile.TemporaryDirectory() as folder:
    made_here(folder)
corpus()
print(f'1..{number}')
sys.exit(failed > 0)
