#!/usr/bin/env python3
"""decode() against tshark: the innermost endpoints of every packet of the open captures."""
import concurrent.futures
import glob
import ipaddress
import os
import subprocess
import sys

BUILD = os.environ.get('BUILD', 'build')
SHARED = os.path.join(os.environ.get('SOURCE', '.'), '..', 'shared', 'corpus', 'open')
FIELDS = ['frame.number', 'frame.protocols', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'ip.proto',
          'ipv6.nxt', 'tcp.srcport', 'tcp.dstport', 'udp.srcport', 'udp.dstport', 'sctp.srcport',
          'sctp.dstport', 'ip.flags.mf', 'ip.frag_offset', 'ipv6.fraghdr.offset', 'ipv6.fraghdr.more',
          'tcp.len', '_ws.malformed']
NUMBER = {'tcp': 6, 'udp': 17, 'udplite': 136, 'sctp': 132, 'icmp': 1, 'icmpv6': 58}
# capture -> why its packets may differ
EXCEPTIONS = {
    'ipv6ext/zeek-ipv6-mobility-dst-opts.pcap':
        'a home address option of bad length: the walk over extension headers needs no option (RFC 8200, 4.2)',
    'jumbo/tcpdump-bigtcp-ipv6-geneve-ipv4.pcap':
        'UDP length 0 in a jumbogram (RFC 2675, 4): its GENEVE packet is decoded',
}


def tshark(path):
    """yields what the innermost IP and L4 layers of each frame are: (protocol, src, sport, dst,
    dport, tcp.len), None without IP, or False when the frame is not for comparing (a fragment)"""
    out = subprocess.run(['tshark', '-n', '-r', path, '-o', 'ip.defragment:FALSE', '-o', 'ipv6.defragment:FALSE',
                          '-o', 'tcp.desegment_tcp_streams:FALSE', '-T', 'fields', '-E', 'occurrence=a',
                          '-E', 'aggregator=,'] + sum((['-e', f] for f in FIELDS), []),
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode('utf8', 'replace')
    for line in out.split('\n'):
        if not line:
            continue
        row = line.split('\t')
        got = {f: (v.split(',') if v else []) for f, v in zip(FIELDS, row + [''] * len(FIELDS))}
        if '1' in got['ip.flags.mf'] or '1' in got['ipv6.fraghdr.more'] or \
                any(x != '0' for x in got['ip.frag_offset'] + got['ipv6.fraghdr.offset']):
            yield False
            continue
        seen = {'ip': 0, 'ipv6': 0, 'tcp': 0, 'udp': 0, 'sctp': 0}
        best = addresses = None

        def at(field, i):
            return got[field][i] if i < len(got[field]) else ''
        for layer in got['frame.protocols'][0].split(':'):
            if layer in ('ip', 'ipv6'):
                i = seen[layer]
                seen[layer] += 1
                source, destination = at(layer + '.src', i), at(layer + '.dst', i)
                if not source or not destination:
                    continue
                number = at('ip.proto' if layer == 'ip' else 'ipv6.nxt', i)
                addresses = (source, destination)
                best = (int(number or 0), source, 0, destination, 0, None)
            elif layer in ('tcp', 'udp', 'udplite', 'sctp') and addresses:
                short = 'udp' if layer == 'udplite' else layer
                i = seen[short]
                seen[short] += 1
                if at(short + '.srcport', i) and at(short + '.dstport', i):
                    best = (NUMBER[layer], addresses[0], int(at(short + '.srcport', i)), addresses[1],
                            int(at(short + '.dstport', i)), at('tcp.len', 0) if layer == 'tcp' else None)
                    if short != 'udp':
                        break
            elif layer in ('icmp', 'icmpv6') and addresses:
                best = (NUMBER[layer], addresses[0], 0, addresses[1], 0, None)
                break
        yield best


def ours(path):
    out = subprocess.run([os.path.join(BUILD, 'tests', 'decode_dump'), path], stdout=subprocess.PIPE, check=True)
    for line in out.stdout.decode().splitlines():
        if line == '-':
            yield None
            continue
        protocol, source, sport, destination, dport, size, *_ = line.split()
        yield int(protocol), source, int(sport), destination, int(dport), size


def same(theirs, mine):
    if theirs is False:
        return True
    if theirs is None or mine is None:
        return theirs is mine
    if [ipaddress.ip_address(theirs[i]) for i in (1, 3)] != [ipaddress.ip_address(mine[i]) for i in (1, 3)]:
        return False
    if (theirs[2], theirs[4]) != (mine[2], mine[4]):
        return False
    if theirs[0] != mine[0] and theirs[0] in NUMBER.values():
        return False
    return theirs[5] in (None, '') or theirs[5] == mine[5]


def compare(path):
    """-> (frames compared, [differences])"""
    bad, n = [], 0
    a, b = list(tshark(path)), list(ours(path))
    for number, (theirs, mine) in enumerate(zip(a, b), 1):
        n += 1
        if not same(theirs, mine):
            bad.append(f'frame {number}: tshark {theirs}, here {mine}')
    if len(a) > len(b):
        bad.append(f'{len(a)} frames, here {len(b)}')
    return n, bad


def main():
    paths = sorted(p for p in glob.glob(os.path.join(SHARED, '*', '*')) if len(sys.argv) < 2 or sys.argv[1] in p)
    if not paths:
        print('1..1\nok 1 - decode corpus # SKIP no ../shared/corpus')
        return 0
    failed = frames = 0
    print(f'1..{len(paths)}')
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for number, (path, (n, bad)) in enumerate(zip(paths, pool.map(compare, paths)), 1):
            name = os.path.join(*path.split(os.sep)[-2:])
            frames += n
            excuse = EXCEPTIONS.get(name) if bad else None
            failed += bool(bad) and not excuse
            print(f'{"not " if bad and not excuse else ""}ok {number} - decode {name}'
                  f'{" # " + excuse if excuse else ""}')
            if not excuse:
                for line in bad[:5]:
                    print('#', line)
                if len(bad) > 5:
                    print(f'# and {len(bad) - 5} more')
    print(f'# {frames} frames')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
