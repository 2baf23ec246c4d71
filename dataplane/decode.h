/* decode.h - from a frame to its innermost 5-tuple.
 *
 * Link layer, VLAN tags, tunnels to a bounded depth, IP with options and extension headers, L4
 * header: fills the second part of struct packet. Reads nothing beyond caplen, allocates nothing,
 * keeps nothing. Any thread. Sources: IEEE 802.1Q, RFC 791, 8200, 9293, 768, 9260, pcap link types.
 */
#ifndef DATAPLANE_DECODE_H
#define DATAPLANE_DECODE_H

#include "packet.h"

enum { DECODE_TUNNEL_DEPTH_MAX = 8 };

/* hash_seed: random, taken once at start (no one can aim at a bucket). */
void decode(struct packet *packet, uint64_t hash_seed);
void decode_burst(struct packet *burst, unsigned n, uint64_t hash_seed);

#endif
