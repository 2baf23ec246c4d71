/* format.h - addresses and times as entries write them. Results are terminated. Any thread. */
#ifndef KFL_FORMAT_H
#define KFL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

enum { FORMAT_IP_SIZE = 46, FORMAT_MAC_SIZE = 18, FORMAT_PORT_SIZE = 6, FORMAT_TIME_SIZE = 32 };

/* Network order, IPv4 as ::ffff:a.b.c.d; version 4 or 6. IPv6 in RFC 5952 form. -> bytes */
size_t format_ip(const uint8_t addr[static 16], unsigned version,
                 char text[static FORMAT_IP_SIZE]);
size_t format_mac(const uint8_t mac[static 6], char text[static FORMAT_MAC_SIZE]);
size_t format_port(uint16_t port, char text[static FORMAT_PORT_SIZE]);
/* RFC 3339, UTC, with nanoseconds. */
size_t format_time(uint64_t ns, char text[static FORMAT_TIME_SIZE]);

#endif
