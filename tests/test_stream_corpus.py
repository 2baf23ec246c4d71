#!/usr/bin/env python3
"""The stream table against tshark: which streams each open capture has, with how many packets and
bytes. tshark's streams are those of the oracle in ../shared (oracle.py, Capture.flows)."""
import collections
import concurrent.futures
import glob
import ipaddress
import os
import subprocess
import sys

BUILD = os.environ.get('BUILD', 'build')
SHARED = os.path.join(os.environ.get('SOURCE', '.'), '..', 'shared')
NUMBER = {'tcp': '6', 'udp': '17', 'sctp': '132', 'icmp': '1', 'icmp6': '58'}
# capture -> why its streams may differ
INCOMPLETE = 'the first fragment of a datagram that never completes has ports: it is of their stream (RFC 791, 3.2)'
NAMED_BY_LAST = 'a portless stream is named by the protocol behind the extension headers (RFC 8200, 4)'
EXCEPTIONS = {
    'frag/pcpp-ip4_fragments.pcap': INCOMPLETE,
    'frag/zeek-ipv6-fragmented-dns.pcap': NAMED_BY_LAST,
    'ipv6ext/pcpp-ipv6_options.pcap': NAMED_BY_LAST,
    'ipv6ext/zeek-ipv6-mobility-dst-opts.pcap':
        'a home address option of bad length: the walk over extension headers needs no option (RFC 8200, 4.2)',
    'jumbo/tcpdump-bigtcp-ipv6-geneve-ipv4.pcap':
        'UDP length 0 in a jumbogram (RFC 2675, 4): its GENEVE packet is decoded',
    'malformed/ndpi-fuzz-2006-09-29-28586.pcap':
        'a TCP header of less than 20 bytes still has ports; tshark leaves it out of the conversation',
    'tunnel/zeek-gtp1_gn_normal_incl_fragmentation.pcap': INCOMPLETE,
}


def endpoint(address, port):
    return (ipaddress.ip_address(address).packed, int(port))


def key(protocol, a, b):
    return (protocol, *sorted([a, b]))


def theirs(path):
    import oracle
    found = []
    for flow in oracle.Capture(path).flows:
        protocol, a, aport, b, bport = flow['key']
        found.append((key(NUMBER.get(protocol, protocol), endpoint(a, aport), endpoint(b, bport)),
                      flow['packets'], flow['bytes']))
    return found


def ours(path):
    out = subprocess.run([os.path.join(BUILD, 'tests', 'stream_dump'), path], stdout=subprocess.PIPE, check=True)
    found = []
    for line in out.stdout.decode().splitlines():
        protocol, a, aport, b, bport, packets, size, *_ = line.split()
        if protocol == '136':
            protocol = '17'
        found.append((key(protocol, endpoint(a, aport), endpoint(b, bport)), int(packets), int(size)))
    return found


def show(row):
    (protocol, a, b), packets, size = row
    return (f'{protocol} {ipaddress.ip_address(a[0])}:{a[1]} {ipaddress.ip_address(b[0])}:{b[1]} '
            f'packets {packets} bytes {size}')


def compare(path):
    """-> (streams, [differences])"""
    a, b = collections.Counter(theirs(path)), collections.Counter(ours(path))
    bad = ['tshark ' + show(row) for row in (a - b).elements()] + ['here   ' + show(row) for row in (b - a).elements()]
    return sum(b.values()), sorted(bad, key=lambda line: line[7:])


def main():
    paths = sorted(p for p in glob.glob(os.path.join(SHARED, 'corpus', 'open', '*', '*'))
                   if len(sys.argv) < 2 or sys.argv[1] in p)
    if not paths:
        print('1..1\nok 1 - stream corpus # SKIP no ../shared/corpus')
        return 0
    sys.path.insert(0, os.path.join(SHARED, 'oracle'))
    failed = streams = 0
    print(f'1..{len(paths)}')
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for number, (path, (n, bad)) in enumerate(zip(paths, pool.map(compare, paths)), 1):
            name = os.path.join(*path.split(os.sep)[-2:])
            streams += n
            excuse = EXCEPTIONS.get(name) if bad else None
            failed += bool(bad) and not excuse
            print(f'{"not " if bad and not excuse else ""}ok {number} - streams of {name}'
                  f'{" # " + excuse if excuse else ""}', flush=True)
            if not excuse:
                for line in bad[:8]:
                    print('#', line)
                if len(bad) > 8:
                    print(f'# and {len(bad) - 8} more')
    print(f'# {streams} streams')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
